/*
 * queue.sql -- runs that are asked for: by hand, and put into the queue
 */
CREATE FUNCTION jobs.run_now(
	name		text,
	args		jsonb DEFAULT NULL,
	wait		boolean DEFAULT true,
	raise		boolean DEFAULT false,
	OUT run_id			bigint,
	OUT status			text,
	OUT result			text,
	OUT rows_affected	bigint,
	OUT duration		interval,
	OUT error			text)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_run_now';
COMMENT ON FUNCTION jobs.run_now(text, jsonb, boolean, boolean) IS
	'Run a job now, in an executor under its role, and wait for the end of its (first) attempt; with wait => false, put it in the queue. raise => true turns a failure into an error.';

CREATE FUNCTION jobs.enqueue(
	job				text,
	args			jsonb DEFAULT '{}',
	run_at			timestamptz DEFAULT NULL,
	priority		integer DEFAULT NULL,
	dedupe_key		text DEFAULT NULL,
	on_duplicate	text DEFAULT 'keep',
	dedupe_until	text DEFAULT 'start',
	concurrency_key	text DEFAULT NULL,
	expires_at		timestamptz DEFAULT NULL,
	throttle_key	text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_enqueue';
COMMENT ON FUNCTION jobs.enqueue IS
	'Put a run of a job into the queue; it is there when the transaction commits. Returns its id, or that of the live run with the same dedupe_key.';

CREATE FUNCTION jobs.enqueue_many(
	job				text,
	args			jsonb[],
	run_at			timestamptz DEFAULT NULL,
	priority		integer DEFAULT NULL,
	concurrency_key	text DEFAULT NULL,
	expires_at		timestamptz DEFAULT NULL,
	throttle_key	text DEFAULT NULL
) RETURNS SETOF bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_enqueue_many';
COMMENT ON FUNCTION jobs.enqueue_many IS
	'Put a run of a job into the queue for each element of args; returns their ids, in that order.';

CREATE FUNCTION jobs.batch(
	job				text,
	args			jsonb[],
	then_job		text,
	then_args		jsonb DEFAULT '{}',
	run_at			timestamptz DEFAULT NULL,
	priority		integer DEFAULT NULL,
	concurrency_key	text DEFAULT NULL,
	expires_at		timestamptz DEFAULT NULL,
	throttle_key	text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_batch';
COMMENT ON FUNCTION jobs.batch IS
	'Put a run of a job into the queue for each element of args, and when all of them have ended, however, one of then_job, whose args say how many ended how. Returns the id of the batch.';

CREATE VIEW jobs.batches WITH (security_barrier) AS
SELECT b.batch_id,
	   b.job,
	   b.then_job,
	   b.total,
	   CASE WHEN b.ended_at IS NULL THEN b.total - c.ended ELSE 0 END AS live,
	   c.succeeded,
	   c.failed,
	   c.timed_out,
	   c.crashed,
	   c.cancelled,
	   c.skipped,
	   c.expired,
	   b.created_at,
	   b.ended_at,
	   b.then_run_id,
	   b.role
FROM jobs.batch AS b
CROSS JOIN LATERAL (
	SELECT coalesce(b.ended, pg_catalog.jsonb_object_agg(e.status, e.n)) AS counts
	FROM (SELECT l.status, pg_catalog.count(*) AS n
		  FROM (SELECT DISTINCT ON (l.run_id) l.run_id, l.status
				FROM pg_catalog.unnest(b.run_ids) AS r
				JOIN jobs.run_log AS l ON l.run_id >= pg_catalog.lower(r) AND l.run_id < pg_catalog.upper(r)
				WHERE b.ended IS NULL
				ORDER BY l.run_id, l.attempt DESC) AS l
		  WHERE NOT EXISTS (SELECT FROM jobs.queue AS q WHERE q.run_id = l.run_id)
		  GROUP BY l.status) AS e) AS j
CROSS JOIN LATERAL (
	SELECT coalesce(pg_catalog.sum(v.value::bigint), 0)::bigint AS ended,
		   coalesce((j.counts ->> 'succeeded')::bigint, 0) AS succeeded,
		   coalesce((j.counts ->> 'failed')::bigint, 0) AS failed,
		   coalesce((j.counts ->> 'timed_out')::bigint, 0) AS timed_out,
		   coalesce((j.counts ->> 'crashed')::bigint, 0) AS crashed,
		   coalesce((j.counts ->> 'cancelled')::bigint, 0) AS cancelled,
		   coalesce((j.counts ->> 'skipped')::bigint, 0) AS skipped,
		   coalesce((j.counts ->> 'expired')::bigint, 0) AS expired
	FROM pg_catalog.jsonb_each_text(j.counts) AS v) AS c
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(b.role, b.role_oid);
COMMENT ON VIEW jobs.batches IS 'one row a batch: how its runs ended so far';
COMMENT ON COLUMN jobs.batches.live IS 'runs that have not ended';
COMMENT ON COLUMN jobs.batches.ended_at IS 'when all had ended; NULL: some have not';
COMMENT ON COLUMN jobs.batches.then_run_id IS 'run of then_job that this made';
