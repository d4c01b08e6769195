//! Mutes, as people make and take them back: asked of the running monitor, or written into the state of one that is to
//! start.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::state::{self, Store};
use super::status::{MutedStatus, Status};
use crate::alert::desk::State;
use crate::alert::desk::quiet::{ALL, Mute, Quiet, means};
use crate::archive::{self, Lock};
use crate::time::{Lasted, UnixTime};

/// What somebody wants of the mutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// One more.
    Mute {
        /// Whom: a target, a group, a pattern, or all.
        name: String,
        /// For how long.
        secs: u64,
        /// Who wants it.
        by: String,
        /// What for; empty where nobody said.
        reason: String,
    },
    /// Those of this name are over; all of them, where it is `all`.
    Unmute {
        /// The name they were made with.
        name: String,
    },
}

/// Why there is no such mute.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A monitor has the folder, or it is not ours.
    #[error(transparent)]
    Folder(#[from] archive::Error),
    /// The state of the last run.
    #[error(transparent)]
    State(#[from] state::Error),
    /// It cannot be.
    #[error("{0}")]
    Refused(String),
}

/// Does what is wished in the data folder of a monitor that does not run, which watches `targets`. Returns what was done.
pub fn grant_in<'a>(
    data_dir: &Path,
    wish: Wish,
    targets: impl Iterator<Item = &'a str>,
    now: UnixTime,
) -> Result<String, Error> {
    let _lock = Lock::take(data_dir)?;
    let store = Store::new(data_dir);
    let mut state = store.load()?;
    let done = grant(&mut state.desk, wish, targets, now).map_err(Error::Refused)?;
    store.save(&state)?;
    Ok(done)
}

/// Does what is wished, for a monitor that watches `targets`. Returns what was done, or why that cannot be.
pub(super) fn grant<'a>(
    desk: &mut State,
    wish: Wish,
    targets: impl Iterator<Item = &'a str>,
    now: UnixTime,
) -> Result<String, String> {
    match wish {
        Wish::Mute { name, secs, by, reason } => {
            let count = targets.filter(|target| means(&name, target)).count();
            if count == 0 {
                return Err(format!("no target is called '{}': latmon status '*' shows all", line(&name)));
            }
            let lasts = Duration::from_secs(secs.min(LONGEST));
            let until = now.plus(lasts);
            let done = format!(
                "{} muted for {}, until {}",
                called(&name, count),
                Lasted(lasts),
                until.local().civil.format("%Y-%m-%d %H:%M")
            );
            let (by, reason) = (line(&by), line(&reason));
            desk.mute(Mute { name, since: now, until, by, reason }).map_err(|error| error.to_string())?;
            Ok(done)
        }
        Wish::Unmute { name } => match desk.unmute(&name) {
            0 if desk.mutes().is_empty() => Err("nothing is muted".to_owned()),
            0 => {
                let names: Vec<String> = desk.mutes().iter().map(|mute| line(&mute.name)).collect();
                Err(format!("'{}' is not muted by that name: {}", line(&name), names.join(", ")))
            }
            1 if name != ALL => Ok(format!("{} is no longer muted", line(&name))),
            1 => Ok("one mute taken back".to_owned()),
            count => Ok(format!("{count} mutes taken back")),
        },
    }
}

/// A wish on its way to the loop.
pub(super) struct Call {
    pub(super) wish: Wish,
    reply: Sender<Result<String, String>>,
}

impl Call {
    pub(super) fn answer(&self, done: Result<String, String>) {
        // Who has asked may have given up.
        let _ = self.reply.send(done);
    }
}

/// The way to the loop for whoever takes calls.
#[derive(Clone)]
pub(super) struct Line {
    calls: Sender<Call>,
    shown: Shown,
}

/// The loop's end of it.
pub(super) struct Ear {
    /// What people wish.
    pub(super) calls: Receiver<Call>,
    /// What others are to see.
    pub(super) shown: Shown,
    /// Where nobody takes calls, nobody calls, and that is no end.
    _line: Line,
}

impl Line {
    /// A way to the loop, and its end there.
    pub(super) fn new() -> (Self, Ear) {
        let (calls_in, calls) = bounded(MOST_CALLS);
        let line = Self { calls: calls_in, shown: Shown::default() };
        let ear = Ear { calls, shown: line.shown.clone(), _line: line.clone() };
        (line, ear)
    }

    /// Notes in `status` who is muted at `now`.
    pub(super) fn mark(&self, status: &mut Status, now: UnixTime) {
        self.shown.mark(status, now);
    }

    /// Asks the loop, which may be held up by a disk.
    pub(super) fn ask(&self, wish: Wish) -> Result<String, String> {
        let (reply, done) = bounded(1);
        let busy = || "the monitor is busy: try again".to_owned();
        self.calls.try_send(Call { wish, reply }).map_err(|_| busy())?;
        done.recv_timeout(PATIENCE).map_err(|_| busy())?
    }
}

/// What holds notices back now, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<Quiet>>);

impl Shown {
    pub(super) fn set(&self, quiet: Quiet) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = quiet;
    }

    fn mark(&self, status: &mut Status, now: UnixTime) {
        let quiet = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if quiet == Quiet::default() {
            return;
        }
        for target in &mut status.targets {
            target.muted = quiet.of(&target.target, now).map(|muted| MutedStatus {
                until: muted.until.map(UnixTime::secs),
                by: muted.by,
                reason: muted.reason,
            });
        }
    }
}

fn called(name: &str, count: usize) -> String {
    match (name, count) {
        (ALL, _) => "everything is".to_owned(),
        (_, 1) => format!("{} is", line(name)),
        (_, count) => format!("{} ({count} targets) is", line(name)),
    }
}

/// `text` on one line of bounded length.
fn line(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A year, in seconds.
const LONGEST: u64 = 365 * 86_400;
const LONGEST_TEXT: usize = 200;
const MOST_CALLS: usize = 8;
/// Less than a client waits.
const PATIENCE: Duration = Duration::from_secs(4);
