# bench/memory.sh - what the processes hold over many runs.  Sourced by bench/run.
#
# Anonymous memory (RssAnon), which is what a leak adds to; pages of shared buffers
# that a process has touched are not counted.  An executor is replaced after 10,000
# runs, so each is looked at after its first 1,000 and its last 1,000 or so; the
# launcher and the scheduler after the first 10,000 runs and after the last.

memory_runs=${RUNS:-100000}
memory_batch=1000

rss_kb() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status"; }

# memory_look RUNS: a line "kind pid runs kB" for each process.
memory_look()
{
    local postmaster kind pid
    postmaster=$(head -n 1 "$MJ_WORK/data/postmaster.pid")
    for kind in launcher scheduler executor; do
        for pid in $(pgrep -P "$postmaster" -f "motionify_jobs $kind"); do
            echo "$kind $pid $1 $(rss_kb "$pid" || :)"
        done
    done
}

# Runs that many, and waits for them.
memory_run()
{
    sql -o /dev/null -c "SELECT count(jobs.run_now('memory', wait => false)) FROM generate_series(1, $1)"
    until_sql 120 "SELECT NOT EXISTS (SELECT FROM jobs.queue)"
}

# Growth of each process from its first look to its last.  A process is first looked
# at after a batch, so what its caches take is in; those of the launcher and the
# scheduler count from 10,000 runs on.
memory_growth()
{
    awk '$4 != "" && ($1 == "executor" || $3 >= 10000) {
            id = $1 " " $2
            if (!(id in first)) { first[id] = $4; from[id] = $3; order[++n] = id }
            last[id] = $4; to[id] = $3 }
        END { for (i = 1; i <= n; i++) { id = order[i]
            if (to[id] > from[id]) print id, from[id], first[id], to[id], last[id] } }' "$MJ_WORK/memory"
}

bench_memory()
{
    local done=0 kind pid from first to last most=0 level=
    set_linger 1h
    setting motionify_jobs.max_workers 1
    setting motionify_jobs.log_runs failures
    sql -o /dev/null -c "CREATE TABLE done (job int)" -c "SELECT jobs.schedule('memory', NULL, 'INSERT INTO done VALUES (1)', overlap => 'allow')"
    : >"$MJ_WORK/memory"
    while [ $done -lt "$memory_runs" ]; do
        memory_run $memory_batch
        done=$((done + memory_batch))
        memory_look $done >>"$MJ_WORK/memory"
    done
    memory_growth >"$MJ_WORK/growth"
    while read -r kind pid from first to last; do
        printf '%-10s %7d: %6d kB after %6d runs, %6d kB after %6d, growth %5d kB\n' "$kind" "$pid" "$first" "$from" "$last" "$to" $((last - first))
        if [ $((last - first)) -gt $most ]; then most=$((last - first)); fi
    done <"$MJ_WORK/growth"
    sql -c "SELECT count(*) || ' runs succeeded, in ' || count(DISTINCT pid) || ' executors' FROM jobs.run_log WHERE status = 'succeeded'"
    goal "$most" 1024 "memory, kB that any process grew by"
}
