# Outside workers: claim, heartbeat, complete, fail, release; leases that run out;
# gates, chains, cancelling, draining; rights; being woken by LISTEN.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use Test::More;

my $node = new_node('main');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error_of
{
    my ($sql) = @_;
    my $err = '';
    $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$err);
    return $err;
}

# An external job that lets runs overlap, unless the options say otherwise.
sub job
{
    my ($name, %options) = @_;
    %options = (overlap => "'allow'", %options);
    sql("SELECT jobs.schedule('$name', NULL, handler => 'external'"
          . join('', map { ", $_ => $options{$_}" } sort keys %options) . ')');
    return;
}

# Queues a run; its id.
sub run
{
    my ($name, $args) = @_;
    return sql("SELECT run_id FROM jobs.run_now('$name', " . (defined $args ? "'$args'" : 'NULL') . ', wait => false)');
}

sub is_in_state
{
    my ($run, $state) = @_;
    return poll_until($node, "SELECT state FROM jobs.queue WHERE run_id = $run", $state);
}

# Claims one run of a job as soon as there is one: run id and token.
sub claim
{
    my ($name, $more) = @_;
    my $row;
    wait_for(sub { $row = sql("SELECT run_id, token FROM jobs.claim('$name'" . ($more || '') . ')') }, "a run of $name");
    return split /\|/, $row;
}

sub new_run { my ($name) = @_; my $run = run($name); my ($claimed, $token) = claim(@_); is($claimed, $run, "$name is claimed"); return ($run, $token); }
sub ends_as { my ($run, $expected, $what) = @_; return is(run_state($node, $run), $expected, $what); }
sub settled { poll_until($node, 'SELECT count(*) FROM jobs.queue', '0'); return; }

# --- a run of its own kind ---------------------------------------------------------

job('resize', max_attempts => 3, backoff_base => "'0'");
is(sql(q{SELECT handler || ',' || coalesce(why_not, 'runs') FROM jobs.status WHERE job = 'resize'}), 'external,runs', 'the status says who does it');
is(sql(q{SELECT count(*) FROM jobs.claim('resize')}), '0', 'nothing to claim is no row');

my $run = run('resize', '{"id": 7}');
is_in_state($run, 'ready');
is(sql("SELECT waits_for FROM jobs.queued WHERE run_id = $run"), 'a worker', 'it waits for a worker');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs%executor%'}), '0', 'no executor is started for it');
my ($claimed, $token) = split /\|/, sql(q{SELECT run_id, token FROM jobs.claim('resize', worker => 'anna')});
is($claimed, $run, 'it is claimed');
is(sql(q{SELECT job || ',' || attempt || ',' || worker || ',' || (lease_until - started_at) FROM jobs.active}), 'resize,1,anna,00:01:00', 'and shown with its worker');
is(sql(q{SELECT count(*) FROM jobs.claim('resize')}), '0', 'nobody else has it');
is(sql(qq{SELECT jobs.heartbeat('$token', '2 minutes', 1, 4, 'first') > now() + interval '119 s'}), 't', 'a heartbeat moves the end');
is(sql(q{SELECT percent || note FROM jobs.active}), '25.0first', 'and says how far it is');
is(sql(qq{SELECT jobs.heartbeat('$token') > now() + interval '119 s'}), 't', 'the next one keeps the length');
sql(qq{SELECT jobs.complete('$token', '{"size": 3}')});
is(sql(q{SELECT status || result || worker || (run_log.args IS NULL) FROM jobs.history JOIN jobs.run_log USING (run_id, attempt, status, result, worker)}),
    'succeeded{"size": 3}annatrue', 'its result is in the history');
like(error_of("SELECT jobs.complete('$token')"), qr/55000: the lease of run $run of job "resize" has ended\n.*ended as succeeded.*\nHINT:  Nothing is left to do/, 'a second word is refused');
like(error_of("SELECT jobs.$_"), qr/55000: lease .* does not exist/, "$_ of nothing is refused")
  foreach map { "$_(gen_random_uuid()" . ($_ eq 'fail' ? ", 'x')" : ')') } qw(heartbeat complete fail release);

