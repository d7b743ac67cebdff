/*-------------------------------------------------------------------------
 *
 * api_job.c
 *	  The SQL functions that define jobs: schedule, reschedule, unschedule.
 *
 * Each checks the caller's rights and the values, locks the definition and
 * makes one change to it; the workers hear of it at commit.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "access.h"
#include "argument.h"
#include "call_store.h"
#include "chain_store.h"
#include "clock.h"
#include "guc.h"
#include "history_store.h"
#include "lease.h"
#include "job_lookup.h"
#include "job_plan.h"
#include "http_rules.h"
#include "queue_store.h"
#include "retry.h"
#include "schedule.h"
#include "shmem.h"
#include "worker.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_schedule);
PG_FUNCTION_INFO_V1(mj_api_reschedule);
PG_FUNCTION_INFO_V1(mj_api_override_schedule);
PG_FUNCTION_INFO_V1(mj_api_unschedule);

#define MAX_NAME 200			  /* bytes of a job's and a group's name */
#define MAX_RETENTION_DAYS 400000 /* as good as for ever */
#define MAX_TIMEOUT_DAYS 24		  /* what fits into a timer's milliseconds */

/* Arguments of jobs.schedule(), in order. */
enum
{
	ARG_NAME,
	ARG_SCHEDULE,
	ARG_COMMAND,
	ARG_DESCRIPTION,
	ARG_TIMEZONE,
	ARG_ROLE,
	ARG_JOB_GROUP,
	ARG_ENABLED,
	ARG_OVERLAP,
	ARG_CATCH_UP,
	ARG_TIMEOUT,
	ARG_MAX_ATTEMPTS,
	ARG_BACKOFF_BASE,
	ARG_PRIORITY,
	ARG_ANCHOR,
	ARG_JITTER,
	ARG_MAX_RUNS,
	ARG_BACKOFF,
	ARG_BACKOFF_CAP,
	ARG_BACKOFF_JITTER,
	ARG_RETRY_ON,
	ARG_MAX_RUNNING,
	ARG_CONCURRENCY_KEY,
	ARG_RUN_AFTER,
	ARG_ISOLATED,
	ARG_HANDLER,
	ARG_GROUP_COMMIT,
	ARG_THROTTLE_LIMIT,
	ARG_THROTTLE_PERIOD,
	ARG_HISTORY_RETENTION,
	ARG_HISTORY_KEEP,
	ARG_HISTORY_KEEP_LAST,
	ARG_URL,
	ARG_METHOD,
	ARG_HEADERS,
	ARG_PING_URL
};

/* The names that are given for run_after. */
typedef struct Predecessors
{
	bool given;
	int n;
	int64 *job_ids;
} Predecessors;

/* A text argument that must be there: else 22004. */
static char *
needed_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return mj_argument_text(fcinfo, n);
}

/* Set a text option if it is given; an empty one takes it away. */
static void
take_text(FunctionCallInfo fcinfo, int n, const char **option)
{
	const char *value = mj_argument_text(fcinfo, n);

	if (value != NULL)
		*option = value[0] ? value : NULL;
}

/* Raise 22023 unless a name is one that can be typed and shown. */
static void
check_name(const char *what, const char *name)
{
	const char *p;

	for (p = name; (unsigned char) *p >= ' ' && *p != '\x7f'; p++)
		;
	if (*p == '\0' && p - name <= MAX_NAME && strspn(name, " ") < p - name)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", what),
			 *p != '\0' ? errdetail("It contains a control character.") :
				 p - name > MAX_NAME ?
						  errdetail("It has more than %d bytes.", MAX_NAME) :
						  errdetail("It is empty.")));
}

static void
check_job_name(const char *name)
{
	check_name("job name", name);
	if (strcmp(name, MJ_MAIL_JOB_NAME) == 0 ||
		strcmp(name, MJ_CALL_JOB_NAME) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("job name \"%s\" is reserved", name),
				 errdetail(
					 "It is what the runs of mails, or of calls, go by.")));
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *const overlaps[] = { "skip", "queue", "allow", "replace",
										NULL };
static const char *const catch_ups[] = { "once", "skip", "all", NULL };
static const char *const handlers[] = { "sql", "external", "http", NULL };
static const char *const history_keeps[] = { "all", "failures", NULL };
static const char *const backoffs[] = { "fixed", "linear", "exponential",
										NULL };

