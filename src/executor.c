/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  The executor: a process that serves one lane of one database.
 *
 * It is connected as the lane's role, so that nothing in a job can step up.
 * It claims a run, executes it, and writes the outcome in the transaction of
 * the work; then the next one, until it has been idle for the linger time or
 * is asked to leave.  The lane of mails hands batches to the mailer instead.
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

#include <signal.h>

#include "access/xact.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "batch.h"
#include "chain_store.h"
#include "clock.h"
#include "current.h"
#include "executor.h"
#include "fault.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mailer.h"
#include "notices.h"
#include "queue_store.h"
#include "runlog.h"
#include "runner.h"
#include "schedule.h"
#include "store.h"
#include "worker.h"
#include "xact.h"

/* Runs after which an executor is replaced by a new one. */
#define MJ_MAX_RUNS_PER_EXECUTOR 10000

/* A new executor waits at least this long: it may be early for a due run. */
#define MJ_FRESH_LINGER_US (3 * USECS_PER_SEC)

/* When a claim is tried again that somebody held up. */
#define MJ_CLAIM_AGAIN_MS 1000L

/* How long a run may go on after it was cancelled for its timeout. */
#define MJ_TERMINATE_AFTER_MS 10000

static MemoryContext work_context = NULL; /* reset for every run */
static MjWork current;			  /* valid while the slot names its run */
static int served = 0;			  /* runs and batches so far */
static bool must_be_last = false; /* the run at hand has a process of its own */
static TimeoutId cancel_timeout;
static TimeoutId terminate_timeout;
static volatile sig_atomic_t run_timed_out = false;

/* Timeout handler: the run has used up its time. */
static void
cancel_run(void)
{
	run_timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Timeout handler: and it did not react to being cancelled. */
static void
terminate_run(void)
{
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}

/* Milliseconds of a job's timeout; 0: none. */
static int
timeout_ms(const MjJob *job)
{
	double ms;

	if (job->timeout == NULL)
		return 0;
	ms = mj_interval_usecs(job->timeout) / 1000.0;
	return (int) Min(Max(ms, 1.0), (double) (INT_MAX - MJ_TERMINATE_AFTER_MS));
}

static void
start_timeouts(const MjJob *job)
{
	int ms = timeout_ms(job);

	run_timed_out = false;
	if (ms == 0)
		return;
	enable_timeout_after(cancel_timeout, ms);
	enable_timeout_after(terminate_timeout, ms + MJ_TERMINATE_AFTER_MS);
}

static void
stop_timeouts(void)
{
	disable_timeout(cancel_timeout, false);
	disable_timeout(terminate_timeout, false);
}

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

/*
 * Must the command's transaction be committed before its outcome is written?
 * If it is read-only and has written nothing, and after commands whose effects
 * on disk are done already, such as CREATE DATABASE.
 */
static bool
must_commit_first(void)
{
	if (MyXactFlags & XACT_FLAGS_NEEDIMMEDIATECOMMIT)
		return true;
	return XactReadOnly && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/*
 * Is the scheduler to look when a job's run has succeeded: for those that run
 * after it, or its next missed instant?  For held runs it is woken anyway.
 */
static bool
has_sequel(const MjJob *job)
{
	return job->has_successors || strcmp(job->catch_up, "all") == 0;
}

/*
 * Write the outcome of a run that succeeded into the transaction that is open,
 * or into the next one: see must_commit_first().
 */
static void
record_success(MjWork *work, const MjCommandResult *result)
{
	MjOutcome outcome = { 0 };

	MJ_FAULT("executor-before-outcome");
	if (must_commit_first())
	{
		mj_worker_commit(work_context);
		mj_worker_cancellable = false;
		QueryCancelPending = false;
		mj_worker_begin(work_context, true);
	}
	XactReadOnly = false;
	outcome.status = "succeeded";
	outcome.result = result->result;
	outcome.rows_affected = result->rows_affected;
	outcome.rows_isnull = result->rows_isnull;
	outcome.notices = mj_notices_text();
	outcome.finished_at = mj_clock_now();
	if (!mj_history_end_run(&work->run, &work->owner, &outcome))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " was taken from this worker",
						work->run.run_id)));
	if (work->job.has_successors)
		mj_chain_record_success(work->run.run_id, work->job.job_id);
	mj_xact_run_ended(work->run.run_id);
	if (has_sequel(&work->job))
		mj_xact_wake(0, MJ_LANE_NONE);
	MJ_FAULT("executor-outcome-written");
	mj_worker_commit(work_context);
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	MJ_FAULT("executor-committed");
	mj_runlog_report(&work->run, &work->owner, &outcome);
}

