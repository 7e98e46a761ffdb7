//! Work on series that have been read already notices that its query is over. (A query looks again at its end, so only the parts
//! by themselves can show that they do not wait for it.)

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::aggregate::groups::{AggregationSite, Groups};
use super::binary::matching::{NameRemoval, match_vectors};
use super::binary::sets;
use super::budget::Budget;
use super::column::Column;
use super::error::QueryError;
use super::functions::histogram_calls::{Histograms, Naming, Question};
use super::functions::info::InfoQuery;
use super::grid::Grid;
use super::notes::Notes;
use super::options::{EngineOptions, QueryOptions};
use super::plan::{self, Node, Run, VectorVector};
use crate::ast::{Grouping, GroupingMode, VectorMatching};
use crate::labels::Labels;
use crate::operator::{AggregateOp, BinaryOp};
use crate::parser::{ParserOptions, parse};
use crate::position::PositionRange;

const STEPS: usize = 100;

fn grid() -> Grid {
    Grid { start_ms: 0, step_ms: 1000, steps: STEPS }
}

/// More series than are worked on between two looks at the time.
fn series(name: &str, label: &str) -> Vec<Column> {
    let columns = (0..300).map(|number: u32| {
        let labels = Labels::from_pairs([("__name__", name.to_owned()), ("instance", "a".to_owned()), (label, number.to_string())]);
        Column { labels, floats: (0..STEPS).map(|step| step as f64).collect(), ..Column::default() }
    });
    columns.collect()
}

fn budget(is_over: bool) -> Budget {
    let cancel = Some(Arc::new(AtomicBool::new(is_over)));
    Budget::of(&EngineOptions::default(), &QueryOptions { cancel, ..QueryOptions::default() })
}

/// Runs the work in a query that goes on, and in one that is over.
fn ends_early<T: std::fmt::Debug>(work: impl Fn(&Budget) -> Result<T, QueryError>) {
    work(&budget(false)).expect("the query goes on");
    assert_eq!(work(&budget(true)).expect_err("the query is over"), QueryError::Canceled("expression evaluation"));
}

fn operation(query: &str) -> VectorVector {
    let expr = parse(query, ParserOptions::default()).expect("valid");
    let run = Run { start_ms: 0, end_ms: 99_000, step_ms: 1000, subquery_step_ms: 1000 };
    match plan::compile(&expr, run).expect("compiles") {
        Node::VectorVector(operation) => *operation,
        other => panic!("{other:?}"),
    }
}

fn matched(query: &str, left: &[Column], right: &[Column], budget: &Budget) -> Result<Vec<Column>, QueryError> {
    let grid = grid();
    match_vectors(&operation(query), left, right, (&grid, budget), NameRemoval::Now, &mut Notes::new(&grid))
}

#[test]
fn matching_of_vectors() {
    let (left, right) = (series("a", "n"), series("b", "n"));
    ends_early(|budget| matched("a * on (n) b", &left, &right, budget));
    // One series meets all others, and so the work is that of pairs.
    ends_early(|budget| matched("a * on () group_left () b", &left, &right[..1], budget));
}

#[test]
fn sets_of_vectors() {
    for op in [BinaryOp::And, BinaryOp::Or, BinaryOp::Unless] {
        ends_early(|budget| sets::combine(op, series("a", "n"), series("b", "n"), &VectorMatching::default(), &grid(), budget));
    }
}

#[test]
fn quantiles_of_histograms() {
    let (columns, quantiles, grid) = (series("a_bucket", "le"), vec![0.9; STEPS], grid());
    ends_early(|budget| {
        let mut notes = Notes::new(&grid);
        let histograms = Histograms::gather(&columns, PositionRange::default(), Naming::Known, &mut notes);
        histograms.answer(&Question::Quantile(&quantiles), &grid, budget, &mut notes)
    });
}

#[test]
fn info_series_of_vectors() {
    let (base, grid) = (series("a", "n"), grid());
    let query = InfoQuery::new(&[]).expect("valid");
    ends_early(|budget| query.combine(&base, &series("target_info", "version")[..1], &grid, budget));
}

#[test]
fn the_end_of_aggregations() {
    let columns = series("a", "n");
    for (op, labels) in [(AggregateOp::Quantile, vec![]), (AggregateOp::Sum, vec![Arc::from("n")])] {
        let site = AggregationSite { op, position: PositionRange::default() };
        let grouping = Grouping { mode: GroupingMode::By, labels };
        let groups = |notes: &mut Notes| {
            let mut groups = Groups::new(site, &grouping, STEPS);
            for column in &columns {
                groups.add(column, notes);
            }
            groups
        };
        ends_early(|budget| {
            let mut notes = Notes::new(&grid());
            groups(&mut notes).finish(&[0.5; STEPS], &mut budget.ticker(), &mut notes)
        });
        ends_early(|budget| {
            let mut notes = Notes::new(&grid());
            let (mut all, other) = (groups(&mut notes), groups(&mut notes));
            all.merge(other, &mut budget.ticker(), &mut notes)
        });
    }
}
