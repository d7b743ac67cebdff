/*
 * portal_variant.sql -- a portal that has grown: every column has its other form
 *
 * The tables are made in the current schema, with little in them; ids are
 * uuid, bigint and text.
 */

CREATE DOMAIN reminder_state AS text CHECK (VALUE IN ('PENDING', 'SENT', 'FAILED'));

CREATE TABLE users (
	id			uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	email		varchar(320) UNIQUE,
	full_name	varchar(200),
	timezone	text NOT NULL DEFAULT 'Asia/Kolkata'
);

CREATE TABLE projects (
	id				bigint PRIMARY KEY,
	project_name	text NOT NULL
);

CREATE TABLE project_team (
	project_id			bigint NOT NULL REFERENCES projects,
	user_id				uuid NOT NULL REFERENCES users,
	is_primary_contact	boolean,
	role				text NOT NULL DEFAULT 'client',
	removed_at			timestamptz,
	PRIMARY KEY (project_id, user_id)
);

CREATE TABLE sessions (
	id			text PRIMARY KEY,
	user_id		uuid NOT NULL REFERENCES users,
	data		jsonb NOT NULL DEFAULT '{}',
	expires_at	timestamptz
) PARTITION BY HASH (id);
CREATE TABLE sessions_0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE sessions_1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);

CREATE TABLE email_verification_tokens (token text PRIMARY KEY, expires_at timestamptz);

-- one table of tokens, and a view for each kind
CREATE TABLE tokens (token text PRIMARY KEY, kind text NOT NULL, expires_at timestamptz);
CREATE VIEW password_reset_tokens AS SELECT token, expires_at FROM tokens WHERE kind = 'reset';

CREATE TYPE deliverable_status AS ENUM ('pending', 'delivered', 'approved', 'expired');
CREATE TABLE deliverables (
	id			bigint PRIMARY KEY,
	status		deliverable_status,
	expires_at	timestamptz
);

CREATE TABLE notifications (
	id				uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	user_id			uuid NOT NULL REFERENCES users,
	project_id		bigint REFERENCES projects,
	type			text NOT NULL DEFAULT 'comment',
	title			text NOT NULL,
	message			text,
	actor_name		text,
	action_url		text,
	action_label	text,
	metadata		jsonb NOT NULL DEFAULT '{}',
	created_at		timestamptz NOT NULL DEFAULT now(),
	deleted_at		timestamptz
);

CREATE TABLE user_notification_preferences (
	user_id			uuid PRIMARY KEY REFERENCES users,
	digest			boolean NOT NULL DEFAULT true,
	paused_until	timestamptz
);

CREATE TABLE notification_email_queue (
	id					uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	user_id				uuid NOT NULL,
	project_id			bigint NOT NULL,
	email_type			varchar(20) NOT NULL CHECK (email_type IN ('individual', 'digest')),
	notification_ids	uuid[] NOT NULL,
	subject				varchar(255) NOT NULL DEFAULT '',
	body_html			text NOT NULL DEFAULT '',
	body_text			text NOT NULL DEFAULT '',
	status				varchar(20) NOT NULL DEFAULT 'pending'
						CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'abandoned')),
	retry_count			integer NOT NULL DEFAULT 0 CHECK (retry_count BETWEEN 0 AND 10),
	scheduled_for		timestamptz NOT NULL,
	sent_at				timestamptz,
	last_error			varchar(40),
	ses_message_id		varchar(255),
	CHECK (status <> 'sent' OR sent_at IS NOT NULL)
);

CREATE TABLE project_payment_status (
	project_id			bigint PRIMARY KEY REFERENCES projects,
	currency			char(3),
	balance_amount		bigint,
	advance_paid_at		timestamptz,
	balance_paid_at		timestamptz
);

CREATE TABLE payment_reminders (
	id					uuid PRIMARY KEY,
	project_id			bigint NOT NULL REFERENCES projects,
	payment_id			bigint,
	type				text NOT NULL CHECK (type IN ('ADVANCE_DUE', 'BALANCE_DUE')),
	status				reminder_state NOT NULL,
	scheduled_for		timestamptz NOT NULL,
	sent_at				timestamptz,
	recipient_email		text NOT NULL,
	recipient_user_id	uuid NOT NULL,
	email_subject		varchar(255) NOT NULL,
	email_template		varchar(100) NOT NULL,
	attempts			integer NOT NULL,
	last_error			varchar(40),
	created_at			timestamptz NOT NULL
);

/* ---- people, projects, payments ---- */

INSERT INTO users (id, email, full_name)
SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, format('u%s@variant.example', n),
	   (ARRAY['Priya Sharma', 'Jürgen "Jay" O''Neil', '<b>Bold & Sons</b>', 'अमित कुमार', NULL])[n]
FROM generate_series(1, 5) n;
INSERT INTO projects SELECT n, (ARRAY['Brand film', 'Größer & <Besser>', 'Explainer', 'Teaser'])[n] FROM generate_series(1, 4) n;
INSERT INTO project_team (project_id, user_id, is_primary_contact)
SELECT n, format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, true FROM generate_series(1, 4) n;
