//! Which faults, when: drawn from the seed.
//!
//! A run draws a subset of all faults, so that each seed has a character of its own. Each lane draws from the subset, one fault after the other; the
//! lanes overlap.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::kind::{Kind, Lane, Need};
use super::world::{Effect, World};
use super::{clock, disk, member, network, process};

/// How long faults last, and the pauses between those of a lane, in seconds.
const HOLD_SECONDS: std::ops::Range<f64> = 5.0..15.0;
const PAUSE_SECONDS: std::ops::Range<f64> = 1.0..6.0;
/// Faults of a subset, in each lane.
const SUBSET: [(Lane, usize); 3] = [(Lane::Node, 5), (Lane::Network, 4), (Lane::Mild, 2)];

/// A fault that was brought about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stroke {
    pub nemesis: String,
    pub begin_ns: u64,
    pub end_ns: u64,
    /// `seen`, `unproven`, `skipped` or `failed`.
    pub effect: String,
    pub note: String,
}

/// The faults that a run with this seed draws from.
pub fn subset(possible: &[Kind], seed: u64) -> Vec<Kind> {
    let mut dice = StdRng::seed_from_u64(seed ^ 7 << 40);
    let mut chosen = Vec::new();
    for (lane, count) in SUBSET {
        let mut kinds: Vec<Kind> = possible.iter().copied().filter(|kind| kind.lane() == lane).collect();
        for _ in 0..count.min(kinds.len()) {
            chosen.push(kinds.swap_remove(dice.random_range(0..kinds.len())));
        }
    }
    chosen
}

/// The faults that are possible with what a run has.
pub fn possible(images: bool, clocks: bool, previous: bool) -> Vec<Kind> {
    let can = |kind: &Kind| match kind.need() {
        Need::Nothing => true,
        Need::Images => images,
        Need::Clocks => clocks,
        Need::Previous => previous,
    };
    Kind::all().filter(can).collect()
}

/// Faults under way.
pub struct Swarm {
    lanes: Vec<JoinHandle<()>>,
    strokes: Arc<Mutex<Vec<Stroke>>>,
}

impl Swarm {
    /// Lets faults of `kinds` happen until [`World::end_faults`].
    pub fn start(world: &Arc<World>, kinds: &[Kind], seed: u64) -> Swarm {
        let strokes: Arc<Mutex<Vec<Stroke>>> = Arc::default();
        let lane = |(number, lane): (u64, Lane)| {
            let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| kind.lane() == lane).collect();
            let dice = StdRng::seed_from_u64(seed ^ (11 + number) << 40);
            tokio::spawn(run_lane(world.clone(), kinds, dice, strokes.clone()))
        };
        let lanes = [(0, Lane::Node), (1, Lane::Network), (2, Lane::Mild)].map(lane);
        Swarm { lanes: lanes.into(), strokes }
    }

    /// Waits until the faults under way are over, and tells what happened.
    pub async fn ended(self) -> Vec<Stroke> {
        for lane in self.lanes {
            if let Err(error) = lane.await {
                eprintln!("a lane of faults ended: {error}");
            }
        }
        std::mem::take(&mut *self.strokes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn run_lane(world: Arc<World>, kinds: Vec<Kind>, mut dice: StdRng, strokes: Arc<Mutex<Vec<Stroke>>>) {
    // Every kind once, in an order of its own, before chance alone decides: short runs see all of their subset.
    let mut first: Vec<Kind> = kinds.clone();
    while !kinds.is_empty() {
        world.hold(Duration::from_secs_f64(dice.random_range(PAUSE_SECONDS))).await;
        if world.is_over() {
            return;
        }
        let kind = match first.is_empty() {
            false => first.swap_remove(dice.random_range(0..first.len())),
            true => kinds[dice.random_range(0..kinds.len())],
        };
        let hold = Duration::from_secs_f64(dice.random_range(HOLD_SECONDS));
        let stroke = strike(&world, kind, &mut dice, hold).await;
        strokes.lock().unwrap_or_else(PoisonError::into_inner).push(stroke);
    }
}

/// Brings about one fault and tells what became of it.
pub async fn strike(world: &World, kind: Kind, dice: &mut StdRng, hold: Duration) -> Stroke {
    let (begin_ns, began) = (world.field.now_ns(), Instant::now());
    let result = bring_about(world, kind, dice, hold).await;
    let (effect, note) = match result {
        Ok(Effect::Seen(note)) => ("seen", note),
        Ok(Effect::Unproven(note)) => ("unproven", note),
        Ok(Effect::Skipped(note)) => ("skipped", note),
        Err(error) => ("failed", format!("{error:#}")),
    };
    println!("{:7.1} s  {kind} {effect} in {:.1} s: {note}", begin_ns as f64 / 1e9, began.elapsed().as_secs_f64());
    Stroke { nemesis: kind.name().to_owned(), begin_ns, end_ns: world.field.now_ns(), effect: effect.to_owned(), note }
}

async fn bring_about(world: &World, kind: Kind, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    match kind {
        Kind::KillLeader => process::kill_leader(world, dice, hold).await,
        Kind::KillMinority => process::kill_minority(world, dice, hold).await,
        Kind::KillMajority => process::kill_majority(world, dice, hold).await,
        Kind::KillAll => process::kill_all(world, hold).await,
        Kind::PauseLeader => process::pause_leader(world, dice, hold).await,
        Kind::PauseMinority => process::pause_minority(world, dice, hold).await,
        Kind::RollingRestart => process::rolling_restart(world).await,
        Kind::MemoryLimit => process::memory_limit(world, dice, hold).await,
        Kind::Upgrade => process::upgrade(world, hold).await,
        Kind::Partition(shape) => network::partition(world, shape, dice, hold).await,
        Kind::Flapping => network::flapping(world, dice, hold).await,
        Kind::ClientPartition => network::client_partition(world, dice, hold).await,
        Kind::Loss => network::loss(world, dice, hold).await,
        Kind::Jitter => network::late(world, dice, hold).await,
        Kind::SlowLink => network::slow_link(world, dice, hold).await,
        Kind::ClockJump => clock::jump(world, dice, hold).await,
        Kind::ClockDrift => clock::drift(world, dice, hold).await,
        Kind::Seal => clock::seal(world, dice).await,
        Kind::DiskFull => disk::full(world, dice, hold).await,
        Kind::SlowDisk => disk::slow(world, dice, hold).await,
        Kind::FsyncError => disk::fsync_error(world, dice, hold).await,
        Kind::PowerOne => disk::power_one(world, dice, hold).await,
        Kind::PowerAll => disk::power_all(world, hold).await,
        Kind::Damage(deed) => disk::damage(world, deed, dice).await,
        Kind::Replace => member::replace(world, dice).await,
        Kind::GrowShrink => member::grow_shrink(world, dice).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_seeds_differ() {
        let all = possible(true, true, true);
        assert_eq!(subset(&all, 1), subset(&all, 1));
        assert_ne!(subset(&all, 1), subset(&all, 2));
        assert_eq!(subset(&all, 1).len(), 11);
        let drawn: std::collections::BTreeSet<Kind> = (0..100).flat_map(|seed| subset(&all, seed)).collect();
        assert_eq!(drawn.len(), all.len(), "every fault comes up");
        assert!(possible(false, false, false).iter().all(|kind| kind.need() == Need::Nothing));
    }
}
