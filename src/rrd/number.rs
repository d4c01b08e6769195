//! rrdtool's own number reader and its two number writers.
//!
//! The reader is not correctly rounded: it collects the digits in an `f64` and scales by repeated multiplication or
//! division. Archives hold the bits that this arithmetic gives, so it is kept as it is, and [`str::parse`] will not do.

mod digits;
mod text;

use std::fmt;

use crate::rrd::error::{DurationError, NumberError};

pub use text::Text;

/// The NaN that rrdtool writes on x86-64; every unknown in a file has these bits.
pub const UNKNOWN: f64 = f64::from_bits(0xFFF8_0000_0000_0000);

/// `value` with the bits that a file holds: every NaN is [`UNKNOWN`].
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() { UNKNOWN } else { value }
}

/// Reads a number that fills the whole text.
pub fn parse_number(text: &[u8]) -> Result<f64, NumberError> {
    match plain_decimal(text) {
        Some(value) => Ok(value),
        None => parse_other(text),
    }
}

/// Reads a number that is no plain decimal. Cold, so that its errors do not burden the others.
#[cold]
fn parse_other(text: &[u8]) -> Result<f64, NumberError> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match number_prefix(text) {
        Some((value, [])) => Ok(value),
        Some((value, rest)) => Err(NumberError::Trailing { text: lossy(text), value, rest: lossy(rest) }),
        None => special(text).ok_or_else(|| NumberError::None(lossy(text))),
    }
}

