//! Metric families of this node as protobuf's JSON form of `io.prometheus.client.MetricFamily`: 64-bit counts are texts,
//! numbers that JSON does not have too, and a histogram's infinite bucket is left out, as clients of Prometheus do.

use serde_json::{Value, json};

use crate::self_metrics::{Family, Figure, Figures};

pub fn family_json(family: &Family) -> Value {
    let metrics: Vec<Value> = family.series.iter().map(|figures| metric_json(family.kind, figures)).collect();
    json!({"name": family.name, "help": family.help, "type": family.kind.to_uppercase(), "metric": metrics})
}

fn metric_json(kind: &str, figures: &Figures) -> Value {
    let mut metric = match &figures.value {
        Figure::Number(value) => json!({kind: {"value": number_json(*value)}}),
        Figure::Histogram { buckets, sum } => {
            let count = buckets.last().map_or(0, |(_, cumulative)| *cumulative);
            let finite = buckets.iter().filter(|(bound, _)| bound.is_finite());
            let buckets: Vec<Value> =
                finite.map(|(bound, count)| json!({"cumulativeCount": count.to_string(), "upperBound": bound})).collect();
            json!({"histogram": {"sampleCount": count.to_string(), "sampleSum": number_json(*sum), "bucket": buckets}})
        }
    };
    let labels: Vec<Value> = label_pairs(&figures.labels).map(|(name, value)| json!({"name": name, "value": value})).collect();
    if !labels.is_empty() {
        metric["label"] = labels.into();
    }
    metric
}

fn number_json(value: f64) -> Value {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => value.into(),
    }
}

/// `a="x",b="y\"z"` → (a, x), (b, y"z).
fn label_pairs(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, tail) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = tail.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    rest = &tail[at + 1..];
                    return Some((name.trim_start_matches(','), value));
                }
                '\\' => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                plain => value.push(plain),
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_written() {
        let figures = |labels: &str, value| Figures { labels: labels.to_string(), value: Figure::Number(value) };
        let series = vec![figures("", 1.5), figures(r#"a="x",b="y\"\\z""#, f64::INFINITY)];
        let family = Family { name: "f_total".to_string(), kind: "counter", help: "Help.", series };
        let expected = json!({"name": "f_total", "help": "Help.", "type": "COUNTER", "metric": [
            {"counter": {"value": 1.5}},
            {"counter": {"value": "Infinity"}, "label": [{"name": "a", "value": "x"}, {"name": "b", "value": "y\"\\z"}]},
        ]});
        assert_eq!(family_json(&family), expected);
    }

    #[test]
    fn histograms_have_their_finite_buckets() {
        let value = Figure::Histogram { buckets: vec![(0.5, 1), (f64::INFINITY, 3)], sum: 7.25 };
        let series = vec![Figures { labels: String::new(), value }];
        let family = Family { name: "h".to_string(), kind: "histogram", help: "Help.", series };
        let histogram = json!({"sampleCount": "3", "sampleSum": 7.25, "bucket": [{"cumulativeCount": "1", "upperBound": 0.5}]});
        assert_eq!(family_json(&family)["metric"], json!([{"histogram": histogram}]));
    }
}
