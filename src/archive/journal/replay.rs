//! After a crash: the after-images of a journal, stored again where they fit.

use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::{info, warn};

use super::disk::{self, FileSystems, Folder};
use super::protocol::{self, Checkpoint};
use super::record::{self, Contents, HEADER_LEN, Head, Record};
use super::{Error, FileId};
use crate::rrd::{self, Prepared};

/// What became of the journal that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Archives that are up to date now.
    pub files: usize,
    /// Records that were stored in them.
    pub records: usize,
    /// Archives that are as they were found.
    pub skipped: Vec<Skipped>,
    /// Where the journal is kept, when some of it could not be used.
    pub kept: Option<PathBuf>,
    /// Its writer had stored all of it and ended; only the system has started again since.
    pub was_closed: bool,
}

/// An archive whose records were not stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// Its name when it was updated last.
    pub path: PathBuf,
    /// Its records that still counted.
    pub records: usize,
    /// The reason.
    pub why: Why,
}

/// Why records were not stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// There is no file of that name.
    #[error("it is gone")]
    Gone,
    /// Another file has its name, or it has another size or layout.
    #[error("it is another file now")]
    Other,
    /// Its last update is none that the journal knows.
    #[error("another program has updated it")]
    OtherWriter,
    /// A record reaches out of it.
    #[error("its record is damaged")]
    Damaged,
    /// It cannot be read or written.
    #[error(transparent)]
    Archive(rrd::Error),
}

impl Recovered {
    /// Tells the log, where something was to be made good. That of a closed journal which was stored again is what its
    /// archives have, unless the power was lost just behind it.
    pub fn tell(&self) {
        if self.kept.is_some() {
            warn!("{self}");
        } else if self.files > 0 && !self.was_closed {
            info!("{self}");
        }
    }
}

/// One line: what was done, what was not, and where the rest lies.
impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "after a {} the journal brought {} archive{} up to date ({} record{})",
            if self.was_closed { "restart of the system" } else { "crash" },
            self.files,
            plural(self.files),
            self.records,
            plural(self.records)
        )?;
        match &self.skipped[..] {
            [] => {}
            [first, rest @ ..] => {
                write!(f, "; {} could not be: {}: {}", self.skipped.len(), first.path.display(), first.why)?;
                if let Some(last) = rest.last() {
                    write!(f, ", .., {}: {}", last.path.display(), last.why)?;
                }
            }
        }
        match &self.kept {
            Some(kept) if self.skipped.is_empty() => {
                write!(f, "; what else it has cannot be read and is kept in {}", kept.display())
            }
            Some(kept) => write!(f, "; their records are kept in {}", kept.display()),
            None => Ok(()),
        }
    }
}

/// Stores what the journal has, syncs it, and cuts the journal; one that has more is kept aside. A journal that was
/// closed under this kernel is synced and cut only: the kernel has what was stored, whatever others made of it since.
pub(super) fn recover(folder: &mut Folder, file_systems: &mut FileSystems) -> Result<Recovered, Error> {
    let bytes = folder.read()?;
    if bytes.is_empty() {
        return Ok(Recovered::default());
    }
    let contents = record::read(&bytes);
    // One that was cut has zeros, and a write that did not reach its end leaves them, or less than a header.
    let is_nothing = || bytes.len() < HEADER_LEN || bytes[..HEADER_LEN].iter().all(|byte| *byte == 0);
    let is_readable = contents.is_some() || is_nothing();
    let contents = contents.unwrap_or_default();
    let same_boot = contents.boot == disk::boot_id() && contents.boot != [0; 16];
    let (mut recovered, unsynced) = if same_boot && contents.closed.is_some() {
        (Recovered::default(), places(&contents.records))
    } else {
        store(&contents, same_boot)
    };
    for operation in protocol::checkpoint(is_readable && recovered.skipped.is_empty()) {
        match operation {
            Checkpoint::SyncFileSystems => {
                let now = folder.stamp()?;
                unsynced.iter().try_for_each(|(device, path)| file_systems.sync(*device, path, now))?;
            }
            Checkpoint::Cut => folder.cut()?,
            Checkpoint::KeepAside => recovered.kept = Some(folder.keep_aside()?),
        }
    }
    Ok(recovered)
}

