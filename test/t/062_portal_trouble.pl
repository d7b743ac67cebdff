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
# what the receiver has accepted, and nobody has written down, may be sent again
my %unknown = map { $_->{rcpt_tos}[0] => 1 } ($receiver->mails)[ $before .. $receiver->mails - 1 ];
is(scalar(keys %unknown), 10, 'ten have arrived');
delete $unknown{$_} foreach split /\n/, portal("SELECT recipient FROM jobs.outbox WHERE status = 'sent'");
kill 'KILL', $runners[0]->pid;
$_->{harness}->finish foreach @runners;
$receiver->behave({});
poll_until($node, 'SELECT true');

# what a killed run leaves is sent by whoever comes first
ok(wait_for(sub { run_job('process_email_queue'); states('notification_email_queue') eq 'sent 125' }, 'all batches are sent'), 'one is killed: the next runs send the rest');
my (%ids, %times);
$times{ $_->{rcpt_tos}[0] }++, $ids{ $_->{rcpt_tos}[0] }{ $_->{message_id} } = 1 foreach ($receiver->mails)[ $before .. $receiver->mails - 1 ];
is(scalar(keys %ids), 120, 'each batch has arrived');
is(scalar(grep { keys %{ $ids{$_} } != 1 } keys %ids), 0, 'once: under one Message-ID');
is(portal("SELECT count(*) FROM jobs.outbox"), '125', 'there was one mail for each');
is(join(' ', grep { $times{$_} > ($unknown{$_} ? 2 : 1) } sort keys %times), '', 'and no more often, but for what had been accepted and was not yet written down');
diag(scalar(grep { $_ > 1 } values %times) . ' of ' . keys(%unknown) . ' such mails were sent again, with their Message-ID') if %unknown;
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

# What is refused does not take the place of what is not; an error of the application says
# nothing about mail, whatever its code.
add_batches(211, 213);
add_batches(214, 215);
portal(<<'SQL');
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not in this state' USING ERRCODE = '55000'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON notification_email_queue FOR EACH ROW
	WHEN (old.id IN (fixture.id('batch', 211), fixture.id('batch', 212), fixture.id('batch', 213))) EXECUTE FUNCTION refuse();
UPDATE project_payment_status SET balance_paid = true;
INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) SELECT fixture.id('project', n), true, now() - interval '5 days' FROM generate_series(5, 6) n;
CREATE TRIGGER refuse BEFORE INSERT ON payment_reminders FOR EACH ROW WHEN (new.project_id = fixture.id('project', 5)) EXECUTE FUNCTION refuse();
SQL
portal('ALTER ROLE portal SET motionify_jobs.portal_max_batches = 2');
is(portal('CALL process_email_queue()'), '2', 'as many as a run takes that are refused do not keep the next ones waiting');
is(join(' ', map { batch($_) } 211 .. 215), 'pending| pending| pending| sent| sent|', 'these are sent');
is(run_job('check_overdue_payments')->{result}, '1', 'nor does a project, by an error of the same code as that of mail');
portal('ALTER ROLE portal RESET motionify_jobs.portal_max_batches; DROP TRIGGER refuse ON payment_reminders; DROP TRIGGER refuse ON notification_email_queue');
portal(<<'SQL');
CREATE TRIGGER refuse BEFORE UPDATE ON notification_email_queue FOR EACH ROW
	WHEN (new.status = 'sent' AND old.id = fixture.id('batch', 211)) EXECUTE FUNCTION refuse();
SQL
is(run_job('process_email_queue')->{result}, '2', 'nor does a batch that cannot be marked as sent');
is(join(' ', map { batch($_) } 211 .. 213), 'processing| sent| sent|', 'the others are');
portal('DROP TRIGGER refuse ON notification_email_queue');
is(run_job('process_email_queue')->{result} . run_job('check_overdue_payments')->{result}, '11', 'in the end all is done');

# --- who calls it -----------------------------------------------------------------------

