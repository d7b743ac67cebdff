/*
 * metrics.sql -- figures for monitoring systems
 *
 * All are gauges.  A counter would have to be kept somewhere that each end of a
 * run writes to, for history is pruned; and what OpenMetrics and the older text
 * format write differently are counters only.
 *
 * The label is job_name, for "job" is what a scraper calls its target.
 */
CREATE VIEW jobs.metrics WITH (security_barrier) AS
SELECT 'motionify_jobs_' || f.name AS name,
	   f.labels,
	   f.value::double precision AS value,
	   'gauge' AS type,
	   f.help
FROM (
	SELECT v.name, '{}'::jsonb AS labels, v.value, v.help
	FROM jobs.server_state() AS s
	CROSS JOIN LATERAL (VALUES
		('launcher_up', (s.launcher_pid IS NOT NULL)::integer, 'Whether the launcher runs, which starts all other processes.'),
		('database_active', (s.why_not IS NULL)::integer, 'Whether jobs of this database are run by this server.'),
		('executors_max', s.max_executors, 'Executors at most, on the server.'),
		('executors', s.executors, 'Executors on the server.'),
		('executors_busy', s.busy, 'Executors on the server that are at work.'),
		('scheduler_up', (s.scheduler_pid IS NOT NULL)::integer, 'Whether the scheduler of this database runs; it leaves while nothing is due.'),
		('scheduler_failures', s.scheduler_failures, 'Schedulers of this database that ended in error, in a row.')
		) AS v (name, value, help)
	UNION ALL
	SELECT 'health', pg_catalog.jsonb_build_object('check_name', h.check_name),
		   CASE h.status WHEN 'ok' THEN 0 WHEN 'warn' THEN 1 ELSE 2 END,
		   'What jobs.health() says with its own thresholds: 0 ok, 1 warn, 2 fail.'
	FROM jobs.health() AS h
	UNION ALL
	SELECT v.name, pg_catalog.jsonb_build_object('lane', l.lane, 'kind', l.kind) || v.labels, v.value, v.help
	FROM jobs.lanes AS l
	CROSS JOIN LATERAL (VALUES
		('queue_runs', '{"state": "waiting"}'::jsonb, l.waiting::numeric, 'Live runs, by lane and state.'),
		('queue_runs', '{"state": "paused"}', l.paused, 'Live runs, by lane and state.'),
		('queue_runs', '{"state": "held"}', l.held, 'Live runs, by lane and state.'),
		('queue_runs', '{"state": "ready"}', l.ready, 'Live runs, by lane and state.'),
		('queue_runs', '{"state": "running"}', l.running, 'Live runs, by lane and state.'),
		('queue_oldest_ready_seconds', '{}', coalesce(extract(epoch FROM l.oldest_ready), 0), 'How long the first run that is ready could have run already.'),
		('queue_oldest_overdue_seconds', '{}', coalesce(extract(epoch FROM l.oldest_overdue), 0), 'How long the scheduler has not seen that a run is due.'),
		('queue_oldest_running_seconds', '{}', coalesce(extract(epoch FROM l.oldest_running), 0), 'How long the longest of the runs at work has been at it.')
		) AS v (name, labels, value, help)
	UNION ALL
	SELECT v.name, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('job_name', s.job, 'job_group', s.job_group)), v.value, v.help
	FROM jobs.status AS s
	CROSS JOIN LATERAL (VALUES
		('job_running', s.running::integer::numeric, 'Whether a run of the job is at work.'),
		('job_paused', s.paused::integer, 'Whether the job is paused.'),
		('job_blocked', (s.why_not IS NOT NULL)::integer, 'Whether anything keeps the schedule of the job from running it.'),
		('job_next_run_timestamp_seconds', extract(epoch FROM s.next_run), 'When the job is due next.'),
		('job_last_due_timestamp_seconds', extract(epoch FROM s.last_due), 'When the job was last due.'),
		('job_last_run_timestamp_seconds', extract(epoch FROM s.last_run), 'Start of the last attempt that ended.'),
		('job_last_success_timestamp_seconds', extract(epoch FROM s.last_success), 'End of the last success.'),
		('job_last_duration_seconds', extract(epoch FROM s.last_duration), 'How long the last attempt took.'),
		('job_last_result', CASE WHEN s.last_result ~ '^((INSERT 0|UPDATE|DELETE|SELECT|MERGE) )?-?[0-9]{1,15}$'
								 THEN pg_catalog.substring(s.last_result, '-?[0-9]+$')::numeric END, 'Result of the last attempt, where it is a number, or rows are counted.'),
		('job_consecutive_failures', s.consecutive_failures, 'Runs of the job that failed since its last success.'),
		('job_runs_last_day', s.runs_24h, 'Runs of the job that ended in the last 24 hours.'),
		('job_failures_last_day', s.failures_24h, 'Runs of the job that failed in the last 24 hours.'),
		('job_duration_average_seconds', extract(epoch FROM s.avg_duration), 'How long the runs of the last 24 hours took on average.'),
		('job_duration_p95_seconds', extract(epoch FROM s.p95_duration), 'How long the runs of the last 24 hours took, 95 of 100 at most.')
		) AS v (name, value, help)
	WHERE v.value IS NOT NULL AND s.job IS NOT NULL
	UNION ALL
	SELECT 'attempts_last_hour', pg_catalog.jsonb_build_object('job_name', a.job, 'status', a.status), a.n,
		   'Attempts that ended in the last hour, by job and how.'
	FROM (SELECT h.job, h.status, pg_catalog.count(*) AS n
		  FROM (SELECT c.now - interval '1 hour' AS an_hour_ago, c.now + interval '1 hour' AS in_an_hour
				FROM (SELECT jobs.clock() AS now) AS c
				OFFSET 0) AS c
		  CROSS JOIN LATERAL (
			SELECT h.job, h.status FROM jobs.history AS h
			WHERE h.finished_at > c.an_hour_ago AND h.finished_at < c.in_an_hour
			OFFSET 0) AS h
		  GROUP BY h.job, h.status) AS a
	UNION ALL
	SELECT CASE WHEN m.status IN ('queued', 'sending') THEN 'outbox_mails' ELSE 'outbox_mails_last_day' END,
		   pg_catalog.jsonb_build_object('status', m.status), coalesce(o.mails, 0),
		   CASE WHEN m.status IN ('queued', 'sending') THEN 'Mails that are queued or being sent.'
				ELSE 'Mails that ended in the last 24 hours, by how.' END
	FROM pg_catalog.unnest('{queued,sending,sent,failed,uncertain,suppressed,cancelled,expired}'::text[]) AS m (status)
	LEFT JOIN jobs.outbox_status AS o ON o.status = m.status
	UNION ALL
	SELECT 'alerts_open', pg_catalog.jsonb_build_object('severity', s.severity), pg_catalog.count(a.alert_id),
		   'Alerts that are open, also acknowledged ones.'
	FROM pg_catalog.unnest('{info,warning,critical}'::text[]) AS s (severity)
	LEFT JOIN jobs.alert AS a ON a.severity = s.severity AND a.status IN ('open', 'acknowledged')
	GROUP BY s.severity
	UNION ALL
	SELECT 'outbox_oldest_due_seconds', '{}', coalesce(extract(epoch FROM pg_catalog.max(o.oldest_due)), 0),
		   'How long the first mail that is queued could have been sent already.'
	FROM jobs.outbox_status AS o) AS f;
