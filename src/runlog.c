/*-------------------------------------------------------------------------
 *
 * runlog.c
 *	  The end of an attempt: what it does to the run, the history and the
 *	  server log.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "call_store.h"
#include "chain_store.h"
#include "clock.h"
#include "guc.h"
#include "lease_store.h"
#include "mail_store.h"
#include "notices.h"
#include "ping.h"
#include "retry.h"
#include "runlog.h"
#include "xact.h"

/* Whose a job's runs are, for the log. */
void
mj_runlog_owner(const MjJob *job, MjRunOwner *owner)
{
	owner->job = job->name;
	owner->job_group = job->job_group;
	owner->role = job->role;
	owner->role_oid = job->role_oid;
}

/* Whose a mail is. */
static void
own_by_mail(const MjRun *run, MjRunOwner *owner)
{
	MjMail mail;

	owner->job = MJ_MAIL_JOB_NAME;
	if (mj_mail_load(&run->run_id, 1, &mail) != 1)
		return;
	owner->role = mail.role;
	owner->role_oid = mail.role_oid;
}

/* Whose a call is. */
static void
own_by_call(const MjRun *run, MjRunOwner *owner)
{
	MjCall call;

	mj_call_load(&run->run_id, 1, &call);
	mj_runlog_call_owner(&call, owner);
}

/* The same of one that is at hand. */
void
mj_runlog_call_owner(const MjCall *call, MjRunOwner *owner)
{
	memset(owner, 0, sizeof(MjRunOwner));
	owner->job = MJ_CALL_JOB_NAME;
	owner->role = call->role;
	owner->role_oid = call->role_oid;
}

/* The same for a run whose definition was not at hand; it may be gone. */
static void
find_owner(const MjRun *run, MjRunOwner *owner)
{
	MjJob job;

	memset(owner, 0, sizeof(MjRunOwner));
	owner->role = "";
	if (run->job_id == 0)
		own_by_mail(run, owner);
	else if (run->job_id == MJ_CALL_JOB_ID)
		own_by_call(run, owner);
	else if (mj_job_by_id(run->job_id, &job))
		mj_runlog_owner(&job, owner);
	else
		owner->job = psprintf("unscheduled job " INT64_FORMAT, run->job_id);
}

/*
 * Take a running run out of the queue, from a worker of the server or from one
 * outside; false when it has it no longer.
 */
static bool
take(const MjRun *run)
{
	return run->token != NULL ? mj_lease_delete(run) :
								mj_queue_delete(run->run_id, run->worker_id);
}

/* The same, but it stays in the queue, in the lane of its job. */
static bool
put_back(MjRun *run, const MjJob *job, TimestampTz run_at, bool ready)
{
	if (run->token == NULL)
		return mj_queue_put_back(run, run_at, ready);
	run->lane = mj_job_lane(job);
	return mj_lease_put_back(run, run_at, ready);
}

/*
 * Tell the URL of its job that a run has failed for good; of a job that is not at
 * hand (NULL), it is looked up.
 */
static void
ping_failure(const MjRun *run, const MjJob *job, const MjOutcome *outcome)
{
	MjJob found;

	if (job == NULL && run->job_id > 0 && mj_job_by_id(run->job_id, &found))
		job = &found;
	if (job != NULL)
		mj_ping_failed(job, outcome);
}

/*
 * Remove a run that is over, and log how.  job may be NULL.
 */
static void
finish(const MjRun *run, const MjRunOwner *owner, const MjOutcome *outcome,
	   const MjJob *job)
{
	if (take(run))
	{
		mj_history_insert(run, owner, outcome);
		if (strcmp(outcome->status, "cancelled") != 0)
			ping_failure(run, job, outcome);
	}
	mj_xact_run_ended(run->run_id);
	mj_xact_wake(0, MJ_LANE_NONE);
}

