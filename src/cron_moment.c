/*-------------------------------------------------------------------------
 *
 * cron_moment.c
 *	  The moments of a schedule without fields: the interval of @every and
 *	  the time of @at, as text into microseconds.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_part.h"

/* The longest interval: a hundred years */
#define MJ_MAX_INTERVAL (100 * 366 * MJ_SECS_PER_DAY * MJ_USECS_PER_SEC)

#define MJ_EVERY_USAGE \
	"Write it like \"@every 90 seconds\", \"@every 1 hour 30 minutes\" or \"@every 00:05:00\"."
#define MJ_AT_USAGE \
	"Write it like \"@at 2030-01-31 10:00\" (in the job's time zone) or \"@at 2030-01-31T10:00:00Z\"."

/* A unit of an interval, with all of its spellings; 0: no fixed length. */
static const struct
{
	int64 usecs;
	const char *names[7];
} units[] = {
	{ 1, { "us", "usec", "usecs", "microsecond", "microseconds" } },
	{ 1000, { "ms", "msec", "msecs", "millisecond", "milliseconds" } },
	{ MJ_USECS_PER_SEC, { "s", "sec", "secs", "second", "seconds" } },
	{ 60 * MJ_USECS_PER_SEC, { "m", "min", "mins", "minute", "minutes" } },
	{ 3600 * MJ_USECS_PER_SEC, { "h", "hr", "hrs", "hour", "hours" } },
	{ MJ_SECS_PER_DAY * MJ_USECS_PER_SEC, { "d", "day", "days" } },
	{ 7 * MJ_SECS_PER_DAY * MJ_USECS_PER_SEC, { "w", "week", "weeks" } },
	{ 0, { "mon", "mons", "month", "months" } },
	{ 0, { "y", "yr", "yrs", "year", "years" } }
};

/* What came of reading an interval. */
typedef enum MjIntervalState
{
	MJ_INTERVAL_OK,
	MJ_INTERVAL_UNREADABLE,
	MJ_INTERVAL_CALENDAR, /* months or years */
	MJ_INTERVAL_TOO_LONG
} MjIntervalState;

static bool
is_digit(const MjPiece *piece, int i)
{
	return i < piece->len && piece->start[i] >= '0' && piece->start[i] <= '9';
}

/* Takes the first n bytes off *rest. */
static MjPiece
take(MjPiece *rest, int n)
{
	MjPiece taken = { rest->start, n };

	rest->start += n;
	rest->len -= n;
	return taken;
}

/* Takes one character off *rest if it is that one. */
static bool
take_char(MjPiece *rest, char c)
{
	if (rest->len == 0 || rest->start[0] != c)
		return false;
	take(rest, 1);
	return true;
}

/* Takes digits off *rest, at least min and at most max of them. */
static bool
take_digits(MjPiece *rest, int min, int max, int *value)
{
	int n = 0;

	while (n < max && is_digit(rest, n))
		n++;
	return n >= min && mj_cron_number(take(rest, n), value);
}

/* Takes a whole amount off *rest: as many digits as an int64 surely holds. */
static bool
take_whole(MjPiece *rest, int64 *value)
{
	int n = 0;

	*value = 0;
	for (; n < 18 && is_digit(rest, 0); n++)
		*value = *value * 10 + (take(rest, 1).start[0] - '0');
	return n > 0;
}

/*
 * Takes a decimal fraction, if there is one, off *rest: what it is of a unit,
 * rounded down.  At most nine digits.
 */
static bool
take_fraction(MjPiece *rest, int64 unit, int64 *usecs)
{
	int64 digits = 0;
	int64 scale = 1;
	int n = 0;

	*usecs = 0;
	if (!take_char(rest, '.'))
		return true;
	for (; n < 9 && is_digit(rest, 0); n++)
	{
		digits = digits * 10 + (take(rest, 1).start[0] - '0');
		scale *= 10;
	}
	/* in two steps, as unit * digits may not fit */
	*usecs = unit / scale * digits + unit % scale * digits / scale;
	return n > 0;
}

/* Finds a unit by its name. */
static bool
find_unit(MjPiece name, int64 *usecs)
{
	for (int i = 0; i < (int) lengthof(units); i++)
	{
		for (int j = 0; units[i].names[j] != NULL; j++)
		{
			if (mj_cron_equals(name, units[i].names[j]))
			{
				*usecs = units[i].usecs;
				return true;
			}
		}
	}
	return false;
}

