# The message that leaves: attachments and images, signatures, what is not ASCII,
# sizes; read by parsers that are not ours, after a real SMTP server had it.  And
# bad input in databases of other encodings.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use Encode qw(decode_utf8 encode_utf8);
use IPC::Run;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = start_receiver();
my $node = new_node('message', conf => <<"CONF");
motionify_jobs.mail_from = 'Motionify Portal <hello\@motionify.studio>'
motionify_jobs.smtp_url = '@{[ $receiver->url ]}'
motionify_jobs.smtp_tls = off
motionify_jobs.mail_retry_delay = '1s'
motionify_jobs.mail_max_attempts = 100
CONF
my $dir = PostgreSQL::Test::Utils::tempdir();

# --- helpers --------------------------------------------------------------------

sub sql { return $node->safe_psql('postgres', $_[0]); }

# settings(name => value, ...): in force for whatever begins after that.
sub settings
{
    my (%value) = @_;
    sql("ALTER SYSTEM SET motionify_jobs.$_ = '$value{$_}'") foreach sort keys %value;
    $node->reload;
    poll_until($node, "SHOW motionify_jobs.$_", $value{$_}) foreach sort keys %value;
    return;
}

sub wait_status
{
    my ($id, $status) = @_;
    return poll_until($node, "SELECT status FROM jobs.outbox WHERE mail_id = $id", $status);
}

# The mail that arrived with the Message-ID of this one, as the receiver has it.
sub arrived
{
    my ($id) = @_;
    my $message_id = sql("SELECT message_id FROM jobs.outbox WHERE mail_id = $id");
    my @found = grep { $_->{message_id} eq $message_id } $receiver->mails;
    is(scalar @found, 1, 'it has arrived, once');
    return $found[0];
}

sub preview { return pack('H*', sql("SELECT encode(jobs.preview_mail($_[0]), 'hex')")); }

# What a program prints, as JSON.
sub read_by
{
    my (@cmd) = @_;
    my ($out, $err) = ('', '');
    IPC::Run::run(\@cmd, '<', \undef, '>', \$out, '2>', \$err) or diag("@cmd: $err");
    return $out ? decode_json($out) : {};
}

sub read_by_python { return read_by('/usr/bin/python3', "$MjTest::test_dir/message_check.py", @_); }
sub read_by_node { return read_by('node', "$MjTest::test_dir/message_check.js", @_); }

sub write_file
{
    my ($path, $content, $mode) = @_;
    open my $file, '>:raw', $path or die "$path: $!";
    print $file $content;
    close $file;
    chmod $mode, $path or die "$path: $!";
    return $path;
}

# make_key(name, openssl's arguments): the file of a new key, and its DNS record.
sub make_key
{
    my ($name, $kind, @arguments) = @_;
    my $path = "$dir/$name.pem";
    my ($public, $err) = ('', '');

    IPC::Run::run([ 'openssl', 'genpkey', @arguments, '-out', $path ],
        '<', \undef, '>&', \$err) or die $err;
    chmod 0600, $path;
    IPC::Run::run([ 'openssl', 'pkey', '-in', $path, '-pubout', '-outform', 'DER' ],
        '>', \$public, '2>', \$err) or die $err;
    $public = substr $public, -32 if $kind eq 'ed25519';
    return ($path, "v=DKIM1; k=$kind; p=" . MIME::Base64::encode_base64($public, ''));
}
# --- attachments, images, unsubscribing --------------------------------------------

my $id = sql(<<'SQL');
SELECT jobs.send_mail('Zoë <zoe@example.com>', 'Größe', E'Grüße\n', '<p>Grüße</p><img src="cid:logo">',
	attachments => ARRAY[
		jobs.attachment('Übersicht „2026“.csv', convert_to(E'Größe;1\n', 'UTF8')),
		jobs.attachment('logo.png', '\x89504e470d0a1a0a00ff', content_id => 'logo'),
		jobs.attachment(repeat('日本', 30) || '.pdf', decode(repeat('00ff0d0a2e0d0a', 10000), 'hex'), 'application/pdf'),
		jobs.attachment('data', '', 'application/x-empty')],
	unsubscribe => 'https://example.com/u/1 mailto:leave@example.com')