/* Raise 22023 unless an option is one of some values. */
static void
check_choice(const char *option, const char *value, const char *const *choices)
{
	StringInfoData list;
	int i;

	initStringInfo(&list);
	for (i = 0; choices[i] != NULL; i++)
	{
		if (strcmp(value, choices[i]) == 0)
			return;
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", choices[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", option, value),
			 errhint("Available values: %s.", list.data)));
}

/* Raise 22023 for an option; the detail is a sentence. */
static void
refuse_option(const char *option, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" is out of range", option),
			 errdetail("%s", detail)));
}

static int
compare_intervals(const Interval *a, const Interval *b)
{
	return DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(a),
											 IntervalPGetDatum(b)));
}

/* Raise 22023 unless an interval is from a least value up to some days. */
static void
check_interval(const char *option, const Interval *value, int64 least_usec,
			   int most_days)
{
	Interval least = { .time = least_usec };
	Interval most = { .day = most_days };

	if (value == NULL ||
		(compare_intervals(value, &least) >= 0 &&
		 compare_intervals(value, &most) <= 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" is out of range", option),
			 errdetail("It must be %s, and at most %d days.",
					   least_usec > 0 ? "greater than zero" : "zero or more",
					   most_days)));
}

static void
check_max_attempts(int32 value)
{
	if (value < 1 || value > 1000)
		refuse_option("max_attempts", "It must be from 1 to 1000.");
}

/* Raise 22023 unless the anchor and the number of runs make sense. */
static void
check_times(const MjJob *job)
{
	if (TIMESTAMP_NOT_FINITE(job->anchor))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"anchor\" must be finite")));
	if (job->max_runs < 0)
		refuse_option("max_runs", "It must be at least 1; 0 takes it away.");
}

/* Raise 22023 unless what is said of retries makes sense. */
static void
check_retries(const MjJob *job)
{
	Datum *elements = NULL;
	bool *nulls = NULL;
	int n = 0;
	int i;

	check_max_attempts(job->max_attempts);
	check_choice("backoff", job->backoff, backoffs);
	check_interval("backoff_base", job->backoff_base, 0, 366);
	check_interval("backoff_cap", job->backoff_cap, 1, 366);
	if (!(job->backoff_jitter >= 0.0 && job->backoff_jitter <= 1.0))
		refuse_option("backoff_jitter", "It must be from 0 to 1.");
	if (job->retry_on != NULL)
		deconstruct_array(job->retry_on, TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, &n);
	for (i = 0; i < n; i++)
		if (nulls[i] || !mj_retry_is_valid_on(TextDatumGetCString(elements[i])))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"retry_on\": \"%s\"",
						nulls[i] ? "NULL" : TextDatumGetCString(elements[i])),
				 errdetail(
					 "An element is a SQLSTATE, such as 40P01, or the two letters of a class of them, such as 40.")));
}

/* Raise 22023 unless what is said of several runs at once makes sense. */
static void
check_overlap(const MjJob *job)
{
	check_choice("overlap", job->overlap, overlaps);
	if (job->max_running < 0)
		refuse_option("max_running", "It must be at least 1; 0 takes it away.");
	if (job->max_running > 0 && strcmp(job->overlap, "allow") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_running\" needs overlap \"allow\""),
				 errdetail("With overlap \"%s\" one run goes on at a time.",
						   job->overlap)));
	if (job->concurrency_key != NULL)
		check_name("concurrency key", job->concurrency_key);
}

/* Raise 22023 unless what is said of the throttle makes sense. */
static void
check_throttle(const MjJob *job)
{
	if (job->throttle_limit < 0)
		refuse_option("throttle_limit",
					  "It must be at least 1; 0 takes it away.");
	check_interval("throttle_period", job->throttle_period, 1, 366);
	if ((job->throttle_limit > 0) != (job->throttle_period != NULL))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "options \"throttle_limit\" and \"throttle_period\" go together"),
			 errhint(
				 "So many attempts may start within any period: throttle_limit => 10, throttle_period => '1 minute'.")));
}

/* Raise 22023 unless what is said of the history makes sense. */
static void
check_history(const MjJob *job)
{
	check_interval("history_retention", job->history_retention, 1,
				   MAX_RETENTION_DAYS);
	check_choice("history_keep", job->history_keep, history_keeps);
	if (job->history_keep_last < 0)
		refuse_option("history_keep_last",
					  "It must be at least 1; 0 takes it away.");
}

