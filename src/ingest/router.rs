//! The gateway's CPU work on one parsed request: every series gets a shard and an id, every sample goes into its shard's
//! batch. Three tight passes over the whole request, so that cache misses of one series overlap with the next:
//!
//! 1. *cache*: hash each series' raw label bytes, look it up;
//! 2. *resolve*, only for those the cache does not know: sort, validate, canonical hash, shard, and the id in bulk from the
//!    local replica of the shard. Series that nobody knows yet travel with their labels;
//! 3. *append*: samples into one [`ShardEncoder`] a shard, each batch encoded once.

use bytes::Bytes;
use storage::batch::ConflictPolicy;
use storage::labels::{self, HashKey, SeriesHash, SeriesId, ShardId};
use storage::{Exemplar, Metadata};

use super::columns::{Columns, RefusedSeries};
use super::label_forms::METRIC_NAME;
use super::series_cache::{Place, SeriesCache};
use super::shard_encoder::{ShardBatch, ShardEncoder};

/// A series without an id in its shard yet.
const UNKNOWN: SeriesId = SeriesId::MAX;

/// Where a series that is not routed stands in `places`.
const REFUSED: Place = Place { shard: u32::MAX, series: UNKNOWN };

/// Part of a request that will not be written, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub cause: RefusalCause,
    /// The series' position in the request.
    pub series: usize,
    /// Position of the (first) sample among all samples of the request.
    pub sample: usize,
    pub samples: usize,
    /// Of a text body, from 1.
    pub line: Option<usize>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// The labels break the rules; the series cannot be stored.
    Labels,
    /// Timestamps older than retention or too far in the future.
    Bounds,
    /// The bytes of the labels are damaged: the request cannot be trusted.
    Malformed,
}

impl Refusal {
    /// A series that the decoder did not stage.
    fn of_decoder(refused: &RefusedSeries) -> Refusal {
        Refusal {
            cause: RefusalCause::Labels,
            series: refused.position,
            sample: refused.position,
            samples: refused.samples + refused.histograms,
            line: None,
            reason: refused.reason.clone(),
        }
    }
}

/// Timestamps a request may carry; both ends are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub oldest_ms: i64,
    pub newest_ms: i64,
}

/// Canonical labels of the request's series that the cache did not know.
#[derive(Default)]
struct Resolved {
    series: Vec<u32>,
    keys: Vec<u128>,
    hashes: Vec<SeriesHash>,
    shards: Vec<ShardId>,
    /// Ends of each one's canonical bytes in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// One request on its way to the shards. Also remembers enough to send a shard's part again with labels.
pub struct Routed {
    columns: Columns,
    body: Bytes,
    places: Vec<Place>,
    resolved: Resolved,
    bounds: Bounds,
    pub refusals: Vec<Refusal>,
}

/// Hashes of series whose shard has no replica here, for a lookup at a node that has one.
pub struct Foreign {
    pub shard: ShardId,
    pub hashes: Vec<SeriesHash>,
    /// Positions in `Resolved`.
    at: Vec<usize>,
}

/// What routing needs to know about the cluster; one revision of it.
#[derive(Clone, Copy)]
pub struct Topology {
    pub hash_key: HashKey,
    pub shards: u32,
}

impl Topology {
    /// The shard that keeps the metadata of a metric; none for a name that no series can have.
    pub fn shard_of_metric(&self, metric: &str) -> Option<ShardId> {
        let mut canonical = Vec::new();
        labels::canonicalize(&mut vec![(METRIC_NAME, metric)], &mut canonical).ok()?;
        Some(labels::shard_of(labels::hash(&self.hash_key, &canonical), self.shards))
    }
}

impl Routed {
    /// Passes 1 and 2. `lookup` asks the local replica of a shard and says whether there is one.
    pub fn new(
        columns: Columns,
        body: Bytes,
        bounds: Bounds,
        cache: &SeriesCache,
        secret: u64,
        topology: Topology,
        lookup: impl Fn(ShardId, &[SeriesHash], &mut Vec<SeriesId>) -> bool,
    ) -> (Routed, Vec<Foreign>) {
        let refusals = columns.refused.iter().map(Refusal::of_decoder).collect();
        let mut routed = Routed { columns, body, places: Vec::new(), resolved: Resolved::default(), bounds, refusals };
        routed.look_into_cache(cache, secret);
        routed.canonicalize_unknown(topology);
        let foreign = routed.look_up(cache, lookup);
        routed.refuse_out_of_bounds();
        (routed, foreign)
    }

