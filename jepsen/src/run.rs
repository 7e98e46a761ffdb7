//! One run from nothing to a verdict: build the cluster, load it, hurt it, heal it, read everything back, judge.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::checker::sample_set::Verdict;
use crate::checker::{self, Judgement};
use crate::cluster::{Cluster, Ground};
use crate::disk::image::Medium;
use crate::history::{self, Operation};
use crate::ledger::Line;
use crate::leftovers::{self, Claim};
use crate::nemesis::kind::Kind;
use crate::nemesis::member;
use crate::nemesis::swarm::{Stroke, Swarm, possible, subset};
use crate::nemesis::world::World;
use crate::network::lan::Lan;
use crate::process::usage_of;
use crate::shell;
use crate::wait;
use crate::workload::field::Field;
use crate::workload::sessions::Generation;
use crate::workload::streams::Streams;
use crate::workload::{prune, register, sessions};

/// Before the first fault: the cluster shall have something to lose.
const WARM_UP: Duration = Duration::from_secs(5);
/// After the last fault: within this time everything must be well again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// The load goes on for a while after the recovery.
const COOL_DOWN: Duration = Duration::from_secs(5);
const REPLICAS_EQUAL_LIMIT: Duration = Duration::from_secs(60);
/// A node that holds more than this has a leak.
const DESCRIPTORS_MAX: usize = 4096;
const RESIDENT_BYTES_MAX: u64 = 3 << 30;
/// Data directories grow to a few hundred MiB; images are sparse.
const DISK_BYTES: u64 = 4 << 30;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub binary: PathBuf,
    pub previous: Option<PathBuf>,
    pub nodes: u64,
    /// Faults and recovery included.
    pub length: Duration,
    pub seed: u64,
    pub medium: Medium,
    /// `None`: a subset drawn from the seed.
    pub nemeses: Option<Vec<Kind>>,
    /// Samples a second that the writers aim at.
    pub rate: f64,
    /// Writers of streams.
    pub clients: u32,
    pub commit: String,
    /// Files are kept also after a good end.
    pub keep: bool,
}

/// How a run ended.
pub struct Outcome {
    pub line: Line,
    pub judgement: Judgement,
    pub strokes: Vec<Stroke>,
    /// Where the history is, if files were kept.
    pub directory: Option<PathBuf>,
}

/// Settings that every node of a run has.
fn arguments(seed: u64) -> Vec<String> {
    // The machine itself is the client, at an address of its own.
    let open = ["--web-admin", "any", "--web-enable-admin-api", "true"];
    let mut arguments: Vec<String> = open.map(str::to_owned).into();
    // Every other seed seals and purges all the time, so that whoever was away for some seconds needs a snapshot.
    if seed % 2 == 1 {
        let small = ["--storage-head-age", "10s", "--storage-log-bytes", "2MiB", "--raft-log-retain-bytes", "256KiB"];
        arguments.extend(small.map(str::to_owned));
    }
    arguments
}

/// Carries out a run. An error is a fault of the harness or of the machine; what the cluster did wrong is in the outcome.
pub async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    shell::require_root()?;
    let claim = Claim::take(plan.seed)?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run_claimed(plan, &claim) => result,
        // Dropping the run ends its processes; dropping the claim sweeps the rest.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn run_claimed(plan: &Plan, claim: &Claim) -> anyhow::Result<Outcome> {
    let kinds = match &plan.nemeses {
        Some(kinds) => kinds.clone(),
        None => subset(&possible(plan.medium != Medium::None, true, plan.previous.is_some()), plan.seed),
    };
    println!("seed {}, {} nodes, {:.1} min; nemeses: {}", plan.seed, plan.nodes, plan.length.as_secs_f64() / 60.0, names(&kinds));
    let world = build(plan, claim, &kinds).await?;
    let mut run = Run::start(plan, world);
    run.wait_flowing().await?;
    run.world.field.pause(WARM_UP).await;
    let swarm = Swarm::start(&run.world, &kinds, plan.seed);
    let healing = RECOVERY_LIMIT.min(plan.length / 3);
    wait::pace(plan.length.saturating_sub(healing + WARM_UP)).await;
    run.world.end_faults();
    let strokes = swarm.ended().await;
    run.recover().await;
    run.finish(plan, strokes).await
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" ")
}

