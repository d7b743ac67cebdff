/*
 * portal.sql -- the portal pack: the seven jobs of the Motionify Portal
 *
 * jobs.install_portal() looks at the tables of a portal's schema, writes the
 * routines of the jobs into that schema, bound to the columns that are there,
 * and schedules them.  The routines belong to whoever installs, not to the
 * extension, so a dump keeps them.  Here is SQL put together from names, which
 * are quoted once; what the routines do has none of that.
 *
 * Everything here runs with the rights of its caller.
 */

/* ---- What there is ---- */

/*
 * Of the tables that the jobs know.  ctid is among the columns of those whose
 * rows can be taken by their place.
 */
CREATE FUNCTION jobs.portal_columns(schema_name name) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	schema_oid oid := (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = schema_name);
	names name[] := ARRAY(SELECT DISTINCT split_part(c.name, '.', 1)
						  FROM jobs.portal_job AS j, unnest(j.needs || j.uses) AS c (name));
BEGIN
	IF schema_oid IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
			MESSAGE = format('schema "%s" does not exist', schema_name);
	END IF;
	RETURN (
		SELECT coalesce(jsonb_object_agg(t.relname, t.columns), '{}')
		FROM (SELECT c.relname,
					 jsonb_object_agg(a.attname, jsonb_build_object(
						'type', format_type(a.atttypid, a.atttypmod),
						'is_required', a.attnum > 0 AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
							AND NOT EXISTS (SELECT FROM pg_trigger AS g		-- row, before, insert
											WHERE g.tgrelid = c.oid AND g.tgtype & 7 = 7))) AS columns
			  FROM pg_class AS c
			  JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
									AND (a.attnum > 0 OR a.attname = 'ctid' AND c.relkind IN ('r', 'p'))
			  WHERE c.relnamespace = schema_oid AND c.relname = ANY (names) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			  GROUP BY c.relname) AS t);
END
$$;
COMMENT ON FUNCTION jobs.portal_columns(name) IS 'portal pack: tables of a schema, as an object of objects: columns, with type and whether an INSERT has to fill them';