    fn look_into_cache(&mut self, cache: &SeriesCache, secret: u64) {
        let view = cache.view();
        let count = self.columns.series_count();
        self.places.reserve_exact(count);
        for series in 0..count {
            let seed = secret ^ self.columns.key_seed(series);
            let key = xxhash_rust::xxh3::xxh3_128_with_seed(self.columns.key(&self.body, series), seed);
            let place = view.get(key).unwrap_or_else(|| {
                self.resolved.series.push(series as u32);
                self.resolved.keys.push(key);
                REFUSED
            });
            self.places.push(place);
        }
    }

    fn canonicalize_unknown(&mut self, topology: Topology) {
        let mut pairs = Vec::new();
        for at in 0..self.resolved.series.len() {
            let series = self.resolved.series[at] as usize;
            let start = self.resolved.bytes.len();
            let canonical = self
                .columns
                .labels(&self.body, series, &mut pairs)
                .map_err(|problem| (label_cause(&problem), problem.to_string()))
                .and_then(|()| {
                    labels::canonicalize(&mut pairs, &mut self.resolved.bytes)
                        .map_err(|problem| (RefusalCause::Labels, problem.to_string()))
                });
            let hash = labels::hash(&topology.hash_key, &self.resolved.bytes[start..]);
            self.resolved.hashes.push(hash);
            self.resolved.shards.push(labels::shard_of(hash, topology.shards));
            self.resolved.ends.push(self.resolved.bytes.len() as u32);
            match canonical {
                Ok(()) => self.places[series] = Place { shard: self.resolved.shards[at], series: UNKNOWN },
                Err((cause, reason)) => {
                    let samples = self.columns.samples(series);
                    let line = self.columns.line(&self.body, series);
                    self.refusals.push(Refusal { cause, series, sample: samples.start, samples: samples.len(), line, reason });
                }
            }
        }
    }

    fn look_up(&mut self, cache: &SeriesCache, lookup: impl Fn(ShardId, &[SeriesHash], &mut Vec<SeriesId>) -> bool) -> Vec<Foreign> {
        let mut foreign = Vec::new();
        let mut ids = Vec::new();
        for part in self.unknown_by_shard() {
            ids.clear();
            if lookup(part.shard, &part.hashes, &mut ids) {
                self.learn(cache, &part, &ids);
            } else {
                foreign.push(part);
            }
        }
        foreign
    }

    fn unknown_by_shard(&self) -> Vec<Foreign> {
        let mut parts: Vec<Foreign> = Vec::new();
        for (at, &series) in self.resolved.series.iter().enumerate() {
            let Place { shard, .. } = self.places[series as usize];
            if shard == REFUSED.shard {
                continue;
            }
            let part = match parts.iter().position(|part| part.shard == shard) {
                Some(found) => &mut parts[found],
                None => {
                    parts.push(Foreign { shard, hashes: Vec::new(), at: Vec::new() });
                    let last = parts.len() - 1;
                    &mut parts[last]
                }
            };
            part.hashes.push(self.resolved.hashes[at]);
            part.at.push(at);
        }
        parts
    }

    /// Takes the ids that a replica knew, in the order of `part.hashes`.
    pub fn learn(&mut self, cache: &SeriesCache, part: &Foreign, ids: &[SeriesId]) {
        let mut learnt = Vec::with_capacity(ids.len());
        for (&at, &series_id) in part.at.iter().zip(ids) {
            if series_id != UNKNOWN {
                let place = Place { shard: part.shard, series: series_id };
                self.places[self.resolved.series[at] as usize] = place;
                learnt.push((self.resolved.keys[at], place));
            }
        }
        cache.insert(learnt);
    }

