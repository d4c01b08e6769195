//! Round robin archives, byte for byte as rrdtool 1.7.2 writes them on x86-64.
//!
//! An archive file never grows. Its *data sources* are sampled; the samples become one *primary data point* (PDP) per
//! step, and each *round robin archive* (RRA) consolidates a number of those into a row and overwrites its oldest row
//! with it.
//!
//! # The format
//!
//! ```text
//! part       each   how often  what
//! stat_head   128   1          magic numbers, version, the counts D and R, the step
//! ds_def      120   D          a data source's name, type, heartbeat and limits, or its expression
//! rra_def     120   R          an archive's function, rows, steps per row, xff; what a forecast is set to
//! live_head    16   1          the last update: seconds and, since version 3, microseconds (8 bytes before)
//! pdp_prep    112   D          the last reading, and the open primary data point
//! cdp_prep     80   D per RRA  the open consolidated data points; the state of forecasts
//! rra_ptr       8   R          which row was written last
//! rows        8*D   per RRA    one `f64` per data source
//! ```
//! What stands before `live_head` is written by `create`, and the rest by every update. All numbers are little-endian;
//! unknown is a NaN with its sign bit set. A row ends where the time since 1970 is a multiple of its length, so its
//! time is not stored: the newest one and the last update tell it.
//!
//! # The rooms, bottom up
//!
//! ```text
//! error, at           what can go wrong, by topic; at-style times
//! number, layout      reading and printing numbers; where everything stands
//! def, rpn            definitions; expressions: the operators, and those of COMPUTE
//! pdp, cdp            the arithmetic, on small structs
//! file                Rrd: a checked view over bytes, any bytes
//! reading             what an update's argument says
//! holt_winters        forecasts
//! abi                 files of 32-bit machines, laid out anew for the view
//! create              new files; create/source, beginning and coverage: with the history of others
//! update              from readings to a list of changes
//! fetch, info, dump   rows, headers, XML
//! restore             from XML to a file
//! tune, resize        changes in place; tune/reshape and fill, resize: of a file made anew
//! xport               rows of many files side by side: words -> program -> series -> cdef, vdef, window -> table
//! map                 files on disk: region maps, sigbus guards, lock locks; File keeps one open, Set many,
//!                     once does one thing, Prepared waits for a journal
//! ```
//!
//! # Example
//!
//! ```
//! use latmon::rrd::{self, Access, Cf, Definition, Overwrite};
//! use latmon::time::{Step, UnixTime};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("latency.rrd");
//! let step = Step::new(60).expect("60 is not 0");
//! let start = UnixTime::from_secs(1_700_000_040);
//! let definition = Definition {
//!     step,
//!     start,
//!     data_sources: vec!["DS:median:GAUGE:120:0:U".parse()?, "DS:loss:GAUGE:120:0:U".parse()?],
//!     archives: vec!["RRA:AVERAGE:0.5:1:1440".parse()?, rrd::ArchiveDef::parse("RRA:MAX:0.5:1h:30d", step)?],
//! };
//! rrd::create(&path, &definition, Overwrite::No)?;
//!
//! let mut file = rrd::File::open(&path, Access::Write)?;
//! file.update(UnixTime::from_secs(1_700_000_100), &[0.012, 0.0])?;
//! file.update(UnixTime::from_secs(1_700_000_160), &[f64::NAN, 20.0])?;
//!
//! let view = file.view()?;
//! let fetched = view.fetch(Cf::Average, start, view.last_update(), 60)?;
//! let losses: Vec<f64> = fetched.rows().filter_map(|(_, row)| row.values().nth(1)).collect();
//! assert_eq!(losses[..2], [0.0, 20.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod abi;
pub mod at;
mod cdp;
mod create;
mod def;
mod dump;
mod error;
mod fetch;
mod file;
mod holt_winters;
mod info;
mod layout;
mod map;
pub mod number;
mod pdp;
mod reading;
mod resize;
mod restore;
mod rpn;
mod tune;
mod update;
mod xport;

pub use abi::foreign_image;
pub use cdp::Cdp;
pub use create::{Inheritance, Manner, Origin, Overwrite, Source, create, create_from, image, image_from};
pub use def::{ArchiveDef, Cf, DataSource, Definition, DsType, EARLIEST, Forecast};
pub use dump::{Header, dump};
pub use error::{
    DefinitionError, DsArgumentsError, DurationError, Error, ExpressionError, Fault, FetchError,
    ForecastError, ForecastSetting, NumberError, Operation, ResizeError, RestoreError, RpnError, Section,
    ShapeError, TemplateError, TimeError, TuneError, UpdateError, XportError,
};
pub use fetch::Fetched;
pub use file::{Ds, Row, Rra, Rrd};
pub use info::{Value, info};
pub use map::{
    Access, File, FileUpdate, Identity, Prepared, Set, UpdateOptions, View, Written, resize, tune, update,
    update_verbosely, xport,
};
pub use pdp::Pdp;
pub use resize::Resize;
pub use restore::{RestoreOptions, restore, restored_image};
pub use rpn::Rpn;
pub use tune::Setting;
pub use update::WrittenRow;
pub use xport::{Exported, Format, Xport, XportOptions};
