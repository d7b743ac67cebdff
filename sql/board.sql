-- The board: links and times, what is on its pages, who sees it, what its forms do.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
\set VERBOSITY terse

-- links
SELECT jobs.board_link('overview'), jobs.board_link('jobs', 'q', NULL, 'group', '', 'state', 'paused');
SELECT jobs.board_link('job', 'name', 'a b&c=d/é"<>?#%+''');
-- times: as machines and as people read them, in a zone
SELECT jobs.board_time('2026-03-29 00:59:59.5+00', 'Europe/Berlin', '2026-03-29 01:00:02+00');
SELECT jobs.board_time('2026-01-31 23:30:00+00', 'Asia/Kolkata', '2026-01-31 12:00:00+00') ->> 'short' AS tomorrow,
	   jobs.board_time('2026-02-03 12:00:00+00', 'UTC', '2026-01-31 12:00:00+00') ->> 'ago' AS days,
	   jobs.board_time('2026-01-31 13:00:00+00', 'UTC', '2026-01-31 12:00:00+00') ->> 'ago' AS hour;
SELECT jobs.board_time('infinity', 'UTC', '2026-01-31'), jobs.board_time('2026-01-31', 'Nowhere/Land', '2026-01-31'), jobs.board_time(NULL, 'UTC', '2026-01-31');
SELECT s, jobs.board_span(s) FROM unnest('{0,-1 s,400 us,12 ms,999.6 ms,4.3061 s,59.99 s,60 s,200 s,2 h,25 h 30 min,400 d,1 month,1000000 years}'::interval[]) AS s;
SELECT z, jobs.board_zone(z) FROM unnest('{europe/berlin,Nowhere/Land,5,"",NULL}'::text[]) AS z;
SELECT p.*, jobs.board_number('-1'), jobs.board_number('9999999999999999999') FROM jobs.board_place(jobs.board_key('2026-01-31 12:00:00.123456+00', 7, 2)) AS p;
SELECT k, p.* FROM unnest('{x,1,1.2,99999999999999999.999999999999999999.999999999,1.1.9999999999,NULL}'::text[]) AS k, jobs.board_place(k) AS p;
SELECT length(jobs.board_text(repeat('é', 100000))), right(jobs.board_text(repeat('é', 100007)), 30), jobs.board_text(NULL);

-- what is on a page, when there is nothing
SELECT p AS page, d ? ('page_' || p) AS there, d ->> 'missing' AS missing, length(jobs.board(p)) > 1000 AS html
FROM unnest('{overview,jobs,job,runs,run,timeline,queue,outbox,mail,alerts,nonsense}'::text[]) AS p, jobs.board_data(p) AS d;
-- whatever the parameters are
SELECT length(jobs.board(p, q::jsonb)) > 1000 AS html
FROM unnest('{NULL,jobs,jobs,run,run,runs,queue,outbox,mail,overview,overview}'::text[],
			ARRAY['{}', '[]', '{"q": ["a", 1], "group": {"a": 1}, "after": 7, "state": "x"}', '{"id": "1 OR 1=1"}', '{"id": 99999999999999999999}',
				  '{"status": "nonsense", "before": "x"}', '{"days": "0", "after": "-1", "before": "1e9", "job": "'' -- "}', '{"before": ""}', '{"id": null}',
				  '{"app": 7, "refresh": "x"}', NULL]) AS a (p, q);

CREATE ROLE regress_mj_board_viewer;
CREATE ROLE regress_mj_board_user LOGIN;
CREATE ROLE regress_mj_board_operator;
CREATE ROLE regress_mj_board_mailer;
SELECT jobs.grant_usage('regress_mj_board_viewer', 'viewer'), jobs.grant_usage('regress_mj_board_user', 'user'),
	   jobs.grant_usage('regress_mj_board_operator', 'operator'), jobs.grant_usage('regress_mj_board_mailer', 'mailer');
