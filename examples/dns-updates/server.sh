#!/bin/sh
# What the company's administrator does, on the internet of the lab: sh server.sh SECRETS.
# Nothing of weft is in it: BIND 9 with a key that may update and read three zones.
set -eu
secret=$(cat "$1/dns.key")
run=/run/names
mkdir -p $run
allow='allow-update { key weft; }; allow-transfer { key weft; };'
cat >$run/named.conf <<EOF
options {
  directory "$run"; pid-file none; session-keyfile none; recursion no; dnssec-validation no; empty-zones-enable no;
  listen-on { 198.51.100.6; }; listen-on-v6 { none; };
};
controls { };
key weft { algorithm hmac-sha256; secret "$secret"; };
zone corp.example.net { type primary; file "forward"; $allow };
zone 10.64.100.in-addr.arpa { type primary; file "reverse"; $allow };
zone 0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa { type primary; file "reverse6"; $allow };
EOF
for zone in forward reverse reverse6; do
  [ -e $run/$zone ] || cat >$run/$zone <<'EOF'
$TTL 300
@ IN SOA ns1.corp.example.net. root.corp.example.net. 1 3600 600 86400 60
@ IN NS ns1.corp.example.net.
EOF
done
grep -q ^ns1 $run/forward || cat >>$run/forward <<'EOF'
ns1 IN A 198.51.100.6
www IN A 192.0.2.80
taken.web IN A 192.0.2.81
EOF
setsid named -g -n 1 -c $run/named.conf >>$run/log 2>&1 </dev/null &
echo $! >$run/pid
tries=0
until dig +short +tries=1 +time=1 @198.51.100.6 ns1.corp.example.net >/dev/null; do
  kill -0 $!
  tries=$((tries + 1))
  [ $tries -lt 100 ]
  sleep 0.1
done
