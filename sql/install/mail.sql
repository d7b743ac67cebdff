/*
 * mail.sql -- outbound mail: its functions, and the outbox
 *
 * deliver_mail() has no SET clause: a procedure that has one cannot commit.
 * It is C, and looks at nothing but what the store pins.
 */
CREATE TYPE jobs.attachment AS (
	filename		text,
	content			bytea,
	content_type	text,
	content_id		text
);
COMMENT ON TYPE jobs.attachment IS 'a file that goes with a mail, or an image that its html shows; jobs.attachment() makes one';
COMMENT ON COLUMN jobs.attachment.content_type IS 'NULL: as the filename says';
COMMENT ON COLUMN jobs.attachment.content_id IS 'what the html shows it by, as cid:...; NULL: a file';

CREATE FUNCTION jobs.attachment(
	filename		text,
	content			bytea,
	content_type	text DEFAULT NULL,
	content_id		text DEFAULT NULL
) RETURNS jobs.attachment
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'SELECT ROW(filename, content, content_type, content_id)::jobs.attachment';
COMMENT ON FUNCTION jobs.attachment(text, bytea, text, text) IS 'a file for jobs.send_mail(), or, with a content_id, an image that the html shows by cid:...';

CREATE FUNCTION jobs.send_mail(
	recipient	text,
	subject		text DEFAULT NULL,
	body_text	text DEFAULT NULL,
	body_html	text DEFAULT NULL,
	sender		text DEFAULT NULL,
	reply_to	text DEFAULT NULL,
	cc			text DEFAULT NULL,
	bcc			text DEFAULT NULL,
	headers		jsonb DEFAULT NULL,
	send_at		timestamptz DEFAULT NULL,
	priority	integer DEFAULT 0,
	source_key	text DEFAULT NULL,
	attachments	jobs.attachment[] DEFAULT NULL,
	unsubscribe	text DEFAULT NULL,
	template	text DEFAULT NULL,
	data		jsonb DEFAULT NULL,
	expires_at	timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_send_mail';
COMMENT ON FUNCTION jobs.send_mail(text, text, text, text, text, text, text, text, jsonb, timestamptz, integer, text, jobs.attachment[], text, text, jsonb, timestamptz) IS 'queues a mail, in the caller''s transaction; returns its mail_id, or that of the mail that has the source_key';

CREATE FUNCTION jobs.set_mail_template(
	name		text,
	subject		text,
	body_text	text,
	body_html	text DEFAULT NULL,
	role		name DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_set_mail_template';
COMMENT ON FUNCTION jobs.set_mail_template(text, text, text, text, name) IS 'makes a template of mails, in Mustache, or another one of its name';

CREATE FUNCTION jobs.drop_mail_template(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_drop_mail_template';
COMMENT ON FUNCTION jobs.drop_mail_template(text) IS 'deletes a template of mails; those that were made with it stay as they are';

CREATE FUNCTION jobs.render(template text, data jsonb DEFAULT NULL)
RETURNS TABLE (subject text, body_text text, body_html text)
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'mj_api_render';
COMMENT ON FUNCTION jobs.render(text, jsonb) IS 'a template with data, as jobs.send_mail() would have it';

CREATE FUNCTION jobs.uses_template(role name, role_oid oid) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_uses_template';
COMMENT ON FUNCTION jobs.uses_template(name, oid) IS 'whether the current user may use the mail templates of a role; the oid counts, if it is given';

CREATE VIEW jobs.mail_templates WITH (security_barrier) AS
SELECT t.name,
	   t.subject,
	   t.body_text,
	   t.body_html,
	   t.role,
	   t.updated_at
FROM jobs.mail_template AS t
LEFT JOIN jobs.mail_template_role AS r ON r.name = t.name
WHERE jobs.uses_template(t.role, r.role_oid);
COMMENT ON VIEW jobs.mail_templates IS 'the templates that the reader may use: those of its roles, and of the role that owns the extension';

CREATE PROCEDURE jobs.deliver_mail(max_mails integer DEFAULT 50, INOUT accepted integer DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'mj_api_deliver_mail';
COMMENT ON PROCEDURE jobs.deliver_mail(integer, integer) IS 'has due mail sent now and waits for it; commits; accepted: mails that the server took. With 0 it only sees whether mail can be sent';

CREATE FUNCTION jobs.check_mail(recipient text DEFAULT NULL)
RETURNS TABLE (step text, ok boolean, detail text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_check_mail';
COMMENT ON FUNCTION jobs.check_mail(text) IS 'checks the mail settings and the server step by step; with a recipient it sends a test mail';

CREATE FUNCTION jobs.preview_mail(mail_id bigint) RETURNS bytea
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_preview_mail';
COMMENT ON FUNCTION jobs.preview_mail(bigint) IS 'the message of a mail, byte for byte as it is sent with the settings of now; for who sent it, and operators';

CREATE FUNCTION jobs.resend(mail_id bigint) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_resend';
COMMENT ON FUNCTION jobs.resend(bigint) IS 'has a mail that has ended sent again, with the same Message-ID unless it was sent; one that waits to be tried again is tried now. False: it is being sent anyway';

CREATE FUNCTION jobs.suppress(address text, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_suppress';
COMMENT ON FUNCTION jobs.suppress(text, text) IS 'has nothing sent to an address any more. False: that was so already';

CREATE FUNCTION jobs.unsuppress(address text) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_unsuppress';
COMMENT ON FUNCTION jobs.unsuppress(text) IS 'has mail sent to an address again. False: it was not suppressed';

CREATE FUNCTION jobs.resume_mail() RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_resume_mail';
COMMENT ON FUNCTION jobs.resume_mail() IS 'has mail tried at once that waits because none could be sent. False: nothing is in the way';

CREATE FUNCTION jobs.mail_server_id(reply text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_mail_server_id';
COMMENT ON FUNCTION jobs.mail_server_id(text) IS 'the id under which a server has a mail, out of its reply; NULL: it does not say';

CREATE VIEW jobs.mail_transport WITH (security_barrier) AS
SELECT t.state,
	   t.since,
	   CASE WHEN (SELECT jobs.sees_all()) THEN t.reason END AS reason,
	   t.sqlstate,
	   t.next_try_at,
	   t.level
FROM jobs.mail_transport_state AS t;
COMMENT ON VIEW jobs.mail_transport IS 'whether mail can be sent: running, slowed or paused, since when, why, and when it is tried again';
COMMENT ON COLUMN jobs.mail_transport.reason IS 'what is in the way, in words; NULL for who does not see everything, for a server''s reply may name a recipient';

CREATE VIEW jobs.outbox WITH (security_barrier) AS
SELECT m.mail_id,
	   m.run_id,
	   m.recipient,
	   m.subject,
	   CASE WHEN m.ended_as IS NOT NULL THEN m.ended_as
			WHEN q.state = 'running' THEN 'sending'
			ELSE 'queued' END AS status,
	   m.attempts,
	   CASE WHEN q.state = 'ready' THEN greatest(q.run_at, t.next_try_at)
			WHEN q.state <> 'running' THEN q.run_at END AS next_attempt_at,
	   m.smtp_code,
	   m.smtp_reply,
	   m.message_id,
	   m.created_at,
	   CASE WHEN m.ended_as = 'sent' THEN m.ended_at END AS sent_at,
	   jobs.mail_server_id(m.smtp_reply) AS server_id,
	   q.expires_at,
	   m.ended_at
FROM jobs.mail AS m
LEFT JOIN jobs.queue AS q ON q.run_id = m.run_id
LEFT JOIN jobs.mail_transport_state AS t ON t.state <> 'running'
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.outbox IS 'one row a mail: queued, being sent, and ended; those of the reader''s roles, all for those who see everything';
COMMENT ON COLUMN jobs.outbox.status IS 'queued, sending, sent, failed, uncertain, suppressed, cancelled or expired';
COMMENT ON COLUMN jobs.outbox.attempts IS 'attempts in which the mail was offered to the server, and that count';
COMMENT ON COLUMN jobs.outbox.smtp_reply IS 'last reply of the server, or why there was none';
COMMENT ON COLUMN jobs.outbox.next_attempt_at IS 'not before this instant';
COMMENT ON COLUMN jobs.outbox.server_id IS 'id that the server has given the mail, if its reply says so';
COMMENT ON COLUMN jobs.outbox.expires_at IS 'of a mail that is queued: when it is too late to send it';
COMMENT ON COLUMN jobs.outbox.ended_at IS 'when it was sent, or ended otherwise';

CREATE VIEW jobs.mail_attempts WITH (security_barrier) AS
SELECT m.mail_id,
	   l.run_id,
	   l.attempt,
	   CASE l.status WHEN 'succeeded' THEN 'sent'
			WHEN 'skipped' THEN 'suppressed' ELSE l.status::text END AS status,
	   l.started_at,
	   l.finished_at - l.started_at AS duration,
	   l.worker AS host,
	   (pg_catalog.substring(l.result, '^([2-5][0-9][0-9]) '))::integer AS smtp_code,
	   pg_catalog.substring(l.result, '^[2-5][0-9][0-9] ([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])') AS enhanced_code,
	   l.result AS smtp_reply,
	   CASE WHEN l.status = 'succeeded' THEN jobs.mail_server_id(l.result) END AS server_id,
	   l.sqlstate,
	   l.error,
	   l.error_detail,
	   l.pid
FROM jobs.run_log AS l
JOIN jobs.mail AS m ON m.run_id = l.run_id
WHERE l.job_id = 0
	AND ((SELECT jobs.sees_all()) OR jobs.sees_role(m.role, m.role_oid));
COMMENT ON VIEW jobs.mail_attempts IS 'one row for each attempt that has ended, also of mails that are not through; those of the reader''s roles, all for those who see everything';
COMMENT ON COLUMN jobs.mail_attempts.attempt IS 'counts every time that a mail was taken from the queue and offered, or ended; 0: it never was';
COMMENT ON COLUMN jobs.mail_attempts.status IS 'sent, failed, uncertain, crashed, cancelled, suppressed or expired';
COMMENT ON COLUMN jobs.mail_attempts.duration IS 'from the first command about the mail to the reply that decided';
COMMENT ON COLUMN jobs.mail_attempts.host IS 'host and port of the server, or directory';
COMMENT ON COLUMN jobs.mail_attempts.smtp_reply IS 'the reply that decided; NULL: there was none';
COMMENT ON COLUMN jobs.mail_attempts.enhanced_code IS 'enhanced status code of the reply, RFC 3463';
COMMENT ON COLUMN jobs.mail_attempts.server_id IS 'id that the server has given the mail, if its reply says so';
COMMENT ON COLUMN jobs.mail_attempts.error IS 'what went wrong, also if the server did not say it';

CREATE VIEW jobs.mail_content WITH (security_barrier) AS
SELECT m.mail_id,
	   m.sender,
	   m.reply_to,
	   m.recipient,
	   m.cc,
	   m.bcc,
	   m.subject,
	   m.headers,
	   m.body_text,
	   m.body_html,
	   m.attachments,
	   m.source_key,
	   m.role
FROM jobs.mail AS m
WHERE jobs.operates_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.mail_content IS 'one row a mail: what is in it; for members of the role that sent it, and operators';
COMMENT ON COLUMN jobs.mail_content.sender IS 'NULL: motionify_jobs.mail_from when it is sent';
COMMENT ON COLUMN jobs.mail_content.attachments IS 'how many rows jobs.mail_file has of it';

CREATE VIEW jobs.mail_file WITH (security_barrier) AS
SELECT a.mail_id,
	   a.position,
	   a.filename,
	   a.content_type,
	   a.content_id,
	   a.content
FROM jobs.mail_attachment AS a
JOIN jobs.mail AS m ON m.mail_id = a.mail_id
WHERE jobs.operates_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.mail_file IS 'one row an attachment of a mail; for members of the role that sent it, and operators';
COMMENT ON COLUMN jobs.mail_file.content_id IS 'what the html shows it by; NULL: a file';