/// Network, disks, clocks, nodes.
async fn build(plan: &Plan, claim: &Claim, kinds: &[Kind]) -> anyhow::Result<Arc<World>> {
    let lan = Arc::new(Lan::create(claim.run_name())?);
    // Reading a false clock costs time, so only runs that want one have it.
    let clocks = kinds.iter().any(|kind| matches!(kind, Kind::ClockJump | Kind::ClockDrift));
    let ground = Ground { lan: Some(lan.clone()), medium: plan.medium, disk_bytes: DISK_BYTES, clocks };
    let arguments = arguments(plan.seed);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::start_on(ground, &plan.binary, plan.nodes, &arguments).await?;
    println!("files in {}", cluster.run_directory().display());
    let field = Field::new(cluster.clients());
    Ok(Arc::new(World::new(cluster, lan, field, plan.binary.clone(), plan.previous.clone())))
}

/// A run under way.
struct Run {
    world: Arc<World>,
    streams: Streams,
    others: Vec<JoinHandle<()>>,
    watch: JoinHandle<()>,
    /// What is wrong already, apart from what histories tell.
    faults: Arc<Mutex<Vec<String>>>,
    /// What keeps the run from being a proof.
    doubts: Vec<String>,
    most_descriptors: Arc<AtomicU64>,
    most_resident: Arc<AtomicU64>,
}

impl Run {
    fn start(plan: &Plan, world: Arc<World>) -> Run {
        let field = &world.field;
        let generations: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
        let known = generations.clone();
        let generation: Generation = Arc::new(move |node| known.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied());
        let streams = Streams::start(field, plan.clients, plan.rate, plan.seed);
        let mut others = sessions::start(field, &generation, 2, plan.seed);
        others.extend(register::start(field, 5, plan.seed));
        others.extend(prune::start(field, 2, plan.seed));
        let (faults, most_descriptors, most_resident) = (Arc::default(), Arc::default(), Arc::default());
        let watch = Watch {
            world: world.clone(),
            faults: Arc::clone(&faults),
            generations,
            most_descriptors: Arc::clone(&most_descriptors),
            most_resident: Arc::clone(&most_resident),
        };
        let watch = tokio::spawn(watch.run());
        Run { world, streams, others, watch, faults, doubts: Vec::new(), most_descriptors, most_resident }
    }

    fn fault(&self, fault: String) {
        println!("  FAULT: {fault}");
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    async fn wait_flowing(&self) -> anyhow::Result<()> {
        let goal = self.world.field.acknowledged().0 + 50;
        wait::until("writes to flow", RECOVERY_LIMIT, || async {
            let now = self.world.field.acknowledged().0;
            if now >= goal { Ok(()) } else { Err(format!("{} still to come", goal - now)) }
        })
        .await?;
        Ok(())
    }

    /// After the last fault: everyone is ready, up to date, and takes writes.
    async fn recover(&mut self) {
        let began = Instant::now();
        let result = async {
            member::wait_caught_up(&self.world, RECOVERY_LIMIT).await?;
            self.wait_ready().await?;
            self.wait_flowing().await
        };
        match result.await {
            Ok(()) => println!("recovered in {:.1} s", began.elapsed().as_secs_f64()),
            Err(error) => self.fault(format!("not recovered: {error:#}")),
        }
        self.world.field.pause(COOL_DOWN).await;
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let clients = self.world.cluster().await.clients();
        for (node, client) in clients {
            wait::until(&format!("node {node} to be ready"), RECOVERY_LIMIT, || async {
                match client.get("/-/ready", &[]).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    other => Err(format!("{:?}", other.map(|answer| answer.status))),
                }
            })
            .await?;
        }
        Ok(())
    }

