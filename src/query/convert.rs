//! The language's matchers, labels and pieces of queries, the disk's, and the wire's, one as the other.

use std::sync::Arc;

use promql::ParserOptions;
use promql::labels::{Label, Labels};
use promql::matcher as language;
use promql::source::SourceError;
use promql::subplan::{QueryText, SUBPLAN_VERSION, Subplan};
use proto::query as wire;
use storage::{MatchOp, Matcher, SeriesLabels};

use super::conditions::Conditions;

pub fn matchers_to_disk(matchers: &[language::Matcher]) -> Result<Vec<Matcher>, SourceError> {
    matchers.iter().map(|matcher| disk_matcher(&matcher.name, disk_operator(matcher.op), &matcher.value)).collect()
}

pub fn matchers_from_wire(matchers: &[wire::Matcher]) -> Result<Vec<Matcher>, SourceError> {
    matchers
        .iter()
        .map(|matcher| {
            let op = match matcher.operator() {
                wire::MatchOperator::Equal => MatchOp::Eq,
                wire::MatchOperator::NotEqual => MatchOp::Ne,
                wire::MatchOperator::Regex => MatchOp::Re,
                wire::MatchOperator::NotRegex => MatchOp::Nre,
            };
            disk_matcher(&matcher.name, op, &matcher.value)
        })
        .collect()
}

pub fn matchers_to_wire(matchers: &[language::Matcher]) -> Vec<wire::Matcher> {
    matchers
        .iter()
        .map(|matcher| wire::Matcher {
            name: matcher.name.to_string(),
            value: matcher.value.to_string(),
            operator: match matcher.op {
                language::MatchOp::Equal => wire::MatchOperator::Equal,
                language::MatchOp::NotEqual => wire::MatchOperator::NotEqual,
                language::MatchOp::Regex => wire::MatchOperator::Regex,
                language::MatchOp::NotRegex => wire::MatchOperator::NotRegex,
            }
            .into(),
        })
        .collect()
}

/// The conditions of a question; the asker has made them disjoint.
pub fn conditions_from_wire(sets: &[wire::MatcherSet]) -> Result<Conditions, SourceError> {
    let set = |set: &wire::MatcherSet| set.matchers.iter().map(language_matcher).collect::<Result<Vec<_>, _>>();
    Ok(Conditions::of_disjoint(sets.iter().map(set).collect::<Result<_, _>>()?))
}

fn language_matcher(matcher: &wire::Matcher) -> Result<language::Matcher, SourceError> {
    let op = match matcher.operator() {
        wire::MatchOperator::Equal => language::MatchOp::Equal,
        wire::MatchOperator::NotEqual => language::MatchOp::NotEqual,
        wire::MatchOperator::Regex => language::MatchOp::Regex,
        wire::MatchOperator::NotRegex => language::MatchOp::NotRegex,
    };
    language::Matcher::new(op, matcher.name.as_str(), matcher.value.as_str()).map_err(|error| SourceError::Failed(error.to_string()))
}

fn disk_matcher(name: &str, op: MatchOp, value: &str) -> Result<Matcher, SourceError> {
    Matcher::new(name, op, value).map_err(|error| SourceError::Failed(error.to_string()))
}

fn disk_operator(op: language::MatchOp) -> MatchOp {
    match op {
        language::MatchOp::Equal => MatchOp::Eq,
        language::MatchOp::NotEqual => MatchOp::Ne,
        language::MatchOp::Regex => MatchOp::Re,
        language::MatchOp::NotRegex => MatchOp::Nre,
    }
}

/// Added to the version of a question with conditions, so that a node that would overlook them refuses it.
const WITH_CONDITIONS: u32 = 1 << 16;

fn subplan_version(sets: &[wire::MatcherSet]) -> u32 {
    if sets.is_empty() { SUBPLAN_VERSION } else { SUBPLAN_VERSION + WITH_CONDITIONS }
}

/// The question to a peer that holds the shard of `selection`.
pub fn subplan_to_wire(subplan: &Subplan, selection: wire::Selection, conditions: &Conditions) -> wire::EvaluateRequest {
    let parser = subplan.query.parser;
    let conditions: Vec<_> = conditions.sets().iter().map(|set| wire::MatcherSet { matchers: matchers_to_wire(set) }).collect();
    wire::EvaluateRequest {
        selection: Some(selection),
        version: subplan_version(&conditions),
        text: subplan.query.text.to_string(),
        experimental_functions: parser.experimental_functions,
        duration_expressions: parser.duration_expressions,
        extended_range_selectors: parser.extended_range_selectors,
        fill_modifiers: parser.fill_modifiers,
        run_start_ms: subplan.run_start_ms,
        run_end_ms: subplan.run_end_ms,
        run_step_ms: subplan.run_step_ms,
        subquery_step_ms: subplan.subquery_step_ms,
        node: subplan.node,
        grid_start_ms: subplan.grid_start_ms,
        grid_step_ms: subplan.grid_step_ms,
        grid_steps: subplan.grid_steps,
        lookback_ms: subplan.lookback_ms,
        delayed_name_removal: subplan.delayed_name_removal,
        type_and_unit_labels: subplan.type_and_unit_labels,
        start_timestamps: subplan.start_timestamps,
        samples_max: subplan.samples_max,
        conditions,
    }
}

