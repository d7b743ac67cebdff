# Throttles: at most so many attempts of a job start within any period, of each
# key; counted from the tables, so that no restart forgets them.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 4\nmotionify_jobs.linger = '1min'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# How many runs of a job have started and how many wait, once all are done that
# may start now.
sub counts_are
{
    my ($job, $expected, $what) = @_;
    is_deeply([ poll_until($node, "SELECT (SELECT count(*) FROM jobs.history WHERE job = '$job' AND started_at IS NOT NULL)
        || ' ' || (SELECT count(*) FROM jobs.queued WHERE job = '$job')", $expected) ? $expected : 'other' ], [$expected], "$what: $expected");
    return;
}

# Waits until the scheduler has looked at the tables once more: it ends a run that
# has expired.
sub one_more_look
{
    my $run = sql(q{SELECT jobs.enqueue('marker', expires_at => jobs.clock())});
    ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run", 'expired'), 'a look later') or BAIL_OUT('no scheduler');
    return;
}

set_clock($node, '2030-01-01 12:00:00+00');
sql(q{SELECT jobs.schedule('marker', NULL, 'SELECT 1')});
sql(q{SELECT jobs.schedule('api', NULL, 'SELECT 1', throttle_limit => 3, throttle_period => '1 minute')});

# --- a limit of a job -----------------------------------------------------------

sql(q{SELECT jobs.enqueue_many('api', array_fill('{}'::jsonb, ARRAY[8]))});
counts_are('api', '3 5', 'the first three');
is(sql(q{SELECT DISTINCT waits_for FROM jobs.queued WHERE job = 'api'}), 'the throttle or other runs of its job', 'the others say for what they wait');
set_clock($node, '2030-01-01 12:00:59+00');
one_more_look();
counts_are('api', '3 5', 'a second before the period is over');
set_clock($node, '2030-01-01 12:01:00+00');
counts_are('api', '6 2', 'when it is over');
set_clock($node, '2030-01-01 12:01:30+00');
one_more_look();
counts_are('api', '6 2', 'no sooner than a period later');
$node->stop('immediate');
$node->start;
one_more_look();
counts_are('api', '6 2', 'a crash forgets nothing');
set_clock($node, '2030-01-01 12:02:00+00');
counts_are('api', '8 0', 'the rest');
# two have started in this minute: one more may
sql(q{SELECT jobs.enqueue_many('api', array_fill('{}'::jsonb, ARRAY[2]))});
counts_are('api', '9 1', 'what was left of the limit');
set_clock($node, '2030-01-01 12:02:20+00');
sql(q{SELECT jobs.schedule('api', NULL, 'SELECT 1', throttle_limit => 4)});
counts_are('api', '10 0', 'a limit that is raised lets one more pass at once');
sql(q{SELECT jobs.enqueue('api')});
set_clock($node, '2030-01-01 12:02:59+00');
one_more_look();
counts_are('api', '10 1', 'then it holds again');
# by a sliding window: three were at 12:02:00, one at 12:02:20
set_clock($node, '2030-01-01 12:03:00+00');
counts_are('api', '11 0', 'by a window that slides');
sql(q{SELECT jobs.enqueue_many('api', array_fill('{}'::jsonb, ARRAY[9]))});
counts_are('api', '13 7', 'what is at its beginning does not count any more');
sql(q{SELECT jobs.schedule('api', NULL, 'SELECT 1', throttle_limit => 0)});
counts_are('api', '20 0', 'without a throttle all go');

# --- keys -------------------------------------------------------------------------

sql(q{SELECT jobs.schedule('keyed', NULL, 'SELECT 1', throttle_limit => 2, throttle_period => '1 hour')});
sql(q{SELECT jobs.enqueue('keyed', throttle_key => k) FROM generate_series(1, 4), (VALUES ('a'), ('b')) v (k)});
sql(q{SELECT jobs.enqueue('keyed', priority => 100) FROM generate_series(1, 4)});
counts_are('keyed', '6 6', 'two of each key, and two without one');
is(sql(q{SELECT string_agg(throttle_key || n, ' ' ORDER BY throttle_key)
    FROM (SELECT throttle_key, count(*) AS n FROM jobs.queued WHERE job = 'keyed' GROUP BY 1) q}), '2 a2 b2', 'the others wait');
set_clock($node, '2030-01-01 13:03:00+00');
counts_are('keyed', '12 0', 'for an hour');

# --- all attempts count, whatever made the run --------------------------------------

sql(q{SELECT jobs.schedule('failing', NULL, 'SELECT 1/0', max_attempts => 3, backoff_base => '1 s', throttle_limit => 2, throttle_period => '1 hour')});
sql(q{SELECT jobs.enqueue('failing')});
ok(poll_until($node, q{SELECT state || ' ' || attempt FROM jobs.queue q JOIN jobs.job USING (job_id) WHERE name = 'failing'}, 'waiting 1'), 'a failed attempt');
set_clock($node, '2030-01-01 13:03:01+00');
ok(poll_until($node, q{SELECT state || ' ' || attempt FROM jobs.queue q JOIN jobs.job USING (job_id) WHERE name = 'failing'}, 'waiting 2'), 'the next is let pass');
set_clock($node, '2030-01-01 13:03:02+00');
ok(poll_until($node, q{SELECT state || ' ' || attempt FROM jobs.queue q JOIN jobs.job USING (job_id) WHERE name = 'failing'}, 'held 2'), 'the third waits');
set_clock($node, '2030-01-01 14:03:00+00');
counts_are('failing', '3 0', 'until the first does not count');

sql(q{SELECT jobs.schedule('timed', '* * * * *', 'SELECT 1', overlap => 'allow', throttle_limit => 1, throttle_period => '90 seconds')});
set_clock($node, "2030-01-01 14:0$_:00+00"), one_more_look() foreach 4 .. 6;
counts_are('timed', '2 1', 'runs of a schedule');
sql(q{SELECT jobs.unschedule('timed')});

# --- what was admitted and did not start counts for nothing ------------------------------

set_clock($node, '2030-01-01 15:00:00+00');
sql(q{SELECT jobs.schedule('few', NULL, 'SELECT 1', throttle_limit => 1, throttle_period => '1 hour'); SELECT jobs.drain()});
my ($first, $second) = split /\n/, sql(q{SELECT jobs.enqueue('few') FROM generate_series(1, 2)});
ok(poll_until($node, "SELECT string_agg(state, ' ' ORDER BY run_id) FROM jobs.queue", 'ready held'), 'one is admitted');
set_clock($node, '2030-01-01 16:30:00+00');
one_more_look();
is(sql("SELECT string_agg(state, ' ' ORDER BY run_id) FROM jobs.queue"), 'ready held', 'and counts until it has started, however late');
sql("SELECT jobs.cancel($first)");
ok(poll_until($node, "SELECT state FROM jobs.queue WHERE run_id = $second", 'ready'), 'when it is cancelled, the next takes its place');
sql('SELECT jobs.undrain()');
counts_are('few', '1 0', 'and runs');

# --- with a concurrency key -----------------------------------------------------------------

sql(q{SELECT jobs.schedule('both', NULL, 'SELECT 1', throttle_limit => 2, throttle_period => '1 hour')});
sql(q{SELECT jobs.enqueue('both', concurrency_key => 'c' || i) FROM generate_series(1, 5) i});
counts_are('both', '2 3', 'several concurrency keys under one limit');

# --- what was claimed and given back counts from its real start ------------------------------

set_clock($node, '2030-01-02 12:00:00+00');
sql(q{SELECT jobs.schedule('outside', NULL, handler => 'external', overlap => 'allow', throttle_limit => 1, throttle_period => '1 hour')});
($first, $second) = split /\n/, sql(q{SELECT jobs.enqueue('outside') FROM generate_series(1, 2)});
sub states_are { return ok(poll_until($node, "SELECT string_agg(state, ' ' ORDER BY run_id) FROM jobs.queue WHERE run_id IN ($first, $second)", $_[0]), $_[1]); }
states_are('ready held', 'one is admitted');
my $token = sql(q{SELECT token FROM jobs.claim('outside', lease => '10 hours')});
one_more_look();
sql("SELECT jobs.release('$token')");
one_more_look();
set_clock($node, '2030-01-02 12:30:00+00');
$token = sql(q{SELECT token FROM jobs.claim('outside', lease => '10 hours')});
set_clock($node, '2030-01-02 13:29:59+00');
one_more_look();
states_are('running held', 'the next waits for a period from there');
set_clock($node, '2030-01-02 13:30:00+00');
states_are('running ready', 'and no longer, while the first goes on');
sql("SELECT jobs.cancel(run_id) FROM jobs.queue WHERE run_id IN ($first, $second)");

# --- what is refused ---------------------------------------------------------------------------

my $session = new_session($node);
foreach my $options ('throttle_limit => 3', q{throttle_period => '1 s'}, q{throttle_limit => -1, throttle_period => '1 s'},
    q{throttle_limit => 1, throttle_period => '0'})
{
    $session->query("SELECT jobs.schedule('refused', NULL, 'SELECT 1', $options)");
    like($session->error, qr/22023|go together|out of range/, "refused: $options");
}

done_testing();
