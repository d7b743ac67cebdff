# MjCrash - what the kill tests have in common: clients that go on whatever
# happens to the server, its processes seen from outside, the blows, and the
# comparison of what the clients noted with the tables.

package MjCrash;

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use MjTest;

our @EXPORT = qw(begin_plan try_sql none content processes random_moment signal_process kill_postmaster
  start_killed start_client run_client stop_clients copy_rows strange_ends);

# begin_plan($seed): the random moments are drawn from it, or from MJ_SEED.
sub begin_plan
{
    my $seed = defined $ENV{MJ_SEED} ? $ENV{MJ_SEED} : $_[0];
    note("seed $seed (MJ_SEED=$seed repeats the plan)");
    srand($seed);
    return;
}

# --- the server, as it is asked -------------------------------------------------

# try_sql($node, $sql): one value, also while the server is not there: undef then.
sub try_sql
{
    my ($node, $sql) = @_;
    my ($out, $status) = ('');
    eval { $status = $node->psql('postgres', $sql, stdout => \$out, stderr => \my $err); 1 }
      or return;
    return defined $status && $status == 0 ? $out : undef;
}

# none($node, $sql, $what): a test that a query finds nothing.
sub none
{
    my ($node, $sql, $what) = @_;
    is($node->safe_psql('postgres', "SELECT count(*) FROM ($sql) AS x"), 0, $what)
      or diag($node->safe_psql('postgres', "SELECT * FROM ($sql) AS x LIMIT 10"));
    return;
}

# copy_rows($node, $dir, $table, @rows): rows of tab-separated values go into a table.
sub copy_rows
{
    my ($node, $dir, $table, @rows) = @_;
    open my $file, '>', "$dir/$table.copy" or die $!;
    print $file "$_\n" foreach @rows;
    close $file or die $!;
    $node->safe_psql('postgres', "COPY $table FROM '$dir/$table.copy'");
    return;
}

# strange_ends($node): a test that no process ended but by what was done to it.
sub strange_ends
{
    my ($node) = @_;
    my @bad = grep { /PANIC|TRAP:|invalid memory|corrupt|terminated by signal (?!9:)/ }
      split /\n/, slurp_file($node->logfile);
    is(scalar(@bad), 0, 'no process died of itself') or diag(join "\n", @bad);
    return;
}

# --- the server, from outside ---------------------------------------------------

# What a file has; '' if it is gone.
sub content
{
    open my $file, '<', $_[0] or return '';
    local $/;
    my $content = <$file>;
    return defined $content ? $content : '';
}

# processes($node, $title): the postmaster's children whose title matches, without
# asking the server.
sub processes
{
    my ($node, $title) = @_;
    my $postmaster = $node->{_pid} or return;
    my @found;
    foreach my $proc (glob '/proc/[0-9]*')
    {
        my $stat = content("$proc/stat");
        next unless $stat =~ /^(\d+) \(.*\) [^Z] (\d+) /s && $2 == $postmaster;
        my $pid = $1;
        push @found, $pid if content("$proc/cmdline") =~ $title;
    }
    return @found;
}

# random_moment($us): at most so many microseconds from now: this is what the
# pause is for.
sub random_moment { usleep(int rand $_[0]); return; }

# signal_process($node, $title, $signal): one of them, as soon as there is one.
sub signal_process
{
    my ($node, $title, $signal) = @_;
    return wait_for(
        sub {
            my @pids = processes($node, $title);
            return @pids && kill($signal, $pids[ rand @pids ]);
        },
        "a process to signal, $title");
}

# kill_postmaster($node): and starts the server again.
sub kill_postmaster
{
    my ($node) = @_;
    kill 'KILL', $node->{_pid} or return 0;
    $node->{_pid} = undef;
    return start_killed($node);
}

# start_killed($node): when the last of the processes has noticed and ended, since
# until then a start is refused.
sub start_killed
{
    my ($node) = @_;
    local %ENV = $node->_get_env(PGAPPNAME => undef);    # its own build's programs
    return wait_for(
        sub {
            return 0 if system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile,
                '-o', '--cluster-name=main', 'start') != 0;
            $node->_update_pid(1);
            return 1;
        },
        'the server starts');
}

# --- clients ----------------------------------------------------------------------

# start_client($code): a process that runs it; its pid.
sub start_client
{
    my ($code) = @_;
    my $seed = int rand 1e9;
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    return $pid if $pid != 0;
    srand($seed);
    eval { $code->(); 1 } or print {*STDERR} $@;
    POSIX::_exit(0);
}

# run_client($node, $dir, $number, $script): runs psql scripts, that $script makes, over
# and over again, until the file "stop" is there.  What psql says goes to
# $dir/log.$number, which is whole when psql has ended; nobody kills psql.
sub run_client
{
    my ($node, $dir, $number, $script) = @_;
    my $connect = $node->connstr('postgres');
    until (-e "$dir/stop")
    {
        open my $file, '>', "$dir/script.$number" or die $!;
        print $file "\\set ON_ERROR_STOP on\n", $script->();
        close $file or die $!;
        my $status = system "psql -XAtq -v VERBOSITY=verbose -d '$connect' -f '$dir/script.$number' "
          . ">>'$dir/log.$number' 2>>'$dir/errors.$number'";
        usleep(20_000) if $status != 0;    # the server is away: no need to hammer
    }
    return;
}

# stop_clients($dir, @pids)
sub stop_clients
{
    my ($dir, @pids) = @_;
    open my $stop, '>', "$dir/stop" or die $!;
    close $stop;
    waitpid $_, 0 foreach @pids;
    return;
}

1;
