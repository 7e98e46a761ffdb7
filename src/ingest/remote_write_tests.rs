//! Both remote write decoders against messages that prost generates and reads: an encoder and a decoder written by
//! others. Whatever prost accepts must be staged with the same content, also after bytes were changed or cut.

use super::columns::Columns;
use super::decode_error::DecodeError;
use super::label_forms::{LabelProblem, sort_and_validate};
use super::remote_write_histogram::wire::{WireHistogram, histograms};
use super::{remote_write_v1, remote_write_v2};
use proptest::prelude::*;
use prost::Message;
use storage::{Exemplar, Metadata, MetricType};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<ExemplarV1>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<WireHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeriesV2>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<WireHistogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ExemplarV2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<MetadataV2>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarV1 {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(uint64, tag = "1")]
    metric_type: u64,
    #[prost(string, tag = "2")]
    metric_family_name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct MetadataV2 {
    #[prost(uint64, tag = "1")]
    metric_type: u64,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

/// Labels and samples of one series as both sides are compared: values by their bits.
type Plain = (Vec<(String, String)>, Vec<(i64, u64)>);

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,8}", "[a-zé{}=\",\\\\ \n]{0,200}"]
}

fn label() -> impl Strategy<Value = Label> {
    (text(), text()).prop_map(|(name, value)| Label { name, value })
}

fn sample() -> impl Strategy<Value = Sample> {
    (any::<u64>(), any::<i64>()).prop_map(|(bits, timestamp)| Sample { value: f64::from_bits(bits), timestamp })
}

fn exemplar_v1() -> impl Strategy<Value = ExemplarV1> {
    (prop::collection::vec(label(), 0..3), sample()).prop_map(|(labels, sample)| ExemplarV1 {
        labels,
        value: sample.value,
        timestamp: sample.timestamp,
    })
}

fn metric_metadata() -> impl Strategy<Value = MetricMetadata> {
    let fields = (0..10u64, text(), text(), text());
    fields.prop_map(|(metric_type, metric_family_name, help, unit)| MetricMetadata { metric_type, metric_family_name, help, unit })
}

fn request() -> impl Strategy<Value = WriteRequest> {
    let labels = prop::collection::vec(label(), 0..6);
    let samples = prop::collection::vec(sample(), 0..4);
    let exemplars = prop::collection::vec(exemplar_v1(), 0..3);
    let series = (labels, samples, exemplars, histograms()).prop_map(|(labels, samples, exemplars, histograms)| TimeSeries {
        labels,
        samples,
        exemplars,
        histograms,
    });
    let metadata = prop::collection::vec(metric_metadata(), 0..3);
    (prop::collection::vec(series, 0..6), metadata).prop_map(|(timeseries, metadata)| WriteRequest { timeseries, metadata })
}

fn request_v2() -> impl Strategy<Value = RequestV2> {
    let references = prop::collection::vec(0u32..8, 0..7);
    let samples = prop::collection::vec(sample(), 0..3);
    let metadata = (0..9u64, 0u32..8, 0u32..8);
    let metadata = prop::option::of(metadata.prop_map(|(metric_type, help_ref, unit_ref)| MetadataV2 { metric_type, help_ref, unit_ref }));
    let exemplar = (prop::collection::vec(0u32..9, 0..5), sample()).prop_map(|(labels_refs, sample)| ExemplarV2 {
        labels_refs,
        value: sample.value,
        timestamp: sample.timestamp,
    });
    let exemplars = prop::collection::vec(exemplar, 0..3);
    let series =
        (references, samples, histograms(), exemplars, metadata).prop_map(|(labels_refs, samples, histograms, exemplars, metadata)| {
            TimeSeriesV2 { labels_refs, samples, histograms, exemplars, metadata }
        });
    (prop::collection::vec(text(), 0..8), prop::collection::vec(series, 0..6))
        .prop_map(|(symbols, timeseries)| RequestV2 { symbols, timeseries })
}

fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
    samples.iter().map(|sample| (sample.timestamp, storage::histogram::ordinary(sample.value).to_bits())).collect()
}

/// Histograms by their markers.
fn plain(mut labels: Vec<(String, String)>, samples: &[Sample], histograms: &[WireHistogram]) -> Plain {
    labels.sort();
    let meant = histograms.iter().filter_map(WireHistogram::meant);
    let markers = meant.map(|(time, histogram)| (time, storage::histogram::marker_of(&histogram.encoded())));
    let mut all: Vec<(i64, u64)> = bits(samples).into_iter().chain(markers).collect();
    all.sort_unstable();
    (labels, all)
}

