# Batches: a set of runs after whose end another job runs, once, with the counts
# of how they ended; whoever dies, and however many end at the same moment.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 4");

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $gates = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $gates;
sub open_gate { PostgreSQL::Test::Utils::append_to_file("$gates/$_", '') foreach @_; return; }

sql(<<SQL);
CREATE TABLE told (run_id bigint, args jsonb);
CREATE FUNCTION member(args jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  WHILE args ->> 'gate' IS NOT NULL AND pg_stat_file('$gates/' || (args ->> 'gate'), true) IS NULL LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
  IF args ->> 'fail' IS NOT NULL THEN
    RAISE EXCEPTION 'as it should';
  END IF;
END \$\$;
SELECT jobs.schedule('member', NULL, 'SELECT member(\$1)');
SELECT jobs.schedule('retried', NULL, 'SELECT member(\$1)', max_attempts => 2, backoff_base => '100 ms');
SELECT jobs.schedule('then', NULL, 'INSERT INTO told VALUES (jobs.current_run_id(), \$1)');
SQL

# A batch of members with these arguments.
sub batch
{
    my ($job, @args) = @_;
    my $array = join ', ', map { "'" . encode_json($_) . "'" } @args;
    return sql(qq{SELECT jobs.batch('$job', ARRAY[$array]::jsonb[], 'then', '{"mine": 1}')});
}

# What the job after a batch was told, once it was; it must be told once.
sub told
{
    my ($batch, $what) = @_;
    ok(poll_until($node, "SELECT count(*) FROM told WHERE args ->> 'batch_id' = '$batch'", '1'), "$what: the next job runs");
    my $args = decode_json(sql("SELECT args FROM told WHERE args ->> 'batch_id' = '$batch'"));
    return join ' ', map { "$_=$args->{$_}" } grep { $args->{$_} } sort keys %$args;
}

# --- all kinds of ends ---------------------------------------------------------

my $batch = batch('member', { n => 1 }, { n => 2, fail => 1 }, { n => 3, gate => 'a' }, { n => 4, gate => 'a' });
ok(poll_until($node, "SELECT live || ' ' || succeeded || ' ' || failed FROM jobs.batches WHERE batch_id = $batch", '2 1 1'),
    'while it goes on, the view says how far it is');
sql("SELECT jobs.cancel(run_id) FROM (SELECT run_id FROM jobs.queue WHERE args ->> 'n' = '4') q");
is(sql('SELECT count(*) FROM told'), '0', 'the next job waits');
open_gate('a');
is(told($batch, 'all have ended'), "batch_id=$batch cancelled=1 failed=1 mine=1 succeeded=2 total=4", 'it is told how they ended');
is(sql("SELECT job || ' ' || then_job || ' ' || total || ' ' || live || ' ' || cancelled || ' ' || (ended_at IS NOT NULL)::text
    FROM jobs.batches WHERE batch_id = $batch"), 'member then 4 0 1 true', 'and so does the view');
is(sql("SELECT h.trigger || ' ' || h.status FROM jobs.history h JOIN jobs.batches b ON b.then_run_id = h.run_id WHERE batch_id = $batch"),
    'batch succeeded', 'a run of trigger batch');

$batch = batch('retried', { fail => 1 }, { });
is(told($batch, 'retries'), "batch_id=$batch failed=1 mine=1 succeeded=1 total=2", 'a run counts once, by its last attempt');
is(sql("SELECT max(attempt) FROM jobs.history WHERE job = 'retried'"), '2', 'after its retry');

$batch = sql(q{SELECT jobs.batch('member', '{}', 'then')});
is(told($batch, 'no run at all'), "batch_id=$batch", 'ends at once');
$batch = sql(q{SELECT jobs.batch('member', ARRAY['{}']::jsonb[], 'then', expires_at => now() - interval '1 s')});
is(told($batch, 'expired'), "batch_id=$batch expired=1 total=1", 'is an end too');
$batch = sql(q{SELECT jobs.batch('member', ARRAY['{}']::jsonb[], NULL)});
ok(poll_until($node, "SELECT succeeded FROM jobs.batches WHERE ended_at IS NOT NULL AND batch_id = $batch", '1'), 'a batch without a next job ends');

my $session = new_session($node);
$session->query('BEGIN');
$session->query(q{SELECT jobs.batch('member', ARRAY['{}']::jsonb[], 'then')});
$session->query('ROLLBACK');
is(sql('SELECT count(*) FROM jobs.batches'), '5', 'nothing of a batch that was rolled back is there');

# --- the last two end at once -----------------------------------------------------

set_fault($node, 'executor-outcome-written', 'wait');
$batch = batch('member', { n => 1 }, { n => 2 });
ok(poll_until($node, "SELECT count(*) FROM jobs.worker_slots() WHERE run_id IS NOT NULL", '2'), 'the last two are at their end');
wait_for_fault($node, 'executor-outcome-written');
clear_fault($node, 'executor-outcome-written');
is(told($batch, 'both commit'), "batch_id=$batch mine=1 succeeded=2 total=2", 'once');

# --- who dies in between ------------------------------------------------------------

foreach my $point ('scheduler-tick-fired', 'scheduler-before-answer', 'executor-outcome-written', 'executor-committed')
{
    $batch = batch('member', { gate => $point }, { gate => $point }, { gate => $point });
    ok(poll_until($node, "SELECT count(*) FROM jobs.queue WHERE state = 'running'", '3'), "$point: members are at work");
    set_fault($node, $point, 'crash:once');
    open_gate($point);
    wait_for(sub { fault_hit($node, $point) }, "$point is met");
    ok(poll_until($node, 'SELECT 1', '1'), 'the server is up again');
    is(told($batch, "$point, killed"), "batch_id=$batch mine=1 succeeded=3 total=3", 'once');
    clear_fault($node, $point);
}

# --- many, and a server that is stopped meanwhile -------------------------------------

$batch = sql(q{SELECT jobs.batch('member', ARRAY(SELECT jsonb_build_object('n', i) FROM generate_series(1, 3000) i), 'then')});
ok(poll_until($node, "SELECT succeeded > 100 FROM jobs.batches WHERE batch_id = $batch"), 'many');
$node->stop('immediate');
$node->start;
is(told($batch, 'after a crash'), "batch_id=$batch succeeded=3000 total=3000", 'all have ended');
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'nothing is left');
is(sql("SELECT count(*) FROM (SELECT args ->> 'batch_id' FROM told GROUP BY 1 HAVING count(*) > 1) t"), '0', 'no end was told twice');
is(sql("SELECT count(*) FROM jobs.batches WHERE ended_at IS NULL"), '0', 'none is open');

# --- who may, and what is refused ------------------------------------------------------

sql(q{CREATE ROLE alice LOGIN; SELECT jobs.grant_usage('alice', 'user'); SELECT jobs.schedule('alices', NULL, 'SELECT 1', role => 'alice')});
my $alice = new_session($node, 'postgres', 'alice');
$alice->query(q{SELECT jobs.batch('alices', '{}', 'then')});
like($alice->error, qr/permission denied for job "then"/, 'both jobs must be the caller\'s');
$alice->query(q{SELECT jobs.batch('alices', '{}', 'alices')});
is($alice->query('SELECT count(*) FROM jobs.batches'), '1', 'who sees her own only');
$session = new_session($node);
$session->query(q{SELECT jobs.batch('member', '{}', 'then', '[1]')});
like($session->error, qr/option "then_args" must be a JSON object/, 'the counts go into an object');

done_testing();
