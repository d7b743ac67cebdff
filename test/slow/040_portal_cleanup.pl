# A million expired sessions are cleaned while clients insert and read: what
# these wait for, how far it is seen to be, and what is left of the table.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MjTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $expired = $ENV{MJ_SESSIONS} || 1_000_000;
my $live = $expired / 5;
my $node = new_node('cleanup', conf => "shared_buffers = 256MB\nmax_wal_size = 4GB\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<SQL);
CREATE TABLE sessions (id text PRIMARY KEY, user_id bigint NOT NULL, data jsonb NOT NULL DEFAULT '{}', expires_at timestamptz NOT NULL);
INSERT INTO sessions SELECT md5(n::text), n, jsonb_build_object('agent', repeat('x', 100)),
	CASE WHEN n % 6 > 0 THEN now() - n * interval '1 second' ELSE now() + interval '1 day' END
FROM generate_series(1, $expired + $live) n;
VACUUM ANALYZE sessions;
CHECKPOINT;
SELECT FROM jobs.install_portal();
SQL
my $planted = sql('SELECT count(*) FROM sessions WHERE expires_at < now()');
my $size = sql("SELECT pg_relation_size('sessions')");

# What the clients do: a session is made, another one read, and one is used.
my $dir = PostgreSQL::Test::Utils::tempdir();
PostgreSQL::Test::Utils::append_to_file("$dir/client.sql", <<SQL);
\\set n random(1, $expired)
INSERT INTO sessions VALUES (gen_random_uuid()::text, :n, '{}', now() + interval '1 day');
SELECT data FROM sessions WHERE id = md5(:n::text);
UPDATE sessions SET expires_at = now() + interval '1 day' WHERE id = md5(((:n / 6) * 6)::text);
SQL

# Transactions of two clients, 100 a second for so many seconds: [end, latency in ms].
sub measure
{
    my ($name, $seconds) = @_;
    my $log = '';
    IPC::Run::run([ 'pgbench', '-n', '-f', "$dir/client.sql", '-c', 2, '-T', $seconds, '-R', 100, '-l', '--log-prefix', "$dir/$name", '-d', $node->connstr('postgres') ],
        '>&', \$log) or die $log;
    return map { my @row = split; [ $row[4] + $row[5] / 1e6, $row[2] / 1000 ] } map { split /\n/, PostgreSQL::Test::Utils::slurp_file($_) } glob("$dir/$name.*");
}

sub p { my ($part, @sorted) = @_; return $sorted[ int($part * $#sorted) ]; }

sub told
{
    my ($when, @transactions) = @_;
    my @sorted = sort { $a <=> $b } map { $_->[1] } @transactions;
    diag(sprintf('%s: %d transactions, median %.2f ms, p99 %.2f ms, longest %.1f ms', $when, scalar @sorted, p(0.5, @sorted), p(0.99, @sorted), $sorted[-1]));
    return p(0.99, @sorted);
}

measure('warm', 3);
my $idle = told('idle', measure('idle', 15));

my $run_id = sql("SELECT run_id FROM jobs.run_now('cleanup_expired_sessions', wait => false)");
my $seen = new_session($node);
ok(wait_for(sub { $seen->query("SELECT percent BETWEEN 1 AND 99 FROM jobs.active WHERE job = 'cleanup_expired_sessions'") eq 't' }, 'progress is seen'), 'how far it is is seen');
my @busy = measure('busy', 15);
ok(poll_until($node, "SELECT status FROM jobs.history WHERE run_id = $run_id AND status <> 'running'", 'succeeded'), 'it is done');
my ($result, $from, $to) = split /\|/, sql("SELECT result, extract(epoch FROM started_at), extract(epoch FROM finished_at) FROM jobs.history WHERE run_id = $run_id");
my $busy = told('while it is cleaned', grep { $_->[0] > $from && $_->[0] < $to } @busy);
diag(sprintf('%d sessions deleted in %.1f s', $result, $to - $from));
is($result, $planted, 'the result is the total');
is(sql('SELECT count(*) FROM sessions WHERE expires_at < now()'), '0', 'none is left');
cmp_ok($busy, '<', 3 * $idle, "the clients' p99 stays within 3 times of idle");

# its space is used again
cmp_ok(sql("SELECT pg_relation_size('sessions')"), '<', 1.02 * $size, 'the table has not grown');
sql('VACUUM sessions');
sql("INSERT INTO sessions SELECT md5('again' || n), n, jsonb_build_object('agent', repeat('x', 100)), now() + interval '1 day' FROM generate_series(1, $expired * 9 / 10) n");
cmp_ok(sql("SELECT pg_relation_size('sessions')"), '<', 1.02 * $size, 'nor after as many again');
$seen->quit;
$node->stop;
done_testing();
