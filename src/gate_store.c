/*-------------------------------------------------------------------------
 *
 * gate_store.c
 *	  The gate: which held runs of jobs.queue may become ready.
 *
 * A run of a gated job is held when it is due.  It is admitted when its job
 * has room (one run at a time, or max_running with overlap allow), no other
 * run of its concurrency key is ready or running, and the throttle of its job
 * lets it pass; a call, which has no job, by its key alone.  The jobs, and their lines, and the concurrency keys that have
 * held runs are found by loose index scans, and of each line no more is read than
 * there is room for: what a look costs grows with how many of these there are,
 * not with how many runs each holds.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "gate_store.h"
#include "xact.h"

/* Held runs of one line that a look considers at most. */
#define MJ_ADMIT_LIMIT "1000"

/* What calls have for a job: MJ_CALL_JOB_ID. */
#define CALLS "-1"

/* The jobs that have held runs. */
#define HELD_JOBS \
	"held (job_id) AS (" \
	"  (SELECT job_id FROM jobs.queue WHERE state = 'held'" \
	"   ORDER BY job_id LIMIT 1)" \
	"  UNION ALL SELECT (SELECT q.job_id FROM jobs.queue q" \
	"   WHERE q.state = 'held' AND q.job_id > h.job_id" \
	"   ORDER BY q.job_id LIMIT 1) FROM held h WHERE h.job_id IS NOT NULL)"

/* The jobs that replace, and have a held run: the newest run of each. */
#define REPLACING_JOBS \
	HELD_JOBS ", newest AS MATERIALIZED (" \
			  "  SELECT j.job_id, (SELECT pg_catalog.max(q.run_id)" \
			  "   FROM jobs.queue q WHERE q.job_id = j.job_id" \
			  "   AND q.state IN ('held', 'ready', 'running')) AS run_id" \
			  "  FROM held h JOIN jobs.job j ON j.job_id = h.job_id" \
			  "  WHERE j.overlap = 'replace')"

static MjStatement any_held = {
	"SELECT FROM jobs.queue WHERE state = 'held' LIMIT 1", 0
};

/* What is held of jobs that are gone; runs of others are not read. */
static MjStatement take_orphans = {
	"WITH RECURSIVE " HELD_JOBS
	" DELETE FROM jobs.queue q WHERE q.run_id = ANY (ARRAY("
	"  SELECT o.run_id FROM (SELECT h.job_id FROM held h"
	"   WHERE h.job_id <> " CALLS " AND NOT EXISTS ("
	"    SELECT FROM jobs.job j WHERE j.job_id = h.job_id) OFFSET 0) g"
	"  CROSS JOIN LATERAL (SELECT q.run_id FROM jobs.queue q"
	"   WHERE q.state = 'held' AND q.job_id = g.job_id"
	"   LIMIT " MJ_ADMIT_LIMIT " FOR UPDATE SKIP LOCKED) o))"
	" RETURNING " MJ_RUN_COLUMNS,
	0
};

static MjStatement take_replaced = {
	"WITH RECURSIVE " REPLACING_JOBS
	" DELETE FROM jobs.queue q WHERE q.run_id = ANY (ARRAY("
	"  SELECT o.run_id FROM newest n JOIN jobs.queue o ON o.job_id = n.job_id"
	"  WHERE o.run_id < n.run_id AND (o.state IN ('held', 'ready')"
	"   OR (o.state = 'waiting' AND (o.attempt > 0"
	"    OR o.trigger IN ('schedule', 'catch_up'))))"
	"  FOR UPDATE OF o SKIP LOCKED)) RETURNING " MJ_RUN_COLUMNS,
	0
};

static MjStatement replaced_running = {
	"WITH RECURSIVE " REPLACING_JOBS
	" SELECT q.run_id FROM newest n JOIN jobs.queue q ON q.job_id = n.job_id"
	" WHERE q.state = 'running' AND q.run_id < n.run_id",
	0
};

/*
 * Of a key the first held run is a candidate, if none of that key is ready or
 * running; of what has no key the first of each line, no more than its job has
 * room for.  Of these the throttles let pass some, and then each job takes as
 * many as it has room for; a run that waits to be tried again takes room, except
 * where runs may overlap.  What was enqueued does not mind that its job skips
 * what overlaps.  A run that somebody has locked, as to change what it is to do,
 * waits until he has committed, and nobody waits for him; it is found by its id,
 * for an index of held runs, which the planner thinks small, would be read as a
 * whole.  Each start that a throttle has let pass is noted.
 */
