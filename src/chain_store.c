/*-------------------------------------------------------------------------
 *
 * chain_store.c
 *	  The chain: which jobs run after which (jobs.job_after), and successes
 *	  that have yet to be told (jobs.success).
 *
 * Two last parents that succeed at once do not see each other, so neither may
 * decide that their successor is to start.  Each leaves a row, and the
 * scheduler puts them together in jobs.job_state.after_done.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "chain_store.h"
#include "store.h"

/* Two sessions that add edges must see each other's, or could close a cycle. */
static MjStatement lock_edges = {
	"LOCK TABLE jobs.job_after IN SHARE ROW EXCLUSIVE MODE", 0
};

static MjStatement clear_edges = {
	"DELETE FROM jobs.job_after WHERE job_id = $1", 1, { INT8OID }
};

static MjStatement add_edges = { "INSERT INTO jobs.job_after (job_id, after_id)"
								 " SELECT DISTINCT $1, a FROM unnest($2) a",
								 2,
								 { INT8OID, INT8ARRAYOID } };

static MjStatement clear_done = { "UPDATE jobs.job_state SET after_done = '{}'"
								  " WHERE job_id = $1 AND after_done <> '{}'",
								  1,
								  { INT8OID } };

static MjStatement is_in_cycle = {
	"WITH RECURSIVE before (job_id) AS ("
	"  SELECT after_id FROM jobs.job_after WHERE job_id = $1"
	"  UNION SELECT a.after_id FROM jobs.job_after a"
	"   JOIN before b ON a.job_id = b.job_id)"
	" SELECT FROM before WHERE job_id = $1",
	1,
	{ INT8OID }
};

static MjStatement cycle_path = {
	"WITH RECURSIVE path (job_id, names) AS ("
	"  SELECT a.after_id, ARRAY[n.name] FROM jobs.job_after a"
	"   JOIN jobs.job n ON n.job_id = a.job_id WHERE a.job_id = $1"
	"  UNION ALL SELECT a.after_id, n.name || p.names FROM path p"
	"   JOIN jobs.job_after a ON a.job_id = p.job_id"
	"   JOIN jobs.job n ON n.job_id = p.job_id WHERE p.job_id <> $1)"
	" SELECT pg_catalog.array_to_string(n.name || p.names, ', ')"
	" FROM path p JOIN jobs.job n ON n.job_id = p.job_id"
	" WHERE p.job_id = $1 LIMIT 1",
	1,
	{ INT8OID }
};

static MjStatement delete_edges = {
	"WITH gone AS ("
	"  DELETE FROM jobs.job_after WHERE $1 IN (job_id, after_id)"
	"  RETURNING job_id, after_id)"
	" SELECT pg_catalog.string_agg(pg_catalog.quote_ident(j.name), ', '"
	"  ORDER BY j.name) FROM gone JOIN jobs.job j ON j.job_id = gone.job_id"
	" WHERE gone.after_id = $1",
	1,
	{ INT8OID }
};

static MjStatement record_success = {
	"INSERT INTO jobs.success (run_id, job_id) VALUES ($1, $2)",
	2,
	{ INT8OID, INT8OID }
};

static MjStatement take_successes = {
	"DELETE FROM jobs.success WHERE run_id IN ("
	"  SELECT run_id FROM jobs.success ORDER BY run_id LIMIT $1"
	"  FOR UPDATE SKIP LOCKED) RETURNING job_id",
	1,
	{ INT4OID }
};

/* Tell each job of its predecessors that have succeeded. */
static MjStatement note_done = {
	"UPDATE jobs.job_state s SET after_done = ARRAY("
	"  SELECT u FROM unnest(s.after_done || d.ids) u GROUP BY u ORDER BY u)"
	" FROM (SELECT job_id, pg_catalog.array_agg(after_id) AS ids"
	"  FROM jobs.job_after WHERE after_id = ANY ($1) GROUP BY job_id) d"
	" WHERE s.job_id = d.job_id",
	1,
	{ INT8ARRAYOID }
};