SQL
wait_status($id, 'sent');
my $mail = arrived($id);
is_deeply($mail->{defects}, [], "Python's parser has nothing to complain about");
ok($mail->{crlf_only} && $mail->{ascii} && $mail->{longest_line} <= 998, 'strict bytes');
my $python = read_by_python($mail->{file});
is(join(' ', @{ $python->{structure} }),
    'multipart/mixed multipart/related multipart/alternative text/plain text/html image/png text/csv application/pdf application/x-empty',
    'its structure');
my @wanted = (
    [ 'logo.png', 'image/png', pack('H*', '89504e470d0a1a0a00ff') ],
    [ decode_utf8('Übersicht „2026“.csv'), 'text/csv', "Größe;1\n" ],
    [ decode_utf8('日本' x 30 . '.pdf'), 'application/pdf', pack('H*', '00ff0d0a2e0d0a' x 10000) ],
    [ 'data', 'application/x-empty', '' ]);
is_deeply(
    [ map { [ @$_{qw(filename type sha256)} ] } @{ $python->{attachments} } ],
    [ map { [ @$_[ 0, 1 ], sha256_hex($_->[2]) ] } @wanted ],
    'the attachments, as Python reads them');
is($python->{attachments}[0]{content_id}, '<logo>', 'the image has its content ID');
my $node_reads = read_by_node($mail->{file});
is_deeply(
    [ map { [ @$_{qw(filename type sha256)} ] } @{ $node_reads->{attachments} } ],
    [ map { [ @$_[ 0, 1 ], sha256_hex($_->[2]) ] } @wanted ],
    'and as mailparser does');
is($node_reads->{subject}, decode_utf8('Größe'), 'it reads the subject');
is($node_reads->{html}, decode_utf8('<p>Grüße</p><img src="cid:logo">'), 'and the html');
is($python->{unsubscribe}, '<https://example.com/u/1>, <mailto:leave@example.com>', 'List-Unsubscribe');
is($python->{unsubscribe_post}, 'List-Unsubscribe=One-Click', 'by a click');
is($python->{signature}, undef, 'nothing is signed without a key');
ok(preview($id) eq slurp_bytes($mail->{file}), 'the preview is what was sent');

$id = sql("SELECT jobs.send_mail('a\@example.com', 'plain', 'text', attachments => '{}')");
wait_status($id, 'sent');
$mail = arrived($id);
$python = read_by_python($mail->{file});
is(join(' ', @{ $python->{structure} }), 'text/plain', 'without attachments there is one part');
is($python->{unsubscribe}, undef, 'and no List-Unsubscribe unless asked for');

my $size = 6_000_000;
$id = sql("SELECT jobs.send_mail('a\@example.com', 'big', 'text', attachments => ARRAY[jobs.attachment('big.bin', decode(repeat('0102030405ff', $size / 6), 'hex'))])");
wait_status($id, 'sent');
$python = read_by_python(arrived($id)->{file});
is($python->{attachments}[0]{sha256}, sha256_hex(pack('H*', '0102030405ff') x ($size / 6)),
    'a large attachment arrives whole');

# --- signatures ------------------------------------------------------------------------

