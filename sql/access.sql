-- Levels: who may do and see what.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
\set VERBOSITY terse
CREATE ROLE regress_mj_viewer LOGIN;
CREATE ROLE regress_mj_alice LOGIN;
CREATE ROLE regress_mj_bob LOGIN;
CREATE ROLE regress_mj_operator LOGIN;
CREATE ROLE regress_mj_mailer LOGIN;
CREATE ROLE regress_mj_nothing LOGIN;
CREATE ROLE regress_mj_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_mj_root LOGIN SUPERUSER;

-- nothing is everybody's
SELECT n.nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
WHERE n.nspname = 'jobs' AND a.grantee = 0;
SELECT c.relname FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
WHERE c.relnamespace = 'jobs'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND a.grantee = 0;
SELECT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'jobs'::regnamespace AND a.grantee = 0;
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'jobs'::regnamespace AND p.prosecdef;
-- everything is explained, and SQL code pins its search_path
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'jobs'::regnamespace
AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'jobs'::regnamespace AND c.relkind IN ('r', 'v')
AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'jobs'::regnamespace AND l.lanname <> 'c'
AND p.prokind = 'f' AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false);
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'jobs'::regnamespace AND c.relkind = 'v'
AND NOT coalesce(c.reloptions @> '{security_barrier=true}', false);

-- only the owner grants
SET ROLE regress_mj_nothing;
SELECT jobs.grant_usage('regress_mj_nothing', 'operator');
RESET ROLE;
GRANT USAGE ON SCHEMA jobs TO regress_mj_nothing;
GRANT EXECUTE ON FUNCTION jobs.grant_usage TO regress_mj_nothing;
SET ROLE regress_mj_nothing;
SELECT jobs.grant_usage('regress_mj_nothing', 'operator');
RESET ROLE;
REVOKE USAGE ON SCHEMA jobs FROM regress_mj_nothing;
REVOKE EXECUTE ON FUNCTION jobs.grant_usage FROM regress_mj_nothing;

SELECT jobs.grant_usage('regress_mj_viewer', 'viewer');
SELECT jobs.grant_usage('regress_mj_alice', 'user');
SELECT jobs.grant_usage('regress_mj_bob', 'user');
SELECT jobs.grant_usage('regress_mj_operator', 'operator');
SELECT jobs.grant_usage('regress_mj_mailer', 'mailer');

-- what the levels reach; the portal pack and moving from pg_cron go with defining jobs
CREATE TEMP VIEW reach AS
SELECT r.rolname, o.name
FROM pg_roles r, LATERAL (
	SELECT p.proname::text FROM pg_proc p
	WHERE p.pronamespace = 'jobs'::regnamespace AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
	UNION SELECT c.relname FROM pg_class c
	WHERE c.relnamespace = 'jobs'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege(r.oid, c.oid, 'SELECT')) o (name)
WHERE NOT r.rolsuper AND r.rolname LIKE 'regress\_mj\_%' AND o.name !~ 'portal|pg_cron';
SELECT rolname, string_agg(name, ' ' ORDER BY name COLLATE "C") AS reaches FROM reach GROUP BY rolname ORDER BY rolname;
SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_proc p ON has_function_privilege(r.oid, p.oid, 'EXECUTE')
WHERE NOT r.rolsuper AND r.rolname LIKE 'regress\_mj\_%' AND p.pronamespace = 'jobs'::regnamespace AND p.proname ~ 'portal|pg_cron' ORDER BY 1;
-- nobody writes a table
SELECT r.rolname, c.relname FROM pg_roles r JOIN pg_class c ON has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
WHERE NOT r.rolsuper AND r.rolname LIKE 'regress\_mj\_%' AND c.relnamespace = 'jobs'::regnamespace AND c.relkind IN ('r', 'v');

