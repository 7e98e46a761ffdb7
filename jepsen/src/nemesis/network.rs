//! Packets that are lost, late, doubled, or squeezed through a narrow link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::world::{Effect, World, shuffle};
use crate::network::filter;
use crate::network::jitter::{self, Jitter};
use crate::network::shape::{Cut, Shape};
use crate::shell::run;
use crate::wait;

/// Packets that cannot pass, in force until ended.
struct Blockade<'a> {
    world: &'a World,
    fault: String,
    receivers: Vec<u64>,
}

impl<'a> Blockade<'a> {
    /// Drops this share in percent of what each receiver gets from its senders.
    fn begin(world: &'a World, senders: &BTreeMap<u64, Vec<Ipv4Addr>>, percent: u32) -> anyhow::Result<Blockade<'a>> {
        let mut blockade = Blockade { world, fault: world.fault_name(), receivers: Vec::new() };
        for (&receiver, senders) in senders {
            filter::drop_from(&world.lan.namespace(receiver), &blockade.fault, senders, percent)?;
            blockade.receivers.push(receiver);
        }
        Ok(blockade)
    }

    /// Lets packets pass again; how many were dropped.
    fn end(mut self) -> anyhow::Result<u64> {
        let mut dropped = 0;
        for receiver in std::mem::take(&mut self.receivers) {
            let namespace = self.world.lan.namespace(receiver);
            dropped += filter::dropped(&namespace, &self.fault)?;
            filter::lift(&namespace, &self.fault)?;
        }
        Ok(dropped)
    }
}

impl Drop for Blockade<'_> {
    fn drop(&mut self) {
        for &receiver in &self.receivers {
            let _ = filter::lift(&self.world.lan.namespace(receiver), &self.fault);
        }
    }
}

fn by_receiver(world: &World, cuts: &BTreeSet<Cut>) -> BTreeMap<u64, Vec<Ipv4Addr>> {
    let mut senders: BTreeMap<u64, Vec<Ipv4Addr>> = BTreeMap::new();
    for cut in cuts {
        senders.entry(cut.receiver).or_default().push(world.lan.address(cut.sender));
    }
    senders
}

fn effect(dropped: u64, said: String) -> Effect {
    if dropped > 0 { Effect::Seen(format!("{said}: {dropped} packets")) } else { Effect::Unproven(format!("{said}: no packet")) }
}

/// A partition between nodes, around the node that leads most.
pub async fn partition(world: &World, shape: Shape, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let center = world.leading_node(dice).await?;
    let cuts = shape.cuts(&world.nodes().await, center);
    let blockade = Blockade::begin(world, &by_receiver(world, &cuts), 100)?;
    world.hold(hold).await;
    Ok(effect(blockade.end()?, format!("around node {center}, {} directions cut", cuts.len())))
}

/// The leader is cut off and let in again several times a second.
pub async fn flapping(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let center = world.leading_node(dice).await?;
    let cuts = Shape::Isolated.cuts(&world.nodes().await, center);
    let until = std::time::Instant::now() + hold;
    let (mut dropped, mut turns) = (0, 0);
    while !world.is_over() && std::time::Instant::now() < until {
        let blockade = Blockade::begin(world, &by_receiver(world, &cuts), 100)?;
        wait::pace(Duration::from_millis(dice.random_range(200..800))).await;
        dropped += blockade.end()?;
        turns += 1;
        wait::pace(Duration::from_millis(dice.random_range(200..800))).await;
    }
    Ok(effect(dropped, format!("node {center}, {turns} times")))
}

/// Clients do not reach some of the nodes, which reach each other.
pub async fn client_partition(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let mut nodes = world.nodes().await;
    shuffle(&mut nodes, dice);
    nodes.truncate(dice.random_range(1..=nodes.len().saturating_sub(1).max(1)));
    let senders = nodes.iter().map(|&node| (node, vec![world.lan.client_address()])).collect();
    let blockade = Blockade::begin(world, &senders, 100)?;
    world.hold(hold).await;
    Ok(effect(blockade.end()?, format!("nodes {nodes:?}")))
}

async fn all_pairs(world: &World) -> BTreeMap<u64, Vec<Ipv4Addr>> {
    let nodes = world.nodes().await;
    let others = |node: u64| nodes.iter().filter(|&&other| other != node).map(|&other| world.lan.address(other)).collect();
    nodes.iter().map(|&node| (node, others(node))).collect()
}

/// Between all nodes 5 to 30 % of the packets are lost.
pub async fn loss(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let percent = dice.random_range(5..=30);
    let blockade = Blockade::begin(world, &all_pairs(world).await, percent)?;
    world.hold(hold).await;
    Ok(effect(blockade.end()?, format!("{percent} %")))
}

/// Packets arrive late and in another order at some nodes, some of them twice.
pub async fn late(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let mut pairs = all_pairs(world).await;
    let spared: Vec<u64> = pairs.keys().copied().filter(|_| dice.random_range(0..3) == 0).collect();
    if spared.len() < pairs.len() {
        spared.iter().for_each(|node| drop(pairs.remove(node)));
    }
    let (delay, jitter) = (dice.random_range(5..60), dice.random_range(10..80));
    let duplicate_percent = if dice.random_range(0..2) == 0 { 0 } else { 5 };
    let mut under_way = Vec::new();
    for (&node, senders) in &pairs {
        let namespace = world.lan.namespace(node);
        let queue = Jitter::start(&namespace, Duration::from_millis(delay), Duration::from_millis(jitter))?;
        let begun = jitter::divert(&namespace, senders, duplicate_percent);
        under_way.push((namespace, senders, queue));
        begun?;
    }
    world.hold(hold).await;
    let mut diverted = 0;
    for (namespace, senders, queue) in under_way {
        diverted += jitter::diverted(&namespace)?;
        jitter::restore(&namespace, senders, duplicate_percent)?;
        queue.end()?;
    }
    let nodes: Vec<u64> = pairs.keys().copied().collect();
    Ok(effect(diverted, format!("nodes {nodes:?}, {delay} ms + 0..{jitter} ms, {duplicate_percent} % doubled")))
}

/// What a node sends passes a narrow link with a short queue.
pub async fn slow_link(world: &World, dice: &mut StdRng, hold: Duration) -> anyhow::Result<Effect> {
    let node = world.leading_node(dice).await?;
    let namespace = world.lan.namespace(node);
    let rate = format!("{}kbit", dice.random_range(200..2000));
    let shape = ["qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", "8k", "latency", "500ms"];
    run("tc", &[&["-n", &namespace], &shape[..]].concat())?;
    world.hold(hold).await;
    let statistics = run("tc", &["-n", &namespace, "-s", "qdisc", "show", "dev", "eth0"])?;
    run("tc", &["-n", &namespace, "qdisc", "del", "dev", "eth0", "root"])?;
    Ok(effect(overlimits(&statistics), format!("node {node} sends at {rate}")))
}

fn overlimits(statistics: &str) -> u64 {
    let words: Vec<&str> = statistics.split_ascii_whitespace().collect();
    words.windows(2).find(|pair| pair[0] == "overlimits").and_then(|pair| pair[1].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_held_packets_is_found() {
        let statistics = "qdisc tbf 8001: root refcnt 5 rate 256Kbit\n Sent 1 bytes 2 pkt (dropped 7, overlimits 45 requeues 0)";
        assert_eq!(overlimits(statistics), 45);
        assert_eq!(overlimits(""), 0);
    }
}
