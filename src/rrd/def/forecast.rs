//! The definitions of forecasting archives: reading, storing, what one of them implies.

use crate::rrd::def::{ArchiveDef, Cf, Forecast};
use crate::rrd::error::{DefinitionError, ForecastError};
use crate::rrd::layout::{LONGEST_WINDOW, OWN_WINDOW_SINCE, WORD, f64_at, put, u64_at};
use crate::rrd::number::{parse_count, parse_number};

const USUAL_WINDOW: f64 = 0.05;
const USUAL_DELTA: f64 = 2.0;

/// Stands for the season of a forecast that names none, until its place is known.
const NONE: u64 = u64::MAX - 1;

/// Reads the fields behind the function's name.
pub(super) fn parse(cf: Cf, fields: &[&str], step_secs: u64) -> Result<ArchiveDef, DefinitionError> {
    let wanted = match cf {
        Cf::HwPredict | Cf::MhwPredict | Cf::Failures => 5,
        Cf::DevPredict => 3,
        _ => 4,
    };
    let few = DefinitionError::FewFields { wanted, got: fields.len() + 1 };
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    if fields.len() + 1 < wanted {
        return Err(few);
    }
    let rows = parse_count(field(0).as_bytes(), step_secs)
        .map_err(|error| DefinitionError::Rows { text: field(0).to_owned(), error })?;
    let forecast = match cf {
        Cf::HwPredict | Cf::MhwPredict => parse_predict(fields, rows)?,
        Cf::Seasonal | Cf::DevSeasonal => parse_seasonal(fields)?,
        // Of FAILURES the original takes more, and then names the wrong archive in it.
        Cf::DevPredict | Cf::Failures if fields.len() >= wanted => {
            return Err(DefinitionError::ExtraField(cf.name().to_owned()));
        }
        Cf::DevPredict => Forecast::DevPredict { dev_seasonal: index_of(field(1)) },
        _ => parse_failures(fields)?,
    };
    Ok(ArchiveDef { cf, xff: 0.0, pdp_per_row: 1, rows, forecast: Some(forecast) })
}

fn parse_predict(fields: &[&str], rows: u64) -> Result<Forecast, ForecastError> {
    let (alpha, beta) = (factor("alpha", fields[1], false)?, factor("beta", fields[2], true)?);
    let period = integer(fields[3]);
    if period == 0 {
        return Err(ForecastError::Cycle);
    }
    // A negative one is huge to the original.
    let period =
        u64::try_from(period).ok().filter(|period| *period <= rows).ok_or(ForecastError::LongCycle)?;
    if fields.len() > 5 {
        return Err(ForecastError::Extra);
    }
    let seasonal = fields.get(4).map_or(NONE, |field| index_of(field));
    Ok(Forecast::Predict { alpha, beta, seasonal, period: period as f64 })
}

fn parse_seasonal(fields: &[&str]) -> Result<Forecast, ForecastError> {
    let gamma = factor("gamma", fields[1], false)?;
    let (mut smoothing_window, mut own_window) = (USUAL_WINDOW, false);
    // Only the first option counts; with a second one the original loses the archive's number.
    if let Some(option) = fields.get(3) {
        let refused = || ForecastError::Option((*option).to_owned());
        let value = option.strip_prefix("smoothing-window").ok_or_else(refused)?;
        own_window = true;
        if let Some(value) = value.strip_prefix('=') {
            smoothing_window = parse_number(value.as_bytes()).map_err(|_| refused())?;
            if !(0.0..=1.0).contains(&smoothing_window) {
                return Err(ForecastError::SmoothingWindow(smoothing_window));
            }
        } else if !value.is_empty() {
            return Err(refused());
        }
    }
    Ok(Forecast::Seasonal {
        gamma,
        smoothing_window,
        own_window,
        predict: index_of(fields[2]),
        smooth_index: 0,
    })
}

fn parse_failures(fields: &[&str]) -> Result<Forecast, ForecastError> {
    let bounded = |what, text| {
        let number = u64::try_from(integer(text)).ok().filter(|number| (1..=LONGEST_WINDOW).contains(number));
        number.ok_or(ForecastError::Range(what))
    };
    let threshold = bounded("Failure threshold", fields[1])?;
    let window = integer(fields[2]);
    if (0..threshold as i64).contains(&window) {
        return Err(ForecastError::ShortWindow);
    }
    let window = bounded("Window length", fields[2])?;
    let dev_seasonal = index_of(fields[3]);
    Ok(Forecast::Failures { delta_pos: USUAL_DELTA, delta_neg: USUAL_DELTA, dev_seasonal, window, threshold })
}

/// The four archives that a forecast brings along when it names no season, which then is the first of them.
pub(super) fn implied(archive: &mut ArchiveDef, index: u64) -> Option<[ArchiveDef; 4]> {
    let Some(Forecast::Predict { alpha: gamma, seasonal, period, .. }) = &mut archive.forecast else {
        return None;
    };
    if *seasonal != NONE {
        return None;
    }
    *seasonal = index + 1;
    let (gamma, period) = (*gamma, *period as u64);
    let one = |cf, rows, forecast| ArchiveDef { cf, rows, forecast: Some(forecast), ..*archive };
    let own_window = archive.cf == Cf::MhwPredict;
    let season =
        Forecast::Seasonal { gamma, smoothing_window: 0.0, own_window, predict: index, smooth_index: 0 };
    let dev_seasonal = index + 2;
    let (delta_pos, delta_neg) = (USUAL_DELTA, USUAL_DELTA);
    let failures = Forecast::Failures { delta_pos, delta_neg, dev_seasonal, window: 9, threshold: 7 };
    Some([
        one(Cf::Seasonal, period, season),
        one(Cf::DevSeasonal, period, season),
        one(Cf::DevPredict, archive.rows, Forecast::DevPredict { dev_seasonal }),
        one(Cf::Failures, period, failures),
    ])
}