COMMENT ON VIEW jobs.metrics IS 'figures for monitoring systems, one row a sample: of what the reader sees';
COMMENT ON COLUMN jobs.metrics.name IS 'name of the metric, as in Prometheus';
COMMENT ON COLUMN jobs.metrics.labels IS 'what it is of: job_name, job_group, lane, kind, state, status, check_name, severity';
COMMENT ON COLUMN jobs.metrics.type IS 'gauge';
COMMENT ON COLUMN jobs.metrics.help IS 'what it says, in a sentence';

CREATE FUNCTION jobs.metrics_text() RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	WITH sample AS MATERIALIZED (
		SELECT m.name, m.type, m.help, m.value, m.labels::text AS labels,
			   m.name || coalesce('{' || l.list || '}', '') || ' ' || m.value AS line
		FROM jobs.metrics AS m
		CROSS JOIN LATERAL (
			SELECT pg_catalog.string_agg(
						e.key || '="' || pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
							e.value, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"',
						',' ORDER BY e.key COLLATE "C") AS list
			FROM pg_catalog.jsonb_each_text(m.labels) AS e) AS l),
	family AS (
		SELECT s.name,
			   '# HELP ' || s.name || ' ' || pg_catalog.min(s.help) || E'\n'
			   || '# TYPE ' || s.name || ' ' || pg_catalog.min(s.type) || E'\n'
			   || CASE WHEN s.name ~ '_seconds$' THEN '# UNIT ' || s.name || E' seconds\n' ELSE '' END
			   || pg_catalog.string_agg(s.line, E'\n' ORDER BY s.labels COLLATE "C") || E'\n' AS lines
		FROM sample AS s
		GROUP BY s.name)
	SELECT coalesce(pg_catalog.string_agg(f.lines, '' ORDER BY f.name COLLATE "C"), '') || E'# EOF\n'
	FROM family AS f
$$;
COMMENT ON FUNCTION jobs.metrics_text() IS 'jobs.metrics as text in the OpenMetrics format, for an HTTP server to hand on to Prometheus';
