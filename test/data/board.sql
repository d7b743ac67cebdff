-- Jobs, a month of history and some mails, for looking at the board: what a portal's
-- operators would see on a day on which not all is well.  Relative to now.

SELECT jobs.schedule(name, schedule, command, description, job_group => job_group, timezone => zone, max_attempts => attempts)
FROM (VALUES
	('cleanup_expired_sessions', '0 3 * * *', 'SELECT 42', 'Deletes sessions that have expired.', 'cleanup', NULL, 1),
	('cleanup_removed_team_members', '0 2 * * *', 'SELECT 0', 'Deletes who left a project 90 days ago.', 'cleanup', NULL, 1),
	('expire_deliverables', '0 5 * * *', 'SELECT 7', NULL, 'cleanup', NULL, 1),
	('process_email_queue', '* * * * *', 'SELECT 12', 'Sends what users are to be notified of.', 'email', NULL, 1),
	('check_overdue_payments', '0 10 * * *', 'SELECT 3', 'Reminds of balances that are not paid.', 'payments', 'Asia/Kolkata', 1),
	('refresh_project_report', '*/15 * * * *', 'SELECT 1', NULL, 'reports', NULL, 3),
	('import_bank_statement', '20 * * * *', 'SELECT 1', 'Fetches the statement of the last hour.', 'payments', NULL, 3),
	('make_thumbnail', NULL, 'SELECT 1', 'One frame of each cut, when it is uploaded.', 'media', NULL, 5),
	('render_preview', NULL, $$SELECT jobs.progress(420, 1000, 'cut 3, 0:42 of 1:40'), pg_sleep(3600)$$, NULL, 'media', NULL, 1),
	('rotate_share_links', '0 0 * * 1', 'SELECT 1', NULL, 'cleanup', NULL, 1)
) AS j (name, schedule, command, description, job_group, zone, attempts) \g /dev/null
SELECT jobs.pause('rotate_share_links') \g /dev/null

-- History: each job at its pace, over the last 8 days.
CREATE TEMPORARY TABLE pace (job text, every interval, takes double precision, bad_every integer, error text, result text);
INSERT INTO pace VALUES
	('cleanup_expired_sessions', '1 day', 0.8, 0, NULL, '42'),
	('cleanup_removed_team_members', '1 day', 0.05, 0, NULL, '0'),
	('expire_deliverables', '1 day', 0.3, 0, NULL, '7'),
	('process_email_queue', '1 minute', 0.4, 1001, 'connection to the mail server was lost', '12'),
	('check_overdue_payments', '1 day', 2.1, 0, NULL, '3'),
	('refresh_project_report', '15 minutes', 95, 37, 'canceling statement due to statement timeout', '1'),
	('import_bank_statement', '1 hour', 12, 1, 'duplicate key value violates unique constraint "statement_line_pkey"', '118'),
	('make_thumbnail', '7 minutes', 3.2, 29, 'video 4711 has no frame at 0:01', '1');

INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at, finished_at,
	status, result, sqlstate, error, error_detail, notices, args, pid)
SELECT nextval('jobs.run_id_seq'), CASE WHEN bad AND j.max_attempts > 1 THEN j.max_attempts ELSE 1 END, j.job_id, j.name, j.job_group, j.role, s.role_oid,
	CASE WHEN j.schedule IS NULL THEN 'queue' ELSE 'schedule' END, t.due, t.due + lag, t.due + lag + took * interval '1 second',
	CASE WHEN NOT bad THEN 'succeeded' WHEN p.error LIKE '%timeout' THEN 'timed_out' ELSE 'failed' END,
	CASE WHEN NOT bad THEN p.result END,
	CASE WHEN bad THEN CASE WHEN p.error LIKE 'dup%' THEN '23505' WHEN p.error LIKE '%timeout' THEN '57014' ELSE 'P0001' END END,
	CASE WHEN bad THEN p.error END,
	CASE WHEN bad AND p.error LIKE 'dup%' THEN 'Key (id)=(2024-118-7) already exists.' END,
	CASE WHEN bad THEN E'NOTICE:  118 lines read\nWARNING:  line 7 was seen before' END,
	CASE WHEN bad THEN jsonb_build_object('account', 'IN-0042', 'page', n % 9) END, 4000 + n % 90
FROM pace AS p
JOIN jobs.job AS j ON j.name = p.job
JOIN jobs.job_state AS s USING (job_id)
CROSS JOIN LATERAL generate_series(1, (CASE WHEN p.every < '1 hour' THEN 36 ELSE 192 END * 3600 / extract(epoch FROM p.every))::integer) AS n
CROSS JOIN LATERAL (SELECT CASE WHEN j.schedule IS NULL THEN now() - n * p.every - interval '3 minutes'
	ELSE to_timestamp(floor(extract(epoch FROM now()) / extract(epoch FROM p.every)) * extract(epoch FROM p.every)
		- (n - 1) * extract(epoch FROM p.every)) - interval '1 second' END AS due) AS t
