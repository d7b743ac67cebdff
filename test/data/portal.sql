/*
 * portal.sql -- the Motionify Portal's own tables, with planted data
 *
 * The tables are made in the current schema, as the portal's migrations make
 * them.  What the jobs have to find is planted relative to now(), next to what
 * they must leave alone; the table fixture.expected says how much each finds,
 * and fixture.expected_mail who gets a mail and what must stand in it.
 *
 * Plain SQL: psql and every driver can run it.
 */

CREATE SCHEMA fixture;

-- id('user', 7): the same uuid each time; in the order of the numbers
CREATE FUNCTION fixture.id(kind text, number integer) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$
	SELECT format('%s-0000-4000-8000-%s',
				  lpad(to_hex(1 + array_position(ARRAY['user', 'project', 'notification', 'batch', 'reminder', 'deliverable', 'session', 'token'], kind)), 8, '0'),
				  lpad(to_hex(number), 12, '0'))::uuid
$$;

-- What each job's run_now() says after this fixture: jobs.history.result.
CREATE TABLE fixture.expected (
	job		text PRIMARY KEY,
	result	text NOT NULL
);

-- One row a mail: each needle stands in the text and in the HTML body.
CREATE TABLE fixture.expected_mail (
	job			text NOT NULL,
	recipient	text NOT NULL,
	needles		text[] NOT NULL
);

/* ------------------------------------------------------------- the portal */

