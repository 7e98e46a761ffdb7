//! Deterministic simulation: whole clusters on one thread, with a clock, a network and disks that obey a seed.
//!
//! What runs is the real thing, from `Node` down: openraft, the log store and its writer, state machines, shards, the meta
//! group and its controller, tonic's codecs and services. Simulated is what lies below: the transport of HTTP/2
//! ([`network`]), the disks under the databases (`storage::MemoryDisk`), threads and processes ([`host`]), randomness.
//!
//! A seed draws its plan ([`plan`]), founds a cluster ([`cluster`]), lets clients write and read ([`client`], [`oracle`]) while
//! a [`nemesis`] does harm and [`invariants`] look on; then there is peace, and everything must come back to life.
//!
//! Each seed runs in a process of its own, because tokio counts runtimes in a process for its random choices.
//! `make sim SEED=7` repeats one and prints what happened; `make sim SEEDS=10000` runs many.

extern crate tern_raft as raft;

mod randomness;
mod trace;
mod plan;
mod network;
mod host;
mod machine;
mod reachable;
mod oracle;
mod register;
mod client;
mod invariants;
mod cluster;
mod nemesis;
mod run;
mod child;

use std::ops::Range;

use child::run_in_child;

/// Seeds of each test here.
const SEEDS_EACH: u64 = 50;

fn all_hold(seeds: Range<u64>) {
    let failed: Vec<String> = seeds.filter_map(|seed| run_in_child(seed).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Ten tests, so that they can run beside each other.
macro_rules! batches {
    ($($name:ident $number:expr;)*) => {
        $(#[test]
        fn $name() {
            all_hold($number * SEEDS_EACH..($number + 1) * SEEDS_EACH);
        })*
    };
}

batches! {
    seeds_0 0; seeds_1 1; seeds_2 2; seeds_3 3; seeds_4 4; seeds_5 5; seeds_6 6; seeds_7 7; seeds_8 8; seeds_9 9;
}

/// What makes all the rest worth anything: a failure can be repeated.
#[test]
fn the_same_seed_writes_the_same_trace() {
    for seed in [1, 7, 23, 1_000_003] {
        let (first, second) = (run_in_child(seed), run_in_child(seed));
        assert!(first == second, "seed {seed} took two ways; compare `make sim SEED={seed}` with itself");
        let other = run_in_child(seed + 1);
        assert!(first != other, "seeds {seed} and {} took the same way", seed + 1);
    }
}
