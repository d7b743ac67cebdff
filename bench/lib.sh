# bench/lib.sh - what the benchmarks share.  To be sourced after test/lib.sh.

rounds=${ROUNDS:-3}
goals=() # a line for each goal: whether it was met

# --- servers ---------------------------------------------------------------------

# Builds, and makes the directories; nothing runs yet.
bench_open()
{
    mj_pick_major
    mj_need procps "postgresql-$MJ_PG_MAJOR-cron"
    mj_open bench
    mj_copy "$MJ_WORK/src"
    mj_tree "$MJ_WORK/pg"
    MJ_BIN=$(mj_bin "$MJ_WORK/pg")
    add_pg_cron "$MJ_WORK/pg/usr"
    mj_build "$MJ_WORK/src" "$MJ_WORK/pg"
    reserve_huge_pages
}

# Huge pages for the shared memory of two servers, which PostgreSQL takes where the
# system has them (huge_pages = try), given back at the end.  On a virtual machine
# they take much of the noise away, on both sides: see cold.c.
reserve_huge_pages()
{
    local file=/proc/sys/vm/nr_hugepages
    huge_pages=$(cat $file)
    if [ -w $file ] && [ "$huge_pages" -lt 200 ]; then
        trap 'echo $huge_pages >/proc/sys/vm/nr_hugepages; mj_close' EXIT
        echo 200 >$file
    fi
    mj_say "huge pages reserved by the system: $(cat $file), of $(sed -n 's/^Hugepagesize: *//p' /proc/meminfo)"
}

# The tree may be older than the package.
add_pg_cron()
{
    ln -sf "/usr/lib/postgresql/$MJ_PG_MAJOR/lib/pg_cron.so" "$1/lib/postgresql/$MJ_PG_MAJOR/lib/"
    ln -sf "/usr/share/postgresql/$MJ_PG_MAJOR/extension/"pg_cron* "$1/share/postgresql/$MJ_PG_MAJOR/extension/"
}

# A new server with our extension.
bench_new()
{
    stop data
    stop cron
    rm -rf "$MJ_WORK/data"
    mj_start "$MJ_WORK/data" "$MJ_WORK/s"
    sql -o /dev/null -c "CREATE EXTENSION motionify_jobs"
}

# stop NAME: ends a server, whatever it does.
stop() { [ ! -e "$MJ_WORK/$1/postmaster.pid" ] || mj_step "Stopping a server" pg_ctl -D "$MJ_WORK/$1" -m immediate -w stop; }

# cron_new MODE WORKERS: a new server with pg_cron, in its mode libpq (one
# connection a run, as installed) or workers (background workers), and that many
# worker processes.
cron_new()
{
    local mode=$1 workers=$2 switch=off
    [ "$mode" = libpq ] || switch=on
    stop cron
    rm -rf "$MJ_WORK/cron"
    mj_step "initdb" initdb -D "$MJ_WORK/cron" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8
    sed -n '/^listen_addresses = /,$p' "$MJ_WORK/data/postgresql.conf" >>"$MJ_WORK/cron/postgresql.conf"
    {
        echo "unix_socket_directories = '$MJ_WORK/c'"
        echo "shared_preload_libraries = 'pg_cron'"
        echo "max_worker_processes = $workers"
        echo "cron.host = '$MJ_WORK/c'"
        echo "cron.use_background_workers = $switch"
    } >>"$MJ_WORK/cron/postgresql.conf"
    mj_start "$MJ_WORK/cron" "$MJ_WORK/c"
    cron -o /dev/null -c "CREATE EXTENSION pg_cron"
}

sql() { mj_run psql -XqAt -v ON_ERROR_STOP=1 -h "$MJ_WORK/s" -U postgres -d postgres "$@"; }
cron() { mj_run psql -XqAt -v ON_ERROR_STOP=1 -h "$MJ_WORK/c" -U postgres -d postgres "$@"; }

