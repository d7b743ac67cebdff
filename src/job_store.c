/*-------------------------------------------------------------------------
 *
 * job_store.c
 *	  Job definitions and what the scheduler keeps of them (jobs.job,
 *	  jobs.job_state, jobs.instance).
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "guc.h"
#include "job_store.h"
#include "store.h"
#include "table.h"
#include "xact.h"

/*
 * What every query of whole jobs selects, in the order of job_read().  Its
 * first two parameters say who this database is: a job is its own if its
 * origin is the instance's, and the instance's row was written here.
 */
#define OVERRIDES \
	"(SELECT nullif(current_setting('motionify_jobs.schedule_override', true)," \
	" '')::jsonb)"
#define PLANNED_SCHEDULE \
	"coalesce(" OVERRIDES " ->> j.name," \
	" " OVERRIDES " ->> ('group:' || j.job_group)," \
	" j.schedule_override, j.schedule)"
#define JOB_COLUMNS \
	"SELECT j.job_id, j.name, j.description, j.job_group, j.schedule," \
	" j.timezone, j.command, j.role, j.enabled, j.overlap, j.catch_up," \
	" j.timeout, j.max_attempts, j.backoff_base, j.priority, j.version," \
	" j.paused_at IS NOT NULL, j.pause_reason, i.instance_id IS NULL," \
	" s.next_run_at, s.last_due_at, s.role_oid, j.xmin," \
	" " PLANNED_SCHEDULE \
	", j.schedule_override, j.anchor, j.jitter, j.max_runs," \
	" s.runs, i.clock_was, j.backoff, j.backoff_cap, j.backoff_jitter," \
	" j.retry_on, j.max_running, j.concurrency_key, j.isolated," \
	" EXISTS (SELECT FROM jobs.job_after a WHERE a.after_id = j.job_id)," \
	" j.handler = 'external', j.group_commit," \
	" j.throttle_limit, j.throttle_period, j.history_retention," \
	" j.history_keep, j.history_keep_last, j.handler = 'http', j.url, j.method," \
	" j.headers, j.ping_url "
#define OWN_INSTANCE \
	"i.only_row AND i.instance_id = j.origin AND i.database_oid = $1" \
	" AND i.setting = $2 "
#define JOB_TABLES \
	"FROM jobs.job j LEFT JOIN jobs.instance i ON " OWN_INSTANCE \
	"LEFT JOIN jobs.job_state s ON s.job_id = j.job_id "
#define OWN_TYPES OIDOID, TEXTOID

static MjStatement find = {
	JOB_COLUMNS JOB_TABLES "WHERE j.name = $3",
	3,
	{ OWN_TYPES, TEXTOID },
};

static MjStatement find_locked = {
	JOB_COLUMNS JOB_TABLES "WHERE j.name = $3 FOR UPDATE OF j",
	3,
	{ OWN_TYPES, TEXTOID },
};

static MjStatement id_of_name = {
	"SELECT job_id FROM jobs.job WHERE name = $1",
	1,
	{ TEXTOID },
};

static MjStatement by_id = {
	JOB_COLUMNS JOB_TABLES "WHERE j.job_id = $3",
	3,
	{ OWN_TYPES, INT8OID },
};

/* What an executor needs of jobs, and no more: it is read for every run. */
static MjStatement to_execute = {
	"SELECT j.name, j.job_group, j.command, j.role, j.catch_up, j.timeout,"
	" j.max_attempts, j.backoff_base, j.version, s.role_oid,"
	" j.backoff, j.backoff_cap, j.backoff_jitter, j.retry_on, j.isolated,"
	" EXISTS (SELECT FROM jobs.job_after a WHERE a.after_id = j.job_id),"
	" j.job_id, j.handler = 'external', j.group_commit, j.handler = 'http',"
	" j.url, j.method, j.headers, j.ping_url "
	"FROM jobs.job j LEFT JOIN jobs.job_state s ON s.job_id = j.job_id "
	"WHERE j.job_id = ANY ($1)",
	1,
	{ INT8ARRAYOID },
};

/* What it takes to put a run of a job into the queue, and no more. */
static MjTable job_table = {
	"job",
	"name, job_id, role, priority, overlap, max_running, concurrency_key,"
	" handler, throttle_limit, origin, paused_at"
};
static MjTable state_table = { "job_state", "job_id, role_oid" };
static MjTable instance_table = {
	"instance", "only_row, instance_id, database_oid, setting"
};

static MjStatement by_id_locked = {
	JOB_COLUMNS JOB_TABLES "WHERE j.job_id = $3 FOR UPDATE OF j",
	3,
	{ OWN_TYPES, INT8OID },
};

static MjStatement all_jobs = {
	JOB_COLUMNS JOB_TABLES "ORDER BY j.name",
	2,
	{ OWN_TYPES },
};

/* $1 to $36 of insert_job and update_job: see param_definition(). */
#define DEFINITION_TYPES \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, NAMEOID, BOOLOID, \
		TEXTOID, TEXTOID, INTERVALOID, INT4OID, INTERVALOID, INT4OID, \
		TIMESTAMPTZOID, TIMESTAMPTZOID, INTERVALOID, INT4OID, TEXTOID, \
		INTERVALOID, FLOAT8OID, TEXTARRAYOID, INT4OID, TEXTOID, BOOLOID, \
		TEXTOID, BOOLOID, INT4OID, INTERVALOID, INTERVALOID, TEXTOID, INT4OID, \
		TEXTOID, TEXTOID, JSONBOID, TEXTOID

