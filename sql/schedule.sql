-- Defining jobs, pausing them and explaining schedules.  No job is due before
-- the test ends; what depends on the time of day is compared, not shown.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;

-- a view of what is stored, but for ids and times
CREATE TEMP VIEW definition AS
SELECT j.name, j.schedule, j.timezone, j.command, j.description, j.job_group,
	   j.enabled, j.overlap, j.catch_up, j.timeout, j.max_attempts,
	   j.backoff_base, j.priority, j.version, j.paused_at IS NOT NULL AS paused,
	   s.next_run_at = (SELECT jobs.next_runs(j.schedule, j.timezone, 1)) AS planned,
	   s.role_oid::regrole = j.role::regrole AS role_ok
FROM jobs.job j LEFT JOIN jobs.job_state s USING (job_id);

-- a job with nothing but the necessary
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 1') AS job_id \gset
\x on
SELECT * FROM definition;

-- all options
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 2', 'a description', 'Asia/Kolkata', current_user,
					 'some group', true, 'allow', 'skip', '1 hour', 5, '2 minutes', -3) > 0 AS ok;
SELECT * FROM definition WHERE name = 'full';

-- options that are not given keep their value; the same id; a new version of
-- the command; an empty text takes an option away
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 3', priority => 7, description => '', timezone => '') > 0 AS ok;
SELECT * FROM definition WHERE name = 'full';
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 1') = :job_id AS same_id;
\x off

-- an unchanged schedule keeps next_run_at, a changed schedule or zone does not
UPDATE jobs.job_state SET next_run_at = '2100-01-01 00:00Z' WHERE job_id = :job_id;
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 4', max_attempts => 2) = :job_id AS same_id;
SELECT next_run FROM jobs.status WHERE job = 'plain';
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 4', timezone => 'Europe/Berlin') = :job_id AS same_id;
SELECT planned FROM definition WHERE name = 'plain';
UPDATE jobs.job_state SET next_run_at = '2100-01-01 00:00Z' WHERE job_id = :job_id;
SELECT jobs.reschedule('plain', '0 2 29 2 *');
SELECT next_run FROM jobs.status WHERE job = 'plain';
SELECT jobs.reschedule('plain', '0 3 29 2 *');
SELECT schedule, version, planned FROM definition WHERE name = 'plain';

-- on demand, and back
SELECT jobs.schedule('plain', NULL, 'SELECT 4') = :job_id AS same_id;
SELECT schedule, in_words, timezone, next_run, why_not FROM jobs.status WHERE job = 'plain';
SELECT jobs.reschedule('plain', '0 2 29 2 *');
SELECT schedule, in_words, timezone, why_not FROM jobs.status WHERE job = 'plain';

-- disabled, and enabled again
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 4', enabled => false) = :job_id AS same_id;
SELECT next_run, why_not FROM jobs.status WHERE job = 'plain';
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 4') = :job_id AS same_id;
SELECT next_run, why_not FROM jobs.status WHERE job = 'plain';
SELECT jobs.schedule('plain', '0 2 29 2 *', 'SELECT 4', enabled => true) = :job_id AS same_id;
SELECT planned FROM definition WHERE name = 'plain';

-- a pause has no next run, survives jobs.schedule(), and is harmless twice
SELECT jobs.pause('plain');
SELECT paused_at AS paused_at FROM jobs.job WHERE name = 'plain' \gset
SELECT jobs.pause('plain');
SELECT paused_at = :'paused_at' AS still, pause_reason = 'by role ' || current_user AS reason FROM jobs.job WHERE name = 'plain';
SELECT next_run, paused, replace(why_not, current_user, 'ME') AS why_not FROM jobs.status WHERE job = 'plain';
SELECT jobs.schedule('plain', '0 4 29 2 *', 'SELECT 4') = :job_id AS same_id;
SELECT jobs.reschedule('plain', '0 5 29 2 *');
SELECT next_run, paused FROM jobs.status WHERE job = 'plain';
SELECT jobs.resume('plain');
SELECT jobs.resume('plain');
SELECT schedule, paused, planned FROM definition WHERE name = 'plain';

-- groups
SELECT jobs.schedule('g' || i, '0 2 29 2 *', 'SELECT 1', job_group => 'g') > 0 AS ok FROM generate_series(1, 3) i;
SELECT jobs.pause('g2');
SELECT jobs.pause_group('g');
SELECT job, paused FROM jobs.status WHERE job_group = 'g' ORDER BY job;
SELECT jobs.resume_group('g');
SELECT job, paused, next_run IS NOT NULL AS planned FROM jobs.status WHERE job_group = 'g' ORDER BY job;
SELECT jobs.pause_group('no such group');
SELECT jobs.pause_all();
SELECT jobs.pause_all();
SELECT count(*) FILTER (WHERE paused), count(*) FROM jobs.status;
SELECT jobs.resume_all();
SET motionify_jobs.disabled_groups = 'g, other';
SELECT job, why_not FROM jobs.status WHERE job_group = 'g' ORDER BY job;
SELECT ok, detail, hint FROM jobs.doctor() WHERE check_name = 'groups';
RESET motionify_jobs.disabled_groups;

-- notices on what may not be what was meant
SELECT jobs.schedule('odd', '0 0 30 2 *', 'SELECT 1') > 0 AS ok;
SELECT next_run, why_not FROM jobs.status WHERE job = 'odd';
SELECT jobs.schedule('odd', '@at 2001-01-01 00:00', 'SELECT 1') > 0 AS ok;
SELECT next_run, why_not FROM jobs.status WHERE job = 'odd';
-- said once
SELECT jobs.schedule('odd', '@at 2001-01-01 00:00', 'SELECT 1') > 0 AS ok;