# setting NAME VALUE: of our server.
setting() { sql -o /dev/null -c "ALTER SYSTEM SET $1 = '$2'" -c "SELECT pg_reload_conf()"; }
set_linger() { setting motionify_jobs.linger "$1"; }

# In the first five minutes after a start, ticks and claims are flushed to disk.
# A server in normal life is past them.  SETTLE=no measures at once, which is to our
# disadvantage.
wait_until_settled() { [ "${SETTLE:-yes}" = no ] || until_sql 400 "SELECT clock_timestamp() > pg_postmaster_start_time() + interval '305 s'"; }

# until_sql SECONDS QUERY [COMMAND]: waits until a query says true, so long at
# most; false if it never did.
until_sql()
{
    local deadline=$((SECONDS + $1)) query=$2 command=${3:-sql}
    until [ "$($command -c "$query")" = t ]; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.5
    done
}

# The start of the next minute that is at least 8 s away, as SQL reads it.
next_minute() { sql -c "SELECT date_trunc('minute', clock_timestamp() + interval '8 s') + interval '1 minute'"; }

# An instant a few seconds ahead, on the second; as a schedule and as SQL reads it.
soon() { sql -c "SELECT date_trunc('second', clock_timestamp()) + interval '6 s'"; }
at() { sql -c "SELECT to_char('$1'::timestamptz AT TIME ZONE 'UTC', '\"@at \"YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"; }

# --- figures -----------------------------------------------------------------------

# cpu_us DATA PATTERN: the CPU time, in microseconds, of those processes of a server
# that there are of a name, and (in steps of 10 ms) of all that it has reaped.
cpu_us()
{
    local postmaster reaped
    postmaster=$(head -n 1 "$MJ_WORK/$1/postmaster.pid")
    reaped=$(awk '{ print ($16 + $17) * 10000 }' "/proc/$postmaster/stat")
    echo $((reaped + $(cpu_live_us "$@")))
}

# cpu_live_us DATA PATTERN: the same without what was reaped.
cpu_live_us()
{
    local pid us=0
    for pid in $(pgrep -P "$(head -n 1 "$MJ_WORK/$1/postmaster.pid")" -f "$2"); do
        us=$((us + $(awk '{ print int($1 / 1000) }' "/proc/$pid/schedstat" 2>/dev/null || echo 0)))
    done
    echo "$us"
}

# Microseconds as milliseconds.
ms() { awk -v us="$1" 'BEGIN { printf "%.2f\n", us / 1000 }'; }

# The median of the numbers given, one a line.
median()
{
    sort -n | awk '{ v[NR] = $1 }
        END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# The median of the ratios of two files, line by line: of rounds that were measured
# one after the other.
median_ratio() { paste "$1" "$2" | awk -F '\t' '$2 { print $1 / $2 }' | median | awk '{ printf "%.1f\n", $1 }'; }

# goal FIGURE MOST WHAT, goal_least FIGURE LEAST WHAT: notes whether it was met.
goal() { note_goal "$3" "$1" "below $2" "$(awk -v figure="$1" -v most="$2" 'BEGIN { print (figure != "" && figure + 0 < most + 0) }')"; }
goal_least() { note_goal "$3" "$1" "at least $2" "$(awk -v figure="$1" -v least="$2" 'BEGIN { print (figure != "" && figure + 0 >= least + 0) }')"; }

note_goal()
{
    local what=$1 figure=$2 wanted=$3 met=$4
    if [ "$met" = 1 ]; then
        goals+=("met     $what: $figure, $wanted")
    else
        goals+=("MISSED  $what: $figure, not $wanted")
        printf '    missed its goal, %s\n' "$wanted"
    fi
}

# Says which goals were met.
bench_end()
{
    mj_say "" "== goals" "${goals[@]}"
    case "${goals[*]}" in *MISSED*) mj_die "a goal was missed" ;; esac
}
