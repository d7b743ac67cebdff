# A simulated year over all schedules of the portal in three zones: what is due,
# and what the scheduler makes of it, are compared with an oracle that looks at
# every minute of the year.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => <<'CONF');
motionify_jobs.log_runs = failures
motionify_jobs.catch_up_limit = 100000
motionify_jobs.history_retention = '1000 days'
work_mem = 256MB
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Berlin and New York lose and gain an hour, Lord Howe Island half of one.
my @zones = qw(Europe/Berlin America/New_York Australia/Lord_Howe);
my $zones = join ', ', map { "('$_')" } @zones;

set_clock($node, '2030-01-01 00:00:00+00');
$node->safe_psql('postgres', '', extra_params => [ '-q', '-f', "$FindBin::Bin/../data/portal.sql" ]);

# the schedules of the pack, with a command that does nothing
sql('SELECT count(*) FROM jobs.install_portal()');
sql("CREATE TABLE portal AS SELECT name, schedule FROM jobs.job");
is(sql('SELECT count(*), count(DISTINCT schedule) FROM portal'), '7|7', 'seven jobs of the portal');
sql("SELECT count(jobs.unschedule(name)) FROM portal");
sql("SELECT count(jobs.schedule(name || ' ' || zone, schedule, 'SELECT 1', timezone => zone, catch_up => 'all'))
     FROM portal, (VALUES $zones) AS z (zone)");

# --- the oracle -------------------------------------------------------------------

# Every minute of the year in every zone: what the clocks there show, what they
# showed a minute before, and whether they have shown that time already.
sql(<<SQL);
CREATE TABLE minute AS
SELECT zone, at, local, lag(local) OVER w AS before,
       coalesce(local <= max(local) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false) AS again,
       extract(hour FROM local)::int * 60 + extract(minute FROM local)::int AS of_day
FROM (SELECT zone, at, at AT TIME ZONE zone AS local
      FROM (VALUES $zones) AS z (zone),
           generate_series('2030-01-01 00:00Z'::timestamptz, '2030-12-31 23:59Z', '1 min') AS at) AS m
WINDOW w AS (PARTITION BY zone ORDER BY at);

-- What has an asterisk for the minute or the hour runs whenever the clock shows
-- it.  The rest runs once a local time: the first time that it is shown, and
-- when it is passed over, at the first minute after that.
CREATE TABLE fixed AS
SELECT name, f[2]::int * 60 + f[1]::int AS of_day, nullif(f[5], '*')::int AS weekday
FROM portal, string_to_array(schedule, ' ') AS f
WHERE schedule <> '* * * * *';

CREATE TABLE oracle AS
SELECT p.name || ' ' || zone AS job, at
FROM portal AS p, minute WHERE p.schedule = '* * * * *'
UNION ALL
(SELECT name || ' ' || zone, at
FROM fixed JOIN minute USING (of_day)
WHERE NOT again AND (weekday IS NULL OR weekday = extract(dow FROM local))
UNION
SELECT name || ' ' || zone, at
FROM minute, generate_series(before + interval '1 min', local - interval '1 min', '1 min') AS skipped, fixed
WHERE local > before + interval '1 min'
  AND fixed.of_day = extract(hour FROM skipped) * 60 + extract(minute FROM skipped)
  AND (weekday IS NULL OR weekday = extract(dow FROM skipped)));
SQL
is(sql("SELECT count(*) FROM portal WHERE schedule <> '* * * * *' AND schedule !~ '^\\d+ \\d+ [*] [*] ([*]|\\d)\$'"), 0,
    'the oracle knows their language');
is(sql('SELECT count(*) FROM minute'), 3 * 525600, 'every minute of the year');
is(sql("SELECT string_agg(n, ' ' ORDER BY zone) FROM (SELECT zone, concat(count(*) FILTER (WHERE again), '/',
            count(*) FILTER (WHERE local > before + interval '1 min')) AS n FROM minute GROUP BY zone) AS z"),
    '60/1 30/1 60/1', 'of which an hour comes twice and one is lost, or half of one');

# --- what is due ------------------------------------------------------------------

# Instants that only one of two relations has.
sub differences
{
    my ($a, $b) = @_;
    return sql("SELECT coalesce(a.job, b.job), coalesce(a.at, b.at), a.job IS NULL FROM ($a) AS a
        FULL JOIN ($b) AS b ON a.job = b.job AND a.at = b.at WHERE a.job IS NULL OR b.job IS NULL
        ORDER BY 1, 2 LIMIT 20");
}

my $calendar = "SELECT job, due_at AS at FROM jobs.calendar('2030-01-01 00:00Z', '2031-01-01 00:00Z')";
is(sql("SELECT count(*) FROM ($calendar) AS c"), sql('SELECT count(*) FROM oracle'), 'as many instants as the oracle finds');
is(differences($calendar, 'SELECT * FROM oracle'), '', 'the calendar of the year is the oracle\'s');

# --- what is run ------------------------------------------------------------------

# The clock goes on, and the scheduler runs each instant, one after the other.
sub go_on_to
{
    my ($instant) = @_;
    set_clock($node, "$instant+00");
    poll_until($node, "SELECT count(*) = 0 FROM jobs.job_state WHERE next_run_at <= '$instant+00'");
    poll_until($node, 'SELECT count(*) = 0 FROM jobs.queue');
    return;
}

# The daily and weekly ones over the year; that of every minute in the hours in
# which clocks change.
my @changes = ('2030-03-10 07:00', '2030-03-31 01:00', '2030-04-06 15:00', '2030-10-05 15:30', '2030-10-27 01:00', '2030-11-03 06:00');
sql("SELECT count(jobs.pause(name)) FROM jobs.job WHERE schedule = '* * * * *'");
sql('TRUNCATE jobs.run_log');
foreach my $change (@changes)
{
    my ($from, $to) = split /\|/, sql("SELECT timestamp '$change' - interval '70 min', timestamp '$change' + interval '70 min'");
    go_on_to($from);
    sql("SELECT count(jobs.resume(name)) FROM jobs.job WHERE schedule = '* * * * *'");
    go_on_to($to);
    sql("SELECT count(jobs.pause(name)) FROM jobs.job WHERE schedule = '* * * * *'");
}
go_on_to('2030-12-31 23:59:59');

my $windows = join ' OR ', map { "at > timestamptz '$_+00' - interval '70 min' AND at <= timestamptz '$_+00' + interval '70 min'" } @changes;
my $ran = "SELECT job, due_at AS at FROM jobs.run_log WHERE status = 'succeeded'";
my $expected = "SELECT * FROM oracle WHERE job NOT LIKE 'process_email_queue %' AND at > '2030-01-01 00:00Z' OR $windows";
is(sql("SELECT count(*) FROM ($ran) AS r"), sql("SELECT count(*) FROM ($expected) AS e"), 'as many runs as the oracle finds');
is(differences($ran, $expected), '', 'what was run over the year is the oracle\'s');
is(sql('SELECT count(*) FROM jobs.run_log WHERE status <> $$succeeded$$'), 0, 'and nothing else');
is(sql("SELECT count(*) FROM (SELECT due_at < lag(due_at) OVER (PARTITION BY job ORDER BY run_id) AS early
        FROM jobs.run_log) AS r WHERE early"), 0, 'each job in order');

$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
