//! Data sources and archives that come, go, or have other lengths. The file is made anew: in every archive the rows lie
//! in the order of their times, and those that it had not before are filled from other archives where they can be.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::fill::Sources;
use super::name_of;
use crate::rrd::cdp::{Cdp, Due};
use crate::rrd::create::{put_ds, put_rra, put_state, put_text};
use crate::rrd::def::{ArchiveDef, Cf, DataSource, Definition, DsType, forecast, span_secs};
use crate::rrd::error::{DefinitionError, Error, ShapeError, TuneError};
use crate::rrd::file::{Rrd, archive_def, rows_start, version};
use crate::rrd::layout::{Layout, WORD, cdp_prep, ds_def, f64_at, pdp_prep, put, rra_def, stat_head, u64_at};
use crate::rrd::number::{UNKNOWN, leading_integer};
use crate::rrd::pdp::Pdp;
use crate::time::Step;

/// What `rrdtool tune` changes by its words: `DEL:name`, `DS:..`, `DELRRA:n`, `RRA:..` and `RRA#n:+k`, `-k` or `=k`.
#[derive(Debug, Default)]
pub(in crate::rrd) struct Shape {
    deleted: Vec<Vec<u8>>,
    sources: Vec<String>,
    archives: Vec<String>,
    /// What becomes of an archive; where two words are about the same one, the first counts.
    lengths: BTreeMap<usize, Length>,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Longer(u64),
    Shorter(u64),
    Exactly(u64),
}

impl Shape {
    pub(in crate::rrd) fn parse<A: AsRef<[u8]>>(words: &[A]) -> Result<Self, TuneError> {
        let mut shape = Self::default();
        for word in words {
            let word = word.as_ref();
            let text = || String::from_utf8_lossy(word).into_owned();
            let behind = |prefix: &[u8]| word.strip_prefix(prefix).filter(|rest| !rest.is_empty());
            if let Some(name) = behind(b"DEL:") {
                shape.deleted.push(name.to_owned());
            } else if behind(b"DS:").is_some() {
                shape.sources.push(text());
            } else if behind(b"RRA:").is_some() {
                shape.archives.push(text());
            } else if let Some(index) = behind(b"DELRRA:") {
                let index = whole(index).ok_or(ShapeError::Index)?;
                shape.lengths.entry(index).or_insert(Length::Exactly(0));
            } else if let Some(change) = behind(b"RRA#") {
                let (index, length) = parse_length(change)?;
                shape.lengths.entry(index).or_insert(length);
            } else {
                return Err(ShapeError::Word(text()).into());
            }
        }
        Ok(shape)
    }
}

/// Reads `n:+k`.
fn parse_length(text: &[u8]) -> Result<(usize, Length), ShapeError> {
    let colon = text.iter().position(|b| *b == b':').ok_or(ShapeError::Length)?;
    let index = whole(&text[..colon]).ok_or(ShapeError::Length)?;
    let (operation, rows) = text[colon + 1..].split_first().ok_or(ShapeError::Length)?;
    let rows = whole(rows).ok_or(ShapeError::Length)?;
    match operation {
        b'+' => Ok((index, Length::Longer(rows as u64))),
        b'-' => Ok((index, Length::Shorter(rows as u64))),
        b'=' => Ok((index, Length::Exactly(rows as u64))),
        other => Err(ShapeError::Operation(char::from(*other))),
    }
}

/// A number that fills the text. The original takes what is none for 0, and deletes the first archive.
fn whole(text: &[u8]) -> Option<usize> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    leading_integer(digits).filter(|_| is_number).and_then(|number| usize::try_from(number).ok())
}

/// The new file: what each part of it is, and where in the old one it comes from.
#[derive(Debug)]
pub(in crate::rrd) struct Plan<'a> {
    old: &'a Rrd<&'a [u8]>,
    bytes: &'a [u8],
    layout: Layout,
    step: Step,
    sources: Vec<(Option<usize>, DataSource)>,
    archives: Vec<(Option<usize>, ArchiveDef)>,
}

