//! Settings of reads that give out whole series: remote read, federation, export.

use std::time::Duration;

use promql::labels::{Label, Labels};

use super::layers::Layers;
use super::{ConfigError, value};

#[derive(Clone, Debug)]
pub struct BulkReadSettings {
    pub concurrency: usize,
    pub timeout: Duration,
    pub samples_max: usize,
    pub answer_bytes: usize,
    pub frame_bytes: usize,
    pub federate_series_max: usize,
    pub external_labels: Labels,
}

impl BulkReadSettings {
    pub fn read(layers: &Layers) -> Result<BulkReadSettings, ConfigError> {
        Ok(BulkReadSettings {
            concurrency: layers.read("bulk_read.concurrency", value::count_above_zero)?,
            timeout: layers.read("bulk_read.timeout", value::duration_above_zero)?,
            samples_max: layers.read("bulk_read.samples_max", value::count_above_zero)?,
            answer_bytes: layers.read("bulk_read.answer_bytes", value::size_above_zero)?,
            frame_bytes: layers.read("bulk_read.frame_bytes", value::size_above_zero)?,
            federate_series_max: layers.read("bulk_read.federate_series_max", value::count_above_zero)?,
            external_labels: layers.read("external_labels", external_labels)?,
        })
    }
}

/// `region=eu,replica=a`
fn external_labels(text: &str) -> Result<Labels, String> {
    let mut labels: Vec<Label> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let pair = part.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let (name, value) = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty()).ok_or("write NAME=VALUE,…")?;
        if name == promql::labels::METRIC_NAME {
            return Err("the metric name is no external label".to_string());
        }
        if labels.iter().any(|label| &*label.name == name) {
            return Err(format!("label {name:?} is given twice"));
        }
        labels.push(Label::new(name, value));
    }
    Ok(Labels::from_vec(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_labels_are_pairs() {
        assert_eq!(external_labels(""), Ok(Labels::empty()));
        assert_eq!(external_labels("replica=a, region=eu"), Ok(Labels::from_pairs([("region", "eu"), ("replica", "a")])));
        for wrong in ["region", "region=", "=eu", "a=1,a=2", "__name__=x"] {
            assert!(external_labels(wrong).is_err(), "{wrong}");
        }
    }
}
