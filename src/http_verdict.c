/*-------------------------------------------------------------------------
 *
 * http_verdict.c
 *	  What an answer over HTTP means: done, to be tried again, or not.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "http_verdict.h"

#define REQUEST_TIMEOUT 408
#define TOO_EARLY 425
#define TOO_MANY_REQUESTS 429
#define SERVICE_UNAVAILABLE 503

/* What is to become of a call that has ended so; not if it was interrupted. */
MjHttpVerdict
mj_http_verdict(const MjHttpResponse *response)
{
	int status = response->status;

	if (response->error == MJ_HTTP_REFUSED)
		return MJ_HTTP_FINAL;
	if (response->error != MJ_HTTP_OK)
		return MJ_HTTP_RETRY;
	if (status >= 200 && status < 300)
		return MJ_HTTP_DONE;
	return status >= 500 || status == REQUEST_TIMEOUT || status == TOO_EARLY ||
			status == TOO_MANY_REQUESTS ?
		MJ_HTTP_RETRY :
		MJ_HTTP_FINAL;
}

/*
 * For how many seconds a server wants to be left alone, from 1 to
 * MJ_HTTP_MAX_WAIT_S; -1: it does not say, or it is not its to say.
 */
int64
mj_http_wait_s(const MjHttpResponse *response)
{
	if (response->error != MJ_HTTP_OK || response->retry_after_s < 0 ||
		(response->status != TOO_MANY_REQUESTS &&
		 response->status != SERVICE_UNAVAILABLE))
		return -1;
	return Min(Max(response->retry_after_s, 1), MJ_HTTP_MAX_WAIT_S);
}

/* The SQLSTATE of a call that did not succeed: XH and the status, or our own. */
void
mj_http_sqlstate(const MjHttpResponse *response, char sqlstate[6])
{
	static const char *const states[] = {
		[MJ_HTTP_OK] = "XH000",		 [MJ_HTTP_REFUSED] = "22023",
		[MJ_HTTP_CONNECT] = "08001", [MJ_HTTP_TLS] = "08001",
		[MJ_HTTP_LOST] = "08006",	 [MJ_HTTP_PROTOCOL] = "08P01",
		[MJ_HTTP_TIMEOUT] = "57014", [MJ_HTTP_INTERRUPTED] = "57014",
		[MJ_HTTP_MEMORY] = "53200",
	};

	if (response->error == MJ_HTTP_OK && response->status > 0 &&
		response->status < 1000)
		snprintf(sqlstate, 6, "XH%03d", response->status);
	else
		strlcpy(sqlstate, states[response->error], 6);
}

/* The message of an answer that is none of success. */
static void
explain_status(const MjHttpResponse *response, MjProblem *problem)
{
	snprintf(problem->message, sizeof(problem->message),
			 "server answered with HTTP status %d%s%s", response->status,
			 response->reason[0] ? " " : "", response->reason);
	if (response->status < 300 || response->status >= 400)
		return;
	if (response->location[0])
		snprintf(problem->detail, sizeof(problem->detail),
				 "It points to %s; redirects are not followed.",
				 response->location);
	else
		strlcpy(problem->detail, "Redirects are not followed.",
				sizeof(problem->detail));
}

/* Why a call did not succeed, in words.  The hint stays empty. */
void
mj_http_explain(const MjHttpResponse *response, MjProblem *problem)
{
	static const char *const messages[] = {
		[MJ_HTTP_OK] = "",
		[MJ_HTTP_REFUSED] = "URL cannot be called",
		[MJ_HTTP_CONNECT] = "could not connect to HTTP server",
		[MJ_HTTP_TLS] = "could not secure the connection to HTTP server",
		[MJ_HTTP_LOST] =
			"HTTP server closed the connection before its answer was complete",
		[MJ_HTTP_PROTOCOL] = "HTTP server broke the protocol",
		[MJ_HTTP_TIMEOUT] = "HTTP server did not answer in time",
		[MJ_HTTP_INTERRUPTED] = "call was given up",
		[MJ_HTTP_MEMORY] = "out of memory",
	};

	memset(problem, 0, sizeof(*problem));
	if (response->error == MJ_HTTP_OK)
	{
		explain_status(response, problem);
		return;
	}
	strlcpy(problem->message, messages[response->error],
			sizeof(problem->message));
	if (response->detail[0])
		snprintf(problem->detail, sizeof(problem->detail), "The reason is: %s.",
				 response->detail);
}
