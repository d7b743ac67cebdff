# Executors are started before jobs are due, as many as the jobs could use.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 3\nmotionify_jobs.linger = '300s'\n");
sub sql { return $node->safe_psql('postgres', $_[0]); }

set_clock($node, '2030-01-01 11:59:00+00');
sql('CREATE ROLE other LOGIN');
sql("SELECT jobs.schedule('noon ' || g, '0 12 * * *', 'SELECT pg_backend_pid()') FROM generate_series(1, 5) AS g");
sql("SELECT jobs.schedule('later', '0 13 * * *', 'SELECT 1', role => 'other')");
is(scalar worker_pids($node, 'executor'), 0, 'a minute ahead there is none');

set_clock($node, '2030-01-01 11:59:58.5+00');
my @ready;
ok(wait_for(sub { @ready = worker_pids($node, 'executor'); @ready == 3 }, 'three executors'),
    'two seconds ahead there are as many as there may be');
is(sql('SELECT count(*) FROM jobs.history'), 0, 'and nothing has run');

set_clock($node, '2030-01-01 12:00:00+00');
ok(poll_until($node, "SELECT count(*) = 5 FROM jobs.history WHERE status = 'succeeded'"), 'at noon all run');
my %ready = map { $_ => 1 } @ready;
is(scalar(grep { !$ready{$_} } split /\n/, sql('SELECT DISTINCT result FROM jobs.history')), 0,
    'in the executors that waited for them');

$node->stop;
done_testing();
