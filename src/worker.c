/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker process: how one starts, waits, is asked to leave, and ends.
 *
 * The launcher reserves a slot and registers a process for it; the process
 * attaches to the slot before it connects to its database.  A slot is freed
 * by its process on exit, whatever ends it short of a crash, which makes
 * shared memory anew anyway.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "compat.h"
#include "fault.h"
#include "guc.h"
#include "worker.h"
#include "xact.h"

/* Longest wait before a start that failed is tried again. */
#define MJ_MAX_BACKOFF_S 60

/* How long after a start of the server starts of runs are durable. */
#define MJ_UNSETTLED_US (5 * 60 * USECS_PER_SEC)

/* How long bookkeeping waits for a lock that somebody holds. */
#define MJ_LOCK_TIMEOUT "1s"

/* How long DDL waits for workers to leave before it goes on regardless. */
#define MJ_EVICT_TIMEOUT_MS 10000L

/*
 * Register the process of a reserved slot.  The launcher only, lock not held.
 * Returns false when max_worker_processes are running.
 */
bool
mj_worker_register(MjSlot *slot, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;
	bool scheduler = slot->kind == MJ_WORKER_SCHEDULER;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "motionify_jobs", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name,
			scheduler ? "mj_scheduler_main" : "mj_executor_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type,
			scheduler ? "motionify_jobs scheduler" : "motionify_jobs executor",
			BGW_MAXLEN);
	if (scheduler)
		snprintf(worker.bgw_name, BGW_MAXLEN,
				 "motionify_jobs scheduler of database %u", slot->database);
	else if (mj_lane_is_own(slot->lane))
		snprintf(worker.bgw_name, BGW_MAXLEN,
				 "motionify_jobs executor of %s in database %u",
				 slot->lane == MJ_LANE_MAIL ? "mail" : "HTTP", slot->database);
	else
		snprintf(worker.bgw_name, BGW_MAXLEN,
				 "motionify_jobs executor of role " INT64_FORMAT
				 " in database %u",
				 slot->lane, slot->database);
	worker.bgw_main_arg = Int32GetDatum((int32) (slot - mj_slots));
	memcpy(worker.bgw_extra, &slot->worker_id, sizeof(slot->worker_id));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

volatile sig_atomic_t mj_worker_cancellable = false;
volatile sig_atomic_t mj_worker_told_to_end = false;

/* When this process took its slot; real time. */
static TimestampTz attached_at = 0;

/* Seconds to wait after the n-th failure in a row. */
static TimestampTz
backoff_after(int failures)
{
	int seconds = failures < 7 ? 1 << (failures - 1) : MJ_MAX_BACKOFF_S;

	return mj_clock_real() + Min(seconds, MJ_MAX_BACKOFF_S) * USECS_PER_SEC;
}

/*
 * How many failures in a row that makes, with one more: those before count
 * only if this process did not live longer than the longest wait.
 */
static int
one_more(int failures)
{
	if (mj_clock_real() > attached_at + MJ_MAX_BACKOFF_S * USECS_PER_SEC)
		return 1;
	return failures + 1;
}

/*
 * A process ended in error: let the launcher wait before the next, unless it
 * was told to end, or ended for DDL, or by a run, of which only so many
 * attempts are made and for which the other runs of the lane need not wait.
 * Lock held.
 */
static void
note_failure(const MjSlot *slot)
{
	const MjDatabase *database = mj_database_find(slot->database);

	if ((database != NULL && database->blocked > 0) || slot->run_id != 0)
		return;
	if (slot->kind == MJ_WORKER_SCHEDULER)
	{
		MjDatabase *entry = mj_database_find(slot->database);

		if (entry == NULL)
			return;
		entry->wake = true;
		if (mj_worker_told_to_end)
			return;
		entry->failures = one_more(entry->failures);
		entry->not_before = backoff_after(entry->failures);
	}
	else
	{
		MjLane *entry = mj_lane_find(slot->database, slot->lane);

		if (entry == NULL || mj_worker_told_to_end)
			return;
		entry->failures = one_more(entry->failures);
		entry->not_before = backoff_after(entry->failures);
	}
}