fn are_valid(histograms: &[WireHistogram]) -> bool {
    histograms.iter().all(|histogram| histogram.meant().is_some())
}

/// The labels of a staged series; those that break a rule come raw, so that they can be compared too.
fn staged(columns: &Columns, body: &[u8]) -> Vec<Plain> {
    let of_series = |series| {
        let mut pairs = Vec::new();
        let _ = columns.labels(body, series, &mut pairs);
        let mut labels: Vec<_> = pairs.iter().map(|&(name, value)| (name.to_string(), value.to_string())).collect();
        labels.sort();
        let mut samples: Vec<_> = columns.samples(series).map(|at| (columns.timestamps[at], columns.values[at].to_bits())).collect();
        samples.sort_unstable();
        (labels, samples)
    };
    (0..columns.series_count()).map(of_series).collect()
}

fn check_v1(body: &[u8]) {
    let mut columns = Columns::new();
    let outcome = remote_write_v1::decode(body, &mut columns);
    let Ok(expected) = WriteRequest::decode(body) else {
        let _ = staged(&columns, body);
        return;
    };
    match outcome {
        Err(DecodeError::Protobuf { reason: "unsupported wire type", .. }) => {}
        Err(DecodeError::Histogram { series, .. }) => {
            assert!(!are_valid(&expected.timeseries[series].histograms), "a valid histogram is refused");
        }
        Err(error) => panic!("prost reads what we refuse: {error}"),
        Ok(()) => {
            let series = expected.timeseries.iter();
            let plain: Vec<_> =
                series.clone().map(|series| plain(names_and_values(&series.labels), &series.samples, &series.histograms)).collect();
            assert_eq!(staged(&columns, body), plain);
            let exemplars: Vec<_> = series.clone().map(|series| series.exemplars.iter().map(exemplar_of_v1).collect()).collect();
            assert_exemplars(&columns, exemplars);
            assert_eq!(columns.histogram_count(), series.map(|series| series.histograms.len()).sum::<usize>());
            let named = expected.metadata.iter().filter(|metadata| !metadata.metric_family_name.is_empty());
            assert_eq!(columns.metadata, named.map(metadata_of_v1).collect::<Vec<_>>());
        }
    }
}

/// The staged exemplars are the valid ones of each series, and the others are counted.
fn assert_exemplars(columns: &Columns, expected: Vec<Vec<Option<Exemplar>>>) {
    let count: usize = expected.iter().map(Vec::len).sum();
    let with_series = expected.into_iter().zip(0..).flat_map(|(list, series)| list.into_iter().map(move |exemplar| (series, exemplar)));
    let valid = with_series.filter_map(|(series, exemplar)| Some((series, exemplar.filter(Exemplar::is_valid)?)));
    // By their text, because a value may be no number.
    let valid: Vec<(u32, Exemplar)> = valid.collect();
    assert_eq!(format!("{:?}", columns.exemplars), format!("{valid:?}"));
    assert_eq!(columns.exemplars_refused, count - valid.len());
}

fn exemplar_with(timestamp_ms: i64, value: f64, labels: &[(String, String)]) -> Exemplar {
    let mut exemplar = Exemplar { timestamp_ms, value, labels: Vec::new() };
    labels.iter().for_each(|(name, value)| exemplar.push_label(name, value));
    exemplar.sort_labels();
    exemplar
}

fn exemplar_of_v1(sent: &ExemplarV1) -> Option<Exemplar> {
    Some(exemplar_with(sent.timestamp, sent.value, &names_and_values(&sent.labels)))
}

fn metadata_of_v1(sent: &MetricMetadata) -> Metadata {
    let metric_type = MetricType::from_number(sent.metric_type);
    Metadata { metric: sent.metric_family_name.clone(), metric_type, help: sent.help.clone(), unit: sent.unit.clone() }.shortened()
}

fn names_and_values(labels: &[Label]) -> Vec<(String, String)> {
    labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
}

