#!/usr/bin/env bash
# Power loss and broken disks, against the real server.
#   tests/durability/run.sh BUILD          in CI
#   tests/durability/run.sh BUILD sweep    every fault of the sweep, one by one
set -u
build=$(realpath "${1:?the build directory}")
cd "$(dirname "$0")" || exit 1
mkdir -p "$build/tests/durability"
for shim in unsynced fault killed earlier; do
    ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -fPIC -shared \
        -o "$build/tests/durability/$shim.so" $shim.c -ldl || exit 1
done
export BAILIFF=$build/bailiff UNSYNCED=$build/tests/durability/unsynced.so
export FAULT=$build/tests/durability/fault.so
export KILLED=$build/tests/durability/killed.so
export EARLIER=$build/tests/durability/earlier.so
PATH=$PWD/../e2e/node_modules/.bin:$PATH
[ "${2:-}" = sweep ] && exec node sweep.mjs
output=$(mktemp)
node --test --test-concurrency=2 --test-reporter=tap ./*.test.mjs >"$output" 2>&1
status=$?
count() { grep -E "^# $1 [0-9]+" "$output" | tail -n 1 | grep -oE '[0-9]+'; }
passed=$(count pass) failed=$(count fail) skipped=$(count skipped)
if [ $status -ne 0 ]; then
    awk '/^ *not ok/ { show = 1 } /^ *(ok|# Subtest)/ { show = 0 } show' "$output" |
        grep -vE '^ *(duration_ms|type:|\.\.\.|---)' | head -300
    [ -n "$failed" ] || tail -n 50 "$output"
fi
rm -f "$output"
echo "${passed:-0} passed, ${failed:-1} failed, ${skipped:-0} skipped"
exit $status
