//! Updates: from readings to a list of changes of the file.
//!
//! An [`Updater`] works on its own copy of the live part of the header. Everything in one argument is read and judged
//! before anything of it is computed, so an argument that fails leaves no trace, where the original has by then
//! overwritten some last readings. [`Updater::apply`] is the one place that stores what changed.

mod forecast;
mod open_row;
mod waiting;

use std::convert::Infallible;
use std::ops::Range;

use crate::rrd::cdp::Cdp;
use crate::rrd::def::{ArchiveDef, Cf, DsType, Forecast, LATEST_SECS};
use crate::rrd::error::{TemplateError, UpdateError};
use crate::rrd::file::{DsDef, Rrd, archive_def, last_update_at};
use crate::rrd::layout::{
    LAST_DS_LEN, Layout, WORD, bytes_at, cdp_prep, f64_at, live_head, pdp_prep, put, stat_head, u64_at,
};
use crate::rrd::pdp::{Pdp, Timing};
use crate::rrd::reading::{Reading, at_time, lossy, plain_time, write_short};
use crate::rrd::rpn::Stack;
use crate::rrd::update::open_row::OpenRow;
use crate::rrd::update::waiting::Waiting;
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
    waiting: Waiting,
    /// Which part of the readings' texts is whose; without one a reading is unknown.
    text_of: Vec<Option<Range<usize>>>,
    /// The texts of readings that came as values.
    texts: Vec<u8>,
    growths: Vec<f64>,
    pdps: Vec<f64>,
    /// The data sources that take readings.
    inputs: Vec<usize>,
    stack: Stack,
    /// The definitions: a header is begun with once for many updates.
    data_sources: Vec<DsDef>,
    archives: Vec<ArchiveDef>,
    open_rows: Vec<OpenRow>,
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

/// The readings of one update.
#[derive(Clone, Copy)]
struct Readings<'a> {
    /// Their texts, of which [`Updater::text_of`] knows the parts.
    texts: &'a [u8],
    /// The values themselves, where they did not come as text: one for each data source that takes readings.
    values: Option<&'a [f64]>,
}

