//! Where everything stands in the file. Offsets have names, each made from the one before; nothing here reads a byte.

use crate::rrd::error::{Fault, Section};

/// The first four bytes.
pub(super) const COOKIE: [u8; 4] = *b"RRD\0";
/// The test number, which other architectures write differently.
pub(super) const FLOAT_COOKIE: [u8; 8] = [0x2f, 0x25, 0xc0, 0xc7, 0x43, 0x2b, 0x1f, 0x5b];
/// The highest version that can be read.
pub(super) const HIGHEST_VERSION: u32 = 5;
/// From this version on the last update has microseconds.
pub(super) const MICROSECONDS_SINCE: u32 = 3;
/// From this version on a season's own smoothing window is followed.
pub(super) const OWN_WINDOW_SINCE: u32 = 4;
/// A name of a data source, a type or a function: this many bytes with its NUL.
pub(super) const NAME_LEN: usize = 20;
/// The text of the last reading, with its NUL.
pub(super) const LAST_DS_LEN: usize = 30;
/// A value, a counter, a parameter.
pub(super) const WORD: usize = 8;
/// Ten words of parameters or scratch.
pub(super) const WORDS: usize = 10 * WORD;
/// The longest window of a FAILURES archive: its violations lie in the scratch, a byte each.
pub(super) const LONGEST_WINDOW: u64 = 28;

/// The static head.
pub(super) mod stat_head {
    use super::{WORD, WORDS};
    pub(in crate::rrd) const VERSION: usize = 4;
    pub(in crate::rrd) const VERSION_LEN: usize = 5;
    pub(in crate::rrd) const FLOAT_COOKIE: usize = 16;
    pub(in crate::rrd) const DS_COUNT: usize = FLOAT_COOKIE + WORD;
    pub(in crate::rrd) const RRA_COUNT: usize = DS_COUNT + WORD;
    pub(in crate::rrd) const STEP: usize = RRA_COUNT + WORD;
    pub(in crate::rrd) const LEN: usize = STEP + WORD + WORDS;
}

/// The definition of a data source.
pub(super) mod ds_def {
    use super::{NAME_LEN, WORD, WORDS};
    pub(in crate::rrd) const NAME: usize = 0;
    pub(in crate::rrd) const TYPE: usize = NAME + NAME_LEN;
    pub(in crate::rrd) const HEARTBEAT: usize = TYPE + NAME_LEN;
    pub(in crate::rrd) const MIN: usize = HEARTBEAT + WORD;
    pub(in crate::rrd) const MAX: usize = MIN + WORD;
    pub(in crate::rrd) const LEN: usize = HEARTBEAT + WORDS;
}

/// The definition of an archive.
pub(super) mod rra_def {
    use super::{NAME_LEN, WORD, WORDS};
    pub(in crate::rrd) const CF: usize = 0;
    pub(in crate::rrd) const ROWS: usize = CF + NAME_LEN + 4;
    pub(in crate::rrd) const PDP_PER_ROW: usize = ROWS + WORD;
    pub(in crate::rrd) const XFF: usize = PDP_PER_ROW + WORD;
    /// The parameters of a forecast, ten words whose first is [`XFF`].
    pub(in crate::rrd) const PARAMETERS: usize = XFF;
    /// The archive that a forecast works with.
    pub(in crate::rrd) const DEPENDENCY: usize = PARAMETERS + 3 * WORD;
    pub(in crate::rrd) const LEN: usize = XFF + WORDS;
}

/// The last update; versions 1 and 2 have no microseconds.
pub(super) mod live_head {
    use super::WORD;
    pub(in crate::rrd) const SECS: usize = 0;
    pub(in crate::rrd) const MICROS: usize = SECS + WORD;
    pub(in crate::rrd) const LEN: usize = MICROS + WORD;
    pub(in crate::rrd) const LEN_WITHOUT_MICROS: usize = MICROS;
}

/// The open primary data point of a data source.
pub(super) mod pdp_prep {
    use super::{LAST_DS_LEN, WORD, WORDS};
    pub(in crate::rrd) const LAST_DS: usize = 0;
    pub(in crate::rrd) const UNKNOWN_SECS: usize = LAST_DS + LAST_DS_LEN + 2;
    pub(in crate::rrd) const VALUE: usize = UNKNOWN_SECS + WORD;
    pub(in crate::rrd) const LEN: usize = UNKNOWN_SECS + WORDS;
}

/// The open consolidated data point of a data source in an archive.
pub(super) mod cdp_prep {
    use super::{WORD, WORDS};
    pub(in crate::rrd) const VALUE: usize = 0;
    pub(in crate::rrd) const UNKNOWN_PDPS: usize = VALUE + WORD;
    /// The state of a forecast, six words.
    pub(in crate::rrd) const FORECAST: usize = UNKNOWN_PDPS + WORD;
    pub(in crate::rrd) const PRIMARY: usize = 8 * WORD;
    pub(in crate::rrd) const SECONDARY: usize = PRIMARY + WORD;
    pub(in crate::rrd) const LEN: usize = WORDS;
}

