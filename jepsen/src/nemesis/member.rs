//! Members that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::world::{Claim, Effect, World, pick, shuffle};
use crate::client::Client;
use crate::wait;

/// Longest wait for a new member to hold all it should, while other faults go on.
pub const CATCH_UP_LIMIT: Duration = Duration::from_secs(180);
/// Replicas of a shard, where there are enough nodes.
const REPLICAS: usize = 3;
const ADMIN_LIMIT: Duration = Duration::from_secs(15);

/// Asks nodes in turn until one has carried out an administrative command.
async fn command(world: &World, path: &str, limit: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + limit;
    loop {
        let mut last = String::from("no node runs");
        let addresses: Vec<String> = {
            let cluster = world.cluster().await;
            let running = cluster.numbers().into_iter().filter(|&number| cluster.running(number).is_some());
            running.filter_map(|number| Some(cluster.node(number).ok()?.http.address())).collect()
        };
        for address in addresses {
            match Client::with_timeout(&address, ADMIN_LIMIT).post(path, &[], "").await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("{}: {:.300}", answer.status, answer.text()),
                Err(error) => last = format!("{error:?}"),
            }
        }
        ensure!(Instant::now() < until, "{path}: {last}");
        wait::pace(Duration::from_millis(500)).await;
    }
}

/// Starts one more node, which joins through a running one, and waits until it is a member. Returns its number.
async fn join(world: &World, dice: Option<&mut StdRng>) -> anyhow::Result<u64> {
    let number = {
        let mut cluster = world.cluster().await;
        let running: Vec<u64> = cluster.numbers().into_iter().filter(|&number| cluster.running(number).is_some()).collect();
        let through = dice.and_then(|dice| pick(&running, dice)).or_else(|| running.first().copied()).context("no node runs")?;
        cluster.join(through).await?
    };
    let address = world.cluster().await.node(number)?.http.address();
    let id = wait::until(&format!("node {number} to be a member"), CATCH_UP_LIMIT, || async {
        let statuses = world.statuses().await;
        let members = statuses.values().flat_map(|status| status["members"].as_array().into_iter().flatten());
        let found = members.filter(|member| member["http"] == json!(address)).find_map(|member| member["id"].as_u64());
        found.ok_or_else(|| format!("{:?}", statuses.keys()))
    })
    .await?;
    world.cluster().await.set_id(number, id)?;
    Ok(number)
}

async fn id_of(world: &World, number: u64) -> anyhow::Result<u64> {
    world.cluster().await.node(number)?.id.with_context(|| format!("node {number} has no id yet"))
}

/// A group as the node that has applied most of it sees it.
struct Seen {
    applied: u64,
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
}

async fn groups(world: &World) -> BTreeMap<u64, Seen> {
    let mut newest: BTreeMap<u64, Seen> = BTreeMap::new();
    for status in world.statuses().await.values() {
        for group in status["groups"].as_array().into_iter().flatten() {
            let (Some(id), Some(applied)) = (group["group"].as_u64(), group["appliedIndex"].as_u64()) else { continue };
            let members = |field: &Value| field.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            if newest.get(&id).is_none_or(|known| known.applied < applied) {
                newest.insert(id, Seen { applied, voters: members(&group["voters"]), learners: members(&group["learners"]) });
            }
        }
    }
    newest
}

/// Which group lacks a copy, or counts on a node that has gone. None: as many copies may be destroyed as ever.
async fn missing_copy(world: &World) -> Option<String> {
    let groups = groups(world).await;
    let cluster = world.cluster().await;
    let ids: BTreeSet<u64> = cluster.numbers().into_iter().filter_map(|number| cluster.node(number).ok()?.id).collect();
    let is_whole = |(group, seen): &(&u64, &Seen)| {
        let wanted = if **group == 0 { ids.len() } else { ids.len().min(REPLICAS) };
        seen.learners.is_empty() && seen.voters.is_subset(&ids) && seen.voters.len() >= wanted
    };
    if groups.is_empty() {
        return Some("no node answers".to_owned());
    }
    let lacking = groups.iter().find(|group| !is_whole(group));
    lacking.map(|(group, seen)| format!("group {group} has voters {:?}, learners {:?} of nodes {ids:?}", seen.voters, seen.learners))
}

/// To be asked before anything is destroyed: a cluster that still mends an earlier loss must not suffer another one.
pub async fn refuse_second_loss(world: &World) -> Result<(), Effect> {
    match missing_copy(world).await {
        None => Ok(()),
        Some(lacking) => Err(Effect::Skipped(format!("copies are missing: {lacking}"))),
    }
}

/// Waits until every group has all its copies again.
pub async fn wait_whole(world: &World, limit: Duration) -> anyhow::Result<()> {
    wait::until("all groups to have all copies", limit, || async { missing_copy(world).await.map_or(Ok(()), Err) }).await?;
    Ok(())
}