# results as the views show them
foreach my $case ([ q{'"text"'}, 'text' ], [ q{'42'}, '42' ], [ q{'null'}, 'NULL' ], [ 'NULL', 'NULL' ], [ q{'[1, 2]'}, '[1, 2]' ])
{
    (my $id, $token) = new_run('resize');
    sql("SELECT jobs.complete('$token', $case->[0])");
    is(sql("SELECT coalesce(result, 'NULL') FROM jobs.history WHERE run_id = $id"), $case->[1], "the result $case->[0]");
}

# the caller's transaction decides
($run, $token) = new_run('resize');
sql("BEGIN; SELECT jobs.complete('$token'); ROLLBACK");
sql("CREATE TABLE done (id bigint); BEGIN; INSERT INTO done VALUES ($run); SELECT jobs.complete('$token'); COMMIT");
ends_as($run, 'succeeded', 'what is completed is so at commit');
run('resize') foreach 1 .. 3;
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready'}, '3');
sql(q{BEGIN; SELECT jobs.claim('resize', 10); ROLLBACK});
is(sql(q{SELECT string_agg(run_id::text, ',') = (SELECT string_agg(run_id::text, ',' ORDER BY run_id) FROM jobs.queue) FROM jobs.claim('resize', 10)}),
    't', 'a claim that is rolled back is none; several come in order');
sql(q{SELECT jobs.complete(token) FROM jobs.queue});
settled();

# a caller can wait for a run that a worker does
my $session = new_session($node);
$session->send(q{SELECT status, result FROM jobs.run_now('resize')});
($run, $token) = claim('resize');
sql(qq{SELECT jobs.complete('$token', '1')});
is($session->result, 'succeeded|1', 'run_now waits for a worker');

# --- failures ----------------------------------------------------------------------------

($run, $token) = new_run('resize');
is(sql("SELECT jobs.fail('$token', 'no such file') <= clock_timestamp()"), 't', 'a failure is tried again by the options of the job');
(undef, $token) = claim('resize');
is(sql("SELECT jobs.fail('$token', 'busy', retry_in => '1 h', detail => 'why', sqlstate => '55P03') > now() + interval '59 minutes'"), 't', 'or when the worker says');
is(sql("SELECT jobs.retry($run)"), 't', 'it can be tried now');
(undef, $token) = claim('resize');
is(sql("SELECT jobs.fail('$token', 'again') IS NULL"), 't', 'and it ends with its last attempt');
ends_as($run, 'failed,failed,failed', 'as failed');
is(sql("SELECT string_agg(concat_ws('/', error, error_detail, sqlstate), ' ' ORDER BY attempt) FROM jobs.history WHERE run_id = $run"),
    'no such file/38000 busy/why/55P03 again/38000', 'history has the errors');
sql("SELECT jobs.retry($run)");
(undef, $token) = claim('resize');
sql("SELECT jobs.complete('$token')");
ends_as($run, 'failed,failed,failed,succeeded', 'jobs.retry() has it done again');

($run, $token) = new_run('resize');
is(sql("SELECT jobs.fail('$token', 'never', retry => false) IS NULL"), 't', 'what is hopeless ends at once');
job('picky', max_attempts => 2, retry_on => "'{40}'");
($run, $token) = new_run('picky');
is(sql("SELECT jobs.fail('$token', 'x') IS NULL"), 't', 'retry_on counts');
($run, $token) = new_run('picky');
is(sql("SELECT jobs.fail('$token', 'x', sqlstate => '40001') IS NOT NULL"), 't', 'by the error that the worker names');
sql("SELECT jobs.cancel($run)");

# --- released ---------------------------------------------------------------------------------

($run, $token) = new_run('resize');
sql("SELECT jobs.release('$token')");
like(error_of("SELECT jobs.complete('$token')"), qr/55000: lease .* does not exist\n.*was released/, 'a released lease is gone');
(undef, $token) = claim('resize');
is(sql('SELECT attempt || failures::text || crashes FROM jobs.queue'), '100', 'releasing counts as nothing');
sql("SELECT jobs.complete('$token')");
ends_as($run, 'succeeded', 'and leaves no trace');

# --- leases that run out --------------------------------------------------------------------------

