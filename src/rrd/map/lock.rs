//! The lock of an archive.
//!
//! It is that of the open file description (`F_OFD_SETLK`): it excludes rrdtool's own, and unlike that one it also
//! holds between threads and survives the close of another descriptor.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

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
        let wanted = match kind {
            Kind::Read => libc::F_RDLCK,
            Kind::Write => libc::F_WRLCK,
        };
        let mut tries = 0;
        while tries < TRIES {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(wanted))) {
                Ok(_) => return Ok(Self(file)),
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
        let _ = fcntl(self.0, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
    }
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