    fn refuse_out_of_bounds(&mut self) {
        let Bounds { oldest_ms, newest_ms } = self.bounds;
        // One branch-free pass over the column; looking for the culprits is for the rare request that has some.
        let in_bounds = self.columns.timestamps.iter().fold(true, |all, &t| all & (t >= oldest_ms) & (t <= newest_ms));
        if in_bounds {
            return;
        }
        for series in 0..self.columns.series_count() {
            let range = self.columns.samples(series);
            let outside = |t: &i64| *t < oldest_ms || *t > newest_ms;
            let timestamps = &self.columns.timestamps[range.clone()];
            let Some(first) = timestamps.iter().position(outside) else { continue };
            let reason = self.bounds.reason(timestamps[first]);
            let samples = timestamps.iter().filter(|t| outside(t)).count();
            let line = self.columns.line(&self.body, series);
            let sample = range.start + first;
            self.refusals.push(Refusal { cause: RefusalCause::Bounds, series, sample, samples, line, reason });
        }
    }

    /// Pass 3: everything that was not refused, for each shard one batch, or several when it would be large. Of the metadata only
    /// what `is_news` wants.
    pub fn encode(&self, policy: ConflictPolicy, topology: Topology, is_news: impl Fn(&Metadata) -> bool) -> Vec<ShardBatch> {
        let mut encoders: Vec<ShardEncoder> = (0..topology.shards).map(|shard| ShardEncoder::new(shard, policy)).collect();
        let check = self.refusals.iter().any(|refusal| refusal.cause == RefusalCause::Bounds);
        let mut next_resolved = 0;
        for (series, &place) in self.places.iter().enumerate() {
            let is_resolved = self.resolved.series.get(next_resolved).is_some_and(|&at| at as usize == series);
            let at = next_resolved;
            next_resolved += usize::from(is_resolved);
            // A refused series stands at a shard beyond the last.
            let Some(encoder) = encoders.get_mut(place.shard as usize) else { continue };
            let range = self.columns.samples(series);
            if self.columns.has_histograms(&range) {
                let kept = self.columns.mixed(range).filter(|(t, _)| self.bounds.contain(*t));
                if place.series == UNKNOWN {
                    encoder.push_new_mixed(self.resolved.labels(at), kept);
                    encoder.push_new_exemplars(self.resolved.labels(at), self.exemplars(series));
                } else {
                    encoder.push_known_mixed(place.series, kept);
                    encoder.push_known_exemplars(place.series, self.exemplars(series));
                }
                continue;
            }
            let samples = self.columns.timestamps[range.clone()].iter().zip(&self.columns.values[range]);
            let kept = samples.filter(|(t, _)| !check || self.bounds.contain(**t));
            if place.series == UNKNOWN {
                encoder.push_new(self.resolved.labels(at), kept);
                encoder.push_new_exemplars(self.resolved.labels(at), self.exemplars(series));
            } else {
                encoder.push_known(place.series, kept);
                encoder.push_known_exemplars(place.series, self.exemplars(series));
            }
        }
        for metadata in self.columns.metadata.iter().filter(|metadata| is_news(metadata)) {
            if let Some(encoder) = topology.shard_of_metric(&metadata.metric).and_then(|shard| encoders.get_mut(shard as usize)) {
                encoder.push_metadata(metadata);
            }
        }
        encoders.into_iter().flat_map(ShardEncoder::finish).collect()
    }

    /// A shard's part again, every series with its labels: the answer to ids the shard did not know.
    pub fn encode_with_labels(&self, shard: ShardId, policy: ConflictPolicy) -> Vec<ShardBatch> {
        let mut encoder = ShardEncoder::new(shard, policy);
        let mut pairs = Vec::new();
        let mut canonical = Vec::new();
        for (series, &place) in self.places.iter().enumerate() {
            if place.shard != shard || self.columns.labels(&self.body, series, &mut pairs).is_err() {
                continue;
            }
            canonical.clear();
            if labels::canonicalize(&mut pairs, &mut canonical).is_ok() {
                let range = self.columns.samples(series);
                let samples = self.columns.timestamps[range.clone()].iter().zip(&self.columns.values[range.clone()]);
                if self.columns.has_histograms(&range) {
                    encoder.push_new_mixed(&canonical, self.columns.mixed(range).filter(|(t, _)| self.bounds.contain(*t)));
                } else {
                    encoder.push_new(&canonical, samples.filter(|(t, _)| self.bounds.contain(**t)));
                }
                encoder.push_new_exemplars(&canonical, self.exemplars(series));
            }
        }
        encoder.finish()
    }

