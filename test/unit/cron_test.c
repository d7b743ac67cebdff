/*-------------------------------------------------------------------------
 *
 * cron_test.c
 *	  Unit tests of the schedule: the vectors, the language, the words,
 *	  properties, and a comparison with a slow oracle.
 *
 * Usage: cron_test vectors.tsv [years for the oracle]
 *
 *-------------------------------------------------------------------------
 */
#include "cron.h"

#include "cron_oracle.h"
#include "cron_zone.h"

#define USECS INT64CONST(1000000)
#define MAX_ZONES 24

static int tests = 0;
static int failures = 0;
static int complaints = 0; /* within the current test */

/* ---- TAP ---- */

/* Says what is wrong, for the current test to fail. */
static void
complain(const char *format, ...)
{
	va_list args;

	if (complaints++ >= 20)
		return;
	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* Ends a test: it passed if nothing was complained of since the last one. */
static void
done(const char *format, ...)
{
	va_list args;

	tests++;
	printf("%sok %d - ", complaints ? "not " : "", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	failures += complaints > 0;
	complaints = 0;
}

/* ---- helpers ---- */

/* A zone by name, opened once. */
static MjZone *
zone_named(const char *name)
{
	static char names[MAX_ZONES][64];
	static MjZone zones[MAX_ZONES];
	int i = 0;

	while (i < MAX_ZONES && names[i][0] != '\0' && strcmp(names[i], name) != 0)
		i++;
	if (i == MAX_ZONES)
		abort();
	if (names[i][0] == '\0')
	{
		strlcpy(names[i], name, sizeof(names[i]));
		test_zone_open(name, &zones[i]);
	}
	return &zones[i];
}

/* "2024-04-14T03:00:00Z" as an instant. */
static int64
instant_of(const char *text)
{
	struct tm tm;
	char *end;

	memset(&tm, 0, sizeof(tm));
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end == NULL || *end != 'Z')
	{
		printf("Bail out! bad time %s\n", text);
		exit(1);
	}
	return (int64) timegm(&tm) * USECS;
}

/* An instant as text, in one of a few static buffers. */
static const char *
text_of(int64 instant)
{
	static char buffers[4][48];
	static int turn = 0;
	char *buffer = buffers[turn++ % 4];
	int usecs = (int) ((instant % USECS + USECS) % USECS);
	time_t seconds = (time_t) (instant / USECS - (instant % USECS < 0));
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buffer, 48, "%Y-%m-%dT%H:%M:%S", &tm);
	if (usecs != 0)
		n += snprintf(buffer + n, 48 - n, ".%06d", usecs);
	strlcpy(buffer + n, "Z", 48 - n);
	return buffer;
}

/* Parses a schedule that must be accepted; NULL after a complaint if not. */
static MjSchedule *
schedule_of(const char *text)
{
	MjSchedule *schedule;
	MjProblem problem;

	if (mj_cron_parse(text, &schedule, NULL, &problem))
		return schedule;
	complain("\"%s\" is refused: %s", text, problem.detail);
	return NULL;
}

/*
 * Whether the series after an instant is the comma separated one; "" is
 * never.  Says what was found last.
 */
static bool
has_series(const MjSchedule *schedule, MjZone *zone, int64 at,
		   const char *expected, char *found, size_t size)
{
	char copy[1024];
	char *save;

	strlcpy(copy, expected, sizeof(copy));
	if (copy[0] == '\0')
	{
		bool never = !mj_cron_next(schedule, zone, at, &at);

		strlcpy(found, never ? "never" : text_of(at), size);
		return never;
	}
	for (char *want = strtok_r(copy, ",", &save); want != NULL;
		 want = strtok_r(NULL, ",", &save))
	{
		bool some = mj_cron_next(schedule, zone, at, &at);

		snprintf(found, size, "%s instead of %s", some ? text_of(at) : "never",
				 want);
		if (!some || strcmp(text_of(at), want) != 0)
			return false;
	}
	return true;
}

static int by_morocco = 0;

/* A zone that is at +01 until Morocco's change of 2026, and then at data. */
static bool
morocco_change(const MjZone *zone, int64 at, int64 *when, int32 *before,
			   int32 *after)
{
	int64 change = instant_of("2026-09-20T01:00:00Z") / USECS;

	*before = at < change ? 3600 : *(const int32 *) zone->data;
	*when = change;
	*after = *(const int32 *) zone->data;
	return at < change;
}

/*
 * Whether a series of Morocco agrees if it stays at +01, or if it moves to
 * +00 in September 2026.  tzdata 2026c says the latter, the machine may have
 * either, and the vectors were made with both.
 */
static bool
depends_on_morocco(const MjSchedule *schedule, const char *zone_name,
				   const char *after, const char *expected)
{
	static const int32 later[] = { 3600, 0 };

	if (strcmp(zone_name, "Africa/Casablanca") != 0)
		return false;
	for (int i = 0; i < 2; i++)
	{
		MjZone zone = { .change = morocco_change, .data = &later[i] };
		char found[128];

		if (has_series(schedule, &zone, instant_of(after), expected, found,
					   sizeof(found)))
		{
			by_morocco++;
			return true;
		}
	}
	return false;
}

