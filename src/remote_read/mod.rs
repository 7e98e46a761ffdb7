//! Prometheus' remote read: what `POST /api/v1/read` is asked, and the two kinds of answers.
//!
//! A request walks: [`request`] → the selected series, one at a time → [`samples_answer`] (all samples in one message, which
//! cannot be sent before its size is known) or [`chunked_answer`] (frames of compressed chunks, sent as they are made).
//! Chunks have the format of Prometheus' own disk ([`xor_chunk`], [`histogram_chunk`]), written after its description.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod message;
pub mod request;
mod bit_writer;
pub mod xor_chunk;
pub mod histogram_chunk;
mod histogram_message;
mod runs;
pub mod samples_answer;
pub mod chunked_answer;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod histogram_tests;
