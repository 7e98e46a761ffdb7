//! Every bound and interval of this crate, named once, with its default and the reason for it.

use std::time::Duration;

/// How a node's groups behave. One value serves all groups of a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A leader says it is alive this often.
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing waits for the leader's lease (the maximum) and a random time between these two,
    /// then asks for votes. Detection of a dead leader therefore takes 0.9 to 1.2 s with the defaults.
    pub election_timeout_min: Duration,
    pub election_timeout_max: Duration,

    /// Batches for one shard that arrive while an entry is under way wait this long for company.
    pub merge_linger: Duration,
    /// ... or until they are this large together.
    pub merge_bytes_max: usize,
    /// Entries of one group proposed and not yet applied.
    pub entries_in_flight_max: usize,
    /// Payload bytes accepted by `write` on this node and not yet answered. More is refused as overload.
    pub in_flight_bytes_max: usize,
    /// A read barrier gives up after this time even when its caller would wait longer: without a majority a strong read
    /// should fail soon.
    pub barrier_timeout: Duration,
    /// A write or a strong read that has waited this long gives up when no leader has shown itself since. Longer than an election takes.
    pub quorum_wait: Duration,
    /// A write without an answer looks for the leader again this often.
    pub retry_interval: Duration,

    /// Payload bytes in one append request to a follower.
    pub append_bytes_max: u64,
    /// Recent entries of a group kept in memory for followers and for `apply`.
    pub log_cache_bytes_max: usize,
    /// The log writer ends a batch at this size and fsyncs it.
    pub log_batch_bytes_max: usize,

    /// The head of a shard is sealed to disk when it holds this many samples,
    pub seal_samples: u64,
    /// or this many bytes,
    pub seal_bytes: u64,
    /// or when the log that a restart would have to replay has grown to this many bytes,
    pub seal_log_bytes: u64,
    /// or after this time.
    pub seal_interval: Duration,
    /// A replica that had more entries than this to replay when it was opened is sealed soon after: the time above counts from the
    /// start, and a node that restarts often would never seal.
    pub seal_replayed_entries: u64,
    /// How often these are looked at.
    pub seal_check_interval: Duration,
    /// Sealed log kept for followers that lag: as long as they find their place in it they need no snapshot.
    pub log_retain_bytes: u64,
    /// The meta group writes its image after this many entries.
    pub meta_seal_entries: u64,

    /// Establishing a connection to a peer.
    pub connect_timeout: Duration,
    /// A stream whose request stays unanswered this long is closed and opened anew.
    pub stream_idle_timeout: Duration,
    /// A snapshot transfer without progress for this long is given up. Installing takes part in it.
    pub snapshot_idle_timeout: Duration,

    /// The meta leader compares what is with what should be this often.
    pub reconcile_interval: Duration,
    /// Leadership is balanced over nodes after the cluster was calm for this long. None: never.
    pub balance_interval: Option<Duration>,
    /// Shutdown waits this long for other nodes to take over leadership.
    pub hand_over_timeout: Duration,
    /// Shards created when the cluster is, a node.
    pub shards_per_node: u32,
    /// Replicas of every shard (fewer when there are fewer nodes).
    pub replicas: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            merge_linger: Duration::from_millis(2),
            merge_bytes_max: 1 << 20,
            entries_in_flight_max: 16,
            in_flight_bytes_max: 64 << 20,
            barrier_timeout: Duration::from_secs(5),
            quorum_wait: Duration::from_millis(1800),
            retry_interval: Duration::from_millis(25),
            append_bytes_max: 4 << 20,
            log_cache_bytes_max: 16 << 20,
            log_batch_bytes_max: 16 << 20,
            seal_samples: 8_000_000,
            seal_bytes: 256 << 20,
            seal_log_bytes: 1 << 30,
            seal_interval: Duration::from_secs(15 * 60),
            seal_replayed_entries: 10_000,
            seal_check_interval: Duration::from_secs(1),
            log_retain_bytes: 128 << 20,
            meta_seal_entries: 1_000,
            connect_timeout: Duration::from_millis(500),
            stream_idle_timeout: Duration::from_secs(5),
            snapshot_idle_timeout: Duration::from_secs(60),
            reconcile_interval: Duration::from_millis(500),
            balance_interval: Some(Duration::from_secs(10)),
            hand_over_timeout: Duration::from_secs(3),
            shards_per_node: 2,
            replicas: 3,
        }
    }
}
