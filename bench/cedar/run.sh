#!/usr/bin/env bash
# Decisions per second of Bailiff's Cedar and of the official engine, on the
# same sets and one core. The figures in docs/performance.md come from here.
#   bench/cedar/run.sh [SECONDS-PER-CASE] [BUILD]
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-1} build=${2:-build/release}
make --no-print-directory BUILD="$build" "$build/libcedar.a" >&2
"${CC:-gcc}" -std=gnu11 -O2 -D_GNU_SOURCE -I. -o "$build/bench_authorize" \
    bench/cedar/bench_authorize.c "$build/libcedar.a"
echo "== Bailiff: $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $("${CC:-gcc}" --version | head -n 1)"
"$build/bench_authorize" "$seconds"
if [ -d tests/cedar/node_modules/@cedar-policy/cedar-wasm ]; then
    echo "== cedar-wasm, statefulIsAuthorized, node $(node --version)"
    node bench/cedar/peer.mjs "$seconds"
else
    echo "cedar-wasm is not installed: tests/cedar/run.sh does that" >&2
fi
