//! The gateway: takes one request's bytes to an acknowledged write on every shard it touches.
//!
//! Decompressing, decoding, routing and encoding are one job on a blocking thread (small requests are done where they
//! arrived); at most as many such jobs run as there are cores, so that parsing cannot starve anything else. Then one write
//! a shard is under way in parallel, and the shards' outcomes are merged into one report.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use raft::{EntryAt, Node, Space, WriteError, Written};
use storage::batch::{BatchBuilder, ConflictPolicy, Deletion};
use storage::labels::ShardId;
use storage::{HashKey, PartOutcome};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::budget::{ByteBudget, OverBudget, Reservation};
use super::columns::Columns;
use super::decode_error::DecodeError;
use super::metadata_told::MetadataTold;
use super::router::{Bounds, Foreign, Refusal, RefusalCause, Routed, Topology};
use super::series_cache::SeriesCache;
use super::shard_encoder::ShardBatch;
use crate::clock;
use crate::config::IngestSettings;
use crate::peers::Peers;
use crate::self_metrics::SelfMetrics;

/// Requests up to this size, uncompressed, are parsed where they arrived: a hop to another thread would cost more.
const INLINE_BYTES: usize = 64 * 1024;
/// A `Columns` larger than this is not kept for the next request.
const POOLED_BYTES_MAX: usize = 16 << 20;
/// Columns kept for coming requests.
const POOLED_MAX: usize = 64;
/// Requests that may wait for a place, for each one that has a place.
const WAITING_FACTOR: usize = 10;
/// A lookup of series ids at another node must not hold up the write for longer; without it labels are sent.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

const DISK_FULL: &str = "the disk of this node is nearly full (storage.free_bytes_min); try again, or another node";

/// Which faults of single series or samples leave the rest of a request standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// None: the whole request is refused (native API, text exposition).
    Nothing,
    /// Series with bad labels are left out silently (remote write 1.0).
    Labels,
    /// Bad series and samples are left out and reported (remote write 2.0).
    LabelsAndBounds,
}

impl Tolerance {
    fn covers(self, cause: RefusalCause) -> bool {
        match cause {
            RefusalCause::Malformed => false,
            RefusalCause::Labels => self != Tolerance::Nothing,
            RefusalCause::Bounds => self == Tolerance::LabelsAndBounds,
        }
    }
}

/// Where a request is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// On the thread that it arrived at.
    Here,
    /// On a blocking thread, and not more of them at once than there are cores.
    Aside,
}

impl Stage {
    /// By the size of what must be parsed, not of what was sent: some hundred bytes can mean megabytes.
    fn of(claimed_bytes: Option<usize>) -> Stage {
        match claimed_bytes {
            Some(bytes) if bytes <= INLINE_BYTES => Stage::Here,
            _ => Stage::Aside,
        }
    }
}

/// How a protocol wants its writes done.
#[derive(Clone, Copy, Debug)]
pub struct WriteRules {
    pub tolerance: Tolerance,
    pub conflicts: ConflictPolicy,
}

/// What became of a request that was written.
#[derive(Clone, Debug, Default)]
pub struct WriteReport {
    pub samples_accepted: u64,
    pub samples_duplicate: u64,
    pub samples_conflicting: u64,
    pub series_created: u64,
    /// Left out under the tolerance.
    pub refusals: Vec<Refusal>,
    /// Histograms among the samples that were sent to their shards.
    pub histograms: u64,
    /// Exemplars that are stored; those that were there already count.
    pub exemplars: u64,
    /// Refused because their series has a newer one.
    pub exemplars_out_of_order: u64,
    /// The first shard-side problem, for the answer's text.
    pub first_problem: Option<String>,
    /// The log entries that hold what was written, the last of each shard.
    pub entries: Vec<ShardEntry>,
}

/// An entry of a shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    pub shard: ShardId,
    pub entry: EntryAt,
}

/// `SHARD/TERM/INDEX`.
impl fmt::Display for ShardEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.shard, self.entry.term, self.entry.index)
    }
}

/// Why nothing, or not everything, was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// The sender's fault: 400, 413 or 415.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The sender's fault, nothing was written: 400.
    #[error("{}", refusal_text(.0))]
    Refused(Vec<Refusal>),
    /// No quorum, or too much under way: 503 with Retry-After. Parts may have been written; sending again is harmless.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of this node: 500.
    #[error("{0}")]
    Internal(String),
}

