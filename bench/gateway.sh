#!/usr/bin/env bash
# Bailiff with everything on (API key, Cedar, three quotas, durable audit log)
# beside HAProxy doing nothing but TLS, both before the same mock engine
# (nginx, a fixed 420-byte chat answer), one thread or worker each, in
# interleaved rounds on this machine. Ratios count; absolute figures do not.
#
#   bench/gateway.sh [BAILIFF] [ROUNDS] [SECONDS]
#
# Needs the Debian packages haproxy, nginx and wrk.
set -eu
cd "$(dirname "$0")/.."
bailiff=$(realpath "${1:-build/release/bailiff}")
rounds=${2:-5} seconds=${3:-4}
for tool in haproxy nginx wrk; do
    command -v $tool >/dev/null || { echo "bench: install the package $tool" >&2; exit 1; }
done
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
engine=$(free_port) haproxy=$(free_port) ours=$(free_port)

text=$(printf 'The harbour master keeps the book. %.0s' 1 2 3 4 5 6)
answer='{"id":"chatcmpl-0","object":"chat.completion","created":1700000000,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"'$text'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":40,"total_tokens":52}}'
cat >"$work/nginx.conf" <<EOF
worker_processes 1; daemon off; error_log $work/nginx.log; pid $work/nginx.pid;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  server { listen 127.0.0.1:$engine backlog=4096;
    location / { default_type application/json; return 200 '$answer'; } } }
EOF
nginx -c "$work/nginx.conf" & pids+=($!)

"$bailiff" init "$work/state" >/dev/null
sed -i '/^listen/d; /^workers/d' "$work/state/bailiff.conf"
printf 'listen = [ "127.0.0.1:%s" ];\nworkers = 1;\n' "$ours" >>"$work/state/bailiff.conf"
"$bailiff" serve "$work/state" >"$work/serve.log" 2>&1 & pids+=($!)
for _ in $(seq 100); do grep -q ' ready ' "$work/serve.log" && break; sleep 0.1; done
export BAILIFF_STATE=$work/state
"$bailiff" engine add local "http://127.0.0.1:$engine" --kind openai >/dev/null
"$bailiff" model add tiny --engine local --approve >/dev/null
key=$("$bailiff" onboard alice --team everyone | grep -o 'blf_[A-Za-z0-9]*' | head -n 1)
"$bailiff" quota set --caller alice --tokens-per-day 9000000000000 >/dev/null
"$bailiff" quota set --team everyone --requests-per-minute 1000000000 >/dev/null
"$bailiff" quota set --team everyone --tokens-per-month 9000000000000 >/dev/null

cat "$work/state/tls/server.pem" "$work/state/tls/server.key" >"$work/both.pem"
cat >"$work/haproxy.cfg" <<EOF
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend front
  bind 127.0.0.1:$haproxy ssl crt $work/both.pem
  default_backend back
backend back
  http-reuse always
  server engine 127.0.0.1:$engine
EOF
haproxy -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 & pids+=($!)
sleep 1
cat >"$work/post.lua" <<EOF
wrk.method = "POST"
wrk.body = '{"model":"tiny","messages":[{"role":"system","content":"You are a helpful assistant in a harbour town library."},{"role":"user","content":"Who keeps the book of ships?"}],"max_tokens":64,"temperature":0.7}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer $key"
EOF
measure() { # port connections -> "rps p50us bad"
    wrk -t1 -c"$2" -d"${seconds}s" --latency -s "$work/post.lua" "https://127.0.0.1:$1/v1/chat/completions" |
        awk '/^ *50%/ { v=$2; u=v; sub(/[0-9.]+/,"",u); sub(/[a-z]+/,"",v); p=v*(u=="ms"?1000:u=="s"?1000000:1) }
             /Requests\/sec/ { r=$2 } /Non-2xx/ { b=$NF } END { printf "%d %d %d\n", r, p, b+0 }'
}
echo "connections  haproxy-rps  bailiff-rps  ratio  haproxy-p50us  bailiff-p50us"
for connections in 1 32 256; do
    for _ in $(seq "$rounds"); do
        read -r hr hp hb < <(measure "$haproxy" $connections)
        read -r br bp bb < <(measure "$ours" $connections)
        [ "$hb" -eq 0 ] && [ "$bb" -eq 0 ] || echo "bench: answers other than 2xx: haproxy $hb, bailiff $bb" >&2
        echo "$connections $hr $br $(awk "BEGIN { printf \"%.2f\", $br/$hr }") $hp $bp"
    done | sort -k4,4n | awk '{ line[NR]=$0; r[NR]=$4 } END { m=int((NR+1)/2); split(line[m],f," ");
        printf "%11d  %11d  %11d  %5.2f [%.2f-%.2f]  %8d  %8d\n", f[1], f[2], f[3], f[4], r[1], r[NR], f[5], f[6] }'
done
"$bailiff" status --json | grep -oE '"(entries|syncs)": ?[0-9]+' || true
