# A session, or a job, that locks or drops the tables of jobs, and jobs that
# lock each other out: what is concerned waits or ends with a clear error, all
# else goes on, and the log tells once.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', conf => <<'CONF');
max_prepared_transactions = 2
motionify_jobs.max_workers = 4
motionify_jobs.linger = '60s'
deadlock_timeout = '200ms'
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub sql_in { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

# A job's run, waited for: its status and result, or its error.
sub run_job
{
    my ($job, $db) = @_;
    my $run = run_and_wait($node, $job, $db);
    return "$run->{status}|" . ($run->{status} eq 'succeeded' ? $run->{result} : $run->{error});
}

sub start_job { return sql("SELECT run_id FROM jobs.run_now('$_[0]', wait => false)"); }

# The SQLSTATE and the error of a command that is run as a job of a superuser.
sub error_of
{
    my ($command) = @_;
    sql("SELECT jobs.schedule('probe', NULL, \$job\$$command\$job\$)");
    # not waited for: a caller has a lock on what the job is to drop
    my $run_id = start_job('probe');
    poll_until($node, "SELECT count(*) FROM jobs.history WHERE run_id = $run_id AND status <> 'running'", '1');
    return sql("SELECT concat_ws(' ', status, sqlstate, error) FROM jobs.history WHERE run_id = $run_id");
}

# Processes of ours that wait for a lock.
my $waiting = q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND a.backend_type = 'motionify_jobs %s'};

# Context switches that a process made of its own.
sub switches
{
    my $n = 0;
    foreach my $pid (@_)
    {
        my $status = eval { PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") } || '';
        $n += $1 if $status =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
    }
    return $n;
}

my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
sub open_gate { PostgreSQL::Test::Utils::append_to_file($gate, ''); return; }
sub close_gate { unlink $gate; return; }

sql(<<SQL);
CREATE FUNCTION wait_for_gate() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN
  WHILE pg_stat_file('$gate', true) IS NULL LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
END \$\$;
CREATE ROLE one LOGIN;
SELECT jobs.schedule('ping', NULL, 'SELECT 1', role => 'one'),
       jobs.schedule('mine', NULL, 'SELECT 2');
CREATE DATABASE other;
SQL
sql_in('other', q{CREATE EXTENSION motionify_jobs; SELECT jobs.schedule('ping', NULL, 'SELECT 1')});
is(run_job('ping'), 'succeeded|1', 'jobs run');
is(run_job('mine'), 'succeeded|2', 'those of a superuser too');
is(run_job('ping', 'other'), 'succeeded|1', 'also in another database');

# --- a session locks what a claim needs ---------------------------------------------

my $session = new_session($node);
foreach my $table ('queue', 'run_log', 'job', 'job_state', 'instance')
{
    my $from = -s $node->logfile;
    $session->query("BEGIN; LOCK TABLE jobs.$table");
    my @waiting = map { new_session($node) } 1 .. 2;
    $waiting[0]->send(q{SELECT status, result FROM jobs.run_now('mine')});
    $waiting[1]->send(q{SELECT status, result FROM jobs.run_now('ping')});
    is(run_job('ping', 'other'), 'succeeded|1', "jobs.$table is locked: jobs of another database run") foreach 1 .. 3;
    $session->query('COMMIT');
    is($waiting[0]->result, 'succeeded|2', "jobs.$table is released: what was asked for runs");
    is($waiting[1]->result, 'succeeded|1', 'all of it');
    $_->quit foreach @waiting;
    cmp_ok(log_count($node, qr/are locked by another session/, $from), '<=', 1, 'the log tells once at most');
}

# the executors are asked to claim while the queue is locked, and for long
{
    my $from = -s $node->logfile;
    close_gate();
    sql(q{SELECT jobs.schedule('work', NULL, 'SELECT wait_for_gate()', role => 'one', overlap => 'allow')});
    start_job('work') foreach 1 .. 4;
    poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'work' AND status = 'running'}, '4');
    start_job('mine');    # the scheduler is asked for an executor
    poll_until($node, q{SELECT count(*) FROM jobs.queued WHERE job = 'mine' AND state = 'ready'}, '1');
    my @pids = (worker_pids($node, 'executor'), worker_pids($node, 'scheduler'), worker_pids($node, 'launcher'));

    # the outcomes of the four wait for the lock
    $session->query('BEGIN; LOCK TABLE jobs.queue');
    open_gate();
    ok(poll_until($node, sprintf($waiting, 'executor'), '4'), 'four runs have ended, and wait for the lock to say so');
    my $asker = new_session($node);
    $asker->send(q{SELECT status, result FROM jobs.run_now('ping')});
    ok(wait_for(sub { log_count($node, qr/tables of schema jobs in database "postgres" are locked by another session/, $from) }, 'a line of the log'),
        'the log tells of the lock');
    ok(wait_for(sub { log_count($node, qr/HINT: .*pg_locks/, $from) }, 'a hint'), 'with a hint');
    my $before = switches(@pids);
    my $since = sql('SELECT clock_timestamp()');
    poll_until($node, "SELECT clock_timestamp() > '$since'::timestamptz + interval '4 s'");
    my $switches = switches(@pids) - $before;
    cmp_ok($switches, '<', 100, "nothing spins: $switches context switches in 4 s");
    $session->query('COMMIT');
    ok(poll_until($node, q{SELECT count(*) FROM jobs.queue}, '0'), 'all goes on when the lock goes');
    is($asker->result, 'succeeded|1', 'who asked meanwhile is served');
    $asker->quit;
    is(sql(q{SELECT count(*) FROM jobs.history WHERE job = 'work' AND status = 'succeeded'}), 4, 'the four have succeeded');
    is(log_count($node, qr/are locked by another session/, $from), 1, 'and the log told once');
}

