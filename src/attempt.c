/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  The attempt: one execution of a run, and what is written of it.
 *
 * The outcome is written in whatever transaction is open when the command ends:
 * that of the work, unless the command has ended it.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/trigger.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "chain_store.h"
#include "clock.h"
#include "current.h"
#include "fault.h"
#include "guc.h"
#include "history_store.h"
#include "mailer.h"
#include "notices.h"
#include "ping.h"
#include "runlog.h"
#include "schedule.h"
#include "worker.h"
#include "xact.h"

/* How long a run may go on after it was cancelled for its timeout. */
#define MJ_TERMINATE_AFTER_MS 10000

static MemoryContext work_context = NULL; /* of the caller */
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

void
mj_attempt_stop_timeouts(void)
{
	disable_timeout(cancel_timeout, false);
	disable_timeout(terminate_timeout, false);
}

/*
 * Called once in an executor, when it has started.  What an attempt comes to is
 * allocated in "context", which the caller resets, and which must survive a
 * commit.
 */
void
mj_attempt_init(MemoryContext context)
{
	work_context = context;
	cancel_timeout = RegisterTimeout(USER_TIMEOUT, cancel_run);
	terminate_timeout = RegisterTimeout(USER_TIMEOUT, terminate_run);
}

/* Has the run at hand used up its time? */
bool
mj_attempt_timed_out(void)
{
	return run_timed_out;
}

/*
 * Must the command's transaction be committed before its outcome is written?
 * If it is read-only and has written nothing, and after commands whose effects
 * on disk are done already, such as CREATE DATABASE.
 */
bool
mj_attempt_must_commit_first(void)
{
	if (MyXactFlags & XACT_FLAGS_NEEDIMMEDIATECOMMIT)
		return true;
	return XactReadOnly && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* What an attempt came to whose command has succeeded. */
static void
set_success(const MjCommandResult *result, MjOutcome *outcome)
{
	memset(outcome, 0, sizeof(MjOutcome));
	outcome->status = "succeeded";
	outcome->result = result->result;
	outcome->rows_affected = result->rows_affected;
	outcome->rows_isnull = result->rows_isnull;
	outcome->notices = mj_notices_text();
	outcome->finished_at = mj_clock_now();
}

/*
 * Write the outcome of a run that succeeded into the transaction that is open.
 * Raises 55000 if the run was taken from this worker, which undoes its work.
 */
void
mj_attempt_write_success(const MjWork *work, const MjOutcome *outcome)
{
	XactReadOnly = false;
	if (!mj_runlog_succeeded(&work->run, &work->owner, outcome, &work->job))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " was taken from this worker",
						work->run.run_id)));
}

/* Commit what was done, and go on in a transaction for bookkeeping. */
void
mj_attempt_commit_first(void)
{
	mj_worker_commit(work_context);
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	mj_worker_begin(work_context, true);
}

/*
 * Record the outcome of a run that succeeded, in the transaction that is open or
 * in the next one, and commit that.
 */
static void
record_success(const MjWork *work, const MjCommandResult *result)
{
	MjOutcome outcome;

	MJ_FAULT("executor-before-outcome");
	if (mj_attempt_must_commit_first())
		mj_attempt_commit_first();
	set_success(result, &outcome);
	mj_attempt_write_success(work, &outcome);
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

/* Execute the command, in the transaction that is open.  Errors are its own. */
static void
run_command(const MjWork *work, MjCommandResult *result)
{
	MjCommand command;

	command.job_id = work->job.job_id;
	command.version = work->job.version;
	command.text = work->job.command;
	command.args = work->run.args;
	command.args_isnull = work->run.args_isnull;
	command.max_result = (Size) mj_max_result_length_kb * 1024;

	MJ_FAULT("executor-before-work");
	mj_notices_begin(command.max_result);
	mj_runner_execute(&command, result);
	mj_notices_end();
	MJ_FAULT("executor-in-work");
	mj_attempt_stop_timeouts();
}

/* Tell the URL of its job that a run begins, in a transaction of its own. */
static void
ping_start(const MjWork *work)
{
	if (work->job.ping_url == NULL)
		return;
	mj_worker_begin(work_context, false);
	mj_ping_started(&work->job);
	mj_worker_commit(work_context);
}

/* The work: the command and its outcome, in one transaction if it can be. */
static void
perform(const MjWork *work)
{
	MjCommandResult result;

	become_cancellable();
	start_timeouts(&work->job);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(work_context);
	run_command(work, &result);
	record_success(work, &result);
}

/*
 * As perform(), as one of several in a transaction: the command only, and what
 * is to be written of it.  What it has deferred is done here.  To fire that in
 * the midst of a transaction is right since nothing is left of those before: each
 * of them has done the same, or was undone.
 */
void
mj_attempt_perform_part(const MjWork *work, MjOutcome *outcome)
{
	MjCommandResult result;

	become_cancellable();
	start_timeouts(&work->job);
	SetCurrentStatementStartTimestamp();
	run_command(work, &result);
	AfterTriggerFireDeferred();
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	set_success(&result, outcome);
}

/*
 * The error that is being caught, in work_context.  Interrupts are held, for the
 * caller to abort the (sub)transaction, and to go on by mj_attempt_resume().
 */
ErrorData *
mj_attempt_catch(void)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	mj_notices_end();
	mj_worker_cancellable = false;
	mj_attempt_stop_timeouts();
	MemoryContextSwitchTo(work_context);
	error = CopyErrorData();
	FlushErrorState();
	return error;
}

/* The (sub)transaction of the error is aborted. */
void
mj_attempt_resume(void)
{
	PortalErrorCleanup();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	jit_reset_after_error();
	MemoryContextSwitchTo(work_context);
	QueryCancelPending = false;
	RESUME_INTERRUPTS();
}

/* The error that is being caught, in work_context; the transaction is aborted. */
static ErrorData *
take_error(void)
{
	ErrorData *error = mj_attempt_catch();

	AbortCurrentTransaction();
	mj_attempt_resume();
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
void
mj_attempt_set_failure(const MjWork *work, const ErrorData *error,
					   MjOutcome *outcome)
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
void
mj_attempt_record_failure(const MjWork *work, const ErrorData *error)
{
	MjOutcome outcome;

	mj_attempt_set_failure(work, error, &outcome);
	MJ_FAULT("executor-before-failure");
	mj_worker_begin(work_context, true);
	mj_mailer_put_back_leftovers(work->run.worker_id);
	(void) mj_runlog_failed(&work->run, &work->owner, &outcome, &work->job);
	MJ_FAULT("executor-failure-written");
	mj_worker_commit(work_context);
	mj_runlog_report(&work->run, &work->owner, &outcome);
}

/* From now on a run is the one at hand, for those who look. */
void
mj_attempt_begin(const MjWork *work)
{
	run_timed_out = false;
	debug_query_string = work->job.command;
	pgstat_report_activity(STATE_RUNNING, work->job.command);
	mj_current_begin(work->run.run_id, work->run.args, work->run.args_isnull);
	mj_runlog_started(&work->run, &work->owner);
}

/* The end of mj_attempt_begin(). */
void
mj_attempt_end(void)
{
	mj_current_end();
	mj_notices_forget();
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Execute a claimed run and record what became of it. */
void
mj_attempt_execute(const MjWork *work)
{
	ErrorData *volatile error = NULL;

	mj_attempt_begin(work);
	ping_start(work);
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
		mj_attempt_record_failure(work, error);
	mj_attempt_end();
}
