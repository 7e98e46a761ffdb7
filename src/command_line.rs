//! The command line: `tern server`, `tern config`, `tern admin …`, `tern version`. The server's flags are made from the
//! default configuration file, one for each setting, so that they cannot fall behind it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::admin_client::AdminRequest;
use crate::config::{ConfigError, Layers, Manual};

/// What the user asked for.
pub enum Invocation {
    Server(Box<Layers>),
    PrintConfig,
    Admin { address: String, http_config: Option<PathBuf>, request: AdminRequest },
    HashPassword,
    HashToken,
    PrintVersion,
}

/// Reads the process's arguments; prints help and exits where clap does.
pub fn read() -> Result<Invocation, ConfigError> {
    let manual = Manual::read();
    let matches = command(&manual).get_matches();
    interpret(manual, &matches, |name| std::env::var(name).ok())
}

fn interpret(manual: Manual, matches: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Result<Invocation, ConfigError> {
    match matches.subcommand() {
        Some(("server", flags)) => Ok(Invocation::Server(Box::new(layers(manual, flags, environment)?))),
        Some(("config", _)) => Ok(Invocation::PrintConfig),
        Some(("admin", admin)) => Ok(admin_invocation(admin)),
        Some(("hash-password", _)) => Ok(Invocation::HashPassword),
        Some(("hash-token", _)) => Ok(Invocation::HashToken),
        _ => Ok(Invocation::PrintVersion),
    }
}

fn layers(manual: Manual, flags: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Result<Layers, ConfigError> {
    let names: Vec<String> = manual.entries.iter().map(|entry| entry.name.clone()).collect();
    let mut layers = Layers::defaults(manual);
    if let Some(path) = flags.get_one::<PathBuf>("config") {
        layers.lay_file(path)?;
    }
    layers.lay_environment(environment);
    for name in names {
        if let Some(value) = flags.get_one::<String>(&name) {
            layers.lay_flag(&name, value.clone())?;
        }
    }
    Ok(layers)
}

fn admin_invocation(admin: &ArgMatches) -> Invocation {
    let address = admin.get_one::<String>("http").cloned().unwrap_or_default();
    let id = |flags: &ArgMatches, name: &str| flags.get_one::<u64>(name).copied().unwrap_or_default();
    let request = match admin.subcommand() {
        Some(("members", _)) => AdminRequest::Members,
        Some(("remove", flags)) => AdminRequest::Remove { node: id(flags, "node") },
        Some(("replace", flags)) => AdminRequest::Replace { old: id(flags, "old"), new: id(flags, "new") },
        Some(("transfer-leader", flags)) => {
            AdminRequest::TransferLeader { group: id(flags, "group"), to: flags.get_one::<u64>("to").copied() }
        }
        _ => AdminRequest::Status,
    };
    Invocation::Admin { address, http_config: admin.get_one::<PathBuf>("http-config").cloned(), request }
}

fn command(manual: &Manual) -> Command {
    Command::new("tern")
        .about("A replicated, highly available time-series database for metrics")
        .version(crate::version::TERN)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(server_command(manual))
        .subcommand(Command::new("config").about("Print the default configuration file: every setting and its meaning"))
        .subcommand(admin_command())
        .subcommand(Command::new("hash-password").about("Read a password from standard input and print what auth.file keeps of it"))
        .subcommand(Command::new("hash-token").about("Read a token from standard input and print what auth.file keeps of it"))
        .subcommand(Command::new("version").about("Print the version"))
}

fn server_command(manual: &Manual) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("TERN_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Configuration file; see `tern config`");
    let flags = manual.entries.iter().map(|entry| {
        let default = if entry.default.is_empty() { "empty" } else { &entry.default };
        Arg::new(entry.name.clone()).long(entry.flag()).value_name("VALUE").action(ArgAction::Set).allow_hyphen_values(true).help(format!(
            "{} [default: {default}] [env: {}]",
            entry.help,
            entry.variable()
        ))
    });
    Command::new("server").about("Run a node").arg(file).args(flags)
}

fn admin_command() -> Command {
    let node = |name: &'static str, help: &'static str| Arg::new(name).required(true).value_parser(clap::value_parser!(u64)).help(help);
    let http = Arg::new("http")
        .long("http")
        .global(true)
        .value_name("ADDRESS")
        .default_value("127.0.0.1:9201")
        .help("HTTP address of any live member; with https:// in front where it speaks TLS");
    let http_config = Arg::new("http-config")
        .long("http-config")
        .global(true)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Credentials and TLS, as promtool's --http.config.file: basic_auth, authorization, tls_config");
    Command::new("admin")
        .about("Look after a running cluster")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(http)
        .arg(http_config)
        .subcommand(Command::new("status").about("Groups, leaders, positions"))
        .subcommand(Command::new("members").about("Members and their addresses"))
        .subcommand(Command::new("remove").about("Remove a member; its shards move to others").arg(node("node", "Member's id")))
        .subcommand(
            Command::new("replace")
                .about("Give a dead member's replicas to a member that has joined")
                .arg(node("old", "Id of the dead member"))
                .arg(node("new", "Id of its successor")),
        )
        .subcommand(
            Command::new("transfer-leader")
                .about("Move a group's leadership")
                .arg(node("group", "0 is the meta group, shard s is group s + 1"))
                .arg(Arg::new("to").long("to").value_parser(clap::value_parser!(u64)).help("Member's id; default: any other")),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Invocation, ConfigError> {
        let manual = Manual::read();
        let matches = command(&manual).try_get_matches_from(arguments).expect("known arguments");
        interpret(manual, &matches, |_| None)
    }

    #[test]
    fn every_setting_is_a_flag() {
        let Ok(Invocation::Server(layers)) = run(&["tern", "server", "--data-dir", "/tmp/x", "--query-samples-max", "7"]) else {
            panic!("a server invocation");
        };
        assert_eq!(layers.text("data_dir"), "/tmp/x");
        assert_eq!(layers.text("query.samples_max"), "7");
        command(&Manual::read()).debug_assert();
    }

    #[test]
    fn admin_requests_carry_their_ids() {
        let Ok(Invocation::Admin { address, request, .. }) = run(&["tern", "admin", "replace", "2", "4", "--http", "h:1"]) else {
            panic!("an admin invocation");
        };
        assert_eq!(address, "h:1");
        assert!(matches!(request, AdminRequest::Replace { old: 2, new: 4 }));
    }
}
