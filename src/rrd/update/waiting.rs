//! Rows that were computed and wait to be stored.

use std::ops::Range;

use crate::rrd::layout::{WORD, f64_at};

/// The rows, one after the other, and where in the file each run of them goes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    runs: Vec<(u64, Range<usize>)>,
}

/// No more should wait than this.
const FULL: usize = 1 << 20;

/// What is kept of the buffer. The rows of a long gap can be a whole archive, and a monitor has hundreds of files open.
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

    /// Adds a row that goes to `offset`; it is joined to the run before where it follows it.
    pub(super) fn push(&mut self, offset: u64, values: impl Iterator<Item = [u8; WORD]>) {
        let start = self.len();
        values.for_each(|value| self.bytes.extend_from_slice(&value));
        let end = self.len();
        match self.runs.last_mut() {
            Some((before, range)) if *before + range.len() as u64 == offset => range.end = end,
            _ => self.runs.push((offset, start..end)),
        }
    }

    /// Forgets all but the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.runs.retain(|(_, range)| range.start < len);
        if let Some((_, range)) = self.runs.last_mut() {
            range.end = range.end.min(len);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.runs.clear();
    }
}
