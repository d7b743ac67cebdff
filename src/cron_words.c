/*-------------------------------------------------------------------------
 *
 * cron_words.c
 *	  The schedule in plain English words.
 *
 * The words are made from the sets, not from the text, so that they say what
 * will happen.  Common shapes get the words a person would use; everything
 * else is listed.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

#include "port/pg_bitutils.h"

/* A time phrase lists up to this many times of day */
#define MJ_MAX_LISTED_TIMES 6

static const char *const weekday_names[] = { "Sunday",	  "Monday",	  "Tuesday",
											 "Wednesday", "Thursday", "Friday",
											 "Saturday" };

static const char *const month_names[] = {
	"",		"January", "February",	"March",   "April",	   "May",	  "June",
	"July", "August",  "September", "October", "November", "December"
};

/* Writes one value of a set. */
typedef void (*MjWriteValue)(StringInfo out, int value);

/* How the values of a set lie: low, low + step, ... high, or unevenly. */
typedef struct MjShape
{
	int count;
	int low;
	int high;
	int step; /* 0: not evenly; 1 for a single value */
} MjShape;

/* The shape of a non-empty set. */
static MjShape
shape_of(uint64 set)
{
	MjShape shape;
	int previous;

	shape.count = pg_popcount64(set);
	shape.low = pg_rightmost_one_pos64(set);
	shape.high = pg_leftmost_one_pos64(set);
	shape.step =
		shape.count == 1 ? 1 : (shape.high - shape.low) / (shape.count - 1);
	previous = shape.low;
	for (int value = shape.low + 1; value <= shape.high; value++)
	{
		if (((set >> value) & 1) == 0)
			continue;
		if (value - previous != shape.step)
			shape.step = 0;
		previous = value;
	}
	return shape;
}

/* Whether the set is 0, step, 2 * step, ... all around a cycle of that size. */
static bool
goes_around(const MjShape *shape, int size)
{
	return shape->low == 0 && shape->count > 1 &&
		shape->step * shape->count == size;
}

static void
write_number(StringInfo out, int value)
{
	appendStringInfo(out, "%d", value);
}

static void
write_weekday(StringInfo out, int value)
{
	/* a set of weekdays holds Sunday as 7 where that reads better */
	appendStringInfoString(out, weekday_names[value % 7]);
}

static void
write_month(StringInfo out, int value)
{
	appendStringInfoString(out, month_names[value]);
}

/* Writes what stands between two of a list's items. */
static void
write_comma(StringInfo out, int done, int total)
{
	if (done > 0)
		appendStringInfoString(out, done == total - 1 ? " and " : ", ");
}

/*
 * Takes the set's first run of values off it: its first and last one.  Two
 * values are not a run.
 */
static int
take_run(uint64 *set, int *last)
{
	int first = pg_rightmost_one_pos64(*set);
	uint64 gap = ~(*set >> first);

	*last = first + pg_rightmost_one_pos64(gap) - 1;
	if (*last < first + 2)
		*last = first;
	for (int value = first; value <= *last; value++)
		*set &= ~(UINT64CONST(1) << value);
	return first;
}

/* How many items write_set() makes of a set. */
static int
count_runs(uint64 set)
{
	int count = 0;
	int last;

	for (; set != 0; count++)
		take_run(&set, &last);
	return count;
}

/*
 * Writes a set's items, "1, 3 to 5 and 9", as part of a list of that many
 * items of which *done are written.
 */
static void
write_items(StringInfo out, uint64 set, MjWriteValue write, int *done,
			int total)
{
	while (set != 0)
	{
		int last;
		int first = take_run(&set, &last);

		write_comma(out, (*done)++, total);
		write(out, first);
		if (last > first)
		{
			appendStringInfoString(out, " to ");
			write(out, last);
		}
	}
}

/* Writes a non-empty set, "1, 3 to 5 and 9" or "0 to 56 in steps of 7". */
static void
write_set(StringInfo out, uint64 set, MjWriteValue write)
{
	MjShape shape = shape_of(set);
	int done = 0;

	if (shape.count < 5 || shape.step < 2)
	{
		write_items(out, set, write, &done, count_runs(set));
		return;
	}
	write(out, shape.low);
	appendStringInfoString(out, " to ");
	write(out, shape.high);
	appendStringInfo(out, " in steps of %d", shape.step);
}

/* Writes "minute 5" or "minutes 5 and 10". */
static void
write_counted(StringInfo out, const char *noun, uint64 set)
{
	appendStringInfo(out, "%s%s ", noun, pg_popcount64(set) > 1 ? "s" : "");
	write_set(out, set, write_number);
}

