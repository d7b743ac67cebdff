# A simulated month of five portals in one database: the base schema, one in
# which every column has another form, one of which half is missing, and two
# tenants, one of them in another zone.  Every job runs at its times and finds
# what was planted for them; each batch is mailed once, and each overdue project
# once a day.

use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;
use Time::HiRes;

my $receiver = start_receiver();
# user 9 never gets a mail: for now, or for good where nothing tells them apart
$receiver->behave({ rcpt => { map { ("u9\@$_.example" => '451 4.3.0 ' . 'the mailbox is busy ' x 3) } qw(variant public partial tenant-a tenant-b) } });
my $node = new_node('month',
    shim => 1,
    extension => 0,
    conf => "motionify_jobs.smtp_url = '" . $receiver->url . "'\n"
      . "motionify_jobs.smtp_tls = off\n"
      . "motionify_jobs.log_runs = failures\n"
      . "motionify_jobs.linger = '10min'\n"
      . "motionify_jobs.history_retention = '100 days'\n"
      . "motionify_jobs.portal_url = 'https://portal.example/'\n");

my $begin = '2030-03-01 00:00:30Z';
my $end = '2030-03-31 23:59:00Z';
my %zone = (public => 'UTC', variant => 'UTC', partial => 'UTC', tenant_a => 'UTC', tenant_b => 'Europe/Berlin');
my %prefix = map { ($_ => $_ eq 'public' ? '' : "${_}_") } keys %zone;
my @portals = sort keys %zone;

sub sql { return $node->safe_psql('portal', $_[0]); }

# The server's clock shows an instant, in seconds since 1970, and goes on.
sub set_server_time
{
    my ($epoch) = @_;
    shift_server_clock($node, $epoch - Time::HiRes::time());
    return;
}

sub load
{
    my ($file, @variables) = @_;
    $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('portal') . ' user=portal',
            (map { ('-v', $_) } @variables), '-f', "$FindBin::Bin/../data/$file.sql" ], "$file is there @variables");
    return;
}

# --- the portals ----------------------------------------------------------------

set_server_time($node->safe_psql('postgres', "SELECT extract(epoch FROM '$begin'::timestamptz)::bigint"));
$node->safe_psql('postgres', 'CREATE ROLE portal LOGIN; ALTER ROLE portal SET datestyle = iso');
$node->safe_psql('postgres', 'CREATE DATABASE portal OWNER portal');
sql("CREATE EXTENSION motionify_jobs; SELECT jobs.grant_usage('portal', 'user'), jobs.grant_usage('portal', 'mailer')");
load('portal');
my $tables = sql("SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'");
$node->safe_psql('portal', 'TRUNCATE ' . join(', ', split / /, $tables), extra_params => [ '-U', 'portal' ]);
foreach my $portal (grep { $_ ne 'public' } @portals)
{
    $node->safe_psql('portal', "CREATE SCHEMA $portal; ALTER ROLE portal SET search_path = $portal", extra_params => [ '-U', 'portal' ]);
    load("portal_$portal") if $portal !~ /tenant/;
    $node->safe_psql('portal', join('; ', map { "CREATE TABLE $portal.$_ (LIKE public.$_ INCLUDING ALL)" } split / /, $tables),
        extra_params => [ '-U', 'portal' ]) if $portal =~ /tenant/;
}
$node->safe_psql('postgres', 'ALTER ROLE portal RESET search_path');
load('portal_month', "portal=$_", 'kind=' . (/variant|partial/ ? $_ : 'base'), 'start=2030-03-01Z') foreach @portals;

my $installed = $node->safe_psql('portal', join('; ', map {
            "SELECT * FROM jobs.install_portal('$_', prefix => '$prefix{$_}', timezone => " . ($zone{$_} eq 'UTC' ? 'NULL' : "'$zone{$_}'") . ')'
        } @portals), extra_params => [ '-U', 'portal' ]);
my %report = map { my @row = split /\|/; ($row[0] => "$row[1]: $row[2]") } split /\n/, $installed;
is(scalar(keys %report), 35, 'a row a job and portal');
is(scalar(grep { /^installed: bound to / } values %report), 30, 'most are installed');
is($report{process_email_queue}, 'installed: bound to notification_email_queue (error_message), notifications, users (name)', 'the base schema');
is($report{variant_process_email_queue}, 'installed: bound to notification_email_queue (last_error, retry_count, email_type, subject, body_text, body_html, ses_message_id), '
      . 'notifications (deleted_at, actor_name, project_id), users (full_name), user_notification_preferences (paused_until); states sending, abandoned', 'the other columns');
