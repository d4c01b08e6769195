//! AT-style points in time: `now-1d`, `12:30 yesterday`, `jan 15 2021`, `end-24h`.
//!
//! What people have in scripts counts, so its oddities are kept: `-5m` is five months ago, `-6m` six minutes.

mod civil;
mod scanner;

use chrono::Datelike;

use crate::rrd::error::TimeError as Error;
use crate::time::UnixTime;
use civil::Civil;
use scanner::{Scanner, Token};

/// A point in time as written: it may be relative to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpec {
    base: Base,
    offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// Local date and time.
    Civil(Civil),
    Start,
    End,
}

/// Reads a point in time; `now` fills in what the text leaves out. The zone is the local one.
pub fn parse(text: &str, now: UnixTime) -> Result<TimeSpec, Error> {
    let mut scanner = Scanner::new(text);
    let mut spec = TimeSpec { base: Base::Civil(Civil::of(now)), offset: Offset::default() };
    match scanner.token {
        Token::Sign(_) => {}
        Token::Word(word) => match lower(word).as_str() {
            "now" | "n" => {
                scanner.next();
                if !matches!(scanner.token, Token::Sign(_) | Token::End) {
                    return Err(Error::AfterNow);
                }
            }
            reference @ ("start" | "s" | "end" | "e" | "epoch") => {
                spec.base = match reference {
                    "start" | "s" => Base::Start,
                    "end" | "e" => Base::End,
                    _ => Base::Civil(Civil::of(UnixTime::from_secs(0))),
                };
                scanner.next();
                if !matches!(scanner.token, Token::Sign(_)) {
                    return Err(Error::OffsetMissing);
                }
            }
            _ => spec.base = Base::Civil(reference(&mut scanner, now)?),
        },
        Token::Number(_) => spec.base = Base::Civil(reference(&mut scanner, now)?),
        Token::Mark(_) | Token::End => return Err(scanner.unparsable()),
    }
    spec.offset = Offset::parse(&mut scanner)?;
    if matches!(scanner.token, Token::End) {
        Ok(spec)
    } else {
        Err(Error::Trailing(scanner.rest().to_owned()))
    }
}

/// The two ends of a span, one of which may be relative to the other.
pub fn span(start: &TimeSpec, end: &TimeSpec) -> Result<(UnixTime, UnixTime), Error> {
    match (start.base, end.base) {
        (Base::End, Base::Start) => Err(Error::Circle),
        (Base::Start, _) => Err(Error::StartOfStart),
        (_, Base::End) => Err(Error::EndOfEnd),
        (Base::End, Base::Civil(civil)) => {
            let end = end.offset.from(civil);
            Ok((start.offset.from(Civil::of(end)), end))
        }
        (Base::Civil(civil), Base::Start) => {
            let start = start.offset.from(civil);
            Ok((start, end.offset.from(Civil::of(start))))
        }
        (Base::Civil(from), Base::Civil(to)) => Ok((start.offset.from(from), end.offset.from(to))),
    }
}

impl From<UnixTime> for TimeSpec {
    fn from(time: UnixTime) -> Self {
        Self { base: Base::Civil(Civil::exactly(time)), offset: Offset::default() }
    }
}

impl TimeSpec {
    /// The point in time; `None` when it is relative to `start` or `end`.
    pub fn absolute(&self) -> Option<UnixTime> {
        match self.base {
            Base::Civil(civil) => Some(self.offset.from(civil)),
            Base::Start | Base::End => None,
        }
    }
}

/// What is added to a base: calendar fields, which follow the clocks that people read, and plain seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offset {
    months: i64,
    days: i64,
    seconds: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Years,
    Months,
    Weeks,
    Days,
    Hours,
    Minutes,
    Seconds,
}

impl Offset {
    /// No point in time is farther away than this many of any unit.
    const MOST: i64 = 1 << 40;

    /// Reads `+1d2h -5 min`, from a sign on; nothing where there is none.
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Error> {
        let mut offset = Self::default();
        while let Token::Sign(sign) = scanner.token {
            let mut before = None;
            scanner.next();
            if !matches!(scanner.token, Token::Number(_)) {
                return Err(Error::NumberAfterSign(sign));
            }
            while let Token::Number(digits) = scanner.token {
                let count = number(digits).min(Self::MOST);
                scanner.next();
                let unit = unit(scanner.token, count, before);
                offset.add(if sign == '-' { -count } else { count }, unit.unwrap_or(Unit::Seconds));
                before = unit.or(before);
                // Whatever stands in the unit's place is taken for one, even a sign or another number.
                scanner.next();
            }
        }
        Ok(offset)
    }

