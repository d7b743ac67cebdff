-- Figures over the history, the queue and the outbox.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;

SELECT jobs.schedule('counted', '0 2 29 2 *', 'SELECT 1', job_group => 'cleanup') AS counted \gset
SELECT jobs.schedule('other', NULL, 'SELECT 1') AS other \gset

-- an attempt: "ago" before now, seconds long, that began a second late
CREATE FUNCTION pg_temp.log(job text, run_id bigint, attempt integer, status text, ago interval, seconds integer,
							result text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at, finished_at, status, result, error)
	SELECT 8000000 + log.run_id, attempt, j.job_id, j.name, j.job_group, j.role, s.role_oid, 'schedule', c.now - ago - interval '1 s' * (seconds + attempt),
		   CASE WHEN status <> 'skipped' THEN c.now - ago - interval '1 s' * seconds END, c.now - ago, status, result,
		   CASE WHEN status <> 'succeeded' THEN status || ' of run ' || log.run_id END
	FROM jobs.job j JOIN jobs.job_state s USING (job_id), jobs.clock() c(now) WHERE j.name = log.job
$$;

-- jobs.statistics: nothing yet; one row all the same
SELECT runs, success_rate, p50_duration, p50_lag FROM jobs.statistics('counted');
SELECT count(pg_temp.log('counted', n, 1, 'succeeded', n * interval '1 minute', n::integer, '0')) AS logged FROM generate_series(1, 100) AS n \gset
SELECT runs, succeeded, attempts, success_rate, avg_duration, p50_duration, p95_duration, p99_duration, p50_lag, p99_lag FROM jobs.statistics('counted');
-- a run that failed twice and then succeeded is one success of three attempts; its retries are not late
SELECT pg_temp.log('counted', 101, 1, 'failed', '3 h', 1), pg_temp.log('counted', 101, 2, 'timed_out', '2 h 50 min', 1), pg_temp.log('counted', 101, 3, 'succeeded', '2 h 40 min', 1, '7');
SELECT pg_temp.log('counted', 102, 1, 'failed', '3 h', 1), pg_temp.log('counted', 103, 1, 'crashed', '3 h', 1), pg_temp.log('counted', 104, 1, 'timed_out', '3 h', 1),
	   pg_temp.log('counted', 105, 1, 'cancelled', '3 h', 1), pg_temp.log('counted', 106, 0, 'skipped', '3 h', 1);
SELECT runs, succeeded, failed, timed_out, crashed, cancelled, skipped, expired, uncertain, attempts, success_rate, p99_lag FROM jobs.statistics('counted');
-- one that waits to be tried again has not ended, wherever one looks
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, attempt, failures)
SELECT 8000102, job_id, role_oid, 'waiting', 'infinity', jobs.clock(), 'schedule', 1, 1 FROM jobs.job_state WHERE job_id = :counted;
SELECT runs, failed, attempts FROM jobs.statistics('counted');
SELECT run_id, status, live, job_id = :counted AS by_id FROM jobs.history WHERE run_id IN (8000101, 8000102, 8000103) ORDER BY run_id, attempt;
-- of all jobs, of another time, of none
SELECT pg_temp.log('other', 201, 1, 'failed', '26 h', 5), pg_temp.log('other', 202, 1, 'failed', '5 h', 5);
SELECT runs, failed FROM jobs.statistics();
SELECT runs, failed, success_rate FROM jobs.statistics('other');
SELECT runs, failed FROM jobs.statistics('other', '2 days');
SELECT runs, failed FROM jobs.statistics('other', NULL, NULL);
SELECT runs FROM jobs.statistics('mail');
SELECT * FROM jobs.statistics('othr');
-- by bucket: whole ones, also those without runs, and what is in them is what there is without
SELECT count(*), sum(runs) = 2 AS all_runs, count(*) FILTER (WHERE runs = 0) AS empty, bool_and(bucket_start = date_trunc('hour', bucket_start)) AS whole
FROM jobs.statistics('other', '30 hours', '1 hour');
SELECT count(*), sum(runs) FROM jobs.statistics('counted', '1 day', '1 day') HAVING count(*) = 2;
SELECT * FROM jobs.statistics('counted', '1 day', '0 s');
-- whatever the zone of the session: clocks have changed in the meantime
SET timezone = 'Europe/Berlin';
SELECT bool_and(bucket_start = date_trunc('day', bucket_start, 'UTC')) AS whole, count(*), sum(runs) = (SELECT runs FROM jobs.statistics('other', '400 days')) AS all_runs
FROM jobs.statistics('other', '400 days', '1 day');
SET timezone = 'UTC';