impl From<OverBudget> for WriteFailure {
    fn from(error: OverBudget) -> WriteFailure {
        WriteFailure::Unavailable(error.to_string())
    }
}

fn refusal_text(refusals: &[Refusal]) -> String {
    let samples: usize = refusals.iter().map(|refusal| refusal.samples).sum();
    let first = refusals.first().map_or("", |refusal| &refusal.reason);
    format!("{samples} samples in {} series refused, first: {first}", refusals.len())
}

/// One a node.
pub struct Writer {
    node: Arc<Node>,
    peers: Peers,
    settings: IngestSettings,
    retention: Duration,
    metrics: Arc<SelfMetrics>,
    cache: SeriesCache,
    metadata_told: MetadataTold,
    /// Of this process, so that collisions of the raw hash cannot be prepared.
    secret: u64,
    /// The incarnations that the cached ids belong to.
    incarnations: Mutex<Vec<u64>>,
    columns: Mutex<Vec<Columns>>,
    budget: Arc<ByteBudget>,
    places: Semaphore,
    waiting: AtomicUsize,
    /// Jobs that may parse at once.
    parsers: Semaphore,
}

impl Writer {
    pub fn new(node: Arc<Node>, peers: Peers, settings: IngestSettings, retention: Duration, metrics: Arc<SelfMetrics>) -> Writer {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Writer {
            cache: SeriesCache::new(settings.series_cache_entries),
            budget: ByteBudget::new(settings.bytes_in_flight_max),
            metadata_told: MetadataTold::new(),
            places: Semaphore::new(settings.concurrency),
            waiting: AtomicUsize::new(0),
            parsers: Semaphore::new(cores),
            secret: rand::random(),
            incarnations: Mutex::new(Vec::new()),
            columns: Mutex::new(Vec::new()),
            node,
            peers,
            settings,
            retention,
            metrics,
        }
    }

    /// What all requests may hold together; bodies count against it before they come here.
    pub fn budget(&self) -> &Arc<ByteBudget> {
        &self.budget
    }

    /// Writes one request. `parse` turns the raw body into columns and answers with the uncompressed body, which the
    /// columns point into; `claimed_bytes` is how large that will be, if the body says.
    pub async fn write<P>(
        self: &Arc<Self>,
        body: Bytes,
        claimed_bytes: Option<usize>,
        rules: WriteRules,
        parse: P,
    ) -> Result<WriteReport, WriteFailure>
    where
        P: FnOnce(Bytes, &mut Columns) -> Result<Bytes, DecodeError> + Send + 'static,
    {
        self.metrics.ingest.requests.add(1);
        let _in_flight = self.metrics.ingest.in_flight.enter();
        if self.node.space() != Space::Ample {
            self.metrics.ingest.requests_unavailable.add(1);
            return Err(WriteFailure::Unavailable(DISK_FULL.to_string()));
        }
        let deadline = Instant::now() + self.settings.timeout;
        let _place = self.place(deadline).await?;
        let result = self.write_in_place(body, Stage::of(claimed_bytes), rules, parse, deadline).await;
        if matches!(result, Err(WriteFailure::Unavailable(_))) {
            self.metrics.ingest.requests_unavailable.add(1);
        }
        result
    }

    async fn place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, WriteFailure> {
        let too_many = || WriteFailure::Unavailable("too many writes under way (ingest.concurrency); try again".to_string());
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(&self.waiting, self.settings.concurrency * WAITING_FACTOR).ok_or_else(too_many)?;
        match tokio::time::timeout_at(deadline.into(), self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(too_many()),
        }
    }

    async fn write_in_place<P>(
        self: &Arc<Self>,
        body: Bytes,
        stage: Stage,
        rules: WriteRules,
        parse: P,
        deadline: Instant,
    ) -> Result<WriteReport, WriteFailure>
    where
        P: FnOnce(Bytes, &mut Columns) -> Result<Bytes, DecodeError> + Send + 'static,
    {
        let topology = self.topology()?;
        let (mut routed, foreign, _reservation) = self.parse_and_route(body, stage, topology, parse).await?;
        for part in &foreign {
            self.look_up_elsewhere(&mut routed, part).await;
        }
        if routed.refusals.iter().any(|refusal| !rules.tolerance.covers(refusal.cause)) {
            return Err(self.refuse(routed));
        }
        let start = Instant::now();
        let batches = routed.encode(rules.conflicts, topology, |metadata| !self.metadata_told.knows(metadata));
        self.metrics.ingest.route.observe_since(start);
        let report = self.commit(&routed, batches, rules, deadline).await;
        if report.is_ok() {
            self.metadata_told.remember(&routed.columns().metadata);
        }
        self.keep(routed.into_columns());
        report
    }

