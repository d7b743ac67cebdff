/*-------------------------------------------------------------------------
 *
 * api_queue.c
 *	  The SQL functions that put runs into the queue: enqueue, enqueue_many.
 *
 * A run is an ordinary row of the caller's transaction: there when that
 * commits, gone when it does not.  What it takes is kept to one look at the
 * job and one INSERT.  A run that may start is made ready right away, so that
 * the scheduler has no part in it; one that is gated is held.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "access.h"
#include "clock.h"
#include "enqueue_store.h"
#include "job_lookup.h"
#include "job_store.h"
#include "shmem.h"
#include "xact.h"

#define MAX_KEY 1000 /* bytes; it has to fit into an index */

PG_FUNCTION_INFO_V1(mj_api_enqueue);
PG_FUNCTION_INFO_V1(mj_api_enqueue_many);

/* Options of a run as they come from the caller; what is not given is zero. */
typedef struct Options
{
	TimestampTz run_at;
	bool priority_given;
	int32 priority;
	const char *concurrency_key;
	const char *dedupe_key;
	bool dedupe_to_end;
	TimestampTz expires_at;
} Options;

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* An instant; 0 if it is not given.  Raises 22023 for an infinite one. */
static TimestampTz
instant_argument(FunctionCallInfo fcinfo, int n, const char *option)
{
	TimestampTz instant;

	if (PG_ARGISNULL(n))
		return 0;
	instant = PG_GETARG_TIMESTAMPTZ(n);
	if (TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be finite", option)));
	return instant == 0 ? 1 : instant; /* 2000-01-01 UTC is given */
}

/* A key; NULL if it is not given.  Raises 22023. */
static char *
key_argument(FunctionCallInfo fcinfo, int n, const char *option)
{
	char *key = text_argument(fcinfo, n);

	if (key != NULL && (key[0] == '\0' || strlen(key) > MAX_KEY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", option),
				 key[0] == '\0' ?
					 errdetail("It is empty.") :
					 errdetail("It has more than %d bytes.", MAX_KEY)));
	return key;
}

/* Which of some words a text argument is; the first if it is not given. */
static int
choice_argument(FunctionCallInfo fcinfo, int n, const char *option,
				const char *const *words, const char *list)
{
	char *value = text_argument(fcinfo, n);
	int i;

	for (i = 0; value != NULL && words[i] != NULL; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	if (value != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", option,
						value),
				 errhint("Available values: %s.", list)));
	return 0;
}

/*
 * The job of the first argument, of which the caller may enqueue runs.  Raises
 * 22004, 25006, 42704, 42501, 55000.
 */
static void
take_job(FunctionCallInfo fcinfo, const char *function, MjJob *job)
{
	char *name = text_argument(fcinfo, 0);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("job name must not be null")));
	PreventCommandIfReadOnly(function);
	if (!mj_job_to_enqueue(name, job))
		mj_job_lookup_failed(name);
	mj_access_check_operate(job);
	mj_job_check_runs_here(job);
}

/*
 * What a run is at first.  One that has expired already waits too, so that no
 * executor gets hold of it before the scheduler ends it.
 */
static const char *
initial_state(const MjEntry *entry, TimestampTz now)
{
	if (entry->run_at > now ||
		(entry->expires_at != 0 && entry->expires_at <= now))
		return "waiting";
	return entry->gated ? "held" : "ready";
}

/*
 * What a run of a job is to be.  It is due now if its instant has passed: lag
 * counts from when it was asked for.
 */
static void
make_entry(const MjJob *job, const Options *options, MjEntry *entry)
{
	TimestampTz now = mj_clock_now();

	memset(entry, 0, sizeof(MjEntry));
	entry->job_id = job->job_id;
	entry->lane = (int64) job->role_oid;
	entry->priority =
		options->priority_given ? options->priority : job->priority;
	entry->run_at = Max(options->run_at, now);
	entry->concurrency_key = options->concurrency_key ?
		options->concurrency_key :
		job->concurrency_key;
	entry->gated = entry->concurrency_key != NULL || mj_job_is_gated(job);
	entry->dedupe_key = options->dedupe_key;
	entry->dedupe_to_end = options->dedupe_to_end;
	entry->expires_at = options->expires_at;
	entry->state = initial_state(entry, now);
}

