//! What is written here is read by the decoders of the test harness, which share nothing with it.

use promql::labels::Labels;
use proptest::prelude::*;
use tern_jepsen::remote_read::{decode_frames, decode_samples, decode_xor, series_of_frames};

use super::chunked_answer::FrameWriter;
use super::samples_answer::{AnswerLimits, AnswerTooLarge, SamplesAnswer};
use super::xor_chunk::{self, encode};
use crate::query::ordered::StoredSeries;

fn series(name: &str, samples: &[(i64, f64)]) -> StoredSeries {
    StoredSeries {
        labels: Labels::from_pairs([("__name__", name), ("job", "a")]),
        timestamps: samples.iter().map(|sample| sample.0).collect(),
        values: samples.iter().map(|sample| sample.1).collect(),
        histograms: Vec::new(),
    }
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|sample| (sample.0, sample.1.to_bits())).collect()
}

/// Times that rise by steps of every size, and values as metrics have them or of any bits.
fn samples(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![Just(15_000i64), 1..100i64, 14_000..16_000i64, 1..1_000_000i64, 1..1i64 << 40];
    let value = prop_oneof![Just(1.0), (0..1000i32).prop_map(|value| f64::from(value) / 10.0), any::<u64>().prop_map(f64::from_bits)];
    (-1i64 << 40..1i64 << 42, prop::collection::vec((step, value), count)).prop_map(|(start, steps)| {
        let mut time = start;
        steps
            .into_iter()
            .map(|(step, value)| {
                time += step;
                (time, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_chunk_reads_back_to_the_same_bits(samples in samples(1..300)) {
        let series = series("x", &samples);
        let mut chunk = Vec::new();
        encode(&series.timestamps, &series.values, &mut chunk);
        prop_assert_eq!(bits(&decode_xor(&chunk).expect("sound")), bits(&samples));
    }

    #[test]
    fn steps_at_the_edges_of_each_width_read_back(edge in prop::sample::select(vec![13u32, 16, 19, 40]), off in -2i64..=2, sign in prop::bool::ANY) {
        let change = if sign { (1i64 << edge) + off } else { -(1i64 << edge) + off };
        let first_step = 1i64 << 41;
        let samples = [(0, 1.0), (first_step, 1.0), (2 * first_step + change, 1.0), (4 * first_step, 2.0)];
        let series = series("x", &samples);
        let mut chunk = Vec::new();
        encode(&series.timestamps, &series.values, &mut chunk);
        prop_assert_eq!(bits(&decode_xor(&chunk).expect("sound")), bits(&samples));
    }

    #[test]
    fn both_answers_hold_all_series(
        queries in prop::collection::vec(prop::collection::vec(samples(1..400), 0..4), 1..3),
        frame_bytes in prop::sample::select(vec![1usize, 500, 1 << 20]),
    ) {
        let external = Labels::from_pairs([("region", "eu")]);
        let labels = |name: usize| {
            let pairs = [("__name__", format!("m{name}")), ("job", "a".to_string()), ("region", "eu".to_string())];
            pairs.map(|(name, value)| (name.to_string(), value)).to_vec()
        };
        let mut plain = SamplesAnswer::new(AnswerLimits { samples: usize::MAX, bytes: usize::MAX });
        let mut streamed = Vec::new();
        for (index, query) in queries.iter().enumerate() {
            plain.begin_query().expect("small");
            let mut frames = FrameWriter::new(index, frame_bytes);
            for (name, samples) in query.iter().enumerate() {
                let series = series(&format!("m{name}"), samples);
                plain.add(&series, &external).expect("small");
                frames.write(&series, &external, &mut streamed);
            }
        }
        let plain = decode_samples(&plain.finish().expect("small").concat()).expect("sound");
        let frames = decode_frames(&streamed).expect("sound");
        for (index, query) in queries.iter().enumerate() {
            let from_frames = series_of_frames(&frames, index as u64).expect("sound");
            prop_assert_eq!((plain[index].len(), from_frames.len()), (query.len(), query.len()));
            for (name, samples) in query.iter().enumerate() {
                prop_assert_eq!(&plain[index][name].labels, &labels(name));
                prop_assert_eq!(&from_frames[name].labels, &labels(name));
                prop_assert_eq!(bits(&plain[index][name].samples), bits(samples));
                prop_assert_eq!(bits(&from_frames[name].samples), bits(samples));
            }
        }
    }
}

/// The example that Prometheus' own format description would give: worked out by hand.
#[test]
fn a_chunk_has_the_bytes_of_the_format() {
    let mut chunk = Vec::new();
    encode(&[1, 3, 5, 6], &[1.0, 1.0, 1.0, 1.0], &mut chunk);
    let mut expected = vec![0, 4, 2];
    expected.extend(1.0f64.to_be_bytes());
    // Step 2, value the same (0); no change (0), the same (0); change -1 in 14 bits (10 11111111111111), the same (0).
    expected.extend([2, 0b0001_0111, 0b1111_1111, 0b1110_0000]);
    assert_eq!(chunk, expected);
}

#[test]
fn a_long_series_is_split_at_the_size_of_a_frame() {
    let samples: Vec<(i64, f64)> = (0..20_000).map(|at| (at * 15_000, (at as f64).sqrt())).collect();
    let mut out = Vec::new();
    FrameWriter::new(0, 10_000).write(&series("x", &samples), &Labels::empty(), &mut out);
    let frames = decode_frames(&out).expect("sound");
    assert!(frames.len() > 10, "{} frames", frames.len());
    assert!(frames.iter().all(|frame| frame.bytes <= 10_100), "as large as allowed, but for a few bytes of lengths");
    assert!(
        frames.iter().flat_map(|frame| &frame.chunks).all(|chunk| decode_xor(&chunk.data).expect("sound").len() <= xor_chunk::SAMPLES_MAX)
    );
    assert_eq!(bits(&series_of_frames(&frames, 0).expect("sound")[0].samples), bits(&samples));
}

#[test]
fn a_plain_answer_is_bounded() {
    let three = series("x", &[(1, 1.0), (2, 2.0), (3, 3.0)]);
    let mut answer = SamplesAnswer::new(AnswerLimits { samples: 5, bytes: 1 << 20 });
    answer.begin_query().expect("small");
    answer.add(&three, &Labels::empty()).expect("three fit");
    assert_eq!(answer.add(&three, &Labels::empty()), Err(AnswerTooLarge::Samples(5)));
    assert_eq!(AnswerTooLarge::Samples(5).to_string(), "exceeded sample limit (5)");

    let mut answer = SamplesAnswer::new(AnswerLimits { samples: usize::MAX, bytes: 100_000 });
    answer.begin_query().expect("small");
    let noise: Vec<(i64, f64)> = (0..5_000).map(|at| (at, f64::from_bits((at as u64 * 0x9e37_79b9_7f4a_7c15) >> 2))).collect();
    let mut outcome = Ok(());
    for _ in 0..20 {
        outcome = outcome.and_then(|()| answer.add(&series("x", &noise), &Labels::empty()));
    }
    assert_eq!(outcome, Err(AnswerTooLarge::Bytes(100_000)));
}
