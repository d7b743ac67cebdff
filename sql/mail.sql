-- Mail: arguments, errors, rights and the outbox.  Nothing is committed that
-- could be sent; sending itself is tested with a real receiver.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
\set VERBOSITY terse

-- not configured: nothing is queued
SELECT jobs.send_mail('a@example.com', 'subject', 'text');
CALL jobs.deliver_mail();
SELECT step, ok, detail FROM jobs.check_mail();
SELECT count(*) FROM jobs.outbox;
\set VERBOSITY default
SELECT jobs.send_mail('a@example.com', 'subject', 'text');
\set VERBOSITY terse

-- settings that cannot be used
\set VERBOSITY default
SET motionify_jobs.smtp_url = 'gopher://localhost';
SET motionify_jobs.smtp_url = 'smtp://user:secret@localhost';
\set VERBOSITY terse
SET motionify_jobs.smtp_url = 'file:///nowhere/at/all';
CALL jobs.deliver_mail();
SET motionify_jobs.smtp_url = 'smtp://mail.example.com';
SET motionify_jobs.smtp_tls = 'off';
CALL jobs.deliver_mail();
SET motionify_jobs.smtp_tls = 'require';
SET motionify_jobs.smtp_user = 'somebody';
CALL jobs.deliver_mail();
SET motionify_jobs.smtp_password_file = '/nowhere/at/all';
CALL jobs.deliver_mail();
SET motionify_jobs.smtp_password_file = '/dev/null';
CALL jobs.deliver_mail();
RESET motionify_jobs.smtp_user;
RESET motionify_jobs.smtp_password_file;
SET motionify_jobs.mail_redirect_to = 'no address';
CALL jobs.deliver_mail();
RESET motionify_jobs.mail_redirect_to;

-- a server that is not there
SET motionify_jobs.smtp_url = 'smtp://127.0.0.1:1';
SELECT step, ok FROM jobs.check_mail();
CALL jobs.deliver_mail(0);
CREATE PROCEDURE try_delivery() LANGUAGE plpgsql AS $$
DECLARE n integer;
BEGIN CALL jobs.deliver_mail(0, n); END $$;
CALL try_delivery();
\echo :LAST_ERROR_SQLSTATE

-- deliver_mail commits, so it is refused where that cannot be
BEGIN;
CALL jobs.deliver_mail();
ROLLBACK;
CREATE PROCEDURE try_delivery_safely() LANGUAGE plpgsql AS $$
DECLARE n integer;
BEGIN
	CALL jobs.deliver_mail(0, n);
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE '%: %', SQLSTATE, SQLERRM;
END $$;
CALL try_delivery_safely();
CREATE FUNCTION try_delivery_in_function() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n integer;
BEGIN CALL jobs.deliver_mail(0, n); END $$;
SELECT try_delivery_in_function();
CALL jobs.deliver_mail(-1);
CALL jobs.deliver_mail(10001);
DROP PROCEDURE try_delivery, try_delivery_safely;
DROP FUNCTION try_delivery_in_function;

-- NULL where a value is needed
SELECT jobs.send_mail(NULL, 'subject', 'text');
SELECT jobs.send_mail('a@example.com', NULL, 'text');
SELECT jobs.send_mail('a@example.com', 'subject', NULL);

-- no sender
SELECT jobs.send_mail('a@example.com', 'subject', 'text');
SET motionify_jobs.mail_from = 'Motionify Portal <hello@motionify.studio>';

-- values that are refused, with the field's name
SELECT jobs.send_mail('', 'subject', 'text');
SELECT jobs.send_mail('nobody', 'subject', 'text');
SELECT jobs.send_mail('a@example.com,', 'subject', 'text');
SELECT jobs.send_mail(E'a@example.com\r\nBcc: b@example.com', 'subject', 'text');
SELECT jobs.send_mail('a@example.com', E'two\nlines', 'text');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', sender => 'a@example.com, b@example.com');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', reply_to => 'b@');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', cc => 'c c@example.com');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', bcc => '@example.com');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '[]');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"X-Number": 1}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"Bcc": "b@example.com"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"X-A": "1\r\nX-B: 2"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"X A": "1"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', send_at => 'infinity');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', source_key => '');
SELECT jobs.send_mail((SELECT string_agg('a' || i || '@example.com', ',') FROM generate_series(1, 1001) i), 'subject', 'text');
SELECT count(*) FROM jobs.outbox;