    async fn finish(mut self, plan: &Plan, strokes: Vec<Stroke>) -> anyhow::Result<Outcome> {
        self.world.field.stop();
        self.streams.ended().await;
        for task in self.others.drain(..) {
            let _ = task.await;
        }
        if let Err(error) = self.streams.read_everything().await {
            self.fault(format!("final reads: {error:#}"));
        }
        self.watch.abort();
        let _ = (&mut self.watch).await;
        self.compare_replicas().await;
        let operations = self.world.field.take_operations();
        let directory = self.world.cluster().await.run_directory().to_owned();
        let history = directory.join("history.jsonl");
        history::save(&operations, BufWriter::new(File::create(&history)?))?;
        let judgement = checker::judge(&operations);
        self.look_for_doubts(&operations, &strokes, &judgement);
        let line = self.line(plan, &operations, &strokes, &judgement);
        let (descriptors, resident) = (self.most_descriptors.load(Ordering::Relaxed), self.most_resident.load(Ordering::Relaxed));
        println!("most open files {descriptors}, most memory {} MiB", resident >> 20);
        let world = Arc::into_inner(self.world).context("somebody still holds the cluster")?;
        let cluster = Arc::into_inner(world.cluster).context("somebody still holds the cluster")?.into_inner();
        let good = line.verdict == Verdict::Valid && !plan.keep;
        if good {
            cluster.finish()?;
        } else {
            drop(cluster);
        }
        Ok(Outcome { line, judgement, strokes, directory: (!good).then_some(directory) })
    }

    async fn compare_replicas(&self) {
        let cluster = self.world.cluster().await;
        if let Err(error) =
            tokio::time::timeout(REPLICAS_EQUAL_LIMIT * 2, cluster.wait_replicas_equal()).await.unwrap_or_else(|_| bail_slow())
        {
            self.fault(format!("replicas differ: {error:#}"));
        }
        let named = self.world.field.named_entries();
        named.contradictions.iter().for_each(|contradiction| self.fault(format!("logs: {contradiction}")));
        match cluster.compare_logs(&named.terms).await {
            Ok(compared) => println!(
                "{} log entries are the same wherever they are; {} of {} that answers named were read back",
                compared.same,
                compared.read_back,
                named.terms.len()
            ),
            Err(error) => self.fault(format!("logs: {error:#}")),
        }
        match cluster.panics() {
            Ok(panics) if panics.is_empty() => {}
            Ok(panics) => self.fault(format!("panics: {panics:?}")),
            Err(error) => self.fault(format!("panics: {error:#}")),
        }
    }

    /// A fault without effect, or a load that did nothing, proves nothing.
    fn look_for_doubts(&mut self, operations: &[Operation], strokes: &[Stroke], judgement: &Judgement) {
        for stroke in strokes.iter().filter(|stroke| stroke.effect == "unproven" || stroke.effect == "failed") {
            self.doubts.push(format!("{} {}: {}", stroke.nemesis, stroke.effect, stroke.note));
        }
        if !strokes.iter().any(|stroke| stroke.effect == "seen") {
            self.doubts.push("no fault took effect".to_owned());
        }
        let idle = [
            ("streams", judgement.streams.acknowledged == 0),
            ("register", judgement.register.operations == 0),
            ("sessions", judgement.sessions.strong_reads == 0 || judgement.sessions.eventual_reads == 0),
            ("prune", judgement.prune.deleted == 0 || judgement.prune.reads == 0),
        ];
        for (name, _) in idle.iter().filter(|(_, idle)| *idle) {
            self.doubts.push(format!("{name} did nothing in {} operations", operations.len()));
        }
    }

    fn line(&self, plan: &Plan, operations: &[Operation], strokes: &[Stroke], judgement: &Judgement) -> Line {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut nemeses = BTreeMap::new();
        for stroke in strokes.iter().filter(|stroke| stroke.effect == "seen") {
            *nemeses.entry(stroke.nemesis.clone()).or_insert(0) += 1;
        }
        let doubted = if self.doubts.is_empty() { Verdict::Valid } else { Verdict::Unknown };
        let faulty = if faults.is_empty() { Verdict::Valid } else { Verdict::Invalid };
        let mut reasons: Vec<String> = faults.iter().chain(&self.doubts).map(|reason| reason.chars().take(300).collect()).collect();
        if judgement.verdict() != Verdict::Valid {
            reasons.push(format!("checkers: {judgement}").chars().take(1000).collect());
        }
        Line {
            commit: plan.commit.clone(),
            seed: plan.seed,
            minutes: (plan.length.as_secs_f64() / 6.0).round() / 10.0,
            nodes: plan.nodes,
            operations: operations.len() as u64,
            acknowledged: judgement.acknowledged(),
            nemeses,
            verdict: judgement.verdict().max(doubted).max(faulty),
            reasons,
        }
    }
}

