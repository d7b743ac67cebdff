/*-------------------------------------------------------------------------
 *
 * rate_test.c
 *	  Unit tests of token buckets.  The time is a number.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mail_tap.h"
#include "rate.h"

#define SECOND INT64CONST(1000000)

/* How often one may take a token in so many seconds, looking each ms. */
static int
taken(double rate, int seconds, int64 step)
{
	MjBucket bucket = { 0 };
	int64 begin = 1000 * SECOND;
	int n = 0;

	for (int64 now = begin; now < begin + seconds * SECOND; now += step)
	{
		while (n < 10000000 && mj_bucket_wait(&bucket, rate, now) == 0)
		{
			mj_bucket_take(&bucket, rate, now);
			n++;
		}
	}
	return n;
}

static void
test_bucket(void)
{
	MjBucket bucket = { 0 };
	int64 now = 5 * SECOND;

	tap_is_int(mj_bucket_wait(&bucket, 2, now), 0, "a new one has a token");
	mj_bucket_take(&bucket, 2, now);
	tap_is_int(mj_bucket_wait(&bucket, 2, now), SECOND / 2 - SECOND / 10,
			   "then not, for its time");
	tap_is_int(mj_bucket_wait(&bucket, 2, now + SECOND / 4),
			   SECOND / 4 - SECOND / 10, "which passes");
	tap_is_int(mj_bucket_wait(&bucket, 2, now + SECOND / 2), 0, "and is over");
	mj_bucket_take(&bucket, 2, now);
	mj_bucket_take(&bucket, 2, now);
	tap_is_int(mj_bucket_wait(&bucket, 2, now), 3 * SECOND / 2 - SECOND / 10,
			   "a debt is waited for");
	tap_is_int(mj_bucket_wait(&bucket, 0, now), 0, "no rate is no limit");
	tap_is_int(mj_bucket_count(&bucket, 2, now + 10 * SECOND), 1,
			   "tokens do not gather");
	tap_is_int(mj_bucket_count(&bucket, 100, now + 10 * SECOND), 11,
			   "but for a tenth of a second");
	tap_is_int(mj_bucket_count(&bucket, 2, now), 0, "none is none");
}

static void
test_rates(void)
{
	tap_is_int(taken(10, 10, 1000), 101, "10 a second in 10 seconds");
	tap_is_int(taken(10, 10, 70000), 101, "also when it is looked seldom");
	tap_is_int(taken(0.5, 10, 1000), 6, "one in two seconds");
	tap_ok(taken(1000, 1, 1000) <= 1100, "no second sees much more");
	tap_ok(taken(1000, 10, 50000) >= 10000, "what comes late makes up for it");
}

static void
test_names(void)
{
	static MjBuckets buckets;
	int64 now = SECOND;
	char name[32];
	MjNamedBucket *a = mj_buckets_find(&buckets, "example.com", 1, now);

	mj_bucket_take(&a->bucket, 1, now);
	tap_ok(mj_buckets_find(&buckets, "Example.COM", 1, now) == a,
		   "names in any case");
	tap_ok(mj_buckets_find(&buckets, "example.org", 1, now) != a,
		   "another name");
	for (int i = 0; i < 10 * MJ_RATE_NAMES; i++)
	{
		snprintf(name, sizeof(name), "d%d.example", i);
		(void) mj_buckets_find(&buckets, name, 1, now);
	}
	tap_ok(mj_buckets_find(&buckets, "example.com", 1, now) == a &&
			   mj_bucket_wait(&a->bucket, 1, now) == SECOND - SECOND / 10,
		   "one that is not full is kept however many come");
}

int
main(void)
{
	test_bucket();
	test_rates();
	test_names();
	return tap_done();
}
