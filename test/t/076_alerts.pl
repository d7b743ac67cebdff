# Alerts: each shipped rule opens at a portal in trouble, tells a real SMTP server, a
# real HTTP server, a listener and the server log, and ends.  The clock is injected.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Digest::SHA qw(hmac_sha256_hex);
use Encode qw(encode_utf8);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(strftime);

my $receiver = start_receiver();
my $hook = start_http();
my $secrets = PostgreSQL::Test::Utils::tempdir() . '/secrets';
PostgreSQL::Test::Utils::append_to_file($secrets, "127.0.0.1:*\tSigning-Key: s3cr3t\n");
chmod 0600, $secrets;

my $node = new_node('main', testing => 1, extension => 0, conf => <<"CONF");
motionify_jobs.smtp_url = '@{[ $receiver->url ]}'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '2s'
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.http_secrets_file = '$secrets'
motionify_jobs.alert_channels = 'log, "mail:Ops <ops\@example.com>", webhook:@{[ $hook->url('/hook') ]}, notify:ops, mail:lost\@example.com'
motionify_jobs.linger = '10min'
motionify_jobs.test_clock = '2030-01-07 01:00:00+00'
CONF

# --- helpers --------------------------------------------------------------------

my $now = 1893978000;    # 2030-01-07 01:00 UTC, a Monday

sub sql { return $node->safe_psql('portal', $_[0]); }
sub portal { return $node->safe_psql('portal', $_[0], extra_params => [ '-U', 'portal' ]); }
sub clock { return strftime('%Y-%m-%d %H:%M:%S+00', gmtime $now); }

# What is under way comes to its end first: else it would have taken so long.
sub advance
{
    my ($seconds) = @_;
    poll_until($node, q{SELECT NOT EXISTS (SELECT FROM jobs.queue JOIN jobs.job USING (job_id)
        WHERE state IN ('ready', 'running') AND name NOT IN ('import', 'outside', 'of another'))}, 't', 'portal');
    $now += $seconds;
    set_clock($node, clock());
    return;
}

# The alerts of a rule, as "cause status, ...".
sub alerts
{
    my ($rule, $is, $what) = @_;
    return ok(poll_until($node,
            "SELECT string_agg(cause || ' ' || status, ', ' ORDER BY cause) FROM jobs.alert WHERE rule = '$rule'", $is, 'portal'),
        $what);
}

# The mails to Ops, and the calls, about an event of a rule.
sub mails_of
{
    my ($rule, $event) = @_;
    return grep { $_->{text} =~ /^Rule: \Q$rule\E \(/m && ($_->{subject} =~ /^\[resolved\]/ ? 'resolved' : 'opened') eq $event } $receiver->mails;
}
sub calls_of
{
    my ($rule, $event) = @_;
    return grep { $_->{json}{rule} eq $rule && $_->{json}{event} eq $event } calls();
}

# All channels were told of an event of a rule, once; returns what the webhook was told.
my %told;
sub told
{
    my ($rule, $event, $subject) = @_;
    my (@mails, @calls);
    $told{"$rule $event"}++;
    wait_for(sub { @mails = mails_of($rule, $event) }, "$rule: the mail, $event")
      or diag(log_tail($node));
    is(scalar(@mails), 1, "$rule: one mail, $event");
    like($mails[0]{subject} // '', $subject, 'which says so') if $subject;
    wait_for(sub { @calls = calls_of($rule, $event) }, "$rule: the webhook, $event");
    is(scalar(@calls), 1, "$rule: one call, $event");
    ok(poll_until($node, <<"SQL", '1 1 1 1 0', 'portal'), "$rule: whom it told, $event") or diag(sql('SELECT * FROM jobs.alert_notification'));
SELECT concat_ws(' ', count(DISTINCT channel) FILTER (WHERE status = 'sent' AND channel = 'log'), count(DISTINCT channel) FILTER (WHERE status = 'sent' AND channel ~ '^mail:Ops'),
    count(DISTINCT channel) FILTER (WHERE status = 'sent' AND channel ~ '^webhook:http://127'), count(DISTINCT channel) FILTER (WHERE status = 'sent' AND channel = 'notify:ops'),
    count(*) FILTER (WHERE status <> 'failed' AND channel ~ 'lost'))
FROM jobs.alert_notification WHERE rule = '$rule' AND event = '$event'
SQL
    return $calls[0];
}

# What held does not any more: it ends five minutes later, and that is told.
sub resolves
{
    my ($rule, $causes) = @_;
    advance(61);
    ok(poll_until($node, "SELECT bool_and(cleared_at IS NOT NULL) FROM jobs.alert WHERE rule = '$rule'", 't', 'portal'),
        "$rule: it holds no more");
    is(sql("SELECT count(*) FROM jobs.alert WHERE rule = '$rule' AND status = 'resolved'"), 0, "$rule: but has not ended yet");
    advance(301);
    alerts($rule, $causes, "$rule: it ends");
    told($rule, 'resolved', qr/^\[resolved\] /);
    return;
}

# Runs a job, in the portal's database.
sub run { return run_and_wait($node, $_[0], 'portal'); }

# What the webhook was told so far: requests, with their bodies as {json}.
sub calls
{
    my @calls = $hook->requests('/hook');
    $_->{json} = decode_json($_->{body}) foreach @calls;
    return @calls;
}

# --- the portal -------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE portal LOGIN');
$node->safe_psql('postgres', 'CREATE ROLE other LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE portal OWNER portal');
sql(q{CREATE EXTENSION motionify_jobs; SELECT jobs.grant_usage('portal', 'user'), jobs.grant_usage('portal', 'mailer')});
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
        '-f', "$FindBin::Bin/../data/portal.sql" ], 'the portal is there');
