# bench/mail.sh - mail, beside nodemailer, Postfix's smtp-source, and libcurl by itself.
# Sourced by bench/run, after queue.sh.
#
# All give the same text and HTML, 4 KB of multipart/alternative, to one recipient at one
# receiver, Postfix's smtp-sink, which announces PIPELINING and counts what it takes. It
# is not what holds them up: it takes 25,000 mails a second from smtp-source, for 40
# microseconds of its time each. They do so in two settings: on loopback, and behind
# peers/delay_line.c, a proxy that lets everything arrive 10 ms later each way, without a
# limit on bandwidth. Nobody encrypts or logs in.
#
#   nodemailer                  one connection (a pool of one), each mail is awaited
#   nodemailer-pool-10, -16     pool: true, so many maxConnections, maxMessages Infinity;
#                               twice as many mails are in its hands at a time
#   smtp-source                 -d -s 16: 16 connections, which are kept; it waits for each
#                               reply, and sends a message that was made before
#   libcurl                     peers/curl_mail.c: 16 easy handles in a multi handle, a mail
#                               each at a time; the connections are kept; the same message
#   motionify_jobs              from the table to the table: the mails are committed at
#                               once, and an executor takes them; the clock runs from before
#                               that commit until the queue is empty, then all are 'sent'
#                               in jobs.outbox and in jobs.history. It renders each mail
#   motionify_jobs-deliver_mail the same by CALL jobs.deliver_mail() in a session, while
#                               there are no executors; from before the call to its end
#
# Ours have 16 connections, if this build has smtp_max_connections. How many mails each
# sends is found out first, so that it takes about MAIL_SECONDS (10) in each round; each
# round measures all, one after the other. The peers' programs are new ones in each round
# (nodemailer's have sent some before), our executor is one that has sent before.

mail_peers=(nodemailer nodemailer-pool-10 nodemailer-pool-16 smtp-source libcurl)
mail_ours=(motionify_jobs motionify_jobs-deliver_mail)
mail_most=40000    # mails of ours in a round; queueing them takes time too
mail_wrong=0       # mails that the receiver lost, or got twice

# --- the receiver, and the way to it ------------------------------------------------------

mail_open()
{
    local dir=$MJ_WORK/peers line='The quick brown fox jumps over the lazy dog, and then once more.'
    mj_unpack_postfix || mj_die "the benchmark of mail needs Postfix's programs"
    install_peers nodemailer
    mj_step "Compiling" cc -O2 -o "$dir/delay_line" "$dir/delay_line.c"
    mj_step "Compiling" cc -O2 -o "$dir/curl_mail" "$dir/curl_mail.c" -lcurl
    for _ in {1..20}; do echo "$line"; done >"$dir/body.txt"
    { echo '<html><body>'; for _ in {1..30}; do echo "<p>$line</p>"; done; echo '</body></html>'; } >"$dir/body.html"
    mj_run "$queue_node" "$dir/nodemailer.js" message "$dir" >"$dir/message.eml"
    mj_own "$dir"
    mail_direct=$(mj_free_port)
    start_sink "$mail_direct" sink -c
    mail_delayed=$(mj_free_port)
    mj_run "$dir/delay_line" "$mail_delayed" "$mail_direct" 10 &
    wait_for_port "$mail_delayed"
    mj_say "a message of $(wc -c <"$dir/message.eml") bytes; Postfix $(dpkg-deb -f "$MJ_POSTFIX"/deb/postfix_*.deb Version)" \
        "round trip to the receiver: $(mail_rtt "$mail_direct"); behind the delay line: $(mail_rtt "$mail_delayed")"
}

# start_sink PORT NAME OPTION...: what it prints goes to a file of that name.
start_sink()
{
    local port=$1 name=$2
    shift 2
    mj_postfix smtp-sink "$@" "127.0.0.1:$port" 1000 >"$MJ_WORK/$name.out" 2>"$MJ_WORK/$name.log" &
    wait_for_port "$port"
}

wait_for_port()
{
    local deadline=$((SECONDS + 20))
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || mj_die "nobody listens on port $1"
        sleep 0.05
    done
}

