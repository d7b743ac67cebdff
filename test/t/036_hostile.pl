# What one user, or one job, can hold up or see of the others: transactions that
# stay open, locks, DDL without rights, runs that end their own process, backlogs.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

# who waits for a look that nothing prompts waits for 60 s; all here is sooner
$MjTest::deadline = 30 unless $ENV{MJ_TEST_DEADLINE};

my $node = new_node('main', conf => "max_prepared_transactions = 2\nmotionify_jobs.linger = '60s'\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub sql_in { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

# A statement that may fail or hang: its rows, or its error.
sub try_sql
{
    my ($query, $db) = @_;
    my ($out, $err) = ('', '');
    $node->psql($db || 'postgres', "SET statement_timeout = '20s'; $query",
        stdout => \$out, stderr => \$err);
    return $err =~ /ERROR:/ ? $err : $out;
}

# A job's run, waited for: its status and result, or the error.
sub run_job
{
    my ($job, $db) = @_;
    return try_sql("SELECT status, coalesce(result, error) FROM jobs.run_now('$job')", $db);
}

sub start_job { return sql("SELECT run_id FROM jobs.run_now('$_[0]', wait => false)"); }

sub change_setting
{
    my ($name, $value) = @_;
    sql("ALTER SYSTEM SET $name = '$value'");
    $node->reload;
    return poll_until($node, "SHOW $name", $value);
}

sub switch_off
{
    change_setting('motionify_jobs.enabled', 'off');
    ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'motionify_jobs (exec|sched)'}, '0'),
        'switched off: the workers have left');
    return;
}

# Work that takes until the gate is open, and is one transaction.
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
CREATE ROLE two LOGIN;
CREATE ROLE maker LOGIN CREATEDB;
SELECT jobs.grant_usage(r, l) FROM unnest('{one,two}'::name[]) r, unnest('{user,mailer}'::text[]) l;
SELECT jobs.schedule('ping', NULL, 'SELECT 1', role => 'one');
SELECT jobs.schedule('work', NULL, 'SELECT wait_for_gate()', role => 'one', overlap => 'allow');
CREATE DATABASE other;
SQL
sql_in('other', q{CREATE EXTENSION motionify_jobs; SELECT jobs.schedule('ping', NULL, 'SELECT 1')});
is(run_job('ping'), 'succeeded|1', 'jobs run');
is(run_job('ping', 'other'), 'succeeded|1', 'also in another database');

# --- DDL that will fail ends no worker ------------------------------------------

{
    close_gate();
    my $run_id = start_job('work');
    poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id", 'running');
    my $before = join ' ', worker_pids($node, 'executor', 'postgres'), worker_pids($node, 'scheduler', 'postgres');
    my $session = new_session($node, 'postgres', 'maker');
    my $untouched = sub {
        my ($what) = @_;
        is(run_state($node, $run_id), 'running', "$what: the running job goes on");
        is(run_job('ping'), 'succeeded|1', "$what: and others start");
        my %now = map { $_ => 1 } worker_pids($node, 'executor'), worker_pids($node, 'scheduler');
        is_deeply([ grep { !$now{$_} } split / /, $before ], [], "$what: no worker has ended");
    };

    $session->query('BEGIN; SAVEPOINT s; DROP EXTENSION motionify_jobs');
    like($session->error, qr/must be owner/, 'DROP EXTENSION without rights fails');
    $untouched->('DROP EXTENSION that failed');
    $session->query('ROLLBACK TO s; SELECT 1');
    $untouched->('DROP EXTENSION, its transaction open');
    $session->query('CREATE DATABASE copy TEMPLATE postgres');
    like($session->error, qr/transaction block/, 'CREATE DATABASE fails in a transaction');
    $untouched->('CREATE DATABASE in a transaction');
    $session->query('ROLLBACK');
    $session->query('CREATE DATABASE copy TEMPLATE postgres');
    like($session->error, qr/permission denied/, 'and without rights on the template');
    $untouched->('CREATE DATABASE without rights');
    open_gate();
    ok(poll_until($node, "SELECT string_agg(attempt || status, ',') FROM jobs.history WHERE run_id = $run_id",
            '1succeeded'), 'the run has ended in its first attempt');
    $session->quit;

    # with rights, but in vain
    $session = new_session($node);
    $session->query('CREATE VIEW depends AS SELECT run_id FROM jobs.history; BEGIN; SAVEPOINT s; DROP EXTENSION motionify_jobs');
    like($session->error, qr/cannot drop/, 'DROP EXTENSION fails for something depends on it');
    $session->query('ROLLBACK TO s');
    is(run_job('ping'), 'succeeded|1', 'the workers come back at once, though its transaction is open');
    $session->query('ROLLBACK; DROP VIEW depends');
    $session->quit;
}

