//! Errors of `restore`.

use std::path::Path;

use super::{ExpressionError, Fault};

/// Why XML makes no archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is no XML, or cannot be read.
    #[error("line {line}: {text}")]
    Xml {
        /// Where.
        line: u64,
        /// What is wrong with it.
        text: String,
    },
    /// It is another document, or none.
    #[error("line {line}: expected <{name}> element but found <rrd>")]
    Root {
        /// Where.
        line: u64,
        /// What it begins with.
        name: String,
    },
    /// It ends within an element.
    #[error("line {line}: the document ends within an element")]
    Ends {
        /// Where.
        line: u64,
    },
    /// Text where only elements are.
    #[error("line {line}: expected element but found text '{text}'")]
    Text {
        /// Where.
        line: u64,
        /// The text.
        text: String,
    },
    /// An element where only text is, or behind the end.
    #[error("line {line}: expected a value but found a <{name}> element")]
    Element {
        /// Where.
        line: u64,
        /// The element.
        name: String,
    },
    /// An entity that XML does not define.
    #[error("line {line}: unknown entity '&{name};'")]
    Entity {
        /// Where.
        line: u64,
        /// Its name.
        name: String,
    },
    /// An element that has no meaning there.
    #[error("{place}: Unknown tag: {name}")]
    Tag {
        /// What was read.
        place: &'static str,
        /// The element.
        name: String,
    },
    /// A version after 5.
    #[error("can't handle RRD file version {0:04}")]
    Version(u64),
    /// The expression of a COMPUTE source does not hold.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// No such type of a data source.
    #[error("parse_tag_ds_type: Unknown data source type: {0}")]
    DsType(String),
    /// No such consolidation function.
    #[error("parse_tag_rra_cf: Unknown consolidation function: {0}")]
    Cf(String),
    /// More text than its field holds.
    #[error("'{text}' is longer than {len}")]
    Long {
        /// The text, or its beginning.
        text: String,
        /// Bytes of the field.
        len: usize,
    },
    /// A number that is none.
    #[error("line {line}: '{text}' is no number")]
    Number {
        /// Where.
        line: u64,
        /// As written.
        text: String,
    },
    /// A whole number that is none, or too large.
    #[error("line {line}: '{text}' is no whole number")]
    Whole {
        /// Where.
        line: u64,
        /// As written.
        text: String,
    },
    /// A row with more or fewer values than there are data sources.
    #[error("line {line}: expected {wanted} values, one per data source, but found {got}")]
    Columns {
        /// Where.
        line: u64,
        /// Data sources.
        wanted: usize,
        /// Values.
        got: usize,
    },
    /// What it says fits together badly.
    #[error("what the XML makes is no archive: {}", .0.about(Path::new("it")))]
    Fault(Fault),
}
