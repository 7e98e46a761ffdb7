//! Which names and values look like what somebody types, and how much: the scores of Prometheus' search API.
//!
//! A score is 1 for the best match and falls towards 0. Several terms are alternatives; the best of their scores counts.

/// How a term may differ from what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuzziness {
    /// The term's characters must come in their order, with gaps.
    Subsequence,
    /// The term must be contained, or be similar by Jaro and Winkler's measure.
    JaroWinkler,
}

impl Fuzziness {
    pub fn parse(name: &str) -> Option<Fuzziness> {
        match name {
            "subsequence" => Some(Fuzziness::Subsequence),
            "jarowinkler" => Some(Fuzziness::JaroWinkler),
            _ => None,
        }
    }
}

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Filter {
    terms: Vec<Term>,
    fuzziness: Fuzziness,
    /// From 0 to 1: worse matches are none.
    score_min: f64,
    ignores_case: bool,
}

#[derive(Clone, Debug)]
struct Term {
    text: String,
    characters: Vec<char>,
}

impl Filter {
    /// Without a term that is not empty everything is found.
    pub fn new<'a>(terms: impl Iterator<Item = &'a str>, fuzziness: Fuzziness, score_min: f64, ignores_case: bool) -> Filter {
        let terms = terms.filter(|term| !term.is_empty()).map(|term| {
            let text = if ignores_case { term.to_lowercase() } else { term.to_string() };
            Term { characters: text.chars().collect(), text }
        });
        Filter { terms: terms.collect(), fuzziness, score_min, ignores_case }
    }

    pub fn finds_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// `None`: not found.
    pub fn score(&self, value: &str) -> Option<f64> {
        if self.finds_everything() {
            return Some(1.0);
        }
        let lower;
        let value = if self.ignores_case {
            lower = value.to_lowercase();
            &lower
        } else {
            value
        };
        let characters: Vec<char> = value.chars().collect();
        let scores = self.terms.iter().filter_map(|term| self.score_of(term, value, &characters));
        scores.max_by(f64::total_cmp)
    }

    fn score_of(&self, term: &Term, value: &str, characters: &[char]) -> Option<f64> {
        match self.fuzziness {
            Fuzziness::Subsequence if value.starts_with(&term.text) => Some(1.0),
            Fuzziness::Subsequence => subsequence(&term.characters, characters).filter(|score| *score > 0.0 && *score >= self.score_min),
            Fuzziness::JaroWinkler => contained(term, value, characters.len()).or_else(|| self.similar(term, characters)),
        }
    }

    fn similar(&self, term: &Term, characters: &[char]) -> Option<f64> {
        let score = (self.score_min > 0.0).then(|| jaro_winkler(&term.characters, characters))?;
        (score >= self.score_min).then_some(score)
    }
}

/// 1 at the beginning of the value, down to 0.1 at its end.
fn contained(term: &Term, value: &str, length: usize) -> Option<f64> {
    let at = value.find(&term.text)?;
    let before = value[..at].chars().count();
    let before_max = length - term.characters.len();
    Some(if before == 0 { 1.0 } else { 1.0 - 0.9 * before as f64 / before_max as f64 })
}

/// What is not the term itself stays below 1, however good.
const INEXACT_SCALE: f64 = 0.999;

/// Runs of neighbouring matches count by the square of their length, gaps by their share of the text; the best beginning wins.
fn subsequence(term: &[char], text: &[char]) -> Option<f64> {
    if term == text {
        return Some(1.0);
    }
    let first = *term.first()?;
    let starts = (0..text.len()).filter(|&start| text[start] == first);
    // When the rest is not found behind one beginning it is behind no later one.
    let scores = starts.map_while(|start| runs_from(term, text, start));
    let best = scores.max_by(f64::total_cmp)?;
    Some(best / (term.len() * term.len()) as f64 * INEXACT_SCALE)
}

fn runs_from(term: &[char], text: &[char], start: usize) -> Option<f64> {
    let share = |gap: usize| gap as f64 / text.len() as f64;
    let (mut score, mut matched, mut at, mut gap) = (0.0, 0, start, start);
    while matched < term.len() {
        let run = text[at..].iter().zip(&term[matched..]).take_while(|(left, right)| left == right).count();
        if run == 0 {
            at += 1;
            gap += 1;
            if at >= text.len() {
                return None;
            }
            continue;
        }
        score += (run * run) as f64 - share(gap);
        gap = 0;
        matched += run;
        at += run;
        if matched < term.len() && at >= text.len() {
            return None;
        }
    }
    Some(score - share(text.len() - at) * 0.5)
}