/// Waits until no group has any of `gone`, and one has each of `come`.
async fn wait_moved(world: &World, gone: &[u64], come: &[u64]) -> anyhow::Result<()> {
    wait::until(&format!("members {gone:?} to have gone and {come:?} to be there"), CATCH_UP_LIMIT, || async {
        let voters: Vec<BTreeSet<u64>> = groups(world).await.into_values().map(|seen| &seen.voters | &seen.learners).collect();
        let left = voters.iter().all(|group| gone.iter().all(|id| !group.contains(id)));
        let arrived = come.iter().all(|id| voters.iter().any(|group| group.contains(id)));
        if !voters.is_empty() && left && arrived { Ok(()) } else { Err(format!("{voters:?}")) }
    })
    .await?;
    Ok(())
}

/// Waits until every node that should run is ready and has applied what its groups' leaders had committed a moment ago.
pub async fn wait_caught_up(world: &World, limit: Duration) -> anyhow::Result<()> {
    let goal = committed(world).await;
    wait::until("all nodes to have caught up", limit, || async {
        let statuses = world.statuses().await;
        let nodes = world.nodes().await;
        for node in &nodes {
            let Some(status) = statuses.get(node) else { return Err(format!("node {node} does not answer")) };
            for group in status["groups"].as_array().into_iter().flatten() {
                let goal = goal.get(&group["group"].as_u64().unwrap_or(0)).copied().unwrap_or(0);
                let applied = group["appliedIndex"].as_u64().unwrap_or(0);
                if applied < goal {
                    return Err(format!("node {node}, group {}: {applied} of {goal}", group["group"]));
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(())
}

async fn committed(world: &World) -> BTreeMap<u64, u64> {
    let mut highest = BTreeMap::new();
    for status in world.statuses().await.values() {
        for group in status["groups"].as_array().into_iter().flatten() {
            let committed = group["committedIndex"].as_u64().unwrap_or(0);
            let known: &mut u64 = highest.entry(group["group"].as_u64().unwrap_or(0)).or_default();
            *known = committed.max(*known);
        }
    }
    highest
}

/// A node whose disk cannot be used any more is replaced by a new one under a new id.
pub async fn replace_dead(world: &World, claim: &Claim<'_>, node: u64) -> anyhow::Result<u64> {
    debug_assert!(claim.nodes.contains(&node));
    {
        let mut cluster = world.cluster().await;
        if cluster.running(node).is_some() {
            cluster.kill(node)?;
        }
    }
    let old = id_of(world, node).await?;
    let successor = join(world, None).await?;
    let new = id_of(world, successor).await?;
    command(world, &format!("/api/v1/admin/cluster/replace?old={old}&new={new}"), CATCH_UP_LIMIT).await?;
    world.cluster().await.retire(node)?;
    world.refresh_targets().await;
    wait_moved(world, &[old], &[new]).await?;
    wait_whole(world, CATCH_UP_LIMIT).await?;
    wait_caught_up(world, CATCH_UP_LIMIT).await?;
    Ok(successor)
}

/// A node dies for good, disk and all.
pub async fn replace(world: &World, dice: &mut StdRng) -> anyhow::Result<Effect> {
    let Ok(_copies) = world.copies.try_acquire() else { return Ok(Effect::Skipped("copies are missing already".to_owned())) };
    if let Err(skipped) = refuse_second_loss(world).await {
        return Ok(skipped);
    }
    let node = world.leading_node(dice).await?;
    let Some(claim) = world.claim(&[node]) else { return Ok(Effect::Skipped(format!("node {node} is hurt already"))) };
    let successor = replace_dead(world, &claim, node).await?;
    Ok(Effect::Seen(format!("node {node} by node {successor}")))
}

/// Two nodes come, two others leave, the leader first.
pub async fn grow_shrink(world: &World, dice: &mut StdRng) -> anyhow::Result<Effect> {
    let Ok(_copies) = world.copies.try_acquire() else { return Ok(Effect::Skipped("copies are missing already".to_owned())) };
    if let Err(skipped) = refuse_second_loss(world).await {
        return Ok(skipped);
    }
    let mut leaving = world.nodes().await;
    if leaving.len() > 3 {
        return Ok(Effect::Skipped("there are more than three nodes already".to_owned()));
    }
    let newcomers = [join(world, Some(dice)).await?, join(world, None).await?];
    let come = [id_of(world, newcomers[0]).await?, id_of(world, newcomers[1]).await?];
    world.refresh_targets().await;
    wait_moved(world, &[], &come).await?;
    let leader = world.leading_node(dice).await?;
    shuffle(&mut leaving, dice);
    leaving.sort_by_key(|&node| node != leader);
    leaving.truncate(2);
    for &node in &leaving {
        let id = id_of(world, node).await?;
        command(world, &format!("/api/v1/admin/cluster/remove?node={id}"), CATCH_UP_LIMIT).await?;
        wait_moved(world, &[id], &come).await?;
        // Its replicas have gone elsewhere; it may go now, whatever another fault is doing to it.
        world.cluster().await.retire(node)?;
        world.refresh_targets().await;
    }
    wait_caught_up(world, CATCH_UP_LIMIT).await?;
    let left = world.nodes().await;
    if left.len() != 3 {
        bail!("three nodes should be left, there are {left:?}");
    }
    Ok(Effect::Seen(format!("nodes {newcomers:?} came, {leaving:?} left")))
}
