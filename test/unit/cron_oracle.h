/*-------------------------------------------------------------------------
 *
 * cron_oracle.h
 *	  A slow second opinion on schedules: reads the fields in its own way and
 *	  lives through every minute (or second) as a cron daemon does, with a
 *	  virtual clock that lags behind or is pushed on where the wall clock
 *	  jumps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CRON_ORACLE_H
#define MJ_CRON_ORACLE_H

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cron.h"

#define ORACLE_MAX_JUMP (3 * 3600)

typedef struct Oracle
{
	char field[6][128]; /* second, minute, ... day of week */
	bool fixed;
	bool second[60];
	bool minute[60];
	bool hour[24];
	int64 day; /* the day that day_matches is about */
	bool day_matches;
} Oracle;

/* A number, or a name by its first three letters. */
static int
oracle_value(const char *text)
{
	static const char *const names[] = { "sun", "mon", "tue", "wed", "thu",
										 "fri", "sat", "jan", "feb", "mar",
										 "apr", "may", "jun", "jul", "aug",
										 "sep", "oct", "nov", "dec" };

	if (isdigit((unsigned char) text[0]))
		return atoi(text);
	for (int i = 0; i < 19; i++)
	{
		if (strncasecmp(text, names[i], 3) == 0)
			return i < 7 ? i : i - 6;
	}
	abort();
}

/* Whether an item ("*", "5", "1-7/2") holds the value. */
static bool
oracle_item(const char *item, int value, int min, int max)
{
	const char *slash = strchr(item, '/');
	const char *dash = strchr(item, '-');
	int step = slash ? atoi(slash + 1) : 1;
	int low = min;
	int high = max;

	if (item[0] != '*' && item[0] != '?')
	{
		low = oracle_value(item);
		high = dash ? oracle_value(dash + 1) : low;
	}
	return value >= low && value <= high && (value - low) % step == 0;
}

/* Whether a list holds the value. */
static bool
oracle_list(const char *list, int value, int min, int max)
{
	char copy[128];
	char *save;

	strlcpy(copy, list, sizeof(copy));
	for (char *item = strtok_r(copy, ",", &save); item != NULL;
		 item = strtok_r(NULL, ",", &save))
	{
		if (strpbrk(item, "LW#$") == NULL && oracle_item(item, value, min, max))
			return true;
	}
	return false;
}

/* The length of the month of a broken-down day. */
static int
oracle_length(const struct tm *day)
{
	int year = day->tm_year + 1900;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	switch (day->tm_mon + 1)
	{
		case 2:
			return leap ? 29 : 28;
		case 4:
		case 6:
		case 9:
		case 11:
			return 30;
		default:
			return 31;
	}
}

/* Whether this day is the one that "15W" (or "LW", wanted = last day) means. */
static bool
oracle_nearest(const struct tm *day, int wanted)
{
	int length = oracle_length(day);

	/* try distances 0, -1, +1, -2, +2 until a weekday of the month is met */
	for (int i = 0; i < 5; i++)
	{
		int candidate = wanted + (i % 2 ? -(i + 1) / 2 : i / 2);
		int weekday = ((day->tm_wday + candidate - day->tm_mday) % 7 + 7) % 7;

		if (candidate < 1 || candidate > length || weekday == 0 || weekday == 6)
			continue;
		return wanted <= length && candidate == day->tm_mday;
	}
	return false;
}

/* Whether the day-of-month field holds the day. */
static bool
oracle_day_of_month(const char *list, const struct tm *day)
{
	char copy[128];
	char *save;

	strlcpy(copy, list, sizeof(copy));
	for (char *item = strtok_r(copy, ",", &save); item != NULL;
		 item = strtok_r(NULL, ",", &save))
	{
		if (strcmp(item, "L") == 0 && day->tm_mday == oracle_length(day))
			return true;
		if (strcmp(item, "LW") == 0 && oracle_nearest(day, oracle_length(day)))
			return true;
		if (isdigit((unsigned char) item[0]) && strchr(item, 'W') &&
			oracle_nearest(day, atoi(item)))
			return true;
	}
	return oracle_list(list, day->tm_mday, 1, 31);
}

