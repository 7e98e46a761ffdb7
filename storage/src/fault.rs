//! Everything that can go wrong on one node's disk, in one enum.
//!
//! A malformed *payload* is never an error here: every replica receives the same bytes, so it is an
//! answer (see `PartOutcome`). What remains are faults of this node alone, and they differ only in
//! what the caller must do next.

use std::path::{Path, PathBuf};

/// A fault of this node's storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// RocksDB refused an operation. The caller stops using this node's replica: nothing may be
    /// acknowledged after a write that failed.
    #[error("{action}: {reason}")]
    Database {
        /// What was being done, verb first.
        action: &'static str,
        /// RocksDB's own words.
        reason: String,
    },
    /// A plain file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was being done, verb first.
        action: &'static str,
        /// The file it was done to.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Bytes on this disk are not what was written. The shard (or the whole log) must be fenced and
    /// rebuilt from the other replicas; it must not be served or voted with.
    #[error("corrupt {what}: {detail}")]
    Corrupt {
        /// Which thing is corrupt.
        what: &'static str,
        /// Where, and how it was noticed.
        detail: String,
    },
    /// Bytes could not be decoded: damaged on this disk, or written by a newer version. Fence the shard, or
    /// upgrade the node.
    #[error(transparent)]
    Format(#[from] crate::error::Error),
    /// An earlier write or sync failed, so the state on disk is unknown. Only a restart helps.
    #[error("storage is poisoned by an earlier failure: {0}")]
    Poisoned(String),
    /// The caller asked for something that does not exist or does not fit, for example an unknown
    /// shard or a hash key that contradicts the stored one.
    #[error("{0}")]
    Refused(String),
}

/// Shorthand used by the whole crate.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What is corrupt when a file of the database itself is, and with it more than one shard.
pub(crate) const DATABASE: &str = "database";
/// What is corrupt when a file is that holds chunks of one shard.
pub(crate) const RUN_FILE: &str = "run file";

impl StorageError {
    /// Whether bytes on this disk are not what was written. (A newer version's bytes are fine.)
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Format(crate::error::Error::Corrupt { .. }))
    }

    /// Whether the damage may reach beyond one shard.
    pub(crate) fn is_of_database(&self) -> bool {
        matches!(self, Self::Corrupt { what, .. } if *what == DATABASE)
    }

    /// Wraps an error of the operating system about `path`.
    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { action, path: path.to_path_buf(), source }
    }

    /// Names a thing whose bytes are wrong.
    pub(crate) fn corrupt(what: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, detail: detail.to_string() }
    }
}