portal('SELECT jobs.install_portal()');
sql(q{SELECT jobs.suppress('lost@example.com')});
# the clock may be set while a run is at work, which then has taken long
sql(q{SELECT jobs.set_alert_rule('long_run', job => 'imp*')});

# A day: its cleanups are due, and run.
sub next_day
{
    my ($day) = @_;
    my $due = "2030-01-" . sprintf('%02d', 7 + $day);
    advance(1893978000 + $day * 86400 + 4.5 * 3600 - $now);
    ok(poll_until($node, "SELECT count(DISTINCT job) FROM jobs.history WHERE job_group = 'cleanup' AND finished_at IS NOT NULL
        AND due_at >= '$due' AND due_at < '$due 05:30' AND job !~ 'tokens'", '3', 'portal'), "day $day: the cleanups ran");
    return;
}

# --- a broken cleanup ---------------------------------------------------------------

portal('ALTER TABLE sessions RENAME TO sessions_gone');
next_day($_) foreach 0 .. 2;
advance(61);
alerts('job_failures', 'cleanup_expired_sessions open', 'job_failures: a cleanup that failed three times in a row');
my $call = told('job_failures', 'opened', qr/^\[critical\] Job "cleanup_expired_sessions" failed 3 times in a row$/);
is($call->{path}, '/hook', 'the webhook: its path');
is($call->{json}{alerts}[0]{job}, 'cleanup_expired_sessions', 'the job');
like($call->{json}{alerts}[0]{detail}, qr/relation "public\.sessions" does not exist/, 'and the error');
is($call->{headers}{'content-type'}, 'application/json', 'as JSON');
like(sql(q{SELECT detail FROM jobs.health() WHERE check_name = 'alerts'}), qr/cleanup_expired_sessions/, 'jobs.health() shows it');
is(sql(q{SELECT status FROM jobs.health() WHERE check_name = 'alert channels'}), 'warn', 'and that a channel cannot be told');
is(sql(q{SELECT DISTINCT channel || ' ' || error FROM jobs.alert_notification WHERE status = 'failed'}), 'mail:lost@example.com all recipients are suppressed', 'why is there');
is(sql(q{SELECT value FROM jobs.metrics WHERE name = 'motionify_jobs_alerts_open' AND labels ->> 'severity' = 'critical'}), 1, 'the metrics count it');
is(log_count($node, qr/WARNING:  motionify_jobs alert: \[critical\] Job "cleanup_expired_sessions" failed 3 times/), 1, 'the server log has it, once');
advance(61) for 1 .. 3;
is(scalar(grep { $_->{json}{rule} eq 'job_failures' } calls()), 1, 'nobody is told again');
portal('ALTER TABLE sessions_gone RENAME TO sessions');
is(run('cleanup_expired_sessions')->{status}, 'succeeded', 'it is mended');
resolves('job_failures', 'cleanup_expired_sessions resolved');

# --- cleanups that find nothing -----------------------------------------------------------

next_day($_) foreach 3 .. 10;
advance(61);
alerts('idle_cleanup', 'cleanup_expired_sessions open, cleanup_removed_team_members open, expire_deliverables open',
    'idle_cleanup: cleanups that found nothing for a week');
# not all at once: some have run a day longer
sub idle { my $n = 0; $n += $_->{json}{count} foreach calls_of('idle_cleanup', 'opened'); return $n; }
ok(wait_for(sub { idle() >= 3 }, 'the webhook is told of each'), 'the webhook is told of each');
is(idle(), 3, 'once');
portal(<<'SQL');
INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), id, now() - interval '1 day' FROM users LIMIT 1;
INSERT INTO project_team (project_id, user_id, removed_at) SELECT p.id, u.id, now() - interval '100 days' FROM projects p, users u LIMIT 1;
INSERT INTO deliverables (id, project_id, title, status, expires_at) SELECT gen_random_uuid(), id, 'x', 'delivered', now() - interval '1 day' FROM projects LIMIT 1;
SQL
is(run($_)->{result}, '1', "$_ finds something")
  foreach qw(cleanup_expired_sessions cleanup_removed_team_members expire_deliverables);
advance(61);
advance(301);
alerts('idle_cleanup', 'cleanup_expired_sessions resolved, cleanup_removed_team_members resolved, expire_deliverables resolved',
    'idle_cleanup: they end');
$call = told('idle_cleanup', 'resolved', qr/^\[resolved\] 3 alerts of rule idle_cleanup$/);
is($call->{json}{count}, 3, 'three alerts are one message');

# --- a backlog ------------------------------------------------------------------------------

portal(<<'SQL');
INSERT INTO notifications (id, user_id, title, message)
SELECT fixture.id('notification', n), fixture.id('user', 5), 'News ' || n, 'There is news' FROM generate_series(5001, 6200) n;
INSERT INTO notification_email_queue (id, user_id, notification_ids, scheduled_for)
SELECT fixture.id('batch', n), fixture.id('user', 5), ARRAY[fixture.id('notification', n)], now() + interval '1 hour' FROM generate_series(5001, 6200) n;
SQL
run('process_email_queue');
my $pending = portal(q{SELECT count(*) FROM notification_email_queue WHERE status = 'pending'});
cmp_ok($pending, '>=', 1200, 'batches wait');
is(sql('SELECT pending FROM jobs.mail_backlog'), $pending, 'their job counts them');
advance(61);
alerts('mail_queue_full', 'mail open', 'mail_queue_full: a backlog of 1,200');
told('mail_queue_full', 'opened', qr/^\[critical\] 12\d\d e-mails wait$/);
told('mail_queue', 'opened', qr/^\[warning\] 12\d\d e-mails wait$/);
portal(q{UPDATE notification_email_queue SET status = 'sent', sent_at = now() WHERE status = 'pending'});
run('process_email_queue');
resolves('mail_queue_full', 'mail resolved');
told('mail_queue', 'resolved');

# --- mail that cannot be sent -----------------------------------------------------------------

my $port = $receiver->port;
my $mail_dir = $receiver->dir;
$receiver->stop;
sql(q{SELECT jobs.send_mail('a@example.com', 'lost', 'text')});
ok(poll_until($node, 'SELECT state FROM jobs.mail_transport', 'paused', 'portal'), 'no mail can be sent');
advance(61);
alerts('mail_paused', 'mail open', 'mail_paused: mail is paused');
ok(wait_for(sub { grep { $_->{json}{rule} eq 'mail_paused' } calls() }, 'the webhook hears of it'), 'the webhook hears of it');
is(sql(q{SELECT status FROM jobs.alert_notification WHERE rule = 'mail_paused' AND channel ~ '^mail:Ops'}), 'queued', 'the mail waits');
is(sql(q{SELECT status FROM jobs.health() WHERE check_name = 'mail transport'}), 'fail', 'jobs.health() says so');
$receiver = start_receiver(port => $port, dir => $mail_dir);
sql('SELECT jobs.resume_mail()');
ok(poll_until($node, 'SELECT state FROM jobs.mail_transport', 'running', 'portal'), 'it can be again');
told('mail_paused', 'opened', qr/^\[critical\] No mail can be sent since 2030-01-/);
resolves('mail_paused', 'mail resolved');

# --- a listener -----------------------------------------------------------------------------------

my $listener = new_session($node, 'portal');
$listener->query('LISTEN ops');

# --- a run that takes too long, and runs that nobody takes ---------------------------------------------

sql('CREATE TABLE speed AS SELECT 0 AS seconds');
sql(q{SELECT jobs.schedule('import', NULL, 'SELECT pg_sleep(seconds) FROM speed')});
run('import') for 1 .. 5;
sql('UPDATE speed SET seconds = 3600');
my $run_id = sql(q{SELECT run_id FROM jobs.run_now('import', wait => false)});
ok(poll_until($node, "SELECT count(*) FROM jobs.active WHERE run_id = $run_id", '1', 'portal'), 'a run that takes long');
sql(q{SELECT jobs.schedule('outside', NULL, handler => 'external'), jobs.enqueue('outside')});
advance(61);
alerts('long_run', 'import open', 'long_run: it takes longer than usual');
told('long_run', 'opened', qr/^\[warning\] A run of job "import" takes much longer than usual$/);
alerts('late_runs', 'outside pending', 'late_runs: runs wait, not for long yet');
sql("SELECT jobs.cancel($run_id)");
ok(poll_until($node, "SELECT count(*) FROM jobs.active WHERE run_id = $run_id", '0', 'portal'), 'it is cancelled');
advance(300);
alerts('late_runs', 'outside open', 'late_runs: they have waited for long');
told('late_runs', 'opened', qr/^\[warning\] Runs of job "outside" have waited since 2030-01-/);
resolves('long_run', 'import resolved');
is(sql(q{SELECT count(jobs.complete(token)) FROM jobs.claim('outside')}), '1', 'a worker takes them');
resolves('late_runs', 'outside resolved');
like($listener->query('SELECT 1'), qr/^1\nAsynchronous notification "ops" with payload "\{.*"rule": "late_runs"/s, 'who listens hears of it');
$listener->quit;

# --- no executor is left -----------------------------------------------------------------------------

# how long a lane has waited is measured in real time
sql(q{SELECT jobs.set_alert_rule('no_executor', threshold => 0)});
sql(q{ALTER SYSTEM SET motionify_jobs.max_workers = 1});
$node->reload;
ok(poll_until($node, 'SHOW motionify_jobs.max_workers', '1', 'portal'), 'there is one executor');
$run_id = sql(q{SELECT run_id FROM jobs.run_now('import', wait => false)});
ok(poll_until($node, "SELECT count(*) FROM jobs.active WHERE run_id = $run_id", '1', 'portal'), 'it is taken');
sql(q{SELECT jobs.schedule('of another', NULL, 'SELECT 1', role => 'other'); SELECT jobs.run_now('of another', wait => false)});
ok(poll_until($node, 'SELECT starved_since IS NOT NULL FROM jobs.server_state()', 't', 'portal'), 'a run waits for it');
advance(61);
alerts('no_executor', 'executors open', 'no_executor: all worker slots are taken');
sql("SELECT jobs.cancel($run_id); ALTER SYSTEM SET motionify_jobs.max_workers = 4");
$node->reload;
sql(q{SELECT jobs.drop_alert_rule('no_executor')});
told('no_executor', 'opened', qr/^\[warning\] Runs have waited for a worker slot since /);
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'of another' AND status = 'succeeded'}, '1', 'portal'), 'it runs');
resolves('no_executor', 'executors resolved');

