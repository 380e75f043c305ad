#!/usr/bin/env bash
# Everything `make test` runs, in order. Each part ends with a line
# "N passed, N failed[, N skipped]"; the last line is their sum.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS # each part is a make of its own
build=${1:-build/release}
jobs=$(nproc 2>/dev/null || echo 1)
passed=0 failed=0 skipped=0
part() { # title, command...
    local title=$1 output line status
    shift
    echo "== $title"
    output=$(mktemp)
    "$@" 2>&1 | tee "$output" | grep -vE '^  (CC|LD) '
    status=${PIPESTATUS[0]}
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$output" | tail -n 1)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)? ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
        [ "$status" -ne 0 ] && [ "${BASH_REMATCH[2]}" -eq 0 ] && failed=$((failed + 1))
    else
        failed=$((failed + 1))
        echo "$title: no result (exit $status)"
    fi
    rm -f "$output"
}
# The engine of a later part takes a minute to fetch: meanwhile, units.
[ -x tests/llama/prepare.sh ] &&
    bash tests/llama/prepare.sh >/dev/null 2>&1 </dev/null &
part "unit tests" make --no-print-directory -j"$jobs" BUILD="$build" check
part "unit tests, address and undefined sanitizers" \
    make --no-print-directory -j"$jobs" SAN=address BUILD=build/asan check
if [ -x tests/e2e/run.sh ]; then
    make --no-print-directory -j"$jobs" BUILD="$build" all | grep -vE '^  (CC|LD) '
    part "end to end" bash tests/e2e/run.sh "$build/bailiff"
    make --no-print-directory -j"$jobs" SAN=address BUILD=build/asan all |
        grep -vE '^  (CC|LD) '
    part "end to end, address and undefined sanitizers" \
        bash tests/e2e/run.sh build/asan/bailiff address
    make --no-print-directory -j"$jobs" SAN=thread BUILD=build/tsan all |
        grep -vE '^  (CC|LD) '
    part "end to end, thread sanitizer" bash tests/e2e/run.sh \
        build/tsan/bailiff thread streams.test.mjs limits.test.mjs live.test.mjs
fi
part "durability" bash tests/durability/run.sh "$build"
if [ -x tests/llama/run.sh ]; then
    part "a real llama-server" bash tests/llama/run.sh "$build/bailiff"
fi
part "fuzz targets, built with clang" bash tests/fuzz/run.sh 2
part "cedar, against the official engine" bash tests/cedar/run.sh "$build/bailiff"
# A skip is for a stranger's machine; in CI nothing may be left out.
[ -n "${CI:-}" ] && [ "$skipped" -gt 0 ] && failed=$((failed + skipped))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
