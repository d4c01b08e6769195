//! Errors of `tune`.

/// Why a change of a data source was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TuneError {
    /// A source that is computed has nothing but its name to change.
    #[error("data source '{0}' is computed: it has no heartbeat, limits or readings of its own")]
    Computed(String),
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
}
