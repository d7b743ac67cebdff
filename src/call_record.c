/*-------------------------------------------------------------------------
 *
 * call_record.c
 *	  The record of HTTP runs that were claimed: what became of them.
 *
 * The fate of a run is decided here, from what its answer means, which is
 * http_verdict's to say, and from the options of its job.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/elog.h"
#include "utils/timestamp.h"

#include "call_record.h"
#include "clock.h"
#include "guc.h"
#include "http_verdict.h"
#include "runlog.h"
#include "runner.h"
#include "worker.h"
#include "xact.h"

/* Bytes of an answer that jobs.call keeps. */
#define MAX_ANSWER 1000

/* ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

/*
 * Make text out of what a server said, in place: it may be anything.  What is not
 * valid, or, in a database that is not in UTF-8, not ASCII, becomes a question
 * mark.
 */
static void
make_text(char *bytes, size_t length)
{
	bool utf8 = GetDatabaseEncoding() == PG_UTF8;
	char *end = bytes + length;

	while (bytes < end)
	{
		int n = 1;

		if (utf8 && IS_HIGHBIT_SET(*bytes))
			n = pg_utf_mblen((const unsigned char *) bytes);
		if (*bytes == '\0' || (!utf8 && IS_HIGHBIT_SET(*bytes)) ||
			n > end - bytes ||
			(n > 1 && !pg_utf8_islegal((const unsigned char *) bytes, n)) ||
			(n == 1 && IS_HIGHBIT_SET(*bytes)))
		{
			*bytes = '?';
			n = 1;
		}
		bytes += n;
	}
}

/* The body of an answer as text, without secrets, cut like a result. */
static char *
body_text(const MjErrand *errand)
{
	const MjHttpResponse *response = &errand->parcel.response;
	char *text;

	if (response->body == NULL || response->length == 0)
		return NULL;
	text = palloc(response->length + 1);
	memcpy(text, response->body, response->length);
	text[response->length] = '\0';
	make_text(text, response->length);
	mj_http_secrets_mask(&errand->draft.secrets, text);
	return mj_runner_cut(text, (Size) mj_max_result_length_kb * 1024);
}

/* Is some of an answer's body not kept? */
static bool
is_cut(const MjHttpResponse *response)
{
	return response->cut ||
		response->length > (size_t) mj_max_result_length_kb * 1024;
}

/* What a success gives: the body of the answer; without one, its status. */
static void
set_success(const MjErrand *errand, MjOutcome *outcome)
{
	const MjHttpResponse *response = &errand->parcel.response;

	outcome->status = "succeeded";
	outcome->result = body_text(errand);
	if (outcome->result == NULL)
		outcome->result = psprintf("HTTP %d", response->status);
	if (is_cut(response))
		outcome->notices = "NOTICE:  the answer was cut off";
}

/* What was called, for who may see it; without a query, which may be secret. */
static char *
describe_request(const MjErrand *errand)
{
	const MjHttpRequest *request = &errand->draft.request;

	return psprintf("%s %.*s", request->method,
					(int) strcspn(request->url, "?"), request->url);
}

/* An answer that is none of success, or none at all. */
static void
set_failure(const MjErrand *errand, MjOutcome *outcome)
{
	const MjHttpResponse *response = &errand->parcel.response;
	MjProblem problem;
	char sqlstate[6];
	char *body = body_text(errand);

	mj_http_explain(response, &problem);
	mj_http_sqlstate(response, sqlstate);
	mj_http_secrets_mask(&errand->draft.secrets, problem.message);
	mj_http_secrets_mask(&errand->draft.secrets, problem.detail);
	outcome->status = "failed";
	outcome->sqlstate = pstrdup(sqlstate);
	outcome->error = pstrdup(problem.message);
	outcome->error_detail = problem.detail[0] ? pstrdup(problem.detail) : body;
	outcome->error_context = describe_request(errand);
	if (response->error != MJ_HTTP_TIMEOUT)
		return;
	outcome->status = "timed_out";
	outcome->error = psprintf("run timed out after %ld ms",
							  errand->draft.request.timeout_ms);
	outcome->error_detail = NULL;
}

/* It could not be sent, as the settings are. */
static void
set_refusal(const MjErrand *errand, MjOutcome *outcome)
{
	const MjProblem *problem = &errand->problem;

	outcome->status = "failed";
	outcome->sqlstate = pstrdup(unpack_sql_state(errand->sqlstate));
	outcome->error = psprintf("URL cannot be called: %s", problem->message);
	outcome->error_detail = problem->hint[0] ? pstrdup(problem->hint) : NULL;
}

/* It was cancelled, perhaps in the midst of it. */
static void
set_cancelled(const MjErrand *errand, MjOutcome *outcome)
{
	outcome->status = "cancelled";
	outcome->sqlstate = "57014";
	outcome->error = pstrdup(errand->reason);
	if (errand->parcel.begun)
		outcome->error_detail =
			"The call had begun; the server may have acted on it.";
}

/* ------------------------------------------------------------------------
 * What becomes of a run
 * ------------------------------------------------------------------------
 */

/* Did its request come to its end, or to no begin for a reason that counts? */
static bool
has_outcome(const MjErrand *errand)
{
	return errand->cancelled || errand->sqlstate != 0 ||
		(errand->parcel.begun &&
		 errand->parcel.response.error != MJ_HTTP_INTERRUPTED);
}

/*
 * The job's options as they bear on this end: what will not do another time is not
 * tried again, and a server that says when it wants to be asked is asked then.
 */
