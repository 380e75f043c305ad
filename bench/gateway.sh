#!/usr/bin/env bash
# Bailiff with everything on (API key, 100 Cedar policies, three quotas, durable
# audit log and index) beside HAProxy and nginx doing nothing but TLS, and beside
# Portkey's gateway (plain HTTP, no controls), all before the same mock engine,
# in interleaved rounds. Ratios count; absolute figures are this machine's.
#
#   bench/gateway.sh [BAILIFF] [--short] [--only NAMES] [--output DIR]
#
# A quarter of an hour; --short: three minutes. NAMES, separated by commas: see
# --list.
# Needs the Debian packages haproxy, nginx, gcc, libssl-dev, nodejs, npm,
# sqlite3, curl and, for system calls per request, strace. Portkey's gateway is
# installed from npm into build/bench, once; without a network it is left out.
# Prints tables and writes results.json, report.md and SVG plots into DIR
# (build/bench/results).
set -eu
cd "$(dirname "$0")/.."
for tool in haproxy nginx gcc node sqlite3; do
    command -v $tool >/dev/null || { echo "bench: install $tool" >&2; exit 1; }
done
mkdir -p build/bench
gcc -O2 -o build/bench/load bench/load.c -lssl -lcrypto -lm
gcc -O2 -o build/bench/engine bench/engine.c
portkey=build/bench/portkey/node_modules/@portkey-ai/gateway/build/start-server.js
if ! [ -f $portkey ] && command -v npm >/dev/null; then
    mkdir -p build/bench/portkey
    npm install --prefix build/bench/portkey --no-audit --no-fund --silent \
        --ignore-scripts @portkey-ai/gateway >build/bench/npm.log 2>&1 ||
        echo "bench: Portkey's gateway could not be installed (build/bench/npm.log); it is left out" >&2
fi
exec node bench/gateway/main.mjs "$@"