is($report{variant_check_overdue_payments}, 'installed: bound to project_payment_status (balance_paid_at, balance_amount, currency), payment_reminders (attempts, last_error), '
      . 'project_team, projects (project_name), users (full_name)', 'of reminders, too');
is($report{variant_cleanup_expired_password_reset_tokens}, 'installed: bound to password_reset_tokens; all at once, for it is no table', 'a view');
is($report{partial_cleanup_removed_team_members}, 'missing: not found in schema "partial": column project_team.removed_at', 'a missing column');
is($report{partial_cleanup_expired_password_reset_tokens}, 'missing: not found in schema "partial": table password_reset_tokens', 'a missing table');
is($report{partial_expire_deliverables}, q{missing: not found in schema "partial": value 'expired' of deliverables.status}, 'a state that is not allowed');
is($report{partial_check_overdue_payments}, 'missing: not found in schema "partial": '
      . join(', ', map { "a default of payment_reminders.$_, which must not be null" } qw(id invoice payment_id)) . ', column project_team.removed_at',
    'columns that nobody fills');
is(sql("SELECT string_agg(DISTINCT concat(job_group, ' ', timezone), ', ') FROM jobs.job WHERE name LIKE 'tenant_b%'"),
    'tenant_b_cleanup Europe/Berlin, tenant_b_email Europe/Berlin, tenant_b_payments Europe/Berlin', 'groups and zone of a tenant');

# --- the month ----------------------------------------------------------------------

# At each instant at which a daily or weekly job is due, and for a while at each
# minute: the clock is set, a commit tells the scheduler, and all that is due is
# waited for.
sql(<<SQL);
CREATE TABLE plan.due AS SELECT job, due_at FROM jobs.calendar('$begin', '$end'::timestamptz + interval '1 second');
SELECT jobs.schedule('tell', NULL, 'SELECT 1');
SQL
my @steps = split /\n/, sql(<<SQL);
SELECT extract(epoch FROM at)::bigint FROM (
	SELECT due_at FROM plan.due WHERE job NOT LIKE '%process_email_queue'
	UNION SELECT generate_series('2030-03-15 12:00Z', '2030-03-15 12:20Z', interval '1 minute')
	UNION SELECT timestamptz '$end') AS step (at) ORDER BY at
SQL
my $session = new_session($node, 'portal');
my $done = 'SELECT NOT EXISTS (SELECT FROM jobs.job_state WHERE next_run_at <= now()) AND NOT EXISTS (SELECT FROM jobs.queue WHERE run_at <= now())';
my $pay = <<'SQL';
UPDATE SCHEMA.project_payment_status s SET balance_paid = true FROM plan.project p
WHERE portal = 'SCHEMA' AND s.project_id = plan.id(p.nr) AND to_time <= now() AND NOT balance_paid
SQL
my $pay_all = join('; ', (map { $pay =~ s/SCHEMA/$_/gr } grep { !/variant|partial/ } @portals),
    "UPDATE variant.project_payment_status s SET balance_paid_at = to_time FROM plan.project p WHERE portal = 'variant' AND s.project_id = p.nr AND to_time <= now()");
my $started = Time::HiRes::time();
foreach my $step (@steps)
{
    set_server_time($step + 0.001);
    $session->query("$pay_all; SELECT jobs.reschedule('tell', NULL)");
    wait_for(sub { $session->query($done) eq 't' }, "what is due at $step is done") or last;
}
diag(sprintf('%d steps in %.1f s', scalar @steps, Time::HiRes::time() - $started));
diag($session->error) if $session->error;

# --- every job at its times -------------------------------------------------------------

