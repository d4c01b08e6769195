//! Where the history in the archives of a file begins.
//!
//! A row in which a history begins is known when enough of it is, and does not say where in it that was: taken for the
//! whole row, its mean would reach back to before anything was measured. A finer archive of the file tells.

use crate::rrd::create::source::{Manner, Source};
use crate::rrd::file::{Rra, Rrd};

/// Where the history of an archive begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The start of its first row that counts.
    pub(super) row: i64,
    /// The same, or a later moment in that row, where a finer archive tells so.
    pub(super) history: i64,
}

/// Where the history of each archive of a source begins: in the original's manner with the oldest row, in the others with
/// the first in which anything is known.
pub(super) fn beginnings(source: &Source<'_>) -> Vec<Beginning> {
    let rrd = &source.rrd;
    if source.manner == Manner::Original {
        let of_oldest = |rra| Beginning { row: oldest(rrd, &rra), history: oldest(rrd, &rra) };
        return rrd.archives().map(of_oldest).collect();
    }
    let archives: Vec<Rra> = rrd.archives().collect();
    let mut fine_first: Vec<usize> = (0..archives.len()).collect();
    fine_first.sort_by_key(|index| archives[*index].pdp_per_row);
    let mut found = vec![Beginning { row: 0, history: 0 }; archives.len()];
    for (finer, index) in fine_first.iter().enumerate() {
        let (archive, row) = (&archives[*index], first_known(rrd, *index, &archives[*index]));
        let told_by = |finer: &usize| {
            let since = found[*finer].history;
            begins_with(rrd, (archive, row), (*finer, &archives[*finer], since)).then_some(since)
        };
        let history = fine_first[..finer].iter().find_map(told_by).unwrap_or(row);
        found[*index] = Beginning { row, history };
    }
    found
}

/// Whether what is known in an archive's first known row can all be what a finer one, that reaches back as far, knows
/// from later in that row on.
fn begins_with(
    rrd: &Rrd<&[u8]>,
    (archive, row): (&Rra, i64),
    (finer_index, finer, since): (usize, &Rra, i64),
) -> bool {
    let (row_secs, finer_secs) = (rrd.row_secs(archive), rrd.row_secs(finer));
    let row_end = row + row_secs;
    let first = oldest(rrd, finer);
    if finer.cf.is_forecast() || first > row || since <= row || since >= row_end {
        return false;
    }
    let ends = (1..=finer.rows as i64).map(|number| first + number * finer_secs);
    let within = ends.skip_while(|end| *end <= since).take_while(|end| end - finer_secs < row_end);
    let known = within.filter(|end| is_known(rrd, finer_index, finer, *end));
    let known_secs: i64 = known.map(|end| end.min(row_end) - (end - finer_secs).max(since)).sum();
    (row_secs - known_secs) as f64 <= archive.xff * row_secs as f64
}

/// When the first row begins in which anything is known; when the newest ends, where there is none.
fn first_known(rrd: &Rrd<&[u8]>, index: usize, archive: &Rra) -> i64 {
    let (row_secs, first) = (rrd.row_secs(archive), oldest(rrd, archive));
    let mut ends = (1..=archive.rows as i64).map(|number| first + number * row_secs);
    let known = ends.find(|end| is_known(rrd, index, archive, *end));
    known.map_or(rrd.newest_row_end(archive), |end| end - row_secs)
}

/// When the oldest row begins.
fn oldest(rrd: &Rrd<&[u8]>, archive: &Rra) -> i64 {
    // The file's check bounds the span of all rows.
    rrd.newest_row_end(archive) - archive.rows as i64 * rrd.row_secs(archive)
}

/// Whether anything is known in the row that ends there.
fn is_known(rrd: &Rrd<&[u8]>, index: usize, archive: &Rra, end: i64) -> bool {
    let age = ((rrd.newest_row_end(archive) - end) / rrd.row_secs(archive)).unsigned_abs();
    let row = rrd.row(index, (archive.cur_row + archive.rows - age) % archive.rows);
    row.is_some_and(|row| row.values().any(|value| !value.is_nan()))
}
