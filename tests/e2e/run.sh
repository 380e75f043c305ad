#!/usr/bin/env bash
# End-to-end tests: the real program, its own engine, the real SDKs.
#   tests/e2e/run.sh BAILIFF [SANITIZER [FILE...]]
# SANITIZER (address or thread) says what the program was built with; a report
# of it fails the test in which it came. FILE: these tests, not all of them.
set -u
bailiff=$(realpath "${1:?the program}")
sanitizer=${2:-}
cd "$(dirname "$0")" || exit 1
files=(./*.test.mjs)
[ $# -gt 2 ] && files=("${@:3}")
export BAILIFF=$bailiff BAILIFF_SANITIZER=$sanitizer
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
command -v npm >/dev/null || bash ../install-packages.sh npm
major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
node22=()
[ "${major:-0}" -lt 20 ] && node22=(node@22) && PATH=$PWD/node_modules/.bin:$PATH
# Stamped with what was installed: a new package in package.json is fetched.
stamp="$(cat package.json) ${node22[*]}"
if [ "$(cat node_modules/.stamp 2>/dev/null)" != "$stamp" ]; then
    npm install --silent --no-audit --no-fund --no-package-lock --no-save \
        "${node22[@]}" && echo "$stamp" >node_modules/.stamp || exit 1
fi
output=$(mktemp)
# Most of their time the tests wait: several files at once. None may hang.
timeout -k 10 1200 node --test --test-concurrency=3 --test-reporter=tap "${files[@]}" >"$output" 2>&1
status=$?
count() { grep -E "^# $1 [0-9]+" "$output" | tail -n 1 | grep -oE '[0-9]+'; }
passed=$(count pass) failed=$(count fail) skipped=$(count skipped)
if [ $status -ne 0 ]; then
    # What failed, and what each of them says.
    awk '/^ *not ok/ { show = 1 } /^ *(ok|# Subtest)/ { show = 0 } show' "$output" |
        grep -vE '^ *(duration_ms|type:|\.\.\.|---)' | head -300
    [ -n "$failed" ] || tail -n 50 "$output"
fi
rm -f "$output"
echo "${passed:-0} passed, ${failed:-1} failed, ${skipped:-0} skipped"
exit $status
