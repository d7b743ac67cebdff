/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory: worker slots, databases, lanes that want executors, and
 *	  requests of run_now().
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "shmem.h"
#include "xact.h"

#define MJ_TRANCHE "motionify_jobs"

MjShared *mj_shared = NULL;
MjSlot *mj_slots = NULL;
MjDatabase *mj_database_table = NULL;
MjSlot *mj_my_slot = NULL;
static MjClaim *claim_table = NULL; /* MJ_MAX_BATCH for each slot */

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

/* Workers are bounded by max_worker_processes, guests by a constant. */
static int
slot_count(void)
{
	return max_worker_processes + MJ_MAX_GUESTS;
}

static Size
shared_size(void)
{
	Size size = MAXALIGN(sizeof(MjShared));

	size = add_size(size, MAXALIGN(mul_size(slot_count(), sizeof(MjSlot))));
	size = add_size(size,
					MAXALIGN(mul_size(mj_max_databases, sizeof(MjDatabase))));
	return add_size(size,
					mul_size(slot_count(), MJ_MAX_BATCH * sizeof(MjClaim)));
}

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(MJ_TRANCHE, 1);
}

/* First use after the postmaster made shared memory anew. */
static void
initialize_shared_memory(void)
{
	memset(mj_shared, 0, shared_size());
	mj_shared->lock = &(GetNamedLWLockTranche(MJ_TRANCHE))->lock;
	mj_shared->launcher_procno = -1;
	mj_shared->nslots = slot_count();
	mj_shared->ndatabases = mj_max_databases;
	if (!pg_strong_random(&mj_shared->boot_id, sizeof(mj_shared->boot_id)))
		mj_shared->boot_id = (uint32) mj_clock_real();
	mj_shared->boot_id &= 0x7fffffff; /* worker ids are positive bigints */
}

static void
startup_shared_memory(void)
{
	bool found;
	char *base;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	base = ShmemInitStruct("motionify_jobs", shared_size(), &found);
	mj_shared = (MjShared *) base;
	if (!found)
		initialize_shared_memory();
	base += MAXALIGN(sizeof(MjShared));
	mj_slots = (MjSlot *) base;
	base += MAXALIGN(mul_size(mj_shared->nslots, sizeof(MjSlot)));
	mj_database_table = (MjDatabase *) base;
	base += MAXALIGN(mul_size(mj_shared->ndatabases, sizeof(MjDatabase)));
	claim_table = (MjClaim *) base;
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for shared memory; called once from _PG_init while preloading. */
void
mj_shmem_init(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

/* False when the library is not in shared_preload_libraries. */
bool
mj_shmem_available(void)
{
	return mj_shared != NULL;
}

void
mj_lock(void)
{
	LWLockAcquire(mj_shared->lock, LW_EXCLUSIVE);
}

void
mj_unlock(void)
{
	LWLockRelease(mj_shared->lock);
}

/* The latch of a process that is known by number; NULL for -1. */
Latch *
mj_latch_of(int procno)
{
	return procno < 0 ? NULL : &ProcGlobal->allProcs[procno].procLatch;
}

int
mj_my_procno(void)
{
	return MJ_MY_PROCNO;
}

/*
 * Reserve a free slot, as MJ_SLOT_STARTING, with a worker id that was never
 * used before; NULL when all are taken.  Lock held.
 */
MjSlot *
mj_slot_reserve(MjWorkerKind kind, Oid database, int64 lane)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (slot->state != MJ_SLOT_FREE)
			continue;
		memset(slot, 0, sizeof(MjSlot));
		slot->state = MJ_SLOT_STARTING;
		slot->kind = kind;
		slot->worker_id =
			((int64) mj_shared->boot_id << 32) | ++mj_shared->worker_counter;
		slot->database = database;
		slot->lane = lane;
		slot->procno = -1;
		return slot;
	}
	return NULL;
}

/* A worker has no flights any more.  Lock held. */
static void
drop_flights(int64 worker_id)
{
	int i;

	for (i = 0; i < MJ_MAX_FLIGHTS; i++)
		if (mj_shared->flights[i].worker_id == worker_id)
			memset(&mj_shared->flights[i], 0, sizeof(MjFlight));
	for (i = 0; i < MJ_MAX_CANCELLED_FLIGHTS; i++)
		if (mj_shared->cancelled_flights[i].flight.worker_id == worker_id)
			memset(&mj_shared->cancelled_flights[i], 0,
				   sizeof(MjCancelledFlight));
}

