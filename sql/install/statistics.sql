/*
 * statistics.sql -- figures over the history, the queue and the outbox
 *
 * All of it reads views, so that each reader's figures are of what that reader
 * sees.  A function pins what its plans stand on: they are made before the
 * planner hears the arguments.
 */
CREATE FUNCTION jobs.job_id(name text) RETURNS bigint
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_view_job_id';
COMMENT ON FUNCTION jobs.job_id(text) IS 'for jobs.statistics() and jobs.recent(): by which id the history of a job is found';

/* In an order that LIMIT can stop: newest first, of all jobs or of one. */
CREATE VIEW jobs.newest WITH (security_barrier) AS
SELECT l.job_id, l.finished_at, l.run_id, l.attempt, l.status::text
FROM jobs.run_log AS l
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(l.role, l.role_oid)
ORDER BY l.finished_at DESC;
COMMENT ON VIEW jobs.newest IS 'for jobs.recent(): the attempts that ended, newest first';

CREATE VIEW jobs.newest_of_job WITH (security_barrier) AS
SELECT l.job_id, l.finished_at, l.run_id, l.attempt, l.status::text, l.result, l.started_at
FROM jobs.run_log AS l
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(l.role, l.role_oid)
ORDER BY l.job_id DESC, l.finished_at DESC;
COMMENT ON VIEW jobs.newest_of_job IS 'for jobs.recent(), jobs.health() and the board: the attempts that ended, by job, newest first';

CREATE FUNCTION jobs.recent(
	job			text DEFAULT NULL,
	status		text DEFAULT NULL,
	max_rows	integer DEFAULT 50,
	before		timestamptz DEFAULT NULL,
	before_run_id	bigint DEFAULT NULL,
	before_attempt	integer DEFAULT NULL,
	since			timestamptz DEFAULT NULL
) RETURNS SETOF jobs.history
LANGUAGE sql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
	/* what is compared with comes from subqueries, for the planner takes coalesce() for something that tells secrets */
	WITH p AS MATERIALIZED (
		SELECT jobs.job_id(recent.job) AS job_id, coalesce(recent.before, 'infinity') AS before, coalesce(recent.since, '-infinity') AS since),
	ended AS MATERIALIZED (
		(SELECT n.run_id, n.attempt, n.finished_at
		 FROM jobs.newest AS n
		 WHERE recent.job IS NULL
		   AND n.finished_at <= (SELECT p.before FROM p) AND n.finished_at >= (SELECT p.since FROM p)
		   AND (n.finished_at < (SELECT p.before FROM p) OR (n.run_id, n.attempt) < (recent.before_run_id, recent.before_attempt))
		   AND (recent.status IS NULL OR n.status = recent.status OR recent.status = 'failures' AND n.status IN ('failed', 'timed_out', 'crashed'))
		 ORDER BY n.finished_at DESC, n.run_id DESC, n.attempt DESC
		 LIMIT recent.max_rows)
		UNION ALL
		(SELECT n.run_id, n.attempt, n.finished_at
		 FROM jobs.newest_of_job AS n
		 WHERE recent.job IS NOT NULL
		   /* as rows, so that both ends are found in the index */
		   AND (n.job_id, n.finished_at) <= ((SELECT p.job_id FROM p), (SELECT p.before FROM p))
		   AND (n.job_id, n.finished_at) >= ((SELECT p.job_id FROM p), (SELECT p.since FROM p))
		   AND (n.finished_at < (SELECT p.before FROM p) OR (n.run_id, n.attempt) < (recent.before_run_id, recent.before_attempt))
		   AND (recent.status IS NULL OR n.status = recent.status OR recent.status = 'failures' AND n.status IN ('failed', 'timed_out', 'crashed'))
		 ORDER BY n.job_id DESC, n.finished_at DESC, n.run_id DESC, n.attempt DESC
		 LIMIT recent.max_rows))
	SELECT h.*
	FROM ended AS e
	CROSS JOIN LATERAL (
		SELECT * FROM jobs.history AS h
		WHERE h.run_id = e.run_id AND h.attempt = e.attempt AND h.finished_at IS NOT NULL
		LIMIT 1) AS h
	ORDER BY e.finished_at DESC, e.run_id DESC, e.attempt DESC
