/*-------------------------------------------------------------------------
 *
 * api_control.c
 *	  The SQL functions that act on runs, one or many: cancel, retry, clean;
 *	  and on all of a database: drain, undrain.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "access.h"
#include "argument.h"
#include "clock.h"
#include "history_store.h"
#include "job_lookup.h"
#include "job_store.h"
#include "lease.h"
#include "mail_store.h"
#include "queue_store.h"
#include "runlog.h"
#include "schedule.h"
#include "selection_store.h"
#include "shmem.h"
#include "worker.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_cancel);
PG_FUNCTION_INFO_V1(mj_api_retry);
PG_FUNCTION_INFO_V1(mj_api_retry_many);
PG_FUNCTION_INFO_V1(mj_api_cancel_many);
PG_FUNCTION_INFO_V1(mj_api_clean);
PG_FUNCTION_INFO_V1(mj_api_drain);
PG_FUNCTION_INFO_V1(mj_api_undrain);

/* How often drain() looks whether the executors have left. */
#define MJ_DRAIN_LOOK_MS 100L

/* The run id that is the first argument; raises 22004. */
static int64
run_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("run id must not be null")));
	return PG_GETARG_INT64(0);
}

static void
raise_unknown(int64 run_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("run " INT64_FORMAT " does not exist", run_id),
		 errhint(
			 "The views jobs.queued, jobs.active and jobs.history list them.")));
}

/* Raise 42501 unless the current user is a member of a run's role. */
static void
check_member(int64 run_id, Oid role)
{
	if (!mj_access_is_member(role) && !mj_access_is_operator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for run " INT64_FORMAT, run_id)));
}

/*
 * Raise 42501 unless the current user may operate a live run: its job, or, of a
 * mail and of a job that is gone, its role.
 */
static void
check_operate(const MjRun *run)
{
	MjJob job;
	MjMail mail;

	if (run->job_id == 0)
		check_member(run->run_id,
					 mj_mail_load(&run->run_id, 1, &mail) == 1 ? mail.role_oid :
																 InvalidOid);
	else if (mj_job_by_id(run->job_id, &job))
		mj_access_check_operate(&job);
	else
		check_member(run->run_id, run->lane > 0 ? (Oid) run->lane : InvalidOid);
}

/* The reason of a cancel, for the history. */
static const char *
reason_of_user(void)
{
	return psprintf("cancelled by role \"%s\"",
					GetUserNameFromId(GetUserId(), false));
}

/* End a live run that the caller may operate; false when it cannot be told. */
static bool
cancel_run(int64 run_id, const char *reason)
{
	MjRun run;

	if (mj_queue_take_unstarted(run_id, &run))
	{
		mj_runlog_withdrawn(&run, reason);
		mj_xact_wake(0, MJ_LANE_NONE);
		return true;
	}
	return mj_lease_cancel(run_id, reason) || mj_run_cancel(run_id, reason);
}

/*
 * jobs.cancel(run_id) returns boolean: a run that waits, or that a worker
 * outside has, ends at the caller's commit; one that is running here is told to,
 * at once, whatever becomes of the caller.  False when it has ended, or cannot be told.  Raises 42704, 42501.
 */
Datum
mj_api_cancel(PG_FUNCTION_ARGS)
{
	int64 run_id = run_argument(fcinfo);
	MjOutcome outcome;
	TimestampTz started_at;
	MjRun run;

	PreventCommandIfReadOnly("jobs.cancel()");
	if (!mj_queue_find(run_id, &run))
	{
		if (!mj_history_last(run_id, &outcome, &started_at))
			raise_unknown(run_id);
		PG_RETURN_BOOL(false);
	}
	check_operate(&run);
	PG_RETURN_BOOL(cancel_run(run_id, reason_of_user()));
}

/* Raise unless a run that has ended can be put into the queue again. */
static void
check_retry(int64 run_id, const MjOutcome *outcome, int64 job_id, MjJob *job)
{
	if (job_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a mail cannot be sent again by jobs.retry()"),
				 errhint("jobs.resend() sends a mail again.")));
	if (!mj_job_by_id(job_id, job))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the job of run " INT64_FORMAT " was unscheduled",
						run_id)));
	mj_access_check_operate(job);
	if (!OidIsValid(mj_access_job_role(job)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", job->role)));
	if (strcmp(outcome->status, "succeeded") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " of job \"%s\" has succeeded",
						run_id, job->name),
				 errhint("jobs.run_now() makes a new run.")));
}

/*
 * Put a run back that has ended without success, of a job that the caller may
 * operate.  *job is its job, if the last one was; read when it is another one.
 */
