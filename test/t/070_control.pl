# Acting on runs: cancel, retry, drain; kinds of backoff, errors that are worth
# a retry, and processes of their own.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

if (!testing_is_built())
{
    plan skip_all => 'needs the build with the injected clock';
}

my $outbox = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', testing => 1, conf => "motionify_jobs.smtp_url = 'file://$outbox'\nmotionify_jobs.mail_from = 'jobs\@example.com'\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error_of
{
    my ($sql) = @_;
    my $err = '';
    $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$err);
    return $err;
}

sub schedule
{
    my ($name, $command, %options) = @_;
    return sql("SELECT jobs.schedule('$name', NULL, \$c\$$command\$c\$"
            . join('', map { ", $_ => $options{$_}" } sort keys %options) . ')');
}
sub run { return sql("SELECT run_id FROM jobs.run_now('$_[0]', wait => false)"); }

# The attempts of a run, when they are as expected.
sub ends_as
{
    my ($run_id, $statuses, $what) = @_;
    ok(poll_until($node, "SELECT string_agg(status, ' ' ORDER BY attempt) FROM jobs.history WHERE run_id = $run_id", $statuses),
        "$what: $statuses");
    return;
}
sub is_running { return poll_until($node, "SELECT count(*) FROM jobs.active WHERE run_id = $_[0]", '1'); }
sub error_of_run { return sql("SELECT error FROM jobs.history WHERE run_id = $_[0] ORDER BY attempt DESC LIMIT 1"); }
sub queued { return sql("SELECT count(*) FROM jobs.queued WHERE run_id = $_[0]"); }
sub now { set_clock($node, $_[0]); return; }

now('2030-01-01 12:00:00+00');
sql('CREATE TABLE effect (n int)');
schedule('sleeper', 'INSERT INTO effect SELECT 1 FROM pg_sleep(3600)');
schedule('quick', 'SELECT 1');

# --- cancel: a run that is running -----------------------------------------------

my $run = run('sleeper');
is_running($run);
is(sql("SELECT jobs.cancel($run)"), 't', 'a run that is running is told');
ends_as($run, 'cancelled', 'cancel');
like(error_of_run($run), qr/^cancelled by role ".+"$/, 'the history says by whom');
is(sql('SELECT count(*) FROM effect'), '0', 'its work is undone');
is(sql("SELECT jobs.cancel($run)"), 'f', 'once more: it has ended');
is(queued($run), '0', 'it is not tried again');

# not tried again either with attempts left
schedule('sleeper', 'SELECT pg_sleep(3600)', max_attempts => 3);
$run = run('sleeper');
is_running($run);
sql("SELECT jobs.cancel($run)");
ends_as($run, 'cancelled', 'a cancelled run is not tried again');
is(queued($run), '0', 'though it had attempts left');

# a job that turns its being cancelled into an error of its own
schedule('stubborn', q{DO $$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN RAISE 'no'; END $$},
    max_attempts => 3);
$run = run('stubborn');
is_running($run);
sql("SELECT jobs.cancel($run)");
ends_as($run, 'cancelled', 'a job that fails for being cancelled is cancelled');

# a job that goes on: its process is ended after ten seconds
schedule('deaf', q{DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN
    PERFORM set_config('application_name', 'deaf', false); END; END LOOP; END $$});
$run = run('deaf');
is_running($run);
sql("SELECT jobs.cancel($run)");
poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deaf'}, '1');
is(sql("SELECT cancelling FROM jobs.active WHERE run_id = $run"), 't', 'a job that goes on is shown as cancelling');
now('2030-01-01 12:00:11+00');
ends_as($run, 'cancelled', 'its process is ended');
like(error_of_run($run), qr/^cancelled by role/, 'the history says why');
is(run_and_wait($node, 'quick')->{status}, 'succeeded', 'and jobs run');

