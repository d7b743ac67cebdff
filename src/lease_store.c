/*-------------------------------------------------------------------------
 *
 * lease_store.c
 *	  Leases: runs of jobs.queue that workers outside of the server have.
 *
 * A leased run is running and has a token, new for each attempt, instead of a
 * worker_id.  Who knows the token has the run, until the row says otherwise:
 * everything that ends or moves a lease locks the row by its token, and does
 * not find it when the run was taken away.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "lease_store.h"
#include "store.h"

#define LEASE_COLUMNS \
	MJ_RUN_COLUMNS ", q.token, q.worker, q.lease_until, q.lease"

/* What a run that is not leased any more has of it: nothing. */
#define NO_LEASE \
	"token = NULL, lease_until = NULL, lease = NULL, worker = NULL," \
	" done = NULL, total = NULL, note = NULL, started_at = NULL"

static MjStatement claim = {
	"UPDATE jobs.queue q SET state = 'running', started_at = $2,"
	" token = pg_catalog.gen_random_uuid(), lease_until = $3, lease = $4,"
	" worker = $5, " MJ_COUNT_START " WHERE q.run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE lane = $1 AND state = 'ready'"
	"  AND (run_at <= $2 OR run_at > $7)"
	"  ORDER BY priority, run_id LIMIT $6 FOR UPDATE SKIP LOCKED))"
	" RETURNING " LEASE_COLUMNS,
	7,
	{ INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INTERVALOID, TEXTOID, INT4OID,
	  TIMESTAMPTZOID }
};

static MjStatement lock_by_token = {
	"SELECT " LEASE_COLUMNS " FROM jobs.queue q WHERE q.token = $1 FOR UPDATE",
	1,
	{ UUIDOID }
};

static MjStatement lock_by_run = {
	"SELECT " LEASE_COLUMNS " FROM jobs.queue q"
	" WHERE q.run_id = $1 AND q.token IS NOT NULL FOR UPDATE",
	1,
	{ INT8OID }
};

static MjStatement lock_of_job = {
	"SELECT " LEASE_COLUMNS " FROM jobs.queue q"
	" WHERE q.job_id = $1 AND q.state IN ('ready', 'running')"
	" AND q.token IS NOT NULL ORDER BY q.run_id FOR UPDATE",
	1,
	{ INT8OID }
};

/* Of some runs those that are leased, but for what its worker is ending now. */
static MjStatement lock_some = {
	"SELECT " LEASE_COLUMNS " FROM jobs.queue q"
	" WHERE q.run_id = ANY ($1) AND q.token IS NOT NULL"
	" ORDER BY q.run_id FOR UPDATE SKIP LOCKED",
	1,
	{ INT8ARRAYOID }
};

static MjStatement extend = {
	"UPDATE jobs.queue SET lease_until = $2, lease = coalesce($3, lease),"
	" done = coalesce($4, done), total = coalesce($5, total),"
	" note = nullif(coalesce($6, note), '')"
	" WHERE token = $1",
	6,
	{ UUIDOID, TIMESTAMPTZOID, INTERVALOID, INT8OID, INT8OID, TEXTOID }
};

static MjStatement delete_leased = { "DELETE FROM jobs.queue WHERE token = $1",
									 1,
									 { UUIDOID } };

static MjStatement put_back = {
	"UPDATE jobs.queue"
	" SET state = CASE WHEN $3 THEN 'ready' ELSE 'waiting' END, run_at = $2,"
	" lane = $4, failures = $5, crashes = $6, " NO_LEASE " WHERE token = $1",
	6,
	{ UUIDOID, TIMESTAMPTZOID, BOOLOID, INT8OID, INT4OID, INT4OID }
};

static MjStatement undo_claim = {
	"UPDATE jobs.queue SET state = 'ready', lane = $2, attempt = attempt - 1,"
	" " NO_LEASE " WHERE token = $1",
	2,
	{ UUIDOID, INT8OID }
};

static MjStatement find_ended = {
	"SELECT run_id, job, role_oid, status, error, finished_at"
	" FROM jobs.run_log WHERE token = $1",
	1,
	{ UUIDOID }
};

