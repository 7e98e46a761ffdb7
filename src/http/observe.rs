//! Around every request: an id, the count and the duration by route, and an answer even when a handler panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::App;
use super::failure::{Failure, Kind};

const REQUEST_ID: &str = "x-request-id";
/// Ids from outside that are longer than this are replaced.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Ids given out by this process; joined with its start time they are unlikely to repeat.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(&request, &app);
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_string();
    let in_flight = app.metrics.http_in_flight.enter();
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(route, request = ?id, panic = panic_text(panic.as_ref()), "a handler panicked");
            Failure::new(Kind::Internal, "a fault in the server, see its log").into_response()
        }
    };
    drop(in_flight);
    response.headers_mut().insert(REQUEST_ID, id);
    app.metrics.http.observe(&route, response.status().as_u16(), start.elapsed());
    response
}

/// The sender's id where it is printable and short, else a new one.
fn request_id(request: &Request, app: &App) -> HeaderValue {
    match request.headers().get(REQUEST_ID) {
        Some(id) if id.len() <= REQUEST_ID_BYTES_MAX && id.to_str().is_ok() => id.clone(),
        _ => {
            let number = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            HeaderValue::from_str(&format!("{:x}-{number:x}", app.started_ms)).unwrap_or(HeaderValue::from_static("-"))
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}
