//! `/api/v1/status/cluster` and `/api/v1/admin/cluster/*`: what `tern admin` calls. Changes are carried out by the leader of the
//! meta group; any node passes them on.
//!
//! Who may call the administrative paths is the setting `web.admin`: by default only the machine itself.

use std::sync::Arc;

use axum::extract::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use proto::raft as wire;
use proto::raft::admin_server::Admin;
use serde_json::{Value, json};
use tonic::Request;

use super::App;
use super::envelope::small;
use super::failure::{Failure, Kind};
use super::listener::PeerAddress;
use super::params::Params;
use crate::config::AdminAccess;

/// `GET /api/v1/status/cluster`
pub async fn status(State(app): State<Arc<App>>) -> Response {
    small(&status_json(&app.node.status()))
}

fn status_json(status: &wire::NodeStatus) -> Value {
    json!({
        "nodeId": status.node_id,
        "clusterId": status.cluster_id,
        "ready": status.ready,
        "members": members_json(status),
        "groups": status.groups.iter().map(group_json).collect::<Vec<_>>(),
    })
}

fn members_json(status: &wire::NodeStatus) -> Value {
    let member = |member: &wire::MemberStatus| json!({"id": member.node_id, "grpc": member.grpc_address, "http": member.http_address, "state": member.state});
    status.members.iter().map(member).collect()
}

fn group_json(group: &wire::GroupStatus) -> Value {
    json!({
        "group": group.group,
        "shard": group.group.checked_sub(1),
        "leader": group.leader,
        "role": group.role,
        "term": group.term,
        "lastIndex": group.last_index,
        "committedIndex": group.committed_index,
        "appliedIndex": group.applied_index,
        "durableIndex": group.durable_index,
        "purgedIndex": group.purged_index,
        "voters": group.voters,
        "learners": group.learners,
    })
}

/// `GET /api/v1/admin/cluster/members`
pub async fn members(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>) -> Result<Response, Failure> {
    allow(&app, peer)?;
    Ok(small(&members_json(&app.node.status())))
}

/// `POST /api/v1/admin/cluster/remove?node=`
pub async fn remove(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>, params: Params) -> Result<Response, Failure> {
    allow(&app, peer)?;
    let node_id = number(&params, "node")?;
    app.node.admin().remove_node(Request::new(wire::RemoveNodeRequest { node_id })).await.map_err(|status| refused(&status))?;
    Ok(small(&json!({"removed": node_id})))
}

/// `POST /api/v1/admin/cluster/replace?old=&new=`
pub async fn replace(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>, params: Params) -> Result<Response, Failure> {
    allow(&app, peer)?;
    let (old_node_id, new_node_id) = (number(&params, "old")?, number(&params, "new")?);
    let request = wire::ReplaceNodeRequest { old_node_id, new_node_id };
    app.node.admin().replace_node(Request::new(request)).await.map_err(|status| refused(&status))?;
    Ok(small(&json!({"replaced": old_node_id, "by": new_node_id})))
}

/// `POST /api/v1/admin/cluster/transfer-leader?group=&to=`; without `to` any other voter.
pub async fn transfer_leader(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    params: Params,
) -> Result<Response, Failure> {
    allow(&app, peer)?;
    let group = number(&params, "group")?;
    let to = match params.get("to") {
        Some(_) => number(&params, "to")?,
        None => other_voter(&app.node.status(), group)?,
    };
    app.node.admin().transfer_group(Request::new(wire::TransferGroupRequest { group, to })).await.map_err(|status| refused(&status))?;
    Ok(small(&json!({"group": group, "leader": to})))
}

/// `GET /debug/hash?shard=`: a hash of everything a replica holds, equal on replicas that hold the same.
pub async fn content_hash(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    params: Params,
) -> Result<axum::Json<Value>, Failure> {
    allow(&app, peer)?;
    let shard = u32::try_from(number(&params, "shard")?).map_err(|error| Failure::parameter("shard", error))?;
    let replica = app.node.replica(shard);
    let replica = replica.ok_or_else(|| Failure::new(Kind::NotFound, format!("this node holds no replica of shard {shard}")))?;
    let hash = tokio::task::spawn_blocking(move || replica.content_hash()).await;
    let hash = hash.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let hash = hash.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(axum::Json(json!({"shard": shard, "hash": format!("{hash:x}")})))
}

/// `GET /debug/log?group=&from=&to=`: index, term and CRC-32C of the entries that this node's disk holds in `from..to`, or of the first of
/// them. Replicas must agree on every entry that is committed.
pub async fn log(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    params: Params,
) -> Result<axum::Json<Value>, Failure> {
    allow(&app, peer)?;
    let (group, range) = (number(&params, "group")?, number(&params, "from")?..number(&params, "to")?);
    let node = Arc::clone(&app.node);
    let lines = tokio::task::spawn_blocking(move || node.log_listing(group, range)).await;
    let lines = lines.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let lines = lines.ok_or_else(|| Failure::new(Kind::NotFound, format!("this node holds no replica of group {group}")))?;
    let lines = lines.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let entries: Vec<Value> = lines.iter().map(|line| json!([line.index, line.term, line.hash])).collect();
    Ok(axum::Json(json!({"group": group, "entries": entries})))
}

/// `POST /debug/flush`: seals everything that waits in memory, as the sealer would in due time.
pub async fn flush(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>) -> Result<StatusCode, Failure> {
    allow(&app, peer)?;
    app.node.seal_all().await.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

fn other_voter(status: &wire::NodeStatus, group: u64) -> Result<u64, Failure> {
    let found = status.groups.iter().find(|candidate| candidate.group == group);
    let found = found.ok_or_else(|| Failure::parameter("group", format!("this node has no group {group}")))?;
    let other = found.voters.iter().copied().find(|&voter| Some(voter) != found.leader);
    other.ok_or_else(|| Failure::bad_data(format!("group {group} has no other voter")))
}

pub fn allow(app: &App, peer: PeerAddress) -> Result<(), Failure> {
    let allowed = match app.settings.web.admin {
        AdminAccess::Any => true,
        AdminAccess::Loopback => peer.0.ip().to_canonical().is_loopback(),
        AdminAccess::Nobody => false,
    };
    if allowed { Ok(()) } else { Err(Failure::new(Kind::Disabled, "admin APIs disabled for this address (web.admin)")) }
}

fn number(params: &Params, name: &str) -> Result<u64, Failure> {
    let text = params.get(name).ok_or_else(|| Failure::parameter(name, "is missing"))?;
    text.parse().map_err(|_| Failure::parameter(name, format!("{text:?} is not a whole number")))
}

fn refused(status: &tonic::Status) -> Failure {
    let kind = match status.code() {
        tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Kind::Unavailable,
        tonic::Code::NotFound => Kind::NotFound,
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition => Kind::BadData,
        _ => Kind::Internal,
    };
    Failure::new(kind, status.message())
}
