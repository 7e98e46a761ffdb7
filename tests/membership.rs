//! Nodes come and go under new ids.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;

use crate::support::*;

const REPLACE_LIMIT: Duration = Duration::from_secs(90);

/// Runs `tern admin` against a node and returns what it prints.
fn admin(cluster: &Cluster, through: u64, arguments: &[&str]) -> anyhow::Result<String> {
    let address = cluster.node(through)?.http.address();
    let output = Command::new(TERN).args(["admin", "--http", &address]).args(arguments).output().context("run tern admin")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "tern admin {arguments:?}: {said}");
    Ok(said)
}

/// The id that the cluster has given to the node at the HTTP address of `number`.
async fn member_id(cluster: &Cluster, through: u64, number: u64) -> anyhow::Result<u64> {
    let address = cluster.node(number)?.http.address();
    let id = wait::until(&format!("node {number} to be a member"), REPLACE_LIMIT, || async {
        let status = cluster.status(through).await.map_err(|error| error.to_string())?;
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let found = members.iter().find(|member| member["http"] == json!(address));
        found.and_then(|member| member["id"].as_u64()).ok_or_else(|| status["members"].to_string())
    })
    .await?;
    Ok(id)
}

/// Waits until every group, as `through` sees it, has `joined` as a voter and `gone` nowhere.
async fn wait_replaced(cluster: &Cluster, through: u64, gone: u64, joined: u64) -> anyhow::Result<()> {
    wait::until(&format!("node {joined} to take the place of {gone}"), REPLACE_LIMIT, || async {
        let status = cluster.status(through).await.map_err(|error| error.to_string())?;
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        let voters = |group: &Value| group["voters"].as_array().cloned().unwrap_or_default();
        let done = |group: &Value| voters(group).contains(&json!(joined)) && !voters(group).contains(&json!(gone));
        if !groups.is_empty() && groups.iter().all(done) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_wiped_node_is_replaced_under_a_new_id_receives_snapshots_and_serves() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let at = recent_second();
    let batch = |name: &'static str| -> Value { (0..2000).map(|n| element(name, &[("n", &n.to_string())], at - n % 50, n)).collect() };
    expect_status(&cluster.client(1).ingest(&batch("sealed")).await?, 204);
    // With the logs purged, the new node can get these samples by snapshot only.
    for (_, client) in cluster.clients() {
        expect_status(&client.post("/debug/flush", &[], "").await?, 204);
    }
    cluster.kill(3)?;
    cluster.wipe(3)?;
    expect_status(&cluster.client(1).ingest(&batch("logged")).await?, 204);

    let newcomer = cluster.join(1).await?;
    let id = member_id(&cluster, 1, newcomer).await?;
    assert!(id > 3, "the id {id} has been used before");
    admin(&cluster, 1, &["replace", "3", &id.to_string()])?;
    wait_replaced(&cluster, 1, 3, id).await?;
    cluster.wait_node_ready(newcomer).await?;

    // With node 2 gone, the newcomer is needed for every quorum and must have everything.
    cluster.terminate(2).await?;
    expect_status(&cluster.client(1).ingest(&batch("after")).await?, 204);
    for name in ["sealed", "logged", "after"] {
        let (client, time) = (cluster.client(newcomer), at as f64);
        assert_eq!(client.number(&format!("count({name})"), time).await?, Some(2000.0), "{name}");
        assert_eq!(client.number(&format!("sum({name})"), time).await?, Some(1_999_000.0), "{name}");
    }
    cluster.start_node(2)?;
    cluster.wait_ready().await?;
    cluster.wait_replicas_equal().await?;
    // The replaced id must not come back to life: a status of any node no longer counts it among the voters.
    wait_replaced(&cluster, newcomer, 3, id).await?;
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn leadership_moves_on_request() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let (group, leader) = *cluster.leaders(1).await?.iter().find(|(group, _)| *group > 0).context("no shard has a leader")?;
    let next = leader % 3 + 1;
    admin(&cluster, 1, &["transfer-leader", &group.to_string(), "--to", &next.to_string()])?;
    wait::until("the new leader", REPLACE_LIMIT, || async {
        let leaders = cluster.leaders(1).await.map_err(|error| error.to_string())?;
        if leaders.contains(&(group, next)) { Ok(()) } else { Err(format!("{leaders:?}")) }
    })
    .await?;
    let status = admin(&cluster, 2, &["status"])?;
    assert!(status.contains("groups"), "{status}");
    let members = admin(&cluster, 3, &["members"])?;
    assert!(members.contains(&cluster.node(1)?.http.address()), "{members}");
    cluster.finish()?;
    Ok(())
}
