//! Series as a node_exporter on a fairly idle machine has them: 722, most of them constant.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A kind of series, with how many of the 722 are of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Constant,
    SlowCounter,
    FastCounter,
    CpuSeconds,
    PageGauge,
    SmallGauge,
    Decimal,
    ClockFloat,
    FullPrecision,
}

pub const CLASSES: [(Class, usize); 9] = [
    (Class::Constant, 530),
    (Class::SlowCounter, 70),
    (Class::FastCounter, 26),
    (Class::CpuSeconds, 32),
    (Class::PageGauge, 34),
    (Class::SmallGauge, 20),
    (Class::Decimal, 4),
    (Class::ClockFloat, 3),
    (Class::FullPrecision, 3),
];

/// `count` values of every series, class by class.
pub fn generate(count: usize) -> Vec<(Class, Vec<f64>)> {
    let mut random = StdRng::seed_from_u64(722);
    let mut all = Vec::new();
    for (class, series) in CLASSES {
        for number in 0..series {
            all.push((class, values(class, number, count, &mut random)));
        }
    }
    all
}

fn values(class: Class, number: usize, count: usize, random: &mut StdRng) -> Vec<f64> {
    let constants = [0.0, 0.0, 0.0, 1.0, 1.0, 65535.0, 4096.0, 8_254_390_272.0, 1_690_412_001.0, 2.5];
    let mut level = random.random_range(0i64..1_000_000);
    match class {
        Class::Constant => vec![constants[number % constants.len()]; count],
        Class::SlowCounter => {
            let rate = [0.003, 0.02, 0.1, 0.5][number % 4];
            walk(count, || if random.random_bool(rate) { random.random_range(1..4) } else { 0 }, &mut level, 1.0, 1.0)
        }
        Class::FastCounter => {
            let rate = 10i64.pow(2 + number as u32 % 4);
            walk(count, || rate + random.random_range(-rate / 4..=rate / 2), &mut level, 1.0, 1.0)
        }
        Class::CpuSeconds => {
            let mean = [1480, 3, 0, 12, 0, 1, 25, 0][number % 8];
            walk(count, || if mean == 0 { 0 } else { (mean + random.random_range(-1 - mean / 40..=2)).max(0) }, &mut level, 1.0, 100.0)
        }
        Class::PageGauge => {
            let spread = [1i64, 8, 60, 500][number % 4];
            walk(count, || random.random_range(-spread..=spread), &mut level, 4096.0, 1.0)
        }
        Class::SmallGauge => (0..count).map(|_| random.random_range(0..4 + number as i64 * 3) as f64).collect(),
        Class::Decimal => (0..count).map(|_| random.random_range(10..90) as f64 / 100.0).collect(),
        Class::ClockFloat => (0..count).map(|index| 1.7e9 + index as f64 * 15.0 + random.random_range(0..9000) as f64 / 1e6).collect(),
        Class::FullPrecision => (0..count).map(|_| random.random_range(0.2..0.7)).collect(),
    }
}

fn walk(count: usize, mut step: impl FnMut() -> i64, level: &mut i64, scale: f64, divisor: f64) -> Vec<f64> {
    (0..count)
        .map(|_| {
            *level += step();
            *level as f64 * scale / divisor
        })
        .collect()
}
