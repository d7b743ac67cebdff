/*-------------------------------------------------------------------------
 *
 * job_plan.c
 *	  The plan of a job: its next instant, and where that comes from.
 *
 * A job goes by its schedule, or by what overrides it; in its zone, or the
 * default one; until it is paused, disabled, or has had its runs.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/acl.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "job_plan.h"
#include "xact.h"
#include "zone.h"

/*
 * Open what a job goes by; false and *problem if that is not understood.  The
 * job has a schedule.
 */
bool
mj_plan_open(const MjJob *job, MjTimetable *timetable, MjProblem *problem)
{
	if (!mj_timetable_open(timetable, job->planned, job->timezone, NULL,
						   problem))
		return false;
	if (job->anchor != 0)
		timetable->schedule->anchor = mj_zone_instant(job->anchor);
	return true;
}

/* May a job's schedule start runs: it is neither stopped nor through? */
bool
mj_plan_is_open(const MjJob *job)
{
	return job->planned != NULL && job->enabled && !job->paused &&
		(job->max_runs == 0 || job->runs < job->max_runs);
}

/* A job's first instant later than "after"; 0: there is none. */
TimestampTz
mj_plan_next(const MjJob *job, TimestampTz after)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz next = 0;

	if (!mj_plan_is_open(job) || !mj_plan_open(job, &timetable, &problem))
		return 0;
	if (!mj_timetable_next(&timetable, after, &next))
		next = 0;
	pfree(timetable.schedule);
	return next;
}

/*
 * Compute a job's next instant from now, store it, and have the workers look
 * at commit.  A schedule that this version does not understand has none.  A
 * restored job whose role is not there gets no state: the scheduler makes it
 * when it finds the role.  The job is locked.
 */
void
mj_plan_job(MjJob *job)
{
	Oid role = OidIsValid(job->role_oid) ? job->role_oid :
										   get_role_oid(job->role, true);

	job->next_run_at = mj_plan_next(job, mj_clock_now());
	if (OidIsValid(role))
		mj_job_set_state(job->job_id, job->next_run_at, 0, role);
	mj_xact_wake(job->next_run_at ? job->next_run_at : DT_NOEND, MJ_LANE_NONE);
}
