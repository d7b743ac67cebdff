-- jobs.enqueue() and its like, as far as one session sees them: what they put
-- into the queue, duplicates, rights and errors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
\set SHOW_CONTEXT never
CREATE ROLE regress_mj_alice LOGIN;
CREATE ROLE regress_mj_bob LOGIN;
CREATE ROLE regress_mj_viewer LOGIN;
SELECT jobs.grant_usage('regress_mj_alice', 'user');
SELECT jobs.grant_usage('regress_mj_bob', 'user');
SELECT jobs.grant_usage('regress_mj_viewer', 'viewer');
SELECT count(*) FROM (VALUES
	(jobs.schedule('plain', NULL, 'SELECT 1', role => 'regress_mj_alice')),
	(jobs.schedule('urgent', NULL, 'SELECT 1', priority => -3, role => 'regress_mj_bob')),
	(jobs.schedule('line', NULL, 'SELECT 1', overlap => 'queue')),
	(jobs.schedule('keyed', NULL, 'SELECT 1', concurrency_key => 'k'))) v;
CREATE VIEW pg_temp.queue AS
SELECT j.name AS job, q.state, q.priority, q.gated, q.concurrency_key AS key, q.dedupe_key AS dedupe, q.dedupe_to_end AS to_end,
	q.run_at = q.due_at AND (q.run_at = jobs.clock() OR q.run_at > now() - interval '1 hour' AND q.run_at < now()+ interval '1 second') AS now,
	q.trigger, q.args, q.attempt
FROM jobs.queue q JOIN jobs.job j USING (job_id) ORDER BY q.run_id;

-- what a run is
BEGIN;
SELECT jobs.enqueue('plain') > 0 AS ok;
SELECT jobs.enqueue('plain', '{"a": 1}', priority => 7) > 0 AS ok;
SELECT jobs.enqueue('plain', NULL, '2000-01-01') > 0 AS ok;
SELECT jobs.enqueue('plain', run_at => '2100-01-01') > 0 AS ok;
SELECT jobs.enqueue('urgent') > 0 AS ok;
SELECT jobs.enqueue('urgent', priority => 0) > 0 AS ok;
SELECT jobs.enqueue('line') > 0 AS ok;
SELECT jobs.enqueue('keyed') > 0 AS ok;
SELECT jobs.enqueue('keyed', concurrency_key => 'own') > 0 AS ok;
SELECT jobs.enqueue('plain', concurrency_key => 'own', run_at => '2100-01-01') > 0 AS ok;
SELECT jobs.enqueue('plain', expires_at => '2001-01-01') > 0 AS ok;
SELECT * FROM pg_temp.queue;
SELECT job, state, waits_for, concurrency_key, expires_at FROM jobs.queued ORDER BY run_id;
-- a job that changes takes along what is its own
SELECT jobs.schedule('keyed', NULL, 'SELECT 1', concurrency_key => 'other') > 0 AS ok;
SELECT jobs.schedule('plain', NULL, 'SELECT 1', overlap => 'replace') > 0 AS ok;
SELECT job, state, gated, key FROM pg_temp.queue WHERE job IN ('plain', 'keyed');
ROLLBACK;
SELECT count(*) FROM jobs.queue;

-- many
BEGIN;
SELECT count(*), count(DISTINCT r), min(r) > 0 AS ok FROM jobs.enqueue_many('plain', ARRAY['{"n": 1}', '{"n": 2}', NULL]::jsonb[], priority => 2) r;
SELECT count(*) FROM jobs.enqueue_many('keyed', ARRAY['1', '2']::jsonb[], run_at => '2100-01-01', concurrency_key => 'own');
SELECT count(*) FROM jobs.enqueue_many('plain', '{}');
SELECT job, state, priority, key, args FROM pg_temp.queue;
CREATE TEMP TABLE many ON COMMIT DROP AS
	SELECT * FROM jobs.enqueue_many('plain', ARRAY['10', '11', '12']::jsonb[]) WITH ORDINALITY AS r (run_id, place);
SELECT q.args, place FROM many JOIN jobs.queue q USING (run_id) ORDER BY place;
SELECT array_agg(run_id ORDER BY place) = array_agg(run_id ORDER BY run_id) AS in_order FROM many;
ROLLBACK;

