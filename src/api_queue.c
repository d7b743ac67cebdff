/*-------------------------------------------------------------------------
 *
 * api_queue.c
 *	  The SQL functions that put runs into the queue: enqueue, enqueue_many,
 *	  batch.
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
#include "argument.h"
#include "batch_store.h"
#include "clock.h"
#include "enqueue_store.h"
#include "job_lookup.h"
#include "job_store.h"
#include "shmem.h"
#include "xact.h"

#define MAX_KEY 1000 /* bytes; it has to fit into an index */

PG_FUNCTION_INFO_V1(mj_api_enqueue);
PG_FUNCTION_INFO_V1(mj_api_enqueue_many);
PG_FUNCTION_INFO_V1(mj_api_batch);

/* An instant; 0 if it is not given.  Raises 22023 for an infinite one. */
static TimestampTz
finite_argument(FunctionCallInfo fcinfo, int n, const char *option)
{
	TimestampTz instant = mj_argument_instant(fcinfo, n);

	if (TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be finite", option)));
	return instant;
}

/* A key; NULL if it is not given.  Raises 22023. */
static char *
key_argument(FunctionCallInfo fcinfo, int n, const char *option)
{
	char *key = mj_argument_text(fcinfo, n);

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
	char *value = mj_argument_text(fcinfo, n);
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
 * The job that an argument names, of which the caller may enqueue runs.  Raises
 * 22004, 25006, 42704, 42501, 55000.
 */
static void
take_job(FunctionCallInfo fcinfo, int n, const char *function, MjJob *job)
{
	char *name = mj_argument_text(fcinfo, n);

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
 * Have somebody take up what was put into the queue, the first of it with an id (0:
 * it is not known): an executor, if it is ready, else the scheduler, which finds
 * in the table when to do what.
 */
static void
wake_for(const MjEntry *entry, int64 first, int64 runs)
{
	if (strcmp(entry->state, "ready") != 0)
		mj_xact_wake_soon();
	else
	{
		mj_xact_wake_ready(entry->lane, runs);
		if (first != 0 && entry->dedupe_key == NULL)
			mj_xact_ready(entry->priority, first);
		else
			mj_xact_ready_anywhere();
	}
	if (entry->expires_at != 0)
		mj_xact_wake_soon();
}

/* Arguments that are not given are an empty object. */
static Datum
args_or_empty(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ?
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) :
		PG_GETARG_DATUM(n);
}

/*
 * What the runs are to be that a call asks for, by the options that all functions
 * have: run_at and priority from "first"; concurrency_key, expires_at and
 * throttle_key from "rest".  Raises 22023.
 */
static void
take_options(FunctionCallInfo fcinfo, int first, int rest, const MjJob *job,
			 MjEntry *entry)
{
	TimestampTz now = mj_clock_now();
	char *key = key_argument(fcinfo, rest, "concurrency_key");
	char *throttle_key = key_argument(fcinfo, rest + 2, "throttle_key");

	mj_entry_of_job(job, now, entry);
	entry->run_at = finite_argument(fcinfo, first, "run_at");
	if (!PG_ARGISNULL(first + 1))
		entry->priority = PG_GETARG_INT32(first + 1);
	if (key != NULL)
		entry->concurrency_key = key;
	entry->expires_at = finite_argument(fcinfo, rest + 1, "expires_at");
	if (throttle_key != NULL)
		entry->throttle_key = throttle_key;
	mj_entry_settle(entry, job, now);
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
	MjDuplicate duplicate;
	MjEntry entry;
	MjJob job;
	int64 run_id;

	take_job(fcinfo, 0, "jobs.enqueue()", &job);
	take_options(fcinfo, 2, 7, &job, &entry);
	entry.dedupe_key = key_argument(fcinfo, 4, "dedupe_key");
	duplicate =
		(MjDuplicate) choice_argument(fcinfo, 5, "on_duplicate", duplicates,
									  "keep, replace, push_back");
	entry.dedupe_to_end =
		choice_argument(fcinfo, 6, "dedupe_until", ends, "start, end") == 1;
	run_id = entry.dedupe_key == NULL ?
		mj_enqueue(&entry, args_or_empty(fcinfo, 1)) :
		mj_enqueue_unless_live(&entry, args_or_empty(fcinfo, 1), duplicate);
	wake_for(&entry, run_id, 1);
	PG_RETURN_INT64(run_id);
}

/* Raise 22004 unless there is an array of arguments. */
static void
check_args_array(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("args must not be null"),
				 errhint("It is an array: one run for each element.")));
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
	MjEntry entry;
	MjJob job;
	int64 *run_ids;
	int n;
	int i;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	take_job(fcinfo, 0, "jobs.enqueue_many()", &job);
	check_args_array(fcinfo, 1);
	take_options(fcinfo, 2, 4, &job, &entry);
	n = mj_enqueue_many(&entry, PG_GETARG_DATUM(1), &run_ids);
	if (n > 0)
		wake_for(&entry, run_ids[0], n);
	for (i = 0; i < n; i++)
	{
		Datum value = Int64GetDatum(run_ids[i]);
		bool isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/* Raise 22023 unless arguments that counts are added to are an object. */
static void
check_object(Datum args, const char *option)
{
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(args)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a JSON object", option)));
}

/*
 * jobs.batch(job, args, then_job, then_args, run_at, priority, concurrency_key,
 * expires_at) returns bigint, the id of the batch.  Raises as
 * jobs.enqueue_many().
 */
Datum
mj_api_batch(PG_FUNCTION_ARGS)
{
	Datum then_args = args_or_empty(fcinfo, 3);
	MjEntry entry;
	MjJob job;
	MjJob then;
	int64 batch_id;
	int total;

	take_job(fcinfo, 0, "jobs.batch()", &job);
	check_args_array(fcinfo, 1);
	if (!PG_ARGISNULL(2))
		take_job(fcinfo, 2, "jobs.batch()", &then);
	check_object(then_args, "then_args");
	take_options(fcinfo, 4, 6, &job, &entry);
	batch_id = mj_batch_make(&entry, PG_GETARG_DATUM(1), &job,
							 PG_ARGISNULL(2) ? NULL : &then, then_args, &total);
	if (total > 0)
		wake_for(&entry, 0, total);
	mj_xact_wake_soon();
	PG_RETURN_INT64(batch_id);
}
