/*
 * board.sql -- the board: pages of HTML that show what goes on, and act on it
 *
 * A page is made in two steps.  jobs.board_data() says in jsonb what is on it,
 * read from the views that everybody reads, so that each reader sees, and is
 * offered, what it may.  jobs.board_html() puts that into the templates of
 * board/, which escape whatever they show.
 *
 * Lists of a template look for what an item does not have in what is around
 * it: so each object has all its keys, if only with null.
 */
CREATE VIEW jobs.definition WITH (security_barrier) AS
SELECT j.job_id,
	   j.name AS job,
	   j.description,
	   j.job_group,
	   j.handler::text,
	   CASE WHEN jobs.sees_role(j.role, s.role_oid) THEN nullif(j.command, '') END AS command,
	   j.role,
	   j.schedule,
	   j.schedule_override,
	   j.timezone,
	   j.enabled,
	   j.overlap::text,
	   j.max_running,
	   j.catch_up::text,
	   j.timeout,
	   j.max_attempts,
	   j.backoff::text,
	   j.backoff_base,
	   j.backoff_cap,
	   j.retry_on,
	   j.priority,
	   j.jitter,
	   j.max_runs,
	   s.runs,
	   j.concurrency_key,
	   j.throttle_limit,
	   j.throttle_period,
	   j.isolated,
	   j.group_commit,
	   j.history_retention,
	   j.history_keep::text,
	   j.history_keep_last,
	   j.paused_at,
	   j.pause_reason,
	   j.created_at,
	   j.updated_at,
	   jobs.operates_role(j.role, s.role_oid) AS may_operate,
	   jobs.manages_role(j.role, s.role_oid) AS may_manage
FROM jobs.job AS j
LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(j.role, s.role_oid);
COMMENT ON VIEW jobs.definition IS 'one row a job: how it was defined';
COMMENT ON COLUMN jobs.definition.command IS 'shown to members of the role only';
COMMENT ON COLUMN jobs.definition.schedule IS 'its own; what it goes by is in jobs.status';
COMMENT ON COLUMN jobs.definition.runs IS 'runs that its schedule has made, of max_runs';
COMMENT ON COLUMN jobs.definition.may_operate IS 'whether the reader may run, pause and resume it, if it may call these functions';
COMMENT ON COLUMN jobs.definition.may_manage IS 'whether the reader may change and end it, if it may call these functions';

/* ------------------------------------------------------------------------
 * What all pages use
 * ------------------------------------------------------------------------
 */
CREATE TYPE jobs.board_context AS (params jsonb, zone text, now timestamptz, may jsonb, here text);
COMMENT ON TYPE jobs.board_context IS 'for the board: what all of a page goes by';
COMMENT ON COLUMN jobs.board_context.params IS 'those of jobs.board()';
COMMENT ON COLUMN jobs.board_context.zone IS 'zone that times are shown in';
COMMENT ON COLUMN jobs.board_context.may IS 'which functions the reader may call';
COMMENT ON COLUMN jobs.board_context.here IS 'link to the page itself: where actions come back to';

CREATE FUNCTION jobs.board_html(data jsonb) RETURNS text
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_html';
COMMENT ON FUNCTION jobs.board_html(jsonb) IS 'for the board: a page out of what jobs.board_data() says';

CREATE FUNCTION jobs.board_link(page text, VARIADIC parameters text[] DEFAULT '{}') RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_link';
COMMENT ON FUNCTION jobs.board_link(text, text[]) IS 'for the board: the link to a page with parameters, names and values in turns; without those that have no value';

CREATE FUNCTION jobs.board_time(at timestamptz, zone text, now timestamptz) RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_time';
COMMENT ON FUNCTION jobs.board_time(timestamptz, text, timestamptz) IS 'for the board: an instant, as machines and as people read it';

CREATE FUNCTION jobs.board_span(span interval) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_span';
COMMENT ON FUNCTION jobs.board_span(interval) IS 'for the board: a span of time, as people read it';

CREATE FUNCTION jobs.board_zone(zone text) RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_api_board_zone';
COMMENT ON FUNCTION jobs.board_zone(text) IS 'for the board: a time zone by its name, or that of the session';

CREATE FUNCTION jobs.board_number(value text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN value ~ '^[0-9]{1,18}$' THEN value::bigint END $$;
COMMENT ON FUNCTION jobs.board_number(text) IS 'for the board: a parameter that is a number; NULL: it is none';

CREATE FUNCTION jobs.board_instant(value text) RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN jobs.board_number(value) < 32503680000000000
				THEN timestamptz '1970-01-01 00:00 UTC' + jobs.board_number(value) * interval '1 microsecond' END
$$;
COMMENT ON FUNCTION jobs.board_instant(text) IS 'for the board: a parameter that is an instant, in microseconds since 1970; NULL: it is none';

CREATE FUNCTION jobs.board_micros(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_catalog.trunc(extract(epoch FROM at) * 1000000)::text $$;
COMMENT ON FUNCTION jobs.board_micros(timestamptz) IS 'for the board: an instant as jobs.board_instant() reads it';

CREATE FUNCTION jobs.board_status(status text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_build_object('word', pg_catalog.replace(status, '_', ' '), 'kind',
		CASE WHEN status IN ('succeeded', 'sent', 'ok', 'resolved') THEN 'good'
			 WHEN status IN ('failed', 'timed_out', 'crashed', 'expired', 'fail', 'critical') THEN 'bad'
			 WHEN status IN ('running', 'sending') THEN 'busy'
			 WHEN status IN ('uncertain', 'warn', 'warning', 'paused', 'slowed', 'cancelling', 'suppressed') THEN 'warn'
			 ELSE 'idle' END)
$$;
COMMENT ON FUNCTION jobs.board_status(text) IS 'for the board: a status, in words and as the kind that its mark is of';

CREATE FUNCTION jobs.board_may() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_object_agg(f.name, EXISTS (
		SELECT FROM pg_catalog.pg_proc AS p
		WHERE p.pronamespace = 'jobs'::regnamespace AND p.proname = f.name AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')))
	FROM pg_catalog.unnest('{run_now,enqueue,cancel,retry,pause,pause_all,override_schedule,resend,resume_mail}'::name[]) AS f (name)
$$;
COMMENT ON FUNCTION jobs.board_may() IS 'for the board: which functions the current user may call';

CREATE FUNCTION jobs.board_button(
	label	text,
	action	text,
	about	text,
	fields	jsonb,
	c		jobs.board_context
) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_build_object('label', label, 'action', action, 'about', about, 'back', (c).here, 'fields',
		(SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.key, 'value', f.value)), '[]')
		 FROM pg_catalog.jsonb_each_text(fields) AS f))
$$;
COMMENT ON FUNCTION jobs.board_button(text, text, text, jsonb, jobs.board_context) IS 'for the board: a form with a button, and what it posts to jobs.board_action()';

CREATE FUNCTION jobs.board_job_buttons(job text, paused boolean, may_operate boolean, c jobs.board_context) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(b.button), '[]')
	FROM (SELECT jobs.board_button('Run now', 'run_now', job, pg_catalog.jsonb_build_object('job', job), c) AS button
		  WHERE may_operate AND ((c).may ->> 'run_now')::boolean
		  UNION ALL
		  SELECT jobs.board_button(CASE WHEN paused THEN 'Resume' ELSE 'Pause' END, CASE WHEN paused THEN 'resume' ELSE 'pause' END,
								   job, pg_catalog.jsonb_build_object('job', job), c)
		  WHERE may_operate AND ((c).may ->> 'pause')::boolean) AS b
$$;
COMMENT ON FUNCTION jobs.board_job_buttons(text, boolean, boolean, jobs.board_context) IS 'for the board: what the reader may do to a job';

CREATE FUNCTION jobs.board_run_buttons(run_id bigint, job text, role name, status text, live boolean, c jobs.board_context) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(b.button), '[]')
	FROM (SELECT jobs.board_button('Cancel', 'cancel', pg_catalog.format('run %s of %s', run_id, job),
								   pg_catalog.jsonb_build_object('run_id', run_id), c) AS button
		  WHERE live AND ((c).may ->> 'cancel')::boolean AND jobs.operates_role(role, NULL)
		  UNION ALL
		  SELECT jobs.board_button('Retry', 'retry', pg_catalog.format('run %s of %s', run_id, job),
								   pg_catalog.jsonb_build_object('run_id', run_id), c)
		  WHERE NOT live AND status IN ('failed', 'timed_out', 'crashed', 'cancelled', 'expired') AND job <> 'mail'
			AND ((c).may ->> 'retry')::boolean AND jobs.operates_role(role, NULL)) AS b
$$;
COMMENT ON FUNCTION jobs.board_run_buttons(bigint, text, name, text, boolean, jobs.board_context) IS 'for the board: what the reader may do to a run';

