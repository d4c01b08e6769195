//! Archives on disk: opening, locking, mapping, storing.

mod lock;
mod once;
mod prepared;
mod region;
mod set;
mod sigbus;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use crate::rrd::abi;
use crate::rrd::error::{Error, Fault, Operation, UpdateError};
use crate::rrd::file::{Rrd, check};
use crate::rrd::layout::Layout;
use crate::rrd::update::{Options, Template, Updater};
use crate::rrd::xport::{Exported, Xport};
use crate::time::UnixTime;

pub use once::{UpdateOptions, Written, resize, tune, update, update_verbosely};
pub use prepared::{Identity, Prepared};
pub use set::{FileUpdate, Set};

use lock::{Kind, Lock, Wait};
use once::header_len;
use region::Region;

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
    map: Region,
    /// Of a file of a 32-bit machine: what it would be here.
    image: Option<Vec<u8>>,
    updater: Updater,
    /// While the lock is held from one update to the next: what was found when it was taken.
    held: Option<Layout>,
    /// Whether it was written to since the lock was taken.
    written: bool,
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
    place: &'a Place,
    map: &'a Region,
    _lock: Lock<'a>,
}

impl View<'_> {
    /// Ends the reading, and tells whether all that was read was there: another program may have cut the file short
    /// meanwhile, or its disk have failed.
    pub fn finish(self) -> Result<(), Error> {
        self.place.whole(self.map)
    }
}

impl<'a> Deref for View<'a> {
    type Target = Rrd<&'a [u8]>;

    fn deref(&self) -> &Self::Target {
        &self.rrd
    }
}

/// Reads the archives that an export needs, one after the other, and computes the rest of it.
pub fn xport(xport: &Xport) -> Result<Exported, Error> {
    xport.evaluate(|def| {
        let mut file = File::open(OsStr::from_bytes(&def.file), Access::Read)?;
        let view = file.view()?;
        let series = def.read(&view)?;
        view.finish()?;
        Ok(series)
    })
}

impl File {
    /// Opens and maps the archive, and checks it.
    pub fn open(path: impl Into<PathBuf>, access: Access) -> Result<Self, Error> {
        Self::open_within(path, access, Wait::Moment)
    }

    fn open_within(path: impl Into<PathBuf>, access: Access, wait: Wait) -> Result<Self, Error> {
        let path = path.into();
        let file = open(&path, access)?;
        Lock::take(&file, Kind::of(access), wait, &path)?.keep();
        let metadata = file.metadata().map_err(system(Operation::Stat, &path))?;
        // Mapping the length that was asked for makes the system's own errors those of the original: a folder is "No
        // such device", an empty file an "Invalid argument".
        let map = Region::new(&file, access, metadata.len()).map_err(system(Operation::Map, &path))?;
        let place = Place { path, file, device: metadata.dev(), inode: metadata.ino() };
        let mut opened =
            Self { place, map, image: None, updater: Updater::default(), held: None, written: false };
        let mut looked_at = opened.look();
        if let Err(Error::Fault { .. }) = looked_at
            && let Some(image) = abi::foreign_image(opened.map.bytes())
        {
            opened.image = Some(image);
            looked_at = opened.look();
        }
        drop(Lock::of_holder(&opened.place.file));
        if opened.image.is_some() && access == Access::Write {
            return Err(Error::Foreign { path: opened.place.path });
        }
        looked_at.map(|_| opened)
    }

