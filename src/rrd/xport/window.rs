//! The operators that look at many rows of a series: TREND and the PREDICTs.

use crate::rrd::error::XportError;
use crate::rrd::number::UNKNOWN;
use crate::rrd::rpn::{SeriesOperator, Stack, sort};
use crate::rrd::xport::Work;
use crate::rrd::xport::cdef::Cursor;

/// The mean of the rows of the last `window` seconds; unknown until there are as many.
pub(super) fn trend(
    cursor: Cursor<'_>,
    window: f64,
    row: i64,
    skips_unknown: bool,
    work: &mut Work,
) -> Result<f64, XportError> {
    let rows = (window / cursor.series.step as f64).ceil();
    if rows.is_nan() || rows >= f64::from(i32::MAX) || rows <= f64::from(i32::MIN) {
        return Err(XportError::Window);
    }
    let rows = rows as i64;
    if row < rows {
        return Ok(UNKNOWN);
    }
    let rows = rows.max(1);
    work.spend(rows.unsigned_abs())?;
    let (mut count, mut sum) = (0.0, 0.0);
    for ago in 1..=rows {
        let value = cursor.series.row(cursor.next - ago);
        if !skips_unknown || !value.is_nan() {
            count += 1.0;
            sum += value;
        }
    }
    Ok(if count == 0.0 { UNKNOWN } else { sum / count })
}

/// What a PREDICT is told.
pub(super) struct Forecast {
    kind: Kind,
    window: f64,
    shifts: Shifts,
}

enum Kind {
    Mean,
    Sigma,
    Percentile(f64),
}

enum Shifts {
    Each(Vec<f64>),
    /// So many multiples, from none on.
    Multiples(f64, i32),
}

impl Forecast {
    /// Takes it from the stack: shifts, their number, the window, the percentile, and the value itself.
    pub(super) fn take(operator: SeriesOperator, stack: &mut Stack) -> Result<Self, XportError> {
        stack.pop()?;
        let kind = match operator {
            SeriesOperator::Predict => Kind::Mean,
            SeriesOperator::PredictSigma => Kind::Sigma,
            _ => {
                let percentile = stack.pop()?;
                if !(-100.0..=100.0).contains(&percentile) {
                    return Err(XportError::Percentile(percentile));
                }
                Kind::Percentile(percentile)
            }
        };
        let [count, window] = stack.take()?;
        let count = c_int(count);
        let shifts = if count < 0 {
            Shifts::Multiples(stack.pop()?, count.saturating_neg())
        } else {
            Shifts::Each(stack.top(f64::from(count))?.to_vec())
        };
        if let Shifts::Each(each) = &shifts {
            stack.drop(each.len());
        }
        Ok(Self { kind, window, shifts })
    }

    /// The value at a row, from the rows that the shifts and the window reach.
    pub(super) fn value(
        &self,
        cursor: Option<Cursor<'_>>,
        row: i64,
        work: &mut Work,
    ) -> Result<f64, XportError> {
        let Some(cursor) = cursor else { return Ok(UNKNOWN) };
        let step = cursor.series.step as f64;
        let window = i64::from(c_int((self.window / step).ceil()));
        let mut known = Vec::new();
        // Whether the shift reaches any row.
        let mut look = |shift: f64| -> Result<bool, XportError> {
            let shift = c_int(shift);
            if shift < 0 {
                return Err(XportError::NegativeShift(shift));
            }
            let first = (f64::from(shift) / step).ceil() as i64;
            // What lies before the first row does not count.
            let last = (first + window).min(row - 2);
            work.spend(u64::try_from(last - first).unwrap_or(0) + WORK_OF_A_SHIFT)?;
            let values = (first..=last).map(|ago| cursor.series.row(cursor.next - ago));
            known.extend(values.filter(|value| !value.is_nan()));
            if known.len() > MOST_KNOWN {
                return Err(XportError::Work);
            }
            Ok(first <= last)
        };
        match &self.shifts {
            Shifts::Each(each) => {
                each.iter().try_for_each(|shift| look(*shift).map(drop))?;
            }
            Shifts::Multiples(shift, count) => {
                // One that does not fit ends it, and then it need not be come to first.
                let farthest = c_int(shift * f64::from(count - 1));
                if farthest == i32::MIN && (shift.is_nan() || *shift > 0.0) {
                    return Err(XportError::NegativeShift(farthest));
                }
                for multiple in 0..*count {
                    if !look(shift * f64::from(multiple))? && *shift > 0.0 {
                        break;
                    }
                }
            }
        }
        Ok(self.kind.of(&mut known))
    }
}

impl Kind {
    fn of(&self, known: &mut [f64]) -> f64 {
        let count = known.len() as f64;
        if count == 0.0 {
            return UNKNOWN;
        }
        let sum: f64 = known.iter().sum();
        match *self {
            Self::Mean => sum / count,
            Self::Sigma => {
                let squares: f64 = known.iter().map(|value| value * value).sum();
                let variance = count * squares - sum * sum;
                if count < 2.0 || variance < 0.0 {
                    return UNKNOWN;
                }
                (variance / (count * (count - 1.0))).sqrt()
            }
            Self::Percentile(percent) => {
                sort(known);
                let place = percent.abs() / 100.0 * (count - 1.0);
                if percent < 0.0 {
                    return known[place.round() as usize];
                }
                let below = place.floor();
                let low = known[below as usize];
                if place == below {
                    // Not to be lost where the next one is infinite.
                    return low;
                }
                low + (known[place.ceil() as usize] - low) * (place - below)
            }
        }
    }
}

const WORK_OF_A_SHIFT: u64 = 16;

/// More values than these (32 MB) are not gathered for one row.
const MOST_KNOWN: usize = 1 << 22;

/// As C's conversion to `int` on x86-64: what does not fit is the least.
fn c_int(value: f64) -> i32 {
    let fits = value > f64::from(i32::MIN) - 1.0 && value < f64::from(i32::MAX) + 1.0;
    if fits { value as i32 } else { i32::MIN }
}
