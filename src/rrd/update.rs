//! Updates: from readings to a list of changes of the file.
//!
//! An [`Updater`] works on its own copy of the live part of the header. Everything in one argument is read and judged
//! before anything of it is computed, so an argument that fails leaves no trace, where the original has by then
//! overwritten some last readings. [`Updater::apply`] is the one place that stores what changed.

mod closed;
mod forecast;
mod plain;
mod rows;
mod waiting;

use std::convert::Infallible;
use std::ops::Range;

use crate::rrd::cdp::Due;
use crate::rrd::def::{ArchiveDef, Cf, DsType, LATEST_SECS};
use crate::rrd::error::{TemplateError, UpdateError};
use crate::rrd::file::{DsDef, Rrd, archive_def, last_update_at};
use crate::rrd::layout::{LAST_DS_LEN, Layout, live_head, pdp_prep, put, stat_head, u64_at};
use crate::rrd::pdp::{OpenStep, Pdp, Timing};
use crate::rrd::reading::{Reading, at_time, lossy, plain_time, write_short};
use crate::rrd::rpn::Stack;
use crate::rrd::update::closed::Closed;
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
    /// What the argument says of each data source.
    parts: Vec<Part>,
    /// The texts of readings that came as values.
    texts: Vec<u8>,
    growths: Vec<f64>,
    /// The steps that ended, and that the archives have not taken yet.
    closed: Closed,
    /// Their data points, those of each data source together.
    columns: Vec<f64>,
    /// The data sources that take readings.
    inputs: Vec<usize>,
    stack: Stack,
    /// The definitions: a header is begun with once for many updates.
    data_sources: Vec<DsDef>,
    archives: Vec<ArchiveDef>,
    dues: Vec<Due>,
    only_gauges: bool,
    open_step: Option<OpenStep>,
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

/// What an argument says of one data source.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Where in the argument's texts its reading stands; nowhere, and it is unknown.
    text: Option<Range<usize>>,
    /// The value that the text stands for, where that is known already.
    value: Option<f64>,
}

