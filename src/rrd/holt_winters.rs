//! Forecasts after Holt and Winters: what archives of these functions make of a primary data point, and the smoothing
//! of their seasons.
//!
//! Every archive keeps its state in its open data points: the value now, and the one before the last step. Of an
//! archive that stands before it in the file, which has taken the step already, an archive uses the one before.

use crate::rrd::def::{ArchiveDef, Cf, Forecast};
use crate::rrd::layout::{Layout, WORD, f64_at, put, put_f64, u64_at};
use crate::rrd::number::UNKNOWN;

/// Words of an open data point.
mod slot {
    /// Intercept, season's value or deviation; behind each the one before.
    pub(super) const VALUE: usize = 2;
    pub(super) const SLOPE: usize = 4;
    /// Steps since the last known reading; for seasons, how many of them there were.
    pub(super) const COUNT: usize = 6;
    pub(super) const PRIMARY: usize = 8;
    pub(super) const SECONDARY: usize = 9;
    /// From a value to the one before.
    pub(super) const BEFORE: usize = 1;
}

/// Seasons that must have passed before smoothing follows its own index.
const BURN_IN: u64 = 3;

/// The forecasts of a file, over the live part of its header.
pub(super) struct Forecasts<'a> {
    pub(super) live: &'a mut [u8],
    pub(super) layout: Layout,
    pub(super) archives: &'a [ArchiveDef],
}

/// An intercept, a slope, and the steps since they were made.
struct Line {
    intercept: f64,
    slope: f64,
    steps: f64,
}

impl Line {
    fn value(&self) -> f64 {
        self.intercept + self.slope * self.steps
    }
}

