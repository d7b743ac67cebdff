# bench/http.sh - HTTP runs, against a server that takes 20 ms for each.
# Sourced by bench/run.
#
# HTTP_CALLS (10000) runs of an http job are committed at once, and an executor, which has
# called before, makes them, 50 at a time. The server, peers/http_sink.c, answers each
# request 20 ms after it has come, and counts them: so 2,500 a second is what nobody could
# exceed. The clock runs from before the commit until the queue is empty; then each run must
# be in jobs.history, once, as succeeded, and the server must have answered as many.

http_delay_ms=20
http_connections=50

# Waits until no call is left, two minutes at most; up to 50 ms are counted too much.
http_wait='DO $$ BEGIN FOR i IN 1 .. 2400 LOOP EXIT WHEN NOT EXISTS (SELECT FROM jobs.queue WHERE lane = 1); COMMIT; PERFORM pg_sleep(0.05); END LOOP; END $$;'

http_open()
{
    mkdir -p "$MJ_WORK/peers"
    mj_own "$MJ_WORK/peers"
    mj_step "Compiling" cc -O2 -o "$MJ_WORK/peers/http_sink" "$MJ_WORK/src/bench/peers/http_sink.c"
    http_port=$(mj_free_port)
    mj_run "$MJ_WORK/peers/http_sink" "$http_port" $http_delay_ms &
    wait_for_port "$http_port"
    setting motionify_jobs.http_allowed_hosts "127.0.0.1:$http_port"
    setting motionify_jobs.http_max_connections $http_connections
    set_linger 10min
    until_sql 20 "SELECT setting = '127.0.0.1:$http_port' FROM pg_settings WHERE name = 'motionify_jobs.http_allowed_hosts'"
    sql -o /dev/null -c "SELECT jobs.schedule('calls', NULL, handler => 'http', url => 'http://127.0.0.1:$http_port/')"
}

# What the server has answered so far, and how many were under way at once.
http_count()
{
    exec 3<>"/dev/tcp/127.0.0.1/$http_port"
    printf 'GET /count HTTP/1.1\r\nHost: x\r\n\r\n' >&3
    sed -n '/^\r$/{n;p;q}' <&3
    exec 3>&-
}

# http_calls N: prints calls a second, if each was made and is in the history.
http_calls()
{
    printf '%s\n' "BEGIN;" \
        "SELECT count(*) AS queued FROM jobs.enqueue_many('calls', (SELECT array_agg(jsonb_build_object('i', i)) FROM generate_series(1, $1) i)) \\gset" \
        "SELECT clock_timestamp() AS begun \\gset" "COMMIT;" "$http_wait" \
        "SELECT extract(epoch FROM clock_timestamp() - :'begun'::timestamptz) AS seconds \\gset" \
        "SELECT round((count(*) / :seconds)::numeric, 1) FROM jobs.history WHERE job = 'calls' AND status = 'succeeded' HAVING count(*) = $1 AND count(DISTINCT run_id) = $1;" \
        "SELECT status, error, count(*) FROM jobs.history WHERE status <> 'succeeded' GROUP BY 1, 2;" \
        "TRUNCATE jobs.queue, jobs.run_log;" >"$MJ_WORK/http.sql"
    sql -F ' ' -f "$MJ_WORK/http.sql"
}

bench_http()
{
    local round rate before after most calls=${HTTP_CALLS:-10000} ideal=$((http_connections * 1000 / http_delay_ms)) cpu
    http_open
    http_calls 500 >/dev/null
    mj_say "$calls calls, $http_connections at once, $http_delay_ms ms each: at most $ideal calls/s; load average $(cut -d ' ' -f 1-3 /proc/loadavg)"
    rm -f "$MJ_WORK/http.rates"
    for round in $(seq 1 "$rounds"); do
        read -r before most < <(http_count)
        cpu=$(cpu_live_us data 'motionify_jobs executor')
        rate=$(http_calls "$calls")
        cpu=$(($(cpu_live_us data 'motionify_jobs executor') - cpu))
        read -r after most < <(http_count)
        most=${most%$'\r'}
        [ $((after - before)) = "$calls" ] || mj_die "the server has answered $((after - before)) of $calls calls"
        printf '    round %d: %s calls/s, at most %s under way, %d microseconds of our executor'"'"'s CPU time each\n' \
            "$round" "$rate" "$most" $((cpu / calls))
        echo "$rate" >>"$MJ_WORK/http.rates"
    done
    mj_say "load average $(cut -d ' ' -f 1-3 /proc/loadavg)"
    goal_least "$(median <"$MJ_WORK/http.rates")" $((ideal * 8 / 10)) "HTTP runs, calls/s of $ideal"
}
