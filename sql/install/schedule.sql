/*
 * schedule.sql -- defining, pausing and explaining jobs
 *
 * Of the options of jobs.schedule() NULL means: not given.
 */
CREATE FUNCTION jobs.schedule(
	name			text,
	schedule		text,
	command			text DEFAULT NULL,
	description		text DEFAULT NULL,
	timezone		text DEFAULT NULL,
	role			name DEFAULT NULL,
	job_group		text DEFAULT NULL,
	enabled			boolean DEFAULT NULL,
	overlap			text DEFAULT NULL,
	catch_up		text DEFAULT NULL,
	timeout			interval DEFAULT NULL,
	max_attempts	integer DEFAULT NULL,
	backoff_base	interval DEFAULT NULL,
	priority		integer DEFAULT NULL,
	anchor			timestamptz DEFAULT NULL,
	jitter			interval DEFAULT NULL,
	max_runs		integer DEFAULT NULL,
	backoff			text DEFAULT NULL,
	backoff_cap		interval DEFAULT NULL,
	backoff_jitter	double precision DEFAULT NULL,
	retry_on		text[] DEFAULT NULL,
	max_running		integer DEFAULT NULL,
	concurrency_key	text DEFAULT NULL,
	run_after		text[] DEFAULT NULL,
	isolated		boolean DEFAULT NULL,
	handler			text DEFAULT NULL,
	group_commit	boolean DEFAULT NULL,
	throttle_limit	integer DEFAULT NULL,
	throttle_period	interval DEFAULT NULL,
	history_retention	interval DEFAULT NULL,
	history_keep	text DEFAULT NULL,
	history_keep_last	integer DEFAULT NULL,
	url				text DEFAULT NULL,
	method			text DEFAULT NULL,
	headers			jsonb DEFAULT NULL,
	ping_url		text DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_schedule';
COMMENT ON FUNCTION jobs.schedule IS
	'Make a job, or change the one of that name: options that are not given keep their value. A NULL schedule makes it run on demand only; an empty text or array, and 0 for a limit, takes an option away.';

CREATE FUNCTION jobs.reschedule(name text, schedule text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_reschedule';
COMMENT ON FUNCTION jobs.reschedule(text, text) IS 'change when a job runs; NULL: on demand only';

CREATE FUNCTION jobs.override_schedule(name text, schedule text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_override_schedule';
COMMENT ON FUNCTION jobs.override_schedule(text, text) IS 'have a job go by another schedule than its own, which stays as it is; NULL: by its own again';

CREATE FUNCTION jobs.unschedule(name text, cancel_running boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_unschedule';
COMMENT ON FUNCTION jobs.unschedule(text, boolean) IS
	'Delete a job and what has not started of it. What is running ends by itself or, if asked for, is cancelled. The history stays.';

CREATE FUNCTION jobs.pause(name text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_pause';
COMMENT ON FUNCTION jobs.pause(text) IS 'keep a job from being started by its schedule, and what was enqueued from starting';

CREATE FUNCTION jobs.resume(name text) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_resume';
COMMENT ON FUNCTION jobs.resume(text) IS 'end the pause of a job; nothing is caught up';

CREATE FUNCTION jobs.pause_group(job_group text) RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_pause_group';
COMMENT ON FUNCTION jobs.pause_group(text) IS 'pause the jobs of a group; returns how many were not paused before';

CREATE FUNCTION jobs.resume_group(job_group text) RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_resume_group';
COMMENT ON FUNCTION jobs.resume_group(text) IS 'end the pauses of a group''s jobs; returns how many were paused';

CREATE FUNCTION jobs.pause_all() RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_pause_all';
COMMENT ON FUNCTION jobs.pause_all() IS 'pause all jobs; returns how many were not paused before';

CREATE FUNCTION jobs.resume_all() RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_resume_all';
COMMENT ON FUNCTION jobs.resume_all() IS 'end all pauses; returns how many jobs were paused';

CREATE FUNCTION jobs.is_valid(schedule text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_is_valid';
COMMENT ON FUNCTION jobs.is_valid(text) IS 'whether a text is a schedule';

CREATE FUNCTION jobs.next_runs(
	schedule	text,
	timezone	text DEFAULT NULL,
	n			integer DEFAULT 5,
	after		timestamptz DEFAULT NULL
) RETURNS SETOF timestamptz
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_next_runs';
COMMENT ON FUNCTION jobs.next_runs(text, text, integer, timestamptz) IS
	'The next n instants of a schedule strictly later than after, or than now. Zone: motionify_jobs.timezone if not given.';

CREATE FUNCTION jobs.describe(schedule text, timezone text DEFAULT NULL) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mj_api_describe';
COMMENT ON FUNCTION jobs.describe(text, text) IS 'a schedule in plain words';

CREATE TYPE jobs.calendar_entry AS (due_at timestamptz, job text);
COMMENT ON TYPE jobs.calendar_entry IS 'an instant at which a job is due';

CREATE FUNCTION jobs.calendar(
	from_time	timestamptz,
	to_time		timestamptz,
	job			text DEFAULT NULL,
	max_rows	integer DEFAULT NULL
) RETURNS SETOF jobs.calendar_entry
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'mj_api_calendar';
COMMENT ON FUNCTION jobs.calendar(timestamptz, timestamptz, text, integer) IS
	'Every instant from from_time up to, and not at, to_time at which a job is due, of all jobs that one may see or of one; of each the first max_rows. Paused and disabled jobs have none.';