CREATE FUNCTION jobs.board_ended(h jobs.history, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'run_id', (h).run_id,
		'href', jobs.board_link('run', 'id', (h).run_id::text),
		'job', (h).job,
		'job_href', CASE WHEN (h).job_id <> 0 THEN jobs.board_link('job', 'name', (h).job) END,
		'attempt', (h).attempt,
		'again', (h).attempt > 1,
		'trigger', pg_catalog.replace((h).trigger, '_', ' '),
		'status', jobs.board_status((h).status),
		'due', jobs.board_time((h).due_at, (c).zone, (c).now),
		'started', jobs.board_time((h).started_at, (c).zone, (c).now),
		'finished', jobs.board_time((h).finished_at, (c).zone, (c).now),
		'duration', jobs.board_span((h).duration),
		'lag', jobs.board_span((h).lag),
		'result', pg_catalog.left((h).result, 200),
		'error', pg_catalog.left((h).error, 300),
		'buttons', CASE WHEN NOT EXISTS (SELECT FROM jobs.history AS n WHERE n.run_id = (h).run_id AND n.attempt > (h).attempt)
						THEN jobs.board_run_buttons((h).run_id, (h).job, (h).role, (h).status, (h).live, c) END)
$$;
COMMENT ON FUNCTION jobs.board_ended(jobs.history, jobs.board_context) IS 'for the board: an attempt in a list';

CREATE FUNCTION jobs.board_active(max_rows integer, only_job text, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'run_id', a.run_id,
			'href', jobs.board_link('run', 'id', a.run_id::text),
			'job', a.job,
			'job_href', CASE WHEN a.job <> 'mail' THEN jobs.board_link('job', 'name', a.job) END,
			'status', jobs.board_status(CASE WHEN a.cancelling THEN 'cancelling' ELSE 'running' END),
			'attempt', a.attempt,
			'again', a.attempt > 1,
			'started', jobs.board_time(a.started_at, (c).zone, (c).now),
			'for', jobs.board_span(a.running_for),
			'percent', a.percent,
			'measured', a.percent IS NOT NULL,
			'done', a.done,
			'total', a.total,
			'note', a.note,
			'worker', a.worker,
			'buttons', CASE WHEN NOT a.cancelling THEN jobs.board_run_buttons(a.run_id, a.job, a.role, 'running', true, c) END)
		ORDER BY a.started_at, a.run_id), '[]')
	FROM (SELECT * FROM jobs.active AS a
		  WHERE only_job IS NULL OR a.job = only_job
		  ORDER BY a.started_at, a.run_id
		  LIMIT max_rows) AS a
$$;
COMMENT ON FUNCTION jobs.board_active(integer, text, jobs.board_context) IS 'for the board: what runs';

/*
 * Bars of some width, in one path for each kind: a good one is lower than a bad
 * one, so that it takes no colours to tell them.
 */
CREATE FUNCTION jobs.board_bars(runs jsonb, OUT good text, OUT bad text, OUT idle text, OUT line text, OUT words text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.string_agg('M' || r.x || ' 7h4v13h-4z', '' ORDER BY r.x) FILTER (WHERE r.kind = 'good'),
		   pg_catalog.string_agg('M' || r.x || ' 0h4v20h-4z', '' ORDER BY r.x) FILTER (WHERE r.kind = 'bad'),
		   pg_catalog.string_agg('M' || r.x || ' 15h4v5h-4z', '' ORDER BY r.x) FILTER (WHERE r.kind NOT IN ('good', 'bad')),
		   CASE WHEN pg_catalog.count(r.seconds) > 1
				THEN pg_catalog.string_agg(r.x + 2 || ',' || pg_catalog.round(19 - 18 * r.seconds / nullif(r.longest, 0), 1), ' ' ORDER BY r.x)
					 FILTER (WHERE r.seconds IS NOT NULL) END,
		   pg_catalog.count(*) FILTER (WHERE r.kind = 'good') || ' of the last ' || pg_catalog.count(*) || ' attempts succeeded'
		   || coalesce(', ' || nullif(pg_catalog.count(*) FILTER (WHERE r.kind = 'bad'), 0) || ' failed', '')
	FROM (SELECT 5 * (24 - pg_catalog.row_number() OVER (ORDER BY r.n)) AS x, r.kind, r.seconds, pg_catalog.max(r.seconds) OVER () AS longest
		  FROM (SELECT r.n, jobs.board_status(r.run ->> 'status') ->> 'kind' AS kind, (r.run ->> 'seconds')::numeric AS seconds
				FROM pg_catalog.jsonb_array_elements(runs) WITH ORDINALITY AS r (run, n)) AS r) AS r
$$;
COMMENT ON FUNCTION jobs.board_bars(jsonb) IS 'for the board: the last attempts of a job, newest first, as bars, and their durations as a line';

/* ------------------------------------------------------------------------
 * Overview
 * ------------------------------------------------------------------------
 */
CREATE FUNCTION jobs.board_hours(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH hour AS MATERIALIZED (
		SELECT s.bucket_start, s.runs, s.failed + s.timed_out + s.crashed AS failed, s.succeeded, s.p95_duration,
			   pg_catalog.row_number() OVER (ORDER BY s.bucket_start) - 1 AS n,
			   greatest(pg_catalog.max(s.runs) OVER (), 1)::numeric AS most
		FROM jobs.statistics(since => '23 hours', bucket => '1 hour') AS s)
	SELECT pg_catalog.jsonb_build_object(
		'runs', pg_catalog.sum(h.runs),
		'failed', pg_catalog.sum(h.failed),
		'rate', pg_catalog.round(100.0 * pg_catalog.sum(h.succeeded) / nullif(pg_catalog.sum(h.succeeded + h.failed), 0), 1),
		'most', pg_catalog.max(h.most),
		'words', pg_catalog.format('%s runs ended within 24 hours, %s of them failed; at most %s within an hour',
								   pg_catalog.sum(h.runs), pg_catalog.sum(h.failed), pg_catalog.max(h.runs)),
		'bars', pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'x', h.n * 20 + 2,
			'title', pg_catalog.format('%s: %s runs, %s failed', jobs.board_time(h.bucket_start, (c).zone, (c).now) ->> 'short', h.runs, h.failed),
			'y', pg_catalog.round(80 - 76 * h.runs / h.most, 1),
			'h', pg_catalog.round(76 * h.runs / h.most, 1),
			/* a failure is seen, however few they are */
			'fy', 80 - greatest(pg_catalog.round(76 * h.failed / h.most, 1), 4),
			'fh', greatest(pg_catalog.round(76 * h.failed / h.most, 1), 4),
			'any', h.runs > 0,
			'bad', h.failed > 0) ORDER BY h.n),
		'labels', pg_catalog.jsonb_agg(pg_catalog.left(jobs.board_time(h.bucket_start, (c).zone, (c).now) ->> 'clock', 5) ORDER BY h.n)
				  FILTER (WHERE h.n % 6 = 0))
	FROM hour AS h
$$;
COMMENT ON FUNCTION jobs.board_hours(jobs.board_context) IS 'for the board: the runs of the last day, hour by hour';

CREATE FUNCTION jobs.board_next(max_rows integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'job', s.job,
			'href', jobs.board_link('job', 'name', s.job),
			'words', s.in_words,
			'job_zone', s.timezone,
			'why_not', s.why_not,
			'due', jobs.board_time(s.next_run, (c).zone, (c).now),
			'late', s.next_run < (c).now - interval '2 seconds')
		ORDER BY s.next_run, s.job), '[]')
	FROM (SELECT s.job, s.in_words, s.timezone, s.why_not, s.next_run
		  FROM jobs.status AS s
		  WHERE s.next_run IS NOT NULL
		  ORDER BY s.next_run, s.job
		  LIMIT max_rows) AS s
$$;
COMMENT ON FUNCTION jobs.board_next(integer, jobs.board_context) IS 'for the board: what is due next';

CREATE FUNCTION jobs.board_mail(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'waiting', coalesce(m.waiting, 0),
		'sent', coalesce(m.sent, 0),
		'failed', coalesce(m.failed, 0),
		'bad', coalesce(m.failed, 0) > 0,
		'oldest', jobs.board_span(m.oldest_due),
		'state', jobs.board_status(t.state),
		'reason', t.reason,
		'since', jobs.board_time(t.since, (c).zone, (c).now),
		'next_try', jobs.board_time(t.next_try_at, (c).zone, (c).now),
		'hindered', t.state <> 'running')
	FROM jobs.mail_transport AS t
	CROSS JOIN (
		SELECT pg_catalog.sum(m.mails) FILTER (WHERE m.status IN ('queued', 'sending')) AS waiting,
			   pg_catalog.sum(m.mails) FILTER (WHERE m.status = 'sent') AS sent,
			   pg_catalog.sum(m.mails) FILTER (WHERE m.status IN ('failed', 'uncertain', 'expired')) AS failed,
			   pg_catalog.max(m.oldest_due) AS oldest_due
		FROM jobs.outbox_status AS m) AS m
$$;
COMMENT ON FUNCTION jobs.board_mail(jobs.board_context) IS 'for the board: how many mails there are, and whether they can be sent';