/// Reads what most texts are, a plain decimal and nothing else.
fn plain_decimal(text: &[u8]) -> Option<f64> {
    plain_decimal_prefix(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// Reads the plain decimal that a text begins with: digits that may have a point among them, and no more of them than an
/// `f64` holds exactly. Collected in an integer they make the same number, sooner. Returns it and what follows.
#[inline(always)]
pub(super) fn plain_decimal_prefix(text: &[u8]) -> Option<(f64, &[u8])> {
    match digits::short_decimal(text) {
        Some(short) => Some((divided(short.number.into(), short.decimals), &text[short.len..])),
        None => long_decimal_prefix(text),
    }
}

/// As [`plain_decimal_prefix`], for decimals of any length.
#[inline(never)]
fn long_decimal_prefix(text: &[u8]) -> Option<(f64, &[u8])> {
    const EXACT_DIGITS: usize = 15;
    let (whole, rest) = plain_digits(0, text);
    let digits = text.len() - rest.len();
    let (number, rest, decimals) = match rest {
        [b'.', decimals @ ..] => {
            let (number, rest) = plain_digits(whole, decimals);
            (number, rest, decimals.len() - rest.len())
        }
        _ => (whole, rest, 0),
    };
    let is_exact = (1..=EXACT_DIGITS).contains(&(digits + decimals));
    is_exact.then(|| (divided(number as f64, decimals as u32), rest))
}

/// Goes on with a number by the digits that a text begins with; returns it and what follows. What is too long to be
/// held comes out as anything.
pub(super) fn plain_digits(mut number: i64, text: &[u8]) -> (i64, &[u8]) {
    let mut rest = text;
    while let Some((eight, behind)) = digits::eight(rest) {
        number = number.wrapping_mul(100_000_000).wrapping_add(i64::from(eight));
        rest = behind;
    }
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
        rest = behind;
    }
    (number, rest)
}

/// Reads the number that the text begins with; returns it and what follows.
pub(super) fn number_prefix(text: &[u8]) -> Option<(f64, &[u8])> {
    let mut rest = text.trim_ascii_start_c();
    let negative = rest.first() == Some(&b'-');
    if let Some(b'-' | b'+') = rest.first() {
        rest = &rest[1..];
    }
    let mut number = 0.0_f64;
    let (digits, mut decimals) = (take_digits(&mut rest, &mut number), 0);
    if rest.first() == Some(&b'.') {
        rest = &rest[1..];
        decimals = take_digits(&mut rest, &mut number);
    }
    if digits + decimals == 0 {
        return None;
    }
    if negative {
        number = -number;
    }
    let exponent = take_exponent(&mut rest).saturating_sub(i64::try_from(decimals).unwrap_or(i64::MAX));
    EXPONENTS.contains(&exponent).then(|| (scaled(number, exponent), rest))
}

/// Exponents outside of these make the original see no number at all.
const EXPONENTS: std::ops::RangeInclusive<i64> = -1021..=1024;

fn take_digits(rest: &mut &[u8], number: &mut f64) -> usize {
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    for digit in &rest[..count] {
        *number = *number * 10.0 + f64::from(digit - b'0');
    }
    *rest = &rest[count..];
    count
}

/// The exponent behind an `e`, which may have no digits at all.
fn take_exponent(rest: &mut &[u8]) -> i64 {
    let Some(b'e' | b'E') = rest.first() else { return 0 };
    *rest = &rest[1..];
    let negative = rest.first() == Some(&b'-');
    if let Some(b'-' | b'+') = rest.first() {
        *rest = &rest[1..];
    }
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = rest[..count]
        .iter()
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    *rest = &rest[count..];
    if negative { -value } else { value }
}

/// By squares of ten, lowest bit first: the order of the roundings is part of the format.
fn scaled(mut number: f64, exponent: i64) -> f64 {
    let mut power = 10.0_f64;
    let mut bits = exponent.unsigned_abs();
    while bits != 0 {
        if bits & 1 == 1 {
            number = if exponent < 0 { number / power } else { number * power };
        }
        power *= power;
        bits >>= 1;
    }
    number
}

/// As [`scaled`] by so many decimals, of which a plain decimal has no more than fifteen.
fn divided(mut number: f64, decimals: u32) -> f64 {
    for (bit, power) in [10.0, 1e2, 1e4, 1e8].into_iter().enumerate() {
        if (decimals >> bit) & 1 == 1 {
            number /= power;
        }
    }
    number
}

/// The words that stand for a number, recognised by how a text begins: `nano` and `infinity` pass too.
pub(super) fn special(text: &[u8]) -> Option<f64> {
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if begins(b"-nan") {
        Some(UNKNOWN)
    } else if begins(b"nan") {
        Some(-UNKNOWN)
    } else if begins(b"inf") {
        Some(f64::INFINITY)
    } else if begins(b"-inf") {
        Some(f64::NEG_INFINITY)
    } else {
        None
    }
}

/// `trim_ascii_start` for C's idea of white space, which has the vertical tab too.
trait TrimAsciiStartC {
    fn trim_ascii_start_c(&self) -> &[u8];
}

impl TrimAsciiStartC for [u8] {
    fn trim_ascii_start_c(&self) -> &[u8] {
        let blanks = self.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
        &self[blanks..]
    }
}

/// The whole number that a text begins with, as C reads it: one that is too large becomes the largest.
pub fn leading_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.trim_ascii_start_c() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let digits = &digits[..digits.iter().take_while(|b| b.is_ascii_digit()).count()];
    let digit = |b: &u8| i64::from(b - b'0') * if negative { -1 } else { 1 };
    (!digits.is_empty())
        .then(|| digits.iter().fold(0_i64, |sum, b| sum.saturating_mul(10).saturating_add(digit(b))))
}

