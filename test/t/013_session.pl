# An executor is as clean as a new session between runs, and a job cannot step
# out of its role.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', conf => "motionify_jobs.max_workers = 1\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'SQL');
CREATE ROLE worker LOGIN;
CREATE ROLE other LOGIN;
GRANT other TO worker;
GRANT CREATE, USAGE ON SCHEMA public TO worker;
CREATE SEQUENCE s;
GRANT ALL ON SEQUENCE s TO worker;
SQL

# Runs a command as a role; its row.
sub run_as
{
    my ($role, $command) = @_;
    sql("SELECT jobs.schedule('probe', NULL, \$job\$$command\$job\$, role => '$role')");
    return run_and_wait($node, 'probe');
}

# The SQLSTATE that a command of a role ends with.
sub state_as
{
    my $run = run_as(@_);
    return sql("SELECT sqlstate FROM jobs.history WHERE run_id = $run->{run_id}");
}

# --- nothing is left ----------------------------------------------------------

my $run;
my $pid = run_as('worker', 'SELECT pg_backend_pid()')->{result};
my @dirt = (
    [ 'SET ROLE other', 'SELECT current_user', 'worker', 'a role' ],
    [ 'SET search_path = nowhere', "SELECT current_setting('search_path')", '"$user", public', 'a setting' ],
    [ "SET my.thing = 'x'", "SELECT coalesce(nullif(current_setting('my.thing', true), ''), 'none')", 'none', 'a setting of its own' ],
    [ 'CREATE TEMP TABLE job_temp (a int)', "SELECT to_regclass('pg_temp.job_temp') IS NULL", 't', 'a temporary table' ],
    [ 'PREPARE job_prepared AS SELECT 1', 'SELECT count(*) FROM pg_prepared_statements', '0', 'a prepared statement' ],
    [ 'SELECT pg_advisory_lock(42)', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", '0', 'an advisory lock' ],
    [ 'DECLARE job_cursor CURSOR WITH HOLD FOR SELECT 1', 'SELECT count(*) FROM pg_cursors WHERE is_holdable', '0', 'a cursor' ],
    [ "SELECT nextval('s')", 'SELECT lastval()', '55000', 'a sequence\'s last value' ],
    [ 'SET default_transaction_read_only = on', 'CREATE TABLE IF NOT EXISTS writable ()', 'CREATE TABLE', 'read-only transactions' ],
    [ "SET default_transaction_isolation = 'serializable'", "SELECT current_setting('transaction_isolation')", 'read committed', 'an isolation level' ],
    [ "SET synchronous_commit = off", "SELECT current_setting('synchronous_commit')", 'on', 'a durability' ],
    [ 'SET ROLE other; SELECT 1 / 0', 'SELECT current_user', 'worker', 'a role of a failed run' ],
    [ 'RESET ALL', 'SELECT current_user', 'worker', 'a RESET ALL' ],
    [ 'SET application_name = $n$mine$n$; SET statement_timeout = 1; SET lock_timeout = 1', "SELECT current_setting('lock_timeout')", '0', 'time limits' ],
);
foreach my $case (@dirt)
{
    my ($command, $probe, $clean, $what) = @$case;
    my $dirty = run_as('worker', $command);
    is($dirty->{status}, $command =~ m{1 / 0} ? 'failed' : 'succeeded', "$what: used by a run");
    $run = run_as('worker', $probe);
    my $found = $run->{status} eq 'succeeded'
      ? $run->{result}
      : sql("SELECT sqlstate FROM jobs.history WHERE run_id = $run->{run_id}");
    is($found, $clean, "$what: not there for the next");
}
is(state_as('worker', 'LISTEN news'), '0A000', 'LISTEN, which nobody would read, is refused');
is(state_as('worker', 'DISCARD ALL'), '', 'DISCARD ALL runs');
is(run_as('worker', 'SELECT pg_backend_pid()')->{result}, $pid, 'all that in one executor');

# --- a job's role is all it has -----------------------------------------------

sql("SELECT jobs.grant_usage('worker', 'user')");
is(run_as('worker', 'SELECT session_user || current_user')->{result}, 'workerworker',
    'a job is its role, as session user too');
my $superuser = sql('SELECT current_user');
is(state_as('worker', "SET SESSION AUTHORIZATION '$superuser'"), '42501', 'it cannot become a superuser');
is(state_as('worker', "SET ROLE '$superuser'"), '42501', 'by no means');
is(run_as('worker', "RESET ROLE; RESET SESSION AUTHORIZATION; SELECT current_user")->{result}, 'worker',
    'RESET leads nowhere');
is(run_as('worker', "SELECT rolsuper FROM pg_roles WHERE rolname = session_user")->{result}, 'f',
    'and is no superuser');
foreach my $command (
    'DELETE FROM jobs.queue', 'UPDATE jobs.job SET role = current_user',
    'INSERT INTO jobs.run_log SELECT * FROM jobs.run_log', 'SELECT count(*) FROM jobs.mail',
    'LOCK TABLE jobs.queue; SELECT 1', 'TRUNCATE jobs.job_state', "SELECT nextval('jobs.run_id_seq')",
    'ALTER TABLE jobs.job ADD COLUMN x int', 'CREATE TABLE jobs.mine ()')
{
    is(state_as('worker', $command), '42501', "permission denied: $command");
}

# what shadows the names that the bookkeeping uses does not reach it
$run = run_as('worker', <<'SQL');
CREATE TEMP TABLE queue (run_id int);
CREATE FUNCTION pg_temp.nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1 / 0';
CREATE FUNCTION public.texteq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT (1 / 0) = 1';
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.texteq);
SET search_path = public, pg_catalog
SQL
is($run->{status}, 'succeeded', 'shadowed operators do not reach the bookkeeping');
sql('DROP OPERATOR public.= (text, text); DROP FUNCTION public.texteq');

# --- a role's own defaults ----------------------------------------------------

sql("ALTER ROLE other SET default_transaction_read_only = on");
sql("ALTER ROLE other SET search_path = ''");
sql("ALTER ROLE other SET default_transaction_isolation = 'serializable'");
is(run_as('other', 'SELECT 42')->{result}, '42', 'a read-only job succeeds');
is(state_as('other', 'CREATE TABLE public.x ()'), '25006', 'and stays read-only');
is(run_as('other', 'SELECT current_setting($$transaction_isolation$$)')->{result}, 'serializable',
    'in the isolation that its role has');

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
