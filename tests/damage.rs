//! Any one file of one node is damaged: it is noticed before anybody is served from it, the node mends itself from the others, and
//! nothing that was acknowledged is lost.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;

use crate::support::*;

/// Longest wait for a node to be whole again: joining under a new id takes snapshots of all shards and a few changes of members.
const HEAL_LIMIT: Duration = Duration::from_secs(120);
/// One look at a node; in between it is restarted if it has ended.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
const SAMPLES: usize = 3000;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// One bit, so far into the file (0: its beginning, 1: its end).
    Flip(f64),
    /// The file keeps this part of its length.
    Cut(f64),
}

impl Harm {
    fn inflict(self, path: &Path) -> anyhow::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path).with_context(|| format!("open {}", path.display()))?;
        let length = file.metadata()?.len();
        ensure!(length > 0, "{} is empty", path.display());
        match self {
            Harm::Flip(part) => {
                let at = ((length as f64 * part) as u64).min(length - 1);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ 0x10], at)?;
            }
            Harm::Cut(part) => file.set_len((length as f64 * part) as u64)?,
        }
        println!("{self:?} of {} ({length} bytes)", path.display());
        Ok(())
    }
}

/// What becomes of a node whose file was harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing that counts was in the file.
    Unharmed,
    /// It goes on as the node that it was.
    Stays,
    /// It goes on under another id.
    Replaced,
}

/// A cluster of three with samples in sealed files, in the log behind them, and in memory.
struct Subject {
    cluster: Cluster,
    at: i64,
    batches: Vec<String>,
}

impl Subject {
    async fn start() -> anyhow::Result<Self> {
        // Scrubbed once, at the start of each node, and as fast as can be.
        let cluster = Cluster::start_with(TERN, 3, &["--storage-scrub-bytes-per-second", "1GiB"]).await?;
        let mut subject = Self { cluster, at: recent_second(), batches: Vec::new() };
        subject.write(1).await?;
        subject.flush().await?;
        subject.write(2).await?;
        Ok(subject)
    }

    async fn write(&mut self, through: u64) -> TestResult {
        let name = format!("batch_{}", self.batches.len());
        let elements: Value = (0..SAMPLES).map(|n| element(&name, &[("n", &n.to_string())], self.at - n as i64 % 50, n)).collect();
        // A leader may have just gone.
        wait::until("the write to be taken", HEAL_LIMIT, || async {
            let answer = self.cluster.client(through).ingest(&elements).await.map_err(|error| error.to_string())?;
            if answer.status == 204 { Ok(()) } else { Err(format!("{}: {:.200}", answer.status, answer.text())) }
        })
        .await?;
        self.batches.push(name);
        Ok(())
    }

    async fn flush(&self) -> TestResult {
        for (_, client) in self.cluster.clients() {
            expect_status(&client.post("/debug/flush", &[], "").await?, 204);
        }
        Ok(())
    }

    /// Every acknowledged sample is read from every node, and the replicas are the same.
    async fn judge(&mut self) -> TestResult {
        self.cluster.wait_ready().await?;
        for (number, client) in self.cluster.clients() {
            for name in &self.batches {
                let (count, time) = (SAMPLES as f64, self.at as f64);
                assert_eq!(client.number(&format!("count({name})"), time).await?, Some(count), "{name} on node {number}");
                let sum = count * (count - 1.0) / 2.0;
                assert_eq!(client.number(&format!("sum({name})"), time).await?, Some(sum), "{name} on node {number}");
            }
        }
        self.cluster.wait_replicas_equal().await
    }

    /// Lines in which a node complains about its disk.
    fn complaints(&self, number: u64) -> anyhow::Result<usize> {
        let log = std::fs::read_to_string(self.cluster.run_directory().join(format!("node{number}.log")))?;
        Ok(log.lines().filter(|line| line.contains("ERROR") && line.contains("damaged")).count())
    }