SELECT jobs.schedule('<script>alert(1)</script>', '0 2 29 2 *', 'SELECT ''secret''', '"><img src=x>', job_group => 'a & b') AS script \gset
SELECT jobs.schedule('plain', NULL, 'SELECT 1') AS plain \gset
SELECT job_id AS plain_id FROM jobs.definition WHERE job = 'plain' \gset
SET ROLE regress_mj_board_user;
SELECT jobs.schedule('own', '0 2 29 2 *', 'SELECT ''mine''') AS own \gset
RESET ROLE;
CREATE FUNCTION pg_temp.log(job text, run_id bigint, attempt integer, status text, error text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at, finished_at, status, result, error, notices, args, sqlstate)
	SELECT 7000000 + log.run_id, attempt, j.job_id, j.name, j.job_group, j.role, s.role_oid, 'schedule', c.now - interval '61 s', c.now - interval '60 s',
		   c.now - interval '50 s' - (log.run_id * interval '1 ms'), status, CASE WHEN error IS NULL THEN '42' END, error, 'NOTICE:  hidden', '{"k": "<v>"}', 'P0001'
	FROM jobs.job j JOIN jobs.job_state s USING (job_id), jobs.clock() c(now) WHERE j.name = log.job
$$;
SELECT pg_temp.log('<script>alert(1)</script>', 1, 1, 'failed', 'it said <b>no</b>'), pg_temp.log('<script>alert(1)</script>', 2, 1, 'succeeded'),
	   pg_temp.log('plain', 3, 1, 'failed', 'first'), pg_temp.log('plain', 3, 2, 'succeeded'), pg_temp.log('own', 4, 1, 'timed_out', 'late');

-- escaped, wherever it is
SELECT p AS page, h ~ '<script|<img|<b>no' AS raw, h ~ '&lt;script&gt;' AS escaped
FROM (VALUES ('overview', '{}'), ('jobs', '{}'), ('job', '{"name": "<script>alert(1)</script>"}'), ('runs', '{}'), ('run', '{"id": "7000001"}'), ('queue', '{}'),
			 ('jobs', '{"q": "\"><script>x</script>"}'), ('<script>', '{"name": "<script>"}'), ('outbox', '{"q": "<script>"}')) AS v (p, q), jobs.board(v.p, v.q::jsonb) AS h;
SELECT h ~ 'action="/a&quot;b"' AS base, h ~ 'name="&lt;t&gt;" value="&amp;"' AS csrf, h ~ 'It is &lt;done&gt;' AS flash, h ~ 'javascript:' AS href, h ~ 'Asia/Kolkata' AS zone
FROM jobs.board('jobs', '{"app": {"base": "/a\"b", "zone": "asia/kolkata", "csrf": {"name": "<t>", "value": "&"}, "flash": {"ok": true, "message": "It is <done>", "href": "javascript:alert(1)"}}}') AS h;
-- links stay on the site of the app
SELECT b, jobs.board_data('jobs', jsonb_build_object('app', jsonb_build_object('base', b))) ->> 'base' AS base
FROM unnest(ARRAY['', '/', '/admin/jobs', 'https://evil.example', '//evil.example', E'/\\evil.example', E'/\t/evil.example', 'admin', 'javascript:alert(1)']) AS b;
-- a line of the list of jobs
SELECT l ->> 'job' AS job, l ->> 'words' AS words, l -> 'state' AS state, l ->> 'runs' AS runs, l ->> 'failures' AS failures, l -> 'bars' AS bars
FROM jsonb_array_elements(jobs.board_data('jobs') -> 'page_jobs' -> 'jobs') AS l ORDER BY 1;
-- filters
SELECT f, (SELECT string_agg(l ->> 'job', ', ' ORDER BY l ->> 'job') FROM jsonb_array_elements(jobs.board_data('jobs', f::jsonb) -> 'page_jobs' -> 'jobs') AS l) AS found
FROM unnest(ARRAY['{"q": "PLA"}', '{"group": "a & b"}', '{"state": "failing"}', '{"state": "paused"}', '{"after": "own"}']) AS f;
-- pages of fifty
SELECT count(jobs.schedule('many ' || to_char(n, 'FM000'), NULL, 'SELECT 1')) FROM generate_series(1, 60) AS n;
SELECT jsonb_array_length(d -> 'jobs'), d ->> 'more', d ->> 'first' FROM (SELECT jobs.board_data('jobs') -> 'page_jobs') AS p (d);
SELECT jsonb_array_length(d -> 'jobs'), d ->> 'more', d ->> 'first' FROM (SELECT jobs.board_data('jobs', '{"after": "many 048", "q": "many"}') -> 'page_jobs') AS p (d);
SELECT count(jobs.unschedule('many ' || to_char(n, 'FM000'))) FROM generate_series(1, 60) AS n;
-- of many that ended at one instant each is on a page, once
CREATE FUNCTION pg_temp.walk(page text, params jsonb, list text[], OUT pages integer, OUT rows integer, OUT runs integer, OUT in_order boolean)
LANGUAGE plpgsql AS $$
DECLARE
	d jsonb;
	all_runs bigint[] := '{}';
