# Moving over from pg_cron, with pg_cron beside on the same server: its jobs are
# made ours, once, and are due at the instants at which it starts them itself.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjDocs;
use PostgreSQL::Test::Utils;
use Test::More;

my $document = "$FindBin::Bin/../../doc/from-pg_cron.md";
my $share = `pg_config --sharedir`;
chomp $share;
plan skip_all => 'pg_cron is not installed (postgresql-NN-cron)'
  unless -e "$share/extension/pg_cron.control";

my $node = new_node('main', shim => 1, conf => <<'CONF');
shared_preload_libraries = 'motionify_jobs, pg_cron'
cron.use_background_workers = on
max_worker_processes = 40
log_min_messages = warning
checkpoint_timeout = 1d
CONF

sub sql { return $node->safe_psql($_[1] || 'postgres', $_[0]); }

# The rows of an import, as "job|status|detail".
sub import_rows { return sql("SELECT * FROM jobs.import_pg_cron($_[0])", $_[1]); }

# An import as a client sees it: rows and messages.
sub import_said
{
    my ($arguments, $role) = @_;
    my ($status, $out, $err) = $node->psql('postgres',
        ($role ? "SET ROLE $role; " : '') . "SELECT * FROM jobs.import_pg_cron($arguments)");
    return ($out, $err);
}

# --- without pg_cron ------------------------------------------------------------

my ($out, $err) = import_said('');
like($err, qr/ERROR:  pg_cron is not installed in this database.*HINT:  .*source =>/s,
    'without pg_cron the error says what to do');
sql('CREATE EXTENSION pg_cron');
is(import_rows(''), '', 'nothing scheduled, nothing imported');

# --- what pg_cron does, and what we say it does ----------------------------------

# Five fields, in the forms that pg_cron reads; and the probes, at each of which pg_cron
# starts what matches that minute: a clock that was set by more than three hours has
# passed nothing.
my @schedules = (
    '* * * * *', '*/5 * * * *', '*/7 * * * *', '*/15 0-6 * * *', '0 3 * * *', '30 3 * * *',
    '5,35 */2 * * *', '0 0 * * *', '59 23 * * *', '0 12 1 * *', '0 12 31 * *', '0 12 29 2 *',
    '0 12 28-31 * *', '0 12 1,15 * *', '0 12 * * 0', '0 12 * * 7', '0 12 * * 1-5', '0 12 * * SAT',
    '0 12 * * mon,wed,Fri', '0 12 * * 5-7', '0 12 * * */2', '0 12 * * */7', '0 12 1 * MON',
    '0 12 13 * 5', '0 12 1-7 * 1', '0 12 */2 * MON', '0 12 1-31 * MON', '0 12 * JAN,jul *',
    '0 12 1 */3 *', '0 12 15 2-4 WED', '0 12 */10 * *', '0 12 1-15/7 * *', '0-30/10 12 * * *',
    '0 12 * * 0-7', '00 012 * 01 *', '@yearly', '@annually', '@monthly', '@weekly', '@daily',
    '@midnight', '@hourly', ' 0  12	* * 2 ', '0 12 * * * *', '0 12 30 4,6,9,11 3 x',
);
my @probes = (
    '2028-01-01 00:00', '2028-01-01 12:00', '2028-01-03 12:00', '2028-01-07 12:35', '2028-01-15 12:00',
    '2028-01-31 12:00', '2028-02-01 00:00', '2028-02-13 00:00', '2028-02-13 12:00', '2028-02-16 12:00',
    '2028-02-29 12:00', '2028-03-01 12:00', '2028-03-05 03:30', '2028-03-06 03:00', '2028-03-31 12:10',
    '2028-04-01 12:00', '2028-04-30 12:00', '2028-05-05 23:59', '2028-05-21 12:00', '2028-07-01 06:35',
    '2028-07-08 12:00', '2028-10-13 12:00', '2028-10-29 01:00', '2028-12-31 12:00',
);

