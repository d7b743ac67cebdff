/*-------------------------------------------------------------------------
 *
 * mail_transport.c
 *	  The transport: whether, and how much, mail may be sent now.
 *
 *	             throttled                       trouble
 *	  running ------------> slowed      any --------------> paused
 *	     ^                  |  ^  |                           |
 *	     |    a success at  |  |  | each throttled: level + 1 | each failed
 *	     +<---- level 1 ----+  +--+ each success:   level - 1 | trial: level + 1
 *	     +<------------------------- a success ---------------+
 *
 * Paused, mail is tried after motionify_jobs.mail_retry_delay, then after twice
 * that, and so on, with one mail each time.  Slowed, each level halves
 * connections and batches, and from the second on there is a pause, too, that
 * doubles.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/elog.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "mail_session.h"
#include "mail_transport.h"
#include "transport_store.h"
#include "xact.h"

/* Paused mail is tried that often at least, unless mail_retry_delay is longer. */
#define MJ_MAX_TRIAL_US (15 * USECS_PER_MINUTE)

/* Slowed: the first pause, and the longest. */
#define MJ_FIRST_PAUSE_US (5 * USECS_PER_SEC)
#define MJ_MAX_PAUSE_US (5 * USECS_PER_MINUTE)
#define MJ_MAX_SLOWNESS 8

/* A trial that nobody has told the end of was given up. */
#define MJ_TRIAL_TIMEOUTS 4

/*
 * It was not running when this process looked last: so that, as long as it is,
 * a success costs nothing.
 */
static bool disturbed = false;

/* A time doubled n times, but no longer than another. */
static int64
doubled(int64 us, int n, int64 most)
{
	for (; n > 0 && us < most; n--)
		us *= 2;
	return Min(us, most);
}

/* A number halved n times, but at least one. */
static int
halved(int value, int n)
{
	return Max(1, value >> Min(n, 30));
}

/*
 * May mails be claimed now, at most so many?  forced: the caller wants to know
 * whether it works, and what is in the way if not.
 */
void
mj_transport_ask(int mails, int connections, bool forced, TimestampTz now,
				 MjTransportPermit *permit)
{
	MjTransport transport;
	bool paused;

	mj_transport_read(&transport);
	disturbed = transport.state != MJ_TRANSPORT_RUNNING;
	paused = transport.state == MJ_TRANSPORT_PAUSED;
	permit->mails = mails;
	permit->connections = connections;
	permit->is_trial = paused && !forced;
	if (!disturbed || (paused && forced))
		return;
	if (transport.next_try_at > now)
		permit->mails = 0;
	else if (paused)
		permit->mails = permit->connections = 1;
	else
	{
		permit->mails = halved(mails, transport.level);
		permit->connections = halved(connections, transport.level);
	}
}

/*
 * Mails were claimed for a trial: the next one is not before this one must have
 * ended, which says itself when it is.
 */
void
mj_transport_begin_trial(TimestampTz now)
{
	MjTransport transport;

	mj_transport_lock(&transport);
	if (transport.state != MJ_TRANSPORT_PAUSED || transport.next_try_at > now)
		return;
	transport.next_try_at =
		now + MJ_TRIAL_TIMEOUTS * mj_smtp_timeout_s * USECS_PER_SEC;
	mj_transport_write(&transport);
}

/* Enter another state, and say so in the server log. */
static void
enter_state(MjTransport *transport, MjTransportState state, TimestampTz now)
{
	transport->state = state;
	transport->since = now;
	transport->level = 0;
	disturbed = state != MJ_TRANSPORT_RUNNING;
	if (!disturbed)
	{
		transport->next_try_at = 0;
		transport->sqlstate = NULL;
		transport->reason = NULL;
		ereport(LOG,
				(errmsg("mail is being delivered again"), errhidestmt(true),
				 errhidecontext(true)));
	}
}

/* Say once that mail is not being delivered. */
static void
log_pause(const MjMailTrouble *trouble)
{
	const MjProblem *problem = &trouble->problem;

	ereport(LOG,
			(errcode(trouble->sqlstate),
			 errmsg("mail is not being delivered: %s", problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0,
			 errhidestmt(true), errhidecontext(true)));
}

/*
 * No mail could be sent at all: pause, or stay paused for longer.  Returns when
 * it is tried again, and has the scheduler look then.
 */
static TimestampTz
pause_transport(const MjMailTrouble *trouble, TimestampTz now)
{
	int64 delay = mj_mail_retry_delay_s * USECS_PER_SEC;
	MjTransport transport;

	mj_transport_lock(&transport);
	if (transport.state != MJ_TRANSPORT_PAUSED)
	{
		enter_state(&transport, MJ_TRANSPORT_PAUSED, now);
		log_pause(trouble);
	}
	transport.sqlstate = unpack_sql_state(trouble->sqlstate);
	transport.reason =
		mj_mail_words(trouble->problem.message, trouble->problem.detail);
	transport.next_try_at =
		now + doubled(delay, transport.level, Max(delay, MJ_MAX_TRIAL_US));
	transport.level++;
	mj_transport_write(&transport);
	mj_xact_wake(transport.next_try_at, MJ_LANE_NONE);
	return transport.next_try_at;
}

/*
 * The server wants less: slow down, or more so.  Returns when mail is sent
 * again, and has the scheduler look then.  What is paused stays so.
 */
TimestampTz
mj_transport_throttled(const char *reply, TimestampTz now)
{
	MjTransport transport;

	mj_transport_lock(&transport);
	if (transport.state == MJ_TRANSPORT_PAUSED)
		return transport.next_try_at;
	if (transport.state == MJ_TRANSPORT_RUNNING)
	{
		enter_state(&transport, MJ_TRANSPORT_SLOWED, now);
		ereport(LOG,
				(errmsg("mail is being sent more slowly: %s", reply),
				 errhidestmt(true), errhidecontext(true)));
	}
	transport.sqlstate = NULL;
	transport.reason = reply;
	transport.next_try_at = transport.level == 0 ?
		now :
		now + doubled(MJ_FIRST_PAUSE_US, transport.level - 1, MJ_MAX_PAUSE_US);
	transport.level = Min(transport.level + 1, MJ_MAX_SLOWNESS);
	mj_transport_write(&transport);
	mj_xact_wake(transport.next_try_at, MJ_LANE_NONE);
	return transport.next_try_at;
}

/* The same for what kept a connection from being made, whichever it was. */
TimestampTz
mj_transport_failed(const MjMailTrouble *trouble, TimestampTz now)
{
	if (trouble->throttled)
		return mj_transport_throttled(mj_mail_words(trouble->problem.message,
													trouble->problem.detail),
									  now);
	return pause_transport(trouble, now);
}

/* Mails were accepted: all is well again, or a bit better. */
void
mj_transport_succeeded(TimestampTz now)
{
	MjTransport transport;

	if (!disturbed)
		return;
	mj_transport_lock(&transport);
	if (transport.state == MJ_TRANSPORT_RUNNING)
		return;
	if (transport.state == MJ_TRANSPORT_PAUSED || transport.level <= 1)
		enter_state(&transport, MJ_TRANSPORT_RUNNING, now);
	else
	{
		transport.level--;
		transport.next_try_at = now;
	}
	mj_transport_write(&transport);
	mj_xact_wake(now, MJ_LANE_MAIL);
}
