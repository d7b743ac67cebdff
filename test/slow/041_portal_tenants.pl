# A thousand tenants with seven jobs each: t/063_portal_tenants.pl.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;    # has to be compiled with the program

$ENV{MJ_TENANTS} ||= 1000;
do "$FindBin::Bin/../t/063_portal_tenants.pl" or die $@ || $!;
