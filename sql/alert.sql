-- Alerts: rules, what they find, when alerts open and end, who may do what.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
SET motionify_jobs.http_allowed_hosts = 'example.com';

-- what is shipped
SELECT name, kind, job_group, threshold, for_interval, severity, channels, enabled, repeat_interval, resolve_after, role FROM jobs.alert_rule ORDER BY name;

-- bad input
SELECT jobs.set_alert_rule(NULL);
SELECT jobs.set_alert_rule('', 'failures');
SELECT jobs.set_alert_rule(repeat('x', 201), 'failures');
SELECT jobs.set_alert_rule('new');
SELECT jobs.set_alert_rule('new', 'failure');
SELECT jobs.set_alert_rule('new', 'failures', job => 'no such job');
SELECT jobs.set_alert_rule('new', 'mail_queue', job_group => 'cleanup');
SELECT jobs.set_alert_rule('mail_queue', job => 'x*');
SELECT jobs.set_alert_rule('new', 'failures', threshold => -1);
SELECT jobs.set_alert_rule('new', 'failures', threshold => 'NaN');
SELECT jobs.set_alert_rule('new', 'failures', for_interval => '-1 s');
SELECT jobs.set_alert_rule('new', 'failures', repeat_interval => '300000 years');
SELECT jobs.set_alert_rule('new', 'failures', severity => 'fatal');
SELECT jobs.portal_note_backlog(-1);
SELECT jobs.set_alert_rule('new', 'failures', channels => '{log,NULL}');
SELECT jobs.set_alert_rule('new', 'failures', channels => '{logs}');
SELECT jobs.set_alert_rule('new', 'failures', channels => '{mail:nobody}');
SELECT jobs.set_alert_rule('new', 'failures', channels => ARRAY[E'mail:a@example.com\nBcc: b@example.com']);
SELECT jobs.set_alert_rule('new', 'failures', channels => '{webhook:ftp://example.com/}');
SELECT jobs.set_alert_rule('new', 'failures', channels => '{webhook:https://example.com/a b}');
SELECT jobs.set_alert_rule('new', 'failures', channels => '{webhook:https://example.org/}');
SELECT jobs.set_alert_rule('new', 'failures', channels => '{notify:}');
SELECT jobs.set_alert_rule('new', 'failures', channels => array_fill('log'::text, '{21}'));
SELECT jobs.drop_alert_rule(NULL);
SELECT jobs.drop_alert_rule('new');
SELECT jobs.drop_alert_rule('mail_queue');
SELECT jobs.acknowledge(NULL);
SELECT jobs.acknowledge(0);
SET motionify_jobs.alert_channels = 'log, mail';
SET motionify_jobs.alert_channels = 'log, mail:a@';
SET motionify_jobs.alert_channels = 'log, "mail:Ops <ops@example.com>", notify:ops';
SELECT jobs.alert_default_channels();
RESET motionify_jobs.alert_channels;

-- options that are not given stay, and can be taken away
SELECT jobs.set_alert_rule('mail_queue', threshold => 50, channels => '{log,webhook:https://example.com/secret}', repeat_interval => '1 hour');
SELECT jobs.set_alert_rule('mail_queue', severity => 'info');
CREATE TEMP VIEW rule AS SELECT name, kind, threshold, severity, channels, repeat_interval, shipped, role = current_user AS mine FROM jobs.alert_rule;
SELECT * FROM rule WHERE name = 'mail_queue';
SELECT jobs.set_alert_rule('mail_queue', channels => '{}', repeat_interval => '0');
SELECT * FROM rule WHERE name = 'mail_queue';
SELECT jobs.drop_alert_rule('mail_queue');
SELECT * FROM rule WHERE name = 'mail_queue';

-- patterns
SELECT p, jobs.alert_like(p), n, n LIKE jobs.alert_like(p) AS covers FROM (VALUES (NULL, 'a'), ('a', 'a'), ('a', 'ab'), ('a*', 'ab'), ('*b', 'ab'), ('a_', 'ab'), ('a%', 'ab'), ('a\*', 'a\b'), ('*', NULL)) AS v (p, n);

