//! What can go wrong with a part of a request.

use super::super::decode_error::DecodeError;

/// How far a fault reaches.
#[derive(Debug)]
pub enum Fault {
    /// The bytes are no OTLP: the whole request is refused.
    Broken(DecodeError),
    /// This point, metric or resource cannot be stored; the others can.
    Refused(String),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault::Broken(error)
    }
}
