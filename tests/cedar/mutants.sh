#!/usr/bin/env bash
# Is the generator worth anything? Builds each mutant of mutants.txt in a copy
# and asks the cases of tests/cedar/run.sh; the run has to find a difference.
#   tests/cedar/mutants.sh [FIRST [LAST]]     (CASES=8000 SEED=4)
# Regressions are left out: the generator has to do it alone.
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r lib policy schema tests/cedar Makefile VERSION "$copy/"
mkdir -p "$copy/tests" && mv "$copy/cedar" "$copy/tests/cedar"
cd "$copy" || exit 1
count=$(node tests/cedar/mutate.mjs count)
first=${1:-1} last=${2:-$count}
build() { make --no-print-directory OPT=-O1 OPT_LD= BUILD=b b/libcedar.a &&
    "${CC:-gcc}" -std=gnu11 -O1 -D_GNU_SOURCE -I. -o b/driver tests/cedar/driver.c b/libcedar.a; }
build >b.log 2>&1 || { cat b.log; exit 1; }
cp -r policy/cedar original
found=0 survived=0
for ((n = first; n <= last; n++)); do
    name=$(node tests/cedar/mutate.mjs name "$n")
    file=$(node tests/cedar/mutate.mjs file "$n")
    if ! node tests/cedar/mutate.mjs apply "$n" policy/cedar; then
        survived=$((survived + 1))
        continue
    fi
    if ! build >b.log 2>&1; then
        echo "$n does not build: $name"; grep error b.log
        survived=$((survived + 1))
    else
        output=$(timeout 300 node tests/cedar/run.mjs --seed "${SEED:-4}" --cases "${CASES:-8000}" \
            --stop 1 --regressions 0 --show 1 --command "b/driver batch" 2>&1)
        if grep -qE '^--- |the command ended' <<<"$output"; then
            found=$((found + 1))
            echo "$n found: $name [$(grep -m1 -E '^--- ' <<<"$output" | cut -c5-)]"
        else
            survived=$((survived + 1))
            echo "$n SURVIVED: $name"
        fi
    fi
    cp "original/$file" "policy/cedar/$file"
done
cd "$top" || exit 1
echo "$found mutants found, $survived not"
[ "$survived" -eq 0 ]
