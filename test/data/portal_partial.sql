/*
 * portal_partial.sql -- a portal of which some tables are missing, and columns
 *
 * What can be installed: cleanup_expired_sessions, and process_email_queue with
 * the queue of an older version.
 */

CREATE TABLE users (id integer PRIMARY KEY, email text, name text);
CREATE TABLE projects (id integer PRIMARY KEY);
CREATE TABLE project_team (project_id integer, user_id integer, is_primary_contact boolean);
CREATE TABLE sessions (sid text, expires_at timestamptz);
CREATE TABLE deliverables (status text CHECK (status IN ('pending', 'done')), expires_at timestamptz);
CREATE TABLE notifications (
	id integer PRIMARY KEY, user_id integer, title text, message text, action_url text, action_label text, created_at timestamptz
);
CREATE TABLE notification_email_queue (
	id integer PRIMARY KEY, user_id integer, notification_ids text[], status text NOT NULL DEFAULT 'pending',
	scheduled_for timestamptz, sent_at timestamptz, error_message text
);
CREATE TABLE project_payment_status (project_id integer, advance_paid boolean, advance_paid_at timestamptz, balance_paid boolean);
CREATE TABLE payment_reminders (
	id integer PRIMARY KEY, project_id integer, payment_id integer NOT NULL, type text, status text, scheduled_for timestamptz,
	sent_at timestamptz, recipient_email text, recipient_user_id integer, email_subject text, email_template text, invoice text NOT NULL
);
