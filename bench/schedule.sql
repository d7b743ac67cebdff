-- What a next instant costs from SQL, in microseconds: medians of batches, by
-- PostgreSQL's own time zones.
--   call:  jobs.next_runs(schedule, zone, 1, t) in a query, for starts spread over
--          ten years: the text is parsed and the zone looked up each time
--   each:  one more instant of the same call, as the scheduler computes them
CREATE TEMP TABLE mix (n serial, schedule text, goal numeric);
INSERT INTO mix (schedule, goal) VALUES
	('* * * * *', 1), ('*/5 * * * *', 1), ('0 * * * *', 1), ('0 2 * * *', 1), ('10 4 * * 0', 1),
	('0 9 * * MON-FRI', 1), ('0 10 1,L * *', 1), ('0 9 15W * *', 1), ('0 18 * * MON#2', 1),
	('*/10 * * * * *', 1), ('@every 90 seconds', 1), ('0 0 13 * 5', 1),
	('0 9 * * 1-5; 0 12 * * 6; 30 6 1 * *', 1), ('0 0 29 2 *', 5), ('0 0 31 2 *', 5);
CREATE TEMP TABLE figure (schedule text, what text, us float8);

DO $$
DECLARE
	m record;
	started timestamptz;
	instants bigint;
BEGIN
	FOR m IN SELECT * FROM mix, generate_series(1, 21) AS round LOOP
		started := clock_timestamp();
		PERFORM count(*) FROM generate_series(1, 500) AS g,
			jobs.next_runs(m.schedule, 'Europe/Berlin', 1, '2020-01-01'::timestamptz + g * interval '7 days 3 hours') AS t;
		INSERT INTO figure VALUES (m.schedule, 'call', extract(epoch FROM clock_timestamp() - started) * 1e6 / 500);
		started := clock_timestamp();
		instants := count(*) FROM jobs.next_runs(m.schedule, 'Europe/Berlin', 5000, '2020-01-01') AS t;
		INSERT INTO figure SELECT m.schedule, 'each', extract(epoch FROM clock_timestamp() - started) * 1e6 / instants
		WHERE instants > 10;
	END LOOP;
END
$$;

SELECT schedule,
	   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'call')::numeric, 2) AS call,
	   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'each')::numeric, 3) AS each,
	   goal
FROM mix JOIN figure USING (schedule)
GROUP BY n, schedule, goal
ORDER BY n;