/// The header's shape. A value of this type was summed up without overflow, so its offsets can be added up freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) ds_count: usize,
    pub(super) rra_count: usize,
    live_head_len: usize,
}

impl Layout {
    /// The layout for these counts, when the whole header fits into a file of `file_len` bytes.
    pub(super) fn new(ds_count: u64, rra_count: u64, version: u32, file_len: u64) -> Result<Self, Fault> {
        let live_head_len =
            if version < MICROSECONDS_SINCE { live_head::LEN_WITHOUT_MICROS } else { live_head::LEN };
        let counts = Fault::Counts { data_sources: ds_count, archives: rra_count };
        let per_pair = ds_count.checked_mul(rra_count).ok_or_else(|| counts.clone())?;
        let sections = [
            (Section::DsDef, ds_count, ds_def::LEN),
            (Section::RraDef, rra_count, rra_def::LEN),
            (Section::LiveHead, 1, live_head_len),
            (Section::PdpPrep, ds_count, pdp_prep::LEN),
            (Section::CdpPrep, per_pair, cdp_prep::LEN),
            (Section::RraPtr, rra_count, WORD),
        ];
        let mut end = stat_head::LEN as u64;
        for (section, count, len) in sections {
            end = count
                .checked_mul(len as u64)
                .and_then(|bytes| end.checked_add(bytes))
                .ok_or_else(|| counts.clone())?;
            if end > file_len {
                return Err(Fault::EndsIn(section));
            }
        }
        let narrow = |count: u64| usize::try_from(count).map_err(|_| counts.clone());
        // On a 32-bit machine the sum may fit a file and not the memory.
        narrow(end)?;
        Ok(Self { ds_count: narrow(ds_count)?, rra_count: narrow(rra_count)?, live_head_len })
    }

    pub(super) fn has_micros(&self) -> bool {
        self.live_head_len == live_head::LEN
    }

    pub(super) fn ds_def(&self, ds: usize) -> usize {
        stat_head::LEN + ds * ds_def::LEN
    }

    pub(super) fn rra_def(&self, rra: usize) -> usize {
        self.ds_def(self.ds_count) + rra * rra_def::LEN
    }

    /// From here to [`Layout::header_len`] lies the live part, all that an update changes in the header.
    pub(super) fn live_head(&self) -> usize {
        self.rra_def(self.rra_count)
    }

    pub(super) fn pdp_prep(&self, ds: usize) -> usize {
        self.live_head() + self.live_head_len + ds * pdp_prep::LEN
    }

    pub(super) fn cdp_prep(&self, rra: usize, ds: usize) -> usize {
        self.pdp_prep(self.ds_count) + (rra * self.ds_count + ds) * cdp_prep::LEN
    }

    /// Every `pdp_prep` in the live part of a header.
    pub(super) fn pdp_preps<'a>(&self, live: &'a [u8]) -> &'a [[u8; pdp_prep::LEN]] {
        &live[self.live_head_len..].as_chunks().0[..self.ds_count]
    }

    pub(super) fn pdp_preps_mut<'a>(&self, live: &'a mut [u8]) -> &'a mut [[u8; pdp_prep::LEN]] {
        &mut live[self.live_head_len..].as_chunks_mut().0[..self.ds_count]
    }

    /// Every `cdp_prep` in the live part of a header, those of one archive after the other, and every `rra_ptr`.
    pub(super) fn archives_mut<'a>(
        &self,
        live: &'a mut [u8],
    ) -> (&'a mut [[u8; cdp_prep::LEN]], &'a mut [[u8; WORD]]) {
        let first = self.cdp_prep(0, 0) - self.live_head();
        let preps_len = self.rra_count * self.ds_count * cdp_prep::LEN;
        let (preps, pointers) = live[first..].split_at_mut(preps_len);
        (preps.as_chunks_mut().0, pointers.as_chunks_mut().0)
    }

    pub(super) fn rra_ptr(&self, rra: usize) -> usize {
        self.cdp_prep(self.rra_count, 0) + rra * WORD
    }

    pub(super) fn header_len(&self) -> usize {
        self.rra_ptr(self.rra_count)
    }

    /// Bytes of one row of any archive.
    pub(super) fn row_len(&self) -> usize {
        self.ds_count * WORD
    }
}

/// The `N` bytes at `offset`.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("a range of N bytes makes an array of N")
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, offset))
}

pub(super) fn i64_at(bytes: &[u8], offset: usize) -> i64 {
    i64::from_le_bytes(bytes_at(bytes, offset))
}

pub(super) fn f64_at(bytes: &[u8], offset: usize) -> f64 {
    f64::from_le_bytes(bytes_at(bytes, offset))
}

pub(super) fn put(bytes: &mut [u8], offset: usize, value: [u8; WORD]) {
    bytes[offset..offset + WORD].copy_from_slice(&value);
}

/// Stores a number, every NaN with the bits that the format knows.
pub(super) fn put_f64(bytes: &mut [u8], offset: usize, value: f64) {
    put(bytes, offset, crate::rrd::number::canonical(value).to_le_bytes());
}
