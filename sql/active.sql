-- What a job may ask and say of its own run, outside of one; and who sees what
-- of jobs.active and of notices.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE ROLE regress_mj_viewer LOGIN;
CREATE ROLE regress_mj_alice LOGIN;
CREATE ROLE regress_mj_bob LOGIN;
CREATE ROLE regress_mj_mailer LOGIN;
SELECT jobs.grant_usage('regress_mj_viewer', 'viewer');
SELECT jobs.grant_usage('regress_mj_alice', 'user');
SELECT jobs.grant_usage('regress_mj_bob', 'user');
SELECT jobs.grant_usage('regress_mj_mailer', 'mailer');

-- outside of a run there is nothing, and nothing is done
SELECT jobs.current_run_id(), jobs.current_args();
SELECT jobs.progress(1);
SELECT jobs.progress(done => 1, total => 2, note => 'half');
SELECT count(*) FROM jobs.worker_slots() WHERE run_id IS NULL;
SET ROLE regress_mj_mailer;
SELECT jobs.progress(1, 2), jobs.current_run_id(), jobs.current_args();
RESET ROLE;

-- but what makes no sense is told
\set VERBOSITY sqlstate
SELECT jobs.progress(NULL);
SELECT jobs.progress(-1);
SELECT jobs.progress(1, -1);
\set VERBOSITY terse
SELECT jobs.progress(NULL, 2);
SELECT jobs.progress(-1, 2);
SELECT jobs.progress(1, -2);

-- the views, on rows that are never committed
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'jobs.active'::regclass AND attnum > 0;
BEGIN;
SELECT jobs.schedule('alices', NULL, 'SELECT 1', role => 'regress_mj_alice', job_group => 'g') > 0 AS ok;
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, attempt, worker_id, pid, started_at)
SELECT 1000000, job_id, 'regress_mj_alice'::regrole::oid, 'running', now(), now(), 'manual', 2, 1, 7, jobs.clock() - interval '1 minute'
FROM jobs.job WHERE name = 'alices';
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, attempt)
SELECT 1000001, job_id, 'regress_mj_alice'::regrole::oid, 'waiting', now(), now(), 'manual', 0
FROM jobs.job WHERE name = 'alices';
INSERT INTO jobs.queue (run_id, job_id, lane, state, run_at, due_at, trigger, attempt, worker_id, pid, started_at)
VALUES (1000002, 0, 0, 'running', now(), now(), 'queue', 1, 2, 8, jobs.clock());
INSERT INTO jobs.mail (run_id, role, role_oid, recipient, subject, body_text, message_id, created_at)
VALUES (1000002, 'regress_mj_mailer', 'regress_mj_mailer'::regrole, 'a@example.com', 's', 'b', 'm', now());
SELECT run_id, job, job_group, trigger, attempt, running_for BETWEEN '1 minute' AND '2 minutes' AS a_minute,
	done, total, percent, note, cancelling, role, pid FROM jobs.active ORDER BY run_id;
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status, notices)
VALUES (1000000, 1, 1, 'alices', 'regress_mj_alice', 'regress_mj_alice'::regrole, 'manual', now(), now(), 'failed', 'NOTICE:  for members');
SET LOCAL ROLE regress_mj_alice;
SELECT run_id, job FROM jobs.active ORDER BY run_id;
SELECT job, status, notices FROM jobs.history ORDER BY run_id, attempt;
SET LOCAL ROLE regress_mj_bob;
SELECT run_id, job FROM jobs.active ORDER BY run_id;
SELECT job, status, notices FROM jobs.history ORDER BY run_id, attempt;
SET LOCAL ROLE regress_mj_viewer;
SELECT run_id, job FROM jobs.active ORDER BY run_id;
SELECT job, status, notices FROM jobs.history WHERE run_id >= 1000000 ORDER BY run_id, attempt;
ROLLBACK;
SET ROLE regress_mj_mailer;
SELECT * FROM jobs.active;
RESET ROLE;

SELECT jobs.revoke_usage('regress_mj_viewer', 'viewer');
SELECT jobs.revoke_usage('regress_mj_alice', 'user');
SELECT jobs.revoke_usage('regress_mj_bob', 'user');
SELECT jobs.revoke_usage('regress_mj_mailer', 'mailer');
DROP ROLE regress_mj_viewer, regress_mj_alice, regress_mj_bob, regress_mj_mailer;
