//! What Holt's and Winters' forecasts are set to.

use crate::rrd::def::Cf;
use crate::rrd::error::{ForecastSetting, TuneError};
use crate::rrd::file::{archive_def, rows_start, version};
use crate::rrd::layout::{
    LONGEST_WINDOW, Layout, MICROSECONDS_SINCE, OWN_WINDOW_SINCE, WORD, cdp_prep, put, put_f64, rra_def,
    stat_head, u64_at,
};
use crate::rrd::number::{UNKNOWN, leading_integer, number_prefix, parse_number, special};

use super::Setting;

/// Changes one parameter of the first archive that has it.
pub(super) fn change(
    header: &mut [u8],
    layout: Layout,
    setting: Setting,
    argument: &[u8],
) -> Result<(), TuneError> {
    match setting {
        Setting::DeltaPos => set_delta(header, layout, slot::DELTA_POS, argument),
        Setting::DeltaNeg => set_delta(header, layout, slot::DELTA_NEG, argument),
        Setting::WindowLength => set_count(header, layout, slot::WINDOW, argument),
        Setting::FailureThreshold => set_count(header, layout, slot::THRESHOLD, argument),
        Setting::Alpha => set_factor(header, layout, PREDICTING, slot::ALPHA, argument),
        Setting::Beta => set_factor(header, layout, PREDICTING, slot::BETA, argument),
        Setting::Gamma => set_factor(header, layout, &[Cf::Seasonal], slot::GAMMA, argument),
        Setting::GammaDeviation => set_factor(header, layout, &[Cf::DevSeasonal], slot::GAMMA, argument),
        Setting::SmoothingWindow => set_smoothing(header, layout, Cf::Seasonal, argument),
        Setting::SmoothingWindowDeviation => set_smoothing(header, layout, Cf::DevSeasonal, argument),
        _ => Ok(()),
    }
}

/// Makes every forecast forget what it learnt of a data source; of the values, those at [`seasons_of`] become unknown.
pub(super) fn reset(header: &mut [u8], layout: Layout, ds: usize) {
    const NEVER_SEEN: [u8; WORD] = 1_u64.to_le_bytes();
    for rra in 0..layout.rra_count {
        let cf = archive_def(header, layout, rra).cf;
        let (numbers, counts) = match cf {
            Cf::HwPredict | Cf::MhwPredict => (2..6, 6..8),
            // Whether a season is old enough to be smoothed is not asked of one data source.
            Cf::Seasonal | Cf::DevSeasonal => (2..4, 0..0),
            Cf::Failures => {
                forget_violations(header, layout, rra, ds);
                continue;
            }
            _ => continue,
        };
        let state = &mut header[layout.cdp_prep(rra, ds)..][..cdp_prep::LEN];
        numbers.for_each(|slot| put_f64(state, slot * WORD, UNKNOWN));
        counts.for_each(|slot| put(state, slot * WORD, NEVER_SEEN));
    }
}

/// Where the values of a data source stand in the seasons of a file that was checked.
pub(in crate::rrd) fn seasons_of(header: &[u8], layout: Layout, ds: usize) -> impl Iterator<Item = u64> + '_ {
    let archives = (0..layout.rra_count).map(move |rra| (rra, archive_def(header, layout, rra)));
    let seasons = archives.filter(|(_, archive)| matches!(archive.cf, Cf::Seasonal | Cf::DevSeasonal));
    seasons.flat_map(move |(rra, archive)| {
        let first = rows_start(header, layout, rra) + ds * WORD;
        (0..archive.rows).map(move |row| first as u64 + row * layout.row_len() as u64)
    })
}

/// Where a parameter stands among the ten of an archive.
mod slot {
    pub(super) const ALPHA: usize = 1;
    pub(super) const BETA: usize = 2;
    pub(super) const GAMMA: usize = 1;
    pub(super) const SMOOTHING_WINDOW: usize = 2;
    pub(super) const DELTA_POS: usize = 1;
    pub(super) const DELTA_NEG: usize = 2;
    pub(super) const WINDOW: usize = 4;
    pub(super) const THRESHOLD: usize = 5;
}

/// In the order in which they are looked for.
const PREDICTING: &[Cf] = &[Cf::HwPredict, Cf::MhwPredict];

