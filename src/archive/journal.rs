//! A write-ahead journal of updates: what an update makes of an archive is on the disk before the archive changes.
//!
//! Archives are never synced by an update, and a kernel may write what changed in any order. So a group of updates is
//! computed under the archives' locks without touching them ([`rrd::Prepared`]), written to the journal as
//! after-images, synced once, then stored and acknowledged. After a crash [`Journal::open`] stores the after-images
//! again: of archives that only latmon writes, no acknowledged update is lost and none is there by half.
//!
//! The journal holds every update since its last cut. When it is long enough, or is closed, the file systems of its
//! archives are synced and it is cut: its header becomes zeros, and what comes next is written over the old records. So
//! a sync finds the journal's blocks as they were, and has no change of them to wait for, which would take along what
//! changed of all other files. What an older journal left behind the new one's end never passes for a record of it: each
//! journal's checksums have a key of their own.
//!
//! [`Journal::leave`] ends a journal that is short-lived, as that of one command, without that sync: a last mark says
//! that every record is stored. Who opens it under the same kernel syncs and cuts it, and touches no archive: the kernel
//! has what was stored, whatever others made of it since. Another kernel may have lost it with the power: then the
//! records are stored again, but not where the archive was written after the mark.
//!
//! A record tells an archive's last update before and after. Those of one archive make a chain, and are stored again
//! only where the archive's last update is one of the chain's: where another program has written it since, it stays as
//! it is. Of an archive that the journal does not know yet, or that another program has written since its last record,
//! the file system is synced before the next record: what a chain builds upon must be on the disk.

mod disk;
mod protocol;
mod record;
mod replay;
#[cfg(test)]
mod tests;
mod volume;

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::warn;

use crate::rrd::{self, Prepared};
use crate::time::UnixTime;

pub use record::{Contents, Head, Record, read};
pub use replay::{Recovered, Skipped, Why};

use disk::{FileSystems, Folder};
use protocol::{Checkpoint, Commit};
use record::Writer;

/// Updates that share a sync: of so many archives at most.
pub const GROUP_FILES: usize = 256;

/// And so many bytes, more or less: an update after a long gap can fill a whole archive.
pub const GROUP_BYTES: usize = 8 << 20;

/// A journal of more bytes is cut.
const LONG_ENOUGH: u64 = 64 << 20;

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The system refused an operation on it.
    #[error("the journal fails: {operation} {}: {}", path.display(), Errno::from_raw(*errno).desc())]
    System {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// Another process has it.
    #[error(
        "another process{} has the journal in {}: stop it first, or give this one a folder of its own",
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default(),
        folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The other process, where it said so.
        pid: Option<u32>,
    },
    /// The archive could not be looked at or changed.
    #[error(transparent)]
    Archive(#[from] rrd::Error),
}

/// The one writer of a journal folder.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    synced: Tail,
    /// Where the next sync will move it.
    written: Tail,
    long_enough: u64,
    /// The archives that have records since the last cut, and how the last one left them.
    known: HashMap<FileId, Left>,
    file_systems: FileSystems,
    /// Every record was stored in its archive.
    is_all_stored: bool,
    buffer: Vec<u8>,
}

/// Device and number of a file.
type FileId = (u64, u64);

/// The end of a journal.
#[derive(Clone, Debug, Default)]
struct Tail {
    len: u64,
    /// Goes on from there; nothing where the journal is empty.
    writer: Option<Writer>,
}

/// How a record leaves its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    last: UnixTime,
    layout: u64,
}

/// An archive in a group that is being committed.
#[derive(Debug)]
struct Member<'a> {
    /// Until it is stored or refused.
    waiting: Option<Prepared<'a>>,
    outcome: Result<(), Error>,
}

impl Journal {
    /// Takes the folder, which is made where it is missing, and brings the archives up to date with what the journal of
    /// a process that crashed has for them.
    pub fn open(folder: &Path) -> Result<(Self, Recovered), Error> {
        let mut folder = Folder::take(folder)?;
        let mut file_systems = FileSystems::default();
        let recovered = replay::recover(&mut folder, &mut file_systems)?;
        let journal = Self {
            folder,
            synced: Tail::default(),
            written: Tail::default(),
            long_enough: LONG_ENOUGH,
            known: HashMap::new(),
            file_systems,
            is_all_stored: true,
            buffer: Vec::new(),
        };
        Ok((journal, recovered))
    }