    /// A series' exemplars within the bounds. None when no sample of it is: a series comes to be by a sample.
    fn exemplars(&self, series: usize) -> impl Iterator<Item = &Exemplar> {
        let all = &self.columns.exemplars;
        let start = all.partition_point(|(owner, _)| (*owner as usize) < series);
        let own = all[start..].iter().take_while(move |(owner, _)| *owner as usize == series).map(|(_, exemplar)| exemplar);
        let has_sample = !all.is_empty() && self.columns.timestamps[self.columns.samples(series)].iter().any(|t| self.bounds.contain(*t));
        own.filter(move |exemplar| has_sample && self.bounds.contain(exemplar.timestamp_ms))
    }

    pub fn cache_misses(&self) -> usize {
        self.resolved.series.len()
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Gives the columns back for the next request.
    pub fn into_columns(self) -> Columns {
        self.columns
    }
}

impl Bounds {
    fn contain(&self, timestamp_ms: i64) -> bool {
        (self.oldest_ms..=self.newest_ms).contains(&timestamp_ms)
    }

    fn reason(&self, timestamp_ms: i64) -> String {
        let shown = crate::time_text::rfc3339(timestamp_ms);
        if timestamp_ms > self.newest_ms {
            format!("out of bounds: timestamp {shown} is too far in the future (ingest.future_limit)")
        } else {
            format!("out of bounds: timestamp {shown} is older than retention (storage.retention)")
        }
    }
}

impl Resolved {
    fn labels(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
    }
}

fn label_cause(problem: &super::label_forms::LabelProblem) -> RefusalCause {
    match problem {
        super::label_forms::LabelProblem::Malformed => RefusalCause::Malformed,
        _ => RefusalCause::Labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::columns::KeyForm;
    use storage::batch::{BatchReader, Columns as BatchColumns};

    const BOUNDS: Bounds = Bounds { oldest_ms: 1_000, newest_ms: 2_000 };
    const TOPOLOGY: Topology = Topology { hash_key: HashKey([7; 16]), shards: 3 };

    /// A request of `name` lines in the text form, one sample each.
    fn request(lines: &[(&str, i64, f64)]) -> (Columns, Bytes) {
        let mut columns = Columns::new();
        let mut body = Vec::new();
        for (key, t, v) in lines {
            let start = body.len();
            body.extend_from_slice(key.as_bytes());
            columns.begin_series(KeyForm::Text, start, body.len());
            columns.push_sample(*t, *v);
        }
        (columns, Bytes::from(body))
    }

    fn route(lines: &[(&str, i64, f64)], cache: &SeriesCache, known: &[(SeriesHash, SeriesId)]) -> Routed {
        let (columns, body) = request(lines);
        let lookup = |_: ShardId, hashes: &[SeriesHash], ids: &mut Vec<SeriesId>| {
            ids.extend(hashes.iter().map(|hash| known.iter().find(|(of, _)| of == hash).map_or(UNKNOWN, |(_, id)| *id)));
            true
        };
        let (routed, foreign) = Routed::new(columns, body, BOUNDS, cache, 1, TOPOLOGY, lookup);
        assert!(foreign.is_empty());
        routed
    }

    fn hash_of(pairs: &[(&str, &str)]) -> SeriesHash {
        let mut out = Vec::new();
        labels::canonicalize(&mut pairs.to_vec(), &mut out).expect("valid labels");
        labels::hash(&TOPOLOGY.hash_key, &out)
    }

    fn decoded(batches: &[ShardBatch]) -> (usize, BatchColumns) {
        let mut all = BatchColumns::default();
        let mut definitions = 0;
        for batch in batches {
            let reader = BatchReader::parse(&batch.payload).expect("a good batch");
            definitions += reader.definitions().len();
            let mut columns = BatchColumns::default();
            reader.decode_into(&mut columns).expect("good columns");
            all.targets.extend(columns.targets);
            all.timestamps.extend(columns.timestamps);
            all.values.extend(columns.values);
        }
        (definitions, all)
    }

    #[test]
    fn exemplars_go_with_their_series_and_metadata_to_the_shard_of_its_metric() {
        let exemplar = |timestamp_ms| Exemplar { timestamp_ms, value: 1.0, labels: vec![("trace_id".into(), "a".into())] };
        let mut columns = Columns::new();
        let body = Bytes::from_static(b"newfar");
        columns.begin_series(KeyForm::Text, 0, 3);
        columns.push_sample(1_500, 1.0);
        columns.push_exemplar(&exemplar(1_500));
        columns.push_exemplar(&exemplar(3_000));
        columns.begin_series(KeyForm::Text, 3, 6);
        columns.push_sample(9_000, 1.0);
        columns.push_exemplar(&exemplar(1_600));
        for metric in ["new", "told", "up"] {
            columns.push_metadata(Metadata { metric: metric.into(), ..Metadata::default() });
        }
        let cache = SeriesCache::new(1024);
        let (routed, _) = Routed::new(columns, body, BOUNDS, &cache, 1, TOPOLOGY, |_, _, _| false);
        let batches = routed.encode(ConflictPolicy::Reject, TOPOLOGY, |metadata| metadata.metric != "told");
        let mut exemplars = Vec::new();
        let mut metadata = Vec::new();
        for batch in &batches {
            let reader = BatchReader::parse(&batch.payload).expect("a good batch");
            exemplars.extend(reader.exemplars().iter().map(|(target, exemplar)| (*target, exemplar.timestamp_ms)));
            metadata.extend(reader.metadata().iter().map(|entry| (entry.metric.clone(), Some(batch.shard))));
        }
        assert_eq!(exemplars.len(), 1, "one is out of bounds, and one series has no sample within them");
        assert_eq!(exemplars[0].1, 1_500);
        metadata.sort();
        let place = |metric: &str| (metric.to_string(), TOPOLOGY.shard_of_metric(metric));
        assert_eq!(metadata, [place("new"), place("up")]);
    }

    #[test]
    fn a_series_travels_with_labels_until_a_replica_knows_its_id() {
        let cache = SeriesCache::new(1024);
        let lines = [("up{job=\"a\"}", 1_500, 1.0), ("up{job=\"b\"}", 1_500, 0.0)];
        let (definitions, columns) = decoded(&route(&lines, &cache, &[]).encode(ConflictPolicy::Reject, TOPOLOGY, |_| true));
        assert_eq!((definitions, columns.values.len()), (2, 2));

        let known = [(hash_of(&[("__name__", "up"), ("job", "a")]), 17)];
        let (definitions, columns) = decoded(&route(&lines, &cache, &known).encode(ConflictPolicy::Reject, TOPOLOGY, |_| true));
        assert_eq!(definitions, 1);
        assert!(columns.targets.contains(&17));

        let again = route(&lines, &cache, &[]);
        assert_eq!(again.cache_misses(), 1, "the known one came from the cache");
        assert!(decoded(&again.encode(ConflictPolicy::Reject, TOPOLOGY, |_| true)).1.targets.contains(&17));
    }

    #[test]
    fn label_order_of_the_sender_does_not_make_two_series() {
        let cache = SeriesCache::new(1024);
        let known = [(hash_of(&[("__name__", "x"), ("a", "1"), ("b", "2")]), 5)];
        let lines = [("x{a=\"1\",b=\"2\"}", 1_100, 1.0), ("x{b=\"2\",a=\"1\"}", 1_200, 2.0)];
        let (definitions, columns) = decoded(&route(&lines, &cache, &known).encode(ConflictPolicy::Reject, TOPOLOGY, |_| true));
        assert_eq!((definitions, columns.targets), (0, vec![5, 5]));
    }

    #[test]
    fn samples_out_of_bounds_and_bad_labels_are_refused_with_their_place() {
        let cache = SeriesCache::new(1024);
        let lines = [("a", 999, 1.0), ("b{x=\"1\",x=\"2\"}", 1_500, 1.0), ("c", 1_500, 3.0), ("d", 2_001, 4.0)];
        let routed = route(&lines, &cache, &[]);
        let mut found: Vec<_> = routed.refusals.iter().map(|refusal| (refusal.series, refusal.cause)).collect();
        found.sort_unstable_by_key(|(series, _)| *series);
        assert_eq!(found, [(0, RefusalCause::Bounds), (1, RefusalCause::Labels), (3, RefusalCause::Bounds)]);
        let (definitions, columns) = decoded(&routed.encode(ConflictPolicy::Reject, TOPOLOGY, |_| true));
        assert_eq!((definitions, columns.values), (1, vec![3.0]), "only the good one is written");
    }

    #[test]
    fn a_shards_part_can_be_sent_again_with_labels() {
        let cache = SeriesCache::new(1024);
        let hash = hash_of(&[("__name__", "up"), ("job", "a")]);
        let routed = route(&[("up{job=\"a\"}", 1_500, 1.0)], &cache, &[(hash, 9)]);
        let shard = labels::shard_of(hash, TOPOLOGY.shards);
        let (definitions, columns) = decoded(&routed.encode_with_labels(shard, ConflictPolicy::Reject));
        assert_eq!((definitions, columns.values), (1, vec![1.0]));
        assert!(routed.encode_with_labels(shard + 1, ConflictPolicy::Reject).is_empty());
    }

    #[test]
    fn series_of_a_shard_without_a_replica_are_asked_for_elsewhere() {
        let cache = SeriesCache::new(1024);
        let (columns, body) = request(&[("up", 1_500, 1.0)]);
        let (mut routed, foreign) = Routed::new(columns, body, BOUNDS, &cache, 1, TOPOLOGY, |_, _, _| false);
        assert_eq!(foreign.len(), 1);
        routed.learn(&cache, &foreign[0], &[3]);
        assert_eq!(decoded(&routed.encode(ConflictPolicy::Reject, TOPOLOGY, |_| true)).1.targets, [3]);
    }

    /// What each pass costs a sample, series all known: `cargo test --release -p tern router::tests::speed -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints figures, checks nothing"]
    fn speed() {
        const SERIES: usize = 1_000_000;
        const A_REQUEST: usize = 10_000;
        let cache = SeriesCache::new(4_000_000);
        let key = |number: usize| {
            format!(
                "node_cpu_seconds_total{{cpu=\"{}\",mode=\"user\",instance=\"host-{:06}:9100\",job=\"node\",dc=\"eu-1\",rack=\"r{}\",env=\"prod\"}}",
                number % 64,
                number / 64,
                number % 40
            )
        };
        let requests: Vec<(Columns, Bytes)> = (0..SERIES / A_REQUEST)
            .map(|request| {
                let keys: Vec<String> = (0..A_REQUEST).map(|at| key(request * A_REQUEST + at)).collect();
                let lines: Vec<(&str, i64, f64)> = keys.iter().map(|key| (key.as_str(), 1_500, key.len() as f64)).collect();
                self::request(&lines)
            })
            .collect();
        let ids = std::cell::Cell::new(0);
        let lookup = |_: ShardId, hashes: &[SeriesHash], out: &mut Vec<SeriesId>| {
            out.extend(hashes.iter().map(|_| {
                ids.set(ids.get() + 1);
                ids.get()
            }));
            true
        };
        let mut requests = requests;
        for round in ["first", "second", "third"] {
            let (mut routing, mut encoding, mut bytes, mut misses) = (0u128, 0u128, 0, 0);
            for (columns, body) in &mut requests {
                let start = std::time::Instant::now();
                let (routed, _) = Routed::new(std::mem::take(columns), body.clone(), BOUNDS, &cache, 1, TOPOLOGY, lookup);
                routing += start.elapsed().as_nanos();
                let start = std::time::Instant::now();
                let batches = routed.encode(ConflictPolicy::Reject, TOPOLOGY, |_| true);
                encoding += start.elapsed().as_nanos();
                bytes += batches.iter().map(|batch| batch.payload.len()).sum::<usize>();
                misses += routed.cache_misses();
                *columns = routed.into_columns();
            }
            let each = |total: u128| total / SERIES as u128;
            println!(
                "{round}: route {} ns, encode {} ns, {:.2} bytes a sample, {misses} misses",
                each(routing),
                each(encoding),
                bytes as f64 / SERIES as f64
            );
        }
    }
}
