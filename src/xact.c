/*-------------------------------------------------------------------------
 *
 * xact.c
 *	  What happens at the end of a transaction: waking the workers.
 *
 * A transaction that changed something the workers must see notes it here;
 * after its commit the transaction callback wakes them.  The callback neither
 * allocates nor raises.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/timestamp.h"

#include "floor.h"
#include "shmem.h"
#include "xact.h"

#define MJ_MAX_PENDING_LANES 16
#define MJ_MAX_PENDING_RUNS (MJ_MAX_BATCH + 4)

/* What the current transaction has to do when it commits. */
static struct
{
	bool wake;
	bool ready;			/* it has made runs ready */
	MjKey first_ready;	/* none of which is before */
	Oid other_database; /* has to be looked at too; or InvalidOid */
	TimestampTz due;	/* earliest instant that somebody asked for */
	TimestampTz lease;	/* earliest end of a lease; 0: none was given */
	int nlanes;
	int64 lanes[MJ_MAX_PENDING_LANES]; /* have runs that are ready */
	bool soon; /* the scheduler is to look, without haste */
	int nruns;
	int64 runs[MJ_MAX_PENDING_RUNS]; /* have an attempt in the log */
} pending;

/* The database that the current transaction keeps workers away from. */
static Oid blocked_database = InvalidOid;
static bool blocked_is_dropped;

/* May a procedure commit in this call of it? */
bool
mj_xact_may_commit(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic && !IsSubTransaction();
}

/*
 * Keep the workers away from a database until the current transaction ends;
 * then they come back, unless the transaction commits and drops it.
 */
void
mj_xact_block_database(Oid database_oid, bool dropped)
{
	MjDatabase *entry;

	if (!mj_shmem_available() || OidIsValid(blocked_database))
		return;
	mj_lock();
	entry = mj_database_enter(database_oid);
	if (entry != NULL)
	{
		entry->blocked++;
		entry->blocker_pid = MyProcPid;
		blocked_database = database_oid;
		blocked_is_dropped = dropped;
	}
	mj_unlock();
}

/* The end of mj_xact_block_database(). */
static void
unblock_database(bool committed)
{
	Oid oid = blocked_database;
	MjDatabase *entry;

	if (!OidIsValid(oid))
		return;
	blocked_database = InvalidOid;
	mj_lock();
	entry = mj_database_find(oid);
	if (entry != NULL && entry->blocked > 0)
		entry->blocked--;
	if (entry != NULL && entry->blocked == 0)
		entry->blocker_pid = 0;
	if (committed && blocked_is_dropped)
		mj_database_forget(oid);
	mj_unlock();
	if (!committed || !blocked_is_dropped)
		mj_wake_database(oid, 0);
}

/*
 * The statement for which the workers were kept away has failed: they come
 * back at once, though the transaction may go on.
 */
void
mj_xact_unblock_database(void)
{
	unblock_database(false);
}

/*
 * Tell whoever must know.  A scheduler that changed something itself needs no
 * wake: it acts on what its tick found.
 */
static void
wake_after_commit(void)
{
	int i;

	for (i = 0; i < pending.nruns; i++)
		mj_request_end(pending.runs[i], MJ_REQUEST_ENDED);
	if (OidIsValid(pending.other_database))
		mj_wake_database(pending.other_database, 0);
	if (pending.ready)
		mj_floor_lower(MyDatabaseId, &pending.first_ready);
	if (mj_my_slot != NULL && mj_my_slot->kind == MJ_WORKER_SCHEDULER)
		return;
	if (pending.nruns > 0)
		mj_wake_if_held(MyDatabaseId);
	if (pending.lease != 0)
		mj_note_lease(MyDatabaseId, pending.lease);
	for (i = 0; i < pending.nlanes; i++)
		if (!mj_wake_lane(MyDatabaseId, pending.lanes[i], 1))
			pending.soon = true;
	if (pending.wake)
		mj_wake_database(MyDatabaseId, pending.due);
	else if (pending.soon)
		mj_wake_database_soon(MyDatabaseId);
}

