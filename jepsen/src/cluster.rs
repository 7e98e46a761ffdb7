//! A Tern cluster of real processes, in a directory of its own: on loopback, or each node in a network namespace.
//!
//! Nodes keep their ports for the life of the [`Cluster`], dead or alive. Everything is stopped when it is dropped; the directory with data
//! and logs is kept, and named, unless the run ended with [`Cluster::finish`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::checker::logs::{LogLine, Logs, Named};
use crate::client::Client;
use crate::disk::image::{Image, Medium};
use crate::leftovers;
use crate::network::lan::Lan;
use crate::ports::Port;
use crate::process::{Process, Signal};
use crate::wait;

/// Longest wait for a node to be ready: start, replay of the log and elections on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a node to end after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_secs(30);

/// Ports of nodes that have an address of their own: Tern's defaults.
const HTTP_PORT: u16 = 9201;
const GRPC_PORT: u16 = 9301;
/// What libfaketime is told at the start: the true time.
const TRUE_TIME: &str = "+0";
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

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

/// What a cluster stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// `None`: loopback.
    pub lan: Option<Arc<Lan>>,
    pub medium: Medium,
    /// Size of each node's disk, if it has one of its own.
    pub disk_bytes: u64,
    /// Whether each node has a wall clock of its own (libfaketime), for [`Cluster::set_clock`].
    pub clocks: bool,
}

impl Ground {
    /// Plain processes, plain directories.
    pub fn loopback() -> Ground {
        Ground { lan: None, medium: Medium::None, disk_bytes: 0, clocks: false }
    }
}

/// A node: its addresses, its data, and its process when it runs.
#[derive(Debug)]
pub struct Node {
    /// The node's number in this run: the id of peers of the static list; joined nodes are told theirs by the cluster.
    pub number: u64,
    /// The id that the cluster knows the node by; `None` while a joined node has not been told.
    pub id: Option<u64>,
    pub http: Port,
    pub grpc: Port,
    directory: PathBuf,
    membership: Membership,
    binary: PathBuf,
    /// Counts starts: tells one process of the node from the next.
    starts: u64,
    /// It has left the cluster for good.
    retired: bool,
    process: Option<Process>,
    // After the process, so that nothing uses the disk when it goes.
    image: Option<Image>,
}

/// Running processes of one cluster.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    nodes: Vec<Node>,
    /// Arguments that every node gets besides its addresses; `{node}` stands for its number.
    extra_arguments: Vec<String>,
    ground: Ground,
    // Last, so that processes have ended when it goes.
    directory: RunDirectory,
}

impl Cluster {
    /// Starts `size` nodes and waits until each says that it is ready.
    pub async fn start(binary: impl Into<PathBuf>, size: u64) -> anyhow::Result<Cluster> {
        Cluster::start_with(binary, size, &[]).await
    }

    /// As [`Cluster::start`], with further arguments for every node; `{node}` in one stands for the node's number.
    pub async fn start_with(binary: impl Into<PathBuf>, size: u64, extra_arguments: &[&str]) -> anyhow::Result<Cluster> {
        Cluster::start_on(Ground::loopback(), binary, size, extra_arguments).await
    }

    /// As [`Cluster::start_with`], on other ground.
    pub async fn start_on(ground: Ground, binary: impl Into<PathBuf>, size: u64, extra_arguments: &[&str]) -> anyhow::Result<Cluster> {
        let extra_arguments = extra_arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut cluster = Cluster { binary: binary.into(), nodes: Vec::new(), extra_arguments, ground, directory: RunDirectory::create()? };
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
        let (http, grpc) = match &self.ground.lan {
            None => (Port::take()?, Port::take()?),
            Some(lan) => {
                lan.add_node(number)?;
                (Port::own(lan.address(number), HTTP_PORT), Port::own(lan.address(number), GRPC_PORT))
            }
        };
        let image = self.new_image(number)?;
        let own_directory = self.directory.path().join(format!("node{number}"));
        let directory = image.as_ref().map_or(own_directory, |image| image.mount_point().join("data"));
        let id = matches!(membership, Membership::Peer | Membership::Alone).then_some(number);
        let binary = self.binary.clone();
        self.nodes.push(Node { number, id, http, grpc, directory, membership, binary, starts: 0, retired: false, process: None, image });
        Ok(number)
    }

