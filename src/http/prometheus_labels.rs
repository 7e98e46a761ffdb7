//! `/api/v1/labels`, `/api/v1/label/<name>/values`, `/api/v1/series`.

use std::io::Write;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use promql::labels::Labels;

use super::App;
use super::envelope::{self, Remarks};
use super::failure::Failure;
use super::params::Params;
use super::query_json::{push_labels, push_text, write_list};
use super::request;
use super::stream::Encoding;
use super::victoria_extras;
use crate::query::metadata::{Found, LabelQuestion, Scope};
use crate::time_text::{EARLIEST_MS, LATEST_MS};

/// `GET`, `POST /api/v1/labels`
pub async fn names(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    texts(&app, &headers, &params, LabelQuestion::Names).await
}

/// `GET /api/v1/label/<name>/values`
pub async fn values(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Failure> {
    // Refused when it is not UTF-8.
    let Path(name) = path.map_err(|rejection| Failure::bad_data(format!("invalid label name: {rejection}")))?;
    let name = unescape_name(&name).unwrap_or(name);
    if name.is_empty() {
        return Err(Failure::bad_data(format!("invalid label name: {name:?}")));
    }
    texts(&app, &headers, &params, LabelQuestion::Values(name)).await
}

async fn texts(app: &App, headers: &HeaderMap, params: &Params, question: LabelQuestion) -> Result<Response, Failure> {
    let limit = params.limit("limit")?;
    let (start_ms, end_ms) = range(params)?;
    let mut selectors = request::plain_selectors(app, params).map_err(Failure::bad_data)?;
    victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(app, params)?);
    let consistency = request::consistency(app, params, headers)?;
    let scope = Scope { selectors, start_ms, end_ms, consistency };
    let found = app.queries.labels(scope, question, one_more(limit)).await?;
    let (items, remarks) = cut(found, limit);
    let values = items.len();
    let write = move |out: &mut dyn Write| {
        let mut buffer = Vec::new();
        write_list(out, &mut buffer, &items, |buffer, text: &Arc<str>| push_text(buffer, text))?;
        out.write_all(&buffer)
    };
    Ok(envelope::success(Encoding::negotiate(headers), remarks, values, write).await)
}

/// `GET`, `POST /api/v1/series`
pub async fn series(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    params.all_readable()?;
    if params.all("match[]").next().is_none() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit("limit")?;
    let (start_ms, end_ms) = range(&params)?;
    let mut selectors = request::selectors(&app, &params)?;
    victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(&app, &params)?);
    let consistency = request::consistency(&app, &params, &headers)?;
    let scope = Scope { selectors, start_ms, end_ms, consistency };
    let most = match app.settings.query.series_max {
        0 => limit,
        most => Some(limit.unwrap_or(most).min(most)),
    };
    let found = app.queries.series(scope, one_more(most)).await?;
    let (items, remarks) = cut(found, most);
    let values = items.iter().map(Labels::len).sum();
    let write = move |out: &mut dyn Write| {
        let mut buffer = Vec::new();
        write_list(out, &mut buffer, &items, |buffer, labels: &Labels| push_labels(buffer, labels))?;
        out.write_all(&buffer)
    };
    Ok(envelope::success(Encoding::negotiate(&headers), remarks, values, write).await)
}

/// `GET /api/v1/series/count`: of all series, or those of one selector.
pub async fn series_count(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let (start_ms, end_ms) = range(&params)?;
    let mut selectors = request::selectors(&app, &params)?;
    if selectors.len() > 1 {
        return Err(Failure::parameter("match[]", "one selector can be counted at a time"));
    }
    // Conditions are disjoint, so with them no series is counted twice.
    victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(&app, &params)?);
    let consistency = request::consistency(&app, &params, &headers)?;
    let found = app.queries.series_count(Scope { selectors, start_ms, end_ms, consistency }).await?;
    let remarks = Remarks { warnings: found.warnings, infos: Vec::new() };
    let count = found.items.first().copied().unwrap_or(0);
    Ok(envelope::success(Encoding::Identity, remarks, 1, move |out| write!(out, "[{count}]")).await)
}

/// Without bounds everything. A range that ends before it begins holds nothing, as upstream.
fn range(params: &Params) -> Result<(i64, i64), Failure> {
    Ok((params.time("start")?.unwrap_or(EARLIEST_MS), params.time("end")?.unwrap_or(LATEST_MS)))
}

/// One more than wanted tells whether any are left out.
fn one_more(limit: Option<usize>) -> usize {
    limit.map_or(usize::MAX, |limit| limit.saturating_add(1))
}

fn cut<T>(mut found: Found<T>, limit: Option<usize>) -> (Vec<T>, Remarks) {
    let mut remarks = Remarks { warnings: found.warnings, infos: Vec::new() };
    if let Some(limit) = limit.filter(|&limit| limit < found.items.len()) {
        found.items.truncate(limit);
        remarks.warnings.push("results truncated due to limit".to_string());
    }
    (found.items, remarks)
}

/// Of the largest character's code, 10FFFF.
const CODE_DIGITS_MAX: usize = 6;

/// `U__http_2e_status` → `http.status`: how clients put names beyond the classic alphabet into a path. `None` when the
/// name is not escaped, or not correctly, and stands for itself.
fn unescape_name(escaped: &str) -> Option<String> {
    let mut rest = escaped.strip_prefix("U__")?;
    let mut name = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            name.push('_');
            rest = tail;
            continue;
        }
        let end = rest.find('_')?;
        let digits = &rest[..end];
        if digits.len() > CODE_DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        name.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = &rest[end + 1..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        assert_eq!(unescape_name("U__http_2e_status__code").as_deref(), Some("http.status_code"));
        assert_eq!(unescape_name("U___65e5_x").as_deref(), Some("日x"));
        assert_eq!(unescape_name("U__plain").as_deref(), Some("plain"));
        for not_escaped in ["job", "U_x", "U__a_zz_b", "U__a_2e", "U__a_+2e_b", "U__a_0000002e_b", "U__a_d800_b", "U__a_"] {
            assert_eq!(unescape_name(not_escaped), None, "{not_escaped}");
        }
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let (items, remarks) = cut(Found { items: vec![1, 2, 3], warnings: vec![] }, Some(2));
        assert_eq!((items, remarks.warnings), (vec![1, 2], vec!["results truncated due to limit".to_string()]));
        let (items, remarks) = cut(Found { items: vec![1, 2], warnings: vec![] }, Some(2));
        assert_eq!((items.len(), remarks.warnings.len()), (2, 0));
    }
}