# --- serializable jobs ----------------------------------------------------------

{
    sql('CREATE ROLE serial LOGIN; ALTER ROLE serial SET default_transaction_isolation = serializable');
    foreach my $i (1 .. 4)
    {
        sql("CREATE TABLE serial$i (n int); GRANT INSERT ON serial$i TO serial;
            SELECT jobs.schedule('serial $i', NULL, 'DO \$\$ BEGIN INSERT INTO serial$i VALUES (1);
                PERFORM wait_for_gate(); END \$\$', role => 'serial')");
    }
    # to tables as small as these, sequential scans look cheap
    sql('ANALYZE jobs.job, jobs.job_state, jobs.queue, jobs.run_log');
    foreach my $round (1 .. 3)
    {
        close_gate();
        sql('SELECT count(*) FROM generate_series(1, 4) i, LATERAL jobs.run_now(\'serial \' || i, wait => i < 0)');
        poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job LIKE 'serial%' AND status = 'running'}, '4');
        open_gate();
        poll_until($node, 'SELECT count(*) FROM jobs.queue', '0');
    }
    is(sql(q{SELECT string_agg(DISTINCT status || coalesce(' ' || error, ''), ', ') FROM jobs.history WHERE job LIKE 'serial%'}),
        'succeeded', 'unrelated serializable jobs, all at once, succeed');
    is(sql(q{SELECT count(*) FROM jobs.history WHERE job LIKE 'serial%'}), 12, 'all of them');
}

# --- a transaction that stays open, and settings that change every job ----------

