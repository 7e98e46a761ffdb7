//! A Tern cluster of real processes on loopback, in a directory of its own.
//!
//! Nodes keep their ports for the life of the [`Cluster`], dead or alive. Everything is stopped when it is dropped; the directory with data
//! and logs is kept, and named, unless the run ended with [`Cluster::finish`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::Client;
use crate::ports::Port;
use crate::process::{Process, Signal};
use crate::wait;

/// Longest wait for a node to be ready: start, replay of the log and elections on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a node to end after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_secs(30);

/// Where a run keeps its files: removed after success, kept and named otherwise.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    succeeded: bool,
}

impl RunDirectory {
    pub fn create() -> anyhow::Result<RunDirectory> {
        let directory = tempfile::Builder::new().prefix("tern-run-").tempdir().context("create run directory")?;
        Ok(RunDirectory { path: directory.keep(), succeeded: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nobody will want to look into these files.
    pub fn succeeded(&mut self) {
        self.succeeded = true;
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.succeeded {
            eprintln!("data and logs of the failed run are kept in {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}

/// How a node comes to be a member.
#[derive(Clone, Debug)]
enum Membership {
    /// A cluster of one, started with nothing but a data directory and an address.
    Alone,
    /// One of a static list of peers, under a given id.
    Peer,
    /// Joins through the HTTP address of a member and is given an id.
    Joins(String),
}

/// A node: its addresses, its data, and its process when it runs.
#[derive(Debug)]
pub struct Node {
    /// The node's number in this run: the id of peers of the static list; joined nodes are told theirs by the cluster.
    pub number: u64,
    pub http: Port,
    pub grpc: Port,
    directory: PathBuf,
    membership: Membership,
    process: Option<Process>,
}

/// Running processes of one cluster.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    nodes: Vec<Node>,
    /// Arguments that every node gets besides its addresses.
    extra_arguments: Vec<String>,
    // Last, so that processes have ended when it goes.
    directory: RunDirectory,
}

impl Cluster {
    /// Starts `size` nodes and waits until each says that it is ready.
    pub async fn start(binary: impl Into<PathBuf>, size: u64) -> anyhow::Result<Cluster> {
        Cluster::start_with(binary, size, &[]).await
    }

    /// As [`Cluster::start`], with further arguments for every node.
    pub async fn start_with(binary: impl Into<PathBuf>, size: u64, extra_arguments: &[&str]) -> anyhow::Result<Cluster> {
        let extra_arguments = extra_arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut cluster = Cluster { binary: binary.into(), nodes: Vec::new(), extra_arguments, directory: RunDirectory::create()? };
        let membership = if size == 1 { Membership::Alone } else { Membership::Peer };
        for _ in 0..size {
            cluster.add(membership.clone())?;
        }
        for number in 1..=size {
            cluster.start_node(number)?;
        }
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    fn add(&mut self, membership: Membership) -> anyhow::Result<u64> {
        let number = self.nodes.len() as u64 + 1;
        let directory = self.directory.path().join(format!("node{number}"));
        self.nodes.push(Node { number, http: Port::take()?, grpc: Port::take()?, directory, membership, process: None });
        Ok(number)
    }

    /// Starts one more node, which joins through a running one. Returns its number in this run.
    pub async fn join(&mut self, through: u64) -> anyhow::Result<u64> {
        let seed = self.node(through)?.http.address();
        let number = self.add(Membership::Joins(seed))?;
        self.start_node(number)?;
        Ok(number)
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.number).collect()
    }

    pub fn node(&self, number: u64) -> anyhow::Result<&Node> {
        self.nodes.iter().find(|node| node.number == number).with_context(|| format!("no node {number}"))
    }

    fn node_mut(&mut self, number: u64) -> anyhow::Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.number == number).with_context(|| format!("no node {number}"))
    }

    /// A client of one node. A node that is not there is a mistake of the test.
    pub fn client(&self, number: u64) -> Client {
        let node = self.node(number).expect("a client of a node of this cluster");
        Client::new(&node.http.address())
    }

    /// Clients of all nodes with their numbers.
    pub fn clients(&self) -> Vec<(u64, Client)> {
        self.numbers().into_iter().map(|number| (number, self.client(number))).collect()
    }

    pub fn data_directory(&self, number: u64) -> anyhow::Result<&Path> {
        Ok(&self.node(number)?.directory)
    }

    pub fn run_directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.process.as_ref().map(Process::id)).collect()
    }

    /// Starts a node that is not running, on the data it has.
    pub fn start_node(&mut self, number: u64) -> anyhow::Result<()> {
        let mut command = self.command(number)?;
        let log = self.directory.path().join(format!("node{number}.log"));
        let node = self.node_mut(number)?;
        ensure!(node.process.is_none(), "node {number} is running already");
        node.process = Some(Process::start(&format!("node {number}"), &mut command, &log)?);
        Ok(())
    }

    /// The command line of a node: the one place of the harness that knows it.
    fn command(&self, number: u64) -> anyhow::Result<Command> {
        let node = self.node(number)?;
        let mut command = Command::new(&self.binary);
        command.arg("server").arg("--data-dir").arg(&node.directory).args(["--http", &node.http.address()]);
        command.args(["--grpc", &node.grpc.address()]);
        match &node.membership {
            Membership::Alone => {}
            Membership::Peer => {
                let peers = self.nodes.iter().filter(|peer| matches!(peer.membership, Membership::Peer));
                let peers: Vec<String> =
                    peers.map(|peer| format!("{}={}/{}", peer.number, peer.grpc.address(), peer.http.address())).collect();
                command.args(["--node-id", &number.to_string(), "--peers", &peers.join(",")]);
            }
            Membership::Joins(seed) => {
                command.args(["--join", seed]);
            }
        }
        command.args(&self.extra_arguments);
        Ok(command)
    }

    /// kill -9.
    pub fn kill(&mut self, number: u64) -> anyhow::Result<()> {
        self.take_process(number)?.kill()
    }

    /// kill -9 of all nodes, one right after the other.
    pub fn kill_all(&mut self) -> anyhow::Result<()> {
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            process.signal(Signal::Kill)?;
        }
        for node in &mut self.nodes {
            node.process.take().map(Process::kill).transpose()?;
        }
        Ok(())
    }

    /// SIGTERM; the node must end with code 0.
    pub async fn terminate(&mut self, number: u64) -> anyhow::Result<()> {
        let process = self.take_process(number)?;
        let status = process.terminate(TERMINATE_LIMIT).await?;
        ensure!(status.success(), "node {number} ended with {status} after SIGTERM");
        Ok(())
    }

    pub fn signal(&self, number: u64, signal: Signal) -> anyhow::Result<()> {
        self.node(number)?.process.as_ref().with_context(|| format!("node {number} is not running"))?.signal(signal)
    }

    /// Forgets what a dead node had on disk.
    pub fn wipe(&mut self, number: u64) -> anyhow::Result<()> {
        let node = self.node(number)?;
        ensure!(node.process.is_none(), "wipe node {number} while it runs");
        std::fs::remove_dir_all(&node.directory).with_context(|| format!("wipe {}", node.directory.display()))
    }

    fn take_process(&mut self, number: u64) -> anyhow::Result<Process> {
        self.node_mut(number)?.process.take().with_context(|| format!("node {number} is not running"))
    }

    /// Waits until every running node answers `/-/ready` with 200.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        for number in self.numbers() {
            if self.node(number)?.process.is_some() {
                self.wait_node_ready(number).await?;
            }
        }
        Ok(())
    }

    pub async fn wait_node_ready(&mut self, number: u64) -> anyhow::Result<()> {
        let client = self.client(number);
        let ready = wait::until(&format!("node {number} to be ready"), READY_LIMIT, || {
            let died = self.check_alive(number);
            let client = &client;
            async move {
                died.map_err(|error| error.to_string())?;
                match client.get("/-/ready", &[]).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(format!("{}: {:.200}", answer.status, answer.text())),
                    Err(error) => Err(format!("{error:?}")),
                }
            }
        })
        .await;
        if let Err(timed_out) = ready {
            bail!("{timed_out}\nits log ends:\n{}", self.log_tail(number));
        }
        Ok(())
    }

    fn check_alive(&mut self, number: u64) -> anyhow::Result<()> {
        match &mut self.node_mut(number)?.process {
            Some(process) => process.check_alive(),
            None => bail!("node {number} is not running"),
        }
    }

    fn log_tail(&self, number: u64) -> String {
        let process = self.node(number).ok().and_then(|node| node.process.as_ref());
        process.map(Process::log_tail).unwrap_or_default()
    }

    /// `data` of `/api/v1/status/cluster` as one node sees it.
    pub async fn status(&self, number: u64) -> anyhow::Result<Value> {
        self.client(number).get("/api/v1/status/cluster", &[]).await?.data()
    }

    /// (group, id of its leader) for every group that has one, as one node sees it.
    pub async fn leaders(&self, number: u64) -> anyhow::Result<Vec<(u64, u64)>> {
        let status = self.status(number).await?;
        let groups = status["groups"].as_array().context("no groups in the status")?;
        Ok(groups.iter().filter_map(|group| Some((group["group"].as_u64()?, leader_of(group)?))).collect())
    }

    /// The node that leads most shard groups: the most interesting one to kill.
    pub async fn busiest_leader(&self) -> anyhow::Result<u64> {
        let running = self.nodes.iter().find(|node| node.process.is_some()).context("no node is running")?.number;
        let leaders = self.leaders(running).await?;
        let led = |number: u64| leaders.iter().filter(|(group, leader)| *group > 0 && *leader == number).count();
        self.numbers().into_iter().max_by_key(|&number| led(number)).context("no nodes")
    }

    /// Waits until every group that `seen_by` knows is led, and by others than `deposed`.
    pub async fn wait_led_by_others(&self, seen_by: u64, deposed: u64) -> anyhow::Result<()> {
        wait::until(&format!("leaders other than node {deposed}"), READY_LIMIT, || async {
            let status = self.status(seen_by).await.map_err(|error| format!("{error:#}"))?;
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            let led = |group: &Value| leader_of(group).is_some_and(|leader| leader != deposed);
            if !groups.is_empty() && groups.iter().all(led) { Ok(()) } else { Err(Value::Array(groups).to_string()) }
        })
        .await?;
        Ok(())
    }

    /// Waits until all replicas of every shard have the same content. To be called when nothing is being written.
    pub async fn wait_replicas_equal(&self) -> anyhow::Result<()> {
        wait::until("replicas to be equal", READY_LIMIT, || async {
            let hashes = self.replica_hashes().await.map_err(|error| format!("{error:#}"))?;
            let equal = |hashes: &BTreeSet<String>| hashes.len() == 1;
            if !hashes.is_empty() && hashes.values().all(equal) { Ok(()) } else { Err(format!("{hashes:?}")) }
        })
        .await?;
        Ok(())
    }

    /// For each shard the different content hashes of its replicas on running nodes.
    async fn replica_hashes(&self) -> anyhow::Result<BTreeMap<u64, BTreeSet<String>>> {
        let mut hashes: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let status = self.status(node.number).await?;
            let groups = status["groups"].as_array().context("no groups in the status")?;
            for shard in groups.iter().filter_map(|group| group["group"].as_u64()?.checked_sub(1)) {
                let answer = self.client(node.number).get("/debug/hash", &[("shard", &shard.to_string())]).await?.json()?;
                let hash = answer["hash"].as_str().with_context(|| format!("no hash in {answer}"))?;
                hashes.entry(shard).or_default().insert(hash.to_owned());
            }
        }
        Ok(hashes)
    }

    /// The good end of a run: no node has panicked. Stops everything and removes the files, which otherwise are kept.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let panics = self.panics()?;
        ensure!(panics.is_empty(), "nodes have panicked: {panics:#?}");
        self.directory.succeeded();
        Ok(())
    }

    /// Lines of all logs that tell of a panic or a failed assertion. Empty after a healthy run.
    fn panics(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let log = self.directory.path().join(format!("node{}.log", node.number));
            let text = std::fs::read(&log).with_context(|| format!("read {}", log.display()))?;
            let text = String::from_utf8_lossy(&text);
            found.extend(text.lines().filter(|line| line.contains("panicked at")).map(|line| format!("node {}: {line}", node.number)));
        }
        Ok(found)
    }
}

/// The leader that a group's status names; 0 and null stand for none.
fn leader_of(group: &Value) -> Option<u64> {
    group["leader"].as_u64().filter(|&leader| leader > 0)
}
