//! Packets that arrive late, in another order, or twice.
//!
//! The kernels of small machines often lack netem, so packets go through a queue to this process (NFQUEUE), which lets each go on after a time
//! of its own: jitter reorders by itself. Duplication is done by nftables on the way in. The queue is served by a thread that has entered the namespace
//! of the receiving node; when it ends, `--queue-bypass` lets packets pass again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nfq::{Message, Queue, Verdict};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::shell::run;

/// The one queue of a namespace.
const QUEUE: u16 = 0;
/// Packets that may wait in the kernel; more are dropped there, as a full router does.
const QUEUE_LENGTH: u32 = 20_000;
/// How closely the thread looks at the time.
const TICK: Duration = Duration::from_micros(500);
const BIND_LIMIT: Duration = Duration::from_secs(3);
const BIND_INTERVAL: Duration = Duration::from_millis(20);
const DUPLICATE_TABLE: &str = "terndup";

/// From now on what `senders` send is late.
pub fn divert(namespace: &str, senders: &[Ipv4Addr], duplicate_percent: u32) -> anyhow::Result<()> {
    for sender in senders {
        iptables(namespace, "-A", *sender)?;
    }
    if duplicate_percent > 0 {
        // A copy is sent to the node itself, marked by having come from nowhere else: only packets that entered through the network are copied.
        let script = format!(
            "add table ip {DUPLICATE_TABLE}\n\
             add chain ip {DUPLICATE_TABLE} in {{ type filter hook prerouting priority -300; }}\n\
             add rule ip {DUPLICATE_TABLE} in iifname eth0 numgen random mod 100 < {duplicate_percent} counter dup to {}\n",
            own_address(namespace)?
        );
        crate::shell::run_with_input("ip", &["netns", "exec", namespace, "nft", "-f", "-"], &script)?;
    }
    Ok(())
}

/// Ends what [`divert`] began.
pub fn restore(namespace: &str, senders: &[Ipv4Addr], duplicate_percent: u32) -> anyhow::Result<()> {
    for sender in senders {
        iptables(namespace, "-D", *sender)?;
    }
    if duplicate_percent > 0 {
        run("ip", &["netns", "exec", namespace, "nft", "delete", "table", "ip", DUPLICATE_TABLE])?;
    }
    Ok(())
}

/// Packets that went through the queue so far.
pub fn diverted(namespace: &str) -> anyhow::Result<u64> {
    let listing = run("ip", &["netns", "exec", namespace, "iptables-legacy", "-L", "INPUT", "-v", "-n", "-x"])?;
    let rules = listing.lines().filter(|line| line.contains("NFQUEUE"));
    Ok(rules.filter_map(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).sum())
}

fn iptables(namespace: &str, action: &str, sender: Ipv4Addr) -> anyhow::Result<()> {
    let (sender, queue) = (sender.to_string(), QUEUE.to_string());
    let rule = [action, "INPUT", "-s", &sender, "-j", "NFQUEUE", "--queue-num", &queue, "--queue-bypass"];
    run("ip", &[&["netns", "exec", namespace, "iptables-legacy"], &rule[..]].concat()).map(drop)
}

fn own_address(namespace: &str) -> anyhow::Result<String> {
    let listing = run("ip", &["-n", namespace, "-4", "-o", "addr", "show", "dev", "eth0"])?;
    let address = listing.split_ascii_whitespace().skip_while(|word| *word != "inet").nth(1).context("no address on eth0")?;
    Ok(address.split('/').next().unwrap_or(address).to_owned())
}

/// A packet and the time when it may go on.
struct Held {
    due: Instant,
    serial: u64,
    message: Message,
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        (self.due, self.serial) == (other.due, other.serial)
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        (self.due, self.serial).cmp(&(other.due, other.serial))
    }
}

/// Holds up the packets of one namespace's queue until dropped.
#[derive(Debug)]
pub struct Jitter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Jitter {
    /// Every packet goes on after `delay` and a random part of `jitter`.
    pub fn start(namespace: &str, delay: Duration, jitter: Duration) -> anyhow::Result<Jitter> {
        let stop = Arc::new(AtomicBool::new(false));
        let (opened, is_open) = mpsc::channel();
        let (namespace, stopped) = (namespace.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let queue = enter(&namespace).and_then(|()| open());
            let queue = match queue {
                Ok(queue) => opened.send(Ok(())).map(|()| queue).context("nobody waits for the queue")?,
                Err(error) => return opened.send(Err(error)).context("nobody waits for the queue"),
            };
            serve(queue, delay, jitter, &stopped)
        });
        is_open.recv().context("the thread of the queue ended")??;
        Ok(Jitter { stop, thread: Some(thread) })
    }

    /// Ends it; an error if it had ended by itself.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the thread of the queue panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Jitter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Takes the calling thread, and only it, into a network namespace.
fn enter(namespace: &str) -> anyhow::Result<()> {
    let file = File::open(format!("/run/netns/{namespace}")).with_context(|| format!("open namespace {namespace}"))?;
    // Safety: setns takes an open descriptor and a flag; it touches no memory of ours.
    let answer = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    if answer != 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("enter namespace {namespace}"));
    }
    Ok(())
}

fn open() -> anyhow::Result<Queue> {
    let mut queue = Queue::open().context("open the packet queue")?;
    bind(&mut queue)?;
    queue.set_queue_max_len(QUEUE, QUEUE_LENGTH).context("set the queue's length")?;
    queue.set_nonblocking(true);
    close_on_exec()?;
    Ok(queue)
}

/// A child that is being started holds a copy of the last queue's socket until it has become its program; till then the queue is taken.
fn bind(queue: &mut Queue) -> anyhow::Result<()> {
    let until = Instant::now() + BIND_LIMIT;
    loop {
        match queue.bind(QUEUE) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && Instant::now() < until => std::thread::sleep(BIND_INTERVAL),
            bound => return bound.context("bind the packet queue; does another process hold it?"),
        }
    }
}

/// A node that is started meanwhile must not inherit the queue's socket and so keep the queue alive. The library opens it without that flag, and
/// does not tell its number; all other descriptors of this process beyond the standard ones have the flag anyway.
fn close_on_exec() -> anyhow::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd").context("list own descriptors")?.flatten() {
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|number| *number > 2) else {
            continue;
        };
        // Safety: fcntl takes two integers and a flag; it touches no memory of ours, and an unknown descriptor is only an error.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

fn serve(mut queue: Queue, delay: Duration, jitter: Duration, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut held: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    let mut dice = StdRng::seed_from_u64(0);
    let mut serial = 0;
    // What is still held at the end goes on at once.
    while !stop.load(Ordering::Relaxed) || !held.is_empty() {
        match queue.recv() {
            Ok(message) => {
                let due = Instant::now() + delay + jitter.mul_f64(dice.random());
                held.push(Reverse(Held { due, serial, message }));
                serial += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TICK),
            // More packets than the socket holds: those are lost, as in a full router.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            // The answer to a verdict on a packet that has gone: whenever a hook is removed the kernel drops all that wait.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error).context("receive from the packet queue"),
        }
        let now = if stop.load(Ordering::Relaxed) { Instant::now() + delay + jitter } else { Instant::now() };
        while held.peek().is_some_and(|Reverse(next)| next.due <= now) {
            if let Some(Reverse(Held { mut message, .. })) = held.pop() {
                message.set_verdict(Verdict::Accept);
                queue.verdict(message).context("let a packet go on")?;
            }
        }
    }
    Ok(())
}
