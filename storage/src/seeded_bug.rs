//! Bugs on purpose, to prove that the tests find them.
//!
//! Each breaks one promise, at the place where it is kept. They exist only in builds with the feature `seeded-bugs`; there,
//! the environment variable `TERN_SEEDED_BUG` names the one that is on. The table of who finds which is in jepsen/README.md.

/// A bug, named after what it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// A vote is answered before it is durable.
    VoteNotSynced,
    /// A leader acknowledges a batch when it has taken it, not when a majority has.
    AckBeforeQuorum,
    /// Appended entries count as durable before the sync.
    AckBeforeSync,
    /// A sync that failed counts as done.
    SyncErrorIgnored,
    /// A strong read is answered from the local replica as it is.
    LocalReadAsStrong,
    /// A log that lost what was synced is accepted at start.
    ShortenedLogAccepted,
    /// A batch that was sent again is applied again.
    DedupeOff,
    /// A batch counts as written when the leader that had it is another one now.
    BatchLostAtLeaderChange,
    /// A sealed image is not flushed to the disk before it is relied upon.
    SnapshotNotSynced,
    /// A node with an empty disk may come back under its old id.
    NodeIdReused,
    /// The log is purged before the marker of the image that replaces it is durable.
    PurgeBeforeMarker,
    /// A follower answers a strong read without waiting until it has applied what the leader named.
    FollowerReadsEarly,
}

impl SeededBug {
    /// Whether the bug is on: never, in a build without the feature.
    #[cfg(not(feature = "seeded-bugs"))]
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        false
    }

    /// Whether the environment asks for this bug, by its name with dashes (`vote-not-synced`).
    #[cfg(feature = "seeded-bugs")]
    pub fn is_on(self) -> bool {
        static WANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("TERN_SEEDED_BUG").unwrap_or_default().replace('-', ""));
        format!("{self:?}").eq_ignore_ascii_case(wanted)
    }
}