/* Compares the series after an instant with a comma separated one. */
static void
compare_series(const char *text, const char *zone, const char *after,
			   const char *expected)
{
	MjSchedule *schedule = schedule_of(text);
	char found[128];

	if (schedule == NULL)
		return;
	if (!has_series(schedule, zone_named(zone), instant_of(after), expected,
					found, sizeof(found)) &&
		!depends_on_morocco(schedule, zone, after, expected))
		complain("\"%s\" in %s after %s: %s", text, zone, after, found);
	pfree(schedule);
}

/* A schedule that must be refused, with a message that helps. */
static void
compare_error(const char *text)
{
	MjSchedule *schedule;
	MjProblem problem;

	if (mj_cron_parse(text, &schedule, NULL, &problem))
	{
		complain("\"%s\" is accepted", text);
		pfree(schedule);
	}
	else if (strncmp(problem.message, "invalid schedule \"", 18) != 0 ||
			 problem.detail[0] == '\0' || problem.hint[0] == '\0')
		complain("\"%s\": the message lacks something", text);
}

/* ---- the vectors ---- */

static void
test_vectors(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[2048];
	int count = 0;

	if (file == NULL)
	{
		printf("Bail out! cannot open %s\n", path);
		exit(1);
	}
	while (fgets(line, sizeof(line), file))
	{
		char *rest = line;
		char *text;
		char *zone;
		char *after;

		line[strcspn(line, "\r\n")] = '\0';
		text = strsep(&rest, "\t");
		zone = strsep(&rest, "\t");
		after = strsep(&rest, "\t");
		if (rest == NULL)
			continue;
		count++;
		if (strcmp(rest, "ERROR") == 0)
			compare_error(text);
		else
			compare_series(text, zone, after, rest);
	}
	fclose(file);
	if (count == 0)
		complain("there are no vectors");
	done("%d vectors (%d by Morocco's zone before or after 2026c)", count,
		 by_morocco);
}

/* ---- the language ---- */

/* Schedules that are refused: what the detail and the hint must hold. */
static const char *const refused[][3] = {
	{ "22-2 * * * *", "\"22-2\" in the minute field runs backwards",
	  "\"22-59,0-2\"" },
	{ "* 22-2 * * *", "\"22-2\" in the hour field runs backwards",
	  "\"22-23,0-2\"" },
	{ "* 23-0 * * *", "hour field runs backwards", "\"23,0\"" },
	{ "* 22-2/2 * * *", "hour field runs backwards", "\"22,0,2\"" },
	{ "* * * NOV-FEB *", "month field runs backwards", "\"11-12,1-2\"" },
	{ "* * * * SAT-SUN", "day-of-week field runs backwards", "\"6-7\"" },
	{ "* * * * FRI-MON", "day-of-week field runs backwards", "\"5-6,0-1\"" },
	{ "5/15 * * * *", "\"5/15\" in the minute field has no range",
	  "\"5-59/15\"" },
	{ "/30 * * * *", "has no range", "\"*/30\"" },
	{ "*/0 * * * *", "is zero", "1 or more" },
	{ "*/x * * * *", "\"x\" in the minute field is not a number", "*/5" },
	{ "1,,2 * * * *", "empty item", "comma" },
	{ "1, * * * *", "empty item", "comma" },
	{ "-5 * * * *", "lacks its start", "0 to 59" },
	{ "5- * * * *", "lacks its end", "0 to 59" },
	{ "1-2-3 * * * *", "\"2-3\"", "0 to 59" },
	{ "60 * * * *", "\"60\" in the minute field is out of the range 0 to 59",
	  "0 to 59" },
	{ "61 * * * * *", "in the second field", "0 to 59" },
	{ "* 24 * * *", "in the hour field", "0 to 23" },
	{ "* * 32 * *", "in the day-of-month field", "1 to 31" },
	{ "* * * 13 *", "in the month field", "1 to 12" },
	{ "* * * * 8", "in the day-of-week field", "0 to 7" },
	{ "99999999999999999999 * * * *", "out of the range", "0 to 59" },
	{ "* * * SEPT *", "\"SEPT\" in the month field is unknown", "\"sep\"" },
	{ "* * * * TUES", "\"TUES\"", "\"tue\" or \"tuesday\"" },
	{ "* * * * XYZ", "neither a number nor a name", "SUN to SAT" },
	{ "*,5 * * * *", "item of a list", "\"*\" alone" },
	{ "? * * * *", "\"?\" in the minute field", "\"*\"" },
	{ "$ * * * *", "\"$\" in the minute field", "0 to 59" },
	{ "* * 0W * *", "\"0\" in the day-of-month field is out of", "1 to 31" },
	{ "* * 1-15W * *", "\"15W\"", "LW" },
	{ "* * L-3 * *", "\"L\"", "last day" },
	{ "* * L/2 * *", "\"L\"", "last day" },
	{ "* * * * L", "which weekday", "\"6L\"" },
	{ "* * * * 8L", "out of the range", "5L" },
	{ "* * * * MON#6", "1 to 5", "MON#5" },
	{ "* * * * MON#", "1 to 5", "MON#5" },
	{ "* * * * #1", "neither", "MON#2" },
	{ "* * * * MON-FRI#1", "neither", "MON#2" },
	{ "* * *", "3 fields", "every day at 04:30" },
	{ "* * * * * * 2030", "7 fields", "@at" },
	{ "* * * * * * * * * * *", "at least 8 fields", "every day" },
	{ "", "empty", "every day" },
	{ " \t\n", "empty", "every day" },
	{ "0 9 * * *;", "empty schedule", "semicolon" },
	{ ";", "empty schedule", "semicolon" },
	{ "0 9 * * *;;0 10 * * *", "empty schedule", "semicolon" },
	{ "CRON_TZ=Europe/Berlin 0 5 * * *", "is not part of a schedule",
	  "timezone" },
	{ "daily", "1 field;", "\"@daily\"" },
	{ "nightly_cleanup", "1 field;", "name of a job comes first" },
	{ "SELECT cleanup()", "2 fields", "name of a job comes first" },
	{ "5 minutes", "2 fields", "\"@every 5 minutes\"" },
	{ "5 \n minutes", "2 fields", "\"@every 5   minutes\"" },
	{ "90 seconds", "2 fields", "\"@every 90 seconds\"" },
	{ "0 seconds", "2 fields", "\"@every 0 seconds\"" },
	{ "every 5 minutes", "3 fields", "\"@every 5 minutes\"" },
	{ "@", "nickname \"@\" is unknown", "@daily" },
	{ "@dayly", "\"@dayly\" is unknown", "@daily" },
	{ "@daily @weekly", "follows the nickname", "\";\"" },
	{ "@reboot now", "follows the nickname", "\";\"" },
	{ "@every", "lacks its interval", "90 seconds" },
	{ "@every 5", "\"5\" is not understood", "90 seconds" },
	{ "@every five minutes", "is not understood", "90 seconds" },
	{ "@every 5 parsecs", "is not understood", "90 seconds" },
	{ "00000000000000000003 seconds", "is not understood", "90 seconds" },
	{ "@every 9999999999999999 us", "longer than a hundred years", "@at" },
	{ "@every 9999999999 days", "longer than a hundred years", "@at" },
	{ "@every 0 seconds", "is zero", "90 seconds" },
	{ "@every -5 minutes", "is not understood", "90 seconds" },
	{ "@every 1 month", "months or years", "0 0 1 * *" },
	{ "@every 1 year 2 days", "months or years", "0 0 1 1 *" },
	{ "@every 1 day 1 mon", "months or years", "fields" },
	{ "@at", "lacks its time", "2030-01-31" },
	{ "@at tomorrow", "not a valid date", "2030-01-31" },
	{ "@at 2027-02-29", "not a valid date", "2030-01-31" },
	{ "@at 2027-13-01", "not a valid date", "2030-01-31" },
	{ "@at 2027-01-01 24:00", "not a valid date", "2030-01-31" },
	{ "@at 2027-01-01T", "not a valid date", "2030-01-31" },
	{ "@at 2027-01-01 10:00 Europe/Berlin", "offset from UTC", "timezone" },
	{ "@at 2027-01-01 10:00+99", "offset from UTC", "+01:00" },
	{ "\xff\xfe\x01 * * * *", "\"?\" in the minute field", "0 to 59" }
};

