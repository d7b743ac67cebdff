# Jobs that run after others: chains, fan-in, cycles, rights, dumps.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error_of
{
    my ($sql) = @_;
    my $err = '';
    $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$err);
    return $err;
}

sub job
{
    my ($name, $after, %options) = @_;
    my $command = delete $options{command} || "'SELECT 1'";
    sql("SELECT jobs.schedule('$name', NULL, $command" . (defined $after ? ", run_after => '{$after}'" : '')
            . join('', map { ", $_ => $options{$_}" } sort keys %options) . ')');
    return;
}

# The runs of a job, as trigger:status.
sub runs
{
    my ($name) = @_;
    return "SELECT coalesce(string_agg(trigger || ':' || status, ' ' ORDER BY run_id, attempt), '') FROM jobs.history WHERE job = '$name'";
}

sub start { return run_and_wait($node, $_[0])->{status}; }

# All is quiet: nothing is queued, and no success is untold.
sub settle
{
    poll_until($node, 'SELECT NOT EXISTS (SELECT FROM jobs.queue) AND NOT EXISTS (SELECT FROM jobs.success)');
    return;
}

# --- one after the other -------------------------------------------------------

job('extract');
job('load', 'extract');
job('report', 'load');
is(sql(q{SELECT string_agg(job || ' after ' || run_after::text, ', ' ORDER BY job) FROM jobs.status WHERE run_after IS NOT NULL}),
    'load after {extract}, report after {load}', 'the status says after what a job runs');
is(start('extract'), 'succeeded', 'the first of a chain');
ok(poll_until($node, runs('report'), 'chain:succeeded'), 'is followed by the others, to the last');
is(sql(runs('load')), 'chain:succeeded', 'in turn');
is(sql(q{SELECT count(*) FROM (SELECT started_at < lag(finished_at) OVER (ORDER BY run_id) AS early FROM jobs.history) h WHERE early}),
    '0', 'each after the end of the one before');

# only a success is followed
job('extract', undef, command => "'SELECT 1 / 0'", max_attempts => 1);
is(start('extract'), 'failed', 'a failure');
settle();
is(sql(runs('load')), 'chain:succeeded', 'is not followed');

# a retry that succeeds is
sql('CREATE SEQUENCE tries');
job('extract', undef, command => q{$$SELECT 1 / (nextval('tries') / 2)$$}, max_attempts => 2, backoff_base => "'10 ms'");
start('extract');
ok(poll_until($node, runs('report'), 'chain:succeeded chain:succeeded'), 'a retry that succeeds is followed');

# what is off is not started, and nothing is caught up
sql(q{SELECT jobs.pause('load')});
job('extract', undef, command => "'SELECT 1'");
start('extract');
settle();
is(sql(runs('load')), 'chain:succeeded chain:succeeded', 'a paused job is not started');
sql(q{SELECT jobs.resume('load')});
settle();
is(sql(runs('load')), 'chain:succeeded chain:succeeded', 'nor when it is resumed');

# --- fan-in ----------------------------------------------------------------------

job($_) foreach 'left', 'right';
job('both', 'left, right');
start('left');
start('left');
settle();
is(sql(runs('both')), '', 'one of two is not enough');
start('right');
ok(poll_until($node, runs('both'), 'chain:succeeded'), 'but both are');
start('right');
settle();
is(sql(runs('both')), 'chain:succeeded', 'then it begins again');
start('left');
ok(poll_until($node, runs('both'), 'chain:succeeded chain:succeeded'), 'until both have succeeded again');

# both parents end at the same moment, many times: one run each time, none lost
sql(q{CREATE TABLE rounds (n int)});
job('both', 'left, right', command => "'INSERT INTO rounds VALUES (1)'");
foreach my $round (1 .. 15)
{
    sql(q{SELECT jobs.run_now('left', wait => false), jobs.run_now('right', wait => false)});
    poll_until($node, 'SELECT count(*) FROM rounds', $round);
}
settle();
is(sql('SELECT count(*) FROM rounds'), '15', 'two parents that end at once start their successor once');

# a success, and the server stops before it is told
$node->stop('immediate');
start_node($node);
sql(q{INSERT INTO jobs.success SELECT nextval('jobs.run_id_seq'), job_id FROM jobs.job WHERE name IN ('left', 'right')});
start('extract');
ok(poll_until($node, 'SELECT count(*) FROM rounds', '16'), 'successes that were not told are told after a start');

