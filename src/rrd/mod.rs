//! Round robin archives, byte for byte as rrdtool 1.7.2 writes them on x86-64.
//!
//! An archive file never grows. Its data sources are sampled; the samples become one *primary data point* (PDP) per
//! step, and each *round robin archive* (RRA) consolidates a number of those into a row and overwrites its oldest row
//! with it.
//!
//! ```text
//! stat_head | ds_def x D | rra_def x R | live_head | pdp_prep x D | cdp_prep x R*D | rra_ptr x R | rows
//! ---------- written by create --------| ------------ written by every update --------------------------
//! ```
//! `stat_head` has the magic numbers, the version, the counts D and R and the step; `ds_def` a data source's name, type,
//! heartbeat and limits; `rra_def` an archive's function, rows and steps per row; `live_head` the last update;
//! `pdp_prep` and `cdp_prep` what is still open; `rra_ptr` which row was written last. A row is one `f64` per data
//! source. All numbers are little-endian; unknown is a NaN with its sign bit set.
//!
//! # The room, bottom up
//!
//! ```text
//! error, number, layout, def     texts of errors; reading and printing numbers; offsets; definitions
//! rpn, pdp, cdp                  the arithmetic, on small structs
//! file                           Rrd: a checked view over bytes, any bytes
//! abi                            files of 32-bit machines, laid out anew for the view
//! at, reading, holt_winters      at-style times; what an update's argument says; forecasts
//! create, update, fetch, dump, restore, tune, resize, info, xport
//! map                            File, Set: open, lock, map; storing what an update changed
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
pub use xport::{Def, Exported, Format, Xport, XportOptions};
