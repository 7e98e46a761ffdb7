//! The first start of a cluster from a static list of peers, safe to interrupt anywhere.
//!
//! 1. Every founder writes its identity before it answers anybody.
//! 2. A founder with a fresh directory asks all others. Once one of them says that the cluster knows another directory
//!    under its id, it stops: its disk was wiped, and it may have forgotten a vote. Once one says it knows this
//!    directory, or all say that there is no cluster yet, it goes on.
//! 3. The founder with the lowest id writes down the directories of all founders, then starts the meta group with all of
//!    them as voters. Nobody else ever does.
//! 4. The leader of the meta group proposes the bootstrap command (only the first one counts), and files the directories
//!    under [`DIRECTORIES_KEY`], so that every node can give the verdict of step 2 for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use proto::raft as wire;
use proto::raft::admin_client::AdminClient;
use proto::raft::hello_answer::Verdict;
use storage::SeededBug;
use tls::NodeTls;

use crate::core::Core;
use crate::dial;
use crate::error::NodeError;
use crate::group::Group;
use crate::identity::{self, Directory};
use crate::meta::{MetaCommand, MetaState, NewMember};
use crate::network::peer_client;
use crate::peers::Lane;
use crate::types::{META_GROUP, NodeId};

/// Where the founders' directories are filed: JSON, node id → token.
pub const DIRECTORIES_KEY: &str = "tern/directories";

const ASK_INTERVAL: Duration = Duration::from_millis(200);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A directory that asks a cluster for a node id.
pub struct Applicant<'a> {
    pub grpc: &'a str,
    pub http: &'a str,
    pub directory_id: u64,
    /// The node whose place it is to take.
    pub replaces: Option<wire::Replaced>,
}

/// Asks the cluster for a node id, one node after the other, until one answers or refuses.
pub async fn join(
    applicant: &Applicant<'_>,
    members: &BTreeMap<NodeId, String>,
    tls: Option<&Arc<NodeTls>>,
    connect_timeout: Duration,
) -> Result<wire::JoinAnswer, NodeError> {
    let request = wire::JoinRequest {
        grpc_address: applicant.grpc.to_owned(),
        http_address: applicant.http.to_owned(),
        directory_id: applicant.directory_id,
        replaces: applicant.replaces.clone(),
    };
    loop {
        for (&member, address) in members {
            let link = dial::link(address, member, tls, connect_timeout).map_err(|e| NodeError::network("join", e))?;
            let mut admin = AdminClient::new(link);
            match tokio::time::timeout(JOIN_TIMEOUT, admin.join(request.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                    return Err(NodeError::Refused(status.message().to_owned()));
                }
                Ok(Err(status)) => tracing::warn!(address, %status, "join the cluster"),
                Err(_) => tracing::warn!(address, "no answer; join the cluster"),
            }
        }
        tokio::time::sleep(JOIN_INTERVAL).await;
    }
}

/// What this node brings to the founding.
pub struct Founding {
    /// All founders, this node among them.
    pub founders: BTreeSet<NodeId>,
    pub directory_id: u64,
}

impl Founding {
    fn others(&self, core: &Core) -> impl Iterator<Item = NodeId> {
        let local = core.local();
        self.founders.iter().copied().filter(move |&node| node != local)
    }

    /// Step 2. Passes at once when it passed before; the caller writes down that it did.
    pub async fn check_directory(&self, core: &Core, directory: Directory) -> Result<(), NodeError> {
        if directory == Directory::Admitted || SeededBug::NodeIdReused.is_on() {
            return Ok(());
        }
        let mut asked = 0u32;
        loop {
            let answers = self.ask_all(core).await;
            let verdicts: Vec<Verdict> = answers.values().map(wire::HelloAnswer::verdict).collect();
            if verdicts.contains(&Verdict::OtherDirectory) {
                return Err(NodeError::Wiped { node: core.local() });
            }
            let nothing_yet = answers.len() == self.founders.len() - 1 && answers.values().all(|answer| !answer.initialized);
            if nothing_yet || verdicts.contains(&Verdict::SameDirectory) {
                return Ok(());
            }
            if asked.is_multiple_of(25) {
                tracing::info!(answered = ?answers.keys(), "waiting for the other founders");
            }
            asked += 1;
            self.pause(core).await?;
        }
    }