    /// Harms a file of a node that was killed, and sees the node become whole again.
    async fn survives(&mut self, victim: u64, harm: Harm, file: &Path, fate: Fate) -> TestResult {
        harm.inflict(file)?;
        let complaints = self.complaints(victim)?;
        let id = self.id_of(victim, victim % 3 + 1).await?;
        self.write(victim % 3 + 1).await?;
        self.cluster.start_node(victim)?;
        self.wait_whole(victim, id, fate).await.with_context(|| format!("{harm:?} of {}", file.display()))?;
        if fate != Fate::Unharmed {
            let file = file.display().to_string();
            wait::until("a complaint", HEAL_LIMIT, || {
                let found = self.complaints(victim).map_err(|error| error.to_string());
                let unnoticed = format!("{harm:?} of {file} went unnoticed");
                async move { if found? > complaints { Ok(()) } else { Err(unnoticed) } }
            })
            .await?;
            // Found late, it is mended late.
            self.wait_whole(victim, id, fate).await?;
        }
        // It is needed for a majority, and has what the others have.
        let other = (victim + 1) % 3 + 1;
        self.cluster.terminate(other).await?;
        self.write(victim).await?;
        self.cluster.start_node(other)?;
        self.judge().await
    }

    async fn id_of(&self, number: u64, through: u64) -> anyhow::Result<u64> {
        let status = self.cluster.status(through).await?;
        let address = json!(self.cluster.node(number)?.http.address());
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let ids = members.iter().filter(|member| member["http"] == address && member["state"] != "removed");
        ids.filter_map(|member| member["id"].as_u64()).max().context("the node is no member")
    }

    /// As a supervisor does: a node that found its database damaged ends, and its next start mends it.
    fn restart_if_ended(&mut self, number: u64) -> TestResult {
        match self.cluster.take_ended(number) {
            Ok(_) => self.cluster.start_node(number),
            Err(_) => Ok(()),
        }
    }

    /// Until the node has every group, as the id it should have, with everybody's vote, and is ready.
    async fn wait_whole(&mut self, number: u64, old: u64, fate: Fate) -> TestResult {
        let begun = Instant::now();
        loop {
            match self.look_whole(number, old, fate).await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > HEAL_LIMIT => return Err(error),
                Err(_) => self.restart_if_ended(number)?,
            }
        }
    }

    /// One look, of a few seconds.
    async fn look_whole(&self, number: u64, old: u64, fate: Fate) -> TestResult {
        let seen_by = number % 3 + 1;
        let address = json!(self.cluster.node(number)?.http.address());
        let cluster = &self.cluster;
        wait::until("the node to be whole", LOOK_LIMIT, || async {
            let answer = cluster.client(number).get("/-/ready", &[]).await.map_err(|error| error.to_string())?;
            if answer.status != 200 {
                return Err(format!("not ready: {}", answer.status));
            }
            let status = cluster.status(seen_by).await.map_err(|error| error.to_string())?;
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let here = members.iter().filter(|member| member["http"] == address);
            let living = here.filter(|member| member["state"] == "active").filter_map(|member| member["id"].as_u64()).max();
            let id = living.filter(|id| (*id == old) == (fate != Fate::Replaced)).ok_or_else(|| status["members"].to_string())?;
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            let votes = |group: &Value| {
                let voters = group["voters"].as_array().cloned().unwrap_or_default();
                voters.contains(&json!(id)) && voters.len() == 3
            };
            if groups.len() > 1 && groups.iter().all(votes) { Ok(()) } else { Err(status["groups"].to_string()) }
        })
        .await?;
        Ok(())
    }

    fn files(&self, number: u64, part: &str, end: &str) -> anyhow::Result<Vec<PathBuf>> {
        let directory = self.cluster.data_directory(number)?.join(part);
        let entries = std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(end)));
        files.retain(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 0));
        files.sort();
        ensure!(!files.is_empty(), "{} has no file like {end}", directory.display());
        Ok(files)
    }

    fn newest(&self, number: u64, part: &str, end: &str) -> anyhow::Result<PathBuf> {
        self.files(number, part, end)?.pop().context("no file")
    }
}

