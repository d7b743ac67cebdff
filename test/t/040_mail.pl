# Mail from the table to a real SMTP server: executors, retries, TLS and AUTH,
# a server that is away or hangs, deliver_mail(), files, and what is held
# meanwhile: nothing.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Cwd qw(abs_path);
use Encode qw(decode_utf8);
use IO::Socket::INET;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $receiver = start_receiver();
my $node = new_node('mail', conf => <<"CONF");
motionify_jobs.mail_from = 'Motionify Portal <hello\@motionify.studio>'
motionify_jobs.smtp_url = '@{[ $receiver->url ]}'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '60s'
motionify_jobs.mail_retry_delay = '1s'
motionify_jobs.mail_max_attempts = 100
CONF

# --- helpers --------------------------------------------------------------------

# write_settings(name => value, ...): for when the server is reloaded.
sub write_settings
{
    my (%value) = @_;
    foreach my $name (sort keys %value)
    {
        $node->safe_psql('postgres', "ALTER SYSTEM SET motionify_jobs.$name = '$value{$name}'");
    }
    return;
}

# settings(name => value, ...): in force when it returns, for whatever begins
# after that.
sub settings
{
    my (%value) = @_;
    write_settings(%value);
    $node->reload;
    poll_until($node, "SHOW motionify_jobs.$_", $value{$_}) foreach sort keys %value;
    return;
}

# send(subject[, arguments]): queues a mail to a@example.com; its mail_id.
sub send_mail
{
    my ($subject, $arguments) = @_;
    $arguments = $arguments ? ", $arguments" : '';
    return $node->safe_psql('postgres',
        "SELECT jobs.send_mail('a\@example.com', '$subject', 'text'$arguments)");
}

# outbox(mail_id, columns): as psql shows them.
sub outbox
{
    my ($id, $columns) = @_;
    return $node->safe_psql('postgres', "SELECT $columns FROM jobs.outbox WHERE mail_id = $id");
}

sub wait_status
{
    my ($id, $status) = @_;
    return poll_until($node, "SELECT status FROM jobs.outbox WHERE mail_id = $id", $status);
}

# the mails that arrived with a subject
sub arrived
{
    my ($subject, $from) = @_;
    return grep { $_->{subject} eq $subject } ($from || $receiver)->mails;
}

