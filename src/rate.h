/*-------------------------------------------------------------------------
 *
 * rate.h
 *	  How often something may happen: token buckets, one or many by name.
 *
 * The time is the caller's, in microseconds of any clock that does not go
 * back.  Nothing here allocates or waits.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_RATE_H
#define MJ_RATE_H

#include "pure.h"

/*
 * A bucket, kept as the instant when it will be full: it needs no refilling.
 * All zeroes is a full one.
 */
typedef struct MjBucket
{
	int64 full_at;
} MjBucket;

/* Names that have a bucket which is not full */
#define MJ_RATE_NAMES 4096

typedef struct MjNamedBucket
{
	uint32 name; /* its hash; 0: free */
	MjBucket bucket;
	MjBucket turns; /* what was promised for later */
} MjNamedBucket;

typedef struct MjBuckets
{
	MjNamedBucket named[MJ_RATE_NAMES];
} MjBuckets;

extern int64 mj_bucket_wait(const MjBucket *bucket, double rate, int64 now);
extern void mj_bucket_take(MjBucket *bucket, double rate, int64 now);
extern int64 mj_bucket_count(const MjBucket *bucket, double rate, int64 now);

extern MjNamedBucket *mj_buckets_find(MjBuckets *buckets, const char *name,
									  double rate, int64 now);

#endif /* MJ_RATE_H */
