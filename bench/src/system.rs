//! The systems that are measured: how each is started, settled and asked for its size on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::peers::{self, Peer};
use tern_jepsen::process::{Usage, usage_of};
use tern_jepsen::wait;

/// Longest time given to flush and merge after the load.
const SETTLE_LIMIT: Duration = Duration::from_secs(25);
/// A system has settled when its processes together used less than a tenth of this time.
const SETTLE_WINDOW: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    TernOne,
    TernThree,
    VictoriaMetrics,
    Prometheus,
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            System::TernOne => "Tern, 1 node",
            System::TernThree => "Tern, 3 nodes",
            System::VictoriaMetrics => "VictoriaMetrics",
            System::Prometheus => "Prometheus",
        }
    }

    pub fn is_tern(self) -> bool {
        matches!(self, System::TernOne | System::TernThree)
    }
}

/// Sizes of what a system has written.
#[derive(Clone, Copy, Debug)]
pub struct DiskBytes {
    /// Samples and indexes in their lasting form.
    pub data_bytes: u64,
    /// With logs that will be dropped later.
    pub all_bytes: u64,
}

enum Servers {
    Tern(Cluster),
    VictoriaMetrics(Peer),
    Prometheus(Peer),
}

/// A started system, stopped when dropped.
pub struct Running {
    servers: Servers,
    addresses: Vec<String>,
    // Last, so that processes have ended when it goes.
    directory: RunDirectory,
}

impl Running {
    pub async fn start(system: System, tern: &Path) -> anyhow::Result<Running> {
        let directory = RunDirectory::create()?;
        let servers = match system {
            System::TernOne => Servers::Tern(Cluster::start(tern, 1).await?),
            System::TernThree => Servers::Tern(Cluster::start(tern, 3).await?),
            System::VictoriaMetrics => Servers::VictoriaMetrics(peers::victoria_metrics(directory.path()).await?),
            System::Prometheus => Servers::Prometheus(peers::prometheus(directory.path(), "global: {}\n").await?),
        };
        let addresses = match &servers {
            Servers::Tern(cluster) => {
                cluster.numbers().into_iter().map(|number| Ok(cluster.node(number)?.http.address())).collect::<anyhow::Result<_>>()?
            }
            Servers::VictoriaMetrics(peer) | Servers::Prometheus(peer) => vec![peer.address()],
        };
        Ok(Running { servers, addresses, directory })
    }

    /// The good end: nothing is kept.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.directory.succeeded();
        if let Servers::Tern(cluster) = self.servers { cluster.finish() } else { Ok(()) }
    }

    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub fn replicas(&self) -> usize {
        self.addresses.len()
    }

    /// Of all processes together.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let process_ids = match &self.servers {
            Servers::Tern(cluster) => cluster.process_ids(),
            Servers::VictoriaMetrics(peer) | Servers::Prometheus(peer) => vec![peer.process.id()],
        };
        let mut total = Usage::default();
        for process_id in process_ids {
            let usage = usage_of(process_id)?;
            total.cpu_seconds += usage.cpu_seconds;
            total.resident_bytes += usage.resident_bytes;
        }
        Ok(total)
    }

    /// Asks for everything to be written out, then waits until the processes are quiet.
    pub async fn settle(&self) -> anyhow::Result<()> {
        match &self.servers {
            Servers::Tern(cluster) => {
                for (number, client) in cluster.clients() {
                    let answer = client.post("/debug/flush", &[], "").await?;
                    if answer.status >= 300 {
                        eprintln!("node {number} did not flush, its size on disk tells little: {} {:.200}", answer.status, answer.text());
                    }
                }
            }
            Servers::VictoriaMetrics(peer) => {
                peer.client().get("/internal/force_flush", &[]).await?;
                peer.client().get("/internal/force_merge", &[]).await?;
            }
            Servers::Prometheus(_) => {}
        }
        self.wait_quiet().await
    }

    async fn wait_quiet(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < SETTLE_LIMIT {
            let before = self.usage()?.cpu_seconds;
            wait::pace(SETTLE_WINDOW).await;
            if self.usage()?.cpu_seconds - before < SETTLE_WINDOW.as_secs_f64() / 10.0 {
                break;
            }
        }
        Ok(())
    }

    /// Of all replicas together. Prometheus keeps the last hours in its log; a snapshot shows them in their lasting form.
    pub async fn disk_bytes(&self) -> anyhow::Result<DiskBytes> {
        match &self.servers {
            Servers::Tern(cluster) => {
                let mut sum = DiskBytes { data_bytes: 0, all_bytes: 0 };
                for number in cluster.numbers() {
                    let directory = cluster.data_directory(number)?;
                    sum.data_bytes += size_of(&directory.join("state"))?;
                    // Room that is kept back for a full disk is no data.
                    let reserve = std::fs::metadata(directory.join("reserve")).map_or(0, |file| file.len());
                    sum.all_bytes += size_of(directory)?.saturating_sub(reserve);
                }
                Ok(sum)
            }
            Servers::VictoriaMetrics(_) => {
                let bytes = size_of(&self.directory.path().join("victoria-metrics"))?;
                Ok(DiskBytes { data_bytes: bytes, all_bytes: bytes })
            }
            Servers::Prometheus(peer) => {
                let directory = self.directory.path().join("prometheus");
                let all_bytes = size_of(&directory)?;
                let answer = peer.client().post("/api/v1/admin/tsdb/snapshot", &[], "").await?.data()?;
                let name = answer["name"].as_str().context("no name of the snapshot")?;
                Ok(DiskBytes { data_bytes: size_of(&directory.join("snapshots").join(name))?, all_bytes })
            }
        }
    }
}

/// Allocated bytes of all files below a directory: preallocated logs count as what they take.
fn size_of(directory: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        // Files come and go while a server runs.
        let Ok(metadata) = entry.metadata() else { continue };
        total += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len().min(metadata.blocks() * 512) };
    }
    Ok(total)
}
