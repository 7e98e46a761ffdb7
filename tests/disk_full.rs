//! A node's disk runs full: it says so, others lead, nothing is lost or corrupted, and it goes on by itself when there is room again.
//!
//! The disks are real: ext4 in files, mounted. That needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tern_jepsen::checker::sample_set::{self, Verdict};
use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;
use tern_jepsen::workload::sample_set::SampleSetLoad;

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);
const DISK_BYTES: u64 = 1 << 30;
const FREE_BYTES_MIN: u64 = 128 << 20;
const SETTINGS: [&str; 6] = ["--storage-free-bytes-min", "128MiB", "--storage-reserve-bytes", "16MiB", "--web-enable-admin-api", "true"];

fn run(program: &str, arguments: &[&str]) -> TestResult {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A small disk of its own, mounted where a node keeps its data. Gone when dropped.
struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    /// Moves what is in `folder` onto a new disk that is mounted there.
    fn under(folder: &Path) -> anyhow::Result<Self> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
        let (image, aside) = (folder.with_extension("image"), folder.with_extension("aside"));
        std::fs::File::create(&image)?.set_len(DISK_BYTES)?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)?])?;
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        run("mount", &["-o", "loop", &text(&image)?, &text(folder)?])?;
        let disk = Self { mounted: folder.to_path_buf() };
        run("cp", &["-a", &format!("{}/.", text(&aside)?), &text(folder)?])?;
        Ok(disk)
    }

    /// Leaves this much room.
    fn fill(&self, free_bytes: u64) -> TestResult {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.mounted).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let free: u64 = text.lines().nth(1).context("df says nothing")?.trim().parse()?;
        let filler = self.mounted.join("filler");
        let bytes = free.checked_sub(free_bytes).context("the disk is fuller than wanted already")?;
        run("fallocate", &["-l", &bytes.to_string(), filler.to_str().context("text")?])
    }

    fn empty(&self) -> TestResult {
        Ok(std::fs::remove_file(self.mounted.join("filler"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

async fn cluster_on_small_disks(numbers: &[u64]) -> anyhow::Result<(Vec<SmallDisk>, Cluster)> {
    let mut cluster = Cluster::start_with(TERN, 3, &SETTINGS).await?;
    let mut disks = Vec::new();
    for &number in numbers {
        cluster.terminate(number).await?;
        disks.push(SmallDisk::under(cluster.data_directory(number)?)?);
        cluster.start_node(number)?;
        cluster.wait_ready().await?;
    }
    Ok((disks, cluster))
}

async fn wait_refused(cluster: &Cluster, number: u64) -> TestResult {
    let batch: Value = [element("refused", &[], recent_second(), 1)].into_iter().collect();
    wait::until("writes to be refused", LIMIT, || async {
        let answer = cluster.client(number).ingest(&batch).await.map_err(|error| error.to_string())?;
        match (answer.status, answer.header("retry-after")) {
            (503, Some(_)) if answer.text().contains("nearly full") => Ok(()),
            _ => Err(format!("{}: {:.200}", answer.status, answer.text())),
        }
    })
    .await?;
    Ok(())
}

async fn wait_taken(cluster: &Cluster, number: u64, batch: &Value) -> TestResult {
    wait::until("writes to be taken", LIMIT, || async {
        let answer = cluster.client(number).ingest(batch).await.map_err(|error| error.to_string())?;
        if answer.status == 204 { Ok(()) } else { Err(format!("{}: {:.200}", answer.status, answer.text())) }
    })
    .await?;
    Ok(())
}

fn series(name: &str, count: usize, at: i64) -> Value {
    (0..count).map(|n| element(name, &[("n", &n.to_string())], at, n)).collect()
}

async fn delete(cluster: &Cluster, number: u64, name: &str) -> TestResult {
    let answer = cluster.client(number).post(&format!("/api/v1/admin/tsdb/delete_series?match[]={name}"), &[], "").await?;
    expect_status(&answer, 204);
    Ok(())
}

#[tokio::test]
async fn a_full_node_refuses_hands_over_answers_queries_and_recovers_without_a_restart() -> TestResult {
    if !is_root() {
        eprintln!("not run: mounting a disk needs root");
        return Ok(());
    }
    let _turn = turn().await;
    let (disks, mut cluster) = cluster_on_small_disks(&[2]).await?;
    let processes = cluster.process_ids();
    let at = recent_second();
    wait_taken(&cluster, 1, &series("kept", 500, at)).await?;
    wait_taken(&cluster, 1, &series("deleted", 500, at)).await?;
    let load = SampleSetLoad::start(cluster.clients(), 3);
    load.wait_acknowledged(60, LIMIT).await?;

    // It leads something, so that there is something to hand over.
    let (group, _) = *cluster.leaders(1).await?.iter().find(|(group, _)| *group > 0).context("no shard has a leader")?;
    let address = cluster.node(1)?.http.address();
    wait::until("node 2 to lead", LIMIT, || async {
        let leaders = cluster.leaders(1).await.map_err(|error| error.to_string())?;
        if leaders.contains(&(group, 2)) {
            return Ok(());
        }
        let moved = run(TERN, &["admin", "--http", &address, "transfer-leader", &group.to_string(), "--to", "2"]);
        Err(format!("{moved:?}, {leaders:?}"))
    })
    .await?;
    // Less than half of what it should be: it takes no large appends any more.
    disks[0].fill(FREE_BYTES_MIN / 4)?;
    let filled = Instant::now();
    cluster.wait_led_by_others(1, 2).await?;
    println!("all leaders had moved {:.2} s after the disk was full", filled.elapsed().as_secs_f64());
    wait_refused(&cluster, 2).await?;
    // The others go on without it,
    load.wait_acknowledged(60, LIMIT).await?;
    // with batches larger than it would take.
    wait_taken(&cluster, 1, &series("while_full", 4000, at)).await?;
    // It answers what was acknowledged elsewhere, and deletes.
    let client = cluster.client(2);
    assert_eq!(client.number("count(while_full)", at as f64).await?, Some(4000.0));
    assert_eq!(client.number("count(kept)", at as f64).await?, Some(500.0));
    delete(&cluster, 2, "deleted").await?;
    assert_eq!(client.number("count(deleted)", at as f64).await?, None);
    cluster.wait_led_by_others(1, 2).await?;

    disks[0].empty()?;
    wait_taken(&cluster, 2, &series("after", 500, at)).await?;
    cluster.wait_ready().await?;
    let recording = load.finish(&cluster.clients()).await?;
    let report = sample_set::check(&recording.operations);
    assert_eq!(report.verdict(), Verdict::Valid, "{report}");
    print!("{report}");
    cluster.wait_replicas_equal().await?;
    assert_eq!(cluster.process_ids(), processes, "nobody was restarted");
    // Its disk holds everything, too.
    cluster.kill(1)?;
    wait_taken(&cluster, 3, &series("without_1", 10, at)).await?;
    for (name, count) in [("kept", 500.0), ("while_full", 4000.0), ("after", 500.0)] {
        assert_eq!(cluster.client(2).number(&format!("count({name})"), at as f64).await?, Some(count), "{name}");
    }
    cluster.terminate(2).await?;
    drop(disks);
    cluster.finish()
}

#[tokio::test]
async fn when_all_disks_are_full_queries_and_deletions_go_on() -> TestResult {
    if !is_root() {
        eprintln!("not run: mounting a disk needs root");
        return Ok(());
    }
    let _turn = turn().await;
    let (disks, mut cluster) = cluster_on_small_disks(&[1, 2, 3]).await?;
    let at = recent_second();
    wait_taken(&cluster, 1, &series("kept", 500, at)).await?;
    wait_taken(&cluster, 1, &series("deleted", 500, at)).await?;
    for disk in &disks {
        disk.fill(FREE_BYTES_MIN / 4)?;
    }
    for number in cluster.numbers() {
        wait_refused(&cluster, number).await?;
    }
    delete(&cluster, 2, "deleted").await?;
    for (number, client) in cluster.clients() {
        assert_eq!(client.number("count(kept)", at as f64).await?, Some(500.0), "node {number}");
        assert_eq!(client.number("count(deleted)", at as f64).await?, None, "node {number}");
    }
    disks.iter().try_for_each(SmallDisk::empty)?;
    wait_taken(&cluster, 3, &series("after", 500, at)).await?;
    cluster.wait_ready().await?;
    cluster.wait_replicas_equal().await?;
    for number in cluster.numbers() {
        cluster.terminate(number).await?;
    }
    drop(disks);
    cluster.finish()
}
