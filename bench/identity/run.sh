#!/usr/bin/env bash
# What identification costs on the hot path: a key among 200,000, and a signed
# token that was verified before. docs/performance.md has the figures.
#   bench/identity/run.sh [SECONDS]      of each case (1)
set -eu
cd "$(dirname "$0")/../.."
make -s build/release/bailiff
mkdir -p build/bench
archives=(build/release/lib*.a)
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -o build/bench/identify \
    bench/identity/identify.c -Wl,--start-group "${archives[@]}" -Wl,--end-group \
    $(pkg-config --libs openssl sqlite3 libcurl libmicrohttpd jansson libconfig) -lpthread -lm
build/bench/identify "${1:-1}"