/* Error context callback: an error's position is in the command. */
static void
command_error_context(void *arg)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
	errcontext("command of a job");
}

/* The statements of a command, not analysed; raises 42601. */
static List *
parse_command(const char *command)
{
	ErrorContextCallback callback;
	List *statements;

	callback.callback = command_error_context;
	callback.arg = unconstify(char *, command);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	statements = raw_parser(command, RAW_PARSE_DEFAULT);
	error_context_stack = callback.previous;
	return statements;
}

/* Raise 0A000 for a statement that no worker can execute. */
static void
check_statement(Node *statement)
{
	if (IsA(statement, TransactionStmt))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "transaction control is not allowed in the command of a job"),
			 errhint(
				 "A run is a transaction of its own. A procedure that commits can be run by CALL.")));
	if (IsA(statement, CopyStmt) && ((CopyStmt *) statement)->filename == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("COPY %s is not allowed in the command of a job",
					((CopyStmt *) statement)->is_from ? "FROM STDIN" :
														"TO STDOUT"),
			 errhint(
				 "A job has no client; copy from or to a file or program of the server.")));
}

/* Raise unless a command can be executed: 42601, 22023, 0A000. */
static void
check_command(const char *command)
{
	List *statements = parse_command(command);
	ListCell *cell;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("command is empty")));
	foreach (cell, statements)
		check_statement(lfirst_node(RawStmt, cell)->stmt);
}

/*
 * Raise unless a job has the command that its handler wants.  A command that is
 * given for an external job would never be executed.
 */
static void
check_handler(const MjJob *job)
{
	if (!job->external && !job->http)
		check_command(job->command);
	else if (job->http && job->command[0])
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("http job \"%s\" cannot have a command", job->name),
			 errdetail("Its work is done by the server that its URL names."),
			 errhint(
				 "Leave the command out, or set handler => 'sql' to have it executed.")));
	else if (job->command[0])
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("external job \"%s\" cannot have a command", job->name),
			 errdetail(
				 "Its work is done by a program that takes its runs by jobs.claim()."),
			 errhint(
				 "Leave the command out, or set handler => 'sql' to have it executed.")));
}

/*
 * Raise 22004, 22023, 42501 unless a job has the URLs that its handler wants, and
 * they may be called.  What was allowed when it was defined is not asked again
 * where it stays.
 */
static void
check_calls(const MjJob *job, const MjJob *old)
{
	if (job->http && job->url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("URL must not be null"),
				 errdetail("Job \"%s\" has handler \"http\".", job->name)));
	if (!job->http &&
		(job->url != NULL || job->method != NULL || job->headers != NULL))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "options \"url\", \"method\" and \"headers\" need handler \"http\"")));
	if (job->http && (old == NULL || !same_text(job->url, old->url)))
		mj_http_require_url("url", job->url);
	mj_http_require_method(job->method);
	mj_http_require_headers(job->headers);
	if (job->ping_url != NULL &&
		(old == NULL || !same_text(job->ping_url, old->ping_url)))
		mj_http_require_url("ping_url", job->ping_url);
}

static bool
is_schedule(const char *text)
{
	MjProblem problem;
	MjSchedule *schedule;

	return mj_cron_parse(text, &schedule, NULL, &problem);
}

/*
 * If a schedule is refused because the arguments are in another order, raise
 * that error (22023) with the right form as the hint.
 */
static void
check_argument_order(const MjJob *job)
{
	MjProblem problem;
	MjSchedule *schedule;
	const char *right = NULL;

	if (job->schedule == NULL ||
		mj_cron_parse(job->schedule, &schedule, NULL, &problem))
		return;
	if (is_schedule(job->name))
		right = psprintf("The name comes first: jobs.schedule(%s, %s, ...).",
						 quote_literal_cstr(job->schedule),
						 quote_literal_cstr(job->name));
	else if (job->command[0] && is_schedule(job->command))
		right = psprintf(
			"The schedule comes before the command: jobs.schedule(%s, %s, ...).",
			quote_literal_cstr(job->name), quote_literal_cstr(job->command));
	if (right != NULL)
		strlcpy(problem.hint, right,
				pg_mbcliplen(right, strlen(right), sizeof(problem.hint) - 1) +
					1);
	mj_schedule_raise(&problem);
}

