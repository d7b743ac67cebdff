/*
 * pg_cron.sql -- moving over from the extension pg_cron
 *
 * jobs.import_pg_cron() makes a job of each row of cron.job, or of a table or
 * view with its columns.  Everything here runs with the rights of its caller:
 * what he may not see in cron.job, or make a job run as, he cannot import.
 */

CREATE VIEW jobs.pg_cron_known WITH (security_barrier) AS
SELECT j.name, j.role, j.command, j.schedule, j.timezone
FROM jobs.job AS j
LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
WHERE jobs.sees_role(j.role, s.role_oid);
COMMENT ON VIEW jobs.pg_cron_known IS 'import_pg_cron: what is there already, of the reader''s roles';

/*
 * pg_cron stops reading a field at what it does not know and skips the rest of
 * it, and whatever follows the fifth field: "0 9 * * 1#2" is every Monday
 * there, "0 5 * * * *" every day at 05:00.  The sixth field is left out here;
 * a field of which only a part counts is not understood.
 */
CREATE FUNCTION jobs.pg_cron_schedule(schedule text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT CASE
		WHEN word[1] ~ '^([1-9]|[1-5][0-9])$' AND word[2] IN ('second', 'seconds') AND cardinality(word) = 2
			THEN concat(word[1], ' ', word[2])
		WHEN word[1] IN ('@reboot', '@restart') THEN '@reboot'
		WHEN word[1] IN ('@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly') THEN word[1]
		WHEN cardinality(word) >= 5 AND array_to_string(word[1:5], ',')
				~ '^((\*(/\d+)?|[[:alnum:]]+(-[[:alnum:]]+(/\d+)?)?|\$)(,|$))+$'
			THEN concat_ws(' ', word[1], word[2], replace(word[3], '$', 'L'), word[4], word[5])
	END
	FROM regexp_split_to_array(btrim(schedule, E' \t\n'), '[ \t]+') AS word);
COMMENT ON FUNCTION jobs.pg_cron_schedule(text) IS 'import_pg_cron: a schedule of pg_cron in the words of jobs.schedule(); NULL: it is not understood';

