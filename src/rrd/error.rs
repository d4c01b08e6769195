//! What can go wrong, in rrdtool's words.
//!
//! [`Error`]'s `Display` is what rrdtool prints behind `ERROR: `, so that scripts that look for its texts find them.
//! Where the original has no text, because it crashes or goes on with nonsense, the text is our own.

mod resize;
mod restore;
mod tune;
mod xport;

use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

pub use resize::ResizeError;
pub use restore::RestoreError;
pub use tune::{ForecastSetting, ShapeError, TuneError};
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

/// What is wrong with an archive's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as an archive does.
    NoCookie,
    /// The test number is another machine's, or none.
    ForeignArchitecture,
    /// A version after 5.
    Version(String),
    /// The file ends inside a part of the header.
    EndsIn(Section),
    /// The file ends before its last row.
    TooSmall {
        /// The size that its header asks for.
        wanted: u64,
    },
    /// Counts whose sum fits no file.
    Counts {
        /// Data sources.
        data_sources: u64,
        /// Archives.
        archives: u64,
    },
    /// A step that is zero or no sensible number of seconds.
    Step(u64),
    /// A name that does not end, or is no text.
    Name {
        /// What is named so.
        section: Section,
        /// The how-manieth, from zero.
        index: usize,
    },
    /// A data source of a type that this engine does not know.
    DsType {
        /// The data source.
        index: usize,
        /// The type's name.
        name: String,
    },
    /// A COMPUTE source whose expression has no end, an unknown operator, or a source that is not before it.
    Expression {
        /// The data source.
        index: usize,
    },
    /// A consolidation function that this engine does not know.
    Cf {
        /// The archive.
        index: usize,
        /// The function's name.
        name: String,
    },
    /// An archive without rows, with rows of no length, or longer than time.
    Shape {
        /// The archive.
        index: usize,
        /// Its rows.
        rows: u64,
        /// Its primary data points per row.
        pdp_per_row: u64,
    },
    /// A forecasting archive that names another which is not there, or is of no use to it.
    Dependency {
        /// The archive.
        index: usize,
    },
    /// The current row is outside of its archive.
    CurrentRow {
        /// The archive.
        index: usize,
        /// Its current row.
        row: u64,
        /// Its rows.
        rows: u64,
    },
    /// A last update before 1970, or after what can be counted, or with too many microseconds.
    LastUpdate {
        /// Seconds.
        secs: i64,
        /// Microseconds.
        micros: i64,
    },
}

/// A part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Cookies, version, counts and step.
    StatHead,
    /// The definitions of the data sources.
    DsDef,
    /// The definitions of the archives.
    RraDef,
    /// The last update.
    LiveHead,
    /// The open primary data points.
    PdpPrep,
    /// The open consolidated data points.
    CdpPrep,
    /// The current rows.
    RraPtr,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StatHead => "stat_head",
            Self::DsDef => "ds_def",
            Self::RraDef => "rra_def",
            Self::LiveHead => "live_head",
            Self::PdpPrep => "pdp_prep",
            Self::CdpPrep => "cdp_prep",
            Self::RraPtr => "rra_ptr",
        })
    }
}