/* What a job is before anything is said of it. */
static void
set_defaults(MjJob *job)
{
	static Interval one_minute = { .time = USECS_PER_MINUTE };

	memset(job, 0, sizeof(MjJob));
	job->enabled = true;
	job->overlap = "skip";
	job->catch_up = "once";
	job->max_attempts = 1;
	job->backoff = "fixed";
	job->history_keep = "all";
	job->backoff_base = &one_minute;
	job->version = 1;
}

/*
 * The role that a job is to run as: the one given, else the one that it has,
 * else the caller.  Sets both its name and its oid, which may be invalid.
 */
static void
take_role(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_ROLE))
	{
		job->role = NameStr(*PG_GETARG_NAME(ARG_ROLE));
		job->role_oid = get_role_oid(job->role, true);
		return;
	}
	job->role_oid = job->role ? mj_access_job_role(job) : GetUserId();
	if (OidIsValid(job->role_oid))
		job->role = GetUserNameFromId(job->role_oid, false);
}

/* The options of jobs.schedule() that bear on when a job runs. */
static void
take_times(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_ANCHOR))
		job->anchor = PG_GETARG_TIMESTAMPTZ(ARG_ANCHOR);
	if (!PG_ARGISNULL(ARG_JITTER))
		job->jitter = PG_GETARG_INTERVAL_P(ARG_JITTER);
	if (!PG_ARGISNULL(ARG_MAX_RUNS))
		job->max_runs = PG_GETARG_INT32(ARG_MAX_RUNS);
}

/* An interval option, which zero takes away. */
static Interval *
take_interval(FunctionCallInfo fcinfo, int n)
{
	Interval *value = PG_GETARG_INTERVAL_P(n);

	return mj_interval_usecs(value) == 0 ? NULL : value;
}

/* The options that bear on retries. */
static void
take_retries(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_MAX_ATTEMPTS))
		job->max_attempts = PG_GETARG_INT32(ARG_MAX_ATTEMPTS);
	if (!PG_ARGISNULL(ARG_BACKOFF))
		job->backoff = mj_argument_text(fcinfo, ARG_BACKOFF);
	if (!PG_ARGISNULL(ARG_BACKOFF_BASE))
		job->backoff_base = PG_GETARG_INTERVAL_P(ARG_BACKOFF_BASE);
	if (!PG_ARGISNULL(ARG_BACKOFF_CAP))
		job->backoff_cap = take_interval(fcinfo, ARG_BACKOFF_CAP);
	if (!PG_ARGISNULL(ARG_BACKOFF_JITTER))
		job->backoff_jitter = PG_GETARG_FLOAT8(ARG_BACKOFF_JITTER);
	if (!PG_ARGISNULL(ARG_RETRY_ON))
	{
		job->retry_on = PG_GETARG_ARRAYTYPE_P(ARG_RETRY_ON);
		if (ARR_NDIM(job->retry_on) == 0)
			job->retry_on = NULL;
	}
}

/* The options that bear on several runs at once. */
static void
take_overlap(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_OVERLAP))
		job->overlap = mj_argument_text(fcinfo, ARG_OVERLAP);
	if (!PG_ARGISNULL(ARG_MAX_RUNNING))
		job->max_running = PG_GETARG_INT32(ARG_MAX_RUNNING);
	else if (strcmp(job->overlap, "allow") != 0)
		job->max_running = 0; /* of what it was before */
	take_text(fcinfo, ARG_CONCURRENCY_KEY, &job->concurrency_key);
	if (!PG_ARGISNULL(ARG_ISOLATED))
		job->isolated = PG_GETARG_BOOL(ARG_ISOLATED);
	if (!PG_ARGISNULL(ARG_GROUP_COMMIT))
		job->group_commit = PG_GETARG_BOOL(ARG_GROUP_COMMIT);
}

/* The throttle; a limit of zero takes it away. */
static void
take_throttle(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_THROTTLE_LIMIT))
		job->throttle_limit = PG_GETARG_INT32(ARG_THROTTLE_LIMIT);
	if (!PG_ARGISNULL(ARG_THROTTLE_PERIOD))
		job->throttle_period = PG_GETARG_INTERVAL_P(ARG_THROTTLE_PERIOD);
	else if (job->throttle_limit == 0)
		job->throttle_period = NULL;
}

