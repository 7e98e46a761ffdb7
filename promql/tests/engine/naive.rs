//! The slow way: one instant query for every step, and functions of ranges straight from their definitions.

use promql::engine::{Engine, EngineOptions, QueryOptions};
use promql::memory_source::MemorySource;
use promql::sample::is_stale;
use promql::value::{Series, Value};
use promql::{ParserOptions, parse};

use crate::random::Samples;

pub fn engine(threads_max: usize, delayed_name_removal: bool) -> Engine {
    Engine::new(EngineOptions { delayed_name_removal, threads_max, ..EngineOptions::default() })
}

/// Series with the bits of their values, sorted; or the error.
pub type Answer = Result<Vec<(String, Vec<(i64, u64)>)>, String>;

pub fn bits(series: &[Series]) -> Vec<(String, Vec<(i64, u64)>)> {
    series
        .iter()
        .map(|series| (series.labels.to_string(), series.floats.iter().map(|(time, value)| (*time, canonical(*value))).collect()))
        .collect()
}

/// All NaN are one: which operand's NaN an addition hands on is nobody's promise.
pub fn canonical(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

pub fn range(engine: &Engine, source: &MemorySource, query: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Answer {
    let expr = parse(query, ParserOptions::experimental()).map_err(|error| error.to_string())?;
    let output = engine.range(source, &expr, start_ms, end_ms, step_ms, &QueryOptions::default()).map_err(|error| error.to_string())?;
    match output.value {
        Value::Matrix(series) => Ok(bits(&series)),
        other => Err(format!("not a matrix: {other:?}")),
    }
}

/// The same from instant queries.
pub fn step_by_step(engine: &Engine, source: &MemorySource, query: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Answer {
    let expr = parse(query, ParserOptions::experimental()).map_err(|error| error.to_string())?;
    let mut series = std::collections::BTreeMap::<promql::labels::Labels, Vec<(i64, u64)>>::new();
    let mut time_ms = start_ms;
    while time_ms <= end_ms {
        let output = engine.instant(source, &expr, time_ms, &QueryOptions::default()).map_err(|error| error.to_string())?;
        let Value::Vector(samples) = output.value else { return Err("not a vector".to_owned()) };
        for sample in samples {
            let value = sample.value.float().ok_or("a histogram out of floats")?;
            series.entry(sample.labels).or_default().push((time_ms, canonical(value)));
        }
        time_ms += step_ms;
    }
    Ok(series.into_iter().map(|(labels, values)| (labels.to_string(), values)).collect())
}

/// A function of the samples after `start_ms` up to `end_ms`, from its definition. None: it has no value there.
pub fn over_window(function: &str, samples: &Samples, start_ms: i64, end_ms: i64) -> Option<f64> {
    let mut time_ms = 0;
    let absolute = samples.iter().map(|(distance_ms, value)| {
        time_ms += distance_ms;
        (time_ms, *value)
    });
    let window: Samples = absolute.filter(|(time, value)| *time > start_ms && *time <= end_ms && !is_stale(*value)).collect();
    let (first, last) = (window.first()?, window.last()?);
    match function {
        "count_over_time" => Some(window.len() as f64),
        "last_over_time" => Some(last.1),
        "first_over_time" => Some(first.1),
        "max_over_time" => Some(extreme(&window, |value, best| value > best)),
        "min_over_time" => Some(extreme(&window, |value, best| value < best)),
        "sum_over_time" => Some(compensated(&window)),
        "avg_over_time" => Some(mean(&window)),
        "changes" => Some(pairs(&window, |before, after| before != after && !(before.is_nan() && after.is_nan()))),
        "resets" => Some(pairs(&window, |before, after| after < before)),
        "quantile_over_time" => Some(quantile(0.3, &window)),
        "rate" => extrapolated(&window, start_ms, end_ms, true).map(|value| value.0 * (value.1 / seconds(end_ms - start_ms))),
        "increase" => extrapolated(&window, start_ms, end_ms, true).map(|value| value.0 * value.1),
        "delta" => extrapolated(&window, start_ms, end_ms, false).map(|value| value.0 * value.1),
        other => unreachable!("{other} has no model"),
    }
}

/// Neumaier's sum. Infinite sums have no compensation.
fn neumaier(window: &Samples) -> (f64, f64) {
    window.iter().fold((0.0, 0.0), |(sum, lost), (_, value)| neumaier_step(*value, sum, lost))
}

fn compensated(window: &Samples) -> f64 {
    let (sum, lost) = neumaier(window);
    if sum.is_infinite() { sum } else { sum + lost }
}

/// By the sum; where that runs over, by a running mean with compensation.
fn mean(window: &Samples) -> f64 {
    let (mut sum, mut lost) = (window[0].1, 0.0f64);
    let mut running = false;
    let mut count = 1.0;
    for (_, value) in &window[1..] {
        count += 1.0;
        if !running {
            let (total, more) = neumaier_step(*value, sum, lost);
            if total.is_finite() || total.is_nan() {
                (sum, lost) = (total, more);
                continue;
            }
            running = true;
            sum /= count - 1.0;
            lost /= count - 1.0;
        }
        let share = (count - 1.0) / count;
        (sum, lost) = neumaier_step(value / count, share * sum, share * lost);
    }
    if running { sum + lost } else { sum / count + lost / count }
}

fn neumaier_step(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let more = if sum.abs() >= value.abs() { (sum - total) + value } else { (value - total) + sum };
    (total, lost + more)
}

fn pairs(window: &Samples, counts: impl Fn(f64, f64) -> bool) -> f64 {
    window.windows(2).filter(|pair| counts(pair[0].1, pair[1].1)).count() as f64
}

fn quantile(q: f64, window: &Samples) -> f64 {
    let mut values: Vec<f64> = window.iter().map(|(_, value)| *value).collect();
    values.sort_by(|left, right| right.is_nan().cmp(&left.is_nan()).then(left.total_cmp(right)));
    let rank = q * (values.len() - 1) as f64;
    let upper = (rank.floor() as usize + 1).min(values.len() - 1);
    values[rank.floor() as usize] * (1.0 - rank.fract()) + values[upper] * rank.fract()
}

fn seconds(millis: i64) -> f64 {
    (millis / 1000) as f64 + (millis % 1000 * 1_000_000) as f64 / 1e9
}

fn extreme(window: &Samples, is_beyond: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = window[0].1;
    for (_, value) in window {
        if is_beyond(*value, best) || best.is_nan() {
            best = *value;
        }
    }
    best
}

/// The difference between last and first sample, resets mended, and the factor that extrapolates it to the whole range.
fn extrapolated(window: &Samples, start_ms: i64, end_ms: i64, counter: bool) -> Option<(f64, f64)> {
    if window.len() < 2 {
        return None;
    }
    let (first, last) = (window[0], window[window.len() - 1]);
    let mut difference = last.1 - first.1;
    if counter {
        for pair in window.windows(2).filter(|pair| pair[1].1 < pair[0].1) {
            difference += pair[0].1;
        }
    }
    let sampled = (last.0 - first.0) as f64 / 1000.0;
    let average = sampled / (window.len() - 1) as f64;
    let near = average * 1.1;
    let mut to_start = (first.0 - start_ms) as f64 / 1000.0;
    let mut to_end = (end_ms - last.0) as f64 / 1000.0;
    if to_start >= near {
        to_start = average / 2.0;
    }
    if counter && difference > 0.0 && first.1 >= 0.0 {
        let to_zero = sampled * (first.1 / difference);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= near {
        to_end = average / 2.0;
    }
    Some((difference, (sampled + to_start + to_end) / sampled))
}
