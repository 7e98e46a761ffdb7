//! A disk in a file: ext4 on a loop device, in shared memory (fast syncs) or beside the run's other files.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::shell::run;

/// Where images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Medium {
    /// No images: data directories are plain directories. Power cannot be cut.
    None,
    /// /dev/shm: a sync costs 0.1 ms.
    Memory,
    /// The run's directory.
    Disk,
}

/// A mounted image, unmounted and removed when dropped.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    mount_point: PathBuf,
}

impl Image {
    /// Makes a file system of `bytes` and mounts it. Both paths carry the run's name, so that [`crate::leftovers`] finds them.
    pub fn create(file: PathBuf, mount_point: PathBuf, bytes: u64) -> anyhow::Result<Image> {
        std::fs::create_dir_all(&mount_point).with_context(|| format!("create {}", mount_point.display()))?;
        let image = Image { file, mount_point };
        File::create(&image.file).and_then(|file| file.set_len(bytes)).with_context(|| format!("create {}", image.file.display()))?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", &image.file.display().to_string()])?;
        image.mount()?;
        Ok(image)
    }

    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    pub fn mount(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "loop", &self.file.display().to_string(), &self.mount_point.display().to_string()]).map(drop)
    }

    pub fn unmount(&self) -> anyhow::Result<()> {
        run("umount", &[&self.mount_point.display().to_string()]).map(drop)
    }

    /// (size, available) in bytes.
    pub fn space(&self) -> anyhow::Result<(u64, u64)> {
        let listing = run("df", &["--block-size=1", "--output=size,avail", &self.mount_point.display().to_string()])?;
        let numbers: Vec<u64> = listing.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        Ok((*numbers.first().context("df: no size")?, *numbers.get(1).context("df: no space")?))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            // Still used by a process that is about to end: the kernel unmounts when it has.
            let _ = run("umount", &["--lazy", &self.mount_point.display().to_string()]);
        }
        let _ = std::fs::remove_file(&self.file);
    }
}
