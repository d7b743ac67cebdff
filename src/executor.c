/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  The executor: a process that serves one lane of one database.
 *
 * It is connected as the lane's role, so that nothing in a job can step up.
 * It claims a run, executes it, and writes the outcome in the transaction of
 * the work; then the next one, until it has been idle for the linger time or
 * is asked to leave.  The lane of mails is left to the mailer instead, that of HTTP
 * to the caller.
 *
 * What ends it half-way: an error of the job is caught and recorded; SIGTERM
 * aborts the work and puts the run back on the way out; a crash leaves the run
 * to the scheduler's sweep.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "batch.h"
#include "caller.h"
#include "clock.h"
#include "executor.h"
#include "fault.h"
#include "group.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mailer.h"
#include "notices.h"
#include "queue_store.h"
#include "runlog.h"
#include "runner.h"
#include "store.h"
#include "worker.h"
#include "xact.h"

/* Runs after which an executor is replaced by a new one. */
#define MJ_MAX_RUNS_PER_EXECUTOR 10000

/* Memory above which it is, too, and the runs after which that is looked at. */
#define MJ_MAX_EXECUTOR_BYTES (128 * 1024 * 1024)
#define MJ_LOOK_AT_MEMORY_RUNS 64

/* A new executor waits at least this long: it may be early for a due run. */
#define MJ_FRESH_LINGER_US (3 * USECS_PER_SEC)

/* An executor that has waited so long since it rehearsed does so again. */
#define MJ_REHEARSE_AGAIN_US (100 * INT64CONST(1000))

/* When a lane is looked at from the beginning that was not. */
#define MJ_LOOK_AGAIN_MS 1000L

/* When a claim is tried again that somebody held up. */
#define MJ_CLAIM_AGAIN_MS 1000L

static MemoryContext work_context = NULL; /* reset for every run */
static MjWork current;			  /* valid while the slot names its run */
static int served = 0;			  /* runs and batches so far */
static bool must_be_last = false; /* the run at hand has a process of its own */

/*
 * Somebody has locked what a claim needs: try again a little later.  Idle
 * meanwhile, so that another lane or database may have the slot.
 */
static void
wait_for_lock(void)
{
	bool reloaded;

	mj_slot_set_state(MJ_SLOT_IDLE);
	(void) mj_worker_wait(MJ_CLAIM_AGAIN_MS, &reloaded);
}

/* Can the end of a run be written, on the way out? */
static bool
can_record(void)
{
	bool can;

	mj_worker_begin(work_context, false);
	can = mj_store_installed() && mj_store_is_lockable();
	mj_worker_commit(work_context);
	return can;
}

/*
 * The last word on a run that was ended for not reacting to its timeout, or to
 * being cancelled.
 */
static void
record_termination(void)
{
	ErrorData error = { 0 };

	if (!can_record())
		return;
	error.sqlerrcode = ERRCODE_QUERY_CANCELED;
	error.detail =
		"It did not end when it was cancelled, so its process was ended.";
	mj_attempt_record_failure(&current, &error);
}

/* Of a run that this process has claimed: its claim; false when it has none. */
static bool
find_claim(const MjRun *run, MjClaim *copy)
{
	MjClaim *claim;

	mj_lock();
	claim = mj_slot_claim(mj_my_slot, run->run_id);
	if (claim != NULL)
		*copy = *claim;
	mj_unlock();
	return claim != NULL;
}

/* The run at hand, or a mail, goes back. */
static void
put_back_at_hand(MjRun *run)
{
	if (run->run_id == current.run.run_id)
		run->started_at = current.run.started_at;
	if (mj_worker_told_to_end)
		mj_runlog_interrupted(run, "the worker was told to end");
	else
		mj_runlog_crashed(run);
}

/* Put a run back that this process has claimed; as far as it is known. */
static void
put_back(const MjRun *known)
{
	MjRun run;
	MjClaim claim;

	if (!mj_queue_find(known->run_id, &run) ||
		run.worker_id != known->worker_id)
		return;
	if (run.lane == MJ_LANE_MAIL || run.run_id == mj_my_slot->run_id ||
		mj_caller_has_begun(run.run_id))
		put_back_at_hand(&run);
	else if (run.lane == MJ_LANE_HTTP)
		(void) mj_queue_unclaim(&run, run.lane, 0);
	else if (!find_claim(&run, &claim))
		(void) mj_queue_unclaim(&run, run.lane, 0);
	else if (claim.begun) /* in the transaction of the one at hand */
		mj_runlog_interrupted(&run, "its worker has ended");
	else if (claim.cancel_at != 0)
		mj_runlog_cancelled(&run, claim.cancel_reason);
	else
		(void) mj_queue_unclaim(&run, run.lane, 0);
}

