//! Watching the room on this node's disk, so that no database ever meets a full one.
//!
//! Three levels, by the setting `storage.free_bytes_min`: below it writes are refused and leaders move away, below half of it
//! large appends from leaders are refused as well. A reserve file gives some room back when others have filled the disk all the
//! same. When there is room again everything goes on by itself.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raft::{Node, Space};
use tokio_util::sync::CancellationToken;

use crate::config::SpaceSettings;

const INTERVAL: Duration = Duration::from_millis(250);
const RESERVE_FILE: &str = "reserve";
/// Without a setting: this part of the disk, within these bounds.
const FREE_PART: u64 = 20;
const FREE_BYTES_LEAST: u64 = 1 << 30;
const FREE_BYTES_MOST: u64 = 10 << 30;

/// Room of a file system, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub free: u64,
    pub total: u64,
}

/// Asks the file system that `path` is on.
pub fn room(path: &Path) -> io::Result<Room> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // Safety: the path ends with a zero, and the structure is written whole when the call succeeds.
    let answer = unsafe {
        if libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        answer.assume_init()
    };
    Ok(Room { free: answer.f_bavail * answer.f_frsize, total: answer.f_blocks * answer.f_frsize })
}

/// Tells the node about its disk until `stop` is cancelled.
pub async fn watch(node: Arc<Node>, folder: PathBuf, settings: SpaceSettings, stop: CancellationToken) {
    let mut watcher = Watcher { reserve: folder.join(RESERVE_FILE), folder, settings };
    loop {
        match room(&watcher.folder) {
            Ok(room) => node.set_space(watcher.judge(node.space(), room)),
            Err(error) => tracing::error!(%error, "ask for the room on the disk"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

struct Watcher {
    folder: PathBuf,
    reserve: PathBuf,
    settings: SpaceSettings,
}

impl Watcher {
    fn judge(&mut self, before: Space, room: Room) -> Space {
        let least = free_bytes_min(self.settings.free_bytes_min, room.total);
        let now = level(before, room.free, least);
        let free = room.free;
        match (before, now) {
            (Space::Ample, Space::Ample) | (Space::Low, Space::Low) | (Space::Critical, Space::Critical) => {}
            (_, Space::Ample) => tracing::info!(free, "there is room on the disk again; writes are taken"),
            (Space::Ample, _) => tracing::error!(free, least, "the disk is nearly full; writes are refused (storage.free_bytes_min)"),
            (_, now) => tracing::error!(free, least, ?now, "room on the disk"),
        }
        self.keep_reserve(now, room.free, least);
        now
    }

    fn keep_reserve(&self, space: Space, free: u64, least: u64) {
        let bytes = self.settings.reserve_bytes;
        let exists = self.reserve.exists();
        let result = match space {
            Space::Ample if !exists && bytes > 0 && free > least.saturating_add(2 * bytes) => allocate(&self.reserve, bytes),
            Space::Critical if exists && free < least / 4 => {
                tracing::error!(free, "the reserve is used up: give the disk more room");
                std::fs::remove_file(&self.reserve)
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            tracing::warn!(%error, file = %self.reserve.display(), "keep a reserve on the disk");
        }
    }
}

fn free_bytes_min(setting: u64, total: u64) -> u64 {
    match setting {
        0 => (total / FREE_PART).clamp(FREE_BYTES_LEAST, FREE_BYTES_MOST),
        bytes => bytes,
    }
}

/// A little more room is needed to leave a level than to enter it.
fn level(before: Space, free: u64, least: u64) -> Space {
    let margin = |entered: bool| if entered { least / 10 } else { 0 };
    if free < least / 2 + margin(before == Space::Critical) {
        Space::Critical
    } else if free < least + margin(before != Space::Ample) {
        Space::Low
    } else {
        Space::Ample
    }
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // Safety: the descriptor is open for the time of the call, which touches no memory of ours.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        code => {
            let _ = std::fs::remove_file(path);
            Err(io::Error::from_raw_os_error(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_left_later_than_entered() {
        let least = 1000;
        assert_eq!(level(Space::Ample, 1000, least), Space::Ample);
        assert_eq!(level(Space::Ample, 999, least), Space::Low);
        assert_eq!(level(Space::Low, 1099, least), Space::Low);
        assert_eq!(level(Space::Low, 1100, least), Space::Ample);
        assert_eq!(level(Space::Low, 499, least), Space::Critical);
        assert_eq!(level(Space::Critical, 599, least), Space::Critical);
        assert_eq!(level(Space::Critical, 600, least), Space::Low);
        assert_eq!(level(Space::Critical, 5000, least), Space::Ample);
    }

    #[test]
    fn without_a_setting_it_is_a_part_of_the_disk_within_bounds() {
        assert_eq!(free_bytes_min(0, 1 << 30), FREE_BYTES_LEAST);
        assert_eq!(free_bytes_min(0, 100 << 30), 5 << 30);
        assert_eq!(free_bytes_min(0, 1 << 44), FREE_BYTES_MOST);
        assert_eq!(free_bytes_min(7, 1 << 44), 7);
    }

    #[test]
    fn a_real_file_system_has_room() {
        let folder = tempfile::tempdir().expect("folder");
        let before = room(folder.path()).expect("known");
        assert!(before.free > 0 && before.free <= before.total);
        let file = folder.path().join("reserve");
        allocate(&file, 1 << 20).expect("allocated");
        assert_eq!(file.metadata().expect("there").len(), 1 << 20);
    }
}