CREATE FUNCTION jobs.board_failures(max_rows integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	WITH span AS MATERIALIZED (SELECT (c).now - interval '24 hours' AS begins, (c).now + interval '24 hours' AS ends),
	failed AS MATERIALIZED (
		SELECT n.run_id, n.attempt, n.finished_at
		FROM jobs.newest AS n
		WHERE n.finished_at > (SELECT span.begins FROM span) AND n.finished_at < (SELECT span.ends FROM span)
		  AND n.status IN ('failed', 'timed_out', 'crashed')
		ORDER BY n.finished_at DESC
		LIMIT max_rows)
	SELECT coalesce(pg_catalog.jsonb_agg(jobs.board_ended(h.run, c) ORDER BY f.finished_at DESC, f.run_id DESC), '[]')
	FROM failed AS f
	CROSS JOIN LATERAL (
		SELECT h AS run FROM jobs.history AS h
		WHERE h.run_id = f.run_id AND h.attempt = f.attempt AND h.finished_at IS NOT NULL
		LIMIT 1) AS h
$$;
COMMENT ON FUNCTION jobs.board_failures(integer, jobs.board_context) IS 'for the board: what failed in the last day, newest first';

CREATE FUNCTION jobs.board_overview(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	WITH check_list AS MATERIALIZED (SELECT h.*, pg_catalog.row_number() OVER () AS n FROM jobs.health() AS h)
	SELECT pg_catalog.jsonb_build_object(
		'health', jobs.board_status(CASE WHEN k.failed > 0 THEN 'fail' WHEN k.warned > 0 THEN 'warn' ELSE 'ok' END)
			|| pg_catalog.jsonb_build_object(
				'word', CASE WHEN k.failed > 0 THEN 'Failing' WHEN k.warned > 0 THEN 'Warnings' ELSE 'All well' END,
				'note', CASE WHEN k.failed + k.warned = 0 THEN k.total || ' checks'
							 ELSE pg_catalog.concat_ws(', ', nullif(k.failed, 0) || ' failing', nullif(k.warned, 0) || ' with a warning')
								  || ' of ' || k.total END,
				'clean', k.failed + k.warned = 0,
				'trouble', k.trouble,
				'fine', k.fine),
		'executors', (SELECT pg_catalog.jsonb_build_object('busy', s.busy, 'max', s.max_executors) FROM jobs.server_state() AS s),
		'queue', (SELECT pg_catalog.jsonb_build_object(
					'ready', coalesce(pg_catalog.sum(l.ready + l.overdue + l.held), 0),
					'running', coalesce(pg_catalog.sum(l.running), 0),
					'later', coalesce(pg_catalog.sum(l.waiting - l.overdue + l.paused), 0),
					'oldest', jobs.board_span(pg_catalog.max(l.oldest_ready)))
				  FROM jobs.lanes AS l WHERE l.kind <> 'mail'),
		'hours', jobs.board_hours(c),
		'mail', jobs.board_mail(c),
		'active', jobs.board_active(10, NULL, c),
		'failures', jobs.board_failures(8, c),
		'next', jobs.board_next(8, c),
		'all_failures', jobs.board_link('runs', 'status', 'failed'),
		'queue_href', jobs.board_link('queue'),
		'outbox_href', jobs.board_link('outbox'),
		'timeline_href', jobs.board_link('timeline'))
	FROM (SELECT pg_catalog.count(*) FILTER (WHERE l.status = 'fail') AS failed,
				 pg_catalog.count(*) FILTER (WHERE l.status = 'warn') AS warned,
				 pg_catalog.count(*) AS total,
				 coalesce(pg_catalog.jsonb_agg(l.line ORDER BY l.status, l.n) FILTER (WHERE l.status <> 'ok'), '[]') AS trouble,
				 coalesce(pg_catalog.jsonb_agg(l.line ORDER BY l.n) FILTER (WHERE l.status = 'ok'), '[]') AS fine
		  FROM (SELECT l.status, l.n, pg_catalog.jsonb_build_object('check', l.check_name, 'status', jobs.board_status(l.status),
						'figure', l.figure, 'threshold', l.threshold, 'detail', l.detail) AS line
				FROM check_list AS l) AS l) AS k
$$;
COMMENT ON FUNCTION jobs.board_overview(jobs.board_context) IS 'for the board: what is on the page overview';

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */
CREATE FUNCTION jobs.board_job_line(s jobs.status, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'job', (s).job,
		'href', jobs.board_link('job', 'name', (s).job),
		'group', (s).job_group,
		'group_href', jobs.board_link('jobs', 'group', (s).job_group),
		'words', coalesce((s).in_words, CASE WHEN (s).run_after IS NOT NULL THEN 'after ' || pg_catalog.array_to_string((s).run_after, ', ') ELSE 'on demand' END),
		'job_zone', CASE WHEN (s).schedule IS NOT NULL THEN (s).timezone END,
		'overridden', (s).overridden,
		'why_not', (s).why_not,
		'state', CASE WHEN (s).running THEN jobs.board_status('running')
					  WHEN (s).paused THEN jobs.board_status('paused')
					  WHEN (s).why_not IS NOT NULL THEN jobs.board_status('warn') || '{"word": "will not run"}'
					  WHEN (s).consecutive_failures > 0 THEN jobs.board_status('failed') || pg_catalog.jsonb_build_object('word',
						   CASE WHEN (s).consecutive_failures > 1 THEN pg_catalog.format('failed %s times', (s).consecutive_failures) ELSE 'failed' END)
					  WHEN (s).last_status IS NOT NULL THEN jobs.board_status((s).last_status)
					  ELSE jobs.board_status('idle') || '{"word": "has not run"}' END,
		'next', jobs.board_time((s).next_run, (c).zone, (c).now),
		'last', jobs.board_time((s).last_run, (c).zone, (c).now),
		'last_status', jobs.board_status((s).last_status),
		'last_result', pg_catalog.left((s).last_result, 100),
		'last_error', pg_catalog.left((s).last_error, 300),
		'duration', jobs.board_span((s).last_duration),
		'p95', jobs.board_span((s).p95_duration),
		'average', jobs.board_span((s).avg_duration),
		'runs', (s).runs_24h,
		'failures', (s).failures_24h,
		'rate', (s).success_rate,
		'bars', CASE WHEN b.words NOT LIKE '0 of the last 0 %' THEN pg_catalog.to_jsonb(b) END,
		'buttons', jobs.board_job_buttons((s).job, (s).paused, d.may_operate, c))
	FROM jobs.definition AS d
	CROSS JOIN LATERAL jobs.board_bars(
		(SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('status', n.status, 'seconds', extract(epoch FROM n.finished_at - n.started_at))
											  ORDER BY n.finished_at DESC), '[]')
		 FROM (SELECT n.status, n.started_at, n.finished_at
			   FROM jobs.newest_of_job AS n
			   WHERE n.job_id >= d.job_id AND n.job_id <= d.job_id
			   ORDER BY n.job_id DESC, n.finished_at DESC
			   LIMIT 24) AS n)) AS b
	WHERE d.job_id = (s).job_id
$$;
COMMENT ON FUNCTION jobs.board_job_line(jobs.status, jobs.board_context) IS 'for the board: a job in a list';

CREATE FUNCTION jobs.board_jobs(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'q', '') AS q, nullif((c).params ->> 'group', '') AS job_group,
			   nullif((c).params ->> 'state', '') AS state, (c).params ->> 'after' AS after),
	found AS MATERIALIZED (
		SELECT s.job, pg_catalog.row_number() OVER () AS n
		FROM (SELECT s AS job
			  FROM jobs.status AS s
			  WHERE ((SELECT p.after FROM p) IS NULL OR s.job > (SELECT p.after FROM p))
				AND ((SELECT p.job_group FROM p) IS NULL OR s.job_group = (SELECT p.job_group FROM p))
				AND ((SELECT p.q FROM p) IS NULL
					 OR pg_catalog.strpos(pg_catalog.lower(pg_catalog.concat_ws(' ', s.job, s.job_group, s.description)), pg_catalog.lower((SELECT p.q FROM p))) > 0)
				AND CASE (SELECT p.state FROM p) WHEN 'paused' THEN s.paused WHEN 'running' THEN s.running WHEN 'kept' THEN s.why_not IS NOT NULL
					WHEN 'failing' THEN s.consecutive_failures > 0 ELSE true END
			  ORDER BY s.job
			  LIMIT 51) AS s),
	shown AS MATERIALIZED (SELECT jobs.board_job_line(f.job, c) AS line, (f.job).job, f.n FROM found AS f WHERE f.n <= 50)
	SELECT pg_catalog.jsonb_build_object(
		'q', p.q, 'group', p.job_group, 'state', p.state,
		'filtered', p.q IS NOT NULL OR p.job_group IS NOT NULL OR p.state IS NOT NULL,
		'jobs', (SELECT coalesce(pg_catalog.jsonb_agg(s.line ORDER BY s.n), '[]') FROM shown AS s),
		'none', NOT EXISTS (SELECT FROM shown),
		'states', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', o.value, 'label', o.label, 'selected', o.value IS NOT DISTINCT FROM coalesce(p.state, '')) ORDER BY o.n)
				   FROM (VALUES (1, '', 'any state'), (2, 'failing', 'failing'), (3, 'running', 'running'), (4, 'paused', 'paused'), (5, 'kept', 'will not run')) AS o (n, value, label)),
		'groups', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', g.job_group, 'selected', g.job_group IS NOT DISTINCT FROM p.job_group) ORDER BY g.job_group), '[]')
				   FROM (SELECT DISTINCT d.job_group FROM jobs.definition AS d WHERE d.job_group IS NOT NULL) AS g),
		'more', CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 50)
					 THEN jobs.board_link('jobs', 'q', p.q, 'group', p.job_group, 'state', p.state, 'after', (SELECT pg_catalog.max(s.job) FROM shown AS s)) END,
		'first', CASE WHEN p.after IS NOT NULL THEN jobs.board_link('jobs', 'q', p.q, 'group', p.job_group, 'state', p.state) END,
		'group_buttons', CASE WHEN p.job_group IS NOT NULL AND ((c).may ->> 'pause')::boolean
							   AND EXISTS (SELECT FROM jobs.definition AS d WHERE d.job_group = p.job_group AND d.may_operate)
							  THEN pg_catalog.jsonb_build_array(
								jobs.board_button('Pause the group', 'pause_group', p.job_group, pg_catalog.jsonb_build_object('group', p.job_group), c),
								jobs.board_button('Resume the group', 'resume_group', p.job_group, pg_catalog.jsonb_build_object('group', p.job_group), c)) END,
		'all_buttons', CASE WHEN p.job_group IS NULL AND ((c).may ->> 'pause_all')::boolean
							THEN pg_catalog.jsonb_build_array(
								jobs.board_button('Pause all jobs', 'pause_all', NULL, '{}', c),
								jobs.board_button('Resume all jobs', 'resume_all', NULL, '{}', c)) END)
	FROM p
