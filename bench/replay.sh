#!/usr/bin/env bash
# How long `policy replay` takes over N recorded requests (100,000), with an
# unchanged draft and with a known edit; then what a shadow costs a request. Makes the requests first, through a
# server and a demo engine, which is the longer part.
#   bench/replay.sh [BAILIFF] [N]
set -eu
cd "$(dirname "$0")/.."
bailiff=$(realpath "${1:-build/release/bailiff}")
wanted=${2:-100000}
mkdir -p build/bench
gcc -O2 -o build/bench/load bench/load.c -lssl -lcrypto -lm
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$dir"' EXIT
state=$dir/state
"$bailiff" init "$state" >/dev/null
sed -i 's/^ *listen *=.*//' "$state/bailiff.conf"
printf 'listen = [ "127.0.0.1:0" ];\nlog_level = "info";\n' >>"$state/bailiff.conf"
"$bailiff" demo-engine --port 0 --model tiny --model big >"$dir/engine.log" 2>&1 &
"$bailiff" serve "$state" 2>"$dir/serve.log" &
until grep -q ' ready ' "$dir/serve.log" && grep -q listening "$dir/engine.log"; do sleep 0.05; done
engine=$(sed -n 's/.*http:\/\/[^:]*:\([0-9]*\).*/\1/p' "$dir/engine.log" | head -1)
port=$(sed -n 's/.*listening address=127.0.0.1:\([0-9]*\).*/\1/p' "$dir/serve.log" | head -1)
b() { "$bailiff" -C "$state" "$@"; }
b engine add local "http://127.0.0.1:$engine" --kind demo >/dev/null
b model add tiny --engine local --approve >/dev/null
b model add big --engine local --approve >/dev/null
key=$(b onboard anna --team everyone --json | sed -n 's/.*"key": "\([^"]*\)".*/\1/p' | tail -1)
body() { printf '{"model":"%s","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}' "$1" "$2" >"$dir/$3"; }
body tiny "a short question" tiny.json
body big "a question" big.json
count() { b policy replay --json --samples 0 | sed -n 's/^ *"requests": \([0-9]*\).*/\1/p'; }
while [ "$(count)" -lt "$wanted" ]; do
    for one in tiny big; do
        build/bench/load --port "$port" --connections 64 --seconds 5 --header "Authorization: Bearer $key" \
            --path /v1/chat/completions --body "$dir/$one.json" >/dev/null
    done
done
b policy show --text >"$dir/same.cedar"
{ cat "$dir/same.cedar"; echo '@id("no-big") @title("t") forbid (principal, action in Action::"infer", resource == Model::"big");'; } >"$dir/edit.cedar"
echo "== $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
for draft in same edit; do
    start=$(date +%s.%N)
    b policy replay --draft "$dir/$draft.cedar" | head -1
    echo "$draft: $(echo "$(date +%s.%N) - $start" | bc) s"
done
version=$(b policy put "$dir/edit.cedar" --json | sed -n 's/^ *"version": \([0-9]*\).*/\1/p' | head -1)
b policy shadow start "$version" >/dev/null
build/bench/load --port "$port" --connections 64 --seconds 3 --header "Authorization: Bearer $key" \
    --path /v1/chat/completions --body "$dir/tiny.json" >/dev/null
b policy shadow status --json | grep -E '"(asked|skipped|costMicroseconds|same)"'
