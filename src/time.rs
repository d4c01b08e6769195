//! Points in time, steps and durations. There is no clock in here: whoever knows the time says it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use chrono::{
    DateTime, Days, FixedOffset, Local, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike,
};
use serde::{Deserialize, Serialize};

const MICROS: i64 = 1_000_000;

/// A point in time: microseconds since 1970-01-01 00:00 UTC, the precision that an archive keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The point `secs` whole seconds after the epoch; the ends of the scale where it does not reach.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(MICROS))
    }

    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// Microseconds past [`UnixTime::secs`], 0 to 999 999.
    pub const fn subsec_micros(self) -> u32 {
        self.0.rem_euclid(MICROS) as u32
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; `None` when it is before it.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let micros = self.0.checked_sub(earlier.0)?;
        u64::try_from(micros).ok().map(Duration::from_micros)
    }

    /// The point `duration` later; the end of the scale where it does not reach.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The point `duration` earlier; the end of the scale where it does not reach.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The hour of the local day that it is in, so many days before: where it begins, and where it ends. `None` where the
    /// clocks were set forward over its beginning.
    pub fn local_hour(self, days_before: u32) -> Option<(Self, Self)> {
        let civil = self.local().civil.naive_local();
        let date = civil.date().checked_sub_days(Days::new(days_before.into()))?;
        let begins = Local.from_local_datetime(&date.and_hms_opt(civil.hour(), 0, 0)?).earliest()?;
        let begins = Self::from_secs(begins.timestamp());
        Some((begins, begins.plus(Duration::from_secs(3600))))
    }

    /// The local date and time, by the zone of the `TZ` variable or else of the system.
    pub fn local(self) -> LocalTime {
        LocalTime::new(self)
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        let epoch = Self(0);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => epoch.plus(after),
            Err(before) => epoch.minus(before.duration()),
        }
    }
}

/// A local date and time with the zone's own abbreviation (`CET`), which chrono does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Date, time of day and offset from UTC.
    pub civil: DateTime<FixedOffset>,
    /// The zone's abbreviation at that time, as `date +%Z` prints it.
    pub zone: String,
}

impl LocalTime {
    #[allow(unsafe_code)]
    fn new(time: UnixTime) -> Self {
        let secs = time.secs();
        // SAFETY: an all-zero `tm` is a valid value (integers and a pointer that may be null).
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals; `localtime_r` keeps neither.
        let known = !unsafe { libc::localtime_r(&secs, &mut tm) }.is_null();
        let zone = if known && !tm.tm_zone.is_null() {
            // SAFETY: `tm_zone` points to a NUL-terminated string that the C library keeps for the life of the
            // process (glibc) or in a static table (musl); it is copied at once.
            unsafe { std::ffi::CStr::from_ptr(tm.tm_zone) }.to_string_lossy().into_owned()
        } else {
            "UTC".to_owned()
        };
        let seconds_east = if known { i32::try_from(tm.tm_gmtoff).unwrap_or(0) } else { 0 };
        let offset = FixedOffset::east_opt(seconds_east).unwrap_or(UTC);
        let utc = DateTime::from_timestamp_micros(time.micros()).unwrap_or(if time.0 < 0 {
            DateTime::<chrono::Utc>::MIN_UTC
        } else {
            DateTime::<chrono::Utc>::MAX_UTC
        });
        // chrono panics where an offset leads over the ends of its scale.
        let margin = chrono::TimeDelta::days(2);
        let utc =
            utc.clamp(DateTime::<chrono::Utc>::MIN_UTC + margin, DateTime::<chrono::Utc>::MAX_UTC - margin);
        Self { civil: utc.with_timezone(&offset), zone }
    }
}

const UTC: FixedOffset = match FixedOffset::east_opt(0) {
    Some(utc) => utc,
    None => unreachable!(),
};

/// The interval of an archive's rows and of a target's rounds: whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(NonZeroU32);

impl Step {
    /// A step of `secs` seconds; `None` for zero.
    pub const fn new(secs: u32) -> Option<Self> {
        match NonZeroU32::new(secs) {
            Some(secs) => Some(Self(secs)),
            None => None,
        }
    }

    /// The step as long as `duration`, which must be whole seconds.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        if duration.subsec_nanos() != 0 {
            return None;
        }
        u32::try_from(duration.as_secs()).ok().and_then(Self::new)
    }

    /// Its length in seconds.
    pub const fn secs(self) -> u32 {
        self.0.get()
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }

    /// The boundary at or before `time`: a multiple of the step since the epoch.
    pub fn boundary_before(self, time: UnixTime) -> UnixTime {
        let step = i64::from(self.secs());
        UnixTime::from_secs(time.secs().div_euclid(step).saturating_mul(step))
    }

    /// The first boundary after `time`.
    pub fn boundary_after(self, time: UnixTime) -> UnixTime {
        self.boundary_before(time).plus(self.duration())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Spelled(self.duration()))
    }
}