$$;
COMMENT ON FUNCTION jobs.board_jobs(jobs.board_context) IS 'for the board: what is on the page jobs';

/*
 * The next times of a job, from its calendar: looked at as far as it takes to
 * find some, so that neither a job of each second nor one of each year costs much.
 */
CREATE FUNCTION jobs.board_calendar(job text, n integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(
		(SELECT pg_catalog.jsonb_agg(jobs.board_time(d.due_at, (c).zone, (c).now) ORDER BY d.due_at)
		 FROM (SELECT e.due_at FROM jobs.calendar((c).now, (c).now + interval '1 hour', job) AS e LIMIT n) AS d
		 HAVING pg_catalog.count(*) = n),
		(SELECT pg_catalog.jsonb_agg(jobs.board_time(d.due_at, (c).zone, (c).now) ORDER BY d.due_at)
		 FROM (SELECT e.due_at FROM jobs.calendar((c).now, (c).now + interval '10 days', job) AS e LIMIT n) AS d
		 HAVING pg_catalog.count(*) = n),
		(SELECT pg_catalog.jsonb_agg(jobs.board_time(d.due_at, (c).zone, (c).now) ORDER BY d.due_at)
		 FROM (SELECT e.due_at FROM jobs.calendar((c).now, (c).now + interval '1500 days', job) AS e LIMIT n) AS d),
		'[]')
$$;
COMMENT ON FUNCTION jobs.board_calendar(text, integer, jobs.board_context) IS 'for the board: when a job is due next';

CREATE FUNCTION jobs.board_figures(job text, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
		'span', v.label,
		'runs', s.runs,
		'failed', s.failed + s.timed_out + s.crashed,
		'skipped', s.skipped + s.expired,
		'rate', s.success_rate,
		'p50', jobs.board_span(s.p50_duration),
		'p95', jobs.board_span(s.p95_duration),
		'p99', jobs.board_span(s.p99_duration),
		'lag', jobs.board_span(s.p95_lag)) ORDER BY v.n)
	FROM (VALUES (1, 'last 24 hours', interval '24 hours'), (2, 'last 7 days', interval '7 days')) AS v (n, label, span)
	CROSS JOIN LATERAL jobs.statistics(job, v.span) AS s
$$;
COMMENT ON FUNCTION jobs.board_figures(text, jobs.board_context) IS 'for the board: how the runs of a job went';

CREATE FUNCTION jobs.board_facts(d jobs.definition, s jobs.status, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.name, 'value', f.value) ORDER BY f.n), '[]')
	FROM (VALUES
		(1, 'Runs as', (d).role::text),
		(2, 'Done by', CASE (d).handler WHEN 'sql' THEN 'an executor of the server' WHEN 'external' THEN 'workers outside of the server' ELSE (d).handler END),
		(3, 'Group', (d).job_group),
		(4, 'Runs after', pg_catalog.array_to_string((s).run_after, ', ')),
		(5, 'Own schedule', CASE WHEN (s).overridden THEN coalesce((d).schedule, 'on demand') END),
		(6, 'If one still runs', CASE (d).overlap WHEN 'skip' THEN 'the next is skipped' WHEN 'queue' THEN 'one waits'
				WHEN 'replace' THEN 'the newest takes its place' ELSE coalesce('up to ' || (d).max_running || ' at once', 'any number at once') END),
		(7, 'Missed times', CASE (d).catch_up WHEN 'once' THEN 'made up for by one run' WHEN 'all' THEN 'all made up for' ELSE 'skipped' END),
		(8, 'Timeout', jobs.board_span((d).timeout)),
		(9, 'Attempts', (d).max_attempts || CASE WHEN (d).max_attempts > 1
				THEN pg_catalog.format(', %s wait from %s', (d).backoff, jobs.board_span((d).backoff_base)) ELSE '' END),
		(10, 'Priority', nullif((d).priority, 0)::text),
		(11, 'Concurrency key', (d).concurrency_key),
		(12, 'Throttle', (d).throttle_limit || ' in ' || jobs.board_span((d).throttle_period)),
		(13, 'Jitter', jobs.board_span((d).jitter)),
		(14, 'Runs of its schedule', (d).runs || ' of ' || (d).max_runs),
		(15, 'Paused', CASE WHEN (d).paused_at IS NOT NULL
				THEN pg_catalog.concat_ws(': ', 'since ' || (jobs.board_time((d).paused_at, (c).zone, (c).now) ->> 'text'), (d).pause_reason) END),
		(16, 'Changed', jobs.board_time((d).updated_at, (c).zone, (c).now) ->> 'text')) AS f (n, name, value)
	WHERE f.value <> ''
$$;
COMMENT ON FUNCTION jobs.board_facts(jobs.definition, jobs.status, jobs.board_context) IS 'for the board: how a job was defined, in words';

CREATE FUNCTION jobs.board_pages(page text, key text, value text, status text, before timestamptz, earlier timestamptz) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'more', CASE WHEN earlier IS NOT NULL THEN jobs.board_link(page, key, coalesce(value, ''), 'status', coalesce(status, ''), 'before', jobs.board_micros(earlier)) END,
		'first', CASE WHEN before IS NOT NULL THEN jobs.board_link(page, key, coalesce(value, ''), 'status', coalesce(status, '')) END)
$$;
COMMENT ON FUNCTION jobs.board_pages(text, text, text, text, timestamptz, timestamptz) IS 'for the board: links to the rest of a list';

CREATE FUNCTION jobs.board_statuses(chosen text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', s.value, 'label', coalesce(nullif(pg_catalog.replace(s.value, '_', ' '), ''), 'any status'),
		'selected', s.value = coalesce(chosen, '')) ORDER BY s.n)
	FROM pg_catalog.unnest('{"",succeeded,failed,timed_out,crashed,cancelled,skipped,expired,uncertain}'::text[]) WITH ORDINALITY AS s (value, n)
$$;
COMMENT ON FUNCTION jobs.board_statuses(text) IS 'for the board: the statuses to choose from';

/* Newest first, in pages: those of a job, or of all. */
CREATE FUNCTION jobs.board_list(page text, key text, job text, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'status', '') AS status, jobs.board_instant((c).params ->> 'before') AS before),
	found AS MATERIALIZED (
		SELECT h AS run, pg_catalog.row_number() OVER () AS n
		FROM p CROSS JOIN LATERAL jobs.recent(job, p.status, 51, p.before) AS h),
	shown AS MATERIALIZED (SELECT jobs.board_ended(f.run, c) AS line, (f.run).finished_at, f.n FROM found AS f WHERE f.n <= 50)
	SELECT pg_catalog.jsonb_build_object(
			'with_job', job IS NULL,
			'statuses', jobs.board_statuses(p.status),
			'runs', (SELECT coalesce(pg_catalog.jsonb_agg(s.line ORDER BY s.n), '[]') FROM shown AS s),
			'none', NOT EXISTS (SELECT FROM shown))
		|| jobs.board_pages(page, key, job, p.status, p.before,
			CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 50) THEN (SELECT pg_catalog.min(s.finished_at) FROM shown AS s) END)
	FROM p
$$;
COMMENT ON FUNCTION jobs.board_list(text, text, text, jobs.board_context) IS 'for the board: attempts that ended, of a job or of all';

