//! Records against the buckets they were made of, and buckets against their samples.

use proptest::prelude::*;

use super::*;

fn record(base_ms: i64, buckets: &[Bucket]) -> Vec<u8> {
    let mut out = vec![];
    encode(base_ms, buckets, &mut Encoder::new(), &mut out);
    out
}

fn read(bytes: &[u8], base_ms: i64) -> Result<Vec<Bucket>> {
    let mut buckets = vec![];
    decode(bytes, base_ms, &mut buckets)?;
    Ok(buckets)
}

/// Equal to the last bit, NaN included.
fn same(left: &[Bucket], right: &[Bucket]) -> bool {
    let bits = |bucket: &Bucket| {
        let aggregates = &bucket.aggregates;
        let values = plain_columns(aggregates).map(f64::to_bits);
        (bucket.first_ms, bucket.last_ms, aggregates.count, aggregates.resets, aggregates.increase.to_bits(), values)
    };
    left.iter().map(bits).eq(right.iter().map(bits))
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let walk = |range: std::ops::Range<i64>, divisor: f64| {
        prop::collection::vec(range, 1..600).prop_map(move |steps| {
            let mut level = 0;
            let next = |step| {
                level += step;
                level as f64 / divisor
            };
            steps.into_iter().map(next).collect::<Vec<f64>>()
        })
    };
    prop_oneof![
        walk(0..50, 1.0),
        walk(0..50, 100.0),
        walk(-50..51, 10.0),
        walk(-5..5, 3.0),
        prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..200),
    ]
}

proptest! {
    #[test]
    fn buckets_come_back(values in values(), start in 0i64..1 << 41, interval in 1i64..100_000, base_ms: i64) {
        let timestamps: Vec<i64> = (0..values.len() as i64).map(|index| start + index * interval).collect();
        let mut buckets = vec![];
        fold(&timestamps, &values, 300_000, &mut buckets);
        if !buckets.is_empty() {
            prop_assert!(same(&read(&record(base_ms, &buckets), base_ms).unwrap(), &buckets));
        }
    }

    #[test]
    fn any_buckets_come_back(numbers in prop::collection::vec(any::<([i64; 2], u64, [u64; 6], u64)>(), 1..50)) {
        let bucket = |(times, count, values, resets): ([i64; 2], u64, [u64; 6], u64)| {
            let [sum, min, max, first, last, increase] = values.map(f64::from_bits);
            Bucket { first_ms: times[0], last_ms: times[1], aggregates: Aggregates { count, sum, min, max, first, last, increase, resets } }
        };
        let buckets: Vec<Bucket> = numbers.into_iter().map(bucket).collect();
        prop_assert!(same(&read(&record(7, &buckets), 7).unwrap(), &buckets));
    }

    #[test]
    fn hours_of_minutes_are_hours(steps in prop::collection::vec(-20i64..30, 1..900), start in 0i64..1 << 41) {
        let timestamps: Vec<i64> = (0..steps.len() as i64).map(|index| start + index * 15_000).collect();
        let values: Vec<f64> = steps.iter().scan(0, |level, step| { *level += step; Some(*level as f64) }).collect();
        let (mut narrow, mut wide, mut direct) = (vec![], vec![], vec![]);
        fold(&timestamps, &values, 300_000, &mut narrow);
        widen(&narrow, 3_600_000, &mut wide);
        fold(&timestamps, &values, 3_600_000, &mut direct);
        prop_assert_eq!(wide, direct);
    }

    #[test]
    fn hostile_bytes_end_well(values in values(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: prop::sample::Index) {
        let timestamps: Vec<i64> = (0..values.len() as i64).map(|index| index * 15_000).collect();
        let mut buckets = vec![];
        fold(&timestamps, &values, 60_000, &mut buckets);
        prop_assume!(!buckets.is_empty());
        let mut body = record(0, &buckets);
        body.truncate(body.len() - CHECKSUM_BYTES);
        for (place, byte) in edits {
            let place = place.index(body.len());
            body[place] = byte;
        }
        body.truncate(1 + cut.index(body.len()));
        let checksum = (crc32c::crc32c(&body) as u16).to_le_bytes();
        body.extend_from_slice(&checksum);
        if let Ok(buckets) = read(&body, 0) {
            prop_assert!(buckets.len() <= BUCKETS_MAX);
        }
    }

    #[test]
    fn any_bytes_end_well(bytes: Vec<u8>) {
        prop_assert!(read(&bytes, 0).is_err() || bytes.len() > 4);
    }
}

#[test]
fn buckets_are_left_open() {
    let mut buckets = vec![];
    fold(&[0, 1, 300_000, 300_001], &[1.0, 2.0, 3.0, 4.0], 300_000, &mut buckets);
    let spans: Vec<(i64, i64)> = buckets.iter().map(|bucket| (bucket.first_ms, bucket.last_ms)).collect();
    assert_eq!(spans, [(0, 0), (1, 300_000), (300_001, 300_001)]);
}

#[test]
fn stale_markers_are_no_samples() {
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let mut buckets = vec![];
    fold(&[1, 2, 3, 300_001], &[stale, 5.0, stale, stale], 300_000, &mut buckets);
    assert_eq!(buckets.len(), 1);
    assert_eq!((buckets[0].first_ms, buckets[0].last_ms, buckets[0].aggregates.count), (2, 2, 1));
}

#[test]
fn a_steady_counter_takes_next_to_nothing() {
    let timestamps: Vec<i64> = (0..5760).map(|index| 1 + index * 15_000).collect();
    let values: Vec<f64> = (0..5760).map(|index| f64::from(index * 30)).collect();
    let mut buckets = vec![];
    fold(&timestamps, &values, 300_000, &mut buckets);
    assert_eq!(buckets.len(), 288);
    let bytes = record(0, &buckets);
    assert!(bytes.len() < 60, "{} bytes", bytes.len());
}

/// The bytes on disk are a promise: a change of the format needs a new version, not a new expectation here.
#[test]
fn the_format_is_what_it_was() {
    let timestamps: Vec<i64> = (0..80).map(|index| index * 15_000).collect();
    let values: Vec<f64> = (0..80).map(|index| f64::from(index % 50) / 10.0).collect();
    let mut buckets = vec![];
    fold(&timestamps, &values, 300_000, &mut buckets);
    let hex: String = record(0, &buckets).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "01050300b8ec3745987506028aa20054987526010802502601082100410628ba9b0049010100450a02600045080260004432010400030045310260004103800f00410260a588"
    );
}