/// What a bare number in a duration counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds, as in `LATENCY_THRESHOLD=100`.
    Millis,
    /// Seconds, as in `LATENCY_STEP=60`.
    Secs,
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not begin with a number.
    #[error("'{0}' is no duration: write a number and a unit, as 500ms, 1.5s, 60s, 5m, 24h, 7d, 4w or 1y")]
    NoNumber(String),
    /// What follows the number is no unit.
    #[error("'{text}' is no duration: '{unit}' is none of ms, s, m, h, d, w, y")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// What stands in the unit's place.
        unit: String,
    },
    /// A bare number where no unit is understood.
    #[error("'{0}' has no unit: write ms, s, m, h, d, w or y behind it")]
    NoUnit(String),
    /// Over the bound of a hundred years.
    #[error("'{0}' is longer than 100 years")]
    TooLong(String),
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `500ms 1.5s 60s 5m 24h 7d 4w 1y` (a year is 365 days); a bare number counts in `bare` units, and is an error
/// where that is `None`.
///
/// ```
/// use latmon::time::{Unit, parse_duration};
/// use std::time::Duration;
/// assert_eq!(parse_duration("1.5s", None), Ok(Duration::from_millis(1500)));
/// assert_eq!(parse_duration("100", Some(Unit::Millis)), Ok(Duration::from_millis(100)));
/// assert!(parse_duration("5 parsecs", None).is_err());
/// ```
pub fn parse_duration(text: &str, bare: Option<Unit>) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let value: f64 = number.parse().map_err(|_| DurationError::NoNumber(text.to_owned()))?;
    let nanos_per_unit = match (unit.trim_start(), bare) {
        ("ms", _) | ("", Some(Unit::Millis)) => 1e6,
        ("s", _) | ("", Some(Unit::Secs)) => 1e9,
        ("m", _) => 60e9,
        ("h", _) => 3600e9,
        ("d", _) => 86_400e9,
        ("w", _) => 7.0 * 86_400e9,
        ("y", _) => 365.0 * 86_400e9,
        ("", None) => return Err(DurationError::NoUnit(text.to_owned())),
        (unit, _) => {
            return Err(DurationError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() });
        }
    };
    // The sum is exact to the nanosecond up to 104 days, and to some microseconds at the bound.
    let nanos = (value * nanos_per_unit).round();
    if nanos > LONGEST.as_nanos() as f64 {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    Ok(Duration::from_nanos(nanos as u64))
}

/// Shows a duration the way [`parse_duration`] reads it, exactly: `1500ms`, `90s`, `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelled(pub Duration);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(duration) = self;
        if duration.subsec_nanos() != 0 {
            return write!(f, "{}ms", duration.as_nanos() as f64 / 1e6);
        }
        let secs = duration.as_secs();
        let (count, unit) = match secs {
            0 => (0, "s"),
            s if s % (365 * 86_400) == 0 => (s / (365 * 86_400), "y"),
            s if s % (7 * 86_400) == 0 => (s / (7 * 86_400), "w"),
            s if s % 86_400 == 0 => (s / 86_400, "d"),
            s if s % 3600 == 0 => (s / 3600, "h"),
            s if s % 60 == 0 && s > 60 => (s / 60, "m"),
            s => (s, "s"),
        };
        write!(f, "{count}{unit}")
    }
}

/// Shows how long something has lasted, for people, to two units: `24 s`, `5 min`, `1 h 20 min`, `12 d 3 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasted(pub Duration);

impl fmt::Display for Lasted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{secs} s"),
            (0, 0, minutes) if minutes < 10 && !secs.is_multiple_of(60) => {
                write!(f, "{minutes} min {} s", secs % 60)
            }
            (0, 0, minutes) => write!(f, "{minutes} min"),
            (0, hours, 0) => write!(f, "{hours} h"),
            (0, hours, minutes) => write!(f, "{hours} h {minutes} min"),
            (days, 0, _) => write!(f, "{days} d"),
            (days, hours, _) => write!(f, "{days} d {hours} h"),
        }
    }
}

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// None of the forms fits.
    #[error(
        "'{0}' is no point in time: write a duration (24h, meaning ago), now, a date and time \
         (2026-11-22 14:30, local), or seconds since 1970"
    )]
    Form(String),
    /// The clocks were set forward over that local time.
    #[error("'{0}' did not exist: the clocks were set forward over it")]
    Skipped(String),
}

