# Without the library in shared_preload_libraries jobs can be defined, and all
# that needs the workers says what to do.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', preload => 0, extension => 0);
my ($out, $err);

is($node->psql('postgres', 'CREATE EXTENSION motionify_jobs', stderr => \$err), 0, 'CREATE EXTENSION works');
like($err, qr/WARNING: .*shared_preload_libraries/s, 'with a warning');

is($node->psql('postgres', q{SELECT jobs.schedule('ping', '* * * * * *', 'SELECT 1')}, stdout => \$out, stderr => \$err), 0,
    'a job can be defined');
foreach my $call (q{jobs.run_now('ping')}, q{jobs.run_now('ping', wait => false)}, q{jobs.reload()})
{
    $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call", stderr => \$err);
    like($err, qr/ERROR:  55000: .*HINT: .*shared_preload_libraries/s, "$call: 55000, with a hint");
}
is($node->safe_psql('postgres', q{SELECT ok FROM jobs.doctor() WHERE hint LIKE '%shared_preload_libraries%'}), 'f',
    'the doctor says so');
like($node->safe_psql('postgres', q{SELECT why_not FROM jobs.status}), qr/preload|shared_preload_libraries/, 'and the status');
is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.history'), 0, 'nothing is run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.active; SELECT jobs.progress(1), jobs.current_run_id()'), "0\n|",
    'nothing is at hand');
is($node->safe_psql('postgres', q{SELECT count(*) FROM jobs.next_runs('* * * * *')}), 5, 'what needs no workers works');

# once it is preloaded, all goes on by itself
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'motionify_jobs'");
$node->restart;
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE trigger = 'schedule' AND status = 'succeeded'}),
    'preloaded, it runs without more ado');
is(run_and_wait($node, 'ping')->{result}, '1', 'run_now too');

# and back: dropping needs no workers either
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is($node->psql('postgres', 'DROP EXTENSION motionify_jobs', stderr => \$err), 0, 'DROP EXTENSION works without preload')
  or diag($err);
$node->stop;
done_testing();
