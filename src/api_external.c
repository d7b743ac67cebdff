/*-------------------------------------------------------------------------
 *
 * api_external.c
 *	  The SQL functions by which workers outside of the server do runs: claim,
 *	  heartbeat, complete, fail, release, channel.
 *
 * All is the caller's transaction: a claim is as durable as its commit, and
 * what is completed with other changes is done if and only if they are.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "argument.h"
#include "clock.h"
#include "guc.h"
#include "job_lookup.h"
#include "lease.h"
#include "ping.h"
#include "retry.h"
#include "runlog.h"
#include "schedule.h"
#include "shmem.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_claim);
PG_FUNCTION_INFO_V1(mj_api_heartbeat);
PG_FUNCTION_INFO_V1(mj_api_complete);
PG_FUNCTION_INFO_V1(mj_api_fail);
PG_FUNCTION_INFO_V1(mj_api_release);
PG_FUNCTION_INFO_V1(mj_api_channel);

/* Runs that one call claims at most. */
#define MAX_CLAIM 1000
#define MAX_LEASE_DAYS 24
#define MAX_WORKER 200 /* bytes of a worker's name */
#define MAX_NOTE 200   /* bytes of a note that are kept */

/* The SQLSTATE of a failure that names none: external_routine_exception. */
#define DEFAULT_SQLSTATE "38000"
#define SQLSTATE_LENGTH 5

/* Arguments of jobs.claim() */
enum
{
	CLAIM_JOB,
	CLAIM_MAX_RUNS,
	CLAIM_LEASE,
	CLAIM_WORKER
};

/* Its columns */
enum
{
	ROW_RUN_ID,
	ROW_TOKEN,
	ROW_JOB,
	ROW_ARGS,
	ROW_ATTEMPT,
	ROW_PRIORITY,
	ROW_DUE_AT,
	ROW_LEASE_UNTIL,
	ROW_FAILURES,
	ROW_MAX_ATTEMPTS,
	ROW_COLUMNS
};

/* Arguments of jobs.heartbeat() */
enum
{
	BEAT_TOKEN,
	BEAT_LEASE,
	BEAT_DONE,
	BEAT_TOTAL,
	BEAT_NOTE
};

/* Arguments of jobs.fail() */
enum
{
	FAIL_TOKEN,
	FAIL_ERROR,
	FAIL_RETRY,
	FAIL_RETRY_IN,
	FAIL_DETAIL,
	FAIL_SQLSTATE
};

/* Raise 22004 for an argument that is NULL. */
static void
check_given(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

/* The token that is the first argument; raises 22004. */
static const pg_uuid_t *
token_argument(FunctionCallInfo fcinfo)
{
	check_given(fcinfo, 0, "token");
	return PG_GETARG_UUID_P(0);
}

/* An interval from 0, or above, up to some days; raises 22023. */
static Interval *
interval_argument(FunctionCallInfo fcinfo, int n, const char *what,
				  bool zero_too, int most_days)
{
	Interval *value = PG_GETARG_INTERVAL_P(n);
	double us = mj_interval_usecs(value);

	if (us < 0 || (us == 0 && !zero_too) ||
		us > (double) most_days * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", what),
				 errdetail("It must be %s, and at most %d days.",
						   zero_too ? "zero or more" : "greater than zero",
						   most_days)));
	return value;
}

/* A text, cut at a character's border. */
static char *
cut(char *value, int most)
{
	int length = value ? strlen(value) : 0;

	if (length > most)
		value[pg_mbcliplen(value, length, most)] = '\0';
	return value;
}

/* A text of an outcome, cut as those of SQL runs are. */
static char *
cut_outcome(char *value)
{
	return cut(value, mj_max_result_length_kb * 1024);
}

/* Raise unless leases given in this database also end. */
static void
check_preloaded(void)
{
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
}

/* The job that a worker asks for runs of; raises 42704, 42501, 55000. */
static void
require_external(FunctionCallInfo fcinfo, MjJob *job)
{
	check_given(fcinfo, CLAIM_JOB, "job name");
	mj_job_require(mj_argument_text(fcinfo, CLAIM_JOB), job);
	mj_access_check_manage(job);
	if (!job->external)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("job \"%s\" is not external", job->name),
			 errdetail("Its runs are executed in the server."),
			 errhint(
				 "jobs.schedule(..., handler => 'external') has workers outside do them.")));
	mj_job_check_own(job);
}

/* Is no run of this database to be started now, by settings or a drain? */
static bool
is_closed(void)
{
	MjDatabase *entry;
	bool drained;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	drained = entry != NULL && entry->drained;
	mj_unlock();
	return drained || !mj_enabled ||
		!mj_guc_database_is_served(get_database_name(MyDatabaseId));
}

