# The library loads at server start, CREATE EXTENSION is all the set-up there
# is, and everything leaves with the extension.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

is($node->safe_psql('postgres',
        "SELECT extversion FROM pg_extension WHERE extname = 'motionify_jobs'"),
    '1.0', 'the extension is there');

is($node->safe_psql('postgres', <<'SQL'), '', 'nothing in schema jobs is open to PUBLIC');
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE pronamespace = 'jobs'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c
WHERE relnamespace = 'jobs'::regnamespace AND relkind IN ('r', 'v', 'S')
  AND has_table_privilege('public', c.oid, 'SELECT')
SQL

is($node->safe_psql('postgres', <<'SQL'), '', 'all of schema jobs belongs to the extension');
SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) FROM pg_class c
WHERE relnamespace = 'jobs'::regnamespace AND relkind IN ('r', 'v')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                  AND objid = c.oid AND deptype = 'e')
SQL

$node->safe_psql('postgres', 'DROP EXTENSION motionify_jobs');
is($node->safe_psql('postgres', "SELECT to_regnamespace('jobs')"), '',
    'nothing is left of it');

$node->safe_psql('postgres', 'CREATE EXTENSION motionify_jobs');
$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal/,
    'the server log is clean');

done_testing();
