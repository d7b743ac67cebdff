/*-------------------------------------------------------------------------
 *
 * queue_store.c
 *	  The queue of live runs (jobs.queue).
 *
 * A running row belongs to the worker named in it: whoever ends or puts back
 * a run names that worker, and finds no row when the run was taken from it.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "job_store.h"
#include "queue_store.h"
#include "store.h"
#include "xact.h"

/*
 * Bytes of arguments, as they are stored, that are claimed in one go; compressed ones
 * may have 250 times as many.
 */
#define MAX_CLAIM_BYTES (1024 * 1024)

static MjStatement next_run_id_statement = {
	"SELECT pg_catalog.nextval('jobs.run_id_seq')", 0
};

static MjStatement insert_statement = {
	"INSERT INTO jobs.queue (run_id, job_id, lane, state, priority, run_at,"
	" due_at, trigger, missed, args, gated, concurrency_key, expires_at)"
	" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13"
	" WHERE NOT EXISTS (SELECT FROM jobs.run_log WHERE run_id = $1)"
	" ON CONFLICT (run_id) DO NOTHING",
	13,
	{ INT8OID, INT8OID, INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID,
	  TIMESTAMPTZOID, TEXTOID, INT4OID, JSONBOID, BOOLOID, TEXTOID,
	  TIMESTAMPTZOID }
};

/* Their run ids are in the order of the arrays.  An empty key is none. */
static MjStatement insert_many_statement = {
	"INSERT INTO jobs.queue (run_id, job_id, lane, state, priority, run_at,"
	" due_at, trigger, missed, gated, concurrency_key)"
	" SELECT pg_catalog.nextval('jobs.run_id_seq'), job_id, lane, state,"
	" priority, run_at, due_at, trigger, missed, gated, nullif(key, '')"
	" FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4),"
	" unnest($5), unnest($6), unnest($7), unnest($8), unnest($9), unnest($10))"
	" AS v (job_id, lane, state, priority, run_at, due_at, trigger, missed,"
	" gated, key)",
	10,
	{ INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
	  TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
	  BOOLARRAYOID, TEXTARRAYOID }
};

/* A run that has ended without success, as it was. */
static MjStatement reinsert_statement = {
	"INSERT INTO jobs.queue (run_id, job_id, lane, state, priority, run_at,"
	" due_at, trigger, missed, attempt, attempts_before, args, gated,"
	" concurrency_key, enqueued)"
	" SELECT l.run_id, l.job_id, $2, 'waiting', l.priority, $5, l.due_at,"
	" 'retry', l.missed, l.attempt, l.attempt, l.args,"
	" $3 OR $6 AND NOT f.enqueued, $4, f.enqueued FROM ("
	"  SELECT * FROM jobs.run_log WHERE run_id = $1"
	"  ORDER BY attempt DESC LIMIT 1) l, ("
	"  SELECT trigger IN ('queue', 'batch') AS enqueued FROM jobs.run_log"
	"  WHERE run_id = $1 ORDER BY attempt LIMIT 1) f"
	" WHERE l.status <> 'succeeded' ON CONFLICT (run_id) DO NOTHING",
	6,
	{ INT8OID, INT8OID, BOOLOID, TEXTOID, TIMESTAMPTZOID, BOOLOID }
};

static MjStatement hasten_statement = {
	"UPDATE jobs.queue SET run_at = $2"
	" WHERE run_id = $1 AND state = 'waiting' AND attempt > 0",
	2,
	{ INT8OID, TIMESTAMPTZOID }
};

static MjStatement find_statement = { "SELECT " MJ_RUN_COLUMNS
									  " FROM jobs.queue q WHERE q.run_id = $1",
									  1,
									  { INT8OID } };

static MjStatement claim_statement = {
	"UPDATE jobs.queue q SET state = 'running', worker_id = $2, pid = $3,"
	" started_at = $4, " MJ_COUNT_START " WHERE q.run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE lane = $1 AND state = 'ready'"
	"  AND (priority, run_id) >= ($6, $7)"
	"  ORDER BY priority, run_id LIMIT $5 FOR UPDATE SKIP LOCKED))"
	" RETURNING " MJ_RUN_COLUMNS,
	7,
	{ INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID, INT4OID, INT8OID }
};

