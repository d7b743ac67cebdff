/*-------------------------------------------------------------------------
 *
 * api_schedule.c
 *	  The SQL functions that explain schedules: is_valid, next_runs, describe;
 *	  and what the views say of a job in words.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "access.h"
#include "argument.h"
#include "clock.h"
#include "guc.h"
#include "job_lookup.h"
#include "job_plan.h"
#include "schedule.h"
#include "why_not.h"

PG_FUNCTION_INFO_V1(mj_api_is_valid);
PG_FUNCTION_INFO_V1(mj_api_next_runs);
PG_FUNCTION_INFO_V1(mj_api_describe);
PG_FUNCTION_INFO_V1(mj_api_calendar);
PG_FUNCTION_INFO_V1(mj_api_board_due);
PG_FUNCTION_INFO_V1(mj_api_clock);
PG_FUNCTION_INFO_V1(mj_view_job_words);
PG_FUNCTION_INFO_V1(mj_view_why_not_here);

#define MAX_NEXT_RUNS 10000

/* The schedule and zone that are the first two arguments; 22004, 22023. */
static void
open_arguments(FunctionCallInfo fcinfo, MjTimetable *timetable)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("schedule must not be null")));
	mj_schedule_open(timetable, mj_argument_text(fcinfo, 0),
					 mj_argument_text(fcinfo, 1));
}

/* jobs.clock() returns timestamptz: the time that schedules go by. */
Datum
mj_api_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(mj_clock_now());
}

/* jobs.is_valid(schedule) returns boolean.  Strict. */
Datum
mj_api_is_valid(PG_FUNCTION_ARGS)
{
	MjSchedule *schedule;
	MjProblem problem;

	PG_RETURN_BOOL(
		mj_cron_parse(mj_argument_text(fcinfo, 0), &schedule, NULL, &problem));
}

/* How many instants jobs.next_runs() is to give; raises 22023. */
static int32
count_argument(FunctionCallInfo fcinfo, int n)
{
	int32 count = PG_ARGISNULL(n) ? 5 : PG_GETARG_INT32(n);

	if (count < 0 || count > MAX_NEXT_RUNS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be from 0 to %d", MAX_NEXT_RUNS)));
	return count;
}

/* The instant that jobs.next_runs() starts after; raises 22008. */
static TimestampTz
after_argument(FunctionCallInfo fcinfo, int n)
{
	TimestampTz after =
		PG_ARGISNULL(n) ? mj_clock_now() : PG_GETARG_TIMESTAMPTZ(n);

	if (TIMESTAMP_NOT_FINITE(after))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"after\" must be finite")));
	return after;
}

/*
 * jobs.next_runs(schedule, timezone, n, after) returns setof timestamptz: the
 * next n instants strictly later than after.
 */
Datum
mj_api_next_runs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MjTimetable timetable;
	int32 count;
	TimestampTz next;

	open_arguments(fcinfo, &timetable);
	count = count_argument(fcinfo, 2);
	next = after_argument(fcinfo, 3);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	while (count-- > 0 && mj_timetable_next(&timetable, next, &next))
	{
		Datum value = TimestampTzGetDatum(next);
		bool isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/*
 * jobs.describe(schedule, timezone) returns text: in plain words, with the
 * zone if it is given.
 */
Datum
mj_api_describe(PG_FUNCTION_ARGS)
{
	MjTimetable timetable;
	StringInfoData words;

	open_arguments(fcinfo, &timetable);
	initStringInfo(&words);
	mj_cron_describe(timetable.schedule, &words);
	if (!PG_ARGISNULL(1))
		appendStringInfo(&words, " (%s)", mj_argument_text(fcinfo, 1));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(words.data, words.len));
}

/* Add a job's instants of a window to a result, the first "most" of them. */
static void
add_instants(ReturnSetInfo *result, const MjJob *job, TimestampTz from,
			 TimestampTz to, int64 most)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz at = from - 1;

	if (!mj_plan_is_open(job) || !mj_plan_open(job, &timetable, &problem))
		return;
	while (most-- > 0 && mj_timetable_next(&timetable, at, &at) && at < to)
	{
		Datum values[2];
		bool nulls[2] = { false, false };

		CHECK_FOR_INTERRUPTS();
		values[0] = TimestampTzGetDatum(at);
		values[1] = CStringGetTextDatum(job->name);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		pfree(DatumGetPointer(values[1]));
	}
	pfree(timetable.schedule);
}

/* A bound of jobs.calendar(); raises 22004, 22008. */
static TimestampTz
window_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(n)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("%s must be finite", what)));
	return PG_GETARG_TIMESTAMPTZ(n);
}

/* How many instants of a job jobs.calendar() is to give; raises 22023. */
static int64
most_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return PG_INT64_MAX;
	if (PG_GETARG_INT32(n) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	return PG_GETARG_INT32(n);
}

/* Does the current user see a job? */
static bool
sees_job(const MjJob *job)
{
	return mj_access_sees_all() || mj_access_sees_role(mj_access_job_role(job));
}

/*
 * jobs.calendar(from_time, to_time, job, max_rows) returns setof calendar_entry
 * (due_at, job): the instants of a window, by job, of each the first max_rows.
 */
