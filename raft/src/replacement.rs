//! A node whose log is damaged takes part again, under a new id, by itself.
//!
//! The log holds what the node promised: votes, and entries that others count as safe here. Without it the node must not speak
//! under its old id again. What it may do:
//!
//! 1. Draw the number of a new directory and write it down, so that asking again asks for the same.
//! 2. Ask any other node for an id, naming the cluster, the old id and the number of the old directory, which only that
//!    directory knew. The meta group admits the new id and drains the old one in its favour; both need a majority without this
//!    node, and each shard changes its members only where a majority is left. Until then nothing here is touched.
//! 3. Put log and state aside, for inspection; those of an earlier time are removed.
//! 4. Begin an empty log with the new identity. The rest is what every new node goes through.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::raft as wire;
use storage::{LogDb, LogOptions};
use tls::NodeTls;

use crate::error::NodeError;
use crate::founding::{Applicant, join};
use crate::identity::{self, Card};
use crate::log_writer::LogWriter;

/// Holds the number of the new directory while a replacement is under way.
const TOKEN_FILE: &str = "replacement";
/// Folders with this prefix hold what was put aside.
const ASIDE_PREFIX: &str = "damaged-";
const LOG: &str = "log";
const STATE: &str = "state";

/// Whether a replacement was begun and has to be finished, whatever the log looks like now.
pub fn is_pending(folder: &Path) -> bool {
    folder.join(TOKEN_FILE).exists()
}

/// Why the node in this folder cannot go on, if its log opens but is not the one that it had.
pub fn lost_identity(folder: &Path, log: &LogDb) -> Option<String> {
    let card = Card::read(folder)?;
    let found = identity::load(log).ok().flatten();
    match found {
        Some(_) => None,
        None => Some(format!("it does not know that it belongs to node {}", card.node_id)),
    }
}

/// Replaces the node of a folder that others reach at these addresses, see the module's story. Waits for a majority as long as it takes.
pub async fn replace(
    folder: &Path,
    (grpc, http): (&str, &str),
    tls: Option<&Arc<NodeTls>>,
    connect_timeout: Duration,
    reason: &str,
) -> Result<(), NodeError> {
    let card = card_of(folder, reason)?;
    let token = token(folder)?;
    tracing::error!(node = card.node_id, reason, "the log is damaged; this node asks the others to go on under a new id");
    let others = card.nodes.iter().filter(|(node, _)| **node != card.node_id);
    let others = others.map(|(&node, grpc)| (node, grpc.clone())).collect();
    let replaces = wire::Replaced { node_id: card.node_id, directory_id: card.directory_id, cluster_id: card.cluster_id.clone() };
    let applicant = Applicant { grpc, http, directory_id: token, replaces: Some(replaces) };
    let answer = join(&applicant, &others, tls, connect_timeout).await?;
    set_aside(folder, card.node_id).map_err(|e| NodeError::storage("put the damaged files aside", e))?;
    begin(folder, &card, token, &answer).await?;
    tracing::warn!(old = card.node_id, new = answer.node_id, "this node goes on under a new id; the damaged files are kept beside");
    Ok(())
}

/// Puts a state aside that cannot be opened; its shards come from other nodes.
pub fn set_state_aside(folder: &Path, reason: &str) -> Result<(), NodeError> {
    let card = card_of(folder, reason)?;
    tracing::error!(reason, "the state is damaged; its shards are fetched from other nodes");
    let aside = aside(folder, card.node_id).map_err(|e| NodeError::storage("put the damaged files aside", e))?;
    move_into(&aside, folder, STATE).map_err(|e| NodeError::storage("put the damaged files aside", e))
}

/// What is known of this node and of others that can help.
fn card_of(folder: &Path, reason: &str) -> Result<Card, NodeError> {
    let place = folder.display();
    let Some(card) = Card::read(folder) else {
        return Err(NodeError::Refused(format!(
            "{place} is damaged ({reason}), and its file `identity` does not tell which node it was; nothing was changed. Restore it, or \
             start an empty folder with --join and have it replace this node"
        )));
    };
    if card.is_alone() {
        return Err(NodeError::Refused(format!(
            "{place} is damaged ({reason}), and no other node has its data; nothing was changed. Restore a backup of the folder"
        )));
    }
    Ok(card)
}

fn token(folder: &Path) -> Result<u64, NodeError> {
    let path = folder.join(TOKEN_FILE);
    let known = std::fs::read_to_string(&path).ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    if let Some(token) = known {
        return Ok(token);
    }
    let token = rand::random();
    storage::write_durably(&path, format!("{token:016x}\n").as_bytes()).map_err(|e| NodeError::storage("begin replacement", e))?;
    Ok(token)
}

fn set_aside(folder: &Path, node: u64) -> std::io::Result<()> {
    let aside = aside(folder, node)?;
    move_into(&aside, folder, LOG)?;
    move_into(&aside, folder, STATE)
}

/// A folder for damaged files, the only one.
fn aside(folder: &Path, node: u64) -> std::io::Result<PathBuf> {
    let aside = folder.join(format!("{ASIDE_PREFIX}{node}"));
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_older = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE_PREFIX)) && path != aside;
        if is_older {
            std::fs::remove_dir_all(path)?;
        }
    }
    std::fs::create_dir_all(&aside)?;
    Ok(aside)
}

/// What lies there already is older, or the same that a crash left.
fn move_into(aside: &Path, folder: &Path, name: &str) -> std::io::Result<()> {
    let (from, to) = (folder.join(name), aside.join(name));
    if !from.exists() {
        return Ok(());
    }
    if to.exists() {
        std::fs::remove_dir_all(&to)?;
    }
    std::fs::rename(&from, &to)?;
    storage::sync_directory_of(&to)?;
    storage::sync_directory_of(&from)
}

async fn begin(folder: &Path, card: &Card, token: u64, answer: &wire::JoinAnswer) -> Result<(), NodeError> {
    let failed = |e: std::io::Error| NodeError::storage("begin a new log", e);
    let db = LogDb::open(&folder.join(LOG), LogOptions::default()).map_err(|e| NodeError::storage("begin a new log", e))?;
    let writer = LogWriter::start(Arc::new(db), 1 << 20, LogWriter::abort_on_fatal()).map_err(failed)?;
    let nodes = answer.nodes.iter().map(|node| (node.node_id, node.grpc_address.clone())).collect();
    identity::save_addresses(&writer, &nodes).await.map_err(failed)?;
    let configured = if card.configured_node_id == 0 { card.node_id } else { card.configured_node_id };
    let identity = wire::Identity {
        node_id: answer.node_id,
        directory_id: token,
        cluster_id: answer.cluster_id.clone(),
        admitted: true,
        configured_node_id: configured,
    };
    identity::save(&writer, &identity).await.map_err(failed)?;
    drop(writer);
    let mut nodes = nodes;
    nodes.remove(&card.node_id);
    let card =
        Card { cluster_id: answer.cluster_id.clone(), node_id: answer.node_id, directory_id: token, configured_node_id: configured, nodes };
    card.write(folder).map_err(failed)?;
    std::fs::remove_file(folder.join(TOKEN_FILE)).and_then(|()| storage::sync_directory_of(&folder.join(TOKEN_FILE))).map_err(failed)
}
