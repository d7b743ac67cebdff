/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  The batch: the runs that an executor has claimed in one go.
 *
 * A claim costs as much as a short run does, so an executor that finds its
 * runs short and its lane full claims several, to execute them one after the
 * other, in the order of the queue.  Each is still a transaction of its own.
 *
 * Three rules keep that from showing:
 * - A batch is meant to last a few milliseconds.  If it lasts much longer, as
 *   one of its runs turns out to be long, the rest is given back: by the
 *   scheduler, which is woken by a timer, or by this process if it is first.
 * - The slot lists what is claimed and not begun.  What it does not list is not
 *   begun, whatever the table says; the scheduler's sweep gives it back.
 * - After a crash the table alone is left.  There the first of a worker's runs
 *   is the one that was at hand: those before it have ended, and are no longer
 *   in the queue; those after it were not begun, unless they were in one
 *   transaction with it (group.c), and know nothing of it.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "access.h"
#include "batch.h"
#include "clock.h"
#include "fault.h"
#include "floor.h"
#include "store.h"
#include "worker.h"
#include "xact.h"

/* How long a batch is meant to last, and after what time the rest goes back. */
#define MJ_BATCH_US 8000.0
#define MJ_BATCH_STUCK_MS 25

/* A run that has crashed before, and must wait, looks this much later. */
#define MJ_SUSPECT_WAIT_US USECS_PER_SEC

static MemoryContext batch_context = NULL; /* reset for every claim */
static TimeoutId stuck_timeout;
static TimeoutId due_timeout;

/* The batch at hand; those before works[next] are done. */
static MjWork works[MJ_MAX_BATCH];
static int next = 0;
static int count = 0;

/* What the size of the next batch goes by. */
static int asked = 0;			  /* size of the last */
static bool was_full = false;	  /* the lane had as many as were asked for */
static double usual_us = 0;		  /* what a run takes, lately; 0: not known */
static TimestampTz lap_began = 0; /* end of the last run, or of the claim */

static bool looked_at_all = false; /* the last claim did, not from its floor */
static bool wants_new_process = false;

/* Timeout handler: the batch lasts too long.  The launcher tells the scheduler. */
static void
note_stuck(void)
{
	if (mj_my_slot == NULL)
		return;
	mj_my_slot->stuck = true;
	mj_wake_launcher();
}

/* Timeout handler: the run that was claimed early is due. */
static void
note_due(void)
{
	SetLatch(MyLatch);
}

/* Called once in an executor, when it has started. */
void
mj_batch_init(void)
{
	stuck_timeout = RegisterTimeout(USER_TIMEOUT, note_stuck);
	due_timeout = RegisterTimeout(USER_TIMEOUT, note_due);
	batch_context =
		AllocSetContextCreate(TopMemoryContext, "motionify_jobs batch",
							  ALLOCSET_DEFAULT_SIZES);
}

/*
 * How many runs to claim: this executor's share of those that it was woken for,
 * or twice as many as the last time, while there are as many and they are short.
 */
static int
size_of_next(void)
{
	int size = was_full ? 2 * asked : 1;
	int share = mj_my_slot->share;

	mj_my_slot->share = 0;

	if (MJ_FAULT_IS_SET("batch-largest"))
		return MJ_MAX_BATCH;
	/* whose outcomes a crash may undo: the first row is not the one at hand */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF &&
		mj_worker_is_unsettled())
		return 1;
	if (usual_us > 0)
		size = (int) Min((double) Max(size, share), MJ_BATCH_US / usual_us);
	return Max(1, Min(size, MJ_MAX_BATCH));
}

/*
 * Is a claimed run in this lane by right?  Else it is moved, failed or removed.
 * Sets its owner.  In the transaction of the claim.
 */
bool
mj_batch_is_in_place(MjWork *work, bool found)
{
	MjRun *run = &work->run;
	MjRoleProblem problem;

	if (!found)
	{
		mj_queue_delete(run->run_id, run->worker_id);
		return false; /* a caller who waits finds it gone */
	}
	mj_runlog_owner(&work->job, &work->owner);
	if ((work->job.external || work->job.http ||
		 OidIsValid(work->job.role_oid)) &&
		mj_job_lane(&work->job) != run->lane)
	{
		mj_queue_unclaim(run, mj_job_lane(&work->job), 0);
		mj_xact_wake(0, mj_job_lane(&work->job));
		return false;
	}
	if (!mj_access_job_can_run(&work->job, mj_access_job_role(&work->job),
							   &problem))
	{
		mj_runlog_refused(run, &work->owner, &problem);
		return false;
	}
	return true;
}

