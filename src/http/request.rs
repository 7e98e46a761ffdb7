//! What query handlers read from a request beside their own parameters.

use axum::http::HeaderMap;
use promql::matcher::Matcher;

use super::App;
use super::failure::{Failure, Kind};
use super::params::Params;
use crate::config::Consistency;
use crate::query::failure::QueryFailure;

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
    params.all("match[]").map(|text| selector(app, text)).collect()
}

fn selector(app: &App, text: &str) -> Result<Vec<Matcher>, Failure> {
    let matchers = app.queries.parse_selector(text).map_err(|failure| Failure::parameter("match[]", failure))?;
    if matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(Failure::bad_data("match[] must contain at least one non-empty matcher"));
    }
    Ok(matchers)
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