/// Reads a count, or a duration with one of the units `s m h d w M y`, as a count of `unit_secs` seconds each. What
/// follows the unit is ignored, as the original does.
pub fn parse_count(text: &[u8], unit_secs: u64) -> Result<u64, DurationError> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return Err(DurationError::NoNumber);
    }
    let number = text[..digits]
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    let secs_each = match text.get(digits) {
        None => None,
        Some(b's') => Some(1),
        Some(b'm') => Some(60),
        Some(b'h') => Some(3600),
        Some(b'd') => Some(86_400),
        Some(b'w') => Some(7 * 86_400),
        Some(b'M') => Some(31 * 86_400),
        Some(b'y') => Some(366 * 86_400),
        Some(_) => return Err(DurationError::Garbage),
    };
    if number == 0 {
        return Err(DurationError::Zero);
    }
    let Some(secs_each) = secs_each else { return Ok(number) };
    let secs = number.checked_mul(secs_each).ok_or(DurationError::TooLarge)?;
    if unit_secs == 0 || !secs.is_multiple_of(unit_secs) {
        return Err(DurationError::Truncates);
    }
    Ok(secs / unit_secs)
}

/// Shows a number as C's `%0.10e` does: correctly rounded, ties to even. What `fetch` prints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Printf(pub f64);

impl Printf {
    /// The text.
    pub fn text(self) -> Text {
        let Self(value) = self;
        if value.is_finite() { Text::printf(value) } else { Text::word(special_word(value, ["-nan", "nan"])) }
    }
}