static MjStatement insert_job = {
	"INSERT INTO jobs.job (name, description, job_group, schedule, timezone,"
	" command, role, enabled, overlap, catch_up, timeout, max_attempts,"
	" backoff_base, priority, anchor, jitter, max_runs, backoff, backoff_cap,"
	" backoff_jitter, retry_on, max_running, concurrency_key, isolated, handler,"
	" group_commit, throttle_limit, throttle_period, history_retention,"
	" history_keep, history_keep_last, url, method, headers, ping_url,"
	" origin, created_at, updated_at) "
	"SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29,"
	" $30, $31, $32, $33, $34, $35, $36, instance_id, $15, $15"
	" FROM jobs.instance "
	"ON CONFLICT (name) DO NOTHING RETURNING job_id",
	36,
	{ DEFINITION_TYPES },
};

static MjStatement update_job = {
	"UPDATE jobs.job SET description = $2, job_group = $3, schedule = $4,"
	" timezone = $5, command = $6, role = $7, enabled = $8, overlap = $9,"
	" catch_up = $10, timeout = $11, max_attempts = $12, backoff_base = $13,"
	" priority = $14, updated_at = $15, anchor = $16, jitter = $17,"
	" max_runs = $18, backoff = $19, backoff_cap = $20, backoff_jitter = $21,"
	" retry_on = $22, max_running = $23, concurrency_key = $24,"
	" isolated = $25, handler = $26, group_commit = $27, throttle_limit = $28,"
	" throttle_period = $29, history_retention = $30, history_keep = $31,"
	" history_keep_last = $32, url = $33, method = $34, headers = $35,"
	" ping_url = $36, version = $37 WHERE name = $1",
	37,
	{ DEFINITION_TYPES, INT4OID },
};

static MjStatement copy_priority = {
	"UPDATE jobs.job_state SET priority = $2"
	" WHERE job_id = $1 AND priority <> $2",
	2,
	{ INT8OID, INT4OID },
};

static MjStatement set_override = {
	"UPDATE jobs.job SET schedule_override = $2, updated_at = $3"
	" WHERE job_id = $1",
	3,
	{ INT8OID, TEXTOID, TIMESTAMPTZOID },
};

static MjStatement set_runs = {
	"UPDATE jobs.job_state SET runs = $2 WHERE job_id = $1",
	2,
	{ INT8OID, INT4OID },
};

static MjStatement try_lock = {
	"SELECT FROM jobs.job WHERE job_id = $1 FOR UPDATE SKIP LOCKED",
	1,
	{ INT8OID },
};

static MjStatement jobs_on_reboot = {
	JOB_COLUMNS "FROM jobs.job j JOIN jobs.instance i ON " OWN_INSTANCE
				"JOIN jobs.job_state s ON s.job_id = j.job_id "
				"WHERE " PLANNED_SCHEDULE " ~* '@reboot' ORDER BY j.job_id",
	2,
	{ OWN_TYPES },
};

static MjStatement delete_job = {
	"DELETE FROM jobs.job WHERE job_id = $1",
	1,
	{ INT8OID },
};

static MjStatement delete_state = {
	"DELETE FROM jobs.job_state WHERE job_id = $1",
	1,
	{ INT8OID },
};

static MjStatement pause_job = {
	"UPDATE jobs.job SET paused_at = $2, pause_reason = $3, updated_at = $4 "
	"WHERE job_id = $1",
	4,
	{ INT8OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID },
};

/* What was enqueued waits as long as its job is paused, but for what runs. */
static MjStatement pause_queue = {
	"UPDATE jobs.queue SET state = 'paused' WHERE job_id = $1 AND enqueued"
	" AND state IN ('waiting', 'held', 'ready')",
	1,
	{ INT8OID },
};

static MjStatement resume_queue = {
	"UPDATE jobs.queue SET state = 'waiting'"
	" WHERE job_id = $1 AND state = 'paused'",
	1,
	{ INT8OID },
};

static MjStatement stop_state = {
	"UPDATE jobs.job_state SET next_run_at = NULL WHERE job_id = $1",
	1,
	{ INT8OID },
};

static MjStatement job_names = {
	"SELECT j.name, j.role, s.role_oid "
	"FROM jobs.job j LEFT JOIN jobs.job_state s USING (job_id) ORDER BY 1",
};

static MjStatement ids_of_group = {
	"SELECT job_id FROM jobs.job "
	"WHERE $1 IS NULL OR job_group = $1 ORDER BY job_id",
	1,
	{ TEXTOID },
};

static MjStatement running = {
	"SELECT run_id FROM jobs.queue WHERE job_id = $1 AND state = 'running' "
	"ORDER BY run_id",
	1,
	{ INT8OID },
};

static MjStatement failures = {
	"SELECT job, count(*), (array_agg(coalesce(error, status)"
	" ORDER BY finished_at DESC))[1] FROM jobs.run_log "
	"WHERE finished_at > $1 AND status IN ('failed', 'timed_out', 'crashed') "
	"GROUP BY job ORDER BY max(finished_at) DESC LIMIT $2",
	2,
	{ TIMESTAMPTZOID, INT4OID },
};

static MjStatement set_state = {
	"INSERT INTO jobs.job_state AS s"
	" (job_id, next_run_at, last_due_at, role_oid, priority)"
	" SELECT $1, $2, $3, $4, priority FROM jobs.job WHERE job_id = $1 "
	"ON CONFLICT (job_id) DO UPDATE SET next_run_at = excluded.next_run_at,"
	" last_due_at = coalesce(excluded.last_due_at, s.last_due_at),"
	" role_oid = excluded.role_oid, priority = excluded.priority",
	4,
	{ INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, OIDOID },
};

