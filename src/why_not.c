/*-------------------------------------------------------------------------
 *
 * why_not.c
 *	  Why a job will not run, in words.
 *
 * Each reason stands for itself; several are joined by "; ".  Settings are
 * those of this session, which may have started before the last ALTER
 * DATABASE.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"

#include "access.h"
#include "clock.h"
#include "guc.h"
#include "http_rules.h"
#include "job_plan.h"
#include "schedule.h"
#include "shmem.h"
#include "why_not.h"

static void add_reason(StringInfo reasons, const char *format, ...)
	pg_attribute_printf(2, 3);

/* Append one more reason. */
static void
add_reason(StringInfo reasons, const char *format, ...)
{
	va_list args;
	char reason[512];

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	appendStringInfo(reasons, "%s%s", reasons->len > 0 ? "; " : "", reason);
}

/* Has jobs.drain() closed this database? */
static bool
is_drained(void)
{
	MjDatabase *entry;
	bool drained;

	if (!mj_shmem_available())
		return false;
	mj_lock();
	entry = mj_database_find(MyDatabaseId);
	drained = entry != NULL && entry->drained;
	mj_unlock();
	return drained;
}

/* Append why no job at all runs in this database now. */
void
mj_why_not_here(bool own_instance, StringInfo reasons)
{
	char *database = get_database_name(MyDatabaseId);

	if (!mj_shmem_available())
		add_reason(reasons,
				   "motionify_jobs is not in shared_preload_libraries");
	if (RecoveryInProgress())
		add_reason(reasons, "the server is a standby");
	if (!mj_enabled)
		add_reason(reasons, "motionify_jobs.enabled is off");
	if (!mj_guc_database_is_served(database))
		add_reason(reasons,
				   "database \"%s\" is not in motionify_jobs.databases",
				   database);
	if (is_drained())
		add_reason(reasons, "it is drained; see jobs.undrain()");
	if (!own_instance)
		add_reason(
			reasons,
			"it was defined in another database or installation; see jobs.adopt()");
}

/* Append why a schedule has no next instant, if it never will. */
static void
why_never(const MjJob *job, StringInfo reasons)
{
	MjTimetable timetable;
	MjProblem problem;
	TimestampTz next;

	if (!mj_plan_open(job, &timetable, &problem))
		add_reason(reasons, "%s", problem.message);
	else if (!mj_cron_is_reboot(timetable.schedule) &&
			 !mj_timetable_next(&timetable, mj_clock_now(), &next))
		add_reason(reasons, "its schedule never fires again");
}

/* Append why the URL of a job is not called, as far as settings say. */
static void
why_not_called(const MjJob *job, StringInfo reasons)
{
	MjHttpUrl url;
	MjProblem problem;

	if (mj_http_check_url(job->url ? job->url : "", false, &url, &problem) != 0)
		add_reason(reasons, "%s", problem.message);
}

/*
 * Append why a job does not run for reasons of its own.  Reads its pause,
 * switches, role, schedule and next instant.
 */
void
mj_why_not_job(const MjJob *job, StringInfo reasons)
{
	MjRoleProblem problem;

	if (job->paused && job->pause_reason)
		add_reason(reasons, "paused: %s", job->pause_reason);
	else if (job->paused)
		add_reason(reasons, "paused");
	if (!job->enabled)
		add_reason(reasons, "disabled");
	if (mj_guc_group_is_disabled(job->job_group))
		add_reason(reasons, "group \"%s\" is in motionify_jobs.disabled_groups",
				   job->job_group);
	if (!mj_access_job_can_run(job, mj_access_job_role(job), &problem))
		add_reason(reasons, "%s", problem.message);
	if (job->http)
		why_not_called(job, reasons);
	if (job->max_runs > 0 && job->runs >= job->max_runs)
		add_reason(reasons, "its schedule has made its %d runs", job->max_runs);
	else if (job->planned != NULL && job->next_run_at == 0)
		why_never(job, reasons);
}
