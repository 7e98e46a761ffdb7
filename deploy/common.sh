# Shared by the scripts in this folder: names, ports, and starting and stopping processes by pid files. Sourced, not run.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
run_dir=${TERN_RUN_DIR:-$project/run}
target_dir=${CARGO_TARGET_DIR:-$project/target}
tern=$target_dir/release/tern

balancer=127.0.0.1:9200
nodes=(127.0.0.1:9201 127.0.0.1:9202 127.0.0.1:9203)
prometheus=127.0.0.1:9290
node_exporter=127.0.0.1:9291

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root or sudo: $*"
  fi
}

# The time a process was started, in kernel ticks: tells it from a later process with the same id.
start_ticks() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Whether the process of a pid file is alive. A zombie is not.
is_running() {
  local id ticks
  read -r id ticks 2>/dev/null <"$run_dir/$1.pid" || return 1
  [ "$(start_ticks "$id")" = "$ticks" ] && ! grep -q '^State:.Z' "/proc/$id/status" 2>/dev/null
}

# start NAME ADDRESS COMMAND…: in the background, output to NAME.log, unless it runs already. ADDRESS must be free.
start() {
  local name=$1 address=$2
  shift 2
  if is_running "$name"; then
    say "  $name runs already"
    return
  fi
  refuse_taken "$name" "$address"
  setsid "$@" </dev/null >>"$run_dir/$name.log" 2>&1 &
  local id=$!
  disown "$id"
  echo "$id $(start_ticks "$id")" >"$run_dir/$name.pid"
  say "  $name at $address (process $id)"
}

refuse_taken() {
  local name=$1 port=${2##*:} owner
  owner=$(ss -Hltnp "sport = :$port" | head -n 1)
  [ -z "$owner" ] || fail "port $port, which $name needs, is taken: $owner. Stop that process (or run 'make cluster-down' where it was started)."
}

# wait_for WHAT SECONDS COMMAND…: until the command succeeds; a dot every second.
wait_for() {
  local what=$1 seconds=$2 waited=0
  shift 2
  printf '  waiting for %s ' "$what"
  until "$@" >/dev/null 2>&1; do
    [ "$waited" -lt "$seconds" ] || {
      printf '\n'
      return 1
    }
    printf '.'
    sleep 1
    waited=$((waited + 1))
  done
  printf ' %s s\n' "$waited"
}

# Asks the process of a pid file to stop, then insists.
stop() {
  local name=$1 seconds=$2 id waited=0
  if is_running "$name"; then
    read -r id _ <"$run_dir/$name.pid"
    kill -TERM "$id"
    while is_running "$name" && [ "$waited" -lt $((seconds * 5)) ]; do
      sleep 0.2
      waited=$((waited + 1))
    done
    if is_running "$name"; then
      say "  $name did not stop within $seconds s: killed"
      kill -KILL "$id"
    else
      say "  $name stopped"
    fi
  fi
  rm -f "$run_dir/$name.pid"
}
