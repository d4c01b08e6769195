//! Updates that are computed and not stored yet: what a journal writes down before the archive changes.

use std::borrow::Cow;
use std::hash::Hasher;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use crate::rrd::error::{Error, Fault, Operation};
use crate::rrd::file::{Rrd, check, last_update_at};
use crate::rrd::layout::{Layout, NAME_LEN, WORD, ds_def, live_head, rra_def, stat_head};
use crate::rrd::map::lock::{Kind, Lock, Wait};
use crate::rrd::map::once::{UpdateOptions, Written, check_name, read_header};
use crate::rrd::map::{Access, File, open, system};
use crate::rrd::update::{Options, Template, Updater, store_in};
use crate::time::UnixTime;

/// How an archive is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device that it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// A hash of what says where everything stands in it, and of which type it is. Names and limits are not in it.
    pub layout: u64,
    /// Where its changing part begins; before it no update writes.
    pub live_start: u64,
}

/// An archive under its write lock, with updates that nobody sees before [`Prepared::commit`]. Dropped without that, it
/// leaves the archive as it was.
#[derive(Debug)]
pub struct Prepared<'a> {
    path: Cow<'a, Path>,
    file: Handle<'a>,
    identity: Identity,
    layout: Layout,
    /// The header as it is stored; the whole file where `forecasts` are.
    stored: Cow<'a, [u8]>,
    updater: Updater,
    /// The file as it will be, where forecasts are: they read the rows of their seasons, and smooth them in place.
    forecasts: Option<Vec<u8>>,
    before: UnixTime,
}

/// The locked file: that of a [`File`], or one that was opened for this and gives its lock back when it is closed.
#[derive(Debug)]
enum Handle<'a> {
    Lent { file: &'a std::fs::File, _lock: Lock<'a> },
    Own(std::fs::File),
}

impl Handle<'_> {
    fn file(&self) -> &std::fs::File {
        match self {
            Self::Lent { file, .. } => file,
            Self::Own(file) => file,
        }
    }
}

impl File {
    /// Locks the archive and begins updates of it.
    pub fn prepare(&mut self) -> Result<Prepared<'_>, Error> {
        self.prepare_within(Wait::Moment)
    }

    /// As [`File::prepare`]; where somebody has the lock it is not waited for.
    pub fn prepare_at_once(&mut self) -> Result<Prepared<'_>, Error> {
        self.prepare_within(Wait::No)
    }

    fn prepare_within(&mut self, wait: Wait) -> Result<Prepared<'_>, Error> {
        self.let_go();
        if self.map.access() == Access::Read {
            return Err(Error::ReadOnly { path: self.place.path.clone() });
        }
        self.place.lock(Kind::Write, wait, &self.map)?.keep();
        let looked_at = self.look();
        let lock = Lock::of_holder(&self.place.file);
        looked_at?;
        let identity = Identity {
            device: self.place.device,
            inode: self.place.inode,
            ..Identity::of_size(self.map.len())
        };
        let handle = Handle::Lent { file: &self.place.file, _lock: lock };
        Prepared::begin(Cow::Borrowed(&self.place.path), handle, identity, Cow::Borrowed(self.map.saved()))
    }
}

impl Prepared<'static> {
    /// Opens the archive for this alone, locks it and begins updates of it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_within(path.into(), Wait::Moment)
    }

    /// As [`Prepared::open`]; where somebody has the lock it is not waited for. Who holds other locks should not let
    /// them wait too.
    pub fn open_at_once(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_within(path.into(), Wait::No)
    }

    fn open_within(path: PathBuf, wait: Wait) -> Result<Self, Error> {
        let file = open(&path, Access::Write)?;
        // The lock stays with the file, which gives it back when it is closed.
        Lock::take(&file, Kind::Write, wait, &path)?.keep();
        let metadata = check_name(&file, &path)?;
        let header = read_header(&file, &path, &metadata)?;
        let identity =
            Identity { device: header.device, inode: header.inode, ..Identity::of_size(header.file_len) };
        Self::begin(Cow::Owned(path), Handle::Own(file), identity, Cow::Owned(header.bytes))
    }
}