static MjStatement any_lease = {
	"SELECT FROM jobs.queue WHERE lease_until IS NOT NULL LIMIT 1", 0
};

static MjStatement next_end = {
	"SELECT lease_until FROM jobs.queue WHERE lease_until IS NOT NULL"
	" ORDER BY lease_until LIMIT 1",
	0
};

/* Has run q used up its job's time at $1?  A day of it has 24 hours. */
#define HAS_TIMED_OUT \
	"(SELECT (q.started_at AT TIME ZONE 'UTC' + j.timeout)" \
	" <= ($1 AT TIME ZONE 'UTC') FROM jobs.job j" \
	" WHERE j.job_id = q.job_id) IS TRUE"

/* What has run out, and that because of its job's timeout. */
static MjStatement lock_timed = {
	"SELECT " LEASE_COLUMNS " FROM jobs.queue q WHERE q.run_id = ANY (ARRAY("
	"  SELECT q.run_id FROM jobs.queue q WHERE q.lease_until <= $1"
	"  AND " HAS_TIMED_OUT
	"  ORDER BY q.lease_until LIMIT $2)) AND q.lease_until <= $1"
	" ORDER BY q.run_id FOR UPDATE SKIP LOCKED",
	2,
	{ TIMESTAMPTZOID, INT4OID }
};

/*
 * What has run out otherwise goes back, into the lane of its job, or ends with
 * the last crash that a run is granted, or where its job is gone.  All of it is
 * logged.
 */
static MjStatement lapse = {
	"WITH old AS MATERIALIZED ("
	"  SELECT q.*, q.crashes + 1 AS crash FROM jobs.queue q"
	"  WHERE q.lease_until <= $1 AND NOT " HAS_TIMED_OUT
	"  ORDER BY q.lease_until LIMIT $2 FOR UPDATE SKIP LOCKED),"
	" known AS MATERIALIZED ("
	"  SELECT o.run_id, o.crash, j.*,"
	"   coalesce(s.role_oid, 0::oid) AS role_oid FROM old o"
	"  CROSS JOIN LATERAL (SELECT job_id, name, job_group, role, handler"
	"   FROM jobs.job WHERE job_id = o.job_id OFFSET 0) j"
	"  LEFT JOIN jobs.job_state s ON s.job_id = j.job_id),"
	" back AS (UPDATE jobs.queue q SET state = 'ready',"
	"  lane = CASE k.handler WHEN 'external' THEN -k.job_id"
	"   WHEN 'http' THEN 1 ELSE k.role_oid::bigint END,"
	"  crashes = k.crash, " NO_LEASE " FROM known k"
	"  WHERE q.run_id = k.run_id AND k.crash < $3),"
	" gone AS (DELETE FROM jobs.queue q USING old o"
	"  WHERE q.run_id = o.run_id AND (o.crash >= $3"
	"   OR NOT EXISTS (SELECT FROM known k WHERE k.run_id = o.run_id)))"
	" INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role,"
	"  role_oid, trigger, due_at, started_at, finished_at, status, sqlstate,"
	"  error, error_detail, missed, priority, args, token, worker)"
	" SELECT o.run_id, o.attempt, o.job_id,"
	"  coalesce(k.name, pg_catalog.format('unscheduled job %s', o.job_id)),"
	"  k.job_group, coalesce(k.role, ''), coalesce(k.role_oid, 0::oid),"
	"  o.trigger, o.due_at, o.started_at, $1, 'crashed', '57P02',"
	"  'its lease ran out',"
	"  pg_catalog.format('Crash %s of this run; at %s it is given up.',"
	"   o.crash, $3),"
	"  o.missed, o.priority, o.args, o.token, o.worker"
	" FROM old o LEFT JOIN known k ON k.run_id = o.run_id"
	" RETURNING run_id, attempt, started_at, job, error, job_id",
	3,
	{ TIMESTAMPTZOID, INT4OID, INT4OID }
};

