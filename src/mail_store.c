/*-------------------------------------------------------------------------
 *
 * mail_store.c
 *	  Mails (jobs.mail): content, and how they ended.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "mail_store.h"
#include "store.h"

static MjStatement next_id_statement = {
	.sql = "SELECT nextval('jobs.mail_mail_id_seq'::regclass)",
};

static MjStatement find_source_key_statement = {
	.sql = "SELECT mail_id FROM jobs.mail WHERE role_oid = $1"
		   " AND source_key = $2",
	.nparams = 2,
	.types = { OIDOID, TEXTOID },
};

static MjStatement insert_statement = {
	.sql =
		"INSERT INTO jobs.mail (mail_id, run_id, role, recipient, cc, bcc,"
		" sender, reply_to, subject, body_text, body_html, headers, source_key,"
		" message_id, created_at, role_oid, unsubscribe, attachments) VALUES ($1,"
		" $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,"
		" $18) ON CONFLICT (role_oid, source_key)"
		" WHERE source_key IS NOT NULL DO NOTHING",
	.nparams = 18,
	.types = { INT8OID, INT8OID, NAMEOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			   TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID,
			   TIMESTAMPTZOID, OIDOID, TEXTOID, INT4OID },
};

static MjStatement insert_attachment_statement = {
	.sql =
		"INSERT INTO jobs.mail_attachment (mail_id, position, filename,"
		" content_type, content_id, content) VALUES ($1, $2, $3, $4, $5, $6)",
	.nparams = 6,
	.types = { INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID },
};

/*
 * Each mail by the index: a plan that was made while the table was empty would join
 * with all of it.
 */
static MjStatement load_statement = {
	.sql =
		"SELECT m.mail_id, r.run_id, m.role, m.recipient, m.cc, m.bcc,"
		" m.sender, m.reply_to, m.headers, m.source_key, m.subject,"
		" m.message_id, m.created_at, s.small,"
		" CASE WHEN s.small THEN m.body_text END,"
		" CASE WHEN s.small THEN m.body_html END, m.role_oid,"
		" m.unsubscribe, m.attachments"
		" FROM unnest($1) WITH ORDINALITY AS r (run_id, n) LEFT JOIN LATERAL"
		" (SELECT * FROM jobs.mail WHERE run_id = r.run_id LIMIT 1) m ON true,"
		" LATERAL (SELECT coalesce(octet_length(m.body_text), 0) +"
		" coalesce(octet_length(m.body_html), 0) <= $2"
		" AND coalesce(m.attachments, 0) = 0 AS small) s"
		" ORDER BY r.n",
	.nparams = 2,
	.types = { INT8ARRAYOID, INT4OID },
};

static MjStatement load_bodies_statement = {
	.sql = "SELECT body_text, body_html FROM jobs.mail WHERE run_id = $1",
	.nparams = 1,
	.types = { INT8OID },
};

/* ANY: whatever the join is, it is with these mails and not with all of the table. */
static MjStatement update_sent_statement = {
	.sql = "UPDATE jobs.mail m SET ended_as = 'sent', attempts = attempts + 1,"
		   " ended_at = e.at, smtp_code = nullif(e.code, 0),"
		   " smtp_reply = e.reply"
		   " FROM unnest($1, $2, $3, $4) AS e (run_id, at, code, reply)"
		   " WHERE m.run_id = ANY ($1) AND m.run_id = e.run_id"
		   " AND m.ended_as IS NULL",
	.nparams = 4,
	.types = { INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, TEXTARRAYOID },
};

static MjStatement load_attachments_statement = {
	.sql = "SELECT a.filename, a.content_type, a.content_id, a.content"
		   " FROM jobs.mail_attachment a WHERE a.mail_id = $1"
		   " ORDER BY a.position",
	.nparams = 1,
	.types = { INT8OID },
};

