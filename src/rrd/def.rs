//! Definitions of data sources and archives, typed or read from rrdtool's texts.

pub(super) mod forecast;

use std::str::FromStr;

use crate::rrd::error::{DefinitionError, DsArgumentsError};
use crate::rrd::layout::NAME_LEN;
use crate::rrd::number::{UNKNOWN, parse_count, parse_number};
use crate::rrd::rpn::Rpn;
use crate::time::{Step, UnixTime};

/// How the readings of a data source become a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsType {
    /// The reading is the value.
    Gauge,
    /// The reading only grows, and wraps at 32 or 64 bits; its growth per second is the value.
    Counter,
    /// The reading's change per second is the value.
    Derive,
    /// The reading counts from the last one on; the count per second is the value.
    Absolute,
    /// As [`DsType::Counter`] with fractions, and a counter that falls was reset: what lies between is unknown.
    DCounter,
    /// As [`DsType::Derive`] with fractions.
    DDerive,
    /// Takes no readings: computed from the data sources before it. It has no heartbeat and no limits.
    Compute(Rpn),
}

impl DsType {
    /// Every type that takes readings.
    pub const ALL: [Self; 6] =
        [Self::Gauge, Self::Counter, Self::Derive, Self::Absolute, Self::DCounter, Self::DDerive];

    /// The name of the one that takes none.
    pub(super) const COMPUTE: &str = "COMPUTE";

    /// Its name in files and definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "GAUGE",
            Self::Counter => "COUNTER",
            Self::Derive => "DERIVE",
            Self::Absolute => "ABSOLUTE",
            Self::DCounter => "DCOUNTER",
            Self::DDerive => "DDERIVE",
            Self::Compute(_) => Self::COMPUTE,
        }
    }

    /// The type of that name, if it takes readings.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|ds_type| ds_type.name().as_bytes() == name)
    }
}

/// The consolidation function: how several primary data points become one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cf {
    /// Their mean.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The last.
    Last,
    /// Holt's and Winters' forecast, trend plus season.
    HwPredict,
    /// The same, trend times season.
    MhwPredict,
    /// The season of a forecast.
    Seasonal,
    /// How far off the forecast was, through the season.
    DevSeasonal,
    /// How far off the forecast is expected to be.
    DevPredict,
    /// Whether readings were too far off too often.
    Failures,
}

impl Cf {
    /// Every function.
    pub const ALL: [Self; 10] = [
        Self::Average,
        Self::Min,
        Self::Max,
        Self::Last,
        Self::HwPredict,
        Self::MhwPredict,
        Self::Seasonal,
        Self::DevSeasonal,
        Self::DevPredict,
        Self::Failures,
    ];

    /// Whether it forecasts, which it does step by step, and not consolidates.
    pub const fn is_forecast(self) -> bool {
        !matches!(self, Self::Average | Self::Min | Self::Max | Self::Last)
    }

    /// Its name in files and definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HwPredict => "HWPREDICT",
            Self::MhwPredict => "MHWPREDICT",
            Self::Seasonal => "SEASONAL",
            Self::DevSeasonal => "DEVSEASONAL",
            Self::DevPredict => "DEVPREDICT",
            Self::Failures => "FAILURES",
            Self::Average => "AVERAGE",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Last => "LAST",
        }
    }

    /// The function of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|cf| cf.name().as_bytes() == name)
    }
}

/// A new archive file: its step, when it begins, and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The length of a primary data point.
    pub step: Step,
    /// The last update of the new file; the first reading must come after it.
    pub start: UnixTime,
    /// What is recorded.
    pub data_sources: Vec<DataSource>,
    /// How it is kept.
    pub archives: Vec<ArchiveDef>,
}

/// A new data source.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// 1 to 19 letters, digits, `_` and `-`.
    pub name: String,
    /// How readings become a rate.
    pub ds_type: DsType,
    /// Seconds between two readings after which what lies between is unknown.
    pub heartbeat: u64,
    /// The smallest rate that is believed; NaN for none.
    pub min: f64,
    /// The largest rate that is believed; NaN for none.
    pub max: f64,
}