/* Of the jobs that were told, those of which all have: they begin again. */
static MjStatement take_complete = {
	"UPDATE jobs.job_state s SET after_done = '{}' WHERE s.job_id IN ("
	"  SELECT job_id FROM jobs.job_after WHERE after_id = ANY ($1))"
	" AND NOT EXISTS (SELECT FROM jobs.job_after a WHERE a.job_id = s.job_id"
	"  AND a.after_id <> ALL (s.after_done)) RETURNING s.job_id",
	1,
	{ INT8ARRAYOID }
};

static uint64
run_with_id(MjStatement *statement, int64 job_id)
{
	MjParams params = { 0 };

	mj_param_int64(&params, job_id);
	return mj_store_run(statement, &params);
}

/* An array parameter of ids. */
static void
param_ids(MjParams *params, const int64 *ids, int n)
{
	Datum *values = palloc(Max(n, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < n; i++)
		values[i] = Int64GetDatum(ids[i]);
	mj_param_array(params, values, n, INT8OID);
}

/*
 * Have a job run after some others, and after no more; what has succeeded so
 * far does not count.  The job is locked.
 */
void
mj_chain_set(int64 job_id, const int64 *after_ids, int n)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_store_run(&lock_edges, NULL);
	run_with_id(&clear_edges, job_id);
	mj_param_int64(&params, job_id);
	param_ids(&params, after_ids, n);
	mj_store_run(&add_edges, &params);
	run_with_id(&clear_done, job_id);
	mj_store_leave(&scope);
}

/*
 * If a job runs after itself, by whatever way, the names of the jobs on it, in
 * the order in which they would run; else NULL.
 */
char *
mj_chain_find_cycle(int64 job_id)
{
	MjScope scope;
	char *path = NULL;

	mj_store_enter(&scope);
	if (run_with_id(&is_in_cycle, job_id) > 0)
	{
		run_with_id(&cycle_path, job_id);
		path = mj_row_text(&scope, 0, 1);
	}
	mj_store_leave(&scope);
	return path;
}

/*
 * A job goes: nothing runs after it any more.  Returns the names of those that
 * did, as a list; NULL if there were none.
 */
char *
mj_chain_delete(int64 job_id)
{
	MjScope scope;
	char *successors;

	mj_store_enter(&scope);
	run_with_id(&delete_edges, job_id);
	successors = mj_row_text(&scope, 0, 1);
	mj_store_leave(&scope);
	return successors;
}

/* A run of a job that others run after has succeeded. */
void
mj_chain_record_success(int64 run_id, int64 job_id)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	mj_param_int64(&params, job_id);
	mj_store_run(&record_success, &params);
	mj_store_leave(&scope);
}

/* Column 1 of the last result, bigints, in the caller's context. */
static int
read_ids(MjScope *scope, uint64 n, int64 **ids)
{
	uint64 row;

	*ids = MemoryContextAlloc(scope->caller, Max(n, 1) * sizeof(int64));
	for (row = 0; row < n; row++)
		(*ids)[row] = mj_row_int64(row, 1);
	return (int) n;
}

/*
 * Take up to "limit" successes (*taken says how many there were) and tell the
 * jobs that run after them.  Gives the jobs all of whose predecessors have
 * succeeded now; returns how many.  For the scheduler.
 */
int
mj_chain_take_successes(int limit, int *taken, int64 **job_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams done = { 0 };
	int64 *after_ids;
	int n = 0;

	mj_store_enter(&scope);
	mj_param_int32(&params, limit);
	*taken =
		read_ids(&scope, mj_store_run(&take_successes, &params), &after_ids);
	if (*taken > 0)
	{
		param_ids(&done, after_ids, *taken);
		mj_store_run(&note_done, &done);
		n = read_ids(&scope, mj_store_run(&take_complete, &done), job_ids);
	}
	mj_store_leave(&scope);
	return n;
}
