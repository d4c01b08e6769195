//! Archives on disk: opening, locking, mapping, storing.

mod lock;
mod once;
mod prepared;
mod region;

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::rrd::error::{Error, Fault, Operation, UpdateError};
use crate::rrd::file::{Rrd, check};
use crate::rrd::layout::Layout;
use crate::rrd::update::{Options, Updater, store_in};
use crate::time::UnixTime;

pub use once::{UpdateOptions, Written, tune, update, update_verbosely};
pub use prepared::{Identity, Prepared};

use lock::{Kind, Lock};
use region::{Map, map};

/// What an archive is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and updating.
    Write,
}

/// An archive that is kept open and mapped. Its lock is held during each operation, not between them, so that rrdtool
/// can work beside us; every operation looks at the file anew.
#[derive(Debug)]
pub struct File {
    place: Place,
    map: Map,
    updater: Updater,
}

/// The open file, and how to know it again.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    file: std::fs::File,
    device: u64,
    inode: u64,
}

/// A view of an archive's bytes, under its read lock for as long as it lives.
#[derive(Debug)]
pub struct View<'a> {
    rrd: Rrd<&'a [u8]>,
    _lock: Lock<'a>,
}

impl<'a> Deref for View<'a> {
    type Target = Rrd<&'a [u8]>;

    fn deref(&self) -> &Self::Target {
        &self.rrd
    }
}

impl File {
    /// Opens and maps the archive, and checks it.
    pub fn open(path: impl Into<PathBuf>, access: Access) -> Result<Self, Error> {
        let path = path.into();
        let file = open(&path, access)?;
        let lock = Lock::take(&file, Kind::of(access), &path)?;
        let metadata = file.metadata().map_err(system(Operation::Stat, &path))?;
        // Mapping the length that was asked for makes the system's own errors those of the original: a folder is "No
        // such device", an empty file an "Invalid argument".
        let map = map(&file, access, metadata.len()).map_err(system(Operation::Map, &path))?;
        if let Err(fault) = check(map.bytes(), metadata.len()) {
            return Err(Error::Fault { path, fault });
        }
        drop(lock);
        let place = Place { path, file, device: metadata.dev(), inode: metadata.ino() };
        Ok(Self { place, map, updater: Updater::default() })
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The archive as it is now, locked for reading until the view is dropped.
    pub fn view(&mut self) -> Result<View<'_>, Error> {
        let lock = self.place.lock(Kind::Read, self.map.bytes().len())?;
        let rrd = Rrd::new_checked(self.map.bytes()).map_err(|fault| self.place.fault(fault))?;
        Ok(View { rrd, _lock: lock })
    }

    /// Adds a reading of every data source, in the file's order; NaN is unknown. The value itself goes into the
    /// arithmetic; the file's copy of the last reading is its shortest text.
    pub fn update(&mut self, stamp: UnixTime, values: &[f64]) -> Result<(), Error> {
        self.change(1, |_, updater, header, layout| updater.take_values(header, layout, stamp, values))
    }

    /// Adds readings as `rrdtool update` takes them (`1700000000:1.5:U`); `now` is what `N` and relative times mean.
    /// The first argument that fails ends it; those before it stay applied, and it itself leaves no trace.
    pub fn update_text<A: AsRef<[u8]>>(&mut self, arguments: &[A], now: UnixTime) -> Result<(), Error> {
        let options = Options { template: None, skip_past: false, now };
        self.change(arguments.len(), |index, updater, header, layout| {
            updater.take_text(header, layout, arguments[index].as_ref(), &options)
        })
    }

    /// Takes `count` updates under one lock.
    fn change(
        &mut self,
        count: usize,
        take: impl Fn(usize, &mut Updater, &[u8], Layout) -> Result<(), UpdateError>,
    ) -> Result<(), Error> {
        let Self { place, map: Map::Write(map), updater } = self else {
            return Err(Error::ReadOnly { path: self.place.path.clone() });
        };
        let _lock = place.lock(Kind::Write, map.len())?;
        let layout = check(map, map.len() as u64).map_err(|fault| place.fault(fault))?;
        updater.begin(map, layout);
        for index in 0..count {
            let taken = take(index, updater, map, layout);
            if updater.is_full() || taken.is_err() || index + 1 == count {
                let Ok(()) = updater.apply(layout, store_in(map));
            }
            taken.map_err(|error| Error::Update { path: place.path.clone(), error })?;
        }
        updater.smooth(map, layout);
        Ok(())
    }
}

impl Place {
    /// Takes the lock, and under it sees whether what was mapped is still the file of that name, and as long as it was.
    /// Touching the map of a file that was cut short would kill the process.
    fn lock(&self, kind: Kind, mapped: usize) -> Result<Lock<'_>, Error> {
        let lock = Lock::take(&self.file, kind, &self.path)?;
        let (path, mapped) = (|| self.path.clone(), mapped as u64);
        match self.path.metadata() {
            Ok(now) if (now.dev(), now.ino()) != (self.device, self.inode) => {
                Err(Error::Replaced { path: path() })
            }
            Ok(now) if now.len() != mapped => Err(Error::Resized { path: path(), mapped, now: now.len() }),
            Ok(_) => Ok(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Replaced { path: path() }),
            Err(error) => Err(system(Operation::Stat, &self.path)(error)),
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        Error::Fault { path: self.path.clone(), fault }
    }
}

fn open(path: &Path, access: Access) -> Result<std::fs::File, Error> {
    OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .open(path)
        .map_err(system(Operation::Open, path))
}

fn system(operation: Operation, path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::System {
        operation,
        path: path.to_owned(),
        errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
    }
}
