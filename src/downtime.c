/*-------------------------------------------------------------------------
 *
 * downtime.c
 *	  The downtime: something was due, and no scheduler was there.
 *
 * Nobody writes down that a server is up, for nobody is to wake up for that.  But
 * whatever is due is stored: a scheduler that begins, and finds instants that
 * have long passed, knows that none was there, whatever the reason.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "alert_store.h"
#include "downtime.h"
#include "due.h"
#include "guc.h"
#include "job_store.h"

/* Jobs that are looked at, those that have been due longest. */
#define MJ_DOWNTIME_JOBS 1000

/* Jobs that are named. */
#define MJ_DOWNTIME_NAMES 10

/* Count a job that should have been started. */
static void
add_job(const MjJob *job, TimestampTz now, MjDowntime *downtime,
		StringInfo names)
{
	int n = mj_due_count(job, now);

	if (mj_due_is_off(job) || n == 0)
		return;
	if (downtime->jobs == 0)
		downtime->since = job->next_run_at;
	downtime->jobs++;
	downtime->instants += n;
	if (downtime->jobs <= MJ_DOWNTIME_NAMES)
		appendStringInfo(names, "%s%s %d", names->len > 0 ? ", " : "",
						 job->name, n);
	else if (downtime->jobs == MJ_DOWNTIME_NAMES + 1)
		appendStringInfoString(names, " and others");
}

/*
 * A scheduler begins: write down what was missed before, if instants have passed
 * that count as missed.  Before anything is started.  Needs the transaction of a
 * tick.
 */
void
mj_downtime_notice(TimestampTz now)
{
	MjDowntime downtime = { 0 };
	StringInfoData names;
	MjMemory memory;
	MjJob *jobs;
	int n = mj_job_due(now - mj_misfire_grace_s * USECS_PER_SEC,
					   MJ_DOWNTIME_JOBS, &jobs);
	int i;

	if (n == 0)
		return;
	initStringInfo(&names);
	for (i = 0; i < n; i++)
		add_job(&jobs[i], now, &downtime, &names);
	if (downtime.jobs == 0)
		return;
	mj_instance_recall(&memory);
	downtime.until = now;
	downtime.last_seen = memory.last_tick_at;
	downtime.detail = names.data;
	mj_alert_add_downtime(&downtime);
}
