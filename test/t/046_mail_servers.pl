# Mail to servers that others wrote: Postfix's smtp-sink, npm's smtp-server with
# STARTTLS and AUTH, and a whole Postfix that puts it into mailboxes.

use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Encode qw(encode_utf8);
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $postfix = $ENV{MJ_POSTFIX};
my $node = new_node('servers', conf => <<'CONF');
motionify_jobs.mail_from = 'Motionify Portal <hello@motionify.studio>'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '60s'
motionify_jobs.mail_retry_delay = '1s'
CONF

# --- helpers --------------------------------------------------------------------

my @programs;
END
{
    my $exit_code = $?;
    stop_program($_) foreach @programs;
    $? = $exit_code;
}

# start_program(log, environment, command, ...): runs it in the background; its pid.
sub start_program
{
    my ($log, $environment, @command) = @_;
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ($pid == 0)
    {
        local %ENV = (%ENV, %$environment);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }
    push @programs, $pid;
    return $pid;
}

sub stop_program
{
    my ($pid) = @_;
    @programs = grep { $_ != $pid } @programs;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return;
}

# settings(name => value, ...): in force when it returns, for whatever begins
# after that.
sub settings
{
    my (%value) = @_;
    $node->safe_psql('postgres', "ALTER SYSTEM SET motionify_jobs.$_ = '$value{$_}'")
      foreach sort keys %value;
    $node->reload;
    poll_until($node, "SHOW motionify_jobs.$_", $value{$_}) foreach sort keys %value;
    return;
}

# sql(text): of Perl's characters, its result too.
sub sql
{
    my ($text) = @_;
    return Encode::decode_utf8($node->safe_psql('postgres', encode_utf8($text)));
}

sub send_mail { return sql("SELECT jobs.send_mail($_[0])"); }
sub outbox { return sql("SELECT $_[1] FROM jobs.outbox WHERE mail_id = $_[0]"); }

# wait_status(mail_id, status): and says what the server said if it never comes.
sub wait_status
{
    my ($id, $status) = @_;
    return poll_until($node, "SELECT status FROM jobs.outbox WHERE mail_id = $id", $status)
      || diag(outbox($id, 'status, attempts, smtp_code, smtp_reply'));
}

# parsed(file): what Python's email package reads in a message, and whether its
# lines end with CR LF.
sub parsed
{
    my ($file) = @_;
    my $json = '';
    IPC::Run::run([ '/usr/bin/python3', '-c', <<'PYTHON', $MjTest::test_dir, $file ], '>', \$json) or die;
import json, sys
sys.path.insert(0, sys.argv[1])
import smtp_receiver
content = open(sys.argv[2], "rb").read()
found = smtp_receiver.describe(content)
found["crlf_only"] = smtp_receiver.is_crlf_only(content)
print(json.dumps(found, default=str))
PYTHON
    return decode_json($json);
}

