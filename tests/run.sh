#!/usr/bin/env bash
# The whole test suite, on a fresh Debian: installs the real counterparts that the tests talk to, then runs them.
# Needs root, for network namespaces, a TUN device and raw sockets.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "tests/run.sh: must run as root: the tests make network namespaces and raw sockets" >&2
    exit 1
fi
tests/install.sh
exec cargo test --locked "$@"
