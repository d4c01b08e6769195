//! Errors of `tune`.

/// Why a change of a data source was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TuneError {
    /// A source that is computed has nothing but its name to change.
    #[error("data source '{0}' is computed: it has no heartbeat, limits or readings of its own")]
    Computed(String),
    /// A source that was computed is to take readings, and has not all that this takes.
    #[error("data source '{0}' was computed: it needs --heartbeat, --minimum and --maximum, too")]
    OnceComputed(String),
    /// Not a name, a colon and a value.
    #[error("invalid arguments for {0}")]
    Arguments(&'static str),
    /// No such data source.
    #[error("unknown data source name '{0}'")]
    UnknownName(String),
    /// No such type.
    #[error("unknown data acquisition function '{0}'")]
    UnknownType(String),
    /// Another data source has that name.
    #[error("Duplicate DS name: {0}")]
    DuplicateName(String),
    /// Not the name of a data source.
    #[error("invalid argument for aberrant-reset")]
    ResetArgument,
    /// A parameter of forecasts.
    #[error(transparent)]
    Forecast(ForecastSetting),
    /// A change of what the file consists of.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Why a change of what a file consists of was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// None of the words that tune knows.
    #[error("unparseable argument: {0}")]
    Word(String),
    /// `DELRRA:` without the index of an archive.
    #[error("DELRRA requires a non-negative, integer argument")]
    Index,
    /// `RRA#` without an index, an operation and a count.
    #[error("Failed to parse RRA# command")]
    Length,
    /// `RRA#` with an operation other than `+`, `-` and `=`.
    #[error("Failed to parse RRA# command: invalid operation: {0}")]
    Operation(char),
    /// A step that is not shorter, or of which several do not make the old one.
    #[error(
        "invalid 'newstep' parameter. The newsize must divide the old step parameter without a remainder."
    )]
    Step,
    /// A forecast's rows are steps; with another step it would be none.
    #[error("the step of a file with forecasts cannot be changed: delete their archives first")]
    StepOfForecasts,
    /// No data source would be left.
    #[error("the last data source cannot be deleted")]
    NoDataSource,
    /// A data source that is to go is in the expression of one that stays.
    #[error("data source '{name}' cannot be deleted: '{by}' is computed from it")]
    NeededSource {
        /// The one that is to go.
        name: String,
        /// The one that stays.
        by: String,
    },
    /// An archive that is to go is what a forecast that stays works with.
    #[error("RRA {needed} cannot be deleted: RRA {by} ({cf}) works with it")]
    NeededArchive {
        /// The index of the one that is to go.
        needed: u64,
        /// The index of the one that stays.
        by: usize,
        /// Its function.
        cf: &'static str,
    },
}

/// Why a parameter of forecasts was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForecastSetting {
    /// A factor or a share that begins with no number.
    #[error("Unable to parse Holt-Winters parameter")]
    NoNumber,
    /// A factor or a share that is out of range.
    #[error("Holt-Winters parameter must be between 0 and 1")]
    Range,
    /// No archive of that function.
    #[error("Holt-Winters RRA does not exist in this RRD")]
    NoForecast,
    /// A count of deviations that is no number.
    #[error("Unable to parse parameter in set_deltaarg")]
    NoDelta,
    /// A count of deviations below a tenth.
    #[error("Parameter specified is too small")]
    SmallDelta,
    /// A length of the window or a threshold that is out of range.
    #[error("Parameter must be between 1 and 28")]
    Count,
    /// No FAILURES archive.
    #[error("Failures RRA does not exist in this RRD")]
    NoFailures,
    /// A smoothing window of its own takes version 4.
    #[error(
        "a file of version {0} has no smoothing window of its own: dump and restore it as version 0003 first"
    )]
    OldVersion(u32),
}
