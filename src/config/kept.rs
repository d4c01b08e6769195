//! What was read from the disk, kept for other processes of the same run: they have given up the privilege to read it, and
//! shall have the same settings, whatever becomes of the files meanwhile.
//!
//! Whoever reads asks here, by [`asked`], and passes no context: each thread has its own answer to whether what it reads
//! is kept, or was.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Everything that was read.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Kept(Vec<(Question, Bytes, Answer)>);

impl Kept {
    /// As bytes, for another process. Passwords are in them.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and lists are JSON")
    }

    /// What [`Kept::bytes`] gave; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What `read` returns, and everything it read.
    pub(super) fn keeping<T>(read: impl FnOnce() -> T) -> (T, Self) {
        let (done, mode) = within(Mode::Keeping(Self::default()), read);
        let Mode::Keeping(kept) = mode else { unreachable!("nobody else sets the mode") };
        (done, kept)
    }

    /// What `read` returns with these answers.
    pub(super) fn answering<T>(self, read: impl FnOnce() -> T) -> T {
        let answers = self.0.into_iter().map(|(question, path, answer)| ((question, path.0), answer));
        within(Mode::Answering(answers.collect()), read).0
    }
}

/// What is asked about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Question {
    /// What a file holds.
    Content,
    /// Whether a file is there.
    IsThere,
    /// The path without links.
    Canonical,
    /// What a pattern means, or a folder holds.
    List,
}

/// The answer of `ask` about `path`; the one that was kept, where there is one.
pub(super) fn asked<T: Serialize + DeserializeOwned>(
    question: Question,
    path: &Path,
    ask: impl FnOnce() -> T,
) -> T {
    let key = || path.as_os_str().as_bytes().to_vec();
    let known = MODE.with_borrow(|mode| match mode {
        Mode::Answering(answers) => answers.get(&(question, key())).cloned(),
        Mode::Disk | Mode::Keeping(_) => None,
    });
    if let Some(answer) = known.and_then(|answer| serde_json::from_value(answer).ok()) {
        return answer;
    }
    let answer = ask();
    MODE.with_borrow_mut(|mode| {
        if let Mode::Keeping(kept) = mode {
            let value = serde_json::to_value(&answer).expect("texts and lists are JSON");
            kept.0.push((question, Bytes(key()), value));
        }
    });
    answer
}

/// The files that `list` finds by `path`, or found when that was kept; an error is nothing to keep.
pub(super) fn listed<E>(
    path: &Path,
    list: impl FnOnce() -> Result<Vec<PathBuf>, E>,
) -> Result<Vec<PathBuf>, E> {
    let mut failed = None;
    let files: Option<Vec<Bytes>> = asked(Question::List, path, || match list() {
        Ok(files) => Some(files.into_iter().map(Bytes::from).collect()),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    failed.map_or_else(|| Ok(files.into_iter().flatten().map(PathBuf::from).collect()), Err)
}

/// Bytes that nearly always are text, and are kept as that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl From<PathBuf> for Bytes {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string().into_vec())
    }
}

impl From<Bytes> for PathBuf {
    fn from(bytes: Bytes) -> Self {
        OsString::from_vec(bytes.0).into()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<T> {
    Text(T),
    Bytes(Vec<u8>),
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Written::Text(text),
            Err(_) => Written::Bytes(self.0.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Written::<String>::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Bytes(bytes) => bytes,
        }))
    }
}

type Answer = serde_json::Value;

enum Mode {
    Disk,
    Keeping(Kept),
    Answering(HashMap<(Question, Vec<u8>), Answer>),
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Disk) };
}

fn within<T>(mode: Mode, read: impl FnOnce() -> T) -> (T, Mode) {
    MODE.set(mode);
    let done = read();
    (done, MODE.replace(Mode::Disk))
}
