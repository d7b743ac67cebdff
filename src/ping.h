/*-------------------------------------------------------------------------
 *
 * ping.h
 *	  The pings: URLs that are told how runs go, and that this database is well.
 *
 * In the form that healthchecks.io and its like take: the URL itself says that all
 * is well, with /start behind it that a run has begun, with /fail that something
 * failed.  A ping is queued as a call in the current transaction, so it says what
 * is committed; whether it can be delivered does not concern the run.  Pings of jobs
 * are held until it is their turn; of those that wait, the scheduler keeps the last
 * of each job and kind.
 *
 * Layer: delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_PING_H
#define MJ_PING_H

#include "history_store.h"
#include "job_store.h"

/* of the runs of a job that has a ping_url; else nothing is done */
extern void mj_ping_started(const MjJob *job);
extern void mj_ping_succeeded(const MjJob *job, const MjOutcome *outcome);
extern void mj_ping_failed(const MjJob *job, const MjOutcome *outcome);

/* of this database, by motionify_jobs.ping_url; for the scheduler */
extern TimestampTz mj_ping_next(TimestampTz now);
extern void mj_ping_make(TimestampTz now);

#endif /* MJ_PING_H */