impl Fault {
    /// The sentence about the file of that name.
    pub fn about(&self, path: &Path) -> String {
        let file = path.display();
        match self {
            Self::NoCookie => format!("'{file}' is not an RRD file"),
            Self::ForeignArchitecture => "This RRD was created on another architecture".to_owned(),
            Self::Version(version) => format!("can't handle RRD file version {version}"),
            Self::EndsIn(section) => format!("reached EOF while loading header rrd->{section}"),
            Self::TooSmall { wanted } => format!("'{file}' is too small (should be {wanted} bytes)"),
            Self::Counts { data_sources, archives } => {
                format!(
                    "'{file}' is damaged: {data_sources} data sources and {archives} archives fit no file"
                )
            }
            Self::Step(step) => format!("'{file}' is damaged: its step is {step} seconds"),
            Self::Name { section, index } => {
                format!("'{file}' is damaged: {section}[{index}] has a name that does not end or is no text")
            }
            Self::DsType { index, name } => {
                format!("'{file}': data source {index} has the type '{name}', which latmon does not know")
            }
            Self::Expression { index } => {
                format!("'{file}' is damaged: the expression of data source {index} cannot be evaluated")
            }
            Self::Cf { index, name } => {
                format!(
                    "'{file}': archive {index} has the consolidation function '{name}', which latmon does not know"
                )
            }
            Self::Shape { index, rows, pdp_per_row } => {
                format!(
                    "'{file}' is damaged: archive {index} has {rows} rows of {pdp_per_row} data points each"
                )
            }
            Self::Dependency { index } => {
                format!(
                    "'{file}' is damaged: archive {index} depends on one that is not there or of another kind"
                )
            }
            Self::CurrentRow { index, row, rows } => {
                format!(
                    "'{file}' is damaged: the current row of archive {index} is {row}, and it has {rows} rows"
                )
            }
            Self::LastUpdate { secs, micros } => {
                format!("'{file}' is damaged: its last update is {secs} seconds and {micros} microseconds")
            }
        }
    }
}

/// Why a text is no number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NumberError {
    /// It does not begin as one.
    #[error("Cannot convert '{0}' to float")]
    None(String),
    /// Something follows it.
    #[error("Converted '{text}' to {value:.6}, but cannot convert '{rest}'")]
    Trailing {
        /// The whole text.
        text: String,
        /// The number it begins with.
        value: f64,
        /// What follows.
        rest: String,
    },
}

/// Why a text is no count or duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not begin with a digit.
    #[error("value must be (suffixed) positive number")]
    NoNumber,
    /// It is zero.
    #[error("value must be positive")]
    Zero,
    /// An unknown unit.
    #[error("value has trailing garbage")]
    Garbage,
    /// It is no multiple of what it counts.
    #[error("value would truncate when scaled")]
    Truncates,
    /// More seconds than can be counted; the original goes on with a wrong number.
    #[error("value is too large")]
    TooLarge,
}

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

/// What is wrong with the expression of a COMPUTE source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// A word that is no number, no operator and no data source that was defined before.
    #[error("failed to parse computed data source")]
    Syntax,
    /// A constant that does not fit its two bytes.
    #[error("constants must be integers in the interval (-32768, 32767)")]
    Constant,
    /// An operator of graphs.
    #[error(
        "operators TIME LTIME STEPWIDTH PREV NEW* COUNT TREND TRENDNAN PREDICT PREDICTSIGMA PREDICTPERC are not \
         supported with DS COMPUTE"
    )]
    Unsupported,
    /// More steps than a file has room for.
    #[error("Maximum 19 RPN nodes permitted. Got {0} RPN nodes at present.")]
    Long(usize),
}

/// Why the expression of a COMPUTE source has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpnError {
    /// An operator has too few operands.
    #[error("RPN stack underflow")]
    Underflow,
    /// It leaves none or more than one value behind.
    #[error("RPN final stack size != 1")]
    FinalSize,
    /// No percentage.
    #[error("percentile argument must be between 0 and 100")]
    Percent,
    /// A negative number of operands.
    #[error("RPN out of memory (allocating {0} objects)")]
    OutOfMemory(i64),
}

/// Why a template does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No such data source.
    #[error("unknown DS name '{0}'")]
    UnknownName(String),
    /// More names than data sources.
    #[error("tmplt contains more DS definitions than RRD")]
    TooMany,
}

