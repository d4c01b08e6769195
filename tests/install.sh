#!/usr/bin/env bash
# Installs the Debian packages that the tests need, where one of them is missing.
set -euo pipefail

packages=(
    bsdutils build-essential fping iproute2 openssl prometheus-alertmanager python3 python3-aiosmtpd rrdtool smokeping
    tzdata
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