    fn add(&mut self, count: i64, unit: Unit) {
        let (field, each) = match unit {
            Unit::Years => (&mut self.months, 12),
            Unit::Months => (&mut self.months, 1),
            Unit::Weeks => (&mut self.days, 7),
            Unit::Days => (&mut self.days, 1),
            Unit::Hours => (&mut self.seconds, 3600),
            Unit::Minutes => (&mut self.seconds, 60),
            Unit::Seconds => (&mut self.seconds, 1),
        };
        *field = field.saturating_add(count * each);
    }

    fn from(self, civil: Civil) -> UnixTime {
        let day = civil.day.saturating_add(self.days);
        let month0 = civil.month0.saturating_add(self.months);
        let shifted = Civil { day, month0, ..civil }.resolve();
        UnixTime::from_secs(shifted.secs().saturating_add(self.seconds))
    }
}

/// The unit of an offset, if it is one; `m` is months or minutes by the unit before it, or else by its count.
fn unit(token: Token<'_>, count: i64, before: Option<Unit>) -> Option<Unit> {
    let Token::Word(word) = token else { return None };
    match lower(word).as_str() {
        "y" | "yr" | "year" | "years" => Some(Unit::Years),
        "mon" | "month" | "months" => Some(Unit::Months),
        "w" | "wk" | "week" | "weeks" => Some(Unit::Weeks),
        "d" | "day" | "days" => Some(Unit::Days),
        "h" | "hr" | "hour" | "hours" => Some(Unit::Hours),
        "min" | "minute" | "minutes" => Some(Unit::Minutes),
        "s" | "sec" | "second" | "seconds" => Some(Unit::Seconds),
        "m" => Some(match before {
            Some(Unit::Years | Unit::Months | Unit::Weeks | Unit::Days) => Unit::Months,
            Some(Unit::Hours | Unit::Minutes | Unit::Seconds) => Unit::Minutes,
            None if count < 6 => Unit::Months,
            None => Unit::Minutes,
        }),
        _ => None,
    }
}

/// Reads a time of day, a date, or both.
fn reference(scanner: &mut Scanner<'_>, now: UnixTime) -> Result<Civil, Error> {
    let today = Civil::of(now);
    if let Some((hour, minute)) = time_of_day(scanner)? {
        return day_behind_time(scanner, today.at(hour, minute), now);
    }
    match scanner.token {
        Token::Number(_) => {
            let date = numeric_date(scanner, today.at(0, 0))?;
            if date.exact {
                return Ok(date.civil);
            }
            // A mark in this place is swallowed, and then nothing may follow.
            if let Token::Sign(_) | Token::Mark(_) = scanner.token {
                scanner.next();
                return match scanner.token {
                    Token::End => Ok(date.civil),
                    _ => Err(Error::Trailing(scanner.rest().to_owned())),
                };
            }
            hour_behind_date(scanner, date.civil)
        }
        Token::Word(word) => match month_of(word) {
            Some(month0) => {
                let (civil, has_year) = named_date(scanner, today, month0)?;
                if has_year { hour_behind_date(scanner, civil) } else { Ok(civil) }
            }
            None => Err(scanner.unparsable()),
        },
        _ => Err(scanner.unparsable()),
    }
}

fn hour_behind_date(scanner: &mut Scanner<'_>, date: Civil) -> Result<Civil, Error> {
    if !matches!(scanner.token, Token::Number(_)) {
        return Ok(date);
    }
    Ok(time_of_day(scanner)?.map_or(date, |(hour, minute)| date.at(hour, minute)))
}

/// Reads `12`, `12:30`, `3pm`, `3:30 am`, `noon`; nothing where there is no time of day.
fn time_of_day(scanner: &mut Scanner<'_>) -> Result<Option<(i64, i64)>, Error> {
    let digits = match scanner.token {
        Token::Word(word) => {
            let hour = match lower(word).as_str() {
                "midnight" => 0,
                "noon" => 12,
                "teatime" => 16,
                _ => return Ok(None),
            };
            scanner.next();
            return Ok(Some((hour, 0)));
        }
        Token::Number(digits) if digits.len() <= 2 && number(digits) <= 23 => digits,
        _ => return Ok(None),
    };
    let (mut hour, mut minute) = (number(digits), 0);
    let begun = *scanner;
    scanner.next();
    match scanner.token {
        Token::Mark(':') => {
            scanner.next();
            let Token::Number(minutes) = scanner.token else { return Err(Error::NoMinutes) };
            minute = number(minutes);
            if minute > 59 {
                return Err(Error::Minutes(minute));
            }
            scanner.next();
        }
        // A date of numbers.
        Token::Mark('.' | '/') => {
            *scanner = begun;
            return Ok(None);
        }
        _ => {}
    }
    if let Token::Word(word) = scanner.token {
        let afternoon = match lower(word).as_str() {
            "am" => false,
            "pm" => true,
            _ => return Ok(Some((hour, minute))),
        };
        if hour > 12 {
            return Err(Error::Hours);
        }
        hour = hour % 12 + if afternoon { 12 } else { 0 };
        scanner.next();
    }
    Ok(Some((hour, minute)))
}

