/*-------------------------------------------------------------------------
 *
 * tick.h
 *	  The tick: one look of the scheduler at its database's tables.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_TICK_H
#define MJ_TICK_H

#include "announcement.h"
#include "queue_store.h"
#include "shmem.h"

/* What a tick found, for the scheduler to act on after its commit. */
typedef struct MjTick
{
	bool installed;		  /* the extension is there */
	bool own;			  /* jobs of this database may run here */
	int64 active_jobs;	  /* counted when asked for */
	TimestampTz next_due; /* DT_NOEND: nothing is known to be due */
	int nlanes;			  /* lanes with ready runs, or soon to have */
	MjLaneDemand *lanes;
	int64 upcoming;		 /* jobs that are due soon, at most a thousand */
	int nrequests;		 /* of run_now() that it accepted */
	MjRequest *requests; /* copies; state: what to tell the caller */
	bool held;			 /* runs wait for others to end */
	TimestampTz ping_at; /* when the next ping is due; DT_NOEND: none is */
	bool batches;		 /* so do batches */
	int nreplaced;
	int64 *replaced; /* running runs that a later one replaces */
	MjAnnouncement announcement;
} MjTick;

/* Executors of a job that is due soon are started this long before. */
#define MJ_PRESTART_US (2 * USECS_PER_SEC)

extern void mj_tick_rehearse(TimestampTz now, MjTick *tick);
extern bool mj_tick_first(TimestampTz now, MjTick *tick);
extern void mj_tick(TimestampTz now, TimestampTz seen, bool thorough,
					MjTick *tick);
extern void mj_tick_act(const MjTick *tick);
extern bool mj_tick_prune(TimestampTz now);

#endif /* MJ_TICK_H */