-- users define their own
SET ROLE regress_mj_alice;
SELECT jobs.schedule('alices', '0 2 29 2 *', 'SELECT ''alice''', job_group => 'g') > 0 AS ok;
SELECT jobs.schedule('bobs', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_bob');
SET ROLE regress_mj_bob;
SELECT jobs.schedule('bobs', '0 2 29 2 *', 'SELECT ''bob''', job_group => 'g') > 0 AS ok;
SELECT jobs.schedule('alices', '0 2 29 2 *', 'SELECT ''bob''');
SELECT jobs.schedule('alices', '0 2 29 2 *', 'SELECT ''bob''', role => 'regress_mj_bob');
SELECT jobs.reschedule('alices', '* * * * *');
SELECT jobs.unschedule('alices');
SELECT jobs.pause('alices');
SELECT jobs.resume('alices');
SELECT jobs.pause_group('g');
SELECT jobs.resume_group('g');
SELECT jobs.pause_all();
SELECT jobs.reload();
SELECT jobs.adopt();
SELECT * FROM jobs.doctor();
SELECT job FROM jobs.status ORDER BY job;
SELECT command FROM jobs.job;
RESET ROLE;
SELECT name, role, schedule, paused_at IS NOT NULL AS paused FROM jobs.job ORDER BY name;

-- operators operate any job and define none
SET ROLE regress_mj_operator;
SELECT job FROM jobs.status ORDER BY job;
SELECT jobs.pause('alices');
SELECT jobs.resume('alices');
SELECT jobs.pause_group('g');
SELECT jobs.resume_all();
SELECT jobs.schedule('mine', '0 2 29 2 *', 'SELECT 1');
SELECT jobs.unschedule('alices');
SELECT count(*) > 5 AS ok FROM jobs.doctor();
RESET ROLE;

-- a member of the role defines, too
GRANT regress_mj_alice TO regress_mj_bob;
SET ROLE regress_mj_bob;
SELECT jobs.schedule('alices', '0 3 29 2 *', 'SELECT ''both''') > 0 AS ok;
SELECT jobs.schedule('bobs', '0 3 29 2 *', 'SELECT 1', role => 'regress_mj_alice') > 0 AS ok;
SELECT jobs.schedule('bobs', '0 3 29 2 *', 'SELECT 1', role => 'regress_mj_bob') > 0 AS ok;
RESET ROLE;
REVOKE regress_mj_alice FROM regress_mj_bob;
SELECT name, role FROM jobs.job ORDER BY name;

-- superusers' jobs
SET ROLE regress_mj_alice;
SELECT jobs.schedule('root', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_root');
RESET ROLE;
GRANT regress_mj_root TO regress_mj_alice;
SET ROLE regress_mj_alice;
SELECT jobs.schedule('root', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_root');
RESET ROLE;
SELECT count(*) FROM jobs.job WHERE name = 'root';
SELECT jobs.schedule('root', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_root') > 0 AS ok;
REVOKE regress_mj_root FROM regress_mj_alice;
SELECT jobs.unschedule('root');

-- history: whose rows, and what of them
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, started_at, finished_at, status, result, error, error_context)
SELECT 9000000 + j.job_id, 1, j.job_id, j.name, j.role, s.role_oid, 'manual', jobs.clock(), jobs.clock(), jobs.clock(), 'failed', 'result', 'error', 'SQL statement "' || j.command || '"'
FROM jobs.job j JOIN jobs.job_state s USING (job_id);
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status)
VALUES (8999999, 0, 0, 'old', 'regress_mj_dropped', 1, 'manual', jobs.clock(), jobs.clock(), 'failed');
-- a namesake made later sees nothing of what ran as the dropped role
CREATE ROLE regress_mj_dropped;
SELECT jobs.grant_usage('regress_mj_dropped', 'user');
SET ROLE regress_mj_dropped;
SELECT job FROM jobs.history;
RESET ROLE;
SELECT jobs.revoke_usage('regress_mj_dropped', 'user');
DROP ROLE regress_mj_dropped;
SET ROLE regress_mj_alice;
SELECT job, role, error, error_context FROM jobs.history ORDER BY run_id;
SET ROLE regress_mj_viewer;
SELECT job, role, error, error_context FROM jobs.history ORDER BY run_id;
SELECT job FROM jobs.status ORDER BY job;
SELECT jobs.pause('alices');
SELECT command FROM jobs.job;
SET ROLE regress_mj_operator;
SELECT job, role, error, error_context FROM jobs.history ORDER BY run_id;
SET ROLE regress_mj_monitor;
SELECT job, role, error, error_context FROM jobs.history ORDER BY run_id;
SET ROLE regress_mj_mailer;
SELECT job FROM jobs.history;
SELECT count(*) FROM jobs.outbox;
SET ROLE regress_mj_nothing;
SELECT job FROM jobs.history;
RESET ROLE;
-- a function that leaks what it sees is not shown others' rows
CREATE FUNCTION public.regress_mj_leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
AS $$ BEGIN RAISE NOTICE 'seen: %', value; RETURN true; END $$;
SET ROLE regress_mj_alice;
SELECT count(*) FROM jobs.history WHERE public.regress_mj_leak(job);
SELECT count(*) FROM jobs.status WHERE public.regress_mj_leak(job);
RESET ROLE;
DROP FUNCTION public.regress_mj_leak;

-- one level goes, what the other needs stays
SELECT jobs.grant_usage('regress_mj_viewer', 'user');
SELECT jobs.revoke_usage('regress_mj_viewer', 'viewer');
SELECT name FROM reach WHERE rolname = 'regress_mj_viewer'
EXCEPT SELECT name FROM reach WHERE rolname = 'regress_mj_alice';
SELECT name FROM reach WHERE rolname = 'regress_mj_alice'
EXCEPT SELECT name FROM reach WHERE rolname = 'regress_mj_viewer';
SET ROLE regress_mj_viewer;
SELECT count(*) FROM jobs.history;
RESET ROLE;

DO $$ BEGIN PERFORM jobs.unschedule(job) FROM jobs.status; END $$;
DELETE FROM jobs.run_log WHERE run_id BETWEEN 8999999 AND 9999999;
SELECT jobs.revoke_usage('regress_mj_viewer', 'user');
SELECT jobs.revoke_usage('regress_mj_alice', 'user');
SELECT jobs.revoke_usage('regress_mj_bob', 'user');
SELECT jobs.revoke_usage('regress_mj_operator', 'operator');
SELECT jobs.revoke_usage('regress_mj_mailer', 'mailer');
-- nothing is left, or a role could not be dropped
DROP ROLE regress_mj_viewer, regress_mj_alice, regress_mj_bob, regress_mj_operator, regress_mj_mailer, regress_mj_nothing, regress_mj_monitor, regress_mj_root;