impl<'a> Readings<'a> {
    fn text(&self, part: &Option<Range<usize>>) -> &'a [u8] {
        part.clone().map_or(b"U", |range| &self.texts[range])
    }
}

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
        self.waiting.clear();
        self.changed = false;
        self.smoothing_due = false;
        self.archives.clear();
        self.archives.extend((0..layout.rra_count).map(|rra| archive_def(header, layout, rra)));
        self.open_rows.clear();
        self.open_rows.resize(layout.rra_count, OpenRow::default());
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
        self.forget_texts(layout);
        let mut texts = std::mem::take(&mut self.texts);
        texts.clear();
        for (ds, value) in self.inputs.iter().zip(values) {
            let start = texts.len();
            write_short(&mut texts, *value);
            self.text_of[*ds] = Some(start..texts.len());
        }
        let (secs, micros) = (stamp.secs(), if layout.has_micros() { stamp.subsec_micros() } else { 0 });
        self.judge_time(layout, secs, micros)?;
        let stamp = UnixTime::from_micros(secs * MICROS_PER_SEC + i64::from(micros));
        let readings = Readings { texts: &texts, values: Some(values) };
        let taken = self.take(header, layout, stamp, readings, stamp);
        self.texts = texts;
        taken
    }

    /// Takes one argument of `rrdtool update`.
    pub(super) fn take_text(
        &mut self,
        header: &[u8],
        layout: Layout,
        argument: &[u8],
        options: &Options<'_>,
    ) -> Result<(), UpdateError> {
        // Few have one, and `contains` looks at words, where `position` looks at bytes.
        let has_at = argument.contains(&b'@');
        let end = argument.iter().position(|b| *b == if has_at { b'@' } else { b':' });
        let end = end.ok_or_else(|| UpdateError::NoTimestamp(lossy(argument)))?;
        let (time, readings) = (&argument[..end], &argument[end + 1..]);
        self.split_readings(layout, time, readings, options.template)?;
        let (secs, micros) =
            if has_at { at_time(time, options.now)? } else { plain_time(time, options.now)? };
        let micros = if layout.has_micros() { micros } else { 0 };
        match self.judge_time(layout, secs, micros) {
            Err(UpdateError::Illegal { .. }) if options.skip_past => return Ok(()),
            judged => judged?,
        }
        let stamp = UnixTime::from_micros(secs * MICROS_PER_SEC + i64::from(micros));
        self.take(header, layout, stamp, Readings { texts: readings, values: None }, options.now)
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
        self.waiting.is_full()
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
        self.waiting.runs()
    }

    /// Stores what changed: the rows, then the live part of the header.
    pub(super) fn apply<E>(
        &mut self,
        layout: Layout,
        mut store: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let stored = self.waiting.runs().try_for_each(|(offset, rows)| store(offset, rows));
        self.waiting.clear();
        stored?;
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
        self.forget_texts(layout);
        let indexes = template.map_or(&self.inputs, |Template(indexes)| indexes);
        let wanted = indexes.len();
        let (mut start, mut got) = (0, 0);
        for reading in readings.split(|b| *b == b':') {
            // A file that takes no readings at all cannot be updated: there always is one, and it is one too many.
            if got == wanted.max(1) {
                return Err(UpdateError::ExtraReadings(lossy(&readings[start..])));
            }
            if let Some(ds) = indexes.get(got) {
                self.text_of[*ds] = Some(start..start + reading.len());
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
    fn forget_texts(&mut self, layout: Layout) {
        self.text_of.clear();
        self.text_of.resize(layout.ds_count, None);
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
        readings: Readings<'_>,
        now: UnixTime,
    ) -> Result<(), UpdateError> {
        let step = step_of(header);
        let timing = Timing::between(last_update_at(&self.live, layout), stamp, step);
        self.read_growths(layout, &timing, readings)?;
        let can_fail = self.inputs.len() < layout.ds_count;
        if can_fail {
            self.before.clone_from(&self.live);
        }
        for (prep, part) in layout.pdp_preps_mut(&mut self.live).iter_mut().zip(&self.text_of) {
            put_last_ds(prep, readings.text(part));
        }
        if timing.elapsed == 0 {
            self.accumulate(layout, &timing);
        } else {
            let rows = self.waiting.len();
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
        readings: Readings<'_>,
    ) -> Result<(), UpdateError> {
        let Self { live, data_sources, text_of, growths, .. } = self;
        growths.clear();
        let mut values = readings.values.unwrap_or_default().iter().copied();
        let sources = data_sources.iter().zip(text_of.iter());
        for ((def, part), prep) in sources.zip(layout.pdp_preps(live)) {
            let is_input = !matches!(def.ds_type, DsType::Compute(_));
            let value = if is_input { values.next() } else { None };
            let reading = Reading { text: readings.text(part), value, prep };
            growths.push(reading.growth(def, timing.interval)?);
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
        self.waiting.truncate(rows);
    }

    fn accumulate(&mut self, layout: Layout, timing: &Timing) {
        let preps = layout.pdp_preps_mut(&mut self.live).iter_mut();
        for (prep, growth) in preps.zip(&self.growths) {
            Pdp::read(prep).accumulate(*growth, timing).write(prep);
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
        let Self { live, data_sources, growths, pdps, stack, .. } = self;
        pdps.clear();
        let preps = layout.pdp_preps_mut(live).iter_mut();
        for ((prep, def), growth) in preps.zip(data_sources).zip(growths) {
            let (pdp, open) = Pdp::read(prep).close(share(growth), timing, step, def.heartbeat);
            open.write(prep);
            let pdp = match &def.ds_type {
                DsType::Compute(rpn) => stack.evaluate(rpn, pdps, now.secs())?,
                _ => pdp,
            };
            pdps.push(pdp);
        }
        Ok(())
    }

    /// Adds the closed steps to every archive. `until` is where they end, as it is told to who watches: of a split step
    /// the original counts whole seconds from the last update, and so falls short of it when that has a fraction.
    fn close_rows(&mut self, header: &[u8], layout: Layout, timing: &Timing, step: Step, until: u64) {
        let preps = layout.cdp_preps_mut(&mut self.live);
        let archives = self.archives.iter().zip(&mut self.open_rows);
        // Without data sources there are no archives either.
        for ((def, open), preps) in archives.zip(preps.chunks_exact_mut(layout.ds_count.max(1))) {
            open.close(def, timing);
            if def.forecast.is_none() {
                Cdp::consolidate_all(preps, def, open.due, &self.pdps, timing.elapsed);
            }
        }
        if self.has_forecasts {
            self.begin_forecasts(header, layout, timing.elapsed);
            self.forecast(header, layout, timing);
        }
        let mut rows_start = layout.header_len() as u64;
        for rra in 0..layout.rra_count {
            if self.open_rows[rra].due.rows > 0 {
                let before = self.waiting.len();
                self.write_rows(layout, rra, rows_start);
                self.note_rows(before, layout, rra, until, step);
            }
            rows_start += self.archives[rra].rows * layout.row_len() as u64;
        }
    }

    fn write_rows(&mut self, layout: Layout, rra: usize, rows_start: u64) {
        let Self { live, archives, open_rows, waiting, .. } = self;
        let (def, rows_due) = (&archives[rra], open_rows[rra].due.rows);
        let pointer = layout.rra_ptr(rra) - layout.live_head();
        let mut row = u64_at(live, pointer);
        let only_moves = rows_due > 1 && matches!(def.forecast, Some(Forecast::Seasonal { .. }));
        if only_moves {
            row = (row + rows_due) % def.rows;
            put(live, pointer, row.to_le_bytes());
            return;
        }
        let first_prep = layout.cdp_prep(rra, 0) - layout.live_head();
        let (preps, _) = live[first_prep..].as_chunks::<{ cdp_prep::LEN }>();
        for written in 0..rows_due {
            row = if row + 1 >= def.rows { 0 } else { row + 1 };
            let value_at = if written == 0 { cdp_prep::PRIMARY } else { cdp_prep::SECONDARY };
            let values = preps[..layout.ds_count].iter().map(|prep| bytes_at(prep, value_at));
            waiting.push(rows_start + row * layout.row_len() as u64, values);
        }
        put(live, pointer, row.to_le_bytes());
    }

    /// Notes the rows that an archive gained, when somebody watches; `before` is how many bytes waited before them.
    fn note_rows(&mut self, before: usize, layout: Layout, rra: usize, until: u64, step: Step) {
        let Some(written) = &mut self.written else { return };
        let def = &self.archives[rra];
        let row_secs = def.pdp_per_row * u64::from(step.secs());
        let newest = until - until % row_secs;
        let rows = self.waiting.since(before).chunks_exact(layout.row_len());
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

fn put_last_ds(prep: &mut [u8; pdp_prep::LEN], text: &[u8]) {
    let field = &mut prep[pdp_prep::LAST_DS..][..LAST_DS_LEN];
    let text = &text[..text.len().min(LAST_DS_LEN - 1)];
    field.fill(0);
    field[..text.len()].copy_from_slice(text);
}
