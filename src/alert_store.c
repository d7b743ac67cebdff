/*-------------------------------------------------------------------------
 *
 * alert_store.c
 *	  Alerts: rules, what becomes of them, whom they tell; downtimes.
 *
 * Layer: stores.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "alert_store.h"
#include "store.h"

static MjStatement evaluate = { "SELECT jobs.alert_evaluate($1)",
								1,
								{ TIMESTAMPTZOID } };

/*
 * The first of the messages after $1 that are new, with those that can be told
 * with it.  What a program that listens can take is limited, so there is a short
 * form.
 */
static MjStatement next_message = {
	"SELECT t.ids, t.event, t.channel, c.severity, c.summary, c.body,"
	" c.payload::text, (c.payload - 'alerts')::text, t.first_id"
	" FROM (SELECT array_agg(m.message_id ORDER BY m.message_id) AS ids,"
	"  min(m.message_id) AS first_id, m.event, m.channel"
	"  FROM jobs.alert_message m"
	"  JOIN jobs.alert_record a ON a.alert_id = m.alert_id"
	"  WHERE m.state = 'new' GROUP BY a.rule, m.event, m.channel"
	"  HAVING min(m.message_id) > $1 ORDER BY first_id LIMIT 1) t"
	" CROSS JOIN LATERAL jobs.alert_content(t.ids) c",
	1,
	{ INT8OID }
};

/* One mail, however often it is tried to queue it. */
static MjStatement queue_mail = {
	"SELECT jobs.send_mail(recipient => $2, subject => $3, body_text => $4,"
	" headers => '{\"Auto-Submitted\": \"auto-generated\"}',"
	" source_key => 'alert/' || ($1)[1])",
	4,
	{ INT8ARRAYOID, TEXTOID, TEXTOID, TEXTOID }
};

static MjStatement run_of_mail = {
	"SELECT run_id FROM jobs.mail WHERE mail_id = $1", 1, { INT8OID }
};

static MjStatement notify = { "SELECT pg_notify($1, $2)",
							  2,
							  { TEXTOID, TEXTOID } };

static MjStatement mark = {
	"UPDATE jobs.alert_message SET state = $2, run_id = $3, error = $4,"
	" ended_at = $5 WHERE message_id = ANY ($1) AND state = 'new'",
	5,
	{ INT8ARRAYOID, TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID }
};

static MjStatement add_downtime = {
	"INSERT INTO jobs.downtime (since, until, last_seen_at, jobs, instants,"
	" detail) VALUES ($1, $2, $3, $4, $5, $6)",
	6,
	{ TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT8OID,
	  TEXTOID }
};

static MjStatement prune = {
	"DELETE FROM jobs.alert_record WHERE alert_id IN ("
	"  SELECT alert_id FROM jobs.alert_record WHERE resolved_at < $1"
	"  ORDER BY resolved_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
	2,
	{ TIMESTAMPTZOID, INT8OID }
};

static MjStatement prune_downtimes = {
	"DELETE FROM jobs.downtime WHERE until < $1", 1, { TIMESTAMPTZOID }
};

static MjStatement find_rule = {
	"SELECT kind::text FROM jobs.alert_rule WHERE name = $1", 1, { TEXTOID }
};

/* What is not given is as it was, or as it is by default. */
#define GIVEN(n, column) "coalesce($" #n ", r." column ")"
#define GIVEN_TEXT(n, column) "nullif(coalesce($" #n ", r." column "), '')"

static MjStatement set_rule = {
	"INSERT INTO jobs.alert_rule_own AS o (name, kind, job, job_group,"
	" threshold, for_interval, severity, channels, enabled, repeat_interval,"
	" resolve_after, description, role, updated_at)"
	" SELECT $1, " GIVEN(2, "kind") ", " GIVEN_TEXT(3, "job") ", " GIVEN_TEXT(
		4,
		"job_group") ", coalesce($5, r.threshold, 0),"
					 " coalesce($6, r.for_interval, '0'),"
					 " coalesce($7, r.severity, 'warning'),"
					 " nullif(" GIVEN(
						 8,
						 "channels") ", '{}'),"
									 " coalesce($9, r.enabled, true),"
									 " nullif(" GIVEN(
										 10,
										 "repeat_interval") ", '0'),"
															" coalesce($11, r.resolve_after, '5 minutes'),"
															" " GIVEN_TEXT(
																12,
																"description") ", $13, $14"
																			   " FROM (SELECT) one LEFT JOIN jobs.alert_rule r ON r.name = $1"
																			   " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind,"
																			   " job = excluded.job, job_group = excluded.job_group,"
																			   " threshold = excluded.threshold, for_interval = excluded.for_interval,"
																			   " severity = excluded.severity, channels = excluded.channels,"
																			   " enabled = excluded.enabled,"
																			   " repeat_interval = excluded.repeat_interval,"
																			   " resolve_after = excluded.resolve_after,"
																			   " description = excluded.description, role = excluded.role,"
																			   " updated_at = excluded.updated_at",
	14,
	{ TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, INTERVALOID, TEXTOID,
	  TEXTARRAYOID, BOOLOID, INTERVALOID, INTERVALOID, TEXTOID, NAMEOID,
	  TIMESTAMPTZOID }
};