impl<'a> Prepared<'a> {
    fn begin(
        path: Cow<'a, Path>,
        file: Handle<'a>,
        identity: Identity,
        stored: Cow<'a, [u8]>,
    ) -> Result<Self, Error> {
        let fault = |fault: Fault| Error::Fault { path: path.to_path_buf(), fault };
        let layout = check(&stored, identity.size).map_err(fault)?;
        let identity = Identity {
            layout: layout_hash(&stored, layout),
            live_start: layout.live_head() as u64,
            ..identity
        };
        let before = last_update_at(&stored[layout.live_head()..], layout);
        let updater = Updater::default();
        let mut prepared = Self { path, file, identity, layout, stored, updater, forecasts: None, before };
        prepared.updater.begin(&prepared.stored, layout);
        if prepared.updater.has_forecasts() {
            prepared.copy_whole()?;
        }
        Ok(prepared)
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is known again.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its last update as it is stored.
    pub fn stored_last_update(&self) -> UnixTime {
        self.before
    }

    /// Its last update once these updates are stored.
    pub fn last_update(&self) -> UnixTime {
        match &self.forecasts {
            Some(bytes) => last_update_at(&bytes[self.layout.live_head()..], self.layout),
            None => self.updater.last_update(self.layout),
        }
    }

    /// The archive as it is stored, without its rows.
    pub fn header(&self) -> Rrd<&[u8]> {
        Rrd::from_parts(&self.stored[..self.layout.header_len()], self.layout)
    }

    /// Whether there is anything to store.
    pub fn is_changed(&self) -> bool {
        self.last_update() != self.before
    }

    /// Whether so many rows wait that they should be stored before more are added.
    pub fn is_full(&self) -> bool {
        self.updater.is_full()
    }

    /// Adds a reading of every data source, as [`File::update`] does.
    pub fn update(&mut self, stamp: UnixTime, values: &[f64]) -> Result<(), Error> {
        let bytes = self.forecasts.as_deref().unwrap_or(&self.stored);
        let taken = self.updater.take_values(bytes, self.layout, stamp, values);
        self.settle(taken.is_ok());
        taken.map_err(|error| Error::Update { path: self.path.to_path_buf(), error })
    }

    /// Adds arguments of `rrdtool update` until one fails or [`Prepared::is_full`]; returns how many it took.
    pub fn update_text<A: AsRef<[u8]>>(
        &mut self,
        options: &UpdateOptions<'_>,
        arguments: &[A],
    ) -> Result<usize, Error> {
        let template = options.template.map(|text| Template::parse(text, &self.header())).transpose()?;
        let read_as = Options { template: template.as_ref(), skip_past: options.skip_past, now: options.now };
        let bytes = self.forecasts.as_deref().unwrap_or(&self.stored);
        let (mut count, mut taken) = (0, Ok(()));
        while let Some(argument) = arguments.get(count)
            && !self.updater.is_full()
        {
            taken = self.updater.take_text(bytes, self.layout, argument.as_ref(), &read_as);
            if taken.is_err() {
                break;
            }
            count += 1;
        }
        self.settle(taken.is_ok());
        taken.map_err(|error| Error::Update { path: self.path.to_path_buf(), error })?;
        Ok(count)
    }

    /// Notes the rows that are written from now on, as [`crate::rrd::update_verbosely`] does.
    pub fn watch(&mut self) {
        self.updater.watch();
    }

    /// The rows that were noted.
    pub fn take_written(&mut self) -> Written {
        let names = self.header().data_sources().map(|ds| ds.name.to_owned()).collect();
        Written { names, rows: self.updater.take_written() }
    }

    /// Every range of the file that will be another, and its new bytes; where two overlap, the later one holds.
    pub fn for_each_change(&self, mut change: impl FnMut(u64, &[u8])) {
        if let Some(bytes) = &self.forecasts {
            for range in changed_words(&self.stored, bytes) {
                change(range.start as u64, &bytes[range]);
            }
            return;
        }
        let live_start = self.layout.live_head();
        let live = self.updater.live();
        for range in changed_words(&self.stored[live_start..self.layout.header_len()], live) {
            change((live_start + range.start) as u64, &live[range]);
        }
        self.updater.waiting_rows().for_each(|(offset, rows)| change(offset, rows));
    }

    /// How many bytes wait to be stored, more or less.
    pub fn waiting_bytes(&self) -> usize {
        let rows: usize = self.updater.waiting_rows().map(|(_, rows)| rows.len()).sum();
        self.updater.live().len() + rows + self.forecasts.as_ref().map_or(0, |bytes| 2 * bytes.len())
    }

    /// When anything of the file was last changed, its name too: seconds and nanoseconds of the file system's clock.
    pub fn changed_at(&self) -> Result<(i64, i64), Error> {
        let metadata = self.file.file().metadata().map_err(system(Operation::Stat, &self.path))?;
        Ok((metadata.ctime(), metadata.ctime_nsec()))
    }

    /// When the file was last written, in the same way.
    pub fn modified_at(&self) -> Result<(i64, i64), Error> {
        let metadata = self.file.file().metadata().map_err(system(Operation::Stat, &self.path))?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Stores the updates, and gives the lock back.
    pub fn commit(mut self) -> Result<(), Error> {
        let (file, path) = (self.file.file(), &*self.path);
        let store =
            |offset, bytes: &[u8]| file.write_all_at(bytes, offset).map_err(system(Operation::Write, path));
        let Some(bytes) = &self.forecasts else { return self.updater.apply(self.layout, store) };
        changed_words(&self.stored, bytes).try_for_each(|range| store(range.start as u64, &bytes[range]))
    }

    /// Stores bytes that a journal kept; `false` when they do not lie within the changing part of the file.
    pub fn put_back(&self, offset: u64, bytes: &[u8]) -> Result<bool, Error> {
        let end = offset.checked_add(bytes.len() as u64);
        if offset < self.identity.live_start || end.is_none_or(|end| end > self.identity.size) {
            return Ok(false);
        }
        self.file.file().write_all_at(bytes, offset).map_err(system(Operation::Write, &self.path))?;
        Ok(true)
    }

    /// Whether the file's last update is one of these. After a loss of power its seconds and its microseconds can be of
    /// two of them, where they lie in two sectors.
    pub fn last_update_is_among(&self, times: impl Iterator<Item = UnixTime> + Clone) -> bool {
        /// What a disk writes as a whole.
        const SECTOR: usize = 512;
        let micros_at = self.layout.live_head() + live_head::MICROS;
        if self.layout.has_micros() && micros_at.is_multiple_of(SECTOR) {
            let mut secs = times.clone().map(UnixTime::secs);
            let mut micros = times.map(UnixTime::subsec_micros);
            return secs.any(|secs| secs == self.before.secs())
                && micros.any(|micros| micros == self.before.subsec_micros());
        }
        let mut times = times;
        times.any(|time| time == self.before)
    }

    /// Stores what was added in the copy, where there is one, as the end of a command does in the file: seasons are
    /// smoothed then, unless it failed.
    fn settle(&mut self, succeeded: bool) {
        self.updater.consolidate(self.layout);
        let Some(bytes) = &mut self.forecasts else { return };
        let Ok(()) = self.updater.apply(self.layout, store_in(bytes));
        if succeeded {
            self.updater.smooth(bytes, self.layout);
        }
        self.updater.begin(bytes, self.layout);
    }

    /// Reads the whole file, where only its header was read, and copies it.
    fn copy_whole(&mut self) -> Result<(), Error> {
        let size = self.identity.size as usize;
        if self.stored.len() < size {
            let mut bytes = vec![0; size];
            let read = self.file.file().read_exact_at(&mut bytes, 0);
            read.map_err(system(Operation::Read, &self.path))?;
            self.stored = Cow::Owned(bytes);
        }
        self.forecasts = Some(self.stored.to_vec());
        Ok(())
    }
}

impl Identity {
    fn of_size(size: impl TryInto<u64>) -> Self {
        // What fits a memory fits a file.
        let size = size.try_into().unwrap_or(u64::MAX);
        Self { device: 0, inode: 0, size, layout: 0, live_start: 0 }
    }
}

/// The ranges in which `new` differs from `old`, by whole words.
fn changed_words<'a>(old: &'a [u8], new: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    let len = old.len().min(new.len());
    let differs = move |at: &usize| {
        let word = *at..(*at + WORD).min(len);
        old[word.clone()] != new[word]
    };
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..len).step_by(WORD).find(differs)?;
        let end = (start..len).step_by(WORD).find(|at| !differs(at)).unwrap_or(len);
        next = end;
        Some(start..end)
    })
}