fn check_v2(body: &[u8]) {
    let mut columns = Columns::new();
    let outcome = remote_write_v2::decode(body, &mut columns);
    let Ok(expected) = RequestV2::decode(body) else {
        let _ = staged(&columns, body);
        return;
    };
    match outcome {
        Err(DecodeError::Protobuf { reason: "unsupported wire type", .. }) => {}
        Err(error) => panic!("prost reads what we refuse: {error}"),
        Ok(()) => {
            let symbols = &expected.symbols;
            let good: Vec<_> = expected.timeseries.iter().filter(|series| is_good(series, symbols.len())).collect();
            let symbol = |reference: &u32| symbols[*reference as usize].clone();
            let labels =
                |series: &TimeSeriesV2| series.labels_refs.chunks(2).map(|pair| (symbol(&pair[0]), symbol(&pair[1]))).collect::<Vec<_>>();
            let plain: Vec<_> = good.iter().map(|series| plain(labels(series), &series.samples, &series.histograms)).collect();
            assert_eq!(staged(&columns, body), plain);
            assert_eq!(columns.refused.len(), expected.timeseries.len() - good.len());
            assert_eq!(columns.histogram_count(), good.iter().map(|series| series.histograms.len()).sum::<usize>());
            let exemplars = |series: &&TimeSeriesV2| series.exemplars.iter().map(|sent| exemplar_of_v2(sent, symbols)).collect();
            assert_exemplars(&columns, good.iter().map(exemplars).collect());
        }
    }
}

fn exemplar_of_v2(sent: &ExemplarV2, symbols: &[String]) -> Option<Exemplar> {
    let texts: Option<Vec<&String>> = sent.labels_refs.iter().map(|reference| symbols.get(*reference as usize)).collect();
    let texts = texts.filter(|texts| texts.len().is_multiple_of(2))?;
    let labels: Vec<_> = texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    Some(exemplar_with(sent.timestamp, sent.value, &labels))
}

/// The rules of remote write 2.0 that do not look into the labels.
fn is_good(series: &TimeSeriesV2, symbols: usize) -> bool {
    let known = |reference: &u32| (*reference as usize) < symbols;
    let metadata_known = |metadata: &MetadataV2| {
        // Zero is the default, which the encoder leaves out.
        [metadata.help_ref, metadata.unit_ref].iter().all(|reference| *reference == 0 || known(reference))
    };
    series.labels_refs.len().is_multiple_of(2)
        && series.labels_refs.iter().all(known)
        && series.metadata.as_ref().is_none_or(metadata_known)
        && are_valid(&series.histograms)
        && !(series.samples.is_empty() && series.histograms.is_empty())
}

/// Changes a few bytes, then cuts.
fn damage(mut body: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (at, byte) in changes.iter().filter(|_| !body.is_empty()).map(|(at, byte)| (at.index(body.len()), *byte)).collect::<Vec<_>>() {
        body[at] = byte;
    }
    if let Some(cut) = cut.filter(|_| !body.is_empty()) {
        body.truncate(cut.index(body.len()));
    }
    body
}

/// A series whose records stand in any order.
fn shuffled(series: &TimeSeries, order: &[prop::sample::Index]) -> Vec<u8> {
    let one = |part: TimeSeries| part.encode_to_vec();
    let mut records: Vec<Vec<u8>> = Vec::new();
    records.extend(series.labels.iter().map(|label| one(TimeSeries { labels: vec![label.clone()], ..TimeSeries::default() })));
    records.extend(series.samples.iter().map(|sample| one(TimeSeries { samples: vec![sample.clone()], ..TimeSeries::default() })));
    let pairs = records.len().saturating_sub(1);
    for at in order.iter().filter(|_| pairs > 0).map(|index| index.index(pairs)) {
        records.swap(at, at + 1);
    }
    records.concat()
}

