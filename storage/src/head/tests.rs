//! The head alone: order, lateness, conflicts, generations.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn columns(samples: &[(u32, i64, f64)]) -> Columns {
    Columns {
        targets: samples.iter().map(|sample| sample.0).collect(),
        timestamps: samples.iter().map(|sample| sample.1).collect(),
        values: samples.iter().map(|sample| sample.2).collect(),
        histograms: Vec::new(),
    }
}

fn merged(timestamps: &[i64], values: &[f64]) -> BTreeMap<i64, u64> {
    timestamps.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Append { samples: Vec<(u32, i64, u8)>, policy: ConflictPolicy },
    Delete { series: Vec<u32>, start: i64, length: i64 },
    Freeze,
    Release,
}

fn time_of_deletion() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..60i64, 1 => Just(i64::MIN)]
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![8 => 0..60i64, 1 => Just(i64::MAX - 1), 1 => Just(-(1i64 << 40))];
    let samples = prop::collection::vec((prop_oneof![0..4u32, 4094..4099u32], time, 0..3u8), 1..40);
    let policy = prop_oneof![Just(ConflictPolicy::LastWriteWins), Just(ConflictPolicy::Reject)];
    prop_oneof![
        6 => (samples, policy).prop_map(|(samples, policy)| Step::Append { samples, policy }),
        1 => (prop::collection::vec(prop_oneof![0..4u32, 4094..4099u32], 1..4), time_of_deletion(), 0..40i64)
            .prop_map(|(series, start, length)| Step::Delete { series, start, length }),
        2 => Just(Step::Freeze),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..30)) {
        const SERIES: u32 = 4098;
        let head = Head::default();
        head.reserve(SERIES);
        let mut model: BTreeMap<(u32, i64), u64> = BTreeMap::new();
        // With the seal that wrote it.
        let disk: RefCell<BTreeMap<(u32, i64), (u64, u64)>> = RefCell::default();
        let mut tombstones = Tombstones::default();
        let mut frozen: Vec<FrozenHead> = Vec::new();
        let mut seal = 0;
        for step in steps {
            match step {
                Step::Append { samples, policy } => {
                    let samples: Vec<_> = samples.iter().map(|&(s, t, v)| (s, t, f64::from(v))).collect();
                    let sealed = |series: u32, time: i64| Ok(disk.borrow().get(&(series, time)).filter(|it| !tombstones.hides(series, time, it.1)).map(|it| it.0));
                    let tally = head.append(&columns(&samples), SERIES, policy, &sealed, &tombstones, &mut Vec::new()).unwrap();
                    let mut conflicts = 0;
                    for (series, time, value) in samples {
                        match model.get(&(series, time)) {
                            _ if series >= SERIES => {}
                            Some(old) if *old != value.to_bits() && policy == ConflictPolicy::Reject => conflicts += 1,
                            _ => { model.insert((series, time), value.to_bits()); }
                        }
                    }
                    prop_assert_eq!(tally.conflicts, conflicts);
                }
                Step::Delete { series, start, length } => {
                    let end = if start == i64::MIN { i64::MAX } else { start + length };
                    let mut set = SeriesSet::default();
                    series.iter().for_each(|&id| set.insert(id));
                    tombstones.add(set.clone(), start, end, seal);
                    head.remove(&set, start, end);
                    model.retain(|(id, time), _| !set.contains(*id) || !(start..=end).contains(time));
                }
                Step::Freeze => {
                    seal += 1;
                    frozen.extend(head.freeze(seal));
                }
                Step::Release if !frozen.is_empty() => {
                    let oldest = frozen.remove(0);
                    for series in 0..SERIES {
                        let mut samples = HeadSamples::default();
                        oldest.read(series, &tombstones.of_series(series), &mut samples);
                        let samples = merged(&samples.timestamps, &samples.values).into_iter();
                        disk.borrow_mut().extend(samples.map(|(time, bits)| ((series, time), (bits, oldest.seal))));
                    }
                    head.release(oldest.seal);
                }
                Step::Release => {}
            }
        }
        for series in (0..4).chain(4094..SERIES) {
            let mut samples = HeadSamples::default();
            head.read(series, 10, 50, &mut samples);
            let HeadSamples { timestamps, values, parts, .. } = &mut samples;
            tombstones.of_series(series).cut_parts(parts, timestamps, values);
            let on_disk = disk.borrow();
            let range = (series, 10)..=(series, 50);
            let mut all: BTreeMap<i64, u64> = on_disk.range(range.clone()).filter(|((_, t), it)| !tombstones.hides(series, *t, it.1)).map(|((_, t), it)| (*t, it.0)).collect();
            all.extend(merged(timestamps, values));
            let expected: BTreeMap<i64, u64> = model.range(range).map(|((_, t), v)| (*t, *v)).collect();
            prop_assert_eq!(all, expected);
        }
    }
}

#[test]
fn a_series_becomes_active_once_a_day() {
    let head = Head::default();
    head.reserve(2);
    let day = crate::index::DAY_MS;
    let mut marks = Vec::new();
    let samples = [(0, 5, 1.0), (0, 6, 1.0), (1, day + 1, 1.0), (0, day + 2, 1.0), (0, day + 3, 1.0), (1, 7, 1.0), (0, -1, 2.0)];
    head.append(&columns(&samples), 2, ConflictPolicy::LastWriteWins, &|_, _| Ok(None), &Tombstones::default(), &mut marks).unwrap();
    assert_eq!(marks, [(0, 0), (1, 1), (1, 0), (0, 1), (-1, 0)]);
    let mut first = SeriesSet::default();
    first.insert(0);
    head.remove(&first, i64::MIN, i64::MAX);
    marks.clear();
    head.append(&columns(&[(0, 6, 1.0), (1, 8, 1.0)]), 2, ConflictPolicy::Reject, &|_, _| Ok(None), &Tombstones::default(), &mut marks)
        .unwrap();
    assert_eq!(marks, [(0, 0), (0, 1)]);
    assert_eq!(head.open_samples(), 4);
}

#[test]
fn the_extent_is_that_of_everything_not_released() {
    let head = Head::default();
    assert_eq!(head.extent(), HeadExtent::default());
    head.reserve(3);
    let append = |samples: &[(u32, i64, f64)]| {
        head.append(&columns(samples), 3, ConflictPolicy::LastWriteWins, &|_, _| Ok(None), &Tombstones::default(), &mut Vec::new())
            .unwrap();
    };
    append(&[(0, 50, 1.0), (0, 60, 1.0), (1, 55, 1.0), (0, 40, 1.0)]);
    assert_eq!(head.extent(), HeadExtent { pieces: 2, range_ms: Some((40, 60)) });
    head.freeze(1);
    append(&[(0, 70, 1.0)]);
    assert_eq!(head.extent(), HeadExtent { pieces: 3, range_ms: Some((40, 70)) });
    head.release(1);
    assert_eq!(head.extent(), HeadExtent { pieces: 1, range_ms: Some((70, 70)) });
}