static MjStatement delete_rule = {
	"DELETE FROM jobs.alert_rule_own WHERE name = $1", 1, { TEXTOID }
};

static MjStatement acknowledge = {
	"UPDATE jobs.alert_record SET acknowledged_at = $4, acknowledged_by = $2,"
	" note = $3 WHERE alert_id = $1 AND acknowledged_at IS NULL"
	" AND opened_at IS NOT NULL AND resolved_at IS NULL",
	4,
	{ INT8OID, NAMEOID, TEXTOID, TIMESTAMPTZOID }
};

static MjStatement find_alert = {
	"SELECT FROM jobs.alert_record WHERE alert_id = $1", 1, { INT8OID }
};

static MjStatement critical = {
	"SELECT string_agg(split_part(detail, E'\\n', 1), E'\\n' ORDER BY alert_id)"
	" FROM (SELECT detail, alert_id FROM jobs.alert_record"
	"  WHERE resolved_at IS NULL AND opened_at IS NOT NULL"
	"  AND severity = 'critical' ORDER BY alert_id LIMIT 50) a",
	0
};

static MjStatement failures = {
	"SELECT count(*), split_part((array_agg(n.channel ORDER BY n.message_id"
	" DESC))[1], ':', 1), (array_agg(n.error ORDER BY n.message_id DESC))[1]"
	" FROM jobs.alert_notification n"
	" WHERE n.status = 'failed' AND n.created_at > $1",
	1,
	{ TIMESTAMPTZOID }
};

/* Written only when it is news. */
static MjStatement note_backlog = {
	"INSERT INTO jobs.mail_backlog AS b (job_id, pending, noted_at)"
	" SELECT q.job_id, $2, $3 FROM jobs.queue q"
	" WHERE q.run_id = $1 AND q.job_id > 0"
	" ON CONFLICT (job_id) DO UPDATE SET pending = excluded.pending,"
	" noted_at = excluded.noted_at WHERE b.pending <> excluded.pending",
	3,
	{ INT8OID, INT8OID, TIMESTAMPTZOID }
};

/* An interval; NULL means NULL. */
static void
param_interval(MjParams *params, const Interval *value)
{
	mj_param_datum(params, PointerGetDatum(value), value == NULL);
}

/*
 * Look at all rules, and open and end alerts.  Returns when to look again though
 * nothing has happened; DT_NOEND: there is no need.
 */
TimestampTz
mj_alert_evaluate(TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	TimestampTz next;

	mj_store_enter(&scope);
	mj_param_time(&params, now);
	mj_store_run(&evaluate, &params);
	next = mj_row_isnull(0, 1) ? DT_NOEND : mj_row_time(0, 1);
	mj_store_leave(&scope);
	return next;
}

/* The next messages to pass on, that come after one; false: there are none. */
bool
mj_alert_next_message(int64 after, MjAlertMessage *message)
{
	MjScope scope;
	MjParams params = { 0 };
	bool isnull;
	bool found;

	mj_store_enter(&scope);
	mj_param_int64(&params, after);
	found = mj_store_run(&next_message, &params) > 0;
	if (found)
	{
		message->message_ids = mj_row_datum(&scope, 0, 1, &isnull);
		message->event = mj_row_text(&scope, 0, 2);
		message->channel = mj_row_text(&scope, 0, 3);
		message->severity = mj_row_text(&scope, 0, 4);
		message->summary = mj_row_text(&scope, 0, 5);
		message->body = mj_row_text(&scope, 0, 6);
		message->payload = mj_row_text(&scope, 0, 7);
		message->payload_head = mj_row_text(&scope, 0, 8);
		message->first_id = mj_row_int64(0, 9);
	}
	mj_store_leave(&scope);
	return found;
}

/*
 * Tell by mail; returns the run of the mail.  Raises what jobs.send_mail() does.
 */
int64
mj_alert_queue_mail(const MjAlertMessage *message, const char *address,
					const char *subject)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams again = { 0 };
	int64 run_id = 0;

	mj_store_enter(&scope);
	mj_param_datum(&params, message->message_ids, false);
	mj_param_text(&params, address);
	mj_param_text(&params, subject);
	mj_param_text(&params, message->body);
	mj_store_run(&queue_mail, &params);
	mj_param_int64(&again, mj_row_int64(0, 1));
	if (mj_store_run(&run_of_mail, &again) > 0)
		run_id = mj_row_int64(0, 1);
	mj_store_leave(&scope);
	return run_id;
}

/* Tell who listens. */
void
mj_alert_notify(const char *channel, const char *payload)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_text(&params, channel);
	mj_param_text(&params, payload);
	mj_store_run(&notify, &params);
	mj_store_leave(&scope);
}

/*
 * Note what became of messages that were new.  run_id: of the mail or request,
 * 0 if there is none; error may be NULL; ended_at: 0 while it is queued.
 */