# a cancel never hits the next run of the same executor
schedule('short', 'SELECT 1');
{
    my $session = new_session($node);
    sql(q{SELECT count(jobs.run_now('quick', wait => false)) FROM generate_series(1, 300)});
    schedule('bystander', 'SELECT 1', overlap => "'allow'");
    my @ids = split /\n/, sql(q{SELECT (jobs.run_now('bystander', wait => false)).run_id FROM generate_series(1, 300)});
    my @even = grep { $_ % 2 == 0 } @ids;
    $session->query("SELECT jobs.cancel($_)") foreach @even;
    poll_until($node, q{SELECT NOT EXISTS (SELECT FROM jobs.queue)});
    is(sql('SELECT count(*) FROM jobs.run_log WHERE run_id IN (' . join(', ', grep { $_ % 2 } @ids) . q{) AND status = 'succeeded'}),
        scalar(@ids) - @even, 'of many short runs only those are cancelled that were meant');
    $session->quit;
}

# --- cancel: a run that waits -----------------------------------------------------

schedule('fails', 'SELECT 1 / 0', max_attempts => 5, backoff_base => "'1 hour'");
$run = run('fails');
ends_as($run, 'failed', 'a run that fails');
poll_until($node, "SELECT count(*) FROM jobs.queued WHERE run_id = $run", '1');
sql("BEGIN; SELECT jobs.cancel($run); ROLLBACK");
is(queued($run), '1', 'a cancel that is rolled back cancels nothing that waits');
is(sql("SELECT jobs.cancel($run)"), 't', 'a run that waits is cancelled');
ends_as($run, 'failed cancelled', 'it ends');
is(sql("SELECT attempt || ' ' || (started_at IS NULL) FROM jobs.history WHERE run_id = $run AND status = 'cancelled'"),
    '2 true', 'in an attempt that was not started');

like(error_of('SELECT jobs.cancel(987654321)'), qr/42704: run 987654321 does not exist.*HINT/s, 'a run that is not there');
like(error_of('SELECT jobs.cancel(NULL)'), qr/22004/, 'no run');

# --- retry --------------------------------------------------------------------------

is(sql("SELECT jobs.retry($run)"), 't', 'a run that was cancelled is done again');
ends_as($run, 'failed cancelled failed', 'with its id');
is(sql("SELECT trigger FROM jobs.history WHERE run_id = $run AND attempt = 3"), 'retry', 'by trigger retry');
is(queued($run), '1', 'its failures count anew');
is(sql("SELECT jobs.retry($run)"), 't', 'one that waits for a retry');
ends_as($run, 'failed cancelled failed failed', 'is tried now');
schedule('reads', 'SELECT ($1 ->> 0)::int');
my $with = sql(q{SELECT run_id FROM jobs.run_now('reads', '["x"]', wait => false)});
ends_as($with, 'failed', 'a run with arguments');
schedule('reads', 'SELECT $1 ->> 0');
sql("SELECT jobs.retry($with)");
ends_as($with, 'failed succeeded', 'is done again');
is(sql("SELECT result FROM jobs.history WHERE run_id = $with AND status = 'succeeded'"), 'x', 'with its arguments');
is(sql("SELECT count(*) FROM jobs.run_log WHERE status = 'succeeded' AND args IS NOT NULL"), '0', 'which are not kept for what has succeeded');
like(error_of("SELECT jobs.retry($with)"), qr/55000: run \d+ of job "reads" has succeeded.*run_now/s, 'what has succeeded is not done again');
like(error_of('SELECT jobs.retry(987654321)'), qr/42704/, 'nor what is not there');
sql("SELECT jobs.cancel($run)");
sql(q{SELECT jobs.unschedule('fails')});
like(error_of("SELECT jobs.retry($run)"), qr/55000: the job of run \d+ was unscheduled/, 'nor what has no job');

sql(q{CREATE ROLE leaves LOGIN});
schedule('orphan', 'SELECT 1 / 0', role => "'leaves'");
$run = run('orphan');
ends_as($run, 'failed', 'a run of a role');
sql('DROP ROLE leaves');
like(error_of("SELECT jobs.retry($run)"), qr/42704: role "leaves" does not exist/, 'that is gone is not done again');

# --- rights ---------------------------------------------------------------------------

sql(q{CREATE ROLE stranger LOGIN; SELECT jobs.grant_usage('stranger', 'user');
    CREATE ROLE op LOGIN; SELECT jobs.grant_usage('op', 'operator')});
