//! Where Tern, which follows Prometheus 3, may answer other than Debian's Prometheus 2.42. Each rule knows the shape of its difference, so that
//! it excuses nothing else.

use super::answer::{Answer, near};

/// A difference that is right.
pub struct Rule {
    pub name: &'static str,
    pub reason: &'static str,
    applies: fn(query: &str, old: &Answer, new: &Answer) -> bool,
}

pub const RULES: [Rule; 5] = [
    Rule {
        name: "holt_winters",
        reason: "Prometheus 3 calls it double_exponential_smoothing and keeps it behind the switch for experimental functions",
        applies: |query, _, new| {
            query.contains("holt_winters(") && matches!(new, Answer::Error { message, .. } if message.contains("unknown function"))
        },
    },
    Rule {
        name: "atan2 drops names",
        reason: "Prometheus 2.42 forgot to remove the metric's name after atan2, as every other arithmetic operator does",
        applies: |query, old, new| query.contains("atan2") && old.without_names().agrees(new),
    },
    Rule {
        name: "spread of one infinity or NaN",
        reason: "Prometheus 2.42 says 0 for stddev and stdvar of a single sample whatever its value; Prometheus 3 says NaN when it is not finite",
        applies: |query, old, new| {
            let spread = query.starts_with("stddev") || query.starts_with("stdvar");
            spread && old.agrees_by(new, |old, new| near(old, new) || old == 0.0 && new.is_nan())
        },
    },
    Rule {
        name: "predict_linear over a fixed window",
        reason: "Prometheus 2.42 moves the window of a range with @ along with the steps of predict_linear; Prometheus 3 leaves it where @ says",
        applies: |query, old, new| {
            query.starts_with("predict_linear(") && query.contains("] @ ") && old.first_samples().agrees(&new.first_samples())
        },
    },
    Rule {
        name: "timestamp with @ and offset",
        reason: "Prometheus, 3.14 as well, forgets the offset of a selector with @ directly inside of timestamp, and so finds what is older than the lookback gone",
        applies: |query, old, new| {
            let long_ago = query.starts_with("timestamp(") && query.contains(" @ ") && query.ends_with(" offset 10m)");
            long_ago && matches!(old, Answer::Series { series, .. } if series.is_empty()) && new.series_count() > 0
        },
    },
];

/// The first rule that excuses a difference.
pub fn excuse(query: &str, old: &Answer, new: &Answer) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.applies)(query, old, new))
}
