//! The names of all faults, as they stand in the ledger.

use std::fmt;
use std::str::FromStr;

use crate::disk::damage::Deed;
use crate::network::shape::Shape;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillLeader,
    KillMinority,
    KillMajority,
    KillAll,
    PauseLeader,
    PauseMinority,
    RollingRestart,
    MemoryLimit,
    Upgrade,
    Partition(Shape),
    Flapping,
    ClientPartition,
    Loss,
    Jitter,
    SlowLink,
    ClockJump,
    ClockDrift,
    Seal,
    DiskFull,
    SlowDisk,
    FsyncError,
    PowerOne,
    PowerAll,
    Damage(Deed),
    Replace,
    GrowShrink,
}

/// Faults of one lane come one after the other; those of different lanes overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Processes, disks and members.
    Node,
    Network,
    /// Clocks and housekeeping.
    Mild,
}

/// What a fault needs to be possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// Disks on loop devices.
    Images,
    /// Clocks of their own.
    Clocks,
    /// An older program.
    Previous,
}

const TABLE: [(Kind, &str, Lane, Need); 32] = [
    (Kind::KillLeader, "kill-leader", Lane::Node, Need::Nothing),
    (Kind::KillMinority, "kill-minority", Lane::Node, Need::Nothing),
    (Kind::KillMajority, "kill-majority", Lane::Node, Need::Nothing),
    (Kind::KillAll, "kill-all", Lane::Node, Need::Nothing),
    (Kind::PauseLeader, "pause-leader", Lane::Node, Need::Nothing),
    (Kind::PauseMinority, "pause-minority", Lane::Node, Need::Nothing),
    (Kind::RollingRestart, "rolling-restart", Lane::Node, Need::Nothing),
    (Kind::MemoryLimit, "memory-limit", Lane::Node, Need::Nothing),
    (Kind::Upgrade, "upgrade", Lane::Node, Need::Previous),
    (Kind::Partition(Shape::Majority), "partition-majority", Lane::Network, Need::Nothing),
    (Kind::Partition(Shape::Isolated), "partition-isolated", Lane::Network, Need::Nothing),
    (Kind::Partition(Shape::Ring), "partition-ring", Lane::Network, Need::Nothing),
    (Kind::Partition(Shape::Bridge), "partition-bridge", Lane::Network, Need::Nothing),
    (Kind::Partition(Shape::OneWayIn), "partition-one-way-in", Lane::Network, Need::Nothing),
    (Kind::Partition(Shape::OneWayOut), "partition-one-way-out", Lane::Network, Need::Nothing),
    (Kind::Flapping, "partition-flapping", Lane::Network, Need::Nothing),
    (Kind::ClientPartition, "client-partition", Lane::Network, Need::Nothing),
    (Kind::Loss, "loss", Lane::Network, Need::Nothing),
    (Kind::Jitter, "jitter", Lane::Network, Need::Nothing),
    (Kind::SlowLink, "slow-link", Lane::Network, Need::Nothing),
    (Kind::ClockJump, "clock-jump", Lane::Mild, Need::Clocks),
    (Kind::ClockDrift, "clock-drift", Lane::Mild, Need::Clocks),
    (Kind::Seal, "seal", Lane::Mild, Need::Nothing),
    (Kind::DiskFull, "disk-full", Lane::Node, Need::Images),
    (Kind::SlowDisk, "slow-disk", Lane::Node, Need::Nothing),
    (Kind::FsyncError, "fsync-error", Lane::Node, Need::Nothing),
    (Kind::PowerOne, "power-one", Lane::Node, Need::Images),
    (Kind::PowerAll, "power-all", Lane::Node, Need::Images),
    (Kind::Damage(Deed::FlipBit), "flip-bit", Lane::Node, Need::Nothing),
    (Kind::Damage(Deed::Truncate), "truncate", Lane::Node, Need::Nothing),
    (Kind::Replace, "replace-member", Lane::Node, Need::Nothing),
    (Kind::GrowShrink, "grow-shrink", Lane::Node, Need::Nothing),
];

impl Kind {
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|(kind, ..)| *kind)
    }

    fn row(self) -> &'static (Kind, &'static str, Lane, Need) {
        TABLE.iter().find(|(kind, ..)| *kind == self).expect("every kind has a row")
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub fn lane(self) -> Lane {
        self.row().2
    }

    pub fn need(self) -> Need {
        self.row().3
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Kind, String> {
        let known = || TABLE.iter().map(|(_, name, ..)| *name).collect::<Vec<_>>().join(", ");
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| format!("no nemesis {name:?}; there are {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_kind() {
        for kind in Kind::all() {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("kill-boss".parse::<Kind>().unwrap_err().contains("kill-leader"));
    }
}