/* Free a slot.  Lock held. */
void
mj_slot_clear(MjSlot *slot)
{
	if (slot->lane == MJ_LANE_HTTP && slot->worker_id != 0)
		drop_flights(slot->worker_id);
	memset(slot, 0, sizeof(MjSlot));
	slot->procno = -1;
}

/* before-exit callback of a guest: its mails are swept by the scheduler. */
static void
guest_exit(int code, Datum arg)
{
	mj_slot_release_guest();
}

/*
 * Make this client backend a worker for a while, so that the runs that it
 * claims are known to be alive; NULL when there are too many guests.
 */
MjSlot *
mj_slot_acquire_guest(void)
{
	static bool registered = false;

	if (!registered)
	{
		before_shmem_exit(guest_exit, (Datum) 0);
		registered = true;
	}
	mj_lock();
	if (mj_slot_count(MJ_WORKER_GUEST, InvalidOid, MJ_LANE_NONE) <
		MJ_MAX_GUESTS)
		mj_my_slot =
			mj_slot_reserve(MJ_WORKER_GUEST, MyDatabaseId, MJ_LANE_MAIL);
	if (mj_my_slot != NULL)
	{
		mj_my_slot->state = MJ_SLOT_BUSY;
		mj_my_slot->pid = MyProcPid;
		mj_my_slot->procno = MJ_MY_PROCNO;
	}
	mj_unlock();
	return mj_my_slot;
}

/* The end of mj_slot_acquire_guest(); harmless when not a guest. */
void
mj_slot_release_guest(void)
{
	if (mj_my_slot == NULL || mj_my_slot->kind != MJ_WORKER_GUEST)
		return;
	mj_lock();
	mj_slot_clear(mj_my_slot);
	mj_unlock();
	mj_my_slot = NULL;
	mj_wake_database(MyDatabaseId, 0);
}

/* The slot of a worker id, NULL when there is none.  Lock held. */
MjSlot *
mj_slot_find(int64 worker_id)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].worker_id == worker_id)
			return &mj_slots[i];
	return NULL;
}

/* The slot whose worker has a run at hand, NULL when none has.  Lock held. */
MjSlot *
mj_slot_of_run(int64 run_id)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].database == MyDatabaseId &&
			mj_slots[i].run_id == run_id)
			return &mj_slots[i];
	return NULL;
}

/*
 * The claims of a slot, nclaims of them: in an array of their own, since slots are
 * often looked through, and claims seldom.  Lock held.
 */
static MjClaim *
claims_of(const MjSlot *slot)
{
	return &claim_table[(slot - mj_slots) * MJ_MAX_BATCH];
}

/* A slot's claim of a run, NULL when it has none.  Lock held. */
MjClaim *
mj_slot_claim(MjSlot *slot, int64 run_id)
{
	int i;

	for (i = 0; i < slot->nclaims; i++)
		if (claims_of(slot)[i].run_id == run_id)
			return &claims_of(slot)[i];
	return NULL;
}

/*
 * A slot's worker is to begin none of its claims, but those that were cancelled.
 * Lock held.
 */
void
mj_slot_release_claims(MjSlot *slot)
{
	int i;

	for (i = slot->nclaims - 1; i >= 0; i--)
		if (!claims_of(slot)[i].begun && claims_of(slot)[i].cancel_at == 0)
			claims_of(slot)[i] = claims_of(slot)[--slot->nclaims];
}

/* Does a slot's worker have a run, not a mail, at hand or claimed?  Lock held. */
bool
mj_slot_holds(MjSlot *slot, int64 run_id)
{
	return slot->run_id == run_id || mj_slot_claim(slot, run_id) != NULL;
}

/*
 * How many workers of a kind there are; of a database unless it is
 * InvalidOid, of a lane unless it is MJ_LANE_NONE.  Lock held.
 */
int
mj_slot_count(MjWorkerKind kind, Oid database, int64 lane)
{
	int n = 0;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE && mj_slots[i].kind == kind &&
			(!OidIsValid(database) || mj_slots[i].database == database) &&
			(lane == MJ_LANE_NONE || mj_slots[i].lane == lane))
			n++;
	return n;
}

