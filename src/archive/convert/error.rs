//! Why an archive is not converted; it then stays as it is.

use std::path::PathBuf;

use crate::archive;
use crate::rrd;
use crate::time::Step;

/// Why an archive is not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It cannot be read, or the new one cannot be made.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A monitor records in the folder of a file that is to be converted.
    #[error(
        "latmon{} records in {}: stop it first, then convert",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        dir.display()
    )]
    Recording {
        /// The folder.
        dir: PathBuf,
        /// The monitor's process, where it said so.
        pid: Option<u32>,
    },
    /// The old file of an earlier conversion is there still.
    #[error("{} is there from an earlier conversion: move it away first", before.display())]
    BeforeExists {
        /// That file.
        before: PathBuf,
    },
    /// The old file cannot be given its second name.
    #[error("{} cannot be kept as it is, so it stays as it is: {source}", file.display())]
    Keep {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that is no archive of rounds, to be converted without word of what the median is.
    #[error(
        "{} is no archive of rounds: name the data source that is its median, --from NAME --unit ms; it has {there}",
        file.display()
    )]
    NeedsMedian {
        /// The file.
        file: PathBuf,
        /// The names of its data sources.
        there: String,
    },
    /// The file has no data source of the name.
    #[error("{} has no data source '{name}'; it has {there}", file.display())]
    NoDataSource {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
        /// The names of those that it has.
        there: String,
    },
    /// The file records something else as well.
    #[error(
        "{} has a data source '{name}' besides those of rounds, which would be lost: it stays as it is",
        file.display()
    )]
    ExtraDataSource {
        /// The file.
        file: PathBuf,
        /// The data source.
        name: String,
    },
    /// The file has archives that cannot be resampled.
    #[error(
        "{} has a forecast ({cf}), which cannot be reshaped: say --forecast for a new one, --archives \
         default, or which to make",
        file.display()
    )]
    Forecasts {
        /// The file.
        file: PathBuf,
        /// The function.
        cf: &'static str,
    },
    /// An archive that was asked for is none.
    #[error(
        "--archives: '{text}' is no archive: write default, or FUNCTION:XFF:STEPS:ROWS as AVERAGE:0.5:1m:10d"
    )]
    NotListed {
        /// As written.
        text: String,
    },
    /// An archive that was asked for does not hold.
    #[error("--archives: '{text}' will not do with a step of {step}: {source}")]
    Listed {
        /// As written.
        text: String,
        /// The step that it is for.
        step: Step,
        /// What is wrong with it.
        source: rrd::DefinitionError,
    },
}