static void
test_refused(void)
{
	for (int i = 0; i < (int) lengthof(refused); i++)
	{
		MjSchedule *schedule;
		MjProblem problem;

		if (mj_cron_parse(refused[i][0], &schedule, NULL, &problem))
			complain("\"%s\" is accepted", refused[i][0]);
		else if (strstr(problem.detail, refused[i][1]) == NULL)
			complain("\"%s\" has the detail: %s", refused[i][0],
					 problem.detail);
		else if (strstr(problem.hint, refused[i][2]) == NULL)
			complain("\"%s\" has the hint: %s", refused[i][0], problem.hint);
	}
	done("%d schedules are refused with reason and hint",
		 (int) lengthof(refused));
}

/* Schedules that mean the same. */
static const char *const same[][2] = {
	{ "  0\t9 *  * 1-5\n", "0 9 * * 1-5" },
	{ "0 9 * * MON-FRI", "0 9 * * 1-5" },
	{ "0 9 * * monday-Friday", "0 9 * * 1-5" },
	{ "0 9 1 January,FEBRUARY *", "0 9 1 1,2 *" },
	{ "0 9 ? * ?", "0 9 * * *" },
	{ "0 9 ? * MON", "0 9 * * 1" },
	{ "0 9 $ * *", "0 9 L * *" },
	{ "0 9 l * *", "0 9 L * *" },
	{ "0 9 lw * *", "0 9 LW * *" },
	{ "0 9 * * fril", "0 9 * * 5L" },
	{ "0 9 * * 7#2", "0 9 * * SUN#2" },
	{ "0 9 * * 7", "0 9 * * 0" },
	{ "0 9 * * 5-7", "0 9 * * 0,5,6" },
	{ "*/100 * * * *", "*/60 * * * *" },
	{ "*/99999999999 3-3/2147483647 * 2-5/2147483647 *", "*/60 3 * 2 *" },
	{ "0 0 9 * * *", "0 9 * * *" },
	{ "@YEARLY", "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
	{ "@Monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" },
	{ "@daily", "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
	{ "30 seconds", "@every 30 seconds" },
	{ "1 second", "@every 1s" },
	{ "@every 90 seconds", "@every 1 minute 30 seconds" },
	{ "@every 1h30m", "@every 1 hour 30 minutes" },
	{ "@every 1.5 hours", "@every 1:30" },
	{ "@every 1 day 00:00:01", "@every 86401s" },
	{ "@every 00:00:00.25", "@every 250 ms" },
	{ "@EVERY 2 weeks", "@every 14d" },
	{ "@every 99999999999 us", "@every 99999.999999 seconds" },
	{ "@at 2030-01-31T10:00:00Z", "@at 2030-01-31 10:00+00" },
	{ "@at 2030-01-31 15:30 +05:30", "@at 2030-01-31 10:00 UTC" },
	{ "@at 2030-01-31 06:30-0330", "@at 2030-01-31 10:00:00.000z" },
	{ "@at 2030-01-31", "@at 2030-1-31 00:00:00" }
};

static void
test_same(void)
{
	for (int i = 0; i < (int) lengthof(same); i++)
	{
		MjSchedule *a = schedule_of(same[i][0]);
		MjSchedule *b = schedule_of(same[i][1]);

		if (a && b &&
			(a->nparts != b->nparts ||
			 memcmp(a->parts, b->parts, sizeof(MjCronPart)) != 0))
			complain("\"%s\" is not \"%s\"", same[i][0], same[i][1]);
	}
	done("%d pairs of schedules mean the same", (int) lengthof(same));
}

static void
test_hostile(void)
{
	char text[10000];
	MjSchedule *schedule;
	MjProblem problem;

	memset(text, '*', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	compare_error(text + sizeof(text) - 500);
	if (mj_cron_parse(text, &schedule, NULL, &problem) ||
		strstr(problem.detail, "longer than") == NULL)
		complain("a long text is not refused for its length");
	for (int i = 0; i < 17; i++)
		memcpy(text + i * 10, "* * * * *;", 10);
	text[17 * 10 - 1] = '\0';
	if (mj_cron_parse(text, &schedule, NULL, &problem) ||
		strstr(problem.detail, "more than 16") == NULL)
		complain("a long list is not refused for its length");
	text[16 * 10 - 1] = '\0';
	schedule = schedule_of(text);
	if (schedule && schedule->nparts != 16)
		complain("a list of 16 has %d schedules", schedule->nparts);
	done("long input is refused");
}

/* ---- notes ---- */

static void
test_notes(void)
{
	static const char *const noted[][4] = {
		{ "*/60 * * * *", "step that is larger",
		  "\"*/60\" in the minute field stands for 0 only", "" },
		{ "0 5-10/6 * * *", "step that is larger", "stands for 5 only", "" },
		{ "0 0 31 2 *", "never fires", "ever has such a day", "" },
		{ "0 0 30 FEB *", "never fires", "", "" },
		{ "0 0 31 4,6,9,11 *", "never fires", "", "" },
		{ "0 0 31W 2 *", "never fires", "", "" },
		{ "0 0 13 * 5", "restricts both",
		  "at 00:00 on day 13 of the month or on Friday", "MON#1" },
		{ "0 9 1-7 * MON", "restricts both", "but only on Monday",
		  "\"MON#1\" as day of week" },
		{ "0 9 22-28 * THU", "restricts both", "", "\"THU#4\" as day of week" },
		{ "@daily; 0 0 31 2 *", "schedule \"0 0 31 2 *\" never fires", "", "" }
	};
	static const char *const quiet[] = { "* * * * *",	  "0 0 29 2 *",
										 "0 0 */2 * 1",	  "*/59 * * * *",
										 "5-5/3 * * * *", "0 0 1 * ?",
										 "@daily",		  "0 0 * 2 1#5",
										 "@reboot" };
	MjSchedule *schedule;
	MjProblem problem;
	MjCronNotes notes;

	for (int i = 0; i < (int) lengthof(noted); i++)
	{
		if (!mj_cron_parse(noted[i][0], &schedule, &notes, &problem))
			complain("\"%s\" is refused", noted[i][0]);
		else if (notes.count != 1 ||
				 strstr(notes.note[0].message, noted[i][1]) == NULL ||
				 strstr(notes.note[0].detail, noted[i][2]) == NULL ||
				 strstr(notes.note[0].hint, noted[i][3]) == NULL)
			complain("\"%s\" has %d notes: %s / %s / %s", noted[i][0],
					 notes.count, notes.note[0].message, notes.note[0].detail,
					 notes.note[0].hint);
	}
	for (int i = 0; i < (int) lengthof(quiet); i++)
	{
		if (!mj_cron_parse(quiet[i], &schedule, &notes, &problem) ||
			notes.count != 0)
			complain("\"%s\" has notes", quiet[i]);
	}
	if (!mj_cron_parse("*/99,*/99,*/99,*/99,*/99,*/99,*/99,*/99,*/99 * * * *",
					   &schedule, &notes, &problem) ||
		notes.count != MJ_CRON_MAX_NOTES)
		complain("the number of notes is not bounded");
	done("notes on schedules that surprise");
}

/* ---- words ---- */

static const char *const words[][2] = {
	{ "10 4 * * 0", "at 04:10 on Sunday" },
	{ "* * * * *", "every minute" },
	{ "*/5 * * * *", "every 5 minutes" },
	{ "*/7 * * * *", "at minutes 0 to 56 in steps of 7 of every hour" },
	{ "0 * * * *", "every hour" },
	{ "30 * * * *", "at minute 30 of every hour" },
	{ "5,20,50 * * * *", "at minutes 5, 20 and 50 of every hour" },
	{ "0 */2 * * *", "every 2 hours" },
	{ "5 */2 * * *", "every 2 hours from 00:05" },
	{ "0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00 every day" },
	{ "0 2 * * *", "at 02:00 every day" },
	{ "0 9,12,18 * * *", "at 09:00, 12:00 and 18:00 every day" },
	{ "0 9 * * MON-FRI", "at 09:00 on Monday to Friday" },
	{ "0 9 * * 6,0", "at 09:00 on Saturday and Sunday" },
	{ "0 9 * * 0-3", "at 09:00 on Sunday to Wednesday" },
	{ "0 9 * * 1,3,5", "at 09:00 on Monday, Wednesday and Friday" },
	{ "*/5 9-17 * * 1-5",
	  "every 5 minutes from 09:00 to 17:55 on Monday to Friday" },
	{ "0 9-17 * * *", "every hour from 09:00 to 17:00" },
	{ "* 2 * * *", "every minute from 02:00 to 02:59" },
	{ "* */2 * * *", "every minute of hours 0 to 22 in steps of 2" },
	{ "0 10 1,L * *", "at 10:00 on day 1 and the last day of the month" },
	{ "0 0 L * *", "at 00:00 on the last day of the month" },
	{ "0 0 L 2 *", "at 00:00 on the last day of February" },
	{ "0 9 15W,LW * *",
	  "at 09:00 on the weekday nearest day 15 and the last weekday of the month" },
	{ "0 18 * * 5L", "at 18:00 on the last Friday of the month" },
	{ "0 18 * 3,9 MON#2",
	  "at 18:00 on the second Monday of March and September" },
	{ "0 18 * * 3,MON#2",
	  "at 18:00 on Wednesday and the second Monday of the month" },
	{ "0 0 25 12 *", "at 00:00 on day 25 of December" },
	{ "0 0 1,15 * 3",
	  "at 00:00 on days 1 and 15 of the month or on Wednesday" },
	{ "0 0 13 1 5", "at 00:00 on day 13 of January or on Friday in January" },
	{ "0 0 */2 * 1",
	  "at 00:00 on days 1 to 31 in steps of 2 of the month, but only on Monday" },
	{ "0 0 1-31 * 1", "at 00:00 every day" },
	{ "0 0 * * 0-7", "at 00:00 every day" },
	{ "0 0 31 2 *", "at 00:00 on day 31 of February, which never comes" },
	{ "* * * 6-8 *", "every minute in June to August" },
	{ "* * * * * *", "every second" },
	{ "*/10 * * * * *", "every 10 seconds" },
	{ "15 * * * * *", "at second 15 of every minute" },
	{ "15 30 2 * * *", "at 02:30:15 every day" },
	{ "0 30 2 * * *", "at 02:30 every day" },
	{ "*/10 */5 2 * * *",
	  "every 10 seconds of minutes 0 to 55 in steps of 5 of hour 2" },
	{ "1,2 0 * * * *", "at seconds 1 and 2 of minute 0 of every hour" },
	{ "@every 90 seconds", "every 1 minute 30 seconds" },
	{ "@every 1 minute", "every minute" },
	{ "@every 1 day", "every 24 hours" },
	{ "@every 1 day 1 second", "every 1 day 1 second" },
	{ "@every 250 ms", "every 250 milliseconds" },
	{ "@at 2030-01-31 10:00", "once at 2030-01-31 10:00:00" },
	{ "@at 2030-01-31 10:00:00.5+01",
	  "once at 2030-01-31 09:00:00.500000 UTC" },
	{ "@at 1969-12-31 23:59:59.5Z", "once at 1969-12-31 23:59:59.500000 UTC" },
	{ "@reboot", "once after each start of the server" },
	{ "0 9 * * 1-5; 0 12 * * 6",
	  "at 09:00 on Monday to Friday; and at 12:00 on Saturday" }
};

static void
test_words(void)
{
	for (int i = 0; i < (int) lengthof(words); i++)
	{
		MjSchedule *schedule = schedule_of(words[i][0]);
		StringInfoData out;

		if (schedule == NULL)
			continue;
		initStringInfo(&out);
		mj_cron_describe(schedule, &out);
		if (strcmp(out.data, words[i][1]) != 0)
			complain("\"%s\" is said as \"%s\"", words[i][0], out.data);
		pfree(out.data);
		pfree(schedule);
	}
	done("%d schedules in words", (int) lengthof(words));
}

/* ---- single rules of the next instant ---- */

static const char *const series[][4] = {
	/* the union of a list, each instant once */
	{ "0 9 * * 1-5; 0 9 * * *; 30 9 * * 1", "UTC", "2026-01-04T00:00:00Z",
	  "2026-01-04T09:00:00Z,2026-01-05T09:00:00Z,2026-01-05T09:30:00Z,2026-01-06T09:00:00Z" },
	/* several skipped times are made up for once, with the gap's own end */
	{ "0,15,30,45 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z",
	  "2024-03-31T01:00:00Z,2024-04-01T00:00:00Z,2024-04-01T00:15:00Z" },
	{ "15 30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z",
	  "2024-03-31T01:00:00Z,2024-04-01T00:30:15Z" },
	{ "0 2,3 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z",
	  "2024-03-31T01:00:00Z,2024-04-01T00:00:00Z,2024-04-01T01:00:00Z" },
	/* a gap and a fold of three hours are small */
	{ "0 1 * * *", "Antarctica/Casey", "2018-03-10T00:00:00Z",
	  "2018-03-10T14:00:00Z,2018-03-11T17:00:00Z" },
	{ "30 0 * * *", "Antarctica/Casey", "2009-10-17T00:00:00Z",
	  "2009-10-17T16:30:00Z,2009-10-18T13:30:00Z" },
	{ "0 3 * * *", "Antarctica/Casey", "2009-10-17T00:00:00Z",
	  "2009-10-17T18:00:00Z,2009-10-18T16:00:00Z" },
	/* a day that the zone skips or repeats is the calendar's */
	{ "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z",
	  "2011-12-29T22:00:00Z,2011-12-30T22:00:00Z" },
	{ "0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z",
	  "2012-01-29T22:00:00Z" },
	{ "0 12 30 * *", "Pacific/Kwajalein", "1969-09-01T00:00:00Z",
	  "1969-09-30T01:00:00Z,1969-10-01T00:00:00Z,1969-10-31T00:00:00Z" },
	/* only ever skipped, and not made up for */
	{ "* 2 * 3 0L", "Europe/Berlin", "2024-01-01T00:00:00Z", "" },
	{ "0 2 * 3 0L", "Europe/Berlin", "2024-01-01T00:00:00Z",
	  "2024-03-31T01:00:00Z,2025-03-30T01:00:00Z" },
	/* far, and never */
	{ "0 0 29 2 */7", "UTC", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z" },
	{ "0 0 31 2 *", "Europe/Berlin", "2024-01-01T00:00:00Z", "" },
	{ "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z" },
	{ "@reboot", "UTC", "2024-01-01T00:00:00Z", "" },
	/* @every keeps to its grid, whatever the zone */
	{ "@every 90 seconds", "Europe/Berlin", "2024-03-31T00:58:30Z",
	  "2024-03-31T01:00:00Z,2024-03-31T01:01:30Z" },
	{ "@every 250 ms", "UTC", "1969-12-31T23:59:59Z",
	  "1969-12-31T23:59:59.250000Z" },
	{ "@every 7 hours", "UTC", "1970-01-01T00:00:00Z",
	  "1970-01-01T07:00:00Z,1970-01-01T14:00:00Z" },
	/* @at: first pass, end of the gap, once */
	{ "@at 2024-10-27 02:30", "Europe/Berlin", "2024-01-01T00:00:00Z",
	  "2024-10-27T00:30:00Z" },
	{ "@at 2024-10-27 02:30", "Europe/Berlin", "2024-10-27T00:30:00Z", "" },
	{ "@at 2024-03-31 02:30", "Europe/Berlin", "2024-01-01T00:00:00Z",
	  "2024-03-31T01:00:00Z" },
	{ "@at 2024-06-01 12:00:00.5", "Asia/Kathmandu", "2024-01-01T00:00:00Z",
	  "2024-06-01T06:15:00.500000Z" },
	{ "@at 2011-12-30 12:00", "Pacific/Apia", "2011-12-01T00:00:00Z",
	  "2011-12-30T10:00:00Z" }
};

static void
test_series(void)
{
	for (int i = 0; i < (int) lengthof(series); i++)
		compare_series(series[i][0], series[i][1], series[i][2], series[i][3]);
	done("%d series of instants", (int) lengthof(series));
}

/* The instants next to "after", as what the scheduler asks for. */
static void
expect_next(const char *text, int64 anchor, int64 fixed, int64 wildcard,
			int64 expected)
{
	MjSchedule *schedule = schedule_of(text);
	int64 next = -1;

	if (schedule == NULL)
		return;
	schedule->anchor = anchor;
	if (!mj_cron_next_split(schedule, zone_named("UTC"), fixed, wildcard,
							&next) ||
		next != expected)
		complain("\"%s\": %s instead of %s", text, text_of(next),
				 text_of(expected));
	pfree(schedule);
}

static void
test_steps(void)
{
	int64 noon = instant_of("2026-01-01T12:00:00Z");
	int64 hour = 3600 * USECS;
	int64 minute = 60 * USECS;

	expect_next("0 * * * *", 0, noon, noon - hour, noon);
	expect_next("0 12,13 * * *", 0, noon, noon - hour, noon + hour);
	expect_next("0 12,13 * * *; 30 * * * *", 0, noon, noon - hour,
				noon - hour / 2);
	expect_next("@every 10 minutes", 0, noon, noon - hour, noon - 50 * minute);
	expect_next("@every 10 minutes", minute, noon, noon, noon + minute);
	expect_next("@every 10 minutes", -minute, noon, noon, noon + 9 * minute);
	expect_next("@every 1 minute", noon + 7, noon, noon, noon + 7);
	expect_next("0 13 * * *", 0, noon + 1, noon + 1, noon + hour);
	expect_next("0 12 * * *", 0, noon - 1, noon - 1, noon);
	expect_next("* * * * *", 0, noon - 1, noon - 1, noon);
	done("clock steps, anchors and fractions of a second");
}

static void
test_kinds(void)
{
	static const struct
	{
		const char *text;
		bool wildcard;
		bool fixed;
		bool reboot;
	} kinds[] = { { "* * * * *", true, false, false },
				  { "0 * * * *", true, false, false },
				  { "*/5 3 * * *", true, false, false },
				  { "0-59 0-23 * * *", false, true, false },
				  { "* 5 3 * * *", false, true, false },
				  { "@hourly", true, false, false },
				  { "@daily", false, true, false },
				  { "@every 1 hour", true, false, false },
				  { "@at 2030-01-01", false, true, false },
				  { "@reboot", false, false, true },
				  { "@reboot; @daily; @hourly", true, true, true } };

	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		MjSchedule *schedule = schedule_of(kinds[i].text);

		if (schedule &&
			(mj_cron_is_wildcard(schedule) != kinds[i].wildcard ||
			 mj_cron_is_fixed(schedule) != kinds[i].fixed ||
			 mj_cron_is_reboot(schedule) != kinds[i].reboot))
			complain("\"%s\" is of another kind", kinds[i].text);
	}
	done("wildcard, fixed and reboot schedules are told apart");
}

/* The ends of time must neither crash nor answer with what is not later. */
static void
test_ends_of_time(void)
{
	static const char *const texts[] = { "* * * * *", "0 0 29 2 *",
										 "@every 1 us", "@every 36500 days",
										 "@at 2030-01-01 00:00" };
	static const int64 ends[] = { PG_INT64_MIN,		PG_INT64_MIN + 1, -1, 0,
								  PG_INT64_MAX - 1, PG_INT64_MAX };

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		for (int j = 0; j < (int) lengthof(ends); j++)
		{
			MjSchedule *schedule = schedule_of(texts[i]);
			int64 next;

			schedule->anchor = ends[(i + j) % lengthof(ends)];
			if (mj_cron_next(schedule, zone_named("Europe/Berlin"), ends[j],
							 &next) &&
				next <= ends[j])
				complain("\"%s\" goes back in time", texts[i]);
			pfree(schedule);
		}
	}
	done("the ends of time");
}

/* ---- properties, with random schedules ---- */

static uint64 random_state = 88172645463325252;

/* A random number below n (xorshift; the same in each run). */
static int
any(int n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (int) (random_state % n);
}

/* Appends a random field. */
static void
any_field(StringInfo out, int min, int max)
{
	int items = any(4) == 0 ? 1 + any(3) : 1;

	if (any(3) == 0)
	{
		appendStringInfoString(out,
							   any(3) == 0 ? "* " :
											 psprintf("*/%d ", 1 + any(max)));
		return;
	}
	for (int i = 0; i < items; i++)
	{
		int low = min + any(max - min + 1);
		int high = low + any(max - low + 1);

		appendStringInfo(out, "%s%d", i > 0 ? "," : "", low);
		if (any(2) == 0)
			appendStringInfo(out, "-%d", high);
		if (out->data[out->len - 1] != ',' &&
			strrchr(out->data, '-') > strrchr(out->data, ',') &&
			strrchr(out->data, '-') > strrchr(out->data, ' ') && any(3) == 0)
			appendStringInfo(out, "/%d", 1 + any(5));
	}
	appendStringInfoChar(out, ' ');
}

/* A random schedule of five or six fields; palloc'ed. */
static char *
any_schedule(bool with_seconds)
{
	static const char *const day_forms[] = { "L ",	  "LW ",	"15W ",
											 "1W ",	  "31W,2 ", "1,15,L ",
											 "1-31 ", "? " };
	static const char *const weekday_forms[] = { "5L",	"mon#2", "0#1,sat",
												 "7",	"1-5",	 "sun-tue",
												 "3#5", "?" };
	StringInfoData out;

	initStringInfo(&out);
	if (with_seconds)
		any_field(&out, 0, 59);
	any_field(&out, 0, 59);
	any_field(&out, 0, 23);
	if (any(3) == 0)
		appendStringInfoString(&out, day_forms[any(lengthof(day_forms))]);
	else if (any(3) == 0)
		any_field(&out, 1, 31);
	else
		appendStringInfoString(&out, "* ");
	if (any(3) == 0)
		any_field(&out, 1, 12);
	else
		appendStringInfoString(&out, "* ");
	if (any(3) == 0)
		appendStringInfoString(&out,
							   weekday_forms[any(lengthof(weekday_forms))]);
	else if (any(3) == 0)
		any_field(&out, 0, 6);
	else
		appendStringInfoString(&out, "*");
	return out.data;
}

static const char *const zones[] = { "Europe/Berlin",
									 "America/New_York",
									 "Australia/Lord_Howe",
									 "Africa/Casablanca",
									 "America/Sao_Paulo",
									 "Pacific/Apia",
									 "Antarctica/Casey",
									 "Antarctica/Troll",
									 "Asia/Kathmandu",
									 "America/Caracas",
									 "UTC" };

/* One schedule: its series is increasing, and the same from any start. */
static void
check_series(const char *text, const char *zone)
{
	MjSchedule *schedule = schedule_of(text);
	int64 at = (INT64CONST(1200000000) + any(800000000)) * USECS;

	for (int i = 0; schedule != NULL && i < 20; i++)
	{
		int64 next;
		int64 again = 0;
		int64 from;
		MjZone fresh = *zone_named(zone);

		if (!mj_cron_next(schedule, zone_named(zone), at, &next))
			break;
		if (next <= at)
			complain("\"%s\" in %s after %s: %s", text, zone, text_of(at),
					 text_of(next));
		from = next - 1 - (int64) ((next - at - 1) * (any(1000) / 1000.0));
		fresh.known = false;
		if (!mj_cron_next(schedule, &fresh, from, &again) || again != next)
			complain("\"%s\" in %s: after %s %s, but after %s %s", text, zone,
					 text_of(at), text_of(next), text_of(from), text_of(again));
		at = next;
	}
	if (schedule != NULL)
		pfree(schedule);
}

static void
test_properties(void)
{
	for (int i = 0; i < 20000; i++)
	{
		char *text = any_schedule(i % 4 == 0);

		check_series(text, zones[i % lengthof(zones)]);
		pfree(text);
	}
	done("20000 random schedules: increasing, and the same from any start");
}

/* ---- the oracle ---- */

#define ORACLES 32

/* Schedules that every zone is compared on; random ones fill up. */
static const char *const mix[] = { "* * * * *",		  "*/5 * * * *",
								   "0 * * * *",		  "30 2 * * *",
								   "0 0 * * *",		  "0,30 1-3 * * *",
								   "*/10 2 * * *",	  "15 */2 * * *",
								   "0-59 0-23 * * *", "59 23 L * *",
								   "0 9 15W * *",	  "0 9 LW,1W * *",
								   "0 0 * * 5L",	  "30 1 * * mon#1,sun#2,0L",
								   "0 0 13 * 5",	  "0 0 */2 * 1",
								   "0 12 29 2 *",	  "0 3 * jan-mar,10 sun",
								   "45 0-4 31 * *",	  "5 1 1-7 * sat" };

/* One compared schedule. */
typedef struct Comparison
{
	char *text;
	MjSchedule *schedule;
	Oracle oracle;
	int64 next;
	bool failed;
} Comparison;

/* Compares one tick. */
static void
compare_tick(Comparison *c, const char *zone_name, MjZone *zone, int64 at,
			 int64 wall, int64 step, int64 virtual)
{
	bool runs = oracle_tick(&c->oracle, wall, step, virtual);

	if (c->failed || runs == (c->next == at * USECS))
		return;
	complain("\"%s\" in %s: next is %s, the oracle's %s %s", c->text, zone_name,
			 text_of(c->next), runs ? "is" : "is not", text_of(at * USECS));
	c->failed = true;
}

/* Lives from one UTC second to another with some schedules. */
static void
compare_span(Comparison *all, int count, const char *zone_name, int64 from,
			 int64 until, int64 step)
{
	MjZone *zone = zone_named(zone_name);
	int64 change = from;
	int32 offset = 0;
	int32 after;
	int64 virtual = 0;

	for (int i = 0; i < count; i++)
	{
		if (!mj_cron_next(all[i].schedule, zone, from * USECS - 1,
						  &all[i].next))
			all[i].next = PG_INT64_MAX;
	}
	for (int64 at = from; at < until; at += step)
	{
		if (at >= change && !zone->change(zone, at, &change, &offset, &after))
			change = PG_INT64_MAX;
		if (at == from)
			virtual = at + offset - step;
		for (int i = 0; i < count; i++)
		{
			Comparison *c = &all[i];

			compare_tick(c, zone_name, zone, at, at + offset, step, virtual);
			if (c->next == at * USECS &&
				!mj_cron_next(c->schedule, zone, c->next, &c->next))
				c->next = PG_INT64_MAX;
		}
		virtual = oracle_clock(at + offset, virtual);
	}
}

/* Sets up a comparison. */
static void
open_comparison(Comparison *c, char *text)
{
	c->text = text;
	c->schedule = schedule_of(text);
	c->failed = false;
	if (c->schedule == NULL)
		exit(1);
	oracle_open(&c->oracle, text);
}

static void
test_oracle(int zone, int years)
{
	static Comparison all[ORACLES];
	int64 from = instant_of("2009-05-10T00:00:00Z") / USECS;

	for (int i = 0; i < ORACLES; i++)
		open_comparison(&all[i],
						i < (int) lengthof(mix) ? pstrdup(mix[i]) :
												  any_schedule(false));
	compare_span(all, ORACLES, zones[zone], from,
				 from + (int64) years * 31557600 / 60 * 60, 60);
	done("%d schedules agree with the oracle over %d years in %s", ORACLES,
		 years, zones[zone]);
	for (int i = 0; i < ORACLES; i++)
	{
		pfree(all[i].text);
		pfree(all[i].schedule);
	}
}

/* Second after second, on the days around each change of a zone. */
static void
test_seconds(int zone)
{
	MjZone *z = zone_named(zones[zone]);
	Comparison all[4];
	int64 at = instant_of("2009-05-10T00:00:00Z") / USECS;
	int32 before;
	int32 after;
	int changes = 0;

	for (; changes < 8 && z->change(z, at, &at, &before, &after); changes++)
	{
		for (int i = 0; i < (int) lengthof(all); i++)
			open_comparison(&all[i],
							i == 0 ? pstrdup("*/7 30 2 * * *") :
									 any_schedule(true));
		compare_span(all, lengthof(all), zones[zone], at - 30000, at + 30000,
					 1);
		for (int i = 0; i < (int) lengthof(all); i++)
		{
			pfree(all[i].text);
			pfree(all[i].schedule);
		}
	}
	done(
		"%d schedules of seconds agree with the oracle around %d changes in %s",
		(int) lengthof(all), changes, zones[zone]);
}

int
main(int argc, char **argv)
{
	int years = argc > 2 ? atoi(argv[2]) : 2;

	if (argc < 2)
	{
		fprintf(stderr, "usage: cron_test vectors.tsv [years]\n");
		return 2;
	}
	test_vectors(argv[1]);
	test_refused();
	test_same();
	test_hostile();
	test_notes();
	test_words();
	test_series();
	test_steps();
	test_kinds();
	test_ends_of_time();
	test_properties();
	for (int i = 0; i < (int) lengthof(zones); i++)
		test_oracle(i, years);
	for (int i = 0; i < (int) lengthof(zones) - 1; i++)
		test_seconds(i);
	printf("1..%d\n", tests);
	return failures > 0;
}
