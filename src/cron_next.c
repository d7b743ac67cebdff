/*-------------------------------------------------------------------------
 *
 * cron_next.c
 *	  The next instant of a schedule.
 *
 * A schedule of fields speaks of the wall clock.  The search walks the
 * stretches of constant offset of the zone, and in each of them the calendar,
 * with bit masks, a month at a time.
 *
 * Rules where the zone's offset changes (those of Vixie's cron).  A change of
 * up to three hours: a fixed schedule whose wall clock time is skipped runs
 * once, at the first instant after the gap, and where the wall clock is set
 * back it runs in the first pass only; a wildcard schedule follows the wall
 * clock.  A larger change is a change of calendar: the wall clock counts.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

#include "common/int.h"
#include "port/pg_bitutils.h"

/* The largest change of an offset that is made up for, in seconds */
#define MJ_CRON_SMALL_SHIFT (3 * 3600)

/*
 * How far ahead of its start a search looks.  The calendar alone needs at
 * most 40 years (a weekday on 29 February around 2100); the rest is for times
 * that a change of offset skips.
 */
#define MJ_CRON_HORIZON (50 * 366 * MJ_SECS_PER_DAY)

/* More than any offset of a zone can be, in seconds */
#define MJ_CRON_MAX_OFFSET (26 * 3600)

/* More than three times that */
#define MJ_CRON_FAR (4 * MJ_SECS_PER_DAY)

/* A stretch of constant offset.  UTC seconds. */
typedef struct MjStretch
{
	int64 start;
	int64 end;	  /* first second after it, or PG_INT64_MAX */
	int32 offset; /* seconds east of UTC */
	int32 shift;  /* against the stretch before; 0 for a walk's first */
} MjStretch;

/* Quotient rounded down, for divisor > 0. */
static inline int64
floor_div(int64 value, int64 divisor)
{
	return value / divisor - (value % divisor < 0 ? 1 : 0);
}

/* Makes sure that the zone's last answer covers the UTC second "at". */
static void
zone_look_up(MjZone *zone, int64 at)
{
	if (zone->known && at >= zone->known_from && at < zone->known_to)
		return;
	if (!zone->change(zone, at, &zone->known_to, &zone->known_before,
					  &zone->known_after))
	{
		zone->known_to = PG_INT64_MAX;
		zone->known_after = zone->known_before;
	}
	zone->known_from = at;
	zone->known = true;
}

/* The stretch that covers "at", as far as it is after it. */
static MjStretch
stretch_at(MjZone *zone, int64 at)
{
	MjStretch stretch;

	zone_look_up(zone, at);
	stretch.start = at;
	stretch.end = zone->known_to;
	stretch.offset = zone->known_before;
	stretch.shift = 0;
	return stretch;
}

/* The stretch after this one, which must have an end. */
static MjStretch
stretch_after(MjZone *zone, const MjStretch *stretch)
{
	MjStretch following = stretch_at(zone, stretch->end);

	following.shift = following.offset - stretch->offset;
	return following;
}

/*
 * The first time of day (seconds since midnight) of the schedule at or after
 * this one, or -1 if the day has none any more.
 */
static int
next_time_of_day(const MjCronPart *part, int from)
{
	int hour = from / 3600;
	int minute = from / 60 % 60;
	uint64 seconds = part->seconds >> (from % 60);
	uint64 minutes;
	uint32 hours;

	if ((part->hours >> hour) & 1)
	{
		if (((part->minutes >> minute) & 1) && seconds != 0)
			return from + pg_rightmost_one_pos64(seconds);
		minutes = minute < 59 ? part->minutes >> (minute + 1) : 0;
		if (minutes != 0)
		{
			minute += 1 + pg_rightmost_one_pos64(minutes);
			return hour * 3600 + minute * 60 +
				pg_rightmost_one_pos64(part->seconds);
		}
	}
	hours = part->hours >> (hour + 1);
	if (hours == 0)
		return -1;
	hour += 1 + pg_rightmost_one_pos32(hours);
	return hour * 3600 + pg_rightmost_one_pos64(part->minutes) * 60 +
		pg_rightmost_one_pos64(part->seconds);
}

/*
 * The first day of the schedule at or after this one, up to "until" or at
 * most the rest of a month after it; false if there is none.  Day numbers.
 */
