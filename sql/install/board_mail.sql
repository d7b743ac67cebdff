/*
 * board_mail.sql -- the pages of the board about mails
 */
/* A page looks through 20000 mails at most, so that a search that finds nothing ends. */
CREATE FUNCTION jobs.board_outbox(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET jit = off
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'q', '') AS q, nullif((c).params ->> 'status', '') AS status,
			   b.before, jobs.board_mail_reach(b.before) AS reach, (c).params ? 'before' AS later
		FROM (SELECT coalesce(jobs.board_number((c).params ->> 'before'), 9223372036854775807) AS before) AS b),
	seen AS (
		SELECT o.mail_id, o.recipient, o.subject, o.status, o.attempts, o.next_attempt_at, o.smtp_reply, o.created_at, o.ended_at
		FROM jobs.outbox AS o
		WHERE o.mail_id < (SELECT p.before FROM p) AND o.mail_id >= (SELECT p.reach FROM p)
		ORDER BY o.mail_id DESC),
	found AS MATERIALIZED (
		SELECT s.*, pg_catalog.row_number() OVER () AS n
		FROM (SELECT s.* FROM seen AS s
			  WHERE ((SELECT p.status FROM p) IS NULL OR s.status = (SELECT p.status FROM p))
				AND ((SELECT p.q FROM p) IS NULL
					 OR pg_catalog.strpos(pg_catalog.lower(pg_catalog.concat_ws(' ', s.recipient, s.subject)), pg_catalog.lower((SELECT p.q FROM p))) > 0)
			  LIMIT 51) AS s),
	edge AS (
		SELECT coalesce((SELECT f.mail_id FROM found AS f WHERE f.n = 50 AND EXISTS (SELECT FROM found AS f WHERE f.n > 50)), nullif(p.reach, 0)) AS mail_id FROM p)
	SELECT pg_catalog.jsonb_build_object(
		'mail', jobs.board_mail(c),
		'q', p.q, 'status', p.status,
		'filtered', p.q IS NOT NULL OR p.status IS NOT NULL,
		'counts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('status', jobs.board_status(s.status), 'mails', s.mails,
							'href', jobs.board_link('outbox', 'status', s.status),
							'oldest', jobs.board_span(s.oldest_due),
							'last', jobs.board_time(s.last_ended, (c).zone, (c).now)) ORDER BY s.mails DESC), '[]')
				   FROM jobs.outbox_status AS s),
		'statuses', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', o.value, 'label', coalesce(nullif(o.value, ''), 'any status'),
							'selected', o.value = coalesce(p.status, '')) ORDER BY o.n)
					 FROM pg_catalog.unnest('{"",queued,sending,sent,failed,uncertain,suppressed,cancelled,expired}'::text[]) WITH ORDINALITY AS o (value, n)),
		'mails', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'mail_id', f.mail_id,
							'href', jobs.board_link('mail', 'id', f.mail_id::text),
							'recipient', f.recipient,
							'subject', coalesce(nullif(f.subject, ''), '(no subject)'),
							'status', jobs.board_status(f.status),
							'attempts', f.attempts,
							'reply', CASE WHEN f.status <> 'sent' THEN pg_catalog.left(f.smtp_reply, 200) END,
							'next', jobs.board_time(f.next_attempt_at, (c).zone, (c).now),
							'created', jobs.board_time(f.created_at, (c).zone, (c).now),
							'ended', jobs.board_time(f.ended_at, (c).zone, (c).now)) ORDER BY f.n), '[]')
				  FROM found AS f WHERE f.n <= 50),
		'none', NOT EXISTS (SELECT FROM found),
		'more', CASE WHEN e.mail_id IS NOT NULL THEN jobs.board_link('outbox', 'q', p.q, 'status', p.status, 'before', e.mail_id::text) END,
		'first', CASE WHEN p.later THEN jobs.board_link('outbox', 'q', p.q, 'status', p.status) END,
		'buttons', (SELECT pg_catalog.jsonb_build_array(jobs.board_button('Try now', 'resume_mail', 'mail', '{}', c))
					FROM jobs.mail_transport AS t WHERE t.state <> 'running' AND ((c).may ->> 'resume_mail')::boolean))
	FROM p
	CROSS JOIN edge AS e
$$;
COMMENT ON FUNCTION jobs.board_outbox(jobs.board_context) IS 'for the board: what is on the page outbox';

/*
 * The html of a mail with its own images in it, and a policy before it, by which
 * the browser loads nothing for it.  What would be loaded is taken out as well,
 * since a browser complains of each thing that it does not load; so is what says
 * where links lead to: in a frame without popups they lead nowhere then.
 *
 * Images are put in while there is room for them: a page has its limit, too.
 */
CREATE FUNCTION jobs.board_preview(mail_id bigint) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	html text := (SELECT m.body_html FROM jobs.mail_content AS m WHERE m.mail_id = board_preview.mail_id);
	room bigint := 4000000;
	file record;
	image text;
	needs bigint;