job('slow');
($run, $token) = new_run('slow', ", lease => '50 ms'");
is_in_state($run, 'ready');
like(error_of("SELECT jobs.$_"), qr/55000: the lease of run $run of job "slow" has ended\n.*crashed.*its lease ran out.*\nHINT:  Stop/, 'who lost it is told')
  foreach "heartbeat('$token')", "complete('$token')", "fail('$token', 'x')", "release('$token')";
my $second;
(undef, $second) = claim('slow');
isnt($second, $token, 'the next attempt has another token');
like(error_of("SELECT jobs.complete('$token')"), qr/55000/, 'the old one does not end it');
is(sql("SELECT jobs.heartbeat('$second', '50 ms') IS NOT NULL"), 't', 'a heartbeat may also shorten a lease');
is_in_state($run, 'ready');
claim('slow', ", lease => '50 ms'");
settled();
ends_as($run, 'crashed,crashed,crashed', 'the third time it is given up');
is(sql(q{SELECT paused FROM jobs.status WHERE job = 'slow'}), 'f', 'its job is not paused');
is(sql("SELECT error || error_detail FROM jobs.history WHERE run_id = $run AND attempt = 3"), 'its lease ran outCrash 3 of this run; at 3 it is given up.', 'history says why');

# many at once, and one that is kept
run('slow') foreach 1 .. 20;
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready'}, '20');
(undef, $token) = claim('slow');
sql(q{SELECT jobs.claim('slow', 100, '100 ms')});
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready' AND crashes = 1}, '19');
is(sql("SELECT jobs.heartbeat('$token') IS NOT NULL"), 't', 'what is kept stays');
sql("SELECT jobs.complete('$token')");
sql('SELECT jobs.complete(token) FROM jobs.claim(\'slow\', 100)');
settled();

# more than one tick takes, of a job whose timeout is not the reason
job('long', timeout => "'1 day'");
sql(q{SELECT count(*) FROM jobs.enqueue_many('long', array_fill('{}'::jsonb, ARRAY[1001]))});
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready'}, '1001');
sql(q{BEGIN; SELECT jobs.claim('long', 1000, '50 ms'); SELECT jobs.claim('long', 1, '50 ms'); COMMIT});
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready' AND crashes = 1}, '1001');
is(sql(q{SELECT DISTINCT status FROM jobs.history WHERE job = 'long'}), 'crashed', 'many leases that lapse at once all go back');
sql(q{SELECT jobs.unschedule('long')});
settled();

# a lease that has run out counts while the scheduler has not taken it back
($run, $token) = new_run('slow');
sql("BEGIN; UPDATE jobs.queue SET lease_until = now() - interval '1 s'; SELECT jobs.complete('$token'); COMMIT");
ends_as($run, 'succeeded', 'who is late but first still ends his run');

# the job's timeout
job('hurried', timeout => "'200 ms'", max_attempts => 1);
$run = run('hurried');
is_in_state($run, 'ready');
is(sql(q{SELECT lease_until < now() + interval '1 s' FROM jobs.claim('hurried')}), 't', 'a lease ends with the time of the job');
settled();
ends_as($run, 'timed_out', 'which is a timeout');

# --- cancel, unschedule, pause, drain -----------------------------------------------------------------

($run, $token) = new_run('resize');
is(sql("SELECT jobs.cancel($run)"), 't', 'what a worker has can be cancelled');
ends_as($run, 'cancelled', 'at once');
like(error_of("SELECT jobs.heartbeat('$token')"), qr/55000: .*\nDETAIL:  .*cancelled by role/, 'and the worker is told why');

job('short lived');
($run, $token) = new_run('short lived');
sql(q{SELECT jobs.unschedule('short lived')});
ends_as($run, 'cancelled', 'unscheduling ends what workers have');
like(error_of("SELECT jobs.complete('$token')"), qr/55000: .*unscheduled/s, 'who are told');

# what is enqueued while its job goes
foreach my $overlap ('allow', 'queue')
{
    job('going', overlap => "'$overlap'");
    $session->query('BEGIN');
    $run = $session->query(q{SELECT jobs.enqueue('going')});
    sql(q{SELECT jobs.unschedule('going')});
    $session->query('COMMIT');
    settled();
    ends_as($run, 'cancelled', "a run that comes after its job has gone, overlap $overlap");
}

