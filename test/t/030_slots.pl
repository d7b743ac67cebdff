# Too few worker processes, more roles than executors, more databases than
# schedulers: everything is served in time, and nothing spins.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

# --- no worker process is free ------------------------------------------------------

# the launcher and logical replication's take both
my $full = new_node('full', conf => "max_worker_processes = 2\nlog_statement = none\n");
$full->safe_psql('postgres', q{SELECT jobs.schedule('ping', NULL, 'SELECT 1'),
    jobs.schedule('every second', '* * * * * *', 'SELECT 1')});
my $session = new_session($full);
$session->send(q{SELECT status FROM jobs.run_now('ping')});
ok(wait_for(sub { log_count($full, qr/no background worker is free/) }, 'a line of the log'), 'the log tells that no worker is free');
ok(wait_for(sub { log_count($full, qr/HINT: .*max_worker_processes/) }, 'a hint'), 'and what to do');
is($full->safe_psql('postgres', q{SELECT ok FROM jobs.doctor() WHERE hint LIKE '%max_worker_processes%'}), 'f', 'so does the doctor');
ok(wait_for(sub { $session->{harness}->pump_nb; $session->error =~ /NOTICE: .*waits for a free executor/ }, 'a notice'),
    'who waits for a run is told');

# over two of the launcher's tries, it does next to nothing
my ($launcher) = worker_pids($full, 'launcher');
sub switches
{
    my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$launcher/status");
    my ($n) = $status =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
    return $n;
}
my $before = switches();
my $since = $full->safe_psql('postgres', 'SELECT clock_timestamp()');
poll_until($full, "SELECT clock_timestamp() > '$since'::timestamptz + interval '6 s'");
my $woken = switches() - $before;
cmp_ok($woken, '<', 20, "the launcher does not spin: woken $woken times in 6 s");
is(log_count($full, qr/no background worker is free/), 1, 'and told once');

$session->{harness}->kill_kill;
$full->append_conf('postgresql.conf', 'max_worker_processes = 16');
$full->restart;
is(run_and_wait($full, 'ping')->{result}, '1', 'with enough of them it works');
$full->stop;

# --- one that becomes free ----------------------------------------------------------

# four processes: two launchers, one scheduler, and one executor that would idle
# for a long time
my $node = new_node('main', conf => "max_worker_processes = 4\nmotionify_jobs.linger = '300s'\n");
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql("CREATE ROLE r$_ LOGIN") foreach 1 .. 6;
sql("SELECT jobs.schedule('r$_', NULL, 'SELECT session_user', role => 'r$_', overlap => 'allow')") foreach 1 .. 6;
is(run_and_wait($node, "r$_")->{result}, "r$_", "one process for executors serves role r$_ in its turn") foreach 1 .. 6;
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nmotionify_jobs.max_workers = 2");
$node->restart;

# --- more roles than executors ----------------------------------------------------------

# r1 and r2 always have work
sql("SELECT jobs.schedule('busy $_', NULL, 'SELECT pg_sleep(0.05)', role => 'r$_', overlap => 'allow')") foreach 1, 2;
sql("SELECT jobs.run_now('busy $_', wait => false) FROM generate_series(1, 400)") foreach 1, 2;
poll_until($node, q{SELECT count(*) FROM jobs.history WHERE status = 'running'}, '2');
is(run_and_wait($node, "r$_")->{result}, "r$_", "two executors with a lot to do serve role r$_ in between") foreach 3 .. 6;
cmp_ok(sql('SELECT count(*) FROM jobs.queued'), '>', 0, 'while the others still have work');
is(sql(q{SELECT count(DISTINCT role) FROM jobs.history WHERE job LIKE 'busy%' AND status = 'succeeded'}), 2, 'and got some done');

# a long run in one lane does not keep the slot of a quick one from a third
sql("SELECT jobs.schedule('long', NULL, 'SELECT pg_sleep(3600)', role => 'r5')");
sql("SELECT jobs.run_now('long', wait => false)");
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'long' AND status = 'running'}, '1'), 'a long run takes one executor');
is(run_and_wait($node, "r$_")->{result}, "r$_", "the other goes round: r$_") foreach 3, 4, 6;

# the pool is not exceeded; who makes way gives its slot up just before its process has gone
ok(poll_until($node, q{SELECT count(*) <= 2 FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs%executor%'}, 't'),
    'there are two executors at most');
sql(q{SELECT jobs.unschedule(name, cancel_running => true) FROM jobs.job WHERE name = 'long' OR name LIKE 'busy%'});

# --- more databases than schedulers ------------------------------------------------------

my @databases = map { "d$_" } 1 .. 4;
foreach my $db (@databases)
{
    sql("CREATE DATABASE $db");
    $node->safe_psql($db, q{CREATE EXTENSION motionify_jobs});
    $node->safe_psql($db, q{SELECT jobs.schedule('every second', '* * * * * *', 'SELECT 1', role => 'r1'),
                                   jobs.schedule('ping', NULL, 'SELECT 1', role => 'r1')});
}
foreach my $db (@databases)
{
    ok(poll_until($node, q{SELECT count(*) >= 2 FROM jobs.history WHERE job = 'every second' AND status = 'succeeded'}, 't', $db),
        "one scheduler serves database $db in its turn");
    is(run_and_wait($node, 'ping', $db)->{result}, '1', "run_now in $db");
}
cmp_ok(scalar(worker_pids($node, 'scheduler')), '<=', 1, 'there is one scheduler at most');

# one database that is woken all the time does not keep the others from theirs
my $noisy = new_session($node, 'd1');
$noisy->send(q{DO $$ BEGIN FOR i IN 1 .. 1000000 LOOP
    PERFORM jobs.run_now('ping', wait => false); COMMIT; END LOOP; END $$});
foreach my $db (@databases[ 1 .. 3 ])
{
    my $had = $node->safe_psql($db, q{SELECT count(*) FROM jobs.history WHERE job = 'every second'});
    ok(poll_until($node, "SELECT count(*) >= $had + 2 FROM jobs.history WHERE job = 'every second'", 't', $db),
        "$db is served beside a noisy one");
}
sql('SELECT pg_terminate_backend(' . $noisy->pid . ')');

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