-- the default zone
SET motionify_jobs.timezone = 'Asia/Kolkata';
SELECT timezone FROM jobs.status WHERE job = 'g1';
SELECT * FROM jobs.next_runs('0 2 * * *', after => '2026-01-01 00:00Z', n => 1);
RESET motionify_jobs.timezone;

-- unschedule: the definition, its state and what has not started are gone
INSERT INTO jobs.queue (job_id, lane, state, run_at, due_at, trigger)
SELECT job_id, role_oid, 'waiting', 'infinity', jobs.clock(), 'queue' FROM jobs.job_state WHERE job_id = :job_id;
SELECT job, state, attempt, trigger, waits_for, role = current_user AS mine FROM jobs.queued;
SELECT jobs.unschedule('plain');
SELECT (SELECT count(*) FROM jobs.job WHERE job_id = :job_id) AS jobs,
	   (SELECT count(*) FROM jobs.job_state WHERE job_id = :job_id) AS states,
	   (SELECT count(*) FROM jobs.queue WHERE job_id = :job_id) AS runs;

-- another role takes what waits along
CREATE ROLE regress_mj_other LOGIN;
INSERT INTO jobs.queue (job_id, lane, state, run_at, due_at, trigger)
SELECT s.job_id, s.role_oid, 'waiting', 'infinity', jobs.clock(), 'queue' FROM jobs.job_state s JOIN jobs.job j USING (job_id) WHERE j.name = 'full';
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 3', role => 'regress_mj_other') > 0 AS ok;
SELECT q.lane::oid::regrole, s.role_oid::regrole, j.role FROM jobs.queue q JOIN jobs.job_state s USING (job_id) JOIN jobs.job j USING (job_id);
-- a renamed role keeps its job, a namesake made later does not get it
ALTER ROLE regress_mj_other RENAME TO regress_mj_renamed;
SELECT why_not FROM jobs.status WHERE job = 'full';
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 3') > 0 AS ok;
SELECT role FROM jobs.job WHERE name = 'full';
DROP ROLE regress_mj_renamed;
CREATE ROLE regress_mj_renamed LOGIN;
SELECT why_not FROM jobs.status WHERE job = 'full';
SELECT ok, detail FROM jobs.doctor() WHERE check_name = 'roles';
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 3');
SELECT jobs.schedule('full', '30 4 29 2 *', 'SELECT 3', role => current_user) > 0 AS ok;
SELECT why_not FROM jobs.status WHERE job = 'full';
DROP ROLE regress_mj_renamed;

-- jobs of another origin do not run here before they are adopted
UPDATE jobs.job SET origin = gen_random_uuid() WHERE name LIKE 'g%';
UPDATE jobs.job_state SET next_run_at = '2100-01-01 00:00Z' WHERE job_id = (SELECT job_id FROM jobs.job WHERE name = 'g1');
SELECT jobs.schedule('g1', '0 2 29 2 *', 'SELECT 1') > 0 AS ok;
SELECT job, why_not FROM jobs.status ORDER BY job;
SELECT ok, detail, hint FROM jobs.doctor() WHERE check_name = 'origin';
SELECT jobs.adopt();
SELECT jobs.adopt();
SELECT name, planned FROM definition WHERE name LIKE 'g%' ORDER BY name;
SELECT job, why_not FROM jobs.status ORDER BY job;
-- a copy of the database
UPDATE jobs.instance SET database_oid = 1;
SELECT DISTINCT why_not FROM jobs.status WHERE job LIKE 'g%';
SELECT ok, detail FROM jobs.doctor() WHERE check_name = 'origin';
SELECT jobs.adopt();
SELECT DISTINCT why_not FROM jobs.status WHERE job LIKE 'g%';

-- explaining
SELECT jobs.is_valid('*/5 * * * *'), jobs.is_valid('*/5 * * *'), jobs.is_valid(NULL);
SELECT jobs.describe('0 2 * * *'), jobs.describe('0 2 * * *', 'Asia/Kolkata');
SELECT * FROM jobs.next_runs('0 2 * * *', 'Asia/Kolkata', 3, '2026-01-01 00:00Z');
-- strictly later than after
SELECT * FROM jobs.next_runs('0 2 * * *', after => '2026-01-01 02:00Z', n => 1);
SELECT count(*) FROM jobs.next_runs('* * * * *', n => 0);
SELECT count(*) FROM jobs.next_runs('@at 2001-01-01 00:00');
SELECT min(n) > jobs.clock() AS later_than_now, count(*) FROM jobs.next_runs('* * * * *') n;

-- all changes are the caller's transaction's
BEGIN;
SELECT jobs.schedule('ghost', '0 2 29 2 *', 'SELECT 1') > 0 AS ok;
SELECT jobs.unschedule('g1');
ROLLBACK;
SELECT job FROM jobs.status ORDER BY job;
BEGIN READ ONLY;
SELECT jobs.schedule('ghost', '0 2 29 2 *', 'SELECT 1');
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) FROM jobs.status;
SELECT count(*) FROM jobs.history;
ROLLBACK;

DO $$ BEGIN PERFORM jobs.unschedule(job) FROM jobs.status; END $$;
SELECT count(*) FROM jobs.status;
SELECT count(*) FROM jobs.queue;