# A superuser sends as the job's role: then the job knows of the mails, and the superuser
# of the job's.
$node->safe_psql('portal', "CREATE ROLE app LOGIN; SELECT jobs.grant_usage('app', 'user'), jobs.grant_usage('app', 'mailer')");
add_batches(501, 502);
$receiver->behave({ rcpt => { 'user502@example.org' => '451 4.3.0 try again later' } });
is($node->safe_psql('portal', 'CALL process_email_queue()'), '1', 'a superuser calls it');
portal("UPDATE notification_email_queue SET scheduled_for = now() - interval '16 minutes' WHERE id = fixture.id('batch', 502)");
run_job('process_email_queue');
is($node->safe_psql('portal', "SELECT recipient, role, count(*) FROM jobs.mail WHERE recipient ~ '^user50' GROUP BY 1, 2 ORDER BY 1"),
    "user501\@example.org|portal|1\nuser502\@example.org|portal|1", 'the mails are those of the job\'s role, and the job sends no other');
$receiver->behave({});
$node->safe_psql('portal', "SELECT jobs.resend(mail_id) FROM jobs.outbox WHERE recipient = 'user502\@example.org'");
is($node->safe_psql('portal', 'CALL process_email_queue()'), '1', 'tried again for a superuser');
is(batch(501) . ' ' . batch(502), 'sent| sent|', 'they are sent');
my ($out, $err) = ('', '');
$node->psql('portal', <<'SQL', stderr => \$err);
DO $$ DECLARE n integer; BEGIN CALL process_email_queue(n); RAISE WARNING 'now %', current_user; CALL check_overdue_payments(n); RAISE WARNING 'now %', current_user; END $$;
SQL
my $superuser = $node->safe_psql('portal', 'SELECT current_user');
is(join(' ', $err =~ /now (.*)/g), "$superuser $superuser", 'the caller has its own role again');
portal("UPDATE project_payment_status SET balance_paid = true; INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) VALUES (fixture.id('project', 7), true, now() - interval '5 days')");
is($node->safe_psql('portal', 'CALL check_overdue_payments()') . run_job('check_overdue_payments')->{result}, '10', 'one reminder, whoever calls');
foreach my $procedure ('process_email_queue', 'check_overdue_payments')
{
    $err = '';
    $node->psql('portal', "\\set VERBOSITY verbose\nCALL $procedure()", extra_params => [ '-U', 'app' ], stderr => \$err);
    like($err, qr/^(?:psql:\S+ )?ERROR:  42501: permission denied for procedure public.$procedure.*HINT:  .*jobs\.run_now/s, "$procedure: not for others");
}

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

# A reminder under way is the same one in another zone, in which it is another day.
sub set_zone { portal("SELECT jobs.schedule('check_overdue_payments', '0 10 * * *', 'CALL public.check_overdue_payments()', timezone => '$_[0]')"); return; }
portal("UPDATE project_payment_status SET balance_paid = true; INSERT INTO project_payment_status (project_id, advance_paid, advance_paid_at) VALUES (fixture.id('project', 9), true, now() - interval '5 days')");
my $payer = portal("SELECT email FROM users WHERE id = fixture.id('user', 9)");
$receiver->behave({ rcpt => { $payer => '451 4.3.0 try again later' } });
set_zone('Etc/GMT+12');
is(run_job('check_overdue_payments')->{result}, '0', 'a reminder cannot be sent yet');
$receiver->behave({});
set_zone('Pacific/Kiritimati');
is(run_job('check_overdue_payments')->{result}, '0', 'no other one is sent meanwhile');
my $reminder = "SELECT status, count(*) FROM payment_reminders WHERE project_id = fixture.id('project', 9) GROUP BY 1";
is(portal($reminder), 'PENDING|1', 'on whatever day');
$node->safe_psql('portal', "SELECT jobs.resend(mail_id) FROM jobs.outbox WHERE recipient = '$payer' AND subject LIKE 'Payment%' AND status = 'queued'");
ok(wait_for(sub { run_job('process_email_queue'); portal($reminder) eq 'SENT|1' }, 'it is sent'), 'and it follows its mail');
is(run_job('check_overdue_payments')->{result}, '0', 'the day on which it was sent has its reminder');
set_zone('UTC');

