#!/usr/bin/env bash
# Installs what is missing from Debian 12, and Rust when there is none that is new enough. Arguments: further packages.
# Debian starts and enables servers that it installs; that is prevented, since Tern's scripts start their own copies.
set -euo pipefail
. "$(dirname "$0")/common.sh"

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n 1)
packages=(build-essential clang libclang-dev pkg-config curl ca-certificates iproute2 procps haproxy prometheus prometheus-node-exporter "$@")

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# Packages whose servers were there before are left as they are.
install_packages() {
  local package missing=()
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d own_policy=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    own_policy=yes
  fi
  as_root apt-get update || say "apt-get update failed; trying with the lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" || {
    [ -z "$own_policy" ] || as_root rm -f "$policy"
    fail "apt-get could not install ${missing[*]}; its reason is above"
  }
  [ -z "$own_policy" ] || as_root rm -f "$policy"
  for package in "${missing[@]}"; do
    [ ! -e "/etc/init.d/$package" ] || as_root update-rc.d "$package" disable >/dev/null 2>&1 || true
  done
}

rust_is_new_enough() {
  command -v cargo >/dev/null || return 1
  local have
  have=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$rust_needed" "$have" | sort -V | head -n 1)" = "$rust_needed" ]
}

install_rust() {
  rust_is_new_enough && return 0
  say "Installing Rust $rust_needed (Debian's is older)"
  if command -v rustup >/dev/null; then
    rustup toolchain install "$rust_needed" --profile minimal --component clippy --component rustfmt
    rustup default "$rust_needed"
  else
    local installer
    installer=$(mktemp -d)/rustup-init
    curl -fsS -o "$installer" "https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init" ||
      fail "rustup could not be downloaded; install Rust $rust_needed or newer by hand, see https://rustup.rs"
    chmod +x "$installer"
    "$installer" -y --no-modify-path --profile minimal --component clippy --component rustfmt --default-toolchain "$rust_needed"
    rm -r "$(dirname "$installer")"
  fi
  PATH=$HOME/.cargo/bin:$PATH
  rust_is_new_enough || fail "Rust $rust_needed or newer is needed; see https://rustup.rs"
}

install_packages
install_rust
