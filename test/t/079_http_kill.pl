# The HTTP executor dies at each of its fault points, in each way: every run is called,
# with one key, and succeeds once; what was answered and recorded is not called again.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my %points = (
    'caller-claim-written' => 'crash error exit',
    'caller-claimed' => 'crash error exit',
    'caller-answered' => 'crash exit',
    'caller-before-record' => 'crash error exit',
    'caller-recorded' => 'crash error exit',
);
my $server = start_http();
my $node = new_node('main', testing => 1, conf => <<"CONF");
motionify_jobs.http_allowed_hosts = '127.0.0.1:*'
CONF

my $n = 0;
foreach my $point (sort keys %points)
{
    foreach my $action (split / /, $points{$point})
    {
        my $path = '/' . ++$n;

        $node->safe_psql('postgres', "SELECT jobs.schedule('call $n', NULL, handler => 'http', url => '" . $server->url($path) . "')");
        set_fault($node, $point, "$action:once");
        # the crash that follows the commit may end this session, too
        $node->psql('postgres', "SELECT jobs.enqueue('call $n')");
        wait_for(sub { fault_hit($node, $point) }, "$point is reached");
        ok(poll_until($node, "SELECT count(*) FROM jobs.history WHERE job = 'call $n' AND status = 'succeeded'
            AND NOT EXISTS (SELECT FROM jobs.queued WHERE job = 'call $n')", 1), "$point, $action: the run succeeds once");
        clear_fault($node, $point);
        my @requests = $server->requests($path);
        my %keys = map { $_->{headers}->{'idempotency-key'} => 1 } @requests;
        is(scalar(keys %keys), 1, 'it has one key');
        my $most = $point =~ /claim|recorded/ || $action ne 'crash' ? 1 : 2;
        cmp_ok(scalar(@requests), '<=', $most, "it was called $most times at most");
    }
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.queue'), 0, 'nothing is left');
is($node->safe_psql('postgres', "SELECT count(*) FROM jobs.status WHERE paused"), 0, 'and no job paused');

done_testing();