CREATE FUNCTION jobs.board_job(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT jobs.board_job_line(s, c) || pg_catalog.jsonb_build_object(
		'description', d.description,
		'command', d.command,
		'hidden', d.command IS NULL AND d.handler = 'sql',
		'schedule', s.schedule,
		'facts', jobs.board_facts(d, s, c),
		'figures', jobs.board_figures(d.job, c),
		'calendar', CASE WHEN s.next_run IS NOT NULL THEN jobs.board_calendar(d.job, 8, c) ELSE '[]' END,
		'active', jobs.board_active(20, d.job, c),
		'list', jobs.board_list('job', 'name', d.job, c),
		'may_args', d.may_operate AND ((c).may ->> 'run_now')::boolean,
		'may_enqueue', d.may_operate AND ((c).may ->> 'enqueue')::boolean,
		'here_zone', (c).zone,
		'may_reschedule', d.may_manage AND ((c).may ->> 'override_schedule')::boolean,
		'queued_href', jobs.board_link('queue', 'job', d.job),
		'back', (c).here)
	FROM jobs.definition AS d
	JOIN jobs.status AS s ON s.job_id = d.job_id
	WHERE d.job = (c).params ->> 'name'
$$;
COMMENT ON FUNCTION jobs.board_job(jobs.board_context) IS 'for the board: what is on the page job; NULL: there is none of that name';

CREATE FUNCTION jobs.board_runs(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_build_object('list', jobs.board_list('runs', 'job', NULL, c))
$$;
COMMENT ON FUNCTION jobs.board_runs(jobs.board_context) IS 'for the board: what is on the page runs';

/* ------------------------------------------------------------------------
 * A run
 * ------------------------------------------------------------------------
 */
CREATE FUNCTION jobs.board_run(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	WITH attempt AS MATERIALIZED (
		SELECT h.* FROM jobs.history AS h WHERE h.run_id = jobs.board_number((c).params ->> 'id')),
	waits AS MATERIALIZED (
		SELECT q.* FROM jobs.queued AS q WHERE q.run_id = jobs.board_number((c).params ->> 'id')),
	run AS MATERIALIZED (
		SELECT coalesce(q.run_id, h.run_id) AS run_id, coalesce(q.job, h.job) AS job, h.job_id, coalesce(q.role, h.role) AS role,
			   coalesce(q.state, h.status) AS status, q.run_id IS NOT NULL OR coalesce(h.status = 'running', false) AS live,
			   coalesce(q.args, h.args) AS args, coalesce(q.trigger, h.trigger) AS trigger, coalesce(q.due_at, h.due_at) AS due_at,
			   q.run_at, q.priority, q.waits_for, q.dedupe_key, q.concurrency_key, q.expires_at,
			   h.started_at, h.finished_at, h.duration, h.lag, h.result, h.rows_affected, h.missed, h.worker, h.pid,
			   h.sqlstate, h.error, h.error_detail, h.error_context, h.notices,
			   jobs.sees_role(coalesce(q.role, h.role), NULL) AS member
		FROM (SELECT * FROM attempt AS a ORDER BY a.attempt DESC, a.finished_at DESC NULLS FIRST LIMIT 1) AS h
		FULL JOIN waits AS q ON true)
	SELECT pg_catalog.jsonb_build_object(
		'run_id', r.run_id,
		'job', r.job,
		'job_href', CASE WHEN EXISTS (SELECT FROM jobs.definition AS d WHERE d.job = r.job) THEN jobs.board_link('job', 'name', r.job) END,
		'mail_href', (SELECT jobs.board_link('mail', 'id', o.mail_id::text) FROM jobs.outbox AS o WHERE r.job = 'mail' AND o.run_id = r.run_id),
		'status', jobs.board_status(r.status),
		'waits_for', CASE r.waits_for WHEN 'run_at' THEN 'its time' ELSE r.waits_for END,
		'error', r.error,
		'sqlstate', r.sqlstate,
		'detail', r.error_detail,
		'context', r.error_context,
		'notices', r.notices,
		'result', r.result,
		'args', CASE WHEN r.args IS NOT NULL THEN pg_catalog.jsonb_pretty(r.args) END,
		'not_member', NOT r.member,
		'role', r.role,
		'facts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.name, 'value', f.value) ORDER BY f.n), '[]')
				  FROM (VALUES
					(1, 'Made by', pg_catalog.replace(r.trigger, '_', ' ')),
					(2, 'Due', jobs.board_time(r.due_at, (c).zone, (c).now) ->> 'text'),
					(3, 'Not before', CASE WHEN r.run_at > (c).now THEN jobs.board_time(r.run_at, (c).zone, (c).now) ->> 'text' END),
					(4, 'Started', jobs.board_time(r.started_at, (c).zone, (c).now) ->> 'text'),
					(5, 'Ended', jobs.board_time(r.finished_at, (c).zone, (c).now) ->> 'text'),
					(6, 'Took', jobs.board_span(r.duration)),
					(7, 'Began late by', jobs.board_span(r.lag)),
					(8, 'Rows', r.rows_affected::text),
					(9, 'Stands for missed times', nullif(r.missed, 0)::text),
					(10, 'Priority', nullif(r.priority, 0)::text),
					(11, 'Concurrency key', r.concurrency_key),
					(12, 'Dedupe key', r.dedupe_key),
					(13, 'Expires', jobs.board_time(r.expires_at, (c).zone, (c).now) ->> 'text'),
					(14, 'Runs as', r.role::text),
					(15, 'Process', r.pid::text),
					(16, 'Worker', r.worker)) AS f (n, name, value)
				  WHERE f.value <> ''),
		'progress', (SELECT pg_catalog.jsonb_build_object('percent', a.percent, 'measured', a.percent IS NOT NULL, 'done', a.done, 'total', a.total,
							'note', a.note, 'for', jobs.board_span(a.running_for), 'until', jobs.board_time(a.lease_until, (c).zone, (c).now))
					 FROM jobs.active AS a WHERE a.run_id = r.run_id LIMIT 1),
		'attempts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'attempt', a.attempt,
							'status', jobs.board_status(a.status),
							'started', jobs.board_time(a.started_at, (c).zone, (c).now),
							'duration', jobs.board_span(a.duration),
							'result', pg_catalog.left(a.result, 200),
							'error', a.error,
							'sqlstate', a.sqlstate) ORDER BY a.attempt DESC, a.finished_at DESC NULLS FIRST), '[]')
					 FROM attempt AS a),
		'buttons', jobs.board_run_buttons(r.run_id, r.job, r.role, r.status, r.live, c))
	FROM run AS r
	WHERE r.run_id IS NOT NULL
$$;
COMMENT ON FUNCTION jobs.board_run(jobs.board_context) IS 'for the board: what is on the page run; NULL: there is none of that id';

/* ------------------------------------------------------------------------
 * Timeline
 * ------------------------------------------------------------------------
 */

/*
 * Two days in bins of ten minutes, of which the first begins at a full hour.
 * What failed takes all of the height, what is due little of it.
 */
CREATE FUNCTION jobs.board_timeline(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	WITH span AS MATERIALIZED (
		SELECT s.begins, s.begins + interval '49 hours' AS ends, (c).now AS now
		FROM (SELECT pg_catalog.date_trunc('hour', (c).now) - interval '24 hours' AS begins) AS s),
	run AS (
		SELECT h.job, h.started_at, h.finished_at, h.status
		FROM jobs.history AS h
		WHERE h.finished_at >= (SELECT span.begins FROM span) AND h.finished_at <= (SELECT span.now FROM span) AND h.job_id <> 0
		UNION ALL
		SELECT h.job, h.started_at, h.finished_at, h.status
		FROM jobs.history AS h
		WHERE h.finished_at IS NULL AND h.job_id <> 0),
	past AS MATERIALIZED (
		SELECT h.job, pg_catalog.floor(extract(epoch FROM h.started_at - (SELECT span.begins FROM span)) / 600)::integer AS bin,
			   h.status IN ('failed', 'timed_out', 'crashed') AS bad,
			   pg_catalog.count(*) AS runs,
			   pg_catalog.ceil(extract(epoch FROM pg_catalog.max(coalesce(h.finished_at, (SELECT span.now FROM span))) - (SELECT span.begins FROM span)) / 600)::integer AS end_bin
		FROM run AS h
		WHERE h.started_at IS NOT NULL
		GROUP BY 1, 2, 3),
	due AS MATERIALIZED (
		SELECT e.job, pg_catalog.floor(extract(epoch FROM e.due_at - (SELECT span.begins FROM span)) / 600)::integer AS bin, pg_catalog.count(*) AS runs,
			   pg_catalog.min(e.due_at) AS first_at
		FROM span CROSS JOIN LATERAL jobs.calendar(span.now, span.ends) AS e
		GROUP BY 1, 2),
	job AS MATERIALIZED (
		SELECT j.job FROM (SELECT p.job FROM past AS p UNION SELECT d.job FROM due AS d) AS j ORDER BY j.job LIMIT 201),
	line AS (
		SELECT j.job,
			   (SELECT pg_catalog.string_agg('M' || greatest(p.bin, 0) || ' 8h' || greatest(p.end_bin - greatest(p.bin, 0), 1) || 'v12h-' || greatest(p.end_bin - greatest(p.bin, 0), 1) || 'z', '' ORDER BY p.bin)
				FROM past AS p WHERE p.job = j.job AND NOT p.bad) AS good,
			   (SELECT pg_catalog.string_agg('M' || greatest(p.bin, 0) || ' 0h' || greatest(p.end_bin - greatest(p.bin, 0), 1) || 'v20h-' || greatest(p.end_bin - greatest(p.bin, 0), 1) || 'z', '' ORDER BY p.bin)
				FROM past AS p WHERE p.job = j.job AND p.bad) AS bad,
			   (SELECT pg_catalog.string_agg('M' || d.bin || ' 14h1v6h-1z', '' ORDER BY d.bin)
				FROM due AS d WHERE d.job = j.job) AS due,
			   (SELECT coalesce(pg_catalog.sum(p.runs), 0) FROM past AS p WHERE p.job = j.job) AS runs,
			   (SELECT coalesce(pg_catalog.sum(p.runs), 0) FROM past AS p WHERE p.job = j.job AND p.bad) AS failed,
			   (SELECT coalesce(pg_catalog.sum(d.runs), 0) FROM due AS d WHERE d.job = j.job) AS coming,
			   (SELECT pg_catalog.min(d.first_at) FROM due AS d WHERE d.job = j.job) AS first_at
		FROM (SELECT * FROM job ORDER BY job LIMIT 200) AS j)
	SELECT pg_catalog.jsonb_build_object(
		'now_x', pg_catalog.round(extract(epoch FROM span.now - span.begins) / 600, 2),
		'now_percent', pg_catalog.round(100 * extract(epoch FROM span.now - span.begins) / extract(epoch FROM span.ends - span.begins), 2),
		'marks', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('percent', pg_catalog.round(100.0 * g.n / 49, 2), 'x', g.n * 6,
							'clock', pg_catalog.left(t.at ->> 'clock', 5), 'day', pg_catalog.split_part(t.at ->> 'day', '-', 2) || '-' || pg_catalog.split_part(t.at ->> 'day', '-', 3),
							'iso', t.at ->> 'iso') ORDER BY g.n)
				  FROM pg_catalog.generate_series(0, 48, 6) AS g (n)
				  CROSS JOIN LATERAL jobs.board_time(span.begins + g.n * interval '1 hour', (c).zone, (c).now) AS t (at)),
		'lines', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'job', l.job,
							'href', jobs.board_link('job', 'name', l.job),
							'good', l.good, 'bad', l.bad, 'due', l.due,
							'runs', l.runs, 'failed', l.failed, 'coming', l.coming,
							'any_failed', l.failed > 0,
							'next', jobs.board_time(l.first_at, (c).zone, (c).now),
							'words', pg_catalog.format('%s runs in the last 24 hours, %s failed; due %s times in the next 24', l.runs, l.failed, l.coming)) ORDER BY l.job), '[]')
				  FROM line AS l),
		'none', NOT EXISTS (SELECT FROM job),
		'cut', (SELECT pg_catalog.count(*) > 200 FROM job))
	FROM span
