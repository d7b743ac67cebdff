/*-------------------------------------------------------------------------
 *
 * runlog.h
 *	  The end of an attempt: what it does to the run, the history and the
 *	  server log.
 *
 * Used by executors for what they ran, by workers outside for what they were
 * lent, and by the scheduler for what nobody runs any more.
 *
 * Layer: SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_RUNLOG_H
#define MJ_RUNLOG_H

#include "access.h"
#include "call_store.h"
#include "history_store.h"
#include "job_store.h"

/* Crashes of the same run after which its job is paused. */
#define MJ_MAX_CRASHES 3

/* Interruptions of the same run after which each counts as a crash. */
#define MJ_MAX_INTERRUPTIONS 10

extern void mj_runlog_call_owner(const MjCall *call, MjRunOwner *owner);

/* need a transaction */
extern void mj_runlog_owner(const MjJob *job, MjRunOwner *owner);
extern TimestampTz mj_runlog_failed(const MjRun *run, const MjRunOwner *owner,
									const MjOutcome *outcome, const MjJob *job);
extern bool mj_runlog_succeeded(const MjRun *run, const MjRunOwner *owner,
								const MjOutcome *outcome, const MjJob *job);
extern void mj_runlog_completed(const MjRun *run, const MjRunOwner *owner,
								const MjOutcome *outcome, const MjJob *job);
extern void mj_runlog_refused(const MjRun *run, const MjRunOwner *owner,
							  const MjRoleProblem *problem);
extern void mj_runlog_cancelled(const MjRun *run, const char *reason);
extern void mj_runlog_interrupted(const MjRun *run, const char *why);
extern void mj_runlog_crashed(const MjRun *run);
extern void mj_runlog_skipped(const MjRun *run, const MjRunOwner *owner,
							  const char *reason);
extern void mj_runlog_passed_over(const MjRun *run, const char *reason);
extern void mj_runlog_withdrawn(const MjRun *run, const char *reason);

/* the server log */
extern void mj_runlog_started(const MjRun *run, const MjRunOwner *owner);
extern void mj_runlog_report(const MjRun *run, const MjRunOwner *owner,
							 const MjOutcome *outcome);

#endif /* MJ_RUNLOG_H */
