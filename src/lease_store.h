/*-------------------------------------------------------------------------
 *
 * lease_store.h
 *	  Leases: runs of jobs.queue that workers outside of the server have.
 *
 * All functions need a transaction.  They open their own store scope.  What
 * takes a run from its worker needs the lease locked.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_LEASE_STORE_H
#define MJ_LEASE_STORE_H

#include "history_store.h"
#include "queue_store.h"

/* The channel of a lane, on which its workers hear of runs that are ready. */
#define MJ_CHANNEL_PREFIX "motionify_jobs_"

/* A leased run: run.token and run.worker are filled. */
typedef struct MjLease
{
	MjRun run;
	TimestampTz until;
	Interval *length; /* how far a heartbeat moves it */
} MjLease;

/* What a worker says of its lease.  Where it says nothing, all stays. */
typedef struct MjBeat
{
	Interval *length;
	int64 *done;
	int64 *total;
	const char *note; /* empty: none any more */
} MjBeat;

/* What became of an attempt that was leased. */
typedef struct MjEndedLease
{
	int64 run_id;
	const char *job;
	Oid role_oid;
	const char *status;
	const char *error; /* may be NULL */
	TimestampTz finished_at;
} MjEndedLease;

/* A lease that has run out, as it was logged. */
typedef struct MjLapsedLease
{
	MjRun run; /* run_id, job_id, attempt, started_at only */
	MjRunOwner owner;
	MjOutcome outcome;
} MjLapsedLease;

/* A run that is ready for a worker; another version each time that it is. */
typedef struct MjReadyRun
{
	int64 lane;
	int64 run_id;
	uint32 version;
} MjReadyRun;

/* workers outside, through the SQL surface */
extern int mj_lease_claim(int64 lane, TimestampTz now, const MjLease *terms,
						  int limit, MjLease **leases);
extern bool mj_lease_lock(const pg_uuid_t *token, MjLease *lease);
extern bool mj_lease_lock_run(int64 run_id, MjLease *lease);
extern int mj_lease_lock_job(int64 job_id, MjLease **leases);
extern void mj_lease_extend(const MjRun *run, TimestampTz until,
							const MjBeat *beat);
extern bool mj_lease_delete(const MjRun *run);
extern bool mj_lease_put_back(const MjRun *run, TimestampTz run_at, bool ready);
extern void mj_lease_undo(const MjRun *run, int64 lane);
extern bool mj_lease_find_ended(const pg_uuid_t *token, MjEndedLease *ended);
extern bool mj_lease_any(void);

/* the scheduler */
extern TimestampTz mj_lease_next_end(void);
extern int mj_lease_lock_timed(TimestampTz now, int limit, MjLease **leases);
extern int mj_lease_lock_runs(const int64 *run_ids, int n, MjLease **leases);
extern int mj_lease_lapse(TimestampTz now, int limit, int max_crashes,
						  MjLapsedLease **lapsed);
extern int mj_lease_take_orphans(MjRun **runs);
extern int mj_lease_ready(int limit, MjReadyRun **runs);

#endif /* MJ_LEASE_STORE_H */