/* Wake a worker.  Lock held. */
void
mj_slot_set_latch(const MjSlot *slot)
{
	if (slot->procno >= 0)
		SetLatch(mj_latch_of(slot->procno));
}

/* A worker has no run at hand any more.  Lock held. */
void
mj_slot_drop_run(MjSlot *slot)
{
	slot->run_id = 0;
	slot->suspect = 0;
	slot->cancel_at = 0;
	slot->ending = false;
	slot->cancel_reason[0] = '\0';
	memset(&slot->progress, 0, sizeof(MjProgress));
}

/* Say what this worker is doing; it has no run at hand.  Takes the lock. */
void
mj_slot_set_state(MjSlotState state)
{
	mj_lock();
	if (state == MJ_SLOT_IDLE && mj_my_slot->state != MJ_SLOT_IDLE)
		mj_my_slot->idle_since = mj_clock_real();
	mj_my_slot->state = state;
	mj_slot_drop_run(mj_my_slot);
	mj_unlock();
}

/*
 * The run at hand is a suspect: it has crashed before.  One that has "last"
 * crashes behind it has its last chance; on the whole server no other suspect
 * goes on beside it, so that the next crash is rightly laid to its charge.
 * False when it must wait for one that is at work.  Takes the lock.
 */
bool
mj_slot_take_suspect(int crashes, int last)
{
	bool free = true;
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE && mj_slots[i].suspect > 0 &&
			Max(crashes, mj_slots[i].suspect) >= last)
			free = false;
	if (free)
		mj_my_slot->suspect = crashes;
	mj_unlock();
	return free;
}

/*
 * This executor is busy with some runs now: its lane wants one executor less.
 * Said before the claim is committed, so that whoever sees a row as running
 * finds the run here.  Takes the lock.
 */
void
mj_claims_publish(const int64 *run_ids, int n)
{
	MjClaim *claims = claims_of(mj_my_slot);
	MjLane *entry;
	int i;

	mj_lock();
	mj_my_slot->state = MJ_SLOT_BUSY;
	for (i = 0; i < n; i++)
	{
		claims[i].run_id = run_ids[i];
		claims[i].begun = false;
		claims[i].cancel_at = 0;
		claims[i].cancel_reason[0] = '\0';
	}
	mj_my_slot->nclaims = n;
	mj_my_slot->stuck = false;
	entry = mj_lane_find(mj_my_slot->database, mj_my_slot->lane);
	if (n > 0 && entry != NULL && entry->wanted > 0)
		entry->wanted--;
	mj_unlock();
}

/*
 * A claimed run becomes the one at hand; what was asked of it goes with it.  With
 * keep the claim stays, until mj_claims_end_group().  False when it was taken
 * away.  Takes the lock.
 */
bool
mj_claims_begin(int64 run_id, bool keep)
{
	MjSlot *slot = mj_my_slot;
	MjClaim *claim;

	mj_lock();
	claim = mj_slot_claim(slot, run_id);
	if (claim != NULL)
	{
		slot->run_id = run_id;
		slot->ending = false;
		slot->cancel_at = claim->cancel_at;
		memcpy(slot->cancel_reason, claim->cancel_reason, MJ_REASON_SIZE);
		memset(&slot->progress, 0, sizeof(MjProgress));
		claim->begun = true;
		if (!keep)
			*claim = claims_of(slot)[--slot->nclaims];
	}
	mj_unlock();
	return claim != NULL;
}

/*
 * Claims that were begun and kept: those that are done are over, the others are
 * to be begun again.  Takes the lock.
 */
void
mj_claims_end_group(const int64 *done, int n)
{
	MjSlot *slot = mj_my_slot;
	int i;

	mj_lock();
	for (i = 0; i < n; i++)
	{
		MjClaim *claim = mj_slot_claim(slot, done[i]);

		if (claim != NULL)
			*claim = claims_of(slot)[--slot->nclaims];
	}
	for (i = 0; i < slot->nclaims; i++)
		claims_of(slot)[i].begun = false;
	mj_unlock();
}

/*
 * No claim of this executor is begun any more, but those that were cancelled,
 * to end here; returns how many are given up.  Takes the lock.
 */
int
mj_claims_drop(void)
{
	MjSlot *slot = mj_my_slot;
	int n;

	mj_lock();
	n = slot->nclaims;
	mj_slot_release_claims(slot);
	n -= slot->nclaims;
	slot->stuck = false;
	mj_unlock();
	return n;
}

