/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  The batch: the runs that an executor has claimed in one go.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_BATCH_H
#define MJ_BATCH_H

#include "job_store.h"
#include "queue_store.h"
#include "runlog.h"

/* A run that is to be executed, with what is known of its job. */
typedef struct MjWork
{
	MjRun run;
	MjJob job;
	MjRunOwner owner;
	bool alone; /* it shares no transaction with others */
	bool done;	/* begun and over, or taken away */
} MjWork;

/* What an attempt to claim came to. */
typedef enum MjClaimed
{
	MJ_CLAIMED_NOTHING, /* the lane has no ready run */
	MJ_CLAIMED_LOCKED,	/* somebody holds it up */
	MJ_CLAIMED_SOME		/* perhaps none of them is to be executed */
} MjClaimed;

extern bool mj_batch_is_in_place(MjWork *work, bool found);
extern void mj_batch_init(void);
extern MjClaimed mj_batch_claim(int served);
extern bool mj_batch_is_early(void);
extern void mj_batch_wait(void);
extern bool mj_batch_next(MjWork *work);
extern int mj_batch_group(MjWork **group);
extern bool mj_batch_begin(MjWork *work, bool keep);
extern void mj_batch_end_group(MjWork *group, int n);
extern void mj_batch_ended(int n);
extern void mj_batch_give_back(void);
extern bool mj_batch_is_open(void);
extern bool mj_batch_has_looked_at_all(void);
extern bool mj_batch_wants_new_process(void);

#endif /* MJ_BATCH_H */
