/*-------------------------------------------------------------------------
 *
 * tick.c
 *	  The tick: one look of the scheduler at its database's tables.
 *
 * Whatever depends on more than one run is decided here, after the fact: what
 * is due, overlap, catch-up, runs of dead workers, which lanes want
 * executors.  A tick is one transaction.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "access.h"
#include "admission.h"
#include "alert_store.h"
#include "batch_end.h"
#include "batch_store.h"
#include "call_store.h"
#include "changes.h"
#include "clock.h"
#include "downtime.h"
#include "due.h"
#include "expiry_store.h"
#include "guc.h"
#include "job_plan.h"
#include "job_store.h"
#include "lapse.h"
#include "lease_store.h"
#include "ping.h"
#include "mail_end_store.h"
#include "mail_store.h"
#include "retention_store.h"
#include "runlog.h"
#include "shmem.h"
#include "store.h"
#include "throttle_store.h"
#include "tick.h"
#include "flow_store.h"
#include "worker.h"
#include "xact.h"

/* Jobs that one transaction of a tick turns into runs. */
#define MJ_DUE_LIMIT 1000

/* Jobs that are turned into runs at once before anything else is looked at. */
#define MJ_FIRST_LIMIT 100

/* Rows that one transaction of pruning deletes. */
#define MJ_PRUNE_LIMIT 1000

/* Due manual runs that overlap another run are skipped. */
static void
skip_overlapping(TimestampTz now)
{
	MjRun *runs;
	int n = mj_queue_take_overlapping(now, &runs);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_passed_over(&runs[i], "another run has not ended");
}

/*
 * Runs for workers outside whose job was unscheduled before they were there to be
 * ended; executors find those that are theirs.
 */
static void
end_orphans(void)
{
	MjRun *runs;
	int n = mj_lease_take_orphans(&runs);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_withdrawn(&runs[i], "its job was unscheduled");
}

/*
 * Definitions that are this database's own but have no state, because their
 * role was not there when they were adopted: make it where it is now.
 */
static void
make_missing_states(void)
{
	MjJob *jobs;
	int n = mj_job_without_state(MJ_DUE_LIMIT, &jobs);
	int i;

	for (i = 0; i < n; i++)
		mj_plan_job(&jobs[i]);
}

/* What has become of the worker that a row names. */
typedef enum Fate
{
	HAS_IT,	 /* it has the run */
	CANCELS, /* it has, and has not begun it, and is to end it as cancelled */
	LET_GO,	 /* it has not, and will not begin it */
	WAS_LOST /* there is no such worker any more */
} Fate;

/*
 * What has become of a run's worker; of mails and calls no slot lists which it has.  The
 * reason of a cancel has MJ_REASON_SIZE bytes.
 */
static Fate
fate_of_worker(const MjRun *run, char *reason)
{
	MjSlot *slot;
	MjClaim *claim;
	Fate fate;

	mj_lock();
	slot = mj_slot_find(run->worker_id);
	if (slot == NULL)
		fate = WAS_LOST;
	else if (mj_lane_is_own(run->lane) || mj_slot_holds(slot, run->run_id))
		fate = HAS_IT;
	else
		fate = LET_GO;
	claim = fate == HAS_IT ? mj_slot_claim(slot, run->run_id) : NULL;
	if (claim != NULL && !claim->begun && claim->cancel_at != 0)
	{
		fate = CANCELS;
		memcpy(reason, claim->cancel_reason, MJ_REASON_SIZE);
	}
	mj_unlock();
	return fate;
}

/*
 * Executors whose runs take long are to begin none of the others that they have
 * claimed, so that they can go back.
 */
static void
release_stuck_claims(void)
{
	int i;

	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (slot->state == MJ_SLOT_FREE || slot->database != MyDatabaseId ||
			!slot->stuck)
			continue;
		mj_slot_release_claims(slot);
		slot->stuck = false;
	}
	mj_unlock();
}

/* A run whose worker is lost, and that it had at hand; as far as it is known. */
static void
end_lost_attempt(const MjRun *known)
{
	MjRun whole;
	const MjRun *run = &whole;

	if (!mj_queue_find(known->run_id, &whole) ||
		whole.worker_id != known->worker_id)
		return;
	if ((uint32) (run->worker_id >> 32) == mj_shared->boot_id)
		mj_runlog_interrupted(run, "its worker has ended");
	else
		mj_runlog_crashed(run);
}

/* May a run have been one of several in a transaction? */
static bool
may_be_grouped(const MjRun *run)
{
	MjJob job;

	return run->crashes == 0 && mj_job_by_id(run->job_id, &job) &&
		job.group_commit;
}

