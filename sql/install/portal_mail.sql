/*
 * portal_mail.sql -- the portal pack's mail: composing, sending, finding it
 *
 * What the routines in a portal's schema need of the extension; it is upgraded
 * with it.  Everything here runs with the rights of its caller.
 */

CREATE VIEW jobs.portal_mail WITH (security_barrier) AS
SELECT m.source_key, m.ended_as, m.ended_at, m.attempts, m.smtp_code, m.smtp_reply, m.message_id
FROM jobs.mail AS m
WHERE jobs.sees_role(m.role, m.role_oid);
COMMENT ON VIEW jobs.portal_mail IS 'portal pack: how the mails of the reader''s roles ended';

/* ---- Words ---- */

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

CREATE FUNCTION jobs.portal_line(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN nullif(btrim(regexp_replace(value, '[\s[:cntrl:]]+', ' ', 'g')), '');
COMMENT ON FUNCTION jobs.portal_line(text) IS 'portal pack: text in one line, as for a subject; NULL: it is blank';

CREATE FUNCTION jobs.portal_greeting(user_name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN 'Hello' || coalesce(' ' || jobs.portal_line(user_name), '') || ',';
COMMENT ON FUNCTION jobs.portal_greeting(text) IS 'portal pack: first line of a mail';

/* A path of the portal becomes an address, if it is known where the portal is. */
CREATE FUNCTION jobs.portal_link(url text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT CASE WHEN link.path ~ '^/([^/]|$)' AND link.base <> '' THEN rtrim(link.base, '/') || link.path
				ELSE link.path END
	FROM (SELECT nullif(jobs.portal_lines(url), ''), current_setting('motionify_jobs.portal_url', true)) AS link (path, base));
COMMENT ON FUNCTION jobs.portal_link(text) IS 'portal pack: where a notification leads, as an address; NULL: nowhere';

/*
 * What is not known is not said: without a currency the unit is unknown.
 * Rupees are grouped by lakh and crore, all else by thousands.
 */
CREATE FUNCTION jobs.portal_amount(amount bigint, currency text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT coalesce(sign.symbol, money.code || ' ')
		|| CASE WHEN money.code IN ('INR', 'NPR', 'BDT', 'LKR', 'PKR')
				THEN regexp_replace(left(parts.whole, -3), '(\d)(?=(\d\d)+$)', '\1,', 'g')
					 || CASE WHEN length(parts.whole) > 3 THEN ',' ELSE '' END || right(parts.whole, 3)
				ELSE regexp_replace(parts.whole, '(\d)(?=(\d\d\d)+$)', '\1,', 'g') END
		|| CASE WHEN unit.digits > 0 THEN '.' || right(parts.padded, unit.digits) ELSE '' END
	FROM (SELECT upper(btrim(currency))) AS money (code)
	CROSS JOIN LATERAL (
		SELECT CASE WHEN money.code IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF',
										'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
					WHEN money.code IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
					ELSE 2 END) AS unit (digits)
	CROSS JOIN LATERAL (
		SELECT CASE money.code WHEN 'INR' THEN '₹' WHEN 'USD' THEN '$' WHEN 'EUR' THEN '€' WHEN 'GBP' THEN '£'
							   WHEN 'JPY' THEN '¥' END) AS sign (symbol)
	CROSS JOIN LATERAL (SELECT lpad(amount::text, greatest(length(amount::text), unit.digits + 1), '0')) AS text (padded)
	CROSS JOIN LATERAL (SELECT text.padded, left(text.padded, length(text.padded) - unit.digits)) AS parts (padded, whole)
	WHERE amount > 0 AND money.code ~ '^[A-Z]{3}$');
COMMENT ON FUNCTION jobs.portal_amount(bigint, text) IS 'portal pack: an amount in the smallest unit of a currency, in words; NULL: nothing, or it is not known';

/* ---- HTML for mail clients ---- */

/*
 * One column of at most 600 pixels; tables and inline styles, for mail clients
 * know little else.  Those that know media queries follow the reader's choice
 * of light or dark.
 */
CREATE FUNCTION jobs.portal_page(title text, preview text, content text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN format($html$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>%1$s</title>
<style>
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
.mp-back { background-color: #0b1220 !important; }
.mp-card { background-color: #172033 !important; border-color: #2b3750 !important; }
.mp-line { border-color: #2b3750 !important; }
.mp-head { color: #f3f4f6 !important; }
.mp-text { color: #d1d5db !important; }
.mp-mute { color: #9ca3af !important; }
.mp-push { background-color: #818cf8 !important; }
.mp-push a { color: #0b1220 !important; }
}
</style>
</head>
<body class="mp-back" style="margin:0;padding:0;background-color:#f3f4f6;">
<div style="display:none;max-height:0;overflow:hidden;opacity:0;">%2$s</div>
<table class="mp-back" role="presentation" width="100%%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f3f4f6;">
<tr><td align="center" style="padding:24px 12px;">
<table class="mp-card" role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" style="width:100%%;max-width:600px;background-color:#ffffff;border:1px solid #e5e7eb;border-radius:8px;font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:22px;text-align:left;">
<tr><td class="mp-line mp-mute" style="padding:18px 28px;border-bottom:1px solid #e5e7eb;font-size:13px;line-height:18px;font-weight:bold;letter-spacing:0.5px;color:#6b7280;">Motionify Portal</td></tr>
<tr><td class="mp-head" style="padding:24px 28px 0 28px;font-size:21px;line-height:28px;font-weight:bold;color:#111827;">%1$s</td></tr>
%3$s<tr><td style="padding:24px 28px 0 28px;font-size:0;line-height:0;">&nbsp;</td></tr>
<tr><td class="mp-line mp-mute" style="padding:16px 28px;border-top:1px solid #e5e7eb;font-size:12px;line-height:18px;color:#6b7280;">You receive this mail because you have an account at the Motionify Portal.</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
$html$, jobs.portal_escape(title), coalesce(jobs.portal_escape(preview), ''), content);
COMMENT ON FUNCTION jobs.portal_page(text, text, text) IS 'portal pack: a whole HTML mail around table rows that are HTML already; preview is what lists of mails show of it';

CREATE FUNCTION jobs.portal_row(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
RETURN format(E'<tr><td class="mp-text" style="padding:16px 28px 0 28px;color:#374151;">%s</td></tr>\n', content);
COMMENT ON FUNCTION jobs.portal_row(text) IS 'portal pack: a table row of portal_page() around HTML';

CREATE FUNCTION jobs.portal_rule() RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN $html$<tr><td style="padding:20px 28px 0 28px;"><table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr><td class="mp-line" style="border-top:1px solid #e5e7eb;font-size:0;line-height:0;">&nbsp;</td></tr></table></td></tr>
$html$;
COMMENT ON FUNCTION jobs.portal_rule() IS 'portal pack: a table row of portal_page() that is a line';

/* Only a web address becomes a link: javascript: and the like are shown, not linked. */
CREATE FUNCTION jobs.portal_button(url text, label text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
RETURN format(CASE WHEN url ~* '^https?://\S+$'
		THEN $html$<table role="presentation" cellpadding="0" cellspacing="0" border="0" style="margin-top:14px;"><tr><td class="mp-push" style="background-color:#4338ca;border-radius:6px;"><a href="%s" style="display:inline-block;padding:10px 18px;font-size:14px;line-height:18px;font-weight:bold;color:#ffffff;text-decoration:none;">%s</a></td></tr></table>$html$
		ELSE '<div class="mp-mute" style="margin-top:8px;color:#6b7280;">%2$s: %1$s</div>' END,
	jobs.portal_escape(url), jobs.portal_escape(label));
COMMENT ON FUNCTION jobs.portal_button(text, text) IS 'portal pack: a link in HTML mail';

/* ---- Notifications ---- */

/*
 * The notifications of a batch, cleaned: what is blank is NULL.  They come as
 * a JSON array of objects with title, message, url, label, actor and project.
 */
CREATE FUNCTION jobs.portal_items(notifications jsonb)
RETURNS TABLE (nr bigint, title text, message text, url text, label text, byline text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT item.nr,
		   coalesce(jobs.portal_line(item.value ->> 'title'), 'Notification'),
		   nullif(jobs.portal_lines(item.value ->> 'message'), ''),
		   jobs.portal_link(item.value ->> 'url'),
		   coalesce(jobs.portal_line(item.value ->> 'label'), 'Open'),
		   nullif(concat_ws(' · ', jobs.portal_line(item.value ->> 'actor'), jobs.portal_line(item.value ->> 'project')), '')
	FROM jsonb_array_elements(notifications) WITH ORDINALITY AS item (value, nr);
END;
COMMENT ON FUNCTION jobs.portal_items(jsonb) IS 'portal pack: the notifications of a batch, cleaned';

/* What stands under the title of a notification, in plain text and in HTML. */
CREATE FUNCTION jobs.portal_item(message text, url text, label text, byline text, OUT body_text text, OUT body_html text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT concat(E'\n' || byline, E'\n' || message, E'\n' || label || ': ' || url),
		   concat('<div class="mp-mute" style="padding-bottom:4px;font-size:13px;line-height:19px;color:#6b7280;">' || jobs.portal_escape(byline) || '</div>',
				  '<div>' || replace(jobs.portal_escape(message), E'\n', E'<br>\n') || '</div>',
				  jobs.portal_button(url, label));
END;
COMMENT ON FUNCTION jobs.portal_item(text, text, text, text) IS 'portal pack: a notification, without its title';

CREATE FUNCTION jobs.portal_single(user_name text, notifications jsonb, OUT subject text, OUT body_text text, OUT body_html text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT left(n.title, 200),
		   concat(jobs.portal_greeting(user_name), E'\n\n', n.title, item.body_text, E'\n\n-- \nMotionify Portal\n'),
		   jobs.portal_page(n.title, n.message, concat(jobs.portal_row(jobs.portal_escape(jobs.portal_greeting(user_name))), jobs.portal_row(nullif(item.body_html, ''))))
	FROM jobs.portal_items(notifications) AS n
	CROSS JOIN LATERAL jobs.portal_item(n.message, n.url, n.label, n.byline) AS item
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_single(text, jsonb) IS 'portal pack: a mail with one notification';

CREATE FUNCTION jobs.portal_digest(user_name text, notifications jsonb, OUT subject text, OUT body_text text, OUT body_html text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT head.subject,
		   format(E'%s\n\n%s:\n\n%s\n\n-- \nMotionify Portal\n', jobs.portal_greeting(user_name), head.subject,
				  string_agg(n.nr || '. ' || n.title || item.body_text, E'\n\n' ORDER BY n.nr)),
		   jobs.portal_page(head.subject, string_agg(n.title, ', ' ORDER BY n.nr),
				  jobs.portal_row(jobs.portal_escape(jobs.portal_greeting(user_name)))
				  || string_agg(jobs.portal_row('<div class="mp-head" style="font-weight:bold;color:#111827;">' || jobs.portal_escape(n.title) || '</div>'
												|| item.body_html), jobs.portal_rule() ORDER BY n.nr))
	FROM (SELECT format('You have %s new notification%s', jsonb_array_length(notifications),
						CASE WHEN jsonb_array_length(notifications) > 1 THEN 's' END)) AS head (subject)
	CROSS JOIN jobs.portal_items(notifications) AS n
	CROSS JOIN LATERAL jobs.portal_item(n.message, n.url, n.label, n.byline) AS item
	GROUP BY head.subject;
END;
COMMENT ON FUNCTION jobs.portal_digest(text, jsonb) IS 'portal pack: a mail with the notifications of a batch';

/* ---- Payment reminders ---- */

CREATE FUNCTION jobs.portal_fact(label text, value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
RETURN format('<tr><td class="mp-mute" style="padding:4px 24px 4px 0;color:#6b7280;">%s</td>'
			  '<td class="mp-head" style="padding:4px 0;font-weight:bold;color:#111827;">%s</td></tr>',
			  jobs.portal_escape(label), jobs.portal_escape(value));
COMMENT ON FUNCTION jobs.portal_fact(text, text) IS 'portal pack: a row of the table in a payment reminder';

CREATE FUNCTION jobs.portal_reminder(user_name text, project_name text, amount text, OUT body_text text, OUT body_html text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	project text := jobs.portal_line(project_name);
	sentence text := format('The advance payment for %s has been received, thank you. The balance%s has not been paid yet.',
							coalesce('"' || project || '"', 'your project'), ' of ' || amount);
	request text := 'Please pay it in the Motionify Portal. If you have just done so, there is nothing left to do.';
	link text := nullif(jobs.portal_link('/'), '/');
	facts text := concat(jobs.portal_fact('Project', project), jobs.portal_fact('Balance due', amount));
BEGIN
	body_text := format(E'%s\n\n%s\n\n%s\n%s\n-- \nMotionify Portal\n',
						jobs.portal_greeting(user_name), sentence, request, E'\n' || link || E'\n');
	body_html := jobs.portal_page('Balance due', sentence, concat(
		jobs.portal_row(jobs.portal_escape(jobs.portal_greeting(user_name))),
		jobs.portal_row(jobs.portal_escape(sentence)),
		jobs.portal_row('<table role="presentation" cellpadding="0" cellspacing="0" border="0">' || nullif(facts, '') || '</table>'),
		jobs.portal_row(jobs.portal_escape(request) || coalesce(jobs.portal_button(link, 'Open the portal'), ''))));
END
$$;
COMMENT ON FUNCTION jobs.portal_reminder(text, text, text) IS 'portal pack: a payment reminder in plain text and HTML';

/* ---- Sending and finding mail ---- */

/*
 * The mail that is about something.  A mail that was given up may be followed
 * by another one, with a number behind its key: the last one counts.  One of
 * which it is not known whether the server has it has ended, but is not
 * followed: it may have arrived.
 */
CREATE FUNCTION jobs.portal_mail_of(about text)
RETURNS TABLE (source_key text, tries integer, ended boolean, sent boolean, given_up boolean, is_exhausted boolean,
			   ended_at timestamptz, failures integer, reply text, message_id text)
LANGUAGE plpgsql STABLE ROWS 1
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
		ended := mail.ended_as IS NOT NULL;
		sent := mail.ended_as IS NOT DISTINCT FROM 'sent';
		given_up := coalesce(mail.ended_as IN ('failed', 'suppressed', 'cancelled', 'expired'), false);
		is_exhausted := coalesce(mail.ended_as = 'failed'
								 AND (mail.smtp_code BETWEEN 400 AND 499 OR mail.smtp_code IS NULL AND mail.attempts > 1), false);
		ended_at := mail.ended_at;
		failures := mail.attempts - sent::integer;
		reply := coalesce(nullif(mail.smtp_reply, ''), 'mail ' || mail.ended_as);
		message_id := mail.message_id;
		EXIT WHEN NOT given_up;
	END LOOP;
	IF tries > 0 THEN
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_mail_of(text) IS 'portal pack: the last mail about something and how it ended; no row: there is none. is_exhausted: its attempts are used up, rather than refused for good';

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

/* A batch of type digest stays one, if only one of its notifications is left. */
CREATE FUNCTION jobs.portal_send_batch(recipient text, user_name text, notifications jsonb, is_digest boolean, about text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mail record;
BEGIN
	IF is_digest OR jsonb_array_length(notifications) > 1 THEN
		mail := jobs.portal_digest(user_name, notifications);
	ELSE
		mail := jobs.portal_single(user_name, notifications);
	END IF;
	PERFORM jobs.portal_send(recipient, mail.subject, mail.body_text, mail.body_html, about);
END
$$;
COMMENT ON FUNCTION jobs.portal_send_batch(text, text, jsonb, boolean, text) IS 'portal pack: queues a mail with the notifications of a batch';

CREATE FUNCTION jobs.portal_send_reminder(recipient text, user_name text, project_name text, amount text, about text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	body record := jobs.portal_reminder(user_name, project_name, amount);
BEGIN
	PERFORM jobs.portal_send(recipient, 'Payment Reminder: Balance Due',
							 body.body_text, body.body_html, about);
END
$$;
COMMENT ON FUNCTION jobs.portal_send_reminder(text, text, text, text, text) IS 'portal pack: queues a payment reminder';

/* The setting of the session that asks; a session that has not loaded the library has none. */
CREATE FUNCTION jobs.portal_max_batches() RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce(nullif(current_setting('motionify_jobs.portal_max_batches', true), '')::integer, 50);
COMMENT ON FUNCTION jobs.portal_max_batches() IS 'portal pack: batches that a run of process_email_queue takes at most';

/*
 * Errors that are not about the mail, batch or project at hand: those of
 * connections, resources, the operator, the system; and, of sending, what is
 * not set up.  A trigger that raises 55000 means its row.
 */
CREATE FUNCTION jobs.portal_stops(error_code text, is_sending boolean DEFAULT false) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN left(error_code, 2) IN ('08', '53', '57', '58', 'XX') OR is_sending AND error_code = '55000';
COMMENT ON FUNCTION jobs.portal_stops(text, boolean) IS 'portal pack: whether an error ends the run, rather than what it happened to';
