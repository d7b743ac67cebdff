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
kill 'TERM', worker_pids($node, 'executor');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.queue WHERE run_at = '2030-01-03 12:00+00' AND state IN ('ready', 'running') AND attempt <= 1"),
    'no attempt is lost by a worker that is ended');
set_clock($node, '2030-01-03 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.history WHERE due_at = '2030-01-03 12:00+00' AND job LIKE 'noon%' AND status = 'succeeded'"),
    'they are all done at noon, by others');
is(sql("SELECT count(*), max(attempt) FROM jobs.history WHERE due_at = '2030-01-03 12:00+00' AND job LIKE 'noon%'"), '5|1', 'each once');

$node->stop;
done_testing();
