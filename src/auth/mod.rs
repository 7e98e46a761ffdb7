//! Who asks, and what they may do: users with passwords and bearers of tokens, from one file (`auth.file`).
//!
//! Tokens are long and random, so their plain SHA-256 is kept, and compared in constant time. Passwords are not, so their argon2id is
//! kept; that is slow on purpose, and therefore done on threads of its own, few at a time, and what was right is remembered under a
//! keyed hash.
//!
//! Modules stand bottom-up: each imports only those above it.

mod roles;
mod accounts;
mod password;
mod credentials;

use std::path::PathBuf;

use tls::{FileError, Watched};

use crate::config::AuthSettings;
use accounts::Accounts;
use credentials::Credentials;
use password::PasswordChecker;

pub use accounts::hash_token;
pub use credentials::basic;
pub use password::hash_password;
pub use roles::{Role, Roles};

/// Somebody who has proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `user x` or `token y`.
    pub name: String,
    pub roles: Roles,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthFailure {
    /// Nothing was shown. Answer 401.
    #[error("credentials are needed: basic authentication or a bearer token")]
    Missing,
    /// Also for a user who does not exist: the answer does not tell which. Answer 401.
    #[error("the credentials are wrong")]
    Wrong,
    /// Answer 401.
    #[error("the header Authorization cannot be read; send Basic or Bearer credentials")]
    Unreadable,
    /// Too many passwords wait to be checked. Answer 503 with Retry-After.
    #[error("too many passwords are being checked (auth.password_queue)")]
    Busy,
}

/// Knows the accounts.
pub struct Authenticator {
    accounts: Watched<Accounts>,
    passwords: PasswordChecker,
}

impl Authenticator {
    pub fn open(file: PathBuf, settings: &AuthSettings) -> Result<Authenticator, FileError> {
        let accounts = Watched::open(vec![file], |contents| Accounts::parse(contents.first().map_or(&[][..], Vec::as_slice)))?;
        Ok(Authenticator { accounts, passwords: PasswordChecker::new(settings.password_concurrency, settings.password_queue) })
    }

    /// See [`Watched::refresh`].
    pub fn refresh(&self) -> Result<bool, FileError> {
        let changed = self.accounts.refresh()?;
        if changed {
            self.passwords.forget();
        }
        Ok(changed)
    }

    /// Who sent this value of the header `Authorization`.
    pub async fn identify(&self, authorization: Option<&[u8]>) -> Result<Identity, AuthFailure> {
        let accounts = self.accounts.current();
        match Credentials::read(authorization.ok_or(AuthFailure::Missing)?).ok_or(AuthFailure::Unreadable)? {
            Credentials::Token(token) => {
                let found = accounts.token(&token).ok_or(AuthFailure::Wrong)?;
                Ok(Identity { name: format!("token {}", found.name), roles: found.roles })
            }
            Credentials::Basic { user, password } => {
                let (known, hash) = accounts.password_hash(&user).ok_or(AuthFailure::Wrong)?;
                let is_right = self.passwords.check(&user, hash, password).await.map_err(|_| AuthFailure::Busy)?;
                match known.filter(|_| is_right) {
                    Some(roles) => Ok(Identity { name: format!("user {user}"), roles }),
                    None => Err(AuthFailure::Wrong),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Vec<u8> {
        super::basic(user, password).into_bytes()
    }

    fn file(password: &str) -> String {
        let hash = hash_password(password).expect("hashed");
        let token = hash_token("a-long-random-token");
        format!(
            "users:\n  - name: grafana\n    password: {hash}\n    roles: [read]\n\
             tokens:\n  - name: agent\n    sha256: {token}\n    roles: [write]\n"
        )
    }

    #[tokio::test]
    async fn users_and_tokens_are_told_apart_from_everybody_else() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("accounts.yaml");
        std::fs::write(&path, file("geheim: 1")).expect("write");
        let settings = AuthSettings { file: None, open_health: true, password_concurrency: 1, password_queue: 2 };
        let auth = Authenticator::open(path.clone(), &settings).expect("readable");
        for _ in 0..2 {
            let grafana = auth.identify(Some(&basic("grafana", "geheim: 1"))).await.expect("right");
            assert_eq!((grafana.name.as_str(), grafana.roles.to_string().as_str()), ("user grafana", "read"));
        }
        let agent = auth.identify(Some(b"bearer a-long-random-token")).await.expect("right");
        assert_eq!((agent.name.as_str(), agent.roles.allow(Role::Write)), ("token agent", true));
        for wrong in
            [basic("grafana", "geheim: 2"), basic("nobody", "geheim: 1"), basic("agent", "a-long-random-token"), b"Bearer x".to_vec()]
        {
            assert_eq!(auth.identify(Some(&wrong)).await, Err(AuthFailure::Wrong));
        }
        assert_eq!(auth.identify(None).await, Err(AuthFailure::Missing));
        for unreadable in [&b"Digest x"[..], b"Basic ?", b"Basic", b"", b"\xff"] {
            assert_eq!(auth.identify(Some(unreadable)).await, Err(AuthFailure::Unreadable));
        }

        std::fs::write(&path, file("neu")).expect("write");
        assert_eq!(auth.refresh().map_err(|error| error.to_string()), Ok(true));
        assert_eq!(auth.identify(Some(&basic("grafana", "geheim: 1"))).await, Err(AuthFailure::Wrong), "not remembered");
        assert!(auth.identify(Some(&basic("grafana", "neu"))).await.is_ok());
    }
}
