-- Every error of defining jobs: its code, and that it leaves nothing behind.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
CREATE ROLE regress_mj_nologin NOLOGIN;
CREATE ROLE regress_mj_noconnect LOGIN;
CREATE ROLE regress_mj_user LOGIN;
SELECT jobs.grant_usage('regress_mj_user', 'user');
REVOKE CONNECT ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO regress_mj_user;

-- what a statement comes to
CREATE FUNCTION pg_temp.outcome(statement text, OUT code text, OUT message text,
								OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := '00000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
\x on
\pset format unaligned

-- names
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule(NULL, '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('', '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('   ', '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule(repeat('x', 201), '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule(E'two\nlines', '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('mail', '0 2 29 2 *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', job_group => E'\t')$$);

-- schedules and zones
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '* * * *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '61 * * * *', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', timezone => 'Mars/Olympus')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', NULL, 'SELECT 1', timezone => 'Mars/Olympus')$$);

-- arguments in another order
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('*/5 * * * *', 'my_job', 'SELECT 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('my_job', 'SELECT 1', '*/5 * * * *')$$);

-- commands
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', NULL)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', '')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', ' ; -- nothing ')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELEC 1')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'BEGIN; SELECT 1; COMMIT')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1; SAVEPOINT s')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'COPY t FROM STDIN')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'COPY t TO STDOUT')$$);

-- options
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', overlap => 'sometimes')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', catch_up => 'each')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', timeout => '0')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', timeout => '25 days')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', max_attempts => 0)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', max_attempts => 1001)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', backoff_base => '-1 s')$$);

-- roles
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_nobody')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_nologin')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_noconnect')$$);
SET ROLE regress_mj_user;
SELECT * FROM pg_temp.outcome($$SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1', role => 'regress_mj_noconnect')$$);
RESET ROLE;

-- jobs that are not there
SELECT jobs.schedule('cleanup_removed_team_members', '0 2 29 2 *', 'SELECT 1') > 0 AS ok;
SELECT jobs.schedule('cleanup_expired_sessions', '0 2 29 2 *', 'SELECT 1') > 0 AS ok;
SELECT jobs.schedule('process_email_queue', '0 2 29 2 *', 'SELECT 1') > 0 AS ok;
SELECT * FROM pg_temp.outcome($$SELECT jobs.pause('cleanup-team-members')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.pause('process-emails')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.resume('clenup_expired_session')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.reschedule('cleanup', '0 3 * * *')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.unschedule('invoices')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.pause(NULL)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.pause_group(NULL)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.reschedule('process_email_queue', 'now')$$);
-- a name tells nothing to whom the job is no business of
SET ROLE regress_mj_user;
SELECT * FROM pg_temp.outcome($$SELECT jobs.pause('process-emails')$$);
RESET ROLE;

-- explaining schedules
SELECT * FROM pg_temp.outcome($$SELECT jobs.describe('* * *')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.describe(NULL)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.next_runs('0 2 * * *', 'Mars/Olympus')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.next_runs('0 2 * * *', n => -1)$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.next_runs('0 2 * * *', after => 'infinity')$$);

-- levels
SELECT * FROM pg_temp.outcome($$SELECT jobs.grant_usage('regress_mj_user', 'king')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.grant_usage('regress_mj_nobody', 'viewer')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.grant_usage('public', 'viewer')$$);
SELECT * FROM pg_temp.outcome($$SELECT jobs.grant_usage('regress_mj_user', NULL)$$);

-- where the error of a command is
\x off
\pset format aligned
SELECT jobs.schedule('x', '0 2 29 2 *', 'SELECT 1; SELEC 2');

-- nothing of it is there
SELECT job FROM jobs.status ORDER BY job;
SELECT jobs.unschedule(job) FROM jobs.status;
SELECT count(*) FROM jobs.job_state;

GRANT CONNECT ON DATABASE :"DBNAME" TO PUBLIC;
REVOKE CONNECT ON DATABASE :"DBNAME" FROM regress_mj_user;
SELECT jobs.revoke_usage('regress_mj_user', 'user');
DROP ROLE regress_mj_nologin, regress_mj_noconnect, regress_mj_user;
