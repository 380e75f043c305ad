#!/usr/bin/env bash
# Runs cmocka programs; prints only what failed, then "N passed, N failed".
set -u
passed=0 failed=0
for program in "$@"; do
    output=$(mktemp)
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 120 "$program" >"$output" 2>&1
    status=$?
    ok=$(grep -cE '^ok ' "$output")
    bad=$(grep -cE '^not ok ' "$output")
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $status -ne 0 ] || [ "$ok" -eq 0 ]; then
        [ "$bad" -eq 0 ] && bad=1
        echo "FAILED ${program##*/tests/unit/} (exit $status)"
        cat "$output"
    fi
    passed=$((passed + ok)) failed=$((failed + bad))
    rm -f "$output"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
