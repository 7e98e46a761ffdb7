//! How long writes stop: measured by a client that begins a write every few milliseconds, at a node that is not hurt.
//!
//! Every write touches all shards, so the slowest shard counts. An outage is the longest time between two acknowledgements from shortly before the deed
//! until writes flow again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::cluster::{Cluster, Ground};
use crate::leftovers::Claim;
use crate::nemesis::member::wait_caught_up;
use crate::nemesis::process::wait_ready;
use crate::nemesis::world::World;
use crate::network::filter;
use crate::network::lan::Lan;
use crate::network::shape::Shape;
use crate::shell;
use crate::wait;
use crate::workload::field::Field;

/// Distance between the beginnings of two writes.
const PERIOD: Duration = Duration::from_millis(5);
/// Series in each write: enough to touch every shard.
const SERIES: u32 = 24;
/// Writes flow before the deed for this long.
const BEFORE: Duration = Duration::from_millis(300);
/// ... and after it, once they flow again.
const AFTER: Duration = Duration::from_millis(300);
const OUTAGE_LIMIT: Duration = Duration::from_secs(20);
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How long a node is cut off.
const CUT_OFF: Duration = Duration::from_secs(8);
/// Within this time after the cut another leader must be there; what fails earlier is the failover, not the minority.
const FAILOVER_WINDOW: Duration = Duration::from_secs(3);

/// One write, in time since the probe began.
#[derive(Clone, Copy, Debug)]
struct Shot {
    begun: Duration,
    ended: Duration,
    good: bool,
}

/// A client that writes without waiting for its answers.
struct Probe {
    began: Instant,
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    shots: mpsc::UnboundedReceiver<Shot>,
    task: JoinHandle<()>,
}

impl Probe {
    fn start(client: Client) -> Probe {
        let (began, stop, good) = (Instant::now(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (sender, shots) = mpsc::unbounded_channel();
        let (stopped, counted) = (stop.clone(), good.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            for serial in 0_u64.. {
                ticks.tick().await;
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (client, sender, counted) = (client.clone(), sender.clone(), counted.clone());
                tokio::spawn(async move {
                    let begun = began.elapsed();
                    let good = client.ingest(&body(serial)).await.is_ok_and(|answer| answer.status == 204);
                    counted.fetch_add(u64::from(good), Ordering::Relaxed);
                    let _ = sender.send(Shot { begun, ended: began.elapsed(), good });
                });
            }
        });
        Probe { began, stop, good, shots, task }
    }

    /// Waits until so many more writes were acknowledged.
    async fn wait_good(&self, count: u64) -> anyhow::Result<()> {
        let goal = self.good.load(Ordering::Relaxed) + count;
        wait::until("writes to be acknowledged", OUTAGE_LIMIT, || async {
            if self.good.load(Ordering::Relaxed) >= goal { Ok(()) } else { Err("none".to_owned()) }
        })
        .await?;
        Ok(())
    }

    /// Stops, waits for all answers, and returns the shots in the order of their ends.
    async fn finish(mut self) -> Vec<Shot> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.task.await;
        let mut shots = Vec::new();
        while let Some(shot) = self.shots.recv().await {
            shots.push(shot);
        }
        shots.sort_by_key(|shot| shot.ended);
        shots
    }
}

fn body(serial: u64) -> Value {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let labels = |index: u32| json!({"index": index.to_string()});
    (0..SERIES).map(|index| json!({"name": "jepsen_probe", "labels": labels(index), "timestamp": now_ms, "value": serial})).collect()
}

/// The longest time without an acknowledgement that reaches beyond `from`.
fn outage(shots: &[Shot], from: Duration) -> Duration {
    let good: Vec<Duration> = shots.iter().filter(|shot| shot.good).map(|shot| shot.ended).collect();
    good.windows(2).filter(|pair| pair[1] > from).map(|pair| pair[1] - pair[0]).max().unwrap_or(OUTAGE_LIMIT)
}

/// Measured outages of one deed, and writes that were not acknowledged.
#[derive(Default)]
struct Series {
    outages: Vec<Duration>,
    writes: usize,
    failed: usize,
}

impl Series {
    fn add(&mut self, shots: &[Shot], from: Duration) {
        self.outages.push(outage(shots, from));
        self.writes += shots.len();
        self.failed += shots.iter().filter(|shot| !shot.good).count();
    }

