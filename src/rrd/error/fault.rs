//! What can be wrong with the bytes of an archive.

use std::fmt;
use std::path::Path;

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