/// Why an update was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// Nothing but a time.
    #[error("expected timestamp not found in data source from {0}")]
    NoTimestamp(String),
    /// Fewer values than data sources.
    #[error("expected {wanted} data source readings (got {got}) from {time}")]
    FewReadings {
        /// Data sources.
        wanted: usize,
        /// Values.
        got: usize,
        /// The text of the time.
        time: String,
    },
    /// More values than data sources.
    #[error("found extra data on update argument: {0}")]
    ExtraReadings(String),
    /// A time that is no number.
    #[error("error while parsing time in get_time_from_reading - {0}")]
    Time(NumberError),
    /// An at-style time that is none.
    #[error("ds time: {time}: {error}")]
    AtTime {
        /// As written.
        time: String,
        /// What is wrong with it.
        error: TimeError,
    },
    /// An at-style time relative to something that an update does not have.
    #[error("specifying time relative to the 'start' or 'end' makes no sense here: {0}")]
    RelativeTime(String),
    /// A time that is not after the last one.
    #[error(
        "illegal attempt to update using time {time} when last update time is {last} (minimum one second step)"
    )]
    Illegal {
        /// Seconds of the update.
        time: i64,
        /// Seconds of the last one.
        last: i64,
    },
    /// A time beyond what the engine counts (146 000 years).
    #[error("time {0} is too far in the future")]
    Future(i64),
    /// A counter that is no whole number.
    #[error("not a simple unsigned integer: '{0}'")]
    Unsigned(String),
    /// A derivative that is no whole number.
    #[error("not a simple signed integer: '{0}'")]
    Signed(String),
    /// An expression has no value.
    #[error(transparent)]
    Rpn(#[from] RpnError),
    /// A value that is no number.
    #[error("Function update_pdp_prep, case DST_{ds_type} - {error}")]
    Value {
        /// The type of its data source.
        ds_type: &'static str,
        /// What is wrong with it.
        error: NumberError,
    },
}

/// Why a text is no at-style point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Nothing in it is one.
    #[error("unparsable time: {0}")]
    Unparsable(String),
    /// It goes on behind its end.
    #[error("unparsable trailing text: '...{0}'")]
    Trailing(String),
    /// A month that is none.
    #[error("did you really mean month {0}?")]
    Month(i64),
    /// A day that is none.
    #[error("I'm afraid that {0} is not a valid day of the month")]
    Day(i64),
    /// A year that is none.
    #[error("invalid year {0} (should be either 00-99 or >1900)")]
    Year(i64),
    /// A sign without its number.
    #[error("There should be number after '{0}'")]
    NumberAfterSign(char),
    /// `start` or `end` alone.
    #[error("'start' or 'end' MUST be followed by +|- offset")]
    OffsetMissing,
    /// Something other than an offset behind `now`.
    #[error("if 'now' is followed by a token it must be +|- offset")]
    AfterNow,
    /// More minutes than an hour has.
    #[error("parsing HH:MM syntax, got MM = {0} (>59!)")]
    Minutes(i64),
    /// A colon without minutes.
    #[error("Parsing HH:MM syntax, expecting MM as number, got none")]
    NoMinutes,
    /// A date that stops at a separator.
    #[error("there should be {what} number after '{mark}'")]
    NumberAfterMark {
        /// Day, month or year.
        what: &'static str,
        /// `/` or `.`.
        mark: char,
    },
    /// `13pm`.
    #[error("there cannot be more than 12 AM or PM hours")]
    Hours,
    /// A month's name without a day.
    #[error("the day of the month should follow month name")]
    DayAfterMonth,
    /// A time before 1970.
    #[error("won't handle dates before epoch (01/01/1970), sorry")]
    BeforeEpoch,
    /// A start that is relative to `start`.
    #[error("the start time cannot be specified relative to itself")]
    StartOfStart,
    /// An end that is relative to `end`.
    #[error("the end time cannot be specified relative to itself")]
    EndOfEnd,
    /// Both relative to each other.
    #[error("the start and end times cannot be specified relative to each other")]
    Circle,
}

/// Why rows were not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No archive has that function, nor one that could stand for it.
    #[error("the RRD does not contain an RRA matching the chosen CF")]
    NoArchive,
    /// The end lies before the start.
    #[error("start ({start}) should be less than end ({end})")]
    Order {
        /// Seconds.
        start: i64,
        /// Seconds.
        end: i64,
    },
    /// A start before the archives' own time began.
    #[error("the first entry to fetch should be after 1980")]
    Start,
    /// No such consolidation function.
    #[error("unknown consolidation function '{0}'")]
    Cf(String),
    /// No archive of that number.
    #[error("invalid rraindex number")]
    Index,
}