/* Writes a time of day, with seconds if they are not zero. */
static void
write_time(StringInfo out, int hour, int minute, int second)
{
	appendStringInfo(out, "%02d:%02d", hour, minute);
	if (second != 0)
		appendStringInfo(out, ":%02d", second);
}

/*
 * Writes "at 09:00, 12:00 and 18:00" if the times of day are few; false, and
 * nothing written, if not.
 */
static bool
write_few_times(StringInfo out, const MjCronPart *part)
{
	int total = pg_popcount64(part->minutes) * pg_popcount32(part->hours);
	int done = 0;

	if (total > MJ_MAX_LISTED_TIMES || pg_popcount64(part->seconds) > 1)
		return false;
	appendStringInfoString(out, "at ");
	for (int hour = 0; hour < 24; hour++)
	{
		for (int minute = 0; minute < 60; minute++)
		{
			if (((part->hours >> hour) & 1) == 0 ||
				((part->minutes >> minute) & 1) == 0)
				continue;
			write_comma(out, done++, total);
			write_time(out, hour, minute,
					   pg_rightmost_one_pos64(part->seconds));
		}
	}
	return true;
}

/* Writes " of every hour" or " of hours 9 to 17". */
static void
write_of_hours(StringInfo out, uint32 hours)
{
	appendStringInfoString(out, " of ");
	if (hours == MJ_ALL_HOURS)
		appendStringInfoString(out, "every hour");
	else
		write_counted(out, "hour", hours);
}

/*
 * Writes " from 09:00 to 17:45", the first and the last time of an unbroken
 * stretch of hours; nothing if it is all day.
 */
static void
write_from_to(StringInfo out, const MjShape *hours, const MjShape *minutes)
{
	if (hours->count == 24)
		return;
	appendStringInfoString(out, " from ");
	write_time(out, hours->low, minutes->low, 0);
	appendStringInfoString(out, " to ");
	write_time(out, hours->high, minutes->high, 0);
}

/* Writes "every hour", "every 2 hours", "every hour from 09:30 to 17:30". */
static bool
write_hourly(StringInfo out, const MjShape *hours, const MjShape *minutes)
{
	if (minutes->count > 1)
		return false;
	if (hours->count == 24 && minutes->low > 0)
		appendStringInfo(out, "at minute %d of every hour", minutes->low);
	else if (hours->step == 1)
	{
		appendStringInfoString(out, "every hour");
		write_from_to(out, hours, minutes);
	}
	else if (goes_around(hours, 24))
	{
		appendStringInfo(out, "every %d hours", hours->step);
		if (minutes->low > 0)
		{
			appendStringInfoString(out, " from ");
			write_time(out, 0, minutes->low, 0);
		}
	}
	else
		return false;
	return true;
}

/* Writes "every minute", "every 5 minutes from 09:00 to 17:55". */
static bool
write_minutely(StringInfo out, const MjShape *hours, const MjShape *minutes)
{
	if (!goes_around(minutes, 60) || hours->step != 1)
		return false;
	if (minutes->step == 1)
		appendStringInfoString(out, "every minute");
	else
		appendStringInfo(out, "every %d minutes", minutes->step);
	write_from_to(out, hours, minutes);
	return true;
}

/*
 * Writes which minutes of which hours, for schedules with many times a day,
 * seconds apart.
 */
static void
write_minutes(StringInfo out, const MjCronPart *part)
{
	MjShape hours = shape_of(part->hours);
	MjShape minutes = shape_of(part->minutes);

	if (write_minutely(out, &hours, &minutes) ||
		write_hourly(out, &hours, &minutes))
		return;
	if (minutes.count == 60)
		appendStringInfoString(out, "every minute");
	else
	{
		appendStringInfoString(out, "at ");
		write_counted(out, "minute", part->minutes);
	}
	write_of_hours(out, part->hours);
}

/* Writes which seconds of which minutes of which hours. */
static void
write_seconds(StringInfo out, const MjCronPart *part)
{
	MjShape seconds = shape_of(part->seconds);
	MjShape minutes = shape_of(part->minutes);
	bool all_day = minutes.count == 60 && part->hours == MJ_ALL_HOURS;

	if (goes_around(&seconds, 60))
	{
		if (seconds.step == 1)
			appendStringInfoString(out, "every second");
		else
			appendStringInfo(out, "every %d seconds", seconds.step);
		if (all_day)
			return;
	}
	else
	{
		appendStringInfoString(out, "at ");
		write_counted(out, "second", part->seconds);
	}
	appendStringInfoString(out, " of ");
	if (minutes.count == 60)
		appendStringInfoString(out, "every minute");
	else
		write_counted(out, "minute", part->minutes);
	if (!all_day)
		write_of_hours(out, part->hours);
}

