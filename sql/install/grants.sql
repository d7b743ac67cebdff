/*
 * grants.sql -- nothing for everybody
 *
 * Comes last in every install and upgrade script.
 */
REVOKE ALL ON SCHEMA jobs FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA jobs FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA jobs FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA jobs FROM PUBLIC;

/* Who monitors the server sees jobs too. */
DO $$ BEGIN PERFORM jobs.grant_usage('pg_read_all_stats', 'viewer'); END $$;

DO $$
BEGIN
	IF pg_catalog.current_setting('shared_preload_libraries') !~ '(^|[ ,"/])motionify_jobs($|[ ,"])' THEN
		RAISE WARNING USING
			MESSAGE = 'motionify_jobs is not preloaded: no job will run',
			HINT = 'Add motionify_jobs to shared_preload_libraries and restart the server.';
	END IF;
END
$$;
