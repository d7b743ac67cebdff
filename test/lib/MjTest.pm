# MjTest - what the TAP tests of motionify_jobs share: servers with the
# extension, waiting with a deadline, workers, the clock, an SMTP receiver.
#
# Tests run on PostgreSQL::Test::Cluster.  Nothing here sleeps for a fixed time:
# what is waited for is polled, and a deadline that passes fails the test.
# test/README.md shows how to write one.

package MjTest;

use strict;
use warnings;

use Carp;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Run;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_node start_node testing_is_built preload_conf log_tail
  wait_for poll_until run_and_wait run_state log_count
  new_session
  worker_pids wait_for_worker kill_worker backend_of_pid_gone
  set_clock clear_clock shift_server_clock
  set_fault clear_fault fault_hit fault_is_set wait_for_fault
  start_receiver start_http make_certificate
  slurp_bytes
);

# Seconds that anything may take before a test gives up.  Generous: only a
# failing test ever waits that long.
our $deadline = $ENV{MJ_TEST_DEADLINE} || 60;

our $test_dir = abs_path(dirname(__FILE__) . '/..');

# --- servers ------------------------------------------------------------------

# The settings of a server with the extension preloaded.
sub preload_conf
{
    return <<'CONF';
shared_preload_libraries = 'motionify_jobs'
max_worker_processes = 16
restart_after_crash = on
log_statement = none
log_line_prefix = '%m [%p] %b %q%a '
timezone = 'UTC'
motionify_jobs.linger = '10s'
CONF
}

# new_node($name, %options): an initialised and started server.
#   preload   => 0        without the extension in shared_preload_libraries
#   extension => 0        without CREATE EXTENSION in database postgres
#   start     => 0        not started (then no extension either)
#   conf      => '...'    lines for postgresql.conf, last
#   testing   => 1        the build with -DMJ_TESTING (set_clock, set_fault)
#   shim      => 1        the whole server's clock can be shifted
#                         (shift_server_clock)
#   streaming => 1        a primary for a standby
# Skips the whole test if a build it wants is not there.
sub new_node
{
    my ($name, %opt) = @_;
    my %new;

    if ($opt{testing})
    {
        plan skip_all => 'no build with MJ_TESTING=1 (MJ_TESTING_INSTALL)'
          unless testing_is_built();
        $new{install_path} = $ENV{MJ_TESTING_INSTALL};
    }
    plan skip_all => 'the clock shim is not built (MJ_CLOCK_SHIM)'
      if $opt{shim} && !$ENV{MJ_CLOCK_SHIM};

    my $node = PostgreSQL::Test::Cluster->new($name, %new);
    $node->init(
        extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ],
        ($opt{streaming} ? (allows_streaming => 1) : ()));
    $node->append_conf('postgresql.conf', preload_conf())
      unless defined $opt{preload} && !$opt{preload};
    $node->append_conf('postgresql.conf', $opt{conf}) if $opt{conf};
    $node->{mj_shim} = _new_shim_file($node) if $opt{shim};
    return $node if defined $opt{start} && !$opt{start};

    start_node($node);
    $node->safe_psql('postgres', 'CREATE EXTENSION motionify_jobs')
      unless defined $opt{extension} && !$opt{extension};
    return $node;
}

# start_node($node): like $node->start, with the shim if the node has one.
sub start_node
{
    my ($node) = @_;
    local %ENV = %ENV;
    if ($node->{mj_shim})
    {
        $ENV{LD_PRELOAD} = $ENV{MJ_CLOCK_SHIM};
        $ENV{MJ_CLOCK_OFFSET_FILE} = $node->{mj_shim};
    }
    $node->start;
    return;
}

sub testing_is_built
{
    return defined $ENV{MJ_TESTING_INSTALL} && -d $ENV{MJ_TESTING_INSTALL};
}

# --- waiting ------------------------------------------------------------------

# wait_for(sub, $what[, $seconds]): calls sub until it returns true, and returns
# that; past the deadline the test fails with $what, and undef is returned.
sub wait_for
{
    my ($sub, $what, $seconds) = @_;
    my $end = Time::HiRes::time() + ($seconds || $deadline);
    my $pause = 2_000;

    while (1)
    {
        my $got = $sub->();
        return $got if $got;
        last if Time::HiRes::time() > $end;
        usleep($pause);
        $pause = $pause * 1.5 if $pause < 100_000;
    }
    fail("in time: $what");
    return;
}

