//! An archive's rows as a history that is ready to draw.

use std::path::Path;

use super::Error;
use super::layout::Columns;
use crate::history::{History, Row};
use crate::round::Rtt;
use crate::rrd::{self, Cf};
use crate::time::UnixTime;

/// How many rows a history should have at the most: four a pixel on the widest of pictures. The archive decides: it
/// may have no coarser rows.
const ROWS: u64 = 32_000;

/// What the archive in `file` holds of the span from `start` to `end`, in its finest rows that reach back so far.
pub fn history(file: &Path, target: &str, start: UnixTime, end: UnixTime) -> Result<History, Error> {
    let failed = Error::of_file(file);
    let mut archive = rrd::File::open(file, rrd::Access::Read).map_err(failed)?;
    let view = archive.view().map_err(failed)?;
    let columns = Columns::find(&view, file)?;
    let step = view.step();
    let span = end.since(start).map_or(0, |span| span.as_secs());
    let resolution = (span / ROWS).max(u64::from(step.secs()));
    let fetched =
        view.fetch(Cf::Average, start, end, resolution).map_err(|error| failed(rrd::Error::Fetch(error)))?;
    let pings = columns.ranks.len();
    let rows = fetched
        .rows()
        .map(|(row_end, row)| {
            let values: Vec<f64> = row.values().collect();
            let loss = values[columns.loss];
            Row {
                end: row_end,
                loss_ratio: (!loss.is_nan()).then(|| (loss / pings as f64).clamp(0.0, 1.0)),
                median: Rtt::from_secs_f64(values[columns.median]),
                ranks: columns.ranks.iter().map(|column| Rtt::from_secs_f64(values[*column])).collect(),
            }
        })
        .collect();
    let row = fetched.step().unwrap_or(step);
    view.finish().map_err(failed)?;
    Ok(History { target: target.to_owned(), row, step, pings, start, end, rows })
}
