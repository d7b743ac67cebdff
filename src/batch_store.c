/*-------------------------------------------------------------------------
 *
 * batch_store.c
 *	  Sets of runs after whose end another job runs (jobs.batch).
 *
 * A batch has ended when none of its runs is in the queue, as the scheduler
 * sees it: two last runs that end at once do not see each other, so neither
 * could tell.  The end of a run writes nothing here, and does not know of the
 * batch; that its runs are few ranges of ids is all that connects them.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "batch_store.h"

/* The runs, in the order of the array, and their batch; see param_entry(). */
static MjStatement make_batch = {
	"WITH made AS (" MJ_INSERT_MANY "),"
	" ids AS (SELECT range_agg(int8range(run_id, run_id, '[]')) AS run_ids,"
	"  count(*) AS total, min(run_id) AS least FROM made)"
	" INSERT INTO jobs.batch (job_id, job, role, role_oid, then_job_id,"
	" then_job, then_args, run_ids, total, live_from, created_at)"
	" SELECT $1, $14, $15, $2::oid, $16, $17, $18, coalesce(run_ids, '{}'),"
	" total, coalesce(least, 0), $19 FROM ids RETURNING batch_id, total",
	19,
	{ MJ_ENTRY_TYPES, JSONBARRAYOID, TEXTOID, NAMEOID, INT8OID, TEXTOID,
	  JSONBOID, TIMESTAMPTZOID }
};

static MjStatement any_open = {
	"SELECT FROM jobs.batch WHERE ended_at IS NULL LIMIT 1", 0
};

/*
 * The first live run of each open batch, looked for from where it was last: what
 * has ended is not walked through again each time.  The ranges come in order.
 * What jobs.retry() has put back has ended before, and is not waited for.
 */
#define OPEN_BATCHES \
	"looked AS MATERIALIZED (" \
	"  SELECT b.batch_id, b.live_from, (SELECT q.run_id" \
	"   FROM unnest(b.run_ids) r CROSS JOIN LATERAL (" \
	"    SELECT run_id FROM jobs.queue WHERE run_id < upper(r)" \
	"    AND run_id >= greatest(lower(r), b.live_from)" \
	"    AND trigger <> 'retry'" \
	"    ORDER BY run_id LIMIT 1) q" \
	"   WHERE upper(r) > b.live_from LIMIT 1) AS live" \
	"  FROM jobs.batch b WHERE b.ended_at IS NULL)"

static MjStatement advance = { "WITH " OPEN_BATCHES
							   " UPDATE jobs.batch b SET live_from = l.live"
							   " FROM looked l WHERE b.batch_id = l.batch_id"
							   " AND l.live > l.live_from + 1000",
							   0 };

/* How the runs of a batch b ended, each by its last attempt. */
#define COUNTS \
	"(SELECT coalesce(jsonb_object_agg(e.status, e.n), '{}')" \
	" FROM (SELECT l.status, count(*) AS n FROM (" \
	"  SELECT DISTINCT ON (l.run_id) l.run_id, l.status" \
	"  FROM unnest(b.run_ids) r JOIN jobs.run_log l" \
	"   ON l.run_id >= lower(r) AND l.run_id < upper(r)" \
	"  ORDER BY l.run_id, l.attempt DESC) l GROUP BY l.status) e)"

static MjStatement take_ended = {
	"WITH " OPEN_BATCHES
	" UPDATE jobs.batch b SET ended_at = $1, ended = " COUNTS
	" WHERE b.batch_id = ANY (ARRAY(SELECT batch_id FROM looked"
	"  WHERE live IS NULL ORDER BY batch_id LIMIT " CppAsString2(
		MJ_BATCH_LIMIT) ")) RETURNING b.batch_id, b.then_job_id, b.then_args ||"
						" '{\"succeeded\": 0, \"failed\": 0, \"timed_out\": 0, \"crashed\": 0,"
						" \"cancelled\": 0, \"skipped\": 0, \"expired\": 0}' || b.ended ||"
						" jsonb_build_object('batch_id', b.batch_id, 'total', b.total)",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement set_then = {
	"UPDATE jobs.batch SET then_run_id = $2 WHERE batch_id = $1",
	2,
	{ INT8OID, INT8OID }
};

static MjStatement prune = {
	"DELETE FROM jobs.batch WHERE batch_id IN ("
	"  SELECT batch_id FROM jobs.batch WHERE ended_at < $1"
	"  ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
	2,
	{ TIMESTAMPTZOID, INT8OID }
};

/*
 * Add a run of a job for each element of an array of arguments, and the batch
 * that they are.  then: the job that runs when they have ended, or NULL.
 * Returns the id of the batch; *total is how many runs there are.
 */
int64
mj_batch_make(const MjEntry *entry, Datum args, const MjJob *job,
			  const MjJob *then, Datum then_args, int *total)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 batch_id;

	mj_store_enter(&scope);
	mj_param_entry(&params, entry);
	mj_param_datum(&params, args, false);
	mj_param_text(&params, job->name);
	mj_param_name(&params, job->role);
	mj_param_datum(&params, Int64GetDatum(then ? then->job_id : 0),
				   then == NULL);
	mj_param_text(&params, then ? then->name : NULL);
	mj_param_datum(&params, then_args, false);
	mj_param_time(&params, entry->asked_at);
	mj_store_run(&make_batch, &params);
	batch_id = mj_row_int64(0, 1);
	*total = mj_row_int32(0, 2);
	mj_store_leave(&scope);
	return batch_id;
}

/* Is there a batch that has not ended? */
bool
mj_batch_any_open(void)
{
	MjScope scope;
	bool any;

	mj_store_enter(&scope);
	any = mj_store_run(&any_open, NULL) > 0;
	mj_store_leave(&scope);
	return any;
}

/*
 * Note of batches that they have ended, at most MJ_BATCH_LIMIT; gives them, and
 * returns how many.  What follows must be part of the same transaction.
 */
int
mj_batch_take_ended(TimestampTz now, MjEndedBatch **batches)
{
	MjScope scope;
	MjParams params = { 0 };
	bool isnull;
	int n;
	int row;

	mj_store_enter(&scope);
	mj_store_run(&advance, NULL);
	mj_param_time(&params, now);
	n = (int) mj_store_run(&take_ended, &params);
	*batches =
		MemoryContextAlloc(scope.caller, Max(n, 1) * sizeof(MjEndedBatch));
	for (row = 0; row < n; row++)
	{
		MjEndedBatch *batch = &(*batches)[row];

		batch->batch_id = mj_row_int64(row, 1);
		batch->then_job_id = mj_row_int64(row, 2);
		batch->then_args = mj_row_datum(&scope, row, 3, &isnull);
	}
	mj_store_leave(&scope);
	return n;
}

/* Note the run that the end of a batch has made. */
void
mj_batch_set_then(int64 batch_id, int64 run_id)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, batch_id);
	mj_param_int64(&params, run_id);
	mj_store_run(&set_then, &params);
	mj_store_leave(&scope);
}

/* Delete batches that ended before an instant; returns how many, <= limit. */
int64
mj_batch_prune(TimestampTz before, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_int64(&params, limit);
	n = (int64) mj_store_run(&prune, &params);
	mj_store_leave(&scope);
	return n;
}
