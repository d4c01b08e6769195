//! Rows of a span of time, from the archive that serves it best.

use crate::rrd::def::{Cf, LATEST_SECS};
use crate::rrd::error::FetchError;
use crate::rrd::file::{Ds, Row, Rra, Rrd};
use crate::time::{Step, UnixTime};

/// Rows of one archive over a span of time. Nothing is copied: [`Fetched::rows`] reads as it goes.
#[derive(Debug)]
pub struct Fetched<'a, B> {
    rrd: &'a Rrd<B>,
    index: usize,
    archive: Rra,
    start: i64,
    end: i64,
    row_secs: i64,
}

impl<B: AsRef<[u8]>> Rrd<B> {
    /// The rows from `start` to `end` of the archive that has the function `cf` and covers `start` with the step
    /// nearest to `resolution` seconds; where none covers it, of the one that reaches farthest back.
    ///
    /// Of data that is not consolidated yet (one data point per row) every function is the same, so `cf` may also be
    /// answered from such an archive of another function. As in the original there is always a row behind `end`, which
    /// is unknown where `end` is a row's own end.
    pub fn fetch(
        &self,
        cf: Cf,
        start: UnixTime,
        end: UnixTime,
        resolution: u64,
    ) -> Result<Fetched<'_, B>, FetchError> {
        let (start, end) = (start.secs(), end.secs());
        if start > end {
            return Err(FetchError::Order { start, end });
        }
        if start < 0 {
            return Err(FetchError::Start);
        }
        let end = end.min(LATEST_SECS);
        let start = start.min(end);
        let index = self.best_archive(cf, start, end, resolution).ok_or(FetchError::NoArchive)?;
        let archive = self.archives().nth(index).ok_or(FetchError::NoArchive)?;
        let row_secs = self.row_secs(&archive);
        Ok(Fetched {
            rrd: self,
            index,
            archive,
            start: start - start % row_secs,
            end: end + row_secs - end % row_secs,
            row_secs,
        })
    }

    /// When the oldest row of an archive ends.
    pub fn first(&self, rra: usize) -> Result<UnixTime, FetchError> {
        let archive = self.archives().nth(rra).ok_or(FetchError::Index)?;
        let span = (archive.rows - 1) as i64 * self.row_secs(&archive);
        Ok(UnixTime::from_secs(self.newest_row_end(&archive) - span))
    }

    fn best_archive(&self, cf: Cf, start: i64, end: i64, resolution: u64) -> Option<usize> {
        let mut full: Option<(u64, usize)> = None;
        let mut partial: Option<(i64, u64, usize)> = None;
        for (index, archive) in self.archives().enumerate() {
            let stands_for_it = !cf.is_forecast() && !archive.cf.is_forecast() && archive.pdp_per_row == 1;
            if archive.cf != cf && !stands_for_it {
                continue;
            }
            let row_secs = self.row_secs(&archive);
            let oldest = self.newest_row_end(&archive) - archive.rows as i64 * row_secs;
            let difference = resolution.abs_diff(row_secs as u64);
            if oldest <= start {
                if full.is_none_or(|(best, _)| difference < best) {
                    full = Some((difference, index));
                }
                continue;
            }
            let overlap = (end - start) - (oldest - start);
            let better =
                partial.is_none_or(|(most, best, _)| overlap > most || overlap == most && difference < best);
            if better {
                partial = Some((overlap, difference, index));
            }
        }
        full.map(|(_, index)| index).or(partial.map(|(_, _, index)| index))
    }
}

impl<'a, B: AsRef<[u8]>> Fetched<'a, B> {
    /// Where the span begins: the first row covers the time behind this.
    pub fn start(&self) -> UnixTime {
        UnixTime::from_secs(self.start)
    }

    /// Where the span and its last row end.
    pub fn end(&self) -> UnixTime {
        UnixTime::from_secs(self.end)
    }

    /// The length of a row.
    pub fn step_secs(&self) -> u64 {
        self.row_secs.unsigned_abs()
    }

    /// The step, where it is one that [`Step`] can tell.
    pub fn step(&self) -> Option<Step> {
        u32::try_from(self.row_secs).ok().and_then(Step::new)
    }

    /// The function of the archive that answers.
    pub fn cf(&self) -> Cf {
        self.archive.cf
    }

    /// The data sources, in the order of every row's values.
    pub fn data_sources(&self) -> impl ExactSizeIterator<Item = Ds<'a>> + Clone {
        self.rrd.data_sources()
    }

    /// How many rows there are.
    pub fn len(&self) -> u64 {
        ((self.end - self.start) / self.row_secs).unsigned_abs()
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows, the oldest first: when each ends, and its values.
    pub fn rows(&self) -> impl Iterator<Item = (UnixTime, Row<'a>)> + use<'a, B> {
        let (rrd, index, archive, row_secs) = (self.rrd, self.index, self.archive, self.row_secs);
        let newest = rrd.newest_row_end(&archive);
        let (rows, row_len) = (&rrd.bytes()[rrd.rows_start(index)..], rrd.layout().row_len());
        (0..self.len() as i64).map({
            let start = self.start;
            move |number| {
                let time = start + (number + 1) * row_secs;
                let row = row_ago(&archive, newest - time, row_secs)
                    .map(|row| Row::Known(&rows[row as usize * row_len..][..row_len]))
                    .unwrap_or(Row::Outside(rrd.ds_count()));
                (UnixTime::from_secs(time), row)
            }
        })
    }
}

/// The row that ended `secs` before the newest one.
fn row_ago(archive: &Rra, secs: i64, row_secs: i64) -> Option<u64> {
    let rows = u64::try_from(secs / row_secs).ok().filter(|rows| secs >= 0 && *rows < archive.rows)?;
    Some(if rows <= archive.cur_row {
        archive.cur_row - rows
    } else {
        archive.rows - (rows - archive.cur_row)
    })
}
