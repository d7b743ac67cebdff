/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  The scheduler: decides for one database what is to run.
 *
 * It ticks when something was committed for it or is due, and sleeps on its
 * latch otherwise.  It stays while something is due within the linger time;
 * then it publishes the next due instant and exits, and the launcher starts
 * another one shortly before.  A scheduler that may not leave any trace (no
 * extension in the database) makes the launcher forget the database.
 *
 * What kills it half-way loses nothing: a tick is one transaction.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "alert.h"
#include "clock.h"
#include "fault.h"
#include "guc.h"
#include "ping.h"
#include "scheduler.h"
#include "tick.h"
#include "worker.h"
#include "xact.h"

/* Alerts wait if something else is due so soon: twice what they took, within. */
#define MJ_IMMINENT_MIN_US (100 * INT64CONST(1000))
#define MJ_IMMINENT_MAX_US (400 * INT64CONST(1000))

/* But where something always is they wait only for so long. */
#define MJ_PUT_OFF_US (10 * USECS_PER_SEC)

/* How often old history is looked for, while a scheduler lives. */
#define MJ_PRUNE_EVERY_US (3600 * USECS_PER_SEC)

/* Wakes that are not urgent are gathered for so long. */
#define MJ_GATHER_US (10 * INT64CONST(1000))

/* When it is looked for again where it was locked. */
#define MJ_PRUNE_AGAIN_US (60 * USECS_PER_SEC)

/* Transactions that start what is due, before anything else is looked at. */
#define MJ_FIRST_TIMES 20

/* So long before something is due, executors are given its runs. */
#define MJ_GIVE_US (20 * INT64CONST(1000))

/* Before that so many are made, each in so long; at most MJ_AHEAD_US in all. */
#define MJ_MANY 100
#define MJ_MAKE_US INT64CONST(80)

/* So long before all that, what it takes is rehearsed. */
#define MJ_REHEARSE_US (40 * INT64CONST(1000))

/* Then executors have the processors for so long, before the rest is. */
#define MJ_FIRST_REST_MS 5L

/* What the next look is for. */
typedef enum LookPurpose
{
	LOOK_AT_ALL,
	LOOK_TO_REHEARSE,
	LOOK_TO_MAKE,
	LOOK_AHEAD
} LookPurpose;

static MemoryContext tick_context = NULL; /* reset for every tick */
static TimeoutId look_timeout;
static char *database_name = NULL;

/* What the scheduler knows between two ticks. */
static struct
{
	bool ticked;		   /* at least once */
	bool slept;			   /* since the last tick */
	LookPurpose purpose;   /* of the next look, if nothing wakes us before */
	TimestampTz next_due;  /* DT_NOEND: nothing */
	int64 upcoming;		   /* jobs that are due then, or a little later */
	TimestampTz next_look; /* next_due, or earlier to be ready for it */
	TimestampTz last_seen; /* time at the last look at the clock */
	TimestampTz next_prune;
	bool own;				 /* jobs of this database run here */
	TimestampTz next_alert;	 /* when alerts want to be looked at; DT_NOEND */
	TimestampTz alerts_took; /* microseconds, the last time */
	bool messages;			 /* there may be some of alerts to pass on */
	TimestampTz ping_at;	 /* when the next ping is due; DT_NOEND */
	TimestampTz put_off;	 /* some of that is, since; real time; 0: none */
	TimestampTz last_busy;	 /* when something was last done; real time */
	TimestampTz last_tick;	 /* end of the last tick; real time */
} known;

/* Timeout handler: it is time to look. */
static void
look_now(void)
{
	SetLatch(MyLatch);
}

/* Attach, connect, and learn the database's name. */
static void
start(Datum main_arg)
{
	mj_worker_attach(main_arg);
	BackgroundWorkerInitializeConnectionByOid(mj_my_slot->database, InvalidOid,
											  0);
	look_timeout = RegisterTimeout(USER_TIMEOUT, look_now);
	tick_context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs tick",
							  ALLOCSET_DEFAULT_SIZES);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	database_name =
		MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	mj_worker_commit(TopMemoryContext);
	known.last_busy = mj_clock_real();
	known.next_alert = known.ping_at = DT_NOEND;
}