/*
 * The same for who has many in hand at once, but none that has expired; and one that
 * was in hand in so many crashes ($7) is taken alone ($6: the caller has none), so
 * that the others do not share its fate.  No more are taken than have so many bytes
 * of arguments ($8), but for the first.  Gives, too, how many there were.
 */
static MjStatement claim_many_statement = {
	"WITH next AS MATERIALIZED ("
	"  SELECT run_id, crashes, pg_catalog.row_number() OVER w AS place,"
	"   pg_catalog.sum(bytes) OVER w AS bytes"
	"  FROM (SELECT run_id, priority, crashes,"
	"    coalesce(pg_catalog.pg_column_size(args), 0) AS bytes FROM jobs.queue"
	"   WHERE lane = $1 AND state = 'ready'"
	"   AND (expires_at IS NULL OR expires_at > $4)"
	"   ORDER BY priority, run_id LIMIT $5 FOR UPDATE SKIP LOCKED) c"
	"  WINDOW w AS (ORDER BY priority, run_id))"
	" UPDATE jobs.queue q SET state = 'running', worker_id = $2, pid = $3,"
	" started_at = $4, " MJ_COUNT_START
	" WHERE q.run_id = ANY (ARRAY(SELECT run_id FROM next"
	"  WHERE (place = 1 AND ($6 OR crashes < $7)) OR place < coalesce("
	"   (SELECT pg_catalog.min(place) FROM next WHERE crashes >= $7), $5 + 1)"
	"   AND (place = 1 OR bytes <= $8)))"
	" RETURNING " MJ_RUN_COLUMNS ", (SELECT pg_catalog.count(*) FROM next)",
	8,
	{ INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID, BOOLOID, INT4OID,
	  INT8OID }
};

/* The same for one: by the key itself, which is quicker than by a list. */
static MjStatement claim_one_statement = {
	"UPDATE jobs.queue q SET state = 'running', worker_id = $2, pid = $3,"
	" started_at = $4, " MJ_COUNT_START " WHERE q.run_id = ("
	"  SELECT run_id FROM jobs.queue WHERE lane = $1 AND state = 'ready'"
	"  AND (priority, run_id) >= ($5, $6)"
	"  ORDER BY priority, run_id LIMIT 1 FOR UPDATE SKIP LOCKED)"
	" RETURNING " MJ_RUN_COLUMNS,
	6,
	{ INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT4OID, INT8OID }
};

/*
 * A worker may have hundreds of runs: it is by the run that its row is found,
 * which a comparison that no index serves sees to.
 */
static MjStatement delete_statement = {
	"DELETE FROM jobs.queue"
	" WHERE run_id = $1 AND worker_id IS NOT DISTINCT FROM $2"
	" AND state = 'running'",
	2,
	{ INT8OID, INT8OID }
};

static MjStatement put_back_statement = {
	"UPDATE jobs.queue"
	" SET state = CASE WHEN $4 THEN 'ready' ELSE 'waiting' END, run_at = $3,"
	" failures = $5, crashes = $6,"
	" worker_id = NULL, pid = NULL, started_at = NULL"
	" WHERE run_id = $1 AND worker_id IS NOT DISTINCT FROM $2"
	" AND state = 'running'",
	6,
	{ INT8OID, INT8OID, TIMESTAMPTZOID, BOOLOID, INT4OID, INT4OID }
};

static MjStatement unclaim_statement = {
	"UPDATE jobs.queue SET state = CASE WHEN $4 IS NULL THEN 'ready'"
	"  ELSE 'waiting' END, run_at = coalesce($4, run_at),"
	" lane = $3, attempt = attempt - 1,"
	" worker_id = NULL, pid = NULL, started_at = NULL"
	" WHERE run_id = $1 AND worker_id IS NOT DISTINCT FROM $2"
	" AND state = 'running'"
	" AND attempt = $5 AND started_at = $6",
	6,
	{ INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID }
};

/* A run that was given a key of its own, which is not $5, keeps it. */
static MjStatement follow_job_statement = {
	"UPDATE jobs.queue q SET lane = $2, gated = $3 OR v.key IS NOT NULL,"
	" concurrency_key = v.key FROM ("
	"  SELECT run_id, CASE WHEN concurrency_key IS NOT DISTINCT FROM $5"
	"   THEN $4 ELSE concurrency_key END AS key"
	"  FROM jobs.queue WHERE job_id = $1 AND state <> 'running') v"
	" WHERE q.run_id = v.run_id AND q.state <> 'running'"
	" AND (q.lane, q.gated, q.concurrency_key) IS DISTINCT FROM"
	"  ($2, $3 OR v.key IS NOT NULL, v.key)",
	5,
	{ INT8OID, INT8OID, BOOLOID, TEXTOID, TEXTOID }
};

