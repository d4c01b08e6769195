//! An archive from the XML that `dump` writes.
//!
//! The XML is read as a stream, into the bytes of the archive's sections; what they make together is checked as any
//! file is. Nothing is taken on trust: no element, text or comment may be longer than is sensible, and memory grows with
//! what was read only.

mod bounded;
mod slots;
mod source;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::rrd::create::{Overwrite, put_text, random, write_new};
use crate::rrd::def::{Cf, DsType};
use crate::rrd::error::{Error, Operation, RestoreError};
use crate::rrd::file::check;
use crate::rrd::layout::{
    COOKIE, FLOAT_COOKIE, HIGHEST_VERSION, LAST_DS_LEN, MICROSECONDS_SINCE, NAME_LEN, WORD, cdp_prep, ds_def,
    live_head, pdp_prep, put, put_f64, rra_def, stat_head,
};
use crate::rrd::number::{UNKNOWN, parse_number};
use crate::rrd::restore::slots::Slot;
use crate::rrd::restore::source::Source;
use crate::rrd::rpn::Rpn;

/// How an archive is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Values in rows that are outside of their data source's limits become unknown.
    pub range_check: bool,
    /// What happens to a file that is there already.
    pub overwrite: Overwrite,
}

/// Makes an archive of the XML that `dump` writes. As [`crate::rrd::create()`] does, it makes the file beside `path` and
/// renames it when it is whole. Values come back as exact as the XML has them: to ten decimals.
pub fn restore(xml: impl Read, path: &Path, options: RestoreOptions) -> Result<(), Error> {
    let restored = Restored::read(xml, options.range_check)?;
    write_new(path, options.overwrite, restored.len(), |mut file: &File| restored.write(&mut file)).map_err(
        |error| match error {
            Error::Temporary { path, errno } => Error::System { operation: Operation::Create, path, errno },
            other => other,
        },
    )
}

/// The bytes of the archive that the XML makes.
pub fn restored_image(xml: impl Read, range_check: bool) -> Result<Vec<u8>, RestoreError> {
    let restored = Restored::read(xml, range_check)?;
    let mut bytes = Vec::new();
    // Writing to a Vec does not fail.
    let _ = restored.write(&mut bytes);
    Ok(bytes)
}

/// An archive in parts: the rows still in the order of time.
struct Restored {
    header: Vec<u8>,
    /// Bytes of a row.
    row_len: usize,
    /// The rows of each archive, and which row of the file will be its newest.
    archives: Vec<(Vec<u8>, usize)>,
}

impl Restored {
    fn read(xml: impl Read, range_check: bool) -> Result<Self, RestoreError> {
        const READ_AHEAD: usize = 128 << 10;
        let dump = Source::new(BufReader::with_capacity(READ_AHEAD, xml)).rrd(range_check)?;
        let restored = dump.assemble();
        check(&restored.header, restored.len()).map_err(RestoreError::Fault)?;
        Ok(restored)
    }

    fn len(&self) -> u64 {
        (self.header.len() + self.archives.iter().map(|(rows, _)| rows.len()).sum::<usize>()) as u64
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        for (rows, newest) in &self.archives {
            // The newest row is the last in time; the oldest follows it in the file.
            let (older, newer) = rows.split_at(rows.len() - (newest + 1) * self.row_len);
            out.write_all(newer)?;
            out.write_all(older)?;
        }
        Ok(())
    }
}

/// What the XML says.
#[derive(Default)]
struct Dump {
    version: u64,
    step: u64,
    last_update: i64,
    data_sources: Vec<DsBytes>,
    archives: Vec<RraBytes>,
}

/// The sections of a data source.
struct DsBytes {
    def: [u8; ds_def::LEN],
    prep: [u8; pdp_prep::LEN],
    min: f64,
    max: f64,
}