# idle executors that are woken for a claim: asked to leave meanwhile, they do
{
    my $from = -s $node->logfile;
    close_gate();
    sql(q{SELECT jobs.schedule('work', NULL, 'SELECT wait_for_gate()', role => 'one', overlap => 'allow')});
    my ($pid) = wait_for_worker($node, 'executor', 'postgres');
    # ready, and nobody was told: the claim comes when the executor looks
    kill('STOP', $pid) == 1 or die "cannot stop $pid: $!";
    my @pids = grep { $_ != $pid } worker_pids($node, 'executor', 'postgres');
    kill('STOP', $_) foreach @pids;
    start_job('ping');
    poll_until($node, q{SELECT count(*) FROM jobs.queued WHERE state = 'ready'}, '1');
    $session->query('BEGIN; LOCK TABLE jobs.queue');
    kill('CONT', $_) foreach $pid, @pids;
    ok(poll_until($node, replace_count(sprintf($waiting, 'executor')), 't'), 'an executor wants to claim from the locked queue');
    ok(wait_for(sub { log_count($node, qr/are locked by another session/, $from) }, 'a line'), 'it gives up and the log tells');
    sql(q{ALTER SYSTEM SET motionify_jobs.enabled = off});
    $node->reload;
    ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'motionify_jobs (exec|sched)'}, '0'),
        'switched off: all leave, though it is locked');
    sql(q{ALTER SYSTEM RESET motionify_jobs.enabled});
    $node->reload;
    $session->query('COMMIT');
    ok(poll_until($node, q{SELECT count(*) FROM jobs.queue}, '0'), 'switched on and released: it runs');
    cmp_ok(log_count($node, qr/are locked by another session/, $from), '<=', 2, 'the log told once of the claims, and once of the ticks at most');
}
sub replace_count { my ($q) = @_; $q =~ s/count\(\*\)/count(*) > 0/; return $q; }

# more executors than max_workers want the locked database; another one gets its turn
{
    sql("CREATE ROLE r$_ LOGIN") foreach 1 .. 4;
    sql("SELECT jobs.schedule('r$_', NULL, 'SELECT 1', role => 'r$_')") foreach 1 .. 4;
    is(run_job("r$_"), 'succeeded|1', "an executor for role r$_") foreach 1 .. 4;
    sql("SELECT jobs.run_now('r$_', wait => false)") foreach 1 .. 4;
    $session->query('BEGIN; LOCK TABLE jobs.queue');
    is(run_job('ping', 'other'), 'succeeded|1', 'all executors are of the locked database: another one gets a run done') foreach 1 .. 3;
    $session->query('COMMIT');
    ok(poll_until($node, q{SELECT count(*) FROM jobs.queue}, '0'), 'and it goes on itself');
}

