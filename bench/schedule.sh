# bench/schedule.sh - what the timetable costs.  Sourced by bench/run.

jobs=${JOBS:-1000000}

# What a next instant costs: in C (nanoseconds), and from SQL (microseconds).
bench_next()
{
    local line schedule call each most
    mj_run make -s -C "$MJ_WORK/src" PG_CONFIG="$MJ_BIN/pg_config" bench-cron
    printf '\nfrom SQL, microseconds, median:  a call of next_runs, one more instant of it\n'
    sql -F '|' -f "$MJ_WORK/src/bench/schedule.sql" >"$MJ_WORK/next"
    while IFS='|' read -r schedule call each most; do
        printf '%-40s %8s %8s\n' "$schedule" "$call" "${each:--}"
        [ -z "$each" ] || goal "$each" "$most" "$schedule, microseconds an instant"
    done <"$MJ_WORK/next"
}

# Defining 10,000 jobs in one statement; the best of five.
bench_define()
{
    local best=999999 ms round
    for round in 1 2 3 4 5; do
        ms=$(sql -c '\timing on' -c "SELECT count(jobs.schedule('bench ' || g, '*/5 * * * *', 'SELECT 1')) FROM generate_series(1, 10000) AS g" |
            sed -n 's/^Time: \([0-9]*\).*/\1/p')
        sql -o /dev/null -c "SELECT count(jobs.unschedule('bench ' || g)) FROM generate_series(1, 10000) AS g" -c 'VACUUM jobs.job, jobs.job_state'
        if [ "$ms" -lt "$best" ]; then best=$ms; fi
    done
    printf '\n10,000 jobs in one statement: %s ms (goal 500)\n' "$best"
    goal "$best" 500 "defining 10,000 jobs, ms"
}

# fill COUNT: so many jobs that are due over a year from tomorrow on.
fill()
{
    sql -c "
        INSERT INTO jobs.job (job_id, name, schedule, command, role, origin, created_at, updated_at)
        SELECT 10000000 + g, 'generated ' || g, '0 4 * * *', 'SELECT 1', 'postgres', instance_id, jobs.clock(), jobs.clock()
        FROM jobs.instance, generate_series(1, $1) AS g" -c "
        INSERT INTO jobs.job_state (job_id, next_run_at, role_oid)
        SELECT 10000000 + g, jobs.clock() + interval '1 day' + g * (interval '365 days' / $1), 'postgres'::regrole
        FROM generate_series(1, $1) AS g" -c 'VACUUM ANALYZE jobs.job' -c 'VACUUM ANALYZE jobs.job_state' -c CHECKPOINT
}

# The time that the scheduler has been on a CPU, in microseconds, once it sleeps.
scheduler_us()
{
    local pid=$1 last=-1 now
    now=$(awk '{ print int($1 / 1000) }' "/proc/$pid/schedstat")
    while [ "$now" != "$last" ]; do
        sleep 0.03
        last=$now
        now=$(awk '{ print int($1 / 1000) }' "/proc/$pid/schedstat")
    done
    echo "$now"
}

# tick COUNT DUE: the median of what one tick costs the scheduler, with COUNT jobs
# of which DUE are due.  A commit wakes it.
tick()
{
    local count=$1 due=$2 pid before after round
    pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'motionify_jobs scheduler'")
    for round in $(seq 1 15); do
        before=$(scheduler_us "$pid")
        sql -o /dev/null -c "
            BEGIN;
            UPDATE jobs.job_state SET next_run_at = jobs.clock() - interval '1 s'
            WHERE job_id = ANY (ARRAY(SELECT 10000001 + (random() * ($count - 1))::int FROM generate_series(1, $due)));
            SELECT jobs.schedule('wake', NULL, 'SELECT ' || $round);
            COMMIT"
        until [ "$(sql -c 'SELECT count(*) FROM jobs.queue')" = 0 ] &&
            [ "$(sql -c 'SELECT count(*) FROM jobs.job_state WHERE next_run_at < jobs.clock()')" = 0 ]; do :; done
        after=$(scheduler_us "$pid")
        echo $((after - before))
    done | sort -n | sed -n 8p
}

# A scheduler that has made its plans with the jobs that there are.
restart_scheduler()
{
    sql -o /dev/null -c "SELECT jobs.run_now('wake')" -c "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'motionify_jobs scheduler'" \
        -c "SELECT jobs.run_now('wake')"
}

# What a tick costs with a thousand jobs, and with many.

bench_ticks()
{
    local due few many
    set_linger 1h
    fill 1000
    restart_scheduler
    for due in 0 1 100; do tick 1000 "$due"; done >"$MJ_WORK/few"
    sql -o /dev/null -c 'TRUNCATE jobs.job, jobs.job_state' -c "SELECT jobs.schedule('wake', NULL, 'SELECT 1')"
    fill "$jobs"
    restart_scheduler
    for due in 0 1 100; do tick "$jobs" "$due"; done >"$MJ_WORK/many"
    printf '\none tick, microseconds of CPU, median:  1000 jobs, %s jobs\n' "$jobs"
    paste -d ' ' <(printf '%s\n' 0 1 100) "$MJ_WORK/few" "$MJ_WORK/many" >"$MJ_WORK/ticks"
    while read -r due few many; do
        awk -v due="$due" -v few="$few" -v many="$many" \
            'BEGIN { printf "%4d due %8d %8d   ratio %.2f (goal 2)\n", due, few, many, many / few }'
        goal "$many" $((few * 2)) "a tick of $jobs jobs, $due due, microseconds"
    done <"$MJ_WORK/ticks"
}

bench_schedule()
{
    bench_next
    bench_define
    sql -o /dev/null -c "SELECT jobs.schedule('wake', NULL, 'SELECT 1')"
    bench_ticks
}