{
    my $noon_in_tokyo = q{SELECT next_run AT TIME ZONE 'Asia/Tokyo' = date_trunc('day', next_run AT TIME ZONE 'Asia/Tokyo')
        + interval '12 h' FROM jobs.status WHERE job = '%s'};
    sql(q{SELECT jobs.schedule('every second', '* * * * * *', 'SELECT 1', role => 'two'),
        jobs.schedule('his', '0 12 * * *', 'SELECT 1', role => 'two')});
    my $session = new_session($node, 'postgres', 'one');
    $session->query(q{SELECT jobs.schedule('mine', '0 12 * * *', 'SELECT 1'); BEGIN; SELECT jobs.pause('mine')});
    is($session->error, '', 'a user holds a job of his');
    sql(q{ALTER DATABASE postgres SET motionify_jobs.timezone = 'Asia/Tokyo'});
    sql('SELECT jobs.reload()');
    ok(poll_until($node, sprintf($noon_in_tokyo, 'his')), 'the scheduler acts on another zone meanwhile');
    my $since = sql('SELECT clock_timestamp()');
    ok(poll_until($node, "SELECT count(*) >= 2 FROM jobs.history WHERE job = 'every second'
        AND status = 'succeeded' AND due_at > '$since'"), 'and the jobs of others go on');
    $session->query('ROLLBACK');
    ok(poll_until($node, sprintf($noon_in_tokyo, 'mine')), 'the job that was held goes by the new zone afterwards');
    $session->quit;
    sql('ALTER DATABASE postgres RESET motionify_jobs.timezone');
    sql(q{SELECT jobs.reload(), jobs.unschedule('every second'), jobs.unschedule('mine'), jobs.unschedule('his')});
}

# --- a lock on the queue of one database ----------------------------------------

{
    # one scheduler at a time, and it is in the database with the lock
    change_setting('motionify_jobs.max_workers', 2);
    switch_off();
    change_setting('motionify_jobs.enabled', 'on');
    is(run_job('ping'), 'succeeded|1', 'a database has the only scheduler');
    is(join(' ', worker_pids($node, 'scheduler', 'other')), '', 'and another one none');
    my $session = new_session($node);
    $session->query('BEGIN; LOCK TABLE jobs.queue');
    my $waiting = new_session($node);
    $waiting->send(q{SELECT status, result FROM jobs.run_now('ping')});
    ok(poll_until($node, q{SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE NOT l.granted AND a.backend_type = 'motionify_jobs scheduler'}), 'the scheduler wants the locked queue');
    is(run_job('ping', 'other'), 'succeeded|1', "another database's jobs run");
    is(run_job('ping', 'other'), 'succeeded|1', 'time and again');
    $session->query('COMMIT');
    is($waiting->result, 'succeeded|1', 'what was posted during the lock is run after it');
    is(run_job('ping'), 'succeeded|1', 'and the database goes on');

    change_setting('motionify_jobs.max_workers', 4);

    # one on what is pruned when a scheduler starts
    is(run_job('ping'), 'succeeded|1', 'a scheduler is there');
    $session->query('BEGIN; LOCK TABLE jobs.mail');
    kill_worker($node, 'scheduler', 'TERM', 'postgres');
    ok(poll_until($node, q{SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE NOT l.granted AND a.backend_type = 'motionify_jobs scheduler'}), 'a scheduler wants to prune what is locked');
    is(run_job('ping'), 'succeeded|1', 'and goes on without');
    $session->query('COMMIT');
    $_->quit foreach $session, $waiting;
}

# --- a job that ends its own process --------------------------------------------

{
    sql(q{SELECT jobs.schedule('ends itself', NULL, 'SELECT pg_terminate_backend(pg_backend_pid())', role => 'one')});
    my $run_id = start_job('ends itself');
    ok(poll_until($node, "SELECT count(*) > 0 FROM jobs.history WHERE run_id = $run_id AND status = 'cancelled'"),
        'a job ends its own process');
    is(run_job('ping'), 'succeeded|1', 'another job of its role runs meanwhile');
    ok(poll_until($node, q{SELECT paused FROM jobs.status WHERE job = 'ends itself'}), 'in the end its job is paused');
    like(sql(q{SELECT why_not FROM jobs.status WHERE job = 'ends itself'}), qr/ended its process 3 times/, 'with the reason');
    is(sql("SELECT string_agg(status || n, ',' ORDER BY status) FROM (SELECT status, count(*) n FROM jobs.history
        WHERE run_id = $run_id GROUP BY status) s"), 'cancelled10,crashed3', 'after so many attempts');
    is(sql('SELECT count(*) FROM jobs.queue'), 0, 'and it is gone from the queue');
    is(run_job('ping'), 'succeeded|1', 'another job of its role runs');
}

# --- switched off with a backlog, and what is old in another database -----------

{
    my $backlog = 300;
    sql(<<SQL);
CREATE TABLE effect ();
CREATE FUNCTION slowly() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN
  INSERT INTO effect DEFAULT VALUES;
  IF pg_stat_file('$gate', true) IS NULL THEN
    PERFORM pg_sleep(0.1);
  END IF;
END \$\$;
SELECT jobs.schedule('backlog', NULL, 'SELECT slowly()', role => 'one', overlap => 'allow');
SQL
    close_gate();
    sql("SELECT count(*) FROM generate_series(1, $backlog) i, LATERAL jobs.run_now('backlog', wait => i < 0)");
    ok(poll_until($node, 'SELECT count(*) > 0 FROM effect'), 'a backlog is worked off');
    switch_off();
    cmp_ok(sql('SELECT count(*) FROM jobs.queue'), '>', 0, 'although there is work');
    is(sql(q{SELECT count(*) FROM jobs.queue WHERE state = 'running'}), 0, 'of which nothing is in hand');

    sql_in('other', q{INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status)
        SELECT nextval('jobs.run_id_seq'), 1, 1, 'old', 'postgres', 10, 'manual', t, t, 'succeeded'
        FROM generate_series(1, 5000) i, LATERAL (SELECT now() - interval '40 days' - i * interval '1 s' AS t) l});
    open_gate();
    change_setting('motionify_jobs.enabled', 'on');
    ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'switched on: the backlog goes');
    is(sql('SELECT count(*) FROM effect'), $backlog, 'each run takes effect once');
    is(sql(q{SELECT count(*) || ' ' || count(DISTINCT run_id) FROM jobs.history
        WHERE job = 'backlog' AND status = 'succeeded'}), "$backlog $backlog", 'and is in the history once');
    ok(poll_until($node, q{SELECT count(*) FROM jobs.run_log WHERE job = 'old'}, '0', 'other'),
        'history that is too old goes, all of it, when a scheduler starts');
}

# --- mail -----------------------------------------------------------------------

{
    my $maildir = PostgreSQL::Test::Utils::tempdir();
    chmod 0777, $maildir;
    sql("ALTER DATABASE postgres SET motionify_jobs.smtp_url = 'file://$maildir'");
    sql(q{ALTER DATABASE postgres SET motionify_jobs.mail_from = 'hello@example.com'});
    sql('SELECT jobs.reload()');
    my %mail;
    foreach my $role ('one', 'two', 'one')
    {
        my $mail_id = sql("SET ROLE $role; SELECT jobs.send_mail('a\@example.com', 'About it', 'by $role',
            source_key => 'key', send_at => now() + interval '1 day')");
        is($mail_id, $mail{$role}, 'the same key once more is the same mail') if $mail{$role};
        $mail{$role} = $mail_id;
    }
    isnt($mail{two}, $mail{one}, "a source_key is its role's own");
    is(sql(q{SELECT string_agg(role || ': ' || body_text || ' ' || (ended_as IS NULL), ', ' ORDER BY role) FROM jobs.mail}),
        'one: by one true, two: by two true', 'both mails are queued');

    # overlaps are the scheduler's business, which is away while this mail is sent
    sql(q{SELECT jobs.schedule('alone', NULL, 'SELECT 1', role => 'one')});
    my $pid = wait_for_worker($node, 'scheduler', 'postgres');
    poll_until($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'Extension');
    kill('STOP', $pid) == 1 or die "cannot stop $pid: $!";
    start_job('alone') foreach 1 .. 2;
    sql(q{SELECT jobs.send_mail('a@example.com', 'Now', 'text')});
    sql('CALL jobs.deliver_mail()');
    is(sql(q{SELECT count(*) FROM jobs.outbox WHERE subject = 'Now' AND status = 'sent'}), 1, 'deliver_mail() sends');
    is(sql(q{SELECT string_agg(state, ',') FROM jobs.queued WHERE job = 'alone'}), 'waiting,waiting',
        'and starts no runs on the way');
    kill('CONT', $pid);
    ok(poll_until($node, q{SELECT string_agg(status, ',' ORDER BY run_id) FROM jobs.history WHERE job = 'alone'},
            'succeeded,skipped'), 'so that one of two overlapping runs is skipped');
}

# --- runs that will never be ----------------------------------------------------

{
    close_gate();
    my @runs = map { start_job('work') } 1 .. 4;
    poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'work' AND status = 'running'}, '4');
    sql(q{SELECT jobs.schedule('goes away', NULL, 'SELECT 1', role => 'one')});
    my $session = new_session($node);
    $session->send(q{SET statement_timeout = '20s'; SELECT status, error FROM jobs.run_now('goes away')});
    ok(poll_until($node, q{SELECT count(*) FROM jobs.queued WHERE job = 'goes away'}, '1'), 'a caller waits for a run');
    sql(q{SELECT jobs.unschedule('goes away')});
    is($session->result, 'cancelled|its job was unscheduled', 'and is told that its job was unscheduled');
    open_gate();
    $session->quit;

    sql(q{CREATE ROLE leaves LOGIN; SELECT jobs.schedule('stateless', NULL, 'SELECT 1', role => 'leaves');
        DROP ROLE leaves; DELETE FROM jobs.job_state s USING jobs.job j WHERE s.job_id = j.job_id AND j.name = 'stateless'});
    foreach my $wait ('true', 'false')
    {
        like(try_sql("\\set VERBOSITY verbose\nSELECT status FROM jobs.run_now('stateless', wait => $wait)"),
            qr/42704: role "leaves" does not exist/, "a job without a role or state, wait => $wait");
    }
    sql(q{SELECT jobs.unschedule('stateless')});
}

