# The portal pack: install_portal() on the portal's tables, and what its jobs
# do to them, with mail going to a real SMTP server.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# a deadline for run_now, and for the sessions that run at once
$ENV{PGOPTIONS} = "-c statement_timeout=${MjTest::deadline}s";

my $receiver = start_receiver();
my $node = new_node('portal',
    shim => 1,
    extension => 0,
    conf => "motionify_jobs.smtp_url = '" . $receiver->url . "'\n"
      . "motionify_jobs.smtp_tls = off\n"
      . "motionify_jobs.smtp_timeout = '10s'\n");

my @jobs = qw(cleanup_removed_team_members cleanup_expired_sessions
  cleanup_expired_email_verification_tokens cleanup_expired_password_reset_tokens
  expire_deliverables process_email_queue check_overdue_payments);

# --- helpers --------------------------------------------------------------------

# SQL as the portal's role, which owns the tables and runs the jobs.
sub portal
{
    my ($sql) = @_;
    return $node->safe_psql('portal', $sql, extra_params => [ '-U', 'portal' ]);
}

sub run_job
{
    my ($job) = @_;
    return run_and_wait($node, $job, 'portal');
}

# The server's clock: so many hours after midnight, UTC, of a day to come.  No
# midnight comes while the test runs, for reminders are by the day.
sub set_server_time
{
    my ($day, $hours) = @_;
    shift_server_clock($node, $day * 86400 + $hours * 3600 - time % 86400);
    return;
}

# status and sqlstate of a job's last run
sub last_run
{
    my ($job) = @_;
    return portal("SELECT status, sqlstate FROM jobs.history WHERE job = '$job' ORDER BY run_id DESC LIMIT 1");
}

# install(schema[, prefix]): installs the pack, as { job => status }, and pauses
# its jobs in the same transaction, so that only the test runs them.
sub install
{
    my ($schema, $prefix, $names) = @_;
    $prefix = '' unless defined $prefix;
    my $rows = portal(<<SQL);
BEGIN;
SELECT job, status, detail FROM jobs.install_portal('$schema', '$prefix');
SELECT FROM jobs.status s, jobs.pause(s.job) WHERE NOT s.paused;
COMMIT;
SQL
    my (%status, %detail);
    foreach my $row (split /\n/, $rows)
    {
        my ($job, $status, $detail) = split /\|/, $row, 3;
        next unless defined $status;
        ($status{$job}, $detail{$job}) = ($status, $detail);
    }
    return (\%status, \%detail);
}

# how many batches or reminders are in each state: "pending 2, sent 3"
sub states
{
    my ($table) = @_;
    return portal("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status COLLATE \"C\") "
          . "FROM (SELECT status, count(*) AS n FROM $table GROUP BY status) s");
}

# add_batches(first, last, columns...): batches due now, one notification each,
# for a new user each, named after their numbers.
sub add_batches
{
    my ($first, $last) = @_;
    portal(<<SQL);
INSERT INTO users (id, email, name)
SELECT fixture.id('user', n), 'user' || n || '\@example.org', 'User ' || n FROM generate_series($first, $last) n;
INSERT INTO notifications (id, user_id, title, message)
SELECT fixture.id('notification', n), fixture.id('user', n), 'News ' || n, 'There is news' FROM generate_series($first, $last) n;
INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for)
SELECT fixture.id('batch', n), fixture.id('user', n), ARRAY[fixture.id('notification', n)], now() FROM generate_series($first, $last) n;
SQL
    return;
}

# A project whose balance is due, with a primary contact of its own.
sub add_overdue_projects
{
    my ($first, $last) = @_;
    portal(<<SQL);
INSERT INTO users (id, email, name)
SELECT fixture.id('user', n), 'payer' || n || '\@example.org', 'Payer ' || n FROM generate_series($first, $last) n;
INSERT INTO projects (id, name) SELECT fixture.id('project', n), 'Project ' || n FROM generate_series($first, $last) n;
INSERT INTO project_team (project_id, user_id, is_primary_contact)
SELECT fixture.id('project', n), fixture.id('user', n), true FROM generate_series($first, $last) n;
INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at)
SELECT fixture.id('project', n), true, now() - interval '5 days' FROM generate_series($first, $last) n;
SQL
    return;
}

