//! What is to leave this machine, on disk: `outbox/` holds what has not arrived yet, `sent/` the newest that has.
//!
//! A file is called `SECONDS.MICROS-KEY` by the time it was decided on, so that the order of the names is the order of
//! the decisions, and ends by the way it takes: `.eml`, `.post.json`, `.command.json`. It appears whole, by a rename, and
//! is on the disk before [`Outbox::put`] returns. Other files in the folder are left alone.
//!
//! Several processes may put; of each kind one at a time sends, the one that holds its [`Claim`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::compose::safe_id;
use super::{Error, Message};
use crate::time::UnixTime;

mod name;

use name::Name;

/// The greatest mail that is kept and sent; servers take between 10 and 50 MB.
pub const MAX_MAIL_BYTES: u64 = 32 << 20;

/// The way that something in the outbox takes, by the ending of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A mail: `.eml`.
    Mail,
    /// A request to a webhook: `.post.json`.
    Post,
    /// A command to run: `.command.json`.
    Command,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Post, Self::Command];

    /// How its files end.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Mail => ".eml",
            Self::Post => ".post.json",
            Self::Command => ".command.json",
        }
    }

    /// The file whose lock its sender holds.
    const fn lock(self) -> &'static str {
        match self {
            Self::Mail => ".mail.lock",
            Self::Post => ".post.lock",
            Self::Command => ".command.lock",
        }
    }
}

/// The folders. Its clones are the same outbox.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    waiting: PathBuf,
    sent: PathBuf,
    /// Held while files are named and moved: what is put again must see whether it has just been sent.
    moves: Mutex<()>,
}

/// What [`Outbox::put`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// False where the disk did not take it: it is sent all the same, and written once there is room, but does not
    /// outlive this process until then.
    pub on_disk: bool,
}

/// Something that waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its file.
    pub path: PathBuf,
    /// When it was decided on.
    pub since: UnixTime,
    /// The way it takes.
    pub kind: Kind,
    /// Its key, in the letters of a file name.
    pub key: String,
}

/// The right to send what is of one kind, until this is dropped or the process ends.
#[derive(Debug)]
pub struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing is not enough: a process that was forked in this moment has the file too, until it runs its program.
        let _ = self.0.unlock();
    }
}

