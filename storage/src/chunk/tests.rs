//! Chunks against the plain columns they were encoded from, and against hostile bytes.

use proptest::prelude::*;

use super::*;

/// Values as metrics have them, one strategy for each kind of series.
fn realistic() -> impl Strategy<Value = Vec<f64>> {
    let length = 1usize..400;
    let steps = |range: std::ops::Range<i64>| prop::collection::vec(range, length.clone());
    let walk = |steps: Vec<i64>, scale: f64, divisor: f64| {
        let mut level = 0i64;
        let next = |step| {
            level += step;
            level as f64 * scale / divisor
        };
        steps.into_iter().map(next).collect::<Vec<f64>>()
    };
    prop_oneof![
        (any::<f64>(), length.clone()).prop_map(|(value, count)| vec![value; count]),
        steps(0..2000).prop_map(move |steps| walk(steps, 1.0, 100.0)),
        steps(0..3).prop_map(move |steps| walk(steps, 1.0, 1.0)),
        steps(-50..50).prop_map(move |steps| walk(steps, 4096.0, 1.0)),
        steps(-900..1000).prop_map(move |steps| walk(steps, 1.0, 1000.0)),
        steps(0..1000).prop_map(|parts| parts.into_iter().map(|part| part as f64 / 1013.0 * 100.0).collect()),
        steps(0..1000).prop_map(|parts| parts.into_iter().map(|part| f64::from(part as f32 / 7.0)).collect()),
        steps(0..1 << 40).prop_map(|micros| micros.into_iter().map(|micros| 1.7e9 + micros as f64 / 1e6).collect()),
        (steps(0..5000), any::<prop::sample::Index>()).prop_map(move |(steps, reset)| {
            let mut values = walk(steps, 1.0, 1.0);
            let reset = reset.index(values.len());
            let before = values[reset];
            values[reset..].iter_mut().for_each(|value| *value -= before);
            values
        }),
    ]
}

/// Anything at all: whole columns of bits, or realistic ones with a few values replaced.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let special = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        Just(f64::from_bits(STALE_MARKER_BITS)),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 2.0),
        Just(i64::MAX as f64),
        Just(i64::MIN as f64),
    ];
    let spoiled = (realistic(), prop::collection::vec((any::<prop::sample::Index>(), special.clone()), 0..6));
    prop_oneof![
        3 => realistic(),
        3 => spoiled.prop_map(|(mut values, spoils)| {
            for (place, value) in spoils {
                let place = place.index(values.len());
                values[place] = value;
            }
            values
        }),
        1 => prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..300),
        1 => prop::collection::vec(special, 1..300),
    ]
}

fn timestamps(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let regular = (0i64..1 << 41, 0i64..100_000)
        .prop_map(move |(first, interval)| (0..count as i64).map(|index| first + index * interval).collect::<Vec<_>>());
    let jittered = (0i64..1 << 41, prop::collection::vec(-20i64..20, count)).prop_map(|(first, jitters)| {
        jitters.into_iter().enumerate().map(|(index, jitter)| first + index as i64 * 15_000 + jitter).collect()
    });
    let sparse =
        (0i64..1 << 41, prop::collection::vec(prop_oneof![9 => Just(15_000i64), 1 => 0i64..1 << 30], count)).prop_map(|(first, steps)| {
            let mut last = first;
            steps
                .into_iter()
                .map(|step| {
                    last += step;
                    last
                })
                .collect()
        });
    let anything = prop::collection::vec(any::<i64>(), count).prop_map(|mut list| {
        list.sort_unstable();
        list
    });
    prop_oneof![regular, jittered, sparse, anything]
}

fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    values().prop_flat_map(|values| (timestamps(values.len()), Just(values)))
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn encoded(base_ms: i64, timestamps: &[i64], values: &[f64], hint: &mut Hint) -> Vec<u8> {
    let mut out = vec![];
    Encoder::new().encode(base_ms, timestamps, values, hint, &mut out);
    out
}

/// Decodes in every way there is; the outcome does not matter, panics do.
fn read_all(bytes: &[u8]) {
    if let Ok(view) = ChunkView::parse(bytes, 0) {
        let (mut timestamps, mut values) = (vec![], vec![]);
        let _ = view.decode_into(&mut timestamps, &mut values);
        let _ = view.decode_values_into(&mut values);
        let _ = view.aggregates(&mut values);
        assert!(timestamps.len() <= SAMPLES_MAX && values.len() <= 2 * SAMPLES_MAX);
    }
    if let Ok(view) = TimesView::parse(bytes, 0) {
        let _ = view.decode_into(&mut vec![]);
    }
}

