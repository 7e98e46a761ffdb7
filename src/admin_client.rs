//! `tern admin …`: one HTTP request to a member, its JSON answer printed. The members forward what only a leader can do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::http_config::HttpConfig;

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

/// Sends the request and returns the answer's `data` as indented JSON; an error answer is an error. `address` is `HOST:PORT`, with
/// `https://` in front where the node speaks TLS.
pub async fn run(address: &str, config: &HttpConfig, request: &AdminRequest) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&call(address, config, request, TIMEOUT).await?)?)
}

/// Ids and gRPC addresses of the members of the cluster that the node at this HTTP address belongs to.
pub async fn members(address: &str) -> anyhow::Result<BTreeMap<u64, String>> {
    let status = call(address, &HttpConfig::default(), &AdminRequest::Status, STATUS_TIMEOUT).await?;
    let listed = status["members"].as_array().into_iter().flatten();
    let living = listed.filter(|member| member["state"] != "removed");
    let members: BTreeMap<u64, String> =
        living.filter_map(|member| Some((member["id"].as_u64()?, member["grpc"].as_str()?.into()))).collect();
    anyhow::ensure!(!members.is_empty(), "{address} knows no members yet");
    Ok(members)
}

async fn call(address: &str, config: &HttpConfig, request: &AdminRequest, timeout: Duration) -> anyhow::Result<Value> {
    let answer = tokio::time::timeout(timeout, exchange(address.trim_end_matches('/'), config, request)).await;
    let (status, body) = answer.with_context(|| format!("{address} did not answer within {} s", timeout.as_secs()))??;
    let parsed: Result<Value, _> = serde_json::from_slice(&body);
    let text = || String::from_utf8_lossy(&body).trim_end().to_string();
    let Ok(mut json) = parsed else { anyhow::bail!("{address} answered {status}: {}", text()) };
    if !status.is_success() {
        anyhow::bail!("{}", json["error"].as_str().unwrap_or("the node refused without a reason"));
    }
    Ok(json["data"].take())
}

async fn exchange(address: &str, config: &HttpConfig, request: &AdminRequest) -> anyhow::Result<(StatusCode, Bytes)> {
    let (is_secure, authority) = match address.strip_prefix("https://") {
        Some(authority) => (true, authority),
        None => (false, address.strip_prefix("http://").unwrap_or(address)),
    };
    let (method, path) = request.method_and_path();
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, authority);
    if let Some(authorization) = &config.authorization {
        let mut value = header::HeaderValue::from_str(authorization).map_err(|_| anyhow::anyhow!("the credentials fit no header"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let reaching = || format!("reach {address}; is the node up?");
    let stream = TcpStream::connect(authority).await.with_context(reaching)?;
    if !is_secure {
        return send(stream, request).await.with_context(reaching);
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    let name = config.tls.server_name.as_deref().unwrap_or(host);
    let stream = config.client_tls()?.connect(stream, name).await.with_context(|| format!("speak TLS with {address}"))?;
    send(stream, request).await.with_context(reaching)
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
