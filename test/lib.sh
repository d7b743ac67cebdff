# test/lib.sh - what test/run, test/demo, test/dev and the benchmarks share.
# To be sourced by bash.
#
# Everything happens in one scratch directory, $MJ_WORK: a copy of the sources,
# a private copy of the PostgreSQL installation, data directories, sockets.
# Servers run there as an unprivileged user.  Nothing outside of it is written,
# except by apt-get.

set -euo pipefail

MJ_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

mj_say() { printf '%s\n' "$@"; }
mj_die() { printf '\n%s\n' "$@" >&2; exit 1; }

# --- packages ----------------------------------------------------------------

# The server version to build for: $MJ_PG_MAJOR, else the newest one whose
# server and headers are installed, else the distribution's own.
MJ_PG_GIVEN=${MJ_PG_MAJOR:-}
mj_pick_major()
{
    local dir
    MJ_PG_MAJOR=$MJ_PG_GIVEN
    [ -z "$MJ_PG_MAJOR" ] || return 0
    for dir in $(ls -dv /usr/lib/postgresql/*/ 2>/dev/null || :); do
        if [ -x "${dir}bin/postgres" ] && [ -e "${dir}lib/pgxs/src/makefiles/pgxs.mk" ]; then
            MJ_PG_MAJOR=$(basename "$dir")
        fi
    done
    [ -z "$MJ_PG_MAJOR" ] || return 0
    MJ_PG_MAJOR=$({ apt-cache depends postgresql 2>/dev/null || :; } |
        sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
    MJ_PG_MAJOR=${MJ_PG_MAJOR:-15}
}

mj_missing()
{
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s ' "$package"
    done
}

mj_as_root()
{
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

mj_apt()
{
    mj_as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=300 "$@" >>"$MJ_APT_LOG" 2>&1
}

mj_apt_install()
{
    mj_apt install -y --no-install-recommends "$@" || {
        tail -n 20 "$MJ_APT_LOG" >&2
        mj_die "apt-get could not install: $*" \
            "Install these packages by hand, then run this again:" \
            "    apt-get install $MJ_PACKAGES"
    }
}

# The server package makes and starts a cluster when it is first installed.
# It must not: that is switched off for the duration, and back on after.
MJ_CLUSTER_CONF=/etc/postgresql-common/createcluster.conf
mj_cluster_conf_restore()
{
    [ ! -e "$MJ_CLUSTER_CONF.motionify-saved" ] ||
        mj_as_root mv "$MJ_CLUSTER_CONF.motionify-saved" "$MJ_CLUSTER_CONF"
}
mj_install_server()
{
    [ -n "$(mj_missing "postgresql-$MJ_PG_MAJOR")" ] || return 0
    mj_apt_install postgresql-common
    mj_cluster_conf_restore
    trap mj_cluster_conf_restore EXIT
    trap 'exit 130' INT TERM HUP
    mj_as_root cp -p "$MJ_CLUSTER_CONF" "$MJ_CLUSTER_CONF.motionify-saved"
    echo 'create_main_cluster = false' | mj_as_root tee -a "$MJ_CLUSTER_CONF" >/dev/null
    mj_apt_install "postgresql-$MJ_PG_MAJOR"
    mj_cluster_conf_restore
    trap - EXIT INT TERM HUP
}

# mj_need PACKAGE...: installs what is missing of the build's packages and
# those named.  Says nothing when nothing is missing.
mj_need()
{
    local missing
    mj_list_packages "$@"
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        mj_die "This needs Debian 12 or later, or a system derived from it: apt-get is missing." \
            "Elsewhere, install a C compiler, make, PostgreSQL 15 to 18 with its development" \
            "files and libcurl's, then: make && make install"
    missing=$(mj_missing $MJ_PACKAGES)
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        mj_die "Packages are missing, and there is no sudo to install them with.  As root:" \
            "    apt-get install $missing"
    MJ_APT_LOG=$(mktemp)
    mj_apt update || mj_say "(apt-get update failed; trying with the package lists there are)"
    mj_list_packages "$@"    # the lists say which server version there is
    missing=$(mj_missing $MJ_PACKAGES)
    mj_say "Installing with apt: $missing"
    mj_install_server
    missing=$(mj_missing $MJ_PACKAGES)
    [ -z "$missing" ] || mj_apt_install $missing
    rm -f "$MJ_APT_LOG"
}

mj_list_packages()
{
    mj_pick_major
    MJ_PACKAGES="gcc make libc6-dev postgresql-$MJ_PG_MAJOR postgresql-server-dev-$MJ_PG_MAJOR libcurl4-openssl-dev libidn2-dev libssl-dev $*"
}
# mj_need_node: Node.js and its client "pg", for the README's example.  Debian's
# package does not go with a Node.js from elsewhere: npm then, into the scratch
# directory.  Sets MJ_NODE_PATH; empty when there is none.
mj_need_node()
{
    MJ_NODE_PATH=
    if ! command -v node >/dev/null; then mj_need nodejs node-pg; fi
    if [ -z "$(mj_missing node-pg)" ]; then
        MJ_NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs
    elif command -v npm >/dev/null &&
        npm install --prefix "$MJ_WORK/node" --no-audit --no-fund --loglevel=error pg@8 >"$MJ_WORK/npm.log" 2>&1; then
        MJ_NODE_PATH=$MJ_WORK/node/node_modules
        mj_own "$MJ_WORK/node"
    else
        mj_say "(no client \"pg\" for Node.js: the test of the README's example cannot run)"
    fi
}

# mj_need_pg_cron: pg_cron, that others move from; false if there is no package of it.
mj_need_pg_cron() { (mj_need "postgresql-$MJ_PG_MAJOR-cron"); }

# mj_add_pg_cron TREE: makes it part of a tree, which may be older than the package.
mj_add_pg_cron()
{
    local own=$1/usr version=$MJ_PG_MAJOR
    ln -sf "/usr/lib/postgresql/$version/lib/pg_cron.so" "$own/lib/postgresql/$version/lib/"
    ln -sf "/usr/share/postgresql/$version/extension/"pg_cron* "$own/share/postgresql/$version/extension/"
}

# mj_need_prometheus: Prometheus, promtool and the exporter, from Debian.  What is
# not installed is unpacked in the scratch directory only: installed, both would be
# started as services.  Sets MJ_PROMETHEUS, a directory; empty when there is none.
mj_need_prometheus()
{
    local packages="prometheus prometheus-postgres-exporter" dir=$MJ_WORK/prometheus package
    MJ_PROMETHEUS=/usr/bin
    [ -n "$(mj_missing $packages)" ] || return 0
    MJ_PROMETHEUS=$dir/usr/bin
    [ ! -x "$MJ_PROMETHEUS/prometheus-postgres-exporter" ] || return 0
    mkdir -p "$dir"
    if (cd "$dir" && apt-get download -qq $packages) >"$MJ_WORK/prometheus.log" 2>&1; then
        for package in "$dir"/*.deb; do
            dpkg -x "$package" "$dir"
            rm "$package"
        done
        mj_own "$dir"
    else
        MJ_PROMETHEUS=
        mj_say "(no Prometheus: apt-get could not download it, and the metrics are not scraped)"
    fi
}

# mj_need_npm PACKAGE...: packages for Node.js that Debian does not have, into
# the scratch directory.  Adds them to MJ_NODE_PATH.
mj_need_npm()
{
    local to=$MJ_WORK/npm package missing=
    for package in "$@"; do
        [ -d "$to/node_modules/${package%@*}" ] || missing+=" $package"
    done
    if [ -n "$missing" ]; then
        command -v npm >/dev/null || mj_need npm
        npm install --prefix "$to" --no-audit --no-fund --loglevel=error $missing >"$MJ_WORK/npm.log" 2>&1 ||
            mj_say "(npm could not install$missing: the tests that need it cannot run)"
        mj_own "$to"
    fi
    MJ_NODE_PATH=${MJ_NODE_PATH:+$MJ_NODE_PATH:}$to/node_modules
}

# --- the scratch directory ----------------------------------------------------

# Servers refuse root.  "nobody" owns nothing on the machine, so nothing of the
# machine can be harmed by mistake, least of all a cluster of user postgres.
if [ "$(id -u)" = 0 ]; then MJ_USER=nobody; else MJ_USER=$(id -un); fi

# mj_open NAME: makes $MJ_WORK, to be removed at exit.  A name given from
# outside in MJ_WORK is used again and stays, so that a build is incremental.
mj_open()
{
    if [ -n "${MJ_WORK:-}" ]; then
        MJ_STAYS=yes
        mkdir -p "$MJ_WORK"
        MJ_WORK=$(cd "$MJ_WORK" && pwd -P)
    else
        MJ_STAYS=
        # a short path: a socket's name has at most 107 bytes
        MJ_WORK=$(cd "$(mktemp -d "/tmp/mj-$1-XXXXXX")" && pwd -P)
    fi
    mj_own "$MJ_WORK"
    chmod 700 "$MJ_WORK"
    cd /    # the unprivileged user may not enter where this was called from
    MJ_CHILD=
    trap mj_close EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

mj_own() { [ "$(id -u)" != 0 ] || chown -hR "$MJ_USER": "$@"; }

# The processes that live in a directory, by their program or their working
# directory: servers and whatever a test left behind.
mj_pids_in()
{
    local proc
    for proc in /proc/[0-9]*; do
        case "$(readlink "$proc/exe" 2>/dev/null)|$(readlink "$proc/cwd" 2>/dev/null)/" in
            "$1"/*\|*|*\|"$1"/*) [ "${proc#/proc/}" = $$ ] || echo "${proc#/proc/}" ;;
        esac
    done
}

# mj_stop_in DIR: ends every process that lives in DIR: asked first, a server's
# postmaster with SIGQUIT (immediate stop), killed if still there after 5 s.
mj_stop_in()
{
    local pids pid file deadline=$((SECONDS + 5))
    for file in $(find "$1" -name postmaster.pid 2>/dev/null); do
        pid=$(head -n 1 "$file" 2>/dev/null || :)
        [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(dirname "$file")" ] && kill -QUIT "$pid" 2>/dev/null || :
    done
    for pid in $(mj_pids_in "$1"); do
        case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in
            */bin/postgres*) ;;
            *) kill "$pid" 2>/dev/null || : ;;
        esac
    done
    while pids=$(mj_pids_in "$1"); [ -n "$pids" ]; do
        [ $SECONDS -lt $deadline ] || kill -KILL $pids 2>/dev/null || :
        [ $SECONDS -lt $((deadline + 5)) ] || break
        sleep 0.05
    done
}

