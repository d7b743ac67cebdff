/*-------------------------------------------------------------------------
 *
 * schedule.h
 *	  The timetable: what a job's schedule and time zone mean for PostgreSQL.
 *
 * Between the schedule language (cron.h) and timestamptz.  A time zone of
 * NULL means motionify_jobs.timezone.  Nothing here needs a transaction.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SCHEDULE_H
#define MJ_SCHEDULE_H

#include "cron.h"
#include "datatype/timestamp.h"

/* A schedule bound to a zone; in the memory context of the caller. */
typedef struct MjTimetable
{
	MjSchedule *schedule;
	MjZone zone;
	TimestampTz fixed_after; /* no instant of a fixed schedule up to here */
} MjTimetable;

/* What a look for the next instant comes to. */
typedef enum MjNext
{
	MJ_NEXT_FOUND,
	MJ_NEXT_NEVER,	/* no such instant will come */
	MJ_NEXT_INVALID /* schedule or zone not understood */
} MjNext;

/* soft: fill *problem instead of raising */
extern bool mj_timetable_open(MjTimetable *timetable, const char *schedule,
							  const char *timezone, MjCronNotes *notes,
							  MjProblem *problem);
extern bool mj_timetable_next(MjTimetable *timetable, TimestampTz after,
							  TimestampTz *next);
extern MjNext mj_schedule_try_next(const char *schedule, const char *timezone,
								   TimestampTz after, TimestampTz *next,
								   MjProblem *problem);

extern double mj_interval_usecs(const Interval *interval);

/* raise 22023 */
extern bool mj_schedule_next(const char *schedule, const char *timezone,
							 TimestampTz after, TimestampTz *next);
extern void mj_schedule_check(const char *schedule, const char *timezone);
extern void mj_schedule_open(MjTimetable *timetable, const char *schedule,
							 const char *timezone);
extern void mj_schedule_raise(const MjProblem *problem);

#endif /* MJ_SCHEDULE_H */
