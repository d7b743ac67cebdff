# bench/idle.sh - the CPU time of doing nothing.  Sourced by bench/run.
#
# A hundred thousand jobs, none due for a day.  Counted over a minute, in which
# nobody connects: the time of the processes of each extension that are there, and
# of those that the server has started and reaped meanwhile.  Autovacuum is off, so
# that there are no others.

idle_jobs=100000

# idle_minute DATA PATTERN: the time that a minute takes, in ms.
idle_minute()
{
    local before after
    sleep 2 # who has connected before is reaped by then
    before=$(cpu_us "$1" "$2")
    sleep 60
    after=$(cpu_us "$1" "$2")
    ms $((after - before))
}

# Until our scheduler and executors have left.
wait_until_alone() { until_sql 300 "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'motionify_jobs %' AND backend_type NOT LIKE '%launcher'"; }

bench_idle()
{
    local round ours theirs
    set_linger 5s
    setting autovacuum off
    fill "$idle_jobs"
    sql -o /dev/null -c "SELECT jobs.schedule('wake', NULL, 'SELECT 1')" -c "SELECT jobs.run_now('wake')"
    cron_new libpq 16
    cron -o /dev/null -c "ALTER SYSTEM SET autovacuum = off" -c "SELECT pg_reload_conf()" -c "
        INSERT INTO cron.job (schedule, command, nodeport) SELECT '0 4 1 1 *', 'SELECT 1', 5432 FROM generate_series(1, $idle_jobs - 1)" -c "
        SELECT cron.schedule('last', '0 4 1 1 *', 'SELECT 1')" -c CHECKPOINT
    wait_until_alone
    rm -f "$MJ_WORK"/idle.*
    for round in $(seq 1 "$rounds"); do
        ours=$(idle_minute data motionify_jobs)
        theirs=$(idle_minute cron pg_cron)
        printf 'a minute with %s jobs: ours %8s ms, pg_cron %8s ms\n' "$idle_jobs" "$ours" "$theirs"
        echo "$ours" >>"$MJ_WORK/idle.ours"
        echo "$theirs" >>"$MJ_WORK/idle.cron"
    done
    stop cron
    ours=$(median <"$MJ_WORK/idle.ours") theirs=$(median <"$MJ_WORK/idle.cron")
    printf 'medians:                      ours %8s ms, pg_cron %8s ms\n' "$ours" "$theirs"
    goal "$ours" 10 "idle, ms of CPU a minute"
}