# --- a cleanup rests, and holds nothing meanwhile ------------------------------------------

portal("INSERT INTO sessions (id, user_id, expires_at) SELECT fixture.id('session', n), fixture.id('user', 1), now() - interval '1 hour' FROM generate_series(10001, 30000) n");
my $watch = new_session($node, 'portal');
my $cleaning = portal("SELECT run_id FROM jobs.run_now('cleanup_expired_sessions', wait => false)");
my $held = 0;
ok(wait_for(sub {
            $held += $watch->query("SELECT count(backend_xmin) FROM pg_stat_activity WHERE query LIKE 'CALL public.cleanup%' AND state = 'active' AND wait_event IN ('Extension', 'PgSleep')");
            $watch->query("SELECT status FROM jobs.history WHERE run_id = $cleaning") eq 'succeeded'
        }, 'sessions are cleaned'), 'a cleanup that rests after each batch');
is($held, 0, 'has no snapshot then');
$watch->quit;
$err = '';
$node->psql('portal', 'BEGIN; CALL jobs.portal_rest(0)', extra_params => [ '-U', 'portal' ], stderr => \$err);
like($err, qr/jobs\.portal_rest\(\) cannot be called inside a transaction/, 'it commits, so it must be allowed to');

# --- what is not there is not shown -----------------------------------------------------

is(portal(q{SELECT body_html ~ 'Open', body_text ~ 'Open' FROM jobs.portal_single('Ann', '[{"title": "News", "message": "None", "url": null}]')}), 'f|f',
    'a notification that leads nowhere has no link');
is(portal(q{SELECT body_html ~ 'Film', body_html ~ '#6b7280;">Balance due<' FROM jobs.portal_reminder('Ann', 'Film', NULL)}), 't|f', 'nor a reminder an amount that is not known');

# --- years of mail ------------------------------------------------------------------------

portal(<<'SQL');
INSERT INTO notification_email_queue (id, user_id, notification_ids, status, scheduled_for, sent_at, error_message)
SELECT fixture.id('batch', n), fixture.id('user', 1), '{}', CASE WHEN n % 5 > 0 THEN 'sent' ELSE 'failed' END,
	now() - (n - 99990) * interval '1 day', CASE WHEN n % 5 > 0 THEN now() - (n - 99990) * interval '1 day' END, CASE WHEN n % 5 = 0 THEN 'refused' END
FROM generate_series(100001, 105000) n;
INSERT INTO payment_reminders (project_id, type, status, scheduled_for, sent_at, recipient_email)
SELECT fixture.id('project', 1), 'BALANCE_DUE', r.status, r.at, r.sent_at, 'a@example.org'
FROM (SELECT 'SENT', now() - n * interval '1 day', now() - n * interval '1 day' FROM generate_series(10, 5000) n
	  UNION ALL SELECT 'FAILED', now() - n * interval '1 day', NULL FROM generate_series(10, 1000) n) AS r (status, at, sent_at);
SQL
add_batches(601, 602);
$node->safe_psql('portal', 'ALTER ROLE portal SET track_functions = pl');
my $session = new_session($node, 'portal', 'portal');
my $calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname = 'jobs' AND funcname = 'portal_mail_of'";
my $called = $session->query($calls);
is($session->query('CALL process_email_queue()'), '2', 'of years of batches, what is due is sent');
$session->query('CALL check_overdue_payments()');
$session->query('SELECT FROM pg_stat_force_next_flush()');
$called = $session->query($calls) - $called;
cmp_ok($called, '>', 2, 'mails are asked for');
cmp_ok($called, '<', 100, "but not those of years: $called");
$session->quit;
portal("DELETE FROM notification_email_queue WHERE scheduled_for < now() - interval '9 days'; DELETE FROM payment_reminders WHERE scheduled_for < now() - interval '9 days'");

# --- a migration ----------------------------------------------------------------------

