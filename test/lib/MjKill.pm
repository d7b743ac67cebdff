# MjKill - the kill test: clients keep asking for runs and mails, while every
# kind of process is killed, at random moments and at fault points; at the end
# what the clients were promised is compared with what was done.
#
# A client notes what it is about to ask for ("try"), the run that it got within
# its transaction ("intent"), and that its COMMIT returned ("ack").  What was
# acknowledged must be done exactly once; what was only tried, at most once.
# Every run leaves a row in table effect, in the transaction of its work.
#
# The random moments are drawn from a seed, which is printed; MJ_SEED repeats
# the plan (not the timing of the processes).

package MjKill;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(shuffle sum0 max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use MjCrash;
use MjTest;

our @EXPORT = qw(kill_test fault_points);

# The fault points in the order in which a run meets them, what may happen
# there, and what makes a process come by if the clients' runs do not.
my @points = (
    [ 'launcher-started', 'crash exit', \&_end_launcher ],
    [ 'launcher-slot-reserved', 'crash exit', \&_end_executor ],
    [ 'launcher-registered', 'crash exit', \&_end_executor ],
    [ 'worker-attached', 'crash exit fatal', \&_end_executor ],
    [ 'scheduler-tick-start', 'crash exit error' ],
    [ 'scheduler-first-fired', 'crash exit error' ],
    [ 'scheduler-tick-fired', 'crash exit error' ],
    [ 'scheduler-before-answer', 'crash exit error' ],
    [ 'scheduler-answered', 'crash exit error' ],
    [ 'scheduler-left', 'crash exit', \&_replace_workers ],
    [ 'executor-claim-written', 'crash exit error' ],
    [ 'executor-claimed', 'crash exit fatal' ],
    [ 'executor-before-work', 'crash exit error fatal' ],
    [ 'executor-in-work', 'crash exit error fatal' ],
    [ 'executor-before-outcome', 'crash exit error fatal' ],
    [ 'executor-outcome-written', 'crash exit error fatal' ],
    [ 'executor-committed', 'crash exit fatal' ],
    [ 'group-written', 'crash exit error fatal' ],
    [ 'group-committed', 'crash exit fatal' ],
    [ 'executor-before-failure', 'crash exit error' ],
    [ 'executor-failure-written', 'crash exit error' ],
    [ 'executor-cleaning', 'crash exit error' ],
    [ 'put-back-on-exit', 'crash exit', \&_end_executor ],
    [ 'put-back-written', 'crash exit', \&_end_executor ],
    [ 'mailer-claimed', 'crash exit error' ],
    [ 'mailer-sent', 'crash exit error' ],
    [ 'mailer-before-record', 'crash exit error' ],
    [ 'mailer-recorded', 'crash exit error' ],
);

# The kinds of processes, by what their title says; and what is done to them.
my %title = (
    launcher => qr/motionify_jobs launcher/,
    scheduler => qr/motionify_jobs scheduler of/,
    executor => qr/motionify_jobs executor of role/,
    mailer => qr/motionify_jobs executor of mail/,
);
my @kinds = sort keys %title;

# Of a test: its server, what it counts, its clients.
my ($node, $dir, $mail_dir, %cycles, @heal_ms, @clients, $paused, $own_id);

# The names of all fault points.
sub fault_points { return map { $_->[0] } @points; }

# kill_test(cycles => N, seed => N): the whole test, in so many cycles, or in as
# many as it takes to see each kind and each fault point once.  Returns how many
# of them were a kill -9, from outside or at a fault point.
sub kill_test
{
    my (%opt) = @_;

    begin_plan($opt{seed});
    _start();
    my $begin = time;
    my @plan = _plan($opt{cycles} || 0);
    @plan = map { [ split ' ', $_ ] } split /,/, $ENV{MJ_PLAN} if $ENV{MJ_PLAN};
    _start_clients();
    my $survived = 1;
    foreach my $step (@plan)
    {
        $survived &&= _cycle(@$step);
        last unless $survived;
    }
    ok($survived, scalar(@plan) . ' cycles: the server works again after each');
    _drain();
    _judge();
    note(sprintf '%d cycles in %d s; works again after at most %d ms, %d ms on average',
        scalar @plan, time - $begin, max(0, @heal_ms), sum0(@heal_ms) / (@heal_ms || 1));
    note("cycles: $_: $cycles{$_}") foreach sort keys %cycles;
    $node->stop;
    return sum0(map { /^kill |crash$/ ? $cycles{$_} : () } keys %cycles);
}

# --- the server and its jobs --------------------------------------------------

# One value from the server.
sub _sql { return $node->safe_psql('postgres', $_[0]); }

# work: as short as can be.  long: is mostly met at work.  flaky: fails 4 times
# out of 10.  hopeless: fails always.  limited: at most two at a time.  keyed,
# twin: of both at most one.  grouped, grouped_flaky: several under one commit.
#  after: after a success of keyed.  alone: in a process
# of its own.  second, each: by a schedule; of each, no instant may be left out.
sub _start
{
    $dir = PostgreSQL::Test::Utils::tempdir();
    $mail_dir = "$dir/mail";
    mkdir $mail_dir;
    $node = new_node('main', testing => 1, conf => <<CONF);
fsync = off
max_wal_size = '4GB'
motionify_jobs.log_runs = none
motionify_jobs.smtp_url = 'file://$mail_dir'
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.mail_retry_delay = '1s'
CONF
    _sql(<<'SQL');
CREATE TABLE effect (run_id bigint NOT NULL, id bigint, job text NOT NULL,
  at timestamptz DEFAULT clock_timestamp());
CREATE TABLE tried (client integer, id bigint, job text);
CREATE TABLE intended (client integer, id bigint, run_id bigint);
CREATE TABLE acknowledged (client integer, id bigint);
CREATE TABLE told (client integer, id bigint, run_id bigint, status text);
CREATE FUNCTION job(name text, schedule text, command text, max_attempts int, catch_up text,
  max_running int DEFAULT NULL, concurrency_key text DEFAULT NULL, run_after text[] DEFAULT NULL,
  isolated boolean DEFAULT false, group_commit boolean DEFAULT false) RETURNS bigint
LANGUAGE sql AS $$
  SELECT jobs.schedule(name, schedule,
    format('INSERT INTO effect VALUES (jobs.current_run_id(), ($1->>''id'')::bigint, %L)%s', name, command),
    overlap => CASE WHEN schedule IS NULL THEN 'allow' ELSE 'skip' END,
    max_attempts => max_attempts, backoff_base => '20 ms', catch_up => catch_up, max_running => max_running,
    concurrency_key => concurrency_key, run_after => run_after, isolated => isolated,
    group_commit => group_commit)
$$;
SELECT job('work', NULL, '', 100, 'once');
SELECT job('long', NULL, '; SELECT pg_sleep(0.05)', 100, 'once');
SELECT job('flaky', NULL, '; SELECT 1 / (random() > 0.4)::int', 1000, 'once');
SELECT job('hopeless', NULL, '; SELECT 1 / 0', 2, 'once');
SELECT job('limited', NULL, '; SELECT pg_sleep(0.01)', 100, 'once', max_running => 2);
SELECT job('keyed', NULL, '', 100, 'once', concurrency_key => 'key');
SELECT job('twin', NULL, '; SELECT pg_sleep(0.01)', 100, 'once', concurrency_key => 'key');
SELECT job('after', NULL, '', 100, 'once', run_after => ARRAY['keyed']);
SELECT job('alone', NULL, '', 100, 'once', isolated => true);
SELECT job('grouped', NULL, '', 100, 'once', group_commit => true);
SELECT job('grouped_flaky', NULL, '; SELECT 1 / (random() > 0.1)::int', 1000, 'once', group_commit => true);
SELECT job('second', '* * * * * *', '', 100, 'once');
SELECT job('each', '* * * * * *', '', 100, 'all');
SQL
    ($paused, $own_id) = (0, 0);
    return;
}

# The processes of the server of one kind.
sub _processes { return processes($node, $title{$_[0]}); }

# --- clients ------------------------------------------------------------------

# Transactions that a client's psql makes before it connects anew.
my $per_connection = 40;

# What each client asks for, out of which it draws.
my @habits = (
    [ ('work') x 30, ('long') x 4, ('flaky') x 6, 'hopeless', 'limited', 'keyed', 'twin', 'alone' ],
    [ ('work') x 30, ('long') x 4, ('flaky') x 6, 'hopeless', 'limited', 'keyed', 'twin', 'alone' ],
    [ ('work') x 9, 'flaky' ],
    [ ('grouped') x 9, 'grouped_flaky' ],
    ['wait'],
    ['mail'],
);

# Processes that ask for runs.
sub _start_clients
{
    @clients = map { my $number = $_; start_client(sub { _client($number) }) } 0 .. $#habits;
    return;
}

# A client: connects over and over again.
sub _client
{
    my ($number) = @_;
    my $id = $number * 1_000_000_000;
    run_client($node, $dir, $number,
        sub { return map { _request($habits[$number][ rand @{ $habits[$number] } ], ++$id) } 1 .. $per_connection });
    return;
}

# The script of one request.  The pause keeps the clients from asking for more
# than is done.
sub _request
{
    my ($what, $id) = @_;
    my $args = qq('{"id": $id}');
    return <<SQL if $what eq 'wait';
\\echo try $id work
SELECT run_id, status FROM jobs.run_now('work', $args) \\gset
\\echo told $id :run_id :status
SELECT pg_sleep(0.01);
SQL
    return _request_many($what, $id) if $what =~ /^grouped/;
    my $ask = $what eq 'mail'
      ? "jobs.send_mail('a\@example.com', 'mail $id', 'text') AS run_id"
      : "run_id FROM jobs.run_now('$what', $args, wait => false)";
    return <<SQL;
\\echo try $id $what
BEGIN;
SELECT $ask \\gset
\\echo intent $id :run_id
COMMIT;
\\echo ack $id
SELECT pg_sleep(0.008);
SQL
}

# As _request(), of several runs in one transaction; their ids are negative.
sub _request_many
{
    my ($what, $id) = @_;
    my @ids = map { -(8 * $id + $_) } 0 .. 7;
    my $asks = join '', map { <<SQL } @ids;
SELECT jobs.enqueue('$what', '{"id": $_}') AS run_id \\gset
\\echo intent $_ :run_id
SQL
    return join('', map { "\\echo try $_ $what\n" } @ids) . "BEGIN;\n${asks}COMMIT;\n"
      . join('', map { "\\echo ack $_\n" } @ids) . "SELECT pg_sleep(0.05);\n";
}

# --- cycles -------------------------------------------------------------------

# What is done, in random order: a process is killed at a random moment, at
# a fault point, or ended by another signal; the whole server is killed or
# stopped.
sub _plan
{
    my ($cycles) = @_;
    my @kills = map { [ 'kill', $_, 'KILL' ] } @kinds, 'postmaster';
    my @signals = map { ([ 'signal', $_, 'TERM' ], [ 'signal', $_, 'INT' ]) } @kinds;
    my @plan = (@kills, [ 'stop', 'server', 'immediate' ],
        map { [ 'point', $_->[0], 'crash' ] } @points);
    my @more = map { my $point = $_; map { [ 'point', $point->[0], $_ ] } split ' ', $point->[1] } @points;

    push @plan, @signals, map { [ 'stop', 'server', $_ ] } qw(smart fast) if $cycles > @plan + @signals;
    while (@plan < $cycles)
    {
        my $draw = rand;
        push @plan,
            $draw < 0.40 ? $kills[ rand @kills ]
          : $draw < 0.50 ? $signals[ rand @signals ]
          : $draw < 0.52 ? [ 'stop', 'server', (qw(smart fast immediate))[ rand 3 ] ]
          :                $more[ rand @more ];
    }
    return shuffle(@plan);
}

# One cycle; false if the server did not come back.
sub _cycle
{
    my ($how, $what, $action) = @_;
    my $by_kill = $action eq 'KILL' || $action eq 'crash' || $action eq 'immediate';
    my ($launcher) = _processes('launcher');

    # with claims and ticks that are on disk at once, or without
    if (rand() < 0.5) { set_fault($node, 'worker-settled', 'on'); }
    else { clear_fault($node, 'worker-settled'); }

    $cycles{"$how $what $action"}++;
    note("$how $what $action");
    my $since = Time::HiRes::time();
    my $done =
        $how eq 'point' ? _meet_point($what, $action)
      : $how eq 'stop' ? _stop_server($action)
      : $what eq 'postmaster' ? _kill_postmaster()
      : _signal($what, $action);
    return 0 unless $done;
    $since = Time::HiRes::time() if $how eq 'point';
    if ($by_kill && defined $launcher)
    {
        my $again = $since + 2;
        wait_for(
            sub {
                my ($now) = _processes('launcher');
                return 1 if $now && $now != $launcher;
                # who was killed had ended already, by itself: another one then
                if ($action eq 'KILL' && $title{$what} && Time::HiRes::time() > $again)
                {
                    _signal($what, $action);
                    $since = Time::HiRes::time();
                    $again = $since + 2;
                }
                return 0;
            },
            "another launcher after $how $what $action") or return 0;
    }
    # now and then the next blow falls while the server is coming back
    return 1 if rand() < 0.2;
    _heal($how eq 'point' || $by_kill, $since) or return 0;
    return 1;
}

# Until a run that this process asks for and waits for has succeeded.  Jobs that
# were paused for the third crash of a run go on.
sub _heal
{
    my ($timed, $since) = @_;
    my $told = wait_for(
        sub {
            my $id = 900_000_000_000 + ++$own_id;
            my $resumed = try_sql($node, "SELECT count(jobs.resume(job)) FROM jobs.status WHERE paused");
            $paused += $resumed if defined $resumed && $resumed =~ /^\d+$/;
            _note("try $id work");
            my $got = try_sql($node, "SELECT run_id, status FROM jobs.run_now('work', '{\"id\": $id}')");
            return 0 unless defined $got && $got =~ /^(\d+)\|(\w+)$/;
            _note("told $id $1 $2");
            return $2 eq 'succeeded';
        },
        'a run succeeds');
    push @heal_ms, 1000 * (Time::HiRes::time() - $since) if $timed;
    diag(log_tail($node, 60)) unless $told;
    return $told;
}

# A line in this process's own log, which is read like a client's.
sub _note
{
    open my $log, '>>', "$dir/log.own" or die $!;
    print $log "$_[0]\n";
    close $log or die $!;
    return;
}

# Signals one process of a kind.
sub _signal
{
    my ($kind, $signal) = @_;
    random_moment(250_000);
    return signal_process($node, $title{$kind}, $signal);
}

sub _kill_postmaster
{
    random_moment(250_000);
    return kill_postmaster($node);
}

sub _stop_server
{
    my ($mode) = @_;
    random_moment(250_000);
    $node->stop($mode);
    return start_killed($node);
}

# Something happens to the first process that comes by a fault point.
sub _meet_point
{
    my ($point, $action) = @_;
    my ($provoke) = map { $_->[2] } grep { $_->[0] eq $point } @points;
    set_fault($node, $point, "$action:once");
    my ($next, $gone) = (0, 0);
    return wait_for(
        sub {
            return 1 if fault_hit($node, $point);
            # who took it may have been killed before it could do anything
            $gone = fault_is_set($node, $point) ? 0 : $gone || Time::HiRes::time();
            set_fault($node, $point, "$action:once") if $gone && Time::HiRes::time() > $gone + 1;
            if ($provoke && Time::HiRes::time() > $next)
            {
                $provoke->();
                $next = Time::HiRes::time() + 0.3;
            }
            return 0;
        },
        "a process comes by $point");
}

# What makes a process come by: an executor ends at work and has to be replaced,
sub _end_executor
{
    my @pids = _processes('executor');
    kill 'TERM', $pids[ rand @pids ] if @pids;
    return;
}

# the launcher does,
sub _end_launcher
{
    kill 'TERM', $_ foreach _processes('launcher');
    return;
}

# all workers leave when they have nothing in hand.
sub _replace_workers
{
    try_sql($node, 'SELECT jobs.reload()');
    return;
}

# --- the end ------------------------------------------------------------------

# The clients stop, the schedules too, and what is queued is done.
sub _drain
{
    stop_clients($dir, @clients);
    clear_fault($node, $_) foreach fault_points(), 'worker-settled';
    _heal(0, 0);
    _sql("SELECT jobs.pause('second'), jobs.pause('each')");
    ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'no run is left in the queue');
    return;
}

