# What a run is: its arguments, result, failure, transaction, time limit and
# attempts; and run_now, which waits for one.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use Test::More;

my $node = new_node('main', conf => "max_prepared_transactions = 4\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# An on-demand job; options are named arguments, as SQL.
sub job
{
    my ($name, $command, %option) = @_;
    my $more = join '', map { ", $_ => $option{$_}" } sort keys %option;
    sql("SELECT jobs.schedule('$name', NULL, \$job\$$command\$job\$$more)");
    return;
}

# run_now's row as a hash; $more are further arguments, as SQL.
sub run_now
{
    my ($name, $more) = @_;
    return decode_json(
        sql("SELECT to_jsonb(r) FROM jobs.run_now('$name'" . ($more ? ", $more" : '') . ') r'));
}

# The last attempt of a run as a hash.
sub history
{
    my ($run) = @_;
    return decode_json(sql("SELECT to_jsonb(h) FROM jobs.history h "
          . "WHERE run_id = $run->{run_id} ORDER BY attempt DESC LIMIT 1"));
}

# The error of a statement: its SQLSTATE and all of its text.
sub fails
{
    my ($statement, $state, $text, $name) = @_;
    my ($out, $err) = ('', '');
    $node->psql('postgres', "\\set VERBOSITY verbose\n$statement",
        stdout => \$out, stderr => \$err, on_error_stop => 0);
    like($err, qr/ERROR:  $state: /, "$name: $state");
    like($err, $text, "$name: its text");
    return;
}

# --- results ------------------------------------------------------------------

sql('CREATE TABLE t (a int)');

job('one value', 'SELECT 42');
my $run = run_now('one value');
is("@$run{qw(status result rows_affected)}", 'succeeded 42 1', 'one value is the result');
like($run->{duration}, qr/^00:00:/, 'with its duration');
is(history($run)->{trigger}, 'manual', 'it is in the history as a manual run');

job('null value', 'SELECT NULL::int');
is(run_now('null value')->{result}, undef, 'a NULL value is a NULL result');

job('many rows', 'SELECT generate_series(1, 3)');
is(run_now('many rows')->{result}, 'SELECT 3', 'of several rows the tag is the result');

job('two columns', 'SELECT 1, 2');
is(run_now('two columns')->{result}, 'SELECT 1', 'of several columns too');

job('no rows', 'SELECT 1 WHERE false');
is(run_now('no rows')->{result}, 'SELECT 0', 'and of no row');

job('void', "SELECT pg_sleep(0)");
is(run_now('void')->{result}, 'SELECT 1', 'a void function has none but its tag');

job('insert', 'INSERT INTO t SELECT generate_series(1, 5)');
$run = run_now('insert');
is("$run->{result}, $run->{rows_affected}", 'INSERT 0 5, 5',
    'of a command without a result it is the tag; rows are counted');

job('returning', 'DELETE FROM t WHERE a = 5 RETURNING a');
is(run_now('returning')->{result}, '5', 'one value of RETURNING is the result');

job('ddl', 'CREATE TABLE made ()');
$run = run_now('ddl');
is($run->{result}, 'CREATE TABLE', 'DDL has its tag');
is($run->{rows_affected}, undef, 'and counts no rows');

sql('ALTER DATABASE postgres SET motionify_jobs.max_result_length = 1');
sql('SELECT jobs.reload()');
job('long', q{SELECT repeat('ü', 600)});    # 1200 bytes; 1 kB ends within one
job('odd', q{SELECT 'x' || repeat('ü', 600)});
ok(poll_until($node, q{SELECT length(result) = 512 FROM jobs.run_now('long')}),
    'a long result is cut at max_result_length');
is(run_now('odd')->{result}, 'x' . ("\x{fc}" x 511), 'at the border of a character');
job('long error', q{DO $$ BEGIN RAISE EXCEPTION '%', repeat('e', 5000); END $$});
is(length(run_now('long error')->{error}), 1024, 'a long error too');
sql('ALTER DATABASE postgres RESET motionify_jobs.max_result_length');

# --- arguments ----------------------------------------------------------------

job('args', q{SELECT $1 ->> 'name'});
is(run_now('args', q{'{"name": "Zoë"}'})->{result}, "Zo\x{eb}", '$1 is the arguments');
is(run_now('args')->{result}, undef, 'NULL if none were given');
job('args in dml', q{INSERT INTO t SELECT ($1 ->> 'a')::int});
run_now('args in dml', q{'{"a": 77}'});
is(sql('SELECT count(*) FROM t WHERE a = 77'), 1, 'also in INSERT');
sql('CREATE PROCEDURE p (j jsonb) LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO t SELECT (j ->> \'a\')::int; END $$');
job('args in call', 'CALL p($1)');
run_now('args in call', q{'{"a": 78}'});
is(sql('SELECT count(*) FROM t WHERE a = 78'), 1, 'and in CALL');
is(run_now('args', q{jsonb_build_object('name', repeat('z', 100000))})->{status},
    'succeeded', 'large arguments arrive');

# --- transactions -------------------------------------------------------------

sql('TRUNCATE t');
job('two statements', 'INSERT INTO t VALUES (1); SELECT 1 / (count(*) - 1) FROM t');
$run = run_now('two statements');
is($run->{status}, 'failed', 'the second statement of a command fails');
is(sql('SELECT count(*) FROM t'), 0, 'and the first is undone: one transaction');
job('uses its own', 'CREATE TABLE own (a int); INSERT INTO own VALUES (1); SELECT count(*) FROM own');
is(run_now('uses its own')->{result}, '1', 'a statement sees what an earlier one made');

sql('CREATE TABLE v (a int); CREATE PROCEDURE commits () LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO v VALUES (1); COMMIT; INSERT INTO v VALUES (2); ROLLBACK;
       INSERT INTO v VALUES (3); END $$');
# not waited for: CREATE INDEX CONCURRENTLY itself waits for older snapshots
foreach my $command ('VACUUM v', 'CALL commits()', 'CREATE INDEX CONCURRENTLY vi ON v (a)',
    'REINDEX INDEX CONCURRENTLY vi', 'DROP INDEX CONCURRENTLY vi')
{
    job('top level', $command);
    $run = run_now('top level', 'wait => false');
    is($run->{status}, 'queued', "$command is queued");
    poll_until($node, "SELECT count(*) FROM jobs.history WHERE run_id = $run->{run_id} AND status <> 'running'", 1);
    is(history($run)->{status}, 'succeeded', 'and runs');
}
is(sql('SELECT array_agg(a ORDER BY a) FROM v'), '{1,3}', 'a procedure commits and rolls back');

sql('CREATE PROCEDURE commits_and_fails () LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO v VALUES (4); COMMIT; INSERT INTO v VALUES (5);
       RAISE EXCEPTION $m$half$m$; END $$');
job('half', 'CALL commits_and_fails()');
is(run_now('half')->{status}, 'failed', 'a procedure fails after it has committed');
is(sql('SELECT array_agg(a) FROM v WHERE a > 3'), '{4}', 'what it committed stays');

sql('CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child (a int REFERENCES parent
       DEFERRABLE INITIALLY DEFERRED)');
job('deferred', 'INSERT INTO child VALUES (1)');
$run = run_now('deferred');
is($run->{status}, 'failed', 'a constraint that fails at commit fails the run');
is(history($run)->{sqlstate}, '23503', 'with its SQLSTATE');
is(sql('SELECT count(*) FROM child'), 0, 'and undoes it');

# --- failure ------------------------------------------------------------------

sql(q{CREATE FUNCTION f () RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'no such invoice' USING ERRCODE = 'P0042', DETAIL = 'It was 7.',
        HINT = 'Try 8.'; END $$});
job('failing', 'SELECT f()');
$run = run_now('failing');
is("@$run{qw(status error)}", 'failed no such invoice', 'a failure is told to the caller');
my $row = history($run);
is("@$row{qw(status sqlstate error error_detail)}", 'failed P0042 no such invoice It was 7.',
    'and is in the history');
like($row->{error_context}, qr/function f\(\)/, 'with its context');
is(sql("SELECT consecutive_failures FROM jobs.status WHERE job = 'failing'"), 1, 'and counted');
fails(q{SELECT jobs.run_now('failing', raise => true)}, 'P0042', qr/no such invoice/, 'raise');
is(run_now('one value')->{result}, '42', 'other jobs go on');

job('syntax at run time', 'SELECT * FROM no_such_table');
is(history(run_now('syntax at run time'))->{sqlstate}, '42P01', 'names are resolved when it runs');
fails(q{SELECT jobs.run_now('one valeu')}, '42704', qr/HINT: .*"one value"/, 'an unknown job');
fails(q{SELECT jobs.run_now(NULL)}, '22004', qr/null/, 'no job');

job('nested', q{SELECT status FROM jobs.run_now('one value')});
is(history(run_now('nested'))->{sqlstate}, '0A000', 'a run cannot wait for another');
job('nested without wait', q{SELECT status FROM jobs.run_now('args in dml', '{"a": 99}', wait => false)});
is(run_now('nested without wait')->{result}, 'queued', 'but can queue one');
ok(poll_until($node, 'SELECT count(*) FROM t WHERE a = 99', '1'), 'which runs');

fails(q{BEGIN; SELECT jobs.schedule('fresh', NULL, 'SELECT 1'); SELECT jobs.run_now('fresh')},
    '55000', qr/transaction/, 'a job made in the same transaction');

# --- the wait and the caller --------------------------------------------------

my $session = new_session($node);
job('update', 'UPDATE t SET a = a + 1');
$session->query('BEGIN; LOCK TABLE t');
$session->query(q{SELECT jobs.run_now('update')});
like($session->error, qr/ERROR:  40P01: /, 'a run that waits for its caller is ended: 40P01');
like($session->error, qr/HINT: .*wait => false/, 'with a hint');
$session->query('ROLLBACK');
ok(poll_until($node, q{SELECT status FROM jobs.history WHERE job = 'update'}, 'cancelled'),
    'and is cancelled');

sql(q{CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false)});

# takes until the gate is opened; the lock shows that it is at it
sql(q{CREATE PROCEDURE wait_for_gate () LANGUAGE plpgsql AS $$ BEGIN
        PERFORM set_config('application_name', 'at the gate', false);
        LOOP
          COMMIT;
          EXIT WHEN (SELECT open FROM gate);
          PERFORM pg_sleep(0.01);
        END LOOP; END $$});
my $at_gate = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'at the gate'};
sub gate { sql('UPDATE gate SET open = ' . ($_[0] ? 'true' : 'false')); return; }

job('slow', 'CALL wait_for_gate()');
$session->query(q{SET statement_timeout = '300ms'; SELECT * FROM jobs.run_now('slow')});
like($session->error, qr/ERROR:  57014: .*statement timeout/, "the caller's statement_timeout ends its wait");
is(sql($at_gate), 1, 'but not the run');
gate(1);
ok(poll_until($node, q{SELECT status FROM jobs.history WHERE job = 'slow'}, 'succeeded'),
    'which succeeds');
gate(0);
$session->query('RESET statement_timeout; BEGIN; INSERT INTO t VALUES (1000)');
$session->query(q{SELECT status FROM jobs.run_now('one value'); ROLLBACK});
is(sql(q{SELECT count(*) FROM jobs.history WHERE job = 'one value' AND status = 'succeeded'}), 3,
    'a run outlives the rollback of its caller');
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
is($session->query(q{SELECT result FROM jobs.run_now('one value')}), '42',
    'a caller with an old snapshot gets the result');
$session->query('COMMIT; BEGIN READ ONLY');
$session->query(q{SELECT result FROM jobs.run_now('one value')});
like($session->error, qr/ERROR:  25006: cannot execute jobs.run_now\(\)/, 'a read-only one is refused');
$session->query('COMMIT');

# a caller that is killed while it waits leaves the run alone
my $second = new_session($node);
$second->send(q{SELECT status FROM jobs.run_now('slow')});
ok(poll_until($node, $at_gate, '1'), 'a caller waits');
sql('SELECT pg_terminate_backend(' . $second->pid . ')');
gate(1);
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'slow' AND status = 'succeeded'}, '2'),
    'its run succeeds without it');
