#!/usr/bin/env bash
# Runs the simulation with each bug on purpose until a seed finds it, and prints a table.
# Build first: make seeded-bugs does. SECONDS_MAX bounds each bug (600), FIRST is the first seed (0), arguments name the bugs (all).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
program=$(find "$target/release/deps" -name 'simulation-*' -executable -type f -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
bugs=("$@")
[ ${#bugs[@]} -gt 0 ] || bugs=(vote-not-synced ack-before-quorum ack-before-sync sync-error-ignored local-read-as-strong shortened-log-accepted
  dedupe-off batch-lost-at-leader-change snapshot-not-synced node-id-reused purge-before-marker follower-reads-early)
echo '| bug | seed | seconds | found by |'
echo '|---|---|---|---|'
missed=0
for bug in "${bugs[@]}"; do
  begun=$SECONDS
  seed=${FIRST:-0}
  while true; do
    if [ $((SECONDS - begun)) -ge "${SECONDS_MAX:-600}" ]; then
      echo "| $bug | none up to $seed | $((SECONDS - begun)) | **not found** |"
      missed=1
      break
    fi
    if ! found=$(TERN_SEEDED_BUG=$bug TERN_SIMULATION_CHILD=$seed timeout 300 "$program" --exact child::one_seed --nocapture 2>&1 >/dev/null); then
      reason=$(grep -am1 'VIOLATED\|PANICKED' <<<"$found" | cut -c1-160 || true)
      echo "| $bug | $seed | $((SECONDS - begun)) | ${reason:-it did not end} |"
      break
    fi
    seed=$((seed + 1))
  done
done
exit $missed
