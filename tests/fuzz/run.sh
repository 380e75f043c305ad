#!/usr/bin/env bash
# Every fuzz target, built with clang: its corpus, then a short search.
#   tests/fuzz/run.sh [SECONDS [BUILD [NAME...]]]     SECONDS: of search for each
# What breaks a target is kept as BUILD/crash-NAME-*.
set -u
seconds=${1:-2} build=${2:-build/fuzz}
cd "$(dirname "$0")/../.." || exit 1
bash tests/install-packages.sh clang libclang-rt-14-dev
names=("${@:3}")
if [ ${#names[@]} -eq 0 ]; then
    names=(tests/fuzz/*_fuzz.c)
    names=("${names[@]#tests/fuzz/}")
    names=("${names[@]%_fuzz.c}")
fi
targets=("${names[@]/#/$build/tests/fuzz/}")
make --no-print-directory -j"$(nproc)" CC=clang SAN=fuzzer WERROR=-Werror BUILD="$build" \
    "${targets[@]/%/_fuzz}" || exit 1
passed=0 failed=0
one() { # name: its corpus first, all of it, then new inputs
    local log=$build/run-$1.log
    mkdir -p "$build/corpus/$1"
    "$build/tests/fuzz/$1_fuzz" -runs=0 -timeout=20 -rss_limit_mb=4096 \
        -artifact_prefix="$build/crash-$1-" "tests/fuzz/corpus/$1" >"$log" 2>&1 &&
        { [ "$seconds" = 0 ] || "$build/tests/fuzz/$1_fuzz" -max_total_time="$seconds" -timeout=20 \
            -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$build/crash-$1-" \
            "$build/corpus/$1" "tests/fuzz/corpus/$1" >>"$log" 2>&1; }
}
for name in "${names[@]}"; do
    if one "$name"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        tail -n 40 "$build/run-$name.log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
