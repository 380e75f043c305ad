#!/usr/bin/env bash
# A long log, what it costs to write, index, search and verify. The figures in
# docs/performance.md come from here. Needs about 2.2 kB of disk per entry.
#   bench/audit/run.sh FOLDER [ENTRIES] [BUILD]     FOLDER must not exist
set -eu
folder=$(realpath -m "${1:?a folder that does not exist yet}")
entries=${2:-10000000}
cd "$(dirname "$0")/../.."
build=${3:-build/release}
[ -e "$folder" ] && { echo "$folder is there already" >&2; exit 1; }
make --no-print-directory BUILD="$build" all >&2
for name in generate questions; do
    "${CC:-gcc}" -std=gnu11 -O2 -g -D_GNU_SOURCE -I. "bench/audit/$name.c" \
        -o "$build/audit-$name" -Wl,--start-group \
        "$build/libaudit.a" "$build/libschema.a" "$build/liblib.a" \
        -Wl,--end-group $(pkg-config --libs libmicrohttpd libcurl openssl \
        sqlite3 jansson libconfig) -lpthread -lm
done
echo "== $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores; $entries entries"
echo "== writing and indexing at the same time"
"$build/audit-generate" "$folder" "$entries" index
du -sh "$folder/journal" "$folder/log" "$folder/index"
echo "== questions, warm"
"$build/audit-questions" "$folder" 100 >/dev/null
"$build/audit-questions" "$folder" 100
echo "== questions, the index out of the cache before each"
"$build/audit-questions" "$folder" 20 cold
echo "== verification of all of it"
start=$(date +%s.%N)
"$build/bailiff" -C "$folder" audit verify
echo "$(date +%s.%N) - $start" | bc | sed 's/$/ s/'
