/*-------------------------------------------------------------------------
 *
 * gate_store.h
 *	  The gate: which held runs of jobs.queue may become ready.
 *
 * All functions need a transaction, and only the scheduler's may call them:
 * what depends on more than one run is decided in one place.  They open their
 * own store scope.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_GATE_STORE_H
#define MJ_GATE_STORE_H

#include "queue_store.h"

/*
 * The lines in which runs are held, by job and throttle key, and how many more
 * of each may start at $1 by the throttle of its job; NULL: any number.  An
 * attempt that has not ended counts until it has started, and then for a period.
 * The lines of calls, which are no job's, are without a throttle.
 */
#define MJ_HELD_LINES \
	"places (job_id, key) AS (" \
	"  (SELECT job_id, throttle_key FROM jobs.queue WHERE state = 'held'" \
	"   ORDER BY job_id, throttle_key LIMIT 1)" \
	"  UNION ALL SELECT q.job_id, q.throttle_key FROM places p" \
	"   CROSS JOIN LATERAL (SELECT job_id, throttle_key FROM jobs.queue" \
	"    WHERE state = 'held'" \
	"    AND (job_id, throttle_key) > (p.job_id, p.key)" \
	"    ORDER BY job_id, throttle_key LIMIT 1) q)," \
	" lines AS MATERIALIZED (" \
	"  SELECT p.job_id, p.key, j.throttle_period, j.throttle_limit" \
	"   - (SELECT pg_catalog.count(*) FROM jobs.throttle t" \
	"    WHERE t.job_id = p.job_id AND t.throttle_key = p.key" \
	"    AND t.started_at > $1 - j.throttle_period)" \
	"   - (SELECT pg_catalog.count(*) FROM jobs.throttle t" \
	"    WHERE t.job_id = p.job_id AND t.throttle_key = p.key" \
	"    AND t.started_at IS NULL" \
	"    AND NOT EXISTS (SELECT FROM jobs.queue q WHERE q.run_id = t.run_id" \
	"     AND q.attempt = t.attempt AND q.state || '' = 'running'" \
	"     AND q.started_at <= $1 - j.throttle_period)) AS free" \
	"  FROM places p LEFT JOIN jobs.job j ON j.job_id = p.job_id)"

extern bool mj_gate_any_held(void);
extern int mj_gate_take_orphans(MjRun **runs);
extern int mj_gate_take_replaced(MjRun **runs);
extern int mj_gate_replaced_running(int64 **run_ids);
extern void mj_gate_admit(TimestampTz now);
extern int mj_gate_take_surplus(MjRun **runs);

#endif /* MJ_GATE_STORE_H */