impl<'a> Plan<'a> {
    pub(in crate::rrd) fn new(
        old: &'a Rrd<&'a [u8]>,
        shape: &Shape,
        step: Option<Step>,
    ) -> Result<Self, Error> {
        let (bytes, old_layout) = (old.bytes(), old.layout());
        let factor = factor(old, step)?;
        let step = step.unwrap_or(old.step());
        let is_kept =
            |ds: &usize| !shape.deleted.iter().any(|name| name_of(bytes, old_layout, *ds) == name.as_slice());
        let kept: Vec<usize> = (0..old.ds_count()).filter(is_kept).collect();
        let rows = |rra: usize| new_rows(&archive_def(bytes, old_layout, rra), shape.lengths.get(&rra));
        let kept_archives: Vec<usize> = (0..old.rra_count()).filter(|rra| rows(*rra) > 0).collect();

        let mut definition =
            Definition { step, start: old.last_update(), data_sources: Vec::new(), archives: Vec::new() };
        definition.data_sources =
            kept.iter().map(|ds| kept_source(old, *ds, &kept)).collect::<Result<_, _>>()?;
        for rra in &kept_archives {
            let mut archive = archive_def(bytes, old_layout, *rra);
            (archive.rows, archive.pdp_per_row) = (rows(*rra), archive.pdp_per_row.saturating_mul(factor));
            check_dependency(&archive, *rra, &kept_archives)?;
            definition.archives.push(archive);
        }
        for text in &shape.sources {
            // Told before what is wrong with the rest of it.
            let name = text["DS:".len()..].split([':', '=']).next().unwrap_or_default();
            if definition.data_sources.iter().any(|source| source.name == name) {
                return Err(DefinitionError::DuplicateName(name.to_owned()).into());
            }
            definition.add(text)?;
        }
        shape.archives.iter().try_for_each(|text| definition.add(text))?;
        if definition.data_sources.is_empty() {
            return Err(TuneError::from(ShapeError::NoDataSource).into());
        }
        let cf_of = |other: usize| definition.archives.get(other).map(|archive| archive.cf);
        let first_new = kept_archives.len();
        let dangling = (first_new..definition.archives.len())
            .find(|index| !forecast::is_whole(&definition.archives[*index], cf_of));
        if let Some(index) = dangling {
            return Err(DefinitionError::Dependency(index).into());
        }

        let counts = [definition.data_sources.len() as u64, definition.archives.len() as u64];
        let layout = Layout::new(counts[0], counts[1], version(bytes), isize::MAX as u64)
            .map_err(|_| DefinitionError::TooLarge(u64::MAX))?;
        let with_origin = |kept: Vec<usize>| kept.into_iter().map(Some).chain(std::iter::repeat(None));
        let plan = Self {
            old,
            bytes,
            layout,
            step,
            sources: with_origin(kept).zip(definition.data_sources).collect(),
            archives: with_origin(kept_archives).zip(definition.archives).collect(),
        };
        plan.check_size()?;
        Ok(plan)
    }

    /// The bytes of the whole file.
    pub(in crate::rrd) fn len(&self) -> u64 {
        let rows: u64 = self.archives.iter().map(|(_, archive)| archive.rows).sum();
        self.layout.header_len() as u64 + rows * self.layout.row_len() as u64
    }

    /// Writes it; `name` is the file's, as it was typed.
    pub(in crate::rrd) fn write(&self, name: &[u8], out: &mut impl Write) -> io::Result<()> {
        let mut header = vec![0; self.layout.header_len()];
        self.put_header(&mut header, name);
        out.write_all(&header)?;
        (0..self.archives.len()).try_for_each(|archive| self.write_rows(archive, out))
    }