impl Forecasts<'_> {
    /// Takes one step of one archive: `pdp` is the reading, `next` the season's next value where it has one. Returns
    /// what is written.
    pub(super) fn step(&mut self, rra: usize, ds: usize, pdp: f64, next: f64) -> f64 {
        match self.archives[rra].forecast {
            Some(Forecast::Predict { alpha, beta, seasonal, .. }) => {
                self.predict(rra, ds, pdp, [alpha, beta], seasonal as usize)
            }
            Some(Forecast::Seasonal { gamma, predict, .. }) => {
                let old = self.number(rra, ds, slot::VALUE);
                self.set(rra, ds, slot::VALUE + slot::BEFORE, old);
                self.set(rra, ds, slot::VALUE, next);
                if self.archives[rra].cf == Cf::Seasonal {
                    self.season(rra, ds, pdp, gamma, predict as usize)
                } else {
                    self.deviation(rra, ds, pdp, gamma, predict as usize)
                }
            }
            Some(Forecast::DevPredict { dev_seasonal }) => self.ready(dev_seasonal as usize, ds, rra),
            Some(Forecast::Failures { .. }) => self.failure(rra, ds, pdp),
            None => pdp,
        }
    }

    /// After a gap: everything is unknown, and of the season it is known where it goes on.
    pub(super) fn reset(&mut self, rra: usize, ds: usize, elapsed: u64, season: [f64; 2]) {
        let mut written = UNKNOWN;
        match self.archives[rra].forecast {
            Some(Forecast::Predict { .. }) => {
                let nulls = self.count(rra, ds);
                let at = self.at(rra, ds, slot::COUNT);
                put(self.live, at, nulls.wrapping_add(elapsed).to_le_bytes());
                let before = u64_at(self.live, at + WORD).wrapping_add(elapsed - 1);
                put(self.live, at + WORD, before.to_le_bytes());
            }
            Some(Forecast::Seasonal { .. }) => {
                self.set(rra, ds, slot::VALUE + slot::BEFORE, season[0]);
                self.set(rra, ds, slot::VALUE, season[1]);
                return;
            }
            Some(Forecast::Failures { window, .. }) => {
                written = 0.0;
                let at = self.at(rra, ds, 0);
                self.live[at..at + window as usize].fill(0);
            }
            _ => {}
        }
        self.set(rra, ds, slot::PRIMARY, written);
        self.set(rra, ds, slot::SECONDARY, written);
    }

    /// Whether the season shall be smoothed when `elapsed` steps are taken from its current row on.
    pub(super) fn is_smoothing_due(&mut self, rra: usize, cur_row: u64, elapsed: u64) -> bool {
        let Some(Forecast::Seasonal { smooth_index, .. }) = self.archives[rra].forecast else { return false };
        let (rows, reached) = (self.archives[rra].rows, cur_row.saturating_add(elapsed));
        let seasons = self.count(rra, 0);
        if seasons > BURN_IN {
            return if smooth_index > cur_row {
                reached >= smooth_index
            } else {
                reached >= rows && reached >= rows.saturating_add(smooth_index)
            };
        }
        if reached >= rows {
            let at = self.at(rra, 0, slot::COUNT);
            put(self.live, at, (seasons + 1).to_le_bytes());
        }
        reached >= rows
    }

    /// Stores what a step's first or second half came to.
    pub(super) fn write(&mut self, rra: usize, ds: usize, secondary: bool, value: f64) {
        self.set(rra, ds, if secondary { slot::SECONDARY } else { slot::PRIMARY }, value);
    }

    fn predict(&mut self, rra: usize, ds: usize, pdp: f64, [alpha, beta]: [f64; 2], seasonal: usize) -> f64 {
        let line = self.line(rra, ds, false);
        let at = self.at(rra, ds, slot::COUNT);
        let nulls = u64_at(self.live, at);
        self.set(rra, ds, slot::VALUE + slot::BEFORE, line.intercept);
        self.set(rra, ds, slot::SLOPE + slot::BEFORE, line.slope);
        put(self.live, at + WORD, nulls.to_le_bytes());
        let season = self.ready(seasonal, ds, rra);
        if line.intercept.is_nan() || line.slope.is_nan() || season.is_nan() {
            if line.intercept.is_nan() && !pdp.is_nan() {
                for (slot, value) in [(slot::VALUE, pdp), (slot::SLOPE, 0.0)] {
                    self.set(rra, ds, slot, value);
                    self.set(rra, ds, slot + slot::BEFORE, value);
                }
                put(self.live, at, 1_u64.to_le_bytes());
                put(self.live, at + WORD, 1_u64.to_le_bytes());
            }
            return UNKNOWN;
        }
        let predicted = self.with_season(rra, line.value(), season);
        if pdp.is_nan() {
            put(self.live, at, nulls.wrapping_add(1).to_le_bytes());
        } else {
            let intercept = alpha * self.without(rra, pdp, season) + (1.0 - alpha) * line.value();
            let slope = beta * (intercept - line.intercept) + (1.0 - beta) * line.slope;
            self.set(rra, ds, slot::VALUE, intercept);
            self.set(rra, ds, slot::SLOPE, slope);
            put(self.live, at, 1_u64.to_le_bytes());
        }
        predicted
    }

    fn season(&mut self, rra: usize, ds: usize, pdp: f64, gamma: f64, predict: usize) -> f64 {
        let old = self.number(rra, ds, slot::VALUE + slot::BEFORE);
        if pdp.is_nan() {
            return old;
        }
        if predict < rra {
            let before = self.line(predict, ds, true);
            if before.intercept.is_nan() || before.slope.is_nan() {
                return UNKNOWN;
            }
            if old.is_nan() {
                return self.without(predict, pdp, before.intercept);
            }
            let intercept = self.number(predict, ds, slot::VALUE);
            return gamma * self.without(predict, pdp, intercept) + (1.0 - gamma) * old;
        }
        let line = self.line(predict, ds, false);
        if line.intercept.is_nan() || line.slope.is_nan() {
            return if self.is_product(predict) { 1.0 } else { 0.0 };
        }
        if old.is_nan() {
            return self.without(predict, pdp, line.intercept);
        }
        let Some(Forecast::Predict { alpha, .. }) = self.archives[predict].forecast else { return UNKNOWN };
        // What the forecast will make of it when its turn comes.
        let intercept = alpha * self.without(predict, pdp, old) + (1.0 - alpha) * line.value();
        gamma * self.without(predict, pdp, intercept) + (1.0 - gamma) * old
    }

    fn deviation(&mut self, rra: usize, ds: usize, pdp: f64, gamma: f64, predict: usize) -> f64 {
        let Some(Forecast::Predict { seasonal, .. }) = self.archives[predict].forecast else {
            return UNKNOWN;
        };
        let line = self.line(predict, ds, predict < rra);
        let season = self.ready(seasonal as usize, ds, rra);
        let predicted = self.with_season(predict, line.value(), season);
        if line.intercept.is_nan() || line.slope.is_nan() || season.is_nan() {
            return UNKNOWN;
        }
        let old = self.number(rra, ds, slot::VALUE + slot::BEFORE);
        if pdp.is_nan() {
            old
        } else if old.is_nan() {
            (predicted - pdp).abs()
        } else {
            gamma * (predicted - pdp).abs() + (1.0 - gamma) * old
        }
    }

    fn failure(&mut self, rra: usize, ds: usize, pdp: f64) -> f64 {
        let Some(Forecast::Failures { delta_pos, delta_neg, dev_seasonal, window, threshold }) =
            self.archives[rra].forecast
        else {
            return UNKNOWN;
        };
        let dev_seasonal = dev_seasonal as usize;
        let Some(Forecast::Seasonal { predict, .. }) = self.archives[dev_seasonal].forecast else {
            return UNKNOWN;
        };
        let predict = predict as usize;
        let Some(Forecast::Predict { seasonal, .. }) = self.archives[predict].forecast else {
            return UNKNOWN;
        };
        let seasonal = seasonal as usize;
        // The season's place decides for the deviation too.
        let before = if rra < seasonal { 0 } else { slot::BEFORE };
        let deviation = self.number(dev_seasonal, ds, slot::VALUE + before);
        let season = self.number(seasonal, ds, slot::VALUE + before);
        let predicted = self.with_season(predict, self.line(predict, ds, rra >= predict).value(), season);
        let is_off = pdp.is_nan()
            || pdp > predicted + delta_pos * deviation
            || pdp < predicted - delta_neg * deviation;
        let violated = !deviation.is_nan() && is_off;
        let at = self.at(rra, ds, 0);
        let history = &mut self.live[at..at + window as usize];
        history.rotate_right(1);
        if let Some(newest) = history.first_mut() {
            *newest = u8::from(violated);
        }
        let violations: u64 = history.iter().map(|flag| u64::from(*flag)).sum();
        if violations >= threshold { 1.0 } else { 0.0 }
    }

    fn is_product(&self, predict: usize) -> bool {
        self.archives[predict].cf == Cf::MhwPredict
    }

    fn with_season(&self, predict: usize, base: f64, season: f64) -> f64 {
        if self.is_product(predict) { base * season } else { base + season }
    }

    /// The reading without the season, or without the trend.
    fn without(&self, predict: usize, pdp: f64, part: f64) -> f64 {
        match self.is_product(predict) {
            false => pdp - part,
            true if part <= 0.0 => UNKNOWN,
            true => pdp / part,
        }
    }

    /// The value of archive `of`: the one before, where it has taken this step before `own` does.
    fn ready(&self, of: usize, ds: usize, own: usize) -> f64 {
        self.number(of, ds, slot::VALUE + if of < own { slot::BEFORE } else { 0 })
    }

    fn line(&self, predict: usize, ds: usize, before: bool) -> Line {
        let before = if before { slot::BEFORE } else { 0 };
        Line {
            intercept: self.number(predict, ds, slot::VALUE + before),
            slope: self.number(predict, ds, slot::SLOPE + before),
            steps: f64::from(u64_at(self.live, self.at(predict, ds, slot::COUNT + before)) as i32),
        }
    }

    fn at(&self, rra: usize, ds: usize, slot: usize) -> usize {
        self.layout.cdp_prep(rra, ds) - self.layout.live_head() + slot * WORD
    }

    fn number(&self, rra: usize, ds: usize, slot: usize) -> f64 {
        f64_at(self.live, self.at(rra, ds, slot))
    }

    fn count(&self, rra: usize, ds: usize) -> u64 {
        u64_at(self.live, self.at(rra, ds, slot::COUNT))
    }

    fn set(&mut self, rra: usize, ds: usize, slot: usize, value: f64) {
        let at = self.at(rra, ds, slot);
        put_f64(self.live, at, value);
    }
}

