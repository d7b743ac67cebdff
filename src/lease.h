/*-------------------------------------------------------------------------
 *
 * lease.h
 *	  The lease: what a worker outside of the server has of a run.
 *
 * All functions need a transaction.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_LEASE_H
#define MJ_LEASE_H

#include "job_store.h"
#include "lease_store.h"

extern void mj_lease_require(const pg_uuid_t *token, MjLease *lease,
							 MjJob *job);
extern TimestampTz mj_lease_end(const Interval *length, const MjJob *job,
								TimestampTz started_at, TimestampTz now);
extern bool mj_lease_cancel(int64 run_id, const char *reason);
extern void mj_lease_cancel_job(const MjJob *job, const char *reason);

#endif /* MJ_LEASE_H */
