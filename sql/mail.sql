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
SET motionify_jobs.smtp_url = 'http://localhost';
SET motionify_jobs.smtp_url = 'file:relative';
SET motionify_jobs.smtp_url = 'localhost:25';
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
SELECT jobs.send_mail((SELECT string_agg('a' || i || '@example.com', ',') FROM generate_series(1, 10000) i), 'subject', 'text');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', cc => (SELECT string_agg('a' || i || '@example.com', ',') FROM generate_series(1, 10000) i));
SELECT jobs.send_mail('a@example.com', 'subject', 'text', bcc => (SELECT string_agg('a' || i || '@example.com', ',') FROM generate_series(1, 1000) i));
SELECT jobs.send_mail('A <a@example.com', 'subject', 'text');
SELECT jobs.send_mail('a@example.com>', 'subject', 'text');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', sender => 'A <<a@example.com>>');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', reply_to => E'b@example.com\n');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"In-Reply-To": "<a@example.com"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"X-A": "1\u0000"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"DKIM-Signature": "v=1"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"X-A": "1", "x-a": "2"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => '{"": "1"}');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => jsonb_build_object(repeat('X', 65), '1'));
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => jsonb_build_object('X-A', repeat('1', 10000)));
SELECT jobs.send_mail('a@example.com', 'subject', 'text', headers => (SELECT jsonb_object_agg('X-' || i, '1') FROM generate_series(1, 101) i));
SELECT jobs.send_mail('a@example.com', repeat('s', 10000), 'text');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', unsubscribe => 'http://example.com/');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', unsubscribe => E'https://example.com/\r\nBcc: b@example.com');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', unsubscribe => '');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', unsubscribe => 'https://example.com/1 https://example.com/2');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', unsubscribe => 'https://example.com/', headers => '{"List-Unsubscribe": "<https://example.com/>"}');

-- attachments that are refused, with the field's name
CREATE FUNCTION attach(filename text, content_type text DEFAULT NULL, content_id text DEFAULT NULL, content bytea DEFAULT 'x')
RETURNS bigint LANGUAGE sql AS $$
	SELECT jobs.send_mail('a@example.com', 'subject', 'text',
		attachments => ARRAY[jobs.attachment('first.txt', 'x'), jobs.attachment(filename, content, content_type, content_id)])
$$;
SELECT attach(NULL);
SELECT attach('a.txt', content => NULL);
SELECT attach('');
SELECT attach(E'a\r\nb.txt');
SELECT attach('../a.txt');
SELECT attach('C:\a.txt');
SELECT attach('..');
SELECT attach(repeat('a', 256));
SELECT attach('a.txt', 'text');
SELECT attach('a.txt', E'text/plain\r\nX-A: 1');
SELECT attach('a.txt', 'text/plain; name="');
SELECT attach('a.txt', 'multipart/mixed');
SELECT attach('a.txt', content_id => '<logo>');
SELECT attach('a.txt', content_id => '');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', attachments => ARRAY[NULL::jobs.attachment]);
SELECT jobs.send_mail('a@example.com', 'subject', 'text', attachments =>
	(SELECT array_agg(jobs.attachment('a.txt', 'x')) FROM generate_series(1, 101)));
SELECT jobs.send_mail('a@example.com', 'subject', 'text', attachments =>
	(SELECT array_agg(jobs.attachment('a.png', 'x', content_id => 'same')) FROM generate_series(1, 2)));

-- too large, with the largest field's name
SET motionify_jobs.mail_max_size = '20kB';
SELECT attach('a.bin', content => convert_to(repeat('x', 16000), 'UTF8'));
SELECT attach('a.bin', content => convert_to(repeat('x', 21000), 'UTF8'));
SELECT jobs.send_mail('a@example.com', 'subject', repeat('x', 21000));
SELECT jobs.send_mail('a@example.com', 'subject', 'text', repeat(U&'\00FC', 10000));
RESET motionify_jobs.mail_max_size;
SELECT count(*) FROM jobs.outbox;

-- settings of DKIM
SET motionify_jobs.dkim_selector = 'a b';
SET motionify_jobs.dkim_domain = 'example.com; x=';
SET motionify_jobs.dkim_key_file = '/nowhere/at/all';
CALL jobs.deliver_mail();
SET motionify_jobs.dkim_selector = 's1';
CALL jobs.deliver_mail();
SET motionify_jobs.dkim_key_file = '/dev/null';
CALL jobs.deliver_mail();
RESET motionify_jobs.dkim_key_file;
RESET motionify_jobs.dkim_selector;

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

