//! Certificates for runs with TLS: an authority that issues what a test asks for, also what nobody should trust.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Whether a certificate is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Good,
    Expired,
}

/// Where a certificate and its key were written.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn create() -> anyhow::Result<Authority> {
        let key = KeyPair::generate().context("generate a key")?;
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        parameters.distinguished_name = common_name("authority of a test");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(parameters, key), pem })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the authority's certificate to a file.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, &self.pem).with_context(|| format!("write {}", path.display()))
    }

    /// Writes a certificate for these names and addresses, and its key, to `NAME.pem` and `NAME.key`. The key first, so that whoever
    /// looks in between sees two files that do not fit.
    pub fn issue(&self, directory: &Path, name: &str, subjects: &[&str], validity: Validity) -> anyhow::Result<Files> {
        let key = KeyPair::generate().context("generate a key")?;
        let mut parameters = CertificateParams::new(subjects.iter().map(|&subject| subject.to_owned()).collect::<Vec<_>>())?;
        parameters.distinguished_name = common_name(name);
        if validity == Validity::Expired {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        let files = Files { certificate: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) };
        std::fs::write(&files.key, key.serialize_pem())?;
        std::fs::write(&files.certificate, certificate.pem())?;
        Ok(files)
    }
}

/// OpenSSL takes a certificate that is named like its issuer for one that signed itself.
fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
