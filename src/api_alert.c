/*-------------------------------------------------------------------------
 *
 * api_alert.c
 *	  The SQL functions of alerts: set_alert_rule, drop_alert_rule,
 *	  acknowledge; and those that the extension's own SQL calls.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "access.h"
#include "alert_channel.h"
#include "alert_store.h"
#include "argument.h"
#include "clock.h"
#include "current.h"
#include "guc.h"
#include "http_rules.h"
#include "job_lookup.h"
#include "schedule.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(mj_api_set_alert_rule);
PG_FUNCTION_INFO_V1(mj_api_drop_alert_rule);
PG_FUNCTION_INFO_V1(mj_api_acknowledge);
PG_FUNCTION_INFO_V1(mj_api_alert_default_channels);
PG_FUNCTION_INFO_V1(mj_api_portal_note_backlog);
PG_FUNCTION_INFO_V1(mj_api_is_nothing);

#define MAX_RULE_NAME 200 /* bytes */
#define MAX_CHANNELS 20
#define MAX_INTERVAL_US (3660 * USECS_PER_DAY)

/* Arguments of jobs.set_alert_rule() */
enum
{
	ARG_NAME,
	ARG_KIND,
	ARG_JOB,
	ARG_JOB_GROUP,
	ARG_THRESHOLD,
	ARG_FOR_INTERVAL,
	ARG_SEVERITY,
	ARG_CHANNELS,
	ARG_ENABLED,
	ARG_REPEAT_INTERVAL,
	ARG_RESOLVE_AFTER,
	ARG_DESCRIPTION
};

/*
 * The kinds of rules: whether one can be about some jobs only, and the threshold of
 * one that is made without any.
 */
typedef struct RuleKind
{
	const char *name;
	bool of_jobs;
	int threshold;
} RuleKind;

static const RuleKind kinds[] = {
	{ "failures", true, 3 },	  { "idle", true, 7 },
	{ "long_run", true, 3 },	  { "lag", true, 60 },
	{ "mail_queue", false, 100 }, { "mail_transport", false, 60 },
	{ "quarantine", true, 0 },	  { "executors", false, 60 },
	{ "downtime", false, 60 },
};

/* 42501 unless the current user is an operator. */
static void
require_operator(const char *what)
{
	if (!mj_access_is_operator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errhint("It takes level operator.")));
}

/* The first argument, a name: else 22004. */
static char *
take_name(FunctionCallInfo fcinfo)
{
	char *name = mj_argument_text(fcinfo, ARG_NAME);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name of a rule must not be null")));
	return name;
}

/* An interval; NULL if it is not given.  22023 if it is negative, or too long. */
static Interval *
take_interval(FunctionCallInfo fcinfo, int n, const char *what)
{
	Interval *value = PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n);

	if (value != NULL && mj_interval_usecs(value) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", what)));
	if (value != NULL && mj_interval_usecs(value) > MAX_INTERVAL_US)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at most 10 years", what)));
	return value;
}

/*
 * Raise 22023 for a channel that is none, and 42501 for a webhook of a host that
 * is not allowed.  "text" is in the server's encoding.
 */
static void
check_channel(char *text)
{
	MjChannel channel;
	MjProblem problem;

	text = pg_server_to_any(text, strlen(text), PG_UTF8);
	if (mj_alert_channel_parse(text, &channel, &problem))
	{
		if (channel.kind == MJ_CHANNEL_WEBHOOK)
			mj_http_require_url("channels", channel.target);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem.message),
			 problem.detail[0] ? errdetail("%s", problem.detail) : 0,
			 problem.hint[0] ? errhint("%s", problem.hint) : 0));
}

/* The channels, checked. */
static void
take_channels(FunctionCallInfo fcinfo, MjAlertRule *rule)
{
	Datum *texts;
	bool *nulls;
	int n;
	int i;

	if (PG_ARGISNULL(ARG_CHANNELS))
		return;
	rule->channels = PG_GETARG_DATUM(ARG_CHANNELS);
	rule->has_channels = true;
	deconstruct_array(DatumGetArrayTypeP(rule->channels), TEXTOID, -1, false,
					  TYPALIGN_INT, &texts, &nulls, &n);
	if (n > MAX_CHANNELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a rule can have %d channels at most", MAX_CHANNELS)));
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a channel must not be null")));
		check_channel(TextDatumGetCString(texts[i]));
	}
}

