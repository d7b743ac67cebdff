/*
 * alert.sql -- alerts: rules, what they found, and whom they told
 *
 * The scheduler calls jobs.alert_evaluate() when something has happened, or a
 * decision is due, at most once a minute.  A rule has a kind, and each kind a
 * function that says what holds now; whether that opens an alert, or ends one,
 * is decided in one place for all.  Whom to tell is written down as messages,
 * which the scheduler passes on after the commit, each by itself.
 *
 * All of it runs as the extension's owner, and reads its tables alone: code and
 * tables of users are not touched here.
 */

/* ---- Rules ---- */

CREATE DOMAIN jobs.alert_kind AS text CHECK (VALUE IN ('failures', 'idle', 'long_run', 'lag', 'mail_queue',
	'mail_transport', 'quarantine', 'executors', 'downtime'));
COMMENT ON DOMAIN jobs.alert_kind IS 'what a rule of alerts is about';
CREATE DOMAIN jobs.alert_severity AS text CHECK (VALUE IN ('info', 'warning', 'critical'));
COMMENT ON DOMAIN jobs.alert_severity IS 'how bad an alert is';

CREATE TABLE jobs.alert_rule_shipped (
	name			text PRIMARY KEY,
	kind			jobs.alert_kind NOT NULL,
	job				text,
	job_group		text,
	threshold		numeric NOT NULL DEFAULT 0,
	for_interval	interval NOT NULL DEFAULT '0',
	severity		jobs.alert_severity NOT NULL DEFAULT 'warning',
	channels		text[],
	enabled			boolean NOT NULL DEFAULT true,
	repeat_interval	interval,
	resolve_after	interval NOT NULL DEFAULT '5 minutes',
	description		text
);
COMMENT ON TABLE jobs.alert_rule_shipped IS 'rules of alerts that come with the extension; not dumped, for the extension brings them';

CREATE TABLE jobs.alert_rule_own (
	LIKE jobs.alert_rule_shipped INCLUDING ALL,
	role			name NOT NULL,
	updated_at		timestamptz NOT NULL
);
COMMENT ON TABLE jobs.alert_rule_own IS 'rules of alerts that were made here, or take the place of a shipped one; changed through jobs.set_alert_rule()';
COMMENT ON COLUMN jobs.alert_rule_own.role IS 'who wrote it last';
SELECT pg_catalog.pg_extension_config_dump('jobs.alert_rule_own', '');

INSERT INTO jobs.alert_rule_shipped (name, kind, job_group, threshold, for_interval, severity, description) VALUES
	('job_failures', 'failures', NULL, 3, '0', 'critical', 'A job failed three times in a row'),
	('idle_cleanup', 'idle', '*cleanup', 7, '0', 'warning', 'A cleanup has found nothing for a week'),
	('long_run', 'long_run', NULL, 3, '1 minute', 'warning', 'A run takes three times as long as runs of its job usually do'),
	('late_runs', 'lag', NULL, 60, '5 minutes', 'warning', 'Runs have waited for over a minute, for five minutes'),
	('mail_queue', 'mail_queue', NULL, 100, '0', 'warning', 'Over 100 e-mails wait'),
	('mail_queue_full', 'mail_queue', NULL, 1000, '0', 'critical', 'Over 1000 e-mails wait'),
	('mail_paused', 'mail_transport', NULL, 60, '0', 'critical', 'No mail can be sent'),
	('job_quarantined', 'quarantine', NULL, 0, '0', 'critical', 'A job was paused because it kept ending its process'),
	('no_executor', 'executors', NULL, 60, '0', 'warning', 'All worker slots are taken, and runs wait for one'),
	('scheduler_down', 'downtime', NULL, 60, '0', 'critical', 'Nothing was started for a while');

CREATE VIEW jobs.alert_rule WITH (security_barrier) AS
SELECT r.name,
	   r.kind,
	   r.job,
	   r.job_group,
	   r.threshold,
	   r.for_interval,
	   r.severity,
	   CASE WHEN s.operates THEN r.channels
			ELSE ARRAY(SELECT pg_catalog.regexp_replace(c.channel, '^(webhook:[a-z]+://[^/?#]*).+$', '\1/...')
					   FROM pg_catalog.unnest(r.channels) WITH ORDINALITY AS c (channel, nr) ORDER BY c.nr) END AS channels,
	   r.enabled,
	   r.repeat_interval,
	   r.resolve_after,
	   r.description,
	   r.shipped,
	   r.role,
	   r.updated_at
FROM (SELECT o.name, o.kind, o.job, o.job_group, o.threshold, o.for_interval, o.severity, o.channels, o.enabled,
			 o.repeat_interval, o.resolve_after, o.description,
			 EXISTS (SELECT FROM jobs.alert_rule_shipped AS s WHERE s.name = o.name) AS shipped, o.role, o.updated_at
	  FROM jobs.alert_rule_own AS o
	  UNION ALL
	  SELECT s.name, s.kind, s.job, s.job_group, s.threshold, s.for_interval, s.severity, s.channels, s.enabled,
			 s.repeat_interval, s.resolve_after, s.description, true, NULL, NULL
	  FROM jobs.alert_rule_shipped AS s
	  WHERE NOT EXISTS (SELECT FROM jobs.alert_rule_own AS o WHERE o.name = s.name)) AS r
