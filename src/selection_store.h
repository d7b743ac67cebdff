/*-------------------------------------------------------------------------
 *
 * selection_store.h
 *	  The selection: runs and attempts that a filter means.
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SELECTION_STORE_H
#define MJ_SELECTION_STORE_H

#include "datatype/timestamp.h"

/* What is meant; 0 and NULL: any. */
typedef struct MjSelection
{
	int64 job_id;
	const char *status; /* of a live run: its state */
	TimestampTz since;	/* ended at or after */
	TimestampTz until;	/* ended before */
	int64 most;			/* how many at most; 0: all */
	Oid member;			/* of jobs of whose role this one is a member */
} MjSelection;

extern int mj_select_dead(const MjSelection *selection, int64 **run_ids);
extern int mj_select_live(const MjSelection *selection, int64 **run_ids);
extern int64 mj_select_clean(const MjSelection *selection);

#endif /* MJ_SELECTION_STORE_H */
