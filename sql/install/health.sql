/*
 * health.sql -- the checklist of who looks after the jobs
 *
 * Each check is a figure that is not to be above a threshold; so all are
 * judged in one place.
 *
 * Times that history is searched by are computed ahead, for what is computed in
 * the search itself does not get into the views; and bounded on both sides, for
 * an open range the planner expects a third of all rows, for a closed one few.
 */
CREATE FUNCTION jobs.server_state(
	OUT launcher_pid		integer,
	OUT max_executors		integer,
	OUT executors			integer,
	OUT busy				integer,
	OUT schedulers			integer,
	OUT scheduler_pid		integer,
	OUT scheduler_failures	integer,
	OUT starved_since		timestamptz,
	OUT why_not				text)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_view_server_state';
COMMENT ON FUNCTION jobs.server_state() IS 'for jobs.health() and jobs.metrics: the processes of the server and this database, and why nothing runs here';

CREATE FUNCTION jobs.health(
	max_pending		integer DEFAULT 100,
	max_wait		interval DEFAULT '1 minute',
	max_failures	integer DEFAULT 3,
	OUT check_name	text,
	OUT status		text,
	OUT figure		numeric,
	OUT threshold	numeric,
	OUT detail		text)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 18
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	WITH arg AS MATERIALIZED (
		SELECT coalesce(health.max_pending, 100) AS pending,
			   pg_catalog.trim_scale(extract(epoch FROM coalesce(health.max_wait, '1 minute'))) AS wait,
			   coalesce(health.max_failures, 3) AS failures,
			   c.now,
			   c.now - interval '24 hours' AS a_day_ago,
			   c.now - interval '7 days' AS a_week_ago,
			   c.now + interval '24 hours' AS in_a_day
		FROM (SELECT jobs.clock() AS now) AS c),
	server AS MATERIALIZED (SELECT * FROM jobs.server_state()),
	dead AS MATERIALIZED (
		SELECT d.run_id, d.job, d.job_id, d.status
		FROM jobs.dead AS d
		WHERE d.finished_at > (SELECT arg.a_day_ago FROM arg) AND d.finished_at < (SELECT arg.in_a_day FROM arg)),
	/* The figures of a job are read only where its last attempt leaves a doubt. */
	job AS MATERIALIZED (
		SELECT s.job, s.job_id, s.job_group, s.schedule, s.next_run, s.last_due, s.running, s.why_not,
			   coalesce(d.failures, 0) AS failures_24h,
			   CASE WHEN l.status = 'succeeded' THEN CASE WHEN l.finished_at > arg.a_day_ago THEN 1 ELSE 0 END ELSE coalesce(f.runs, 0) END AS runs_24h,
			   CASE WHEN l.status = 'succeeded' THEN 0 ELSE coalesce(f.consecutive_failures, 0) END AS consecutive_failures,
			   l.result AS last_result
		FROM arg
		CROSS JOIN jobs.status AS s
		LEFT JOIN LATERAL (
			SELECT n.status, n.result, n.finished_at
			FROM jobs.newest_of_job AS n
			WHERE n.job_id >= s.job_id AND n.job_id <= s.job_id AND n.status <> 'skipped'
			ORDER BY n.job_id DESC, n.finished_at DESC
			LIMIT 1) AS l ON true
		LEFT JOIN LATERAL jobs.job_figures(CASE WHEN l.status <> 'succeeded' THEN s.job_id END) AS f ON true
		LEFT JOIN (SELECT d.job_id, pg_catalog.count(*) AS failures FROM dead AS d WHERE d.status <> 'expired' GROUP BY d.job_id) AS d
			ON d.job_id = s.job_id),
	lane AS MATERIALIZED (SELECT * FROM jobs.lanes AS l WHERE l.kind <> 'mail'),
	mail AS MATERIALIZED (SELECT * FROM jobs.outbox_status),
	/* At most 20000 runs of the week, of each: more often than that nobody cleans up. */
	idle_cleanup AS MATERIALIZED (
		SELECT j.job
		FROM job AS j
		CROSS JOIN arg
		CROSS JOIN LATERAL (
			SELECT pg_catalog.bool_and(jobs.is_nothing(r.result)) AND pg_catalog.count(*) < 20000 AS idle
			FROM (SELECT n.result FROM jobs.newest_of_job AS n
				  WHERE (n.job_id, n.finished_at) > (j.job_id, arg.a_week_ago) AND n.job_id <= j.job_id AND n.status = 'succeeded'
				  ORDER BY n.job_id DESC, n.finished_at DESC
				  LIMIT 20000) AS r) AS week
		WHERE j.job_group LIKE '%cleanup' AND jobs.is_nothing(j.last_result)
		  AND week.idle
		  AND EXISTS (SELECT FROM (
				SELECT n.status FROM jobs.newest_of_job AS n
				WHERE n.job_id >= j.job_id AND (n.job_id, n.finished_at) <= (j.job_id, arg.a_week_ago) AND n.status = 'succeeded'
				ORDER BY n.job_id DESC, n.finished_at DESC
				LIMIT 1) AS before)),
	checks (n, check_name, figure, warn_above, fail_above, detail) AS (
		SELECT 1, 'launcher', CASE WHEN s.launcher_pid IS NULL THEN 1 ELSE 0 END::numeric, NULL::numeric, 0::numeric,
			   coalesce('runs as process ' || s.launcher_pid, 'does not run')
		FROM server AS s
		UNION ALL
		SELECT 2, 'database', CASE WHEN s.why_not IS NULL THEN 0 ELSE 1 END, NULL, 0,
			   coalesce('nothing runs here: ' || s.why_not, 'jobs run here')
		FROM server AS s
		UNION ALL
		SELECT 3, 'scheduler', coalesce(late.seconds, 0), arg.wait, 10 * arg.wait,
			   pg_catalog.concat_ws('; ',
				   CASE WHEN s.scheduler_pid IS NULL THEN 'none runs' ELSE 'runs as process ' || s.scheduler_pid END,
				   CASE WHEN s.scheduler_failures > 0 THEN s.scheduler_failures || ' ended in error, in a row' END,
				   CASE WHEN late.seconds > arg.wait THEN 'what is due has not been seen' END)
		FROM server AS s
		CROSS JOIN arg
		CROSS JOIN LATERAL (
			SELECT greatest((SELECT extract(epoch FROM arg.now - pg_catalog.min(j.next_run)) FROM job AS j
							 WHERE j.why_not IS NULL AND j.next_run < arg.now),
							(SELECT extract(epoch FROM pg_catalog.max(l.oldest_overdue)) FROM lane AS l)) AS seconds) AS late
		UNION ALL
		SELECT 4, 'executors', coalesce(greatest(extract(epoch FROM arg.now - s.starved_since), 0), 0), arg.wait, 10 * arg.wait,
			   s.busy || ' of ' || s.max_executors || ' at work on the server'
			   || CASE WHEN s.starved_since < arg.now - pg_catalog.make_interval(secs => arg.wait::double precision) THEN '; runs wait for one' ELSE '' END
		FROM server AS s
		CROSS JOIN arg
		UNION ALL
		SELECT 5, 'queue', coalesce(pg_catalog.sum(l.ready + l.overdue), 0), min(arg.pending), 10 * min(arg.pending),
			   coalesce(pg_catalog.sum(l.ready + l.overdue), 0) || ' runs could run now, ' || coalesce(pg_catalog.sum(l.running), 0) || ' do'
		FROM arg
		LEFT JOIN lane AS l ON true
		UNION ALL
		SELECT 6, 'oldest run', coalesce(extract(epoch FROM pg_catalog.max(l.oldest_ready)), 0), min(arg.wait), 10 * min(arg.wait),
			   coalesce('waits in lane ' || (pg_catalog.array_agg(l.lane ORDER BY l.oldest_ready DESC) FILTER (WHERE l.oldest_ready IS NOT NULL))[1],
						'none waits')
		FROM arg
		LEFT JOIN lane AS l ON true
		UNION ALL
		SELECT 7, 'failures', coalesce(pg_catalog.sum(j.failures_24h), 0), 0, NULL,
			   coalesce('runs that failed in 24 hours: '
						|| pg_catalog.string_agg(j.job || ' (' || j.failures_24h || ')', ', ' ORDER BY j.failures_24h DESC, j.job)
						FILTER (WHERE j.failures_24h > 0), 'no run failed in 24 hours')
		FROM job AS j
		UNION ALL
		SELECT 8, 'failures in a row', coalesce(pg_catalog.max(j.consecutive_failures), 0), NULL, min(arg.failures) - 1,
			   coalesce(pg_catalog.string_agg(j.job || ' (' || j.consecutive_failures || ')', ', ' ORDER BY j.consecutive_failures DESC, j.job)
						FILTER (WHERE j.consecutive_failures > 0), 'the last run of no job failed')
		FROM arg
		LEFT JOIN job AS j ON true
		UNION ALL
		SELECT 9, 'jobs ran', pg_catalog.count(j.job), NULL, 0,
			   coalesce('due in the last 24 hours, and did not run: ' || pg_catalog.string_agg(j.job, ', ' ORDER BY j.job),
						'whatever was due in the last 24 hours ran')
		FROM arg
		LEFT JOIN job AS j ON j.runs_24h = 0 AND NOT j.running
			AND j.last_due > arg.a_day_ago
			AND j.last_due < arg.now - pg_catalog.make_interval(secs => 5 * arg.wait::double precision)
		UNION ALL
		SELECT 10, 'will not run', pg_catalog.count(*), 0, NULL,
			   coalesce(pg_catalog.string_agg(j.job || ' (' || j.why_not || ')', ', ' ORDER BY j.job), 'no job is kept from running')
		FROM job AS j
		WHERE j.why_not IS NOT NULL
		UNION ALL
		SELECT 11, 'dead runs', pg_catalog.count(d.run_id), 0, NULL,
			   coalesce('ended without success in 24 hours, and not done again: '
						|| pg_catalog.string_agg(DISTINCT d.job, ', '), 'every run of the last 24 hours came to its end')
		FROM dead AS d
		UNION ALL
		SELECT 12, 'idle cleanups', pg_catalog.count(c.job), 0, NULL,
			   coalesce('found nothing for 7 days: ' || pg_catalog.string_agg(c.job, ', ' ORDER BY c.job),
						'no job of group cleanup found nothing for 7 days')
		FROM idle_cleanup AS c
		UNION ALL
		SELECT 13, 'mail queue', coalesce(pg_catalog.sum(m.mails), 0), min(arg.pending), 10 * min(arg.pending),
			   coalesce(pg_catalog.sum(m.mails), 0) || ' mails wait or are being sent'
		FROM arg
		LEFT JOIN mail AS m ON m.status IN ('queued', 'sending')
		UNION ALL
		SELECT 14, 'oldest mail', coalesce(extract(epoch FROM pg_catalog.max(m.oldest_due)), 0), min(arg.wait), 10 * min(arg.wait),
			   CASE WHEN pg_catalog.max(m.oldest_due) IS NULL THEN 'none waits to be sent' ELSE 'could have been sent so long ago' END
		FROM arg
		LEFT JOIN mail AS m ON m.status = 'queued'
		UNION ALL
		SELECT 15, 'mail failures', coalesce(pg_catalog.sum(m.mails), 0), 0, NULL,
			   coalesce(pg_catalog.string_agg(m.mails || ' ' || m.status, ', ' ORDER BY m.status) || ' in 24 hours',
						'no mail was given up in 24 hours')
		FROM mail AS m
		WHERE m.status IN ('failed', 'uncertain')
		UNION ALL
		SELECT 16, 'mail transport', CASE t.state WHEN 'paused' THEN 2 WHEN 'slowed' THEN 1 ELSE 0 END, 0, 1,
			   CASE WHEN t.state = 'running' THEN 'mail can be sent, as far as is known'
					ELSE t.state || ' since ' || jobs.alert_time(t.since) || coalesce(': ' || t.reason, '') END
		FROM jobs.mail_transport AS t
		UNION ALL
		SELECT 17, 'alerts', pg_catalog.count(a.alert_id), 0, NULL,
			   coalesce(pg_catalog.string_agg(pg_catalog.split_part(a.detail, E'\n', 1), '; ' ORDER BY a.severity, a.opened_at DESC),
						'no alert is open, or all are acknowledged')
		FROM jobs.alert AS a
		WHERE a.status = 'open'
		UNION ALL
		SELECT 18, 'alert channels', pg_catalog.count(n.message_id), 0, NULL,
			   coalesce('not told in 24 hours: ' || pg_catalog.string_agg(DISTINCT n.channel, ', '), 'all were told of alerts')
		FROM arg
		LEFT JOIN jobs.alert_notification AS n ON n.status = 'failed' AND n.created_at > arg.a_day_ago)
	SELECT c.check_name,
		   CASE WHEN c.figure > c.fail_above THEN 'fail' WHEN c.figure > c.warn_above THEN 'warn' ELSE 'ok' END,
		   pg_catalog.trim_scale(pg_catalog.round(c.figure, 3)),
		   CASE WHEN c.figure > c.fail_above THEN c.fail_above ELSE coalesce(c.warn_above, c.fail_above) END,
		   pg_catalog.left(c.detail, 1000)
	FROM checks AS c
	ORDER BY c.n
$$;
COMMENT ON FUNCTION jobs.health(integer, interval, integer) IS
	'the checklist: one row a check, with a figure that is above the threshold if the status is not ok. max_pending: runs, and mails, that may wait; max_wait: how long; ten times as much is a failure. max_failures: of a job in a row, that are a failure';