# A session in the background; say() sends it SQL.
sub session
{
    my ($name) = @_;
    my ($in, $out, $err) = ('', '', '');
    my $self = { in => \$in, out => \$out, err => \$err };
    $self->{run} = IPC::Run::start(
        [ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=$name" ],
        '<', \$in, '>', \$out, '2>', \$err);
    return $self;
}

sub say_to
{
    my ($session, $sql) = @_;
    ${ $session->{in} } .= "$sql\n";
    $session->{run}->pump_nb;
    return;
}

sub finish
{
    my ($session) = @_;
    $session->{run}->finish;
    return ${ $session->{out} };
}

# A server that says what it must up to some command, then nothing any more.
# It and its connections are a process group, for stop_stalling().
sub stalling_server
{
    my ($last) = @_;
    my $socket = IO::Socket::INET->new(Listen => 8, LocalAddr => '127.0.0.1', ReuseAddr => 1)
      or die "cannot listen: $!";
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ($pid == 0)
    {
        setpgrp;
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        while (my $client = $socket->accept)
        {
            next if fork();
            print $client "220 stall\r\n";
            while (my $line = <$client>)
            {
                next if $line =~ /^$last/i;
                print $client $line =~ /^DATA/i ? "354 go on\r\n" : "250 ok\r\n";
            }
            POSIX::_exit(0);
        }
        POSIX::_exit(0);
    }
    my $port = $socket->sockport;
    close $socket;
    return { pid => $pid, url => "smtp://127.0.0.1:$port" };
}

my @stalling;
END
{
    my $exit_code = $?;
    kill 'KILL', -$_->{pid} foreach @stalling;
    $? = $exit_code;
}

# --- an executor sends after commit ---------------------------------------------

my $id = $node->safe_psql('postgres', <<'SQL');
SELECT jobs.send_mail('Zoë Müller <zoe@example.com>, b@example.com', 'Größe – 漢字',
	E'Hallo,\n.\n..zwei Punkte\nGrüße\n' || repeat('lang ', 400), '<p>Grüße &amp; <b>mehr</b></p>',
	reply_to => 'noreply@motionify.studio', cc => 'c@example.com', bcc => 'secret@example.com',
	headers => '{"X-Kind": "tägliche Übersicht"}')
SQL
wait_status($id, 'sent');
my ($mail) = $receiver->wait_mails(1);
is(join(',', @{ $mail->{rcpt_tos} }),
    'zoe@example.com,b@example.com,c@example.com,secret@example.com', 'the envelope has all recipients');
is($mail->{mail_from}, 'hello@motionify.studio', 'its sender is mail_from');
is_deeply($mail->{defects}, [], 'a MIME parser has nothing to complain about');
ok($mail->{crlf_only} && $mail->{ascii}, 'the bytes are ASCII with CR LF only');
is($mail->{subject}, decode_utf8('Größe – 漢字'), 'subject');
is($mail->{to}, decode_utf8('Zoë Müller <zoe@example.com>, b@example.com'), 'To');
is($mail->{reply_to}, 'noreply@motionify.studio', 'Reply-To');
is($mail->{content_type}, 'multipart/alternative', 'text and HTML are alternatives');
my $text = decode_utf8("Hallo,\n.\n..zwei Punkte\nGrüße\n") . 'lang ' x 400;
is($mail->{text} =~ s/\r\n/\n/gr =~ s/\n\z//r, $text, 'text');
is($mail->{html} =~ s/\s+\z//r, decode_utf8('<p>Grüße &amp; <b>mehr</b></p>'), 'HTML');
my %header = map { @$_ } @{ $mail->{headers} };
is($header{'X-Kind'}, decode_utf8('tägliche Übersicht'), 'extra header');
unlike(slurp_bytes($mail->{file}), qr/secret\@/, 'Bcc is in no header');
is(outbox($id, 'smtp_code, attempts, sent_at >= created_at, message_id'),
    "250|1|t|$mail->{message_id}", 'the outbox tells the same');
is($node->safe_psql('postgres', "SELECT h.status, h.job, h.attempt, h.result ~ '^250 ' FROM jobs.history h JOIN jobs.outbox o USING (run_id) WHERE o.mail_id = $id"),
    'succeeded|mail|1|t', 'and so does history');

$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT jobs.send_mail('a@example.com', 'rolled back', 'text');
ROLLBACK;
SQL
$id = send_mail('after the rollback');
wait_status($id, 'sent');
is(scalar arrived('rolled back'), 0, 'what was rolled back is not sent');

$id = send_mail('later', "send_at => now() + interval '2 seconds'");
wait_status($id, 'sent');
is($node->safe_psql('postgres', "SELECT m.ended_at >= m.created_at + interval '1.9 seconds' FROM jobs.mail m WHERE mail_id = $id"),
    't', 'send_at is kept');

my $big = 3_000_000;
$id = $node->safe_psql('postgres',
    "SELECT jobs.send_mail('a\@example.com', 'big', repeat('0123456789' || chr(10), $big / 11))");
wait_status($id, 'sent');
($mail) = arrived('big');
cmp_ok(length($mail->{text}), '>=', $big - 11, 'a long body arrives whole');

# --- 4xx, 5xx, attempts -----------------------------------------------------------

$receiver->behave({ data => '451 4.3.0 try again later' });
$id = send_mail('temporary');
poll_until($node, "SELECT attempts >= 1 FROM jobs.outbox WHERE mail_id = $id");
is(outbox($id, 'smtp_code, smtp_reply'), '451|451 4.3.0 try again later', 'a 4xx reply is kept');
$receiver->behave({});
wait_status($id, 'sent');
my $attempts = outbox($id, 'attempts');
cmp_ok($attempts, '>=', 2, 'it was tried again');
is(scalar arrived('temporary'), 1, 'and arrived once');
is($node->safe_psql('postgres', <<SQL), "failed|38000\nsucceeded|", 'each attempt is in history');
SELECT DISTINCT h.status, h.sqlstate FROM jobs.history h JOIN jobs.outbox o USING (run_id)
WHERE o.mail_id = $id ORDER BY 1
SQL

settings(mail_max_attempts => 2);
$receiver->behave({ rcpt => { 'a@example.com' => '452 4.2.2 mailbox full' } });
$id = send_mail('given up');
wait_status($id, 'failed');
is(outbox($id, 'attempts, smtp_code, next_attempt_at'), '2|452|', 'given up after mail_max_attempts');
is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.queue WHERE lane = 0'), '0', 'its run is gone');
settings(mail_max_attempts => 100);

$receiver->behave({ rcpt => { 'a@example.com' => '550 5.1.1 no such user' } });
my $ids = $node->safe_psql('postgres', <<'SQL');
SELECT jobs.send_mail(r || '@example.com', 'mixed', 'text') FROM unnest('{a,b}'::text[]) r;
SQL
my ($bad, $good) = split /\n/, $ids;
wait_status($bad, 'failed');
wait_status($good, 'sent');
is(outbox($bad, 'attempts, smtp_code, smtp_reply'), '1|550|550 5.1.1 no such user', 'a 5xx reply is final');
$receiver->behave({});
is($node->safe_psql('postgres', "SELECT jobs.unsuppress('a\@example.com')"), 't', 'an unknown mailbox is suppressed');

$receiver->behave({ mail => '530 5.7.0 Authentication required' });
$id = send_mail('not logged in');
poll_until($node, "SELECT smtp_reply LIKE '%530 5.7.0 Authentication required%' FROM jobs.outbox WHERE mail_id = $id");
is(outbox($id, 'status, attempts'), 'queued|0', 'a server that wants a login refuses us, not the mail');
$receiver->behave({});
wait_status($id, 'sent');

# --- the same source_key ------------------------------------------------------------

my $first = session('first');
say_to($first, "BEGIN; SELECT jobs.send_mail('a\@example.com', 'key', 'text', source_key => 'k');");
wait_for(sub { $first->{run}->pump_nb; ${ $first->{out} } =~ /\d+\n/ }, 'the first is inserted');
my $second = session('second');
say_to($second, "SELECT jobs.send_mail('a\@example.com', 'key', 'text', source_key => 'k');");
poll_until($node, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'second'");
say_to($first, 'COMMIT;');
is(finish($second), finish($first), 'two at once with the same source_key get the same mail');
is($node->safe_psql('postgres', "SELECT count(*) FROM jobs.mail WHERE source_key = 'k'"), '1', 'there is one');

# --- deliver_mail, while executors are at it -------------------------------------------

$node->safe_psql('postgres', <<'SQL');
SELECT jobs.send_mail('a@example.com', 'many', 'text ' || i) FROM generate_series(1, 150) i;
SQL
my @callers = map { session("deliver$_") } 1 .. 2;
say_to($_, 'CALL jobs.deliver_mail(200);') foreach @callers;
finish($_) foreach @callers;
is(join('', map { ${ $_->{err} } } @callers), '', 'two callers at once have no errors');
is($node->safe_psql('postgres', "SELECT status, count(*) FROM jobs.outbox WHERE subject = 'many' GROUP BY 1"),
    'sent|150', 'when they return, all is sent');
my %count;
$count{ $_->{message_id} }++ foreach arrived('many');
is(scalar(keys %count), 150, 'all have arrived');
is(scalar(grep { $_ > 1 } values %count), 0, 'each once');

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE delivered (n integer);
CREATE PROCEDURE deliver_some() LANGUAGE plpgsql AS $$
DECLARE accepted integer;
BEGIN
	PERFORM jobs.send_mail('a@example.com', 'by a job', 'text') FROM generate_series(1, 3);
	CALL jobs.deliver_mail(50, accepted);
	INSERT INTO delivered VALUES (accepted);
END $$;
CALL deliver_some();
SELECT jobs.schedule('deliver', NULL, 'CALL deliver_some()');
SQL
my $run = run_and_wait($node, 'deliver');
is($run->{status}, 'succeeded', 'a job delivers') or diag($run->{error});
is($node->safe_psql('postgres', 'SELECT string_agg(n::text, $$,$$) FROM delivered'), '3,3',
    'a procedure sees what it queued accepted, in a session and in a job');
is(scalar arrived('by a job'), 6, 'each has arrived once');
$node->safe_psql('postgres', 'DROP PROCEDURE deliver_some; DROP TABLE delivered');
$node->safe_psql('postgres', "SELECT jobs.unschedule('deliver')");

# --- a server that is away -----------------------------------------------------------

my $port = $receiver->port;
$receiver->stop;
$id = send_mail('unreachable');
poll_until($node, "SELECT smtp_reply LIKE 'could not connect to SMTP server%' FROM jobs.outbox WHERE mail_id = $id");
is(outbox($id, "status, attempts"), 'queued|0', 'without a server it stays as it was');
my ($code, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\nCALL jobs.deliver_mail(0)");
like($err, qr/ERROR:  08001: could not connect to SMTP server.*HINT:  .*check_mail/s, 'deliver_mail says so');
($code, $out, $err) = $node->psql('postgres', <<'SQL');
\set VERBOSITY verbose
SELECT jobs.send_mail('a@example.com', 'unreachable too', 'text');
CALL jobs.deliver_mail();
SQL
like($err, qr/ERROR:  0800[16]: /, 'also when there is mail');
is($node->safe_psql('postgres', <<'SQL'), 'queued|0|0', 'which goes back uncounted');
SELECT DISTINCT status, attempts, failures FROM jobs.outbox JOIN jobs.queue USING (run_id)
WHERE subject LIKE 'unreachable%'
SQL
is($node->safe_psql('postgres', "SELECT step, ok FROM jobs.check_mail()"), "settings|t\nconnect|f",
    'check_mail names the step');
$receiver = start_receiver(port => $port, dir => $receiver->dir);
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject LIKE 'unreachable%' AND status = 'sent'", '2');
is(outbox($id, 'attempts, smtp_code'), '1|250', 'it goes on when the server is back');
my $log = slurp_file($node->logfile);
my $complaints = () = $log =~ /LOG: .*mail is not being delivered: could not connect/g;
cmp_ok($complaints, '>=', 1, 'the log says that mail is not being delivered');
cmp_ok($complaints, '<=', 2, 'but not for every attempt');

# --- TLS, AUTH, the password's file ------------------------------------------------------

my ($cert, $key, $ca) = make_certificate();
my $password = 'corréct horse:battery';
my $tls = start_receiver(tls => 'starttls', cert => [ $cert, $key ], auth => "robot:$password");
my $password_file = PostgreSQL::Test::Utils::tempdir() . '/password';
open my $file, '>', $password_file or die;
print $file "$password\n";
close $file;
chmod 0644, $password_file;
settings(
    smtp_url => $tls->url,
    smtp_tls => 'require',
    smtp_user => 'robot',
    smtp_password_file => $password_file);
is($node->safe_psql('postgres', "SELECT step, ok FROM jobs.check_mail()"), 'settings|f',
    'a password file that others can read is refused');
$id = send_mail('secret');
poll_until($node, "SELECT smtp_reply FROM jobs.outbox WHERE mail_id = $id",
    "SMTP password file \"$password_file\" has group or world access");
is(outbox($id, 'status, attempts'), 'queued|0', 'its mail waits');
($code, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\nCALL jobs.deliver_mail()");
like($err, qr/ERROR:  42501: .*HINT:  Use chmod 0600/s, 'deliver_mail has the hint');

chmod 0600, $password_file;
is($node->safe_psql('postgres', "SELECT ok FROM jobs.check_mail() WHERE step = 'TLS'"), 'f',
    'a certificate of an unknown authority is refused');
settings(smtp_ca_file => $ca);
is($node->safe_psql('postgres', "SELECT step, ok FROM jobs.check_mail('t\@example.com')"),
    "settings|t\nconnect|t\nTLS|t\nAUTH|t\nmail|t", 'then all steps succeed');
wait_status($id, 'sent');
($mail) = arrived('secret', $tls);
ok($mail->{tls}, 'sent over TLS');
is($mail->{auth}, 'robot', 'after AUTH');

open $file, '>', $password_file or die;
print $file "wrong $password\n";
close $file;
is($node->safe_psql('postgres', "SELECT ok FROM jobs.check_mail() WHERE step = 'AUTH'"), 'f',
    'a wrong password is the step AUTH');
($code, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\nCALL jobs.deliver_mail(0)");
like($err, qr/ERROR:  08004: could not log in/, 'and a connection error');
unlike(slurp_file($node->logfile), qr/horse/, 'the password is not in the server log');
$tls->stop;

my $smtps = start_receiver(tls => 'smtps', cert => [ $cert, $key ]);
settings(smtp_url => $smtps->url, smtp_user => '', smtp_password_file => '');
$id = send_mail('smtps');
wait_status($id, 'sent');
is(scalar arrived('smtps', $smtps), 1, 'smtps works as well');
$smtps->stop;
settings(smtp_url => $receiver->url);
is($node->safe_psql('postgres', "SELECT ok FROM jobs.check_mail() WHERE step = 'TLS'"), 'f',
    'a server without STARTTLS is refused');

# --- another way out -------------------------------------------------------------------------

settings(smtp_tls => 'off', mail_redirect_to => 'dev@example.net');
$id = $node->safe_psql('postgres',
    "SELECT jobs.send_mail('A <a\@example.com>', 'redirected', 'text', cc => 'c\@example.com', bcc => 'd\@example.com')");
wait_status($id, 'sent');
($mail) = arrived('redirected');
is(join(',', @{ $mail->{rcpt_tos} }), 'dev@example.net', 'redirected: the envelope');
is($mail->{to}, 'dev@example.net', 'and To');
%header = map { @$_ } @{ $mail->{headers} };
is($header{'X-Original-To'}, 'A <a@example.com>', 'and who would have got it');
ok(!exists $header{'Cc'}, 'nobody else gets it');
settings(mail_redirect_to => '');

my $directory = abs_path(PostgreSQL::Test::Utils::tempdir());
settings(smtp_url => "file://$directory");
$id = send_mail('into a file');
wait_status($id, 'sent');
my @files = glob("$directory/*.eml");
is(scalar @files, 1, 'a directory gets a file');
my $message_id = outbox($id, 'message_id');
like(slurp_bytes($files[0]), qr/^Message-ID: \Q$message_id\E\r$/m, 'with the message');
is(outbox($id, 'smtp_code, smtp_reply'), "|written to $files[0]", 'and the outbox has its name');
is($node->safe_psql('postgres', "SELECT step, ok FROM jobs.check_mail('t\@example.com')"),
    "settings|t\ndirectory|t\nmail|t", 'check_mail knows directories');

# --- a server that hangs ----------------------------------------------------------------------

my $stall = stalling_server('MAIL');
push @stalling, $stall;
settings(smtp_url => $stall->{url});
$id = send_mail('hangs');
wait_status($id, 'sending');
$node->safe_psql('postgres', "SELECT jobs.schedule('meanwhile', NULL, 'SELECT 1')");
settings(max_workers => 1);
my $begin = time();
$run = run_and_wait($node, 'meanwhile');
is($run->{status}, 'succeeded', 'a job gets the only executor');
cmp_ok(time() - $begin, '<', 20, 'from a mail that hangs');
settings(max_workers => 4);
wait_status($id, 'sending');
my $caller = session('caller');
say_to($caller, "SELECT jobs.send_mail('a\@example.com', 'hangs too', 'text');");
say_to($caller, 'CALL jobs.deliver_mail();');
poll_until($node, "SELECT status FROM jobs.outbox WHERE subject = 'hangs too'", 'sending');
poll_until($node, "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'caller'", 'Extension');
is($node->safe_psql('postgres', <<'SQL'), '', 'neither xmin nor xid is held while the network is used');
SELECT application_name, backend_type, backend_xmin, backend_xid FROM pg_stat_activity
WHERE (application_name = 'caller' OR pid IN (SELECT pid FROM jobs.queue WHERE state = 'running'))
  AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'and nothing is locked, but the virtual transaction of a caller');
SELECT application_name, locktype, relation::regclass, mode FROM pg_locks JOIN pg_stat_activity a USING (pid)
WHERE (application_name = 'caller' OR pid IN (SELECT pid FROM jobs.queue WHERE state = 'running'))
  AND NOT (locktype = 'virtualxid' AND application_name = 'caller')
SQL
is($node->safe_psql('postgres', <<SQL), 't', 'and the executor has no transaction');
SELECT a.xact_start IS NULL FROM pg_stat_activity a JOIN jobs.queue USING (pid) JOIN jobs.mail USING (run_id)
WHERE mail_id = $id
SQL

$begin = time();
$node->safe_psql('postgres',
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'caller'");
finish($caller);
cmp_ok(time() - $begin, '<', 15, 'deliver_mail can be cancelled');
like(${ $caller->{err} }, qr/canceling statement due to user request/, 'and says so');
is($node->safe_psql('postgres', "SELECT DISTINCT attempts, failures FROM jobs.outbox JOIN jobs.queue USING (run_id)"),
    '0|0', 'that is no failed attempt');

write_settings(smtp_url => $receiver->url);
$begin = time();
$node->stop('fast');
cmp_ok(time() - $begin, '<', 20, 'a fast shutdown does not wait for the SMTP server');
$node->start;
poll_until($node, "SELECT string_agg(status || attempts, ',') FROM jobs.outbox WHERE subject LIKE 'hangs%'", 'sent1,sent1');
is(scalar arrived('hangs'), 1, 'what was interrupted is sent after it');

# --- a sender that dies --------------------------------------------------------------------------

settings(smtp_url => $stall->{url});
$id = send_mail('killed');
wait_status($id, 'sending');
$message_id = outbox($id, 'message_id');
settings(smtp_url => $receiver->url);
my $sender = $node->safe_psql('postgres', "SELECT pid FROM jobs.queue JOIN jobs.mail USING (run_id) WHERE mail_id = $id");
kill 'KILL', $sender;
backend_of_pid_gone($sender);
wait_status($id, 'sent');
my @arrived = arrived('killed');
is(scalar @arrived, 1, 'a mail whose sender was killed is sent by the next');
is($arrived[0]->{message_id}, $message_id, 'under the same Message-ID');

# --- a template --------------------------------------------------------------------------------------

$node->safe_psql('postgres', <<'SQL');
SELECT jobs.set_mail_template('footer', NULL, E'-- \n{{org}}\n', '<hr>{{org}}');
SELECT jobs.set_mail_template('greeting', 'Grüße, {{name}}', E'Hallo {{name}},\n{{#items}}\n* {{.}}\n{{/items}}\n{{> footer}}',
	'<p>Hallo {{name}},</p><ul>{{#items}}<li>{{.}}</li>{{/items}}</ul>{{> footer}}');
SELECT jobs.schedule('greets', NULL, $$SELECT jobs.send_mail('a@example.com', template => 'greeting',
	data => '{"name": "Zoë <z>", "org": "A & B", "items": [1, "zwei"]}')$$);
SQL
$id = run_and_wait($node, 'greets')->{result};
wait_status($id, 'sent');
($mail) = arrived(decode_utf8('Grüße, Zoë <z>'));
is_deeply($mail->{defects}, [], 'a mail made of a template arrives whole');
is($mail->{text} =~ s/\r\n/\n/gr, decode_utf8("Hallo Zoë <z>,\n* 1\n* zwei\n-- \nA & B\n"), 'its text as it is');
is($mail->{html} =~ s/\s+\z//r,
    decode_utf8('<p>Hallo Zoë &lt;z&gt;,</p><ul><li>1</li><li>zwei</li></ul><hr>A &amp; B'), 'its HTML escaped');

# --- what is seen by all ----------------------------------------------------------------------------

is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.queue WHERE lane = 0'), '0', 'no run is left');
is($node->safe_psql('postgres', "SELECT count(*) FROM jobs.mail WHERE ended_as IS NULL"), '0', 'nor a mail without an end');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed');

done_testing();