my $differences = <<'SQL';
SELECT coalesce(a.job, b.job), coalesce(a.due_at, b.due_at), a.job IS NULL
FROM (SELECT * FROM plan.due WHERE job NOT LIKE '%process_email_queue') a
FULL JOIN (SELECT job, due_at FROM jobs.history WHERE status = 'succeeded' AND trigger = 'schedule' AND job NOT LIKE '%process_email_queue') b USING (job, due_at)
WHERE a.job IS NULL OR b.job IS NULL ORDER BY 1, 2 LIMIT 20
SQL
is(sql($differences), '', 'every daily and weekly job ran at its times');
is(sql("SELECT count(*) FROM jobs.history WHERE status NOT IN ('succeeded', 'skipped') AND job <> 'mail'"), '0', 'none failed');
is(sql("SELECT string_agg(DISTINCT n::text, ' ') FROM (SELECT job, sum(missed + (trigger = 'schedule')::integer) AS n FROM jobs.history
        WHERE job LIKE '%process_email_queue' GROUP BY job) AS s"), 31 * 1440 - 1, 'every minute of the e-mail queue is accounted for');
is(sql("SELECT count(*), count(DISTINCT due_at) FROM jobs.history WHERE job = 'tenant_a_process_email_queue' AND trigger = 'schedule'
        AND due_at BETWEEN '2030-03-15 12:01Z' AND '2030-03-15 12:20Z'"), '20|20', 'it runs each minute');

# what a run has to find became due since the one before
is(sql(<<'SQL'), '', 'each cleanup found what was planted for it');
SELECT h.job, h.due_at, h.result, count(r.at)
FROM (SELECT job, due_at, result, lag(due_at, 1, '-infinity') OVER (PARTITION BY job ORDER BY due_at) AS last_at
      FROM jobs.history WHERE status = 'succeeded') AS h
JOIN (SELECT DISTINCT portal, job FROM plan.row) AS j ON h.job = CASE j.portal WHEN 'public' THEN '' ELSE j.portal || '_' END || j.job
LEFT JOIN plan.row AS r ON r.portal = j.portal AND r.job = j.job AND r.at >= h.last_at AND r.at < h.due_at
GROUP BY h.job, h.due_at, h.result
HAVING h.result::int <> count(r.at)
ORDER BY 1, 2 LIMIT 20
SQL
is(sql("SELECT sum(result::int) > 2500 FROM jobs.history WHERE job LIKE '%cleanup%' OR job LIKE '%expire%'"), 't', 'that was a lot');

# --- every batch once ----------------------------------------------------------------------

my @mails = $receiver->mails;
my %batches;
$batches{$_}++ foreach map { $_->{text} =~ /(\w+) batch (\d+), news/ ? "$1 $2" : () } @mails;
is(join(' ', grep { $batches{$_} > 1 } sort keys %batches), '', 'no batch was mailed twice');
is(join(', ', sort keys %batches),
    join(', ', sort split /\n/, sql("SELECT portal || ' ' || nr FROM plan.batch WHERE outcome = 'mail' AND at < '$end'")), 'each one that can be');
foreach my $portal (@portals)
{
    my $id = $portal eq 'partial' ? 'b.nr' : 'plan.id(b.nr)';
    is(sql(<<SQL), '', "$portal: what became of its batches");
SELECT b.nr, outcome, q.*
FROM plan.batch b JOIN $portal.notification_email_queue q ON q.id = $id
WHERE portal = '$portal' AND (at < '$end' AND q.status::text <> CASE WHEN outcome IN ('mail', 'closed') THEN 'sent' ELSE outcome END
    OR at > '$end' AND q.status <> 'pending'
    OR q.status = 'sent' AND (q.sent_at < at OR q.sent_at > at + interval '16 hours'))
SQL
}
is(sql("SELECT string_agg(DISTINCT concat(status, ' ', retry_count, ' ', last_error), ', ') FROM variant.notification_email_queue WHERE status <> 'pending'"),
    'abandoned 3 451 4.3.0 the mailbox is busy the mailbo, failed 0 the user has no e-mail address, sent 0 , sent 0 closed without a mail: no notifications ',
    'attempts, and errors as long as they may be');
is(sql("SELECT count(*) FROM variant.notification_email_queue q LEFT JOIN jobs.outbox o ON o.message_id = q.ses_message_id
        WHERE (q.status = 'sent' AND last_error IS NULL) <> (o.mail_id IS NOT NULL)"), '0', "the provider's id");
my %subjects = map { ($_->{text} =~ /variant batch (\d+), news/ ? ($1 => $_) : ()) } @mails;
is("$subjects{2}{subject}, $subjects{3}{subject}, $subjects{5}{subject}", 'You have 3 new notifications, variant batch 3, news 1, Our own subject',
    'a digest, a single notification, one of the application');
unlike(join('', map { $_->{text} } @mails), qr/variant batch \d+, news 4/, 'no deleted notification is mailed');
like($subjects{2}{html}, qr{Ada &amp; Bob · variant film 3.*&lt;i&gt;&quot;Nice&quot;&lt;/i&gt; &amp; good\..*<a href="https://portal.example/projects/7\?a=1&amp;b=&quot;2&quot;" [^>]*>Open &lt;it&gt;</a>}s,
    'who, where, what, and where it leads');
is(scalar(grep { $_->{rcpt_tos}[0] =~ /^u7\@variant/ && $_->{subject} =~ /^You/ && $_->{date} =~ / (0\d|1[0-3]) Mar/ } @mails), 0, 'a digest is held back while it is paused');
ok(scalar(grep { $_->{rcpt_tos}[0] =~ /^u7\@variant/ && $_->{subject} =~ /batch/ && $_->{date} =~ / (0\d|1[0-3]) Mar/ } @mails), 'nothing else is');

# --- every reminder once -------------------------------------------------------------------

is(sql(<<'SQL'), '', 'each overdue project has a row a day, in its zone');
WITH row AS (
	SELECT 'public' AS portal, p.nr, r.* FROM plan.project p, public.payment_reminders r WHERE portal = 'public' AND project_id = plan.id(nr)
	UNION ALL SELECT 'tenant_a', p.nr, r.* FROM plan.project p, tenant_a.payment_reminders r WHERE portal = 'tenant_a' AND project_id = plan.id(nr)
	UNION ALL SELECT 'tenant_b', p.nr, r.* FROM plan.project p, tenant_b.payment_reminders r WHERE portal = 'tenant_b' AND project_id = plan.id(nr)
), due AS (
	SELECT portal, nr, due_at FROM plan.project AS p
	JOIN plan.due AS d ON d.job = CASE portal WHEN 'public' THEN '' ELSE portal || '_' END || 'check_overdue_payments'
		AND d.due_at > from_time AND (to_time IS NULL OR d.due_at < to_time)
	WHERE portal <> 'variant'
)
SELECT coalesce(due.portal, row.portal), coalesce(due.nr, row.nr), due_at, scheduled_for
FROM due FULL JOIN row ON row.portal = due.portal AND row.nr = due.nr AND row.status = 'SENT' AND date_trunc('minute', scheduled_for) = due_at
WHERE due_at IS NULL OR scheduled_for IS NULL
SQL
is(sql("SELECT string_agg(DISTINCT concat(status, ' ', attempts, ' ', last_error, ' ', recipient_email), ', ') FROM variant.payment_reminders"),
    'SENT 1  u1@variant.example, SENT 1  u2@variant.example, SENT 1  u3@variant.example', 'where there are attempts and an error, they are kept');
my (%reminders, %wanted);
$reminders{"$_->[0] $_->[1]"}++ foreach map { $_->{subject} =~ /^Payment/ && $_->{text} =~ /"(\w+) film (\d+)"/ ? [ $1, $2 ] : () } @mails;
%wanted = split /[|\n]/, sql(<<'SQL');
SELECT portal || ' ' || nr, count(*) FROM plan.project
JOIN plan.due ON job = CASE portal WHEN 'public' THEN '' ELSE portal || '_' END || 'check_overdue_payments' AND due_at > from_time AND (to_time IS NULL OR due_at < to_time)
GROUP BY 1
SQL
is_deeply(\%reminders, \%wanted, 'and a mail a day');
is(sql("SELECT sum(result::int) FROM jobs.history WHERE job LIKE '%check_overdue_payments'"), eval { my $n = 0; $n += $_ foreach values %wanted; $n }, 'which the jobs count');
my %amount = map { $_->{text} =~ /"variant film (\d)".*The balance(.*) has not/ ? ($1 => $2) : () } @mails;
is(join(',', map { $amount{$_} // '' } 1, 3, 4, 6), ', of $123,456.78, of ₹1,23,456.78, of ₹1,23,456.78', 'the amount, where its currency is known');

# --- switches of a tenant, and its end ------------------------------------------------------------

sql("ALTER DATABASE portal SET motionify_jobs.disabled_groups = 'tenant_a_cleanup'; SELECT jobs.reload()");
is(sql("SELECT string_agg(job, ' ' ORDER BY job) FROM jobs.status WHERE why_not LIKE '%disabled_groups%'"),
    join(' ', map { "tenant_a_$_" } qw(cleanup_expired_email_verification_tokens cleanup_expired_password_reset_tokens cleanup_expired_sessions cleanup_removed_team_members expire_deliverables)),
    'a group of one tenant is switched off by the setting');
is(sql("SELECT jobs.pause_group('tenant_b_payments'), (SELECT string_agg(job, ' ') FROM jobs.status WHERE paused)"), '1|', 'or by a function');
is(sql("SELECT string_agg(job, ' ') FROM jobs.status WHERE paused"), 'tenant_b_check_overdue_payments', 'alone');
is($node->safe_psql('portal', "SELECT count(*) FROM jobs.uninstall_portal('tenant_b', 'tenant_b_') WHERE status = 'uninstalled'", extra_params => [ '-U', 'portal' ]), '7', 'a tenant leaves');
is(sql("SELECT count(*) FILTER (WHERE name LIKE 'tenant_b%'), count(*) FILTER (WHERE name LIKE 'tenant_a%'),
        (SELECT count(*) FROM pg_proc WHERE pronamespace = 'tenant_b'::regnamespace) FROM jobs.job"), '0|7|0', 'the other one stays');

$session->quit;
$node->stop;
done_testing();
