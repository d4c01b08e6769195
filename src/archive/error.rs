//! Why an archive, or the folder of archives, cannot be used.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::journal;
use crate::rrd;
use crate::time::{Step, UnixTime};

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
    pub(super) fn of_file(file: &Path) -> impl Fn(rrd::Error) -> Self + Copy {
        move |source| Self::Rrd { file: file.to_owned(), source }
    }

    /// Why the journal did not store what was for `file`.
    pub(super) fn of_journal(file: &Path, error: &journal::Error) -> Self {
        match error {
            journal::Error::Archive(source) => Self::of_file(file)(source.clone()),
            error => Self::Journal(error.clone()),
        }
    }

    /// True when the settings ask for what the archive is not: a matter for whoever wrote them, not for the disk.
    pub(super) fn is_about_settings(&self) -> bool {
        matches!(
            self,
            Self::OtherStep { .. }
                | Self::OtherPings { .. }
                | Self::NotOfRounds { .. }
                | Self::NoForecast { .. }
        )
    }
}
