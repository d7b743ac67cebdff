/*-------------------------------------------------------------------------
 *
 * api_pause.c
 *	  The SQL functions that pause jobs and resume them, singly, by group and
 *	  all at once.
 *
 * A paused job has no next instant; a resumed one gets its next instant from
 * now on, so nothing is caught up.  What is so already is left alone.  All
 * raise 25006 in a read-only transaction.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "access.h"
#include "clock.h"
#include "job_lookup.h"
#include "job_plan.h"

PG_FUNCTION_INFO_V1(mj_api_pause);
PG_FUNCTION_INFO_V1(mj_api_resume);
PG_FUNCTION_INFO_V1(mj_api_pause_group);
PG_FUNCTION_INFO_V1(mj_api_resume_group);
PG_FUNCTION_INFO_V1(mj_api_pause_all);
PG_FUNCTION_INFO_V1(mj_api_resume_all);

/* Pause or resume a locked job; false if it is so already. */
static bool
set_paused(MjJob *job, bool paused)
{
	if (job->paused == paused)
		return false;
	mj_job_set_paused(job->job_id, paused,
					  psprintf("by role %s",
							   GetUserNameFromId(GetUserId(), false)),
					  mj_clock_now());
	job->paused = paused;
	if (!paused)
		mj_plan_job(job);
	return true;
}

/* The job of the first argument, which the caller may operate, locked. */
static void
lock_job(FunctionCallInfo fcinfo, const char *function, MjJob *job)
{
	PreventCommandIfReadOnly(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("job name must not be null")));
	mj_job_require_locked(text_to_cstring(PG_GETARG_TEXT_PP(0)), job);
	mj_access_check_operate(job);
}

/*
 * Pause or resume the jobs of a group, or all for NULL, that the caller may
 * operate; returns how many were changed.  Says (NOTICE) what was left out.
 */
static int32
set_group_paused(const char *job_group, bool paused)
{
	int64 *job_ids;
	int n = mj_job_ids_of_group(job_group, &job_ids);
	int32 changed = 0;
	int denied = 0;
	int i;

	PreventCommandIfReadOnly(paused ? "the pausing of jobs" :
									  "the resuming of jobs");
	for (i = 0; i < n; i++)
	{
		MjJob job;

		CHECK_FOR_INTERRUPTS();
		if (!mj_job_by_id(job_ids[i], &job))
			continue;
		if (!mj_access_may_operate(&job))
			denied++;
		else if (mj_job_by_id_locked(job_ids[i], &job) &&
				 mj_access_may_operate(&job) && set_paused(&job, paused))
			changed++;
	}
	if (n == 0 && job_group != NULL)
		ereport(NOTICE, (errmsg("no job is in group \"%s\"", job_group)));
	if (denied > 0)
		ereport(NOTICE,
				(errmsg_plural("%d job of another role was left as it is",
							   "%d jobs of other roles were left as they are",
							   denied, denied)));
	return changed;
}

/* The group that is the first argument; raises 22004. */
static const char *
group_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("job group must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* jobs.pause(name) */
Datum
mj_api_pause(PG_FUNCTION_ARGS)
{
	MjJob job;

	lock_job(fcinfo, "jobs.pause()", &job);
	(void) set_paused(&job, true);
	PG_RETURN_VOID();
}

/* jobs.resume(name) */
Datum
mj_api_resume(PG_FUNCTION_ARGS)
{
	MjJob job;

	lock_job(fcinfo, "jobs.resume()", &job);
	(void) set_paused(&job, false);
	PG_RETURN_VOID();
}

/* jobs.pause_group(job_group) returns integer */
Datum
mj_api_pause_group(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_group_paused(group_argument(fcinfo), true));
}

/* jobs.resume_group(job_group) returns integer */
Datum
mj_api_resume_group(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_group_paused(group_argument(fcinfo), false));
}

/* jobs.pause_all() returns integer */
Datum
mj_api_pause_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_group_paused(NULL, true));
}

/* jobs.resume_all() returns integer */
Datum
mj_api_resume_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_group_paused(NULL, false));
}