mj_close()
{
    local status=$?
    trap '' HUP INT TERM
    trap - EXIT
    if [ -n "$MJ_CHILD" ]; then kill -TERM -- "-$MJ_CHILD" 2>/dev/null || :; fi
    if [ -n "${MJ_POSTFIX_CONF:-}" ]; then mj_stop_postfix; fi
    if [ -z "${MJ_KEPT:-}" ]; then
        mj_stop_in "$MJ_WORK"
        [ -n "$MJ_STAYS" ] || rm -rf "$MJ_WORK"
    fi
    exit $status
}

# mj_run COMMAND...: runs it as the unprivileged user with a clean environment,
# in a process group of its own, so that a signal to the script ends it at once.
mj_run()
{
    local as=() status=0
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid "$MJ_USER" --regid "$(id -g "$MJ_USER")" --clear-groups --)
    set -m
    "${as[@]}" env -i HOME="$MJ_WORK" USER="$MJ_USER" LOGNAME="$MJ_USER" \
        TMPDIR="$MJ_WORK/tmp" TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 TZ=UTC \
        PATH="$MJ_BIN:/usr/local/bin:/usr/bin:/bin" \
        NODE_PATH="${MJ_NODE_PATH:-}" \
        "${MJ_ENV[@]}" "$@" </dev/null &
    MJ_CHILD=$!
    set +m
    wait "$MJ_CHILD" || status=$?
    MJ_CHILD=
    return $status
}
MJ_ENV=(MJ=1)
MJ_BIN=/usr/bin

