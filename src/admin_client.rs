//! `tern admin …`: one HTTP request to a member, its JSON answer printed. The members forward what only a leader can do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Replacing a node copies its shards, which takes as long as it takes.
const TIMEOUT: Duration = Duration::from_secs(600);

const STATUS_TIMEOUT: Duration = Duration::from_secs(3);

/// What `tern admin` can ask for.
#[derive(Clone, Debug)]
pub enum AdminRequest {
    Status,
    Members,
    Remove { node: u64 },
    Replace { old: u64, new: u64 },
    TransferLeader { group: u64, to: Option<u64> },
}

impl AdminRequest {
    fn method_and_path(&self) -> (Method, String) {
        const BASE: &str = "/api/v1/admin/cluster";
        match self {
            AdminRequest::Status => (Method::GET, "/api/v1/status/cluster".to_string()),
            AdminRequest::Members => (Method::GET, format!("{BASE}/members")),
            AdminRequest::Remove { node } => (Method::POST, format!("{BASE}/remove?node={node}")),
            AdminRequest::Replace { old, new } => (Method::POST, format!("{BASE}/replace?old={old}&new={new}")),
            AdminRequest::TransferLeader { group, to: None } => (Method::POST, format!("{BASE}/transfer-leader?group={group}")),
            AdminRequest::TransferLeader { group, to: Some(to) } => (Method::POST, format!("{BASE}/transfer-leader?group={group}&to={to}")),
        }
    }
}

/// Sends the request and returns the answer's `data` as indented JSON; an error answer is an error.
pub async fn run(address: &str, request: &AdminRequest) -> anyhow::Result<String> {
    let (method, path) = request.method_and_path();
    Ok(serde_json::to_string_pretty(&call(address, method, &path, TIMEOUT).await?)?)
}

/// Ids and gRPC addresses of the members of the cluster that the node at this HTTP address belongs to.
pub async fn members(address: &str) -> anyhow::Result<BTreeMap<u64, String>> {
    let (method, path) = AdminRequest::Status.method_and_path();
    let status = call(address, method, &path, STATUS_TIMEOUT).await?;
    let listed = status["members"].as_array().into_iter().flatten();
    let living = listed.filter(|member| member["state"] != "removed");
    let members: BTreeMap<u64, String> =
        living.filter_map(|member| Some((member["id"].as_u64()?, member["grpc"].as_str()?.into()))).collect();
    anyhow::ensure!(!members.is_empty(), "http://{address} knows no members yet");
    Ok(members)
}

async fn call(address: &str, method: Method, path: &str, timeout: Duration) -> anyhow::Result<Value> {
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let request = Request::builder().method(method).uri(format!("http://{address}{path}")).body(Full::<Bytes>::default())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(timeout, client.request(request)).await;
    let response = match answer {
        Ok(response) => response.with_context(|| format!("reach http://{address}; is the node up?"))?,
        Err(_) => anyhow::bail!("http://{address} did not answer within {} s", timeout.as_secs()),
    };
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let mut json: Value = serde_json::from_slice(&body)
        .map_err(|_| anyhow::anyhow!("http://{address} answered {status}: {}", String::from_utf8_lossy(&body)))?;
    if !status.is_success() {
        anyhow::bail!("{}", json["error"].as_str().unwrap_or("the node refused without a reason"));
    }
    Ok(json["data"].take())
}
