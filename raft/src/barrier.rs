//! Read barriers, shared. All callers that wait at the same time ride on one *round*, whatever groups they ask for: it costs one
//! request to each peer, which says for all groups at once who leads and how it voted (`confirmation`). A caller that the
//! round cannot serve soon (a leader is being elected, a peer hangs) goes on in the queue of its group, where the group's
//! leader is asked again and again. A caller never rides on anything that began before it asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::types::GroupId;

/// Who waits for what.
#[derive(Default)]
pub struct Barriers {
    round: Mutex<Waiting>,
    groups: Mutex<HashMap<GroupId, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// A task serves this queue; who comes now waits until it looks again.
    served: bool,
    callers: Vec<Caller>,
}

/// One who wants to read a group.
pub struct Caller {
    pub group: GroupId,
    pub deadline: Instant,
    index: oneshot::Sender<u64>,
}

/// Callers that are served together.
pub struct Round {
    callers: Vec<Caller>,
}

/// What a caller has to do besides waiting.
pub enum Ticket {
    /// Somebody else confirms.
    Wait(oneshot::Receiver<u64>),
    /// Serve [`Barriers::next_round`] in a task of its own, then wait.
    Lead(oneshot::Receiver<u64>),
}

impl Waiting {
    /// True: the caller of this has to start serving the queue.
    fn add(&mut self, callers: impl IntoIterator<Item = Caller>) -> bool {
        self.callers.extend(callers);
        !std::mem::replace(&mut self.served, true)
    }

    /// None ends the serving task's work.
    fn take(&mut self) -> Option<Round> {
        let callers = std::mem::take(&mut self.callers);
        self.served = !callers.is_empty();
        self.served.then_some(Round { callers })
    }
}

impl Barriers {
    /// Joins the next round.
    pub fn enter(&self, group: GroupId, deadline: Instant) -> Ticket {
        let (index, receiver) = oneshot::channel();
        match self.round.lock().add([Caller { group, deadline, index }]) {
            true => Ticket::Lead(receiver),
            false => Ticket::Wait(receiver),
        }
    }

    /// The callers to confirm for now; none ends the leading task's work.
    pub fn next_round(&self) -> Option<Round> {
        self.round.lock().take()
    }

    /// Queues callers that a round could not serve. True: start serving [`Self::next_of_group`].
    pub fn enter_group(&self, group: GroupId, callers: Vec<Caller>) -> bool {
        self.groups.lock().entry(group).or_default().add(callers)
    }

    /// The queued callers of one group; none ends the serving task's work.
    pub fn next_of_group(&self, group: GroupId) -> Option<Round> {
        self.groups.lock().get_mut(&group)?.take()
    }
}

impl Round {
    /// The groups that are asked for.
    pub fn groups(&self) -> BTreeSet<GroupId> {
        self.callers.iter().map(|caller| caller.group).collect()
    }

    /// Whether everybody has been served.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// When the last caller stops waiting.
    pub fn deadline(&self) -> Instant {
        self.callers.iter().map(|caller| caller.deadline).max().unwrap_or_else(Instant::now)
    }

    /// The group's leader is confirmed: everything acknowledged before the round began is at or below `index`.
    pub fn confirm(&mut self, group: GroupId, index: u64) {
        for caller in self.callers.extract_if(.., |caller| caller.group == group) {
            let _ = caller.index.send(index);
        }
    }

    /// Those who were not served, by group.
    pub fn into_groups(self) -> BTreeMap<GroupId, Vec<Caller>> {
        let mut groups: BTreeMap<GroupId, Vec<Caller>> = BTreeMap::new();
        for caller in self.callers {
            groups.entry(caller.group).or_default().push(caller);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_serves_and_who_comes_later_waits_for_the_next_round() {
        let barriers = Barriers::default();
        let deadline = Instant::now() + Duration::from_secs(1);
        let Ticket::Lead(mut first) = barriers.enter(3, deadline) else { panic!("the first leads") };
        let Ticket::Wait(mut second) = barriers.enter(4, deadline) else { panic!("the second waits") };
        let mut round = barriers.next_round().expect("two callers");
        assert_eq!(round.groups(), BTreeSet::from([3, 4]));
        let Ticket::Wait(mut late) = barriers.enter(3, deadline) else { panic!("the round is served") };
        round.confirm(3, 17);
        assert_eq!(first.try_recv(), Ok(17));
        assert!(late.try_recv().is_err(), "it asked after the round had begun");
        let left = round.into_groups();
        assert_eq!(left.keys().copied().collect::<Vec<_>>(), [4]);
        for (group, callers) in left {
            assert!(barriers.enter_group(group, callers), "nobody serves the group yet");
        }
        let mut of_group = barriers.next_of_group(4).expect("one caller");
        of_group.confirm(4, 9);
        assert!(of_group.is_empty());
        assert_eq!(second.try_recv(), Ok(9));
        assert!(barriers.next_of_group(4).is_none());
        barriers.next_round().expect("the late one").confirm(3, 18);
        assert_eq!(late.try_recv(), Ok(18));
        assert!(barriers.next_round().is_none());
        assert!(matches!(barriers.enter(3, deadline), Ticket::Lead(_)), "the work has ended, so the next one leads again");
    }
}