/* What is kept of the history. */
static void
take_history(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_HISTORY_RETENTION))
		job->history_retention = take_interval(fcinfo, ARG_HISTORY_RETENTION);
	if (!PG_ARGISNULL(ARG_HISTORY_KEEP))
		job->history_keep = mj_argument_text(fcinfo, ARG_HISTORY_KEEP);
	if (!PG_ARGISNULL(ARG_HISTORY_KEEP_LAST))
		job->history_keep_last = PG_GETARG_INT32(ARG_HISTORY_KEEP_LAST);
}

/* The jobs that a job is to run after; raises 42704, 42501, 22004. */
static void
take_predecessors(FunctionCallInfo fcinfo, Predecessors *after)
{
	Datum *names;
	bool *nulls;
	int i;

	after->given = !PG_ARGISNULL(ARG_RUN_AFTER);
	after->n = 0;
	if (!after->given)
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(ARG_RUN_AFTER), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &after->n);
	after->job_ids = palloc(Max(after->n, 1) * sizeof(int64));
	for (i = 0; i < after->n; i++)
	{
		MjJob job;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("job name must not be null")));
		mj_job_require(TextDatumGetCString(names[i]), &job);
		mj_access_check_see(&job);
		after->job_ids[i] = job.job_id;
	}
}

/* Have a job run after others, if that was given; raises 22023 for a cycle. */
static void
set_predecessors(const MjJob *job, const Predecessors *after)
{
	char *cycle;

	if (!after->given)
		return;
	mj_chain_set(job->job_id, after->job_ids, after->n);
	cycle = mj_chain_find_cycle(job->job_id);
	if (cycle != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%s\" would run after itself", job->name),
				 errdetail("Each runs after the one before: %s.", cycle)));
}

/* Who does the work, and how; raises 22004, 22023. */
static void
take_handler(FunctionCallInfo fcinfo, MjJob *job)
{
	if (!PG_ARGISNULL(ARG_HANDLER))
	{
		const char *handler = mj_argument_text(fcinfo, ARG_HANDLER);

		check_choice("handler", handler, handlers);
		job->external = strcmp(handler, "external") == 0;
		job->http = strcmp(handler, "http") == 0;
	}
	if ((job->external || job->http) && PG_ARGISNULL(ARG_COMMAND))
		job->command = "";
	else
		job->command = needed_argument(fcinfo, ARG_COMMAND, "command");
}

/*
 * The options that bear on what is called.  Those of an http job go when it is
 * none any more.
 */
static void
take_calls(FunctionCallInfo fcinfo, MjJob *job, bool was_http)
{
	if (was_http && !job->http)
	{
		job->url = job->method = NULL;
		job->headers = NULL;
	}
	take_text(fcinfo, ARG_URL, &job->url);
	take_text(fcinfo, ARG_METHOD, &job->method);
	if (!PG_ARGISNULL(ARG_HEADERS))
		job->headers = PG_GETARG_JSONB_P(ARG_HEADERS);
	if (job->headers != NULL && JB_ROOT_IS_OBJECT(job->headers) &&
		JB_ROOT_COUNT(job->headers) == 0)
		job->headers = NULL;
	take_text(fcinfo, ARG_PING_URL, &job->ping_url);
}

/* Change a definition to what the arguments of jobs.schedule() say. */
static void
take_arguments(FunctionCallInfo fcinfo, MjJob *job)
{
	bool was_http = job->http;

	job->name = needed_argument(fcinfo, ARG_NAME, "job name");
	job->schedule = mj_argument_text(fcinfo, ARG_SCHEDULE);
	take_handler(fcinfo, job);
	take_calls(fcinfo, job, was_http);
	take_text(fcinfo, ARG_DESCRIPTION, &job->description);
	take_text(fcinfo, ARG_TIMEZONE, &job->timezone);
	take_role(fcinfo, job);
	take_text(fcinfo, ARG_JOB_GROUP, &job->job_group);
	if (!PG_ARGISNULL(ARG_ENABLED))
		job->enabled = PG_GETARG_BOOL(ARG_ENABLED);
	take_overlap(fcinfo, job);
	take_throttle(fcinfo, job);
	take_history(fcinfo, job);
	take_retries(fcinfo, job);
	if (!PG_ARGISNULL(ARG_CATCH_UP))
		job->catch_up = mj_argument_text(fcinfo, ARG_CATCH_UP);
	if (!PG_ARGISNULL(ARG_TIMEOUT))
		job->timeout = PG_GETARG_INTERVAL_P(ARG_TIMEOUT);
	if (!PG_ARGISNULL(ARG_PRIORITY))
		job->priority = PG_GETARG_INT32(ARG_PRIORITY);
	take_times(fcinfo, job);
}