# --- cycles and other errors ------------------------------------------------------

like(error_of(q{SELECT jobs.schedule('extract', NULL, 'SELECT 1', run_after => '{report}')}),
    qr/22023: job "extract" would run after itself.*extract, load, report, extract/s, 'a cycle is refused, with its way');
like(error_of(q{SELECT jobs.schedule('left', NULL, 'SELECT 1', run_after => '{left}')}),
    qr/22023: job "left" would run after itself.*left, left/s, 'so is the shortest one');
like(error_of(q{SELECT jobs.schedule('x', NULL, 'SELECT 1', run_after => '{reprot}')}),
    qr/42704: job "reprot" does not exist.*Perhaps you meant "report"/s, 'a job that is not there');
like(error_of(q{SELECT jobs.schedule('x', NULL, 'SELECT 1', run_after => '{NULL}')}), qr/22004: job name must not be null/, 'no name');
is(sql(q{SELECT run_after FROM jobs.status WHERE job = 'extract'}), '', 'what was refused is not there');

# two sessions that close a cycle: one of them sees the other's edge
job($_) foreach 'egg', 'hen';
my ($one, $two) = map { new_session($node) } 1 .. 2;
$one->query(q{BEGIN; SELECT jobs.schedule('egg', NULL, 'SELECT 1', run_after => '{hen}')});
$two->send(q{SELECT jobs.schedule('hen', NULL, 'SELECT 1', run_after => '{egg}')});
ok(poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}, '1'), 'the other one waits');
$one->query('COMMIT');
$two->result;
like($two->error, qr/22023: job "hen" would run after itself/, 'and is refused');
$_->quit foreach $one, $two;

# --- rights -----------------------------------------------------------------------

sql(q{CREATE ROLE guest LOGIN; SELECT jobs.grant_usage('guest', 'user')});
like(error_of(q{SET ROLE guest; SELECT jobs.schedule('spy', NULL, 'SELECT 1', run_after => '{report}')}),
    qr/42501: permission denied for job "report"/, 'not after a job of a role that one is no member of');

# --- changes ------------------------------------------------------------------------

start('left');
settle();
job('both', 'right', command => "'INSERT INTO rounds VALUES (1)'");
start('right');
ok(poll_until($node, 'SELECT count(*) FROM rounds', '17'), 'fewer parents');
job('both', '', command => "'INSERT INTO rounds VALUES (1)'");
start('right');
settle();
is(sql('SELECT count(*) FROM rounds'), '17', 'none: on demand only');
like(error_of(q{SELECT jobs.unschedule('load')}), qr/NOTICE.*no job runs after job "load" any more.*These did: report/s,
    'a job that others run after can go, and they are named');
is(sql(q{SELECT count(*) FROM jobs.job_after a WHERE NOT EXISTS (SELECT FROM jobs.job j WHERE j.job_id = a.job_id)
    OR NOT EXISTS (SELECT FROM jobs.job j WHERE j.job_id = a.after_id)}), '0', 'no edge leads nowhere');

# --- a dump ---------------------------------------------------------------------------

job('load', 'extract');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dump');
sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'restore');
is($node->safe_psql('restored', q{SELECT job || ' after ' || run_after::text FROM jobs.status WHERE run_after IS NOT NULL AND job = 'load'}),
    'load after {extract}', 'a chain survives dump and restore');

# --- a copy -----------------------------------------------------------------------------

# half of a fan-in and an untold success, as they were when the copy was made
sql(q{SELECT jobs.schedule('both', NULL, 'SELECT 1', run_after => '{left, right}')});
start('left');
settle();
sql('CREATE DATABASE shape TEMPLATE postgres');
$node->safe_psql('shape', q{INSERT INTO jobs.success SELECT 1000000, job_id FROM jobs.job WHERE name = 'right'});
$node->safe_psql('shape', 'SELECT jobs.adopt()');
is(run_and_wait($node, 'extract', 'shape')->{status}, 'succeeded', 'a copy that was adopted runs jobs');
is($node->safe_psql('shape', q{SELECT count(*) FROM jobs.success}) . $node->safe_psql('shape', q{SELECT count(*) FROM jobs.history
    WHERE job = 'both' AND due_at > (SELECT max(created_at) FROM jobs.job)}), '00', 'but not what ran after successes of the original');

done_testing();
