# What a job can ask and say of its own run, what others see of it while it
# runs, and the messages that its command raised.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# An on-demand job; options are named arguments, as SQL.
sub job
{
    my ($name, $command, %option) = @_;
    my $more = join '', map { ", $_ => $option{$_}" } sort keys %option;
    sql("SELECT jobs.schedule('$name', NULL, \$job\$$command\$job\$$more)");
    return;
}

# Runs a job: the last attempt as a hash, of bytes, as this file is.
sub run
{
    my ($name, $args) = @_;
    my $run_id = sql("SELECT run_id FROM jobs.run_now('$name'" . ($args ? ", '$args'" : '') . ')');
    return JSON::PP->new->decode(
        sql("SELECT to_jsonb(h) FROM jobs.history h WHERE run_id = $run_id ORDER BY attempt DESC LIMIT 1"));
}

# Makes a job of the command and runs it.
my $njobs = 0;
sub run_command
{
    my ($command, %option) = @_;
    my $name = 'job ' . ++$njobs;
    job($name, $command, %option);
    return run($name);
}

# --- the run at hand ------------------------------------------------------------

sql(<<'SQL');
CREATE TABLE seen (at text, run_id bigint, args jsonb);
CREATE FUNCTION inner_id() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN jobs.current_run_id(); END $$;
CREATE FUNCTION outer_id() RETURNS bigint LANGUAGE sql AS 'SELECT inner_id()';
CREATE PROCEDURE in_steps() LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen VALUES ('before', jobs.current_run_id(), jobs.current_args());
  COMMIT;
  INSERT INTO seen VALUES ('after', jobs.current_run_id(), jobs.current_args());
END $$;
CREATE FUNCTION note_seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen VALUES ('at commit', jobs.current_run_id());
  RETURN NULL;
END $$;
CREATE TABLE deferred (a int);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_seen();
SQL

my $run = run_command('SELECT jobs.current_run_id()');
is($run->{result}, $run->{run_id}, 'a command knows its run');
$run = run_command('SELECT outer_id()');
is($run->{result}, $run->{run_id}, 'so do functions inside of functions');
$run = run_command(q{DO $$ BEGIN INSERT INTO seen VALUES ('do', jobs.current_run_id()); END $$});
is(sql(q{SELECT run_id FROM seen WHERE at = 'do'}), $run->{run_id}, 'and DO blocks');
job('steps', 'CALL in_steps()');
$run = run('steps', '{"a": [1, "ä"]}');
is(sql(q{SELECT string_agg(concat_ws(' ', at, run_id, args), ', ' ORDER BY at DESC) FROM seen WHERE at IN ('before', 'after')}),
    join(', ', map { qq($_ $run->{run_id} {"a": [1, "ä"]}) } 'before', 'after'),
    'and procedures, also after COMMIT; and its arguments');
$run = run_command('INSERT INTO deferred VALUES (1)');
is(sql(q{SELECT run_id FROM seen WHERE at = 'at commit'}), $run->{run_id}, 'and what happens at commit');
job('args', 'SELECT jobs.current_args() IS NOT DISTINCT FROM $1');
is(run('args', '{"b": null}')->{result}, 't', 'the arguments are $1');
is(run('args')->{result}, 't', 'also when there are none');
is(sql('SELECT jobs.current_run_id() IS NULL AND jobs.current_args() IS NULL'), 't', 'a session has no run');

$run = run_command('SELECT jobs.current_run_id() / 0', max_attempts => 2, backoff_base => q{'0 s'});
ok(poll_until($node, "SELECT string_agg(status, ',') FROM jobs.history WHERE run_id = $run->{run_id}", 'failed,failed'),
    'failed attempts');
$run = run_command('SELECT jobs.current_run_id()');
is($run->{result}, $run->{run_id}, 'leave nothing to the next run');

# --- progress -------------------------------------------------------------------

# A job that reports, and goes on each time that its gate is opened.
my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
sub open_gate { PostgreSQL::Test::Utils::append_to_file("$gate$_[0]", ''); return; }

sql(<<SQL);
CREATE FUNCTION wait_at(gate text) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN
  WHILE pg_stat_file('$gate' || gate, true) IS NULL LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
