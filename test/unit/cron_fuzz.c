/*-------------------------------------------------------------------------
 *
 * cron_fuzz.c
 *	  libFuzzer target of the schedule: the input is a zone and an instant
 *	  (nine bytes) and a schedule's text.
 *
 * Beyond what the sanitizers find, it aborts if reading, describing and ten
 * next instants together take long, if instants do not increase, or if a
 * message is not printable.  Instructions of the sanitizer slow it down some
 * three to ten times, so one next instant's limit of 1 ms is taken of CPU
 * time, and once more on a second try to rule out noise.
 *
 *-------------------------------------------------------------------------
 */
#include "cron.h"

#include "cron_zone.h"

#define LIMIT_NSECS INT64CONST(1000000)

static const char *const zone_names[] = { "UTC", "Europe/Berlin",
										  "Australia/Lord_Howe",
										  "Pacific/Apia" };

static MjZone zones[lengthof(zone_names)];

extern int LLVMFuzzerInitialize(int *argc, char ***argv);
extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	for (int i = 0; i < (int) lengthof(zones); i++)
		test_zone_open(zone_names[i], &zones[i]);
	return 0;
}

/* CPU time of this process in nanoseconds. */
static int64
cpu_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

/* Aborts unless a message is printable ASCII. */
static void
check_printable(const char *text)
{
	for (; *text; text++)
	{
		if (*text < ' ' || *text > '~')
			abort();
	}
}

/* One next instant, checked and timed. */
static bool
checked_next(const MjSchedule *schedule, MjZone *zone, int64 *at)
{
	int64 before = cpu_time();
	int64 next;
	bool found = mj_cron_next(schedule, zone, *at, &next);

	if (found && next <= *at)
		abort();
	if (cpu_time() - before > LIMIT_NSECS)
	{
		int64 again;

		zone->known = false;
		before = cpu_time();
		if (mj_cron_next(schedule, zone, *at, &again) != found ||
			cpu_time() - before > LIMIT_NSECS)
			abort();
	}
	if (found)
		*at = next;
	return found;
}

/* Everything that one accepted schedule can do. */
static void
use_schedule(const MjSchedule *schedule, MjZone *zone, int64 at)
{
	StringInfoData words;

	initStringInfo(&words);
	mj_cron_describe(schedule, &words);
	if (words.len == 0)
		abort();
	check_printable(words.data);
	pfree(words.data);
	for (int i = 0; i < 10; i++)
	{
		if (!checked_next(schedule, zone, &at))
			break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static MjCronNotes notes;
	MjSchedule *schedule;
	MjProblem problem;
	MjZone *zone;
	int64 at;
	char *text;

	if (size < 9)
		return 0;
	zone = &zones[data[0] % lengthof(zones)];
	memcpy(&at, data + 1, sizeof(at));
	/* most instants are near, some are wild */
	if ((data[0] & 0x80) == 0)
		at %= INT64CONST(4000000000000000);
	text = palloc(size - 9 + 1);
	memcpy(text, data + 9, size - 9);
	text[size - 9] = '\0';

	if (mj_cron_parse(text, &schedule, &notes, &problem))
	{
		schedule->anchor = at / 3;
		use_schedule(schedule, zone, at);
		for (int i = 0; i < notes.count; i++)
		{
			check_printable(notes.note[i].message);
			check_printable(notes.note[i].detail);
		}
		pfree(schedule);
	}
	else
	{
		check_printable(problem.message);
		check_printable(problem.detail);
		check_printable(problem.hint);
	}
	pfree(text);
	return 0;
}
