# bench/dispatch.sh - how late 20 jobs start that are due at the same instant.
# Sourced by bench/run.
#
# The machine is idle but for them.  Ours: from due_at to started_at.  pg_cron:
# from the minute to start_time.

together=20

# print_lags NAME: adds the lags that it reads, in ms, to a file of that name, and
# says what they were.
print_lags()
{
    local name=$1
    tee -a "$MJ_WORK/lag.$name" >"$MJ_WORK/lags"
    printf '%-34s %4d starts: ' "$name" "$(wc -l <"$MJ_WORK/lags")"
    summary <"$MJ_WORK/lags"
}

# Median, 95 % and maximum of the numbers given.
summary()
{
    sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "median %.2f ms, 95 %% %.2f ms, latest %.2f ms\n",
        v[int((NR + 1) / 2)], v[int(NR * 0.95 + 0.5)], v[NR] }'
}

# dispatch_ours SCHEDULE INSTANTS: lags of 20 jobs at that many instants.  The first
# two are left out: they start the processes, and read the catalogs.
dispatch_ours()
{
    local schedule=$1 instants=$2
    sql -o /dev/null -c "DELETE FROM jobs.run_log" -c "
        SELECT count(jobs.schedule('dispatch ' || g, '$schedule', 'SELECT 1')) FROM generate_series(1, $together) AS g"
    until_sql 600 "SELECT count(*) >= ($instants + 2) * $together FROM jobs.run_log WHERE trigger = 'schedule'" || :
    sql -o /dev/null -c "SELECT count(jobs.unschedule('dispatch ' || g)) FROM generate_series(1, $together) AS g"
    sql -c "
        SELECT extract(epoch FROM started_at - due_at) * 1000 FROM jobs.run_log
        WHERE trigger = 'schedule' AND due_at >= (SELECT DISTINCT due_at FROM jobs.run_log WHERE trigger = 'schedule' ORDER BY 1 OFFSET 2 LIMIT 1)"
}

# The lags of pg_cron's runs at the next minute.
dispatch_cron()
{
    local at
    at=$(next_minute)
    cron -o /dev/null -c 'TRUNCATE cron.job_run_details' -c "
        SELECT count(cron.schedule('dispatch ' || g, '* * * * *', 'SELECT 1')) FROM generate_series(1, $together) AS g"
    until_sql 75 "SELECT clock_timestamp() >= '$at'"
    until_sql 30 "SELECT count(*) >= $together FROM cron.job_run_details WHERE end_time >= '$at'" cron || :
    cron -c "SELECT extract(epoch FROM start_time - '$at') * 1000 FROM cron.job_run_details WHERE start_time >= '$at'"
    cron -o /dev/null -c "SELECT count(cron.unschedule(jobid)) FROM cron.job"
}

# What this machine adds by itself: see cold.c.
print_cold()
{
    cc -O1 -o "$MJ_WORK/cold" "$MJ_SRC/bench/cold.c" &&
        printf '%-34s %s(ordinary, huge) microseconds for each 4 kB page that it touches first\n' 'a process that was idle for 2 s' "$("$MJ_WORK/cold")"
}

bench_dispatch()
{
    local round name
    rm -f "$MJ_WORK"/lag.*
    print_cold
    dispatch_ours '*/3 * * * * *' 10 | print_lags 'ours, 5 min from start'
    wait_until_settled
    for round in $(seq 1 "$rounds"); do
        dispatch_ours '*/3 * * * * *' 10 | print_lags 'ours, executors kept'
        cron_new libpq 16
        dispatch_cron | print_lags 'pg_cron, libpq'
        cron_new workers 64
        dispatch_cron | print_lags 'pg_cron, workers'
        stop cron
    done
    dispatch_ours '* * * * *' 2 | print_lags 'ours, each minute'
    mj_say "" "all rounds"
    for name in 'ours, 5 min from start' 'ours, executors kept' 'ours, each minute' 'pg_cron, libpq' 'pg_cron, workers'; do
        printf '%-34s %4d starts: ' "$name" "$(wc -l <"$MJ_WORK/lag.$name")"
        summary <"$MJ_WORK/lag.$name"
    done
    for name in 'ours, executors kept' 'ours, each minute'; do
        goal "$(median <"$MJ_WORK/lag.$name" | awk '{ printf "%.2f", $1 }')" 3 "dispatch, $name, median ms"
        goal "$(sort -n "$MJ_WORK/lag.$name" | awk 'END { printf "%.2f", $1 }')" 25 "dispatch, $name, latest ms"
    done
}
