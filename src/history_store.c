/*-------------------------------------------------------------------------
 *
 * history_store.c
 *	  The log of ended attempts (jobs.run_log).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "history_store.h"
#include "store.h"
#include "table.h"

#define LOG_COLUMNS \
	"run_id, attempt, job_id, job, job_group, role, trigger, due_at," \
	" started_at, finished_at, status, rows_affected, result, sqlstate," \
	" error, error_detail, error_context, pid, missed, role_oid, priority," \
	" args, notices, token, worker"

static MjStatement insert_statement = {
	"INSERT INTO jobs.run_log (" LOG_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)"
	" ON CONFLICT (run_id, attempt) DO NOTHING",
	25,
	{ INT8OID, INT4OID,	 INT8OID,		 TEXTOID,		 TEXTOID,
	  NAMEOID, TEXTOID,	 TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	  TEXTOID, INT8OID,	 TEXTOID,		 TEXTOID,		 TEXTOID,
	  TEXTOID, TEXTOID,	 INT4OID,		 INT4OID,		 OIDOID,
	  INT4OID, JSONBOID, TEXTOID,		 UUIDOID,		 TEXTOID }
};

static MjTable log_table = { "run_log", LOG_COLUMNS };

/* Columns of queue_table. */
enum
{
	QUEUE_WORKER_ID,
	QUEUE_STATE
};

static MjTable queue_table = { "queue", "worker_id, state" };

/* What has not started of a job, any number, has ended. */
static MjStatement withdraw_statement = {
	"WITH gone AS (DELETE FROM jobs.queue"
	"  WHERE job_id = $1 AND state <> 'running' RETURNING *)"
	" INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role,"
	" role_oid, trigger, due_at, finished_at, status, sqlstate, error, missed,"
	" priority, args)"
	" SELECT g.run_id, CASE WHEN g.attempt > 0 THEN g.attempt + 1 ELSE 0 END,"
	" g.job_id, j.name, j.job_group, j.role,"
	" CASE WHEN g.lane <= 1 THEN coalesce((SELECT s.role_oid"
	"  FROM jobs.job_state s WHERE s.job_id = g.job_id), 0)"
	"  ELSE g.lane::oid END, g.trigger, g.due_at,"
	" $3, 'cancelled', '57014', $2, g.missed, g.priority, g.args"
	" FROM gone g JOIN jobs.job j ON j.job_id = g.job_id",
	3,
	{ INT8OID, TEXTOID, TIMESTAMPTZOID }
};

static MjStatement last_statement = {
	"SELECT status, rows_affected, result, sqlstate, error, error_detail,"
	" error_context, finished_at, started_at, job_id FROM jobs.run_log"
	" WHERE run_id = $1 AND (status <> 'cancelled' OR sqlstate <> '57P01')"
	" ORDER BY attempt DESC LIMIT 1",
	1,
	{ INT8OID }
};

/*
 * How far back a list looks in one go.  What is between two ends that a reader
 * sees may be what that reader must not: so no more is told of it than a minute.
 */
#define REACH(log, order) \
	"SELECT date_bin('1 minute', l.finished_at, '2000-01-01 00:00:00 UTC')" \
	" FROM jobs.run_log l WHERE " log " ORDER BY " order \
	" OFFSET 100000 LIMIT 1"

static MjStatement reach_of_all = {
	REACH("l.finished_at <= coalesce($1, 'infinity')"
		  " AND l.finished_at >= coalesce($2, '-infinity')",
		  "l.finished_at DESC"),
	2,
	{ TIMESTAMPTZOID, TIMESTAMPTZOID }
};

/* As rows, so that the index on finished_at alone is of no use. */
static MjStatement reach_of_one = {
	REACH("(l.job_id, l.finished_at) <= ($3, coalesce($1, 'infinity'))"
		  " AND (l.job_id, l.finished_at) >= ($3, coalesce($2, '-infinity'))",
		  "l.job_id DESC, l.finished_at DESC"),
	3,
	{ TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID }
};