proptest! {
    #[test]
    fn v1_stages_what_prost_reads(request in request()) {
        check_v1(&request.encode_to_vec());
    }

    #[test]
    fn v1_survives_damage(
        request in request(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
        cut: Option<prop::sample::Index>,
    ) {
        check_v1(&damage(request.encode_to_vec(), &changes, cut));
    }

    #[test]
    fn v1_takes_labels_in_any_place(request in request(), order in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut body = Vec::new();
        for series in &request.timeseries {
            let record = shuffled(series, &order);
            prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut body);
            prost::encoding::encode_varint(record.len() as u64, &mut body);
            body.extend(record);
        }
        check_v1(&body);
    }

    #[test]
    fn v2_stages_what_prost_reads(request in request_v2()) {
        check_v2(&request.encode_to_vec());
    }

    #[test]
    fn v2_survives_damage(
        request in request_v2(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
        cut: Option<prop::sample::Index>,
    ) {
        check_v2(&damage(request.encode_to_vec(), &changes, cut));
    }

    #[test]
    fn any_bytes_are_no_panic(body: Vec<u8>) {
        check_v1(&body);
        check_v2(&body);
    }
}

#[test]
fn an_error_names_the_byte() {
    let request = WriteRequest {
        timeseries: vec![TimeSeries { samples: vec![Sample { value: 1.0, timestamp: 5 }], ..TimeSeries::default() }],
        metadata: Vec::new(),
    };
    let mut body = request.encode_to_vec();
    assert_eq!(body[..4], [0x0a, 13, 0x12, 11]);
    body[3] = 12;
    let error = remote_write_v1::decode(&body, &mut Columns::new()).unwrap_err();
    assert_eq!(error.to_string(), "malformed protobuf at byte 3: length reaches past the end");
}

#[test]
fn v2_refuses_series_one_by_one() {
    let symbols = ["", "__name__", "up"].map(str::to_string).to_vec();
    let series = |labels_refs: &[u32], samples: usize| TimeSeriesV2 {
        labels_refs: labels_refs.to_vec(),
        samples: vec![Sample { value: 1.0, timestamp: 5 }; samples],
        ..TimeSeriesV2::default()
    };
    let timeseries = vec![series(&[1, 2], 1), series(&[1, 3], 2), series(&[1], 1), series(&[1, 2], 0), series(&[1, 2], 3)];
    let body = RequestV2 { symbols, timeseries }.encode_to_vec();
    let mut columns = Columns::new();
    remote_write_v2::decode(&body, &mut columns).unwrap();
    let reasons: Vec<_> = columns.refused.iter().map(|refused| (refused.position, refused.samples, refused.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (1, 2, "label reference 3 is outside of the symbol table of 3"),
            (2, 1, "the number of label references must be even, got 1"),
            (3, 0, "a series must contain at least one sample or histogram"),
        ]
    );
    assert_eq!((columns.series_count(), columns.sample_count()), (2, 4));
}

#[test]
fn v2_metadata_is_of_the_family_and_staged_once() {
    let symbols = ["", "__name__", "lat_bucket", "lat_sum", "le", "1", "Latency.", "s", "up"].map(str::to_string).to_vec();
    let series = |labels_refs: &[u32], metadata: Option<MetadataV2>| TimeSeriesV2 {
        labels_refs: labels_refs.to_vec(),
        samples: vec![Sample { value: 1.0, timestamp: 5 }],
        metadata,
        ..TimeSeriesV2::default()
    };
    let histogram = Some(MetadataV2 { metric_type: 3, help_ref: 6, unit_ref: 7 });
    let timeseries = vec![
        series(&[1, 2, 4, 5], histogram.clone()),
        series(&[1, 2, 4, 5], histogram.clone()),
        series(&[1, 3], histogram),
        series(&[1, 8], Some(MetadataV2::default())),
        series(&[1, 8], Some(MetadataV2 { metric_type: 2, ..MetadataV2::default() })),
    ];
    let mut columns = Columns::new();
    remote_write_v2::decode(&RequestV2 { symbols, timeseries }.encode_to_vec(), &mut columns).unwrap();
    let found: Vec<_> =
        columns.metadata.iter().map(|it| (it.metric.as_str(), it.metric_type, it.help.as_str(), it.unit.as_str())).collect();
    assert_eq!(found, [("lat", MetricType::Histogram, "Latency.", "s"), ("up", MetricType::Gauge, "", "")]);
}

/// So many series, each with so many references to one label text of so many bytes.
fn bomb(series: usize, references: usize, symbol_bytes: usize) -> Vec<u8> {
    let symbols = vec!["x".repeat(symbol_bytes)];
    let samples = vec![Sample { value: 1.0, timestamp: 5 }];
    let one = TimeSeriesV2 { labels_refs: vec![0; references], samples, ..TimeSeriesV2::default() };
    RequestV2 { symbols, timeseries: vec![one; series] }.encode_to_vec()
}

/// A few kilobytes that would spell out hundreds of megabytes of labels.
#[test]
fn v2_bounds_what_symbols_spell_out() {
    let body = bomb(1000, 60, 1024);
    assert!(body.len() < 100_000);
    let mut columns = Columns::new();
    let error = remote_write_v2::decode(&body, &mut columns).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { limit_bytes, .. } if limit_bytes == 32 * body.len()), "{error}");
    assert!(columns.capacity_bytes() < 16 << 20, "{} bytes", columns.capacity_bytes());
}

