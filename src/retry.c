/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  The retry: whether a failed run is tried again, and when.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "retry.h"
#include "schedule.h"

/* No wait is longer. */
#define MJ_MAX_WAIT_US (366.0 * USECS_PER_DAY)

#define SQLSTATE_LENGTH 5
#define CLASS_LENGTH 2

/* Is a text a SQLSTATE, or the class of some: five, or two, of 0-9 and A-Z? */
bool
mj_retry_is_valid_on(const char *sqlstate)
{
	size_t length = strlen(sqlstate);

	return (length == SQLSTATE_LENGTH || length == CLASS_LENGTH) &&
		strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length;
}

/* Is a SQLSTATE, or its class, in a job's list? */
static bool
is_listed(ArrayType *list, const char *sqlstate)
{
	Datum *elements;
	int n;
	int i;

	deconstruct_array(list, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	for (i = 0; i < n; i++)
	{
		const char *element = TextDatumGetCString(elements[i]);

		if (strncmp(element, sqlstate, strlen(element)) == 0)
			return true;
	}
	return false;
}

/* Is a run that has failed so often, the last time so, to be tried again? */
bool
mj_retry_is_worth_it(const MjJob *job, int failures, const char *sqlstate)
{
	if (failures >= job->max_attempts)
		return false;
	return job->retry_on == NULL || is_listed(job->retry_on, sqlstate);
}

/* Microseconds that a job waits after so many failures, without jitter. */
static double
wait_us(const MjJob *job, int failures)
{
	double base = mj_interval_usecs(job->backoff_base);
	double most = job->backoff_cap != NULL ?
		mj_interval_usecs(job->backoff_cap) :
		MJ_MAX_WAIT_US;

	if (strcmp(job->backoff, "linear") == 0)
		base *= failures;
	else if (strcmp(job->backoff, "exponential") == 0)
		base = ldexp(base, failures - 1);
	return Min(base, most);
}

/*
 * When a run is tried again that has failed so often, the last time now.  The
 * jitter keeps what failed together from being tried again together.
 */
TimestampTz
mj_retry_at(const MjJob *job, int failures, TimestampTz now)
{
	double part = job->backoff_jitter * pg_prng_double(&pg_global_prng_state);

	return now + (TimestampTz) (wait_us(job, failures) * (1.0 - part));
}