schedule('sleeper', 'SELECT pg_sleep(3600)');
$run = run('sleeper');
is_running($run);
like(error_of("SET ROLE stranger; SELECT jobs.cancel($run)"), qr/42501/, 'a stranger cancels nothing');
is(sql("SET ROLE op; SELECT jobs.cancel($run)"), 't', 'an operator does');
ends_as($run, 'cancelled', 'any run');
is(error_of_run($run), 'cancelled by role "op"', 'the history says who');
like(error_of("SET ROLE stranger; SELECT jobs.retry($run)"), qr/42501/, 'a stranger retries nothing');
like(error_of('SET ROLE stranger; SELECT jobs.drain()'), qr/42501/, 'and drains nothing');

# a mail that waits can be cancelled by who sent it
sql(q{SELECT jobs.grant_usage('stranger', 'mailer')});
my $mail = sql(q{SET ROLE stranger; SELECT jobs.send_mail('a@example.com', 's', 'b', send_at => '2031-01-01')});
my $mail_run = sql("SELECT run_id FROM jobs.outbox WHERE mail_id = $mail");
is(sql("SET ROLE stranger; SELECT jobs.cancel($mail_run)"), 't', 'a mail that waits is cancelled');
is(sql("SELECT status FROM jobs.outbox WHERE mail_id = $mail"), 'cancelled', 'as the outbox says');
is(sql("SELECT status FROM jobs.history WHERE run_id = $mail_run"), 'cancelled', 'and the history');
like(error_of("SELECT jobs.retry($mail_run)"), qr/0A000/, 'it is not sent by retry()');

# --- kinds of backoff -----------------------------------------------------------------

