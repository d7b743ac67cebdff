# Runs that wait for others: overlap queue, allow with a limit, and replace;
# concurrency keys; and what becomes of them when definitions change.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', conf => 'motionify_jobs.max_workers = 6');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A run of work() goes on until its gate is open: a file with its name, or the
# one for all.
my $gates = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $gates;
sub open_gate { PostgreSQL::Test::Utils::append_to_file("$gates/$_", '') foreach @_; return; }
sub close_gates { unlink glob "$gates/*"; return; }

sql(<<SQL);
CREATE TABLE done (run_id bigint, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION work() RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE id bigint := jobs.current_run_id();
BEGIN
  WHILE pg_stat_file('$gates/' || id, true) IS NULL AND pg_stat_file('$gates/all', true) IS NULL LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
  INSERT INTO done VALUES (id);
  RETURN id;
END \$\$;
SQL

sub job
{
    my ($name, %options) = @_;
    sql("SELECT jobs.schedule('$name', NULL, 'SELECT work()'" . join('', map { ", $_ => $options{$_}" } sort keys %options) . ')');
    return;
}

# Queues a run; returns its id.
sub run { return sql("SELECT run_id FROM jobs.run_now('$_[0]', wait => false)"); }

# Waits until the runs have these states or, if they have ended, statuses.
sub become
{
    my ($expected, $runs, $what) = @_;
    my $ids = join ', ', @$runs;
    ok(poll_until($node, "SELECT string_agg(coalesce(q.state, l.status, 'none'), ' ' ORDER BY id)
        FROM unnest(ARRAY[$ids]) id LEFT JOIN jobs.queue q ON q.run_id = id
        LEFT JOIN LATERAL (SELECT status FROM jobs.run_log WHERE run_id = id ORDER BY attempt DESC LIMIT 1) l ON true",
        $expected), "$what: $expected");
    return;
}

sub error_of { return sql("SELECT error FROM jobs.run_log WHERE run_id = $_[0] ORDER BY attempt DESC LIMIT 1"); }

# --- queue: one runs, one waits ------------------------------------------------

job('line', overlap => "'queue'");
my @runs = (run('line'));
become('running', \@runs, 'queue');
push @runs, run('line');
become('running held', \@runs, 'the second waits');
is(sql("SELECT state || ': ' || waits_for FROM jobs.queued WHERE run_id = $runs[1]"), 'held: other runs of its job', 'and says for what');
push @runs, run('line'), run('line');
become('running held skipped skipped', \@runs, 'there is one place in the line');
is(error_of($runs[2]), 'another run waits already', 'with the reason');
open_gate($runs[0]);
become('succeeded running skipped skipped', \@runs, 'it starts when the first has ended');
open_gate('all');
become('succeeded succeeded skipped skipped', \@runs, 'and ends');
is(run_and_wait($node, 'line')->{status}, 'succeeded', 'run_now() that waits runs when nothing is in the way');

close_gates();
@runs = (run('line'), run('line'));
become('running held', \@runs, 'again');
my $session = new_session($node);
$session->send(q{SELECT status, error FROM jobs.run_now('line')});
is($session->result, 'skipped|another run waits already', 'run_now() that waits is told that there is no place');
open_gate('all');
become('succeeded succeeded', \@runs, 'the others end');

# --- allow, up to a limit --------------------------------------------------------

close_gates();
job('two', overlap => "'allow'", max_running => 2);
@runs = map { run('two') } 1 .. 4;
become('running running held held', \@runs, 'two at a time');
open_gate($runs[1]);
become('running succeeded running held', \@runs, 'the next one takes the place');
job('two', overlap => "'allow'", max_running => 3);
become('running succeeded running running', \@runs, 'a higher limit counts at once');
open_gate('all');
become('succeeded succeeded succeeded succeeded', \@runs, 'all are done');

close_gates();
job('two', overlap => "'allow'", max_running => 1);
@runs = map { run('two') } 1 .. 3;
become('running held held', \@runs, 'one at a time');
job('two', overlap => "'allow'", max_running => 0);
become('running running running', \@runs, 'no limit: nothing is held any more');
open_gate('all');
become('succeeded succeeded succeeded', \@runs, 'all are done');

# --- replace -----------------------------------------------------------------------

close_gates();
job('newest', overlap => "'replace'");
@runs = (run('newest'));
become('running', \@runs, 'replace');
push @runs, run('newest');
become('cancelled running', \@runs, 'a new run takes the place of the old one');
is(error_of($runs[0]), 'replaced by a later run', 'with the reason');
is(sql("SELECT count(*) FROM done WHERE run_id = $runs[0]"), '0', 'whose work is undone');
my ($a, $b, $c) = split /\n/, sql(q{SELECT (jobs.run_now('newest', wait => false)).run_id FROM generate_series(1, 3)});
push @runs, $a, $b, $c;
become('cancelled cancelled cancelled cancelled running', \@runs, 'of several at once the last');
open_gate('all');
become('cancelled cancelled cancelled cancelled succeeded', \@runs, 'which ends');
is(sql("SELECT count(*) FROM jobs.run_log WHERE job = 'newest' AND status = 'failed'"), '0', 'nothing failed');

# one that waits for a retry is replaced too
close_gates();
sql(q{SELECT jobs.schedule('newest', NULL, 'SELECT 1 / 0', max_attempts => 3, backoff_base => '1 hour')});
@runs = (run('newest'));
become('waiting', \@runs, 'a run waits to be tried again');
job('newest');
push @runs, run('newest');
become('cancelled running', \@runs, 'and is replaced');
open_gate('all');
become('cancelled succeeded', \@runs, 'by the later one');
is(sql("SELECT string_agg(status || coalesce(' at ' || to_char(started_at, 'FMYYYY')::int / 2000, ''), ', ' ORDER BY attempt)
    FROM jobs.run_log WHERE run_id = $runs[0]"), 'failed at 1, cancelled', 'whose last row was never started');

# --- concurrency keys ----------------------------------------------------------------

close_gates();
job('report', overlap => "'allow'", concurrency_key => "'disk'");
job('export', overlap => "'allow'", concurrency_key => "'disk'", priority => -1);
job('import', overlap => "'allow'", concurrency_key => "'net'");
my $first = run('report');
become('running', [$first], 'a key');
my ($r2, $e1, $i1) = (run('report'), run('export'), run('import'));
become('running held held running', [ $first, $r2, $e1, $i1 ], 'runs of one key go one at a time');
like(sql("SELECT waits_for FROM jobs.queued WHERE run_id = $r2"), qr/key "disk"/, 'and say for what they wait');
open_gate($first);
become('succeeded held running running', [ $first, $r2, $e1, $i1 ], 'the one of higher priority first');
open_gate($e1);
become('succeeded running succeeded running', [ $first, $r2, $e1, $i1 ], 'then the other');
job('report', concurrency_key => "''");
my $r3 = run('report');
become('running running', [ $r2, $r3 ], 'a key that is taken away holds nothing');
open_gate('all');
become('succeeded succeeded succeeded', [ $r2, $r3, $i1 ], 'all are done');

# many runs of one key, several executors: never two at once
close_gates();
sql(q{CREATE TABLE alone (n int); INSERT INTO alone VALUES (0);
    -- of two at once one overwrites what the other has counted
    SELECT jobs.schedule('alone', NULL, $$DO 'DECLARE seen int; BEGIN SELECT n INTO seen FROM alone;
        UPDATE alone SET n = seen + 1; END'$$, overlap => 'allow', concurrency_key => 'alone');
    SELECT count(jobs.run_now('alone', wait => false)) FROM generate_series(1, 200)});
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'alone' AND status = 'succeeded'}, '200'),
   'two hundred runs of a key');
is(sql('SELECT n FROM alone'), '200', 'never two at once');

# --- a skipped job's retry waits instead of overlapping -----------------------------

close_gates();
job('plain');
@runs = (run('plain'));
become('running', \@runs, 'skip');
push @runs, run('plain');
become('running skipped', \@runs, 'a run that overlaps');
is(sql("SELECT jobs.retry($runs[1])"), 't', 'is asked for again');
become('running held', \@runs, 'and waits');
open_gate('all');
become('succeeded succeeded', \@runs, 'until it can');

# --- the queue of a job that goes ---------------------------------------------------

close_gates();
@runs = map { run('line') } 1 .. 2;
become('running held', \@runs, 'one runs, one waits');
sql(q{SELECT jobs.unschedule('line')});
become('running cancelled', \@runs, 'unscheduled');
is(error_of($runs[1]), 'its job was unscheduled', 'with the reason');
open_gate('all');
become('succeeded cancelled', \@runs, 'what ran has ended by itself');

close_gates();
@runs = (run('plain'));
become('running', \@runs, 'one runs');
sql(q{SELECT jobs.unschedule('plain', cancel_running => true)});
become('cancelled', \@runs, 'unscheduled and cancelled');
is(error_of($runs[0]), 'its job was unscheduled', 'with the reason');
is(sql("SELECT count(*) FROM done WHERE run_id = $runs[0]"), '0', 'its work is undone');

is(sql('SELECT count(*) FROM jobs.queue'), '0', 'nothing is left in the queue');
done_testing();
