/*
 * portal_job.sql -- the portal pack's jobs, and the sources of their routines
 *
 * In a source, {name} stands for what is bound to it when the pack is installed
 * in a schema: a binding of the job, one of jobs.portal_bindings(), or a part.
 * Braces mean nothing else there.
 */

CREATE VIEW jobs.portal_installed WITH (security_barrier) AS
SELECT j.name, j.command, j.schedule, j.timezone,
	   CASE WHEN s.role_oid IS NULL THEN j.role ELSE pg_catalog.pg_get_userbyid(s.role_oid) END AS role
FROM jobs.job AS j
LEFT JOIN jobs.job_state AS s ON s.job_id = j.job_id
WHERE jobs.sees_role(j.role, s.role_oid);
COMMENT ON VIEW jobs.portal_installed IS 'portal pack: commands, zones and roles of the jobs of the reader''s roles';

CREATE FUNCTION jobs.portal_zone(job text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT j.timezone FROM jobs.portal_installed AS j WHERE j.name = job),
				nullif(current_setting('motionify_jobs.timezone', true), ''), 'UTC');
COMMENT ON FUNCTION jobs.portal_zone(text) IS 'portal pack: time zone of a job';

/*
 * Mails are told apart by role and key, so whoever calls a routine that sends, it
 * works as one role: that of its job, or, of a job that is gone, or that the
 * caller does not see, the routine's owner.  Raises 42501 if the caller cannot
 * be that role.
 */
CREATE FUNCTION jobs.portal_role(job text, routine text) RETURNS name
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	runs_as name := coalesce((SELECT j.role FROM jobs.portal_installed AS j WHERE j.name = job),
							 (SELECT pg_get_userbyid(p.proowner) FROM pg_proc AS p WHERE p.oid = to_regprocedure(routine)));
BEGIN
	IF NOT pg_has_role(runs_as, 'MEMBER') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied for procedure %s', routine),
			DETAIL = format('It runs as role "%s", which you are not a member of.', runs_as),
			HINT = format('Who may operate job "%s" can have it run by jobs.run_now().', job);
	END IF;
	RETURN runs_as;
END
$$;
COMMENT ON FUNCTION jobs.portal_role(text, text) IS 'portal pack: the role as which a routine that sends mail works';

/* It holds no snapshot, as a SELECT that waits would. */
CREATE PROCEDURE jobs.portal_rest(seconds double precision)
LANGUAGE c
AS 'MODULE_PATHNAME', 'mj_api_portal_rest';
COMMENT ON PROCEDURE jobs.portal_rest(double precision) IS 'portal pack: commits, and waits, at most so long';

/*
 * A routine is the pack's if its comment says so and its source is as the pack
 * wrote it: CREATE OR REPLACE by the application keeps the comment.
 */
