# What a tick of the scheduler costs depends on what is due, not on how many
# jobs there are: it reads no table of jobs from end to end, whatever the
# planner knew when its plans were made.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', conf => "autovacuum = off\nmotionify_jobs.linger = '1h'\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# How often tables were read from end to end, as the workers have reported.
sub full_scans
{
    my ($table) = @_;
    return sql("SELECT pg_stat_clear_snapshot(); SELECT seq_scan FROM pg_stat_user_tables
        WHERE schemaname = 'jobs' AND relname = '$table'") =~ s/^\n//r;
}

# How often an index was used.
sub index_scans
{
    return sql("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'job_state_next_run_at_idx'");
}

# Some jobs become due, by a statement that does no full scan itself, and run.
my $turn = 0;
sub tick
{
    my ($due) = @_;
    my $last = $turn + $due;
    sql("UPDATE jobs.job_state SET next_run_at = jobs.clock() - interval '1 s'
           WHERE job_id = ANY (ARRAY(SELECT 1000 + g FROM generate_series($turn + 1, $last) AS g));
         SELECT jobs.run_now('manual', wait => false)");
    $turn = $last;
    poll_until($node, "SELECT count(*) = $turn FROM jobs.run_log WHERE trigger = 'schedule' AND status = 'succeeded'");
    poll_until($node, "SELECT count(*) = 0 FROM jobs.queue");
    return;
}

# Some ticks, of which none reads all jobs.
sub unwatched
{
    my ($what) = @_;
    my %before = map { $_ => full_scans($_) } qw(job job_state);
    my $used = index_scans();
    tick($_) foreach 1, 30, 1;
    kill_worker($node, 'scheduler', 'TERM');    # at its end it reports what it did
    cmp_ok(index_scans(), '>', $used, "$what: the ticks go by the index");
    is(full_scans('job'), $before{job}, "$what: none reads all jobs");
    is(full_scans('job_state'), $before{job_state}, "$what: nor all that is kept of them");
    return;
}

sql(q{SELECT jobs.schedule('manual', NULL, 'SELECT 1')});
wait_for(sub { run_and_wait($node, 'manual'); index_scans() > 0 }, 'the scheduler has told how it started');

sql(<<'SQL');
INSERT INTO jobs.job (job_id, name, schedule, command, role, origin, created_at, updated_at)
SELECT 1000 + g, 'generated ' || g, '0 4 * * *', 'SELECT 1', current_user, instance_id, jobs.clock(), jobs.clock()
FROM jobs.instance, generate_series(1, 100000) AS g;
INSERT INTO jobs.job_state (job_id, next_run_at, role_oid)
SELECT 1000 + g, jobs.clock() + interval '1 day' + g * interval '5 min', (SELECT oid FROM pg_roles WHERE rolname = current_user)
FROM generate_series(1, 100000) AS g;
SQL
unwatched('planned with one job');

unwatched('planned without statistics');

sql('ANALYZE');
unwatched('planned with statistics');

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
