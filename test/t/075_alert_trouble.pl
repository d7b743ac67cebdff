# Alerts in trouble: somebody holds a lock, a channel fails for a moment, something
# is always due, mail is merely slow, the database is a copy.  The clock is injected.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(strftime);

my $receiver = start_receiver();
my $hook = start_http();
my $node = new_node('main', testing => 1, conf => <<"CONF");
motionify_jobs.smtp_url = '@{[ $receiver->url ]}'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '10min'
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.alert_channels = 'webhook:@{[ $hook->url('/hook') ]}, log'
motionify_jobs.linger = '10min'
motionify_jobs.test_clock = '2030-01-07 01:00:00+00'
CONF

# --- helpers --------------------------------------------------------------------

my $start = 1893978000;    # 2030-01-07 01:00 UTC
my $now = $start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub set_time
{
    my ($seconds) = @_;
    $now += $seconds;
    set_clock($node, strftime('%Y-%m-%d %H:%M:%S', gmtime $now) . sprintf('.%03d+00', 1000 * ($now - int($now)) + 0.5));
    return;
}

# A minute later the rules are looked at: the figure of an alert that is always open says so.
sub look
{
    my ($what) = @_;
    set_time(61);
    return ok(poll_until($node, q{SELECT figure FROM jobs.alert WHERE rule = 'marker'}, $now - $start), "looked at: $what");
}

sub alerts
{
    my ($rule, $is, $what) = @_;
    return is(sql("SELECT string_agg(cause || ' ' || status, ', ' ORDER BY alert_id) FROM jobs.alert WHERE rule = '$rule'"), $is, $what);
}

# What makes an alert of rule "job_quarantined", and ends it.
sub quarantine
{
    my ($job) = @_;
    return sql("UPDATE jobs.job SET paused_at = jobs.clock(), pause_reason = 'run 1 ended its process 3 times' WHERE name = '$job'");
}

# How often the webhook was told of a cause.
sub told
{
    my ($cause) = @_;
    return scalar(grep { my $call = decode_json($_->{body}); $call->{event} eq 'opened' && $call->{alerts}[0]{cause} eq $cause } $hook->requests('/hook'));
}

sql(q{SELECT jobs.schedule('outside', NULL, handler => 'external'), jobs.enqueue('outside'),
    jobs.set_alert_rule('marker', 'lag', job => 'outside', threshold => 0, channels => '{none}'),
    jobs.set_alert_rule('late_runs', enabled => false)});
sql("SELECT jobs.schedule('poison $_', NULL, 'SELECT 1') FROM generate_series(1, 1)") foreach 1 .. 5;
sql(q{SELECT jobs.schedule('answer', NULL, 'SELECT 42')});
look('all is well');

# --- a backlog of mails, while worker slots are free ------------------------------

sql(q{SELECT jobs.set_alert_rule('no_executor', threshold => 0)});
$receiver->behave({ hold_after => 0 });
sql(q{SELECT count(jobs.send_mail('a@example.com', 'slow ' || n, 'text')) FROM generate_series(1, 400) n});
ok(poll_until($node, q{SELECT string_agg(DISTINCT state::text, ' ' ORDER BY state::text) FROM jobs.queue WHERE lane = 0}, 'ready running'), 'mails are being sent, and others wait');
is(run_and_wait($node, 'answer')->{result}, '42', 'an executor is free');
is(sql('SELECT starved_since FROM jobs.server_state()'), '', 'no lane lacks an executor');
look('a backlog of mails');
alerts('no_executor', '', 'no_executor: it is not one of executors');
is(sql(q{SELECT status FROM jobs.health() WHERE check_name = 'executors'}), 'ok', 'jobs.health() says so, too');
alerts('mail_queue', 'mail open', 'but of mails');
is(sql(q{SELECT figure FROM jobs.alert WHERE rule = 'mail_queue'}), '400', 'all of which are counted');
$receiver->behave({});
ok(poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE lane = 0}, '0'), 'all are sent');

# --- somebody acknowledges, and does not commit ------------------------------------

my $session = new_session($node);
$session->query(q{BEGIN; SELECT jobs.acknowledge(alert_id) FROM jobs.alert WHERE rule = 'mail_queue'});
quarantine('poison 1');
look('an alert is locked');
alerts('job_quarantined', 'poison 1 open', 'others open');
alerts('mail_queue', 'mail open', 'the one that is locked stays as it is');
is(sql(q{SELECT count(*) FROM jobs.alert WHERE cause = 'evaluation'}), '0', 'that is no alert');
$session->query('COMMIT');
look('it is not any more');
is(sql(q{SELECT cleared_at IS NOT NULL FROM jobs.alert WHERE rule = 'mail_queue'}), 't', 'then it is found to be over');

# --- a table that is locked ----------------------------------------------------------