/* Whether the day-of-week field holds the day. */
static bool
oracle_day_of_week(const char *list, const struct tm *day)
{
	char copy[128];
	char *save;

	strlcpy(copy, list, sizeof(copy));
	for (char *item = strtok_r(copy, ",", &save); item != NULL;
		 item = strtok_r(NULL, ",", &save))
	{
		char *hash = strchr(item, '#');

		if (!hash && !strchr(item, 'L'))
			continue;
		if (oracle_value(item) % 7 != day->tm_wday)
			continue;
		if (hash ? (day->tm_mday + 6) / 7 == atoi(hash + 1) :
				   day->tm_mday + 7 > oracle_length(day))
			return true;
	}
	return oracle_list(list, day->tm_wday, 0, 6) ||
		(day->tm_wday == 0 && oracle_list(list, 7, 0, 6));
}

/* Whether the schedule runs on that day of the wall clock. */
static bool
oracle_day(const Oracle *oracle, int64 number)
{
	time_t noon = (time_t) (number * 86400 + 43200);
	struct tm day;
	bool by_number;
	bool by_weekday;

	gmtime_r(&noon, &day);
	if (!oracle_list(oracle->field[4], day.tm_mon + 1, 1, 12))
		return false;
	by_number = oracle_day_of_month(oracle->field[3], &day);
	by_weekday = oracle_day_of_week(oracle->field[5], &day);
	if (strchr("*?", oracle->field[3][0]) || strchr("*?", oracle->field[5][0]))
		return by_number && by_weekday;
	return by_number || by_weekday;
}

/* Whether the schedule holds this wall clock second. */
static bool
oracle_matches(Oracle *oracle, int64 wall)
{
	int64 day = wall / 86400 - (wall % 86400 < 0);
	int time = (int) (wall - day * 86400);

	if (!oracle->second[time % 60] || !oracle->minute[time / 60 % 60] ||
		!oracle->hour[time / 3600])
		return false;
	if (oracle->day != day)
	{
		oracle->day_matches = oracle_day(oracle, day);
		oracle->day = day;
	}
	return oracle->day_matches;
}

/* Sets up the oracle for a schedule of five or six plain fields. */
static void
oracle_open(Oracle *oracle, const char *text)
{
	char f[6][128];
	int n;

	n = sscanf(text, "%127s %127s %127s %127s %127s %127s", f[0], f[1], f[2],
			   f[3], f[4], f[5]);
	strlcpy(oracle->field[0], "0", 128);
	for (int i = 0; i < n; i++)
		strlcpy(oracle->field[6 - n + i], f[i], 128);
	for (int i = 0; i < 60; i++)
	{
		oracle->second[i] = oracle_list(oracle->field[0], i, 0, 59);
		oracle->minute[i] = oracle_list(oracle->field[1], i, 0, 59);
		if (i < 24)
			oracle->hour[i] = oracle_list(oracle->field[2], i, 0, 23);
	}
	oracle->fixed = oracle->field[1][0] != '*' && oracle->field[2][0] != '*';
	oracle->day = PG_INT64_MIN;
}

/*
 * Lives through one tick at the wall clock second "wall": whether the
 * schedule runs.  *virtual is the daemon's clock before this tick.
 */
static bool
oracle_tick(Oracle *oracle, int64 wall, int64 step, int64 virtual)
{
	int64 ahead = wall - virtual;

	if (!oracle->fixed)
		return oracle_matches(oracle, wall);
	if (ahead > 0 && ahead <= ORACLE_MAX_JUMP + step)
	{
		for (int64 at = virtual + step; at <= wall; at += step)
		{
			if (oracle_matches(oracle, at))
				return true;
		}
		return false;
	}
	if (ahead <= 0 && ahead > -ORACLE_MAX_JUMP)
		return false;
	return oracle_matches(oracle, wall);
}

/* The daemon's clock after a tick. */
static int64
oracle_clock(int64 wall, int64 virtual)
{
	if (wall <= virtual && wall > virtual - ORACLE_MAX_JUMP)
		return virtual;
	return wall;
}

#endif /* MJ_CRON_ORACLE_H */
