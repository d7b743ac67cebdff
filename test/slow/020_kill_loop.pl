# Processes of each kind are killed in hundreds of ways, at random moments and
# at fault points, while clients go on: nothing is lost, nothing is done twice.
# MJ_CYCLES says how often; MJ_SEED repeats a plan.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjKill;
use Test::More;

kill_test(cycles => $ENV{MJ_CYCLES} || 240, seed => time);
done_testing();