-- The rest is within a transaction, so that the scheduler neither sees it nor
-- has a say: time is what jobs.alert_evaluate() is told.
SELECT jobs.schedule('import', NULL, 'SELECT 1', job_group => 'night') > 0 AS ok;
SELECT jobs.schedule('sweep', NULL, 'SELECT 1', job_group => 'old_cleanup') > 0 AS ok;
BEGIN;
SELECT count(jobs.set_alert_rule(name, enabled => false)) AS off FROM jobs.alert_rule;
CREATE FUNCTION pg_temp.log(job text, nr bigint, status text, finished_at timestamptz, result text DEFAULT NULL, took interval DEFAULT '1 s') RETURNS void
LANGUAGE sql AS $$
	INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at, finished_at, status, result, error)
	SELECT 9000000 + nr, 1, j.job_id, j.name, j.job_group, j.role, s.role_oid, 'schedule', finished_at - took, finished_at - took, finished_at, status, result,
		   CASE WHEN status <> 'succeeded' THEN 'error of run ' || nr END
	FROM jobs.job j JOIN jobs.job_state s USING (job_id) WHERE j.name = log.job
$$;
CREATE FUNCTION pg_temp.look(moment timestamptz, OUT next timestamptz, OUT alerts text, OUT told text) LANGUAGE plpgsql AS $$
BEGIN
	next := jobs.alert_evaluate(moment);
	SELECT string_agg(concat_ws(' ', a.rule, a.cause, a.status, a.severity, a.figure || '/' || a.threshold), ', ' ORDER BY a.alert_id) INTO alerts
	FROM jobs.alert a WHERE a.rule ~ '^t ' AND a.rule IN (SELECT name FROM jobs.alert_rule);
	SELECT string_agg(m.event || ' ' || m.channel, ', ' ORDER BY m.message_id) INTO told
	FROM jobs.alert_message m JOIN jobs.alert a USING (alert_id) WHERE a.rule ~ '^t ' AND m.created_at = moment;
	UPDATE jobs.alert_message SET state = 'sent' WHERE state = 'new';	-- as the scheduler does
END $$;

-- failures: opens at the third, once; ends when it has not held for a while
SELECT jobs.set_alert_rule('t fail', 'failures', 'imp*', threshold => 3, severity => 'critical', channels => '{log,notify:ops}', repeat_interval => '1 hour');
SELECT pg_temp.log('import', 1, 'failed', '2030-01-01 00:00'), pg_temp.log('import', 2, 'timed_out', '2030-01-01 00:01'), pg_temp.log('sweep', 3, 'failed', '2030-01-01 00:00');
SELECT * FROM pg_temp.look('2030-01-01 00:02');
SELECT pg_temp.log('import', 4, 'crashed', '2030-01-01 00:02'), pg_temp.log('import', 5, 'skipped', '2030-01-01 00:03');
SELECT * FROM pg_temp.look('2030-01-01 00:03');
SELECT * FROM pg_temp.look('2030-01-01 00:04');
SELECT pg_temp.log('import', 6, 'failed', '2030-01-01 00:10');
SELECT * FROM pg_temp.look('2030-01-01 01:03');
SELECT job, detail, since, opened_at FROM jobs.alert WHERE rule = 't fail';
-- acknowledged: not repeated
SELECT jobs.acknowledge(alert_id, 'on it') FROM jobs.alert WHERE rule = 't fail';
SELECT jobs.acknowledge(alert_id) FROM jobs.alert WHERE rule = 't fail';
SELECT acknowledged_by = current_user AS by_me, note FROM jobs.alert WHERE rule = 't fail';
SELECT * FROM pg_temp.look('2030-01-01 03:03');
SELECT pg_temp.log('import', 7, 'succeeded', '2030-01-01 04:00');
SELECT * FROM pg_temp.look('2030-01-01 04:00');
-- it does not flap
SELECT pg_temp.log('import', 8, 'failed', '2030-01-01 04:01'), pg_temp.log('import', 9, 'failed', '2030-01-01 04:01:01'), pg_temp.log('import', 10, 'failed', '2030-01-01 04:01:02');
SELECT * FROM pg_temp.look('2030-01-01 04:02');
SELECT pg_temp.log('import', 11, 'succeeded', '2030-01-01 04:03');
SELECT * FROM pg_temp.look('2030-01-01 04:03');
SELECT * FROM pg_temp.look('2030-01-01 04:07:59');
SELECT * FROM pg_temp.look('2030-01-01 04:08');
SELECT jobs.acknowledge(alert_id) FROM jobs.alert WHERE rule = 't fail';
SELECT * FROM pg_temp.look('2030-01-01 04:09');
-- without a threshold it is three times; what never failed is not about it
SELECT jobs.set_alert_rule('t default', 'failures', 'imp*', channels => '{log}');
SELECT threshold FROM jobs.alert_rule WHERE name = 't default';
SELECT jobs.set_alert_rule('t default', threshold => 0);
SELECT pg_temp.log('import', 12, 'skipped', '2030-01-01 04:09');
SELECT * FROM pg_temp.look('2030-01-01 04:10');
SELECT jobs.drop_alert_rule('t default');
-- what fails all the time is counted as far as it takes
SELECT count(pg_temp.log('import', 1000 + n, 'failed', '2030-01-01 04:09:01'::timestamptz + n * interval '1 s')) FROM generate_series(1, 300) n;
SELECT * FROM pg_temp.look('2030-01-01 04:20');
SELECT split_part(detail, E'\n', 1) FROM jobs.alert WHERE rule = 't fail' ORDER BY alert_id DESC LIMIT 1;
DELETE FROM jobs.run_log WHERE job = 'import' AND run_id > 9001000;
SELECT jobs.drop_alert_rule('t fail');

