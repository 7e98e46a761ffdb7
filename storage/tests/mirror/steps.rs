//! What may happen, and the values that are written: small numbers, so that cases shrink to something readable.

use proptest::prelude::*;
use tern_storage::batch::ConflictPolicy;
use tern_storage::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span, marker_of};
use tern_storage::{HashKey, Reader, labels};

pub const KEY: HashKey = HashKey([7; 16]);
pub const SHARD: u32 = 3;
pub const INCARNATION: u64 = 1;
pub const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01T23:00:00Z: an hour before the end of a day, and of a bucket.
pub const BASE_MS: i64 = 1_767_308_400_000;

#[derive(Clone, Debug)]
pub enum Step {
    Apply {
        samples: Vec<(u8, i64, u8)>,
        policy: ConflictPolicy,
    },
    /// Exemplars of series that exist: (series, time, trace).
    Beside {
        exemplars: Vec<(u8, i64, u8)>,
        help: u8,
    },
    /// Of the series of one of the three metrics, or of all.
    Delete {
        metric: Option<u8>,
        range: (i64, i64),
    },
    Clean,
    Freeze,
    Persist,
    Mark,
    Release,
    /// A seal is given up before it is marked.
    GiveUp,
    Compact,
    Crash,
    Restart,
    Snapshot,
    Read {
        series: u8,
        start: i64,
        length: i64,
    },
}

pub fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => (0..40i64).prop_map(|n| BASE_MS + n * 15_000),
        2 => (-4 * HOUR_MS..8 * HOUR_MS).prop_map(|offset| BASE_MS + offset),
        1 => Just(BASE_MS - 40 * 24 * HOUR_MS),
    ]
}

pub fn range() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        2 => Just((i64::MIN, i64::MAX)),
        3 => (time(), 0..2 * HOUR_MS).prop_map(|(start, length)| (start, start + length)),
        1 => time().prop_map(|start| (i64::MIN, start)),
        1 => time().prop_map(|end| (end, i64::MAX)),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let samples = prop::collection::vec((0..8u8, time(), 0..10u8), 1..60);
    let policy = prop_oneof![Just(ConflictPolicy::LastWriteWins), Just(ConflictPolicy::Reject)];
    prop_oneof![
        8 => (samples, policy).prop_map(|(samples, policy)| Step::Apply { samples, policy }),
        2 => (prop::collection::vec((0..8u8, 0..20i64, 0..4u8), 0..8), 0..4u8).prop_map(|(exemplars, help)| Step::Beside { exemplars, help }),
        3 => (prop::option::of(0..3u8), range()).prop_map(|(metric, range)| Step::Delete { metric, range }),
        1 => Just(Step::Clean),
        4 => Just(Step::Freeze),
        4 => Just(Step::Persist),
        3 => Just(Step::Mark),
        3 => Just(Step::Release),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Compact),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => Just(Step::Snapshot),
        4 => (0..8u8, time(), 0..4 * HOUR_MS).prop_map(|(series, start, length)| Step::Read { series, start, length }),
    ]
}

pub fn value(number: u8) -> f64 {
    match number {
        0 => f64::from_bits(0x7ff0_0000_0000_0002),
        1 => -0.0,
        2 => f64::INFINITY,
        3 => 0.1 + 0.2,
        n => f64::from(n),
    }
}

/// Some numbers mean a histogram: two growing ones with the same or other buckets, one with custom buckets, a gauge.
pub fn histogram(number: u8) -> Option<Histogram> {
    let number = u64::from(number.checked_sub(6)?) + 1;
    let is_custom = number == 3;
    let counts = match number {
        4 => Counts::Float { count: 1.5, zero_count: 0.5, positive: vec![1.0; 4], negative: vec![] },
        _ => Counts::Integer { count: 4 * number, zero_count: 0, positive: vec![number; 4], negative: vec![] },
    };
    Some(Histogram {
        reset_hint: ResetHint::Unknown,
        schema: if is_custom { CUSTOM_BUCKETS_SCHEMA } else { 0 },
        zero_threshold: 0.0,
        sum: f64::from_bits(0x7ff0_0000_0000_0002 + number / 4),
        counts,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: i32::from(number == 2), length: 3 }],
        negative_spans: vec![],
        custom_values: if is_custom { vec![0.1, 0.2, 0.3] } else { vec![] },
    })
}

/// As the model keeps it: a float's bits, a histogram's marker.
pub fn bits_of(number: u8) -> u64 {
    histogram(number).map_or(value(number).to_bits(), |histogram| marker_of(&histogram.encoded()))
}

/// What a reader found, likewise.
pub fn found(reader: &mut Reader, timestamps: Vec<i64>, values: Vec<f64>) -> Vec<(i64, u64)> {
    let mut bits: Vec<u64> = values.into_iter().map(f64::to_bits).collect();
    for (position, histogram) in reader.histograms().iter() {
        bits[*position as usize] = marker_of(&histogram.encoded());
    }
    timestamps.into_iter().zip(bits).collect()
}

pub fn canonical(series: u8) -> Vec<u8> {
    let (name, job) = (format!("metric_{}", series % 3), format!("job{series}"));
    let mut out = Vec::new();
    let mut pairs = vec![("__name__", name.as_str()), ("job", job.as_str())];
    labels::canonicalize(&mut pairs, &mut out).unwrap();
    out
}
