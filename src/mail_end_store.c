/*-------------------------------------------------------------------------
 *
 * mail_end_store.c
 *	  The ends of mails: what they do to jobs.mail, jobs.queue and jobs.run_log.
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
#include "mail_end_store.h"
#include "store.h"

/* Columns of write_statement, each an array, after its two parameters. */
enum
{
	COL_RUN_ID,
	COL_ENDED_AS,
	COL_RUN_AT,
	COL_READY,
	COL_FAILURES,
	COL_OFFERED,
	COL_COUNTED,
	COL_CODE,
	COL_WORDS,
	COL_STATUS,
	COL_BEGUN_AT,
	COL_ENDED_AT,
	COL_REPLY,
	COL_SQLSTATE,
	COL_ERROR,
	COL_DETAIL,
	COL_HOST,
	COL_ROLE,
	COL_ROLE_OID,
	NCOLUMNS
};

static const Oid column_types[NCOLUMNS] = {
	INT8OID,		TEXTOID,		TIMESTAMPTZOID, BOOLOID, INT4OID,
	BOOLOID,		INT4OID,		INT4OID,		TEXTOID, TEXTOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,		TEXTOID, TEXTOID,
	TEXTOID,		TEXTOID,		TEXTOID,		OIDOID
};

/*
 * All of a record in one go; what its worker does not have any more stays as it
 * is.  "= ANY ($3)" has the rows found by their keys, whatever the planner
 * believes of the tables.
 */
static MjStatement write_statement = {
	"WITH e AS MATERIALIZED ("
	"  SELECT * FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
	"   $14, $15, $16, $17, $18, $19, $20, $21) AS e (run_id, ended_as, run_at,"
	"   ready, failures, offered, counted, code, words, status, begun_at,"
	"   finished_at, reply, sqlstate, error, detail, host, role, role_oid)),"
	" gone AS ("
	"  DELETE FROM jobs.queue q USING e WHERE q.run_id = ANY ($3)"
	"  AND q.run_id = e.run_id AND e.ended_as <> ''"
	"  AND q.worker_id IS NOT DISTINCT FROM $1 AND q.state = 'running'"
	"  RETURNING q.run_id, q.attempt, q.trigger, q.due_at, q.missed,"
	"   q.priority),"
	" back AS ("
	"  UPDATE jobs.queue q"
	"  SET state = CASE WHEN e.ready THEN 'ready' ELSE 'waiting' END,"
	"   run_at = e.run_at, failures = e.failures,"
	"   attempt = CASE WHEN e.offered THEN q.attempt ELSE q.attempt - 1 END,"
	"   worker_id = NULL, pid = NULL, started_at = NULL"
	"  FROM e WHERE q.run_id = ANY ($3) AND q.run_id = e.run_id"
	"  AND e.ended_as = '' AND q.worker_id IS NOT DISTINCT FROM $1 AND q.state = 'running'"
	"  RETURNING q.run_id, q.attempt, q.trigger, q.due_at, q.missed,"
	"   q.priority),"
	" taken AS MATERIALIZED (SELECT * FROM gone UNION ALL SELECT * FROM back),"
	" mails AS ("
	"  UPDATE jobs.mail m SET ended_as = nullif(e.ended_as, ''),"
	"   ended_at = CASE WHEN e.ended_as <> '' THEN e.finished_at END,"
	"   attempts = m.attempts + e.counted, smtp_code = nullif(e.code, 0),"
	"   smtp_reply = e.words"
	"  FROM e JOIN taken USING (run_id) WHERE m.run_id = ANY ($3)"
	"  AND m.run_id = e.run_id AND m.ended_as IS NULL AND e.words <> ''),"
	" log AS ("
	"  INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid,"
	"   trigger, due_at, started_at, finished_at, status, result, sqlstate,"
	"   error, error_detail, pid, missed, priority, worker)"
	"  SELECT run_id, t.attempt, 0, '" MJ_MAIL_JOB_NAME "', e.role::name,"
	"   e.role_oid, t.trigger, t.due_at, e.begun_at, e.finished_at, e.status,"
	"   nullif(e.reply, ''), nullif(e.sqlstate, ''), nullif(e.error, ''),"
	"   nullif(e.detail, ''), $2, t.missed, t.priority, nullif(e.host, '')"
	"  FROM e JOIN taken t USING (run_id) WHERE e.offered"
	"  ON CONFLICT (run_id, attempt) DO NOTHING)"
	" SELECT run_id FROM taken",
	2 + NCOLUMNS,
	{ INT8OID,
	  INT4OID,
	  INT8ARRAYOID,
	  TEXTARRAYOID,
	  TIMESTAMPTZARRAYOID,
	  BOOLARRAYOID,
	  INT4ARRAYOID,
	  BOOLARRAYOID,
	  INT4ARRAYOID,
	  INT4ARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  TIMESTAMPTZARRAYOID,
	  TIMESTAMPTZARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  TEXTARRAYOID,
	  OIDARRAYOID }
};