/* Many at once; the caller has them locked. */
static MjStatement set_states = {
	"UPDATE jobs.job_state s SET next_run_at = nullif(v.next, '-infinity'),"
	" last_due_at = CASE WHEN v.due = '-infinity' THEN s.last_due_at"
	"  ELSE v.due END "
	"FROM ROWS FROM (unnest($1), unnest($2), unnest($3))"
	" AS v (job_id, next, due) WHERE s.job_id = v.job_id",
	3,
	{ INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID },
};

static MjStatement replan = {
	"UPDATE jobs.job_state SET next_run_at = $3 WHERE job_id IN"
	" (SELECT job_id FROM jobs.job_state WHERE job_id = $1"
	" AND next_run_at IS NOT DISTINCT FROM $2 FOR UPDATE SKIP LOCKED)",
	3,
	{ INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID },
};

/*
 * The states, and then each one's job: the planner must not begin with the jobs,
 * of which any number may be.
 */
#define STATE_TABLES \
	"FROM jobs.job_state s CROSS JOIN LATERAL" \
	" (SELECT *, xmin FROM jobs.job WHERE job_id = s.job_id OFFSET 0) j" \
	" JOIN jobs.instance i ON " OWN_INSTANCE

/*
 * The next instant of a job that catches up all, one by one, is due only when
 * the run before has ended, whose executor then wakes the scheduler.  A scalar
 * subquery, for the planner must not read the whole queue to find out.
 */
#define MAY_START \
	"AND (j.catch_up <> 'all' OR (SELECT q.run_id FROM jobs.queue q" \
	" WHERE q.job_id = j.job_id AND (q.state NOT IN ('waiting', 'paused')" \
	" OR q.attempt > 0" \
	" OR q.trigger IN ('schedule', 'catch_up')) LIMIT 1) IS NULL) "

/*
 * Skips what another transaction is changing: its commit wakes the scheduler
 * again.
 */
static MjStatement due_jobs = {
	JOB_COLUMNS STATE_TABLES
	"WHERE s.next_run_at <= $3 " MAY_START
	"ORDER BY s.next_run_at, s.priority LIMIT $4 FOR UPDATE OF s SKIP LOCKED",
	4,
	{ OWN_TYPES, TIMESTAMPTZOID, INT4OID },
};

static MjStatement jobs_after = {
	JOB_COLUMNS STATE_TABLES "WHERE s.job_id > $3 ORDER BY s.job_id LIMIT $4",
	4,
	{ OWN_TYPES, INT8OID, INT4OID },
};

static MjStatement jobs_without_state = {
	JOB_COLUMNS "FROM jobs.job j JOIN jobs.instance i ON " OWN_INSTANCE
				"LEFT JOIN jobs.job_state s ON s.job_id = j.job_id "
				"WHERE s.job_id IS NULL ORDER BY j.job_id LIMIT $3 "
				"FOR UPDATE OF j SKIP LOCKED",
	3,
	{ OWN_TYPES, INT4OID },
};

static MjStatement next_due = {
	"SELECT s.next_run_at " STATE_TABLES
	"WHERE s.next_run_at > $3 ORDER BY s.next_run_at LIMIT 1",
	3,
	{ OWN_TYPES, TIMESTAMPTZOID },
};

static MjStatement any_due = {
	"SELECT " STATE_TABLES "WHERE s.next_run_at <= $3 " MAY_START
	"ORDER BY s.next_run_at LIMIT 1",
	3,
	{ OWN_TYPES, TIMESTAMPTZOID },
};

/* Looks at a bounded number of jobs, however many are due at once. */
static MjStatement upcoming_lanes = {
	"SELECT h.lane, count(*) FROM ("
	" SELECT job_id, role_oid, next_run_at FROM jobs.job_state"
	" WHERE next_run_at <= $1 ORDER BY next_run_at LIMIT 1000) s "
	"CROSS JOIN LATERAL (SELECT CASE handler WHEN 'sql' THEN s.role_oid::bigint"
	"  WHEN 'http' THEN 1 END AS lane FROM jobs.job"
	"  WHERE job_id = s.job_id OFFSET 0) h WHERE h.lane IS NOT NULL "
	"GROUP BY h.lane ORDER BY min(s.next_run_at) LIMIT $2",
	2,
	{ TIMESTAMPTZOID, INT4OID },
};

static MjStatement count_active = {
	"SELECT count(*) FROM jobs.job j JOIN jobs.instance i ON " OWN_INSTANCE
	"WHERE j.enabled AND j.paused_at IS NULL",
	2,
	{ OWN_TYPES },
};

static MjStatement instance_is_own = {
	"SELECT FROM jobs.instance"
	" WHERE only_row AND database_oid = $1 AND setting = $2",
	2,
	{ OWN_TYPES },
};

static MjStatement instance_id = {
	"SELECT instance_id::text FROM jobs.instance WHERE only_row",
};

/* A copy gets an identity of its own, so that what it defines tells. */
static MjStatement claim_instance = {
	"UPDATE jobs.instance SET database_oid = $1, setting = $2,"
	" instance_id = gen_random_uuid(), boot = NULL, last_tick_at = NULL,"
	" clock_was = NULL "
	"WHERE (database_oid, setting) <> ($1, $2)",
	2,
	{ OWN_TYPES },
};

/* What waited when the copy was made is the original's to do. */
static MjStatement drop_copied_runs = {
	"DELETE FROM jobs.queue",
};

static MjStatement drop_copied_successes = {
	"DELETE FROM jobs.success",
};

static MjStatement forget_copied_successes = {
	"UPDATE jobs.job_state SET after_done = '{}' WHERE after_done <> '{}'",
};

static MjStatement drop_copied_batches = {
	"DELETE FROM jobs.batch WHERE ended_at IS NULL",
};

