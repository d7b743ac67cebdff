/*-------------------------------------------------------------------------
 *
 * cron_day.c
 *	  The day: civil calendar arithmetic, and which days of a month a
 *	  schedule means.
 *
 * Days are numbered from 1970-01-01, which is 0.  The calendar is the
 * proleptic Gregorian one.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

#include "port/pg_bitutils.h"

#define MJ_DAYS_PER_ERA 146097 /* 400 years */
#define MJ_DAYS_TO_1970 719468 /* from 0000-03-01 */

/* Bits d, d + 7, ... of a month for d = 1 */
#define MJ_EVERY_7TH_DAY ((uint32) 0x20408102)

/* Quotient rounded down, for divisor > 0. */
static inline int64
floor_div(int64 value, int64 divisor)
{
	return value / divisor - (value % divisor < 0 ? 1 : 0);
}

/*
 * The number of a civil day.  Years start in March here, so that the leap day
 * is the last one (the algorithm is Howard Hinnant's days_from_civil,
 * http://howardhinnant.github.io/date_algorithms.html).
 */
int64
mj_cron_day_number(int64 year, int month, int day)
{
	int64 y = month <= 2 ? year - 1 : year;
	int64 era = floor_div(y, 400);
	int year_of_era = (int) (y - era * 400);
	int day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
	int day_of_era;

	day_of_era =
		year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * MJ_DAYS_PER_ERA + day_of_era - MJ_DAYS_TO_1970;
}

/* The inverse of mj_cron_day_number() (civil_from_days of the same page). */
void
mj_cron_day_civil(int64 number, int64 *year, int *month, int *day)
{
	int64 era = floor_div(number + MJ_DAYS_TO_1970, MJ_DAYS_PER_ERA);
	int day_of_era;
	int year_of_era;
	int day_of_year;
	int march_month;

	day_of_era = (int) (number + MJ_DAYS_TO_1970 - era * MJ_DAYS_PER_ERA);
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
				   day_of_era / 146096) /
		365;
	day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	march_month = (5 * day_of_year + 2) / 153;

	*day = day_of_year - (153 * march_month + 2) / 5 + 1;
	*month = march_month < 10 ? march_month + 3 : march_month - 9;
	*year = era * 400 + year_of_era + (*month <= 2 ? 1 : 0);
}

/* The weekday of a day number, 0 = Sunday (1970-01-01 was a Thursday). */
int
mj_cron_day_weekday(int64 number)
{
	return (int) (number + 4 - 7 * floor_div(number + 4, 7));
}

/* How many days a month has. */
int
mj_cron_month_length(int64 year, int month)
{
	static const uint8 length[13] = { 0,  31, 28, 31, 30, 31, 30,
									  31, 31, 30, 31, 30, 31 };

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return length[month];
}

/*
 * The weekday (Monday to Friday) nearest to a day, as a bit, never across the
 * month's borders.
 */
static uint32
nearest_weekday(int day, int length, int first_weekday)
{
	int weekday = (first_weekday + day - 1) % 7;

	if (weekday == 6)
		day += day > 1 ? -1 : 2;
	else if (weekday == 0)
		day += day < length ? 1 : -2;
	return (uint32) 1 << day;
}

/* The days that the day-of-month field means in such a month. */
static uint32
days_by_number(const MjCronPart *part, int length, int first_weekday)
{
	uint32 in_month = (MJ_ALL_DAYS >> (31 - length)) & MJ_ALL_DAYS;
	uint32 near_days = part->near_days;
	uint32 days = part->days & in_month;

	if (part->days & 1)
		days |= (uint32) 1 << length;
	if (near_days == 0)
		return days;

	if (near_days & 1)
		days |= nearest_weekday(length, length, first_weekday);
	near_days &= in_month;
	while (near_days != 0)
	{
		days |= nearest_weekday(pg_rightmost_one_pos32(near_days), length,
								first_weekday);
		near_days &= near_days - 1;
	}
	return days;
}

/* The days that the day-of-week field means in such a month. */
static uint32
days_by_weekday(const MjCronPart *part, int length, int first_weekday)
{
	uint32 last_week = (uint32) 0x7F << (length - 6);

	return (part->weekday_days[first_weekday] |
			(part->last_days[first_weekday] & last_week)) &
		(MJ_ALL_DAYS >> (31 - length));
}

/*
 * The days (bits 1..31) on which a schedule of fields runs in a month of this
 * length whose 1st is this weekday.
 */
uint32
mj_cron_month_days(const MjCronPart *part, int length, int first_weekday)
{
	uint32 by_number = days_by_number(part, length, first_weekday);
	uint32 by_weekday = days_by_weekday(part, length, first_weekday);

	return part->either_day ? by_number | by_weekday : by_number & by_weekday;
}

/*
 * Whether no month ever has a day of the schedule.  Every month comes with
 * every length that it can have and every weekday on its 1st, so these few
 * cases are all there are.
 */
static bool
never_has_a_day(const MjCronPart *part)
{
	for (int month = 1; month <= 12; month++)
	{
		if ((part->months & (1 << month)) == 0)
			continue;
		for (int weekday = 0; weekday < 7; weekday++)
		{
			int length = mj_cron_month_length(2001, month);

			if (mj_cron_month_days(part, length, weekday) != 0)
				return false;
			if (month == 2 && mj_cron_month_days(part, 29, weekday) != 0)
				return false;
		}
	}
	return true;
}

/* The days of some weekdays in a month whose 1st is this weekday. */
static uint32
days_of_weekdays(uint8 weekdays, int first)
{
	uint32 days = 0;

	for (int weekday = 0; weekday < 7; weekday++)
	{
		if (weekdays & (1 << weekday))
			days |= MJ_EVERY_7TH_DAY << ((weekday - first + 7) % 7);
	}
	return days;
}

/* Fills in what follows from the sets of a schedule of fields. */
void
mj_cron_part_finish(MjCronPart *part)
{
	for (int first = 0; first < 7; first++)
	{
		uint32 days = days_of_weekdays(part->weekdays, first);

		for (int nth = 0; nth < 5; nth++)
			days |= days_of_weekdays(part->nth_weekdays[nth], first) &
				((uint32) 0xFE << (7 * nth));
		part->weekday_days[first] = days;
		part->last_days[first] = days_of_weekdays(part->last_weekdays, first);
	}
	part->never = never_has_a_day(part);
}