$session->query('BEGIN; LOCK TABLE jobs.mail_backlog IN ACCESS EXCLUSIVE MODE');
quarantine('poison 2');
set_time(61);
ok(wait_for(sub { log_count($node, qr/alerts could not be looked at: canceling statement due to lock timeout/) }, 'a lock is waited for in vain'), 'a table is locked: that is logged');
$session->query('ROLLBACK');
look('the table is not locked any more');
alerts('job_quarantined', 'poison 1 open, poison 2 open', 'what happened meanwhile is found');
is(sql(q{SELECT count(*) FROM jobs.alert WHERE cause = 'evaluation'}), '0', 'nobody was told of the lock');

# --- a channel that fails for a moment ---------------------------------------------------

my $messages = q{SELECT string_agg(split_part(n.channel, ':', 1) || ' ' || n.status, ', ' ORDER BY n.message_id)
    FROM jobs.alert_notification n JOIN jobs.alert a USING (alert_id) WHERE a.cause = 'poison 3'};
ok(wait_for(sub { told('poison 2') }, 'the webhook is told'), 'the webhook is told');
$session->query('BEGIN; LOCK TABLE jobs.call IN EXCLUSIVE MODE');
quarantine('poison 3');
look('no request can be queued');
ok(poll_until($node, $messages, 'webhook queued, log sent'), 'a channel that cannot be told now stops no other, and waits');
is(log_count($node, qr/channel "webhook" could not be told of an alert: canceling statement due to lock timeout/), 1, 'that is logged');
$session->query('ROLLBACK');
$session->quit;
is(told('poison 3'), 0, 'it has not been told yet');
look('requests can be queued again');
ok(poll_until($node, $messages, 'webhook sent, log sent'), 'a minute later it is told');
is(told('poison 3'), 1, 'once');
is(log_count($node, qr/WARNING:  motionify_jobs alert: \[critical\] Job "poison 3"/), 1, 'and the log once, too');

# --- something is always due in a moment ------------------------------------------------------

# the clock stands a little before it
sql(q{SELECT jobs.schedule('at two', '0 2 7 1 *', 'SELECT 1')});
set_time(3600 - ($now - $start) - 0.06);
quarantine('poison 4');
is(run_and_wait($node, 'answer')->{result}, '42', 'something happens');
is(sql(q{SELECT count(*) FROM jobs.alert WHERE cause = 'poison 4'}), '0', 'alerts wait for what is due in a moment');
ok(poll_until($node, q{SELECT status FROM jobs.alert WHERE cause = 'poison 4'}, 'open'), 'but not for ever');
ok(wait_for(sub { told('poison 4') }, 'and they are told'), 'and they are told');
is(sql(q{SELECT count(*) FROM jobs.history WHERE job = 'at two'}), '0', 'nothing was done before its time');
$now = $start + 3600;
set_time(0);
ok(poll_until($node, q{SELECT status FROM jobs.history WHERE job = 'at two'}, 'succeeded'), 'but at it');

# --- a copy -----------------------------------------------------------------------------------------

my $later = sql(q{SELECT jobs.enqueue('answer', run_at => '2031-01-01')});
sql(q{INSERT INTO jobs.alert_message (alert_id, event, channel, created_at) SELECT alert_id, 'opened', 'log', jobs.clock() FROM jobs.alert WHERE rule = 'marker'});
sql('CREATE DATABASE copy TEMPLATE postgres');
sql(q{ALTER SYSTEM SET log_min_messages = debug1});
sql(q{ALTER SYSTEM SET motionify_jobs.linger = 0});
$node->reload;
$node->safe_psql('copy', 'SELECT jobs.reload()');
ok(wait_for(sub { log_count($node, qr/database "copy" is a copy/) }, 'the copy is noticed'), 'a copy');
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy'}, '0'), 'nothing is left there');
my $from = -s $node->logfile;
my $oid = sql(q{SELECT oid FROM pg_database WHERE datname = 'copy'});
$node->safe_psql('copy', "SELECT jobs.cancel($later)");
set_time(120);
my $starts = sub { log_count($node, qr/starting background worker process "motionify_jobs scheduler of database $oid"/, $from) };
is(run_and_wait($node, 'answer')->{result}, '42', "while the original works ($_)") foreach 1 .. 5;
cmp_ok($starts->(), '<=', 3, 'no scheduler is started there again and again');
is($node->safe_psql('copy', q{SELECT count(*) FROM jobs.alert WHERE status = 'resolved'}), sql(q{SELECT count(*) FROM jobs.alert WHERE status = 'resolved' AND resolved_at < jobs.clock() - interval '2 minutes'}),
    'nothing is decided there');
$node->safe_psql('copy', 'SELECT jobs.adopt()');
is($node->safe_psql('copy', q{SELECT count(*) FROM jobs.alert WHERE status <> 'resolved'}), '0', 'its alerts are those of the original');
is($node->safe_psql('copy', q{SELECT count(*) FROM jobs.alert_notification WHERE status IN ('queued', 'unknown')}), '0', 'and its messages');

$node->stop;
$hook->stop;
done_testing();
