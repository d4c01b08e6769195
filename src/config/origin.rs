//! Where a setting comes from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A value, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value that nobody said.
    pub(super) const fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// What `change` makes of the value, from the same origin.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), origin: self.origin }
    }
}

/// Who said a value. It is shown as people look for it: `--step`, `LATENCY_STEP`, `.env:3`, `latmon.toml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The command line; this option, or `TARGET` for the words without one.
    Option(&'static str),
    /// This environment variable.
    Environment(&'static str),
    /// A line of `.env`.
    DotEnv {
        /// The variable it sets.
        key: &'static str,
        /// The file, as people name it.
        path: Arc<Path>,
        /// Counted from 1.
        line: u32,
    },
    /// A line of a TOML file.
    File {
        /// The file, as people name it.
        path: Arc<Path>,
        /// Counted from 1.
        line: u32,
    },
    /// It follows from where this file lies.
    FolderOf(Arc<Path>),
}

impl Origin {
    /// True when somebody asked for this value: what is there already may not quietly differ from it.
    pub fn is_outright(&self) -> bool {
        !matches!(self, Self::Default)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::Option(name) | Self::Environment(name) => f.pad(name),
            Self::DotEnv { path, line, .. } | Self::File { path, line } => {
                f.pad(&format!("{}:{line}", path.display()))
            }
            Self::FolderOf(path) => f.pad(&format!("folder of {}", path.display())),
        }
    }
}
