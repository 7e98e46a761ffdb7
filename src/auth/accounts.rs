//! The file of accounts. It holds hashes only; errors name accounts and never show a hash.

use std::collections::BTreeMap;

use ring::digest;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::password;
use super::roles::{Role, Roles};

const ACCOUNTS_MAX: usize = 10_000;
const SHA256_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    users: Vec<UserEntry>,
    #[serde(default)]
    tokens: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    /// A PHC string of argon2id.
    password: String,
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    /// Hexadecimal.
    sha256: String,
    roles: Vec<Role>,
}

/// Everybody who is known.
pub struct Accounts {
    users: BTreeMap<String, User>,
    tokens: Vec<Token>,
}

struct User {
    hash: String,
    roles: Roles,
}

pub struct Token {
    pub name: String,
    pub roles: Roles,
    hash: [u8; SHA256_BYTES],
}

impl Accounts {
    pub fn parse(text: &[u8]) -> Result<Accounts, String> {
        let file: File = serde_yaml_ng::from_slice(text).map_err(|error| hidden(&error))?;
        if file.users.len() + file.tokens.len() > ACCOUNTS_MAX {
            return Err(format!("more than {ACCOUNTS_MAX} accounts"));
        }
        let mut users = BTreeMap::new();
        for entry in file.users {
            let (name, user) = user(entry)?;
            if users.insert(name.clone(), user).is_some() {
                return Err(format!("user {name:?} stands there twice"));
            }
        }
        let tokens: Vec<Token> = file.tokens.into_iter().map(token).collect::<Result<_, _>>()?;
        if users.is_empty() && tokens.is_empty() {
            return Err("names no users and no tokens, so nobody could do anything".to_string());
        }
        Ok(Accounts { users, tokens })
    }

    /// Looks at all tokens, so that the time says nothing about which is near.
    pub fn token(&self, token: &str) -> Option<&Token> {
        let asked = digest::digest(&digest::SHA256, token.as_bytes());
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.hash.as_slice().ct_eq(asked.as_ref())) {
                found = Some(token);
            }
        }
        found
    }

    /// What a user's password is checked against, and the user's roles. Of a user who is not known: another's hash and no roles, so that
    /// the check takes as long and ends in nothing. None when no user has a password.
    pub fn password_hash(&self, user: &str) -> Option<(Option<Roles>, &str)> {
        match self.users.get(user) {
            Some(user) => Some((Some(user.roles), &user.hash)),
            None => self.users.values().next().map(|other| (None, other.hash.as_str())),
        }
    }
}

/// Where a YAML text is wrong, without the text.
fn hidden(error: &serde_yaml_ng::Error) -> String {
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column())).unwrap_or_default();
    format!("not a list of accounts{place}; see auth.file in `tern config`")
}

fn user(entry: UserEntry) -> Result<(String, User), String> {
    let UserEntry { name, password, roles } = entry;
    if name.is_empty() || name.contains(':') {
        return Err(format!("user {name:?}: a name is not empty and has no colon"));
    }
    password::check_hash(&password).map_err(|problem| format!("user {name:?}: {problem}"))?;
    let roles = some_roles(&roles).map_err(|problem| format!("user {name:?}: {problem}"))?;
    Ok((name, User { hash: password, roles }))
}

fn token(entry: TokenEntry) -> Result<Token, String> {
    let TokenEntry { name, sha256, roles } = entry;
    let hash = parse_hash(&sha256).ok_or_else(|| format!("token {name:?}: sha256 is not 64 hexadecimal digits; use `tern hash-token`"))?;
    let roles = some_roles(&roles).map_err(|problem| format!("token {name:?}: {problem}"))?;
    Ok(Token { name, roles, hash })
}

fn some_roles(roles: &[Role]) -> Result<Roles, String> {
    if roles.is_empty() { Err("roles is empty; write some of read, write, admin".to_string()) } else { Ok(Roles::of(roles)) }
}

fn parse_hash(text: &str) -> Option<[u8; SHA256_BYTES]> {
    if text.len() != 2 * SHA256_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; SHA256_BYTES];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// What the file keeps of a token.
pub fn hash_token(token: &str) -> String {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_as_its_sha_256() {
        // FIPS 180-2's example.
        assert_eq!(hash_token("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn mistakes_are_named_without_showing_a_hash() {
        let hash = hash_token("x");
        let cases = [
            (String::new(), "names no users"),
            ("users: 7".to_string(), "not a list of accounts at line 1"),
            (format!("tokens: [{{name: a, sha256: {hash}, roles: [reed]}}]"), "not a list of accounts"),
            (format!("tokens: [{{name: a, sha256: {hash}, roles: []}}]"), "token \"a\": roles is empty"),
            (format!("tokens: [{{name: a, sha256: {hash}0, roles: [read]}}]"), "token \"a\": sha256 is not"),
            (format!("users: [{{name: a, password: {hash}, roles: [read]}}]"), "user \"a\": password is no argon2id hash"),
            (format!("users: [{{name: a, password: {hash}, rolls: [read]}}]"), "not a list of accounts"),
        ];
        for (text, expected) in cases {
            let error = Accounts::parse(text.as_bytes()).err().expect(expected);
            assert!(error.contains(expected) && !error.contains(&hash[..20]), "{error}");
        }
    }
}
