/*-------------------------------------------------------------------------
 *
 * selection_store.c
 *	  The selection: runs and attempts that a filter means.
 *
 * Mails are never meant.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "compat.h"
#include "selection_store.h"
#include "store.h"

/* $1 to $6 are the fields of a selection; see param_selection(). */
#define SELECTION_TYPES \
	INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, OIDOID
#define MAY(role_oid) \
	"($6 = 0 OR pg_has_role($6, " role_oid ", '" MJ_ACT_AS "'))"

/* Of one job by the index of jobs, of all by that of times. */
#define LOG_OF_ONE \
	"jobs.run_log l WHERE l.job_id = $1 AND l.finished_at >= $3" \
	" AND l.finished_at < $4"
#define LOG_OF_ALL \
	"jobs.run_log l WHERE $1 IS NULL AND l.job_id > 0" \
	" AND l.finished_at >= $3 AND l.finished_at < $4"

/* The last attempts of runs that have ended without success, for good. */
#define IS_DEAD \
	" AND CASE WHEN $2 IS NOT NULL THEN l.status = $2 ELSE l.status IN" \
	"  ('failed', 'timed_out', 'crashed', 'expired') END" \
	" AND NOT EXISTS (SELECT FROM jobs.run_log x" \
	"  WHERE x.run_id = l.run_id AND x.attempt > l.attempt)" \
	" AND NOT EXISTS (SELECT FROM jobs.queue q WHERE q.run_id = l.run_id)" \
	" AND EXISTS (SELECT FROM jobs.job j WHERE j.job_id = l.job_id)" \
	" AND " MAY("l.role_oid") " ORDER BY l.run_id LIMIT $5"

static MjStatement dead_of_one = { "SELECT l.run_id FROM " LOG_OF_ONE IS_DEAD,
								   6,
								   { SELECTION_TYPES } };

static MjStatement dead_of_all = { "SELECT l.run_id FROM " LOG_OF_ALL IS_DEAD,
								   6,
								   { SELECTION_TYPES } };

/* Runs have no end yet, so $3 and $4 mean nothing. */
static MjStatement live = {
	"SELECT q.run_id FROM jobs.queue q JOIN jobs.job j ON j.job_id = q.job_id"
	" LEFT JOIN jobs.job_state s ON s.job_id = q.job_id"
	" WHERE ($1 IS NULL OR q.job_id = $1) AND ($2 IS NULL OR q.state = $2)"
	" AND $3 <= $4 AND " MAY("s.role_oid") " ORDER BY q.run_id LIMIT $5",
	6,
	{ SELECTION_TYPES }
};

/* Not what the scheduler has yet to count, for a batch or a throttle. */
#define IS_TO_GO \
	" AND ($2 IS NULL OR l.status = $2) AND NOT EXISTS" \
	" (SELECT FROM jobs.queue q WHERE q.run_id = l.run_id)" \
	" AND NOT EXISTS (SELECT FROM jobs.batch b WHERE b.ended_at IS NULL" \
	"  AND b.job_id = l.job_id AND b.created_at <= l.finished_at)" \
	" AND NOT EXISTS (SELECT FROM jobs.throttle t" \
	"  WHERE t.run_id = l.run_id AND t.started_at IS NULL)" \
	" AND " MAY("l.role_oid") " ORDER BY l.finished_at LIMIT $5"

static MjStatement clean_one = {
	"DELETE FROM jobs.run_log WHERE (run_id, attempt) IN ("
	"  SELECT l.run_id, l.attempt FROM " LOG_OF_ONE IS_TO_GO
	"  FOR UPDATE SKIP LOCKED)",
	6,
	{ SELECTION_TYPES }
};

static MjStatement clean_all = {
	"DELETE FROM jobs.run_log WHERE (run_id, attempt) IN ("
	"  SELECT l.run_id, l.attempt FROM " LOG_OF_ALL IS_TO_GO
	"  FOR UPDATE SKIP LOCKED)",
	6,
	{ SELECTION_TYPES }
};

static void
param_selection(MjParams *params, const MjSelection *selection)
{
	mj_param_datum(params, Int64GetDatum(selection->job_id),
				   selection->job_id == 0);
	mj_param_text(params, selection->status);
	mj_param_time(params, selection->since ? selection->since : DT_NOBEGIN);
	mj_param_time(params, selection->until ? selection->until : DT_NOEND);
	mj_param_datum(params, Int64GetDatum(selection->most),
				   selection->most == 0);
	mj_param_oid(params, selection->member);
}

/* Run a statement that gives run ids; returns how many. */
static int
select_runs(MjStatement *statement, const MjSelection *selection,
			int64 **run_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	param_selection(&params, selection);
	n = mj_store_run(statement, &params);
	*run_ids = MemoryContextAllocHuge(scope.caller, Max(n, 1) * sizeof(int64));
	for (row = 0; row < n; row++)
		(*run_ids)[row] = mj_row_int64(row, 1);
	mj_store_leave(&scope);
	return (int) n;
}

/*
 * The runs that ended without success, and are not live; without a status those
 * that nobody has cancelled or skipped.  Returns how many.
 */
int
mj_select_dead(const MjSelection *selection, int64 **run_ids)
{
	return select_runs(selection->job_id != 0 ? &dead_of_one : &dead_of_all,
					   selection, run_ids);
}

/* The live runs; returns how many. */
int
mj_select_live(const MjSelection *selection, int64 **run_ids)
{
	return select_runs(&live, selection, run_ids);
}

/* Delete attempts of runs that are not live; returns how many. */
int64
mj_select_clean(const MjSelection *selection)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	param_selection(&params, selection);
	n = (int64) mj_store_run(selection->job_id != 0 ? &clean_one : &clean_all,
							 &params);
	mj_store_leave(&scope);
	return n;
}
