# The queue: runs that are enqueued with the caller's transaction start at its
# commit, at their time, in their order; duplicates and expiry.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', conf => 'motionify_jobs.max_workers = 4');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A run of work() notes that it began, and goes on until its gate is open: a file
# with the name of its argument, or the one for all.
my $gates = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $gates;
sub open_gate { PostgreSQL::Test::Utils::append_to_file("$gates/$_", '') foreach @_; return; }
sub close_gates { unlink glob "$gates/*"; return; }

sql(<<SQL);
CREATE TABLE done (run_id bigint, what text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION work(args jsonb) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
  WHILE args ->> 'gate' IS NOT NULL AND pg_stat_file('$gates/' || (args ->> 'gate'), true) IS NULL
    AND pg_stat_file('$gates/all', true) IS NULL LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
  INSERT INTO done VALUES (jobs.current_run_id(), args ->> 'what');
  RETURN args ->> 'what';
END \$\$;
SELECT jobs.schedule('work', NULL, 'SELECT work(\$1)');
SQL

sub done { return sql("SELECT coalesce(string_agg(what, ' ' ORDER BY at), '') FROM done"); }
sub status_is
{
    my ($run, $status, $what) = @_;
    ok(poll_until($node, "SELECT coalesce((SELECT state FROM jobs.queue WHERE run_id = $run),
        (SELECT status FROM jobs.run_log WHERE run_id = $run ORDER BY attempt DESC LIMIT 1))", $status), "$what: $status");
    return;
}

# --- with the caller's transaction ------------------------------------------------

my $session = new_session($node);
$session->query('BEGIN');
my $run = $session->query(q{SELECT jobs.enqueue('work', '{"what": "committed"}')});
$session->query('SAVEPOINT s');
$session->query(q{SELECT jobs.enqueue('work', '{"what": "rolled back"}')});
$session->query('ROLLBACK TO s');
is(sql('SELECT count(*) FROM jobs.queue'), '0', 'nobody sees a run before the commit');
my $other = sql(q{SELECT jobs.enqueue('work', '{"what": "other"}')});
status_is($other, 'succeeded', 'another transaction\'s run');
is(done(), 'other', 'overtakes it');
$session->query('COMMIT');
status_is($run, 'succeeded', 'it runs after the commit');
is(sql("SELECT trigger || ' ' || result || ' ' || attempt FROM jobs.history WHERE run_id = $run"), 'queue committed 1', 'as history says');
$session->query('BEGIN');
$session->query(q{SELECT jobs.enqueue('work', '{"what": "aborted"}')});
$session->query('ROLLBACK');
is(sql('SELECT count(*) FROM jobs.queue'), '0', 'and is gone with a rollback');
is(done(), 'other committed', 'nothing else ran');

# an index that is made, or goes, meanwhile is heeded
$node->safe_psql('postgres', q{CREATE INDEX CONCURRENTLY extra ON jobs.queue ((args ->> 'what')) WHERE state = 'waiting'});
$run = $session->query(q{SELECT jobs.enqueue('work', '{"what": "indexed"}', '2100-01-01')});
is(sql(q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT run_id FROM jobs.queue WHERE args ->> 'what' = 'indexed' AND state = 'waiting'}),
    $run, 'a new index has what is enqueued');
sql('DROP INDEX jobs.extra');
sql('REINDEX INDEX jobs.queue_waiting_idx');
isnt($session->query(q{SELECT jobs.enqueue('work', '{"what": "indexed"}', '2100-01-01')}), '', 'one that is gone is not missed');
is(sql(q{SET enable_seqscan = off; SELECT count(jobs.cancel(run_id)) FROM jobs.queue WHERE state = 'waiting' AND run_at > '2099-01-01'}), '2',
    'nor is one that was made anew');

# --- in parallel, though overlap is skip -------------------------------------------

my @runs = map { sql(qq{SELECT jobs.enqueue('work', '{"what": "p$_", "gate": "p"}')}) } 1 .. 3;
ok(poll_until($node, "SELECT count(*) FROM jobs.queue WHERE state = 'running'", '3'), 'runs of one job go on side by side');
is(sql("SELECT status FROM jobs.run_now('work')"), 'skipped', 'while run_now() minds the overlap');
open_gate('all');
status_is($_, 'succeeded', 'and end') foreach @runs;
close_gates();

# --- priorities, delays ------------------------------------------------------------

sql("ALTER SYSTEM SET motionify_jobs.max_workers = 1; SELECT pg_reload_conf()");
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'motionify_jobs executor'");
sql('TRUNCATE done');
$run = sql(q{SELECT jobs.enqueue('work', '{"what": "first", "gate": "first"}')});
status_is($run, 'running', 'one run');
sql(q{SELECT jobs.enqueue('work', '{"what": "late"}', priority => 10), jobs.enqueue('work', '{"what": "b"}'),
    jobs.enqueue('work', '{"what": "early"}', priority => -1), jobs.enqueue('work', '{"what": "c"}'),
    jobs.enqueue('work', '{"what": "never"}', '2100-01-01', -100)});
sql(q{SELECT jobs.enqueue_many('work', ARRAY['{"what": "m1"}', '{"what": "m2"}']::jsonb[], priority => 5)});
open_gate('first');
ok(poll_until($node, "SELECT count(*) FROM jobs.queue WHERE state <> 'waiting'", '0'), 'all that is due runs');
is(done(), 'first early b c m1 m2 late', 'in the order of priority, then as it was enqueued');
$run = sql(q{SELECT jobs.enqueue('work', '{"what": "soon"}', clock_timestamp() + interval '300 ms')});
status_is($run, 'succeeded', 'a delayed run starts by itself');
cmp_ok(sql("SELECT extract(epoch FROM d.at - l.due_at) FROM jobs.run_log l JOIN done d USING (run_id) WHERE run_id = $run"),
    '>=', 0, 'and not before its time');
sql("SELECT jobs.cancel(run_id) FROM jobs.queued");

# --- one run at a time: overlap queue drops none -------------------------------------

sql("ALTER SYSTEM RESET motionify_jobs.max_workers; SELECT pg_reload_conf()");
sql("SELECT jobs.schedule('line', NULL, 'SELECT work(\$1)', overlap => 'queue')");
sql(q{SELECT jobs.schedule('other', NULL, 'SELECT work($1)')});
@runs = map { sql(qq{SELECT jobs.enqueue('line', '{"what": "l$_", "gate": "line"}')}) } 1 .. 3;
status_is($runs[0], 'running', 'overlap queue: the first');
status_is($runs[1], 'held', 'the second waits');
status_is($runs[2], 'held', 'the third too');
open_gate('line');
status_is($_, 'succeeded', 'all come to their turn') foreach @runs;

# one at a time of a key that the caller gives, of whatever job
close_gates();
@runs = (sql(q{SELECT jobs.enqueue('work', '{"what": "k1", "gate": "key"}', concurrency_key => 'customer 7')}),
    sql(q{SELECT jobs.enqueue('other', '{"what": "k2", "gate": "key"}', concurrency_key => 'customer 7')}),
    sql(q{SELECT jobs.enqueue('work', '{"what": "k3", "gate": "key"}', concurrency_key => 'customer 8')}));
status_is($runs[0], 'running', 'of a key one run');
status_is($runs[2], 'running', 'beside one of another key');
status_is($runs[1], 'held', 'while the next of the key waits');
open_gate('key');
status_is($_, 'succeeded', 'and goes on') foreach @runs;

# --- duplicates ------------------------------------------------------------------------

close_gates();
sql('TRUNCATE done');
$run = sql(q{SELECT jobs.enqueue('work', '{"what": "d1", "gate": "d"}', dedupe_key => 'd')});
status_is($run, 'running', 'a run with a dedupe key');
my $next = sql(q{SELECT jobs.enqueue('work', '{"what": "d2"}', clock_timestamp() + interval '1 hour', dedupe_key => 'd')});
isnt($next, $run, 'has started: another one is made');
is(sql(q{SELECT jobs.enqueue('work', '{"what": "d3"}', dedupe_key => 'd', on_duplicate => 'replace')}), $next,
    'which is live, and replaced');
status_is($next, 'succeeded', 'so it runs now');
open_gate('d');
status_is($run, 'succeeded', 'beside the first');
is(done(), 'd3 d1', 'with the arguments that it was given last');

close_gates();
$run = sql(q{SELECT jobs.enqueue('work', '{"what": "e1", "gate": "e"}', dedupe_key => 'e', dedupe_until => 'end')});
status_is($run, 'running', 'a key that is kept to the end');
is(sql(q{SELECT jobs.enqueue('work', '{"what": "e2"}', dedupe_key => 'e')}), $run, 'keeps others out while it runs');
open_gate('e');
status_is($run, 'succeeded', 'until it ends');
isnt(sql(q{SELECT jobs.enqueue('work', '{"what": "e3"}', dedupe_key => 'e')}), $run, 'then there is another one');

# a debounce that executors are after: each caller gets the id of a run that starts
# after its commit, and none is lost
sql('CREATE TABLE asked (run_id bigint, at timestamptz)');
my @sessions = map { new_session($node) } 1 .. 4;
foreach my $round (1 .. 10)
{
    $_->send(q{DO $$ BEGIN FOR i IN 1..20 LOOP
        INSERT INTO asked SELECT jobs.enqueue('work', '{"what": "race"}', dedupe_key => 'race',
            on_duplicate => (ARRAY['keep', 'replace', 'push_back'])[1 + i % 3]), clock_timestamp();
        COMMIT; END LOOP; END $$}) foreach @sessions;
    $_->result foreach @sessions;
}
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'a race of callers and executors: it ends');
is(sql('SELECT count(*) FROM asked WHERE NOT EXISTS (SELECT FROM done d WHERE d.run_id = asked.run_id AND d.at >= asked.at)'), '0',
    'whoever asked for a run got one that began its work later');
