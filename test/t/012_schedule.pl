# What is due is run once, with its exact due instant: over days, clock changes
# of a zone, down times, pauses.  The clock is injected.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub schedule
{
    my ($name, $schedule, %option) = @_;
    my $more = join '', map { ", $_ => $option{$_}" } sort keys %option;
    sql("SELECT jobs.schedule('$name', '$schedule', 'SELECT 1'$more)");
    return;
}

# Next instant of a job as it is stored, in UTC.
sub next_of
{
    my ($job) = @_;
    return sql("SELECT to_char(s.next_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
        FROM jobs.job_state s JOIN jobs.job USING (job_id) WHERE name = '$job'");
}

# All that became of a job since an instant, oldest first: due instant in UTC,
# trigger, status.
my $since = '2030-01-01';
sub fired
{
    my ($job) = @_;
    return sql("SELECT coalesce(string_agg(to_char(due_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS')
            || ' ' || trigger || ' ' || status, ', ' ORDER BY due_at), '')
        FROM (SELECT due_at, trigger, status FROM jobs.history WHERE job = '$job'
              UNION ALL SELECT due_at, trigger, 'queued' FROM jobs.queued WHERE job = '$job') h
        WHERE due_at >= '$since'");
}

# The job's history becomes this.
sub fires
{
    my ($job, $expected, $what) = @_;
    ok(wait_for(sub { fired($job) eq $expected }, "$job: $expected", 15), $what)
      or diag('it is: ' . fired($job) . "\n" . log_tail($node, 10));
    return;
}

