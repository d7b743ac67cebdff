# Group commit: many short runs under one commit.  Each is all or nothing, with
# its own row in the history; one that fails takes no other with it; what cannot
# be done beside others is done alone.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => <<'CONF');
motionify_jobs.max_workers = 1
CONF
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'SQL');
CREATE TABLE effect (run_id bigint, xid xid8 DEFAULT pg_current_xact_id(), what text);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION work(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO effect (run_id, what) VALUES (jobs.current_run_id(), work.what);
    RAISE NOTICE 'this is run %', jobs.current_run_id();
    RETURN jobs.current_args() ->> 'n';
END $$;
SELECT jobs.schedule('good', NULL, $$SELECT work('good')$$, overlap => 'allow', group_commit => true);
SELECT jobs.schedule('bad', NULL, $$SELECT work('bad'); SELECT 1 / 0$$, overlap => 'allow', group_commit => true);
SELECT jobs.schedule('again', NULL, $$SELECT work('again'); SELECT 1 / 0$$, overlap => 'allow',
                     group_commit => true, max_attempts => 2, backoff_base => '0 s');
SELECT jobs.schedule('late', NULL, $$SELECT work('late'); INSERT INTO child VALUES (1)$$,
                     overlap => 'allow', group_commit => true);
SELECT jobs.schedule('vacuum', NULL, 'VACUUM parent', overlap => 'allow', group_commit => true);
SELECT jobs.schedule('commits', NULL, $$DO 'BEGIN PERFORM work(''commits''); COMMIT; PERFORM work(''commits''); END'$$,
                     overlap => 'allow', group_commit => true);
SELECT jobs.schedule('untidy', NULL, $$SET work_mem = '123kB'; CREATE TEMP TABLE left_over ();
                     PREPARE p AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; SELECT 'untidy'$$,
                     overlap => 'allow', group_commit => true);
SELECT jobs.schedule('tidy', NULL, $$SELECT concat_ws(' ', current_setting('work_mem'), to_regclass('left_over'),
                     (SELECT name FROM pg_prepared_statements), (SELECT name FROM pg_cursors WHERE name = 'c'))$$,
                     overlap => 'allow', group_commit => true);
SELECT jobs.schedule('slow', NULL, $$SELECT work('slow') FROM pg_advisory_xact_lock(1)$$, overlap => 'allow', group_commit => true);
SELECT jobs.schedule('timed', NULL, $$SELECT work('timed') FROM pg_sleep(3600)$$, overlap => 'allow',
                     group_commit => true, timeout => '50 ms');
SQL
set_fault($node, 'batch-largest', 'wait');
set_fault($node, 'batch-unbounded', 'wait');

# queue(JOB...): a run of each, in one batch; their ids.
sub queue
{
    sql('TRUNCATE effect; SELECT jobs.drain()');
    my $ids = sql(join ';', map { "SELECT run_id FROM jobs.run_now('$_', wait => false, args => '{\"n\": 7}')" } @_);
    sql('SELECT jobs.undrain()');
    return split /\n/, $ids;
}

# ended(RUN...): waits until they have; how their last attempts ended.
sub ended
{
    my $ids = join ',', @_;
    poll_until($node, "SELECT count(*) FROM jobs.queue WHERE run_id IN ($ids)", '0');
    return sql("SELECT string_agg(status, ' ' ORDER BY run_id) FROM (SELECT DISTINCT ON (run_id) * FROM jobs.history
                WHERE run_id IN ($ids) ORDER BY run_id, attempt DESC) h");
}

# How many transactions some effects have come from.
sub transactions { return sql('SELECT count(DISTINCT xid) FROM effect'); }

# --- together -------------------------------------------------------------------

my @runs = queue(('good') x 10);
is(ended(@runs), join(' ', ('succeeded') x 10), 'ten runs');
is(transactions(), '1', 'under one commit');
is(sql('SELECT count(DISTINCT run_id) FROM effect'), '10', 'each with its own effect');
is(sql("SELECT string_agg(DISTINCT result || ' ' || attempt || ' ' || (notices = 'NOTICE:  this is run ' || run_id), ',')
        FROM jobs.history WHERE run_id IN (" . join(',', @runs) . ')'), '7 1 true', 'its own arguments, result and notices');

# --- those that fail --------------------------------------------------------------

@runs = queue(qw(good bad good late good));
is(ended(@runs), 'succeeded failed succeeded failed succeeded', 'one fails, and one by what it has deferred');
is(sql('SELECT string_agg(what, $$ $$ ORDER BY run_id) FROM effect'), 'good good good', 'they leave nothing');
is(transactions(), '1', 'the others are under one commit');
is(sql("SELECT error FROM jobs.history WHERE run_id = $runs[1]"), 'division by zero', 'the error of the one');
is(sql("SELECT sqlstate FROM jobs.history WHERE run_id = $runs[3]"), '23503', 'and of the other');

@runs = queue(qw(good again good));
is(ended(@runs), 'succeeded failed succeeded', 'one is tried again');
is(sql("SELECT string_agg(attempt || ' ' || status, ', ' ORDER BY attempt) FROM jobs.history WHERE run_id = $runs[1]"),
   '1 failed, 2 failed', 'twice');

# --- those that need a transaction of their own -----------------------------------

@runs = queue(qw(good vacuum good commits good));
is(ended(@runs), join(' ', ('succeeded') x 5), 'VACUUM and a block that commits');
is(sql("SELECT count(DISTINCT xid) FROM effect WHERE what = 'good'"), '1', 'the others are under one commit');
is(sql("SELECT count(*) FROM effect WHERE what = 'commits'"), '2', 'what commits has done its work once');
is(sql('SELECT DISTINCT attempt FROM jobs.history WHERE run_id IN (' . join(',', @runs) . ')'), '1', 'at the first attempt');

# --- nothing of one shows in the next -----------------------------------------------

@runs = queue(qw(untidy tidy untidy tidy));
is(ended(@runs), join(' ', ('succeeded') x 4), 'runs that leave things behind');
is(sql("SELECT DISTINCT result FROM jobs.history WHERE run_id IN ($runs[1], $runs[3])"), '4MB', 'which the next ones do not see');

# --- cancelled, timed out, at hand -----------------------------------------------

my $gate = new_session($node);
$gate->query('SELECT pg_advisory_lock(1)');
@runs = queue(qw(good slow timed good slow));
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $runs[1]), 'jobs.active shows the one at hand');
is(sql(q{SELECT count(*) FROM effect}), '0', 'what is before it is not committed yet');
is(sql("SELECT jobs.cancel($runs[0])"), 'f', 'nor can it be cancelled');
is(sql("SELECT jobs.cancel($runs[1])"), 't', 'the one at hand is cancelled');
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $runs[4]), 'the last one is at hand');
is(sql("SELECT jobs.cancel($runs[4])"), 't', 'and cancelled');
is(ended(@runs), 'succeeded cancelled timed_out succeeded cancelled', 'one cancelled, one timed out, the others done');
is(sql('SELECT string_agg(what, $$ $$ ORDER BY run_id) FROM effect'), 'good good', 'whose work is done');

