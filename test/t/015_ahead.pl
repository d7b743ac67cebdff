# Executors are started before jobs are due, as many as the jobs could use; and the
# runs are made a moment ahead, to begin on time.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 3\nmotionify_jobs.linger = '300s'\n");
sub sql { return $node->safe_psql('postgres', $_[0]); }

set_clock($node, '2030-01-01 11:59:00+00');
sql('CREATE ROLE other LOGIN');
sql("SELECT jobs.schedule('noon ' || g, '0 12 * * *', 'SELECT pg_backend_pid()') FROM generate_series(1, 5) AS g");
sql("SELECT jobs.schedule('later', '0 13 * * *', 'SELECT 1', role => 'other')");
is(scalar worker_pids($node, 'executor'), 0, 'a minute ahead there is none');

set_clock($node, '2030-01-01 11:59:58.5+00');
my @ready;
ok(wait_for(sub { @ready = worker_pids($node, 'executor'); @ready == 3 }, 'three executors'),
    'two seconds ahead there are as many as there may be');
is(sql('SELECT count(*) FROM jobs.history'), 0, 'and nothing has run');

set_clock($node, '2030-01-01 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.history WHERE status = 'succeeded'"), 'at noon all run');
my %ready = map { $_ => 1 } @ready;
is(scalar(grep { !$ready{$_} } split /\n/, sql('SELECT DISTINCT result FROM jobs.history')), 0,
    'in the executors that waited for them');

# Ten milliseconds before: the runs are made, and wait in the executors.
sql("SELECT jobs.unschedule('later')");    # all executors are for the others
set_clock($node, '2030-01-02 11:59:58.5+00');
sql("SELECT jobs.schedule('outside', '0 12 * * *', handler => 'external')");
set_clock($node, '2030-01-02 11:59:59.990+00');
ok(poll_until($node, "SELECT count(*) >= 3 FROM jobs.queue WHERE state = 'running' AND run_at = '2030-01-02 12:00+00'"),
    'a moment before noon executors have runs');
is(sql("SELECT count(*) FROM jobs.queue WHERE state IN ('ready', 'running')"), 6, 'the others are ready');
is(sql("SELECT count(*) FROM jobs.run_log WHERE due_at = '2030-01-02 12:00+00'"), 0, 'none has begun');
is(sql("SELECT count(*) FROM jobs.claim('outside')"), 0, 'and workers outside get none');
my $first = sql("SELECT run_id FROM jobs.queue WHERE state = 'running' ORDER BY 1 LIMIT 1");
is(sql("SELECT jobs.cancel($first)"), 't', 'one of them is cancelled');
set_clock($node, '2030-01-02 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.history WHERE due_at = '2030-01-02 12:00+00' AND job LIKE 'noon%' AND status <> 'running'"),
    'at noon they end');
is(sql("SELECT string_agg(DISTINCT status || ' ' || extract(epoch FROM started_at - due_at)::int, ', ') FROM jobs.history
        WHERE due_at = '2030-01-02 12:00+00' AND job LIKE 'noon%'"), 'cancelled 0, succeeded 0', 'and have begun on time');
is(sql("SELECT status FROM jobs.history WHERE run_id = $first"), 'cancelled', 'but the one that was cancelled');
is(sql("SELECT count(*) FROM jobs.claim('outside')"), 1, 'workers outside have theirs');

# An executor that is told to leave meanwhile gives back what it has.
set_clock($node, '2030-01-03 11:59:58.5+00');
set_clock($node, '2030-01-03 11:59:59.990+00');
ok(poll_until($node, "SELECT count(*) >= 3 FROM jobs.queue WHERE state = 'running' AND run_at = '2030-01-03 12:00+00'"),
    'the next day as well');
my %told = map { $_ => 1 } worker_pids($node, 'executor');
kill 'TERM', keys %told;
ok(wait_for(sub { !grep { $told{$_} } worker_pids($node, 'executor') }, 'they are gone'), 'executors are told to end, and do');
is(sql("SELECT count(*) FROM jobs.queue WHERE run_at = '2030-01-03 12:00+00' AND state IN ('ready', 'running') AND attempt <= 1"), 5,
    'their runs are there, and no attempt is lost');
set_clock($node, '2030-01-03 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.history WHERE due_at = '2030-01-03 12:00+00' AND job LIKE 'noon%' AND status = 'succeeded'"),
    'they are all done at noon, by others');
is(sql("SELECT count(*), max(attempt) FROM jobs.history WHERE due_at = '2030-01-03 12:00+00' AND job LIKE 'noon%'"), '5|1', 'each once');

# What makes the scheduler look again at once, here runs that wait for another, does
# not make it start what is due only later.
set_clock($node, '2030-01-04 11:59:58.5+00');
sql("SELECT jobs.schedule('gated', NULL, 'SELECT pg_sleep(60)', overlap => 'queue', concurrency_key => 'one')");
set_clock($node, '2030-01-04 11:59:59.800+00');
sql("SELECT count(jobs.run_now('gated', wait => false)) FROM generate_series(1, 2)");
ok(poll_until($node, "SELECT count(*) FILTER (WHERE state = 'held') = 1 AND count(*) FILTER (WHERE state = 'running') = 1
        FROM jobs.queue q JOIN jobs.job j USING (job_id) WHERE j.name = 'gated'"), 'a run waits for another');
sql("SELECT jobs.schedule('seen', NULL, 'SELECT 1')");
sql("SELECT jobs.run_now('seen')");    # a tick later
is(sql("SELECT count(*) FROM jobs.queue WHERE run_at = '2030-01-04 12:00+00' AND state = 'running'")
      + sql("SELECT count(*) FROM jobs.run_log WHERE due_at = '2030-01-04 12:00+00'"),
    0, 'and 200 ms before noon nothing of noon has begun');

# The runs of many jobs are made earlier than they are given to executors.
sql("SELECT count(jobs.unschedule(name, cancel_running => true)) FROM jobs.job");
set_clock($node, '2030-01-05 11:59:00+00');
sql("SELECT count(jobs.schedule('many ' || g, '0 12 * * *', 'SELECT 1', priority => g % 3)) FROM generate_series(1, 200) AS g");
set_clock($node, '2030-01-05 11:59:58.5+00');
ok(wait_for(sub { worker_pids($node, 'executor') == 3 }, 'three executors'), 'executors are there for many jobs');
set_clock($node, '2030-01-05 11:59:59.970+00');
# an executor that looks just then, for the settings were read again, may claim some, and wait
ok(poll_until($node, "SELECT count(*) = 200 FROM jobs.queue WHERE run_at = '2030-01-05 12:00+00' AND state IN ('ready', 'running')"),
    '30 ms ahead all their runs are made');
is(sql("SELECT count(*) FROM jobs.run_log WHERE due_at = '2030-01-05 12:00+00'"), 0, 'and none has begun');
is(sql("SELECT count(*) FROM jobs.job_state WHERE next_run_at <= '2030-01-05 12:00+00'"), 0, 'and no job is still to be looked at');
set_clock($node, '2030-01-05 11:59:59.990+00');
ok(poll_until($node, "SELECT count(*) >= 3 FROM jobs.queue WHERE run_at = '2030-01-05 12:00+00' AND state = 'running'"), '10 ms ahead they have');
is(sql("SELECT count(*) FROM jobs.run_log WHERE due_at = '2030-01-05 12:00+00'"), 0, 'and none has begun');
set_clock($node, '2030-01-05 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 200 FROM jobs.run_log WHERE due_at = '2030-01-05 12:00+00' AND status = 'succeeded'"), 'at noon all run');
is(sql("SELECT count(*) FROM jobs.run_log WHERE due_at = '2030-01-05 12:00+00' AND (started_at < due_at OR attempt > 1)"), 0, 'none before, each once');

$node->stop;
done_testing();
