#!/usr/bin/env bash
# Bailiff with everything on (API key, 100 Cedar policies, three quotas, durable
# audit log and index) beside HAProxy and nginx doing nothing but TLS, all
# before the same mock engine (nginx, a fixed 420-byte chat answer), one thread
# or worker each, on the same processors, in interleaved rounds. Ratios count;
# absolute figures are this machine's.
#
#   bench/gateway.sh [BAILIFF] [ROUNDS] [SECONDS]
#
# Needs the Debian packages haproxy, nginx, gcc and libssl-dev. Prints tables,
# and one JSON object a line into bench-results.jsonl where RESULTS names it.
set -eu
cd "$(dirname "$0")/.."
bailiff=$(realpath "${1:-build/release/bailiff}")
rounds=${2:-5} seconds=${3:-3}
results=${RESULTS:-/dev/null}
policies=${POLICIES:-100}
for tool in haproxy nginx gcc; do
    command -v $tool >/dev/null || { echo "bench: install the package $tool" >&2; exit 1; }
done
work=$(mktemp -d)
pids=()
finish() {
    [ -n "${SHOW:-}" ] && tail -n 3 "$work"/*.log "$work"/*.err >&2
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
gcc -O2 -o "$work/load" bench/load.c -lssl -lcrypto -lm
free_port() { # one that nobody listens on
    local port
    while port=$((20000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}
engine=$(free_port) haproxy=$(free_port) nginx=$(free_port) ours=$(free_port) demo=$(free_port)
haproxy_demo=$(free_port)

text=$(printf 'The harbour master keeps the book. %.0s' 1 2 3 4 5 6)
answer='{"id":"chatcmpl-0","object":"chat.completion","created":1700000000,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"'$text'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":40,"total_tokens":52}}'
cat >"$work/engine.conf" <<EOF
worker_processes 1; daemon off; error_log $work/engine.log; pid $work/engine.pid;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  server { listen 127.0.0.1:$engine backlog=4096;
    location / { default_type application/json; return 200 '$answer'; } } }
EOF
nginx -c "$work/engine.conf" 2>/dev/null & pids+=($!)
"$bailiff" demo-engine --port "$demo" --model streamed --token-delay-ms 5 >"$work/demo.log" 2>&1 & pids+=($!)

"$bailiff" init "$work/state" >/dev/null
sed -i '/^listen/d; /^workers/d' "$work/state/bailiff.conf"
printf 'listen = [ "127.0.0.1:%s" ];\nworkers = 1;\nmax_connections_per_address = 20000;\n' "$ours" >>"$work/state/bailiff.conf"
"$bailiff" check "$work/state" >"$work/check" 2>&1 || { cat "$work/check"; exit 1; }
"$bailiff" serve "$work/state" >"$work/serve.log" 2>&1 & served=$!; pids+=($served)
for _ in $(seq 100); do grep -q ' ready ' "$work/serve.log" && break; sleep 0.1; done
export BAILIFF_STATE=$work/state
{
    "$bailiff" engine add mock "http://127.0.0.1:$engine" --kind openai
    "$bailiff" engine add demo "http://127.0.0.1:$demo" --kind demo
    "$bailiff" model add tiny --engine mock --approve
    "$bailiff" model add streamed --engine demo --approve
    for i in $(seq "$policies"); do "$bailiff" team add "bench-$i"; done
    # Rules of other teams: found by the index of scopes, none of them matches.
    { "$bailiff" policy show | sed -n '/^@id/,$p'
      for i in $(seq "$policies"); do
          printf '\n@id("bench-%s")\n@title("Rule %s")\npermit (principal in Team::"bench-%s", action in Action::"infer", resource)\nwhen { context.input.tokens < %s };\n' "$i" "$i" "$i" "$((i * 100))"
      done; } >"$work/rules.cedar"
    "$bailiff" policy put "$work/rules.cedar" --note bench
    "$bailiff" policy activate 2
    "$bailiff" onboard alice --team everyone >"$work/alice"
    "$bailiff" quota set --caller alice --tokens-per-day 9000000000000
    "$bailiff" quota set --team everyone --requests-per-minute 1000000000
    "$bailiff" quota set --team everyone --tokens-per-month 9000000000000
} >"$work/set-up" 2>&1 || { cat "$work/set-up"; exit 1; }
key=$(grep -o 'blf_[A-Za-z0-9]*' "$work/alice" | head -n 1)

cat "$work/state/tls/server.pem" "$work/state/tls/server.key" >"$work/both.pem"
cat >"$work/haproxy.cfg" <<EOF
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend front
  bind 127.0.0.1:$haproxy ssl crt $work/both.pem
  default_backend back
frontend streams
  bind 127.0.0.1:$haproxy_demo ssl crt $work/both.pem
  default_backend demo
backend back
  http-reuse always
  server engine 127.0.0.1:$engine
backend demo
  http-reuse always
  server engine 127.0.0.1:$demo
EOF
haproxy -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 & proxied=$!; pids+=($proxied)
cat >"$work/nginx.conf" <<EOF
worker_processes 1; daemon off; error_log $work/nginx.log; pid $work/nginx.pid;
events { worker_connections 9000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  upstream engine { server 127.0.0.1:$engine; keepalive 512; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:$nginx ssl backlog=4096;
    ssl_certificate $work/both.pem; ssl_certificate_key $work/both.pem;
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
EOF
nginx -c "$work/nginx.conf" 2>"$work/nginx.err" & pids+=($!)
sleep 1; cat "$work/nginx.err" >&2

echo '{"model":"tiny","messages":[{"role":"system","content":"You are a helpful assistant in a harbour town library."},{"role":"user","content":"Who keeps the book of ships?"}],"max_tokens":64,"temperature":0.7}' >"$work/body"
echo '{"model":"streamed","messages":[{"role":"user","content":"The harbour"}],"max_tokens":64,"stream":true}' >"$work/stream"
load() { "$work/load" --seconds "$seconds" --header "Authorization: Bearer $key" "$@"; }
field() { grep -oE "\"$2\":[{]?[^,}]*" <<<"$1" | head -n 1 | sed -E 's/^"[^"]*"://'; }
inner() { grep -oE "\"$2\":[{][^}]*" <<<"$1" | grep -oE "\"$3\":[0-9]+" | sed -E 's/.*://'; }
note() { printf '{"what":"%s","peer":"%s","connections":%s,"result":%s}\n' "$1" "$2" "$3" "$4" >>"$results"; }
good() { # a run must not hold answers other than 200
    [ "$(field "$1" bad)" = 0 ] && [ "$(field "$1" errors)" = 0 ] ||
        echo "bench: answers other than 200, or broken connections: $1" >&2
}
median() { sort -n | awk '{ v[NR]=$1 } END { print v[int((NR+1)/2)] }'; }

echo "requests a second, closed loop; median of $rounds rounds of $seconds s, ratio to HAProxy [least-most]"
echo "connections     haproxy       nginx     bailiff  bailiff/haproxy    nginx/haproxy   p50us haproxy bailiff  p99us haproxy bailiff"
for connections in 1 32 256; do
    : >"$work/rows"
    for _ in $(seq "$rounds"); do
        h=$(load --port "$haproxy" --connections $connections --body "$work/body")
        n=$(load --port "$nginx" --connections $connections --body "$work/body")
        b=$(load --port "$ours" --connections $connections --body "$work/body")
        good "$h"; good "$n"; good "$b"
        note closed haproxy $connections "$h"; note closed nginx $connections "$n"; note closed bailiff $connections "$b"
        echo "$(field "$h" perSecond) $(field "$n" perSecond) $(field "$b" perSecond) $(inner "$h" latencyMicros p50) $(inner "$b" latencyMicros p50) $(inner "$h" latencyMicros p99) $(inner "$b" latencyMicros p99)" >>"$work/rows"
    done
    awk '{ printf "%.3f %.3f %s\n", $3/$1, $2/$1, $0 }' "$work/rows" | sort -n |
        awk -v c=$connections '{ r[NR]=$1; s[NR]=$2; l[NR]=$0 } END { m=int((NR+1)/2); split(l[m],f," ");
            printf "%11d %11d %11d %11d  %4.2f [%4.2f-%4.2f]  %15.2f   %13d %7d  %13d %7d\n", c, f[3], f[4], f[5], r[1+m-1], r[1], r[NR], f[2], f[6], f[7], f[8], f[9] }'
done

echo
echo "open loop at half of what Bailiff carries at 256 connections, latency from the instant a request was due (us)"
rate=$(grep '"what":"closed","peer":"bailiff","connections":256' "$results" 2>/dev/null | grep -oE '"perSecond":[0-9]+' | sed 's/.*://' | median || true)
[ -n "$rate" ] || rate=$(field "$b" perSecond)
rate=$(awk "BEGIN { print int($rate / 2) }")
for peer in haproxy bailiff; do
    port=$haproxy; [ $peer = bailiff ] && port=$ours
    r=$(load --port "$port" --connections 256 --rate "$rate" --body "$work/body"); good "$r"; note open $peer 256 "$r"
    echo "$peer at $rate/s: p50 $(inner "$r" latencyMicros p50)  p99 $(inner "$r" latencyMicros p99)  p99.9 $(inner "$r" latencyMicros p999)"
done

echo
echo "streams of 64 tokens from the demo engine, one every 5 ms, 64 at once"
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
for peer in haproxy bailiff; do
    port=$haproxy_demo process=$proxied; [ $peer = bailiff ] && port=$ours process=$served
    before=$(ticks "$process")
    r=$(load --port "$port" --connections 64 --stream --body "$work/stream"); good "$r"; note streams $peer 64 "$r"
    after=$(ticks "$process")
    echo "$peer: $(field "$r" perSecond) streams/s, $(field "$r" piecesPerSecond) pieces/s, gap p50 $(inner "$r" gapMicros p50) us p99 $(inner "$r" gapMicros p99) us, CPU of the proxy $(awk "BEGIN { printf \"%.1f\", ($after - $before) * 10000 / ($(field "$r" answers) * 64) }") us per token"
done

echo
echo "new TLS connections a second, 32 at once"
for peer in haproxy bailiff; do
    port=$haproxy; [ $peer = bailiff ] && port=$ours
    full=$("$work/load" --port "$port" --handshakes --connections 32 --seconds "$seconds")
    again=$("$work/load" --port "$port" --handshakes --resume --connections 32 --seconds "$seconds")
    note handshakes $peer 32 "$full"; note resumed $peer 32 "$again"
    echo "$peer: full $(field "$full" handshakesPerSecond), resumed $(field "$again" handshakesPerSecond)"
done

echo
echo "idle TLS connections: resident memory of the proxy"
resident() { awk '/VmRSS/ { print $2 }' "/proc/$1/status"; }
for peer in haproxy bailiff; do
    port=$haproxy process=$proxied; [ $peer = bailiff ] && port=$ours process=$served
    before=$(resident "$process")
    "$work/load" --port "$port" --idle 8000 --seconds 20 >"$work/idle" & holder=$!
    sleep 18; after=$(resident "$process"); wait $holder
    held=$(field "$(cat "$work/idle")" idle)
    echo "$peer: $held held, $(awk "BEGIN { printf \"%.1f\", ($after - $before) / ($held ? $held : 1) }") KiB each"
    note idle $peer "$held" "$(cat "$work/idle")"
done
echo
"$bailiff" status --json | grep -oE '"(entries|syncs|indexed|published)": ?[0-9]+' | sort -u | tr '\n' ' '
echo
