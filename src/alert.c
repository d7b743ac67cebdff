/*-------------------------------------------------------------------------
 *
 * alert.c
 *	  The alerts: looked after by the scheduler, now and then.
 *
 * First the rules are looked at, in one transaction, which writes down whom to
 * tell.  Then each message is passed on in a transaction of its own, so that a
 * channel that fails stops no other, and nothing is said that was not committed.
 * Whatever fails here is logged and noted, and does not end the scheduler; what
 * will pass is tried again.  Commits are not waited for: what a crash of the
 * server takes back is looked at, and said, again.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "alert.h"
#include "alert_channel.h"
#include "alert_store.h"
#include "call.h"
#include "clock.h"
#include "fault.h"
#include "guc.h"
#include "shmem.h"
#include "worker.h"

/* Who else has what is needed locked is waited for so long. */
#define MJ_ALERT_LOCK_TIMEOUT "1s"

/* Bytes of a problem that are remembered, so that it is logged once. */
#define MJ_PROBLEM_SIZE 256

/* What pg_notify() takes, in bytes. */
#define MJ_NOTIFY_SIZE 7999

/* Something to do in a transaction, with what it needs and finds. */
typedef struct AlertWork
{
	TimestampTz now;
	TimestampTz next;		/* when to look again */
	int64 after;			/* of messages those that come later */
	MjAlertMessage message; /* to pass on */
	bool found;				/* there is one */
	bool queued;			/* it is in the queue now, as a run */
	const char *error;		/* what its failure is to be noted as */
} AlertWork;

/* The last message that is left for later; until the rules are looked at. */
static int64 left_until = 0;