$$;
COMMENT ON FUNCTION jobs.recent(text, text, integer, timestamptz, bigint, integer, timestamptz) IS
	'the last attempts that ended, newest first, of a job or (NULL) of all: as jobs.history has them, but without looking through all of it. status: one of them, or failures. before, before_run_id, before_attempt: finished_at, run_id and attempt of the last row, for the next page. since: what ended before is not looked at';

CREATE FUNCTION jobs.statistics(
	job			text DEFAULT NULL,
	since		interval DEFAULT '24 hours',
	bucket		interval DEFAULT NULL,
	OUT bucket_start	timestamptz,
	OUT runs			bigint,
	OUT succeeded		bigint,
	OUT failed			bigint,
	OUT timed_out		bigint,
	OUT crashed			bigint,
	OUT cancelled		bigint,
	OUT skipped			bigint,
	OUT expired			bigint,
	OUT uncertain		bigint,
	OUT attempts		bigint,
	OUT success_rate	numeric,
	OUT avg_duration	interval,
	OUT p50_duration	interval,
	OUT p95_duration	interval,
	OUT p99_duration	interval,
	OUT p50_lag			interval,
	OUT p95_lag			interval,
	OUT p99_lag			interval)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 24
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
	WITH j AS MATERIALIZED (
		SELECT jobs.job_id(statistics.job) AS id, jobs.clock() AS now),
	span AS MATERIALIZED (
		SELECT CASE WHEN statistics.bucket IS NULL THEN s.begins
					ELSE pg_catalog.date_bin(statistics.bucket, s.begins, '2000-01-03 00:00:00 UTC') END AS begins,
			   s.ends
		FROM (SELECT j.now - coalesce(statistics.since, '24 hours') AS begins, j.now AS ends FROM j) AS s),
	ended AS MATERIALIZED (
		SELECT h.run_id, h.attempt, h.finished_at, h.status, h.duration, h.lag, h.live
		FROM jobs.history AS h
		WHERE statistics.job IS NULL AND h.job_id > 0
		  AND h.finished_at >= (SELECT span.begins FROM span)
		  AND h.finished_at <= (SELECT span.ends FROM span)
		UNION ALL
		SELECT h.run_id, h.attempt, h.finished_at, h.status, h.duration, h.lag, h.live
		FROM jobs.history AS h
		/* as rows, so that the index on finished_at alone is of no use */
		WHERE statistics.job IS NOT NULL
		  AND (h.job_id, h.finished_at) >= ((SELECT j.id FROM j), (SELECT span.begins FROM span))
		  AND (h.job_id, h.finished_at) <= ((SELECT j.id FROM j), (SELECT span.ends FROM span))),
	buckets AS (
		SELECT b.starts
		FROM span
		CROSS JOIN LATERAL pg_catalog.generate_series(span.begins, span.ends, statistics.bucket) AS b (starts)
		WHERE statistics.bucket IS NOT NULL
		UNION ALL
		SELECT span.begins FROM span WHERE statistics.bucket IS NULL),
	placed AS (
		SELECT e.*,
			   CASE WHEN statistics.bucket IS NULL THEN (SELECT span.begins FROM span)
					ELSE pg_catalog.date_bin(statistics.bucket, e.finished_at, '2000-01-03 00:00:00 UTC') END AS starts
		FROM ended AS e),
	last AS (
		SELECT DISTINCT ON (p.run_id) p.*
		FROM placed AS p
		ORDER BY p.run_id, p.attempt DESC),
	by_run AS (
		SELECT l.starts,
			   pg_catalog.count(*) FILTER (WHERE l.status NOT IN ('skipped', 'expired')) AS runs,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'succeeded') AS succeeded,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'failed') AS failed,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'timed_out') AS timed_out,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'crashed') AS crashed,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'cancelled') AS cancelled,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'skipped') AS skipped,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'expired') AS expired,
			   pg_catalog.count(*) FILTER (WHERE l.status = 'uncertain') AS uncertain,
			   pg_catalog.avg(l.duration) AS mean,
			   pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY l.duration) AS durations
		FROM last AS l
		WHERE NOT l.live
		GROUP BY l.starts),
	by_attempt AS (
		SELECT p.starts,
			   pg_catalog.count(*) FILTER (WHERE p.lag IS NOT NULL) AS attempts,
			   pg_catalog.percentile_cont('{0.5,0.95,0.99}'::double precision[])
			   WITHIN GROUP (ORDER BY CASE WHEN p.attempt = 1 THEN p.lag END) AS lags
		FROM placed AS p
		GROUP BY p.starts)
	SELECT b.starts,
		   coalesce(r.runs, 0), coalesce(r.succeeded, 0), coalesce(r.failed, 0), coalesce(r.timed_out, 0),
		   coalesce(r.crashed, 0), coalesce(r.cancelled, 0), coalesce(r.skipped, 0), coalesce(r.expired, 0),
		   coalesce(r.uncertain, 0), coalesce(a.attempts, 0),
		   pg_catalog.round(100.0 * r.succeeded / nullif(r.succeeded + r.failed + r.timed_out + r.crashed, 0), 1),
		   r.mean, r.durations[1], r.durations[2], r.durations[3],
		   a.lags[1], a.lags[2], a.lags[3]
	FROM buckets AS b
	LEFT JOIN by_run AS r ON r.starts = b.starts
	LEFT JOIN by_attempt AS a ON a.starts = b.starts
	ORDER BY b.starts