impl Outbox {
    /// Opens the outbox of `data_dir`, makes its folders where they are missing, and clears away what a crash left of
    /// files that were being written.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let folders =
            Folders { waiting: data_dir.join("outbox"), sent: data_dir.join("sent"), moves: Mutex::new(()) };
        for folder in [&folders.waiting, &folders.sent] {
            fs::create_dir_all(folder).map_err(disk("make the folder", folder))?;
        }
        sync_folder(data_dir)?;
        let outbox = Self(Arc::new(folders));
        {
            // Nobody is writing meanwhile.
            let _moving = outbox.moving();
            for (name, path) in files(&outbox.0.waiting)? {
                if name::is_temporary(&name) {
                    fs::remove_file(&path).map_err(disk("remove", &path))?;
                }
            }
        }
        Ok(outbox)
    }

    /// Keeps `mail`, which [`compose`](super::compose()) made of `message`, until the server has it.
    pub fn put(&self, message: &Message, mail: &[u8]) -> Result<Kept, Error> {
        self.keep(Kind::Mail, &message.key, message.date, mail)
    }

    /// Keeps `bytes`, decided on at `date`, until they have arrived. The same key again is the same file; what was sent
    /// already is not kept again.
    pub fn keep(&self, kind: Kind, key: &str, date: UnixTime, bytes: &[u8]) -> Result<Kept, Error> {
        let _moving = self.moving();
        let key = safe_id(key);
        let waiting = list(&self.0.waiting)?;
        // A clock that was set back must not let this one overtake those that were decided on before it.
        let newest = waiting.last().map_or(0, |newest| newest.since.micros() + 1);
        let same = |files: Vec<Waiting>| {
            files.into_iter().find(|file| file.kind == kind && file.key == key).map(|file| file.path)
        };
        let path = match same(waiting) {
            Some(path) => path,
            None => {
                // Where that cannot be told, twice is better than never.
                if let Some(path) = list(&self.0.sent).ok().and_then(same) {
                    return Ok(Kept { path, on_disk: true });
                }
                self.0.waiting.join(Name::new(date.micros().max(newest), key, kind).to_string())
            }
        };
        if bytes.len() as u64 > MAX_MAIL_BYTES {
            return Err(Error::TooLarge { path, bytes: bytes.len() as u64 });
        }
        write_whole(&path, bytes)?;
        Ok(Kept { path, on_disk: true })
    }

    /// What of this kind has not arrived yet, in the order it was decided on.
    pub fn waiting(&self, kind: Kind) -> Result<Vec<Waiting>, Error> {
        let mut waiting = self.all()?;
        waiting.retain(|file| file.kind == kind);
        Ok(waiting)
    }

    /// All that has not arrived yet, in the order it was decided on.
    pub fn all(&self) -> Result<Vec<Waiting>, Error> {
        list(&self.0.waiting)
    }

    /// The right to send what is of this kind; `None` while another process, or another part of this one, has it.
    pub fn claim(&self, kind: Kind) -> Result<Option<Claim>, Error> {
        let path = self.0.waiting.join(kind.lock());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(disk("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(disk("lock", &path)(error)),
        }
    }

    /// The bytes of one of them.
    pub(super) fn read(&self, file: &Waiting) -> Result<Vec<u8>, Error> {
        let opened = File::open(&file.path).map_err(disk("open", &file.path))?;
        let mut bytes = Vec::new();
        opened.take(MAX_MAIL_BYTES + 1).read_to_end(&mut bytes).map_err(disk("read", &file.path))?;
        if bytes.len() as u64 > MAX_MAIL_BYTES {
            let bytes = fs::metadata(&file.path).map_or(bytes.len() as u64, |metadata| metadata.len());
            return Err(Error::TooLarge { path: file.path.clone(), bytes });
        }
        Ok(bytes)
    }

    /// Moves what has arrived to the sent ones, for good once this returns, and forgets the oldest over their bound.
    pub(super) fn delivered(&self, file: &Waiting) -> Result<(), Error> {
        let _moving = self.moving();
        if let Some(name) = file.path.file_name() {
            fs::rename(&file.path, self.0.sent.join(name)).map_err(disk("move to sent/", &file.path))?;
        }
        sync_folder(&self.0.sent)?;
        sync_folder(&self.0.waiting)?;
        let sent = list(&self.0.sent)?;
        for old in &sent[..sent.len().saturating_sub(SENT_KEPT)] {
            fs::remove_file(&old.path).map_err(disk("remove", &old.path))?;
        }
        Ok(())
    }

    /// Keeps other threads and other processes from naming and moving files.
    fn moving(&self) -> Moving<'_> {
        // The lock guards no value that a panic could have left half changed.
        let threads = self.0.moves.lock().unwrap_or_else(PoisonError::into_inner);
        // Some file systems lock no folders. Then two processes that put the same key at once may make two files of it.
        let processes = File::open(&self.0.waiting).ok().filter(|folder| folder.lock().is_ok());
        Moving { processes, _threads: threads }
    }
}

/// See [`Outbox::moving`].
struct Moving<'a> {
    processes: Option<File>,
    _threads: MutexGuard<'a, ()>,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if let Some(folder) = &self.processes {
            let _ = folder.unlock();
        }
    }
}

/// Writes a file that is there whole, or not at all, after a crash at any time.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let temporary = path.with_file_name(name::temporary(&name));
    let written = File::create(&temporary)
        .map_err(disk("make", &temporary))
        .and_then(|mut file| {
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(disk("write", &temporary))
        })
        .and_then(|()| fs::rename(&temporary, path).map_err(disk("rename a file to", path)));
    if written.is_err() {
        // Best effort: what stays is cleared away when the outbox is opened again.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    sync_folder(path.parent().unwrap_or(path))
}

/// Makes renames in `folder` outlast a power cut.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk("write", folder))
}

/// What lies in `folder`, in the order of the names.
fn list(folder: &Path) -> Result<Vec<Waiting>, Error> {
    let mut found: Vec<Waiting> = files(folder)?
        .into_iter()
        .filter_map(|(name, path)| {
            let Name { micros, key, kind } = Name::parse(&name)?;
            Some(Waiting { path, since: UnixTime::from_micros(micros), kind, key })
        })
        .collect();
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The regular files in `folder` whose names are text; links are followed nowhere.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk("list", folder))? {
        let entry = entry.map_err(disk("list", folder))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(name) = entry.file_name().into_string() {
            files.push((name, entry.path()));
        }
    }
    Ok(files)
}

fn disk<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::Disk { operation, path: path.to_owned(), error }
}

/// How many sent ones are kept.
const SENT_KEPT: usize = 200;

#[cfg(test)]
mod tests;
