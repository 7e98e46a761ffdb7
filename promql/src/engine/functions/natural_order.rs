//! Comparing texts with numbers in them the way people do: `node2` before `node10`.

use std::cmp::Ordering;

/// Compares run by run of digits and non-digits: digits by value, everything else by bytes.
pub fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut left_runs, mut right_runs) = (runs(left), runs(right));
    loop {
        let ordering = match (left_runs.next(), right_runs.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => match (left.parse::<i64>(), right.parse::<i64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => left.cmp(right),
            },
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|character: char| character.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let mut names = ["b1", "a10", "a2", "a", "a2b", "2", "10"];
        names.sort_by(|left, right| natural_order(left, right));
        assert_eq!(names, ["2", "10", "a", "a2", "a2b", "a10", "b1"]);
    }
}
