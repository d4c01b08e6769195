//! Rows of one value each: read from an archive, merged, shifted.

use crate::rrd::def::Cf;
use crate::rrd::error::{Error, XportError};
use crate::rrd::file::Rrd;
use crate::rrd::number::UNKNOWN;
use crate::rrd::xport::program::Def;
use crate::time::UnixTime;

/// More rows than these (512 MB) are not kept for one export.
pub(super) const MOST_ROWS: u64 = 1 << 26;

/// A value for every `step` seconds behind `start`, up to `end`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rrd) struct Series {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
    pub(super) values: Vec<f64>,
    /// By how much `start` and `end` were moved.
    pub(super) shift: i64,
}

impl Series {
    /// The value at `time`; unknown before the first row and behind the last, where the original reads what is none of
    /// it.
    pub(super) fn at(&self, time: i64) -> f64 {
        let row = (time - self.start + self.step - 1).div_euclid(self.step) - 1;
        self.row(row)
    }

    /// The value of a row, unknown where there is none.
    pub(super) fn row(&self, row: i64) -> f64 {
        usize::try_from(row).ok().and_then(|row| self.values.get(row)).copied().unwrap_or(UNKNOWN)
    }

    /// Moves it in time by whole steps from where it was at first.
    pub(super) fn shift_to(&mut self, offset: i64) {
        let offset = offset - offset % self.step;
        self.start += offset - self.shift;
        self.end += offset - self.shift;
        self.shift = offset;
    }
}

impl Def {
    /// Reads the rows that the definition asks for, merged to its step where the archive's are shorter.
    pub(in crate::rrd) fn read<B: AsRef<[u8]>>(&self, rrd: &Rrd<B>) -> Result<Series, Error> {
        let wanted = u64::try_from(self.step).unwrap_or(0);
        let time = UnixTime::from_secs;
        let fetched = rrd.fetch(self.cf, time(self.start), time(self.end), wanted)?;
        let index =
            rrd.data_sources().position(|ds| ds.name.as_bytes() == self.ds.as_slice()).ok_or_else(|| {
                XportError::UnknownDs {
                    ds: String::from_utf8_lossy(&self.ds).into_owned(),
                    file: String::from_utf8_lossy(&self.file).into_owned(),
                }
            })?;
        if fetched.len() > MOST_ROWS {
            return Err(XportError::Rows { rows: fetched.len(), most: MOST_ROWS }.into());
        }
        let mut values = Vec::with_capacity(fetched.len() as usize);
        values.extend(fetched.rows().map(|(_, row)| row.values().nth(index).unwrap_or(UNKNOWN)));
        let (start, end) = (fetched.start().secs(), fetched.end().secs());
        let step = i64::try_from(fetched.step_secs()).unwrap_or(i64::MAX);
        let series = Series { start, end, step, values, shift: 0 };
        if step < self.row_secs { Ok(merge(&series, self.row_secs, self.reduce)?) } else { Ok(series) }
    }
}

/// Merges rows to ones of `wanted` seconds or more, which end at multiples of their length. Where the first or the last
/// of them would reach over the end of what was read, it is unknown.
fn merge(series: &Series, wanted: i64, cf: Cf) -> Result<Series, XportError> {
    let &Series { mut start, mut end, step: short, .. } = series;
    let factor = (wanted as f64 / short as f64).ceil() as i64;
    // Beyond this the original's own numbers overflow.
    let too_far = XportError::Sanity { rows: 1 << 31, factor: i64::from(i32::MIN) };
    let step = short.checked_mul(factor).filter(|_| i32::try_from(factor).is_ok()).ok_or(too_far)?;
    let mut values = Vec::new();
    let (mut skip, mut drop) = (0, 0);
    if start % step > 0 {
        skip = factor - start % step / short;
        start -= start % step;
        values.push(UNKNOWN);
    }
    let reaches_over = end % step > 0;
    if reaches_over {
        drop = end % step / short;
        end += step - end % step;
    }
    let rows = series.values.len() as i64 - skip - drop;
    if rows < 0 && !factor.unsigned_abs().is_power_of_two() {
        // It counts without a sign.
        return Err(XportError::Sanity { rows: rows as u64, factor });
    }
    if let Ok(rows) = usize::try_from(rows) {
        values.extend(
            series.values[skip as usize..][..rows].chunks(factor as usize).map(|rows| merged(rows, cf)),
        );
    }
    if reaches_over {
        values.push(UNKNOWN);
    }
    Ok(Series { start, end, step, values, shift: 0 })
}

/// What rows come to; those that are unknown do not count.
fn merged(rows: &[f64], cf: Cf) -> f64 {
    let mut known = rows.iter().copied().filter(|value| !value.is_nan());
    match cf {
        Cf::Min => known.reduce(|least, value| if value < least { value } else { least }).unwrap_or(UNKNOWN),
        Cf::Max | Cf::Failures => {
            known.reduce(|most, value| if value > most { value } else { most }).unwrap_or(UNKNOWN)
        }
        Cf::Last => known.next_back().unwrap_or(UNKNOWN),
        _ => {
            let (count, sum) = known.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
            if count == 0.0 { UNKNOWN } else { sum / count }
        }
    }
}
