# A standby runs nothing; promoted, it goes on where the primary was.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = new_node('primary', streaming => 1);
$primary->safe_psql('postgres', <<'SQL');
CREATE ROLE another LOGIN;
SELECT jobs.schedule('ping', NULL, 'SELECT pg_is_in_recovery()'),
       jobs.schedule('every second', '* * * * * *', 'SELECT pg_is_in_recovery()'),
       jobs.schedule('another', '@every 1s', 'SELECT pg_is_in_recovery()', role => 'another'),
       jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)');
SQL
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $seen = q{SELECT count(*) FROM jobs.history WHERE job = 'every second' AND status = 'succeeded'};
$primary->safe_psql('postgres', q{SELECT jobs.run_now('sleeps', wait => false)});
ok(poll_until($standby, "SELECT ($seen) >= 2 AND EXISTS (SELECT FROM jobs.history
    WHERE job = 'sleeps' AND status = 'running')"), 'the standby shows what the primary runs');
is($standby->safe_psql('postgres', q{SELECT done, cancelling FROM jobs.active WHERE job = 'sleeps'}), '|f',
    'also in jobs.active');

is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
    WHERE backend_type LIKE 'motionify_jobs%'}), 0, 'it has no workers, while jobs are due every second');
foreach my $call (q{jobs.run_now('ping')}, q{jobs.run_now('ping', wait => false)},
    q{jobs.schedule('x', NULL, 'SELECT 1')}, q{jobs.pause('ping')})
{
    my $err;
    $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call", stderr => \$err);
    like($err, qr/ERROR:  25006: /, "$call is refused with 25006");
}
is($standby->safe_psql('postgres', q{SELECT ok FROM jobs.doctor() WHERE check_name = 'primary'}), 'f',
    'the doctor tells that it is a standby');

like($standby->safe_psql('postgres', q{SELECT why_not FROM jobs.status WHERE job = 'every second'}),
    qr/standby/, 'and the status');
is(log_count($standby, qr/motionify_jobs launcher started/), 0, 'its log says nothing of a launcher');

# the primary dies; the run that was at work there is the new primary's
$primary->wait_for_catchup($standby);
my $before = $standby->safe_psql('postgres', $seen);
my $had = $standby->safe_psql('postgres', 'SELECT count(*) FROM jobs.history');
$primary->stop('immediate');
# instants pass between two servers
my $gone = $standby->safe_psql('postgres', 'SELECT clock_timestamp()');
poll_until($standby, "SELECT clock_timestamp() > '$gone'::timestamptz + interval '1.1 s'");
is($standby->safe_psql('postgres', 'SELECT count(*) FROM jobs.history'), $had, 'the standby has run nothing, though jobs are due');
my $asked = $standby->safe_psql('postgres', 'SELECT clock_timestamp()');
$standby->promote;
ok(poll_until($standby, "SELECT ($seen) > $before"), 'promoted, it runs what is due');
is(run_and_wait($standby, 'ping')->{result}, 'f', 'and run_now works');
foreach my $job ('every second', 'another', 'sleeps')
{
    my $first = "SELECT min(started_at) - '$asked' FROM jobs.history WHERE job = '$job' AND started_at > '$asked'";
    ok(poll_until($standby, "SELECT ($first) IS NOT NULL"), "after the promotion, $job starts");
    is($standby->safe_psql('postgres', "SELECT ($first) < interval '2 s'"), 't',
        'within 2 s: ' . $standby->safe_psql('postgres', $first));
}
is($standby->safe_psql('postgres', "SELECT count(*) FROM jobs.history WHERE started_at BETWEEN '$gone' AND '$asked'"), 0,
    'nothing has run before it');
ok(poll_until($standby, q{SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE job = 'sleeps'},
    'crashed,running'), 'the run that the primary had in hand is started again');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM (SELECT due_at FROM jobs.history
    WHERE job = 'every second' AND status = 'succeeded' GROUP BY 1 HAVING count(*) > 1) h}), 0,
    'no instant was run twice');
$standby->stop;
done_testing();