/* Why a row of cron.job is none of ours, in words; NULL: it is. */
CREATE FUNCTION jobs.pg_cron_refusal(entry jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE
	WHEN entry ->> 'database' <> current_database()
		THEN format('it runs in database "%s": import it there', entry ->> 'database')
	WHEN entry ->> 'nodename' NOT IN ('', 'localhost', '127.0.0.1', '::1')
			AND entry ->> 'nodename' NOT LIKE '/%'
			AND entry ->> 'nodename' IS DISTINCT FROM (SELECT setting FROM pg_settings WHERE name = 'cron.host')
		THEN format('it runs on server "%s"', entry ->> 'nodename')
	WHEN jobs.pg_cron_schedule(entry ->> 'schedule') IS NULL
		THEN format('the schedule "%s" is not understood', entry ->> 'schedule')
END;
COMMENT ON FUNCTION jobs.pg_cron_refusal(jsonb) IS 'import_pg_cron: why a row of cron.job is not imported, in words; NULL: it is';

/* Its zone: a setting since pg_cron 1.5.  A value that no library asked for is no setting. */
CREATE FUNCTION jobs.pg_cron_timezone() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN current_setting('cron.timezone', true) IS NOT NULL
	THEN (SELECT nullif(setting, 'GMT') FROM pg_settings WHERE name = 'cron.timezone') END;
COMMENT ON FUNCTION jobs.pg_cron_timezone() IS 'import_pg_cron: the zone that pg_cron goes by; NULL: GMT';

/*
 * The rows to import, with the name that each job gets: its own; with its role
 * if several have it; the one that it has already if it was imported before.
 */
CREATE FUNCTION jobs.pg_cron_entries(source regclass)
RETURNS TABLE (entry jsonb, jobid bigint, job text, refusal text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE format($query$
		SELECT e.entry, (e.entry ->> 'jobid')::bigint,
			   coalesce((SELECT k.name FROM jobs.pg_cron_known AS k
						 WHERE k.name IN (n.plain, n.with_role) AND k.role = e.entry ->> 'username'
						 ORDER BY k.name LIMIT 1),
						CASE WHEN count(*) OVER (PARTITION BY e.refusal IS NULL, n.plain) > 1 THEN n.with_role ELSE n.plain END),
			   e.refusal
		FROM (SELECT to_jsonb(j), jobs.pg_cron_refusal(to_jsonb(j)) FROM %s AS j) AS e (entry, refusal),
			 LATERAL (SELECT coalesce(e.entry ->> 'jobname', 'pg_cron ' || (e.entry ->> 'jobid'))) AS p (plain),
			 LATERAL (SELECT p.plain, format('%%s (%%s)', p.plain, e.entry ->> 'username')) AS n (plain, with_role)
		ORDER BY 2$query$, source);
END
$$;
COMMENT ON FUNCTION jobs.pg_cron_entries(regclass) IS 'import_pg_cron: the rows of cron.job, and the names that the jobs get';

/* Makes one job, or raises why not.  Of dry runs the caller undoes it. */
CREATE FUNCTION jobs.pg_cron_import_job(job text, entry jsonb, zone text, deactivate boolean,
	OUT status text, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text := jobs.pg_cron_schedule(entry ->> 'schedule');
	known jobs.pg_cron_known;
BEGIN
	SELECT k.* INTO known FROM jobs.pg_cron_known AS k WHERE k.name = job;
	IF NOT FOUND THEN
		PERFORM jobs.schedule(job, wanted, entry ->> 'command',
			description => format('Imported from pg_cron, job %s', entry ->> 'jobid'),
			timezone => zone, role => (entry ->> 'username')::name,
			enabled => coalesce((entry ->> 'active')::boolean, true),
			overlap => 'queue', catch_up => 'skip');
		status := 'imported';
		detail := jobs.describe(wanted, zone)
			|| CASE WHEN entry ->> 'active' = 'false' THEN '; not enabled, as in pg_cron' ELSE '' END;
	ELSIF known.role IS DISTINCT FROM coalesce(entry ->> 'username', current_user) OR known.command <> entry ->> 'command' THEN
		status := 'skipped';
		detail := 'there is a job of this name, with another '
			|| CASE WHEN known.command <> entry ->> 'command' THEN 'command' ELSE 'role' END;
		RETURN;
	ELSE
		status := 'unchanged';
		detail := CASE WHEN (known.schedule, known.timezone) IS DISTINCT FROM (wanted, zone)
			THEN coalesce(format('its schedule here is "%s" (%s)', known.schedule, known.timezone), 'its schedule here is another one') END;
	END IF;
	IF deactivate AND coalesce((entry ->> 'active')::boolean, true) THEN
		PERFORM cron.alter_job((entry ->> 'jobid')::bigint, active => false);
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.pg_cron_import_job(text, jsonb, text, boolean) IS 'import_pg_cron: makes one job';

/* The table to import from; raises what is to be done if there is none. */
CREATE FUNCTION jobs.pg_cron_source(source regclass, deactivate boolean) RETURNS regclass
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF source IS NOT NULL AND deactivate THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = '"deactivate" cannot be used with "source"',
			HINT = 'In the database of pg_cron: SELECT cron.alter_job(jobid, active => false) FROM cron.job WHERE ...';
	END IF;
	IF source IS NULL AND to_regclass('cron.job') IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_table',
			MESSAGE = 'pg_cron is not installed in this database',
			DETAIL = 'There is no table cron.job.',
			HINT = 'If it is in another database, copy its table cron.job, and name the copy: jobs.import_pg_cron(source => ''cron_job'').';
	END IF;
	RETURN coalesce(source, to_regclass('cron.job'));
END
$$;
COMMENT ON FUNCTION jobs.pg_cron_source(regclass, boolean) IS 'import_pg_cron: the table to import from';

CREATE FUNCTION jobs.import_pg_cron(
	dry_run		boolean DEFAULT false,
	deactivate	boolean DEFAULT false,
	source		regclass DEFAULT NULL,
	timezone	text DEFAULT NULL
) RETURNS TABLE (job text, status text, detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	rows_of regclass := jobs.pg_cron_source(source, deactivate);
	zone text := coalesce(timezone, jobs.pg_cron_timezone(), 'UTC');
	twice integer := 0;
	e record;
	message text;
	more text;
BEGIN
	FOR e IN SELECT i.* FROM jobs.pg_cron_entries(rows_of) AS i LOOP
		job := e.job;
		status := 'skipped';
		detail := e.refusal;
		BEGIN
			IF e.refusal IS NULL THEN
				SELECT i.status, i.detail INTO status, detail
				FROM jobs.pg_cron_import_job(e.job, e.entry, zone, deactivate) AS i;
			END IF;
			IF dry_run THEN
				RAISE EXCEPTION USING ERRCODE = 'MJDRY';
			END IF;
		EXCEPTION
			WHEN SQLSTATE 'MJDRY' THEN
				NULL;	/* what it would have been is kept, what was done is undone */
			WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL;
				status := 'skipped';
				detail := concat_ws(': ', message, nullif(more, ''));
		END;
		IF status <> 'skipped' AND NOT deactivate AND e.entry ->> 'active' = 'true' THEN
			twice := twice + 1;
		END IF;
		RETURN NEXT;
	END LOOP;
	IF twice > 0 AND NOT dry_run THEN
		RAISE WARNING USING
			MESSAGE = format(CASE twice WHEN 1 THEN '%s job is' ELSE '%s jobs are' END || ' active here and in pg_cron', twice),
			HINT = CASE WHEN source IS NULL
				THEN 'jobs.import_pg_cron(deactivate => true) switches them off in pg_cron; so does cron.unschedule(jobid).'
				ELSE 'In the database of pg_cron: SELECT cron.alter_job(jobid, active => false) FROM cron.job WHERE ...' END;
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.import_pg_cron(boolean, boolean, regclass, text) IS
	'Make a job of each row of cron.job, or of a table with its columns: imported, unchanged, or skipped with the reason. Again at any time. Dry run: only say so. Deactivate: switch them off in pg_cron, in the same transaction.';
