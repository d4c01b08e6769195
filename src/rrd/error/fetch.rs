//! Errors of `fetch`.

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