static void
bend_retries(const MjErrand *errand, MjJob *job)
{
	static Interval wait;
	const MjHttpResponse *response = &errand->parcel.response;
	int64 wait_s;

	/* a file that cannot be read may be mended; what is not allowed is not */
	if (errand->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		errand->sqlstate == ERRCODE_INVALID_PARAMETER_VALUE)
		job->max_attempts = 0;
	if (!errand->parcel.begun)
		return;
	if (mj_http_verdict(response) == MJ_HTTP_FINAL)
		job->max_attempts = 0;
	wait_s = mj_http_wait_s(response);
	if (wait_s < 0)
		return;
	memset(&wait, 0, sizeof(wait));
	wait.time = wait_s * USECS_PER_SEC;
	job->backoff = "fixed";
	job->backoff_base = &wait;
	job->backoff_cap = NULL;
	job->backoff_jitter = 0.0;
}

/* What an errand came to. */
static void
set_outcome(const MjErrand *errand, MjOutcome *outcome)
{
	memset(outcome, 0, sizeof(MjOutcome));
	outcome->rows_isnull = true;
	outcome->finished_at =
		errand->parcel.ended_at ? errand->parcel.ended_at : mj_clock_now();
	if (errand->cancelled)
		set_cancelled(errand, outcome);
	else if (errand->sqlstate != 0)
		set_refusal(errand, outcome);
	else if (mj_http_verdict(&errand->parcel.response) == MJ_HTTP_DONE)
		set_success(errand, outcome);
	else
		set_failure(errand, outcome);
}

static bool
is_success(const MjOutcome *outcome)
{
	return strcmp(outcome->status, "succeeded") == 0;
}

/* The run as it is logged. */
static MjRun
run_of(const MjErrand *errand)
{
	MjRun run = errand->work.run;

	if (errand->parcel.begun)
		run.started_at = errand->parcel.begun_at;
	else if (errand->cancelled)
		run.started_at = 0; /* it never was */
	if (errand->sqlstate == 0)
		run.worker =
			psprintf("%s:%d", errand->draft.url.host, errand->draft.url.port);
	return run;
}

/* Write the end of a run of a job. */
static void
write_job(const MjErrand *errand, const MjOutcome *outcome)
{
	const MjWork *work = &errand->work;
	MjRun run = run_of(errand);
	MjJob job = work->job;

	if (is_success(outcome))
	{
		(void) mj_runlog_succeeded(&run, &work->owner, outcome, &work->job);
		return;
	}
	bend_retries(errand, &job);
	(void) mj_runlog_failed(&run, &work->owner, outcome, &job);
}

/*
 * Write the end of a call's run, and what is to be written of the call.  Its
 * successes are not logged: there may be more of them than of anything else.
 */
static void
write_call(const MjErrand *errand, const MjOutcome *outcome, MjCallEnd *end)
{
	const MjWork *work = &errand->work;
	MjRun run = run_of(errand);
	MjJob job = work->job;
	bool goes_on = false;

	if (is_success(outcome))
	{
		(void) mj_queue_delete(run.run_id, run.worker_id);
		mj_xact_run_ended(run.run_id); /* others may wait for it */
	}
	else
	{
		bend_retries(errand, &job);
		goes_on = mj_runlog_failed(&run, &work->owner, outcome, &job) != 0;
	}
	end->run_id = run.run_id;
	end->at = outcome->finished_at;
	end->status = errand->parcel.response.status;
	end->answer =
		mj_runner_cut(is_success(outcome) ? outcome->result : outcome->error,
					  MAX_ANSWER);
	end->ended_as = goes_on						  ? NULL :
		strcmp(outcome->status, "cancelled") == 0 ? "cancelled" :
		is_success(outcome)						  ? "succeeded" :
													"failed";
}

/* What has no outcome goes back. */
static void
put_back(const MjErrand *errand)
{
	MjRun run = errand->work.run;

	if (errand->parcel.begun)
	{
		run.started_at = errand->parcel.begun_at;
		mj_runlog_interrupted(&run,
							  mj_worker_told_to_end ?
								  "the worker was told to end" :
								  "its worker has ended");
	}
	else
	{
		(void) mj_queue_unclaim(&run, run.lane, 0);
		mj_xact_wake(0, run.lane);
	}
}

/* Write what became of an errand; true: of its call is more to be written. */
static bool
write_errand(const MjErrand *errand, const MjOutcome *outcome, MjCallEnd *end)
{
	if (!has_outcome(errand))
	{
		put_back(errand);
		return false;
	}
	if (errand->is_call)
		write_call(errand, outcome, end);
	else
		write_job(errand, outcome);
	return errand->is_call;
}

/* ------------------------------------------------------------------------
 * The record
 * ------------------------------------------------------------------------
 */

/*
 * Record what became of errands, all of one worker_id, and put back those that
 * came to no end.  In a transaction of the executor's, begun in a context that is
 * the current one; commits it.
 */
void
mj_call_record(MjErrand *const *errands, int n)
{
	MemoryContext context = CurrentMemoryContext;
	MjOutcome *outcomes = palloc(Max(n, 1) * sizeof(MjOutcome));
	MjCallEnd *ends = palloc(Max(n, 1) * sizeof(MjCallEnd));
	int nends = 0;
	int i;

	for (i = 0; i < n; i++)
	{
		if (has_outcome(errands[i]))
			set_outcome(errands[i], &outcomes[i]);
		if (write_errand(errands[i], &outcomes[i], &ends[nends]))
			nends++;
	}
	mj_call_write_ends(ends, nends);
	mj_worker_commit(context);
	for (i = 0; i < n; i++)
		if (has_outcome(errands[i]) &&
			!(errands[i]->is_call && is_success(&outcomes[i])))
			mj_runlog_report(&errands[i]->work.run, &errands[i]->work.owner,
							 &outcomes[i]);
}
