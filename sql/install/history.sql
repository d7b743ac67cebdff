/*
 * history.sql -- what runs, what ended, what waits, and how each job stands
 *
 * The views show a row to whoever sees all jobs, and to the members of its
 * role.
 */
CREATE FUNCTION jobs.job_words(
	schedule		text,
	timezone		text,
	job_group		text,
	role			name,
	role_oid		oid,
	enabled			boolean,
	paused			boolean,
	pause_reason	text,
	next_run_at		timestamptz,
	max_runs		integer,
	runs			integer,
	external		boolean,
	url				text,
	OUT in_words	text,
	OUT zone		text,
	OUT why_not		text
)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_view_job_words';
COMMENT ON FUNCTION jobs.job_words(text, text, text, name, oid, boolean, boolean, text, timestamptz, integer, integer, boolean, text) IS
	'for jobs.status: a job''s schedule in words, its zone, and why it will not run for reasons of its own';

CREATE FUNCTION jobs.why_not_here(own boolean) RETURNS text
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'mj_view_why_not_here';
COMMENT ON FUNCTION jobs.why_not_here(boolean) IS
	'for the views: why no job runs in this database now; own: whether it was defined here';

/*
 * The union is inside, since the planner takes a view that is itself a union
 * apart and forgets its security barrier.
 */
CREATE VIEW jobs.history WITH (security_barrier) AS
SELECT h.run_id,
	   h.job,
	   h.job_group,
	   h.trigger,
	   h.due_at,
	   h.started_at,
	   h.finished_at,
	   h.started_at - h.due_at AS lag,
	   h.finished_at - h.started_at AS duration,
	   h.attempt,
	   h.status,
	   h.rows_affected,
	   h.result,
	   h.sqlstate,
	   CASE WHEN h.job_id <> -1 OR jobs.sees_role(h.role, h.role_oid) THEN h.error END AS error,
	   CASE WHEN h.job_id <> -1 OR jobs.sees_role(h.role, h.role_oid) THEN h.error_detail END AS error_detail,
	   CASE WHEN jobs.sees_role(h.role, h.role_oid) THEN h.error_context END AS error_context,
	   CASE WHEN jobs.sees_role(h.role, h.role_oid) THEN h.notices END AS notices,
	   h.role,
	   h.pid,
	   h.missed,
	   h.worker,
	   h.job_id,
	   h.status <> 'succeeded' AND (SELECT q.run_id FROM jobs.queue AS q WHERE q.run_id = h.run_id) IS NOT NULL AS live,
	   CASE WHEN jobs.sees_role(h.role, h.role_oid) THEN h.args END AS args
