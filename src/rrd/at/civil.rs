//! Local dates and times, and the points in time that they are.

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

use crate::time::UnixTime;

/// A local date and time whose day may lie outside of its month, and so on, until it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month0: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// Seconds east of Greenwich, where they are known; else the zone says.
    pub(super) offset_secs: Option<i64>,
}

impl Civil {
    pub(super) fn of(time: UnixTime) -> Self {
        let local = time.local().civil;
        Self {
            year: i64::from(local.year()),
            month0: i64::from(local.month0()),
            day: i64::from(local.day()),
            hour: i64::from(local.hour()),
            minute: i64::from(local.minute()),
            second: i64::from(local.second()),
            offset_secs: None,
        }
    }

    /// As [`Civil::of`], in the time's own offset for good: a month before a winter's noon is a summer's afternoon.
    pub(super) fn exactly(time: UnixTime) -> Self {
        let offset = time.local().civil.offset().local_minus_utc();
        Self { offset_secs: Some(i64::from(offset)), ..Self::of(time) }
    }

    pub(super) fn at(self, hour: i64, minute: i64) -> Self {
        Self { hour, minute, second: 0, ..self }
    }

    /// As C's `mktime`: what is too large carries over. A time that the clocks skipped counts by the zone before; of a
    /// time that was there twice the later counts.
    pub(super) fn resolve(self) -> UnixTime {
        let Some(secs) = self.as_utc() else { return UnixTime::from_secs(i64::MAX) };
        let with = |offset: i64| secs.saturating_sub(offset);
        if let Some(offset) = self.offset_secs {
            return UnixTime::from_secs(with(offset));
        }
        let offset_at = |secs| i64::from(UnixTime::from_secs(secs).local().civil.offset().local_minus_utc());
        let (before, after) = (offset_at(secs.saturating_sub(DAY)), offset_at(secs.saturating_add(DAY)));
        let later = [before, after].into_iter().map(|offset| (with(offset), offset));
        let valid = later.filter(|(time, offset)| offset_at(*time) == *offset).map(|(time, _)| time).max();
        UnixTime::from_secs(valid.unwrap_or(with(before)))
    }

    /// The seconds since 1970 if this were UTC; `None` beyond what a calendar knows.
    fn as_utc(self) -> Option<i64> {
        let (year, month) =
            (self.year.checked_add(self.month0.div_euclid(12))?, self.month0.rem_euclid(12) + 1);
        let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, 1)?;
        let secs = self.day.checked_sub(1)?.checked_mul(DAY)?;
        let secs = secs.checked_add(self.hour * 3600 + self.minute * 60 + self.second)?;
        first.and_time(NaiveTime::MIN).and_utc().timestamp().checked_add(secs)
    }
}

const DAY: i64 = 86_400;
