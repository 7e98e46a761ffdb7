//! Quantiles of plain values.

use std::cmp::Ordering;

use super::window::Bounds;

/// The `q`-quantile, interpolated between the two nearest values (NaN is before all others); puts `values` into another order.
/// NaN when there are none or `q` is NaN, ±Inf for `q` outside of [0, 1].
pub fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if let Some(value) = without_values(q, values.len()) {
        return value;
    }
    let Rank { lower, upper, weight } = Rank::of(q, values.len());
    let (_, lower_value, above) = values.select_nth_unstable_by(lower, compare);
    let lower_value = *lower_value;
    let upper_value = if upper == lower { lower_value } else { above.iter().copied().min_by(compare).unwrap_or(lower_value) };
    lower_value * (1.0 - weight) + upper_value * weight
}

/// The quantile where it does not depend on values.
fn without_values(q: f64, count: usize) -> Option<f64> {
    if count == 0 || q.is_nan() {
        return Some(f64::NAN);
    }
    if q < 0.0 {
        return Some(f64::NEG_INFINITY);
    }
    (q > 1.0).then_some(f64::INFINITY)
}

/// Between which places of the sorted values a quantile lies, and how far it is from the lower one.
struct Rank {
    lower: usize,
    upper: usize,
    weight: f64,
}

impl Rank {
    fn of(q: f64, count: usize) -> Rank {
        let count = count as f64;
        let rank = q * (count - 1.0);
        let lower = rank.floor().max(0.0);
        let upper = (lower + 1.0).min(count - 1.0);
        Rank { lower: lower as usize, upper: upper as usize, weight: rank - rank.floor() }
    }
}

fn compare(left: &f64, right: &f64) -> Ordering {
    key(*left).cmp(&key(*right))
}

/// Integers in the order of the floats: NaN, then from -Inf to +Inf, -0 before 0.
#[inline]
fn key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    if value.is_nan() { i64::MIN } else { bits ^ (((bits >> 63) as u64) >> 1) as i64 }
}

fn value_of(key: i64) -> f64 {
    if key == i64::MIN { f64::NAN } else { f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64) }
}

/// The values of a window in order, while the window moves forward.
#[derive(Debug, Default)]
pub struct SortedWindow {
    window: Bounds,
    keys: Vec<i64>,
    entering: Vec<i64>,
    leaving: Vec<i64>,
    merged: Vec<i64>,
}

impl SortedWindow {
    /// Moves to `window`: one pass over the sorted values, and a sort of what enters and leaves.
    pub fn advance(&mut self, values: &[f64], window: Bounds) {
        let last = std::mem::replace(&mut self.window, window);
        let sorted = |list: &mut Vec<i64>, values: &[f64]| {
            list.clear();
            list.extend(values.iter().map(|value| key(*value)));
            list.sort_unstable();
        };
        sorted(&mut self.entering, &values[last.to.max(window.from)..window.to]);
        sorted(&mut self.leaving, &values[last.from..last.to.min(window.from)]);
        self.merged.clear();
        let (mut entering, mut leaving) = (self.entering.iter().copied().peekable(), self.leaving.iter().peekable());
        for key in self.keys.iter().copied() {
            if leaving.next_if(|gone| **gone == key).is_some() {
                continue;
            }
            while let Some(new) = entering.next_if(|new| *new < key) {
                self.merged.push(new);
            }
            self.merged.push(key);
        }
        self.merged.extend(entering);
        std::mem::swap(&mut self.keys, &mut self.merged);
    }

    pub fn quantile(&self, q: f64) -> f64 {
        without_values(q, self.keys.len()).unwrap_or_else(|| {
            let Rank { lower, upper, weight } = Rank::of(q, self.keys.len());
            value_of(self.keys[lower]) * (1.0 - weight) + value_of(self.keys[upper]) * weight
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_values() {
        assert_eq!(quantile_of(0.5, &mut [3.0, 1.0]), 2.0);
        assert_eq!(quantile_of(1.0, &mut [3.0, f64::NAN, 1.0]), 3.0);
        assert!(quantile_of(0.0, &mut [3.0, f64::NAN, 1.0]).is_nan());
        assert_eq!(quantile_of(-0.1, &mut [3.0]), f64::NEG_INFINITY);
    }

    #[test]
    fn a_moving_window_has_the_quantiles_of_its_values() {
        let values: Vec<f64> = (0..200u32).map(|at| if at % 17 == 0 { f64::NAN } else { f64::from(at * 37 % 23) - 11.0 }).collect();
        let mut sorted = SortedWindow::default();
        for (from, to) in [(0, 10), (3, 14), (3, 14), (14, 60), (70, 70), (90, 130), (91, 200)] {
            sorted.advance(&values, Bounds { from, to });
            for q in [0.0, 0.3, 0.5, 0.99, 1.0, 2.0] {
                let expected = quantile_of(q, &mut values[from..to].to_vec());
                let got = sorted.quantile(q);
                assert!(got == expected || (got.is_nan() && expected.is_nan()), "{from}..{to}, {q}: {got} {expected}");
            }
        }
    }
}
