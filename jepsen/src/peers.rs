//! The other servers of a run: Debian's Prometheus, node_exporter, HAProxy and VictoriaMetrics, each in a directory of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::client::Client;
use crate::ports::Port;
use crate::process::Process;
use crate::wait;

/// Longest wait for a peer to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where a program is, if it is installed: `PATH` and the places for servers, which are not in every user's path.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let server_directories = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(server_directories).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// A running peer and its address.
#[derive(Debug)]
pub struct Peer {
    pub process: Process,
    port: Port,
}

impl Peer {
    pub fn address(&self) -> String {
        self.port.address()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.address())
    }

    async fn started(process: Process, port: Port, health_path: &str) -> anyhow::Result<Peer> {
        let mut peer = Peer { process, port };
        let client = peer.client();
        wait::until(&format!("{} to answer", peer.address()), START_LIMIT, || {
            let died = peer.process.check_alive();
            let client = &client;
            async move {
                died.map_err(|error| error.to_string())?;
                match client.get(health_path, &[]).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(format!("status {}", answer.status)),
                    Err(error) => Err(format!("{error:?}")),
                }
            }
        })
        .await?;
        Ok(peer)
    }
}

/// Debian's Prometheus with a configuration file of this text. It takes remote write too.
pub async fn prometheus(directory: &Path, configuration: &str) -> anyhow::Result<Peer> {
    prometheus_with(directory, configuration, &[]).await
}

/// The same with further flags.
pub async fn prometheus_with(directory: &Path, configuration: &str, flags: &[&str]) -> anyhow::Result<Peer> {
    let program = installed("prometheus").context("prometheus is not installed: apt-get install prometheus")?;
    let file = directory.join("prometheus.yml");
    std::fs::write(&file, configuration).context("write prometheus.yml")?;
    let port = Port::take()?;
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
    command.arg(format!("--web.listen-address={}", port.address()));
    command.args(["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--storage.tsdb.retention.time=30d", "--log.level=warn"]);
    command.args(flags);
    let process = Process::start("prometheus", &mut command, &directory.join("prometheus.log"))?;
    Peer::started(process, port, "/-/ready").await
}

/// Debian's node_exporter.
pub async fn node_exporter(directory: &Path) -> anyhow::Result<Peer> {
    let program = installed("prometheus-node-exporter").context("not installed: apt-get install prometheus-node-exporter")?;
    let port = Port::take()?;
    let mut command = Command::new(program);
    command.arg(format!("--web.listen-address={}", port.address())).arg("--log.level=error");
    let process = Process::start("node_exporter", &mut command, &directory.join("node_exporter.log"))?;
    Peer::started(process, port, "/metrics").await
}

/// Debian's VictoriaMetrics, one node.
pub async fn victoria_metrics(directory: &Path) -> anyhow::Result<Peer> {
    let program = installed("victoria-metrics").context("victoria-metrics is not installed: apt-get install victoria-metrics")?;
    let port = Port::take()?;
    let mut command = Command::new(program);
    command.arg(format!("-storageDataPath={}", directory.join("victoria-metrics").display()));
    command.arg(format!("-httpListenAddr={}", port.address()));
    command.args(["-retentionPeriod=1y", "-loggerLevel=WARN", "-search.latencyOffset=0s", "-search.disableCache"]);
    let process = Process::start("victoria-metrics", &mut command, &directory.join("victoria-metrics.log"))?;
    Peer::started(process, port, "/health").await
}

/// HAProxy with the project's own configuration, in front of three nodes.
pub async fn haproxy(directory: &Path, configuration: &Path, nodes: &[String; 3]) -> anyhow::Result<Peer> {
    let program = installed("haproxy").context("haproxy is not installed: apt-get install haproxy")?;
    let port = Port::take()?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(configuration).env("TERN_BALANCER", port.address());
    for (index, node) in nodes.iter().enumerate() {
        command.env(format!("TERN_NODE{}", index + 1), node);
    }
    let process = Process::start("haproxy", &mut command, &directory.join("haproxy.log"))?;
    Peer::started(process, port, "/-/ready").await
}