-- jobs.recent: newest first, by page
SELECT run_id, attempt, job, status, error FROM jobs.recent(max_rows => 100) WHERE run_id > 8000000 LIMIT 3;
SELECT run_id, job, status FROM jobs.recent('other');
SELECT run_id, status FROM jobs.recent('counted', 'failed');
SELECT h.run_id, h.status FROM (SELECT min(finished_at) AS at FROM jobs.recent('counted', max_rows => 100)) AS page, jobs.recent('counted', before => page.at, max_rows => 2) AS h;
SELECT run_id, attempt, status FROM jobs.recent('counted', 'failures');
SELECT count(*) AS later, count(*) FILTER (WHERE h.finished_at < since.at) AS earlier
FROM (SELECT finished_at AS at FROM jobs.recent('counted', max_rows => 3) ORDER BY at LIMIT 1) AS since, jobs.recent('counted', max_rows => 100, since => since.at) AS h;
SELECT h.run_id, h.attempt FROM jobs.recent('counted', max_rows => 1) AS l,
	   jobs.recent('counted', max_rows => 1, before => l.finished_at, before_run_id => l.run_id, before_attempt => l.attempt) AS h;
SELECT * FROM jobs.recent('othr');

-- what jobs.status has of it
SELECT last_success > jobs.clock() - interval '5 minutes' AS last_success, last_duration, last_error, consecutive_failures FROM jobs.status WHERE job = 'counted';
SELECT last_success, last_duration, last_error, consecutive_failures FROM jobs.status WHERE job = 'other';
-- and no more than has been asked for
CREATE FUNCTION pg_temp.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql
AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || statement; END $$;
SELECT count(*) FROM pg_temp.plan('SELECT job, next_run, why_not FROM jobs.status') AS p WHERE p ~ 'job_figures';
SELECT count(*) > 0 FROM pg_temp.plan('SELECT runs_24h FROM jobs.status') AS p WHERE p ~ 'job_figures';

-- jobs.lanes; runs that nobody will take, for their role and jobs are not there
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger)
SELECT 8000300 + n, 0, 4294967295, state, run_at, run_at, 'queue'
FROM (VALUES (1, 'waiting', jobs.clock() + interval '1 h'), (2, 'held', jobs.clock() - interval '1 h'), (3, 'paused', jobs.clock() - interval '1 h'), (4, 'held', jobs.clock())) AS v (n, state, run_at);
SELECT lane, kind, waiting, overdue, paused, held, ready, running, oldest_ready, oldest_overdue, oldest_running FROM jobs.lanes WHERE lane = '4294967295';
DELETE FROM jobs.queue WHERE run_id >= 8000000;

-- jobs.outbox_status
INSERT INTO jobs.mail (run_id, role, role_oid, recipient, subject, message_id, created_at, ended_as, ended_at)
SELECT 8000400 + n, r.rolname, r.oid, 'a@example.com', 's', 'm', jobs.clock() - interval '2 days', status, jobs.clock() - ago
FROM pg_roles r, (VALUES (1, 'sent', interval '1 h'), (2, 'sent', '2 h'), (3, 'failed', '3 h'), (4, 'sent', '25 h')) AS v (n, status, ago) WHERE r.rolname = current_user;
SELECT status, mails, oldest, oldest_due, last_ended > jobs.clock() - interval '3 h' FROM jobs.outbox_status ORDER BY 1;

-- jobs.health: what does not depend on the server
CREATE TEMP VIEW checks AS
SELECT check_name, status, figure, threshold, detail FROM jobs.health() WHERE check_name NOT IN ('launcher', 'scheduler', 'executors', 'alerts');
SELECT * FROM checks;
SELECT pg_temp.log('other', 203, 1, 'failed', '4 h', 5), pg_temp.log('other', 204, 1, 'timed_out', '3 h', 5);
SELECT check_name, status, figure, threshold, detail FROM checks WHERE check_name ~ 'row|dead|failures';
SELECT check_name, status, figure, threshold FROM jobs.health(max_failures => 5) WHERE check_name = 'failures in a row';
SELECT jobs.pause('counted');
-- a cleanup that finds nothing: not before a week has passed
SELECT pg_temp.log('counted', 301, 1, 'succeeded', '8 days', 5, 'DELETE 3');
UPDATE jobs.run_log SET result = '0' WHERE run_id = 8000101 AND attempt = 3;
SELECT check_name, status, replace(detail, current_user, 'me') AS detail FROM checks WHERE check_name ~ 'cleanups|will not';
-- also one of a tenant, of which the prefix is before the group
UPDATE jobs.job SET job_group = 'tenant_a_cleanup' WHERE job_id = :counted;
SELECT check_name, status, detail FROM checks WHERE check_name = 'idle cleanups';
UPDATE jobs.job SET job_group = 'cleanup' WHERE job_id = :counted;
SELECT jobs.resume('counted');
SELECT jobs.schedule('slow one', '0 2 * * *', 'SELECT 1') > 0;
UPDATE jobs.job_state SET last_due_at = jobs.clock() - interval '1 h' WHERE job_id = (SELECT job_id FROM jobs.job WHERE name = 'slow one');
SELECT check_name, status, figure, detail FROM checks WHERE check_name = 'jobs ran';
SELECT jobs.unschedule('slow one');

