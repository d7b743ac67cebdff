/*-------------------------------------------------------------------------
 *
 * enqueue_store.h
 *	  The way into the queue (jobs.queue) for callers' runs.
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ENQUEUE_STORE_H
#define MJ_ENQUEUE_STORE_H

#include "datatype/timestamp.h"

#include "store.h"

/* What a caller's run, or each of many, is to be.  Strings may be NULL. */
typedef struct MjEntry
{
	int64 job_id;
	int64 lane;
	const char *state; /* waiting, held or ready */
	int32 priority;
	TimestampTz run_at;
	bool gated; /* held until the scheduler admits it */
	const char *concurrency_key;
	const char *dedupe_key;
	bool dedupe_to_end;		/* not only until it starts */
	TimestampTz expires_at; /* 0: never */
} MjEntry;

/* What becomes of a run whose dedupe key a live one has. */
typedef enum MjDuplicate
{
	MJ_DUPLICATE_KEEP,	   /* the live one stays as it is */
	MJ_DUPLICATE_REPLACE,  /* it becomes this one */
	MJ_DUPLICATE_PUSH_BACK /* it gets these arguments, and starts later */
} MjDuplicate;

extern int64 mj_enqueue(const MjEntry *entry, Datum args);
extern int mj_enqueue_many(const MjEntry *entry, Datum args, int64 **run_ids);
extern int64 mj_enqueue_unless_live(const MjEntry *entry, Datum args,
									MjDuplicate duplicate);

#endif /* MJ_ENQUEUE_STORE_H */
