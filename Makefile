# What people and CI run. Everything builds with the release profile, so that RocksDB is compiled once.
SHELL := /bin/bash

# Always --workspace: for other selections cargo chooses other features of shared crates, and builds most of them again.

# rustup's place, for a Rust that was installed a moment ago.
export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# RocksDB is half an hour of C++; ccache makes it a minute the second time.
ifneq ($(shell command -v ccache),)
ifeq ($(origin CXX),default)
export CXX := ccache c++
endif
ifeq ($(origin CC),default)
export CC := ccache cc
endif
endif

.PHONY: help build install cluster cluster-down clean-cluster test verify bench acceptance fuzz jepsen jepsen-clean sim seeded-bugs cluster-netns cluster-netns-down

help:
	@echo 'make cluster        three nodes, a load balancer and a Prometheus that writes to them'
	@echo 'make cluster-down   stop them;  make clean-cluster  stop them and remove their data'
	@echo 'make test           all tests'
	@echo 'make verify         formatting, clippy, documentation, dependencies'
	@echo 'make bench          Tern, VictoriaMetrics and Prometheus side by side (BENCH_ARGUMENTS=…)'
	@echo 'make fuzz           every fuzz target for SECONDS=60'
	@echo 'make cluster-netns  three nodes in network namespaces to be partitioned by hand (jepsen/partition.sh); cluster-netns-down stops them'
	@echo 'make jepsen         a cluster hurt at random for MINUTES=10 and judged (SEED=, NODES=3|5, JEPSEN_ARGUMENTS=…); needs root'
	@echo 'make sim            SEEDS=1000 simulated clusters, from FIRST=0 on; SEED=7 repeats one and prints what happened'
	@echo 'make seeded-bugs    builds bugs in on purpose, one after the other, and shows which seed finds each'
	@echo 'make acceptance     ten minutes of Prometheus writing while nodes restart'

install:
	@deploy/install.sh

build:
	cargo build --release --locked --workspace --bin tern

cluster: install build
	@deploy/cluster-up.sh

cluster-down:
	@deploy/cluster-down.sh

clean-cluster:
	@deploy/cluster-down.sh clean

# Documentation first, so that the counts of the real tests are the last lines.
test:
	cargo test --release --workspace --locked --doc
	@if command -v cargo-nextest >/dev/null; then \
	  set -ex; cargo nextest run --release --workspace --locked; \
	else \
	  set -ex; cargo test --release --workspace --locked --lib --bins --tests; \
	fi

verify:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then set -x; cargo deny check bans licenses sources; \
	else echo 'cargo-deny is not installed, so dependencies were not checked (cargo install --locked cargo-deny)'; fi

bench:
	cargo build --release --locked --workspace --bin tern --bin tern-bench
	$(CARGO_TARGET_DIR)/release/tern-bench --tern $(CARGO_TARGET_DIR)/release/tern $(BENCH_ARGUMENTS)

# One line more in jepsen/ledger.jsonl. See jepsen/README.md.
MINUTES ?= 10
NODES ?= 3
jepsen: install
	@deploy/install.sh nftables iptables strace faketime
	cargo build --release --locked --workspace --bin tern --bin jepsen
	$(CARGO_TARGET_DIR)/release/jepsen run --tern $(CARGO_TARGET_DIR)/release/tern --minutes $(MINUTES) --nodes $(NODES) $(if $(SEED),--seed $(SEED)) $(JEPSEN_ARGUMENTS)

# In the background until cluster-netns-down. Needs root.
cluster-netns: install
	@deploy/install.sh nftables
	cargo build --release --locked --workspace --bin tern --bin jepsen
	@mkdir -p run
	@setsid $(CARGO_TARGET_DIR)/release/jepsen up --tern $(CARGO_TARGET_DIR)/release/tern --nodes $(NODES) >run/cluster-netns.log 2>&1 </dev/null &
	@for second in $$(seq 60); do [ ! -e run/cluster-netns.env ] || break; sleep 1; done; cat run/cluster-netns.log; test -e run/cluster-netns.env
	@echo 'Next: jepsen/partition.sh help; stop with make cluster-netns-down'

cluster-netns-down:
	@. run/cluster-netns.env && kill -TERM $$TERN_OWNER && while [ -e /proc/$$TERN_OWNER ]; do sleep 0.2; done

jepsen-clean:
	$(CARGO_TARGET_DIR)/release/jepsen clean

# tests/simulation: whole clusters on one thread, from a seed.
sim:
	SEED=$(SEED) SEEDS=$(SEEDS) FIRST=$(FIRST) cargo test --release --workspace --locked --test simulation -- --ignored --exact child::as_asked --nocapture

# The table is in jepsen/README.md.
seeded-bugs:
	cargo test --release --workspace --locked --features tern-raft/seeded-bugs --test simulation --no-run
	jepsen/seeded-bugs.sh

# Acceptance 4 of the first issue in full length; `make test` runs it shortened.
acceptance:
	TERN_ACCEPTANCE_SECONDS=600 cargo test --release --locked --workspace --test tests -- --nocapture prometheus_writes_while_nodes_restart

# Needs cargo-fuzz (cargo install cargo-fuzz). On stable, so without sanitizers; what was found in earlier runs is kept in fuzz/corpus.
# A query may take time and memory, the reading of 4096 bytes may not.
FUZZ_SECONDS := $(if $(SECONDS),$(SECONDS),60)
fuzz:
	set -e; for target in $$(cd fuzz && cargo fuzz list); do \
	  mkdir -p fuzz/corpus/$$target; \
	  case $$target in promql_*|partials_decode) limits='-timeout=20 -rss_limit_mb=4096';; *) limits='-timeout=5 -rss_limit_mb=512';; esac; \
	  (cd fuzz && CARGO_TARGET_DIR=target cargo fuzz run -s none $$target corpus/$$target seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) $$limits -max_len=4096); \
	done
