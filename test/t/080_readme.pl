# The examples of the documentation do what it says: every SQL block, the lines
# that put the extension into a server, and the program for Node.js.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use MjDocs;
use PostgreSQL::Test::Utils;
use Test::More;

my $sources = "$FindBin::Bin/../..";

# --- putting it into one's own server -----------------------------------------

my ($install) = doc_blocks("$sources/README.md", 'sh');
my @lines = split /\n/, $install->{text};
is(scalar @lines, 4, 'the README installs in four lines');
my ($append) = grep { /ALTER SYSTEM/ } @lines;
$append =~ s/sudo -u postgres //g;

# Its line for shared_preload_libraries, on a server that has this value.
sub append_to
{
    my ($name, $value, $expected) = @_;
    my $node = new_node($name, preload => 0, extension => 0,
        conf => "shared_preload_libraries = '$value'");
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    local $ENV{PGDATABASE} = 'postgres';

    is(system('/bin/sh', '-c', $append) >> 8, 0, "$name: the line runs");
    $node->restart;
    is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), $expected,
        "$name: shared_preload_libraries");
    $node->safe_psql('postgres', 'CREATE EXTENSION motionify_jobs');
    is($node->safe_psql('postgres',
            "SELECT ok FROM jobs.doctor() WHERE check_name = 'preloaded'"), 't',
        "$name: CREATE EXTENSION is all that is left to do");
    $node->stop;
    return;
}

append_to('empty', '', 'motionify_jobs');
append_to('one', 'auto_explain', 'auto_explain, motionify_jobs');
append_to('two', '$libdir/auto_explain,"pg_stat_statements"',
    '"$libdir/auto_explain", pg_stat_statements, motionify_jobs');

# --- SQL ------------------------------------------------------------------------

# What the documents take for granted: a database and a role of the app, an SMTP server that
# wants TLS and a login, the files that the settings name.
my $node = new_node('docs', extension => 0);
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my ($certificate, $key, $ca) = make_certificate('localhost');
my $receiver = start_receiver(
    tls => 'starttls', cert => [ $certificate, $key ], auth => 'apikey:a secret');
my $password = PostgreSQL::Test::Utils::tempdir() . '/smtp-password';
PostgreSQL::Test::Utils::append_to_file($password, "a secret\n");
chmod 0600, $password;
my $dkim = PostgreSQL::Test::Utils::tempdir() . '/dkim.pem';
system_or_bail('openssl', 'genrsa', '-out', $dkim, '2048');
chmod 0600, $dkim;
my $mails = PostgreSQL::Test::Utils::tempdir();

