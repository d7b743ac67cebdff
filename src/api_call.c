/*-------------------------------------------------------------------------
 *
 * api_call.c
 *	  The SQL function by which the extension's own SQL has a call made:
 *	  queue_call.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "access.h"
#include "argument.h"
#include "call.h"
#include "http_rules.h"

PG_FUNCTION_INFO_V1(mj_api_queue_call);

/* Arguments of jobs.queue_call() */
enum
{
	ARG_PURPOSE,
	ARG_URL,
	ARG_BODY,
	ARG_METHOD,
	ARG_HEADERS,
	ARG_JOB_ID
};

/* A text argument that must be there: else 22004. */
static char *
needed_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	char *value = mj_argument_text(fcinfo, n);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return value;
}

/*
 * jobs.queue_call(purpose, url, body, method, headers, job_id) returns bigint,
 * the run id: has a call made, at the caller's commit.  Members of the
 * extension's owner only: 42501.  Raises 22004, 22023, 42501 for a host that is
 * not allowed, 25006.
 */
Datum
mj_api_queue_call(PG_FUNCTION_ARGS)
{
	MjCall call = { 0 };

	PreventCommandIfReadOnly("jobs.queue_call()");
	mj_access_check_owner("queue calls of the extension");
	call.purpose = needed_argument(fcinfo, ARG_PURPOSE, "purpose");
	call.url = needed_argument(fcinfo, ARG_URL, "URL");
	call.body = mj_argument_text(fcinfo, ARG_BODY);
	call.method = mj_argument_text(fcinfo, ARG_METHOD);
	if (!PG_ARGISNULL(ARG_HEADERS))
		call.headers = PG_GETARG_JSONB_P(ARG_HEADERS);
	if (!PG_ARGISNULL(ARG_JOB_ID))
		call.job_id = PG_GETARG_INT64(ARG_JOB_ID);
	mj_http_require_url("url", call.url);
	mj_http_require_method(call.method);
	mj_http_require_headers(call.headers);
	PG_RETURN_INT64(mj_call_queue(&call));
}