fn set_delta(header: &mut [u8], layout: Layout, slot: usize, text: &[u8]) -> Result<(), TuneError> {
    const SMALLEST: f64 = 0.1;
    // Of a text without any number the original makes 0, which it refuses when it is written out.
    let delta = parse_number(text).map_err(|_| TuneError::Forecast(ForecastSetting::NoDelta))?;
    if delta < SMALLEST {
        return Err(TuneError::Forecast(ForecastSetting::SmallDelta));
    }
    let rra = first_of(header, layout, &[Cf::Failures], ForecastSetting::NoFailures)?;
    put_parameter(header, layout, rra, slot, delta.to_le_bytes());
    Ok(())
}

fn set_count(header: &mut [u8], layout: Layout, slot: usize, text: &[u8]) -> Result<(), TuneError> {
    // The original keeps 32 bits.
    let count = leading_integer(text).unwrap_or_default() as i32;
    let count = u64::try_from(count).ok().filter(|count| (1..=LONGEST_WINDOW).contains(count));
    let count = count.ok_or(TuneError::Forecast(ForecastSetting::Count))?;
    let rra = first_of(header, layout, &[Cf::Failures], ForecastSetting::NoFailures)?;
    put_parameter(header, layout, rra, slot, count.to_le_bytes());
    (0..layout.ds_count).for_each(|ds| forget_violations(header, layout, rra, ds));
    Ok(())
}

fn set_factor(
    header: &mut [u8],
    layout: Layout,
    of: &[Cf],
    slot: usize,
    text: &[u8],
) -> Result<(), TuneError> {
    let factor = factor(text)?;
    if factor <= 0.0 || factor >= 1.0 {
        return Err(TuneError::Forecast(ForecastSetting::Range));
    }
    let rra = first_of(header, layout, of, ForecastSetting::NoForecast)?;
    put_parameter(header, layout, rra, slot, factor.to_le_bytes());
    Ok(())
}

fn set_smoothing(header: &mut [u8], layout: Layout, of: Cf, text: &[u8]) -> Result<(), TuneError> {
    let share = factor(text)?;
    if !(share.is_nan() || (0.0..=1.0).contains(&share)) {
        return Err(TuneError::Forecast(ForecastSetting::Range));
    }
    let rra = first_of(header, layout, &[of], ForecastSetting::NoForecast)?;
    let version = version(header);
    if version < MICROSECONDS_SINCE {
        // The original calls it version 4 and leaves it the shape of version 1, which nobody can read.
        return Err(TuneError::Forecast(ForecastSetting::OldVersion(version)));
    }
    if version < OWN_WINDOW_SINCE {
        header[stat_head::VERSION..][..stat_head::VERSION_LEN].copy_from_slice(b"0004\0");
    }
    put_parameter(header, layout, rra, slot::SMOOTHING_WINDOW, share.to_le_bytes());
    Ok(())
}

/// The number that a text begins with; NaN is let through, as the original does.
fn factor(text: &[u8]) -> Result<f64, TuneError> {
    number_prefix(text)
        .map(|(factor, _)| factor)
        .or_else(|| special(text))
        .ok_or(TuneError::Forecast(ForecastSetting::NoNumber))
}

/// The first archive of the first of these functions that has any.
fn first_of(header: &[u8], layout: Layout, of: &[Cf], none: ForecastSetting) -> Result<usize, TuneError> {
    let first = |cf: &Cf| (0..layout.rra_count).find(|rra| archive_def(header, layout, *rra).cf == *cf);
    of.iter().find_map(first).ok_or(TuneError::Forecast(none))
}

fn put_parameter(header: &mut [u8], layout: Layout, rra: usize, slot: usize, value: [u8; WORD]) {
    put(header, layout.rra_def(rra) + rra_def::PARAMETERS + slot * WORD, value);
}

/// The flags of the window as it is now; what stands behind it nobody reads.
fn forget_violations(header: &mut [u8], layout: Layout, rra: usize, ds: usize) {
    let window = u64_at(header, layout.rra_def(rra) + rra_def::PARAMETERS + slot::WINDOW * WORD);
    // The check holds it to the length of the state.
    let len = usize::try_from(window).unwrap_or(cdp_prep::LEN).min(cdp_prep::LEN);
    header[layout.cdp_prep(rra, ds)..][..len].fill(0);
}