END \$\$;
CREATE FUNCTION work() RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
  PERFORM jobs.progress(1, 3, 'first ' || repeat('ä', 100));
  PERFORM wait_at('1');
  PERFORM jobs.progress(2);
  PERFORM wait_at('2');
  PERFORM jobs.progress(9, NULL, '');
  PERFORM wait_at('3');
  RETURN 7;
END \$\$;
CREATE ROLE worker LOGIN;
CREATE ROLE viewer LOGIN;
CREATE ROLE other LOGIN;
GRANT pg_read_server_files TO worker;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO worker;
SELECT jobs.grant_usage('worker', 'user');
SELECT jobs.grant_usage('viewer', 'viewer');
SELECT jobs.grant_usage('other', 'user');
SQL
job('work', 'SELECT work()', role => q{'worker'}, job_group => q{'g'});

sub active
{
    my ($columns, $role) = @_;
    return sql(($role ? "SET ROLE $role; " : '') . "SELECT $columns FROM jobs.active WHERE job = 'work'");
}

my $run_id = sql(q{SELECT run_id FROM jobs.run_now('work', wait => false)});
ok(poll_until($node, q{SELECT done, total, percent, note FROM jobs.active WHERE job = 'work'},
        '1|3|33.3|first ' . 'ä' x 60), 'how far it is, with a note that is cut at a character');
is(active('run_id, job, job_group, trigger, attempt, cancelling, role'), "$run_id|work|g|manual|1|f|worker",
    'what runs is in jobs.active');
is(active(q{started_at < now(), running_for BETWEEN '0' AND '1 minute', pid}),
    't|t|' . sql(q{SELECT pid FROM pg_stat_activity WHERE query = 'SELECT work()'}), 'since when, and where');
is(active('done, note IS NULL', 'worker'), '1|f', 'its role sees it all');
is(active('done, note IS NULL', 'viewer'), '1|t', 'who sees all jobs does not see the note');
is(sql('SET ROLE viewer; SELECT count(*), count(note) FROM jobs.worker_slots()'), '1|0', 'by no way');
is(active('done', 'other'), '', 'who may not see it does not');
is(sql('SET ROLE other; SELECT count(*) FROM jobs.worker_slots()'), '0', 'by no way');
open_gate(1);
ok(poll_until($node, q{SELECT done, total, percent, left(note, 5) FROM jobs.active WHERE job = 'work'},
        '2|3|66.7|first'), 'what is not given stays');
open_gate(2);
ok(poll_until($node, q{SELECT done, total, percent, note FROM jobs.active WHERE job = 'work'},
        '9|3|100.0|'), 'more than all is all, and the note can be taken away');
open_gate(3);
ok(poll_until($node, "SELECT status, result FROM jobs.history WHERE run_id = $run_id", 'succeeded|7'), 'it ends');
is(active('count(*)'), 0, 'and is not in jobs.active any more');

unlink "${gate}4";
job('silent', q{SELECT wait_at('4')}, role => q{'worker'});
sql(q{SELECT jobs.run_now('silent', wait => false)});
ok(poll_until($node, q{SELECT s.run_id = a.run_id, a.done, a.total, a.percent, a.note
        FROM jobs.active a JOIN jobs.worker_slots() s USING (run_id)}, 't||||'), 'the next run has said nothing');
open_gate(4);
ok(poll_until($node, q{SELECT status FROM jobs.history WHERE job = 'silent'}, 'succeeded'), 'and ends');

# --- messages -------------------------------------------------------------------

sql(<<'SQL');
CREATE FUNCTION talk(message text, level text DEFAULT 'notice') RETURNS text LANGUAGE plpgsql AS $$ BEGIN
  CASE level
    WHEN 'notice' THEN RAISE NOTICE '%', message;
    WHEN 'warning' THEN RAISE WARNING '%', message USING detail = 'More of it.', hint = 'Do something.';
    WHEN 'info' THEN RAISE INFO '%', message;
    WHEN 'log' THEN RAISE LOG '%', message;
    WHEN 'debug' THEN RAISE DEBUG '%', message;
  END CASE;
  RETURN message;
END $$;
SQL

$run = run_command(q{SELECT talk('one'); SELECT talk('two', 'warning'); SELECT talk('three', 'info');
    SELECT talk('four', 'log'); SELECT talk('five', 'debug')});
