//! Numbers in scientific notation with ten decimals, written without the machinery of `fmt`: fetch and dump print
//! millions of them.

use std::fmt::Write;

/// The text of one number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    bytes: [u8; 24],
    len: usize,
}

impl Text {
    /// Its bytes, which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// A word that stands for a number.
    pub(super) fn word(word: &str) -> Self {
        let mut text = Self::default();
        text.push(word.as_bytes());
        text
    }

    /// `d.dddddddddde±dd` from eleven digits.
    pub(super) fn scientific(negative: bool, digits: u64, exponent: i32) -> Self {
        let mut bytes = *b"-0.0000000000e+00\0\0\0\0\0\0\0";
        let (head, tail) = ((digits / 100_000_000) as u32, (digits % 100_000_000) as u32);
        bytes[1] = b'0' + (head / 100) as u8;
        for (at, two) in [(3, head), (5, tail / 1_000_000), (7, tail / 10_000), (9, tail / 100), (11, tail)] {
            bytes[at..at + 2].copy_from_slice(&PAIRS[two as usize % 100]);
        }
        if exponent < 0 {
            bytes[14] = b'-';
        }
        let exponent = exponent.unsigned_abs() as usize;
        let mut len = 17;
        if exponent >= 100 {
            bytes[15] = b'0' + (exponent / 100) as u8;
            len += 1;
        }
        bytes[len - 2..len].copy_from_slice(&PAIRS[exponent % 100]);
        let mut text = Self { bytes, len };
        if !negative {
            text.bytes.copy_within(1.., 0);
            text.len -= 1;
        }
        text
    }

    /// As C's `%0.10e`: correctly rounded, ties to even.
    pub(super) fn printf(value: f64) -> Self {
        let magnitude = value.abs();
        if magnitude == 0.0 {
            return Self::scientific(value.is_sign_negative(), 0, 0);
        }
        let (digits, exponent) = rounded(magnitude).unwrap_or_else(|| rounded_by_fmt(magnitude));
        Self::scientific(value < 0.0, digits, exponent)
    }

    fn push(&mut self, some: &[u8]) {
        self.bytes[self.len..][..some.len()].copy_from_slice(some);
        self.len += some.len();
    }
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

const DIGITS: usize = 11;
const LEAST: u64 = 10_u64.pow(DIGITS as u32 - 1);

/// Eleven digits and the exponent of the first, for the numbers that are met: from a billionth of a thousandth to ten
/// billions. Their digits before the rounding are exact in 128 bits.
fn rounded(value: f64) -> Option<(u64, i32)> {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: i32 = 1023;
    const POWERS: [u128; 23] = {
        let mut powers = [1; 23];
        let mut index = 1;
        while index < powers.len() {
            powers[index] = powers[index - 1] * 10;
            index += 1;
        }
        powers
    };
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - BIAS;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1) | 1 << MANTISSA_BITS;
    // The value is the mantissa over two to this.
    let shift =
        u32::try_from(MANTISSA_BITS as i32 - exponent).ok().filter(|shift| (1..=126).contains(shift))?;
    // The logarithm of two, not quite: one too few or too many is mended.
    let mut tens = (exponent * 1233) >> 12;
    for _ in 0..3 {
        let power = usize::try_from(DIGITS as i32 - 1 - tens).ok()?;
        let scaled = u128::from(mantissa) * POWERS.get(power)?;
        let (mut digits, rest) = ((scaled >> shift) as u64, scaled & ((1 << shift) - 1));
        if digits >= 10 * LEAST {
            tens += 1;
            continue;
        }
        if digits < LEAST {
            tens -= 1;
            continue;
        }
        let half = 1 << (shift - 1);
        if rest > half || rest == half && digits % 2 == 1 {
            digits += 1;
        }
        return Some(if digits == 10 * LEAST { (LEAST, tens + 1) } else { (digits, tens) });
    }
    None
}

/// The same for every number.
fn rounded_by_fmt(value: f64) -> (u64, i32) {
    struct Buffer(Text);
    impl Write for Buffer {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push(text.as_bytes());
            Ok(())
        }
    }
    let mut buffer = Buffer(Text::default());
    let written = write!(buffer, "{value:.10e}");
    debug_assert!(written.is_ok());
    let (mantissa, exponent) = buffer.0.as_str().split_once('e').unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let digits = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    (digits, exponent.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the quick way answers, the standard library's exact arithmetic says the same.
    #[test]
    fn the_quick_way_rounds_as_the_exact_one() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut quick, mut all) = (0, 0);
        let mut same = |value: f64| {
            all += 1;
            if let Some(found) = rounded(value) {
                quick += 1;
                assert_eq!(found, rounded_by_fmt(value), "{value:e}");
            }
        };
        for _ in 0..20_000 {
            let bits = random();
            let mantissa = bits & ((1 << 52) - 1);
            same(f64::from_bits((1023 - 60 + (bits >> 58)) << 52 | mantissa));
            same((bits >> 40) as f64 / 1000.0);
            same((bits >> 50) as f64 / 64.0);
            same((bits >> 11) as f64 / (1_u64 << 53) as f64);
        }
        for power in -20..20 {
            for value in [10_f64.powi(power), 9.999_999_999_95 * 10_f64.powi(power), 5.0 * 10_f64.powi(power)]
            {
                same(value);
                same(value.next_up());
                same(value.next_down());
            }
        }
        // Ties: digits behind the eleventh that are exactly a half.
        for odd in 0..1000 {
            same(1_000_000_000.0 + f64::from(odd) / 10.0 + 0.05);
            same(10_000_000_000.5 + f64::from(odd));
        }
        assert!(quick > all / 2, "{quick} of {all}");
    }

    #[test]
    fn exponents_have_two_digits_or_three() {
        let text = |value: f64| Text::printf(value).as_str().to_owned();
        assert_eq!(text(0.0), "0.0000000000e+00");
        assert_eq!(text(-0.0), "-0.0000000000e+00");
        assert_eq!(text(-1.5e-7), "-1.5000000000e-07");
        assert_eq!(text(f64::MAX), "1.7976931349e+308");
        assert_eq!(text(-5e-324), "-4.9406564584e-324");
        assert_eq!(text(99_999_999_999.5), "1.0000000000e+11");
    }
}