foreach my $i (0 .. $#schedules)
{
    sql("SELECT cron.schedule('s$i', \$\$$schedules[$i]\$\$, 'SELECT $i')");
}
my $map = q{SELECT jobid, jobs.pg_cron_schedule(schedule) AS ours FROM cron.job};
is(sql("SELECT count(*) FROM ($map) AS m WHERE jobs.is_valid(ours)"), scalar @schedules,
    'all of them are schedules here, too');

my $epoch = q{SELECT extract(epoch FROM '%s'::timestamptz)::bigint};
sql('CREATE TABLE probe (nr integer, at timestamptz, jobs text)');
foreach my $nr (0 .. $#probes)
{
    my $at = "$probes[$nr]+00";
    my $since = sql(sprintf $epoch, $at) - time() + 1;

    # which jobs are due at that minute, by us
    sql("INSERT INTO probe SELECT $nr, '$at', string_agg(jobid::text, ' ' ORDER BY jobid)
        FROM ($map) AS m WHERE EXISTS (SELECT FROM jobs.next_runs(ours, 'UTC', 1, '$at'::timestamptz - interval '1 s') AS t
        WHERE t = '$at')");
    shift_server_clock($node, $since);
    # by pg_cron; compared at the end, when more than these would be there, too
    poll_until($node, "SELECT count(DISTINCT jobid) >= cardinality(string_to_array(jobs, ' '))
        FROM probe LEFT JOIN cron.job_run_details ON start_time >= at WHERE nr = $nr GROUP BY jobs") or last;
}
is(sql("SELECT at || ': ' || jobs || ' and not ' || theirs FROM (
        SELECT p.at, p.jobs, (SELECT string_agg(DISTINCT d.jobid::text, ' ' ORDER BY d.jobid::text)
                              FROM cron.job_run_details AS d WHERE d.start_time >= p.at
                              AND d.start_time < coalesce(n.at, 'infinity')) AS theirs
        FROM probe AS p LEFT JOIN probe AS n ON n.nr = p.nr + 1) AS c
    WHERE (SELECT array_agg(x ORDER BY x) FROM string_to_table(jobs, ' ') AS x)
        IS DISTINCT FROM (SELECT array_agg(x ORDER BY x) FROM string_to_table(theirs, ' ') AS x)"),
    '', scalar(@schedules) . ' schedules at ' . scalar(@probes) . ' instants: pg_cron starts what is due here');
cmp_ok(sql("SELECT count(DISTINCT j) FROM probe, string_to_table(jobs, ' ') AS j"), '==', scalar @schedules,
    'each of them was due at some of these');

# --- the forms that only later versions have -------------------------------------

my %later = (
    '30 seconds' => '30 seconds', '1 second' => '1 second', '59 seconds' => '59 seconds',
    '0 12 $ * *' => '0 12 L * *', '0 12 $ 2 MON' => '0 12 L 2 MON',
    '@restart' => '@reboot', '@reboot' => '@reboot');
is(sql("SELECT jobs.pg_cron_schedule('$_')"), $later{$_}, "\"$_\"") foreach sort keys %later;
is(sql("SELECT jobs.pg_cron_schedule('$_') IS NULL"), 't', "\"$_\" is not understood")
  foreach '60 seconds', '0 seconds', '30 seconds x', '0 9 * * 1#2', '0 9 *x * *', '5/15 * * * *', '* * * *', '', '@every 5 minutes',
  '0 9 * * 1;', '0 9,  * * *';
is(sql("SELECT jobs.next_runs(jobs.pg_cron_schedule('0 12 \$ * *'), 'UTC', 1, '2028-02-01')"), '2028-02-29 12:00:00+00',
    'the last day of the month');

# --- importing --------------------------------------------------------------------

sql('CREATE DATABASE other');
sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE gone LOGIN');
sql('SELECT cron.unschedule(jobid) FROM cron.job');
sql(q{SELECT cron.schedule('0 3 * * *', 'SELECT 1 + 1')});
my $unnamed = sql('SELECT max(jobid) FROM cron.job');
sql(q{SELECT cron.schedule('vacuum', '0 12 1 * MON', 'VACUUM pg_type')});
sql(q{SELECT cron.schedule('several', '@hourly', 'CREATE TABLE IF NOT EXISTS t (i integer); INSERT INTO t VALUES (1)')});
sql(qq{SELECT cron.schedule_in_database('$_->[0]', '0 4 * * *', '$_->[1]', '$_->[2]', '$_->[3]', $_->[4])})
  foreach [ 'same', 'SELECT session_user', 'postgres', 'alice', 'true' ],
  [ 'same', 'SELECT session_user', 'postgres', 'bob', 'true' ],
  [ 'off', 'SELECT session_user', 'postgres', 'alice', 'false' ],
  [ 'nologin', 'SELECT 1', 'postgres', 'gone', 'true' ],
  [ 'elsewhere', 'SELECT 1', 'other', 'bob', 'true' ],
  [ 'transaction', 'BEGIN; SELECT 1; COMMIT', 'postgres', 'bob', 'true' ];
sql(q{SELECT cron.schedule('wraps', '0 22-2 * * *', 'SELECT 1')});
sql(q{SELECT cron.schedule('junk', '0 9 * * 1#2', 'SELECT 1')});
sql(q{SELECT cron.schedule('mail', '0 9 * * *', 'SELECT 1')});
sql(q{SELECT cron.schedule('far', '0 9 * * *', 'SELECT 1'); UPDATE cron.job SET nodename = 'worker-1' WHERE jobname = 'far'});
sql('ALTER ROLE gone NOLOGIN');
my $cron_job = sql('TABLE cron.job ORDER BY jobid');

my $expected = <<"ROWS";
pg_cron $unnamed|imported|at 03:00 every day (UTC)
vacuum|imported|at 12:00 on day 1 of the month or on Monday (UTC)
several|imported|every hour (UTC)
same (alice)|imported|at 04:00 every day (UTC)
same (bob)|imported|at 04:00 every day (UTC)
off|imported|at 04:00 every day (UTC); not enabled, as in pg_cron
nologin|skipped|role "gone" is not permitted to log in
elsewhere|skipped|it runs in database "other": import it there
transaction|skipped|transaction control is not allowed in the command of a job
wraps|skipped|invalid schedule "0 22-2 * * *": The range "22-2" in the hour field runs backwards.
junk|skipped|the schedule "0 9 * * 1#2" is not understood
mail|skipped|job name "mail" is reserved: It is what the runs of mails, or of calls, go by.
far|skipped|it runs on server "worker-1"
ROWS
chomp $expected;

($out, $err) = import_said('dry_run => true');
is($out, $expected, 'a dry run says what would come of it');
is($err, '', 'and nothing else');
is(sql('SELECT count(*) FROM jobs.job'), '0', 'it makes nothing');

($out, $err) = import_said('');
is($out, $expected, 'an import');
like($err, qr/^psql:<stdin>:1: WARNING:  5 jobs are active here and in pg_cron\nHINT:  .*deactivate => true/,
    'it warns of jobs that run twice');
is(sql('TABLE cron.job ORDER BY jobid'), $cron_job, 'and leaves cron.job as it is');
is(sql(q{SELECT string_agg(DISTINCT concat_ws(' ', overlap, catch_up, timezone), ',') FROM jobs.job}), 'queue skip UTC',
    'the jobs behave as those of pg_cron: one waits for the other, nothing is caught up, UTC');
is(sql(q{SELECT string_agg(job || ' ' || role, ',' ORDER BY job) FROM jobs.status JOIN jobs.job ON name = job WHERE NOT enabled}),
    'off alice', 'what was not active is not enabled');
is(sql(q{SELECT count(*) FROM jobs.status JOIN jobs.job ON name = job WHERE enabled
        AND next_run IS DISTINCT FROM (SELECT min(t) FROM jobs.next_runs(jobs.job.schedule, 'UTC', 1) AS t)}), '0', 'they are due');

is(run_and_wait($node, 'same (alice)')->{result}, 'alice', 'as its role');
is(run_and_wait($node, 'same (bob)')->{result}, 'bob', 'each as its own');
is(run_and_wait($node, "pg_cron $unnamed")->{result}, '2', 'without a name');
is(run_and_wait($node, 'vacuum')->{result}, 'VACUUM', 'VACUUM');
is(run_and_wait($node, 'several')->{status}, 'succeeded', 'several statements');
is(sql('SELECT count(*) FROM t'), '1', 'all of them');

# again: nothing that was changed here is changed back
sql(q{SELECT jobs.reschedule('vacuum', '0 5 * * *'), jobs.pause('several')});
sql(q{SELECT cron.alter_job(jobid, command => 'SELECT 2 + 2') FROM cron.job WHERE jobname IS NULL});
$expected =~ s/\|imported\|.*/|unchanged|/g;
$expected =~ s/^pg_cron $unnamed.*/pg_cron $unnamed|skipped|there is a job of this name, with another command/m;
$expected =~ s/^vacuum.*/vacuum|unchanged|its schedule here is "0 5 * * *" (UTC)/m;
my $jobs = sql('SELECT name, schedule, command, role, enabled, paused_at FROM jobs.job ORDER BY name');
is(import_rows(''), $expected, 'a second import changes nothing');
is(sql('SELECT name, schedule, command, role, enabled, paused_at FROM jobs.job ORDER BY name'), $jobs, 'it is so');

# --- handing over -----------------------------------------------------------------

is(import_rows('deactivate => true'), $expected, 'a third one switches them off in pg_cron');
is(sql(q{SELECT string_agg(coalesce(jobname, 'unnamed'), ' ' ORDER BY jobid) FROM cron.job WHERE active}),
    'unnamed nologin elsewhere transaction wraps junk mail far', 'but for those that are not here');
is(import_rows('deactivate => true'), $expected, 'again');

# what pg_cron refuses is not imported: a job never runs in both by half a hand-over
sql(q{SELECT jobs.grant_usage('alice', 'user'); GRANT USAGE ON SCHEMA cron TO alice});
sql(q{SELECT cron.schedule_in_database('later', '0 4 * * *', 'SELECT 1', 'postgres', 'alice')});
($out, $err) = import_said('deactivate => true', 'alice');
like($out, qr/^later\|skipped\|permission denied for function alter_job$/m, 'without the right to alter_job nothing is handed over');
is(sql(q{SELECT count(*) FROM jobs.job WHERE name = 'later'}), '0', 'and nothing made');

# --- who may ------------------------------------------------------------------------

($out, $err) = import_said('', 'alice');
is($out, "same (alice)|unchanged|\noff|unchanged|\nlater|imported|at 04:00 every day (UTC)",
    'who may define jobs imports what is his in pg_cron');
($out, $err) = import_said('', 'bob');
like($err, qr/permission denied for schema jobs/, 'who may not, does not');
sql(q{SELECT jobs.grant_usage('bob', 'user'); CREATE TABLE fake AS
    SELECT 1 AS jobid, '* * * * *' AS schedule, 'SELECT 1' AS command, current_user AS username, 'evil' AS jobname;
    INSERT INTO fake VALUES (2, '* * * * *', 'SELECT 1', 'alice', 'theft'), (3, '* * * * *', 'SELECT 1', 'bob', 'later');
    GRANT SELECT ON fake TO bob});
($out, $err) = import_said(q{source => 'fake'}, 'bob');
like($out, qr/^evil\|skipped\|permission denied to make a job run as role .*: Only a superuser.*
theft\|skipped\|permission denied to make a job run as role "alice": .*
later\|skipped\|permission denied for job "later": .*$/, 'whatever the table says, only for roles that one is a member of');
is(sql(q{SELECT count(*) FROM jobs.job WHERE name IN ('evil', 'theft') OR role = 'bob' AND name <> 'same (bob)'}), '0', 'nothing of it was made');

# --- pg_cron in another database -----------------------------------------------------

sql('CREATE EXTENSION motionify_jobs', 'other');
($out, $err) = ('', '');
$node->psql('other', 'SELECT * FROM jobs.import_pg_cron()', stderr => \$err);
like($err, qr/pg_cron is not installed in this database/, 'pg_cron in another database');
chdir PostgreSQL::Test::Utils::tempdir();
my ($copy) = doc_blocks($document, 'sh');
{
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    is(system('/bin/sh', '-c', $copy->{text}), 0, 'its table is copied, as the documentation says');
}
my $superuser = sql('SELECT current_user');
my ($here, $there, $off) = doc_blocks($document, 'sql');
$there->{text} =~ s/^SELECT.*jobs[.]import_pg_cron.*\n//m;
run_sql_block($node, 'other', $superuser, $there->{text}, 'the copy');
$node->psql('other', q{SELECT * FROM jobs.import_pg_cron(source => 'cron_job', timezone => 'Asia/Kolkata') WHERE status <> 'skipped'},
    stdout => \$out, stderr => \$err);
is($out, 'elsewhere|imported|at 04:00 every day (Asia/Kolkata)', 'and its jobs of this database imported');
like($err, qr/WARNING:  1 job is active here.*HINT:  In the database of pg_cron: SELECT cron.alter_job/s, 'with a warning');
is(sql(q{SELECT count(*) FROM jobs.import_pg_cron(dry_run => true, source => 'cron_job') WHERE detail LIKE 'it runs in database "postgres": %'}, 'other'),
    sql(q{SELECT count(*) FROM cron.job WHERE database = 'postgres'}), 'the others are reported');
$node->psql('other', q{SELECT * FROM jobs.import_pg_cron(deactivate => true, source => 'cron_job')}, stderr => \$err);
like($err, qr/"deactivate" cannot be used with "source"/, 'it cannot switch off what is elsewhere');

$off->{text} =~ s/my_database/other/;
run_sql_block($node, 'postgres', $superuser, $off->{text}, 'switching off what is elsewhere');
is(sql(q{SELECT count(*) FROM cron.job WHERE active AND database = 'other'}), '0', 'it is switched off');
run_sql_block($node, 'postgres', $superuser, $here->{text}, 'in short');

# --- a zone of pg_cron: a setting of later versions, here a value that nobody asked for

is(sql('SELECT jobs.pg_cron_timezone() IS NULL'), 't', 'this version has no zone');
$node->append_conf('postgresql.conf', "cron.timezone = 'Asia/Kolkata'");
$node->restart;
is(sql('SHOW cron.timezone'), 'Asia/Kolkata', 'if it is set all the same');
is(sql('SELECT jobs.pg_cron_timezone() IS NULL'), 't', 'it does not count, for pg_cron does not go by it');

$node->stop;
done_testing();