is($run->{notices}, "NOTICE:  one\nWARNING:  two\nDETAIL:  More of it.\nHINT:  Do something.\nINFO:  three",
    'messages of a run are in the history, as psql prints them');
is($run->{status}, 'succeeded', 'which succeeded');
is(run_command('SELECT 1')->{notices}, undef, 'a run without has none');
is(run_command(q{SET client_min_messages = warning; SELECT talk('one'); SELECT talk('three', 'info')})->{notices},
    'INFO:  three', 'client_min_messages decides');
is(run_command(q{SET client_min_messages = debug1; SELECT talk('five', 'debug'), talk('four', 'log')})->{notices},
    "DEBUG:  five\nLOG:  four", 'in both directions');
is(run_command(q{SELECT talk(E'two\nlines')})->{notices}, "NOTICE:  two\nlines", 'of several lines');
is(run_command('CREATE TABLE IF NOT EXISTS seen ()')->{notices}, 'NOTICE:  relation "seen" already exists, skipping',
    'commands of the server raise them, too');
like(run_command('VACUUM (VERBOSE) seen')->{notices}, qr/^INFO:  vacuuming "postgres.public.seen"\n/,
    'also those that are no transaction');

$run = run_command(q{SELECT talk('so far'); SELECT 1 / 0});
is("$run->{status} $run->{notices}", 'failed NOTICE:  so far', 'those of a run that failed');
$run = run_command(q{SELECT talk('so far'); SELECT pg_sleep(1000)}, timeout => q{'100 ms'});
is("$run->{status} $run->{notices}", 'timed_out NOTICE:  so far', 'of one that timed out');
job('cancelled', q{SELECT talk('so far'); SELECT pg_cancel_backend(pg_backend_pid()); SELECT pg_sleep(1000)});
$run = run('cancelled');
is("$run->{status} $run->{notices}", 'cancelled NOTICE:  so far', 'of one that was cancelled');
job('interrupted', q{SELECT talk('so far'); SELECT wait_at('5')});
$run_id = sql(q{SELECT run_id FROM jobs.run_now('interrupted', wait => false)});
ok(poll_until($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%wait_at(''5'')'
        AND wait_event = 'PgSleep'}), 'a run is interrupted');
open_gate(5);
ok(poll_until($node, "SELECT string_agg(status || ' ' || notices, ', ' ORDER BY attempt) FROM jobs.history WHERE run_id = $run_id",
        'cancelled NOTICE:  so far, succeeded NOTICE:  so far'), 'its attempts have each their own');
sql('ALTER ROLE worker SET default_transaction_read_only = on');
$run = run_command(q{SELECT talk('I read')}, role => q{'worker'});
is("$run->{status} $run->{notices}", 'succeeded NOTICE:  I read', 'of one that may write nothing');
$run_id = $run->{run_id};
is(sql("SET ROLE worker; SELECT notices FROM jobs.history WHERE run_id = $run_id"), 'NOTICE:  I read',
    'its role sees them');
is(sql("SET ROLE viewer; SELECT status, notices FROM jobs.history WHERE run_id = $run_id"), 'succeeded|',
    'who only sees all jobs does not');
$run = run_command(q{SELECT talk('caught') || n FROM (SELECT 1 / 0) t (n)});
is($run->{notices}, undef, 'an error is no message');
sql(<<'SQL');
CREATE FUNCTION catches() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  BEGIN
    RAISE NOTICE 'inside'; PERFORM 1 / 0;
  EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'caught %', SQLERRM;
  END;
END $$;
SQL
is(run_command('SELECT catches()')->{notices}, "NOTICE:  inside\nNOTICE:  caught division by zero",
    'nor is one that was caught; what was said before stays');