static MjStatement take_unstarted_statement = {
	"DELETE FROM jobs.queue q WHERE q.run_id = $1 AND q.state <> 'running'"
	" RETURNING " MJ_RUN_COLUMNS,
	1,
	{ INT8OID }
};

/* Is a run under way, or sure to be soon? */
#define IS_LIVE \
	"(q.state NOT IN ('waiting', 'paused') OR q.attempt > 0" \
	" OR q.trigger IN ('schedule', 'catch_up'))"

static MjStatement job_is_live_statement = {
	"SELECT FROM jobs.queue q WHERE q.job_id = $1 AND " IS_LIVE " LIMIT 1",
	1,
	{ INT8OID }
};

static MjStatement live_jobs_statement = {
	"SELECT j FROM unnest($1) j WHERE (SELECT q.run_id FROM jobs.queue q"
	" WHERE q.job_id = j AND " IS_LIVE " LIMIT 1) IS NOT NULL",
	1,
	{ INT8ARRAYOID }
};

/*
 * Manual runs are put in the queue by their callers, who cannot see what else
 * will have been committed before: whether they overlap is decided here.  Of
 * those of one job the first goes on unless another run of it is live; looked
 * up once a job, since there may be many.
 */
static MjStatement take_overlapping_statement = {
	"WITH due AS MATERIALIZED ("
	"  SELECT q.run_id, q.job_id, pg_catalog.row_number()"
	"   OVER (PARTITION BY q.job_id ORDER BY q.run_id) AS place"
	"  FROM (SELECT run_id, job_id FROM jobs.queue"
	"   WHERE state = 'waiting' AND run_at <= $1 AND trigger = 'manual'"
	"   AND attempt = 0 FOR UPDATE SKIP LOCKED) q"
	"  JOIN jobs.job j ON j.job_id = q.job_id WHERE j.overlap = 'skip'),"
	" live AS MATERIALIZED ("
	"  SELECT job_id FROM due WHERE place = 1 AND EXISTS ("
	"   SELECT FROM jobs.queue o WHERE o.job_id = due.job_id"
	"   AND (o.state NOT IN ('waiting', 'paused') OR o.attempt > 0)))"
	" DELETE FROM jobs.queue q WHERE q.run_id = ANY (ARRAY("
	"  SELECT due.run_id FROM due LEFT JOIN live USING (job_id)"
	"  WHERE due.place > 1 OR live.job_id IS NOT NULL))"
	" RETURNING " MJ_RUN_COLUMNS,
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement retry_at_statement = {
	"SELECT run_at FROM jobs.queue"
	" WHERE run_id = $1 AND state = 'waiting' AND attempt > 0",
	1,
	{ INT8OID }
};

static MjStatement promote_statement = {
	"UPDATE jobs.queue"
	" SET state = CASE WHEN gated THEN 'held' ELSE 'ready' END"
	" WHERE run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE state = 'waiting' AND run_at <= $1"
	"  ORDER BY run_at LIMIT " CppAsString2(
		MJ_PROMOTE_LIMIT) "  FOR UPDATE SKIP LOCKED))",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement promote_mails_statement = {
	"UPDATE jobs.queue SET state = 'ready'"
	" WHERE run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE state = 'waiting' AND run_at <= $1"
	"  AND lane = 0 ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED))",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement exists_statement = {
	"SELECT FROM jobs.queue WHERE run_id = $1", 1, { INT8OID }
};

/* Without arguments: they may be large, and are seldom wanted. */
static MjStatement running_statement = {
	"SELECT " MJ_RUN_COLUMNS_WITH(
		"NULL::jsonb") " FROM jobs.queue q"
					   " WHERE q.state = 'running'"
					   " AND q.worker_id IS NOT NULL AND ($1 = 0 OR q.worker_id = $1)"
					   " ORDER BY q.worker_id, q.priority, q.run_id",
	1,
	{ INT8OID }
};

/*
 * The lanes that have ready runs for executors, by a loose index scan, and how many each has,
 * counted only as far as an executor for each could matter.  That of mails is
 * none while no mail may be sent.
 */
static MjStatement lanes_statement = {
	"WITH RECURSIVE l (lane) AS ("
	"  (SELECT lane FROM jobs.queue WHERE state = 'ready' AND lane >= 0"
	"   ORDER BY lane LIMIT 1)"
	"  UNION ALL SELECT (SELECT q.lane FROM jobs.queue q"
	"   WHERE q.state = 'ready' AND q.lane > l.lane ORDER BY q.lane LIMIT 1)"
	"  FROM l WHERE l.lane IS NOT NULL)"
	" SELECT l.lane, (SELECT pg_catalog.count(*) FROM (SELECT FROM jobs.queue q"
	"  WHERE q.state = 'ready' AND q.lane = l.lane LIMIT 64) r)"
	" FROM l WHERE l.lane IS NOT NULL AND (l.lane <> 0 OR NOT EXISTS ("
	"  SELECT FROM jobs.mail_transport_state WHERE next_try_at > $1))",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement next_waiting_statement = {
	"SELECT run_at FROM jobs.queue WHERE state = 'waiting'"
	" ORDER BY run_at LIMIT 1",
	0
};

/* Fill a run from a row that begins with MJ_RUN_COLUMNS. */
void
mj_queue_read_run(MjScope *scope, uint64 row, MjRun *run)
{
	memset(run, 0, sizeof(MjRun));
	run->run_id = mj_row_int64(row, 1);
	run->job_id = mj_row_int64(row, 2);
	run->lane = mj_row_int64(row, 3);
	run->priority = mj_row_int32(row, 4);
	run->run_at = mj_row_time(row, 5);
	run->due_at = mj_row_time(row, 6);
	run->trigger = mj_row_text(scope, row, 7);
	run->missed = mj_row_int32(row, 8);
	run->attempt = mj_row_int32(row, 9);
	run->failures = mj_row_int32(row, 10);
	run->crashes = mj_row_int32(row, 11);
	run->args = mj_row_datum(scope, row, 12, &run->args_isnull);
	run->worker_id = mj_row_int64(row, 13);
	run->pid = mj_row_int32(row, 14);
	run->started_at = mj_row_time(row, 15);
	run->state = mj_row_text(scope, row, 16);
	run->gated = mj_row_bool(row, 17);
	run->concurrency_key = mj_row_text(scope, row, 18);
	run->before = mj_row_int32(row, 19);
}

/* All rows of the last result, in the caller's context. */
int
mj_queue_read_runs(MjScope *scope, uint64 n, MjRun **runs)
{
	uint64 i;

	*runs = MemoryContextAlloc(scope->caller, Max(n, 1) * sizeof(MjRun));
	for (i = 0; i < n; i++)
		mj_queue_read_run(scope, i, &(*runs)[i]);
	return (int) n;
}

/* Run a statement whose only result is how many rows it touched. */
static uint64
run_for_count(MjStatement *statement, MjParams *params)
{
	MjScope scope;
	uint64 n;

	mj_store_enter(&scope);
	n = mj_store_run(statement, params);
	mj_store_leave(&scope);
	return n;
}

/* A new run id; never used again, whatever becomes of the transaction. */
int64
mj_queue_next_run_id(void)
{
	MjScope scope;
	int64 run_id;

	mj_store_enter(&scope);
	mj_store_run(&next_run_id_statement, NULL);
	run_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return run_id;
}

/*
 * Add a run.  Its run_id is of mj_queue_next_run_id(); false when the queue or
 * the log has it already.
 */
bool
mj_queue_insert(const MjRun *run)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run->run_id);
	mj_param_int64(&params, run->job_id);
	mj_param_int64(&params, run->lane);
	mj_param_text(&params, run->state);
	mj_param_int32(&params, run->priority);
	mj_param_time(&params, run->run_at);
	mj_param_time(&params, run->due_at);
	mj_param_text(&params, run->trigger);
	mj_param_int32(&params, run->missed);
	mj_param_datum(&params, run->args, run->args_isnull);
	mj_param_bool(&params, run->gated);
	mj_param_text(&params, run->concurrency_key);
	mj_param_time(&params, run->expires_at);
	mj_xact_ready(run->priority, run->run_id);
	return run_for_count(&insert_statement, &params) == 1;
}

/* Columns of insert_many_statement, each an array of n Datums. */
enum
{
	MANY_JOB_ID,
	MANY_LANE,
	MANY_STATE,
	MANY_PRIORITY,
	MANY_RUN_AT,
	MANY_DUE_AT,
	MANY_TRIGGER,
	MANY_MISSED,
	MANY_GATED,
	MANY_KEY,
	MANY_COLUMNS
};

/* Add runs without arguments; each gets a new id, in their order. */
void
mj_queue_insert_many(const MjRun *runs, int n)
{
	static const Oid types[MANY_COLUMNS] = {
		INT8OID,		INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID,
		TIMESTAMPTZOID, TEXTOID, INT4OID, BOOLOID, TEXTOID
	};
	Datum *columns[MANY_COLUMNS];
	MjParams params = { 0 };
	int i;

	for (i = 0; i < MANY_COLUMNS; i++)
		columns[i] = palloc(Max(n, 1) * sizeof(Datum));
	for (i = 0; i < n; i++)
	{
		const char *key = runs[i].concurrency_key;

		columns[MANY_JOB_ID][i] = Int64GetDatum(runs[i].job_id);
		columns[MANY_LANE][i] = Int64GetDatum(runs[i].lane);
		columns[MANY_STATE][i] = CStringGetTextDatum(runs[i].state);
		columns[MANY_PRIORITY][i] = Int32GetDatum(runs[i].priority);
		columns[MANY_RUN_AT][i] = TimestampTzGetDatum(runs[i].run_at);
		columns[MANY_DUE_AT][i] = TimestampTzGetDatum(runs[i].due_at);
		columns[MANY_TRIGGER][i] = CStringGetTextDatum(runs[i].trigger);
		columns[MANY_MISSED][i] = Int32GetDatum(runs[i].missed);
		columns[MANY_GATED][i] = BoolGetDatum(runs[i].gated);
		columns[MANY_KEY][i] = CStringGetTextDatum(key ? key : "");
	}
	for (i = 0; i < MANY_COLUMNS; i++)
		mj_param_array(&params, columns[i], n, types[i]);
	if (run_for_count(&insert_many_statement, &params) > 0)
		mj_xact_ready_anywhere();
}

/*
 * Put a run that has ended without success into the queue again, to be admitted
 * like a new one; its attempts count on, its failures anew.  False when it is
 * there already, or has no such end.
 */
bool
mj_queue_reinsert(int64 run_id, const MjJob *job, int64 lane, TimestampTz now)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run_id);
	mj_param_int64(&params, lane);
	mj_param_bool(&params, mj_job_is_gated(job));
	mj_param_text(&params, job->concurrency_key);
	mj_param_time(&params, now);
	mj_param_bool(&params, strcmp(job->overlap, "skip") == 0);
	return run_for_count(&reinsert_statement, &params) == 1;
}

