# What the clock, the server and the settings may do to a schedule: missed
# instants, steps of the clock, restarts, jitter, a number of runs, @reboot,
# overrides, a changed default zone.  The clock is injected.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.log_runs = all\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A job with options as they are written in SQL.
sub schedule
{
    my ($name, $schedule, %option) = @_;
    my $command = delete $option{command} || 'SELECT 1';
    my $more = join '', map { ", $_ => $option{$_}" } sort keys %option;
    sql("SELECT jobs.schedule('$name', '$schedule', \$job\$$command\$job\$$more)");
    return;
}

# Jobs are gone, and their history.
sub unschedule
{
    sql("SELECT jobs.unschedule('$_'); DELETE FROM jobs.run_log WHERE job = '$_'") foreach @_;
    return;
}

# Next instant of a job as it is stored, in UTC; '' if there is none.
sub next_of
{
    my ($job) = @_;
    return sql("SELECT to_char(s.next_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
        FROM jobs.job_state s JOIN jobs.job USING (job_id) WHERE name = '$job'");
}

# All that became of a job, oldest first: due instant in UTC, trigger if it is
# not schedule, status if it is not succeeded, the number of missed instants.
sub fired
{
    my ($job) = @_;
    return sql("SELECT coalesce(string_agg(concat_ws(' ', to_char(due_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS'),
            nullif(trigger, 'schedule'), nullif(status, 'succeeded'), missed), ', ' ORDER BY due_at, run_id), '')
        FROM (SELECT run_id, due_at, trigger, status, nullif(missed, 0) AS missed
              FROM jobs.history WHERE job = '$job'
              UNION ALL SELECT run_id, due_at, trigger, 'queued', NULL
              FROM jobs.queued WHERE job = '$job') h");
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

# The clock is set back, and the scheduler has noticed.
sub back_to
{
    my ($instant) = @_;
    set_clock($node, "$instant+00");
    poll_until($node, "SELECT last_tick_at = '$instant+00' FROM jobs.instance");
    return;
}

# The server is down until an instant.
sub down_until
{
    my ($instant, $mode) = @_;
    $node->stop($mode || 'fast');
    $node->adjust_conf('postgresql.auto.conf', 'motionify_jobs.test_clock', "'$instant+00'");
    $node->start;
    return;
}

# What refuses a statement: message, detail and hint.
sub refusal
{
    my ($statement) = @_;
    my ($out, $err) = ('', '');
    $node->psql('postgres', $statement, stdout => \$out, stderr => \$err);
    return $err;
}

set_clock($node, '2030-01-01 00:00:30+00');
schedule('sentinel', '* * * * * *', overlap => "'allow'");

# --- catch-up -------------------------------------------------------------------

schedule('once', '*/10 * * * *');
schedule('skip', '*/10 * * * *', catch_up => "'skip'");
schedule('all', '*/10 * * * *', catch_up => "'all'");
at('2030-01-01 00:10:00');
fires($_, '01-01 00:10:00', "$_: in time") foreach 'once', 'skip', 'all';
at('2030-01-01 00:20:59');
fires($_, '01-01 00:10:00, 01-01 00:20:00', "$_: late within misfire_grace") foreach 'once', 'skip', 'all';
at('2030-01-01 01:03:00');
fires('once', '01-01 00:10:00, 01-01 00:20:00, 01-01 01:00:00 catch_up 4',
    'once: the last of those missed is run, and stands for all');
fires('skip', '01-01 00:10:00, 01-01 00:20:00, 01-01 01:00:00 catch_up skipped 4', 'skip: none is');
fires('all', join(', ', '01-01 00:10:00', '01-01 00:20:00', map { "01-01 $_:00 catch_up 1" }
        qw(00:30 00:40 00:50 01:00)), 'all: each is, with its own due instant');
