//! Errors of `xport`, and of the definitions that it shares with graphs.

use crate::rrd::error::{NumberError, RpnError, TimeError};

/// Why data was not exported. Some of the original's texts end with a newline of their own.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum XportError {
    /// No definition at all.
    #[error("can't make an xport without contents")]
    Empty,
    /// No column to write.
    #[error("no XPORT found, nothing to do")]
    NoColumn,
    /// A start before the archives' own time began.
    #[error("the first entry to fetch should be after 1980 ({0})")]
    Start(i64),
    /// The end lies before the start.
    #[error("start ({start}) should be less than end ({end})")]
    Order {
        /// Seconds.
        start: i64,
        /// Seconds.
        end: i64,
    },
    /// Fewer rows than the original lets pass.
    #[error("maxrows below {0} rows")]
    MaxRows(i64),
    /// A definition that does not begin with a word and a colon.
    #[error("no command set in argument {0}")]
    NoCommand(String),
    /// A definition that begins with an unknown word.
    #[error("'{command}' is not a valid function name in {line}")]
    UnknownCommand {
        /// The word.
        command: String,
        /// The definition.
        line: String,
    },
    /// An element of graphs, of which the original adds a note to what it exports.
    #[error("'{0}' in an xport is not in latmon yet")]
    Element(String),
    /// A definition ends too early.
    #[error("No argument for definition of {what} in {line}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The definition.
        line: String,
    },
    /// A definition that goes on behind its end.
    #[error("Unused Arguments \"{unused}\" in command : {line}")]
    Unused {
        /// What is too much.
        unused: String,
        /// The definition.
        line: String,
    },
    /// A name that was given away before.
    #[error("trying to reuse vname {0}")]
    Reused(String),
    /// No such function.
    #[error("bad CF: {0}")]
    Cf(String),
    /// No such function.
    #[error("bad reduce CF: {0}")]
    Reduce(String),
    /// A step that is none.
    #[error("Bad step value: {0}")]
    Step(String),
    /// A start or an end that is none.
    #[error("{what}: {error}")]
    Time {
        /// Which.
        what: &'static str,
        /// Why.
        error: TimeError,
    },
    /// A start and an end that do not go together.
    #[error(transparent)]
    Span(TimeError),
    /// A name that nothing has.
    #[error("variable '{0}' not found")]
    UnknownVariable(String),
    /// An expression with nothing in it.
    #[error("can not parse an empty rpn expression")]
    EmptyExpression,
    /// A word of an expression that is no number, no operator and no name.
    #[error("don't understand '{0}'")]
    Token(String),
    /// A word of an expression that goes on behind its end.
    #[error("garbage in RPN: '{0}'")]
    Garbage(String),
    /// An expression of constants.
    #[error("rpn expressions without DEF or CDEF variables are not supported")]
    Constant,
    /// An expression has no value.
    #[error(transparent)]
    Rpn(#[from] RpnError),
    /// The window of a trend is not behind a variable.
    #[error("malformed trend arguments")]
    Trend,
    /// A window that is no number of seconds; the original crashes.
    #[error("the window of a TREND must be a number of seconds")]
    Window,
    /// A forecast from the future.
    #[error("negative shift step not allowed: {0}")]
    NegativeShift(i32),
    /// No percentage.
    #[error("unsupported percentile: {0:.6}")]
    Percentile(f64),
    /// An expression that would take days, or all memory.
    #[error("the expressions are too long for so many rows: export fewer, with --step or a shorter span")]
    Work,
    /// Series that have no time in common.
    #[error("malloc im->gdes[gdi].data")]
    Apart,
    /// A VDEF without a comma.
    #[error("Comma expected in VDEF definition {0}")]
    NoComma(String),
    /// A VDEF of a name that nothing has.
    #[error("Not a valid vname: {name} in line {line}")]
    VdefName {
        /// The name.
        name: String,
        /// The expression.
        line: String,
    },
    /// A VDEF of a VDEF.
    #[error("variable '{name}' not DEF nor CDEF in VDEF '{line}'")]
    VdefKind {
        /// The name.
        name: String,
        /// The expression.
        line: String,
    },
    /// A VDEF whose function does not even look like one.
    #[error("Unknown function string '{function}' in VDEF '{name}'")]
    FunctionText {
        /// As written.
        function: String,
        /// The VDEF.
        name: String,
    },
    /// A VDEF of a function that is none.
    #[error("Unknown function '{function}' in VDEF '{name}'\n")]
    Function {
        /// The function.
        function: String,
        /// The VDEF.
        name: String,
    },
    /// A function without the number that it needs.
    #[error("Function '{function}' needs parameter in VDEF '{name}'\n")]
    NoParameter {
        /// The function.
        function: &'static str,
        /// The VDEF.
        name: String,
    },
    /// A function with a number that it does not take.
    #[error("Function '{function}' needs no parameter in VDEF '{name}'\n")]
    Parameter {
        /// The function.
        function: &'static str,
        /// The VDEF.
        name: String,
    },
    /// No percentage.
    #[error("Parameter '{parameter:.6}' out of range in VDEF '{name}'\n")]
    ParameterRange {
        /// The number.
        parameter: f64,
        /// The VDEF.
        name: String,
    },
    /// A shift of a name that nothing has.
    #[error("vname {0} not found")]
    ShiftName(String),
    /// A column, or a shift, of what is one value.
    #[error("Cannot shift a VDEF: '{name}' in line '{line}'\n")]
    ShiftKind {
        /// The name.
        name: String,
        /// The definition.
        line: String,
    },
    /// A shift by a whole series.
    #[error("Offset cannot be a (C)DEF: '{offset}' in line '{line}'\n")]
    OffsetKind {
        /// The name.
        offset: String,
        /// The definition.
        line: String,
    },
    /// A shift by nothing.
    #[error("No shift given")]
    NoOffset,
    /// A shift that is no number of seconds.
    #[error("error parsing number {0}")]
    Offset(String),
    /// A shift out of all time; the original crashes.
    #[error("the offset of SHIFT:{0} is unknown or too large")]
    OffsetRange(String),
    /// A column without a name.
    #[error("No positional VNAME")]
    NoName,
    /// A column of a name that nothing has.
    #[error("{0} is not a vname nor a number")]
    ColumnName(String),
    /// A column that is a number.
    #[error("XPORT needs the name of a DEF or a CDEF, and '{0}' is a number")]
    ColumnNumber(String),
    /// A file has no such data source.
    #[error("No DS called '{ds}' in '{file}'")]
    UnknownDs {
        /// Its name.
        ds: String,
        /// The file, as written.
        file: String,
    },
    /// Rows that cannot be merged, because all of them lie in one merged row that reaches farther at both ends.
    #[error("SANITY CHECK: {rows} rows cannot be reduced by {factor} \n")]
    Sanity {
        /// How many there are, as the original counts them.
        rows: u64,
        /// How many were to be one.
        factor: i64,
    },
    /// More rows than memory should hold.
    #[error("{rows} rows are too many: export at most {most}, with --step or a shorter span")]
    Rows {
        /// How many there would be.
        rows: u64,
        /// How many there may be.
        most: u64,
    },
    /// A number that is none.
    #[error(transparent)]
    Number(#[from] NumberError),
}