static MjStatement cancel_copied_mails = {
	"UPDATE jobs.mail SET ended_as = 'cancelled', ended_at = $1"
	" WHERE ended_as IS NULL",
	1,
	{ TIMESTAMPTZOID },
};

static MjStatement drop_copied_calls = {
	"DELETE FROM jobs.call WHERE ended_as IS NULL",
};

static MjStatement drop_copied_alerts = {
	"DELETE FROM jobs.alert_record WHERE resolved_at IS NULL",
};

static MjStatement drop_copied_messages = {
	"DELETE FROM jobs.alert_message WHERE state IN ('new', 'queued')",
};

static MjStatement drop_copied_backlogs = {
	"DELETE FROM jobs.mail_backlog",
};

static MjStatement drop_copied_downtimes = {
	"DELETE FROM jobs.downtime",
};

static MjStatement claim_jobs = {
	"UPDATE jobs.job j SET origin = i.instance_id FROM jobs.instance i "
	"WHERE j.origin <> i.instance_id RETURNING j.job_id",
};

static MjStatement recall = {
	"SELECT boot, times_setting, last_tick_at, clock_was FROM jobs.instance"
	" WHERE only_row",
};

static MjStatement remember = {
	"UPDATE jobs.instance SET boot = $1, times_setting = $2,"
	" last_tick_at = $3, clock_was = $4 WHERE only_row",
	4,
	{ TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID },
};

/* The first two parameters of a statement that asks whose a job is. */
static void
param_own(MjParams *params)
{
	mj_param_oid(params, MyDatabaseId);
	mj_param_text(params, mj_instance);
}

static void
param_interval(MjParams *params, const Interval *value)
{
	mj_param_datum(params, PointerGetDatum(value), value == NULL);
}

static Interval *
row_interval(MjScope *scope, uint64 row, int column)
{
	bool isnull;
	Datum value = mj_row_datum(scope, row, column, &isnull);

	return isnull ? NULL : DatumGetIntervalP(value);
}

static ArrayType *
row_array(MjScope *scope, uint64 row, int column)
{
	bool isnull;
	Datum value = mj_row_datum(scope, row, column, &isnull);

	return isnull ? NULL : DatumGetArrayTypeP(value);
}

static Jsonb *
row_jsonb(MjScope *scope, uint64 row, int column)
{
	bool isnull;
	Datum value = mj_row_datum(scope, row, column, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

/* What there is of calls, in columns from one on. */
static void
read_http(MjScope *scope, uint64 row, int column, MjJob *job)
{
	job->http = mj_row_bool(row, column);
	job->url = mj_row_text(scope, row, column + 1);
	job->method = mj_row_text(scope, row, column + 2);
	job->headers = row_jsonb(scope, row, column + 3);
	job->ping_url = mj_row_text(scope, row, column + 4);
}

/* Fill a job from a row of JOB_COLUMNS. */
static void
job_read(MjScope *scope, uint64 row, MjJob *job)
{
	job->job_id = mj_row_int64(row, 1);
	job->name = mj_row_text(scope, row, 2);
	job->description = mj_row_text(scope, row, 3);
	job->job_group = mj_row_text(scope, row, 4);
	job->schedule = mj_row_text(scope, row, 5);
	job->timezone = mj_row_text(scope, row, 6);
	job->command = mj_row_text(scope, row, 7);
	job->role = mj_row_text(scope, row, 8);
	job->enabled = mj_row_bool(row, 9);
	job->overlap = mj_row_text(scope, row, 10);
	job->catch_up = mj_row_text(scope, row, 11);
	job->timeout = row_interval(scope, row, 12);
	job->max_attempts = mj_row_int32(row, 13);
	job->backoff_base = row_interval(scope, row, 14);
	job->priority = mj_row_int32(row, 15);
	job->version = mj_row_int32(row, 16);
	job->paused = mj_row_bool(row, 17);
	job->pause_reason = mj_row_text(scope, row, 18);
	job->foreign_origin = mj_row_bool(row, 19);
	job->next_run_at = mj_row_time(row, 20);
	job->last_due_at = mj_row_time(row, 21);
	job->role_oid = mj_row_oid(row, 22);
	if (!OidIsValid(job->role_oid)) /* restored ahead of its role */
		job->role_oid = get_role_oid(job->role, true);
	job->changed_here = TransactionIdIsCurrentTransactionId(
		(TransactionId) mj_row_oid(row, 23));
	job->planned = mj_row_text(scope, row, 24);
	job->schedule_override = mj_row_text(scope, row, 25);
	job->anchor = mj_row_time(row, 26);
	job->jitter = row_interval(scope, row, 27);
	job->max_runs = mj_row_int32(row, 28);
	job->runs = mj_row_int32(row, 29);
	job->clock_was = mj_row_time(row, 30);
	job->backoff = mj_row_text(scope, row, 31);
	job->backoff_cap = row_interval(scope, row, 32);
	job->backoff_jitter = mj_row_double(row, 33);
	job->retry_on = row_array(scope, row, 34);
	job->max_running = mj_row_int32(row, 35);
	job->concurrency_key = mj_row_text(scope, row, 36);
	job->isolated = mj_row_bool(row, 37);
	job->has_successors = mj_row_bool(row, 38);
	job->external = mj_row_bool(row, 39);
	job->group_commit = mj_row_bool(row, 40);
	job->throttle_limit = mj_row_int32(row, 41);
	job->throttle_period = row_interval(scope, row, 42);
	job->history_retention = row_interval(scope, row, 43);
	job->history_keep = mj_row_text(scope, row, 44);
	job->history_keep_last = mj_row_int32(row, 45);
	read_http(scope, row, 46, job);
}

/*
 * Are the runs of a job held until the scheduler admits them: must some wait
 * for others of the job, or of its key, or for its throttle?
 */
bool
mj_job_is_gated(const MjJob *job)
{
	if (job->concurrency_key != NULL || job->throttle_limit > 0)
		return true;
	if (strcmp(job->overlap, "allow") == 0)
		return job->max_running > 0;
	return strcmp(job->overlap, "skip") != 0;
}

/*
 * The lane of a job's runs: its role's; or that of HTTP; or, of an external job,
 * one of its own that no executor serves.
 */
int64
mj_job_lane(const MjJob *job)
{
	if (job->http)
		return MJ_LANE_HTTP;
	return job->external ? -job->job_id : (int64) job->role_oid;
}

/* Run a query of one job; false if there is none.  Leaves the scope. */
static bool
job_fetch(MjScope *scope, MjStatement *statement, MjParams *params, MjJob *job)
{
	bool found = mj_store_run(statement, params) > 0;

	if (found)
		job_read(scope, 0, job);
	mj_store_leave(scope);
	return found;
}

/* Run a query of many jobs; returns how many.  Leaves the scope. */
static int
jobs_fetch(MjScope *scope, MjStatement *statement, MjParams *params,
		   MjJob **jobs)
{
	uint64 n = mj_store_run(statement, params);
	uint64 row;

	*jobs = MemoryContextAllocHuge(scope->caller, (n + 1) * sizeof(MjJob));
	for (row = 0; row < n; row++)
		job_read(scope, row, &(*jobs)[row]);
	mj_store_leave(scope);
	return (int) n;
}

/* Copy column 1 of the last result, bigints, into the caller's context. */
static int
ids_read(MjScope *scope, uint64 n, int64 **ids)
{
	uint64 row;

	*ids = MemoryContextAllocHuge(scope->caller, (n + 1) * sizeof(int64));
	for (row = 0; row < n; row++)
		(*ids)[row] = mj_row_int64(row, 1);
	return (int) n;
}

static bool
find_by_name(MjStatement *statement, const char *name, MjJob *job)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_text(&params, name);
	return job_fetch(&scope, statement, &params, job);
}

static bool
find_by_id(MjStatement *statement, int64 job_id, MjJob *job)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_int64(&params, job_id);
	return job_fetch(&scope, statement, &params, job);
}

