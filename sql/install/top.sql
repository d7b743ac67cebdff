/*
 * top.sql -- what goes on, for psql's \watch, in 100 columns
 */
CREATE FUNCTION jobs.top_text(value text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN pg_catalog.char_length(t.line) > width THEN pg_catalog.left(t.line, width - 1) || '~' ELSE t.line END
	FROM (SELECT pg_catalog.regexp_replace(pg_catalog.left(value, 500), '[[:cntrl:]]+', ' ', 'g') AS line) AS t
$$;
COMMENT ON FUNCTION jobs.top_text(text, integer) IS 'for jobs.top(): a text on one line, cut where it is too wide';

CREATE FUNCTION jobs.top_time(span interval) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN s.seconds < 100 THEN pg_catalog.round(s.seconds, 1) || ' s'
				WHEN s.seconds < 6000 THEN pg_catalog.round(s.seconds / 60) || ' min'
				WHEN s.seconds < 360000 THEN pg_catalog.round(s.seconds / 3600) || ' h'
				ELSE pg_catalog.round(s.seconds / 86400) || ' d' END
	FROM (SELECT extract(epoch FROM greatest(span, '0')) AS seconds) AS s
$$;
COMMENT ON FUNCTION jobs.top_time(interval) IS 'for jobs.top(): a span of time in a few letters';

CREATE FUNCTION jobs.top(
	max_rows	integer DEFAULT 8,
	OUT what	text,
	OUT job		text,
	OUT "time"	text,
	OUT detail	text)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 32
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	WITH lines (part, n, what, job, span, detail) AS (
		(SELECT 1, pg_catalog.row_number() OVER (ORDER BY a.started_at, a.run_id), 'running', a.job, a.running_for,
				pg_catalog.concat_ws(' ',
					CASE WHEN a.percent IS NOT NULL
						 THEN '[' || pg_catalog.rpad(pg_catalog.repeat('#', (a.percent / 10)::integer), 10, '.') || '] ' || pg_catalog.round(a.percent) || '%'
						 WHEN a.done IS NOT NULL THEN a.done::text END,
					CASE WHEN a.cancelling THEN 'cancelling' END,
					CASE WHEN a.attempt > 1 THEN 'attempt ' || a.attempt END,
					a.note, CASE WHEN a.worker IS NOT NULL THEN 'by ' || a.worker END)
		 FROM jobs.active AS a
		 ORDER BY a.started_at, a.run_id
		 LIMIT coalesce(top.max_rows, 8))
		UNION ALL
		(SELECT 2, pg_catalog.row_number() OVER (ORDER BY l.ready + l.overdue DESC, l.lane), 'queued',
				l.lane || CASE l.kind WHEN 'external' THEN ' (outside)' ELSE '' END, coalesce(l.oldest_ready, l.oldest_overdue),
				pg_catalog.concat_ws(', ',
					nullif(l.ready, 0) || ' ready', nullif(l.overdue, 0) || ' overdue', nullif(l.held, 0) || ' held',
					nullif(l.waiting - l.overdue, 0) || ' later', nullif(l.paused, 0) || ' paused')
		 FROM jobs.lanes AS l
		 WHERE l.waiting + l.paused + l.held + l.ready > 0
		 ORDER BY l.ready + l.overdue DESC, l.lane
		 LIMIT coalesce(top.max_rows, 8))
		UNION ALL
		(SELECT 3, pg_catalog.row_number() OVER (ORDER BY h.finished_at DESC, h.run_id DESC), 'failed', h.job, c.now - h.finished_at,
				CASE h.status WHEN 'failed' THEN h.error ELSE pg_catalog.concat_ws(': ', h.status, h.error) END
		 FROM (SELECT c.now, c.now - interval '24 hours' AS a_day_ago, c.now + interval '24 hours' AS in_a_day
			   FROM (SELECT jobs.clock() AS now) AS c
			   OFFSET 0) AS c
		 CROSS JOIN LATERAL (
			SELECT h.run_id, h.job, h.finished_at, h.status, h.error FROM jobs.history AS h
			WHERE h.finished_at > c.a_day_ago AND h.finished_at < c.in_a_day
			  AND h.status IN ('failed', 'timed_out', 'crashed')
			OFFSET 0) AS h
		 ORDER BY h.finished_at DESC, h.run_id DESC
		 LIMIT coalesce(top.max_rows, 8))
		UNION ALL
		(SELECT 4, pg_catalog.row_number() OVER (ORDER BY s.next_run, s.job), 'next', s.job, s.next_run - jobs.clock(),
				coalesce(s.why_not, pg_catalog.to_char(s.next_run_local, 'YYYY-MM-DD HH24:MI:SS') || ' ' || s.timezone)
		 FROM jobs.status AS s
		 WHERE s.next_run IS NOT NULL
		 ORDER BY s.next_run, s.job
		 LIMIT coalesce(top.max_rows, 8)))
	SELECT l.what, jobs.top_text(l.job, 30),
		   CASE WHEN l.part = 3 THEN jobs.top_time(l.span) || ' ago'
				WHEN l.part = 4 AND l.span >= '0' THEN 'in ' || jobs.top_time(l.span)
				WHEN l.part = 4 THEN 'late' ELSE jobs.top_time(l.span) END,
		   jobs.top_text(l.detail, 40)
	FROM lines AS l
	ORDER BY l.part, l.n
$$;
COMMENT ON FUNCTION jobs.top(integer) IS
	'what goes on, in 100 columns: what runs and how far it is, what is queued by lane and for how long, what failed last, what is due next; at most max_rows lines of each';
