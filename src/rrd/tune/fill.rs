//! Rows and open data points of an archive from the rows of other archives of the same file.
//!
//! Which archives serve, and how a row of theirs that only overlaps the wanted one counts, is as in the original. Not
//! so at the ends of an archive: there the original reads its newest row for one before its oldest.

use std::collections::BTreeSet;

use crate::rrd::cdp::{Cdp, Due};
use crate::rrd::def::{ArchiveDef, Cf};
use crate::rrd::file::Rrd;
use crate::rrd::layout::{WORD, f64_at};
use crate::rrd::number::UNKNOWN;

/// The archives that can tell rows of one of function `cf`, the best first.
pub(super) struct Sources<'a> {
    bytes: &'a [u8],
    row_len: usize,
    cf: Cf,
    archives: Vec<Source>,
}

/// Where and when the rows of an archive are.
struct Source {
    /// Where the first of them stands in the file.
    start: usize,
    rows: i64,
    cur_row: i64,
    row_secs: i64,
    /// The number of the newest row, counted from the epoch: it ends so many rows behind it.
    newest: i64,
}

impl<'a> Sources<'a> {
    /// Those of the same function and those that average; the finest first, of those the longest.
    pub(super) fn of(rrd: &Rrd<&'a [u8]>, bytes: &'a [u8], cf: Cf) -> Self {
        let mut start = rrd.header_len();
        let row_len = rrd.layout().row_len();
        let mut archives = Vec::new();
        for rra in rrd.archives() {
            if rra.cf == cf || rra.cf == Cf::Average {
                let row_secs = rrd.row_secs(&rra);
                archives.push(Source {
                    start,
                    rows: rra.rows as i64,
                    cur_row: rra.cur_row as i64,
                    row_secs,
                    newest: rrd.newest_row_end(&rra) / row_secs,
                });
            }
            start += rra.rows as usize * row_len;
        }
        archives.sort_by_key(|source| (source.row_secs, -source.rows));
        Self { bytes, row_len, cf, archives }
    }

    /// The value of a data source from one time up to another: that of the best archive that knows any of it.
    pub(super) fn value(&self, ds: usize, from: i64, to: i64) -> f64 {
        let values = |source: &Source| self.consolidated(source, ds, from, to);
        self.archives.iter().find_map(values).unwrap_or(UNKNOWN)
    }

    /// The open data point of an archive at a time, as if it had been there when its steps ended.
    pub(super) fn open_point(&self, archive: &ArchiveDef, step: i64, ds: usize, last: i64) -> Cdp {
        let row_secs = step * archive.pdp_per_row as i64;
        let (opened, ended) = (last - last % row_secs, last - last % step);
        let empty = match archive.cf {
            _ if archive.pdp_per_row == 1 => UNKNOWN,
            Cf::Average => 0.0,
            Cf::Max => f64::NEG_INFINITY,
            Cf::Min => f64::INFINITY,
            _ => UNKNOWN,
        };
        let mut cdp = Cdp {
            value: empty,
            unknown_pdps: 0,
            primary: self.value(ds, opened - row_secs, opened),
            secondary: self.value(ds, opened - step, opened),
        };
        let mut from = opened;
        for to in self.ends_within(opened, ended) {
            let elapsed = ((to - from) / step) as u64;
            let due = Due::new(archive, (from / step) as u64, elapsed);
            cdp = cdp.consolidate(archive, due, self.value(ds, from, to), elapsed);
            from = to;
        }
        cdp
    }

    /// The times up to `to` at which a row ends; between two of them every archive has one value.
    fn ends_within(&self, from: i64, to: i64) -> BTreeSet<i64> {
        let mut ends = BTreeSet::new();
        if from == to {
            return ends;
        }
        ends.insert(to);
        for source in &self.archives {
            let first = (from / source.row_secs).max(source.newest - source.rows);
            let numbers = first..=source.newest.min(to / source.row_secs);
            ends.extend(numbers.map(|row| row * source.row_secs).filter(|end| (from + 1..to).contains(end)));
        }
        ends
    }

    fn consolidated(&self, source: &Source, ds: usize, from: i64, to: i64) -> Option<f64> {
        let first = from.div_euclid(source.row_secs) + 1;
        // Rounded up.
        let last = (to - 1).div_euclid(source.row_secs) + 1;
        let oldest = source.newest - source.rows + 1;
        let rows = first.max(oldest)..=last.min(source.newest);
        let mut known = rows.map(|row| self.at(source, ds, row)).filter(|value| !value.is_nan());
        match self.cf {
            Cf::Max => known.reduce(f64::max),
            Cf::Min => known.reduce(f64::min),
            Cf::Last => known.next_back(),
            _ => {
                // Whole rows count, even those of which only a part is wanted; by seconds, which matters for the last
                // bit.
                let secs = source.row_secs as f64;
                let (sum, all) = known.fold((0.0, 0.0), |(sum, all), value| (sum + value * secs, all + secs));
                (all > 0.0).then(|| sum / all)
            }
        }
    }

    /// The value in a row that the archive has.
    fn at(&self, source: &Source, ds: usize, row: i64) -> f64 {
        let index = (source.cur_row - (source.newest - row)).rem_euclid(source.rows) as usize;
        f64_at(self.bytes, source.start + index * self.row_len + ds * WORD)
    }
}