/*
 * The leases that were given since the last tick end at known instants, the
 * earliest of which is one to look at.  Lock held.
 */
static void
mind_leases(const MjDatabase *entry)
{
	known.next_due = Min(known.next_due, entry->lease_due);
	known.next_look = Min(known.next_look, entry->lease_due);
}

/*
 * Is it time to heed the wake flag?  If it is not urgent, only some time after
 * the last tick.  Lock held.
 */
static bool
is_woken(const MjDatabase *entry)
{
	return entry->wake && !mj_my_slot->yield &&
		(entry->urgent || mj_clock_real() >= known.last_tick + MJ_GATHER_US);
}

/*
 * Take the wake flag: whether something was committed since the last tick.  Who
 * is asked to leave leaves it to the next one, which may have other settings.
 */
static bool
take_wake(bool *report)
{
	MjDatabase *entry;
	bool wake = false;

	*report = false;
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL && !mj_my_slot->yield)
	{
		wake = is_woken(entry);
		if (wake)
			entry->wake = entry->urgent = false;
		*report = !entry->reported;
		mind_leases(entry);
	}
	mj_unlock();
	return wake;
}

/* The next tick sees all leases that have been committed until now. */
static void
forget_leases(void)
{
	MjDatabase *entry;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		entry->lease_due = DT_NOEND;
	mj_unlock();
}

/* Is it time to look at the tables?  Else why would it be. */
static bool
must_tick(TimestampTz now, bool woken)
{
	bool stepped_back = now < known.last_seen;

	return woken || !known.ticked || stepped_back || now >= known.next_look;
}

/* Look at the tables at an instant, if not before; whatever else was planned. */
static void
look_at_all_at(TimestampTz at)
{
	if (at >= known.next_look)
		return;
	known.next_look = at;
	known.purpose = LOOK_AT_ALL;
}

/* Lanes want no executors; those that lacked none have not waited.  Lock held. */
static void
forget_lanes(void)
{
	int i;

	for (i = 0; i < MJ_MAX_LANES; i++)
	{
		MjLane *entry = &mj_shared->lanes[i];

		if (entry->database != MyDatabaseId)
			continue;
		if (mj_lane_lacks(entry) <= 0)
			entry->since = 0;
		entry->wanted = 0;
	}
}

/* Tell the launcher which lanes want executors.  Others want none. */
static void
publish_lanes(const MjTick *tick)
{
	TimestampTz now = mj_clock_real();
	bool full = false;
	int i;

	mj_lock();
	forget_lanes();
	for (i = 0; i < tick->nlanes; i++)
	{
		MjLane *entry = mj_lane_enter(MyDatabaseId, tick->lanes[i].lane);

		if (entry == NULL)
		{
			full = true;
			break;
		}
		entry->wanted = (int) Min(tick->lanes[i].ready, mj_max_workers);
		if (entry->since == 0)
			entry->since = now;
	}
	for (i = 0; i < MJ_MAX_LANES; i++)
	{
		MjLane *entry = &mj_shared->lanes[i];

		if (entry->database == MyDatabaseId && entry->wanted == 0 &&
			entry->not_before <= now)
			memset(entry, 0, sizeof(MjLane));
	}
	mj_unlock();
	if (full)
		look_at_all_at(mj_clock_now() + USECS_PER_SEC);
	if (tick->nlanes > 0)
		mj_wake_launcher();
}

/*
 * Tell executors whether runs are held, or batches open, so that they wake us when one ends.
 * What ended before they were told is found by looking again.
 */
static void
publish_held(bool held, bool batches)
{
	MjDatabase *entry;
	bool news = false;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		news = (held && !entry->held) || (batches && !entry->batches);
		entry->held = held;
		entry->batches = batches;
	}
	mj_unlock();
	if (news)
		look_at_all_at(0);
}

/* A tick has looked, and perhaps done, something: alerts may be about it. */
static void
stir_alerts(void)
{
	MjDatabase *entry;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		(void) mj_database_stir(entry);
	mj_unlock();
}