static bool
retry_dead(int64 run_id, MjJob *job, TimestampTz now)
{
	MjOutcome outcome;
	TimestampTz started_at;

	if (!mj_history_last(run_id, &outcome, &started_at))
		return false;
	if (outcome.job_id != job->job_id && !mj_job_by_id(outcome.job_id, job))
		return false;
	job->role_oid = mj_access_job_role(job);
	return OidIsValid(job->role_oid) &&
		mj_queue_reinsert(run_id, job, mj_job_lane(job), now);
}

/*
 * jobs.retry(run_id) returns boolean: a run that has ended without success goes
 * into the queue again, at the caller's commit; one that waits to be tried
 * again need not wait any more.  False when it is under way anyway.  Raises
 * 42704, 42501, 55000, 0A000 (a mail).
 */
Datum
mj_api_retry(PG_FUNCTION_ARGS)
{
	int64 run_id = run_argument(fcinfo);
	TimestampTz now = mj_clock_now();
	MjOutcome outcome;
	TimestampTz started_at;
	bool done;
	MjRun run;
	MjJob job;

	PreventCommandIfReadOnly("jobs.retry()");
	if (mj_queue_find(run_id, &run))
	{
		check_operate(&run);
		done = mj_queue_hasten(run_id, now);
	}
	else
	{
		if (!mj_history_last(run_id, &outcome, &started_at))
			raise_unknown(run_id);
		check_retry(run_id, &outcome, outcome.job_id, &job);
		job.role_oid = mj_access_job_role(&job);
		done = mj_queue_reinsert(run_id, &job, mj_job_lane(&job), now);
	}
	mj_xact_wake(0, MJ_LANE_NONE);
	PG_RETURN_BOOL(done);
}

/*
 * The job, status and greatest number that a call by filter means.  Without a job
 * these are runs of all jobs that the caller may operate.  Raises 42704, 42501,
 * 22023.
 */
static void
take_selection(FunctionCallInfo fcinfo, int most, MjSelection *selection)
{
	memset(selection, 0, sizeof(MjSelection));
	if (!PG_ARGISNULL(0))
	{
		MjJob job;

		mj_job_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), &job);
		mj_access_check_operate(&job);
		selection->job_id = job.job_id;
	}
	else if (!mj_access_is_operator())
		selection->member = GetUserId();
	if (!PG_ARGISNULL(1))
		selection->status = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(most))
		selection->most = PG_GETARG_INT32(most);
	if (!PG_ARGISNULL(most) && selection->most <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of runs must be at least 1")));
}

/* Raise 22023 unless a status is one of some, or not given. */
static void
check_status(const char *status, const char *const *statuses, const char *list)
{
	int i;

	if (status == NULL)
		return;
	for (i = 0; statuses[i] != NULL; i++)
		if (strcmp(status, statuses[i]) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid status: \"%s\"", status),
			 errhint("Available values: %s.", list)));
}

/*
 * jobs.retry(job, status, since, until, max_runs) returns bigint: runs that have
 * ended without success go into the queue again, at the caller's commit.
 * Returns how many.  Raises 42704, 42501, 22023.
 */
Datum
mj_api_retry_many(PG_FUNCTION_ARGS)
{
	static const char *const statuses[] = { "failed",	 "timed_out", "crashed",
											"cancelled", "expired",	  "skipped",
											NULL };
	TimestampTz now = mj_clock_now();
	MjSelection selection;
	MjJob job = { 0 };
	int64 *run_ids;
	int64 done = 0;
	int n;
	int i;

	PreventCommandIfReadOnly("jobs.retry()");
	take_selection(fcinfo, 4, &selection);
	check_status(selection.status, statuses,
				 "failed, timed_out, crashed, cancelled, expired, skipped");
	selection.since = mj_argument_instant(fcinfo, 2);
	selection.until = mj_argument_instant(fcinfo, 3);
	n = mj_select_dead(&selection, &run_ids);
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (retry_dead(run_ids[i], &job, now))
			done++;
	}
	mj_xact_wake(0, MJ_LANE_NONE);
	PG_RETURN_INT64(done);
}

/*
 * jobs.cancel(job, state, max_runs) returns bigint: as jobs.cancel() of each live
 * run of a job, or of all; returns how many.  Raises 42704, 42501, 22023.
 */
