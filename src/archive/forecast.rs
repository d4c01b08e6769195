//! The forecast of an archive, after Holt and Winters, and what it says of the newest rounds.
//!
//! Its season is a day. It says nothing before it has seen two of them, for its own deviation is known only then.

use std::time::Duration;

use super::layout::Columns;
use crate::rrd::{self, ArchiveDef, Cf, Forecast};
use crate::time::{Step, UnixTime};

const SEASON_SECS: u64 = 86_400;

/// How fast the level follows: by this share of what is new. rrdtool's manual has it so.
const ALPHA: f64 = 0.1;
/// A latency has no trend, and one that was seen in an outage would be carried on over the next gap.
const BETA: f64 = 0.0;
/// The same for the season and its deviation, once a day.
const GAMMA: f64 = 0.1;
/// A round is too far off where it is so many deviations away. In the third day each deviation was seen once, and
/// rrdtool's usual two, seven rounds of nine, then call a few of every thousand ordinary rounds aberrant.
const DELTA: f64 = 3.0;
/// The forecast has failed where so many rounds were too far off
const THRESHOLD: u64 = 9;
/// of so many.
const WINDOW: u64 = 10;

/// The archives of a forecast in a file that has so many others before them.
pub(super) fn archives(step: Step, others: usize) -> [ArchiveDef; 5] {
    let step_secs = u64::from(step.secs());
    let rows = ((SEASON_SECS + step_secs / 2) / step_secs).max(1);
    let predict = others as u64;
    let (seasonal, dev_seasonal) = (predict + 1, predict + 2);
    let season = Forecast::Seasonal {
        gamma: GAMMA,
        smoothing_window: 0.05,
        own_window: false,
        predict,
        smooth_index: 0,
    };
    let one = |cf, forecast| ArchiveDef { cf, xff: 0.0, pdp_per_row: 1, rows, forecast: Some(forecast) };
    [
        one(Cf::HwPredict, Forecast::Predict { alpha: ALPHA, beta: BETA, seasonal, period: rows as f64 }),
        one(Cf::Seasonal, season),
        one(Cf::DevSeasonal, season),
        one(Cf::DevPredict, Forecast::DevPredict { dev_seasonal }),
        one(
            Cf::Failures,
            Forecast::Failures {
                delta_pos: DELTA,
                delta_neg: DELTA,
                dev_seasonal,
                window: WINDOW,
                threshold: THRESHOLD,
            },
        ),
    ]
}

/// Whether an archive has a forecast that tells when it failed.
pub(super) fn is_in<B: AsRef<[u8]>>(view: &rrd::Rrd<B>) -> bool {
    view.archives().any(|archive| archive.cf == Cf::Failures)
}

/// Whether the medians up to the round that ended `at` were too far off too often. `None` where nothing is forecast for
/// it, or where it has failed because medians were unknown: to rrdtool these are too far off, and to us they are not.
pub(super) fn is_aberrant<B: AsRef<[u8]>>(
    view: &rrd::Rrd<B>,
    columns: &Columns,
    at: UnixTime,
) -> Result<Option<bool>, rrd::Error> {
    let step = view.step();
    let window = view.archives().find_map(|archive| match archive.forecast {
        Some(Forecast::Failures { window, .. }) => Some(window),
        _ => None,
    });
    let Some(window) = window else { return Ok(None) };
    let medians = |cf, rows: u64| {
        let start = at.minus(Duration::from_secs(rows * u64::from(step.secs())));
        let fetched = view.fetch(cf, start, at, step.secs().into()).map_err(rrd::Error::Fetch)?;
        let within = fetched.rows().filter(move |(end, _)| start < *end && *end <= at);
        Ok::<Vec<f64>, rrd::Error>(within.filter_map(|(_, row)| row.values().nth(columns.median)).collect())
    };
    Ok(match medians(Cf::Failures, 1)?.last() {
        Some(failed) if *failed == 0.0 => Some(false),
        Some(failed) if *failed == 1.0 => {
            let all_known = medians(Cf::Average, window)?.iter().all(|median| !median.is_nan());
            all_known.then_some(true)
        }
        _ => None,
    })
}
