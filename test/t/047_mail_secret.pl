# The SMTP password is nowhere but in its file and on its way to the server: not
# in logs, however much they say, nor in errors, views, settings, dumps, or
# any file of the server; also when the SMTP server repeats what it was sent.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $canary = 'canary-' . join '', map { ('a' .. 'z')[ rand 26 ] } 1 .. 12;
my %forms = (
    plain => $canary,
    'AUTH PLAIN' => encode_base64("\0robot\0$canary", ''),
    'AUTH LOGIN' => encode_base64($canary, ''));
my $password_file = PostgreSQL::Test::Utils::tempdir() . '/password';
append_to_file($password_file, "$canary\n");
chmod 0600, $password_file;

my ($cert, $key, $ca) = make_certificate();
my $server = start_receiver(scripted => 1, cert => [ $cert, $key ], auth => "robot:$canary");
my $node = new_node('main', conf => <<"CONF");
motionify_jobs.smtp_url = 'smtp://localhost:@{[ $server->port ]}'
motionify_jobs.smtp_ca_file = '$ca'
motionify_jobs.smtp_user = 'robot'
motionify_jobs.smtp_password_file = '$password_file'
motionify_jobs.smtp_timeout = '2s'
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.mail_retry_delay = '1s'
motionify_jobs.log_runs = all
log_statement = all
log_error_verbosity = verbose
CONF

my $seen = '';    # all that clients were told
my $log = '';     # and all that the servers' logs have said

sub ask
{
    my ($level, @statements) = @_;
    foreach my $statement (@statements)
    {
        $node->psql('postgres', "\\set VERBOSITY verbose\nSET client_min_messages = $level;\n$statement",
            stdout => \my $out, stderr => \my $err);
        $seen .= "$statement\n$out\n$err\n";
    }
    return;
}

sub behave
{
    my (%at) = @_;
    $server->behave({ id => rand, at => \%at });
    return;
}

# new connections: the executor's is kept
sub reconnect
{
    $node->safe_psql('postgres', 'SELECT jobs.reload()');
    wait_for(sub { !worker_pids($node, 'executor') }, 'no executor is left');
    return;
}

my @looks = (
    'SELECT * FROM jobs.check_mail()',
    "SELECT * FROM jobs.check_mail('a\@example.com')",
    'SELECT * FROM jobs.doctor()',
    'CALL jobs.deliver_mail()',
    'CALL jobs.deliver_mail(0)');

# --- it is sent, and provoked in all ways ---------------------------------------------

$node->safe_psql('postgres', "SELECT jobs.send_mail('a\@example.com', 'well', 'text')");
ok(poll_until($node, 'SELECT status FROM jobs.outbox', 'sent'), 'a mail is sent with the password');
is((map { $_->{auth} } $server->mails)[0], 'robot', 'which the server wants');

my %trouble = (
    'AUTH refused' => { AUTH => '535 5.7.8 credentials invalid' },
    'AUTH refused, with what was sent' => { AUTH => "535 5.7.8 no such: $canary $forms{'AUTH PLAIN'}" },
    'AUTH refused, in several lines' => { AUTH => "535-5.7.8 $forms{'AUTH LOGIN'}\r\n535 5.7.8 $canary" },
    'AUTH refused for now' => { AUTH => { do => "454 4.7.0 $canary", times => 2 } },
    'AUTH: garbage' => { AUTH => 'garbage' },
    'AUTH: closed' => { AUTH => 'close' },
    'MAIL refused, with what was sent' => { MAIL => "550 5.7.1 not for $canary $forms{'AUTH PLAIN'}" },
    'dot refused, with what was sent' => { dot => "554 5.7.1 not for $canary $forms{'AUTH LOGIN'}" });
foreach my $level (map { "debug$_" } 1 .. 5)
{
    $node->append_conf('postgresql.conf', "log_min_messages = $level");
    $node->reload;
    poll_until($node, 'SHOW log_min_messages', $level);
    foreach my $name (sort keys %trouble)
    {
        # all of them where the log says most, else the plainest
        next if $level ne 'debug5' && $name ne 'AUTH refused, with what was sent';
        reconnect();
        behave(%{ $trouble{$name} });
        my $id = $node->safe_psql('postgres', "SELECT jobs.send_mail('a\@example.com', 'trouble', 'text')");
        poll_until($node, "SELECT status <> 'queued' OR smtp_reply IS NOT NULL FROM jobs.outbox WHERE mail_id = $id");
        ask($level, @looks);
        behave();
        $node->safe_psql('postgres', 'SELECT jobs.resume_mail()');
        poll_until($node, "SELECT count(*) FROM jobs.queue", '0');
    }
}
chmod 0644, $password_file;
ask('debug5', @looks);
chmod 0600, $password_file;
append_to_file($password_file, "a second line\n");
ask('debug5', @looks);

ask('debug5', 'SELECT * FROM pg_settings', 'SHOW ALL', 'SELECT * FROM pg_file_settings', 'SELECT * FROM pg_db_role_setting',
    'SELECT * FROM pg_stat_activity',
    map { "SELECT * FROM jobs.$_" } split /\n/, $node->safe_psql('postgres',
        "SELECT relname FROM pg_class WHERE relnamespace = 'jobs'::regnamespace AND relkind IN ('r', 'v')"));
$seen .= `pg_dump -d '@{[ $node->connstr('postgres') ]}' 2>&1`;
is($?, 0, 'pg_dump');
$seen .= `pg_dumpall -d '@{[ $node->connstr('postgres') ]}' 2>&1`;

# --- it is nowhere ------------------------------------------------------------------------

$log = slurp_file($node->logfile);
like($log, qr/DEBUG/, 'the log says a lot');
like($log, qr/535 5\.7\.8/, 'also of the trouble');
like($seen, qr/robot/, 'and clients were told the user');
$node->stop;
foreach my $form (sort keys %forms)
{
    ok(index($seen, $forms{$form}) < 0, "$form: not in errors, views, settings, or a dump");
    ok(index($log, $forms{$form}) < 0, "$form: not in the log");
    my @files = split /\n/, `grep -rlF -e '$forms{$form}' '@{[ $node->data_dir ]}' 2>/dev/null`;
    is("@files", '', "$form: in no file of the server, the WAL included");
}
done_testing();