/* Has a run to be alone in its batch: it crashes, or wants a new process? */
static bool
is_single(const MjWork *work)
{
	return work->run.crashes > 0 || work->job.isolated;
}

/*
 * May this process run it, now?  An isolated run wants a process that has run
 * nothing yet: this one leaves, and its successor takes it.  A run that has
 * crashed before may have to wait for others that have.
 */
static bool
suits_me(MjWork *work, int served)
{
	MjRun *run = &work->run;

	if (work->job.isolated && served > 0)
	{
		wants_new_process = true;
		mj_queue_unclaim(run, run->lane, 0);
		return false;
	}
	if (run->crashes > 0 &&
		!mj_slot_take_suspect(run->crashes, MJ_MAX_CRASHES - 1))
	{
		mj_queue_unclaim(run, run->lane, mj_clock_now() + MJ_SUSPECT_WAIT_US);
		mj_xact_wake(0, MJ_LANE_NONE);
		return false;
	}
	return true;
}

/* Take a claimed run into the batch, or give it back. */
static void
admit(const MjRun *run, const MjJob *job, bool found, int served)
{
	MjWork *work = &works[count];

	work->run = *run;
	work->job = *job;
	work->done = false;
	work->alone = run->crashes > 0;
	if (!mj_batch_is_in_place(work, found))
		return;
	if (count > 0 && (is_single(work) || is_single(&works[0])))
	{
		was_full = false;
		mj_queue_unclaim(run, run->lane, 0);
		mj_xact_wake(0, run->lane);
	}
	else if (suits_me(work, served))
		count++;
}

/* Tell the others which runs are claimed here. */
static void
publish(void)
{
	int64 run_ids[MJ_MAX_BATCH];
	int i;

	for (i = 0; i < count; i++)
		run_ids[i] = works[i].run.run_id;
	mj_claims_publish(run_ids, count);
}

/* A claim, as its transaction needs it. */
typedef struct Claiming
{
	int served;
	MjKey from;
	MjKey last; /* of the claimed runs */
	int claimed;
} Claiming;

/* Claim the lane's next runs, in a transaction. */
static void
claim(void *arg)
{
	Claiming *this = arg;
	MjRun *runs;
	MjJob jobs[MJ_MAX_BATCH];
	bool found[MJ_MAX_BATCH];
	int i;

	this->claimed = 0;
	if (!mj_store_installed())
		return;
	this->claimed = mj_queue_claim(mj_my_slot->lane, mj_my_slot->worker_id,
								   mj_clock_now(), &this->from, asked, &runs);
	if (this->claimed == 0)
		return;
	this->last.priority = runs[this->claimed - 1].priority;
	this->last.run_id = runs[this->claimed - 1].run_id;
	was_full = this->claimed == asked;
	mj_job_to_execute(runs, this->claimed, jobs, found);
	for (i = 0; i < this->claimed; i++)
		admit(&runs[i], &jobs[i], found[i], this->served);
	if (count > 0)
		publish();
	MJ_FAULT("executor-claim-written");
}

/* The first run of the batch that is not done; NULL: all are. */
static MjWork *
first_left(void)
{
	while (next < count && works[next].done)
		next++;
	return next < count ? &works[next] : NULL;
}

/* Was it made ahead of its time, and is that not there yet? */
static bool
is_early(const MjWork *work)
{
	TimestampTz now = mj_clock_now();

	return work->run.run_at > now && work->run.run_at <= now + MJ_AHEAD_US;
}

/* Is the next run not due yet? */
bool
mj_batch_is_early(void)
{
	return first_left() != NULL && is_early(first_left());
}

/*
 * The next run is the one to go on with: how long it takes is counted from now,
 * and a batch of several is not to last too long.  Not while it is early.
 */
static void
begin_lap(void)
{
	lap_began = mj_clock_real();
	if (count - next > 1 && !mj_batch_is_early() &&
		!MJ_FAULT_IS_SET("batch-unbounded"))
		enable_timeout_after(stuck_timeout, MJ_BATCH_STUCK_MS);
}

/*
 * Wait for the time of the next run, if it is still early, or for whatever else
 * ends a wait.  Not in a transaction.
 */
void
mj_batch_wait(void)
{
	bool reloaded;

	disable_timeout(stuck_timeout, false);
	if (mj_batch_is_early())
	{
		TimestampTz us =
			mj_clock_us_until(first_left()->run.run_at, USECS_PER_SEC);

		enable_timeout_at(due_timeout, mj_clock_real() + us);
		(void) mj_worker_wait((long) (us / 1000) + 1, &reloaded);
		disable_timeout(due_timeout, false);
	}
	begin_lap();
}

