#!/usr/bin/env bash
# Checks the static binary: that it is one file without a loader, small, quick to start and modest in memory, and that
# it pings, records and draws in a root folder that holds nothing else (no libraries, no fonts, no zone data).
# Usage: tests/static.sh target/x86_64-unknown-linux-musl/release/latmon
set -euo pipefail
binary=$(realpath "$1")
fail() { echo "static.sh: $*" >&2; exit 1; }

if LC_ALL=C readelf -l "$binary" | grep -q INTERP; then fail "the binary asks for a dynamic loader"; fi
if LC_ALL=C readelf -d "$binary" | grep -q NEEDED; then fail "the binary needs shared libraries"; fi
size=$(stat -c %s "$binary")
[ "$size" -lt 12000000 ] || fail "the binary has $size bytes, 12 MB are the limit"

# The median of eleven starts, in microseconds, by the shell's own clock.
starts=$(for _ in $(seq 11); do
    before=${EPOCHREALTIME/./}
    "$binary" --version >/dev/null
    echo $((${EPOCHREALTIME/./} - before))
done | sort -n)
start=$(sed -n 6p <<<"$starts")
echo "static.sh: $size bytes, starts in $start us (median of 11, with fork and exec)"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$binary" "$root/latmon"
cp "$(dirname "$0")/../fixtures/smokeping/line.rrd" "$root/line.rrd"
chroot "$root" /latmon graph /line.rrd --since 1795332000 --until 1795334400 -o /line.png >/dev/null
[ "$(head -c 8 "$root/line.png" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "graph made no PNG"

chroot "$root" /latmon run 127.0.0.1 --step 1s --pings 5 --data-dir /data 2>"$root/log" &
guardian=$!
for _ in $(seq 100); do
    # A row is stored when last_ds of the data source 'loss' is no longer unknown.
    if [ -e "$root/data/127.0.0.1.rrd" ] \
        && rrdtool lastupdate "$root/data/127.0.0.1.rrd" | tail -n 1 | grep -q ' 0 '; then break; fi
    sleep 0.1
done
monitor=$(tr -d ' ' <"/proc/$guardian/task/$guardian/children")
memory=$(awk '/^VmHWM/ { print $2 }' "/proc/$monitor/status")
parent=$(awk '/^VmRSS/ { print $2 }' "/proc/$guardian/status")
kill -TERM "$guardian"
wait "$guardian" || fail "run did not end with 0: $(cat "$root/log")"
rrdtool lastupdate "$root/data/127.0.0.1.rrd" | tail -n 1 | grep -q ' 0 ' || fail "no round was recorded: $(cat "$root/log")"
[ "$memory" -lt 20000 ] || fail "one target took $memory kB of memory, 20 MB are the limit"
[ "$parent" -lt 5000 ] || fail "the guardian took $parent kB of memory, 5 MB are the limit"
echo "static.sh: one target takes $memory kB, its guardian $parent kB"