# Fails at each try; returns after how many seconds each next one is.
sub waits
{
    my ($tries, %options) = @_;
    my @waits;
    now('2030-02-01 00:00:00+00');
    schedule('backs off', 'SELECT 1 / 0', max_attempts => 20, %options);
    my $id = run('backs off');
    foreach my $try (1 .. $tries)
    {
        poll_until($node, "SELECT count(*) FROM jobs.queue WHERE run_id = $id AND failures = $try AND state = 'waiting'", '1');
        my ($wait, $at) = split /\|/, sql("SELECT extract(epoch FROM q.run_at - l.finished_at)::numeric(10,1), q.run_at
            FROM jobs.queue q JOIN jobs.run_log l ON l.run_id = q.run_id AND l.attempt = q.attempt WHERE q.run_id = $id");
        push @waits, $wait + 0;
        now($at);
    }
    sql("SELECT jobs.cancel($id)");
    poll_until($node, "SELECT NOT EXISTS (SELECT FROM jobs.queue WHERE run_id = $id)");
    sql(q{SELECT jobs.unschedule('backs off')});
    return @waits;
}
is(join(' ', waits(4, backoff_base => "'10 s'")), '10 10 10 10', 'fixed');
is(join(' ', waits(4, backoff_base => "'10 s'", backoff => "'linear'")), '10 20 30 40', 'linear');
is(join(' ', waits(5, backoff_base => "'10 s'", backoff => "'exponential'", backoff_cap => "'1 minute'")), '10 20 40 60 60',
    'exponential, with a cap');
my @jittered = waits(6, backoff_base => "'100 s'", backoff_jitter => '0.5');
is(scalar(grep { $_ >= 50 && $_ <= 100 } @jittered), 6, 'jitter shortens a wait by its part at most');
cmp_ok(scalar(keys %{ { map { $_ => 1 } @jittered } }), '>', 1, 'at random');

# --- errors that are worth a retry --------------------------------------------------

schedule('picky', q{SELECT 1 / 0}, max_attempts => 3, backoff_base => "'0'", retry_on => "'{40,55P03}'");
$run = run('picky');
ends_as($run, 'failed', 'an error that is not listed ends the run');
is(queued($run), '0', 'at once');
schedule('picky', q{DO $$ BEGIN RAISE SQLSTATE '40001'; END $$});
$run = run('picky');
ends_as($run, 'failed failed failed', 'one of a class that is listed');
schedule('picky', q{DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$});
ends_as(run('picky'), 'failed failed failed', 'one that is listed');
schedule('picky', q{DO $$ BEGIN RAISE SQLSTATE '55006'; END $$});
ends_as(run('picky'), 'failed', 'another of that class');
schedule('picky', q{SELECT 1 / 0}, retry_on => "'{}'");
ends_as(run('picky'), 'failed failed failed', 'without a list all are');
schedule('slow', 'SELECT pg_sleep(3600)', max_attempts => 2, backoff_base => "'0'", timeout => "'20 ms'", retry_on => "'{57014}'");
ends_as(run('slow'), 'timed_out timed_out', 'a timeout counts as 57014');

foreach my $case (
    [ "retry_on => '{4}'",            'retry_on' ],
    [ "retry_on => '{40001,nonsense}'", 'retry_on' ],
    [ "retry_on => '{NULL}'",         'retry_on' ],
    [ "backoff => 'quadratic'",       'backoff' ],
    [ "backoff_jitter => 1.5",        'backoff_jitter' ],
    [ "backoff_jitter => 'nan'",      'backoff_jitter' ],
    [ "backoff_cap => '-1 s'",        'backoff_cap' ],
    [ "max_running => 2",             'max_running' ],
    [ "max_running => -1",            'max_running' ],
    [ "concurrency_key => E'a\\nb'",  'concurrency key' ])
{
    like(error_of("SELECT jobs.schedule('x', NULL, 'SELECT 1', $case->[0])"), qr/22023: .*$case->[1]/, "$case->[0] is refused");
}

# --- processes of their own ----------------------------------------------------------

schedule('isolated', q{SELECT pg_backend_pid() || ' ' || coalesce(current_setting('my.trace', true), '')}, isolated => 'true');
schedule('leaves a trace', q{SELECT set_config('my.trace', 'trace', false) || pg_backend_pid()});
my %pids;
foreach my $i (1 .. 3)
{
    run_and_wait($node, 'leaves a trace');
    my $result = run_and_wait($node, 'isolated')->{result};
    like($result, qr/^\d+ $/, 'an isolated run sees nothing of others');
    $pids{$result}++;
}
is(scalar(keys %pids), 3, 'each has a process of its own');
my $traces = sql(q{SELECT string_agg(result, ' ') FROM jobs.history WHERE job = 'leaves a trace'});
is(scalar(grep { my ($pid) = /(\d+)/; $traces =~ /trace$pid\b/ } keys %pids), 0, 'which runs nothing else');
is(sql(q{SELECT max(attempt) FROM jobs.history WHERE job = 'isolated'}), '1', 'and that counts as no attempt');

# --- drain ------------------------------------------------------------------------------

schedule('sleeper', 'SELECT pg_sleep(3600)');
$run = run('sleeper');
is_running($run);
is(sql(q{SELECT jobs.drain('0')}), 'f', 'a drain that does not wait says that runs are at work');
my $late = run('quick');
is(sql("SELECT waits_for FROM jobs.queued WHERE run_id = $late"), 'it is drained; see jobs.undrain()', 'nothing is started');
like(sql(q{SELECT why_not FROM jobs.status WHERE job = 'quick'}), qr/drained/, 'and the status says why');
my $session = new_session($node);
$session->send('SELECT jobs.drain()');
poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT jobs.drain()%' AND state = 'active'}, '1');
sql("SELECT jobs.cancel($run)");
is($session->result, 't', 'a drain waits for the end of what runs');
is(scalar(worker_pids($node, 'executor')), 0, 'then no executor is left');
is(queued($late), '1', 'what waits still waits');
sql('SELECT jobs.undrain()');
ends_as($late, 'succeeded', 'undrain starts it');
schedule('drains', 'SELECT jobs.drain()');
like(run_and_wait($node, 'drains')->{error}, qr/a job cannot wait for the end of all jobs/, 'a job cannot drain');
like(error_of(q{SELECT jobs.drain('-1 s')}), qr/22023/, 'nor anybody for less than no time');
sql(q{SELECT jobs.drain('0')});
$node->restart;
is(run_and_wait($node, 'quick')->{status}, 'succeeded', 'a drain ends with the server');

done_testing();