/* How many runs are to be claimed; raises 22023. */
static int32
max_runs_argument(FunctionCallInfo fcinfo)
{
	int32 n =
		PG_ARGISNULL(CLAIM_MAX_RUNS) ? 1 : PG_GETARG_INT32(CLAIM_MAX_RUNS);

	if (n < 1 || n > MAX_CLAIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_runs must be from 1 to %d", MAX_CLAIM)));
	return n;
}

/* What the worker calls itself: by default, its session's application. */
static const char *
worker_argument(FunctionCallInfo fcinfo)
{
	char *worker = mj_argument_text(fcinfo, CLAIM_WORKER);

	if (worker == NULL)
		worker = pstrdup(application_name ? application_name : "");
	return worker[0] ? cut(worker, MAX_WORKER) : NULL;
}

/* Add the row of a claimed run. */
static void
add_claimed(ReturnSetInfo *result, const MjLease *lease, const MjJob *job)
{
	const MjRun *run = &lease->run;
	Datum values[ROW_COLUMNS];
	bool nulls[ROW_COLUMNS] = { false };

	values[ROW_RUN_ID] = Int64GetDatum(run->run_id);
	values[ROW_TOKEN] = UUIDPGetDatum(run->token);
	values[ROW_JOB] = CStringGetTextDatum(job->name);
	values[ROW_ARGS] = run->args;
	nulls[ROW_ARGS] = run->args_isnull;
	values[ROW_ATTEMPT] = Int32GetDatum(run->attempt);
	values[ROW_PRIORITY] = Int32GetDatum(run->priority);
	values[ROW_DUE_AT] = TimestampTzGetDatum(run->due_at);
	values[ROW_LEASE_UNTIL] = TimestampTzGetDatum(lease->until);
	values[ROW_FAILURES] = Int32GetDatum(run->failures);
	values[ROW_MAX_ATTEMPTS] = Int32GetDatum(job->max_attempts);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* What the arguments of jobs.claim() say of the leases; raises 22023. */
static void
take_terms(FunctionCallInfo fcinfo, const MjJob *job, TimestampTz now,
		   MjLease *terms)
{
	static Interval one_minute = { .time = USECS_PER_MINUTE };

	memset(terms, 0, sizeof(MjLease));
	terms->length = PG_ARGISNULL(CLAIM_LEASE) ?
		&one_minute :
		interval_argument(fcinfo, CLAIM_LEASE, "lease", false, MAX_LEASE_DAYS);
	terms->run.worker = worker_argument(fcinfo);
	terms->until = mj_lease_end(terms->length, job, now, now);
}

/*
 * jobs.claim(job, max_runs, lease, worker) returns table: runs that are ready,
 * which the caller has from its commit on; no row when there is none, or no run
 * is to be started now.  Raises 42704, 42501, 55000, 22023, 22004, 25006.
 */
Datum
mj_api_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = mj_clock_now();
	int32 max_runs = max_runs_argument(fcinfo);
	MjJob job;
	MjRunOwner owner;
	MjLease terms;
	MjLease *leases;
	int n;
	int i;

	PreventCommandIfReadOnly("jobs.claim()");
	check_preloaded();
	require_external(fcinfo, &job);
	take_terms(fcinfo, &job, now, &terms);
	InitMaterializedSRF(fcinfo, 0);
	if (is_closed())
		return (Datum) 0;
	n = mj_lease_claim(mj_job_lane(&job), now, &terms, max_runs, &leases);
	mj_runlog_owner(&job, &owner);
	for (i = 0; i < n; i++)
	{
		add_claimed(result, &leases[i], &job);
		mj_runlog_started(&leases[i].run, &owner);
		mj_ping_started(&job);
	}
	if (n > 0)
		mj_xact_lease(terms.until);
	return (Datum) 0;
}

/* A count that a heartbeat tells; NULL: none.  Raises 22023. */
static int64 *
count_argument(FunctionCallInfo fcinfo, int n, const char *what, int64 *value)
{
	if (PG_ARGISNULL(n))
		return NULL;
	*value = PG_GETARG_INT64(n);
	if (*value < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative: " INT64_FORMAT, what,
						*value)));
	return value;
}

/*
 * jobs.heartbeat(token, lease, done, total, note) returns timestamptz: the
 * caller has the run until then, its job's timeout permitting.  Raises 55000
 * when the run was taken away, 42501, 22023, 22004, 25006.
 */
Datum
mj_api_heartbeat(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *token = token_argument(fcinfo);
	TimestampTz now = mj_clock_now();
	TimestampTz until;
	int64 done;
	int64 total;
	MjBeat beat;
	MjLease lease;
	MjJob job;

	PreventCommandIfReadOnly("jobs.heartbeat()");
	beat.length = PG_ARGISNULL(BEAT_LEASE) ?
		NULL :
		interval_argument(fcinfo, BEAT_LEASE, "lease", false, MAX_LEASE_DAYS);
	beat.done = count_argument(fcinfo, BEAT_DONE, "done", &done);
	beat.total = count_argument(fcinfo, BEAT_TOTAL, "total", &total);
	beat.note = cut(mj_argument_text(fcinfo, BEAT_NOTE), MAX_NOTE);
	mj_lease_require(token, &lease, &job);
	until = mj_lease_end(beat.length ? beat.length : lease.length, &job,
						 lease.run.started_at, now);
	mj_lease_extend(&lease.run, until, &beat);
	mj_xact_lease(until);
	PG_RETURN_TIMESTAMPTZ(until);
}

