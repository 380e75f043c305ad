#!/usr/bin/env bash
# Builds tests/cedar/driver.c against libcedar.a of a build directory:
#   tests/cedar/build.sh [BUILD]     (default build/release; SAN=address as
#   for make). Prints the path of the program.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build/release}
san=${SAN:-}
flags="-O2 -g"
if [ "$san" = address ]; then
    flags="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
fi
make --no-print-directory BUILD="$build" SAN="$san" "$build/libcedar.a" >&2
# shellcheck disable=SC2086
"${CC:-gcc}" -std=gnu11 $flags -D_GNU_SOURCE -I. -o "$build/cedar-driver" \
    tests/cedar/driver.c "$build/libcedar.a"
echo "$build/cedar-driver"
