//! Rounds into round robin archives, and archives into histories: the one place that knows both.
//!
//! A target's archive is `DATA_DIR/NAME.rrd`, with the data sources of SmokePing (see `layout`), so that its pages and
//! every rrdtool user can read it. Rounds lie on step boundaries and are stamped with the boundary that ends them: a
//! row *is* a round. What is stored goes through the [`journal`] in `DATA_DIR/journal`, so that no crash loses or tears
//! it.

mod convert;
mod folder;
mod forecast;
mod history;
pub mod journal;
mod layout;
mod lock;
mod past;
mod turn;
mod usual;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use crate::round::{Round, Target};
use crate::rrd;
use crate::time::{Step, UnixTime};

pub use convert::{ConvertError, Converted, Kept, Median, Shape, convert};
pub use folder::{Lock, file_name, holder, names, path, picture_name};
pub use history::history;
pub use past::Known;
pub use usual::usual;

use journal::{GROUP_BYTES, Journal, Recovered};
use turn::{Open, Outcome, Turn, commit};

/// Where archives lie, and how new ones are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Every target that is recorded.
    pub targets: Vec<TargetSettings>,
}

/// How one target is recorded.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Whose rounds.
    pub target: Arc<Target>,
    /// The step of a new archive.
    pub step: Wanted<Step>,
    /// The pings of a round in a new archive.
    pub pings: Wanted<u16>,
    /// What rules ask of its past.
    pub asked: Asked,
}

/// What rules ask of a target's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What is usual at this hour.
    pub usual: bool,
    /// A forecast, which a new archive then has.
    pub forecast: bool,
}

/// A setting that an archive already there may overrule, unless it was said outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<T> {
    /// Nobody said: an archive that is there wins.
    Default(T),
    /// Somebody said: an archive that differs is an error.
    Outright(T),
}

impl<T: Copy + PartialEq> Wanted<T> {
    /// The value, whoever said it.
    pub fn value(self) -> T {
        match self {
            Self::Default(value) | Self::Outright(value) => value,
        }
    }

    /// Whether an archive that has `found` may be used as it is.
    fn allows(self, found: T) -> bool {
        match self {
            Self::Default(_) => true,
            Self::Outright(value) => value == found,
        }
    }
}

/// The step and the pings that an archive is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The length of a round.
    pub step: Step,
    /// The pings of a round.
    pub pings: u16,
}

/// Why an archive, or the folder of archives, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be made or written.
    #[error("the data folder {} cannot be used: {source}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another monitor records there.
    #[error(
        "another latmon{} records in {}: stop it first, or give this one its own --data-dir",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        dir.display()
    )]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// The other one's process, where it said so.
        pid: Option<u32>,
    },
    /// The journal of the data folder says no.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The archive engine says no.
    #[error("{}", in_words(file, source))]
    Rrd {
        /// The file.
        file: PathBuf,
        /// What it says, in rrdtool's words.
        source: rrd::Error,
    },
    /// The file is an archive, but not of rounds.
    #[error("{} is no archive of rounds: it has no data source '{missing}'", file.display())]
    NotOfRounds {
        /// The file.
        file: PathBuf,
        /// The name that is missing.
        missing: String,
    },
    /// Another program updates the archive, SmokePing perhaps; its rows and ours would blend.
    #[error(
        "{}: another program has updated it (at {}): stop that one, or give it another file; nothing is stored while it \
         goes on",
        file.display(),
        last.local().civil.format("%Y-%m-%d %H:%M:%S")
    )]
    OtherWriter {
        /// The file.
        file: PathBuf,
        /// Its last update.
        last: UnixTime,
    },
    /// The archive has another step than was said outright.
    #[error(
        "{} has a step of {found}, the settings say {wanted}: leave the step out of the settings to go on with the \
         archive's, or reshape it: latmon convert {} --step {wanted}",
        file.display(),
        file.display()
    )]
    OtherStep {
        /// The file.
        file: PathBuf,
        /// Its step.
        found: Step,
        /// The one that was said.
        wanted: Step,
    },
    /// A rule asks for a forecast, and the archive has none.
    #[error(
        "{} has no forecast, and a rule with when = \"aberrant\" asks for one: add it: latmon convert {} --forecast",
        file.display(),
        file.display()
    )]
    NoForecast {
        /// The file.
        file: PathBuf,
    },
    /// The archive has room for another number of pings than was said outright.
    #[error(
        "{} holds {found} pings a round, the settings say {wanted}: leave the pings out of the settings to go on with \
         the archive's, or reshape it: latmon convert {} --pings {wanted}",
        file.display(),
        file.display()
    )]
    OtherPings {
        /// The file.
        file: PathBuf,
        /// Its number of pings.
        found: u16,
        /// The one that was said.
        wanted: u16,
    },
}

