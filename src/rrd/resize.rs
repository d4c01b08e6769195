//! An archive with more or fewer rows, in a copy of the file. Unlike `tune RRA#n:..` it fills nothing, and the rows
//! stay in the order in which they lie.

use std::io::{self, Write};
use std::ops::Range;

use crate::rrd::def::span_secs;
use crate::rrd::error::{DefinitionError, Error, ResizeError};
use crate::rrd::file::{Rrd, rows_start};
use crate::rrd::layout::{WORD, put, rra_def};
use crate::rrd::number::UNKNOWN;

/// How many rows come or go. Those that go are the oldest, and those that come are older than the others and unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// So many more.
    Grow(u64),
    /// So many fewer.
    Shrink(u64),
}

/// The new file, in pieces of the old one.
#[derive(Debug)]
pub(super) struct Resized<'a> {
    old: &'a [u8],
    header: Vec<u8>,
    pieces: [Piece; 3],
}

#[derive(Debug)]
enum Piece {
    /// Bytes of the old file.
    Old(Range<usize>),
    /// So many values.
    Unknown(u64),
}

impl<'a> Resized<'a> {
    /// The file with archive `rra` resized.
    pub(super) fn new(rrd: &'a Rrd<&[u8]>, rra: usize, resize: Resize) -> Result<Self, Error> {
        let archive = rrd.archives().nth(rra).ok_or(ResizeError::NoArchive)?;
        // What it does not know it does not resize, though nothing of the difference matters here.
        if !matches!(rrd.version(), 1 | 3 | 4) {
            return Err(ResizeError::Version(rrd.version_text().to_owned()).into());
        }
        let (layout, old) = (rrd.layout(), rrd.bytes());
        let (row_len, start) = (layout.row_len(), rows_start(old, layout, rra));
        let end =
            rrd.archives().map(|archive| archive.rows as usize).sum::<usize>() * row_len + rrd.header_len();
        let behind = archive.cur_row + 1;
        let row = |row: u64| start + row as usize * row_len;
        let (rows, cur_row, pieces) = match resize {
            Resize::Grow(by) => {
                let values = by.saturating_mul(layout.ds_count as u64);
                let front = Piece::Old(rrd.header_len()..row(behind));
                let back = Piece::Old(row(behind)..end);
                (archive.rows.saturating_add(by), archive.cur_row, [front, Piece::Unknown(values), back])
            }
            Resize::Shrink(by) => {
                let rows = archive.rows.checked_sub(by).filter(|rows| *rows > 0).ok_or(ResizeError::Small)?;
                // The oldest lie behind the current row, and then before it.
                let gone_behind = by.min(archive.rows - behind);
                let gone_before = by - gone_behind;
                let front = Piece::Old(rrd.header_len()..start);
                let middle = Piece::Old(row(gone_before)..row(behind));
                let back = Piece::Old(row(behind + gone_behind)..end);
                (rows, archive.cur_row - gone_before, [front, middle, back])
            }
        };
        let (step, pdp_per_row) = (u64::from(rrd.step().secs()), archive.pdp_per_row);
        span_secs(step, pdp_per_row, rows).ok_or(DefinitionError::TooLong { step, pdp_per_row, rows })?;
        let mut header = old[..rrd.header_len()].to_vec();
        put(&mut header, layout.rra_def(rra) + rra_def::ROWS, rows.to_le_bytes());
        put(&mut header, layout.rra_ptr(rra), cur_row.to_le_bytes());
        Ok(Self { old, header, pieces })
    }

    /// Its bytes; a sum that fits no file is as good as any other that does not.
    pub(super) fn len(&self) -> u64 {
        let piece_len = |piece: &Piece| match piece {
            Piece::Old(range) => range.len() as u64,
            Piece::Unknown(values) => values.saturating_mul(WORD as u64),
        };
        self.pieces.iter().map(piece_len).fold(self.header.len() as u64, u64::saturating_add)
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Old(range) => out.write_all(&self.old[range.clone()]),
            Piece::Unknown(values) => (0..*values).try_for_each(|_| out.write_all(&UNKNOWN.to_le_bytes())),
        })
    }
}
