//! Native histograms in both kinds of answers, read by the test harness.

use promql::labels::Labels;
use proptest::prelude::*;
use storage::Histogram;
use storage::chunk::STALE_MARKER_BITS;
use storage::histogram::{Counts, ResetHint, Span};
use tern_jepsen::histogram_chunk::{self, Histogram as Read};
use tern_jepsen::remote_read::{decode_frames, decode_samples, series_of_frames};

use super::chunked_answer::FrameWriter;
use super::histogram_chunk::encode;
use super::samples_answer::{AnswerLimits, SamplesAnswer};
use crate::query::ordered::StoredSeries;

/// What a sample is: a float, or a histogram of a kind, with the numbers of its buckets.
#[derive(Clone, Debug)]
enum Kind {
    Float,
    Stale,
    Integers { layout: usize, counts: Vec<u64> },
    Floats { layout: usize, counts: Vec<f64> },
    Custom { counts: Vec<u64>, bounds: Vec<f64> },
}

const LAYOUTS: [&[Span]; 3] = [
    &[Span { offset: -3, length: 2 }, Span { offset: 40, length: 1 }],
    &[Span { offset: 5, length: 3 }],
    &[Span { offset: -300, length: 1 }, Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
];
const THRESHOLDS: [f64; 3] = [0.0, 2.938735877055719e-39, 0.001];

fn kind() -> impl Strategy<Value = Kind> {
    let count = prop_oneof![4 => 0..5u64, 2 => 0..5000u64, 1 => any::<u64>().prop_map(|count| count >> 1)];
    let counts = prop::collection::vec(count, 3);
    let floats = prop::collection::vec(prop_oneof![(0..9u8).prop_map(f64::from), 0.0..1e9f64], 3);
    let bound = prop_oneof![Just(0.0), Just(0.005), Just(1.0), Just(33_554.43), Just(33_554.431), Just(-2.5), Just(0.123_456)];
    prop_oneof![
        3 => Just(Kind::Float),
        1 => Just(Kind::Stale),
        6 => (0..3usize, counts.clone()).prop_map(|(layout, counts)| Kind::Integers { layout, counts }),
        4 => (0..3usize, floats).prop_map(|(layout, counts)| Kind::Floats { layout, counts }),
        3 => (counts, prop::collection::vec(bound, 2)).prop_map(|(counts, bounds)| Kind::Custom { counts, bounds }),
    ]
}

fn histogram(kind: &Kind, hint: ResetHint) -> Histogram {
    let layout = match kind {
        Kind::Integers { layout, .. } | Kind::Floats { layout, .. } => *layout,
        _ => 1,
    };
    let (positive_spans, negative_spans) = (LAYOUTS[layout].to_vec(), LAYOUTS[(layout + 1) % 3][..1].to_vec());
    let negatives = negative_spans[0].length as usize;
    let integers = |counts: &[u64], negatives: usize| Counts::Integer {
        count: counts[0],
        zero_count: counts[1],
        positive: counts.to_vec(),
        negative: counts[..negatives].to_vec(),
    };
    let whole = Histogram {
        reset_hint: hint,
        schema: layout as i32 - 1,
        zero_threshold: THRESHOLDS[layout],
        sum: 12.5,
        counts: integers(&[1, 2, 3], negatives),
        positive_spans,
        negative_spans,
        custom_values: Vec::new(),
    };
    match kind {
        Kind::Float | Kind::Stale => Histogram { sum: f64::from_bits(STALE_MARKER_BITS), ..whole },
        Kind::Integers { counts, .. } => Histogram { counts: integers(counts, negatives), ..whole },
        Kind::Floats { counts, .. } => {
            let (positive, negative) = (counts.clone(), counts[..negatives].to_vec());
            Histogram { counts: Counts::Float { count: counts[2], zero_count: counts[1], positive, negative }, ..whole }
        }
        Kind::Custom { counts, bounds } => Histogram {
            schema: -53,
            zero_threshold: 0.0,
            counts: integers(counts, 0),
            positive_spans: vec![Span { offset: 0, length: 3 }],
            negative_spans: Vec::new(),
            custom_values: bounds.clone(),
            ..whole
        },
    }
}

/// Runs of samples of one kind, as metrics have them, with changes in between.
fn series() -> impl Strategy<Value = StoredSeries> {
    let hint = prop_oneof![6 => Just(ResetHint::Unknown), 1 => Just(ResetHint::Reset), 1 => Just(ResetHint::NotReset), 1 => Just(ResetHint::Gauge)];
    let run = (kind(), hint, 1..200usize, prop_oneof![Just(15_000i64), 1..100_000i64]);
    prop::collection::vec(run, 1..5).prop_map(|runs| {
        let mut series = StoredSeries { labels: Labels::from_pairs([("__name__", "h")]), ..StoredSeries::default() };
        let mut time = 1_700_000_000_000;
        for (kind, hint, count, step) in runs {
            for position in 0..count {
                time += step;
                match &kind {
                    Kind::Float => {
                        series.timestamps.push(time);
                        series.values.push(position as f64);
                    }
                    _ => series.histograms.push((time, histogram(&grown(&kind, position as u64), hint))),
                }
            }
        }
        series
    })
}

fn grown(kind: &Kind, by: u64) -> Kind {
    match kind.clone() {
        Kind::Integers { layout, counts } => Kind::Integers { layout, counts: counts.iter().map(|count| count + by * 3).collect() },
        Kind::Floats { layout, counts } => Kind::Floats { layout, counts: counts.iter().map(|count| count + by as f64 / 2.0).collect() },
        other => other,
    }
}

/// As a reader of chunks sees it: a stale histogram has neither layout nor counts.
fn expected(time: i64, histogram: &Histogram, in_chunk: bool) -> Read {
    let pairs = |spans: &[Span]| spans.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>();
    let (is_float, count, zero_count, buckets) = match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            let floats = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<_>>();
            (false, *count as f64, *zero_count as f64, [floats(positive), floats(negative)])
        }
        Counts::Float { count, zero_count, positive, negative } => (true, *count, *zero_count, [positive.clone(), negative.clone()]),
    };
    let sum_bits = histogram.sum.to_bits();
    if histogram.is_stale() && in_chunk {
        return Read { timestamp: time, is_float, sum_bits, ..Read::default() };
    }
    Read {
        timestamp: time,
        is_float,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        count,
        zero_count,
        sum_bits,
        spans: [pairs(&histogram.positive_spans), pairs(&histogram.negative_spans)],
        buckets,
        custom_values: histogram.custom_values.clone(),
    }
}

