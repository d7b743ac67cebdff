# What a command may be: those that cannot be part of a transaction, those that
# commit, several in one; each with what it does and what is told of it, also
# when it fails, is cancelled, or its job is unscheduled meanwhile.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Starts a command as a job; its run.  Nobody waits for it: some wait for all
# older snapshots themselves.
sub start_command
{
    my ($command, $options) = @_;
    sql("SELECT jobs.schedule('command', NULL, \$job\$$command\$job\$" . ($options ? ", $options" : '') . ')');
    return sql(q{SELECT run_id FROM jobs.run_now('command', wait => false)});
}

# Runs a command; its last attempt as "status result", or "status sqlstate error".
sub run_command
{
    my ($command, $options) = @_;
    my $run_id = start_command($command, $options);
    poll_until($node, "SELECT count(*) FROM jobs.queue WHERE run_id = $run_id", '0');
    return sql("SELECT concat_ws(' ', status, sqlstate, coalesce(error, result)) FROM jobs.history
        WHERE run_id = $run_id ORDER BY attempt DESC LIMIT 1");
}

my $of_index = sub { return sql("SELECT indisvalid, c.relfilenode FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname = '$_[0]'"); };

sql('CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 1000) i');

# --- maintenance ----------------------------------------------------------------------

is(run_command('ANALYZE t'), 'succeeded ANALYZE', 'ANALYZE');
is(sql(q{SELECT reltuples FROM pg_class WHERE relname = 't'}), 1000, 'the statistics are there');
is(run_command('ANALYZE t (nothing)'), 'failed 42703 column "nothing" of relation "t" does not exist', 'ANALYZE that fails');

sql('DELETE FROM t WHERE a > 100');
is(run_command('VACUUM (TRUNCATE) t'), 'succeeded VACUUM', 'VACUUM');
is(sql(q{SELECT pg_relation_size('t')}), 8192, 'the table is smaller');
my $file = sql(q{SELECT pg_relation_filenode('t')});
is(run_command('VACUUM FULL ANALYZE t'), 'succeeded VACUUM', 'VACUUM FULL');
isnt(sql(q{SELECT pg_relation_filenode('t')}), $file, 'the table was rewritten');
is(run_command('VACUUM nothing'), 'failed 42P01 relation "nothing" does not exist', 'VACUUM that fails');
is(run_command('INSERT INTO t VALUES (-1, -1); VACUUM t'), 'failed 25001 VACUUM cannot run inside a transaction block',
    'VACUUM as one of several statements');
is(sql('SELECT count(*) FROM t WHERE a = -1'), 0, 'leaves nothing of the others');

# --- indexes ---------------------------------------------------------------------------

is(run_command('CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)'), 'succeeded CREATE INDEX', 'CREATE INDEX CONCURRENTLY');
like($of_index->('t_a'), qr/^t\|/, 'the index is valid');
is(run_command('CREATE UNIQUE INDEX CONCURRENTLY t_b ON t (b)'), 'failed 23505 could not create unique index "t_b"',
    'CREATE INDEX CONCURRENTLY on what is not unique fails');
like($of_index->('t_b'), qr/^f\|/, 'and leaves an index that is invalid');
like(run_command('REINDEX INDEX CONCURRENTLY t_b'), qr/^failed 23505 could not create unique index "t_b_ccnew"/, 'REINDEX CONCURRENTLY of it fails as well');
is(run_command("DROP INDEX CONCURRENTLY $_"), 'succeeded DROP INDEX', "DROP INDEX CONCURRENTLY $_") foreach 't_b', 't_b_ccnew';
is(run_command('DROP INDEX CONCURRENTLY t_b'), 'failed 42704 index "t_b" does not exist', 'which fails the second time');
my $was = $of_index->('t_a');
is(run_command('REINDEX INDEX CONCURRENTLY t_a'), 'succeeded REINDEX', 'REINDEX INDEX CONCURRENTLY');
like($of_index->('t_a'), qr/^t\|/, 'the index is valid');
isnt($of_index->('t_a'), $was, 'and another one');
is(run_command('REINDEX TABLE CONCURRENTLY t'), 'succeeded REINDEX', 'REINDEX TABLE CONCURRENTLY');

# one that is held up, and ended by its timeout or cancelled
my $session = new_session($node);
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t VALUES (2000, 2000)');
is(run_command('CREATE INDEX CONCURRENTLY t_late ON t (b)', "timeout => '300 ms'"), 'timed_out 57014 run timed out after 300 ms',
    'CREATE INDEX CONCURRENTLY has a time limit');
like($of_index->('t_late'), qr/^f\|/, 'and leaves an invalid index');
my $run_id = start_command('REINDEX TABLE CONCURRENTLY t', 'timeout => NULL');
ok(poll_until($node, q{SELECT count(*) > 0 FROM pg_stat_progress_create_index}), 'REINDEX CONCURRENTLY is at it');
sql("SELECT pg_cancel_backend(pid) FROM jobs.history WHERE run_id = $run_id AND status = 'running'");
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id", 'cancelled'), 'and is cancelled');
$session->query('ROLLBACK');
like($of_index->('t_a'), qr/^t\|/, 'the index that there was is still valid');
is(run_command('DROP INDEX t_late; SELECT 1', 'timeout => NULL'), 'succeeded 1', 'other commands go on');

# --- what acts outside of any transaction -------------------------------------------------

is(run_command('CREATE DATABASE made'), 'succeeded CREATE DATABASE', 'CREATE DATABASE');
is(sql(q{SELECT count(*) FROM pg_database WHERE datname = 'made'}), 1, 'the database is there');
is(run_command('CREATE DATABASE made'), 'failed 42P04 database "made" already exists', 'CREATE DATABASE that fails');
is(run_command('SELECT 1; CREATE DATABASE made_too'), 'failed 25001 CREATE DATABASE cannot run inside a transaction block',
    'or is one of several statements');
is(run_command('ALTER DATABASE made RENAME TO renamed'), 'succeeded ALTER DATABASE', 'ALTER DATABASE RENAME');
is(run_command('DROP DATABASE renamed'), 'succeeded DROP DATABASE', 'DROP DATABASE');
is(run_command('DROP DATABASE renamed'), 'failed 3D000 database "renamed" does not exist', 'DROP DATABASE that fails');
is(run_command('DROP DATABASE postgres'), 'failed 55006 cannot drop the currently open database', 'or is of its own database');
is(run_command(q{SELECT 2}), 'succeeded 2', 'whose jobs go on');
is(run_command(q{ALTER SYSTEM SET work_mem = '5MB'}), 'succeeded ALTER SYSTEM', 'ALTER SYSTEM');
is(run_command(q{SELECT pg_reload_conf()}), 'succeeded t', 'pg_reload_conf()');
ok(poll_until($node, 'SHOW work_mem', '5MB'), 'the setting is in force');
is(run_command(q{ALTER SYSTEM SET nothing_known = 1}), 'failed 42704 unrecognized configuration parameter "nothing_known"', 'ALTER SYSTEM that fails');
is(run_command('CHECKPOINT'), 'succeeded CHECKPOINT', 'CHECKPOINT');

# --- procedures that commit ------------------------------------------------------------------

sql(<<'SQL');
CREATE TABLE steps (n int);
CREATE PROCEDURE commits(n int) LANGUAGE plpgsql AS $$ BEGIN
  FOR i IN 1 .. n LOOP INSERT INTO steps VALUES (i); COMMIT; END LOOP;
END $$;
CREATE PROCEDURE commits_and_fails() LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO steps VALUES (1); COMMIT; INSERT INTO steps VALUES (2); RAISE EXCEPTION 'half-way';
END $$;
CREATE PROCEDURE commits_and_hangs() LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO steps VALUES (1); COMMIT; INSERT INTO steps VALUES (2); PERFORM pg_sleep(3600);
END $$;
CREATE PROCEDURE returns(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; a := a + 1; END $$;
SQL
my $steps = sub { my $n = sql('SELECT string_agg(n::text, \',\' ORDER BY n) FROM steps'); sql('TRUNCATE steps'); return $n; };
is(run_command('CALL commits(3)'), 'succeeded CALL', 'CALL of a procedure that commits');
is($steps->(), '1,2,3', 'each part is there');
is(run_command('CALL returns(41)'), 'succeeded 42', 'its result is the one value it returns');
is(run_command('CALL commits_and_fails()'), 'failed P0001 half-way', 'one that fails after it has committed has failed');
is($steps->(), '1', 'what it had committed stays');
is(run_command('CALL commits_and_fails()', q{max_attempts => 3, backoff_base => '1 ms'}), 'failed P0001 half-way', 'tried again');
is($steps->(), '1,1,1', 'each attempt has left that');
is(run_command('CALL commits_and_hangs()', q{max_attempts => 1, timeout => '300 ms'}), 'timed_out 57014 run timed out after 300 ms', 'one that is too slow');
is($steps->(), '1', 'the same');
is(run_command('SELECT 1; CALL commits(1)', 'timeout => NULL'), 'failed 2D000 invalid transaction termination', 'as one of several statements it cannot commit');
is($steps->(), '', 'and leaves nothing');
is(run_command('DO $$ BEGIN INSERT INTO steps VALUES (1); COMMIT; INSERT INTO steps VALUES (2); ROLLBACK; END $$'), 'succeeded DO', 'DO commits and rolls back');
is($steps->(), '1', 'what it committed is there');

# --- several statements -------------------------------------------------------------------

is(run_command('INSERT INTO steps VALUES (1); INSERT INTO steps VALUES (2), (3); SELECT sum(n) FROM steps'), 'succeeded 6', 'several statements: the last gives the result');
is($steps->(), '1,2,3', 'all have taken effect');
is(run_command('INSERT INTO steps VALUES (1); UPDATE steps SET n = 2 / (n - 1); SELECT 1'), 'failed 22012 division by zero', 'one of them fails');
is($steps->(), '', 'none has taken effect');
is(run_command('CREATE TABLE made (a int); INSERT INTO made VALUES (7); TRUNCATE made; ALTER TABLE made ADD b int; SELECT count(b) FROM made'),
    'succeeded 0', 'DDL among them');
is(run_command('CREATE TABLE made_too (); SELECT 1 / 0'), 'failed 22012 division by zero', 'DDL before one that fails');
is(sql(q{SELECT to_regclass('made_too') IS NULL}), 't', 'is undone');
is(run_command('CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNIQUE INDEX ON m (a)'), 'succeeded CREATE INDEX', 'a materialized view');
is(run_command('REFRESH MATERIALIZED VIEW CONCURRENTLY m'), 'succeeded REFRESH MATERIALIZED VIEW', 'is refreshed');

# --- the end of a job whose run is at work ----------------------------------------------

my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
sql(qq{CREATE FUNCTION wait_for_gate() RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
    WHILE pg_stat_file('$gate', true) IS NULL LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN 8; END \$\$});
sql(q{SELECT jobs.schedule('command', NULL, 'SELECT 1', timeout => '5 minutes')}); # not the short one from above
foreach my $cancel ('false', 'true')
{
    unlink $gate;
    my $id = start_command('INSERT INTO steps VALUES (1); SELECT wait_for_gate()');
    ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $id", 'running'), 'a run is at work');
    my $waits = sql(q{SELECT run_id FROM jobs.run_now('command', wait => false)});
    sql("SELECT jobs.unschedule('command', cancel_running => $cancel)");
    PostgreSQL::Test::Utils::append_to_file($gate, '') if $cancel eq 'false';
    ok(poll_until($node, "SELECT concat_ws(' ', job, status, result) FROM jobs.history WHERE run_id = $id",
            $cancel eq 'true' ? 'command cancelled' : 'command succeeded 8'),
        $cancel eq 'true' ? 'its job is unscheduled: it is cancelled, as asked' : 'its job is unscheduled: it ends by itself, as asked');
    is($steps->(), $cancel eq 'true' ? '' : '1', 'and has its effect, or none');
    is(sql('SELECT count(*) FROM jobs.queue'), 0, 'nothing is left in the queue');
    is(sql("SELECT count(*) FROM jobs.history WHERE run_id = $waits AND status <> 'skipped'"), 0, 'and what had not started never does');
}

$session->quit;
$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