impl fmt::Display for Printf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// The word for what is no finite number; `nan` has those for a NaN with its sign and without.
fn special_word(value: f64, nan: [&'static str; 2]) -> &'static str {
    match (value.is_nan(), value.is_sign_negative()) {
        (true, true) => nan[0],
        (true, false) => nan[1],
        (false, true) => "-inf",
        (false, false) => "inf",
    }
}

/// Shows a number as [`Printf`], but NaN as `NaN`. What `info` prints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrintfNaN(pub f64);

impl fmt::Display for PrintfNaN {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() { f.write_str("NaN") } else { Printf(self.0).fmt(f) }
    }
}

/// Shows a number as rrdtool's own writer does: ten decimals by plain `f64` arithmetic, which differs from
/// [`Printf`] in the last digit of some numbers. What `dump` prints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Own(pub f64);

impl Own {
    /// The text.
    pub fn text(self) -> Text {
        const WHOLE: u64 = 10_000_000_000;
        let Self(value) = self;
        if !value.is_finite() {
            return Text::word(special_word(value, ["NaN", "NaN"]));
        }
        let (whole, decimals, exponent) = own_digits(value.abs());
        Text::scientific(value < 0.0, whole * WHOLE + decimals, exponent)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Whole part, ten decimals and exponent of a number that is not negative.
fn own_digits(value: f64) -> (u64, u64, i32) {
    if value == 0.0 {
        return (0, 0, 0);
    }
    const DECIMALS: f64 = 1e10;
    let (mut exponent, mut power, mut rest) = (0, 1.0_f64, value);
    while rest < 1.0 && exponent > -308 {
        rest *= 10.0;
        power /= 10.0;
        exponent -= 1;
    }
    while rest >= 10.0 {
        rest /= 10.0;
        power *= 10.0;
        exponent += 1;
    }
    // Cut off, which is `floor` here, and no call.
    let floor = |number: f64| number as u64 as f64;
    let mantissa = value / power;
    let mut whole = floor(mantissa);
    let scaled = (mantissa - whole) * DECIMALS;
    let mut decimals = floor(scaled);
    if scaled - decimals >= 0.5 {
        decimals += 1.0;
    }
    if decimals >= DECIMALS {
        decimals = 0.0;
        whole += 1.0;
    }
    if whole >= 10.0 {
        whole = 1.0;
        exponent += 1;
    }
    (whole as u64, decimals as u64, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arithmetic that makes each of these is written out: the last bit counts.
    #[test]
    fn numbers_are_scaled_by_repeated_steps() {
        let read = |text: &str| parse_number(text.as_bytes()).unwrap();
        assert_eq!(read("0.001"), 1.0 / 10.0 / 100.0);
        assert_eq!(read("33.343"), 33343.0 / 10.0 / 100.0);
        assert_eq!(read("1e5"), 1.0 * 10.0 * 1e4);
        assert_eq!(read("  -12.5E+1"), -125.0);
        assert_eq!(read("18446744073709551615"), 18446744073709551616.0);
        assert_eq!([".5", "5.", "1e", "+7"].map(read), [0.5, 5.0, 1.0, 7.0]);
        assert_eq!((read("1e-400"), read("1e400")), (0.0, f64::INFINITY));
        assert!(read("-0").is_sign_negative());
    }

    /// Fifteen digits are collected in an integer, sixteen in the `f64`; neither may round where the other does not.
    #[test]
    fn plain_decimals_are_read_as_all_others() {
        for text in
            ["0", "1700000000", "0.123456", "999999999999999", "99999.999999999", ".000000000001", "7."]
        {
            let (value, rest) = number_prefix(text.as_bytes()).unwrap();
            assert_eq!(plain_decimal(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
            assert_eq!(rest, b"");
        }
        for text in ["", ".", "-1", "1e5", "1.2.3", " 1", "1 ", "9007199254740993"] {
            assert_eq!(plain_decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn specials_are_known_by_their_beginning() {
        let read = |text: &str| parse_number(text.as_bytes());
        assert!(read("nano").unwrap().is_nan() && read("-NaN").unwrap().is_sign_negative());
        assert_eq!((read("infinity"), read("-inf")), (Ok(f64::INFINITY), Ok(f64::NEG_INFINITY)));
        for text in ["", "+inf", ".", "-", "abc", " nan", "1e5000"] {
            assert_eq!(read(text), Err(NumberError::None(text.to_owned())));
        }
        let error = read("12abc").unwrap_err().to_string();
        assert_eq!(error, "Converted '12abc' to 12.000000, but cannot convert 'abc'");
    }

    #[test]
    fn durations_become_counts() {
        let read = |text: &str, unit| parse_count(text.as_bytes(), unit);
        assert_eq!((read("5mxyz", 1), read("1hour", 300), read("2M", 86_400)), (Ok(300), Ok(12), Ok(62)));
        assert_eq!(read("7", 300), Ok(7));
        assert_eq!(read("7m", 300), Err(DurationError::Truncates));
        assert_eq!(read("0x", 1), Err(DurationError::Garbage));
        assert_eq!(read("0s", 1), Err(DurationError::Zero));
        assert_eq!(read("-1", 1), Err(DurationError::NoNumber));
        assert_eq!(read("99999999999999999999y", 1), Err(DurationError::TooLarge));
    }

    /// 33667395687.5 has one decimal more than is printed: C rounds the tie to even, rrdtool's own writer up or, by its
    /// inexact arithmetic, down.
    #[test]
    fn the_two_printers_differ_where_rrdtools_do() {
        assert_eq!(Printf(33_667_395_687.5).to_string(), "3.3667395688e+10");
        assert_eq!(Own(33_667_395_687.5).to_string(), "3.3667395687e+10");
        assert_eq!(
            (Printf(-0.0).to_string(), Own(-0.0).to_string()),
            ("-0.0000000000e+00".into(), "0.0000000000e+00".into())
        );
        assert_eq!(
            (Printf(1e-310).to_string(), Own(1e-310).to_string()),
            ("1.0000000000e-310".into(), "0.0100000000e-308".into())
        );
        assert_eq!((Printf(UNKNOWN).to_string(), Own(UNKNOWN).to_string()), ("-nan".into(), "NaN".into()));
        assert_eq!(
            (Printf(-UNKNOWN).to_string(), PrintfNaN(UNKNOWN).to_string()),
            ("nan".into(), "NaN".into())
        );
        assert_eq!(
            (Printf(f64::MAX).to_string(), Own(f64::NEG_INFINITY).to_string()),
            ("1.7976931349e+308".into(), "-inf".into())
        );
        assert_eq!(Own(9.999_999_999_99).to_string(), "1.0000000000e+01");
    }
}