static bool
next_day(const MjCronPart *part, int64 from, int64 until, int64 *found)
{
	int64 year;
	int month;
	int day;
	int64 first; /* day number of the month's 1st */

	mj_cron_day_civil(from, &year, &month, &day);
	first = from - (day - 1);
	while (first <= until)
	{
		uint32 days = 0;
		uint32 later = part->months >> (month + 1);

		if ((part->months >> month) & 1)
			days = mj_cron_month_days(part, mj_cron_month_length(year, month),
									  mj_cron_day_weekday(first)) >>
				day;
		if (days != 0)
		{
			*found = first + day - 1 + pg_rightmost_one_pos32(days);
			return true;
		}
		if (later != 0)
			month += 1 + pg_rightmost_one_pos32(later);
		else
		{
			month = pg_rightmost_one_pos32(part->months);
			year++;
		}
		day = 1;
		first = mj_cron_day_number(year, month, 1);
	}
	return false;
}

/*
 * The first wall clock second of the schedule at or after this one, not much
 * later than "until"; PG_INT64_MAX if there is none.
 */
static int64
next_wall_clock(const MjCronPart *part, int64 from, int64 until)
{
	int64 day = floor_div(from, MJ_SECS_PER_DAY);
	int64 last = floor_div(until, MJ_SECS_PER_DAY);
	int64 found;
	int time;

	if (!next_day(part, day, last, &found))
		return PG_INT64_MAX;
	if (found == day)
	{
		time = next_time_of_day(part, (int) (from - day * MJ_SECS_PER_DAY));
		if (time >= 0)
			return day * MJ_SECS_PER_DAY + time;
		if (!next_day(part, day + 1, last, &found))
			return PG_INT64_MAX;
	}
	return found * MJ_SECS_PER_DAY + next_time_of_day(part, 0);
}

/* Whether a change of offset is one that fixed schedules make up for. */
static inline bool
is_small(int32 shift)
{
	return shift >= -MJ_CRON_SMALL_SHIFT && shift <= MJ_CRON_SMALL_SHIFT;
}

/*
 * Whether a fixed schedule has a wall clock time that the beginning of this
 * stretch skips and that is to be made up for.
 */
static bool
makes_up(const MjCronPart *part, const MjStretch *stretch, int64 until)
{
	int64 opening = stretch->start + stretch->offset;

	return !part->wildcard && stretch->shift > 0 && is_small(stretch->shift) &&
		next_wall_clock(part, opening - stretch->shift, until) < opening;
}

/*
 * The first UTC second at or after "first" that counts in this stretch: for a
 * fixed schedule not one of a second pass.
 */
static int64
first_of_stretch(const MjCronPart *part, const MjStretch *stretch, int64 first)
{
	int64 start = stretch->start;

	if (!part->wildcard && stretch->shift < 0 && is_small(stretch->shift))
		start -= stretch->shift;
	return Max(first, start);
}

/*
 * The first UTC second of a schedule of fields at or after "first".  Starts
 * early enough to see a change of offset whose second pass lasts until then.
 *
 * Where the calendar's next time is far, the stretches in between are jumped
 * over: their wall clock times have been searched already, because no change
 * of offset turns the clock back by MJ_CRON_FAR.
 */
static bool
next_of_fields(const MjCronPart *part, MjZone *zone, int64 first, int64 *next)
{
	int64 until = first + MJ_CRON_HORIZON;
	MjStretch stretch = stretch_at(zone, first - MJ_CRON_SMALL_SHIFT);

	while (!part->never && stretch.start <= until)
	{
		int64 begin = first_of_stretch(part, &stretch, first);
		int64 wall;
		bool far;

		if (stretch.start >= first && makes_up(part, &stretch, until))
		{
			*next = stretch.start;
			return true;
		}
		wall = next_wall_clock(part, begin + stretch.offset, until);
		if (wall != PG_INT64_MAX && wall - stretch.offset < stretch.end)
		{
			*next = wall - stretch.offset;
			return true;
		}
		if (stretch.end == PG_INT64_MAX)
			return false;
		far = stretch.end - begin > MJ_CRON_FAR;
		if (far && wall == PG_INT64_MAX)
			return false;
		if (far && wall - MJ_CRON_FAR > stretch.end)
			stretch = stretch_at(zone, wall - MJ_CRON_FAR);
		else
			stretch = stretch_after(zone, &stretch);
	}
	return false;
}

