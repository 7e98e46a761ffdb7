//! The header `Authorization` (RFC 7617, RFC 6750). InfluxDB's clients write `Token` for `Bearer`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What somebody shows. Never printed.
pub enum Credentials {
    Basic { user: String, password: String },
    Token(String),
}

impl Credentials {
    /// None when it is nothing that is understood here.
    pub fn read(header: &[u8]) -> Option<Credentials> {
        let (scheme, value) = std::str::from_utf8(header).ok()?.split_once(' ')?;
        let value = value.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" | "token" if !value.is_empty() => Some(Credentials::Token(value.to_string())),
            "basic" => {
                let decoded = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
                let (user, password) = decoded.split_once(':')?;
                Some(Credentials::Basic { user: user.to_string(), password: password.to_string() })
            }
            _ => None,
        }
    }
}

/// The header's value for a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
