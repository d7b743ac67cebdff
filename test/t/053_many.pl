# Runs and their history by filter: dead runs, retry, cancel and clean of many;
# what each job keeps of its history.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main', testing => 1, conf => "motionify_jobs.max_workers = 4\nmotionify_jobs.linger = '1min'");

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub settle { ok(poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state <> 'waiting' OR run_at <= jobs.clock()}, '0'), $_[0]); return; }
sub error_of { my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]"); return $err; }

set_clock($node, '2030-01-01 12:00:00+00');
sql(<<'SQL');
CREATE TABLE broken (job text);
INSERT INTO broken VALUES ('a'), ('b');
CREATE FUNCTION try_it(args jsonb) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF EXISTS (SELECT FROM broken WHERE job = args ->> 'job') THEN
    RAISE EXCEPTION 'broken' USING errcode = 'P0007';
  END IF;
  RETURN args ->> 'n';
END $$;
CREATE ROLE alice LOGIN;
CREATE ROLE olga LOGIN;
SELECT jobs.grant_usage('alice', 'user');
SELECT jobs.grant_usage('olga', 'operator');
SELECT jobs.schedule('a', NULL, 'SELECT try_it($1)', role => 'alice');
SELECT jobs.schedule('b', NULL, 'SELECT try_it($1)', max_attempts => 2, backoff_base => '0');
SQL

# --- dead runs -------------------------------------------------------------------

sql(q{SELECT jobs.enqueue('a', jsonb_build_object('job', 'a', 'n', i)) FROM generate_series(1, 5) i});
settle('five fail');
set_clock($node, '2030-01-01 13:00:00+00');
sql(q{SELECT jobs.enqueue('b', '{"job": "b", "n": 1}'), jobs.enqueue('b', '{"n": 2}'), jobs.enqueue('a', '{"job": "a", "n": 6}'),
    jobs.enqueue('a', expires_at => jobs.clock())});
settle('two more fail, one succeeds, one expires');
sql(q{SELECT jobs.enqueue('a', '{"n": 7}', '2100-01-01'), jobs.enqueue('a', '{"n": 8}', '2100-01-01'), jobs.enqueue('b', '{"n": 9}', '2100-01-01')});
is(sql(q{SELECT string_agg(job || ' ' || status || ' ' || attempt || ' ' || n, ', ' ORDER BY job, status, attempt)
    FROM (SELECT job, status, attempt, count(*) AS n FROM jobs.dead GROUP BY 1, 2, 3) d}), 'a expired 0 1, a failed 1 6, b failed 2 1', 'jobs.dead');
is(sql(q{SELECT args ->> 'n' || ' ' || error || ' ' || sqlstate FROM jobs.dead WHERE job = 'b'}), '1 broken P0007', 'with arguments and error');

# --- retry -------------------------------------------------------------------------

is(sql(q{SELECT jobs.retry('a', 'failed', until => '2030-01-01 12:30+00', max_runs => 2)}), '2', 'retry of some of a job');
settle('they fail again');
sql('TRUNCATE broken');
is(sql(q{SELECT jobs.retry('a', 'failed', since => '2030-01-01 12:30+00')}), '3', 'by when they ended');
settle('they succeed');
is(sql(q{SELECT count(*) FROM jobs.dead WHERE job = 'a' AND status = 'failed'}), '3', 'the others are dead still');
my $bob = new_session($node, 'postgres', 'alice');
is($bob->query(q{SELECT jobs.retry(NULL, NULL)}), '4', 'a user retries all of her own');
settle('they are done');
is(sql(q{SELECT string_agg(DISTINCT job, ' ') FROM jobs.dead}), 'b', 'and only hers');
is(sql(q{SELECT count(DISTINCT run_id) FROM jobs.history WHERE job = 'a' AND status = 'succeeded'}), '7', 'each with its arguments');
like(error_of(q{SET ROLE alice; SELECT jobs.retry('b', 'failed')}), qr/42501/, 'not those of others');
like(error_of(q{SELECT jobs.retry('c', NULL)}), qr/42704/, 'nor of no job');
like(error_of(q{SELECT jobs.retry(NULL, 'succeeded')}), qr/22023: invalid status: "succeeded"/, 'nor what has succeeded');
like(error_of(q{SELECT jobs.retry(NULL, NULL, max_runs => 0)}), qr/22023/, 'nor none');
my $olga = new_session($node, 'postgres', 'olga');
is($olga->query(q{SELECT jobs.retry(NULL, NULL)}), '1', 'an operator those of all');
settle('done');
is(sql('SELECT count(*) FROM jobs.dead'), '0', 'nothing is dead');
# drivers that give a parameter no type
is(sql(q{PREPARE p AS SELECT jobs.retry($1); SELECT pg_typeof(parameter_types[1]) || ' ' || parameter_types[1] FROM pg_prepared_statements WHERE name = 'p'}),
    'regtype bigint', 'a single argument is a run id');

# --- cancel --------------------------------------------------------------------------

is($bob->query(q{SELECT jobs.cancel('a', 'running')}), '0', 'cancel: nothing of that state');
is($bob->query(q{SELECT jobs.cancel('a', NULL, 1)}), '1', 'some');
is($bob->query(q{SELECT jobs.cancel(NULL, 'waiting')}), '1', 'all of one\'s own');
is(sql(q{SELECT string_agg(job, ' ') FROM jobs.queued}), 'b', 'not those of others');
is($olga->query(q{SELECT jobs.cancel(NULL, NULL)}), '1', 'but an operator those too');
is(sql(q{SELECT count(*) FROM jobs.history WHERE status = 'cancelled' AND error LIKE 'cancelled by role%'}), '3', 'history says by whom');
is(sql('SELECT count(*) FROM jobs.dead'), '0', 'they are not called dead');
is(sql(q{SELECT jobs.retry('b', 'cancelled')}), '1', 'and can be retried');
settle('done');