# The blocks of a document, in a database of their own that is called my_database.
sub run_document
{
    my ($document) = @_;
    my $name = 'my_database';
    my @blocks = doc_blocks("$sources/$document", 'sql');

    ok(@blocks > 0, "$document has examples");
    $node->safe_psql('postgres', "CREATE DATABASE $name");
    $node->safe_psql($name, "CREATE EXTENSION motionify_jobs;
        ALTER DATABASE $name SET motionify_jobs.smtp_ca_file = '$ca'");
    foreach my $block (@blocks)
    {
        my $text = $block->{text};
        $text =~ s{smtps?://[\w.-]+:\d+}{$receiver->url}ge;
        $text =~ s{/etc/motionify/smtp-password}{$password}g;
        $text =~ s{/etc/motionify/dkim\.pem}{$dkim}g;
        $text =~ s{file:///srv/mails}{file://$mails}g;
        run_sql_block($node, $name, $superuser, $text, "$document:$block->{line}");
    }
    $node->safe_psql('postgres', "DROP DATABASE $name");
    $node->safe_psql('postgres', 'DROP ROLE IF EXISTS app, job_settings');
    $node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
    $node->safe_psql('postgres', 'SELECT pg_reload_conf()');
    poll_until($node, 'SHOW motionify_jobs.enabled', 'on');
    return;
}

run_document($_)
  foreach 'README.md', map { "doc/$_.md" } qw(reference schedules operations mail alerts board from-node-cron howto-workers howto-switches from-bullmq);

my @received = $receiver->mails;
ok(@received > 0, 'the mails of the examples have arrived');
is(scalar(grep { !$_->{tls} || !$_->{auth} } @received), 0, 'over TLS, with a login');

# --- completeness -------------------------------------------------------------------

# What the reference does not name: columns, functions and settings of a live server.
my $reference = PostgreSQL::Test::Utils::slurp_file("$sources/doc/reference.md");

sub named
{
    my ($what, $sql) = @_;
    my @names = split /\n/, $node->safe_psql('postgres', $sql);
    ok(@names > 0, "there are $what");
    is(join(' ', grep { $reference !~ /\b\Q$_\E\b/ } @names), '',
        "the reference names all $what");
    return;
}

$node->safe_psql('postgres', 'CREATE EXTENSION motionify_jobs');
# those that only other objects of the extension call are not for readers
my $for_readers = q{FROM pg_proc WHERE pronamespace = 'jobs'::regnamespace
    AND proname !~ '^(portal|pg_cron|alert)_|^board_(?!action|data)|_level$'
    AND proname <> ALL ('{sees_all,sees_role,operates_role,manages_role,uses_template,job_words,job_figures,job_id,is_nothing,server_state,top_text,top_time,why_not_here,worker_slots}')};
named('functions', "SELECT DISTINCT 'jobs.' || proname $for_readers");
named('arguments', "SELECT DISTINCT unnest(proargnames) $for_readers");
named('columns', "SELECT DISTINCT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'jobs'::regnamespace AND relkind = 'v' AND attnum > 0 AND relname !~ '^(portal|pg_cron)_'");
named('settings', "SELECT replace(name, 'motionify_jobs.', '') FROM pg_settings
    WHERE name LIKE 'motionify_jobs.%'");

# --- Node.js ----------------------------------------------------------------------

my ($program) = doc_blocks("$sources/README.md", 'js');
is($program->{text}, PostgreSQL::Test::Utils::slurp_file("$sources/examples/node/index.js"),
    'the README shows examples/node/index.js');

my ($routes) = grep { $_->{text} =~ /jobRoutes/ } doc_blocks("$sources/doc/from-node-cron.md", 'js');
is($routes->{text}, PostgreSQL::Test::Utils::slurp_file("$sources/examples/node-express/jobs.js"),
    'from-node-cron.md shows examples/node-express/jobs.js');

# Calls the handlers of the example as Express would: what each answers, as JSON.
my $drive_routes = <<'JS';
const { Pool } = require('pg');
const pool = new Pool();
const routes = {};
const app = {};
for (const verb of ['get', 'post', 'put']) app[verb] = (path, handler) => { routes[`${verb} ${path}`] = handler; };
require(process.argv[1])(app, pool);
async function call(route, params, body) {
  let status = 200;
  const res = { status(code) { status = code; return res; }, json(value) { console.log(status, JSON.stringify(value)); } };
  await routes[route]({ params, body }, res, (error) => { console.log('next', error.code); });
}
(async () => {
  await call('get /admin/jobs', {});
  await call('post /admin/jobs/:job/run', { job: 'make_thumbnail' });
  await call('post /admin/jobs/:job/run', { job: 'make-thumbnails' });
  await call('put /admin/jobs/:job/schedule', { job: 'make_thumbnail' }, { schedule: '0 5 * * *' });
  await call('put /admin/jobs/:job/schedule', { job: 'make_thumbnail' }, { schedule: '0 25 * * *' });
  await call('post /videos', {}, { title: 'a title' });
  await call('post /videos', {}, { title: null });
  await call('get /admin/jobs/:job/history', { job: 'make_thumbnail' });
  await pool.end();
})();
JS

my ($out, $err) = ('', '');
if (!IPC::Run::run([ 'node', '-e', "require('pg')" ], '<', \undef, '>', \$out, '2>', \$err))
{
    fail('Node.js and its package "pg" are there');
    diag("The README's example for Node.js was not run.  test/run installs both, with "
          . "npm or from Debian (nodejs, node-pg); NODE_PATH has to name where \"pg\" is.\n$err");
}
else
{
    $node->safe_psql('postgres', "CREATE TABLE sessions AS SELECT now() - interval '1 day' AS expires_at
        FROM generate_series(1, 42)");
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    local $ENV{PGUSER} = $superuser;
    local $ENV{PGDATABASE} = 'postgres';
    ok(IPC::Run::run([ 'node', "$sources/examples/node/index.js" ],
            '<', \undef, '>', \$out, '2>', \$err), 'the program for Node.js runs')
      or diag($err);
    foreach my $said ($program->{text} =~ m{console\.log\(.*\);\s*// (.*)$}mg)
    {
        like($out, qr/^\Q$said\E$/m, "it prints: $said");
    }
    like($out, qr/'cleanup_sessions'.*'manual'.*'succeeded'.*'DELETE 42'/,
        'it prints the history');

    $node->safe_psql('postgres', q{CREATE TABLE videos (id integer GENERATED ALWAYS AS IDENTITY, title text NOT NULL);
        SELECT jobs.schedule('make_thumbnail', NULL, $$SELECT $1 ->> 'video'$$)});
    ok(IPC::Run::run([ 'node', '-e', $drive_routes, "$sources/examples/node-express/jobs.js" ],
            '<', \undef, '>', \$out, '2>', \$err), 'the routes for Express run') or diag($err);
    my @answers = split /\n/, $out;
    like($answers[0], qr/^200 \[.*"job":"make_thumbnail","in_words":"on demand"/, 'the jobs');
    like($answers[1], qr/^202 \{"run_id":"\d+","status":"queued"\}/, 'a run');
    like($answers[2], qr/^404 .*"hint":"Perhaps you meant \\"make_thumbnail\\"/, 'a wrong name');
    like($answers[3], qr/^200 \{"in_words":"at 05:00 every day","next_run":"/, 'another schedule');
    like($answers[4], qr/^400 .*invalid schedule/, 'one that is none');
    like($answers[5], qr/^201 \{"id":1\}/, 'a row and a run');
    is($answers[6], 'next 23502', 'neither, if one fails');
    like($answers[7], qr/^200 \[/, 'the history');
    ok(poll_until($node, q{SELECT string_agg(result, ',') FROM jobs.history
        WHERE job = 'make_thumbnail' AND trigger = 'queue' AND status = 'succeeded'}, '1'), 'what was queued has run, once');
}

# --- the shell ------------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT jobs.schedule('process_email_queue', NULL, 'SELECT 3')});
foreach my $line (map { split /\n/, $_->{text} } doc_blocks("$sources/doc/from-node-cron.md", 'sh'))
{
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    local $ENV{PGUSER} = $superuser;
    local $ENV{PGDATABASE} = 'postgres';
    ($out, $err) = ('', '');
    ok(IPC::Run::run([ '/bin/sh', '-c', $line ], '<', \undef, '>', \$out, '2>', \$err), "runs: $line") or diag($err);
    like($out, qr/\| succeeded \| 3 /, 'and shows the result') if $line =~ /run_now/;
}

done_testing();