/// The engine speaks as rrdtool does, which does not always name the file.
fn in_words(file: &Path, source: &rrd::Error) -> String {
    let text = source.to_string();
    let name = file.display();
    match source {
        rrd::Error::Fault { fault: rrd::Fault::EndsIn(rrd::Section::StatHead), .. } => {
            format!("{name} is no archive: it is too short to be one")
        }
        // What cannot be mapped at all.
        rrd::Error::System { operation: rrd::Operation::Map, errno, .. }
            if *errno == Errno::EINVAL as i32 =>
        {
            format!("{name} is no archive: it is empty")
        }
        rrd::Error::System { operation: rrd::Operation::Map, errno, .. }
            if *errno == Errno::ENODEV as i32 =>
        {
            format!("{name} is no archive: it is a folder or a device")
        }
        rrd::Error::Temporary { errno, .. } | rrd::Error::Rename { errno, .. } => {
            format!("{name} cannot be made: {}", std::io::Error::from_raw_os_error(*errno))
        }
        _ if text.contains(&*file.to_string_lossy()) => text,
        _ => format!("{name}: {text}"),
    }
}

impl Error {
    /// An error of the engine about `file`.
    fn of_file(file: &Path) -> impl Fn(rrd::Error) -> Self + Copy {
        move |source| Self::Rrd { file: file.to_owned(), source }
    }

    /// Why the journal did not store what was for `file`.
    fn of_journal(file: &Path, error: &journal::Error) -> Self {
        match error {
            journal::Error::Archive(source) => Self::of_file(file)(source.clone()),
            error => Self::Journal(error.clone()),
        }
    }

    /// True when the settings ask for what the archive is not: a matter for whoever wrote them, not for the disk.
    fn is_about_settings(&self) -> bool {
        matches!(
            self,
            Self::OtherStep { .. }
                | Self::OtherPings { .. }
                | Self::NotOfRounds { .. }
                | Self::NoForecast { .. }
        )
    }
}

impl Settings {
    /// How many archives are still to be made, and how many bytes those will take.
    pub fn to_be_made(&self) -> (usize, u64) {
        let missing = |target: &&TargetSettings| !path(&self.data_dir, &target.target.name).exists();
        let bytes = |target: &TargetSettings| {
            let rhythm = Rhythm { step: target.step.value(), pings: target.pings.value() };
            layout::row_bytes(rhythm, target.asked.forecast)
        };
        self.targets
            .iter()
            .filter(missing)
            .fold((0, 0), |(count, sum), target| (count + 1, sum + bytes(target)))
    }
}

/// What became of a round.
#[derive(Debug)]
pub enum Recorded {
    /// It is in the archive.
    Stored,
    /// It is in the archive, after so many that are not.
    Recovered {
        /// How many rounds were not stored.
        missed: u64,
    },
    /// It is not: the archive was last updated after the round ended. Said for the first such round only.
    Behind {
        /// The archive's last update.
        last: UnixTime,
    },
    /// It is not. Said for the first such round only.
    Failed(Error),
    /// It is not, and the reason was told before.
    StillFailing,
}

/// The archives of every target, open for updates. The data folder is locked as long as this lives.
#[derive(Debug)]
pub struct Archives {
    targets: HashMap<String, Entry>,
    /// The files, as many of them open as the system allows.
    files: rrd::Set,
    journal: Journal,
    recovered: Recovered,
    reading: past::Reading,
    _lock: Lock,
}

#[derive(Debug)]
struct Entry {
    settings: TargetSettings,
    file: PathBuf,
    open: Option<Open>,
    /// Rounds that were not stored since the last that was.
    missed: u64,
    usual: past::Usual,
}

impl Archives {
    /// Locks the data folder, brings the archives up to date with what a run that crashed has left in the journal, and
    /// opens every target's archive; one that is missing is made, to begin at the boundary before `now`. An archive
    /// that cannot be opened fails the whole only where its settings contradict it, or where no other can be opened
    /// either; else its rounds are missed and [`Archives::record`] says why.
    pub fn open(settings: &Settings, now: UnixTime) -> Result<Self, Error> {
        let lock = Lock::take(&settings.data_dir)?;
        let (mut journal, recovered) = Journal::open(&folder::journal(&settings.data_dir))?;
        let mut targets = HashMap::with_capacity(settings.targets.len());
        let (mut files, mut first_error) = (rrd::Set::new(), None);
        for target in &settings.targets {
            let file = path(&settings.data_dir, &target.target.name);
            let open = match Open::new(&mut files, &file, target, now) {
                Ok(open) => Some(open),
                Err(error) if error.is_about_settings() => return Err(error),
                Err(error) => {
                    first_error.get_or_insert(error);
                    None
                }
            };
            let entry =
                Entry { settings: target.clone(), file, open, missed: 0, usual: past::Usual::default() };
            targets.insert(target.target.name.clone(), entry);
        }
        journal.settle(targets.values().map(|entry| &*entry.file))?;
        match first_error {
            Some(error) if targets.values().all(|entry: &Entry| entry.open.is_none()) => Err(error),
            _ => Ok(Self {
                targets,
                files,
                journal,
                recovered,
                reading: past::Reading::default(),
                _lock: lock,
            }),
        }
    }

