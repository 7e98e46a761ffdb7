//! Batches against the plain list of samples they were built from, and against hostile bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::exemplar::{Exemplar, Metadata, MetricType};
use crate::index::{MatchOp, Matcher};
use crate::labels;

#[derive(Debug, Clone, Copy)]
struct Sample {
    target: u32,
    timestamp_ms: i64,
    value: f64,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_map(crate::histogram::ordinary),
        (-100_000i64..100_000, 0u8..6).prop_map(|(mantissa, exponent)| mantissa as f64 / crate::decimal::power(exponent)),
        (0i64..200).prop_map(|whole| whole as f64),
        (0i64..200).prop_map(|pages| (pages * 4096) as f64),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
        Just(-0.0),
        Just(1.0),
    ]
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let scrape = (0u32..5000, 1usize..80, 0i64..1 << 41).prop_flat_map(|(first, length, timestamp_ms)| {
        prop::collection::vec(value(), length).prop_map(move |values| {
            let sample = |(offset, value)| Sample { target: first + offset as u32, timestamp_ms, value };
            values.into_iter().enumerate().map(sample).collect::<Vec<_>>()
        })
    });
    let back_fill = (0u32..5000, 1usize..80, 0i64..1 << 41, 1i64..60_000).prop_flat_map(|(target, length, start, step)| {
        prop::collection::vec(value(), length).prop_map(move |values| {
            let sample = |(offset, value)| Sample { target, timestamp_ms: start + step * offset as i64, value };
            values.into_iter().enumerate().map(sample).collect::<Vec<_>>()
        })
    });
    let anything = prop::collection::vec((any::<u32>(), any::<i64>(), value()), 0..40)
        .prop_map(|list| list.into_iter().map(|(target, timestamp_ms, value)| Sample { target, timestamp_ms, value }).collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![scrape, back_fill, anything], 0..6).prop_map(|lists| lists.concat())
}

fn definition(number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let instance = format!("host{number}");
    labels::canonicalize(&mut vec![("__name__", "up"), ("instance", instance.as_str())], &mut out).unwrap();
    out
}

fn build(new: &[Sample], definitions: usize, known: &[Sample], policy: ConflictPolicy) -> Vec<u8> {
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    builder.push(7, 7, 7.0);
    builder.encode();
    builder.restart(policy);
    let handles: Vec<NewSeries> = (0..definitions).map(|number| builder.define(&definition(number))).collect();
    for sample in known {
        builder.push(sample.target, sample.timestamp_ms, sample.value);
    }
    for sample in new {
        builder.push_defined(handles[sample.target as usize % definitions], sample.timestamp_ms, sample.value);
    }
    assert_eq!(builder.len(), new.len() + known.len());
    builder.encode()
}

/// The frame around sections, with a right checksum.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = crc32c::crc32c(body).to_le_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