/* Has this executor claimed a run, still?  Takes the lock. */
bool
mj_claims_has(int64 run_id)
{
	bool has;

	mj_lock();
	has = mj_slot_claim(mj_my_slot, run_id) != NULL;
	mj_unlock();
	return has;
}

/* A database's entry, NULL when it has none.  Lock held. */
MjDatabase *
mj_database_find(Oid oid)
{
	int i;

	for (i = 0; i < mj_shared->ndatabases; i++)
		if (mj_database_table[i].oid == oid)
			return &mj_database_table[i];
	return NULL;
}

/* Do executors keep away from a database, for DDL or a drain?  Lock held. */
bool
mj_database_is_closed(Oid oid)
{
	MjDatabase *entry = mj_database_find(oid);

	return entry != NULL && (entry->blocked > 0 || entry->drained);
}

/* A database's entry, made if need be; NULL when full.  Lock held. */
MjDatabase *
mj_database_enter(Oid oid)
{
	MjDatabase *entry = mj_database_find(oid);

	if (entry != NULL || (entry = mj_database_find(InvalidOid)) == NULL)
		return entry;
	memset(entry, 0, sizeof(MjDatabase));
	entry->oid = oid;
	entry->next_due = DT_NOEND;
	entry->lease_due = DT_NOEND;
	entry->alert_due = DT_NOEND;
	return entry;
}

/*
 * Something has happened in a database that alerts may be about: they are to be
 * looked at, once, some seconds later, and not within a minute of the last time.
 * Returns whether that is news.  Lock held.
 */
bool
mj_database_stir(MjDatabase *entry)
{
	if (entry->alert_due != DT_NOEND)
		return false;
	entry->alert_due = Max(entry->alerts_at + MJ_ALERT_EVERY_US,
						   mj_clock_now() + MJ_ALERT_GATHER_US);
	entry->next_due = Min(entry->next_due, entry->alert_due);
	return true;
}

/*
 * Mail of a database that waits because none could be sent is to be tried: the
 * scheduler's next tick sees to that, now.
 */
void
mj_database_resume_mail(Oid oid)
{
	MjDatabase *entry;

	mj_lock();
	entry = mj_database_find(oid);
	if (entry != NULL)
		entry->resume_mail = true;
	mj_unlock();
	mj_wake_database(oid, 0);
}

/* Was that asked for?  For the scheduler, which does it: not again. */
bool
mj_database_take_resume(Oid oid)
{
	MjDatabase *entry;
	bool asked;

	mj_lock();
	entry = mj_database_find(oid);
	asked = entry != NULL && entry->resume_mail;
	if (asked)
		entry->resume_mail = false;
	mj_unlock();
	return asked;
}

/* Free a database's entry and its lanes.  Lock held. */
void
mj_database_forget(Oid oid)
{
	MjDatabase *entry = OidIsValid(oid) ? mj_database_find(oid) : NULL;
	int i;

	if (entry != NULL)
		memset(entry, 0, sizeof(MjDatabase));
	for (i = 0; i < MJ_MAX_LANES; i++)
		if (mj_shared->lanes[i].database == oid)
			memset(&mj_shared->lanes[i], 0, sizeof(MjLane));
}

/* A lane's entry, NULL when it has none.  Lock held. */
MjLane *
mj_lane_find(Oid database, int64 lane)
{
	int i;

	for (i = 0; i < MJ_MAX_LANES; i++)
		if (mj_shared->lanes[i].database == database &&
			(mj_shared->lanes[i].lane == lane || !OidIsValid(database)))
			return &mj_shared->lanes[i];
	return NULL;
}

/* A lane's entry, made if need be; NULL when full.  Lock held. */
MjLane *
mj_lane_enter(Oid database, int64 lane)
{
	MjLane *entry = mj_lane_find(database, lane);

	if (entry != NULL ||
		(entry = mj_lane_find(InvalidOid, MJ_LANE_NONE)) == NULL)
		return entry;
	memset(entry, 0, sizeof(MjLane));
	entry->database = database;
	entry->lane = lane;
	return entry;
}

/* Have the launcher look.  Lock held or not: reads one int. */
void
mj_wake_launcher(void)
{
	Latch *latch = mj_latch_of(mj_shared->launcher_procno);

	if (latch != NULL)
		SetLatch(latch);
}

