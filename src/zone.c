/*-------------------------------------------------------------------------
 *
 * zone.c
 *	  The time zone: what the schedule needs of it, from PostgreSQL's own
 *	  zone library.
 *
 * PostgreSQL loads a zone's data once per process and keeps it, so an update
 * of the zone data counts from the next process on.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"

#include "zone.h"

/*
 * MjZone's callback over a pg_tz.  A failure of the library, which only
 * times out of any calendar's range cause, reads as UTC without changes.
 */
static bool
mj_zone_change(const MjZone *zone, int64 at, int64 *when, int32 *before,
			   int32 *after)
{
	pg_time_t start = (pg_time_t) at;
	pg_time_t boundary = 0;
	long int offset_before = 0;
	long int offset_after = 0;
	int dst_before;
	int dst_after;
	int found;

	found = pg_next_dst_boundary(&start, &offset_before, &dst_before, &boundary,
								 &offset_after, &dst_after,
								 (const pg_tz *) zone->data);
	*before = found < 0 ? 0 : (int32) offset_before;
	if (found <= 0)
		return false;
	*when = (int64) boundary;
	*after = (int32) offset_after;
	return true;
}

/* Whether SET timezone would take the text as hours east of UTC. */
static bool
is_bare_number(const char *text)
{
	char *end;

	(void) strtod(text, &end);
	return end != text && *end == '\0';
}

/*
 * Opens the zone of that name, in any case of letters, as SET timezone does;
 * not its bare numbers of hours, which the zone library would read with the
 * opposite sign.  Returns false if PostgreSQL does not know it or refuses it
 * for counting leap seconds.  Needs no transaction.  The zone stays valid for
 * the life of the process; it is plain data and may be copied.
 */
bool
mj_zone_open(const char *name, MjZone *zone)
{
	pg_tz *tz = is_bare_number(name) ? NULL : pg_tzset(name);

	if (tz == NULL || !pg_tz_acceptable(tz))
		return false;
	memset(zone, 0, sizeof(MjZone));
	zone->change = mj_zone_change;
	zone->data = tz;
	return true;
}

/*
 * The zone's name as the zone data spells it ("Europe/Berlin" for
 * "europe/berlin").
 */
const char *
mj_zone_name(const MjZone *zone)
{
	return pg_get_timezone_name((pg_tz *) unconstify(void *, zone->data));
}
