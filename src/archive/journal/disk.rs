//! The system calls of a journal, each with its error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::Error;
use super::record::BootId;
use crate::archive::lock::{Held, NotHeld, hold};

/// A journal's folder, locked, and the journal in it.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    lock: Held,
}

const JOURNAL: &str = "journal";
const LOCK: &str = "lock";

impl Folder {
    /// Makes the folder where it is missing, locks it, and opens its journal.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| match error.kind() {
            // Something is, but no folder.
            io::ErrorKind::AlreadyExists => failed("making the folder", dir)(Errno::ENOTDIR.into()),
            _ => failed("making the folder", dir)(error),
        })?;
        let lock = lock(dir)?;
        // The working folder may be another later.
        let dir = absolute(dir)?;
        let path = dir.join(JOURNAL);
        let folder = Self { file: open(&path)?, dir, path, lock };
        sync_names(&folder.dir)?;
        // And the folder's own name, which may be new; who may not read what is above it has not made it.
        let _ = folder.dir.parent().map(sync_names);
        Ok(folder)
    }

    /// All that is in the journal.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        fs::read(&self.path).map_err(failed("reading", &self.path))
    }

    /// Writes at an offset of the journal.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(failed("writing", &self.path))?;
        #[cfg(test)]
        trace::push(trace::Event::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(failed("syncing", &self.path))?;
        #[cfg(test)]
        trace::push(trace::Event::SyncJournal);
        Ok(())
    }

    /// Cuts the journal to so many bytes.
    pub(super) fn truncate(&self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(failed("cutting", &self.path))?;
        #[cfg(test)]
        trace::push(trace::Event::Truncate(len));
        Ok(())
    }

    /// Empties the journal, on the disk too.
    pub(super) fn cut(&self) -> Result<(), Error> {
        self.truncate(0)?;
        self.sync()
    }

    /// Gives the journal a name that nothing has yet, which is returned, and begins another one.
    pub(super) fn keep_aside(&mut self) -> Result<PathBuf, Error> {
        let free = (1_u64..).map(|number| self.dir.join(format!("{JOURNAL}.kept-{number}")));
        let kept = free
            .into_iter()
            .find(|path| path.symlink_metadata().is_err())
            .unwrap_or_else(|| self.dir.join(format!("{JOURNAL}.kept")));
        fs::rename(&self.path, &kept).map_err(failed("renaming", &self.path))?;
        self.file = open(&self.path)?;
        sync_names(&self.dir)?;
        #[cfg(test)]
        trace::push(trace::Event::KeepAside);
        Ok(kept)
    }

    /// The time now, by the clock that stamps the changes of files.
    pub(super) fn stamp(&self) -> Result<Stamp, Error> {
        let path = || self.dir.join(LOCK);
        futimens(self.lock.file(), &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)
            .map_err(|errno| failed("stamping", &path())(errno.into()))?;
        let metadata = self.lock.file().metadata().map_err(failed("stamping", &path()))?;
        Ok(Stamp { secs: metadata.ctime(), nanos: metadata.ctime_nsec() })
    }
}

/// When something changed, by the clock of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    secs: i64,
    nanos: i64,
}

impl Stamp {
    pub(super) const NEVER: Self = Self { secs: i64::MIN, nanos: 0 };

    /// The time of a change that a file system tells: one without a fraction may keep whole seconds only.
    pub(super) fn of_change((secs, nanos): (i64, i64)) -> Self {
        if nanos == 0 { Self { secs: secs.saturating_add(1), nanos } } else { Self { secs, nanos } }
    }
}

/// Opens a file of a device for its file system's sake alone.
pub(super) fn open_on(device: u64, path: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(failed("opening", path))?;
    let metadata = file.metadata().map_err(failed("opening", path))?;
    // Replaced since it was locked, by something on another file system.
    let elsewhere = || failed("opening", path)(Errno::ESTALE.into());
    if metadata.dev() == device { Ok(file) } else { Err(elsewhere()) }
}

/// Waits until everything on the file system is on the disk.
pub(super) fn sync_file_system(file: &File, path: &Path) -> Result<(), Error> {
    nix::unistd::syncfs(file).map_err(|errno| failed("syncing the file system of", path)(errno.into()))?;
    #[cfg(test)]
    trace::push(trace::Event::SyncFileSystem);
    Ok(())
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(failed("finding", path))
}

/// A number that no journal before had.
pub(super) fn salt() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| Error::System {
        operation: "drawing a number for",
        path: PathBuf::from(JOURNAL),
        errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
    })
}

/// The id of this run of the kernel; zeros where it does not tell.
pub(super) fn boot_id() -> BootId {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits = text.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

/// Waits until the names in a folder are on the disk.
fn sync_names(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|opened| opened.sync_all()).map_err(failed("syncing", dir))
}

fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed("opening", path))
}

fn lock(dir: &Path) -> Result<Held, Error> {
    let path = dir.join(LOCK);
    hold(&path).map_err(|error| match error {
        NotHeld::Taken(pid) => Error::Taken { folder: dir.to_owned(), pid },
        NotHeld::System(error) => failed("locking", &path)(error),
    })
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::System {
        operation,
        path: path.to_owned(),
        errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
    }
}

/// What was done to the disks, for the simulation of crashes.
#[cfg(test)]
pub(super) mod trace {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    #[derive(Clone, Debug)]
    pub(in crate::archive::journal) enum Event {
        /// Into the journal.
        Write {
            offset: u64,
            bytes: Vec<u8>,
        },
        /// Into an archive: offsets and bytes.
        Store {
            path: PathBuf,
            ranges: Vec<(u64, Vec<u8>)>,
        },
        SyncJournal,
        SyncFileSystem,
        Truncate(u64),
        KeepAside,
    }

    thread_local! {
        static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    }

    pub(in crate::archive::journal) fn push(event: Event) {
        EVENTS.with_borrow_mut(|events| events.push(event));
    }

    pub(in crate::archive::journal) fn stored(
        path: &Path,
        for_each: impl FnOnce(&mut dyn FnMut(u64, &[u8])),
    ) {
        let mut ranges = Vec::new();
        for_each(&mut |offset, bytes| ranges.push((offset, bytes.to_vec())));
        push(Event::Store { path: path.to_owned(), ranges });
    }

    pub(in crate::archive::journal) fn take() -> Vec<Event> {
        EVENTS.take()
    }
}
