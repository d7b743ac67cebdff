/*-------------------------------------------------------------------------
 *
 * batch_store.h
 *	  Sets of runs after whose end another job runs (jobs.batch).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_BATCH_STORE_H
#define MJ_BATCH_STORE_H

#include "enqueue_store.h"

/* Batches that mj_batch_take_ended() ends in one go. */
#define MJ_BATCH_LIMIT 100

/* A batch that has ended. */
typedef struct MjEndedBatch
{
	int64 batch_id;
	int64 then_job_id; /* 0: none */
	Datum then_args;   /* jsonb: what was given, and the counts */
} MjEndedBatch;

/* callers */
extern int64 mj_batch_make(const MjEntry *entry, Datum args, const MjJob *job,
						   const MjJob *then, Datum then_args, int *total);

/* the scheduler */
extern bool mj_batch_any_open(void);
extern int mj_batch_take_ended(TimestampTz now, MjEndedBatch **batches);
extern void mj_batch_set_then(int64 batch_id, int64 run_id);
extern int64 mj_batch_prune(TimestampTz before, int limit);

#endif /* MJ_BATCH_STORE_H */
