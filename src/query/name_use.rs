//! How often queries of this node asked for which metric, to find the metrics that nobody looks at:
//! `/api/v1/status/metric_names_stats`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use promql::ast::{Expr, VectorSelector};
use promql::matcher::MatchOp;

const METRIC_NAME: &str = "__name__";
/// Names beyond this many are not counted: queries may name metrics that do not exist.
const NAMES_MAX: usize = 100_000;

/// What is known about one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    pub requests: u64,
    pub last_ms: i64,
}

/// All names since the node's start.
#[derive(Default)]
pub struct NameUse {
    names: Mutex<HashMap<Arc<str>, Use>>,
}

impl NameUse {
    /// Counts the names that the query's selectors spell out.
    pub fn record(&self, query: &Expr, now_ms: i64) {
        let mut names = self.names.lock();
        for name in query.selectors().into_iter().filter_map(name_of) {
            if let Some(known) = names.get_mut(name) {
                *known = Use { requests: known.requests + 1, last_ms: now_ms };
            } else if names.len() < NAMES_MAX {
                names.insert(name.into(), Use { requests: 1, last_ms: now_ms });
            }
        }
    }

    pub fn of(&self, name: &str) -> Use {
        self.names.lock().get(name).copied().unwrap_or_default()
    }
}

fn name_of(selector: &VectorSelector) -> Option<&str> {
    let named = selector.matchers.iter().find(|matcher| &*matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal);
    named.map(|matcher| &*matcher.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::{ParserOptions, parse};

    #[test]
    fn names_are_counted_once_a_selector() {
        let uses = NameUse::default();
        for query in ["up + rate(up[5m])", "{__name__=\"down\"}", "{__name__=~\"u.*\"}", "1"] {
            uses.record(&parse(query, ParserOptions::default()).expect(query), 7);
        }
        assert_eq!(uses.of("up"), Use { requests: 2, last_ms: 7 });
        assert_eq!(uses.of("down").requests, 1);
        assert_eq!(uses.of("never"), Use::default());
    }
}