/*
 * From now on the run can be cancelled, by SIGINT.  Raises 57014 if it was
 * meanwhile.
 */
static void
become_cancellable(void)
{
	char reason[MJ_REASON_SIZE];

	mj_worker_cancellable = true;
	if (mj_worker_is_cancelled(reason))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("%s", reason)));
}

/* The work: the command and its outcome, in one transaction if it can be. */
static void
perform(MjWork *work)
{
	MjCommand command;
	MjCommandResult result;

	command.job_id = work->job.job_id;
	command.version = work->job.version;
	command.text = work->job.command;
	command.args = work->run.args;
	command.args_isnull = work->run.args_isnull;
	command.max_result = (Size) mj_max_result_length_kb * 1024;

	become_cancellable();
	start_timeouts(&work->job);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(work_context);
	MJ_FAULT("executor-before-work");
	mj_notices_begin(command.max_result);
	mj_runner_execute(&command, &result);
	mj_notices_end();
	MJ_FAULT("executor-in-work");
	stop_timeouts();
	record_success(work, &result);
}

/*
 * The error that is being caught, in work_context; the transaction is aborted.
 */
static ErrorData *
take_error(void)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	mj_notices_end();
	mj_worker_cancellable = false;
	stop_timeouts();
	MemoryContextSwitchTo(work_context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	PortalErrorCleanup();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	jit_reset_after_error();
	MemoryContextSwitchTo(work_context);
	QueryCancelPending = false;
	RESUME_INTERRUPTS();
	return error;
}

/* A text of an error, cut like a result; NULL stays NULL. */
static char *
cut_text(const char *text)
{
	return text == NULL ?
		NULL :
		mj_runner_cut(text, (Size) mj_max_result_length_kb * 1024);
}

/*
 * What an attempt came to that ended in an error.  Whatever became of a run that
 * was cancelled or timed out, that is why it ended.
 */
static void
set_failure(const MjWork *work, const ErrorData *error, MjOutcome *outcome)
{
	bool cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
	char reason[MJ_REASON_SIZE];

	memset(outcome, 0, sizeof(MjOutcome));
	outcome->rows_isnull = true;
	outcome->sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	outcome->error = cut_text(error->message);
	outcome->error_detail = cut_text(error->detail);
	outcome->error_context = cut_text(error->context);
	outcome->notices = mj_notices_text();
	outcome->finished_at = mj_clock_now();
	if (mj_worker_is_cancelled(reason))
	{
		outcome->status = "cancelled";
		outcome->error = pstrdup(reason);
		if (!cancelled)
			outcome->error_detail = cut_text(error->message);
	}
	else if (cancelled && run_timed_out)
	{
		outcome->status = "timed_out";
		outcome->error =
			psprintf("run timed out after %d ms", timeout_ms(&work->job));
	}
	else
		outcome->status = cancelled ? "cancelled" : "failed";
}

/* Record a failed attempt, in a transaction of its own. */
static void
record_failure(MjWork *work, const ErrorData *error)
{
	MjOutcome outcome;

	set_failure(work, error, &outcome);
	MJ_FAULT("executor-before-failure");
	mj_worker_begin(work_context, true);
	mj_mailer_put_back_leftovers(work->run.worker_id);
	(void) mj_runlog_failed(&work->run, &work->owner, &outcome, &work->job);
	MJ_FAULT("executor-failure-written");
	mj_worker_commit(work_context);
	mj_runlog_report(&work->run, &work->owner, &outcome);
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
	record_failure(&current, &error);
}

