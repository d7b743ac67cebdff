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
	subject		text,
	body_text	text,
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
	unsubscribe	text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mj_api_send_mail';
COMMENT ON FUNCTION jobs.send_mail(text, text, text, text, text, text, text, text, jsonb, timestamptz, integer, text, jobs.attachment[], text) IS 'queues a mail, in the caller''s transaction; returns its mail_id, or that of the mail that has the source_key';

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

CREATE VIEW jobs.outbox WITH (security_barrier) AS
SELECT m.mail_id,
	   m.run_id,
	   m.recipient,
	   m.subject,
	   CASE WHEN m.ended_as IS NOT NULL THEN m.ended_as
			WHEN q.state = 'running' THEN 'sending'
			ELSE 'queued' END AS status,
	   m.attempts,
	   CASE WHEN q.state <> 'running' THEN q.run_at END AS next_attempt_at,
	   m.smtp_code,
	   m.smtp_reply,
	   m.message_id,
	   m.created_at,
	   CASE WHEN m.ended_as = 'sent' THEN m.ended_at END AS sent_at
FROM jobs.mail AS m
LEFT JOIN jobs.queue AS q ON q.run_id = m.run_id
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.outbox IS 'one row a mail: queued, being sent, and ended; those of the reader''s roles, all for those who see everything';
COMMENT ON COLUMN jobs.outbox.status IS 'queued, sending, sent, failed, uncertain, suppressed, cancelled or expired';
COMMENT ON COLUMN jobs.outbox.attempts IS 'attempts in which the mail was offered to the server';
COMMENT ON COLUMN jobs.outbox.smtp_reply IS 'last reply of the server, or why there was none';
