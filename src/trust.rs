//! What this process shows to others and whom it believes: certificates and accounts, kept as fresh as their files.

use std::sync::Arc;
use std::time::Duration;

use tls::{FileError, NodeTls, WebTls};
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::config::Settings;

/// None where a setting is empty: in the clear, or everybody may do everything. Cheap to copy.
#[derive(Clone)]
pub struct Trust {
    pub node: Option<Arc<NodeTls>>,
    pub web: Option<Arc<WebTls>>,
    pub accounts: Option<Arc<Authenticator>>,
}

impl Trust {
    /// Reads the files of the settings; an error when they cannot be used now.
    pub fn open(settings: &Settings) -> Result<Trust, FileError> {
        let (tls, auth) = (&settings.tls, &settings.auth);
        let node = tls.node.clone().map(|files| NodeTls::open(files.authority, files.certificate, files.key));
        let web = tls.web.clone().map(|files| WebTls::open(files.certificate, files.key, files.client_authority));
        let accounts = auth.file.clone().map(|file| Authenticator::open(file, auth));
        Ok(Trust {
            node: node.transpose()?.map(Arc::new),
            web: web.transpose()?.map(Arc::new),
            accounts: accounts.transpose()?.map(Arc::new),
        })
    }

    /// Looks at the files until told to stop.
    pub async fn keep_fresh(self, interval: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let trust = self.clone();
            let _ = tokio::task::spawn_blocking(move || trust.refresh()).await;
        }
    }

    fn refresh(&self) {
        report("certificates between nodes", self.node.as_deref().map(NodeTls::refresh));
        report("certificates for users", self.web.as_deref().map(WebTls::refresh));
        report("accounts", self.accounts.as_deref().map(Authenticator::refresh));
    }
}

fn report(what: &str, refreshed: Option<Result<bool, FileError>>) {
    match refreshed {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => tracing::info!("new {what} are in use"),
        Some(Err(error)) => tracing::warn!(%error, "new {what} cannot be used; the ones before stay in use"),
    }
}
