# bench/lag.sh - how late scheduled runs start.  Sourced by bench/run.

starts=${STARTS:-30}

# lag NAME SCHEDULE GOAL-MS: waits for the starts, and says how late they were.
# The first one is not counted: it finds what the CREATE EXTENSION left.
lag()
{
    local name=$1 schedule=$2 goal=$3 figures
    sql -o /dev/null -c "SELECT jobs.schedule('$name', '$schedule', 'SELECT 1')"
    until [ "$(sql -c "SELECT count(*) > $starts FROM jobs.history WHERE job = '$name' AND status = 'succeeded'")" = t ]; do
        sleep 5
    done
    sql -o /dev/null -c "SELECT jobs.unschedule('$name')"
    figures=$(sql -F ' ' -c "
        SELECT count(*), count(DISTINCT pid), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
               round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 2), round(max(ms)::numeric, 2)
        FROM (SELECT extract(epoch FROM lag) * 1000 AS ms, pid FROM jobs.history
              WHERE job = '$name' AND trigger = 'schedule' AND status = 'succeeded'
              ORDER BY due_at OFFSET 1) h")
    read -r count pids median p95 max <<<"$figures"
    printf '%-18s %3d starts in %d processes: median %s ms (goal %s), 95 %% %s ms, latest %s ms\n' \
        "$name" "$count" "$pids" "$median" "$goal" "$p95" "$max"
    goal "$median" "$goal" "$name, median ms"
}

bench_lag()
{
    set_linger 2min
    lag lag_warm '* * * * * *' 10
    # everybody leaves after each run: the launcher has to start them again
    set_linger 1s
    lag lag_after_linger '*/6 * * * * *' 50
}