# --- the process ends ---------------------------------------------------------------

@runs = queue(qw(good slow good));
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $runs[1]), 'one is at hand');
sql('SELECT pg_terminate_backend(pid) FROM jobs.active');
$gate->query('SELECT pg_advisory_unlock(1)');
is(ended(@runs), 'succeeded succeeded succeeded', 'its process is told to end: all are done by the next');
is(sql('SELECT string_agg(attempt || $$ $$ || status, $$, $$ ORDER BY run_id, attempt) FROM jobs.history WHERE run_id IN ('
        . join(',', @runs) . ')'),
   '1 cancelled, 2 succeeded, 1 cancelled, 2 succeeded, 1 succeeded', 'those that were begun have been interrupted');
is(sql('SELECT count(*), count(DISTINCT run_id) FROM effect'), '3|3', 'each has done its work once');

$gate->query('SELECT pg_advisory_lock(1)');
@runs = queue(qw(good slow good));
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $runs[1]), 'one is at hand');
kill_worker($node, 'executor');
$gate->quit;
ok(wait_for(sub {
    my $n = '';
    eval { $node->psql('postgres', 'SELECT count(*) FROM jobs.queue', stdout => \$n, stderr => \my $err) };
    return $n eq '0';
}, 'all runs end'), 'after a crash all runs end');
is(ended(@runs), 'succeeded succeeded succeeded', 'well');
is(sql('SELECT count(*), count(DISTINCT run_id), count(DISTINCT xid) FROM effect'), '3|3|3',
   'each has done its work once, those that may have been the cause alone');

# --- a cancelled member, when the group fails -----------------------------------------

$gate = new_session($node);
$gate->query('SELECT pg_advisory_lock(1)');
set_fault($node, 'group-written', 'error:once');
@runs = queue(qw(good slow good));
ok(poll_until($node, 'SELECT run_id FROM jobs.active', $runs[1]), 'one is at hand');
is(sql("SELECT jobs.cancel($runs[1])"), 't', 'and cancelled, then the group fails');
$gate->query('SELECT pg_advisory_unlock(1)');
is(ended(@runs), 'succeeded cancelled succeeded', 'it stays cancelled when they are done one by one');
$gate->quit;

# --- the group as a whole ------------------------------------------------------------

set_fault($node, 'group-written', 'error:once');
@runs = queue(('good') x 5);
is(ended(@runs), join(' ', ('succeeded') x 5), 'what fails as a whole is done one by one');
is(sql('SELECT count(*), count(DISTINCT xid), max(h.attempt) FROM effect JOIN jobs.history h USING (run_id)'), '5|5|1',
   'each at its first attempt');

$node->append_conf('postgresql.conf', "default_transaction_isolation = serializable\n");
$node->reload;
@runs = queue(('good') x 5);
is(ended(@runs), join(' ', ('succeeded') x 5), 'serializable');
is(transactions(), '1', 'under one commit, too');

my ($out, $err);
foreach my $option (q{isolated => true}, q{handler => 'external'})
{
    $node->psql('postgres', "SELECT jobs.schedule('x', NULL, " . ($option =~ /ext/ ? 'NULL' : q{'SELECT 1'}) . ", group_commit => true, $option)", stderr => \$err);
    like($err, qr/cannot have group_commit/, "$option has no group commit");
}

done_testing();
