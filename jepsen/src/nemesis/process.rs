//! Processes that die, hang, restart, or are not given enough memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::Rng;
use rand::rngs::StdRng;

use super::world::{Claim, Effect, World, shuffle};
use crate::leftovers::control_group;
use crate::process::{Signal, usage_of};
use crate::wait;

/// Longest wait for a restarted node; afterwards it catches up by itself, and the end of the run insists.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// kill -9 of the node that leads most.
pub async fn kill_leader(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let leader = world.leading_node(dice).await?;
    kill(world, vec![leader], hold).await
}

pub async fn kill_minority(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let nodes = world.minority(dice).await;
    kill(world, nodes, hold).await
}

pub async fn kill_majority(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let mut nodes = world.nodes().await;
    let majority = nodes.len() / 2 + 1;
    shuffle(&mut nodes, dice);
    nodes.truncate(majority);
    kill(world, nodes, hold).await
}

pub async fn kill_all(world: &World, hold: Duration) -> anyhow::Result<Effect> {
    let nodes = world.nodes().await;
    // Nothing can be learnt from a long time without any process.
    kill(world, nodes, hold.min(Duration::from_secs(3))).await
}

async fn kill(world: &World, nodes: Vec<u64>, hold: Duration) -> anyhow::Result<Effect> {
    let Some(claim) = world.claim(&nodes) else { return Ok(Effect::Skipped(format!("nodes {nodes:?} are hurt already"))) };
    let before = world.leaders().await;
    let mut ids = Vec::new();
    {
        let mut cluster = world.cluster().await;
        for &node in &claim.nodes {
            ids.extend(cluster.running(node).map(|(process, _)| process));
            // Signals first, so that they die together.
            cluster.signal(node, Signal::Kill)?;
        }
        for &node in &claim.nodes {
            cluster.kill(node)?;
        }
    }
    world.hold(hold).await;
    let gone = ids.iter().all(|id| !std::path::Path::new(&format!("/proc/{id}")).exists());
    let moved = world.leaders().await.iter().filter(|(group, leader)| before.get(group).is_some_and(|old| old != *leader)).count();
    start(world, &claim).await?;
    let said = format!("nodes {nodes:?} (processes {ids:?}); {moved} groups led by others meanwhile");
    Ok(if gone && !ids.is_empty() { Effect::Seen(said) } else { Effect::Unproven(said) })
}

/// Starts the nodes of a claim and waits a while for them to be ready.
pub async fn start(world: &World, claim: &Claim<'_>) -> anyhow::Result<()> {
    {
        let mut cluster = world.cluster().await;
        for &node in &claim.nodes {
            if cluster.running(node).is_none() {
                cluster.start_node(node)?;
            }
        }
    }
    let all = claim.nodes.iter().map(|&node| wait_ready(world, node, READY_LIMIT));
    tokio::select! {
        _ = futures::future::join_all(all) => {}
        () = world.hold(READY_LIMIT) => {}
    }
    Ok(())
}

/// Whether the node says within the limit that it is ready; at once `false` when its process ends.
pub async fn wait_ready(world: &World, node: u64, limit: Duration) -> bool {
    let address = world.cluster().await.node(node).map(|node| node.http.address()).unwrap_or_default();
    let client = crate::client::Client::with_timeout(&address, Duration::from_secs(2));
    let seen = wait::until("a node to be ready or to end", limit, || async {
        if !is_alive(world, node).await {
            return Ok(false);
        }
        match client.get("/-/ready", &[]).await {
            Ok(answer) if answer.status == 200 => Ok(true),
            _ => Err(String::new()),
        }
    });
    seen.await.unwrap_or(false)
}

/// Whether the process of a node runs. (A zombie does not; it is left to whoever notices ends.)
pub async fn is_alive(world: &World, node: u64) -> bool {
    let process = world.cluster().await.running(node);
    process.is_some_and(|(id, _)| state_of(id).is_some_and(|state| state != 'Z'))
}

