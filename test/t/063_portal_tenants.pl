# Many tenants in one database, a schema each: installing them, and the minute
# at which the e-mail queues of all are due, with a mail each and without.
# MJ_TENANTS says how many.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes;

my $tenants = $ENV{MJ_TENANTS} || 20;
my $receiver = start_receiver();
my $node = new_node('tenants',
    shim => 1,
    extension => 0,
    conf => "motionify_jobs.smtp_url = '" . $receiver->url . "'\n"
      . "motionify_jobs.smtp_tls = off\n"
      . "motionify_jobs.linger = '10min'\n"
      . "fsync = off\n");

sub portal { return $node->safe_psql('portal', $_[0], extra_params => [ '-U', 'portal' ]); }

# The clock shows the next full minute, and what is due is waited for; returns
# how long that took.
my $minute = 0;
sub next_minute
{
    my $now = Time::HiRes::time();
    $minute ||= int($now / 60) * 60 + 3600;
    $minute += 60;
    shift_server_clock($node, $minute - $now + 0.001);
    portal("SELECT jobs.reschedule('tell', NULL)");
    my $at = "to_timestamp($minute)";
    local $MjTest::deadline = 300;
    poll_until($node, "SELECT count(*) = $tenants FROM jobs.history WHERE due_at = $at AND trigger = 'schedule' AND status <> 'running' AND job LIKE '%process_email_queue'", 't', 'portal');
    return Time::HiRes::time() - $now;
}

# kB that the executors have for themselves
sub memory
{
    my $kb = 0;
    foreach my $pid (worker_pids($node, 'executor', 'portal'))
    {
        my ($anonymous) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^RssAnon:\s*(\d+)/m;
        $kb = $anonymous if $anonymous > $kb;
    }
    return $kb;
}

$node->safe_psql('postgres', 'CREATE ROLE portal LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE portal OWNER portal');
$node->safe_psql('portal', "CREATE EXTENSION motionify_jobs; SELECT jobs.grant_usage('portal', 'user'), jobs.grant_usage('portal', 'mailer')");
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
        '-f', "$FindBin::Bin/../data/portal.sql" ], 'a portal is there');
portal(<<SQL);
CREATE PROCEDURE make_tenant(n integer) LANGUAGE plpgsql AS \$\$
DECLARE
	name text := 'tenant_' || n;
	t text;
BEGIN
	EXECUTE format('CREATE SCHEMA %I', name);
	FOR t IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('CREATE TABLE %I.%I (LIKE public.%I INCLUDING ALL)', name, t, t);
	END LOOP;
	EXECUTE format(\$q\$
		INSERT INTO %1\$I.users (id, email, name) VALUES (fixture.id('user', 1), '%1\$s\@example.org', 'User');
		INSERT INTO %1\$I.notifications (id, user_id, title, message) VALUES (fixture.id('notification', 1), fixture.id('user', 1), 'News of %1\$s', '');
		INSERT INTO %1\$I.notification_email_queue (id, user_id, notification_ids, scheduled_for)
			VALUES (fixture.id('batch', 1), fixture.id('user', 1), ARRAY[fixture.id('notification', 1)], now());
		\$q\$, name);
END
\$\$;
SELECT jobs.schedule('tell', NULL, 'SELECT 1');
SQL
$node->safe_psql('portal', "SELECT format('CALL make_tenant(%s)', n) FROM generate_series(1, $tenants) n \\gexec", extra_params => [ '-U', 'portal' ]);

# --- installing ------------------------------------------------------------------

my $from = Time::HiRes::time();
$node->safe_psql('portal', "SELECT format('SELECT FROM jobs.install_portal(%L, %L, %L)', 'tenant_' || n, 't' || n || '_', (ARRAY['UTC', 'Asia/Kolkata'])[1 + n % 2]) "
      . "FROM generate_series(1, $tenants) n \\gexec", extra_params => [ '-U', 'portal' ]);
my $each = (Time::HiRes::time() - $from) / $tenants;
diag(sprintf('%d tenants installed, %.0f ms each', $tenants, 1000 * $each));
is(portal("SELECT count(*), count(DISTINCT job_group) FROM jobs.status WHERE job LIKE 't%\\_%'"), 7 * $tenants . '|' . 3 * $tenants, 'seven jobs and three groups a tenant');
cmp_ok($each, '<', 2, 'no tenant takes long');

# --- a minute with work, one to warm up, one without --------------------------------

my $work = next_minute();
ok(wait_for(sub { portal("SELECT count(*) FROM jobs.outbox WHERE status = 'sent'") == $tenants }, 'all mails are sent', 300), 'each tenant\'s batch is mailed');
my %count;
$count{ $_->{rcpt_tos}[0] }++ foreach $receiver->wait_mails($tenants);
is(join(' ', map { "tenant_$_" } grep { ($count{"tenant_$_\@example.org"} // 0) != 1 } 1 .. $tenants), '', 'once');
next_minute();
my $idle = next_minute();
my $memory = memory();
diag(sprintf('all their e-mail queues: %.2f s with a mail each, %.2f s with nothing to do; an executor has %d kB', $work, $idle, $memory));
cmp_ok($memory, '<', 200 * 1024, 'no executor keeps the plans of all');
is(portal("SELECT DISTINCT concat(status, ' ', missed) FROM jobs.history WHERE job LIKE '%process_email_queue' AND due_at = to_timestamp($minute)"), 'succeeded 0', 'all at their minute');
is(portal("SELECT count(*) FROM jobs.history WHERE status NOT IN ('succeeded', 'skipped')"), '0', 'none fails');
cmp_ok($idle, '<', 20, 'the minute is not used up');
my ($states) = portal('SELECT ' . join(' + ', map { "(SELECT count(*) FROM tenant_$_.notification_email_queue WHERE status = 'sent')" } 1 .. ($tenants < 100 ? $tenants : 100)));
is($states, $tenants < 100 ? $tenants : 100, 'the batches are marked sent');

$node->stop;
done_testing();
