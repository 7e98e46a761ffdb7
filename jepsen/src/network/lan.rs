//! The namespaces, interfaces and addresses of one run.
//!
//! Everything is named after the run, so that runs do not collide and what one has left behind can be found: see [`crate::leftovers`]. Deleting
//! a namespace deletes the interfaces in it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::shell::run;

/// Begins the name of everything that a run creates in the system.
pub const PREFIX: &str = "tern-";
/// Host part of the machine's own address.
const CLIENT_HOST: u8 = 254;
/// Nodes have the host parts 1, 2, …
const NODES_MAX: u64 = 200;
/// Second bytes of the networks used, all in 10.0.0.0/8: seldom used by anyone.
const SECOND_BYTES: std::ops::Range<u8> = 200..250;

/// A network that exists until dropped.
#[derive(Debug)]
pub struct Lan {
    /// Four hexadecimal digits.
    run: String,
    network: [u8; 3],
    nodes: std::sync::Mutex<Vec<u64>>,
}

impl Lan {
    /// Creates the bridge and the machine's own end.
    pub fn create(run_name: &str) -> anyhow::Result<Lan> {
        ensure!(run_name.len() == 4 && run_name.bytes().all(|byte| byte.is_ascii_hexdigit()), "a run is named by four hexadecimal digits");
        let network = free_network(run_name)?;
        let lan = Lan { run: run_name.to_owned(), network, nodes: Default::default() };
        let (bridge, client) = (lan.bridge_namespace(), lan.client_interface());
        run("ip", &["netns", "add", &bridge])?;
        run("ip", &["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        run("ip", &["-n", &bridge, "link", "set", "br0", "up"])?;
        run("ip", &["link", "add", &client, "type", "veth", "peer", "name", "client", "netns", &bridge])?;
        lan.plug_in("client")?;
        run("ip", &["addr", "add", &format!("{}/24", lan.client_address()), "dev", &client])?;
        run("ip", &["link", "set", &client, "up"])?;
        Ok(lan)
    }

    pub fn run_name(&self) -> &str {
        &self.run
    }

    pub fn network(&self) -> [u8; 3] {
        self.network
    }

    /// A namespace with one interface for a node.
    pub fn add_node(&self, number: u64) -> anyhow::Result<()> {
        ensure!((1..=NODES_MAX).contains(&number), "node {number}: a run has at most {NODES_MAX} nodes");
        let (namespace, port) = (self.namespace(number), format!("n{number}"));
        run("ip", &["netns", "add", &namespace])?;
        self.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(number);
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"])?;
        let bridge = self.bridge_namespace();
        run("ip", &["-n", &namespace, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &bridge])?;
        run("ip", &["-n", &namespace, "addr", "add", &format!("{}/24", self.address(number)), "dev", "eth0"])?;
        run("ip", &["-n", &namespace, "link", "set", "eth0", "up"])?;
        self.plug_in(&port)?;
        super::filter::prepare(&namespace)
    }

    fn plug_in(&self, port: &str) -> anyhow::Result<()> {
        run("ip", &["-n", &self.bridge_namespace(), "link", "set", port, "master", "br0", "up"]).map(drop)
    }

    pub fn namespace(&self, number: u64) -> String {
        format!("{PREFIX}{}-n{number}", self.run)
    }

    fn bridge_namespace(&self) -> String {
        format!("{PREFIX}{}-lan", self.run)
    }

    fn client_interface(&self) -> String {
        format!("{PREFIX}{}", self.run)
    }

    pub fn address(&self, number: u64) -> Ipv4Addr {
        self.host(number as u8)
    }

    pub fn client_address(&self) -> Ipv4Addr {
        self.host(CLIENT_HOST)
    }

    fn host(&self, host: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, host)
    }

    /// What starts a program inside a node's namespace; the program's arguments follow. The program takes the place of nsenter, so the process
    /// id is its own.
    pub fn enter(&self, number: u64) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net={}", namespace_file(&self.namespace(number)).display())]
    }
}

/// Where `ip netns` keeps a namespace.
fn namespace_file(namespace: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace)
}

impl Drop for Lan {
    fn drop(&mut self) {
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let namespaces = nodes.iter().map(|&number| self.namespace(number)).chain([self.bridge_namespace()]);
        for namespace in namespaces {
            if let Err(error) = run("ip", &["netns", "del", &namespace]) {
                eprintln!("{error:#}");
            }
        }
        // The machine's own end goes with its other end; nobody minds when it was quicker.
        let _ = run("ip", &["link", "del", &self.client_interface()]);
    }
}

/// A /24 that no route of the machine touches.
fn free_network(run_name: &str) -> anyhow::Result<[u8; 3]> {
    let seed = u32::from_str_radix(run_name, 16).context("name of the run")?;
    let routes = run("ip", &["-4", "route"])?;
    let span = u32::from(SECOND_BYTES.end - SECOND_BYTES.start);
    let candidates = (0..span * 256).map(|step| (seed + step) % (span * 256));
    let mut networks = candidates.map(|number| [10, SECOND_BYTES.start + (number / 256) as u8, (number % 256) as u8]);
    networks
        .find(|[first, second, third]| !routes.contains(&format!("{first}.{second}.{third}.")))
        .context("no network in 10.200-249 is free")
}

/// Whether this machine lets us create namespaces and filter packets in them: containers often do not.
pub fn possible() -> bool {
    let name = format!("{PREFIX}try-{}", std::process::id());
    let tried = run("ip", &["netns", "add", &name]).and_then(|_| super::filter::prepare(&name));
    let _ = run("ip", &["netns", "del", &name]);
    tried.is_ok()
}
