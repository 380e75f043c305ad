#!/usr/bin/env bash
# Bailiff in front of a real llama-server.
#   tests/llama/run.sh BAILIFF [DIR]      DIR: see prepare.sh
set -u
bailiff=$(realpath "${1:?the program}")
cd "$(dirname "$0")" || exit 1
dir=$(realpath -m "${2:-../../build/llama}")
why=$(bash ./prepare.sh "$dir")
case $? in
0) ;;
3)
    echo "$why"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
    ;;
*)
    echo "$why"
    exit 1
    ;;
esac
export LLAMA_ROOT=$dir/root
# The SDK, Node and the harness are those of the other end-to-end tests.
bash ../e2e/run.sh "$bailiff" "" ../llama/llama.test.mjs ../llama/budget.test.mjs
