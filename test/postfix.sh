# test/postfix.sh - Postfix, without installing it.  To be sourced by bash after
# test/lib.sh.
#
# Debian's package is unpacked into the scratch directory: no service, no user, no
# set-gid program, and no other mail server is replaced.  smtp-sink and smtp-source run
# there as they are; mj_start_postfix starts the whole of it, for which it must be root.

MJ_POSTFIX=          # where it is unpacked
MJ_POSTFIX_CONF=     # the configuration of the one that runs
MJ_POSTFIX_PORT=     # where that takes mail

# mj_unpack_postfix: sets MJ_POSTFIX.  False, with a message, if it cannot be had.
mj_unpack_postfix()
{
    local dir=$MJ_WORK/postfix
    MJ_APT_LOG=$MJ_WORK/apt.log
    if [ ! -e "$dir/unpacked" ]; then
        mkdir -p "$dir/deb"
        (cd "$dir/deb" && { mj_download postfix || { mj_apt update && mj_download postfix; }; }) &&
            dpkg-deb -x "$dir"/deb/postfix_*.deb "$dir" && postfix_libraries "$dir" || {
            mj_say "(Debian's package postfix cannot be had: see $MJ_APT_LOG)"
            return 1
        }
        touch "$dir/unpacked"
    fi
    MJ_POSTFIX=$dir
}

# Into the working directory; root is not needed.
mj_download() { apt-get -qq download "$1" >>"$MJ_APT_LOG" 2>&1; }

# Installs the libraries that it needs, if one is missing.
postfix_libraries()
{
    local needed
    LD_LIBRARY_PATH=$1/usr/lib/postfix ldd "$1/usr/lib/postfix/sbin/smtpd" "$1/usr/sbin/smtp-sink" |
        grep -q 'not found' || return 0
    needed=$(dpkg-deb -f "$1"/deb/postfix_*.deb Depends | tr ',' '\n' | grep '^ *lib' | paste -sd,)
    mj_apt satisfy -y --no-install-recommends "$needed"
}

# mj_postfix PROGRAM ARGUMENT...: runs one of its programs like mj_run.
mj_postfix()
{
    local program=$1
    shift
    mj_run env "LD_LIBRARY_PATH=$MJ_POSTFIX/usr/lib/postfix" "$MJ_POSTFIX/usr/sbin/$program" "$@"
}

# A port of 127.0.0.1 that nobody has.
mj_free_port()
{
    perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# mj_start_postfix DIR: starts it with everything it writes in DIR.  It takes mail for
# ada@example.com and bob@example.com, whose mailboxes are DIR/mail/ada and .../bob, and
# sends none.  Sets MJ_POSTFIX_CONF and MJ_POSTFIX_PORT; false, with a message, if it
# cannot be started.
mj_start_postfix()
{
    local dir=$1 attempt
    mj_can_be_root || { mj_say "(Postfix cannot be started: neither root nor sudo without a password)"; return 1; }
    mj_unpack_postfix || return 1
    if [ -e "$dir/conf" ]; then
        MJ_POSTFIX_CONF=$dir/conf
        mj_stop_postfix # of a run that was killed
    fi
    mj_as_root rm -rf "$dir"
    mkdir -p "$dir/conf" "$dir/mail"
    mj_as_root mkdir -p "$dir/queue" "$dir/data"
    mj_as_root chown "$MJ_USER" "$dir" "$dir/data" "$dir/mail"
    # somebody else may take the port meanwhile
    for attempt in 1 2 3; do
        MJ_POSTFIX_PORT=$(mj_free_port)
        postfix_main "$dir" >"$dir/conf/main.cf"
        postfix_master "$MJ_POSTFIX_PORT" >"$dir/conf/master.cf"
        MJ_POSTFIX_CONF=$dir/conf
        postfix_as_root start >"$dir/start.log" 2>&1 && return 0
        mj_stop_postfix
    done
    tail -n 20 "$dir/start.log" "$dir/log" 2>/dev/null || :
    mj_say "(Postfix did not start)"
    return 1
}

mj_can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# Ends what mj_start_postfix started, if anything.
mj_stop_postfix()
{
    [ -n "$MJ_POSTFIX_CONF" ] || return 0
    postfix_as_root stop >/dev/null 2>&1 || :
    # root's files too go with the scratch directory
    mj_as_root chown -R "$MJ_USER" "$(dirname "$MJ_POSTFIX_CONF")" || :
    MJ_POSTFIX_CONF= MJ_POSTFIX_PORT=
}

postfix_as_root()
{
    mj_as_root env "LD_LIBRARY_PATH=$MJ_POSTFIX/usr/lib/postfix" \
        "$MJ_POSTFIX/usr/sbin/postfix" -c "$MJ_POSTFIX_CONF" "$1"
}

# main.cf.  Of the three accounts that it wants, it owns its files as the user of the
# tests; the others exist on every Debian.
postfix_main()
{
    cat <<CONF
compatibility_level = 3.6
command_directory = $MJ_POSTFIX/usr/sbin
daemon_directory = $MJ_POSTFIX/usr/lib/postfix/sbin
meta_directory = $MJ_POSTFIX/etc/postfix
shlib_directory = $MJ_POSTFIX/usr/lib/postfix
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ=UTC LANG=C LD_LIBRARY_PATH=$MJ_POSTFIX/usr/lib/postfix
queue_directory = $1/queue
data_directory = $1/data
maillog_file = $1/log
maillog_file_prefixes = $1
mail_owner = $MJ_USER
setgid_group = mail
default_privs = daemon

inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
disable_dns_lookups = yes
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine

myhostname = mx.example.com
mydestination =
alias_maps =
smtpd_recipient_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com
virtual_mailbox_maps = inline:{ ada@example.com=ada/, bob@example.com=bob/ }
virtual_mailbox_base = $1/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:$(id -u "$MJ_USER")
virtual_gid_maps = static:$(id -g "$MJ_USER")
CONF
}

# master.cf: what takes mail, and what brings it into a mailbox.
postfix_master()
{
    cat <<CONF
127.0.0.1:$1 inet n - n - - smtpd
cleanup  unix       n - n - 0 cleanup
qmgr     unix       n - n 300 1 qmgr
rewrite  unix       - - n - - trivial-rewrite
bounce   unix       - - n - 0 bounce
defer    unix       - - n - 0 bounce
trace    unix       - - n - 0 bounce
flush    unix       n - n 1000? 0 flush
proxymap unix       - - n - - proxymap
error    unix       - - n - - error
retry    unix       - - n - - error
virtual  unix       - n n - - virtual
anvil    unix       - - n - 1 anvil
postlog  unix-dgram n - n - 1 postlogd
CONF
}
