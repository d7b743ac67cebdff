/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: the one process that is always there, and the only one
 *	  that starts workers.
 *
 * It is connected to no database, so it blocks no DROP DATABASE.  It knows each
 * database's next due instant and which lanes want executors, both from shared
 * memory, and starts schedulers and executors for them out of one pool.  On an
 * error it exits, and the postmaster starts it again.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "fault.h"
#include "guc.h"
#include "launcher.h"
#include "worker.h"
#include "xact.h"

/* A scheduler is started this long before something is due. */
#define MJ_START_EARLY_US (2 * USECS_PER_SEC)

/* A lane that has waited this long gets the slot of another one. */
#define MJ_PATIENCE_MS 100

/* A lane that waits is looked at again after a part of its wait, and this. */
#define MJ_MAX_PATIENCE_US USECS_PER_SEC

/*
 * When no worker could be started, the next try is this much later: more each
 * time, for at first one of ours may be about to end.
 */
#define MJ_RETRY_US (10 * 1000)
#define MJ_MAX_RETRY_US (5 * USECS_PER_SEC)

/* It is logged when this has lasted so long. */
#define MJ_FULL_LOG_US USECS_PER_SEC

/* The postmaster starts a launcher that failed again after this. */
#define MJ_LAUNCHER_RESTART_S 1

/* Handles of the workers that were registered, by slot. */
static BackgroundWorkerHandle **handles = NULL;

/* Until when nothing is registered, since max_worker_processes were running. */
static TimestampTz not_before = 0;
static TimestampTz full_since = 0;
static TimestampTz full_pause = 0;
static bool full_logged = false;

/* Register the launcher; called once from _PG_init while preloading. */
void
mj_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = MJ_LAUNCHER_RESTART_S;
	strlcpy(worker.bgw_library_name, "motionify_jobs", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "mj_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "motionify_jobs launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "motionify_jobs launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* on_shmem_exit callback: nobody can wake this launcher any more. */
static void
launcher_exit(int code, Datum arg)
{
	mj_lock();
	mj_shared->launcher_procno = -1;
	mj_shared->launcher_pid = 0;
	mj_unlock();
}

/*
 * Make this process the launcher.  Workers that an earlier one registered but
 * that have not attached are given up: they find their slot taken and exit.
 */
static void
attach(void)
{
	int i;

	handles = MemoryContextAllocZero(TopMemoryContext,
									 mj_shared->nslots *
										 sizeof(BackgroundWorkerHandle *));
	mj_lock();
	mj_shared->launcher_procno = MJ_MY_PROCNO;
	mj_shared->launcher_pid = MyProcPid;
	if (mj_shared->started_at == 0)
		mj_shared->started_at = mj_clock_real();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state == MJ_SLOT_STARTING)
			mj_slot_clear(&mj_slots[i]);
	mj_unlock();
	on_shmem_exit(launcher_exit, (Datum) 0);
}

/*
 * Have a database looked at, as if something had been committed in it; the
 * workers of one that is not served any more are to leave.
 */
static void
probe(const FormData_pg_database *database)
{
	MjDatabase *entry;
	bool full;

	if (!database->datallowconn || database->datistemplate ||
		database->datconnlimit == -2)
		return;
	if (!mj_guc_database_is_served(NameStr(database->datname)))
	{
		mj_worker_yield_database(database->oid);
		return;
	}
	mj_lock();
	entry = mj_database_enter(database->oid);
	full = entry == NULL && !mj_shared->databases_full_logged;
	if (full)
		mj_shared->databases_full_logged = true;
	if (entry != NULL)
	{
		entry->wake = true;
		entry->next_due = 0;
	}
	mj_unlock();
	if (full)
		ereport(
			LOG,
			(errmsg(
				 "motionify_jobs: there are more databases than motionify_jobs.max_databases (%d)",
				 mj_max_databases),
			 errhint(
				 "Increase motionify_jobs.max_databases and restart the server.")));
}

/* Have every database that can be connected to looked at. */
static void
probe_databases(void)
{
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		probe((Form_pg_database) GETSTRUCT(tuple));
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	mj_worker_commit(TopMemoryContext);
}

/* Free the slots of workers that ended before they could attach. */
static void
reap_failed_starts(void)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		pid_t pid;

		if (handles[i] == NULL)
			continue;
		if (mj_slots[i].state == MJ_SLOT_STARTING &&
			GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			continue;
		mj_lock();
		if (mj_slots[i].state == MJ_SLOT_STARTING)
			mj_slot_clear(&mj_slots[i]);
		mj_unlock();
		pfree(handles[i]);
		handles[i] = NULL;
	}
}

