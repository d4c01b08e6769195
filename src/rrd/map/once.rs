//! Updates and changes of a file that is opened for this alone.
//!
//! It is not mapped: its header is read, and what changed is written, which takes half the time of a map.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;

use crate::rrd::error::{Error, Fault, Operation};
use crate::rrd::file::{Rrd, check};
use crate::rrd::layout::{COOKIE, Layout, MICROSECONDS_SINCE, WORD, stat_head, u64_at};
use crate::rrd::map::lock::{Kind, Lock};
use crate::rrd::map::{Access, File, open, system};
use crate::rrd::tune::{self, Setting};
use crate::rrd::update::{Options, Template, Updater, WrittenRow};
use crate::time::UnixTime;

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

/// As much of a file as its header takes.
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    pub(super) file_len: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Reads as much of the file as its header takes, which nobody knows before having read its beginning.
pub(super) fn read_header(file: &std::fs::File, path: &Path) -> Result<Header, Error> {
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
    Ok(Header { bytes, file_len, device: metadata.dev(), inode: metadata.ino() })
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