# the state and the error of a batch
sub batch
{
    my ($n) = @_;
    return portal("SELECT status, error_message FROM notification_email_queue WHERE id = fixture.id('batch', $n)");
}

# how many mails each address got since there were $from of them: "a 1, b 2"
sub recipients_since
{
    my ($from) = @_;
    my @mails = $receiver->mails;
    my %count;
    $count{ $_->{rcpt_tos}[0] }++ foreach @mails[ $from .. $#mails ];
    return join ', ', map { "$_ $count{$_}" } sort keys %count;
}

# A session of the portal's role, with statements, each by itself.
sub session
{
    my ($out, $err, @sql) = @_;
    return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
            map { ('-c', $_) } @sql ], '>', $out, '2>', $err);
}

# hold(@sql): a session that has done that, and then stays in its transaction
# with advisory lock 7, until release($session).
sub hold
{
    my @sql = @_;
    my ($out, $err) = ('', '');
    my $session = session(\$out, \$err, @sql, 'SELECT pg_advisory_lock(7), pg_sleep(600)');
    poll_until($node, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND granted");
    return $session;
}

sub release
{
    my ($session) = @_;
    $node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND granted");
    $session->finish;
    return;
}

# two_at_once($sql): two sessions that start at the same moment; what they say.
sub two_at_once
{
    my ($sql) = @_;
    my (@out, @err);
    my $gate = hold();
    my @sessions = map {
        session(\$out[$_], \$err[$_], 'SET client_min_messages = warning',
            "SELECT '' FROM pg_advisory_lock_shared(7)", $sql)
    } (0, 1);
    poll_until($node, "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted");
    release($gate);
    $_->finish foreach @sessions;
    is(join('', @err), '', 'two at once: no error');
    return map { /(\d+)/ ? $1 : "'$_'" } @out;
}

# --- the base schema --------------------------------------------------------------

set_server_time(1, 8);
$node->safe_psql('postgres', 'CREATE ROLE portal LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE portal OWNER portal');
$node->safe_psql('portal', <<'SQL');
CREATE EXTENSION motionify_jobs;
SELECT jobs.grant_usage('portal', 'user'), jobs.grant_usage('portal', 'mailer');
SQL
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
        '-f', "$FindBin::Bin/../data/portal.sql" ], 'the portal is there');

my ($status, $detail) = install('public');
is_deeply($status, { map { $_ => 'installed' } @jobs }, 'all jobs are installed');
is($node->safe_psql('portal', <<'SQL'), <<'TABLE' =~ s/\n\z//r, 'with their schedules, groups and commands');
SELECT name, schedule, job_group, command, role FROM jobs.job ORDER BY name
SQL
check_overdue_payments|0 10 * * *|payments|CALL public.check_overdue_payments()|portal
cleanup_expired_email_verification_tokens|0 4 * * 0|cleanup|CALL public.cleanup_expired_email_verification_tokens_in_batches()|portal
cleanup_expired_password_reset_tokens|10 4 * * 0|cleanup|CALL public.cleanup_expired_password_reset_tokens_in_batches()|portal
cleanup_expired_sessions|0 3 * * *|cleanup|CALL public.cleanup_expired_sessions_in_batches()|portal
cleanup_removed_team_members|0 2 * * *|cleanup|CALL public.cleanup_removed_team_members_in_batches()|portal
expire_deliverables|0 5 * * *|cleanup|CALL public.expire_deliverables_in_batches()|portal
process_email_queue|* * * * *|email|CALL public.process_email_queue()|portal
TABLE
is(portal(<<'SQL'), '12|12|0', 'routines of the installer, no members of the extension');
SELECT count(*), count(*) FILTER (WHERE proowner = 'portal'::regrole),
       (SELECT count(*) FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        AND d.objid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace))
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
SQL

