//! A note, in a directory, that its content was found damaged while the process ran: the next start must not trust it.
//!
//! And what a running engine knows to be damaged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use parking_lot::Mutex;

use crate::fault::{DATABASE, Result, StorageError};
use crate::labels::ShardId;

const NOTE: &str = "damaged";
/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 2000;

/// Leaves the note, durably. The first reason stays.
pub(crate) fn leave_note(directory: &Path, reason: &str) -> Result<()> {
    let path = directory.join(NOTE);
    if path.exists() {
        return Ok(());
    }
    let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(reason.as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|e| StorageError::file("note damage in", &path, e))
}

/// `Corrupt` when there is a note.
pub(crate) fn refuse_noted(directory: &Path) -> Result<()> {
    let path = directory.join(NOTE);
    match std::fs::read(&path) {
        Ok(reason) => {
            let detail = format!("{} says: {}", path.display(), String::from_utf8_lossy(&reason));
            Err(StorageError::corrupt(DATABASE, detail))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(StorageError::file("read", &path, e)),
    }
}

/// What is known to be damaged. The first reason of each stays.
#[derive(Default)]
pub(crate) struct Damages {
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    database: Option<String>,
    shards: BTreeMap<ShardId, String>,
}

impl Damages {
    /// Files the error of a shard if it is one of damage.
    pub fn report(&self, shard: ShardId, error: &StorageError) {
        if !error.is_damage() {
            return;
        }
        let mut found = self.found.lock();
        let is_known = match error.is_of_database() {
            true => found.database.replace(error.to_string()).is_some(),
            false => found.shards.insert(shard, error.to_string()).is_some(),
        };
        if !is_known {
            tracing::error!(shard, %error, "the disk is damaged");
        }
    }

    /// Files the error if it is one of the database. (Of others it is not known whether they come from this disk.)
    pub fn report_database(&self, error: &StorageError) {
        if error.is_of_database() {
            self.report(ShardId::MAX, error);
        }
    }

    /// Why the database as a whole cannot be trusted.
    pub fn of_database(&self) -> Option<String> {
        self.found.lock().database.clone()
    }

    /// The shards whose content cannot be trusted, and why.
    pub fn of_shards(&self) -> BTreeMap<ShardId, String> {
        self.found.lock().shards.clone()
    }

    /// The shard's content is gone.
    pub fn forget(&self, shard: ShardId) {
        self.found.lock().shards.remove(&shard);
    }
}