/* Jobs do not run here, and so nobody is told of them. */
static void
drop_alerts(void)
{
	MjDatabase *entry;

	known.next_alert = known.ping_at = DT_NOEND;
	known.messages = false;
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		entry->alert_due = DT_NOEND;
	mj_unlock();
}

/* Wake the idle executors of lanes that have something ready. */
static void
wake_executors(const MjTick *tick)
{
	int i;

	for (i = 0; i < tick->nlanes; i++)
		(void) mj_wake_lane(MyDatabaseId, tick->lanes[i].lane,
							(int) tick->lanes[i].ready);
}

/* Log how many jobs there are, or that a copy runs none; each once. */
static void
report(const MjTick *tick)
{
	MjDatabase *entry;
	bool known_copy = false;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		known_copy = entry->copy_reported;
		entry->copy_reported = !tick->own;
		entry->reported = true;
	}
	mj_unlock();
	if (tick->own)
		ereport(
			LOG,
			(errmsg(
				"motionify_jobs: active jobs in database \"%s\": " INT64_FORMAT,
				database_name, tick->active_jobs)));
	else if (!known_copy)
		ereport(
			LOG,
			(errmsg(
				 "motionify_jobs: database \"%s\" is a copy of another one, its jobs do not run here",
				 database_name),
			 errhint("SELECT jobs.adopt() makes them this database's own.")));
}

/* This database has no jobs, or is not to run any: forget it, and end. */
static void
leave_for_good(void)
{
	MjDatabase *entry;
	bool forget;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	forget = entry != NULL && !entry->wake && entry->blocked == 0;
	if (forget)
		mj_database_forget(MyDatabaseId);
	mj_unlock();
	mj_worker_finish();
}

/* A tick, as what its transaction does needs it. */
typedef struct Look
{
	TimestampTz now;
	bool thorough;
	MjTick *found;
	bool more;
} Look;

static void
look(void *arg)
{
	Look *this = arg;

	mj_tick(this->now, known.last_seen, this->thorough, this->found);
	MJ_FAULT("scheduler-tick-fired");
}

/*
 * The transaction of a tick.  Where a user has locked what it needs, it fails
 * and is tried again, by the next scheduler if this one must leave.  Returns
 * false then.
 */
static bool
try_tick(TimestampTz now, bool thorough, MjTick *found)
{
	Look this = { now, thorough, found, false };

	forget_leases();
	MJ_FAULT("scheduler-tick-start");
	if (mj_worker_do_bounded(tick_context, mj_worker_is_unsettled(),
							 MJ_HELD_UP_TICK, look, &this))
	{
		known.last_seen = now;
		return true;
	}
	known.next_due = known.next_look = now + USECS_PER_SEC;
	return false;
}

static void
look_first(void *arg)
{
	Look *this = arg;

	this->more = mj_tick_first(this->now, this->found);
	MJ_FAULT("scheduler-first-fired");
}

/*
 * Something that was known to be due is: start it before anything else is looked
 * at, a little in each transaction; and wake the executors, if they are to have it
 * now.  If that fails, the tick that follows finds out why.  Returns whether there
 * is something for executors to do.
 */
static bool
fire_first(TimestampTz now, bool wake)
{
	MjTick found;
	Look this = { now, false, &found, false };
	int i;

	for (i = 0; i < MJ_FIRST_TIMES; i++)
	{
		if (!mj_worker_do_bounded(tick_context, mj_worker_is_unsettled(),
								  MJ_HELD_UP_TICK, look_first, &this))
			return false;
		if (wake)
			wake_executors(&found);
		if (!this.more)
			break;
	}
	return found.nlanes > 0;
}

/* Leave the processors to executors for a moment; returns the time then. */
static TimestampTz
let_executors_begin(void)
{
	bool reloaded;

	(void) mj_worker_wait(MJ_FIRST_REST_MS, &reloaded);
	return mj_clock_now();
}

/* Is this tick one that was waited for, and nothing else has changed? */
static bool
is_expected(TimestampTz now, bool woken)
{
	return known.ticked && known.slept && !woken && known.last_seen <= now &&
		known.next_due <= now;
}

static void
look_through(void *arg)
{
	Look *this = arg;

	mj_tick_rehearse(this->now, this->found);
}

