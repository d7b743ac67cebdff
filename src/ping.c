/*-------------------------------------------------------------------------
 *
 * ping.c
 *	  The pings: URLs that are told how runs go, and that this database is well.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "call.h"
#include "guc.h"
#include "health_store.h"
#include "ping.h"

/* How often this database says that it is well. */
#define PING_EVERY_US USECS_PER_MINUTE

/* A host gets pings of jobs over one in so many connections. */
#define LINE_SHARE 8

/* A URL with more behind its path. */
static char *
url_with(const char *url, const char *suffix)
{
	int path = (int) strcspn(url, "?");

	while (path > 0 && suffix[0] != '\0' && url[path - 1] == '/')
		path--;
	return psprintf("%.*s%s%s", path, url, suffix, url + strcspn(url, "?"));
}

/*
 * The line that pings of a job stand in.  Those of one job are in one, so that none
 * overtakes another; and a host has only so many, so that one which does not answer
 * takes no more connections than that.
 */
static char *
line_of(const MjJob *job)
{
	const char *url = job->ping_url;
	const char *host = strstr(url, "://");
	int length = 0;

	if (host != NULL)
		length = (int) (host - url) + 3 + (int) strcspn(host + 3, "/?");
	return psprintf("ping %.*s " INT64_FORMAT, length, url,
					job->job_id % Max(mj_http_max_connections / LINE_SHARE, 1));
}

/* Queue a ping of a job. */
static void
queue_ping(const MjJob *job, const char *suffix, const char *body, bool once)
{
	MjCall call = { .purpose = MJ_CALL_JOB_PING };

	if (job->ping_url == NULL)
		return;
	call.job_id = job->job_id;
	call.url = url_with(job->ping_url, suffix);
	call.body = body != NULL ? body : "";
	call.role = job->role;
	call.role_oid = job->role_oid;
	call.max_attempts = once ? 1 : 0;
	call.line = line_of(job);
	(void) mj_call_queue(&call);
}

/*
 * A run has begun.  Tried once only, for it means nothing later.  Needs a
 * transaction, as the others do.
 */
void
mj_ping_started(const MjJob *job)
{
	queue_ping(job, "/start", NULL, true);
}

/* A run has succeeded. */
void
mj_ping_succeeded(const MjJob *job, const MjOutcome *outcome)
{
	queue_ping(job, "", outcome->result, false);
}

/* A run has failed for good. */
void
mj_ping_failed(const MjJob *job, const MjOutcome *outcome)
{
	const char *detail = outcome->error_detail;

	if (job->ping_url != NULL)
		queue_ping(job, "/fail",
				   psprintf("%s: %s%s%s", outcome->status,
							outcome->error ? outcome->error : "",
							detail ? "\n" : "", detail ? detail : ""),
				   false);
}

/*
 * When the next ping of this database is to be made: now or before, if one is
 * due; DT_NOEND without a URL.  While the last one has not ended there is no other.
 * Needs a transaction.
 */
TimestampTz
mj_ping_next(TimestampTz now)
{
	TimestampTz last;
	MjCallEnd ping;

	if (*mj_ping_url == '\0')
		return DT_NOEND;
	if (!mj_call_last_ping(&ping, &last))
		return now;
	if (ping.ended_as == NULL)
		return now + PING_EVERY_US;
	/* after a step back of the clock it is not waited for */
	return last > now ? now : last + PING_EVERY_US;
}

/*
 * Make a ping of this database: that it is well; or that it is not, and why, if
 * its own checklist says so.  Needs a transaction.
 */
void
mj_ping_make(TimestampTz now)
{
	MjCall call = { .purpose = MJ_CALL_PING, .by_setting = true };
	char *failing;

	if (mj_ping_next(now) > now) /* looked at again, in this transaction */
		return;
	failing = mj_health_failing();
	call.url = url_with(mj_ping_url, failing ? "/fail" : "");
	call.method = failing ? "POST" : "GET";
	call.body = failing;
	(void) mj_call_queue(&call);
}