/// A new round robin archive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArchiveDef {
    /// How primary data points become a row.
    pub cf: Cf,
    /// The share of a row that may be unknown, below 1.
    pub xff: f64,
    /// Primary data points of a row.
    pub pdp_per_row: u64,
    /// Rows.
    pub rows: u64,
    /// What a forecasting function is set to; nothing for the others.
    pub forecast: Option<Forecast>,
}

/// What a forecasting archive is set to. Other archives that it works with are named by their index in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forecast {
    /// HWPREDICT and MHWPREDICT.
    Predict {
        /// How fast the intercept adapts, above 0 and below 1.
        alpha: f64,
        /// How fast the slope adapts, 0 to 1.
        beta: f64,
        /// Its SEASONAL archive.
        seasonal: u64,
        /// Rows of a season; written by `create`, and read by nobody.
        period: f64,
    },
    /// SEASONAL and DEVSEASONAL.
    Seasonal {
        /// How fast it adapts, above 0 and below 1.
        gamma: f64,
        /// The share of the season that smoothing takes the mean over.
        smoothing_window: f64,
        /// Whether that share is followed, which takes version 4, or the usual 0.05 is.
        own_window: bool,
        /// Its HWPREDICT or MHWPREDICT archive.
        predict: u64,
        /// The row at which it is smoothed; chosen by `create`.
        smooth_index: u64,
    },
    /// DEVPREDICT.
    DevPredict {
        /// Its DEVSEASONAL archive.
        dev_seasonal: u64,
    },
    /// FAILURES.
    Failures {
        /// So many deviations above the forecast are too many.
        delta_pos: f64,
        /// So many deviations below the forecast are too many.
        delta_neg: f64,
        /// Its DEVSEASONAL archive.
        dev_seasonal: u64,
        /// How many readings are looked at, up to 28.
        window: u64,
        /// How many of them must be too far off.
        threshold: u64,
    },
}

/// The earliest start of a file, and of rows that are asked for: 1980, as rrdtool has it.
pub const EARLIEST: UnixTime = UnixTime::from_secs(315_360_000);

/// The latest point in time that an archive may know, so that adding up its spans cannot overflow.
pub(super) const LATEST_SECS: i64 = 1 << 42;

/// The longest span of one archive, in seconds.
pub(super) const LONGEST_SPAN: u64 = 1 << 42;

impl Definition {
    /// Adds what an argument of `rrdtool create` defines, `DS:..` or `RRA:..`. A forecast that names no season brings
    /// the four archives along that it needs.
    pub fn add(&mut self, text: &str) -> Result<(), DefinitionError> {
        if !text.starts_with("DS:") {
            let mut archive = ArchiveDef::parse(text, self.step)?;
            let implied = forecast::implied(&mut archive, self.archives.len() as u64);
            self.archives.push(archive);
            self.archives.extend(implied.into_iter().flatten());
            return Ok(());
        }
        let source = DataSource::parse(text, &self.data_sources)?;
        if self.data_sources.iter().any(|earlier| earlier.name == source.name) {
            return Err(DefinitionError::DuplicateName(source.name));
        }
        self.data_sources.push(source);
        Ok(())
    }

    /// Whether a file of this definition can be made.
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.archives.is_empty() {
            return Err(DefinitionError::NoArchive);
        }
        if self.data_sources.is_empty() {
            return Err(DefinitionError::NoDataSource);
        }
        if self.start < EARLIEST || self.start.secs() > LATEST_SECS {
            return Err(DefinitionError::Start);
        }
        for (index, source) in self.data_sources.iter().enumerate() {
            source.check(index)?;
            if self.data_sources[..index].iter().any(|earlier| earlier.name == source.name) {
                return Err(DefinitionError::DuplicateName(source.name.clone()));
            }
        }
        self.archives.iter().try_for_each(|archive| archive.check(self.step))?;
        let dangling = (0..self.archives.len()).find(|index| {
            !forecast::is_whole(&self.archives[*index], |other| {
                self.archives.get(other).map(|archive| archive.cf)
            })
        });
        dangling.map_or(Ok(()), |index| Err(DefinitionError::Dependency(index)))
    }
}