/* How long ahead the runs of what is due next are made, microseconds. */
static TimestampTz
lead(void)
{
	if (known.upcoming < MJ_MANY)
		return MJ_GIVE_US;
	return Min(MJ_GIVE_US + known.upcoming * MJ_MAKE_US, MJ_AHEAD_US);
}

/* Look next when runs are to be made ahead, or given to executors; not before "at". */
static void
plan_ahead(TimestampTz at)
{
	known.next_look = Max(at, known.next_due - lead());
	known.purpose = LOOK_TO_MAKE;
	if (known.next_look >= known.next_due - MJ_GIVE_US)
		known.purpose = LOOK_AHEAD;
}

/* Make the runs of what is due in a moment; executors are given them later. */
static void
make_ahead(void)
{
	(void) fire_first(known.next_due, false);
	known.purpose = LOOK_AHEAD;
	known.next_look = known.next_due - MJ_GIVE_US;
}

/*
 * Something is due in a moment: go through what starting it takes, and have
 * executors look at the queue, so that what has long been idle is in memory and in
 * the processors' caches by then.
 */
static void
rehearse(TimestampTz now)
{
	MjTick found;
	Look this = { now, false, &found, false };

	plan_ahead(known.next_due - lead());
	if (mj_worker_do_bounded(tick_context, false, MJ_HELD_UP_TICK, look_through,
							 &this))
		wake_executors(&found);
}

/*
 * Make the runs of what is due in a moment, as if it were that time: executors
 * claim them and wait for it.  Then look at the rest when they have begun.
 */
static void
fire_ahead(void)
{
	known.purpose = LOOK_AT_ALL;
	known.next_look = known.next_due;
	if (fire_first(known.next_due, true))
		known.next_look += MJ_FIRST_REST_MS * 1000;
}

/*
 * When to look next: when something is due, or before that, to start executors or,
 * if they are there, to be ready.
 */
static void
plan_next_look(TimestampTz next_due, TimestampTz now)
{
	known.next_due = known.next_look = next_due;
	known.purpose = LOOK_AT_ALL;
	if (next_due - MJ_PRESTART_US > now)
		known.next_look -= MJ_PRESTART_US;
	else if (next_due - 2 * (lead() + MJ_REHEARSE_US) > now)
	{
		known.purpose = LOOK_TO_REHEARSE;
		known.next_look -= lead() + MJ_REHEARSE_US;
	}
	else if (next_due > now)
		plan_ahead(now);
}

/*
 * Is there only to be ready for what is due in a moment?  Does so.
 */
static bool
get_ready(TimestampTz now, bool woken)
{
	if (!known.ticked || woken || now >= known.next_due ||
		now < known.last_seen || known.purpose == LOOK_AT_ALL)
		return false;
	if (known.purpose == LOOK_TO_REHEARSE)
		rehearse(now);
	else if (known.purpose == LOOK_TO_MAKE)
		make_ahead();
	else
		fire_ahead();
	return true;
}

/* Look at the tables, and tell everybody what was found. */
static void
tick(TimestampTz now, bool first, bool woken)
{
	MjTick found;

	MemoryContextReset(tick_context);
	MemoryContextSwitchTo(tick_context);
	if (!mj_guc_database_is_served(database_name))
		leave_for_good();
	if (get_ready(now, woken))
		return;
	pgstat_report_activity(STATE_RUNNING, "looking for what is due");
	if (is_expected(now, woken) && fire_first(now, true))
		now = let_executors_begin();
	if (!try_tick(now, first, &found))
		return;
	if (!found.installed)
		leave_for_good();
	MJ_FAULT("scheduler-before-answer");
	mj_tick_act(&found);
	MJ_FAULT("scheduler-answered");
	known.ticked = true;
	known.slept = false;
	known.upcoming = found.upcoming;
	plan_next_look(found.next_due, now);
	wake_executors(&found);
	publish_lanes(&found);
	publish_held(found.held, found.batches);
	known.own = found.own;
	known.ping_at = found.ping_at;
	if (found.own)
		stir_alerts();
	else
		drop_alerts();
	if (first || !found.own)
		report(&found);
	if (found.nlanes > 0 || found.nrequests > 0 || found.announcement.nruns > 0)
		known.last_busy = mj_clock_real();
	known.last_tick = mj_clock_real();
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * When alerts are to be looked at; DT_NOEND: not at all.  At once if the clock
 * was set back.
 */
static TimestampTz
alerts_due(TimestampTz now)
{
	TimestampTz due = known.next_alert;
	MjDatabase *entry;

	if (!known.own)
		return DT_NOEND;
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		due = Min(due, entry->alert_due);
	if (entry != NULL && due != DT_NOEND && entry->alerts_at > now)
		due = now;
	mj_unlock();
	return due;
}

/* From now on what happens is to be looked at anew. */
static void
begin_alerts(TimestampTz now)
{
	MjDatabase *entry;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		entry->alerts_at = now;
		entry->alert_due = DT_NOEND;
	}
	mj_unlock();
}

