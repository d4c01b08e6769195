//! Rows that were computed and wait to be stored.

use std::ops::Range;

use crate::rrd::layout::f64_at;

/// The rows, one after the other, and where in the file each run of them goes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    runs: Vec<(u64, Range<usize>)>,
}

/// No more should wait than this.
const FULL: usize = 1 << 18;

/// No more is kept of the buffer. The rows of a long gap can be a whole archive, and a monitor has hundreds of files open.
const KEPT: usize = 1 << 16;

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// The rows that came after the first `len` bytes.
    pub(super) fn since(&self, len: usize) -> &[u8] {
        &self.bytes[len..]
    }

    /// The runs, and the offset in the file of each.
    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|(offset, range)| (*offset, &self.bytes[range.clone()]))
    }

    /// The value that will stand at `offset`, if it waits here.
    pub(super) fn value_at(&self, offset: u64) -> Option<f64> {
        self.runs().rev().find_map(|(start, rows)| {
            let inside = offset.checked_sub(start).filter(|inside| *inside < rows.len() as u64)?;
            Some(f64_at(rows, inside as usize))
        })
    }

    /// Adds rows of `row_len` bytes that go to these offsets, and returns them to be filled. One that follows the row
    /// before is joined to its run.
    pub(super) fn add(&mut self, offsets: impl Iterator<Item = u64>, row_len: usize) -> &mut [u8] {
        let first = self.len();
        let mut end = first;
        for offset in offsets {
            let start = end;
            end += row_len;
            match self.runs.last_mut() {
                Some((before, range)) if *before + range.len() as u64 == offset => range.end = end,
                _ => self.runs.push((offset, start..end)),
            }
        }
        self.bytes.resize(end, 0);
        &mut self.bytes[first..]
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    /// Gives memory back, where it is much.
    pub(super) fn give_back(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }
}
