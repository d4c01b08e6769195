//! Updates: from readings to a list of changes of the file.
//!
//! An [`Updater`] works on its own copy of the live part of the header. Everything in one argument is read and judged
//! before anything of it is computed, so an argument that fails leaves no trace, where the original has by then
//! overwritten some last readings. [`Updater::apply`] is the one place that stores what changed.

mod forecast;

use std::convert::Infallible;
use std::ops::Range;

use crate::rrd::cdp::{Cdp, Due};
use crate::rrd::def::{ArchiveDef, Cf, DsType, Forecast, LATEST_SECS};
use crate::rrd::error::{TemplateError, UpdateError};
use crate::rrd::file::{DsDef, Rrd, archive_def, last_ds_at, last_update_at};
use crate::rrd::layout::{
    LAST_DS_LEN, Layout, WORD, cdp_prep, f64_at, live_head, pdp_prep, put, stat_head, u64_at,
};
use crate::rrd::pdp::{Pdp, Timing};
use crate::rrd::reading::{Reading, at_time, lossy, plain_time, write_short};
use crate::rrd::rpn::Stack;
use crate::time::{Step, UnixTime};

impl<B: AsRef<[u8]> + AsMut<[u8]>> Rrd<B> {
    /// Adds a reading of every data source that takes one to the bytes, as [`crate::rrd::File::update`] does to a file.
    pub fn update(&mut self, stamp: UnixTime, values: &[f64]) -> Result<(), UpdateError> {
        self.change(|updater, header, layout| updater.take_values(header, layout, stamp, values))
    }

    /// Adds one argument of `rrdtool update` to the bytes; `now` is what `N` and relative times mean.
    pub fn update_text(&mut self, argument: &[u8], now: UnixTime) -> Result<(), UpdateError> {
        let options = Options { template: None, skip_past: false, now };
        self.change(|updater, header, layout| updater.take_text(header, layout, argument, &options))
    }

    fn change(
        &mut self,
        take: impl FnOnce(&mut Updater, &[u8], Layout) -> Result<(), UpdateError>,
    ) -> Result<(), UpdateError> {
        let layout = self.layout();
        let mut updater = Updater::default();
        updater.begin(self.bytes(), layout);
        take(&mut updater, self.bytes(), layout)?;
        let Ok(()) = updater.apply(layout, store_in(self.bytes_mut()));
        updater.smooth(self.bytes_mut(), layout);
        Ok(())
    }
}

/// Where changes go that are stored in memory; the check has bounded every offset.
pub(super) fn store_in(bytes: &mut [u8]) -> impl FnMut(u64, &[u8]) -> Result<(), Infallible> {
    |offset, changed| {
        bytes[offset as usize..][..changed.len()].copy_from_slice(changed);
        Ok(())
    }
}

/// Turns readings into changes. Its buffers live on from one update to the next.
#[derive(Debug, Default)]
pub(super) struct Updater {
    /// The live part of the header as it will be.
    live: Vec<u8>,
    changed: bool,
    /// The rows that will be written, one after the other, and where each run of them goes.
    rows: Vec<u8>,
    runs: Vec<(u64, Range<usize>)>,
    /// The readings of one argument as text, and which part of it is whose.
    texts: Vec<u8>,
    text_of: Vec<Range<usize>>,
    growths: Vec<f64>,
    pdps: Vec<f64>,
    /// The data sources that take readings.
    inputs: Vec<usize>,
    stack: Stack,
    /// The definitions: a header is begun with once for many updates.
    data_sources: Vec<DsDef>,
    archives: Vec<ArchiveDef>,
    has_forecasts: bool,
    smoothing_due: bool,
    /// The live part before an argument that can still fail while it is computed.
    before: Vec<u8>,
    /// The rows that were written, where somebody wants to be told.
    written: Option<Vec<WrittenRow>>,
}

/// A row that an update wrote, as `rrdtool updatev` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenRow {
    /// Its end. Of the rows that one update adds to an archive, the original tells the second and all later ones one row
    /// too late, and so do we.
    pub time: UnixTime,
    /// The function of its archive.
    pub cf: Cf,
    /// Primary data points of it.
    pub pdp_per_row: u64,
    /// A value per data source.
    pub values: Vec<f64>,
}

const MICROS_PER_SEC: i64 = 1_000_000;