/// None: of another version. Bounds on the text are this node's.
pub fn subplan_from_wire(request: &wire::EvaluateRequest) -> Option<Subplan> {
    if request.version != subplan_version(&request.conditions) {
        return None;
    }
    let parser = ParserOptions {
        experimental_functions: request.experimental_functions,
        duration_expressions: request.duration_expressions,
        extended_range_selectors: request.extended_range_selectors,
        fill_modifiers: request.fill_modifiers,
        ..ParserOptions::default()
    };
    Some(Subplan {
        query: QueryText { text: request.text.as_str().into(), parser },
        run_start_ms: request.run_start_ms,
        run_end_ms: request.run_end_ms,
        run_step_ms: request.run_step_ms,
        subquery_step_ms: request.subquery_step_ms,
        node: request.node,
        grid_start_ms: request.grid_start_ms,
        grid_step_ms: request.grid_step_ms,
        grid_steps: request.grid_steps,
        lookback_ms: request.lookback_ms,
        delayed_name_removal: request.delayed_name_removal,
        type_and_unit_labels: request.type_and_unit_labels,
        start_timestamps: request.start_timestamps,
        samples_max: request.samples_max,
    })
}

/// Shares the texts; both keep labels sorted by name, unique and without empty values.
pub fn labels_from_disk(labels: SeriesLabels) -> Labels {
    Labels::from_sorted(labels.into_pairs().into_iter().map(|(name, value)| Label { name, value }).collect())
}

/// As canonical label bytes, for a peer.
pub fn canonical_from_disk(labels: &SeriesLabels) -> Vec<u8> {
    canonical(labels.iter().map(|(name, value)| (&**name, &**value)))
}

/// The same of labels that the language has.
pub fn canonical_from_language(labels: &Labels) -> Vec<u8> {
    canonical(labels.iter().map(|label| (&*label.name, &*label.value)))
}

fn canonical<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in labels.flat_map(|(name, value)| [name, value]) {
        storage::varint::put(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// `canonical` are label bytes of a peer.
pub fn labels_from_canonical(canonical: &[u8]) -> Labels {
    let labels = storage::labels::iter(canonical);
    Labels::from_sorted(labels.map(|(name, value)| Label { name: Arc::from(name), value: Arc::from(value) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_keep_their_meaning_over_the_wire() {
        let language: Vec<language::Matcher> = [
            (language::MatchOp::Equal, "a", "1"),
            (language::MatchOp::NotEqual, "b", ""),
            (language::MatchOp::Regex, "c", "x.*"),
            (language::MatchOp::NotRegex, "d", "y|z"),
        ]
        .into_iter()
        .map(|(op, name, value)| language::Matcher::new(op, name, value).expect("valid"))
        .collect();
        let direct = matchers_to_disk(&language).expect("valid");
        let wired = matchers_from_wire(&matchers_to_wire(&language)).expect("valid");
        for (left, right) in direct.iter().zip(&wired) {
            assert_eq!((left.name(), left.op(), left.value()), (right.name(), right.op(), right.value()));
        }
    }

    #[test]
    fn conditions_travel_with_a_version_of_their_own() {
        let equal = |value: &str| vec![language::Matcher::equal("tenant", value)];
        let conditions = Conditions::any_of(&[equal("a"), equal("b")]).expect("two");
        let subplan = Subplan {
            query: QueryText { text: "up".into(), parser: ParserOptions::default() },
            run_start_ms: 0,
            run_end_ms: 0,
            run_step_ms: 0,
            subquery_step_ms: 0,
            node: 0,
            grid_start_ms: 0,
            grid_step_ms: 1,
            grid_steps: 1,
            lookback_ms: 0,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            start_timestamps: false,
            samples_max: 0,
        };
        let plain = subplan_to_wire(&subplan, wire::Selection::default(), &Conditions::default());
        assert_eq!((plain.version, subplan_from_wire(&plain).is_some()), (SUBPLAN_VERSION, true));
        let conditional = subplan_to_wire(&subplan, wire::Selection::default(), &conditions);
        assert_eq!(conditions_from_wire(&conditional.conditions).expect("valid"), conditions);
        assert!(conditional.version != SUBPLAN_VERSION && subplan_from_wire(&conditional).is_some());
        // What a node makes of it that does not know the field.
        let overlooked = wire::EvaluateRequest { conditions: Vec::new(), ..conditional };
        assert!(subplan_from_wire(&overlooked).is_none());
    }

    #[test]
    fn labels_of_a_peer_read_as_they_were_written() {
        let mut canonical = Vec::new();
        storage::labels::canonicalize(&mut vec![("job", "a"), ("__name__", "up")], &mut canonical).expect("valid");
        assert_eq!(labels_from_canonical(&canonical), Labels::from_pairs([("__name__", "up"), ("job", "a")]));
    }
}
