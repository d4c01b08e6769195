//! What is to leave this machine, on disk: `outbox/` holds what has not arrived yet, `sent/` the newest that has.
//!
//! A file is called `SECONDS.MICROS-KEY` by the time it was decided on, so that the order of the names is the order of
//! the decisions, and ends by the way it takes: `.eml`, `.post.json`, `.command.json`. It appears whole, by a rename, and
//! is on the disk before [`Outbox::put`] returns. Other files in the folder are left alone.
//!
//! Several processes may put; of each kind one at a time sends, the one that holds its [`Claim`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::Hasher as _;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher13;
use tracing::{error, info};

use super::compose::safe_id;
use super::{Error, Message};
use crate::time::UnixTime;
use crate::whole;

mod memory;
mod name;

use memory::Memory;
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
    /// Locked while files are named and moved: what is put again must see whether it has just been sent.
    memory: Mutex<Memory>,
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

impl Waiting {
    /// A short name for people: six digits of a hash of its key and kind.
    pub fn id(&self) -> String {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(self.key.as_bytes());
        hasher.write(self.kind.ending().as_bytes());
        format!("{:06x}", hasher.finish() >> 40)
    }
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
        let folders = Folders {
            waiting: data_dir.join("outbox"),
            sent: data_dir.join("sent"),
            memory: Mutex::default(),
        };
        for folder in [&folders.waiting, &folders.sent] {
            fs::create_dir_all(folder).map_err(disk("make the folder", folder))?;
        }
        whole::sync_folder(data_dir)?;
        let outbox = Self(Arc::new(folders));
        {
            // Nobody is writing meanwhile.
            let _moving = outbox.moving();
            for folder in [&outbox.0.waiting, &outbox.0.sent] {
                for (name, path) in files(folder)? {
                    if whole::is_to_be(&name).and_then(Name::parse).is_some() {
                        fs::remove_file(&path).map_err(disk("remove", &path))?;
                    }
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
    /// already is not kept again. What the disk refuses is kept in memory, up to a bound.
    pub fn keep(&self, kind: Kind, key: &str, date: UnixTime, bytes: &[u8]) -> Result<Kept, Error> {
        let mut moving = self.moving();
        let key = safe_id(key);
        // A folder that cannot be listed takes no file either, which is told then.
        let waiting = self.listed(&moving.memory).unwrap_or_else(|_| of_paths(moving.memory.paths()));
        // A clock that was set back must not let this one overtake those that were decided on before it.
        let newest = waiting.last().map_or(0, |newest| newest.since.micros() + 1);
        let same = |files: Vec<Waiting>| {
            files.into_iter().find(|file| file.kind == kind && file.key == key).map(|file| file.path)
        };
        let path = match same(waiting) {
            Some(path) => path,
            None => {
                let path =
                    self.0.waiting.join(Name::new(date.micros().max(newest), key.clone(), kind).to_string());
                if moving.memory.has_arrived(kind, &key) {
                    return Ok(Kept { path, on_disk: true });
                }
                // Where that cannot be told, twice is better than never.
                if let Some(path) = list(&self.0.sent).ok().and_then(same) {
                    return Ok(Kept { path, on_disk: true });
                }
                path
            }
        };
        if bytes.len() as u64 > MAX_MAIL_BYTES {
            return Err(Error::TooLarge { path, bytes: bytes.len() as u64 });
        }
        let on_disk = self.write(&mut moving.memory, &path, bytes)?;
        Ok(Kept { path, on_disk })
    }

    /// What of this kind has not arrived yet, in the order it was decided on.
    pub fn waiting(&self, kind: Kind) -> Result<Vec<Waiting>, Error> {
        let mut waiting = self.all()?;
        waiting.retain(|file| file.kind == kind);
        Ok(waiting)
    }

    /// All that has not arrived yet, in the order it was decided on.
    pub fn all(&self) -> Result<Vec<Waiting>, Error> {
        self.listed(&self.memory())
    }

    /// Whether the file is on the disk as it is to be, or was there and has gone from here.
    pub fn is_safe(&self, file: &Path) -> bool {
        self.memory().get(file).is_none()
    }

    /// What the disk says, in one line, while it does not take what it is given.
    pub fn trouble(&self) -> Option<String> {
        self.memory().trouble.clone()
    }

    /// Takes something out that is not to be sent any more; what is under way may still arrive.
    pub fn discard(&self, file: &Waiting) -> Result<(), Error> {
        let mut moving = self.moving();
        moving.memory.release(&file.path);
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(disk("remove", &file.path)(error)),
            _ => Ok(whole::sync_folder(&self.0.waiting)?),
        }
    }

    /// The right to send what is of this kind; `None` while another process, or another part of this one, has it.
    pub fn claim(&self, kind: Kind) -> Result<Option<Claim>, Error> {
        let path = self.0.waiting.join(kind.lock());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        // One that another user made can be locked all the same.
        let file = file.or_else(|_| File::open(&path)).map_err(disk("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(disk("lock", &path)(error)),
        }
    }

    /// The bytes of one of them.
    pub(super) fn read(&self, file: &Waiting) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.memory().get(&file.path) {
            return Ok(bytes.to_owned());
        }
        let opened = File::open(&file.path).map_err(disk("open", &file.path))?;
        let mut bytes = Vec::new();
        opened.take(MAX_MAIL_BYTES + 1).read_to_end(&mut bytes).map_err(disk("read", &file.path))?;
        if bytes.len() as u64 > MAX_MAIL_BYTES {
            let bytes = fs::metadata(&file.path).map_or(bytes.len() as u64, |metadata| metadata.len());
            return Err(Error::TooLarge { path: file.path.clone(), bytes });
        }
        Ok(bytes)
    }

    /// Puts `bytes` in the place of what waits there, for good once this returns, or in memory where the disk does not
    /// take them; what somebody took out meanwhile stays out.
    pub(super) fn rewrite(&self, file: &Waiting, bytes: &[u8]) -> Result<(), Error> {
        let mut moving = self.moving();
        if moving.memory.get(&file.path).is_none() && !file.path.exists() {
            return Ok(());
        }
        self.write(&mut moving.memory, &file.path, bytes).map(drop)
    }

    /// Moves what has arrived to the sent ones, for good once this returns, and forgets the oldest over their bounds.
    pub(super) fn delivered(&self, file: &Waiting) -> Result<(), Error> {
        let mut moving = self.moving();
        let held = moving.memory.release(&file.path);
        let name = file.path.file_name().unwrap_or_default();
        let sent = self.0.sent.join(name);
        match (fs::rename(&file.path, &sent), held) {
            (Ok(()), _) => {}
            // It never was in the folder. That it arrived is known at least as long as this process lives.
            (Err(_), Some(bytes)) => {
                if whole::write(&sent, &bytes).is_err() {
                    moving.memory.arrived(file.kind, &file.key);
                }
                return Ok(());
            }
            // Somebody took it out while it was sent.
            (Err(error), None)
                if error.kind() == ErrorKind::NotFound && !file.path.exists() && self.0.sent.is_dir() =>
            {
                return Ok(());
            }
            (Err(error), None) => return Err(disk("move to sent/", &file.path)(error)),
        }
        whole::sync_folder(&self.0.sent)?;
        whole::sync_folder(&self.0.waiting)?;
        self.forget_oldest()
    }

    /// Tries to write what the disk did not take.
    pub(super) fn write_down(&self) {
        let mut moving = self.moving();
        for path in moving.memory.paths() {
            let Some(bytes) = moving.memory.release(&path) else { continue };
            if !self.write(&mut moving.memory, &path, &bytes).unwrap_or(false) {
                return;
            }
        }
        if moving.memory.trouble.take().is_some() {
            info!("the outbox is on the disk again");
        }
    }

    fn forget_oldest(&self) -> Result<(), Error> {
        let (mut count, mut bytes) = (0, 0);
        for file in list(&self.0.sent)?.iter().rev() {
            count += 1;
            bytes += fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
            // The newest stays, however large it is.
            if count > SENT_KEPT || (count > 1 && bytes > SENT_BYTES_KEPT) {
                fs::remove_file(&file.path).map_err(disk("remove", &file.path))?;
            }
        }
        Ok(())
    }

    /// Writes a file of the outbox, or holds it in memory where the disk refuses: false then.
    fn write(&self, memory: &mut Memory, path: &Path, bytes: &[u8]) -> Result<bool, Error> {
        let written = whole::write(path, bytes).or_else(|error| {
            // A folder that was taken away is made again.
            let is_gone = !self.0.waiting.exists() && fs::create_dir_all(&self.0.waiting).is_ok();
            if is_gone { whole::write(path, bytes) } else { Err(error) }
        });
        let Err(error) = written else {
            memory.release(path);
            return Ok(true);
        };
        if !memory.hold(path, bytes) {
            return Err(error.into());
        }
        if memory.trouble.is_none() {
            error!("{error}: what is to be sent is kept in memory, and lost if this process ends: make room");
        }
        memory.trouble = Some(format!("not on the disk, lost if the monitor ends: {error}"));
        Ok(false)
    }

    /// What lies in the folder, and what should.
    fn listed(&self, memory: &Memory) -> Result<Vec<Waiting>, Error> {
        let held = of_paths(memory.paths());
        let mut waiting = match list(&self.0.waiting) {
            Ok(waiting) => waiting,
            Err(error) if held.is_empty() => return Err(error),
            Err(_) => Vec::new(),
        };
        waiting.extend(held);
        waiting.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        waiting.dedup();
        Ok(waiting)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic leaves it as it was before or after a change.
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other threads and other processes from naming and moving files.
    fn moving(&self) -> Moving<'_> {
        let memory = self.memory();
        // Some file systems lock no folders. Then two processes that put the same key at once may make two files of it.
        let folder = File::open(&self.0.waiting).ok().filter(|folder| folder.lock().is_ok());
        Moving { folder, memory }
    }
}

/// See [`Outbox::moving`].
struct Moving<'a> {
    folder: Option<File>,
    memory: MutexGuard<'a, Memory>,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = folder.unlock();
        }
    }
}

/// What lies in `folder`, in the order of the names.
fn list(folder: &Path) -> Result<Vec<Waiting>, Error> {
    let mut found = of_paths(files(folder)?.into_iter().map(|(_, path)| path).collect());
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Those of the files that are called as ours are.
fn of_paths(paths: Vec<PathBuf>) -> Vec<Waiting> {
    let ours = paths.into_iter().filter_map(|path| {
        let Name { micros, key, kind } = Name::parse(path.file_name()?.to_str()?)?;
        Some(Waiting { path, since: UnixTime::from_micros(micros), kind, key })
    });
    ours.collect()
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

/// How many sent ones are kept, and how many bytes of them.
const SENT_KEPT: usize = 200;
const SENT_BYTES_KEPT: u64 = 64 << 20;

#[cfg(test)]
mod tests;
