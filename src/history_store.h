/*-------------------------------------------------------------------------
 *
 * history_store.h
 *	  The log of ended attempts (jobs.run_log).
 *
 * All functions need a transaction.  They open their own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_HISTORY_STORE_H
#define MJ_HISTORY_STORE_H

#include "queue_store.h"

/* How an attempt ended.  Strings may be NULL, status excepted. */
typedef struct MjOutcome
{
	const char *status; /* one of run_log.status */
	int64 rows_affected;
	bool rows_isnull;
	const char *result;
	const char *sqlstate;
	const char *error;
	const char *error_detail;
	const char *error_context;
	const char *notices; /* messages below ERROR */
	TimestampTz finished_at;
	int64 job_id; /* as read by mj_history_last(); 0: a mail */
} MjOutcome;

/* Whose run it was: copied into the log. */
typedef struct MjRunOwner
{
	const char *job;
	const char *job_group; /* may be NULL */
	const char *role;
	Oid role_oid; /* InvalidOid: nobody's any more */
} MjRunOwner;

extern void mj_history_warm(void);
extern bool mj_history_end_run(const MjRun *run, const MjRunOwner *owner,
							   const MjOutcome *outcome);
extern bool mj_history_insert(const MjRun *run, const MjRunOwner *owner,
							  const MjOutcome *outcome);
extern bool mj_history_last(int64 run_id, MjOutcome *outcome,
							TimestampTz *started_at);
extern TimestampTz mj_history_reach(const int64 *job_id, TimestampTz before,
									TimestampTz since);
extern void mj_history_withdraw_job(int64 job_id, const char *reason,
									TimestampTz now);

#endif /* MJ_HISTORY_STORE_H */
