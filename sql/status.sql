-- The views: what they make of the queue and the log.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;

SELECT jobs.schedule('counted', '0 2 29 2 *', 'SELECT 1', 'counts', job_group => 'g') AS job_id \gset

-- a run of some attempts: one line each, "ago" before now, seconds long
CREATE FUNCTION pg_temp.log(run_id bigint, attempt integer, status text, ago interval, seconds integer,
							result text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at, finished_at, status, result)
	SELECT 9000000 + run_id, attempt, j.job_id, j.name, j.job_group, j.role, s.role_oid, 'schedule', c.now - ago - interval '1 s' * (seconds + 1),
		   CASE WHEN status <> 'skipped' THEN c.now - ago - interval '1 s' * seconds END, c.now - ago, status, result
	FROM jobs.job j JOIN jobs.job_state s USING (job_id), jobs.clock() c(now) WHERE j.name = 'counted'
$$;
CREATE TEMP VIEW figures AS
SELECT last_status, last_result, running, runs_24h, failures_24h, success_rate, avg_duration, p95_duration, consecutive_failures
FROM jobs.status WHERE job = 'counted';

-- nothing yet
SELECT * FROM figures;
-- one, before yesterday
SELECT pg_temp.log(1, 1, 'succeeded', '30 h', 10, '7');
SELECT * FROM figures;
-- a run that failed twice and then succeeded is one success
SELECT pg_temp.log(2, 1, 'failed', '20 h', 1);
SELECT pg_temp.log(2, 2, 'timed_out', '19 h', 1);
SELECT pg_temp.log(2, 3, 'succeeded', '18 h', 10, '8');
SELECT * FROM figures;
-- two that failed, one of them twice
SELECT pg_temp.log(3, 1, 'failed', '10 h', 20);
SELECT pg_temp.log(4, 1, 'failed', '9 h', 20);
SELECT pg_temp.log(4, 2, 'crashed', '8 h', 30);
SELECT * FROM figures;
-- what was skipped is no run
SELECT pg_temp.log(5, 0, 'skipped', '7 h', 0);
SELECT * FROM figures;
-- a cancelled run neither succeeded nor failed
SELECT pg_temp.log(6, 1, 'cancelled', '6 h', 40);
SELECT * FROM figures;
-- a run that is still to be tried again has not failed yet
SELECT pg_temp.log(7, 1, 'failed', '5 h', 1);
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, attempt, failures)
SELECT 9000007, job_id, role_oid, 'waiting', 'infinity', jobs.clock(), 'schedule', 1, 1 FROM jobs.job_state WHERE job_id = :job_id;
SELECT * FROM figures;
SELECT run_id, job, state, run_at, attempt, trigger, waits_for FROM jobs.queued;
-- a success ends the streak
SELECT pg_temp.log(8, 1, 'succeeded', '1 h', 10, '9');
SELECT * FROM figures;

-- the history of it
SELECT run_id, attempt, job, job_group, trigger, status, result, lag, duration FROM jobs.history
WHERE run_id > 9000000 ORDER BY run_id, attempt;
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'jobs.history'::regclass AND attnum > 0;
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'jobs.status'::regclass AND attnum > 0;
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'jobs.queued'::regclass AND attnum > 0;

SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql
AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || statement; END $$;
-- a run's history is found by its id, whoever looks
SELECT count(*) > 0 AS by_index FROM pg_temp.plan('SELECT * FROM jobs.history WHERE run_id = 1') p WHERE p ~ 'Index Cond: \(run_id = ';
RESET enable_seqscan;
RESET enable_bitmapscan;

-- the doctor
SELECT check_name FROM jobs.doctor() GROUP BY check_name ORDER BY 1;
SELECT detail FROM jobs.doctor() WHERE check_name = 'failures';
SELECT ok FROM jobs.doctor() WHERE check_name IN ('preloaded', 'enabled', 'primary', 'worker slots', 'origin', 'roles', 'schedules', 'paused', 'groups');

-- history stays when the job goes
SELECT jobs.unschedule('counted');
SELECT count(*) FROM jobs.history WHERE job = 'counted';
SELECT count(*) FROM jobs.queued;
DELETE FROM jobs.run_log WHERE run_id > 9000000;