/// Of each device that the records' archives lie on something that is there: one of them, or a folder above one that
/// is gone. Where there is nothing left, the file system is gone too, and was synced then.
fn places<'a>(records: &[Record<'a>]) -> HashMap<u64, &'a Path> {
    let mut places = HashMap::new();
    for Record { head, .. } in records {
        if let Entry::Vacant(new) = places.entry(head.device)
            && let Some(place) = head.path.ancestors().find(|path| disk::open_on(head.device, path).is_ok())
        {
            new.insert(place);
        }
    }
    places
}

/// Stores the records again; tells what became of them, and of each device that was written to an archive on it.
fn store<'a>(contents: &Contents<'a>, same_boot: bool) -> (Recovered, HashMap<u64, &'a Path>) {
    let mut recovered = Recovered { was_closed: contents.closed.is_some(), ..Recovered::default() };
    let mut written = HashMap::new();
    for chain in chains(&contents.records) {
        match chain.store(same_boot, contents.closed) {
            Ok(Some(device)) => {
                recovered.files += 1;
                recovered.records += chain.records.len();
                written.entry(device).or_insert(chain.path());
            }
            Ok(None) => {}
            Err(why) => {
                let (path, records) = (chain.path().to_owned(), chain.records.len());
                recovered.skipped.push(Skipped { path, records, why });
            }
        }
    }
    (recovered, written)
}

/// The records of one archive, each of which goes on where the one before it ended.
#[derive(Debug)]
struct Chain<'a> {
    records: Vec<Record<'a>>,
}

/// The last chain of each archive, in the order in which they were first written. What came before a break was on the
/// disk when the chain began.
fn chains<'a>(records: &[Record<'a>]) -> Vec<Chain<'a>> {
    let mut chains: Vec<Chain<'a>> = Vec::new();
    let mut of_file: HashMap<FileId, usize> = HashMap::new();
    for record in records {
        match of_file.entry((record.head.device, record.head.inode)) {
            Entry::Occupied(there) => {
                let chain = &mut chains[*there.get()];
                if chain.records.last().is_some_and(|last| !goes_on(&last.head, &record.head)) {
                    chain.records.clear();
                }
                chain.records.push(*record);
            }
            Entry::Vacant(new) => {
                new.insert(chains.len());
                chains.push(Chain { records: vec![*record] });
            }
        }
    }
    chains
}

fn goes_on(last: &Head<'_>, next: &Head<'_>) -> bool {
    (last.size, last.layout, last.after) == (next.size, next.layout, next.before)
}

impl<'a> Chain<'a> {
    /// The name by which the archive was updated last.
    fn path(&self) -> &'a Path {
        self.records.last().map_or(Path::new(""), |record| record.head.path)
    }

    /// Stores every range of every record where the archive is the one that they were made for; returns its device. What
    /// was written after the journal was closed is another program's, and has taken the place of what the journal has.
    fn store(&self, same_boot: bool, closed: Option<(i64, i64)>) -> Result<Option<u64>, Why> {
        let archive = Prepared::open(self.path()).map_err(|error| match error {
            rrd::Error::System { operation: rrd::Operation::Open, errno, .. }
                if io::Error::from_raw_os_error(errno).kind() == io::ErrorKind::NotFound
                    || errno == Errno::ENOTDIR as i32 =>
            {
                Why::Gone
            }
            error => Why::Archive(error),
        })?;
        if let Some(closed) = closed
            && archive.modified_at().map_err(Why::Archive)? > closed
        {
            return Ok(None);
        }
        let identity = archive.identity();
        let is_same = |Record { head, .. }: &Record<'_>| {
            (head.inode, head.size, head.layout) == (identity.inode, identity.size, identity.layout)
                // Numbers of devices are given anew at each start of the system.
                && (!same_boot || head.device == identity.device)
        };
        if !self.records.iter().all(is_same) {
            return Err(Why::Other);
        }
        let before = self.records.first().map(|record| record.head.before);
        if !archive.last_update_is_among(
            before.into_iter().chain(self.records.iter().map(|record| record.head.after)),
        ) {
            return Err(Why::OtherWriter);
        }
        for (offset, bytes) in self.records.iter().flat_map(Record::ranges) {
            if !archive.put_back(offset, bytes).map_err(Why::Archive)? {
                return Err(Why::Damaged);
            }
            #[cfg(test)]
            disk::trace::stored(self.path(), |each| each(offset, bytes));
        }
        Ok(Some(identity.device))
    }
}