    /// The step and the pings of a target's archive; `None` where it could not be opened.
    pub fn rhythm(&self, target: &str) -> Option<Rhythm> {
        Some(self.targets.get(target)?.open.as_ref()?.rhythm)
    }

    /// What was left to do by a run that crashed.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Stores rounds, which share a sync of the journal. What became of each stands at its place in the answer.
    pub fn record(&mut self, rounds: &[Round]) -> Vec<Recorded> {
        self.reading.begin_turn();
        let mut outcomes: Vec<Outcome> = rounds.iter().map(|_| Outcome::NotTried).collect();
        let mut turns = self.turns(rounds, &mut outcomes);
        let (mut group, mut bytes) = (Vec::new(), 0);
        for turn in &mut turns {
            let prepared = turn.prepare(rounds, &mut outcomes);
            bytes += prepared.as_ref().map_or(0, |(prepared, _)| prepared.waiting_bytes());
            group.extend(prepared);
            if bytes >= GROUP_BYTES {
                commit(&mut self.journal, std::mem::take(&mut group), &mut outcomes);
                bytes = 0;
            }
        }
        commit(&mut self.journal, group, &mut outcomes);
        for turn in turns {
            let Some(entry) = self.targets.get_mut(turn.name) else { continue };
            let (open, rrd) = turn.ended(&outcomes);
            if open.is_some() {
                self.files.put(rrd);
            }
            entry.open = open;
        }
        let tell = |(round, outcome): (&Round, Outcome)| match self.targets.get_mut(&round.target().name) {
            Some(entry) => entry.tell(outcome),
            None => Recorded::StillFailing,
        };
        rounds.iter().zip(outcomes).map(tell).collect()
    }

    /// Ends the journal: the archives are on the disk, and the next run has nothing to make good.
    pub fn close(self) -> Result<(), Error> {
        Ok(self.journal.close()?)
    }

    /// Sorts the rounds by target and takes the archives out, opened where they are not.
    fn turns<'a>(&mut self, rounds: &'a [Round], outcomes: &mut [Outcome]) -> Vec<Turn<'a>> {
        let mut turns: Vec<Turn<'a>> = Vec::new();
        let mut of_target: HashMap<&str, usize> = HashMap::new();
        for (place, round) in rounds.iter().enumerate() {
            let name = &*round.target().name;
            if let Some(turn) = of_target.get(name) {
                turns[*turn].places.push(place);
                continue;
            }
            let Some(entry) = self.targets.get_mut(name) else { continue };
            match entry.take_open(&mut self.files, round.start()) {
                Ok((open, rrd)) => {
                    of_target.insert(name, turns.len());
                    turns.push(Turn { name, open, rrd, before: None, places: vec![place] });
                }
                Err(error) => outcomes[place] = Outcome::Failed(error),
            }
        }
        turns
    }
}

impl Entry {
    /// The open archive and its file; one that failed before is opened anew: it may have been put back, or made room
    /// for.
    fn take_open(&mut self, files: &mut rrd::Set, now: UnixTime) -> Result<(Open, rrd::File), Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(files, &self.file, &self.settings, now)?,
        };
        Ok((open, files.take(&self.file).map_err(Error::of_file(&self.file))?))
    }

    fn tell(&mut self, outcome: Outcome) -> Recorded {
        match outcome {
            Outcome::Stored => match std::mem::take(&mut self.missed) {
                0 => Recorded::Stored,
                missed => Recorded::Recovered { missed },
            },
            Outcome::Behind(last) => self.miss(Recorded::Behind { last }),
            Outcome::Failed(error) => self.miss(Recorded::Failed(error)),
            Outcome::NotTried => self.miss(Recorded::StillFailing),
        }
    }

    fn miss(&mut self, told: Recorded) -> Recorded {
        self.missed += 1;
        if self.missed == 1 { told } else { Recorded::StillFailing }
    }
}