fn body_of(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = checked(&bytes).unwrap().len();
    bytes.truncate(length);
    bytes
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    put_checksum(0, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn samples_come_back((timestamps, values) in samples(), base_ms in prop_oneof![Just(0i64), any::<i64>()], hint: u8) {
        let mut hint = Hint::from_byte(hint);
        for _ in 0..2 {
            let bytes = encoded(base_ms, &timestamps, &values, &mut hint);
            let view = ChunkView::parse(&bytes, base_ms).unwrap();
            let (mut read_timestamps, mut read_values) = (vec![5], vec![6.0]);
            view.decode_into(&mut read_timestamps, &mut read_values).unwrap();
            prop_assert_eq!(view.count(), values.len());
            let (first_ms, last_ms) = (timestamps[0], timestamps[timestamps.len() - 1]);
            prop_assert_eq!(view.times(), TimesPlace::Inline { first_ms, last_ms });
            prop_assert_eq!(&read_timestamps[1..], &timestamps[..]);
            prop_assert_eq!(bits(&read_values[1..]), bits(&values));
        }
    }

    #[test]
    fn shared_timestamps_come_back((timestamps, values) in samples(), id: u32) {
        let mut encoder = Encoder::new();
        let (mut chunk, mut block) = (vec![], vec![]);
        encoder.encode_shared(id, &values, &mut Hint::default(), &mut chunk);
        encoder.encode_times(1000, &timestamps, &mut block);
        let view = ChunkView::parse(&chunk, 0).unwrap();
        prop_assert_eq!(view.times(), TimesPlace::Shared(id));
        prop_assert!(view.decode_times_into(&mut vec![]).is_err());
        let mut read = vec![];
        view.decode_values_into(&mut read).unwrap();
        prop_assert_eq!(bits(&read), bits(&values));
        let times = TimesView::parse(&block, 1000).unwrap();
        let mut read = vec![];
        times.decode_into(&mut read).unwrap();
        prop_assert_eq!((times.count(), times.first_ms(), times.last_ms()), (read.len(), read[0], read[read.len() - 1]));
        prop_assert_eq!(read, timestamps);
    }

    #[test]
    fn truncated_input_is_refused((timestamps, values) in samples(), place: prop::sample::Index) {
        let bytes = encoded(0, &timestamps, &values, &mut Hint::default());
        let cut = &bytes[..place.index(bytes.len())];
        read_all(cut);
        read_all(&sealed(cut));
    }

    #[test]
    fn mutated_input_ends_well((timestamps, values) in samples(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut body = body_of(encoded(0, &timestamps, &values, &mut Hint::default()));
        for (place, byte) in edits {
            let place = place.index(body.len());
            body[place] = byte;
        }
        read_all(&sealed(&body));
    }

    #[test]
    fn any_bytes_end_well(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..4, count in 1u8..128) {
        read_all(&body);
        read_all(&sealed(&body));
        let mut framed = vec![kind << KIND_SHIFT, count];
        framed.extend_from_slice(&body);
        read_all(&sealed(&framed));
    }
}

/// A short checksum misses some damage, so this is no property of all chunks but of this one.
#[test]
fn a_flipped_bit_is_refused() {
    let timestamps: Vec<i64> = (0..120).map(|index| index * 15_000 + index % 7).collect();
    let values: Vec<f64> = (0..120).map(|index| f64::from(index * index % 101) / 10.0).collect();
    let bytes = encoded(0, &timestamps, &values, &mut Hint::default());
    for position in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[position / 8] ^= 1 << (position % 8);
        assert!(ChunkView::parse(&damaged, 0).is_err(), "bit {position}");
    }
}

fn values_bytes(values: &[f64]) -> usize {
    let mut out = vec![];
    Encoder::new().encode_shared(0, values, &mut Hint::default(), &mut out);
    out.len()
}

#[test]
fn typical_series_are_small() {
    let constant = vec![1.0; 480];
    let steady: Vec<f64> = (0..480).map(|index| f64::from(1000 + index * 15)).collect();
    let pages: Vec<f64> = (0..480).map(|index| f64::from((index * 7919) % 13) * 4096.0).collect();
    let mut stale = steady.clone();
    stale[479] = f64::from_bits(STALE_MARKER_BITS);
    assert!(values_bytes(&constant) <= 8, "{}", values_bytes(&constant));
    assert!(values_bytes(&steady) <= 14, "{}", values_bytes(&steady));
    assert!(values_bytes(&stale) <= 16, "{}", values_bytes(&stale));
    assert!(values_bytes(&pages) <= 480 / 2 + 20, "{}", values_bytes(&pages));
}

#[test]
fn a_large_chunk_comes_back() {
    let timestamps: Vec<i64> = (0..SAMPLES_MAX as i64).map(|index| index * 1000).collect();
    let values: Vec<f64> = timestamps.iter().map(|&timestamp| (timestamp % 7919) as f64 / 100.0).collect();
    let bytes = encoded(0, &timestamps, &values, &mut Hint::default());
    let (mut read_timestamps, mut read_values) = (vec![], vec![]);
    ChunkView::parse(&bytes, 0).unwrap().decode_into(&mut read_timestamps, &mut read_values).unwrap();
    assert_eq!(read_timestamps, timestamps);
    assert_eq!(read_values, values);
}

#[test]
fn a_newer_version_is_named() {
    let mut body = body_of(encoded(0, &[1], &[1.0], &mut Hint::default()));
    body[0] |= 1;
    assert!(matches!(ChunkView::parse(&sealed(&body), 0), Err(Error::Unsupported { what: "chunk version", .. })));
}

/// The bytes on disk are a promise: a change of the format needs a new version, not a new expectation here.
#[test]
fn the_format_is_what_it_was() {
    let values: Vec<f64> = (0..70).map(|index| f64::from(index * index % 17) / 4.0).collect();
    let regular: Vec<i64> = (0..70).map(|index| 1_000_000 + index * 15_000).collect();
    let late: Vec<i64> = regular.iter().map(|time| time + time % 7).collect();
    let with_patches: Vec<f64> = [1.0, 2.0, f64::from_bits(STALE_MARKER_BITS), 4.0, f64::NEG_INFINITY].into();
    let golden = [
        (
            encoded(0, &regular, &values, &mut Hint::default()),
            "044680897a0f0200451905c228f7961e8064065b2a4118e5ded20390cc604b2508a3dc5b7a0092196ca90461947b4b0f4032832d952000832d",
        ),
        (
            encoded(900_000, &late, &vec![1.5; 70], &mut Hint::default()),
            "0c46c29a0cf9953f99aeea010003093309d3dddddddddddddddd07005f000000000000f83f53",
        ),
        (encoded(0, &regular[..5], &with_patches, &mut Hint::default()), "040580897a0f20020502000000000000f0ff024102aa39"),
    ];
    for (bytes, expected) in golden {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
}
