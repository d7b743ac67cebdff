/*-------------------------------------------------------------------------
 *
 * job_lookup.c
 *	  The job that a caller names: found, or an error that names the nearest.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "access.h"
#include "job_lookup.h"
#include "nearest.h"
#include "shmem.h"

/* The names of all jobs, to find the near ones among them. */
typedef struct MjKnownJobs
{
	MjJobName *names;
	bool sees_all;
} MjKnownJobs;

/* May the current user know of the job of a name? */
static bool
may_know(int i, void *arg)
{
	const MjKnownJobs *known = arg;
	const MjJobName *name = &known->names[i];

	return known->sees_all ||
		mj_access_sees_role(OidIsValid(name->role_oid) ?
								name->role_oid :
								get_role_oid(name->role, true));
}

/*
 * Raise 42704 for a name that no job has, with the nearest names that the
 * current user may know as a hint.
 */
void
mj_job_lookup_failed(const char *name)
{
	MjKnownJobs known;
	int n = mj_job_names(&known.names);
	const char **names = palloc(sizeof(char *) * (n + 1));
	int i;

	known.sees_all = mj_access_sees_all();
	for (i = 0; i < n; i++)
		names[i] = known.names[i].name;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("job \"%s\" does not exist", name),
			 errhint("%s",
					 mj_nearest_hint(name, names, n, may_know, &known,
									 "The view jobs.status lists the jobs."))));
}

/* The job of that name; raises 42704 if there is none. */
void
mj_job_require(const char *name, MjJob *job)
{
	if (!mj_job_find(name, job))
		mj_job_lookup_failed(name);
}

/* The job of that name, its definition locked; raises 42704. */
void
mj_job_require_locked(const char *name, MjJob *job)
{
	if (!mj_job_find_locked(name, job))
		mj_job_lookup_failed(name);
}

/* Raise 55000 if a job was defined in another database, and does not run here. */
void
mj_job_check_own(const MjJob *job)
{
	if (job->foreign_origin)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "job \"%s\" was defined in another database, it does not run here",
				 job->name),
			 errhint("jobs.adopt() makes all jobs this database's own.")));
}

/*
 * Raise unless runs of a job will be done here, as its role, sooner or later:
 * 55000, 42704.
 */
void
mj_job_check_runs_here(const MjJob *job)
{
	if (!mj_shmem_available())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("motionify_jobs is not preloaded"),
			 errhint(
				 "Add motionify_jobs to shared_preload_libraries and restart the server.")));
	mj_job_check_own(job);
	if (!OidIsValid(job->role_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", job->role)));
}
