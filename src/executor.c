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

#include "access.h"
#include "clock.h"
#include "executor.h"
#include "guc.h"
#include "history_store.h"
#include "job_store.h"
#include "mailer.h"
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

/* How long a run may go on after it was cancelled for its timeout. */
#define MJ_TERMINATE_AFTER_MS 10000

/* The run at hand. */
typedef struct Work
{
	MjRun run;
	MjJob job;
	MjRunOwner owner;
} Work;

static MemoryContext work_context = NULL; /* reset for every run */
static Work current; /* valid while the slot names its run */
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

/* Is the run in this lane by right?  Else it is moved, failed or removed. */
static bool
check_claim(Work *work)
{
	MjRun *run = &work->run;
	MjRoleProblem problem;

	if (!mj_job_to_execute(run->job_id, &work->job))
	{
		mj_queue_delete(run->run_id, run->worker_id);
		return false; /* a caller who waits finds it gone */
	}
	mj_runlog_owner(&work->job, &work->owner);
	if (OidIsValid(work->job.role_oid) &&
		(int64) work->job.role_oid != run->lane)
	{
		mj_queue_move_lane(run->run_id, run->worker_id,
						   (int64) work->job.role_oid);
		mj_xact_wake(0, (int64) work->job.role_oid);
		return false;
	}
	if (!mj_access_role_can_run(work->job.role_oid, work->job.role, &problem))
	{
		mj_runlog_refused(run, &work->owner, &problem);
		return false;
	}
	return true;
}

/*
 * Claim the lane's next run.  Returns false when there is none; *fit says
 * whether the run is to be executed.
 */
static bool
claim(Work *work, bool *fit)
{
	bool found;

	MemoryContextReset(work_context);
	mj_worker_begin(work_context, mj_worker_is_unsettled());
	found = mj_store_installed() &&
		mj_queue_claim(mj_my_slot->lane, mj_my_slot->worker_id, mj_clock_now(),
					   &work->run);
	*fit = found && check_claim(work);
	mj_worker_commit(work_context);
	return found;
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
 * Write the outcome of a run that succeeded into the transaction that is open,
 * or into the next one: see must_commit_first().
 */
static void
record_success(Work *work, const MjCommandResult *result)
{
	MjOutcome outcome = { 0 };

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
	outcome.finished_at = mj_clock_now();
	if (!mj_queue_delete(work->run.run_id, work->run.worker_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " was taken from this worker",
						work->run.run_id)));
	mj_history_insert(&work->run, &work->owner, &outcome);
	mj_xact_run_ended(work->run.run_id);
	if (strcmp(work->job.catch_up, "all") == 0)
		mj_xact_wake(0, MJ_LANE_NONE); /* its next missed instant waits */
	mj_worker_commit(work_context);
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	mj_runlog_report(&work->run, &work->owner, &outcome);
}