/* Ask the worker of a kind that has been idle longest to leave.  Lock held. */
static bool
evict_idle(MjWorkerKind kind)
{
	MjSlot *found = NULL;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (slot->state == MJ_SLOT_IDLE && slot->kind == kind && !slot->yield &&
			(found == NULL || slot->idle_since < found->idle_since))
			found = slot;
	}
	if (found == NULL)
		return false;
	found->yield = true;
	mj_slot_set_latch(found);
	return true;
}

/* That no worker process is to be had is over. */
static void
note_not_full(void)
{
	full_since = 0;
	full_logged = false;
}

/*
 * No worker process is to be had.  One of ours may be about to end: its slot is
 * free before its process has gone.  Else an idle executor makes room; and if
 * that was for nothing, say so once.
 */
static void
note_full(void)
{
	TimestampTz now = mj_clock_real();
	bool evicted = false;

	if (full_since == 0)
		full_since = now;
	if (now - full_since >= MJ_PATIENCE_MS * 1000)
	{
		mj_lock();
		evicted = evict_idle(MJ_WORKER_EXECUTOR);
		mj_unlock();
	}
	if (full_since == now || evicted)
		full_pause = MJ_RETRY_US;
	else
		full_pause = Min(2 * full_pause, MJ_MAX_RETRY_US);
	not_before = now + full_pause;
	if (full_logged || now - full_since < MJ_FULL_LOG_US)
		return;
	full_logged = true;
	ereport(
		LOG,
		(errmsg("motionify_jobs: no background worker is free"),
		 errhint(
			 "Increase max_worker_processes; jobs want 1 + 1.5 times motionify_jobs.max_workers.")));
}

/* Register a worker for a reserved slot; false when none is free. */
static bool
start_worker(MjSlot *slot)
{
	MJ_FAULT("launcher-slot-reserved");
	if (mj_worker_register(slot, &handles[slot - mj_slots]))
	{
		MJ_FAULT("launcher-registered");
		note_not_full();
		return true;
	}
	mj_lock();
	mj_slot_clear(slot);
	mj_unlock();
	note_full();
	return false;
}

/* When a database wants a scheduler; DT_NOEND: not at all.  Lock held. */
static TimestampTz
scheduler_wanted_at(const MjDatabase *entry)
{
	TimestampTz at;

	if (!OidIsValid(entry->oid) || entry->blocked > 0 ||
		mj_slot_count(MJ_WORKER_SCHEDULER, entry->oid, MJ_LANE_NONE) > 0)
		return DT_NOEND;
	if (entry->wake)
		at = 0;
	else if (entry->next_due == DT_NOEND)
		return DT_NOEND;
	else
		at = entry->next_due - MJ_START_EARLY_US;
	return Max(at, entry->not_before);
}

/* Is something due in a database, or to be looked at?  Lock held. */
static bool
is_overdue(const MjDatabase *entry, TimestampTz now)
{
	return entry->wake || entry->next_due <= now;
}

/* Since when a database waits for a scheduler.  Lock held. */
static TimestampTz
waits_since(const MjDatabase *entry)
{
	return Max(entry->wake ? 0 : entry->next_due, entry->last_start);
}

/*
 * The database that has waited longest for a scheduler, those in which something
 * is due already first; NULL when none wants one yet.  *next is when the next
 * one will.  Lock held.
 */
static MjDatabase *
most_due_database(TimestampTz now, TimestampTz *next)
{
	MjDatabase *found = NULL;
	int i;

	*next = DT_NOEND;
	for (i = 0; i < mj_shared->ndatabases; i++)
	{
		MjDatabase *entry = &mj_database_table[i];
		TimestampTz at = scheduler_wanted_at(entry);

		if (at > now)
			*next = Min(*next, at);
		else if (found == NULL ||
				 is_overdue(entry, now) > is_overdue(found, now) ||
				 (is_overdue(entry, now) == is_overdue(found, now) &&
				  waits_since(entry) < waits_since(found)))
			found = entry;
	}
	return found;
}

/* Half of the pool at most are schedulers. */
static int
max_schedulers(void)
{
	return Max(1, mj_max_workers / 2);
}

/*
 * Has an executor something in hand?  One that was just started has served
 * nothing yet; those of mails and HTTP name no run.  Lock held.
 */
static bool
is_at_work(const MjSlot *slot)
{
	return slot->state == MJ_SLOT_BUSY && slot->kind == MJ_WORKER_EXECUTOR &&
		(mj_lane_is_own(slot->lane) ? slot->idle_since != 0 :
									  slot->run_id != 0);
}

/*
 * Workers of a kind that were asked to leave and are about to.  One that claimed
 * a run when it was asked may take long.  Lock held.
 */
static int
count_yielding(MjWorkerKind kind)
{
	int n = 0;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE && mj_slots[i].kind == kind &&
			mj_slots[i].yield && !is_at_work(&mj_slots[i]))
			n++;
	return n;
}