fn bail_slow() -> anyhow::Result<()> {
    bail!("no answer")
}

/// Looks after the nodes while a run is under way: who ended that nobody hurt, and who takes too much.
struct Watch {
    world: Arc<World>,
    faults: Arc<Mutex<Vec<String>>>,
    generations: Arc<Mutex<BTreeMap<u64, u64>>>,
    most_descriptors: Arc<AtomicU64>,
    most_resident: Arc<AtomicU64>,
}

impl Watch {
    async fn run(self) {
        loop {
            for node in self.world.nodes().await {
                self.look_at(node).await;
            }
            wait::pace(Duration::from_millis(200)).await;
        }
    }

    async fn look_at(&self, node: u64) {
        let mut cluster = self.world.cluster().await;
        let running = cluster.running(node);
        {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            match running {
                Some((_, starts)) => drop(generations.insert(node, starts)),
                None => drop(generations.remove(&node)),
            }
        }
        if let Some((process, _)) = running {
            self.weigh(node, process);
        }
        // A fault that has the node to itself notices its end itself.
        if self.world.is_claimed(node) {
            return;
        }
        if let Some(words) = cluster.notice_end(node) {
            self.fault(format!("node {node} ended although nobody hurt it: {words}"));
            if let Err(error) = cluster.start_node(node) {
                self.fault(format!("node {node}: {error:#}"));
            }
        }
    }

    fn weigh(&self, node: u64, process: u32) {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |entries| entries.count());
        let resident = usage_of(process).map_or(0, |usage| usage.resident_bytes);
        self.most_descriptors.fetch_max(descriptors as u64, Ordering::Relaxed);
        let before = self.most_resident.fetch_max(resident, Ordering::Relaxed);
        if descriptors > DESCRIPTORS_MAX || (resident > RESIDENT_BYTES_MAX && before <= RESIDENT_BYTES_MAX) {
            self.fault(format!("node {node} holds {descriptors} files and {} MiB", resident >> 20));
        }
    }

    fn fault(&self, fault: String) {
        println!("  FAULT: {fault}");
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }
}

/// Removes what runs have left behind whose process is gone; their names.
pub fn clean() -> Vec<String> {
    let runs = leftovers::abandoned();
    runs.iter().for_each(|run_name| leftovers::sweep(run_name));
    runs
}

/// A cluster in network namespaces for experiments by hand, until SIGTERM or Ctrl-C. What the scripts need to know goes to `state`.
pub async fn stay_up(binary: &Path, nodes: u64, state: &Path) -> anyhow::Result<()> {
    shell::require_root()?;
    let claim = Claim::take(u64::from(std::process::id()))?;
    let lan = Arc::new(Lan::create(claim.run_name())?);
    let ground = Ground { lan: Some(lan.clone()), ..Ground::loopback() };
    let arguments = arguments(0);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut cluster = Cluster::start_on(ground, binary, nodes, &arguments).await?;
    let numbers: Vec<String> = cluster.numbers().iter().map(u64::to_string).collect();
    let [first, second, third] = lan.network();
    let told = format!(
        "TERN_RUN={}\nTERN_NETWORK={first}.{second}.{third}\nTERN_NODES=\"{}\"\nTERN_OWNER={}\n",
        lan.run_name(),
        numbers.join(" "),
        std::process::id()
    );
    std::fs::write(state, told).with_context(|| format!("write {}", state.display()))?;
    for number in cluster.numbers() {
        println!("node {number}  http://{}  namespace {}", cluster.node(number)?.http.address(), lan.namespace(number));
    }
    println!("logs and data in {}", cluster.run_directory().display());
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminated.recv() => break,
            () = wait::pace(Duration::from_secs(1)) => restart_ended(&mut cluster)?,
        }
    }
    std::fs::remove_file(state).with_context(|| format!("remove {}", state.display()))?;
    cluster.finish()
}

/// As a service manager does.
fn restart_ended(cluster: &mut Cluster) -> anyhow::Result<()> {
    for number in cluster.numbers() {
        if cluster.notice_end(number).is_some() {
            println!("node {number} ended and is started again");
            cluster.start_node(number)?;
        }
    }
    Ok(())
}
