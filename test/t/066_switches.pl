# Job times that users can change: the functions of the documentation, and a role that
# has nothing but them and tries for more.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjDocs;
use Test::More;

my $node = new_node('main');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

sub sql { return $node->safe_psql('postgres', $_[0]); }

my ($roles, $functions, $use) = doc_blocks("$FindBin::Bin/../../doc/howto-switches.md", 'sql');
run_sql_block($node, 'postgres', $superuser, $roles->{text}, 'the roles');
run_sql_block($node, 'postgres', $superuser, $functions->{text}, 'the functions');
run_sql_block($node, 'postgres', $superuser, $use->{text}, 'their use');
is(sql(q{SELECT schedule FROM jobs.job WHERE name = 'send_digests'}), '30 7 * * MON-FRI', 'the schedule has changed');
is(sql(q{SELECT paused FROM jobs.status WHERE job = 'remind_payers'}), 't', 'the other job is off');
sql(q{CREATE ROLE nobody_else LOGIN});

# Everything there is of the jobs, but for what was changed on purpose.
sub definitions
{
    return sql(q{SELECT string_agg(j::text, E'\n' ORDER BY name) FROM jobs.job AS j});
}

# The error of a statement as a role: SQLSTATE and message.
sub refused
{
    my ($statement, $role) = @_;
    my $err = '';
    $node->psql('postgres', "\\set VERBOSITY verbose\n" . $statement,
        extra_params => [ '-U', $role || 'job_settings' ], stderr => \$err);
    return $err =~ /ERROR:  (\S+): ([^\n]*)/ ? "$1 $2" : "no error\n$err";
}

my $before = definitions();

# --- nothing else of the extension -----------------------------------------------

is(sql(q{SELECT has_schema_privilege('job_settings', 'jobs', 'USAGE')}), 'f', 'no right in the schema');
is(sql(q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'jobs'::regnamespace AND has_function_privilege('job_settings', oid, 'EXECUTE')}),
    '0', 'none on its functions');