/* Have a run that waits to be tried again tried now; false when it does not. */
bool
mj_queue_hasten(int64 run_id, TimestampTz now)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run_id);
	mj_param_time(&params, now);
	return run_for_count(&hasten_statement, &params) == 1;
}

/* Run a statement that gives one run, or none. */
static bool
run_for_run(MjStatement *statement, int64 run_id, MjRun *run)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	found = mj_store_run(statement, &params) > 0;
	if (found)
		mj_queue_read_run(&scope, 0, run);
	mj_store_leave(&scope);
	return found;
}

/* The run of that id, if it is in the queue. */
bool
mj_queue_find(int64 run_id, MjRun *run)
{
	return run_for_run(&find_statement, run_id, run);
}

/* Remove a run that has not started; false when it has, or is not there. */
bool
mj_queue_take_unstarted(int64 run_id, MjRun *run)
{
	return run_for_run(&take_unstarted_statement, run_id, run);
}

/* The first parameters of all claims. */
static void
param_claim(MjParams *params, int64 lane, int64 worker_id, TimestampTz now)
{
	mj_param_int64(params, lane);
	mj_param_int64(params, worker_id);
	mj_param_int32(params, MyProcPid);
	mj_param_time(params, now);
}

/* The order of a lane's ready runs. */
static int
compare_runs(const void *a, const void *b)
{
	const MjRun *x = a;
	const MjRun *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->run_id < y->run_id ? -1 : 1;
}

