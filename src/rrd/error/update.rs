//! Errors of `update`.

use super::{NumberError, RpnError, TimeError};

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