portal(<<'SQL');
ALTER TABLE notification_email_queue RENAME error_message TO last_error;
ALTER TABLE notification_email_queue ADD retry_count integer NOT NULL DEFAULT 0, DROP CONSTRAINT notification_email_queue_status_check,
	ADD CHECK (status IN ('pending', 'sending', 'processing', 'sent', 'failed', 'abandoned')), ADD email_type text;
ALTER TABLE users RENAME name TO full_name;
ALTER TABLE sessions RENAME TO user_sessions;
CREATE VIEW sessions AS SELECT * FROM user_sessions;
INSERT INTO user_sessions VALUES (fixture.id('session', 999), fixture.id('user', 1), now(), now() - interval '1 day');
SQL
is(run_job('process_email_queue')->{status}, 'failed', 'after a migration the queue is another one');
my %report = split /[|\n]/, portal("SELECT job, status || ': ' || detail FROM jobs.install_portal() WHERE status <> 'unchanged'");
is($report{process_email_queue}, 'updated: bound to notification_email_queue (last_error, retry_count, email_type), notifications, users (full_name); states abandoned', 'installed again, it is bound to that');
is($report{cleanup_expired_sessions}, 'updated: bound to sessions; all at once, for it is no table', 'a table that is a view now');
is(portal("SELECT count(*) FROM jobs.status WHERE paused"), '7', 'the jobs stay as they were');
portal("INSERT INTO users (id, email, full_name) VALUES (fixture.id('user', 401), 'user401\@example.org', 'User 401')");
portal("INSERT INTO notifications (id, user_id, title, message) VALUES (fixture.id('notification', 401), fixture.id('user', 401), 'News', '')");
portal("INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for) VALUES (fixture.id('batch', 401), fixture.id('user', 401), ARRAY[fixture.id('notification', 401)], now())");
is(run_job('process_email_queue')->{result}, '1', 'and sends');
cmp_ok(run_job('cleanup_expired_sessions')->{result}, '>', 0, 'and cleans');

# --- a schema that is open, and leaving ---------------------------------------------------

my $install = sub {
    $err = '';
    $node->psql('portal', 'SELECT FROM jobs.install_portal()', extra_params => [ '-U', 'portal' ], stderr => \$err);
    return $err;
};
is($install->(), '', 'nobody else can create objects in the schema');
portal('GRANT CREATE ON SCHEMA public TO PUBLIC');
like($install->(), qr/WARNING:  everybody may create objects in schema "public".*HINT:  REVOKE CREATE ON SCHEMA public FROM PUBLIC/s, 'if everybody can, it is said');
portal('REVOKE CREATE ON SCHEMA public FROM PUBLIC');

my $routines = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND jobs.portal_wrote(oid)";
my $written = portal($routines);
is(portal("SELECT count(*) FROM jobs.uninstall_portal('public', 'other_') WHERE detail LIKE 'there is no such job; its routine stays, for job \"%\" calls it'"), '7',
    'uninstalled under another prefix: what the jobs call stays');
is(portal($routines), $written, 'all of it');
portal("SELECT jobs.schedule('cleanup_removed_team_members', '0 2 * * *', 'SELECT public.cleanup_removed_team_members() WHERE true')");
portal("SELECT jobs.schedule('mails too', NULL, 'CALL Process_email_queue ()')");
is(portal('SELECT job, status, detail FROM jobs.uninstall_portal() WHERE detail LIKE \'%stays%\''), <<'TABLE' =~ s/\n\z//r, 'uninstalled: what another command calls stays');
cleanup_removed_team_members|unchanged|the job runs something else: SELECT public.cleanup_removed_team_members() WHERE true; its routine stays, for job "cleanup_removed_team_members" calls it
process_email_queue|uninstalled|CALL public.process_email_queue(); its routine stays, for job "mails too" calls it
TABLE
is(portal("SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND jobs.portal_wrote(oid)"),
    'cleanup_removed_team_members cleanup_removed_team_members_in_batches process_email_queue', 'the rest is gone');
is(run_job('cleanup_removed_team_members')->{status} . ' ' . run_job('mails too')->{status}, 'succeeded succeeded', 'and these go on');

$node->stop;
done_testing();
