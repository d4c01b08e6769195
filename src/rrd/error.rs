//! What can go wrong, in rrdtool's words.
//!
//! [`Error`]'s `Display` is what rrdtool prints behind `ERROR: `, so that scripts that look for its texts find them.
//! Where the original has no text, because it crashes or goes on with nonsense, the text is our own.

mod definition;
mod fault;
mod fetch;
mod number;
mod resize;
mod restore;
mod rpn;
mod time;
mod tune;
mod update;
mod xport;

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;

pub use definition::{DefinitionError, DsArgumentsError, ForecastError};
pub use fault::{Fault, Section};
pub use fetch::FetchError;
pub use number::{DurationError, NumberError};
pub use resize::ResizeError;
pub use restore::RestoreError;
pub use rpn::{ExpressionError, RpnError};
pub use time::TimeError;
pub use tune::{ForecastSetting, ShapeError, TuneError};
pub use update::{TemplateError, UpdateError};
pub use xport::XportError;

/// Why an operation on an archive failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The system refused an operation on the file.
    #[error("{operation} '{}': {}", path.display(), Errno::from_raw(*errno).desc())]
    System {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// The bytes are no archive, or none that this engine can work on.
    #[error("{}", fault.about(path))]
    Fault {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file of a 32-bit machine is only read.
    #[error(
        "'{0}' was made on a 32-bit machine and can only be read: latmon rrd dump {0} | latmon rrd restore - NEW.rrd \
         moves it over",
        path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else holds the file's lock, and kept it for as long as we wait.
    #[error("could not lock RRD")]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// The file that we hold open is no longer the one of that name.
    #[error("'{}' was replaced or removed while it was open", path.display())]
    Replaced {
        /// Which file.
        path: PathBuf,
    },
    /// The file became shorter or longer while it was open.
    #[error("'{}' changed its size from {mapped} to {now} bytes while it was open", path.display())]
    Resized {
        /// Which file.
        path: PathBuf,
        /// Its size when it was opened.
        mapped: u64,
        /// Its size now.
        now: u64,
    },
    /// A part of the file was not there when its map was touched. It is of no use any more: open the file anew.
    #[error(
        "'{}' could not be read or written whole: another program cut it short, or its disk is full or failing",
        path.display()
    )]
    Torn {
        /// Which file.
        path: PathBuf,
    },
    /// A file opened for reading was to be updated.
    #[error("'{}' was opened for reading only", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// A definition does not hold.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// `create` found the file there, and was told not to overwrite it.
    #[error("creating '{}': {}", path.display(), Errno::EEXIST.desc())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// No temporary file could be made beside the new archive.
    #[error("Cannot create temporary file")]
    Temporary {
        /// For which file.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// The finished archive could not be given its name.
    #[error("Cannot rename temporary file to final file!")]
    Rename {
        /// Which file.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// A template of an update does not fit the file.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An update was refused.
    #[error("{}: {error}", path.display())]
    Update {
        /// Of which file.
        path: PathBuf,
        /// Why.
        error: UpdateError,
    },
    /// A question about rows was refused.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A change of a data source was refused.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// An archive was not resized.
    #[error(transparent)]
    Resize(#[from] ResizeError),
    /// XML makes no archive.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Data was not exported.
    #[error(transparent)]
    Xport(#[from] XportError),
}

/// An operation that the system can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a new one beside it.
    Create,
    /// Opening the file.
    Open,
    /// Asking for its size and place.
    Stat,
    /// Mapping it into memory.
    Map,
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Allocating its blocks.
    Allocate,
    /// Taking or giving back its lock.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "creating",
            Self::Open => "opening",
            Self::Stat => "fstat file",
            Self::Map => "mmaping file",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Allocate => "allocating the blocks of",
            Self::Lock => "locking",
        })
    }
}
