#!/usr/bin/env bash
# packaging/latmon.service under the real systemd: ready by its own word, whatever dies is told once, and nothing is
# started twice. systemd runs as the first process of namespaces of its own: its root folder is written into memory only,
# it sees neither the processes nor the network of this machine, and of the control groups only one made for it.
# Needs root, systemd, util-linux and overlayfs. Usage: tests/systemd.sh target/debug/latmon
set -euo pipefail
fail() { echo "systemd.sh: $*" >&2; exit 1; }

# What this script does inside the namespaces, before there is a systemd.
become_systemd() {
    local binary=$1 unit=$2 root=/mnt/root units=/mnt/root/usr/lib/systemd/system
    mount --make-rprivate /
    mount -t tmpfs latmon /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work $root
    mount -t proc proc $root/proc
    mount --bind $root/proc/sys $root/proc/sys
    mount -o remount,bind,ro $root/proc/sys
    mount -t sysfs -o ro sysfs $root/sys
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
    # No other unit than ours and the journal: whatever this machine would start is covered.
    for folder in dev run tmp var/tmp var/log etc/systemd/system var/lib \
        usr/lib/systemd/system/{sysinit,local-fs,multi-user,sockets,timers,basic}.target.wants; do
        [ ! -d $root/$folder ] || mount -t tmpfs -o mode=0755 latmon $root/$folder
    done
    chmod 1777 $root/tmp $root/var/tmp
    while read -r name major minor; do mknod -m 666 $root/dev/"$name" c "$major" "$minor"; done <<<"null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0"
    mkdir $root/dev/pts $root/dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts $root/dev/pts
    ln -s pts/ptmx $root/dev/ptmx
    : >$root/etc/fstab
    echo 0123456789abcdef0123456789abcdef >$root/etc/machine-id
    ln -s ../systemd-journald.service $units/sysinit.target.wants/
    ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket $units/sockets.target.wants/
    printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >$root/etc/systemd/system/bare.target
    cp "$unit" $root/etc/systemd/system/latmon.service
    mkdir -p $root/usr/local/bin $root/etc/latmon
    cp "$binary" $root/usr/local/bin/latmon
    printf '[defaults]\nstep = "1s"\npings = 3\n[targets]\nhere = "127.0.0.1"\n' >$root/etc/latmon/latmon.toml
    ip link set lo up
    cd $root
    pivot_root . mnt
    umount -l mnt
    # No clock, module or reboot of this machine is its own.
    exec setpriv --bounding-set -sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-audit_control,-mac_admin \
        env -i container=latmon PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=bare.target --log-target=journal --show-status=no
}

if [ "${1-}" = inside ]; then
    shift
    become_systemd "$@"
fi

binary=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
[ "$(id -u)" -eq 0 ] || fail "must run as root"
[ -x /lib/systemd/systemd ] || fail "there is no systemd: apt-get install systemd"
groups=/sys/fs/cgroup
[ -e $groups/cgroup.controllers ] || groups=$groups/unified
[ -e $groups/cgroup.controllers ] || fail "there are no control groups of version 2"

group=$groups/latmon-systemd-$$
mkdir "$group"
bash -c 'echo $$ >"$0/cgroup.procs" && exec unshare --cgroup --pid --fork --kill-child --mount --net --uts --ipc bash "$@"' \
    "$group" "$here/systemd.sh" inside "$binary" "$here/../packaging/latmon.service" </dev/null &
outer=$!
end() {
    kill -9 $outer 2>/dev/null || true
    wait $outer 2>/dev/null || true
    for _ in $(seq 100); do
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        sleep 0.1
    done
}
trap end EXIT

# What is asked, again and again, for a minute at most.
until_so() {
    local what=$1
    shift
    for _ in $(seq 600); do
        if "$@"; then return; fi
        sleep 0.1
    done
    inside journalctl -u latmon --no-pager -n 40 >&2 || true
    fail "not within a minute: $what"
}
first() { tr -d ' \n' <"/proc/$outer/task/$outer/children"; }
inside() { nsenter --target "$(first)" --all -- "$@"; }
is_up() { [ -n "$(first)" ] && inside systemctl is-active --quiet bare.target 2>/dev/null; }
property() { inside systemctl show latmon --property "$1" --value; }
guardian() { property MainPID; }
monitor() { inside pgrep --parent "$(guardian)" --full -- --as=monitor; }
another_monitor() { local now; now=$(monitor) && [ -n "$now" ] && [ "$now" != "$1" ]; }
has_restarted() { [ "$(property NRestarts)" = "$1" ] && [ "$(property ActiveState)" = active ]; }
# The subjects of the mails so far, without the name of the machine, one a line.
subjects() {
    local mail
    for mail in "/proc/$(first)/root/var/lib/private/latmon/outbox"/*.eml; do
        [ ! -e "$mail" ] || tr -d '\r' <"$mail" | sed -z 's/\n\n.*//; s/\n[ \t]/ /g' \
            | sed -n 's/^Subject: \[latmon\] \([A-Z]*:\) the monitor on [^ ]* /\1 /p'
    done
}
has_mails() { [ "$(subjects | grep -c :)" = "$1" ]; }
mailed() {
    until_so "$1 mails: $(subjects)" has_mails "$1"
    [[ "$(subjects)" == $2 ]] || fail "these mails are not '$2': $(subjects)"
}
fresh() {
    inside systemctl stop latmon
    inside rm -rf /var/lib/private/latmon
    inside systemctl start latmon
}

until_so "a systemd" is_up
inside systemctl start latmon || { inside journalctl --no-pager -n 40 >&2; fail "it does not start"; }
[ "$(property Type)" = notify ] || fail "it is no Type=notify"
[ "$(property StatusText)" = "watches 1 target" ] || fail "ready, and says '$(property StatusText)'"
tr '\0' ' ' <"/proc/$(first)/root/proc/$(guardian)/cmdline" | grep -q -- --as=guardian || fail "not the guardian is its main process"
[ "$(inside stat -c %U "/proc/$(monitor)")" != root ] || fail "the monitor is root"

before=$(guardian)
killed=$(monitor)
inside kill -KILL "$killed"
until_so "another monitor" another_monitor "$killed"
mailed 1 "RESTARTED: was killed by SIGKILL, starts again"
[ "$(guardian) $(property NRestarts)" = "$before 0" ] || fail "systemd has started it again, too"
inside systemctl stop latmon
mailed 2 $'RESTARTED: *\nSTOPPED: has stopped, please restart it'
[ "$(property Result) $(property NRestarts)" = "success 0" ] || fail "stopped with $(property Result)"

fresh
inside kill -KILL "$(guardian)"
until_so "systemd starts it again" has_restarted 1
mailed 1 "RESTARTED: lost its guardian, starts again"

# A monitor that hangs is the guardian's to end, and is no reason for systemd's dog to bark; a guardian that hangs is.
mkdir -p "/proc/$(first)/root/run/systemd/system/latmon.service.d"
printf '[Service]\nWatchdogSec=2\n' >"/proc/$(first)/root/run/systemd/system/latmon.service.d/watchdog.conf"
inside systemctl daemon-reload
fresh
killed=$(monitor)
inside kill -STOP "$killed"
until_so "another monitor" another_monitor "$killed"
mailed 1 "RESTARTED: hung, starts again"
[ "$(property NRestarts)" = 0 ] || fail "systemd has started it again, too"
fresh
inside kill -STOP "$(guardian)"
until_so "systemd starts it again" has_restarted 1
mailed 1 "GAP: was not watching for *"
echo "systemd.sh: $(inside systemctl --version | head -n 1): all good"