/* The transaction callback. */
static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			unblock_database(true);
			wake_after_commit();
			break;
		case XACT_EVENT_ABORT:
			unblock_database(false);
			break;
		case XACT_EVENT_PREPARE:
			/*
			 * COMMIT PREPARED wakes through the utility hook.  Workers that
			 * made way may come back: they wait for the locks.
			 */
			unblock_database(false);
			break;
		default:
			return;
	}
	pending.wake = false;
	pending.ready = false;
	pending.other_database = InvalidOid;
	pending.lease = 0;
	pending.nlanes = 0;
	pending.soon = false;
	pending.nruns = 0;
}

/* Register the callback; called once from _PG_init while preloading. */
void
mj_xact_init(void)
{
	RegisterXactCallback(transaction_ended, NULL);
}

/* Note a lane; false if there is no place, or it is noted already. */
static bool
add_lane(int64 lane)
{
	int i;

	for (i = 0; i < pending.nlanes; i++)
		if (pending.lanes[i] == lane)
			return false;
	if (pending.nlanes == MJ_MAX_PENDING_LANES)
		return false;
	pending.lanes[pending.nlanes++] = lane;
	return true;
}

/*
 * Wake the workers of this database when the current transaction commits: the
 * scheduler at an instant (0 = now), and an executor of a lane whose run is
 * ready (MJ_LANE_NONE: of none).  Does nothing when not preloaded.
 */
void
mj_xact_wake(TimestampTz due, int64 lane)
{
	if (!mj_shmem_available())
		return;
	if (!pending.wake || due < pending.due)
		pending.due = due;
	pending.wake = true;
	if (lane != MJ_LANE_NONE)
		(void) add_lane(lane);
}

/*
 * The current transaction makes a run ready, with a place in its lane.  Does
 * nothing when not preloaded.
 */
void
mj_xact_ready(int32 priority, int64 run_id)
{
	MjKey *first = &pending.first_ready;

	if (!mj_shmem_available())
		return;
	if (!pending.ready || priority < first->priority ||
		(priority == first->priority && run_id < first->run_id))
	{
		first->priority = priority;
		first->run_id = run_id;
	}
	pending.ready = true;
}

/* The same for runs of which it is not known where they are in their lanes. */
void
mj_xact_ready_anywhere(void)
{
	mj_xact_ready(PG_INT32_MIN, 0);
}

/*
 * Wake the scheduler when the current transaction commits, where some
 * milliseconds do not matter: see mj_wake_database_soon().
 */
void
mj_xact_wake_soon(void)
{
	if (mj_shmem_available())
		pending.soon = true;
}

/*
 * The current transaction makes runs of a lane ready: wake an idle executor of
 * it when it commits, which is all that one run needs.  The scheduler is woken,
 * without haste, if there is no such executor or more than one run, so that
 * others are started or woken.  Does nothing when not preloaded.
 */
void
mj_xact_wake_ready(int64 lane, int64 runs)
{
	if (mj_shmem_available() && (!add_lane(lane) || runs > 1))
		pending.soon = true;
}

/*
 * A lease ends at an instant, if the current transaction commits: the scheduler
 * is to look then, but not before.
 */
void
mj_xact_lease(TimestampTz until)
{
	if (mj_shmem_available() && (pending.lease == 0 || until < pending.lease))
		pending.lease = until;
}

/* Have another database looked at when the current transaction commits. */
void
mj_xact_wake_other_database(Oid oid)
{
	if (mj_shmem_available())
		pending.other_database = oid;
}

/*
 * An attempt of a run is in the log when the current transaction commits: the
 * run_now() that waits for it, if one does, is told then, and the scheduler if
 * any runs are held.  What does not fit is found by the caller itself, which
 * looks at the log every second.
 */
void
mj_xact_run_ended(int64 run_id)
{
	if (pending.nruns < MJ_MAX_PENDING_RUNS)
		pending.runs[pending.nruns++] = run_id;
}
