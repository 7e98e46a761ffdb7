//! Before a request reaches its handler: may whoever sends it, and does a person mean it?
//!
//! With `auth.file` each request shows credentials, and each group of paths needs a role. With or without: a browser carries out what
//! any page tells it, with the credentials it remembers and from the machine it runs on. So what changes something is refused when the
//! browser says that another site's page sent it (`Sec-Fetch-Site`, `Origin`); programs send neither header, and so need no token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::add_retry_after;
use super::native_failure::NativeFailure;
use super::plain_failure::PlainFailure;
use super::request::PeerAddress;
use crate::auth::{AuthFailure, Authenticator, Identity, Role};

/// What a group of paths needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any account.
    Account,
    Role(Role),
}

#[derive(Clone)]
struct Gate {
    app: Arc<App>,
    need: Need,
}

/// Lets only those to the routes who may.
pub fn guarded(routes: Router<Arc<App>>, app: &Arc<App>, need: Need) -> Router<Arc<App>> {
    routes.layer(from_fn_with_state(Gate { app: Arc::clone(app), need }, pass))
}

async fn pass(State(Gate { app, need }): State<Gate>, mut request: Request, next: Next) -> Response {
    let changes_something = matches!(need, Need::Role(Role::Write | Role::Admin)) && !request.method().is_safe();
    if changes_something && !is_own_page(request.method(), request.uri(), request.headers(), &app) {
        return refusal(request.uri(), Refused::OtherSite);
    }
    if let Some(accounts) = &app.accounts {
        match permit(accounts, need, request.headers()).await {
            Ok(identity) => drop(request.extensions_mut().insert(identity)),
            Err(refused) => {
                tell(&request, &refused, &app);
                return refusal(request.uri(), refused);
            }
        }
    }
    next.run(request).await
}

/// Why somebody is turned away.
#[derive(Debug)]
enum Refused {
    Unknown(AuthFailure),
    /// Known, without the role.
    Role {
        identity: Identity,
        role: Role,
    },
    OtherSite,
}

async fn permit(accounts: &Authenticator, need: Need, headers: &HeaderMap) -> Result<Identity, Refused> {
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let identity = accounts.identify(authorization).await.map_err(Refused::Unknown)?;
    match need {
        Need::Role(role) if !identity.roles.allow(role) => Err(Refused::Role { identity, role }),
        _ => Ok(identity),
    }
}

/// Wrong credentials are worth a line in the log, but not one each.
fn tell(request: &Request, refused: &Refused, app: &App) {
    if matches!(refused, Refused::Unknown(AuthFailure::Wrong)) && app.wrong_credentials.is_due() {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.to_string()).unwrap_or_default();
        tracing::warn!(peer, path = request.uri().path(), "somebody sent wrong credentials");
    }
}

fn refusal(uri: &Uri, refused: Refused) -> Response {
    let (status, text, hint) = match &refused {
        Refused::Unknown(failure @ AuthFailure::Busy) => (StatusCode::SERVICE_UNAVAILABLE, failure.to_string(), "try again later"),
        Refused::Unknown(failure) => (StatusCode::UNAUTHORIZED, failure.to_string(), "see README, \"Securing it\""),
        Refused::Role { identity, role } => {
            let text = format!("this needs the role {role}; {} has {}", identity.name, identity.roles);
            (StatusCode::FORBIDDEN, text, "ask with another account, or give this one the role in auth.file")
        }
        Refused::OtherSite => {
            let text = "a page of another site sent this request".to_string();
            (StatusCode::FORBIDDEN, text, "send it from a program, or name the page's origin in web.cors_origin")
        }
    };
    let is_native = ["/ingest/", "/query/"].iter().any(|start| uri.path().starts_with(start));
    let mut response = if is_native {
        NativeFailure::new(status, text, hint).into_response()
    } else {
        PlainFailure::new(status, format!("{text}; {hint}")).into_response()
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            for challenge in [r#"Basic realm="tern", charset="UTF-8""#, r#"Bearer realm="tern""#] {
                response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        StatusCode::SERVICE_UNAVAILABLE => add_retry_after(&mut response),
        _ => {}
    }
    // What is left of the body would be taken for the next request.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether no page, or one of this server or of an origin named in `web.cors_origin`, sent the request.
fn is_own_page(method: &Method, uri: &Uri, headers: &HeaderMap, app: &App) -> bool {
    debug_assert!(!method.is_safe());
    let allowed = &app.settings.web.cors_origin;
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_named = allowed.pattern() != ".*" && origin.is_some_and(|origin| allowed.is_match(origin));
    is_named || is_same_site(uri, headers, origin)
}

fn is_same_site(uri: &Uri, headers: &HeaderMap, origin: Option<&str>) -> bool {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => return true,
        Some(_) => return false,
        None => {}
    }
    // Older browsers. HTTP/2 has the host in the address.
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(|authority| authority.as_str()));
    let from = origin.and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    from.is_some() && from == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_site(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_string);
        is_same_site(&Uri::from_static("/-/quit"), &headers, origin.as_deref())
    }

    #[test]
    fn programs_and_own_pages_are_told_from_other_sites() {
        assert!(same_site(&[]), "curl");
        assert!(same_site(&[("sec-fetch-site", "same-origin"), ("origin", "http://tern:9201"), ("host", "tern:9201")]));
        assert!(same_site(&[("sec-fetch-site", "none")]), "typed by hand");
        assert!(same_site(&[("origin", "http://tern:9201"), ("host", "tern:9201")]), "an older browser");
        for other in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "http://tern:9201"), ("host", "tern:9201")],
            &[("origin", "http://tern:9202"), ("host", "tern:9201")],
            &[("origin", "null"), ("host", "tern:9201")],
            &[("origin", "http://evil.example")],
        ] {
            assert!(!same_site(other), "{other:?}");
        }
    }

    #[test]
    fn refusals_have_the_form_of_their_path() {
        let native = refusal(&Uri::from_static("/ingest/metrics"), Refused::Unknown(AuthFailure::Missing));
        assert_eq!(native.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(native.headers().get_all(header::WWW_AUTHENTICATE).iter().count(), 2);
        let plain = refusal(&Uri::from_static("/api/v1/query"), Refused::Unknown(AuthFailure::Busy));
        assert!(plain.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(plain.headers().get_all(header::RETRY_AFTER).iter().count(), 1);
    }
}
