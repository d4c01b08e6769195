//! What is done to the disks, in which order: the crash safety itself. Each operation may begin when all before it are
//! done.

/// An operation of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// Sync the file system of this device: what its archives have now is in no journal.
    SyncFileSystem(u64),
    /// Write the group's records behind those that are there.
    Append,
    /// Wait until they are on the disk.
    SyncJournal,
    /// Store what the record of this archive of the group says.
    Store(usize),
}

/// An operation of a checkpoint, and of the end of a recovery; also of a journal that was left for another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// Sync every file system that the journal's archives lie on.
    SyncFileSystems,
    /// Put zeros over the journal's header and wait until they are on the disk: no record that comes may ever stand
    /// behind an old header.
    Cut,
    /// Give it another name instead, where some of its records could not be stored.
    KeepAside,
}

/// Commits the group of these archives; the file systems of `unsynced` have changes that its records build upon.
pub(super) fn commit(
    unsynced: impl IntoIterator<Item = u64>,
    group: impl IntoIterator<Item = usize>,
) -> Vec<Commit> {
    let syncs = unsynced.into_iter().map(Commit::SyncFileSystem);
    let mut stores = group.into_iter().map(Commit::Store).peekable();
    let journal: &[Commit] =
        if stores.peek().is_some() { &[Commit::Append, Commit::SyncJournal] } else { &[] };
    syncs.chain(journal.iter().copied()).chain(stores).collect()
}

/// Ends a journal all of whose records were stored, or not.
pub(super) fn checkpoint(all_stored: bool) -> [Checkpoint; 2] {
    [Checkpoint::SyncFileSystems, if all_stored { Checkpoint::Cut } else { Checkpoint::KeepAside }]
}