FROM (SELECT l.run_id, l.job, l.job_group, l.trigger::text, l.due_at, l.started_at, l.finished_at,
			 l.attempt, l.status::text, l.rows_affected, l.result, l.sqlstate,
			 l.error, l.error_detail, l.error_context, l.notices, l.role, l.role_oid, l.pid, l.missed, l.worker, l.job_id, l.args
	  FROM jobs.run_log AS l
	  UNION ALL
	  SELECT q.run_id, CASE q.job_id WHEN 0 THEN 'mail' WHEN -1 THEN 'http call' ELSE j.name END, j.job_group,
			 q.trigger::text, q.due_at, q.started_at, NULL,
			 q.attempt, 'running', NULL, NULL, NULL,
			 NULL, NULL, NULL, NULL, coalesce(m.role, c.role, a.rolname, j.role),
			 coalesce(m.role_oid, c.role_oid, CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END),
			 q.pid, q.missed, q.worker, q.job_id, q.args
	  FROM jobs.queue AS q
	  LEFT JOIN jobs.job AS j ON j.job_id = q.job_id
	  LEFT JOIN jobs.mail AS m ON m.run_id = q.run_id AND q.job_id = 0
	  LEFT JOIN jobs.call AS c ON c.run_id = q.run_id AND q.job_id = -1
	  LEFT JOIN jobs.job_state AS t ON t.job_id = q.job_id
	  LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END
	  WHERE q.state = 'running') AS h
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(h.role, h.role_oid);
COMMENT ON VIEW jobs.history IS 'one row an attempt: what runs and what ended';
COMMENT ON COLUMN jobs.history.run_id IS 'the same for all attempts of a run';
COMMENT ON COLUMN jobs.history.job IS 'name of the job then; mail: a mail; http call: an HTTP request of the extension itself that failed, see jobs.calls';
COMMENT ON COLUMN jobs.history.trigger IS 'what made the run: schedule, manual, queue, catch_up, chain, batch, retry';
COMMENT ON COLUMN jobs.history.lag IS 'from when it was due to its start';
COMMENT ON COLUMN jobs.history.attempt IS 'counts every start of the run; 0: it never started';
COMMENT ON COLUMN jobs.history.status IS 'running, succeeded, failed, timed_out, cancelled, crashed, skipped, expired or uncertain';
COMMENT ON COLUMN jobs.history.rows_affected IS 'what the command tag counts';
COMMENT ON COLUMN jobs.history.result IS 'value of a command that returns one value, else its command tag; of an http job the body of the answer';
COMMENT ON COLUMN jobs.history.missed IS 'missed instants that the run stands for, or that were skipped';
COMMENT ON COLUMN jobs.history.worker IS 'what the worker outside of the server called itself; of an HTTP call the host and port; NULL: it ran inside';
COMMENT ON COLUMN jobs.history.job_id IS 'with finished_at, what finds the history of a job without looking through all; 0: a mail; -1: a call';
COMMENT ON COLUMN jobs.history.live IS 'whether its run has not ended: it runs, waits to be tried again, or is done again';
COMMENT ON COLUMN jobs.history.args IS 'what it was given; not kept once it has succeeded; shown to members of the role only';
COMMENT ON COLUMN jobs.history.error IS 'what the attempt failed with; of a call of the extension itself shown to members of the role only, for it may name its URL';
COMMENT ON COLUMN jobs.history.error_context IS 'may quote commands: shown to members of the role only';
COMMENT ON COLUMN jobs.history.notices IS 'last messages that the command raised below ERROR: shown to members of the role only';

CREATE VIEW jobs.dead WITH (security_barrier) AS
SELECT l.run_id,
	   l.job,
	   l.job_group,
	   l.trigger,
	   l.due_at,
	   l.finished_at,
	   l.attempt,
	   l.status::text,
	   l.sqlstate,
	   l.error,
	   l.error_detail,
	   CASE WHEN jobs.sees_role(l.role, l.role_oid) THEN l.args END AS args,
	   l.role,
	   l.job_id
FROM jobs.run_log AS l
WHERE l.status IN ('failed', 'timed_out', 'crashed', 'expired')
  AND l.job_id > 0
  AND NOT EXISTS (SELECT FROM jobs.run_log AS x WHERE x.run_id = l.run_id AND x.attempt > l.attempt)
  AND NOT EXISTS (SELECT FROM jobs.queue AS q WHERE q.run_id = l.run_id)
  AND ((SELECT jobs.sees_all()) OR jobs.sees_role(l.role, l.role_oid));
COMMENT ON VIEW jobs.dead IS 'one row a run that ended without success, and was not done again: its last attempt';
COMMENT ON COLUMN jobs.dead.status IS 'failed, timed_out, crashed or expired; who cancelled a run wanted its end';
COMMENT ON COLUMN jobs.dead.job_id IS 'that of jobs.history';
COMMENT ON COLUMN jobs.dead.args IS 'shown to members of the role only';

CREATE VIEW jobs.queued WITH (security_barrier) AS
SELECT r.run_id,
	   r.job,
	   r.state::text,
	   r.run_at,
	   r.due_at,
	   r.priority,
	   r.attempt,
	   r.trigger::text,
	   coalesce(jobs.why_not_here(r.own),
				CASE WHEN r.state = 'paused' THEN 'its job, which is paused'
					 WHEN r.state = 'ready' AND r.lane < 0 THEN 'a worker'
					 WHEN r.state = 'ready' THEN 'a free executor'
					 WHEN r.state = 'held' AND r.concurrency_key IS NOT NULL
					 THEN pg_catalog.format('other runs of key "%s" or of its job', r.concurrency_key)
					 WHEN r.state = 'held' AND r.throttled THEN 'the throttle or other runs of its job'
					 WHEN r.state = 'held' THEN 'other runs of its job'
					 WHEN r.run_at > (SELECT jobs.clock()) THEN 'run_at'
					 ELSE 'the scheduler' END) AS waits_for,
	   r.role,
	   r.dedupe_key,
	   r.concurrency_key,
	   r.expires_at,
	   r.throttle_key,
	   CASE WHEN jobs.sees_role(r.role, r.role_oid) THEN r.args END AS args
