/*-------------------------------------------------------------------------
 *
 * alert.c
 *	  The alerts: looked after by the scheduler, now and then.
 *
 * First the rules are looked at, in one transaction, which writes down whom to
 * tell.  Then each message is passed on in a transaction of its own, so that a
 * channel that fails stops no other, and nothing is said that was not committed.
 * Whatever fails here is logged and noted, and does not end the scheduler.
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

/* Messages that are passed on before the scheduler looks at something else. */
#define MJ_ALERT_MESSAGES 20

/* What pg_notify() takes, in bytes. */
#define MJ_NOTIFY_SIZE 7999

/* Something to do in a transaction, with what it needs and finds. */
typedef struct AlertWork
{
	TimestampTz now;
	TimestampTz next;		/* when to look again */
	MjAlertMessage message; /* to pass on */
	bool found;				/* there is one */
	bool queued;			/* it is in the queue now, as a run */
	const char *error;		/* what its failure is to be noted as */
} AlertWork;

/* The transaction of some work; the caller catches what it raises. */
static void
transact(MemoryContext context, void (*work)(AlertWork *this), AlertWork *this)
{
	mj_worker_begin(context, true);
	(void) set_config_option("lock_timeout", MJ_ALERT_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	work(this);
	mj_worker_commit(context);
}

/*
 * The same; where it fails, what was done of it is undone, and the error's
 * message is returned, else NULL.
 */
static char *
try_transact(MemoryContext context, void (*work)(AlertWork *this),
			 AlertWork *this)
{
	char *volatile problem = NULL;

	mj_worker_cancellable = true;
	PG_TRY();
	{
		transact(context, work, this);
	}
	PG_CATCH();
	{
		ErrorData *error;

		mj_worker_cancellable = false;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		problem = error->message != NULL ? error->message : "unknown error";
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

/* Log what has failed, unless it is the same as the last time. */
static void
report(const char *what, const char *problem)
{
	static char last[256] = "";

	if (strncmp(last, problem, sizeof(last) - 1) == 0)
		return;
	strlcpy(last, problem, sizeof(last));
	ereport(LOG, (errmsg("motionify_jobs: %s: %s", what, problem)));
}

/*
 * Look at all rules.  Returns when to look again though nothing has happened:
 * not before MJ_ALERT_EVERY_US; DT_NOEND: there is no need.  Not in a
 * transaction.
 */
TimestampTz
mj_alert_look(MemoryContext context, TimestampTz now)
{
	AlertWork work = { now, DT_NOEND };
	char *problem = try_transact(context, evaluate, &work);

	if (problem != NULL)
	{
		report("alerts could not be looked at", problem);
		work.next = now;
	}
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
	this->found = mj_alert_next_message(&this->message);
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
 * if that fails, too, it is left for the next time.  Returns whether there may
 * be more.
 */
static bool
tell_one(MemoryContext context, bool *queued)
{
	AlertWork work = { 0 };
	char *problem = try_transact(context, tell_next, &work);

	*queued |= problem == NULL && work.queued;
	if (problem == NULL)
		return work.found;
	if (!work.found)
	{
		report("messages of alerts could not be read", problem);
		return false;
	}
	report_channel(work.message.channel, problem);
	work.error = problem;
	problem = try_transact(context, note_failure, &work);
	return problem == NULL;
}

/*
 * Pass messages on.  *queued: some are in the queue now, for executors.  Returns
 * whether there may be more at once.  Not in a transaction.
 */
bool
mj_alert_tell(MemoryContext context, bool *queued)
{
	int i;

	*queued = false;
	for (i = 0; i < MJ_ALERT_MESSAGES; i++)
		if (!tell_one(context, queued))
			return false;
	return true;
}