/*
 * All schedulers are taken: have one leave, for a database in which something is
 * due.  Those at work leave after their tick.  Returns when to look again.  Lock
 * held.
 */
static TimestampTz
replace_scheduler(const MjDatabase *entry, TimestampTz now)
{
	int i;

	if (!is_overdue(entry, now))
		return entry->next_due;
	if (count_yielding(MJ_WORKER_SCHEDULER) == 0 &&
		!evict_idle(MJ_WORKER_SCHEDULER))
		for (i = 0; i < mj_shared->nslots; i++)
			if (mj_slots[i].state == MJ_SLOT_BUSY &&
				mj_slots[i].kind == MJ_WORKER_SCHEDULER)
				mj_slots[i].make_way = true;
	return now + MJ_PATIENCE_MS * 1000;
}

/* Room was made: those that were asked and have not left may stay. */
static void
let_stay(MjWorkerKind kind)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].kind == kind)
			mj_slots[i].make_way = false;
}

/*
 * Start the schedulers that are wanted now, those that have waited longest
 * first.  Returns when to look again.
 */
static TimestampTz
start_schedulers(TimestampTz now)
{
	for (;;)
	{
		TimestampTz next;
		MjDatabase *entry;
		MjSlot *slot = NULL;

		mj_lock();
		entry = most_due_database(now, &next);
		if (entry != NULL &&
			mj_slot_count(MJ_WORKER_SCHEDULER, InvalidOid, MJ_LANE_NONE) <
				max_schedulers())
		{
			slot =
				mj_slot_reserve(MJ_WORKER_SCHEDULER, entry->oid, MJ_LANE_NONE);
			entry->last_start = now;
			let_stay(MJ_WORKER_SCHEDULER);
		}
		else if (entry != NULL)
			next = Min(next, replace_scheduler(entry, now));
		mj_unlock();
		if (slot == NULL)
			return next;
		if (!start_worker(slot))
			return Min(next, not_before);
	}
}

/* Has a lane an executor, at work or not?  Lock held. */
static bool
is_served(const MjLane *entry)
{
	return mj_slot_count(MJ_WORKER_EXECUTOR, entry->database, entry->lane) > 0;
}

/* Is lane a to get an executor before lane b?  Lock held. */
static bool
goes_before(const MjLane *a, const MjLane *b)
{
	bool a_served = is_served(a);

	if (a_served != is_served(b))
		return !a_served;
	return a->since < b->since;
}

/*
 * The lane that has waited longest for an executor, those that have none at all
 * first; NULL when none wants one now.  Lock held.
 */
static MjLane *
most_starved_lane(TimestampTz now, TimestampTz *next)
{
	MjLane *found = NULL;
	int i;

	*next = DT_NOEND;
	for (i = 0; i < MJ_MAX_LANES; i++)
	{
		MjLane *entry = &mj_shared->lanes[i];

		if (mj_lane_lacks(entry) <= 0)
			continue;
		if (entry->not_before > now)
			*next = Min(*next, entry->not_before);
		else if (found == NULL || goes_before(entry, found))
			found = entry;
	}
	return found;
}

/*
 * How many executors the lane of a busy one has; 0: not to be taken from.  What
 * has served nothing yet would make way in vain.
 */
static int
wealth(const MjSlot *slot)
{
	if (!is_at_work(slot))
		return 0;
	return mj_slot_count(MJ_WORKER_EXECUTOR, slot->database, slot->lane);
}

/*
 * Ask the executors of the lanes that have most to leave after their run: who
 * is done first makes way, and the others are told to stay.  Lock held.
 */
static void
take_from_richest(void)
{
	int most = 0;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		most = Max(most, wealth(&mj_slots[i]));
	for (i = 0; i < mj_shared->nslots; i++)
		if (most > 0 && wealth(&mj_slots[i]) == most)
			mj_slots[i].make_way = true;
}

/*
 * All executors are taken: make room for a lane, at once if one is idle; for
 * one that has none at all from those at work, after the patience.  Returns
 * when to look again.  Lock held.
 */
static TimestampTz
make_room(const MjLane *starved, TimestampTz now)
{
	TimestampTz patient_until = starved->since + MJ_PATIENCE_MS * 1000;

	if (count_yielding(MJ_WORKER_EXECUTOR) > 0 ||
		evict_idle(MJ_WORKER_EXECUTOR) || is_served(starved))
		return DT_NOEND; /* a worker that leaves wakes us */
	if (now < patient_until)
		return patient_until;
	take_from_richest();
	/* others may be at work by then */
	return now +
		Min(Max((now - starved->since) / 4, MJ_PATIENCE_MS * 1000),
			MJ_MAX_PATIENCE_US);
}

/*
 * Start the executors that are wanted now, for the longest wait first.
 * Returns when to look again.
 */
