#!/usr/bin/env bash
# End-to-end tests: the real program, its own engine, the real SDKs.
#   tests/e2e/run.sh BAILIFF
set -u
bailiff=$(realpath "${1:?the program}")
cd "$(dirname "$0")" || exit 1
export BAILIFF=$bailiff
major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
if [ "${major:-0}" -lt 20 ]; then
    command -v npm >/dev/null || bash ../install-packages.sh npm
    npm install --silent --no-audit --no-fund --no-save node@22 >/dev/null 2>&1
    PATH=$PWD/node_modules/.bin:$PATH
fi
command -v npm >/dev/null || bash ../install-packages.sh npm
[ -d node_modules/openai ] && [ -d node_modules/ajv ] && [ -d node_modules/yaml ] ||
    npm install --silent --no-audit --no-fund --no-package-lock || exit 1
output=$(mktemp)
node --test --test-reporter=tap ./*.test.mjs >"$output" 2>&1
status=$?
count() { grep -E "^# $1 [0-9]+" "$output" | tail -n 1 | grep -oE '[0-9]+'; }
passed=$(count pass) failed=$(count fail) skipped=$(count skipped)
if [ $status -ne 0 ]; then grep -vE '^ *(duration_ms|type:|\.\.\.|---)' "$output" | head -200; fi
rm -f "$output"
echo "${passed:-0} passed, ${failed:-1} failed, ${skipped:-0} skipped"
exit $status
