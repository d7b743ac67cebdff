# Databases come and go under live workers: dropped, renamed, moved, copied,
# listed; and the extension comes and goes in them.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub sql_in { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

# A database with the extension, whose job sleeps is running.
my $sleeping = q{SELECT count(*) FROM jobs.history WHERE job = 'sleeps' AND status = 'running'};
sub database_at_work
{
    my ($name) = @_;
    sql("CREATE DATABASE $name");
    sql_in($name, 'CREATE EXTENSION motionify_jobs');
    sql_in($name, q{SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)'),
                           jobs.schedule('ping', NULL, 'SELECT 1'),
                           jobs.schedule('every second', '* * * * * *', 'SELECT 1')});
    start_sleeping($name);
    return;
}

sub start_sleeping
{
    my ($name) = @_;
    sql_in($name, q{SELECT jobs.run_now('sleeps', wait => false)});
    ok(poll_until($node, $sleeping, '1', $name), "a job is running in $name");
    return;
}

# It works in a database: a run by hand, and its scheduler at the next second.
sub works_in
{
    my ($name, $what) = @_;
    is(run_and_wait($node, 'ping', $name)->{result}, '1', "$what: run_now works");
    my $since = sql('SELECT clock_timestamp()');
    ok(poll_until($node, "SELECT count(*) > 0 FROM jobs.history WHERE job = 'every second'
        AND status = 'succeeded' AND due_at > '$since'", 't', $name), "$what: the scheduler works");
    return;
}

sub no_workers_in
{
    my ($oid, $what) = @_;
    is(sql("SELECT count(*) FROM pg_stat_activity WHERE datid = $oid AND backend_type LIKE 'motionify%'"), 0, $what);
    return;
}

sub oid_of { return sql("SELECT oid FROM pg_database WHERE datname = '$_[0]'"); }

# --- DROP DATABASE --------------------------------------------------------------

database_at_work('a');
database_at_work('b');
works_in('a', 'CREATE EXTENSION in a second database is all');

sql('CREATE ROLE stranger LOGIN');
my ($pid) = worker_pids($node, 'scheduler', 'a');
my ($out, $err);
foreach my $statement ('DROP DATABASE a', 'ALTER DATABASE a RENAME TO x',
    'ALTER DATABASE a SET TABLESPACE pg_default')
{
    $node->psql('postgres', $statement, stderr => \$err, extra_params => [ '-U', 'stranger' ]);
    like($err, qr/must be owner/, "a stranger may not $statement");
}
is((worker_pids($node, 'scheduler', 'a'))[0], $pid, 'and the workers do not hear of it');
is(sql_in('a', $sleeping), 1, 'the job goes on');

my $oid = oid_of('a');
sql('DROP DATABASE a');
no_workers_in($oid, 'DROP DATABASE under live workers');
works_in('b', 'another database');

# one that fails: the workers come back, and the run with them
my $session = new_session($node, 'b');
$node->psql('postgres', 'DROP DATABASE b', stderr => \$err);
like($err, qr/being accessed by other users/, 'DROP DATABASE fails on a session');
$session->quit;
works_in('b', 'after a DROP DATABASE that failed');
ok(poll_until($node, $sleeping, '1', 'b'), 'and the job runs again');

# --- RENAME, SET TABLESPACE -------------------------------------------------------

sql('ALTER DATABASE b RENAME TO c');
works_in('c', 'ALTER DATABASE RENAME');
my $tablespace = PostgreSQL::Test::Utils::tempdir_short();
sql("CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
sql('ALTER DATABASE c SET TABLESPACE elsewhere');
works_in('c', 'ALTER DATABASE SET TABLESPACE');
is(sql_in('c', q{SELECT count(*) FROM jobs.history WHERE status = 'failed'}), 0, 'no run has failed of it');

# --- CREATE DATABASE TEMPLATE ------------------------------------------------------

my $log_from = -s $node->logfile;
sql('CREATE DATABASE d TEMPLATE c');
ok(wait_for(sub { log_count($node, qr/database "d" is a copy of another one, its jobs do not run/, $log_from) },
        'the log tells of the copy'), 'the copy of a database says that it runs nothing');
works_in('c', 'the original');
my $copied = sql_in('d', 'SELECT max(run_id) FROM jobs.history');
$node->psql('d', q{SELECT jobs.run_now('ping')}, stderr => \$err);
like($err, qr/is a copy of another one.*jobs\.adopt/s, 'run_now refuses in the copy');
like(sql_in('d', q{SELECT why_not FROM jobs.status WHERE job = 'every second'}), qr/adopt/, 'status tells why');
is(sql_in('d', qq{SELECT count(*) FROM jobs.history WHERE run_id > $copied AND status <> 'running'}), 0, 'the copy has run nothing');
is(sql_in('d', 'SELECT jobs.adopt()'), 3, 'adopt() makes its jobs its own');
works_in('d', 'the adopted copy');
is(log_count($node, qr/LOG: .*database "d" is a copy/, $log_from), 1, 'the log told once');
sql_in('d', q{SELECT jobs.unschedule('sleeps', cancel_running => true)});
sql('DROP DATABASE d');

# --- DROP EXTENSION -----------------------------------------------------------------

poll_until($node, $sleeping, '1', 'c');
$session = new_session($node, 'c');
$session->query('BEGIN; DROP EXTENSION motionify_jobs; ROLLBACK');
is($session->error, '', 'DROP EXTENSION is rolled back');
works_in('c', 'after the rollback');
ok(poll_until($node, $sleeping, '1', 'c'), 'and the job runs again');

sql_in('postgres', q{SELECT jobs.schedule('other', NULL, 'SELECT 2')});
$session->query('BEGIN; DROP EXTENSION motionify_jobs');
is(run_and_wait($node, 'other')->{result}, '2', 'jobs of other databases run while it is open');
$session->query('COMMIT');
is($session->error, '', 'DROP EXTENSION with a job running');
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'c'
        AND backend_type LIKE 'motionify%'}, '0'), 'its workers are gone');
