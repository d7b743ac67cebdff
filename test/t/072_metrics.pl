# The metrics: what promtool says of the text and of the ready files, and a real
# Prometheus that scrapes a server through the exporter, and the text itself.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $examples = "$FindBin::Bin/../../examples/prometheus";
my $tools = $ENV{MJ_PROMETHEUS} // '';
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', conf => "motionify_jobs.smtp_url = 'smtp://127.0.0.1:9'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# --- something to see -----------------------------------------------------------

sql('CREATE ROLE exporter LOGIN');
sql("SELECT jobs.grant_usage('exporter', 'viewer')");
sql(q{SELECT jobs.schedule('a "good" \ <one>', '0 2 29 2 *', 'SELECT 42', job_group => 'cleanup')});
sql(q{SELECT jobs.schedule('bad', NULL, 'SELECT 1 / 0')});
sql(q{SELECT jobs.schedule('outside', NULL, handler => 'external', overlap => 'allow')});
is(run_and_wait($node, 'a "good" \ <one>')->{status}, 'succeeded', 'a job that succeeds');
run_and_wait($node, 'bad') for 1 .. 3;
sql(q{SELECT jobs.enqueue_many('outside', '{1,2,3}')});
sql(q{SELECT jobs.send_mail('a@example.com', 's', 'b', sender => 'b@example.com', send_at => now() + interval '1 day')});
ok(poll_until($node, q{SELECT ready FROM jobs.lanes WHERE lane = 'outside'}, '3'), 'runs that wait');

