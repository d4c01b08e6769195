//! The part of an update that concerns forecasts. They depend on each other, so each takes a step before any takes the
//! next, and they read rows of the file: those of their season that come next.

use crate::rrd::def::{Cf, Forecast};
use crate::rrd::holt_winters::{self, Forecasts};
use crate::rrd::layout::{Layout, WORD, cdp_prep, f64_at, put_f64, u64_at};
use crate::rrd::number::UNKNOWN;
use crate::rrd::update::Updater;

/// Forecasts take so many steps one by one; more are a gap.
const STEPS_TAKEN: u64 = 2;

impl Updater {
    /// What forecasts do before any of them takes its steps.
    pub(super) fn begin_forecasts(&mut self, bytes: &[u8], layout: Layout, elapsed: u64) {
        let mut rows_start = layout.header_len() as u64;
        for rra in 0..layout.rra_count {
            if self.archives[rra].forecast.is_some() {
                self.begin_forecast(bytes, layout, rra, elapsed, rows_start);
            }
            rows_start += self.archives[rra].rows * layout.row_len() as u64;
        }
    }

    fn begin_forecast(&mut self, bytes: &[u8], layout: Layout, rra: usize, elapsed: u64, rows_start: u64) {
        let cur_row = u64_at(&self.live, layout.rra_ptr(rra) - layout.live_head());
        self.smoothing_due |= self.forecasts(layout).is_smoothing_due(rra, cur_row, elapsed);
        if elapsed <= STEPS_TAKEN {
            return;
        }
        for ds in 0..layout.ds_count {
            let season = [0, 1].map(|ahead| {
                self.season_value(bytes, layout, rra, ds, rows_start, cur_row + elapsed + ahead)
            });
            self.forecasts(layout).reset(rra, ds, elapsed, season);
        }
    }

    /// Takes the steps of all forecasts that were closed together, where there are not so many that they are a gap.
    pub(super) fn forecast(&mut self, bytes: &[u8], layout: Layout, number: usize) {
        let elapsed = self.closed.ended()[number].elapsed;
        let steps = if elapsed <= STEPS_TAKEN { elapsed } else { 0 };
        for step in 0..steps {
            let mut rows_start = layout.header_len() as u64;
            for rra in 0..layout.rra_count {
                let cur_row = u64_at(&self.live, layout.rra_ptr(rra) - layout.live_head());
                let ahead = cur_row + elapsed + 1 + step;
                for ds in 0..layout.ds_count {
                    if self.archives[rra].forecast.is_none() {
                        break;
                    }
                    let next = self.season_value(bytes, layout, rra, ds, rows_start, ahead);
                    let pdp = self.closed.pdps()[number * layout.ds_count + ds];
                    let mut forecasts = self.forecasts(layout);
                    let value = forecasts.step(rra, ds, pdp, next);
                    forecasts.write(rra, ds, step > 0, value);
                }
                rows_start += self.archives[rra].rows * layout.row_len() as u64;
            }
        }
    }

    fn forecasts(&mut self, layout: Layout) -> Forecasts<'_> {
        Forecasts { live: &mut self.live, layout, archives: &self.archives }
    }

    /// A season's value as it will be in the file: it may be among the rows that wait to be stored.
    fn season_value(
        &self,
        bytes: &[u8],
        layout: Layout,
        rra: usize,
        ds: usize,
        rows_start: u64,
        row: u64,
    ) -> f64 {
        if !matches!(self.archives[rra].forecast, Some(Forecast::Seasonal { .. })) {
            return UNKNOWN;
        }
        let offset =
            rows_start + row % self.archives[rra].rows * layout.row_len() as u64 + (ds * WORD) as u64;
        self.waiting.value_at(offset).unwrap_or_else(|| f64_at(bytes, offset as usize))
    }

    /// Smooths the seasons, where that became due, in a file that everything else was stored in; true when it did, and
    /// what was read of the file before is no longer so.
    pub(in crate::rrd) fn smooth(&mut self, bytes: &mut [u8], layout: Layout) -> bool {
        if !std::mem::take(&mut self.smoothing_due) {
            return false;
        }
        let mut rows_start = layout.header_len();
        for archive in &self.archives {
            let len = archive.rows as usize * layout.row_len();
            if let Some(forecast @ Forecast::Seasonal { predict, .. }) = &archive.forecast {
                let of = (archive.cf == Cf::Seasonal).then(|| self.archives[*predict as usize].cf);
                let rows = &mut bytes[rows_start..rows_start + len];
                let means = holt_winters::smooth(rows, layout.ds_count, forecast.window(), of);
                for (ds, mean) in means.filter(|_| of.is_some()).into_iter().flatten().enumerate() {
                    let at = layout.cdp_prep(*predict as usize, ds) + cdp_prep::FORECAST;
                    let intercept = f64_at(bytes, at) + mean;
                    put_f64(bytes, at, intercept);
                }
            }
            rows_start += len;
        }
        true
    }
}
