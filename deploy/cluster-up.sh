#!/usr/bin/env bash
# Starts three nodes, a load balancer, a node_exporter and a Prometheus that writes through the balancer. What runs already stays as it is.
set -euo pipefail
. "$(dirname "$0")/common.sh"
mkdir -p "$run_dir"

[ -x "$tern" ] || fail "$tern is not there: run 'make cluster', which builds it"

# Debian's servers are in /usr/sbin, which is not in every user's path.
PATH=$PATH:/usr/sbin
query_url=http://$balancer/api/v1/query
first_query='node_load1{job="node"}'

grpc_of() { echo "127.0.0.1:$((${1##*:} + 100))"; }

start_nodes() {
  local peers='' number
  for number in 1 2 3; do
    peers+=${peers:+,}$number=$(grpc_of "${nodes[number - 1]}")/${nodes[number - 1]}
  done
  for number in 1 2 3; do
    start "node$number" "${nodes[number - 1]}" \
      "$tern" server --data-dir "$run_dir/node$number" --http "${nodes[number - 1]}" --node-id "$number" --peers "$peers"
  done
}

start_balancer() {
  export TERN_BALANCER=$balancer TERN_NODE1=${nodes[0]} TERN_NODE2=${nodes[1]} TERN_NODE3=${nodes[2]}
  start haproxy "$balancer" haproxy -db -f "$project/deploy/haproxy.cfg"
}

start_prometheus() {
  start node_exporter "$node_exporter" prometheus-node-exporter --web.listen-address="$node_exporter" --log.level=error
  start prometheus "$prometheus" prometheus --config.file="$project/deploy/prometheus.yml" \
    --storage.tsdb.path="$run_dir/prometheus" --web.listen-address="$prometheus" --log.level=warn
}

answers() { curl -fsS --max-time 2 "http://$1/-/ready"; }

ask() { curl -fsS --max-time 5 --get "$query_url" --data-urlencode "query=$first_query"; }

has_samples() { ask | grep -q '"value":'; }

# wait_ready NAME ADDRESS
wait_ready() {
  wait_for "$1" 60 answers "$2" || fail "$1 is not ready after 60 s. Its log, $run_dir/$1.log, ends:
$(tail -n 15 "$run_dir/$1.log")"
}

say "Starting (files in $run_dir)"
start_nodes
for number in 1 2 3; do wait_ready "node$number" "${nodes[number - 1]}"; done
start_balancer
wait_ready haproxy "$balancer"
start_prometheus
wait_ready prometheus "$prometheus"
wait_for "the first samples from Prometheus" 60 has_samples ||
  fail "no samples came through the balancer. See $run_dir/prometheus.log and $run_dir/node1.log"

cat <<END

Tern      http://$balancer   (balancer; writes and queries)
nodes     ${nodes[*]/#/http://}
writing   Prometheus at http://$prometheus, node_exporter at http://$node_exporter

A first query:
  curl --get $query_url --data-urlencode 'query=$first_query'
  $(ask)

Stop with 'make cluster-down'; data stays in $run_dir until 'make clean-cluster'.
END
