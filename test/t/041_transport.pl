# The transport of mail: groups of commands, several connections, one that
# hangs beside others, what is taken back, rates, kept connections, and how
# quickly it stops at every point of the dialogue.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $server = start_server();
my $url = "smtp://127.0.0.1:" . slurp_file("$dir/port");
my $node = new_node('transport', conf => <<"CONF");
motionify_jobs.mail_from = 'a\@example.com'
motionify_jobs.smtp_url = '$url'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '60s'
motionify_jobs.smtp_max_connections = 1
motionify_jobs.mail_retry_delay = '1s'
CONF

# --- helpers --------------------------------------------------------------------

sub start_server
{
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ($pid == 0)
    {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec '/usr/bin/python3', "$FindBin::Bin/../smtp_groups.py", '--dir', $dir
          or POSIX::_exit(127);
    }
    wait_for(sub { -s "$dir/port" && -s "$dir/proxy_port" }, 'the server listens');
    return $pid;
}

END
{
    my $exit_code = $?;
    kill 'KILL', $server if $server;
    $? = $exit_code;
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

# settings(name => value, ...): in force when it returns, for what begins then.
sub settings
{
    my (%value) = @_;
    sql("ALTER SYSTEM SET motionify_jobs.$_ = '$value{$_}'") foreach sort keys %value;
    $node->reload;
    poll_until($node, "SHOW motionify_jobs.$_", $value{$_}) foreach sort keys %value;
    return;
}

sub behave
{
    my (%how) = @_;
    open my $file, '>', "$dir/behave.new" or die;
    print $file encode_json(\%how);
    close $file;
    rename "$dir/behave.new", "$dir/behave" or die;
    return;
}

# The server's events; from the last forget() on.
my $seen = 0;
sub events
{
    my @lines = -e "$dir/events" ? slurp_file("$dir/events") =~ /^(.*)\n/mg : ();
    return map { decode_json($_) } @lines[ $seen .. $#lines ];
}

sub forget
{
    $seen += () = events();
    return;
}

# What was read, a line for each read: "conn: MAIL RCPT DATA".
sub reads
{
    return map { "$_->{conn}: @{ $_->{read} }" } grep { $_->{read} } events();
}

sub accepted { return map { $_->{mail} } grep { $_->{mail} } events(); }
sub opened { return scalar grep { ($_->{event} // '') eq 'open' } events(); }

# queue(local parts ...): mails to them, in one transaction, in that order.
sub queue
{
    my $recipients = join ',', map { /@/ ? $_ : "$_\@example.com" } @_;
    return sql("SELECT jobs.send_mail(r, 'subject', 'text') FROM unnest('{$recipients}'::text[]) r");
}

sub wait_sent
{
    my ($count) = @_;
    return poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE status = 'sent'", $count);
}

# Everything is forgotten, and no connection left.
sub begin_anew
{
    poll_until($node, 'SELECT count(*) FROM jobs.queue', '0');
    kill_worker($node, 'executor', 'TERM') foreach worker_pids($node, 'executor');
    wait_for(sub { !worker_pids($node, 'executor') }, 'no executor is left');
    sql('DELETE FROM jobs.mail; DELETE FROM jobs.run_log');
    behave(@_);
    forget();
    return;
}

# --- groups -----------------------------------------------------------------------

my $at;
queue(1 .. 5);
wait_sent(5);
is_deeply([ reads() ],
    [ '1: EHLO', '1: EHLO', '1: MAIL RCPT DATA', ('1: dot MAIL RCPT DATA') x 4, '1: dot' ],
    'with PIPELINING, each dot is in a group with the next envelope');
is(join(' ', accepted()), join(' ', map { "$_\@example.com" } 1 .. 5), 'all arrive, in their order');
is(sql("SELECT count(*) FROM jobs.outbox WHERE attempts = 1 AND smtp_reply LIKE '%queued as ' || recipient"),
    '5', 'each has its own reply');
is(sql("SELECT count(*) FROM jobs.history WHERE status = 'succeeded' AND result LIKE '%queued as%'"),
    '5', 'and its own history');

forget();
queue(6);
wait_sent(6);
is_deeply([ reads() ], [ '1: MAIL RCPT DATA', '1: dot' ], 'the connection was kept');
ok(wait_for(sub { grep { ($_->{event} // '') eq 'close' } events() }, 'the end'), 'it is closed when it was idle');
is((reads())[-1], '1: QUIT', 'by QUIT');

begin_anew(ehlo => []);
queue(1, 2);
wait_sent(2);
is_deeply([ map { s/^\d+: //r } reads() ],
    [ 'EHLO', 'EHLO', ('MAIL', 'RCPT', 'DATA', 'dot') x 2 ], 'without PIPELINING each is alone');

begin_anew();
sql("SELECT jobs.send_mail('a\@example.com, b\@example.com', 's', 't', cc => 'c\@example.com')");
wait_sent(1);
is((reads())[2] =~ s/^\d+: //r, 'MAIL RCPT RCPT RCPT', 'of several recipients all must be accepted');
is((reads())[3] =~ s/^\d+: //r, 'DATA', 'before there is content');

# --- refusals, and replies that do not fit ---------------------------------------------

begin_anew();
queue('one', 'refuse', 'two', 'later', 'three', 'void', 'four');
wait_sent(4);
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE status = 'failed'", '2');
is(opened(), 1, 'refusals do not cost the connection');
is(join(' ', map { s/@.*//r } accepted()), 'one two three four', 'the others arrive, each once');
ok((grep { /: RSET MAIL RCPT DATA/ } reads()), 'RSET is in a group with the next envelope');
is(sql("SELECT string_agg(split_part(recipient, '\@', 1) || smtp_code, ' ' ORDER BY mail_id) FROM jobs.outbox WHERE smtp_code <> 250"),
    'refuse550 later451 void550', 'each refusal is the right mail\'s');
is_deeply([ map { $_->{void} } grep { defined $_->{void} } events() ], [0],
    '354 after a refused recipient gets an empty content, for nobody');
sql("DELETE FROM jobs.queue");

begin_anew();
queue('one', 'extra', 'two');
wait_sent(2);
poll_until($node, "SELECT attempts >= 1 FROM jobs.outbox WHERE recipient LIKE 'extra%'");
is(join(' ', sort grep { !/extra/ } accepted()), 'one@example.com two@example.com',
    'a reply too many: the others arrive, once');
is(scalar(grep { /extra/ } accepted()), 0, 'that one not');
is(sql("SELECT count(*) FROM jobs.outbox WHERE status = 'sent' AND smtp_reply NOT LIKE '%queued as ' || recipient"),
    '0', 'no reply is taken for another\'s');
sql("DELETE FROM jobs.queue");

# --- connections ------------------------------------------------------------------------

settings(smtp_max_connections => 4);
begin_anew();
queue('alone');
wait_sent(1);
is(opened(), 1, 'a mail warrants one connection');
begin_anew();
queue(1 .. 200);
wait_sent(200);
cmp_ok(opened(), '>', 1, 'many warrant several');
cmp_ok(opened(), '<=', 4, 'as many as are allowed');
is(scalar(accepted()), 200, 'all arrive, each once');

# A mail that hangs, with one behind it: the others go on.
begin_anew();
queue('hang-dot', 1 .. 30);
wait_sent(30);
is(sql("SELECT status FROM jobs.outbox WHERE recipient LIKE 'hang%'"), 'sending', 'the others pass a mail that hangs');
my $executor = join ',', worker_pids($node, 'executor');
queue('meanwhile');
wait_sent(31);
is(join(',', worker_pids($node, 'executor')), $executor, 'also what is queued meanwhile');
is(sql("SELECT status FROM jobs.outbox WHERE recipient LIKE 'hang%'"), 'sending', 'while it still hangs');
kill_worker($node, 'executor', 'TERM');
poll_until($node, "SELECT count(*) FROM jobs.history WHERE status = 'uncertain'", '1');
is(sql("SELECT attempts FROM jobs.outbox WHERE recipient LIKE 'hang%'"), '1', 'it is uncertain when its sender must end');
sql('DELETE FROM jobs.queue');

# Who must leave waits for what the server may have taken, and for nothing else.
settings(smtp_max_connections => 2);
begin_anew(ehlo => [], hang => 'dot');
queue('patience');
wait_for(sub { grep { ($_->{hang} // '') eq 'dot' } events() }, 'one hangs at its dot');
queue('hang-RCPT');
wait_for(sub { grep { ($_->{hang} // '') eq 'RCPT' } events() }, 'one at RCPT');
settings(smtp_timeout => '61s');
poll_until($node, q{SELECT string_agg(state, ' ' ORDER BY run_id) FROM jobs.queue}, 'running ready');
is(sql("SELECT status FROM jobs.outbox WHERE recipient LIKE 'patience%'"), 'sending', 'its settings change: the server may have it');
sql("DELETE FROM jobs.queue WHERE state = 'ready'");
behave();
wait_sent(1);
is(sql("SELECT count(*), max(attempts) FROM jobs.outbox o JOIN jobs.history USING (run_id) WHERE o.recipient LIKE 'patience%'"),
    '1|1', 'it is sent in its first attempt');
is(scalar(accepted()), 1, 'once');
sql('DELETE FROM jobs.queue');
settings(smtp_timeout => '1min');

# One is behind a mail that hangs when there is a second connection only later.
settings(smtp_max_connections => 2);
begin_anew();
queue('hang-dot', 'behind');
wait_sent(1);
is(join(' ', accepted()), 'behind@example.com', 'a mail behind one that hangs is taken back');
is(sql("SELECT attempts FROM jobs.outbox WHERE recipient LIKE 'behind%'"), '1', 'which is no attempt');
kill_worker($node, 'executor', 'TERM');
poll_until($node, "SELECT count(*) FROM jobs.history WHERE status = 'uncertain'", '1');
sql('DELETE FROM jobs.queue');

settings(smtp_max_connections => 1);
begin_anew();
queue('drop-dot', 'behind');
wait_sent(1);
is(sql("SELECT attempts FROM jobs.outbox WHERE recipient LIKE 'behind%'"), '1',
    'behind one whose connection ends is not offered either');
is(sql("SELECT count(*) FROM jobs.history h JOIN jobs.outbox o USING (run_id) WHERE o.recipient LIKE 'drop%' AND h.status = 'uncertain'"),
    '1', 'that one is uncertain');
sql('DELETE FROM jobs.queue');

# --- several that send ------------------------------------------------------------------------

# An executor has all connections, which hang; then a caller sends, too.
settings(smtp_max_connections => 4);
begin_anew(hang => 'RCPT');
queue(1 .. 200);
wait_for(sub { (grep { ($_->{hang} // '') eq 'RCPT' } events()) == 4 }, 'four connections hang');
poll_until($node, "SELECT count(*) FROM jobs.queue WHERE state = 'running'", '150');
my $caller = new_session($node);
$caller->send('CALL jobs.deliver_mail()');
wait_for(sub { (grep { ($_->{hang} // '') eq 'RCPT' } events()) == 5 }, 'and a fifth, the first of the caller');
behave();
$caller->result;
wait_sent(200);
my %by;
$by{ $_->{conn} }++ foreach grep { $_->{mail} } events();
my ($fewest, $few) = sort { $a <=> $b } map { $by{$_} // 0 } 1 .. 4;
cmp_ok($few, '<=', 2, 'who has more connections than its share closes some, as soon as they have no mail');
my ($order) = map { join ' ', map { $_->{mail} ? 'mail' : $_->{read} && "@{ $_->{read} }" eq 'QUIT' ? 'QUIT' : () } @$_ } [ events() ];
like($order, qr/QUIT .*mail/, 'while others go on');
is(scalar(accepted()), 200, 'all arrive, each once');

# The network is fast, the mails are many.
my $mails = PostgreSQL::Test::Utils::tempdir();
chmod 0777, $mails;
settings(smtp_url => "file://$mails");
begin_anew();
# the executor makes its plans while the table is as good as empty
$node->safe_psql('postgres', 'VACUUM jobs.mail');
queue('first');
wait_sent(1);
my $read = q{SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'mail_run_id_key'};
my $read_before = sql($read);
sql("SELECT count(jobs.send_mail('many\@example.com', 'subject', 'text')) FROM generate_series(1, 399)");
wait_sent(400);
is(scalar(worker_pids($node, 'executor')), 1, 'some hundred mails are sent by one executor');
sql("SELECT count(jobs.send_mail('many\@example.com', 'subject', 'text')) FROM generate_series(1, 6000)");
wait_sent(6400);
is(scalar(worker_pids($node, 'executor')), 2, 'thousands by two');
is(scalar(() = glob "$mails/*.eml"), 6400, 'each is sent once');
is(sql("SELECT count(DISTINCT pid) FROM jobs.run_log"), '2', 'and both have sent some');
kill_worker($node, 'executor', 'TERM') foreach worker_pids($node, 'executor');
wait_for(sub { !worker_pids($node, 'executor') }, 'the executors have ended, and told what they read');
cmp_ok(sql($read) - $read_before, '<', 20 * 6400, 'a batch reads its own mails, not all of the table');
settings(smtp_url => $url);

# --- rates -----------------------------------------------------------------------------------

settings(smtp_max_connections => 4, smtp_rate => 20);
begin_anew();
queue(1 .. 12);
wait_sent(12);
my @at = map { $_->{at} } grep { $_->{mail} } events();
cmp_ok($at[-1] - $at[0], '>=', 8 / 20, 'a rate for all');
settings(smtp_rate => 0, smtp_domain_rate => 2);
begin_anew();
sql(q{SELECT jobs.send_mail(format('"%s@fast%s.example" <%s@slow.example>', i, i, i), 'subject', 'text') FROM generate_series(1, 5) i});
queue(map { "$_\@d$_.example" } 1 .. 20);
wait_sent(25);
my @mails = grep { $_->{mail} } events();
my @slow = grep { $_->{mail} =~ /slow/ } @mails;
cmp_ok($slow[-1]->{at} - $slow[0]->{at}, '>=', 1.5, 'a rate for a domain');
my ($last_other) = map { $_->{at} } grep { $_->{mail} !~ /slow/ } reverse @mails;
cmp_ok($last_other, '<', $slow[-1]->{at}, 'holds up no others');
is(sql('SELECT count(*), max(attempts), min(attempts) FROM jobs.outbox'), '25|1|1', 'that is no attempt');
is(sql("SELECT DISTINCT h.attempt FROM jobs.history h"), '1', 'nor a start');
settings(smtp_domain_rate => 0);

# --- a proxy, a bearer token -----------------------------------------------------------------

my $token = 'ya29.' . 'token-' x 200;
my $token_file = PostgreSQL::Test::Utils::tempdir() . '/token';
append_to_file($token_file, "$token\n");
chmod 0600, $token_file;
my $xoauth2 = `printf 'user=robot\\001auth=Bearer $token\\001\\001' | base64 -w0`;
begin_anew(ehlo => [ 'PIPELINING', 'AUTH XOAUTH2 PLAIN' ], auth => "XOAUTH2 $xoauth2");
settings(
    smtp_user => 'robot',
    smtp_password_file => $token_file,
    smtp_auth => 'xoauth2',
    smtp_proxy => 'http://127.0.0.1:' . slurp_file("$dir/proxy_port"),
    smtp_allow_plaintext => 'on');
queue('proxied');
wait_sent(1);
is((map { $_->{auth} } grep { $_->{auth} } events())[0], "XOAUTH2 $xoauth2", 'a bearer token');
like((map { $_->{proxy} } grep { $_->{proxy} } events())[0], qr/^CONNECT 127\.0\.0\.1:\d+ /, 'through a proxy');
is(sql("SELECT string_agg(step, ' ') FROM jobs.check_mail() WHERE ok"), 'settings connect TLS AUTH', 'check_mail, too');
my ($code, $out, $err) = $node->psql('postgres', "SET motionify_jobs.smtp_proxy = 'http://user:secret\@host:1'");
like($err, qr/invalid value for parameter "motionify_jobs.smtp_proxy"/, 'a proxy URL with a password is refused');
settings(smtp_user => '', smtp_password_file => '', smtp_auth => 'password', smtp_proxy => '');

# --- stopping at every point ---------------------------------------------------------------------

# queue_stuck(point): a mail that will hang there; its mail_id.  One that hangs in
# its content is so long that the dot does not go out.
sub queue_stuck
{
    my ($point) = @_;
    my $lines = $point eq 'content' ? 200_000 : 1;
    return sql("SELECT jobs.send_mail('stuck\@example.com', 's', repeat('A line of the text of this mail.' || chr(10), $lines))");
}

# hang_at(point): a mail is on its way and hangs there; its mail_id.
sub hang_at
{
    my ($point) = @_;
    begin_anew(hang => $point);
    my $id = queue_stuck($point);
    wait_for(sub { grep { ($_->{hang} // '') eq $point } events() }, "it hangs at $point");
    return $id;
}

# The time that something takes until a condition holds.
sub elapsed
{
    my ($do, $until) = @_;
    my $begin = time();
    $do->();
    wait_for($until, 'it ends');
    return time() - $begin;
}

# How a mail is recorded after its sender was stopped at a point.
sub check_stopped
{
    my ($point, $id, $how, $send) = @_;
    my $uncertain = $point eq 'dot';
    is(sql("SELECT attempts FROM jobs.outbox WHERE mail_id = $id"), $uncertain ? '1' : '0',
        "$how at $point: " . ($uncertain ? 'counted' : 'not counted'));
    is(sql("SELECT count(*) FROM jobs.history h JOIN jobs.outbox o USING (run_id) WHERE o.mail_id = $id AND h.status = 'uncertain'"),
        $uncertain ? '1' : '0', $uncertain ? 'uncertain' : 'nothing is uncertain');
    behave();
    sql("UPDATE jobs.queue SET run_at = run_at - interval '1 hour' WHERE lane = 0 AND state = 'waiting'");
    $send->() if $send;
    wait_sent(1);
    is(scalar(accepted()), 1, 'it is sent then');
    return;
}

settings(smtp_max_connections => 1);
foreach my $point (qw(greeting EHLO MAIL RCPT DATA content dot))
{
    my $best = 1000;
    my $id;
    foreach my $try (1 .. 5)
    {
        sql('DELETE FROM jobs.queue') if $try > 1;
        $id = hang_at($point);
        my ($pid) = $node->safe_psql('postgres', "SELECT pid FROM jobs.queue WHERE state = 'running'");
        my $took = elapsed(sub { kill 'TERM', $pid }, sub { !kill 0, $pid });
        $best = $took if $took < $best;
        last if $best < 0.1;
    }
    cmp_ok($best, '<', 0.1, "SIGTERM at $point is honoured at once");
    check_stopped($point, $id, 'ended');
}

# No executor of mail, for one that has no end is the only one: what is sent is
# sent by a caller, who is cancelled.
begin_anew();
settings(max_workers => 1);
sql("SELECT jobs.schedule('endless', NULL, 'SELECT pg_sleep(86400)'); SELECT jobs.run_now('endless', wait => false)");
wait_for_worker($node, 'executor');
poll_until($node, "SELECT state FROM jobs.queue", 'running');

# deliver(): a caller of deliver_mail.
sub deliver
{
    my $session = new_session($node);
    $session->send('CALL jobs.deliver_mail()');
    return $session;
}

foreach my $point (qw(greeting EHLO MAIL RCPT DATA content dot))
{
    my $best = 1000;
    my $id;
    foreach my $try (1 .. 5)
    {
        sql('DELETE FROM jobs.queue WHERE lane = 0; DELETE FROM jobs.mail; DELETE FROM jobs.run_log');
        behave(hang => $point);
        forget();
        $id = queue_stuck($point);
        my $session = deliver();
        wait_for(sub { grep { ($_->{hang} // '') eq $point } events() }, "it hangs at $point");
        my $begin = time();
        sql('SELECT pg_cancel_backend(' . $session->pid . ')');
        $session->result;
        my $took = time() - $begin;
        like($session->error, qr/canceling statement due to user request/, 'the caller is cancelled') if $try == 1;
        $session->quit;
        $best = $took if $took < $best;
        last if $best < 0.15; # with the time of psql
    }
    cmp_ok($best, '<', 0.15, "a cancel at $point is honoured at once");
    check_stopped($point, $id, 'cancelled', sub { deliver()->result });
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed');
unlike(slurp_file($node->logfile), qr/token-token/, 'the token is in no log');

done_testing();