/* The lanes of workers outside that have ready runs, by a loose scan. */
#define READY_LANES \
	"l (lane) AS (" \
	"  (SELECT lane FROM jobs.queue WHERE state = 'ready' AND lane < 0" \
	"   ORDER BY lane LIMIT 1)" \
	"  UNION ALL SELECT (SELECT q.lane FROM jobs.queue q" \
	"   WHERE q.state = 'ready' AND q.lane > l.lane AND q.lane < 0" \
	"   ORDER BY q.lane LIMIT 1)" \
	"  FROM l WHERE l.lane IS NOT NULL)"

/* What is ready in lanes of jobs that are gone; other lanes are not read. */
static MjStatement take_orphans = {
	"WITH RECURSIVE " READY_LANES
	" DELETE FROM jobs.queue q WHERE q.run_id = ANY (ARRAY("
	"  SELECT o.run_id FROM (SELECT l.lane FROM l WHERE NOT EXISTS ("
	"    SELECT FROM jobs.job j WHERE j.job_id = -l.lane) OFFSET 0) g"
	"  CROSS JOIN LATERAL (SELECT q.run_id FROM jobs.queue q"
	"   WHERE q.state = 'ready' AND q.lane = g.lane"
	"   ORDER BY q.priority, q.run_id LIMIT 1000 FOR UPDATE SKIP LOCKED) o))"
	" RETURNING " MJ_RUN_COLUMNS,
	0
};

/* Of each lane the first runs that are ready. */
static MjStatement ready = {
	"WITH RECURSIVE " READY_LANES
	" SELECT l.lane, r.run_id, r.xmin FROM l CROSS JOIN LATERAL ("
	"  SELECT q.run_id, q.xmin FROM jobs.queue q"
	"  WHERE q.state = 'ready' AND q.lane = l.lane"
	"  ORDER BY q.priority, q.run_id LIMIT $1) r"
	" WHERE l.lane IS NOT NULL",
	1,
	{ INT4OID }
};

/* Fill a lease from a row of LEASE_COLUMNS. */
static void
read_lease(MjScope *scope, uint64 row, MjLease *lease)
{
	bool isnull;
	Datum value;

	mj_queue_read_run(scope, row, &lease->run);
	value = mj_row_datum(scope, row, MJ_RUN_NCOLUMNS + 1, &isnull);
	lease->run.token = isnull ? NULL : DatumGetUUIDP(value);
	lease->run.worker = mj_row_text(scope, row, MJ_RUN_NCOLUMNS + 2);
	lease->until = mj_row_time(row, MJ_RUN_NCOLUMNS + 3);
	value = mj_row_datum(scope, row, MJ_RUN_NCOLUMNS + 4, &isnull);
	lease->length = isnull ? NULL : DatumGetIntervalP(value);
}

/* All rows of the last result, in the caller's context. */
static int
read_leases(MjScope *scope, uint64 n, MjLease **leases)
{
	uint64 row;

	*leases = MemoryContextAlloc(scope->caller, Max(n, 1) * sizeof(MjLease));
	for (row = 0; row < n; row++)
		read_lease(scope, row, &(*leases)[row]);
	return (int) n;
}

/* Run a statement that gives leases; returns how many. */
static int
run_for_leases(MjStatement *statement, MjParams *params, MjLease **leases)
{
	MjScope scope;
	int n;

	mj_store_enter(&scope);
	n = read_leases(&scope, mj_store_run(statement, params), leases);
	mj_store_leave(&scope);
	return n;
}

/* The same for one, or none. */
static bool
run_for_lease(MjStatement *statement, MjParams *params, MjLease *lease)
{
	MjLease *found;

	if (run_for_leases(statement, params, &found) == 0)
		return false;
	*lease = found[0];
	return true;
}

/* Run a statement that changes the run of a token; whether there is one. */
static bool
run_for_change(MjStatement *statement, MjParams *params)
{
	MjScope scope;
	bool changed;

	mj_store_enter(&scope);
	changed = mj_store_run(statement, params) > 0;
	mj_store_leave(&scope);
	return changed;
}

static void
param_token(MjParams *params, const pg_uuid_t *token)
{
	mj_param_datum(params, UUIDPGetDatum(token), false);
}