# poll_until($node, $sql[, $expected = 't'[, $db]]): waits until the query
# returns what is expected; also over a restart of the server.  True, or fails
# the test, showing the last answer and the end of the server's log.
sub poll_until
{
    my ($node, $sql, $expected, $db) = @_;
    my ($out, $err);

    $expected = 't' unless defined $expected;
    my $ok = wait_for(
        sub {
            ($out, $err) = ('', '');
            # psql that cannot connect may end before it was given its input
            eval {
                $node->psql($db || 'postgres', $sql, stdout => \$out, stderr => \$err);
                1;
            } or $err .= $@;
            return $out eq $expected;
        },
        $sql);
    return 1 if $ok;
    diag("expected: $expected\nlast answer: $out\n$err");
    diag(log_tail($node));
    return 0;
}

# The end of a server's log.
sub log_tail
{
    my ($node, $lines) = @_;
    my @log = split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile);
    my $from = @log > ($lines || 40) ? @log - ($lines || 40) : 0;
    return join("\n", @log[ $from .. $#log ]);
}

# log_count($node, qr/.../[, $from]): how many lines of the server's log match,
# of those after byte $from.
sub log_count
{
    my ($node, $pattern, $from) = @_;
    my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $from || 0);
    return scalar(grep { $_ =~ $pattern } split /\n/, $log);
}

# run_state($node, $run_id[, $db]): the statuses of a run's attempts, as
# 'crashed,succeeded'.
sub run_state
{
    my ($node, $run_id, $db) = @_;
    return $node->safe_psql($db || 'postgres',
        "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history "
          . "WHERE run_id = $run_id");
}

# run_and_wait($node, $job[, $db]): jobs.run_now with wait; its row as a hash:
# run_id, status, result, rows_affected, error.
sub run_and_wait
{
    my ($node, $job, $db) = @_;
    my $row = $node->safe_psql($db || 'postgres',
        "SELECT to_jsonb(r) FROM jobs.run_now(" . _literal($job) . ") r");
    return decode_json($row);
}

sub _literal
{
    my ($text) = @_;
    $text =~ s/'/''/g;
    return "'$text'";
}

