# Every process may be killed, terminated or cancelled at any time: no run is
# lost, none takes effect twice, and what was interrupted is no failure.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A job that leaves one row, and takes until the gate is open in between.  The
# gate is a file, so that the work stays one transaction.
my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
sub open_gate { PostgreSQL::Test::Utils::append_to_file($gate, ''); return; }
sub close_gate { unlink $gate; return; }

sql(<<SQL);
CREATE TABLE effect (run_id bigint, at timestamptz);
CREATE FUNCTION work() RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
  INSERT INTO effect VALUES (0, now());
  PERFORM set_config('application_name', 'at work', false);
  WHILE pg_stat_file('$gate', true) IS NULL LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
  RETURN 7;
END \$\$;
SELECT jobs.schedule('work', NULL, 'SELECT work()');
SELECT jobs.schedule('ping', NULL, 'SELECT 1');
SQL

my $at_work = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'at work'};

# Starts the job; returns its run, and the process that is at work.
sub start_work
{
    close_gate();
    sql('TRUNCATE effect');
    my $run_id = sql(q{SELECT run_id FROM jobs.run_now('work', wait => false)});
    my $pid;
    wait_for(sub { $pid = sql($at_work) }, 'the job is at work');
    return ($run_id, $pid);
}

# The run ends well: with these attempts, and one effect.
sub ends_as
{
    my ($run_id, $attempts, $what) = @_;
    my $ok = poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt)
        FROM jobs.history WHERE run_id = $run_id", $attempts);
    ok($ok, "$what: $attempts");
    is(sql('SELECT count(*) FROM effect'), $attempts =~ /succeeded/ ? 1 : 0, "$what: its effect, exactly once");
    is(sql('SELECT count(*) FROM jobs.queue'), 0, "$what: nothing is left in the queue");
    return;
}

sub kill_and_wait
{
    my ($pid) = @_;
    kill('KILL', $pid) == 1 or die "cannot kill $pid: $!";
    backend_of_pid_gone($pid);
    return;
}