impl DataSource {
    /// Reads a definition as its [`FromStr`] does; a COMPUTE source may name those that are defined before it.
    pub fn parse(text: &str, before: &[Self]) -> Result<Self, DefinitionError> {
        let fields = text.strip_prefix("DS:").ok_or_else(|| DefinitionError::Argument(text.to_owned()))?;
        let (name, rest) = fields.split_once(':').ok_or(DefinitionError::DsFormat)?;
        let (type_name, arguments) = rest.split_once(':').ok_or(DefinitionError::DsFormat)?;
        let name = name_without_mapping(name).ok_or(DefinitionError::DsFormat)?.to_owned();
        let is_type =
            (1..NAME_LEN).contains(&type_name.len()) && type_name.bytes().all(|b| b.is_ascii_uppercase());
        if !is_type || arguments.is_empty() {
            return Err(DefinitionError::DsFormat);
        }
        if type_name == DsType::COMPUTE {
            let source = |name: &str| before.iter().position(|source| source.name == name);
            let ds_type = DsType::Compute(Rpn::parse(arguments, source)?);
            return Ok(Self { name, ds_type, heartbeat: 0, min: UNKNOWN, max: UNKNOWN });
        }
        let ds_type = DsType::from_name(type_name.as_bytes())
            .ok_or_else(|| DefinitionError::DsType(type_name.to_owned()))?;
        let (heartbeat, min, max) = parse_ds_arguments(arguments)?;
        Ok(Self { name, ds_type, heartbeat, min, max })
    }

    fn check(&self, index: usize) -> Result<(), DefinitionError> {
        if !is_name(self.name.as_bytes()) {
            return Err(DefinitionError::DsFormat);
        }
        if let DsType::Compute(rpn) = &self.ds_type {
            let holds = rpn.last_source().is_none_or(|source| source < index);
            return if holds { Ok(()) } else { Err(crate::rrd::error::ExpressionError::Syntax.into()) };
        }
        let arguments = |error| DefinitionError::DsArguments {
            arguments: format!("{}:{}:{}", self.heartbeat, self.min, self.max),
            error,
        };
        if self.heartbeat == 0 {
            return Err(arguments(DsArgumentsError::Heartbeat(crate::rrd::error::DurationError::Zero)));
        }
        if self.min >= self.max {
            return Err(arguments(DsArgumentsError::Order));
        }
        Ok(())
    }
}

impl FromStr for DataSource {
    type Err = DefinitionError;

    /// Reads `DS:name:GAUGE:120:0:U`. A mapping behind the name (`DS:name=source[2]:..`) is understood and dropped: it
    /// says where `create` takes old values from. A COMPUTE source that names others needs [`DataSource::parse`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, &[])
    }
}

/// The name of `name`, `name=source` or `name=source[2]`.
fn name_without_mapping(field: &str) -> Option<&str> {
    let Some((name, mapping)) = field.split_once('=') else {
        return is_name(field.as_bytes()).then_some(field);
    };
    let source = match mapping.split_once('[') {
        None => mapping,
        Some((source, index)) => {
            let digits = index.strip_suffix(']')?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            source
        }
    };
    (is_name(name.as_bytes()) && is_name(source.as_bytes())).then_some(name)
}

