/*-------------------------------------------------------------------------
 *
 * api_board.c
 *	  What the board cannot do in SQL: its pages from their templates, its
 *	  links, times as people read them, and how far back its lists look.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "access.h"
#include "argument.h"
#include "board_files.h"
#include "history_store.h"
#include "job_lookup.h"
#include "json_value.h"
#include "mail_store.h"
#include "moment.h"
#include "mustache.h"
#include "zone.h"

PG_FUNCTION_INFO_V1(mj_api_board_html);
PG_FUNCTION_INFO_V1(mj_api_board_link);
PG_FUNCTION_INFO_V1(mj_api_board_time);
PG_FUNCTION_INFO_V1(mj_api_board_span);
PG_FUNCTION_INFO_V1(mj_api_board_zone);
PG_FUNCTION_INFO_V1(mj_api_board_reach);
PG_FUNCTION_INFO_V1(mj_api_board_mail_reach);

/* The template that the others are put into. */
#define FRAME "page"

/* The templates, parsed when they were needed first; kept for the session. */
static MjMustache **parsed = NULL;

/* ------------------------------------------------------------------------
 * Pages
 * ------------------------------------------------------------------------
 */

/* A file of board/, parsed. */
static const MjMustache *
parsed_file(int i)
{
	const char *text = mj_board_files[i].text;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	MjProblem problem;

	if (parsed == NULL)
		parsed = palloc0(mj_board_nfiles * sizeof(MjMustache *));
	if (parsed[i] == NULL)
		parsed[i] = mj_mustache_parse(text, strlen(text), &problem);
	MemoryContextSwitchTo(old);
	if (parsed[i] == NULL)
		elog(ERROR, "template \"%s\" of the board: %s %s",
			 mj_board_files[i].name, problem.message, problem.detail);
	return parsed[i];
}

/* The template of a name: MjRendering.partial; NULL if there is none. */
static const MjMustache *
find_file(void *arg, const char *name, int length)
{
	int i;

	for (i = 0; i < mj_board_nfiles; i++)
		if (strlen(mj_board_files[i].name) == length &&
			memcmp(mj_board_files[i].name, name, length) == 0)
			return parsed_file(i);
	return NULL;
}

/*
 * jobs.board_html(data jsonb) returns text: the page of what jobs.board_data()
 * says.  All of it is escaped.  Raises 54000 if it would be too long.
 */
Datum
mj_api_board_html(PG_FUNCTION_ARGS)
{
	MjRendering rendering = { 0 };
	StringInfoData out;
	MjProblem problem;

	rendering.source = &mj_json_source;
	rendering.data = mj_json_value(PG_GETARG_JSONB_P(0));
	rendering.escape = true;
	rendering.partial = find_file;
	initStringInfo(&out);
	if (!mj_mustache_render(find_file(NULL, FRAME, strlen(FRAME)), &rendering,
							&out, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("could not make the page: %s", problem.message)));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ------------------------------------------------------------------------
 * Links
 * ------------------------------------------------------------------------
 */

/* Append a text as the value of a parameter of a URL. */
static void
append_encoded(StringInfo out, const char *text)
{
	const unsigned char *c;

	for (c = (const unsigned char *) text; *c != '\0'; c++)
		if ((*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
			(*c >= 'a' && *c <= 'z') || strchr("-_.~", *c) != NULL)
			appendStringInfoChar(out, *c);
		else
			appendStringInfo(out, "%%%02X", *c);
}

/*
 * jobs.board_link(page text, VARIADIC parameters text[]) returns text: names
 * and values in turns; those whose value is NULL or empty are left out.
 */
Datum
mj_api_board_link(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	Datum *values;
	bool *nulls;
	int n;
	int i;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &n);
	initStringInfo(&out);
	appendStringInfoString(&out, "?page=");
	append_encoded(&out, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	for (i = 0; i + 1 < n; i += 2)
	{
		char *value;

		if (nulls[i] || nulls[i + 1])
			continue;
		value = TextDatumGetCString(values[i + 1]);
		if (*value == '\0')
			continue;
		appendStringInfoChar(&out, '&');
		append_encoded(&out, TextDatumGetCString(values[i]));
		appendStringInfoChar(&out, '=');
		append_encoded(&out, value);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ------------------------------------------------------------------------
 * Times
 * ------------------------------------------------------------------------
 */

/* jobs.board_time(at timestamptz, zone text, now timestamptz) returns jsonb */
Datum
mj_api_board_time(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	if (!mj_moment_json(&out, PG_GETARG_TIMESTAMPTZ(0),
						text_to_cstring(PG_GETARG_TEXT_PP(1)),
						PG_GETARG_TIMESTAMPTZ(2)))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* jobs.board_span(span interval) returns text: in words, months of 30 days */
Datum
mj_api_board_span(PG_FUNCTION_ARGS)
{
	Interval *span = PG_GETARG_INTERVAL_P(0);
	double days = (double) span->month * DAYS_PER_MONTH + span->day;
	char text[MJ_MOMENT_SIZE];

	if (fabs(days) > 10000000)
		PG_RETURN_NULL();
	mj_moment_span(text, (int64) days * USECS_PER_DAY + span->time);
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

/*
 * jobs.board_zone(zone text) returns text: the zone, as it is spelled; that of
 * the session if it is NULL or there is none of that name.
 */
Datum
mj_api_board_zone(PG_FUNCTION_ARGS)
{
	char *name = mj_argument_text(fcinfo, 0);
	MjZone zone;

	if (name == NULL || strlen(name) > TZ_STRLEN_MAX ||
		!mj_zone_open(name, &zone))
		PG_RETURN_TEXT_P(
			cstring_to_text(pg_get_timezone_name(session_timezone)));
	PG_RETURN_TEXT_P(cstring_to_text(mj_zone_name(&zone)));
}

/* ------------------------------------------------------------------------
 * Lists
 * ------------------------------------------------------------------------
 */

/*
 * jobs.board_reach(job text, before timestamptz, since timestamptz) returns
 * timestamptz: how far a list of a job's history, or of all, is to look back in
 * one go; NULL: as far as since.  Raises 42704, 42501.
 */
Datum
mj_api_board_reach(PG_FUNCTION_ARGS)
{
	char *name = mj_argument_text(fcinfo, 0);
	TimestampTz reach;
	MjJob job;

	if (name != NULL)
	{
		mj_job_require(name, &job);
		mj_access_check_see(&job);
	}
	reach = mj_history_reach(name != NULL ? &job.job_id : NULL,
							 mj_argument_instant(fcinfo, 1),
							 mj_argument_instant(fcinfo, 2));
	if (reach == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(reach);
}

/*
 * jobs.board_mail_reach(before bigint) returns bigint: the last mail that a list
 * of those before one looks at; 0: all are on it.
 */
Datum
mj_api_board_mail_reach(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(mj_mail_reach(PG_GETARG_INT64(0)));
}
