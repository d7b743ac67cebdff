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
	   CASE WHEN jobs.sees_role(j.role, s.role_oid) THEN j.url END AS url,
	   j.method,
	   CASE WHEN jobs.sees_role(j.role, s.role_oid) THEN j.headers END AS headers,
	   CASE WHEN jobs.sees_role(j.role, s.role_oid) THEN j.ping_url END AS ping_url,
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
COMMENT ON COLUMN jobs.definition.url IS 'of an http job; as headers and ping_url shown to members of the role only';
COMMENT ON COLUMN jobs.definition.schedule IS 'its own; what it goes by is in jobs.status';
COMMENT ON COLUMN jobs.definition.runs IS 'runs that its schedule has made, of max_runs';
COMMENT ON COLUMN jobs.definition.may_operate IS 'whether the reader may run, pause and resume it, if it may call these functions';
COMMENT ON COLUMN jobs.definition.may_manage IS 'whether the reader may change and end it, if it may call these functions';

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

CREATE FUNCTION jobs.board_reach(job text, before timestamptz, since timestamptz) RETURNS timestamptz
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_api_board_reach';
COMMENT ON FUNCTION jobs.board_reach(text, timestamptz, timestamptz) IS
	'for the board: where a list of what ended before an instant, of a job or (NULL) of all, stops to look for more, after 100000 attempts; NULL: not before since';

CREATE FUNCTION jobs.board_mail_reach(before bigint) RETURNS bigint
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_mail_reach';
COMMENT ON FUNCTION jobs.board_mail_reach(bigint) IS 'for the board: where a list of mails before one stops to look for more, after 20000; 0: not at all';

CREATE FUNCTION jobs.board_due(from_time timestamptz, to_time timestamptz, seconds integer, max_jobs integer, OUT job text, OUT first_at timestamptz, OUT runs bigint)
RETURNS SETOF record
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'mj_api_board_due';
COMMENT ON FUNCTION jobs.board_due(timestamptz, timestamptz, integer, integer) IS
	'for the board: how often each job is due in a window, by bins of so many seconds; of the first jobs, by name, that are';

CREATE FUNCTION jobs.board_number(value text) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN value ~ '^[0-9]{1,18}$' THEN value::bigint END $$;
COMMENT ON FUNCTION jobs.board_number(text) IS 'for the board: a parameter that is a number; NULL: it is none';

/*
 * Where a list goes on: after the row of this instant, run and attempt.  Many
 * runs can have ended at one instant, those that expired, say.
 */
CREATE FUNCTION jobs.board_key(finished_at timestamptz, run_id bigint, attempt integer) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_catalog.trunc(extract(epoch FROM finished_at) * 1000000) || '.' || run_id || '.' || attempt $$;
COMMENT ON FUNCTION jobs.board_key(timestamptz, bigint, integer) IS 'for the board: a place in a list of runs that ended, as a parameter';

CREATE FUNCTION jobs.board_place(key text, OUT finished_at timestamptz, OUT run_id bigint, OUT attempt integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT timestamptz '1970-01-01 00:00 UTC' + k.part[1]::bigint * interval '1 microsecond', k.part[2]::bigint, k.part[3]::integer
	FROM (SELECT pg_catalog.regexp_match(key, '^([0-9]{1,17})[.]([0-9]{1,18})[.]([0-9]{1,9})$')) AS k (part)
$$;
COMMENT ON FUNCTION jobs.board_place(text) IS 'for the board: the place that such a parameter means; NULL: it is none';

CREATE FUNCTION jobs.board_count(n bigint, what text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(n, 0) || ' ' || what || CASE n WHEN 1 THEN '' ELSE 's' END $$;
COMMENT ON FUNCTION jobs.board_count(bigint, text) IS 'for the board: so many of something, in words';

CREATE FUNCTION jobs.board_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.left(value, 100000) || CASE WHEN pg_catalog.length(value) > 100000
		THEN pg_catalog.format(E'\n... (%s characters more)', pg_catalog.length(value) - 100000) ELSE '' END
$$;
COMMENT ON FUNCTION jobs.board_text(text) IS 'for the board: a text, as far as a page has room for it';

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
	FROM pg_catalog.unnest('{run_now,enqueue,cancel,retry,pause,pause_all,override_schedule,resend,resume_mail,acknowledge}'::name[]) AS f (name)
$$;
COMMENT ON FUNCTION jobs.board_may() IS 'for the board: which functions the current user may call';

CREATE FUNCTION jobs.board_job_link(job text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT jobs.board_link('job', 'name', d.job) FROM jobs.definition AS d WHERE d.job = board_job_link.job $$;
COMMENT ON FUNCTION jobs.board_job_link(text) IS 'for the board: the link to the page of a job; NULL: there is none any more, or it was a mail or a call';

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

CREATE FUNCTION jobs.board_run_buttons(run_id bigint, job text, job_id bigint, role name, status text, live boolean, c jobs.board_context) RETURNS jsonb
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
		  WHERE NOT live AND status IN ('failed', 'timed_out', 'crashed', 'cancelled', 'expired') AND ((c).may ->> 'retry')::boolean
			AND EXISTS (SELECT FROM jobs.definition AS d WHERE d.job_id = board_run_buttons.job_id AND d.may_operate)) AS b
$$;
COMMENT ON FUNCTION jobs.board_run_buttons(bigint, text, bigint, name, text, boolean, jobs.board_context) IS
	'for the board: what the reader may do to a run; job_id: which job has to be there still for it to be done again';

CREATE FUNCTION jobs.board_ended(h jobs.history, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'run_id', (h).run_id,
		'href', jobs.board_link('run', 'id', (h).run_id::text),
		'job', (h).job,
		'job_href', jobs.board_job_link((h).job),
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
						THEN jobs.board_run_buttons((h).run_id, (h).job, (h).job_id, (h).role, (h).status, (h).live, c) END)
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
			'job_href', jobs.board_job_link(a.job),
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
			'buttons', CASE WHEN NOT a.cancelling THEN jobs.board_run_buttons(a.run_id, a.job, NULL, a.role, 'running', true, c) END)
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
