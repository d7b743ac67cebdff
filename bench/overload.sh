# bench/overload.sh - a thousand jobs due in the same second.  Sourced by bench/run.
#
# Each is one INSERT; durable, with fsync, on both sides.  Ours has its default of
# 4 executors; pg_cron its default of 32 jobs at once.  Rates count from the due
# instant to the end of the last run.

due=1000

# A table that the jobs write their numbers to.
make_target() { "$1" -o /dev/null -c 'SET client_min_messages = warning' -c 'DROP TABLE IF EXISTS done' -c 'CREATE TABLE done (job int, at timestamptz DEFAULT clock_timestamp())'; }

# overload_ours: one round; sets rate, seconds, first, cpu, lost, unordered, and adds
# to the totals.  A run is out of order if it starts more than 20 ms after one that
# comes after it by priority: a claim reads the clock before it takes the run, and
# may be held up in between.
overload_ours()
{
    local at before
    make_target sql
    at=$(soon)
    sql -o /dev/null -c "
        SELECT count(jobs.schedule('overload ' || g, '$(at "$at")', 'INSERT INTO done (job) VALUES (' || g || ')', priority => g % 4))
        FROM generate_series(1, $due) AS g"
    before=$(cpu_live_us data motionify_jobs)
    until_sql 60 "SELECT count(*) >= $due FROM jobs.run_log WHERE due_at = '$at' AND job LIKE 'overload %' AND status = 'succeeded'" || :
    cpu=$(ms $((($(cpu_live_us data motionify_jobs) - before) / due)))
    read -r rate seconds first lost unordered < <(sql -F ' ' -c "
        WITH run AS (
            SELECT l.started_at, l.finished_at, j.priority FROM jobs.run_log l JOIN jobs.job j USING (job_id)
            WHERE l.due_at = '$at' AND l.job LIKE 'overload %' AND l.status = 'succeeded'),
        first AS (SELECT priority, min(started_at) AS at FROM run GROUP BY priority)
        SELECT round(count(*) / extract(epoch FROM max(finished_at) - '$at')),
               round(extract(epoch FROM max(finished_at) - '$at'), 3),
               round(extract(epoch FROM min(started_at) - '$at'), 4),
               (SELECT count(*) FROM generate_series(1, $due) g WHERE (SELECT count(*) FROM done WHERE job = g) <> 1),
               (SELECT count(*) FROM run JOIN first USING (priority)
                WHERE run.started_at > (SELECT min(f.at) FROM first f WHERE f.priority > run.priority) + interval '20 ms')
        FROM run")
    lost_total=$((lost_total + lost)) unordered_total=$((unordered_total + unordered))
    sql -o /dev/null -c "SELECT count(jobs.unschedule('overload ' || g)) FROM generate_series(1, $due) AS g"
}

# overload_cron SECONDS: the same for pg_cron, which is given so long.
overload_cron()
{
    local at before
    make_target cron
    at=$(next_minute)
    cron -o /dev/null -c 'TRUNCATE cron.job_run_details' -c "
        SELECT count(cron.schedule('overload ' || g, to_char('$at'::timestamptz AT TIME ZONE 'UTC', 'FMMI FMHH24 FMDD FMMM \"*\"'),
                                   'INSERT INTO done (job) VALUES (' || g || ')'))
        FROM generate_series(1, $due) AS g"
    until_sql 70 "SELECT clock_timestamp() >= '$at'::timestamptz - interval '1 s'"
    before=$(cpu_us cron pg_cron)
    until_sql "$1" "SELECT count(*) >= $due FROM cron.job_run_details WHERE end_time IS NOT NULL" cron || :
    cpu=$(ms $((($(cpu_us cron pg_cron) - before) / due)))
    read -r rate seconds first lost < <(cron -F ' ' -c "
        SELECT coalesce(round(count(*) / extract(epoch FROM max(end_time) - '$at')), 0),
               coalesce(round(extract(epoch FROM max(end_time) - '$at'), 3), 0),
               coalesce(round(extract(epoch FROM min(start_time) - '$at'), 4), 0),
               (SELECT count(*) FROM generate_series(1, $due) g WHERE (SELECT count(*) FROM done WHERE job = g) <> 1)
        FROM cron.job_run_details WHERE status = 'succeeded'")
    unordered=-
    cron -o /dev/null -c "SELECT count(cron.unschedule(jobid)) FROM cron.job"
}

# Plain INSERTs by four clients, each its own transaction: what the disk allows.
overload_limit()
{
    make_target sql
    echo 'INSERT INTO done (job) VALUES (1)' >"$MJ_WORK/insert.sql"
    mj_run pgbench -n -M prepared -c 4 -j 2 -T 5 -f "$MJ_WORK/insert.sql" -h "$MJ_WORK/s" -U postgres postgres 2>&1 |
        sed -n 's/^tps = \([0-9]*\).*/\1/p'
}

# print_round NAME: one line, and the rate into the file of that name.
print_round()
{
    printf '%-34s %7s runs/s %8s s, first start after %8s s, %5s ms of CPU a run, %s lost, %s out of order\n' \
        "$1" "$rate" "$seconds" "$first" "$cpu" "$lost" "$unordered"
    echo "$rate" >>"$MJ_WORK/rate.$1"
}

print_rates()
{
    local name
    mj_say "" "medians of $rounds rounds: runs/s, and how many times that ours is in the same round"
    for name in motionify_jobs 'pg_cron, libpq' 'pg_cron, workers' 'plain INSERTs, 4 clients'; do
        printf '%-34s %7s %8s\n' "$name" "$(median <"$MJ_WORK/rate.$name")" \
            "$(median_ratio "$MJ_WORK/rate.motionify_jobs" "$MJ_WORK/rate.$name")"
    done
    goal_least "$(median_ratio "$MJ_WORK/rate.motionify_jobs" "$MJ_WORK/rate.pg_cron, libpq")" 20 \
        "overload, times the rate of pg_cron as installed (libpq)"
    goal "$lost_total" 1 "overload, runs of ours lost or done twice"
    goal "$unordered_total" 1 "overload, runs of ours out of the order of priority"
}

bench_overload()
{
    local rate seconds first cpu lost unordered round limit lost_total=0 unordered_total=0
    rm -f "$MJ_WORK"/rate.*
    overload_ours
    print_round 'motionify_jobs, 5 min from start'
    wait_until_settled
    for round in $(seq 1 "$rounds"); do
        overload_ours
        print_round motionify_jobs
        limit=$(overload_limit)
        printf '%-34s %7s a second\n' 'plain INSERTs, 4 clients' "$limit"
        echo "$limit" >>"$MJ_WORK/rate.plain INSERTs, 4 clients"
        cron_new libpq 16
        overload_cron 50
        print_round 'pg_cron, libpq'
        cron_new workers 64
        overload_cron 50
        print_round 'pg_cron, workers'
        stop cron
    done
    print_rates
}