    async fn parse_and_route<P>(
        self: &Arc<Self>,
        body: Bytes,
        stage: Stage,
        topology: Topology,
        parse: P,
    ) -> Result<(Routed, Vec<Foreign>, Reservation), WriteFailure>
    where
        P: FnOnce(Bytes, &mut Columns) -> Result<Bytes, DecodeError> + Send + 'static,
    {
        if stage == Stage::Here {
            return self.parse_and_route_now(body, topology, parse);
        }
        let _parser = self.parsers.acquire().await.map_err(|error| WriteFailure::Internal(error.to_string()))?;
        let writer = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || writer.parse_and_route_now(body, topology, parse));
        job.await.map_err(|error| WriteFailure::Internal(format!("parse a write: {error}")))?
    }

    fn parse_and_route_now<P>(&self, body: Bytes, topology: Topology, parse: P) -> Result<(Routed, Vec<Foreign>, Reservation), WriteFailure>
    where
        P: FnOnce(Bytes, &mut Columns) -> Result<Bytes, DecodeError>,
    {
        let start = Instant::now();
        let mut columns = self.columns.lock().pop().unwrap_or_default();
        let body = match parse(body, &mut columns) {
            Ok(body) => body,
            Err(error) => {
                self.keep(columns);
                return Err(error.into());
            }
        };
        // Counted when it is there: not more requests are parsed at once than there are cores, and each has its own bounds.
        let mut reservation = self.budget.reservation();
        if let Err(error) = reservation.grow(body.len() + columns.bytes()) {
            self.keep(columns);
            return Err(error.into());
        }
        let parsed = Instant::now();
        self.metrics.ingest.parse.observe(parsed - start);
        let (routed, foreign) = Routed::new(columns, body, self.bounds(), &self.cache, self.secret, topology, |shard, hashes, ids| {
            let Some(replica) = self.node.replica(shard) else { return false };
            replica.lookup(hashes, ids);
            true
        });
        self.metrics.ingest.route.observe_since(parsed);
        let misses = routed.cache_misses() as u64;
        self.metrics.ingest.series_cache_misses.add(misses);
        self.metrics.ingest.series_cache_hits.add(routed.columns().series_count() as u64 - misses);
        Ok((routed, foreign, reservation))
    }

    /// Without an answer the series simply travel with their labels.
    async fn look_up_elsewhere(&self, routed: &mut Routed, part: &Foreign) {
        let asked = tokio::time::timeout(LOOKUP_TIMEOUT, self.peers.lookup(part.shard, &part.hashes));
        match asked.await {
            Ok(Ok(ids)) => routed.learn(&self.cache, part, &ids),
            Ok(Err(error)) => tracing::debug!(shard = part.shard, %error, "look up series at another node"),
            Err(_) => tracing::debug!(shard = part.shard, "no node answered a series lookup in time"),
        }
    }

    fn refuse(&self, mut routed: Routed) -> WriteFailure {
        let mut refusals = std::mem::take(&mut routed.refusals);
        refusals.sort_by_key(|refusal| refusal.sample);
        self.count_out_of_bounds(&refusals);
        self.keep(routed.into_columns());
        WriteFailure::Refused(refusals)
    }

    async fn commit(
        &self,
        routed: &Routed,
        batches: Vec<ShardBatch>,
        rules: WriteRules,
        deadline: Instant,
    ) -> Result<WriteReport, WriteFailure> {
        let start = Instant::now();
        let histograms = batches.iter().map(|batch| batch.histograms).sum();
        let shards = by_shard(batches);
        let outcomes = join_all(shards.into_iter().map(|part| self.commit_shard(routed, part, rules, deadline))).await;
        self.metrics.ingest.commit.observe_since(start);
        let mut report = WriteReport { refusals: routed.refusals.clone(), histograms, ..WriteReport::default() };
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok((outcome, entry)) => {
                    report.add(&outcome);
                    report.entries.extend(entry);
                }
                Err(error) => failure = Some(error),
            }
        }
        self.count(&report);
        failure.map_or(Ok(report), Err)
    }

    /// Deletes on all shards what the log holds before. When some shards cannot be reached the others have deleted already, and
    /// deleting again is harmless.
    pub async fn delete(&self, deletions: &[Deletion]) -> Result<(), WriteFailure> {
        let deadline = Instant::now() + self.settings.timeout;
        let topology = self.topology()?;
        let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
        deletions.iter().for_each(|deletion| builder.push_deletion(deletion));
        let payload = Bytes::from(builder.encode());
        let outcomes = join_all((0..topology.shards).map(|shard| {
            let payload = payload.clone();
            async move {
                let outcome = self.node.write(shard, payload, deadline.into()).await.map_err(unavailable)?.outcome;
                if outcome.first_problem.is_some() { Err(unaccounted(shard, &outcome)) } else { Ok(()) }
            }
        }));
        outcomes.await.into_iter().collect()
    }

    /// A shard's batches one after the other: the later sample of a request wins. The entry is that of the last of them.
    async fn commit_shard(
        &self,
        routed: &Routed,
        batches: Vec<ShardBatch>,
        rules: WriteRules,
        deadline: Instant,
    ) -> Result<(PartOutcome, Option<ShardEntry>), WriteFailure> {
        let (mut total, mut last) = (PartOutcome::default(), None);
        for batch in batches {
            let shard = batch.shard;
            let Written { outcome, entry } = self.commit_batch(batch, deadline).await?;
            if outcome.unknown_series == 0 {
                merge(&mut total, outcome);
                last = Some(ShardEntry { shard, entry });
                continue;
            }
            // Ids that the shard does not know: it is not the incarnation they were learnt from.
            self.metrics.ingest.unknown_series_retries.add(1);
            self.cache.clear();
            let mut again = PartOutcome::default();
            for batch in routed.encode_with_labels(shard, rules.conflicts) {
                let Written { outcome, entry } = self.commit_batch(batch, deadline).await?;
                if outcome.unknown_series > 0 {
                    return Err(unaccounted(shard, &outcome));
                }
                merge(&mut again, outcome);
                last = Some(ShardEntry { shard, entry });
            }
            // Everything of this shard has been sent again, so this alone counts.
            return Ok((again, last));
        }
        Ok((total, last))
    }

    async fn commit_batch(&self, batch: ShardBatch, deadline: Instant) -> Result<Written, WriteFailure> {
        let ShardBatch { shard, samples, payload, .. } = batch;
        self.metrics.ingest.batch_bytes.add(payload.len() as u64);
        let written = self.node.write(shard, payload, deadline.into()).await.map_err(unavailable)?;
        match is_accounted(&written.outcome, samples) {
            true => Ok(written),
            false => Err(unaccounted(shard, &written.outcome)),
        }
    }

    fn count(&self, report: &WriteReport) {
        let metrics = &self.metrics.ingest;
        metrics.samples_accepted.add(report.samples_accepted);
        metrics.samples_duplicate.add(report.samples_duplicate);
        metrics.samples_conflicting.add(report.samples_conflicting);
        metrics.series_created.add(report.series_created);
        self.count_out_of_bounds(&report.refusals);
    }

    fn count_out_of_bounds(&self, refusals: &[Refusal]) {
        let outside = refusals.iter().filter(|refusal| refusal.cause == RefusalCause::Bounds);
        self.metrics.ingest.samples_out_of_bounds.add(outside.map(|refusal| refusal.samples as u64).sum());
    }

    fn topology(&self) -> Result<Topology, WriteFailure> {
        let map = self.node.shard_map();
        if map.shard_count() == 0 {
            return Err(WriteFailure::Unavailable("the cluster is still forming; try again".to_string()));
        }
        let incarnations = map.shards.iter().map(|route| route.incarnation);
        let mut known = self.incarnations.lock();
        if !known.iter().copied().eq(incarnations.clone()) {
            self.cache.clear();
            self.metadata_told.forget();
            *known = incarnations.collect();
        }
        Ok(Topology { hash_key: HashKey(self.node.meta().hash_key), shards: map.shard_count() })
    }

    fn bounds(&self) -> Bounds {
        let now_ms = clock::now_ms();
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Bounds { oldest_ms: now_ms.saturating_sub(ms(self.retention)), newest_ms: now_ms.saturating_add(ms(self.settings.future_limit)) }
    }

    fn keep(&self, mut columns: Columns) {
        columns.clear();
        let mut pool = self.columns.lock();
        if columns.capacity_bytes() <= POOLED_BYTES_MAX && pool.len() < POOLED_MAX {
            pool.push(columns);
        }
    }
}

