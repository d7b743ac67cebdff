# Copies of a database or a server: a restored dump, a copy made with TEMPLATE
# and a promoted base backup that says what it is run and send nothing before
# they are told to; what goes on by itself is a server moved by pg_upgrade.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Cwd qw(abs_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $maildir = abs_path(PostgreSQL::Test::Utils::tempdir());
my $node = new_node('main', streaming => 1, conf => <<"CONF");
motionify_jobs.smtp_url = 'file://$maildir'
motionify_jobs.mail_from = 'hello\@example.com'
CONF

# Mails with a subject that were sent, by anybody.
sub sent
{
    my ($subject) = @_;
    return scalar grep { slurp_bytes($_) =~ /^Subject: \Q$subject\E\r$/m } glob("$maildir/*.eml");
}

sub at_work
{
    my ($n, $db) = @_;
    return $n->safe_psql($db || 'postgres', q{SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type LIKE 'motionify_jobs%'});
}

my $ran = q{SELECT count(*) FROM jobs.history WHERE status = 'succeeded'};

# What a database has when it is copied: jobs, a run that is at work, one that
# waits to be tried again, and a mail for later; all is due in the copy as well.
sub furnish
{
    my ($db, $mail_at) = @_;
    $node->safe_psql($db, <<SQL);
CREATE TABLE effect (at timestamptz DEFAULT clock_timestamp());
SELECT jobs.schedule('every second', '* * * * * *', 'INSERT INTO effect DEFAULT VALUES'),
       jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)'),
       jobs.schedule('fails', NULL, 'SELECT 1 / 0', max_attempts => 2, backoff_base => '1 h'),
       jobs.schedule('at start', '\@reboot', 'INSERT INTO effect DEFAULT VALUES');
SELECT jobs.run_now('sleeps', wait => false), jobs.run_now('fails', wait => false);
SELECT jobs.send_mail('a\@example.com', 'from $db', 'text', send_at => $mail_at);
SQL
    ok(poll_until($node, q{SELECT (SELECT count(*) FROM jobs.history WHERE job = 'sleeps' AND status = 'running')
        + (SELECT count(*) FROM jobs.queue WHERE failures = 1) + (SELECT least(count(*), 1) FROM effect)}, '3', $db),
        "$db is at work");
    return;
}

# A mail in the copy is due as well when it is the original that sends it.
sub original_sends
{
    my ($db) = @_;
    $node->safe_psql($db, q{UPDATE jobs.queue SET run_at = now() WHERE lane = 0});
    $node->safe_psql($db, q{SELECT jobs.run_now('fails', wait => false)});    # the scheduler looks
    ok(poll_until($node, q{SELECT status FROM jobs.outbox}, 'sent', $db), "$db sends its mail");
    is(sent("from $db"), 1, 'once');
    return;
}

# Nothing runs in a copy; the original has gone on for two seconds meanwhile.
sub copy_is_silent
{
    my ($copy, $copy_db, $original_db, $what) = @_;
    my $had = $copy->safe_psql($copy_db, 'SELECT count(*) FROM effect');
    my $before = $node->safe_psql($original_db, 'SELECT count(*) FROM effect');
    poll_until($node, "SELECT count(*) >= $before + 2 FROM effect", 't', $original_db);
    is($copy->safe_psql($copy_db, 'SELECT count(*) FROM effect'), $had, "$what runs nothing, while the original goes on");
    is(sent("from $original_db"), 1, "$what sends nothing");
    return;
}

# After adopt() it runs, and what had waited there is the original's.
sub copy_is_adopted
{
    my ($copy, $db, $original_db, $what) = @_;
    is($copy->safe_psql($db, 'SELECT jobs.adopt()'), 4, "$what is adopted");
    my $had = $copy->safe_psql($db, 'SELECT count(*) FROM effect');
    ok(poll_until($copy, "SELECT count(*) > $had FROM effect", 't', $db), "$what runs its jobs then");
    is($copy->safe_psql($db, q{SELECT count(*) FROM jobs.queue WHERE attempt > 0 AND job_id IN
        (SELECT job_id FROM jobs.job WHERE name IN ('sleeps', 'fails'))}), 0, 'but not what the original had in hand');
    is(sent("from $original_db"), 1, 'nor are its mails sent');
    return;
}

# --- CREATE DATABASE TEMPLATE, pg_dump and pg_restore --------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', 'CREATE EXTENSION motionify_jobs');
furnish('original', q{now() + interval '1 h'});
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('original') ], 'pg_dump -Fc');
$node->safe_psql('postgres', 'CREATE DATABASE template_copy TEMPLATE original');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
# what waits in the copy is due, too
$node->safe_psql('template_copy', q{UPDATE jobs.queue SET run_at = now() WHERE lane = 0});
original_sends('original');
copy_is_silent($node, 'template_copy', 'original', 'a copy made with TEMPLATE');
copy_is_silent($node, 'restored', 'original', 'a restored dump');
my $err;
$node->psql('template_copy', q{CALL jobs.deliver_mail()}, stderr => \$err);
is(sent('from original'), 1, 'deliver_mail() does not send it either');
ok(wait_for(sub { at_work($node, 'template_copy') + at_work($node, 'restored') == 0 }, 'workers leave'), 'copies cost no connection');
copy_is_adopted($node, 'template_copy', 'original', 'a copy made with TEMPLATE');
is($node->safe_psql('template_copy', q{SELECT string_agg(status, ',') FROM jobs.outbox}), 'cancelled', 'its mail is cancelled');
copy_is_adopted($node, 'restored', 'original', 'a restored dump');
$node->safe_psql('postgres', 'DROP DATABASE template_copy');
$node->safe_psql('postgres', 'DROP DATABASE restored');
$node->safe_psql('postgres', 'DROP DATABASE original');

