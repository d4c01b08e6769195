//! Errors of numbers, counts and durations.

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