#[test]
fn v2_refuses_a_series_of_endless_labels_alone() {
    let body = bomb(1, 4096, 1 << 20);
    let mut columns = Columns::new();
    remote_write_v2::decode(&body, &mut columns).unwrap();
    assert_eq!((columns.series_count(), columns.sample_count()), (0, 0));
    assert_eq!(columns.refused[0].reason, "labels longer than 65536 bytes together");
    assert!(columns.capacity_bytes() < 1 << 20, "{} bytes", columns.capacity_bytes());
}

#[test]
fn labels_of_one_series_are_bounded_together() {
    let value = "v".repeat(16 << 10);
    let names: Vec<String> = (0..4).map(|number| format!("name{number}")).collect();
    let labels = |count: usize| -> Vec<(&str, &str)> {
        let long = names[..count].iter().map(|name| (name.as_str(), value.as_str()));
        [("__name__", "up")].into_iter().chain(long).collect()
    };
    assert_eq!(sort_and_validate(&mut labels(3)), Ok(()));
    assert_eq!(sort_and_validate(&mut labels(4)), Err(LabelProblem::SeriesTooLong));
}

/// `cargo test --release speed -- --ignored --nocapture` prints what one sample costs each decoder.
#[test]
#[ignore = "prints figures, checks nothing"]
fn speed() {
    const SERIES: usize = 10_000;
    let names = ["__name__", "cpu", "device", "instance", "job", "mode", "region", "zone"];
    let label = |series: usize, name: &str| Label { name: name.to_string(), value: format!("{name}-value-{}", series % 97) };
    let samples = |series: usize| vec![Sample { value: series as f64 * 0.1, timestamp: 1_700_000_000_000 + series as i64 }];
    let v1 = WriteRequest {
        timeseries: (0..SERIES)
            .map(|series| TimeSeries {
                labels: names.iter().map(|name| label(series, name)).collect(),
                samples: samples(series),
                ..TimeSeries::default()
            })
            .collect(),
        metadata: Vec::new(),
    };
    let symbols: Vec<String> = (0..97).flat_map(|value| names.iter().map(move |name| label(value, name).value)).collect();
    let symbols = [names.iter().map(|name| name.to_string()).collect(), symbols].concat();
    let references = |series: usize| (0..8u32).flat_map(move |at| [at, 8 + (series % 97) as u32 * 8 + at]).collect();
    let v2 = RequestV2 {
        symbols,
        timeseries: (0..SERIES)
            .map(|series| TimeSeriesV2 { labels_refs: references(series), samples: samples(series), ..TimeSeriesV2::default() })
            .collect(),
    };
    let line = |series: usize| {
        let labels: Vec<_> = names[1..].iter().map(|name| format!("{name}=\"{}\"", label(series, name).value)).collect();
        format!("metric_{}{{{}}} {} {}\n", series % 97, labels.join(","), series as f64 * 0.1, 1_700_000_000_000 + series as i64)
    };
    let text: String = (0..SERIES).map(line).collect();
    let element = |series: usize| {
        let labels: std::collections::BTreeMap<_, _> =
            names[1..].iter().map(|name| (name.to_string(), label(series, name).value)).collect();
        serde_json::json!({"name": "metric", "labels": labels, "timestamp": 1_700_000_000_000i64, "value": series as f64 * 0.1})
    };
    let json = serde_json::Value::Array((0..SERIES).map(element).collect()).to_string();
    measure("remote write 1.0", &v1.encode_to_vec(), remote_write_v1::decode);
    measure("remote write 2.0", &v2.encode_to_vec(), remote_write_v2::decode);
    measure("text exposition", text.as_bytes(), |body, columns| super::exposition::decode(body, 0, columns));
    measure("native JSON", json.as_bytes(), |body, columns| super::native_json::decode(body, 0, columns));
    let compressed = bytes::Bytes::from(snap::raw::Encoder::new().compress_vec(&v1.encode_to_vec()).unwrap());
    measure("snappy + remote write 1.0", &[], |_, columns| {
        let body = super::compression::decompress("snappy", compressed.clone(), usize::MAX)?;
        remote_write_v1::decode(&body, columns)
    });
}

fn measure(what: &str, body: &[u8], decode: impl Fn(&[u8], &mut Columns) -> Result<(), DecodeError>) {
    let mut columns = Columns::new();
    let rounds = 100;
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        columns.clear();
        let start = std::time::Instant::now();
        decode(body, &mut columns).unwrap();
        best = best.min(start.elapsed().as_nanos() as f64 / columns.sample_count() as f64);
    }
    println!("{what}: {best:.1} ns/sample, {:.0} bytes/sample", body.len() as f64 / columns.sample_count() as f64);
}
