/*-------------------------------------------------------------------------
 *
 * throttle_store.c
 *	  The throttle: which starts count for the limits of jobs (jobs.throttle).
 *
 * An attempt that is admitted (gate_store.c) gets a row, and counts from then on
 * until a period after its start.  When it has started is read from the log,
 * once it has ended: whoever starts and ends runs does not know of throttles.
 * Until then the queue is asked, and nothing is kept of what it says, for what
 * was claimed may be put back, and start later.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "gate_store.h"
#include "store.h"
#include "throttle_store.h"

/*
 * What became of attempts that had not ended: they have, or wait for an executor
 * or run still, or will not start, as they were cancelled or put off.
 */
static MjStatement settle = {
	"WITH seen AS MATERIALIZED ("
	"  SELECT t.run_id, t.attempt, (SELECT l.started_at FROM jobs.run_log l"
	"    WHERE l.run_id = t.run_id AND l.attempt = t.attempt) AS started_at,"
	"   coalesce(CASE q.state WHEN 'ready' THEN q.attempt < t.attempt"
	"    WHEN 'running' THEN q.attempt = t.attempt END, false) AS live"
	"  FROM jobs.throttle t LEFT JOIN jobs.queue q ON q.run_id = t.run_id"
	"  WHERE t.started_at IS NULL),"
	" gone AS (DELETE FROM jobs.throttle t USING seen s"
	"  WHERE t.run_id = s.run_id AND t.attempt = s.attempt"
	"  AND s.started_at IS NULL AND NOT s.live)"
	" UPDATE jobs.throttle t SET started_at = s.started_at FROM seen s"
	" WHERE t.run_id = s.run_id AND t.attempt = s.attempt"
	" AND s.started_at IS NOT NULL",
	0
};

/* Starts of so long ago, or of what has no throttle any more, do not count. */
static MjStatement prune = {
	"DELETE FROM jobs.throttle WHERE (run_id, attempt) IN ("
	"  SELECT t.run_id, t.attempt FROM jobs.throttle t"
	"  LEFT JOIN jobs.job j ON j.job_id = t.job_id"
	"  WHERE t.started_at <= $1 - coalesce(j.throttle_period, '0') LIMIT $2)",
	2,
	{ TIMESTAMPTZOID, INT8OID }
};

/*
 * When the next held run may start that waits for its throttle alone: when a
 * start stops to count.  One that has not started counts for a period from now
 * at least.
 */
static MjStatement next_start = {
	"WITH RECURSIVE " MJ_HELD_LINES " SELECT min((SELECT s.started_at FROM ("
	"   SELECT coalesce(t.started_at, (SELECT q.started_at FROM jobs.queue q"
	"     WHERE q.run_id = t.run_id AND q.attempt = t.attempt"
	"     AND q.state || '' = 'running'), $1) AS started_at"
	"   FROM jobs.throttle t"
	"   WHERE t.job_id = l.job_id AND t.throttle_key = l.key"
	"   AND (t.started_at IS NULL OR t.started_at > $1 - l.throttle_period)) s"
	"  WHERE s.started_at > $1 - l.throttle_period"
	"  ORDER BY s.started_at OFFSET -l.free LIMIT 1)"
	"  + l.throttle_period) FROM lines l WHERE l.free <= 0",
	1,
	{ TIMESTAMPTZOID }
};

/* See which of the admitted attempts have ended, or will not start. */
void
mj_throttle_settle(void)
{
	MjScope scope;

	mj_store_enter(&scope);
	mj_store_run(&settle, NULL);
	mj_store_leave(&scope);
}

/* When a held run may start for all that throttles say; DT_NOEND: none waits. */
TimestampTz
mj_throttle_next(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz next;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_store_run(&next_start, &params);
	next = mj_row_isnull(0, 1) ? DT_NOEND : mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}

/* Delete starts that do not count any more; returns how many, <= limit. */
int64
mj_throttle_prune(TimestampTz now, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_param_int64(&params, limit);
	n = (int64) mj_store_run(&prune, &params);
	mj_store_leave(&scope);
	return n;
}