# --- clean ----------------------------------------------------------------------------

set_clock($node, '2030-01-03 12:00:00+00');
my $all = sql('SELECT count(*) FROM jobs.run_log');
is(sql(q{SELECT jobs.clean(older_than => '3 days')}), '0', 'clean: nothing is so old');
is($bob->query(q{SELECT jobs.clean(status => 'failed', max_rows => 2)}), '2', 'by status, no more than asked for');
is($bob->query(q{SELECT jobs.clean(status => 'failed')}), '6', 'then the rest');
is(sql(q{SELECT count(*) FROM jobs.history WHERE status = 'failed'}), '2', 'of one\'s own jobs');
ok(sql(q{SELECT jobs.clean('b', older_than => '1 day')}) > 3, 'by job and age');
is(sql(q{SELECT string_agg(DISTINCT job, ' ') FROM jobs.history}), 'a', 'which is gone then');
like(error_of(q{SELECT jobs.clean()}), qr/22023: nothing says what history is to be deleted/, 'not everything by accident');
like(error_of(q{SET ROLE alice; SELECT jobs.clean('b')}), qr/42501/, 'not that of others');
like(error_of(q{SELECT jobs.clean(status => 'done')}), qr/22023/, 'nor what there is not');
like(error_of(q{SELECT jobs.clean('a', max_rows => 0)}), qr/22023/, 'nor none');

# --- retention --------------------------------------------------------------------------

# All the history that there is of a job, oldest first.
sub history { my ($job) = @_; return sql("SELECT coalesce(string_agg(l.status, ' ' ORDER BY l.finished_at, l.run_id), '')
    FROM jobs.run_log l WHERE l.job = '$job'"); }

# Has the scheduler prune: a new one does, first of all.
sub prune
{
    kill_worker($node, 'scheduler', 'TERM');
    my $run = sql(q{SELECT jobs.enqueue('marker', expires_at => jobs.clock())});
    ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run", 'expired'), 'another scheduler');
    return;
}

sql('DELETE FROM jobs.run_log');
sql(q{SELECT jobs.schedule('marker', NULL, 'SELECT 1')});
sql(q{SELECT jobs.schedule('all', NULL, 'SELECT try_it($1)')});
sql(q{SELECT jobs.schedule('short', NULL, 'SELECT try_it($1)', history_retention => '1 day')});
sql(q{SELECT jobs.schedule('long', NULL, 'SELECT try_it($1)', history_retention => '10 years')});
sql(q{SELECT jobs.schedule('failures', NULL, 'SELECT try_it($1)', history_keep => 'failures')});
sql(q{SELECT jobs.schedule('last', NULL, 'SELECT try_it($1)', history_keep_last => 2)});
sql(q{INSERT INTO broken VALUES ('x')});
foreach my $n (0 .. 3)
{
    set_clock($node, '2030-02-0' . (1 + $n) . ' 00:00:00+00');
    sql(qq{SELECT jobs.enqueue(j, CASE WHEN $n % 2 = 1 THEN '{"job": "x"}' ELSE '{}' END::jsonb) FROM unnest('{all,short,long,failures,last}'::text[]) j});
    settle("day $n");
}
my $four = 'succeeded failed succeeded failed';
prune();
ok(poll_until($node, q{SELECT count(*) FROM jobs.run_log WHERE job IN ('short', 'last')}, '4'), 'history is pruned');
is(history('all'), $four, 'by default all of 30 days is kept');
is(history('long'), $four, 'and of ten years');
is(history('short'), 'succeeded failed', 'a day: what is not older');
is(history('last'), 'succeeded failed', 'the last two');
is(history('failures'), 'failed succeeded failed', 'failures, and the last success');
is(sql(q{SELECT consecutive_failures FROM jobs.status WHERE job = 'failures'}), '1', 'so failures in a row are counted right');
set_clock($node, '2031-02-01 00:00:00+00');
prune();
ok(poll_until($node, q{SELECT count(*) FROM jobs.run_log WHERE job = 'all'}, '0'), 'after the retention');
is(history('long'), $four, 'a job that keeps for longer keeps all');
is(history('short') . history('last') . history('failures'), '', 'the others nothing');

# what an open batch has yet to count stays
my $batch = sql(q{SELECT jobs.batch('last', ARRAY['{}', '{}', '{}', '{}', '{"job": "x"}']::jsonb[], NULL)});
sql(q{SELECT jobs.batch('last', ARRAY['{}', '{}']::jsonb[], NULL, run_at => '2031-02-02')});
ok(poll_until($node, "SELECT succeeded || ' ' || failed FROM jobs.batches WHERE batch_id = $batch AND ended_at IS NOT NULL", '4 1'), 'a batch has ended');
prune();
is(sql(q{SELECT jobs.clean('last')}), '0', 'clean() leaves what is to be counted');
is(sql(q{SELECT count(*) FROM jobs.run_log WHERE job = 'last'}), '5', 'while one of the job is open, all since then is kept');
set_clock($node, '2031-02-02 00:00:00+00');
ok(poll_until($node, q{SELECT count(*) FROM jobs.batches WHERE ended_at IS NULL}, '0'), 'both have ended');
prune();
ok(poll_until($node, q{SELECT count(*) FROM jobs.run_log WHERE job = 'last'}, '2'), 'then it goes');

like(error_of(qq{SELECT jobs.schedule('all', NULL, 'SELECT 1', $_)}), qr/22023/, "refused: $_")
  foreach q{history_keep => 'some'}, q{history_keep_last => -1}, q{history_retention => '-1 day'};

done_testing();
