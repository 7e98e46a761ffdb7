//! Who is on the other end: TLS for connections between nodes, from users, and of `tern admin`. The only crate that knows rustls.
//!
//! A node's certificate names the ids that the node may use ([`node_name`]); both ends of a connection between nodes check the other's
//! against one certificate authority. A connection is made with what the files held when it began ([`Watched`]), so a new certificate
//! needs no restart; connections that are open stay open.
//!
//! What this crate does not do: it decides nothing about what someone may do, and knows neither HTTP nor gRPC.
//!
//! Modules stand bottom-up: each imports only those above it.
#![forbid(unsafe_code)]

mod watched;
mod material;
mod node;
mod web;
mod client;

pub use client::ClientTls;
pub use node::{NodeTls, node_name};
pub use watched::{FileError, Watched};
pub use web::WebTls;

/// An encrypted connection, of either end.
pub type TlsStream = tokio_rustls::TlsStream<tokio::net::TcpStream>;
