//! The lock of an archive.
//!
//! It is that of the open file description: it excludes rrdtool's own, and unlike that one it also holds between threads
//! and survives the close of another descriptor. Linux has it as `F_OFD_SETLK`; macOS and the BSDs as flock(2), which
//! unlike Linux's and locks of fcntl(2) exclude each other.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::rrd::error::{Error, Operation};
use crate::rrd::map::{Access, system};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

impl Kind {
    pub(super) fn of(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
        }
    }
}

/// What to do where somebody else has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Fail at once.
    No,
    /// Wait for it, but not for long.
    Moment,
}

/// The file's lock, given back when dropped.
#[derive(Debug)]
pub(super) struct Lock<'a>(&'a std::fs::File);

impl<'a> Lock<'a> {
    /// Takes the lock.
    pub(super) fn take(file: &'a std::fs::File, kind: Kind, wait: Wait, path: &Path) -> Result<Self, Error> {
        const TRIES: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(5);
        let mut tries = 0;
        while tries < TRIES {
            match of_file::lock(file, kind) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::EAGAIN | Errno::EACCES) if wait == Wait::No => break,
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(system(Operation::Lock, path)(errno.into())),
            }
        }
        Err(Error::Locked { path: path.to_owned() })
    }

    /// Leaves the lock taken: whoever holds the file takes care of it.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }

    /// The lock that was kept.
    pub(super) fn of_holder(file: &'a std::fs::File) -> Self {
        Self(file)
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Giving back a lock that is held does not fail, and closing the file would give it back too.
        let _ = of_file::unlock(self.0);
    }
}

#[cfg(target_os = "linux")]
mod of_file {
    use std::fs::File;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::Kind;

    pub(super) fn lock(file: &File, kind: Kind) -> nix::Result<()> {
        let wanted = match kind {
            Kind::Read => libc::F_RDLCK,
            Kind::Write => libc::F_WRLCK,
        };
        fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(wanted))).map(drop)
    }

    pub(super) fn unlock(file: &File) -> nix::Result<()> {
        fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK))).map(drop)
    }

    fn whole_file(kind: libc::c_int) -> libc::flock {
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod of_file {
    use std::fs::{File, TryLockError};

    use nix::errno::Errno;

    use super::Kind;

    pub(super) fn lock(file: &File, kind: Kind) -> nix::Result<()> {
        let tried = match kind {
            Kind::Read => file.try_lock_shared(),
            Kind::Write => file.try_lock(),
        };
        tried.map_err(|error| match error {
            TryLockError::WouldBlock => Errno::EAGAIN,
            TryLockError::Error(error) => Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        })
    }

    pub(super) fn unlock(file: &File) -> std::io::Result<()> {
        file.unlock()
    }
}