-- what is queued, and its run
BEGIN;
SELECT jobs.send_mail('a@example.com', 'greetings', 'text') IS NOT NULL AS queued;
SELECT jobs.send_mail('B <b@example.com>, c@example.com', 'later', NULL, '<p>html</p>',
	sender => 'Me <me@example.org>', reply_to => 'you@example.org', cc => 'd@example.com',
	bcc => 'e@example.com', headers => '{"X-Kind": "test"}',
	send_at => now() + interval '1 day', priority => 5) IS NOT NULL AS queued;
SELECT recipient, subject, status, attempts, next_attempt_at > now() + interval '1 hour' AS later,
	   smtp_code, smtp_reply, message_id ~ '^<[0-9a-f]{32}\.[0-9]+@motionify\.studio>$' AS id_ok,
	   message_id ~ '^<[0-9a-f]{32}\.[0-9]+@example\.org>$' AS own_id_ok, sent_at
FROM jobs.outbox ORDER BY mail_id;
SELECT q.job_id, q.lane, q.state, q.priority, q.trigger, q.attempt, q.run_at = q.due_at AS due
FROM jobs.queue q JOIN jobs.mail m USING (run_id) ORDER BY m.mail_id;
SELECT role = current_user AS mine, cc, bcc, sender, reply_to, body_text, body_html, headers
FROM jobs.mail ORDER BY mail_id;
-- an instant that has passed is now
SELECT jobs.send_mail('f@example.com', 'past', '', send_at => 'yesterday') IS NOT NULL AS queued;
SELECT q.state, q.run_at = m.created_at AS now FROM jobs.mail m JOIN jobs.queue q USING (run_id)
WHERE m.subject = 'past';
ROLLBACK;

-- a source_key: one mail, whatever else is given
BEGIN;
SELECT jobs.send_mail('a@example.com', 'one', 'text', source_key => 'invoice/7') AS first \gset
SELECT jobs.send_mail('b@example.com', 'two', 'text', source_key => 'invoice/7') = :first AS same;
SELECT jobs.send_mail('b@example.com', 'two', 'text', source_key => 'invoice/8') = :first AS same;
SELECT recipient, source_key FROM jobs.mail ORDER BY mail_id;
SELECT count(*) FROM jobs.queue WHERE lane = 0;
-- also when it has ended
UPDATE jobs.mail SET ended_as = 'failed', ended_at = now() WHERE source_key = 'invoice/7';
SELECT jobs.send_mail('b@example.com', 'two', 'text', source_key => 'invoice/7') = :first AS same;
SELECT recipient, status FROM jobs.outbox ORDER BY mail_id;
ROLLBACK;

-- who may
CREATE ROLE regress_mj_nobody;
CREATE ROLE regress_mj_mailer;
SELECT jobs.grant_usage('regress_mj_mailer', 'mailer');
SET ROLE regress_mj_nobody;
SELECT jobs.send_mail('a@example.com', 'subject', 'text');
CALL jobs.deliver_mail();
SELECT * FROM jobs.check_mail();
SELECT * FROM jobs.outbox;
RESET ROLE;
BEGIN;
SELECT jobs.send_mail('a@example.com', 'of another role', 'text') IS NOT NULL AS queued;
SET LOCAL ROLE regress_mj_mailer;
SELECT jobs.send_mail('a@example.com', 'of the mailer', 'text') IS NOT NULL AS queued;
SELECT subject, status FROM jobs.outbox;
SAVEPOINT s;
SELECT * FROM jobs.mail;
ROLLBACK TO s;
RESET ROLE;
SELECT subject, role = current_user AS mine FROM jobs.outbox JOIN jobs.mail USING (mail_id, subject) ORDER BY mail_id;
ROLLBACK;
SELECT jobs.revoke_usage('regress_mj_mailer', 'mailer');
DROP ROLE regress_mj_nobody;
DROP ROLE regress_mj_mailer;
