/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  The timetable: what a job's schedule and time zone mean for PostgreSQL.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "clock.h"
#include "guc.h"
#include "schedule.h"
#include "zone.h"

/* Opens the zone of that name; on failure fills *problem. */
static bool
zone_open(const char *name, MjZone *zone, MjProblem *problem)
{
	if (mj_zone_open(name, zone))
		return true;
	memset(problem, 0, sizeof(MjProblem));
	snprintf(problem->message, sizeof(problem->message),
			 "time zone \"%.100s\" not recognized", name);
	strlcpy(
		problem->hint,
		"Names are those of pg_timezone_names, such as \"UTC\" or \"Asia/Kolkata\".",
		sizeof(problem->hint));
	return false;
}

/*
 * Bind a schedule to a zone (NULL: the default zone).  Returns false and says
 * why in *problem if one of them is not understood.  notes may be NULL.  May be
 * called anywhere; the schedule is palloc'ed.
 */
bool
mj_timetable_open(MjTimetable *timetable, const char *schedule,
				  const char *timezone, MjCronNotes *notes, MjProblem *problem)
{
	timetable->fixed_after = DT_NOBEGIN;
	if (!mj_cron_parse(schedule, &timetable->schedule, notes, problem))
		return false;
	if (zone_open(timezone ? timezone : mj_timezone, &timetable->zone, problem))
		return true;
	pfree(timetable->schedule);
	return false;
}

/*
 * The first due instant strictly later than "after", and later than fixed_after
 * of what goes by the hour and minute.  Returns false if there is none, or none
 * that a timestamptz can hold.
 */
bool
mj_timetable_next(MjTimetable *timetable, TimestampTz after, TimestampTz *next)
{
	int64 instant;

	if (!mj_cron_next_split(timetable->schedule, &timetable->zone,
							mj_zone_instant(Max(after, timetable->fixed_after)),
							mj_zone_instant(after), &instant))
		return false;
	*next = mj_zone_timestamptz(instant);
	return !TIMESTAMP_NOT_FINITE(*next);
}

/*
 * The next due instant of a stored schedule, without raising: a definition
 * that a later version or other zone data no longer understands is one job's
 * trouble, not its scheduler's.
 */
MjNext
mj_schedule_try_next(const char *schedule, const char *timezone,
					 TimestampTz after, TimestampTz *next, MjProblem *problem)
{
	MjTimetable timetable;
	bool found;

	if (!mj_timetable_open(&timetable, schedule, timezone, NULL, problem))
		return MJ_NEXT_INVALID;
	found = mj_timetable_next(&timetable, after, next);
	pfree(timetable.schedule);
	return found ? MJ_NEXT_FOUND : MJ_NEXT_NEVER;
}

/*
 * As mj_schedule_try_next: false is never.  Raises 22023 if schedule or zone
 * is not understood.
 */
bool
mj_schedule_next(const char *schedule, const char *timezone, TimestampTz after,
				 TimestampTz *next)
{
	MjProblem problem;
	MjNext result =
		mj_schedule_try_next(schedule, timezone, after, next, &problem);

	if (result == MJ_NEXT_INVALID)
		mj_schedule_raise(&problem);
	return result == MJ_NEXT_FOUND;
}

/* Sends what is worth knowing about an accepted schedule as NOTICEs. */
static void
notes_report(const MjCronNotes *notes)
{
	int i;

	for (i = 0; i < notes->count; i++)
	{
		const MjProblem *note = &notes->note[i];

		ereport(NOTICE,
				(errmsg("%s", note->message),
				 note->detail[0] ? errdetail("%s", note->detail) : 0,
				 note->hint[0] ? errhint("%s", note->hint) : 0));
	}
}

/* Tell (NOTICE) of a schedule whose last instant has passed. */
static void
report_never(const char *schedule, MjTimetable *timetable)
{
	TimestampTz next;

	if (!mj_timetable_next(timetable, mj_clock_now(), &next))
		ereport(NOTICE,
				(errmsg("schedule \"%s\" never fires again", schedule)));
}

/*
 * Refuse (22023) a schedule or zone that somebody gives for a job, and
 * tell him (NOTICE) what may not be what he thinks.  schedule may be NULL (on
 * demand); a zone is checked all the same.
 */
void
mj_schedule_check(const char *schedule, const char *timezone)
{
	MjTimetable timetable;
	MjCronNotes notes = { 0 };
	MjProblem problem;

	if (schedule == NULL)
	{
		if (!zone_open(timezone ? timezone : mj_timezone, &timetable.zone,
					   &problem))
			mj_schedule_raise(&problem);
		return;
	}
	if (!mj_timetable_open(&timetable, schedule, timezone, &notes, &problem))
		mj_schedule_raise(&problem);
	notes_report(&notes);
	if (notes.count == 0 && !mj_cron_is_reboot(timetable.schedule))
		report_never(schedule, &timetable);
}

/* As mj_timetable_open, but raises 22023.  Notes are dropped. */
void
mj_schedule_open(MjTimetable *timetable, const char *schedule,
				 const char *timezone)
{
	MjProblem problem;

	if (!mj_timetable_open(timetable, schedule, timezone, NULL, &problem))
		mj_schedule_raise(&problem);
}

/* Raise a problem of a pure module as 22023. */
void
mj_schedule_raise(const MjProblem *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem->message),
			 problem->detail[0] ? errdetail("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}

/* The length of an interval in microseconds, a month taken as 30 days. */
double
mj_interval_usecs(const Interval *interval)
{
	return (double) interval->time +
		((double) interval->day + 30.0 * interval->month) * USECS_PER_DAY;
}