/* Is something due in a moment, which alerts are not to delay? */
static bool
is_imminent(TimestampTz now)
{
	TimestampTz soon = Max(2 * known.alerts_took, MJ_IMMINENT_MIN_US);

	return known.next_look > now &&
		known.next_look < now + Min(soon, MJ_IMMINENT_MAX_US);
}

/*
 * Are alerts to be looked after, or the ping to be made, and is nothing else due
 * in a moment?  Where something always is, that counts for a while only.
 */
static bool
may_watch(TimestampTz now)
{
	TimestampTz real = mj_clock_real();

	if (!known.messages && known.ping_at > now && alerts_due(now) > now)
	{
		known.put_off = 0;
		return false;
	}
	if (known.put_off == 0)
		known.put_off = real;
	return !is_imminent(now) || real >= known.put_off + MJ_PUT_OFF_US;
}

/* Look at the rules of alerts. */
static void
look_at_alerts(TimestampTz now)
{
	TimestampTz began = mj_clock_real();

	begin_alerts(now);
	MemoryContextReset(tick_context);
	pgstat_report_activity(STATE_RUNNING, "looking after alerts");
	known.next_alert = mj_alert_look(tick_context, now);
	known.alerts_took = mj_clock_real() - began;
	known.messages = true;
}

static void
make_ping(void *arg)
{
	mj_ping_make(*(TimestampTz *) arg);
}

/*
 * Look after alerts when it is time: pass one message on, then what else there is
 * has its turn.  Say that this database is well, if that is due.  The next tick
 * tells executors what has been queued for them.
 */
static void
watch(TimestampTz now)
{
	bool queued = false;

	if (!may_watch(now))
		return;
	if (alerts_due(now) <= now)
		look_at_alerts(now);
	MemoryContextReset(tick_context);
	if (known.messages)
		known.messages = mj_alert_tell(tick_context, &queued);
	if (known.ping_at <= now)
	{
		queued |= mj_worker_do_bounded(tick_context, false, MJ_HELD_UP_TICK,
									   make_ping, &now);
		known.ping_at = DT_NOEND; /* the next tick knows */
	}
	if (queued)
		look_at_all_at(0);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* What the transaction of pruning does. */
typedef struct Pruning
{
	TimestampTz now;
	bool more;
} Pruning;

static void
prune_some(void *arg)
{
	Pruning *this = arg;

	this->more = mj_tick_prune(this->now);
}

/*
 * The transaction of pruning.  Returns how long to wait before the next,
 * microseconds: 0 if there may be more, little if something was locked.
 */
static TimestampTz
try_prune(TimestampTz now)
{
	Pruning this = { now, false };

	if (!mj_worker_do_bounded(tick_context, false, MJ_HELD_UP_PRUNE, prune_some,
							  &this))
		return MJ_PRUNE_AGAIN_US;
	return this.more ? 0 : MJ_PRUNE_EVERY_US;
}

/* Delete old history now and then, a little at a time. */
static void
prune(TimestampTz now)
{
	if (now < known.next_prune || mj_worker_must_leave())
		return;
	MemoryContextReset(tick_context);
	known.next_prune = now + try_prune(now);
}

/* Is nothing due so soon that it is worth staying for? */
static bool
may_leave(TimestampTz now)
{
	TimestampTz linger = mj_linger_s * USECS_PER_SEC;

	if (known.next_look <= now)
		return false;
	if (mj_worker_must_leave())
		return true;
	if (known.next_prune <= now || known.messages)
		return false;
	return Min(known.next_due, alerts_due(now)) >
		now + Max(linger, MJ_PRESTART_US) &&
		mj_clock_real() > known.last_busy + linger;
}

/*
 * Leave, unless something was committed meanwhile that is not left to the next
 * one: seen, published and freed under one lock, so that no wake is lost.
 */
static void
leave(void)
{
	MjDatabase *entry;
	bool woken = false;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		woken = entry->wake && !mj_my_slot->yield && !mj_my_slot->make_way &&
			mj_enabled && entry->blocked == 0;
		if (!woken)
		{
			entry->next_due = Min(known.next_due, entry->lease_due);
			if (known.own)
				entry->next_due = Min(entry->next_due,
									  Min(known.next_alert, entry->alert_due));
			entry->failures = 0;
			mj_slot_clear(mj_my_slot);
			mj_my_slot = NULL;
		}
		else
			entry->urgent = true;
	}
	mj_unlock();
	if (woken)
		return;
	MJ_FAULT("scheduler-left");
	mj_wake_launcher();
	proc_exit(0);
}

