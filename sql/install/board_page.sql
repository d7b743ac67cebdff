/*
 * board_page.sql -- a page of the board as a whole, and what its forms do
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
		WHEN 'mail' THEN jobs.board_message(c)
		WHEN 'alerts' THEN jobs.board_alerts(c) END
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
						   (5, 'queue', 'Queue'), (6, 'outbox', 'Outbox'), (7, 'alerts', 'Alerts')) AS t (n, page, label))
	SELECT pg_catalog.jsonb_build_object(
			'title', CASE x.page
				WHEN 'job' THEN (x.c).params ->> 'name'
				WHEN 'run' THEN 'Run ' || coalesce((x.c).params ->> 'id', '')
				WHEN 'mail' THEN 'Mail ' || coalesce((x.c).params ->> 'id', '')
				ELSE coalesce((SELECT t.label FROM tab AS t WHERE t.page = x.page), 'Not found') END,
			/* a path, not another site: an app may have passed on what a visitor gave as app */
			'base', CASE WHEN x.app ->> 'base' ~ '^/([^/\\[:cntrl:]][^[:cntrl:]]*)?$' THEN x.app ->> 'base' ELSE '' END,
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
	'a page of the board, as HTML that needs nothing else: overview, jobs, job (name), runs, run (id), timeline, queue, outbox, mail (id), alerts. params: those of the page''s URL, and in app what the app adds: base, csrf {name, value}, flash, zone';

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
		run_id := (SELECT r.run_id FROM jobs.run_now(job, nullif(btrim(request ->> 'args'), '')::jsonb, wait => false) AS r);
		message := format('"%s" is to run now, as run %s.', job, run_id)
			|| CASE WHEN EXISTS (SELECT FROM jobs.active AS a JOIN jobs.definition AS d ON d.job = a.job WHERE a.job = it.job AND d.overlap = 'skip')
				THEN ' It runs already: unless that has ended by then, the new run is skipped.' ELSE '' END;
		href := jobs.board_link('run', 'id', run_id::text);
	WHEN 'enqueue' THEN
		run_id := jobs.enqueue(job, coalesce(nullif(btrim(request ->> 'args'), ''), '{}')::jsonb,
			nullif(request ->> 'run_at', '')::timestamp AT TIME ZONE jobs.board_zone(request ->> 'zone'),
			nullif(request ->> 'priority', '')::integer);
		message := format('Run %s of "%s" is queued.', run_id, job);
		href := jobs.board_link('run', 'id', run_id::text);
	WHEN 'cancel' THEN
		message := CASE WHEN jobs.cancel(run_id) THEN format('Run %s is cancelled.', run_id) ELSE format('Run %s has ended already.', run_id) END;
	WHEN 'cancel_all' THEN
		IF job IS NULL THEN -- to jobs.cancel() that is all jobs
			RAISE EXCEPTION USING
				ERRCODE = 'null_value_not_allowed',
				MESSAGE = 'job name must not be null';
		END IF;
		n := (SELECT sum(jobs.cancel(job, s.state)) FROM unnest('{ready,held,waiting,paused}'::text[]) AS s (state)
			WHERE s.state = coalesce(nullif(request ->> 'state', ''), s.state));
		message := format('Cancelled of "%s": %s.', job, jobs.board_count(n, 'run'));
	WHEN 'retry' THEN
		message := CASE WHEN jobs.retry(run_id) THEN format('Run %s is done again.', run_id) ELSE format('Run %s is under way.', run_id) END;
	WHEN 'retry_all' THEN
		n := jobs.retry(nullif(job, ''), NULL,
			since => jobs.clock() - interval '24 hours' * CASE WHEN jobs.board_number(request ->> 'days') BETWEEN 1 AND 3650
				THEN jobs.board_number(request ->> 'days') ELSE 1 END);
		message := format('Done again: %s.', jobs.board_count(n, 'run'));
	WHEN 'pause' THEN
		PERFORM jobs.pause(job);
		message := format('"%s" is paused.', job);
	WHEN 'resume' THEN
		PERFORM jobs.resume(job);
		message := format('"%s" goes on.', job);
	WHEN 'pause_group' THEN
		message := format('Paused of group "%s": %s.', job_group, jobs.board_count(jobs.pause_group(job_group), 'job'));
	WHEN 'resume_group' THEN
		message := format('Resumed of group "%s": %s.', job_group, jobs.board_count(jobs.resume_group(job_group), 'job'));
	WHEN 'pause_all' THEN
		message := format('Paused: %s.', jobs.board_count(jobs.pause_all(), 'job'));
	WHEN 'resume_all' THEN
		message := format('Resumed: %s.', jobs.board_count(jobs.resume_all(), 'job'));
	WHEN 'reschedule' THEN
		PERFORM jobs.override_schedule(job, nullif(btrim(request ->> 'schedule'), ''));
		SELECT s.in_words, s.timezone, s.overridden INTO run FROM jobs.status AS s WHERE s.job = it.job;
		message := CASE WHEN run.overridden THEN format('"%s" runs %s (%s) from now on.', job, coalesce(run.in_words, 'on demand'), run.timezone)
					ELSE format('"%s" goes by its own schedule: %s.', job, coalesce(run.in_words, 'on demand')) END;
	WHEN 'resend' THEN
		message := CASE WHEN jobs.resend(mail_id) THEN format('Mail %s is sent again.', mail_id) ELSE format('Mail %s is under way.', mail_id) END;
	WHEN 'acknowledge' THEN
		message := CASE WHEN jobs.acknowledge(jobs.board_number(request ->> 'alert_id'), nullif(btrim(request ->> 'note'), ''))
			THEN 'The alert is acknowledged.' ELSE 'The alert is acknowledged already, or has ended.' END;
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
	back text := CASE WHEN request ->> 'back' ~ '^[?][!-~]*$' AND length(request ->> 'back') <= 2000 THEN request ->> 'back' ELSE jobs.board_link('overview') END;
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
		IF left(state, 2) IN ('40', '53', '57', '58', 'F0', 'XX') AND state <> '53400' THEN
			RAISE;
		END IF;
		RETURN jsonb_build_object('ok', false, 'message', message, 'sqlstate', state, 'href', NULL, 'page', back,
			'hint', nullif(concat_ws(' ', nullif(detail, ''), nullif(hint, '')), ''));
	END;
END
$$;
COMMENT ON FUNCTION jobs.board_action(jsonb) IS
	'what a form of the board posts, done under the rights of the caller: {"action": ..., "back": ..., and what it is about}. Returns {"ok", "message", "hint", "page", "href"}; what was refused is not raised, but told so';
