//! Settings of TLS and of who may do what.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::Layers;
use super::{ConfigError, value};

/// Who may do what.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Accounts; none: everybody may do everything.
    pub file: Option<PathBuf>,
    /// Whether health is told to everybody.
    pub open_health: bool,
    /// Passwords checked at once, and how many may wait.
    pub password_concurrency: usize,
    pub password_queue: usize,
}

impl AuthSettings {
    pub fn read(layers: &Layers) -> Result<AuthSettings, ConfigError> {
        Ok(AuthSettings {
            file: layers.read("auth.file", value::optional_path)?,
            open_health: layers.read("auth.open_health", value::flag)?,
            password_concurrency: layers.read("auth.password_concurrency", value::count_above_zero)?,
            password_queue: layers.read("auth.password_queue", value::count)?,
        })
    }
}

/// Where the certificates are.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Between nodes; none: in the clear.
    pub node: Option<NodeTlsFiles>,
    /// For users; none: HTTP without TLS.
    pub web: Option<WebTlsFiles>,
    pub reload_interval: Duration,
}

#[derive(Clone, Debug)]
pub struct NodeTlsFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug)]
pub struct WebTlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose certificates users must show; none: they need none.
    pub client_authority: Option<PathBuf>,
}

impl TlsSettings {
    pub fn read(layers: &Layers) -> Result<TlsSettings, ConfigError> {
        let file = |name: &str| layers.read(name, value::optional_path);
        Ok(TlsSettings {
            node: node_files(layers, file("tls.node_ca")?, file("tls.node_certificate")?, file("tls.node_key")?)?,
            web: web_files(layers, file("tls.web_certificate")?, file("tls.web_key")?, file("tls.web_client_ca")?)?,
            reload_interval: layers.read("tls.reload_interval", value::duration_above_zero)?,
        })
    }
}

type File = Option<PathBuf>;

fn node_files(layers: &Layers, ca: File, certificate: File, key: File) -> Result<Option<NodeTlsFiles>, ConfigError> {
    match (ca, certificate, key) {
        (None, None, None) => Ok(None),
        (Some(authority), Some(certificate), Some(key)) => Ok(Some(NodeTlsFiles { authority, certificate, key })),
        (ca, certificate, _) => {
            let missing = if ca.is_none() { "tls.node_ca" } else { "tls.node_key" };
            let missing = if ca.is_some() && certificate.is_none() { "tls.node_certificate" } else { missing };
            incomplete(layers, missing, "tls.node_ca, tls.node_certificate and tls.node_key belong together")
        }
    }
}

fn web_files(layers: &Layers, certificate: File, key: File, client_ca: File) -> Result<Option<WebTlsFiles>, ConfigError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(WebTlsFiles { certificate, key, client_authority: client_ca })),
        (None, None) if client_ca.is_none() => Ok(None),
        (None, _) => incomplete(layers, "tls.web_certificate", "is needed with tls.web_key and tls.web_client_ca"),
        (_, None) => incomplete(layers, "tls.web_key", "is needed with tls.web_certificate"),
    }
}

fn incomplete<T>(layers: &Layers, name: &str, problem: &str) -> Result<Option<T>, ConfigError> {
    layers.read(name, |_| Err(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::Manual;
    use super::*;

    fn with(flags: &[(&str, &str)]) -> Result<TlsSettings, String> {
        let mut layers = Layers::defaults(Manual::read());
        for (name, value) in flags {
            layers.lay_flag(name, (*value).to_string()).expect("known");
        }
        TlsSettings::read(&layers).map_err(|error| error.to_string())
    }

    #[test]
    fn files_that_belong_together_are_missed() {
        let none = with(&[]).expect("the default");
        assert!(none.node.is_none() && none.web.is_none());
        let node = [("tls.node_ca", "a"), ("tls.node_certificate", "c"), ("tls.node_key", "k")];
        assert!(with(&node).expect("complete").node.is_some());
        for left_out in 0..3 {
            let some: Vec<_> = node.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, pair)| *pair).collect();
            let error = with(&some).expect_err("incomplete");
            assert!(error.starts_with(&format!("setting {} ", node[left_out].0)), "{error}");
        }
        assert!(with(&[("tls.web_certificate", "c")]).expect_err("no key").contains("tls.web_key"));
        assert!(with(&[("tls.web_client_ca", "a")]).expect_err("no certificate").contains("tls.web_certificate"));
    }
}