-- jobs.metrics, and as text
SELECT name, labels, value FROM jobs.metrics WHERE labels ->> 'job_name' = 'counted' AND name !~ 'timestamp' ORDER BY name, labels;
SELECT DISTINCT name, type FROM jobs.metrics ORDER BY 1;
SELECT name FROM jobs.metrics GROUP BY name HAVING count(DISTINCT help) > 1;
CREATE ROLE U&"regress_stats\000Alines";
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger)
SELECT 8000310, 0, oid, 'held', jobs.clock(), jobs.clock(), 'queue' FROM pg_roles WHERE rolname ~ '^regress_stats.lines';
SELECT jobs.schedule('a "job" \ <script>', NULL, 'SELECT 1') AS odd \gset
SELECT line FROM regexp_split_to_table(jobs.metrics_text(), E'\n') AS line WHERE line ~ 'job_paused|EOF|lane="regress.*held';
DELETE FROM jobs.queue WHERE run_id = 8000310;
DROP ROLE U&"regress_stats\000Alines";
SELECT jobs.metrics_text() ~ E'\n# EOF\n$';

-- jobs.top: lines of a hundred columns, whatever is in them
UPDATE jobs.run_log SET error = E'line one\nline two ' || repeat('x', 200) WHERE run_id = 8000204;
SELECT jobs.schedule(repeat('long name ', 8), '0 2 29 2 *', 'SELECT 1') > 0;
SELECT what, job, "time", detail FROM jobs.top(2) WHERE what = 'failed';
SELECT what, job FROM jobs.top(2) WHERE what = 'next';
SELECT max(length(what)) <= 7 AND max(length(job)) <= 30 AND max(length("time")) <= 11 AND max(length(detail)) <= 40 AS fits FROM jobs.top(100);
SELECT jobs.top_time(t) FROM unnest('{-1 s,0.123 s,99.94 s,100 s,99 min,100 min,99 h,100 h,999 d}'::interval[]) AS t;

-- whose figures: who sees nothing, who sees what is its own, who sees all
CREATE ROLE regress_stats_viewer;
CREATE ROLE regress_stats_user LOGIN;
CREATE ROLE regress_stats_none;
SELECT jobs.grant_usage('regress_stats_viewer', 'viewer'), jobs.grant_usage('regress_stats_user', 'user');
SELECT jobs.schedule('of the user', NULL, 'SELECT 2', role => 'regress_stats_user') > 0;
SELECT pg_temp.log('of the user', 500, 1, 'failed', '1 h', 1);
SET ROLE regress_stats_user;
SELECT runs, failed FROM jobs.statistics();
\set VERBOSITY terse
SELECT jobs.statistics('counted');
\set VERBOSITY default
SELECT count(*), min(job) FROM jobs.recent();
SELECT * FROM jobs.job_figures(:counted);
SELECT DISTINCT labels ->> 'job_name' FROM jobs.metrics WHERE labels ? 'job_name';
SELECT sum(mails) FROM jobs.outbox_status;
SELECT what, job FROM jobs.top();
SELECT check_name, status, figure FROM jobs.health() WHERE check_name ~ '^failures|^dead|^mail';
SELECT * FROM jobs.run_log;
SET ROLE regress_stats_viewer;
SELECT runs > 100 AS all_runs FROM jobs.statistics();
SELECT count(*) > 100 AS all_runs FROM jobs.recent(max_rows => 1000);
SELECT (SELECT count(*) FROM jobs.metrics) > 50 AND jobs.metrics_text() ~ 'job_name="of the user"' AS all_jobs;
SELECT sum(mails) FROM jobs.outbox_status;
SELECT count(*) FROM jobs.health();
-- no command and no mail, whatever is read
SELECT count(*) FROM jobs.metrics AS m WHERE m::text ~ 'SELECT|example\.com';
SELECT notices, error_context FROM jobs.recent('of the user');
SET ROLE regress_stats_none;
SELECT * FROM jobs.statistics();
RESET ROLE;

SELECT jobs.unschedule(name) FROM jobs.job WHERE name IN ('counted', 'other', 'of the user') OR job_id = :odd OR name ~ '^long name';
DELETE FROM jobs.run_log WHERE run_id > 8000000;
DELETE FROM jobs.mail WHERE run_id > 8000000;
SELECT jobs.revoke_usage('regress_stats_viewer', 'viewer'), jobs.revoke_usage('regress_stats_user', 'user');
DROP ROLE regress_stats_viewer, regress_stats_user, regress_stats_none;
