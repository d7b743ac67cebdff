# A fast shutdown takes two seconds at most, whatever runs; and after it all of
# that goes on, with no failure counted.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $limit = 2;
my @children;
END { kill 'KILL', @children if @children; }

my $node = new_node('main', conf => <<'CONF');
max_worker_processes = 24
motionify_jobs.max_workers = 12
motionify_jobs.mail_from = 'hello@example.com'
motionify_jobs.smtp_tls = off
motionify_jobs.mail_retry_delay = '1s'
CONF

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub setting
{
    my ($name, $value) = @_;
    sql("ALTER SYSTEM SET motionify_jobs.$name = '$value'");
    $node->reload;
    return poll_until($node, "SHOW motionify_jobs.$name", $value);
}

# SMTP servers that never answer: one that does not even accept what the kernel
# has connected, one to which no connection is made.
sub silent_server
{
    my ($backlog) = @_;
    my $socket = IO::Socket::INET->new(Listen => $backlog, LocalAddr => '127.0.0.1') or die "cannot listen: $!";
    return $socket;
}
sub full_server
{
    my $socket = silent_server(1);
    my @clients;
    # until the kernel lets no more in
    for (1 .. 8)
    {
        my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $socket->sockport, Timeout => 0.2) or last;
        push @clients, $client;
    }
    return ($socket, @clients);
}

# Stops the server; it has taken so long, and nobody had to be killed.
sub stops_in_time
{
    my ($what) = @_;
    my $from = -s $node->logfile;
    my $start = clock_gettime(CLOCK_MONOTONIC);
    $node->stop('fast');
    my $took = clock_gettime(CLOCK_MONOTONIC) - $start;
    cmp_ok($took, '<', $limit, sprintf('%s: stopped in %.2f s', $what, $took));
    is(log_count($node, qr/SIGKILL|terminated by signal|PANIC/, $from), 0, "$what: nobody was killed");
    ok(log_count($node, qr/database system is shut down/, $from), "$what: in good order");
    return;
}

my $states = q{SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE job = '%s'};

# --- all at once ------------------------------------------------------------------------

my $silent = silent_server(64);
setting('smtp_url', 'smtp://127.0.0.1:' . $silent->sockport);
sql(<<'SQL');
CREATE TABLE held (n int);
CREATE TABLE t (n int);
CREATE FUNCTION burn() RETURNS void LANGUAGE plpgsql AS $$ DECLARE i bigint := 0; BEGIN
  PERFORM set_config('application_name', 'burns', false);
  LOOP i := i + 1; END LOOP;
END $$;
CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  LOOP
    BEGIN
      PERFORM set_config('application_name', 'stubborn', false);
      PERFORM pg_sleep(60);
    EXCEPTION WHEN OTHERS OR query_canceled THEN NULL;
    END;
  END LOOP;
END $$;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN
  LOOP INSERT INTO t VALUES (1); COMMIT; PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT jobs.schedule('sleeps', NULL, 'SELECT pg_sleep(3600)'),
       jobs.schedule('burns', NULL, 'SELECT burn()'),
       jobs.schedule('holds a lock', NULL, 'LOCK TABLE held; SELECT pg_sleep(3600)'),
       jobs.schedule('waits for a lock', NULL, 'LOCK TABLE held; SELECT pg_sleep(3600)'),
       jobs.schedule('is stubborn', NULL, 'SELECT stubborn()'),
       jobs.schedule('commits', NULL, 'CALL commits()'),
       jobs.schedule('ping', NULL, 'SELECT 1', overlap => 'allow'),
       jobs.schedule('has a caller', NULL, 'SELECT pg_sleep(3600)');
SQL
my @jobs = ('sleeps', 'burns', 'holds a lock', 'waits for a lock', 'is stubborn', 'commits', 'has a caller');
my $names = join(', ', map { "'$_'" } @jobs);

# history that is old, and takes long to delete
sql(q{INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, finished_at, status)
    SELECT nextval('jobs.run_id_seq'), 1, 1, 'old', 'postgres', 10, 'manual', t, t, 'succeeded'
    FROM generate_series(1, 5000) i, LATERAL (SELECT now() - interval '40 days' - i * interval '1 s' AS t) l;
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_catalog.pg_sleep(0.005); RETURN OLD; END';
    CREATE TRIGGER take_long BEFORE DELETE ON jobs.run_log FOR EACH ROW EXECUTE FUNCTION take_long()});
my $prunes = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'motionify_jobs scheduler' AND wait_event = 'PgSleep'};

sub start_all
{
    sql("SELECT jobs.run_now('$_', wait => false)") foreach 'sleeps', 'burns', 'holds a lock', 'is stubborn', 'commits';
    poll_until($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND granted}, '1');
    sql("SELECT jobs.run_now('waits for a lock', wait => false)");
    return;
}

# All of it is under way.
sub all_at_work
{
    poll_until($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass}, '2');
    poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('burns', 'stubborn')}, '2');
    poll_until($node, "SELECT count(*) FROM jobs.history WHERE status = 'running' AND job IN ($names)", scalar @jobs);
    return;
}

