# The process that sends mail is killed, at a random moment and at each fault
# point once, and so is the server, while clients go on: no mail is lost, and
# none is sent twice but those that were on their way.
# ../slow/030_mail_kill.pl does it more than a hundred times.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjMailKill;
use Test::More;

mail_kill_test(cycles => 6, seed => 6);
done_testing();
