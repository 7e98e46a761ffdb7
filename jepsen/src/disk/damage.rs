//! Damage to files of a stopped node: one flipped bit, or a lost end.
//!
//! Which file plays which part is told by RocksDB's names: `log/NNN.log` holds the newest Raft entries, `*.sst` what was compacted or sealed.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Which file to damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The write-ahead log of the Raft log's database.
    Log,
    /// A table of the Raft log's database.
    LogTable,
    /// A table with sealed samples: also what a snapshot is made of.
    StateTable,
}

/// What to do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    FlipBit,
    Truncate,
}

impl Target {
    fn folder_and_extension(self) -> (&'static str, &'static str) {
        match self {
            Target::Log => ("log", "log"),
            Target::LogTable => ("log", "sst"),
            Target::StateTable => ("state", "sst"),
        }
    }

    /// The largest file of its kind, since the newest may be empty. `None` when there is none with content.
    pub fn find(self, data_directory: &Path) -> Option<PathBuf> {
        let (folder, extension) = self.folder_and_extension();
        let entries = std::fs::read_dir(data_directory.join(folder)).ok()?.flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|found| found == extension));
        let sized = files.filter_map(|path| Some((path.metadata().ok()?.len(), path))).filter(|(bytes, _)| *bytes > 64);
        sized.max().map(|(_, path)| path)
    }
}

/// Damages a file at a place that `dice` decides; says what was done.
pub fn inflict(deed: Deed, file: &Path, dice: u64) -> anyhow::Result<String> {
    let bytes = file.metadata().with_context(|| format!("look at {}", file.display()))?.len();
    ensure!(bytes > 64, "{} is too short to be damaged", file.display());
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let at = dice % bytes;
    let mut handle = OpenOptions::new().read(true).write(true).open(file).with_context(|| format!("open {}", file.display()))?;
    match deed {
        Deed::FlipBit => {
            let mut byte = [0];
            handle.seek(SeekFrom::Start(at))?;
            handle.read_exact(&mut byte)?;
            byte[0] ^= 1 << (dice >> 32 & 7);
            handle.seek(SeekFrom::Start(at))?;
            handle.write_all(&byte)?;
        }
        Deed::Truncate => handle.set_len(at)?,
    }
    handle.sync_all()?;
    Ok(match deed {
        Deed::FlipBit => format!("flipped a bit of byte {at} of {bytes} in {name}"),
        Deed::Truncate => format!("cut {name} from {bytes} to {at} bytes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_bit_is_flipped_and_an_end_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("state");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("1.sst"), [7_u8; 100]).unwrap();
        std::fs::write(folder.join("2.sst"), [7_u8; 50]).unwrap();
        assert!(Target::Log.find(directory.path()).is_none());
        let file = Target::StateTable.find(directory.path()).unwrap();
        inflict(Deed::FlipBit, &file, 3 << 32 | 42).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let flipped: u32 = bytes.iter().map(|byte| (byte ^ 7).count_ones()).sum();
        assert_eq!((bytes.len(), flipped), (100, 1));
        inflict(Deed::Truncate, &file, 80).unwrap();
        assert_eq!(std::fs::read(&file).unwrap().len(), 80);
        assert!(inflict(Deed::Truncate, &folder.join("2.sst"), 1).is_err());
    }
}
