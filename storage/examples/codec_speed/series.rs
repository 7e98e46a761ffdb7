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
            let rate = 10f64.powi(2 + number as i32 % 4);
            walk(count, || (rate * (1.0 + bell(random) * 0.25 + burst(random))).max(0.0) as i64, &mut level, 1.0, 1.0)
        }
        Class::CpuSeconds => {
            let mean = [1480.0, 3.0, 0.0, 12.0, 0.0, 1.0, 25.0, 0.0][number % 8];
            let spread = if mean > 1000.0 { 12.0 } else { mean / 3.0 };
            walk(count, || (mean + bell(random) * spread).round().max(0.0) as i64, &mut level, 1.0, 100.0)
        }
        Class::PageGauge => {
            let spread = [1.0, 8.0, 60.0, 500.0][number % 4];
            walk(count, || (bell(random) * spread * (0.5 + burst(random))).round() as i64, &mut level, 4096.0, 1.0)
        }
        Class::SmallGauge => (0..count).map(|_| random.random_range(0..4 + number as i64 * 3) as f64).collect(),
        Class::Decimal => (0..count).map(|_| (50.0 + bell(random) * 10.0).round() / 100.0).collect(),
        Class::ClockFloat => (0..count).map(|index| 1.7e9 + index as f64 * 15.0 + random.random_range(0..9000) as f64 / 1e6).collect(),
        Class::FullPrecision => (0..count).map(|_| random.random_range(0.2..0.7)).collect(),
    }
}

/// Nearly normal with variance 1.
fn bell(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// Usually near 0, sometimes a multiple.
fn burst(random: &mut StdRng) -> f64 {
    if random.random_bool(0.03) { random.random_range(0.5..6.0) } else { random.random::<f64>() * 0.1 }
}

fn walk(count: usize, mut step: impl FnMut() -> i64, level: &mut i64, scale: f64, divisor: f64) -> Vec<f64> {
    (0..count)
        .map(|_| {
            *level += step();
            *level as f64 * scale / divisor
        })
        .collect()
}
