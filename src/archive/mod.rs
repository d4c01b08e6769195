//! Rounds into round robin archives, and archives into histories: the one place that knows both.
//!
//! A target's archive is `DATA_DIR/NAME.rrd`, with the data sources of SmokePing (see `layout`), so that its pages and
//! every rrdtool user can read it. Rounds lie on step boundaries and are stamped with the boundary that ends them: a
//! row *is* a round. What is stored goes through the [`journal`] in `DATA_DIR/journal`, so that no crash loses or tears
//! it.

mod convert;
mod error;
mod folder;
mod forecast;
mod history;
pub mod journal;
mod layout;
mod lock;
mod past;
mod turn;
mod usual;
mod waiting;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use crate::round::{Round, Target};
use crate::rrd;
use crate::time::{Step, UnixTime};

pub use convert::{ConvertError, Converted, Kept, Median, Shape, convert};
pub use error::Error;
pub use folder::{Lock, file_name, holder, names, path, picture_name};
pub use history::history;
pub use past::Known;
pub use usual::usual;

use journal::{GROUP_BYTES, Journal, Recovered};
use turn::{Open, Outcome, Turn, commit};
use waiting::Waiting;

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
    /// It is in the archive, and so it was not for a while.
    Recovered {
        /// How many rounds before it were not stored.
        missed: u64,
        /// How many had to wait for the archive, and are in it.
        waited: u64,
    },
    /// It is not yet: another program holds the archive's lock. It waits for that in memory, as those do that follow it, for
    /// which it is not said again.
    Waits(Error),
    /// It is not: the archive was last updated after the round ended. Said for the first such round only.
    Behind {
        /// The archive's last update.
        last: UnixTime,
    },
    /// It is not. Said for the first such round only.
    Failed(Error),
    /// It is not, or not yet, and the reason was told before.
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
    waiting: Waiting,
    reading: past::Reading,
    _lock: Lock,
}

#[derive(Debug)]
struct Entry {
    settings: TargetSettings,
    file: PathBuf,
    open: Option<Open>,
    /// Rounds that were not stored since the last that was, and how many waited to be.
    missed: u64,
    waited: u64,
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
            let usual = past::Usual::default();
            let entry = Entry { settings: target.clone(), file, open, missed: 0, waited: 0, usual };
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
                waiting: Waiting::default(),
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

    /// Stores rounds, which share a sync of the journal. What became of each stands at its place in the answer. Those that
    /// waited for these archives are stored before them.
    pub fn record(&mut self, rounds: &[Round]) -> Vec<Recorded> {
        self.reading.begin_turn();
        let waited = self.waiting.take_for(rounds);
        let all: Vec<&Round> = waited.iter().chain(rounds).collect();
        let mut outcomes = self.store(&all, waited.len());
        let new = outcomes.split_off(waited.len());
        // What is to be said of those that waited is said with the next of their target.
        let mut news = HashMap::new();
        for (round, outcome) in waited.iter().zip(outcomes) {
            let recorded = self.tell(round, outcome, false);
            if !matches!(recorded, Recorded::Stored | Recorded::StillFailing) {
                news.insert(&*round.target().name, recorded);
            }
        }
        let tell = |(round, outcome): (&Round, Outcome)| match self.tell(round, outcome, true) {
            recorded @ (Recorded::Stored | Recorded::StillFailing) => {
                news.remove(&*round.target().name).unwrap_or(recorded)
            }
            recorded => recorded,
        };
        rounds.iter().zip(new).map(tell).collect()
    }

    /// Stores what still waits, and ends the journal: the archives are on the disk, and the next run has nothing to make
    /// good.
    pub fn close(mut self) -> Result<(), Error> {
        let waited = self.waiting.take_all();
        let outcomes = self.store(&waited.iter().collect::<Vec<_>>(), 0);
        let lost = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Stored)).count();
        if lost > 0 {
            warn!("{lost} rounds are not recorded: another program holds the locks of their archives");
        }
        Ok(self.journal.close()?)
    }

    /// Stores rounds, of which the first `waited` have done so. Only for the first archive that turns out to be locked is
    /// its lock waited for: the rounds can wait instead, and the monitor has more to do.
    fn store(&mut self, rounds: &[&Round], waited: usize) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = rounds.iter().map(|_| Outcome::NotTried).collect();
        let mut turns = self.turns(rounds, &mut outcomes);
        let (mut group, mut bytes, mut is_patient) = (Vec::new(), 0, true);
        for turn in &mut turns {
            let first = turn.places[0];
            let prepared = turn.prepare(rounds, &mut outcomes, is_patient && first >= waited);
            is_patient &= !matches!(outcomes[first], Outcome::Locked);
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
        outcomes
    }

    /// What is to be said of a round; one whose archive is locked is put with those that wait.
    fn tell(&mut self, round: &Round, outcome: Outcome, is_new: bool) -> Recorded {
        let Some(entry) = self.targets.get_mut(&round.target().name) else { return Recorded::StillFailing };
        if !matches!(outcome, Outcome::Locked) || !self.waiting.add(round) {
            return entry.tell(outcome);
        }
        entry.waited += u64::from(is_new);
        if is_new && entry.waited == 1 { Recorded::Waits(entry.locked()) } else { Recorded::StillFailing }
    }

    /// Sorts the rounds by target and takes the archives out, opened where they are not.
    fn turns<'a>(&mut self, rounds: &[&'a Round], outcomes: &mut [Outcome]) -> Vec<Turn<'a>> {
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
                Err(error) => outcomes[place] = Outcome::of(error),
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
            Outcome::Stored => match (std::mem::take(&mut self.missed), std::mem::take(&mut self.waited)) {
                (0, 0) => Recorded::Stored,
                (missed, waited) => Recorded::Recovered { missed, waited },
            },
            Outcome::Behind(last) => self.miss(Recorded::Behind { last }),
            Outcome::Failed(error) => self.miss(Recorded::Failed(error)),
            Outcome::Locked => self.miss(Recorded::Failed(self.locked())),
            Outcome::NotTried => self.miss(Recorded::StillFailing),
        }
    }

    fn locked(&self) -> Error {
        Error::of_file(&self.file)(rrd::Error::Locked { path: self.file.clone() })
    }

    fn miss(&mut self, told: Recorded) -> Recorded {
        self.missed += 1;
        if self.missed == 1 { told } else { Recorded::StillFailing }
    }
}