# --- a server that was stopped ---------------------------------------------------------------------------

sql(q{SELECT jobs.schedule('hourly', '0 * * * *', 'SELECT 1')});
advance(3600 - $now % 3600 + 30);
ok(poll_until($node, q{SELECT last_run IS NOT NULL FROM jobs.status WHERE job = 'hourly'}, 't', 'portal'), 'the server is up');
$now += 3 * 3600;
sql("ALTER SYSTEM SET motionify_jobs.test_clock = '" . clock() . "'");
$node->stop;
start_node($node);
advance(6);
alerts('scheduler_down', 'scheduler open', 'scheduler_down: noticed when it is there again');
$call = told('scheduler_down', 'opened', qr/^\[critical\] Nothing was started for 0[23]:\d\d:\d\d, until 2030-01-/);
like($call->{json}{alerts}[0]{detail}, qr/the scheduler was at work last at 2030-01-.* Missed: \d+ \(.*process_email_queue 1(79|8\d)\b/s, 'with what was missed');
like($call->{json}{alerts}[0]{detail}, qr/\bhourly 3\b/, 'of each job');
advance(601);
resolves('scheduler_down', 'scheduler resolved');

# --- a job that ends its process --------------------------------------------------------------------------

sql(<<'SQL');
SELECT jobs.schedule('poison', NULL, $job$DO $do$ BEGIN
  EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
  PERFORM pg_sleep(60); END $do$ $job$);
SELECT jobs.run_now('poison', wait => false);
SQL
ok(poll_until($node, q{SELECT paused FROM jobs.status WHERE job = 'poison'}, 't', 'portal'), 'a job that ends its process is paused');
advance(61);
alerts('job_quarantined', 'poison open', 'job_quarantined: that is an alert');
told('job_quarantined', 'opened', qr/^\[critical\] Job "poison" is paused: run \d+ ended its process 3 times$/);
sql(q{SELECT jobs.schedule('poison', NULL, 'SELECT 1'), jobs.resume('poison')});
resolves('job_quarantined', 'poison resolved');

# --- what came of it ------------------------------------------------------------------------------------------

is(sql(q{SELECT string_agg(DISTINCT rule, ' ' ORDER BY rule) FROM jobs.alert WHERE opened_at IS NOT NULL AND resolved_at IS NOT NULL}),
    sql(q{SELECT string_agg(name, ' ' ORDER BY name) FROM jobs.alert_rule WHERE shipped}), 'each shipped rule has opened an alert, and ended it');
is(sql(q{SELECT count(*) FROM jobs.alert WHERE status <> 'resolved'}), '0', 'none is open');
is(sql(q{SELECT string_agg(DISTINCT cause, ' ') FROM jobs.alert WHERE cause = 'evaluation'}), '', 'all rules could be looked at');
foreach my $got (calls())
{
    my ($time, $signature) = @{ $got->{headers} }{qw(x-motionify-timestamp x-motionify-signature)};
    next if $signature eq 'sha256=' . hmac_sha256_hex(encode_utf8("$time.$got->{body}"), 's3cr3t');
    fail('signature of ' . encode_json($got));
    last;
}

# --- whoever is killed in between, and rules that cannot be looked at ------------------------------------------

set_fault($node, 'alert-message', 'exit:once');
sql(q{SELECT jobs.set_alert_rule('kept', 'quarantine', channels => '{log,mail:kept@example.com}')});
sql(q{UPDATE jobs.job SET paused_at = jobs.clock(), pause_reason = 'run 1 ended its process 3 times' WHERE name = 'poison'});
advance(61);
ok(wait_for(sub { !fault_is_set($node, 'alert-message') }, 'the scheduler is killed before it tells'), 'the scheduler is killed before it tells');
advance(61);
ok(wait_for(sub { grep { $_->{rcpt_tos}[0] eq 'kept@example.com' } $receiver->mails }, 'the next one tells'), 'the next one tells');
is(scalar(grep { $_->{rcpt_tos}[0] eq 'kept@example.com' } $receiver->mails), 1, 'once');
set_fault($node, 'alert-evaluated', 'error:once');
advance(61);
ok(wait_for(sub { log_count($node, qr/motionify_jobs: alerts could not be looked at/) }, 'an error is logged'), 'an error is logged');
advance(61);
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE job = 'process_email_queue' AND due_at >= jobs.clock() - interval '1 minute'}, 't', 'portal'),
    'and stops nothing');