# new_session($node[, $db[, $role]]): a session that stays, an MjTest::Session.
sub new_session
{
    my ($node, $db, $role) = @_;
    my $self = bless { in => '', out => '', err => '', n => 0 }, 'MjTest::Session';
    my @cmd = (
        'psql', '-XAtq', '-d', $node->connstr($db || 'postgres'),
        ($role ? ('-U', $role) : ()), '-v', 'VERBOSITY=verbose', '-f', '-');
    $self->{harness} =
      IPC::Run::start(\@cmd, '<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
    $self->{pid} = $self->query('SELECT pg_backend_pid()');
    return $self;
}

# --- workers ------------------------------------------------------------------

# worker_pids($node, $kind[, $db]): the pids of the launcher, scheduler or
# executor processes, of one database if it is named.
sub worker_pids
{
    my ($node, $kind, $db) = @_;
    my $sql = "SELECT pid FROM pg_stat_activity "
      . "WHERE backend_type LIKE 'motionify_jobs%$kind%'";
    $sql .= ' AND datname = ' . _literal($db) if defined $db;
    my ($out, $err) = ('', '');
    $node->psql('postgres', "$sql ORDER BY pid", stdout => \$out, stderr => \$err);
    return split /\n/, $out;
}

# wait_for_worker($node, $kind[, $db]): the pid of one, as soon as there is one.
sub wait_for_worker
{
    my ($node, $kind, $db) = @_;
    my ($pid) = (0);
    wait_for(sub { ($pid) = worker_pids($node, $kind, $db); $pid }, "a $kind is there")
      or diag(log_tail($node));
    return $pid;
}

# kill_worker($node, $kind[, $signal = 'KILL'[, $db]]): signals one worker, and
# returns its pid when it is gone.
sub kill_worker
{
    my ($node, $kind, $signal, $db) = @_;
    my $pid = wait_for_worker($node, $kind, $db) or return;
    kill($signal || 'KILL', $pid) == 1 or croak "cannot signal $kind $pid: $!";
    backend_of_pid_gone($pid);
    return $pid;
}

# Waits until a process has ended.
sub backend_of_pid_gone
{
    my ($pid) = @_;
    return wait_for(sub { !kill(0, $pid) }, "process $pid has ended");
}

# --- time ---------------------------------------------------------------------

# set_clock($node, $timestamptz): what the extension takes for the time, in a
# build with -DMJ_TESTING; it stands still until it is set again.
sub set_clock
{
    my ($node, $instant) = @_;
    $node->safe_psql('postgres',
        'ALTER SYSTEM SET motionify_jobs.test_clock = ' . _literal($instant));
    $node->reload;
    return poll_until($node, 'SHOW motionify_jobs.test_clock', $instant);
}

# clear_clock($node): back to the real time.
sub clear_clock
{
    my ($node) = @_;
    $node->safe_psql('postgres', 'ALTER SYSTEM RESET motionify_jobs.test_clock');
    $node->reload;
    return poll_until($node, 'SHOW motionify_jobs.test_clock', '');
}

# shift_server_clock($node, $seconds): what now() and everything else in the
# server take for the time is the real time plus this, at once.  The node was
# made with shim => 1.
sub shift_server_clock
{
    my ($node, $seconds) = @_;
    croak 'this node was made without shim => 1' unless $node->{mj_shim};
    open my $file, '+<:raw', $node->{mj_shim} or croak "$node->{mj_shim}: $!";
    syswrite($file, pack('q', int($seconds * 1e9))) == 8 or croak "$!";
    close $file or croak "$!";
    return;
}

sub _new_shim_file
{
    my ($node) = @_;
    my $path = $node->basedir . '/clock_offset';
    open my $file, '>:raw', $path or croak "$path: $!";
    print $file pack('q', 0);
    close $file or croak "$path: $!";
    return $path;
}

# --- faults -------------------------------------------------------------------

# set_fault($node, $point, $action): from now on this happens to who comes by a
# fault point (src/fault.h): crash, exit, error, fatal or wait, perhaps with
# ':once' after it.  The node was made with testing => 1; it need not run.
sub set_fault
{
    my ($node, $point, $action) = @_;
    my $dir = _fault_dir($node);
    mkdir $dir;
    unlink "$dir/$point.hit";
    open my $file, '>', "$dir/new" or croak "$dir/new: $!";
    print $file "$action\n";
    close $file or croak "$dir/new: $!";
    rename "$dir/new", "$dir/$point" or croak "$dir/$point: $!";
    return;
}

# clear_fault($node, $point): no longer; who waits there goes on.  False if it
# was not there any more.
sub clear_fault
{
    my ($node, $point) = @_;
    return unlink _fault_dir($node) . "/$point";
}

# fault_hit($node, $point): the pid of the last process to which it happened
# since it was set; false if to none.
sub fault_hit
{
    my ($node, $point) = @_;
    open my $file, '<', _fault_dir($node) . "/$point.hit" or return;
    my $pid = <$file>;
    return defined $pid && $pid =~ /^(\d+)\n/ ? $1 : undef;
}

# fault_is_set($node, $point): nobody has come by yet, if it is one for once.
sub fault_is_set
{
    my ($node, $point) = @_;
    return -e _fault_dir($node) . "/$point";
}

# wait_for_fault($node, $point): waits until it happened to one; its pid.
sub wait_for_fault
{
    my ($node, $point) = @_;
    return wait_for(sub { fault_hit($node, $point) }, "a process comes by $point");
}

sub _fault_dir { return $_[0]->data_dir . '/motionify_jobs_faults'; }

# --- mail ---------------------------------------------------------------------

# start_receiver(%options): a real SMTP server (test/smtp_receiver.py) on
# 127.0.0.1, an MjTest::Receiver.
#   tls  => 'starttls' | 'smtps'   with cert => [file, key file]
#   auth => 'user:password'        AUTH required
#   port => N                      a certain port, to come back on the same one
#   dir  => '...'                  a certain directory
#   scripted => 1                  one that fails as behave() tells
#                                  (test/smtp_scripted.py), with another ->hole
sub start_receiver
{
    my (%opt) = @_;
    my $dir = $opt{dir} || PostgreSQL::Test::Utils::tempdir();
    my $program = $opt{scripted} ? 'smtp_scripted.py' : 'smtp_receiver.py';
    my @cmd = ('/usr/bin/python3', "$test_dir/$program", '--dir', $dir);

    push @cmd, '--tls', $opt{tls} if $opt{tls};
    push @cmd, '--cert', @{ $opt{cert} } if $opt{cert};
    push @cmd, '--auth', $opt{auth} if $opt{auth};
    push @cmd, '--port', $opt{port} if $opt{port};
    unlink "$dir/port";

    my $self = bless { dir => $dir, tls => $opt{tls} || '' }, 'MjTest::Receiver';
    _start_server($self, @cmd);
    $self->{hole} = 0 + PostgreSQL::Test::Utils::slurp_file("$dir/hole") if $opt{scripted};
    return $self;
}

# Starts the program of a server, which writes its port into its directory.
sub _start_server
{
    my ($self, @cmd) = @_;
    my $dir = $self->{dir};
    my $pid = fork();

    croak "fork: $!" unless defined $pid;
    if ($pid == 0)
    {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec @cmd or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    push @MjTest::Receiver::all, $self;
    wait_for(sub { -s "$dir/port" }, "$cmd[1] listens")
      or croak PostgreSQL::Test::Utils::slurp_file("$dir/log");
    $self->{port} = 0 + PostgreSQL::Test::Utils::slurp_file("$dir/port");
    return;
}

# start_http(%options): a real HTTP server (test/http_server.py) on 127.0.0.1, an
# MjTest::Http.
#   cert => [file, key file]  it speaks TLS
#   port => N                 a certain port, to come back on the same one
sub start_http
{
    my (%opt) = @_;
    my $dir = PostgreSQL::Test::Utils::tempdir();
    my @cmd = ('/usr/bin/python3', "$test_dir/http_server.py", '--dir', $dir);

    push @cmd, '--cert', @{ $opt{cert} } if $opt{cert};
    push @cmd, '--port', $opt{port} if $opt{port};
    my $self = bless { dir => $dir, tls => $opt{cert} ? 1 : 0 }, 'MjTest::Http';
    _start_server($self, @cmd);
    return $self;
}

# make_certificate([$name = 'localhost']): a CA and a certificate for the name
# and 127.0.0.1; returns the files of the certificate, its key, and the CA's.
sub make_certificate
{
    my ($name) = @_;
    my $dir = PostgreSQL::Test::Utils::tempdir();
    $name = 'localhost' unless defined $name;

    my @new = ('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2');
    _quiet(@new, '-subj', '/CN=motionify_jobs test CA',
        '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt");
    _quiet('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$name",
        '-keyout', "$dir/server.key", '-out', "$dir/server.csr");
    PostgreSQL::Test::Utils::append_to_file("$dir/ext",
        "subjectAltName=DNS:$name" . ($name eq 'localhost' ? ',IP:127.0.0.1' : '') . "\n");
    _quiet('openssl', 'x509', '-req', '-days', '2', '-CAcreateserial',
        '-in', "$dir/server.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key",
        '-extfile', "$dir/ext", '-out', "$dir/server.crt");
    return ("$dir/server.crt", "$dir/server.key", "$dir/ca.crt");
}

sub _quiet
{
    my @cmd = @_;
    my $output = '';
    IPC::Run::run(\@cmd, '<', \undef, '>&', \$output) or croak "@cmd: $output";
    return;
}

# The bytes of a file.
sub slurp_bytes
{
    my ($path) = @_;
    open my $file, '<:raw', $path or croak "$path: $!";
    local $/;
    my $bytes = <$file>;
    close $file;
    return $bytes;
}

package MjTest::Session;

use strict;
use warnings;

# query($sql): sends it, waits for its end, and returns its rows.
sub query
{
    my ($self, $sql) = @_;
    $self->send($sql);
    return $self->result;
}

# send($sql): sends it only; result() waits for its end.
sub send
{
    my ($self, $sql) = @_;
    @$self{qw(out err)} = ('', '');
    $self->{n}++;
    $self->{in} .= "$sql;\n\\echo end $self->{n}\n\\warn end $self->{n}\n";
    $self->{harness}->pump_nb;
    return;
}

# result(): the rows of what was sent, once it has ended; errors are in error().
sub result
{
    my ($self) = @_;
    my $end = qr/^end $self->{n}\n/m;
    MjTest::wait_for(
        sub {
            $self->{harness}->pump_nb;
            return $self->{out} =~ $end && $self->{err} =~ $end;
        },
        'a session answers')
      or Test::More::diag("$self->{out}\n$self->{err}");
    s/$end// for @$self{qw(out err)};
    chomp(my $out = $self->{out});
    return $out;
}

# What the last query said on standard error: errors and notices, verbose.
sub error { return $_[0]->{err}; }

# The process that serves the session.
sub pid { return $_[0]->{pid}; }

# quit(): ends the session.
sub quit
{
    my ($self) = @_;
    $self->{in} .= "\\q\n";
    return eval { $self->{harness}->finish; 1 };
}

package MjTest::Receiver;

use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Utils;

our @all;

# For motionify_jobs.smtp_url.
sub url
{
    my ($self) = @_;
    my $scheme = $self->{tls} eq 'smtps' ? 'smtps' : 'smtp';
    my $host = $self->{tls} ? 'localhost' : '127.0.0.1';
    return "$scheme://$host:$self->{port}";
}

sub port { return $_[0]->{port}; }
sub dir { return $_[0]->{dir}; }

# Of a scripted one: a port at which connections are never made.
sub hole { return $_[0]->{hole}; }

# The mails accepted so far, oldest first, as hashes: mail_from, rcpt_tos, tls,
# auth, file (the bytes, .eml), crlf_only, defects, headers, subject, message_id,
# text, html.  See test/smtp_receiver.py.
sub mails
{
    my ($self) = @_;
    return map { decode_json($_) } $self->_lines('mails.jsonl');
}

# What was said: a hash per event (connect, EHLO, STARTTLS, AUTH, MAIL, RCPT,
# DATA, with what came and what was replied).
sub events
{
    my ($self) = @_;
    return map { decode_json($_) } $self->_lines('events.jsonl');
}

# Waits until so many mails were accepted in all, and returns all.
sub wait_mails
{
    my ($self, $count) = @_;
    my @mails;
    MjTest::wait_for(sub { @mails = $self->mails; @mails >= $count },
        "$count mails have arrived")
      or Test::More::diag(scalar(@mails) . ' mails have');
    return @mails;
}

# behave({ ... }): what it refuses from now on, e.g.
#   { rcpt => { 'bad@example.com' => '550 5.1.1 no such user' } }
#   { data => '451 4.3.0 try again later' }, { mail => '421 4.3.2 closing' }
# Empty: it accepts everything.
sub behave
{
    my ($self, $how) = @_;
    my $path = "$self->{dir}/behaviour.json";
    open my $file, '>', "$path.new" or die "$path.new: $!";
    print $file encode_json($how);
    close $file or die "$path.new: $!";
    rename "$path.new", $path or die "$path: $!";
    return;
}

sub _lines
{
    my ($self, $name) = @_;
    my $path = "$self->{dir}/$name";
    return () unless -e $path;
    # a last line that is still being written does not count
    return PostgreSQL::Test::Utils::slurp_file($path) =~ /^(.*)\n/mg;
}

sub stop
{
    my ($self) = @_;
    return unless $self->{pid};
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    return;
}

package MjTest::Http;

use strict;
use warnings;
use JSON::PP;

our @ISA = ('MjTest::Receiver');

# url([$path]): of the server, or of a path of it.
sub url
{
    my ($self, $path) = @_;
    my $scheme = $self->{tls} ? 'https' : 'http';
    return "$scheme://" . $self->host . (defined $path ? $path : '');
}

# Host and port, as motionify_jobs.http_allowed_hosts has them.
sub host
{
    my ($self) = @_;
    return ($self->{tls} ? 'localhost' : '127.0.0.1') . ":$self->{port}";
}

# requests([$path]): all so far, or those of a path, oldest first, as hashes: method,
# path, headers (names in lower case), body, number, peer.
sub requests
{
    my ($self, $path) = @_;
    my @all = map { decode_json($_) } $self->_lines('requests.jsonl');
    return grep { !defined $path || $_->{path} eq $path } @all;
}

# The paths of requests whose client has given up waiting.
sub given_up
{
    my ($self) = @_;
    return map { decode_json($_)->{path} } $self->_lines('ended.jsonl');
}

# wait_requests($count[, $path]): waits until there were so many, and returns all.
sub wait_requests
{
    my ($self, $count, $path) = @_;
    my @requests;
    MjTest::wait_for(sub { @requests = $self->requests($path); @requests >= $count },
        "$count requests" . (defined $path ? " of $path" : '') . ' have come')
      or Test::More::diag(scalar(@requests) . ' have');
    return @requests;
}

package MjTest::Receiver;

END
{
    my $exit_code = $?;
    $_->stop foreach @all;
    $? = $exit_code;
}

1;