my ($rsa, $rsa_record) = make_key('rsa', 'rsa', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');
my ($ed, $ed_record) = make_key('ed', 'ed25519', '-algorithm', 'ED25519');
my $begin = -s $node->logfile;

settings(dkim_key_file => $rsa, dkim_selector => 's1');
$id = sql(<<'SQL');
SELECT jobs.send_mail('a@example.com', 'Größe ' || repeat('and more ', 30), E'text \t  \n\n\n', '<p>ü</p>',
	attachments => ARRAY[jobs.attachment('a.bin', '\x00')], unsubscribe => 'https://example.com/')
SQL
wait_status($id, 'sent');
$mail = arrived($id);
$python = read_by_python($mail->{file}, $rsa_record);
ok($python->{dkim}, 'python3-dkim agrees with a signature by RSA');
is_deeply($python->{record}, ['s1._domainkey.motionify.studio.'], "of the sender's domain");
like($python->{signature}, qr/;h=From:From:Reply-To:To:To:Cc:Subject:Subject:/, 'headers are oversigned');
like($python->{signature}, qr/:List-Unsubscribe:List-Unsubscribe-Post;/, 'those for unsubscribing are signed');
is_deeply($python->{defects}, [], 'the message is still well-formed');
ok(preview($id) eq slurp_bytes($mail->{file}), 'the preview has the same signature');
ok(!read_by_python($mail->{file}, $ed_record)->{dkim}, 'another key would not do');
write_file("$dir/changed.eml", slurp_bytes($mail->{file}) =~ s/^Subject: /Subject: x/mr, 0600);
ok(!read_by_python("$dir/changed.eml", $rsa_record)->{dkim}, 'nor a message that was changed');

settings(dkim_key_file => $ed, dkim_selector => 's2.mail', dkim_domain => 'example.org');
$id = sql("SELECT jobs.send_mail('a\@example.com', 'ed25519', 'text')");
wait_status($id, 'sent');
$python = read_by_python(arrived($id)->{file}, $ed_record);
ok($python->{dkim}, 'python3-dkim agrees with a signature by Ed25519; the settings were followed');
is_deeply($python->{record}, ['s2.mail._domainkey.example.org.'], 'of the domain of the settings');

# the same file with another key in it
my ($other, $other_record) = make_key('other', 'ed25519', '-algorithm', 'ED25519');
rename $other, $ed or die;
$id = sql("SELECT jobs.send_mail('a\@example.com', 'replaced', 'text')");
wait_status($id, 'sent');
ok(read_by_python(arrived($id)->{file}, $other_record)->{dkim}, 'a file that was replaced is read again');

$receiver->behave({ data => '451 4.3.0 try again later' });
$id = sql("SELECT jobs.send_mail('a\@example.com', 'again', 'text', '<p>text</p>')");
poll_until($node, "SELECT attempts >= 1 FROM jobs.outbox WHERE mail_id = $id");
my $before = preview($id);
$receiver->behave({});
wait_status($id, 'sent');
ok($before eq slurp_bytes(arrived($id)->{file}), 'a later attempt has the bytes of the first');

# --- a key that cannot be used keeps mail, and loses none --------------------------------

chmod 0644, $ed;
$id = sql("SELECT jobs.send_mail('a\@example.com', 'waits', 'text')");
poll_until($node, "SELECT smtp_reply FROM jobs.outbox WHERE mail_id = $id",
    "DKIM key file \"$ed\" has group or world access");
is(sql("SELECT status, attempts FROM jobs.outbox WHERE mail_id = $id"), 'queued|0',
    'a key that others can read: mail waits, and no attempt is counted');
my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT jobs.preview_mail($id)");
like($err, qr/ERROR:  42501: DKIM key file .*HINT:  Use chmod 0600/s, 'a preview says so, too');
is(sql("SELECT detail ~ 'DKIM key file.*chmod 0600' FROM jobs.check_mail() WHERE NOT ok"), 't',
    'and so does check_mail');
my $canary = MIME::Base64::encode_base64('canary ' x 20, '');
write_file($ed, "-----BEGIN PRIVATE KEY-----\n$canary\n-----END PRIVATE KEY-----\n", 0600);
poll_until($node, "SELECT smtp_reply LIKE '%cannot be used: there is no private key in PEM form' FROM jobs.outbox WHERE mail_id = $id");
write_file($ed, slurp_bytes($rsa), 0600);
wait_status($id, 'sent');
ok(read_by_python(arrived($id)->{file}, $rsa_record)->{dkim}, 'then it is sent, signed');
my $log = slurp_file($node->logfile, $begin);
unlike($log, qr/\Q$canary\E|PRIVATE KEY/, 'the log shows nothing of a key');
my ($line) = slurp_bytes($rsa) =~ /\n(\S{40,})\n/;
unlike($log, qr/\Q$line\E/, 'of none');
settings(dkim_key_file => '', dkim_domain => '');

# --- addresses that are not ASCII ---------------------------------------------------------

$id = sql("SELECT jobs.send_mail('Info <info\@köln.example>', 'domain', 'text', sender => 'j\@bücher.example')");
wait_status($id, 'sent');
$mail = arrived($id);
is_deeply([ $mail->{mail_from}, @{ $mail->{rcpt_tos} } ],
    [ 'j@xn--bcher-kva.example', 'info@xn--kln-sna.example' ], 'a domain is sent in ASCII');
like($mail->{message_id}, qr/\@xn--bcher-kva\.example>$/, 'as in the Message-ID');
ok($mail->{ascii}, 'and so is all of the message');

my $mails = abs_path(PostgreSQL::Test::Utils::tempdir());
settings(smtp_url => "file://$mails");
$id = sql("SELECT jobs.send_mail('Jürgen <jürgen\@köln.example>', 'before the at', 'text')");
wait_status($id, 'sent');
like(slurp_bytes((glob("$mails/*.eml"))[0]), qr/^To: =\?UTF-8\?Q\?J=C3=BCrgen\?= <j\xc3\xbcrgen\@xn--kln-sna\.example>\r$/m,
    'an address that is not ASCII is written in UTF-8, and nothing else');

# --- other encodings ------------------------------------------------------------------------

foreach my $encoding ('LATIN1', 'SQL_ASCII')
{
    my $db = lc $encoding;

    sql("CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    $node->safe_psql($db, 'CREATE EXTENSION motionify_jobs');
    local $ENV{PGCLIENTENCODING} = $encoding eq 'LATIN1' ? 'UTF8' : 'SQL_ASCII';
    $id = $node->safe_psql($db, <<'SQL');
SELECT jobs.send_mail('Zoë <zoe@köln.example>', 'Größe', 'Grüße', headers => '{"X-A": "ü"}',
	attachments => ARRAY[jobs.attachment('Größe.txt', 'x')])
SQL
    my $message = $node->safe_psql($db, "SELECT encode(jobs.preview_mail($id), 'hex')");
    write_file("$dir/$db.eml", pack('H*', $message), 0600);
    $node_reads = read_by_node("$dir/$db.eml");
    is($node_reads->{subject}, decode_utf8('Größe'), "$encoding: the subject is UTF-8");
    like($node_reads->{text}, qr/^\Q@{[decode_utf8('Grüße')]}\E\s*$/, "$encoding: and the text");
    is($node_reads->{attachments}[0]{filename}, decode_utf8('Größe.txt'), "$encoding: and the filename");

    my %refused = (
        recipient => [ "E'a\@b.example\\r\\nBcc: c\@d.example', 'subject', 'text'", qr/address in "recipient"/ ],
        subject => [ "'a\@b.example', E'a\\nb', 'text'", qr/"subject"/ ],
        cc => [ "'a\@b.example', 'a', 'text', cc => 'a <b'", qr/"cc"/ ],
        filename => [ "'a\@b.example', 'a', 'text', attachments => ARRAY[jobs.attachment(E'a\\nb', 'x')]", qr/"attachments\[1\]\.filename"/ ]);
    if ($encoding eq 'SQL_ASCII')
    {
        $refused{'bytes in recipient'} = [ "E'J\\xff <a\@b.example>', 'a', 'text'", qr/invalid UTF-8 in address in "recipient"/ ];
        $refused{'bytes in subject'} = [ "'a\@b.example', E'\\xff', 'text'", qr/invalid UTF-8 in "subject"/ ];
        $refused{'bytes in body_text'} = [ "'a\@b.example', 'a', E'\\xc3'", qr/invalid UTF-8 in "body_text"/ ];
        $refused{'bytes in body_html'} = [ "'a\@b.example', 'a', NULL, E'\\xed\\xa0\\x80'", qr/invalid UTF-8 in "body_html"/ ];
        $refused{'bytes in filename'} = [ "'a\@b.example', 'a', 'text', attachments => ARRAY[jobs.attachment(E'\\xff', 'x')]", qr/invalid UTF-8 in "attachments\[1\]\.filename"/ ];
        $refused{'bytes in headers'} = [ "'a\@b.example', 'a', 'text', headers => jsonb_build_object('X-A', E'\\xff')", qr/invalid UTF-8 in header "X-A"/ ];
    }
    foreach my $what (sort keys %refused)
    {
        my ($arguments, $wanted) = @{ $refused{$what} };
        ($code, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\nSELECT jobs.send_mail($arguments)");
        like($err, qr/ERROR:  22023: .*$wanted/, "$encoding: $what is refused by name");
    }
}

# --- sizes ---------------------------------------------------------------------------------------

($code, $out, $err) = $node->psql('postgres', <<'SQL');
\set VERBOSITY verbose
SELECT jobs.send_mail('a@example.com', 'too big', 'text',
	attachments => ARRAY[jobs.attachment('a.bin', convert_to(repeat('x', 20000000), 'UTF8'))])
SQL
like($err, qr/ERROR:  22023: "attachments" makes the mail too large.*DETAIL:  It has 27\d+ bytes; motionify_jobs.mail_max_size allows 26214400/s,
    'what is too large as it would be sent is refused when it is queued');
is(sql("SELECT count(*) FROM jobs.mail WHERE subject = 'too big'"), '0', 'and not queued');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed');

done_testing();