-- a message, byte for byte
BEGIN;
SELECT jobs.send_mail('Ada <ada@example.com>', U&'Gr\00FC\00DFe', 'text', '<img src="cid:logo">',
	attachments => ARRAY[jobs.attachment(U&'\00DCbersicht.csv', 'a;b'), jobs.attachment('logo.png', '\x89504e47', content_id => 'logo')],
	unsubscribe => 'https://example.com/u?x=1 mailto:u@example.com', bcc => 'e@example.com',
	send_at => '2100-01-01 UTC') AS mail \gset
SELECT filename, content_type, content_id, content FROM jobs.mail_attachment WHERE mail_id = :mail ORDER BY position;
SELECT replace(regexp_replace(regexp_replace(convert_from(jobs.preview_mail(:mail), 'UTF8'), '=_[0-9a-f]{16}', 'boundary-', 'g'),
	'<[0-9a-f]{32}\.[0-9]+@', '<id@'), E'\r', '') AS message;
SELECT jobs.preview_mail(:mail) = jobs.preview_mail(:mail) AS same;
-- the Date stays when it has ended
DELETE FROM jobs.queue WHERE run_id = (SELECT run_id FROM jobs.mail WHERE mail_id = :mail);
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status)
SELECT run_id, 1, 0, 'mail', role, role_oid, 'queue', '2100-01-01 UTC', '2100-01-01 UTC', 'failed' FROM jobs.mail WHERE mail_id = :mail;
SELECT convert_from(jobs.preview_mail(:mail), 'UTF8') ~ '^Date: Fri, 1 Jan 2100' AS same_date;
SET LOCAL motionify_jobs.mail_redirect_to = 'staging@example.com';
SELECT convert_from(jobs.preview_mail(:mail), 'UTF8') ~ E'\r\nTo: staging@example.com\r\n.*\r\nX-Original-To: Ada <ada@example.com>\r\n' AS redirected;
-- attachments go when the mail goes
DELETE FROM jobs.mail WHERE mail_id = :mail;
SELECT count(*) FROM jobs.mail_attachment;
\set VERBOSITY sqlstate
SELECT jobs.preview_mail(:mail);
\set VERBOSITY terse
ROLLBACK;
DROP FUNCTION attach;

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
SELECT jobs.preview_mail(1);
SELECT jobs.attachment('a.txt', 'x');
RESET ROLE;
BEGIN;
SELECT jobs.send_mail('a@example.com', 'of another role', 'text') AS mail \gset
SET LOCAL ROLE regress_mj_mailer;
SELECT jobs.send_mail('a@example.com', 'of the mailer', 'text') IS NOT NULL AS queued;
SELECT subject, status FROM jobs.outbox;
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT jobs.preview_mail(:mail);
\set VERBOSITY terse
ROLLBACK TO s;
SELECT * FROM jobs.mail_attachment;
ROLLBACK TO s;
SELECT jobs.preview_mail((SELECT mail_id FROM jobs.outbox)) IS NOT NULL AS own;
RESET ROLE;
SELECT jobs.grant_usage('regress_mj_nobody', 'viewer');
SET LOCAL ROLE regress_mj_nobody;
SAVEPOINT s;
SELECT jobs.preview_mail(:mail);
ROLLBACK TO s;
RESET ROLE;
SELECT jobs.grant_usage('regress_mj_nobody', 'operator');
SET LOCAL ROLE regress_mj_nobody;
SELECT jobs.preview_mail(:mail) IS NOT NULL AS operator;
SET LOCAL ROLE regress_mj_mailer;
SAVEPOINT s;
SELECT * FROM jobs.mail;
ROLLBACK TO s;
RESET ROLE;
SELECT subject, role = current_user AS mine FROM jobs.outbox JOIN jobs.mail USING (mail_id, subject) ORDER BY mail_id;
ROLLBACK;
SELECT jobs.revoke_usage('regress_mj_mailer', 'mailer');
DROP ROLE regress_mj_nobody;
DROP ROLE regress_mj_mailer;
