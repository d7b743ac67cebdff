/*-------------------------------------------------------------------------
 *
 * due.c
 *	  The due job: what becomes of the instants of its schedule.
 *
 * An instant is missed if it is found later than motionify_jobs.misfire_grace,
 * or if a later one of the same job has passed too.  Missed instants become one
 * run (catch_up once), none (skip), or each its own, one after the other (all).
 * A job that runs after others is due when all of them have succeeded.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "chain_store.h"
#include "clock.h"
#include "due.h"
#include "guc.h"
#include "job_plan.h"
#include "runlog.h"

/* Successes that one transaction of a tick looks at. */
#define MJ_FOLLOW_LIMIT 1000

/* Passed instants of a job are counted up to here. */
#define MJ_PASSED_LIMIT 100000

/* The instants of a job that have passed. */
typedef struct Passed
{
	int count;
	TimestampTz first;	/* the stored one */
	TimestampTz second; /* the one after it; may be in the future; 0: none */
	TimestampTz last;	/* the latest that has passed */
	TimestampTz next;	/* the first that has not passed; 0: none comes */
} Passed;

/* What a transaction makes of due jobs, to be written at its end. */
typedef struct Firing
{
	TimestampTz now;
	int nruns;
	MjRun *runs;
	int nstates;
	MjJobState *states;
} Firing;

/* Make room for what n jobs come to. */
static void
open_firing(Firing *firing, TimestampTz now, int n)
{
	firing->now = now;
	firing->nruns = firing->nstates = 0;
	firing->runs = palloc(Max(n, 1) * sizeof(MjRun));
	firing->states = palloc(Max(n, 1) * sizeof(MjJobState));
}

/* Write what there is. */
static void
write_firing(const Firing *firing)
{
	if (firing->nruns > 0)
		mj_queue_insert_many(firing->runs, firing->nruns);
	if (firing->nstates > 0)
		mj_job_set_states(firing->states, firing->nstates);
}

/* A job's next instant and its last one. */
static void
set_state(Firing *firing, const MjJob *job, TimestampTz next,
		  TimestampTz last_due_at)
{
	MjJobState *state = &firing->states[firing->nstates++];

	state->job_id = job->job_id;
	state->next_run_at = next;
	state->last_due_at = last_due_at;
}

/*
 * A run of a job, to start now; not yet in the queue.  It has no id.
 */
void
mj_due_new_run(const MjJob *job, TimestampTz due_at, const char *trigger,
			   TimestampTz now, MjRun *run)
{
	memset(run, 0, sizeof(MjRun));
	run->job_id = job->job_id;
	run->lane = mj_job_lane(job);
	run->priority = job->priority;
	run->run_at = now;
	run->due_at = due_at;
	run->trigger = trigger;
	run->args_isnull = true;
	run->gated = mj_job_is_gated(job);
	run->concurrency_key = job->concurrency_key;
	run->state = run->gated ? "held" : "ready";
}

/* Log an instant that does not become a run. */
static void
skip(const MjJob *job, TimestampTz due_at, const char *trigger, TimestampTz now,
	 int missed, const char *reason)
{
	MjRun run;
	MjRunOwner owner;

	mj_due_new_run(job, due_at, trigger, now, &run);
	run.run_id = mj_queue_next_run_id();
	run.missed = missed;
	mj_runlog_owner(job, &owner);
	mj_runlog_skipped(&run, &owner, reason);
}