/* When it was due is where its run is: in the queue, or in the log. */
static MjStatement find_statement = {
	.sql = "SELECT m.run_id, coalesce(q.due_at, l.due_at, m.created_at)"
		   " FROM jobs.mail m LEFT JOIN jobs.queue q ON q.run_id = m.run_id"
		   " LEFT JOIN LATERAL (SELECT due_at FROM jobs.run_log"
		   " WHERE run_id = m.run_id ORDER BY attempt DESC LIMIT 1) l ON true"
		   " WHERE m.mail_id = $1",
	.nparams = 1,
	.types = { INT8OID },
};

static MjStatement end_statement = {
	.sql = "UPDATE jobs.mail SET ended_as = $2, ended_at = $3,"
		   " smtp_code = coalesce($4, smtp_code),"
		   " smtp_reply = coalesce($5, smtp_reply)"
		   " WHERE run_id = $1 AND ended_as IS NULL",
	.nparams = 5,
	.types = { INT8OID, TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID },
};

/* It is not too late to send a mail. */
#define NOT_EXPIRED(now) "(expires_at IS NULL OR expires_at > " now ")"

/*
 * Ready; running; to be promoted.  Each is limited by itself, so that a long
 * queue is not read whole.
 */
static MjStatement due_statement = {
	.sql = "SELECT run_id, failures FROM ("
		   "(SELECT run_id, failures, priority FROM jobs.queue"
		   " WHERE lane = 0 AND state = 'ready' AND " NOT_EXPIRED(
			   "$1") " ORDER BY priority, run_id LIMIT $2)"
					 " UNION ALL "
					 "(SELECT run_id, failures, priority FROM jobs.queue"
					 " WHERE lane = 0 AND state = 'running')"
					 " UNION ALL "
					 "(SELECT run_id, failures, priority FROM jobs.queue"
					 " WHERE lane = 0 AND state = 'waiting' AND run_at <= $1"
					 " AND " NOT_EXPIRED(
						 "$1") " ORDER BY run_at LIMIT $2)) AS due"
							   " ORDER BY priority, run_id LIMIT $2",
	.nparams = 2,
	.types = { TIMESTAMPTZOID, INT4OID },
};

static MjStatement hasten_statement = {
	.sql = "UPDATE jobs.queue q SET state = 'ready', run_at = $3"
		   " FROM unnest($1, $2) AS due (run_id, failures)"
		   " WHERE q.run_id = due.run_id AND q.failures = due.failures"
		   " AND q.state = 'waiting' AND " NOT_EXPIRED("$3"),
	.nparams = 3,
	.types = { INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID },
};

static MjStatement progress_statement = {
	.sql = "SELECT count(*) FILTER (WHERE m.ended_as = 'sent'),"
		   " count(*) FILTER (WHERE (q.state = 'ready'"
		   " OR q.state = 'waiting' AND q.run_at <= $3) AND " NOT_EXPIRED(
			   "$3") "),"
					 " count(*) FILTER (WHERE q.state = 'running')"
					 " FROM unnest($1, $2) AS due (run_id, failures)"
					 " LEFT JOIN jobs.mail m ON m.run_id = due.run_id"
					 " LEFT JOIN jobs.queue q ON q.run_id = due.run_id",
	.nparams = 3,
	.types = { INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID },
};

/* How far back a list looks in one go. */
static MjStatement reach_statement = {
	.sql = "SELECT mail_id FROM jobs.mail WHERE mail_id < $1"
		   " ORDER BY mail_id DESC OFFSET 19999 LIMIT 1",
	.nparams = 1,
	.types = { INT8OID },
};

static MjStatement prune_statement = {
	.sql = "DELETE FROM jobs.mail WHERE mail_id IN"
		   " (SELECT mail_id FROM jobs.mail WHERE ended_at < $1"
		   " ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
	.nparams = 2,
	.types = { TIMESTAMPTZOID, INT4OID },
};

/* A code of 0 means NULL. */
static void
param_code(MjParams *params, int smtp_code)
{
	mj_param_datum(params, Int32GetDatum(smtp_code), smtp_code == 0);
}