/* How many ASCII letters a piece begins with. */
static int
count_letters(MjPiece piece)
{
	int n = 0;

	while (n < piece.len && ((piece.start[n] | 0x20) >= 'a') &&
		   ((piece.start[n] | 0x20) <= 'z'))
		n++;
	return n;
}

/* Takes "90 seconds", "1.5h" and the like off *rest. */
static MjIntervalState
take_amount(MjPiece *rest, int64 *usecs)
{
	MjPiece ahead = *rest;
	MjPiece name;
	int64 number;
	int64 unit;
	int64 fraction;

	/* the unit is needed before the fraction can be read */
	while (is_digit(&ahead, 0) || (ahead.len > 0 && ahead.start[0] == '.'))
		take(&ahead, 1);
	ahead = mj_cron_trim(ahead);
	name = take(&ahead, count_letters(ahead));
	if (!find_unit(name, &unit))
		return MJ_INTERVAL_UNREADABLE;
	if (!take_whole(rest, &number) || !take_fraction(rest, unit, &fraction))
		return MJ_INTERVAL_UNREADABLE;
	*rest = mj_cron_trim(*rest);
	if (rest->start != name.start)
		return MJ_INTERVAL_UNREADABLE;
	if (unit == 0)
		return MJ_INTERVAL_CALENDAR;
	*rest = ahead;
	if (number > MJ_MAX_INTERVAL / unit)
		return MJ_INTERVAL_TOO_LONG;
	*usecs = number * unit + fraction;
	return MJ_INTERVAL_OK;
}

/* Takes "[h]h:mm[:ss[.f]]" off *rest; unreadable if it is not that. */
static MjIntervalState
take_clock(MjPiece *rest, int64 *usecs)
{
	MjPiece ahead = *rest;
	int hours;
	int minutes;
	int seconds = 0;
	int64 fraction = 0;

	if (!take_digits(&ahead, 1, 6, &hours) || !take_char(&ahead, ':') ||
		!take_digits(&ahead, 2, 2, &minutes) || minutes > 59)
		return MJ_INTERVAL_UNREADABLE;
	if (take_char(&ahead, ':') &&
		(!take_digits(&ahead, 2, 2, &seconds) || seconds > 59 ||
		 !take_fraction(&ahead, MJ_USECS_PER_SEC, &fraction)))
		return MJ_INTERVAL_UNREADABLE;
	if (is_digit(&ahead, 0))
		return MJ_INTERVAL_UNREADABLE;
	*rest = ahead;
	*usecs =
		(hours * INT64CONST(3600) + minutes * 60 + seconds) * MJ_USECS_PER_SEC +
		fraction;
	return MJ_INTERVAL_OK;
}

/* Reads an interval: amounts, or a clock time after them, added up. */
static MjIntervalState
read_interval(MjPiece text, int64 *usecs)
{
	MjPiece rest = mj_cron_trim(text);
	int64 amount;

	*usecs = 0;
	if (rest.len == 0)
		return MJ_INTERVAL_UNREADABLE;
	while (rest.len > 0)
	{
		MjIntervalState state = take_clock(&rest, &amount);

		if (state == MJ_INTERVAL_UNREADABLE)
			state = take_amount(&rest, &amount);
		if (state != MJ_INTERVAL_OK)
			return state;
		*usecs += amount;
		if (*usecs > MJ_MAX_INTERVAL)
			return MJ_INTERVAL_TOO_LONG;
		rest = mj_cron_trim(rest);
	}
	return MJ_INTERVAL_OK;
}

/* Whether a text is an interval, be it one that @every refuses. */
bool
mj_cron_is_interval(MjPiece text)
{
	int64 usecs;

	return read_interval(text, &usecs) != MJ_INTERVAL_UNREADABLE;
}