CREATE FUNCTION jobs.portal_wrote(routine oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((
	SELECT starts_with(obj_description(p.oid, 'pg_proc'), 'motionify_jobs portal pack ' || md5(p.prosrc))
	FROM pg_proc AS p WHERE p.oid = routine), false);
COMMENT ON FUNCTION jobs.portal_wrote(oid) IS 'portal pack: whether a routine is as the pack wrote it';

CREATE TABLE jobs.portal_job (
	position	integer PRIMARY KEY,
	job			text NOT NULL,
	is_procedure boolean NOT NULL,
	schedule	text NOT NULL,
	job_group	text NOT NULL,
	description	text NOT NULL,
	needs		text[] NOT NULL,
	uses		text[] NOT NULL DEFAULT '{}',
	accepts		text[] NOT NULL DEFAULT '{}',
	fills		text,
	bindings	jsonb NOT NULL DEFAULT '{}',
	source		text NOT NULL,
	in_batches	text
);
COMMENT ON TABLE jobs.portal_job IS 'portal pack: its jobs, and the sources of their routines';
COMMENT ON COLUMN jobs.portal_job.needs IS 'columns without which it cannot be; | between those of which one is enough';
COMMENT ON COLUMN jobs.portal_job.uses IS 'columns that it makes use of where they exist';
COMMENT ON COLUMN jobs.portal_job.accepts IS 'table.column=value: what the constraints of a column must let through; | as in needs';
COMMENT ON COLUMN jobs.portal_job.fills IS 'table that it inserts into: its other columns must be nullable or fill themselves';
COMMENT ON COLUMN jobs.portal_job.bindings IS 'names in its sources that are its own';
COMMENT ON COLUMN jobs.portal_job.in_batches IS 'source of a procedure that does the same with commits in between';

CREATE TABLE jobs.portal_part (
	name		text PRIMARY KEY,
	source		text NOT NULL
);
COMMENT ON TABLE jobs.portal_part IS 'portal pack: what several sources have in common';

INSERT INTO jobs.portal_job (position, job, is_procedure, schedule, job_group, description, needs, accepts, bindings, source, in_batches)
SELECT position, job, false, schedule, 'cleanup', description, needs::text[], accepts::text[],
	   jsonb_build_object('job', job, 'table', table_name, 'verb', verb, 'change', change, 'doomed', doomed),
	   '{cleanup}', '{cleanup_in_batches}'
FROM (VALUES
	(1, 'cleanup_removed_team_members', '0 2 * * *', 'Deletes team members who were removed more than 90 days ago',
	 '{project_team.removed_at}', '{}', 'project_team', 'DELETE FROM', '', 't.removed_at < cutoff - interval ''90 days'''),
	(2, 'cleanup_expired_sessions', '0 3 * * *', 'Deletes expired sessions',
	 '{sessions.expires_at}', '{}', 'sessions', 'DELETE FROM', '', 't.expires_at < cutoff'),
	(3, 'cleanup_expired_email_verification_tokens', '0 4 * * 0', 'Deletes expired e-mail verification tokens',
	 '{email_verification_tokens.expires_at}', '{}', 'email_verification_tokens', 'DELETE FROM', '', 't.expires_at < cutoff'),
	(4, 'cleanup_expired_password_reset_tokens', '10 4 * * 0', 'Deletes expired password reset tokens',
	 '{password_reset_tokens.expires_at}', '{}', 'password_reset_tokens', 'DELETE FROM', '', 't.expires_at < cutoff'),
	(5, 'expire_deliverables', '0 5 * * *', 'Marks deliverables whose time is over as expired',
	 '{deliverables.status,deliverables.expires_at}', '{deliverables.status=expired}', 'deliverables', 'UPDATE',
	 ' SET status = ''expired''', 't.status <> ''expired'' AND t.expires_at <= cutoff')
) AS cleanup (position, job, schedule, description, needs, accepts, table_name, verb, change, doomed);

INSERT INTO jobs.portal_job (position, job, is_procedure, schedule, job_group, description, needs, uses, accepts, fills, source) VALUES
(6, 'process_email_queue', true, '* * * * *', 'email',
 'Sends due batches of notifications, one mail a batch',
 '{notification_email_queue.id,notification_email_queue.user_id,notification_email_queue.notification_ids,notification_email_queue.status,notification_email_queue.scheduled_for,notification_email_queue.sent_at,notification_email_queue.error_message|last_error,notifications.id,notifications.title,notifications.message,notifications.action_url,notifications.action_label,notifications.created_at,users.id,users.email,users.name|full_name}',
 '{notification_email_queue.retry_count,notification_email_queue.email_type,notification_email_queue.subject,notification_email_queue.body_text,notification_email_queue.body_html,notification_email_queue.ses_message_id,notifications.deleted_at,notifications.actor_name,notifications.project_id,user_notification_preferences.paused_until}',
 '{notification_email_queue.status=pending,notification_email_queue.status=processing|sending,notification_email_queue.status=sent,notification_email_queue.status=failed|abandoned}',
 NULL,
 $source$
DECLARE
	own_role text := pg_catalog.current_setting('role');
	runs_as name := jobs.portal_role({email_job}, {email_routine});
	batch record;
	reminder record;
	most integer := jobs.portal_max_batches();
	tried integer := 0;
	handled integer := 0;
	last_at {batch_at_type} := '-infinity';
	last_id {batch_id_type};
	is_sending boolean;
	accepted integer;
	has_work boolean;
	pending bigint;
BEGIN
	{pin}
	result := 0;
	SELECT coalesce(bool_or(q.status = {processing} OR q.scheduled_for <= now()), false),
		   count(*) FILTER (WHERE q.status = 'pending')
	INTO has_work, pending
	FROM {schema}.notification_email_queue AS q
	WHERE q.status = {processing} OR q.status = 'pending';
	PERFORM jobs.portal_note_backlog(pending);
	IF NOT (has_work OR EXISTS (SELECT FROM {schema}.notification_email_queue AS q WHERE {has_failed_lately})
			{or_has_reminders}) THEN
		{unpin}
		RETURN;
	END IF;
{record_batches}{record_reminders}
	has_work := EXISTS (SELECT FROM {schema}.notification_email_queue AS q
					  WHERE {batch_is_due});
	COMMIT;

	-- raises an error if no mail can be sent now: no batch has been touched yet
	IF has_work THEN
		CALL jobs.deliver_mail(0, accepted);
	END IF;

	{pin}
	LOOP
		FOR batch IN
			SELECT q.id, q.scheduled_for, u.email::text AS email, u.{user_name}::text AS user_name,
				   {own_subject} AS subject, {own_text} AS body_text, {own_html} AS body_html,
				   {is_digest} AS is_digest, {batch_key} AS about,
				   (SELECT jsonb_agg(jsonb_build_object(
							   'title', n.title, 'message', n.message,
							   'url', n.action_url, 'label', n.action_label{notification_extras})
							   ORDER BY n.created_at, n.id)
					FROM {schema}.notifications AS n
					WHERE {is_in_batch}{not_deleted}) AS notifications
			FROM {schema}.notification_email_queue AS q
			LEFT JOIN {schema}.users AS u ON u.id = q.user_id
			WHERE {batch_is_due}
			  AND (q.scheduled_for, q.id) > (last_at, last_id)
			ORDER BY q.scheduled_for, q.id
			LIMIT most - handled
			FOR UPDATE OF q SKIP LOCKED
		LOOP
			tried := tried + 1;
			last_at := batch.scheduled_for;
			last_id := batch.id;
			BEGIN
				BEGIN
					is_sending := true;
					IF batch.subject IS NOT NULL THEN
						PERFORM jobs.portal_send(batch.email, batch.subject, batch.body_text, batch.body_html, batch.about);
					ELSIF batch.notifications IS NOT NULL THEN
						PERFORM jobs.portal_send_batch(batch.email, batch.user_name, batch.notifications, batch.is_digest, batch.about);
					END IF;
					is_sending := false;
					IF batch.subject IS NULL AND batch.notifications IS NULL THEN
						UPDATE {schema}.notification_email_queue AS q
						SET status = 'sent', sent_at = now(),
							{error} = 'closed without a mail: no notifications are left'::{error_type}
						WHERE q.id = batch.id;
					ELSE
						UPDATE {schema}.notification_email_queue AS q
						SET status = {processing}, {error} = NULL
						WHERE q.id = batch.id;
					END IF;
				EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
					is_sending := false;
					UPDATE {schema}.notification_email_queue AS q
					SET status = {failed}, {error} = SQLERRM::{error_type}
					WHERE q.id = batch.id;
				END;
				handled := handled + 1;
			EXCEPTION WHEN OTHERS THEN
				IF jobs.portal_stops(SQLSTATE, is_sending) THEN
					RAISE;
				END IF;
				RAISE WARNING 'batch % was left as it is: %', batch.id, SQLERRM;
			END;
		END LOOP;
		-- others take the place of those that were left
		EXIT WHEN NOT FOUND OR handled >= most OR tried >= 20 * most;
	END LOOP;
	has_work := EXISTS (SELECT FROM {schema}.notification_email_queue AS q
					  WHERE q.status = {processing});
	COMMIT;
	IF NOT has_work THEN
		RETURN;
	END IF;

	-- mail of others may be due, too, and be sent first
	WHILE has_work LOOP
		CALL jobs.deliver_mail(most, accepted);
		{pin}
		has_work := accepted > 0 AND EXISTS (SELECT FROM {schema}.notification_email_queue AS q
											 CROSS JOIN LATERAL jobs.portal_mail_of({batch_key}) AS m
											 WHERE q.status = {processing} AND NOT m.ended AND m.failures = 0);
		COMMIT;
	END LOOP;

	{pin}
{record_batches}{record_reminders}	{unpin}
END
$source$),
(7, 'check_overdue_payments', true, '0 10 * * *', 'payments',
 'Reminds clients whose advance was paid and whose balance is not',
 '{project_payment_status.project_id,project_payment_status.advance_paid_at,project_payment_status.balance_paid|balance_paid_at,payment_reminders.id,payment_reminders.project_id,payment_reminders.payment_id,payment_reminders.type,payment_reminders.status,payment_reminders.scheduled_for,payment_reminders.sent_at,payment_reminders.recipient_email,payment_reminders.recipient_user_id,payment_reminders.email_subject,payment_reminders.email_template,project_team.project_id,project_team.user_id,project_team.is_primary_contact,project_team.removed_at,projects.id,users.id,users.email,users.name|full_name}',
 '{project_payment_status.advance_paid,project_payment_status.remaining_amount,project_payment_status.balance_amount,project_payment_status.currency,payment_reminders.attempts,payment_reminders.last_error,payment_reminders.error_message,projects.name,projects.project_name}',
 '{payment_reminders.type=BALANCE_DUE,payment_reminders.status=PENDING,payment_reminders.status=SENT,payment_reminders.status=FAILED}',
 'payment_reminders',
 $source$
DECLARE
	own_role text := pg_catalog.current_setting('role');
	runs_as name := jobs.portal_role({payment_job}, {payment_routine});
	overdue record;
	reminder record;
	is_sending boolean;
	accepted integer;
	has_work boolean;
	zone text;
	moment timestamptz;
	today date;
	reminder_id {reminder_id_type};
	queued {reminder_id_type}[];
BEGIN
	{pin}
	zone := jobs.portal_zone({payment_job});
{record_reminders}	today := (now() AT TIME ZONE zone)::date;
	has_work := EXISTS (SELECT {overdue});
	COMMIT;

	-- raises an error if no mail can be sent now: no reminder has been touched yet
	IF has_work THEN
		CALL jobs.deliver_mail(0, accepted);
	END IF;

	{pin}
	-- of two runs at once, the second sees what the first has queued
	PERFORM pg_advisory_xact_lock(hashtextextended({reminder_prefix}, 0));
	-- midnight may have passed; what is written is of one day
	moment := clock_timestamp();
	today := (moment AT TIME ZONE zone)::date;
	FOR overdue IN
		SELECT s.project_id, contact.user_id, u.email::text AS email, u.{user_name}::text AS user_name,
			   {project_name} AS project_name, {amount} AS amount
		{overdue}
		ORDER BY s.project_id
	LOOP
		-- today's may have arrived; one of another day that is under way would arrive today
		CONTINUE WHEN EXISTS (SELECT FROM {schema}.payment_reminders AS r
							  CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
							  WHERE r.project_id = overdue.project_id AND r.type = 'BALANCE_DUE'
								AND (r.status = 'PENDING' OR r.status = 'FAILED' AND {reminder_day} = today)
								AND NOT m.given_up AND (NOT m.ended OR {reminder_day} = today));
		is_sending := false;
		BEGIN
			SELECT r.id INTO reminder_id
			FROM {schema}.payment_reminders AS r
			WHERE r.project_id = overdue.project_id AND r.type = 'BALANCE_DUE' AND r.status <> 'SENT'
			  AND {reminder_day} = today
			ORDER BY r.scheduled_for, r.id
			LIMIT 1
			FOR UPDATE;
			IF FOUND THEN
				UPDATE {schema}.payment_reminders AS r
				SET status = 'PENDING', recipient_email = coalesce(overdue.email, ''), recipient_user_id = overdue.user_id
				WHERE r.id = reminder_id;
			ELSE
				INSERT INTO {schema}.payment_reminders
					({reminder_columns}project_id, payment_id, type, status, scheduled_for,
					 recipient_email, recipient_user_id, email_subject, email_template)
				VALUES ({reminder_values}overdue.project_id, NULL, 'BALANCE_DUE', 'PENDING', moment,
					 coalesce(overdue.email, ''), overdue.user_id,
					 'Payment Reminder: Balance Due', 'payment-reminder-balance')
				RETURNING id INTO reminder_id;
			END IF;
			BEGIN
				is_sending := true;
				PERFORM jobs.portal_send_reminder(overdue.email, overdue.user_name, overdue.project_name, overdue.amount,
												  {reminder_prefix} || reminder_id::text);
				queued := array_append(queued, reminder_id);
			EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
				is_sending := false;
				RAISE WARNING 'no reminder for project %: %', overdue.project_id, SQLERRM;
				UPDATE {schema}.payment_reminders AS r
				SET status = 'FAILED'{reminder_refused}
				WHERE r.id = reminder_id;
			END;
		EXCEPTION WHEN OTHERS THEN
			IF jobs.portal_stops(SQLSTATE, is_sending) THEN
				RAISE;
			END IF;
			RAISE WARNING 'no reminder for project %: %', overdue.project_id, SQLERRM;
		END;
	END LOOP;
	COMMIT;

	-- mail of others may be due, too, and be sent first
	WHILE queued IS NOT NULL LOOP
		CALL jobs.deliver_mail(least(cardinality(queued), 10000), accepted);
		{pin}
		EXIT WHEN accepted = 0 OR NOT EXISTS (SELECT FROM {schema}.payment_reminders AS r
											  CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
											  WHERE r.id = ANY (queued) AND NOT m.ended AND m.failures = 0);
		COMMIT;
	END LOOP;

	{pin}
{record_reminders}	-- by their mails: another run may be about to record some of them
	result := (SELECT count(*) FROM {schema}.payment_reminders AS r
			   CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
			   WHERE r.id = ANY (queued) AND m.sent);
	{unpin}
END
$source$);

INSERT INTO jobs.portal_part VALUES
/*
 * A procedure that commits cannot have a SET clause, and a local setting ends
 * with its transaction: this is the first statement of each.
 */
('pin_search_path', $source$PERFORM pg_catalog.set_config('search_path', {search_path}, true);$source$),

/* As that; and the role, which is given back at the end of the routine. */
('pin', $source$PERFORM pg_catalog.set_config('role', runs_as, true), pg_catalog.set_config('search_path', {search_path}, true);$source$),
('unpin', $source$PERFORM pg_catalog.set_config('role', own_role, true);$source$),

('cleanup', $source$
DECLARE
	cutoff timestamptz := now();
	changed integer;
BEGIN
	{verb} {schema}.{table} AS t{change}
	WHERE {doomed};
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$source$),

/*
 * Where the rows are is read once; the first commit keeps what was read, without
 * a snapshot.  Each batch looks again whether its rows are still to go, and
 * leaves those alone that somebody else has locked: they come tomorrow.  A crash
 * may undo the last of them, which are done again; so nobody waits for the disk.
 * A quarter of the time is worked, so that others have the machine.
 */
('cleanup_in_batches', $source$
DECLARE
	cutoff timestamptz := now();
	row_at record;
	places tid[] := '{no_places}';
	changed integer;
	began timestamptz;
	pause double precision;
BEGIN
	{pin_search_path}
	result := 0;
	-- the application has a function of its own by now
	IF NOT jobs.portal_wrote(to_regprocedure({function})) THEN
		result := {schema}.{job}();
		RETURN;
	END IF;
	PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
	FOR row_at IN
		SELECT t.ctid AS place, row_number() OVER () AS nr, count(*) OVER () AS total
		FROM {schema}.{table} AS t
		WHERE {doomed}
	LOOP
		places := array_append(places, row_at.place);
		CONTINUE WHEN cardinality(places) < 500 AND row_at.nr < row_at.total;
		began := clock_timestamp();
		{verb} {schema}.{table} AS t{change}
		WHERE t.ctid = ANY (ARRAY(
			SELECT t.ctid FROM {schema}.{table} AS t
			WHERE t.ctid = ANY (places) AND {doomed}
			FOR UPDATE SKIP LOCKED))
		  -- other partitions have rows at the same places
		  AND {doomed};
		GET DIAGNOSTICS changed = ROW_COUNT;
		result := result + changed;
		places := '{no_places}';
		PERFORM jobs.progress(row_at.nr, row_at.total);
		pause := CASE WHEN row_at.nr < row_at.total THEN least(3 * extract(epoch FROM clock_timestamp() - began), 1) END;
		COMMIT;
		CALL jobs.portal_rest(pause);
		{pin_search_path}
		PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
	END LOOP;
END
$source$),

/* A batch that the old application left in process has no mail. */
('batch_is_due', $source$q.status IN ('pending', {processing}) AND q.scheduled_for <= now(){not_held_back}
		  AND (q.status = 'pending'
			   OR q.status = {processing} AND q.scheduled_for <= now() - interval '15 minutes'
				  AND NOT EXISTS (SELECT FROM jobs.portal_mail_of({batch_key})))$source$),

/* Failed batches whose mail may be sent again by hand; sent_at: it was, and the application knows better. */
('has_failed_lately', $source$q.status IN ({failed}, {abandoned}) AND q.sent_at IS NULL
			AND q.scheduled_for > now() - interval '7 days'$source$),

/*
 * Batches follow their mails.  Counts what was accepted since the last time.  What
 * the table says by itself comes first, so that nothing is asked about the mails of
 * years.
 */
('record_batches', $source$	FOR batch IN
		SELECT q.id, m.ended, m.sent, m.is_exhausted, m.ended_at, m.failures, m.reply, m.message_id
		FROM {schema}.notification_email_queue AS q
		CROSS JOIN LATERAL jobs.portal_mail_of({batch_key}) AS m
		WHERE (q.status = {processing} OR {has_failed_lately})
		  AND CASE WHEN q.status = {processing}
				   THEN m.ended OR m.reply::{error_type} IS DISTINCT FROM q.{error}{or_other_retries}
				   ELSE m.sent OR NOT m.ended END
		FOR UPDATE OF q SKIP LOCKED
	LOOP
		BEGIN
			IF batch.sent THEN
				UPDATE {schema}.notification_email_queue AS q
				SET status = 'sent', sent_at = batch.ended_at, {error} = NULL{set_retries}{set_message_id}
				WHERE q.id = batch.id;
				result := result + 1;
			ELSE
				UPDATE {schema}.notification_email_queue AS q
				SET status = CASE WHEN NOT batch.ended THEN {processing} WHEN batch.is_exhausted THEN {abandoned} ELSE {failed} END,
					{error} = batch.reply::{error_type}{set_retries}
				WHERE q.id = batch.id;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			IF jobs.portal_stops(SQLSTATE) THEN
				RAISE;
			END IF;
			RAISE WARNING 'what became of batch % could not be recorded: %', batch.id, SQLERRM;
		END;
	END LOOP;
$source$),

/* So do reminders. */
('record_reminders', $source$	FOR reminder IN
		SELECT r.id, m.ended, m.sent, m.ended_at, m.reply, m.failures + m.sent::integer AS attempts
		FROM {schema}.payment_reminders AS r
		CROSS JOIN LATERAL jobs.portal_mail_of({reminder_key}) AS m
		WHERE {reminder_is_open}
		  AND CASE WHEN r.status = 'PENDING' THEN m.ended ELSE m.sent OR NOT m.ended END
		FOR UPDATE OF r SKIP LOCKED
	LOOP
		BEGIN
			IF reminder.sent THEN
				UPDATE {schema}.payment_reminders AS r
				SET status = 'SENT', sent_at = reminder.ended_at{reminder_sent}
				WHERE r.id = reminder.id;
			ELSE
				UPDATE {schema}.payment_reminders AS r
				SET status = CASE WHEN reminder.ended THEN {failed_reminder} ELSE {pending_reminder} END{reminder_failed}
				WHERE r.id = reminder.id;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			IF jobs.portal_stops(SQLSTATE) THEN
				RAISE;
			END IF;
			RAISE WARNING 'what became of reminder % could not be recorded: %', reminder.id, SQLERRM;
		END;
	END LOOP;
$source$),

('reminder_is_open', $source$r.type = 'BALANCE_DUE'
		  AND (r.status = 'PENDING'
			   OR r.status = 'FAILED' AND r.sent_at IS NULL AND r.scheduled_for > now() - interval '7 days')$source$),

('or_has_reminders', $source$OR EXISTS (SELECT FROM {schema}.payment_reminders AS r WHERE {reminder_is_open})$source$),

('reminder_key', $source${reminder_prefix} || r.id::text$source$),

('reminder_day', $source$(r.scheduled_for AT TIME ZONE zone)::date$source$),

/* Projects to remind today, with their primary contact. */
('overdue', $source$FROM {schema}.project_payment_status AS s
		CROSS JOIN LATERAL (SELECT t.user_id FROM {schema}.project_team AS t
							WHERE t.project_id = s.project_id AND t.is_primary_contact AND t.removed_at IS NULL
							ORDER BY t.user_id LIMIT 1) AS contact
		LEFT JOIN {schema}.users AS u ON u.id = contact.user_id
		LEFT JOIN {schema}.projects AS p ON p.id = s.project_id
		WHERE {advance_is_paid}s.advance_paid_at < now() - interval '3 days'
		  AND {balance_is_open}
		  AND NOT EXISTS (SELECT FROM {schema}.payment_reminders AS r
						  WHERE r.project_id = s.project_id AND r.type = 'BALANCE_DUE' AND r.status = 'SENT'
							AND (coalesce(r.sent_at, r.scheduled_for) AT TIME ZONE zone)::date = today)$source$);
