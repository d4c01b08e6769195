//! Archives on disk: opening, locking, mapping, storing.
//!
//! Locks are those of the open file description (`F_OFD_SETLK`): they exclude rrdtool's own, and unlike those they
//! also hold between threads and survive the close of another descriptor.
#![allow(unsafe_code)] // A map of a file can only be made so; each use says what keeps it sound.

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memmap2::{Mmap, MmapMut, MmapOptions};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::rrd::error::{Error, Fault, Operation, UpdateError};
use crate::rrd::file::{Rrd, check};
use crate::rrd::layout::{COOKIE, Layout, MICROSECONDS_SINCE, WORD, stat_head, u64_at};
use crate::rrd::tune::{self, Setting};
use crate::rrd::update::{Options, Template, Updater, WrittenRow, store_in};
use crate::time::UnixTime;

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

#[derive(Debug)]
enum Map {
    Read(Mmap),
    Write(MmapMut),
}

impl Map {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Read(map) => map,
            Self::Write(map) => map,
        }
    }
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

/// What `rrdtool update` may be told besides its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateOptions<'a> {
    /// The data sources that the values are for, `name:name:..`; all of them without it.
    pub template: Option<&'a [u8]>,
    /// Arguments that are not later than the last update are skipped in silence.
    pub skip_past: bool,
    /// What `N` and relative times mean.
    pub now: UnixTime,
}

/// `rrdtool update` of a file that is opened for this alone. It is not mapped: its header is read, and what changed is
/// written, which takes half the time of a map.
pub fn update<A: AsRef<[u8]>>(
    path: &Path,
    options: &UpdateOptions<'_>,
    arguments: &[A],
) -> Result<(), Error> {
    update_by(&mut Updater::default(), path, options, arguments, |_| Ok(()))
}

/// What `rrdtool updatev` tells of an update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The names of the data sources.
    pub names: Vec<String>,
    /// The rows, in the order in which they were computed.
    pub rows: Vec<WrittenRow>,
}

/// As [`update`], and tells the rows that it wrote: after an error those of the arguments before the failing one.
pub fn update_verbosely<A: AsRef<[u8]>>(
    path: &Path,
    options: &UpdateOptions<'_>,
    arguments: &[A],
) -> (Written, Result<(), Error>) {
    let (mut updater, mut names) = (Updater::default(), Vec::new());
    updater.watch();
    let outcome = update_by(&mut updater, path, options, arguments, |rrd| {
        names = rrd.data_sources().map(|ds| ds.name.to_owned()).collect();
        // The rows of a forecast are made when all others are, and are not noted.
        if rrd.archives().any(|archive| archive.cf.is_forecast()) {
            return Err(Error::ForecastRows { path: path.to_owned() });
        }
        Ok(())
    });
    (Written { names, rows: updater.take_written() }, outcome)
}

fn update_by<A: AsRef<[u8]>>(
    updater: &mut Updater,
    path: &Path,
    options: &UpdateOptions<'_>,
    arguments: &[A],
    look: impl FnOnce(&Rrd<&[u8]>) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = open(path, Access::Write)?;
    let lock = Lock::take(&file, Kind::Write, path)?;
    check_name(&file, path)?;
    let header = read_header(&file, path)?;
    let rrd = Rrd::new_checked_header(&header.bytes, header.file_len)
        .map_err(|fault| Error::Fault { path: path.to_owned(), fault })?;
    look(&rrd)?;
    let template = options.template.map(|text| Template::parse(text, &rrd)).transpose()?;
    let read_as = Options { template: template.as_ref(), skip_past: options.skip_past, now: options.now };
    if rrd.archives().any(|archive| archive.forecast.is_some()) {
        // Forecasts read the rows of their seasons.
        drop(lock);
        return File::open(path, Access::Write)?.change(arguments.len(), |index, updater, bytes, layout| {
            updater.take_text(bytes, layout, arguments[index].as_ref(), &read_as)
        });
    }
    let layout = rrd.layout();
    let store =
        |offset, bytes: &[u8]| file.write_all_at(bytes, offset).map_err(system(Operation::Write, path));
    updater.begin(&header.bytes, layout);
    for argument in arguments {
        let taken = updater.take_text(&header.bytes, layout, argument.as_ref(), &read_as);
        if updater.is_full() || taken.is_err() {
            updater.apply(layout, store)?;
        }
        taken.map_err(|error| Error::Update { path: path.to_owned(), error })?;
    }
    updater.apply(layout, store)
}

/// `rrdtool tune`: makes all of the changes, or none when one is refused.
pub fn tune<A: AsRef<[u8]>>(path: &Path, changes: &[(Setting, A)]) -> Result<(), Error> {
    let file = open(path, Access::Write)?;
    let _lock = Lock::take(&file, Kind::Write, path)?;
    check_name(&file, path)?;
    let before = read_header(&file, path)?;
    let layout = check(&before.bytes, before.file_len)
        .map_err(|fault| Error::Fault { path: path.to_owned(), fault })?;
    let mut header = before.bytes.clone();
    for (setting, argument) in changes {
        tune::change(&mut header, layout, *setting, argument.as_ref())?;
    }
    // Word by word: what did not change is not touched.
    for (number, (new, old)) in header.chunks(WORD).zip(before.bytes.chunks(WORD)).enumerate() {
        if new != old {
            file.write_all_at(new, (number * WORD) as u64).map_err(system(Operation::Write, path))?;
        }
    }
    Ok(())
}

