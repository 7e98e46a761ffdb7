//! Tern's server.
#![allow(dead_code, unused_imports)]
mod clock;
mod version;
mod number;
mod time_text;
mod config;
mod self_metrics;
mod ingest;
mod http;
mod admin_client;
mod command_line;

fn main() {}
