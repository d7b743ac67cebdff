/*-------------------------------------------------------------------------
 *
 * moment.c
 *	  Instants and spans of time, as people read them.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "moment.h"

/* One unit of time, and the one below it. */
static const struct
{
	int64 size; /* microseconds */
	const char *name;
	int64 below; /* what the next smaller unit has */
	const char *below_name;
} units[] = {
	{ USECS_PER_DAY, "d", USECS_PER_HOUR, "h" },
	{ USECS_PER_HOUR, "h", USECS_PER_MINUTE, "min" },
	{ USECS_PER_MINUTE, "min", USECS_PER_SEC, "s" },
};

/*
 * Write a span of so many microseconds with what matters of it: "0.4 ms",
 * "820 ms", "4.31 s", "3 min 20 s", "2 d 5 h".
 */
void
mj_moment_span(char *text, int64 span)
{
	int i;

	span = Max(span, 0);
	for (i = 0; i < lengthof(units); i++)
	{
		int64 whole = span / units[i].size;
		int64 rest = span % units[i].size / units[i].below;

		if (whole == 0)
			continue;
		if (rest == 0 || whole >= 100)
			snprintf(text, MJ_MOMENT_SIZE, INT64_FORMAT " %s", whole,
					 units[i].name);
		else
			snprintf(text, MJ_MOMENT_SIZE,
					 INT64_FORMAT " %s " INT64_FORMAT " %s", whole,
					 units[i].name, rest, units[i].below_name);
		return;
	}
	if (span >= 10 * USECS_PER_SEC)
		snprintf(text, MJ_MOMENT_SIZE, "%.1f s", (double) span / USECS_PER_SEC);
	else if (span >= USECS_PER_SEC - 500)
		snprintf(text, MJ_MOMENT_SIZE, "%.2f s", (double) span / USECS_PER_SEC);
	else
		snprintf(text, MJ_MOMENT_SIZE, "%.*f ms", span < 10000 ? 1 : 0,
				 (double) span / 1000);
}

/*
 * Write how far an instant is from now, roughly: "now", "12 s ago", "in 3 h".
 * From two days on days are counted.
 */
void
mj_moment_distance(char *text, TimestampTz at, TimestampTz now)
{
	int64 span = at < now ? now - at : at - now;
	int64 n;
	const char *unit;

	if (span < USECS_PER_SEC)
	{
		strlcpy(text, "now", MJ_MOMENT_SIZE);
		return;
	}
	if (span < USECS_PER_MINUTE)
		n = span / USECS_PER_SEC, unit = "s";
	else if (span < USECS_PER_HOUR)
		n = span / USECS_PER_MINUTE, unit = "min";
	else if (span < 2 * USECS_PER_DAY)
		n = span / USECS_PER_HOUR, unit = "h";
	else
		n = span / USECS_PER_DAY, unit = "d";
	snprintf(text, MJ_MOMENT_SIZE,
			 at < now ? INT64_FORMAT " %s ago" : "in " INT64_FORMAT " %s", n,
			 unit);
}

/* Take an instant apart on the clocks of a zone; false if it cannot be. */
static bool
take_apart(TimestampTz at, pg_tz *zone, struct pg_tm *tm, fsec_t *fsec)
{
	int offset;

	return timestamp2tm(at, &offset, tm, fsec, NULL, zone) == 0;
}

/*
 * Append an instant as a JSON object: iso, for machines; text, on the clocks of
 * a zone; short, without the date if that is today's; day; clock; ago.  False
 * if there is no such zone, or no calendar has the instant.
 */
bool
mj_moment_json(StringInfo out, TimestampTz at, const char *zone,
			   TimestampTz now)
{
	pg_tz *tz = pg_tzset(zone);
	struct pg_tm utc;
	struct pg_tm tm;
	struct pg_tm today;
	fsec_t fsec;
	char ago[MJ_MOMENT_SIZE];
	char day[MJ_MOMENT_SIZE];
	char clock[MJ_MOMENT_SIZE];
	bool same_day;

	if (tz == NULL || TIMESTAMP_NOT_FINITE(at) || TIMESTAMP_NOT_FINITE(now) ||
		!take_apart(now, tz, &today, &fsec) ||
		!take_apart(at, pg_tzset("GMT"), &utc, &fsec) ||
		!take_apart(at, tz, &tm, &fsec))
		return false;
	mj_moment_distance(ago, at, now);
	snprintf(day, sizeof(day), "%04d-%02d-%02d", tm.tm_year, tm.tm_mon,
			 tm.tm_mday);
	snprintf(clock, sizeof(clock), "%02d:%02d:%02d", tm.tm_hour, tm.tm_min,
			 tm.tm_sec);
	same_day = tm.tm_year == today.tm_year && tm.tm_mon == today.tm_mon &&
		tm.tm_mday == today.tm_mday;
	appendStringInfo(
		out,
		"{\"iso\": \"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\", \"text\": \"%s %s\", ",
		utc.tm_year, utc.tm_mon, utc.tm_mday, utc.tm_hour, utc.tm_min,
		utc.tm_sec, (int) (fsec / 1000), day, clock);
	appendStringInfo(out, "\"day\": \"%s\", \"clock\": \"%s\", ", day, clock);
	if (same_day)
		appendStringInfo(out, "\"short\": \"%s\", ", clock);
	else
		appendStringInfo(out, "\"short\": \"%.3s %d, %.5s\", ",
						 months[tm.tm_mon - 1], tm.tm_mday, clock);
	appendStringInfo(out, "\"ago\": \"%s\"}", ago);
	return true;
}