/*
 * before_shmem_exit callback: runs that this process has claimed go back; the
 * one at hand as interrupted, which is no failure.  As
 * RemoveTempRelationsCallback() does, it uses transactions of its own on the way
 * out.  What somebody has locked is left to the scheduler's sweep.
 */
static void
put_back_on_exit(int code, Datum arg)
{
	char reason[MJ_REASON_SIZE];
	MjRun *runs;
	int n;
	int i;

	mj_notices_end();
	mj_mailer_leave();
	if (mj_my_slot == NULL ||
		(mj_my_slot->run_id == 0 && !mj_batch_is_open() &&
		 !mj_lane_is_own(mj_my_slot->lane)))
		return;
	AbortOutOfAnyTransaction();
	mj_attempt_stop_timeouts();
	MJ_FAULT("put-back-on-exit");
	if (mj_my_slot->lane == MJ_LANE_HTTP && can_record())
		mj_caller_leave();
	if (mj_my_slot->run_id != 0 &&
		(mj_attempt_timed_out() || mj_worker_is_cancelled(reason)))
		record_termination();
	mj_worker_begin(work_context, true);
	n = mj_store_installed() && mj_store_is_lockable() ?
		mj_queue_running(mj_my_slot->worker_id, &runs) :
		0;
	for (i = 0; i < n; i++)
		put_back(&runs[i]);
	MJ_FAULT("put-back-written");
	mj_worker_commit(work_context);
}

/* Attach, connect as the lane's role, prepare the session. */
static void
start(Datum main_arg)
{
	int64 lane;

	mj_worker_attach(main_arg);
	lane = mj_my_slot->lane;
	BackgroundWorkerInitializeConnectionByOid(mj_my_slot->database,
											  mj_lane_is_own(lane) ?
												  InvalidOid :
												  (Oid) lane,
											  0);
	before_shmem_exit(put_back_on_exit, (Datum) 0);
	work_context = AllocSetContextCreate(TopMemoryContext, "motionify_jobs run",
										 ALLOCSET_DEFAULT_SIZES);
	mj_attempt_init(work_context);
	mj_group_init(work_context);
	mj_batch_init();
}

/* Between two runs: nothing of the last one may show in the next. */
static void
clean_session(void)
{
	mj_slot_set_state(MJ_SLOT_BUSY);
	QueryCancelPending = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	mj_runner_reset_session();
	MJ_FAULT("executor-cleaning");
	mj_worker_commit(work_context);
}

/* Serve the run that is now at hand. */
static void
serve_run(void)
{
	MemoryContextReset(work_context);
	MJ_FAULT("executor-claimed");
	must_be_last = current.job.isolated;
	mj_attempt_execute(&current);
	clean_session();
	mj_batch_ended(1);
	served++;
}

/* Serve some of the runs that come next, in one transaction. */
static void
serve_group(MjWork *group, int n)
{
	int served_now;

	MemoryContextReset(work_context);
	served_now = mj_group_execute(group, n, &current);
	clean_session();
	mj_batch_ended(served_now);
	served += served_now;
}

/*
 * Claim the lane's next runs; false when it has none.  The slot says idle
 * before the queue is looked at, so that whoever commits a run after the look
 * wakes this executor.
 */
static bool
claim_runs(void)
{
	MjClaimed claimed;

	mj_slot_set_state(MJ_SLOT_IDLE);
	claimed = mj_batch_claim(served);
	if (claimed == MJ_CLAIMED_LOCKED)
		wait_for_lock();
	return claimed != MJ_CLAIMED_NOTHING;
}

/* What a run takes, with a command that does nothing. */
static void
go_through(void *arg)
{
	static const MjCommand nothing = { .text = MJ_NO_WORK, .max_result = 1 };
	MjCommandResult result;

	if (!mj_store_installed())
		return;
	mj_runner_execute(&nothing, &result);
	mj_history_warm();
}

/*
 * A run begins in a moment: go through what one takes, so that what has long been
 * idle is in memory and in the processors' caches by then.
 */
static void
rehearse(void)
{
	static TimestampTz rehearsed_at = 0;

	if (mj_clock_real() < rehearsed_at + MJ_REHEARSE_AGAIN_US)
		return;
	MemoryContextReset(work_context);
	(void) mj_worker_do_bounded(work_context, false, MJ_HELD_UP_CLAIM,
								go_through, NULL);
	clean_session();
	rehearsed_at = mj_clock_real();
}

/* What was claimed is not due yet. */
static void
wait_until_due(void)
{
	rehearse();
	mj_batch_wait();
}

/* Serve the next run, of the batch at hand or of a new one; false: no work. */
static bool
serve_runs(void)
{
	MjWork *group;
	int n;

	if (mj_batch_is_early())
	{
		wait_until_due();
		return true;
	}
	n = mj_batch_group(&group);
	if (n > 1 && !mj_my_slot->stuck)
		serve_group(group, n);
	else if (mj_batch_next(&current))
		serve_run();
	else
		return claim_runs();
	return true;
}

