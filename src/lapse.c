/*-------------------------------------------------------------------------
 *
 * lapse.c
 *	  The lapse: what becomes of leases that have run out.
 *
 * A worker that neither ends its run nor sends a heartbeat counts as dead, and
 * the attempt as crashed: the run is ready again at once, and given up at the
 * last crash that a run is granted.  Its job is not paused, for no server has
 * crashed.  Where it was the job's timeout that ended the lease, the attempt
 * has timed out, as one in the server would have.
 *
 * Layer: loops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "lapse.h"
#include "lease_store.h"
#include "ping.h"
#include "runlog.h"
#include "schedule.h"
#include "xact.h"

/* Leases that one transaction of a tick takes. */
#define MJ_LAPSE_LIMIT 1000

/* A leased run has used up its time: a failure. */
static void
time_out(const MjRun *run, const MjJob *job, TimestampTz now)
{
	MjRunOwner owner;
	MjOutcome outcome = { 0 };

	mj_runlog_owner(job, &owner);
	outcome.status = "timed_out";
	outcome.rows_isnull = true;
	outcome.sqlstate = "57014";
	outcome.error = psprintf("run timed out after %.0f ms",
							 mj_interval_usecs(job->timeout) / 1000.0);
	outcome.finished_at = now;
	(void) mj_runlog_failed(run, &owner, &outcome, job);
	mj_runlog_report(run, &owner, &outcome);
}

/* End what has used up its time; whether there may be more. */
static bool
time_out_runs(TimestampTz now)
{
	MjLease *leases;
	int n = mj_lease_lock_timed(now, MJ_LAPSE_LIMIT, &leases);
	int i;

	for (i = 0; i < n; i++)
	{
		MjJob job;
		bool found;

		mj_job_to_execute(&leases[i].run, 1, &job, &found);
		if (found && job.timeout != NULL) /* still */
			time_out(&leases[i].run, &job, now);
	}
	return n >= MJ_LAPSE_LIMIT;
}

/* The last crash that a run is granted is told to the URL of its job. */
static void
ping_end(const MjLapsedLease *lapsed)
{
	MjJob job;
	MjRun run;

	if (mj_job_by_id(lapsed->run.job_id, &job) && job.ping_url != NULL &&
		!mj_queue_find(lapsed->run.run_id, &run))
		mj_ping_failed(&job, &lapsed->outcome);
}

/* Take back the rest of what has run out; whether there may be more. */
static bool
take_back_runs(TimestampTz now)
{
	MjLapsedLease *lapsed;
	int n = mj_lease_lapse(now, MJ_LAPSE_LIMIT, MJ_MAX_CRASHES, &lapsed);
	int i;

	for (i = 0; i < n; i++)
	{
		ping_end(&lapsed[i]);
		mj_xact_run_ended(lapsed[i].run.run_id);
		mj_runlog_report(&lapsed[i].run, &lapsed[i].owner, &lapsed[i].outcome);
	}
	return n >= MJ_LAPSE_LIMIT;
}

/*
 * Look after leases that have run out.  Returns when to look again; DT_NOEND:
 * there are none.  Needs the transaction of a tick.
 */
TimestampTz
mj_lapse_pass(TimestampTz now)
{
	TimestampTz next = mj_lease_next_end();
	bool more;

	if (next > now)
		return next;
	more = time_out_runs(now);
	more |= take_back_runs(now);
	if (more)
		return now;
	next = mj_lease_next_end();
	return next > now ? next : now + USECS_PER_SEC; /* locked */
}

/*
 * Of some runs those that workers outside have end as cancelled.  Needs the
 * transaction of a tick.
 */
void
mj_lapse_revoke(const int64 *run_ids, int n, const char *reason)
{
	MjLease *leases;
	int i;

	n = mj_lease_lock_runs(run_ids, n, &leases);
	for (i = 0; i < n; i++)
		mj_runlog_cancelled(&leases[i].run, reason);
}