impl WriteReport {
    fn add(&mut self, outcome: &PartOutcome) {
        self.samples_accepted += outcome.accepted;
        self.samples_duplicate += outcome.duplicates;
        self.samples_conflicting += outcome.conflicts;
        self.series_created += outcome.new_series;
        self.exemplars += outcome.exemplars;
        self.exemplars_out_of_order += outcome.exemplars_out_of_order;
        if self.first_problem.is_none() {
            self.first_problem.clone_from(&outcome.first_problem);
        }
    }
}

/// Batches come in the order of their shards.
fn by_shard(batches: Vec<ShardBatch>) -> Vec<Vec<ShardBatch>> {
    let mut parts: Vec<Vec<ShardBatch>> = Vec::new();
    for batch in batches {
        match parts.last_mut().filter(|part| part[0].shard == batch.shard) {
            Some(part) => part.push(batch),
            None => parts.push(vec![batch]),
        }
    }
    parts
}

fn merge(into: &mut PartOutcome, outcome: PartOutcome) {
    into.accepted += outcome.accepted;
    into.duplicates += outcome.duplicates;
    into.conflicts += outcome.conflicts;
    into.unknown_series += outcome.unknown_series;
    into.new_series += outcome.new_series;
    into.exemplars += outcome.exemplars;
    into.exemplars_out_of_order += outcome.exemplars_out_of_order;
    if into.first_problem.is_none() {
        into.first_problem = outcome.first_problem;
    }
}

