//! Hours of the week: when an alert may be told, and when work on a line is planned.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDateTime, Timelike};

use crate::time::UnixTime;

/// Hours of the week, by the clock on the wall: `mon-fri 08:00-18:00, sat 10:00-14:00`.
///
/// - Each time span has the days before it: one (`sat`), several in succession (`mon-fri`, also over the week's end:
///   `fri-mon`), or a list of such (`mon, wed-fri 08:00-12:00`). Where no span has any, they hold every day.
/// - A span that ends before it begins ends on the next day: `fri 22:00-06:00` is over on Saturday.
/// - The clock on the wall decides, also on the two days on which it is set: an hour that is skipped then holds no
///   time, and one that comes twice holds both.
///
/// ```
/// use latmon::alert::hours::Hours;
/// let hours: Hours = "Mon-Fri 8:00-18:00,sat 22:00-24:00".parse()?;
/// assert_eq!(hours.to_string(), "mon-fri 08:00-18:00, sat 22:00-24:00");
/// assert!("mon-fri".parse::<Hours>().is_err(), "from when to when?");
/// # Ok::<(), latmon::alert::hours::HoursError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    spans: Vec<Span>,
}

/// The same time span on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// The days on which it begins.
    days: Days,
    /// Minutes since midnight, under [`DAY`].
    from: u16,
    /// Minutes since midnight, up to [`DAY`]; on the next day where that is not after `from`.
    until: u16,
}

/// Days of the week, a bit for each, Monday's the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days(u8);

impl Hours {
    /// Whether `time` is within them, by the local clock.
    pub fn contains(&self, time: UnixTime) -> bool {
        self.contains_local(time.local().civil.naive_local())
    }

    /// Whether they hold the local date and time `civil`.
    pub fn contains_local(&self, civil: NaiveDateTime) -> bool {
        let today = civil.weekday().num_days_from_monday();
        let minute = civil.hour() * 60 + civil.minute();
        self.spans.iter().any(|span| span.contains(today, minute))
    }
}

impl Span {
    fn contains(self, today: u32, minute: u32) -> bool {
        let (from, until) = (u32::from(self.from), u32::from(self.until));
        if from < until {
            return self.days.has(today) && (from..until).contains(&minute);
        }
        let yesterday = (today + 6) % 7;
        (self.days.has(today) && minute >= from) || (self.days.has(yesterday) && minute < until)
    }
}

impl Days {
    const NONE: Self = Self(0);
    const ALL: Self = Self(0x7f);

    fn has(self, day: u32) -> bool {
        self.0 >> day & 1 == 1
    }

    fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// From one day to another, over the week's end where that comes first.
    fn from_to(first: u32, last: u32) -> Self {
        let count = (last + 7 - first) % 7 + 1;
        (0..count).fold(Self::NONE, |days, n| Self(days.0 | 1 << ((first + n) % 7)))
    }
}

/// Why a text names no hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// What stands where days belong names none.
    #[error("'{0}' is no day: write mon, tue, wed, thu, fri, sat or sun, or two of them as mon-fri")]
    Day(String),
    /// What stands where a time span belongs is none.
    #[error("'{0}' is no time of day: write two from 00:00 to 24:00, as 08:00-18:00")]
    Time(String),
    /// A time span that begins when it ends.
    #[error("'{0}' ends when it begins: for the whole day write 00:00-24:00")]
    Empty(String),
    /// Days without a time span behind them.
    #[error("no time follows '{0}': write the hours behind the days, as mon-fri 08:00-18:00")]
    NoTime(String),
    /// A time span without days, beside one that has some.
    #[error("'{0}' has no days, and another one has: write the days before each time")]
    NoDays(String),
    /// More time spans than anybody means.
    #[error("more than {max} times", max = Hours::MOST_SPANS)]
    TooMany,
}

impl Hours {
    /// The most time spans that a text may name.
    pub const MOST_SPANS: usize = 50;
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let mut spans: Vec<Span> = Vec::new();
        // Days of a list whose time is still to come, and the text they stand in.
        let mut waiting = (Days::NONE, "");
        for part in text.split(',').map(str::trim) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (days, time) = match words[..] {
                [days, time] => (parse_days(days)?, time),
                [time] if time.starts_with(|c: char| c.is_ascii_digit()) => (Days::NONE, time),
                [days] => {
                    waiting = (waiting.0.and(parse_days(days)?), part);
                    continue;
                }
                _ => return Err(HoursError::Time(part.to_owned())),
            };
            if days == Days::NONE && waiting.0 != Days::NONE {
                return Err(HoursError::NoTime(waiting.1.to_owned()));
            }
            let (from, until) = parse_span(time)?;
            if spans.len() == Self::MOST_SPANS {
                return Err(HoursError::TooMany);
            }
            let days = days.and(std::mem::replace(&mut waiting, (Days::NONE, "")).0);
            if spans.first().is_some_and(|first| (first.days == Days::NONE) != (days == Days::NONE)) {
                return Err(HoursError::NoDays(time.to_owned()));
            }
            spans.push(Span { days, from, until });
        }
        if waiting.0 != Days::NONE {
            return Err(HoursError::NoTime(waiting.1.to_owned()));
        }
        for span in spans.iter_mut().filter(|span| span.days == Days::NONE) {
            span.days = Days::ALL;
        }
        Ok(Self { spans })
    }
}