    fn row(&mut self, name: &str) -> String {
        self.outages.sort_unstable();
        let at = |share: f64| {
            self.outages.get(((self.outages.len() as f64 * share).ceil() as usize).max(1) - 1).map_or(0.0, Duration::as_secs_f64)
        };
        let (count, p50, p99, most) = (self.outages.len(), at(0.5), at(0.99), at(1.0));
        format!("{name:<18} {count:>5} {p50:>8.3} {p99:>8.3} {most:>8.3} {:>8} {:>8}", self.writes, self.failed)
    }
}

/// Measures all deeds and prints a table.
pub async fn measure(binary: &Path, nodes: u64, kills: u32) -> anyhow::Result<()> {
    shell::require_root()?;
    let claim = Claim::take(u64::from(std::process::id()))?;
    tokio::select! {
        result = measure_claimed(&claim, binary, nodes, kills) => result,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn measure_claimed(claim: &Claim, binary: &Path, nodes: u64, kills: u32) -> anyhow::Result<()> {
    let lan = Arc::new(Lan::create(claim.run_name())?);
    let ground = Ground { lan: Some(lan.clone()), ..Ground::loopback() };
    let arguments = ["--web-admin", "any"];
    let cluster = Cluster::start_on(ground, binary, nodes, &arguments).await?;
    let field = Field::new(cluster.clients());
    let world = World::new(cluster, lan, field, binary.to_owned(), None);
    let mut measured = Measured::default();
    let mut ended = Ok(());
    for round in 0..kills {
        ended = measured.round(&world, round).await;
        if ended.is_err() {
            break;
        }
    }
    // Also what was measured until something went wrong.
    measured.print();
    ended
}

/// All deeds of a run.
#[derive(Default)]
struct Measured {
    killed: Series,
    restarted: Series,
    drained: Series,
    majority: Minority,
    minority: Minority,
}

impl Measured {
    async fn round(&mut self, world: &World, round: u32) -> anyhow::Result<()> {
        kill(world, &mut self.killed).await.with_context(|| format!("kill {round}"))?;
        if round % 4 == 0 {
            restart(world, &mut self.restarted).await.with_context(|| format!("restart {round}"))?;
            drain(world, &mut self.drained).await.with_context(|| format!("drain {round}"))?;
        }
        if round % 10 == 0 {
            cut_off(world, &mut self.majority, &mut self.minority).await.with_context(|| format!("cut off {round}"))?;
        }
        Ok(())
    }

    fn print(&mut self) {
        println!("outage of writes   count  p50 s    p99 s    max s     writes   failed");
        println!("{}", self.killed.row("leader killed"));
        println!("{}", self.restarted.row("leader restarted"));
        println!("{}", self.drained.row("leaders moved"));
        println!("majority side: {}", self.majority);
        println!("minority side: {}", self.minority);
    }
}

/// The busiest leader, and a client of another node.
async fn victim(world: &World) -> anyhow::Result<(u64, Client)> {
    wait_balanced(world).await?;
    let leader = world.cluster().await.busiest_leader().await?;
    let other = world.nodes().await.into_iter().find(|&node| node != leader).context("a second node")?;
    let client = world.cluster().await.client(other);
    Ok((leader, client))
}

/// Every node is up to date, and every group led.
async fn wait_balanced(world: &World) -> anyhow::Result<()> {
    for node in world.nodes().await {
        anyhow::ensure!(wait_ready(world, node, RECOVERY_LIMIT).await, "node {node} is not ready");
    }
    wait_caught_up(world, RECOVERY_LIMIT).await
}

async fn kill(world: &World, series: &mut Series) -> anyhow::Result<()> {
    let (leader, client) = victim(world).await?;
    let probe = Probe::start(client);
    probe.wait_good(20).await?;
    wait::pace(BEFORE).await;
    let at = probe.began.elapsed();
    world.cluster().await.kill(leader)?;
    settle(&probe).await?;
    world.cluster().await.start_node(leader)?;
    series.add(&probe.finish().await, at);
    Ok(())
}

/// Writes that begin from now on are acknowledged.
async fn settle(probe: &Probe) -> anyhow::Result<()> {
    // Those that were under way may still be acknowledged by a leader that is about to go.
    wait::pace(AFTER).await;
    probe.wait_good(20).await?;
    wait::pace(AFTER).await;
    Ok(())
}

async fn restart(world: &World, series: &mut Series) -> anyhow::Result<()> {
    let (leader, client) = victim(world).await?;
    let probe = Probe::start(client);
    probe.wait_good(20).await?;
    wait::pace(BEFORE).await;
    let at = probe.began.elapsed();
    let process = world.cluster().await.take_process(leader)?;
    let status = process.terminate(RECOVERY_LIMIT).await?;
    anyhow::ensure!(status.success(), "node {leader} ended with {status}");
    world.cluster().await.start_node(leader)?;
    anyhow::ensure!(wait_ready(world, leader, RECOVERY_LIMIT).await, "node {leader} is not ready");
    settle(&probe).await?;
    series.add(&probe.finish().await, at);
    Ok(())
}

/// All leaders of one node move to others.
async fn drain(world: &World, series: &mut Series) -> anyhow::Result<()> {
    let (leader, client) = victim(world).await?;
    let led: Vec<u64> = world.leaders().await.into_iter().filter(|&(_, by)| by == leader).map(|(group, _)| group).collect();
    let probe = Probe::start(client.clone());
    probe.wait_good(20).await?;
    wait::pace(BEFORE).await;
    let at = probe.began.elapsed();
    for group in led {
        let answer = client.post(&format!("/api/v1/admin/cluster/transfer-leader?group={group}"), &[], "").await?;
        anyhow::ensure!(answer.status == 200, "transfer group {group}: {}", answer.text());
    }
    settle(&probe).await?;
    series.add(&probe.finish().await, at);
    Ok(())
}

/// What one side of a partition answers.
#[derive(Default)]
struct Minority {
    writes: usize,
    good: usize,
    slowest: Duration,
}

impl Minority {
    fn add(&mut self, shots: &[Shot], range: std::ops::Range<Duration>) {
        for shot in shots.iter().filter(|shot| range.contains(&shot.begun)) {
            self.writes += 1;
            self.good += usize::from(shot.good);
            self.slowest = self.slowest.max(shot.ended - shot.begun);
        }
    }
}

impl std::fmt::Display for Minority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.good as f64 / self.writes.max(1) as f64;
        write!(formatter, "{} writes, {share:.2} % acknowledged, slowest answer {:.3} s", self.writes, self.slowest.as_secs_f64())
    }
}

