# MjMailKill - the kill test of mail: clients keep sending mails to a real SMTP
# server, while the process that sends them is killed, at random moments and at
# fault points, or the whole server is; at the end what the clients were promised
# is compared with what the SMTP server has taken.
#
# A client notes what it is about to send ("try"), the mail_id that it got within
# its transaction ("intent"), and that its COMMIT returned ("ack").  What was
# acknowledged must be taken at least once; what was only tried may be.  A mail
# is taken twice only if its sender died after that and before it had recorded it,
# and then with the same Message-ID.
#
# The random moments are drawn from a seed, which is printed; MJ_SEED repeats
# the plan (not the timing of the processes).

package MjMailKill;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(shuffle sum0 max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use MjCrash;
use MjTest;

our @EXPORT = qw(mail_kill_test);

# Where the sender dies, in the order in which a mail meets the points.
my @points = qw(mailer-claimed mailer-sent mailer-before-record mailer-recorded);

# Mails in a transaction, and transactions that a client's psql makes before it
# connects anew.
my ($per_transaction, $per_connection) = (10, 20);

# The processes that send mail.
my $sender = qr/motionify_jobs executor of mail/;

my ($node, $server, $dir, @clients, @heal_ms);

# mail_kill_test(cycles => N, clients => N, seed => N): the whole test; returns
# how many cycles were a kill -9.
sub mail_kill_test
{
    my (%opt) = @_;
    begin_plan($opt{seed});
    _start();
    my @plan = _plan($opt{cycles});
    my $begin = time;
    @clients = map { my $number = $_; start_client(sub { _client($number) }) } 1 .. $opt{clients} || 2;
    my $survived = 1;
    foreach my $step (@plan)
    {
        $survived &&= _cycle($step);
    }
    ok($survived, scalar(@plan) . ' cycles: mail is sent again after each');
    _drain();
    _judge();
    note(sprintf '%d cycles in %d s; mail is sent again after at most %d ms, %d ms on average',
        scalar @plan, time - $begin, max(0, @heal_ms), sum0(@heal_ms) / (@heal_ms || 1));
    my %cycles;
    $cycles{$_}++ foreach @plan;
    note("cycles: $_: $cycles{$_}") foreach sort keys %cycles;
    $node->stop;
    return scalar grep { $_ ne 'end sender' } @plan;
}

sub _sql { return $node->safe_psql('postgres', $_[0]); }

sub _start
{
    $dir = PostgreSQL::Test::Utils::tempdir();
    $server = start_receiver(scripted => 1);
    my $url = $server->url;
    $node = new_node('main', testing => 1, conf => <<CONF);
fsync = off
max_wal_size = '4GB'
motionify_jobs.log_runs = none
motionify_jobs.smtp_url = '$url'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_max_connections = 4
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.mail_retry_delay = '1s'
CONF
    @heal_ms = ();
    return;
}

# --- clients ------------------------------------------------------------------

# A client: sends mails until it is stopped.
sub _client
{
    my ($number) = @_;
    my $id = $number * 1_000_000;
    run_client($node, $dir, $number, sub { return map { _transaction(map { ++$id } 1 .. $per_transaction) } 1 .. $per_connection });
    return;
}

# The script of a transaction that sends some mails.
sub _transaction
{
    my (@ids) = @_;
    return (
        map({ "\\echo try $_\n" } @ids),
        "BEGIN;\n",
        map({ <<SQL } @ids), "COMMIT;\n", map({ "\\echo ack $_\n" } @ids), "SELECT pg_sleep(0.1);\n");
SELECT jobs.send_mail('a$_\@example.com', 'mail $_', 'text') AS mail_id \\gset
\\echo intent $_ :mail_id
SQL
}

# --- cycles -------------------------------------------------------------------

# Each kind once, then at random: mostly the sender is killed, somewhere.
sub _plan
{
    my ($cycles) = @_;
    my @plan = ('kill sender', (map { "point $_" } @points), 'kill server');
    push @plan, 'end sender' if $cycles > @plan;
    while (@plan < $cycles)
    {
        my $draw = rand;
        push @plan,
            $draw < 0.50 ? 'kill sender'
          : $draw < 0.90 ? "point $points[rand @points]"
          : $draw < 0.95 ? 'end sender'
          :                'kill server';
    }
    return shuffle(@plan[ 0 .. $cycles - 1 ]);
}

# One cycle; false if mail was not sent again.  A mail that was in hand in a
# crash is sent before the next one, for the third would be its last.
sub _cycle
{
    my ($step) = @_;
    my ($how, $what) = split ' ', $step;
    my $done =
        $how eq 'point'    ? _meet_point($what)
      : $what eq 'server'  ? _kill_server()
      :                      _signal_sender($how eq 'kill' ? 'KILL' : 'TERM');
    my $since = Time::HiRes::time();
    my $before = _taken();
    my $healed = $done && wait_for(
        sub {
            my $crashed = try_sql($node, 'SELECT count(*) FROM jobs.queue WHERE lane = 0 AND crashes > 0');
            return defined $crashed && $crashed eq '0' && _taken() > $before;
        },
        "mail is sent after \"$step\"");
    push @heal_ms, 1000 * (Time::HiRes::time() - $since);
    diag(log_tail($node, 60)) unless $healed;
    return $healed;
}

# How much the SMTP server has taken, by the length of its log.
sub _taken { return -s $server->dir . '/mails.jsonl' || 0; }

sub _signal_sender
{
    my ($signal) = @_;
    random_moment(100_000);
    return signal_process($node, $sender, $signal);
}

sub _meet_point
{
    my ($point) = @_;
    random_moment(100_000);
    set_fault($node, $point, 'crash:once');
    return wait_for(sub { fault_hit($node, $point) }, "a sender comes by $point");
}

sub _kill_server
{
    random_moment(100_000);
    return kill_postmaster($node);
}

# --- the end ------------------------------------------------------------------

# The clients stop, and what is queued is sent.
sub _drain
{
    stop_clients($dir, @clients);
    clear_fault($node, $_) foreach @points;
    ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'no mail is left in the queue');
    return;
}

