//! What query handlers read from a request beside their own parameters.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use promql::matcher::Matcher;

use super::App;
use super::failure::{Failure, Kind};
use super::params::Params;
use crate::config::Consistency;
use crate::query::failure::QueryFailure;

/// The other end of a connection, put into every request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// The same for handlers, where there is one.
pub struct Asker(pub Option<SocketAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Asker, Infallible> {
        Ok(Asker(parts.extensions.get::<PeerAddress>().map(|peer| peer.0)))
    }
}

const CONSISTENCY_HEADER: &str = "x-tern-consistency";

/// `?consistency=` before the header before the setting.
pub fn consistency(app: &App, params: &Params, headers: &HeaderMap) -> Result<Consistency, Failure> {
    let header = headers.get(CONSISTENCY_HEADER).and_then(|value| value.to_str().ok());
    match params.get("consistency").or(header) {
        Some(text) => Consistency::parse(text).map_err(|cause| Failure::parameter("consistency", cause)),
        None => Ok(app.settings.query.consistency),
    }
}

/// `match[]=`, each a vector selector with at least one condition that an absent label does not meet.
pub fn selectors(app: &App, params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    plain_selectors(app, params).map_err(|cause| Failure::parameter("match[]", cause))
}

/// The same with the bare cause as its error, for calls that do not name the parameter in front of it.
pub fn plain_selectors(app: &App, params: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    let matchers = params.all("match[]").map(|text| app.queries.parse_selector(text).map_err(|failure| failure.to_string()));
    let sets = matchers.collect::<Result<Vec<_>, _>>()?;
    if sets.iter().any(|set| set.iter().all(|matcher| matcher.matches(""))) {
        return Err("match[] must contain at least one non-empty matcher".to_string());
    }
    Ok(sets)
}

impl From<QueryFailure> for Failure {
    fn from(failure: QueryFailure) -> Failure {
        match failure {
            QueryFailure::BadQuery(text) => Failure::parameter("query", text),
            QueryFailure::Execution(text) => Failure::new(Kind::Execution, text),
            QueryFailure::Unavailable(text) => Failure::new(Kind::Unavailable, text),
            QueryFailure::Timeout(text) => Failure::new(Kind::Timeout, text),
            QueryFailure::Canceled(text) => Failure::new(Kind::Canceled, text),
            QueryFailure::Internal(text) => Failure::new(Kind::Internal, text),
        }
    }
}