impl DsBytes {
    fn is_called(&self, name: &str) -> bool {
        self.def[ds_def::NAME..].strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// The sections of an archive, and its rows in the order of time.
struct RraBytes {
    def: [u8; rra_def::LEN],
    preps: Vec<u8>,
    rows: Vec<u8>,
}

impl Dump {
    fn assemble(self) -> Restored {
        let row_len = self.data_sources.len() * WORD;
        let mut head = [0; stat_head::LEN];
        head[..COOKIE.len()].copy_from_slice(&COOKIE);
        // Older versions keep less; dump prints them all as the third, and as that they are made.
        let version = self.version.max(u64::from(MICROSECONDS_SINCE));
        put_text(&mut head[stat_head::VERSION..], &format!("{version:04}"));
        put(&mut head, stat_head::FLOAT_COOKIE, FLOAT_COOKIE);
        put(&mut head, stat_head::DS_COUNT, (self.data_sources.len() as u64).to_le_bytes());
        put(&mut head, stat_head::RRA_COUNT, (self.archives.len() as u64).to_le_bytes());
        put(&mut head, stat_head::STEP, self.step.to_le_bytes());
        let mut live = [0; live_head::LEN];
        put(&mut live, live_head::SECS, self.last_update.to_le_bytes());
        let mut header = head.to_vec();
        self.data_sources.iter().for_each(|ds| header.extend_from_slice(&ds.def));
        self.archives.iter().for_each(|rra| header.extend_from_slice(&rra.def));
        header.extend_from_slice(&live);
        self.data_sources.iter().for_each(|ds| header.extend_from_slice(&ds.prep));
        self.archives.iter().for_each(|rra| header.extend_from_slice(&rra.preps));
        let archives = self.archives.into_iter().map(|rra| {
            let rows = rra.rows.len().checked_div(row_len).unwrap_or(0);
            let newest = (random() % rows.max(1) as u64) as usize;
            header.extend_from_slice(&(newest as u64).to_le_bytes());
            (rra.rows, newest)
        });
        let archives = archives.collect();
        Restored { header, row_len, archives }
    }
}

impl<R: BufRead> Source<R> {
    fn rrd(&mut self, range_check: bool) -> Result<Dump, RestoreError> {
        if !self.open()? || self.name != "rrd" {
            return Err(RestoreError::Root { line: self.line(), name: self.name.clone() });
        }
        let mut dump = Dump::default();
        while self.open()? {
            match self.name.as_str() {
                "version" => dump.version = self.version()?,
                "step" => dump.step = self.count()?,
                "lastupdate" => dump.last_update = self.integer()?,
                "ds" => {
                    let ds = self.ds(&dump.data_sources)?;
                    dump.data_sources.push(ds);
                }
                "rra" => {
                    let rra = self.rra(&dump.data_sources, range_check)?;
                    dump.archives.push(rra);
                }
                _ => return Err(self.unknown("parse_tag_rrd")),
            }
        }
        if self.open()? {
            return Err(RestoreError::Element { line: self.line(), name: self.name.clone() });
        }
        Ok(dump)
    }

    fn version(&mut self) -> Result<u64, RestoreError> {
        let version = self.count()?;
        if version > u64::from(HIGHEST_VERSION) {
            return Err(RestoreError::Version(version));
        }
        Ok(version)
    }

    fn ds(&mut self, earlier: &[DsBytes]) -> Result<DsBytes, RestoreError> {
        let (mut def, mut prep) = ([0; ds_def::LEN], [0; pdp_prep::LEN]);
        let (mut min, mut max) = (UNKNOWN, UNKNOWN);
        let mut is_computed = false;
        while self.open()? {
            match self.name.as_str() {
                "name" => put_text(&mut def[ds_def::NAME..], self.short_word(NAME_LEN)?),
                "type" => {
                    let name = self.short_word(NAME_LEN)?;
                    is_computed = name == DsType::COMPUTE;
                    if !is_computed && DsType::from_name(name.as_bytes()).is_none() {
                        return Err(RestoreError::DsType(name.to_owned()));
                    }
                    put_text(&mut def[ds_def::TYPE..], name);
                }
                "cdef" => {
                    let index = |name: &str| earlier.iter().position(|ds| ds.is_called(name));
                    Rpn::parse(self.word()?, index)?.write(&mut def[ds_def::HEARTBEAT..]);
                }
                "minimal_heartbeat" => put(&mut def, ds_def::HEARTBEAT, self.count()?.to_le_bytes()),
                "min" => min = self.number()?,
                "max" => max = self.number()?,
                "last_ds" => put_text(&mut prep[pdp_prep::LAST_DS..], self.short_word(LAST_DS_LEN)?),
                "value" => put_f64(&mut prep, pdp_prep::VALUE, self.number()?),
                "unknown_sec" => put(&mut prep, pdp_prep::UNKNOWN_SECS, self.count()?.to_le_bytes()),
                _ => return Err(self.unknown("parse_tag_ds")),
            }
        }
        // A computed source has its expression there. The original takes that for limits when it checks ranges, and
        // wipes the column; ours has no limits.
        if !is_computed {
            put_f64(&mut def, ds_def::MIN, min);
            put_f64(&mut def, ds_def::MAX, max);
        }
        Ok(DsBytes { def, prep, min, max })
    }

    fn rra(&mut self, sources: &[DsBytes], range_check: bool) -> Result<RraBytes, RestoreError> {
        let (mut def, mut preps, mut rows) = ([0; rra_def::LEN], Vec::new(), Vec::new());
        while self.open()? {
            match self.name.as_str() {
                "cf" => {
                    let name = self.word()?;
                    let cf =
                        Cf::from_name(name.as_bytes()).ok_or_else(|| RestoreError::Cf(name.to_owned()))?;
                    put_text(&mut def[rra_def::CF..], cf.name());
                }
                "pdp_per_row" => put(&mut def, rra_def::PDP_PER_ROW, self.count()?.to_le_bytes()),
                // Beside the parameters in the first version, among them since.
                "xff" => put_f64(&mut def, rra_def::XFF, self.number()?),
                "params" => self.params(&mut def[rra_def::PARAMETERS..])?,
                "cdp_prep" => preps = self.cdp_preps(sources.len())?,
                "database" => rows = self.rows(sources, range_check)?,
                _ => return Err(self.unknown("parse_tag_rra")),
            }
        }
        preps.resize(sources.len() * cdp_prep::LEN, 0);
        let count = rows.len().checked_div(sources.len() * WORD).unwrap_or(0);
        put(&mut def, rra_def::ROWS, (count as u64).to_le_bytes());
        Ok(RraBytes { def, preps, rows })
    }

    fn params(&mut self, parameters: &mut [u8]) -> Result<(), RestoreError> {
        while self.open()? {
            match slots::parameter(&self.name) {
                Some(slot) => self.slot(parameters, slot)?,
                None => return Err(self.unknown("parse_tag_rra_params")),
            }
        }
        Ok(())
    }

    fn cdp_preps(&mut self, wanted: usize) -> Result<Vec<u8>, RestoreError> {
        let mut preps = Vec::new();
        while self.open()? {
            if self.name != "ds" {
                return Err(self.unknown("parse_tag_rra_cdp_prep"));
            }
            let mut prep = [0; cdp_prep::LEN];
            while self.open()? {
                match slots::state(&self.name) {
                    Some(slot) => self.slot(&mut prep, slot)?,
                    None if self.name == "history" => slots::put_history(&mut prep, self.word()?),
                    None => return Err(self.unknown("parse_tag_rra_cdp_prep")),
                }
            }
            preps.extend_from_slice(&prep);
        }
        self.columns(wanted, preps.len() / cdp_prep::LEN)?;
        Ok(preps)
    }

    /// Reads the open element into the word that it is about.
    fn slot(&mut self, words: &mut [u8], slot: Slot) -> Result<(), RestoreError> {
        match slot {
            Slot::Number(slot) => put_f64(words, slot * WORD, self.number()?),
            Slot::Count(slot) => put(words, slot * WORD, self.count()?.to_le_bytes()),
        }
        Ok(())
    }

    fn rows(&mut self, sources: &[DsBytes], range_check: bool) -> Result<Vec<u8>, RestoreError> {
        let column = |column: usize, value: f64| {
            let is_outside = |ds: &DsBytes| value < ds.min || value > ds.max;
            let refused = range_check && sources.get(column).is_some_and(is_outside);
            let value = if refused || value.is_nan() { UNKNOWN } else { value };
            value.to_le_bytes()
        };
        let mut rows = Vec::new();
        // The first row is the XML reader's, which alone knows whether it was `<database/>` that opened.
        while self.open()? {
            if self.name != "row" {
                return Err(self.unknown("parse_tag_rra_database"));
            }
            let mut got = 0;
            while let Some(value) = self.value()? {
                rows.extend_from_slice(&column(got, value));
                got += 1;
            }
            self.columns(sources.len(), got)?;
            while let Some(got) = self.plain_row(&mut rows, column) {
                self.columns(sources.len(), got)?;
            }
        }
        Ok(rows)
    }

    /// Reads the next row, where it and the comment before it are as `dump` writes them and whole in the reader's buffer,
    /// and returns how many values it has. Nearly all of a file is such rows, and the XML reader takes several times as
    /// long; everything else is left to it.
    fn plain_row(&mut self, rows: &mut Vec<u8>, column: impl Fn(usize, f64) -> [u8; WORD]) -> Option<usize> {
        let buffer = self.buffered()?;
        let mut rest = buffer.trim_ascii_start();
        if let Some(comment) = rest.strip_prefix(b"<!-- ") {
            const END: &[u8] = b"-->";
            let (comment, behind) =
                comment.split_at(comment.windows(END.len()).position(|window| window == END)?);
            // The XML reader refuses what is no text.
            std::str::from_utf8(comment).ok()?;
            rest = behind[END.len()..].trim_ascii_start();
        }
        rest = rest.strip_prefix(b"<row>")?;
        let (start, mut got) = (rows.len(), 0);
        let behind = loop {
            if let Some(behind) = rest.strip_prefix(b"</row>") {
                break behind.len();
            }
            let Some((value, behind)) = plain_value(rest) else {
                rows.truncate(start);
                return None;
            };
            rows.extend_from_slice(&column(got, value));
            (rest, got) = (behind, got + 1);
        };
        let len = buffer.len() - behind;
        self.skip(len);
        Some(got)
    }

    /// The next value of the open row; `None` where it ends.
    fn value(&mut self) -> Result<Option<f64>, RestoreError> {
        if let Some(value) = self.plain_value() {
            return Ok(Some(value));
        }
        if !self.open()? {
            return Ok(None);
        }
        if self.name != "v" {
            return Err(self.unknown("parse_tag_rra_database_row"));
        }
        self.number().map(Some)
    }

    /// The same for an element that is as `dump` writes it, and whole in the reader's buffer.
    fn plain_value(&mut self) -> Option<f64> {
        let buffer = self.buffered()?;
        let (value, behind) = plain_value(buffer)?;
        let len = buffer.len() - behind.len();
        self.skip(len);
        Some(value)
    }

    fn columns(&self, wanted: usize, got: usize) -> Result<(), RestoreError> {
        if wanted == got { Ok(()) } else { Err(RestoreError::Columns { line: self.line(), wanted, got }) }
    }
}

/// Reads a value that is written `<v>1.5</v>`; returns what follows too.
fn plain_value(text: &[u8]) -> Option<(f64, &[u8])> {
    const LONGEST: usize = 64;
    let text = text.strip_prefix(b"<v>")?;
    let len = text.iter().take(LONGEST).position(|b| *b == b'<')?;
    let (word, rest) = text.split_at(len);
    let value = parse_number(word.trim_ascii()).ok()?;
    Some((value, rest.strip_prefix(b"</v>")?))
}

#[cfg(test)]
mod tests;