/*
 * Runs that nobody has any more go back.  Of those of a lost worker the first
 * was at hand, see batch.c, with those that may have been in its transaction;
 * and so were all mails and calls.  The rows are read before the slots, and written only
 * while they still name that worker.
 */
static void
sweep_lost_runs(void)
{
	MjRun *runs;
	int64 lost = 0;		   /* worker whose run at hand has been found */
	bool together = false; /* other runs of it may have been, too */
	int n;
	int i;

	release_stuck_claims();
	n = mj_queue_running(0, &runs);
	for (i = 0; i < n; i++)
	{
		MjRun *run = &runs[i];
		bool own = mj_lane_is_own(run->lane);
		char reason[MJ_REASON_SIZE];
		Fate fate = fate_of_worker(run, reason);

		if (fate == CANCELS)
			mj_runlog_cancelled(run, reason);
		if (fate == HAS_IT || fate == CANCELS)
			continue;
		if (!own && fate == WAS_LOST)
			together =
				(run->worker_id != lost || together) && may_be_grouped(run);
		if (own || (fate == WAS_LOST && (run->worker_id != lost || together)))
			end_lost_attempt(run);
		else
			(void) mj_queue_unclaim(run, run->lane, 0);
		if (!own)
			lost = run->worker_id;
	}
}

/* The arguments of a request, copied out of its segment; false: it is gone. */
static bool
read_request_args(const MjRequest *request, MjRun *run)
{
	dsm_segment *segment;
	void *copy;

	if (request->args == DSM_HANDLE_INVALID)
		return true;
	segment = dsm_attach(request->args);
	if (segment == NULL)
		return false;
	copy = palloc(request->args_size);
	memcpy(copy, dsm_segment_address(segment), request->args_size);
	dsm_detach(segment);
	run->args = PointerGetDatum(copy);
	run->args_isnull = false;
	return true;
}

/*
 * A run_now() that waits: queue its run.  Returns what its caller is to be
 * told once this is committed.
 */
static MjRequestState
accept_request(const MjRequest *request, TimestampTz now)
{
	MjJob job;
	MjRun run;
	MjRunOwner owner;

	if (mj_queue_exists(request->run_id))
		return MJ_REQUEST_QUEUED; /* by a scheduler that died before it told */
	if (!mj_job_by_id(request->job_id, &job) || !OidIsValid(job.role_oid))
		return MJ_REQUEST_REFUSED;
	mj_due_new_run(&job, now, "manual", now, &run);
	run.run_id = request->run_id;
	if (strcmp(job.overlap, "skip") == 0 && mj_queue_job_is_live(job.job_id))
	{
		mj_runlog_owner(&job, &owner);
		mj_runlog_skipped(&run, &owner, "another run has not ended");
		return MJ_REQUEST_ENDED;
	}
	if (!read_request_args(request, &run))
		return MJ_REQUEST_REFUSED;
	mj_queue_insert(&run);
	mj_xact_wake(now, run.lane);
	return MJ_REQUEST_QUEUED;
}

/* Accept the new requests of this database. */
static void
accept_requests(TimestampTz now, MjTick *tick)
{
	int i;

	tick->requests = palloc(MJ_MAX_REQUESTS * sizeof(MjRequest));
	tick->nrequests = 0;
	mj_lock();
	for (i = 0; i < MJ_MAX_REQUESTS; i++)
		if (mj_shared->requests[i].state == MJ_REQUEST_NEW &&
			mj_shared->requests[i].database == MyDatabaseId)
			tick->requests[tick->nrequests++] = mj_shared->requests[i];
	mj_unlock();
	for (i = 0; i < tick->nrequests; i++)
		tick->requests[i].state = tick->own ?
			accept_request(&tick->requests[i], now) :
			MJ_REQUEST_REFUSED;
}

/*
 * Tell the callers whose requests a tick accepted.  A run may have ended before:
 * then its executor has told them.
 */
static void
answer_requests(const MjTick *tick)
{
	int i;
	int k;

	mj_lock();
	for (i = 0; i < tick->nrequests; i++)
		for (k = 0; k < MJ_MAX_REQUESTS; k++)
		{
			MjRequest *request = &mj_shared->requests[k];

			if (request->state != MJ_REQUEST_NEW ||
				request->database != MyDatabaseId ||
				request->run_id != tick->requests[i].run_id)
				continue;
			request->state = tick->requests[i].state;
			SetLatch(mj_latch_of(request->caller_procno));
		}
	mj_unlock();
}

