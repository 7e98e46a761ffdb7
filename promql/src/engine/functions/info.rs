//! `info`: adding the labels of info series (`target_info` and the like) to the series they describe.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::super::budget::Budget;
use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::grid::Grid;
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};

/// The labels by which an info series finds the series it describes.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];
const TARGET_INFO: &str = "target_info";

/// What a call of `info` looks for.
pub struct InfoQuery {
    /// Which info metrics.
    name_matchers: Vec<Matcher>,
    /// Which of their labels; all when empty.
    label_matchers: Vec<Matcher>,
}

impl InfoQuery {
    /// From the matchers of the second argument. Without one for the name, it is `target_info`; with negative ones only,
    /// every metric whose name ends in `_info` that they let pass.
    pub fn new(matchers: &[Matcher]) -> Result<InfoQuery, QueryError> {
        let (mut name_matchers, label_matchers): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(|matcher| &*matcher.name == METRIC_NAME);
        if name_matchers.is_empty() {
            name_matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !name_matchers.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)) {
            name_matchers.insert(0, regex_matcher(METRIC_NAME, ".+_info")?);
        }
        Ok(InfoQuery { name_matchers, label_matchers })
    }

    /// Info series themselves stay as they are.
    fn is_info_series(&self, labels: &Labels) -> bool {
        self.name_matchers.iter().all(|matcher| matcher.matches(labels.metric_name()))
    }

    /// The matchers that select the info series of `base`. None: no series of it has an identifying label.
    pub fn selection(&self, base: &[Column]) -> Result<Option<Vec<Matcher>>, QueryError> {
        let mut matchers = Vec::new();
        for name in IDENTIFYING_LABELS {
            let enriched = base.iter().filter(|column| !self.is_info_series(&column.labels));
            let values: BTreeSet<&str> = enriched.map(|column| column.labels.get(name)).filter(|value| !value.is_empty()).collect();
            if !values.is_empty() {
                let pattern = values.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
                matchers.push(regex_matcher(name, &pattern)?);
            }
        }
        if matchers.is_empty() {
            return Ok(None);
        }
        matchers.extend(self.label_matchers.iter().chain(&self.name_matchers).cloned());
        Ok(Some(matchers))
    }

    /// The series of `base` with the labels of their info series. In `infos` each value is the time of the sample that holds
    /// at the step: of two info series for the same series the newer one counts.
    pub fn combine(&self, base: &[Column], infos: &[Column], grid: &Grid, budget: &Budget) -> Result<Vec<Column>, QueryError> {
        let (mut ticker, mut charge) = (budget.ticker(), budget.charge());
        let infos_by_target = group_by_target(infos);
        let mut combined = Vec::new();
        let no_labels_demanded = self.label_matchers.iter().all(|matcher| matcher.matches(""));
        for step in 0..grid.steps {
            ticker.tick(base.len() + infos.len())?;
            self.check_conflicts(&infos_by_target, infos, base, step)?;
        }
        for column in base {
            ticker.tick(grid.steps)?;
            charge.add_bytes(column.bytes())?;
            if self.is_info_series(&column.labels) {
                combined.push(column.clone());
                continue;
            }
            let candidates = infos_by_target.get(&target_of(&column.labels));
            // Which info series hold may change from step to step, and with them the labels of the result.
            let mut results: Vec<Column> = Vec::new();
            for step in (0..grid.steps).filter(|step| column.is_present(*step)) {
                let holding = candidates.map_or_else(Vec::new, |by_name| newest_of_each_name(by_name, infos, step));
                if holding.is_empty() && !no_labels_demanded {
                    continue;
                }
                let labels = self.enriched(&column.labels, &holding)?;
                let at = results.iter().position(|result| result.labels == labels).unwrap_or_else(|| {
                    results.push(Column { drop_name: column.drop_name, ..Column::empty(labels, grid.steps) });
                    results.len() - 1
                });
                results[at].set(step, column.value(step));
            }
            combined.append(&mut results);
        }
        Ok(combined)
    }

    fn enriched(&self, labels: &Labels, infos: &[&Labels]) -> Result<Labels, QueryError> {
        let mut added = LabelsBuilder::new();
        for label in infos.iter().flat_map(|info| info.iter()).filter(|label| &*label.name != METRIC_NAME) {
            let wanted = self.label_matchers.is_empty() || self.label_matchers.iter().any(|matcher| matcher.name == label.name);
            if !wanted {
                continue;
            }
            let known = added.get(&label.name);
            if !known.is_empty() && known != &*label.value {
                return Err(QueryError::execution(format!("conflicting label: {}", label.name)));
            }
            if !labels.has(&label.name) {
                added.set(label.name.clone(), label.value.clone());
            }
        }
        let mut builder = LabelsBuilder::from_labels(labels);
        for label in &added.build() {
            builder.set(label.name.clone(), label.value.clone());
        }
        Ok(builder.build())
    }

    /// Two info series of the same name for the same target, with samples of the same time.
    fn check_conflicts(&self, by_target: &InfosByTarget, infos: &[Column], base: &[Column], step: usize) -> Result<(), QueryError> {
        if !base.iter().any(|column| column.is_present(step)) {
            return Ok(());
        }
        for same in by_target.values().flat_map(BTreeMap::values) {
            let mut newest: Option<&Column> = None;
            for info in same.iter().map(|at| &infos[*at]).filter(|info| !is_absent(info.floats[step])) {
                let time = info.floats[step];
                match newest {
                    Some(existing) if existing.floats[step] == time => {
                        let (existing, new) = (&existing.labels, &info.labels);
                        return Err(QueryError::execution(format!(
                            "found duplicate series for info metric: existing {existing} @ {time}, new {new} @ {time}"
                        )));
                    }
                    Some(existing) if existing.floats[step] > time => {}
                    _ => newest = Some(info),
                }
            }
        }
        Ok(())
    }
}

/// Positions of info series, by the values of the identifying labels and then by metric name.
type InfosByTarget = HashMap<[Arc<str>; 2], BTreeMap<Arc<str>, Vec<usize>>>;

fn target_of(labels: &Labels) -> [Arc<str>; 2] {
    IDENTIFYING_LABELS.map(|name| labels.get_shared(name).cloned().unwrap_or_default())
}

fn group_by_target(infos: &[Column]) -> InfosByTarget {
    let mut groups = InfosByTarget::new();
    for (at, info) in infos.iter().enumerate() {
        let name = info.labels.get_shared(METRIC_NAME).cloned().unwrap_or_default();
        groups.entry(target_of(&info.labels)).or_default().entry(name).or_default().push(at);
    }
    groups
}

fn newest_of_each_name<'a>(by_name: &BTreeMap<Arc<str>, Vec<usize>>, infos: &'a [Column], step: usize) -> Vec<&'a Labels> {
    let newest = |same: &Vec<usize>| {
        let present = same.iter().map(|at| &infos[*at]).filter(|info| !is_absent(info.floats[step]));
        present.max_by(|left, right| left.floats[step].total_cmp(&right.floats[step])).map(|info| &info.labels)
    };
    by_name.values().filter_map(newest).collect()
}

fn regex_matcher(name: &str, pattern: &str) -> Result<Matcher, QueryError> {
    Matcher::new(MatchOp::Regex, name, pattern).map_err(|error| QueryError::execution(error.to_string()))
}