my @names = split /\n/, sql('SELECT DISTINCT name FROM jobs.metrics');
my %known = map { $_ => 1 } @names;
my $text = sql('SELECT jobs.metrics_text()');
like($text, qr/^# EOF$/m, 'the text has an end');

# --- the ready files name what there is --------------------------------------------

foreach my $file (qw(rules.yml rules_test.yml grafana-dashboard.json README.md))
{
    my $content = PostgreSQL::Test::Utils::slurp_file("$examples/$file");
    my %used = map { $_ => 1 } $content =~ /\b(motionify_jobs_\w+)/g;
    is(join(' ', grep { !$known{$_} && !/_timestamp_seconds$/ } sort keys %used),
        '', "$file: all metrics are there");
}
ok(JSON::PP->new->decode(PostgreSQL::Test::Utils::slurp_file("$examples/grafana-dashboard.json")),
    'the dashboard is JSON');

# --- what promtool says -----------------------------------------------------------

sub done
{
    $node->stop;
    done_testing();
    exit 0;
}

if (!-x "$tools/promtool")
{
    SKIP: { skip 'Prometheus is not there: packages prometheus and prometheus-postgres-exporter', 1; }
    done();
}

# promtool with arguments; its output when it fails, else what it has to say.
sub promtool
{
    my ($name, $input, @arguments) = @_;
    my ($out, $err) = ('', '');
    my $ok = IPC::Run::run([ "$tools/promtool", @arguments ], '<', \$input, '>', \$out, '2>', \$err);
    ok($ok, $name) or diag("$out$err");
    return "$out$err";
}

is(promtool('the text passes the check of metrics', "$text\n", qw(check metrics)), '',
    'without a remark');
promtool('the rules are understood', '', 'check', 'rules', "$examples/rules.yml");
promtool('the configuration is understood', '', 'check', 'config', "$examples/prometheus.yml");
promtool('the rules fire when they should', '', 'test', 'rules', "$examples/rules_test.yml");

# --- a real Prometheus --------------------------------------------------------------

my @started;
END { $_->kill_kill(grace => 5) for @started; }

# Starts a program; its output goes to a file of the log directory.
sub start
{
    my ($name, @command) = @_;
    my $log = "$PostgreSQL::Test::Utils::log_path/072_metrics_$name.log";
    push @started, IPC::Run::start(\@command, '<', \undef, '>', $log, '2>&1');
    return;
}

# The body that a URL gives, or undef.
sub get
{
    my $answer = HTTP::Tiny->new(timeout => 10)->get($_[0]);
    return $answer->{success} ? $answer->{content} : undef;
}

my ($exporter, $server, $prometheus) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
{
    local $ENV{DATA_SOURCE_NAME} = sprintf 'host=%s port=%d user=exporter dbname=postgres sslmode=disable',
      $node->host, $node->port;
    start('exporter', "$tools/prometheus-postgres-exporter", "--web.listen-address=127.0.0.1:$exporter",
        "--extend.query-path=$examples/queries.yaml", '--disable-default-metrics', '--disable-settings-metrics');
}
ok(wait_for(sub { (get("http://127.0.0.1:$exporter/metrics") // '') =~ /^motionify_jobs_value/m }, 'the exporter'),
    'the exporter has the figures');

# As an app would hand the text on.
PostgreSQL::Test::Utils::append_to_file("$dir/server.py", <<'PY');
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = subprocess.run(['psql', '-XAtU', 'exporter', '-d', sys.argv[2], '-c', 'SELECT jobs.metrics_text()'],
                              stdout=subprocess.PIPE, check=True).stdout[:-1]
        self.send_response(200)
        self.send_header('Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8')
        self.end_headers()
        self.wfile.write(text)
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
PY
start('server', 'python3', "$dir/server.py", $server, $node->connstr('postgres'));

my $config = PostgreSQL::Test::Utils::slurp_file("$examples/prometheus.yml");
$config =~ s/localhost:9187/127.0.0.1:$exporter/;
$config =~ s/_interval: 30s/_interval: 1s/g;
$config =~ s{rules\.yml}{$examples/rules.yml};
$config .= <<"YAML";
  - job_name: text
    static_configs:
      - targets: ['127.0.0.1:$server']
YAML
PostgreSQL::Test::Utils::append_to_file("$dir/prometheus.yml", $config);
start('prometheus', "$tools/prometheus", "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/data",
    "--web.listen-address=127.0.0.1:$prometheus");

# The result of a query: hashes of labels, with the value as "value".
sub query
{
    my ($expression) = @_;
    $expression =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
    my $answer = get("http://127.0.0.1:$prometheus/api/v1/query?query=$expression") // return;
    return map { { %{ $_->{metric} }, value => $_->{value}[1] } }
      @{ JSON::PP->new->decode($answer)->{data}{result} };
}

# What an expression comes to, once it comes to something.
sub value_of
{
    my ($expression, $expected, $name) = @_;
    my @rows;
    wait_for(sub { @rows = query($expression); @rows == 1 && $rows[0]{value} eq $expected }, $name)
      or diag(JSON::PP->new->encode(\@rows));
    is(@rows == 1 ? $rows[0]{value} : undef, $expected, $name);
    return $rows[0];
}

foreach my $job (qw(motionify_jobs text))
{
    my $of = qq{job="$job"};
    value_of(qq(up{$of}), 1, "$job: it is scraped");
    value_of(qq(motionify_jobs_launcher_up{$of}), 1, "$job: the launcher");
    value_of(qq(motionify_jobs_job_consecutive_failures{$of,job_name="bad"}), 3, "$job: failures");
    my $row = value_of(qq(motionify_jobs_job_last_result{$of,job_group="cleanup"}), 42, "$job: a result");
    is($row->{job_name}, 'a "good" \ <one>', "$job: a name, whatever is in it");
    value_of(qq(motionify_jobs_queue_runs{$of,lane="outside",state="ready"}), 3, "$job: the queue");
    value_of(qq(motionify_jobs_outbox_mails{$of,status="queued"}), 1, "$job: mail");
    value_of(qq(count(group by (__name__) ({$of,__name__=~"motionify_jobs_.+"}))),
        scalar(@names), "$job: all metrics arrive by their names");
    value_of(qq(count({$of,name!=""}) or vector(0)), 0, "$job: and by no other");
}
value_of(qq(ALERTS{job="motionify_jobs",alertname="JobFailsRepeatedly",alertstate="firing",job_name="bad"}), 1,
    'three failures in a row: the alert fires');
run_and_wait($node, 'a "good" \ <one>');
sql(q{SELECT jobs.schedule('bad', NULL, 'SELECT 1')});
run_and_wait($node, 'bad');
value_of(qq(count(ALERTS{job="motionify_jobs",alertname="JobFailsRepeatedly"}) or vector(0)), 0, 'a success ends it');

$_->kill_kill(grace => 5) for splice @started;
done();
