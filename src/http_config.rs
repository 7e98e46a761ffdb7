//! How `tern admin` reaches a node that wants TLS or credentials: the file that promtool takes as `--http.config.file`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tls::ClientTls;

use crate::auth;

/// What a client shows, and whom it trusts. Never printed.
#[derive(Default)]
pub struct HttpConfig {
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    /// For addresses with `https://`.
    pub tls: TlsFiles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    #[serde(default)]
    tls_config: TlsFiles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicAuth {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    /// The name that the certificate must have, where it is not the address'.
    pub server_name: Option<String>,
    #[serde(default)]
    insecure_skip_verify: bool,
}

impl HttpConfig {
    /// Paths in the file are taken from its folder, as Prometheus does it.
    pub fn read(path: &Path) -> anyhow::Result<HttpConfig> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        // The parser's own words could show a password.
        let file: File = serde_yaml_ng::from_str(&text).map_err(|error| {
            let line = error.location().map_or(0, |place| place.line());
            anyhow::anyhow!("{}: line {line} is not understood; basic_auth, authorization and tls_config are", path.display())
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut tls = file.tls_config;
        ensure!(!tls.insecure_skip_verify, "insecure_skip_verify is not supported: name the authority with ca_file");
        for named in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().flatten() {
            *named = folder.join(&*named);
        }
        ensure!(file.basic_auth.is_none() || file.authorization.is_none(), "write basic_auth or authorization, not both");
        let basic = file.basic_auth.map(|basic| basic.header(folder)).transpose()?;
        let other = file.authorization.map(|authorization| authorization.header(folder)).transpose()?;
        Ok(HttpConfig { authorization: basic.or(other), tls })
    }

    pub fn client_tls(&self) -> anyhow::Result<ClientTls> {
        let own = match (&self.tls.cert_file, &self.tls.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => anyhow::bail!("cert_file and key_file belong together"),
        };
        Ok(ClientTls::open(self.tls.ca_file.as_deref(), own)?)
    }
}

impl BasicAuth {
    fn header(self, folder: &Path) -> anyhow::Result<String> {
        let password = secret(self.password, self.password_file, folder, "password")?;
        Ok(auth::basic(&self.username, &password))
    }
}

impl Authorization {
    fn header(self, folder: &Path) -> anyhow::Result<String> {
        let credentials = secret(self.credentials, self.credentials_file, folder, "credentials")?;
        Ok(format!("{} {credentials}", self.kind.as_deref().unwrap_or("Bearer")))
    }
}

fn secret(written: Option<String>, file: Option<PathBuf>, folder: &Path, name: &str) -> anyhow::Result<String> {
    match (written, file) {
        (Some(written), None) => Ok(written),
        (None, Some(file)) => {
            let file = folder.join(file);
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_string())
        }
        (None, None) => anyhow::bail!("{name} or {name}_file is missing"),
        (Some(_), Some(_)) => anyhow::bail!("write {name} or {name}_file, not both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HttpConfig, String> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("token"), "geheim\n").expect("write");
        let path = folder.path().join("client.yaml");
        std::fs::write(&path, text).expect("write");
        HttpConfig::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_are_what_promtool_would_send() {
        let header = |text| read(text).expect("valid").authorization;
        // RFC 7617's example.
        let basic = header("basic_auth: {username: Aladdin, password: open sesame}");
        assert_eq!(basic.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(header("authorization: {credentials_file: token}").as_deref(), Some("Bearer geheim"));
        assert_eq!(header("authorization: {type: Token, credentials: x}").as_deref(), Some("Token x"));
        assert_eq!(header("tls_config: {ca_file: ca.pem}"), None);
    }

    #[test]
    fn what_is_not_understood_is_refused_without_showing_it() {
        for (text, expected) in [
            ("basic_auth: {username: a, pasword: geheim}", "line 1 is not understood"),
            ("basic_auth: {username: a}", "password or password_file is missing"),
            ("tls_config: {insecure_skip_verify: true}", "name the authority"),
            ("basic_auth: {username: a, password: b}\nauthorization: {credentials: c}", "not both"),
        ] {
            let error = read(text).err().expect(expected);
            assert!(error.contains(expected) && !error.contains("geheim"), "{error}");
        }
    }
}
