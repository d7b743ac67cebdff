/*
 * http.sql -- HTTP requests of the extension itself
 *
 * What jobs have called are runs like all others.
 */
CREATE FUNCTION jobs.queue_call(
	purpose	text,
	url		text,
	body	text DEFAULT NULL,
	method	text DEFAULT 'POST',
	headers	jsonb DEFAULT NULL,
	job_id	bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'mj_api_queue_call';
COMMENT ON FUNCTION jobs.queue_call(text, text, text, text, jsonb, bigint) IS
	'for the extension itself: has a URL called when the transaction commits; returns the run id. jobs.calls says what became of it';

CREATE VIEW jobs.calls WITH (security_barrier) AS
SELECT c.run_id,
	   c.purpose,
	   j.name AS job,
	   c.method,
	   pg_catalog.substring(c.url, '^[a-zA-Z]+://([^/?#]*)') AS host,
	   CASE WHEN jobs.sees_role(c.role, c.role_oid) THEN c.url END AS url,
	   CASE WHEN c.ended_as IS NOT NULL THEN c.ended_as
			WHEN q.state = 'running' THEN 'running'
			ELSE 'queued' END AS status,
	   c.attempts,
	   CASE WHEN q.state <> 'running' THEN q.run_at END AS next_attempt_at,
	   c.status AS http_status,
	   CASE WHEN jobs.sees_role(c.role, c.role_oid) THEN c.answer END AS answer,
	   c.created_at,
	   c.ended_at,
	   c.role
FROM jobs.call AS c
LEFT JOIN jobs.queue AS q ON q.run_id = c.run_id
LEFT JOIN jobs.job AS j ON j.job_id = c.job_id
WHERE (SELECT jobs.sees_all()) OR jobs.sees_role(c.role, c.role_oid);
COMMENT ON VIEW jobs.calls IS 'one row an HTTP request of the extension itself: pings, and webhooks of alerts; successes are kept for a day';
COMMENT ON COLUMN jobs.calls.run_id IS 'attempts that failed are in jobs.history under that id';
COMMENT ON COLUMN jobs.calls.purpose IS 'ping: of this database; job ping: of a job; alert: webhook of an alert';
COMMENT ON COLUMN jobs.calls.job IS 'the job that it is about';
COMMENT ON COLUMN jobs.calls.host IS 'host, and port if the URL has one';
COMMENT ON COLUMN jobs.calls.url IS 'who knows it may call it, too: shown to members of the role only';
COMMENT ON COLUMN jobs.calls.status IS 'queued, running, succeeded, failed or cancelled';
COMMENT ON COLUMN jobs.calls.next_attempt_at IS 'not before this instant';
COMMENT ON COLUMN jobs.calls.http_status IS 'status of the last answer; NULL: none came';
COMMENT ON COLUMN jobs.calls.answer IS 'begin of the last answer, or why there was none: shown to members of the role only';