/// Rows that wait to be stored are not let grow beyond this.
const FULL: usize = 1 << 20;

/// What is kept of their buffer. The rows of a long gap can be a whole archive, and a monitor has hundreds of files open.
const KEPT: usize = 1 << 16;

/// Which data source each value of an argument is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<usize>);

impl Template {
    /// Reads `name:name:..`.
    pub(super) fn parse<B: AsRef<[u8]>>(text: &[u8], rrd: &Rrd<B>) -> Result<Self, TemplateError> {
        let mut indexes = Vec::new();
        for name in text.split(|b| *b == b':') {
            if indexes.len() == rrd.ds_count() {
                return Err(TemplateError::TooMany);
            }
            let index = rrd
                .data_sources()
                .position(|ds| ds.name.as_bytes() == name)
                .ok_or_else(|| TemplateError::UnknownName(lossy(name)))?;
            indexes.push(index);
        }
        Ok(Self(indexes))
    }
}

impl Updater {
    /// Starts from the file as it is now.
    pub(super) fn begin(&mut self, header: &[u8], layout: Layout) {
        self.live.clear();
        self.live.extend_from_slice(&header[layout.live_head()..layout.header_len()]);
        self.rows.clear();
        self.runs.clear();
        self.changed = false;
        self.smoothing_due = false;
        self.archives.clear();
        self.archives.extend((0..layout.rra_count).map(|rra| archive_def(header, layout, rra)));
        self.has_forecasts = self.archives.iter().any(|archive| archive.forecast.is_some());
        self.data_sources.clear();
        self.data_sources.extend((0..layout.ds_count).map(|ds| DsDef::read(header, layout, ds)));
        self.inputs.clear();
        let takes_readings = |ds: &usize| !matches!(self.data_sources[*ds].ds_type, DsType::Compute(_));
        self.inputs.extend((0..layout.ds_count).filter(takes_readings));
    }

    /// Whether some archives are forecasts: what is then handed over as the header must be the whole file.
    pub(super) fn has_forecasts(&self) -> bool {
        self.has_forecasts
    }

    /// Takes one update with a value per data source that takes one, in the file's order; NaN is unknown.
    pub(super) fn take_values(
        &mut self,
        header: &[u8],
        layout: Layout,
        stamp: UnixTime,
        values: &[f64],
    ) -> Result<(), UpdateError> {
        let wanted = self.inputs.len();
        if values.len() < wanted {
            let time = stamp.secs().to_string();
            return Err(UpdateError::FewReadings { wanted, got: values.len(), time });
        }
        if let Some(extra) = values.get(wanted) {
            return Err(UpdateError::ExtraReadings(extra.to_string()));
        }
        self.clear_texts(layout);
        for (ds, value) in self.inputs.iter().zip(values) {
            let start = self.texts.len();
            write_short(&mut self.texts, *value);
            self.text_of[*ds] = start..self.texts.len();
        }
        let (secs, micros) = (stamp.secs(), if layout.has_micros() { stamp.subsec_micros() } else { 0 });
        self.judge_time(layout, secs, micros)?;
        let stamp = UnixTime::from_micros(secs * MICROS_PER_SEC + i64::from(micros));
        self.take(header, layout, stamp, Some(values), stamp)
    }

    /// Takes one argument of `rrdtool update`.
    pub(super) fn take_text(
        &mut self,
        header: &[u8],
        layout: Layout,
        argument: &[u8],
        options: &Options<'_>,
    ) -> Result<(), UpdateError> {
        let at = argument.iter().position(|b| *b == b'@');
        let end = at.or_else(|| argument.iter().position(|b| *b == b':'));
        let end = end.ok_or_else(|| UpdateError::NoTimestamp(lossy(argument)))?;
        let (time, readings) = (&argument[..end], &argument[end + 1..]);
        self.split_readings(layout, time, readings, options.template)?;
        let (secs, micros) =
            if at.is_some() { at_time(time, options.now)? } else { plain_time(time, options.now)? };
        let micros = if layout.has_micros() { micros } else { 0 };
        match self.judge_time(layout, secs, micros) {
            Err(UpdateError::Illegal { .. }) if options.skip_past => return Ok(()),
            judged => judged?,
        }
        let stamp = UnixTime::from_micros(secs * MICROS_PER_SEC + i64::from(micros));
        self.take(header, layout, stamp, None, options.now)
    }

