# The example workers, in Node.js and Python: they do runs as soon as these are
# ready, report failures, keep long runs, release at SIGTERM; and what a worker that
# was killed had goes to another one.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $examples = "$FindBin::Bin/../../examples";
my %workers = (
    node => { command => [ 'node', "$examples/worker-node/worker.js" ], needs => [ 'node', '-e', "require('pg')" ] },
    python => { command => [ '/usr/bin/python3', "$examples/worker-python/worker.py" ], needs => [ '/usr/bin/python3', '-c', 'import psycopg2' ] });

my $node = new_node('main');
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub run
{
    my ($name, $args) = @_;
    return sql("SELECT run_id FROM jobs.run_now('$name', '$args', wait => false)");
}

# Starts a worker, and waits until it listens.
sub start
{
    my ($kind) = @_;
    my $worker = { err => '' };
    local $ENV{PGUSER} = 'worker';
    $worker->{harness} = IPC::Run::start([ @{ $workers{$kind}{command} }, $kind ], '<', \undef, '>&', \$worker->{err});
    $worker->{pid} = $worker->{harness}{KIDS}[0]{PID};
    delete local $ENV{PGUSER};
    poll_until($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'worker.% $worker->{pid}' AND query LIKE 'LISTEN%'
        OR application_name LIKE 'worker.% $worker->{pid}' AND query LIKE '%jobs.claim%'")
      or diag($worker->{err});
    return $worker;
}

# Ends a worker by a signal; whether it ended well.
sub end_by
{
    my ($worker, $signal) = @_;
    kill $signal, $worker->{pid};
    wait_for(sub { $worker->{harness}->pump_nb; !$worker->{harness}->pumpable }, "a worker ends by $signal");
    return eval { $worker->{harness}->finish };
}

sub has_run { my ($worker, $run) = @_; return poll_until($node, "SELECT worker LIKE 'worker.% $worker->{pid}' FROM jobs.active WHERE run_id = $run"); }
sub ends { my ($run, $expected) = @_; return poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $run", $expected); }

sql(q{CREATE ROLE worker LOGIN; SELECT jobs.grant_usage('worker', 'user')});
foreach my $kind (sort keys %workers)
{
  SKIP:
    {
        my ($out, $err) = ('', '');
        IPC::Run::run($workers{$kind}{needs}, '<', \undef, '>', \$out, '2>', \$err)
          or skip "its client library could not be installed: $err", 1;
        cmp_ok(scalar(split /^/, slurp_file($workers{$kind}{command}[1])), '<', 60, "$kind: the worker has less than 60 lines");
        sql("SELECT jobs.schedule('$kind', NULL, handler => 'external', role => 'worker', overlap => 'allow', max_attempts => 2, backoff_base => '0')");
        my $before = run($kind, '{}');
        my $worker = start($kind);
        ok(ends($before, 'succeeded'), "$kind: what was ready before it started is done");

        # long before a worker would look by itself, which is after a minute
        my $from = time;
        my @runs = map { run($kind, '{"seconds": 0}') } 1 .. 5;
        ok(ends($_, 'succeeded'), "$kind: a run is done when it is ready") foreach @runs;
        cmp_ok(time - $from, '<', 50, "$kind: without looking for it");
        is(sql("SELECT DISTINCT result FROM jobs.history WHERE run_id = $runs[0]"), '{"seconds": 0}', "$kind: with its result");

        my $failing = run($kind, '{"fail": "no such thing"}');
        ok(ends($failing, 'failed,failed'), "$kind: a failure is tried again, and reported");
        is(sql("SELECT DISTINCT error FROM jobs.history WHERE run_id = $failing"), 'no such thing', "$kind: with its words");

        # shut down: what it had goes back at once, and is another's
        my $long = run($kind, '{"seconds": 3600}');
        ok(has_run($worker, $long), "$kind: a long run is shown with its worker");
        ok(end_by($worker, 'TERM'), "$kind: it ends well at SIGTERM") or diag($worker->{err});
        is(sql("SELECT state || attempt FROM jobs.queue WHERE run_id = $long"), 'ready0', "$kind: and has released what it had");

        # heartbeats keep a run, until its worker is killed
        $ENV{LEASE_MS} = 6000;
        $worker = start($kind);
        ok(has_run($worker, $long), "$kind: another worker has it");
        ok(poll_until($node, "SELECT lease_until > started_at + interval '7 s' FROM jobs.active WHERE run_id = $long"), "$kind: which keeps it by heartbeats");
        kill 'KILL', $worker->{pid};
        my $other = start($kind);
        ok(has_run($other, $long), "$kind: what a killed worker had goes to another");
        is(sql("SELECT string_agg(status || coalesce(error, ''), ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $long"),
            'crashedits lease ran out,running', "$kind: when its lease has run out");
        eval { $worker->{harness}->finish };

        # a cancelled run is let go of, and the worker goes on
        sql("SELECT jobs.cancel($long)");
        ok(ends($long, 'crashed,cancelled'), "$kind: a run is cancelled while it has it");
        wait_for(sub { $other->{harness}->pump_nb; $other->{err} =~ /the lease of run $long .* has ended/ }, "$kind is told");
        my $last = run($kind, '{}');
        ok(ends($last, 'succeeded'), "$kind: it goes on with others");
        ok(end_by($other, 'TERM'), "$kind: and ends well") or diag($other->{err});
        delete $ENV{LEASE_MS};

        # without its connection it does not hang
        $worker = start($kind);
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'worker.% $worker->{pid}'");
        wait_for(sub { $worker->{harness}->pump_nb; !$worker->{harness}->pumpable }, "$kind ends without its connection");
        ok(!eval { $worker->{harness}->finish }, "$kind: it ends with an error when its connection is lost");
    }
}

done_testing();
