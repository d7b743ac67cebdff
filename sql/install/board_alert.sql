/*
 * board_alert.sql -- the page of the board about alerts
 */
CREATE FUNCTION jobs.board_alert_line(a jobs.alert, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'alert_id', (a).alert_id,
		'severity', jobs.board_status((a).severity::text),
		'status', jobs.board_status((a).status),
		'summary', pg_catalog.split_part((a).detail, E'\n', 1),
		'more_words', nullif(pg_catalog.btrim(pg_catalog.substr((a).detail, pg_catalog.length(pg_catalog.split_part((a).detail, E'\n', 1)) + 1), E'\n'), ''),
		'rule', (a).rule,
		'job', (a).job,
		'job_href', jobs.board_job_link((a).job),
		'figure', pg_catalog.trim_scale(pg_catalog.round((a).figure, 1))::text,
		'threshold', pg_catalog.trim_scale((a).threshold)::text,
		'since', jobs.board_time((a).since, (c).zone, (c).now),
		'opened', jobs.board_time((a).opened_at, (c).zone, (c).now),
		'resolved', jobs.board_time((a).resolved_at, (c).zone, (c).now),
		'lasted', jobs.board_span((a).resolved_at - coalesce((a).opened_at, (a).since)),
		'known_by', (a).acknowledged_by,
		'note', (a).note,
		'failed_channels', (SELECT pg_catalog.string_agg(DISTINCT n.channel || coalesce(': ' || n.error, ''), '; ')
							FROM jobs.alert_notification AS n WHERE n.alert_id = (a).alert_id AND n.status = 'failed'),
		'may_acknowledge', (a).status = 'open' AND ((c).may ->> 'acknowledge')::boolean,
		'back', (c).here)
$$;
COMMENT ON FUNCTION jobs.board_alert_line(jobs.alert, jobs.board_context) IS 'for the board: an alert in a list';

CREATE FUNCTION jobs.board_alerts_open(max_rows integer, c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(jobs.board_alert_line(a.alert, c) ORDER BY a.n), '[]')
	FROM (SELECT a.alert, pg_catalog.row_number() OVER () AS n
		  FROM (SELECT a AS alert FROM jobs.alert AS a
				WHERE a.resolved_at IS NULL AND a.opened_at IS NOT NULL
				ORDER BY a.status DESC, a.severity = 'critical' DESC, a.opened_at DESC
				LIMIT max_rows) AS a) AS a
$$;
COMMENT ON FUNCTION jobs.board_alerts_open(integer, jobs.board_context) IS 'for the board: the alerts that are open';

CREATE FUNCTION jobs.board_alerts(c jobs.board_context) RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT pg_catalog.jsonb_build_object(
		'open', jobs.board_alerts_open(100, c),
		'past', (SELECT coalesce(pg_catalog.jsonb_agg(jobs.board_alert_line(a.alert, c) ORDER BY a.n), '[]')
				 FROM (SELECT a.alert, pg_catalog.row_number() OVER () AS n
					   FROM (SELECT a AS alert FROM jobs.alert AS a
							 WHERE a.resolved_at > (c).now - interval '30 days'
							 ORDER BY a.resolved_at DESC
							 LIMIT 50) AS a) AS a),
		'rules', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
							'name', r.name,
							'description', r.description,
							'of', coalesce('job ' || r.job, 'group ' || r.job_group),
							'severity', jobs.board_status(r.severity::text),
							'threshold', pg_catalog.trim_scale(r.threshold),
							'for', jobs.board_span(nullif(r.for_interval, '0')),
							'channels', pg_catalog.array_to_string(r.channels, ', '),
							'off', NOT r.enabled,
							'own', NOT r.shipped) ORDER BY r.name), '[]')
				  FROM jobs.alert_rule AS r))
$$;
COMMENT ON FUNCTION jobs.board_alerts(jobs.board_context) IS 'for the board: what is on the page alerts';