/*
 * Something of a database was committed that its scheduler must look at, now
 * (due = 0) or at an instant.  Wakes the scheduler if there is one, else the
 * launcher, which starts it.  Takes the lock; neither allocates nor raises.
 */
void
mj_wake_database(Oid oid, TimestampTz due)
{
	MjDatabase *entry;
	bool woken = false;
	int i;

	if (mj_shared == NULL)
		return;
	mj_lock();
	entry = mj_database_enter(oid);
	if (entry != NULL)
	{
		entry->wake = entry->urgent = true;
		if (due < entry->next_due)
			entry->next_due = due;
		for (i = 0; i < mj_shared->nslots; i++)
			if (mj_slots[i].state != MJ_SLOT_FREE &&
				mj_slots[i].kind == MJ_WORKER_SCHEDULER &&
				mj_slots[i].database == oid)
			{
				mj_slot_set_latch(&mj_slots[i]);
				woken = true;
			}
	}
	mj_unlock();
	if (!woken)
		mj_wake_launcher();
}

/*
 * Wake a database's scheduler where nothing is lost if it takes some
 * milliseconds: what comes while it has yet to look costs no system call.
 * Takes the lock; neither allocates nor raises.
 */
void
mj_wake_database_soon(Oid oid)
{
	MjDatabase *entry;
	bool is_news = true;
	int i;

	mj_lock();
	entry = mj_database_enter(oid);
	if (entry != NULL)
	{
		is_news = !entry->wake;
		entry->wake = true;
	}
	for (i = 0; i < mj_shared->nslots && is_news; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].kind == MJ_WORKER_SCHEDULER &&
			mj_slots[i].database == oid)
		{
			mj_slot_set_latch(&mj_slots[i]);
			is_news = false;
		}
	mj_unlock();
	if (is_news)
		mj_wake_launcher();
}

/* Set the latch of a database's scheduler, if there is one.  Lock held. */
static bool
rouse_scheduler(Oid oid)
{
	bool found = false;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].kind == MJ_WORKER_SCHEDULER &&
			mj_slots[i].database == oid)
		{
			mj_slot_set_latch(&mj_slots[i]);
			found = true;
		}
	return found;
}

/*
 * A run of a database has ended, which others may have waited for, and alerts
 * may be about.  Takes the lock; neither allocates nor raises.
 */
void
mj_wake_if_held(Oid oid)
{
	MjDatabase *entry;
	bool held;
	bool batches;
	bool launch;

	mj_lock();
	entry = mj_database_find(oid);
	held = entry != NULL && entry->held;
	batches = entry != NULL && entry->batches;
	launch = entry != NULL && mj_database_stir(entry) && !rouse_scheduler(oid);
	mj_unlock();
	if (launch)
		mj_wake_launcher();
	if (held)
		mj_wake_database(oid, 0);
	else if (batches)
		mj_wake_database_soon(oid);
}

/*
 * A lease of a database ends at an instant, at which its scheduler is to look;
 * it is disturbed before only if it would look later than that.  Takes the lock;
 * neither allocates nor raises.
 */
void
mj_note_lease(Oid oid, TimestampTz until)
{
	MjDatabase *entry;
	bool earlier;
	int i;

	mj_lock();
	entry = mj_database_enter(oid);
	earlier = entry != NULL && until < entry->lease_due;
	if (earlier)
	{
		entry->lease_due = until;
		entry->next_due = Min(entry->next_due, until);
		for (i = 0; i < mj_shared->nslots; i++)
			if (mj_slots[i].state != MJ_SLOT_FREE &&
				mj_slots[i].kind == MJ_WORKER_SCHEDULER &&
				mj_slots[i].database == oid)
				mj_slot_set_latch(&mj_slots[i]);
	}
	mj_unlock();
	if (earlier)
		mj_wake_launcher();
}

/*
 * Is this an executor of the lane that waits for runs, or is to be told of more?
 * Lock held.
 */
static bool
is_idle_executor(const MjSlot *slot, Oid database, int64 lane)
{
	return slot->database == database && slot->kind == MJ_WORKER_EXECUTOR &&
		slot->lane == lane && !slot->yield &&
		(slot->state == MJ_SLOT_IDLE ||
		 (slot->state == MJ_SLOT_BUSY && slot->listens));
}

/*
 * So many runs of a lane are ready: wake as many of its idle executors, and tell
 * each what its share is.  False when it has none.  Takes the lock; neither
 * allocates nor raises.
 */
