//! The system calls of a journal, each with its error.

use std::collections::hash_map::{Entry, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::Error;
use super::record::{BootId, HEADER_LEN};
use super::volume;
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

    /// All that is in the journal; of one that was cut its header alone, which has no other bytes than zeros.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = || {
            let mut file = File::open(&self.path)?;
            file.by_ref().take(HEADER_LEN as u64).read_to_end(&mut bytes)?;
            if bytes.iter().any(|byte| *byte != 0) {
                file.read_to_end(&mut bytes)?;
            }
            Ok(bytes)
        };
        read().map_err(failed("reading", &self.path))
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

    /// Gives back what the journal occupies behind so many bytes.
    pub(super) fn truncate(&self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(failed("cutting", &self.path))?;
        #[cfg(test)]
        trace::push(trace::Event::Truncate(len));
        Ok(())
    }

    /// Makes the journal one without records, on the disk too. It keeps its length: a sync of what is written over
    /// waits for no change of the file's blocks, which would wait for those of all other files.
    pub(super) fn cut(&self) -> Result<(), Error> {
        self.write(0, &[0; HEADER_LEN])?;
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
    /// The time of a change that a file system tells: one without a fraction may keep whole seconds only.
    pub(super) fn of_change((secs, nanos): (i64, i64)) -> Self {
        if nanos == 0 { Self { secs: secs.saturating_add(1), nanos } } else { Self { secs, nanos } }
    }

    /// Seconds and nanoseconds.
    pub(super) fn parts(self) -> (i64, i64) {
        (self.secs, self.nanos)
    }
}

/// The file systems that this process synced, by their devices.
#[derive(Debug, Default)]
pub(super) struct FileSystems(HashMap<u64, FileSystem>);

#[derive(Debug)]
struct FileSystem {
    /// A file on it, opened for this alone.
    file: File,
    path: PathBuf,
    /// What changed before is on the disk.
    synced: Option<Stamp>,
}

impl FileSystems {
    /// Whether what changed then on the device is known to be on the disk.
    pub(super) fn has_synced(&self, device: u64, changed_at: (i64, i64)) -> bool {
        let synced = self.0.get(&device).and_then(|file_system| file_system.synced);
        synced.is_some_and(|synced| Stamp::of_change(changed_at) < synced)
    }

    /// Syncs that of the device, on which there is a file of that name. It is `now`, or later: what changes while the
    /// sync goes on is not known to be part of it.
    pub(super) fn sync(&mut self, device: u64, path: &Path, now: Stamp) -> Result<(), Error> {
        let file_system = match self.0.entry(device) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(new) => {
                let path = absolute(path)?;
                new.insert(FileSystem { file: open_on(device, &path)?, path, synced: None })
            }
        };
        file_system.sync(now)
    }

    /// Syncs all of them.
    pub(super) fn sync_all(&mut self, now: Stamp) -> Result<(), Error> {
        self.0.values_mut().try_for_each(|file_system| file_system.sync(now))
    }
}

impl FileSystem {
    fn sync(&mut self, now: Stamp) -> Result<(), Error> {
        volume::sync(&self.file).map_err(failed("syncing the file system of", &self.path))?;
        #[cfg(test)]
        trace::push(trace::Event::SyncFileSystem);
        self.synced = Some(now);
        Ok(())
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

fn absolute(path: &Path) -> Result<PathBuf, Error> {
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
    #[cfg(test)]
    if let Some(simulated) = trace::boot() {
        return simulated;
    }
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

/// What was done to the disks, and by which kernel, for the simulation of crashes.
#[cfg(test)]
pub(super) mod trace {
    use std::cell::{Cell, RefCell};
    use std::path::{Path, PathBuf};

    use super::BootId;

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
        static BOOT: Cell<Option<u128>> = const { Cell::new(None) };
    }

    /// From here on this thread runs on a kernel that was started so many times.
    pub(in crate::archive::journal) fn set_boot(boot: u128) {
        BOOT.set(Some(boot));
    }

    pub(super) fn boot() -> Option<BootId> {
        BOOT.get().map(u128::to_be_bytes)
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
