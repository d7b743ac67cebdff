# Many databases on few worker processes, one of them broken; and a role, or a
# database, with an endless queue beside others.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $n = $ENV{MJ_DATABASES} || 200;

my $node = new_node('main', conf => <<'CONF');
max_worker_processes = 8
motionify_jobs.max_workers = 4
motionify_jobs.linger = '2s'
motionify_jobs.log_runs = none
motionify_jobs.enabled = off
autovacuum = off
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub sql_in { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

# Context switches that a process made of its own.
sub switches
{
    my ($pid) = @_;
    my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status");
    my ($switches) = $status =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
    return $switches;
}

# --- the databases ----------------------------------------------------------------------

# copies are made more quickly than the extension is, and adopted; nobody looks
# into them meanwhile
my $start = clock_gettime(CLOCK_MONOTONIC);
sql('CREATE DATABASE d1');
sql_in('d1', q{CREATE EXTENSION motionify_jobs;
    SELECT jobs.schedule('due', '@every 5s', 'SELECT current_database()', max_runs => 2),
           jobs.schedule('ping', NULL, 'SELECT current_database()');
    SELECT jobs.pause_all()});
my @databases = map { "d$_" } 1 .. $n;
sql("CREATE DATABASE $_ TEMPLATE d1") foreach @databases[ 1 .. $n - 1 ];
sql_in($_, q{SELECT jobs.adopt()}) foreach @databases[ 1 .. $n - 1 ];
note(sprintf('%d databases in %.1f s', $n, clock_gettime(CLOCK_MONOTONIC) - $start));

my $broken = $databases[ $n / 2 ];
my $broken_oid = sql("SELECT oid FROM pg_database WHERE datname = '$broken'");
my @sound = grep { $_ ne $broken } @databases;
sql(q{ALTER SYSTEM SET log_min_messages = debug1});
sql(q{ALTER SYSTEM SET motionify_jobs.enabled = on});
$node->reload;
my $from = -s $node->logfile;
my $starts = sub { return log_count($node, qr/starting background worker process "motionify_jobs $_[0]/, $from); };

sql_in($broken, 'SELECT jobs.resume_all(); ALTER TABLE jobs.job_state RENAME COLUMN next_run_at TO renamed');
$start = clock_gettime(CLOCK_MONOTONIC);
sql_in($_, 'SELECT jobs.resume_all()') foreach @sound;

# all at once: of each database the runs that there were, in one query each
my $ran = q{SELECT count(*) FROM jobs.history WHERE job = 'due' AND status = 'succeeded' AND result = current_database()};
my @left = @sound;
ok(wait_for(sub { @left = grep { sql_in($_, $ran) < 2 } @left; !@left }, 'all databases have been served', 120),
    "the due jobs of $n databases run, with 8 worker processes")
  or diag(scalar(@left) . ' databases left');
my $took = clock_gettime(CLOCK_MONOTONIC) - $start;
note(sprintf('all served in %.1f s', $took));
is(sql_in($_, $ran), 2, "each as often as it was due: $_") foreach @sound[ 0, $n / 3, $n - 2 ];

# --- the broken one -------------------------------------------------------------------

my $errors = log_count($node, qr/ERROR:  column .*next_run_at.* does not exist/, $from);
cmp_ok($errors, '>', 0, 'the broken database is logged');
cmp_ok($errors, '<', 5 + $took / 4, "not all the time: $errors times in " . int($took) . ' s');
my $schedulers = $starts->("scheduler of database $broken_oid\"");
cmp_ok($schedulers, '<=', $errors + 2, "a scheduler is started for it $schedulers times");
cmp_ok($starts->('scheduler'), '<', 8 * $n, sprintf('all in all %d schedulers were started for %d databases', $starts->('scheduler'), $n));
cmp_ok($starts->('executor'), '<', 8 * $n, sprintf('and %d executors', $starts->('executor')));

# --- nothing is due -------------------------------------------------------------------

ok(poll_until($node, q{SELECT string_agg(backend_type, ',') FROM pg_stat_activity
    WHERE backend_type LIKE 'motionify_jobs%' AND datname IS DISTINCT FROM '} . $broken . q{'}, 'motionify_jobs launcher'),
    'idle databases cost no connection');
my ($launcher) = worker_pids($node, 'launcher');
my $before = switches($launcher);
my $since = sql('SELECT clock_timestamp()');
poll_until($node, "SELECT clock_timestamp() > '$since'::timestamptz + interval '2 s'");
my $woken = switches($launcher) - $before;
cmp_ok($woken, '<', 15, "the launcher does not spin: woken $woken times in 2 s");
is(run_and_wait($node, 'ping', $_)->{result}, $_, "run_now in $_") foreach @sound[ 0, $n / 3, $n - 2 ];

# it is mended, and looked at again at once
sql_in($broken, 'ALTER TABLE jobs.job_state RENAME COLUMN renamed TO next_run_at; SELECT jobs.reload()');
is(run_and_wait($node, 'ping', $broken)->{result}, $broken, 'the broken one is mended: run_now');
ok(poll_until($node, $ran, '2', $broken), 'and what is due runs');
sql(q{ALTER SYSTEM RESET log_min_messages});
$node->reload;

# --- an endless queue -------------------------------------------------------------------

sql('CREATE ROLE busy LOGIN; CREATE ROLE rare LOGIN; CREATE ROLE rare2 LOGIN');
my $backlog = 3000;
foreach my $db ('d1', 'd2')
{
    sql_in($db, q{SELECT jobs.schedule('busy', NULL, 'SELECT pg_sleep(0.05)', role => 'busy', overlap => 'allow'),
        jobs.schedule('rare', NULL, 'SELECT session_user', role => 'rare'),
        jobs.schedule('rare2', NULL, 'SELECT session_user', role => 'rare2')});
    sql_in($db, "SELECT count(*) FROM generate_series(1, $backlog) i, LATERAL jobs.run_now('busy', wait => i < 0)");
}
sql_in('d3', q{SELECT jobs.schedule('rare', NULL, 'SELECT session_user', role => 'rare')});
foreach my $db ('d1', 'd2')
{
    ok(poll_until($node, q{SELECT count(*) > 5 FROM jobs.history WHERE job = 'busy' AND status = 'succeeded'}, 't', $db),
        "a role with an endless queue is at it in $db");
}

# Runs of the busy role that started between another run's request and its start.
my @counts;
my $worst = 0;
foreach my $round (1 .. 3)
{
    foreach my $case ([ 'd1', 'rare' ], [ 'd3', 'rare' ], [ 'd2', 'rare2' ], [ 'd1', 'rare2' ])
    {
        my ($db, $job) = @$case;
        my $run = run_and_wait($node, $job, $db);
        is($run->{result}, $job, "round $round: $job in $db has its turn");
        my ($asked, $started) = split /\|/, sql_in($db, "SELECT due_at, started_at FROM jobs.history WHERE run_id = $run->{run_id}");
        my $between = 0;
        $between += sql_in($_, "SELECT count(*) FROM jobs.history WHERE job = 'busy' AND started_at BETWEEN '$asked' AND '$started'") foreach 'd1', 'd2';
        push @counts, $between;
        $worst = $between if $between > $worst;
    }
}
note("runs of the busy role in between: @counts");
cmp_ok($worst, '<', $backlog / 20, "with at most $worst runs of the busy one in between, of $backlog");
foreach my $db ('d1', 'd2')
{
    cmp_ok(sql_in($db, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready'}), '>', $backlog / 2, "which still has a lot to do in $db");
    sql_in($db, q{SELECT jobs.unschedule('busy', cancel_running => true)});
}

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