/* The job of that name; false if there is none. */
bool
mj_job_find(const char *name, MjJob *job)
{
	return find_by_name(&find, name, job);
}

/* Is there a job of that name? */
static bool
exists(const char *name)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_text(&params, name);
	found = mj_store_run(&id_of_name, &params) > 0;
	mj_store_leave(&scope);
	return found;
}

/*
 * The job of that name, its definition locked until the transaction ends;
 * false if there is none, which is found out cheaply: many may be made in one
 * statement.  The state may be older than the definition.
 */
bool
mj_job_find_locked(const char *name, MjJob *job)
{
	return exists(name) && find_by_name(&find_locked, name, job);
}

/* As mj_job_find, by id. */
bool
mj_job_by_id(int64 job_id, MjJob *job)
{
	return find_by_id(&by_id, job_id, job);
}

/* Read a row of to_execute; role_oid is that of the name where none is kept. */
static void
read_to_execute(MjScope *scope, uint64 row, MjJob *job)
{
	memset(job, 0, sizeof(MjJob));
	job->name = mj_row_text(scope, row, 1);
	job->job_group = mj_row_text(scope, row, 2);
	job->command = mj_row_text(scope, row, 3);
	job->role = mj_row_text(scope, row, 4);
	job->catch_up = mj_row_text(scope, row, 5);
	job->timeout = row_interval(scope, row, 6);
	job->max_attempts = mj_row_int32(row, 7);
	job->backoff_base = row_interval(scope, row, 8);
	job->version = mj_row_int32(row, 9);
	job->role_oid = mj_row_oid(row, 10);
	job->backoff = mj_row_text(scope, row, 11);
	job->backoff_cap = row_interval(scope, row, 12);
	job->backoff_jitter = mj_row_double(row, 13);
	job->retry_on = row_array(scope, row, 14);
	job->isolated = mj_row_bool(row, 15);
	job->has_successors = mj_row_bool(row, 16);
	job->job_id = mj_row_int64(row, 17);
	job->external = mj_row_bool(row, 18);
	job->group_commit = mj_row_bool(row, 19);
	read_http(scope, row, 20, job);
	if (!OidIsValid(job->role_oid)) /* restored ahead of its role */
		job->role_oid = get_role_oid(job->role, true);
}

/*
 * The jobs of n runs, for an executor: only what to_execute names is filled.
 * found[i] says whether that of runs[i] is there.
 */
void
mj_job_to_execute(const MjRun *runs, int n, MjJob *jobs, bool *found)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *ids = palloc(n * sizeof(Datum));
	uint64 nrows;
	uint64 row;
	int i;

	for (i = 0; i < n; i++)
	{
		ids[i] = Int64GetDatum(runs[i].job_id);
		found[i] = false;
	}
	mj_store_enter(&scope);
	mj_param_array(&params, ids, n, INT8OID);
	nrows = mj_store_run(&to_execute, &params);
	for (row = 0; row < nrows; row++)
	{
		MjJob job;

		read_to_execute(&scope, row, &job);
		for (i = 0; i < n; i++)
			if (runs[i].job_id == job.job_id)
			{
				jobs[i] = job;
				found[i] = true;
			}
	}
	mj_store_leave(&scope);
}

/* Is an origin that of the jobs of this database?  See OWN_INSTANCE. */
static bool
is_own_origin(Datum origin)
{
	MjParams row;

	return mj_table_find(&instance_table, "instance_pkey", BoolGetDatum(true),
						 F_BOOLEQ, &row) &&
		memcmp(DatumGetUUIDP(row.values[1]), DatumGetUUIDP(origin), UUID_LEN) ==
		0 &&
		DatumGetObjectId(row.values[2]) == MyDatabaseId &&
		strcmp(TextDatumGetCString(row.values[3]), mj_instance) == 0;
}

