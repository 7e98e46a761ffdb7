//! How much room this node's disk has, as the server tells, and what follows from it.
//!
//! A database must never meet a full disk: what it could not write it may never take up again. So a node stops early. While
//! room is *low*, it proposes nothing that grows, takes no snapshots, and hands its leaderships to others (`pressure`). While it
//! is *critical*, it also takes no large appends from leaders: they count it as away, and go on with the others. Votes,
//! heartbeats, changes of members and deletions are small and always possible.

use std::sync::atomic::{AtomicU8, Ordering};

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    Ample,
    Low,
    Critical,
}

/// The present value, for all tasks of a node.
#[derive(Debug, Default)]
pub struct SpaceGauge(AtomicU8);

impl SpaceGauge {
    pub fn get(&self) -> Space {
        match self.0.load(Ordering::Relaxed) {
            0 => Space::Ample,
            1 => Space::Low,
            _ => Space::Critical,
        }
    }

    pub fn set(&self, space: Space) {
        self.0.store(space as u8, Ordering::Relaxed);
    }
}
