//! Certificates and keys out of PEM files. Errors never show what a file holds.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate with those that lead to its authority, the end's first.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("not a certificate in PEM: {error}"))?;
    if chain.is_empty() { Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()) } else { Ok(chain) }
}

pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned())
}

/// Certificate authorities that are trusted.
pub fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(|error| format!("not usable as a certificate authority: {error}"))?;
    }
    Ok(Arc::new(roots))
}

/// Demands a certificate of one of the authorities from whoever connects.
pub fn client_verifier(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(|error| error.to_string())
}

/// The names that a certificate speaks for.
pub fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| format!("not a usable certificate: {error}"))?;
    Ok(parsed.valid_dns_names().map(str::to_owned).collect())
}
