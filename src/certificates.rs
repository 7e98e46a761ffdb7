//! The certificates of a process, kept as fresh as their files.

use std::sync::Arc;
use std::time::Duration;

use tls::{FileError, NodeTls};
use tokio_util::sync::CancellationToken;

use crate::config::TlsSettings;

/// What this process shows; none where it speaks in the clear. Cheap to copy.
#[derive(Clone)]
pub struct Certificates {
    pub node: Option<Arc<NodeTls>>,
}

impl Certificates {
    /// Reads the files of the settings; an error when they cannot be used now.
    pub fn open(settings: &TlsSettings) -> Result<Certificates, FileError> {
        let node = settings.node.clone().map(|files| NodeTls::open(files.authority, files.certificate, files.key));
        Ok(Certificates { node: node.transpose()?.map(Arc::new) })
    }

    /// Looks at the files until told to stop.
    pub async fn keep_fresh(self, interval: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let certificates = self.clone();
            let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
        }
    }

    fn refresh(&self) {
        match self.node.as_deref().map(NodeTls::refresh) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => tracing::info!("new certificates are in use"),
            Some(Err(error)) => tracing::warn!(%error, "new certificates cannot be used; the ones before stay in use"),
        }
    }
}