# Until the server has gone through its crash restart.
sub wait_for_restart
{
    my ($since) = @_;
    ok(poll_until($node, "SELECT pg_postmaster_start_time() IS NOT NULL
        AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'motionify_jobs launcher'
                    AND backend_start > '$since')"), 'the server and the launcher are back');
    return;
}

# --- kill -9: the server goes through a crash restart ---------------------------

foreach my $kind ('executor', 'scheduler', 'launcher')
{
    my ($run_id, $at) = start_work();
    my ($pid) = $kind eq 'executor' ? $at : worker_pids($node, $kind);
    my $since = sql('SELECT clock_timestamp()');
    kill_and_wait($pid);
    wait_for_restart($since);
    open_gate();
    ends_as($run_id, 'crashed,succeeded', "kill -9 of the $kind");
    is(sql("SELECT sqlstate, attempt FROM jobs.history WHERE run_id = $run_id AND status = 'crashed'"),
        '57P02|1', "kill -9 of the $kind: the crash is in the history");
    is(run_and_wait($node, 'ping')->{result}, '1', 'and jobs run');
}

# a waiting run waits on
my $later = sql(q{SELECT run_id FROM jobs.run_now('ping', wait => false)});
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $later", 'succeeded'), 'all is well');

# --- pg_terminate_backend -------------------------------------------------------

foreach my $kind ('executor', 'scheduler', 'launcher')
{
    my ($run_id, $at) = start_work();
    my ($pid) = $kind eq 'executor' ? $at : worker_pids($node, $kind);
    sql("SELECT pg_terminate_backend($pid)");
    backend_of_pid_gone($pid);
    open_gate();
    ends_as($run_id, $kind eq 'executor' ? 'cancelled,succeeded' : 'succeeded', "termination of the $kind");
    is(run_and_wait($node, 'ping')->{result}, '1', 'and jobs run');
    wait_for_worker($node, $kind);
}

is(sql(q{SELECT coalesce(sum(failures), 0) FROM jobs.queue}) . sql(q{SELECT consecutive_failures
    FROM jobs.status WHERE job = 'work'}), '00', 'what was interrupted is no failure');

# who was told to end is followed by another at once, how often it may be: with
# the wait after failures, which doubles, this would take minutes
{
    my $end = time + 60;
    foreach my $kind (('scheduler') x 7, ('executor') x 7)
    {
        run_and_wait($node, 'ping');
        kill_worker($node, $kind, 'TERM');
    }
    is(run_and_wait($node, 'ping')->{result}, '1', 'workers that are ended again and again come back');
    cmp_ok(time, '<', $end, 'at once');
}

# the caller who waits for a run that is interrupted gets its end
{
    close_gate();
    sql('TRUNCATE effect');
    my $session = new_session($node);
    $session->send(q{SELECT status, result FROM jobs.run_now('work')});
    my $pid;
    wait_for(sub { $pid = sql($at_work) }, 'the job is at work');
    sql("SELECT pg_terminate_backend($pid)");
    backend_of_pid_gone($pid);
    wait_for(sub { my $now = sql($at_work); $now && $now != $pid }, 'it is at work again');
    # longer than the caller's own look at the log
    sql(q{SELECT pg_sleep(1.2)});
    open_gate();
    is($session->result, 'succeeded|7', 'who waits for an interrupted run gets its end');
    $session->quit;
}

# --- pg_cancel_backend ----------------------------------------------------------

{
    my ($run_id, $at) = start_work();
    sql("SELECT pg_cancel_backend($at)");
    ends_as($run_id, 'cancelled', 'pg_cancel_backend of a run');
    is(sql("SELECT pid = $at FROM jobs.history WHERE run_id = $run_id"), 't', 'which was that process');
    ok(kill(0, $at), 'the executor lives on');
    foreach my $kind ('executor', 'scheduler', 'launcher')
    {
        my ($pid) = worker_pids($node, $kind);
        sql("SELECT pg_cancel_backend($pid)");
        is(run_and_wait($node, 'ping')->{status}, 'succeeded', "an idle $kind is not harmed by pg_cancel_backend");
        is((worker_pids($node, $kind))[0], $pid, 'it is the same process');
    }
}

# --- a run that kills its process every time ------------------------------------

{
    sql(q{SELECT jobs.schedule('poison', NULL, $job$DO $$ BEGIN
          EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
          PERFORM pg_sleep(60); END $$ $job$)});
    my $run_id = sql(q{SELECT run_id FROM jobs.run_now('poison', wait => false)});
    ok(poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history
        WHERE run_id = $run_id", 'crashed,crashed,crashed'), 'a run that kills its process has three attempts');
    ok(poll_until($node, q{SELECT paused FROM jobs.status WHERE job = 'poison'}), 'then its job is paused');
    like(sql(q{SELECT why_not FROM jobs.status WHERE job = 'poison'}), qr/ended its process 3 times/, 'with the reason');
    is(sql('SELECT count(*) FROM jobs.queued'), 0, 'and it is gone from the queue');
    is(run_and_wait($node, 'ping')->{result}, '1', 'other jobs run');
}

# --- stops of the server --------------------------------------------------------

sql(q{SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)')});
foreach my $mode ('smart', 'fast', 'immediate')
{
    my $run_id = sql(q{SELECT run_id FROM jobs.run_now('sleeps', wait => false)});
    poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id", 'running');
    my $start = time;
    $node->stop($mode);
    cmp_ok(time - $start, '<', 20, "a $mode stop does not wait for a sleeping job");
    $node->start;
    ok(poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $run_id",
            ($mode eq 'immediate' ? 'crashed' : 'cancelled') . ',running'), 'and it is started again after');
    sql("SELECT jobs.unschedule('sleeps', cancel_running => true)");
    ok(poll_until($node, q{SELECT count(*) FROM jobs.queue}, '0'), 'unscheduled');
    sql(q{SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)')});
}
$node->stop;
done_testing();
