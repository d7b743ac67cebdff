# The board over a million rows of history: what a page takes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjHistory;
use Test::More;

my $node = new_node('main', conf => "max_wal_size = '4GB'\nshared_buffers = '256MB'");
fill_history($node, 1_000_000);    # 33,333 of them in the last 24 hours
$node->safe_psql('postgres', q{CREATE ROLE viewer; SELECT jobs.grant_usage('viewer', 'viewer')});
$node->safe_psql('postgres', 'VACUUM ANALYZE');

# The fastest of some, in milliseconds, as the server has it: whatever else the machine does.
sub fastest
{
    my ($sql) = @_;
    my $out = $node->safe_psql('postgres', <<"SQL");
SET ROLE viewer;
DO \$\$
DECLARE
    best double precision := 'infinity';
    begins timestamptz;
BEGIN
    FOR i IN 1 .. 7 LOOP
        begins := clock_timestamp();
        PERFORM $sql;
        best := least(best, extract(epoch FROM clock_timestamp() - begins) * 1000);
    END LOOP;
    PERFORM set_config('mine.best', round(best::numeric, 1)::text, false);
END
\$\$;
SHOW mine.best;
SQL
    return (split /\n/, $out)[-1];
}

my $overview = fastest('jobs.board()');
diag("overview: $overview ms");
cmp_ok($overview, '<', 200, 'the overview takes less than 200 ms');

foreach my $page (
    [ 'jobs', '{}' ], [ 'job', '{"name": "job 7"}' ], [ 'runs', '{}' ], [ 'timeline', '{}' ], [ 'queue', '{}' ], [ 'outbox', '{}' ])
{
    my $takes = fastest("jobs.board('$page->[0]', '$page->[1]')");
    diag("$page->[0]: $takes ms");
    cmp_ok($takes, '<', 500, "the page $page->[0] takes less than half a second");
}

done_testing();