/* How long to sleep, in milliseconds. */
static long
sleep_ms(TimestampTz now)
{
	TimestampTz stay = known.last_busy + mj_linger_s * USECS_PER_SEC;
	TimestampTz real = mj_clock_real();
	long linger_ms = (long) ((stay - real) / 1000) + 1;
	long ms;

	if (known.next_prune <= now || may_watch(now))
		return 0;
	if (known.put_off != 0)
		ms = Min(mj_clock_ms_until(known.next_look, MJ_MAX_SLEEP_MS),
				 (known.put_off + MJ_PUT_OFF_US - real) / 1000 + 1);
	else
		ms = mj_clock_ms_until(Min(known.next_look, alerts_due(now)),
							   MJ_MAX_SLEEP_MS);
	if (known.next_due > now + mj_linger_s * USECS_PER_SEC && linger_ms > 0)
		ms = Min(ms, linger_ms);
	return ms;
}

/*
 * Become idle, unless something was committed since the last tick: the latch
 * may have been reset by a wait within it.  *gathers: a wake waits for others.
 */
static bool
become_idle(bool *gathers)
{
	MjDatabase *entry;
	bool woken;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	woken = entry != NULL && is_woken(entry);
	*gathers = entry != NULL && entry->wake;
	if (entry != NULL)
		mind_leases(entry);
	mj_unlock();
	if (!woken)
		mj_slot_set_state(MJ_SLOT_IDLE);
	return !woken;
}

/*
 * Have a timer end the next wait at the microsecond that something is due: a
 * latch waits for whole milliseconds only, up to one too long.
 */
static void
start_timer(void)
{
	TimestampTz us =
		mj_clock_us_until(known.next_look, MJ_MAX_SLEEP_MS * INT64CONST(1000));

	enable_timeout_at(look_timeout, mj_clock_real() + us);
}

/* Sleep until something is due or was committed; idle for the launcher. */
static void
sleep_a_while(TimestampTz now)
{
	long ms = sleep_ms(now);
	bool gathers;
	bool reloaded;

	if (!become_idle(&gathers))
		return;
	if (gathers)
		ms = Min(ms, MJ_GATHER_US / 1000);
	known.slept = true;
	start_timer();
	(void) mj_worker_wait(ms, &reloaded);
	disable_timeout(look_timeout, false);
	mj_slot_set_state(MJ_SLOT_BUSY);
	if (reloaded)
		known.ticked = false; /* settings may have changed what is due */
}

/* Main function of a scheduler; started by the launcher. */
void
mj_scheduler_main(Datum main_arg)
{
	start(main_arg);
	for (;;)
	{
		TimestampTz now = mj_clock_now();
		bool first;
		bool woken = take_wake(&first);

		if (must_tick(now, woken))
			tick(now, first, woken);
		watch(now);
		prune(now);
		if (may_leave(now))
			leave();
		else
			sleep_a_while(now);
	}
}