/*
 * Claim up to limit ready runs of a lane, the first by priority and run_id that
 * are not before a place, for the caller's slot; returns how many, in that
 * order.
 */
int
mj_queue_claim(int64 lane, int64 worker_id, TimestampTz now, const MjKey *from,
			   int limit, MjRun **runs)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	param_claim(&params, lane, worker_id, now);
	if (limit > 1)
		mj_param_int64(&params, limit);
	mj_param_int32(&params, from->priority);
	mj_param_int64(&params, from->run_id);
	n = mj_queue_read_runs(&scope,
						   mj_store_run(limit > 1 ? &claim_statement :
													&claim_one_statement,
										&params),
						   runs);
	mj_store_leave(&scope);
	qsort(*runs, n, sizeof(MjRun), compare_runs);
	return n;
}

/*
 * Claim up to limit ready runs of a lane whose executor has many in hand at once;
 * returns how many, in the order of the queue.  One that was in hand in as many
 * crashes as "suspect" is claimed alone, and only if the caller has none.  They are
 * fewer if they have much to carry; *more says whether there may be others.
 */
int
mj_queue_claim_many(int64 lane, int64 worker_id, TimestampTz now, int limit,
					int suspect, bool has_none, MjRun **runs, bool *more)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 found;
	int n;

	mj_store_enter(&scope);
	param_claim(&params, lane, worker_id, now);
	mj_param_int64(&params, limit);
	mj_param_bool(&params, has_none);
	mj_param_int32(&params, suspect);
	mj_param_int64(&params, MAX_CLAIM_BYTES);
	n = mj_queue_read_runs(&scope, mj_store_run(&claim_many_statement, &params),
						   runs);
	found = n > 0 ? mj_row_int64(0, MJ_RUN_NCOLUMNS + 1) : 0;
	*more = found == limit || n < found;
	mj_store_leave(&scope);
	qsort(*runs, n, sizeof(MjRun), compare_runs);
	return n;
}

