# HTTP runs, against a real server: what is sent, what each answer and each failure
# comes to, and that nothing is called that must not be.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Digest::SHA qw(hmac_sha256_hex);
use Encode qw(encode_utf8);
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $canary = 'canary-' . join '', map { ('a' .. 'z')[ rand 26 ] } 1 .. 12;
my $server = start_http();
my ($cert, $key, $ca) = make_certificate();
my $trusted = start_http(cert => [ $cert, $key ]);
my ($other_cert, $other_key) = make_certificate();
my $stranger = start_http(cert => [ $other_cert, $other_key ]);

# a port at which nobody listens
my $closed = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
my $closed_port = $closed->sockport;
close $closed;

my $secrets = PostgreSQL::Test::Utils::tempdir() . '/secrets';
append_to_file($secrets, <<"END");
# of tests
@{[ $server->host ]}    X-Api-Key: $canary-1
@{[ $server->host ]}    Authorization: Bearer $canary-2
@{[ $server->host ]}    Signing-Key: $canary-3
elsewhere.example.com   X-Api-Key: $canary-4
END
chmod 0600, $secrets;

my $node = new_node('main', testing => 1, conf => <<"CONF");
motionify_jobs.http_allowed_hosts = '127.0.0.1:*, localhost:*, *.example.com'
motionify_jobs.http_secrets_file = '$secrets'
motionify_jobs.http_ca_file = '$ca'
motionify_jobs.http_connect_timeout = '1s'
motionify_jobs.log_runs = all
CONF

# schedule($name, $url, option => sql ...): an http job.
sub schedule
{
    my ($name, $url, %options) = @_;
    my $more = join '', map { ", $_ => $options{$_}" } sort keys %options;
    return $node->safe_psql('postgres',
        "SELECT jobs.schedule('$name', NULL, handler => 'http', url => '$url'$more)");
}

