# Roles change under their jobs: dropped, renamed, kept from logging in or
# connecting.  Their runs end with a clear error, and other jobs go on.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

my @roles = qw(dropped renamed nologin noconnect limited recreated);
sql('REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
sql("CREATE ROLE $_ LOGIN; GRANT CONNECT ON DATABASE postgres TO $_") foreach @roles, 'fine';
sql("SELECT jobs.schedule('$_', NULL, 'SELECT session_user', role => '$_')") foreach @roles, 'fine';

# A run of a job: its row of the history, as "status sqlstate error".
sub outcome
{
    my ($job) = @_;
    my $run = run_and_wait($node, $job);
    return sql("SELECT concat_ws(' ', status, sqlstate, coalesce(error, result)) FROM jobs.history
        WHERE run_id = $run->{run_id} ORDER BY attempt DESC LIMIT 1");
}

sub others_go_on { is(outcome('fine'), 'succeeded fine', "$_[0]: other jobs go on"); return; }

# Each twice: with an executor that is connected as the role, and without one.
sub without_executors
{
    $node->restart;
    poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'motionify_jobs launcher'}, '1');
    return;
}

is(outcome($_), "succeeded $_", "$_: the job runs") foreach @roles;
my $log_from = -s $node->logfile;

sql('ALTER ROLE nologin NOLOGIN');
sql('REVOKE CONNECT ON DATABASE postgres FROM noconnect');
sql('REVOKE CONNECT ON DATABASE postgres FROM dropped, recreated; DROP ROLE dropped; DROP ROLE recreated');
sql('CREATE ROLE recreated LOGIN; GRANT CONNECT ON DATABASE postgres TO recreated');
sql('ALTER ROLE renamed RENAME TO now_called_so');

foreach my $round ('with an executor', 'without one')
{
    is(outcome('nologin'), 'failed 28000 role "nologin" is not permitted to log in', "NOLOGIN, $round");
    others_go_on('NOLOGIN');
    is(outcome('noconnect'), 'failed 42501 role "noconnect" has no CONNECT privilege on this database',
        "no CONNECT, $round");
    others_go_on('no CONNECT');
    is(outcome('dropped'), 'failed 42704 role "dropped" does not exist', "a dropped role, $round");
    others_go_on('a dropped role');
    is(outcome('recreated'), 'failed 42704 role "recreated" does not exist',
        "a namesake of a dropped role does not get its jobs, $round");
    is(outcome('renamed'), 'succeeded now_called_so', "a renamed role keeps its jobs, $round");
    without_executors() if $round eq 'with an executor';
}
is(sql(q{SELECT string_agg(job, ' ' ORDER BY job) FROM jobs.status WHERE why_not IS NOT NULL}),
    'dropped noconnect nologin recreated', 'the status tells why they will not run');

# back again
sql('ALTER ROLE nologin LOGIN; GRANT CONNECT ON DATABASE postgres TO noconnect');
is(outcome($_), "succeeded $_", "$_: runs again, when it may") foreach 'nologin', 'noconnect';
sql(q{SELECT jobs.schedule('recreated', NULL, 'SELECT session_user', role => 'recreated')});
is(outcome('recreated'), 'succeeded recreated', 'a job that is given to the namesake runs');

# executors are not counted against a limit of connections
sql('ALTER ROLE limited CONNECTION LIMIT 0');
foreach my $round ('with an executor', 'without one')
{
    is(outcome('limited'), 'succeeded limited', "CONNECTION LIMIT 0, $round");
    without_executors() if $round eq 'with an executor';
}

# superusers
sql(q{SELECT jobs.schedule('super', NULL, 'SELECT 1')});
is(outcome('super'), 'succeeded 1', "a superuser's job");
sql('ALTER SYSTEM SET motionify_jobs.allow_superuser_jobs = off');
$node->reload;
poll_until($node, 'SHOW motionify_jobs.allow_superuser_jobs', 'off');
foreach my $round ('with an executor', 'without one')
{
    ok(wait_for(sub { outcome('super') =~ /^failed 42501 role ".*" is a superuser, and no job may run as one$/ },
        'the executor has read the setting'), "allow_superuser_jobs = off, $round");
    without_executors() if $round eq 'with an executor';
}
others_go_on('allow_superuser_jobs = off');
sql('ALTER ROLE fine SUPERUSER');
like(outcome('fine'), qr/^failed 42501 /, 'also for a role that is made one');
sql('ALTER ROLE fine NOSUPERUSER');
others_go_on('no superuser any more');

# scheduled ones: a failure each time, and no more
$log_from = -s $node->logfile;
sql('ALTER ROLE nologin NOLOGIN');
is($node->psql('postgres', q{SELECT jobs.reschedule('nologin', '* * * * * *')}), 0, 'a job of a role that cannot log in is due every second');
ok(poll_until($node, q{SELECT count(*) >= 3 FROM jobs.history WHERE job = 'nologin' AND trigger = 'schedule'}), 'it fails');
is(sql(q{SELECT string_agg(DISTINCT status, ',') FROM jobs.history WHERE job = 'nologin' AND trigger = 'schedule'}),
    'failed', 'every time');
my $lines = log_count($node, qr/./, $log_from);
cmp_ok($lines, '<', 60, "the log stays short ($lines lines)");
is(log_count($node, qr/FATAL/, $log_from), 0, 'no worker is started for it in vain');
$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
