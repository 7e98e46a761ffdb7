//! Addresses that stay ours while a node is down.
//!
//! On loopback, asking the kernel for a free port is not enough: between kill and restart of a node anyone may be given its port. So ports come
//! from below the ephemeral range, and each is held by a lock on a file, which the kernel releases however this process ends. In a network
//! namespace of its own a node has all ports to itself.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, bail};

/// Below 32768, where Linux takes ports for outgoing connections from, and away from the ports of well-known servers.
const FIRST: u16 = 24_100;
const LAST: u16 = 25_999;

/// A port of an address, ours until dropped.
#[derive(Debug)]
pub struct Port {
    ip: Ipv4Addr,
    number: u16,
    /// On loopback, where others look for ports too.
    _lock: Option<File>,
}

impl Port {
    /// Takes the first free port of loopback, starting somewhere that depends on the process so that parallel tests seldom meet.
    pub fn take() -> anyhow::Result<Port> {
        let directory = lock_directory()?;
        let span = u32::from(LAST - FIRST) + 1;
        let start = std::process::id().wrapping_mul(37) % span;
        for step in 0..span {
            let number = FIRST + ((start + step) % span) as u16;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(number.to_string()))?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { ip: Ipv4Addr::LOCALHOST, number, _lock: Some(file) });
            }
        }
        bail!("no free port between {FIRST} and {LAST}: stop what other test runs have left behind")
    }

    /// A port of an address that nobody else uses.
    pub fn own(ip: Ipv4Addr, number: u16) -> Port {
        Port { ip, number, _lock: None }
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// `ip:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.number)
    }
}

fn lock_directory() -> anyhow::Result<PathBuf> {
    let directory = std::env::temp_dir().join("tern-test-ports");
    std::fs::create_dir_all(&directory).context("create the directory of port locks")?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_takers_get_the_same_port() {
        let ports: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }
}
