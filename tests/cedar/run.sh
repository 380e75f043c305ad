#!/usr/bin/env bash
# Bailiff's Cedar against the official engine, on fixed seeds: the subset that
# runs with every change. See README.md for the whole.
#   tests/cedar/run.sh BAILIFF [BUILD]    (BUILD: where cedar-driver is built)
set -u
bailiff=$(realpath "${1:?the program}")
build=$(realpath "${2:-$(dirname "$bailiff")}")
cd "$(dirname "$0")" || exit 1
major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
if [ "${major:-0}" -lt 20 ]; then
    command -v npm >/dev/null || bash ../install-packages.sh npm
    npm install --silent --no-audit --no-fund --no-save node@22 >/dev/null 2>&1
    PATH=$PWD/node_modules/.bin:$PATH
fi
command -v npm >/dev/null || bash ../install-packages.sh npm
[ -d node_modules/@cedar-policy/cedar-wasm ] ||
    npm install --silent --no-audit --no-fund --no-package-lock || exit 1
driver=$(bash build.sh "$build") || exit 1
passed=0 failed=0
# The library by itself, as its header's example has it.
make --no-print-directory -C ../.. BUILD="$build" "$build/libcedar.a" >&2
if "${CC:-gcc}" -std=gnu11 -I../.. -o "$build/cedar-example" example.c "$build/libcedar.a" &&
    [ "$("$build/cedar-example")" = allowed ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "example.c does not work with libcedar.a alone"
fi
add() { # command...: shows what it says, adds its last line to the sum
    local output line
    output=$("$@" 2>&1) || [ -n "$output" ] || output="$*: no result"
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' <<<"$output" | tail -n 1)
    grep -vE '^[0-9]+ passed, [0-9]+ failed$|^\{"cases"' <<<"$output"
    [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+) ]] || { failed=$((failed + 1)); return; }
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
}
add node run.mjs --seed 4 --cases 3000 --command "$bailiff policy batch"
add node shapes.mjs --command "$bailiff policy batch"
add node formats.mjs --seed 4 --cases 500 --command "$driver formats"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