/* The next instant of an @every: the grid's next line. */
static bool
next_of_every(const MjCronPart *part, int64 anchor, int64 after, int64 *next)
{
	int64 since;
	int64 past; /* how far "after" is past a line of the grid */

	/* far from the anchor the difference may not fit; remainders do */
	since = after % part->interval - anchor % part->interval;
	past = since % part->interval;
	if (past < 0)
		past += part->interval;
	return !pg_add_s64_overflow(after, part->interval - past, next);
}

/*
 * The instant of an @at: the first whose wall clock shows that time, or a
 * later one if the zone skips it.
 */
static int64
instant_of_at(const MjCronPart *part, MjZone *zone)
{
	int64 wall = floor_div(part->at, MJ_USECS_PER_SEC);
	int64 fraction = part->at - wall * MJ_USECS_PER_SEC;
	MjStretch stretch;

	if (!part->at_local)
		return part->at;
	stretch = stretch_at(zone, wall - MJ_CRON_MAX_OFFSET);
	while (stretch.end != PG_INT64_MAX && wall - stretch.offset >= stretch.end)
		stretch = stretch_after(zone, &stretch);
	if (wall - stretch.offset < stretch.start)
		return stretch.start * MJ_USECS_PER_SEC;
	return (wall - stretch.offset) * MJ_USECS_PER_SEC + fraction;
}

/* The next instant of one schedule of a list. */
static bool
next_of_part(const MjCronPart *part, MjZone *zone, int64 anchor, int64 after,
			 int64 *next)
{
	int64 first = floor_div(after, MJ_USECS_PER_SEC) + 1;

	switch (part->kind)
	{
		case MJ_CRON_FIELDS:
			return next_of_fields(part, zone, first, &first) &&
				!pg_mul_s64_overflow(first, MJ_USECS_PER_SEC, next);
		case MJ_CRON_EVERY:
			return next_of_every(part, anchor, after, next);
		case MJ_CRON_AT:
			*next = instant_of_at(part, zone);
			return *next > after;
		case MJ_CRON_REBOOT:
			break;
	}
	return false;
}

/* Whether a part follows the clock rather than waiting for its wall time. */
static bool
part_is_wildcard(const MjCronPart *part)
{
	return part->kind == MJ_CRON_EVERY ||
		(part->kind == MJ_CRON_FIELDS && part->wildcard);
}

/*
 * The earliest instant of the list, strictly later than fixed_after for its
 * fixed schedules and than wildcard_after for its wildcard ones (an @every is
 * one of these).  When the clock was set back by up to three hours,
 * fixed_after is the latest time that it had shown, and wildcard_after the
 * time that it shows now.  False if there is none.
 */
bool
mj_cron_next_split(const MjSchedule *schedule, MjZone *zone, int64 fixed_after,
				   int64 wildcard_after, int64 *next)
{
	bool found = false;

	for (int i = 0; i < schedule->nparts; i++)
	{
		const MjCronPart *part = &schedule->parts[i];
		int64 after = part_is_wildcard(part) ? wildcard_after : fixed_after;
		int64 instant;

		if (!next_of_part(part, zone, schedule->anchor, after, &instant))
			continue;
		if (!found || instant < *next)
			*next = instant;
		found = true;
	}
	return found;
}

/*
 * The earliest instant of the list that is strictly later than "after"; false
 * if there is none: it never fires, not within fifty years, or only at
 * the server's start.  Allocates nothing, raises nothing.
 */
bool
mj_cron_next(const MjSchedule *schedule, MjZone *zone, int64 after, int64 *next)
{
	return mj_cron_next_split(schedule, zone, after, after, next);
}

/* Whether some schedule of the list goes on at once on a clock set back. */
bool
mj_cron_is_wildcard(const MjSchedule *schedule)
{
	for (int i = 0; i < schedule->nparts; i++)
	{
		if (part_is_wildcard(&schedule->parts[i]))
			return true;
	}
	return false;
}

/* Whether some schedule of the list waits for its stored instant then. */
bool
mj_cron_is_fixed(const MjSchedule *schedule)
{
	for (int i = 0; i < schedule->nparts; i++)
	{
		const MjCronPart *part = &schedule->parts[i];

		if (part->kind != MJ_CRON_REBOOT && !part_is_wildcard(part))
			return true;
	}
	return false;
}

/* Whether the list asks for a run after each start of the server. */
bool
mj_cron_is_reboot(const MjSchedule *schedule)
{
	for (int i = 0; i < schedule->nparts; i++)
	{
		if (schedule->parts[i].kind == MJ_CRON_REBOOT)
			return true;
	}
	return false;
}