CREATE FUNCTION jobs.portal_pick(columns jsonb, table_name text, choices text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT choice.name
	FROM string_to_table(choices, '|') WITH ORDINALITY AS choice (name, nr)
	WHERE columns -> table_name ? choice.name
	ORDER BY choice.nr
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_pick(jsonb, text, text) IS 'portal pack: the first of the columns a|b|c that the table has; NULL: none';

/* Tries the type of the column, and the CHECK constraints that are about it alone. */
CREATE FUNCTION jobs.portal_accepts(schema_name name, columns jsonb, table_name name, column_name name, value text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type_name text := columns #>> ARRAY[table_name, column_name, 'type'];
	table_oid oid := to_regclass(format('%I.%I', schema_name, table_name));
	condition text;
	holds boolean;
BEGIN
	IF type_name IS NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT true FROM (SELECT %L::%s) AS r', value, type_name) INTO holds;
	FOR condition IN
		SELECT pg_get_expr(k.conbin, k.conrelid)
		FROM pg_constraint AS k
		JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attname = column_name
		WHERE k.conrelid = table_oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
	LOOP
		EXECUTE format('SELECT %s FROM (SELECT %L::%s) AS r (%I)', condition, value, type_name, column_name) INTO holds;
		IF NOT holds THEN
			RETURN false;
		END IF;
	END LOOP;
	RETURN true;
EXCEPTION WHEN data_exception OR check_violation THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION jobs.portal_accepts(name, jsonb, name, name, text) IS 'portal pack: whether a column can have a value, of an enum or past its constraints';

CREATE FUNCTION jobs.portal_state(schema_name name, columns jsonb, table_name text, choices text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT choice.value
	FROM string_to_table(choices, '|') WITH ORDINALITY AS choice (value, nr)
	WHERE jobs.portal_accepts(schema_name, columns, table_name, 'status', choice.value)
	ORDER BY choice.nr
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_state(name, jsonb, text, text) IS 'portal pack: the first of the values a|b|c that column status can have; NULL: none';

/* What the insert of a reminder puts into columns that have to be filled, besides its own. */
CREATE FUNCTION jobs.portal_fillers(columns jsonb) RETURNS TABLE (name text, value text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT filler.name, filler.value
	FROM (VALUES ('id', 'gen_random_uuid()', 'uuid'), ('attempts', '0', '%int%'), ('created_at', 'now()', 'timestamp%'),
				 ('updated_at', 'now()', 'timestamp%')) AS filler (name, value, type_name)
	WHERE (columns #>> ARRAY['payment_reminders', filler.name, 'is_required'])::boolean
	  AND columns #>> ARRAY['payment_reminders', filler.name, 'type'] LIKE filler.type_name;
END;
COMMENT ON FUNCTION jobs.portal_fillers(jsonb) IS 'portal pack: columns of payment_reminders that have to be filled and have no default, with what they get';

CREATE FUNCTION jobs.portal_missing(schema_name name, wanted jobs.portal_job, columns jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH need AS (
		SELECT split_part(n.name, '.', 1) AS table_name, split_part(n.name, '.', 2) AS choices
		FROM unnest(wanted.needs) AS n (name)
	), value AS (
		SELECT v.parts[1] AS table_name, v.parts[2] AS column_name, v.parts[3] AS choices
		FROM unnest(wanted.accepts) AS a (text), regexp_split_to_array(a.text, '[.=]') AS v (parts)
	), problem AS (
		SELECT CASE WHEN columns ? need.table_name
					THEN 'column ' || need.table_name || '.' || replace(need.choices, '|', ' or ')
					ELSE 'table ' || need.table_name END AS what
		FROM need
		WHERE jobs.portal_pick(columns, need.table_name, need.choices) IS NULL
		UNION
		SELECT format('value %s of %s.%s', replace(quote_literal(value.choices), '|', ''' or '''), value.table_name, value.column_name)
		FROM value
		WHERE columns -> value.table_name ? value.column_name
		  AND NOT EXISTS (SELECT FROM string_to_table(value.choices, '|') AS choice (value)
						  WHERE jobs.portal_accepts(schema_name, columns, value.table_name, value.column_name, choice.value))
		UNION
		SELECT format('a default of %s.%s, which must not be null', wanted.fills, c.name)
		FROM jsonb_each(columns -> wanted.fills) AS c (name, properties)
		WHERE (c.properties ->> 'is_required')::boolean
		  AND (c.name IN ('id', 'payment_id')
			   OR NOT EXISTS (SELECT FROM need WHERE need.table_name = wanted.fills AND need.choices = c.name))
		  AND NOT EXISTS (SELECT FROM jobs.portal_fillers(columns) AS filler WHERE filler.name = c.name)
	)
	SELECT string_agg(problem.what, ', ' ORDER BY problem.what) FROM problem;
END;
COMMENT ON FUNCTION jobs.portal_missing(name, jobs.portal_job, jsonb) IS 'portal pack: what a job lacks, in words; NULL: nothing';

/* Tables, with the columns of which there is a choice. */
CREATE FUNCTION jobs.portal_bound_to(wanted jobs.portal_job, columns jsonb) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT string_agg(t.table_name || coalesce(' (' || t.choices || ')', ''), ', ' ORDER BY t.nr)
	FROM (SELECT split_part(c.name, '.', 1) AS table_name, min(c.nr) AS nr,
				 string_agg(picked.name, ', ' ORDER BY c.nr) FILTER (WHERE strpos(c.name, '|') > 0 OR c.nr > cardinality(wanted.needs)) AS choices
		  FROM unnest(wanted.needs || wanted.uses) WITH ORDINALITY AS c (name, nr)
		  CROSS JOIN LATERAL jobs.portal_pick(columns, split_part(c.name, '.', 1), split_part(c.name, '.', 2)) AS picked (name)
		  WHERE picked.name IS NOT NULL
		  GROUP BY 1) AS t;
END;
COMMENT ON FUNCTION jobs.portal_bound_to(jobs.portal_job, jsonb) IS 'portal pack: what a job is bound to, in words';

/* ---- What the names in sources stand for ---- */

/*
 * SQL text, quoted here once.  NULL is what only sources need that cannot be
 * bound.
 */
CREATE FUNCTION jobs.portal_state_bindings(schema_name name, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	batch text := 'notification_email_queue';
	status_type text := columns #>> ARRAY[batch, 'status', 'type'];
	reminder_type text := columns #>> '{payment_reminders,status,type}';
	processing text := jobs.portal_state(schema_name, columns, batch, 'processing|sending');
	failed text := jobs.portal_state(schema_name, columns, batch, 'failed|abandoned');
	-- only where it is one of a list
	abandoned text := CASE WHEN jobs.portal_accepts(schema_name, columns, batch, 'status', 'abandoned')
								AND NOT jobs.portal_accepts(schema_name, columns, batch, 'status', 'no such state')
						   THEN 'abandoned' ELSE failed END;
BEGIN
	RETURN jsonb_build_object(
		'processing', quote_literal(processing) || '::' || status_type,
		'failed', quote_literal(failed) || '::' || status_type,
		'abandoned', quote_literal(abandoned) || '::' || status_type,
		'pending_reminder', '''PENDING''::' || reminder_type,
		'failed_reminder', '''FAILED''::' || reminder_type,
		'states', nullif(concat_ws(', ', nullif(processing, 'processing'), nullif(abandoned, 'failed')), ''));
END
$$;
COMMENT ON FUNCTION jobs.portal_state_bindings(name, jsonb) IS 'portal pack: what the names in sources stand for, of states';

CREATE FUNCTION jobs.portal_notification_bindings(schema_name name, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	notification jsonb := coalesce(columns -> 'notifications', '{}');
	id_type text := notification #>> '{id,type}';
	ids_type text := columns #>> '{notification_email_queue,notification_ids,type}';
	project_name text := jobs.portal_pick(columns, 'projects', 'name|project_name');
BEGIN
	RETURN jsonb_build_object(
		'is_in_batch', CASE WHEN ids_type = id_type || '[]' THEN 'n.id = ANY (q.notification_ids)'
							WHEN ids_type LIKE 'json%' THEN 'n.id::text IN (SELECT jsonb_array_elements_text(q.notification_ids::jsonb))'
							ELSE 'n.id::text = ANY (q.notification_ids::text[])' END,
		'not_deleted', CASE WHEN notification ? 'deleted_at' THEN ' AND n.deleted_at IS NULL' ELSE '' END,
		'notification_extras', concat(
			CASE WHEN notification ? 'actor_name' THEN ', ''actor'', n.actor_name' END,
			CASE WHEN notification #>> '{project_id,type}' = columns #>> '{projects,id,type}' AND project_name IS NOT NULL THEN
				format(', ''project'', (SELECT p.%I FROM %I.projects AS p WHERE p.id = n.project_id)', project_name, schema_name) END));
END
$$;
COMMENT ON FUNCTION jobs.portal_notification_bindings(name, jsonb) IS 'portal pack: what the names in sources stand for, of notifications';

CREATE FUNCTION jobs.portal_batch_bindings(schema_name name, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queue jsonb := coalesce(columns -> 'notification_email_queue', '{}');
	pauses text := CASE WHEN columns -> 'user_notification_preferences' ?& '{user_id,paused_until}'
		THEN format('NOT EXISTS (SELECT FROM %I.user_notification_preferences AS held'
					' WHERE held.user_id = q.user_id AND held.paused_until > now())', schema_name) END;
	error text := jobs.portal_pick(columns, 'notification_email_queue', 'error_message|last_error');
	bodies text := (SELECT string_agg('q.' || c.name, ', ') FROM unnest('{body_text,body_html}'::text[]) AS c (name) WHERE queue ? c.name);
	filled text := CASE WHEN queue ? 'subject' AND bodies IS NOT NULL
		THEN format('CASE WHEN btrim(q.subject) <> '''' AND btrim(concat(%s)) <> '''' THEN %%s END', bodies)
		ELSE 'NULL::text' END;
BEGIN
	RETURN jsonb_build_object(
		'error', quote_ident(error),
		'error_type', queue #>> ARRAY[error, 'type'],
		'batch_id_type', queue #>> '{id,type}',
		'batch_at_type', queue #>> '{scheduled_for,type}',
		'batch_key', format('%L || q.id::text', schema_name || '.notification_email_queue/'),
		'not_held_back', coalesce(' AND ' || CASE WHEN queue ? 'email_type'
			THEN '(coalesce(q.email_type::text = ''individual'', false) OR ' || pauses || ')' ELSE pauses END, ''),
		'is_digest', CASE WHEN queue ? 'email_type' THEN 'coalesce(q.email_type::text = ''digest'', false)' ELSE 'false' END,
		'own_subject', format(filled, 'q.subject'),
		'own_text', format(filled, CASE WHEN queue ? 'body_text' THEN 'nullif(q.body_text, '''')' ELSE 'NULL::text' END),
		'own_html', format(filled, CASE WHEN queue ? 'body_html' THEN 'nullif(q.body_html, '''')' ELSE 'NULL::text' END),
		'set_message_id', CASE WHEN queue ? 'ses_message_id' THEN ', ses_message_id = batch.message_id' ELSE '' END,
		'set_retries', CASE WHEN queue ? 'retry_count' THEN ', retry_count = least(batch.failures, 10)' ELSE '' END,
		'or_other_retries', CASE WHEN queue ? 'retry_count' THEN ' OR least(m.failures, 10) IS DISTINCT FROM q.retry_count' ELSE '' END);
END
$$;
COMMENT ON FUNCTION jobs.portal_batch_bindings(name, jsonb) IS 'portal pack: what the names in sources stand for, of the e-mail queue';

CREATE FUNCTION jobs.portal_payment_bindings(columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	payment jsonb := coalesce(columns -> 'project_payment_status', '{}');
	amounts text := (SELECT string_agg('s.' || c.name, ', ' ORDER BY c.nr)
					 FROM unnest('{remaining_amount,balance_amount}'::text[]) WITH ORDINALITY AS c (name, nr)
					 WHERE payment #>> ARRAY[c.name, 'type'] IN ('bigint', 'integer'));
BEGIN
	RETURN jsonb_build_object(
		'project_name', coalesce('p.' || jobs.portal_pick(columns, 'projects', 'name|project_name') || '::text', 'NULL::text'),
		'amount', CASE WHEN amounts IS NOT NULL AND payment ? 'currency'
					   THEN format('jobs.portal_amount(coalesce(%s), s.currency::text)', amounts) ELSE 'NULL::text' END,
		'advance_is_paid', CASE WHEN payment ? 'advance_paid' THEN 's.advance_paid AND ' ELSE '' END,
		'balance_is_open', CASE WHEN payment ? 'balance_paid' THEN 's.balance_paid IS NOT TRUE' ELSE 's.balance_paid_at IS NULL' END);
END
$$;
COMMENT ON FUNCTION jobs.portal_payment_bindings(jsonb) IS 'portal pack: what the names in sources stand for, of payments';

CREATE FUNCTION jobs.portal_reminder_bindings(schema_name name, prefix text, columns jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	reminder jsonb := coalesce(columns -> 'payment_reminders', '{}');
	error text := jobs.portal_pick(columns, 'payment_reminders', 'last_error|error_message');
	set_attempts text := CASE WHEN reminder ? 'attempts' THEN ', attempts = reminder.attempts' ELSE '' END;
	set_error text := ', ' || quote_ident(error) || ' = (%s)::' || (reminder #>> ARRAY[error, 'type']);
BEGIN
	RETURN jsonb_build_object(
		'email_job', quote_literal(prefix || 'process_email_queue'),
		'email_routine', quote_literal(format('%I.process_email_queue(integer)', schema_name)),
		'payment_job', quote_literal(prefix || 'check_overdue_payments'),
		'payment_routine', quote_literal(format('%I.check_overdue_payments(integer)', schema_name)),
		'reminder_prefix', quote_literal(schema_name || '.payment_reminders/'),
		'reminder_id_type', reminder #>> '{id,type}',
		'reminder_columns', coalesce((SELECT string_agg(f.name || ', ', '' ORDER BY f.name) FROM jobs.portal_fillers(columns) AS f), ''),
		'reminder_values', coalesce((SELECT string_agg(f.value || ', ', '' ORDER BY f.name) FROM jobs.portal_fillers(columns) AS f), ''),
		'reminder_sent', set_attempts || CASE WHEN error IS NULL THEN '' ELSE format(set_error, 'NULL') END,
		'reminder_failed', set_attempts || CASE WHEN error IS NULL THEN '' ELSE format(set_error, 'reminder.reply') END,
		'reminder_refused', CASE WHEN error IS NULL THEN '' ELSE format(set_error, 'SQLERRM') END);
END
$$;
COMMENT ON FUNCTION jobs.portal_reminder_bindings(name, text, jsonb) IS 'portal pack: what the names in sources stand for, of the payment reminders';

CREATE FUNCTION jobs.portal_bindings(schema_name name, prefix text, columns jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN jsonb_build_object(
		'schema', quote_ident(schema_name),
		'search_path', quote_literal(format('pg_catalog, %I, pg_temp', schema_name)),
		'user_name', jobs.portal_pick(columns, 'users', 'name|full_name'),
		'no_places', '{}')
	|| jobs.portal_state_bindings(schema_name, columns)
	|| jobs.portal_notification_bindings(schema_name, columns)
	|| jobs.portal_batch_bindings(schema_name, columns)
	|| jobs.portal_payment_bindings(columns)
	|| jobs.portal_reminder_bindings(schema_name, prefix, columns)
	-- without reminders the e-mail queue sees to none
	|| (SELECT CASE WHEN jobs.portal_missing(schema_name, j, columns) IS NULL THEN '{}' ELSE '{"record_reminders": "", "or_has_reminders": ""}' END::jsonb
		FROM jobs.portal_job AS j WHERE j.job = 'check_overdue_payments');
COMMENT ON FUNCTION jobs.portal_bindings(name, text, jsonb) IS 'portal pack: what the names in sources stand for';

/* What a name stands for is put in as it is, and not looked through again. */
CREATE FUNCTION jobs.portal_bind(source text, bindings jsonb) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pieces text[] := regexp_split_to_array(source, '[{}]');
	bound text := pieces[1];
	piece text;
BEGIN
	FOR i IN 2 .. cardinality(pieces) LOOP
		piece := pieces[i];
		IF i % 2 = 0 THEN
			piece := coalesce(bindings ->> pieces[i],
							  (SELECT jobs.portal_bind(p.source, bindings)
							   FROM jobs.portal_part AS p WHERE p.name = pieces[i]));
			IF piece IS NULL THEN
				RAISE EXCEPTION USING ERRCODE = 'internal_error',
					MESSAGE = format('nothing is bound to "%s"', pieces[i]);
			END IF;
		END IF;
		bound := bound || piece;
	END LOOP;
	RETURN bound;
END
$$;
COMMENT ON FUNCTION jobs.portal_bind(text, jsonb) IS 'portal pack: a source, with its names replaced by what they stand for';

/* ---- Routines ---- */

CREATE FUNCTION jobs.portal_routine(schema_name name, routine_name name, is_procedure boolean,
	OUT routine oid, OUT kind text, OUT is_ours boolean, OUT source text, OUT problem text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.oid, p.prokind::text, jobs.portal_wrote(p.oid), p.prosrc,
		   CASE WHEN p.pronargs > p.pronargdefaults
				THEN format('%s cannot be called without arguments', p.oid::regprocedure)
				WHEN p.proretset OR outcome.type IS NULL
					 OR outcome.type NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
				THEN format('%s does not return one integer', p.oid::regprocedure) END
	FROM pg_proc AS p
	JOIN pg_namespace AS n ON n.oid = p.pronamespace
	CROSS JOIN LATERAL (
		SELECT CASE WHEN p.prokind = 'f' THEN p.prorettype
					WHEN count(*) = 1 THEN min(p.proallargtypes[arg.nr]) END AS type
		FROM unnest(p.proargmodes) WITH ORDINALITY AS arg (mode, nr)
		WHERE arg.mode IN ('o', 'b')) AS outcome
	WHERE n.nspname = schema_name AND p.proname = routine_name AND p.prokind IN ('f', 'p')
	  AND (p.pronargs = p.pronargdefaults OR is_procedure AND p.proargtypes = '23'::oidvector)
	ORDER BY p.pronargs
	LIMIT 1;
END;
COMMENT ON FUNCTION jobs.portal_routine(name, name, boolean) IS 'portal pack: the routine of a name, whether it is the pack''s, and why it cannot be used';

CREATE FUNCTION jobs.portal_create(schema_name name, routine_name name, is_procedure boolean, bound_source text, description text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format(CASE WHEN is_procedure
		THEN 'CREATE OR REPLACE PROCEDURE %1$I.%2$I(INOUT result integer DEFAULT NULL) LANGUAGE plpgsql AS %3$L'
		ELSE 'CREATE OR REPLACE FUNCTION %1$I.%2$I() RETURNS integer LANGUAGE plpgsql'
			 ' SET search_path = pg_catalog, %1$I, pg_temp AS %3$L' END,
		schema_name, routine_name, bound_source);
	EXECUTE format(CASE WHEN is_procedure
		THEN 'COMMENT ON PROCEDURE %I.%I(integer) IS %L' ELSE 'COMMENT ON FUNCTION %I.%I() IS %L' END,
		schema_name, routine_name, format('motionify_jobs portal pack %s: %s', md5(bound_source), description));
END
$$;
COMMENT ON FUNCTION jobs.portal_create(name, name, boolean, text, text) IS 'portal pack: writes a routine into the portal''s schema';

CREATE FUNCTION jobs.portal_drop(schema_name name, routine_name name, is_procedure boolean) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there record;
BEGIN
	SELECT r.* INTO there FROM jobs.portal_routine(schema_name, routine_name, is_procedure) AS r;
	IF there.is_ours THEN
		EXECUTE format('DROP ROUTINE %s', there.routine::regprocedure);
	END IF;
	RETURN coalesce(there.is_ours, false);
END
$$;
COMMENT ON FUNCTION jobs.portal_drop(name, name, boolean) IS 'portal pack: drops a routine if it is the pack''s; whether it was';

CREATE FUNCTION jobs.portal_batch_routine(job text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN job || '_in_batches';
COMMENT ON FUNCTION jobs.portal_batch_routine(text) IS 'portal pack: name of the procedure that does what a cleanup does, with commits in between';

/*
 * The procedure that does the same in batches, where there is one: its name is
 * NULL where there is not, and why then says so, unless that goes without saying.
 */
CREATE FUNCTION jobs.portal_provide_batches(schema_name name, wanted jobs.portal_job, columns jsonb, bindings jsonb,
	OUT routine_name text, OUT is_written boolean, OUT why text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there record;
	bound_source text;
BEGIN
	is_written := false;
	IF wanted.in_batches IS NULL THEN
		RETURN;
	END IF;
	routine_name := jobs.portal_batch_routine(wanted.job);
	SELECT r.* INTO there FROM jobs.portal_routine(schema_name, routine_name, true) AS r;
	IF NOT columns -> (wanted.bindings ->> 'table') ? 'ctid' THEN
		why := 'all at once, for it is no table';
	ELSIF NOT there.is_ours THEN
		why := format('all at once, for the application has a routine %s', there.routine::regprocedure);
	END IF;
	IF why IS NOT NULL THEN
		routine_name := NULL;
		RETURN;
	END IF;
	bound_source := jobs.portal_bind(wanted.in_batches, bindings);
	is_written := there.source IS DISTINCT FROM bound_source;
	IF is_written THEN
		PERFORM jobs.portal_create(schema_name, routine_name, true, bound_source, wanted.description || ', with commits in between');
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_provide_batches(name, jobs.portal_job, jsonb, jsonb) IS 'portal pack: writes the procedure that does what a cleanup does, with commits in between';

/* The routine of a job that is the pack's: written, or as it was. */
CREATE FUNCTION jobs.portal_provide_ours(schema_name name, wanted jobs.portal_job, columns jsonb, bindings jsonb, written_source text,
	OUT command text, OUT is_written boolean, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own jsonb := wanted.bindings || jsonb_build_object('function', quote_literal(format('%I.%I()', schema_name, wanted.job)));
	bound_source text := jobs.portal_bind(wanted.source, bindings || own);
	batches record;
BEGIN
	is_written := written_source IS DISTINCT FROM bound_source;
	IF is_written THEN
		PERFORM jobs.portal_create(schema_name, wanted.job, wanted.is_procedure, bound_source, wanted.description);
	END IF;
	batches := jobs.portal_provide_batches(schema_name, wanted, columns, bindings || own);
	is_written := is_written OR batches.is_written;
	command := format('%s %I.%I()', CASE WHEN wanted.is_procedure OR batches.routine_name IS NOT NULL THEN 'CALL' ELSE 'SELECT' END,
					  schema_name, coalesce(batches.routine_name, wanted.job));
	detail := concat('bound to ', jobs.portal_bound_to(wanted, columns),
					 CASE WHEN wanted.job = 'process_email_queue' THEN '; states ' || (bindings ->> 'states') END,
					 '; ' || batches.why);
END
$$;
COMMENT ON FUNCTION jobs.portal_provide_ours(name, jobs.portal_job, jsonb, jsonb, text) IS 'portal pack: writes the routine of a job';

/*
 * Finds or writes the routine of a job.  command is NULL if that cannot be;
 * detail then says why.
 */
CREATE FUNCTION jobs.portal_provide(schema_name name, wanted jobs.portal_job, columns jsonb, bindings jsonb,
	OUT command text, OUT is_written boolean, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	there record;
	missing text := jobs.portal_missing(schema_name, wanted, columns);
	ours record;
BEGIN
	SELECT r.* INTO there FROM jobs.portal_routine(schema_name, wanted.job, wanted.is_procedure) AS r;
	IF NOT there.is_ours THEN
		is_written := wanted.in_batches IS NOT NULL
			AND jobs.portal_drop(schema_name, jobs.portal_batch_routine(wanted.job), true);
		detail := coalesce(there.problem, format('uses the application''s own %s', there.routine::regprocedure));
		IF there.problem IS NULL THEN
			command := format('%s %I.%I()', CASE there.kind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, schema_name, wanted.job);
		END IF;
	ELSIF missing IS NOT NULL THEN
		is_written := false;
		detail := format('not found in schema "%s": %s', schema_name, missing);
	ELSE
		ours := jobs.portal_provide_ours(schema_name, wanted, columns, bindings, there.source);
		command := ours.command;
		is_written := ours.is_written;
		detail := ours.detail;
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_provide(name, jobs.portal_job, jsonb, jsonb) IS 'portal pack: finds or writes the routine of a job';

/* ---- Jobs ---- */

/* Whether a command is one that the pack gives to this job. */
CREATE FUNCTION jobs.portal_is_command(command text, schema_name name, job text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
RETURN coalesce(command IN (format('SELECT %I.%I()', schema_name, job), format('CALL %I.%I()', schema_name, job),
							format('CALL %I.%I()', schema_name, jobs.portal_batch_routine(job))), false);
COMMENT ON FUNCTION jobs.portal_is_command(text, name, text) IS 'portal pack: whether a command is one that the pack gives to a job';

/*
 * The job, of those that the caller sees, whose command calls the routine of a
 * job in a schema, or that in batches; without a schema it may be this one.
 */
CREATE FUNCTION jobs.portal_caller(schema_name name, job text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN (
	SELECT min(j.name)
	FROM jobs.portal_installed AS j
	WHERE j.command ~* format('(^|[^.\w"])(%s\.)?"?%s(_in_batches)?"?\s*\(',
							  regexp_replace(quote_ident(schema_name), '(\W)', '\\\1', 'g'), job));
COMMENT ON FUNCTION jobs.portal_caller(name, text) IS 'portal pack: a job that calls the routine of a job; NULL: none does';

/*
 * One job.  What is there keeps its schedule, zone, group and pause, and a
 * command that somebody changed.
 */
CREATE FUNCTION jobs.portal_install_job(schema_name name, prefix text, timezone text, wanted jobs.portal_job,
	columns jsonb, bindings jsonb, OUT status text, OUT detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	job_name text := prefix || wanted.job;
	there jobs.portal_installed;
	routine record;
BEGIN
	status := 'missing';
	SELECT j.* INTO there FROM jobs.portal_installed AS j WHERE j.name = job_name;
	IF there.command ~ format('^(SELECT|CALL) .+\.%s(_in_batches)?\(\)$', wanted.job)
	   AND NOT jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
		detail := format('job "%s" is of another schema (%s): choose another prefix', job_name, there.command);
		RETURN;
	END IF;
	routine := jobs.portal_provide(schema_name, wanted, columns, bindings);
	detail := routine.detail;
	IF routine.command IS NULL THEN
		RETURN;
	END IF;
	IF there.name IS NULL THEN
		PERFORM jobs.schedule(job_name, wanted.schedule, routine.command, timezone => portal_install_job.timezone,
							  description => wanted.description, job_group => prefix || wanted.job_group);
		status := 'installed';
	ELSIF there.command = routine.command THEN
		status := CASE WHEN routine.is_written THEN 'updated' ELSE 'unchanged' END;
	ELSIF jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
		PERFORM jobs.schedule(job_name, there.schedule, routine.command);
		status := 'updated';
	ELSE
		status := CASE WHEN routine.is_written THEN 'updated' ELSE 'unchanged' END;
		detail := detail || format('; the job keeps its own command: %s', there.command);
	END IF;
END
$$;
COMMENT ON FUNCTION jobs.portal_install_job(name, text, text, jobs.portal_job, jsonb, jsonb) IS 'portal pack: installs one job';

CREATE FUNCTION jobs.install_portal(schema_name name DEFAULT 'public', prefix text DEFAULT '', timezone text DEFAULT NULL)
RETURNS TABLE (job text, status text, detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns jsonb := jobs.portal_columns(schema_name);
	bindings jsonb := jobs.portal_bindings(schema_name, coalesce(prefix, ''), columns);
	wanted jobs.portal_job;
BEGIN
	-- it is in the search_path of what runs with the rights of the jobs' role
	IF has_schema_privilege('public', schema_name, 'CREATE') THEN
		RAISE WARNING USING
			MESSAGE = format('everybody may create objects in schema "%s"', schema_name),
			DETAIL = 'The jobs look for tables and functions there, so others could have them do what they like.',
			HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', schema_name);
	END IF;
	FOR wanted IN SELECT j.* FROM jobs.portal_job AS j ORDER BY j.position LOOP
		job := concat(prefix, wanted.job);
		SELECT i.status, i.detail INTO status, detail
		FROM jobs.portal_install_job(schema_name, coalesce(prefix, ''), timezone, wanted, columns, bindings) AS i;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION jobs.install_portal(name, text, text) IS 'writes the portal''s jobs into its schema and schedules them; again at any time, as after a migration of the portal. timezone: of the jobs that it makes';

/* Takes away what install_portal() made; the application's own stays, and what a job still calls. */
CREATE FUNCTION jobs.uninstall_portal(schema_name name DEFAULT 'public', prefix text DEFAULT '')
RETURNS TABLE (job text, status text, detail text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted jobs.portal_job;
	there jobs.portal_installed;
	caller text;
BEGIN
	FOR wanted IN SELECT j.* FROM jobs.portal_job AS j ORDER BY j.position LOOP
		job := concat(prefix, wanted.job);
		status := 'missing';
		detail := 'there is no such job';
		SELECT j.* INTO there FROM jobs.portal_installed AS j WHERE j.name = job;
		IF jobs.portal_is_command(there.command, schema_name, wanted.job) THEN
			PERFORM jobs.unschedule(job);
			status := 'uninstalled';
			detail := there.command;
		ELSIF there.name IS NOT NULL THEN
			status := 'unchanged';
			detail := format('the job runs something else: %s', there.command);
		END IF;
		caller := jobs.portal_caller(schema_name, wanted.job);
		IF caller IS NOT NULL THEN
			detail := detail || format('; its routine stays, for job "%s" calls it', caller);
		ELSE
			PERFORM jobs.portal_drop(schema_name, jobs.portal_batch_routine(wanted.job), true)
			WHERE wanted.in_batches IS NOT NULL;
			PERFORM jobs.portal_drop(schema_name, wanted.job, wanted.is_procedure);
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION jobs.uninstall_portal(name, text) IS 'removes the portal''s jobs and the routines that install_portal() wrote';
