/*
 * external.sql -- runs that are done by programs outside of the server
 */
CREATE TYPE jobs.claimed_run AS (
	run_id			bigint,
	token			uuid,
	job				text,
	args			jsonb,
	attempt			integer,
	priority		integer,
	due_at			timestamptz,
	lease_until		timestamptz,
	failures		integer,
	max_attempts	integer
);
COMMENT ON TYPE jobs.claimed_run IS 'a run that a worker outside of the server has taken';
COMMENT ON COLUMN jobs.claimed_run.token IS 'who knows it has the run: for heartbeat, complete, fail and release';
COMMENT ON COLUMN jobs.claimed_run.args IS 'NULL: it has none';
COMMENT ON COLUMN jobs.claimed_run.attempt IS 'counts every start of the run, this one included';
COMMENT ON COLUMN jobs.claimed_run.failures IS 'attempts that have failed, of max_attempts';

CREATE FUNCTION jobs.claim(
	job			text,
	max_runs	integer DEFAULT 1,
	lease		interval DEFAULT '1 minute',
	worker		text DEFAULT NULL
) RETURNS SETOF jobs.claimed_run
LANGUAGE c VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'mj_api_claim';
COMMENT ON FUNCTION jobs.claim(text, integer, interval, text) IS
	'Take runs of an external job that are ready, by priority. They are the caller''s from commit until lease_until, unless it sends heartbeats; no row: none is ready. worker: what to call it in the views, else its application_name.';

CREATE FUNCTION jobs.heartbeat(
	token	uuid,
	lease	interval DEFAULT NULL,
	done	bigint DEFAULT NULL,
	total	bigint DEFAULT NULL,
	note	text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_heartbeat';
COMMENT ON FUNCTION jobs.heartbeat(uuid, interval, bigint, bigint, text) IS
	'Keep a run that was claimed, for as long as claimed or as said now; returns until when. Optionally say how far it is, for jobs.active. An error: the run was taken away.';

CREATE FUNCTION jobs.complete(token uuid, result jsonb DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_complete';
COMMENT ON FUNCTION jobs.complete(uuid, jsonb) IS
	'A run that was claimed is done, if the caller commits. An error: the run was taken away.';

CREATE FUNCTION jobs.fail(
	token		uuid,
	error		text,
	retry		boolean DEFAULT true,
	retry_in	interval DEFAULT NULL,
	detail		text DEFAULT NULL,
	sqlstate	text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_fail';
COMMENT ON FUNCTION jobs.fail(uuid, text, boolean, interval, text, text) IS
	'An attempt has failed. It is tried again by the job''s options, or after retry_in, or not at all; returns when, NULL: not. An error: the run was taken away.';

CREATE FUNCTION jobs.release(token uuid) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_release';
COMMENT ON FUNCTION jobs.release(uuid) IS
	'Give a run back as if it had not been claimed, as when a worker shuts down. An error: the run was taken away.';

CREATE FUNCTION jobs.channel(job text) RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_api_channel';
COMMENT ON FUNCTION jobs.channel(text) IS
	'The channel to LISTEN to: notified when runs of an external job become ready.';
