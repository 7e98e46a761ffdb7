//! Around every write: its body counts against the bytes that all writes may hold together, from the first piece until the answer.
//!
//! What a body becomes once it is uncompressed and parsed is counted by the writer.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use parking_lot::Mutex;

use super::App;
use super::failure::add_retry_after;
use crate::ingest::budget::{OverBudget, Reservation};

pub async fn within_budget(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let reservation = Arc::new(Mutex::new(app.writer.budget().reservation()));
    let counted = request.map(|body| counted(body, Arc::clone(&reservation)));
    let mut response = next.run(counted).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !response.headers().contains_key(header::RETRY_AFTER) {
        add_retry_after(&mut response);
    }
    response
}

/// A body that ends with [`OverBudget`] where no more of it fits.
fn counted(body: Body, reservation: Arc<Mutex<Reservation>>) -> Body {
    Body::from_stream(body.into_data_stream().map(move |piece| {
        let piece = piece?;
        reservation.lock().grow(piece.len()).map_err(axum::Error::new)?;
        Ok::<_, axum::Error>(piece)
    }))
}

/// Whether this is why a body could not be read.
pub fn over_budget(error: &(dyn Error + 'static)) -> Option<OverBudget> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<OverBudget>() {
            return Some(*found);
        }
        cause = error.source();
    }
    None
}