/* The transaction of some work; the caller catches what it raises. */
static void
transact(MemoryContext context, void (*work)(AlertWork *this), AlertWork *this)
{
	mj_worker_begin(context, false);
	(void) set_config_option("lock_timeout", MJ_ALERT_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	work(this);
	mj_worker_commit(context);
}

/*
 * The same; where it fails, what was done of it is undone, and the error is
 * returned, else NULL.
 */
static ErrorData *
try_transact(MemoryContext context, void (*work)(AlertWork *this),
			 AlertWork *this)
{
	ErrorData *volatile problem = NULL;

	mj_worker_cancellable = true;
	PG_TRY();
	{
		transact(context, work, this);
	}
	PG_CATCH();
	{
		mj_worker_cancellable = false;
		MemoryContextSwitchTo(context);
		problem = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	return problem;
}

static void
evaluate(AlertWork *this)
{
	this->next = mj_alert_evaluate(this->now);
	MJ_FAULT("alert-evaluated");
}

/* Is an error one of the moment, after which the same may succeed? */
static bool
will_pass(const ErrorData *problem)
{
	switch (problem->sqlerrcode)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_QUERY_CANCELED:
			return true;
		default:
			return ERRCODE_TO_CATEGORY(problem->sqlerrcode) ==
				ERRCODE_INSUFFICIENT_RESOURCES;
	}
}

/*
 * Log what has failed, unless it is the same as the last time; NULL: it has not.
 * "last" has MJ_PROBLEM_SIZE bytes.
 */
static void
report(char *last, const char *what, const ErrorData *problem)
{
	const char *message = problem != NULL ? problem->message : "";

	if (strncmp(last, message, MJ_PROBLEM_SIZE - 1) == 0)
		return;
	strlcpy(last, message, MJ_PROBLEM_SIZE);
	if (problem != NULL)
		ereport(LOG, (errmsg("motionify_jobs: %s: %s", what, message)));
}

/*
 * Look at all rules.  Returns when to look again though nothing has happened:
 * not before MJ_ALERT_EVERY_US; DT_NOEND: there is no need.  Not in a
 * transaction.
 */
TimestampTz
mj_alert_look(MemoryContext context, TimestampTz now)
{
	static char last[MJ_PROBLEM_SIZE] = "";
	AlertWork work = { now, DT_NOEND };
	ErrorData *problem = try_transact(context, evaluate, &work);

	report(last, "alerts could not be looked at", problem);
	if (problem != NULL)
		work.next = now;
	left_until = 0;
	return Max(work.next, now + MJ_ALERT_EVERY_US);
}

/* What a mail and the server log begin with. */
static char *
headline(const MjAlertMessage *message)
{
	if (strcmp(message->event, "resolved") == 0)
		return psprintf("[resolved] %s", message->summary);
	return psprintf("[%s%s] %s", message->severity,
					strcmp(message->event, "repeated") == 0 ? ", still" : "",
					message->summary);
}

/* What follows the summary, in one paragraph. */
static const char *
rest_of(const char *body)
{
	const char *rest = strchr(body, '\n');

	return rest != NULL ? rest + 1 : "";
}

static void
tell_log(const MjAlertMessage *message)
{
	bool bad = strcmp(message->event, "resolved") != 0 &&
		strcmp(message->severity, "info") != 0;

	ereport(bad ? WARNING : LOG,
			(errmsg("motionify_jobs alert: %s", headline(message)),
			 errdetail_internal("%s", rest_of(message->body)),
			 errhidestmt(true), errhidecontext(true)));
}

/* Tell programs that listen; without the details if these are too long. */
static void
tell_listeners(const MjAlertMessage *message, const char *name)
{
	const char *payload = message->payload;

	if (strlen(payload) > MJ_NOTIFY_SIZE)
		payload = message->payload_head;
	mj_alert_notify(name, payload);
}

/*
 * Tell by HTTP; returns the run of the request.  A host that is not allowed makes
 * it fail, but what the setting names a superuser has allowed.
 */
static int64
tell_webhook(const MjAlertMessage *message, const char *url)
{
	MjCall call = { .purpose = MJ_CALL_ALERT, .url = url };

	call.body = message->payload;
	call.by_setting = mj_guc_list_has(mj_alert_channels, message->channel);
	return mj_call_queue(&call);
}

/* Pass the message at hand on; returns its run, 0 if it makes none. */
static int64
pass_on(const MjAlertMessage *message)
{
	MjChannel channel;
	MjProblem problem;
	char *text = message->channel;
	char *utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);

	if (!mj_alert_channel_parse(utf8, &channel, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s", problem.message)));
	text += channel.target - utf8; /* prefixes are ASCII */
	switch (channel.kind)
	{
		case MJ_CHANNEL_MAIL:
			return mj_alert_queue_mail(message, text, headline(message));
		case MJ_CHANNEL_WEBHOOK:
			return tell_webhook(message, text);
		case MJ_CHANNEL_NOTIFY:
			tell_listeners(message, text);
			return 0;
		case MJ_CHANNEL_LOG:
			tell_log(message);
			return 0;
		case MJ_CHANNEL_NONE:
			return 0;
	}
	return 0;
}

/* Find the next message, and pass it on. */
static void
tell_next(AlertWork *this)
{
	int64 run_id;

	this->queued = false;
	this->found = mj_alert_next_message(this->after, &this->message);
	if (!this->found)
		return;
	MJ_FAULT("alert-message");
	run_id = pass_on(&this->message);
	this->queued = run_id != 0;
	mj_alert_mark(this->message.message_ids, run_id != 0 ? "queued" : "sent",
				  run_id, NULL, run_id != 0 ? 0 : mj_clock_now());
}

/* Note that the message could not be passed on. */
static void
note_failure(AlertWork *this)
{
	mj_alert_mark(this->message.message_ids, "failed", 0, this->error,
				  mj_clock_now());
}

/* Log that a channel could not be told; the URL of a webhook may be a secret. */
static void
report_channel(const char *channel, const char *problem)
{
	int length = strncmp(channel, "webhook:", 8) == 0 ? 7 : strlen(channel);

	ereport(
		LOG,
		(errmsg(
			"motionify_jobs: channel \"%.*s\" could not be told of an alert: %s",
			length, channel, problem)));
}

/*
 * Pass the next message on, if there is one.  One that fails is noted as failed;
 * if that is of the moment, or cannot be noted, it is left until the rules are
 * looked at again, which happens within a minute while there is one.  *queued: it
 * is in the queue now, for executors.  Returns whether there may be more.  Not in
 * a transaction.
 */
bool
mj_alert_tell(MemoryContext context, bool *queued)
{
	static char last[MJ_PROBLEM_SIZE] = "";
	AlertWork work = { .after = left_until };
	ErrorData *problem = try_transact(context, tell_next, &work);
	ErrorData *unread = work.found ? NULL : problem;

	*queued = problem == NULL && work.queued;
	report(last, "messages of alerts could not be read", unread);
	if (problem == NULL || !work.found)
		return problem == NULL && work.found;
	report_channel(work.message.channel, problem->message);
	work.error = problem->message;
	if (will_pass(problem) ||
		try_transact(context, note_failure, &work) != NULL)
		left_until = work.message.first_id;
	return true;
}
