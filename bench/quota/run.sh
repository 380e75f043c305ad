#!/usr/bin/env bash
# What reserve and settle cost in the ledger, alone and under contention.
#   bench/quota/run.sh [SECONDS]      of each case (2)
set -eu
cd "$(dirname "$0")/../.."
make -s build/release/bailiff
mkdir -p build/bench
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -o build/bench/ledger \
    bench/quota/ledger.c -Wl,--start-group build/release/libpolicy.a build/release/libschema.a \
    build/release/liblib.a -Wl,--end-group $(pkg-config --libs openssl sqlite3 libcurl libmicrohttpd) -lpthread -lm
build/bench/ledger "${1:-2}"