$session->query(q{CREATE EXTENSION motionify_jobs; SELECT jobs.schedule('ping', NULL, 'SELECT 1'),
    jobs.schedule('every second', '* * * * * *', 'SELECT 1')});
is($session->error, '', 'and it is created again');
works_in('c', 'the new extension');

# who waits for a run is not left waiting by DROP EXTENSION, nor it by them
$session->query(q{SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)')});
$session->send(q{SELECT status FROM jobs.run_now('sleeps')});
ok(poll_until($node, $sleeping, '1', 'c'), 'somebody waits for a run');
my $dropper = new_session($node, 'c');
$dropper->query('DROP EXTENSION motionify_jobs');
is($dropper->error, '', 'DROP EXTENSION does not wait for them for ever');
$session->result;
like($session->error, qr/ERROR:  40P01: /, 'and they are told');
$_->quit foreach $session, $dropper;

# and again
sql_in('c', q{CREATE EXTENSION motionify_jobs; SELECT jobs.schedule('ping', NULL, 'SELECT 1'),
    jobs.schedule('every second', '* * * * * *', 'SELECT 1')});
works_in('c', 'once more');

# --- motionify_jobs.databases, motionify_jobs.enabled ----------------------------

sub set
{
    my ($name, $value) = @_;
    sql("ALTER SYSTEM SET motionify_jobs.$name = $value");
    $node->reload;
    return;
}

set('databases', 'postgres');
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'c'
        AND backend_type LIKE 'motionify%'}, '0'), 'a database that is taken off the list loses its workers');
$node->psql('c', q{SELECT jobs.run_now('ping')}, stderr => \$err);
like($err, qr/switched off in database "c".*motionify_jobs\.databases/s, 'run_now refuses there');
sql_in('c', q{SELECT jobs.schedule('made meanwhile', '* * * * * *', 'SELECT 1')});
is(run_and_wait($node, 'other')->{result}, '2', 'jobs of a database on the list run');
is(sql_in('c', q{SELECT count(*) FROM jobs.history WHERE job = 'made meanwhile'}), 0, 'those of others do not');
set('databases', q{'postgres, c'});
works_in('c', 'put on the list');

set('enabled', 'off');
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity
        WHERE backend_type IN ('motionify_jobs scheduler', 'motionify_jobs executor')}, '0'),
    'enabled = off: all workers leave');
$node->psql('postgres', q{SELECT jobs.run_now('other')}, stderr => \$err);
like($err, qr/switched off.*motionify_jobs\.enabled/s, 'and run_now refuses');
set('enabled', 'on');
works_in('c', 'enabled = on');
is(run_and_wait($node, 'other')->{result}, '2', 'in all databases');

# --- jobs of several roles in several databases -------------------------------------

sql('CREATE ROLE r1 LOGIN; CREATE ROLE r2 LOGIN');
foreach my $db ('postgres', 'c')
{
    sql_in($db, "SELECT jobs.schedule('who $_', NULL, 'SELECT session_user || current_database()', role => '$_')")
      foreach 'r1', 'r2';
}
foreach my $db ('postgres', 'c')
{
    is(run_and_wait($node, "who $_", $db)->{result}, "$_$db", "a job of $_ in $db") foreach 'r1', 'r2';
}

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
is(log_count($node, qr/FATAL: .*does not exist/), 0, 'no worker came before its database, or after it');
done_testing();