$$;
COMMENT ON FUNCTION jobs.board_timeline(jobs.board_context) IS 'for the board: what is on the page timeline';

/* ------------------------------------------------------------------------
 * Queue
 * ------------------------------------------------------------------------
 */

/*
 * How many runs waited, over the last day: those that ended since, and those that
 * run or wait now, each from when it was due until its first start.  Waits under a
 * second are none.  Runs that began to wait before the day, and still do, count from its begin.
 */
CREATE FUNCTION jobs.board_depth(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	WITH span AS MATERIALIZED (SELECT (c).now - interval '24 hours' AS begins, (c).now AS now),
	wait AS MATERIALIZED (
		SELECT h.due_at AS since, h.started_at AS until
		FROM jobs.history AS h
		WHERE h.finished_at >= (SELECT span.begins FROM span) AND h.finished_at <= (SELECT span.now FROM span)
		  AND h.attempt = 1 AND h.job_id <> 0 AND h.lag >= interval '1 second' AND h.started_at > (SELECT span.begins FROM span)
		UNION ALL
		SELECT h.due_at, h.started_at
		FROM jobs.history AS h
		WHERE h.finished_at IS NULL AND h.attempt = 1 AND h.job_id <> 0 AND h.lag >= interval '1 second' AND h.started_at > (SELECT span.begins FROM span)
		UNION ALL
		SELECT q.due_at, NULL
		FROM jobs.queued AS q
		WHERE q.job <> 'mail' AND q.attempt = 0 AND q.run_at <= (c).now - interval '1 second'),
	change AS (
		SELECT greatest(w.since, (SELECT span.begins FROM span)) AS at, 1 AS step FROM wait AS w
		UNION ALL
		SELECT w.until, -1 FROM wait AS w WHERE w.until IS NOT NULL),
	swept AS (
		SELECT pg_catalog.floor(extract(epoch FROM h.at - (SELECT span.begins FROM span)) / 600)::integer AS bin, h.step,
			   pg_catalog.sum(h.step) OVER (ORDER BY h.at, h.step ROWS UNBOUNDED PRECEDING) AS level
		FROM change AS h),
	bin AS (SELECT w.bin, pg_catalog.max(w.level) AS top, pg_catalog.sum(w.step) AS step FROM swept AS w GROUP BY w.bin),
	depth AS MATERIALIZED (
		SELECT g.bin, greatest(coalesce(b.top, 0), pg_catalog.sum(coalesce(b.step, 0)) OVER (ORDER BY g.bin) - coalesce(b.step, 0)) AS runs
		FROM pg_catalog.generate_series(0, 144) AS g (bin)
		LEFT JOIN bin AS b ON b.bin = g.bin)
	SELECT pg_catalog.jsonb_build_object(
		'most', pg_catalog.max(d.runs),
		'any', pg_catalog.max(d.runs) > 0,
		'area', 'M0 80' || pg_catalog.string_agg('L' || d.bin || ' ' || pg_catalog.round(80 - 76 * d.runs / greatest(m.most, 1), 1), '' ORDER BY d.bin) || 'L144 80z',
		'labels', (SELECT pg_catalog.jsonb_agg(pg_catalog.left(jobs.board_time((c).now - g.n * interval '6 hours', (c).zone, (c).now) ->> 'clock', 5) ORDER BY g.n DESC)
				   FROM pg_catalog.generate_series(0, 4) AS g (n)))
	FROM depth AS d
	CROSS JOIN (SELECT pg_catalog.max(d.runs) AS most FROM depth AS d) AS m
$$;
COMMENT ON FUNCTION jobs.board_depth(jobs.board_context) IS 'for the board: how many runs waited, over the last day';

CREATE FUNCTION jobs.board_queued(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET jit = off
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'job', '') AS job, nullif((c).params ->> 'state', '') AS state, coalesce(jobs.board_number((c).params ->> 'after'), 0) AS after),
	found AS MATERIALIZED (
		SELECT q.*, pg_catalog.row_number() OVER () AS n
		FROM (SELECT q.* FROM jobs.queued AS q
			  WHERE q.run_id > (SELECT p.after FROM p)
				AND ((SELECT p.job FROM p) IS NULL OR q.job = (SELECT p.job FROM p))
				AND ((SELECT p.state FROM p) IS NULL OR q.state = (SELECT p.state FROM p))
			  ORDER BY q.run_id
			  LIMIT 51) AS q)
	SELECT pg_catalog.jsonb_build_object(
		'runs', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'run_id', f.run_id,
						'href', jobs.board_link('run', 'id', f.run_id::text),
						'job', f.job,
						'job_href', CASE WHEN f.job <> 'mail' THEN jobs.board_link('job', 'name', f.job) END,
						'state', jobs.board_status(f.state),
						'waits_for', CASE f.waits_for WHEN 'run_at' THEN 'its time' ELSE f.waits_for END,
						'run_at', jobs.board_time(f.run_at, (c).zone, (c).now),
						'priority', f.priority,
						'attempt', f.attempt,
						'tried', f.attempt > 0,
						'trigger', pg_catalog.replace(f.trigger, '_', ' '),
						'buttons', jobs.board_run_buttons(f.run_id, f.job, f.role, f.state, true, c)) ORDER BY f.n), '[]')
				 FROM found AS f WHERE f.n <= 50),
		'none', NOT EXISTS (SELECT FROM found),
		'states', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', o.value, 'label', coalesce(nullif(o.value, ''), 'any state'),
							'selected', o.value = coalesce(p.state, '')) ORDER BY o.n)
				   FROM pg_catalog.unnest('{"",ready,held,waiting,paused}'::text[]) WITH ORDINALITY AS o (value, n)),
		'job', p.job,
		'buttons', CASE WHEN p.job <> 'mail' AND EXISTS (SELECT FROM found) AND ((c).may ->> 'cancel')::boolean
						THEN pg_catalog.jsonb_build_array(jobs.board_button('Cancel all that wait', 'cancel_all', p.job,
								pg_catalog.jsonb_build_object('job', p.job, 'state', coalesce(p.state, '')), c)) END,
		'more', CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 50)
					 THEN jobs.board_link('queue', 'job', p.job, 'state', p.state, 'after', (SELECT f.run_id::text FROM found AS f WHERE f.n = 50)) END,
		'first', CASE WHEN p.after > 0 THEN jobs.board_link('queue', 'job', p.job, 'state', p.state) END)
	FROM p
$$;
COMMENT ON FUNCTION jobs.board_queued(jobs.board_context) IS 'for the board: what waits';

