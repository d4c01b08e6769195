//! What one argument of an update says: its time, and by how much each data source grew. Pure arithmetic on texts.

use std::io::Write as _;

use crate::rrd::at;
use crate::rrd::def::DsType;
use crate::rrd::error::UpdateError;
use crate::rrd::file::{DsDef, last_ds_at};
use crate::rrd::layout::LAST_DS_LEN;
use crate::rrd::number::{UNKNOWN, parse_number};
use crate::time::UnixTime;

/// One reading of one data source.
pub(super) struct Reading<'a> {
    pub(super) text: &'a [u8],
    /// The value itself, where it did not come as text.
    pub(super) value: Option<f64>,
    /// The data source's `pdp_prep`, which has the text of the reading before.
    pub(super) prep: &'a [u8],
}

impl Reading<'_> {
    /// What the data source grew by in `interval` seconds: value times seconds, NaN when unknown.
    pub(super) fn growth(&self, def: &DsDef, interval: f64) -> Result<f64, UpdateError> {
        if self.text.starts_with(b"U") || (def.heartbeat as f64) < interval {
            return Ok(UNKNOWN);
        }
        let (growth, rate) = match def.ds_type {
            DsType::Gauge => return Ok(gauge_growth(self.number(&def.ds_type)?, def, interval)),
            DsType::Absolute => {
                let value = self.number(&def.ds_type)?;
                (value, value / interval)
            }
            DsType::Counter => {
                if !self.text.iter().all(u8::is_ascii_digit) {
                    return Err(UpdateError::Unsigned(lossy(self.text)));
                }
                let growth = unwrapped(self.difference());
                (growth, growth / interval)
            }
            DsType::Derive => {
                if !self.text.strip_prefix(b"-").unwrap_or(self.text).iter().all(u8::is_ascii_digit) {
                    return Err(UpdateError::Signed(lossy(self.text)));
                }
                let growth = self.difference();
                (growth, growth / interval)
            }
            DsType::DCounter | DsType::DDerive => {
                let growth = self.float_difference(&def.ds_type)?;
                (growth, growth / interval)
            }
            DsType::Compute(_) => return Ok(UNKNOWN),
        };
        Ok(within_limits(growth, rate, def))
    }

    fn number(&self, ds_type: &DsType) -> Result<f64, UpdateError> {
        self.value.map_or_else(|| parse_reading(self.text, ds_type), Ok)
    }

    /// The difference of two readings with fractions; the first one is not even looked at.
    fn float_difference(&self, ds_type: &DsType) -> Result<f64, UpdateError> {
        let last = last_ds_at(self.prep);
        if last.starts_with(b"U") {
            return Ok(UNKNOWN);
        }
        let now = self.number(ds_type)?;
        let last = parse_reading(last, ds_type)?;
        // A counter that goes back towards zero was reset.
        let reset = now > 0.0 && last > now || now < 0.0 && now > last;
        Ok(if *ds_type == DsType::DCounter && reset { UNKNOWN } else { now - last })
    }

    fn difference(&self) -> f64 {
        let last = last_ds_at(self.prep);
        if last.starts_with(b"U") { UNKNOWN } else { decimal_difference(self.text, last) }
    }
}

/// What a gauge with this value grew by in `interval` seconds.
pub(super) fn gauge_growth(value: f64, def: &DsDef, interval: f64) -> f64 {
    if (def.heartbeat as f64) < interval { UNKNOWN } else { within_limits(value * interval, value, def) }
}

fn within_limits(growth: f64, rate: f64, def: &DsDef) -> f64 {
    if rate < def.min || rate > def.max { UNKNOWN } else { growth }
}

fn parse_reading(text: &[u8], ds_type: &DsType) -> Result<f64, UpdateError> {
    parse_number(text).map_err(|error| UpdateError::Value { ds_type: ds_type.name(), error })
}

/// A counter's growth where it wrapped. The original adds 2^32 - 1, not 2^32, and so do we.
fn unwrapped(growth: f64) -> f64 {
    const WRAP_32: f64 = 4_294_967_295.0;
    const WRAP_64: f64 = 18_446_744_069_414_584_320.0;
    if growth >= 0.0 || growth.is_nan() {
        return growth;
    }
    let growth = growth + WRAP_32;
    if growth < 0.0 { growth + WRAP_64 } else { growth }
}

/// `a - b` of two whole numbers, exact in its decimal digits before it becomes a float; NaN where either has none.
fn decimal_difference(a: &[u8], b: &[u8]) -> f64 {
    /// Longer texts are unknown to the original.
    const DIGITS: usize = 30;
    let ((a_negative, a), (b_negative, b)) = (first_digits(a), first_digits(b));
    let is_number = |digits: &[u8]| (1..=DIGITS).contains(&digits.len());
    if a_negative != b_negative || !is_number(a) || !is_number(b) {
        return UNKNOWN;
    }
    // Right-aligned, so that digits of one weight stand in one place.
    let padded = |text: &[u8]| {
        let mut digits = [0_u8; DIGITS];
        for (place, digit) in digits[DIGITS - text.len()..].iter_mut().zip(text) {
            *place = digit - b'0';
        }
        digits
    };
    let (a, b) = (padded(a), padded(b));
    let (large, small, negative) = if a >= b { (a, b, a_negative) } else { (b, a, !a_negative) };
    let mut digits = [0_u8; DIGITS];
    let mut borrow = 0;
    for place in (0..DIGITS).rev() {
        let subtrahend = small[place] + borrow;
        borrow = u8::from(large[place] < subtrahend);
        digits[place] = large[place] + 10 * borrow - subtrahend;
    }
    let value = digits.iter().fold(0.0_f64, |sum, digit| sum * 10.0 + f64::from(*digit));
    if negative { -value } else { value }
}