# no message came later: as many as instants at which alerts opened, or ended
my %instants = map { split /=/ } split /\n/, sql(q{
SELECT rule || ' opened=' || count(DISTINCT opened_at) FROM jobs.alert GROUP BY rule
UNION ALL SELECT rule || ' resolved=' || count(DISTINCT resolved_at) FROM jobs.alert GROUP BY rule});
is_deeply(
    { map { my @of = split / /; ($_ => scalar(mails_of(@of)) . ' ' . scalar(calls_of(@of))) } keys %told },
    { map { ($_ => "$instants{$_} $instants{$_}") } keys %told },
    'nobody was told of anything again');

# --- a dump has what was changed ----------------------------------------------------------------------------------

sql(q{SELECT jobs.set_alert_rule('mail_queue', threshold => 55), jobs.set_alert_rule('own', 'failures', job => 'imp*')});
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('portal') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');
is($node->safe_psql('restored', q{SELECT string_agg(name || ' ' || threshold, ', ' ORDER BY name) FROM jobs.alert_rule WHERE name IN ('mail_queue', 'mail_queue_full', 'own')}),
    'mail_queue 55, mail_queue_full 1000, own 3', 'the rules are there, as they were changed');
is($node->safe_psql('restored', 'SELECT count(*) FROM jobs.alert'), '0', 'and no alert');

$node->stop;
$hook->stop;
done_testing();
