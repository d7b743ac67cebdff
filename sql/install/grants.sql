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
