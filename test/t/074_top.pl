# jobs.top() and jobs.health() beside processes: what runs, what waits for an executor,
# what no scheduler looks at.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use IPC::Run;
use Test::More;

my $node = new_node('main', conf => "motionify_jobs.max_workers = 1");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What jobs.health() says of a check, with arguments.
sub check
{
    my ($check, $arguments) = @_;
    return "SELECT status FROM jobs.health(" . ($arguments // '') . ") WHERE check_name = '$check'";
}

is(sql("SELECT string_agg(DISTINCT status, ' ') FROM jobs.health()"), 'ok', 'all is well at first');

# --- one at work, of another role one that waits -----------------------------------

my $gate = new_session($node);
$gate->query('SELECT pg_advisory_lock(1)');
sql('CREATE ROLE other LOGIN');
sql(q{SELECT jobs.schedule('long work', NULL,
    $$SELECT jobs.progress(45, 100, 'nearly half'); SELECT pg_advisory_lock(1)$$)});
sql(q{SELECT jobs.schedule('other work', NULL, 'SELECT 1', role => 'other', overlap => 'allow')});
sql(q{SELECT jobs.schedule('tomorrow', '0 2 29 2 *', 'SELECT 1', timezone => 'Asia/Kolkata')});
sql(q{SELECT jobs.run_now('long work', wait => false)});
ok(poll_until($node, q{SELECT detail FROM jobs.top() WHERE what = 'running' AND job = 'long work'},
        '[#####.....] 45% nearly half'), 'jobs.top: what runs, and how far it is');
sql(q{SELECT count(*) FROM jobs.enqueue_many('other work', '{1,2}')});
sql(q{SELECT jobs.enqueue('other work', '3', now() + interval '1 day')});
ok(poll_until($node, q{SELECT detail FROM jobs.top() WHERE what = 'queued' AND job = 'other'}, '2 ready, 1 later'),
    'what waits, by lane');
is(sql(q{SELECT "time" ~ '^in [0-9]+ d$', detail FROM jobs.top() WHERE what = 'next'}),
    't|' . sql(q{SELECT to_char(next_run_local, 'YYYY-MM-DD HH24:MI:SS') || ' Asia/Kolkata' FROM jobs.status WHERE job = 'tomorrow'}),
    'what is due next, on its own clocks');

ok(poll_until($node, check('executors', "max_wait => '1 ms'"), 'fail'), 'jobs.health: a lane without an executor');
is(sql(check('executors', "max_wait => '1 day'")), 'ok', 'within what it may wait');
is(sql(check('oldest run', "max_wait => '1 ms'")), 'fail', 'a run that waits');
is(sql(check('queue', 'max_pending => 1')), 'warn', 'two runs, where one may wait');
is(sql(check('queue', 'max_pending => 0')), 'fail', 'or none');
is(sql(q{SELECT busy || ' of ' || max_executors FROM jobs.server_state()}), '1 of 1', 'the executor is at work');

# --- the width -------------------------------------------------------------------------

sql(q{SELECT jobs.schedule(repeat('a long name ', 10), NULL, $$SELECT ('x' || repeat('y', 500))::integer$$)});
$gate->query('SELECT pg_advisory_unlock(1)');
run_and_wait($node, 'a long name ' x 10);
my $out = '';
IPC::Run::run([ 'psql', '-Xq', '-P', 'pager=off', '-d', $node->connstr('postgres'), '-c', 'SELECT * FROM jobs.top()' ],
    '>', \$out);
like($out, qr/^ failed +\| a long name/m, 'psql shows it');
is((grep { length > 100 } split /\n/, $out), 0, 'in a hundred columns');

# --- who does not do what -----------------------------------------------------------------

ok(poll_until($node, "SELECT count(*) FROM jobs.active", '0'), 'nothing is at work');
sql(q{SELECT jobs.drain()});
is(sql(check('database')), 'fail', 'a drained database');
like(sql(q{SELECT detail FROM jobs.health() WHERE check_name = 'database'}), qr/drained/, 'and why');
sql(q{SELECT jobs.undrain()});
is(sql(check('database')), 'ok', 'it goes on');

sql('ALTER SYSTEM SET motionify_jobs.enabled = off');
$node->reload;
ok(poll_until($node, check('database'), 'fail'), 'switched off');
ok(poll_until($node, 'SELECT schedulers + executors FROM jobs.server_state()', '0'), 'all have left');
is(sql(check('scheduler')), 'ok', 'nothing is due');
sql(q{INSERT INTO jobs.queue (job_id, lane, state, run_at, due_at, trigger)
    SELECT job_id, role_oid, 'waiting', jobs.clock() - interval '5 minutes', jobs.clock(), 'queue' FROM jobs.job_state LIMIT 1});
is(sql(check('scheduler')), 'warn', 'what is due is not looked at');
is(sql(q{SELECT overdue FROM jobs.lanes WHERE overdue > 0}), '1', 'jobs.lanes: overdue');
is(sql(check('scheduler', "max_wait => '10 s'")), 'fail', 'for too long');
is(sql(q{SELECT value FROM jobs.metrics WHERE name = 'motionify_jobs_health' AND labels ->> 'check_name' = 'database'}), '2',
    'the metrics say so too');

done_testing();