-- for a while: pending before it opens, and forgotten if it ends before
SELECT jobs.set_alert_rule('t mail', 'mail_queue', threshold => 2, for_interval => '10 minutes', channels => '{none}', resolve_after => '0');
INSERT INTO jobs.mail_backlog SELECT job_id, 3, '2030-01-01' FROM jobs.job WHERE name = 'import';
SELECT * FROM pg_temp.look('2030-01-02 00:00');
UPDATE jobs.mail_backlog SET pending = 2;
SELECT * FROM pg_temp.look('2030-01-02 00:01');
UPDATE jobs.mail_backlog SET pending = 1200;
SELECT * FROM pg_temp.look('2030-01-02 00:02');
SELECT * FROM pg_temp.look('2030-01-02 00:12');
SELECT detail FROM jobs.alert WHERE rule = 't mail';
DELETE FROM jobs.mail_backlog;
SELECT * FROM pg_temp.look('2030-01-02 00:13');
SELECT jobs.drop_alert_rule('t mail');

-- idle: a week of zeros, by its history
SELECT jobs.set_alert_rule('t idle', 'idle', job_group => '*cleanup', threshold => 7, channels => '{log}');
DELETE FROM jobs.run_log WHERE job = 'sweep';
SELECT pg_temp.log('sweep', 20, 'succeeded', '2030-02-01 02:00', '4');
SELECT count(pg_temp.log('sweep', 20 + n, 'succeeded', '2030-02-01 02:00'::timestamptz + n * interval '1 day', '0')) FROM generate_series(1, 7) n;
SELECT * FROM pg_temp.look('2030-02-08 02:00');
SELECT pg_temp.log('sweep', 28, 'succeeded', '2030-02-09 02:00', 'DELETE 0');
SELECT * FROM pg_temp.look('2030-02-09 02:00');
SELECT detail FROM jobs.alert WHERE rule = 't idle';
SELECT pg_temp.log('sweep', 29, 'succeeded', '2030-02-10 02:00', '1');
SELECT * FROM pg_temp.look('2030-02-10 02:00');
SELECT jobs.drop_alert_rule('t idle');

