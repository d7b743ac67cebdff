# The process that sends mail is killed more than a hundred times, at random
# moments and at fault points, while clients go on: no mail is lost, and none is
# sent twice but those that were on their way.
# MJ_CYCLES says how often; MJ_SEED repeats a plan.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjMailKill;
use Test::More;

my $killed = mail_kill_test(cycles => $ENV{MJ_CYCLES} || 120, seed => time);
cmp_ok($killed, '>=', 100, "kill -9, $killed times") unless $ENV{MJ_CYCLES};
done_testing();
