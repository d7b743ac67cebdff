# The board in a browser: examples/express-board and Chromium.  What it costs to read is
# counted, not timed.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjHistory;
use IPC::Run;
use Test::More;

my $sources = $ENV{MJ_SOURCES} || "$FindBin::Bin/../..";
my $node = new_node('board');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# --- what is to be seen -------------------------------------------------------------

sql(<<'SQL');
CREATE ROLE viewer LOGIN;
CREATE ROLE somebody LOGIN;
SELECT jobs.grant_usage('viewer', 'viewer'), jobs.grant_usage('somebody', 'user');
SQL
$node->psql('postgres', PostgreSQL::Test::Utils::slurp_file("$sources/test/data/board.sql"), on_error_stop => 1) == 0
    or BAIL_OUT('test/data/board.sql fails');
sql(<<'SQL');
SELECT jobs.schedule('fragile', NULL, 'SELECT count(*) FROM broken_table');
SELECT jobs.run_now('fragile');
CREATE TABLE broken_table ();
SELECT jobs.schedule('<script>alert(1)</script>', NULL, 'SELECT ''<b>1</b>''', '<img src=x onerror=alert(2)>');
SELECT jobs.schedule('"quotes" & ''more''', '0 0 1 1 *', 'SELECT 1', job_group => '</style><script>alert(3)</script>');
SELECT jobs.run_now('<script>alert(1)</script>');
SET ROLE somebody;
SELECT jobs.schedule('my own', '30 2 * * *', 'SELECT 1');
SELECT jobs.run_now('my own');
SQL
ok(poll_until($node, "SELECT count(*) = 1 FROM jobs.active WHERE percent = 42"), 'a run says how far it is');

# --- without a browser --------------------------------------------------------------

like(sql('SELECT jobs.board()'), qr/\A<!DOCTYPE html>.*<\/html>\s*\z/s, 'a page is complete');
unlike(sql("SELECT string_agg(jobs.board(p), '') FROM unnest('{overview,jobs,runs,timeline,queue,outbox}'::text[]) AS p"),
    qr/<script|<img|(?:src|href)="(?:https?:)?\/\//i, 'and loads nothing');
is(sql("SELECT jobs.board('job', '{\"name\": \"fragile\", \"app\": {\"csrf\": {\"name\": \"t\", \"value\": \"\\\"><i>\"}}}') ~ 'value=\"&quot;&gt;&lt;i&gt;\"'"),
    't', 'what the app gives is escaped, too');

# What it takes is read from the end of the history, or of a job's.
my $rows = 20_000;
{
    my $long = new_node('long');
    fill_history($long, $rows);
    $long->safe_psql('postgres', q{CREATE ROLE viewer; SELECT jobs.grant_usage('viewer', 'viewer')});
    my $day = $rows / 30;
    foreach my $known (0, 1)
    {
        $long->safe_psql('postgres', 'VACUUM ANALYZE') if $known;
        # health looks at the cleanups of a week, four of nineteen jobs, and further back for their first
        check_reading($long, 'viewer', 'SELECT jobs.board()', 5 * $day + 4 * $rows / 19 + 200);
        check_reading($long, 'viewer', "SELECT jobs.board('jobs')", $day + 21 * 30 + 200);
        check_reading($long, 'viewer', q{SELECT jobs.board('job', '{"name": "job 7"}')}, 12 * $day / 19 + 300);
        check_reading($long, 'viewer', "SELECT jobs.board('runs')", 300);
        check_reading($long, 'viewer', "SELECT jobs.board('timeline')", $day + 50);
        check_reading($long, 'viewer', "SELECT jobs.board('queue')", 4 * $day + 200);
    }
    $long->safe_psql('postgres', q{CREATE ROLE nobodys; SELECT jobs.grant_usage('nobodys', 'user')});
    # far behind many that succeeded is one that crashed; the last that ended are somebody else's
    $long->safe_psql('postgres', <<'SQL');
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, started_at, finished_at, status)
SELECT nextval('jobs.run_id_seq'), 1, d.job_id, d.job, d.role, d.role::regrole, 'queue', t.at, t.at, t.at, CASE WHEN n = 130000 THEN 'crashed' ELSE 'succeeded' END
FROM jobs.definition AS d, generate_series(1, 130000) AS n, LATERAL (SELECT jobs.clock() - interval '40 days' - n * interval '1 second' AS at) AS t
WHERE d.job = 'job 7';
VACUUM ANALYZE;
SQL
    my $walked = 100_000 + 100;
    check_reading($long, 'viewer', q{SELECT jobs.board('runs', '{"status": "crashed"}')}, $walked);
    check_reading($long, 'viewer', q{SELECT jobs.board('job', '{"name": "job 7", "status": "crashed"}')}, $walked + 12 * $day / 19 + 300);
    check_reading($long, 'viewer', q{SELECT jobs.board('queue', '{"days": "3650"}')}, $walked + 4 * $day + 2 * $rows / 100 + 200);
    check_reading($long, 'nobodys', q{SELECT jobs.board('runs')}, $walked);
    foreach my $list ([ 'runs', '{}', 'page_runs,list' ], [ 'job', '{"name": "job 7"}', 'page_job,list' ], [ 'queue', '{"days": "3650"}', 'page_queue,dead' ])
    {
        my ($page, $params, $path) = @$list;
        my $found = $long->safe_psql('postgres', <<"SQL");
SET ROLE viewer;
WITH RECURSIVE p AS (
    SELECT 1 AS n, jobs.board_data('$page', '{"status": "crashed"}'::jsonb || '$params') #> '{$path}' AS list
    UNION ALL
    SELECT p.n + 1, jobs.board_data('$page', '{"status": "crashed"}'::jsonb || '$params' || jsonb_build_object('before', substring(p.list ->> 'more' from 'before=([^&#]*)'))) #> '{$path}'
    FROM p WHERE p.list ->> 'more' IS NOT NULL AND p.n < 50)
SELECT max(n) > 1, count(*) FILTER (WHERE r -> 'status' ->> 'word' = 'crashed') FROM p LEFT JOIN jsonb_array_elements(p.list -> 'runs') AS r ON true;
SQL
        is($found, 't|1', "$page: what is far back is on a later page");
    }
    $long->stop;
}

# --- in a browser ---------------------------------------------------------------------

SKIP:
{
    my $chromium = $ENV{MJ_CHROMIUM} || '/usr/bin/chromium';
    skip 'no Chromium, or no playwright-core, axe-core, express and pg for Node.js', 1
        unless -x $chromium && eval {
        IPC::Run::run([ 'node', '-e', "['playwright-core', 'axe-core', 'express', 'pg'].forEach(require)" ], '>&', \my $output);
        };
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    local $ENV{PGDATABASE} = 'postgres';
    local $ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
    my $ended = IPC::Run::run([ 'node', "$sources/test/board_check.js", "$sources/examples/express-board/server.js" ],
        '>', \my $out, '2>', \my $err, IPC::Run::timeout(300));
    foreach my $line (split /\n/, $out)
    {
        if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
        elsif ($line =~ /^# (.*)/) { diag($1); }
    }
    ok($ended && $out =~ /^1\.\.\d+$/m, 'all of it was looked at') or diag($err);
}

done_testing();