CROSS JOIN (SELECT pg_catalog.has_function_privilege('jobs.operator_level()', 'EXECUTE') AS operates) AS s;
COMMENT ON VIEW jobs.alert_rule IS 'the rules of alerts, shipped ones and own ones';
COMMENT ON COLUMN jobs.alert_rule.kind IS 'failures, idle, long_run, lag, mail_queue, mail_transport, quarantine, executors or downtime';
COMMENT ON COLUMN jobs.alert_rule.job IS 'jobs that it is about, * for any characters; NULL: all';
COMMENT ON COLUMN jobs.alert_rule.job_group IS 'groups of jobs that it is about, * for any characters; NULL: all, and jobs without one';
COMMENT ON COLUMN jobs.alert_rule.threshold IS 'in what kind counts: runs, days, times the usual, seconds, mails';
COMMENT ON COLUMN jobs.alert_rule.for_interval IS 'how long it must hold before an alert opens';
COMMENT ON COLUMN jobs.alert_rule.channels IS 'who is told; NULL: motionify_jobs.alert_channels; the paths of webhooks are shown to operators only';
COMMENT ON COLUMN jobs.alert_rule.repeat_interval IS 'told again so often while an alert is open and not acknowledged; NULL: never';
COMMENT ON COLUMN jobs.alert_rule.resolve_after IS 'how long it must not have held before an alert ends';
COMMENT ON COLUMN jobs.alert_rule.shipped IS 'whether it comes with the extension';
COMMENT ON COLUMN jobs.alert_rule.role IS 'who changed it last; NULL: it is as it was shipped';

/* ---- Alerts ---- */

CREATE TABLE jobs.alert_record (
	alert_id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	rule			text NOT NULL,
	kind			jobs.alert_kind NOT NULL,
	cause			text NOT NULL,
	job				text,
	severity		jobs.alert_severity NOT NULL,
	figure			numeric,
	threshold		numeric,
	detail			text NOT NULL,
	since			timestamptz NOT NULL,
	opened_at		timestamptz,
	cleared_at		timestamptz,
	told_at			timestamptz,
	acknowledged_at	timestamptz,
	acknowledged_by	name,
	note			text,
	resolved_at		timestamptz,
	role			name,
	role_oid		oid
);
COMMENT ON TABLE jobs.alert_record IS 'one row an alert, also one that has yet to open; at most one of a rule and cause is not resolved';
COMMENT ON COLUMN jobs.alert_record.cleared_at IS 'since when it does not hold any more; NULL: it does';
COMMENT ON COLUMN jobs.alert_record.told_at IS 'when the channels were told last that it is open';
COMMENT ON COLUMN jobs.alert_record.role IS 'of the job when it held last, which says who sees it; role_oid: the same';
CREATE UNIQUE INDEX alert_record_live_idx ON jobs.alert_record (rule, cause) WHERE resolved_at IS NULL;
CREATE INDEX alert_record_resolved_at_idx ON jobs.alert_record (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE jobs.alert_message (
	message_id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	alert_id		bigint NOT NULL REFERENCES jobs.alert_record ON DELETE CASCADE,
	event			text NOT NULL CHECK (event IN ('opened', 'repeated', 'resolved')),
	channel			text NOT NULL,
	created_at		timestamptz NOT NULL,
	state			text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'queued', 'sent', 'failed')),
	run_id			bigint,
	error			text,
	ended_at		timestamptz
);
COMMENT ON TABLE jobs.alert_message IS 'one row an alert, event and channel: what becomes of the message';
COMMENT ON COLUMN jobs.alert_message.state IS 'new: to be passed on; queued: it is a mail, or an HTTP request; sent, failed: it has ended here';
COMMENT ON COLUMN jobs.alert_message.run_id IS 'of the mail or request, which may tell of several alerts at once';
CREATE INDEX alert_message_alert_id_idx ON jobs.alert_message (alert_id);
CREATE INDEX alert_message_queued_idx ON jobs.alert_message (run_id) WHERE state = 'queued';
CREATE INDEX alert_message_new_idx ON jobs.alert_message (message_id) WHERE state = 'new';

CREATE TABLE jobs.downtime (
	downtime_id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	since			timestamptz NOT NULL,
	until			timestamptz NOT NULL,
	last_seen_at	timestamptz,
	jobs			integer NOT NULL,
	instants		bigint NOT NULL,
	detail			text NOT NULL
);
COMMENT ON TABLE jobs.downtime IS 'times in which something was due and no scheduler was there; written by the first that was there again';
COMMENT ON COLUMN jobs.downtime.since IS 'first instant that was missed';
COMMENT ON COLUMN jobs.downtime.until IS 'when a scheduler was there again';
COMMENT ON COLUMN jobs.downtime.last_seen_at IS 'when one was at work last';
COMMENT ON COLUMN jobs.downtime.instants IS 'instants of schedules that were missed, of jobs many jobs';
COMMENT ON COLUMN jobs.downtime.detail IS 'how many of which job';

CREATE VIEW jobs.alert WITH (security_barrier) AS
SELECT a.alert_id,
	   a.rule,
	   a.kind,
	   a.cause,
	   a.job,
	   CASE WHEN a.resolved_at IS NOT NULL THEN 'resolved'
			WHEN a.opened_at IS NULL THEN 'pending'
			WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged'
			ELSE 'open' END AS status,
	   a.severity,
	   a.figure,
	   a.threshold,
	   a.detail,
	   a.since,
	   a.opened_at,
	   a.acknowledged_at,
	   a.acknowledged_by,
	   a.note,
	   a.cleared_at,
	   a.resolved_at
FROM jobs.alert_record AS a
WHERE (SELECT jobs.sees_all()) OR a.role IS NOT NULL AND jobs.sees_role(a.role, a.role_oid);
COMMENT ON VIEW jobs.alert IS 'one row an alert: of jobs of the reader''s roles, all for those who see everything';
COMMENT ON COLUMN jobs.alert.cause IS 'what it is about: one alert of a rule and cause is open at a time; evaluation: the rule could not be looked at';
COMMENT ON COLUMN jobs.alert.status IS 'pending: it has not held for for_interval yet; open; acknowledged: open, and somebody knows; resolved';
COMMENT ON COLUMN jobs.alert.figure IS 'what was counted when it held last, against threshold';
COMMENT ON COLUMN jobs.alert.since IS 'since when it holds, as far as is known';
COMMENT ON COLUMN jobs.alert.cleared_at IS 'since when it does not hold any more: resolved when that has been so for resolve_after';

