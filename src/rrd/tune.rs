//! Changes of a file that is there: what its data sources are and what forecasts are set to, in place; and by
//! [`reshape`] what it consists of.

mod fill;
pub(super) mod forecast;
pub(super) mod reshape;

use std::collections::{BTreeMap, BTreeSet};

use crate::rrd::def::DsType;
use crate::rrd::error::TuneError;
use crate::rrd::layout::{Layout, NAME_LEN, ds_def, pdp_prep, put, put_f64};
use crate::rrd::number::{UNKNOWN, leading_integer, parse_number};

/// What `rrdtool tune` changes in place. The first five are of a data source, and their argument is the source's name,
/// a colon and the new value; the others are of the first archive that has it. What stands behind a value is ignored,
/// as in the original.
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
    /// FAILURES: so many deviations above the forecast are too many; 0.1 or more.
    DeltaPos,
    /// FAILURES: so many deviations below the forecast are too many; 0.1 or more.
    DeltaNeg,
    /// FAILURES: how many readings are looked at, 1 to 28. What was seen so far is forgotten.
    WindowLength,
    /// FAILURES: how many of them must be too far off, 1 to 28. What was seen so far is forgotten.
    FailureThreshold,
    /// HWPREDICT, or MHWPREDICT where there is none: how fast the intercept adapts.
    Alpha,
    /// The same: how fast the slope adapts.
    Beta,
    /// SEASONAL: how fast it adapts.
    Gamma,
    /// DEVSEASONAL: how fast it adapts.
    GammaDeviation,
    /// SEASONAL: the share of the season that smoothing takes the mean over.
    SmoothingWindow,
    /// DEVSEASONAL: the same.
    SmoothingWindowDeviation,
    /// Of the data source that is named, all forecasts forget what they learnt.
    AberrantReset,
}

/// A header that was changed, and what is to be changed outside of it.
#[derive(Debug)]
pub(super) struct Changed {
    /// The new header.
    pub(super) header: Vec<u8>,
    /// Data sources whose seasons are forgotten: see [`forecast::seasons_of`].
    pub(super) forgotten: Vec<usize>,
    /// Data sources that were given what a computed one does not have.
    given: BTreeMap<usize, Vec<Setting>>,
    /// Data sources that were computed before.
    once_computed: BTreeSet<usize>,
}

/// Makes the changes in a header that was checked; it can still be checked afterwards.
pub(super) fn change<A: AsRef<[u8]>>(
    header: &[u8],
    layout: Layout,
    changes: &[(Setting, A)],
) -> Result<Changed, TuneError> {
    let is_computed = |header: &[u8], ds: usize| {
        header[layout.ds_def(ds) + ds_def::TYPE..].starts_with(DsType::COMPUTE.as_bytes())
    };
    let mut changed = Changed {
        header: header.to_vec(),
        forgotten: Vec::new(),
        given: BTreeMap::new(),
        once_computed: (0..layout.ds_count).filter(|ds| is_computed(header, *ds)).collect(),
    };
    for (setting, argument) in changes {
        changed.make(layout, *setting, argument.as_ref())?;
    }
    // Where the others have heartbeat and limits a computed source has its expression. The original overwrites it, and
    // takes what is left of it for a heartbeat.
    for ds in &changed.once_computed {
        let given = changed.given.get(ds).map_or(&[][..], Vec::as_slice);
        let all = [Setting::Heartbeat, Setting::Minimum, Setting::Maximum];
        let name = || lossy(name_of(&changed.header, layout, *ds));
        match (is_computed(&changed.header, *ds), given) {
            (true, []) => {}
            (true, _) => return Err(TuneError::Computed(name())),
            (false, given) if all.iter().all(|setting| given.contains(setting)) => {}
            (false, _) => return Err(TuneError::OnceComputed(name())),
        }
    }
    Ok(changed)
}

impl Changed {
    fn make(&mut self, layout: Layout, setting: Setting, argument: &[u8]) -> Result<(), TuneError> {
        match setting {
            Setting::Heartbeat | Setting::Minimum | Setting::Maximum | Setting::DsType | Setting::Name => {
                self.change_source(layout, setting, argument)
            }
            Setting::AberrantReset => {
                let (name, _) = take_while(argument, NAME_LEN - 1, is_of_name);
                if name.is_empty() {
                    return Err(TuneError::ResetArgument);
                }
                let ds = find(&self.header, layout, name)?;
                forecast::reset(&mut self.header, layout, ds);
                self.forgotten.push(ds);
                Ok(())
            }
            _ => forecast::change(&mut self.header, layout, setting, argument),
        }
    }

    fn change_source(&mut self, layout: Layout, setting: Setting, argument: &[u8]) -> Result<(), TuneError> {
        let refused = || TuneError::Arguments(setting.told());
        let (name, text) = take_while(argument, NAME_LEN - 1, is_of_name);
        let text = text.strip_prefix(b":").filter(|_| !name.is_empty()).ok_or_else(refused)?;
        let ds = find(&self.header, layout, name);
        let header = &mut self.header;
        match setting {
            Setting::Heartbeat => {
                let secs = leading_integer(text).ok_or_else(refused)?;
                put(header, layout.ds_def(ds.clone()?) + ds_def::HEARTBEAT, secs.to_le_bytes());
            }
            Setting::Minimum | Setting::Maximum => {
                let limit = limit(text).ok_or_else(refused)?;
                let at = if setting == Setting::Minimum { ds_def::MIN } else { ds_def::MAX };
                put_f64(header, layout.ds_def(ds.clone()?) + at, limit);
            }
            Setting::DsType => {
                let (word, _) = take_while(text, NAME_LEN - 1, |b| b.is_ascii_uppercase());
                if word.is_empty() {
                    return Err(refused());
                }
                let ds = ds?;
                let ds_type = DsType::from_name(word).ok_or_else(|| TuneError::UnknownType(lossy(word)))?;
                retype(header, layout, ds, ds_type);
                return Ok(());
            }
            _ => {
                let (new, _) = take_while(text, NAME_LEN - 1, is_of_name);
                if new.is_empty() {
                    return Err(refused());
                }
                let ds = ds?;
                if find(header, layout, new).is_ok_and(|other| other != ds) {
                    return Err(TuneError::DuplicateName(lossy(new)));
                }
                put_name(&mut header[layout.ds_def(ds) + ds_def::NAME..], new);
                return Ok(());
            }
        }
        self.given.entry(ds?).or_default().push(setting);
        Ok(())
    }
}

/// The data source of that name.
fn find(header: &[u8], layout: Layout, name: &[u8]) -> Result<usize, TuneError> {
    (0..layout.ds_count)
        .find(|ds| name_of(header, layout, *ds) == name)
        .ok_or_else(|| TuneError::UnknownName(lossy(name)))
}

fn name_of(header: &[u8], layout: Layout, ds: usize) -> &[u8] {
    let field = &header[layout.ds_def(ds) + ds_def::NAME..][..NAME_LEN];
    // The check has seen that it ends.
    field.split(|b| *b == 0).next().unwrap_or_default()
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
            _ => "data source type",
        }
    }
}