/// One day, or two with all between.
fn parse_days(text: &str) -> Result<Days, HoursError> {
    let day = |name: &str| {
        NAMES
            .iter()
            .zip(0..)
            .find_map(|(known, number)| name.eq_ignore_ascii_case(known).then_some(number))
            .ok_or_else(|| HoursError::Day(text.to_owned()))
    };
    match text.split_once('-') {
        Some((first, last)) => Ok(Days::from_to(day(first)?, day(last)?)),
        None => day(text).map(|day| Days::from_to(day, day)),
    }
}

fn parse_span(text: &str) -> Result<(u16, u16), HoursError> {
    let form = || HoursError::Time(text.to_owned());
    let minutes = |time: &str| {
        let (hours, minutes) = time.split_once(':')?;
        let number = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
            let fits = lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| fits)
        };
        let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
        (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
    };
    let (from, until) = text.split_once('-').ok_or_else(form)?;
    let (from, until) = (minutes(from).ok_or_else(form)?, minutes(until).ok_or_else(form)?);
    if from == until {
        return Err(HoursError::Empty(text.to_owned()));
    }
    // Nothing begins at 24:00 of its own day.
    if from == DAY { Err(form()) } else { Ok((from, until)) }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, span) in self.spans.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}", span.days)?;
            let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            write!(f, "{}-{}", time(span.from), time(span.until))?;
        }
        Ok(())
    }
}

