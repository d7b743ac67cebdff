/*-------------------------------------------------------------------------
 *
 * announcement.h
 *	  The announcement: workers outside are told of runs that are ready.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ANNOUNCEMENT_H
#define MJ_ANNOUNCEMENT_H

#include "lease_store.h"

/* The runs that are ready for workers, as far as is looked. */
typedef struct MjAnnouncement
{
	int nruns;
	MjReadyRun *runs;
} MjAnnouncement;

extern void mj_announcement_find(MjAnnouncement *found);
extern void mj_announcement_make(const MjAnnouncement *found);

#endif /* MJ_ANNOUNCEMENT_H */