start_all();
my $caller = new_session($node);
$caller->send(q{SELECT status FROM jobs.run_now('has a caller')});
sql(q{SELECT jobs.send_mail('a@example.com', 'hangs', 'text')});
poll_until($node, q{SELECT status FROM jobs.outbox WHERE subject = 'hangs'}, 'sending');
my $sender = new_session($node);
$sender->send(q{SELECT jobs.send_mail('a@example.com', 'hangs too', 'text')});
$sender->result;
$sender->send(q{CALL jobs.deliver_mail()});
all_at_work();
# a scheduler that starts prunes
kill_worker($node, 'scheduler', 'TERM');
ok(poll_until($node, $prunes, '1'), 'a scheduler is in the midst of pruning');
stops_in_time('everything at once');
eval { $caller->{harness}->finish };
like($caller->error, qr/terminating connection|server closed the connection/, 'who waits for a run is told');
eval { $sender->{harness}->finish };

$silent->close;
my $receiver = start_receiver();
$node->append_conf('postgresql.auto.conf', "motionify_jobs.smtp_url = '" . $receiver->url . "'");
$node->start;
sql('DROP TRIGGER take_long ON jobs.run_log');
all_at_work();
is(sql("SELECT string_agg(DISTINCT s, ' ') FROM (SELECT string_agg(status, ',' ORDER BY attempt) s FROM jobs.history
    WHERE job IN ($names) GROUP BY run_id) h"), 'cancelled,running', 'after it, all that was interrupted is at work again');
is(sql(q{SELECT coalesce(sum(failures + crashes), 0) FROM jobs.queue}), 0, 'no failure is counted');
is(sql(q{SELECT sum(consecutive_failures) + sum(failures_24h) FROM jobs.status}), 0, 'nor shown');
$receiver->wait_mails(2);
poll_until($node, q{SELECT count(*) FROM jobs.outbox WHERE status = 'sending'}, '0');    # taken is not recorded yet
is(sql(q{SELECT string_agg(status || attempts, ',') FROM jobs.outbox}), 'sent1,sent1', 'the mails that hung are sent, each in its first attempt');
is(scalar($receiver->mails), 2, 'once');

# --- mail servers that leave a mail hanging, here or there, and runs that start and end ----

# A server that answers up to a command, and then no more.
sub stalling_server
{
    my ($last) = @_;
    my $socket = silent_server(8);
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ($pid == 0)
    {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        my @clients;
        while (my $client = $socket->accept)
        {
            print $client "220 stall\r\n";
            while (my $line = <$client>)
            {
                last if $line =~ /^$last/i;
                print $client $line =~ /^DATA/i ? "354 go on\r\n" : "250 ok\r\n" if $line =~ /^(EHLO|MAIL|RCPT|DATA|RSET|QUIT)/;
            }
            push @clients, $client;
        }
        POSIX::_exit(0);
    }
    push @children, $pid;
    return $socket;
}

my @full = full_server();
my $n = 0;
foreach my $case ([ 'no connection', $full[0] ], [ 'stalls at MAIL', stalling_server('MAIL') ], [ 'stalls after the dot', stalling_server('\\.\r') ])
{
    my ($what, $socket) = @$case;
    setting('smtp_url', 'smtp://127.0.0.1:' . $socket->sockport);
    sql("SELECT jobs.send_mail('a\@example.com', '$what', 'text')");
    poll_until($node, "SELECT status FROM jobs.outbox WHERE subject = '$what'", 'sending');
    my $noisy = new_session($node);
    $noisy->send(q{DO $$ BEGIN FOR i IN 1 .. 1000000 LOOP
        PERFORM jobs.run_now('ping', wait => false); COMMIT; END LOOP; END $$});
    $n = sql(q{SELECT count(*) FROM jobs.history WHERE job = 'ping'});
    poll_until($node, "SELECT count(*) > 10 + $n FROM jobs.history WHERE job = 'ping'");
    stops_in_time("a mail server that $what, and runs that start and end");
    eval { $noisy->{harness}->finish };
    $node->append_conf('postgresql.auto.conf', "motionify_jobs.smtp_url = '" . $receiver->url . "'");
    $node->start;
    ok(poll_until($node, "SELECT status FROM jobs.outbox WHERE subject = '$what'", 'sent'), 'the mail is sent afterwards');
    my @attempts = split /,/, sql(qq{SELECT string_agg(h.status, ',' ORDER BY attempt) FROM jobs.history h JOIN jobs.outbox USING (run_id) WHERE subject = '$what'});
    is(scalar(grep { $_ eq 'failed' || $_ eq 'crashed' } @attempts), 0, "no failure is counted (@attempts)");
}
is(sql(q{SELECT string_agg(DISTINCT status, ',') FROM jobs.history WHERE job = 'ping' AND status NOT IN ('running', 'cancelled')}),
    'succeeded', 'the runs that started and ended have not failed');
is(sql(q{SELECT count(*) FROM (SELECT FROM jobs.history WHERE job = 'ping' AND status = 'succeeded' GROUP BY run_id HAVING count(*) > 1) d}), 0,
    'nor succeeded twice');
$node->stop;

# --- tables that are locked for good ---------------------------------------------------

$node->append_conf('postgresql.conf', "max_prepared_transactions = 2");
$node->start;
all_at_work();
my $locker = new_session($node);
$locker->query(q{BEGIN; LOCK TABLE jobs.queue; PREPARE TRANSACTION 'lock'});
is($locker->error, '', 'a prepared transaction has locked the queue');
$locker->quit;
stops_in_time('the queue is locked for good');
$node->start;
sql(q{COMMIT PREPARED 'lock'});
all_at_work();
is(sql(q{SELECT coalesce(sum(failures), 0) FROM jobs.queue}), 0, 'no failure is counted');
stops_in_time('once more, without');
done_testing();
