/*-------------------------------------------------------------------------
 *
 * rate.c
 *	  How often something may happen: token buckets, one or many by name.
 *
 * A bucket holds a token and those of a tenth of a second, so that no second
 * sees much more than its rate, and a loop that is late makes up for it.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "common/hashfn.h"
#include "rate.h"

#define USECS INT64CONST(1000000)

/* A bucket is looked for in so many places. */
#define PROBES 16

/* The time that a token takes to come. */
static int64
token_us(double rate)
{
	return (int64) (USECS / rate);
}

/* The time in which an empty bucket gets full. */
static int64
depth_us(double rate)
{
	return token_us(rate) + USECS / 10;
}

/*
 * How long it is until there is a token; 0: there is one.  A rate of 0 is no
 * limit.
 */
int64
mj_bucket_wait(const MjBucket *bucket, double rate, int64 now)
{
	if (rate <= 0)
		return 0;
	return Max(bucket->full_at + token_us(rate) - depth_us(rate) - now, 0);
}

/*
 * Take a token, whether or not there is one: a debt is paid off by the time.
 */
void
mj_bucket_take(MjBucket *bucket, double rate, int64 now)
{
	if (rate > 0)
		bucket->full_at = Max(bucket->full_at, now) + token_us(rate);
}

/*
 * How many tokens there are.  With a rate of 0, as many as anybody needs.
 */
int64
mj_bucket_count(const MjBucket *bucket, double rate, int64 now)
{
	int64 missing = Max(bucket->full_at - now, 0);

	if (rate <= 0)
		return PG_INT32_MAX;
	return Max(depth_us(rate) - missing, 0) / Max(token_us(rate), 1);
}

/* The bucket that can be done without first. */
static bool
is_better_victim(const MjNamedBucket *a, const MjNamedBucket *b)
{
	return Max(a->bucket.full_at, a->turns.full_at) <
		Max(b->bucket.full_at, b->turns.full_at);
}

/*
 * The buckets of a name, in any case of letters.  New ones are full.  If there
 * are too many names, those are forgotten that are full again, or will be soonest.
 */
MjNamedBucket *
mj_buckets_find(MjBuckets *buckets, const char *name, double rate, int64 now)
{
	uint32 hash = 0;
	MjNamedBucket *victim = NULL;

	for (const char *p = name; *p; p++)
		hash = murmurhash32(hash * 31 + pg_ascii_tolower((unsigned char) *p));
	hash = Max(hash, 1);
	for (int i = 0; i < PROBES; i++)
	{
		MjNamedBucket *at = &buckets->named[(hash + i) % MJ_RATE_NAMES];

		if (at->name == hash)
			return at;
		if (victim == NULL || at->name == 0 || is_better_victim(at, victim))
			victim = at;
		if (at->name == 0)
			break;
	}
	memset(victim, 0, sizeof(*victim));
	victim->name = hash;
	return victim;
}
