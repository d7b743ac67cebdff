/*
 * portal_month.sql -- what happens at a portal within a month, from :start on
 *
 * psql variables: portal, a schema with the tables of portal.sql (kind base),
 * portal_variant.sql (variant) or portal_partial.sql (partial); start.  What
 * the jobs must make of it goes to schema plan.
 */

CREATE SCHEMA IF NOT EXISTS plan;

-- rows that a cleanup has to find from this instant on
CREATE TABLE IF NOT EXISTS plan.row (portal text, job text, at timestamptz);

-- batches, when they may be sent, and what becomes of them: mail, closed, failed, abandoned
CREATE TABLE IF NOT EXISTS plan.batch (portal text, nr integer, at timestamptz, outcome text);

-- projects, from when to when they are to be reminded, and whom
CREATE TABLE IF NOT EXISTS plan.project (portal text, nr integer, from_time timestamptz, to_time timestamptz);

-- the same uuid each time
CREATE OR REPLACE FUNCTION plan.id(number integer) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$ SELECT format('00000000-0000-4000-8000-%s', lpad(number::text, 12, '0'))::uuid $$;

CREATE TEMP TABLE moment AS
SELECT 'cleanup_removed_team_members' AS job, n AS nr, :'start'::timestamptz - interval '3 days 1 minute' + n * interval '17 hours 11 minutes' AS at FROM generate_series(1, 60) n
UNION ALL
SELECT 'cleanup_expired_sessions', n, :'start'::timestamptz - interval '2 days 1 minute' + n * interval '3 hours 7 minutes' FROM generate_series(1, 300) n
UNION ALL
SELECT 'cleanup_expired_email_verification_tokens', n, :'start'::timestamptz - interval '9 days 1 minute' + n * interval '7 hours 3 minutes' FROM generate_series(1, 140) n
UNION ALL
SELECT 'cleanup_expired_password_reset_tokens', n, :'start'::timestamptz - interval '1 day 1 minute' + n * interval '5 hours 1 minute' FROM generate_series(1, 180) n
UNION ALL
SELECT 'expire_deliverables', n, :'start'::timestamptz - interval '5 days 1 minute' + n * interval '26 hours 17 minutes' FROM generate_series(1, 40) n;

-- 36 batches; those of user 9 fail, 7 is paused until noon of the 14th (where
-- there are preferences), 8 has no address, and the notifications of 10 and 20
-- are gone
CREATE TEMP TABLE batch AS
SELECT n AS nr, CASE WHEN n IN (10, 20) THEN 1 ELSE 1 + n % 9 END AS user_nr,
	   :'start'::timestamptz + n * interval '19 hours 13 minutes' AS at
FROM generate_series(1, 36) n;

-- the advance of project n is paid at the (4 n - 6)th day, and the balance of the even ones 9 days later
CREATE TEMP TABLE project AS
SELECT n AS nr, :'start'::timestamptz + (4 * n - 6) * interval '1 day' + interval '1 hour 30 minutes' AS advance,
	   CASE WHEN n % 2 = 0 THEN :'start'::timestamptz + (4 * n + 3) * interval '1 day' + interval '1 hour 30 minutes' END AS balance
FROM generate_series(1, 8) n;

SET search_path = :"portal";
SELECT :'kind' = 'base' AS is_base, :'kind' = 'variant' AS is_variant, :'kind' = 'partial' AS is_partial \gset

INSERT INTO plan.row SELECT :'portal', job, at FROM moment
WHERE NOT :'is_partial' OR job = 'cleanup_expired_sessions';
INSERT INTO plan.batch
SELECT :'portal', nr, CASE WHEN :'is_variant' AND user_nr = 7 AND nr % 2 = 0 THEN greatest(at, :'start'::timestamptz + interval '13 days 12 hours') ELSE at END,
	   CASE WHEN nr IN (10, 20) THEN 'closed'
			WHEN user_nr = 8 THEN 'failed'
			WHEN user_nr = 9 THEN CASE WHEN :'is_variant' THEN 'abandoned' ELSE 'failed' END
			ELSE 'mail' END
FROM batch;
INSERT INTO plan.project SELECT :'portal', nr, advance + interval '3 days', balance FROM project WHERE NOT :'is_partial';

