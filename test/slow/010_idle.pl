# Nothing wakes up without a reason: over a minute with the next run an hour
# away, no process of the extension wakes more than twice and none runs a
# transaction; after the linger none is connected either.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $span = 60;    # seconds

my $node = new_node('main', extension => 0, conf => <<'CONF');
motionify_jobs.linger = '30min'
autovacuum = off
CONF
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION motionify_jobs');

# due in an hour, give or take the minute
my $later = $node->safe_psql('postgres',
    "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 hour', 'FMMI FMHH24') || ' * * *'");
$node->safe_psql('app', "SELECT jobs.schedule('hourly', '$later', 'SELECT 1')");
is(run_and_wait($node, 'hourly', 'app')->{status}, 'succeeded',
    'a run, so that an executor is there too');

# How often a process has gone to sleep by itself.
sub wake_ups
{
    my ($pid) = @_;
    my ($count) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~
      /^voluntary_ctxt_switches:\s*(\d+)/m;
    return $count;
}

# The transactions of database app, read from another one.
sub transactions
{
    return $node->safe_psql('postgres',
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'app'");
}

# Waits until nobody has anything left to do: ten seconds without a wake-up, since alerts
# are looked at some seconds after something has happened.
sub settle
{
    my @pids = @_;
    my $last = '';
    my $since = time;
    return wait_for(
        sub {
            my $now = join ' ', map { wake_ups($_) } @pids;
            ($last, $since) = ($now, time) if $now ne $last;
            return time - $since >= 10;
        },
        'the workers settle');
}

# Watches some processes for a minute.
sub watch
{
    my ($what, %pids) = @_;
    settle(values %pids);
    my $transactions = transactions();
    my %before = map { $_ => wake_ups($pids{$_}) } keys %pids;

    sleep $span;    # what is measured is that nothing happens in this time

    foreach my $kind (sort keys %pids)
    {
        my $count = wake_ups($pids{$kind}) - $before{$kind};
        cmp_ok($count, '<=', 2, "$what: the $kind wakes up at most twice in $span s");
        note("$what: $kind: $count");
    }
    is(transactions(), $transactions, "$what: no transaction in $span s");
    return;
}

my %pids = map { $_ => wait_for_worker($node, $_) } qw(launcher scheduler executor);
watch('within the linger', %pids);

$node->safe_psql('postgres', "ALTER SYSTEM SET motionify_jobs.linger = '1s'");
$node->reload;
ok(poll_until($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'", '0'),
    'after the linger there is no connection');
watch('after the linger', launcher => $pids{launcher});
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'"),
    '0', 'and there is still none');

done_testing();