struct Header {
    bytes: Vec<u8>,
    file_len: u64,
}

/// Reads as much of the file as its header takes, which nobody knows before having read its beginning.
fn read_header(file: &std::fs::File, path: &Path) -> Result<Header, Error> {
    /// Holds the header of a file of 23 data sources in 5 archives.
    const FIRST_READ: u64 = 16 << 10;
    /// A header of thousands of data sources in hundreds of archives; a longer one is no header, and is not read in.
    const LONGEST: usize = 256 << 20;
    let metadata = file.metadata().map_err(system(Operation::Stat, path))?;
    let file_len = metadata.len();
    if !metadata.is_file() || file_len == 0 {
        // What the original's map fails with.
        let errno = if metadata.is_file() { Errno::EINVAL } else { Errno::ENODEV } as i32;
        return Err(Error::System { operation: Operation::Map, path: path.to_owned(), errno });
    }
    let mut bytes = vec![0; file_len.min(FIRST_READ) as usize];
    let read = |bytes: &mut [u8]| file.read_exact_at(bytes, 0).map_err(system(Operation::Read, path));
    read(&mut bytes)?;
    if let Some(layout) = layout_of(&bytes, file_len)
        && layout.header_len() > bytes.len()
    {
        if layout.header_len() > LONGEST {
            let (data_sources, archives) = (layout.ds_count as u64, layout.rra_count as u64);
            let fault = Fault::Counts { data_sources, archives };
            return Err(Error::Fault { path: path.to_owned(), fault });
        }
        bytes.resize(layout.header_len(), 0);
        read(&mut bytes)?;
    }
    Ok(Header { bytes, file_len })
}

/// The layout of the header that begins so; `None` when it is none, or reaches beyond the file. Of the versions the third
/// has the longest header; for older ones a few bytes more are read than needed.
fn layout_of(beginning: &[u8], file_len: u64) -> Option<Layout> {
    let head = beginning.get(..stat_head::LEN).filter(|head| head.starts_with(&COOKIE))?;
    let word = |at| u64_at(head, at);
    Layout::new(word(stat_head::DS_COUNT), word(stat_head::RRA_COUNT), MICROSECONDS_SINCE, file_len).ok()
}

impl<'a> Rrd<&'a [u8]> {
    /// A view of a header alone; its rows are not there to be read.
    fn new_checked_header(bytes: &'a [u8], file_len: u64) -> Result<Self, Fault> {
        let layout = check(bytes, file_len)?;
        Ok(Self::from_parts(&bytes[..layout.header_len()], layout))
    }
}

fn open(path: &Path, access: Access) -> Result<std::fs::File, Error> {
    OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .open(path)
        .map_err(system(Operation::Open, path))
}

/// Whoever held the lock until now may have given the name to another file; what is written here would be lost.
fn check_name(file: &std::fs::File, path: &Path) -> Result<(), Error> {
    let (own, named) = (file.metadata(), path.metadata());
    match (own.map_err(system(Operation::Stat, path))?, named) {
        (own, Ok(named)) if (own.dev(), own.ino()) == (named.dev(), named.ino()) => Ok(()),
        _ => Err(Error::Replaced { path: path.to_owned() }),
    }
}

fn map(file: &std::fs::File, access: Access, len: u64) -> io::Result<Map> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut options = MmapOptions::new();
    options.len(len);
    // SAFETY: the map is of a regular file's whole length. Others who write it take its lock, which is held whenever the
    // bytes are looked at; against those who do not, no byte is relied on without bounds. Before each use the length is
    // compared under the lock.
    unsafe {
        match access {
            Access::Read => options.map(file).map(Map::Read),
            Access::Write => options.map_mut(file).map(Map::Write),
        }
    }
}

fn system(operation: Operation, path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::System {
        operation,
        path: path.to_owned(),
        errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write,
}

impl Kind {
    fn of(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
        }
    }
}

/// The file's lock, given back when dropped.
#[derive(Debug)]
struct Lock<'a>(&'a std::fs::File);

impl<'a> Lock<'a> {
    /// Takes the lock; where somebody has it, waits a moment for it.
    fn take(file: &'a std::fs::File, kind: Kind, path: &Path) -> Result<Self, Error> {
        const TRIES: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(5);
        let wanted = match kind {
            Kind::Read => libc::F_RDLCK,
            Kind::Write => libc::F_WRLCK,
        };
        for _ in 0..TRIES {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(wanted))) {
                Ok(_) => return Ok(Self(file)),
                Err(Errno::EAGAIN | Errno::EACCES) => std::thread::sleep(PAUSE),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(system(Operation::Lock, path)(errno.into())),
            }
        }
        Err(Error::Locked { path: path.to_owned() })
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
