//! The part of an update that concerns archives: what they make of the steps that ended.

use crate::rrd::cdp::{Cdp, Due};
use crate::rrd::def::{ArchiveDef, Forecast};
use crate::rrd::layout::{Layout, WORD, bytes_at, cdp_prep, f64_at, put_f64};
use crate::rrd::update::{Updater, WrittenRow};
use crate::time::{Step, UnixTime};

impl Updater {
    /// Adds the steps that were closed last to the archives. Single steps are in no hurry: an archive takes many of them in
    /// one go, unless forecasts are among the archives, which read each other's rows, or somebody watches the order in
    /// which rows are written.
    pub(super) fn close_rows(&mut self, header: &[u8], layout: Layout, step: Step) {
        if self.has_forecasts || self.written.is_some() || self.closed.ends_with_many() {
            for number in 0..self.closed.ended().len() {
                self.consolidate_one(header, layout, number, step);
            }
            self.closed.clear();
        } else if self.closed.is_full() {
            self.consolidate(layout);
        }
    }

    /// Adds the steps that wait, single ones that follow each other, to one archive after the other.
    pub(in crate::rrd) fn consolidate(&mut self, layout: Layout) {
        let Self { live, archives, closed, columns, waiting, .. } = self;
        let Some(first) = closed.ended().first() else { return };
        let steps = closed.ended().len() as u64;
        columns.clear();
        for ds in 0..layout.ds_count {
            columns.extend(closed.pdps()[ds..].iter().step_by(layout.ds_count));
        }
        let mut rows_start = layout.header_len() as u64;
        let (mut preps, pointers) = layout.archives_mut(live);
        for (def, pointer) in archives.iter().zip(pointers) {
            let rows = Rows::new(layout, def, rows_start);
            rows_start = rows.end();
            let missing = def.pdp_per_row - first.first_pdp % def.pdp_per_row;
            let due = if steps < missing { 0 } else { (steps - missing) / def.pdp_per_row + 1 };
            let added = waiting.add(rows.next(pointer, due), rows.row_len);
            let of_archive;
            (of_archive, preps) = preps.split_at_mut(layout.ds_count);
            for ((ds, prep), pdps) in
                of_archive.iter_mut().enumerate().zip(columns.chunks_exact(steps as usize))
            {
                let mut places = added.chunks_exact_mut(rows.row_len);
                let before = Cdp::read(prep);
                let after = before.consolidate_run(def, missing, pdps, |value| {
                    if let Some(row) = places.next() {
                        put_f64(row, ds * WORD, value);
                    }
                });
                after.write_over(before, prep);
            }
        }
        closed.clear();
    }

    /// Adds steps that were closed together to all archives, and notes the rows where somebody watches.
    fn consolidate_one(&mut self, header: &[u8], layout: Layout, number: usize, step: Step) {
        let Self { live, archives, closed, dues, .. } = self;
        let ended = closed.ended()[number];
        let pdps = &closed.pdps()[number * layout.ds_count..][..layout.ds_count];
        dues.clear();
        let (mut preps, _) = layout.archives_mut(live);
        for def in archives {
            let due = Due::new(def, ended.first_pdp, ended.elapsed);
            dues.push(due);
            let of_archive;
            (of_archive, preps) = preps.split_at_mut(layout.ds_count);
            for (prep, pdp) in of_archive.iter_mut().zip(pdps).filter(|_| def.forecast.is_none()) {
                let before = Cdp::read(prep);
                before.consolidate(def, due, *pdp, ended.elapsed).write_over(before, prep);
            }
        }
        if self.has_forecasts {
            self.begin_forecasts(header, layout, ended.elapsed);
            self.forecast(header, layout, number);
        }
        let mut rows_start = layout.header_len() as u64;
        for rra in 0..layout.rra_count {
            let rows = Rows::new(layout, &self.archives[rra], rows_start);
            rows_start = rows.end();
            if self.dues[rra].rows > 0 {
                let before = self.waiting.len();
                self.write_rows(layout, rra, rows);
                self.note_rows(before, layout, rra, ended.until, step);
            }
        }
    }

    fn write_rows(&mut self, layout: Layout, rra: usize, rows: Rows) {
        let Self { live, archives, dues, waiting, .. } = self;
        let (def, rows_due) = (&archives[rra], dues[rra].rows);
        let (preps, pointers) = layout.archives_mut(live);
        let next = rows.next(&mut pointers[rra], rows_due);
        let only_moves = rows_due > 1 && matches!(def.forecast, Some(Forecast::Seasonal { .. }));
        if only_moves {
            return;
        }
        let preps = &preps[rra * layout.ds_count..][..layout.ds_count];
        for (number, row) in waiting.add(next, rows.row_len).chunks_exact_mut(rows.row_len).enumerate() {
            let value_at = if number == 0 { cdp_prep::PRIMARY } else { cdp_prep::SECONDARY };
            for (place, prep) in row.as_chunks_mut().0.iter_mut().zip(preps) {
                *place = bytes_at::<WORD>(prep, value_at);
            }
        }
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

/// Where the rows of an archive lie.
#[derive(Clone, Copy)]
struct Rows {
    start: u64,
    count: u64,
    row_len: usize,
}

impl Rows {
    fn new(layout: Layout, def: &ArchiveDef, start: u64) -> Self {
        Self { start, count: def.rows, row_len: layout.row_len() }
    }

    fn end(self) -> u64 {
        self.start + self.count * self.row_len as u64
    }

    /// Moves an `rra_ptr` by so many rows; returns where they go.
    fn next(self, pointer: &mut [u8; WORD], due: u64) -> impl Iterator<Item = u64> {
        let mut row = u64::from_le_bytes(*pointer);
        *pointer = ((row + due) % self.count).to_le_bytes();
        (0..due).map(move |_| {
            row = if row + 1 >= self.count { 0 } else { row + 1 };
            self.start + row * self.row_len as u64
        })
    }
}
