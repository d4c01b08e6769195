//! Rounds into round robin archives, and archives into histories: the one place that knows both.

use std::path::PathBuf;
use std::sync::Arc;

use crate::round::Target;
use crate::time::Step;

/// Where archives lie, and how new ones are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Every target that is recorded.
    pub targets: Vec<TargetSettings>,
}

/// Where the archive of the target called `name` lies below the data folder.
pub fn file_name(name: &str) -> PathBuf {
    // rrdtool takes a colon in a file's name for the end of it.
    PathBuf::from(format!("{}.rrd", name.replace(':', "_")))
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

impl<T: Copy> Wanted<T> {
    /// The value, whoever said it.
    pub fn value(self) -> T {
        match self {
            Self::Default(value) | Self::Outright(value) => value,
        }
    }
}