FROM (SELECT q.*,
			 CASE q.job_id WHEN 0 THEN 'mail' WHEN -1 THEN 'http call' ELSE j.name END AS job,
			 coalesce(m.role, c.role, a.rolname, j.role) AS role,
			 coalesce(m.role_oid, c.role_oid, CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END) AS role_oid,
			 j.throttle_limit IS NOT NULL AS throttled,
			 i.database_oid = d.oid
			 AND i.setting = coalesce(pg_catalog.current_setting('motionify_jobs.instance', true), '')
			 AND coalesce(j.origin, i.instance_id) = i.instance_id AS own
	  FROM jobs.queue AS q
	  CROSS JOIN (SELECT * FROM jobs.instance LIMIT 1) AS i
	  JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
	  LEFT JOIN jobs.job AS j ON j.job_id = q.job_id
	  LEFT JOIN jobs.mail AS m ON m.run_id = q.run_id AND q.job_id = 0
	  LEFT JOIN jobs.call AS c ON c.run_id = q.run_id AND q.job_id = -1
	  LEFT JOIN jobs.job_state AS t ON t.job_id = q.job_id
	  LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END
	  WHERE q.state <> 'running') AS r
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(r.role, r.role_oid);
COMMENT ON VIEW jobs.queued IS 'one row a run that waits';
COMMENT ON COLUMN jobs.queued.state IS 'waiting: for its time; held: for other runs; ready: for an executor';
COMMENT ON COLUMN jobs.queued.run_at IS 'not before this instant';
COMMENT ON COLUMN jobs.queued.expires_at IS 'a run that has not started by then never does';
COMMENT ON COLUMN jobs.queued.args IS 'what it was given; shown to members of the role only';
COMMENT ON COLUMN jobs.queued.attempt IS 'starts so far';
COMMENT ON COLUMN jobs.queued.waits_for IS 'run_at, the scheduler, other runs, a free executor, a worker; or why nothing runs here';

/*
 * A function, since a view cannot say how it is to be planned: not by a look
 * through the history of all jobs, nor by compiling a plan that runs for
 * microseconds.  It shows no more than the view does, for readers may call it.
 */
CREATE FUNCTION jobs.job_figures(
	job_id			bigint,
	OUT last_run		timestamptz,
	OUT last_status		text,
	OUT last_result		text,
	OUT last_duration	interval,
	OUT runs			bigint,
	OUT failures		bigint,
	OUT successes		bigint,
	OUT avg_duration	interval,
	OUT p95_duration	interval,
	OUT last_success	timestamptz,
	OUT consecutive_failures	bigint,
	OUT last_error		text)
LANGUAGE c STABLE STRICT COST 1000
AS 'MODULE_PATHNAME', 'mj_view_job_figures';
COMMENT ON FUNCTION jobs.job_figures(bigint) IS 'for jobs.status: what a job''s history comes to';

CREATE VIEW jobs.status WITH (security_barrier) AS
SELECT j.name AS job,
	   j.description,
	   p.schedule,
	   w.in_words,
	   w.zone AS timezone,
	   s.next_run_at AS next_run,
	   figures.last_run,
	   figures.last_status,
	   figures.last_result,
	   EXISTS (SELECT FROM jobs.queue AS q
			   WHERE q.job_id = j.job_id AND q.state = 'running') AS running,
	   figures.runs AS runs_24h,
	   figures.failures AS failures_24h,
	   pg_catalog.round(100.0 * figures.successes / nullif(figures.successes + figures.failures, 0), 1) AS success_rate,
	   figures.avg_duration,
	   figures.p95_duration,
	   figures.consecutive_failures,
	   j.paused_at IS NOT NULL AS paused,
	   nullif(pg_catalog.concat_ws('; ', jobs.why_not_here(
			i.database_oid = d.oid
			AND i.setting = coalesce(pg_catalog.current_setting('motionify_jobs.instance', true), '')
			AND i.instance_id = j.origin), w.why_not), '') AS why_not,
	   j.job_group,
	   p.schedule IS DISTINCT FROM j.schedule AS overridden,
	   s.next_run_at AT TIME ZONE w.zone AS next_run_local,
	   (SELECT pg_catalog.array_agg(p.name ORDER BY p.name)
		FROM jobs.job_after AS a JOIN jobs.job AS p ON p.job_id = a.after_id
		WHERE a.job_id = j.job_id) AS run_after,
	   j.handler::text,
	   s.last_due_at AS last_due,
	   figures.last_success,
	   figures.last_duration,
	   figures.last_error,
	   j.job_id
