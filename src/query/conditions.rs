//! Conditions that every selector of a request must meet besides its own: sets of matchers, of which one must hold.
//!
//! The sets are made disjoint when they are put together, so that what is read for each of them can be put behind each other:
//! no series comes twice. `{a="1"}` or `{b="2",c="3"}` becomes `{a="1"}` or `{b="2",c="3",a!="1"}`.

use std::iter;

use promql::matcher::{MatchOp, Matcher};

/// Disjoint sets; none at all is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    sets: Vec<Vec<Matcher>>,
}

/// More sets than this are no condition that somebody wrote; each is a selection of its own.
const SETS_MAX: usize = 100;

impl Conditions {
    /// Series that pass all matchers of any set. None when it would take too many disjoint sets to say so.
    pub fn any_of(sets: &[Vec<Matcher>]) -> Option<Conditions> {
        let mut disjoint: Vec<Vec<Matcher>> = Vec::new();
        for (position, set) in sets.iter().enumerate() {
            let mut pieces = vec![set.clone()];
            for before in &sets[..position] {
                pieces = pieces.into_iter().flat_map(|piece| without(piece, before)).collect();
                if disjoint.len() + pieces.len() > SETS_MAX {
                    return None;
                }
            }
            disjoint.extend(pieces);
        }
        Some(Conditions { sets: disjoint })
    }

    /// Sets that are disjoint already: what [`Conditions::sets`] answered elsewhere.
    pub fn of_disjoint(sets: Vec<Vec<Matcher>>) -> Conditions {
        Conditions { sets }
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub fn sets(&self) -> &[Vec<Matcher>] {
        &self.sets
    }

    /// A selector with the conditions: disjoint selectors, of which each series passes one.
    pub fn applied_to(&self, selector: &[Matcher]) -> Vec<Vec<Matcher>> {
        if self.sets.is_empty() {
            return vec![selector.to_vec()];
        }
        self.sets.iter().map(|set| [selector, set].concat()).collect()
    }
}

/// What passes `piece` and not `before`: the first matcher of `before` fails, or the first holds and the second fails, and so on.
fn without(piece: Vec<Matcher>, before: &[Matcher]) -> Vec<Vec<Matcher>> {
    let mut pieces = Vec::new();
    let mut rest = piece;
    for matcher in before {
        match implied(&rest, matcher) {
            // Nothing that is left passes `before`.
            Some(false) => {
                pieces.push(rest);
                return pieces;
            }
            Some(true) => {}
            None => {
                pieces.push(rest.iter().cloned().chain(iter::once(matcher.negated())).collect());
                rest.push(matcher.clone());
            }
        }
    }
    pieces
}

/// What a set says about a matcher, where that is plain to see.
fn implied(set: &[Matcher], matcher: &Matcher) -> Option<bool> {
    let value = set.iter().find(|known| known.name == matcher.name && known.op == MatchOp::Equal).map(|known| &known.value);
    if let Some(value) = value {
        return Some(matcher.matches(value));
    }
    if set.contains(matcher) {
        return Some(true);
    }
    set.contains(&matcher.negated()).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::ParserOptions;
    use promql::parser::parse_metric_selector;
    use proptest::prelude::*;

    fn set(text: &str) -> Vec<Matcher> {
        parse_metric_selector(text, ParserOptions::default()).expect(text)
    }

    fn shown(texts: &[&str]) -> Vec<String> {
        let sets: Vec<_> = texts.iter().map(|text| set(text)).collect();
        let conditions = Conditions::any_of(&sets).expect("few");
        let text = |set: &Vec<Matcher>| set.iter().map(Matcher::to_string).collect::<Vec<_>>().join(",");
        conditions.sets().iter().map(text).collect()
    }

    #[test]
    fn sets_become_disjoint() {
        assert_eq!(shown(&[r#"{a="1"}"#]), [r#"a="1""#]);
        assert_eq!(shown(&[r#"{a="1"}"#, r#"{a="2"}"#]), [r#"a="1""#, r#"a="2""#], "they are so already");
        assert_eq!(shown(&[r#"{a="1"}"#, r#"{b="2",c="3"}"#]), [r#"a="1""#, r#"b="2",c="3",a!="1""#]);
        assert_eq!(shown(&[r#"{a=~"1|2",b="1"}"#, r#"{a="1"}"#]), [r#"a=~"1|2",b="1""#, r#"a="1",b!="1""#]);
        assert_eq!(shown(&[r#"{a!="1"}"#, r#"{a="2"}"#]), [r#"a!="1""#], "the second is in the first");
    }

    #[test]
    fn without_sets_there_is_no_condition() {
        let none = Conditions::any_of(&[]).expect("none");
        assert!(none.is_empty());
        assert_eq!(none.applied_to(&set(r#"{x="1"}"#)), [set(r#"{x="1"}"#)]);
        let two = Conditions::any_of(&[set(r#"{a="1"}"#), set(r#"{a="2"}"#)]).expect("two");
        assert_eq!(two.applied_to(&set(r#"{x="1"}"#)), [set(r#"{x="1",a="1"}"#), set(r#"{x="1",a="2"}"#)]);
    }

    #[test]
    fn what_would_grow_without_end_is_refused() {
        let wide = |at: usize| set(&format!(r#"{{a{at}=~"x.*",b{at}=~"x.*",c{at}=~"x.*"}}"#));
        assert!(Conditions::any_of(&(0..3).map(wide).collect::<Vec<_>>()).is_some());
        assert!(Conditions::any_of(&(0..12).map(wide).collect::<Vec<_>>()).is_none());
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        (prop::sample::select(vec!["a", "b"]), prop::sample::select(ops.to_vec()), prop::sample::select(vec!["", "1", "2", "1|2"]))
            .prop_map(|(name, op, value)| Matcher::new(op, name, value).expect("valid"))
    }

    proptest! {
        #[test]
        fn each_series_passes_one_set_if_it_passes_any(sets in prop::collection::vec(prop::collection::vec(matcher(), 1..3), 1..4)) {
            let conditions = Conditions::any_of(&sets).expect("few");
            for a in ["", "1", "2", "3"] {
                for b in ["", "1", "2", "3"] {
                    let passes = |set: &&Vec<Matcher>| set.iter().all(|matcher| matcher.matches(if &*matcher.name == "a" { a } else { b }));
                    let expected = usize::from(sets.iter().any(|set| passes(&set)));
                    prop_assert_eq!(conditions.sets().iter().filter(passes).count(), expected, "a={} b={}", a, b);
                }
            }
        }
    }
}