gate(0);

# --- concurrency --------------------------------------------------------------

$session->send(q{SELECT status FROM jobs.run_now('slow')});
ok(poll_until($node, $at_gate, '1'), 'a slow run');
is(run_now('one value')->{result}, '42', 'another job of the same role does not wait for it');
is(run_now('slow')->{status}, 'skipped', 'an overlap is skipped');
is(sql(q{SELECT error FROM jobs.history WHERE job = 'slow' AND status = 'skipped'}),
    'another run has not ended', 'and recorded');
fails(q{SELECT jobs.run_now('slow', raise => true)}, '55006', qr/skipped/, 'an overlap with raise');
sql(q{SELECT jobs.run_now('slow', wait => false)});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'slow' AND status = 'skipped'}, '3'),
    'without wait it is skipped too');
sql(q{SELECT jobs.schedule('slow', '* * * * * *', 'CALL wait_for_gate()')});
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history
                       WHERE job = 'slow' AND status = 'skipped' AND trigger = 'schedule'}),
    'a scheduled overlap is skipped and recorded');
sql(q{SELECT jobs.reschedule('slow', NULL)});
gate(1);
is($session->result, 'succeeded', 'the run that was first succeeds');
gate(0);

sql(q{SELECT jobs.run_now('slow', wait => false), jobs.run_now('slow', wait => false)});
ok(poll_until($node, $at_gate, '1'), 'of two in one transaction one runs');
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'slow' AND status = 'skipped'
                       AND run_id = (SELECT max(run_id) FROM jobs.history)}, '1'),
    'and the other is skipped');
