//! Wall clocks that jump or run at another speed, and housekeeping at odd moments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;

use super::world::{Effect, World, pick};
use crate::client::Client;
use crate::shell::run;
use crate::wait;

/// An offset below this may be the time that asking took.
const NOTICEABLE_SECONDS: f64 = 1.0;

/// A node's clock goes forward or back by up to an hour.
pub async fn jump(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let seconds = [-3600, -120, -10, 10, 120, 3600][dice.random_range(0..6)];
    falsify(world, dice, hold, format!("{seconds:+}s")).await
}

/// A node's clock runs at half or double speed.
pub async fn drift(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let speed = if dice.random_range(0..2) == 0 { "0.5" } else { "2.0" };
    falsify(world, dice, hold.max(Duration::from_secs(8)), format!("+0 x{speed}")).await
}

async fn falsify(world: &World, dice: &mut StdRng, hold: Duration, offset: String) -> anyhow::Result<Effect> {
    let node = pick(&world.nodes().await, dice).context("no nodes")?;
    let before = world.cluster().await.running(node);
    world.cluster().await.set_clock(node, &offset)?;
    world.hold(hold).await;
    let seen = deviation(world, node).await;
    // One that died meanwhile proves nothing; it starts with its clock as it is set now.
    let same = before.is_some() && world.cluster().await.running(node) == before;
    world.cluster().await.set_clock(node, "+0")?;
    match seen {
        Some(seconds) if seconds.abs() > NOTICEABLE_SECONDS => Ok(Effect::Seen(format!("node {node}: {offset}, seen {seconds:+.1} s"))),
        Some(seconds) if same => Ok(Effect::Unproven(format!("node {node}: {offset}, seen {seconds:+.1} s"))),
        _ => Ok(Effect::Skipped(format!("node {node}: {offset}, and the node could not be asked"))),
    }
}

/// How far a node's clock is from ours, asked inside its own namespace, where no partition stands between.
async fn deviation(world: &World, node: u64) -> Option<f64> {
    let url = format!("http://{}/api/v1/query?query=time()&consistency=eventual", world.cluster().await.node(node).ok()?.http.address());
    let mut command = world.lan.enter(node);
    command.extend(["curl", "-sS", "--max-time", "2", &url].map(str::to_owned));
    let asked = wait::until("the node's time", Duration::from_secs(4), || {
        let command = command.clone();
        async move {
            let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
            let text = run(&command[0], &arguments).map_err(|error| error.to_string())?;
            let answer: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let theirs = answer["data"]["result"][1].as_str().and_then(|text| text.parse::<f64>().ok()).ok_or(text)?;
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            Ok(theirs - ours)
        }
    });
    asked.await.ok()
}

/// A node writes what it holds in memory to disk and purges its logs now, so that lagging nodes need snapshots.
pub async fn seal(world: &World, dice: &mut StdRng) -> anyhow::Result<Effect> {
    let node = pick(&world.nodes().await, dice).context("no nodes")?;
    let address = world.cluster().await.node(node)?.http.address();
    match Client::with_timeout(&address, Duration::from_secs(10)).post("/debug/flush", &[], "").await {
        Ok(answer) if answer.status == 204 => Ok(Effect::Seen(format!("node {node}"))),
        other => Ok(Effect::Skipped(format!("node {node}: {:?}", other.map(|answer| answer.status)))),
    }
}