CREATE FUNCTION jobs.board_dead(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'job', '') AS job,
			   coalesce(jobs.board_instant((c).params ->> 'before'), 'infinity') AS before,
			   (c).params ? 'before' AS later,
			   (c).now - coalesce(nullif(least(jobs.board_number((c).params ->> 'days'), 3650), 0), 1) * interval '24 hours' AS begins,
			   coalesce(nullif(least(jobs.board_number((c).params ->> 'days'), 3650), 0), 1) AS days),
	found AS MATERIALIZED (
		SELECT d.*, pg_catalog.row_number() OVER () AS n
		FROM (SELECT d.* FROM jobs.dead AS d
			  WHERE d.finished_at > (SELECT p.begins FROM p) AND d.finished_at < (SELECT p.before FROM p)
				AND ((SELECT p.job FROM p) IS NULL OR d.job = (SELECT p.job FROM p))
			  ORDER BY d.finished_at DESC
			  LIMIT 26) AS d)
	SELECT pg_catalog.jsonb_build_object(
		'runs', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'run_id', f.run_id,
						'href', jobs.board_link('run', 'id', f.run_id::text),
						'job', f.job,
						'job_href', jobs.board_link('job', 'name', f.job),
						'status', jobs.board_status(f.status),
						'finished', jobs.board_time(f.finished_at, (c).zone, (c).now),
						'attempt', f.attempt,
						'again', f.attempt > 1,
						'error', pg_catalog.left(f.error, 300),
						'buttons', jobs.board_run_buttons(f.run_id, f.job, f.role, f.status, false, c)) ORDER BY f.n), '[]')
				 FROM found AS f WHERE f.n <= 25),
		'none', NOT EXISTS (SELECT FROM found),
		'days', p.days,
		'spans', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('label', s.label, 'current', s.days = p.days,
						'href', jobs.board_link('queue', 'job', p.job, 'days', s.days::text)) ORDER BY s.days)
				  FROM (VALUES (1, '24 hours'), (7, '7 days'), (30, '30 days')) AS s (days, label)),
		'more', CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 25)
					 THEN jobs.board_link('queue', 'job', p.job, 'days', p.days::text, 'before', jobs.board_micros((SELECT f.finished_at FROM found AS f WHERE f.n = 25))) || '#dead' END,
		'first', CASE WHEN p.later THEN jobs.board_link('queue', 'job', p.job, 'days', p.days::text) || '#dead' END,
		'buttons', CASE WHEN EXISTS (SELECT FROM found) AND ((c).may ->> 'retry')::boolean
						THEN pg_catalog.jsonb_build_array(jobs.board_button('Retry them all', 'retry_all',
								coalesce(p.job, 'all jobs'), pg_catalog.jsonb_build_object('job', coalesce(p.job, ''), 'days', p.days), c)) END)
	FROM p
$$;
COMMENT ON FUNCTION jobs.board_dead(jobs.board_context) IS 'for the board: what ended without success, and was not done again';

CREATE FUNCTION jobs.board_queue(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'only_job', nullif((c).params ->> 'job', ''),
		'all_href', jobs.board_link('queue'),
		'lanes', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'lane', l.lane, 'kind', l.kind, 'ready', l.ready, 'overdue', l.overdue, 'held', l.held, 'paused', l.paused,
						'later', l.waiting - l.overdue, 'running', l.running,
						'oldest', jobs.board_span(coalesce(l.oldest_ready, l.oldest_overdue)),
						'longest', jobs.board_span(l.oldest_running)) ORDER BY l.ready + l.overdue DESC, l.lane), '[]')
				  FROM jobs.lanes AS l),
		'executors', (SELECT pg_catalog.jsonb_build_object('busy', s.busy, 'max', s.max_executors, 'why_not', s.why_not) FROM jobs.server_state() AS s),
		'depth', jobs.board_depth(c),
		'active', jobs.board_active(50, nullif((c).params ->> 'job', ''), c),
		'queued', jobs.board_queued(c),
		'dead', jobs.board_dead(c))
$$;
COMMENT ON FUNCTION jobs.board_queue(jobs.board_context) IS 'for the board: what is on the page queue';

/* ------------------------------------------------------------------------
 * Outbox
 * ------------------------------------------------------------------------
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
			   coalesce(jobs.board_number((c).params ->> 'before'), 9223372036854775807) AS before,
			   (c).params ? 'before' AS later),
	seen AS MATERIALIZED (
		SELECT o.mail_id, o.recipient, o.subject, o.status, o.attempts, o.next_attempt_at, o.smtp_reply, o.created_at, o.ended_at
		FROM jobs.outbox AS o
		WHERE o.mail_id < (SELECT p.before FROM p)
		ORDER BY o.mail_id DESC
		LIMIT 20000),
	found AS MATERIALIZED (
		SELECT s.*, pg_catalog.row_number() OVER () AS n
		FROM (SELECT s.* FROM seen AS s
			  WHERE ((SELECT p.status FROM p) IS NULL OR s.status = (SELECT p.status FROM p))
				AND ((SELECT p.q FROM p) IS NULL
					 OR pg_catalog.strpos(pg_catalog.lower(pg_catalog.concat_ws(' ', s.recipient, s.subject)), pg_catalog.lower((SELECT p.q FROM p))) > 0)
			  LIMIT 51) AS s),
	edge AS MATERIALIZED (
		SELECT CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 50) THEN (SELECT f.mail_id FROM found AS f WHERE f.n = 50)
					WHEN (SELECT pg_catalog.count(*) FROM seen) >= 20000 THEN (SELECT pg_catalog.min(s.mail_id) FROM seen AS s) END AS mail_id)
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
 * The html of a mail with its own images in it, and with none from elsewhere: the
 * pages that show it load nothing, so a browser would complain of each.
 */
CREATE FUNCTION jobs.board_preview(mail_id bigint) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	html text := (SELECT m.body_html FROM jobs.mail_content AS m WHERE m.mail_id = board_preview.mail_id);
	file record;
BEGIN
	FOR file IN
		SELECT f.content_id, f.content, coalesce(f.content_type, 'image/' || coalesce(substring(lower(f.filename) from '\.(png|gif|webp)$'), 'jpeg')) AS content_type
		FROM jobs.mail_file AS f
		WHERE f.mail_id = board_preview.mail_id AND f.content_id IS NOT NULL
		ORDER BY f.position
		LIMIT 20
	LOOP
		CONTINUE WHEN octet_length(file.content) > 500000 OR file.content_type !~ '^image/[A-Za-z0-9.+-]+$';
		html := replace(html, 'cid:' || file.content_id,
			format('data:%s;base64,%s', file.content_type, translate(encode(file.content, 'base64'), E'\n', '')));
	END LOOP;
	html := regexp_replace(html, 'url\(\s*(["'']?)\s*(?!data:)', 'url(\1data:,', 'gi');
	html := regexp_replace(html, '@import|([\s"''/])on([a-z]+\s*=)', '\1data-\2', 'gi');
	RETURN regexp_replace(
		regexp_replace(html, '([\s"''/])(src|srcset|background|poster)(\s*=\s*["'']?\s*)(?=[^"''\s>])(?!\s*data:)', '\1data-\2\3', 'gi'),
		'<(/?)(script|link|iframe|object|embed|base|meta)(?=[\s/>])', '<\1template data-was=\2', 'gi');
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
		'html', CASE WHEN m.body_html IS NOT NULL AND pg_catalog.length(m.body_html) <= 1000000 THEN jobs.board_preview(o.mail_id) END,
		'text', pg_catalog.left(m.body_text, 100000),
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

/* ------------------------------------------------------------------------
 * The page
 * ------------------------------------------------------------------------
 */