/* The options as they are given. */
static void
take_rule(FunctionCallInfo fcinfo, MjAlertRule *rule)
{
	memset(rule, 0, sizeof(MjAlertRule));
	rule->name = take_name(fcinfo);
	rule->kind = mj_argument_text(fcinfo, ARG_KIND);
	rule->job = mj_argument_text(fcinfo, ARG_JOB);
	rule->job_group = mj_argument_text(fcinfo, ARG_JOB_GROUP);
	rule->has_threshold = !PG_ARGISNULL(ARG_THRESHOLD);
	if (rule->has_threshold)
		rule->threshold = PG_GETARG_DATUM(ARG_THRESHOLD);
	rule->for_interval =
		take_interval(fcinfo, ARG_FOR_INTERVAL, "for_interval");
	rule->severity = mj_argument_text(fcinfo, ARG_SEVERITY);
	take_channels(fcinfo, rule);
	rule->has_enabled = !PG_ARGISNULL(ARG_ENABLED);
	if (rule->has_enabled)
		rule->enabled = PG_GETARG_DATUM(ARG_ENABLED);
	rule->repeat_interval =
		take_interval(fcinfo, ARG_REPEAT_INTERVAL, "repeat_interval");
	rule->resolve_after =
		take_interval(fcinfo, ARG_RESOLVE_AFTER, "resolve_after");
	rule->description = mj_argument_text(fcinfo, ARG_DESCRIPTION);
	rule->role = GetUserNameFromId(GetUserId(), false);
}

/* The kind of a name; 22023 if there is none. */
static const RuleKind *
require_kind(const char *kind)
{
	int i;

	for (i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			return &kinds[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of rule \"%s\"", kind),
			 errhint("Kinds are failures, idle, long_run, lag, mail_queue, "
					 "mail_transport, quarantine, executors and downtime.")));
}

/*
 * What a rule is about; a new one gets a threshold.  Raises 22004, 22023, and 42704
 * for a job.
 */
static void
take_subject(MjAlertRule *rule)
{
	const RuleKind *known;
	char *kind = NULL;
	bool is_new = !mj_alert_rule_find(rule->name, &kind);
	bool named = (rule->job != NULL && *rule->job != '\0') ||
		(rule->job_group != NULL && *rule->job_group != '\0');
	MjJob job;

	if (is_new && rule->kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind of the new rule \"%s\" must not be null",
						rule->name)));
	if (rule->kind != NULL)
		kind = unconstify(char *, rule->kind);
	known = require_kind(kind);
	if (is_new && !rule->has_threshold)
	{
		rule->threshold = NumericGetDatum(int64_to_numeric(known->threshold));
		rule->has_threshold = true;
	}
	if (!known->of_jobs && named)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a rule of kind \"%s\" is not about jobs", kind)));
	if (rule->job != NULL && *rule->job != '\0' &&
		strchr(rule->job, '*') == NULL)
		mj_job_require(rule->job, &job);
}

/* Raise 22023 for what cannot be. */
static void
check_values(const MjAlertRule *rule)
{
	if (*rule->name == '\0' || strlen(rule->name) > MAX_RULE_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of a rule must have 1 to %d bytes",
						MAX_RULE_NAME)));
	if (rule->severity != NULL && strcmp(rule->severity, "info") != 0 &&
		strcmp(rule->severity, "warning") != 0 &&
		strcmp(rule->severity, "critical") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown severity \"%s\"", rule->severity),
				 errhint("Severities are info, warning and critical.")));
	if (rule->has_threshold &&
		(numeric_is_nan(DatumGetNumeric(rule->threshold)) ||
		 numeric_is_inf(DatumGetNumeric(rule->threshold)) ||
		 DatumGetInt32(
			 DirectFunctionCall2(numeric_cmp, rule->threshold,
								 NumericGetDatum(int64_to_numeric(0)))) < 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("threshold must be a number from 0 on")));
}

