//! The checked view over an archive's bytes.
//!
//! [`Rrd::new_checked`] looks at everything that the accessors rely on; afterwards none of them can panic, whatever the
//! bytes were. The view works on any byte slice: a `Vec<u8>` in tests, a map in production.

use crate::rrd::cdp::Cdp;
use crate::rrd::def::{ArchiveDef, Cf, DsType, Forecast, LATEST_SECS, forecast, span_secs};
use crate::rrd::error::{Fault, Section};
use crate::rrd::layout::{
    COOKIE, FLOAT_COOKIE, HIGHEST_VERSION, LAST_DS_LEN, Layout, NAME_LEN, WORD, bytes_at, cdp_prep, ds_def,
    f64_at, i64_at, live_head, pdp_prep, put_f64, rra_def, stat_head, u64_at,
};
use crate::rrd::number::UNKNOWN;
use crate::rrd::pdp::Pdp;
use crate::rrd::rpn::Rpn;
use crate::time::{Step, UnixTime};

/// An archive's bytes, checked.
#[derive(Clone, Copy, Debug)]
pub struct Rrd<B> {
    bytes: B,
    layout: Layout,
}

/// A data source as a file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ds<'a> {
    /// Its name.
    pub name: &'a str,
    /// How its readings become a rate.
    pub ds_type: DsType,
    /// Seconds between two readings after which what lies between is unknown.
    pub heartbeat: u64,
    /// The smallest rate that is believed; NaN for none.
    pub min: f64,
    /// The largest rate that is believed; NaN for none.
    pub max: f64,
    /// The text of its last reading.
    pub last_ds: &'a [u8],
    /// Its open primary data point.
    pub pdp: Pdp,
}

/// A round robin archive as a file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rra {
    /// How primary data points become a row.
    pub cf: Cf,
    /// The share of a row that may be unknown.
    pub xff: f64,
    /// Primary data points of a row.
    pub pdp_per_row: u64,
    /// Rows.
    pub rows: u64,
    /// The row that was written last.
    pub cur_row: u64,
    /// What a forecasting function is set to; nothing for the others.
    pub forecast: Option<Forecast>,
}

impl<B: AsRef<[u8]>> Rrd<B> {
    /// Checks the bytes. A file may be longer than its header says, not shorter.
    pub fn new_checked(bytes: B) -> Result<Self, Fault> {
        let len = bytes.as_ref().len() as u64;
        let layout = check(bytes.as_ref(), len)?;
        Ok(Self { bytes, layout })
    }

    /// The step, the length of a primary data point.
    pub fn step(&self) -> Step {
        let step = u64_at(self.bytes(), stat_head::STEP);
        u32::try_from(step).ok().and_then(Step::new).unwrap_or(const { Step::new(1).expect("1 is not 0") })
    }

    /// The version, 1 to 5.
    pub fn version(&self) -> u32 {
        version(self.bytes())
    }

    /// When it was updated last.
    pub fn last_update(&self) -> UnixTime {
        let at = self.layout.live_head();
        last_update_at(&self.bytes()[at..], self.layout)
    }

    /// The number of data sources.
    pub fn ds_count(&self) -> usize {
        self.layout.ds_count
    }

    /// The number of archives.
    pub fn rra_count(&self) -> usize {
        self.layout.rra_count
    }