-- a run far over its usual duration, and one that waits
SELECT jobs.set_alert_rule('t long', 'long_run', threshold => 3, channels => '{log}');
SELECT count(pg_temp.log('import', 40 + n, 'succeeded', '2030-03-01 00:00'::timestamptz + n * interval '1 h', took => '10 s')) FROM generate_series(1, 5) n;
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, started_at, worker_id)
SELECT 9000050, job_id, role_oid, 'running', 'infinity', '2030-03-02 00:00', 'schedule', '2030-03-02 00:00', 1 FROM jobs.job_state JOIN jobs.job USING (job_id) WHERE name = 'import';
SELECT * FROM pg_temp.look('2030-03-02 00:00:20');
SELECT * FROM pg_temp.look('2030-03-02 00:01:00');
SELECT detail FROM jobs.alert WHERE rule = 't long';
DELETE FROM jobs.queue WHERE run_id = 9000050;
SELECT jobs.drop_alert_rule('t long');
SELECT jobs.set_alert_rule('t lag', 'lag', job_group => 'night', threshold => 60, channels => '{log}');
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger)
SELECT 9000051, job_id, - job_id, 'ready', '2030-03-02 01:00', '2030-03-02 01:00', 'schedule' FROM jobs.job WHERE name = 'import';
SELECT * FROM pg_temp.look('2030-03-02 01:00:30');
SELECT * FROM pg_temp.look('2030-03-02 01:01:00');
SELECT jobs.set_alert_rule('t lag', job_group => '');
SELECT * FROM pg_temp.look('2030-03-02 01:02:00');
DELETE FROM jobs.queue WHERE run_id = 9000051;
SELECT jobs.drop_alert_rule('t lag');

-- mail that is paused, and a job that is
SELECT jobs.set_alert_rule('t mail paused', 'mail_transport', threshold => 60, channels => '{log}');
UPDATE jobs.mail_transport_state SET state = 'paused', since = '2030-04-01 00:00', reason = 'no connection';
SELECT * FROM pg_temp.look('2030-04-01 00:00:30');
SELECT * FROM pg_temp.look('2030-04-01 00:01');
SELECT check_name, status, figure, threshold, detail FROM jobs.health() WHERE check_name = 'mail transport';
SELECT jobs.drop_alert_rule('t mail paused');
SELECT jobs.set_alert_rule('t paused', 'quarantine', channels => '{log}');
SELECT jobs.pause('sweep');
UPDATE jobs.job SET paused_at = '2030-05-01 00:00', pause_reason = 'run 7 ended its process 3 times' WHERE name = 'import';
SELECT * FROM pg_temp.look('2030-05-01 00:01');
SELECT detail FROM jobs.alert WHERE rule = 't paused';
SELECT jobs.drop_alert_rule('t paused');

-- a downtime counts for some minutes
SELECT jobs.set_alert_rule('t down', 'downtime', threshold => 60, channels => '{log}');
INSERT INTO jobs.downtime (since, until, last_seen_at, jobs, instants, detail) VALUES ('2030-06-01 00:00', '2030-06-01 02:30', '2030-05-31 23:59', 2, 151, 'a 150, b 1');
SELECT * FROM pg_temp.look('2030-06-01 02:30');
SELECT detail FROM jobs.alert WHERE rule = 't down';
SELECT * FROM pg_temp.look('2030-06-01 02:40');
SELECT * FROM pg_temp.look('2030-06-01 02:45');
SELECT jobs.drop_alert_rule('t down');

-- a rule that cannot be looked at is something that one is told of, and stops no other
SELECT jobs.set_alert_rule('t bad', 'idle', threshold => 1e300, channels => '{log}');
SELECT jobs.set_alert_rule('t good', 'downtime', threshold => 60, channels => '{log}');
INSERT INTO jobs.downtime (since, until, last_seen_at, jobs, instants, detail) VALUES ('2030-07-01 00:00', '2030-07-01 02:30', NULL, 1, 1, 'a 1');
SELECT * FROM pg_temp.look('2030-07-01 02:30');
SELECT split_part(detail, E'\n', 1) FROM jobs.alert WHERE rule = 't bad';
SELECT jobs.set_alert_rule('t bad', threshold => 1, resolve_after => '0');
SELECT * FROM pg_temp.look('2030-07-01 02:31');

-- what is said, of one and of several
SELECT c.severity, c.summary, regexp_replace(c.body, '\d+\);', 'N);') AS body, c.payload - 'database' - 'alerts' AS payload, c.payload #> '{alerts,0,cause}' AS cause
FROM (SELECT array_agg(m.message_id) AS ids FROM jobs.alert_message m JOIN jobs.alert USING (alert_id) WHERE rule = 't good' AND event = 'opened') m, jobs.alert_content(m.ids) c;
SELECT c.summary, jsonb_array_length(c.payload -> 'alerts') FROM (SELECT array_agg(m.message_id) AS ids FROM jobs.alert_message m JOIN jobs.alert USING (alert_id) WHERE rule ~ '^t ') m, jobs.alert_content(m.ids) c;
ROLLBACK;

