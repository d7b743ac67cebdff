# MjHistory - a long history, made by SQL, and what reading it takes.

package MjHistory;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

our @EXPORT = qw(fill_history check_reading);

# fill_history($node, $rows): twenty jobs, of which nineteen have run in turns over
# the last 30 days, as often as that makes; one run in a hundred failed.  One more
# ran once, at the beginning.  The tables are not analyzed.
sub fill_history
{
    my ($node, $rows) = @_;
    $node->safe_psql('postgres', <<"SQL");
ALTER TABLE jobs.run_log SET (autovacuum_enabled = off);
SELECT jobs.schedule('job ' || n, CASE WHEN n < 15 THEN '0 2 29 2 *' END, 'SELECT 1',
    job_group => CASE WHEN n < 5 THEN 'cleanup' END) FROM generate_series(1, 20) AS n;
SELECT jobs.schedule('long ago', NULL, 'SELECT 1');
INSERT INTO jobs.run_log (run_id, attempt, job_id, job, job_group, role, role_oid, trigger, due_at, started_at,
    finished_at, status, result, error)
SELECT nextval('jobs.run_id_seq'), 1, j.job_id, j.name, j.job_group, j.role, s.role_oid, 'schedule', t.due, t.due + interval '10 ms',
    t.due + (100 + n % 100) * interval '1 ms', CASE WHEN n % 100 = 7 THEN 'failed' ELSE 'succeeded' END,
    CASE WHEN n % 100 <> 7 THEN '0' END, CASE WHEN n % 100 = 7 THEN 'it failed' END
FROM generate_series(0, $rows - 1) AS n
CROSS JOIN (SELECT jobs.clock() AS now) AS c
CROSS JOIN LATERAL (SELECT c.now - interval '30 days' + n * (interval '30 days' / $rows) AS due) AS t
JOIN jobs.job AS j ON j.name = CASE WHEN n = 0 THEN 'long ago' ELSE 'job ' || 1 + n % 19 END
JOIN jobs.job_state AS s USING (job_id);
SQL
    return;
}

# The plans of a query and of what runs inside its functions, as a text; undef when it
# fails.
sub plans
{
    my ($node, $role, $query) = @_;
    my ($out, $err);
    $node->psql('postgres', <<"SQL", stdout => \$out, stderr => \$err, on_error_stop => 1) == 0 or return;
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SET ROLE $role;
$query;
SQL
    return $err;
}

# check_reading($node, $role, $query, $rows): reads the query as a role.  Nowhere may all of the
# log be scanned, and no more than so many rows of it be read.
sub check_reading
{
    my ($node, $role, $query, $rows) = @_;
    my $name = "$role: $query";
    my $plans = plans($node, $role, $query);
    ok(defined $plans && $plans =~ /plan:/, "$name: runs");
    unlike($plans // '', qr/(?:Seq|Sample) Scan on (?:jobs\.)?run_log/, "$name: no scan of all history");

    my $read = $node->safe_psql('postgres', <<"SQL");
SET ROLE $role;
BEGIN;
\\o /dev/null
$query;
\\o
RESET ROLE;
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relid = 'jobs.run_log'::regclass;
COMMIT;
SQL
    cmp_ok($read, '<=', $rows, "$name: reads few rows of it");
    note("$name: $read rows");
    return;
}

1;
