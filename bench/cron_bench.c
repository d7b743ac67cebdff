/*-------------------------------------------------------------------------
 *
 * cron_bench.c
 *	  How long one next instant of a schedule takes, in nanoseconds: median
 *	  and 99th percentile over many starts.
 *
 * near: each start is the instant before, as the scheduler asks.  far: starts
 * are spread over ten years, so that the zone is looked up each time.
 *
 *-------------------------------------------------------------------------
 */
#include "cron.h"

#include "../test/unit/cron_zone.h"

#define SAMPLES 2001
#define ROUNDS 50 /* calls per sample: the clock is coarse */

static const char *const schedules[] = { "* * * * *",
										 "*/5 * * * *",
										 "0 * * * *",
										 "0 2 * * *",
										 "10 4 * * 0",
										 "0 9 * * MON-FRI",
										 "0 10 1,L * *",
										 "0 9 15W * *",
										 "0 18 * * MON#2",
										 "*/10 * * * * *",
										 "@every 90 seconds",
										 "0 0 13 * 5",
										 "0 9 * * 1-5; 0 12 * * 6; 30 6 1 * *",
										 "0 0 29 2 *",
										 "0 0 31 2 *",
										 "0 0 29 2 */7",
										 "* 2 * 3 0L" };

/* Monotonic time in nanoseconds. */
static int64
nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Time of one call in nanoseconds, as the mean of a round. */
static double
measure_round(const MjSchedule *schedule, MjZone *zone, bool far, int sample)
{
	int64 at = INT64CONST(1700000000000000) + sample * INT64CONST(157680000000);
	int64 start = nanoseconds();

	for (int i = 0; i < ROUNDS; i++)
	{
		int64 next;

		if (far)
			mj_cron_next(schedule, zone,
						 at + ((i * 7919) % 3650) * INT64CONST(86400000000),
						 &next);
		else if (mj_cron_next(schedule, zone, at, &next))
			at = next;
	}
	return (double) (nanoseconds() - start) / ROUNDS;
}

/* Prints one line's pair of figures. */
static void
measure(const MjSchedule *schedule, MjZone *zone, bool far)
{
	static double times[SAMPLES];

	for (int i = 0; i < SAMPLES; i++)
		times[i] = measure_round(schedule, zone, far, i);
	qsort(times, SAMPLES, sizeof(double), compare);
	printf(" %8.0f %8.0f", times[SAMPLES / 2], times[SAMPLES * 99 / 100]);
}

int
main(int argc, char **argv)
{
	MjZone zone;

	test_zone_open(argc > 1 ? argv[1] : "Europe/Berlin", &zone);
	printf("%-40s %17s %17s\n", "nanoseconds for one next instant",
		   "near: median  p99", "far: median  p99");
	for (int i = 0; i < (int) lengthof(schedules); i++)
	{
		MjSchedule *schedule;
		MjProblem problem;

		if (!mj_cron_parse(schedules[i], &schedule, NULL, &problem))
			return 1;
		printf("%-40s", schedules[i]);
		measure(schedule, &zone, false);
		measure(schedule, &zone, true);
		printf("\n");
		pfree(schedule);
	}
	return 0;
}