CREATE TABLE users (
	id			uuid PRIMARY KEY,
	email		text NOT NULL UNIQUE,
	name		text NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE projects (
	id			uuid PRIMARY KEY,
	name		text NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE project_team (
	id					bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	project_id			uuid NOT NULL REFERENCES projects,
	user_id				uuid NOT NULL REFERENCES users,
	is_primary_contact	boolean NOT NULL DEFAULT false,
	added_at			timestamptz NOT NULL DEFAULT now(),
	removed_at			timestamptz
);

CREATE TABLE sessions (
	id			uuid PRIMARY KEY,
	user_id		uuid NOT NULL REFERENCES users,
	created_at	timestamptz NOT NULL DEFAULT now(),
	expires_at	timestamptz NOT NULL
);

CREATE TABLE email_verification_tokens (
	id			uuid PRIMARY KEY,
	user_id		uuid NOT NULL REFERENCES users,
	token_hash	text NOT NULL,
	expires_at	timestamptz NOT NULL
);

CREATE TABLE password_reset_tokens (
	id			uuid PRIMARY KEY,
	user_id		uuid NOT NULL REFERENCES users,
	token_hash	text NOT NULL,
	expires_at	timestamptz NOT NULL
);

CREATE TABLE deliverables (
	id			uuid PRIMARY KEY,
	project_id	uuid NOT NULL REFERENCES projects,
	title		text NOT NULL,
	status		text CHECK (status IN ('pending', 'in_progress', 'beta_ready', 'awaiting_approval', 'approved', 'delivered', 'expired')),
	expires_at	timestamptz
);

CREATE TABLE notifications (
	id				uuid PRIMARY KEY,
	user_id			uuid NOT NULL REFERENCES users,
	title			text NOT NULL,
	message			text NOT NULL,
	action_url		text,
	action_label	text,
	created_at		timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notification_email_queue (
	id					uuid PRIMARY KEY,
	user_id				uuid NOT NULL REFERENCES users,
	notification_ids	uuid[] NOT NULL,
	status				text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'sent', 'failed')),
	scheduled_for		timestamptz NOT NULL,
	sent_at				timestamptz,
	error_message		text,
	created_at			timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE project_payment_status (
	project_id		uuid PRIMARY KEY REFERENCES projects,
	advance_paid	boolean NOT NULL DEFAULT false,
	advance_paid_at	timestamptz,
	balance_paid	boolean NOT NULL DEFAULT false,
	balance_paid_at	timestamptz
);

CREATE TABLE payment_reminders (
	id					uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	project_id			uuid NOT NULL REFERENCES projects,
	payment_id			uuid,
	type				text NOT NULL,
	status				text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
	scheduled_for		timestamptz NOT NULL,
	sent_at				timestamptz,
	recipient_email		text NOT NULL,
	recipient_user_id	uuid REFERENCES users,
	email_subject		text,
	email_template		text
);

/* --------------------------------------------------------- users, projects */

INSERT INTO users (id, email, name)
SELECT fixture.id('user', n), format('client%s@example.com', n), format('Client %s', n)
FROM generate_series(1, 30) n;

-- names that a mail's header has to encode or quote
UPDATE users SET name = 'Anaïs Müller', email = 'anais@example.com' WHERE id = fixture.id('user', 1);
UPDATE users SET name = 'अमित कुमार', email = 'amit@example.in' WHERE id = fixture.id('user', 2);
UPDATE users SET name = 'O''Brien, Siobhán "Shiv"', email = 'shiv.obrien@example.ie' WHERE id = fixture.id('user', 3);
UPDATE users SET name = '<b>Bold & Sons</b>', email = 'bold+sons@example.com' WHERE id = fixture.id('user', 4);

INSERT INTO projects (id, name)
SELECT fixture.id('project', n),
	   (ARRAY['Brand film', 'Explainer', 'Product teaser', 'Recruiting clip', 'Annual report'])[1 + n % 5] || ' ' || n
FROM generate_series(1, 20) n;

UPDATE projects SET name = 'Größer & <Besser> 🎬' WHERE id = fixture.id('project', 1);

/* ------------------------------------------------------------ the cleanups */

-- removed over 90 days ago: 7 to delete; 89 days ago: 3 that stay
INSERT INTO project_team (project_id, user_id, removed_at)
SELECT fixture.id('project', 11 + n % 5), fixture.id('user', 11 + n), now() - interval '90 days 1 hour' - n * interval '10 days'
FROM generate_series(1, 7) n;
INSERT INTO project_team (project_id, user_id, removed_at)
SELECT fixture.id('project', 11 + n), fixture.id('user', 20 + n), now() - interval '89 days 23 hours'
FROM generate_series(1, 3) n;
-- and members of today
INSERT INTO project_team (project_id, user_id)
SELECT fixture.id('project', n), fixture.id('user', 10 + n)
FROM generate_series(1, 20) n;

INSERT INTO sessions (id, user_id, expires_at)
SELECT fixture.id('session', n), fixture.id('user', 1 + n % 30),
	   CASE WHEN n <= 42 THEN now() - n * interval '1 hour' ELSE now() + n * interval '1 hour' END
FROM generate_series(1, 160) n;

INSERT INTO email_verification_tokens (id, user_id, token_hash, expires_at)
SELECT fixture.id('token', n), fixture.id('user', n), md5('verify' || n),
	   CASE WHEN n <= 13 THEN now() - n * interval '1 day' ELSE now() + interval '1 day' END
FROM generate_series(1, 18) n;

INSERT INTO password_reset_tokens (id, user_id, token_hash, expires_at)
SELECT fixture.id('token', n), fixture.id('user', n), md5('reset' || n),
	   CASE WHEN n <= 9 THEN now() - n * interval '1 minute' ELSE now() + interval '1 hour' END
FROM generate_series(1, 13) n;

INSERT INTO deliverables (id, project_id, title, status, expires_at)
SELECT fixture.id('deliverable', n), fixture.id('project', n), 'Cut ' || n, status, expires_at
FROM (VALUES
	-- 6 to mark
	(1, 'delivered', now() - interval '1 minute'),
	(2, 'delivered', now() - interval '1 day'),
	(3, 'delivered', now() - interval '400 days'),
	(4, 'approved', now() - interval '2 days'),
	(5, 'awaiting_approval', now() - interval '3 days'),
	(6, 'beta_ready', now()),
	-- marked already
	(7, 'expired', now() - interval '5 days'),
	(8, 'expired', now() + interval '5 days'),
	-- not yet, or never
	(9, 'delivered', now() + interval '1 hour'),
	(10, 'delivered', now() + interval '365 days'),
	(11, 'delivered', NULL),
	(12, 'in_progress', NULL),
	(13, NULL, now() - interval '1 day')
) AS d (n, status, expires_at);

/* ----------------------------------------------------------- notifications */

INSERT INTO notifications (id, user_id, title, message, action_url, action_label, created_at)
SELECT fixture.id('notification', n), fixture.id('user', 1 + (n - 1) / 2),
	   format('Notification %s', n), format('There is news on cut %s.', n),
	   format('https://portal.example.com/projects/%s', n), 'Open project',
	   now() - n * interval '1 minute'
FROM generate_series(1, 40) n;

-- text that HTML, SMTP and MIME each have to treat with care
UPDATE notifications SET title = 'Fichier prêt — “Größer & <Besser>”',
	message = E'.A line that starts with a dot\n.\nand goes on: 100 % ✓'
WHERE id = fixture.id('notification', 1);
UPDATE notifications SET title = 'टिप्पणी जोड़ी गई', message = 'नया संस्करण उपलब्ध है।', action_url = NULL, action_label = NULL
WHERE id = fixture.id('notification', 3);
UPDATE notifications SET title = '<script>alert(1)</script>', message = repeat('A very long line without any break. ', 60)
WHERE id = fixture.id('notification', 7);

-- 12 batches are due: users 1 to 12, two notifications each
INSERT INTO notification_email_queue (id, user_id, notification_ids, status, scheduled_for)
SELECT fixture.id('batch', n), fixture.id('user', n),
	   ARRAY[fixture.id('notification', 2 * n - 1), fixture.id('notification', 2 * n)],
	   'pending', now() - n * interval '1 minute'
FROM generate_series(1, 12) n;

-- and others are not: later, or done with
INSERT INTO notification_email_queue (id, user_id, notification_ids, status, scheduled_for, sent_at, error_message)
VALUES
	(fixture.id('batch', 13), fixture.id('user', 13), ARRAY[fixture.id('notification', 25)], 'pending', now() + interval '1 hour', NULL, NULL),
	(fixture.id('batch', 14), fixture.id('user', 14), ARRAY[fixture.id('notification', 27)], 'pending', now() + interval '1 day', NULL, NULL),
	(fixture.id('batch', 15), fixture.id('user', 15), ARRAY[fixture.id('notification', 29)], 'sent', now() - interval '1 hour', now() - interval '59 minutes', NULL),
	(fixture.id('batch', 16), fixture.id('user', 16), ARRAY[fixture.id('notification', 31)], 'sent', now() - interval '1 day', now() - interval '1 day', NULL),
	(fixture.id('batch', 17), fixture.id('user', 17), ARRAY[fixture.id('notification', 33)], 'failed', now() - interval '1 day', NULL, 'mailbox unavailable');

/* ----------------------------------------------------------------- payments */

-- primary contacts: user n of project n, for projects 1 to 9
UPDATE project_team SET is_primary_contact = true, user_id = fixture.id('user', number)
FROM generate_series(1, 9) number
WHERE project_id = fixture.id('project', number) AND removed_at IS NULL;

-- two of them in project 5: the lowest user id is written to, user 5
INSERT INTO project_team (project_id, user_id, is_primary_contact) VALUES
	(fixture.id('project', 5), fixture.id('user', 29), true);

-- the one of project 8 has left; project 10 has none
UPDATE project_team SET removed_at = now() - interval '10 days'
WHERE project_id = fixture.id('project', 8) AND is_primary_contact;

INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at, balance_paid, balance_paid_at)
SELECT fixture.id('project', n), advance_paid_at IS NOT NULL, advance_paid_at, balance_paid_at IS NOT NULL, balance_paid_at
FROM (VALUES
	-- 5 to remind
	(1, now() - interval '4 days', NULL),
	(2, now() - interval '3 days 1 hour', NULL),
	(3, now() - interval '30 days', NULL),
	(4, now() - interval '400 days', NULL),
	(5, now() - interval '10 days', NULL),
	-- reminded today
	(6, now() - interval '10 days', NULL),
	-- too early
	(7, now() - interval '2 days 23 hours', NULL),
	-- nobody to write to
	(8, now() - interval '10 days', NULL),
	(10, now() - interval '10 days', NULL),
	-- paid; not even the advance is
	(9, now() - interval '10 days', now() - interval '1 day'),
	(11, NULL, NULL)
) AS p (n, advance_paid_at, balance_paid_at);

INSERT INTO payment_reminders (id, project_id, type, status, scheduled_for, sent_at, recipient_email, recipient_user_id, email_subject, email_template)
SELECT fixture.id('reminder', n), fixture.id('project', project), 'BALANCE_DUE', status, at, sent_at,
	   (SELECT email FROM users WHERE id = fixture.id('user', project)), fixture.id('user', project),
	   'Payment Reminder: Balance Due', 'payment-reminder-balance'
FROM (VALUES
	(1, 6, 'SENT', now(), now()),
	-- earlier days do not count
	(2, 3, 'SENT', now() - interval '2 days', now() - interval '2 days'),
	(3, 4, 'FAILED', now() - interval '3 days', NULL::timestamptz)
) AS r (n, project, status, at, sent_at);

/* ------------------------------------------------------- what is to be found */

INSERT INTO fixture.expected (job, result) VALUES
	('cleanup_removed_team_members', '7'),
	('cleanup_expired_sessions', '42'),
	('cleanup_expired_email_verification_tokens', '13'),
	('cleanup_expired_password_reset_tokens', '9'),
	('expire_deliverables', '6'),
	('process_email_queue', '12'),
	('check_overdue_payments', '5');

INSERT INTO fixture.expected_mail (job, recipient, needles)
SELECT 'process_email_queue', u.email,
	   array_agg(n.title ORDER BY n.id) || array_agg(left(n.message, 30) ORDER BY n.id)
FROM notification_email_queue q
JOIN users u ON u.id = q.user_id
JOIN notifications n ON n.id = ANY (q.notification_ids)
WHERE q.status = 'pending' AND q.scheduled_for <= now()
GROUP BY q.id, u.email;

INSERT INTO fixture.expected_mail (job, recipient, needles)
SELECT 'check_overdue_payments', u.email, ARRAY[p.name]
FROM generate_series(1, 5) n
JOIN users u ON u.id = fixture.id('user', n)
JOIN projects p ON p.id = fixture.id('project', n);
