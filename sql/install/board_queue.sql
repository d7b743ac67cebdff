/*
 * board_queue.sql -- the page queue of the board
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
		SELECT h.due_at AS since, h.started_at AS until, 1 AS runs
		FROM jobs.history AS h
		WHERE h.finished_at >= (SELECT span.begins FROM span) AND h.finished_at <= (SELECT span.now FROM span)
		  AND h.attempt = 1 AND h.job_id > 0 AND h.lag >= interval '1 second' AND h.started_at > (SELECT span.begins FROM span)
		UNION ALL
		SELECT h.due_at, h.started_at, 1
		FROM jobs.history AS h
		WHERE h.finished_at IS NULL AND h.attempt = 1 AND h.job_id > 0 AND h.lag >= interval '1 second' AND h.started_at > (SELECT span.begins FROM span)
		UNION ALL
		SELECT b.due_at, NULL, b.runs
		FROM jobs.backlog AS b),
	change AS (
		SELECT greatest(w.since, (SELECT span.begins FROM span)) AS at, w.runs AS step FROM wait AS w
		UNION ALL
		SELECT w.until, -w.runs FROM wait AS w WHERE w.until IS NOT NULL),
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
			  LIMIT 51) AS q),
	shown AS MATERIALIZED (
		SELECT (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'run_id', f.run_id,
						'href', jobs.board_link('run', 'id', f.run_id::text),
						'job', f.job,
						'job_href', jobs.board_job_link(f.job),
						'state', jobs.board_status(f.state),
						'waits_for', CASE f.waits_for WHEN 'run_at' THEN 'its time' ELSE f.waits_for END,
						'run_at', jobs.board_time(f.run_at, (c).zone, (c).now),
						'priority', f.priority,
						'attempt', f.attempt,
						'tried', f.attempt > 0,
						'trigger', pg_catalog.replace(f.trigger, '_', ' '),
						'buttons', jobs.board_run_buttons(f.run_id, f.job, NULL, f.role, f.state, true, c)) ORDER BY f.n), '[]')
				FROM found AS f WHERE f.n <= 50) AS runs)
	SELECT pg_catalog.jsonb_build_object(
		'runs', s.runs,
		'none', NOT EXISTS (SELECT FROM found),
		'states', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', o.value, 'label', coalesce(nullif(o.value, ''), 'any state'),
							'selected', o.value = coalesce(p.state, '')) ORDER BY o.n)
				   FROM pg_catalog.unnest('{"",ready,held,waiting,paused}'::text[]) WITH ORDINALITY AS o (value, n)),
		'job', p.job,
		'buttons', CASE WHEN jobs.board_job_link(p.job) IS NOT NULL AND s.runs @? '$[*].buttons[*]'
						THEN pg_catalog.jsonb_build_array(jobs.board_button('Cancel all that wait', 'cancel_all', p.job,
								pg_catalog.jsonb_build_object('job', p.job, 'state', coalesce(p.state, '')), c)) END,
		'more', CASE WHEN EXISTS (SELECT FROM found AS f WHERE f.n > 50)
					 THEN jobs.board_link('queue', 'job', p.job, 'state', p.state, 'after', (SELECT f.run_id::text FROM found AS f WHERE f.n = 50)) END,
		'first', CASE WHEN p.after > 0 THEN jobs.board_link('queue', 'job', p.job, 'state', p.state) END)
	FROM p
	CROSS JOIN shown AS s
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
			   b.finished_at, b.run_id, b.attempt, d.days, coalesce(r.reach, d.begins) AS begins, r.reach
		FROM jobs.board_place((c).params ->> 'before') AS b
		CROSS JOIN (SELECT CASE WHEN jobs.board_number((c).params ->> 'days') BETWEEN 1 AND 3650 THEN jobs.board_number((c).params ->> 'days') ELSE 1 END AS days) AS n
		CROSS JOIN LATERAL (SELECT n.days, (c).now - n.days * interval '24 hours' AS begins) AS d
		CROSS JOIN LATERAL jobs.board_reach(NULL, b.finished_at, d.begins) AS r (reach)),
	found AS MATERIALIZED (
		SELECT d.*, pg_catalog.row_number() OVER () AS n
		FROM (SELECT d.* FROM jobs.dead AS d
			  WHERE d.finished_at >= (SELECT p.begins FROM p) AND d.finished_at <= (SELECT coalesce(p.finished_at, 'infinity') FROM p)
				AND (d.finished_at < (SELECT coalesce(p.finished_at, 'infinity') FROM p)
					 OR (d.run_id, d.attempt) < ((SELECT p.run_id FROM p), (SELECT p.attempt FROM p)))
				AND ((SELECT p.job FROM p) IS NULL OR d.job = (SELECT p.job FROM p))
			  ORDER BY d.finished_at DESC, d.run_id DESC, d.attempt DESC
			  LIMIT 26) AS d),
	last AS (
		SELECT jobs.board_key(f.finished_at, f.run_id, f.attempt) AS key
		FROM found AS f WHERE f.n = 25 AND EXISTS (SELECT FROM found AS f WHERE f.n > 25)),
	shown AS MATERIALIZED (
		SELECT (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
						'run_id', f.run_id,
						'href', jobs.board_link('run', 'id', f.run_id::text),
						'job', f.job,
						'job_href', jobs.board_job_link(f.job),
						'status', jobs.board_status(f.status),
						'finished', jobs.board_time(f.finished_at, (c).zone, (c).now),
						'attempt', f.attempt,
						'again', f.attempt > 1,
						'error', pg_catalog.left(f.error, 300),
						'buttons', jobs.board_run_buttons(f.run_id, f.job, f.job_id, f.role, f.status, false, c)) ORDER BY f.n), '[]')
				FROM found AS f WHERE f.n <= 25) AS runs)
	SELECT pg_catalog.jsonb_build_object(
		'runs', s.runs,
		'none', NOT EXISTS (SELECT FROM found),
		'days', p.days,
		'spans', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('label', s.label, 'current', s.days = p.days,
						'href', jobs.board_link('queue', 'job', p.job, 'days', s.days::text)) ORDER BY s.days)
				  FROM (VALUES (1, '24 hours'), (7, '7 days'), (30, '30 days')) AS s (days, label)),
		'more', CASE WHEN m.before IS NOT NULL THEN jobs.board_link('queue', 'job', p.job, 'days', p.days::text, 'before', m.before) || '#dead' END,
		'first', CASE WHEN p.finished_at IS NOT NULL THEN jobs.board_link('queue', 'job', p.job, 'days', p.days::text) || '#dead' END,
		'buttons', CASE WHEN s.runs @? '$[*].buttons[*]'
						THEN pg_catalog.jsonb_build_array(jobs.board_button('Retry them all', 'retry_all',
								coalesce(p.job, 'all jobs'), pg_catalog.jsonb_build_object('job', coalesce(p.job, ''), 'days', p.days), c)) END)
	FROM p
	CROSS JOIN shown AS s
	CROSS JOIN LATERAL (SELECT coalesce((SELECT last.key FROM last), jobs.board_key(p.reach, 0, 0)) AS before) AS m
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