/* Have somebody take up what was put into the queue. */
static void
wake_for(const MjEntry *entry, int64 runs)
{
	if (entry->state[0] == 'w')
		mj_xact_wake(entry->run_at, MJ_LANE_NONE);
	else if (entry->gated)
		mj_xact_wake(0, MJ_LANE_NONE);
	else
		mj_xact_wake_ready(entry->lane, runs);
	if (entry->expires_at != 0)
		mj_xact_wake(entry->expires_at, MJ_LANE_NONE);
}

/* Arguments that are not given are an empty object. */
static Datum
args_or_empty(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ?
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) :
		PG_GETARG_DATUM(n);
}

/* The priority, if it is given. */
static void
take_priority(FunctionCallInfo fcinfo, int n, Options *options)
{
	options->priority_given = !PG_ARGISNULL(n);
	if (options->priority_given)
		options->priority = PG_GETARG_INT32(n);
}

/*
 * jobs.enqueue(job, args, run_at, priority, dedupe_key, on_duplicate,
 * dedupe_until, concurrency_key, expires_at) returns bigint, the run id.
 * Raises what take_job() does, 22023, and 40001 for a duplicate that the
 * caller's transaction is too old to see.
 */
Datum
mj_api_enqueue(PG_FUNCTION_ARGS)
{
	static const char *const duplicates[] = { "keep", "replace", "push_back",
											  NULL };
	static const char *const ends[] = { "start", "end", NULL };
	Options options = { 0 };
	MjDuplicate duplicate;
	MjEntry entry;
	MjJob job;
	int64 run_id;

	take_job(fcinfo, "jobs.enqueue()", &job);
	options.run_at = instant_argument(fcinfo, 2, "run_at");
	take_priority(fcinfo, 3, &options);
	options.dedupe_key = key_argument(fcinfo, 4, "dedupe_key");
	duplicate =
		(MjDuplicate) choice_argument(fcinfo, 5, "on_duplicate", duplicates,
									  "keep, replace, push_back");
	options.dedupe_to_end =
		choice_argument(fcinfo, 6, "dedupe_until", ends, "start, end") == 1;
	options.concurrency_key = key_argument(fcinfo, 7, "concurrency_key");
	options.expires_at = instant_argument(fcinfo, 8, "expires_at");

	make_entry(&job, &options, &entry);
	run_id = entry.dedupe_key == NULL ?
		mj_enqueue(&entry, args_or_empty(fcinfo, 1)) :
		mj_enqueue_unless_live(&entry, args_or_empty(fcinfo, 1), duplicate);
	wake_for(&entry, 1);
	PG_RETURN_INT64(run_id);
}

/* Enqueue what jobs.enqueue_many() is asked to; returns how many. */
static int
enqueue_many(FunctionCallInfo fcinfo, int64 **run_ids)
{
	Options options = { 0 };
	MjEntry entry;
	MjJob job;
	int n;

	take_job(fcinfo, "jobs.enqueue_many()", &job);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("args must not be null"),
				 errhint("It is an array: one run for each element.")));
	options.run_at = instant_argument(fcinfo, 2, "run_at");
	take_priority(fcinfo, 3, &options);
	options.concurrency_key = key_argument(fcinfo, 4, "concurrency_key");
	options.expires_at = instant_argument(fcinfo, 5, "expires_at");
	make_entry(&job, &options, &entry);
	n = mj_enqueue_many(&entry, PG_GETARG_DATUM(1), run_ids);
	if (n > 0)
		wake_for(&entry, n);
	return n;
}

/*
 * jobs.enqueue_many(job, args, run_at, priority, concurrency_key, expires_at)
 * returns setof bigint: a run for each element of args, in one INSERT.  Raises
 * as jobs.enqueue(), and 22004.
 */
Datum
mj_api_enqueue_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 *run_ids;
	int n;
	int i;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	n = enqueue_many(fcinfo, &run_ids);
	for (i = 0; i < n; i++)
	{
		Datum value = Int64GetDatum(run_ids[i]);
		bool isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}
