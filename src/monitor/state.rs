//! `DATA_DIR/state.json`: what a monitor must still know when it starts again.
//!
//! It appears whole, by a rename, and is on the disk before [`Store::save`] returns. The way of a notice: it stands in
//! here as pending before the composer gets it, the composer puts its message into the outbox, and only then it goes from
//! here. A crash at any point in between makes the same message again, under the same key.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::alert::{KeptAlert, Notice, desk};
use crate::time::UnixTime;
use crate::whole;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The version of this file's form.
    pub latmon: u32,
    /// The run that wrote it.
    pub run: RunState,
    /// Notices that were decided on and are not known to lie in the outbox, oldest first.
    pub pending: Vec<Notice>,
    /// Who was heard to answer on the way out, by whose silence the next run knows that the uplink is down.
    pub anchors: Vec<IpAddr>,
    /// What the rounds so far have left open.
    pub alerts: Vec<KeptAlert>,
    /// What was told of it, and what must not be.
    pub desk: desk::State,
}

/// A run, as the next one finds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunState {
    /// When it began; `None` before the first.
    pub started: Option<UnixTime>,
    /// When it was last seen alive; refreshed now and then.
    pub alive: Option<UnixTime>,
    /// When it ended as it should, with its exit mail in the outbox; `None` while it runs, and after it died.
    pub ended: Option<UnixTime>,
}

impl RunState {
    /// The run of this name, that begins.
    pub fn beginning(run: UnixTime, now: UnixTime) -> Self {
        Self { started: Some(run), alive: Some(now), ended: None }
    }

    /// The last sign of life of a run that died without a word; `None` where it ended as it should, or there was none.
    pub fn died(&self) -> Option<UnixTime> {
        let last = self.alive.max(self.started);
        if self.ended.is_some() { None } else { last }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            latmon: VERSION,
            run: RunState::default(),
            pending: Vec::new(),
            anchors: Vec::new(),
            alerts: Vec::new(),
            desk: desk::State::default(),
        }
    }
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] whole::Error),
    /// It is not what a monitor writes.
    #[error("{}: cannot be read as a state ({why}): it is kept as {}", path.display(), kept.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// Where it lies now.
        kept: PathBuf,
    },
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The state of the data folder `data_dir`, whose lock the caller holds.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    /// What was kept; the state of a first run where there is none.
    ///
    /// # Errors
    /// A file that is no state is moved aside before that is told.
    pub fn load(&self) -> Result<State, Error> {
        let read = File::open(&self.path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(disk("read", &self.path)(error)),
        };
        let why = match parse(&bytes) {
            Ok(state) => return Ok(state),
            Err(why) => why,
        };
        let kept = self.path.with_extension("json.damaged");
        fs::rename(&self.path, &kept).map_err(disk("move aside", &self.path))?;
        Err(Error::Damaged { path: self.path.clone(), why, kept })
    }

    /// Keeps `state`, for good once this returns.
    pub fn save(&self, state: &State) -> Result<(), Error> {
        let bytes = serde_json::to_vec(state).expect("a state is numbers, words and lists, which JSON has");
        Ok(whole::write(&self.path, &bytes)?)
    }
}

/// The state in the bytes of a file, or why they hold none.
pub fn parse(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("it is longer than {MOST_BYTES} bytes"));
    }
    match serde_json::from_slice(bytes) {
        Ok(Versioned { latmon: VERSION }) => {}
        Ok(Versioned { latmon }) => {
            return Err(format!("it has version {latmon}, this program writes {VERSION}"));
        }
        Err(error) => return Err(error.to_string()),
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The part of a state that every version has.
#[derive(Deserialize)]
struct Versioned {
    latmon: u32,
}

fn disk<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| whole::Error { operation, path: path.to_owned(), error }.into()
}

const FILE: &str = "state.json";
const VERSION: u32 = 1;
/// Ten alerts open on each of twenty thousand targets fit.
const MOST_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests;
