# An executor claims several runs in one go.  That does not show: a long run
# holds up none of those claimed with it, a claimed run can be cancelled, and
# whatever ends the process, only the run at hand has been tried.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 1\n");
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'SQL');
CREATE TABLE effect (job text, run_id bigint);
SELECT jobs.schedule('short', NULL, $$INSERT INTO effect VALUES ('short', jobs.current_run_id())$$,
                     overlap => 'allow');
SELECT jobs.schedule('long', NULL,
    $$INSERT INTO effect SELECT 'long', jobs.current_run_id() FROM pg_advisory_xact_lock(1)$$,
    overlap => 'allow', priority => -1);
SQL
set_fault($node, 'batch-largest', 'wait');

# queue(LONG, SHORT): so many runs, in one batch, the long ones first; run ids.
sub queue
{
    my ($long, $short) = @_;
    sql('SELECT jobs.drain()');
    my $ids = sql(qq{
        SELECT (jobs.run_now('long', wait => false)).run_id FROM generate_series(1, $long);
        SELECT (jobs.run_now('short', wait => false)).run_id FROM generate_series(1, $short)});
    sql('SELECT jobs.undrain()');
    return split /\n/, $ids;
}

sub active { return sql('SELECT string_agg(job, $$,$$ ORDER BY run_id) FROM jobs.active'); }

# The ends of some runs: attempt and status of each.
sub ends
{
    return sql("SELECT string_agg(DISTINCT attempt || ' ' || status, ', ')
                FROM jobs.history WHERE run_id IN (" . join(',', @_) . ')');
}

my $gate = new_session($node);
$gate->query('SELECT pg_advisory_lock(1)');

# --- a long run ---------------------------------------------------------------

my ($long, @short) = queue(1, 10);
ok(poll_until($node, q{SELECT count(*) FROM jobs.queued WHERE state = 'ready'}, '10'),
   'what was claimed with a run that is long goes back');
is(active(), 'long', 'and only that one is shown as at work');
$node->append_conf('postgresql.conf', "motionify_jobs.max_workers = 2\n");
$node->reload;
ok(poll_until($node, q{SELECT count(*) FROM effect WHERE job = 'short'}, '10'),
   'another executor runs them meanwhile');
is(ends(@short), '1 succeeded', 'each at its first attempt');
$gate->query('SELECT pg_advisory_unlock(1)');
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $long", 'succeeded'),
   'the long one ends, too');
$node->append_conf('postgresql.conf', "motionify_jobs.max_workers = 1\n");
$node->reload;

# --- what comes later and is more urgent -----------------------------------------

# Claims begin where the last one ended, which is after such a run's place.
$gate->query('SELECT pg_advisory_lock(1)');
sql('TRUNCATE effect');
($long) = queue(1, 0);
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $long), 'a long run is at hand');
sql(q{SELECT jobs.enqueue('short') FROM generate_series(1, 3)});
my $urgent = sql(q{SELECT jobs.enqueue('short', priority => -10)});
$gate->query('SELECT pg_advisory_unlock(1)');
ok(poll_until($node, 'SELECT count(*) FROM effect', '5'), 'all are done');
is(sql("SELECT run_id FROM jobs.history WHERE job = 'short' AND trigger = 'queue' ORDER BY started_at LIMIT 1"),
   $urgent, 'the urgent one before the others');

# --- cancelled while it is claimed -------------------------------------------

# From here on nothing is given back because it waits.
set_fault($node, 'batch-unbounded', 'wait');
$gate->query('SELECT pg_advisory_lock(1)');
sql('TRUNCATE effect');
($long, @short) = queue(1, 3);
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $long), 'a long run is at hand');
is(sql(q{SELECT count(*) FROM jobs.queue WHERE state = 'running'}), '4', 'and three more are claimed');
is(sql("SELECT jobs.cancel($short[1])"), 't', 'one of them is cancelled');
ok(poll_until($node, "SELECT count(*) FROM jobs.queue WHERE run_id = $short[1]", '0'), 'at once, not when its turn has come');
$gate->query('SELECT pg_advisory_unlock(1)');
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'all end');
is(ends(@short[0, 2]), '1 succeeded', 'the others well');
is(sql("SELECT status FROM jobs.history WHERE run_id = $short[1] AND error LIKE 'cancelled by role %'"),
   'cancelled', 'and this one cancelled');
is(sql("SELECT count(*) FROM effect WHERE run_id = $short[1]"), '0', 'without having done anything');

# --- the process is told to end ----------------------------------------------

$gate->query('SELECT pg_advisory_lock(1)');
sql('TRUNCATE effect');
($long, @short) = queue(1, 5);
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $long), 'a long run is at hand');
set_fault($node, 'scheduler-tick-start', 'wait');
my $gone = pop @short;
is(sql("SELECT jobs.cancel($gone)"), 't', 'a claimed run is cancelled');
my $executor = sql('SELECT pid FROM jobs.active');
sql("SELECT pg_terminate_backend($executor)");
ok(poll_until($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $executor", '0'), 'before its executor is ended');
is(ends($gone), '1 cancelled', 'and is cancelled for good');
clear_fault($node, 'scheduler-tick-start');
$gate->query('SELECT pg_advisory_unlock(1)');
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'its executor is ended, and all runs end');
is(ends($long), '1 cancelled, 2 succeeded', 'the run at hand was interrupted');
is(ends(@short), '1 succeeded', 'those that it had claimed were not');
is(sql('SELECT count(*), count(DISTINCT run_id) FROM effect'), '5|5', 'each did its work once');

# --- the server crashes --------------------------------------------------------

$gate->query('SELECT pg_advisory_lock(1)');
sql('TRUNCATE effect');
($long, @short) = queue(1, 5);
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $long), 'a long run is at hand');
is(sql(q{SELECT count(*) FROM jobs.queue WHERE state = 'running'}), '6', 'and five more are claimed');
kill_worker($node, 'executor');
$gate->quit;
ok(wait_for(sub {
    my $n = '';
    eval { $node->psql('postgres', 'SELECT count(*) FROM jobs.queue', stdout => \$n, stderr => \my $err) };
    return $n eq '0';
}, 'all runs end'), 'after a crash all runs end');
is(ends($long), '1 crashed, 2 succeeded', 'the run at hand has crashed');
is(ends(@short), '1 succeeded', 'those that were claimed with it have not');
is(sql('SELECT count(*), count(DISTINCT run_id) FROM effect'), '6|6', 'each did its work once');

done_testing();
