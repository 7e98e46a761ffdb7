//! `/api/v1/notifications` and `/api/v1/notifications/live`: what the node wants people to know, as a list and as a stream
//! of server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::App;
use super::envelope::small;
use crate::notifications::Notification;
use crate::time_text::rfc3339;

/// `GET /api/v1/notifications`
pub async fn list(State(app): State<Arc<App>>) -> Response {
    small(&app.notifications.list().iter().map(notification_json).collect())
}

/// `GET /api/v1/notifications/live`: what holds now, then every change, until the node stops. 204 when too many listen.
pub async fn live(State(app): State<Arc<App>>) -> Response {
    let Some((now, changes)) = app.notifications.listen() else { return StatusCode::NO_CONTENT.into_response() };
    let later = stream::unfold(changes, |mut changes| async {
        loop {
            match changes.recv().await {
                Ok(notification) => return Some((notification, changes)),
                // A listener this slow misses some, as upstream.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let events = stream::iter(now).chain(later);
    let quit = app.quit.clone();
    // An empty comment sends the head at once, so that browsers know they are connected.
    let body = stream::iter([Bytes::from_static(b":\n\n")]).chain(events.map(|notification| event(&notification)));
    let body = until(body, async move { quit.cancelled().await });
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (head, Body::from_stream(body.map(Ok::<_, Infallible>))).into_response()
}

/// Before the node serves there is one thing to say.
pub async fn list_while_starting() -> Response {
    small(&json!([{"text": "Tern is starting and replays its log.", "date": rfc3339(crate::clock::now_ms()), "active": true}]))
}

fn until<T>(items: impl Stream<Item = T>, end: impl Future<Output = ()>) -> impl Stream<Item = T> {
    items.take_until(Box::pin(end))
}

fn event(notification: &Notification) -> Bytes {
    format!("data: {}\n\n", notification_json(notification)).into()
}

fn notification_json(notification: &Notification) -> Value {
    json!({"text": notification.text, "date": rfc3339(notification.time_ms), "active": notification.is_active})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let notification = Notification { text: "two\nlines".into(), time_ms: 1_700_000_000_000, is_active: true };
        let text = String::from_utf8(event(&notification).to_vec()).expect("UTF-8");
        assert_eq!(text, "data: {\"active\":true,\"date\":\"2023-11-14T22:13:20Z\",\"text\":\"two\\nlines\"}\n\n");
    }

    #[tokio::test]
    async fn the_stream_ends_with_the_node() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let endless = until(stream::pending::<u8>(), async move { drop(ended.await) });
        end.send(()).expect("listened to");
        assert!(endless.collect::<Vec<u8>>().await.is_empty());
    }
}