# mj_step WHAT COMMAND...: like mj_run; quiet unless it fails.
mj_step()
{
    local what=$1 log
    shift
    log=$MJ_WORK/step.log
    mj_run "$@" >"$log" 2>&1 && return 0
    tail -n 60 "$log" >&2
    printf '\n%s failed: %s\n' "$what" "$*" >&2
    return 1
}

# mj_copy TO: a copy of the sources, without what was built from them.
mj_copy()
{
    local to=$1 file
    mkdir -p "$to" "$MJ_WORK/tmp"
    tar -C "$MJ_SRC" --exclude-vcs --exclude='*.o' --exclude='*.so' --exclude='src/*.d' \
        --exclude='./*.d' --exclude=./build --exclude=node_modules --exclude=./tmp_check \
        --exclude=./tmp_check_iso --exclude=./output_iso --exclude=./results \
        --exclude='./sql/motionify_jobs--1.0.sql' -cf - . | tar -C "$to" --no-same-owner -xf -
    if [ -n "$MJ_STAYS" ]; then
        # of an earlier copy, files that are gone from the sources
        (cd "$to" && find src board sql expected test -type f ! -name '*.o' ! -name '*.d' ! -name 'motionify_jobs--1.0.sql') |
            while read -r file; do [ -e "$MJ_SRC/$file" ] || rm -f "$to/$file"; done
    fi
    mj_own "$to" "$MJ_WORK/tmp"
}