/* The work: the command and its outcome, in one transaction if it can be. */
static void
perform(Work *work)
{
	MjCommand command;
	MjCommandResult result;

	command.job_id = work->job.job_id;
	command.version = work->job.version;
	command.text = work->job.command;
	command.args = work->run.args;
	command.args_isnull = work->run.args_isnull;
	command.max_result = (Size) mj_max_result_length_kb * 1024;

	mj_worker_cancellable = true;
	start_timeouts(&work->job);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(work_context);
	mj_runner_execute(&command, &result);
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

/* The status that an error stands for. */
static const char *
status_of_error(const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		return "failed";
	return run_timed_out ? "timed_out" : "cancelled";
}

/* A text of an error, cut like a result; NULL stays NULL. */
static char *
cut_text(const char *text)
{
	return text == NULL ?
		NULL :
		mj_runner_cut(text, (Size) mj_max_result_length_kb * 1024);
}

/* Record a failed attempt, in a transaction of its own. */
static void
record_failure(Work *work, const ErrorData *error)
{
	MjOutcome outcome = { 0 };

	outcome.status = status_of_error(error);
	outcome.rows_isnull = true;
	outcome.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	outcome.error = strcmp(outcome.status, "timed_out") == 0 ?
		psprintf("run timed out after %d ms", timeout_ms(&work->job)) :
		cut_text(error->message);
	outcome.error_detail = cut_text(error->detail);
	outcome.error_context = cut_text(error->context);
	outcome.finished_at = mj_clock_now();
	mj_worker_begin(work_context, true);
	mj_mailer_put_back_leftovers(work->run.worker_id);
	mj_runlog_failed(&work->run, &work->owner, &outcome, work->job.max_attempts,
					 work->job.backoff_base);
	mj_worker_commit(work_context);
	mj_runlog_report(&work->run, &work->owner, &outcome);
}

/* The last word on a run that was ended for not reacting to its timeout. */
static void
record_termination(void)
{
	ErrorData error = { 0 };

	error.sqlerrcode = ERRCODE_QUERY_CANCELED;
	error.detail =
		"It did not end when it was cancelled, so its process was ended.";
	record_failure(&current, &error);
}

/*
 * before_shmem_exit callback: runs that this process has claimed go back, as
 * interrupted, which is no failure.  As RemoveTempRelationsCallback() does, it
 * uses transactions of its own on the way out.
 */
static void
put_back_on_exit(int code, Datum arg)
{
	MjRun *runs;
	int n;
	int i;

	if (mj_my_slot == NULL ||
		(mj_my_slot->run_id == 0 && mj_my_slot->lane != MJ_LANE_MAIL))
		return;
	AbortOutOfAnyTransaction();
	stop_timeouts();
	if (run_timed_out && mj_my_slot->run_id != 0)
		record_termination();
	mj_worker_begin(work_context, true);
	n = mj_store_installed() ? mj_queue_running(mj_my_slot->worker_id, &runs) :
							   0;
	for (i = 0; i < n; i++)
		if (mj_worker_told_to_end)
			mj_runlog_interrupted(&runs[i], "the worker was told to end");
		else
			mj_runlog_crashed(&runs[i]);
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
	work_context = AllocSetContextCreate(TopMemoryContext, "motionify_jobs run",
										 ALLOCSET_DEFAULT_SIZES);
}

/* Execute a claimed run and record what became of it. */
static void
execute(Work *work)
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
	mj_slot_set_state(MJ_SLOT_BUSY, 0);
	QueryCancelPending = false;
	run_timed_out = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	mj_runner_reset_session();
	mj_worker_commit(work_context);
}

/* This executor is busy with a run now: the lane wants one executor less. */
static void
take_in_hand(int64 run_id)
{
	MjLane *entry;

	mj_lock();
	mj_my_slot->state = MJ_SLOT_BUSY;
	mj_my_slot->run_id = run_id;
	entry = mj_lane_find(mj_my_slot->database, mj_my_slot->lane);
	if (entry != NULL && entry->wanted > 0)
		entry->wanted--;
	mj_unlock();
}

/* Serve the lane's next run; false when it has none. */
static bool
serve_run(void)
{
	bool fit;

	if (!claim(&current, &fit))
		return false;
	if (!fit)
		return true;
	take_in_hand(current.run.run_id);
	execute(&current);
	clean_session();
	return true;
}

/* Serve a batch of mails; false when none is due. */
static bool
serve_mails(void)
{
	if (mj_mailer_run_batch(mj_my_slot->worker_id, MJ_MAILER_BATCH) == 0)
		return false;
	mj_slot_set_state(MJ_SLOT_BUSY, 0);
	return true;
}

/*
 * Serve once.  The slot says idle before the queue is looked at, so that
 * whoever commits a run after the look wakes this executor.
 */
static bool
serve(void)
{
	mj_slot_set_state(MJ_SLOT_IDLE, 0);
	if (mj_my_slot->lane == MJ_LANE_MAIL)
		return serve_mails();
	return serve_run();
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
	int served = 0;

	start(main_arg);
	while (served < MJ_MAX_RUNS_PER_EXECUTOR && !mj_worker_must_leave())
	{
		CHECK_FOR_INTERRUPTS();
		(void) mj_worker_reload();
		if (serve())
			served++;
		else
			wait_for_work(served == 0);
	}
	mj_wake_database(mj_my_slot->database, 0);
	mj_worker_finish();
}
