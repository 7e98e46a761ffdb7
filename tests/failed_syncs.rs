//! A sync that fails ends the process with a reason: what is on the disk is unknown then. The next start reads what really is there.
//!
//! strace lets the system call fail in the running process. It need not be installed: then nothing is proven, and the test says so.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

/// Makes a system call of a process fail from now on. Ends with the process, or when dropped.
struct Fault {
    strace: Child,
}

impl Fault {
    async fn inject(process: u32, call: &str) -> anyhow::Result<Self> {
        let inject = format!("inject={call}:error=EIO");
        let trace = format!("trace={call}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-p", &process.to_string()]);
        let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("start strace")?;
        let fault = Self { strace };
        wait::until("all threads to be traced", LIMIT, || async {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).map_err(|error| error.to_string())?;
            let untraced = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
            match untraced.filter(|status| status.contains("TracerPid:\t0\n")).count() {
                0 => Ok(()),
                count => Err(format!("{count} are not yet")),
            }
        })
        .await?;
        Ok(fault)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        eprintln!("not run: strace is not installed");
    }
    found
}

fn batch(name: &str, at: i64) -> Value {
    (0..500).map(|n| element(name, &[("n", &n.to_string())], at, n)).collect()
}

async fn wait_ended(cluster: &mut Cluster, number: u64) -> anyhow::Result<String> {
    let said = wait::until("the process to end", LIMIT, || {
        let ended = cluster.take_ended(number);
        async move { ended.map_err(|error| error.to_string()) }
    })
    .await?;
    Ok(said)
}

/// Breaks `call` on node 2 while `provoke` gives it work, and sees it end, restart, and lose nothing.
async fn survives(call: &str, flush: bool, reason: &str) -> TestResult {
    if !has_strace() {
        return Ok(());
    }
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let at = recent_second();
    expect_status(&cluster.client(1).ingest(&batch("before", at)).await?, 204);
    let process = cluster.process_ids()[1];
    let fault = Fault::inject(process, call).await?;
    // Two of three acknowledge it.
    expect_status(&cluster.client(1).ingest(&batch("meanwhile", at)).await?, 204);
    if flush {
        // Whatever it answers, if it still can.
        let _ = cluster.client(2).post("/debug/flush", &[], "").await;
    }
    let said = wait_ended(&mut cluster, 2).await?;
    assert!(said.contains(reason) && said.contains("the process ends"), "{said}");
    drop(fault);
    cluster.start_node(2)?;
    cluster.wait_ready().await?;
    expect_status(&cluster.client(2).ingest(&batch("after", at)).await?, 204);
    for (number, client) in cluster.clients() {
        for name in ["before", "meanwhile", "after"] {
            let count = client.number(&format!("count({name})"), at as f64).await?;
            assert_eq!(count, Some(500.0), "{name} on node {number}");
        }
    }
    cluster.wait_replicas_equal().await?;
    cluster.finish()
}

#[tokio::test]
async fn a_failed_sync_of_the_log_ends_the_process() -> TestResult {
    survives("fdatasync", false, "cannot write the Raft log").await
}

/// RocksDB syncs directories with this call, when a sealed file is taken in.
#[tokio::test]
async fn a_failed_sync_while_sealing_ends_the_process() -> TestResult {
    survives("fsync", true, "storage failed").await
}
