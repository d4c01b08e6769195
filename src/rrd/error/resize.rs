//! Errors of `resize`.

/// Why an archive was not resized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResizeError {
    /// The file has no archive of that index.
    #[error("no such RRA in this RRD")]
    NoArchive,
    /// No row would be left.
    #[error("This RRA is not that big")]
    Small,
    /// A version that the original does not resize.
    #[error("Do not know how to handle RRD version {0}")]
    Version(String),
}
