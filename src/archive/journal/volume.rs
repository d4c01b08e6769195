//! All that was changed on a file system, on its disk.
#![allow(unsafe_code)] // For fsync_volume_np, which no crate has.

use std::fs::File;
use std::io;

/// Waits until all that was changed on the file system of `file` is on the disk.
#[cfg(target_os = "linux")]
pub(super) fn sync(file: &File) -> io::Result<()> {
    Ok(nix::unistd::syncfs(file)?)
}

/// The same, and what the disk itself holds back.
#[cfg(target_vendor = "apple")]
pub(super) fn sync(file: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    /// unistd.h
    const SYNC_VOLUME_FULLSYNC: libc::c_int = 1;
    const SYNC_VOLUME_WAIT: libc::c_int = 2;
    unsafe extern "C" {
        fn fsync_volume_np(file: libc::c_int, flags: libc::c_int) -> libc::c_int;
    }
    // SAFETY: unistd.h has it like this; it takes two numbers, of which the first is an open file for as long as it runs.
    let failed = unsafe { fsync_volume_np(file.as_raw_fd(), SYNC_VOLUME_FULLSYNC | SYNC_VOLUME_WAIT) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Elsewhere the system only promises to begin with it at once: until that is done, a loss of power can take along
/// what was acknowledged since the sync before.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) fn sync(file: &File) -> io::Result<()> {
    nix::unistd::sync();
    file.sync_all()
}