CROSS JOIN LATERAL (SELECT p.bad_every = 1 AND n <= 3 OR p.bad_every > 1 AND n % p.bad_every = 11 AS bad,
	interval '4 ms' + abs(hashtext(p.job || n)) % 900 * interval '10 microseconds'
		+ CASE WHEN p.job = 'make_thumbnail' AND n BETWEEN 60 AND 75 THEN (76 - n) * interval '40 seconds' ELSE '0' END AS lag,
	p.takes * (0.6 + abs(hashtext(n || p.job)) % 800 / 1000.0) AS took) AS r
WHERE t.due + lag + took * interval '1 second' < now();

-- The queue: what runs, what waits for its time, what waits for its job.
SELECT jobs.run_now('render_preview', wait => false) \g /dev/null
SELECT jobs.enqueue('make_thumbnail', '{"cut": 31}', now() + interval '40 minutes') \g /dev/null
SELECT jobs.enqueue('make_thumbnail', '{"cut": 32}', now() + interval '3 hours', priority => 5) \g /dev/null
SELECT jobs.enqueue('rotate_share_links') \g /dev/null

-- Mails: sent, refused, and one for later, so that no server is asked.
SET motionify_jobs.smtp_url = 'smtp://127.0.0.1:9';
INSERT INTO jobs.mail (run_id, role, role_oid, recipient, sender, reply_to, subject, body_text, body_html, message_id, created_at,
	ended_as, ended_at, attempts, smtp_code, smtp_reply)
SELECT nextval('jobs.run_id_seq'), current_user, current_user::regrole, 'client' || n || '@example.com', 'Motionify Portal <hello@motionify.studio>',
	'noreply@motionify.studio', CASE WHEN n % 4 = 0 THEN 'Payment Reminder: Balance Due' ELSE 'Your digest: ' || 1 + n % 5 || ' new notifications' END,
	E'Hello,\n\nCut 3 is ready for review.\n\nhttps://portal.motionify.studio/projects/1\n',
	jobs.portal_page('New in your projects', 'Cut 3 is ready for review.',
		jobs.portal_row('<strong>Cut 3 is ready for review.</strong> The new cut has the larger logo at 0:12 and softer music.'
			|| jobs.portal_button('https://portal.motionify.studio/projects/1', 'Watch it'))
		|| jobs.portal_row('<img src="https://elsewhere.example/pixel.gif" width="1" height="1" alt="">')),
	'<' || n || '.' || abs(hashtext('m' || n)) || '@motionify.studio>', t.at,
	CASE WHEN n % 13 = 5 THEN 'failed' ELSE 'sent' END, t.at + interval '3 seconds', CASE WHEN n % 13 = 5 THEN 3 ELSE 1 END,
	CASE WHEN n % 13 = 5 THEN 550 ELSE 250 END,
	CASE WHEN n % 13 = 5 THEN '550 5.1.1 <client' || n || '@example.com>: Recipient address rejected: User unknown'
	ELSE '250 2.0.0 Ok: queued as 4XKz' || upper(substr(md5(n::text), 1, 8)) END
FROM generate_series(1, 64) AS n
CROSS JOIN LATERAL (SELECT now() - n * interval '37 minutes' AS at) AS t;
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, started_at, finished_at, status, result, sqlstate, error, worker)
SELECT m.run_id, a, 0, 'mail', m.role, m.role_oid, 'queue', m.created_at, m.ended_at - interval '180 ms' - (m.attempts - a) * interval '2 minutes',
	m.ended_at - (m.attempts - a) * interval '2 minutes', CASE m.ended_as WHEN 'sent' THEN 'succeeded' ELSE 'failed' END, m.smtp_reply,
	CASE WHEN m.ended_as = 'failed' THEN '38000' END, CASE WHEN m.ended_as = 'failed' THEN 'the server refused the mail' END, 'smtp.example.com:587'
FROM jobs.mail AS m CROSS JOIN generate_series(1, m.attempts) AS a;
SELECT jobs.send_mail('client7@example.com', 'Your weekly report', 'It is attached.', sender => 'hello@motionify.studio', send_at => now() + interval '2 hours') \g /dev/null

-- Alerts: what holds now, and one that is over.
INSERT INTO jobs.alert_record (rule, kind, cause, severity, figure, threshold, detail, since, opened_at, cleared_at, acknowledged_at, acknowledged_by, note, resolved_at)
VALUES ('mail_queue', 'mail_queue', 'mail', 'warning', 240, 100, E'240 e-mails wait\nThe oldest has waited for 14 minutes.', now() - interval '26 hours', now() - interval '26 hours',
	now() - interval '25 hours 10 minutes', now() - interval '25 hours 40 minutes', current_user, 'the newsletter, it is being sent', now() - interval '25 hours');
SELECT jobs.alert_evaluate(jobs.clock()) \g /dev/null
ANALYZE jobs.run_log, jobs.queue, jobs.mail;