/* Writes the part's times of day; true if they are listed one by one. */
static bool
write_times(StringInfo out, const MjCronPart *part)
{
	if (write_few_times(out, part))
		return true;
	if (part->seconds == 1)
		write_minutes(out, part);
	else
		write_seconds(out, part);
	return false;
}

/* Writes " of the month", or of which months. */
static void
write_of_months(StringInfo out, const MjCronPart *part)
{
	if (part->months == MJ_ALL_MONTHS)
		appendStringInfoString(out, " of the month");
	else
	{
		appendStringInfoString(out, " of ");
		write_set(out, part->months, write_month);
	}
}

/* Writes " in March", if not in every month. */
static void
write_in_months(StringInfo out, const MjCronPart *part)
{
	if (part->months == MJ_ALL_MONTHS)
		return;
	appendStringInfoString(out, " in ");
	write_set(out, part->months, write_month);
}

/* Writes the weekdays nearest to some days, but for the last one's. */
static void
write_near_days(StringInfo out, const MjCronPart *part, int *done, int total)
{
	for (int day = 1; day <= 31; day++)
	{
		if (((part->near_days >> day) & 1) == 0)
			continue;
		write_comma(out, (*done)++, total);
		appendStringInfo(out, "the weekday nearest day %d", day);
	}
}

/* Writes "day 1, the last weekday and the last day of the month". */
static void
write_days(StringInfo out, const MjCronPart *part)
{
	uint32 days = part->days & MJ_ALL_DAYS;
	MjShape shape = shape_of(days != 0 ? days : 1);
	bool stepped = shape.count >= 5 && shape.step > 1;
	int total;
	int done = 0;

	total = (stepped ? 1 : count_runs(days)) + pg_popcount32(part->near_days) +
		(part->days & 1);
	if (days != 0)
	{
		appendStringInfoString(out, shape.count > 1 ? "days " : "day ");
		if (stepped)
		{
			write_set(out, days, write_number);
			done++;
		}
		else
			write_items(out, days, write_number, &done, total);
	}
	write_near_days(out, part, &done, total);
	if (part->near_days & 1)
	{
		write_comma(out, done++, total);
		appendStringInfoString(out, "the last weekday");
	}
	if (part->days & 1)
	{
		write_comma(out, done++, total);
		appendStringInfoString(out, "the last day");
	}
	write_of_months(out, part);
}

/* Writes "the second Monday" and the like of one number in the month. */
static void
write_ordinal(StringInfo out, const char *ordinal, uint8 weekdays, int *done,
			  int total)
{
	for (int weekday = 0; weekday < 7; weekday++)
	{
		if (((weekdays >> weekday) & 1) == 0)
			continue;
		write_comma(out, (*done)++, total);
		appendStringInfo(out, "the %s %s", ordinal, weekday_names[weekday]);
	}
}

/* How many ordinal weekdays ("the last Friday") the part names. */
static int
count_ordinals(const MjCronPart *part)
{
	int count = pg_popcount32(part->last_weekdays);

	for (int nth = 0; nth < 5; nth++)
		count += pg_popcount32(part->nth_weekdays[nth]);
	return count;
}

/*
 * The weekdays as a set to be listed from Monday on, with Sunday as 7, unless
 * that breaks a run which begins with Sunday.
 */
static uint32
weekdays_to_list(uint8 weekdays)
{
	if ((weekdays & 1) && ((weekdays & 2) == 0 || (weekdays & 0x40)))
		return (weekdays & ~1u) | 0x80;
	return weekdays;
}

/* Writes "Monday to Friday", "the second Monday of the month". */
static void
write_weekdays(StringInfo out, const MjCronPart *part)
{
	static const char *const ordinals[] = { "first", "second", "third",
											"fourth", "fifth" };
	uint32 weekdays = weekdays_to_list(part->weekdays);
	int runs = count_runs(weekdays);
	int total = runs + count_ordinals(part);
	int done = 0;

	write_items(out, weekdays, write_weekday, &done, total);
	for (int nth = 0; nth < 5; nth++)
		write_ordinal(out, ordinals[nth], part->nth_weekdays[nth], &done,
					  total);
	write_ordinal(out, "last", part->last_weekdays, &done, total);
	if (total > runs)
		write_of_months(out, part);
	else
		write_in_months(out, part);
}