static bool
same_times(const MjJob *a, const MjJob *b)
{
	return same_text(a->schedule, b->schedule) &&
		same_text(a->timezone, b->timezone) && a->anchor == b->anchor &&
		a->max_runs == b->max_runs;
}

/* Raise unless the runs of a job can share a transaction if they are to: 22023. */
static void
check_group_commit(const MjJob *job)
{
	if (job->group_commit && (job->isolated || job->external || job->http))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("job \"%s\" cannot have group_commit", job->name),
			 errdetail(
				 "Its runs are isolated, or executed outside of the database.")));
	if (job->group_commit && job->ping_url != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%s\" cannot have both group_commit and ping_url",
						job->name),
				 errdetail(
					 "Each run would be told of, before it is committed.")));
	if (job->isolated && job->http)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("http job \"%s\" cannot be isolated", job->name),
				 errdetail("Its runs are not executed in the database.")));
}

/*
 * Raise unless a definition is good and the caller may make it: 42501, 42704,
 * 28000, 22023, 42601, 0A000.  old is what it was, or NULL; what is new of
 * the schedule may raise NOTICEs.
 */
static void
check_definition(const MjJob *job, const MjJob *old)
{
	check_job_name(job->name);
	check_argument_order(job);
	if (old != NULL)
		mj_access_check_manage(old);
	mj_access_check_run_as(job);
	if (old == NULL || !same_times(job, old))
		mj_schedule_check(job->schedule, job->timezone);
	check_handler(job);
	check_calls(job, old);
	check_group_commit(job);
	if (job->job_group != NULL)
		check_name("job group", job->job_group);
	check_overlap(job);
	check_throttle(job);
	check_history(job);
	check_choice("catch_up", job->catch_up, catch_ups);
	check_interval("timeout", job->timeout, 1, MAX_TIMEOUT_DAYS);
	check_retries(job);
	check_interval("jitter", job->jitter, 0, 366);
	check_times(job);
}

/* Plan a job whose times were changed; its number of runs starts again. */
static void
plan_afresh(MjJob *job, const MjJob *old)
{
	if (!same_times(job, old))
	{
		job->runs = 0;
		mj_job_set_runs(job->job_id, 0);
	}
	mj_plan_job(job);
}

/*
 * What a definition that was written goes by.  The store knows, but need not be
 * asked where nothing is overridden by the setting.
 */
static void
find_planned(MjJob *job)
{
	MjJob stored;

	if (mj_schedule_override[0] == '\0')
		job->planned =
			job->schedule_override ? job->schedule_override : job->schedule;
	else if (mj_job_by_id(job->job_id, &stored))
		job->planned = stored.planned;
}

/* Must runs that have not started be told of a new definition? */
static bool
changes_queue(const MjJob *job, const MjJob *old)
{
	return mj_job_lane(job) != mj_job_lane(old) ||
		mj_job_is_gated(job) != mj_job_is_gated(old) ||
		job->max_running != old->max_running ||
		job->throttle_limit != old->throttle_limit ||
		job->throttle_period != old->throttle_period ||
		!same_text(job->overlap, old->overlap) ||
		!same_text(job->concurrency_key, old->concurrency_key);
}

/* Write a new definition of a job that the caller has locked. */
static void
update_job(MjJob *job, const MjJob *old)
{
	if (!same_text(job->command, old->command))
		job->version++;
	mj_job_update(job, mj_clock_now());
	find_planned(job);
	if (changes_queue(job, old))
	{
		mj_queue_follow_job(job->job_id, mj_job_lane(job), mj_job_is_gated(job),
							job->concurrency_key, old->concurrency_key);
		mj_xact_wake(0, mj_job_lane(job));
	}
	if (job->next_run_at != 0 && job->role_oid == old->role_oid &&
		job->enabled && same_times(job, old))
		mj_xact_wake(DT_NOEND, MJ_LANE_NONE);
	else
		plan_afresh(job, old);
	if (job->foreign_origin)
		ereport(
			NOTICE,
			(errmsg("job \"%s\" does not run in this database", job->name),
			 errdetail(
				 "It was defined in another database, or this one is a copy."),
			 errhint("jobs.adopt() makes all jobs this database's own.")));
}

