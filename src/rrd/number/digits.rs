//! Decimal digits, eight at a time: a register holds so many, and is looked at and added up as one.

/// Digits that may have a point among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short {
    /// What they make without the point.
    pub(super) number: u32,
    /// How many of them stand behind the point.
    pub(super) decimals: u32,
    /// How many bytes they and the point take.
    pub(super) len: usize,
}

/// Reads the plain decimal that a text begins with. `None` tells nothing: there may be none, or one of more than eight
/// bytes, or there are no eight bytes to be looked at.
#[inline]
pub(super) fn short_decimal(text: &[u8]) -> Option<Short> {
    let word = u64::from_le_bytes(*text.first_chunk()?);
    let others = others(word);
    let whole = count_before(others);
    let (mut digits, mut len, mut count, mut decimals) = (word, whole, whole, 0);
    if whole < EIGHT && text[whole] == b'.' {
        // Those behind the point move up to those before it.
        let before = (1 << (whole * BYTE)) - 1;
        digits = (word & before) | ((word >> BYTE) & !before);
        len = count_before(others & (others - 1));
        count = len - 1;
        decimals = (count - whole) as u32;
    }
    let may_go_on = len == EIGHT && matches!(text.get(EIGHT), Some(b'0'..=b'9' | b'.'));
    if count == 0 || may_go_on {
        return None;
    }
    // To the end of the register, where the last digit is the ones; what follows the digits falls out of it.
    let number = sum((digits ^ ZEROS) << ((EIGHT - count) * BYTE));
    Some(Short { number, decimals, len })
}

/// The number that eight digits make, and what follows them; `None` where the text begins with fewer.
#[inline]
pub(super) fn eight(text: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = text.split_first_chunk()?;
    let word = u64::from_le_bytes(*word);
    (others(word) == 0).then(|| (sum(word ^ ZEROS), rest))
}

/// The bytes of a word that are no digits: the highest bit of each.
fn others(word: u64) -> u64 {
    let values = word ^ ZEROS;
    // From 10 on the sum reaches that bit, and none reaches the next byte.
    (((values & LOW_BITS) + EACH * (0x80 - 10)) | values) & !LOW_BITS
}

/// How many bytes there are before the first of these.
fn count_before(others: u64) -> usize {
    others.trailing_zeros() as usize / BYTE
}

/// The number of eight digits, a byte each, the first one in the lowest byte: pairs of neighbours, again and again.
fn sum(digits: u64) -> u32 {
    let pairs = (digits * 10 + (digits >> BYTE)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> (2 * BYTE))) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> (4 * BYTE))) as u32
}

/// Bytes of a word.
const EIGHT: usize = 8;
/// Bits of a byte.
const BYTE: usize = 8;
/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;
const ZEROS: u64 = EACH * b'0' as u64;
const LOW_BITS: u64 = EACH * 0x7f;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What they find, byte by byte.
    fn slowly(text: &[u8]) -> Option<Short> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut len = whole;
        if text.get(whole) == Some(&b'.') {
            len += 1 + text[whole + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        }
        let digits: String =
            text[..len].iter().filter(|byte| **byte != b'.').map(|b| char::from(*b)).collect();
        let goes_on = len == EIGHT && text.get(len).is_some_and(is_part);
        if text.len() < EIGHT || len > EIGHT || goes_on {
            return None;
        }
        let decimals = (len - whole).saturating_sub(1) as u32;
        Some(Short { number: digits.parse().ok()?, decimals, len })
    }

    proptest! {
        #[test]
        fn eight_at_a_time_are_read_as_one_by_one(text in "[0-9]{0,9}[.]?[0-9]{0,9}[:.0-9/;a\u{7f}-\u{ff}]{0,9}") {
            prop_assert_eq!(short_decimal(text.as_bytes()), slowly(text.as_bytes()));
        }

        #[test]
        fn any_bytes_are_read_as_one_by_one(text in prop::collection::vec(any::<u8>(), 0..12)) {
            prop_assert_eq!(short_decimal(&text), slowly(&text));
            let all = text.len() >= EIGHT && text[..EIGHT].iter().all(u8::is_ascii_digit);
            prop_assert_eq!(eight(&text).is_some(), all);
        }

        #[test]
        fn eight_digits_make_their_number(number in 0_u32..100_000_000, rest in "[0-9:]{0,3}") {
            let text = format!("{number:08}{rest}");
            prop_assert_eq!(eight(text.as_bytes()), Some((number, rest.as_bytes())));
        }
    }

    #[test]
    fn each_byte_is_a_digit_or_none() {
        for byte in 0..=u8::MAX {
            for place in 0..EIGHT {
                let mut text = *b"90909090";
                text[place] = byte;
                let found = count_before(others(u64::from_le_bytes(text)));
                assert_eq!(found, if byte.is_ascii_digit() { EIGHT } else { place }, "{byte} {place}");
            }
        }
    }
}
