# HTTP runs under pressure: a watcher that does not answer, arguments that are too
# long, more cancels at once than usual, tables that are locked, a process that has
# served for long enough.  What is concerned waits or ends; the rest goes on.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use Test::More;

my $server = start_http();
my $node = new_node('main', testing => 1, conf => <<'CONF');
max_prepared_transactions = 2
motionify_jobs.http_allowed_hosts = '127.0.0.1:*'
motionify_jobs.http_max_connections = 16
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub schedule
{
    my ($name, $path, %options) = @_;
    my $more = join '', map { ", $_ => $options{$_}" } sort keys %options;
    return sql("SELECT jobs.schedule('$name', NULL, handler => 'http', url => '" . $server->url($path) . "'$more)");
}

# enqueue_many($job, $n): so many runs of it, in one transaction.
sub enqueue_many
{
    my ($job, $n) = @_;
    return sql("SELECT count(*) FROM jobs.enqueue_many('$job', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, $n) i))");
}

sub succeeded { return sql("SELECT count(*) FROM jobs.history WHERE job = '$_[0]' AND status = 'succeeded'"); }

# --- a watcher that does not answer ------------------------------------------------------

$server->behave({ map { ($_ => { hang => JSON::PP::true }) } map { ("/tarpit$_", "/tarpit$_/start") } 1 .. 4 });
schedule('beside', '/beside');
is(run_and_wait($node, 'beside')->{status}, 'succeeded', 'a call succeeds');
foreach my $i (1 .. 4)
{
    schedule("watched $i", "/watched$i", ping_url => "'" . $server->url("/tarpit$i") . "'");
    enqueue_many("watched $i", 200);
}
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job LIKE 'watched%' AND status = 'succeeded'}, 800),
    'the runs of jobs whose watcher does not answer succeed');
$server->wait_requests(1, '/tarpit1/start');
is(run_and_wait($node, 'beside')->{status}, 'succeeded', 'a call beside their pings does') foreach 1 .. 2;
# the pings of the four are of one host, and this is the number of its lines
cmp_ok(scalar(grep { $_->{path} =~ /tarpit/ } $server->requests), '<=', 2, 'their pings have few connections');
ok(poll_until($node, q{SELECT count(*) <= 4 * 3 + 2 FROM jobs.calls WHERE status IN ('queued', 'running')}, 't'),
    'and of those that wait only the last of each kind is kept');
# the watcher is back: what hung is called again, in its turn
$server->behave({});
sql(q{SELECT jobs.cancel(run_id) FROM jobs.calls WHERE status = 'running'});
ok(poll_until($node, q{SELECT count(*) FROM jobs.calls WHERE status IN ('queued', 'running')}, 0), 'those are sent when it is back');
foreach my $i (1 .. 4)
{
    my @paths = map { $_->{path} } grep { $_->{path} =~ m{^/tarpit$i} } $server->requests;
    is($paths[-1], "/tarpit$i", "job $i: the end of the last run comes last");
}

# --- arguments ----------------------------------------------------------------------------

schedule('long', '/long', overlap => "'allow'");
my %args = (
    'short in the queue' => q{jsonb_build_object('a', repeat(E'\x01', 2000000))},
    'a number' => q{(SELECT jsonb_agg(1e130000) FROM generate_series(1, 100))},
    'more than a text can have' => q{jsonb_build_object('a', repeat(E'\x01', 200000000))},
);
foreach my $what (sort keys %args)
{
    my $run = sql("SELECT jobs.enqueue('long', $args{$what})");
    ok(poll_until($node, "SELECT status || sqlstate || error FROM jobs.history WHERE run_id = $run AND finished_at IS NOT NULL",
        'failed22023URL cannot be called: its body would have more than 10 MB'), "$what: arguments that are too long end the run");
}
is(sql(q{SELECT count(*) FROM jobs.queued WHERE job = 'long'}), 0, 'for good');
is(run_and_wait($node, 'beside')->{status}, 'succeeded', 'others are called');
is(log_count($node, qr/ERROR/), 0, 'and no process failed');