fn is_name(name: &[u8]) -> bool {
    (1..NAME_LEN).contains(&name.len())
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Reads `heartbeat:min:max`; what stands behind the maximum's 18th character, or behind another colon, is ignored.
fn parse_ds_arguments(text: &str) -> Result<(u64, f64, f64), DefinitionError> {
    /// A heartbeat of so many characters is refused.
    const HEARTBEAT_LEN: usize = 32;
    /// No more of a limit is read.
    const LIMIT_LEN: usize = 18;
    let refused = |error| DefinitionError::DsArguments { arguments: text.to_owned(), error };
    let (heartbeat, limits) = text.split_once(':').ok_or_else(|| refused(DsArgumentsError::NoSeparator))?;
    if heartbeat.len() >= HEARTBEAT_LEN {
        return Err(refused(DsArgumentsError::LongHeartbeat));
    }
    let heartbeat = parse_count(heartbeat.as_bytes(), 1).map_err(|error| refused(error.into()))?;
    let (min, max) = limits.split_once(':').ok_or_else(|| refused(DsArgumentsError::NoLimits))?;
    let max = max.as_bytes().split(|b| *b == b':').next().unwrap_or_default();
    let max = &max[..max.len().min(LIMIT_LEN)];
    if min.is_empty() || min.len() > LIMIT_LEN || max.is_empty() {
        return Err(refused(DsArgumentsError::NoLimits));
    }
    let limit = |text: &[u8]| if text == b"U" { Ok(UNKNOWN) } else { parse_number(text) };
    let min = limit(min.as_bytes()).map_err(DefinitionError::Minimum)?;
    let max = limit(max).map_err(DefinitionError::Maximum)?;
    if min >= max {
        return Err(refused(DsArgumentsError::Order));
    }
    Ok((heartbeat, min, max))
}

impl ArchiveDef {
    /// Reads `RRA:AVERAGE:0.5:1:14400`, for a file of that step: steps and rows may be durations
    /// (`RRA:MAX:0.5:1h:30d`). Empty fields are skipped, as the original does.
    pub fn parse(text: &str, step: Step) -> Result<Self, DefinitionError> {
        Self::parse_scaled(text, u64::from(step.secs()))
    }

    fn parse_scaled(text: &str, step_secs: u64) -> Result<Self, DefinitionError> {
        let fields = text.strip_prefix("RRA:").ok_or_else(|| DefinitionError::Argument(text.to_owned()))?;
        let count = fields.split(':').filter(|field| !field.is_empty()).count();
        let mut fields = fields.split(':').filter(|field| !field.is_empty());
        let too_few = || DefinitionError::FewFields { wanted: 4, got: count };
        let cf = parse_cf(fields.next().ok_or_else(too_few)?)?;
        if cf.is_forecast() {
            return forecast::parse(cf, &fields.collect::<Vec<_>>(), step_secs);
        }
        let xff = fields.next().ok_or_else(too_few)?;
        let xff = parse_number(xff.as_bytes()).map_err(|_| DefinitionError::Xff)?;
        if !is_xff(xff) {
            return Err(DefinitionError::Xff);
        }
        let steps = fields.next().ok_or_else(too_few)?;
        let pdp_per_row = parse_count(steps.as_bytes(), step_secs)
            .map_err(|error| DefinitionError::Steps { text: steps.to_owned(), error })?;
        let rows = fields.next().ok_or_else(too_few)?;
        let row_secs = step_secs.saturating_mul(pdp_per_row);
        let rows = parse_count(rows.as_bytes(), row_secs)
            .map_err(|error| DefinitionError::Rows { text: rows.to_owned(), error })?;
        match fields.next() {
            Some(_) => Err(DefinitionError::ExtraField(cf.name().to_owned())),
            None => Ok(Self { cf, xff, pdp_per_row, rows, forecast: None }),
        }
    }

    fn check(&self, step: Step) -> Result<(), DefinitionError> {
        let duration = |error| {
            if self.pdp_per_row == 0 {
                DefinitionError::Steps { text: self.pdp_per_row.to_string(), error }
            } else {
                DefinitionError::Rows { text: self.rows.to_string(), error }
            }
        };
        if self.pdp_per_row == 0 || self.rows == 0 {
            return Err(duration(crate::rrd::error::DurationError::Zero));
        }
        if !is_xff(self.xff) {
            return Err(DefinitionError::Xff);
        }
        let step = u64::from(step.secs());
        span_secs(step, self.pdp_per_row, self.rows).map(drop).ok_or(DefinitionError::TooLong {
            step,
            pdp_per_row: self.pdp_per_row,
            rows: self.rows,
        })
    }
}

/// Reads a definition whose steps and rows are plain counts; durations need the file's step: [`ArchiveDef::parse`].
impl FromStr for ArchiveDef {
    type Err = DefinitionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No duration is a multiple of zero seconds, so a text with one is refused.
        Self::parse_scaled(text, 0)
    }
}

