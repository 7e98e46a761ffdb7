//! A client's own key of the meta group, which it changes by compare-and-set. Nobody else touches it, so a condition that
//! fails although every earlier answer is known means that a change happened twice or not at all.

use std::sync::Arc;
use std::time::Duration;

use raft::meta::kv::Expect;
use raft::{MetaAnswer, MetaCommand, runtime};
use tokio::time::Instant;

use crate::reachable::Reachable;
use crate::trace::{Trace, tell};

const PATIENCE: Duration = Duration::from_secs(2);

/// What its owner knows of the key.
pub struct Register {
    key: String,
    version: Option<u64>,
    value: u64,
    /// A change has no known outcome; it can still happen, until another one does.
    is_doubtful: bool,
    trace: Trace,
}

impl Register {
    pub fn new(client: u64, trace: Trace) -> Self {
        Self { key: format!("simulation/{client}"), version: None, value: 0, is_doubtful: false, trace }
    }

    /// One change through this node.
    pub async fn change(&mut self, through: Reachable) {
        self.value += 1;
        let expect = self.version.map_or(Expect::Absent, Expect::Version);
        let command = MetaCommand::put_if(self.key.clone(), expect, self.value.to_string());
        let node = Arc::clone(&through.node);
        let changing = runtime::spawn_on(&through.host, async move { node.meta_write(&command, Instant::now() + PATIENCE).await });
        let answer = changing.await;
        tell!(self.trace, "{} to {} at {:?}: {answer:?}", self.key, self.value, self.version);
        match answer {
            Ok(Ok(MetaAnswer::Written { version })) => {
                self.version = Some(version);
                self.is_doubtful = false;
            }
            Ok(Ok(MetaAnswer::Conflict { version, .. })) if self.is_doubtful => self.version = version,
            Ok(Ok(answer)) => self.trace.violated(format!("{} at {:?} answered {answer:?} to its only writer", self.key, self.version)),
            Ok(Err(_)) | Err(_) => self.is_doubtful = true,
        }
    }

    /// A strong read through this node.
    pub async fn read(&mut self, through: Reachable) {
        let (node, key) = (Arc::clone(&through.node), self.key.clone());
        let reading = runtime::spawn_on(&through.host, async move {
            node.meta_barrier(Instant::now() + PATIENCE).await?;
            Ok::<_, raft::ReadError>(node.meta().kv.get(&key).map(|entry| entry.version))
        });
        let Ok(Ok(found)) = reading.await else { return };
        tell!(self.trace, "{} is at {found:?}", self.key);
        let fits = match self.is_doubtful {
            true => found >= self.version,
            false => found == self.version,
        };
        if !fits {
            self.trace.violated(format!("{} is at {found:?}, its writer knows {:?}", self.key, self.version));
        }
    }
}
