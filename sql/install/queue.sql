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
	expires_at		timestamptz DEFAULT NULL
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
	expires_at		timestamptz DEFAULT NULL
) RETURNS SETOF bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_enqueue_many';
COMMENT ON FUNCTION jobs.enqueue_many IS
	'Put a run of a job into the queue for each element of args; returns their ids, in that order.';
