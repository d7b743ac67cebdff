/*-------------------------------------------------------------------------
 *
 * expiry_store.c
 *	  The expiry: runs of jobs.queue that have not started in time.
 *
 * Mails are another matter, see mail_end_store.c.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "expiry_store.h"
#include "store.h"

/* One that an executor or a caller has locked is left to them. */
static MjStatement end_expired = {
	"WITH gone AS (DELETE FROM jobs.queue WHERE run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE expires_at <= $1 AND attempt = 0"
	"  AND lane <> 0"
	"  ORDER BY expires_at LIMIT " CppAsString2(
		MJ_EXPIRY_LIMIT) "  FOR UPDATE SKIP LOCKED)) RETURNING *)"
						 " INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role,"
						 " role_oid, trigger, due_at, finished_at, status, error, missed, priority,"
						 " args)"
						 " SELECT g.run_id, 0, g.job_id, j.name, j.job_group, j.role,"
						 " CASE WHEN g.lane <= 1 THEN coalesce(s.role_oid, 0) ELSE g.lane::oid END,"
						 " g.trigger, g.due_at, $1, 'expired', 'it had not started in time',"
						 " g.missed, g.priority, g.args"
						 " FROM gone g JOIN jobs.job j ON j.job_id = g.job_id"
						 " LEFT JOIN jobs.job_state s ON s.job_id = g.job_id",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement next_expiry = {
	"SELECT expires_at FROM jobs.queue"
	" WHERE expires_at IS NOT NULL AND attempt = 0 AND lane <> 0"
	" ORDER BY expires_at LIMIT 1",
	0
};

/*
 * End what has not started by its expires_at; returns how many, at most
 * MJ_EXPIRY_LIMIT.  For the scheduler, in a transaction.
 */
int
mj_expiry_end(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	n = (int) mj_store_run(&end_expired, &params);
	mj_store_leave(&scope);
	return n;
}

/* When the first run expires; DT_NOEND: none does.  In a transaction. */
TimestampTz
mj_expiry_next(void)
{
	MjScope scope;
	TimestampTz next = DT_NOEND;

	mj_store_enter(&scope);
	if (mj_store_run(&next_expiry, NULL) > 0)
		next = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}