/* A mail_id that was never used: the Message-ID is made of it. */
int64
mj_mail_next_id(void)
{
	MjScope scope;
	int64 mail_id;

	mj_store_enter(&scope);
	mj_store_run(&next_id_statement, NULL);
	mail_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return mail_id;
}

/*
 * The mail of a role that has a source_key, 0 if none.  On the latest snapshot: whoever
 * lost a race for the key must see the winner.
 */
int64
mj_mail_find_source_key(Oid role_oid, const char *source_key)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 mail_id = 0;

	mj_store_enter(&scope);
	mj_param_oid(&params, role_oid);
	mj_param_text(&params, source_key);
	if (mj_store_read_latest(&find_source_key_statement, &params) > 0)
		mail_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return mail_id;
}

/* Insert the attachments of a mail.  In a scope. */
static void
insert_attachments(const MjMail *mail)
{
	int i;

	for (i = 0; i < mail->nattachments; i++)
	{
		const MjMailAttachment *attachment = &mail->attachments[i];
		MjParams params = { 0 };

		mj_param_int64(&params, mail->mail_id);
		mj_param_int32(&params, i + 1);
		mj_param_text(&params, attachment->filename);
		mj_param_text(&params, attachment->content_type);
		mj_param_text(&params, attachment->content_id);
		mj_param_datum(&params, PointerGetDatum(attachment->content), false);
		mj_store_run(&insert_attachment_statement, &params);
	}
}

/*
 * Insert a mail, with its attachments; false if its source_key is taken, also by
 * a transaction that was open: waits for that to end.  The caller inserts the run.
 */
bool
mj_mail_insert(const MjMail *mail)
{
	MjScope scope;
	MjParams params = { 0 };
	bool inserted;

	mj_store_enter(&scope);
	mj_param_int64(&params, mail->mail_id);
	mj_param_int64(&params, mail->run_id);
	mj_param_name(&params, mail->role);
	mj_param_text(&params, mail->recipient);
	mj_param_text(&params, mail->cc);
	mj_param_text(&params, mail->bcc);
	mj_param_text(&params, mail->sender);
	mj_param_text(&params, mail->reply_to);
	mj_param_text(&params, mail->subject);
	mj_param_text(&params, mail->body_text);
	mj_param_text(&params, mail->body_html);
	mj_param_datum(&params, mail->headers, mail->headers_isnull);
	mj_param_text(&params, mail->source_key);
	mj_param_text(&params, mail->message_id);
	mj_param_time(&params, mail->created_at);
	mj_param_oid(&params, mail->role_oid);
	mj_param_text(&params, mail->unsubscribe);
	mj_param_int32(&params, mail->nattachments);
	inserted = mj_store_run(&insert_statement, &params) > 0;
	if (inserted)
		insert_attachments(mail);
	mj_store_leave(&scope);
	return inserted;
}

