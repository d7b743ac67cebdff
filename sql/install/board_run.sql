/*
 * board_run.sql -- the pages of the board about runs, and the timeline
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
		'job_href', jobs.board_job_link(r.job),
		'mail_href', (SELECT jobs.board_link('mail', 'id', o.mail_id::text) FROM jobs.outbox AS o WHERE r.job = 'mail' AND o.run_id = r.run_id),
		'status', jobs.board_status(r.status),
		'waits_for', CASE r.waits_for WHEN 'run_at' THEN 'its time' ELSE r.waits_for END,
		'error', jobs.board_text(r.error),
		'sqlstate', r.sqlstate,
		'detail', jobs.board_text(r.error_detail),
		'context', jobs.board_text(r.error_context),
		'notices', jobs.board_text(r.notices),
		'result', jobs.board_text(r.result),
		'args', jobs.board_text(pg_catalog.jsonb_pretty(r.args)),
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
					(16, 'Worker', r.worker),
					(17, 'Calls', (SELECT pg_catalog.concat_ws(' ', k.method, coalesce(k.url, k.host), '(' || k.purpose || ')') FROM jobs.calls AS k WHERE k.run_id = r.run_id))) AS f (n, name, value)
				  WHERE f.value <> ''),
		'progress', (SELECT pg_catalog.jsonb_build_object('percent', a.percent, 'measured', a.percent IS NOT NULL, 'done', a.done::text, 'total', a.total::text,
							'note', a.note, 'for', jobs.board_span(a.running_for), 'until', jobs.board_time(a.lease_until, (c).zone, (c).now))
					 FROM jobs.active AS a WHERE a.run_id = r.run_id LIMIT 1),
		'attempts', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'attempt', a.attempt,
							'status', jobs.board_status(a.status),
							'started', jobs.board_time(a.started_at, (c).zone, (c).now),
							'duration', jobs.board_span(a.duration),
							'result', pg_catalog.left(a.result, 200),
							'error', pg_catalog.left(a.error, 2000),
							'sqlstate', a.sqlstate) ORDER BY a.attempt DESC, a.finished_at DESC NULLS FIRST), '[]')
					 FROM attempt AS a),
		'buttons', jobs.board_run_buttons(r.run_id, r.job, r.job_id, r.role, r.status, r.live, c))
	FROM run AS r
	WHERE r.run_id IS NOT NULL
$$;
COMMENT ON FUNCTION jobs.board_run(jobs.board_context) IS 'for the board: what is on the page run; NULL: there is none of that id';

/*
 * Two days in bins of ten minutes, with now in the middle.  What failed takes
 * all of the height, what is due little of it.
 */
CREATE FUNCTION jobs.board_timeline(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
	WITH span AS MATERIALIZED (
		SELECT (c).now - interval '24 hours' AS begins, (c).now AS now, (c).now + interval '24 hours' AS ends),
	run AS (
		SELECT h.job, h.started_at, h.finished_at, h.status
		FROM jobs.history AS h
		WHERE h.finished_at >= (SELECT span.begins FROM span) AND h.finished_at <= (SELECT span.now FROM span) AND h.job_id > 0
		UNION ALL
		SELECT h.job, h.started_at, h.finished_at, h.status
		FROM jobs.history AS h
		WHERE h.finished_at IS NULL AND h.job_id > 0),
	past AS (
		SELECT h.job, greatest(pg_catalog.floor(extract(epoch FROM h.started_at - (SELECT span.begins FROM span)) / 600)::integer, 0) AS bin,
			   h.status IN ('failed', 'timed_out', 'crashed') AS bad,
			   pg_catalog.count(*) AS runs,
			   pg_catalog.ceil(extract(epoch FROM pg_catalog.max(coalesce(h.finished_at, (SELECT span.now FROM span))) - (SELECT span.begins FROM span)) / 600)::integer AS end_bin
		FROM run AS h
		WHERE h.started_at IS NOT NULL
		GROUP BY 1, 2, 3),
	ran AS (
		SELECT p.job,
			   pg_catalog.string_agg(pg_catalog.format('M%s 8h%sv12h-%2$sz', p.bin, greatest(p.end_bin - p.bin, 1)), '' ORDER BY p.bin) FILTER (WHERE NOT p.bad) AS good,
			   pg_catalog.string_agg(pg_catalog.format('M%s 0h%sv20h-%2$sz', p.bin, greatest(p.end_bin - p.bin, 1)), '' ORDER BY p.bin) FILTER (WHERE p.bad) AS bad,
			   pg_catalog.sum(p.runs) AS runs,
			   pg_catalog.sum(p.runs) FILTER (WHERE p.bad) AS failed
		FROM past AS p
		GROUP BY p.job),
	due AS (
		SELECT d.job,
			   pg_catalog.string_agg(pg_catalog.format('M%s 14h1v6h-1z', 144 + pg_catalog.floor(extract(epoch FROM d.first_at - span.now) / 600)), '' ORDER BY d.first_at) AS due,
			   pg_catalog.sum(d.runs) AS runs,
			   pg_catalog.min(d.first_at) AS first_at
		FROM span CROSS JOIN LATERAL jobs.board_due(span.now, span.ends, 600, 201) AS d
		GROUP BY d.job),
	line AS MATERIALIZED (
		SELECT job, r.good, r.bad, d.due, coalesce(r.runs, 0) AS runs, coalesce(r.failed, 0) AS failed, coalesce(d.runs, 0) AS coming, d.first_at,
			   pg_catalog.row_number() OVER (ORDER BY job) AS n
		FROM ran AS r FULL JOIN due AS d USING (job)
		ORDER BY job
		LIMIT 201)
	SELECT pg_catalog.jsonb_build_object(
		'marks', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'percent', pg_catalog.round(extract(epoch FROM g.at - span.begins) / 1728, 2), 'x', pg_catalog.round(extract(epoch FROM g.at - span.begins) / 600, 2),
							'clock', pg_catalog.left(t.at ->> 'clock', 5), 'day', pg_catalog.split_part(t.at ->> 'day', '-', 2) || '-' || pg_catalog.split_part(t.at ->> 'day', '-', 3),
							'iso', t.at ->> 'iso') ORDER BY g.at)
				  FROM pg_catalog.generate_series(pg_catalog.date_trunc('hour', span.begins + interval '1 hour', (c).zone), span.ends, '6 hours') AS g (at)
				  CROSS JOIN LATERAL jobs.board_time(g.at, (c).zone, (c).now) AS t (at)),
		'lines', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'job', l.job,
							'href', CASE WHEN d.job IS NOT NULL THEN jobs.board_link('job', 'name', d.job) END,
							'good', l.good, 'bad', l.bad, 'due', l.due,
							'runs', l.runs, 'failed', l.failed, 'coming', l.coming,
							'any_failed', l.failed > 0,
							'next', jobs.board_time(l.first_at, (c).zone, (c).now),
							'words', pg_catalog.format('%s runs in the last 24 hours, %s failed; due %s times in the next 24', l.runs, l.failed, l.coming)) ORDER BY l.n), '[]')
				  FROM line AS l
				  LEFT JOIN jobs.definition AS d ON d.job = l.job
				  WHERE l.n <= 200),
		'none', NOT EXISTS (SELECT FROM line),
		'cut', EXISTS (SELECT FROM line AS l WHERE l.n > 200))
	FROM span
$$;
COMMENT ON FUNCTION jobs.board_timeline(jobs.board_context) IS 'for the board: what is on the page timeline';
