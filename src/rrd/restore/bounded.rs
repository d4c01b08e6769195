//! A reader that does not give more than it is told to.

use std::io::{self, BufRead, Read};

/// What is longer is no archive.
pub(super) const TOO_LONG: &str = "an element, a text or a comment is longer than a megabyte";

/// A reader that gives `left` more bytes, and counts lines.
pub(super) struct Bounded<R> {
    pub(super) input: R,
    pub(super) left: usize,
    /// The line that is read, counted from 1.
    pub(super) line: u64,
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.input.fill_buf()?;
        if self.left == 0 && !bytes.is_empty() {
            return Err(io::Error::other(TOO_LONG));
        }
        Ok(&bytes[..bytes.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        // What is consumed is in the buffer already.
        let lines = self
            .input
            .fill_buf()
            .map_or(0, |bytes| bytes.iter().take(count).filter(|byte| **byte == b'\n').count());
        self.line += lines as u64;
        self.left = self.left.saturating_sub(count);
        self.input.consume(count);
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