CREATE VIEW jobs.alert_notification WITH (security_barrier) AS
SELECT m.message_id,
	   m.alert_id,
	   a.rule,
	   m.event,
	   CASE WHEN s.operates THEN m.channel
			ELSE pg_catalog.regexp_replace(m.channel, '^(webhook:[a-z]+://[^/?#]*).+$', '\1/...') END AS channel,
	   CASE WHEN m.state = 'new' OR m.state = 'queued' AND q.run_id IS NOT NULL THEN 'queued'
			WHEN m.state <> 'queued' THEN m.state
			WHEN coalesce(e.ended_as, c.ended_as) IN ('sent', 'succeeded') THEN 'sent'
			WHEN coalesce(e.ended_as, c.ended_as) IS NOT NULL THEN 'failed'
			ELSE 'unknown' END AS status,
	   m.created_at,
	   coalesce(e.ended_at, c.ended_at, m.ended_at) AS ended_at,
	   m.run_id,
	   CASE WHEN NOT s.operates THEN NULL
			WHEN m.error IS NOT NULL THEN m.error
			WHEN e.ended_as <> 'sent' THEN coalesce(e.smtp_reply, 'mail ' || e.ended_as)
			WHEN c.ended_as <> 'succeeded' THEN coalesce(c.answer, 'call ' || c.ended_as) END AS error
FROM jobs.alert_message AS m
JOIN jobs.alert AS a ON a.alert_id = m.alert_id
CROSS JOIN (SELECT pg_catalog.has_function_privilege('jobs.operator_level()', 'EXECUTE') AS operates) AS s
LEFT JOIN jobs.queue AS q ON q.run_id = m.run_id
LEFT JOIN jobs.mail AS e ON e.run_id = m.run_id
LEFT JOIN jobs.call AS c ON c.run_id = m.run_id;
COMMENT ON VIEW jobs.alert_notification IS 'one row an alert, event and channel: whether the channel was told';
COMMENT ON COLUMN jobs.alert_notification.event IS 'opened, repeated or resolved';
COMMENT ON COLUMN jobs.alert_notification.status IS 'queued, sent or failed; unknown: it was queued, and its history has been pruned since';
COMMENT ON COLUMN jobs.alert_notification.run_id IS 'of the mail, or the HTTP request; NULL: neither';
COMMENT ON COLUMN jobs.alert_notification.error IS 'why the channel was not told; it may be what its server said, and is shown to operators only';

/* ---- Functions for people ---- */