Datum
mj_api_cancel_many(PG_FUNCTION_ARGS)
{
	static const char *const states[] = { "waiting", "paused",	"held",
										  "ready",	 "running", NULL };
	const char *reason = reason_of_user();
	MjSelection selection;
	int64 *run_ids;
	int64 done = 0;
	int n;
	int i;

	PreventCommandIfReadOnly("jobs.cancel()");
	take_selection(fcinfo, 2, &selection);
	check_status(selection.status, states,
				 "waiting, paused, held, ready, running");
	n = mj_select_live(&selection, &run_ids);
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (cancel_run(run_ids[i], reason))
			done++;
	}
	PG_RETURN_INT64(done);
}

/*
 * jobs.clean(job, status, older_than, max_rows) returns bigint: deletes history,
 * the oldest first, and returns how many attempts.  Raises 42704, 42501, 22023.
 */
Datum
mj_api_clean(PG_FUNCTION_ARGS)
{
	static const char *const statuses[] = { "succeeded", "failed",
											"timed_out", "crashed",
											"cancelled", "skipped",
											"expired",	 NULL };
	MjSelection selection;
	int64 n;

	PreventCommandIfReadOnly("jobs.clean()");
	take_selection(fcinfo, 3, &selection);
	check_status(
		selection.status, statuses,
		"succeeded, failed, timed_out, crashed, cancelled, skipped, expired");
	if (PG_ARGISNULL(0) && PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("nothing says what history is to be deleted"),
			 errhint(
				 "Give a job, a status or an age: jobs.clean(older_than => '30 days').")));
	if (!PG_ARGISNULL(2))
		selection.until = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_mi_interval,
								TimestampTzGetDatum(mj_clock_now()),
								PG_GETARG_DATUM(2)));
	n = mj_select_clean(&selection);
	PG_RETURN_INT64(n);
}

/* Close this database to executors, or open it. */
static void
set_drained(bool drained)
{
	MjDatabase *entry;

	mj_lock();
	entry = mj_database_enter(MyDatabaseId);
	if (entry != NULL)
		entry->drained = drained;
	mj_unlock();
	if (entry == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg(
				 "there are more databases than motionify_jobs.max_databases"),
			 errhint(
				 "Increase motionify_jobs.max_databases and restart the server.")));
}

/* Executors of this database that are still there. */
static int
count_executors(void)
{
	int n;

	mj_lock();
	n = mj_slot_count(MJ_WORKER_EXECUTOR, MyDatabaseId, MJ_LANE_NONE);
	mj_unlock();
	return n;
}

/* Have this database's executors leave when they are done. */
static void
wake_executors(void)
{
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].kind == MJ_WORKER_EXECUTOR &&
			mj_slots[i].database == MyDatabaseId)
			mj_slot_set_latch(&mj_slots[i]);
	mj_unlock();
}

/*
 * Wait until no executor is left and no worker outside has a run, or until an
 * instant (DT_NOEND: for ever), by the real clock.  Returns whether that is so.
 * Interruptible.
 */
static bool
wait_for_work(TimestampTz until)
{
	while (count_executors() > 0 || mj_lease_any())
	{
		if (mj_clock_real() >= until)
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 MJ_DRAIN_LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Raise unless the current user may stop and start the jobs of a database. */
static void
check_drain(const char *function)
{
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	PreventCommandDuringRecovery(function);
	if (!mj_access_is_operator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to drain the jobs of a database"),
				 errhint("It takes level operator.")));
	if (mj_my_slot != NULL && mj_my_slot->kind == MJ_WORKER_EXECUTOR)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a job cannot wait for the end of all jobs")));
}

/*
 * jobs.drain(timeout interval) returns boolean: no run of this database is
 * started any more, and those at work, in the server or outside, are waited for, at most for the time
 * given.  Returns whether none is left.  It lasts until jobs.undrain() or a
 * restart of the server, whatever becomes of the caller.  Raises 55000, 25006,
 * 42501, 0A000 (in a job), 22023.
 */
Datum
mj_api_drain(PG_FUNCTION_ARGS)
{
	TimestampTz until = DT_NOEND;

	check_drain("jobs.drain()");
	if (!PG_ARGISNULL(0))
	{
		double us = mj_interval_usecs(PG_GETARG_INTERVAL_P(0));

		if (us < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("timeout must not be negative")));
		until = mj_clock_real() + (TimestampTz) Min(us, 1e17);
	}
	set_drained(true);
	wake_executors();
	PG_RETURN_BOOL(wait_for_work(until));
}

/* jobs.undrain(): runs are started again.  Raises as jobs.drain(). */
Datum
mj_api_undrain(PG_FUNCTION_ARGS)
{
	check_drain("jobs.undrain()");
	set_drained(false);
	mj_wake_database(MyDatabaseId, 0);
	PG_RETURN_VOID();
}
