//! What runs create in the system besides files of their own, and how it is found again after a crash.
//!
//! Names tell the run: namespaces and interfaces `tern-XXXX…`, mounts below `/run/tern-jepsen/XXXX`, images `/dev/shm/tern-jepsen-XXXX-…`, control
//! groups `tern-XXXX-…`. `/run/tern-jepsen/XXXX/owner` names the process that the run belongs to; a run whose process is gone is litter.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::network::lan::PREFIX;
use crate::shell::run;

const STATE: &str = "/run/tern-jepsen";
const MEMORY: &str = "/dev/shm";
const MEMORY_CONTROL: &str = "/sys/fs/cgroup/memory";
/// Where a node's disk in shared memory is.
pub fn memory_image(run_name: &str, number: u64) -> PathBuf {
    Path::new(MEMORY).join(format!("tern-jepsen-{run_name}-node{number}.img"))
}

/// Where a node's disk is mounted.
pub fn mount_point(run_name: &str, number: u64) -> PathBuf {
    state_directory(run_name).join(format!("node{number}"))
}

/// The control group that bounds a node's memory.
pub fn control_group(run_name: &str, number: u64) -> PathBuf {
    Path::new(MEMORY_CONTROL).join(format!("{PREFIX}{run_name}-n{number}"))
}

pub fn state_directory(run_name: &str) -> PathBuf {
    Path::new(STATE).join(run_name)
}

/// A run's claim to its name, ended when dropped.
#[derive(Debug)]
pub struct Claim {
    run_name: String,
}

impl Claim {
    /// Takes a name that no run has, from a seed.
    pub fn take(seed: u64) -> anyhow::Result<Claim> {
        for attempt in 0..1000_u64 {
            let run_name = format!("{:04x}", (seed ^ u64::from(std::process::id()).wrapping_mul(0x9e37)).wrapping_add(attempt) & 0xffff);
            let directory = state_directory(&run_name);
            std::fs::create_dir_all(STATE).with_context(|| format!("create {STATE}"))?;
            if std::fs::create_dir(&directory).is_ok() {
                let claim = Claim { run_name };
                claim.write_owner(&format!("{} {}", std::process::id(), start_of(std::process::id()).unwrap_or_default()))?;
                return Ok(claim);
            }
        }
        anyhow::bail!("no free name for a run: remove what others have left with `jepsen clean`")
    }

    pub fn run_name(&self) -> &str {
        &self.run_name
    }

    fn write_owner(&self, owner: &str) -> anyhow::Result<()> {
        std::fs::write(state_directory(&self.run_name).join("owner"), owner).context("write the run's owner")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        sweep(&self.run_name);
    }
}

/// The time a process was started, in kernel ticks: tells it from a later process with the same id.
fn start_of(process_id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.to_owned())
}

/// Runs whose process is gone.
pub fn abandoned() -> Vec<String> {
    runs().into_iter().filter(|run_name| !is_owned(run_name)).collect()
}

fn runs() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(STATE) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn owner_of(run_name: &str) -> String {
    std::fs::read_to_string(state_directory(run_name).join("owner")).unwrap_or_default().trim().to_owned()
}

fn is_owned(run_name: &str) -> bool {
    let owner = owner_of(run_name);
    let Some((process_id, start)) = owner.split_once(' ') else { return false };
    start_of_name(process_id).is_some_and(|found| found == start)
}

/// Removes everything of a run: its processes, namespaces, mounts, images and control groups. What is not there is not missed.
pub fn sweep(run_name: &str) {
    let mine = format!("{PREFIX}{run_name}-");
    let namespaces = run("ip", &["netns", "list"]).unwrap_or_default();
    let namespaces: Vec<&str> = namespaces.lines().filter_map(|line| line.split_ascii_whitespace().next()).collect();
    for namespace in namespaces.into_iter().filter(|namespace| namespace.starts_with(&mine)) {
        for process_id in run("ip", &["netns", "pids", namespace]).unwrap_or_default().lines() {
            let _ = run("kill", &["-KILL", process_id]);
        }
        let _ = run("ip", &["netns", "del", namespace]);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let below = format!("{}/", state_directory(run_name).display());
    for mount_point in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&below)) {
        if run("umount", &[mount_point]).is_err() {
            let _ = run("umount", &["--lazy", mount_point]);
        }
    }
    remove_entries(Path::new(MEMORY), &format!("tern-jepsen-{run_name}-"), |path| std::fs::remove_file(path));
    remove_entries(Path::new(MEMORY_CONTROL), &mine, |path| std::fs::remove_dir(path));
    let _ = std::fs::remove_dir_all(state_directory(run_name));
    remove_clocks();
}

/// libfaketime leaves shared memory behind, named after the process, when that is killed.
fn remove_clocks() {
    for entry in std::fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = ["faketime_shm_", "sem.faketime_sem_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        if process.is_some_and(|process| start_of_name(process).is_none()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn start_of_name(process: &str) -> Option<String> {
    process.parse().ok().and_then(start_of)
}

fn remove_entries(folder: &Path, prefix: &str, remove: impl Fn(&Path) -> std::io::Result<()>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = remove(&entry.path())
        {
            eprintln!("{} could not be removed: {error}", entry.path().display());
        }
    }
}
