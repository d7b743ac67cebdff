-- Jobs that call a URL: what is kept of them, and what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
\set VERBOSITY terse
SET motionify_jobs.http_allowed_hosts = 'app.example.com, *.example.org:*, [::1]:8080';

-- an http job has a URL, and no command
SELECT jobs.schedule('call', NULL, handler => 'http', url => 'https://app.example.com/x?y=z', method => 'PUT',
	headers => '{"X-A": "1", "x-b": "two words"}', ping_url => 'http://a.example.org:81/ping') > 0 AS ok;
CREATE VIEW pg_temp.called AS SELECT handler, command, url, method, headers, ping_url FROM jobs.job WHERE name = 'call';
SELECT * FROM called;
SELECT handler, why_not FROM jobs.status WHERE job = 'call';
-- what is not given stays, what is empty goes
SELECT jobs.schedule('call', NULL, url => 'http://[::1]:8080/') > 0 AS ok;
SELECT * FROM called;
SELECT jobs.schedule('call', NULL, method => '', headers => '{}', ping_url => '') > 0 AS ok;
SELECT * FROM called;
SELECT jobs.schedule('call', NULL, url => '');
-- an sql job may be told of, and may become one, and back
SELECT jobs.schedule('call', NULL, 'SELECT 1', handler => 'sql', ping_url => 'https://app.example.com/p') > 0 AS ok;
SELECT * FROM called;
SELECT jobs.schedule('call', NULL, handler => 'http');
SELECT jobs.schedule('call', NULL, handler => 'http', url => 'https://app.example.com/') > 0 AS ok;
SELECT * FROM called;
-- what does not go together
SELECT jobs.schedule('call', NULL, group_commit => true);
SELECT jobs.schedule('call', NULL, isolated => true);
SELECT jobs.schedule('call', NULL, handler => 'external', url => 'https://app.example.com/');
SELECT jobs.schedule('told', NULL, 'SELECT 1', group_commit => true, ping_url => 'https://app.example.com/p');
SELECT jobs.schedule('http call', NULL, 'SELECT 1');

-- hosts
SELECT jobs.schedule('other', NULL, handler => 'http', url => u)
FROM unnest(ARRAY['http://app.example.com:8080/']) u;
SELECT jobs.schedule('other', NULL, handler => 'http', url => 'https://example.org/');
SELECT jobs.schedule('other', NULL, handler => 'http', url => 'https://app.example.com:444/');
SELECT jobs.schedule('other', NULL, handler => 'http', url => 'https://app.example.com@evil.example/');
SELECT jobs.schedule('other', NULL, handler => 'http', url => 'https://app.example.com/#x');
SELECT jobs.schedule('other', NULL, handler => 'http', url => 'https://app.example.com/ä');
RESET motionify_jobs.http_allowed_hosts;
SELECT jobs.schedule('call', NULL, url => 'https://app.example.com/other');
-- one that is not allowed any more can be changed otherwise, and says why it will not run
SELECT jobs.schedule('call', NULL, priority => 3) > 0 AS ok;
SELECT why_not FROM jobs.status WHERE job = 'call';
SELECT ok, detail FROM jobs.doctor() WHERE check_name = 'http';

-- settings
SET motionify_jobs.http_allowed_hosts = 'a, b/c';
SET motionify_jobs.http_allowed_hosts = 'a, b:99999';
SET motionify_jobs.ping_url = 'https://user:pw@app.example.com/';
SET motionify_jobs.ping_url = 'mailto:a@example.com';

-- calls of the extension itself are the owner's
SET motionify_jobs.http_allowed_hosts = 'app.example.com';
BEGIN;
SELECT jobs.queue_call('test', 'https://app.example.com/') > 0 AS ok;
SELECT purpose, job, method, host, url, status, attempts, answer FROM jobs.calls;
SELECT job, state, priority FROM jobs.queued WHERE job = 'http call';
SELECT count(*) FROM (SELECT jobs.cancel(run_id) FROM jobs.calls) AS c;
SELECT purpose, status, answer ~ '^cancelled by role' AS says_by_whom FROM jobs.calls;
COMMIT;
SELECT jobs.queue_call('test', 'https://elsewhere.example.com/');
SELECT jobs.queue_call('test', 'https://app.example.com/', method => 'get');
SELECT jobs.queue_call(NULL, 'https://app.example.com/');
CREATE ROLE regress_mj_caller;
GRANT USAGE ON SCHEMA jobs TO regress_mj_caller;
GRANT EXECUTE ON FUNCTION jobs.queue_call TO regress_mj_caller;
SET ROLE regress_mj_caller;
SELECT jobs.queue_call('test', 'https://app.example.com/');
RESET ROLE;

SELECT jobs.unschedule('call');
REVOKE ALL ON SCHEMA jobs FROM regress_mj_caller;
REVOKE ALL ON FUNCTION jobs.queue_call FROM regress_mj_caller;
DROP ROLE regress_mj_caller;