fn state_of(process: u32) -> Option<char> {
    fs::read_to_string(format!("/proc/{process}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

pub async fn pause_leader(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let leader = world.leading_node(dice).await?;
    pause(world, vec![leader], hold).await
}

pub async fn pause_minority(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let nodes = world.minority(dice).await;
    // Also short pauses, which end before anyone else leads.
    let hold = if dice.random_range(0..3) == 0 { hold / 8 } else { hold };
    pause(world, nodes, hold).await
}

async fn pause(world: &World, nodes: Vec<u64>, hold: Duration) -> anyhow::Result<Effect> {
    let Some(claim) = world.claim(&nodes) else { return Ok(Effect::Skipped(format!("nodes {nodes:?} are hurt already"))) };
    let mut stopped = true;
    for &node in &claim.nodes {
        let cluster = world.cluster().await;
        let Some((process, _)) = cluster.running(node) else { continue };
        cluster.signal(node, Signal::Pause)?;
        drop(cluster);
        let seen = wait::until("a process to stop", Duration::from_secs(2), || async move {
            if state_of(process) == Some('T') { Ok(()) } else { Err(format!("{:?}", state_of(process))) }
        });
        stopped &= seen.await.is_ok();
    }
    world.hold(hold).await;
    for &node in &claim.nodes {
        let cluster = world.cluster().await;
        if cluster.running(node).is_some() {
            cluster.signal(node, Signal::Resume)?;
        }
    }
    let said = format!("nodes {nodes:?} for {:.1} s", hold.as_secs_f64());
    Ok(if stopped { Effect::Seen(said) } else { Effect::Unproven(said) })
}

/// SIGTERM and start, one node after the other.
pub async fn rolling_restart(world: &World) -> anyhow::Result<Effect> {
    let mut restarted = 0;
    for node in world.nodes().await {
        let Some(claim) = world.claim(&[node]) else { continue };
        if world.cluster().await.running(node).is_none() {
            continue;
        }
        // Not with the cluster locked: it takes seconds.
        let process = world.cluster().await.take_process(node)?;
        let status = process.terminate(Duration::from_secs(40)).await?;
        ensure!(status.success(), "node {node} ended with {status} after SIGTERM");
        start(world, &claim).await?;
        restarted += 1;
        if world.is_over() {
            break;
        }
    }
    let said = format!("{restarted} nodes restarted");
    Ok(if restarted > 0 { Effect::Seen(said) } else { Effect::Skipped(said) })
}

/// Runs the program that came before on one node after the other for a while, and goes back.
pub async fn upgrade(world: &World, hold: Duration) -> anyhow::Result<Effect> {
    let previous = world.previous.clone().context("no previous program was given")?;
    let nodes = world.nodes().await;
    for &node in &nodes {
        world.cluster().await.set_binary(node, &previous)?;
    }
    let down = rolling_restart(world).await?;
    world.hold(hold).await;
    for &node in &nodes {
        world.cluster().await.set_binary(node, &world.binary)?;
    }
    let up = rolling_restart(world).await?;
    match (down, up) {
        (Effect::Seen(down), Effect::Seen(up)) => {
            Ok(Effect::Seen(format!("{down} with the previous program, then {up} with the present one")))
        }
        (down, up) => Ok(Effect::Unproven(format!("{down:?}, {up:?}"))),
    }
}

/// A node is restarted with half the memory that it had, and the kernel ends it when it takes more.
pub async fn memory_limit(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = world.leading_node(dice).await?;
    let Some(claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let Some((process, _)) = world.cluster().await.running(node) else { return Ok(Effect::Skipped(format!("node {node} is down"))) };
    let limit_bytes = usage_of(process)?.resident_bytes / 2;
    let group = control_group(world.lan.run_name(), node);
    fs::create_dir_all(&group).with_context(|| format!("create {}", group.display()))?;
    fs::write(group.join("memory.limit_in_bytes"), limit_bytes.to_string()).context("set the memory limit")?;
    {
        let mut cluster = world.cluster().await;
        cluster.kill(node)?;
        cluster.start_node(node)?;
        // At once: only what it takes from now on is counted.
        let (process, _) = cluster.running(node).context("it was started")?;
        fs::write(group.join("cgroup.procs"), process.to_string()).context("move the process into its control group")?;
    }
    let until = Instant::now() + hold.max(Duration::from_secs(10));
    while is_alive(world, node).await && Instant::now() < until {
        wait::pace(Duration::from_millis(100)).await;
    }
    let control = fs::read_to_string(group.join("memory.oom_control")).unwrap_or_default();
    let killed = control.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"));
    if world.cluster().await.notice_end(node).is_none() {
        world.cluster().await.kill(node)?;
    }
    let _ = fs::remove_dir(&group);
    start(world, &claim).await?;
    let said = format!("node {node} with {} MiB", limit_bytes >> 20);
    Ok(match killed {
        true => Effect::Seen(format!("{said}: killed by the kernel")),
        // It got along with that: nothing was asked of it.
        false => Effect::Skipped(format!("{said}: it did not need more")),
    })
}
