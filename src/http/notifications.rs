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
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

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
    let events = stream::iter(now).chain(until_closing(changes, app.closing.clone()));
    // An empty comment sends the head at once, so that browsers know they are connected.
    let body = stream::iter([Bytes::from_static(b":\n\n")]).chain(events.map(|notification| event(&notification)));
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (head, Body::from_stream(body.map(Ok::<_, Infallible>))).into_response()
}

/// Before the node serves there is one thing to say.
pub async fn list_while_starting() -> Response {
    small(&json!([{"text": "Tern is starting and replays its log.", "date": rfc3339(crate::clock::now_ms()), "active": true}]))
}

/// Changes as they come; those said before `closing` are all heard.
fn until_closing(changes: Receiver<Notification>, closing: CancellationToken) -> impl Stream<Item = Notification> {
    stream::unfold((changes, closing), |(mut changes, closing)| async {
        loop {
            let change = tokio::select! {
                biased;
                change = changes.recv() => change,
                () = closing.cancelled() => return None,
            };
            match change {
                Ok(notification) => return Some((notification, (changes, closing))),
                // A listener this slow misses some, as upstream.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })
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
    async fn what_is_said_last_is_heard_before_the_stream_ends() {
        let (sender, changes) = tokio::sync::broadcast::channel(4);
        let closing = CancellationToken::new();
        let heard = until_closing(changes, closing.clone());
        sender.send(Notification { text: "good bye".into(), time_ms: 0, is_active: true }).expect("listened to");
        closing.cancel();
        let heard: Vec<String> = heard.map(|notification| notification.text).collect().await;
        assert_eq!(heard, ["good bye"]);
    }
}