    /// Whether the sum of all rows fits a file.
    fn check_size(&self) -> Result<(), Error> {
        let step = u64::from(self.step.secs());
        let mut len = self.layout.header_len();
        for (_, archive) in &self.archives {
            let (pdp_per_row, rows) = (archive.pdp_per_row, archive.rows);
            span_secs(step, pdp_per_row, rows).ok_or(DefinitionError::TooLong { step, pdp_per_row, rows })?;
            len = usize::try_from(rows)
                .ok()
                .and_then(|rows| rows.checked_mul(self.layout.row_len()))
                .and_then(|rows| len.checked_add(rows))
                .filter(|len| isize::try_from(*len).is_ok())
                .ok_or(DefinitionError::TooLarge(u64::MAX))?;
        }
        Ok(())
    }

    fn put_header(&self, bytes: &mut [u8], name: &[u8]) {
        let (old, layout) = (self.old.layout(), self.layout);
        let last = self.old.last_update().secs();
        bytes[..stat_head::LEN].copy_from_slice(&self.bytes[..stat_head::LEN]);
        put(bytes, stat_head::DS_COUNT, (self.sources.len() as u64).to_le_bytes());
        put(bytes, stat_head::RRA_COUNT, (self.archives.len() as u64).to_le_bytes());
        put(bytes, stat_head::STEP, u64::from(self.step.secs()).to_le_bytes());
        let live = &self.bytes[old.live_head()..old.pdp_prep(0)];
        bytes[layout.live_head()..layout.pdp_prep(0)].copy_from_slice(live);

        for (ds, (origin, source)) in self.sources.iter().enumerate() {
            let (def, prep) = (layout.ds_def(ds), layout.pdp_prep(ds));
            let Some(origin) = *origin else {
                put_ds(&mut bytes[def..], source);
                put_text(&mut bytes[prep + pdp_prep::LAST_DS..], "U");
                let unknown_secs = (last % i64::from(self.step.secs())) as u64;
                Pdp { unknown_secs, value: 0.0 }.write(&mut bytes[prep..]);
                continue;
            };
            bytes[def..][..ds_def::LEN].copy_from_slice(&self.bytes[old.ds_def(origin)..][..ds_def::LEN]);
            if let DsType::Compute(rpn) = &source.ds_type {
                rpn.write(&mut bytes[def + ds_def::HEARTBEAT..]);
            }
            bytes[prep..][..pdp_prep::LEN]
                .copy_from_slice(&self.bytes[old.pdp_prep(origin)..][..pdp_prep::LEN]);
            if self.step != self.old.step() {
                self.open_pdp(origin).now.write(&mut bytes[prep..]);
            }
        }
        for (rra, (origin, archive)) in self.archives.iter().enumerate() {
            let def = &mut bytes[layout.rra_def(rra)..][..rra_def::LEN];
            match *origin {
                Some(origin) => self.put_kept_archive(def, origin, archive),
                None => put_rra(def, archive, name),
            }
            for ds in 0..self.sources.len() {
                let prep = &mut bytes[layout.cdp_prep(rra, ds)..][..cdp_prep::LEN];
                self.put_open_point(prep, rra, ds);
            }
            put(bytes, layout.rra_ptr(rra), (archive.rows - 1).to_le_bytes());
        }
    }

    fn put_kept_archive(&self, def: &mut [u8], origin: usize, archive: &ArchiveDef) {
        def.copy_from_slice(&self.bytes[self.old.layout().rra_def(origin)..][..rra_def::LEN]);
        put(def, rra_def::ROWS, archive.rows.to_le_bytes());
        put(def, rra_def::PDP_PER_ROW, archive.pdp_per_row.to_le_bytes());
        if let Some(forecast) = &archive.forecast {
            // The archive that it works with is kept too, and only its index is another.
            if let Some(index) = self.new_index(forecast.dependency()) {
                put(def, rra_def::DEPENDENCY, (index as u64).to_le_bytes());
            }
        }
    }