is(sql("SELECT array_agg(due_at ORDER BY run_id) = array_agg(due_at ORDER BY due_at)
            AND bool_and(started_at >= previous) IS NOT false
        FROM (SELECT *, lag(finished_at) OVER (ORDER BY due_at) AS previous FROM jobs.history WHERE job = 'all') h"),
    't', 'all: one after the other, in order');
is(sql("SELECT count(*) FROM jobs.history WHERE job IN ('once', 'all') AND lag = started_at - due_at
            AND lag >= interval '3 min' AND trigger = 'catch_up'"), 5, 'the lag tells how late they were');

# one that has not ended keeps the others waiting
sql('CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false)');
schedule('slow', '*/10 * * * *', catch_up => "'all'", command =>
    'DO $do$ BEGIN WHILE NOT (SELECT open FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$');
at('2030-01-01 01:43:00');
fires('slow', '01-01 01:10:00 catch_up running 1', 'all: while the first runs the others wait');
at('2030-01-01 01:44:00');
is(next_of('slow'), '2030-01-01 01:20:00', 'the next of them is stored');
sql("SELECT jobs.run_now('once', wait => false)");
is(fired('slow'), '01-01 01:10:00 catch_up running 1', 'and waits');
sql('UPDATE gate SET open = true');
fires('slow', join(', ', map { "01-01 $_:00 catch_up 1" } qw(01:10 01:20 01:30 01:40)),
    'all: the end of each starts the next');
unschedule('slow', 'once', 'skip', 'all');

# at most motionify_jobs.catch_up_limit, the latest
sql("ALTER DATABASE postgres SET motionify_jobs.catch_up_limit = 3");
sql('SELECT jobs.reload()');
schedule('capped', '0 * * * *', catch_up => "'all'");
at('2030-01-01 10:30:00');
fires('capped', join(', ', '01-01 02:00:00 catch_up skipped 6', map { "01-01 $_:00 catch_up 1" } qw(08:00 09:00 10:00)),
    'all: beyond the limit the oldest are left out');
like(sql("SELECT error FROM jobs.history WHERE job = 'capped' AND status = 'skipped'"), qr/catch_up_limit/,
    'and the history says why');
sql('ALTER DATABASE postgres RESET motionify_jobs.catch_up_limit');
sql('SELECT jobs.reload()');
unschedule('capped');

# another misfire_grace
sql("ALTER SYSTEM SET motionify_jobs.misfire_grace = '10min'");
$node->reload;
poll_until($node, 'SHOW motionify_jobs.misfire_grace', '10min');
schedule('graced', '0 * * * *', catch_up => "'skip'");
at('2030-01-01 11:10:00');
fires('graced', '01-01 11:00:00', 'found just within misfire_grace');
at('2030-01-01 12:10:01');
fires('graced', '01-01 11:00:00, 01-01 12:00:00 catch_up skipped 1', 'and beyond it');
sql('ALTER SYSTEM RESET motionify_jobs.misfire_grace');
$node->reload;
poll_until($node, 'SHOW motionify_jobs.misfire_grace', '1min');
unschedule('graced');

# very many instants were missed
schedule('dense', '* * * * * *');
at('2030-01-05 12:00:00');
fires('dense', '01-05 12:00:00 99999', 'of very many the last is run');
unschedule('dense');

# a long down time
schedule('once', '0 6 * * *');
schedule('all', '0 6 * * *', catch_up => "'all'");
down_until('2030-01-08 07:00:00');
fires('once', '01-08 06:00:00 catch_up 3', 'once: over a down time of days');
fires('all', join(', ', map { "01-0$_ 06:00:00 catch_up 1" } 6 .. 8), 'all: over a down time of days');
unschedule('once', 'all');

# --- nothing is caught up for time spent paused or switched off --------------------

schedule($_, '0 * * * *', catch_up => "'all'") foreach 'paused', 'disabled';
schedule('grouped', '0 * * * *', catch_up => "'all'", job_group => "'night'");
schedule('group paused', '0 * * * *', catch_up => "'all'", job_group => "'evening'");
sql("SELECT jobs.pause('paused'), jobs.pause_group('evening')");
schedule('disabled', '0 * * * *', enabled => 'false');
sql("ALTER DATABASE postgres SET motionify_jobs.disabled_groups = 'night'");
sql('SELECT jobs.reload()');
at('2030-01-08 09:30:00');
down_until('2030-01-08 11:30:00');
at('2030-01-08 12:30:00');
sql("SELECT jobs.resume('paused'), jobs.resume_group('evening')");
schedule('disabled', '0 * * * *', enabled => 'true');
sql('ALTER DATABASE postgres RESET motionify_jobs.disabled_groups');
sql('SELECT jobs.reload()');
at('2030-01-08 12:40:00');
at('2030-01-08 13:00:00');
fires($_, '01-08 13:00:00', "$_: nothing is caught up") foreach 'paused', 'disabled', 'grouped', 'group paused';
unschedule('paused', 'disabled', 'grouped', 'group paused');

# --- the clock is set -------------------------------------------------------------

# back by an hour
schedule('fixed', '30 13 * * *');
schedule('wild', '*/10 * * * *');
schedule('every', '@every 20 minutes');
schedule('both', '35 13 * * *; */30 * * * *');
at('2030-01-08 13:30:00');
at('2030-01-08 13:40:00');
sql('TRUNCATE jobs.run_log');
back_to('2030-01-08 12:40:00');
is(next_of('fixed'), '2030-01-09 13:30:00', 'back by an hour: a fixed job waits for its stored instant');
is(next_of('wild'), '2030-01-08 12:50:00', 'a wildcard job goes on on the new time');
is(next_of('every'), '2030-01-08 13:00:00', 'so does @every');
is(next_of('both'), '2030-01-08 13:00:00', 'and what a list has of wildcards');
at("2030-01-08 $_:00") foreach '12:50', '13:00', '13:10', '13:20', '13:30', '13:35', '13:40', '13:50';
fires('wild', join(', ', map { "01-08 $_:00" } '12:50', '13:00', '13:10', '13:20', '13:30', '13:40', '13:50'),
    'it runs in each of the hours');
fires('every', '01-08 13:00:00, 01-08 13:20:00, 01-08 13:40:00', 'as does @every');
is(fired('fixed'), '', 'a fixed job does not run twice');
fires('both', '01-08 13:00:00, 01-08 13:30:00', 'nor does what a list has of fixed ones');
is(log_count($node, qr/the clock was set back by 3600 s/), 1, 'the log tells of it once');

# the same over a restart: the time of the last look is stored
at('2030-01-09 13:30:00');
fires('fixed', '01-09 13:30:00', 'the next day it runs');
sql('TRUNCATE jobs.run_log');
down_until('2030-01-09 12:35:00');
poll_until($node, "SELECT last_tick_at = '2030-01-09 12:35:00+00' FROM jobs.instance");
is(next_of('fixed'), '2030-01-10 13:30:00', 'back by an hour while the server was down: the same');
is(next_of('wild'), '2030-01-09 12:40:00', 'and a wildcard job goes on on the new time');
at('2030-01-09 12:40:00');
fires('wild', '01-09 12:40:00', 'which runs');

# what is overdue when the clock is set back stays so
sql('UPDATE gate SET open = false');
schedule('slow', '*/10 * * * *', catch_up => "'all'", command =>
    'DO $do$ BEGIN WHILE NOT (SELECT open FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $do$');
at('2030-01-09 13:42:00');
fires('slow', '01-09 12:50:00 catch_up running 1', 'missed instants wait for each other');
back_to('2030-01-09 13:22:00');
is(next_of('slow'), '2030-01-09 13:00:00', 'the clock is set back meanwhile: what is overdue is kept');
sql('UPDATE gate SET open = true');
fires('slow', join(', ', map { "01-09 $_:00 catch_up 1" } qw(12:50 13:00 13:10 13:20)), 'and run');
unschedule('slow');

# back by 30 days
at('2030-01-09 13:50:00');
sql('TRUNCATE jobs.run_log');
back_to('2029-12-10 13:15:00');
is(next_of('fixed'), '2029-12-10 13:30:00', 'back by 30 days: a fixed job is computed anew');
is(next_of('wild'), '2029-12-10 13:20:00', 'as is a wildcard one');
at('2029-12-10 13:30:00');
fires('fixed', '12-10 13:30:00', 'it runs');
fires('wild', '12-10 13:30:00 1', 'both do');
at('2029-12-10 20:00:00');
sql('TRUNCATE jobs.run_log');
down_until('2029-11-10 13:15:00');
poll_until($node, "SELECT last_tick_at = '2029-11-10 13:15:00+00' FROM jobs.instance");
is(next_of('fixed'), '2029-11-10 13:30:00', 'the same while the server was down');
at('2029-11-10 13:30:00');
fires('fixed', '11-10 13:30:00', 'it runs');

# forward by an hour, and by 30 days
sql('TRUNCATE jobs.run_log');
at('2029-11-10 14:35:00');
fires('wild', '11-10 14:30:00 catch_up 6', 'forward by an hour: what was passed was missed');
is(fired('fixed'), '', 'what was not is not');
at('2029-12-10 14:35:00');
fires('fixed', '12-10 13:30:00 catch_up 30', 'forward by 30 days: caught up');
is(next_of('fixed'), '2029-12-11 13:30:00', 'and goes on');
sql('TRUNCATE jobs.run_log');
down_until('2030-01-09 14:35:00');
fires('fixed', '01-09 13:30:00 catch_up 30', 'the same while the server was down');
unschedule('fixed', 'wild', 'every', 'both');

# --- jitter -----------------------------------------------------------------------

schedule("jitter $_", '0 16 * * *', jitter => "'10 min'") foreach 1 .. 20;
at('2030-01-09 16:00:00');
is(sql("SELECT count(*), bool_and(due_at = '2030-01-09 16:00Z'), count(DISTINCT run_at) > 15,
            bool_and(run_at BETWEEN due_at AND due_at + interval '10 min')
        FROM (SELECT due_at, run_at FROM jobs.queued WHERE job LIKE 'jitter%'
              UNION ALL SELECT due_at, started_at FROM jobs.history WHERE job LIKE 'jitter%') r"),
    '20|t|t|t', 'jitter: they start within it, due when they were due');
is(next_of('jitter 1'), '2030-01-10 16:00:00', 'and the next instant has none');
at('2030-01-09 16:10:00');
poll_until($node, "SELECT count(*) = 20 AND bool_and(due_at = '2030-01-09 16:00Z' AND trigger = 'schedule')
    FROM jobs.history WHERE job LIKE 'jitter%' AND status = 'succeeded'");
unschedule(map { "jitter $_" } 1 .. 20);

# --- more at once than one tick takes --------------------------------------------------

sql("SELECT count(jobs.schedule('many ' || g, '12 16 * * *', 'SELECT 1', overlap => 'allow')) FROM generate_series(1, 2100) AS g");
at('2030-01-09 16:12:00');
ok(poll_until($node, "SELECT count(*) = 2100 AND bool_and(due_at = '2030-01-09 16:12Z') FROM jobs.history
    WHERE job LIKE 'many %' AND status = 'succeeded'"), 'more jobs due than one tick takes: the next one does not wait');
sql("SELECT count(jobs.unschedule('many ' || g)) FROM generate_series(1, 2100) AS g");

# --- max_runs -----------------------------------------------------------------------

schedule('thrice', '*/10 * * * *', max_runs => 3);
sql("SELECT jobs.run_now('thrice')");
at("2030-01-09 $_:00") foreach '16:20', '16:30', '16:40';
fires('thrice', '01-09 16:12:00 manual, 01-09 16:20:00, 01-09 16:30:00, 01-09 16:40:00', 'max_runs: as many, not counting others');
is(next_of('thrice'), '', 'then no more');
like(sql("SELECT why_not FROM jobs.status WHERE job = 'thrice'"), qr/^its schedule has made its 3 runs$/, 'and the status says why');
is(sql("SELECT count(*) FROM jobs.calendar('2030-01-09', '2030-01-11', 'thrice')"), 0, 'nor in the calendar');
at('2030-01-09 17:00:00');
is(sql("SELECT count(*) FROM jobs.history WHERE job = 'thrice'"), 4, 'it has ended');
sql("SELECT jobs.schedule('thrice', '*/10 * * * *', 'SELECT 2')");
is(next_of('thrice'), '', 'the same schedule again changes nothing');
sql("SELECT jobs.reschedule('thrice', '*/15 * * * *')");
is(next_of('thrice'), '2030-01-09 17:15:00', 'another one starts again');
is(sql("SELECT why_not IS NULL FROM jobs.status WHERE job = 'thrice'"), 't', 'and nothing is in its way');
sql("SELECT jobs.schedule('thrice', '*/15 * * * *', 'SELECT 2', max_runs => 1)");
at('2030-01-09 17:15:00');
at('2030-01-09 17:30:00');
is(sql("SELECT count(*) FROM jobs.history WHERE job = 'thrice' AND due_at >= '2030-01-09 17:15Z'"), 1, 'so does another number');
sql("SELECT jobs.schedule('thrice', '*/15 * * * *', 'SELECT 2', max_runs => 0)");
is(next_of('thrice'), '2030-01-09 17:45:00', 'and none');
unschedule('thrice');

# --- @reboot ------------------------------------------------------------------------

# Runs of a job.
sub runs { my ($job) = @_; return sql("SELECT count(*) FROM jobs.history WHERE job = '$job' AND status = 'succeeded'"); }

schedule('boot', '@reboot');
schedule('boot and more', '0 12 * * *; @REBOOT', max_runs => 2);
schedule('boot paused', '@reboot');
sql("SELECT jobs.pause('boot paused')");
is(sql("SELECT next_run IS NULL AND why_not IS NULL AND in_words IS NOT NULL FROM jobs.status WHERE job = 'boot'"), 't',
    '@reboot has no next run, and nothing keeps it');
at('2030-01-09 18:00:00');
is(runs('boot'), 0, '@reboot: not when it is scheduled');
down_until('2030-01-09 18:00:10');
fires('boot', '01-09 18:00:10', 'once when the server starts');
fires('boot and more', '01-09 18:00:10', 'also in a list');
is(next_of('boot and more'), '2030-01-10 12:00:00', 'whose other instants stay');
$node->reload;
sql('SELECT jobs.reload()');
kill_worker($node, 'scheduler', 'TERM');
at('2030-01-09 18:01:00');
kill_worker($node, 'executor');
poll_until($node, 'SELECT 1', '1');
at('2030-01-09 18:02:00');
is(runs('boot'), 1, 'not at a reload, nor after a crash');
down_until('2030-01-09 18:03:00', 'immediate');
fires('boot', '01-09 18:00:10, 01-09 18:03:00', 'again after an immediate stop');
fires('boot and more', '01-09 18:00:10, 01-09 18:03:00', 'also in a list');
is(next_of('boot and more'), '', 'of which max_runs counts');
is(runs('boot paused'), 0, 'not while it is paused');
unschedule('boot and more', 'boot paused');

# --- overrides ------------------------------------------------------------------------

schedule('nightly', '0 3 * * *');
schedule('mailing', '0 4 * * *', job_group => "'email'");
schedule('mail urgent', '0 5 * * *', job_group => "'email'");

# What the status says: schedule, overridden, next run.
sub status_of
{
    my ($job) = @_;
    return sql("SELECT schedule, overridden, to_char(next_run AT TIME ZONE 'UTC', 'MM-DD HH24:MI') FROM jobs.status WHERE job = '$job'");
}

sql(q(ALTER DATABASE postgres SET motionify_jobs.schedule_override = '{"nightly": "*/5 * * * *", "group:email": "@hourly", "mail urgent": "30 * * * *"}'));
sql('SELECT jobs.reload()');
poll_until($node, "SELECT to_char(next_run AT TIME ZONE 'UTC', 'HH24:MI') FROM jobs.status WHERE job = 'nightly'", '18:05');
is(status_of('nightly'), '*/5 * * * *|t|01-09 18:05', 'the setting overrides a schedule');
is(status_of('mailing'), '@hourly|t|01-09 19:00', 'or that of a group');
is(status_of('mail urgent'), '30 * * * *|t|01-09 18:30', 'a job comes before its group');
is(sql("SELECT schedule FROM jobs.job WHERE name = 'nightly'"), '0 3 * * *', 'the definition stays as it is');
at('2030-01-09 18:05:00');
fires('nightly', '01-09 18:05:00', 'it goes by it');
schedule('nightly', '0 3 * * *', description => "'again'");
is(next_of('nightly'), '2030-01-09 18:10:00', 'scheduling it again does not undo it');
sql("SELECT jobs.reschedule('nightly', '0 2 * * *')");
is(status_of('nightly'), '*/5 * * * *|t|01-09 18:10', 'nor does another schedule');
schedule('late mail', '0 6 * * *', job_group => "'email'");
is(status_of('late mail'), '@hourly|t|01-09 19:00', 'what is new in the group is overridden too');
is(sql("SELECT string_agg(to_char(due_at AT TIME ZONE 'UTC', 'HH24:MI'), ' ') FROM jobs.calendar('2030-01-09 18:06Z', '2030-01-09 18:20Z', 'nightly')"),
    '18:10 18:15', 'the calendar goes by it');

foreach my $bad (
    [ 'not json', qr/JSON object of strings/ ],
    [ '["0 3 * * *"]', qr/JSON object of strings/ ],
    [ '{"nightly": 3}', qr/JSON object of strings/ ],
    [ '{"nightly": {"a": "@daily"}}', qr/JSON object of strings/ ],
    [ '{"nightly": "0 3 * *"}', qr/4 fields/ ])
{
    my ($value, $why) = @$bad;
    my $said = refusal("ALTER DATABASE postgres SET motionify_jobs.schedule_override = '$value'");
    like($said, qr/invalid value for parameter "motionify_jobs.schedule_override"/, "$value is refused");
    like($said, $why, 'with the reason');
}
sql('ALTER DATABASE postgres RESET motionify_jobs.schedule_override');
sql('SELECT jobs.reload()');
poll_until($node, "SELECT to_char(next_run AT TIME ZONE 'UTC', 'HH24:MI') FROM jobs.status WHERE job = 'nightly'", '02:00');
is(status_of('nightly'), '0 2 * * *|f|01-10 02:00', 'without the setting it goes by its own again');
is(status_of('mailing'), '0 4 * * *|f|01-10 04:00', 'as the group does');

# a setting of the whole server, changed by a reload
sql(q(ALTER SYSTEM SET motionify_jobs.schedule_override = '{"nightly": "*/7 * * * *"}'));
$node->reload;
poll_until($node, "SELECT to_char(next_run AT TIME ZONE 'UTC', 'HH24:MI') FROM jobs.status WHERE job = 'nightly'", '18:07');
sql('ALTER SYSTEM RESET motionify_jobs.schedule_override');
$node->reload;
poll_until($node, "SELECT to_char(next_run AT TIME ZONE 'UTC', 'HH24:MI') FROM jobs.status WHERE job = 'nightly'", '02:00');

# one job's own
sql("SELECT jobs.override_schedule('nightly', '15 * * * *')");
is(status_of('nightly'), '15 * * * *|t|01-09 18:15', 'jobs.override_schedule');
is(sql("SELECT schedule FROM jobs.job WHERE name = 'nightly'"), '0 2 * * *', 'leaves the definition');
like(refusal("SELECT jobs.override_schedule('nightly', '15 * *')"), qr/invalid schedule "15 \* \*"/, 'is checked');
at('2030-01-09 18:15:00');
fires('nightly', '01-09 18:05:00, 01-09 18:15:00', 'and gone by');
sql("SELECT jobs.reschedule('nightly', '0 1 * * *')");
is(status_of('nightly'), '15 * * * *|t|01-09 19:15', 'it outlives another schedule');
sql("SELECT jobs.override_schedule('nightly', NULL)");
is(status_of('nightly'), '0 1 * * *|f|01-10 01:00', 'until it is taken away');
unschedule('nightly', 'mailing', 'mail urgent', 'late mail');

# --- the default zone ------------------------------------------------------------------

schedule('local', '0 9 * * *');
schedule('kolkata', '0 9 * * *', timezone => "'Asia/Kolkata'");
is(next_of('local'), '2030-01-10 09:00:00', 'the default zone is UTC');
sql("ALTER DATABASE postgres SET motionify_jobs.timezone = 'Asia/Tokyo'");
sql('SELECT jobs.reload()');
poll_until($node, "SELECT next_run = '2030-01-10 00:00Z' FROM jobs.status WHERE job = 'local'");
is(sql("SELECT timezone, next_run_local FROM jobs.status WHERE job = 'local'"), 'Asia/Tokyo|2030-01-10 09:00:00',
    'another default zone moves what has none of its own');
is(next_of('kolkata'), '2030-01-10 03:30:00', 'and nothing else');
at('2030-01-10 00:00:00');
fires('local', '01-10 00:00:00', 'it runs by it');
sql("ALTER DATABASE postgres SET motionify_jobs.timezone = 'Europe/Berlin'");
sql('SELECT jobs.reload()');
poll_until($node, "SELECT next_run = '2030-01-10 08:00Z' FROM jobs.status WHERE job = 'local'");
unschedule('kolkata');

# an instant that other zone data has, as after an update of it
schedule('zone data', '0 9 * * *', timezone => "'Asia/Tokyo'");
sql("UPDATE jobs.job_state SET next_run_at = next_run_at + interval '1 h'
     WHERE job_id = (SELECT job_id FROM jobs.job WHERE name = 'zone data')");
sql('SELECT jobs.reload()');
poll_until($node, "SELECT next_run = '2030-01-11 00:00Z' FROM jobs.status WHERE job = 'zone data'");
sql("UPDATE jobs.job_state SET next_run_at = next_run_at + interval '1 h'
     WHERE job_id = (SELECT job_id FROM jobs.job WHERE name = 'zone data')");
down_until('2030-01-10 00:00:10');
ok(poll_until($node, "SELECT next_run = '2030-01-11 00:00Z' FROM jobs.status WHERE job = 'zone data'"),
    'jobs.reload() and a start of the server compute all next instants with the zone data there is');
unschedule('zone data');

# --- the ends of calendars ---------------------------------------------------------------

# the nights in which Berlin's clocks change, by the default zone
unschedule('local');
schedule('gap', '15 2 * * *');
schedule('gap wild', '*/30 * * * *');
at('2030-03-30 12:00:00');
sql('TRUNCATE jobs.run_log');
at("2030-03-31 $_:00") foreach '00:30', '01:00', '01:30';
fires('gap', '03-31 01:00:00', 'a fixed time that does not exist: when the gap ends');
fires('gap wild', '03-31 00:30:00 24, 03-31 01:00:00, 03-31 01:30:00', 'wildcards: every half hour that there is');
unschedule('gap wild');
is(next_of('gap'), '2030-04-01 00:15:00', 'and at its time again');
at('2030-10-26 12:00:00');
sql('TRUNCATE jobs.run_log');
schedule('fold wild', '15 */1 * * *');
at("2030-10-27 $_:00") foreach '00:00', '00:15', '01:15', '02:15';
fires('gap', '10-27 00:15:00', 'a fixed time that comes twice: the first time');
fires('fold wild', '10-26 23:15:00 catch_up 12, 10-27 00:15:00, 10-27 01:15:00, 10-27 02:15:00', 'wildcards: each time');
unschedule('gap', 'fold wild');

sql('ALTER DATABASE postgres RESET motionify_jobs.timezone');
sql('SELECT jobs.reload()');
schedule('new year', '59 59 23 31 12 *; 0 0 1 1 *');
at('2031-12-31 23:59:58');
sql('TRUNCATE jobs.run_log');
at('2031-12-31 23:59:59');
fires('new year', '12-31 23:59:59', 'the last second of a year');
at('2032-01-01 00:00:00');
fires('new year', '12-31 23:59:59, 01-01 00:00:00', 'and the first of the next');
unschedule('new year');

schedule('leap', '0 0 29 2 *');
schedule('last', '0 12 L * *');
at('2032-02-29 00:00:00');
at('2032-02-29 12:00:00');
like(fired('leap'), qr/^02-29 00:00:00$/, 'a leap day');
like(fired('last'), qr/02-29 12:00:00$/, 'is the last of its month');
is(next_of('leap'), '2036-02-29 00:00:00', 'the next one is four years later');
unschedule('leap', 'last');

# past what 32 bits hold
schedule('year 2038', '* * * * *');
at('2038-01-19 03:13:00');
sql('TRUNCATE jobs.run_log');
at("2038-01-19 $_:00") foreach '03:14', '03:15';
fires('year 2038', '01-19 03:14:00, 01-19 03:15:00', '2038');
down_until('2038-01-19 03:16:00');
fires('year 2038', '01-19 03:14:00, 01-19 03:15:00, 01-19 03:16:00', 'and a restart after it');

$node->stop;

# --- a promotion is a start ---------------------------------------------------------------

my $primary = new_node('primary', testing => 1, streaming => 1);
$primary->safe_psql('postgres', "SELECT jobs.schedule('boot', '\@reboot', 'SELECT 1')");
poll_until($primary, 'SELECT boot IS NOT NULL FROM jobs.instance');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $ENV{MJ_TESTING_INSTALL});
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM jobs.history'), 0, 'the start of a standby runs nothing');
$primary->stop;
$standby->promote;
ok(poll_until($standby, "SELECT count(*) = 1 FROM jobs.history WHERE job = 'boot' AND status = 'succeeded'"),
    '@reboot: once at a promotion');
kill_worker($standby, 'scheduler');
poll_until($standby, 'SELECT 1', '1');
is(run_and_wait($standby, 'boot')->{status}, 'succeeded', 'the promoted server crashes, and goes on');
is($standby->safe_psql('postgres', "SELECT count(*) FROM jobs.history WHERE job = 'boot' AND trigger = 'schedule'"), 1,
    'which is no start');
$standby->stop;

is(log_count($node, qr/PANIC/), 0, 'no process died but by this test');
done_testing();
