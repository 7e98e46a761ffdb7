//! `label_replace` and `label_join`: functions of labels that do not look at samples.

use std::sync::Arc;

use super::super::column::Column;
use super::super::error::QueryError;
use super::super::plan::Text;
use crate::labels::METRIC_NAME;
use crate::regex::AnchoredRegex;

/// Where `label_replace` looks and what it writes.
pub struct LabelReplacement {
    pub target: Arc<str>,
    pub replacement: Arc<str>,
    pub source: Arc<str>,
    pub pattern: AnchoredRegex,
}

impl LabelReplacement {
    /// `pattern` must match the whole value of `source`; `replacement` may name its groups.
    pub fn new(target: &Text, replacement: &Text, source: &Text, pattern: &Text) -> Result<LabelReplacement, QueryError> {
        let (name, pattern) = (&target.value, &pattern.value);
        let regex = AnchoredRegex::new(pattern)
            .map_err(|_| QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
        if !target.is_label_name() {
            return Err(QueryError::execution(format!("invalid destination label name in label_replace(): {name}")));
        }
        let (replacement, source) = (replacement.value.clone(), source.value.clone());
        Ok(LabelReplacement { target: name.clone(), replacement, source, pattern: regex })
    }

    pub fn apply(&self, column: &mut Column) {
        if let Some(value) = self.pattern.replace(column.labels.get(&self.source), &self.replacement) {
            set(column, &self.target, value);
        }
    }
}

/// What `label_join` puts together.
pub struct LabelJoin {
    pub target: Arc<str>,
    pub separator: Arc<str>,
    pub sources: Vec<Arc<str>>,
}

impl LabelJoin {
    pub fn new(target: &Text, separator: &Text, sources: &[&Text]) -> Result<LabelJoin, QueryError> {
        if let Some(source) = sources.iter().find(|source| !source.is_label_name()) {
            return Err(QueryError::execution(format!("invalid source label name in label_join(): {}", source.value)));
        }
        if !target.is_label_name() {
            return Err(QueryError::execution(format!("invalid destination label name in label_join(): {}", target.value)));
        }
        let sources = sources.iter().map(|source| source.value.clone()).collect();
        Ok(LabelJoin { target: target.value.clone(), separator: separator.value.clone(), sources })
    }

    pub fn apply(&self, column: &mut Column) {
        let values: Vec<&str> = self.sources.iter().map(|source| column.labels.get(source)).collect();
        let value = values.join(&self.separator);
        set(column, &self.target, value);
    }
}

fn set(column: &mut Column, target: &Arc<str>, value: String) {
    column.labels = column.labels.with(target.clone(), value);
    if &**target == METRIC_NAME {
        // The name was just given; no function before shall take it away.
        column.drop_name = false;
    }
}