    /// Where an archive of the old file is now.
    fn new_index(&self, origin: u64) -> Option<usize> {
        self.archives.iter().position(|(from, _)| from.is_some_and(|from| from as u64 == origin))
    }

    fn put_open_point(&self, prep: &mut [u8], rra: usize, ds: usize) {
        let ((rra_origin, archive), (ds_origin, _)) = (&self.archives[rra], &self.sources[ds]);
        let last = self.old.last_update().secs();
        let step = i64::from(self.step.secs());
        match (*rra_origin, *ds_origin) {
            (Some(rra), Some(ds)) => {
                prep.copy_from_slice(&self.bytes[self.old.layout().cdp_prep(rra, ds)..][..cdp_prep::LEN]);
                if self.step != self.old.step() {
                    self.finer(Cdp::read(prep), rra, archive, ds).write(prep);
                }
            }
            (None, Some(ds)) if !archive.cf.is_forecast() => {
                let sources = Sources::of(self.old, self.bytes, archive.cf);
                sources.open_point(archive, step, ds, last).write(prep);
            }
            _ => match archive.cf {
                Cf::Failures => {}
                Cf::HwPredict | Cf::MhwPredict | Cf::Seasonal | Cf::DevSeasonal => {
                    put_state(prep, archive.cf)
                }
                _ => {
                    let row_secs = step * archive.pdp_per_row as i64;
                    Cdp::new((last % row_secs / step) as u64).write(prep);
                }
            },
        }
    }

    /// The open primary data point of a data source, cut by the new step.
    fn open_pdp(&self, ds: usize) -> Cut {
        let old = Pdp::read(&self.bytes[self.old.layout().pdp_prep(ds)..]);
        let (last, step) = (self.old.last_update(), i64::from(self.step.secs()));
        let open_secs = last.secs() % i64::from(self.old.step().secs());
        let now_open = last.secs() % step;
        let ended = ((open_secs - now_open) / step) as u64;
        let unknown = old.unknown_secs.min(open_secs as u64);
        let known = open_secs as f64 + f64::from(last.subsec_micros()) / 1e6 - unknown as f64;
        let rate = old.value / known;
        if !rate.is_finite() {
            return Cut { ended, value: UNKNOWN, now: Pdp { unknown_secs: now_open as u64, value: UNKNOWN } };
        }
        // What is unknown is spread evenly: where in the old step it lay nobody knows.
        let unknown_secs = unknown * now_open as u64 / (open_secs as u64).max(1);
        let value = rate * (now_open as f64 + f64::from(last.subsec_micros()) / 1e6 - unknown_secs as f64);
        Cut { ended, value: rate, now: Pdp { unknown_secs, value } }
    }

    /// An open data point that counts in the new step, which divides the old one.
    fn finer(&self, old: Cdp, rra: usize, archive: &ArchiveDef, ds: usize) -> Cdp {
        let (old_step, step) = (u64::from(self.old.step().secs()), u64::from(self.step.secs()));
        let factor = old_step / step;
        let was_single = archive_def(self.bytes, self.old.layout(), rra).pdp_per_row == 1;
        let mut cdp = old;
        if was_single {
            (cdp.value, cdp.unknown_pdps) = (UNKNOWN, 0);
        } else {
            cdp.unknown_pdps = cdp.unknown_pdps.saturating_mul(factor);
            if archive.cf == Cf::Average {
                cdp.value *= factor as f64;
            }
        }
        let cut = self.open_pdp(ds);
        if cut.ended == 0 {
            return cdp;
        }
        let last = self.old.last_update().secs() as u64;
        let due = Due::new(archive, (last - last % old_step) / step, cut.ended);
        cdp.consolidate(archive, due, cut.value, cut.ended)
    }