/*
 * Claim a new batch; the last one is over.  "served" is how many runs this
 * process has had at hand.  Not in a transaction.
 */
MjClaimed
mj_batch_claim(int served)
{
	Claiming this = { served };
	bool done;

	MemoryContextReset(batch_context);
	next = count = 0;
	asked = size_of_next();
	was_full = false;
	looked_at_all = mj_floor_begin(&this.from);
	done = mj_worker_do_bounded(batch_context, mj_worker_is_unsettled(),
								MJ_HELD_UP_CLAIM, claim, &this);
	mj_floor_end(done && this.claimed > 0 ? &this.last : NULL);
	if (!done)
	{
		count = 0;
		mj_claims_publish(NULL, 0);
		return MJ_CLAIMED_LOCKED;
	}
	begin_lap();
	return this.claimed > 0 ? MJ_CLAIMED_SOME : MJ_CLAIMED_NOTHING;
}

/* What gives claims back, in a transaction. */
static void
unclaim_dropped(void *arg)
{
	int i;

	if (!mj_store_installed())
		return;
	for (i = next; i < count; i++)
		if (!works[i].done && !mj_claims_has(works[i].run.run_id))
			(void) mj_queue_unclaim(&works[i].run, works[i].run.lane, 0);
	mj_xact_wake(0, mj_my_slot->lane);
}

/*
 * Begin no more of the batch, and put what is left of it back into the queue;
 * but what was cancelled stays, to end here.  What cannot be put back, since it
 * is locked, is left to the scheduler's sweep.  Not in a transaction.
 */
void
mj_batch_give_back(void)
{
	disable_timeout(stuck_timeout, false);
	if (mj_claims_drop() > 0)
		(void) mj_worker_do_bounded(batch_context, false, MJ_HELD_UP_CLAIM,
									unclaim_dropped, NULL);
}

/*
 * Have a run of the batch at hand; false when it was taken away.  With keep it
 * is one of several in a transaction, which mj_batch_end_group() ends.
 */
bool
mj_batch_begin(MjWork *work, bool keep)
{
	if (!mj_claims_begin(work->run.run_id, keep))
	{
		work->done = true;
		return false;
	}
	work->done = !keep;
	work->run.started_at = mj_clock_now();
	return true;
}

/*
 * The next run of the batch, now at hand; false when there is none left.  Not
 * in a transaction.
 */
bool
mj_batch_next(MjWork *work)
{
	MjWork *left;

	if (first_left() != NULL && mj_my_slot->stuck)
		mj_batch_give_back();
	while ((left = first_left()) != NULL)
	{
		if (!mj_batch_begin(left, false))
			continue;
		*work = *left;
		if (first_left() == NULL)
			disable_timeout(stuck_timeout, false);
		return true;
	}
	return false;
}

/*
 * The runs of the batch that come next and may share a transaction; returns how
 * many.  None of them is at hand.
 */
int
mj_batch_group(MjWork **group)
{
	MjWork *first = first_left();
	int n = 0;

	while (first + n < &works[count] && first != NULL && !first[n].done &&
		   !first[n].alone && first[n].job.group_commit && !is_early(&first[n]))
		n++;
	*group = first;
	return n;
}

/*
 * The transaction of a group is over.  Those of its members that are not done
 * are to be executed alone.
 */
void
mj_batch_end_group(MjWork *group, int n)
{
	int64 done[MJ_MAX_BATCH];
	int ndone = 0;
	int i;

	for (i = 0; i < n; i++)
		if (group[i].done)
			done[ndone++] = group[i].run.run_id;
		else
			group[i].alone = true;
	mj_claims_end_group(done, ndone);
	if (first_left() == NULL)
		disable_timeout(stuck_timeout, false);
}

/* So many runs have ended, and all that follows them is done. */
void
mj_batch_ended(int n)
{
	TimestampTz now = mj_clock_real();
	double took = (double) Max(now - lap_began, 1) / Max(n, 1);

	usual_us = usual_us > 0 ? usual_us + (took - usual_us) / 4 : took;
	lap_began = now;
}

/* Is it sure that the lane has nothing ready, if the last claim found nothing? */
bool
mj_batch_has_looked_at_all(void)
{
	return looked_at_all;
}

/* Is anything of the batch left? */
bool
mj_batch_is_open(void)
{
	return first_left() != NULL;
}

/* Is the next run to have a new process, and this one to leave? */
bool
mj_batch_wants_new_process(void)
{
	return wants_new_process;
}
