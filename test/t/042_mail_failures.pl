# What becomes of a mail when the server fails, in every way that one can: its
# status, its attempts, when it is tried again, what the server has taken; and
# of the transport.  The clock is injected, so no wait is waited for.
#
# A name that is resolved slowly cannot be made on one machine without changing
# its resolver: test/unit/smtp_live.py does that, with one of its own.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(strftime);

my $server = start_receiver(scripted => 1);
my $url = $server->url;
my $node = new_node('main', testing => 1, conf => <<"CONF");
motionify_jobs.smtp_url = '$url'
motionify_jobs.smtp_tls = off
motionify_jobs.smtp_timeout = '1s'
motionify_jobs.mail_from = 'jobs\@example.com'
motionify_jobs.max_workers = 1
motionify_jobs.test_clock = '2026-03-01 12:00:00+00'
CONF
sub sql { return $node->safe_psql('postgres', $_[0]); }

# --- helpers --------------------------------------------------------------------

my $now = 1772366400;

sub advance
{
    my ($seconds) = @_;
    $now += $seconds;
    set_clock($node, strftime('%Y-%m-%d %H:%M:%S+00', gmtime $now));
    return;
}

my $behaviours = 0;

# behave(place => action, ...): as test/smtp_scripted.py says.
sub behave
{
    my (%at) = @_;
    $server->behave({ id => ++$behaviours, at => \%at });
    return;
}

sub settings
{
    my (%value) = @_;
    sql("ALTER SYSTEM SET motionify_jobs.$_ = '$value{$_}'") foreach keys %value;
    $node->reload;
    poll_until($node, "SHOW motionify_jobs.$_", $value{$_}) foreach keys %value;
    return;
}

# Queues a mail; its mail_id.
sub send_mail
{
    my ($subject, $arguments, $to) = @_;
    $arguments = $arguments ? ", $arguments" : '';
    $to ||= 'a@example.com';
    return sql("SELECT jobs.send_mail('$to', '$subject', 'text'$arguments)");
}

# How a mail stands: status, attempts, code, and when it is tried again: "retry"
# after the first delay with its jitter, "retry 2" after the second, or seconds.
sub state
{
    my ($id) = @_;
    return sql(<<"SQL");
SELECT status, attempts, smtp_code, CASE WHEN s BETWEEN 120 AND 150 THEN 'retry'
	WHEN s BETWEEN 240 AND 300 THEN 'retry 2' ELSE s::text END
FROM (SELECT *, round(extract(epoch FROM next_attempt_at - jobs.clock())) AS s FROM jobs.outbox WHERE mail_id = $id) o
SQL
}

sub attempts
{
    my ($id) = @_;
    return join ' ', split /\n/, sql(<<"SQL");
SELECT status || coalesce(' ' || smtp_code, '') || coalesce(' ' || enhanced_code, '')
FROM jobs.mail_attempts WHERE mail_id = $id ORDER BY attempt
SQL
}

sub transport { return sql('SELECT state FROM jobs.mail_transport'); }

# The mails of a subject that the server has taken.
sub taken
{
    my ($subject) = @_;
    return grep { $_->{subject} eq $subject } $server->mails;
}

# An attempt has ended, or nothing can be sent.
sub wait_for_end
{
    my ($id) = @_;
    return poll_until($node, <<"SQL");
SELECT EXISTS (SELECT FROM jobs.mail_attempts WHERE mail_id = $id)
	OR EXISTS (SELECT FROM jobs.mail_transport WHERE state = 'paused')
SQL
}

sub wait_status
{
    my ($id, $status) = @_;
    return poll_until($node, "SELECT status FROM jobs.outbox WHERE mail_id = $id", $status);
}

# Connections that are kept are closed: the next mail goes over a new one.
sub reconnect
{
    sql('SELECT jobs.reload()');
    wait_for(sub { !worker_pids($node, 'executor') }, 'no executor is left');
    return;
}

# The server is well again, and its time has come.
sub recover
{
    behave();
    advance(3600);
    return;
}

