/*
 * queue.sql -- running a job by hand
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
