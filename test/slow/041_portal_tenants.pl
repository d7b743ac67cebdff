# A thousand tenants with seven jobs each: t/063_portal_tenants.pl.

use strict;
use warnings;
use FindBin;

$ENV{MJ_TENANTS} ||= 1000;
do "$FindBin::Bin/../t/063_portal_tenants.pl" or die $@ || $!;
