# Reading a history of some length: what is asked of its end, or of a job, is found by
# index, whoever asks, and whether the planner knows the tables or not.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjHistory;
use Test::More;

my $node = new_node('main');
fill_history($node, 40_000);    # 1,333 of them in the last 24 hours
$node->safe_psql('postgres', q{CREATE ROLE viewer; SELECT jobs.grant_usage('viewer', 'viewer')});
$node->safe_psql('postgres', q{CREATE ROLE somebody; SELECT jobs.grant_usage('somebody', 'user')});

my $day = 1_333;
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

foreach my $known (0, 1)
{
    $node->safe_psql('postgres', 'VACUUM ANALYZE') if $known;
    # of each job a few rows more than the last day: the last run, the last success
    check_reading($node, 'viewer', 'SELECT * FROM jobs.status', $day + 150);
    check_reading($node, 'viewer', "SELECT * FROM jobs.status WHERE job = 'job 7'", $day / 19 + 10);
    check_reading($node, 'viewer', "SELECT * FROM jobs.status WHERE job = 'long ago'", 5);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.statistics()', $day + 10);
    check_reading($node, 'viewer', "SELECT * FROM jobs.statistics(since => '6 hours', bucket => '1 hour')", $day / 3);
    check_reading($node, 'viewer', "SELECT * FROM jobs.statistics('job 7', '3 days', '1 day')", 4 * $day / 19 + 10);
    check_reading($node, 'viewer', "SELECT * FROM jobs.statistics('long ago', '31 days')", 5);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.recent()', 110);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent('job 7', max_rows => 10)", 30);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent('long ago')", 5);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent(before => now() - interval '20 days')", 110);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent('job 7', before => now() - interval '20 days', max_rows => 10)", 30);
    check_reading($node, 'somebody', "SELECT * FROM jobs.recent(since => now() - interval '6 hours')", $day / 3);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.top()', 2 * $day);
    # also all of the cleanups, which never found anything
    check_reading($node, 'viewer', 'SELECT * FROM jobs.health()', 3 * $day + 4 * 40_000 / 19);
    # the alerts: of each job the end of its history, and all of the cleanups as far back as counts
    check_reading($node, $superuser, 'SELECT jobs.alert_evaluate(jobs.clock())', 20 * 130 + 2 * 4 * 40_000 / 19);
    check_reading($node, 'somebody', 'SELECT * FROM jobs.status', 0);
    check_reading($node, 'somebody', "SELECT * FROM jobs.statistics(since => '6 hours')", $day / 3);
}

# The figures are right, however they are found.
my $last_day = "h.finished_at > jobs.clock() - interval '24 hours'";
is($node->safe_psql('postgres', 'SELECT sum(runs_24h), sum(failures_24h) FROM jobs.status'),
    $node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE status = 'failed') FROM jobs.history AS h WHERE $last_day"),
    'jobs.status: runs and failures of the last day');
is($node->safe_psql('postgres', 'SELECT runs, failed, p95_duration, p99_duration FROM jobs.statistics()'),
    $node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE status = 'failed'),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY duration), percentile_cont(0.99) WITHIN GROUP (ORDER BY duration)
        FROM jobs.history AS h WHERE $last_day"),
    'jobs.statistics: runs, failures and percentiles');
is($node->safe_psql('postgres', "SELECT runs FROM jobs.statistics('long ago', '31 days')"), '1', 'a job that ran once, long ago');
is($node->safe_psql('postgres', "SELECT last_status FROM jobs.status WHERE job = 'long ago'"), 'succeeded', 'its last run');
is($node->safe_psql('postgres', 'SELECT string_agg(run_id::text, $$ $$) FROM jobs.recent(max_rows => 20)'),
    $node->safe_psql('postgres', 'SELECT string_agg(run_id::text, $$ $$) FROM (SELECT run_id FROM jobs.history ORDER BY finished_at DESC LIMIT 20) AS h'),
    'jobs.recent: the newest first');
is($node->safe_psql('postgres', q{SELECT string_agg(run_id::text, ' ') FROM jobs.recent('job 7', 'failed', 20)}),
    $node->safe_psql('postgres', q{SELECT string_agg(run_id::text, ' ') FROM (SELECT run_id FROM jobs.history
        WHERE job = 'job 7' AND status = 'failed' ORDER BY finished_at DESC LIMIT 20) AS h}),
    'and of a job, those of a status');
is($node->safe_psql('postgres', q{SELECT detail FROM jobs.health() WHERE check_name = 'idle cleanups'}),
    'found nothing for 7 days: job 1, job 2, job 3, job 4', 'jobs.health: cleanups that find nothing');

done_testing();
