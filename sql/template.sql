-- Templates of mails: what they may be, what they become, and whose they are.
-- Nothing is committed that could be sent.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS motionify_jobs;
RESET client_min_messages;
SET motionify_jobs.smtp_url = 'smtp://mail.example.com';
SET motionify_jobs.mail_from = 'hello@motionify.studio';

-- one with all parts; only html is escaped
SELECT jobs.set_mail_template('welcome', 'Hello {{name}}', 'Dear {{name}}, {{{name}}}', '<p>Dear {{name}}, {{{name}}}</p>');
SELECT * FROM jobs.render('welcome', '{"name": "<b>Tom & \"Co\"</b>"}');
SELECT * FROM jobs.render('welcome');
SELECT * FROM jobs.render('welcome', 'null');
SELECT name, subject, body_text, body_html, role = current_user AS mine, updated_at <= now() AS dated FROM jobs.mail_templates;

-- kinds of values
SELECT jobs.set_mail_template('values', 'v', '{{s}}|{{n}}|{{d}}|{{big}}|{{t}}|{{f}}|{{null}}|{{missing}}|{{list}}|{{object}}|{{object.a.b}}|{{list.length}}|{{list.1}}');
SELECT body_text FROM jobs.render('values', '{"s": "ä", "n": 42, "d": 1.50, "big": 12345678901234567890.1234567890, "t": true, "f": false,
	"null": null, "list": [1, "two"], "object": {"a": {"b": "c"}}}');
SELECT jobs.set_mail_template('truth', NULL, '{{#x}}yes{{/x}}{{^x}}no{{/x}}');
SELECT x, (SELECT body_text FROM jobs.render('truth', jsonb_build_object('x', x::jsonb)))
FROM unnest(ARRAY['null', 'false', '0', '0.00', '-0', '""', '[]', 'true', '1', '0.1', '"0"', '" "', '{}', '[null]', '{"a": 1}']) x;
SELECT body_text FROM jobs.render('truth', '[]');
-- data need not be an object
SELECT jobs.set_mail_template('root', NULL, '{{#.}}({{.}}){{/.}}');
SELECT d, (SELECT body_text FROM jobs.render('root', d::jsonb)) FROM unnest(ARRAY['[1, 2, [3]]', '"text"', '7', 'true', 'null', '{}']) d;