/*
 * jobs.schedule(name, schedule, command, ...) returns bigint, the job_id.  An
 * upsert: of two callers with a new name the second one finds the first one's
 * job.  Raises 25006 in a read-only transaction, as all here, and whatever
 * check_definition() does.
 */
Datum
mj_api_schedule(PG_FUNCTION_ARGS)
{
	char *name = needed_argument(fcinfo, ARG_NAME, "job name");
	Predecessors after;
	MjJob job;
	MjJob old;
	bool exists;

	PreventCommandIfReadOnly("jobs.schedule()");
	take_predecessors(fcinfo, &after);
	do
	{
		CHECK_FOR_INTERRUPTS();
		exists = mj_job_find_locked(name, &old);
		if (exists)
			job = old;
		else
			set_defaults(&job);
		take_arguments(fcinfo, &job);
		check_definition(&job, exists ? &old : NULL);
		if (exists)
			update_job(&job, &old);
		else
			job.job_id = mj_job_insert(&job, mj_clock_now());
	} while (job.job_id == 0);
	if (!exists)
	{
		find_planned(&job);
		mj_plan_job(&job);
	}
	set_predecessors(&job, &after);
	PG_RETURN_INT64(job.job_id);
}

/*
 * jobs.reschedule(name, schedule): as jobs.schedule(), of the schedule only.
 */
Datum
mj_api_reschedule(PG_FUNCTION_ARGS)
{
	char *name = needed_argument(fcinfo, 0, "job name");
	char *schedule = mj_argument_text(fcinfo, 1);
	MjJob job;
	MjJob old;

	PreventCommandIfReadOnly("jobs.reschedule()");
	mj_job_require_locked(name, &old);
	job = old;
	job.schedule = schedule;
	mj_access_check_manage(&old);
	check_argument_order(&job);
	if (!same_times(&job, &old))
		mj_schedule_check(schedule, job.timezone);
	update_job(&job, &old);
	PG_RETURN_VOID();
}

/*
 * jobs.override_schedule(name, schedule): the job goes by another schedule,
 * and by its own again for NULL.
 */
Datum
mj_api_override_schedule(PG_FUNCTION_ARGS)
{
	char *name = needed_argument(fcinfo, 0, "job name");
	char *schedule = mj_argument_text(fcinfo, 1);
	MjJob job;

	PreventCommandIfReadOnly("jobs.override_schedule()");
	mj_job_require_locked(name, &job);
	mj_access_check_manage(&job);
	if (schedule != NULL)
		mj_schedule_check(schedule, job.timezone);
	mj_job_set_override(job.job_id, schedule, mj_clock_now());
	job.schedule_override = schedule;
	find_planned(&job);
	mj_plan_job(&job);
	PG_RETURN_VOID();
}

/* Cancel the runs of a job that are running. */
static void
cancel_runs(int64 job_id)
{
	int64 *run_ids;
	int n = mj_job_running(job_id, &run_ids);
	int i;

	for (i = 0; i < n && mj_shmem_available(); i++)
		(void) mj_run_cancel(run_ids[i], "its job was unscheduled");
}

/* Nothing runs after a job that goes; say so where something did. */
static void
cut_chain(const MjJob *job)
{
	char *successors = mj_chain_delete(job->job_id);

	if (successors != NULL)
		ereport(NOTICE,
				(errmsg("no job runs after job \"%s\" any more", job->name),
				 errdetail("These did: %s.", successors)));
}

/*
 * jobs.unschedule(name, cancel_running boolean): the job, its state and what
 * has not started of it are gone at commit; its history stays, in which the
 * latter is cancelled, and so is what workers outside have.  What runs in the
 * server ends by itself, or is cancelled, at once and whether or not the caller
 * commits.
 */
Datum
mj_api_unschedule(PG_FUNCTION_ARGS)
{
	char *name = needed_argument(fcinfo, 0, "job name");
	bool cancel_running = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	MjJob job;

	PreventCommandIfReadOnly("jobs.unschedule()");
	mj_job_require_locked(name, &job);
	mj_access_check_manage(&job);
	mj_lease_cancel_job(&job, "its job was unscheduled");
	mj_history_withdraw_job(job.job_id, "its job was unscheduled",
							mj_clock_now());
	cut_chain(&job);
	mj_job_delete(job.job_id);
	mj_xact_wake(0, MJ_LANE_NONE);
	if (cancel_running)
		cancel_runs(job.job_id);
	PG_RETURN_VOID();
}
