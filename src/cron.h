/*-------------------------------------------------------------------------
 *
 * cron.h
 *	  The schedule: its language, its next instant, its plain words.
 *
 * All instants are microseconds since 1970-01-01 00:00 UTC.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CRON_H
#define MJ_CRON_H

#include "pure.h"

/* Bounds of what is accepted, so that any input costs a bounded time */
#define MJ_CRON_MAX_TEXT 2048 /* bytes of a whole list */
#define MJ_CRON_MAX_PARTS 16  /* schedules in one list */
#define MJ_CRON_MAX_NOTES 8	  /* further notes are dropped */

/*
 * A time zone, seen as stretches of constant offset.  The server binds it to
 * PostgreSQL's zone library (zone.h), the unit tests to the system's.
 *
 * change(): the offset (seconds east of UTC) in force at the UTC second "at",
 * and the next change strictly after it: returns true and sets when (UTC
 * second), before and after; or returns false, with only before set, if the
 * zone never changes again.  before may equal after (a mere change of
 * abbreviation).
 *
 * Fill change and data, zero the rest: it is the memory of the last answer,
 * which makes a zone unfit for use by two threads at once.
 */
typedef struct MjZone
{
	bool (*change)(const struct MjZone *zone, int64 at, int64 *when,
				   int32 *before, int32 *after);
	const void *data; /* belongs to the callback */

	/* the last answer: it holds for every second in [known_from, known_to) */
	bool known;
	int64 known_from;
	int64 known_to; /* PG_INT64_MAX if there is no next change */
	int32 known_before;
	int32 known_after;
} MjZone;

typedef enum MjCronKind
{
	MJ_CRON_FIELDS, /* five or six fields, or a nickname */
	MJ_CRON_EVERY,	/* @every: a grid of instants */
	MJ_CRON_AT,		/* @at: one instant */
	MJ_CRON_REBOOT	/* @reboot: none that a clock can tell */
} MjCronKind;

/*
 * One schedule of a list.  Sets are bit masks: bit v is the value v; weekday
 * 0 is Sunday.  Read only outside of the cron files.
 */
typedef struct MjCronPart
{
	MjCronKind kind;

	/* MJ_CRON_FIELDS */
	bool wildcard;		   /* minute or hour field starts with '*' */
	bool either_day;	   /* day of month OR day of week; else AND */
	bool never;			   /* no month has such a day */
	uint64 seconds;		   /* bits 0..59; only bit 0 for five fields */
	uint64 minutes;		   /* bits 0..59 */
	uint32 hours;		   /* bits 0..23 */
	uint32 months;		   /* bits 1..12 */
	uint32 days;		   /* bits 1..31; bit 0: the last day */
	uint32 near_days;	   /* nW: bits 1..31; bit 0: LW */
	uint8 weekdays;		   /* bits 0..6 */
	uint8 last_weekdays;   /* nL: bits 0..6 */
	uint8 nth_weekdays[5]; /* n#1 .. n#5: bits 0..6 each */

	/*
	 * What follows from these, by the weekday of a month's 1st: the days (bits
	 * 1..31) of weekdays and nth_weekdays; those of last_weekdays in any week.
	 */
	uint32 weekday_days[7];
	uint32 last_days[7];

	/* MJ_CRON_EVERY: microseconds, > 0 */
	int64 interval;

	/* MJ_CRON_AT */
	int64 at;	   /* instant; or wall clock, as if it were UTC */
	bool at_local; /* at is the wall clock of the job's zone */
} MjCronPart;

/* A parsed list; one palloc'ed chunk, to be freed with pfree(). */
typedef struct MjSchedule
{
	int64 anchor; /* what @every counts from; parsed as 0, may be set */
	int nparts;
	MjCronPart parts[FLEXIBLE_ARRAY_MEMBER];
} MjSchedule;

/* What is worth a NOTICE about an accepted schedule. */
typedef struct MjCronNotes
{
	int count;
	MjProblem note[MJ_CRON_MAX_NOTES];
} MjCronNotes;

extern bool mj_cron_parse(const char *text, MjSchedule **out,
						  MjCronNotes *notes, MjProblem *problem);

extern bool mj_cron_next(const MjSchedule *schedule, MjZone *zone, int64 after,
						 int64 *next);
extern bool mj_cron_next_split(const MjSchedule *schedule, MjZone *zone,
							   int64 fixed_after, int64 wildcard_after,
							   int64 *next);

extern bool mj_cron_is_wildcard(const MjSchedule *schedule);
extern bool mj_cron_is_fixed(const MjSchedule *schedule);
extern bool mj_cron_is_reboot(const MjSchedule *schedule);

extern void mj_cron_describe(const MjSchedule *schedule, StringInfo out);

#endif /* MJ_CRON_H */
