//! Rounds into round robin archives, and archives into histories: the one place that knows both.
//!
//! A target's archive is `DATA_DIR/NAME.rrd`, with the data sources of SmokePing (see `layout`), so that its pages and every
//! rrdtool user can read it. Rounds lie on step boundaries and are stamped with the boundary that ends them: a row *is*
//! a round.

mod convert;
mod folder;
mod history;
mod layout;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::round::{Round, Target};
use crate::rrd;
use crate::time::{Step, UnixTime};

pub use convert::{ConvertError, Converted, Kept, Median, Shape, convert};
pub use folder::{file_name, names, path, picture_name};
pub use history::history;

use folder::Lock;
use layout::Columns;

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
    #[error("another latmon{} records in {}: stop it first, or give this one its own --data-dir", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), dir.display())]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// The other one's process, where it said so.
        pid: Option<u32>,
    },
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
    match source {
        rrd::Error::Temporary { errno, .. } | rrd::Error::Rename { errno, .. } => {
            format!("{} cannot be made: {}", file.display(), std::io::Error::from_raw_os_error(*errno))
        }
        _ if text.contains(&*file.to_string_lossy()) => text,
        _ => format!("{}: {text}", file.display()),
    }
}

impl Error {
    /// An error of the engine about `file`.
    fn of_file(file: &Path) -> impl Fn(rrd::Error) -> Self + Copy {
        move |source| Self::Rrd { file: file.to_owned(), source }
    }

    /// True when the settings ask for what the archive is not: a matter for whoever wrote them, not for the disk.
    fn is_about_settings(&self) -> bool {
        matches!(self, Self::OtherStep { .. } | Self::OtherPings { .. } | Self::NotOfRounds { .. })
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
    _lock: Lock,
}

#[derive(Debug)]
struct Entry {
    settings: TargetSettings,
    file: PathBuf,
    open: Option<Open>,
    /// Rounds that were not stored since the last that was.
    missed: u64,
}

/// An archive that can be updated.
#[derive(Debug)]
struct Open {
    rrd: rrd::File,
    rhythm: Rhythm,
    columns: Columns,
    /// One value per data source, kept between updates.
    values: Vec<f64>,
    /// The file's last update when it was last looked at. Another one since then is another program's.
    seen: Option<UnixTime>,
}

impl Archives {
    /// Locks the data folder and opens every target's archive; one that is missing is made, to begin at the boundary
    /// before `now`. An archive that cannot be opened fails the whole only where its settings contradict it, or where no
    /// other can be opened either; else its rounds are missed and [`Archives::record`] says why.
    pub fn open(settings: &Settings, now: UnixTime) -> Result<Self, Error> {
        let lock = Lock::take(&settings.data_dir)?;
        let mut targets = HashMap::with_capacity(settings.targets.len());
        let mut first_error = None;
        for target in &settings.targets {
            let file = path(&settings.data_dir, &target.target.name);
            let open = match Open::new(&file, target, now) {
                Ok(open) => Some(open),
                Err(error) if error.is_about_settings() => return Err(error),
                Err(error) => {
                    first_error.get_or_insert(error);
                    None
                }
            };
            let entry = Entry { settings: target.clone(), file, open, missed: 0 };
            targets.insert(target.target.name.clone(), entry);
        }
        match first_error {
            Some(error) if targets.values().all(|entry| entry.open.is_none()) => Err(error),
            _ => Ok(Self { targets, _lock: lock }),
        }
    }

    /// The step and the pings of a target's archive; `None` where it could not be opened.
    pub fn rhythm(&self, target: &str) -> Option<Rhythm> {
        Some(self.targets.get(target)?.open.as_ref()?.rhythm)
    }

    /// Stores a round.
    pub fn record(&mut self, round: &Round) -> Recorded {
        match self.targets.get_mut(&round.target().name) {
            Some(entry) => entry.record(round),
            None => Recorded::StillFailing,
        }
    }
}

impl Entry {
    fn record(&mut self, round: &Round) -> Recorded {
        match self.store(round) {
            Ok(None) => match std::mem::take(&mut self.missed) {
                0 => Recorded::Stored,
                missed => Recorded::Recovered { missed },
            },
            Ok(Some(last)) => self.miss(Recorded::Behind { last }),
            Err(error) => {
                if !matches!(error, Error::OtherWriter { .. }) {
                    // Opened anew for the next round: the file may have been put back, or made room for.
                    self.open = None;
                }
                self.miss(Recorded::Failed(error))
            }
        }
    }

    fn miss(&mut self, told: Recorded) -> Recorded {
        self.missed += 1;
        if self.missed == 1 { told } else { Recorded::StillFailing }
    }

    /// Stores the round, or returns the archive's last update where that is not before the round's end.
    fn store(&mut self, round: &Round) -> Result<Option<UnixTime>, Error> {
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(Open::new(&self.file, &self.settings, round.start())?),
        };
        open.store(round, &self.file)
    }
}

impl Open {
    fn new(file: &Path, settings: &TargetSettings, now: UnixTime) -> Result<Self, Error> {
        if !file.exists() {
            folder::make_parent(file)?;
            let rhythm = Rhythm { step: settings.step.value(), pings: settings.pings.value() };
            let start = rhythm.step.boundary_before(now);
            rrd::create(file, &layout::definition(rhythm, start), rrd::Overwrite::No)
                .map_err(Error::of_file(file))?;
        }
        let failed = Error::of_file(file);
        let mut rrd = rrd::File::open(file, rrd::Access::Write).map_err(failed)?;
        let view = rrd.view().map_err(failed)?;
        let columns = Columns::find(&view, file)?;
        let rhythm = Rhythm { step: view.step(), pings: columns.pings() };
        drop(view);
        if !settings.step.allows(rhythm.step) {
            let wanted = settings.step.value();
            return Err(Error::OtherStep { file: file.to_owned(), found: rhythm.step, wanted });
        }
        if !settings.pings.allows(rhythm.pings) {
            let wanted = settings.pings.value();
            return Err(Error::OtherPings { file: file.to_owned(), found: rhythm.pings, wanted });
        }
        let values = vec![f64::NAN; columns.data_sources()];
        Ok(Self { rrd, rhythm, columns, values, seen: None })
    }

    /// Stores the round; where the archive's last update lies before the round's start, what lies between is stored as
    /// unknown first: nobody watched then, and rrdtool would spread the round over it.
    fn store(&mut self, round: &Round, file: &Path) -> Result<Option<UnixTime>, Error> {
        let failed = Error::of_file(file);
        let last = self.rrd.view().map_err(failed)?.last_update();
        if self.seen.replace(last).is_some_and(|seen| seen != last) {
            return Err(Error::OtherWriter { file: file.to_owned(), last });
        }
        if last >= round.end() {
            return Ok(Some(last));
        }
        if last < round.start() {
            self.values.fill(f64::NAN);
            self.rrd.update(round.start(), &self.values).map_err(failed)?;
        }
        self.columns.fill(round, &mut self.values);
        self.rrd.update(round.end(), &self.values).map_err(failed)?;
        self.seen = Some(round.end());
        Ok(None)
    }
}