/* A text of a row; NULL for NULL. */
static char *
text_of(const MjParams *row, int column)
{
	return row->nulls[column] == 'n' ? NULL :
									   TextDatumGetCString(row->values[column]);
}

/*
 * As mj_job_find, for a caller's run, without a statement: only what job_table
 * and state_table name is filled.
 */
bool
mj_job_to_enqueue(const char *name, MjJob *job)
{
	MjParams row;
	MjParams state;

	memset(job, 0, sizeof(MjJob));
	if (!mj_table_find(&job_table, "job_name_key", CStringGetTextDatum(name),
					   F_TEXTEQ, &row))
		return false;
	job->name = name;
	job->job_id = DatumGetInt64(row.values[1]);
	job->role = NameStr(*DatumGetName(row.values[2]));
	job->priority = DatumGetInt32(row.values[3]);
	job->overlap = text_of(&row, 4);
	job->max_running = row.nulls[5] == 'n' ? 0 : DatumGetInt32(row.values[5]);
	job->concurrency_key = text_of(&row, 6);
	job->external = strcmp(text_of(&row, 7), "external") == 0;
	job->http = strcmp(text_of(&row, 7), "http") == 0;
	job->throttle_limit =
		row.nulls[8] == 'n' ? 0 : DatumGetInt32(row.values[8]);
	job->foreign_origin = !is_own_origin(row.values[9]);
	job->paused = row.nulls[10] != 'n';
	if (mj_table_find(&state_table, "job_state_pkey",
					  Int64GetDatum(job->job_id), F_INT8EQ, &state))
		job->role_oid = DatumGetObjectId(state.values[1]);
	else /* restored ahead of its role */
		job->role_oid = get_role_oid(job->role, true);
	return true;
}

/* As mj_job_find_locked, by id. */
bool
mj_job_by_id_locked(int64 job_id, MjJob *job)
{
	return find_by_id(&by_id_locked, job_id, job);
}

/* All jobs, by name; returns how many. */
int
mj_job_all(MjJob **jobs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	return jobs_fetch(&scope, &all_jobs, &params, jobs);
}

/* An integer of which 0 stands for NULL. */
static void
param_limit(MjParams *params, int32 value)
{
	mj_param_datum(params, Int32GetDatum(value), value == 0);
}

/* $1 to $36 of insert_job and update_job. */
static void
param_definition(MjParams *params, const MjJob *job, TimestampTz now)
{
	mj_param_text(params, job->name);
	mj_param_text(params, job->description);
	mj_param_text(params, job->job_group);
	mj_param_text(params, job->schedule);
	mj_param_text(params, job->timezone);
	mj_param_text(params, job->command);
	mj_param_name(params, job->role);
	mj_param_bool(params, job->enabled);
	mj_param_text(params, job->overlap);
	mj_param_text(params, job->catch_up);
	param_interval(params, job->timeout);
	mj_param_int32(params, job->max_attempts);
	param_interval(params, job->backoff_base);
	mj_param_int32(params, job->priority);
	mj_param_time(params, now);
	mj_param_time(params, job->anchor);
	param_interval(params, job->jitter);
	param_limit(params, job->max_runs);
	mj_param_text(params, job->backoff);
	param_interval(params, job->backoff_cap);
	mj_param_datum(params, Float8GetDatum(job->backoff_jitter), false);
	mj_param_datum(params, PointerGetDatum(job->retry_on),
				   job->retry_on == NULL);
	param_limit(params, job->max_running);
	mj_param_text(params, job->concurrency_key);
	mj_param_bool(params, job->isolated);
	mj_param_text(params,
				  job->external ? "external" :
					  job->http ? "http" :
								  "sql");
	mj_param_bool(params, job->group_commit);
	param_limit(params, job->throttle_limit);
	param_interval(params, job->throttle_period);
	param_interval(params, job->history_retention);
	mj_param_text(params, job->history_keep);
	param_limit(params, job->history_keep_last);
	mj_param_text(params, job->url);
	mj_param_text(params, job->method);
	mj_param_datum(params, PointerGetDatum(job->headers), job->headers == NULL);
	mj_param_text(params, job->ping_url);
}

/*
 * A new definition, of this database's origin.  Returns its job_id; 0 if
 * somebody else has just made a job of that name.
 */
int64
mj_job_insert(const MjJob *job, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 job_id = 0;

	mj_store_enter(&scope);
	param_definition(&params, job, now);
	if (mj_store_run(&insert_job, &params) > 0)
		job_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return job_id;
}

/*
 * Write the definition of a job that the caller has locked, by its name: all
 * but its pause and its origin.
 */
void
mj_job_update(const MjJob *job, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams state = { 0 };

	mj_store_enter(&scope);
	param_definition(&params, job, now);
	mj_param_int32(&params, job->version);
	mj_store_run(&update_job, &params);
	mj_param_int64(&state, job->job_id);
	mj_param_int32(&state, job->priority);
	mj_store_run(&copy_priority, &state);
	mj_store_leave(&scope);
}

static void
run_with_job_id(MjStatement *statement, int64 job_id)
{
	MjParams params = { 0 };

	mj_param_int64(&params, job_id);
	mj_store_run(statement, &params);
}

/* Delete a job, which the caller has locked, and its state. */
void
mj_job_delete(int64 job_id)
{
	MjScope scope;

	mj_store_enter(&scope);
	run_with_job_id(&delete_job, job_id);
	run_with_job_id(&delete_state, job_id);
	mj_store_leave(&scope);
}