/// The first digits in a text, and whether a minus stands before them. A text that nobody looked at, because it came
/// after a gap, can be the last reading, so there may be anything around them.
fn first_digits(text: &[u8]) -> (bool, &[u8]) {
    let start = text.iter().position(u8::is_ascii_digit).unwrap_or(text.len());
    let len = text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    (text[..start].contains(&b'-'), &text[start..start + len])
}

/// A time behind `@`.
pub(super) fn at_time(text: &[u8], now: UnixTime) -> Result<(i64, u32), UpdateError> {
    let shown = lossy(text);
    let spec = at::parse(&shown, now).map_err(|error| UpdateError::AtTime { time: shown.clone(), error })?;
    match spec.absolute() {
        Some(time) => Ok((time.secs(), 0)),
        None => Err(UpdateError::RelativeTime(shown)),
    }
}

/// `N`, seconds since 1970, or negative seconds from now.
pub(super) fn plain_time(text: &[u8], now: UnixTime) -> Result<(i64, u32), UpdateError> {
    if text == b"N" {
        return Ok((now.secs(), now.subsec_micros()));
    }
    let mut time = parse_number(text).map_err(UpdateError::Time)?;
    if time < 0.0 {
        time += now.secs() as f64 + f64::from(now.subsec_micros()) / 1e6;
    }
    // Times without a fraction are spared the call.
    let is_whole = time as i64 as f64 == time;
    let whole = if is_whole { time } else { time.floor() };
    // What is out of range becomes the smallest number, as the conversion does on x86-64, and is refused as past.
    let in_range = whole >= i64::MIN as f64 && whole < -(i64::MIN as f64);
    let secs = if in_range { whole as i64 } else { i64::MIN };
    let micros = ((time - whole) * 1e6) as u32;
    Ok((secs, micros.min(999_999)))
}

/// The shortest text that is read back as `value`, of no more than 29 bytes.
pub(super) fn write_short(texts: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        texts.push(b'U');
        return;
    }
    let start = texts.len();
    // Writing to a Vec does not fail.
    let _ = write!(texts, "{value}");
    if texts.len() - start >= LAST_DS_LEN {
        texts.truncate(start);
        let _ = write!(texts, "{value:e}");
    }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_exact_before_they_are_floats() {
        let difference = |a: &str, b: &str| decimal_difference(a.as_bytes(), b.as_bytes());
        assert_eq!(difference("18446744073709551617", "18446744073709551616"), 1.0);
        assert_eq!(difference("99", "100"), -1.0);
        assert_eq!(difference("-5", "-15"), 10.0);
        assert_eq!(difference("1000", "ab12cd34"), 988.0);
        for (a, b) in [("5", "-5"), ("", "5"), ("5", "U"), (&"1".repeat(31), "1"), ("-", "-1")] {
            assert!(difference(a, b).is_nan(), "{a} {b}");
        }
    }

    /// One less than the truth, as in the original.
    #[test]
    fn a_counter_that_wraps_gains_2_to_the_32_less_one() {
        assert_eq!(unwrapped(-4_294_967_295.0), 0.0);
        assert_eq!(unwrapped(-4_294_967_290.0), 5.0);
        assert_eq!(unwrapped(-18_446_744_073_709_551_615.0), 0.0);
        assert_eq!(unwrapped(7.0), 7.0);
        assert!(unwrapped(UNKNOWN).is_nan());
    }

    #[test]
    fn times_keep_truncated_microseconds() {
        let now = UnixTime::from_micros(1_700_000_000_500_000);
        let read = |text: &str| plain_time(text.as_bytes(), now);
        assert_eq!(read("1700000010.3"), Ok((1_700_000_010, 299_999)));
        assert_eq!(read("N"), Ok((1_700_000_000, 500_000)));
        assert_eq!(read("-10"), Ok((1_699_999_990, 500_000)));
        assert_eq!(read("1e19"), Ok((i64::MIN, 0)));
    }

    #[test]
    fn a_value_is_written_so_that_it_is_read_back() {
        let short = |value| {
            let mut text = Vec::new();
            write_short(&mut text, value);
            String::from_utf8(text).unwrap()
        };
        assert_eq!([0.0121, 20.0, f64::NAN, 1.5e-300].map(short), ["0.0121", "20", "U", "1.5e-300"]);
        for value in [f64::MAX, f64::MIN_POSITIVE, -1.0 / 3.0, 5e-324] {
            assert!(short(value).len() < LAST_DS_LEN);
            assert_eq!(short(value).parse(), Ok(value));
        }
    }
}