    /// Every data source, in the order of the file.
    pub fn data_sources(&self) -> impl ExactSizeIterator<Item = Ds<'_>> + Clone {
        (0..self.layout.ds_count).map(|index| self.data_source(index))
    }

    /// Every archive, in the order of the file.
    pub fn archives(&self) -> impl ExactSizeIterator<Item = Rra> + Clone + '_ {
        (0..self.layout.rra_count).map(|index| self.archive(index))
    }

    /// The open consolidated data point of a data source in an archive; `None` where there is no such pair.
    pub fn cdp(&self, rra: usize, ds: usize) -> Option<Cdp> {
        let exists = rra < self.layout.rra_count && ds < self.layout.ds_count;
        exists.then(|| Cdp::read(&self.bytes()[self.layout.cdp_prep(rra, ds)..][..cdp_prep::LEN]))
    }

    /// The expression of a COMPUTE source of this file, as text.
    pub fn expression(&self, rpn: &Rpn) -> String {
        // The check has seen that its sources are there.
        rpn.text(|index| if index < self.layout.ds_count { self.ds_name(index) } else { "" })
    }

    /// The state of a forecast for a data source: the ten words of its open data point as they are stored.
    pub(super) fn forecast_state(&self, rra: usize, ds: usize) -> &[u8] {
        &self.bytes()[self.layout.cdp_prep(rra, ds)..][..cdp_prep::LEN]
    }

    /// The values of one row of an archive, counted as in the file; `None` where there is none.
    pub fn row(&self, rra: usize, row: u64) -> Option<Row<'_>> {
        if rra >= self.layout.rra_count {
            return None;
        }
        let (start, archive) = (self.rows_start(rra), self.archive(rra));
        let index = usize::try_from(row).ok().filter(|_| row < archive.rows)?;
        let len = self.layout.row_len();
        Some(Row::Known(&self.bytes()[start + index * len..][..len]))
    }

    /// Every row of an archive, in the order of the file.
    pub(super) fn rows(&self, rra: usize) -> impl Iterator<Item = Row<'_>> + Clone {
        let rows = &self.bytes()[self.rows_start(rra)..];
        rows.chunks_exact(self.layout.row_len()).take(self.archive(rra).rows as usize).map(Row::Known)
    }

    /// Stores the values of one row of an archive, counted as in the file; where there is no such row, or it has
    /// another number of values, nothing.
    pub fn set_row(&mut self, rra: usize, row: u64, values: &[f64])
    where
        B: AsMut<[u8]>,
    {
        let layout = self.layout;
        if rra >= layout.rra_count || row >= self.archive(rra).rows || values.len() != layout.ds_count {
            return;
        }
        let at = self.rows_start(rra) + row as usize * layout.row_len();
        for (word, value) in self.bytes_mut()[at..at + layout.row_len()].chunks_exact_mut(WORD).zip(values) {
            put_f64(word, 0, *value);
        }
    }

    /// The end of the newest row of an archive, whole rows counted from the epoch.
    pub(super) fn newest_row_end(&self, archive: &Rra) -> i64 {
        let row_secs = self.row_secs(archive);
        let last = self.last_update().secs();
        last - last % row_secs
    }

    /// Seconds that one row of the archive covers.
    pub(super) fn row_secs(&self, archive: &Rra) -> i64 {
        // The check bounds the span of all rows.
        i64::try_from(archive.pdp_per_row * u64::from(self.step().secs())).unwrap_or(i64::MAX)
    }

    /// Bytes before the first row.
    pub fn header_len(&self) -> usize {
        self.layout.header_len()
    }

    /// The four digits of the version, as text.
    pub fn version_text(&self) -> &str {
        std::str::from_utf8(&self.bytes()[stat_head::VERSION..][..stat_head::VERSION_LEN - 1])
            .unwrap_or_default()
    }

    /// A view of bytes that were checked.
    pub(super) fn from_parts(bytes: B, layout: Layout) -> Self {
        Self { bytes, layout }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8]
    where
        B: AsMut<[u8]>,
    {
        self.bytes.as_mut()
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn data_source(&self, index: usize) -> Ds<'_> {
        let bytes = self.bytes();
        let prep = &bytes[self.layout.pdp_prep(index)..][..pdp_prep::LEN];
        let def = DsDef::read(bytes, self.layout, index);
        Ds {
            name: self.ds_name(index),
            ds_type: def.ds_type,
            heartbeat: def.heartbeat,
            min: def.min,
            max: def.max,
            last_ds: last_ds_at(prep),
            pdp: Pdp::read(prep),
        }
    }

    fn ds_name(&self, index: usize) -> &str {
        until_nul(&self.bytes()[self.layout.ds_def(index) + ds_def::NAME..][..NAME_LEN])
            .and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    fn archive(&self, index: usize) -> Rra {
        let def = archive_def(self.bytes(), self.layout, index);
        Rra {
            cf: def.cf,
            xff: def.xff,
            pdp_per_row: def.pdp_per_row,
            rows: def.rows,
            cur_row: u64_at(self.bytes(), self.layout.rra_ptr(index)),
            forecast: def.forecast,
        }
    }

    /// Where the rows of the archive begin.
    pub(super) fn rows_start(&self, rra: usize) -> usize {
        rows_start(self.bytes(), self.layout, rra)
    }
}