static void
param_count(MjParams *params, const int64 *value)
{
	mj_param_datum(params, value ? Int64GetDatum(*value) : (Datum) 0,
				   value == NULL);
}

static int
compare_leases(const void *a, const void *b)
{
	const MjRun *x = &((const MjLease *) a)->run;
	const MjRun *y = &((const MjLease *) b)->run;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->run_id < y->run_id ? -1 : x->run_id > y->run_id;
}

/*
 * Claim up to limit ready runs of a lane, the first by priority and run_id, and
 * give them in this order.  The terms are until, length and run.worker.
 */
int
mj_lease_claim(int64 lane, TimestampTz now, const MjLease *terms, int limit,
			   MjLease **leases)
{
	MjParams params = { 0 };
	int n;

	mj_param_int64(&params, lane);
	mj_param_time(&params, now);
	mj_param_time(&params, terms->until);
	mj_param_datum(&params, IntervalPGetDatum(terms->length), false);
	mj_param_text(&params, terms->run.worker);
	mj_param_int32(&params, limit);
	mj_param_time(&params, now + MJ_AHEAD_US);
	n = run_for_leases(&claim, &params, leases);
	qsort(*leases, n, sizeof(MjLease), compare_leases);
	return n;
}

/* Lock the lease of a token; false when it is nobody's, or no more. */
bool
mj_lease_lock(const pg_uuid_t *token, MjLease *lease)
{
	MjParams params = { 0 };

	param_token(&params, token);
	return run_for_lease(&lock_by_token, &params, lease);
}

/* Lock the lease of a run; false when it has none. */
bool
mj_lease_lock_run(int64 run_id, MjLease *lease)
{
	MjParams params = { 0 };

	mj_param_int64(&params, run_id);
	return run_for_lease(&lock_by_run, &params, lease);
}

/* Lock all leases of a job; returns how many. */
int
mj_lease_lock_job(int64 job_id, MjLease **leases)
{
	MjParams params = { 0 };

	mj_param_int64(&params, job_id);
	return run_for_leases(&lock_of_job, &params, leases);
}

