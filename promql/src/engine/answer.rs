//! From columns to the values of an answer.

use super::column::{Column, is_absent};
use super::grid::Grid;
use crate::value::{Sample, Series};

/// A vector at one step.
pub fn samples(columns: Vec<Column>, time_ms: i64) -> Vec<Sample> {
    let sample = |column: Column| {
        let value = column.value(0)?;
        Some(Sample { labels: column.labels, time_ms, value })
    };
    columns.into_iter().filter_map(sample).collect()
}

/// A matrix, sorted by labels.
pub fn matrix(columns: Vec<Column>, grid: &Grid) -> Vec<Series> {
    let mut matrix: Vec<Series> = columns.into_iter().map(|column| series_of_column(column, grid)).collect();
    matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
    matrix
}

/// The values of one series with their times.
pub fn series_of_column(column: Column, grid: &Grid) -> Series {
    let floats = column.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value));
    let floats = floats.map(|(step, value)| (grid.time_ms(step), *value)).collect();
    let histograms = column.histograms.into_iter().enumerate();
    let histograms = histograms.filter_map(|(step, histogram)| Some((grid.time_ms(step), histogram?))).collect();
    Series { labels: column.labels, floats, histograms }
}
