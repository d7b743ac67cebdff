/*
 * board_job.sql -- the pages of the board about jobs
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
		'job_zone', CASE WHEN (s).schedule IS NOT NULL AND (s).timezone <> (c).zone THEN (s).timezone END,
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

CREATE FUNCTION jobs.board_calendar(job text, n integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(jobs.board_time(d.due_at, (c).zone, (c).now) ORDER BY d.due_at), '[]')
	FROM jobs.calendar((c).now, (c).now + interval '1500 days', job, n) AS d
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
		'rate', s.success_rate || ' %',
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
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.name, 'value', f.value) ORDER BY f.n, f.name), '[]')
	FROM (VALUES
		(1, 'Runs as', (d).role::text),
		(2, 'Done by', CASE (d).handler WHEN 'sql' THEN 'an executor of the server' WHEN 'external' THEN 'workers outside of the server' WHEN 'http' THEN 'an HTTP call' ELSE (d).handler END),
		(2, 'Calls', nullif(pg_catalog.concat_ws(' ', coalesce((d).method, 'POST'), (d).url), coalesce((d).method, 'POST'))),
		(2, 'Pings', (d).ping_url),
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

CREATE FUNCTION jobs.board_statuses(chosen text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', s.value,
		'label', CASE s.value WHEN '' THEN 'any status' WHEN 'failures' THEN 'any failure' ELSE pg_catalog.replace(s.value, '_', ' ') END,
		'selected', s.value = coalesce(chosen, '')) ORDER BY s.n)
	FROM pg_catalog.unnest('{"",succeeded,failures,failed,timed_out,crashed,cancelled,skipped,expired,uncertain}'::text[]) WITH ORDINALITY AS s (value, n)
$$;
COMMENT ON FUNCTION jobs.board_statuses(text) IS 'for the board: the statuses to choose from';

/*
 * Newest first, in pages: those of a job, or of all.  Where few of those that are
 * looked at may be on the page, it does not look on for ever to be full.
 */
CREATE FUNCTION jobs.board_list(page text, key text, job text, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT nullif((c).params ->> 'status', '') AS status, b.finished_at, b.run_id, b.attempt,
			   CASE WHEN nullif((c).params ->> 'status', '') IS NOT NULL OR NOT jobs.sees_all() THEN jobs.board_reach(job, b.finished_at, NULL) END AS reach
		FROM jobs.board_place((c).params ->> 'before') AS b),
	found AS MATERIALIZED (
		SELECT h AS run, pg_catalog.row_number() OVER () AS n
		FROM p CROSS JOIN LATERAL jobs.recent(job, p.status, 51, p.finished_at, p.run_id, p.attempt, p.reach) AS h),
	last AS (
		SELECT jobs.board_key((f.run).finished_at, (f.run).run_id, (f.run).attempt) AS key
		FROM found AS f WHERE f.n = 50 AND EXISTS (SELECT FROM found AS f WHERE f.n > 50))
	SELECT pg_catalog.jsonb_build_object(
		'with_job', job IS NULL,
		'statuses', jobs.board_statuses(p.status),
		'runs', (SELECT coalesce(pg_catalog.jsonb_agg(jobs.board_ended(f.run, c) ORDER BY f.n), '[]') FROM found AS f WHERE f.n <= 50),
		'none', NOT EXISTS (SELECT FROM found),
		'more', CASE WHEN m.before IS NOT NULL THEN jobs.board_link(page, key, coalesce(job, ''), 'status', coalesce(p.status, ''), 'before', m.before) END,
		'first', CASE WHEN p.finished_at IS NOT NULL THEN jobs.board_link(page, key, coalesce(job, ''), 'status', coalesce(p.status, '')) END)
	FROM p
	CROSS JOIN LATERAL (SELECT coalesce((SELECT last.key FROM last), jobs.board_key(p.reach, 0, 0)) AS before) AS m
$$;
COMMENT ON FUNCTION jobs.board_list(text, text, text, jobs.board_context) IS 'for the board: attempts that ended, of a job or of all';

CREATE FUNCTION jobs.board_job(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT jobs.board_job_line(s, c) || pg_catalog.jsonb_build_object(
		'description', jobs.board_text(d.description),
		'command', jobs.board_text(d.command),
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