static MjStatement admit = {
	"WITH RECURSIVE " MJ_HELD_LINES ","
	" keys (key) AS ("
	"  (SELECT concurrency_key FROM jobs.queue"
	"   WHERE state = 'held' AND concurrency_key IS NOT NULL"
	"   ORDER BY concurrency_key LIMIT 1)"
	"  UNION ALL SELECT (SELECT q.concurrency_key FROM jobs.queue q"
	"   WHERE q.state = 'held' AND q.concurrency_key > k.key"
	"   ORDER BY q.concurrency_key LIMIT 1)"
	"  FROM keys k WHERE k.key IS NOT NULL),"
	" room AS MATERIALIZED ("
	"  SELECT j.job_id, CASE WHEN j.overlap = 'allow' THEN j.max_running"
	"   ELSE 1 - (SELECT pg_catalog.count(*) FROM jobs.queue a"
	"    WHERE a.job_id = j.job_id AND a.state = 'waiting' AND a.attempt > 0)"
	"   END - (SELECT pg_catalog.count(*) FROM jobs.queue a"
	"    WHERE a.job_id = j.job_id AND a.state IN ('ready', 'running')) AS n,"
	"   j.overlap = 'skip' AS skips"
	"  FROM (SELECT DISTINCT job_id FROM lines) h"
	"  JOIN jobs.job j ON j.job_id = h.job_id"
	"  UNION ALL SELECT " CALLS ", NULL, false),"
	" candidates AS ("
	"  SELECT q.* FROM keys k CROSS JOIN LATERAL ("
	"   SELECT run_id, job_id, throttle_key, priority, enqueued FROM jobs.queue"
	"   WHERE state = 'held' AND concurrency_key = k.key"
	"   ORDER BY priority, run_id LIMIT 1) q"
	"  WHERE k.key IS NOT NULL AND NOT EXISTS (SELECT FROM jobs.queue a"
	"   WHERE a.concurrency_key = k.key AND a.state IN ('ready', 'running'))"
	"  UNION ALL"
	"  SELECT q.* FROM lines l JOIN room r ON r.job_id = l.job_id"
	"  CROSS JOIN LATERAL ("
	"   SELECT run_id, job_id, throttle_key, priority, enqueued FROM jobs.queue"
	"   WHERE state = 'held' AND job_id = l.job_id AND throttle_key = l.key"
	"   AND concurrency_key IS NULL ORDER BY priority, run_id"
	"   LIMIT greatest(0, least(l.free, CASE WHEN NOT r.skips THEN r.n END,"
	"    " MJ_ADMIT_LIMIT "))) q),"
	" passed AS ("
	"  SELECT c.* FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY"
	"    job_id, throttle_key ORDER BY priority, run_id) AS place"
	"   FROM candidates) c"
	"  JOIN lines l ON l.job_id = c.job_id AND l.key = c.throttle_key"
	"  WHERE l.free IS NULL OR c.place <= l.free),"
	" chosen AS ("
	"  SELECT run_id FROM (SELECT p.run_id, r.n, p.enqueued AND r.skips AS alone,"
	"    pg_catalog.row_number() OVER (PARTITION BY p.job_id,"
	"     p.enqueued AND r.skips ORDER BY p.priority, p.run_id) AS place"
	"   FROM passed p JOIN room r ON r.job_id = p.job_id) v"
	"  WHERE n IS NULL OR place <= n OR alone),"
	" admitted AS ("
	"  UPDATE jobs.queue SET state = 'ready'"
	"  WHERE run_id = ANY (ARRAY(SELECT run_id FROM jobs.queue"
	"   WHERE run_id = ANY (ARRAY(SELECT run_id FROM chosen))"
	"   AND state || '' = 'held' FOR UPDATE SKIP LOCKED))"
	"  RETURNING run_id, attempt + 1 AS attempt, job_id, throttle_key),"
	" noted AS ("
	"  INSERT INTO jobs.throttle (run_id, attempt, job_id, throttle_key)"
	"  SELECT a.* FROM admitted a"
	"  JOIN lines l ON l.job_id = a.job_id AND l.key = a.throttle_key"
	"  WHERE l.free IS NOT NULL"
	"  ON CONFLICT (run_id, attempt) DO UPDATE SET started_at = NULL)"
	" SELECT FROM admitted",
	1,
	{ TIMESTAMPTZOID }
};

/*
 * Where one run may wait, those that came after it; neither what is a retry nor
 * what was enqueued, of which none is dropped.
 */
static MjStatement take_surplus = {
	"WITH RECURSIVE " HELD_JOBS
	" DELETE FROM jobs.queue q USING held h, jobs.job j"
	" WHERE q.job_id = h.job_id AND j.job_id = h.job_id"
	" AND j.overlap = 'queue' AND q.state = 'held' AND q.attempt = 0"
	" AND NOT q.enqueued"
	" AND EXISTS (SELECT FROM jobs.queue o WHERE o.job_id = q.job_id"
	"  AND o.state = 'held' AND o.run_id < q.run_id)"
	" RETURNING " MJ_RUN_COLUMNS,
	0
};

static int
take_runs(MjStatement *statement, MjRun **runs)
{
	MjScope scope;
	int n;

	mj_store_enter(&scope);
	n = mj_queue_read_runs(&scope, mj_store_run(statement, NULL), runs);
	mj_store_leave(&scope);
	return n;
}

/* Is any run held? */
bool
mj_gate_any_held(void)
{
	MjScope scope;
	bool any;

	mj_store_enter(&scope);
	any = mj_store_run(&any_held, NULL) > 0;
	mj_store_leave(&scope);
	return any;
}

/* Take runs out of the queue whose job is gone. */
int
mj_gate_take_orphans(MjRun **runs)
{
	return take_runs(&take_orphans, runs);
}

/* Take runs out of the queue that a later run of their job replaces. */
int
mj_gate_take_replaced(MjRun **runs)
{
	return take_runs(&take_replaced, runs);
}

/* The running runs that a later run of their job replaces. */
int
mj_gate_replaced_running(int64 **run_ids)
{
	MjScope scope;
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	n = mj_store_run(&replaced_running, NULL);
	*run_ids = MemoryContextAlloc(scope.caller, Max(n, 1) * sizeof(int64));
	for (row = 0; row < n; row++)
		(*run_ids)[row] = mj_row_int64(row, 1);
	mj_store_leave(&scope);
	return (int) n;
}

/* Make held runs ready that may start. */
void
mj_gate_admit(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	if (mj_store_run(&admit, &params) > 0)
		mj_xact_ready_anywhere();
	mj_store_leave(&scope);
}

/* Take runs out of the queue for which there is no place in the line. */
int
mj_gate_take_surplus(MjRun **runs)
{
	return take_runs(&take_surplus, runs);
}