# How many mails the receiver has taken since it was started.
mail_received() { { tail -c 100 "$MJ_WORK/sink.out" | tr '\r' '\n' | sed -n 's/.*mesg=//p' | tail -n 1; } | grep . || echo 0; }

mail_port() { if [ "$1" = direct ]; then echo "$mail_direct"; else echo "$mail_delayed"; fi; }

# mail_rtt PORT: the median, and the longest, of 50 round trips of NOOP; as text.
mail_rtt()
{
    local before after
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    read -r <&3
    for _ in {1..50}; do
        before=$EPOCHREALTIME
        printf 'NOOP\r\n' >&3
        read -r <&3
        after=$EPOCHREALTIME
        echo $((${after/./} - ${before/./}))
    done >"$MJ_WORK/rtt"
    printf 'QUIT\r\n' >&3
    exec 3>&-
    printf '%s ms, at most %s ms' "$(ms "$(median <"$MJ_WORK/rtt")")" "$(ms "$(sort -n "$MJ_WORK/rtt" | tail -n 1)")"
}

# --- the peers -----------------------------------------------------------------------------
# Each prints mails a second, and how many it sent.

by_nodemailer() { mj_run "$queue_node" "$MJ_WORK/peers/nodemailer.js" "$1" "$MJ_WORK/peers" "${@:2}"; }

by_smtp_source()
{
    local port=$1 count=$2 before=$EPOCHREALTIME after
    mj_postfix smtp-source -d -s 16 -m "$count" -F "$MJ_WORK/peers/message.eml" \
        -f a@example.com -t b@example.com "127.0.0.1:$port"
    after=$EPOCHREALTIME
    awk -v us=$((${after/./} - ${before/./})) -v count="$count" 'BEGIN { printf "%.1f %d\n", count * 1e6 / us, count }'
}

# --- ours ------------------------------------------------------------------------------------

mail_settings()
{
    setting motionify_jobs.smtp_tls off
    setting motionify_jobs.mail_from "Motionify Portal <hello@example.com>"
    set_linger 10min
    if [ "$(sql -c "SELECT count(*) FROM pg_settings WHERE name = 'motionify_jobs.smtp_max_connections'")" = 1 ]; then
        setting motionify_jobs.smtp_max_connections 16
    else
        mj_say "(this build has one connection only)"
    fi
}

# Queues so many.
mail_queue()
{
    echo "SELECT count(jobs.send_mail('b@example.com', 'Your project has news', t, h)) AS queued
        FROM pg_read_file('$MJ_WORK/peers/body.txt') AS t, pg_read_file('$MJ_WORK/peers/body.html') AS h, generate_series(1, $1) \\gset"
}

# Waits until the queue is empty, two minutes at most. It does not look often, for there
# are many dead rows to look at; so up to 20 ms are counted too much.
mail_wait='DO $$ BEGIN FOR i IN 1 .. 6000 LOOP EXIT WHEN NOT EXISTS (SELECT FROM jobs.queue WHERE lane = 0); COMMIT; PERFORM pg_sleep(0.02); END LOOP; END $$;'

# What ours print, if each mail was sent and is in history.
mail_rate()
{
    echo "SELECT round((count(*) / :seconds)::numeric, 1), count(*) FROM jobs.outbox
        WHERE status = 'sent' HAVING count(*) = $1 AND (SELECT count(*) FROM jobs.history WHERE job = 'mail' AND status = 'succeeded') = $1;
        SELECT status, count(*), min(smtp_reply) FROM jobs.outbox WHERE status <> 'sent' GROUP BY 1;
        DO \$\$ BEGIN LOOP BEGIN TRUNCATE jobs.queue, jobs.mail, jobs.mail_attachment, jobs.run_log; EXIT;
            EXCEPTION WHEN deadlock_detected THEN NULL; END; END LOOP; END \$\$;" # an executor may look just then
}

by_executor()
{
    printf '%s\n' "BEGIN;" "$(mail_queue "$1")" "SELECT clock_timestamp() AS begun \\gset" "COMMIT;" "$mail_wait" \
        "SELECT extract(epoch FROM clock_timestamp() - :'begun'::timestamptz) AS seconds \\gset" "$(mail_rate "$1")" >"$MJ_WORK/mail.sql"
    sql -F ' ' -f "$MJ_WORK/mail.sql"
}

