# A million rows of history: what is asked of its end, or of a job, looks at a small part
# of it.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjHistory;
use Test::More;

my $node = new_node('main', conf => "max_wal_size = '4GB'");
fill_history($node, 1_000_000);    # 33,333 of them in the last 24 hours
$node->safe_psql('postgres', q{CREATE ROLE viewer; SELECT jobs.grant_usage('viewer', 'viewer')});

my $day = 33_333;

foreach my $known (0, 1)
{
    $node->safe_psql('postgres', 'VACUUM ANALYZE') if $known;
    check_reading($node, 'viewer', 'SELECT * FROM jobs.status', $day + 150);
    check_reading($node, 'viewer', "SELECT * FROM jobs.status WHERE job = 'long ago'", 5);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.statistics()', $day + 10);
    check_reading($node, 'viewer', "SELECT * FROM jobs.statistics('job 7')", $day / 19 + 10);
    check_reading($node, 'viewer', "SELECT * FROM jobs.statistics('long ago', '31 days')", 5);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.recent()', 110);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent('job 7')", 110);
    check_reading($node, 'viewer', "SELECT * FROM jobs.recent('long ago')", 5);
    check_reading($node, 'viewer', 'SELECT * FROM jobs.top()', 2 * $day);
    # also 20,000 rows at most of each of the cleanups, which never found anything
    check_reading($node, 'viewer', 'SELECT * FROM jobs.health()', 3 * $day + 4 * 20_000);
    check_reading($node, 'viewer', 'SELECT jobs.metrics_text()', 5 * $day + 4 * 20_000);
}

done_testing();
