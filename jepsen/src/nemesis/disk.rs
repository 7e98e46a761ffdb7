//! Disks that fill up, slow down, fail, lose power, or hand back other bytes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;

use super::member;
use super::process::{is_alive, start, wait_ready};
use super::world::{Claim, Effect, World, pick};
use crate::disk::damage::{Deed, Target, inflict};
use crate::disk::power;
use crate::process::{Process, Signal};
use crate::shell::run;
use crate::wait;

/// Less than this is full.
const FULL_BYTES: u64 = 1 << 20;
/// How long a node may take to notice damage and to end or to become ready.
const DAMAGED_START_LIMIT: Duration = Duration::from_secs(60);

/// A file takes all space of a node's disk.
pub async fn full(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = pick(&world.nodes().await, dice).context("no nodes")?;
    let Some(claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let (filler, available) = {
        let cluster = world.cluster().await;
        let image = cluster.image(node)?;
        (image.mount_point().join("filler"), image.space()?.1)
    };
    // What is left for others meanwhile is taken with the second file.
    let name = filler.display().to_string();
    let _ = run("fallocate", &["--length", &available.to_string(), &name]);
    for piece in [1 << 20, 64 << 10, 4 << 10] {
        while run("fallocate", &["--length", &(fs::metadata(&filler).map_or(0, |file| file.len()) + piece).to_string(), &name]).is_ok() {}
    }
    let left = world.cluster().await.image(node)?.space()?.1;
    world.hold(hold).await;
    let ended = world.cluster().await.notice_end(node);
    fs::remove_file(&filler).with_context(|| format!("remove {name}"))?;
    start(world, &claim).await?;
    let fate = if ended.is_some() { "it ended" } else { "it went on" };
    let said = format!("node {node}: {left} of {available} bytes left, {fate}");
    Ok(if left < FULL_BYTES { Effect::Seen(said) } else { Effect::Unproven(said) })
}

/// System calls of a process that are delayed or fail, by strace.
struct Injection {
    process: Process,
    log: PathBuf,
}

impl Injection {
    async fn begin(world: &World, node: u64, what: &str) -> anyhow::Result<Option<Injection>> {
        let fault = world.fault_name();
        let (target, log) = {
            let cluster = world.cluster().await;
            let Some((target, _)) = cluster.running(node) else { return Ok(None) };
            (target, cluster.run_directory().join(format!("{fault}.strace")))
        };
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &target.to_string(), "-e", "trace=fdatasync,fsync", "-e", &format!("inject=fdatasync,fsync:{what}")]);
        command.args(["-o", &log.display().to_string()]);
        let process = Process::start("strace", &mut command, &log.with_extension("strace.out"))?;
        Ok(Some(Injection { process, log }))
    }

    fn count(&self, sign: &str) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().lines().filter(|line| line.contains(sign)).count()
    }

    /// Lets go of the process.
    async fn end(self) {
        // Asked to, strace detaches; killed, it would leave its tracee stopped.
        let _ = self.process.terminate(Duration::from_secs(10)).await;
    }
}