/* A bigint[] in the current context. */
static Datum
int64_array(const int64 *values, int count)
{
	Datum *datums = palloc(Max(count, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, count, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* One row of load_statement. */
static void
read_mail(MjScope *scope, uint64 row, MjMail *mail)
{
	memset(mail, 0, sizeof(MjMail));
	mail->mail_id = mj_row_int64(row, 1);
	mail->run_id = mj_row_int64(row, 2);
	mail->role = mj_row_isnull(row, 3) ? "" : mj_row_text(scope, row, 3);
	mail->role_oid = mj_row_oid(row, 17);
	mail->recipient = mj_row_text(scope, row, 4);
	mail->cc = mj_row_text(scope, row, 5);
	mail->bcc = mj_row_text(scope, row, 6);
	mail->sender = mj_row_text(scope, row, 7);
	mail->reply_to = mj_row_text(scope, row, 8);
	mail->headers = mj_row_datum(scope, row, 9, &mail->headers_isnull);
	mail->source_key = mj_row_text(scope, row, 10);
	mail->subject = mj_row_text(scope, row, 11);
	mail->message_id = mj_row_text(scope, row, 12);
	mail->created_at = mj_row_time(row, 13);
	mail->bodies_missing = !mj_row_bool(row, 14);
	mail->body_text = mj_row_text(scope, row, 15);
	mail->body_html = mj_row_text(scope, row, 16);
	mail->unsubscribe = mj_row_text(scope, row, 18);
}

/*
 * Read the mails of some runs, in their order, into mails[nruns]; returns
 * nruns.  A run whose mail is gone gets mail_id 0 and role "".  Attachments,
 * and bodies that are long, are left out, with bodies_missing set.
 */
int
mj_mail_load(const int64 *run_ids, int nruns, MjMail *mails)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 rows;
	uint64 i;

	mj_store_enter(&scope);
	mj_param_datum(&params, int64_array(run_ids, nruns), false);
	mj_param_int32(&params, MJ_MAIL_SMALL_BODY);
	rows = mj_store_run(&load_statement, &params);
	Assert(rows == nruns);
	for (i = 0; i < rows; i++)
		read_mail(&scope, i, &mails[i]);
	mj_store_leave(&scope);
	return (int) rows;
}

/* Read the attachments of a mail, into the caller's context. */
static void
load_attachments(MjScope *scope, MjMail *mail)
{
	MjParams params = { 0 };
	MjMailAttachment *attachments;
	uint64 rows;
	uint64 i;

	mj_param_int64(&params, mail->mail_id);
	rows = mj_store_run(&load_attachments_statement, &params);
	attachments = MemoryContextAlloc(scope->caller,
									 Max(rows, 1) * sizeof(MjMailAttachment));
	for (i = 0; i < rows; i++)
	{
		bool isnull;

		attachments[i].filename = mj_row_text(scope, i, 1);
		attachments[i].content_type = mj_row_text(scope, i, 2);
		attachments[i].content_id = mj_row_text(scope, i, 3);
		attachments[i].content = (struct varlena *) DatumGetPointer(
			mj_row_datum(scope, i, 4, &isnull));
	}
	mail->attachments = attachments;
	mail->nattachments = (int) rows;
}

/*
 * Read what mj_mail_load() left out, the bodies and attachments; false: the
 * mail is gone.
 */
bool
mj_mail_load_bodies(MjMail *mail)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_int64(&params, mail->run_id);
	found = mj_store_run(&load_bodies_statement, &params) > 0;
	if (found)
	{
		mail->body_text = mj_row_text(&scope, 0, 1);
		mail->body_html = mj_row_text(&scope, 0, 2);
		mail->bodies_missing = false;
		load_attachments(&scope, mail);
	}
	mj_store_leave(&scope);
	return found;
}

/*
 * Read a mail whole, and when it was due last; false: there is none of that
 * mail_id.
 */
bool
mj_mail_find(int64 mail_id, MjMail *mail, TimestampTz *due_at)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 run_id = 0;

	mj_store_enter(&scope);
	mj_param_int64(&params, mail_id);
	if (mj_store_run(&find_statement, &params) > 0)
	{
		run_id = mj_row_int64(0, 1);
		*due_at = mj_row_time(0, 2);
	}
	mj_store_leave(&scope);
	return run_id != 0 && mj_mail_load(&run_id, 1, mail) == 1 &&
		(!mail->bodies_missing || mj_mail_load_bodies(mail));
}

/* Note that mails were sent, many at once.  What has ended stays as it is. */
void
mj_mail_update_sent(const MjMailSent *sent, int count)
{
	MjScope scope;
	MjParams params = { 0 };
	Datum *columns[4];
	int i;

	if (count == 0)
		return;
	for (i = 0; i < lengthof(columns); i++)
		columns[i] = palloc(count * sizeof(Datum));
	for (i = 0; i < count; i++)
	{
		columns[0][i] = Int64GetDatum(sent[i].run_id);
		columns[1][i] = TimestampTzGetDatum(sent[i].at);
		columns[2][i] = Int32GetDatum(sent[i].smtp_code);
		columns[3][i] = CStringGetTextDatum(sent[i].smtp_reply);
	}
	mj_store_enter(&scope);
	mj_param_array(&params, columns[0], count, INT8OID);
	mj_param_array(&params, columns[1], count, TIMESTAMPTZOID);
	mj_param_array(&params, columns[2], count, INT4OID);
	mj_param_array(&params, columns[3], count, TEXTOID);
	mj_store_run(&update_sent_statement, &params);
	mj_store_leave(&scope);
}