/* One that somebody has locked is left to them. */
static MjStatement expire_statement = {
	"WITH gone AS (DELETE FROM jobs.queue WHERE run_id = ANY (ARRAY("
	"  SELECT run_id FROM jobs.queue WHERE expires_at <= $1 AND lane = 0"
	"  AND state <> 'running' ORDER BY expires_at LIMIT " CppAsString2(
		MJ_MAIL_EXPIRE_LIMIT) "  FOR UPDATE SKIP LOCKED)) RETURNING *),"
							  " mails AS (UPDATE jobs.mail m SET ended_as = 'expired', ended_at = $1"
							  "  FROM gone g WHERE m.run_id = g.run_id AND m.ended_as IS NULL"
							  "  RETURNING m.run_id, m.role, m.role_oid)"
							  " INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid,"
							  " trigger, due_at, finished_at, status, error, missed, priority)"
							  " SELECT g.run_id, CASE WHEN g.attempt > 0 THEN g.attempt + 1 ELSE 0 END,"
							  " 0, '" MJ_MAIL_JOB_NAME
							  "', m.role, m.role_oid, g.trigger, g.due_at, $1, 'expired',"
							  " 'it had not been sent in time', g.missed, g.priority"
							  " FROM gone g JOIN mails m USING (run_id)",
	1,
	{ TIMESTAMPTZOID }
};

static MjStatement next_expiry_statement = {
	"SELECT expires_at FROM jobs.queue"
	" WHERE expires_at IS NOT NULL AND lane = 0 AND state <> 'running'"
	" ORDER BY expires_at LIMIT 1",
	0
};

static MjStatement find_statement = {
	"SELECT run_id, ended_as FROM jobs.mail WHERE mail_id = $1", 1, { INT8OID }
};

/* The run as it was: what has been tried of it is in the log, or was counted. */
static MjStatement reopen_statement = {
	"WITH m AS (UPDATE jobs.mail SET ended_as = NULL, ended_at = NULL,"
	"  message_id = coalesce($2, message_id)"
	"  WHERE mail_id = $1 AND ended_as IS NOT NULL RETURNING *),"
	" l AS (SELECT l.* FROM m JOIN jobs.run_log l ON l.run_id = m.run_id"
	"  ORDER BY l.attempt DESC LIMIT 1)"
	" INSERT INTO jobs.queue (run_id, job_id, lane, state, priority, run_at,"
	" due_at, trigger, attempt, attempts_before)"
	" SELECT m.run_id, 0, 0, 'ready', coalesce(l.priority, 0), $3,"
	" coalesce(l.due_at, m.created_at), 'retry', tried, tried"
	" FROM m LEFT JOIN l USING (run_id),"
	" LATERAL (SELECT greatest(coalesce(l.attempt, m.attempts), 1) AS tried) t",
	3,
	{ INT8OID, TEXTOID, TIMESTAMPTZOID }
};

/* A text of an array; no text is an empty one. */
static Datum
text_or_empty(const char *text)
{
	return CStringGetTextDatum(text ? text : "");
}

