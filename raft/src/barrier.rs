//! Read barriers, shared: all callers that wait for the same group at the same time ride on one confirmation of its
//! leader. A caller never rides on one that began before it asked.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::types::GroupId;

/// Who waits for which group.
#[derive(Default)]
pub struct Barriers {
    groups: Mutex<HashMap<GroupId, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// A round is under way; these wait for the next.
    under_way: bool,
    callers: Vec<Caller>,
}

struct Caller {
    deadline: Instant,
    index: oneshot::Sender<u64>,
}

/// Callers of one round.
pub struct Round {
    callers: Vec<Caller>,
}

/// What a caller has to do besides waiting.
pub enum Ticket {
    /// Somebody else confirms.
    Wait(oneshot::Receiver<u64>),
    /// Start [`Barriers::next_round`] in a task of its own, then wait.
    Lead(oneshot::Receiver<u64>),
}

impl Barriers {
    /// Joins the next round.
    pub fn enter(self: &Arc<Self>, group: GroupId, deadline: Instant) -> Ticket {
        let (index, receiver) = oneshot::channel();
        let mut groups = self.groups.lock();
        let waiting = groups.entry(group).or_default();
        waiting.callers.push(Caller { deadline, index });
        match std::mem::replace(&mut waiting.under_way, true) {
            true => Ticket::Wait(receiver),
            false => Ticket::Lead(receiver),
        }
    }

    /// The callers to confirm for now; none ends the leading task's work.
    pub fn next_round(&self, group: GroupId) -> Option<Round> {
        let mut groups = self.groups.lock();
        let waiting = groups.get_mut(&group)?;
        let callers = std::mem::take(&mut waiting.callers);
        if callers.is_empty() {
            waiting.under_way = false;
            return None;
        }
        Some(Round { callers })
    }
}

impl Round {
    /// When the last caller stops waiting.
    pub fn deadline(&self) -> Instant {
        self.callers.iter().map(|caller| caller.deadline).max().unwrap_or_else(Instant::now)
    }

    /// The leader confirmed: everything acknowledged before the round began is at or below `index`.
    pub fn confirm(self, index: u64) {
        for caller in self.callers {
            let _ = caller.index.send(index);
        }
    }
}