# Line ends are the mailbox's own affair.
sub lines { return $_[0] =~ s/\r\n/\n/gr =~ s/\n+\z//r; }

# What is sent where bytes are compared: umlauts, dots, a line that is too long.
my $subject = 'Größe – 漢字';
my $text = "Hallo,\n.\n..zwei Punkte\n.\nGrüße\n" . 'lang ' x 400;
my $html = '<p>Grüße &amp; <b>mehr</b></p>';
my $dollar = '$mj$';
my $content = join ', ', map { "$dollar$_$dollar" } $subject, $text, $html;

# same_content(parsed, server): the message is what was sent.
sub same_content
{
    my ($mail, $server) = @_;
    is_deeply($mail->{defects}, [], "$server: a MIME parser has nothing to complain about");
    is($mail->{subject}, $subject, "$server: the subject");
    is(lines($mail->{text}), $text =~ s/\n+\z//r, "$server: the text, dots and all");
    is(lines($mail->{html}), $html, "$server: the HTML");
    return;
}

# --- smtp-sink --------------------------------------------------------------------

# start_sink(options...): on a free port, which another program might take first;
# the file that it puts all mail into, and its pid.
sub start_sink
{
    my (@options) = @_;
    my $dir = PostgreSQL::Test::Utils::tempdir();
    for (1 .. 5)
    {
        my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
        my $pid = start_program("$dir/log", { LD_LIBRARY_PATH => "$postfix/usr/lib/postfix" },
            "$postfix/usr/sbin/smtp-sink", @options, '-D', "$dir/mails", "127.0.0.1:$port", 100);
        my $state = wait_for(
            sub {
                return 'listens' if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
                return waitpid($pid, POSIX::WNOHANG()) == $pid ? 'ended' : '';
            },
            'smtp-sink listens');
        if ($state eq 'listens')
        {
            settings(smtp_url => "smtp://127.0.0.1:$port");
            return ("$dir/mails", $pid);
        }
        @programs = grep { $_ != $pid } @programs;
    }
    die slurp_file("$dir/log");
}

# what smtp-sink offers => its options
my @sinks = (
    [ 'with PIPELINING' ],
    [ 'without PIPELINING', '-p' ],
    [ 'without 8BITMIME', '-8' ],
    [ 'without EHLO', '-e' ]);

SKIP:
{
    skip 'smtp-sink: Postfix was not unpacked (MJ_POSTFIX)', 1 unless $postfix;
    foreach (@sinks)
    {
        my ($name, @options) = @$_;
        my ($file, $pid) = start_sink(@options);
        $node->safe_psql('postgres', <<"SQL");
SELECT jobs.send_mail('a\@example.com', '$name', repeat('text ' || i || E'\\n.\\n', i), cc => 'b\@example.com')
FROM generate_series(1, 60) i
SQL
        poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject = '$name' AND status = 'sent'", '60');
        my $arrived = join "\n", sort(slurp_file($file) =~ /^Message-ID: (\S+)/mgi);
        is($arrived, sql("SELECT message_id FROM jobs.outbox WHERE subject = '$name' ORDER BY message_id COLLATE \"C\""),
            "smtp-sink $name: all have arrived, each once");
        is(sql("SELECT DISTINCT smtp_code, attempts FROM jobs.outbox WHERE subject = '$name'"),
            '250|1', "smtp-sink $name: at the first attempt");
        my $to = () = slurp_file($file) =~ /^X-Rcpt-Args: <b\@example\.com>/mg;
        is($to, 60, "smtp-sink $name: both recipients are in the envelope");
        stop_program($pid);
    }
}

# --- npm smtp-server ----------------------------------------------------------------

my ($certificate, $key, $ca) = make_certificate();
my $password = 'corréct horse:battery';
my $password_file = PostgreSQL::Test::Utils::tempdir() . '/password';

# start_server(option => value, ...): see test/smtp_server.js; its directory, pid.
sub start_server
{
    my (%option) = @_;
    my $dir = PostgreSQL::Test::Utils::tempdir();
    my $pid = start_program("$dir/log", {}, 'node', "$MjTest::test_dir/smtp_server.js", $dir,
        encode_json(\%option));
    wait_for(sub { -s "$dir/port" || waitpid($pid, POSIX::WNOHANG()) == $pid }, 'smtp-server listens');
    die slurp_file("$dir/log") unless -s "$dir/port";
    chomp(my $port = slurp_file("$dir/port"));
    settings(smtp_url => "smtp://localhost:$port");
    return ($dir, $pid);
}

# The lines of a file of its, as hashes; also how many, in scalar context.
sub records
{
    my ($file) = @_;
    my @records = -e $file ? map { decode_json($_) } slurp_file($file) =~ /^(.*)\n/mg : ();
    return @records;
}

sub write_password
{
    my ($content) = @_;
    open my $file, '>:encoding(UTF-8)', $password_file or die;
    print $file "$content\n";
    close $file;
    chmod 0600, $password_file;
    return;
}

# Is there a Node.js with smtp-server?
sub have_smtp_server
{
    return eval { IPC::Run::run([ 'node', '-e', 'require("smtp-server")' ], '>&', \my $output) };
}

SKIP:
{
    skip 'smtp-server: npm did not install it', 1 unless have_smtp_server();
    write_password($password);
    settings(
        smtp_tls => 'require',
        smtp_ca_file => $ca,
        smtp_user => 'robot',
        smtp_password_file => $password_file);
    foreach my $method ('PLAIN', 'LOGIN')
    {
        my ($dir, $pid) = start_server(
            cert => $certificate, key => $key, user => 'robot', password => $password, methods => [$method]);
        my @ids = map { send_mail("'Zoë <zoe\@example.com>', $content, bcc => 'secret\@example.com'") } 1 .. 3;
        wait_status($_, 'sent') foreach @ids;
        my @mails = records("$dir/mails.jsonl");
        is(scalar @mails, 3, "smtp-server, AUTH $method: all have arrived, each once");
        is_deeply([ $mails[0]{mail_from}, @{ $mails[0]{rcpt_tos} } ],
            [ 'hello@motionify.studio', 'zoe@example.com', 'secret@example.com' ],
            "smtp-server, AUTH $method: the envelope");
        is("$mails[0]{auth} $mails[0]{how}", 'robot ESMTPSA', "smtp-server, AUTH $method: over TLS, logged in");
        my @logins = records("$dir/auth.jsonl");
        is(scalar(grep { $_->{good} && $_->{secure} && $_->{method} eq $method } @logins), scalar @logins,
            "smtp-server, AUTH $method: nothing was said before TLS");
        my $mail = parsed($mails[0]{file});
        same_content($mail, "smtp-server, AUTH $method");
        ok($mail->{crlf_only}, "smtp-server, AUTH $method: lines end with CR LF");
        is(outbox($ids[0], "smtp_code, smtp_reply ~ '2\\.0\\.0 queued as \\d+\$'"), '250|t',
            "smtp-server, AUTH $method: its reply is kept");
        stop_program($pid);
    }

    my ($dir, $pid) = start_server(cert => $certificate, key => $key, user => 'robot', password => 'another');
    my $id = send_mail("'a\@example.com', 'refused', 'text'");
    poll_until($node, "SELECT smtp_reply LIKE '%5.7.8%' OR smtp_reply LIKE '%could not log in%' FROM jobs.outbox WHERE mail_id = $id");
    is(outbox($id, 'status, attempts'), 'queued|0', 'smtp-server refuses the login: the mail waits, and no attempt is counted');
    my ($code, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\nCALL jobs.deliver_mail(0)");
    like($err, qr/ERROR:  08004: could not log in/, 'and deliver_mail says so');
    is(sql("SELECT step, ok FROM jobs.check_mail() WHERE NOT ok"), 'AUTH|f', 'and so does check_mail');
    is(scalar(grep { $_->{good} } records("$dir/auth.jsonl")), 0, 'nobody was let in');
    unlike(slurp_file($node->logfile), qr/horse/, 'the password is not in the log');
    stop_program($pid);

    my ($open, $open_pid) = start_server(user => '');
    is(sql("SELECT step, ok FROM jobs.check_mail() WHERE NOT ok"), 'TLS|f', 'smtp-server without STARTTLS is refused');
    is(scalar records("$open/mails.jsonl"), 0, 'and gets nothing');
    settings(smtp_tls => 'off', smtp_user => '', smtp_password_file => '');
    wait_status($id, 'sent');
    is((records("$open/mails.jsonl"))[0]{how}, 'ESMTP', 'unless it is allowed to do without');
    stop_program($open_pid);
}

# --- Postfix ------------------------------------------------------------------------

# mailbox(name): the files in a mailbox of Postfix's.
sub mailbox { return glob("$ENV{MJ_POSTFIX_DIR}/mail/$_[0]/new/*"); }

# The mail with a Message-ID in a mailbox, when Postfix has put it there: its file.
sub delivered
{
    my ($name, $message_id) = @_;
    return wait_for(
        sub {
            my ($file) = grep { slurp_bytes($_) =~ /^Message-ID: \Q$message_id\E$/m } mailbox($name);
            return $file;
        },
        "$message_id is in the mailbox of $name");
}

SKIP:
{
    skip 'Postfix does not run: starting it takes root, or sudo without a password (MJ_POSTFIX_PORT)', 1
      unless $ENV{MJ_POSTFIX_PORT};
    settings(smtp_url => "smtp://127.0.0.1:$ENV{MJ_POSTFIX_PORT}", smtp_tls => 'off');

    my $id = send_mail("'Ada <ada\@example.com>', $content, cc => 'bob\@example.com', headers => '{\"X-Kind\": \"Übersicht\"}'");
    wait_status($id, 'sent');
    my $message_id = outbox($id, 'message_id');
    my ($queue_id) = outbox($id, 'smtp_reply') =~ /^250 2\.0\.0 Ok: queued as (\w+)$/;
    ok($queue_id, "Postfix: its reply, with the queue id, is in the outbox");
    like(sql("SELECT h.result FROM jobs.history h JOIN jobs.outbox o USING (run_id) WHERE o.mail_id = $id"),
        qr/queued as $queue_id/, 'and in history');
    foreach my $name ('ada', 'bob')
    {
        my $file = delivered($name, $message_id) or next;
        my $mail = parsed($file);
        same_content($mail, "the mailbox of $name");
        my %header = map { @$_ } @{ $mail->{headers} };
        is($header{'X-Kind'}, 'Übersicht', "the mailbox of $name: an extra header");
        is($header{'Return-Path'}, '<hello@motionify.studio>', "the mailbox of $name: the envelope's sender");
        like($header{'Received'}, qr/\bid $queue_id\b/, "the mailbox of $name: the same queue id");
    }

    my @ids = split /\n/, sql(<<'SQL');
SELECT jobs.send_mail('bob@example.com', 'one of many', 'text ' || i) FROM generate_series(1, 40) i
SQL
    wait_status($_, 'sent') foreach @ids;
    delivered('bob', outbox($_, 'message_id')) foreach @ids;
    is(scalar(grep { slurp_bytes($_) =~ /^Subject: one of many$/m } mailbox('bob')), 40,
        'Postfix: many arrive, each once');

    my @mixed = map { send_mail("'$_\@example.com', 'mixed', 'text'") } 'ada', 'nobody', 'bob';
    wait_status($mixed[1], 'failed');
    like(outbox($mixed[1], 'smtp_code, attempts, smtp_reply'),
        qr/^550\|1\|550 5\.1\.1 <nobody\@example\.com>: Recipient address rejected: User unknown/,
        'an unknown recipient is final, with what Postfix said of him');
    wait_status($_, 'sent') foreach @mixed[ 0, 2 ];
    ok(delivered('ada', outbox($mixed[0], 'message_id')), 'those before him get theirs');
    ok(delivered('bob', outbox($mixed[2], 'message_id')), 'and those after him');

    my $both = send_mail("'ada\@example.com, nobody.else\@example.com', 'both', 'text'");
    wait_status($both, 'sent');
    is(sql('SELECT string_agg(address, \' \' ORDER BY address) FROM jobs.mail_suppression'),
        'nobody.else@example.com nobody@example.com', 'who is unknown there is suppressed');
    is(sql("SELECT string_agg(concat_ws(' ', attempt, status, enhanced_code), ', ' ORDER BY attempt) FROM jobs.mail_attempts WHERE mail_id = $both"),
        '1 failed 5.1.1, 2 sent 2.0.0', 'one unknown recipient of two: the mail goes again at once, without him');

    $id = send_mail("'ada\@elsewhere.example', 'relay', 'text'");
    wait_status($id, 'failed');
    like(outbox($id, 'smtp_code, smtp_reply'), qr/^554\|554 5\.7\.1 .*Relay access denied/, 'Postfix relays nothing');

    $id = send_mail("'ada\@example.com', 'last', 'text'");
    wait_status($id, 'sent');
    delivered('ada', outbox($id, 'message_id'));
    my $message_both = outbox($both, 'message_id');
    is(scalar(grep { slurp_bytes($_) =~ /\Q$message_both\E/ } mailbox('ada')), 1, 'and the other has got it once');
}

is($node->safe_psql('postgres', 'SELECT count(*) FROM jobs.queue WHERE lane = 0'), '0', 'no run is left');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed');

done_testing();
