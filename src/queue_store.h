/*-------------------------------------------------------------------------
 *
 * queue_store.h
 *	  The queue of live runs (jobs.queue).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_QUEUE_STORE_H
#define MJ_QUEUE_STORE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "shmem.h"
#include "store.h"

/* Columns of a row of jobs.queue q as mj_queue_read_run() reads them. */
#define MJ_RUN_COLUMNS_WITH(args) \
	"q.run_id, q.job_id, q.lane, q.priority, q.run_at, q.due_at," \
	" q.trigger, q.missed, q.attempt, q.failures, q.crashes, " args "," \
	" q.worker_id, q.pid, q.started_at, q.state, q.gated, q.concurrency_key," \
	" coalesce(q.attempts_before, 0)"
#define MJ_RUN_COLUMNS MJ_RUN_COLUMNS_WITH("q.args")
#define MJ_RUN_NCOLUMNS 19

/*
 * What every claim of a row q does beside: a start counts, and from now on another
 * run of the dedupe key may be enqueued, unless it is kept to the end.
 */
#define MJ_COUNT_START \
	"attempt = q.attempt + 1, dedupe_key =" \
	" CASE WHEN q.dedupe_to_end THEN q.dedupe_key END"

/*
 * The runs of what is due are made at most so long ahead, to begin in time: ready
 * with a run_at that has not come.  One that is further ahead was made before the
 * clock was set back, and need not wait.
 */
#define MJ_AHEAD_US (100 * INT64CONST(1000))

/* Runs that mj_queue_promote() makes ready in one go. */
#define MJ_PROMOTE_LIMIT 1000

/* A run, as the queue and the log know it.  Strings in the caller's context. */
typedef struct MjRun
{
	int64 run_id; /* 0: mj_queue_insert_many() takes one */
	int64 job_id; /* 0: a mail; MJ_CALL_JOB_ID: a call */
	int64 lane;
	int32 priority;
	TimestampTz run_at; /* not before */
	TimestampTz due_at;
	const char *trigger;
	int32 missed;	/* due instants that a catch_up stands for */
	int32 attempt;	/* starts so far, this one included */
	int32 failures; /* of max_attempts */
	int32 crashes;
	int32 before; /* attempts until it had ended, and was asked for again */
	const char *state;			 /* waiting, held, ready, running */
	bool gated;					 /* held until the scheduler admits it */
	const char *concurrency_key; /* may be NULL */
	Datum args;					 /* jsonb */
	bool args_isnull;
	int64 worker_id; /* while running */
	int32 pid;
	TimestampTz started_at;
	TimestampTz expires_at; /* for mj_queue_insert(), not read; 0: never */
	/* of a leased run, as lease_store.h reads it; else none */
	const pg_uuid_t *token; /* NULL: no lease */
	const char *worker;		/* may be NULL */
} MjRun;

struct MjJob; /* job_store.h */

/* How many runs a lane has ready. */
typedef struct MjLaneDemand
{
	int64 lane;
	int64 ready;
} MjLaneDemand;

/*
 * Attempts that ended neither as a failure nor as a crash, since the run was asked
 * for; the one at hand is among them.
 */
static inline int
mj_run_uncounted(const MjRun *run)
{
	return run->attempt - run->before - run->failures - run->crashes;
}

/* callers' transactions, and the scheduler's */
extern int64 mj_queue_next_run_id(void);
extern bool mj_queue_insert(const MjRun *run);
extern void mj_queue_insert_many(const MjRun *runs, int n);
extern bool mj_queue_reinsert(int64 run_id, const struct MjJob *job, int64 lane,
							  TimestampTz now);
extern bool mj_queue_hasten(int64 run_id, TimestampTz now);
extern bool mj_queue_find(int64 run_id, MjRun *run);
extern bool mj_queue_exists(int64 run_id);
extern TimestampTz mj_queue_retry_at(int64 run_id);
extern bool mj_queue_job_is_live(int64 job_id);
extern int mj_queue_live_jobs(const int64 *job_ids, int n, int64 **live);
extern void mj_queue_follow_job(int64 job_id, int64 lane, bool gated,
								const char *concurrency_key,
								const char *old_key);
extern bool mj_queue_take_unstarted(int64 run_id, MjRun *run);

/* who executes */
extern int mj_queue_claim(int64 lane, int64 worker_id, TimestampTz now,
						  const MjKey *from, int limit, MjRun **runs);
extern int mj_queue_claim_mails(int64 worker_id, TimestampTz now, int max_mails,
								bool has_none, MjRun *runs);
extern int mj_queue_claim_many(int64 lane, int64 worker_id, TimestampTz now,
							   int limit, int suspect, bool has_none,
							   MjRun **runs, bool *more);
extern void mj_queue_warm(void);
extern bool mj_queue_delete(int64 run_id, int64 worker_id);
extern bool mj_queue_put_back(const MjRun *run, TimestampTz run_at, bool ready);
extern bool mj_queue_unclaim(const MjRun *run, int64 lane, TimestampTz until);
extern int mj_queue_running(int64 worker_id, MjRun **runs);

/* for the other stores that look at the queue; in a scope */
extern void mj_queue_read_run(MjScope *scope, uint64 row, MjRun *run);
extern int mj_queue_read_runs(MjScope *scope, uint64 n, MjRun **runs);

/* the scheduler */
extern int mj_queue_take_overlapping(TimestampTz now, MjRun **runs);
extern int mj_queue_promote(TimestampTz now);
extern int mj_queue_lanes(TimestampTz now, MjLaneDemand **lanes);
extern TimestampTz mj_queue_next_waiting(void);

#endif /* MJ_QUEUE_STORE_H */