# fails(name, { place => action }, state, copies, why): a mail meets a failure,
# and stands so; then the server is well, and has it so many times in the end.
sub fails
{
    my ($name, $at, $state, $copies, $why, $sqlstate) = @_;
    reconnect() if grep { /greeting|EHLO/ } keys %$at;
    behave(%$at);
    my $id = send_mail($name);
    wait_for_end($id);
    is(state($id), $state, "$name: how it stands");
    like(sql("SELECT smtp_reply FROM jobs.outbox WHERE mail_id = $id"), $why, "$name: why") if $why;
    is(sql('SELECT sqlstate FROM jobs.mail_transport'), $sqlstate, "$name: SQLSTATE") if $sqlstate;
    recover();
    wait_status($id, $state =~ /^failed/ ? 'failed' : 'sent');
    my %ids = map { $_->{message_id} => 1 } taken($name);
    is(scalar(taken($name)), $copies, "$name: what the server has taken");
    is(scalar(keys %ids), $copies ? 1 : 0, "$name: with one Message-ID") if $copies != 1;
    is(transport(), 'running', "$name: all is well") unless $state =~ /^failed/;
    return $id;
}

# pauses(name, { place => action }, sqlstate, why): no mail can be sent; it
# stays as it is, and is sent when that is over.
sub pauses
{
    my ($name, $at, $sqlstate, $why) = @_;
    my $from = -s $node->logfile;
    my $id = fails($name, $at, 'queued|0||retry', 1, $why, $sqlstate);
    is(attempts($id), 'sent 250 2.0.0', "$name: no attempt but the last");
    my $log = slurp_file($node->logfile, $from);
    is(scalar(my @lines = $log =~ /mail is not being delivered/g), 1, "$name: one line of the log");
    like($log, qr/mail is not being delivered: .*\n?.*$why/, "$name: which says why");
    return;
}

# --- everything is well -------------------------------------------------------------