by_deliver_mail()
{
    local calls=$((($1 + 9999) / 10000))
    printf '%s\n' "$(mail_queue "$1")" "SELECT clock_timestamp() AS begun \\gset" '\o /dev/null' \
        "$(for _ in $(seq 1 $calls); do echo "CALL jobs.deliver_mail(10000);"; done)" '\o' \
        "SELECT extract(epoch FROM clock_timestamp() - :'begun'::timestamptz) AS seconds \\gset" "$(mail_rate "$1")" >"$MJ_WORK/mail.sql"
    sql -F ' ' -f "$MJ_WORK/mail.sql"
}

# executors on|off: with or without them in our database; on: there is one, at work before.
executors()
{
    local gone="SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'motionify_jobs%'"
    if [ "$1" = off ]; then
        setting motionify_jobs.databases template1
        setting motionify_jobs.enabled off # or they would linger
        until_sql 60 "$gone" || mj_die "the executors did not leave"
        setting motionify_jobs.enabled on
    else
        setting motionify_jobs.databases ''
        by_executor 20 >/dev/null
    fi
}

# --- a contestant ------------------------------------------------------------------------------

# mail_by NAME PORT MAILS
mail_by()
{
    case "$1" in
        nodemailer) by_nodemailer sequential "$2" "$3" ;;
        nodemailer-pool-*) by_nodemailer pool "$2" "$3" "${1##*-}" ;;
        smtp-source) by_smtp_source "$2" "$3" ;;
        libcurl) mj_run "$MJ_WORK/peers/curl_mail" "$2" 16 "$3" "$MJ_WORK/peers/message.eml" ;;
        motionify_jobs) by_executor "$3" ;;
        motionify_jobs-deliver_mail) by_deliver_mail "$3" ;;
    esac 2>"$MJ_WORK/mail.err"
}

# mail_rate_of NAME SETTING MAILS: sets rate, empty for a failure; compares what was sent
# with what was received.
mail_rate_of()
{
    local name=$1 before sent='' got deadline
    rate=
    [ "$name" != motionify_jobs-deliver_mail ] || executors off
    before=$(mail_received)
    # not from a process substitution: the next would begin before this one's last statement
    read -r rate sent <<<"$(mail_by "$name" "$(mail_port "$2")" "$3" || :)" || :
    case "$sent" in
        '' | *[!0-9]*) printf '%s failed: %s %s\n' "$name" "$rate" "$sent" >&2
            tail -n 5 "$MJ_WORK/mail.err" >&2
            rate= sent= ;;
    esac
    deadline=$((SECONDS + 3))
    until got=$(($(mail_received) - before)); [ "$got" = "${sent:-$got}" ] || [ $SECONDS -ge $deadline ]; do sleep 0.05; done
    if [ "$got" != "${sent:-$got}" ]; then
        printf '%s: sent %d mails, received %d\n' "$name" "$sent" "$got" >&2
        mail_wrong=$((mail_wrong + (sent > got ? sent - got : got - sent)))
    fi
    [ "$name" != motionify_jobs-deliver_mail ] || executors on
}

# How many mails of each in each setting take so long: more and more, until that takes a
# second.
mail_counts()
{
    local setting=$1 name rate n
    mj_say "how many mails take ${MAIL_SECONDS:-10} s, $setting"
    for name in "${mail_peers[@]}" "${mail_ours[@]}"; do
        n=10
        while :; do
            mail_rate_of "$name" "$setting" "$n"
            [ -n "$rate" ] && awk -v n="$n" -v rate="$rate" 'BEGIN { exit n / rate >= 1 }' && [ "$n" -lt $mail_most ] || break
            n=$((n * 5 < mail_most ? n * 5 : mail_most))
        done
        n=$(awk -v rate="${rate:-10}" -v most=$mail_most -v s="${MAIL_SECONDS:-10}" 'BEGIN { n = int(rate * s); if (n > most) n = most; print n }')
        mail_count[$setting-$name]=$n
        printf '    %-28s %9s\n' "$name" "$n"
    done
}