/*
 * An attempt failed, timed out or was cancelled: log it, and put the run back
 * after the backoff if it is worth another attempt.  Cancelled is final.  Returns
 * when it is tried again; 0: not at all.
 */
TimestampTz
mj_runlog_failed(const MjRun *run, const MjRunOwner *owner,
				 const MjOutcome *outcome, const MjJob *job)
{
	MjRun next = *run;
	TimestampTz run_at;

	next.failures++;
	if (strcmp(outcome->status, "cancelled") == 0 ||
		!mj_retry_is_worth_it(job, next.failures, outcome->sqlstate))
	{
		finish(run, owner, outcome, job);
		return 0;
	}
	run_at = mj_retry_at(job, next.failures, outcome->finished_at);
	if (put_back(&next, job, run_at, false))
		mj_history_insert(run, owner, outcome);
	mj_xact_run_ended(run->run_id);
	mj_xact_wake(run_at, MJ_LANE_NONE);
	return run_at;
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

/* What follows from a success. */
static void
follow_success(const MjRun *run, const MjOutcome *outcome, const MjJob *job)
{
	if (job->has_successors)
		mj_chain_record_success(run->run_id, job->job_id);
	if (job->ping_url != NULL)
		mj_ping_succeeded(job, outcome);
	mj_xact_run_ended(run->run_id);
	if (has_sequel(job))
		mj_xact_wake(0, MJ_LANE_NONE);
}

/*
 * A worker of the server has done what it had.  False if the run was taken from it
 * meanwhile: then nothing is written.
 */
bool
mj_runlog_succeeded(const MjRun *run, const MjRunOwner *owner,
					const MjOutcome *outcome, const MjJob *job)
{
	if (!mj_history_end_run(run, owner, outcome))
		return false;
	follow_success(run, outcome, job);
	return true;
}

/* A worker outside has done what it had; it holds the lease. */
void
mj_runlog_completed(const MjRun *run, const MjRunOwner *owner,
					const MjOutcome *outcome, const MjJob *job)
{
	if (take(run))
		mj_history_insert(run, owner, outcome);
	follow_success(run, outcome, job);
	mj_runlog_report(run, owner, outcome);
}

/*
 * A claimed run is cancelled by who has not begun it; or it is taken from a worker
 * outside, for good, whose lease is locked.
 */
void
mj_runlog_cancelled(const MjRun *run, const char *reason)
{
	MjRunOwner owner;
	MjOutcome outcome = { 0 };

	find_owner(run, &owner);
	outcome.status = "cancelled";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57014";
	outcome.error = reason;
	outcome.finished_at = mj_clock_now();
	finish(run, &owner, &outcome, NULL);
	mj_runlog_report(run, &owner, &outcome);
}

/* A run cannot be started, now or later: end it with the reason. */
void
mj_runlog_refused(const MjRun *run, const MjRunOwner *owner,
				  const MjRoleProblem *problem)
{
	MjOutcome outcome = { 0 };

	outcome.status = "failed";
	outcome.rows_isnull = true;
	outcome.sqlstate = pstrdup(unpack_sql_state(problem->sqlstate));
	outcome.error = problem->message;
	outcome.error_detail = problem->hint[0] ? problem->hint : NULL;
	outcome.finished_at = mj_clock_now();
	finish(run, owner, &outcome, NULL);
	mj_runlog_report(run, owner, &outcome);
}

/*
 * Who had a mail in hand died, or left it: nobody knows whether it was sent.
 * Is it to be held, until somebody says what becomes of it?
 */
static bool
is_to_be_held(const MjRun *run)
{
	return run->lane == MJ_LANE_MAIL &&
		mj_mail_on_uncertain == MJ_UNCERTAIN_HOLD;
}

/* Hold such a mail. */
static void
hold_mail(const MjRun *run)
{
	MjRunOwner owner;
	MjOutcome outcome = { 0 };

	find_owner(run, &owner);
	outcome.status = "uncertain";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57P02";
	outcome.error = "the process that had the mail in hand ended";
	outcome.error_detail =
		"It may have been sent; jobs.resend() sends it again.";
	outcome.finished_at = mj_clock_now();
	finish(run, &owner, &outcome, NULL);
	mj_mail_end(run->run_id, "uncertain", 0, outcome.error);
	mj_runlog_report(run, &owner, &outcome);
}

/*
 * An attempt was interrupted, by shutdown or termination: the run goes back,
 * ready, and it counts neither as a failure nor as a crash.  A run that is
 * interrupted again and again may be doing that itself: then it counts as one.
 */
void
mj_runlog_interrupted(const MjRun *run, const char *why)
{
	MjRunOwner owner;
	MjOutcome outcome = { 0 };

	if (is_to_be_held(run))
	{
		hold_mail(run);
		return;
	}
	if (mj_run_uncounted(run) > MJ_MAX_INTERRUPTIONS)
	{
		mj_runlog_crashed(run);
		return;
	}
	find_owner(run, &owner);
	outcome.status = "cancelled";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57P01";
	outcome.error = psprintf("interrupted: %s", why);
	outcome.error_detail = "The run went back to the queue.";
	outcome.notices = mj_notices_text();
	outcome.finished_at = mj_clock_now();
	if (mj_queue_put_back(run, run->run_at, true))
		mj_history_insert(run, &owner, &outcome);
	mj_xact_wake(0, MJ_LANE_NONE);
}

/*
 * Can the job be paused now, if this is the crash after which it is?  Nobody
 * waits here for a lock that a user may hold for long.
 */
static bool
can_pause(const MjRun *run, int crashes)
{
	MjJob job;

	return crashes < MJ_MAX_CRASHES || run->job_id <= 0 ||
		mj_job_try_lock(run->job_id) || !mj_job_by_id(run->job_id, &job);
}

/* The last crash that a run is granted: give it up, and pause its job. */
static void
quarantine(const MjRun *run, const MjRunOwner *owner, MjOutcome *outcome)
{
	finish(run, owner, outcome, NULL);
	if (run->job_id == 0)
		mj_mail_end(run->run_id, "failed", 0, outcome->error);
	else if (run->job_id == MJ_CALL_JOB_ID)
		mj_call_end(run->run_id, "failed", outcome->error);
	else
		mj_job_set_paused(run->job_id, true,
						  psprintf("run " INT64_FORMAT
								   " ended its process %d times",
								   run->run_id, MJ_MAX_CRASHES),
						  mj_clock_now());
}

/*
 * The process of an attempt died without a word.  The run goes back, ready;
 * the third time it is given up and its job paused.
 */
void
mj_runlog_crashed(const MjRun *run)
{
	MjRunOwner owner;
	MjRun next = *run;
	MjOutcome outcome = { 0 };

	if (is_to_be_held(run))
	{
		hold_mail(run);
		return;
	}
	if (!can_pause(run, next.crashes + 1))
		return; /* its job is locked; the next sweep */
	find_owner(run, &owner);
	next.crashes++;
	outcome.status = "crashed";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57P02";
	outcome.error = "the process that ran it died";
	outcome.error_detail =
		psprintf("Crash %d of this run; at %d its job is paused.", next.crashes,
				 MJ_MAX_CRASHES);
	outcome.notices = mj_notices_text();
	outcome.finished_at = mj_clock_now();
	if (next.crashes >= MJ_MAX_CRASHES)
		quarantine(run, &owner, &outcome);
	else if (mj_queue_put_back(&next, run->run_at, true))
		mj_history_insert(run, &owner, &outcome);
	mj_runlog_report(run, &owner, &outcome);
}

/* A run that never was: an overlap, or a missed instant. */
void
mj_runlog_skipped(const MjRun *run, const MjRunOwner *owner, const char *reason)
{
	MjOutcome outcome = { 0 };

	outcome.status = "skipped";
	outcome.rows_isnull = true;
	outcome.error = reason;
	outcome.finished_at = mj_clock_now();
	mj_history_insert(run, owner, &outcome);
	mj_xact_run_ended(run->run_id);
	mj_runlog_report(run, owner, &outcome);
}

/* The same for a run that was in the queue. */
void
mj_runlog_passed_over(const MjRun *run, const char *reason)
{
	MjRunOwner owner;

	find_owner(run, &owner);
	mj_runlog_skipped(run, &owner, reason);
}

/*
 * A run that was taken out of the queue while it was not running has ended as
 * cancelled.  If it has been tried before, this counts as its next attempt, one
 * that was not started.
 */
void
mj_runlog_withdrawn(const MjRun *run, const char *reason)
{
	MjRun last = *run;
	MjRunOwner owner;
	MjOutcome outcome = { 0 };

	find_owner(run, &owner);
	if (run->attempt > 0)
		last.attempt++;
	outcome.status = "cancelled";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57014";
	outcome.error = reason;
	outcome.finished_at = mj_clock_now();
	mj_history_insert(&last, &owner, &outcome);
	if (run->job_id == 0)
		mj_mail_end(run->run_id, "cancelled", 0, reason);
	if (run->job_id == MJ_CALL_JOB_ID)
		mj_call_end(run->run_id, "cancelled", reason);
	mj_xact_run_ended(run->run_id);
	mj_runlog_report(&last, &owner, &outcome);
}

/* Seconds that an attempt took. */
static double
seconds_of(const MjRun *run, const MjOutcome *outcome)
{
	if (run->started_at == 0)
		return 0.0;
	return (double) (outcome->finished_at - run->started_at) / USECS_PER_SEC;
}

/* Log a start, if motionify_jobs.log_runs says so. */
void
mj_runlog_started(const MjRun *run, const MjRunOwner *owner)
{
	if (mj_log_runs == MJ_LOG_ALL)
		ereport(LOG,
				(errmsg("job \"%s\" started (run " INT64_FORMAT ", attempt %d)",
						owner->job, run->run_id, run->attempt),
				 errhidestmt(true)));
}

/*
 * Is a success news?  Its result is something other than 0; and it was not
 * enqueued: of those there may be thousands a second.
 */
static bool
is_news(const MjRun *run, const MjOutcome *outcome)
{
	return strcmp(run->trigger, "queue") != 0 && outcome->result != NULL &&
		strcmp(outcome->result, "0") != 0;
}

/* Log an end, if motionify_jobs.log_runs says so. */
void
mj_runlog_report(const MjRun *run, const MjRunOwner *owner,
				 const MjOutcome *outcome)
{
	if (strcmp(outcome->status, "succeeded") == 0)
	{
		if (mj_log_runs == MJ_LOG_ALL ||
			(mj_log_runs == MJ_LOG_CHANGES && is_news(run, outcome)))
			ereport(
				LOG,
				(errmsg("job \"%s\" completed: %s, %.3f s (run " INT64_FORMAT
						")",
						owner->job, outcome->result ? outcome->result : "null",
						seconds_of(run, outcome), run->run_id),
				 errhidestmt(true)));
	}
	else if (strcmp(outcome->status, "skipped") == 0)
	{
		if (mj_log_runs >= MJ_LOG_CHANGES)
			ereport(LOG,
					(errmsg("job \"%s\" skipped: %s", owner->job,
							outcome->error),
					 errhidestmt(true)));
	}
	else if (mj_log_runs >= MJ_LOG_FAILURES)
		ereport(LOG,
				(errmsg("job \"%s\" %s: %s (run " INT64_FORMAT
						", attempt %d, %.3f s)",
						owner->job, outcome->status, outcome->error,
						run->run_id, run->attempt, seconds_of(run, outcome)),
				 errhidestmt(true)));
}