/// Reads a point in time: a duration (so long before `now`), `now`, a local date (`2026-11-22`), a local date and time
/// (`2026-11-22 14:30`, also with `T` and seconds), an RFC 3339 time with its offset, a time of day (today's), or
/// seconds since the epoch (a number of nine digits and more).
pub fn parse_point(text: &str, now: UnixTime) -> Result<UnixTime, PointError> {
    let trimmed = text.trim();
    if trimmed == "now" {
        return Ok(now);
    }
    if let Ok(ago) = parse_duration(trimmed, None) {
        return Ok(now.minus(ago));
    }
    if trimmed.len() >= 9 && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return trimmed.parse().map(UnixTime::from_secs).map_err(|_| PointError::Form(text.to_owned()));
    }
    if let Ok(exact) = DateTime::parse_from_rfc3339(trimmed) {
        return Ok(UnixTime::from_micros(exact.timestamp_micros()));
    }
    let civil = parse_civil(trimmed, now).ok_or_else(|| PointError::Form(text.to_owned()))?;
    match Local.from_local_datetime(&civil) {
        // The first of the two, where the clocks were set back: the longer span is shown.
        LocalResult::Single(found) | LocalResult::Ambiguous(found, _) => {
            Ok(UnixTime::from_micros(found.timestamp_micros()))
        }
        LocalResult::None => Err(PointError::Skipped(text.to_owned())),
    }
}

fn parse_civil(text: &str, now: UnixTime) -> Option<NaiveDateTime> {
    for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(civil) = NaiveDateTime::parse_from_str(text, form) {
            return Some(civil);
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(NaiveTime::MIN));
    }
    ["%H:%M:%S", "%H:%M"]
        .into_iter()
        .find_map(|form| NaiveTime::parse_from_str(text, form).ok())
        .map(|time| now.local().civil.date_naive().and_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        let millis = |text| parse_duration(text, Some(Unit::Millis)).unwrap().as_millis();
        assert_eq!(
            ["500ms", "1.5s", "60s", "5m", "24h", "7d", "4w", "1y", "100", " 2 h "].map(millis),
            [
                500,
                1500,
                60_000,
                300_000,
                86_400_000,
                604_800_000,
                2_419_200_000,
                31_536_000_000,
                100,
                7_200_000
            ]
        );
        assert_eq!(parse_duration("60", Some(Unit::Secs)), Ok(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_no_duration_is_told_with_its_text() {
        for bad in ["", "s", "-5s", "1..2s", "5 parsecs", "NaN", "inf", "1e9s", "60", "200y", "5M"] {
            let error = parse_duration(bad, None).expect_err(bad).to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn spelled_durations_are_read_back() {
        for text in ["1ms", "1500ms", "1s", "60s", "90s", "2m", "24h", "2d", "4w", "1y", "0.25ms"] {
            let duration = parse_duration(text, None).unwrap();
            assert_eq!(parse_duration(&Spelled(duration).to_string(), None), Ok(duration), "{text}");
        }
        assert_eq!(Spelled(Duration::from_secs(60)).to_string(), "60s");
    }

    #[test]
    fn lasted_durations_have_two_units() {
        let shown = |secs| Lasted(Duration::from_secs(secs)).to_string();
        assert_eq!(
            [0, 24, 65, 300, 1380, 3600, 4800, 86_400, 1_048_000].map(shown),
            ["0 s", "24 s", "1 min 5 s", "5 min", "23 min", "1 h", "1 h 20 min", "1 d", "12 d 3 h"]
        );
    }

    #[test]
    fn boundaries_are_multiples_of_the_step_also_before_the_epoch() {
        let step = Step::new(60).unwrap();
        let at = |secs| UnixTime::from_secs(secs);
        assert_eq!(step.boundary_before(at(119)), at(60));
        assert_eq!(step.boundary_before(at(120)), at(120));
        assert_eq!(step.boundary_after(at(120)), at(180));
        assert_eq!(step.boundary_before(UnixTime::from_micros(-1)), at(-60));
    }

    #[test]
    fn unix_time_splits_into_seconds_and_microseconds() {
        let time = UnixTime::from_micros(-1);
        assert_eq!((time.secs(), time.subsec_micros()), (-1, 999_999));
        assert_eq!(UnixTime::from_secs(5).since(UnixTime::from_secs(6)), None);
        assert_eq!(UnixTime::from_secs(i64::MAX).plus(Duration::MAX).micros(), i64::MAX);
    }

    #[test]
    fn points_in_time_are_read_in_every_form() {
        let now = UnixTime::from_secs(1_700_000_000);
        let secs = |text: &str| parse_point(text, now).map(UnixTime::secs);
        assert_eq!(secs("now"), Ok(1_700_000_000));
        assert_eq!(secs("24h"), Ok(1_699_913_600));
        assert_eq!(secs("1600000000"), Ok(1_600_000_000));
        assert_eq!(secs("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
        assert_eq!(secs("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000));
        let local = now.local().civil;
        assert_eq!(secs(&local.format("%Y-%m-%d %H:%M:%S").to_string()), Ok(1_700_000_000));
        assert_eq!(secs(&local.format("%H:%M:%S").to_string()), Ok(1_700_000_000));
        for bad in ["", "yesterday", "12345", "2023-13-01", "25:00"] {
            assert!(secs(bad).is_err(), "{bad}");
        }
    }
}