    /// A disk for a node, if nodes have their own.
    fn new_image(&self, number: u64) -> anyhow::Result<Option<Image>> {
        let Ground { lan: Some(lan), medium, disk_bytes, .. } = &self.ground else { return Ok(None) };
        let file = match medium {
            Medium::None => return Ok(None),
            Medium::Memory => leftovers::memory_image(lan.run_name(), number),
            Medium::Disk => self.directory.path().join(format!("node{number}.img")),
        };
        Image::create(file, leftovers::mount_point(lan.run_name(), number), *disk_bytes).map(Some)
    }

    /// Starts one more node, which joins through a running one. Returns its number in this run.
    pub async fn join(&mut self, through: u64) -> anyhow::Result<u64> {
        let seed = self.node(through)?.http.address();
        let number = self.add(Membership::Joins(seed))?;
        self.start_node(number)?;
        Ok(number)
    }

    /// All nodes but those that have left for good.
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| !node.retired).map(|node| node.number).collect()
    }

    pub fn ground(&self) -> &Ground {
        &self.ground
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
        node.starts += 1;
        node.process = Some(Process::start(&format!("node {number}"), &mut command, &log)?);
        Ok(())
    }

    /// The command line of a node: the one place of the harness that knows it.
    fn command(&self, number: u64) -> anyhow::Result<Command> {
        let node = self.node(number)?;
        let mut command = match &self.ground.lan {
            None => Command::new(&node.binary),
            Some(lan) => {
                let enter = lan.enter(number);
                let mut command = Command::new(&enter[0]);
                command.args(&enter[1..]).arg(&node.binary);
                command
            }
        };
        if self.ground.clocks {
            self.set_clock(number, TRUE_TIME)?;
            // Only the wall clock: timers and elections run on the monotonic one, which no administrator can set either.
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", self.clock_file(number));
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.arg("server").arg("--data-dir").arg(&node.directory).args(["--http", &node.http.address()]);
        command.args(["--grpc", &node.grpc.address()]);
        if !node.grpc.address().starts_with("127.") {
            // Nobody else is in these namespaces.
            command.args(["--cluster-insecure", "true"]);
        }
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
        command.args(self.extra_arguments.iter().map(|argument| argument.replace("{node}", &number.to_string())));
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

    /// Sets a node's wall clock, in libfaketime's words: `+120s`, `-3600s`, `+0 x2.0`. It is noticed within a second.
    pub fn set_clock(&self, number: u64, offset: &str) -> anyhow::Result<()> {
        let file = self.clock_file(number);
        // Replaced at once: a node must never read half of it.
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n"))
            .and_then(|()| std::fs::rename(&new, &file))
            .with_context(|| format!("write {}", file.display()))
    }

    fn clock_file(&self, number: u64) -> PathBuf {
        self.directory.path().join(format!("node{number}.clock"))
    }

    /// The program that the node runs from its next start on.
    pub fn set_binary(&mut self, number: u64, binary: &Path) -> anyhow::Result<()> {
        self.node_mut(number)?.binary = binary.to_owned();
        Ok(())
    }

    /// The node has left the cluster for good: it is not waited for, read or compared any more. Its process ends.
    pub fn retire(&mut self, number: u64) -> anyhow::Result<()> {
        let node = self.node_mut(number)?;
        node.retired = true;
        node.process = None;
        Ok(())
    }

    /// Notes the id that the cluster has given to a joined node.
    pub fn set_id(&mut self, number: u64, id: u64) -> anyhow::Result<()> {
        self.node_mut(number)?.id = Some(id);
        Ok(())
    }

    /// The node's running process and which one it is; `None` when it does not run.
    pub fn running(&self, number: u64) -> Option<(u32, u64)> {
        let node = self.node(number).ok()?;
        Some((node.process.as_ref()?.id(), node.starts))
    }

    /// Whether the process of a node that should run has ended by itself, and with what last words. Its end is noted.
    pub fn notice_end(&mut self, number: u64) -> Option<String> {
        let node = self.node_mut(number).ok()?;
        let error = node.process.as_mut()?.check_alive().err()?;
        node.process = None;
        Some(error.to_string())
    }

    /// The node's own disk.
    pub fn image(&self, number: u64) -> anyhow::Result<&Image> {
        self.node(number)?.image.as_ref().with_context(|| format!("node {number} has no disk of its own"))
    }

    /// Everything a node has logged.
    pub fn log_file(&self, number: u64) -> PathBuf {
        self.directory.path().join(format!("node{number}.log"))
    }

    /// Forgets what a dead node had on disk.
    pub fn wipe(&mut self, number: u64) -> anyhow::Result<()> {
        let node = self.node(number)?;
        ensure!(node.process.is_none(), "wipe node {number} while it runs");
        std::fs::remove_dir_all(&node.directory).with_context(|| format!("wipe {}", node.directory.display()))
    }

    pub fn take_process(&mut self, number: u64) -> anyhow::Result<Process> {
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

    /// The end of the log of a node that has ended by itself with a code other than 0; an error while it runs.
    pub fn take_ended(&mut self, number: u64) -> anyhow::Result<String> {
        let process = self.node_mut(number)?.process.as_mut().with_context(|| format!("node {number} is not running"))?;
        let status = process.ended()?.with_context(|| format!("node {number} still runs"))?;
        let tail = process.log_tail();
        ensure!(!status.success(), "node {number} ended with {status}; its log ends:\n{tail}");
        self.node_mut(number)?.process = None;
        Ok(tail)
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
        let id_of = |number: u64| self.node(number).ok().and_then(|node| node.id);
        let led = |number: u64| leaders.iter().filter(|(group, leader)| *group > 0 && Some(*leader) == id_of(number)).count();
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
        for node in self.nodes.iter().filter(|node| node.process.is_some() && !node.retired) {
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

    /// Reads the Raft logs of all running nodes back from their disks and judges what is committed.
    pub async fn compare_logs(&self, named: &Named) -> anyhow::Result<Logs> {
        let mut logs = Logs::default();
        for node in self.nodes.iter().filter(|node| node.process.is_some() && !node.retired) {
            let status = self.status(node.number).await?;
            for group in status["groups"].as_array().into_iter().flatten() {
                let id = group["group"].as_u64().context("no group in the status")?;
                let applied = group["appliedIndex"].as_u64().unwrap_or(0);
                logs.add(named, id, node.number, applied, &self.log_of(node.number, id, applied + 1).await?)?;
            }
        }
        logs.check_applied(named)?;
        Ok(logs)
    }

    /// A group's entries below `end` on a node's disk.
    async fn log_of(&self, number: u64, group: u64, end: u64) -> anyhow::Result<Vec<LogLine>> {
        let (mut lines, mut from) = (Vec::new(), 0);
        while from < end {
            let parameters = [("group", group.to_string()), ("from", from.to_string()), ("to", end.to_string())];
            let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = self.client(number).get("/debug/log", &parameters).await?.json()?;
            let entries = answer["entries"].as_array().with_context(|| format!("no entries in {answer:.300}"))?;
            let line = |entry: &Value| Some(LogLine { index: entry[0].as_u64()?, term: entry[1].as_u64()?, hash: entry[2].as_u64()? });
            lines.extend(entries.iter().filter_map(line));
            match lines.last() {
                Some(last) if !entries.is_empty() => from = last.index + 1,
                _ => break,
            }
        }
        Ok(lines)
    }

    /// The good end of a run: no node has panicked. Stops everything and removes the files, which otherwise are kept.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let panics = self.panics()?;
        ensure!(panics.is_empty(), "nodes have panicked: {panics:#?}");
        self.directory.succeeded();
        Ok(())
    }

    /// Lines of all logs that tell of a panic or a failed assertion. Empty after a healthy run.
    pub fn panics(&self) -> anyhow::Result<Vec<String>> {
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
