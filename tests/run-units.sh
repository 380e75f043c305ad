#!/usr/bin/env bash
# Runs cmocka programs, several at once (they wait for the disk); prints only
# what failed or was skipped, then "N passed, N failed, N skipped".
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
one() { # program: says what failed, and ends with its three numbers
    local program=$1 output=$dir/$(echo "$1" | tr / _).out status left_out ok bad
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$program" >"$output" 2>&1
    status=$?
    # cmocka writes a skipped test as "not ok N # SKIP name".
    left_out=$(grep -cE '^(not )?ok [0-9]+ # SKIP' "$output")
    ok=$(grep -E '^ok ' "$output" | grep -cvE '# SKIP')
    bad=$(grep -E '^not ok ' "$output" | grep -cvE '# SKIP')
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    {
        if [ "$bad" -gt 0 ] || [ $((ok + left_out)) -eq 0 ]; then
            [ "$bad" -eq 0 ] && bad=1
            echo "FAILED ${program##*/tests/unit/} (exit $status)"
            cat "$output"
        elif [ "$left_out" -gt 0 ]; then
            echo "skipped in ${program##*/tests/unit/}:"
            grep -E 'SKIP|skip' "$output"
        fi
    } >"$output.said"
    cat "$output.said"
    echo "$ok $bad $left_out" >"$output.sum"
}
export dir
export -f one
printf '%s\n' "$@" | xargs -d '\n' -P $((2 * $(nproc 2>/dev/null || echo 1))) -n 1 bash -c 'one "$1"' one
# A program that left no sum did not run.
awk -v programs=$# '{ passed += $1; failed += $2; skipped += $3 }
    END { failed += programs - NR
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0 }' "$dir"/*.sum
