# Processes of each kind are killed in hundreds of ways, at random moments and
# at fault points, while clients go on: nothing is lost, nothing is done twice.
# MJ_CYCLES says how often; MJ_SEED repeats a plan.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjKill;
use Test::More;

my $killed = kill_test(cycles => $ENV{MJ_CYCLES} || 400, seed => time);
cmp_ok($killed, '>=', 200, "kill -9, $killed times") unless $ENV{MJ_CYCLES} || $ENV{MJ_PLAN};
done_testing();
