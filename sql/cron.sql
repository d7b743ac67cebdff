-- The vectors of the schedule language (test/data/cron.tsv), through SQL and
-- PostgreSQL's own time zones.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = ISO;

-- a row of the file: schedule, zone, after (exclusive), and the instants that
-- follow, an empty text for none, or ERROR
\getenv abs_srcdir PG_ABS_SRCDIR
\set vectors_file :abs_srcdir '/test/data/cron.tsv'
CREATE TEMP TABLE vector AS
SELECT n, f[1] AS schedule, f[2] AS zone, f[3]::timestamptz AS after,
	   CASE WHEN f[4] <> 'ERROR' THEN
			string_to_array(nullif(f[4], ''), ',')::timestamptz[] END AS instants,
	   f[4] = 'ERROR' AS refused
FROM regexp_split_to_table(rtrim(pg_read_file(:'vectors_file'), E'\r\n'), '\r?\n')
		WITH ORDINALITY AS l (line, n),
	 string_to_array(line, E'\t') AS f;

SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE refused) > 0 AS some_refused,
	   count(DISTINCT zone) > 5 AS zones
FROM vector;

-- is_valid and next_runs agree on what is a schedule
SELECT * FROM vector WHERE jobs.is_valid(schedule) = refused;

-- what is refused is an error of the schedule, with detail and hint
DO $$
DECLARE
	v record;
	raised boolean;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	FOR v IN SELECT DISTINCT schedule, zone FROM vector WHERE refused LOOP
		raised := false;
		BEGIN
			PERFORM jobs.next_runs(v.schedule, v.zone);
		EXCEPTION WHEN OTHERS THEN
			raised := true;
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
				detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			IF state <> '22023' OR message NOT LIKE 'invalid schedule "%' OR detail = '' OR hint = '' THEN
				RAISE WARNING '%: % % % %', v.schedule, state, message, detail, hint;
			END IF;
		END;
		IF NOT raised THEN
			RAISE WARNING '% is accepted', v.schedule;
		END IF;
	END LOOP;
END
$$;

-- The instants of as many as the vector has, or one for a vector that has none.
CREATE FUNCTION pg_temp.found(schedule text, zone text, after timestamptz, expected timestamptz[])
RETURNS timestamptz[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(t), '{}')
	FROM jobs.next_runs(schedule, zone, greatest(cardinality(expected), 1), after) AS t
$$;

-- Morocco is at +01, but at +00 from September 2026 by tzdata 2026c.  The
-- server may have either, the vectors were made with both: its rows may also
-- agree with one of the two.  In the second one the hour after the change is
-- a second pass, in which only wildcard jobs run.
CREATE FUNCTION pg_temp.found_in_morocco(schedule text, later text, after timestamptz, expected timestamptz[])
RETURNS timestamptz[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(t), '{}')
	FROM (SELECT t
		  FROM (SELECT t FROM jobs.next_runs(schedule, '<+01>-1', 10, after) AS t
				WHERE t < '2026-09-20 01:00Z'
				UNION ALL
				SELECT t FROM jobs.next_runs(schedule, later, 100, greatest(after, '2026-09-20 01:00Z'::timestamptz - interval '1 us')) AS t
				WHERE t >= '2026-09-20 02:00Z' OR later <> 'UTC' OR schedule ~ '^\s*(\S+\s+)?\*') AS u
		  ORDER BY t
		  LIMIT greatest(cardinality(expected), 1)) AS v
$$;

CREATE TEMP TABLE difference AS
SELECT v.*, f.found
FROM vector AS v, pg_temp.found(schedule, zone, after, instants) AS f (found)
WHERE NOT refused AND f.found <> coalesce(instants, '{}');

SELECT schedule, zone, after, instants, found
FROM difference
WHERE zone <> 'Africa/Casablanca'
   OR (pg_temp.found_in_morocco(schedule, '<+01>-1', after, instants) <> instants
	   AND pg_temp.found_in_morocco(schedule, 'UTC', after, instants) <> instants);

-- the comparison can fail
SELECT count(*) FILTER (WHERE found <> instants) > 10 AS differ
FROM vector, pg_temp.found(schedule, 'Asia/Tokyo', after, instants) AS f (found)
WHERE zone = 'UTC' AND instants IS NOT NULL;

-- the series does not depend on where one starts
SELECT v.schedule, v.zone, t
FROM (SELECT * FROM vector WHERE instants IS NOT NULL) AS v, unnest(v.instants) AS t
WHERE (SELECT min(r) FROM jobs.next_runs(v.schedule, v.zone, 1, t - interval '1 us') AS r) <> t
	AND v.zone <> 'Africa/Casablanca';