gate(1);
ok(poll_until($node, q{SELECT count(*) FROM jobs.queued}, '0'), 'and nothing is left');
gate(0);

job('twice', 'CALL wait_for_gate()', overlap => "'allow'");
sql(q{SELECT jobs.run_now('twice', wait => false), jobs.run_now('twice', wait => false)});
ok(poll_until($node, $at_gate, '2'), 'overlap => allow: both run at once');
gate(1);
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'twice' AND status = 'succeeded'}, '2'),
    'and succeed');
gate(0);

# --- time limit, cancellation, attempts ----------------------------------------

job('too long', 'SELECT pg_sleep(600)', timeout => "'100ms'");
$run = run_now('too long');
is($run->{status}, 'timed_out', 'a run that takes longer than its timeout is timed out');
is(history($run)->{sqlstate}, '57014', 'as a cancelled query');

job('sleeps', 'SELECT pg_sleep(600)');
$session->send(q{SELECT status FROM jobs.run_now('sleeps')});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'sleeps' AND status = 'running'}, '1'),
    'a run is shown while it runs');
sql(q{SELECT pg_cancel_backend(pid) FROM jobs.history WHERE job = 'sleeps' AND status = 'running'});
is($session->result, 'cancelled', 'pg_cancel_backend cancels it');
$session->send(q{SELECT status FROM jobs.run_now('sleeps')});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'sleeps' AND status = 'running'}, '1'),
    'once more');
