//! Everything that can go wrong in this crate, in one enum.
//!
//! A variant says when it happens and what the caller should do about it. Decoders of bytes that come
//! from the network or the disk never panic: whatever they are fed, they answer with one of these.

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes are shorter, longer or otherwise not what their format allows, or their checksum differs.
    /// On the disk: this replica must be fenced. From the network: refuse the message.
    #[error("corrupt {what}: {detail}")]
    Corrupt {
        /// The format being read, for example `chunk` or `batch`.
        what: &'static str,
        /// What was seen.
        detail: &'static str,
    },

    /// A format version or a section that this build does not know: written by a newer node.
    /// Upgrade this node; the bytes themselves may be fine.
    #[error("unknown {what} {found}: written by a newer version, upgrade this node")]
    Unsupported {
        /// What is unknown, for example `batch section`.
        what: &'static str,
        /// The value found.
        found: u64,
    },

    /// A label set that no series can have. The sender must change it; a retry cannot help.
    #[error("{0}")]
    Labels(#[from] LabelError),
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a label set is refused. Each message names the label and says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No label with a value is left.
    #[error("the series has no labels: send at least one label with a value, usually __name__")]
    Empty,
    /// A label without a name.
    #[error("a label with the value \"{value}\" has an empty name: give it a name or drop it")]
    EmptyName {
        /// Beginning of the value.
        value: String,
    },
    /// The same name twice.
    #[error("label \"{name}\" is given twice: send every name once")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// More labels than a series may have.
    #[error("the series has {count} labels, at most {max} are allowed: drop some")]
    TooMany {
        /// Labels given.
        count: usize,
        /// Labels allowed.
        max: usize,
    },
    /// A name that is too long.
    #[error("label name \"{start}…\" has {bytes} bytes, at most {max} are allowed: shorten it")]
    NameTooLong {
        /// Beginning of the name.
        start: String,
        /// Its length.
        bytes: usize,
        /// The length allowed.
        max: usize,
    },
    /// A value that is too long.
    #[error("the value of label \"{name}\" has {bytes} bytes, at most {max} are allowed: shorten it")]
    ValueTooLong {
        /// Beginning of the label's name.
        name: String,
        /// The value's length.
        bytes: usize,
        /// The length allowed.
        max: usize,
    },
}
