//! Under load, nodes die, hang and come back: no acknowledged sample is lost, nothing is invented, and writes go on by themselves.

use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use tern_jepsen::checker::sample_set::{self, Verdict};
use tern_jepsen::cluster::Cluster;
use tern_jepsen::history;
use tern_jepsen::process::Signal;
use tern_jepsen::workload::sample_set::{Recording, SampleSetLoad};

use crate::support::*;

const WRITERS: usize = 4;
/// Batches that have to be acknowledged for the load to count as flowing: several of every writer.
const FLOWING_BATCHES: u64 = 60;
const FLOW_LIMIT: Duration = Duration::from_secs(60);

fn start_load(cluster: &Cluster) -> SampleSetLoad {
    SampleSetLoad::start(cluster.clients(), WRITERS)
}

async fn wait_flowing(load: &SampleSetLoad) -> anyhow::Result<()> {
    load.wait_acknowledged(FLOWING_BATCHES, FLOW_LIMIT).await
}

/// Ends the load, reads everything from all nodes, judges, and compares the replicas.
async fn judge(cluster: &mut Cluster, load: SampleSetLoad) -> anyhow::Result<Recording> {
    cluster.wait_ready().await?;
    let recording = load.finish(&cluster.clients()).await?;
    let report = sample_set::check(&recording.operations);
    if report.verdict() != Verdict::Valid {
        let file = cluster.run_directory().join("history.jsonl");
        history::save(&recording.operations, BufWriter::new(File::create(&file)?))?;
        panic!("{report}(history: {})", file.display());
    }
    print!("{report}");
    assert!(report.acknowledged > 10_000, "too little was written to prove anything: {report}");
    cluster.wait_replicas_equal().await?;
    Ok(recording)
}

#[tokio::test]
async fn any_one_node_killed_under_load_loses_nothing() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let load = start_load(&cluster);
    wait_flowing(&load).await?;
    let mut kills = Vec::new();
    // The busiest leader of the moment three times (each time another, as a restarted node leads nothing at first), then everyone in turn.
    for round in 0..6_u64 {
        let (victim, what) = if round < 3 { (cluster.busiest_leader().await?, "leader") } else { (round - 2, "node") };
        let killed_ns = load.now_ns();
        cluster.kill(victim)?;
        wait_flowing(&load).await?;
        kills.push((format!("{what} {victim}"), killed_ns, load.now_ns()));
        cluster.start_node(victim)?;
        cluster.wait_node_ready(victim).await?;
        wait_flowing(&load).await?;
    }
    let recording = judge(&mut cluster, load).await?;
    for (victim, killed_ns, flowing_ns) in kills {
        println!("killed {victim}: writes stopped for {:.2} s", recording.longest_outage(killed_ns, flowing_ns).as_secs_f64());
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn all_three_killed_together_and_restarted_lose_nothing() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let load = start_load(&cluster);
    for _ in 0..2 {
        wait_flowing(&load).await?;
        let killed_ns = load.now_ns();
        cluster.kill_all()?;
        for number in cluster.numbers() {
            cluster.start_node(number)?;
        }
        cluster.wait_ready().await?;
        wait_flowing(&load).await?;
        println!("all killed: flowing again after {:.2} s", (load.now_ns() - killed_ns) as f64 / 1e9);
    }
    judge(&mut cluster, load).await?;
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_hangs_and_wakes_loses_nothing_and_serves_nothing_stale() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let load = start_load(&cluster);
    wait_flowing(&load).await?;
    for _ in 0..2 {
        let victim = cluster.busiest_leader().await?;
        cluster.signal(victim, Signal::Pause)?;
        // The clients' requests to the paused node hang until it wakes; the others must get on, under a new leader.
        let survivor = cluster.numbers().into_iter().find(|&number| number != victim).unwrap_or(1);
        cluster.wait_led_by_others(survivor, victim).await?;
        cluster.signal(victim, Signal::Resume)?;
        wait_flowing(&load).await?;
    }
    judge(&mut cluster, load).await?;
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn nodes_restarted_one_after_the_other_under_load_lose_nothing() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let load = start_load(&cluster);
    wait_flowing(&load).await?;
    let mut restarts = Vec::new();
    for number in cluster.numbers() {
        let stopped_ns = load.now_ns();
        cluster.terminate(number).await?;
        cluster.start_node(number)?;
        cluster.wait_node_ready(number).await?;
        wait_flowing(&load).await?;
        restarts.push((number, stopped_ns, load.now_ns()));
    }
    let recording = judge(&mut cluster, load).await?;
    for (number, stopped_ns, flowing_ns) in restarts {
        println!("restarted node {number}: writes stopped for {:.2} s", recording.longest_outage(stopped_ns, flowing_ns).as_secs_f64());
    }
    cluster.finish()?;
    Ok(())
}

/// Everything is being sealed to disk when a node is killed, so that restarts begin from sealed data and a short log.
#[tokio::test]
async fn kills_around_sealing_lose_nothing() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let load = start_load(&cluster);
    for round in 0..3 {
        wait_flowing(&load).await?;
        let clients = cluster.clients();
        let flushes = clients.into_iter().map(|(_, client)| tokio::spawn(async move { client.post("/debug/flush", &[], "").await }));
        let flushes: Vec<_> = flushes.collect();
        // Not waited for: the kill shall fall into the sealing.
        let victim = round % 3 + 1;
        cluster.kill(victim)?;
        for (number, flush) in (1..).zip(flushes) {
            let answer = flush.await?;
            if number != victim {
                expect_status(&answer?, 204);
            }
        }
        cluster.start_node(victim)?;
        cluster.wait_ready().await?;
    }
    wait_flowing(&load).await?;
    judge(&mut cluster, load).await?;
    cluster.finish()?;
    Ok(())
}