is(sql(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'jobs'::regnamespace AND relkind IN ('r', 'v')
        AND has_table_privilege('job_settings', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')}), '0', 'none on its tables');
like(refused($_), qr/^42501 permission denied for schema jobs/, $_)
  foreach q{SELECT jobs.schedule('send_digests', '0 8 * * *', 'DROP TABLE users')},
  q{SELECT jobs.reschedule('send_digests', '0 8 * * *')}, q{SELECT jobs.override_schedule('send_digests', '0 8 * * *')},
  q{SELECT jobs.unschedule('send_digests')}, q{SELECT jobs.pause('send_digests')}, q{SELECT * FROM jobs.run_now('send_digests')},
  q{SELECT jobs.enqueue('send_digests')}, q{SELECT command FROM jobs.job}, q{SELECT * FROM jobs.status}, q{SELECT * FROM jobs.history},
  q{SELECT jobs.grant_usage('job_settings', 'user')}, q{UPDATE jobs.job SET command = 'SELECT 2'};

# --- other jobs, other words -------------------------------------------------------

like(refused("SELECT set_job_time($_, '0 8 * * *')"), qr/^42501 the times of job/, "job $_")
  foreach q{'delete_accounts'}, q{'no such job'}, q{NULL}, q{''}, q{'Send_Digests'}, q{'send_digests '},
  q{'send_digests''; DROP TABLE t; --'}, q{'{send_digests}'};
like(refused("SELECT set_job_active($_, false)"), qr/^42501 job/, "switching job $_") foreach q{'delete_accounts'}, q{NULL};
like(refused("SELECT set_job_time('send_digests', $_->[0])"), $_->[1], "schedule $_->[0]")
  foreach [ q{'0 25 * * *'}, qr/^22023 invalid schedule "0 25 \* \* \*"/ ], [ q{'every day'}, qr/^22023 / ], [ q{''}, qr/^22023 / ],
  [ q{NULL}, qr/^22004 schedule must not be null/ ], [ q{'0 0 31 2 *'}, qr/^22023 schedule .* never fires/ ],
  [ q{'@reboot'}, qr/^22023 schedule .* never fires/ ], [ q{'@at 2000-01-01 00:00'}, qr/^22023 schedule .* never fires/ ],
  [ q{'* * * * *'}, qr/^22023 schedule .* more often/ ], [ q{'*/4 * * * *'}, qr/^22023 schedule .* more often/ ],
  [ q{'* * * * * *'}, qr/^22023 schedule .* more often/ ], [ q{'@every 1 second'}, qr/^22023 schedule .* more often/ ],
  [ q{'0 8 * * *; 1 8 * * *'}, qr/^22023 schedule .* more often/ ], [ q{'59 23 * * *; 0 0 * * *'}, qr/^22023 schedule .* more often/ ],
  [ q{'0 0 1 1 *; */30 0 0 29 2 *'}, qr/^22023 schedule .* more often/ ],
  [ q{'0 8 * * *''); SELECT jobs.unschedule(''send_digests'}, qr/^22023 invalid schedule/ ],
  [ q{repeat('0 8 * * *;', 100000)}, qr/^22023 / ], [ q{repeat('9', 1000000)}, qr/^22023 / ];
is(definitions(), $before, 'nothing has changed');

# --- the functions themselves --------------------------------------------------------

like(refused($_), qr/^42501 (permission denied|must be owner)/, $_)
  foreach q{CREATE OR REPLACE FUNCTION public.user_jobs() RETURNS text[] LANGUAGE sql RETURN '{delete_accounts}'::text[]},
  q{ALTER FUNCTION public.set_job_time(text, text) RESET search_path}, q{ALTER FUNCTION public.user_jobs() OWNER TO job_settings},
  q{SELECT user_jobs()}, q{SET ROLE app}, qq{SET ROLE "$superuser"},
  q{SET motionify_jobs.schedule_override = '{"delete_accounts": "* * * * *"}'}, q{SET motionify_jobs.disabled_groups = 'x'};
like(refused(q{SELECT set_job_time('send_digests', '0 9 * * *')}, 'nobody_else'), qr/^42501 permission denied for function set_job_time/,
    'who was not granted it cannot call it');

# objects of the caller's that are found first, if names are looked for in his path
is($node->psql('postgres', <<'SQL', extra_params => [ '-U', 'job_settings' ]), 0, 'a path of the caller');
CREATE TEMP TABLE pg_proc (x integer);
CREATE FUNCTION pg_temp.user_jobs() RETURNS text[] LANGUAGE sql AS $$SELECT '{delete_accounts}'::text[]$$;
CREATE FUNCTION pg_temp.never(text, text[]) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR pg_temp.<> (LEFTARG = text, RIGHTARG = text[], FUNCTION = pg_temp.never);
CREATE FUNCTION pg_temp.not_other(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR pg_temp.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.not_other);
SET search_path = pg_temp, public;
DO $$
BEGIN
    PERFORM public.set_job_time('delete_accounts', '0 9 * * *');
    RAISE 'it came through';
EXCEPTION WHEN insufficient_privilege THEN
END $$;
SQL
is(definitions(), $before, 'nothing has changed');

# --- what may be done is done, and its job still runs as its role ------------------------

is(refused(q{SELECT set_job_time('send_digests', '0 9 * * *; 30 9 * * 7')}), "no error\n", 'what may be done is done');
is(sql(q{SELECT schedule || ' ' || role || ' ' || command FROM jobs.job WHERE name = 'send_digests'}),
    '0 9 * * *; 30 9 * * 7 app SELECT 1', 'and no more than that');
is(run_and_wait($node, 'send_digests')->{status}, 'succeeded', 'the job runs');

# a transaction that is kept open holds up the job that it has changed, and no other
my $open = new_session($node, 'postgres', 'job_settings');
$open->query(q{BEGIN; SELECT set_job_time('send_digests', '0 10 * * *')});
is(run_and_wait($node, 'delete_accounts')->{status}, 'succeeded', 'another job runs');
is(sql(q{SELECT jobs.schedule('each_second', '* * * * * *', 'SELECT 1') > 0}), 't', 'and one is made');
ok(poll_until($node, q{SELECT count(*) >= 2 FROM jobs.history WHERE job = 'each_second' AND status = 'succeeded'}), 'and on schedule');
$open->query('ROLLBACK');
$open->quit;
is(sql(q{SELECT schedule FROM jobs.job WHERE name = 'send_digests'}), '0 9 * * *; 30 9 * * 7', 'as it was');

$node->stop;
done_testing();
