//! Federation: the newest sample of each selected series as an exposition page, for another system to scrape.
//!
//! A request walks: [`mod@format`] (what the scraper accepts) → the newest samples, sorted by name → one family after the other in
//! one of the pages of [`text`] or [`protobuf`], its names as [`names`] escapes them for scrapers that know only the classic alphabet.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod names;
pub mod format;
pub mod family;
pub mod text;
pub mod protobuf;
