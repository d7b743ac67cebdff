# The portal's mail when things go wrong: two runners at once of which one is
# killed while it sends, batches and projects that the application's own
# triggers refuse, mails whose end changes later.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

$ENV{PGOPTIONS} = "-c statement_timeout=${MjTest::deadline}s";

my $receiver = start_receiver();
my $node = new_node('trouble',
    extension => 0,
    conf => "motionify_jobs.smtp_url = '" . $receiver->url . "'\n"
      . "motionify_jobs.smtp_tls = off\n");

sub portal
{
    my ($sql) = @_;
    return $node->safe_psql('portal', $sql, extra_params => [ '-U', 'portal' ]);
}

# How many batches or reminders are in each state.
sub states
{
    my ($table) = @_;
    return portal("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status COLLATE \"C\") "
          . "FROM (SELECT status, count(*) AS n FROM $table GROUP BY status) s");
}

# Batches that are due, one notification and a new user each.
sub add_batches
{
    my ($first, $last) = @_;
    portal(<<SQL);
INSERT INTO users (id, email, name) SELECT fixture.id('user', n), 'user' || n || '\@example.org', 'User ' || n FROM generate_series($first, $last) n;
INSERT INTO notifications (id, user_id, title, message)
SELECT fixture.id('notification', n), fixture.id('user', n), 'News ' || n, 'There is news' FROM generate_series($first, $last) n;
INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for)
SELECT fixture.id('batch', n), fixture.id('user', n), ARRAY[fixture.id('notification', n)], now() FROM generate_series($first, $last) n;
SQL
    return;
}

sub batch
{
    my ($n) = @_;
    return portal("SELECT status, error_message FROM notification_email_queue WHERE id = fixture.id('batch', $n)");
}

sub run_job { return run_and_wait($node, $_[0], 'portal'); }

$node->safe_psql('postgres', 'CREATE ROLE portal LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE portal OWNER portal');
$node->safe_psql('portal', <<'SQL');
CREATE EXTENSION motionify_jobs;
SELECT jobs.grant_usage('portal', 'user'), jobs.grant_usage('portal', 'mailer');
SQL
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
        '-f', "$FindBin::Bin/../data/portal.sql" ], 'the portal is there');
portal(<<'SQL');
TRUNCATE notification_email_queue, payment_reminders, project_payment_status;
BEGIN;
SELECT FROM jobs.install_portal();
SELECT FROM jobs.status s, jobs.pause(s.job);
COMMIT;
SQL

# --- as many batches as the portal says ----------------------------------------------

add_batches(101, 105);
portal('ALTER ROLE portal SET motionify_jobs.portal_max_batches = 3');
is(portal('CALL process_email_queue()'), '3', 'a run takes as many batches as the setting says');
portal('ALTER ROLE portal RESET motionify_jobs.portal_max_batches');
is(portal('CALL process_email_queue()'), '2', 'the next one the others');

# --- two runners, one killed -----------------------------------------------------------

add_batches(1001, 1120);
my $before = scalar $receiver->mails;
$receiver->behave({ hold_after => $before + 10 });
my @runners = map { new_session($node, 'portal', 'portal') } (0, 1);
$_->send('CALL process_email_queue()') foreach @runners;
ok(wait_for(sub { grep { $_->{command} eq 'HOLD' } $receiver->events }, 'a mail is being sent'), 'they have sent some, and are sending one');
ok(poll_until($node, "SELECT count(*) = 100 FROM notification_email_queue WHERE status = 'processing'", 't', 'portal'), 'two runners have taken 50 batches each');
is(portal('SELECT count(DISTINCT source_key) FROM jobs.portal_mail'), '105', 'and queued a mail for each');
kill 'KILL', $runners[0]->pid;
$_->{harness}->finish foreach @runners;
$receiver->behave({});
poll_until($node, 'SELECT true');

# what a killed run leaves is sent by whoever comes first
ok(wait_for(sub { run_job('process_email_queue'); states('notification_email_queue') eq 'sent 125' }, 'all batches are sent'), 'one is killed: the next runs send the rest');
my %ids;
$ids{ $_->{rcpt_tos}[0] }{ $_->{message_id} } = 1 foreach ($receiver->mails)[ $before .. $receiver->mails - 1 ];
is(scalar(keys %ids), 120, 'each batch has arrived');
is(scalar(grep { keys %{ $ids{$_} } != 1 } keys %ids), 0, 'once: under one Message-ID');
is(portal("SELECT count(*) FROM jobs.outbox"), '125', 'there was one mail for each');
my $again = $receiver->mails - $before - 120;
diag("$again mails were sent again, with their Message-ID, since nobody could say that they had arrived") if $again;
$before = $receiver->mails;
is(run_job('process_email_queue')->{result}, '0', 'then there is nothing to do');
is(scalar($receiver->mails), $before, 'and nothing is sent');

# --- what the application refuses -------------------------------------------------------