FROM jobs.job AS j
CROSS JOIN (SELECT * FROM jobs.instance LIMIT 1) AS i
JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
CROSS JOIN LATERAL (
	SELECT coalesce(o.setting ->> j.name, o.setting ->> ('group:' || j.job_group),
					j.schedule_override, j.schedule) AS schedule
	FROM (SELECT nullif(pg_catalog.current_setting('motionify_jobs.schedule_override', true), '')::jsonb) AS o (setting)
	) AS p
CROSS JOIN LATERAL jobs.job_words(p.schedule, j.timezone, j.job_group, j.role, s.role_oid,
	j.enabled, j.paused_at IS NOT NULL, j.pause_reason, s.next_run_at, j.max_runs, s.runs, j.handler = 'external', CASE WHEN j.handler = 'http' THEN j.url END) AS w
/* An outer join with one row, which is left out where no figure is selected. */
LEFT JOIN LATERAL (
	SELECT pg_catalog.max(f.last_run) AS last_run, pg_catalog.max(f.last_status) AS last_status,
		   pg_catalog.max(f.last_result) AS last_result, pg_catalog.max(f.last_duration) AS last_duration,
		   pg_catalog.max(f.runs) AS runs, pg_catalog.max(f.failures) AS failures,
		   pg_catalog.max(f.successes) AS successes, pg_catalog.max(f.avg_duration) AS avg_duration,
		   pg_catalog.max(f.p95_duration) AS p95_duration, pg_catalog.max(f.last_success) AS last_success,
		   pg_catalog.max(f.consecutive_failures) AS consecutive_failures, pg_catalog.max(f.last_error) AS last_error
	FROM jobs.job_figures(j.job_id) AS f) AS figures ON true
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(j.role, s.role_oid);
COMMENT ON VIEW jobs.status IS 'one row a job: when it runs, how it went, and why it will not run';
COMMENT ON COLUMN jobs.status.schedule IS 'what it goes by; NULL: on demand';
COMMENT ON COLUMN jobs.status.overridden IS 'whether a setting or jobs.override_schedule() takes the place of its own schedule';
COMMENT ON COLUMN jobs.status.next_run_local IS 'next_run on the clocks of the job''s zone';
COMMENT ON COLUMN jobs.status.run_after IS 'jobs after whose success it runs';
COMMENT ON COLUMN jobs.status.handler IS 'sql: its command, in the server; external: a program outside, which takes runs by jobs.claim(); http: a call of its URL';
COMMENT ON COLUMN jobs.status.last_run IS 'start of the last attempt that ended; what was skipped does not count';
COMMENT ON COLUMN jobs.status.runs_24h IS 'runs that ended in the last 24 hours, retries included, skipped ones not';
COMMENT ON COLUMN jobs.status.failures_24h IS 'those of runs_24h whose last attempt failed';
COMMENT ON COLUMN jobs.status.success_rate IS 'percentage of runs_24h that succeeded, of those that succeeded or failed';
COMMENT ON COLUMN jobs.status.avg_duration IS 'of the last attempts of runs_24h';
COMMENT ON COLUMN jobs.status.consecutive_failures IS 'runs that failed since the last success; attempts of one run count once';
COMMENT ON COLUMN jobs.status.last_due IS 'last instant of its schedule that a run was made for, or that was skipped';
COMMENT ON COLUMN jobs.status.last_success IS 'end of the last success, of the last 10000 attempts';
COMMENT ON COLUMN jobs.status.last_duration IS 'of last_run';
COMMENT ON COLUMN jobs.status.last_error IS 'of the last run that failed since the last success';
COMMENT ON COLUMN jobs.status.job_id IS 'that of jobs.history';
COMMENT ON COLUMN jobs.status.why_not IS 'why its schedule will not run it, in words; NULL: it will, or it is on demand and could';