# receiver_cpu_us: the CPU time that the receiver has used, in microseconds.
receiver_cpu_us() { awk '{ print int($1 / 1000) }' "/proc/$(pgrep -f "smtp-sink -c 127.0.0.1:$mail_direct ")/schedstat"; }

# mail_round SETTING: all of them.
mail_round()
{
    local setting=$1 name rate cpu sink n=
    setting motionify_jobs.smtp_url "smtp://127.0.0.1:$(mail_port "$setting")"
    executors on
    for name in "${mail_peers[@]}" "${mail_ours[@]}"; do
        n=${mail_count[$setting-$name]}
        cpu=$(cpu_live_us data 'motionify_jobs executor') sink=$(receiver_cpu_us)
        mail_rate_of "$name" "$setting" "$n"
        note "mail-$setting" "$name" "$rate"
        keep "mail-sink-$setting" "$name" $((($(receiver_cpu_us) - sink) / n))
        [ "$name" != motionify_jobs ] ||
            keep "mail-cpu-$setting" executor $((($(cpu_live_us data 'motionify_jobs executor') - cpu) / n))
    done
}

# --- the part -----------------------------------------------------------------------------------

# Mails of ours, to a receiver that keeps them: each must be there once.
mail_once()
{
    local port mails="$MJ_WORK/tmp/mails" arrived different
    rm -f "$mails"
    port=$(mj_free_port)
    start_sink "$port" keeper -D "$mails"
    setting motionify_jobs.smtp_url "smtp://127.0.0.1:$port"
    executors on
    by_executor 2000 >/dev/null
    executors off
    by_deliver_mail 2000 >/dev/null
    arrived=$(grep -ac '^Message-ID: ' "$mails" || :)
    different=$(grep -a '^Message-ID: ' "$mails" | sort -u | wc -l)
    mj_say "4020 mails of ours, kept by the receiver: $arrived have arrived, of $different Message-IDs"
    mail_wrong=$((mail_wrong + 4020 - different + arrived - different))
    rm -f "$mails"
}

bench_mail()
{
    local round setting queue_rounds=$rounds queue_ours=("${mail_ours[@]}")
    local -A mail_count
    rm -f "$MJ_WORK"/queue.mail-*
    mail_open
    mail_settings
    mail_once
    for setting in direct delayed; do
        setting motionify_jobs.smtp_url "smtp://127.0.0.1:$(mail_port $setting)"
        executors on
        mail_counts $setting
    done
    for round in $(seq 1 "$rounds"); do
        for setting in direct delayed; do
            mj_say "round $round, mails/s, $setting"
            mail_round $setting
        done
    done
    mail_line_under_load
    mail_summary
}

# What the delay line adds while it is at work.
mail_line_under_load()
{
    local rtt
    mail_by motionify_jobs "$mail_delayed" "${mail_count[delayed-motionify_jobs]}" >/dev/null &
    rtt=$(sleep 0.5; mail_rtt "$mail_delayed")
    wait $!
    mj_say "round trip behind the delay line while ours send: $rtt"
}

mail_summary()
{
    local setting pool
    for setting in direct delayed; do
        mj_say "" "mail, $setting"
        medians "mail-$setting" mails/s "${mail_peers[@]}" "${mail_ours[@]}"
        mj_say "CPU time of our executor: $(figure_of "mail-cpu-$setting" executor) microseconds a mail; of the receiver," \
            "with mail of ours: $(figure_of "mail-sink-$setting" motionify_jobs), of smtp-source: $(figure_of "mail-sink-$setting" smtp-source)"
    done
    pool=$(best mail-delayed most nodemailer-pool-10 nodemailer-pool-16)
    goal_ratio 3 mail-delayed motionify_jobs mail-delayed smtp-source "mail, 20 ms away, times"
    goal_ratio 2 mail-delayed motionify_jobs mail-delayed "$pool" "mail, 20 ms away, times"
    pool=$(best mail-direct most nodemailer-pool-10 nodemailer-pool-16)
    goal_ratio 8 mail-direct motionify_jobs mail-direct "$pool" "mail, loopback, times"
    goal "$mail_wrong" 1 "mail, lost or received twice"
}