/*
 * on_shmem_exit callback of every worker: free the slot.  The scheduler is
 * woken, since a run may have been left behind, or a lane unserved.
 */
static void
worker_exit(int code, Datum arg)
{
	MjSlot *slot = mj_my_slot;
	Oid database;
	bool executor;

	if (slot == NULL)
		return; /* left in good order */
	database = slot->database;
	executor = slot->kind == MJ_WORKER_EXECUTOR;
	mj_my_slot = NULL;
	mj_lock();
	if (code != 0)
		note_failure(slot);
	mj_slot_clear(slot);
	mj_unlock();
	if (executor)
		mj_wake_database(database, 0);
	mj_wake_launcher();
}

/*
 * SIGINT handler: cancels what is under way.  When that is nothing that may be
 * cancelled, it comes too late or to the wrong process, and must hit neither
 * the bookkeeping nor the next run.
 */
static void
handle_cancel(SIGNAL_ARGS)
{
	if (mj_worker_cancellable)
		StatementCancelHandler(postgres_signal_arg);
}

/* SIGTERM handler: die(), and remember that it was asked for. */
static void
handle_terminate(SIGNAL_ARGS)
{
	mj_worker_told_to_end = true;
	die(postgres_signal_arg);
}

/* Install the signal handlers of all our processes; then unblock signals. */
void
mj_worker_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, handle_cancel);
	pqsignal(SIGTERM, handle_terminate);
	BackgroundWorkerUnblockSignals();
}

/*
 * The start of a worker's main function: take the reserved slot.  Exits
 * quietly when the slot was given up meanwhile, or when DDL keeps workers
 * away from the database.
 */
void
mj_worker_attach(Datum main_arg)
{
	MjSlot *slot = &mj_slots[DatumGetInt32(main_arg)];
	MjDatabase *entry;
	int64 worker_id;
	bool mine;

	memcpy(&worker_id, MyBgworkerEntry->bgw_extra, sizeof(worker_id));
	attached_at = mj_clock_real();
	mj_lock();
	mine = slot->state == MJ_SLOT_STARTING && slot->worker_id == worker_id;
	if (mine)
	{
		slot->state = MJ_SLOT_BUSY;
		slot->pid = MyProcPid;
		slot->procno = MJ_MY_PROCNO;
		mj_my_slot = slot;
	}
	entry = mine ? mj_database_find(slot->database) : NULL;
	if (entry != NULL && entry->blocked > 0)
		mine = false;
	mj_unlock();

	on_shmem_exit(worker_exit, (Datum) 0);
	if (!mine)
		proc_exit(0);
	mj_worker_signals();
	MJ_FAULT("worker-attached");
}

/* Read changed settings, if there are any; returns whether there were. */
bool
mj_worker_reload(void)
{
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}

/*
 * Wait for the latch, at most timeout_ms (-1 = no limit).  The caller holds
 * no transaction, snapshot or lock.  Reads changed settings; *reloaded says
 * that it did.  Ends the process on SIGTERM, as die() does.
 */