void
mj_alert_mark(Datum message_ids, const char *state, int64 run_id,
			  const char *error, TimestampTz ended_at)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_datum(&params, message_ids, false);
	mj_param_text(&params, state);
	mj_param_datum(&params, Int64GetDatum(run_id), run_id == 0);
	mj_param_text(&params, error);
	mj_param_time(&params, ended_at);
	mj_store_run(&mark, &params);
	mj_store_leave(&scope);
}

/* Write a downtime down. */
void
mj_alert_add_downtime(const MjDowntime *downtime)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_time(&params, downtime->since);
	mj_param_time(&params, downtime->until);
	mj_param_time(&params, downtime->last_seen);
	mj_param_int32(&params, downtime->jobs);
	mj_param_int64(&params, downtime->instants);
	mj_param_text(&params, downtime->detail);
	mj_store_run(&add_downtime, &params);
	mj_store_leave(&scope);
}

/*
 * Delete alerts, and downtimes, that ended before an instant; returns how many
 * alerts, <= limit.
 */
int64
mj_alert_prune(TimestampTz before, int limit)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams again = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, before);
	mj_param_int64(&params, limit);
	n = (int64) mj_store_run(&prune, &params);
	mj_param_time(&again, before);
	mj_store_run(&prune_downtimes, &again);
	mj_store_leave(&scope);
	return n;
}

/* Is there a rule of that name, and of which kind? */
bool
mj_alert_rule_find(const char *name, char **kind)
{
	MjScope scope;
	MjParams params = { 0 };
	bool found;

	mj_store_enter(&scope);
	mj_param_text(&params, name);
	found = mj_store_run(&find_rule, &params) > 0;
	if (found)
		*kind = mj_row_text(&scope, 0, 1);
	mj_store_leave(&scope);
	return found;
}

/* Make a rule, or change the one of that name.  A new one needs a kind. */
void
mj_alert_rule_set(const MjAlertRule *rule, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_text(&params, rule->name);
	mj_param_text(&params, rule->kind);
	mj_param_text(&params, rule->job);
	mj_param_text(&params, rule->job_group);
	mj_param_datum(&params, rule->threshold, !rule->has_threshold);
	param_interval(&params, rule->for_interval);
	mj_param_text(&params, rule->severity);
	mj_param_datum(&params, rule->channels, !rule->has_channels);
	mj_param_datum(&params, rule->enabled, !rule->has_enabled);
	param_interval(&params, rule->repeat_interval);
	param_interval(&params, rule->resolve_after);
	mj_param_text(&params, rule->description);
	mj_param_name(&params, rule->role);
	mj_param_time(&params, now);
	mj_store_run(&set_rule, &params);
	mj_store_leave(&scope);
}

/* Delete what was set of a rule; false: nothing was. */
bool
mj_alert_rule_delete(const char *name)
{
	MjScope scope;
	MjParams params = { 0 };
	bool deleted;

	mj_store_enter(&scope);
	mj_param_text(&params, name);
	deleted = mj_store_run(&delete_rule, &params) > 0;
	mj_store_leave(&scope);
	return deleted;
}

/* Note who knows of an open alert. */
MjAcknowledged
mj_alert_acknowledge(int64 alert_id, const char *role, const char *note,
					 TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };
	MjParams again = { 0 };
	MjAcknowledged result = MJ_ACKNOWLEDGED;

	mj_store_enter(&scope);
	mj_param_int64(&params, alert_id);
	mj_param_name(&params, role);
	mj_param_text(&params, note);
	mj_param_time(&params, now);
	mj_param_int64(&again, alert_id);
	if (mj_store_run(&acknowledge, &params) == 0)
		result = mj_store_run(&find_alert, &again) > 0 ?
			MJ_ACKNOWLEDGED_ALREADY :
			MJ_ACKNOWLEDGED_NOTHING;
	mj_store_leave(&scope);
	return result;
}

/*
 * The critical alerts that are open, also those that somebody knows of, a line
 * each, palloc'ed; NULL: there are none.
 */
char *
mj_alert_critical(void)
{
	MjScope scope;
	char *text = NULL;

	mj_store_enter(&scope);
	if (mj_store_run(&critical, NULL) > 0)
		text = mj_row_text(&scope, 0, 1);
	mj_store_leave(&scope);
	return text;
}

/*
 * How many messages could not be passed on since an instant; of the last of them
 * the kind of channel, and why, if there is one.
 */
int64
mj_alert_failures(TimestampTz since, char **kind, char **error)
{
	MjScope scope;
	MjParams params = { 0 };
	int64 n;

	mj_store_enter(&scope);
	mj_param_time(&params, since);
	mj_store_run(&failures, &params);
	n = mj_row_int64(0, 1);
	*kind = mj_row_text(&scope, 0, 2);
	*error = mj_row_text(&scope, 0, 3);
	mj_store_leave(&scope);
	return n;
}

/* Note how many batches of a portal the job of a run found waiting. */
void
mj_alert_note_backlog(int64 run_id, int64 pending, TimestampTz now)
{
	MjScope scope;
	MjParams params = { 0 };

	mj_store_enter(&scope);
	mj_param_int64(&params, run_id);
	mj_param_int64(&params, pending);
	mj_param_time(&params, now);
	mj_store_run(&note_backlog, &params);
	mj_store_leave(&scope);
}