/*
 * End the mail of a run that somebody else took out of the queue, the
 * scheduler for one.  smtp_code 0 and smtp_reply NULL keep what was there.
 * Does nothing if the run is no mail, or the mail has ended.
 */
void
mj_mail_end(int64 run_id, const char *ended_as, int smtp_code,
			const char *smtp_reply)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	mj_param_text(&params, ended_as);
	mj_param_time(&params, mj_clock_now());
	param_code(&params, smtp_code);
	mj_param_text(&params, smtp_reply);
	mj_store_run(&end_statement, &params);
	mj_store_leave(&scope);
}

/*
 * The mails that are due: ready, or being sent by somebody; at most max_mails,
 * into due[max_mails].  Returns how many.
 */
int
mj_mail_due(TimestampTz now, int max_mails, MjDueMail *due)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 rows;
	uint64 i;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_param_int32(&params, max_mails);
	rows = mj_store_run(&due_statement, &params);
	for (i = 0; i < rows; i++)
	{
		due[i].run_id = mj_row_int64(i, 1);
		due[i].failures = mj_row_int32(i, 2);
	}
	mj_store_leave(&scope);
	return (int) rows;
}

/* A set of mails as two parameters, and the time as a third. */
static void
param_due(MjParams *params, const MjDueMail *due, int ndue, TimestampTz now)
{
	int64 *run_ids = palloc(Max(ndue, 1) * sizeof(int64));
	Datum *failures = palloc(Max(ndue, 1) * sizeof(Datum));
	int i;

	for (i = 0; i < ndue; i++)
	{
		run_ids[i] = due[i].run_id;
		failures[i] = Int32GetDatum(due[i].failures);
	}
	mj_param_datum(params, int64_array(run_ids, ndue), false);
	mj_param_datum(params,
				   PointerGetDatum(construct_array(failures, ndue, INT4OID,
												   sizeof(int32), true,
												   TYPALIGN_INT)),
				   false);
	mj_param_time(params, now);
}

/* Make those of a set ready that wait; not those that failed since. */
void
mj_mail_hasten(const MjDueMail *due, int ndue, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_due(&params, due, ndue, now);
	mj_store_run(&hasten_statement, &params);
	mj_store_leave(&scope);
}

/* Where a set of mails that mj_mail_due() found stands now. */
void
mj_mail_progress(const MjDueMail *due, int ndue, TimestampTz now,
				 MjMailProgress *progress)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	param_due(&params, due, ndue, now);
	mj_store_run(&progress_statement, &params);
	progress->sent = mj_row_int64(0, 1);
	progress->claimable = mj_row_int64(0, 2);
	progress->in_flight = mj_row_int64(0, 3);
	mj_store_leave(&scope);
}

/* The last mail of a list that begins before another one; 0: all are on it. */
int64
mj_mail_reach(int64 before)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 mail_id = 0;

	mj_store_enter(&scope);
	mj_param_int64(&params, before);
	if (mj_store_run(&reach_statement, &params) > 0)
		mail_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return mail_id;
}

/*
 * Delete mails that ended before an instant, at most limit of them, but not one
 * that is being sent again.  Returns how many; their source_keys are free again.
 */
int64
mj_mail_prune(TimestampTz before, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	uint64 rows;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_int32(&params, limit);
	rows = mj_store_run(&prune_statement, &params);
	mj_store_leave(&scope);
	return (int64) rows;
}