/* The columns of an attempt that ended, in the order of LOG_COLUMNS. */
static void
param_log(MjParams *params, const MjRun *run, const MjRunOwner *owner,
		  const MjOutcome *outcome)
{
	bool succeeded = strcmp(outcome->status, "succeeded") == 0;

	mj_param_int64(params, run->run_id);
	mj_param_int32(params, run->attempt);
	mj_param_int64(params, run->job_id);
	mj_param_text(params, owner->job);
	mj_param_text(params, owner->job_group);
	mj_param_name(params, owner->role);
	mj_param_text(params, run->trigger);
	mj_param_time(params, run->due_at);
	mj_param_time(params, run->started_at);
	mj_param_time(params, outcome->finished_at);
	mj_param_text(params, outcome->status);
	mj_param_datum(params, Int64GetDatum(outcome->rows_affected),
				   outcome->rows_isnull);
	mj_param_text(params, outcome->result);
	mj_param_text(params, outcome->sqlstate);
	mj_param_text(params, outcome->error);
	mj_param_text(params, outcome->error_detail);
	mj_param_text(params, outcome->error_context);
	mj_param_datum(params, Int32GetDatum(run->pid), run->pid == 0);
	mj_param_int32(params, run->missed);
	mj_param_oid(params, owner->role_oid);
	mj_param_int32(params, run->priority);
	mj_param_datum(params, run->args, run->args_isnull || succeeded);
	mj_param_text(params, outcome->notices);
	mj_param_datum(params, UUIDPGetDatum(run->token), run->token == NULL);
	mj_param_text(params, run->worker);
}

/*
 * Log an attempt that ended.  False when the log has it already, which only
 * happens to an attempt that was taken from its worker.
 */
bool
mj_history_insert(const MjRun *run, const MjRunOwner *owner,
				  const MjOutcome *outcome)
{
	MjScope scope;
	MjParams params = { 0 };
	bool inserted;

	mj_store_enter(&scope);
	param_log(&params, run, owner, outcome);
	inserted = mj_store_run(&insert_statement, &params) == 1;
	mj_store_leave(&scope);
	return inserted;
}

/* Is a row of the queue a run that its worker still has? */
static bool
is_still_running(const Datum *values, const bool *nulls, const void *arg)
{
	const MjRun *run = arg;

	return !nulls[QUEUE_WORKER_ID] &&
		DatumGetInt64(values[QUEUE_WORKER_ID]) == run->worker_id &&
		strcmp(TextDatumGetCString(values[QUEUE_STATE]), "running") == 0;
}

/*
 * A run has succeeded: take it out of the queue and into the log.  It is done for
 * every run, and therefore without statements.  False when its worker has it no
 * longer; then the caller must raise an error, so that the work is undone.
 */
bool
mj_history_end_run(const MjRun *run, const MjRunOwner *owner,
				   const MjOutcome *outcome)
{
	MjParams params = { 0 };

	if (!mj_table_delete(&queue_table, Int64GetDatum(run->run_id),
						 is_still_running, run))
		return false;
	param_log(&params, run, owner, outcome);
	mj_table_insert(&log_table, &params);
	return true;
}

/*
 * How the last attempt of a run ended, on the latest snapshot; false when none
 * has.  One that was interrupted does not count: its run goes on by itself.
 */
bool
mj_history_last(int64 run_id, MjOutcome *outcome, TimestampTz *started_at)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	memset(outcome, 0, sizeof(MjOutcome));
	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	found = mj_store_read_latest(&last_statement, &params) > 0;
	if (found)
	{
		outcome->status = mj_row_text(&scope, 0, 1);
		outcome->rows_affected = mj_row_int64(0, 2);
		outcome->rows_isnull = mj_row_isnull(0, 2);
		outcome->result = mj_row_text(&scope, 0, 3);
		outcome->sqlstate = mj_row_text(&scope, 0, 4);
		outcome->error = mj_row_text(&scope, 0, 5);
		outcome->error_detail = mj_row_text(&scope, 0, 6);
		outcome->error_context = mj_row_text(&scope, 0, 7);
		outcome->finished_at = mj_row_time(0, 8);
		*started_at = mj_row_time(0, 9);
		outcome->job_id = mj_row_int64(0, 10);
	}
	mj_store_leave(&scope);
	return found;
}

/*
 * The instant up to which a list goes that begins before another one, of a job
 * or (job_id is NULL) of all; 0: it reaches as far as since.  0 for before and
 * since: there is none.
 */
TimestampTz
mj_history_reach(const int64 *job_id, TimestampTz before, TimestampTz since)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz reach = 0;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_time(&params, since);
	if (job_id != NULL)
		mj_param_int64(&params, *job_id);
	if (mj_store_run(job_id != NULL ? &reach_of_one : &reach_of_all, &params) >
		0)
		reach = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return reach;
}

/*
 * The runs of a job that have not started (again) end as cancelled.  The job is
 * locked and still there.
 */
void
mj_history_withdraw_job(int64 job_id, const char *reason, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_text(&params, reason);
	mj_param_time(&params, now);
	mj_store_run(&withdraw_statement, &params);
	mj_store_leave(&scope);
}

/* Learn what is needed for every run; for an executor that has nothing to do yet. */
void
mj_history_warm(void)
{
	mj_table_warm(&queue_table, false);
	mj_table_warm(&log_table, true);
}
