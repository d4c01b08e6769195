//! Errors of expressions.

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
