//! A small file that is either the old one or the new one, whatever happens in between.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::fault::{Result, StorageError};

/// Writes a file beside its final name, syncs it, renames it, and syncs the directory.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_directory_of(path)
    };
    write().map_err(|e| StorageError::file("write", path, e))
}

/// Makes the creation, renaming or removal of a file durable.
pub fn sync_directory_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