/*
 * Claim up to max_mails due mails, those whose instant has come but that no
 * scheduler has looked at included; returns how many, in their order.  One that
 * was in hand in a crash is claimed alone, and only if the caller has none.  A
 * copy of a database claims none.
 */
int
mj_queue_claim_mails(int64 worker_id, TimestampTz now, int max_mails,
					 bool has_none, MjRun *runs)
{
	MjParams due = { 0 };
	MjRun *claimed;
	bool more;
	int n;

	if (!mj_instance_is_own())
		return 0;
	mj_param_time(&due, now);
	run_for_count(&promote_mails_statement, &due);
	n = mj_queue_claim_many(MJ_LANE_MAIL, worker_id, now, max_mails, 1,
							has_none, &claimed, &more);
	memcpy(runs, claimed, n * sizeof(MjRun));
	return n;
}

/*
 * The run has ended: remove it.  False when the worker has it no longer; the
 * caller must then raise an error, so that its work is undone.
 */
bool
mj_queue_delete(int64 run_id, int64 worker_id)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run_id);
	mj_param_int64(&params, worker_id);
	return run_for_count(&delete_statement, &params) == 1;
}

/*
 * Put a running run back, ready or waiting for run_at, with the counts of
 * failures and crashes in *run.  False when its worker has it no longer.
 */
bool
mj_queue_put_back(const MjRun *run, TimestampTz run_at, bool ready)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run->run_id);
	mj_param_int64(&params, run->worker_id);
	mj_param_time(&params, run_at);
	mj_param_bool(&params, ready);
	mj_param_int32(&params, run->failures);
	mj_param_int32(&params, run->crashes);
	mj_xact_ready(run->priority, run->run_id);
	return run_for_count(&put_back_statement, &params) == 1;
}

/*
 * Give a claimed run back, unstarted: into a lane, ready, or waiting until an
 * instant (0: ready).  False when its worker has it no longer, or by another
 * claim: *run is as it was claimed.
 */
bool
mj_queue_unclaim(const MjRun *run, int64 lane, TimestampTz until)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run->run_id);
	mj_param_int64(&params, run->worker_id);
	mj_param_int64(&params, lane);
	mj_param_time(&params, until);
	mj_param_int32(&params, run->attempt);
	mj_param_time(&params, run->started_at);
	mj_xact_ready(run->priority, run->run_id);
	return run_for_count(&unclaim_statement, &params) == 1;
}