/* Put a run back that this process has claimed. */
static void
put_back(MjRun *run)
{
	if (run->lane != MJ_LANE_MAIL && run->run_id != mj_my_slot->run_id)
	{
		(void) mj_queue_unclaim(run, run->lane, 0); /* it was not begun */
		return;
	}
	if (run->run_id == current.run.run_id)
		run->started_at = current.run.started_at;
	if (mj_worker_told_to_end)
		mj_runlog_interrupted(run, "the worker was told to end");
	else
		mj_runlog_crashed(run);
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
	if (mj_my_slot == NULL ||
		(mj_my_slot->run_id == 0 && mj_my_slot->nclaims == 0 &&
		 mj_my_slot->lane != MJ_LANE_MAIL))
		return;
	AbortOutOfAnyTransaction();
	stop_timeouts();
	MJ_FAULT("put-back-on-exit");
	if (mj_my_slot->run_id != 0 &&
		(run_timed_out || mj_worker_is_cancelled(reason)))
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
											  lane == MJ_LANE_MAIL ?
												  InvalidOid :
												  (Oid) lane,
											  0);
	before_shmem_exit(put_back_on_exit, (Datum) 0);
	cancel_timeout = RegisterTimeout(USER_TIMEOUT, cancel_run);
	terminate_timeout = RegisterTimeout(USER_TIMEOUT, terminate_run);
	mj_batch_init();
	work_context = AllocSetContextCreate(TopMemoryContext, "motionify_jobs run",
										 ALLOCSET_DEFAULT_SIZES);
}

/* Execute a claimed run and record what became of it. */
static void
execute(MjWork *work)
{
	ErrorData *volatile error = NULL;

	debug_query_string = work->job.command;
	pgstat_report_activity(STATE_RUNNING, work->job.command);
	mj_runlog_started(&work->run, &work->owner);
	PG_TRY();
	{
		perform(work);
	}
	PG_CATCH();
	{
		error = take_error();
	}
	PG_END_TRY();
	if (error != NULL)
		record_failure(work, error);
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Between two runs: nothing of the last one may show in the next. */
static void
clean_session(void)
{
	mj_slot_set_state(MJ_SLOT_BUSY);
	QueryCancelPending = false;
	run_timed_out = false;
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
	mj_current_begin(current.run.run_id, current.run.args,
					 current.run.args_isnull);
	execute(&current);
	mj_current_end();
	mj_notices_forget();
	clean_session();
	mj_batch_ended();
	served++;
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

/* Serve the next run, of the batch at hand or of a new one; false: no work. */
static bool
serve_runs(void)
{
	if (mj_batch_next(&current))
	{
		serve_run();
		return true;
	}
	return claim_runs();
}

/* Serve a batch of mails; false when none is due. */
static bool
serve_mails(void)
{
	int claimed;

	mj_slot_set_state(MJ_SLOT_IDLE);
	claimed = mj_mailer_run_batch(mj_my_slot->worker_id, MJ_MAILER_BATCH);
	if (claimed < 0)
		wait_for_lock();
	else if (claimed > 0)
	{
		mj_slot_set_state(MJ_SLOT_BUSY);
		served++;
	}
	return claimed != 0;
}

/* Serve once: a run, or a batch of mails; false when there is none. */
static bool
serve(void)
{
	return mj_my_slot->lane == MJ_LANE_MAIL ? serve_mails() : serve_runs();
}

/* Is this process to end, as soon as it has nothing at hand? */
static bool
must_end(void)
{
	return served >= MJ_MAX_RUNS_PER_EXECUTOR || must_be_last ||
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

	if (done || mj_my_slot->lane == MJ_LANE_MAIL)
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
	bool reloaded;

	note_empty_lane();
	if (ms <= 0)
		leave_if_idle();
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
	mj_batch_give_back();
	mj_wake_database(mj_my_slot->database, 0);
	mj_worker_finish();
}
