# Nothing is held while a worker waits: no snapshot, no transaction, no lock.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

# nobody leaves before all were looked at
my $node = new_node('main', conf => "motionify_jobs.linger = '10min'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{SELECT jobs.schedule('ping', NULL, 'SELECT 1'), jobs.schedule('next year', '0 0 1 1 *', 'SELECT 1'),
             jobs.schedule('fails', NULL, 'SELECT 1 / 0'), jobs.schedule('vacuums', NULL, 'VACUUM')});
is(run_and_wait($node, $_->[0])->{status}, $_->[1], $_->[0])
  foreach [ 'ping', 'succeeded' ], [ 'fails', 'failed' ], [ 'vacuums', 'succeeded' ];

# all of them wait on their latch; there may be an executor more than was needed
ok(poll_until($node, q{SELECT count(DISTINCT backend_type) = 3 AND bool_and(wait_event = 'Extension' AND state IS DISTINCT FROM 'active')
    FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs%'}), 'launcher, scheduler and executor wait');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs%'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL)}), 0,
    'without a snapshot or a transaction');
is(sql(q{SELECT count(*) FROM pg_locks JOIN pg_stat_activity a USING (pid)
    WHERE a.backend_type LIKE 'motionify_jobs%'}), 0, 'and without a lock');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs%'
    AND state NOT IN ('idle')}), 0, 'they show as idle');

# so that vacuum removes what is dead, and DDL on the tables does not wait
sql('CREATE TABLE t AS SELECT generate_series(1, 100) AS a; DELETE FROM t');
my $verbose;
$node->psql('postgres', 'VACUUM (VERBOSE) t', stderr => \$verbose);
like($verbose, qr/tuples: 100 removed, 0 remain, 0 are dead but not yet removable/, 'VACUUM removes dead rows');
is($node->psql('postgres', q{BEGIN; SET LOCAL lock_timeout = '5s';
    LOCK TABLE jobs.queue, jobs.job, jobs.job_state, jobs.run_log; COMMIT}), 0, 'and their tables can be locked');

# a job that is running holds what it does itself, and nothing of the bookkeeping
sql(q{SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)')});
sql(q{SELECT jobs.run_now('sleeps', wait => false)});
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}, '1'), 'a job sleeps');
is(sql(q{SELECT count(*) FROM pg_locks WHERE pid IN (SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep')
    AND relation IS NOT NULL}), 0, 'its executor holds no lock on a table');

# a caller that waits is the only one with a transaction
my $session = new_session($node);
$session->send(q{SELECT status FROM jobs.run_now('ping')});
is($session->result, 'succeeded', 'run_now');
$session->quit;
sql(q{SELECT jobs.unschedule('sleeps', cancel_running => true)});
$node->stop;
done_testing();