impl<'a> Rrd<&'a [u8]> {
    /// The bytes, for as long as they live, which may be longer than the view.
    pub(super) fn borrowed(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Rra {
    /// The violations that a FAILURES archive remembers in a data source's state, the newest first, as digits.
    pub(super) fn history(&self, state: &[u8]) -> Vec<u8> {
        let Some(Forecast::Failures { window, .. }) = self.forecast else { return Vec::new() };
        state.iter().take(window as usize).map(|flag| if *flag == 1 { b'1' } else { b'0' }).collect()
    }
}

/// One row: a value per data source.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A row of the file.
    Known(&'a [u8]),
    /// A time that the archive does not cover: so many unknown values.
    Outside(usize),
}

impl<'a> Row<'a> {
    /// The values, in the order of the data sources; unknown ones are NaN.
    pub fn values(self) -> impl ExactSizeIterator<Item = f64> + 'a {
        let (bytes, count) = match self {
            Self::Known(bytes) => (bytes, bytes.len() / WORD),
            Self::Outside(count) => (&[][..], count),
        };
        (0..count).map(move |index| match bytes.get(index * WORD..(index + 1) * WORD) {
            Some(word) => f64_at(word, 0),
            None => UNKNOWN,
        })
    }
}

/// What an update needs of a data source's definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct DsDef {
    pub(super) ds_type: DsType,
    pub(super) heartbeat: u64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl DsDef {
    pub(super) fn read(header: &[u8], layout: Layout, index: usize) -> Self {
        let def = &header[layout.ds_def(index)..][..ds_def::LEN];
        // The check has seen a known type there.
        let ds_type = ds_type_at(def, index).unwrap_or(DsType::Gauge);
        if matches!(ds_type, DsType::Compute(_)) {
            // Where others have these, it has its expression.
            return Self { ds_type, heartbeat: 0, min: UNKNOWN, max: UNKNOWN };
        }
        Self {
            ds_type,
            heartbeat: u64_at(def, ds_def::HEARTBEAT),
            min: f64_at(def, ds_def::MIN),
            max: f64_at(def, ds_def::MAX),
        }
    }
}

/// The type in the definition of data source `index`.
fn ds_type_at(def: &[u8], index: usize) -> Result<DsType, Fault> {
    let name =
        until_nul(&def[ds_def::TYPE..][..NAME_LEN]).ok_or(Fault::Name { section: Section::DsDef, index })?;
    if name == DsType::COMPUTE.as_bytes() {
        return Rpn::read(&def[ds_def::HEARTBEAT..], index)
            .map(DsType::Compute)
            .ok_or(Fault::Expression { index });
    }
    DsType::from_name(name).ok_or_else(|| Fault::DsType { index, name: name.escape_ascii().to_string() })
}

/// An archive's definition as it stands in a header that was checked.
pub(super) fn archive_def(header: &[u8], layout: Layout, index: usize) -> ArchiveDef {
    let def = &header[layout.rra_def(index)..][..rra_def::LEN];
    // The check has seen a known name there.
    let cf = until_nul(&def[rra_def::CF..][..NAME_LEN]).and_then(Cf::from_name).unwrap_or(Cf::Average);
    ArchiveDef {
        cf,
        forecast: if cf.is_forecast() {
            Forecast::read(cf, &def[rra_def::PARAMETERS..], version(header))
        } else {
            None
        },
        xff: f64_at(def, rra_def::XFF),
        pdp_per_row: u64_at(def, rra_def::PDP_PER_ROW),
        rows: u64_at(def, rra_def::ROWS),
    }
}

pub(super) fn rows_start(header: &[u8], layout: Layout, rra: usize) -> usize {
    // The check has added up the same numbers without overflow.
    let rows: u64 = (0..rra).map(|index| archive_def(header, layout, index).rows).sum();
    layout.header_len() + rows as usize * layout.row_len()
}

/// The last update in the live part of a header.
pub(super) fn last_update_at(live: &[u8], layout: Layout) -> UnixTime {
    let micros = if layout.has_micros() { i64_at(live, live_head::MICROS) } else { 0 };
    UnixTime::from_micros(i64_at(live, live_head::SECS) * 1_000_000 + micros)
}

/// The text of the last reading in a `pdp_prep`.
pub(super) fn last_ds_at(prep: &[u8]) -> &[u8] {
    let field = &prep[pdp_prep::LAST_DS..][..LAST_DS_LEN];
    until_nul(field).unwrap_or(&field[..LAST_DS_LEN - 1])
}

/// Checks a header, which may be all that was read of a file of `file_len` bytes.
pub(super) fn check(header: &[u8], file_len: u64) -> Result<Layout, Fault> {
    if file_len < stat_head::LEN as u64 || header.len() < stat_head::LEN {
        return Err(Fault::EndsIn(Section::StatHead));
    }
    if header[..COOKIE.len()] != COOKIE {
        return Err(Fault::NoCookie);
    }
    if bytes_at::<WORD>(header, stat_head::FLOAT_COOKIE) != FLOAT_COOKIE {
        return Err(Fault::ForeignArchitecture);
    }
    let version = parse_version(header)?;
    let step = u64_at(header, stat_head::STEP);
    let counts = [stat_head::DS_COUNT, stat_head::RRA_COUNT].map(|at| u64_at(header, at));
    let layout = Layout::new(counts[0], counts[1], version, file_len.min(header.len() as u64))?;
    if layout.ds_count == 0 && layout.rra_count > 0 {
        // Rows of no bytes: nothing would bound their number.
        return Err(Fault::Counts { data_sources: counts[0], archives: counts[1] });
    }
    if step == 0 || u32::try_from(step).is_err() {
        return Err(Fault::Step(step));
    }
    (0..layout.ds_count).try_for_each(|index| check_ds(header, layout, index))?;
    check_archives(header, layout, step, file_len)?;
    check_live_head(header, layout)?;
    Ok(layout)
}

fn check_ds(header: &[u8], layout: Layout, index: usize) -> Result<(), Fault> {
    let def = &header[layout.ds_def(index)..][..ds_def::LEN];
    let named = Fault::Name { section: Section::DsDef, index };
    let name = until_nul(&def[ds_def::NAME..][..NAME_LEN]).ok_or_else(|| named.clone())?;
    std::str::from_utf8(name).map_err(|_| named)?;
    ds_type_at(def, index).map(drop)
}

fn check_archives(header: &[u8], layout: Layout, step: u64, file_len: u64) -> Result<(), Fault> {
    let mut end = layout.header_len() as u64;
    for index in 0..layout.rra_count {
        let def = &header[layout.rra_def(index)..][..rra_def::LEN];
        let name = until_nul(&def[rra_def::CF..][..NAME_LEN])
            .ok_or(Fault::Name { section: Section::RraDef, index })?;
        if Cf::from_name(name).is_none() {
            return Err(Fault::Cf { index, name: name.escape_ascii().to_string() });
        }
        let ArchiveDef { rows, pdp_per_row, .. } = archive_def(header, layout, index);
        let shape = Fault::Shape { index, rows, pdp_per_row };
        if rows == 0 || pdp_per_row == 0 {
            return Err(shape);
        }
        end = (layout.row_len() as u64)
            .checked_mul(rows)
            .and_then(|len| end.checked_add(len))
            .ok_or_else(|| shape.clone())?;
        span_secs(step, pdp_per_row, rows).ok_or(shape)?;
    }
    if end > file_len {
        return Err(Fault::TooSmall { wanted: end });
    }
    for index in 0..layout.rra_count {
        let row = u64_at(header, layout.rra_ptr(index));
        let archive = archive_def(header, layout, index);
        let cf_of = |other: usize| (other < layout.rra_count).then(|| archive_def(header, layout, other).cf);
        if !forecast::is_whole(&archive, cf_of) {
            return Err(Fault::Dependency { index });
        }
        let rows = archive.rows;
        if row >= rows {
            return Err(Fault::CurrentRow { index, row, rows });
        }
    }
    Ok(())
}

fn check_live_head(header: &[u8], layout: Layout) -> Result<(), Fault> {
    let live = &header[layout.live_head()..];
    let secs = i64_at(live, live_head::SECS);
    let micros = if layout.has_micros() { i64_at(live, live_head::MICROS) } else { 0 };
    if (0..=LATEST_SECS).contains(&secs) && (0..1_000_000).contains(&micros) {
        Ok(())
    } else {
        Err(Fault::LastUpdate { secs, micros })
    }
}

/// The version of a header that was checked.
pub(super) fn version(header: &[u8]) -> u32 {
    parse_version(header).unwrap_or_default()
}

/// The version as a number, as the original reads it: leading digits, "0000" passes.
fn parse_version(header: &[u8]) -> Result<u32, Fault> {
    let text = &header[stat_head::VERSION..][..stat_head::VERSION_LEN];
    let shown = || Fault::Version(until_nul(text).unwrap_or(text).escape_ascii().to_string());
    let text = until_nul(text).ok_or_else(shown)?;
    let version = text
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    if version <= HIGHEST_VERSION { Ok(version) } else { Err(shown()) }
}

/// The text of a field that ends with a NUL.
fn until_nul(field: &[u8]) -> Option<&[u8]> {
    field.iter().position(|b| *b == 0).map(|end| &field[..end])
}
