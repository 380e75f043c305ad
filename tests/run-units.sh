#!/usr/bin/env bash
# Runs cmocka programs; prints only what failed or was skipped, then
# "N passed, N failed, N skipped".
set -u
passed=0 failed=0 skipped=0
for program in "$@"; do
    output=$(mktemp)
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$program" >"$output" 2>&1
    status=$?
    # cmocka writes a skipped test as "not ok N # SKIP name".
    left_out=$(grep -cE '^(not )?ok [0-9]+ # SKIP' "$output")
    ok=$(grep -E '^ok ' "$output" | grep -cvE '# SKIP')
    bad=$(grep -E '^not ok ' "$output" | grep -cvE '# SKIP')
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$bad" -gt 0 ] || [ $((ok + left_out)) -eq 0 ]; then
        [ "$bad" -eq 0 ] && bad=1
        echo "FAILED ${program##*/tests/unit/} (exit $status)"
        cat "$output"
    elif [ "$left_out" -gt 0 ]; then
        echo "skipped in ${program##*/tests/unit/}:"
        grep -E 'SKIP|skip' "$output"
    fi
    passed=$((passed + ok)) failed=$((failed + bad))
    skipped=$((skipped + left_out))
    rm -f "$output"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