/// Every sync of a node takes 10 to 100 ms longer.
pub async fn slow(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = pick(&world.nodes().await, dice).context("no nodes")?;
    let Some(_claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let delay_ms = dice.random_range(10..100);
    let injection = Injection::begin(world, node, &format!("delay_enter={}", delay_ms * 1000)).await?;
    let Some(injection) = injection else { return Ok(Effect::Skipped(format!("node {node} is down"))) };
    world.hold(hold).await;
    let delayed = injection.count("(DELAYED)");
    injection.end().await;
    let said = format!("node {node}: {delayed} syncs {delay_ms} ms late");
    Ok(if delayed > 0 { Effect::Seen(said) } else { Effect::Unproven(said) })
}

/// A node's syncs fail; it must stop and not try again.
pub async fn fsync_error(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = world.leading_node(dice).await?;
    let Some(claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let injection = Injection::begin(world, node, "error=EIO").await?;
    let Some(injection) = injection else { return Ok(Effect::Skipped(format!("node {node} is down"))) };
    let until = Instant::now() + hold.max(Duration::from_secs(10));
    while is_alive(world, node).await && Instant::now() < until {
        wait::pace(Duration::from_millis(100)).await;
    }
    let failed = injection.count("(INJECTED)");
    let ended = !is_alive(world, node).await;
    injection.end().await;
    let _ = world.cluster().await.notice_end(node);
    if world.cluster().await.running(node).is_some() {
        world.cluster().await.kill(node)?;
    }
    start(world, &claim).await?;
    let said = format!("node {node}: {failed} syncs failed");
    Ok(match (failed, ended) {
        (0, _) => Effect::Unproven(said),
        (_, true) => Effect::Seen(format!("{said}, and the node stopped")),
        (_, false) => anyhow::bail!("{said}, and the node went on as if it had not seen it"),
    })
}

pub async fn power_one(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = world.leading_node(dice).await?;
    lose_power(world, vec![node], hold).await
}

pub async fn power_all(world: &World, hold: Duration) -> anyhow::Result<Effect> {
    let nodes = world.nodes().await;
    lose_power(world, nodes, hold.min(Duration::from_secs(2))).await
}

async fn lose_power(world: &World, nodes: Vec<u64>, hold: Duration) -> anyhow::Result<Effect> {
    let Some(claim) = world.claim(&nodes) else { return Ok(Effect::Skipped(format!("nodes {nodes:?} are hurt already"))) };
    let mut refused = 0;
    {
        let mut cluster = world.cluster().await;
        // All at the same moment, as near as it goes.
        for &node in &claim.nodes {
            power::cut(cluster.image(node)?.mount_point())?;
        }
        for &node in claim.nodes.iter().filter(|&&node| cluster.running(node).is_some()) {
            cluster.signal(node, Signal::Kill)?;
        }
        for &node in &claim.nodes {
            if cluster.running(node).is_some() {
                cluster.kill(node)?;
            }
            // A disk without power takes nothing.
            let image = cluster.image(node)?;
            refused += usize::from(fs::write(image.mount_point().join("proof"), "x").is_err());
            image.unmount()?;
            image.mount()?;
        }
    }
    world.hold(hold).await;
    start(world, &claim).await?;
    let said = format!("nodes {nodes:?}: {refused} disks refused to write");
    Ok(if refused == nodes.len() { Effect::Seen(said) } else { Effect::Unproven(said) })
}

/// One file of one stopped node is damaged. The node must notice: mend it, or refuse to start and be replaced.
pub async fn damage(world: &World, deed: Deed, dice: &mut StdRng) -> anyhow::Result<Effect> {
    let Ok(_copies) = world.copies.try_acquire() else { return Ok(Effect::Skipped("copies are missing already".to_owned())) };
    if let Err(skipped) = member::refuse_second_loss(world).await {
        return Ok(skipped);
    }
    let node = pick(&world.nodes().await, dice).context("no nodes")?;
    let Some(claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let directory = {
        let mut cluster = world.cluster().await;
        if cluster.running(node).is_some() {
            cluster.kill(node)?;
        }
        cluster.data_directory(node)?.to_owned()
    };
    let targets = [Target::Log, Target::LogTable, Target::StateTable];
    let found: Vec<PathBuf> = targets.iter().filter_map(|target| target.find(&directory)).collect();
    if found.is_empty() {
        start(world, &claim).await?;
        return Ok(Effect::Skipped(format!("node {node} has no files yet")));
    }
    let done = inflict(deed, &found[dice.random_range(0..found.len())], dice.random())?;
    world.cluster().await.start_node(node)?;
    let fate = judge_damaged(world, &claim, node).await?;
    Ok(Effect::Seen(format!("node {node}: {done}; {fate}")))
}

/// What the damaged node does of itself, and what its operator does then.
async fn judge_damaged(world: &World, claim: &Claim<'_>, node: u64) -> anyhow::Result<&'static str> {
    if wait_ready(world, node, DAMAGED_START_LIMIT).await {
        // A node that lost its log comes back under a new id and is ready before it has taken the old one's place everywhere.
        member::wait_whole(world, member::CATCH_UP_LIMIT).await?;
        member::wait_caught_up(world, member::CATCH_UP_LIMIT).await?;
        return Ok("it became ready");
    }
    let ended = world.cluster().await.notice_end(node);
    let fate = match ended {
        Some(_) => "it refused to start and was replaced",
        None => "it did not become ready and was replaced",
    };
    member::replace_dead(world, claim, node).await?;
    Ok(fate)
}