impl Part {
    fn text<'a>(&self, texts: &'a [u8]) -> &'a [u8] {
        self.text.clone().map_or(b"U", |range| &texts[range])
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
        self.closed.clear();
        self.changed = false;
        self.smoothing_due = false;
        self.archives.clear();
        self.archives.extend((0..layout.rra_count).map(|rra| archive_def(header, layout, rra)));
        self.has_forecasts = self.archives.iter().any(|archive| archive.forecast.is_some());
        self.data_sources.clear();
        self.data_sources.extend((0..layout.ds_count).map(|ds| DsDef::read(header, layout, ds)));
        self.open_step = OpenStep::new(last_update_at(&self.live, layout), step_of(header));
        self.only_gauges = self.data_sources.iter().all(|def| matches!(def.ds_type, DsType::Gauge));
        self.forget_parts(layout);
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
        let mut texts = std::mem::take(&mut self.texts);
        texts.clear();
        for (ds, value) in self.inputs.iter().zip(values) {
            let start = texts.len();
            write_short(&mut texts, *value);
            self.parts[*ds] = Part { text: Some(start..texts.len()), value: Some(*value) };
        }
        let stamp = self.judge_time(layout, stamp.secs(), stamp.subsec_micros())?;
        let taken = self.take(header, layout, stamp, &texts, stamp);
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
        let (secs, micros) = match self.split_plain(layout, argument, options.template) {
            Some(secs) => {
                if self.close_step(header, layout, secs, argument) {
                    return Ok(());
                }
                (secs, 0)
            }
            None => self.split(layout, argument, options)?,
        };
        let stamp = match self.judge_time(layout, secs, micros) {
            Err(UpdateError::Illegal { .. }) if options.skip_past => return Ok(()),
            judged => judged?,
        };
        self.take(header, layout, stamp, argument, options.now)
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

    /// Gives back memory that one call may need and the next one hardly will.
    pub(super) fn give_back(&mut self) {
        self.waiting.give_back();
    }

    /// The live part of the header as it will be, once the archives were brought up to date.
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
        self.consolidate(layout);
        let stored = self.waiting.runs().try_for_each(|(offset, rows)| store(offset, rows));
        self.waiting.clear();
        stored?;
        if std::mem::take(&mut self.changed) {
            store(layout.live_head() as u64, &self.live)?;
        }
        Ok(())
    }

    /// Reads the time, and sorts the readings by data source; those that are not named are unknown.
    fn split(
        &mut self,
        layout: Layout,
        argument: &[u8],
        options: &Options<'_>,
    ) -> Result<(i64, u32), UpdateError> {
        let has_at = argument.contains(&b'@');
        let end = argument.iter().position(|b| *b == if has_at { b'@' } else { b':' });
        let end = end.ok_or_else(|| UpdateError::NoTimestamp(lossy(argument)))?;
        let (time, readings) = (&argument[..end], &argument[end + 1..]);
        self.forget_parts(layout);
        let indexes = options.template.map_or(&self.inputs, |Template(indexes)| indexes);
        let wanted = indexes.len();
        let (mut start, mut got) = (end + 1, 0);
        for reading in readings.split(|b| *b == b':') {
            // A file that takes no readings at all cannot be updated: there always is one, and it is one too many.
            if got == wanted.max(1) {
                return Err(UpdateError::ExtraReadings(lossy(&argument[start..])));
            }
            if let Some(ds) = indexes.get(got) {
                self.parts[*ds] = Part { text: Some(start..start + reading.len()), value: None };
            }
            start += reading.len() + 1;
            got += 1;
        }
        if got != wanted {
            return Err(UpdateError::FewReadings { wanted, got, time: lossy(time) });
        }
        if has_at { at_time(time, options.now) } else { plain_time(time, options.now) }
    }

    /// So that every reading is unknown.
    fn forget_parts(&mut self, layout: Layout) {
        self.parts.clear();
        self.parts.resize(layout.ds_count, Part::default());
    }

    /// The point in time, as the file can hold it, where it comes after the last one.
    fn judge_time(&self, layout: Layout, secs: i64, micros: u32) -> Result<UnixTime, UpdateError> {
        let micros = if layout.has_micros() { micros } else { 0 };
        let stamp = UnixTime::from_micros(UnixTime::from_secs(secs).micros().saturating_add(micros.into()));
        let last = last_update_at(&self.live, layout);
        if stamp <= last {
            return Err(UpdateError::Illegal { time: secs, last: last.secs() });
        }
        if secs > LATEST_SECS {
            return Err(UpdateError::Future(secs));
        }
        Ok(stamp)
    }

    /// Takes the readings that were sorted; nothing changes before all of them were read.
    fn take(
        &mut self,
        header: &[u8],
        layout: Layout,
        stamp: UnixTime,
        texts: &[u8],
        now: UnixTime,
    ) -> Result<(), UpdateError> {
        let step = step_of(header);
        let timing = Timing::between(last_update_at(&self.live, layout), stamp, step);
        self.read_growths(layout, &timing, texts)?;
        let can_fail = self.inputs.len() < layout.ds_count;
        if can_fail {
            self.before.clone_from(&self.live);
        }
        for (prep, part) in layout.pdp_preps_mut(&mut self.live).iter_mut().zip(&self.parts) {
            put_last_ds(prep, part.text(texts));
        }
        if timing.elapsed == 0 {
            self.accumulate(layout, &timing);
        } else {
            let closed = self.closed.ended().len();
            if let Err(error) = self.close_steps(layout, timing, step, now) {
                self.live.clone_from(&self.before);
                self.closed.truncate(closed);
                return Err(error);
            }
            self.close_rows(header, layout, step);
        }
        self.put_last_update(layout, stamp.secs(), stamp.subsec_micros());
        self.open_step = OpenStep::new(stamp, step);
        Ok(())
    }

    fn put_last_update(&mut self, layout: Layout, secs: i64, micros: u32) {
        put(&mut self.live, live_head::SECS, secs.to_le_bytes());
        if layout.has_micros() {
            put(&mut self.live, live_head::MICROS, i64::from(micros).to_le_bytes());
        }
        self.changed = true;
    }

    fn read_growths(&mut self, layout: Layout, timing: &Timing, texts: &[u8]) -> Result<(), UpdateError> {
        let Self { live, data_sources, parts, growths, .. } = self;
        growths.clear();
        for ((def, part), prep) in data_sources.iter().zip(parts).zip(layout.pdp_preps(live)) {
            let reading = Reading { text: part.text(texts), value: part.value, prep };
            growths.push(reading.growth(def, timing.interval)?);
        }
        Ok(())
    }

    fn accumulate(&mut self, layout: Layout, timing: &Timing) {
        let preps = layout.pdp_preps_mut(&mut self.live).iter_mut();
        for (prep, growth) in preps.zip(&self.growths) {
            Pdp::read(prep).accumulate(*growth, timing).write(prep);
        }
    }

    /// Closes the steps that ended; how far they reach, as it is told to who watches, the original counts in whole seconds
    /// from the last update where it splits them, and so falls short of it when that has a fraction.
    fn close_steps(
        &mut self,
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
            self.closed.end(&first, until);
            timing = rest;
        }
        let until = (timing.first_pdp + timing.elapsed) * u64::from(step.secs());
        self.close_points(layout, &timing, step, now, |growth| *growth)?;
        self.closed.end(&timing, until);
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
        let Self { live, data_sources, growths, closed, stack, .. } = self;
        let preps = layout.pdp_preps_mut(live).iter_mut();
        for ((prep, def), growth) in preps.zip(data_sources).zip(growths) {
            let (pdp, open) = Pdp::read(prep).close(share(growth), timing, step, def.heartbeat);
            open.write(prep);
            let pdp = match &def.ds_type {
                DsType::Compute(rpn) => stack.evaluate(rpn, closed.open_pdps(), now.secs())?,
                _ => pdp,
            };
            closed.push(pdp);
        }
        Ok(())
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
    copy_short(&mut field[..text.len()], text);
}

/// Copies up to 32 bytes by two moves that may overlap: to copy any number of bytes is a call, and that one takes longer
/// than to read the number that they are.
fn copy_short(to: &mut [u8], from: &[u8]) {
    let _ = copy_ends::<16>(to, from)
        || copy_ends::<8>(to, from)
        || copy_ends::<4>(to, from)
        || copy_ends::<2>(to, from)
        || copy_ends::<1>(to, from);
}

/// Copies the first and the last `N` bytes, where there are so many.
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    true
}
