//! Histograms for tests.

use proptest::prelude::*;

use super::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span};
use crate::chunk::STALE_MARKER_BITS;

/// A counter as a program exposes it, after `scrapes` scrapes.
pub fn latencies(scrapes: u64) -> Histogram {
    let positive: Vec<u64> = (1..=3).map(|bucket| scrapes * bucket * 2).collect();
    Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 3,
        zero_threshold: 2f64.powi(-128),
        sum: 41.15 * scrapes as f64,
        counts: Counts::Integer { count: positive.iter().sum::<u64>() + scrapes, zero_count: scrapes, positive, negative: vec![] },
        positive_spans: vec![Span { offset: -4, length: 1 }, Span { offset: 3, length: 2 }],
        negative_spans: vec![],
        custom_values: vec![],
    }
}

/// A converted classic histogram.
pub fn custom(scrapes: u64) -> Histogram {
    Histogram {
        reset_hint: ResetHint::Unknown,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: 2.5 * scrapes as f64,
        counts: Counts::Integer {
            count: 9 * scrapes,
            zero_count: 0,
            positive: vec![2 * scrapes, 3 * scrapes, 4 * scrapes],
            negative: vec![],
        },
        positive_spans: vec![Span { offset: 0, length: 3 }],
        negative_spans: vec![],
        custom_values: vec![0.1, 0.5, 2.5],
    }
}

/// What a recording rule makes.
pub fn gauge(number: u64) -> Histogram {
    let share = number as f64 / 3.0;
    Histogram {
        reset_hint: ResetHint::Gauge,
        schema: -1,
        zero_threshold: 0.001,
        sum: -share,
        counts: Counts::Float { count: 4.0 * share, zero_count: share, positive: vec![share, share], negative: vec![share] },
        positive_spans: vec![Span { offset: 1, length: 2 }],
        negative_spans: vec![Span { offset: -2, length: 1 }],
        custom_values: vec![],
    }
}

/// The end of a series.
pub fn stale() -> Histogram {
    let counts = Counts::Integer { count: 0, zero_count: 0, positive: vec![], negative: vec![] };
    Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        sum: f64::from_bits(STALE_MARKER_BITS),
        counts,
        positive_spans: vec![],
        negative_spans: vec![],
        custom_values: vec![],
    }
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    prop::collection::vec((-3i32..4, 0u32..4), 0..4).prop_map(|list| list.into_iter().enumerate()).prop_map(|list| {
        list.map(|(number, (offset, length))| Span { offset: if number == 0 { offset } else { offset.abs() }, length }).collect()
    })
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), (0..100u32).prop_map(f64::from), Just(f64::from_bits(STALE_MARKER_BITS))]
}

/// Also ones that no validation lets pass: codecs do not judge.
pub fn any_histogram() -> impl Strategy<Value = Histogram> {
    let whole = prop_oneof![0..50u64, any::<u64>()];
    let layout =
        (spans(), spans(), prop_oneof![Just(0.0), Just(2f64.powi(-128)), float()], -53i32..9, prop::collection::vec(float(), 0..3));
    let numbers = (float(), prop::collection::vec(whole, 30), prop::collection::vec(float(), 30), any::<bool>(), 0u8..4);
    (layout, numbers).prop_map(
        |((positive_spans, negative_spans, zero_threshold, schema, custom_values), (sum, whole, floats, is_float, hint))| {
            let (positives, negatives) = (super::bucket_count(&positive_spans), super::bucket_count(&negative_spans));
            let counts = if is_float {
                let (positive, negative) = (floats[2..2 + positives].to_vec(), floats[14..14 + negatives].to_vec());
                Counts::Float { count: floats[0], zero_count: floats[1], positive, negative }
            } else {
                let (positive, negative) = (whole[2..2 + positives].to_vec(), whole[14..14 + negatives].to_vec());
                Counts::Integer { count: whole[0], zero_count: whole[1], positive, negative }
            };
            let reset_hint = ResetHint::from_bits(hint);
            Histogram { reset_hint, schema, zero_threshold, sum, counts, positive_spans, negative_spans, custom_values }
        },
    )
}