/* A job has another role or gate now: its runs that have not started follow. */
void
mj_queue_follow_job(int64 job_id, int64 lane, bool gated,
					const char *concurrency_key, const char *old_key)
{
	MjParams params = { 0 };

	mj_param_int64(&params, job_id);
	mj_param_int64(&params, lane);
	mj_param_bool(&params, gated);
	mj_param_text(&params, concurrency_key);
	mj_param_text(&params, old_key);
	run_for_count(&follow_job_statement, &params);
	mj_xact_ready_anywhere();
}

/* Has the job a run that is ready, running, or waiting to be tried again? */
bool
mj_queue_job_is_live(int64 job_id)
{
	MjParams params = { 0 };

	mj_param_int64(&params, job_id);
	return run_for_count(&job_is_live_statement, &params) > 0;
}

/* Which of some jobs have such a run; returns how many. */
int
mj_queue_live_jobs(const int64 *job_ids, int n, int64 **live)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *ids = palloc(Max(n, 1) * sizeof(Datum));
	int found;
	int i;

	for (i = 0; i < n; i++)
		ids[i] = Int64GetDatum(job_ids[i]);
	mj_store_enter(&scope);
	mj_param_array(&params, ids, n, INT8OID);
	found = (int) mj_store_run(&live_jobs_statement, &params);
	*live = MemoryContextAlloc(scope.caller, Max(found, 1) * sizeof(int64));
	for (i = 0; i < found; i++)
		(*live)[i] = mj_row_int64(i, 1);
	mj_store_leave(&scope);
	return found;
}

/* Take due manual runs that overlap another of their job out of the queue. */
int
mj_queue_take_overlapping(TimestampTz now, MjRun **runs)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	n = mj_queue_read_runs(&scope,
						   mj_store_run(&take_overlapping_statement, &params),
						   runs);
	mj_store_leave(&scope);
	return n;
}

/* Is a run in the queue, on the latest snapshot? */
bool
mj_queue_exists(int64 run_id)
{
	MjScope scope;
	MjParams params = { 0 };
	bool exists;

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	exists = mj_store_read_latest(&exists_statement, &params) > 0;
	mj_store_leave(&scope);
	return exists;
}

/* When a run that has failed is tried again, on the latest snapshot; 0: not. */
TimestampTz
mj_queue_retry_at(int64 run_id)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz at = 0;

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	if (mj_store_read_latest(&retry_at_statement, &params) > 0)
		at = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return at;
}

/* Make waiting runs ready whose instant has come; returns how many. */
int
mj_queue_promote(TimestampTz now)
{
	MjParams params = { 0 };
	int n;

	mj_param_time(&params, now);
	n = (int) run_for_count(&promote_statement, &params);
	if (n > 0)
		mj_xact_ready_anywhere();
	return n;
}

/*
 * The runs that workers of the server have, one or (0) all; those of a worker in
 * the order in which it executes them.  Without their arguments.
 */
int
mj_queue_running(int64 worker_id, MjRun **runs)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	mj_param_int64(&params, worker_id);
	n = mj_queue_read_runs(&scope, mj_store_run(&running_statement, &params),
						   runs);
	mj_store_leave(&scope);
	return n;
}

/* The lanes that have ready runs for executors now. */
int
mj_queue_lanes(TimestampTz now, MjLaneDemand **lanes)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 n;
	uint64 i;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	n = mj_store_run(&lanes_statement, &params);
	*lanes = MemoryContextAlloc(scope.caller, Max(n, 1) * sizeof(MjLaneDemand));
	for (i = 0; i < n; i++)
	{
		(*lanes)[i].lane = mj_row_int64(i, 1);
		(*lanes)[i].ready = mj_row_int64(i, 2);
	}
	mj_store_leave(&scope);
	return (int) n;
}

/* When the first waiting run is to become ready; DT_NOEND: none waits. */
TimestampTz
mj_queue_next_waiting(void)
{
	MjScope scope;
	TimestampTz next = DT_NOEND;

	mj_store_enter(&scope);
	if (mj_store_run(&next_waiting_statement, NULL) > 0)
		next = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}

/* Plan what is done for every run; for an executor that has nothing to do yet. */
void
mj_queue_warm(void)
{
	mj_store_warm(&claim_one_statement);
	mj_store_warm(&claim_statement);
}
