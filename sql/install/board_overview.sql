/*
 * board_overview.sql -- the page overview of the board
 */
CREATE FUNCTION jobs.board_hours(failed_runs bigint, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
	WITH span AS MATERIALIZED (
		SELECT (c).now - interval '24 hours' AS begins, (c).now AS ends, pg_catalog.date_bin('1 hour', (c).now - interval '23 hours', '2000-01-03 00:00:00 UTC') AS first),
	ended AS MATERIALIZED (
		SELECT pg_catalog.date_bin('1 hour', n.finished_at, '2000-01-03 00:00:00 UTC') AS starts,
			   pg_catalog.count(*) FILTER (WHERE n.status NOT IN ('skipped', 'expired')) AS attempts,
			   pg_catalog.count(*) FILTER (WHERE n.status IN ('failed', 'timed_out', 'crashed')) AS failed,
			   pg_catalog.count(*) FILTER (WHERE n.status = 'succeeded') AS succeeded
		FROM jobs.newest AS n
		WHERE n.finished_at >= (SELECT span.begins FROM span) AND n.finished_at <= (SELECT span.ends FROM span) AND n.job_id > 0
		GROUP BY 1),
	hour AS MATERIALIZED (
		SELECT g.n, t.starts, coalesce(e.attempts, 0) AS attempts, coalesce(e.failed, 0) AS failed,
			   greatest(pg_catalog.max(e.attempts) OVER (), 1)::numeric AS most
		FROM span
		CROSS JOIN pg_catalog.generate_series(0, 23) AS g (n)
		CROSS JOIN LATERAL (SELECT span.first + g.n * interval '1 hour' AS starts) AS t
		LEFT JOIN ended AS e ON e.starts = t.starts)
	SELECT pg_catalog.jsonb_build_object(
		'runs', e.succeeded + failed_runs,
		'failed', failed_runs,
		'rate', pg_catalog.round(100.0 * e.succeeded / nullif(e.succeeded + failed_runs, 0), 1) || ' %',
		'most', (SELECT pg_catalog.max(h.attempts) FROM hour AS h),
		'words', pg_catalog.format('%s within 24 hours, of which %s failed; at most %s within an hour',
								   jobs.board_count(e.attempts, 'attempt'), e.failed, (SELECT pg_catalog.max(h.attempts) FROM hour AS h)),
		'bars', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
					'x', h.n * 20 + 2,
					'title', pg_catalog.format('%s: %s, %s failed', jobs.board_time(h.starts, (c).zone, (c).now) ->> 'short', jobs.board_count(h.attempts, 'attempt'), h.failed),
					'y', pg_catalog.round(80 - 76 * h.attempts / h.most, 1),
					'h', pg_catalog.round(76 * h.attempts / h.most, 1),
					/* a failure is seen, however few they are */
					'fy', 80 - greatest(pg_catalog.round(76 * h.failed / h.most, 1), 4),
					'fh', greatest(pg_catalog.round(76 * h.failed / h.most, 1), 4),
					'any', h.attempts > 0,
					'bad', h.failed > 0) ORDER BY h.n)
				 FROM hour AS h),
		'labels', (SELECT pg_catalog.jsonb_agg(pg_catalog.left(jobs.board_time(h.starts, (c).zone, (c).now) ->> 'clock', 5) ORDER BY h.n)
				   FROM hour AS h WHERE h.n % 6 = 0))
	FROM (SELECT coalesce(pg_catalog.sum(e.succeeded), 0) AS succeeded, coalesce(pg_catalog.sum(e.attempts), 0)::bigint AS attempts,
				 coalesce(pg_catalog.sum(e.failed), 0) AS failed FROM ended AS e) AS e
$$;
COMMENT ON FUNCTION jobs.board_hours(bigint, jobs.board_context) IS 'for the board: what ended within the last day, hour by hour';

CREATE FUNCTION jobs.board_next(max_rows integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'job', s.job,
			'href', jobs.board_link('job', 'name', s.job),
			'words', s.in_words,
			'job_zone', CASE WHEN s.timezone <> (c).zone THEN s.timezone END,
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
							 ELSE pg_catalog.concat_ws(', ', nullif(k.failed, 0) || ' failing', nullif(k.warned, 0) || CASE k.warned WHEN 1 THEN ' warning' ELSE ' warnings' END)
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
		'hours', jobs.board_hours(k.failed_runs::bigint, c),
		'mail', jobs.board_mail(c),
		'active', jobs.board_active(10, NULL, c),
		'failures', jobs.board_failures(8, c),
		'next', jobs.board_next(8, c),
		'alerts', jobs.board_alerts_open(5, c),
		'alerts_href', jobs.board_link('alerts'),
		'all_failures', jobs.board_link('runs', 'status', 'failures'),
		'queue_href', jobs.board_link('queue'),
		'outbox_href', jobs.board_link('outbox'),
		'timeline_href', jobs.board_link('timeline'))
	FROM (SELECT pg_catalog.count(*) FILTER (WHERE l.status = 'fail') AS failed,
				 pg_catalog.count(*) FILTER (WHERE l.status = 'warn') AS warned,
				 pg_catalog.count(*) AS total,
				 pg_catalog.max(l.figure) FILTER (WHERE l.check_name = 'failures') AS failed_runs,
				 coalesce(pg_catalog.jsonb_agg(l.line ORDER BY l.status, l.n) FILTER (WHERE l.status <> 'ok'), '[]') AS trouble,
				 coalesce(pg_catalog.jsonb_agg(l.line ORDER BY l.n) FILTER (WHERE l.status = 'ok'), '[]') AS fine
		  FROM (SELECT l.status, l.n, l.check_name, l.figure, pg_catalog.jsonb_build_object('check', l.check_name, 'status', jobs.board_status(l.status),
						'figure', l.figure, 'threshold', l.threshold, 'detail', l.detail) AS line
				FROM check_list AS l) AS l) AS k
$$;
COMMENT ON FUNCTION jobs.board_overview(jobs.board_context) IS 'for the board: what is on the page overview';