    /// Syncs the file systems of these archives, each once. Without it the first group of archives does so, while it
    /// holds their locks; and a busy disk takes seconds.
    pub fn settle<'a>(&mut self, archives: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
        let mut settled = BTreeSet::new();
        for path in archives {
            // What is not there has nothing to be synced.
            let Ok(metadata) = path.metadata() else { continue };
            if settled.insert(metadata.dev()) {
                self.file_systems.sync(metadata.dev(), path, self.folder.stamp()?)?;
            }
        }
        Ok(())
    }

    /// Stores updates so that none is lost or there by half. Each is acknowledged, or refused and not stored, at its
    /// place in the answer. The archives' locks are given back.
    pub fn commit<'a>(&mut self, group: impl IntoIterator<Item = Prepared<'a>>) -> Vec<Result<(), Error>> {
        let mut group: Vec<Member<'_>> = group.into_iter().map(Member::new).collect();
        for operation in self.plan(&mut group) {
            if let Err(error) = self.execute(operation, &mut group) {
                group.iter_mut().for_each(|member| member.refuse(error.clone()));
                break;
            }
        }
        let outcomes = group.into_iter().map(|member| member.outcome).collect();
        if self.synced.len > self.long_enough
            && let Err(error) = self.checkpoint()
        {
            // What was stored is safe in the journal, and the next group tries again.
            warn!("{error}");
        }
        outcomes
    }

    /// Syncs the archives and empties the journal: nothing is left to be done by who opens it next.
    pub fn close(mut self) -> Result<(), Error> {
        if self.synced.len > 0 {
            self.checkpoint()?;
        }
        self.folder.truncate(0)
    }

    /// Ends as [`Journal::close`] does, but leaves the sync of the archives to who opens the journal next: by then the
    /// system has mostly done it, and nobody waits.
    pub fn leave(mut self) -> Result<(), Error> {
        match self.synced.writer.take() {
            Some(writer) if self.is_all_stored => {
                self.buffer.clear();
                writer.close(self.folder.stamp()?.parts(), &mut self.buffer);
                // Not synced: without it the journal is one of a crash, which is as good after a loss of power.
                self.folder.write(self.synced.len, &self.buffer).or_else(|_| self.checkpoint())
            }
            Some(_) => self.checkpoint(),
            None => Ok(()),
        }
    }

    fn plan(&self, group: &mut [Member<'_>]) -> Vec<Commit> {
        let mut unsynced = BTreeSet::new();
        for member in group.iter_mut() {
            let Some(prepared) = &member.waiting else { continue };
            match self.builds_on_synced(prepared) {
                Ok(true) => {}
                Ok(false) => drop(unsynced.insert(prepared.identity().device)),
                Err(error) => member.refuse(error),
            }
        }
        protocol::commit(unsynced, waiting(group).map(|(index, _)| index))
    }

    /// Whether what the archive has now is in the journal or on the disk.
    fn builds_on_synced(&self, prepared: &Prepared<'_>) -> Result<bool, Error> {
        let identity = prepared.identity();
        if let Some(left) = self.known.get(&(identity.device, identity.inode)) {
            return Ok(*left == Left { last: prepared.stored_last_update(), layout: identity.layout });
        }
        Ok(self.file_systems.has_synced(identity.device, prepared.changed_at()?))
    }

    /// Does one operation of a commit; after an error nothing more of the group can be stored.
    fn execute(&mut self, operation: Commit, group: &mut [Member<'_>]) -> Result<(), Error> {
        match operation {
            Commit::SyncFileSystem(device) => self.sync_file_system(device, group),
            Commit::Append => self.append(group).or_else(|error| {
                // Where the disk is full, what the journal holds already may be the room that is missing.
                if self.synced.len == 0 || self.checkpoint().is_err() {
                    return Err(error);
                }
                self.append(group)
            }),
            Commit::SyncJournal => self.sync(group),
            Commit::Store(index) => {
                self.is_all_stored &= group[index].store();
                Ok(())
            }
        }
    }

    fn sync_file_system(&mut self, device: u64, group: &[Member<'_>]) -> Result<(), Error> {
        let on_it = |(_, prepared): &(usize, &Prepared<'_>)| prepared.identity().device == device;
        match waiting(group).find(on_it) {
            Some((_, prepared)) => self.file_systems.sync(device, prepared.path(), self.folder.stamp()?),
            None => Ok(()),
        }
    }

    /// Writes the group's records behind what is synced.
    fn append(&mut self, group: &[Member<'_>]) -> Result<(), Error> {
        self.buffer.clear();
        let mut writer = match &self.synced.writer {
            Some(writer) => writer.clone(),
            None => Writer::begin(disk::salt()?, disk::boot_id(), &mut self.buffer),
        };
        // Where this one is gone, no archive was opened by a name that starts from it.
        let here = std::env::current_dir().unwrap_or_default();
        for (_, prepared) in waiting(group) {
            let identity = prepared.identity();
            // Its absolute name: who recovers may stand elsewhere.
            let path = here.join(prepared.path());
            let head = Head {
                device: identity.device,
                inode: identity.inode,
                size: identity.size,
                layout: identity.layout,
                before: prepared.stored_last_update(),
                after: prepared.last_update(),
                path: &path,
            };
            writer.append(&head, |each| prepared.for_each_change(each), &mut self.buffer);
        }
        self.buffer.shrink_to(2 * GROUP_BYTES);
        self.written = Tail { len: self.synced.len + self.buffer.len() as u64, writer: Some(writer) };
        self.folder.write(self.synced.len, &self.buffer).inspect_err(|_| self.take_back())
    }

    /// Waits until the group's records are on the disk. From here on they are what their archives are known to be.
    fn sync(&mut self, group: &[Member<'_>]) -> Result<(), Error> {
        self.folder.sync().inspect_err(|_| self.take_back())?;
        self.synced = std::mem::take(&mut self.written);
        for (_, prepared) in waiting(group) {
            let identity = prepared.identity();
            let left = Left { last: prepared.last_update(), layout: identity.layout };
            self.known.insert((identity.device, identity.inode), left);
        }
        Ok(())
    }

    /// Removes records that were refused. Where that fails too, a crash before the next group may bring them back.
    fn take_back(&self) {
        let _ = self.folder.truncate(self.synced.len);
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        for operation in protocol::checkpoint(self.is_all_stored) {
            match operation {
                Checkpoint::SyncFileSystems => self.file_systems.sync_all(self.folder.stamp()?)?,
                Checkpoint::Cut => self.folder.cut()?,
                Checkpoint::KeepAside => {
                    let kept = self.folder.keep_aside()?;
                    warn!("not all of the journal could be stored: it is kept in {}", kept.display());
                }
            }
        }
        (self.synced, self.is_all_stored) = (Tail::default(), true);
        // Of archives that are not known, their last change tells whether it was before the sync.
        self.known.clear();
        Ok(())
    }
}

/// The archives of a group that wait to be stored, and their places.
fn waiting<'a, 'b>(group: &'b [Member<'a>]) -> impl Iterator<Item = (usize, &'b Prepared<'a>)> {
    let waiting = |(index, member): (usize, &'b Member<'a>)| Some((index, member.waiting.as_ref()?));
    group.iter().enumerate().filter_map(waiting)
}

impl<'a> Member<'a> {
    fn new(prepared: Prepared<'a>) -> Self {
        Self { waiting: Some(prepared).filter(Prepared::is_changed), outcome: Ok(()) }
    }

    fn refuse(&mut self, error: Error) {
        if self.waiting.take().is_some() {
            self.outcome = Err(error);
        }
    }

    fn store(&mut self) -> bool {
        if let Some(prepared) = self.waiting.take() {
            #[cfg(test)]
            disk::trace::stored(prepared.path(), |each| prepared.for_each_change(each));
            self.outcome = prepared.commit().map_err(Error::from);
        }
        self.outcome.is_ok()
    }
}
