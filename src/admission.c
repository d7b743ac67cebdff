/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  The admission: what becomes of held runs.
 *
 * A run whose job lets only so many of its runs go on at once, or has a
 * concurrency key, is held when it is due.  At each tick some are admitted,
 * and some come to an end here: those that a later one replaces, and those for
 * which there is no place in the line.  All of it follows from the tables, so
 * what a scheduler that died had in mind need not be known.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "admission.h"
#include "call_store.h"
#include "clock.h"
#include "gate_store.h"
#include "lapse.h"
#include "runlog.h"
#include "throttle_store.h"

/* How often pings are looked through that wait. */
#define DROP_EVERY_US USECS_PER_SEC

/* End runs of jobs that were unscheduled before they were there to be ended. */
static void
end_orphans(void)
{
	MjRun *runs;
	int n = mj_gate_take_orphans(&runs);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_withdrawn(&runs[i], "its job was unscheduled");
}

/* End runs of jobs that replace, since a later one is there. */
static void
end_replaced(void)
{
	MjRun *runs;
	int n = mj_gate_take_replaced(&runs);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_withdrawn(&runs[i], "replaced by a later run");
}

/* Where one run is in the line already, the later ones are skipped. */
static void
skip_surplus(void)
{
	MjRun *runs;
	int n = mj_gate_take_surplus(&runs);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_passed_over(&runs[i], "another run waits already");
}

/*
 * Drop pings that wait in vain; not at each tick, for it looks at all that wait.
 * Returns whether it is to be done soon.
 */
static bool
drop_outdated_pings(void)
{
	static TimestampTz dropped_at = 0;
	TimestampTz now = mj_clock_real();

	if (now >= dropped_at && now < dropped_at + DROP_EVERY_US)
		return true;
	dropped_at = now;
	(void) mj_call_drop_outdated();
	return false;
}

/*
 * Look at the held runs.  Gives the running runs that are to be cancelled, once
 * this is committed, since a later one replaces them; those that workers outside
 * have are ended here.  Gives, too, when to look again, for a throttle lets the
 * next one pass.  Returns whether runs are held still.  Needs the transaction of
 * a tick.
 */
bool
mj_admission_pass(TimestampTz now, int64 **to_cancel, int *n, TimestampTz *next)
{
	bool held;
	bool look_again;

	*n = 0;
	*next = DT_NOEND;
	if (!mj_gate_any_held())
		return false;
	look_again = drop_outdated_pings();
	end_orphans();
	end_replaced();
	*n = mj_gate_replaced_running(to_cancel);
	if (*n > 0)
		mj_lapse_revoke(*to_cancel, *n, "replaced by a later run");
	mj_throttle_settle();
	mj_gate_admit(now);
	skip_surplus();
	held = mj_gate_any_held();
	if (held)
		*next = mj_throttle_next(now);
	if (held && look_again)
		*next = Min(*next, now + DROP_EVERY_US);
	return held;
}