$$;
COMMENT ON FUNCTION jobs.statistics(text, interval, interval) IS
	'how the runs of a job, or (NULL) of all, ended in the last while: how many, how long they took, how late they began; in one row, or one for each bucket of time. Job "mail": the mails';

CREATE VIEW jobs.lanes WITH (security_barrier) AS
SELECT l.lane,
	   l.kind,
	   coalesce(l.waiting, 0) AS waiting,
	   coalesce(l.overdue, 0) AS overdue,
	   coalesce(l.paused, 0) AS paused,
	   coalesce(l.held, 0) AS held,
	   coalesce(l.ready, 0) AS ready,
	   coalesce(l.running, 0) AS running,
	   CASE WHEN l.ready_since IS NOT NULL THEN greatest(c.now - l.ready_since, '0') END AS oldest_ready,
	   CASE WHEN l.overdue_since IS NOT NULL THEN greatest(c.now - l.overdue_since, '0') END AS oldest_overdue,
	   CASE WHEN l.running_since IS NOT NULL THEN greatest(c.now - l.running_since, '0') END AS oldest_running
FROM (SELECT jobs.clock() AS now) AS c
CROSS JOIN LATERAL (
	SELECT CASE WHEN q.lane = 0 THEN 'mail' WHEN q.lane = 1 THEN 'http' WHEN q.lane < 0 THEN 'external' ELSE 'sql' END AS kind,
		   CASE WHEN q.lane = 0 THEN 'mail' WHEN q.lane = 1 THEN 'http' WHEN q.lane < 0 THEN j.name
				ELSE coalesce(a.rolname::text, q.lane::text) END AS lane,
		   coalesce(a.rolname, j.role) AS role,
		   CASE WHEN q.lane < 0 THEN t.role_oid ELSE q.lane::oid END AS role_oid,
		   q.waiting, q.overdue, q.paused, q.held, q.ready, q.running,
		   q.ready_since, q.overdue_since, q.running_since
	FROM (SELECT q.lane,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'waiting') AS waiting,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'waiting' AND q.run_at < c.now) AS overdue,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'paused') AS paused,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'held') AS held,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'ready') AS ready,
				 pg_catalog.count(*) FILTER (WHERE q.state = 'running') AS running,
				 pg_catalog.min(q.run_at) FILTER (WHERE q.state = 'ready') AS ready_since,
				 pg_catalog.min(q.run_at) FILTER (WHERE q.state = 'waiting' AND q.run_at < c.now) AS overdue_since,
				 pg_catalog.min(q.started_at) FILTER (WHERE q.state = 'running') AS running_since
		  FROM jobs.queue AS q
		  WHERE (SELECT jobs.sees_all()) OR q.lane NOT IN (0, 1)
			 OR EXISTS (SELECT FROM jobs.mail AS m WHERE m.run_id = q.run_id AND jobs.sees_role(m.role, m.role_oid))
			 OR EXISTS (SELECT FROM jobs.call AS c WHERE c.run_id = q.run_id AND jobs.sees_role(c.role, c.role_oid))
			 OR EXISTS (SELECT FROM jobs.job_state AS t WHERE t.job_id = q.job_id AND jobs.sees_role(NULL, t.role_oid))
		  GROUP BY q.lane) AS q
	LEFT JOIN jobs.job AS j ON j.job_id = - q.lane
	LEFT JOIN jobs.job_state AS t ON t.job_id = - q.lane
	LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = CASE WHEN q.lane < 0 THEN t.role_oid ELSE q.lane::oid END) AS l
