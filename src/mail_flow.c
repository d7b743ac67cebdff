/*-------------------------------------------------------------------------
 *
 * mail_flow.c
 *	  The flow of mail: whether, and how much, may be sent now.
 *
 *	             throttled                       trouble
 *	  running ------------> slowed      any --------------> paused
 *	     ^                  |  ^  |                           |
 *	     |    a success at  |  |  | each throttled: level + 1 | each failed
 *	     +<---- level 1 ----+  +--+ each success:   level - 1 | trial: level + 1
 *	     +<---------------- a success, a refusal -------------+
 *
 * Paused, mail is tried after motionify_jobs.mail_retry_delay, then after twice
 * that, and so on, with one mail each time.  A server that refuses that mail can
 * be reached, and takes others.  Slowed, each level halves
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
#include "mail_flow.h"
#include "flow_store.h"
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
mj_flow_ask(int mails, int connections, bool forced, TimestampTz now,
			MjFlowPermit *permit)
{
	MjMailFlow flow;
	bool paused;

	mj_flow_read(&flow);
	disturbed = flow.state != MJ_FLOW_RUNNING;
	paused = flow.state == MJ_FLOW_PAUSED;
	permit->mails = mails;
	permit->connections = connections;
	permit->is_trial = paused && !forced;
	if (!disturbed || (paused && forced))
		return;
	if (flow.next_try_at > now)
		permit->mails = 0;
	else if (paused)
		permit->mails = permit->connections = 1;
	else
	{
		permit->mails = halved(mails, flow.level);
		permit->connections = halved(connections, flow.level);
	}
}

/* Is mail slowed, and until when is none sent? */
bool
mj_flow_is_slowed(TimestampTz *until)
{
	MjMailFlow flow;

	mj_flow_read(&flow);
	*until = flow.next_try_at;
	return flow.state == MJ_FLOW_SLOWED;
}

/*
 * Mails were claimed for a trial: the next one is not before this one must have
 * ended, which says itself when it is.
 */
void
mj_flow_begin_trial(TimestampTz now)
{
	MjMailFlow flow;

	mj_flow_lock(&flow);
	if (flow.state != MJ_FLOW_PAUSED || flow.next_try_at > now)
		return;
	flow.next_try_at =
		now + MJ_TRIAL_TIMEOUTS * mj_smtp_timeout_s * USECS_PER_SEC;
	mj_flow_write(&flow);
}

/* Enter another state, and say so in the server log. */
static void
enter_state(MjMailFlow *flow, MjFlowState state, TimestampTz now)
{
	flow->state = state;
	flow->since = now;
	flow->level = 0;
	disturbed = state != MJ_FLOW_RUNNING;
	if (!disturbed)
	{
		flow->next_try_at = 0;
		flow->sqlstate = NULL;
		flow->reason = NULL;
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
pause_flow(const MjMailTrouble *trouble, TimestampTz now)
{
	int64 delay = mj_mail_retry_delay_s * USECS_PER_SEC;
	MjMailFlow flow;

	mj_flow_lock(&flow);
	if (flow.state != MJ_FLOW_PAUSED)
	{
		enter_state(&flow, MJ_FLOW_PAUSED, now);
		log_pause(trouble);
	}
	flow.sqlstate = unpack_sql_state(trouble->sqlstate);
	flow.reason =
		mj_mail_words(trouble->problem.message, trouble->problem.detail);
	flow.next_try_at =
		now + doubled(delay, flow.level, Max(delay, MJ_MAX_TRIAL_US));
	flow.level++;
	mj_flow_write(&flow);
	mj_xact_wake(flow.next_try_at, MJ_LANE_NONE);
	return flow.next_try_at;
}

/*
 * The server wants less: slow down, or more so.  Returns when mail is sent
 * again, and has the scheduler look then.  What is paused stays so.
 */
TimestampTz
mj_flow_throttled(const char *reply, TimestampTz now)
{
	MjMailFlow flow;

	mj_flow_lock(&flow);
	if (flow.state == MJ_FLOW_PAUSED)
		return flow.next_try_at;
	if (flow.state == MJ_FLOW_RUNNING)
	{
		enter_state(&flow, MJ_FLOW_SLOWED, now);
		ereport(LOG,
				(errmsg("mail is being sent more slowly: %s", reply),
				 errhidestmt(true), errhidecontext(true)));
	}
	flow.sqlstate = NULL;
	flow.reason = reply;
	flow.next_try_at = flow.level == 0 ?
		now :
		now + doubled(MJ_FIRST_PAUSE_US, flow.level - 1, MJ_MAX_PAUSE_US);
	flow.level = Min(flow.level + 1, MJ_MAX_SLOWNESS);
	mj_flow_write(&flow);
	mj_xact_wake(flow.next_try_at, MJ_LANE_NONE);
	return flow.next_try_at;
}

/* The same for what kept a connection from being made, whichever it was. */
TimestampTz
mj_flow_failed(const MjMailTrouble *trouble, TimestampTz now)
{
	if (trouble->throttled)
		return mj_flow_throttled(mj_mail_words(trouble->problem.message,
											   trouble->problem.detail),
								 now);
	return pause_flow(trouble, now);
}

/* Mails were accepted: all is well again, or a bit better. */
void
mj_flow_succeeded(TimestampTz now)
{
	MjMailFlow flow;

	if (!disturbed)
		return;
	mj_flow_lock(&flow);
	if (flow.state == MJ_FLOW_RUNNING)
		return;
	if (flow.state == MJ_FLOW_PAUSED || flow.level <= 1)
		enter_state(&flow, MJ_FLOW_RUNNING, now);
	else
	{
		flow.level--;
		flow.next_try_at = now;
	}
	mj_flow_write(&flow);
	mj_xact_wake(now, MJ_LANE_MAIL);
}

/* A mail was refused, as others may not be: the server can be reached again. */
void
mj_flow_answered(TimestampTz now)
{
	MjMailFlow flow;

	if (!disturbed)
		return;
	mj_flow_lock(&flow);
	if (flow.state != MJ_FLOW_PAUSED)
		return;
	enter_state(&flow, MJ_FLOW_RUNNING, now);
	mj_flow_write(&flow);
	mj_xact_wake(now, MJ_LANE_MAIL);
}
