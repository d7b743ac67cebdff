/*-------------------------------------------------------------------------
 *
 * due.c
 *	  The due job: what becomes of the instants of its schedule.
 *
 * An instant is missed if it is found later than motionify_jobs.misfire_grace,
 * or if a later one of the same job has passed too.  Missed instants become one
 * run (catch_up once), none (skip), or each its own, one after the other (all).
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "due.h"
#include "guc.h"
#include "job_plan.h"
#include "runlog.h"
#include "xact.h"

/* Jobs that one transaction of a tick turns into runs. */
#define MJ_DUE_LIMIT 1000

/* Passed instants of a job are counted up to here. */
#define MJ_PASSED_LIMIT 100000

/* The instants of a job that have passed. */
typedef struct Passed
{
	int count;
	TimestampTz first; /* the stored one */
	TimestampTz second; /* the one after it; may be in the future; 0: none */
	TimestampTz last; /* the latest that has passed */
	TimestampTz next; /* the first that has not passed; 0: none comes */
} Passed;

/* A run of a job, ready now; not yet in the queue. */
void
mj_due_new_run(const MjJob *job, TimestampTz due_at, const char *trigger,
		TimestampTz now, MjRun *run)
{
	memset(run, 0, sizeof(MjRun));
	run->run_id = mj_queue_next_run_id();
	run->job_id = job->job_id;
	run->lane = (int64) job->role_oid;
	run->priority = job->priority;
	run->run_at = now;
	run->due_at = due_at;
	run->trigger = trigger;
	run->args_isnull = true;
	run->ready = true;
}

/* Log an instant that does not become a run. */
static void
skip(const MjJob *job, TimestampTz due_at, const char *trigger,
	 TimestampTz now, int missed, const char *reason)
{
	MjRun run;
	MjRunOwner owner;

	mj_due_new_run(job, due_at, trigger, now, &run);
	run.missed = missed;
	mj_runlog_owner(job, &owner);
	mj_runlog_skipped(&run, &owner, reason);
}

/* Tell that a stored schedule is no longer understood. */
static void
report_lost(const MjJob *job, const MjProblem *problem)
{
	ereport(LOG, (errmsg("job \"%s\" is not scheduled any more: %s", job->name,
						 problem->message),
				  problem->detail[0] ? errdetail("%s", problem->detail) : 0));
}

/*
 * Count a job's instants from its stored one up to now.  Returns false when
 * its schedule or zone is no longer understood; then none comes.
 */
static bool
count_passed(const MjJob *job, TimestampTz now, Passed *passed)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz at = job->next_run_at;

	memset(passed, 0, sizeof(Passed));
	passed->first = passed->last = at;
	if (!mj_plan_open(job, &timetable, &problem))
	{
		report_lost(job, &problem);
		return false;
	}
	while (at != 0 && at <= now && passed->count < MJ_PASSED_LIMIT)
	{
		passed->last = at;
		if (!mj_timetable_next(&timetable, at, &at))
			at = 0;
		if (passed->count++ == 0)
			passed->second = at;
	}
	if (at != 0 && at <= now && !mj_timetable_next(&timetable, now, &at))
		at = 0;
	passed->next = at;
	return true;
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

/* Queue a run that stands for "missed" earlier instants too. */
static void
start(const MjJob *job, TimestampTz due_at, const char *trigger, int missed,
	  TimestampTz now)
{
	MjRun run;

	mj_due_new_run(job, due_at, trigger, now, &run);
	run.missed = missed;
	run.run_at = Max(now, jittered(job, due_at));
	run.ready = run.run_at <= now;
	mj_queue_insert(&run);
	mj_xact_wake(run.run_at, run.ready ? run.lane : MJ_LANE_NONE);
}

/* Is another run of the job in the way of a new one? */
static bool
is_in_the_way(const MjJob *job)
{
	return strcmp(job->overlap, "skip") == 0 &&
		   mj_queue_job_is_live(job->job_id);
}

/* Queue a run for an instant that nobody missed, unless it overlaps. */
void
mj_due_start(const MjJob *job, TimestampTz due_at, TimestampTz now)
{
	if (is_in_the_way(job))
		skip(job, due_at, "schedule", now, 0, "the previous run has not ended");
	else
		start(job, due_at, "schedule", 0, now);
}

/*
 * The instants that have passed become one run at most.  Returns how many runs
 * were made.
 */
static int
fire_once(const MjJob *job, const Passed *passed, TimestampTz now)
{
	bool late = is_late(passed->last, now);
	const char *trigger = late ? "catch_up" : "schedule";
	int missed = late ? passed->count : passed->count - 1;

	if (late && strcmp(job->catch_up, "skip") == 0)
		skip(job, passed->last, trigger, now, missed, "it was missed");
	else if (is_in_the_way(job))
		skip(job, passed->last, trigger, now, missed,
			 "the previous run has not ended");
	else
	{
		start(job, passed->last, trigger,
			  strcmp(job->catch_up, "skip") == 0 ? 0 : missed, now);
		return 1;
	}
	return 0;
}

/* Missed instants beyond the limit are left out, the oldest first. */
static TimestampTz
leave_out(const MjJob *job, const Passed *passed, TimestampTz now)
{
	int surplus = passed->count - mj_catch_up_limit;
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz at = passed->first;
	int i;

	if (!mj_plan_open(job, &timetable, &problem))
		return 0;
	for (i = 0; i < surplus; i++)
		if (!mj_timetable_next(&timetable, at, &at))
			return 0;
	skip(job, passed->first, "catch_up", now, surplus,
		 "more were missed than motionify_jobs.catch_up_limit");
	return at;
}

/*
 * The first of the instants that have passed becomes a run, if the one before
 * has ended; else it waits.  *next is what to store as the next instant.
 * Returns how many runs were made.
 */
static int
fire_first(const MjJob *job, const Passed *passed, TimestampTz now,
		   TimestampTz *next)
{
	bool missed = passed->count > 1 || is_late(passed->first, now);

	if (passed->count > mj_catch_up_limit)
	{
		*next = leave_out(job, passed, now);
		return 0;
	}
	*next = passed->first;
	if (mj_queue_job_is_live(job->job_id))
		return 0;
	*next = passed->second;
	start(job, passed->first, missed ? "catch_up" : "schedule",
		  missed ? 1 : 0, now);
	return 1;
}

/* Turn what has passed of a job into runs, and store what comes next. */
static void
fire(MjJob *job, TimestampTz now)
{
	Passed passed;
	TimestampTz next;
	int made = 0;

	if (!count_passed(job, now, &passed))
	{
		mj_job_set_state(job->job_id, 0, passed.last, job->role_oid);
		return;
	}
	next = passed.next;
	if (!mj_due_is_off(job))
		made = strcmp(job->catch_up, "all") == 0 ?
				   fire_first(job, &passed, now, &next) :
				   fire_once(job, &passed, now);
	if (made > 0 && job->max_runs > 0)
	{
		job->runs += made;
		mj_job_set_runs(job->job_id, job->runs);
		if (job->runs >= job->max_runs)
			next = 0;
	}
	mj_job_set_state(job->job_id, next, passed.last, job->role_oid);
}

/* Due jobs get their runs; at most MJ_DUE_LIMIT in one transaction. */
void
mj_due_fire(TimestampTz now)
{
	MjJob *jobs;
	int n = mj_job_due(now, MJ_DUE_LIMIT, &jobs);
	int i;

	for (i = 0; i < n; i++)
		fire(&jobs[i], now);
}
