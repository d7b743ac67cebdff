/*-------------------------------------------------------------------------
 *
 * floor.c
 *	  The floor: how far the claims of an executor have come in its lane.
 *
 * A claim takes the first ready runs of an index whose first entries are those
 * of runs that are gone.  While a transaction somewhere is held open these cannot
 * be removed, and each claim would pass over all of them again.  So an executor
 * remembers the place of the last run that it has claimed, and begins there.
 *
 * Who makes runs ready lowers the floors after its commit, to the first of them
 * if it knows which that is.  That also holds for a claim that is under way: it
 * may not have seen them.  What does not tell, such as the abort of somebody who
 * had locked a ready run, is found since an executor looks from the beginning
 * once a second.
 *
 * Layer: plumbing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "clock.h"
#include "floor.h"

/* An executor looks from the beginning this often. */
#define MJ_FROM_BEGINNING_US USECS_PER_SEC

static const MjKey beginning = { PG_INT32_MIN, 0 };

/* When this executor looked from the beginning last; real time. */
static TimestampTz looked_at = 0;

static bool
is_before(const MjKey *a, const MjKey *b)
{
	return a->priority != b->priority ? a->priority < b->priority :
										a->run_id < b->run_id;
}

/*
 * A claim begins: where it is to begin.  Returns whether that is the beginning.
 * An executor only; takes the lock.
 */
bool
mj_floor_begin(MjKey *from)
{
	TimestampTz now = mj_clock_real();
	bool first;

	mj_lock();
	if (now < looked_at || now >= looked_at + MJ_FROM_BEGINNING_US)
		mj_my_slot->floor = beginning;
	*from = mj_my_slot->floor;
	first = !is_before(&beginning, from);
	mj_my_slot->claims_now = true;
	mj_my_slot->arrived = (MjKey){ PG_INT32_MAX, PG_INT64_MAX };
	mj_unlock();
	if (first)
		looked_at = now;
	return first;
}

/*
 * A claim is over: the last run that it took, or NULL.  An executor only; takes
 * the lock.
 */
void
mj_floor_end(const MjKey *last)
{
	mj_lock();
	mj_my_slot->claims_now = false;
	if (last != NULL)
		mj_my_slot->floor =
			is_before(&mj_my_slot->arrived, last) ? mj_my_slot->arrived : *last;
	mj_unlock();
}

/*
 * Runs of a database have become ready, the first of them with a key, or (NULL)
 * anywhere.  Takes the lock; neither allocates nor raises.
 */
void
mj_floor_lower(Oid database, const MjKey *arrived)
{
	int i;

	if (arrived == NULL)
		arrived = &beginning;
	mj_lock();
	for (i = 0; i < mj_shared->nslots; i++)
	{
		MjSlot *slot = &mj_slots[i];

		if (slot->state == MJ_SLOT_FREE || slot->database != database)
			continue;
		if (is_before(arrived, &slot->floor))
			slot->floor = *arrived;
		if (slot->claims_now && is_before(arrived, &slot->arrived))
			slot->arrived = *arrived;
	}
	mj_unlock();
}