/* Serve mails, or calls, while there are some; false when none is due. */
static bool
serve_own(int (*run)(int64 worker_id))
{
	int claimed = run(mj_my_slot->worker_id);

	if (claimed < 0)
		wait_for_lock();
	else if (claimed > 0)
	{
		mj_slot_set_state(MJ_SLOT_BUSY);
		served++;
	}
	return claimed != 0;
}

/* Serve once: a run, or a batch of mails or calls; false when there is none. */
static bool
serve(void)
{
	if (mj_my_slot->lane == MJ_LANE_MAIL)
		return serve_own(mj_mailer_run);
	if (mj_my_slot->lane == MJ_LANE_HTTP)
		return serve_own(mj_caller_run);
	return serve_runs();
}

/* This process is to end: what it has claimed goes back, or ends as cancelled. */
static void
end_batch(void)
{
	mj_batch_give_back();
	while (mj_batch_next(&current))
		serve_run();
}

/*
 * Has this process much memory?  What SQL keeps in its session, such as the
 * plans of routines in a thousand schemas, only ends with it.
 */
static bool
has_grown(void)
{
	static int looked = 0;

	if (served - looked < MJ_LOOK_AT_MEMORY_RUNS)
		return false;
	looked = served;
	return MemoryContextMemAllocated(TopMemoryContext, true) >
		MJ_MAX_EXECUTOR_BYTES;
}

/* Is this process to end, as soon as it has nothing at hand? */
static bool
must_end(void)
{
	return served >= MJ_MAX_RUNS_PER_EXECUTOR || has_grown() || must_be_last ||
		mj_batch_wants_new_process() || mj_worker_must_leave();
}

/*
 * The lane is empty: it wants no executors for now, unless this one was woken
 * since it looked.
 */
static void
note_empty_lane(void)
{
	MjLane *entry;

	mj_lock();
	entry = mj_lane_find(mj_my_slot->database, mj_my_slot->lane);
	if (entry != NULL && mj_my_slot->state == MJ_SLOT_IDLE)
	{
		entry->wanted = 0;
		entry->since = 0;
		entry->failures = 0;
	}
	mj_unlock();
}

/*
 * Leave if nobody has woken this executor meanwhile: seen and freed under one
 * lock, so that no wake is lost.
 */
static void
leave_if_idle(void)
{
	bool idle;

	mj_lock();
	idle = mj_my_slot->state == MJ_SLOT_IDLE;
	if (idle)
	{
		mj_slot_clear(mj_my_slot);
		mj_my_slot = NULL;
	}
	mj_unlock();
	if (!idle)
		return;
	mj_wake_launcher();
	proc_exit(0);
}

/* Make the plans that every run needs, in a transaction. */
static void
make_plans(void *arg)
{
	if (!mj_store_installed())
		return;
	mj_queue_warm();
	mj_job_warm();
	mj_history_warm();
}

/* An executor that was started ahead makes its plans before it is needed. */
static void
warm_up(void)
{
	static bool done = false;

	if (done || mj_lane_is_own(mj_my_slot->lane))
		return;
	done = true;
	MemoryContextReset(work_context);
	(void) mj_worker_do_bounded(work_context, false, MJ_HELD_UP_CLAIM,
								make_plans, NULL);
}

/*
 * Wait for work, and leave after the linger time.  One that has not served yet
 * may have been started ahead of a due instant, and waits for that.
 */
static void
wait_for_work(bool fresh)
{
	TimestampTz linger = mj_linger_s * USECS_PER_SEC;
	TimestampTz stay = mj_my_slot->idle_since +
		(fresh ? Max(linger, MJ_FRESH_LINGER_US) : linger);
	long ms = (long) ((stay - mj_clock_real() + 999) / 1000);
	long rest_ms = Max(mj_mailer_rest(), mj_caller_rest());
	bool reloaded;

	if (!mj_lane_is_own(mj_my_slot->lane) && !mj_batch_has_looked_at_all())
		ms = MJ_LOOK_AGAIN_MS;
	else
	{
		note_empty_lane();
		if (ms <= 0)
			leave_if_idle();
	}
	if (rest_ms >= 0)
		ms = Min(ms, rest_ms);
	if (mj_my_slot->state == MJ_SLOT_IDLE) /* else it was woken */
		(void) mj_worker_wait(Max(ms, 0), &reloaded);
}

/* Main function of an executor; started by the launcher. */
void
mj_executor_main(Datum main_arg)
{
	start(main_arg);
	while (!must_end())
	{
		CHECK_FOR_INTERRUPTS();
		(void) mj_worker_reload();
		if (!serve())
		{
			warm_up();
			wait_for_work(served == 0);
		}
	}
	end_batch();
	mj_mailer_leave();
	mj_wake_database(mj_my_slot->database, 0);
	mj_worker_finish();
}