# only the last ones are kept
sql(q{ALTER SYSTEM SET motionify_jobs.max_result_length = '1kB'; SELECT pg_reload_conf()});
sql(q{SELECT jobs.reload()});
sub kept { return run_command($_[0])->{notices} // ''; }
ok(wait_for(sub { length kept(q{SELECT talk(repeat('x', 5000))}) == 960 }, 'the setting is taken over'),
    'a message that is too long is cut');
like(kept(q{SELECT talk('x' || repeat('ä', 5000))}), qr/^NOTICE:  x(?:ä){475}$/, 'at a character');
is(kept(q{SELECT talk(repeat('a', 400)); SELECT talk(repeat('b', 400)); SELECT talk(repeat('c', 400))}),
    "(1 earlier messages left out)\nNOTICE:  " . 'b' x 400 . "\nNOTICE:  " . 'c' x 400, 'the oldest are left out whole');

sub peak_kb
{
    my ($pid) = @_;
    return PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}
sql(<<'SQL');
CREATE FUNCTION chatter(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  FOR i IN 1 .. n LOOP RAISE NOTICE 'message %', i; END LOOP;
  RETURN n;
END $$;
SQL
job('chatter', 'SELECT chatter(($1 ->> 0)::int)');
$run = run('chatter', '[1000]');
my $before = peak_kb($run->{pid});
my $first_pid = $run->{pid};
$run = run('chatter', '[100000]');
my @lines = split /\n/, $run->{notices};
like(shift @lines, qr/^\((\d+) earlier messages left out\)$/, 'of a hundred thousand the first are left out');
my ($left_out) = $run->{notices} =~ /^\((\d+)/;
is($left_out + @lines, 100000, 'all are counted');
is_deeply([ map { "NOTICE:  message $_" } $left_out + 1 .. 100000 ], \@lines, 'and the last are kept');
ok(length $run->{notices} <= 1024, 'within the limit');
SKIP:
{
    skip 'another executor ran it', 1 if $run->{pid} != $first_pid;
    my $growth = peak_kb($run->{pid}) - $before;
    ok($growth < 4096, "the executor's memory does not grow ($growth kB)");
}

# --- what else would go to a client -----------------------------------------------

my $file = PostgreSQL::Test::Utils::tempdir() . '/copied';
$run = run_command(q{SET client_encoding = 'LATIN1'; SELECT talk('ä 漢字 €')});
is("$run->{status} $run->{notices}", 'succeeded NOTICE:  ä 漢字 €',
    'the client_encoding of the command does not matter');
run_command("SET client_encoding = 'LATIN1'; SELECT talk('漢字'); COPY (SELECT 'ä') TO '$file'");
is(unpack('H*', slurp_bytes($file)), 'e40a', 'but for what it is about');
is(run_command(q{SET client_encoding = 'LATIN1'; SELECT talk('x'); SELECT current_setting('client_encoding')
    || pg_client_encoding()})->{result}, 'LATIN1LATIN1', 'and it stays');
is(run_command('SHOW client_encoding')->{result}, 'UTF8', 'in that run only');

$run = run_command(q{SET TimeZone = 'Asia/Kolkata'; NOTIFY here, 'hello'; SELECT talk('said')});
is("$run->{status} $run->{notices}", 'succeeded NOTICE:  said', 'parameters and notifications are no messages');
is(run_command('SELECT 1')->{notices}, undef, 'and do not come later');
job('copies', 'SELECT 1');
sql(q{UPDATE jobs.job SET command = 'COPY seen FROM STDIN', version = version + 1 WHERE name = 'copies'});
$run = run('copies');
is("$run->{status} $run->{sqlstate} $run->{error}", 'failed 0A000 COPY with the client is not possible in a job',
    'COPY with the client, which schedule() refuses, is an error');
sql(q{UPDATE jobs.job SET command = 'COPY seen TO STDOUT', version = version + 1 WHERE name = 'copies'});
is(run('copies')->{sqlstate}, '0A000', 'in both directions');
is(run_command('SELECT 1')->{status}, 'succeeded', 'and others go on');

# a parallel worker's messages come through the leader
sql(<<'SQL');
CREATE FUNCTION says(a int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE COST 100000 AS $$
  BEGIN RAISE NOTICE 'in parallel %', jobs.current_run_id() IS NULL; RETURN a; END $$;
CREATE TABLE wide AS SELECT generate_series(1, 3) AS a;
SQL
my $force = sql('SHOW server_version_num') < 160000 ? 'force_parallel_mode' : 'debug_parallel_query';
is(kept("SET $force = on; SET max_parallel_workers_per_gather = 2; SELECT says(a) FROM wide WHERE a = 1"),
    'NOTICE:  in parallel t', 'messages of parallel workers');

is(log_count($node, qr/PANIC|terminated by signal/), 0, 'nothing has crashed');

done_testing();
