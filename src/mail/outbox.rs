//! Mails on disk: `outbox/` holds what the server does not have yet, `sent/` the newest it has.
//!
//! A mail's file is called `SECONDS.MICROS-KEY.eml`, by the time it was decided on, so that the order of the names is
//! the order of the mails. It appears whole, by a rename, and is on the disk before [`Outbox::put`] returns. Other files
//! in the folder are left alone.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::compose::safe_id;
use super::{Error, Message};
use crate::time::UnixTime;

/// The greatest mail that is kept and sent; servers take between 10 and 50 MB.
pub const MAX_MAIL_BYTES: u64 = 32 << 20;

/// The folders of mails. Its clones are the same outbox. One process at a time may have it: the caller holds the data
/// folder's lock.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    waiting: PathBuf,
    sent: PathBuf,
    /// Held while files are named and moved: a mail put again must see whether it has just been sent.
    moves: Mutex<()>,
}

/// A mail that waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its file.
    pub path: PathBuf,
    /// When it was decided on.
    pub since: UnixTime,
}

impl Outbox {
    /// Opens the outbox of `data_dir`, makes its folders where they are missing, and clears away what a crash left of
    /// mails that were being written.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let folders =
            Folders { waiting: data_dir.join("outbox"), sent: data_dir.join("sent"), moves: Mutex::new(()) };
        for folder in [&folders.waiting, &folders.sent] {
            fs::create_dir_all(folder).map_err(disk("make the folder", folder))?;
        }
        sync_folder(data_dir)?;
        for (name, path) in files(&folders.waiting)? {
            if is_temporary(&name) {
                fs::remove_file(&path).map_err(disk("remove", &path))?;
            }
        }
        Ok(Self(Arc::new(folders)))
    }

    /// Keeps `mail`, which [`compose`](super::compose()) made of `message`, until the server has it, and returns its
    /// file. The same key again is the same file; a mail that was sent already is not put again.
    pub fn put(&self, message: &Message, mail: &[u8]) -> Result<PathBuf, Error> {
        let _moving = self.moving();
        let ending = format!("-{}.eml", safe_id(&message.key));
        let waiting = mails(&self.0.waiting)?;
        let same = |mails: Vec<Waiting>| {
            mails.into_iter().map(|mail| mail.path).find(|path| has_ending(path, &ending))
        };
        // A clock that was set back must not let this mail overtake those that were decided on before it.
        let newest = waiting.last().map_or(0, |newest| newest.since.micros() + 1);
        let path = match same(waiting) {
            Some(path) => path,
            None => {
                // Where that cannot be told, twice is better than never.
                if let Some(sent) = mails(&self.0.sent).ok().and_then(same) {
                    return Ok(sent);
                }
                let order = message.date.micros().max(newest).clamp(0, LAST_MICROS);
                let (secs, micros) = (order / 1_000_000, order % 1_000_000);
                self.0.waiting.join(format!("{secs:010}.{micros:06}{ending}"))
            }
        };
        if mail.len() as u64 > MAX_MAIL_BYTES {
            return Err(Error::TooLarge { path, bytes: mail.len() as u64 });
        }
        write_whole(&path, mail)?;
        Ok(path)
    }

    /// The mails that the server does not have yet, in the order they were decided on.
    pub fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        mails(&self.0.waiting)
    }

    /// The bytes of one of them.
    pub(super) fn read(&self, mail: &Waiting) -> Result<Vec<u8>, Error> {
        let file = File::open(&mail.path).map_err(disk("open", &mail.path))?;
        let mut bytes = Vec::new();
        file.take(MAX_MAIL_BYTES + 1).read_to_end(&mut bytes).map_err(disk("read", &mail.path))?;
        if bytes.len() as u64 > MAX_MAIL_BYTES {
            let bytes = fs::metadata(&mail.path).map_or(bytes.len() as u64, |metadata| metadata.len());
            return Err(Error::TooLarge { path: mail.path.clone(), bytes });
        }
        Ok(bytes)
    }

    /// Moves a mail that the server has taken to the sent ones, for good once this returns, and forgets the oldest
    /// over their bound.
    pub(super) fn delivered(&self, mail: &Waiting) -> Result<(), Error> {
        let _moving = self.moving();
        if let Some(name) = mail.path.file_name() {
            fs::rename(&mail.path, self.0.sent.join(name)).map_err(disk("move to sent/", &mail.path))?;
        }
        sync_folder(&self.0.sent)?;
        sync_folder(&self.0.waiting)?;
        let sent = mails(&self.0.sent)?;
        for old in &sent[..sent.len().saturating_sub(SENT_KEPT)] {
            fs::remove_file(&old.path).map_err(disk("remove", &old.path))?;
        }
        Ok(())
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        // The lock guards no value that a panic could have left half changed.
        self.0.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file that is there whole, or not at all, after a crash at any time.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
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

/// The mails in `folder`, in the order of their names.
fn mails(folder: &Path) -> Result<Vec<Waiting>, Error> {
    let mut mails: Vec<Waiting> = files(folder)?
        .into_iter()
        .filter_map(|(name, path)| Some(Waiting { since: decided(&name)?, path }))
        .collect();
    mails.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(mails)
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

/// When the mail in a file of this name was decided on; `None` for names that are not ours.
fn decided(name: &str) -> Option<UnixTime> {
    let stem = name.strip_suffix(".eml")?;
    let (secs, rest) = stem.split_once('.')?;
    let (micros, key) = rest.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(secs, 10) || !digits(micros, 6) || key.is_empty() {
        return None;
    }
    Some(UnixTime::from_micros(secs.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?))
}

fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"))
        .is_some_and(|name| decided(name).is_some())
}

/// True when `path` is called by a time and `ending`.
fn has_ending(path: &Path, ending: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.get(TIME_CHARS..) == Some(ending)
}

fn disk<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::Disk { operation, path: path.to_owned(), error }
}

