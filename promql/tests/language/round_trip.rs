//! Printing is the inverse of reading, on one line and on many.

use promql::{ParserOptions, parse, pretty};
use proptest::prelude::*;

use crate::generator::{Choices, query, without_positions};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_printed_reads_back_as_the_same_tree(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let expr = query(&mut Choices::new(&bytes));
        for text in [expr.to_string(), pretty(&expr)] {
            let again = parse(&text, ParserOptions::experimental()).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(without_positions(again), expr.clone(), "{}", text);
        }
    }

    #[test]
    fn positions_lie_inside_of_each_other(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = pretty(&query(&mut Choices::new(&bytes)));
        let expr = parse(&text, ParserOptions::experimental()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut outside = Vec::new();
        expr.walk(&mut |node| {
            let around = node.position();
            let within = |start: usize, end: usize| around.start <= start && start < end && end <= around.end;
            if !node.children().iter().all(|child| within(child.position().start, child.position().end)) {
                outside.push(node.to_string());
            }
        });
        prop_assert!(outside.is_empty(), "{} in {}", outside.join(", "), text);
    }
}
