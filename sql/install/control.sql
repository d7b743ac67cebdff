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

CREATE FUNCTION jobs.drain(timeout interval DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_drain';
COMMENT ON FUNCTION jobs.drain(interval) IS
	'Start no more runs in this database, until jobs.undrain() or a restart of the server, and wait for those at work, at most so long. Returns whether none is left.';

CREATE FUNCTION jobs.undrain() RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_undrain';
COMMENT ON FUNCTION jobs.undrain() IS 'start runs in this database again';
