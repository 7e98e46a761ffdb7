//! Proposals on their way to a leader on another node: one long-lived stream per peer carries those of all groups, and
//! answers come back in any order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proto::raft as wire;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::convert;
use crate::network::peer_client;
use crate::peers::{Lane, Peers};
use crate::proposer::{Proposal, Rejected};
use crate::runtime;
use crate::types::{Applied, EntryAt, Forgotten, GroupId, NodeId, Proposed};

/// The streams to all peers, opened when first used and again when they broke.
pub struct Forwarder {
    peers: Arc<Peers>,
    links: Mutex<HashMap<NodeId, OpenLink>>,
}

/// A link and the task that serves it, which ends with it.
struct OpenLink {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

/// One stream.
struct Link {
    /// Unbounded: the node's budget of bytes in flight binds.
    requests: mpsc::UnboundedSender<wire::ProposeRequest>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<wire::ProposeAnswer>>>,
    next_id: AtomicU64,
    broken: AtomicBool,
}

impl Forwarder {
    pub fn new(peers: Arc<Peers>) -> Self {
        Self { peers, links: Mutex::default() }
    }

    /// Asks `node` to propose. A broken stream is [`Rejected::Unknown`]. The caller may stop waiting at any time.
    pub async fn propose(&self, node: NodeId, group: GroupId, proposal: Proposal, remaining: Duration) -> Result<Applied, Rejected> {
        let link = self.link(node)?;
        let deadline_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX);
        let id = link.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        link.waiting.lock().insert(id, answer);
        let _forget = Forget { link: &link, id };
        let caller = proposal.caller.as_ref().map(convert::caller_to_proto);
        let sent = link.requests.send(wire::ProposeRequest { id, group, deadline_ms, payload: proposal.payload, caller });
        // Checked after the insertion: whoever breaks the link clears what waits after marking it.
        if sent.is_err() || link.broken.load(Ordering::Acquire) {
            return Err(Rejected::Unknown);
        }
        answered.await.map_err(|_| Rejected::Unknown).and_then(answer_from_proto)
    }

    fn link(&self, node: NodeId) -> Result<Arc<Link>, Rejected> {
        let mut links = self.links.lock();
        if let Some(open) = links.get(&node)
            && !open.link.broken.load(Ordering::Acquire)
        {
            return Ok(Arc::clone(&open.link));
        }
        let (requests, outgoing) = mpsc::unbounded_channel();
        let link = Arc::new(Link { requests, waiting: Mutex::default(), next_id: AtomicU64::new(1), broken: AtomicBool::new(false) });
        let client = peer_client(&self.peers, node, Lane::Forwarding).map_err(|_| Rejected::Unknown)?;
        let task = runtime::spawn(Arc::clone(&link).run(node, client, outgoing));
        links.insert(node, OpenLink { link: Arc::clone(&link), _task: AbortOnDropHandle::new(task) });
        Ok(link)
    }
}

/// Removes a request that nobody waits for any more.
struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.id);
    }
}

impl Link {
    async fn run(
        self: Arc<Self>,
        node: NodeId,
        mut client: wire::raft_peer_client::RaftPeerClient<crate::peers::PeerChannel>,
        outgoing: mpsc::UnboundedReceiver<wire::ProposeRequest>,
    ) {
        if let Err(status) = self.exchange(&mut client, outgoing).await {
            tracing::debug!(node, %status, "forwarding stream ended");
        }
        self.broken.store(true, Ordering::Release);
        // Dropping the senders wakes the callers, who look for the leader again.
        self.waiting.lock().clear();
    }

    async fn exchange(
        &self,
        client: &mut wire::raft_peer_client::RaftPeerClient<crate::peers::PeerChannel>,
        outgoing: mpsc::UnboundedReceiver<wire::ProposeRequest>,
    ) -> Result<(), tonic::Status> {
        let mut answers = client.propose(UnboundedReceiverStream::new(outgoing)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(caller) = self.waiting.lock().remove(&answer.id) {
                let _ = caller.send(answer);
            }
        }
        Ok(())
    }
}

/// The answer of a leader as a message.
pub fn answer_to_proto(id: u64, answer: Result<Applied, Rejected>) -> wire::ProposeAnswer {
    let mut message = wire::ProposeAnswer { id, ..Default::default() };
    match answer {
        Ok(Applied { proposed, entry }) => {
            (message.entry_term, message.entry_index) = (entry.term, entry.index);
            match proposed {
                Proposed::Written(outcome) => message.write = Some(convert::outcome_to_proto(outcome)),
                Proposed::Meta(bytes) => message.meta = bytes,
            }
        }
        Err(Rejected::NotLeader(leader)) => {
            message.set_outcome(wire::ProposeOutcome::NotLeader);
            message.leader = leader;
        }
        Err(Rejected::Unknown) => message.set_outcome(wire::ProposeOutcome::Unknown),
        Err(Rejected::Forgotten(Forgotten { start })) => {
            message.set_outcome(wire::ProposeOutcome::Forgotten);
            message.forgotten_start = start;
        }
        Err(Rejected::DiskFull) => message.set_outcome(wire::ProposeOutcome::Overloaded),
        Err(Rejected::NoGroup) => message.set_outcome(wire::ProposeOutcome::NoGroup),
        Err(Rejected::Refused(reason)) => {
            message.set_outcome(wire::ProposeOutcome::Refused);
            message.problem = reason;
        }
    }
    message
}

fn answer_from_proto(answer: wire::ProposeAnswer) -> Result<Applied, Rejected> {
    match answer.outcome() {
        wire::ProposeOutcome::Applied => {
            let entry = EntryAt { term: answer.entry_term, index: answer.entry_index };
            let proposed = match answer.write {
                None => Proposed::Meta(answer.meta),
                Some(outcome) => Proposed::Written(convert::outcome_from_proto(outcome)),
            };
            Ok(Applied { proposed, entry })
        }
        wire::ProposeOutcome::NotLeader => Err(Rejected::NotLeader(answer.leader)),
        wire::ProposeOutcome::NoGroup => Err(Rejected::NoGroup),
        wire::ProposeOutcome::Refused => Err(Rejected::Refused(answer.problem)),
        wire::ProposeOutcome::Forgotten => Err(Rejected::Forgotten(Forgotten { start: answer.forgotten_start })),
        wire::ProposeOutcome::Overloaded => Err(Rejected::DiskFull),
        wire::ProposeOutcome::Unknown => Err(Rejected::Unknown),
    }
}
