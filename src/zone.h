/*-------------------------------------------------------------------------
 *
 * zone.h
 *	  The time zone: what the schedule needs of it, from PostgreSQL's own
 *	  zone library.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_ZONE_H
#define MJ_ZONE_H

#include "cron.h"
#include "datatype/timestamp.h"

/* Microseconds between the Unix epoch and PostgreSQL's */
#define MJ_ZONE_EPOCH_SHIFT \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

extern bool mj_zone_open(const char *name, MjZone *zone);
extern const char *mj_zone_name(const MjZone *zone);

/*
 * Between the instants of cron.h and timestamptz.  Both saturate instead of
 * wrapping around: what timestamptz cannot hold is an infinity.
 */
static inline int64
mj_zone_instant(TimestampTz time)
{
	if (time > PG_INT64_MAX - MJ_ZONE_EPOCH_SHIFT)
		return PG_INT64_MAX;
	return time + MJ_ZONE_EPOCH_SHIFT;
}

static inline TimestampTz
mj_zone_timestamptz(int64 instant)
{
	if (instant < MIN_TIMESTAMP + MJ_ZONE_EPOCH_SHIFT)
		return DT_NOBEGIN;
	if (instant - MJ_ZONE_EPOCH_SHIFT >= END_TIMESTAMP)
		return DT_NOEND;
	return instant - MJ_ZONE_EPOCH_SHIFT;
}

#endif /* MJ_ZONE_H */
