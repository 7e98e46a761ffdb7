//! Settings of TLS and of who may do what.

use std::path::PathBuf;
use std::time::Duration;

use super::layers::Layers;
use super::{ConfigError, value};

/// Where the certificates are.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Between nodes; none: in the clear.
    pub node: Option<NodeTlsFiles>,
    pub reload_interval: Duration,
}

#[derive(Clone, Debug)]
pub struct NodeTlsFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsSettings {
    pub fn read(layers: &Layers) -> Result<TlsSettings, ConfigError> {
        let file = |name: &str| layers.read(name, value::optional_path);
        Ok(TlsSettings {
            node: node_files(layers, file("tls.node_ca")?, file("tls.node_certificate")?, file("tls.node_key")?)?,
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
        assert!(none.node.is_none());
        let node = [("tls.node_ca", "a"), ("tls.node_certificate", "c"), ("tls.node_key", "k")];
        assert!(with(&node).expect("complete").node.is_some());
        for left_out in 0..3 {
            let some: Vec<_> = node.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, pair)| *pair).collect();
            let error = with(&some).expect_err("incomplete");
            assert!(error.starts_with(&format!("setting {} ", node[left_out].0)), "{error}");
        }
    }
}