/*
 * jobs.set_alert_rule(name, ...): makes a rule, or changes the one of that name.
 * Operators only: 42501, as for a webhook of a host that is not allowed.  Raises
 * 22004, 22023, 42704, 25006.
 */
Datum
mj_api_set_alert_rule(PG_FUNCTION_ARGS)
{
	MjAlertRule rule;

	PreventCommandIfReadOnly("jobs.set_alert_rule()");
	require_operator("define rules of alerts");
	take_rule(fcinfo, &rule);
	check_values(&rule);
	take_subject(&rule);
	mj_alert_rule_set(&rule, mj_clock_now());
	mj_xact_wake(0, MJ_LANE_NONE);
	PG_RETURN_VOID();
}

/*
 * jobs.drop_alert_rule(name): deletes a rule; one that was shipped is again as it
 * was shipped.  Operators only: 42501.  Raises 22004, 42704, 55000, 25006.
 */
Datum
mj_api_drop_alert_rule(PG_FUNCTION_ARGS)
{
	char *name;
	char *kind;

	PreventCommandIfReadOnly("jobs.drop_alert_rule()");
	require_operator("drop rules of alerts");
	name = take_name(fcinfo);
	if (!mj_alert_rule_find(name, &kind))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule of alerts \"%s\" does not exist", name),
				 errhint("The view jobs.alert_rule lists them.")));
	if (!mj_alert_rule_delete(name))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rule of alerts \"%s\" is as it was shipped", name),
			 errhint(
				 "jobs.set_alert_rule(name, enabled => false) switches it off.")));
	mj_xact_wake(0, MJ_LANE_NONE);
	PG_RETURN_VOID();
}

/*
 * jobs.acknowledge(alert_id, note) returns boolean: false if somebody has, or it
 * is not open.  Operators only: 42501.  Raises 22004, 42704, 25006.
 */
Datum
mj_api_acknowledge(PG_FUNCTION_ARGS)
{
	int64 alert_id;
	MjAcknowledged result;

	PreventCommandIfReadOnly("jobs.acknowledge()");
	require_operator("acknowledge alerts");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("alert id must not be null")));
	alert_id = PG_GETARG_INT64(0);
	result =
		mj_alert_acknowledge(alert_id, GetUserNameFromId(GetUserId(), false),
							 mj_argument_text(fcinfo, 1), mj_clock_now());
	if (result == MJ_ACKNOWLEDGED_NOTHING)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("alert " INT64_FORMAT " does not exist", alert_id),
				 errhint("The view jobs.alert lists them.")));
	PG_RETURN_BOOL(result == MJ_ACKNOWLEDGED);
}

/* jobs.alert_default_channels() returns text[]: those of the setting. */
Datum
mj_api_alert_default_channels(PG_FUNCTION_ARGS)
{
	char **channels;
	int n = mj_guc_list(mj_alert_channels, &channels);
	Datum *texts = palloc(Max(n, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(channels[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * jobs.portal_note_backlog(pending): how many batches the job at hand found
 * waiting.  Nothing outside of a job, whose functions can be called by hand.
 * Raises 22004, 22023.
 */
Datum
mj_api_portal_note_backlog(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pending must not be null")));
	if (PG_GETARG_INT64(0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pending must not be negative")));
	if (mj_current_run_id() != 0)
		mj_alert_note_backlog(mj_current_run_id(), PG_GETARG_INT64(0),
							  mj_clock_now());
	PG_RETURN_VOID();
}

/*
 * jobs.is_nothing(result): whether a run with that result found nothing to do.
 * In C, for it is asked of thousands of rows.
 */
Datum
mj_api_is_nothing(PG_FUNCTION_ARGS)
{
	static const char *const nothing[] = { "0", "DELETE 0", "UPDATE 0",
										   "INSERT 0 0", "MERGE 0" };
	const text *result;
	int i;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	result = PG_GETARG_TEXT_PP(0);
	for (i = 0; i < lengthof(nothing); i++)
		if (VARSIZE_ANY_EXHDR(result) == strlen(nothing[i]) &&
			memcmp(VARDATA_ANY(result), nothing[i], strlen(nothing[i])) == 0)
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}
