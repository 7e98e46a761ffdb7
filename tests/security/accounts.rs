//! The accounts that these tests know, and their file, made with the tool that users make theirs with.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::support::TERN;

/// Somebody with one role.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub secret: String,
    pub role: &'static str,
    /// Has a password, else a token.
    pub is_user: bool,
}

const ROLES: [(&str, &str); 3] = [("reader", "read"), ("writer", "write"), ("boss", "admin")];

/// Three users and three tokens, one for each role.
pub fn all() -> Vec<Account> {
    let user =
        |(name, role): (&str, &'static str)| Account {
            name: name.into(), secret: format!("{name}s-Geheimnis-äß:1"), role, is_user: true
        };
    let token = |(_, role): (&str, &'static str)| Account {
        name: format!("{role}-token"),
        secret: format!("{role}-5d41402abc4b2a76b9719d911017c592"),
        role,
        is_user: false,
    };
    ROLES.iter().map(|&pair| user(pair)).chain(ROLES.iter().map(|&pair| token(pair))).collect()
}

pub fn user(name: &str) -> Account {
    all().into_iter().find(|account| account.name == name).expect("an account of these tests")
}

pub fn token(name: &str) -> Account {
    user(name)
}

impl Account {
    /// The header's value.
    pub fn authorization(&self) -> String {
        if self.is_user { basic(&self.name, &self.secret) } else { format!("Bearer {}", self.secret) }
    }
}

/// `Basic …`, by Debian's base64.
pub fn basic(user: &str, password: &str) -> String {
    let encoded = piped(Command::new("base64").arg("-w0"), &format!("{user}:{password}"));
    format!("Basic {}", encoded.expect("base64 works"))
}

/// Writes the file of all accounts.
pub fn write(path: &Path) -> anyhow::Result<()> {
    let mut users = Vec::new();
    let mut tokens = Vec::new();
    for account in all() {
        let tool = if account.is_user { "hash-password" } else { "hash-token" };
        let hash = piped(Command::new(TERN).arg(tool), &account.secret)?;
        if account.is_user {
            users.push(serde_json::json!({"name": account.name, "password": hash, "roles": [account.role]}));
        } else {
            tokens.push(serde_json::json!({"name": account.name, "sha256": hash, "roles": [account.role]}));
        }
    }
    // JSON is YAML.
    let file = serde_json::json!({"users": users, "tokens": tokens});
    std::fs::write(path, file.to_string()).with_context(|| format!("write {}", path.display()))
}

fn piped(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