portal(<<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON notification_email_queue FOR EACH ROW WHEN (old.id = fixture.id('batch', 201)) EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE INSERT ON payment_reminders FOR EACH ROW WHEN (new.project_id = fixture.id('project', 1)) EXECUTE FUNCTION refuse();
INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) SELECT fixture.id('project', n), true, now() - interval '5 days' FROM generate_series(1, 3) n;
SQL
add_batches(201, 203);
is(run_job('process_email_queue')->{result}, '2', 'a batch that the application refuses to change does not stop the others');
is(batch(201) . ' ' . batch(202), 'pending| sent|', 'and stays as it is');
like(portal("SELECT notices FROM jobs.history WHERE job = 'process_email_queue' ORDER BY run_id DESC LIMIT 1"), qr/batch \S+c9 was left as it is: not this one/, 'the history says why');
is(run_job('check_overdue_payments')->{result}, '2', 'nor does a project stop the next one');
is(states('payment_reminders'), 'SENT 2', 'which are reminded');
portal('DROP TRIGGER refuse ON notification_email_queue; DROP TRIGGER refuse ON payment_reminders');
is(run_job('process_email_queue')->{result} . run_job('check_overdue_payments')->{result}, '11', 'later it can be done');

# --- batches and reminders follow their mails -------------------------------------------

# failed for good, and then sent after all, as by hand
add_batches(301, 302);
$receiver->behave({ rcpt => { map { ("user$_\@example.org" => '550 5.1.1 no such user') } (301, 302) } });
run_job('process_email_queue');
is(batch(301), 'failed|550 5.1.1 no such user', 'refused');
$node->safe_psql('portal', "UPDATE jobs.mail SET ended_as = 'sent', ended_at = now() WHERE recipient = 'user301\@example.org'");
is(run_job('process_email_queue')->{result}, '1', 'a mail that is sent in the end counts');
is(batch(301), 'sent|', 'and its batch is sent');
portal("UPDATE notification_email_queue SET status = 'failed', error_message = 'bounced' WHERE id = fixture.id('batch', 301)");
run_job('process_email_queue');
is(batch(301), 'failed|bounced', 'what the application learns afterwards stays');

# nobody knows whether it was sent: not repeated by itself
portal("UPDATE project_payment_status SET balance_paid = true; INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) VALUES (fixture.id('project', 4), true, now() - interval '5 days')");
$receiver->behave({ rcpt => { portal("SELECT email FROM users WHERE id = fixture.id('user', 4)") => '550 5.1.1 no such user' } });
is(run_job('check_overdue_payments')->{result}, '0', 'a reminder is refused');
$receiver->behave({});
$node->safe_psql('portal', "UPDATE jobs.mail SET ended_as = 'uncertain' WHERE source_key LIKE '%payment_reminders%' AND ended_as = 'failed'");
is(run_job('check_overdue_payments')->{result}, '0', 'if the server may have it, there is no second one that day');
is(portal("SELECT status FROM payment_reminders WHERE project_id = fixture.id('project', 4)"), 'FAILED', 'it has failed');

# --- a migration ----------------------------------------------------------------------

portal(<<'SQL');
ALTER TABLE notification_email_queue RENAME error_message TO last_error;
ALTER TABLE notification_email_queue ADD retry_count integer NOT NULL DEFAULT 0, DROP CONSTRAINT notification_email_queue_status_check,
	ADD CHECK (status IN ('pending', 'sending', 'processing', 'sent', 'failed', 'abandoned'));
ALTER TABLE users RENAME name TO full_name;
ALTER TABLE sessions RENAME TO user_sessions;
CREATE VIEW sessions AS SELECT * FROM user_sessions;
INSERT INTO user_sessions VALUES (fixture.id('session', 999), fixture.id('user', 1), now(), now() - interval '1 day');
SQL
is(run_job('process_email_queue')->{status}, 'failed', 'after a migration the queue is another one');
my %report = split /[|\n]/, portal("SELECT job, status || ': ' || detail FROM jobs.install_portal() WHERE status <> 'unchanged'");
is($report{process_email_queue}, 'updated: bound to notification_email_queue (last_error, retry_count), notifications, users (full_name); states abandoned', 'installed again, it is bound to that');
is($report{cleanup_expired_sessions}, 'updated: bound to sessions; all at once, for it is no table', 'a table that is a view now');
is(portal("SELECT count(*) FROM jobs.status WHERE paused"), '7', 'the jobs stay as they were');
portal("INSERT INTO users (id, email, full_name) VALUES (fixture.id('user', 401), 'user401\@example.org', 'User 401')");
portal("INSERT INTO notifications (id, user_id, title, message) VALUES (fixture.id('notification', 401), fixture.id('user', 401), 'News', '')");
portal("INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for) VALUES (fixture.id('batch', 401), fixture.id('user', 401), ARRAY[fixture.id('notification', 401)], now())");
is(run_job('process_email_queue')->{result}, '1', 'and sends');
cmp_ok(run_job('cleanup_expired_sessions')->{result}, '>', 0, 'and cleans');

$node->stop;
done_testing();
