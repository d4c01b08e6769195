//! Errors of at-style times.

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