my $id = send_mail('well');
wait_status($id, 'sent');
my ($mail) = taken('well');
is(sql("SELECT status, server_id = '$mail->{id}', smtp_code, enhanced_code, host = '127.0.0.1:${\$server->port}', attempt, duration >= '0', error
        FROM jobs.mail_attempts WHERE mail_id = $id"), 'sent|t|250|2.0.0|t|1|t|', 'an attempt is visible with what the server said');
is(sql("SELECT server_id = '$mail->{id}' FROM jobs.outbox WHERE mail_id = $id"), 't', 'the outbox has the server\'s id, too');

# --- connecting ---------------------------------------------------------------------

sub elsewhere
{
    my ($name, $elsewhere, $why) = @_;
    settings(smtp_url => $elsewhere);
    $id = send_mail($name);
    wait_for_end($id);
    is(state($id), 'queued|0||retry', "$name: how it stands");
    like(sql('SELECT reason FROM jobs.mail_transport'), $why, "$name: why");
    settings(smtp_url => $url);
    sql('SELECT jobs.reload()');
    wait_status($id, 'sent');
    is(scalar(taken($name)), 1, "$name: sent at once after jobs.reload()");
    return;
}
elsewhere('refused', 'smtp://127.0.0.1:1', qr/could not connect/);
elsewhere('blackhole', 'smtp://127.0.0.1:' . $server->hole, qr/could not connect/);
settings(smtp_allow_plaintext => 'on');
elsewhere('no such name', 'smtp://nowhere.invalid', qr/could not connect/);

# Settings that are of no use when there is mail: it waits, as for a server.
foreach my $case ([ 'no server', '', qr/^SMTP is not configured/ ], [ 'no directory', 'file:///nowhere', qr/smtp_url cannot be used/ ])
{
    my ($name, $elsewhere, $why) = @$case;
    $id = send_mail($name, q{send_at => jobs.clock() + interval '1 minute'});
    settings(smtp_url => $elsewhere);
    advance(61);
    wait_for_end($id);
    is(state($id), 'queued|0||retry', "$name: how it stands");
    like(sql('SELECT reason FROM jobs.mail_transport'), $why, "$name: why");
    settings(smtp_url => $url);
    sql('SELECT jobs.reload()');
    wait_status($id, 'sent');
    is(scalar(taken($name)), 1, "$name: sent after jobs.reload()");
}

pauses('greeting: byte drip', { greeting => 'drip' }, '08001', qr/not SMTP|could not connect|not answer|protocol/);
pauses('greeting: endless line', { greeting => 'endless' }, '08006', qr/protocol|connect/);
pauses('greeting: garbage', { greeting => 'garbage' }, '08P01', qr/protocol/);
pauses('greeting: partial reply', { greeting => 'partial' }, '08006', qr/closed|connect|protocol/);
pauses('greeting: nothing', { greeting => 'hold' }, '08001', qr/could not connect/);
pauses('greeting: closed', { greeting => 'close' }, '08006', qr/closed|connect/);
pauses('greeting: 554', { greeting => '554 5.3.2 no service' }, '08004', qr/554 5\.3\.2 no service/);
pauses('EHLO: garbage', { EHLO => 'garbage' }, '08P01', qr/protocol|not answer/);
pauses('EHLO: endless line', { EHLO => 'endless' }, '08006', qr/protocol|not answer|closed|connect/);
pauses('EHLO: byte drip', { EHLO => 'drip' }, '08006', qr/not answer|protocol/);
pauses('EHLO: good-bye with the reply', { 'EHLO 2' => "250 scripted.test\r\n421 4.3.2 closing" }, '08006', qr/closed the connection/);

# good-bye at the greeting: again at once, and nothing counts
reconnect();
behave(greeting => { do => '421 4.3.2 too many connections', times => 1 });
$id = send_mail('greeting: 421');
wait_status($id, 'sent');
is(state($id), 'sent|1|250|', 'greeting: 421: tried again at once');
is(transport(), 'running', 'greeting: 421: all is well');

# --- the mail -------------------------------------------------------------------------

my $lost = 'queued|1||retry';
fails('MAIL: 450', { MAIL => '450 4.3.0 try later' }, 'queued|1|450|retry', 1, qr/^450 4\.3\.0 try later$/);
fails('MAIL: 550', { MAIL => '550 5.7.1 not you' }, 'failed|1|550|', 0, qr/^550 5\.7\.1 not you$/);
fails('MAIL: 550 5.1.1', { MAIL => '550 5.1.1 no such sender' }, 'failed|1|550|', 0, qr/^550 5\.1\.1/);
is(sql('SELECT count(*) FROM jobs.mail_suppression'), 0, 'MAIL: 550 5.1.1: it was not about the recipient');
fails('MAIL: close', { MAIL => 'close' }, $lost, 1, qr/closed/);
fails('MAIL: byte drip', { MAIL => 'drip' }, $lost, 1, qr/not answer/);
fails('MAIL: nothing', { MAIL => 'hold' }, $lost, 1, qr/not answer/);
fails('MAIL: garbage', { MAIL => 'garbage' }, $lost, 1, qr/protocol/);
fails('MAIL: endless line', { MAIL => 'endless' }, $lost, 1, qr/protocol/);
fails('MAIL: partial reply', { MAIL => 'partial' }, $lost, 1, qr/closed|protocol/);
fails('RCPT: 450', { RCPT => '450 4.2.1 mailbox busy' }, 'queued|1|450|retry', 1, qr/^450 4\.2\.1/);
fails('RCPT: greylisted', { RCPT => '450 4.7.1 greylisted' }, 'queued|1|450|retry', 1, qr/greylisted/);
fails('RCPT: 550', { RCPT => '550 5.7.1 relay denied' }, 'failed|1|550|', 0, qr/^550 5\.7\.1/);
fails('RCPT: partial reply', { RCPT => 'partial' }, $lost, 1, qr/closed|protocol/);
fails('DATA: 451', { DATA => '451 4.3.0 later' }, 'queued|1|451|retry', 1, qr/^451/);
fails('DATA: 554', { DATA => '554 5.7.0 no' }, 'failed|1|554|', 0, qr/^554/);
fails('DATA: close', { DATA => 'close' }, $lost, 1, qr/closed/);
fails('dot: 451', { dot => '451 4.3.0 later' }, 'queued|1|451|retry', 1, qr/^451/);
fails('dot: 554', { dot => '554 5.6.0 content rejected' }, 'failed|1|554|', 0, qr/^554/);
fails('dot: close', { dot => 'close' }, $lost, 1, qr/did not confirm/);
fails('dot: taken, close', { dot => 'take close' }, $lost, 2, qr/did not confirm/);
fails('dot: taken, nothing', { dot => 'take hold' }, $lost, 2, qr/did not confirm/);
fails('dot: byte drip', { dot => 'drip' }, $lost, 1, qr/did not confirm/);
fails('dot: garbage', { dot => 'garbage' }, $lost, 1, qr/protocol/);

pauses('MAIL: 530', { MAIL => '530 5.7.0 authentication required' }, '08004', qr/530 5\.7\.0/);
pauses('MAIL: 535', { MAIL => '535 5.7.8 no longer' }, '08004', qr/535 5\.7\.8/);

# A server that announces PIPELINING and cannot: nothing is taken twice, and no
# reply is taken for that to another command.
foreach my $case ([ 'MAIL', 'extra' ], [ 'RCPT', 'extra' ], [ 'MAIL', 'flush' ], [ 'RCPT', 'flush' ])
{
    my ($place, $action) = @$case;
    my $name = "pipelining: $action at $place";
    behave($place => $action);
    $id = send_mail($name);
    wait_for_end($id);
    like(state($id), qr/^(?:sent\|1\|250\||queued\|1\|\|retry)$/, "$name: sent, or tried again");
    recover();
    wait_status($id, 'sent');
    is(scalar(taken($name)), 1, "$name: taken once");
}

# 421 and stale connections: again at once, not counted.
foreach my $place ('MAIL', 'RCPT', 'DATA', 'dot')
{
    behave($place => { do => '421 4.3.2 shutting down', times => 1 });
    $id = send_mail("421 at $place");
    wait_status($id, 'sent');
    is(state($id), 'sent|1|250|', "421 at $place: tried again at once, and not counted");
    is(attempts($id), 'failed 421 4.3.2 sent 250 2.0.0', "421 at $place: both attempts are visible");
    is(scalar(taken("421 at $place")), 1, "421 at $place: taken once");
}
behave(idle => '421 4.4.2 idle for too long');
sql("SELECT jobs.send_mail('a\@example.com', 'stale', 'text') FROM generate_series(1, 5)");
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject = 'stale' AND status = 'sent'", '5');
is(scalar(taken('stale')), 5, 'stale connections: each mail is taken once');
is(sql("SELECT sum(attempts) FROM jobs.outbox WHERE subject = 'stale'"), 5, 'and has one attempt');

# --- backoff ----------------------------------------------------------------------------

behave(RCPT => '450 4.2.1 busy');
$id = send_mail('three times');
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $id", '1');
is(state($id), 'queued|1|450|retry', 'the first retry is after mail_retry_delay');
advance(151);
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $id", '2');
is(state($id), 'queued|2|450|retry 2', 'the second after twice that');
advance(301);
wait_status($id, 'failed');
is(state($id), 'failed|3|450|', 'the third was the last');
is(attempts($id), 'failed 450 4.2.1 failed 450 4.2.1 failed 450 4.2.1', 'all are visible');
behave();
is(sql("SELECT jobs.resend($id)"), 't', 'resend');
wait_status($id, 'sent');
is(sql("SELECT count(DISTINCT message_id) FROM jobs.outbox WHERE mail_id = $id"), 1, 'sends it again');
my $message_id = sql("SELECT message_id FROM jobs.outbox WHERE mail_id = $id");
is(join(',', map { $_->{message_id} } taken('three times')), $message_id, 'with its Message-ID');
is(sql("SELECT jobs.resend($id)"), 't', 'resend of what was sent');
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $id AND status = 'sent'", '5');
my %ids = map { $_->{message_id} => 1 } taken('three times');
is(scalar(keys %ids), 2, 'has another Message-ID');

# --- several recipients, and suppression ----------------------------------------------------

behave('RCPT c@example.com' => '450 4.2.1 busy');
$id = send_mail('all or nobody', undef, 'b@example.com, c@example.com');
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $id", '1');
is(state($id), 'queued|1|450|retry', 'one recipient is refused for now: the mail waits for all');
is(scalar(taken('all or nobody')), 0, 'and nobody has it');
recover();
wait_status($id, 'sent');
is(join(' ', map { @{ $_->{rcpt_tos} } } taken('all or nobody')), 'b@example.com c@example.com', 'then all have, once');

behave('RCPT Gone@Example.COM' => '550 5.1.1 no such user');
$id = send_mail('one is gone', q{cc => 'Gone@Example.COM', bcc => 'd@example.com'}, 'b@example.com');
wait_status($id, 'sent');
is(state($id), 'sent|2|250|', 'an unknown recipient is left out at once');
is(join(' ', map { @{ $_->{rcpt_tos} } } taken('one is gone')), 'b@example.com d@example.com', 'the others have it');
is(sql("SELECT address, reason, source, mail_id FROM jobs.mail_suppression"),
    "gone\@example.com|550 5.1.1 no such user|server|$id", 'and is suppressed');
behave();
$id = send_mail('to nobody', undef, 'GONE@example.com');
is(state($id), 'suppressed|0||', 'a mail to a suppressed address alone is kept, and not sent');
is(attempts($id), 'suppressed', 'which is visible');
is(sql("SELECT smtp_reply FROM jobs.outbox WHERE mail_id = $id"), 'all recipients are suppressed', 'with its reason');
is(sql("SELECT count(*) FROM jobs.queue WHERE lane = 0"), 0, 'nothing is queued for it');
my ($code, $out, $err) = $node->psql('postgres', "SELECT jobs.resend($id)");
like($err, qr/all recipients of mail $id are suppressed/, 'it cannot be sent again');
is(sql(q{SELECT jobs.unsuppress('gone@example.com')}), 't', 'unsuppress');
is(sql("SELECT jobs.resend($id)"), 't', 'then it can');
wait_status($id, 'sent');
is(scalar(taken('to nobody')), 1, 'and is');
$id = send_mail('queued before', q{send_at => jobs.clock() + interval '1 hour'}, 'E@example.com');
my $other = send_mail('queued before, too', q{send_at => jobs.clock() + interval '1 hour'}, 'e@example.com, f@example.com');
is(sql(q{SELECT jobs.suppress('Ernie <e@EXAMPLE.com>', 'left us')}), 't', 'suppress');
is(sql(q{SELECT jobs.suppress('e@example.com')}), 'f', 'twice is once');
advance(3601);
wait_status($id, 'suppressed');
wait_status($other, 'sent');
is(join(' ', map { @{ $_->{rcpt_tos} } } taken('queued before, too')), 'f@example.com', 'what was queued is looked at again when it is sent');
is(attempts($id), 'suppressed', 'one that has nobody left is not');

# where the database has another encoding
sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
my $umlaut = q{'m' || chr(252) || '@example.com'};
is($node->safe_psql('latin', "CREATE EXTENSION motionify_jobs; SELECT jobs.suppress($umlaut); SELECT address = $umlaut FROM jobs.mail_suppression"),
    "t\nt", 'LATIN1: an address with an umlaut is suppressed');
$node->safe_psql('latin', "SELECT jobs.send_mail($umlaut, 'to nobody', 'text')");
is($node->safe_psql('latin', 'SELECT status FROM jobs.outbox'), 'suppressed', 'LATIN1: and found');
is($node->safe_psql('latin', "SELECT jobs.unsuppress($umlaut)"), 't', 'LATIN1: and removed');
sql('DROP DATABASE latin');

# --- expired, cancelled ---------------------------------------------------------------------

$id = send_mail('cancelled', q{send_at => jobs.clock() + interval '1 hour'});
is(sql("SELECT jobs.cancel(run_id) FROM jobs.outbox WHERE mail_id = $id"), 't', 'a queued mail can be cancelled');
is(state($id), 'cancelled|0||', 'it is');
is(sql("SELECT jobs.resend($id)"), 't', 'and sent again');
wait_status($id, 'sent');
behave(RCPT => '450 4.2.1 busy');
$id = send_mail('too late', q{expires_at => jobs.clock() + interval '5 minutes'});
$other = send_mail('far too late', q{expires_at => jobs.clock() - interval '5 minutes'});
wait_for_end($id);
wait_status($other, 'expired');
is(attempts($other), 'expired', 'what has expired already is not tried');
is(sql("SELECT expires_at = jobs.clock() + '5 minutes' FROM jobs.outbox WHERE mail_id = $id"), 't', 'the outbox says when it expires');
is(state($id), 'queued|1|450|retry', 'a mail that may expire is tried');
behave();
advance(301);
wait_status($id, 'expired');
is(attempts($id), 'failed 450 4.2.1 expired', 'and expires while it waits');
is(scalar(taken('too late')), 0, 'it is not sent');
sql("SELECT jobs.resend($id)");
wait_status($id, 'sent');

# more than are expired in one go, while the scheduler is elsewhere
wait_status(send_mail('an executor is there'), 'sent');
set_fault($node, 'scheduler-tick-start', 'wait');
sql(q{SELECT count(jobs.send_mail('a@example.com', 'much too late', 'text', expires_at => jobs.clock() - interval '1 minute'))
    FROM generate_series(1, 2500)});
poll_until($node, "SELECT count(*) >= 1000 FROM jobs.outbox WHERE subject = 'much too late' AND status = 'expired'");
wait_status(send_mail('in time'), 'sent');
clear_fault($node, 'scheduler-tick-start');
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject = 'much too late' AND status = 'expired'", '2500');
is(scalar(taken('much too late')), 0, 'none of many that have expired is sent');

# --- one who looks at a mail ------------------------------------------------------------------

set_fault($node, 'mailer-before-record', 'wait');
$id = send_mail('looked at');
wait_for_fault($node, 'mailer-before-record');
my $session = new_session($node);
is($session->query("BEGIN; SELECT jobs.resend($id)"), 'f', 'a mail that is under way is not sent again');
clear_fault($node, 'mailer-before-record');
wait_status($id, 'sent');
is(state($id), 'sent|1|250|', 'and who asked for it does not hold it up');
$session->query('COMMIT');

# --- uncertain mails are held -----------------------------------------------------------------

settings(mail_on_uncertain => 'hold');
behave(dot => 'take close');
$id = send_mail('held');
wait_status($id, 'uncertain');
is(state($id), 'uncertain|1||', 'hold: nothing is done of itself');
behave();
advance(3600);
is(sql("SELECT jobs.resend($id)"), 't', 'hold: before somebody says so');
wait_status($id, 'sent');
my @copies = taken('held');
is(scalar(@copies), 2, 'hold: then it is sent again');
is($copies[0]{message_id}, $copies[1]{message_id}, 'hold: with the same Message-ID');
settings(mail_on_uncertain => 'resend');

# --- the pause grows, and ends ------------------------------------------------------------------

sub connections { my %peers = map { $_->{peer} => 1 } $server->events; return scalar keys %peers; }

sub next_try { return sql('SELECT extract(epoch FROM next_try_at - jobs.clock())::integer FROM jobs.mail_transport'); }

reconnect();
behave(greeting => '554 5.3.2 no service');
my $log_from = -s $node->logfile;
sql(q{SELECT jobs.send_mail('a@example.com', 'paused', 'text') FROM generate_series(1, 20)});
poll_until($node, 'SELECT state FROM jobs.mail_transport', 'paused');
my @waits = (next_try());
my $connections = connections();
foreach (1 .. 4)
{
    advance($waits[-1] + 1);
    poll_until($node, 'SELECT next_try_at > jobs.clock() FROM jobs.mail_transport');
    poll_until($node, "SELECT count(*) FROM jobs.queue WHERE lane = 0 AND state = 'ready'", '20');
    push @waits, next_try();
}
is("@waits", '120 240 480 900 900', 'the pause grows');
is(connections() - $connections, 4, 'each try is a single connection');
is(sql("SELECT DISTINCT status, attempts FROM jobs.outbox WHERE subject = 'paused'"), 'queued|0', 'nothing is counted');
is(sql("SELECT ok, detail LIKE 'Mail is paused since %554 5.3.2 no service' FROM jobs.doctor() WHERE check_name = 'mail transport'"),
    'f|t', 'the doctor tells');
sql("CREATE ROLE mailer; SELECT jobs.grant_usage('mailer', 'mailer')");
is(sql('SET ROLE mailer; SELECT state, reason IS NULL, sqlstate FROM jobs.mail_transport'), 'paused|t|08004',
    'whoever sends sees that, but not what a server may have said of a recipient of others');
behave();
is(sql('SELECT jobs.resume_mail()'), 't', 'resume_mail');
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject = 'paused' AND status = 'sent'", '20');
is(transport(), 'running', 'has it tried at once');
is(sql('SELECT jobs.resume_mail()'), 'f', 'resume_mail: nothing to do');
is(sql("SELECT ok FROM jobs.doctor() WHERE check_name = 'mail transport'"), 't', 'the doctor is content');
is(log_count($node, qr/mail is not being delivered/, $log_from), 1, 'one line of the log when it begins');
is(log_count($node, qr/mail is being delivered again/, $log_from), 1, 'and one when it is over');

# A trial whose claim is not committed sends nothing.
reconnect();
behave(greeting => '554 5.3.2 no service');
$id = send_mail('claimed in vain');
poll_until($node, 'SELECT state FROM jobs.mail_transport', 'paused');
behave();
$session->query('BEGIN; SELECT FROM jobs.mail_transport_state FOR UPDATE');
$log_from = -s $node->logfile;
my @executors = worker_pids($node, 'executor');
advance(121);
wait_for(sub { log_count($node, qr/are locked by another session/, $log_from) }, 'the claim of a trial gives up');
$session->query('COMMIT');
wait_status($id, 'sent');
is(scalar(taken('claimed in vain')), 1, 'a claim that is not committed sends nothing');
is(log_count($node, qr/was taken from this process/, $log_from), 0, 'so nothing was sent that nobody had');
is(join(' ', worker_pids($node, 'executor')), "@executors", 'and the executor lives on');

# A server that refuses the mail of a trial can be reached.
reconnect();
behave(greeting => '554 5.3.2 no service');
my @refused = map { send_mail("refused $_", undef, "refused$_\@example.com") } 1 .. 3;
$id = send_mail('behind them');
poll_until($node, 'SELECT state FROM jobs.mail_transport', 'paused');
behave(map { ("RCPT refused$_\@example.com" => '550 5.7.1 not to him') } 1 .. 3);
advance(121);
wait_status($id, 'sent');
is(join(' ', map { state($_) } @refused), join(' ', ('failed|1|550|') x 3), 'one that is refused ends the pause, too');
is(transport(), 'running', 'all is well');

# What two connections meet is one trouble.
sub waits
{
    my ($command) = @_;
    return scalar grep { $_->{reply} eq 'wait' && ($_->{argument} // '') eq $command } $server->events;
}
settings(smtp_timeout => '1min');
reconnect();
behave('RCPT first@example.com' => 'wait', 'RCPT second@example.com' => 'wait');
send_mail('login wanted', undef, "$_\@example.com") foreach 'first', 'second';
wait_for(sub { waits('RCPT first@example.com') && waits('RCPT second@example.com') }, 'both are on their way');
behave('RCPT first@example.com' => '530 5.7.0 login wanted', 'RCPT second@example.com' => 'wait');
poll_until($node, 'SELECT state, level FROM jobs.mail_transport', 'paused|1');
behave('RCPT second@example.com' => '530 5.7.0 login wanted');
poll_until($node, "SELECT count(*) FROM jobs.queue WHERE lane = 0 AND state = 'ready'", '2');
is(next_try(), 120, 'what two connections meet counts once');
recover();
poll_until($node, "SELECT count(*) FROM jobs.outbox WHERE subject = 'login wanted' AND status = 'sent'", '2');
settings(smtp_timeout => '1s');

# --- throttled -----------------------------------------------------------------------------------

behave(MAIL => '454 4.7.0 throttling failure: maximum sending rate exceeded');
$id = send_mail('throttled');
poll_until($node, 'SELECT level FROM jobs.mail_transport', '2');
is(transport(), 'slowed', 'a server that wants less gets less');
@waits = (next_try());
foreach my $level (3 .. 6)
{
    advance($waits[-1] + 1);
    poll_until($node, 'SELECT level FROM jobs.mail_transport', $level);
    push @waits, next_try();
}
is("@waits", '5 10 20 40 80', 'with pauses that double');
is(sql("SELECT status, attempts FROM jobs.outbox WHERE mail_id = $id"), 'queued|0', 'nothing is counted');
like(sql("SELECT reason FROM jobs.mail_transport"), qr/maximum sending rate/, 'the reason is visible');
($code, $out, $err) = $node->psql('postgres', 'CALL jobs.deliver_mail()');
like($err, qr/WARNING:  mail is slowed until 2026-\S+ .*; mails that have not been sent: 1$/m, 'deliver_mail says so, and does not wait that long');
foreach my $n (1 .. 8)
{
    last if sql("SELECT attempts FROM jobs.outbox WHERE mail_id = $id") > 0;
    my $before = sql("SELECT count(*) FROM jobs.mail_attempts WHERE mail_id = $id");
    advance(301);
    poll_until($node, "SELECT count(*) > $before FROM jobs.mail_attempts WHERE mail_id = $id");
}
is(sql("SELECT attempts, count(*) FROM jobs.outbox JOIN jobs.mail_attempts USING (mail_id) WHERE mail_id = $id GROUP BY 1"),
    '1|11', 'a mail that is told so each time counts in the end');
recover();
wait_status($id, 'sent');
foreach my $n (1 .. 9)
{
    last if transport() eq 'running';
    $id = send_mail("recovers $n");
    wait_status($id, 'sent');
}
is(transport(), 'running', 'success by success it is as before');
my $throttled = sql("SELECT mail_id FROM jobs.outbox WHERE subject = 'throttled'");
is(sql("SELECT jobs.resend($throttled)"), 't', 'what was told so often is sent again');
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $throttled AND status = 'sent'", '3');
behave(MAIL => { do => '421 4.3.2 shutting down', times => 1 });
sql("SELECT jobs.resend($throttled)");
poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $throttled AND status = 'sent'", '4');
is(sql("SELECT count(*) FILTER (WHERE smtp_code = 421) FROM jobs.mail_attempts WHERE mail_id = $throttled"), 1,
    'and what does not count does not, as if it were new');

# --- old mails ---------------------------------------------------------------------------------------

behave();
my @old = map { send_mail("old $_") } 1 .. 2;
wait_status($_, 'sent') foreach @old;
$session->query("BEGIN; SELECT jobs.resend($old[1])");
advance(40 * 86400);
ok(poll_until($node, "SELECT count(*) FROM jobs.mail WHERE mail_id = $old[0]", '0'), 'what is too old goes');
$session->query('COMMIT');
ok(poll_until($node, "SELECT attempts FROM jobs.outbox WHERE mail_id = $old[1] AND status = 'sent'", '2'),
    'but not what is just being sent again');
$session->quit;

# --- TLS and AUTH ------------------------------------------------------------------------------------

my ($cert, $key, $ca) = make_certificate();
my $password_file = PostgreSQL::Test::Utils::tempdir() . '/password';
append_to_file($password_file, "right\n");
chmod 0600, $password_file;
my $plain = $server;
$server = start_receiver(scripted => 1, cert => [ $cert, $key ], auth => 'robot:right');
settings(smtp_url => "smtp://localhost:" . $server->port, smtp_tls => 'require', smtp_ca_file => $ca,
    smtp_user => 'robot', smtp_password_file => $password_file);
$id = send_mail('secured');
wait_status($id, 'sent');
($mail) = taken('secured');
ok($mail->{tls} && $mail->{auth} eq 'robot', 'TLS and AUTH');

sub pauses_secured
{
    my ($name, $begin, $end, $why) = @_;
    reconnect();
    $begin->();
    $id = send_mail($name);
    wait_for_end($id);
    is(state($id), 'queued|0||retry', "$name: it stays as it is");
    like(sql('SELECT reason FROM jobs.mail_transport'), $why, "$name: why");
    is(scalar(taken($name)), 0, "$name: nothing was sent");
    $end->();
    sql('SELECT jobs.reload()');
    wait_status($id, 'sent');
    is(sql("SELECT attempts FROM jobs.outbox WHERE mail_id = $id"), 1, "$name: nothing was counted");
    return;
}
my $well = sub { behave(); };
pauses_secured('STARTTLS stripped', sub { $server->behave({ offer => [ 'PIPELINING', 'AUTH PLAIN' ] }) }, $well, qr/secure/);
pauses_secured('STARTTLS refused', sub { behave(STARTTLS => '454 4.7.0 TLS not available') }, $well, qr/secure/);
pauses_secured('STARTTLS: garbage', sub { behave(STARTTLS => 'garbage') }, $well, qr/secure|protocol/);
pauses_secured('bad certificate', sub { settings(smtp_ca_file => '') }, sub { settings(smtp_ca_file => $ca) }, qr/secure/);
pauses_secured('another host', sub { settings(smtp_url => 'smtp://ip6-localhost:' . $server->port) },
    sub { settings(smtp_url => 'smtp://localhost:' . $server->port) }, qr/secure|connect/);
pauses_secured('AUTH refused', sub { behave(AUTH => '535 5.7.8 credentials invalid') }, $well, qr/log in.*535/);
pauses_secured('AUTH: too weak', sub { behave(AUTH => '534 5.7.9 mechanism too weak') }, $well, qr/log in.*534/);
pauses_secured('AUTH not offered', sub { $server->behave({ offer => [ 'PIPELINING', 'STARTTLS' ] }) }, $well, qr/log in/);
pauses_secured('no password', sub { chmod 0644, $password_file }, sub { chmod 0600, $password_file }, qr/group or world access/);
reconnect();
behave(AUTH => { do => '454 4.7.0 temporary authentication failure', times => 1 });
$id = send_mail('AUTH: later');
wait_status($id, 'sent');
is(state($id), 'sent|1|250|', 'AUTH refused for now: tried again at once');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed');
done_testing();