/// Kills a node, harms the newest file of a kind, and so on, for each case.
async fn survive_all(cases: &[(&str, &str, Harm, Fate)]) -> TestResult {
    let _turn = turn().await;
    let mut subject = Subject::start().await?;
    for (round, (part, end, harm, fate)) in cases.iter().enumerate() {
        let victim = round as u64 % 3 + 1;
        subject.cluster.kill(victim)?;
        let file = subject.newest(victim, part, end)?;
        subject.survives(victim, *harm, &file, *fate).await?;
        // The next victim has sealed files, too.
        subject.flush().await?;
        subject.write(victim).await?;
    }
    subject.cluster.finish()
}

#[tokio::test]
async fn a_harmed_write_ahead_log_costs_the_node_its_id_and_nobody_a_sample() -> TestResult {
    survive_all(&[
        ("log", ".log", Harm::Flip(0.5), Fate::Replaced),
        ("log", ".log", Harm::Flip(1.0), Fate::Replaced),
        ("log", ".log", Harm::Cut(0.7), Fate::Replaced),
    ])
    .await
}

#[tokio::test]
async fn a_harmed_manifest_of_the_log_costs_the_node_its_id_and_nobody_a_sample() -> TestResult {
    survive_all(&[("log", "MANIFEST", Harm::Flip(0.5), Fate::Replaced), ("log", "CURRENT", Harm::Cut(0.0), Fate::Replaced)]).await
}

#[tokio::test]
async fn files_that_only_tell_about_others_may_be_harmed() -> TestResult {
    survive_all(&[
        ("log", "high_water.latest", Harm::Flip(0.5), Fate::Unharmed),
        ("log", "high_water.1", Harm::Cut(0.5), Fate::Unharmed),
        ("log", "OPTIONS", Harm::Flip(0.3), Fate::Unharmed),
        ("", "identity", Harm::Flip(0.3), Fate::Unharmed),
        ("state/rocks", "OPTIONS", Harm::Cut(0.3), Fate::Unharmed),
        ("state/rocks", "IDENTITY", Harm::Flip(0.3), Fate::Unharmed),
    ])
    .await
}

#[tokio::test]
async fn a_harmed_state_is_fetched_from_the_others() -> TestResult {
    survive_all(&[
        ("state/rocks", "MANIFEST", Harm::Flip(0.5), Fate::Stays),
        ("state/rocks", "MANIFEST", Harm::Cut(0.7), Fate::Stays),
        ("state/rocks", "CURRENT", Harm::Flip(0.5), Fate::Stays),
        ("state/rocks", ".sst", Harm::Cut(0.5), Fate::Stays),
    ])
    .await
}

/// Bits that nothing looks at before a query, a compaction or the scrub does.
#[tokio::test]
async fn a_flipped_bit_in_any_file_of_the_state_is_found_and_mended() -> TestResult {
    let _turn = turn().await;
    let mut subject = Subject::start().await?;
    subject.cluster.kill(2)?;
    // The largest are chunks and definitions of series, the smallest facts of the engine; their first bytes are data.
    for rank in [0, 1, 2, usize::MAX] {
        let mut files = subject.files(2, "state/rocks", ".sst")?;
        files.sort_by_key(|file| std::cmp::Reverse(file.metadata().map_or(0, |metadata| metadata.len())));
        let file = files.get(rank.min(files.len() - 1)).context("no such file")?.clone();
        subject.survives(2, Harm::Flip(0.01), &file, Fate::Stays).await?;
        subject.flush().await?;
        subject.write(2).await?;
        subject.cluster.kill(2)?;
    }
    subject.cluster.start_node(2)?;
    subject.judge().await?;
    subject.cluster.finish()
}

