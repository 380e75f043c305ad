#!/usr/bin/env bash
# `make run`: makes or reuses ./demo-state, starts an engine and the proxy, shows
# real calls through TLS and the record of them, then keeps serving until
# Ctrl-C. With CI set it stops after the tour; non-zero if a step went otherwise.
#
#   scripts/tour.sh [BAILIFF]
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
bailiff=$(realpath "${1:-build/release/bailiff}")
state=$PWD/demo-state
log=$state/demo-log
pids=()
wrong=0

finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    [ -n "${copy:-}" ] && rm -rf "$copy"
    exit "${1:-$wrong}"
}
trap 'finish 0' INT TERM
trap 'finish' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { echo "tour: $*" >&2; wrong=1; finish 1; }
expect() { # what was expected, what came
    if [ "$1" = "$2" ]; then echo "   -> $2, as it should be"; else
        echo "   -> $2, BUT $1 WAS EXPECTED"; wrong=1; fi
}
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # the usual one, or the next that is free
    local port=$1
    while ! port_is_free "$port"; do port=$((port + 1)); done
    echo "$port"
}
run() { "$bailiff" -C "$state" "$@"; }

command -v curl >/dev/null || bash tests/install-packages.sh curl ca-certificates

say "1. The state directory"
if [ ! -f "$state/control.db" ]; then
    # The token stays in a file here so that the tour can act as you.
    "$bailiff" init "$state" --admin you --write-token "$PWD/demo-admin.token" |
        sed 's/^/   /' || die "init failed"
    mv "$PWD/demo-admin.token" "$state/admin.token"
    fresh=yes
else
    echo "   $state is there already and is used again"
    fresh=
fi
if [ -f "$state/admin.token" ]; then
    BAILIFF_ADMIN_TOKEN=$(cat "$state/admin.token")
    export BAILIFF_ADMIN_TOKEN
fi
mkdir -p "$log"
https=$(free_port 8443)
engine_port=$(free_port 8089)
sed -i -E '/^[[:space:]]*listen[[:space:]]*=/d' "$state/bailiff.conf"
echo "listen = [ \"127.0.0.1:$https\", \"[::1]:$https\" ];" >>"$state/bailiff.conf"

say "2. An engine (a small n-gram model in a process of its own) and the proxy"
"$bailiff" demo-engine --port "$engine_port" --model tiny --model big >"$log/engine.log" 2>&1 &
pids+=($!)
"$bailiff" serve "$state" >"$log/serve.log" 2>&1 &
pids+=($!)
for _ in $(seq 150); do grep -q ' ready ' "$log/serve.log" && break; sleep 0.1; done
grep -q ' ready ' "$log/serve.log" || { cat "$log/serve.log"; die "the proxy did not start"; }
if [ -n "$fresh" ]; then
    run engine add local "http://127.0.0.1:$engine_port" --kind demo | sed 's/^/   /'
    run model add tiny --engine local --approve | sed 's/^/   /'
    run model add big --engine local --approve | sed 's/^/   /'
    run model alias tiny gpt-4o-mini | sed 's/^/   /'
    run model group join large big | sed 's/^/   /'
else
    run engine change local --url "http://127.0.0.1:$engine_port" | sed 's/^/   /' ||
        die "the engine of demo-state cannot be changed; remove ./demo-state and try again"
fi
tag=$(date +%s)
alice=$(run onboard "alice-$tag" --team everyone | grep -o 'blf_[A-Za-z0-9]*' | head -n 1)
ivy=$(run onboard "ivy-$tag" --team interns | grep -o 'blf_[A-Za-z0-9]*' | head -n 1)
[ -n "$alice" ] && [ -n "$ivy" ] || die "no key was issued"
echo "   alice-$tag (team everyone) and ivy-$tag (team interns) have API keys"

base=https://localhost:$https/v1
call() { # key, body -> status; the answer in $log/answer
    curl -s --max-time 30 --cacert "$state/tls/ca.pem" -o "$log/answer" -w '%{http_code}' \
        "$base/chat/completions" -H "Authorization: Bearer $1" \
        -H 'Content-Type: application/json' -d "$2"
}
chat() { printf '{"model":"%s","messages":[{"role":"user","content":"%s"}],"max_tokens":%s%s}' "$1" "$2" "${3:-24}" "${4:-}"; }
generated() { curl -s "http://127.0.0.1:$engine_port/counters" | grep -oE '"requests":[0-9]+' | head -n 1; }
for _ in $(seq 50); do run status | grep -qE '^local +up' && break; sleep 0.1; done

say "3. A permitted call: alice asks tiny (by its alias gpt-4o-mini)"
status=$(call "$alice" "$(chat gpt-4o-mini 'The harbour')")
grep -o '"content":"[^"]*"' "$log/answer" | sed 's/^/   /'
expect 200 "$status"