-- levels
CREATE ROLE regress_alert_viewer;
CREATE ROLE regress_alert_user LOGIN;
CREATE ROLE regress_alert_operator;
SELECT jobs.grant_usage('regress_alert_viewer', 'viewer'), jobs.grant_usage('regress_alert_user', 'user'), jobs.grant_usage('regress_alert_operator', 'operator');
SELECT jobs.schedule('of the user', NULL, 'SELECT 1', role => 'regress_alert_user') > 0 AS ok;
BEGIN;
SELECT count(jobs.set_alert_rule(name, enabled => false)) AS off FROM jobs.alert_rule;
INSERT INTO jobs.alert_record (rule, kind, cause, job, severity, detail, since, opened_at, role, role_oid)
SELECT 't seen', 'failures', j.name, j.name, 'warning', 'Job failed', '2030-01-01', '2030-01-01', j.role, s.role_oid
FROM jobs.job j JOIN jobs.job_state s USING (job_id) WHERE j.name IN ('of the user', 'import');
-- of a job of somebody else that had the same name
INSERT INTO jobs.alert_record (rule, kind, cause, job, severity, detail, since, opened_at, resolved_at, role, role_oid)
SELECT 't seen', 'failures', 'of the user', 'of the user', 'warning', 'secret', '2029-01-01', '2029-01-01', '2029-01-02', j.role, s.role_oid
FROM jobs.job j JOIN jobs.job_state s USING (job_id) WHERE j.name = 'import';
INSERT INTO jobs.alert_message (alert_id, event, channel, created_at, state, error) SELECT alert_id, 'opened', 'webhook:https://example.com/secret', '2030-01-01', 'failed', 'no' FROM jobs.alert_record WHERE rule = 't seen';
SELECT jobs.set_alert_rule('t seen', 'failures', channels => '{webhook:https://example.com/secret,log}');
SET ROLE regress_alert_viewer;
SELECT cause, status FROM jobs.alert WHERE rule = 't seen' ORDER BY 1, 2;
SELECT channels FROM jobs.alert_rule WHERE name = 't seen';
SELECT DISTINCT channel, status, error FROM jobs.alert_notification WHERE rule = 't seen';
SELECT check_name, status, figure, detail FROM jobs.health() WHERE check_name = 'alert channels';
SAVEPOINT s;
SELECT jobs.set_alert_rule('t seen', threshold => 1);
ROLLBACK TO s;
SELECT jobs.acknowledge(1);
ROLLBACK TO s;
SELECT count(*) FROM jobs.alert_record;
ROLLBACK TO s;
SET ROLE regress_alert_user;
SELECT cause, status FROM jobs.alert WHERE rule = 't seen' ORDER BY 1;
SELECT count(*) FROM jobs.alert_notification WHERE rule = 't seen';
SELECT jobs.drop_alert_rule('t seen');
ROLLBACK TO s;
SET ROLE regress_alert_operator;
SELECT channels FROM jobs.alert_rule WHERE name = 't seen';
SELECT DISTINCT channel FROM jobs.alert_notification WHERE rule = 't seen';
SELECT jobs.acknowledge(alert_id, 'seen') FROM jobs.alert WHERE rule = 't seen' AND cause = 'import';
SELECT status, acknowledged_by, note FROM jobs.alert WHERE rule = 't seen' ORDER BY cause;
SELECT jobs.set_alert_rule('t seen', threshold => 1);
SELECT jobs.drop_alert_rule('t seen');
ROLLBACK;

SELECT jobs.unschedule(name) FROM jobs.job WHERE name IN ('import', 'sweep', 'of the user');
SELECT jobs.revoke_usage('regress_alert_viewer', 'viewer'), jobs.revoke_usage('regress_alert_user', 'user'), jobs.revoke_usage('regress_alert_operator', 'operator');
DROP ROLE regress_alert_viewer, regress_alert_user, regress_alert_operator;
