//! A range query is nothing but instant queries, and a range function nothing but its definition, to the last bit.

use proptest::prelude::*;

use crate::naive::{canonical, engine, over_window, range, step_by_step};
use crate::random::{data, range_function, source, vector_query};

const START_MS: i64 = 60_000;
const END_MS: i64 = 600_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn all_steps_at_once_or_one_by_one(
        data in data(),
        query in vector_query(),
        step_ms in prop::sample::select(vec![7_000i64, 30_000, 45_000]),
        delayed_name_removal: bool,
    ) {
        let source = source(&data, 1);
        let engine = engine(1, delayed_name_removal);
        let times = (START_MS, END_MS, step_ms);
        // `@ end()` means another time in an instant query.
        let query = query.replace("@ end()", "@ 600");
        let together = range(&engine, &source, &query, times);
        let apart = step_by_step(&engine, &source, &query, times);
        // Where one fails the other does; but which of several mistakes is found first may differ. And series of a range
        // function that lose the names that told them apart are refused also when they never meet at one step.
        let refused = !delayed_name_removal && together.as_ref().is_err_and(|error| error.contains("same labelset"));
        if (together.is_ok() || apart.is_ok()) && !refused {
            prop_assert_eq!(together, apart, "{}", query);
        }
    }

    #[test]
    fn range_functions_follow_their_definition(
        data in data(),
        function in prop::sample::select(vec!["rate", "increase", "delta", "max_over_time", "min_over_time", "count_over_time", "last_over_time", "first_over_time", "sum_over_time", "avg_over_time", "changes", "resets", "quantile_over_time"]),
        range_ms in prop::sample::select(vec![10_000i64, 60_000, 200_000, 1_000_000]),
        step_ms in prop::sample::select(vec![5_000i64, 60_000]),
    ) {
        let (labels, samples) = &data[0];
        let source = source(&data[..1], 1);
        let parameter = if function == "quantile_over_time" { "0.3, " } else { "" };
        let query = format!("{function}({parameter}{}[{range_ms}ms])", labels.metric_name());
        let answer = range(&engine(1, true), &source, &query, (START_MS, END_MS, step_ms)).expect("valid query");
        let got: Vec<(i64, u64)> = answer.into_iter().flat_map(|(_, values)| values).collect();
        let times = (START_MS..=END_MS).step_by(step_ms as usize);
        let expected: Vec<(i64, u64)> = times
            .filter_map(|time_ms| Some((time_ms, canonical(over_window(function, samples, time_ms - range_ms, time_ms)?))))
            .collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn reading_with_several_threads_changes_nothing(data in data(), query in vector_query(), partitions in 2usize..5, function in range_function()) {
        let source = source(&data, partitions);
        for query in [query, format!("sum by (g)({function}(a_total[2m]))")] {
            let times = (START_MS, END_MS, 30_000);
            let alone = range(&engine(1, true), &source, &query, times);
            prop_assert_eq!(alone, range(&engine(4, true), &source, &query, times), "{}", query);
        }
    }
}
