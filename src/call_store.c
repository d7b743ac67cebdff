/*-------------------------------------------------------------------------
 *
 * call_store.c
 *	  Calls of the extension itself (jobs.call): what is to be sent, and how
 *	  they ended.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "call_store.h"
#include "clock.h"
#include "store.h"

static MjStatement insert_call = {
	"INSERT INTO jobs.call (run_id, purpose, job_id, url, method, headers,"
	" body, role, role_oid, by_setting, max_attempts, retry_delay, created_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
	13,
	{ INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, NAMEOID,
	  OIDOID, BOOLOID, INT4OID, INT4OID, TIMESTAMPTZOID },
};

static MjStatement load_calls = {
	"SELECT c.run_id, c.purpose, c.job_id, c.url, c.method, c.headers, c.body,"
	" c.role, c.role_oid, c.by_setting, c.max_attempts, c.retry_delay,"
	" c.created_at FROM unnest($1) WITH ORDINALITY AS r (run_id, n)"
	" LEFT JOIN LATERAL (SELECT * FROM jobs.call WHERE run_id = r.run_id LIMIT 1) c"
	" ON true ORDER BY r.n",
	1,
	{ INT8ARRAYOID },
};

/* Many at once; an empty ended_as is none. */
static MjStatement write_ends = {
	"UPDATE jobs.call c SET ended_as = nullif(e.ended_as, ''),"
	" ended_at = CASE WHEN e.ended_as <> '' THEN e.at END,"
	" attempts = c.attempts + 1, status = nullif(e.status, 0),"
	" answer = e.answer"
	" FROM unnest($1, $2, $3, $4, $5)"
	" AS e (run_id, ended_as, at, status, answer)"
	" WHERE c.run_id = ANY ($1) AND c.run_id = e.run_id"
	" AND c.ended_as IS NULL",
	5,
	{ INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID,
	  TEXTARRAYOID },
};

static MjStatement end_call = {
	"UPDATE jobs.call SET ended_as = $2, ended_at = $3, answer = $4"
	" WHERE run_id = $1 AND ended_as IS NULL",
	4,
	{ INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID },
};

/*
 * Held pings that were never sent, each of which a later one of the same job and URL
 * makes worthless.
 */
static MjStatement drop_outdated = {
	"WITH old AS MATERIALIZED ("
	"  SELECT run_id FROM (SELECT q.run_id, pg_catalog.row_number()"
	"   OVER (PARTITION BY c.job_id, c.url ORDER BY q.run_id DESC) AS place"
	"   FROM jobs.queue q JOIN jobs.call c ON c.run_id = q.run_id"
	"   WHERE q.state = 'held' AND q.job_id = -1 AND q.attempt = 0"
	"   AND c.purpose = '" MJ_CALL_JOB_PING "') p WHERE place > 1),"
	" gone AS (DELETE FROM jobs.queue WHERE run_id = ANY (ARRAY("
	"   SELECT run_id FROM jobs.queue"
	"   WHERE run_id = ANY (ARRAY(SELECT run_id FROM old))"
	"   AND state || '' = 'held' FOR UPDATE SKIP LOCKED)) RETURNING run_id)"
	" DELETE FROM jobs.call"
	" WHERE run_id = ANY (ARRAY(SELECT run_id FROM gone))",
	0
};

static MjStatement last_ping = {
	"SELECT run_id, created_at, ended_as, ended_at, status, answer"
	" FROM jobs.call"
	" WHERE purpose = '" MJ_CALL_PING "' ORDER BY run_id DESC LIMIT 1",
	0
};

static MjStatement prune = {
	"DELETE FROM jobs.call WHERE run_id IN (SELECT run_id FROM jobs.call"
	" WHERE ended_at < greatest($1, $2) AND ended_at <"
	"  CASE ended_as WHEN 'succeeded' THEN $2 ELSE $1 END"
	" ORDER BY ended_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
	3,
	{ TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID },
};

/* Insert a call that is complete; the caller inserts the run. */
void
mj_call_insert(const MjCall *call)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, call->run_id);
	mj_param_text(&params, call->purpose);
	mj_param_datum(&params, Int64GetDatum(call->job_id), call->job_id == 0);
	mj_param_text(&params, call->url);
	mj_param_text(&params, call->method);
	mj_param_datum(&params, PointerGetDatum(call->headers),
				   call->headers == NULL);
	mj_param_text(&params, call->body);
	mj_param_name(&params, call->role);
	mj_param_oid(&params, call->role_oid);
	mj_param_bool(&params, call->by_setting);
	mj_param_int32(&params, call->max_attempts);
	mj_param_int32(&params, call->retry_delay_s);
	mj_param_time(&params, call->created_at);
	mj_store_run(&insert_call, &params);
	mj_store_leave(&scope);
}

