/*
 * portal.sql -- the portal pack: the seven jobs of the Motionify Portal
 *
 * jobs.install_portal() looks at the tables of a portal's schema, writes one
 * routine for each job into that schema, bound to the columns that are there,
 * and schedules it.  The routines belong to whoever installs, not to the
 * extension, so a dump keeps them.  What they need of the extension, finding
 * and composing mail, stays in schema jobs and is upgraded with it.
 *
 * Everything here runs with the rights of its caller.
 */

/* ---- What the caller may see ---- */

CREATE VIEW jobs.portal_installed WITH (security_barrier) AS
SELECT j.name, j.command, j.schedule, j.timezone
FROM jobs.job AS j
LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
WHERE jobs.sees_role(j.role, s.role_oid);
COMMENT ON VIEW jobs.portal_installed IS 'portal pack: commands and zones of the jobs of the reader''s roles';

CREATE VIEW jobs.portal_mail WITH (security_barrier) AS
SELECT m.source_key, m.ended_as, m.ended_at, m.attempts, m.smtp_reply, m.message_id
FROM jobs.mail AS m
WHERE jobs.sees_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.portal_mail IS 'portal pack: how the mails of the reader''s roles ended';

/* ---- Composing mail: text, and HTML for mail clients ---- */

CREATE FUNCTION jobs.portal_escape(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN replace(replace(replace(replace(replace(value,
	'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
COMMENT ON FUNCTION jobs.portal_escape(text) IS 'portal pack: text for the inside of an HTML element or a quoted attribute';

CREATE FUNCTION jobs.portal_lines(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN btrim(regexp_replace(value, E'\r\n?', E'\n', 'g'), E' \t\n');
COMMENT ON FUNCTION jobs.portal_lines(text) IS 'portal pack: text with line feeds only, trimmed';

CREATE FUNCTION jobs.portal_greeting(user_name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN 'Hello' || coalesce(' ' || nullif(btrim(regexp_replace(user_name, '\s+', ' ', 'g')), ''), '') || ',';
COMMENT ON FUNCTION jobs.portal_greeting(text) IS 'portal pack: first line of a mail';

/* One column of at most 600 pixels; tables and inline styles, for mail clients know little else. */
CREATE FUNCTION jobs.portal_page(title text, content text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN format($html$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%1$s</title>
</head>
<body style="margin:0;padding:0;background-color:#f3f4f6;">
<table role="presentation" width="100%%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f3f4f6;">
<tr><td align="center" style="padding:24px 12px;">
<table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" style="width:100%%;max-width:600px;background-color:#ffffff;border:1px solid #e5e7eb;font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:22px;color:#1f2937;">
<tr><td style="padding:20px 28px;border-bottom:1px solid #e5e7eb;font-size:16px;font-weight:bold;color:#111827;">Motionify Portal</td></tr>
<tr><td style="padding:24px 28px 0 28px;font-size:20px;line-height:28px;font-weight:bold;color:#111827;">%1$s</td></tr>
%2$s
<tr><td style="padding:20px 28px;font-size:12px;line-height:18px;color:#6b7280;">You receive this mail because you have an account at the Motionify Portal.</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
$html$, jobs.portal_escape(title), content);
COMMENT ON FUNCTION jobs.portal_page(text, text) IS 'portal pack: a whole HTML mail around table rows that are HTML already';

CREATE FUNCTION jobs.portal_row(content text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN format(E'<tr><td style="padding:16px 28px 0 28px;color:#1f2937;">%s</td></tr>\n', content);
COMMENT ON FUNCTION jobs.portal_row(text) IS 'portal pack: a table row of portal_page() around HTML';

/* Only a web address becomes a link: javascript: and the like are shown, not linked. */
CREATE FUNCTION jobs.portal_button(url text, label text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN format(CASE WHEN url ~* '^https?://\S+$'
		THEN $html$<table role="presentation" cellpadding="0" cellspacing="0" border="0" style="margin-top:12px;"><tr><td style="background-color:#1f2937;border-radius:4px;"><a href="%s" style="display:inline-block;padding:9px 18px;font-size:14px;font-weight:bold;color:#ffffff;text-decoration:none;">%s</a></td></tr></table>$html$
		ELSE '<div style="margin-top:8px;color:#4b5563;">%2$s: %1$s</div>' END,
	jobs.portal_escape(url), jobs.portal_escape(label));
COMMENT ON FUNCTION jobs.portal_button(text, text) IS 'portal pack: a link in HTML mail';

/*
 * The notifications of a digest, cleaned: what is blank is NULL.  They come as
 * a JSON array of objects with title, message, url and label.
 */
CREATE FUNCTION jobs.portal_items(notifications jsonb)
RETURNS TABLE (nr bigint, title text, message text, url text, label text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT item.nr,
		   coalesce(nullif(jobs.portal_lines(item.value ->> 'title'), ''), 'Notification'),
		   nullif(jobs.portal_lines(item.value ->> 'message'), ''),
		   nullif(jobs.portal_lines(item.value ->> 'url'), ''),
		   coalesce(nullif(jobs.portal_lines(item.value ->> 'label'), ''), 'Open')
	FROM jsonb_array_elements(notifications) WITH ORDINALITY AS item (value, nr);
END;
COMMENT ON FUNCTION jobs.portal_items(jsonb) IS 'portal pack: the notifications of a digest, cleaned';

CREATE FUNCTION jobs.portal_digest_text(user_name text, subject text, notifications jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT format(E'%s\n\n%s:\n\n%s\n\n-- \nMotionify Portal\n', jobs.portal_greeting(user_name), subject,
		string_agg(item.nr || '. ' || item.title
				   || coalesce(E'\n' || item.message, '')
				   || coalesce(E'\n' || item.label || ': ' || item.url, ''),
				   E'\n\n' ORDER BY item.nr))
	FROM jobs.portal_items(notifications) AS item);
COMMENT ON FUNCTION jobs.portal_digest_text(text, text, jsonb) IS 'portal pack: a digest in plain text';

CREATE FUNCTION jobs.portal_digest_html(user_name text, subject text, notifications jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT jobs.portal_page(subject, jobs.portal_row(jobs.portal_escape(jobs.portal_greeting(user_name)))
		|| string_agg(jobs.portal_row('<div style="font-weight:bold;color:#111827;">' || jobs.portal_escape(item.title) || '</div>'
				|| coalesce(E'\n<div>' || replace(jobs.portal_escape(item.message), E'\n', E'<br>\n') || '</div>', '')
				|| coalesce(E'\n' || jobs.portal_button(item.url, item.label), '')),
			'' ORDER BY item.nr))
	FROM jobs.portal_items(notifications) AS item);
COMMENT ON FUNCTION jobs.portal_digest_html(text, text, jsonb) IS 'portal pack: a digest in HTML';

CREATE FUNCTION jobs.portal_reminder(user_name text, project_name text, OUT body_text text, OUT body_html text)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	project text := coalesce('"' || nullif(jobs.portal_lines(project_name), '') || '"', 'your project');
	sentence text := format('The advance payment for %s has been received, thank you. The balance has not been paid yet.', project);
	request text := 'Please pay it in the Motionify Portal. If you have just done so, there is nothing left to do.';
BEGIN
	body_text := format(E'%s\n\n%s\n\n%s\n\n-- \nMotionify Portal\n',
						jobs.portal_greeting(user_name), sentence, request);
	body_html := jobs.portal_page('Balance due',
		jobs.portal_row(jobs.portal_escape(jobs.portal_greeting(user_name)))
		|| jobs.portal_row(jobs.portal_escape(sentence))
		|| jobs.portal_row(jobs.portal_escape(request)));
END
$$;
COMMENT ON FUNCTION jobs.portal_reminder(text, text) IS 'portal pack: a payment reminder in plain text and HTML';

/* ---- Sending and finding mail ---- */

/*
 * The mail that is about something.  A mail that was given up may be followed
 * by another one, with a number behind its key: the last one counts.
 */
CREATE FUNCTION jobs.portal_mail_of(about text)
RETURNS TABLE (source_key text, tries integer, ended boolean, sent boolean, given_up boolean,
			   ended_at timestamptz, attempts integer, reply text, message_id text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mail jobs.portal_mail;
	next_key text := about;
BEGIN
	tries := 0;
	LOOP
		SELECT m.* INTO mail FROM jobs.portal_mail AS m WHERE m.source_key = next_key;
		EXIT WHEN NOT FOUND;
		tries := tries + 1;
		source_key := next_key;
		next_key := about || '/' || tries + 1;
		sent := mail.ended_as IS NOT DISTINCT FROM 'sent';
		given_up := coalesce(mail.ended_as IN ('failed', 'suppressed', 'cancelled', 'expired'), false);
		ended := sent OR given_up;
		ended_at := mail.ended_at;
		attempts := mail.attempts;
		reply := coalesce(nullif(mail.smtp_reply, ''), 'mail ' || mail.ended_as);
		message_id := mail.message_id;
		EXIT WHEN NOT given_up;
	END LOOP;
	IF tries > 0 THEN
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_mail_of(text) IS 'portal pack: the last mail about something and how it ended; no row: there is none';

/*
 * Queues one mail about something, unless one is under way or was accepted.
 * From and Reply-To are the portal's, unless the settings say otherwise.
 */
CREATE FUNCTION jobs.portal_send(recipient text, subject text, body_text text, body_html text, about text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_ours boolean := coalesce(current_setting('motionify_jobs.mail_from', true), '') = '';
	is_ours_too boolean := is_ours AND coalesce(current_setting('motionify_jobs.mail_reply_to', true), '') = '';
	earlier record;
BEGIN
	IF nullif(btrim(recipient), '') IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the user has no e-mail address';
	END IF;
	SELECT m.source_key, m.tries, m.given_up INTO earlier FROM jobs.portal_mail_of(about) AS m;
	PERFORM jobs.send_mail(
		recipient => btrim(recipient), subject => subject, body_text => body_text, body_html => body_html,
		sender => CASE WHEN is_ours THEN 'Motionify Portal <hello@motionify.studio>' END,
		reply_to => CASE WHEN is_ours_too THEN 'noreply@motionify.studio' END,
		source_key => CASE WHEN earlier.given_up THEN about || '/' || earlier.tries + 1
						   ELSE coalesce(earlier.source_key, about) END);
END
$$;
COMMENT ON FUNCTION jobs.portal_send(text, text, text, text, text) IS 'portal pack: queues a mail about something, once';

CREATE FUNCTION jobs.portal_send_digest(recipient text, user_name text, notifications jsonb, about text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n integer := jsonb_array_length(notifications);
	subject text := format('You have %s new notification%s', n, CASE WHEN n > 1 THEN 's' ELSE '' END);
BEGIN
	PERFORM jobs.portal_send(recipient, subject,
		jobs.portal_digest_text(user_name, subject, notifications),
		jobs.portal_digest_html(user_name, subject, notifications), about);
END
$$;
COMMENT ON FUNCTION jobs.portal_send_digest(text, text, jsonb, text) IS 'portal pack: queues a mail with a user''s notifications';

CREATE FUNCTION jobs.portal_send_reminder(recipient text, user_name text, project_name text, about text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	body record := jobs.portal_reminder(user_name, project_name);
BEGIN
	PERFORM jobs.portal_send(recipient, 'Payment Reminder: Balance Due',
							 body.body_text, body.body_html, about);
END
$$;
COMMENT ON FUNCTION jobs.portal_send_reminder(text, text, text, text) IS 'portal pack: queues a payment reminder';

CREATE FUNCTION jobs.portal_zone(job text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT j.timezone FROM jobs.portal_installed AS j WHERE j.name = job),
				nullif(current_setting('motionify_jobs.timezone', true), ''), 'UTC');
COMMENT ON FUNCTION jobs.portal_zone(text) IS 'portal pack: time zone of a job';

/* ---- The jobs, and the sources of their routines ---- */

/*
 * In a source, {name} stands for what jobs.portal_bindings() finds for it when
 * the pack is installed; braces mean nothing else there.  needs are columns,
 * with | between those of which one is enough.
 */
CREATE TABLE jobs.portal_job (
	position	integer PRIMARY KEY,
	job			text NOT NULL,
	is_procedure boolean NOT NULL,
	schedule	text NOT NULL,
	job_group	text NOT NULL,
	description	text NOT NULL,
	needs		text[] NOT NULL,
	source		text NOT NULL
);
COMMENT ON TABLE jobs.portal_job IS 'portal pack: its jobs, and the sources of their routines';

CREATE TABLE jobs.portal_part (
	name		text PRIMARY KEY,
	source		text NOT NULL
);
COMMENT ON TABLE jobs.portal_part IS 'portal pack: what several sources have in common';

INSERT INTO jobs.portal_job VALUES
(1, 'cleanup_removed_team_members', false, '0 2 * * *', 'cleanup',
 'Deletes team members who were removed more than 90 days ago',
 '{project_team.removed_at}', $source$
DECLARE
	deleted integer;
BEGIN
	DELETE FROM {schema}.project_team AS t
	WHERE t.removed_at < now() - interval '90 days';
	GET DIAGNOSTICS deleted = ROW_COUNT;
	RETURN deleted;
END
$source$),
(2, 'cleanup_expired_sessions', false, '0 3 * * *', 'cleanup',
 'Deletes expired sessions',
 '{sessions.expires_at}', $source$
DECLARE
	deleted integer;
BEGIN
	DELETE FROM {schema}.sessions AS s
	WHERE s.expires_at < now();
	GET DIAGNOSTICS deleted = ROW_COUNT;
	RETURN deleted;
END
$source$),
(3, 'cleanup_expired_email_verification_tokens', false, '0 4 * * 0', 'cleanup',
 'Deletes expired e-mail verification tokens',
 '{email_verification_tokens.expires_at}', $source$
DECLARE
	deleted integer;
BEGIN
	DELETE FROM {schema}.email_verification_tokens AS t
	WHERE t.expires_at < now();
	GET DIAGNOSTICS deleted = ROW_COUNT;
	RETURN deleted;
END
$source$),
(4, 'cleanup_expired_password_reset_tokens', false, '10 4 * * 0', 'cleanup',
 'Deletes expired password reset tokens',
 '{password_reset_tokens.expires_at}', $source$
DECLARE
	deleted integer;
BEGIN
	DELETE FROM {schema}.password_reset_tokens AS t
	WHERE t.expires_at < now();
	GET DIAGNOSTICS deleted = ROW_COUNT;
	RETURN deleted;
END
$source$),
(5, 'expire_deliverables', false, '0 5 * * *', 'cleanup',
 'Marks deliverables whose time is over as expired',
 '{deliverables.status,deliverables.expires_at}', $source$
DECLARE
	marked integer;
BEGIN
	UPDATE {schema}.deliverables AS d
	SET status = 'expired'
	WHERE d.status <> 'expired' AND d.expires_at <= now();
	GET DIAGNOSTICS marked = ROW_COUNT;
	RETURN marked;
END
$source$),
(6, 'process_email_queue', true, '* * * * *', 'email',
 'Sends due batches of notifications, one mail a batch',
 '{users.id,users.email,users.name|full_name,notification_email_queue.id,notification_email_queue.user_id,notification_email_queue.notification_ids,notification_email_queue.status,notification_email_queue.scheduled_for,notification_email_queue.sent_at,notification_email_queue.error_message|last_error,notifications.id,notifications.title,notifications.message,notifications.action_url,notifications.action_label,notifications.created_at}',
 $source$
DECLARE
	batch record;
	reminder record;
	accepted integer;
	has_work boolean;
	zone text;
BEGIN
	{pin_search_path}
	zone := jobs.portal_zone({payment_job});
	result := 0;
{record_batches}{record_reminders}
	has_work := EXISTS (SELECT FROM {schema}.notification_email_queue AS q
					  WHERE {batch_is_due});
	COMMIT;

	-- raises an error if no mail can be sent now: no batch has been touched yet
	IF has_work THEN
		CALL jobs.deliver_mail(0, accepted);
	END IF;

	{pin_search_path}
	FOR batch IN
		SELECT q.id, u.email::text AS email, u.{user_name}::text AS user_name,
			   {own_subject} AS subject, {own_text} AS body_text, {own_html} AS body_html,
			   {batch_key} AS about,
			   (SELECT jsonb_agg(jsonb_build_object(
						   'title', n.title, 'message', n.message,
						   'url', n.action_url, 'label', n.action_label)
						   ORDER BY n.created_at, n.id)
				FROM {schema}.notifications AS n
				WHERE n.id = ANY (q.notification_ids){not_deleted}) AS notifications
		FROM {schema}.notification_email_queue AS q
		LEFT JOIN {schema}.users AS u ON u.id = q.user_id
		WHERE {batch_is_due}
		ORDER BY q.scheduled_for, q.id
		LIMIT 50
		FOR UPDATE OF q SKIP LOCKED
	LOOP
		BEGIN
			IF batch.subject IS NOT NULL THEN
				PERFORM jobs.portal_send(batch.email, batch.subject, batch.body_text, batch.body_html, batch.about);
			ELSIF batch.notifications IS NOT NULL THEN
				PERFORM jobs.portal_send_digest(batch.email, batch.user_name, batch.notifications, batch.about);
			ELSE
				UPDATE {schema}.notification_email_queue AS q
				SET status = 'sent', sent_at = now(), {error} = 'closed without a mail: no notifications are left'
				WHERE q.id = batch.id;
				CONTINUE;
			END IF;
			UPDATE {schema}.notification_email_queue AS q
			SET status = {processing}, {error} = NULL
			WHERE q.id = batch.id;
		EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
			UPDATE {schema}.notification_email_queue AS q
			SET status = 'failed', {error} = SQLERRM
			WHERE q.id = batch.id;
		END;
	END LOOP;
	has_work := EXISTS (SELECT FROM {schema}.notification_email_queue AS q
					  WHERE q.status = {processing});
	COMMIT;

	IF has_work THEN
		CALL jobs.deliver_mail(50, accepted);
	END IF;

	{pin_search_path}
{record_batches}{record_reminders}END
$source$),
(7, 'check_overdue_payments', true, '0 10 * * *', 'payments',
 'Reminds clients whose advance was paid and whose balance is not',
 '{users.id,users.email,users.name|full_name,projects.id,project_team.project_id,project_team.user_id,project_team.is_primary_contact,project_team.removed_at,project_payment_status.project_id,project_payment_status.advance_paid_at,project_payment_status.balance_paid|balance_paid_at,payment_reminders.id,payment_reminders.project_id,payment_reminders.payment_id,payment_reminders.type,payment_reminders.status,payment_reminders.scheduled_for,payment_reminders.sent_at,payment_reminders.recipient_email,payment_reminders.recipient_user_id,payment_reminders.email_subject,payment_reminders.email_template}',
 $source$
DECLARE
	overdue record;
	reminder record;
	accepted integer;
	has_work boolean;
	zone text;
	today date;
	reminder_id {reminder_id_type};
	queued {reminder_id_type}[];
BEGIN
	{pin_search_path}
	zone := jobs.portal_zone({payment_job});
{record_reminders}	today := (now() AT TIME ZONE zone)::date;
	has_work := EXISTS (SELECT {overdue});
	COMMIT;

	-- raises an error if no mail can be sent now: no reminder has been touched yet
	IF has_work THEN
		CALL jobs.deliver_mail(0, accepted);
	END IF;

	{pin_search_path}
	-- of two runs at once, the second sees what the first has queued
	PERFORM pg_advisory_xact_lock(hashtextextended({reminder_prefix}, 0));
	FOR overdue IN
		SELECT s.project_id, contact.user_id, u.email::text AS email, u.{user_name}::text AS user_name,
			   {project_name} AS project_name,
			   {reminder_prefix} || s.project_id::text || '/' || to_char(today, 'YYYY-MM-DD') AS about
		{overdue}
		ORDER BY s.project_id
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM jobs.portal_mail_of(overdue.about) AS m
							  WHERE NOT m.given_up);
		BEGIN
			SELECT r.id INTO reminder_id
			FROM {schema}.payment_reminders AS r
			WHERE r.project_id = overdue.project_id AND r.type = 'BALANCE_DUE' AND r.status <> 'SENT'
			  AND (r.scheduled_for AT TIME ZONE zone)::date = today
			ORDER BY r.scheduled_for, r.id
			LIMIT 1
			FOR UPDATE;
			IF FOUND THEN
				UPDATE {schema}.payment_reminders AS r
				SET status = 'PENDING', recipient_email = coalesce(overdue.email, ''), recipient_user_id = overdue.user_id
				WHERE r.id = reminder_id;
			ELSE
				INSERT INTO {schema}.payment_reminders
					({reminder_id_column}project_id, payment_id, type, status, scheduled_for,
					 recipient_email, recipient_user_id, email_subject, email_template)
				VALUES ({reminder_id_value}overdue.project_id, NULL, 'BALANCE_DUE', 'PENDING', now(),
					 coalesce(overdue.email, ''), overdue.user_id,
					 'Payment Reminder: Balance Due', 'payment-reminder-balance')
				RETURNING id INTO reminder_id;
			END IF;
			BEGIN
				PERFORM jobs.portal_send_reminder(overdue.email, overdue.user_name, overdue.project_name, overdue.about);
				queued := array_append(queued, reminder_id);
			EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
				RAISE WARNING 'no reminder for project %: %', overdue.project_id, SQLERRM;
				UPDATE {schema}.payment_reminders AS r
				SET status = 'FAILED'{reminder_refused}
				WHERE r.id = reminder_id;
			END;
		EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
			RAISE WARNING 'no reminder for project %: %', overdue.project_id, SQLERRM;
		END;
	END LOOP;
	COMMIT;

	IF queued IS NOT NULL THEN
		CALL jobs.deliver_mail(least(cardinality(queued), 10000), accepted);
	END IF;

	{pin_search_path}
{record_reminders}	-- by their mails: another run may be about to record some of them
	result := (SELECT count(*) FROM {schema}.payment_reminders AS r
			   CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
			   WHERE r.id = ANY (queued) AND m.sent);
END
$source$);

INSERT INTO jobs.portal_part VALUES
/*
 * A procedure that commits cannot have a SET clause, and a local setting ends
 * with its transaction: this is the first statement of each.
 */
('pin_search_path', $source$PERFORM pg_catalog.set_config('search_path', {search_path}, true);$source$),

/* A batch that the old application left in process has no mail. */
('batch_is_due', $source$q.scheduled_for <= now(){not_held_back}
		  AND (q.status = 'pending'
			   OR q.status = {processing} AND q.scheduled_for <= now() - interval '15 minutes'
				  AND NOT EXISTS (SELECT FROM jobs.portal_mail_of({batch_key})))$source$),

/* Batches follow their mails.  Counts what was accepted since the last time. */
('record_batches', $source$	FOR batch IN
		SELECT q.id, m.sent, m.ended_at, m.reply, m.message_id
		FROM {schema}.notification_email_queue AS q
		CROSS JOIN LATERAL jobs.portal_mail_of({batch_key}) AS m
		WHERE q.status = {processing} AND m.ended
		FOR UPDATE OF q SKIP LOCKED
	LOOP
		IF batch.sent THEN
			UPDATE {schema}.notification_email_queue AS q
			SET status = 'sent', sent_at = batch.ended_at, {error} = NULL{batch_sent}
			WHERE q.id = batch.id;
			result := result + 1;
		ELSE
			UPDATE {schema}.notification_email_queue AS q
			SET status = 'failed', {error} = batch.reply
			WHERE q.id = batch.id;
		END IF;
	END LOOP;
$source$),

/* So do reminders. */
('record_reminders', $source$	FOR reminder IN
		SELECT r.id, m.sent, m.ended_at, m.reply, m.attempts
		FROM {schema}.payment_reminders AS r
		CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
		WHERE r.status = 'PENDING' AND r.type = 'BALANCE_DUE' AND m.ended
		FOR UPDATE OF r SKIP LOCKED
	LOOP
		IF reminder.sent THEN
			UPDATE {schema}.payment_reminders AS r
			SET status = 'SENT', sent_at = reminder.ended_at{reminder_sent}
			WHERE r.id = reminder.id;
		ELSE
			UPDATE {schema}.payment_reminders AS r
			SET status = 'FAILED'{reminder_failed}
			WHERE r.id = reminder.id;
		END IF;
	END LOOP;
$source$),

('reminder_key', $source${reminder_prefix} || r.project_id::text || '/'
			|| to_char(r.scheduled_for AT TIME ZONE zone, 'YYYY-MM-DD')$source$),

/* Projects to remind today, with their primary contact. */
('overdue', $source$FROM {schema}.project_payment_status AS s
		CROSS JOIN LATERAL (SELECT t.user_id FROM {schema}.project_team AS t
							WHERE t.project_id = s.project_id AND t.is_primary_contact AND t.removed_at IS NULL
							ORDER BY t.user_id LIMIT 1) AS contact
		LEFT JOIN {schema}.users AS u ON u.id = contact.user_id
		LEFT JOIN {schema}.projects AS p ON p.id = s.project_id
		WHERE {advance_is_paid}s.advance_paid_at < now() - interval '3 days'
		  AND {balance_is_open}
		  AND NOT EXISTS (SELECT FROM {schema}.payment_reminders AS r
						  WHERE r.project_id = s.project_id AND r.type = 'BALANCE_DUE' AND r.status = 'SENT'
							AND (coalesce(r.sent_at, r.scheduled_for) AT TIME ZONE zone)::date = today)$source$);

/* ---- Binding to a portal's tables ---- */

CREATE FUNCTION jobs.portal_columns(schema_name name) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schema_oid oid := (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = schema_name);
BEGIN
	IF schema_oid IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
			MESSAGE = format('schema "%s" does not exist', schema_name);
	END IF;
	RETURN (
		SELECT coalesce(jsonb_object_agg(t.relname, t.columns), '{}')
		FROM (SELECT c.relname,
					 jsonb_object_agg(a.attname, jsonb_build_object(
						'type', format_type(a.atttypid, a.atttypmod),
						'filled', a.atthasdef OR a.attidentity <> '')) AS columns
			  FROM pg_class AS c
			  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			  WHERE c.relnamespace = schema_oid AND c.relkind IN ('r', 'p', 'v', 'f')
			  GROUP BY c.relname) AS t);
END
$$;
COMMENT ON FUNCTION jobs.portal_columns(name) IS 'portal pack: tables of a schema, as an object of objects: columns, with type and whether they fill themselves';

CREATE FUNCTION jobs.portal_pick(columns jsonb, table_name text, choices text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT choice.name
	FROM string_to_table(choices, '|') WITH ORDINALITY AS choice (name, nr)
	WHERE columns -> table_name ? choice.name
	ORDER BY choice.nr
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_pick(jsonb, text, text) IS 'portal pack: the first of the columns a|b|c that the table has; NULL: none';

CREATE FUNCTION jobs.portal_missing(needs text[], columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT string_agg(DISTINCT
			CASE WHEN columns ? split_part(need, '.', 1)
				 THEN 'column ' || split_part(need, '.', 1) || '.' || replace(split_part(need, '.', 2), '|', ' or ')
				 ELSE 'table ' || split_part(need, '.', 1) END, ', ')
	FROM unnest(needs) AS need
	WHERE jobs.portal_pick(columns, split_part(need, '.', 1), split_part(need, '.', 2)) IS NULL;
END;
COMMENT ON FUNCTION jobs.portal_missing(text[], jsonb) IS 'portal pack: what is missing of the needs of a job, in words; NULL: nothing';

/* All values that a CHECK constraint or an enum names for a column, as one text. */
CREATE FUNCTION jobs.portal_allowed(schema_name name, table_name name, column_name name) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT concat(
		(SELECT string_agg(pg_get_constraintdef(con.oid), ' ') FROM pg_constraint AS con
		 WHERE con.conrelid = a.attrelid AND con.contype = 'c' AND a.attnum = ANY (con.conkey)),
		(SELECT string_agg(quote_literal(e.enumlabel), ' ') FROM pg_enum AS e WHERE e.enumtypid = a.atttypid))
	FROM pg_attribute AS a
	JOIN pg_class AS c ON c.oid = a.attrelid
	JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE n.nspname = schema_name AND c.relname = table_name AND a.attname = column_name;
END;
COMMENT ON FUNCTION jobs.portal_allowed(name, name, name) IS 'portal pack: the constraints on the values of a column, as text';

/*
 * What {name} stands for in the sources: SQL text, quoted here once.  NULL is
 * what only sources need that cannot be bound.
 */
CREATE FUNCTION jobs.portal_batch_bindings(schema_name name, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queue jsonb := coalesce(columns -> 'notification_email_queue', '{}');
	pauses text := CASE WHEN columns -> 'user_notification_preferences' ?& '{user_id,paused_until}'
		THEN format('NOT EXISTS (SELECT FROM %I.user_notification_preferences AS held'
					' WHERE held.user_id = q.user_id AND held.paused_until > now())', schema_name) END;
	states text := jobs.portal_allowed(schema_name, 'notification_email_queue', 'status');
	filled text := CASE WHEN queue ?& '{subject,body_text,body_html}'
		THEN 'CASE WHEN btrim(q.subject) <> '''' AND btrim(concat(q.body_text, q.body_html)) <> '''' THEN %s END'
		ELSE 'NULL::text' END;
BEGIN
	RETURN jsonb_build_object(
		'processing', CASE WHEN states LIKE '%''sending''%' AND states NOT LIKE '%''processing''%'
						   THEN '''sending''' ELSE '''processing''' END,
		'error', quote_ident(jobs.portal_pick(columns, 'notification_email_queue', 'error_message|last_error')),
		'batch_key', format('%L || q.id::text', schema_name || '.notification_email_queue/'),
		'not_held_back', coalesce(' AND ' || CASE WHEN queue ? 'email_type'
			THEN format('(q.email_type IS DISTINCT FROM ''digest'' OR %s)', pauses) ELSE pauses END, ''),
		'not_deleted', CASE WHEN columns -> 'notifications' ? 'deleted_at' THEN ' AND n.deleted_at IS NULL' ELSE '' END,
		'own_subject', format(filled, 'q.subject'),
		'own_text', format(filled, 'nullif(q.body_text, '''')'),
		'own_html', format(filled, 'nullif(q.body_html, '''')'),
		'batch_sent', CASE WHEN queue ? 'ses_message_id' THEN ', ses_message_id = batch.message_id' ELSE '' END);
END
$$;
COMMENT ON FUNCTION jobs.portal_batch_bindings(name, jsonb) IS 'portal pack: what the names in sources stand for, of the e-mail queue';

CREATE FUNCTION jobs.portal_reminder_bindings(schema_name name, prefix text, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	payment jsonb := coalesce(columns -> 'project_payment_status', '{}');
	reminder jsonb := coalesce(columns -> 'payment_reminders', '{}');
	id_type text := reminder #>> '{id,type}';
	gives_id boolean := id_type = 'uuid' AND NOT (reminder #>> '{id,filled}')::boolean;
	set_attempts text := CASE WHEN reminder ? 'attempts' THEN ', attempts = reminder.attempts' ELSE '' END;
	set_error text := ', ' || quote_ident(jobs.portal_pick(columns, 'payment_reminders', 'last_error|error_message')) || ' = ';
BEGIN
	RETURN jsonb_build_object(
		'payment_job', quote_literal(prefix || 'check_overdue_payments'),
		'project_name', coalesce('p.' || jobs.portal_pick(columns, 'projects', 'name|project_name') || '::text', 'NULL::text'),
		'advance_is_paid', CASE WHEN payment ? 'advance_paid' THEN 's.advance_paid AND ' ELSE '' END,
		'balance_is_open', CASE WHEN payment ? 'balance_paid' THEN 's.balance_paid IS NOT TRUE' ELSE 's.balance_paid_at IS NULL' END,
		'reminder_prefix', quote_literal(schema_name || '.payment_reminders/'),
		'reminder_id_type', id_type,
		'reminder_id_column', CASE WHEN gives_id THEN 'id, ' ELSE '' END,
		'reminder_id_value', CASE WHEN gives_id THEN 'gen_random_uuid(), ' ELSE '' END,
		'reminder_sent', set_attempts || coalesce(set_error || 'NULL', ''),
		'reminder_failed', set_attempts || coalesce(set_error || 'reminder.reply', ''),
		'reminder_refused', coalesce(set_error || 'SQLERRM', ''));
END
$$;
COMMENT ON FUNCTION jobs.portal_reminder_bindings(name, text, jsonb) IS 'portal pack: what the names in sources stand for, of the payment reminders';

CREATE FUNCTION jobs.portal_bindings(schema_name name, prefix text, columns jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN jsonb_build_object(
		'schema', quote_ident(schema_name),
		'search_path', quote_literal(format('pg_catalog, %I, pg_temp', schema_name)),
		'user_name', jobs.portal_pick(columns, 'users', 'name|full_name'))
	|| jobs.portal_batch_bindings(schema_name, columns)
	|| jobs.portal_reminder_bindings(schema_name, prefix, columns)
	|| (SELECT CASE WHEN jobs.portal_missing(j.needs, columns) IS NULL THEN '{}' ELSE '{"record_reminders": ""}' END::jsonb
		FROM jobs.portal_job AS j WHERE j.job = 'check_overdue_payments');
COMMENT ON FUNCTION jobs.portal_bindings(name, text, jsonb) IS 'portal pack: what the names in sources stand for';

/* What a name stands for is put in as it is, and not looked through again. */
CREATE FUNCTION jobs.portal_bind(source text, bindings jsonb) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pieces text[] := regexp_split_to_array(source, '[{}]');
	bound text := pieces[1];
	piece text;
BEGIN
	FOR i IN 2 .. cardinality(pieces) LOOP
		piece := pieces[i];
		IF i % 2 = 0 THEN
			piece := coalesce(bindings ->> pieces[i],
							  (SELECT jobs.portal_bind(p.source, bindings)
							   FROM jobs.portal_part AS p WHERE p.name = pieces[i]));
			IF piece IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'internal_error',
					MESSAGE = format('nothing is bound to "%s"', pieces[i]);
			END IF;
		END IF;
		bound := bound || piece;
	END LOOP;
	RETURN bound;
END
$$;
COMMENT ON FUNCTION jobs.portal_bind(text, jsonb) IS 'portal pack: a source, with its names replaced by what they stand for';

/* ---- Installing ---- */

/*
 * The routine that a job calls, if there is one.  It is ours if its comment
 * says so and its source is as we wrote it: CREATE OR REPLACE by the
 * application keeps the comment.
 */
CREATE FUNCTION jobs.portal_routine(schema_name name, routine_name name, is_procedure boolean,
	OUT routine oid, OUT kind text, OUT is_ours boolean, OUT source text, OUT problem text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.oid, p.prokind::text,
		   coalesce(starts_with(obj_description(p.oid, 'pg_proc'), 'motionify_jobs portal pack ' || md5(p.prosrc)), false),
		   p.prosrc,
		   CASE WHEN p.pronargs > p.pronargdefaults
				THEN format('%s cannot be called without arguments', p.oid::regprocedure)
				WHEN p.proretset OR outcome.type IS NULL
					 OR outcome.type NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
				THEN format('%s does not return one integer', p.oid::regprocedure) END
	FROM pg_proc AS p
	JOIN pg_namespace AS n ON n.oid = p.pronamespace
	CROSS JOIN LATERAL (
		SELECT CASE WHEN p.prokind = 'f' THEN p.prorettype
					WHEN count(*) = 1 THEN min(p.proallargtypes[arg.nr]) END AS type
		FROM unnest(p.proargmodes) WITH ORDINALITY AS arg (mode, nr)
		WHERE arg.mode IN ('o', 'b')) AS outcome
	WHERE n.nspname = schema_name AND p.proname = routine_name AND p.prokind IN ('f', 'p')
	  AND (p.pronargs = p.pronargdefaults OR is_procedure AND p.proargtypes = '23'::oidvector)
	ORDER BY p.pronargs
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_routine(name, name, boolean) IS 'portal pack: the routine of a job, whether it is the pack''s, and why it cannot be used';

CREATE FUNCTION jobs.portal_create(schema_name name, wanted jobs.portal_job, bound_source text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format(CASE WHEN wanted.is_procedure
		THEN 'CREATE OR REPLACE PROCEDURE %1$I.%2$I(INOUT result integer DEFAULT NULL) LANGUAGE plpgsql AS %3$L'
		ELSE 'CREATE OR REPLACE FUNCTION %1$I.%2$I() RETURNS integer LANGUAGE plpgsql'
			 ' SET search_path = pg_catalog, %1$I, pg_temp AS %3$L' END,
		schema_name, wanted.job, bound_source);
	EXECUTE format(CASE WHEN wanted.is_procedure
		THEN 'COMMENT ON PROCEDURE %I.%I(integer) IS %L' ELSE 'COMMENT ON FUNCTION %I.%I() IS %L' END,
		schema_name, wanted.job,
		format('motionify_jobs portal pack %s: %s', md5(bound_source), wanted.description));
END
$$;
COMMENT ON FUNCTION jobs.portal_create(name, jobs.portal_job, text) IS 'portal pack: writes a job''s routine into the portal''s schema';

/*
 * Finds or writes the routine of a job.  command is NULL if that cannot be;
 * detail then says why.
 */
CREATE FUNCTION jobs.portal_provide(schema_name name, wanted jobs.portal_job, columns jsonb, bindings jsonb,
	OUT command text, OUT is_written boolean, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there record;
	missing text := jobs.portal_missing(wanted.needs, columns);
	bound_source text;
BEGIN
	SELECT r.* INTO there FROM jobs.portal_routine(schema_name, wanted.job, wanted.is_procedure) AS r;
	is_written := false;
	IF NOT there.is_ours THEN
		detail := coalesce(there.problem, format('uses the application''s own %s', there.routine::regprocedure));
	ELSIF missing IS NOT NULL THEN
		detail := format('not found in schema "%s": %s', schema_name, missing);
	ELSE
		detail := 'bound to the tables that are there';
		bound_source := jobs.portal_bind(wanted.source, bindings);
		is_written := there.source IS DISTINCT FROM bound_source;
	END IF;
	IF is_written THEN
		PERFORM jobs.portal_create(schema_name, wanted, bound_source);
	END IF;
	IF bound_source IS NOT NULL OR NOT there.is_ours AND there.problem IS NULL THEN
		command := format('%s %I.%I()', CASE WHEN coalesce(there.kind = 'p', wanted.is_procedure) THEN 'CALL' ELSE 'SELECT' END,
						  schema_name, wanted.job);
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_provide(name, jobs.portal_job, jsonb, jsonb) IS 'portal pack: finds or writes the routine of a job';

/* Whether a command is one that the pack gives to this job: SELECT or CALL. */
CREATE FUNCTION jobs.portal_is_command(command text, schema_name name, job text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce(command IN (format('SELECT %I.%I()', schema_name, job), format('CALL %I.%I()', schema_name, job)), false);
COMMENT ON FUNCTION jobs.portal_is_command(text, name, text) IS 'portal pack: whether a command is one that the pack gives to a job';

/*
 * One job.  What is there keeps its schedule, zone and pause, and a command
 * that somebody changed.
 */
CREATE FUNCTION jobs.portal_install_job(schema_name name, job_name text, wanted jobs.portal_job,
	columns jsonb, bindings jsonb, OUT status text, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there jobs.portal_installed;
	routine record;
BEGIN
	status := 'missing';
	SELECT j.* INTO there FROM jobs.portal_installed AS j WHERE j.name = job_name;
	IF there.command ~ format('^(SELECT|CALL) .+\.%s\(\)$', wanted.job)
	   AND NOT jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
		detail := format('job "%s" is of another schema (%s): choose another prefix', job_name, there.command);
		RETURN;
	END IF;
	routine := jobs.portal_provide(schema_name, wanted, columns, bindings);
	detail := routine.detail;
	IF routine.command IS NULL THEN
		RETURN;
	END IF;
	IF there.name IS NULL THEN
		PERFORM jobs.schedule(job_name, wanted.schedule, routine.command,
							  description => wanted.description, job_group => wanted.job_group);
		status := 'installed';
	ELSIF there.command = routine.command THEN
		status := CASE WHEN routine.is_written THEN 'updated' ELSE 'unchanged' END;
	ELSIF jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
		PERFORM jobs.schedule(job_name, there.schedule, routine.command);
		status := 'updated';
	ELSE
		status := CASE WHEN routine.is_written THEN 'updated' ELSE 'unchanged' END;
		detail := detail || format('; the job keeps its own command: %s', there.command);
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_install_job(name, text, jobs.portal_job, jsonb, jsonb) IS 'portal pack: installs one job';

CREATE FUNCTION jobs.install_portal(schema_name name DEFAULT 'public', prefix text DEFAULT '')
RETURNS TABLE (job text, status text, detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns jsonb := jobs.portal_columns(schema_name);
	bindings jsonb := jobs.portal_bindings(schema_name, coalesce(prefix, ''), columns);
	wanted jobs.portal_job;
BEGIN
	FOR wanted IN SELECT j.* FROM jobs.portal_job AS j ORDER BY j.position LOOP
		job := concat(prefix, wanted.job);
		SELECT i.status, i.detail INTO status, detail
		FROM jobs.portal_install_job(schema_name, job, wanted, columns, bindings) AS i;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION jobs.install_portal(name, text) IS 'writes the portal''s jobs into its schema and schedules them; again at any time, as after a migration of the portal';

/* Takes away what install_portal() made; the application's own stays. */
CREATE FUNCTION jobs.uninstall_portal(schema_name name DEFAULT 'public', prefix text DEFAULT '')
RETURNS TABLE (job text, status text, detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted jobs.portal_job;
	there jobs.portal_installed;
	routine record;
BEGIN
	FOR wanted IN SELECT j.* FROM jobs.portal_job AS j ORDER BY j.position LOOP
		job := concat(prefix, wanted.job);
		status := 'missing';
		detail := 'there is no such job';
		SELECT j.* INTO there FROM jobs.portal_installed AS j WHERE j.name = job;
		IF jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
			PERFORM jobs.unschedule(job);
			status := 'uninstalled';
			detail := there.command;
		ELSIF there.name IS NOT NULL THEN
			status := 'unchanged';
			detail := format('the job runs something else: %s', there.command);
		END IF;
		SELECT r.* INTO routine FROM jobs.portal_routine(schema_name, wanted.job, wanted.is_procedure) AS r;
		IF routine.is_ours THEN
			EXECUTE format('DROP ROUTINE %s', routine.routine::regprocedure);
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION jobs.uninstall_portal(name, text) IS 'removes the portal''s jobs and the routines that install_portal() wrote';