say "4. A streamed one"
curl -sN --max-time 30 --cacert "$state/tls/ca.pem" "$base/chat/completions" \
    -H "Authorization: Bearer $alice" -H 'Content-Type: application/json' \
    -d "$(chat tiny 'The librarian' 8 ',"stream":true')" >"$log/stream"
grep -o '"content":"[^"]*"' "$log/stream" | tr '\n' ' ' | sed 's/^/   /'
expect "data: [DONE]" "$(grep -E '^data: \[DONE\]' "$log/stream")"

say "5. A denial by rule: the intern ivy asks the large model"
before=$(generated)
status=$(call "$ivy" "$(chat big 'The harbour')")
grep -o '"message":"[^"]*"' "$log/answer" | sed 's/^/   /'
expect 403 "$status"
echo "   The engine's own counter stood still:"
expect "$before" "$(generated)"

say "6. The same call after the rule was changed, live"
# The rule about interns and large models is taken out; rules are paragraphs.
run policy show | sed -n '/^@id/,$p' |
    awk 'BEGIN { RS = ""; ORS = "\n\n" } !/ModelGroup::"large"/' >"$log/rules.cedar"
run policy put "$log/rules.cedar" --note "interns may use the large models" | sed 's/^/   /'
version=$(run policy list --json | grep -oE '"version": ?[0-9]+' | grep -oE '[0-9]+' | sort -n | tail -n 1)
run policy activate "$version" | sed 's/^/   /'
status=$(call "$ivy" "$(chat big 'The harbour')")
grep -o '"content":"[^"]*"' "$log/answer" | sed 's/^/   /'
expect 200 "$status"
run policy rollback | sed 's/^/   /'

say "7. A denial by quota: alice gets 50 tokens a day"
run quota set --caller "alice-$tag" --tokens-per-day 50 | sed 's/^/   /'
status=$(call "$alice" "$(chat tiny 'The ferry' 500)")
grep -o '"message":"[^"]*"' "$log/answer" | sed 's/^/   /'
expect 429 "$status"
run quota remove "$(run quota list --json | grep -oE 'quo_[A-Za-z0-9]+' | tail -n 1)" >/dev/null

say "8. What is on record"
run audit query --limit 6 2>/dev/null | sed 's/^/   /' || wrong=1
echo
echo "   The denial of step 5, in words:"
denied=$(run audit query --decision deny --caller "ivy-$tag" --limit 1 --json |
    grep -oE '"id": ?"[0-9A-Z]{26}"' | grep -oE '[0-9A-Z]{26}')
run audit show "${denied:-missing}" | head -n 1 | fold -s -w 100 | sed 's/^/   /' || wrong=1
echo
run audit checkpoint >"$log/checkpoint" || wrong=1
echo "   Is the log whole, compared with a checkpoint that was kept outside of it?"
if ! run audit verify --against "$log/checkpoint" | sed 's/^/   /'; then
    echo "   VERIFY FAILED"
    wrong=1
fi

say "9. One byte of a COPY is changed, and found"
copy=$(mktemp -d)
mkdir "$copy/state"
(cd "$state" && tar cf - --exclude=admin.sock --exclude=demo-log .) | tar xf - -C "$copy/state"
segment=$(ls "$copy"/state/journal/segments/* | head -n 1)
place=$(grep -abo 'request.admitted' "$segment" | head -n 1 | cut -d: -f1)
printf 'X' | dd of="$segment" bs=1 seek="$place" conv=notrunc status=none
if "$bailiff" -C "$copy/state" audit verify >"$log/tampered" 2>&1; then
    echo "   IT WAS NOT FOUND"
    wrong=1
fi
sed 's/^/   /' "$log/tampered"

cat >"$state/client.env" <<EOF
export OPENAI_BASE_URL=$base
export OPENAI_API_KEY=$alice
export SSL_CERT_FILE=$state/tls/ca.pem
export NODE_EXTRA_CA_CERTS=$state/tls/ca.pem
EOF
say "Try it yourself"
cat <<EOF
   . demo-state/client.env
   curl --cacert \$SSL_CERT_FILE \$OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer \$OPENAI_API_KEY" \\
        -H 'Content-Type: application/json' -d '{"model":"tiny","messages":[{"role":"user","content":"The harbour"}]}'
   python3 -c 'from openai import OpenAI; print(OpenAI().chat.completions.create(model="tiny", messages=[{"role":"user","content":"The harbour"}]).choices[0].message.content)'
   node -e 'const {OpenAI}=require("openai"); new OpenAI().chat.completions.create({model:"tiny",messages:[{role:"user",content:"The harbour"}]}).then(r=>console.log(r.choices[0].message.content))'
   $(realpath --relative-to=. "$bailiff") -C demo-state audit query
EOF
if [ -n "${CI:-}" ]; then
    [ "$wrong" -eq 0 ] && echo "The tour went as it should." || echo "The tour went otherwise in a step above."
    finish "$wrong"
fi
say "Serving on $base until Ctrl-C"
wait "${pids[1]}"
