-- External jobs and what their workers may say, on rows that are never committed.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
SET application_name = 'regress';
\set VERBOSITY terse
CREATE ROLE regress_mj_app;
CREATE ROLE regress_mj_worker LOGIN IN ROLE regress_mj_app;
CREATE ROLE regress_mj_other LOGIN;
SELECT jobs.grant_usage('regress_mj_worker', 'user');
SELECT jobs.grant_usage('regress_mj_other', 'user');

-- definitions
SELECT jobs.schedule('resize', NULL, handler => 'external', role => 'regress_mj_app', overlap => 'allow', max_attempts => 3) > 0 AS ok;
SELECT handler, command = '' AS empty FROM jobs.job WHERE name = 'resize';
SELECT handler, in_words, why_not FROM jobs.status WHERE job = 'resize';
SELECT jobs.schedule('resize', '* * * * *', '') > 0 AS ok;
SELECT jobs.schedule('resize', NULL) > 0 AS ok;
SELECT jobs.schedule('resize', NULL, 'SELECT 1');
SELECT jobs.schedule('resize', NULL, handler => 'sql');
SELECT jobs.schedule('other', NULL, handler => 'soap');
SELECT jobs.schedule('inside', NULL, 'SELECT 1') > 0 AS ok;
SELECT jobs.channel('resize') = 'motionify_jobs_' || job_id AS ok FROM jobs.job WHERE name = 'resize';

-- what is wrong
SELECT jobs.claim('inside');
SELECT jobs.channel('inside');
SELECT jobs.claim('resiz');
SELECT jobs.claim(NULL);
SELECT jobs.claim('resize', 0);
SELECT jobs.claim('resize', lease => '-1 s');
SELECT jobs.heartbeat('00000000-0000-0000-0000-000000000000');
SELECT jobs.heartbeat('00000000-0000-0000-0000-000000000000', lease => '0 s');
SELECT jobs.heartbeat('00000000-0000-0000-0000-000000000000', total => -1);
SELECT jobs.complete('00000000-0000-0000-0000-000000000000');
SELECT jobs.complete(NULL);
SELECT jobs.fail('00000000-0000-0000-0000-000000000000', 'x');
SELECT jobs.fail('00000000-0000-0000-0000-000000000000', NULL);
SELECT jobs.fail('00000000-0000-0000-0000-000000000000', 'x', sqlstate => 'no');
SELECT jobs.release('00000000-0000-0000-0000-000000000000');

-- a run, from ready to its end
BEGIN;
INSERT INTO jobs.queue (run_id, job_id, lane, state, priority, run_at, due_at, trigger, args)
SELECT 1000000 + n, job_id, -job_id, 'ready', 5 - n, now(), now(), 'manual', jsonb_build_object('n', n)
FROM jobs.job, generate_series(1, 4) n WHERE name = 'resize';
SELECT run_id, state, waits_for, role FROM jobs.queued ORDER BY run_id;
CREATE TEMP TABLE claimed AS SELECT * FROM jobs.claim('resize', 2, '10 minutes');
SELECT run_id, job, args, attempt, priority, failures, max_attempts FROM claimed;
INSERT INTO claimed SELECT * FROM jobs.claim('resize', worker => 'anna');
SELECT count(DISTINCT token) AS tokens FROM claimed;
SELECT run_id, job, attempt, lease_until - started_at AS lease, role, pid, worker FROM jobs.active ORDER BY run_id;
SELECT jobs.heartbeat(token, done => 1, total => 3, note => 'first') - jobs.clock() > '9 minutes' AS ok FROM claimed WHERE run_id = 1000004;
SELECT jobs.heartbeat(token, '1 hour', 2, note => '') - jobs.clock() > '59 minutes' AS ok FROM claimed WHERE run_id = 1000004;
SELECT run_id, done, total, percent, note FROM jobs.active ORDER BY run_id;
SELECT jobs.complete(token, '"done"') FROM claimed WHERE run_id = 1000004;
SELECT jobs.fail(token, 'broke', detail => 'at the seam') > jobs.clock() + interval '59 s' AS in_a_minute FROM claimed WHERE run_id = 1000003;
SELECT jobs.release(token) FROM claimed WHERE run_id = 1000002;
SELECT run_id, job, attempt, status, result, sqlstate, error, error_detail, worker FROM jobs.history WHERE job = 'resize' ORDER BY run_id;
SELECT run_id, state, attempt, failures, token, lease_until, worker FROM jobs.queue ORDER BY run_id;
SAVEPOINT lost;
\set VERBOSITY sqlstate
SELECT jobs.complete(token) FROM claimed WHERE run_id = 1000002;
\set VERBOSITY terse
ROLLBACK TO lost;

-- who may
SET LOCAL ROLE regress_mj_worker;
SELECT run_id, attempt FROM jobs.claim('resize');
SELECT run_id FROM jobs.active;
RESET ROLE;
CREATE FUNCTION pg_temp.token() RETURNS uuid LANGUAGE sql AS 'SELECT token FROM jobs.queue WHERE token IS NOT NULL';
SELECT pg_temp.token() AS token \gset
SET LOCAL ROLE regress_mj_other;
SELECT count(*) FROM jobs.active;
SAVEPOINT denied;
SELECT jobs.claim('resize');
ROLLBACK TO denied;
SELECT jobs.heartbeat(:'token');
ROLLBACK TO denied;
SELECT jobs.complete(:'token');
ROLLBACK TO denied;
SELECT jobs.fail(:'token', 'x');
ROLLBACK TO denied;
SELECT jobs.release(:'token');
ROLLBACK TO denied;
ROLLBACK;

SELECT jobs.unschedule('resize');
SELECT jobs.unschedule('inside');
SELECT jobs.revoke_usage('regress_mj_worker', 'user');
SELECT jobs.revoke_usage('regress_mj_other', 'user');
DROP ROLE regress_mj_worker, regress_mj_other, regress_mj_app;
