# Each kind of process is killed once, at a random moment, and at each fault
# point once, while clients go on: nothing is lost, nothing is done twice.
# ../slow/020_kill_loop.pl does it hundreds of times.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjKill;
use Test::More;

kill_test(seed => 4);
done_testing();