MjWake
mj_worker_wait(long timeout_ms, bool *reloaded)
{
	int flags = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int events;

	if (timeout_ms >= 0)
		flags |= WL_TIMEOUT;
	events = WaitLatch(MyLatch, flags, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	*reloaded = mj_worker_reload();
	return (events & WL_TIMEOUT) ? MJ_WAKE_TIMEOUT : MJ_WAKE_LATCH;
}

/*
 * Begin a transaction for bookkeeping: READ COMMITTED and read-write, whatever
 * the session's defaults; with results in `context`.  A transaction that is
 * not durable is committed asynchronously.
 */
void
mj_worker_begin(MemoryContext context, bool durable)
{
	const char *level = NULL;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	if (!durable)
		level = "off";
	else if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		level = "local";
	if (level != NULL)
		(void) set_config_option("synchronous_commit", level, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
	MemoryContextSwitchTo(context);
}

/* Commit a transaction of a worker, and go on in `context`. */
void
mj_worker_commit(MemoryContext context)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
}

/* Note whether something is held up; returns whether that is news. */
static bool
note_held_up(MjHeldUp what, bool held_up)
{
	MjDatabase *entry;
	bool news;

	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	news = entry != NULL && ((entry->held_up & what) != 0) != held_up;
	if (news)
		entry->held_up ^= what;
	mj_unlock();
	return news;
}

/* Say that somebody has locked what jobs need. */
static void
log_held_up(MemoryContext context)
{
	char *database;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	database = get_database_name(MyDatabaseId);
	mj_worker_commit(context);
	ereport(
		LOG,
		(errmsg(
			 "motionify_jobs: tables of schema jobs in database \"%s\" are locked by another session",
			 database),
		 errhint(
			 "Jobs of this database wait until it releases them. See pg_locks.")));
}

/*
 * Whether a lock of somebody's is in the way of something: the log tells, once until
 * it is not.  Not in a transaction if it is; goes on in `context`.
 */
void
mj_worker_tell_held_up(MemoryContext context, MjHeldUp what, bool held_up)
{
	if (note_held_up(what, held_up) && held_up)
		log_held_up(context);
}

/*
 * In PG_CATCH: a transaction that gave up on a lock, or was cancelled, is
 * aborted, and will be tried again.  Other errors end the worker.
 */
static void
give_up(MemoryContext context, MjHeldUp what)
{
	int sqlstate = geterrcode();
	bool locked = sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;

	mj_worker_cancellable = false;
	if (!locked && sqlstate != ERRCODE_QUERY_CANCELED)
		PG_RE_THROW();
	if (!locked)
		EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	if (locked)
		mj_worker_tell_held_up(context, what, true);
}

/*
 * A transaction of bookkeeping that nobody holds up for long: work(arg) in it,
 * with results in `context`.  Where a user has locked what it needs it fails
 * after a second, which is logged once; false then, and the caller tries again
 * later.  It can be cancelled, with the same effect.
 */
bool
mj_worker_do_bounded(MemoryContext context, bool durable, MjHeldUp what,
					 void (*work)(void *), void *arg)
{
	volatile bool done = false;

	mj_worker_cancellable = true;
	PG_TRY();
	{
		mj_worker_begin(context, durable);
		(void) set_config_option("lock_timeout", MJ_LOCK_TIMEOUT, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
		work(arg);
		mj_worker_commit(context);
		done = true;
	}
	PG_CATCH();
	{
		give_up(context, what);
	}
	PG_END_TRY();
	mj_worker_cancellable = false;
	QueryCancelPending = false;
	if (done)
		mj_worker_tell_held_up(context, what, false);
	return done;
}

/*
 * Has the launcher started so recently that starts of runs are to be durable?
 * Else a run that crashes the server would never be counted as crashed.
 */
bool
mj_worker_is_unsettled(void)
{
	if (MJ_FAULT_IS_SET("worker-settled"))
		return false;
	return mj_clock_real() < mj_shared->started_at + MJ_UNSETTLED_US;
}

/*
 * Give up the slot, in good order, and end the process.  Not in a
 * transaction.
 */
void
mj_worker_finish(void)
{
	mj_lock();
	mj_slot_clear(mj_my_slot);
	mj_my_slot = NULL;
	mj_unlock();
	mj_wake_launcher();
	proc_exit(0);
}

/*
 * Must this worker leave as soon as it has nothing in hand: it was asked to
 * yield, DDL waits for it, its database is drained, or jobs are switched off?
 */
bool
mj_worker_must_leave(void)
{
	MjDatabase *entry;
	bool leave;

	if (!mj_enabled)
		return true;
	mj_lock();
	entry = mj_database_find(mj_my_slot->database);
	leave = mj_my_slot->yield || mj_my_slot->make_way ||
		(entry != NULL && entry->blocked > 0) ||
		(entry != NULL && entry->drained &&
		 mj_my_slot->kind == MJ_WORKER_EXECUTOR);
	mj_unlock();
	return leave;
}

/* Note that a run is cancelled, and why; the first time counts. */
static void
note_cancel(TimestampTz *cancel_at, char *cancel_reason, const char *reason,
			TimestampTz now)
{
	if (*cancel_at != 0)
		return;
	*cancel_at = now;
	strlcpy(cancel_reason, reason, MJ_REASON_SIZE);
}

/*
 * Cancel a run of this database that a worker has claimed and not begun: it
 * ends when its turn has come.  False when none has.  Lock held.
 */
static bool
cancel_claim(int64 run_id, const char *reason, TimestampTz now)
{
	int i;

	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjClaim *claim = mj_slots[i].state != MJ_SLOT_FREE &&
				mj_slots[i].database == MyDatabaseId ?
			mj_slot_claim(&mj_slots[i], run_id) :
			NULL;

		if (claim == NULL || claim->begun)
			continue;
		note_cancel(&claim->cancel_at, claim->cancel_reason, reason, now);
		return true;
	}
	return false;
}

/*
 * Cancel a run of this database if a worker has it at hand, or claimed; false
 * when none has.  The run is compared under the lock, so the worker's next run
 * is not hit.  The reason is a phrase for the history.
 */
bool
mj_run_cancel(int64 run_id, const char *reason)
{
	TimestampTz now = mj_clock_now();
	MjSlot *slot;
	bool sent;

	if (!mj_shmem_available())
		return false;
	mj_lock();
	slot = mj_slot_of_run(run_id);
	if (slot != NULL)
	{
		MjClaim *claim = mj_slot_claim(slot, run_id);

		note_cancel(&slot->cancel_at, slot->cancel_reason, reason, now);
		if (claim != NULL) /* if it is executed again, alone */
			note_cancel(&claim->cancel_at, claim->cancel_reason, reason, now);
	}
	sent = slot != NULL ?
		slot->pid != 0 && kill(slot->pid, SIGINT) == 0 :
		cancel_claim(run_id, reason, now) || mj_flight_cancel(run_id, reason);
	mj_unlock();
	if (sent)
		mj_wake_database(MyDatabaseId, now + MJ_CANCEL_GRACE_US);
	return sent;
}

/* Was the run at hand cancelled?  The reason has MJ_REASON_SIZE bytes. */
bool
mj_worker_is_cancelled(char *reason)
{
	bool cancelled;

	mj_lock();
	cancelled = mj_my_slot->cancel_at != 0;
	memcpy(reason, mj_my_slot->cancel_reason, MJ_REASON_SIZE);
	mj_unlock();
	return cancelled;
}

/*
 * End the processes of this database whose run goes on long after it was
 * cancelled.  Returns when to do that next; DT_NOEND: not at all.
 */
TimestampTz
mj_worker_end_stubborn(TimestampTz now)
{
	TimestampTz next = DT_NOEND;
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (slot->state == MJ_SLOT_FREE || slot->database != MyDatabaseId ||
			slot->cancel_at == 0 || slot->ending)
			continue;
		if (slot->cancel_at + MJ_CANCEL_GRACE_US > now)
			next = Min(next, slot->cancel_at + MJ_CANCEL_GRACE_US);
		else
			slot->ending = kill(slot->pid, SIGTERM) == 0;
	}
	mj_unlock();
	return next;
}

/* Ask a database's workers to leave when they have nothing in hand. */
void
mj_worker_yield_database(Oid database)
{
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].kind != MJ_WORKER_GUEST &&
			mj_slots[i].database == database)
		{
			mj_slots[i].yield = true;
			mj_slot_set_latch(&mj_slots[i]);
		}
	mj_unlock();
}

/* Signal a database's workers to end; returns how many there still are. */
static int
terminate_workers(Oid database)
{
	int n = 0;
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
		if (mj_slots[i].state != MJ_SLOT_FREE &&
			mj_slots[i].kind != MJ_WORKER_GUEST &&
			mj_slots[i].pid != MyProcPid && mj_slots[i].database == database)
		{
			n++;
			if (mj_slots[i].pid != 0)
				kill(mj_slots[i].pid, SIGTERM);
		}
	mj_unlock();
	return n;
}

/*
 * End a database's workers and wait until they are gone, at most 10 s.  For
 * DDL, in a transaction that blocked the database first and holds no lock on
 * it yet.
 */
void
mj_worker_evict_database(Oid database)
{
	long waited;

	for (waited = 0; waited < MJ_EVICT_TIMEOUT_MS; waited += 10)
	{
		if (terminate_workers(database) == 0)
			return;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10L,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
