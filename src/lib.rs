//! Tern's server: one process of a cluster, and the tool that looks after it. `main.rs` only calls [`run`].
//!
//! A write walks down: `http` → `ingest` (one protocol = one file) → `ingest::writer` → `raft` → `storage`. A query walks
//! down: `http` → `query::runner` → `promql` → (trait) `query::source` → `raft`'s read barrier → `storage`. No room is entered
//! twice; answers come back as values.
//!
//! Nothing in here is meant for other programs: two doors lead in, [`run`] for the binary, and `fuzzing` for the fuzz targets.
//!
//! Modules stand bottom-up: each imports only those above it.

mod clock;
mod version;
mod exit;
mod number;
mod time_text;
mod sample_text;
mod config;
mod auth;
mod trust;
mod logging;
mod process_stats;
mod disk_space;
mod self_metrics;
mod notifications;
mod peers;
mod ingest;
mod query;
mod remote_read;
mod federation;
mod export;
mod http;
mod maintenance;
mod disk;
mod http_config;
mod admin_client;
mod server;
mod command_line;
#[doc(hidden)]
pub mod fuzzing;

use std::process::ExitCode;

use command_line::Invocation;
use http_config::HttpConfig;

/// Does what the process's arguments say. A server returns when it was asked to stop.
pub fn run() -> ExitCode {
    match invoke() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tern: {error:#}");
            exit::leave(1)
        }
    }
}

fn invoke() -> anyhow::Result<()> {
    match command_line::read()? {
        Invocation::Server(layers) => server::run(*layers)?,
        Invocation::PrintConfig => print!("{}", config::DEFAULT_FILE),
        Invocation::PrintVersion => println!("tern {}", version::TERN),
        Invocation::Admin { address, http_config, request } => {
            let config = http_config.as_deref().map(HttpConfig::read).transpose()?.unwrap_or_default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            println!("{}", runtime.block_on(admin_client::run(&address, &config, &request))?);
        }
        Invocation::HashPassword => println!("{}", auth::hash_password(&one_line()?).map_err(anyhow::Error::msg)?),
        Invocation::HashToken => println!("{}", auth::hash_token(&one_line()?)),
    }
    Ok(())
}

/// What stands on standard input, without the end of its line.
fn one_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let secret = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!secret.is_empty(), "standard input is empty; write the secret there: read -rs SECRET; printf %s \"$SECRET\" | tern …");
    Ok(secret.to_string())
}