/// Jaro's similarity, raised for a common beginning as Winkler proposed.
fn jaro_winkler(one: &[char], other: &[char]) -> f64 {
    const PREFIX_MAX: usize = 4;
    const PREFIX_WEIGHT: f64 = 0.1;
    if one == other {
        return 1.0;
    }
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let reach = (long.len() / 2).saturating_sub(1);
    let mut is_taken = vec![false; long.len()];
    let mut common: Vec<char> = Vec::new();
    for (at, character) in short.iter().enumerate() {
        let window = at.saturating_sub(reach)..(at + reach + 1).min(long.len());
        if let Some(place) = window.into_iter().find(|&place| !is_taken[place] && long[place] == *character) {
            is_taken[place] = true;
            common.push(*character);
        }
    }
    if common.is_empty() {
        return 0.0;
    }
    let in_order_of_long = long.iter().zip(&is_taken).filter(|(_, taken)| **taken).map(|(character, _)| character);
    let misplaced = common.iter().zip(in_order_of_long).filter(|(left, right)| left != right).count();
    let matches = common.len() as f64;
    let jaro = (matches / short.len() as f64 + matches / long.len() as f64 + (matches - misplaced as f64 / 2.0) / matches) / 3.0;
    let prefix = short.iter().zip(long).take(PREFIX_MAX).take_while(|(left, right)| left == right).count();
    jaro + prefix as f64 * PREFIX_WEIGHT * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(terms: &[&str], fuzziness: Fuzziness, score_min: f64, value: &str) -> Option<f64> {
        Filter::new(terms.iter().copied(), fuzziness, score_min, false).score(value)
    }

    fn near(left: Option<f64>, right: f64) -> bool {
        left.is_some_and(|left| (left - right).abs() < 1e-9)
    }

    #[test]
    fn characters_in_order_are_found_and_runs_count_more() {
        let score = |term, value| score(&[term], Fuzziness::Subsequence, 0.0, value);
        assert_eq!(score("up", "up"), Some(1.0));
        assert_eq!(score("node", "node_cpu"), Some(1.0), "a beginning is as good as the whole");
        assert_eq!(score("cpun", "node_cpu"), None);
        assert_eq!(score("up", "u"), None);
        // One run of three behind a gap of five of eight.
        assert!(near(score("cpu", "node_cpu"), (9.0 - 5.0 / 8.0) / 9.0 * 0.999));
        // Runs of one and two, a gap between, one character behind.
        assert!(near(score("nde", "node_"), (1.0 + 4.0 - 1.0 / 5.0 - 0.5 / 5.0) / 9.0 * 0.999));
        assert!(near(score("é", "xé"), (1.0 - 0.5) * 0.999), "characters, not bytes");
    }

    #[test]
    fn the_best_beginning_wins() {
        // Greedy from the first "a" gives runs of one; from the second one run of two.
        let score = score(&["ab"], Fuzziness::Subsequence, 0.0, "a_ab");
        assert!(near(score, (4.0 - 2.0 / 4.0) / 4.0 * 0.999), "{score:?}");
    }

    #[test]
    fn scores_below_the_least_are_no_matches() {
        assert!(score(&["npu"], Fuzziness::Subsequence, 0.0, "node_cpu").is_some());
        assert!(score(&["npu"], Fuzziness::Subsequence, 0.9, "node_cpu").is_none());
        assert!(score(&["npu", "cpu"], Fuzziness::Subsequence, 0.9, "node_cpu").is_some(), "terms are alternatives");
    }

    #[test]
    fn what_is_contained_scores_by_its_place() {
        let score = |term, value| score(&[term], Fuzziness::JaroWinkler, 0.0, value);
        assert_eq!(score("node", "node_cpu"), Some(1.0));
        assert!(near(score("cpu", "node_cpu"), 1.0 - 0.9));
        assert!(near(score("e_c", "node_cpu"), 1.0 - 0.9 * 3.0 / 5.0));
        assert_eq!(score("cpx", "node_cpu"), None);
    }

    #[test]
    fn similar_words_are_similar() {
        let similarity = |one: &str, other: &str| jaro_winkler(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>());
        // The examples of Winkler's paper.
        for (one, other, expected) in
            [("MARTHA", "MARHTA", 0.961_111), ("DWAYNE", "DUANE", 0.84), ("DIXON", "DICKSONX", 0.813_333), ("abc", "xyz", 0.0)]
        {
            assert!((similarity(one, other) - expected).abs() < 1e-6, "{one} {other}: {}", similarity(one, other));
        }
        assert_eq!(score(&["MARTHA"], Fuzziness::JaroWinkler, 0.9, "MARHTA").map(|score| score > 0.96), Some(true));
        assert_eq!(score(&["MARTHA"], Fuzziness::JaroWinkler, 0.97, "MARHTA"), None);
    }

    #[test]
    fn case_counts_unless_told_otherwise() {
        let filter = Filter::new(["Node"].into_iter(), Fuzziness::Subsequence, 0.0, true);
        assert_eq!(filter.score("NODE_CPU"), Some(1.0));
        assert_eq!(score(&["Node"], Fuzziness::Subsequence, 0.0, "NODE_CPU"), None);
        assert!(Filter::new(["", ""].into_iter(), Fuzziness::Subsequence, 1.0, false).finds_everything());
    }
}