/* A result as a text: a string, number or truth value without quotes. */
static char *
result_text(Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);
	JsonbValue scalar;

	if (JB_ROOT_IS_SCALAR(jsonb) && JsonbExtractScalar(&jsonb->root, &scalar))
	{
		if (scalar.type == jbvNull)
			return NULL;
		if (scalar.type == jbvString)
			return pnstrdup(scalar.val.string.val, scalar.val.string.len);
	}
	return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
}

/*
 * jobs.complete(token, result): the run has succeeded.  Raises 55000 when it
 * was taken away, 42501, 22004, 25006.
 */
Datum
mj_api_complete(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *token = token_argument(fcinfo);
	MjOutcome outcome = { 0 };
	MjLease lease;
	MjRunOwner owner;
	MjJob job;

	PreventCommandIfReadOnly("jobs.complete()");
	mj_lease_require(token, &lease, &job);
	mj_runlog_owner(&job, &owner);
	outcome.status = "succeeded";
	outcome.rows_isnull = true;
	if (!PG_ARGISNULL(1))
		outcome.result = cut_outcome(result_text(PG_GETARG_DATUM(1)));
	outcome.finished_at = mj_clock_now();
	mj_runlog_completed(&lease.run, &owner, &outcome, &job);
	PG_RETURN_VOID();
}

/* The SQLSTATE of a failure; raises 22023. */
static const char *
sqlstate_argument(FunctionCallInfo fcinfo)
{
	const char *value = mj_argument_text(fcinfo, FAIL_SQLSTATE);

	if (value == NULL)
		return DEFAULT_SQLSTATE;
	if (strlen(value) != SQLSTATE_LENGTH || !mj_retry_is_valid_on(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid SQLSTATE: \"%s\"", value),
				 errdetail(
					 "It is five characters of 0 to 9 and A to Z, such as %s.",
					 DEFAULT_SQLSTATE)));
	return value;
}

/* Whether and when a worker wants its failed run tried again; raises 22023. */
static void
take_retry(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(FAIL_RETRY) && !PG_GETARG_BOOL(FAIL_RETRY))
		job->max_attempts = 0;
	if (PG_ARGISNULL(FAIL_RETRY_IN))
		return;
	job->backoff = "fixed";
	job->backoff_base =
		interval_argument(fcinfo, FAIL_RETRY_IN, "retry_in", true, 366);
	job->backoff_cap = NULL;
	job->backoff_jitter = 0.0;
}

/*
 * jobs.fail(token, error, retry, retry_in, detail, sqlstate) returns
 * timestamptz: the attempt has failed; when the run is tried again, NULL if it
 * is not.  Raises 55000 when it was taken away, 42501, 22023, 22004, 25006.
 */
Datum
mj_api_fail(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *token = token_argument(fcinfo);
	MjOutcome outcome = { 0 };
	TimestampTz retry_at;
	MjLease lease;
	MjRunOwner owner;
	MjJob job;

	PreventCommandIfReadOnly("jobs.fail()");
	check_given(fcinfo, FAIL_ERROR, "error");
	outcome.status = "failed";
	outcome.rows_isnull = true;
	outcome.sqlstate = sqlstate_argument(fcinfo);
	outcome.error = cut_outcome(mj_argument_text(fcinfo, FAIL_ERROR));
	outcome.error_detail = cut_outcome(mj_argument_text(fcinfo, FAIL_DETAIL));
	outcome.finished_at = mj_clock_now();
	mj_lease_require(token, &lease, &job);
	mj_runlog_owner(&job, &owner);
	take_retry(fcinfo, &job);
	retry_at = mj_runlog_failed(&lease.run, &owner, &outcome, &job);
	mj_runlog_report(&lease.run, &owner, &outcome);
	if (retry_at == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(retry_at);
}

/*
 * jobs.release(token): the run goes back as if it had not been claimed.  Raises
 * 55000 when it was taken away, 42501, 22004, 25006.
 */
Datum
mj_api_release(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *token = token_argument(fcinfo);
	MjLease lease;
	MjJob job;

	PreventCommandIfReadOnly("jobs.release()");
	mj_lease_require(token, &lease, &job);
	mj_lease_undo(&lease.run, mj_job_lane(&job));
	mj_xact_wake(0, mj_job_lane(&job));
	PG_RETURN_VOID();
}

/*
 * jobs.channel(job) returns text: what a worker listens to, for runs that are
 * ready.  Raises 42704, 42501, 55000, 22004.
 */
Datum
mj_api_channel(PG_FUNCTION_ARGS)
{
	MjJob job;

	require_external(fcinfo, &job);
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf(MJ_CHANNEL_PREFIX INT64_FORMAT, job.job_id)));
}
