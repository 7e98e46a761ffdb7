//! Settings. The commented default file `deploy/tern.yaml` is the one source of names, defaults and help texts; a user's
//! file, the environment and flags are laid over it, and [`Settings`] is the typed result.
//!
//! Every error names the setting, where its value came from, and what to write instead.

mod features;
mod layers;
mod manual;
mod value;
mod bulk_read;
mod otlp;
mod security;
mod settings;

pub use bulk_read::BulkReadSettings;
pub use features::Features;
pub use layers::{Layers, Origin};
pub use manual::{DEFAULT_FILE, Manual};
#[cfg(test)]
pub use otlp::TranslationStrategy;
pub use otlp::{OtlpSettings, PromotedAttributes};
pub use security::AuthSettings;
pub use settings::{
    AdminAccess, Consistency, IngestSettings, Join, LogSettings, Peer, QuerySettings, ScrubSettings, Settings, SpaceSettings, WebSettings,
};

/// A setting that cannot be used, with the remedy in its text.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("setting {name} = {value:?} ({origin}): {problem}")]
    Value { name: String, value: String, origin: Origin, problem: String },
    #[error("unknown setting {name} ({origin}); did you mean {nearest}? `tern config` lists all")]
    Unknown { name: String, origin: Origin, nearest: String },
    #[error("read configuration file {path}: {cause}")]
    File { path: String, cause: String },
}