bool
mj_wake_lane(Oid database, int64 lane, int nruns)
{
	int idle = 0;
	int woken = 0;
	int i;

	if (mj_shared == NULL)
		return false;
	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (is_idle_executor(&mj_slots[i], database, lane))
			idle++;
	for (i = 0; i < mj_shared->nslots && woken < nruns && woken < idle; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (!is_idle_executor(slot, database, lane))
			continue;
		slot->state = MJ_SLOT_BUSY;
		slot->listens = false;
		slot->share = (nruns + idle - 1) / idle;
		mj_slot_set_latch(slot);
		woken++;
	}
	mj_unlock();
	return woken > 0;
}

/*
 * This executor's lane has more to do than one can: an idle one takes part, or
 * one is started if there is no other.  Takes the lock.
 */
void
mj_lane_want_second(void)
{
	MjLane *entry = NULL;

	if (mj_wake_lane(mj_my_slot->database, mj_my_slot->lane, 1))
		return;
	mj_lock();
	if (mj_slot_count(MJ_WORKER_EXECUTOR, mj_my_slot->database,
					  mj_my_slot->lane) < 2)
		entry = mj_lane_enter(mj_my_slot->database, mj_my_slot->lane);
	if (entry != NULL)
	{
		entry->wanted = 2;
		if (entry->since == 0)
			entry->since = mj_clock_real();
	}
	mj_unlock();
	if (entry != NULL)
		mj_wake_launcher();
}

/*
 * An attempt of a run has ended and is committed (or its request cannot be
 * served): tell the run_now() that waits for it, if one does.  Takes the
 * lock.
 */
void
mj_request_end(int64 run_id, MjRequestState state)
{
	int i;

	mj_lock();
	for (i = 0; i < MJ_MAX_REQUESTS; i++)
	{
		MjRequest *request = &mj_shared->requests[i];

		if (request->state != MJ_REQUEST_FREE && request->run_id == run_id &&
			request->database == MyDatabaseId)
		{
			request->state = state;
			SetLatch(mj_latch_of(request->caller_procno));
		}
	}
	mj_unlock();
}

/*
 * Take a token for a mail of this database; returns 0, or for how many
 * microseconds there is none.  The clock is a monotonic one, which all processes
 * share.  Takes the lock.
 */
int64
mj_mail_take_token(double rate, int64 now_us)
{
	MjDatabase *entry;
	int64 wait = 0;

	if (rate <= 0 || mj_shared == NULL)
		return 0;
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	if (entry != NULL)
		wait = mj_bucket_wait(&entry->mail, rate, now_us);
	if (entry != NULL && wait == 0)
		mj_bucket_take(&entry->mail, rate, now_us);
	mj_unlock();
	return wait;
}

/* How many SMTP connections the processes of this database have.  Lock held. */
static int
count_mail_connections(void)
{
	int n = 0;
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].database == mj_my_slot->database)
			n += mj_slots[i].connections;
	return n;
}

/*
 * This process opens n more SMTP connections, or (-n) has closed some.  False
 * when the database has as many as it may have; the first one of a session in
 * deliver_mail() is always allowed.  Takes the lock.
 */
bool
mj_mail_connections_add(int n, int most)
{
	bool first;
	bool ok;

	if (mj_my_slot == NULL)
		return true;
	mj_lock();
	first = mj_my_slot->kind == MJ_WORKER_GUEST && mj_my_slot->connections == 0;
	ok = n < 0 || first || count_mail_connections() + n <= most;
	if (ok)
		mj_my_slot->connections += n;
	mj_unlock();
	return ok;
}

/*
 * How many of so many SMTP connections this process may have, so that all that
 * send mails in the database, or have connections, have as many; at least one.
 * Takes the lock.
 */
int
mj_mail_connections_share(int most)
{
	int senders = 0;
	int i;

	if (mj_my_slot == NULL)
		return most;
	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
	{
		const MjSlot *slot = &mj_slots[i];

		if (slot->state != MJ_SLOT_FREE && slot->lane == MJ_LANE_MAIL &&
			slot->database == mj_my_slot->database &&
			(slot->state != MJ_SLOT_IDLE || slot->connections > 0))
			senders++;
	}
	mj_unlock();
	return Max(1, most / Max(1, senders));
}