    /// Step 3. Returns when the meta group is started, by this node or another one.
    pub async fn start_meta_group(&self, core: &Core, meta: &Group) -> Result<(), NodeError> {
        if !meta.log.is_pristine() || self.founders.first() != Some(&core.local()) {
            return Ok(());
        }
        let mut directories = BTreeMap::from([(core.local(), self.directory_id)]);
        while directories.len() < self.founders.len() {
            let answers = self.ask_all(core).await;
            if answers.values().any(|answer| answer.initialized) {
                return Ok(());
            }
            directories.extend(answers.into_iter().map(|(node, answer)| (node, answer.directory_id)));
            if directories.len() < self.founders.len() {
                self.pause(core).await?;
            }
        }
        let founders = directories.iter().map(|(&node_id, &directory_id)| wire::Founder { node_id, directory_id });
        let founders = wire::Founders { founders: founders.collect() };
        identity::save_founders(&core.common.writer, &founders).await.map_err(|e| NodeError::storage("save founders", e))?;
        initialize(meta, &self.founders).await
    }

    async fn pause(&self, core: &Core) -> Result<(), NodeError> {
        match core.closing.run_until_cancelled(tokio::time::sleep(ASK_INTERVAL)).await {
            Some(()) => Ok(()),
            None => Err(NodeError::Refused("stopped while the cluster was being founded".into())),
        }
    }

    async fn ask_all(&self, core: &Core) -> BTreeMap<NodeId, wire::HelloAnswer> {
        let asks = self.others(core).map(|node| async move {
            let mut client = peer_client(&core.common.peers, node, Lane::Control).ok()?;
            let hello = wire::HelloRequest { node_id: core.local(), directory_id: self.directory_id };
            let answer = tokio::time::timeout(ASK_TIMEOUT, client.hello(hello)).await.ok()?.ok()?;
            Some((node, answer.into_inner()))
        });
        futures::future::join_all(asks).await.into_iter().flatten().collect()
    }
}

/// Starts a group with its first voters. Doing it twice, or on several nodes with the same voters, is harmless.
pub async fn initialize(group: &Group, voters: &BTreeSet<NodeId>) -> Result<(), NodeError> {
    let voters: BTreeMap<NodeId, ()> = voters.iter().map(|&node| (node, ())).collect();
    match group.raft.initialize(voters).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(NodeError::Group { group: group.id, reason: error.to_string() }),
    }
}

/// Step 4, for the leader of the meta group: the command that founds the cluster, while it is not founded.
pub fn bootstrap_command(core: &Core, founders: &BTreeSet<NodeId>) -> MetaCommand {
    let members = founders.iter().map(|&id| NewMember { id, grpc: core.common.peers.address(id).unwrap_or_default(), http: String::new() });
    MetaCommand::Bootstrap {
        cluster_id: format!("{:032x}", rand::random::<u128>()),
        hash_key: rand::random(),
        members: members.collect(),
        shards: core.common.settings.shards_per_node * founders.len() as u32,
        replication_factor: core.common.settings.replicas,
    }
}

/// Step 4, for the node that has the directories: the command that files them, until it is done.
pub fn directories_command(state: &MetaState, founders: &wire::Founders) -> Option<MetaCommand> {
    if state.kv.get(DIRECTORIES_KEY).is_some() {
        return None;
    }
    let tokens: BTreeMap<NodeId, String> =
        founders.founders.iter().map(|founder| (founder.node_id, identity::token(founder.directory_id))).collect();
    Some(MetaCommand::put(DIRECTORIES_KEY, serde_json::to_vec(&tokens).ok()?))
}

/// Whether the cluster knows this directory under this id.
pub fn verdict(core: &Core, founders: Option<&wire::Founders>, node: NodeId, directory_id: u64) -> Verdict {
    let state = core.state();
    let filed = state
        .kv
        .get(DIRECTORIES_KEY)
        .and_then(|entry| serde_json::from_slice::<BTreeMap<NodeId, String>>(&entry.value).ok()?.get(&node).cloned());
    let written = founders.and_then(|founders| {
        let founder = founders.founders.iter().find(|founder| founder.node_id == node)?;
        Some(identity::token(founder.directory_id))
    });
    let joined = state.member(node).map(|member| member.token.clone()).filter(|token| !token.is_empty());
    match filed.or(written).or(joined) {
        None => Verdict::Unknown,
        Some(token) if token == identity::token(directory_id) => Verdict::SameDirectory,
        Some(_) => Verdict::OtherDirectory,
    }
}

/// Whether the meta group of this node holds a log.
pub fn is_initialized(core: &Core) -> bool {
    core.group(META_GROUP).is_some_and(|meta: Arc<Group>| !meta.log.is_pristine())
}
