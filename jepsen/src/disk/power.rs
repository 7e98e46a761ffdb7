//! Loss of power, as the disk sees it: everything that was not synced is gone.
//!
//! ext4 can be told to shut down at once without writing its journal (`EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`, from the kernel's
//! `fs/ext4/ext4.h`). Writers get EIO from then on. After a kill, an unmount and a mount, the disk holds what had been synced before.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::Context;

/// `_IOR('X', 125, __u32)`
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NOLOGFLUSH: u32 = 2;

/// Cuts the power of the file system that is mounted at `mount_point`.
pub fn cut(mount_point: &Path) -> anyhow::Result<()> {
    let directory = File::open(mount_point).with_context(|| format!("open {}", mount_point.display()))?;
    let how = NOLOGFLUSH;
    // Safety: the descriptor is open for the length of the call, and the kernel reads four bytes at the address of a live `u32`.
    let answer = unsafe { libc::ioctl(directory.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const how) };
    if answer != 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("cut the power of {}", mount_point.display()));
    }
    Ok(())
}