WHERE (SELECT jobs.sees_all()) OR l.kind IN ('mail', 'http') OR jobs.sees_role(l.role, l.role_oid);
COMMENT ON VIEW jobs.lanes IS 'one row a lane that has runs: how many wait or run in it, and for how long';
COMMENT ON COLUMN jobs.lanes.lane IS 'role of SQL runs, name of an external job, mail, or http';
COMMENT ON COLUMN jobs.lanes.kind IS 'who does its runs: sql: executors; external: workers outside; mail: the mail executor; http: the HTTP executor';
COMMENT ON COLUMN jobs.lanes.waiting IS 'runs that wait for their time, or to be tried again';
COMMENT ON COLUMN jobs.lanes.overdue IS 'those of waiting whose time has come: the scheduler has yet to see them';
COMMENT ON COLUMN jobs.lanes.paused IS 'runs whose job is paused';
COMMENT ON COLUMN jobs.lanes.held IS 'runs that wait for other runs';
COMMENT ON COLUMN jobs.lanes.ready IS 'runs that wait for an executor or a worker';
COMMENT ON COLUMN jobs.lanes.oldest_ready IS 'how long the first of ready could have run already';
COMMENT ON COLUMN jobs.lanes.oldest_overdue IS 'for how long the first of overdue has been that';
COMMENT ON COLUMN jobs.lanes.oldest_running IS 'how long the longest of running has been at it';

CREATE VIEW jobs.backlog WITH (security_barrier) AS
SELECT pg_catalog.date_bin('1 minute', q.due_at, '2000-01-01 00:00:00 UTC') AS due_at,
	   pg_catalog.count(*) AS runs
FROM jobs.queue AS q
LEFT JOIN jobs.job_state AS t ON t.job_id = q.job_id
WHERE q.state <> 'running' AND q.attempt = 0 AND q.job_id > 0 AND q.run_at <= (SELECT jobs.clock() - interval '1 second')
  AND ((SELECT jobs.sees_all()) OR jobs.sees_role(NULL, CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END))
GROUP BY 1;
COMMENT ON VIEW jobs.backlog IS 'for the board: how many runs have been waiting for their first start for over a second, by the minute in which they were due';

CREATE VIEW jobs.outbox_status WITH (security_barrier) AS
SELECT s.status,
	   s.mails,
	   CASE WHEN s.status IN ('queued', 'sending') THEN greatest(c.now - s.created_at, '0') END AS oldest,
	   CASE WHEN s.due_at IS NOT NULL THEN greatest(c.now - s.due_at, '0') END AS oldest_due,
	   s.last_ended
FROM (SELECT jobs.clock() AS now) AS c
CROSS JOIN LATERAL (
	SELECT CASE WHEN q.state = 'running' THEN 'sending' ELSE 'queued' END AS status,
		   pg_catalog.count(*) AS mails,
		   pg_catalog.min(m.created_at) AS created_at,
		   pg_catalog.min(q.run_at) FILTER (WHERE q.state <> 'running' AND q.run_at < c.now) AS due_at,
		   NULL::timestamptz AS last_ended
	FROM jobs.queue AS q
	JOIN jobs.mail AS m ON m.run_id = q.run_id
	WHERE q.lane = 0 AND ((SELECT jobs.sees_all()) OR jobs.sees_role(m.role, m.role_oid))
	GROUP BY 1
	UNION ALL
	SELECT m.ended_as, pg_catalog.count(*), NULL, NULL, pg_catalog.max(m.ended_at)
	FROM jobs.mail AS m
	WHERE m.ended_at > c.now - interval '24 hours' AND m.ended_at < c.now + interval '24 hours'
	  AND ((SELECT jobs.sees_all()) OR jobs.sees_role(m.role, m.role_oid))
	GROUP BY 1) AS s;
COMMENT ON VIEW jobs.outbox_status IS 'how many mails there are of each status: all that are queued or being sent, and those that ended in the last 24 hours';
COMMENT ON COLUMN jobs.outbox_status.oldest IS 'how long the first of them has been in the outbox';
COMMENT ON COLUMN jobs.outbox_status.oldest_due IS 'how long the first that is queued could have been sent already';
COMMENT ON COLUMN jobs.outbox_status.last_ended IS 'when the last of them ended';
