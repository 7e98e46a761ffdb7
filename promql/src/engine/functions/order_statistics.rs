//! Quantiles of plain values.

/// The `q`-quantile, interpolated between the two nearest values; sorts `values` (NaN first). NaN when there are none or `q`
/// is NaN, ±Inf for `q` outside of [0, 1].
pub fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|left, right| match (left.is_nan(), right.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => left.total_cmp(right),
    });
    let count = values.len() as f64;
    let rank = q * (count - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(count - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
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
}