# The clock goes on to an instant, and the scheduler has looked at what is due:
# it stores the due instant of a job due every second last.
sub at
{
    my ($instant) = @_;
    set_clock($node, "$instant+00");
    poll_until($node, "SELECT s.last_due_at = '$instant+00' FROM jobs.job_state s
        JOIN jobs.job USING (job_id) WHERE name = 'sentinel'");
    return;
}

set_clock($node, '2030-01-01 00:00:30+00');
schedule('sentinel', '* * * * * *', overlap => "'allow'");

# --- one run an instant ---------------------------------------------------------

schedule('minutely', '* * * * *');
is(next_of('minutely'), '2030-01-01 00:01:00', 'the next instant is stored');
at('2030-01-01 00:00:59');
is(fired('minutely'), '', 'nothing is run before it is due');
at('2030-01-01 00:01:00');
my $want = '01-01 00:01:00 schedule succeeded';
fires('minutely', $want, 'at its due instant it is run');
is(next_of('minutely'), '2030-01-01 00:02:00', 'and the next one is stored');
at('2030-01-01 00:01:01');
at('2030-01-01 00:01:59');
is(fired('minutely'), $want, 'once');
at('2030-01-01 00:02:00');
$want .= ', 01-01 00:02:00 schedule succeeded';
fires('minutely', $want, 'then at the next');
$node->restart;
at('2030-01-01 00:02:10');
is(fired('minutely'), $want, 'a restart repeats nothing');
at('2030-01-01 00:03:30');
$want .= ', 01-01 00:03:00 schedule succeeded';
fires('minutely', $want, 'what is found late has its own due instant');
sql(q{SELECT jobs.schedule('minutely', '* * * * *', 'SELECT 2')});
is(next_of('minutely'), '2030-01-01 00:04:00', 'an unchanged schedule keeps its next instant');
sql(q{SELECT jobs.reschedule('minutely', '0 5 * * *')});
is(next_of('minutely'), '2030-01-01 05:00:00', 'a changed one is computed anew');
sql(q{SELECT jobs.run_now('minutely', wait => false)});
is(next_of('minutely'), '2030-01-01 05:00:00', 'run_now does not touch it');
sql(q{SELECT jobs.unschedule('minutely')});

# the clock goes back: nothing is run twice
schedule('back', '10 0 * * *');
at('2030-01-01 00:10:00');
fires('back', '01-01 00:10:00 schedule succeeded', 'a job, before the clock goes back');
set_clock($node, '2030-01-01 00:05:00+00');
schedule('after the step', '6 0 * * *');
set_clock($node, '2030-01-01 00:06:00+00');
fires('after the step', '01-01 00:06:00 schedule succeeded', 'the scheduler goes by the new time');
set_clock($node, '2030-01-01 00:10:00+00');
at('2030-01-01 00:12:00');
is(fired('back'), '01-01 00:10:00 schedule succeeded', 'a time of day that comes a second time is not run again');

# --- late, missed -----------------------------------------------------------------

schedule('grace', '0 6 * * *');
schedule('once', '0 * * * *', catch_up => "'once'");
schedule('skip', '0 * * * *', catch_up => "'skip'");
at('2030-01-01 06:00:59');
fires('grace', '01-01 06:00:00 schedule succeeded', 'late within misfire_grace');
fires('once', '01-01 06:00:00 schedule succeeded', 'of several instants that passed the last is run');
at('2030-01-02 06:01:01');
fires('grace', '01-01 06:00:00 schedule succeeded, 01-02 06:00:00 catch_up succeeded',
    'later than that it was missed, and is caught up');
fires('once', '01-01 06:00:00 schedule succeeded, 01-02 06:00:00 catch_up succeeded',
    'catch_up once: one run for all that were missed');
fires('skip', '01-01 06:00:00 schedule succeeded, 01-02 06:00:00 catch_up skipped',
    'catch_up skip: none');
is(sql(q{SELECT error FROM jobs.history WHERE job = 'skip' AND status = 'skipped'}), 'it was missed',
    'which is recorded');
is(next_of('skip'), '2030-01-02 07:00:00', 'and it goes on');

# the same over a down time of the server
$node->stop;
$node->adjust_conf('postgresql.auto.conf', 'motionify_jobs.test_clock', "'2030-01-03 12:30:00+00'");
$node->start;
fires('once', '01-01 06:00:00 schedule succeeded, 01-02 06:00:00 catch_up succeeded, 01-03 12:00:00 catch_up succeeded',
    'after a down time it is caught up once');
fires('skip', '01-01 06:00:00 schedule succeeded, 01-02 06:00:00 catch_up skipped, 01-03 12:00:00 catch_up skipped',
    'or skipped once');
at('2030-01-03 13:00:00');
like(fired('skip'), qr/, 01-03 13:00:00 schedule (queued|running|succeeded)$/, 'and then all is as before');
sql(q{SELECT jobs.unschedule('grace'), jobs.unschedule('once'), jobs.unschedule('skip')});

# --- paused, disabled, group switched off -----------------------------------------

schedule('paused', '*/10 * * * *');
schedule('disabled', '*/10 * * * *');
schedule('grouped', '*/10 * * * *', job_group => "'night'");
sql(q{SELECT jobs.pause('paused')});
schedule('disabled', '*/10 * * * *', enabled => 'false');
sql(q{ALTER DATABASE postgres SET motionify_jobs.disabled_groups = 'night'});
sql(q{SELECT jobs.reload()});
at('2030-01-03 13:10:00');
at('2030-01-03 13:25:00');
is(fired($_), '', "$_: not run") foreach 'paused', 'disabled', 'grouped';
is(sql("SELECT count(*) FROM jobs.status WHERE why_not IS NOT NULL AND job IN ('paused', 'disabled', 'grouped')"), 3,
    'and the status says why');
sql(q{SELECT jobs.resume('paused')});
schedule('disabled', '*/10 * * * *', enabled => 'true');
sql(q{ALTER DATABASE postgres RESET motionify_jobs.disabled_groups});
sql(q{SELECT jobs.reload()});
at('2030-01-03 13:28:00');
is(fired($_), '', "$_: nothing is caught up") foreach 'paused', 'disabled', 'grouped';
at('2030-01-03 13:30:00');
fires($_, '01-03 13:30:00 schedule succeeded', "$_: run again") foreach 'paused', 'disabled', 'grouped';
sql(qq{SELECT jobs.unschedule('$_')}) foreach 'paused', 'disabled', 'grouped';

# --- zones -------------------------------------------------------------------------

schedule('tokyo', '0 9 * * *', timezone => "'Asia/Tokyo'");
schedule('berlin', '30 2 * * *', timezone => "'Europe/Berlin'");
schedule('hourly', '30 * * * *', timezone => "'Europe/Berlin'");
is(next_of('tokyo'), '2030-01-04 00:00:00', '9 in Tokyo is 0 UTC');
at('2030-01-04 00:00:00');
fires('tokyo', '01-04 00:00:00 schedule succeeded', 'and it is run then');
sql(q{SELECT jobs.unschedule('tokyo')});

# to the night in which Berlin's clocks go from 2 to 3 (1:00 UTC)
$since = '2030-03-31';
at("2030-03-$_") foreach '31 00:00:00', '31 00:30:00', '31 01:00:00', '31 01:30:00', '31 02:30:00';
fires('hourly',
    '03-31 00:30:00 schedule succeeded, 03-31 01:30:00 schedule succeeded, 03-31 02:30:00 schedule succeeded',
    'an hourly job is run every hour of the night without an hour');
fires('berlin', '03-31 01:00:00 schedule succeeded',
    'a daily one, whose time does not exist, when the gap ends');
is(next_of('berlin'), '2030-04-01 00:30:00', 'and the next day at its time');

# to the night in which they go from 3 back to 2 (1:00 UTC)
$since = '2030-10-27';
at("2030-10-$_") foreach '27 00:00:00', '27 00:30:00', '27 01:30:00', '27 02:30:00';
fires('hourly',
    '10-27 00:30:00 schedule succeeded, 10-27 01:30:00 schedule succeeded, 10-27 02:30:00 schedule succeeded',
    'an hourly job is run in both of the two hours');
fires('berlin', '10-27 00:30:00 schedule succeeded', 'a daily one once');
is(next_of('berlin'), '2030-10-28 01:30:00', 'and the next day at its time');

# the same instants as next_runs tells
is(sql(q{SELECT array_agg(t AT TIME ZONE 'UTC') FROM jobs.next_runs('30 2 * * *', 'Europe/Berlin', 1, '2030-03-30 12:00+00') t}),
    '{"2030-03-31 01:00:00"}', 'next_runs tells the same');

# --- a year ----------------------------------------------------------------------

sql(q{SELECT jobs.unschedule('berlin'), jobs.unschedule('hourly')});
schedule('leap', '0 0 29 2 *');
is(next_of('leap'), '2032-02-29 00:00:00', 'a leap day is found');
schedule('first', '0 0 1 * *');
$since = '2031-01-01';
at('2031-01-01 00:00:00');
fires('first', '01-01 00:00:00 schedule succeeded', 'the year ends');
is(next_of('first'), '2031-02-01 00:00:00', 'and the next month follows');

# --- the real clock -----------------------------------------------------------------

clear_clock($node);
sql(q{SELECT jobs.unschedule('leap'), jobs.unschedule('first'), jobs.unschedule('sentinel')});
$node->stop;

my $real = new_node('real');
$real->safe_psql('postgres', q{SELECT jobs.schedule('every second', '* * * * * *', 'SELECT 1')});
ok(poll_until($real, q{SELECT count(*) >= 4 FROM jobs.history WHERE status = 'succeeded'}), 'a job is run every second');
is($real->safe_psql('postgres', <<'SQL'), '1|t|t', 'on the second, in order, not before');
SELECT count(DISTINCT gap), bool_and(due_at = date_trunc('second', due_at)), bool_and(started_at >= due_at)
FROM (SELECT due_at, started_at, due_at - lag(due_at) OVER (ORDER BY due_at) AS gap
      FROM jobs.history WHERE trigger = 'schedule') h
WHERE gap IS NOT NULL
SQL
$real->stop;

is(log_count($_, qr/PANIC|terminated by signal/), 0, 'no process died') foreach $node, $real;
done_testing();