/// Reads a date behind a time of day; today's where there is none.
fn day_behind_time(scanner: &mut Scanner<'_>, today: Civil, now: UnixTime) -> Result<Civil, Error> {
    match scanner.token {
        Token::Number(_) => Ok(numeric_date(scanner, today)?.civil),
        Token::Word(word) => {
            if let Some(month0) = month_of(word) {
                return Ok(named_date(scanner, today, month0)?.0);
            }
            let weekday = i64::from(now.local().civil.weekday().num_days_from_sunday());
            let days = match lower(word).as_str() {
                "today" => 0,
                "yesterday" => -1,
                "tomorrow" => 1,
                // Of this week, which begins on Sunday.
                other => match WEEKDAYS.iter().position(|day| *day == other || day[..3] == *other) {
                    Some(day) => day as i64 - weekday,
                    None => return Ok(today),
                },
            };
            scanner.next();
            Ok(Civil { day: today.day + days, ..today })
        }
        _ => Ok(today),
    }
}

/// Reads `15`, `15 2021` behind a month's name; also tells whether there was a year.
fn named_date(scanner: &mut Scanner<'_>, today: Civil, month0: i64) -> Result<(Civil, bool), Error> {
    scanner.next();
    let Token::Number(day) = scanner.token else { return Err(Error::DayAfterMonth) };
    scanner.next();
    let civil = Civil { month0, day: number(day), ..today };
    let Token::Number(digits) = scanner.token else { return Ok((civil, false)) };
    let year = year(number(digits))?;
    scanner.next();
    Ok((Civil { year, ..civil }, true))
}

struct NumericDate {
    civil: Civil,
    /// Seconds since 1970, which already say the time of day.
    exact: bool,
}

/// Reads `1700000000`, `20210115`, `1/15/2021`, `15.1.2021`. Where the year is missing it is this year's; the original
/// takes the year 30000.
fn numeric_date(scanner: &mut Scanner<'_>, today: Civil) -> Result<NumericDate, Error> {
    const FIRST_EPOCH: i64 = 315_360_000;
    let Token::Number(digits) = scanner.token else { return Err(scanner.unparsable()) };
    let first = number(digits);
    scanner.next();
    if first > FIRST_EPOCH {
        return Ok(NumericDate { civil: Civil::exactly(UnixTime::from_secs(first)), exact: true });
    }
    let (mut month, mut day, mut year_digits) = (first, 0, None);
    if (19_700_102..=24_000_100).contains(&first) {
        year_digits = Some(first / 10_000);
        (month, day) = (first / 100 % 100, first % 100);
    } else if let Token::Mark(mark @ ('/' | '.')) = scanner.token {
        scanner.next();
        let second = separated(scanner, mark, if mark == '/' { "day" } else { "month" })?;
        (month, day) = if mark == '/' { (first, second) } else { (second, first) };
        if scanner.token == Token::Mark(mark) {
            scanner.next();
            year_digits = Some(separated(scanner, mark, "year")?);
        }
    }
    let year = year_digits.map(year).transpose()?.unwrap_or(today.year);
    if !(1..=12).contains(&month) {
        return Err(Error::Month(month));
    }
    if !(1..=31).contains(&day) {
        return Err(Error::Day(day));
    }
    Ok(NumericDate { civil: Civil { year, month0: month - 1, day, ..today }, exact: false })
}

fn separated(scanner: &mut Scanner<'_>, mark: char, what: &'static str) -> Result<i64, Error> {
    let Token::Number(digits) = scanner.token else { return Err(Error::NumberAfterMark { what, mark }) };
    scanner.next();
    Ok(number(digits))
}

fn year(written: i64) -> Result<i64, Error> {
    match written {
        0..=37 => Ok(2000 + written),
        38..=69 => Err(Error::BeforeEpoch),
        70..=138 => Ok(1900 + written),
        1971.. => Ok(written.min(1 << 20)),
        _ => Err(Error::Year(written)),
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn month_of(word: &str) -> Option<i64> {
    let word = lower(word);
    MONTHS.iter().position(|month| *month == word || month[..3] == word).map(|month| month as i64)
}

fn lower(word: &str) -> String {
    word.to_ascii_lowercase()
}

/// The value of digits; the largest one where they are too many.
fn number(digits: &str) -> i64 {
    digits.parse().unwrap_or(i64::MAX)
}