/*
 * What a tick has decided and others are to hear of, after its commit.  If it is
 * not heard, the next tick decides the same.
 */
void
mj_tick_act(const MjTick *tick)
{
	int i;

	answer_requests(tick);
	for (i = 0; i < tick->nreplaced; i++)
		(void) mj_run_cancel(tick->replaced[i], "replaced by a later run");
	mj_announcement_make(&tick->announcement);
}

/* End the ready runs of a lane whose role cannot run them. */
static void
refuse_lane(int64 lane, TimestampTz now)
{
	const MjKey from = { PG_INT32_MIN, 0 };
	MjRun *runs;
	int n = mj_queue_claim(lane, mj_my_slot->worker_id, now, &from,
						   MJ_DUE_LIMIT, &runs);
	int i;

	for (i = 0; i < n; i++)
	{
		MjJob job;
		MjRunOwner owner;
		MjRoleProblem problem;

		if (!mj_job_by_id(runs[i].job_id, &job))
		{
			mj_queue_delete(runs[i].run_id, runs[i].worker_id);
			continue;
		}
		mj_runlog_owner(&job, &owner);
		if (mj_job_lane(&job) != lane)
			mj_queue_unclaim(&runs[i], mj_job_lane(&job), 0);
		else if (!mj_access_role_can_run((Oid) lane, job.role, &problem))
			mj_runlog_refused(&runs[i], &owner, &problem);
	}
}

/* Which lanes have ready runs; runs that no role can run are ended. */
static void
find_lanes(TimestampTz now, MjTick *tick)
{
	MjRoleProblem problem;
	int n = mj_queue_lanes(now, &tick->lanes);
	int i;

	tick->nlanes = 0;
	for (i = 0; i < n; i++)
	{
		MjLaneDemand lane = tick->lanes[i];

		/* one executor has all connections, and keeps the rates */
		if (mj_lane_is_own(lane.lane))
			lane.ready = Min(lane.ready, 1);
		if (mj_lane_is_own(lane.lane) ||
			mj_access_role_can_run((Oid) lane.lane, "", &problem))
			tick->lanes[tick->nlanes++] = lane;
		else
			refuse_lane(lane.lane, now);
	}
}

/* Lanes of jobs that are due soon want an executor too.  Counts these jobs. */
static void
add_upcoming_lanes(MjTick *tick, TimestampTz now)
{
	MjLaneDemand lanes[64];
	int n = mj_job_upcoming_lanes(now + MJ_PRESTART_US, lengthof(lanes), lanes);
	MjLaneDemand *all = palloc((tick->nlanes + n + 1) * sizeof(MjLaneDemand));
	int i;
	int k;

	memcpy(all, tick->lanes, tick->nlanes * sizeof(MjLaneDemand));
	tick->lanes = all;
	for (i = 0; i < n; i++)
	{
		MjRoleProblem problem;

		tick->upcoming += lanes[i].ready;
		for (k = 0; k < tick->nlanes; k++)
			if (all[k].lane == lanes[i].lane)
				break;
		if (k < tick->nlanes ||
			(!mj_lane_is_own(lanes[i].lane) &&
			 !mj_access_role_can_run((Oid) lanes[i].lane, "", &problem)))
			continue;
		if (mj_lane_is_own(lanes[i].lane))
			lanes[i].ready = 1;
		all[tick->nlanes++] = lanes[i];
	}
}

/* When a run or a mail expires, or mail that waits for the server is tried. */
static TimestampTz
next_end(TimestampTz now)
{
	TimestampTz expiry = Min(mj_expiry_next(), mj_mail_next_expiry());

	return Min(expiry, mj_flow_next_try(now));
}

/*
 * When the tables are to be looked at next, if nothing is committed before.
 * There is more to do at once if one tick could not take all.
 */
static TimestampTz
next_due(TimestampTz now, bool more)
{
	TimestampTz waiting = Min(mj_queue_next_waiting(), next_end(now));
	TimestampTz due = mj_job_next_due(now);

	if (more)
		return now;
	if (mj_job_any_due(now)) /* locked */
		due = now + USECS_PER_SEC;
	if (waiting <= now)
		waiting = now + USECS_PER_SEC;
	return Min(due, waiting);
}