# a mail executor
{
    my $maildir = PostgreSQL::Test::Utils::tempdir();
    chmod 0777, $maildir;
    sql("ALTER SYSTEM SET motionify_jobs.smtp_url = 'file://$maildir'");
    sql(q{ALTER SYSTEM SET motionify_jobs.mail_from = 'hello@example.com'});
    $node->reload;
    my $mail = q{SELECT jobs.send_mail('a@example.com', 'About it', 'text')};
    sql($mail);
    ok(poll_until($node, q{SELECT string_agg(status, ',') FROM jobs.outbox}, 'sent'), 'a mail is sent');
    $session->query('BEGIN; LOCK TABLE jobs.mail');
    my $sender = new_session($node);
    $sender->send($mail);
    is(run_job('ping', 'other'), 'succeeded|1', 'jobs.mail is locked: jobs of another database run');
    is(run_job('mine'), 'succeeded|2', 'and those of this one');
    $session->query('COMMIT');
    $sender->result;
    ok(poll_until($node, q{SELECT string_agg(status, ',') FROM jobs.outbox}, 'sent,sent'), 'the mail is sent afterwards');
    $sender->quit;
}

# --- a worker is told to end while the tables are locked for good ---------------------

{
    close_gate();
    my $run_id = start_job('work');
    poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id", 'running');
    my $pid = sql("SELECT pid FROM jobs.history WHERE run_id = $run_id");
    $session->query(q{BEGIN; LOCK TABLE jobs.queue; PREPARE TRANSACTION 'lock'});
    sql("SELECT pg_terminate_backend($pid)");
    ok(wait_for(sub { !kill(0, $pid) }, 'it ends', 10), 'an executor that is told to end does, though it cannot put its run back');
    sql(q{COMMIT PREPARED 'lock'});
    open_gate();
    ok(poll_until($node, "SELECT string_agg(status || failures, ',' ORDER BY attempt) FROM
        (SELECT attempt, status, 0 AS failures FROM jobs.history WHERE run_id = $run_id) h", 'cancelled0,succeeded0'), 'the sweep puts it back, as interrupted');
    like(sql("SELECT error FROM jobs.history WHERE run_id = $run_id AND attempt = 1"), qr/interrupted: its worker has ended/, 'with the reason');
}

# --- a job that locks the tables ------------------------------------------------------

{
    close_gate();
    my $from = -s $node->logfile;
    sql(q{SELECT jobs.schedule('locks', NULL, 'LOCK TABLE jobs.queue, jobs.run_log; SELECT wait_for_gate()')});
    my $run_id = start_job('locks');
    ok(poll_until($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'jobs.run_log'::regclass AND mode = 'AccessExclusiveLock' AND granted}, '1'),
        'a job locks the tables of jobs');
    is(run_job('ping', 'other'), 'succeeded|1', 'jobs of another database run') foreach 1 .. 2;
    my $late = new_session($node);
    $late->send(q{SELECT status, result FROM jobs.run_now('ping')});
    ok(wait_for(sub { log_count($node, qr/are locked by another session/, $from) }, 'a line of the log'), 'the log tells');
    open_gate();
    is($late->result, 'succeeded|1', 'another job of this one waits for it');
    is(sql("SELECT status FROM jobs.history WHERE run_id = $run_id"), 'succeeded', 'which succeeds');
    $late->quit;
    cmp_ok(log_count($node, qr/are locked by another session/, $from), '<=', 2, 'the log told once of each kind of worker');
}

# --- who holds up the run that he waits for -------------------------------------------

foreach my $table ('queue', 'job_state', 'run_log')
{
    $session->query("BEGIN; LOCK TABLE jobs.$table; SET LOCAL statement_timeout = '40s'");
    $session->query(q{SELECT status FROM jobs.run_now('ping')});
    like($session->error, qr/ERROR:  40P01: .*HINT: .*wait => false/s, "run_now() by who has locked jobs.$table is ended: 40P01");
    $session->query('ROLLBACK');
    is(run_job('ping'), 'succeeded|1', 'and jobs run');
}

# --- a job that drops what jobs need ----------------------------------------------------

is(error_of('DROP TABLE jobs.queue'), 'failed 2BP01 cannot drop table jobs.queue because extension motionify_jobs requires it', 'a job drops jobs.queue');
is(error_of('DROP SCHEMA jobs CASCADE'), 'failed 2BP01 cannot drop schema jobs because extension motionify_jobs requires it', 'a job drops the schema');
foreach my $command ('DROP EXTENSION motionify_jobs', 'DROP EXTENSION motionify_jobs CASCADE',
    'ALTER EXTENSION motionify_jobs DROP TABLE jobs.queue; DROP TABLE jobs.queue CASCADE',
    'SET allow_system_table_mods = on; ALTER EXTENSION motionify_jobs DROP TABLE jobs.run_log; DROP TABLE jobs.run_log CASCADE',
    'ALTER TABLE jobs.queue RENAME COLUMN worker_id TO nobody',
    'DELETE FROM jobs.queue', 'TRUNCATE jobs.queue')
{
    # whoever reads the history meanwhile may be in the way
    my $error;
    for (1 .. 5) { $error = error_of($command); last if $error !~ /40P01/; }
    like($error, qr/^failed (55000|42P01|42703) (extension "motionify_jobs" is not installed|relation "jobs.run_log" does not exist|column "worker_id" of relation "jobs.queue" does not exist|run \d+ was taken from this worker)/,
        "a job that does $command");
    is(run_job('ping'), 'succeeded|1', 'is undone, and jobs run');
}

# --- jobs that lock each other out --------------------------------------------------

sql(q{CREATE TABLE a (n int); INSERT INTO a VALUES (0); CREATE TABLE b (n int); INSERT INTO b VALUES (0)});
# each takes its first lock, and its second when the other has its first
my $both = q{(SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation IN ('a'::regclass, 'b'::regclass)) = 2};
sql(qq{SELECT jobs.schedule('$_->[0]', NULL, \$job\$DO \$\$ BEGIN
    LOCK TABLE $_->[1]; UPDATE $_->[1] SET n = n + 1;
    IF (SELECT attempt = 1 FROM jobs.queue WHERE pid = pg_backend_pid()) THEN
      WHILE NOT ($both) LOOP PERFORM pg_sleep(0.01); END LOOP;
    END IF;
    LOCK TABLE $_->[2]; UPDATE $_->[2] SET n = n + 1;
    END \$\$ \$job\$, max_attempts => 3, backoff_base => '10 ms')})
  foreach [ 'a then b', 'a', 'b' ], [ 'b then a', 'b', 'a' ];
sql(q{SELECT jobs.run_now('a then b', wait => false), jobs.run_now('b then a', wait => false)});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job LIKE '_ then _' AND status = 'succeeded'}, '2'), 'of two jobs that lock each other out both succeed');
is(sql(q{SELECT string_agg(concat_ws(' ', attempt, status, sqlstate), ', ') FROM jobs.history WHERE job LIKE '_ then _' AND status <> 'succeeded'}),
    '1 failed 40P01', 'one of them in its second attempt');
