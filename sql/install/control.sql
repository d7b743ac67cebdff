/*
 * control.sql -- acting on runs, and stopping them all for maintenance
 */
CREATE FUNCTION jobs.cancel(run_id bigint) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_cancel';
COMMENT ON FUNCTION jobs.cancel(bigint) IS
	'Cancel a run: one that waits ends at commit, one that is running is told to at once. False: it has ended already.';

CREATE FUNCTION jobs.retry(run_id bigint) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_retry';
COMMENT ON FUNCTION jobs.retry(bigint) IS
	'Have a run that has ended without success done again, or one that waits for a retry tried now. False: it is under way anyway.';

-- Of the forms by filter two arguments have no default, so that a single one is
-- always a run id, whatever the type that a driver gives it.
CREATE FUNCTION jobs.cancel(
	job			text,
	state		text,
	max_runs	integer DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_cancel_many';
COMMENT ON FUNCTION jobs.cancel(text, text, integer) IS
	'Cancel the live runs of a job, or (NULL) of all that one may operate, in a state, or (NULL) in any. Returns how many.';

CREATE FUNCTION jobs.retry(
	job			text,
	status		text,
	since		timestamptz DEFAULT NULL,
	until		timestamptz DEFAULT NULL,
	max_runs	integer DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_retry_many';
COMMENT ON FUNCTION jobs.retry(text, text, timestamptz, timestamptz, integer) IS
	'Have runs done again that ended without success, of a job or (NULL) of all that one may operate: with a status or (NULL) those of jobs.dead; that ended at or after since, and before until. Returns how many.';

CREATE FUNCTION jobs.clean(
	job			text DEFAULT NULL,
	status		text DEFAULT NULL,
	older_than	interval DEFAULT NULL,
	max_rows	integer DEFAULT 10000
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_clean';
COMMENT ON FUNCTION jobs.clean(text, text, interval, integer) IS
	'Delete history of runs that have ended, the oldest first, at most so many rows: of a job, with a status, older than an age. Returns how many.';

CREATE FUNCTION jobs.drain(timeout interval DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_drain';
COMMENT ON FUNCTION jobs.drain(interval) IS
	'Start no more runs in this database, until jobs.undrain() or a restart of the server, and wait for those at work, at most so long. Returns whether none is left.';

CREATE FUNCTION jobs.undrain() RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_undrain';
COMMENT ON FUNCTION jobs.undrain() IS 'start runs in this database again';