static TimestampTz
start_executors(TimestampTz now)
{
	for (;;)
	{
		TimestampTz next;
		MjLane *entry;
		MjSlot *slot = NULL;

		mj_lock();
		entry = most_starved_lane(now, &next);
		if (entry != NULL &&
			mj_slot_count(MJ_WORKER_EXECUTOR, InvalidOid, MJ_LANE_NONE) <
				mj_max_workers)
		{
			slot = mj_slot_reserve(MJ_WORKER_EXECUTOR, entry->database,
								   entry->lane);
			entry->since = now; /* the next one waits from now on */
			let_stay(MJ_WORKER_EXECUTOR);
		}
		else if (entry != NULL)
			next = Min(next, make_room(entry, now));
		mj_unlock();
		if (slot == NULL)
			return next;
		if (!start_worker(slot))
			return Min(next, not_before);
	}
}

/*
 * The clock was set back: what a database has published as its next due
 * instant may be too late now.  Have its scheduler look.
 */
static void
notice_clock(TimestampTz now)
{
	static TimestampTz seen = 0;
	int i;

	if (now + USECS_PER_SEC <= seen)
	{
		mj_lock();
		for (i = 0; i < mj_shared->ndatabases; i++)
			if (OidIsValid(mj_database_table[i].oid))
				mj_database_table[i].wake = true;
		mj_unlock();
	}
	seen = now;
}

/*
 * Is a slot's process stuck, holding up what it has claimed, in a database
 * whose scheduler has not been told to look?  Lock held.
 */
static bool
is_stuck(const MjSlot *slot)
{
	MjDatabase *entry;

	if (slot->state == MJ_SLOT_FREE || !slot->stuck || slot->nclaims == 0)
		return false;
	entry = mj_database_find(slot->database);
	return entry != NULL && !entry->wake;
}

/* Have the schedulers look whose executors hold up what they have claimed. */
static void
notice_stuck_claims(void)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		Oid database = InvalidOid;

		mj_lock();
		if (is_stuck(&mj_slots[i]))
			database = mj_slots[i].database;
		mj_unlock();
		if (OidIsValid(database))
			mj_wake_database(database, 0);
	}
}

/* Start what is wanted; returns when to look again. */
static TimestampTz
start_workers(void)
{
	TimestampTz now = mj_clock_real();
	TimestampTz schedulers;
	TimestampTz executors;

	if (!mj_enabled || IsBinaryUpgrade)
		return DT_NOEND;
	notice_stuck_claims();
	if (now < not_before)
		return not_before;
	notice_clock(mj_clock_now());
	schedulers = start_schedulers(mj_clock_now());
	executors = start_executors(now);
	return Min(schedulers, executors);
}

/* Wake all workers, to see that they must leave. */
static void
wake_workers(void)
{
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE)
			mj_slot_set_latch(&mj_slots[i]);
	mj_unlock();
}

/* The settings that bear on which workers there must be, and when; palloc'ed. */
static char *
relevant_settings(void)
{
	return psprintf("%d\n%s\n%s\n%s", mj_enabled, mj_databases, mj_timezone,
					mj_schedule_override);
}

/*
 * Settings were read again.  If relevant ones were changed, workers must leave
 * or come back, or find that something is due at another time.
 */
static void
settings_changed(bool was_enabled, const char *were)
{
	char *are = relevant_settings();
	bool changed = strcmp(were, are) != 0;

	pfree(are);
	if (!changed)
		return;
	if (was_enabled != mj_enabled)
		ereport(LOG,
				(errmsg("motionify_jobs: jobs were switched %s",
						mj_enabled ? "on" : "off")));
	wake_workers();
	if (mj_enabled)
		probe_databases();
}

/* Wait until there may be something to do, at most until an instant. */
static void
wait_until(TimestampTz next)
{
	bool was_enabled = mj_enabled;
	char *were = relevant_settings();
	bool reloaded;

	(void) mj_worker_wait(mj_clock_ms_until(next, MJ_MAX_SLEEP_MS), &reloaded);
	if (reloaded)
		settings_changed(was_enabled, were);
	pfree(were);
}

/* before_shmem_exit callback: the operators see the end in the log. */
static void
log_stop(int code, Datum arg)
{
	ereport(LOG, (errmsg("motionify_jobs launcher stopped")));
}

/* Main function of the launcher; started by the postmaster. */
void
mj_launcher_main(Datum main_arg)
{
	attach();
	pqsignal(SIGINT, SIG_IGN);
	mj_worker_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(log_stop, (Datum) 0);
	ereport(LOG, (errmsg("motionify_jobs launcher started")));
	MJ_FAULT("launcher-started");
	probe_databases();
	for (;;)
	{
		reap_failed_starts();
		wait_until(start_workers());
	}
}
