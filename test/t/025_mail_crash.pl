# A mail that ends its process each time, which takes the server down, is given
# up at the third crash; those that were in its batch are sent.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $mails = 30;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', testing => 1, conf => <<CONF);
motionify_jobs.max_workers = 1
motionify_jobs.smtp_url = 'file://$dir'
motionify_jobs.mail_from = 'jobs\@example.com'
CONF
sub sql { return $node->safe_psql('postgres', $_[0]); }

# Whoever has claimed mails dies, until that was so often enough.
set_fault($node, 'mailer-claimed', 'crash');
sql("SELECT count(jobs.send_mail('a\@example.com', 'mail ' || i, 'text')) FROM generate_series(1, $mails) i");
my $died = qr/motionify_jobs executor.*terminated by signal 9/;
ok(wait_for(sub { log_count($node, $died) >= 5 }, 'five crashes'), 'the mail executor dies again and again');
clear_fault($node, 'mailer-claimed');

ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'then every mail is through');
my $crashes = log_count($node, $died);
my $failed = sql("SELECT count(*) FROM jobs.outbox WHERE status = 'failed'");
cmp_ok($failed, '<=', ($crashes - 1) / 2,
    'the first crash hits a batch, each later one a single mail: given up are few');
cmp_ok($failed, '>=', 1, 'but not none');
is(sql("SELECT count(*) FROM jobs.outbox WHERE status = 'sent'"), $mails - $failed, 'the others were sent');
is(scalar(my @files = glob "$dir/*.eml"), $mails - $failed, 'each once');
is(sql("SELECT DISTINCT string_agg(h.status, ',' ORDER BY attempt) FROM jobs.history h
        JOIN jobs.outbox o USING (run_id) WHERE o.status = 'failed' GROUP BY run_id"),
    'crashed,crashed,crashed', 'what was given up had three attempts');
note("$crashes crashes, $failed given up");
$node->stop;
done_testing();