# --- a base backup, promoted ------------------------------------------------------------

furnish('postgres', q{now() + interval '1 h'});
$node->backup('backup');

sub promoted
{
    my ($name, $conf) = @_;
    my $copy = PostgreSQL::Test::Cluster->new($name);
    $copy->init_from_backup($node, 'backup', has_streaming => 1);
    $copy->append_conf('postgresql.conf', $conf);
    $copy->start;
    $copy->promote;
    $copy->safe_psql('postgres', q{UPDATE jobs.queue SET run_at = now() WHERE lane = 0});
    return $copy;
}

my $disabled = promoted('disabled', 'motionify_jobs.enabled = off');
my $staging = promoted('staging', "motionify_jobs.instance = 'staging'");
original_sends('postgres');
ok(wait_for(sub { log_count($staging, qr/database "postgres" is a copy of another one/) }, 'a line of the log'),
    'a promoted base backup with another instance says that it is a copy');
copy_is_silent($disabled, 'postgres', 'postgres', 'a promoted base backup with enabled = off');
copy_is_silent($staging, 'postgres', 'postgres', 'a promoted base backup with another instance');
$staging->psql('postgres', q{SELECT jobs.run_now('fails')}, stderr => \$err);
like($err, qr/is a copy of another one.*jobs\.adopt/s, 'its run_now() says why');
$disabled->psql('postgres', q{SELECT jobs.run_now('fails')}, stderr => \$err);
like($err, qr/switched off.*motionify_jobs\.enabled/s, 'that of the other one too');
ok(wait_for(sub { at_work($disabled) + at_work($staging) == 0 }, 'workers leave'), 'neither has workers');
is($staging->safe_psql('postgres', q{SELECT count(*) FROM jobs.status WHERE why_not IS NULL}), 0, 'the status tells of all jobs that they will not run');
copy_is_adopted($staging, 'postgres', 'postgres', 'a promoted base backup with another instance');
$staging->restart;
my $had = $staging->safe_psql('postgres', 'SELECT count(*) FROM effect');
ok(poll_until($staging, "SELECT count(*) > $had + 1 FROM effect"), 'and is its own from then on');
$staging->stop;
# who has nothing but enabled is the same database, once it is switched on
$disabled->append_conf('postgresql.conf', "motionify_jobs.enabled = on\nmotionify_jobs.smtp_url = ''");
$disabled->reload;
$had = $disabled->safe_psql('postgres', 'SELECT count(*) FROM effect');
ok(poll_until($disabled, "SELECT count(*) > $had + 1 FROM effect"), 'enabled = on: it goes on as if it were the original');
$disabled->stop;

# --- pg_upgrade --------------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT jobs.send_mail('a@example.com', 'after the upgrade', 'text', send_at => now() + interval '1 h')});
$had = $node->safe_psql('postgres', "SELECT max(run_id) FROM jobs.history");
$node->stop;
foreach my $mode ('copy', 'link')
{
    my $new = PostgreSQL::Test::Cluster->new("upgraded_$mode");
    $new->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
    $new->append_conf('postgresql.conf', preload_conf());
    $new->append_conf('postgresql.conf', "motionify_jobs.smtp_url = 'file://$maildir'\nmotionify_jobs.mail_from = 'hello\@example.com'");
    my $bin = $node->config_data('--bindir');
    {
        local $ENV{PGHOST};    # pg_upgrade has its servers' sockets where it is told to
        delete $ENV{PGHOST};
        chdir PostgreSQL::Test::Utils::tempdir();
        command_ok([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
                '-s', $new->host, '-p', $node->port, '-P', $new->port, ($mode eq 'link' ? '--link' : ()) ], "pg_upgrade, $mode");
    }
    $new->start;
    is($new->safe_psql('postgres', q{SELECT why_not FROM jobs.status WHERE job = 'every second'}), '', 'what was upgraded is itself');
    cmp_ok($new->safe_psql('postgres', "SELECT count(*) FROM jobs.history WHERE run_id <= $had"), '>', 0, 'its history is there');
    my $count = $new->safe_psql('postgres', 'SELECT count(*) FROM effect');
    ok(poll_until($new, "SELECT count(*) > $count + 1 FROM effect"), 'its jobs go on by themselves');
    ok(poll_until($new, q{SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE job = 'sleeps'}, 'cancelled,running'),
        'also the run that was at work');
    is($new->safe_psql('postgres', q{SELECT count(*) FROM jobs.queue WHERE failures = 1}), 1, 'and the one that waits to be tried again');
    $new->safe_psql('postgres', q{UPDATE jobs.queue SET run_at = now() WHERE lane = 0; SELECT jobs.reload()});
    ok(poll_until($new, q{SELECT status FROM jobs.outbox WHERE subject = 'after the upgrade'}, 'sent'), 'its mail is sent');
    is($new->safe_psql('postgres', q{DROP EXTENSION motionify_jobs; CREATE EXTENSION motionify_jobs; SELECT jobs.schedule('new', NULL, 'SELECT 1')}), 1,
        'and the extension can be dropped and made again') if $mode eq 'link';
    $new->stop;
    is(log_count($new, qr/PANIC|terminated by signal/), 0, 'no process died');
}

done_testing();