/*
 * Pause a job, which has no next instant from then on, or end its pause;
 * then the caller sets its next instant.  reason may be NULL.
 */
void
mj_job_set_paused(int64 job_id, bool paused, const char *reason,
				  TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_time(&params, paused ? now : 0);
	mj_param_text(&params, paused ? reason : NULL);
	mj_param_time(&params, now);
	mj_store_run(&pause_job, &params);
	if (paused)
		run_with_job_id(&stop_state, job_id);
	run_with_job_id(paused ? &pause_queue : &resume_queue, job_id);
	mj_store_leave(&scope);
}

/* The names of all jobs; returns how many. */
int
mj_job_names(MjJobName **names)
{
	MjScope scope;
	uint64 n;
	uint64 row;

	mj_store_enter(&scope);
	n = mj_store_run(&job_names, NULL);
	*names = MemoryContextAllocHuge(scope.caller, (n + 1) * sizeof(MjJobName));
	for (row = 0; row < n; row++)
	{
		(*names)[row].name = mj_row_text(&scope, row, 1);
		(*names)[row].role = mj_row_text(&scope, row, 2);
		(*names)[row].role_oid = mj_row_oid(row, 3);
	}
	mj_store_leave(&scope);
	return (int) n;
}

/*
 * The jobs of a group, or all for NULL, in the order in which they are to be
 * locked; returns how many.
 */
int
mj_job_ids_of_group(const char *job_group, int64 **job_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	mj_param_text(&params, job_group);
	n = ids_read(&scope, mj_store_run(&ids_of_group, &params), job_ids);
	mj_store_leave(&scope);
	return n;
}

/* The runs of a job that are running; returns how many. */
int
mj_job_running(int64 job_id, int64 **run_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	n = ids_read(&scope, mj_store_run(&running, &params), run_ids);
	mj_store_leave(&scope);
	return n;
}

/* What has failed since an instant, the latest first; returns how many jobs. */
int
mj_job_failures(TimestampTz since, int limit, MjJobFailures **found)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;
	int row;

	mj_store_enter(&scope);
	mj_param_time(&params, since);
	mj_param_int32(&params, limit);
	n = (int) mj_store_run(&failures, &params);
	*found = MemoryContextAlloc(scope.caller, (n + 1) * sizeof(MjJobFailures));
	for (row = 0; row < n; row++)
	{
		(*found)[row].name = mj_row_text(&scope, row, 1);
		(*found)[row].attempts = mj_row_int64(row, 2);
		(*found)[row].last_error = mj_row_text(&scope, row, 3);
	}
	mj_store_leave(&scope);
	return n;
}

/*
 * Write a job's state, made if it has none.  next_run_at 0 is none;
 * last_due_at 0 leaves it as it is.
 */
void
mj_job_set_state(int64 job_id, TimestampTz next_run_at, TimestampTz last_due_at,
				 Oid role_oid)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_time(&params, next_run_at);
	mj_param_time(&params, last_due_at);
	mj_param_oid(&params, role_oid);
	mj_store_run(&set_state, &params);
	mj_store_leave(&scope);
}

/*
 * Write the states of jobs whose states the caller has locked: next instants
 * and last due instants.
 */
void
mj_job_set_states(const MjJobState *states, int n)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *ids = palloc(Max(n, 1) * sizeof(Datum));
	Datum *next = palloc(Max(n, 1) * sizeof(Datum));
	Datum *due = palloc(Max(n, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < n; i++)
	{
		ids[i] = Int64GetDatum(states[i].job_id);
		next[i] = TimestampTzGetDatum(
			states[i].next_run_at ? states[i].next_run_at : DT_NOBEGIN);
		due[i] = TimestampTzGetDatum(
			states[i].last_due_at ? states[i].last_due_at : DT_NOBEGIN);
	}
	mj_store_enter(&scope);
	mj_param_array(&params, ids, n, INT8OID);
	mj_param_array(&params, next, n, TIMESTAMPTZOID);
	mj_param_array(&params, due, n, TIMESTAMPTZOID);
	mj_store_run(&set_states, &params);
	mj_store_leave(&scope);
}

/*
 * Give a job, as it was read, another next instant (0: none).  Returns false if
 * somebody has locked or changed its state.
 */
bool
mj_job_replan(const MjJob *job, TimestampTz next_run_at)
{
	MjScope scope;
	MjParams params = { 0 };
	bool done;

	mj_store_enter(&scope);
	mj_param_int64(&params, job->job_id);
	mj_param_time(&params, job->next_run_at);
	mj_param_time(&params, next_run_at);
	done = mj_store_run(&replan, &params) > 0;
	mj_store_leave(&scope);
	return done;
}

/*
 * This database's own jobs that are due and may start, earliest first, their
 * states locked; returns how many.
 */
int
mj_job_due(TimestampTz now, int limit, MjJob **jobs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_time(&params, now);
	mj_param_int32(&params, limit);
	return jobs_fetch(&scope, &due_jobs, &params, jobs);
}

/*
 * This database's own jobs that have no state (it is not dumped), their
 * definitions locked; returns how many.
 */
int
mj_job_without_state(int limit, MjJob **jobs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_int32(&params, limit);
	return jobs_fetch(&scope, &jobs_without_state, &params, jobs);
}

/*
 * The earliest next instant later than "after" of this database's own jobs;
 * DT_NOEND if there is none.
 */
TimestampTz
mj_job_next_due(TimestampTz after)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz due = DT_NOEND;

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_time(&params, after);
	if (mj_store_run(&next_due, &params) > 0)
		due = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return due;
}

