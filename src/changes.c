/*-------------------------------------------------------------------------
 *
 * changes.c
 *	  Changes around the jobs: starts of the server, settings, the clock.
 *
 * The scheduler keeps in jobs.instance what it last saw of each, and compares
 * at every tick.  Only a change makes it look at jobs that are not due.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "changes.h"
#include "due.h"
#include "guc.h"
#include "job_plan.h"
#include "shmem.h"

/* A clock that goes back by less is being adjusted, not set. */
#define MJ_STEP_US USECS_PER_SEC

/* Set back by more than this, every next instant is computed anew. */
#define MJ_LARGE_STEP_US (3 * USECS_PER_HOUR)

/* How old the remembered time of the last tick may become. */
#define MJ_REMEMBER_EVERY_US (10 * USECS_PER_SEC)

/* Jobs that are looked at in one go. */
#define MJ_BATCH 1000

/* A job's next instant after a change; 0: none. */
typedef TimestampTz (*MjReplan)(const MjJob *job, TimestampTz seen,
								TimestampTz now);

/*
 * Compute the next instant of every job anew.  Nobody is waited for: returns
 * false if some could not be given theirs, because somebody has them locked.
 */
static bool
replan_all(MjReplan replan, TimestampTz seen, TimestampTz now)
{
	MemoryContext batch =
		AllocSetContextCreate(CurrentMemoryContext, "motionify_jobs batch",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(batch);
	MjJob *jobs;
	int64 job_id = 0;
	bool all = true;
	int n;
	int i;

	while ((n = mj_job_after(job_id, MJ_BATCH, &jobs)) > 0)
	{
		for (i = 0; i < n; i++)
		{
			TimestampTz next = replan(&jobs[i], seen, now);

			if (next != jobs[i].next_run_at)
				all &= mj_job_replan(&jobs[i], next);
		}
		job_id = jobs[n - 1].job_id;
		MemoryContextReset(batch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
	return all;
}

/* Is a job's stored instant, by what it goes by now, one that has passed? */
static bool
is_overdue(const MjJob *job, TimestampTz now)
{
	return job->next_run_at != 0 && job->next_run_at <= now &&
		mj_plan_next(job, job->next_run_at - 1) == job->next_run_at;
}

/* The next instant from now, but of fixed schedules only after "fixed_after". */
static TimestampTz
next_instant(const MjJob *job, TimestampTz fixed_after, TimestampTz now)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz next;

	if (!mj_plan_is_open(job) || !mj_plan_open(job, &timetable, &problem))
		return 0;
	if (fixed_after != 0)
		timetable.fixed_after = fixed_after;
	return mj_timetable_next(&timetable, now, &next) ? next : 0;
}

/* The clock was set back by a little: only wildcards go by the new time. */
static TimestampTz
after_small_step(const MjJob *job, TimestampTz seen, TimestampTz now)
{
	return is_overdue(job, now) ? job->next_run_at :
								  next_instant(job, seen, now);
}

/* The clock was set back by much: everything goes by the new time. */
static TimestampTz
after_large_step(const MjJob *job, TimestampTz seen, TimestampTz now)
{
	return next_instant(job, 0, now);
}

/* Settings were changed; "seen" is when the clock was set back a little. */
static TimestampTz
after_settings(const MjJob *job, TimestampTz seen, TimestampTz now)
{
	return is_overdue(job, now) ? job->next_run_at :
								  next_instant(job, seen, now);
}

/*
 * The clock was set back.  Where not every job could be given its next instant,
 * the time that was seen is kept, so that the next tick notices it again.
 */
static bool
step_back(TimestampTz now, TimestampTz seen, MjMemory *memory)
{
	static TimestampTz reported = 0; /* the time that it was set back from */
	bool large = seen - now > MJ_LARGE_STEP_US;
	bool all;

	if (seen != reported)
		ereport(LOG,
				(errmsg("motionify_jobs: the clock was set back by %ld s",
						(long) ((seen - now) / USECS_PER_SEC))));
	memory->clock_was = large ? 0 : seen;
	all = replan_all(large ? after_large_step : after_small_step, seen, now);
	memory->last_tick_at = all ? now : seen;
	reported = all ? 0 : seen;
	return all;
}

/*
 * Notice a clock that was set back.  *remember says whether something is to be
 * remembered.  Returns false if it has to be noticed again.
 */
static bool
notice_clock(TimestampTz now, TimestampTz seen, MjMemory *memory,
			 bool *remember)
{
	TimestampTz last = memory->last_tick_at;

	seen = Max(seen, last);
	memory->last_tick_at = now;
	*remember = now >= last + MJ_REMEMBER_EVERY_US;
	if (seen == 0 || now + MJ_STEP_US > seen)
		return true;
	*remember = true;
	return step_back(now, seen, memory);
}

/* How often jobs.reload() had been called when this process began. */
static uint32
reloads(void)
{
	static bool known = false;
	static uint32 n = 0;
	const MjDatabase *entry;

	if (!known)
	{
		mj_lock();
		entry = mj_database_find(MyDatabaseId);
		if (entry != NULL)
			n = entry->reloads;
		mj_unlock();
		known = true;
	}
	return n;
}

/*
 * Notice what bears on next instants: settings, and zone data, which may be
 * other ones after a start of the server or jobs.reload().  *remember is set if
 * there was a change.  Returns false if that has to be noticed again.
 */
static bool
notice_settings(TimestampTz now, MjMemory *memory, bool *remember)
{
	char *setting =
		psprintf("%s\n%s\n" INT64_FORMAT "/%u", mj_timezone,
				 mj_schedule_override, (int64) PgStartTime, reloads());
	bool first = memory->times_setting == NULL;

	if (!first && strcmp(setting, memory->times_setting) == 0)
		return true;
	if (!replan_all(after_settings, memory->clock_was, now))
		return false;
	memory->times_setting = setting;
	*remember = true;
	return true;
}

/*
 * Notice a start of the server or a promotion, which starts the @reboot jobs.
 * A crash restart keeps the postmaster, and is none.  Returns whether there
 * was one.
 */
static bool
notice_boot(TimestampTz now, MjMemory *memory)
{
	char *boot = psprintf(INT64_FORMAT "/%u", (int64) PgStartTime,
						  GetWALInsertionTimeLine());
	bool first = memory->boot == NULL;
	MjJob *jobs;
	int n;
	int i;

	if (!first && strcmp(boot, memory->boot) == 0)
		return false;
	memory->boot = boot;
	n = first ? 0 : mj_job_on_reboot(&jobs);
	for (i = 0; i < n; i++)
		if (mj_plan_is_open(&jobs[i]) && !mj_due_is_off(&jobs[i]))
			mj_due_start(&jobs[i], now);
	return true;
}

/*
 * Compare with what was seen last, act on changes, and remember.  Needs a
 * transaction.  "seen" is the latest time that this process has seen, 0: none.
 * Returns false if somebody's lock kept it from doing all: then it is to be
 * called again soon.
 */
bool
mj_changes_notice(TimestampTz now, TimestampTz seen)
{
	MjMemory memory;
	bool changed = false;
	bool all;

	mj_instance_recall(&memory);
	all = notice_clock(now, seen, &memory, &changed);
	all &= notice_settings(now, &memory, &changed);
	changed |= notice_boot(now, &memory);
	if (changed)
		mj_instance_remember(&memory);
	return all;
}