# what is short in the queue and long in memory is not all in hand at once
my $big = start_http();    # which keeps what it gets
$big->behave({ '/long' => { delay => 0.05 } });
sql("SELECT jobs.schedule('long', NULL, handler => 'http', url => '" . $big->url('/long') . "', overlap => 'allow')");
sql(q{SELECT count(*) FROM jobs.enqueue_many('long', (SELECT array_agg(jsonb_build_object('n', i, 'a', repeat('x', 8000000))) FROM generate_series(1, 24) i))});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'long' AND status = 'succeeded'}, 24), 'long arguments are sent');
my ($pid) = worker_pids($node, 'executor', 'postgres');
my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status");
$status =~ /^VmHWM:\s+(\d+) kB/m or die $status;
cmp_ok($1, '<', 1024 * 1024, 'in less memory than all of them would take');

# --- a process that has served for long enough -----------------------------------------------

set_fault($node, 'caller-ages', 'on');
$server->behave({ '/hang' => [ { hang => JSON::PP::true }, {} ] });
schedule('hang', '/hang');
schedule('many', '/many');
my $hangs = sql(q{SELECT jobs.enqueue('hang')});
$server->wait_requests(1, '/hang');
my $first = sql("SELECT pid FROM jobs.active WHERE run_id = $hangs");
enqueue_many('many', 60) foreach 1 .. 3;
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'many' AND status = 'succeeded'}, 180), 'one that has served for long enough leaves the rest to others');
cmp_ok(sql(q{SELECT count(DISTINCT pid) FROM jobs.history WHERE job = 'many'}), '>', 1, 'of which there are more than one');
is(sql("SELECT status || pid FROM jobs.history WHERE run_id = $hangs"), "running$first", 'while what it has in hand goes on');
sql("SELECT jobs.cancel($hangs)");
ok(wait_for(sub { !kill 0, $first }, 'it leaves'), 'until that has ended');
clear_fault($node, 'caller-ages');

# --- many are cancelled at once --------------------------------------------------------------

sql('ALTER SYSTEM SET motionify_jobs.http_max_connections = 50');
$node->reload;
$server->behave({ '/wait' => { hang => JSON::PP::true } });
schedule('wait', '/wait');
enqueue_many('wait', 120);
ok(poll_until($node, q{SELECT count(*) FROM jobs.active WHERE job = 'wait'}, 120), 'many are in hand');
($pid) = sql(q{SELECT min(pid) FROM jobs.active});
kill 'STOP', $pid;    # it takes none while they come
is(sql(q{SELECT count(*) FROM jobs.active WHERE job = 'wait' AND jobs.cancel(run_id)}), 120, 'all are cancelled at once');
kill 'CONT', $pid;
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'wait' AND status = 'cancelled'}, 120), 'and end so');

# --- tables are locked with calls in hand ---------------------------------------------------

$server->behave({ '/held' => { delay => 0.3 }, '/meanwhile' => { delay => 0.3 } });
schedule('held', '/held');
schedule('meanwhile', '/meanwhile');
foreach my $end (0, 1)
{
    my @runs = map { sql("SELECT jobs.enqueue('$_')") } 'held', 'meanwhile';
    ok(poll_until($node, q{SELECT count(*) FROM jobs.active}, 2), 'calls are in hand');
    $pid = sql("SELECT pid FROM jobs.active WHERE run_id = $runs[0]");
    my $from = -s $node->logfile;
    sql(q{BEGIN; LOCK TABLE jobs.queue; PREPARE TRANSACTION 'lock'});
    ok(wait_for(sub { log_count($node, qr/are locked by another session/, $from) }, 'a line of the log'), 'the tables are locked when they end');
    sql("SELECT pg_terminate_backend($pid)") if $end;
    ok(wait_for(sub { !kill 0, $pid }, 'it ends'), 'who is told to end does, though it cannot record') if $end;
    sql(q{COMMIT PREPARED 'lock'});
    ok(poll_until($node, "SELECT count(*) FROM jobs.history WHERE run_id IN ($runs[0], $runs[1]) AND status = 'succeeded'", 2), 'they succeed when the lock is gone');
    is(sql("SELECT max(attempt) FROM jobs.history WHERE run_id IN ($runs[0], $runs[1])"), 1, 'and were called once') if !$end;
}

$node->stop;
done_testing();