/* One row of load_calls. */
static void
read_call(MjScope *scope, uint64 row, MjCall *call)
{
	bool isnull;
	Datum headers;

	memset(call, 0, sizeof(MjCall));
	call->run_id = mj_row_int64(row, 1);
	call->purpose = mj_row_text(scope, row, 2);
	call->job_id = mj_row_int64(row, 3);
	call->url = mj_row_text(scope, row, 4);
	call->method = mj_row_text(scope, row, 5);
	headers = mj_row_datum(scope, row, 6, &isnull);
	call->headers = isnull ? NULL : DatumGetJsonbP(headers);
	call->body = mj_row_text(scope, row, 7);
	call->role = mj_row_isnull(row, 8) ? "" : mj_row_text(scope, row, 8);
	call->role_oid = mj_row_oid(row, 9);
	call->by_setting = mj_row_bool(row, 10);
	call->max_attempts = mj_row_int32(row, 11);
	call->retry_delay_s = mj_row_int32(row, 12);
	call->created_at = mj_row_time(row, 13);
}

/*
 * Read the calls of some runs, in their order, into calls[n].  One that is gone
 * has run_id 0 and role "".
 */
void
mj_call_load(const int64 *run_ids, int n, MjCall *calls)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *ids = palloc(Max(n, 1) * sizeof(Datum));
	uint64 rows;
	uint64 row;
	int i;

	for (i = 0; i < n; i++)
		ids[i] = Int64GetDatum(run_ids[i]);
	mj_store_enter(&scope);
	mj_param_array(&params, ids, n, INT8OID);
	rows = mj_store_run(&load_calls, &params);
	Assert(rows == n);
	for (row = 0; row < rows; row++)
		read_call(&scope, row, &calls[row]);
	mj_store_leave(&scope);
}

/*
 * Write what attempts to make calls came to, many at once.  The caller sees to
 * their runs.  What has ended stays as it is.
 */
void
mj_call_write_ends(const MjCallEnd *ends, int n)
{
	static const Oid types[] = { INT8OID, TEXTOID, TIMESTAMPTZOID, INT4OID,
								 TEXTOID };
	Datum *columns[lengthof(types)];
	MjParams params = { 0 };
	MjScope scope;
	int i;

	if (n == 0)
		return;
	for (i = 0; i < lengthof(types); i++)
		columns[i] = palloc(n * sizeof(Datum));
	for (i = 0; i < n; i++)
	{
		columns[0][i] = Int64GetDatum(ends[i].run_id);
		columns[1][i] =
			CStringGetTextDatum(ends[i].ended_as ? ends[i].ended_as : "");
		columns[2][i] = TimestampTzGetDatum(ends[i].at);
		columns[3][i] = Int32GetDatum(ends[i].status);
		columns[4][i] =
			CStringGetTextDatum(ends[i].answer ? ends[i].answer : "");
	}
	mj_store_enter(&scope);
	for (i = 0; i < lengthof(types); i++)
		mj_param_array(&params, columns[i], n, types[i]);
	mj_store_run(&write_ends, &params);
	mj_store_leave(&scope);
}

/*
 * End the call of a run that somebody else took out of the queue.  Does nothing
 * if it has ended.
 */
void
mj_call_end(int64 run_id, const char *ended_as, const char *why)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	mj_param_text(&params, ended_as);
	mj_param_time(&params, mj_clock_now());
	mj_param_text(&params, why);
	mj_store_run(&end_call, &params);
	mj_store_leave(&scope);
}

/*
 * Drop pings of jobs that wait, and that later ones of the same kind have made
 * worthless; returns how many.  For the scheduler.
 */
int64
mj_call_drop_outdated(void)
{
	MjScope scope;
	int64 n;

	mj_store_enter(&scope);
	n = (int64) mj_store_run(&drop_outdated, NULL);
	mj_store_leave(&scope);
	return n;
}

/*
 * The last ping of this database, which goes on if ended_as is NULL, and when it
 * was queued; false if there is none.
 */
bool
mj_call_last_ping(MjCallEnd *ping, TimestampTz *queued_at)
{
	MjScope scope;
	bool found;

	mj_store_enter(&scope);
	found = mj_store_run(&last_ping, NULL) > 0;
	if (found)
	{
		ping->run_id = mj_row_int64(0, 1);
		*queued_at = mj_row_time(0, 2);
		ping->ended_as = mj_row_text(&scope, 0, 3);
		ping->at = mj_row_time(0, 4);
		ping->status = mj_row_int32(0, 5);
		ping->answer = mj_row_text(&scope, 0, 6);
	}
	mj_store_leave(&scope);
	return found;
}

/*
 * Delete calls that ended before an instant, or, those that have succeeded,
 * before another; returns how many, at most limit.
 */
int64
mj_call_prune(TimestampTz before, TimestampTz successes_before, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_time(&params, successes_before);
	mj_param_int32(&params, limit);
	n = (int64) mj_store_run(&prune, &params);
	mj_store_leave(&scope);
	return n;
}
