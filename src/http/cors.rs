//! Cross-origin requests: which pages' scripts may read answers. The setting `web.cors_origin` is a regular expression
//! that must match a page's whole origin; the headers are Prometheus', so that scripts written for it work.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use promql::regex::AnchoredRegex;

use super::App;
use super::stream::vary;

const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Accept, Authorization, Content-Type, Origin")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date")),
];

/// Around the calls that scripts of other pages may make.
pub async fn allow_origins(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    set_headers(response.headers_mut(), origin.as_ref(), &app.settings.web.cors_origin);
    response
}

/// The answer to a browser that asks what it may send.
pub fn preflight(app: &App, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_headers(response.headers_mut(), asked.get(header::ORIGIN), &app.settings.web.cors_origin);
    response
}

fn set_headers(headers: &mut HeaderMap, origin: Option<&HeaderValue>, allowed: &AnchoredRegex) {
    vary(headers, "Origin");
    let Some(origin) = origin else { return };
    headers.extend(HEADERS);
    let is_allowed = origin.to_str().is_ok_and(|text| allowed.is_match(text));
    if allowed.pattern() == ".*" {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else if is_allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(origin: Option<&'static str>, allowed: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let origin = origin.map(HeaderValue::from_static);
        set_headers(&mut headers, origin.as_ref(), &AnchoredRegex::new(allowed).expect("a pattern"));
        headers
    }

    #[test]
    fn any_origin_is_allowed_by_a_star() {
        let headers = answered(Some("https://a.example"), ".*");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, OPTIONS");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], "Accept, Authorization, Content-Type, Origin");
        assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], "Date");
        assert_eq!(headers[header::VARY], "Origin");
    }

    #[test]
    fn the_pattern_must_match_the_whole_origin() {
        let allowed = r"https?://(a|b)\.example";
        assert_eq!(answered(Some("http://b.example"), allowed)[header::ACCESS_CONTROL_ALLOW_ORIGIN], "http://b.example");
        for origin in ["http://b.example.evil", "https://c.example", "x-http://a.example"] {
            assert!(answered(Some(origin), allowed).get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none(), "{origin}");
        }
    }

    #[test]
    fn without_an_origin_nothing_is_allowed() {
        let headers = answered(None, ".*");
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers[header::VARY], "Origin");
    }
}