my %expected = split /[|\n]/, portal('SELECT job, result FROM fixture.expected');
foreach my $job (@jobs)
{
    my $run = run_job($job);
    is("$run->{status} " . ($run->{result} // $run->{error}), "succeeded $expected{$job}", "$job finds what was planted");
}
is(states('notification_email_queue'), 'failed 1, pending 2, sent 14', 'the batches are marked sent');
is(portal("SELECT count(*) FROM notification_email_queue WHERE status = 'sent' AND sent_at IS NULL OR status = 'processing'"),
    '0', 'with the time');
is(states('payment_reminders'), 'FAILED 1, SENT 7', 'the reminders are marked sent');
is(portal("SELECT DISTINCT type, email_subject, email_template, payment_id, sent_at IS NOT NULL FROM payment_reminders WHERE status = 'SENT'"),
    'BALANCE_DUE|Payment Reminder: Balance Due|payment-reminder-balance||t', 'and filled in');
is(portal("SELECT count(*) FROM deliverables WHERE status IS NULL OR expires_at IS NULL"), '3', 'NULLs are left alone');

# --- the mails ------------------------------------------------------------------------

my @mails = $receiver->wait_mails(17);
is(scalar @mails, 17, 'one mail a batch and a reminder');
my $wanted = decode_json(portal('SELECT json_agg(m) FROM fixture.expected_mail m'));
foreach my $want (@$wanted)
{
    my $subject = $want->{job} eq 'process_email_queue' ? 'You have 2 new notifications' : 'Payment Reminder: Balance Due';
    my @match = grep { $_->{rcpt_tos}[0] eq $want->{recipient} && $_->{subject} eq $subject } @mails;
    is(scalar @match, 1, "$want->{job}: one mail to $want->{recipient}") or next;
    my $html = $match[0]{html} // '';
    $html =~ s/&lt;/</g, $html =~ s/&gt;/>/g, $html =~ s/&quot;/"/g, $html =~ s/&#39;/'/g, $html =~ s/&amp;/&/g;
    my @lacks = grep { index($match[0]{text} // '', $_) < 0 || index($html, $_) < 0 } @{ $want->{needles} };
    is_deeply(\@lacks, [], 'which says it all, in text and HTML');
}
is_deeply([ grep { $_->{content_type} ne 'multipart/alternative' || @{ $_->{defects} } || !$_->{crlf_only} } @mails ],
    [], 'well-formed, of text and HTML');
is(join('; ', sort keys %{ { map { ("$_->{from}, $_->{reply_to}" => 1) } @mails } }),
    'Motionify Portal <hello@motionify.studio>, noreply@motionify.studio', "with the portal's From and Reply-To");

my ($hostile) = grep { $_->{rcpt_tos}[0] eq 'bold+sons@example.com' && $_->{subject} =~ /^You/ } @mails;
unlike($hostile->{html}, qr/<script|<b>/, 'no markup of a notification or a name gets into HTML');
like($hostile->{html}, qr/&lt;script&gt;alert\(1\)&lt;\/script&gt;/, 'it is shown as it is');
like($hostile->{html}, qr/Hello &lt;b&gt;Bold &amp; Sons&lt;\/b&gt;,/, 'so is the name');
is(portal(q{SELECT jobs.portal_button('javascript:alert(1)', '"><i>') ~ '<(a|i)[ >]'}), 'f', 'only web addresses are linked');

# --- again --------------------------------------------------------------------------------

is(run_job($_)->{result}, '0', "$_ finds nothing more") foreach @jobs;
is(scalar($receiver->mails), 17, 'and no mail is sent');

portal(<<'SQL');
SELECT jobs.reschedule('cleanup_expired_sessions', '30 1 * * *');
SELECT jobs.schedule('expire_deliverables', '0 5 * * *', 'CALL public.expire_deliverables_in_batches()', timezone => 'Asia/Kolkata');
SELECT jobs.resume('expire_deliverables');
SELECT jobs.schedule('cleanup_removed_team_members', '0 2 * * *', 'SELECT public.cleanup_removed_team_members() WHERE true');
SQL
($status, $detail) = (split /\n/, portal('SELECT DISTINCT status FROM jobs.install_portal()'))[ 0, 1 ];
is($status . ($detail // ''), 'unchanged', 'installed again: nothing to do');
is(portal("SELECT job, schedule, timezone, paused FROM jobs.status WHERE job IN ('cleanup_expired_sessions', 'expire_deliverables') ORDER BY job"),
    "cleanup_expired_sessions|30 1 * * *|UTC|t\nexpire_deliverables|0 5 * * *|Asia/Kolkata|f",
    'schedule, zone and pause stay as they were changed');
is(portal("SELECT command FROM jobs.portal_installed WHERE name = 'cleanup_removed_team_members'"),
    'SELECT public.cleanup_removed_team_members() WHERE true', 'so does a command');
portal("SELECT jobs.schedule('cleanup_removed_team_members', '0 2 * * *', 'SELECT public.cleanup_removed_team_members()'), jobs.pause('expire_deliverables')");

portal('DROP FUNCTION cleanup_expired_sessions()');
($status) = install('public');
is($status->{cleanup_expired_sessions}, 'updated', 'a routine that is gone comes back');
is($status->{expire_deliverables}, 'unchanged', 'alone');

# --- two at once ----------------------------------------------------------------------------

add_batches(101, 140);
my $before = scalar $receiver->mails;
my @results = two_at_once('CALL public.process_email_queue()');
is($results[0] + $results[1], 40, 'two runners at once count each batch once');
is(recipients_since($before), join(', ', map { "user$_\@example.org 1" } 101 .. 140), 'and send it once');
is(states('notification_email_queue'), 'failed 1, pending 2, sent 54', 'and mark it');

# a batch that another session is busy with does not stop the others
add_batches(141, 142);
my $busy = hold('BEGIN', "SELECT FROM notification_email_queue WHERE id = fixture.id('batch', 141) FOR UPDATE");
is(run_job('process_email_queue')->{result}, '1', 'a batch that is locked is left to its session');
is(batch(141) . ' ' . batch(142), 'pending| sent|', 'and nothing waits for it');
release($busy);
is(run_job('process_email_queue')->{result}, '1', 'then it is sent');

add_overdue_projects(201, 210);
$before = scalar $receiver->mails;
@results = two_at_once('CALL public.check_overdue_payments()');
is($results[0] + $results[1], 10, 'two checks at once count each reminder once');
is(recipients_since($before), join(', ', map { "payer$_\@example.org 1" } 201 .. 210), 'and send it once');
is(states('payment_reminders'), 'FAILED 1, SENT 17', 'and write one row each');

# --- what goes wrong -------------------------------------------------------------------------

# a batch without an address, one without notifications, one left by a dead
# sender, one that a living one may still have, one that the server refuses
# for good, and one that it takes later
add_batches(301, 306);
portal(<<'SQL');
UPDATE users SET email = ' ' WHERE id = fixture.id('user', 301);
DELETE FROM notifications WHERE id = fixture.id('notification', 302);
UPDATE notification_email_queue SET status = 'processing', scheduled_for = now() - interval '16 minutes' WHERE id = fixture.id('batch', 303);
UPDATE notification_email_queue SET status = 'processing', scheduled_for = now() - interval '14 minutes' WHERE id = fixture.id('batch', 304);
SQL
$receiver->behave({ rcpt => {
        'user305@example.org' => '550 5.7.1 not wanted',
        'user306@example.org' => '451 4.3.0 try again later' } });
$before = scalar $receiver->mails;
is(run_job('process_email_queue')->{result}, '1', 'what can be sent is sent');
is(recipients_since($before), 'user303@example.org 1', 'the batch of a dead sender is taken over');
is(batch(301), 'failed|the user has no e-mail address', 'no address: failed with the reason');
is(batch(302), 'sent|closed without a mail: no notifications are left', 'nothing left to send: closed');
is(batch(304), 'processing|', 'what another sender has begun is left to it for 15 minutes');
is(batch(305), 'failed|550 5.7.1 not wanted', 'refused: failed with what the server said');
is(batch(306), 'processing|451 4.3.0 try again later', 'to be tried again: in process, and why');

$receiver->behave({});
set_server_time(1, 8.5);
is(run_job('process_email_queue')->{result}, '2', 'tried again when it is due, and the other sender has had its time');
is(recipients_since($before + 1), 'user304@example.org 1, user306@example.org 1', 'each once');
is(batch(306), 'sent|', 'and then it is sent');
portal("UPDATE notification_email_queue SET status = 'pending' WHERE id IN (fixture.id('batch', 305), fixture.id('batch', 306))");
run_job('process_email_queue');
is(recipients_since($before + 3), 'user305@example.org 1', 'set to pending by hand: what was given up is sent, what was accepted is not');

# a project that cannot be reminded does not keep the next one from it
add_overdue_projects(401, 403);
portal(<<'SQL');
UPDATE users SET email = E'payer401@example.org\nBcc: all@example.org' WHERE id = fixture.id('user', 401);
SQL
$receiver->behave({ rcpt => { 'payer402@example.org' => '550 5.7.1 not wanted' } });
$before = scalar $receiver->mails;
is(run_job('check_overdue_payments')->{result}, '1', 'a project that cannot be reminded does not stop the next one');
is(recipients_since($before), 'payer403@example.org 1', 'which is reminded');
is(states('payment_reminders'), 'FAILED 3, SENT 18', 'the others are marked failed');
$receiver->behave({});
is(run_job('check_overdue_payments')->{result}, '1', 'a later run of the day tries again');
is(recipients_since($before + 1), 'payer402@example.org 1', 'what was given up');
is(states('payment_reminders'), 'FAILED 2, SENT 19', "and reuses that day's row");

# --- mail does not work -----------------------------------------------------------------------

my $everything = <<'SQL';
SELECT (SELECT md5(string_agg(q::text, '' ORDER BY q.id)) FROM notification_email_queue q),
       (SELECT md5(string_agg(r::text, '' ORDER BY r.id)) FROM payment_reminders r),
       (SELECT count(*) FROM jobs.outbox)
SQL
portal("UPDATE users SET email = 'payer401\@example.org' WHERE id = fixture.id('user', 401)");
add_batches(501, 502);
my $untouched = portal($everything);
my $port = $receiver->port;
$receiver->stop;
foreach my $job ('process_email_queue', 'check_overdue_payments')
{
    is(run_job($job)->{status}, 'failed', "$job fails while the server is down");
    like(last_run($job), qr/^failed\|08/, 'for its connection');
}
is(portal($everything), $untouched, 'and changes nothing');

$node->safe_psql('portal', "ALTER DATABASE portal SET motionify_jobs.smtp_url = ''");
$node->safe_psql('portal', 'SELECT jobs.reload()');
foreach my $job ('process_email_queue', 'check_overdue_payments')
{
    is(run_job($job)->{status}, 'failed', "$job fails while SMTP is not configured");
    is(last_run($job), 'failed|55000', 'for that');
}
is(portal($everything), $untouched, 'and changes nothing');

$node->safe_psql('portal', 'ALTER DATABASE portal RESET motionify_jobs.smtp_url');
$node->safe_psql('portal', 'SELECT jobs.reload()');
$receiver = start_receiver(port => $port, dir => $receiver->dir);
$before = scalar $receiver->mails;
is(run_job('process_email_queue')->{result}, '2', 'when mail works again, it goes on');
is(run_job('check_overdue_payments')->{result}, '1', 'with reminders, too');
is(recipients_since($before), 'payer401@example.org 1, user501@example.org 1, user502@example.org 1', 'each once');

# --- the day of a reminder -------------------------------------------------------------------

# 10:00 UTC is 02:00 or 03:00 in Los Angeles; 06:00 UTC is its day before
set_server_time(2, 10);
portal("UPDATE project_payment_status SET balance_paid = true");
add_overdue_projects(601, 601);
portal(<<'SQL');
INSERT INTO payment_reminders (project_id, type, status, scheduled_for, sent_at, recipient_email)
SELECT fixture.id('project', 601), 'BALANCE_DUE', 'SENT', at, at, 'payer601@example.org'
FROM (SELECT date_trunc('day', now(), 'UTC') + interval '6 hours') t (at)
SQL
is(run_job('check_overdue_payments')->{result}, '0', 'in UTC the project was reminded today');
portal("SELECT jobs.schedule('check_overdue_payments', '0 10 * * *', 'CALL public.check_overdue_payments()', timezone => 'America/Los_Angeles')");
is(run_job('check_overdue_payments')->{result}, '1', "in the job's time zone it was yesterday");
is(run_job('check_overdue_payments')->{result}, '0', 'and then today');

# --- other portals --------------------------------------------------------------------------------

# The application has routines of these names: one to use, one that says nothing
# that counts, one that is there for other arguments only.
portal(<<'SQL');
CREATE SCHEMA "Own {schema} 'Portal'";
SET search_path = "Own {schema} 'Portal'";
CREATE TABLE sessions (expires_at timestamptz);
INSERT INTO sessions VALUES (now() - interval '1 hour');
CREATE TABLE project_team (project_id integer, user_id integer, is_primary_contact boolean);
CREATE TABLE email_verification_tokens (expires_at timestamptz);
CREATE TABLE deliverables (status text, expires_at timestamptz);
CREATE FUNCTION cleanup_expired_sessions() RETURNS bigint LANGUAGE sql AS 'SELECT 4711::bigint';
CREATE FUNCTION cleanup_removed_team_members() RETURNS text LANGUAGE sql AS $$ SELECT 'done' $$;
CREATE PROCEDURE check_overdue_payments(INOUT n integer) LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION expire_deliverables(days integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
SQL
my $own = q{Own {schema} ''Portal''};
($status, $detail) = install($own, 'own_');
is_deeply($status, {
        own_cleanup_removed_team_members => 'missing',
        own_cleanup_expired_sessions => 'installed',
        own_cleanup_expired_email_verification_tokens => 'installed',
        own_cleanup_expired_password_reset_tokens => 'missing',
        own_expire_deliverables => 'installed',
        own_process_email_queue => 'missing',
        own_check_overdue_payments => 'missing' }, 'what can be installed is installed')
  or diag(explain($detail));
like($detail->{own_cleanup_expired_sessions}, qr/^uses the application's own .*cleanup_expired_sessions\(\)$/, "the application's own function is used");
like($detail->{own_cleanup_removed_team_members}, qr/cleanup_removed_team_members\(\) does not return one integer$/, 'unless its result is no integer');
like($detail->{own_check_overdue_payments}, qr/check_overdue_payments\(.*integer\) cannot be called without arguments$/, 'or it needs arguments');
like($detail->{own_cleanup_expired_password_reset_tokens}, qr/: table password_reset_tokens$/, 'a missing table is named');
like($detail->{own_process_email_queue}, qr/: table notification_email_queue, table notifications, table users$/, 'each of them');
is(run_job('own_cleanup_expired_sessions')->{result}, '4711', 'it is what the job calls');
is(run_job('own_cleanup_expired_email_verification_tokens')->{result}, '0', 'in a schema with a name to quote');
portal(qq{ALTER TABLE "Own {schema} 'Portal'".project_team ADD removed_at timestamptz;
    DROP FUNCTION "Own {schema} 'Portal'".cleanup_removed_team_members()});
($status) = install($own, 'own_');
is("$status->{own_cleanup_removed_team_members} $status->{own_cleanup_expired_sessions}", 'installed unchanged', 'after a migration the rest is installed');
portal(qq{CREATE OR REPLACE FUNCTION "Own {schema} 'Portal'".cleanup_removed_team_members() RETURNS integer LANGUAGE sql AS 'SELECT 12'});
is(run_job('own_cleanup_removed_team_members')->{result}, '12', 'a function that the application puts in the place of ours is used at once');
($status, $detail) = install($own, 'own_');
like("$status->{own_cleanup_removed_team_members} $detail->{own_cleanup_removed_team_members}", qr/^updated uses the application's own/,
    'and then called by the job');
is(run_job('own_cleanup_removed_team_members')->{result}, '12', 'and stays');

# Other columns, ids and states.
portal(<<'SQL');
CREATE SCHEMA variant;
SET search_path = variant;
CREATE TYPE batch_status AS ENUM ('pending', 'sending', 'sent', 'failed');
CREATE TABLE users (id integer PRIMARY KEY, email varchar(200), full_name text);
CREATE TABLE projects (id bigint PRIMARY KEY, project_name text);
CREATE TABLE project_team (project_id bigint, user_id integer, is_primary_contact boolean, removed_at timestamptz);
CREATE TABLE notifications (id bigint PRIMARY KEY, title text, message text, action_url text, action_label text, created_at timestamptz, deleted_at timestamptz);
CREATE TABLE user_notification_preferences (user_id integer, paused_until timestamptz);
CREATE TABLE notification_email_queue (id bigint PRIMARY KEY, user_id integer, notification_ids bigint[], status batch_status,
    scheduled_for timestamptz, sent_at timestamptz, last_error text, subject text NOT NULL, body_html text NOT NULL, body_text text NOT NULL, ses_message_id text);
CREATE TABLE project_payment_status (project_id bigint, advance_paid_at timestamptz, balance_paid_at timestamptz);
CREATE TABLE payment_reminders (id uuid PRIMARY KEY, project_id bigint, payment_id bigint, type text, status text, scheduled_for timestamptz, sent_at timestamptz,
    recipient_email text, recipient_user_id integer, email_subject text, email_template text, attempts integer, last_error text);
INSERT INTO users VALUES (1, 'one@example.net', 'Number One'), (2, 'two@example.net', NULL), (3, 'three@example.net', 'Number Three');
INSERT INTO notifications VALUES (1, 'Kept', NULL, '/relative', NULL, now(), NULL), (2, 'Deleted', 'gone', NULL, NULL, now(), now());
INSERT INTO user_notification_preferences VALUES (3, now() + interval '1 day');
INSERT INTO notification_email_queue VALUES
    (1, 1, '{1,2}', 'pending', now(), NULL, NULL, '', '', ''),
    (2, 2, '{2}', 'pending', now(), NULL, NULL, '', '', ''),
    (3, 3, '{1}', 'pending', now(), NULL, NULL, '', '', ''),
    (4, 2, '{}', 'pending', now(), NULL, NULL, 'As it is', '<p>own</p>', 'own');
INSERT INTO projects VALUES (1, 'Variant film'), (2, 'Paid film');
INSERT INTO project_team SELECT p, u, true, NULL FROM generate_series(1, 2) p, generate_series(1, 2) u;
INSERT INTO project_payment_status VALUES (1, now() - interval '4 days', NULL), (2, now() - interval '4 days', now());
SQL
($status, $detail) = install('variant', 'variant_');
is("$status->{variant_process_email_queue} $status->{variant_check_overdue_payments}", 'installed installed', 'other columns are bound to');
$before = scalar $receiver->mails;
is(run_job('variant_process_email_queue')->{result}, '2', 'paused users and deleted notifications are left out');
is(run_job('variant_check_overdue_payments')->{result}, '1', 'paid is who has a date of payment');
@mails = ($receiver->mails)[ $before .. $before + 2 ];
is(join(', ', sort map { "$_->{rcpt_tos}[0] $_->{subject}" } @mails),
    'one@example.net Kept, one@example.net Payment Reminder: Balance Due, two@example.net As it is', 'the mails');
my ($digest) = grep { $_->{subject} eq 'Kept' } @mails;
like($digest->{text}, qr{^Hello Number One,\R+Kept\R+Open: /relative\R}s, 'what is there is in the digest');
unlike($digest->{html}, qr/<a |Deleted/, 'and nothing else');
is(portal(<<'SQL'), "1|sent||t\n2|sent|closed without a mail: no notifications are left|f\n3|pending||f\n4|sent||t", 'the states');
SELECT q.id, q.status, q.last_error, coalesce(q.ses_message_id IN (SELECT message_id FROM jobs.outbox), false) FROM variant.notification_email_queue q ORDER BY id
SQL
is(portal('SELECT status, attempts, last_error, recipient_user_id FROM variant.payment_reminders'), 'SENT|1||1', 'the reminder');

($status, $detail) = install('variant');
is(join(' ', sort keys %{ { reverse %$status } }), 'missing', 'jobs of another schema are not taken over');
like($detail->{process_email_queue}, qr/choose another prefix/, 'but for another name');

# --- switches -----------------------------------------------------------------------------------

$node->safe_psql('portal', "ALTER DATABASE portal SET motionify_jobs.disabled_groups = 'cleanup'");
$node->safe_psql('portal', 'SELECT jobs.reload()');
portal(<<'SQL');
SELECT jobs.resume(job) FROM jobs.status WHERE job IN ('cleanup_expired_sessions', 'check_overdue_payments');
SELECT jobs.reschedule('cleanup_expired_sessions', '* * * * * *'), jobs.reschedule('check_overdue_payments', '* * * * * *');
SQL
like(portal("SELECT why_not FROM jobs.status WHERE job = 'cleanup_expired_sessions'"), qr/disabled_groups/, 'a group that is off says so');
is(portal("SELECT why_not FROM jobs.status WHERE job = 'check_overdue_payments'"), '', 'the others are not');
my $ran = "SELECT count(*) FROM jobs.history WHERE trigger = 'schedule' AND job =";
poll_until($node, "SELECT ($ran 'check_overdue_payments') >= 3", 't', 'portal');
is(portal("$ran 'cleanup_expired_sessions'"), '0', 'it does not run, while others do');
$node->safe_psql('portal', 'ALTER DATABASE portal RESET motionify_jobs.disabled_groups');
$node->safe_psql('portal', 'SELECT jobs.reload()');
ok(poll_until($node, "SELECT ($ran 'cleanup_expired_sessions') >= 1", 't', 'portal'), 'on again: it runs as it was scheduled');

# --- leaving ---------------------------------------------------------------------------------------

is(portal("SELECT string_agg(DISTINCT status, ' ') FROM jobs.uninstall_portal('variant', 'variant_')"), 'missing uninstalled', 'uninstalled');
is(portal(qq{SELECT count(*) FROM jobs.uninstall_portal('$own', 'own_') WHERE status = 'uninstalled'}), '4', 'the other one, too');
is(portal(qq{SELECT pronamespace::regnamespace, proname FROM pg_proc WHERE pronamespace::regnamespace::text ~ 'variant|Own' ORDER BY 2}),
    join("\n", map { qq{"Own {schema} 'Portal'"|$_} } qw(check_overdue_payments cleanup_expired_sessions cleanup_removed_team_members expire_deliverables)),
    "what is left is the application's own");
is(portal("SELECT count(*) FROM jobs.status"), '7', 'the first portal goes on');

$node->stop;
done_testing();