# The last attempt of a job, as a hash.
sub last_attempt
{
    my ($job) = @_;
    return decode_json(
        $node->safe_psql('postgres', "SELECT to_jsonb(h) FROM jobs.history h
            WHERE job = '$job' ORDER BY run_id DESC, attempt DESC LIMIT 1"));
}

# Runs a job, and returns its first attempt.
sub run
{
    my ($job) = @_;
    run_and_wait($node, $job);
    return last_attempt($job);
}

# is_refused($options, $pattern, $what): jobs.schedule() refuses them.
sub is_refused
{
    my ($options, $pattern, $what) = @_;
    $node->psql('postgres',
        "\\set VERBOSITY verbose\nSELECT jobs.schedule('refused', NULL, handler => 'http', $options)",
        stderr => \my $error);
    like($error, $pattern, $what);
    return;
}

# --- what may be called ---------------------------------------------------------------

my $good = "url => '" . $server->url('/x') . "'";
is_refused("url => 'http://10.0.0.1/'", qr/42501: .*host 10\.0\.0\.1:80 is not in .*http_allowed_hosts.*HINT/s, 'a host that is not allowed');
is_refused("url => 'https://example.com/'", qr/42501/, 'a pattern of hosts below another does not mean that itself');
is_refused("url => 'https://a.example.com:444/'", qr/42501/, 'nor another port');
is_refused("url => 'https://user:pw\@a.example.com/'", qr/22023: .*user name or password.*http_secrets_file/s, 'a URL with a password');
is_refused("url => 'ftp://a.example.com/'", qr/22023: .*neither http nor https/, 'another protocol');
is_refused("url => 'file:///etc/passwd'", qr/22023/, 'a file');
is_refused("url => 'a.example.com/x'", qr/22023: .*no scheme/, 'a URL without a scheme');
is_refused("url => E'http://a.example.com/\\r\\nX: y'", qr/22023: .*option "url".*control character/, 'a URL with a line break');
is_refused("url => 'http://a.example.com\\\@10.0.0.1/'", qr/22023/, 'a URL that parsers read in two ways');
is_refused("command => 'SELECT 1', $good", qr/22023: .*cannot have a command/, 'a command');
is_refused("$good, method => 'CONNECT'", qr/22023: .*"method"/, 'a method that is none');
is_refused("$good, headers => '{\"X-A\": \"1\\r\\nX-B: 2\"}'", qr/22023: .*header "X-A".*line break/s, 'a header with a line break');
is_refused("$good, headers => '{\"X-A: 1\": \"2\"}'", qr/22023: .*header "X-A: 1"/, 'a header that is two');
is_refused("$good, headers => '{\"Host\": \"10.0.0.1\"}'", qr/22023: .*header "Host"/, 'a header that says how it is sent');
is_refused("$good, headers => '{\"authorization\": \"Bearer x\"}'", qr/22023: .*http_secrets_file/s, 'a header with a secret');
is_refused("$good, headers => '{\"Idempotency-Key\": \"x\"}'", qr/22023/, 'a header that is ours');
is_refused("$good, headers => '{\"X-A\": 1}'", qr/22023: .*not a text/s, 'a header that is no text');
is_refused("$good, ping_url => 'http://10.0.0.1/'", qr/42501: .*option "ping_url"/, 'a ping to a host that is not allowed');
$node->psql('postgres', "SELECT jobs.schedule('refused', NULL, handler => 'http')", stderr => \my $error);
like($error, qr/URL must not be null/, 'no URL');
$node->psql('postgres', "SELECT jobs.schedule('refused', NULL, 'SELECT 1', url => 'http://a.example.com/')", stderr => \$error);
like($error, qr/need handler "http"/, 'a URL for a job of SQL');

$node->safe_psql('postgres', "CREATE ROLE owner LOGIN; SELECT jobs.grant_usage('owner', 'user')");
$node->psql('postgres', "SET ROLE owner; SET motionify_jobs.http_allowed_hosts = '10.0.0.1'", stderr => \$error);
like($error, qr/permission denied/, 'hosts are allowed by superusers only');
$node->psql('postgres', "ALTER SYSTEM SET motionify_jobs.http_allowed_hosts = 'a b/c'", stderr => \$error);
like($error, qr/"b\/c" is not a host/, 'and a list of them is checked');

# --- a call ----------------------------------------------------------------------------

$server->behave({ '/echo' => { echo => 1 }, '/204' => { status => 204 } });
schedule('first job', $server->url('/hello?a=b'), headers => q('{"X-Source": "portal", "x-api-key": "mine"}'));
my $run_id = $node->safe_psql('postgres', q(SELECT jobs.enqueue('first job', '{"answer": 42, "ä": "ö"}')));
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id AND finished_at IS NOT NULL", 'succeeded'),
    'a call succeeds');
my ($request) = $server->wait_requests(1, '/hello?a=b');
my %h = %{ $request->{headers} };
is($request->{method}, 'POST', 'it is a POST');
like($request->{body}, qr/"answer": 42/, 'of the arguments');
is($h{'content-type'}, 'application/json', 'which are JSON');
is($h{'x-source'}, 'portal', 'with the headers of the job');
is($h{'x-api-key'}, "$canary-1", 'and of the secrets, which come first');
is($h{authorization}, "Bearer $canary-2", 'all of them');
unlike(join(' ', values %h), qr/$canary-4/, 'but not of other hosts');
is($h{'x-motionify-run-id'}, $run_id, 'the run is named');
is($h{'x-motionify-attempt'}, 1, 'and the attempt');
is($h{'x-motionify-job'}, 'first job', 'and the job');
my $instance = $node->safe_psql('postgres', 'SELECT instance_id FROM jobs.instance');
is($h{'idempotency-key'}, "$instance-$run_id", 'and a key that is the same for all attempts');
is($h{'x-motionify-signature'},
    'sha256=' . hmac_sha256_hex(encode_utf8("$h{'x-motionify-timestamp'}.$request->{body}"), "$canary-3"),
    'it is signed');
my $attempt = last_attempt('first job');
is($attempt->{result}, 'hello', 'the answer is the result');
is($attempt->{worker}, $server->host, 'the history says who gave it');

schedule('echo', $server->url('/echo'), method => "'GET'");
$attempt = run('echo');
unlike($attempt->{result}, qr/canary/, 'a server that repeats secrets does not make them known');
like($attempt->{result}, qr/^GET.*x-api-key: \*+\r/msi, 'they are masked');
unlike($attempt->{result}, qr/^content-(type|length)/mi, 'a GET has no body');

$server->behave({ '/echo' => { echo => 1 }, '/204' => { status => 204 }, '/words' => { status => 400, reason => "bad key $canary-1" } });
schedule('words', $server->url('/words'));
like(run('words')->{error}, qr/^server answered with HTTP status 400 bad key \*+$/, 'nor in the words after its status');

schedule('204', $server->url('/204'), method => "'PUT'");
is(run('204')->{result}, 'HTTP 204', 'an answer without a body');
is(($server->requests('/204'))[0]->{body}, '{}', 'arguments that are none are an empty object');

# --- what each failure comes to ----------------------------------------------------------

$server->behave({
    '/404' => { status => 404, reason => 'Not Found', body => 'no such thing' },
    '/500' => [ { status => 500 }, { status => 502, body => 'x' }, { body => 'at last' } ],
    '/503' => [ { status => 503, headers => { 'Retry-After' => '3600' } }, {} ],
    '/429' => [ { status => 429, headers => { 'Retry-After' => '999999999' } }, {} ],
    '/301' => { status => 301, headers => { Location => $server->url('/target') } },
    '/huge' => { size => 5_000_000 },
    '/endless' => { size => 'endless' },
    '/tarpit' => { hang => JSON::PP::true },
    '/drop' => { close => 'at once' },
    '/half' => { close => 'midway', body => 'x' x 100 },
    '/garbage' => { raw => "220 mail.example.com ESMTP\r\n" },
    '/binary' => { body => "a\x{fc}\x{0}b" },
});
my %retry = (max_attempts => 3, backoff_base => "'0 s'");

schedule('404', $server->url('/404'), %retry);
$attempt = run('404');
is("$attempt->{status} $attempt->{sqlstate} $attempt->{live}", 'failed XH404 0', '404 is final');
is($attempt->{error}, 'server answered with HTTP status 404 Not Found', 'the error says so');
is($attempt->{error_detail}, 'no such thing', 'and what the server said');

schedule('500', $server->url('/500'), %retry);
run_and_wait($node, '500');
ok(poll_until($node, "SELECT string_agg(status || coalesce(sqlstate, ''), ' ' ORDER BY attempt) FROM jobs.history
    WHERE job = '500'", 'failedXH500 failedXH502 succeeded'), '5xx is tried again');
my @requests = $server->requests('/500');
is(join(' ', map { $_->{headers}->{'x-motionify-attempt'} } @requests), '1 2 3', 'each attempt has its number');
is(scalar(keys %{ { map { $_->{headers}->{'idempotency-key'} => 1 } @requests } }), 1, 'and all have the same key');

foreach my $case ([ '503', 3600 ], [ '429', 86400 ])
{
    my ($status, $seconds) = @$case;
    schedule($status, $server->url("/$status"), max_attempts => 3, backoff_base => "'1 s'");
    run_and_wait($node, $status);
    is($node->safe_psql('postgres', "SELECT q.run_at - h.finished_at = interval '$seconds s' FROM jobs.queued q
        JOIN jobs.history h USING (run_id) WHERE q.job = '$status'"), 't', "$status: Retry-After is heeded, for a day at most");
    $node->safe_psql('postgres', "SELECT jobs.retry(run_id) FROM jobs.queued WHERE job = '$status'");
    ok(poll_until($node, "SELECT count(*) FROM jobs.history WHERE job = '$status' AND status = 'succeeded'", 1), 'and it can be hastened');
}

schedule('redirect', $server->url('/301'), %retry);
$attempt = run('redirect');
is("$attempt->{status} $attempt->{sqlstate} $attempt->{live}", 'failed XH301 0', 'a redirect is final');
like($attempt->{error_detail}, qr{points to http://127\.0\.0\.1:\d+/target; redirects are not followed}, 'the error says where it leads');
is(scalar($server->requests('/target')), 0, 'and it is not followed');

foreach my $path ('huge', 'endless')
{
    schedule($path, $server->url("/$path"));
    $attempt = run($path);
    is("$attempt->{status} " . length($attempt->{result}), 'succeeded 8192', "$path: an answer is cut off");
    like($attempt->{notices}, qr/cut off/, 'which the history says');
}

schedule('tarpit', $server->url('/tarpit'), timeout => "'300 ms'");
$attempt = run('tarpit');
is("$attempt->{status} $attempt->{sqlstate} $attempt->{error}", 'timed_out 57014 run timed out after 300 ms', 'a tarpit is left in time');

my %lost = (
    drop => [ $server->url('/drop'), '08006', qr/closed the connection before/ ],
    half => [ $server->url('/half'), '08006', qr/closed the connection before/ ],
    garbage => [ $server->url('/garbage'), '08P01', qr/broke the protocol/ ],
    closed => [ "http://127.0.0.1:$closed_port/", '08001', qr/could not connect/ ],
    nowhere => [ 'http://nowhere.example.com/', '08001', qr/could not connect/ ],
    stranger => [ $stranger->url('/'), '08001', qr/could not secure/ ],
    plain => [ 'https://' . $server->host . '/', '08001', qr/could not connect/ ],
);
foreach my $name (sort keys %lost)
{
    my ($url, $sqlstate, $words) = @{ $lost{$name} };
    schedule($name, $url, max_attempts => 2, backoff_base => "'1 hour'");
    $attempt = run($name);
    is("$attempt->{status} $attempt->{sqlstate} $attempt->{live}", "failed $sqlstate 1", "$name: it is tried again");
    like($attempt->{error}, $words, 'and the error says what it was');
    $node->safe_psql('postgres', "SELECT jobs.unschedule('$name')");
}
schedule('trusted', $trusted->url('/'));
$attempt = run('trusted');
is("$attempt->{status} $attempt->{worker}", 'succeeded ' . $trusted->host, 'a certificate of the CA file is accepted')
  or diag($attempt->{error_detail});
ok(!exists(($trusted->requests)[0]->{headers}->{authorization}), 'and that host gets no secrets of another');
schedule('binary', $server->url('/binary'));
is(run('binary')->{status}, 'succeeded', 'an answer that is no text is no error');

# --- rules change -------------------------------------------------------------------------

chmod 0644, $secrets;
$attempt = run('first job');
like("$attempt->{sqlstate} $attempt->{error}", qr/^42501 URL cannot be called: .* has group or world access/, 'nothing is sent without the secrets');
like($node->safe_psql('postgres', "SELECT detail FROM jobs.doctor() WHERE check_name = 'http' AND NOT ok"), qr/world access/, 'and the doctor knows');
chmod 0600, $secrets;
is(run('first job')->{status}, 'succeeded', 'which can be mended');

$node->safe_psql('postgres', q(
    UPDATE jobs.job SET url = 'http://10.0.0.1/' WHERE name = '204'));
$attempt = run('204');
like("$attempt->{sqlstate} $attempt->{error}", qr/^42501 URL cannot be called: host 10\.0\.0\.1:80 is not in/, 'the hosts are checked when it is called, too');
like($node->safe_psql('postgres', "SELECT why_not FROM jobs.status WHERE job = '204'"), qr/10\.0\.0\.1:80 is not in/, 'jobs.status says so');
$node->safe_psql('postgres', q(SELECT jobs.unschedule('204')));

$node->safe_psql('postgres', 'CREATE ROLE gone');
schedule('of nobody', $server->url('/hello'), role => "'gone'");
is(run('of nobody')->{status}, 'succeeded', 'the role of a job need not be able to log in');
$node->safe_psql('postgres', 'DROP ROLE gone');
$attempt = run('of nobody');
is("$attempt->{status} $attempt->{error}", 'failed role "gone" does not exist', 'but it must be there');

# --- what ends in the midst of a call -------------------------------------------------------

$server->behave({ '/slow' => [ { hang => JSON::PP::true }, {} ], '/wait' => { hang => JSON::PP::true },
    '/slow2' => [ { hang => JSON::PP::true }, {} ], '/slow3' => [ { hang => JSON::PP::true }, {} ] });

# a call under way, of a new job; returns its run
sub call_that_hangs
{
    my ($path) = @_;
    schedule("hang $path", $server->url($path));
    my $run = $node->safe_psql('postgres', "SELECT jobs.enqueue('hang $path')");
    $server->wait_requests(1, $path);
    return $run;
}

my $run = call_that_hangs('/wait');
is($node->safe_psql('postgres', "SELECT a.job, a.pid = s.pid, l.kind, l.running FROM jobs.active a, pg_stat_activity s, jobs.lanes l
    WHERE a.run_id = $run AND s.backend_type LIKE 'motionify_jobs%executor%' AND s.pid = a.pid AND l.lane = 'http'"),
    'hang /wait|t|http|1', 'a call under way is seen');
is($node->safe_psql('postgres', "SELECT backend_xmin IS NULL AND xact_start IS NULL FROM pg_stat_activity a JOIN jobs.active USING (pid)"),
    't', 'and holds nothing');
is($node->safe_psql('postgres', "SELECT jobs.cancel($run)"), 't', 'it can be cancelled');
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run AND finished_at IS NOT NULL", 'cancelled'), 'and ends so');
ok(wait_for(sub { grep { $_ eq '/wait' } $server->given_up }, 'the server has noticed'), 'its connection is closed');

$run = call_that_hangs('/slow');
my ($pid) = $node->safe_psql('postgres', "SELECT pid FROM jobs.active WHERE run_id = $run");
kill 'TERM', $pid;
ok(poll_until($node, "SELECT string_agg(attempt || status || coalesce(sqlstate, ''), ' ' ORDER BY attempt) FROM jobs.history WHERE run_id = $run",
    '1cancelled57P01 2succeeded'), 'SIGTERM: the run goes back, and is called again');

$run = call_that_hangs('/slow2');
ok($node->safe_psql('postgres', 'SELECT jobs.reload()') eq '', 'an executor that is asked to leave');
schedule('meanwhile', $server->url('/hello'));
is(run('meanwhile')->{status}, 'succeeded', 'lets others serve the lane');
is($node->safe_psql('postgres', "SELECT status FROM jobs.history WHERE run_id = $run"), 'running', 'while its own calls go on');
$node->safe_psql('postgres', "SELECT jobs.cancel($run)");
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run", 'cancelled'), 'until they end');

$run = call_that_hangs('/slow3');
($pid) = $node->safe_psql('postgres', "SELECT pid FROM jobs.active WHERE run_id = $run");
kill 'KILL', $pid;
backend_of_pid_gone($pid);
ok(poll_until($node, "SELECT string_agg(attempt || status || coalesce(sqlstate, ''), ' ' ORDER BY attempt) FROM jobs.history WHERE run_id = $run",
    '1crashed57P02 2succeeded'), 'kill -9: the run goes back as crashed, and is called again');
@requests = $server->requests('/slow3');
is($requests[0]->{headers}->{'idempotency-key'}, $requests[1]->{headers}->{'idempotency-key'}, 'with the same key');

# --- many, and on schedule --------------------------------------------------------------------

$server->behave({ '/many' => { delay => 0.02 } });
schedule('many', $server->url('/many'));
$node->safe_psql('postgres', "SELECT count(*) FROM jobs.enqueue_many('many', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 300) i))");
ok(poll_until($node, "SELECT count(DISTINCT run_id) || ' ' || count(*) FROM jobs.history WHERE job = 'many' AND status = 'succeeded'", '300 300'), 'many at once');
@requests = $server->requests('/many');
is(scalar(keys %{ { map { $_->{body} => 1 } @requests } }) . ' ' . @requests, '300 300', 'each is called once');
cmp_ok(scalar(keys %{ { map { $_->{peer} => 1 } @requests } }), '<=', 50, 'over no more connections than are allowed');

$node->safe_psql('postgres', "SELECT jobs.schedule('scheduled', '* * * * * *', handler => 'http', url => '" . $server->url('/scheduled') . "')");
$server->wait_requests(2, '/scheduled');
$node->safe_psql('postgres', "SELECT jobs.unschedule('scheduled')");
ok(poll_until($node, "SELECT bool_and(lag >= interval '0') FROM jobs.history WHERE job = 'scheduled' AND status = 'succeeded'", 't'), 'none is called before its time');

# --- how runs go is told -----------------------------------------------------------------------

$node->safe_psql('postgres', "SELECT jobs.schedule('watched', NULL, 'SELECT 42 / (\$1->>''by'')::int', ping_url => '" . $server->url('/ping/uuid?x=1') . "')");
$node->safe_psql('postgres', q(SELECT jobs.enqueue('watched', '{"by": 1}')));
$server->wait_requests(1, '/ping/uuid?x=1');
$node->safe_psql('postgres', q(SELECT jobs.enqueue('watched', '{"by": 0}')));
$server->wait_requests(1, '/ping/uuid/fail?x=1');
@requests = grep { $_->{path} =~ m{^/ping/uuid} } $server->requests;
is(join(' ', map { $_->{path} } @requests), '/ping/uuid/start?x=1 /ping/uuid?x=1 /ping/uuid/start?x=1 /ping/uuid/fail?x=1', 'start, success and failure are told, in order');
is($requests[1]->{body}, '42', 'with the result');
like($requests[3]->{body}, qr/^failed: division by zero/, 'or the error');
ok(poll_until($node, "SELECT string_agg(DISTINCT purpose || ' ' || job || ' ' || status, ',') FROM jobs.calls", 'job ping watched succeeded'), 'jobs.calls has them');

$node->safe_psql('postgres', "SELECT jobs.schedule('watched', NULL, 'SELECT 1', ping_url => 'http://127.0.0.1:$closed_port/')");
is(run_and_wait($node, 'watched')->{status}, 'succeeded', 'a ping that fails does not disturb the run');
ok(poll_until($node, "SELECT count(*) FROM jobs.calls WHERE job = 'watched' AND answer LIKE 'could not connect%'", 2), 'and is seen');

# --- a dead man's switch --------------------------------------------------------------------------

$server->behave({ '/alive' => {} });
$node->safe_psql('postgres', 'CREATE DATABASE watched');
$node->safe_psql('watched', 'CREATE EXTENSION motionify_jobs');
set_clock($node, '2031-01-01 00:00:10+00');
$node->safe_psql('postgres', "ALTER DATABASE watched SET motionify_jobs.ping_url = '" . $server->url('/alive') . "'");
$node->safe_psql('watched', 'SELECT jobs.reload()');
my ($ping) = $server->wait_requests(1, '/alive');
is($ping->{method}, 'GET', 'a database says that it is well');
foreach my $minute (1, 2)
{
    set_clock($node, "2031-01-01 00:0$minute:09+00");
    $node->safe_psql('watched', "SELECT jobs.schedule('other', NULL, 'SELECT 1')");
    is(run_in_watched(), 'succeeded', 'something else is done');
    is(scalar($server->requests('/alive')), $minute, 'not twice in a minute');
    set_clock($node, "2031-01-01 00:0$minute:10+00");
    $server->wait_requests($minute + 1, '/alive');
    ok(poll_until($node, "SELECT count(*) FROM jobs.calls WHERE status = 'succeeded' AND purpose = 'ping'", $minute + 1, 'watched'), 'but each minute');
}

sub run_in_watched
{
    return run_and_wait($node, 'other', 'watched')->{status};
}

$node->safe_psql('watched', "SELECT jobs.schedule('broken', NULL, 'SELECT 1/0')");
run_and_wait($node, 'broken', 'watched') foreach 1 .. 3;
set_clock($node, '2031-01-01 00:03:10+00');
($ping) = $server->wait_requests(1, '/alive/fail');
like($ping->{body}, qr/^failures in a row: .*broken/m, 'or that it is not, and why');
$server->behave({ '/alive/fail' => { hang => JSON::PP::true } });
set_clock($node, '2031-01-01 00:04:10+00');
$server->wait_requests(2, '/alive/fail');
set_clock($node, '2031-01-01 00:05:10+00');
run_in_watched();
set_clock($node, '2031-01-01 00:06:10+00');
run_in_watched();
is(scalar($server->requests('/alive/fail')), 2, 'while one has not ended there is no other');
is($node->safe_psql('postgres', q(SELECT count(*) FROM jobs.calls WHERE purpose = 'ping')), 0, 'other databases say nothing');
clear_clock($node);

# --- the secrets are nowhere else --------------------------------------------------------------------

my $dump = $node->safe_psql('postgres', q(SELECT string_agg(query_to_xml('SELECT * FROM jobs.' || quote_ident(relname), true, true, '')::text, '')
    FROM pg_class WHERE relnamespace = 'jobs'::regnamespace AND relkind IN ('r', 'v') AND relname NOT LIKE 'pg_cron%'));
unlike($dump, qr/canary/, 'no table and no view has a secret');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/canary/, 'nor has the log');
my ($stdout, $stderr) = run_command([ 'pg_dumpall', '-h', $node->host, '-p', $node->port ]);
like($stdout, qr/CREATE DATABASE watched/, 'there is a dump');
unlike($stdout . $stderr, qr/canary/, 'nor has that');

done_testing();