/*
 * Writes on which days the part runs, if not on all.  daily: say so if it is
 * every day.
 */
static void
write_which_days(StringInfo out, const MjCronPart *part, bool daily)
{
	bool all_numbers = (part->days & MJ_ALL_DAYS) == MJ_ALL_DAYS;
	bool all_weekdays = part->weekdays == MJ_ALL_WEEKDAYS;
	bool every_day = part->either_day ? all_numbers || all_weekdays :
										all_numbers && all_weekdays;

	if (every_day)
	{
		if (daily && part->months == MJ_ALL_MONTHS)
			appendStringInfoString(out, " every day");
		write_in_months(out, part);
		return;
	}
	appendStringInfoString(out, " on ");
	if (part->either_day || all_weekdays)
		write_days(out, part);
	if (part->either_day)
		appendStringInfoString(out, " or on ");
	if (part->either_day || all_numbers)
		write_weekdays(out, part);
	if (!part->either_day && !all_weekdays && !all_numbers)
	{
		write_days(out, part);
		appendStringInfoString(out, ", but only on ");
		write_weekdays(out, part);
	}
}

/* Writes an interval in its largest units. */
static void
write_interval(StringInfo out, int64 usecs)
{
	static const struct
	{
		int64 usecs;
		const char *name;
	} units[] = { { MJ_SECS_PER_DAY * MJ_USECS_PER_SEC, "day" },
				  { 3600 * MJ_USECS_PER_SEC, "hour" },
				  { 60 * MJ_USECS_PER_SEC, "minute" },
				  { MJ_USECS_PER_SEC, "second" },
				  { 1000, "millisecond" },
				  { 1, "microsecond" } };
	bool written = false;

	appendStringInfoString(out, "every");
	for (int i = 0; i < (int) lengthof(units); i++)
	{
		int64 count = usecs / units[i].usecs;
		bool alone = usecs == units[i].usecs;

		if (count == 0)
			continue;
		/* a round of 24 hours is not every calendar day */
		if (alone && i == 0)
			appendStringInfoString(out, " 24 hours");
		else if (alone && !written)
			appendStringInfo(out, " %s", units[i].name);
		else
			appendStringInfo(out, " " INT64_FORMAT " %s%s", count,
							 units[i].name, count > 1 ? "s" : "");
		usecs -= count * units[i].usecs;
		written = true;
	}
}

/* Writes the time of an @at. */
static void
write_moment(StringInfo out, const MjCronPart *part)
{
	int64 seconds = part->at / MJ_USECS_PER_SEC;
	int64 fraction = part->at % MJ_USECS_PER_SEC;
	int64 day_number;
	int64 year;
	int month;
	int day;
	int time;

	if (fraction < 0)
	{
		fraction += MJ_USECS_PER_SEC;
		seconds--;
	}
	day_number = seconds / MJ_SECS_PER_DAY - (seconds % MJ_SECS_PER_DAY < 0);
	time = (int) (seconds - day_number * MJ_SECS_PER_DAY);
	mj_cron_day_civil(day_number, &year, &month, &day);
	appendStringInfo(out, "once at %04d-%02d-%02d %02d:%02d:%02d", (int) year,
					 month, day, time / 3600, time / 60 % 60, time % 60);
	if (fraction != 0)
		appendStringInfo(out, ".%06d", (int) fraction);
	if (!part->at_local)
		appendStringInfoString(out, " UTC");
}

/* Writes one schedule of a list. */
void
mj_cron_describe_part(const MjCronPart *part, StringInfo out)
{
	switch (part->kind)
	{
		case MJ_CRON_FIELDS:
			write_which_days(out, part, write_times(out, part));
			if (part->never)
				appendStringInfoString(out, ", which never comes");
			break;
		case MJ_CRON_EVERY:
			write_interval(out, part->interval);
			break;
		case MJ_CRON_AT:
			write_moment(out, part);
			break;
		case MJ_CRON_REBOOT:
			appendStringInfoString(out, "once after each start of the server");
			break;
	}
}

/*
 * Appends the schedule in plain words, such as "at 04:10 on Sunday", to out.
 */
void
mj_cron_describe(const MjSchedule *schedule, StringInfo out)
{
	for (int i = 0; i < schedule->nparts; i++)
	{
		if (i > 0)
			appendStringInfoString(out, "; and ");
		mj_cron_describe_part(&schedule->parts[i], out);
	}
}
