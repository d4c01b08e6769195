//! Errors of definitions.

use super::{DurationError, ExpressionError, NumberError};

/// Why a definition does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DefinitionError {
    /// No archive.
    #[error("you must define at least one Round Robin Archive")]
    NoArchive,
    /// No data source.
    #[error("you must define at least one Data Source")]
    NoDataSource,
    /// An argument that defines nothing.
    #[error("can't parse argument '{0}'")]
    Argument(String),
    /// A text that is no data source.
    #[error("invalid DS format")]
    DsFormat,
    /// An unknown type.
    #[error("invalid DS type specified ({0})")]
    DsType(String),
    /// An expression of a COMPUTE source that does not hold.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// Two data sources of one name.
    #[error("Duplicate DS name: {0}")]
    DuplicateName(String),
    /// Arguments of a data source that do not hold.
    #[error("failed to parse data source {arguments}: {error}")]
    DsArguments {
        /// The arguments.
        arguments: String,
        /// What is wrong with them.
        error: DsArgumentsError,
    },
    /// A minimum that is no number.
    #[error("parsing min val - {0}")]
    Minimum(NumberError),
    /// A maximum that is no number.
    #[error("parsing max val - {0}")]
    Maximum(NumberError),
    /// An unknown consolidation function.
    #[error("Unrecognized consolidation function {0}")]
    Cf(String),
    /// A forecasting archive whose parameters do not hold.
    #[error(transparent)]
    Forecast(#[from] ForecastError),
    /// A forecasting archive that names another which is not there, or is of no use to it.
    #[error("archive {0} (counted from 0) depends on an archive that is not there or of another kind")]
    Dependency(usize),
    /// An xff outside of 0 (in) to 1 (out).
    #[error("Invalid xff: must be between 0 and 1")]
    Xff,
    /// Steps of an archive that do not hold.
    #[error("Invalid step {text}: {error}")]
    Steps {
        /// As written.
        text: String,
        /// What is wrong with it.
        error: DurationError,
    },
    /// Rows of an archive that do not hold.
    #[error("Invalid row count {text}: {error}")]
    Rows {
        /// As written.
        text: String,
        /// What is wrong with it.
        error: DurationError,
    },
    /// Too few fields.
    #[error("Expected at least {wanted} arguments for RRA but got {got}")]
    FewFields {
        /// The function's own and its parameters.
        wanted: usize,
        /// How many there are.
        got: usize,
    },
    /// Too many fields.
    #[error("Unexpected extra argument for consolidation function {0}")]
    ExtraField(String),
    /// A start before the archives' own time began.
    #[error("the first entry to the RRD should be after 1980")]
    Start,
    /// More rows than a file, or the memory, can hold.
    #[error("the archives are too large: {0} bytes or more")]
    TooLarge(u64),
    /// An archive that would cover more time than can be counted.
    #[error("the archives are too long: {rows} rows of {pdp_per_row} steps of {step} seconds")]
    TooLong {
        /// Seconds of a step.
        step: u64,
        /// Steps of a row.
        pdp_per_row: u64,
        /// Rows.
        rows: u64,
    },
}

/// What is wrong with a data source's heartbeat and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsArgumentsError {
    /// Nothing follows the heartbeat.
    #[error("missing separator")]
    NoSeparator,
    /// More text than any heartbeat has.
    #[error("heartbeat too long")]
    LongHeartbeat,
    /// The heartbeat does not hold.
    #[error(transparent)]
    Heartbeat(#[from] DurationError),
    /// Not two limits.
    #[error("failed to extract min:max")]
    NoLimits,
    /// Nothing lies between the limits.
    #[error("min must be less than max in DS definition")]
    Order,
}

/// What is wrong with the parameters of a forecasting archive.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForecastError {
    /// A factor out of its bounds.
    #[error("Invalid {0}: must be between 0 and 1")]
    Factor(&'static str),
    /// A season without rows; the original crashes.
    #[error("the length of a seasonal cycle must be positive")]
    Cycle,
    /// A season of more rows than the forecast has.
    #[error("Length of seasonal cycle exceeds length of HW prediction array")]
    LongCycle,
    /// A threshold or a window out of its bounds.
    #[error("{0} is out of range 1, 28")]
    Range(&'static str),
    /// A window that can never hold as many.
    #[error("Window length is shorter than the failure threshold")]
    ShortWindow,
    /// A share of the season that is none.
    #[error("Invalid smoothing-window {0:.6}: must be between 0 and 1")]
    SmoothingWindow(f64),
    /// An unknown option.
    #[error("Invalid option {0}")]
    Option(String),
    /// More parameters than there are.
    #[error("Unknown error")]
    Extra,
}