/// The shard says of every sample what became of it: the last line of the promise that nothing is acknowledged which the
/// replicas have not taken.
fn is_accounted(outcome: &PartOutcome, samples: u64) -> bool {
    outcome.accepted + outcome.duplicates + outcome.conflicts + outcome.unknown_series == samples
}

fn unaccounted(shard: ShardId, outcome: &PartOutcome) -> WriteFailure {
    let problem = outcome.first_problem.as_deref().unwrap_or("without a reason");
    tracing::error!(shard, ?outcome, "the replicas did not take a batch");
    WriteFailure::Internal(format!("shard {shard} did not take all samples: {problem}"))
}

fn unavailable(error: WriteError) -> WriteFailure {
    WriteFailure::Unavailable(error.to_string())
}

/// Counts a request among those that wait, while it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, most: usize) -> Option<Waiting<'a>> {
        if waiting.fetch_add(1, Ordering::Relaxed) < most {
            return Some(Waiting(waiting));
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outcome_that_accounts_for_every_sample_is_an_acknowledgement() {
        let outcome = PartOutcome { accepted: 3, duplicates: 2, conflicts: 1, ..PartOutcome::default() };
        assert!(is_accounted(&outcome, 6));
        assert!(!is_accounted(&outcome, 7));
        let refused = PartOutcome { first_problem: Some("corrupt batch".to_string()), ..PartOutcome::default() };
        assert!(!is_accounted(&refused, 1));
        let text = unaccounted(2, &refused).to_string();
        assert!(text.contains("shard 2") && text.contains("corrupt batch"), "{text}");
    }

    #[test]
    fn what_is_large_once_uncompressed_is_parsed_aside() {
        assert_eq!(Stage::of(Some(INLINE_BYTES)), Stage::Here);
        assert_eq!(Stage::of(Some(INLINE_BYTES + 1)), Stage::Aside);
        assert_eq!(Stage::of(None), Stage::Aside, "unknown before it is uncompressed");
    }

    #[test]
    fn batches_of_one_shard_stay_together_and_in_order() {
        let batch = |shard, samples| ShardBatch { shard, samples, histograms: 0, payload: Bytes::new() };
        let parts = by_shard(vec![batch(0, 1), batch(0, 2), batch(2, 3)]);
        let shown: Vec<Vec<u64>> = parts.iter().map(|part| part.iter().map(|batch| batch.samples).collect()).collect();
        assert_eq!(shown, [vec![1, 2], vec![3]]);
    }
}