impl fmt::Display for Days {
    /// With a blank behind; nothing for every day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return Ok(());
        }
        // Each run of days begins behind a day that is not among them, so that one over the week's end stays whole.
        let begins = (0..7).filter(|day| self.has(*day) && !self.has((day + 6) % 7));
        for (place, first) in begins.enumerate() {
            let last =
                (0..7).map(|n| (first + n) % 7).take_while(|day| self.has(*day)).last().unwrap_or(first);
            let comma = if place == 0 { "" } else { ", " };
            let name = |day: u32| NAMES[day as usize % 7];
            match first == last {
                true => write!(f, "{comma}{}", name(first))?,
                false => write!(f, "{comma}{}-{}", name(first), name(last))?,
            }
        }
        f.write_str(" ")
    }
}

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// In minutes.
const DAY: u16 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, NaiveDate, TimeDelta, TimeZone};
    use proptest::prelude::*;

    fn hours(text: &str) -> Hours {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The 23rd of November 2026 is a Monday.
    fn at(day: &str, time: &str) -> NaiveDateTime {
        let days = NAMES.iter().position(|name| *name == day).expect("a day");
        let (hour, minute) = time.split_once(':').expect("a time");
        NaiveDate::from_ymd_opt(2026, 11, 23 + days as u32)
            .and_then(|date| date.and_hms_opt(hour.parse().ok()?, minute.parse().ok()?, 30))
            .expect("it exists")
    }

    #[track_caller]
    fn check(text: &str, inside: &[&str], outside: &[&str]) {
        let hours = hours(text);
        for (moments, expected) in [(inside, true), (outside, false)] {
            for moment in moments {
                let (day, time) = moment.split_once(' ').expect("a day and a time");
                assert_eq!(hours.contains_local(at(day, time)), expected, "{text} at {moment}");
            }
        }
    }

    #[test]
    fn hours_hold_from_their_first_minute_to_the_one_before_their_last() {
        check(
            "mon-fri 08:00-18:00",
            &["mon 08:00", "wed 12:00", "fri 17:59"],
            &["mon 07:59", "mon 18:00", "sat 12:00", "sun 08:00"],
        );
        check("08:00-12:00, 13:00-17:00", &["sun 08:00", "mon 16:59"], &["sun 12:30", "mon 17:00"]);
        check("sat 00:00-24:00", &["sat 00:00", "sat 23:59"], &["fri 23:59", "sun 00:00"]);
        check(
            "mon, wed-thu 10:00-11:00, sun 9:00-10:00",
            &["mon 10:00", "thu 10:59", "sun 09:30"],
            &["tue 10:30"],
        );
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        check(
            "fri 22:00-06:00",
            &["fri 22:00", "fri 23:59", "sat 00:00", "sat 05:59"],
            &["fri 05:00", "sat 06:00", "sat 23:00"],
        );
        check("sun 22:00-06:00", &["sun 22:00", "mon 05:59"], &["mon 22:00", "sun 05:00"]);
        check("22:00-06:00", &["tue 23:00", "tue 03:00"], &["tue 06:00", "tue 21:59"]);
        check(
            "fri-mon 18:00-24:00",
            &["fri 18:00", "sun 23:59", "mon 20:00"],
            &["tue 20:00", "thu 23:00", "tue 00:00"],
        );
    }

    /// In Berlin the clocks were set forward on the 29th of March 2026 at 01:00 UTC, from 02:00 to 03:00, and back on the
    /// 25th of October at 01:00 UTC, from 03:00 to 02:00.
    #[test]
    fn the_clock_on_the_wall_decides_also_when_it_is_set() {
        let minutes_held = |text: &str, day: (i32, u32, u32), change_hours: [i32; 2]| {
            let hours = hours(text);
            let midnight =
                NaiveDate::from_ymd_opt(day.0, day.1, day.2).unwrap().and_hms_opt(0, 0, 0).unwrap();
            let change = midnight + TimeDelta::hours(1);
            // From noon to noon, UTC.
            (-720..720)
                .map(|minute| midnight + TimeDelta::minutes(minute))
                .filter(|utc| {
                    let [before, after] = change_hours;
                    let east = if *utc < change { before } else { after };
                    let offset = FixedOffset::east_opt(east * 3600).unwrap();
                    hours.contains_local(offset.from_utc_datetime(utc).naive_local())
                })
                .count()
        };
        let (spring, autumn) = ((2026, 3, 29), (2026, 10, 25));
        for (text, in_spring, in_autumn) in [
            // The hour that is skipped, the one that comes twice.
            ("sun 02:00-03:00", 0, 120),
            ("sun 02:15-02:45", 0, 60),
            ("sun 01:30-03:30", 60, 180),
            // A night's work ends when the clock says so.
            ("sat 22:00-06:00", 7 * 60, 9 * 60),
            ("sun 08:00-09:00", 60, 60),
        ] {
            assert_eq!(minutes_held(text, spring, [1, 2]), in_spring, "{text} in spring");
            assert_eq!(minutes_held(text, autumn, [2, 1]), in_autumn, "{text} in autumn");
        }
    }

    #[test]
    fn hours_are_shown_as_they_are_read() {
        for (text, shown) in [
            ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00"),
            (" MON-Fri  8:00-18:00 ,Sat 22:00-6:00", "mon-fri 08:00-18:00, sat 22:00-06:00"),
            ("mon,tue,wed,fri 08:00-18:00", "mon-wed, fri 08:00-18:00"),
            ("sat,sun,mon 0:00-24:00", "sat-mon 00:00-24:00"),
            ("08:00-18:00", "08:00-18:00"),
            ("mon-sun 08:00-18:00", "08:00-18:00"),
        ] {
            assert_eq!(hours(text).to_string(), shown);
            assert_eq!(hours(shown), hours(text));
        }
    }

    #[test]
    fn what_names_no_hours_is_told_with_what_to_write() {
        let error = |text: &str| text.parse::<Hours>().unwrap_err().to_string();
        let no_day = |text| {
            format!(
                "'{text}' is no day: write mon, tue, wed, thu, fri, sat or sun, or two of them as mon-fri"
            )
        };
        let no_time =
            |text| format!("'{text}' is no time of day: write two from 00:00 to 24:00, as 08:00-18:00");
        let days_alone = |text| {
            format!("no time follows '{text}': write the hours behind the days, as mon-fri 08:00-18:00")
        };
        for (text, expected) in [
            ("mo 08:00-18:00", no_day("mo")),
            ("mon-fry 08:00-18:00", no_day("mon-fry")),
            ("weekdays", no_day("weekdays")),
            ("", no_time("")),
            ("08:00-18:00,", no_time("")),
            ("mon 08:00 - 18:00", no_time("mon 08:00 - 18:00")),
            ("mon 8-18", no_time("8-18")),
            ("mon 08:00", no_time("08:00")),
            ("mon 08:00-24:01", no_time("08:00-24:01")),
            ("mon 08:60-18:00", no_time("08:60-18:00")),
            ("mon 24:00-06:00", no_time("24:00-06:00")),
            ("mon +8:00-18:00", no_time("+8:00-18:00")),
            ("mon 99999999:00-18:00", no_time("99999999:00-18:00")),
            ("mon-fri", days_alone("mon-fri")),
            ("mon 08:00-18:00, sat", days_alone("sat")),
            ("sat, 08:00-18:00", days_alone("sat")),
            (
                "mon 08:00-08:00",
                "'08:00-08:00' ends when it begins: for the whole day write 00:00-24:00".into(),
            ),
            (
                "mon-fri 08:00-12:00, 13:00-17:00",
                "'13:00-17:00' has no days, and another one has: write the days before each time".into(),
            ),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!("1:00-2:00,".repeat(51).parse::<Hours>(), Err(HoursError::TooMany));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"((mon|tue|sat|sun|\PC){0,2}[-,]?(fri|sun)? ?[0-9]{0,3}:?[0-9]{0,2}-?[0-9:]{0,5},? ?){0,4}") {
            if let Ok(hours) = text.parse::<Hours>() {
                prop_assert_eq!(hours.to_string().parse(), Ok(hours));
            }
        }
    }
}
