//! Updates and changes of a file that is opened for this alone.
//!
//! It is not mapped, unless there is much to do: its header is read, and what changed is written, which takes half the
//! time of a map.

use std::fs::Metadata;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;

use crate::rrd::abi;
use crate::rrd::create::{Overwrite, write_new};
use crate::rrd::error::{DefinitionError, Error, Fault, Operation};
use crate::rrd::file::{Rrd, check};
use crate::rrd::layout::{COOKIE, Layout, MICROSECONDS_SINCE, WORD, put_f64, stat_head, u64_at};
use crate::rrd::map::lock::{Kind, Lock, Wait};
use crate::rrd::map::region::Region;
use crate::rrd::map::{Access, File, open, system};
use crate::rrd::number::UNKNOWN;
use crate::rrd::resize::{Resize, Resized};
use crate::rrd::tune::reshape::{Plan, Shape};
use crate::rrd::tune::{self, Setting};
use crate::rrd::update::{Options, Template, Updater, WrittenRow};
use crate::time::{Step, UnixTime};

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

impl UpdateOptions<'_> {
    /// Values for all data sources, none of them skipped.
    pub fn new(now: UnixTime) -> Self {
        Self { template: None, skip_past: false, now }
    }
}

/// `rrdtool update` of a file that is opened for this alone. For a few arguments it is not mapped: its header is read,
/// and what changed is written, which takes half the time of a map.
pub fn update<A: AsRef<[u8]>>(
    path: &Path,
    options: &UpdateOptions<'_>,
    arguments: &[A],
) -> Result<(), Error> {
    /// So many arguments write as many runs of rows as a map takes time.
    const MANY: usize = 32;
    if arguments.len() >= MANY {
        return File::open(path, Access::Write)?.update_as(options, arguments);
    }
    update_by(&mut Updater::default(), path, options, arguments, Wait::Moment, |_| {})
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
    let outcome = update_by(&mut updater, path, options, arguments, Wait::Moment, |rrd| {
        names = rrd.data_sources().map(|ds| ds.name.to_owned()).collect();
    });
    (Written { names, rows: updater.take_written() }, outcome)
}

pub(super) fn update_by<A: AsRef<[u8]>>(
    updater: &mut Updater,
    path: &Path,
    options: &UpdateOptions<'_>,
    arguments: &[A],
    wait: Wait,
    look: impl FnOnce(&Rrd<&[u8]>),
) -> Result<(), Error> {
    let file = open(path, Access::Write)?;
    // Closing the file gives it back.
    Lock::take(&file, Kind::Write, wait, path)?.keep();
    let metadata = check_name(&file, path)?;
    let header = read_header(&file, path, &metadata)?;
    let rrd = Rrd::new_checked_header(&header.bytes, header.file_len)
        .map_err(|fault| refused(&file, path, fault))?;
    look(&rrd);
    if rrd.archives().any(|archive| archive.forecast.is_some()) {
        // Forecasts read the rows of their seasons.
        drop(file);
        let mut file = File::open_within(path, Access::Write, wait)?;
        std::mem::swap(&mut file.updater, updater);
        let outcome = file.update_as(options, arguments);
        // It knows what was written, for whoever wants to be told.
        std::mem::swap(&mut file.updater, updater);
        return outcome;
    }
    let template = options.template.map(|text| Template::parse(text, &rrd)).transpose()?;
    let read_as = Options { template: template.as_ref(), skip_past: options.skip_past, now: options.now };
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

/// `rrdtool tune`: makes all of the changes, or none when one is refused. Settings are changed in place; where there
/// are words about data sources and archives that come, go or change their length (`DEL:name`, `DS:..`, `DELRRA:n`,
/// `RRA:..`, `RRA#n:+k`), the file is made anew, with a shorter `step` where one is wanted; without such words it stays.
pub fn tune<A: AsRef<[u8]>>(
    path: &Path,
    changes: &[(Setting, A)],
    words: &[A],
    step: Option<Step>,
) -> Result<(), Error> {
    let file = open(path, Access::Write)?;
    let _lock = Lock::take(&file, Kind::Write, Wait::Moment, path)?;
    let metadata = check_name(&file, path)?;
    let before = read_header(&file, path, &metadata)?;
    let layout = check(&before.bytes, before.file_len).map_err(|fault| refused(&file, path, fault))?;
    let changed = tune::change(&before.bytes, layout, changes)?;
    let shape = Shape::parse(words)?;
    let mut forgotten =
        changed.forgotten.iter().flat_map(|ds| tune::forecast::seasons_of(&changed.header, layout, *ds));
    if words.is_empty() {
        let write = |bytes: &[u8], at| file.write_all_at(bytes, at).map_err(system(Operation::Write, path));
        // Word by word: what did not change is not touched.
        for (number, (new, old)) in changed.header.chunks(WORD).zip(before.bytes.chunks(WORD)).enumerate() {
            if new != old {
                write(new, (number * WORD) as u64)?;
            }
        }
        return forgotten.try_for_each(|at| write(&UNKNOWN.to_le_bytes(), at));
    }
    let too_large = || Error::Definition(DefinitionError::TooLarge(before.file_len));
    let mut bytes = Vec::new();
    let len = usize::try_from(before.file_len).map_err(|_| too_large())?;
    bytes.try_reserve_exact(len).map_err(|_| too_large())?;
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0).map_err(system(Operation::Read, path))?;
    bytes[..layout.header_len()].copy_from_slice(&changed.header[..layout.header_len()]);
    forgotten.for_each(|at| put_f64(&mut bytes, at as usize, UNKNOWN));
    let rrd = Rrd::new_checked(&bytes[..]).map_err(|fault| Error::Fault { path: path.to_owned(), fault })?;
    let plan = Plan::new(&rrd, &shape, step)?;
    // A link stays one, to the new file.
    let target = path.canonicalize().map_err(system(Operation::Stat, path))?;
    write_new(&target, Overwrite::Yes, plan.len(), |new| {
        let mut out = BufWriter::new(new);
        plan.write(path.as_os_str().as_bytes(), &mut out)?;
        out.flush()
    })
}