/* Lock the leases of some runs, without waiting; returns how many have one. */
int
mj_lease_lock_runs(const int64 *run_ids, int n, MjLease **leases)
{
	MjParams params = { 0 };
	Datum *ids = palloc(Max(n, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	mj_param_array(&params, ids, n, INT8OID);
	return run_for_leases(&lock_some, &params, leases);
}

/* Move the end of a locked lease, and take over what its worker says. */
void
mj_lease_extend(const MjRun *run, TimestampTz until, const MjBeat *beat)
{
	MjParams params = { 0 };

	param_token(&params, run->token);
	mj_param_time(&params, until);
	mj_param_datum(&params, IntervalPGetDatum(beat->length),
				   beat->length == NULL);
	param_count(&params, beat->done);
	param_count(&params, beat->total);
	mj_param_text(&params, beat->note);
	(void) run_for_change(&extend, &params);
}

/* The run has ended: remove it.  False when its worker has it no longer. */
bool
mj_lease_delete(const MjRun *run)
{
	MjParams params = { 0 };

	param_token(&params, run->token);
	return run_for_change(&delete_leased, &params);
}

/*
 * Put a leased run back, ready or waiting for run_at, with the lane and the
 * counts in *run.  False when its worker has it no longer.
 */
bool
mj_lease_put_back(const MjRun *run, TimestampTz run_at, bool ready)
{
	MjParams params = { 0 };

	param_token(&params, run->token);
	mj_param_time(&params, run_at);
	mj_param_bool(&params, ready);
	mj_param_int64(&params, run->lane);
	mj_param_int32(&params, run->failures);
	mj_param_int32(&params, run->crashes);
	return run_for_change(&put_back, &params);
}

/* Put a leased run back into a lane as if it had not been claimed. */
void
mj_lease_undo(const MjRun *run, int64 lane)
{
	MjParams params = { 0 };

	param_token(&params, run->token);
	mj_param_int64(&params, lane);
	(void) run_for_change(&undo_claim, &params);
}

/* How the attempt of a token ended, on the latest snapshot; false: not known. */
bool
mj_lease_find_ended(const pg_uuid_t *token, MjEndedLease *ended)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	param_token(&params, token);
	found = mj_store_read_latest(&find_ended, &params) > 0;
	if (found)
	{
		ended->run_id = mj_row_int64(0, 1);
		ended->job = mj_row_text(&scope, 0, 2);
		ended->role_oid = mj_row_oid(0, 3);
		ended->status = mj_row_text(&scope, 0, 4);
		ended->error = mj_row_text(&scope, 0, 5);
		ended->finished_at = mj_row_time(0, 6);
	}
	mj_store_leave(&scope);
	return found;
}

/* Is any run leased, on the latest snapshot? */
bool
mj_lease_any(void)
{
	MjScope scope;
	bool any;

	mj_store_enter(&scope);
	any = mj_store_read_latest(&any_lease, NULL) > 0;
	mj_store_leave(&scope);
	return any;
}

/* When the first lease ends; DT_NOEND: there is none. */
TimestampTz
mj_lease_next_end(void)
{
	MjScope scope;
	TimestampTz next = DT_NOEND;

	mj_store_enter(&scope);
	if (mj_store_run(&next_end, NULL) > 0)
		next = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}

/* Lock leases that have run out because of their jobs' timeouts, up to limit. */
int
mj_lease_lock_timed(TimestampTz now, int limit, MjLease **leases)
{
	MjParams params = { 0 };

	mj_param_time(&params, now);
	mj_param_int32(&params, limit);
	return run_for_leases(&lock_timed, &params, leases);
}

/* What the last result says of a lease that has run out. */
static void
read_lapsed(MjScope *scope, uint64 row, TimestampTz now, MjLapsedLease *lapsed)
{
	memset(lapsed, 0, sizeof(MjLapsedLease));
	lapsed->run.run_id = mj_row_int64(row, 1);
	lapsed->run.attempt = mj_row_int32(row, 2);
	lapsed->run.started_at = mj_row_time(row, 3);
	lapsed->run.job_id = mj_row_int64(row, 6);
	lapsed->owner.job = mj_row_text(scope, row, 4);
	lapsed->outcome.status = "crashed";
	lapsed->outcome.error = mj_row_text(scope, row, 5);
	lapsed->outcome.finished_at = now;
}

/*
 * Take up to limit runs whose leases have run out, but not because of their jobs'
 * timeouts, from their workers: they are ready again, or have ended with so many crashes.  Gives what was logged.
 */
int
mj_lease_lapse(TimestampTz now, int limit, int max_crashes,
			   MjLapsedLease **lapsed)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_param_int32(&params, limit);
	mj_param_int32(&params, max_crashes);
	n = mj_store_run(&lapse, &params);
	*lapsed =
		MemoryContextAlloc(scope.caller, Max(n, 1) * sizeof(MjLapsedLease));
	for (row = 0; row < n; row++)
		read_lapsed(&scope, row, now, &(*lapsed)[row]);
	mj_store_leave(&scope);
	return (int) n;
}

/* Take ready runs that no worker can ask for, their jobs gone, from the queue. */
int
mj_lease_take_orphans(MjRun **runs)
{
	MjScope scope;
	int n;

	mj_store_enter(&scope);
	n = mj_queue_read_runs(&scope, mj_store_run(&take_orphans, NULL), runs);
	mj_store_leave(&scope);
	return n;
}

/* The first runs that are ready for workers, up to limit of each lane. */
int
mj_lease_ready(int limit, MjReadyRun **runs)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	mj_param_int32(&params, limit);
	n = mj_store_run(&ready, &params);
	*runs = MemoryContextAlloc(scope.caller, Max(n, 1) * sizeof(MjReadyRun));
	for (row = 0; row < n; row++)
	{
		(*runs)[row].lane = mj_row_int64(row, 1);
		(*runs)[row].run_id = mj_row_int64(row, 2);
		(*runs)[row].version = (uint32) mj_row_oid(row, 3);
	}
	mj_store_leave(&scope);
	return (int) n;
}