# --- what is said of a timeout --------------------------------------------------

{
    sql(q{SELECT jobs.schedule('catches', NULL, $job$DO $$ BEGIN PERFORM pg_sleep(60);
            EXCEPTION WHEN query_canceled THEN RAISE EXCEPTION 'my own'; END $$ $job$, timeout => '100 ms'),
        jobs.schedule('is too slow', NULL, 'SELECT pg_sleep(60)', timeout => '100 ms')});
    is(run_job('catches'), 'failed|my own', 'a job that catches its timeout fails with its own error');
    is(run_job('is too slow'), 'timed_out|run timed out after 100 ms', 'one that does not has timed out');
}

# --- databases without the extension --------------------------------------------

{
    sql('CREATE DATABASE bare');
    my $bare = sql(q{SELECT oid FROM pg_database WHERE datname = 'bare'});
    change_setting('log_min_messages', 'debug1');
    my $starts = sub { return log_count($node, qr/starting background worker process "[^"]*scheduler of database $_[0]"/); };
    sql_in('bare', q{CREATE TABLE t (); BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION 'p'});
    # who was never served comes first, so its scheduler would be started before
    sql_in('bare', q{COMMIT PREPARED 'p'});
    sql('CREATE DATABASE later');
    my $later = sql(q{SELECT oid FROM pg_database WHERE datname = 'later'});
    wait_for(sub { $starts->($later) }, 'a scheduler looks at a new database');
    is($starts->($bare), 0, 'COMMIT PREPARED starts no scheduler where there are no jobs');
}

$node->stop;
done_testing();