CREATE FUNCTION jobs.board_content(page text, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE page
		WHEN 'overview' THEN jobs.board_overview(c)
		WHEN 'jobs' THEN jobs.board_jobs(c)
		WHEN 'job' THEN jobs.board_job(c)
		WHEN 'runs' THEN jobs.board_runs(c)
		WHEN 'run' THEN jobs.board_run(c)
		WHEN 'timeline' THEN jobs.board_timeline(c)
		WHEN 'queue' THEN jobs.board_queue(c)
		WHEN 'outbox' THEN jobs.board_outbox(c)
		WHEN 'mail' THEN jobs.board_message(c) END
$$;
COMMENT ON FUNCTION jobs.board_content(text, jobs.board_context) IS 'for the board: what is on a page; NULL: there is no such page, or not what it is about';

CREATE FUNCTION jobs.board_data(page text DEFAULT 'overview', params jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH given AS MATERIALIZED (
		SELECT coalesce(page, 'overview') AS page,
			   CASE WHEN pg_catalog.jsonb_typeof(params) = 'object' THEN params - 'app' - 'page' ELSE '{}' END AS params,
			   CASE WHEN pg_catalog.jsonb_typeof(params -> 'app') = 'object' THEN params -> 'app' ELSE '{}' END AS app,
			   jobs.clock() AS now),
	context AS MATERIALIZED (
		SELECT g.page, g.app,
			   ROW(g.params, jobs.board_zone(g.app ->> 'zone'), g.now, jobs.board_may(),
				   jobs.board_link(g.page, VARIADIC (
					SELECT coalesce(pg_catalog.array_agg(f.part ORDER BY p.key, f.n), '{}')
					FROM pg_catalog.jsonb_each_text(g.params) AS p
					CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[p.key, p.value]) WITH ORDINALITY AS f (part, n)
					WHERE p.key IN ('name', 'id', 'q', 'group', 'state', 'status', 'job', 'after', 'before', 'days', 'refresh'))))::jobs.board_context AS c
		FROM given AS g),
	content AS MATERIALIZED (SELECT x.*, jobs.board_content(x.page, x.c) AS content FROM context AS x),
	tab AS (
		SELECT t.n, t.page, t.label,
			   t.page = CASE x.page WHEN 'job' THEN 'jobs' WHEN 'run' THEN 'runs' WHEN 'mail' THEN 'outbox' ELSE x.page END AS current
		FROM content AS x
		CROSS JOIN (VALUES (1, 'overview', 'Overview'), (2, 'jobs', 'Jobs'), (3, 'runs', 'Runs'), (4, 'timeline', 'Timeline'),
						   (5, 'queue', 'Queue'), (6, 'outbox', 'Outbox')) AS t (n, page, label))
	SELECT pg_catalog.jsonb_build_object(
			'title', CASE x.page
				WHEN 'job' THEN (x.c).params ->> 'name'
				WHEN 'run' THEN 'Run ' || coalesce((x.c).params ->> 'id', '')
				WHEN 'mail' THEN 'Mail ' || coalesce((x.c).params ->> 'id', '')
				ELSE coalesce((SELECT t.label FROM tab AS t WHERE t.page = x.page), 'Not found') END,
			'base', coalesce(x.app ->> 'base', ''),
			'csrf', CASE WHEN pg_catalog.jsonb_typeof(x.app -> 'csrf') = 'object'
						 THEN pg_catalog.jsonb_build_object('name', x.app -> 'csrf' ->> 'name', 'value', x.app -> 'csrf' ->> 'value') END,
			'flash', CASE WHEN pg_catalog.jsonb_typeof(x.app -> 'flash') = 'object'
						  THEN pg_catalog.jsonb_build_object('ok', coalesce(x.app -> 'flash' -> 'ok' = 'true', false), 'message', x.app -> 'flash' ->> 'message',
								'hint', x.app -> 'flash' ->> 'hint',
								'href', CASE WHEN x.app -> 'flash' ->> 'href' ~ '^[?][!-~]*$' THEN x.app -> 'flash' ->> 'href' END) END,
			'home', jobs.board_link('overview'),
			'tabs', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('label', t.label, 'href', jobs.board_link(t.page), 'current', t.current) ORDER BY t.n) FROM tab AS t),
			'database', pg_catalog.current_database(),
			'user', current_user,
			'zone', (x.c).zone,
			'now', jobs.board_time((x.c).now, (x.c).zone, (x.c).now),
			'refresh', CASE WHEN jobs.board_number((x.c).params ->> 'refresh') BETWEEN 2 AND 3600 THEN jobs.board_number((x.c).params ->> 'refresh')
							WHEN (x.c).params ? 'refresh' THEN 10 END,
			'refresh_href', CASE WHEN (x.c).params ? 'refresh' THEN NULL ELSE (x.c).here || '&refresh=10' END,
			'still_href', CASE WHEN (x.c).params ? 'refresh' THEN pg_catalog.regexp_replace((x.c).here, '&refresh=[^&]*', '') END,
			'missing', x.content IS NULL,
			'missing_what', CASE WHEN x.content IS NULL THEN CASE x.page
				WHEN 'job' THEN 'There is no such job, or you may not see it.'
				WHEN 'run' THEN 'There is no such run: it was never made, its history is not kept any more, or you may not see it.'
				WHEN 'mail' THEN 'There is no such mail: it was never queued, it is not kept any more, or you may not see it.'
				ELSE 'The board has no such page.' END END)
		|| CASE WHEN x.content IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('page_' || x.page, x.content) END
	FROM content AS x
$$;
COMMENT ON FUNCTION jobs.board_data(text, jsonb) IS 'what is on a page of the board, for who makes pages of its own';

CREATE FUNCTION jobs.board(page text DEFAULT 'overview', params jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT jobs.board_html(jobs.board_data(page, params)) $$;
COMMENT ON FUNCTION jobs.board(text, jsonb) IS
	'a page of the board, as HTML that needs nothing else: overview, jobs, job (name), runs, run (id), timeline, queue, outbox, mail (id). params: those of the page''s URL, and in app what the app adds: base, csrf {name, value}, flash, zone';

/* ------------------------------------------------------------------------
 * Actions
 * ------------------------------------------------------------------------
 */
CREATE FUNCTION jobs.board_do(request jsonb, OUT message text, OUT href text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
<<it>>
DECLARE
	job text := request ->> 'job';
	run_id bigint := jobs.board_number(request ->> 'run_id');
	mail_id bigint := jobs.board_number(request ->> 'mail_id');
	job_group text := request ->> 'group';
	n bigint;
	run record;
BEGIN
	CASE request ->> 'action'
	WHEN 'run_now' THEN
		SELECT r.run_id, r.status INTO run FROM jobs.run_now(job, nullif(btrim(request ->> 'args'), '')::jsonb, wait => false) AS r;
		message := CASE run.status WHEN 'skipped' THEN format('"%s" runs already, and does not run twice.', job)
					ELSE format('"%s" is to run now, as run %s.', job, run.run_id) END;
		href := jobs.board_link('run', 'id', run.run_id::text);
	WHEN 'enqueue' THEN
		run_id := jobs.enqueue(job, coalesce(nullif(btrim(request ->> 'args'), ''), '{}')::jsonb,
			nullif(request ->> 'run_at', '')::timestamp AT TIME ZONE jobs.board_zone(request ->> 'zone'),
			nullif(request ->> 'priority', '')::integer);
		message := format('Run %s of "%s" is queued.', run_id, job);
		href := jobs.board_link('run', 'id', run_id::text);
	WHEN 'cancel' THEN
		message := CASE WHEN jobs.cancel(run_id) THEN format('Run %s is cancelled.', run_id) ELSE format('Run %s has ended already.', run_id) END;
	WHEN 'cancel_all' THEN
		n := (SELECT sum(jobs.cancel(job, s.state)) FROM unnest('{ready,held,waiting,paused}'::text[]) AS s (state)
			WHERE s.state = coalesce(nullif(request ->> 'state', ''), s.state));
		message := format('%s runs of "%s" are cancelled.', n, job);
	WHEN 'retry' THEN
		message := CASE WHEN jobs.retry(run_id) THEN format('Run %s is done again.', run_id) ELSE format('Run %s is under way.', run_id) END;
	WHEN 'retry_all' THEN
		n := jobs.retry(nullif(job, ''), NULL,
			since => jobs.clock() - coalesce(nullif(least(jobs.board_number(request ->> 'days'), 3650), 0), 1) * interval '24 hours');
		message := format('%s runs are done again.', n);
	WHEN 'pause' THEN
		PERFORM jobs.pause(job);
		message := format('"%s" is paused.', job);
	WHEN 'resume' THEN
		PERFORM jobs.resume(job);
		message := format('"%s" goes on.', job);
	WHEN 'pause_group' THEN
		message := format('%s jobs of group "%s" were paused.', jobs.pause_group(job_group), job_group);
	WHEN 'resume_group' THEN
		message := format('%s jobs of group "%s" go on.', jobs.resume_group(job_group), job_group);
	WHEN 'pause_all' THEN
		message := format('%s jobs were paused.', jobs.pause_all());
	WHEN 'resume_all' THEN
		message := format('%s jobs go on.', jobs.resume_all());
	WHEN 'reschedule' THEN
		PERFORM jobs.override_schedule(job, nullif(btrim(request ->> 'schedule'), ''));
		SELECT s.in_words, s.timezone, s.overridden INTO run FROM jobs.status AS s WHERE s.job = it.job;
		message := CASE WHEN run.overridden THEN format('"%s" runs %s (%s) from now on.', job, coalesce(run.in_words, 'on demand'), run.timezone)
					ELSE format('"%s" goes by its own schedule: %s.', job, coalesce(run.in_words, 'on demand')) END;
	WHEN 'resend' THEN
		message := CASE WHEN jobs.resend(mail_id) THEN format('Mail %s is sent again.', mail_id) ELSE format('Mail %s is under way.', mail_id) END;
	WHEN 'resume_mail' THEN
		message := CASE WHEN jobs.resume_mail() THEN 'Mail is tried now.' ELSE 'Nothing is in the way of mail.' END;
	ELSE
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('the board has no action "%s"', request ->> 'action');
	END CASE;
END
$$;
COMMENT ON FUNCTION jobs.board_do(jsonb) IS 'for jobs.board_action(): does it, or raises why not';

CREATE FUNCTION jobs.board_action(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	back text := CASE WHEN request ->> 'back' ~ '^[?][!-~]{0,2000}$' THEN request ->> 'back' ELSE jobs.board_link('overview') END;
	done record;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		done := jobs.board_do(request);
		RETURN jsonb_build_object('ok', true, 'message', done.message, 'hint', NULL, 'href', done.href, 'page', back);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		-- what says that the request was not to be done; not that the server cannot do anything, or must be asked again
		IF left(state, 2) IN ('40', '53', '57', '58', 'F0', 'XX') AND state NOT IN ('53400', '57014') THEN
			RAISE;
		END IF;
		RETURN jsonb_build_object('ok', false, 'message', message, 'sqlstate', state, 'href', NULL, 'page', back,
			'hint', nullif(concat_ws(' ', nullif(detail, ''), nullif(hint, '')), ''));
	END;
END
$$;
COMMENT ON FUNCTION jobs.board_action(jsonb) IS
	'what a form of the board posts, done under the rights of the caller: {"action": ..., "back": ..., and what it is about}. Returns {"ok", "message", "hint", "page", "href"}; what was refused is not raised, but told so';
