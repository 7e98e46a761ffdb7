//! Doubles as decimal integers: `value = mantissa / 10^exponent`, exact to the last bit.
//!
//! Most metrics were decimals with few digits before they became doubles. Such a value is recovered from
//! its integer mantissa by one division, and that division is correctly rounded when mantissa and power are
//! exact doubles; multiplying with an inverse power would not be. Every function here checks its answer by
//! doing that division, so that what does not come back bit for bit (NaN, infinities, -0.0, doubles of full
//! precision) is answered with `None`. The idea is ALP's (Afroozeh et al., SIGMOD 2023).

/// The largest exponent in use: 10^22 is the last power of ten that is an exact double.
pub const EXPONENT_MAX: u8 = 22;

/// Mantissas of fractions stay below 2^51 in size. There the error of `value * 10^exponent` is below one
/// half, so that rounding finds the mantissa whenever there is one.
const MANTISSA_LIMIT: f64 = (1u64 << 51) as f64;

/// A double that is more steps away from a decimal is not near it.
const NEAR_STEPS: u64 = 1 << 12;

/// 1.5 * 2^52: adding it rounds a number below 2^51 to an integer, held in the lower bits of the sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

const POWERS: [f64; EXPONENT_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// 10 to the `exponent`. Larger exponents than [`EXPONENT_MAX`] count as that one.
#[inline]
pub fn power(exponent: u8) -> f64 {
    POWERS[usize::from(exponent.min(EXPONENT_MAX))]
}

/// The integer equal to `value`, if it is one.
#[inline]
pub fn integer(value: f64) -> Option<i64> {
    let mantissa = value as i64;
    ((mantissa as f64).to_bits() == value.to_bits()).then_some(mantissa)
}

/// The mantissa of `value` at an exponent given as its power of ten above 1.
#[inline]
pub fn mantissa(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    let mantissa = (scaled + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i64;
    let exact = scaled.abs() < MANTISSA_LIMIT && (mantissa as f64 / power).to_bits() == value.to_bits();
    exact.then_some(mantissa)
}

/// The mantissa nearest to `value`, and by how many steps between neighbouring doubles `value` is off. For sums of
/// decimals, which are decimals but for rounding. None when it is not near a small mantissa.
pub fn nearest(value: f64, power: f64) -> Option<(i64, i64)> {
    let scaled = value * power;
    if scaled.is_nan() || scaled.abs() >= MANTISSA_LIMIT {
        return None;
    }
    let mantissa = (scaled + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i64;
    let steps = ordered(value.to_bits()).wrapping_sub(ordered((mantissa as f64 / power).to_bits()));
    (steps.unsigned_abs() < NEAR_STEPS).then_some((mantissa, steps))
}

/// The inverse of [`nearest`], and whatever comes of it for other input.
pub fn from_nearest(mantissa: i64, power: f64, steps: i64) -> f64 {
    f64::from_bits(unordered(ordered((mantissa as f64 / power).to_bits()).wrapping_add(steps)))
}

/// The bits of a double as an integer of the same order: negative doubles count downward.
#[inline(always)]
pub fn ordered(bits: u64) -> i64 {
    let sign = (bits as i64 >> 63) as u64;
    (bits ^ (sign >> 1)) as i64
}

/// The inverse of [`ordered`].
#[inline(always)]
pub fn unordered(number: i64) -> u64 {
    let sign = (number >> 63) as u64;
    number as u64 ^ (sign >> 1)
}

/// The integer below 2^51 in size as a double. Unlike a cast it compiles to vector instructions everywhere.
#[inline(always)]
pub fn small_to_double(integer: i64) -> f64 {
    f64::from_bits((integer as u64).wrapping_add(ROUNDER.to_bits())) - ROUNDER
}

/// The smallest exponent at which `value` is exact, with its mantissa.
pub fn smallest(value: f64) -> Option<(u8, i64)> {
    if let Some(mantissa) = integer(value) {
        return Some((0, mantissa));
    }
    // Exact at one exponent is exact at every larger one that keeps the mantissa small. So one test at
    // the largest decides, and the trailing zeros of its mantissa lead to the smallest.
    let largest = exponent_limit(value)?;
    let found = mantissa(value, power(largest))?;
    Some(strip_zeros(largest, found))
}

/// The largest exponent that keeps the mantissa of `value` below the limit.
fn exponent_limit(value: f64) -> Option<u8> {
    let binary_exponent = ((value.to_bits() >> 52) & 0x7ff) as i32 - 1022;
    let decimal_digits = ((51 - binary_exponent) * 1233) >> 12;
    (decimal_digits > 0 && value.is_finite()).then_some(decimal_digits.min(i32::from(EXPONENT_MAX)) as u8)
}

fn strip_zeros(mut exponent: u8, mut mantissa: i64) -> (u8, i64) {
    for (digits, power) in [(8, 100_000_000), (4, 10_000), (2, 100), (1, 10)] {
        while exponent >= digits && mantissa % power == 0 {
            mantissa /= power;
            exponent -= digits;
        }
    }
    (exponent, mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimals_are_found_at_their_smallest_exponent(mantissa in -(1i64 << 50)..1 << 50, shift in 0u32..50, exponent in 0u8..=15) {
            let mantissa = mantissa >> shift;
            let value = mantissa as f64 / power(exponent);
            let (found, found_mantissa) = smallest(value).unwrap();
            prop_assert!(found <= exponent, "{value}: {found} {found_mantissa}");
            prop_assert_eq!((found_mantissa as f64 / power(found)).to_bits(), value.to_bits());
            prop_assert!(found == 0 || found_mantissa % 10 != 0);
        }

        #[test]
        fn near_decimals_come_back(mantissa in -(1i64 << 50)..1 << 50, shift in 0u32..50, exponent in 0u8..=15, steps in -100i64..100) {
            let power = power(exponent);
            let value = from_nearest(mantissa >> shift, power, steps);
            if let Some((found, steps)) = nearest(value, power) {
                prop_assert_eq!(from_nearest(found, power, steps).to_bits(), value.to_bits());
            }
        }

        #[test]
        fn what_is_found_is_exact(bits: u64) {
            let value = f64::from_bits(bits);
            if let Some((exponent, mantissa)) = smallest(value) {
                prop_assert_eq!((mantissa as f64 / power(exponent)).to_bits(), bits);
            }
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1.0 / 3.0, f64::MIN_POSITIVE, 5e-324, f64::MAX] {
            assert_eq!(smallest(value), None, "{value}");
        }
        assert_eq!(smallest(0.0), Some((0, 0)));
        assert_eq!(smallest(-2.5), Some((1, -25)));
        assert_eq!(smallest(1_700_000_000.123456), Some((6, 1_700_000_000_123_456)));
        assert_eq!(smallest(1e18), Some((0, 1_000_000_000_000_000_000)));
    }
}
