/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  The clock: the only place where the extension reads the time of day.
 *
 * In a build with -DMJ_TESTING the setting motionify_jobs.test_clock, when
 * not empty, is what every process of the server takes for the time; it
 * stands still until the setting is changed and reloaded.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"

#ifdef MJ_TESTING

static char *test_clock = NULL;
static TimestampTz test_clock_value = 0;

/* GUC check hook: the text must be a timestamptz; keep its value as extra. */
static bool
check_test_clock(char **newval, void **extra, GucSource source)
{
	TimestampTz *value = MJ_GUC_MALLOC(sizeof(TimestampTz));

	if (value == NULL)
		return false;
	*value = 0;
	if (**newval != '\0')
		*value = DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(*newval),
								ObjectIdGetDatum(InvalidOid),
								Int32GetDatum(-1)));
	*extra = value;
	return true;
}

static void
assign_test_clock(const char *newval, void *extra)
{
	test_clock_value = *((TimestampTz *) extra);
}

/* Define motionify_jobs.test_clock; called once from _PG_init. */
void
mj_clock_init(void)
{
	DefineCustomStringVariable("motionify_jobs.test_clock",
							   "The time of day, for tests.",
							   "Empty: the real time.", &test_clock, "",
							   PGC_SIGHUP, GUC_NOT_IN_SAMPLE, check_test_clock,
							   assign_test_clock, NULL);
}

/* The time of day. */
TimestampTz
mj_clock_now(void)
{
	return test_clock_value != 0 ? test_clock_value : GetCurrentTimestamp();
}

/*
 * Is time injected?  Then a wait for a due instant ends by a reload only.
 */
static bool
clock_is_injected(void)
{
	return test_clock_value != 0;
}

#else /* !MJ_TESTING */

void
mj_clock_init(void)
{
}

/* The time of day. */
TimestampTz
mj_clock_now(void)
{
	return GetCurrentTimestamp();
}

static bool
clock_is_injected(void)
{
	return false;
}

#endif /* MJ_TESTING */

/*
 * The real time, also where tests inject another: for how long processes stay
 * and when failed starts are tried again.
 */
TimestampTz
mj_clock_real(void)
{
	return GetCurrentTimestamp();
}

/*
 * Microseconds to wait until an instant, 0 when it has passed, at most
 * at_most_us.  DT_NOEND is never.
 */
TimestampTz
mj_clock_us_until(TimestampTz instant, TimestampTz at_most_us)
{
	TimestampTz now = mj_clock_now();

	if (instant <= now)
		return 0;
	if (clock_is_injected() || instant >= now + at_most_us)
		return at_most_us;
	return instant - now;
}

/* The same in milliseconds, rounded up. */
long
mj_clock_ms_until(TimestampTz instant, long at_most_ms)
{
	TimestampTz us = mj_clock_us_until(instant, at_most_ms * INT64CONST(1000));

	return (long) ((us + 999) / 1000);
}