# The clients' logs become tables.
sub _load_logs
{
    my %columns = (try => 'tried', intent => 'intended', ack => 'acknowledged', told => 'told');
    my %rows;
    foreach my $log (glob "$dir/log.*")
    {
        my ($client) = $log =~ /log\.(\w+)$/;
        $client = -1 if $client eq 'own';
        foreach my $line (split /\n/, content($log))
        {
            my ($what, @values) = split ' ', $line;
            next unless defined $what;
            BAIL_OUT("$log has \"$line\"") unless $columns{$what};
            push @{ $rows{$what} }, join("\t", $client, @values);
        }
    }
    copy_rows($node, $dir, $columns{$_}, @{ $rows{$_} }) foreach keys %rows;
    return;
}

# Compares what was promised with what was done.
sub _judge
{
    _load_logs();
    _sql(<<'SQL');
CREATE TABLE ended AS
  SELECT run_id, job, min(due_at) AS due_at,
    count(*) FILTER (WHERE status = 'succeeded') AS successes,
    count(*) FILTER (WHERE status = 'failed') AS failures,
    count(*) FILTER (WHERE status = 'crashed') AS crashes,
    (array_agg(status ORDER BY attempt DESC))[1] AS last
  FROM jobs.run_log GROUP BY run_id, job;
CREATE VIEW given_up AS SELECT * FROM ended WHERE crashes = 3 AND last = 'crashed';
CREATE VIEW cancelled AS
  SELECT e.* FROM ended e JOIN jobs.run_log l USING (run_id) WHERE e.last = 'cancelled' AND l.sqlstate = '57014';
CREATE VIEW promised AS
  SELECT i.id, i.run_id, t.job FROM acknowledged JOIN intended i USING (client, id) JOIN tried t USING (client, id)
  UNION ALL SELECT id, run_id, 'work' FROM told WHERE status = 'succeeded';
SQL
    _judge_runs();
    _judge_limits();
    _judge_schedules();
    _judge_mails();
    _judge_logs();
    return;
}