# What the clients noted, and what the SMTP server has taken, become tables.
sub _load
{
    my %rows;
    foreach my $line (map { split /\n/, content($_) } glob "$dir/log.*")
    {
        my ($what, @values) = split ' ', $line;
        push @{ $rows{$what} }, join("\t", @values) if defined $what;
    }
    foreach my $mail ($server->mails)
    {
        push @{ $rows{taken} }, "$1\t$mail->{message_id}" if $mail->{subject} =~ /^mail (\d+)$/;
    }
    _sql(<<'SQL');
CREATE TABLE try (id bigint);
CREATE TABLE intent (id bigint, mail_id bigint);
CREATE TABLE ack (id bigint);
CREATE TABLE taken (id bigint, message_id text);
SQL
    copy_rows($node, $dir, $_, @{ $rows{$_} }) foreach keys %rows;
    return;
}

sub _judge
{
    _load();
    my $twice = 'SELECT id, count(*) AS copies FROM taken GROUP BY id HAVING count(*) > 1';
    note('acknowledged: ' . _sql('SELECT count(*) FROM ack') . ', in doubt: '
          . _sql('SELECT (SELECT count(*) FROM try) - (SELECT count(*) FROM ack)')
          . ', taken: ' . _sql('SELECT count(DISTINCT id) FROM taken')
          . ', taken more than once: ' . _sql("SELECT count(*) FROM ($twice) t")
          . ', attempts: ' . _sql("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
              FROM (SELECT status, count(*) AS n FROM jobs.mail_attempts GROUP BY status) s"));
    cmp_ok(_sql('SELECT count(*) FROM ack'), '>', 100, 'clients were promised something');
    none($node, 'SELECT id FROM ack EXCEPT SELECT id FROM taken', 'lost: 0 of the mails that were acknowledged');
    none($node, 'SELECT id FROM taken EXCEPT SELECT id FROM try', 'unexpected: 0 mails');
    none($node, 'SELECT id FROM taken EXCEPT SELECT id FROM intent', 'nothing was sent that no transaction had queued');
    none($node, "SELECT mail_id, status FROM jobs.outbox WHERE status <> 'sent'", 'every mail is recorded as sent');
    none($node, 'SELECT mail_id FROM jobs.outbox o WHERE NOT EXISTS
             (SELECT FROM taken t WHERE t.message_id = o.message_id)', 'none that the SMTP server has not taken');
    none($node, 'SELECT id FROM taken GROUP BY id HAVING count(DISTINCT message_id) > 1',
        'copies of a mail have the same Message-ID');
    none($node, "SELECT t.id FROM ($twice) t JOIN intent i USING (id) WHERE NOT EXISTS
             (SELECT FROM jobs.mail_attempts a WHERE a.mail_id = i.mail_id AND a.status <> 'sent')",
        'duplicates: only of mails whose sender died before it had recorded them');
    none($node, "SELECT t.id FROM ($twice) t JOIN intent i USING (id) WHERE t.copies - 1 >
             (SELECT count(*) FROM jobs.mail_attempts a WHERE a.mail_id = i.mail_id AND a.status <> 'sent')",
        'and one each time');
    strange_ends($node);
    return;
}

1;