/// `rrdtool resize`: a copy of the file whose archive `rra` is resized, which becomes `resize.rrd` in the working
/// folder.
pub fn resize(path: &Path, rra: usize, resize: Resize) -> Result<(), Error> {
    let mut file = File::open(path, Access::Read)?;
    let view = file.view()?;
    let resized = Resized::new(&view, rra, resize)?;
    write_new(Path::new("resize.rrd"), Overwrite::Yes, resized.len(), |file| {
        let mut out = BufWriter::new(file);
        resized.write(&mut out)?;
        out.flush()
    })
}

/// Why a file that is to be changed is none that can be: it is damaged, or another machine's.
fn refused(file: &std::fs::File, path: &Path, fault: Fault) -> Error {
    let map = file.metadata().and_then(|metadata| Region::new(file, Access::Read, metadata.len()));
    match map.is_ok_and(|map| abi::foreign_image(map.bytes()).is_some()) {
        true => Error::Foreign { path: path.to_owned() },
        false => Error::Fault { path: path.to_owned(), fault },
    }
}

/// Whoever held the lock until now may have given the name to another file; what is written here would be lost. Returns
/// what the file is now.
pub(super) fn check_name(file: &std::fs::File, path: &Path) -> Result<Metadata, Error> {
    let (own, named) = (file.metadata(), path.metadata());
    match (own.map_err(system(Operation::Stat, path))?, named) {
        (own, Ok(named)) if (own.dev(), own.ino()) == (named.dev(), named.ino()) => Ok(own),
        _ => Err(Error::Replaced { path: path.to_owned() }),
    }
}

/// As much of a file as its header takes.
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    pub(super) file_len: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Holds the header of a file of 23 data sources in 5 archives.
const FIRST_READ: u64 = 16 << 10;

/// Reads as much of the file as its header takes, which nobody knows before having read its beginning.
pub(super) fn read_header(file: &std::fs::File, path: &Path, metadata: &Metadata) -> Result<Header, Error> {
    let file_len = metadata.len();
    if !metadata.is_file() || file_len == 0 {
        // What the original's map fails with.
        let errno = if metadata.is_file() { Errno::EINVAL } else { Errno::ENODEV } as i32;
        return Err(Error::System { operation: Operation::Map, path: path.to_owned(), errno });
    }
    let mut bytes = vec![0; file_len.min(FIRST_READ) as usize];
    let read = |bytes: &mut [u8]| file.read_exact_at(bytes, 0).map_err(system(Operation::Read, path));
    read(&mut bytes)?;
    let len = header_len(&bytes, file_len).map_err(|fault| Error::Fault { path: path.to_owned(), fault })?;
    if len > bytes.len() {
        bytes.resize(len, 0);
        read(&mut bytes)?;
    }
    Ok(Header { bytes, file_len, device: metadata.dev(), inode: metadata.ino() })
}

/// How many bytes of a file that begins so are to be looked at, to see the whole header or what is wrong with it.
pub(super) fn header_len(beginning: &[u8], file_len: u64) -> Result<usize, Fault> {
    /// A header of thousands of data sources in hundreds of archives; a longer one is no header, and is not read in.
    const LONGEST: usize = 256 << 20;
    match layout_of(beginning, file_len) {
        Some(layout) if layout.header_len() > LONGEST => {
            let (data_sources, archives) = (layout.ds_count as u64, layout.rra_count as u64);
            Err(Fault::Counts { data_sources, archives })
        }
        Some(layout) => Ok(layout.header_len()),
        None => Ok(file_len.min(FIRST_READ) as usize),
    }
}

/// The layout of the header that begins so; `None` when it is none, or reaches beyond the file. Of the versions the
/// third has the longest header; for older ones a few bytes more are read than needed.
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