CREATE FUNCTION jobs.set_alert_rule(
	name			text,
	kind			text DEFAULT NULL,
	job				text DEFAULT NULL,
	job_group		text DEFAULT NULL,
	threshold		numeric DEFAULT NULL,
	for_interval	interval DEFAULT NULL,
	severity		text DEFAULT NULL,
	channels		text[] DEFAULT NULL,
	enabled			boolean DEFAULT NULL,
	repeat_interval	interval DEFAULT NULL,
	resolve_after	interval DEFAULT NULL,
	description		text DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_set_alert_rule';
COMMENT ON FUNCTION jobs.set_alert_rule IS
	'Make a rule of alerts, or change the one of that name: options that are not given keep their value. An empty text or array, and a repeat_interval of 0, take an option away.';

CREATE FUNCTION jobs.drop_alert_rule(name text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_drop_alert_rule';
COMMENT ON FUNCTION jobs.drop_alert_rule(text) IS 'delete a rule of alerts; one that was shipped is again as it was shipped';

CREATE FUNCTION jobs.acknowledge(alert_id bigint, note text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_acknowledge';
COMMENT ON FUNCTION jobs.acknowledge(bigint, text) IS 'say that one knows of an alert: it is not repeated, and ends by itself. False: it is acknowledged, or has ended, already';

CREATE FUNCTION jobs.alert_default_channels() RETURNS text[]
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_api_alert_default_channels';
COMMENT ON FUNCTION jobs.alert_default_channels() IS 'for the alerts: motionify_jobs.alert_channels';

/* ---- The portal's batches ---- */

/*
 * The queue of notifications is the portal's table, and reading it means to run
 * what its owner has made of it: that is for its own job to do, which then says
 * here how many batches there are.
 */
CREATE TABLE jobs.mail_backlog (
	job_id			bigint PRIMARY KEY,
	pending			bigint NOT NULL CHECK (pending >= 0),
	noted_at		timestamptz NOT NULL
);
COMMENT ON TABLE jobs.mail_backlog IS 'portal pack: batches of notifications that wait, by job, as its last run that could look has found them';

CREATE FUNCTION jobs.portal_note_backlog(pending bigint) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_portal_note_backlog';
COMMENT ON FUNCTION jobs.portal_note_backlog(bigint) IS 'portal pack: how many batches wait, for the alerts; of the job at hand, and nothing outside of a job';

/* ---- What holds ---- */

CREATE TYPE jobs.alert_cause AS (
	cause			text,
	job				text,
	figure			numeric,
	since			timestamptz,
	detail			text,
	look_at			timestamptz
);
COMMENT ON TYPE jobs.alert_cause IS 'something that a rule finds';
COMMENT ON COLUMN jobs.alert_cause.cause IS 'NULL: nothing was found, but look_at counts';
COMMENT ON COLUMN jobs.alert_cause.since IS 'since when it holds; in the future: it does not yet; NULL: is not known';
COMMENT ON COLUMN jobs.alert_cause.detail IS 'in words; the first line is a summary';
COMMENT ON COLUMN jobs.alert_cause.look_at IS 'when to look again though nothing has happened; NULL: no need';

CREATE FUNCTION jobs.alert_like(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN replace(regexp_replace(pattern, '([\\%_])', '\\\1', 'g'), '*', '%');
COMMENT ON FUNCTION jobs.alert_like(text) IS 'for the alerts: names that a rule is about, as LIKE has them';

CREATE FUNCTION jobs.alert_time(instant timestamptz) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT to_char(instant AT TIME ZONE z.zone, 'YYYY-MM-DD HH24:MI:SS ') || z.zone
		FROM (SELECT coalesce(nullif(current_setting('motionify_jobs.timezone', true), ''), 'UTC') AS zone) AS z);
COMMENT ON FUNCTION jobs.alert_time(timestamptz) IS 'for the alerts: an instant in words';

/*
 * Runs count once they have ended for good, as the last of their attempts did.  No
 * more attempts are looked at than it takes.
 */
CREATE FUNCTION jobs.alert_streak(job_id bigint, attempts bigint, OUT failures bigint, OUT run_id bigint, OUT looked_at bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH newest AS MATERIALIZED (
		SELECT l.run_id, l.attempt, l.status, l.finished_at
		FROM jobs.run_log AS l
		WHERE l.job_id >= alert_streak.job_id AND l.job_id <= alert_streak.job_id
		ORDER BY l.job_id DESC, l.finished_at DESC
		LIMIT alert_streak.attempts)
	SELECT count(*) FILTER (WHERE r.status IN ('failed', 'timed_out', 'crashed')),
		   (array_agg(r.run_id ORDER BY r.finished_at DESC) FILTER (WHERE r.status IN ('failed', 'timed_out', 'crashed')))[1],
		   (SELECT count(*) FROM newest AS n)
	FROM (SELECT DISTINCT ON (n.run_id) n.run_id, n.status, n.finished_at
		  FROM newest AS n
		  WHERE n.finished_at > coalesce((SELECT max(s.finished_at) FROM newest AS s WHERE s.status = 'succeeded'), '-infinity')
		  ORDER BY n.run_id, n.attempt DESC) AS r
	WHERE (SELECT q.run_id FROM jobs.queue AS q WHERE q.run_id = r.run_id) IS NULL;
END;
COMMENT ON FUNCTION jobs.alert_streak(bigint, bigint) IS
	'for the alerts: how many runs of a job failed in a row, the last of them, and how many attempts were looked at for that';

/*
 * Of each job the last row of its history is looked at, by the index; those that
 * did not succeed are counted, twenty attempts for each run that it takes.
 */
CREATE FUNCTION jobs.alert_of_failures(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text := jobs.alert_like(r.job);
	groups text := jobs.alert_like(r.job_group);
	attempts bigint := least(greatest(20 * r.threshold, 100), 10000);
BEGIN
	RETURN QUERY
	WITH job AS MATERIALIZED (
		SELECT j.job_id, j.name
		FROM jobs.job AS j
		CROSS JOIN LATERAL (
			SELECT l.status
			FROM jobs.run_log AS l
			WHERE l.job_id >= j.job_id AND l.job_id <= j.job_id
			ORDER BY l.job_id DESC, l.finished_at DESC
			LIMIT 1) AS newest
		WHERE newest.status <> 'succeeded'
		  AND (names IS NULL OR j.name LIKE names) AND (groups IS NULL OR j.job_group LIKE groups))
	SELECT j.name, j.name, s.failures::numeric, NULL::timestamptz,
		   format('Job "%s" failed %s%s times in a row', j.name, CASE WHEN s.looked_at >= attempts THEN 'at least ' END, s.failures)
		   || E'\n' || coalesce('The last error: ' || left((
				SELECT l.error FROM jobs.run_log AS l WHERE l.run_id = s.run_id ORDER BY l.attempt DESC LIMIT 1), 500), 'It has no error text.'),
		   NULL::timestamptz
	FROM job AS j
	CROSS JOIN LATERAL jobs.alert_streak(j.job_id, attempts) AS s
	WHERE s.failures >= greatest(r.threshold, 1);
END
$$;
COMMENT ON FUNCTION jobs.alert_of_failures(jobs.alert_rule, timestamptz) IS 'for the alerts: jobs that failed at least threshold times in a row';

CREATE FUNCTION jobs.is_nothing(result text) RETURNS boolean
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_is_nothing';
COMMENT ON FUNCTION jobs.is_nothing(text) IS 'for the alerts and jobs.health(): whether a run with that result found nothing to do';

/*
 * A job that has not run for twice as long is another matter.  At most 20000 runs
 * are looked at: more often than that nobody cleans up.
 */
CREATE FUNCTION jobs.alert_of_idle(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text := jobs.alert_like(r.job);
	groups text := jobs.alert_like(r.job_group);
	period interval := make_interval(secs => r.threshold::double precision * 86400);
	begins timestamptz := moment - 2 * period - interval '1 day';
BEGIN
	RETURN QUERY
	SELECT j.name, j.name, round(extract(epoch FROM moment - idle.since) / 86400, 1), NULL::timestamptz,
		   format(E'Job "%s" has found nothing since %s\nIts last %s runs that succeeded had the result 0.',
				  j.name, jobs.alert_time(idle.since), idle.runs),
		   NULL::timestamptz
	FROM jobs.job AS j
	CROSS JOIN LATERAL (
		SELECT l.result
		FROM jobs.run_log AS l
		WHERE l.job_id >= j.job_id AND l.job_id <= j.job_id AND l.finished_at > begins AND l.status = 'succeeded'
		ORDER BY l.job_id DESC, l.finished_at DESC
		LIMIT 1) AS last
	CROSS JOIN LATERAL (
		SELECT min(n.finished_at) FILTER (WHERE n.others = 0) AS since,
			   max(n.finished_at) FILTER (WHERE n.others = 0) AS last_at,
			   count(*) FILTER (WHERE n.others = 0) AS runs
		FROM (SELECT m.finished_at,
					 count(*) FILTER (WHERE NOT jobs.is_nothing(m.result)) OVER (ORDER BY m.finished_at DESC) AS others
			  FROM (SELECT l.finished_at, l.result
					FROM jobs.run_log AS l
					WHERE l.job_id >= j.job_id AND l.job_id <= j.job_id AND l.finished_at > begins AND l.status = 'succeeded'
					ORDER BY l.job_id DESC, l.finished_at DESC
					LIMIT 20000) AS m) AS n) AS idle
	WHERE (names IS NULL OR j.name LIKE names) AND (groups IS NULL OR j.job_group LIKE groups)
	  AND jobs.is_nothing(last.result)
	  AND idle.since <= moment - period AND idle.last_at > moment - 2 * period;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_idle(jobs.alert_rule, timestamptz) IS 'for the alerts: jobs whose successes have had the result 0 for at least threshold days';

/* Of the last 100 successes, if there are 5. */
CREATE FUNCTION jobs.alert_of_long_run(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text := jobs.alert_like(r.job);
	groups text := jobs.alert_like(r.job_group);
BEGIN
	RETURN QUERY
	SELECT j.name, j.name,
		   round((extract(epoch FROM moment - q.started_at) / greatest(usual.p95, 0.001))::numeric, 1),
		   q.started_at + make_interval(secs => r.threshold::double precision * usual.p95),
		   format(E'A run of job "%s" takes much longer than usual\nRun %s has been at work since %s; of the last %s runs 95 %% took at most %s s.',
				  j.name, q.run_id, jobs.alert_time(q.started_at), usual.runs, round(usual.p95::numeric, 3)),
		   NULL::timestamptz
	FROM (SELECT DISTINCT ON (q.job_id) q.job_id, q.run_id, q.started_at
		  FROM jobs.queue AS q
		  WHERE q.state = 'running' AND q.job_id > 0
		  ORDER BY q.job_id, q.started_at) AS q
	JOIN jobs.job AS j ON j.job_id = q.job_id
	CROSS JOIN LATERAL (
		SELECT count(*) AS runs,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM n.finished_at - n.started_at)::double precision) AS p95
		FROM (SELECT l.started_at, l.finished_at
			  FROM jobs.run_log AS l
			  WHERE l.job_id >= j.job_id AND l.job_id <= j.job_id AND l.status = 'succeeded' AND l.started_at IS NOT NULL
			  ORDER BY l.job_id DESC, l.finished_at DESC
			  LIMIT 100) AS n) AS usual
	WHERE (names IS NULL OR j.name LIKE names) AND (groups IS NULL OR j.job_group LIKE groups)
	  AND usual.runs >= 5;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_long_run(jobs.alert_rule, timestamptz) IS 'for the alerts: jobs of which a run takes over threshold times as long as 95 of 100 did';

/*
 * Of each lane and priority the run that comes first, by its id: what is behind it
 * was asked for later, and has seldom been ready for longer.  Of mail there are
 * other kinds.
 */
CREATE FUNCTION jobs.alert_of_lag(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text := jobs.alert_like(r.job);
	groups text := jobs.alert_like(r.job_group);
BEGIN
	RETURN QUERY
	WITH RECURSIVE head AS (
		(SELECT q.lane, q.priority, q.run_id, q.run_at, q.job_id
		 FROM jobs.queue AS q
		 WHERE q.state = 'ready' AND r.job IS NULL AND r.job_group IS NULL
		 ORDER BY q.lane, q.priority, q.run_id
		 LIMIT 1)
		UNION ALL
		SELECT n.*
		FROM head AS h
		CROSS JOIN LATERAL (
			SELECT q.lane, q.priority, q.run_id, q.run_at, q.job_id
			FROM jobs.queue AS q
			WHERE q.state = 'ready' AND (q.lane, q.priority) > (h.lane, h.priority)
			ORDER BY q.lane, q.priority, q.run_id
			LIMIT 1) AS n),
	waits AS (
		SELECT CASE WHEN h.lane < 0 THEN j.name
					WHEN h.lane = 1 THEN 'http'
					ELSE coalesce('role ' || a.rolname, 'lane ' || h.lane) END AS cause,
			   CASE WHEN h.lane < 0 THEN j.name END AS job,
			   h.run_at, h.run_id
		FROM (SELECT * FROM head LIMIT 1000) AS h
		LEFT JOIN jobs.job AS j ON j.job_id = h.job_id
		LEFT JOIN pg_catalog.pg_roles AS a ON a.oid::bigint = h.lane
		WHERE h.lane <> 0
		UNION ALL
		SELECT j.name, j.name, q.run_at, q.run_id
		FROM jobs.job AS j
		CROSS JOIN LATERAL (
			SELECT q.run_at, q.run_id
			FROM (SELECT q.run_at, q.run_id, q.state
				  FROM jobs.queue AS q
				  WHERE q.job_id = j.job_id AND (q.state IN ('ready', 'running'))
				  LIMIT 1000) AS q
			WHERE q.state = 'ready'
			ORDER BY q.run_at
			LIMIT 1) AS q
		WHERE (r.job IS NOT NULL OR r.job_group IS NOT NULL)
		  AND (names IS NULL OR j.name LIKE names) AND (groups IS NULL OR j.job_group LIKE groups))
	SELECT DISTINCT ON (w.cause) w.cause, w.job, round(extract(epoch FROM moment - w.run_at)),
		   w.run_at + make_interval(secs => r.threshold::double precision),
		   format(E'Runs of %s have waited since %s\nRun %s is the first of them.',
				  CASE WHEN w.job IS NULL THEN w.cause ELSE 'job "' || w.job || '"' END, jobs.alert_time(w.run_at), w.run_id),
		   moment + interval '1 minute'
	FROM waits AS w
	ORDER BY w.cause, w.run_at;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_lag(jobs.alert_rule, timestamptz) IS 'for the alerts: lanes, or jobs, of which a run has been ready for over threshold seconds';

/*
 * As far as counting pays: rows of the queue by each index, up to a limit.  Mails
 * that are planned for later do not wait, those that are tried again do.
 */
CREATE FUNCTION jobs.alert_of_mail_queue(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT 'mail', NULL::text, f.mails + f.batches, NULL::timestamptz,
		   format(E'%s e-mails wait\n%s mails are queued or being sent; %s batches of notifications are pending%s.',
				  f.mails + f.batches, f.mails, f.batches, ' (' || f.by_job || ')'),
		   NULL::timestamptz
	FROM (SELECT (SELECT count(*) FROM (SELECT FROM jobs.queue AS q WHERE q.state = 'ready' AND q.lane = 0 LIMIT 100000) AS q)
				 + (SELECT count(*) FROM jobs.queue AS q WHERE q.state = 'running' AND q.lane = 0)
				 + (SELECT count(*) FROM (SELECT q.lane, q.run_at, q.attempt FROM jobs.queue AS q WHERE q.state = 'waiting' ORDER BY q.run_at LIMIT 20000) AS q
					WHERE q.lane = 0 AND (q.run_at <= moment OR q.attempt > 0)) AS mails,
				 coalesce(sum(b.pending), 0) AS batches,
				 string_agg(j.name || ' ' || b.pending, ', ' ORDER BY b.pending DESC) FILTER (WHERE b.pending > 0) AS by_job
		  FROM jobs.mail_backlog AS b
		  JOIN jobs.job AS j ON j.job_id = b.job_id) AS f
	WHERE f.mails + f.batches > r.threshold;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_mail_queue(jobs.alert_rule, timestamptz) IS 'for the alerts: over threshold mails, and batches of portals, wait';

CREATE FUNCTION jobs.alert_of_mail_transport(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT 'mail', NULL::text, round(extract(epoch FROM moment - t.since)),
		   t.since + make_interval(secs => r.threshold::double precision),
		   format(E'No mail can be sent since %s\n%s', jobs.alert_time(t.since), coalesce(t.reason, 'The reason is not known.')),
		   NULL::timestamptz
	FROM jobs.mail_transport_state AS t
	WHERE t.state = 'paused';
END
$$;
COMMENT ON FUNCTION jobs.alert_of_mail_transport(jobs.alert_rule, timestamptz) IS 'for the alerts: mail has been paused for over threshold seconds';

/* The reason is written by the end of the last crash that a run is granted. */
CREATE FUNCTION jobs.alert_of_quarantine(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text := jobs.alert_like(r.job);
	groups text := jobs.alert_like(r.job_group);
BEGIN
	RETURN QUERY
	SELECT j.name, j.name, 1::numeric, j.paused_at,
		   format(E'Job "%s" is paused: %s\njobs.resume() lets it run again.', j.name, j.pause_reason),
		   NULL::timestamptz
	FROM jobs.job AS j
	JOIN jobs.instance AS i ON i.instance_id = j.origin
	WHERE j.paused_at IS NOT NULL AND j.pause_reason ~ '^run [0-9]+ ended its process'
	  AND (names IS NULL OR j.name LIKE names) AND (groups IS NULL OR j.job_group LIKE groups);
END
$$;
COMMENT ON FUNCTION jobs.alert_of_quarantine(jobs.alert_rule, timestamptz) IS 'for the alerts: jobs that are paused because a run kept ending its process';

CREATE FUNCTION jobs.alert_of_executors(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT 'executors', NULL::text, round(extract(epoch FROM moment - s.starved_since)),
		   s.starved_since + make_interval(secs => r.threshold::double precision),
		   format(E'Runs have waited for a worker slot since %s\n%s of %s executors of the server are at work.',
				  jobs.alert_time(s.starved_since), s.busy, s.max_executors),
		   moment + interval '1 minute'
	FROM jobs.server_state() AS s
	WHERE s.starved_since IS NOT NULL;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_executors(jobs.alert_rule, timestamptz) IS 'for the alerts: a lane has waited for an executor for over threshold seconds';

/* It is over when it is noticed: it counts for ten minutes. */
CREATE FUNCTION jobs.alert_of_downtime(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	SELECT 'scheduler', NULL::text, round(extract(epoch FROM d.until - d.since)), d.until,
		   format(E'Nothing was started for %s, until %s\nThe first instant that was missed was %s%s. Missed: %s (%s).',
				  date_trunc('second', d.until - d.since), jobs.alert_time(d.until), jobs.alert_time(d.since),
				  ', the scheduler was at work last at ' || jobs.alert_time(d.last_seen_at), d.instants, d.detail),
		   d.until + interval '10 minutes'
	FROM jobs.downtime AS d
	WHERE d.until > moment - interval '10 minutes'
	  AND extract(epoch FROM d.until - d.since) > r.threshold
	ORDER BY d.until - d.since DESC
	LIMIT 1;
END
$$;
COMMENT ON FUNCTION jobs.alert_of_downtime(jobs.alert_rule, timestamptz) IS 'for the alerts: no scheduler was there for over threshold seconds, and now one is again';

CREATE FUNCTION jobs.alert_causes(r jobs.alert_rule, moment timestamptz) RETURNS SETOF jobs.alert_cause
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CASE r.kind::text
		WHEN 'failures' THEN RETURN QUERY SELECT * FROM jobs.alert_of_failures(r, moment);
		WHEN 'idle' THEN RETURN QUERY SELECT * FROM jobs.alert_of_idle(r, moment);
		WHEN 'long_run' THEN RETURN QUERY SELECT * FROM jobs.alert_of_long_run(r, moment);
		WHEN 'lag' THEN RETURN QUERY SELECT * FROM jobs.alert_of_lag(r, moment);
		WHEN 'mail_queue' THEN RETURN QUERY SELECT * FROM jobs.alert_of_mail_queue(r, moment);
		WHEN 'mail_transport' THEN RETURN QUERY SELECT * FROM jobs.alert_of_mail_transport(r, moment);
		WHEN 'quarantine' THEN RETURN QUERY SELECT * FROM jobs.alert_of_quarantine(r, moment);
		WHEN 'executors' THEN RETURN QUERY SELECT * FROM jobs.alert_of_executors(r, moment);
		WHEN 'downtime' THEN RETURN QUERY SELECT * FROM jobs.alert_of_downtime(r, moment);
	END CASE;
END
$$;
COMMENT ON FUNCTION jobs.alert_causes(jobs.alert_rule, timestamptz) IS 'for the alerts: what a rule finds';

/* ---- What becomes of it ---- */

CREATE FUNCTION jobs.alert_tell(r jobs.alert_rule, alert_id bigint, event text, moment timestamptz) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO jobs.alert_message (alert_id, event, channel, created_at)
	SELECT alert_tell.alert_id, alert_tell.event, c.channel, moment
	FROM unnest(coalesce((alert_tell.r).channels, jobs.alert_default_channels())) WITH ORDINALITY AS c (channel, nr)
	WHERE c.channel <> 'none'
	GROUP BY c.channel
	ORDER BY min(c.nr);
END;
COMMENT ON FUNCTION jobs.alert_tell(jobs.alert_rule, bigint, text, timestamptz) IS 'for the alerts: has the channels of a rule told';

/*
 * An alert as it is, for this transaction to change; NULL while somebody else
 * changes it: who acknowledges it and does not commit is not waited for.
 */
CREATE FUNCTION jobs.alert_take(alert_id bigint) RETURNS jobs.alert_record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT a FROM jobs.alert_record AS a WHERE a.alert_id = alert_take.alert_id FOR NO KEY UPDATE SKIP LOCKED;
END;
COMMENT ON FUNCTION jobs.alert_take(bigint) IS 'for the alerts: locks one of them';

/*
 * Something holds.  Returns when to decide about it again.
 */
CREATE FUNCTION jobs.alert_hold(r jobs.alert_rule, c jobs.alert_cause, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a jobs.alert_record;
	job_role name;
	job_role_oid oid;
BEGIN
	SELECT j.role, s.role_oid INTO job_role, job_role_oid
	FROM jobs.job AS j LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
	WHERE j.name = c.job;
	SELECT (t).* INTO a FROM (
		SELECT jobs.alert_take(x.alert_id) AS t FROM jobs.alert_record AS x
		WHERE x.rule = r.name AND x.cause = c.cause AND x.resolved_at IS NULL) AS taken;
	IF FOUND AND a.alert_id IS NULL THEN
		RETURN moment + interval '1 minute';
	ELSIF NOT FOUND THEN
		INSERT INTO jobs.alert_record (rule, kind, cause, job, severity, figure, threshold, detail, since, role, role_oid)
		VALUES (r.name, r.kind, c.cause, c.job, r.severity, c.figure, r.threshold, left(c.detail, 2000), coalesce(c.since, moment),
			job_role, job_role_oid)
		RETURNING * INTO a;
	ELSIF (a.figure, a.threshold, a.severity, a.detail, a.cleared_at, a.role, a.role_oid)
		  IS DISTINCT FROM (c.figure, r.threshold, r.severity, left(c.detail, 2000), NULL, job_role, job_role_oid) THEN
		UPDATE jobs.alert_record AS x
		SET figure = c.figure, threshold = r.threshold, severity = r.severity, detail = left(c.detail, 2000), cleared_at = NULL,
			role = job_role, role_oid = job_role_oid
		WHERE x.alert_id = a.alert_id;
	END IF;
	IF a.opened_at IS NULL AND a.since + r.for_interval > moment THEN
		RETURN a.since + r.for_interval;
	ELSIF a.opened_at IS NULL THEN
		UPDATE jobs.alert_record AS x SET opened_at = moment, told_at = moment WHERE x.alert_id = a.alert_id;
		PERFORM jobs.alert_tell(r, a.alert_id, 'opened', moment);
		a.told_at := moment;
	ELSIF a.acknowledged_at IS NULL AND a.told_at + r.repeat_interval <= moment THEN
		UPDATE jobs.alert_record AS x SET told_at = moment WHERE x.alert_id = a.alert_id;
		PERFORM jobs.alert_tell(r, a.alert_id, 'repeated', moment);
		a.told_at := moment;
	END IF;
	RETURN CASE WHEN a.acknowledged_at IS NULL THEN a.told_at + r.repeat_interval END;
END
$$;
COMMENT ON FUNCTION jobs.alert_hold(jobs.alert_rule, jobs.alert_cause, timestamptz) IS 'for the alerts: opens an alert, if it is time, or keeps it open';

/*
 * What does not hold any more ends when that has been so for a while: else a
 * figure about the threshold would open and resolve alerts in turn.  Returns
 * when to decide about it again.
 */
CREATE FUNCTION jobs.alert_release(r jobs.alert_rule, held text[], moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a jobs.alert_record;
	next_at timestamptz;
BEGIN
	FOR a IN SELECT (t).* FROM (
				SELECT jobs.alert_take(x.alert_id) AS t FROM jobs.alert_record AS x
				WHERE x.rule = r.name AND x.resolved_at IS NULL AND x.cause <> ALL (held)) AS taken
	LOOP
		IF a.alert_id IS NULL THEN
			next_at := least(next_at, moment + interval '1 minute');
		ELSIF a.opened_at IS NULL THEN
			DELETE FROM jobs.alert_record AS x WHERE x.alert_id = a.alert_id;
		ELSIF coalesce(a.cleared_at, moment) + r.resolve_after <= moment THEN
			UPDATE jobs.alert_record AS x SET cleared_at = coalesce(x.cleared_at, moment), resolved_at = moment
			WHERE x.alert_id = a.alert_id;
			PERFORM jobs.alert_tell(r, a.alert_id, 'resolved', moment);
		ELSE
			UPDATE jobs.alert_record AS x SET cleared_at = moment
			WHERE x.alert_id = a.alert_id AND x.cleared_at IS NULL;
			next_at := least(next_at, coalesce(a.cleared_at, moment) + r.resolve_after);
		END IF;
	END LOOP;
	RETURN next_at;
END
$$;
COMMENT ON FUNCTION jobs.alert_release(jobs.alert_rule, text[], timestamptz) IS 'for the alerts: ends what a rule does not find any more';

/*
 * A rule that cannot be looked at is something that holds, too; what else is
 * open of it stays as it is.  But what will pass says nothing about a rule: no
 * rule is looked at then, for it may take a second each.  Returns when to decide
 * about it again.
 */
CREATE FUNCTION jobs.alert_judge(r jobs.alert_rule, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c jobs.alert_cause;
	held text[] := '{}';
	next_at timestamptz;
BEGIN
	FOR c IN SELECT * FROM jobs.alert_causes(r, moment) AS x ORDER BY x.cause LIMIT 1000 LOOP
		next_at := least(next_at, c.look_at);
		CONTINUE WHEN c.cause IS NULL;
		IF c.since > moment THEN
			next_at := least(next_at, c.since);
			CONTINUE;
		END IF;
		held := array_append(held, c.cause);
		next_at := least(next_at, jobs.alert_hold(r, c, moment));
	END LOOP;
	RETURN least(next_at, jobs.alert_release(r, held, moment));
EXCEPTION
WHEN lock_not_available OR deadlock_detected OR serialization_failure OR insufficient_resources THEN
	RAISE;
WHEN OTHERS THEN
	r.for_interval := '0';
	r.repeat_interval := NULL;
	PERFORM jobs.alert_hold(r, ROW('evaluation', NULL, NULL, moment,
		format(E'Rule "%s" could not be looked at\n%s', r.name, SQLERRM), NULL)::jobs.alert_cause, moment);
	RETURN moment + interval '1 minute';
END
$$;
COMMENT ON FUNCTION jobs.alert_judge(jobs.alert_rule, timestamptz) IS 'for the alerts: looks at a rule, and opens and ends alerts';

/*
 * Alerts of rules that are switched off, or gone, end without a word.  How mails
 * and requests ended is kept, for they are not, for long.
 */
CREATE FUNCTION jobs.alert_evaluate(moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
DECLARE
	r jobs.alert_rule;
	next_at timestamptz;
BEGIN
	UPDATE jobs.alert_message AS m
	SET state = CASE c.ended_as WHEN 'succeeded' THEN 'sent' ELSE 'failed' END, ended_at = c.ended_at,
		error = CASE WHEN c.ended_as <> 'succeeded' THEN coalesce(c.answer, 'call ' || c.ended_as) END
	FROM jobs.call AS c
	WHERE m.state = 'queued' AND c.run_id = m.run_id AND c.ended_as IS NOT NULL;
	UPDATE jobs.alert_message AS m
	SET state = CASE e.ended_as WHEN 'sent' THEN 'sent' ELSE 'failed' END, ended_at = e.ended_at,
		error = CASE WHEN e.ended_as <> 'sent' THEN coalesce(e.smtp_reply, 'mail ' || e.ended_as) END
	FROM jobs.mail AS e
	WHERE m.state = 'queued' AND e.run_id = m.run_id AND e.ended_as IS NOT NULL;
	DELETE FROM jobs.alert_record AS a
	WHERE a.resolved_at IS NULL AND a.opened_at IS NULL
	  AND NOT EXISTS (SELECT FROM jobs.alert_rule AS x WHERE x.name = a.rule AND x.enabled);
	UPDATE jobs.alert_record AS a SET resolved_at = moment
	WHERE a.alert_id IN (
		SELECT b.alert_id FROM jobs.alert_record AS b
		WHERE b.resolved_at IS NULL
		  AND NOT EXISTS (SELECT FROM jobs.alert_rule AS x WHERE x.name = b.rule AND x.enabled)
		FOR NO KEY UPDATE SKIP LOCKED);
	FOR r IN SELECT * FROM jobs.alert_rule AS x WHERE x.enabled ORDER BY x.name LOOP
		next_at := least(next_at, jobs.alert_judge(r, moment));
	END LOOP;
	IF EXISTS (SELECT FROM jobs.alert_message AS m WHERE m.state = 'new') THEN
		next_at := least(next_at, moment + interval '1 minute');	-- should they not be passed on
	END IF;
	RETURN next_at;
END
$$;
COMMENT ON FUNCTION jobs.alert_evaluate(timestamptz) IS 'for the scheduler: looks at all rules; returns when to look again though nothing has happened, NULL: no need';

/* ---- What is said ---- */

CREATE FUNCTION jobs.alert_text(a jobs.alert_record, event text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN format(E'%s\n\nRule: %s (%s)\nOpened: %s\n%s', (a).detail, (a).rule, (a).severity, jobs.alert_time((a).opened_at),
			  CASE WHEN event = 'resolved' THEN format('Resolved: %s', jobs.alert_time((a).resolved_at))
				   ELSE format('Acknowledge it: SELECT jobs.acknowledge(%s);', (a).alert_id) END);
COMMENT ON FUNCTION jobs.alert_text(jobs.alert_record, text) IS 'for the alerts: one of them, as a mail tells it';

/* Messages of one rule, event and channel are one. */
CREATE FUNCTION jobs.alert_content(message_ids bigint[], OUT severity text, OUT summary text, OUT body text, OUT payload jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT min(a.severity),
		   regexp_replace(left(CASE WHEN count(*) = 1 THEN min(split_part(a.detail, E'\n', 1))
									ELSE format('%s alerts of rule %s', count(*), min(a.rule)) END, 200), '[[:cntrl:]]+', ' ', 'g'),
		   string_agg(jobs.alert_text(a, m.event), E'\n\n----\n\n' ORDER BY m.message_id) FILTER (WHERE m.nr <= 50)
		   || CASE WHEN count(*) > 50 THEN format(E'\n\n----\n\nand %s more', count(*) - 50) ELSE '' END,
		   jsonb_build_object(
				'event', min(m.event), 'rule', min(a.rule), 'kind', min(a.kind), 'severity', min(a.severity),
				'database', current_database(), 'at', min(m.created_at), 'count', count(*),
				'alerts', jsonb_agg(jsonb_build_object(
					'alert_id', a.alert_id, 'cause', a.cause, 'job', a.job, 'figure', a.figure, 'threshold', a.threshold,
					'detail', a.detail, 'since', a.since, 'opened_at', a.opened_at, 'resolved_at', a.resolved_at)
					ORDER BY m.message_id) FILTER (WHERE m.nr <= 50))
	FROM (SELECT x.*, row_number() OVER (ORDER BY x.message_id) AS nr
		  FROM jobs.alert_message AS x
		  WHERE x.message_id = ANY (message_ids)) AS m
	JOIN jobs.alert_record AS a ON a.alert_id = m.alert_id;
END;
COMMENT ON FUNCTION jobs.alert_content(bigint[]) IS 'for the alerts: what messages say, to people and to programs';