    /// Notes the rows that are written from now on.
    pub(super) fn watch(&mut self) {
        self.written = Some(Vec::new());
    }

    /// The rows that were noted.
    pub(super) fn take_written(&mut self) -> Vec<WrittenRow> {
        self.written.take().unwrap_or_default()
    }

    /// Whether the rows should be stored before more are taken.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= FULL
    }

    /// The live part of the header as it will be.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// The last update as it will be.
    pub(super) fn last_update(&self, layout: Layout) -> UnixTime {
        last_update_at(&self.live, layout)
    }

    /// The rows that wait to be stored, and where each run of them goes.
    pub(super) fn waiting_rows(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|(offset, range)| (*offset, &self.rows[range.clone()]))
    }

    /// Stores what changed: the rows, then the live part of the header.
    pub(super) fn apply<E>(
        &mut self,
        layout: Layout,
        mut store: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (offset, range) in self.runs.drain(..) {
            store(offset, &self.rows[range])?;
        }
        self.rows.clear();
        self.rows.shrink_to(KEPT);
        if std::mem::take(&mut self.changed) {
            store(layout.live_head() as u64, &self.live)?;
        }
        Ok(())
    }

    /// Sorts the readings by data source; those that are not named are unknown.
    fn split_readings(
        &mut self,
        layout: Layout,
        time: &[u8],
        readings: &[u8],
        template: Option<&Template>,
    ) -> Result<(), UpdateError> {
        self.clear_texts(layout);
        self.texts.extend_from_slice(readings);
        let indexes = template.map_or(&self.inputs, |Template(indexes)| indexes);
        let wanted = indexes.len();
        let (mut start, mut got) = (0, 0);
        for reading in readings.split(|b| *b == b':') {
            // A file that takes no readings at all cannot be updated: there always is one, and it is one too many.
            if got == wanted.max(1) {
                return Err(UpdateError::ExtraReadings(lossy(&readings[start..])));
            }
            if let Some(ds) = indexes.get(got) {
                self.text_of[*ds] = start + 1..start + 1 + reading.len();
            }
            start += reading.len() + 1;
            got += 1;
        }
        if got != wanted {
            return Err(UpdateError::FewReadings { wanted, got, time: lossy(time) });
        }
        Ok(())
    }

    /// So that every reading is unknown.
    fn clear_texts(&mut self, layout: Layout) {
        self.texts.clear();
        self.texts.push(b'U');
        self.text_of.clear();
        self.text_of.resize(layout.ds_count, 0..1);
    }

    fn judge_time(&self, layout: Layout, secs: i64, micros: u32) -> Result<(), UpdateError> {
        let last = last_update_at(&self.live, layout);
        if (secs, micros) <= (last.secs(), last.subsec_micros()) {
            return Err(UpdateError::Illegal { time: secs, last: last.secs() });
        }
        if secs > LATEST_SECS {
            return Err(UpdateError::Future(secs));
        }
        Ok(())
    }

    /// Takes the readings that were sorted; nothing changes before all of them were read.
    fn take(
        &mut self,
        header: &[u8],
        layout: Layout,
        stamp: UnixTime,
        values: Option<&[f64]>,
        now: UnixTime,
    ) -> Result<(), UpdateError> {
        let step = step_of(header);
        let timing = Timing::between(last_update_at(&self.live, layout), stamp, step);
        self.read_growths(layout, &timing, values)?;
        let can_fail = self.inputs.len() < layout.ds_count;
        if can_fail {
            self.before.clone_from(&self.live);
        }
        for ds in 0..layout.ds_count {
            let range = self.prep_range(layout, ds);
            put_last_ds(&mut self.live[range], &self.texts[self.text_of[ds].clone()]);
        }
        if timing.elapsed == 0 {
            self.accumulate(layout, &timing);
        } else {
            let rows = self.rows.len();
            let written = self.written.as_ref().map_or(0, Vec::len);
            let closed = self.close_steps(header, layout, timing, step, now);
            closed.inspect_err(|_| self.roll_back(rows, written))?;
        }
        put(&mut self.live, live_head::SECS, stamp.secs().to_le_bytes());
        if layout.has_micros() {
            put(&mut self.live, live_head::MICROS, i64::from(stamp.subsec_micros()).to_le_bytes());
        }
        self.changed = true;
        Ok(())
    }

    fn read_growths(
        &mut self,
        layout: Layout,
        timing: &Timing,
        values: Option<&[f64]>,
    ) -> Result<(), UpdateError> {
        self.growths.clear();
        let mut inputs = 0;
        for ds in 0..layout.ds_count {
            let is_input = self.inputs.get(inputs) == Some(&ds);
            let reading = Reading {
                text: &self.texts[self.text_of[ds].clone()],
                value: values.filter(|_| is_input).map(|values| values[inputs]),
                last: last_ds_at(&self.live[self.prep_range(layout, ds)]),
            };
            inputs += usize::from(is_input);
            self.growths.push(reading.growth(&self.data_sources[ds], timing.interval)?);
        }
        Ok(())
    }

    /// Takes back what an argument did that failed while it was computed; `rows` and `written` are how much was there
    /// before it.
    fn roll_back(&mut self, rows: usize, written: usize) {
        if let Some(noted) = &mut self.written {
            noted.truncate(written);
        }
        self.live.clone_from(&self.before);
        self.rows.truncate(rows);
        self.runs.retain(|(_, range)| range.start < rows);
        if let Some((_, range)) = self.runs.last_mut() {
            range.end = range.end.min(rows);
        }
    }

    fn accumulate(&mut self, layout: Layout, timing: &Timing) {
        for ds in 0..layout.ds_count {
            let range = self.prep_range(layout, ds);
            let prep = &mut self.live[range];
            Pdp::read(prep).accumulate(self.growths[ds], timing).write(prep);
        }
    }

    fn close_steps(
        &mut self,
        header: &[u8],
        layout: Layout,
        timing: Timing,
        step: Step,
        now: UnixTime,
    ) -> Result<(), UpdateError> {
        let mut timing = timing;
        if let Some((secs, first, rest)) = timing.split(step) {
            let whole = timing.interval;
            let until = last_update_at(&self.live, layout).secs() as u64 + secs as u64;
            self.close_points(layout, &first, step, now, |growth| {
                let share = *growth * secs / whole;
                *growth -= share;
                share
            })?;
            self.close_rows(header, layout, &first, step, until);
            timing = rest;
        }
        let until = (timing.first_pdp + timing.elapsed) * u64::from(step.secs());
        self.close_points(layout, &timing, step, now, |growth| *growth)?;
        self.close_rows(header, layout, &timing, step, until);
        Ok(())
    }

    /// Closes the steps of `timing`; `share` says how much of each data source's growth belongs to it.
    fn close_points(
        &mut self,
        layout: Layout,
        timing: &Timing,
        step: Step,
        now: UnixTime,
        share: impl Fn(&mut f64) -> f64,
    ) -> Result<(), UpdateError> {
        self.pdps.clear();
        for ds in 0..layout.ds_count {
            let def = &self.data_sources[ds];
            let range = self.prep_range(layout, ds);
            let prep = &mut self.live[range];
            let (pdp, open) =
                Pdp::read(prep).close(share(&mut self.growths[ds]), timing, step, def.heartbeat);
            open.write(prep);
            let pdp = match &def.ds_type {
                DsType::Compute(rpn) => self.stack.evaluate(rpn, &self.pdps, now.secs())?,
                _ => pdp,
            };
            self.pdps.push(pdp);
        }
        Ok(())
    }

    /// Adds the closed steps to every archive. `until` is where they end, as it is told to who watches: of a split step
    /// the original counts whole seconds from the last update, and so falls short of it when that has a fraction.
    fn close_rows(&mut self, header: &[u8], layout: Layout, timing: &Timing, step: Step, until: u64) {
        let mut rows_start = layout.header_len() as u64;
        for rra in 0..layout.rra_count {
            let def = self.archives[rra];
            if def.forecast.is_none() {
                self.consolidate(layout, rra, &def, timing);
            } else {
                self.begin_forecast(header, layout, rra, timing.elapsed, rows_start);
            }
            rows_start += def.rows * layout.row_len() as u64;
        }
        if self.has_forecasts {
            self.forecast(header, layout, timing);
        }
        let mut rows_start = layout.header_len() as u64;
        for rra in 0..layout.rra_count {
            let def = self.archives[rra];
            let first_new = self.rows.len();
            let due = Due::new(&def, timing.first_pdp, timing.elapsed);
            self.write_rows(layout, rra, &def, due, rows_start);
            self.note_rows(first_new, layout, &def, until, step);
            rows_start += def.rows * layout.row_len() as u64;
        }
    }

    fn consolidate(&mut self, layout: Layout, rra: usize, def: &ArchiveDef, timing: &Timing) {
        let due = Due::new(def, timing.first_pdp, timing.elapsed);
        let first_prep = layout.cdp_prep(rra, 0) - layout.live_head();
        for (prep, pdp) in self.live[first_prep..].chunks_exact_mut(cdp_prep::LEN).zip(&self.pdps) {
            Cdp::read(prep).consolidate(def, due, *pdp, timing.elapsed).write(prep);
        }
    }

    fn write_rows(&mut self, layout: Layout, rra: usize, def: &ArchiveDef, due: Due, rows_start: u64) {
        if due.rows == 0 {
            return;
        }
        let first_prep = layout.cdp_prep(rra, 0) - layout.live_head();
        let pointer = layout.rra_ptr(rra) - layout.live_head();
        let mut row = u64_at(&self.live, pointer);
        let only_moves = due.rows > 1 && matches!(def.forecast, Some(Forecast::Seasonal { .. }));
        if only_moves {
            row = (row + due.rows) % def.rows;
            put(&mut self.live, pointer, row.to_le_bytes());
            return;
        }
        for written in 0..due.rows {
            row = if row + 1 >= def.rows { 0 } else { row + 1 };
            let value_at = if written == 0 { cdp_prep::PRIMARY } else { cdp_prep::SECONDARY };
            let start = self.rows.len();
            for ds in 0..layout.ds_count {
                let at = first_prep + ds * cdp_prep::LEN + value_at;
                self.rows.extend_from_slice(&self.live[at..at + WORD]);
            }
            self.add_run(rows_start + row * layout.row_len() as u64, start);
        }
        put(&mut self.live, pointer, row.to_le_bytes());
    }

    /// Notes the rows that one archive gained from `first_new` on, when somebody watches.
    fn note_rows(&mut self, first_new: usize, layout: Layout, def: &ArchiveDef, until: u64, step: Step) {
        let Some(written) = &mut self.written else { return };
        let row_secs = def.pdp_per_row * u64::from(step.secs());
        let newest = until - until % row_secs;
        let rows = self.rows[first_new..].chunks_exact(layout.row_len());
        let oldest = newest as i64 - (rows.len() as i64 - 1) * row_secs as i64;
        for (number, row) in (0..).zip(rows) {
            let rows_later = if number == 0 { 0 } else { number + 1 };
            let time = oldest + rows_later * row_secs as i64;
            written.push(WrittenRow {
                time: UnixTime::from_secs(time),
                cf: def.cf,
                pdp_per_row: def.pdp_per_row,
                values: row.chunks_exact(WORD).map(|word| f64_at(word, 0)).collect(),
            });
        }
    }

    /// Notes that the rows from `start` on go to `offset`; joined to the run before where they follow it.
    fn add_run(&mut self, offset: u64, start: usize) {
        let end = self.rows.len();
        match self.runs.last_mut() {
            Some((before, range)) if *before + range.len() as u64 == offset && range.end == start => {
                range.end = end
            }
            _ => self.runs.push((offset, start..end)),
        }
    }

    /// Where the `pdp_prep` of a data source stands in the live part.
    fn prep_range(&self, layout: Layout, ds: usize) -> Range<usize> {
        let start = layout.pdp_prep(ds) - layout.live_head();
        start..start + pdp_prep::LEN
    }
}

/// How the arguments of an update are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    pub(super) template: Option<&'a Template>,
    pub(super) skip_past: bool,
    pub(super) now: UnixTime,
}

fn step_of(header: &[u8]) -> Step {
    // The check has seen a step of 1 to 2^32 - 1.
    u32::try_from(u64_at(header, stat_head::STEP))
        .ok()
        .and_then(Step::new)
        .unwrap_or(const { Step::new(1).expect("1 is not 0") })
}

fn put_last_ds(prep: &mut [u8], text: &[u8]) {
    let field = &mut prep[pdp_prep::LAST_DS..][..LAST_DS_LEN];
    let text = &text[..text.len().min(LAST_DS_LEN - 1)];
    field.fill(0);
    field[..text.len()].copy_from_slice(text);
}
