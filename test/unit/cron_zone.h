/*-------------------------------------------------------------------------
 *
 * cron_zone.h
 *	  The C library's time zones for the tests of the schedule: not the ones
 *	  that the server uses, which makes them a second opinion.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_CRON_ZONE_H
#define MJ_CRON_ZONE_H

#include <stdlib.h>
#include <time.h>

#include "cron.h"

#define TEST_ZONE_MAX_CHANGES 2048
#define TEST_ZONE_FROM INT64CONST(-4000000000) /* 1843 */
#define TEST_ZONE_UNTIL INT64CONST(9000000000) /* 2255 */

/* The changes of one zone, found by asking the C library hour after hour. */
typedef struct TestZone
{
	int count;
	int64 when[TEST_ZONE_MAX_CHANGES];
	int32 offset[TEST_ZONE_MAX_CHANGES + 1]; /* before each, and last */
} TestZone;

/* Seconds east of UTC at a UTC second, in the zone that TZ names. */
static int32
test_zone_offset(int64 at)
{
	time_t seconds = (time_t) at;
	struct tm tm;

	localtime_r(&seconds, &tm);
	return (int32) tm.tm_gmtoff;
}

/* The first second in (low, high] whose offset is not that of low. */
static int64
test_zone_bisect(int64 low, int64 high)
{
	int32 offset = test_zone_offset(low);

	while (high - low > 1)
	{
		int64 middle = low + (high - low) / 2;

		if (test_zone_offset(middle) == offset)
			low = middle;
		else
			high = middle;
	}
	return high;
}

/* MjZone's callback over a TestZone. */
static bool
test_zone_change(const MjZone *zone, int64 at, int64 *when, int32 *before,
				 int32 *after)
{
	const TestZone *table = zone->data;
	int low = 0;
	int high = table->count;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (table->when[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	*before = table->offset[low];
	if (low == table->count)
		return false;
	*when = table->when[low];
	*after = table->offset[low + 1];
	return true;
}

/* Opens a zone that must exist. */
static void
test_zone_open(const char *name, MjZone *zone)
{
	TestZone *table = calloc(1, sizeof(TestZone));
	int64 step = 5 * 86400;
	char path[256];

	/* without a directory it is TZDIR's, or the system's */
	snprintf(path, sizeof(path), ":%s", name);
	setenv("TZ", path, 1);
	tzset();
	table->offset[0] = test_zone_offset(TEST_ZONE_FROM);
	for (int64 at = TEST_ZONE_FROM; at < TEST_ZONE_UNTIL; at += step)
	{
		while (test_zone_offset(at + step) != table->offset[table->count] &&
			   table->count < TEST_ZONE_MAX_CHANGES)
		{
			int64 low =
				table->count > 0 ? Max(at, table->when[table->count - 1]) : at;

			table->when[table->count] = test_zone_bisect(low, at + step);
			table->count++;
			table->offset[table->count] =
				test_zone_offset(table->when[table->count - 1]);
		}
	}
	memset(zone, 0, sizeof(MjZone));
	zone->change = test_zone_change;
	zone->data = table;
}

#endif /* MJ_CRON_ZONE_H */