is(sql('SELECT count(*) FROM (SELECT run_id FROM done GROUP BY 1 HAVING count(*) > 1) d'), '0', 'and none ran twice');

# --- what does not start in time ---------------------------------------------------------

close_gates();
sql("SELECT jobs.schedule('one', NULL, 'SELECT work(\$1)', overlap => 'allow', max_running => 1)");
$run = sql(q{SELECT jobs.enqueue('one', '{"what": "x1", "gate": "x"}', expires_at => clock_timestamp() + interval '1 hour')});
status_is($run, 'running', 'a run that has started in time');
my $late = sql(q{SELECT jobs.enqueue('one', '{"what": "x2"}', expires_at => clock_timestamp() + interval '200 ms')});
status_is($late, 'expired', 'one that has not');
is(sql("SELECT attempt || ' ' || error FROM jobs.run_log WHERE run_id = $late"), '0 it had not started in time', 'with the reason');
open_gate('x');
status_is($run, 'succeeded', 'the first');
status_is(sql(q{SELECT jobs.enqueue('work', expires_at => clock_timestamp())}), 'expired', 'one that is late from the beginning');
ok(sql("SELECT jobs.retry($late)"), 'an expired run can be retried');
status_is($late, 'succeeded', 'and has no end of time then');
is(sql("SELECT attempt || ' ' || trigger FROM jobs.history WHERE run_id = $late AND status = 'succeeded'"), '1 retry', 'as a retry');