/// NaN is let through, as the original does: no row of such an archive is ever unknown.
fn is_xff(xff: f64) -> bool {
    xff.is_nan() || (0.0..1.0).contains(&xff)
}

/// The function whose name the field begins with: its leading capitals count, the rest is ignored.
fn parse_cf(field: &str) -> Result<Cf, DefinitionError> {
    let end = field.bytes().position(|b| !b.is_ascii_uppercase()).unwrap_or(field.len());
    let name = &field[..end];
    Cf::from_name(name.as_bytes()).ok_or_else(|| DefinitionError::Cf(name.to_owned()))
}

/// The time that an archive covers, in seconds; `None` when it is more than can be counted.
pub(super) fn span_secs(step: u64, pdp_per_row: u64, rows: u64) -> Option<u64> {
    step.checked_mul(pdp_per_row)?.checked_mul(rows).filter(|span| *span <= LONGEST_SPAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_types_are_the_same_definition() {
        let source: DataSource = "DS:ping1:GAUGE:2m:-0.5:U".parse().unwrap();
        assert_eq!((source.name.as_str(), source.ds_type, source.heartbeat), ("ping1", DsType::Gauge, 120));
        assert_eq!(source.min, -0.5);
        assert!(source.max.is_nan());
        let step = Step::new(60).unwrap();
        let archive = ArchiveDef { cf: Cf::Max, xff: 0.5, pdp_per_row: 60, rows: 720, forecast: None };
        assert_eq!(ArchiveDef::parse("RRA:MAX:0.5:1h:30d", step), Ok(archive));
        assert_eq!("RRA:MAX:0.5:60:720".parse(), Ok(archive));
        // Without a step a duration is no count of steps.
        assert!("RRA:MAX:0.5:1h:720".parse::<ArchiveDef>().is_err());
    }

    /// Typed definitions do not come through the parser, so `check` has to see the same faults.
    #[test]
    fn typed_definitions_are_checked() {
        let good = Definition {
            step: Step::new(60).unwrap(),
            start: UnixTime::from_secs(1_700_000_000),
            data_sources: vec!["DS:a:GAUGE:120:0:U".parse().unwrap()],
            archives: vec!["RRA:MAX:0.5:60:720".parse().unwrap()],
        };
        assert_eq!(good.check(), Ok(()));
        let refused = |change: fn(&mut Definition)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check().unwrap_err().to_string()
        };
        assert_eq!(refused(|d| d.archives.clear()), "you must define at least one Round Robin Archive");
        assert_eq!(refused(|d| d.data_sources.clear()), "you must define at least one Data Source");
        assert_eq!(refused(|d| d.data_sources.push(d.data_sources[0].clone())), "Duplicate DS name: a");
        assert_eq!(refused(|d| d.data_sources[0].name = "a b".into()), "invalid DS format");
        assert_eq!(refused(|d| d.data_sources[0].name = "x".repeat(20)), "invalid DS format");
        assert_eq!(
            refused(|d| d.data_sources[0].heartbeat = 0),
            "failed to parse data source 0:0:NaN: value must be positive"
        );
        assert_eq!(
            refused(|d| d.data_sources[0].max = -1.0),
            "failed to parse data source 120:0:-1: min must be less than max in DS definition"
        );
        assert_eq!(refused(|d| d.archives[0].xff = 1.0), "Invalid xff: must be between 0 and 1");
        assert_eq!(refused(|d| d.archives[0].rows = 0), "Invalid row count 0: value must be positive");
        assert_eq!(refused(|d| d.archives[0].pdp_per_row = 0), "Invalid step 0: value must be positive");
        assert_eq!(
            refused(|d| d.start = UnixTime::from_secs(0)),
            "the first entry to the RRD should be after 1980"
        );
        assert_eq!(
            refused(|d| d.archives[0].rows = u64::MAX),
            format!("the archives are too long: {} rows of 60 steps of 60 seconds", u64::MAX)
        );
    }
}