/// Smooths a season's rows in place: each becomes the mean of those around it, the season being a circle. SEASONAL is
/// then brought back to a mean of nothing (0, or 1 where it is a factor), which is returned per data source: it belongs
/// to the intercept. Nothing happens while any of it is unknown.
pub(super) fn smooth(rows: &mut [u8], ds_count: usize, window: f64, mean_of: Option<Cf>) -> Option<Vec<f64>> {
    let count = rows.len() / (ds_count * WORD);
    let half = (window / 2.0 * count as f64).floor();
    if !(half >= 1.0 && half <= count as f64) {
        return None;
    }
    let half = half as usize;
    let at = |row: usize, ds: usize| (row * ds_count + ds) * WORD;
    let values: Vec<f64> = rows.chunks_exact(WORD).map(|word| f64_at(word, 0)).collect();
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut means = vec![0.0; ds_count];
    for (ds, mean) in means.iter_mut().enumerate() {
        let value = |row: usize| values[row % count * ds_count + ds];
        let first = count * 2 - half;
        let mut sum = (0..2 * half).fold(0.0, |sum, row| sum + value(first + row));
        for row in 0..count {
            sum += value(row + half);
            let smoothed = sum / (2 * half + 1) as f64;
            sum -= value(first + row);
            *mean += smoothed;
            put_f64(rows, at(row, ds), smoothed);
        }
        *mean /= count as f64;
        for row in 0..count {
            let smoothed = f64_at(rows, at(row, ds));
            match mean_of {
                // A factor of nothing or less is none.
                Some(Cf::MhwPredict) if *mean <= 0.0 => put_f64(rows, at(row, ds), UNKNOWN),
                Some(Cf::MhwPredict) => put_f64(rows, at(row, ds), smoothed / *mean),
                Some(_) => put_f64(rows, at(row, ds), smoothed - *mean),
                None => {}
            }
        }
    }
    Some(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoothed(values: &[f64], window: f64, mean_of: Option<Cf>) -> Option<(Vec<f64>, Vec<f64>)> {
        let mut rows: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let means = smooth(&mut rows, 1, window, mean_of)?;
        Some((rows.chunks_exact(WORD).map(|word| f64_at(word, 0)).collect(), means))
    }

    /// Half a window of 1 to either side, around the circle: (0 + 3 + 6) / 3 and so on; their mean is 4.5.
    #[test]
    fn a_season_becomes_the_mean_of_its_neighbours() {
        let season = [0.0, 3.0, 6.0, 9.0];
        let means = vec![4.0, 3.0, 6.0, 5.0];
        assert_eq!(smoothed(&season, 0.5, None), Some((means, vec![4.5])));
        let around_zero = vec![-0.5, -1.5, 1.5, 0.5];
        assert_eq!(smoothed(&season, 0.5, Some(Cf::HwPredict)), Some((around_zero, vec![4.5])));
        let (factors, _) = smoothed(&season, 0.5, Some(Cf::MhwPredict)).unwrap();
        assert_eq!(factors, [4.0 / 4.5, 3.0 / 4.5, 6.0 / 4.5, 5.0 / 4.5]);
    }

    #[test]
    fn a_season_that_is_not_known_or_too_short_stays() {
        assert_eq!(smoothed(&[0.0, UNKNOWN, 6.0, 9.0], 0.5, None), None);
        for window in [0.05, 0.0, f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(smoothed(&[0.0, 3.0, 6.0, 9.0], window, None), None, "{window}");
        }
    }
}