proptest! {
    #[test]
    fn samples_come_back(known in samples(), new in samples(), definitions in 1usize..5, reject: bool) {
        let policy = if reject { ConflictPolicy::Reject } else { ConflictPolicy::LastWriteWins };
        let bytes = build(&new, definitions, &known, policy);
        let reader = BatchReader::parse(&bytes).unwrap();
        let mut columns = Columns::default();
        columns.push(1, 2, 3.0);
        reader.decode_into(&mut columns).unwrap();
        prop_assert_eq!(reader.policy(), policy);
        prop_assert_eq!(reader.new_samples(), new.len());
        prop_assert_eq!(reader.len(), columns.len());
        prop_assert_eq!(reader.definitions().len(), definitions);
        for (number, bytes) in reader.definitions().iter().enumerate() {
            prop_assert_eq!(*bytes, &definition(number)[..]);
        }
        let moved = new.iter().map(|sample| Sample { target: sample.target % definitions as u32, ..*sample });
        for (position, sample) in moved.chain(known.iter().copied()).enumerate() {
            prop_assert_eq!(columns.targets[position], sample.target);
            prop_assert_eq!(columns.timestamps[position], sample.timestamp_ms);
            prop_assert_eq!(columns.values[position].to_bits(), sample.value.to_bits());
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(known in samples(), place: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = build(&[], 1, &known, ConflictPolicy::Reject);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(BatchReader::parse(&bytes).is_err());
    }

    #[test]
    fn truncated_input_is_refused(known in samples(), place: prop::sample::Index) {
        let bytes = build(&[], 1, &known, ConflictPolicy::Reject);
        prop_assert!(BatchReader::parse(&bytes[..place.index(bytes.len())]).is_err());
    }

    #[test]
    fn hostile_sections_end_well(tag in 1u8..9, body: Vec<u8>) {
        let mut frame = vec![VERSION, 0, tag];
        crate::varint::put(&mut frame, body.len() as u64);
        frame.extend_from_slice(&body);
        let bytes = framed(&frame);
        if let Ok(reader) = BatchReader::parse(&bytes) {
            let mut columns = Columns::default();
            if reader.decode_into(&mut columns).is_ok() {
                prop_assert_eq!(columns.len(), columns.timestamps.len());
                prop_assert_eq!(columns.len(), columns.values.len());
            }
            prop_assert!(columns.targets.capacity() <= 4 * body.len() + 16);
        }
    }

    #[test]
    fn mutated_sections_end_well(known in samples(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = build(&known, 2, &known, ConflictPolicy::Reject);
        for (place, byte) in edits {
            let place = CHECKSUM_BYTES + place.index(bytes.len() - CHECKSUM_BYTES);
            bytes[place] = byte;
        }
        let bytes = framed(&bytes[CHECKSUM_BYTES..]);
        if let Ok(reader) = BatchReader::parse(&bytes) {
            let _ = reader.decode_into(&mut Columns::default());
        }
    }

    #[test]
    fn parts_come_back(batches in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9)) {
        let batches: Vec<Bytes> = batches.into_iter().map(Bytes::from).collect();
        let joined = join(&batches);
        let read: Vec<&[u8]> = parts(&joined).unwrap().collect();
        prop_assert_eq!(read, batches.iter().map(|batch| &batch[..]).collect::<Vec<_>>());
        for length in 0..joined.len() {
            prop_assert!(parts(&joined[..length]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_parted_without_panic(bytes: Vec<u8>) {
        if let Ok(parts) = parts(&bytes) {
            prop_assert!(parts.count() <= bytes.len());
        }
    }
}

#[test]
fn what_a_newer_node_wrote_is_named() {
    let unknown_section = framed(&[VERSION, 0, 9, 0]);
    assert!(matches!(BatchReader::parse(&unknown_section), Err(Error::Unsupported { what: "batch section", found: 9 })));
    let unknown_version = framed(&[VERSION + 1, 0]);
    assert!(matches!(BatchReader::parse(&unknown_version), Err(Error::Unsupported { what: "batch version", found: 2 })));
    assert!(BatchReader::parse(&framed(&[VERSION, 0, 3, 0, 2, 0])).is_err(), "sections out of order");
}

#[test]
fn what_is_beside_samples_comes_back() {
    let exemplar = |number: i64, labels: &[(&str, &str)]| Exemplar {
        timestamp_ms: -number,
        value: number as f64 / 4.0,
        labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    let of_new = exemplar(1, &[("span_id", "é"), ("trace_id", "abc")]);
    let of_known = exemplar(i64::MAX, &[]);
    let metadata = Metadata { metric: "up".into(), metric_type: MetricType::Gauge, help: "Is it?".into(), unit: String::new() };
    let regex = Matcher::new("job", MatchOp::Nre, "a.*").unwrap();
    let deletion = Deletion { matchers: vec![Matcher::equal("__name__", "up"), regex], start_ms: i64::MIN, end_ms: 5 };
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    builder.push_deletion(&deletion);
    builder.push_metadata(&metadata);
    let series = builder.define(&definition(0));
    builder.push_exemplar(7, &of_known);
    builder.push_defined_exemplar(series, &of_new);
    let bytes = builder.encode();
    let reader = BatchReader::parse(&bytes).unwrap();
    assert_eq!(reader.exemplars(), [(ExemplarTarget::Known(7), of_known), (ExemplarTarget::Defined(0), of_new)]);
    assert_eq!(reader.metadata(), [metadata]);
    let [found] = reader.deletions() else { panic!("{} deletions", reader.deletions().len()) };
    assert_eq!((found.start_ms, found.end_ms), (i64::MIN, 5));
    let matchers: Vec<_> = found.matchers.iter().map(|matcher| (matcher.name(), matcher.op(), matcher.value())).collect();
    assert_eq!(matchers, [("__name__", MatchOp::Eq, "up"), ("job", MatchOp::Nre, "a.*")]);
    builder.clear();
    assert!(builder.is_empty());
    builder.push_defined_exemplar(series, &exemplar(1, &[]));
    assert!(BatchReader::parse(&builder.encode()).is_err(), "an exemplar of a series that is not defined");
}

#[test]
fn a_sample_without_definition_is_refused() {
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    let series = builder.define(&definition(0));
    builder.clear();
    builder.push_defined(series, 1, 1.0);
    let bytes = builder.encode();
    assert!(BatchReader::parse(&bytes).unwrap().decode_into(&mut Columns::default()).is_err());
}

#[test]
fn a_scrape_is_small() {
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    for series in 0..1000u32 {
        builder.push(500 + series, 1_700_000_000_000, f64::from(series % 100) / 4.0);
    }
    let bytes = builder.encode();
    assert!(bytes.len() < 3000, "{} bytes", bytes.len());
}

/// Logs outlive builds: a change of the format needs a new version, not a new expectation here.
#[test]
fn the_format_is_what_it_was() {
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    builder.push_new(&definition(1), 1_700_000_000_000, 0.25);
    for (offset, value) in [0.0, 1.0, 12.5, -3.0, f64::INFINITY].into_iter().enumerate() {
        builder.push(40 + offset as u32, 1_700_000_015_000, value);
    }
    let hex: String = builder.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "9a52b9610101011d011b085f5f6e616d655f5f02757008696e7374616e636505686f7374310210010100078080adf9e78b03020201013203200503c1020308c1a9b4f9e78b03030400020103901108fa3b000000000000f07f"
    );
}

#[test]
fn histograms_travel_beside_their_markers() {
    use crate::histogram::{marker_of, samples};
    let known = [samples::latencies(1).encoded(), samples::custom(2).encoded()];
    let new = samples::gauge(3).encoded();
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    let series = builder.define(&definition(0));
    builder.push(5, 1, 1.0);
    builder.push_histogram(5, 2, &known[0]);
    builder.push_defined(series, 1, 2.0);
    builder.push_defined_histogram(series, 2, &new);
    builder.push_histogram(6, 2, &known[1]);
    let bytes = builder.encode();
    let mut columns = Columns::default();
    BatchReader::parse(&bytes).unwrap().decode_into(&mut columns).unwrap();
    let payloads: Vec<&[u8]> = columns.histograms.iter().map(|payload| &payload[..]).collect();
    assert_eq!(payloads, [&new[..], &known[0], &known[1]]);
    let markers: Vec<u64> = columns.values.iter().map(|value| value.to_bits()).filter(|bits| crate::histogram::is_marker(*bits)).collect();
    assert_eq!(markers, [marker_of(&new), marker_of(&known[0]), marker_of(&known[1])]);
    builder.clear();
    builder.push(5, 1, 1.0);
    BatchReader::parse(&builder.encode()).unwrap().decode_into(&mut columns).unwrap();
    assert!(columns.histograms.is_empty(), "nothing is left of the batch before");
}

#[test]
fn markers_and_payloads_that_do_not_agree_are_refused() {
    use crate::histogram::{marker_of, samples};
    let refused = |fill: &dyn Fn(&mut BatchBuilder)| {
        let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
        fill(&mut builder);
        BatchReader::parse(&builder.encode()).unwrap().decode_into(&mut Columns::default()).is_err()
    };
    let good = samples::latencies(1).encoded();
    let mut invalid = samples::latencies(1);
    invalid.positive_spans[0].length = 7;
    assert!(!refused(&|builder| builder.push_histogram(1, 1, &good)));
    assert!(refused(&|builder| builder.push(1, 1, f64::from_bits(marker_of(&good)))), "a marker without a payload");
    assert!(refused(&|builder| builder.push_histogram(1, 1, &invalid.encoded())), "spans without buckets");
    assert!(refused(&|builder| builder.push_histogram(1, 1, b"no histogram")), "foreign bytes");
    assert!(
        refused(&|builder| {
            builder.push_histogram(1, 1, &good);
            builder.known.values[0] = 1.0;
        }),
        "a payload without a marker"
    );
}
