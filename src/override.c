/*-------------------------------------------------------------------------
 *
 * override.c
 *	  The setting motionify_jobs.schedule_override: is it what it must be?
 *
 * A JSON object whose values are schedules.  The stores read it with the
 * server's own JSON functions; here it is only checked, where no transaction
 * may be open.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#include "compat.h"
#include "cron.h"
#include "override.h"

/* The parse under way. */
typedef struct OverrideCheck
{
	int depth;		   /* of objects */
	bool shape_is_bad; /* something but an object of strings */
	MjProblem problem; /* of the first schedule that is not understood */
} OverrideCheck;

static MJ_JSON_RESULT
object_start(void *state)
{
	OverrideCheck *check = state;

	if (check->depth++ > 0)
		check->shape_is_bad = true;
	MJ_JSON_RETURN;
}

static MJ_JSON_RESULT
array_start(void *state)
{
	((OverrideCheck *) state)->shape_is_bad = true;
	MJ_JSON_RETURN;
}

static MJ_JSON_RESULT
scalar(void *state, char *token, JsonTokenType type)
{
	OverrideCheck *check = state;
	MjSchedule *schedule;

	if (check->depth != 1 || type != JSON_TOKEN_STRING)
		check->shape_is_bad = true;
	else if (check->problem.message[0] == '\0')
		(void) mj_cron_parse(token, &schedule, NULL, &check->problem);
	MJ_JSON_RETURN;
}

/* GUC check hook: empty, or a JSON object whose values are schedules. */
bool
mj_override_check(char **newval, void **extra, GucSource source)
{
	OverrideCheck check = { 0 };
	JsonSemAction actions = { 0 };
	JsonLexContext *lex;

	if (**newval == '\0')
		return true;
	actions.semstate = &check;
	actions.object_start = object_start;
	actions.array_start = array_start;
	actions.scalar = scalar;
	lex = MJ_JSON_LEXER(*newval);
	if (pg_parse_json(lex, &actions) != JSON_SUCCESS || check.shape_is_bad)
	{
		GUC_check_errdetail("It is not a JSON object of strings.");
		GUC_check_errhint(
			"As in {\"my_job\": \"*/5 * * * *\", \"group:email\": \"0 8 * * *\"}.");
		return false;
	}
	if (check.problem.message[0] == '\0')
		return true;
	GUC_check_errdetail("%s: %s", check.problem.message, check.problem.detail);
	if (check.problem.hint[0] != '\0')
		GUC_check_errhint("%s", check.problem.hint);
	return false;
}
