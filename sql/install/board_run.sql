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
		'job_href', CASE WHEN EXISTS (SELECT FROM jobs.definition AS d WHERE d.job = r.job) THEN jobs.board_link('job', 'name', r.job) END,
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
		'buttons', jobs.board_run_buttons(r.run_id, r.job, r.role, r.status, r.live, c))
	FROM run AS r
	WHERE r.run_id IS NOT NULL
$$;
COMMENT ON FUNCTION jobs.board_run(jobs.board_context) IS 'for the board: what is on the page run; NULL: there is none of that id';


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
		WHERE h.finished_at >= (SELECT span.begins FROM span) AND h.finished_at <= (SELECT span.now FROM span) AND h.job_id > 0
		UNION ALL
		SELECT h.job, h.started_at, h.finished_at, h.status
		FROM jobs.history AS h
		WHERE h.finished_at IS NULL AND h.job_id > 0),
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