sql(q{SELECT jobs.pause('resize')});
($run, $token) = new_run('resize');
sql("SELECT jobs.complete('$token')");
ends_as($run, 'succeeded', 'a pause keeps the schedule from making runs, not workers from doing them');
sql(q{SELECT jobs.resume('resize')});

($run, $token) = new_run('resize');
is(sql(q{SELECT jobs.drain('0')}), 'f', 'a drain sees what workers have');
my $late = run('resize');
is_in_state($late, 'ready');
is(sql(q{SELECT count(*) FROM jobs.claim('resize')}), '0', 'nothing is claimed then');
$session->send('SELECT jobs.drain()');
poll_until($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT jobs.drain()%' AND state = 'active'}, '1');
sql("SELECT jobs.complete('$token')");
is($session->result, 't', 'it waits for them');
sql('SELECT jobs.undrain()');
(undef, $token) = claim('resize');
sql("SELECT jobs.complete('$token')");
settled();

# --- runs that wait for others ---------------------------------------------------------------------------

job('single', overlap => "'queue'");
my ($first, $first_token) = new_run('single');
my $next = run('single');
is_in_state($next, 'held');
sql("SELECT jobs.complete('$first_token')");
(undef, $token) = claim('single');
sql("SELECT jobs.complete('$token')");
ends_as($next, 'succeeded', 'a run waits for the end of another that a worker has');

job('newest', overlap => "'replace'");
($first, $first_token) = new_run('newest');
($next, $token) = new_run('newest');
ends_as($first, 'cancelled', 'a run replaces one that a worker has');
like(error_of("SELECT jobs.heartbeat('$first_token')"), qr/replaced by a later run/, 'who is told');
sql("SELECT jobs.complete('$token')");

job('skipping', overlap => "'skip'");
($first, $first_token) = new_run('skipping');
is(sql(q{SELECT status FROM jobs.run_now('skipping')}), 'skipped', 'overlap skip sees what a worker has');
sql("SELECT jobs.complete('$first_token')");

sql(q{SELECT jobs.schedule('after it', NULL, 'SELECT 1', run_after => '{single}')});
($run, $token) = new_run('single');
sql("SELECT jobs.complete('$token')");
poll_until($node, q{SELECT string_agg(trigger || status, ',') FROM jobs.history WHERE job = 'after it'}, 'chainsucceeded');
sql(q{SELECT jobs.schedule('ahead', NULL, 'SELECT 1')});
job('follows', run_after => q{'{ahead}'});
is(run_and_wait($node, 'ahead')->{status}, 'succeeded', 'a chain from the server');
(undef, $token) = claim('follows');
ok(sql("SELECT jobs.heartbeat('$token') IS NOT NULL"), 'leads outside');
sql("SELECT jobs.complete('$token')");
settled();

# by schedule
sql(q{SELECT jobs.schedule('each second', '* * * * * *', handler => 'external', overlap => 'skip')});
(undef, $token) = claim('each second');
is(sql(q{SELECT trigger FROM jobs.active}), 'schedule', 'a schedule makes runs for workers');
sql(q{SELECT jobs.unschedule('each second')});

# --- the handler changes ------------------------------------------------------------------------------------

job('moves', max_attempts => 2, backoff_base => "'0'");
$run = run('moves');
is_in_state($run, 'ready');
sql(q{SELECT jobs.schedule('moves', NULL, 'SELECT 1', handler => 'sql')});
poll_until($node, "SELECT string_agg(status, ',') FROM jobs.history WHERE run_id = $run", 'succeeded');
job('moves');
($run, $token) = new_run('moves');
sql(q{SELECT jobs.schedule('moves', NULL, 'SELECT 1', handler => 'sql')});
sql("SELECT jobs.fail('$token', 'let the server do it')");
poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $run", 'failed,succeeded');
job('moves');
($run, $token) = new_run('moves', ", lease => '500 ms'");
sql(q{SELECT jobs.schedule('moves', NULL, 'SELECT 1', handler => 'sql')});
poll_until($node, "SELECT string_agg(status, ',' ORDER BY attempt) FROM jobs.history WHERE run_id = $run", 'crashed,succeeded');
$run = run('moves');
sql(q{SELECT jobs.schedule('moves', NULL, 'SELECT pg_sleep(3600)', handler => 'sql')});
poll_until($node, "SELECT count(*) FROM jobs.history WHERE job = 'moves' AND run_id = $run", '1');
$run = run('moves');
is_in_state($run, 'running');
job('moves');
kill_worker($node, 'executor', 'TERM');
($claimed, $token) = claim('moves');
is($claimed, $run, 'what was interrupted in the server is claimed, once it is external');
sql("SELECT jobs.complete('$token')");

# --- rights ---------------------------------------------------------------------------------------------------

sql(q{CREATE ROLE app; CREATE ROLE anna LOGIN IN ROLE app; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN; CREATE ROLE op LOGIN;
    SELECT jobs.grant_usage('anna', 'user'), jobs.grant_usage('bob', 'user'), jobs.grant_usage('op', 'operator')});
job('of app', role => "'app'");
is(sql(q{SELECT why_not IS NULL FROM jobs.status WHERE job = 'of app'}), 't', 'its role need not log in');
is(sql(q{SELECT count(*) FROM jobs.doctor() WHERE NOT ok AND check_name = 'roles'}), '0', 'nor does the doctor want it');
run('of app');
sub as { my ($role, $sql) = @_; return "SET ROLE $role; $sql"; }
wait_for(sub { ($run, $token) = split /\|/, sql(as('anna', q{SELECT run_id, token FROM jobs.claim('of app')})); $token }, 'a member claims');
ok($token, 'a member of the role claims its runs');
foreach my $call ("heartbeat('$token')", "complete('$token')", "fail('$token', 'x')", "release('$token')")
{
    my $err = error_of(as('bob', "SELECT jobs.$call"));
    like($err, qr/42501: permission denied for this lease/, "who is no member has no right to $call");
    unlike($err, qr/of app|anna/, 'and learns nothing');
    like(error_of(as('op', "SELECT jobs.$call")), qr/42501/, 'nor has an operator');
    like(error_of(as('eve', "SELECT jobs.$call")), qr/42501: permission denied for schema jobs/, 'nor has who has no level');
}
like(error_of(as('bob', "SELECT jobs.$_('of app')")), qr/42501/, "nor to $_") foreach qw(claim channel);
is(sql(as('bob', 'SELECT count(*) FROM jobs.active')), '0', 'who is no member sees nothing');
is(sql(as('anna', 'SELECT jobs.heartbeat(\'' . $token . '\', note => \'secret\') IS NOT NULL')), 't', 'a member keeps its run');
is(sql(as('op', 'SELECT job || coalesce(note, \' without note\') FROM jobs.active')), 'of app without note', 'the note is for members');
sql(as('anna', "SELECT jobs.complete('$token')"));
like(error_of(as('bob', "SELECT jobs.complete('$token')")), qr/42501: permission denied for this lease/, 'afterwards neither');
is(sql(as('anna', q{SELECT worker FROM jobs.history WHERE job = 'of app'})), '050_external.pl', 'the worker is called as its session');

# --- being woken ---------------------------------------------------------------------------------------------------

# Notifications that a session has got since it was last asked.
sub heard { my ($listener) = @_; return $listener->query('SELECT 1') =~ /Asynchronous notification "(\w+)"/g; }

job('heard');
my $channel = sql(q{SELECT jobs.channel('heard')});
my $listener = new_session($node);
$listener->query("LISTEN $channel");
run('heard');
my @heard;
wait_for(sub { push @heard, heard($listener); @heard }, 'a worker is woken');
is("@heard", $channel, 'once, when a run is ready');
(undef, $token) = claim('heard');
sql(q{SELECT count(jobs.run_now('heard', wait => false)) FROM generate_series(1, 50)});
@heard = ();
wait_for(sub { push @heard, heard($listener); @heard }, 'a worker is woken');
poll_until($node, q{SELECT count(*) FROM jobs.queue WHERE state = 'ready'}, '50');
push @heard, heard($listener);
is("@heard", $channel, 'runs of one commit are one message');

# other ticks say nothing of what was said
run_and_wait($node, 'after it') foreach 1 .. 3;
is(join(' ', heard($listener)), '', 'what was said is not said again');

# what comes back is said
sql("SELECT jobs.release('$token')");
@heard = ();
wait_for(sub { push @heard, heard($listener); @heard }, 'a release is heard');
is("@heard", $channel, 'what is released is said');
sql(q{SELECT jobs.complete(token) FROM jobs.claim('heard', 1000)});
settled();
heard($listener);
($run, $token) = new_run('heard', ", lease => '100 ms'");
heard($listener);
is_in_state($run, 'ready');
@heard = ();
wait_for(sub { push @heard, heard($listener); @heard }, 'a lapse is heard');
(undef, $token) = claim('heard');
sql("SELECT jobs.complete('$token')");

# a new scheduler says once more what is ready
run('heard');
@heard = ();
wait_for(sub { push @heard, heard($listener); @heard }, 'a worker is woken');
kill_worker($node, 'scheduler', 'TERM');
@heard = ();
wait_for(sub { push @heard, heard($listener); @heard }, 'the next scheduler says it again');
is("@heard", $channel, 'once');

# --- over a restart ------------------------------------------------------------------------------------------------------

($run, $token) = claim('heard');
$node->stop('immediate');
$node->start;
is(sql("SELECT jobs.heartbeat('$token') IS NOT NULL"), 't', 'a lease outlives a crash of the server');
sql("SELECT jobs.complete('$token')");
ends_as($run, 'succeeded', 'and its run is ended as if nothing had been');

# --- refusals ------------------------------------------------------------------------------------------------------------------

foreach my $case (
    [ q{jobs.claim('ahead')},                            qr/55000: job "ahead" is not external/ ],
    [ q{jobs.claim('ahaed')},                            qr/42704: job "ahaed" does not exist\nHINT:  Perhaps you meant "ahead"/ ],
    [ q{jobs.claim(NULL)},                               qr/22004/ ],
    [ q{jobs.claim('heard', 0)},                         qr/22023: max_runs/ ],
    [ q{jobs.claim('heard', 1001)},                      qr/22023: max_runs/ ],
    [ q{jobs.claim('heard', lease => '0')},              qr/22023: lease/ ],
    [ q{jobs.claim('heard', lease => '25 days')},        qr/22023: lease/ ],
    [ q{jobs.channel('ahead')},                          qr/55000/ ],
    [ q{jobs.heartbeat(NULL)},                           qr/22004/ ],
    [ q{jobs.heartbeat(gen_random_uuid(), done => -1)},  qr/22023: done/ ],
    [ q{jobs.fail(gen_random_uuid(), NULL)},             qr/22004: error/ ],
    [ q{jobs.fail(gen_random_uuid(), 'x', sqlstate => '40')}, qr/22023: invalid SQLSTATE/ ],
    [ q{jobs.fail(gen_random_uuid(), 'x', retry_in => '-1 s')}, qr/55000|22023/ ],
    [ q{jobs.schedule('x', NULL, 'SELECT 1', handler => 'external')}, qr/22023: external job "x" cannot have a command/ ],
    [ q{jobs.schedule('heard', NULL, 'SELECT 1')},       qr/22023: external job "heard" cannot have a command/ ],
    [ q{jobs.schedule('heard', NULL, handler => 'sql')}, qr/22004: command/ ],
    [ q{jobs.schedule('x', NULL, NULL)},                 qr/22004: command/ ],
    [ q{jobs.schedule('x', NULL, handler => 'outside')}, qr/22023: invalid value for option "handler".*\nHINT:  Available values: sql, external/ ])
{
    like(error_of("SELECT $case->[0]"), $case->[1], "$case->[0] is refused");
}
like(error_of(q{SET default_transaction_read_only = on; SELECT jobs.claim('heard')}), qr/25006/, 'nothing is claimed read-only');
sql('CREATE DATABASE copy TEMPLATE postgres');
my $err = '';
$node->psql('copy', q{SELECT jobs.claim('heard')}, stderr => \$err);
like($err, qr/was defined in another database/, 'a copy claims nothing');

done_testing();
