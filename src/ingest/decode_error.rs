//! Why a request's bytes could not be read. Every variant says where: a byte offset, a line or an element.
//!
//! All of them are the sender's fault and must not be retried: 400, except [`DecodeError::TooLarge`], which is 413,
//! and [`DecodeError::UnknownEncoding`], which is 415.

use thiserror::Error;

#[derive(Debug, Error, Clone, PartialEq)]
pub enum DecodeError {
    /// A protobuf message is malformed. `offset` counts bytes of the uncompressed body.
    #[error("malformed protobuf at byte {offset}: {reason}")]
    Protobuf { offset: usize, reason: &'static str },

    /// A native histogram of a remote write request breaks the rules. Series count from 0.
    #[error("series {series}: {reason}")]
    Histogram { series: usize, reason: String },

    /// A line of the text exposition format is malformed. Lines count from 1.
    #[error("line {line}: {reason}")]
    Text { line: usize, reason: String },

    /// An element of the native JSON body is malformed. Elements count from 0.
    #[error("element {element}: {reason}")]
    Json { element: usize, reason: String },

    /// An OTLP body in JSON is malformed, or its fields have values of the wrong kind; the reason says where.
    #[error("malformed OTLP JSON: {reason}")]
    OtlpJson { reason: String },

    /// The compressed body is damaged.
    #[error("{encoding} body cannot be uncompressed: {reason}")]
    Compression { encoding: &'static str, reason: String },

    /// The body claims, or reached, more bytes than this server accepts. The sender should send smaller requests.
    #[error("{what} is larger than the limit of {limit_bytes} bytes")]
    TooLarge { what: &'static str, limit_bytes: usize },

    /// The body grows by more than any honest metrics data does: a decompression bomb.
    #[error("{encoding} body expands more than {limit} times")]
    Bomb { encoding: &'static str, limit: usize },

    /// The `Content-Encoding` is none that this server reads.
    #[error("content encoding {0:?} is not supported; send identity, snappy, gzip, deflate or zstd")]
    UnknownEncoding(String),
}

impl DecodeError {
    pub(crate) fn protobuf(offset: usize, reason: &'static str) -> Self {
        Self::Protobuf { offset, reason }
    }
}
