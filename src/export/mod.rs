//! Whole series as text that another system, or `ingest`, reads back: JSON lines and CSV.

pub mod json_lines;
pub mod csv;
