/*
 * active.sql -- the run at hand: what its job may ask and say, what others see
 */
CREATE FUNCTION jobs.current_run_id() RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mj_api_current_run_id';
COMMENT ON FUNCTION jobs.current_run_id() IS 'the run that this is called in; NULL: in none';

CREATE FUNCTION jobs.current_args() RETURNS jsonb
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mj_api_current_args';
COMMENT ON FUNCTION jobs.current_args() IS 'the arguments of the run that this is called in: what $1 is in its command; NULL: in none';

CREATE FUNCTION jobs.progress(
	done	bigint,
	total	bigint DEFAULT NULL,
	note	text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mj_api_progress';
COMMENT ON FUNCTION jobs.progress(bigint, bigint, text) IS
	'say how far the run is that this is called in, for jobs.active, at once; what is NULL stays as it was; does nothing outside of a run';

/* It shows no more than the view does, for readers may call it. */
CREATE FUNCTION jobs.worker_slots(
	OUT worker_id	bigint,
	OUT run_id		bigint,
	OUT done		bigint,
	OUT total		bigint,
	OUT note		text,
	OUT cancelling	boolean)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 10
AS 'MODULE_PATHNAME', 'mj_view_worker_slots';
COMMENT ON FUNCTION jobs.worker_slots() IS
	'for jobs.active: the runs that workers of this database have at hand, and how far they are, of roles that the current user sees';

CREATE VIEW jobs.active WITH (security_barrier) AS
SELECT r.run_id,
	   r.job,
	   r.job_group,
	   r.trigger::text,
	   r.attempt,
	   r.started_at,
	   jobs.clock() - r.started_at AS running_for,
	   r.done,
	   r.total,
	   CASE WHEN r.total = 0 THEN 100.0
			ELSE pg_catalog.round(100.0 * least(r.done, r.total) / r.total, 1) END AS percent,
	   r.note,
	   r.cancelling,
	   r.role,
	   r.pid,
	   r.worker,
	   r.lease_until
FROM (SELECT q.run_id, CASE q.job_id WHEN 0 THEN 'mail' WHEN -1 THEN 'http call' ELSE j.name END AS job,
			 j.job_group, q.trigger, q.attempt, q.started_at, q.pid,
			 coalesce(s.done, q.done) AS done, coalesce(s.total, q.total) AS total,
			 coalesce(s.note, CASE WHEN q.note IS NOT NULL AND jobs.sees_role(j.role, t.role_oid) THEN q.note END) AS note,
			 coalesce(s.cancelling, false) AS cancelling, q.worker, q.lease_until,
			 coalesce(m.role, c.role, a.rolname, j.role) AS role,
			 coalesce(m.role_oid, c.role_oid, CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END) AS role_oid
	  FROM jobs.queue AS q
	  LEFT JOIN jobs.worker_slots() AS s ON s.worker_id = q.worker_id AND q.job_id <> 0
	  LEFT JOIN jobs.job AS j ON j.job_id = q.job_id
	  LEFT JOIN jobs.mail AS m ON m.run_id = q.run_id AND q.job_id = 0
	  LEFT JOIN jobs.call AS c ON c.run_id = q.run_id AND q.job_id = -1
	  LEFT JOIN jobs.job_state AS t ON t.job_id = q.job_id
	  LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = CASE WHEN q.lane <= 1 THEN t.role_oid ELSE q.lane::oid END
	  WHERE q.state = 'running' AND q.run_id = coalesce(s.run_id, q.run_id)) AS r
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(r.role, r.role_oid);
COMMENT ON VIEW jobs.active IS 'one row a run that runs now';
COMMENT ON COLUMN jobs.active.job IS 'mail: a mail that is being sent; http call: an HTTP request of the extension itself';
COMMENT ON COLUMN jobs.active.done IS 'what it said last by jobs.progress(), or its worker by jobs.heartbeat()';
COMMENT ON COLUMN jobs.active.total IS 'of how much';
COMMENT ON COLUMN jobs.active.percent IS 'done of total; NULL: no total is known';
COMMENT ON COLUMN jobs.active.note IS 'its own words: shown to members of the role only';
COMMENT ON COLUMN jobs.active.cancelling IS 'it was told to end';
COMMENT ON COLUMN jobs.active.pid IS 'of the process that executes it; NULL: a worker outside of the server';
COMMENT ON COLUMN jobs.active.worker IS 'what the worker outside of the server calls itself';
COMMENT ON COLUMN jobs.active.lease_until IS 'when the run is taken from that worker, unless it sends a heartbeat before';