# --- a job that is paused ---------------------------------------------------------------

close_gates();
my $going = sql(q{SELECT jobs.enqueue('one', '{"what": "p1", "gate": "p"}')});
status_is($going, 'running', 'a run before the pause');
my @waits = map { sql("SELECT jobs.enqueue('one', '{\"what\": \"p\"}'$_)") } '', ", clock_timestamp() + interval '1 hour'";
sql("SELECT jobs.pause('one')");
push @waits, sql(q{SELECT jobs.enqueue('one', '{"what": "p"}')});
my $waits = join ',', @waits;
is(sql("SELECT string_agg(state || ': ' || waits_for, ', ') FROM jobs.queued WHERE run_id IN ($waits)"),
    join(', ', ('paused: its job, which is paused') x 3), 'what was enqueued before and is after waits');
open_gate('p');
status_is($going, 'succeeded', 'what runs goes on');
is(sql("SELECT status FROM jobs.run_now('one', '{\"what\": \"by hand\"}')"), 'succeeded', 'and run_now() works');
is(sql("SELECT string_agg(DISTINCT state, ',') FROM jobs.queued WHERE run_id IN ($waits)"), 'paused', 'the others wait still');
sql("SELECT jobs.resume('one')");
status_is($_, 'succeeded', 'after the pause it is done') foreach @waits[ 0, 2 ];
is(sql("SELECT state FROM jobs.queue WHERE run_id = $waits[1]"), 'waiting', 'at its time');
sql("SELECT jobs.cancel($waits[1])");

# --- after a crash -------------------------------------------------------------------------

close_gates();
sql(q{SELECT jobs.enqueue('work', '{"what": "crash"}', clock_timestamp() + interval '1 s', dedupe_key => 'crash')});
my $running = sql(q{SELECT jobs.enqueue('work', '{"what": "crashed", "gate": "c"}', dedupe_key => 'c')});
status_is($running, 'running', 'before a crash');
sql('CHECKPOINT');
$node->stop('immediate');
$node->start;
status_is($running, 'running', 'after it, again');
isnt(sql(q{SELECT jobs.enqueue('work', '{"what": "again"}', dedupe_key => 'c')}), $running, 'its dedupe key stays gone');
open_gate('all');
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'all that was enqueued runs');
is(sql("SELECT string_agg(what, ' ' ORDER BY what) FROM done WHERE what IN ('crash', 'crashed', 'again')"), 'again crash crashed', 'once');

done_testing();