sql(q{SELECT jobs.unschedule('sleeps', cancel_running => true)});
is($session->result, 'cancelled', 'unschedule(cancel_running) cancels it');
is(sql(q{SELECT count(*) FROM jobs.history WHERE job = 'sleeps'}), 2, 'its history stays');

sql('CREATE SEQUENCE tries');
job('third time', q{SELECT 1 / (nextval('tries') / 3)}, max_attempts => 3, backoff_base => "'10ms'");
$run = run_now('third time');
is($run->{status}, 'failed', 'the first attempt fails');
ok(poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $run->{run_id}",
        'failed,failed,succeeded'), 'the third succeeds, with the same run_id');
is(sql(q{SELECT consecutive_failures, failures_24h FROM jobs.status WHERE job = 'third time'}), '0|0',
    'and the run is no failure');
job('never', 'SELECT 1 / 0', max_attempts => 2, backoff_base => "'10ms'");
$run = run_now('never');
ok(poll_until($node, "SELECT count(*) FROM jobs.history WHERE run_id = $run->{run_id}", '2'),
    'after max_attempts a run is given up');
is(sql('SELECT count(*) FROM jobs.queued'), 0, 'and gone from the queue');

# a trigger may put a row into an index that would not have taken it
sql(q{CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.worker := ''noted''; RETURN NEW; END';
    CREATE TRIGGER note BEFORE INSERT ON jobs.run_log FOR EACH ROW EXECUTE FUNCTION note();
    CREATE INDEX noted ON jobs.run_log (run_id) WHERE worker = 'noted'});
job('noted', 'SELECT 1');
$run = run_now('noted');
is(sql(qq{SET enable_seqscan = off; SET enable_bitmapscan = off;
    SELECT count(*) FROM jobs.run_log WHERE worker = 'noted' AND run_id = $run->{run_id}}), 1, 'a row that a trigger changes is in its indexes');
sql(q{DROP INDEX jobs.noted; DROP TRIGGER note ON jobs.run_log});

$session->query(q{SELECT status FROM jobs.run_now('never')});
like($session->error, qr/NOTICE: .*tried again/, 'the caller is told of the next attempt');
$session->quit;
$second->quit;

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal|exited with exit code (?!1$)/), 0,
    'no process died');

done_testing();
