# A dump has the definitions and not what lives; restored jobs wait for adopt().

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub sql_in { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

sql(<<'SQL');
CREATE ROLE viewer LOGIN;
CREATE ROLE gone LOGIN;
SELECT jobs.schedule('plain', '* * * * * *', 'SELECT 1');
SELECT jobs.schedule('full', '30 2 * * 1-5', 'SELECT $1', 'all options', 'Europe/Berlin', job_group => 'night',
    overlap => 'allow', catch_up => 'skip', timeout => '1 hour', max_attempts => 3, backoff_base => '10 s', priority => -5);
SELECT jobs.schedule('paused', '* * * * * *', 'SELECT 1');
SELECT jobs.schedule('of a role that will be gone', NULL, 'SELECT 1', role => 'gone');
SELECT jobs.pause('paused');
CREATE ROLE mailer LOGIN;
CREATE ROLE other LOGIN;
SELECT jobs.grant_usage('mailer', 'mailer'), jobs.grant_usage('other', 'mailer');
SELECT jobs.set_mail_template('footer', NULL, '-- {{org}}');
SELECT jobs.set_mail_template('hello', 'Hello', 'Hello {{name}} {{> footer}}', '<p>{{name}}</p>', role => 'mailer');
SELECT jobs.grant_usage('viewer', 'viewer');
SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)');
SELECT jobs.run_now('sleeps', wait => false);
SELECT jobs.suppress('left@example.com', 'asked us to');
SQL
ok(poll_until($node, q{SELECT count(*) FROM jobs.history WHERE job = 'sleeps' AND status = 'running'}, '1'), 'a job is running');
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE job = 'plain' AND status = 'succeeded'}), 'others have run');
my $definitions = q{SELECT jsonb_agg(to_jsonb(j) - 'origin' ORDER BY name) FROM jobs.job j};
my $were = sql($definitions);
my $was_id = sql('SELECT max(job_id) FROM jobs.job');
my $rights = q{SELECT string_agg(p.oid::regprocedure::text, ' ' ORDER BY p.oid::regprocedure::text) FROM pg_proc p
    WHERE pronamespace = 'jobs'::regnamespace AND has_function_privilege('viewer', p.oid, 'EXECUTE')};
my $had_rights = sql($rights);

$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump while jobs run');
sql('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');

is(sql_in('restored', $definitions), $were, 'the definitions are there, whole');
is(sql_in('restored', 'SELECT address, reason FROM jobs.mail_suppression'), 'left@example.com|asked us to',
    'so are addresses that nothing is sent to');
is(sql_in('restored', 'SELECT state FROM jobs.mail_transport'), 'running', 'mail is not held there');
is(sql_in('restored', 'SELECT count(*) FROM jobs.history') . sql_in('restored', 'SELECT count(*) FROM jobs.queued'),
    '00', 'runs and history are not');
is(sql_in('restored', $rights), $had_rights, 'grants are kept');
is(sql_in('restored', q{SELECT count(*) FROM jobs.status WHERE why_not ~ 'adopt'}), 5, 'all jobs wait for adopt()');
my $err;
$node->psql('restored', q{SELECT jobs.run_now('plain')}, stderr => \$err);
like($err, qr/ERROR: .*adopt/s, 'run_now says so');

# templates, whose they are, and what they include
my $templates = q{SELECT string_agg(concat_ws('|', name, subject, body_text, body_html, role, updated_at), ' ' ORDER BY name) FROM jobs.mail_templates};
is(sql_in('restored', $templates), sql($templates), 'templates of mails are there');
is(sql_in('restored', q{SET ROLE mailer; SELECT body_text FROM jobs.render('hello', '{"name": "Ada", "org": "us"}')}),
    'Hello Ada -- us', 'their role may use them');
$node->psql('restored', q{SET ROLE other; SELECT body_text FROM jobs.render('hello')}, stderr => \$err);
like($err, qr/ERROR: .*permission denied for mail template "hello"/, 'and no other role');
sql_in('restored', q{SET ROLE mailer; SELECT jobs.set_mail_template('hello', 'Hello', 'changed')});
is(sql_in('restored', q{SELECT body_text FROM jobs.render('hello')}), 'changed', 'and change them');

# what is made here runs; what was restored does not
sql_in('restored', q{SELECT jobs.schedule('new', '* * * * * *', 'SELECT 1')});
ok(poll_until($node, q{SELECT count(*) > 1 FROM jobs.history WHERE job = 'new' AND status = 'succeeded'}, 't', 'restored'),
    'a job that is made in the restored database runs');
is(sql_in('restored', q{SELECT count(*) FROM jobs.history WHERE job <> 'new'}), 0, 'those that were restored do not');
cmp_ok(sql_in('restored', q{SELECT job_id FROM jobs.job WHERE name = 'new'}), '>', $was_id, 'the sequence goes on');

is(sql_in('restored', 'SELECT jobs.adopt()'), 5, 'adopt() adopts them');
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE job = 'plain' AND status = 'succeeded'}, 't', 'restored'),
    'then they run');
is(sql_in('restored', q{SELECT count(*) FROM jobs.history WHERE job IN ('paused', 'sleeps')}), 0, 'but the paused one, and the one that was running');
is(sql_in('restored', 'SELECT jobs.adopt()'), 0, 'there is nothing more to adopt');

# definitions of a role that is not there
sql_in('postgres', q{SELECT jobs.unschedule('of a role that will be gone')});
sql('DROP DATABASE restored');
sql('DROP ROLE gone');
sql('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ],
    'restore where a role is missing');
sql_in('restored', 'SELECT jobs.adopt()');
$node->psql('restored', q{SELECT jobs.run_now('of a role that will be gone')}, stderr => \$err);
like($err, qr/ERROR: .*role "gone" does not exist/, 'run_now of its job says so');
sql_in('restored', q{SELECT jobs.reschedule('of a role that will be gone', '* * * * * *')});
like(sql_in('restored', q{SELECT why_not FROM jobs.status WHERE job = 'of a role that will be gone'}),
    qr/role "gone" does not exist/, 'and the status');
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE job = 'plain' AND status = 'succeeded'}, 't', 'restored'),
    'the others run');
like(sql_in('restored', q{SELECT string_agg(detail, ' ') FROM jobs.doctor() WHERE NOT ok}), qr/role "gone" does not exist/, 'the doctor tells');
sql('CREATE ROLE gone LOGIN');
my $run = run_and_wait($node, 'of a role that will be gone', 'restored');
is($run->{status}, 'succeeded', 'when the role is made it runs');
sql_in('restored', q{SELECT jobs.reschedule('of a role that will be gone', '* * * * * *')});
ok(poll_until($node, q{SELECT count(*) > 0 FROM jobs.history WHERE job = 'of a role that will be gone'
    AND trigger = 'schedule' AND status = 'succeeded'}, 't', 'restored'), 'also by its schedule');
sql_in('postgres', q{SELECT jobs.unschedule('sleeps', cancel_running => true)});
$node->stop;
is(log_count($node, qr/PANIC|terminated by signal/), 0, 'no process died');
done_testing();