/* An entry as element i of the columns. */
static void
fill_row(const MjMailEntry *entry, Datum *const *columns, int i)
{
	columns[COL_RUN_ID][i] = Int64GetDatum(entry->run->run_id);
	columns[COL_ENDED_AS][i] = text_or_empty(entry->ended_as);
	columns[COL_RUN_AT][i] = TimestampTzGetDatum(entry->run_at);
	columns[COL_READY][i] = BoolGetDatum(entry->ready);
	columns[COL_FAILURES][i] = Int32GetDatum(entry->failures);
	columns[COL_OFFERED][i] = BoolGetDatum(entry->offered);
	columns[COL_COUNTED][i] = Int32GetDatum(entry->counted ? 1 : 0);
	columns[COL_CODE][i] = Int32GetDatum(entry->smtp_code);
	columns[COL_WORDS][i] = text_or_empty(entry->words);
	columns[COL_STATUS][i] = text_or_empty(entry->status);
	columns[COL_BEGUN_AT][i] = TimestampTzGetDatum(entry->begun_at);
	columns[COL_ENDED_AT][i] = TimestampTzGetDatum(entry->ended_at);
	columns[COL_REPLY][i] = text_or_empty(entry->reply);
	columns[COL_SQLSTATE][i] = text_or_empty(entry->sqlstate);
	columns[COL_ERROR][i] = text_or_empty(entry->error);
	columns[COL_DETAIL][i] = text_or_empty(entry->error_detail);
	columns[COL_HOST][i] = text_or_empty(entry->host);
	columns[COL_ROLE][i] = text_or_empty(entry->role);
	columns[COL_ROLE_OID][i] = ObjectIdGetDatum(entry->role_oid);
}

/* Note in written[n] which entries are among the rows of the last result. */
static void
note_written(uint64 rows, const MjMailEntry *entries, int n, bool *written)
{
	uint64 row;
	int i;

	for (i = 0; i < n; i++)
	{
		written[i] = false;
		for (row = 0; row < rows && !written[i]; row++)
			written[i] = mj_row_int64(row, 1) == entries[i].run->run_id;
	}
}

/*
 * Write what became of n mails that a worker has claimed, this process itself.
 * written[n] tells of which; of the others the worker has the run no longer,
 * and nothing is written.
 */
void
mj_mail_write_entries(int64 worker_id, const MjMailEntry *entries, int n,
					  bool *written)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *columns[NCOLUMNS];
	int i;

	for (i = 0; i < NCOLUMNS; i++)
		columns[i] = palloc(Max(n, 1) * sizeof(Datum));
	for (i = 0; i < n; i++)
		fill_row(&entries[i], columns, i);
	mj_store_enter(&scope);
	mj_param_int64(&params, worker_id);
	mj_param_int32(&params, MyProcPid);
	for (i = 0; i < NCOLUMNS; i++)
		mj_param_array(&params, columns[i], n, column_types[i]);
	note_written(mj_store_run(&write_statement, &params), entries, n, written);
	mj_store_leave(&scope);
}

/* When the first mail expires; DT_NOEND: none does. */
TimestampTz
mj_mail_next_expiry(void)
{
	MjScope scope;
	TimestampTz next = DT_NOEND;

	mj_store_enter(&scope);
	if (mj_store_run(&next_expiry_statement, NULL) > 0)
		next = mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}

/*
 * End mails that were not sent by their expires_at and are not being sent;
 * returns how many, at most MJ_MAIL_EXPIRE_LIMIT.  While none has expired nothing
 * but the queue is looked at: who has locked jobs.mail holds up no tick.
 */
int
mj_mail_expire(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	int n;

	if (mj_mail_next_expiry() > now)
		return 0;
	mj_store_enter(&scope);
	mj_param_time(&params, now);
	n = (int) mj_store_run(&expire_statement, &params);
	mj_store_leave(&scope);
	return n;
}

/*
 * The run of a mail, and how it has ended, NULL if it has not; locks nothing, for
 * who ends a mail locks its run first.  False if there is no such mail.
 */
bool
mj_mail_find_end(int64 mail_id, int64 *run_id, const char **ended_as)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_int64(&params, mail_id);
	found = mj_store_run(&find_statement, &params) > 0;
	if (found)
	{
		*run_id = mj_row_int64(0, 1);
		*ended_as = mj_row_text(&scope, 0, 2);
	}
	mj_store_leave(&scope);
	return found;
}

/*
 * Put a mail that has ended into the queue again, ready, its failures counted
 * anew; message_id NULL keeps that.  False if it has not ended, or somebody else
 * has just done so.
 */
bool
mj_mail_reopen(int64 mail_id, const char *message_id, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	bool reopened;

	mj_store_enter(&scope);
	mj_param_int64(&params, mail_id);
	mj_param_text(&params, message_id);
	mj_param_time(&params, now);
	reopened = mj_store_run(&reopen_statement, &params) > 0;
	mj_store_leave(&scope);
	return reopened;
}
