#!/usr/bin/env bash
# Partitions of a cluster in network namespaces (`make cluster-netns`), by hand. `partition.sh help` lists them.
#
# Every node drops what the others send with rules in a table of its own, `inet partition`, so `heal` is one deletion a node. A rule counts what
# it has dropped: `status` shows it.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=${TERN_NETNS_STATE:-$project/run/cluster-netns.env}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

usage() {
  cat <<'END'
usage: jepsen/partition.sh COMMAND
  majority         one node (two of five) is cut off; the leaders stay with the majority
  isolate-leader   the node that leads most groups is cut off
  isolate N        node N is cut off
  ring             every node hears only its two neighbours (of three nodes: two do not hear each other)
  bridge           two halves that do not hear each other, and one node that hears both
  one-way N        node N hears nobody; the others hear it
  client N         clients do not reach node N; the nodes reach each other
  flap N SECONDS   node N is cut off and let in again about twice a second
  loss PERCENT     so many of the packets between nodes are lost
  heal             ends all of this
  status           what is cut, what was dropped, and who leads
END
}

[ "${1:-help}" != help ] || { usage; exit 0; }
[ "$(id -u)" -eq 0 ] || fail "this needs root: run it with sudo"
[ -r "$state" ] || fail "no cluster: start one with 'make cluster-netns' ($state is not there)"
. "$state"

address() { echo "$TERN_NETWORK.$1"; }
in_node() { ip netns exec "tern-$TERN_RUN-n$1" "${@:2}"; }

# deny RECEIVER SENDER [CONDITION]: RECEIVER drops what SENDER sends.
deny() {
  in_node "$1" nft -f - <<END
add table inet partition
add chain inet partition in { type filter hook input priority -20; }
add rule inet partition in ip saddr $2 ${3:-} counter drop
END
}

# cut A B: no packet in either direction.
cut() {
  deny "$1" "$(address "$2")"
  deny "$2" "$(address "$1")"
}

heal() {
  local node
  for node in $TERN_NODES; do in_node "$node" nft delete table inet partition 2>/dev/null || true; done
}

cluster_status() { curl -fsS --max-time 2 "http://$(address "$1"):9201/api/v1/status/cluster"; }

# The node that leads most groups, as the first one that answers sees it.
leader() {
  local node text
  for node in $TERN_NODES; do
    text=$(cluster_status "$node" 2>/dev/null) || continue
    grep -o '"leader":[1-9][0-9]*' <<<"$text" | cut -d: -f2 | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }'
    return
  done
  fail "no node answers"
}

isolate() {
  local other
  for other in $TERN_NODES; do [ "$other" = "$1" ] || cut "$1" "$other"; done
}

majority() {
  local first minority=() rest=() node count
  first=$(leader)
  count=$(wc -w <<<"$TERN_NODES")
  for node in $TERN_NODES; do
    if [ "$node" != "$first" ] && [ ${#minority[@]} -lt $(((count - 1) / 2)) ]; then minority+=("$node"); else rest+=("$node"); fi
  done
  local one other
  for one in "${minority[@]}"; do for other in "${rest[@]}"; do cut "$one" "$other"; done; done
  echo "cut off: ${minority[*]}"
}

ring() {
  local nodes=($TERN_NODES) one other count apart
  count=${#nodes[@]}
  [ "$count" -gt 3 ] || { cut "${nodes[0]}" "${nodes[1]}"; return; }
  for ((one = 0; one < count; one++)); do
    for ((other = one + 1; other < count; other++)); do
      apart=$((other - one))
      if [ "$apart" -gt 1 ] && [ "$apart" -lt $((count - 1)) ]; then cut "${nodes[one]}" "${nodes[other]}"; fi
    done
  done
}

bridge() {
  local nodes=($TERN_NODES) middle one other
  middle=$((${#nodes[@]} / 2))
  for one in "${nodes[@]:0:middle}"; do for other in "${nodes[@]:middle + 1}"; do cut "$one" "$other"; done; done
  echo "between the halves: node ${nodes[middle]}"
}

flap() {
  local until=$((SECONDS + $2))
  trap heal EXIT
  while [ "$SECONDS" -lt "$until" ]; do
    isolate "$1"
    sleep "0.$((RANDOM % 6 + 2))"
    heal
    sleep "0.$((RANDOM % 6 + 2))"
  done
}

loss() {
  local one other
  for one in $TERN_NODES; do
    for other in $TERN_NODES; do
      [ "$one" = "$other" ] || deny "$one" "$(address "$other")" "numgen random mod 100 < $1"
    done
  done
}

status() {
  local node
  for node in $TERN_NODES; do
    echo "node $node ($(address "$node"):9201)"
    in_node "$node" nft list table inet partition 2>/dev/null | sed -n 's/^\s*ip saddr/  drops what comes from/p' || true
    cluster_status "$node" 2>/dev/null | grep -o '"group":[0-9]*\|"leader":[0-9a-z]*' | paste -sd' ' | sed 's/^/  /' || echo "  does not answer"
  done
}

need() { [ -n "${2:-}" ] || fail "$1: a number is missing; see 'partition.sh help'"; }

case $1 in
  majority) majority ;;
  isolate-leader) node=$(leader); isolate "$node"; echo "cut off: $node" ;;
  isolate) need "$@"; isolate "$2" ;;
  ring) ring ;;
  bridge) bridge ;;
  one-way) need "$@"; for other in $TERN_NODES; do [ "$other" = "$2" ] || deny "$2" "$(address "$other")"; done ;;
  client) need "$@"; deny "$2" "$(address 254)" ;;
  flap) need "$@"; flap "$2" "${3:-30}" ;;
  loss) need "$@"; loss "$2" ;;
  heal) heal ;;
  status) status ;;
  *) usage; exit 1 ;;
esac
