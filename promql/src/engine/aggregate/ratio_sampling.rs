//! Which series `limit_ratio` keeps: the same ones every time, and the complement for the negative ratio.

use xxhash_rust::xxh64::xxh64;

use crate::labels::Labels;

/// Whether a series belongs to the share `ratio` (-1 to 1). The decision depends on a hash of its labels only, the one
/// that Prometheus uses, so that both keep the same series.
pub fn is_sampled(labels: &Labels, ratio: f64) -> bool {
    let offset = hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// XXH64 over all names and values, each after its length (one byte, or 255 and three).
fn hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for text in labels.iter().flat_map(|label| [&label.name, &label.value]) {
        match u8::try_from(text.len()) {
            Ok(length) if length < 255 => bytes.push(length),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_complement_share_no_series() {
        let series: Vec<Labels> = (0..1000).map(|number| Labels::from_pairs([("n", number.to_string())])).collect();
        let kept = series.iter().filter(|labels| is_sampled(labels, 0.3)).count();
        assert!((250..350).contains(&kept), "{kept}");
        assert!(series.iter().all(|labels| is_sampled(labels, 0.3) != is_sampled(labels, -0.7)));
    }
}
