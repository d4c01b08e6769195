//! Changes of what a data source is, in place.

use crate::rrd::def::DsType;
use crate::rrd::error::TuneError;
use crate::rrd::file::Rrd;
use crate::rrd::layout::{Layout, NAME_LEN, ds_def, pdp_prep, put, put_f64};
use crate::rrd::number::{UNKNOWN, parse_number};

/// What `rrdtool tune` changes of a data source. Its argument is the source's name, a colon and the new value; as in the
/// original, what stands behind a value is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Seconds between two readings after which what lies between is unknown.
    Heartbeat,
    /// The smallest rate that is believed, `U` for none.
    Minimum,
    /// The largest rate that is believed, `U` for none.
    Maximum,
    /// How its readings become a rate. Another type makes the last reading unknown.
    DsType,
    /// Its name, which must not be another's: the original lets two have one.
    Name,
}

/// Makes one change in a header that was checked; it can still be checked afterwards.
pub(super) fn change(
    header: &mut [u8],
    layout: Layout,
    setting: Setting,
    argument: &[u8],
) -> Result<(), TuneError> {
    let refused = || TuneError::Arguments(setting.told());
    let (name, text) = take_while(argument, NAME_LEN - 1, is_of_name);
    let text = text.strip_prefix(b":").filter(|_| !name.is_empty()).ok_or_else(refused)?;
    let find = |name: &[u8]| {
        Rrd::from_parts(&*header, layout).data_sources().position(|ds| ds.name.as_bytes() == name)
    };
    let ds = || find(name).ok_or_else(|| TuneError::UnknownName(lossy(name)));
    // Where the others have their limits a computed source has its expression, which the original would overwrite.
    let input = || {
        let ds = ds()?;
        let is_computed = header[layout.ds_def(ds) + ds_def::TYPE..].starts_with(DsType::COMPUTE.as_bytes());
        if is_computed { Err(TuneError::Computed(lossy(name))) } else { Ok(ds) }
    };
    match setting {
        Setting::Heartbeat => {
            let secs = leading_integer(text).ok_or_else(refused)?;
            let def = layout.ds_def(input()?);
            put(header, def + ds_def::HEARTBEAT, secs.to_le_bytes());
        }
        Setting::Minimum | Setting::Maximum => {
            let limit = limit(text).ok_or_else(refused)?;
            let at = if setting == Setting::Minimum { ds_def::MIN } else { ds_def::MAX };
            let def = layout.ds_def(input()?);
            put_f64(header, def + at, limit);
        }
        Setting::DsType => {
            let (word, _) = take_while(text, NAME_LEN - 1, |b| b.is_ascii_uppercase());
            if word.is_empty() {
                return Err(refused());
            }
            let ds = input()?;
            let ds_type = DsType::from_name(word).ok_or_else(|| TuneError::UnknownType(lossy(word)))?;
            retype(header, layout, ds, ds_type);
        }
        Setting::Name => {
            let (new, _) = take_while(text, NAME_LEN - 1, is_of_name);
            if new.is_empty() {
                return Err(refused());
            }
            let ds = ds()?;
            if find(new).is_some_and(|other| other != ds) {
                return Err(TuneError::DuplicateName(lossy(new)));
            }
            put_name(&mut header[layout.ds_def(ds) + ds_def::NAME..], new);
        }
    }
    Ok(())
}

fn retype(header: &mut [u8], layout: Layout, ds: usize, ds_type: DsType) {
    let field = &mut header[layout.ds_def(ds) + ds_def::TYPE..][..NAME_LEN];
    let name = ds_type.name().as_bytes();
    if field.starts_with(name) && field[name.len()] == 0 {
        return;
    }
    put_name(field, name);
    const UNKNOWN_READING: &[u8] = b"UNKN\0";
    header[layout.pdp_prep(ds) + pdp_prep::LAST_DS..][..UNKNOWN_READING.len()]
        .copy_from_slice(UNKNOWN_READING);
}

fn put_name(field: &mut [u8], name: &[u8]) {
    field[..NAME_LEN].fill(0);
    field[..name.len()].copy_from_slice(name);
}

/// A limit, of which no more than 40 characters are read, or `U`.
fn limit(text: &[u8]) -> Option<f64> {
    const LONGEST: usize = 40;
    let is_of_limit = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-' | b'U');
    match take_while(text, LONGEST, is_of_limit).0 {
        b"U" => Some(UNKNOWN),
        number => parse_number(number).ok(),
    }
}

/// The whole number that a text begins with, as C reads it: one that is too large becomes the largest.
fn leading_integer(text: &[u8]) -> Option<i64> {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let (digits, _) = take_while(digits, digits.len(), |b| b.is_ascii_digit());
    let digit = |b: &u8| i64::from(b - b'0') * if negative { -1 } else { 1 };
    (!digits.is_empty())
        .then(|| digits.iter().fold(0_i64, |sum, b| sum.saturating_mul(10).saturating_add(digit(b))))
}

/// Splits behind the first bytes that are `wanted`, of which there may be `most`.
fn take_while(text: &[u8], most: usize, wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take(most).take_while(|b| wanted(**b)).count())
}

fn is_of_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Setting {
    fn told(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Minimum => "minimum ds value",
            Self::Maximum => "maximum ds value",
            Self::DsType | Self::Name => "data source type",
        }
    }
}