    /// Checks the header as it is now; it was copied first, so that what was checked is what is used.
    fn look(&mut self) -> Result<Layout, Error> {
        let Self { place, map, image, .. } = self;
        if let Some(image) = image {
            *image =
                abi::foreign_image(map.bytes()).ok_or_else(|| place.fault(Fault::ForeignArchitecture))?;
            place.whole(map)?;
            return check(image, image.len() as u64).map_err(|fault| place.fault(fault));
        }
        let len = map.len() as u64;
        let wanted = header_len(map.bytes(), len).map_err(|fault| place.fault(fault))?;
        map.save(wanted);
        place.whole(map)?;
        check(map.saved(), len).map_err(|fault| place.fault(fault))
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The archive as it is now, locked for reading until the view is dropped.
    pub fn view(&mut self) -> Result<View<'_>, Error> {
        self.let_go();
        self.place.lock(Kind::Read, Wait::Moment, &self.map)?.keep();
        let looked_at = self.look();
        let lock = Lock::of_holder(&self.place.file);
        let rrd = Rrd::from_parts(self.image.as_deref().unwrap_or(self.map.bytes()), looked_at?);
        Ok(View { rrd, place: &self.place, map: &self.map, _lock: lock })
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

    /// As [`update`] does it.
    fn update_as<A: AsRef<[u8]>>(
        &mut self,
        options: &UpdateOptions<'_>,
        arguments: &[A],
    ) -> Result<(), Error> {
        let was_held = self.is_held();
        let layout = self.hold(Wait::Moment)?;
        let rrd = Rrd::from_parts(self.map.saved(), layout);
        let template = options.template.map(|text| Template::parse(text, &rrd)).transpose();
        let outcome = template.map_err(Error::from).and_then(|template| {
            let read_as =
                Options { template: template.as_ref(), skip_past: options.skip_past, now: options.now };
            self.change_held(layout, arguments.len(), |index, updater, header, layout| {
                updater.take_text(header, layout, arguments[index].as_ref(), &read_as)
            })
        });
        if !was_held {
            self.let_go();
        }
        outcome
    }

    /// Takes `count` updates under one lock.
    fn change(
        &mut self,
        count: usize,
        take: impl Fn(usize, &mut Updater, &[u8], Layout) -> Result<(), UpdateError>,
    ) -> Result<(), Error> {
        let was_held = self.is_held();
        let layout = self.hold(Wait::Moment)?;
        let outcome = self.change_held(layout, count, take);
        if !was_held {
            self.let_go();
        }
        outcome
    }

    fn change_held(
        &mut self,
        layout: Layout,
        count: usize,
        take: impl Fn(usize, &mut Updater, &[u8], Layout) -> Result<(), UpdateError>,
    ) -> Result<(), Error> {
        let Self { place, map, updater, written, .. } = self;
        *written = true;
        let mut failed = None;
        for index in 0..count {
            // Forecasts read rows too.
            let bytes = if updater.has_forecasts() { map.bytes() } else { map.saved() };
            // Not the whole result: to move it takes longer than to ask it.
            if let Err(error) = take(index, updater, bytes, layout) {
                failed = Some(error);
            }
            if updater.is_full() || failed.is_some() || index + 1 == count {
                // A header must not tell of a row that the disk had no room for.
                updater.apply(layout, |offset, bytes| {
                    map.store(offset, bytes);
                    place.whole(map)
                })?;
            }
            if failed.is_some() {
                break;
            }
        }
        updater.give_back();
        if failed.is_some() || updater.smooth(map.bytes_mut(), layout) {
            updater.begin(map.save(layout.header_len()), layout);
        }
        place.whole(map)?;
        failed.map_or(Ok(()), |error| Err(Error::Update { path: place.path.clone(), error }))
    }

    /// Takes the lock for updates, and keeps it until [`File::let_go`]: one look at the file then serves them all.
    fn hold(&mut self, wait: Wait) -> Result<Layout, Error> {
        if let Some(layout) = self.held {
            return Ok(layout);
        }
        if self.map.access() == Access::Read {
            return Err(Error::ReadOnly { path: self.place.path.clone() });
        }
        self.place.lock(Kind::Write, wait, &self.map)?.keep();
        match self.look() {
            Ok(layout) => {
                self.updater.begin(self.map.saved(), layout);
                Ok(*self.held.insert(layout))
            }
            Err(error) => {
                drop(Lock::of_holder(&self.place.file));
                Err(error)
            }
        }
    }

    fn is_held(&self) -> bool {
        self.held.is_some()
    }

    fn let_go(&mut self) {
        if self.held.take().is_some() {
            if std::mem::take(&mut self.written) {
                // The kernel notes the time of the first write to a page, and of the next only after it went to the
                // disk; who copies changed files goes by that time. Where it cannot be set, the update is there all the
                // same.
                let _ = futimens(&self.place.file, &TimeSpec::UTIME_OMIT, &TimeSpec::UTIME_NOW);
            }
            drop(Lock::of_holder(&self.place.file));
        }
    }
}

impl Place {
    /// Takes the lock, and under it sees whether what was mapped is still the file of that name, and as long as it was.
    fn lock(&self, kind: Kind, wait: Wait, map: &Region) -> Result<Lock<'_>, Error> {
        let lock = Lock::take(&self.file, kind, wait, &self.path)?;
        self.whole(map)?;
        let (path, mapped) = (|| self.path.clone(), map.len() as u64);
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

    /// Whether the map has been all there until now.
    fn whole(&self, map: &Region) -> Result<(), Error> {
        if map.is_torn() { Err(Error::Torn { path: self.path.clone() }) } else { Ok(()) }
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