# mj_tree TREE: a private copy of the PostgreSQL installation.  The programs
# are real copies, for they find the rest relative to where they are.
mj_tree()
{
    local usr=$1/usr version=$MJ_PG_MAJOR
    [ ! -e "$usr/share/postgresql/$version" ] || return 0
    mkdir -p "$usr/lib/postgresql/$version" "$usr/share/postgresql" "$usr/include"
    cp -a "/usr/lib/postgresql/$version/bin" "$usr/lib/postgresql/$version/bin"
    cp -as "/usr/lib/postgresql/$version/lib" "$usr/lib/postgresql/$version/lib"
    cp -as "/usr/share/postgresql/$version" "$usr/share/postgresql/$version"
    ln -s /usr/include/postgresql "$usr/include/postgresql"
    rm -rf "$usr/lib/postgresql/$version/lib/bitcode" \
        "$usr/lib/postgresql/$version"/lib/motionify_jobs* \
        "$usr/share/postgresql/$version"/extension/motionify_jobs*
    mj_own "$1"
}

mj_bin() { printf '%s/usr/lib/postgresql/%s/bin' "$1" "$MJ_PG_MAJOR"; }

# mj_build SOURCES TREE [MAKE-ARGUMENT...]: builds and installs into the tree.
mj_build()
{
    local sources=$1 tree=$2
    shift 2
    mj_step "The build" make -s -C "$sources" -j2 PG_CONFIG="$(mj_bin "$tree")/pg_config" "$@" all install
}

# --- a server -----------------------------------------------------------------

# mj_start DATA SOCKETDIR: initialises DATA unless it is there, and starts a
# server with the extension preloaded on a unix socket only.
mj_start()
{
    local data=$1 sockets=$2
    if [ ! -e "$data/PG_VERSION" ]; then
        mj_step "initdb" initdb -D "$data" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8
        {
            echo "listen_addresses = ''"
            echo "unix_socket_directories = '$sockets'"
            echo "unix_socket_permissions = 0700"
            echo "shared_preload_libraries = 'motionify_jobs'"
            echo "max_worker_processes = 16"
            echo "log_line_prefix = '%m [%p] %b %q%a '"
        } >>"$data/postgresql.conf"
    fi
    mkdir -p "$sockets"
    mj_own "$sockets"
    mj_step "Starting the server" pg_ctl -D "$data" -l "$data/server.log" -w -t 30 start || {
        tail -n 20 "$data/server.log" >&2
        return 1
    }
}