/* Tell that a stored schedule is no longer understood. */
static void
report_lost(const MjJob *job, const MjProblem *problem)
{
	ereport(LOG,
			(errmsg("job \"%s\" is not scheduled any more: %s", job->name,
					problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0));
}

/*
 * Open what a job goes by, as mj_plan_open().  Of a list of fixed and wildcard
 * schedules the fixed ones do not run again where the clock was set back.
 */
static bool
open_timetable(const MjJob *job, MjTimetable *timetable, MjProblem *problem)
{
	if (!mj_plan_open(job, timetable, problem))
		return false;
	if (job->clock_was != 0 && mj_cron_is_wildcard(timetable->schedule))
		timetable->fixed_after = job->clock_was;
	return true;
}

/* The latest of a job's instants up to now; "at" is one of them. */
static TimestampTz
latest(MjTimetable *timetable, TimestampTz at, TimestampTz now)
{
	TimestampTz none_after = now;
	TimestampTz next;

	while (at < none_after)
	{
		TimestampTz middle = at + (none_after - at) / 2;

		if (mj_timetable_next(timetable, middle, &next) && next <= now)
			at = next;
		else
			none_after = middle;
	}
	return at;
}

/*
 * Count a job's instants from its stored one up to now, as far as
 * MJ_PASSED_LIMIT.  Returns false when its schedule or zone is no longer
 * understood; then none comes, and *problem says why.
 */
static bool
walk_passed(const MjJob *job, TimestampTz now, Passed *passed,
			MjProblem *problem)
{
	MjTimetable timetable;
	TimestampTz at = job->next_run_at;

	memset(passed, 0, sizeof(Passed));
	passed->first = passed->last = at;
	if (!open_timetable(job, &timetable, problem))
		return false;
	while (at != 0 && at <= now && passed->count < MJ_PASSED_LIMIT)
	{
		passed->last = at;
		if (!mj_timetable_next(&timetable, at, &at))
			at = 0;
		if (passed->count++ == 0)
			passed->second = at;
	}
	if (at != 0 && at <= now)
	{
		passed->last = latest(&timetable, at, now);
		if (!mj_timetable_next(&timetable, now, &at))
			at = 0;
	}
	passed->next = at;
	return true;
}

/* The same; a schedule that is no longer understood is reported. */
static bool
count_passed(const MjJob *job, TimestampTz now, Passed *passed)
{
	MjProblem problem;

	if (walk_passed(job, now, passed, &problem))
		return true;
	report_lost(job, &problem);
	return false;
}

/*
 * How many instants of a due job have passed up to now; 0 if its schedule is no
 * longer understood.
 */
int
mj_due_count(const MjJob *job, TimestampTz now)
{
	Passed passed;
	MjProblem problem;

	return walk_passed(job, now, &passed, &problem) ? passed.count : 0;
}

/* Is an instant found so late that it counts as missed? */
static bool
is_late(TimestampTz due_at, TimestampTz now)
{
	return now - due_at > mj_misfire_grace_s * USECS_PER_SEC;
}

/* Is a job kept from running, though its schedule goes on? */
bool
mj_due_is_off(const MjJob *job)
{
	return !job->enabled || job->paused ||
		mj_guc_group_is_disabled(job->job_group);
}

/* When a run due at an instant is to start: up to the job's jitter later. */
static TimestampTz
jittered(const MjJob *job, TimestampTz due_at)
{
	double part = pg_prng_double(&pg_global_prng_state);

	if (job->jitter == NULL)
		return due_at;
	return due_at + (TimestampTz) (part * mj_interval_usecs(job->jitter));
}

/* Start a run that stands for "missed" earlier instants too. */
static void
start(Firing *firing, const MjJob *job, TimestampTz due_at, const char *trigger,
	  int missed)
{
	MjRun *run = &firing->runs[firing->nruns++];

	mj_due_new_run(job, due_at, trigger, firing->now, run);
	run->missed = missed;
	run->run_at = Max(firing->now, jittered(job, due_at));
	if (run->run_at > firing->now)
		run->state = "waiting";
}

/* Has a job's schedule made the runs that it is to make? */
static bool
is_through(const MjJob *job)
{
	return job->max_runs > 0 && job->runs >= job->max_runs;
}

/* Count a run that a job's schedule has made. */
static void
count_run(MjJob *job)
{
	if (job->max_runs > 0)
		mj_job_set_runs(job->job_id, ++job->runs);
}

/*
 * Queue the run of a job that is due now for another reason than an instant of
 * its schedule, unless it overlaps.  Returns whether there is a run.
 */
static bool
start_now(const MjJob *job, const char *trigger, TimestampTz now)
{
	Firing firing;

	if (strcmp(job->overlap, "skip") == 0 && mj_queue_job_is_live(job->job_id))
	{
		skip(job, now, trigger, now, 0, "the previous run has not ended");
		return false;
	}
	open_firing(&firing, now, 1);
	start(&firing, job, now, trigger, 0);
	write_firing(&firing);
	return true;
}

/* Start a job that is due when the server starts. */
void
mj_due_start(MjJob *job, TimestampTz now)
{
	if (!start_now(job, "schedule", now))
		return;
	count_run(job);
	mj_job_set_state(job->job_id, is_through(job) ? 0 : job->next_run_at, now,
					 job->role_oid);
}

/*
 * Start the jobs all of whose predecessors have succeeded.  Returns whether
 * there may be more.
 */
bool
mj_due_follow(TimestampTz now)
{
	int64 *job_ids;
	int taken;
	int n = mj_chain_take_successes(MJ_FOLLOW_LIMIT, &taken, &job_ids);
	int i;

	for (i = 0; i < n; i++)
	{
		MjJob job;

		if (mj_job_by_id(job_ids[i], &job) && !job.foreign_origin &&
			!mj_due_is_off(&job))
			(void) start_now(&job, "chain", now);
	}
	return taken >= MJ_FOLLOW_LIMIT;
}

/*
 * The instants that have passed become one run at most.  Returns whether there
 * is one.
 */
static bool
fire_once(Firing *firing, const MjJob *job, const Passed *passed,
		  bool in_the_way)
{
	TimestampTz now = firing->now;
	bool late = is_late(passed->last, now);
	const char *trigger = late ? "catch_up" : "schedule";
	int missed = late ? passed->count : passed->count - 1;

	if (late && strcmp(job->catch_up, "skip") == 0)
		skip(job, passed->last, trigger, now, missed, "it was missed");
	else if (in_the_way)
		skip(job, passed->last, trigger, now, missed,
			 "the previous run has not ended");
	else
	{
		start(firing, job, passed->last, trigger,
			  strcmp(job->catch_up, "skip") == 0 ? 0 : missed);
		return true;
	}
	return false;
}

/*
 * Missed instants beyond the limit are left out, the oldest first.  Returns
 * whether there are others.
 */
static bool
leave_out(const MjJob *job, Passed *passed, TimestampTz now)
{
	int surplus = passed->count - mj_catch_up_limit;
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz at = passed->first;
	int i;

	skip(job, passed->first, "catch_up", now, surplus,
		 "more were missed than motionify_jobs.catch_up_limit");
	if (!open_timetable(job, &timetable, &problem))
		return false;
	for (i = 0; i < surplus; i++)
		if (!mj_timetable_next(&timetable, at, &at))
			return false;
	passed->first = at;
	passed->count -= surplus;
	if (!mj_timetable_next(&timetable, at, &passed->second))
		passed->second = 0;
	return true;
}

/*
 * The first of the instants that have passed becomes a run, for the one before
 * has ended (see mj_job_due()).  *next is what to store as the next instant.
 * Returns whether there is a run.
 */
static bool
fire_first(Firing *firing, const MjJob *job, Passed *passed, TimestampTz *next)
{
	TimestampTz now = firing->now;
	bool missed = passed->count > 1 || is_late(passed->first, now);

	if (passed->count > mj_catch_up_limit && !leave_out(job, passed, now))
		return false;
	*next = passed->second;
	passed->last = passed->first;
	start(firing, job, passed->first, missed ? "catch_up" : "schedule",
		  missed ? 1 : 0);
	return true;
}

/* Turn what has passed of a job into runs, and store what comes next. */
static void
fire(Firing *firing, MjJob *job, bool in_the_way)
{
	Passed passed;
	TimestampTz next;
	bool made = false;

	if (!count_passed(job, firing->now, &passed))
	{
		set_state(firing, job, 0, passed.last);
		return;
	}
	next = passed.next;
	if (!mj_due_is_off(job))
		made = strcmp(job->catch_up, "all") == 0 ?
			fire_first(firing, job, &passed, &next) :
			fire_once(firing, job, &passed, in_the_way);
	if (made)
		count_run(job);
	set_state(firing, job, is_through(job) ? 0 : next, passed.last);
}

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * The jobs, of some, that skip a run because another is under way: their ids,
 * sorted.  Returns how many.
 */
static int
find_in_the_way(const MjJob *jobs, int n, int64 **found)
{
	int64 *job_ids = palloc(Max(n, 1) * sizeof(int64));
	int nskip = 0;
	int i;

	for (i = 0; i < n; i++)
		if (strcmp(jobs[i].overlap, "skip") == 0)
			job_ids[nskip++] = jobs[i].job_id;
	if (nskip == 0)
		return 0;
	nskip = mj_queue_live_jobs(job_ids, nskip, found);
	qsort(*found, nskip, sizeof(int64), compare_ids);
	return nskip;
}

/*
 * Due jobs get their runs, at most so many, those that have been due longest
 * first.  Returns whether there may be more.
 */
bool
mj_due_fire(TimestampTz now, int limit)
{
	Firing firing;
	MjJob *jobs;
	int64 *live = NULL;
	int n = mj_job_due(now, limit, &jobs);
	int nlive = find_in_the_way(jobs, n, &live);
	int i;

	open_firing(&firing, now, n);
	for (i = 0; i < n; i++)
		fire(&firing, &jobs[i],
			 nlive > 0 &&
				 bsearch(&jobs[i].job_id, live, nlive, sizeof(int64),
						 compare_ids) != NULL);
	write_firing(&firing);
	return n >= limit;
}

/* What mj_due_fire() asks for and writes, for no job. */
void
mj_due_rehearse(void)
{
	MjJob *jobs;
	int64 *live;

	(void) mj_job_due(DT_NOBEGIN + 1, 1, &jobs);
	(void) mj_queue_live_jobs(NULL, 0, &live);
	mj_queue_insert_many(NULL, 0);
	mj_job_set_states(NULL, 0);
}
