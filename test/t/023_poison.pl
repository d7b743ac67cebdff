# A run that ends its process each time is given up at its third crash, and its
# job paused.  Runs that happened to be at work then are innocent: of their jobs
# none is paused, and they end well.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');
sub sql { return $node->safe_psql('postgres', $_[0]); }

# What the server says, undef while it restarts.
sub try_sql
{
    my ($out, $status) = ('');
    eval { $status = $node->psql('postgres', $_[0], stdout => \$out, stderr => \my $err); 1 } or return;
    return defined $status && $status == 0 ? $out : undef;
}

# Innocent jobs take until the gate is open, in one transaction; one in the lane
# of the poison, one in that of another role.  The poison starts as soon as they
# are at work, and would be the first of its lane.
my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
sql(<<SQL);
CREATE ROLE other LOGIN;
CREATE TABLE effect (job text);
GRANT INSERT ON effect TO other;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO other;
GRANT pg_read_server_files TO other;
CREATE FUNCTION work(job text) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
  INSERT INTO effect VALUES (job);
  WHILE pg_stat_file('$gate', true) IS NULL LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
  RETURN 7;
END \$\$;
SELECT jobs.schedule('innocent', NULL, 'SELECT work(''innocent'')');
SELECT jobs.schedule('bystander', NULL, 'SELECT work(''bystander'')', role => 'other');
SELECT jobs.schedule('ping', NULL, 'SELECT 1');
SELECT jobs.schedule('poison', NULL, \$job\$DO \$do\$ BEGIN
  EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
  PERFORM pg_sleep(60); END \$do\$ \$job\$, priority => -1);
SQL

my @innocent = qw(innocent bystander);
my %run;
$run{$_} = sql("SELECT run_id FROM jobs.run_now('$_', wait => false)") foreach @innocent;
ok(poll_until($node, "SELECT count(*) FROM jobs.history WHERE status = 'running'
    AND job IN ('innocent', 'bystander')", '2'), 'the innocent runs are at work');
$run{poison} = sql(q{SELECT run_id FROM jobs.run_now('poison', wait => false)});

# The attempts of a job's run so far; '' while the server restarts.
sub attempts
{
    my $got = try_sql("SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history
        WHERE run_id = $run{$_[0]}");
    return defined $got ? $got : '';
}

# The gate is opened once the poison is paused; or, should an innocent run go
# before it, once that is at work again and the poison is held back until it has
# ended, as a run that was asked for later and is through shows.
my $waits = 0;
ok(wait_for(
        sub {
            return 1 if (try_sql(q{SELECT paused FROM jobs.status WHERE job = 'poison'}) || '') eq 't';
            my $before = join ' ', map { attempts($_) } @innocent, 'poison';
            return 0 unless $before =~ /^\S*crashed,running/ || $before =~ / \S*crashed,running /;
            return 0 if $before =~ /running$/;
            return 0 unless (try_sql(q{SELECT status FROM jobs.run_now('ping')}) || '') eq 'succeeded';
            $waits = $before eq join ' ', map { attempts($_) } @innocent, 'poison';
            return $waits;
        },
        'the poison is paused, or waits for the innocent run'), 'the poison harms no more');
note($waits ? 'the poison waits for an innocent run' : 'the poison went first');
PostgreSQL::Test::Utils::append_to_file($gate, '');

ok(poll_until($node, q{SELECT paused FROM jobs.status WHERE job = 'poison'}), 'the job of the poison is paused');
like(sql(q{SELECT why_not FROM jobs.status WHERE job = 'poison'}), qr/ended its process 3 times/, 'with the reason');
is(attempts('poison'), 'crashed,crashed,crashed', 'after three attempts');
ok(poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'), 'nothing is left in the queue');
foreach my $job (@innocent)
{
    like(attempts($job), qr/^crashed(,crashed)?,succeeded$/, "$job ends well");
    is(sql("SELECT paused FROM jobs.status WHERE job = '$job'"), 'f', "$job is not paused");
    is(sql("SELECT count(*) FROM effect WHERE job = '$job'"), '1', "$job took effect once");
}
is(run_and_wait($node, 'ping')->{result}, '1', 'other jobs run');

$node->stop;
done_testing();