/// The busiest leader is cut off; both sides are asked.
async fn cut_off(world: &World, majority: &mut Minority, minority: &mut Minority) -> anyhow::Result<()> {
    let (leader, client) = victim(world).await?;
    let alone = world.cluster().await.client(leader);
    let cuts = Shape::Isolated.cuts(&world.nodes().await, leader);
    let (many, few) = (Probe::start(client), Probe::start(alone));
    many.wait_good(20).await?;
    let from = many.began.elapsed();
    let fault = world.fault_name();
    for cut in &cuts {
        if cut.receiver == leader {
            continue;
        }
        filter::drop_from(&world.lan.namespace(cut.receiver), &fault, &[world.lan.address(leader)], 100)?;
    }
    let others: Vec<_> = cuts.iter().filter(|cut| cut.receiver == leader).map(|cut| world.lan.address(cut.sender)).collect();
    filter::drop_from(&world.lan.namespace(leader), &fault, &others, 100)?;
    wait::pace(CUT_OFF).await;
    let until = many.began.elapsed();
    let receivers: std::collections::BTreeSet<u64> = cuts.iter().map(|cut| cut.receiver).collect();
    for receiver in receivers {
        filter::lift(&world.lan.namespace(receiver), &fault)?;
    }
    settle(&many).await?;
    let window = from + FAILOVER_WINDOW..until.saturating_sub(FAILOVER_WINDOW);
    majority.add(&many.finish().await, window.clone());
    minority.add(&few.finish().await, window);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(ended_ms: u64, good: bool) -> Shot {
        Shot { begun: Duration::ZERO, ended: Duration::from_millis(ended_ms), good }
    }

    #[test]
    fn an_outage_is_the_longest_gap_between_acknowledgements_after_the_deed() {
        let shots = [shot(0, true), shot(100, true), shot(110, true), shot(500, false), shot(910, true), shot(920, true)];
        assert_eq!(outage(&shots, Duration::from_millis(105)), Duration::from_millis(800));
        assert_eq!(outage(&shots, Duration::from_millis(915)), Duration::from_millis(10));
        assert_eq!(outage(&shots[..1], Duration::ZERO), OUTAGE_LIMIT, "nothing came after it");
    }

    #[test]
    fn a_row_has_the_percentiles() {
        let outages = (1..=100).map(|hundredths| Duration::from_millis(hundredths * 10)).collect();
        let row = Series { outages, writes: 5, failed: 1 }.row("x");
        assert_eq!(row.split_ascii_whitespace().collect::<Vec<_>>(), ["x", "100", "0.500", "0.990", "1.000", "5", "1"]);
    }
}