/// How many sent mails are kept.
const SENT_KEPT: usize = 200;
/// The length of `SECONDS.MICROS`.
const TIME_CHARS: usize = 17;
/// The last time of ten digits of seconds, in 2286.
const LAST_MICROS: i64 = 9_999_999_999_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, secs: i64) -> Message {
        Message {
            key: key.into(),
            in_reply_to: None,
            subject: String::new(),
            text: String::new(),
            attachments: Vec::new(),
            date: UnixTime::from_secs(secs),
        }
    }

    fn names(mails: &[Waiting]) -> Vec<String> {
        mails.iter().map(|mail| mail.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn mails_lie_in_the_order_they_were_decided_on() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        // The clock was set back before the second, and the third was decided on together with it.
        for (key, secs) in [("z", 1_700_000_000), ("b", 1_600_000_000), ("a", 1_600_000_000)] {
            outbox.put(&message(key, secs), key.as_bytes()).unwrap();
        }
        let waiting = outbox.waiting().unwrap();
        assert_eq!(
            names(&waiting),
            ["1700000000.000000-z.eml", "1700000000.000001-b.eml", "1700000000.000002-a.eml"]
        );
        assert_eq!(waiting[0].since, UnixTime::from_secs(1_700_000_000));
        assert_eq!(outbox.read(&waiting[1]).unwrap(), b"b");
    }

    #[test]
    fn the_same_key_is_the_same_mail_also_once_it_is_sent() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        let path = outbox.put(&message("a", 1), b"first").unwrap();
        outbox.put(&message("b-a", 1), b"another whose name ends alike").unwrap();
        assert_eq!(outbox.put(&message("a", 2), b"second").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let waiting = outbox.waiting().unwrap();
        assert_eq!(waiting.len(), 2);
        outbox.delivered(&waiting[0]).unwrap();
        assert!(outbox.put(&message("a", 3), b"third").unwrap().starts_with(data.path().join("sent")));
        assert_eq!(names(&outbox.waiting().unwrap()), ["0000000001.000001-b-a.eml"]);
    }

    #[test]
    fn what_a_crash_left_half_written_is_cleared_away() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        let path = outbox.put(&message("a", 1), b"whole").unwrap();
        let half = path.with_file_name(".0000000002.000000-b.eml.tmp");
        let foreign = path.with_file_name(".swap.tmp");
        fs::write(&half, b"ha").unwrap();
        fs::write(&foreign, b"of others").unwrap();
        assert_eq!(outbox.waiting().unwrap().len(), 1);
        Outbox::open(data.path()).unwrap();
        assert!(!half.exists() && foreign.exists() && path.exists());
    }

    #[test]
    fn only_the_newest_sent_mails_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        for secs in 0..SENT_KEPT {
            fs::write(data.path().join(format!("sent/{secs:010}.000000-x.eml")), b"").unwrap();
        }
        let foreign = data.path().join("sent/notes.txt");
        fs::write(&foreign, b"").unwrap();
        outbox.put(&message("new", 1_700_000_000), b"").unwrap();
        outbox.delivered(&outbox.waiting().unwrap()[0]).unwrap();
        let sent = mails(&data.path().join("sent")).unwrap();
        assert_eq!(sent.len(), SENT_KEPT);
        assert_eq!(sent[0].since, UnixTime::from_secs(1), "the oldest went");
        assert_eq!(names(&sent)[SENT_KEPT - 1], "1700000000.000000-new.eml");
        assert!(foreign.exists());
    }

    #[test]
    fn links_and_folders_are_no_mails() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        let folder = data.path().join("outbox");
        std::os::unix::fs::symlink("/etc/passwd", folder.join("0000000001.000000-x.eml")).unwrap();
        fs::create_dir(folder.join("0000000002.000000-x.eml")).unwrap();
        assert_eq!(outbox.waiting().unwrap(), []);
    }

    #[test]
    fn what_the_disk_refuses_is_told_with_its_place() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        fs::remove_dir(data.path().join("outbox")).unwrap();
        let error = outbox.put(&message("a", 1), b"").unwrap_err().to_string();
        assert!(error.contains(data.path().join("outbox").to_str().unwrap()), "{error}");
        fs::write(data.path().join("outbox"), b"a file").unwrap();
        assert!(Outbox::open(data.path()).unwrap_err().to_string().contains("cannot make the folder"));
    }

    #[test]
    fn a_mail_over_the_bound_is_refused_both_ways() {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        let bytes = vec![b'x'; MAX_MAIL_BYTES as usize + 1];
        assert!(matches!(outbox.put(&message("a", 1), &bytes), Err(Error::TooLarge { .. })));
        File::create(data.path().join("outbox/0000000001.000000-x.eml")).unwrap().set_len(1 << 33).unwrap();
        let waiting = outbox.waiting().unwrap();
        assert!(matches!(outbox.read(&waiting[0]), Err(Error::TooLarge { bytes, .. }) if bytes == 1 << 33));
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in
            ["a.eml", "1.2-a.eml", "0000000001.000000-.eml", "0000000001.000000-a", "+000000001.000000-a.eml"]
        {
            assert_eq!(decided(name), None, "{name}");
        }
    }
}
