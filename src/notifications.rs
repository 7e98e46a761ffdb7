//! What this node wants people to know as long as it holds: `/api/v1/notifications` and its live stream.

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::clock;

/// Changes that a slow listener may be behind before it misses some.
const CHANGES_WAITING: usize = 16;

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub text: String,
    /// When it was last said.
    pub time_ms: i64,
    /// False in the change that takes it back.
    pub is_active: bool,
}

/// The list, and who listens to its changes.
pub struct Notifications {
    list: Mutex<Vec<Notification>>,
    changes: broadcast::Sender<Notification>,
    listeners_max: usize,
}

impl Notifications {
    pub fn new(listeners_max: usize) -> Notifications {
        Notifications { list: Mutex::default(), changes: broadcast::channel(CHANGES_WAITING).0, listeners_max }
    }

    /// Says something, or says it again.
    pub fn add(&self, text: &str) {
        let notification = Notification { text: text.to_string(), time_ms: clock::now_ms(), is_active: true };
        let mut list = self.list.lock();
        match list.iter_mut().find(|known| known.text == text) {
            Some(known) => *known = notification.clone(),
            None => list.push(notification.clone()),
        }
        // Errs when nobody listens.
        let _ = self.changes.send(notification);
    }

    /// Takes something back, if it was said.
    pub fn remove(&self, text: &str) {
        let mut list = self.list.lock();
        if let Some(at) = list.iter().position(|known| known.text == text) {
            let taken_back = Notification { is_active: false, ..list.remove(at) };
            let _ = self.changes.send(taken_back);
        }
    }

    pub fn list(&self) -> Vec<Notification> {
        self.list.lock().clone()
    }

    /// What holds now, and every change from now on; `None` when too many listen already.
    pub fn listen(&self) -> Option<(Vec<Notification>, broadcast::Receiver<Notification>)> {
        // Under the list's lock, so that nothing is said between the two.
        let list = self.list.lock();
        (self.changes.receiver_count() < self.listeners_max).then(|| (list.clone(), self.changes.subscribe()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_what_is_said_and_taken_back() {
        let notifications = Notifications::new(1);
        notifications.add("full disk");
        let (now, mut changes) = notifications.listen().expect("a place");
        assert_eq!(now, notifications.list());
        assert!(notifications.listen().is_none(), "one listener is allowed");
        notifications.add("full disk");
        notifications.remove("full disk");
        notifications.remove("never said");
        assert!(changes.recv().await.expect("said again").is_active);
        assert!(!changes.recv().await.expect("taken back").is_active);
        assert!(changes.try_recv().is_err());
        assert_eq!(notifications.list(), []);
        drop(changes);
        assert!(notifications.listen().is_some(), "the place is free again");
    }
}
