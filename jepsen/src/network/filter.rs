//! Packets that do not arrive: nftables rules in the receiving namespace.
//!
//! Each fault has a chain of its own there, named after it, so that faults overlap and end independently, and each has its own counters.

use std::net::Ipv4Addr;

use anyhow::Context;

use crate::shell::{run, run_with_input};

const TABLE: &str = "inet tern";

/// Makes the table that the chains stand in.
pub fn prepare(namespace: &str) -> anyhow::Result<()> {
    nft(namespace, &format!("add table {TABLE}\n"))
}

/// From now on packets of `senders` are dropped when they arrive: all, or this share in percent.
pub fn drop_from(namespace: &str, fault: &str, senders: &[Ipv4Addr], percent: u32) -> anyhow::Result<()> {
    let condition = if percent >= 100 { String::new() } else { format!("numgen random mod 100 < {percent} ") };
    // Before anything else sees the packet, and whatever state its connection is in.
    let mut script = format!("add chain {TABLE} {fault} {{ type filter hook input priority -10; }}\n");
    for sender in senders {
        script.push_str(&format!("add rule {TABLE} {fault} ip saddr {sender} {condition}counter drop\n"));
    }
    nft(namespace, &script)
}

/// How many packets a fault has dropped so far.
pub fn dropped(namespace: &str, fault: &str) -> anyhow::Result<u64> {
    let listing = run("ip", &["netns", "exec", namespace, "nft", "list", "chain", "inet", "tern", fault])?;
    counted(&listing).with_context(|| format!("counters of {fault}: {listing}"))
}

/// Ends a fault.
pub fn lift(namespace: &str, fault: &str) -> anyhow::Result<()> {
    nft(namespace, &format!("flush chain {TABLE} {fault}\ndelete chain {TABLE} {fault}\n"))
}

fn nft(namespace: &str, script: &str) -> anyhow::Result<()> {
    run_with_input("ip", &["netns", "exec", namespace, "nft", "-f", "-"], script)
        .with_context(|| format!("in {namespace}: {script}"))
        .map(drop)
}

/// The sum of all `counter packets N`.
fn counted(listing: &str) -> Option<u64> {
    let words: Vec<&str> = listing.split_ascii_whitespace().collect();
    let counts = words.windows(3).filter(|three| three[0] == "counter" && three[1] == "packets");
    counts.map(|three| three[2].parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_rules_are_added() {
        let listing =
            "chain cut { ip saddr 10.0.0.1 counter packets 12 bytes 900 drop\n ip saddr 10.0.0.2 counter packets 3 bytes 1 drop }";
        assert_eq!(counted(listing), Some(15));
        assert_eq!(counted("chain cut { }"), Some(0));
        assert_eq!(counted("counter packets many bytes"), None);
    }
}