BEGIN
	/* the longest id first, since another may be its beginning */
	FOR file IN
		SELECT 'cid:' || f.content_id AS reference,
			   CASE WHEN octet_length(f.content) <= 500000 THEN f.content END AS content,
			   coalesce(f.content_type, 'image/' || coalesce(substring(lower(f.filename) from '\.(png|gif|webp)$'), 'jpeg')) AS content_type
		FROM jobs.mail_file AS f
		WHERE f.mail_id = board_preview.mail_id AND f.content_id IS NOT NULL
		ORDER BY length(f.content_id) DESC
	LOOP
		image := CASE WHEN file.content IS NOT NULL AND file.content_type ~ '^image/[A-Za-z0-9.+-]+$'
					  THEN format('data:%s;base64,%s', file.content_type, translate(encode(file.content, 'base64'), E'\n', '')) END;
		needs := length(image)::bigint * (length(html) - length(replace(html, file.reference, ''))) / length(file.reference);
		IF needs <= room THEN
			room := room - needs;
		ELSE
			image := NULL;
		END IF;
		html := replace(html, file.reference, coalesce(image, 'data:,'));
	END LOOP;
	html := regexp_replace(html, 'url\(\s*((?:["'']|&quot;|&apos;|&#3[49];)?\s*)(?=[^"''&\s])(?!data:)', 'url(\1data:,', 'gi');
	html := regexp_replace(html, '@import|([\s"''/])on([a-z]+\s*=)', '\1data-\2', 'gi');
	html := regexp_replace(html, '([\s"''/])(src|srcset|background|poster|target)(\s*=\s*["'']?\s*)(?=[^"''\s>])(?!\s*data:)', '\1data-\2\3', 'gi');
	html := regexp_replace(html, '<(/?)(script|iframe|object)(?=[\s/>])', '<\1template data-was=\2', 'gi');
	/* these have no end: put into a template, they would take all that follows along */
	html := regexp_replace(html, '<(meta|link|base|embed)(?=[\s/>])("[^"]*"|''[^'']*''|[^>"''])*>', '', 'gi');
	RETURN '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''; img-src data:"><base target="_blank">' || html;
END
$$;
COMMENT ON FUNCTION jobs.board_preview(bigint) IS 'for the board: the html of a mail, to be shown in a frame that may do nothing';

CREATE FUNCTION jobs.board_message(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'mail_id', o.mail_id,
		'subject', coalesce(nullif(o.subject, ''), '(no subject)'),
		'recipient', o.recipient,
		'status', jobs.board_status(o.status),
		'run_href', jobs.board_link('run', 'id', o.run_id::text),
		'facts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.name, 'value', f.value) ORDER BY f.n), '[]')
				  FROM (VALUES
					(1, 'To', o.recipient),
					(2, 'Cc', m.cc),
					(3, 'Bcc', m.bcc),
					(4, 'From', m.sender),
					(5, 'Reply-To', m.reply_to),
					(6, 'Queued', jobs.board_time(o.created_at, (c).zone, (c).now) ->> 'text'),
					(7, 'Next attempt', CASE WHEN o.ended_at IS NULL THEN jobs.board_time(o.next_attempt_at, (c).zone, (c).now) ->> 'text' END),
					(8, 'Ended', jobs.board_time(o.ended_at, (c).zone, (c).now) ->> 'text'),
					(9, 'Attempts', o.attempts::text),
					(10, 'Last reply', o.smtp_reply),
					(11, 'Id at the server', o.server_id),
					(12, 'Message-ID', o.message_id),
					(13, 'Sent by role', m.role::text),
					(14, 'Source key', m.source_key),
					(15, 'Expires', jobs.board_time(o.expires_at, (c).zone, (c).now) ->> 'text')) AS f (n, name, value)
				  WHERE f.value <> ''),
		'readable', m.mail_id IS NOT NULL,
		'html', CASE WHEN pg_catalog.length(m.body_html) <= 1000000 THEN jobs.board_preview(o.mail_id) END,
		'too_long', coalesce(pg_catalog.length(m.body_html) > 1000000, false),
		'text', jobs.board_text(m.body_text),
		'files', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('filename', f.filename, 'type', f.content_type, 'inline', f.content_id IS NOT NULL) ORDER BY f.position), '[]')
				  FROM jobs.mail_file AS f WHERE f.mail_id = o.mail_id),
		'attempts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'attempt', a.attempt,
							'status', jobs.board_status(a.status),
							'started', jobs.board_time(a.started_at, (c).zone, (c).now),
							'duration', jobs.board_span(a.duration),
							'host', a.host,
							'reply', coalesce(a.smtp_reply, a.error),
							'detail', a.error_detail) ORDER BY a.attempt DESC), '[]')
					 FROM jobs.mail_attempts AS a WHERE a.run_id = o.run_id),
		'buttons', CASE WHEN o.status <> 'sending' AND ((c).may ->> 'resend')::boolean
						THEN pg_catalog.jsonb_build_array(jobs.board_button(CASE WHEN o.ended_at IS NULL THEN 'Try now' ELSE 'Resend' END, 'resend',
								pg_catalog.format('mail %s', o.mail_id), pg_catalog.jsonb_build_object('mail_id', o.mail_id), c))
						ELSE '[]' END)
	FROM jobs.outbox AS o
	LEFT JOIN jobs.mail_content AS m ON m.mail_id = o.mail_id
	WHERE o.mail_id = jobs.board_number((c).params ->> 'id')
$$;
COMMENT ON FUNCTION jobs.board_message(jobs.board_context) IS 'for the board: what is on the page mail; NULL: there is none of that id';