/// What updates rely on: the counts, the step, the types, the shapes of the archives. A new limit or name changes
/// nothing that an update wrote.
fn layout_hash(header: &[u8], layout: Layout) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&header[..stat_head::STEP + WORD]);
    for ds in 0..layout.ds_count {
        hasher.write(&header[layout.ds_def(ds) + ds_def::TYPE..][..NAME_LEN]);
    }
    for rra in 0..layout.rra_count {
        hasher.write(&header[layout.rra_def(rra)..][..rra_def::XFF]);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rrd::{Definition, Overwrite, create};
    use crate::time::Step;

    const START: i64 = 1_700_000_000;

    fn made(dir: &Path, name: &str, archives: &[&str]) -> PathBuf {
        let step = Step::new(10).unwrap();
        let start = UnixTime::from_secs(START);
        let mut definition = Definition { step, start, data_sources: Vec::new(), archives: Vec::new() };
        for text in ["DS:a:GAUGE:120:0:U", "DS:b:COUNTER:120:U:U"].iter().chain(archives) {
            definition.add(text).unwrap();
        }
        let path = dir.join(name);
        create(&path, &definition, Overwrite::No).unwrap();
        path
    }

    const PLAIN: &[&str] = &["RRA:AVERAGE:0.5:1:7", "RRA:MAX:0.5:3:5"];
    const SEASONAL: &[&str] = &["RRA:AVERAGE:0.5:1:7", "RRA:HWPREDICT:50:0.1:0.0035:12"];

    /// The same arguments to the twin at once and to the file in two steps; the ranges make the one from the other.
    #[test]
    fn what_was_prepared_is_what_an_update_does() {
        let dir = tempfile::tempdir().unwrap();
        for archives in [PLAIN, SEASONAL] {
            let file = made(dir.path(), "file.rrd", archives);
            let twin = dir.path().join("twin.rrd");
            std::fs::copy(&file, &twin).unwrap();
            let now = UnixTime::from_secs(START);
            let options = UpdateOptions::new(now);
            for call in 0..40_i64 {
                let time = |argument: i64| START + 1 + 30 * call + 13 * argument;
                let arguments: Vec<String> =
                    (0..2).map(|argument| format!("{}:{}:{}", time(argument), call % 7, 3 * call)).collect();
                let before = std::fs::read(&file).unwrap();
                let mut opened = File::open(&file, Access::Write).unwrap();
                let mut prepared =
                    if call % 2 == 0 { Prepared::open(&file).unwrap() } else { opened.prepare().unwrap() };
                assert_eq!(prepared.update_text(&options, &arguments).unwrap(), 2);
                let mut made = before.clone();
                prepared.for_each_change(|offset, bytes| {
                    made[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                });
                assert_eq!(std::fs::read(&file).unwrap(), before, "nothing is stored before");
                prepared.commit().unwrap();
                crate::rrd::update(&twin, &options, &arguments).unwrap();
                let after = std::fs::read(&twin).unwrap();
                assert!(std::fs::read(&file).unwrap() == after, "call {call} of {archives:?}");
                assert!(made == after, "the ranges of call {call} of {archives:?}");
            }
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn the_lock_holds_until_the_end_and_an_argument_that_fails_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = made(dir.path(), "f.rrd", PLAIN);
        let options = UpdateOptions::new(UnixTime::from_secs(START));
        let mut prepared = Prepared::open(&path).unwrap();
        let arguments = [format!("{}:1:1", START + 5), format!("{}:1:x", START + 10)];
        prepared.update_text(&options, &arguments).unwrap_err();
        assert_eq!(prepared.last_update(), UnixTime::from_secs(START + 5));
        assert!(matches!(File::open(&path, Access::Write), Err(Error::Locked { .. })));
        prepared.commit().unwrap();
        File::open(&path, Access::Write).unwrap();
    }

    #[test]
    fn a_journal_cannot_write_outside_the_changing_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = made(dir.path(), "f.rrd", PLAIN);
        let before = std::fs::read(&path).unwrap();
        let prepared = Prepared::open(&path).unwrap();
        let (live, size) = (prepared.identity().live_start, prepared.identity().size);
        for (offset, len) in [(0, 1), (live - 1, 1), (size, 1), (size - 1, 2), (u64::MAX, 2)] {
            assert!(!prepared.put_back(offset, &vec![0; len]).unwrap(), "{offset}");
        }
        assert!(std::fs::read(&path).unwrap() == before);
        assert!(prepared.put_back(live, &before[live as usize..]).unwrap());
    }
}