/* Is one of this database's own jobs due, and may start? */
bool
mj_job_any_due(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	bool any;

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_time(&params, now);
	any = mj_store_run(&any_due, &params) > 0;
	mj_store_leave(&scope);
	return any;
}

/*
 * The lanes of jobs due up to an instant, and how many jobs of each, earliest
 * first, into lanes[limit]; returns how many lanes.
 */
int
mj_job_upcoming_lanes(TimestampTz before, int limit, MjLaneDemand *lanes)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;
	int row;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_int32(&params, limit);
	n = (int) mj_store_run(&upcoming_lanes, &params);
	for (row = 0; row < n; row++)
	{
		lanes[row].lane = mj_row_int64(row, 1);
		lanes[row].ready = mj_row_int64(row, 2);
	}
	mj_store_leave(&scope);
	return n;
}

/* How many of this database's own jobs are neither disabled nor paused. */
int64
mj_job_count_active(void)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	param_own(&params);
	mj_store_run(&count_active, &params);
	n = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return n;
}

/*
 * Was the identity that jobs of this database have written here?  Not in a
 * copy of a database, and not after motionify_jobs.instance was changed.
 */
bool
mj_instance_is_own(void)
{
	MjScope scope;
	MjParams params = { 0 };
	bool own;

	mj_store_enter(&scope);
	param_own(&params);
	own = mj_store_run(&instance_is_own, &params) > 0;
	mj_store_leave(&scope);
	return own;
}

/* The identity of this database, as text; palloc'ed. */
char *
mj_instance_id(void)
{
	MjScope scope;
	char *id = NULL;

	mj_store_enter(&scope);
	if (mj_store_run(&instance_id, NULL) > 0)
		id = mj_row_text(&scope, 0, 1);
	mj_store_leave(&scope);
	return id != NULL ? id : pstrdup("");
}

/* Drop what a copy of a database holds of the original's live state. */
static void
drop_copied_state(TimestampTz now)
{
	MjParams params = { 0 };

	mj_store_run(&drop_copied_runs, NULL);
	mj_store_run(&drop_copied_successes, NULL);
	mj_store_run(&forget_copied_successes, NULL);
	mj_store_run(&drop_copied_batches, NULL);
	mj_store_run(&drop_copied_calls, NULL);
	mj_store_run(&drop_copied_alerts, NULL);
	mj_store_run(&drop_copied_messages, NULL);
	mj_store_run(&drop_copied_backlogs, NULL);
	mj_store_run(&drop_copied_downtimes, NULL);
	mj_param_time(&params, now);
	mj_store_run(&cancel_copied_mails, &params);
}

/*
 * Make all jobs this database's own.  In a copy of a database the runs and
 * mails that were waiting when it was copied are dropped: the original does
 * them.  Gives the ids of those jobs that were not its own, whose next instants
 * the caller sets; returns how many.
 */
int
mj_instance_adopt(TimestampTz now, int64 **job_ids)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	mj_store_enter(&scope);
	param_own(&params);
	if (mj_store_run(&claim_instance, &params) > 0)
		drop_copied_state(now);
	n = ids_read(&scope, mj_store_run(&claim_jobs, NULL), job_ids);
	mj_store_leave(&scope);
	return n;
}

/* Set how many runs a job's schedule has made. */
void
mj_job_set_runs(int64 job_id, int32 runs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_int32(&params, runs);
	mj_store_run(&set_runs, &params);
	mj_store_leave(&scope);
}

/* Give a job, which the caller has locked, another schedule; NULL: its own. */
void
mj_job_set_override(int64 job_id, const char *schedule, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	mj_param_text(&params, schedule);
	mj_param_time(&params, now);
	mj_store_run(&set_override, &params);
	mj_store_leave(&scope);
}

/*
 * This database's own jobs with an id greater than one, by id, at most limit;
 * returns how many.
 */
int
mj_job_after(int64 job_id, int limit, MjJob **jobs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	mj_param_int64(&params, job_id);
	mj_param_int32(&params, limit);
	return jobs_fetch(&scope, &jobs_after, &params, jobs);
}

/* Lock a job's definition if nobody else has; false if not, or it is gone. */
bool
mj_job_try_lock(int64 job_id)
{
	MjScope scope;
	MjParams params = { 0 };
	bool locked;

	mj_store_enter(&scope);
	mj_param_int64(&params, job_id);
	locked = mj_store_run(&try_lock, &params) > 0;
	mj_store_leave(&scope);
	return locked;
}

/* This database's own jobs that start with the server; returns how many. */
int
mj_job_on_reboot(MjJob **jobs)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_own(&params);
	return jobs_fetch(&scope, &jobs_on_reboot, &params, jobs);
}

/* What the scheduler remembers of this database. */
void
mj_instance_recall(MjMemory *memory)
{
	MjScope scope;

	memset(memory, 0, sizeof(MjMemory));
	mj_store_enter(&scope);
	if (mj_store_run(&recall, NULL) > 0)
	{
		memory->boot = mj_row_text(&scope, 0, 1);
		memory->times_setting = mj_row_text(&scope, 0, 2);
		memory->last_tick_at = mj_row_time(0, 3);
		memory->clock_was = mj_row_time(0, 4);
	}
	mj_store_leave(&scope);
}

/* Remember something else. */
void
mj_instance_remember(const MjMemory *memory)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_text(&params, memory->boot);
	mj_param_text(&params, memory->times_setting);
	mj_param_time(&params, memory->last_tick_at);
	mj_param_time(&params, memory->clock_was);
	mj_store_run(&remember, &params);
	mj_store_leave(&scope);
}

/* Plan what is done for every run; for an executor that has nothing to do yet. */
void
mj_job_warm(void)
{
	mj_store_warm(&to_execute);
}