-- duplicates
BEGIN;
SELECT jobs.enqueue('plain', '1', '2100-01-01', dedupe_key => 'a') AS a \gset
SELECT jobs.enqueue('plain', '2', '2100-01-02', 5, dedupe_key => 'a') = :a AS kept;
SELECT jobs.enqueue('plain', '2', dedupe_key => 'b') <> :a AS another_key;
SELECT jobs.enqueue('urgent', '2', dedupe_key => 'a') <> :a AS another_job;
SELECT job, state, priority, dedupe, to_end, args FROM pg_temp.queue;
SELECT jobs.enqueue('plain', '3', '2100-02-01', 5, 'a', on_duplicate => 'push_back') = :a AS pushed_back;
SELECT args, run_at, due_at, priority, state FROM jobs.queue WHERE run_id = :a;
SELECT jobs.enqueue('plain', '4', '2100-01-15', 5, 'a', on_duplicate => 'push_back') = :a AS not_forward;
SELECT args, run_at, due_at, priority, state FROM jobs.queue WHERE run_id = :a;
SELECT jobs.enqueue('plain', '5', '2100-01-01', 5, 'a', on_duplicate => 'replace', dedupe_until => 'end', concurrency_key => 'x') = :a AS replaced;
SELECT args, run_at, priority, state, gated, concurrency_key, dedupe_to_end FROM jobs.queue WHERE run_id = :a;
SELECT jobs.enqueue('plain', '6', dedupe_key => 'a', on_duplicate => 'replace') = :a AS replaced;
SELECT args, run_at < '2100-01-01' AS now, priority, state, gated, concurrency_key, dedupe_to_end FROM jobs.queue WHERE run_id = :a;
SELECT jobs.enqueue('plain', '7', '2100-03-01', dedupe_key => 'a', on_duplicate => 'push_back') = :a AS waits_again;
SELECT args, run_at, state FROM jobs.queue WHERE run_id = :a;
-- one that has started, and keeps its key: nothing changes it
UPDATE jobs.queue SET state = 'running', attempt = 1, dedupe_to_end = true WHERE run_id = :a;
SELECT jobs.enqueue('plain', '8', dedupe_key => 'a', on_duplicate => mode) = :a AS kept
	FROM unnest('{keep,replace,push_back}'::text[]) mode;
SELECT args, state FROM jobs.queue WHERE run_id = :a;
ROLLBACK;

-- who may
SET ROLE regress_mj_alice;
BEGIN;
SELECT jobs.enqueue('plain') > 0 AS ok;
SELECT job, state, role FROM jobs.queued;
ROLLBACK;
SELECT jobs.enqueue('urgent');
SET ROLE regress_mj_bob;
SELECT jobs.enqueue('plain');
SELECT jobs.enqueue_many('plain', '{}');
SET ROLE regress_mj_viewer;
SELECT jobs.enqueue('plain');
RESET ROLE;

-- errors
SELECT jobs.enqueue(NULL);
SELECT jobs.enqueue('plan');
SELECT jobs.enqueue('plain', run_at => 'infinity');
SELECT jobs.enqueue('plain', expires_at => '-infinity');
SELECT jobs.enqueue('plain', dedupe_key => '');
SELECT jobs.enqueue('plain', dedupe_key => repeat('x', 1001));
SELECT jobs.enqueue('plain', concurrency_key => '');
SELECT jobs.enqueue('plain', dedupe_key => 'a', on_duplicate => 'drop');
SELECT jobs.enqueue('plain', dedupe_key => 'a', dedupe_until => 'then');
SELECT jobs.enqueue_many('plain', NULL);
SELECT jobs.enqueue_many(NULL, '{}');
BEGIN READ ONLY;
SELECT jobs.enqueue('plain');
ROLLBACK;
SELECT count(*) FROM jobs.queue;

SELECT jobs.unschedule(job) FROM unnest('{plain,urgent,line,keyed}'::text[]) job;
SELECT jobs.revoke_usage('regress_mj_alice', 'user');
SELECT jobs.revoke_usage('regress_mj_bob', 'user');
SELECT jobs.revoke_usage('regress_mj_viewer', 'viewer');
DROP VIEW pg_temp.queue;
DROP ROLE regress_mj_alice, regress_mj_bob, regress_mj_viewer;
