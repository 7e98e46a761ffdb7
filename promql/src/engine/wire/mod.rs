//! How partial answers travel between nodes: the bytes of columns, histograms, annotations and notes.
//!
//! A compact binary form, little endian, without padding. What reads it trusts nothing: every length is checked against the
//! bytes that are left before anything is allocated, and whatever does not fit is [`Malformed`].

mod bytes;
mod floats;
mod histograms;
mod labels;
mod annotations;
mod columns;
mod notes;
mod errors;

pub use bytes::{Malformed, Reader, Wire, Writer};
pub use floats::{put_floats, take_floats};