/* Reads the interval of an @every. */
bool
mj_cron_read_every(MjCronReader *reader, MjPiece text, MjCronPart *part)
{
	MjQuoted quoted = mj_cron_quote(text);
	MjIntervalState state = read_interval(text, &part->interval);

	part->kind = MJ_CRON_EVERY;
	if (state == MJ_INTERVAL_CALENDAR)
		return mj_cron_refuse(
			reader,
			"Use fields instead: \"0 0 1 * *\" is each month's first day, \"0 0 1 1 *\" each year's.",
			"The interval %s counts in months or years, which differ in length.",
			quoted.text);
	if (state == MJ_INTERVAL_TOO_LONG)
		return mj_cron_refuse(reader,
							  "For one time, write \"@at 2030-01-31 10:00\".",
							  "The interval %s is longer than a hundred years.",
							  quoted.text);
	if (state == MJ_INTERVAL_UNREADABLE)
		return mj_cron_refuse(reader, MJ_EVERY_USAGE,
							  text.len == 0 ?
								  "\"@every\" lacks its interval%.0s." :
								  "The interval %s is not understood.",
							  quoted.text);
	if (part->interval == 0)
		return mj_cron_refuse(reader, MJ_EVERY_USAGE,
							  "The interval %s is zero.", quoted.text);
	return true;
}

/* Takes "2030-01-31" off *rest: the number of its day. */
static bool
take_date(MjPiece *rest, int64 *day_number)
{
	int year;
	int month;
	int day;

	if (!take_digits(rest, 4, 4, &year) || !take_char(rest, '-') ||
		!take_digits(rest, 1, 2, &month) || !take_char(rest, '-') ||
		!take_digits(rest, 1, 2, &day) || is_digit(rest, 0))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 ||
		day > mj_cron_month_length(year, month))
		return false;
	*day_number = mj_cron_day_number(year, month, day);
	return true;
}

/*
 * Takes "T10:00", " 10:00:00.5" off *rest, or nothing, which is midnight:
 * microseconds since midnight.
 */
static bool
take_time(MjPiece *rest, int64 *usecs)
{
	*usecs = 0;
	if (!take_char(rest, 'T') && !take_char(rest, 't'))
		*rest = mj_cron_trim(*rest);
	else if (!is_digit(rest, 0))
		return false;
	if (!is_digit(rest, 0))
		return true;
	return take_clock(rest, usecs) == MJ_INTERVAL_OK &&
		*usecs < MJ_SECS_PER_DAY * MJ_USECS_PER_SEC;
}

/* Takes "Z", "UTC", "+01", "-0330" or "+05:30:00" off *rest. */
static bool
take_offset(MjPiece *rest, int64 *seconds)
{
	bool west;
	int hours;
	int minutes = 0;
	int odd = 0;

	*seconds = 0;
	if (mj_cron_equals(*rest, "z") || mj_cron_equals(*rest, "utc") ||
		mj_cron_equals(*rest, "gmt"))
	{
		take(rest, rest->len);
		return true;
	}
	west = take_char(rest, '-');
	if ((!west && !take_char(rest, '+')) || !take_digits(rest, 1, 2, &hours) ||
		hours > 15)
		return false;
	if ((take_char(rest, ':') || is_digit(rest, 0)) &&
		(!take_digits(rest, 2, 2, &minutes) || minutes > 59))
		return false;
	if (take_char(rest, ':') && (!take_digits(rest, 2, 2, &odd) || odd > 59))
		return false;
	*seconds = hours * 3600 + minutes * 60 + odd;
	if (west)
		*seconds = -*seconds;
	return true;
}

/*
 * Reads the time of an @at.  Without an offset it is left as wall clock time,
 * to be placed once the zone is known.
 */
bool
mj_cron_read_at(MjCronReader *reader, MjPiece text, MjCronPart *part)
{
	MjPiece rest = mj_cron_trim(text);
	int64 day;
	int64 usecs;
	int64 offset = 0;

	part->kind = MJ_CRON_AT;
	if (!take_date(&rest, &day) || !take_time(&rest, &usecs))
		return mj_cron_refuse(reader, MJ_AT_USAGE,
							  text.len == 0 ?
								  "\"@at\" lacks its time%.0s." :
								  "The time %s is not a valid date and time.",
							  mj_cron_quote(text).text);
	rest = mj_cron_trim(rest);
	part->at_local = rest.len == 0;
	if (!part->at_local && (!take_offset(&rest, &offset) || rest.len > 0))
		return mj_cron_refuse(
			reader,
			"Write an offset such as \"+01:00\" or \"Z\", or nothing and give the zone in the argument timezone.",
			"The time %s does not end in an offset from UTC.",
			mj_cron_quote(text).text);
	part->at = (day * MJ_SECS_PER_DAY - offset) * MJ_USECS_PER_SEC + usecs;
	return true;
}
