#!/usr/bin/env bash
# Stops what cluster-up.sh started, by pid files. With "clean" it removes the data too.
set -euo pipefail
. "$(dirname "$0")/common.sh"

say "Stopping"
# The nodes at the same time: each waits for the others to take its leaders over while they can.
for name in prometheus node_exporter haproxy; do stop "$name" 20; done
for number in 1 2 3; do stop "node$number" 20 & done
wait

if [ "${1:-}" = clean ]; then
  rm -rf "$run_dir"
  say "  $run_dir removed"
fi