Datum
mj_api_calendar(PG_FUNCTION_ARGS)
{
	TimestampTz from = window_argument(fcinfo, 0, "from_time");
	TimestampTz to = window_argument(fcinfo, 1, "to_time");
	char *name = mj_argument_text(fcinfo, 2);
	int64 most = most_argument(fcinfo, 3);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MjJob one;
	MjJob *jobs = &one;
	int n = 1;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	if (name != NULL)
		mj_job_require(name, &one);
	else
		n = mj_job_all(&jobs);
	for (i = 0; i < n; i++)
		if (sees_job(&jobs[i]))
			add_instants(result, &jobs[i], from, to, most);
	return (Datum) 0;
}

/* Add some instants of a job, of which the first is given, to a result. */
static void
add_bin(ReturnSetInfo *result, const MjJob *job, TimestampTz first, int64 runs)
{
	Datum values[3];
	bool nulls[3] = { false };

	values[0] = CStringGetTextDatum(job->name);
	values[1] = TimestampTzGetDatum(first);
	values[2] = Int64GetDatum(runs);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
}

/* Count a job's instants of a window by bins of some width; is there any? */
static bool
add_bins(ReturnSetInfo *result, const MjJob *job, TimestampTz from,
		 TimestampTz to, int64 width)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz at = from - 1;
	TimestampTz first = 0;
	int64 runs = 0;

	if (!mj_plan_is_open(job) || !mj_plan_open(job, &timetable, &problem))
		return false;
	while (mj_timetable_next(&timetable, at, &at) && at < to)
	{
		CHECK_FOR_INTERRUPTS();
		if (runs > 0 && (at - from) / width != (first - from) / width)
		{
			add_bin(result, job, first, runs);
			runs = 0;
		}
		if (runs++ == 0)
			first = at;
	}
	if (runs > 0)
		add_bin(result, job, first, runs);
	pfree(timetable.schedule);
	return runs > 0;
}

/*
 * jobs.board_due(from_time, to_time, seconds, max_jobs) returns setof record
 * (job, first_at, runs): as jobs.calendar(), but counted by bins of so many
 * seconds, and of the first jobs by name that have any.
 */
Datum
mj_api_board_due(PG_FUNCTION_ARGS)
{
	TimestampTz from = window_argument(fcinfo, 0, "from_time");
	TimestampTz to = window_argument(fcinfo, 1, "to_time");
	int64 width = Max(PG_GETARG_INT32(2), 1) * USECS_PER_SEC;
	int32 most = PG_GETARG_INT32(3);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MjJob *jobs;
	int n;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	n = mj_job_all(&jobs);
	for (i = 0; i < n && most > 0; i++)
		if (sees_job(&jobs[i]) && add_bins(result, &jobs[i], from, to, width))
			most--;
	return (Datum) 0;
}

/* A stored schedule in plain words, whatever it is. */
static char *
describe_stored(const char *text)
{
	MjSchedule *schedule;
	MjProblem problem;
	StringInfoData words;

	if (text == NULL)
		return "on demand";
	if (!mj_cron_parse(text, &schedule, NULL, &problem))
		return pstrdup(problem.message);
	initStringInfo(&words);
	mj_cron_describe(schedule, &words);
	return words.data;
}

/* The job that jobs.job_words() is asked about, as far as it is told. */
static void
read_job(FunctionCallInfo fcinfo, MjJob *job)
{
	memset(job, 0, sizeof(MjJob));
	job->planned = mj_argument_text(fcinfo, 0);
	job->timezone = mj_argument_text(fcinfo, 1);
	job->job_group = mj_argument_text(fcinfo, 2);
	job->role = NameStr(*PG_GETARG_NAME(3));
	job->role_oid = PG_ARGISNULL(4) ? InvalidOid : PG_GETARG_OID(4);
	job->enabled = PG_GETARG_BOOL(5);
	job->paused = PG_GETARG_BOOL(6);
	job->pause_reason = mj_argument_text(fcinfo, 7);
	job->next_run_at = PG_ARGISNULL(8) ? 0 : PG_GETARG_TIMESTAMPTZ(8);
	job->max_runs = PG_ARGISNULL(9) ? 0 : PG_GETARG_INT32(9);
	job->runs = PG_ARGISNULL(10) ? 0 : PG_GETARG_INT32(10);
	job->external = PG_GETARG_BOOL(11);
	job->url = mj_argument_text(fcinfo, 12);
	job->http = job->url != NULL;
}

/*
 * jobs.job_words(schedule, timezone, job_group, role, role_oid, enabled,
 * paused, pause_reason, next_run_at, max_runs, runs, external, url, OUT in_words, OUT timezone, OUT why_not):
 * what jobs.status says of a job, but for what holds for the whole database.
 */
Datum
mj_view_job_words(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	MjJob job;
	StringInfoData reasons;
	Datum values[3];
	bool nulls[3] = { false, false, false };

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	read_job(fcinfo, &job);
	initStringInfo(&reasons);
	mj_why_not_job(&job, &reasons);
	values[0] = CStringGetTextDatum(describe_stored(job.planned));
	values[1] = CStringGetTextDatum(job.timezone ? job.timezone : mj_timezone);
	values[2] = CStringGetTextDatum(reasons.data);
	nulls[2] = reasons.len == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/*
 * jobs.why_not_here(own boolean) returns text: why no job runs in this
 * database; own is false for those of another origin.  NULL: they do.
 */
Datum
mj_view_why_not_here(PG_FUNCTION_ARGS)
{
	StringInfoData reasons;

	initStringInfo(&reasons);
	mj_why_not_here(PG_GETARG_BOOL(0), &reasons);
	if (reasons.len == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(reasons.data, reasons.len));
}