is(sql('SELECT (SELECT n FROM a), (SELECT n FROM b)'), '2|2', 'and the first attempt left nothing');

# --- jobs that change their session, listen and notify ----------------------------------

sql('GRANT one TO CURRENT_USER');
foreach my $case ([ 'SET ROLE one; SELECT current_user', 'one' ], [ 'RESET ALL; SELECT 3', '3' ],
    [ 'SET SESSION AUTHORIZATION one; SELECT session_user', 'one' ], [ 'DISCARD ALL', 'DISCARD ALL' ],
    [ 'SELECT set_config($c$role$c$, $c$one$c$, false)', 'one' ], [ 'NOTIFY news, $n$from a job$n$', 'NOTIFY' ],
    [ 'SET lock_timeout = 1; SET statement_timeout = 1; SELECT 5', '5' ],
    [ 'SELECT pg_notify($n$news$n$, $n$once more$n$)', 'SELECT 1' ])
{
    my ($command, $result) = @$case;
    sql("SELECT jobs.schedule('changes', NULL, \$job\$$command\$job\$)");
    is(run_job('changes'), "succeeded|$result", "a job: $command");
    is(run_job('mine'), 'succeeded|2', 'and the next one');
}
foreach my $case ([ 'LISTEN news', '0A000' ], [ 'COMMIT', undef ], [ 'ROLLBACK', undef ],
    [ 'DO $$ BEGIN COMMIT; END $$', 'succeeded' ],
    [ 'SELECT 1; DO $$ BEGIN COMMIT; END $$', '2D000' ])
{
    my ($command, $state) = @$case;
    my ($out, $err) = ('', '');
    $node->psql('postgres', "SELECT jobs.schedule('changes', NULL, \$job\$$command\$job\$)", stdout => \$out, stderr => \$err);
    if (!defined $state)
    {
        like($err, qr/ERROR:/, "$command is refused by schedule()");
        next;
    }
    my $run = run_and_wait($node, 'changes');
    is(sql("SELECT coalesce(sqlstate, status) FROM jobs.history WHERE run_id = $run->{run_id}"), $state, "a job: $command");
    is(run_job('mine'), 'succeeded|2', 'and the next one');
}
# who listens hears a job
$session->query('LISTEN news');
sql(q{SELECT jobs.schedule('changes', NULL, 'NOTIFY news')});
is(run_job('changes'), 'succeeded|NOTIFY', 'a job notifies');
like($session->query('SELECT 1'), qr/Asynchronous notification "news" received/, 'who listens hears it');

$session->quit;
$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