/// What readers rely on: after the first sample of a chunk of counters nothing falls.
fn assert_no_reset_inside(encoding: u64, chunk: &[u8]) {
    let (flags, all) = histogram_chunk::decode(encoding, chunk).expect("sound");
    if flags == 0xc0 {
        return;
    }
    for pair in all.windows(2) {
        assert!(pair[1].count >= pair[0].count && pair[1].zero_count >= pair[0].zero_count, "{pair:?}");
        let buckets = pair[0].buckets.iter().flatten().zip(pair[1].buckets.iter().flatten());
        assert!(buckets.into_iter().all(|(before, next)| next >= before), "{pair:?}");
    }
}

proptest! {
    #[test]
    fn both_answers_hold_every_histogram(series in series()) {
        let mut streamed = Vec::new();
        FrameWriter::new(0, 1 << 20).write(&series, &Labels::empty(), &mut streamed);
        let frames = decode_frames(&streamed).expect("sound");
        for chunk in frames.iter().flat_map(|frame| &frame.chunks).filter(|chunk| chunk.encoding != 1) {
            assert_no_reset_inside(chunk.encoding, &chunk.data);
        }
        let ends: Vec<i64> = frames.iter().flat_map(|frame| &frame.chunks).flat_map(|chunk| [chunk.min_ms, chunk.max_ms]).collect();
        prop_assert!(ends.is_sorted(), "{:?}", ends);
        let read = series_of_frames(&frames, 0).expect("sound");
        let wanted = |in_chunk| series.histograms.iter().map(|(time, histogram)| expected(*time, histogram, in_chunk)).collect::<Vec<_>>();
        prop_assert_eq!(&read[0].histograms, &wanted(true));
        prop_assert_eq!(read[0].samples.len(), series.timestamps.len());

        let mut plain = SamplesAnswer::new(AnswerLimits { samples: usize::MAX, bytes: usize::MAX });
        plain.begin_query().expect("small");
        plain.add(&series, &Labels::empty()).expect("small");
        let read = decode_samples(&plain.finish().expect("small").concat()).expect("sound");
        prop_assert_eq!(&read[0][0].histograms, &wanted(false));
    }
}

#[test]
fn a_fall_begins_a_chunk_that_says_so() {
    let counts = |counts: [u64; 3]| histogram(&Kind::Integers { layout: 1, counts: counts.to_vec() }, ResetHint::Unknown);
    let histograms = [[1, 1, 1], [2, 1, 2], [2, 1, 1], [9, 9, 9]].map(counts);
    let series = StoredSeries {
        labels: Labels::from_pairs([("__name__", "h")]),
        histograms: (0..).map(|at| at * 1000).zip(histograms).collect(),
        ..StoredSeries::default()
    };
    let mut streamed = Vec::new();
    FrameWriter::new(0, 1 << 20).write(&series, &Labels::empty(), &mut streamed);
    let frames = decode_frames(&streamed).expect("sound");
    let shown: Vec<(u8, usize)> = frames[0]
        .chunks
        .iter()
        .map(|chunk| histogram_chunk::decode(chunk.encoding, &chunk.data).expect("sound"))
        .map(|(flags, all)| (flags, all.len()))
        .collect();
    assert_eq!(shown, [(0, 2), (0x80, 2)]);
}

/// Worked out by hand from the description of the format.
#[test]
fn a_chunk_has_the_bytes_of_the_format() {
    let one = Histogram {
        reset_hint: ResetHint::Gauge,
        schema: 1,
        zero_threshold: 1.0,
        sum: 1.0,
        counts: Counts::Integer { count: 5, zero_count: 0, positive: vec![2, 3], negative: vec![] },
        positive_spans: vec![Span { offset: -1, length: 2 }],
        negative_spans: vec![],
        custom_values: vec![],
    };
    let mut chunk = Vec::new();
    encode(None, &[(4, one)], &mut chunk);
    let digits: String = chunk[3..].iter().map(|byte| format!("{byte:08b}")).collect();
    let sum: String = 1.0f64.to_be_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
    // Threshold 2^0, schema 1, one span of 2 at -1, none; time 4, count 5, zero count 0, sum, buckets 2 and 1 more.
    let expected = format!("11110100 10001 10001 10010 10111 0 10100 10101 0 {sum} 10010 10001").replace(' ', "");
    assert_eq!(chunk[..3], [0, 1, 0xc0]);
    assert_eq!(digits.trim_end_matches('0'), expected.trim_end_matches('0'));
}