/* What a tick does where jobs may run. */
static void
tick_own(TimestampTz now, TimestampTz seen, bool thorough, MjTick *tick)
{
	bool noticed;
	TimestampTz next_lapse;
	TimestampTz admission;
	bool more;

	if (seen == 0) /* this scheduler's first tick */
		mj_downtime_notice(now);
	noticed = mj_changes_notice(now, seen);
	if (thorough)
		make_missing_states();
	sweep_lost_runs();
	next_lapse = mj_lapse_pass(now);
	more = mj_due_fire(now, MJ_DUE_LIMIT);
	more |= mj_due_follow(now);
	more |= mj_expiry_end(now) >= MJ_EXPIRY_LIMIT;
	more |= mj_mail_expire(now) >= MJ_MAIL_EXPIRE_LIMIT;
	if (mj_database_take_resume(MyDatabaseId))
		(void) mj_flow_hasten(now);
	skip_overlapping(now);
	more |= mj_queue_promote(now) >= MJ_PROMOTE_LIMIT;
	tick->held =
		mj_admission_pass(now, &tick->replaced, &tick->nreplaced, &admission);
	end_orphans();
	more |= mj_batch_end_pass(now, &tick->batches);
	find_lanes(now, tick);
	add_upcoming_lanes(tick, now);
	mj_announcement_find(&tick->announcement);
	tick->next_due = Min(next_due(now, more), mj_worker_end_stubborn(now));
	tick->next_due = Min(tick->next_due, next_lapse);
	tick->next_due = Min(tick->next_due, admission);
	tick->ping_at = mj_ping_next(now);
	tick->next_due =
		Min(tick->next_due, Max(tick->ping_at, now + USECS_PER_SEC));
	if (!noticed)
		tick->next_due = Min(tick->next_due, now + USECS_PER_SEC);
}

/*
 * Go through what mj_tick_first() does, with nothing.  Finds the lanes that will
 * have runs in a moment.  Else as mj_tick().
 */
void
mj_tick_rehearse(TimestampTz now, MjTick *tick)
{
	memset(tick, 0, sizeof(MjTick));
	tick->installed = mj_store_installed();
	tick->own = tick->installed && mj_instance_is_own();
	if (!tick->own)
		return;
	mj_due_rehearse();
	find_lanes(now, tick);
	add_upcoming_lanes(tick, now);
}

/*
 * What is due by its schedule, some of it, and nothing else: so that executors
 * have something to do while the rest is looked at, by the tick that must
 * follow.  Returns whether there is more.  Else as mj_tick().
 */
bool
mj_tick_first(TimestampTz now, MjTick *tick)
{
	bool more;

	memset(tick, 0, sizeof(MjTick));
	tick->installed = mj_store_installed();
	tick->own = tick->installed && mj_instance_is_own();
	if (!tick->own)
		return false;
	more = mj_due_fire(now, MJ_FIRST_LIMIT);
	find_lanes(now, tick);
	return more;
}

/*
 * Look at the tables once and do what is due.  "seen" is the latest time that the
 * caller has seen the clock show, 0 if none; a thorough look also counts the
 * jobs and mends what only a restore or a start can have left.  Needs a transaction, which the
 * caller commits at once; results are in the current context.  After the commit
 * the caller calls mj_tick_act().
 */
void
mj_tick(TimestampTz now, TimestampTz seen, bool thorough, MjTick *tick)
{
	memset(tick, 0, sizeof(MjTick));
	tick->next_due = tick->ping_at = DT_NOEND;
	tick->installed = mj_store_installed();
	if (!tick->installed)
		return;
	tick->own = mj_instance_is_own();
	if (thorough && tick->own)
		tick->active_jobs = mj_job_count_active();
	accept_requests(now, tick);
	if (tick->own)
		tick_own(now, seen, thorough, tick);
}

/*
 * Delete some of what is older than is kept: see motionify_jobs.history_retention
 * and the options of jobs.  Needs a
 * transaction; returns whether there may be more.
 */
bool
mj_tick_prune(TimestampTz now)
{
	TimestampTz before = now - mj_history_retention_us;
	int64 n;

	if (!mj_store_installed())
		return false;
	mj_throttle_settle(); /* from what is deleted here */
	n = Max(mj_retention_prune(now, before, MJ_PRUNE_LIMIT),
			mj_mail_prune(before, MJ_PRUNE_LIMIT));
	n = Max(n, mj_batch_prune(before, MJ_PRUNE_LIMIT));
	n = Max(n, mj_throttle_prune(now, MJ_PRUNE_LIMIT));
	n = Max(n, mj_alert_prune(before, MJ_PRUNE_LIMIT));
	n = Max(n,
			mj_call_prune(before, Max(before, now - USECS_PER_DAY),
						  MJ_PRUNE_LIMIT));
	return n >= MJ_PRUNE_LIMIT;
}