BEGIN
	pages := 0;
	LOOP
		d := jobs.board_data(page, params) #> list;
		all_runs := all_runs || ARRAY(SELECT (r ->> 'run_id')::bigint FROM jsonb_array_elements(d -> 'runs') WITH ORDINALITY AS r (r, n)
									  WHERE (r ->> 'run_id')::bigint > 7000000 ORDER BY n);
		pages := pages + 1;
		EXIT WHEN d ->> 'more' IS NULL OR pages > 9;
		params := params || jsonb_build_object('before', substring(d ->> 'more' from 'before=([^&#]*)'));
	END LOOP;
	rows := cardinality(all_runs);
	runs := (SELECT count(DISTINCT r) FROM unnest(all_runs) AS r);
	in_order := all_runs = ARRAY(SELECT r FROM unnest(all_runs) AS r ORDER BY r DESC);
END
$$;
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status, error)
SELECT 7001000 + n, 0, :plain_id, 'plain', current_user, current_user::regrole, 'queue', c.now, c.now - interval '20 s', 'expired', 'too late'
FROM generate_series(1, 120) AS n, (SELECT jobs.clock() AS now) AS c;
SELECT 'runs' AS page, w.* FROM pg_temp.walk('runs', '{"status": "expired"}', '{page_runs,list}') AS w
UNION ALL SELECT 'job', w.* FROM pg_temp.walk('job', '{"name": "plain", "status": "expired"}', '{page_job,list}') AS w
UNION ALL SELECT 'queue', w.* FROM pg_temp.walk('queue', '{"job": "plain"}', '{page_queue,dead}') AS w;
SELECT jobs.board_data('runs', '{"before": "1"}') #>> '{page_runs,list,first}' AS none, jobs.board_data('runs', '{"before": "1.1.1"}') #>> '{page_runs,list,first}' AS first;
DELETE FROM jobs.run_log WHERE run_id > 7001000 AND run_id <= 7001120;
-- of a list of all failures: failed, timed out, crashed
SELECT string_agg(r ->> 'job' || ' ' || (r -> 'status' ->> 'word'), ', ' ORDER BY (r ->> 'run_id')::bigint) AS failures
FROM jsonb_array_elements(jobs.board_data('runs', '{"status": "failures"}') #> '{page_runs,list,runs}') AS r WHERE (r ->> 'run_id')::bigint > 7000000;
SELECT jobs.board_data() #>> '{page_overview,all_failures}' AS all_failures;
-- that nothing succeeded is a figure, too
SET ROLE regress_mj_board_user;
SELECT h ~ 'Success rate</span><span class="figure">0.0 %<' AS overview FROM jobs.board() AS h;
RESET ROLE;
SELECT h ~ 'Success rate</th><td class="n">0.0 %</td>' AS job FROM jobs.board('job', '{"name": "own"}') AS h;
-- of an attempt that was done again there is nothing to retry
SELECT r ->> 'run_id' AS run, r ->> 'attempt' AS attempt, r -> 'status' ->> 'word' AS status, r -> 'buttons' #>> '{0,label}' AS button
FROM jsonb_array_elements(jobs.board_data('runs') -> 'page_runs' -> 'list' -> 'runs') AS r WHERE (r ->> 'run_id')::bigint > 7000000 ORDER BY 1, 2;

-- however long it is
UPDATE jobs.run_log SET args = jsonb_build_object('k', repeat('"', 17000000)) WHERE run_id = 7000004;
SELECT length(h) BETWEEN 300000 AND 400000 AS page, h ~ '[.]{3} [(]33900015 characters more[)]' AS told FROM jobs.board('run', '{"id": "7000004"}') AS h;
UPDATE jobs.run_log SET args = '{"k": "<v>"}' WHERE run_id = 7000004;

-- the timeline: what ran and is due within 24 hours, with marks at full hours of the zone
SELECT jobs.schedule('hourly', '30 * * * *', 'SELECT 1'), jobs.schedule('each second', '* * * * * *', 'SELECT 1', enabled => false),
	   jobs.schedule('in december', '* * * * 12 *', 'SELECT 1', enabled => false) \g /dev/null
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, started_at, finished_at, status)
SELECT 7002000 + n, 1, d.job_id, 'hourly', d.role, d.role::regrole, 'schedule', t.at, t.at, t.at, CASE WHEN n < 20 THEN 'succeeded' ELSE 'failed' END
FROM jobs.definition AS d, generate_series(1, 25) AS n, LATERAL (SELECT jobs.clock() - (n - 1) * interval '1 hour' - interval '10 minutes' AS at) AS t
WHERE d.job = 'hourly';
SELECT l - 'good' - 'bad' - 'due' - 'next' AS line, l ->> 'good' ~ '^(M[0-9]+ 8h1v12h-1z){19}$' AS good, l ->> 'bad' ~ '^(M[0-9]+ 0h1v20h-1z){5}$' AS bad, l ->> 'due' ~ '^(M[0-9]+ 14h1v6h-1z){24}$' AS due
FROM jsonb_array_elements(jobs.board_data('timeline') #> '{page_timeline,lines}') AS l WHERE l ->> 'job' = 'hourly';
SELECT count(*) AS marks, bool_and(m ->> 'clock' ~ ':00$') AS full_hours, bool_and((m ->> 'percent')::numeric BETWEEN 0 AND 100) AS there
FROM jsonb_array_elements(jobs.board_data('timeline', '{"app": {"zone": "Asia/Kolkata"}}') #> '{page_timeline,marks}') AS m;
UPDATE jobs.job SET enabled = true WHERE name IN ('each second', 'in december');
SELECT d.job, count(*), sum(d.runs), min(d.first_at), max(d.first_at) FROM jobs.board_due('2026-12-01 00:00+00', '2026-12-02 00:00+00', 600, 9) AS d WHERE d.job ~ ' ' GROUP BY d.job ORDER BY d.job;
SELECT count(DISTINCT d.job) FROM jobs.board_due('2026-12-01 00:00+00', '2026-12-02 00:00+00', 600, 1) AS d;
-- of a calendar no more than is shown
SELECT * FROM jobs.calendar('2026-01-01 00:00+00', '2036-01-01 00:00+00', 'in december', 3);
SELECT count(*) FROM jobs.calendar('2026-01-01 00:00+00', '2026-02-01 00:00+00', 'each second', 0);
SELECT jobs.calendar('2026-01-01 00:00+00', '2026-02-01 00:00+00', 'each second', -1);
UPDATE jobs.job SET enabled = false WHERE name IN ('each second', 'in december');
SELECT jsonb_array_length(jobs.board_data('job', '{"name": "hourly"}') #> '{page_job,calendar}') AS due_next;
-- of a job that is gone: no link to it, and no button
SELECT jobs.unschedule(name) FROM unnest('{each second,in december,hourly}'::text[]) AS name \g /dev/null
SELECT DISTINCT r ->> 'job' AS job, r ->> 'job_href' AS href, r -> 'buttons' AS buttons
FROM unnest(ARRAY[jobs.board_data('runs', '{"status": "failed"}') #> '{page_runs,list,runs}', jobs.board_data('queue', '{"days": "7"}') #> '{page_queue,dead,runs}']) AS l, jsonb_array_elements(l) AS r
WHERE r ->> 'job' = 'hourly';
SELECT l ->> 'href' AS href FROM jsonb_array_elements(jobs.board_data('timeline') #> '{page_timeline,lines}') AS l WHERE l ->> 'job' = 'hourly';
SELECT h ~ '>hourly</a>' AS linked, h ~ 'hourly <small>' AS shown FROM jobs.board('timeline') AS h;
DELETE FROM jobs.run_log WHERE run_id > 7002000 AND run_id <= 7002025;

-- who sees what, and what each is offered
CREATE FUNCTION pg_temp.seen() RETURNS TABLE (jobs text, buttons text, command text, args text, notices text)
LANGUAGE sql AS $$
	SELECT (SELECT string_agg(l ->> 'job', ', ' ORDER BY l ->> 'job') FROM jsonb_array_elements(jobs.board_data('jobs') -> 'page_jobs' -> 'jobs') AS l),
		   (SELECT string_agg(DISTINCT b ->> 'action', ', ' ORDER BY b ->> 'action') FROM jsonb_path_query(jobs.board_data('jobs'), '$.page_jobs.**.buttons[*]') AS b),
		   jobs.board_data('job', '{"name": "plain"}') -> 'page_job' ->> 'command',
		   jobs.board_data('run', '{"id": "7000001"}') -> 'page_run' ->> 'args',
		   jobs.board_data('run', '{"id": "7000001"}') -> 'page_run' ->> 'notices'
$$;
SELECT * FROM pg_temp.seen();
SET ROLE regress_mj_board_viewer;
SELECT * FROM pg_temp.seen();
SET ROLE regress_mj_board_operator;
SELECT * FROM pg_temp.seen();
SELECT may_operate, may_manage, command FROM jobs.definition WHERE job = 'plain';
SET ROLE regress_mj_board_user;
SELECT * FROM pg_temp.seen();
SELECT job, may_operate, may_manage, command FROM jobs.definition;
SET ROLE regress_mj_board_mailer;
SELECT jobs.board();
RESET ROLE;
-- who sees all, and may act on its own, is offered that
CREATE ROLE regress_mj_board_both;
SELECT jobs.grant_usage('regress_mj_board_both', 'viewer'), jobs.grant_usage('regress_mj_board_both', 'user');
SELECT jobs.pause('plain');
SELECT jobs.enqueue('plain') AS waits \gset
CREATE FUNCTION pg_temp.offered(job text) RETURNS TABLE (queued text, dead text)
LANGUAGE sql AS $$
	SELECT d #>> '{queued,buttons,0,label}', d #>> '{dead,buttons,0,label}'
	FROM jobs.board_data('queue', jsonb_build_object('job', job)) AS b, LATERAL (SELECT b -> 'page_queue' AS d) AS p
$$;
UPDATE jobs.run_log SET status = 'failed' WHERE run_id = 7000003 AND attempt = 2;
SELECT 'its owner' AS whom, o.* FROM pg_temp.offered('plain') AS o;
SET ROLE regress_mj_board_both;
SELECT 'others' AS whom, o.* FROM pg_temp.offered('plain') AS o;
SELECT 'others, of all' AS whom, o.* FROM pg_temp.offered('') AS o;
RESET ROLE;
UPDATE jobs.run_log SET status = 'succeeded' WHERE run_id = 7000003 AND attempt = 2;
SELECT jobs.cancel(:waits), jobs.resume('plain');
DROP OWNED BY regress_mj_board_both;
DROP ROLE regress_mj_board_both;

-- forms: done, and told
SELECT jobs.board_action('{"action": "pause", "job": "plain", "back": "?page=job&name=plain"}');
SELECT paused FROM jobs.status WHERE job = 'plain';
SELECT jobs.board_action('{"action": "run_now", "job": "plain", "args": "{\"k\": 1}"}') ->> 'message' ~ '^"plain" is to run now, as run [0-9]+.$' AS run_now;
SELECT jobs.board_action('{"action": "enqueue", "job": "plain", "args": "", "run_at": "2099-01-01T09:30", "zone": "Asia/Kolkata", "priority": "3"}') ->> 'ok' AS enqueue;
SELECT state, run_at, priority, args FROM jobs.queued WHERE job = 'plain' AND trigger = 'queue';
-- all of a job, and never of all jobs
SELECT jobs.board_action(a) - 'hint' - 'page' AS cancel_all FROM unnest('{"{\"action\": \"cancel_all\"}","{\"action\": \"cancel_all\", \"job\": null, \"name\": \"plain\"}","{\"action\": \"cancel_all\", \"job\": \"\"}"}'::jsonb[]) AS a;
SELECT count(*) > 0 AS wait FROM jobs.queued WHERE job = 'plain';
SELECT jobs.board_action('{"action": "cancel_all", "job": "plain"}') ->> 'message' ~ '^Cancelled of "plain": [12] runs?[.]$' AS cancel_all;
SELECT jobs.board_action('{"action": "resume", "job": "plain"}') ->> 'message' AS resume;
SELECT jobs.board_action('{"action": "pause_group", "group": "a & b"}') ->> 'message' AS pause_group, jobs.board_action('{"action": "resume_group", "group": "a & b"}') ->> 'message' AS resume_group;
SELECT jobs.board_action('{"action": "pause_all"}') ->> 'message' AS pause_all, jobs.board_action('{"action": "resume_all"}') ->> 'message' AS resume_all;
SELECT jobs.board_action('{"action": "reschedule", "job": "own", "schedule": "5 4 * * *"}') ->> 'message' AS reschedule;
SELECT jobs.board_action('{"action": "reschedule", "job": "own", "schedule": " "}') ->> 'message' AS reschedule;
-- refused, and told so
SELECT jobs.board_action('{"action": "reschedule", "job": "own", "schedule": "61 * * * *"}');
SELECT jobs.board_action('{"action": "run_now", "job": "plian"}');
SELECT jobs.board_action('{"action": "run_now", "job": "plain", "args": "{"}') ->> 'message' AS args;
SELECT jobs.board_action('{"action": "enqueue", "job": "plain", "run_at": "tomorrow noon"}') ->> 'message' AS run_at;
SELECT jobs.board_action('{"action": "cancel", "run_id": "1; DROP"}') -> 'ok' AS cancel;
SELECT jobs.board_action('{"action": "retry", "run_id": "7000002"}') ->> 'message' AS retry;
SELECT jobs.board_action('{"action": "drop"}');
SELECT jobs.board_action('[]') ->> 'message' AS nothing, jobs.board_action('{}') ->> 'message' AS nothing, jobs.board_action(NULL) ->> 'message' AS nothing;
SET ROLE regress_mj_board_viewer;
SELECT jobs.board_action('{"action": "run_now", "job": "plain"}') - 'hint';
SET ROLE regress_mj_board_user;
SELECT jobs.board_action('{"action": "pause", "job": "plain"}') - 'hint';
RESET ROLE;
-- back to the page, and nowhere else
SELECT b, jobs.board_action(jsonb_build_object('action', 'x', 'back', b)) ->> 'page' AS page
FROM unnest(ARRAY['?page=queue&days=7', '//evil.example', 'https://evil.example', E'?a\r\nSet-Cookie: b', '?a b', '']) AS b;
-- what is not refused is raised
CREATE FUNCTION pg_temp.broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER broken BEFORE UPDATE ON jobs.job FOR EACH ROW EXECUTE FUNCTION pg_temp.broken();
SELECT jobs.board_action('{"action": "pause", "job": "plain"}');
DROP TRIGGER broken ON jobs.job;

-- a mail, in a frame that loads nothing and executes nothing
CREATE FUNCTION pg_temp.preview(html text) RETURNS text LANGUAGE sql AS $$
	UPDATE jobs.mail SET body_html = html WHERE mail_id = 900001;
	SELECT replace(jobs.board_preview(900001), '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''; img-src data:"><base target="_blank">', '[policy]');
$$;
INSERT INTO jobs.mail (mail_id, run_id, role, role_oid, recipient, subject, body_text, body_html, message_id, created_at, ended_as, ended_at)
OVERRIDING SYSTEM VALUE
VALUES (900001, 7000100, current_user, current_user::regrole, 'a@example.com', '<script>', 'plain <text>', '<p>Hello</p>', '<m@example.com>', jobs.clock(), 'sent', jobs.clock());
INSERT INTO jobs.mail_attachment VALUES (900001, 1, 'logo.png', NULL, 'logo', '\x0102'), (900001, 2, 'bill.pdf', 'application/pdf', NULL, '\x03'),
	(900001, 3, 'x.gif', NULL, 'logo2', '\x04'), (900001, 4, 'x', 'text/html', 'page', '\x05'), (900001, 5, 'x.png', NULL, 'large', decode(repeat('00', 500001), 'hex')),
	(900001, 6, 'x.png', NULL, 'broad', decode(repeat('00', 400000), 'hex'));
SELECT h FROM unnest(ARRAY[
	-- what has no end is gone, with all that is in it
	'<html><head><meta charset="utf-8"><META name=x content="a > b"/><link rel="stylesheet" href="https://x.example/a.css"><base href=/></head><body><embed src=a.swf>Hello</body></html>',
	'<metal> <script src=//x.example/b.js>x()</script><iframe src="https://x.example"></iframe> Hello',
	'<body background=https://x.example/c.png onload="x()"><img alt=m SRC = ''https://x.example/d.png''><img src=data:image/gif;base64,R0 alt=n><a target=_self href="https://x.example">x</a>',
	'<p style="background: url(https://x.example/e.png)"><p style="background: url( ''https://x.example/e.png'')"><p style="background: url(&quot;https://x.example/e.png&quot;)">',
	'<p style=''background: url("data:image/gif;base64,R0")''><p style="background: url(data:image/gif;base64,R0)"><p style="background: url(&quot;data:image/gif;base64,R0&quot;)">',
	-- its own images, each by its own id
	'<img src="cid:logo2" alt="a"><img src="cid:logo" alt="b"><p style="background: url(''cid:logo'')"><img src="cid:page"><img src="cid:large"><img src="cid:other">'
	]) AS a (html), pg_temp.preview(a.html) AS h;
-- as often as there is room
SELECT n, length(h) / 1000 AS kilobytes, length(jobs.board('mail', '{"id": "900001"}')) < 16000000 AS page
FROM unnest('{7,8,100000}'::integer[]) AS n, pg_temp.preview(repeat('<img src=cid:broad>', least(n, 7)) || repeat('cid:broad ', greatest(n - 7, 0))) AS h;
SELECT h ~ 'too long to be shown here' AS told FROM pg_temp.preview(repeat('x', 1000001)), jobs.board('mail', '{"id": "900001"}') AS h;
UPDATE jobs.mail SET body_html = '<html><p>Hello</p></html>' WHERE mail_id = 900001;
SELECT h ~ '<iframe sandbox srcdoc="&lt;meta http-equiv' AS frame, h ~ 'plain &lt;text&gt;' AS text, h ~ 'bill.pdf' AS file, h ~ '<script' AS raw FROM jobs.board('mail', '{"id": "900001"}') AS h;
SET ROLE regress_mj_board_viewer;
SELECT h ~ '<iframe' AS frame, h ~ 'shown to members of the role that sent it' AS told FROM jobs.board('mail', '{"id": "900001"}') AS h;
SELECT count(*) FROM jobs.mail_content;
SELECT count(*) FROM jobs.mail_file;
SET ROLE regress_mj_board_operator;
SELECT h ~ '<iframe' AS frame FROM jobs.board('mail', '{"id": "900001"}') AS h;
SET ROLE regress_mj_board_user;
SELECT jobs.board_data('mail', '{"id": "900001"}') ->> 'missing' AS missing;
RESET ROLE;
DELETE FROM jobs.mail WHERE mail_id = 900001;

DELETE FROM jobs.run_log WHERE run_id > 7000000 AND run_id < 7000200;
SELECT count(jobs.unschedule(name)) FROM unnest('{plain,own,<script>alert(1)</script>}'::text[]) AS name;
DROP OWNED BY regress_mj_board_viewer, regress_mj_board_user, regress_mj_board_operator, regress_mj_board_mailer;
DROP ROLE regress_mj_board_viewer, regress_mj_board_user, regress_mj_board_operator, regress_mj_board_mailer;