impl Forecast {
    /// Reads the parameters of an archive of a forecasting function.
    pub(in crate::rrd) fn read(cf: Cf, parameters: &[u8], version: u32) -> Option<Self> {
        let number = |slot: usize| f64_at(parameters, slot * WORD);
        let count = |slot: usize| u64_at(parameters, slot * WORD);
        Some(match cf {
            Cf::Average | Cf::Min | Cf::Max | Cf::Last => return None,
            Cf::HwPredict | Cf::MhwPredict => {
                Self::Predict { alpha: number(1), beta: number(2), seasonal: count(3), period: number(4) }
            }
            Cf::Seasonal | Cf::DevSeasonal => Self::Seasonal {
                gamma: number(1),
                smoothing_window: number(2),
                own_window: version >= OWN_WINDOW_SINCE,
                predict: count(3),
                smooth_index: count(4),
            },
            Cf::DevPredict => Self::DevPredict { dev_seasonal: count(3) },
            Cf::Failures => Self::Failures {
                delta_pos: number(1),
                delta_neg: number(2),
                dev_seasonal: count(3),
                window: count(4),
                threshold: count(5),
            },
        })
    }

    /// Stores them.
    pub(in crate::rrd) fn write(&self, parameters: &mut [u8]) {
        let bits = |values: [f64; 2]| values.map(f64::to_bits);
        let ([first, second], last) = match *self {
            Self::Predict { alpha, beta, period, .. } => (bits([alpha, beta]), [period.to_bits(), 0]),
            Self::Seasonal { gamma, smoothing_window, smooth_index, .. } => {
                (bits([gamma, smoothing_window]), [smooth_index, 0])
            }
            Self::Failures { delta_pos, delta_neg, window, threshold, .. } => {
                (bits([delta_pos, delta_neg]), [window, threshold])
            }
            Self::DevPredict { .. } => ([0; 2], [0; 2]),
        };
        let words = [0, first, second, self.dependency(), last[0], last[1]];
        for (slot, word) in words.into_iter().enumerate() {
            put(parameters, slot * WORD, word.to_le_bytes());
        }
    }

    /// The archive that it works with.
    pub(in crate::rrd) fn dependency(&self) -> u64 {
        match *self {
            Self::Predict { seasonal, .. } => seasonal,
            Self::Seasonal { predict, .. } => predict,
            Self::DevPredict { dev_seasonal } | Self::Failures { dev_seasonal, .. } => dev_seasonal,
        }
    }

    /// The share of the season that smoothing takes the mean over.
    pub(in crate::rrd) fn window(&self) -> f64 {
        match *self {
            Self::Seasonal { smoothing_window, own_window: true, .. } => smoothing_window,
            _ => USUAL_WINDOW,
        }
    }
}

/// Whether everything that the engine relies on is there: one step per row, no longer a window than there is room for,
/// and the archive that it works with; `cf_of` knows the functions of all archives.
pub(in crate::rrd) fn is_whole(archive: &ArchiveDef, cf_of: impl Fn(usize) -> Option<Cf>) -> bool {
    let Some(forecast) = &archive.forecast else { return !archive.cf.is_forecast() };
    let fits = match archive.cf {
        Cf::HwPredict | Cf::MhwPredict => matches!(forecast, Forecast::Predict { .. }),
        Cf::Seasonal | Cf::DevSeasonal => matches!(forecast, Forecast::Seasonal { .. }),
        Cf::DevPredict => matches!(forecast, Forecast::DevPredict { .. }),
        Cf::Failures => {
            matches!(forecast, Forecast::Failures { window, .. } if (1..=LONGEST_WINDOW).contains(window))
        }
        _ => false,
    };
    let other = usize::try_from(forecast.dependency()).ok().and_then(cf_of);
    let of_use = match forecast {
        Forecast::Predict { .. } => other == Some(Cf::Seasonal),
        Forecast::Seasonal { .. } => matches!(other, Some(Cf::HwPredict | Cf::MhwPredict)),
        Forecast::DevPredict { .. } | Forecast::Failures { .. } => other == Some(Cf::DevSeasonal),
    };
    archive.pdp_per_row == 1 && fits && of_use
}

fn factor(name: &'static str, text: &str, closed: bool) -> Result<f64, ForecastError> {
    let factor = parse_number(text.as_bytes()).map_err(|_| ForecastError::Factor(name))?;
    let at_a_bound = factor == 0.0 || factor == 1.0;
    // NaN is let through, as the original does: everything forecast by it is unknown.
    let holds = factor.is_nan() || (0.0..=1.0).contains(&factor) && (closed || !at_a_bound);
    if holds { Ok(factor) } else { Err(ForecastError::Factor(name)) }
}

/// An archive's number, counted from 1, as its index.
fn index_of(text: &str) -> u64 {
    u64::try_from(integer(text) - 1).unwrap_or(u64::MAX)
}

/// As C's `atoi`: what is no number is 0.
fn integer(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = digits.bytes().take_while(u8::is_ascii_digit).fold(0_i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(i64::from(i32::MAX))
    });
    if negative { -number } else { number }
}
