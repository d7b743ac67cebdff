/*-------------------------------------------------------------------------
 *
 * retention_store.c
 *	  The retention: what is not kept of the log of attempts (jobs.run_log).
 *
 * Job by job, oldest first, by the index of jobs: what is kept is not looked at
 * again and again, however much it is.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "retention_store.h"
#include "store.h"

/*
 * The jobs in the log, and until when their history goes.  What has ended since
 * an open batch of a job was made stays, for it will be counted.
 */
#define JOBS_IN_LOG \
	"ids (job_id) AS (" \
	"  (SELECT job_id FROM jobs.run_log ORDER BY job_id LIMIT 1)" \
	"  UNION ALL SELECT (SELECT l.job_id FROM jobs.run_log l" \
	"   WHERE l.job_id > i.job_id ORDER BY l.job_id LIMIT 1)" \
	"  FROM ids i WHERE i.job_id IS NOT NULL)," \
	" kept AS (" \
	"  SELECT i.job_id, j.history_keep, j.history_keep_last," \
	"   CASE WHEN j.history_retention IS NULL THEN $2" \
	"    ELSE $1 - j.history_retention END AS before," \
	"   coalesce((SELECT min(b.created_at) FROM jobs.batch b" \
	"    WHERE b.ended_at IS NULL AND b.job_id = i.job_id), 'infinity') AS open" \
	"  FROM ids i LEFT JOIN jobs.job j ON j.job_id = i.job_id" \
	"  WHERE i.job_id IS NOT NULL)"

/*
 * Of a job: what is too old; with history_keep failures its successes before the
 * last one, and skips; with history_keep_last what is older than the last ones.
 */
#define NOT_KEPT \
	"(SELECT run_id, attempt FROM jobs.run_log" \
	"  WHERE job_id = k.job_id AND finished_at < least(k.before, k.open)" \
	"  ORDER BY finished_at LIMIT $3)" \
	" UNION ALL (SELECT run_id, attempt FROM jobs.run_log" \
	"  WHERE k.history_keep = 'failures' AND job_id = k.job_id" \
	"  AND status IN ('succeeded', 'skipped') AND finished_at < least(k.open," \
	"   coalesce((SELECT finished_at FROM jobs.run_log WHERE job_id = k.job_id" \
	"    AND status = 'succeeded' ORDER BY finished_at DESC LIMIT 1)," \
	"    '-infinity'))" \
	"  ORDER BY finished_at LIMIT $3)" \
	" UNION ALL (SELECT run_id, attempt FROM jobs.run_log" \
	"  WHERE k.history_keep_last IS NOT NULL AND job_id = k.job_id" \
	"  AND finished_at < least(k.open," \
	"   coalesce((SELECT finished_at FROM jobs.run_log WHERE job_id = k.job_id" \
	"    ORDER BY finished_at DESC OFFSET k.history_keep_last - 1 LIMIT 1)," \
	"    '-infinity'))" \
	"  ORDER BY finished_at LIMIT $3)"

static MjStatement prune = {
	"WITH RECURSIVE " JOBS_IN_LOG
	" DELETE FROM jobs.run_log WHERE (run_id, attempt) IN ("
	"  SELECT run_id, attempt FROM jobs.run_log WHERE (run_id, attempt) IN ("
	"   SELECT d.run_id, d.attempt FROM kept k CROSS JOIN LATERAL (" NOT_KEPT
	"   ) d LIMIT $3) FOR UPDATE SKIP LOCKED)",
	3,
	{ TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID }
};

/*
 * Delete what is not kept: of jobs that say nothing themselves, and of mails,
 * what ended before an instant.  Returns how many attempts, <= limit.  Needs a
 * transaction.
 */
int64
mj_retention_prune(TimestampTz now, TimestampTz before, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_param_time(&params, before);
	mj_param_int64(&params, limit);
	n = (int64) mj_store_run(&prune, &params);
	mj_store_leave(&scope);
	return n;
}