/* How many flights there can be yet.  Takes the lock. */
int
mj_flights_room(void)
{
	int n = 0;
	int i;

	mj_lock();
	for (i = 0; i < MJ_MAX_FLIGHTS; i++)
		if (mj_shared->flights[i].run_id == 0)
			n++;
	mj_unlock();
	return n;
}

/*
 * This executor has some runs in hand now; said before the claim is committed, so
 * that whoever sees a row as running finds the run here.  places[n] are where, -1
 * for those for which there was no room: they cannot be cancelled.  Takes the
 * lock.
 */
void
mj_flights_begin(const int64 *run_ids, int n, int *places)
{
	int next = 0;
	int i;

	mj_lock();
	for (i = 0; i < n; i++)
	{
		while (next < MJ_MAX_FLIGHTS && mj_shared->flights[next].run_id != 0)
			next++;
		places[i] = next < MJ_MAX_FLIGHTS ? next : -1;
		if (places[i] < 0)
			continue;
		mj_shared->flights[next].run_id = run_ids[i];
		mj_shared->flights[next].worker_id = mj_my_slot->worker_id;
	}
	mj_unlock();
}

/* It has not any more.  Takes the lock. */
void
mj_flights_end(const int *places, int n)
{
	int i;

	mj_lock();
	for (i = 0; i < n; i++)
		if (places[i] >= 0)
			memset(&mj_shared->flights[places[i]], 0, sizeof(MjFlight));
	mj_unlock();
}

/* The place of a flight of this database; NULL: there is none.  Lock held. */
static MjFlight *
find_flight(int64 run_id, MjSlot **slot)
{
	int i;

	for (i = 0; i < MJ_MAX_FLIGHTS; i++)
	{
		MjFlight *flight = &mj_shared->flights[i];

		if (flight->run_id != run_id)
			continue;
		*slot = mj_slot_find(flight->worker_id);
		if (*slot != NULL && (*slot)->database == MyDatabaseId)
			return flight;
	}
	return NULL;
}

/* The slot whose worker has a flight in hand; NULL: none has.  Lock held. */
MjSlot *
mj_flight_slot(int64 run_id)
{
	MjSlot *slot;

	return find_flight(run_id, &slot) != NULL ? slot : NULL;
}

/* Is a flight to be given up already?  Lock held. */
static bool
is_cancelled(const MjFlight *flight)
{
	int i;

	for (i = 0; i < MJ_MAX_CANCELLED_FLIGHTS; i++)
	{
		const MjFlight *other = &mj_shared->cancelled_flights[i].flight;

		if (other->run_id == flight->run_id &&
			other->worker_id == flight->worker_id)
			return true;
	}
	return false;
}

/*
 * Have a flight of this database given up; the first reason counts.  False when
 * there is none, or too many are to be given up just now.  Lock held.
 */
bool
mj_flight_cancel(int64 run_id, const char *reason)
{
	MjSlot *slot;
	MjFlight *flight = find_flight(run_id, &slot);
	int i = 0;

	if (flight == NULL)
		return false;
	if (is_cancelled(flight))
		return true;
	while (i < MJ_MAX_CANCELLED_FLIGHTS &&
		   mj_shared->cancelled_flights[i].flight.run_id != 0)
		i++;
	if (i == MJ_MAX_CANCELLED_FLIGHTS)
		return false;
	mj_shared->cancelled_flights[i].flight = *flight;
	strlcpy(mj_shared->cancelled_flights[i].reason, reason, MJ_REASON_SIZE);
	slot->has_cancelled = true;
	mj_slot_set_latch(slot);
	return true;
}

/*
 * Take what is to be given up of this process's, into
 * taken[MJ_MAX_CANCELLED_FLIGHTS]; returns how many.  Takes the lock.
 */
int
mj_flights_take_cancelled(MjCancelledFlight *taken)
{
	int n = 0;
	int i;

	mj_lock();
	mj_my_slot->has_cancelled = false;
	for (i = 0; i < MJ_MAX_CANCELLED_FLIGHTS; i++)
	{
		MjCancelledFlight *cancelled = &mj_shared->cancelled_flights[i];

		if (cancelled->flight.worker_id != mj_my_slot->worker_id)
			continue;
		taken[n++] = *cancelled;
		memset(cancelled, 0, sizeof(MjCancelledFlight));
	}
	mj_unlock();
	return n;
}
