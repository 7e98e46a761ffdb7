//! `/api/v1/kv/{key}`: small documents, replicated by the meta group, with versions and compare-and-set.
//!
//! A version grows with every change of a key and is never given twice, also over a deletion. `If-Match: "VERSION"` makes a write or a deletion
//! depend on it, `If-None-Match: *` on there being nothing; when the condition does not hold the answer is 412 and nothing has changed. Reads are
//! linearizable. A write that is answered 503 may have happened, or may still happen, once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use raft::meta::kv::{Expect, KEY_BYTES_MAX, KvChange, KvCondition, VALUE_BYTES_MAX};
use raft::{MetaAnswer, MetaCommand};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::App;
use super::admin::allow;
use super::body;
use super::envelope::small;
use super::failure::{Failure, Kind};
use super::listener::PeerAddress;

/// Documents whose keys begin so are the server's own: rules, silences, alert state.
const RESERVED: &str = "tern/";

/// `GET /api/v1/kv/{key}`
pub async fn read(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    Path(key): Path<String>,
) -> Result<Response, Failure> {
    allow(&app, peer)?;
    check_key(&key)?;
    let deadline = Instant::now() + app.settings.query.barrier_timeout;
    app.node.meta_barrier(deadline).await.map_err(|_| Failure::new(Kind::Unavailable, "no majority of the meta group can be reached"))?;
    let meta = app.node.meta();
    let entry = meta.kv.get(&key).ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no document {key:?}")))?;
    let value = std::str::from_utf8(&entry.value).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(tagged(entry.version, &json!({"key": key, "version": entry.version, "value": value})))
}

/// `PUT /api/v1/kv/{key}`: the body, text, becomes the value.
pub async fn write(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    allow(&app, peer)?;
    check_key(&key)?;
    let conditions = conditions(&key, &headers)?;
    let value = body::read(body, VALUE_BYTES_MAX, app.settings.web.read_timeout)
        .await
        .map_err(|error| Failure::bad_data(format!("the value, of at most {VALUE_BYTES_MAX} bytes: {error}")))?;
    std::str::from_utf8(&value).map_err(|error| Failure::bad_data(format!("the value must be text: {error}")))?;
    change(&app, &key, conditions, KvChange::Put { key: key.clone(), value: value.into() }).await
}

/// `DELETE /api/v1/kv/{key}`: also when there is nothing.
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    allow(&app, peer)?;
    check_key(&key)?;
    let conditions = conditions(&key, &headers)?;
    change(&app, &key, conditions, KvChange::Delete { key: key.clone() }).await
}

async fn change(app: &App, key: &str, conditions: Vec<KvCondition>, change: KvChange) -> Result<Response, Failure> {
    let command = MetaCommand::Write { conditions, changes: vec![change] };
    let deadline = Instant::now() + app.settings.ingest.timeout;
    let answer = app.node.meta_write(&command, deadline).await.map_err(|error| Failure::new(Kind::Unavailable, error.to_string()))?;
    match answer {
        MetaAnswer::Written { version } => Ok(tagged(version, &json!({"key": key, "version": version}))),
        MetaAnswer::Conflict { version, .. } => Ok(conflict(key, version)),
        MetaAnswer::Refused { reason } => Err(Failure::bad_data(reason)),
        other => Err(Failure::new(Kind::Internal, format!("the meta group answered {other:?}"))),
    }
}

fn tagged(version: u64, data: &Value) -> Response {
    let mut response = small(data);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn conflict(key: &str, version: Option<u64>) -> Response {
    let text = match version {
        Some(version) => format!("{key:?} has version {version}: read it again and decide anew"),
        None => format!("there is no document {key:?}"),
    };
    let body = json!({"status": "error", "errorType": "conflict", "error": text, "data": {"version": version}});
    (StatusCode::PRECONDITION_FAILED, axum::Json(body)).into_response()
}

fn check_key(key: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(plain) {
        return Err(Failure::bad_data(format!("a key has 1 to {KEY_BYTES_MAX} letters, digits and - _ . /")));
    }
    if key.starts_with(RESERVED) {
        return Err(Failure::bad_data(format!("keys below {RESERVED} are the server's own")));
    }
    Ok(())
}

fn conditions(key: &str, headers: &HeaderMap) -> Result<Vec<KvCondition>, Failure> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    let expect = match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => return Ok(Vec::new()),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag).parse();
            Expect::Version(version.map_err(|_| Failure::bad_data(format!("If-Match must be a version in quotes, not {tag:?}")))?)
        }
        (None, Some("*")) => Expect::Absent,
        _ => return Err(Failure::bad_data("say If-Match: \"VERSION\" or If-None-Match: *, and not both")),
    };
    Ok(vec![KvCondition { key: key.to_string(), expect }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions_of(pairs: &[(header::HeaderName, &'static str)]) -> Result<Vec<KvCondition>, Failure> {
        conditions("k", &pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn conditions_are_read_from_headers_and_nonsense_is_refused() {
        let expected = |expect| vec![KvCondition { key: "k".into(), expect }];
        assert_eq!(conditions_of(&[]).unwrap(), []);
        assert_eq!(conditions_of(&[(header::IF_MATCH, "\"17\"")]).unwrap(), expected(Expect::Version(17)));
        assert_eq!(conditions_of(&[(header::IF_NONE_MATCH, "*")]).unwrap(), expected(Expect::Absent));
        for nonsense in [vec![(header::IF_MATCH, "*")], vec![(header::IF_NONE_MATCH, "\"1\"")]] {
            assert!(conditions_of(&nonsense).is_err(), "{nonsense:?}");
        }
        assert!(conditions_of(&[(header::IF_MATCH, "\"1\""), (header::IF_NONE_MATCH, "*")]).is_err());
    }

    #[test]
    fn keys_are_plain_paths_outside_the_servers_own() {
        assert!(check_key("team-a/limits.v2").is_ok());
        for bad in ["", "tern/rules", "a b", "\u{e4}", &"k".repeat(KEY_BYTES_MAX + 1)] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