\if :is_base
INSERT INTO users (id, email, name)
SELECT plan.id(n), CASE WHEN n = 8 THEN ' ' ELSE format('u%s@%s.example', n, replace(:'portal', '_', '-')) END, 'User ' || n FROM generate_series(1, 9) n;
INSERT INTO projects (id, name) SELECT plan.id(n), format('%s film %s', :'portal', n) FROM generate_series(1, 100) n;
INSERT INTO project_team (project_id, user_id, removed_at)
SELECT plan.id(20 + nr), plan.id(1), at - interval '90 days' FROM moment WHERE job = 'cleanup_removed_team_members';
INSERT INTO project_team (project_id, user_id, is_primary_contact) SELECT plan.id(nr), plan.id(1 + nr % 3), true FROM project;
INSERT INTO sessions (id, user_id, expires_at) SELECT plan.id(nr), plan.id(1), at FROM moment WHERE job = 'cleanup_expired_sessions';
INSERT INTO email_verification_tokens (id, user_id, token_hash, expires_at)
SELECT plan.id(nr), plan.id(1), '', at FROM moment WHERE job = 'cleanup_expired_email_verification_tokens';
INSERT INTO password_reset_tokens (id, user_id, token_hash, expires_at)
SELECT plan.id(nr), plan.id(1), '', at FROM moment WHERE job = 'cleanup_expired_password_reset_tokens';
INSERT INTO deliverables (id, project_id, title, status, expires_at)
SELECT plan.id(nr), plan.id(1), '', 'delivered', at FROM moment WHERE job = 'expire_deliverables';
INSERT INTO notifications (id, user_id, title, message, created_at)
SELECT plan.id(10 * nr + k), plan.id(user_nr), format('%s batch %s, news %s', :'portal', nr, k), 'There is news.', at
FROM batch, generate_series(1, 1 + nr % 3) k WHERE nr NOT IN (10, 20);
INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for)
SELECT plan.id(nr), plan.id(user_nr), ARRAY(SELECT plan.id(10 * nr + k) FROM generate_series(1, 1 + nr % 3) k), at FROM batch;
INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) SELECT plan.id(nr), true, advance FROM project;
\endif

\if :is_variant
INSERT INTO users (id, email, full_name)
SELECT plan.id(n), CASE WHEN n <> 8 THEN format('u%s@variant.example', n) END, 'User ' || n FROM generate_series(6, 9) n;
INSERT INTO projects SELECT n, format('%s film %s', :'portal', n) FROM generate_series(5, 100) n;
UPDATE projects SET project_name = format('%s film %s', :'portal', id) WHERE id < 5;
INSERT INTO project_team (project_id, user_id, removed_at)
SELECT 20 + nr, plan.id(1), at - interval '90 days' FROM moment WHERE job = 'cleanup_removed_team_members';
DELETE FROM project_team WHERE project_id < 9;
INSERT INTO project_team (project_id, user_id, is_primary_contact) SELECT nr, plan.id(1 + nr % 3), true FROM project;
INSERT INTO sessions (id, user_id, expires_at) SELECT nr, plan.id(1), at FROM moment WHERE job = 'cleanup_expired_sessions';
INSERT INTO email_verification_tokens SELECT nr, at FROM moment WHERE job = 'cleanup_expired_email_verification_tokens';
INSERT INTO tokens SELECT nr, 'reset', at FROM moment WHERE job = 'cleanup_expired_password_reset_tokens';
INSERT INTO tokens SELECT 'other ' || nr, 'other', at FROM moment WHERE job = 'cleanup_expired_password_reset_tokens';
INSERT INTO deliverables SELECT nr, 'delivered', at FROM moment WHERE job = 'expire_deliverables';
INSERT INTO deliverables SELECT 100 + nr, NULL, at FROM moment WHERE job = 'expire_deliverables';
INSERT INTO notifications (id, user_id, project_id, title, message, actor_name, action_url, action_label, created_at, deleted_at)
SELECT plan.id(10 * nr + k), plan.id(user_nr), 1 + nr % 8, format('%s batch %s, news %s', :'portal', nr, k), '<i>"Nice"</i> & good.', 'Ada & Bob',
	   '/projects/7?a=1&b="2"', 'Open <it>', at, CASE WHEN k = 4 OR nr IN (10, 20) THEN at END
FROM batch, generate_series(1, 4) k;
INSERT INTO user_notification_preferences (user_id, paused_until) VALUES (plan.id(7), :'start'::timestamptz + interval '13 days 12 hours'), (plan.id(1), '2000-01-01');
INSERT INTO notification_email_queue (id, user_id, project_id, email_type, notification_ids, scheduled_for)
SELECT plan.id(nr), plan.id(user_nr), 1 + nr % 8, CASE WHEN nr % 2 = 0 THEN 'digest' ELSE 'individual' END,
	   ARRAY(SELECT plan.id(10 * nr + k) FROM generate_series(1, CASE WHEN nr % 2 = 0 THEN 4 ELSE 1 END) k), at FROM batch;
UPDATE notification_email_queue SET subject = 'Our own subject', body_html = '<p>variant batch 5, news 1</p>', body_text = 'variant batch 5, news 1' WHERE id = plan.id(5);
INSERT INTO project_payment_status
SELECT nr, CASE WHEN nr % 2 = 0 THEN 'INR' WHEN nr > 1 THEN 'USD' END, CASE WHEN nr < 7 THEN 12345678 END, advance FROM project;
\endif

\if :is_partial
INSERT INTO users SELECT n, CASE WHEN n <> 8 THEN format('u%s@%s.example', n, replace(:'portal', '_', '-')) END, 'User ' || n FROM generate_series(1, 9) n;
INSERT INTO sessions SELECT nr, at FROM moment WHERE job = 'cleanup_expired_sessions';
INSERT INTO notifications SELECT 10 * nr + 1, user_nr, format('%s batch %s, news 1', :'portal', nr), '', NULL, NULL, at FROM batch WHERE nr NOT IN (10, 20);
INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for) SELECT nr, user_nr, ARRAY[(10 * nr + 1)::text], at FROM batch;
\endif

DROP TABLE moment, batch, project;
RESET search_path;
