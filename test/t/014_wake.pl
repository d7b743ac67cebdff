# What is committed wakes the workers at once, what is rolled back does not; and
# idle workers leave after the linger, and come back.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

# sleeping workers look by themselves after 60 s only; what is quicker was woken
my $node = new_node('main', conf => "max_prepared_transactions = 4\nmotionify_jobs.linger = '60s'\n");
my $quick = 20;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The runs of a job that succeeded, and its runs in the queue.
sub done { return sql("SELECT count(*) FROM jobs.history WHERE job = '$_[0]' AND status = 'succeeded'"); }
sub queued { return sql("SELECT count(*) FROM jobs.queue q JOIN jobs.job j USING (job_id) WHERE j.name = '$_[0]'"); }

# The job comes to so many runs, soon.
sub soon
{
    my ($job, $count, $what) = @_;
    ok(wait_for(sub { done($job) == $count }, "$job: $count runs", $quick), $what);
    return;
}

sql(q{SELECT jobs.schedule('a', NULL, 'SELECT 1', overlap => 'allow')});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'the workers are there');

# --- commit and rollback ------------------------------------------------------------

my $session = new_session($node);
$session->query(q{BEGIN; SELECT jobs.run_now('a', wait => false)});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run');
is(done('a'), 2, 'a run is not executed before its commit');
$session->query('COMMIT');
soon('a', 3, 'but right after');

$session->query(q{BEGIN; SELECT jobs.run_now('a', wait => false); ROLLBACK});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run, after a rollback');
is(done('a') . queued('a'), '40', 'what was rolled back is not executed');

$session->query(q{BEGIN; SAVEPOINT s; SELECT jobs.run_now('a', wait => false); ROLLBACK TO s;
    SELECT jobs.run_now('a', wait => false); COMMIT});
soon('a', 5, 'a savepoint that was rolled back');
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run');
is(done('a') . queued('a'), '60', 'what was rolled back to it is not executed');

$session->query(q{BEGIN; SELECT jobs.schedule('b', '* * * * * *', 'SELECT 1')});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run');
is(sql(q{SELECT count(*) FROM jobs.job WHERE name = 'b'}), 0, 'a job is not there before its commit');
$session->query('COMMIT');
ok(wait_for(sub { done('b') > 0 }, 'b runs', $quick), 'its commit wakes the scheduler, that sleeps for longer');
sql(q{SELECT jobs.unschedule('b')});

$session->query(q{BEGIN; SELECT jobs.schedule('c', NULL, 'SELECT 1'); SELECT jobs.run_now('c', wait => false); COMMIT});
soon('c', 1, 'a job can be made and queued in one transaction');

# --- two-phase commit ------------------------------------------------------------

$session->query(q{BEGIN; SELECT jobs.run_now('c', wait => false); PREPARE TRANSACTION 'p1'});
$session->query(q{BEGIN; SELECT jobs.run_now('c', wait => false); PREPARE TRANSACTION 'p2'});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run');
is(done('c'), 1, 'what is prepared is not executed');
sql(q{COMMIT PREPARED 'p1'});
soon('c', 2, 'COMMIT PREPARED, in another session, wakes the workers');
sql(q{ROLLBACK PREPARED 'p2'});
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'another run');
is(done('c') . queued('c'), '20', 'ROLLBACK PREPARED leaves nothing');

# --- many at once -------------------------------------------------------------------

my $had = done('a');
$session->query(q{SELECT count(jobs.run_now('a', wait => false)) FROM generate_series(1, 200)});

soon('a', $had + 200, 'two hundred runs of one transaction');
is(sql('SELECT count(*) FROM jobs.queue'), 0, 'and none is left');
my @sessions = map { new_session($node) } 1 .. 4;
$_->send(q{SELECT count(*) FILTER (WHERE (SELECT status FROM jobs.run_now('a', jsonb_build_object('i', i))) = 'succeeded')
    FROM generate_series(1, 50) i}) foreach @sessions;
is(join(' ', map { $_->result } @sessions), '50 50 50 50', 'four callers that wait for fifty runs each');
$_->quit foreach @sessions;

# --- another database ---------------------------------------------------------------

sql('CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION motionify_jobs});
$node->safe_psql('other', q{SELECT jobs.schedule('b', '* * * * * *', 'SELECT 1')});
ok(wait_for(sub { $node->safe_psql('other', q{SELECT count(*) FROM jobs.history WHERE status = 'succeeded'}) > 0 },
        'a job in another database', $quick), 'CREATE EXTENSION is all that another database needs');
$node->safe_psql('other', q{SELECT jobs.unschedule('b')});

# --- linger ---------------------------------------------------------------------------

sql(q{ALTER SYSTEM SET motionify_jobs.linger = '1s'});
$node->reload;
my $workers = q{SELECT count(*) FROM pg_stat_activity
    WHERE backend_type IN ('motionify_jobs scheduler', 'motionify_jobs executor')};
sql(q{SELECT jobs.schedule('next year', '0 0 1 1 *', 'SELECT 1')});
ok(poll_until($node, $workers, '0'), 'idle workers leave after the linger');
is(run_and_wait($node, 'a')->{status}, 'succeeded', 'run_now brings them back');
ok(poll_until($node, $workers, '0'), 'they leave again');

# due in 8 s: longer than linger and the launcher's head start
my $due = sql(q{SELECT date_trunc('second', clock_timestamp() + interval '8 s')});
sql(qq{SELECT jobs.schedule('soon', to_char('$due'::timestamptz, 'SS MI HH24') || ' * * *', 'SELECT 1')});
ok(poll_until($node, $workers, '0'), 'they leave while nothing is due for some seconds');
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'soon' AND status = 'succeeded'}, '1'),
    'and are back when it is');
is(sql(qq{SELECT due_at = '$due' AND started_at >= due_at FROM jobs.history WHERE job = 'soon'}), 't',
    'at its due instant');

$session->quit;
$node->stop;
is(log_count($node, qr/PANIC|terminated by signal|FATAL: .*does not exist/), 0, 'no process died');
done_testing();