/// Nothing looks for damage here but queries. Until the replica is mended they fail or are right.
#[tokio::test]
async fn a_bit_that_flips_under_a_running_node_never_changes_an_answer() -> TestResult {
    let _turn = turn().await;
    let mut cluster = Cluster::start_with(TERN, 3, &["--storage-scrub-interval", "0s"]).await?;
    let at = recent_second();
    let elements: Value = (0..SAMPLES).map(|n| element("m", &[("n", &n.to_string())], at - n as i64 % 50, n)).collect();
    expect_status(&cluster.client(1).ingest(&elements).await?, 204);
    for (_, client) in cluster.clients() {
        expect_status(&client.post("/debug/flush", &[], "").await?, 204);
    }
    // After a restart its chunks are on disk only.
    cluster.terminate(2).await?;
    cluster.start_node(2)?;
    cluster.wait_ready().await?;
    let folder = cluster.data_directory(2)?.join("state/rocks");
    let files = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.metadata().map_or(0, |metadata| metadata.len())));
    for file in &files[..files.len().min(12)] {
        Harm::Flip(0.01).inflict(file)?;
    }
    let expected = SAMPLES as f64 * (SAMPLES - 1) as f64 / 2.0;
    let log = cluster.run_directory().join("node2.log");
    wait::until("the replicas to be healed", HEAL_LIMIT, || async {
        let client = cluster.client(2);
        if let Ok(answer) = client.number("sum(m)", at as f64).await {
            assert_eq!(answer, Some(expected), "a wrong answer");
        }
        let log = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        match log.contains("the replica is healed") || log.contains("the process ends") {
            true => Ok(()),
            false => Err("no damage was met yet".to_owned()),
        }
    })
    .await?;
    // It may have healed one replica and yet end over the next file: it is started again as often as it does.
    let until = Instant::now() + HEAL_LIMIT;
    while let Err(error) = healed_answer(&mut cluster, at, expected).await {
        ensure!(Instant::now() < until, "node 2 does not come to rest: {error:#}");
        wait::pace(Duration::from_millis(200)).await;
    }
    cluster.finish()
}

/// Node 2, started if it has ended, answers, and rightly; its replicas hold what the others hold.
async fn healed_answer(cluster: &mut Cluster, at: i64, expected: f64) -> TestResult {
    if cluster.take_ended(2).is_ok() {
        cluster.start_node(2)?;
    }
    let client = cluster.client(2);
    ensure!(client.get("/-/ready", &[]).await?.status == 200, "it is not ready");
    assert_eq!(client.number("sum(m)", at as f64).await?, Some(expected), "a wrong answer");
    cluster.wait_replicas_equal().await
}

#[tokio::test]
async fn a_node_alone_says_what_is_wrong_and_touches_nothing() -> TestResult {
    let _turn = turn().await;
    for (part, end, harm) in [("log", ".log", Harm::Flip(0.5)), ("state/rocks", "MANIFEST", Harm::Flip(0.5))] {
        let mut cluster = one_node().await?;
        let elements: Value = (0..SAMPLES).map(|n| element("alone", &[("n", &n.to_string())], recent_second(), n)).collect();
        expect_status(&cluster.client(1).ingest(&elements).await?, 204);
        expect_status(&cluster.client(1).post("/debug/flush", &[], "").await?, 204);
        cluster.kill(1)?;
        let folder = cluster.data_directory(1)?.join(part);
        let list = || -> anyhow::Result<Vec<PathBuf>> {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            Ok(files)
        };
        let file = list()?.into_iter().rfind(|path| path.to_string_lossy().contains(end)).context("no such file")?;
        harm.inflict(&file)?;
        let before = list()?;
        cluster.start_node(1)?;
        let said = wait::until("the node to give up", HEAL_LIMIT, || {
            let ended = cluster.take_ended(1);
            async move { ended.map_err(|error| error.to_string()) }
        })
        .await?;
        assert!(said.contains("no other node has its data"), "{said}");
        assert!(before.iter().filter(|path| path.to_string_lossy().contains(end)).all(|path| path.exists()), "files are gone");
        cluster.finish()?;
    }
    Ok(())
}