sub _judge_runs
{
    note('acknowledged: ' . _sql('SELECT count(*) FROM promised') . ', in doubt: '
          . _sql('SELECT (SELECT count(*) FROM tried) - (SELECT count(*) FROM promised)')
          . ', effects: ' . _sql('SELECT count(*) FROM effect')
          . ', attempts: ' . _sql("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
              FROM (SELECT status, count(*) AS n FROM jobs.run_log WHERE job <> 'mail' GROUP BY status) s"));
    note('given up at their third crash: ' . _sql("SELECT count(*) || ' (' || count(*) FILTER (WHERE job = 'mail')
            || ' mails)' FROM given_up") . ", jobs resumed: $paused, cancelled by SIGINT: "
          . _sql('SELECT count(*) FROM cancelled'));
    cmp_ok(_sql('SELECT count(*) FROM promised'), '>', 100, 'clients were promised something');
    none($node, "SELECT * FROM promised p WHERE job NOT IN ('hopeless', 'mail')
             AND NOT EXISTS (SELECT FROM effect e WHERE e.id = p.id AND e.run_id = p.run_id)
             AND NOT EXISTS (SELECT FROM given_up g WHERE g.run_id = p.run_id)
             AND NOT EXISTS (SELECT FROM cancelled c WHERE c.run_id = p.run_id)",
        'lost: 0 of what was acknowledged');
    none($node, 'SELECT run_id, count(*) FROM effect GROUP BY run_id HAVING count(*) > 1
           UNION ALL SELECT id, count(*) FROM effect WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1',
        'duplicates: 0');
    none($node, "SELECT * FROM effect e WHERE job NOT IN ('second', 'each', 'after')
             AND NOT EXISTS (SELECT FROM tried t WHERE t.id = e.id AND t.job = e.job)
           UNION ALL SELECT * FROM effect WHERE job = 'hopeless'",
        'unexpected: 0');
    none($node, "SELECT e.run_id, s.run_id, s.job FROM effect e
           FULL JOIN (SELECT * FROM jobs.run_log WHERE status = 'succeeded' AND job <> 'mail') s
             ON s.run_id = e.run_id AND s.job = e.job
           WHERE e.run_id IS NULL OR s.run_id IS NULL",
        'the history equals the table');
    none($node, "SELECT * FROM ended WHERE job <> 'mail' AND (successes > 1 OR successes = 1 AND last <> 'succeeded')",
        'a success is a run\'s last attempt, and its only one');
    none($node, "SELECT * FROM ended e WHERE job NOT IN ('mail', 'hopeless') AND last NOT IN ('succeeded', 'skipped')
             AND NOT EXISTS (SELECT FROM given_up g WHERE g.run_id = e.run_id)
             AND NOT EXISTS (SELECT FROM cancelled c WHERE c.run_id = e.run_id)",
        'every run succeeded, or was given up at its third crash, or cancelled');
    cmp_ok(_sql('SELECT count(*) FROM cancelled'), '<=', $cycles{'signal executor INT'} || 0,
        'no run was cancelled but those that were at work when SIGINT came');
    none($node, "SELECT * FROM ended e WHERE job = 'hopeless' AND (failures <> 2 OR last <> 'failed')
             AND NOT EXISTS (SELECT FROM given_up g WHERE g.run_id = e.run_id)
             AND NOT EXISTS (SELECT FROM cancelled c WHERE c.run_id = e.run_id)",
        'a run that always fails fails as often as it may');
    none($node, "SELECT * FROM promised p WHERE job = 'hopeless' AND NOT EXISTS (SELECT FROM ended e WHERE e.run_id = p.run_id)",
        'and is in the history');
    none($node, 'SELECT * FROM told t WHERE NOT EXISTS
             (SELECT FROM jobs.run_log l WHERE l.run_id = t.run_id AND l.status = t.status)',
        'who waited for a run was told what the history says');
    cmp_ok($paused, '<=', _sql("SELECT count(*) FROM given_up WHERE job <> 'mail'"), 'only such a run paused its job');
    is(_sql("SELECT count(*) FROM jobs.status WHERE paused AND job NOT IN ('second', 'each')"), 0,
        'no job is left paused');
    return;
}

# Runs that wait for others did, over all crashes; the last success of a job that
# another one runs after has had that run.
sub _judge_limits
{
    # from the first moment of the work itself: started_at is the time at which an
    # executor began to look for a run
    my $work = "(SELECT job, run_id, e.at AS began, finished_at FROM jobs.run_log JOIN effect e USING (job, run_id)
        WHERE status = 'succeeded')";
    note('runs: ' . _sql("SELECT string_agg(job || ' ' || n, ', ' ORDER BY job)
        FROM (SELECT job, count(*) AS n FROM ended GROUP BY job) j"));
    none($node, "SELECT * FROM $work a JOIN $work b ON a.run_id < b.run_id AND a.began < b.finished_at
             AND b.began < a.finished_at
           WHERE a.job IN ('keyed', 'twin') AND b.job IN ('keyed', 'twin')",
        'of one concurrency key one run at a time');
    none($node, "SELECT a.run_id FROM $work a JOIN $work b ON b.began <= a.began
             AND b.finished_at > a.began AND b.job = a.job
           WHERE a.job = 'limited' GROUP BY a.run_id HAVING count(*) > 2", 'of a limited job two at most');
    is(_sql('SELECT count(*) FROM jobs.success'), 0, 'every success was told to those who run after it');
    none($node, "SELECT max(finished_at) FROM ended e JOIN jobs.run_log l USING (run_id, job)
           WHERE job = 'keyed' AND status = 'succeeded'
           HAVING max(finished_at) > (SELECT max(started_at) FROM jobs.run_log WHERE job = 'after')",
        'and they ran after the last one');
    return;
}

# Of job "each" every instant became one run; unless it was paused in between.
sub _judge_schedules
{
    my $instants = "SELECT due_at, count(*) AS runs, count(*) FILTER (WHERE successes = 1) AS successes
      FROM ended WHERE job = 'each' GROUP BY due_at";
    note('instants of each: ' . _sql("SELECT count(*) FROM ($instants) i") . ', runs of second: '
          . _sql("SELECT count(*) FROM ended WHERE job = 'second'"));
    none($node, "SELECT job, due_at, count(*) FROM ended WHERE job IN ('second', 'each')
           GROUP BY job, due_at HAVING count(*) > 1", 'no instant became two runs');
  SKIP:
    {
        skip 'a run of it was given up', 1 if _sql("SELECT count(*) FROM given_up WHERE job = 'each'");
        none($node, "SELECT g, i.* FROM (SELECT min(due_at), max(due_at) FROM ($instants) i) b,
                 generate_series(b.min, b.max, '1 s') g LEFT JOIN ($instants) i ON i.due_at = g
               WHERE i.successes IS DISTINCT FROM 1", 'every instant of a job that catches up became a run');
    }
    return;
}

# Mails may be sent twice, as the same file.
sub _judge_mails
{
    my %sent;
    foreach my $file (glob "$mail_dir/*.eml")
    {
        $sent{$1}++ if content($file) =~ /^Subject: mail (\d+)\r?$/m;
    }
    open my $list, '>', "$dir/sent" or die $!;
    print $list "$_\n" foreach keys %sent;
    close $list or die $!;
    _sql("CREATE TABLE sent (id bigint); COPY sent FROM '$dir/sent'");
    note('mails acknowledged: ' . _sql("SELECT count(*) FROM promised WHERE job = 'mail'")
          . ', sent: ' . keys(%sent) . ', attempts: '
          . _sql("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
              FROM (SELECT status, count(*) AS n FROM jobs.run_log WHERE job = 'mail' GROUP BY status) s"));
    none($node, "SELECT * FROM promised p WHERE job = 'mail' AND NOT EXISTS (SELECT FROM sent s WHERE s.id = p.id)
             AND NOT EXISTS (SELECT FROM jobs.mail m WHERE m.mail_id = p.run_id AND m.ended_as = 'failed')",
        'lost: 0 of the mails that were acknowledged');
    none($node, "SELECT id FROM sent s WHERE NOT EXISTS (SELECT FROM tried t WHERE t.id = s.id AND t.job = 'mail')
           UNION ALL (SELECT id FROM sent GROUP BY id HAVING count(*) > 1)", 'unexpected: 0 mails');
    none($node, "SELECT * FROM jobs.mail m WHERE ended_as IS NULL OR ended_as = 'failed'
             AND NOT EXISTS (SELECT FROM given_up g WHERE g.run_id = m.run_id)",
        'every mail was sent, or was given up at its third crash');
    return;
}

# The server and the clients met nothing but what was done to them.
sub _judge_logs
{
    my $known = join '|', '57P0[123]', 'server closed the connection', 'no connection to the server',
      'connection to server', 'Is the server running', 'terminated abnormally',
      'before or while processing', '^(DETAIL|HINT|LOCATION|CONTEXT):', '(WARNING|NOTICE): ', '^$';
    my @strange = grep { !/$known/ } map { split /\n/, content($_) } glob "$dir/errors.*";
    is(scalar(@strange), 0, 'clients saw no error but the loss of their server')
      or diag(join "\n", grep { defined } @strange[ 0 .. 9 ]);

    strange_ends($node);
    my $expected = join '|', 'fault at point', 'terminating ', 'division by zero', 'canceling statement',
      'the database system is';
    my %errors;
    foreach my $line (split /\n/, slurp_file($node->logfile))
    {
        $errors{$1}++ if $line =~ /motionify_jobs \w+ (?:ERROR|FATAL):\s+(.*)/ && $1 !~ /^(?:$expected)/;
    }
    is(join('; ', map { "$_ ($errors{$_})" } sort keys %errors), '', 'no worker saw an error of its own');
    return;
}

1;
