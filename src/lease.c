/*-------------------------------------------------------------------------
 *
 * lease.c
 *	  The lease: what a worker outside of the server has of a run.
 *
 * A lease that has run out counts until the scheduler takes the run back, for
 * until then nobody else can have it.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "access.h"
#include "lease.h"
#include "runlog.h"
#include "schedule.h"

/* Raise 42501 unless the current user may act for workers of a role. */
static void
check_worker(Oid role)
{
	if (!mj_access_is_member(role) && !mj_access_is_owner())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for this lease"),
				 errhint(
					 "Workers connect as a member of the role of their job.")));
}

/* Raise 55000 for a token that is nobody's, and never was as far as is known. */
static void
raise_unknown(const pg_uuid_t *token)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("lease %s does not exist",
				DatumGetCString(
					DirectFunctionCall1(uuid_out, UUIDPGetDatum(token)))),
		 errdetail(
			 "The run was released, its job was unscheduled, or there never was such a lease."),
		 errhint("Stop this work and claim another run.")));
}

/* Raise 55000 with what became of the attempt of a token: 42501, too. */
static void
raise_lost(const pg_uuid_t *token)
{
	MjEndedLease ended;

	if (!mj_lease_find_ended(token, &ended))
		raise_unknown(token);
	check_worker(ended.role_oid);
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("the lease of run " INT64_FORMAT " of job \"%s\" has ended",
				ended.run_id, ended.job),
		 errdetail("This attempt ended as %s at %s%s%s.", ended.status,
				   timestamptz_to_str(ended.finished_at),
				   ended.error ? ": " : "", ended.error ? ended.error : ""),
		 strcmp(ended.status, "succeeded") == 0 ?
			 errhint("Nothing is left to do.") :
			 errhint(
				 "Stop this work: the run is not this worker's any more.")));
}

/*
 * The lease of a token, locked, and its job, of which what an executor needs to
 * know is filled.  Raises 55000 when the run was taken away, 42501.
 */
void
mj_lease_require(const pg_uuid_t *token, MjLease *lease, MjJob *job)
{
	bool found;

	if (!mj_lease_lock(token, lease))
		raise_lost(token);
	mj_job_to_execute(&lease->run, 1, job, &found);
	if (!found)
		raise_unknown(token);
	check_worker(job->role_oid);
}

/*
 * When a lease of so long ends that is given now, of an attempt that has its
 * job's timeout.
 */
TimestampTz
mj_lease_end(const Interval *length, const MjJob *job, TimestampTz started_at,
			 TimestampTz now)
{
	TimestampTz until = now + (TimestampTz) mj_interval_usecs(length);

	if (job->timeout != NULL)
		until = Min(until,
					started_at + (TimestampTz) mj_interval_usecs(job->timeout));
	return until;
}

/*
 * A run that a worker outside has ends as cancelled; the worker is told when it
 * speaks up.  False when it is not leased.  The caller has checked the rights.
 */
bool
mj_lease_cancel(int64 run_id, const char *reason)
{
	MjLease lease;

	if (!mj_lease_lock_run(run_id, &lease))
		return false;
	mj_runlog_cancelled(&lease.run, reason);
	return true;
}

/* The same for all leases of a job. */
void
mj_lease_cancel_job(const MjJob *job, const char *reason)
{
	MjLease *leases;
	int n = mj_lease_lock_job(job->job_id, &leases);
	int i;

	for (i = 0; i < n; i++)
		mj_runlog_cancelled(&leases[i].run, reason);
}
