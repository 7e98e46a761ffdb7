//! The values that loads write: each follows from its place alone, so that what is read can be judged without the history.

/// The value of sample `number` of a series. Series take turns in four kinds, which take different ways through the codec:
/// counters, decimals, noise, repetition. `salt` tells series apart.
pub fn value_of(series: usize, salt: u64, number: u64) -> f64 {
    let noise = mix(number ^ salt);
    match series % 4 {
        0 => number as f64,
        1 => (noise % 1_000_000) as f64 / 100.0,
        2 => f64::from_bits(noise >> 2 | 0x3000_0000_0000_0000),
        _ => (number / 100) as f64,
    }
}

/// The finaliser of splitmix64: scatters the bits of its input.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