-- lists, nested, standing alone on their lines
SELECT jobs.set_mail_template('invoice', 'Invoice {{number}}', $$Invoice {{number}}
{{#items}}
* {{title}}: {{price}} {{currency}}
  {{#notes}}
  - {{.}}
  {{/notes}}
{{/items}}
{{^items}}
Nothing.
{{/items}}
{{! end }}
$$);
SELECT body_text FROM jobs.render('invoice', '{"number": 7, "currency": "EUR", "items": [{"title": "A", "price": 1.10, "notes": ["x", "y"]}, {"title": "B", "price": 2}]}');
SELECT body_text FROM jobs.render('invoice', '{"number": 8}');

-- partials: the same part of another template
SELECT jobs.set_mail_template('letter', '{{> footer}}!', E'Dear {{name}},\n  {{> footer}}\n', '<p>{{name}}</p>{{> footer}}');
SELECT body_text, body_html FROM jobs.render('letter', '{"name": "Ada", "org": "A&B"}');
SELECT jobs.set_mail_template('footer', 'from {{org}}', E'--\n{{org}}\n', '<hr>{{org}}');
SELECT * FROM jobs.render('letter', '{"name": "Ada", "org": "A&B"}');
-- a change is seen at once, and gone with its transaction
BEGIN;
SELECT jobs.set_mail_template('footer', NULL, '-- changed', NULL);
SELECT * FROM jobs.render('letter', '{"name": "Ada", "org": "A&B"}');
ROLLBACK;
SELECT body_html FROM jobs.render('letter', '{"name": "Ada", "org": "A&B"}');
SELECT jobs.drop_mail_template('footer');
SELECT body_html FROM jobs.render('letter', '{"name": "Ada", "org": "A&B"}');
-- one that includes itself follows the data
SELECT jobs.set_mail_template('tree', NULL, '{{name}}({{#kids}}{{> tree}}{{/kids}})');
SELECT body_text FROM jobs.render('tree', '{"name": "a", "kids": [{"name": "b", "kids": []}, {"name": "c", "kids": [{"name": "d", "kids": []}]}]}');

-- what is no template
SELECT jobs.set_mail_template('broken', 'Hello {{name', 'text');
SELECT jobs.set_mail_template('broken', 'Hello', E'Dear\n{{#items}}\n* {{title}}\n');
SELECT jobs.set_mail_template('broken', 'Hello', 'text', '<p>{{/items}}</p>');
\set VERBOSITY terse
SELECT jobs.set_mail_template('broken', 'Hello', '{{#a}}{{#b}}{{/a}}{{/b}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{=x=}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{first name}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{}}');
SELECT jobs.set_mail_template('broken', 'Hello', repeat('{{#a}}', 1000));
SELECT jobs.set_mail_template('broken', 'Hello', repeat('x', 1048577));
-- habits of Handlebars
\set VERBOSITY default
SELECT jobs.set_mail_template('broken', 'Hello', '{{#each items}}{{this}}{{/each}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{#if paid}}Thanks{{else}}Please pay{{/if}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{#paid}}Thanks{{else}}Please pay{{/paid}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{/each}}');
SELECT jobs.set_mail_template('broken', 'Hello', '{{#items}}{{this.name}}{{/items}}');
-- swapped arguments
SELECT jobs.set_mail_template('Hello {{name}}', 'hello', 'text');
SELECT jobs.set_mail_template('hello', 'Hello', '<p>Hello</p>', 'Hello');
\set VERBOSITY terse
SELECT jobs.set_mail_template('', 'Hello', 'text');
SELECT jobs.set_mail_template(repeat('x', 64), 'Hello', 'text');
SELECT jobs.set_mail_template(NULL, 'Hello', 'text');
SELECT jobs.set_mail_template('empty', NULL, NULL);
SELECT jobs.set_mail_template('lines', E'two\nlines', 'text');
SELECT jobs.set_mail_template('mine', 'Hello', 'text', role => 'regress_mj_no_such_role');
SELECT count(*) FROM jobs.mail_templates WHERE name IN ('broken', 'hello', 'empty', 'lines', 'mine');
-- one that is not there
\set VERBOSITY default
SELECT * FROM jobs.render('welcom');
SELECT * FROM jobs.render('Hello {{name}}', '{"name": "Ada"}');
\set VERBOSITY terse
SELECT * FROM jobs.render(NULL);
SELECT jobs.drop_mail_template('nothing like it');
BEGIN READ ONLY;
SELECT jobs.set_mail_template('welcome', 'Hello', 'text');
ROLLBACK;

-- mails
BEGIN;
SELECT jobs.send_mail('a@example.com', template => 'welcome', data => '{"name": "<Ada>"}') > 0 AS queued;
SELECT jobs.send_mail('b@example.com', template => 'welcome') > 0 AS queued;
-- what is given counts
SELECT jobs.send_mail('c@example.com', 'Another {{name}}', template => 'welcome', data => '{"name": "Ada"}') > 0 AS queued;
SELECT jobs.send_mail('d@example.com', body_text => 'plain', template => 'welcome', data => '{"name": "Ada"}') > 0 AS queued;
SELECT jobs.send_mail('e@example.com', 'Truth', template => 'truth', data => '{"x": 1}') > 0 AS queued;
SELECT recipient, subject, body_text, body_html FROM jobs.mail ORDER BY mail_id;
-- what was rendered stays
SELECT jobs.drop_mail_template('welcome');
SELECT subject FROM jobs.outbox WHERE recipient = 'a@example.com';
ROLLBACK;
SELECT jobs.send_mail('a@example.com', template => 'no such');
SELECT jobs.send_mail('a@example.com', template => 'truth');
SELECT jobs.send_mail('a@example.com', 'subject', 'text', data => '{}');
SELECT jobs.send_mail('a@example.com');
SELECT jobs.send_mail('a@example.com', 'subject');
-- no header gets in by the data
\set VERBOSITY default
SELECT jobs.send_mail('a@example.com', template => 'welcome', data => '{"name": "Ada\r\nBcc: b@example.com"}');
SELECT jobs.send_mail('a@example.com', template => 'welcome', data => '{"name": "Ada\nX: y"}');
\set VERBOSITY terse
SELECT jobs.send_mail('a@example.com', template => 'welcome', data => '{"name": "Ada\u0001"}');
SELECT subject FROM jobs.render('welcome', '{"name": "Ada\rX: y"}');
SELECT count(*) FROM jobs.outbox;

-- hostile data and templates: bounded, whatever they are
SELECT body_html FROM jobs.render('welcome', '{"name": "<script>alert(''x'')</script>\" onload=\"x"}');
SELECT jobs.set_mail_template('loop', NULL, '{{> loop}}');
SELECT jobs.render('loop');
SELECT jobs.set_mail_template('ping', NULL, E'  {{> pong}}\n');
SELECT jobs.set_mail_template('pong', NULL, E'  {{> ping}}\n');
SELECT jobs.render('ping');
SELECT jobs.set_mail_template('product', NULL, '{{#l}}{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}{{/l}}');
SELECT jobs.render('product', jsonb_build_object('l', (SELECT jsonb_agg(i) FROM generate_series(1, 1000) i)));
SELECT jobs.set_mail_template('flood', NULL, '{{#l}}{{#l}}{{s}}{{/l}}{{/l}}');
SELECT jobs.render('flood', jsonb_build_object('l', (SELECT jsonb_agg(i) FROM generate_series(1, 1000) i), 's', repeat('x', 1000)));
SELECT length(body_text), md5(body_text) = md5('Dear ' || repeat('&<', 500000) || ', ' || repeat('&<', 500000)) AS same, length(body_html)
FROM jobs.render('welcome', jsonb_build_object('name', repeat('&<', 500000)));
-- data that is deep: as deep as the template goes, no more
SELECT jobs.set_mail_template('deep', NULL, '{{#a}}{{> deep}}{{/a}}{{^a}}end{{/a}}');
SELECT body_text FROM jobs.render('deep', (repeat('{"a":', 99) || 'false' || repeat('}', 99))::jsonb);
SELECT body_text FROM jobs.render('deep', (repeat('{"a":', 2000) || 'false' || repeat('}', 2000))::jsonb);
SELECT length(body_text) FROM jobs.render('root', (repeat('[', 1000) || '1' || repeat(']', 1000))::jsonb);
SELECT count(*) FROM generate_series(1, 300) i, jobs.set_mail_template('many' || i, NULL, i || '{{> many' || i - 1 || '}}');
SELECT body_text FROM jobs.render('many10');
SELECT count(DISTINCT r.body_text) FROM jobs.mail_templates t, jobs.render(t.name) r WHERE t.name LIKE 'many%' AND length(t.name) < 7;
SELECT count(*) FROM jobs.mail_templates t, jobs.drop_mail_template(t.name) WHERE t.name LIKE 'many%';

-- whose they are
\set VERBOSITY default
CREATE ROLE regress_mj_nobody;
CREATE ROLE regress_mj_mailer;
CREATE ROLE regress_mj_other;
CREATE ROLE regress_mj_member IN ROLE regress_mj_other;
SELECT jobs.grant_usage('regress_mj_mailer', 'mailer');
SELECT jobs.grant_usage('regress_mj_other', 'mailer');
SELECT jobs.grant_usage('regress_mj_member', 'mailer');
SET ROLE regress_mj_nobody;
SELECT jobs.set_mail_template('his', 'Hello', 'text');
SELECT jobs.render('welcome');
SELECT * FROM jobs.mail_template;
\set VERBOSITY terse
SELECT jobs.drop_mail_template('welcome');
SELECT * FROM jobs.mail_templates;
SET ROLE regress_mj_other;
SELECT jobs.set_mail_template('others', 'Hello', 'of another role: {{> footer}}');
-- those of the extension's owner are for all, but not to be changed
SELECT subject FROM jobs.render('welcome', '{"name": "x"}');
SELECT jobs.set_mail_template('welcome', 'Hello', 'text');
SELECT jobs.drop_mail_template('welcome');
SET ROLE regress_mj_mailer;
\set VERBOSITY default
SELECT * FROM jobs.render('others');
SELECT jobs.set_mail_template('others', 'Hello', 'text');
SELECT jobs.set_mail_template('mine', 'Hello', 'text', role => 'regress_mj_other');
\set VERBOSITY terse
SELECT jobs.drop_mail_template('others');
SELECT jobs.send_mail('a@example.com', template => 'others');
SELECT jobs.set_mail_template('mine', 'Hello', 'By a partial: {{> others}}');
SELECT jobs.render('mine');
SELECT name, role FROM jobs.mail_templates WHERE role LIKE 'regress%' ORDER BY name;
SELECT * FROM jobs.render('other');
SET ROLE regress_mj_member;
SELECT body_text FROM jobs.render('others');
SELECT jobs.set_mail_template('others', 'Hello', 'by a member');
SELECT jobs.set_mail_template('members', 'Hello', 'for others', role => 'regress_mj_other');
SELECT name, role FROM jobs.mail_templates WHERE role LIKE 'regress%' ORDER BY name;
RESET ROLE;
-- a renamed role keeps its own, a namesake of a dropped one does not get them
ALTER ROLE regress_mj_other RENAME TO regress_mj_renamed;
SET ROLE regress_mj_renamed;
SELECT body_text FROM jobs.render('others');
RESET ROLE;
CREATE ROLE regress_mj_other;
SELECT jobs.grant_usage('regress_mj_other', 'mailer');
SET ROLE regress_mj_other;
SELECT body_text FROM jobs.render('others');
RESET ROLE;
-- who owns the extension, and a superuser, may all
SELECT body_text FROM jobs.render('others');
SELECT jobs.set_mail_template('others', 'Hello', 'changed');
SELECT name, role FROM jobs.mail_templates WHERE name = 'others';
SELECT count(*) FROM jobs.mail_templates t, jobs.drop_mail_template(t.name);
SELECT count(*) FROM jobs.mail_template_role;
SELECT jobs.revoke_usage(r, 'mailer') FROM unnest('{regress_mj_mailer,regress_mj_other,regress_mj_renamed,regress_mj_member}'::name[]) r;
DROP ROLE regress_mj_nobody, regress_mj_mailer, regress_mj_other, regress_mj_member, regress_mj_renamed;