    fn write_rows(&self, rra: usize, out: &mut impl Write) -> io::Result<()> {
        let (origin, archive) = &self.archives[rra];
        let (old_layout, row_len) = (self.old.layout(), self.old.layout().row_len());
        let row_secs = i64::from(self.step.secs()) * archive.pdp_per_row as i64;
        let last = self.old.last_update().secs();
        let newest = last - last % row_secs;
        let sources = Sources::of(self.old, self.bytes, archive.cf);
        // The rows of a forecast are no consolidation of anything.
        let fill = |ds, end| match archive.cf.is_forecast() {
            true => UNKNOWN,
            false => sources.value(ds, end - row_secs, end),
        };
        let own = origin.map(|origin| {
            let rows = archive_def(self.bytes, old_layout, origin).rows;
            let cur_row = u64_at(self.bytes, old_layout.rra_ptr(origin));
            (rows, cur_row, rows_start(self.bytes, old_layout, origin))
        });
        for age in (0..archive.rows).rev() {
            let there = own.filter(|(rows, ..)| age < *rows);
            let there = there
                .map(|(rows, cur_row, start)| start + ((cur_row + rows - age) % rows) as usize * row_len);
            let end = newest - age as i64 * row_secs;
            for (origin, _) in &self.sources {
                let value = match (*origin, there) {
                    (None, _) => UNKNOWN,
                    (Some(ds), Some(row)) => f64_at(self.bytes, row + ds * WORD),
                    (Some(ds), None) => fill(ds, end),
                };
                out.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    }
}

/// An open primary data point that was cut by a shorter step.
struct Cut {
    /// The new steps that ended in it.
    ended: u64,
    /// Their value.
    value: f64,
    /// What is still open.
    now: Pdp,
}

/// How many of the new steps make an old one.
fn factor(old: &Rrd<&[u8]>, step: Option<Step>) -> Result<u64, TuneError> {
    let Some(step) = step else { return Ok(1) };
    let (old_secs, secs) = (old.step().secs(), step.secs());
    if secs >= old_secs || old_secs % secs != 0 {
        return Err(ShapeError::Step.into());
    }
    if old.archives().any(|archive| archive.cf.is_forecast()) {
        return Err(ShapeError::StepOfForecasts.into());
    }
    Ok(u64::from(old_secs / secs))
}

fn new_rows(archive: &ArchiveDef, change: Option<&Length>) -> u64 {
    match change {
        None => archive.rows,
        Some(Length::Longer(by)) => archive.rows.saturating_add(*by),
        Some(Length::Shorter(by)) => archive.rows.saturating_sub(*by),
        Some(Length::Exactly(rows)) => *rows,
    }
}

/// The definition of a data source that stays; the original leaves an expression the indexes that were.
fn kept_source(old: &Rrd<&[u8]>, ds: usize, kept: &[usize]) -> Result<DataSource, TuneError> {
    let name = |ds| String::from_utf8_lossy(name_of(old.bytes(), old.layout(), ds)).into_owned();
    let mut ds_type = old.data_sources().nth(ds).map_or(DsType::Gauge, |source| source.ds_type);
    if let DsType::Compute(rpn) = ds_type {
        let rpn = rpn
            .with_sources(|source| kept.iter().position(|kept| *kept == source))
            .map_err(|gone| ShapeError::NeededSource { name: name(gone), by: name(ds) })?;
        ds_type = DsType::Compute(rpn);
    }
    Ok(DataSource { name: name(ds), ds_type, heartbeat: 0, min: UNKNOWN, max: UNKNOWN })
}

/// Whether the archive that a forecast works with stays.
fn check_dependency(archive: &ArchiveDef, index: usize, kept: &[usize]) -> Result<(), TuneError> {
    match archive.forecast.map(|forecast| forecast.dependency()) {
        Some(needed) if !kept.iter().any(|kept| *kept as u64 == needed) => {
            Err(ShapeError::NeededArchive { needed, by: index, cf: archive.cf.name() }.into())
        }
        _ => Ok(()),
    }
}
