//! Which marks and labels the axes have: time in the local zone, latency from zero in steps of 1, 2 and 5.

use chrono::{DateTime, Datelike, Days, FixedOffset, Months, NaiveDate, NaiveTime, Timelike, Weekday};

use crate::time::{LocalTime, UnixTime};

/// The zone of an axis: [`UnixTime::local`], or a test's own.
pub(super) type Zone<'a> = &'a dyn Fn(UnixTime) -> LocalTime;

/// A labelled mark on the axis of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeTick {
    pub(super) at: UnixTime,
    pub(super) label: String,
    /// A day begins, or a year where the marks are months.
    pub(super) strong: bool,
}

/// The marks of the axis of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeAxis {
    pub(super) ticks: Vec<TimeTick>,
    /// Marks without a label, between those with one.
    pub(super) fine: Vec<UnixTime>,
}

/// The marks for the span from `start` to `end`, `pixels` wide: as close as the labels, whose widths `width_of` tells,
/// leave room for.
pub(super) fn time_axis(
    (start, end): (UnixTime, UnixTime),
    pixels: f64,
    zone: Zone<'_>,
    width_of: &dyn Fn(&str) -> f64,
) -> TimeAxis {
    let span_secs = (end.micros() as f64 - start.micros() as f64) / 1e6;
    let pixels_per_sec = pixels / span_secs.max(1.0);
    let sample = zone(start).civil;
    let fits = |grade: &&Grade| {
        let label = width_of(&sample.format(grade.label).to_string());
        let strong = grade.strong.map_or(label, |form| width_of(&sample.format(form).to_string()));
        grade.every.secs() as f64 * pixels_per_sec >= (label + strong.max(label)) / 2.0 + LABEL_GAP
    };
    let Some(grade) = GRADES.iter().find(fits) else {
        // Thousands of years: no archive holds them, but a damaged clock may ask for them.
        return TimeAxis { ticks: Vec::new(), fine: Vec::new() };
    };
    let label = |at: UnixTime| {
        let civil = zone(at).civil;
        let strong = grade.every.begins_a_greater(civil);
        let form = grade.strong.filter(|_| strong).unwrap_or(grade.label);
        TimeTick { at, label: civil.format(form).to_string(), strong }
    };
    let ticks: Vec<TimeTick> = grade.every.marks(start, end, zone).into_iter().map(label).collect();
    let mut fine = grade.fine.marks(start, end, zone);
    fine.retain(|at| !ticks.iter().any(|tick| tick.at == *at));
    TimeAxis { ticks, fine }
}

/// The span in words, each form shorter than the one before: `Sun 22 Nov 2026, 08:00 – 09:00 CET`, without weekday and
/// year, and the zone alone.
pub(super) fn spans_in_words(start: UnixTime, end: UnixTime, zone: Zone<'_>) -> [String; 3] {
    let (from, to) = (zone(start), zone(end));
    let seconds = end.since(start).is_some_and(|span| span.as_secs() < 600);
    let time = if seconds { "%H:%M:%S" } else { "%H:%M" };
    let from_zone = if from.zone == to.zone { String::new() } else { format!(" {}", from.zone) };
    let same_day = from.civil.date_naive() == to.civil.date_naive();
    let in_form = |date: &str| {
        let until = if same_day { String::new() } else { format!("{}, ", to.civil.format(date)) };
        let (begin, end) = (from.civil.format(time), to.civil.format(time));
        format!("{}, {begin}{from_zone} – {until}{end} {}", from.civil.format(date), to.zone)
    };
    [in_form("%a %-d %b %Y"), in_form("%-d %b"), to.zone.clone()]
}

/// How the axis of time is marked.
struct Grade {
    every: Every,
    fine: Every,
    /// chrono's form of a label.
    label: &'static str,
    /// The form at the beginning of a day, or of a year.
    strong: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Every {
    /// A divisor of a day, counted from local midnight.
    Secs(u32),
    Days(i32),
    /// On Mondays.
    Week,
    /// A divisor of a year, or whole years, counted from January.
    Months(i32),
}

const GRADES: &[Grade] = {
    const fn clock(every: u32, fine: u32, label: &'static str) -> Grade {
        Grade { every: Every::Secs(every), fine: Every::Secs(fine), label, strong: Some("%a %-d %b") }
    }
    const fn date(every: Every, fine: Every, label: &'static str, strong: Option<&'static str>) -> Grade {
        Grade { every, fine, label, strong }
    }
    use Every::{Days, Months, Secs, Week};
    &[
        clock(1, 1, "%H:%M:%S"),
        clock(2, 1, "%H:%M:%S"),
        clock(5, 1, "%H:%M:%S"),
        clock(10, 2, "%H:%M:%S"),
        clock(15, 5, "%H:%M:%S"),
        clock(30, 10, "%H:%M:%S"),
        clock(60, 15, "%H:%M"),
        clock(120, 30, "%H:%M"),
        clock(300, 60, "%H:%M"),
        clock(600, 120, "%H:%M"),
        clock(900, 300, "%H:%M"),
        clock(1800, 600, "%H:%M"),
        clock(3600, 900, "%H:%M"),
        clock(2 * 3600, 1800, "%H:%M"),
        clock(3 * 3600, 3600, "%H:%M"),
        clock(6 * 3600, 3600, "%H:%M"),
        clock(12 * 3600, 3 * 3600, "%H:%M"),
        date(Days(1), Secs(6 * 3600), "%a %-d %b", None),
        date(Days(1), Secs(12 * 3600), "%a %-d", None),
        date(Days(2), Days(1), "%-d %b", None),
        date(Week, Days(1), "%-d %b", None),
        date(Months(1), Week, "%b", Some("%Y")),
        date(Months(3), Months(1), "%b", Some("%Y")),
        date(Months(6), Months(1), "%b", Some("%Y")),
        date(Months(12), Months(3), "%Y", None),
        date(Months(24), Months(12), "%Y", None),
        date(Months(60), Months(12), "%Y", None),
        date(Months(120), Months(24), "%Y", None),
        date(Months(600), Months(120), "%Y", None),
    ]
};

/// Pixels between two labels, at least.
const LABEL_GAP: f64 = 14.0;

impl Every {
    fn secs(self) -> u64 {
        match self {
            Self::Secs(secs) => u64::from(secs),
            Self::Days(days) => days.unsigned_abs() as u64 * 86_400,
            Self::Week => 7 * 86_400,
            Self::Months(months) => months.unsigned_abs() as u64 * 28 * 86_400,
        }
    }

    /// Whether a greater unit begins with the mark: a day among hours, a year among months. Each day is strong among
    /// quarters of days.
    fn begins_a_greater(self, civil: DateTime<FixedOffset>) -> bool {
        match self {
            Self::Secs(_) => civil.time() == NaiveTime::MIN,
            Self::Days(1) => true,
            Self::Days(_) | Self::Week => false,
            Self::Months(_) => civil.month() == 1,
        }
    }

    fn marks(self, start: UnixTime, end: UnixTime, zone: Zone<'_>) -> Vec<UnixTime> {
        let marks: Box<dyn Iterator<Item = UnixTime> + '_> = match self {
            Self::Secs(secs) => {
                let before = UnixTime::from_secs(start.secs().saturating_sub(1));
                Box::new(
                    std::iter::successors(Some(before), move |at| next_clock_mark(*at, secs, zone)).skip(1),
                )
            }
            _ => {
                let first = zone(start).civil.date_naive();
                Box::new(
                    std::iter::successors(Some(first), move |date| self.next_date(*date))
                        .filter(move |date| self.falls_on(*date))
                        .map(move |date| first_instant(date, zone)),
                )
            }
        };
        marks.skip_while(|at| *at < start).take_while(|at| *at <= end).collect()
    }

    /// The next date on which a mark may fall.
    fn next_date(self, date: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Months(_) => date.with_day(1)?.checked_add_months(Months::new(1)),
            _ => date.checked_add_days(Days::new(1)),
        }
    }

    fn falls_on(self, date: NaiveDate) -> bool {
        match self {
            Self::Secs(_) => false,
            Self::Days(days) => date.num_days_from_ce() % days == 0,
            Self::Week => date.weekday() == Weekday::Mon,
            Self::Months(months) => {
                date.day() == 1 && (date.year() * 12 + date.month0() as i32) % months == 0
            }
        }
    }
}

/// The first point after `after` whose local time of day is a multiple of `secs`; the clocks may be set in between.
fn next_clock_mark(after: UnixTime, secs: u32, zone: Zone<'_>) -> Option<UnixTime> {
    let past_mark = |at: UnixTime| i64::from(zone(at).civil.num_seconds_from_midnight() % secs);
    let step = i64::from(secs);
    let ahead = after.secs().checked_add(step - past_mark(after))?;
    let past = past_mark(UnixTime::from_secs(ahead));
    // The clocks may be set on the way. Set forward, they may have gone past a mark.
    let behind = UnixTime::from_secs(ahead.checked_sub(past)?);
    let next = if past == 0 || (behind > after && past_mark(behind) == 0) {
        behind
    } else {
        UnixTime::from_secs(ahead.checked_add(step - past)?)
    };
    // At the end of the scale there is no next one.
    Some(next).filter(|next| *next > after)
}

/// The first point of a local date: midnight, or whatever follows where the clocks are set forward over it.
fn first_instant(date: NaiveDate, zone: Zone<'_>) -> UnixTime {
    let midnight_utc = date.and_time(NaiveTime::MIN).and_utc().timestamp();
    // No zone is further from UTC than this.
    let reach = 16 * 3600;
    let (mut before, mut after) = (midnight_utc - reach, midnight_utc + reach);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if zone(UnixTime::from_secs(middle)).civil.date_naive() < date {
            before = middle
        } else {
            after = middle
        }
    }
    UnixTime::from_secs(after)
}

/// A labelled mark on the axis of latency.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LatencyTick {
    pub(super) secs: f64,
    pub(super) label: String,
}

/// The marks from 0 to `top_secs`, `pixels` high, and a finer step between them.
pub(super) fn latency_axis(top_secs: f64, pixels: f64) -> (Vec<LatencyTick>, f64) {
    let most = (pixels / LATENCY_SPACING).floor().clamp(1.0, 10.0);
    let (per_sec, unit) = match top_secs {
        top if top < 1e-3 => (1e6, "µs"),
        top if top < 2.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    let least = top_secs * per_sec / most;
    let decade = 10f64.powf(least.log10().floor());
    let (step, fine) = [(1.0, 0.2), (2.0, 0.5), (5.0, 1.0), (10.0, 2.0)]
        .map(|(step, fine)| (step * decade, fine * decade))
        .into_iter()
        .find(|(step, _)| *step >= least * (1.0 - 1e-9))
        .unwrap_or((10.0 * decade, 2.0 * decade));
    let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
    let count = (top_secs * per_sec / step + 1e-9).floor() as u32;
    let tick = |index: u32| {
        let value = f64::from(index) * step;
        let label = if index == 0 { "0".to_owned() } else { format!("{value:.decimals$} {unit}") };
        LatencyTick { secs: value / per_sec, label }
    };
    ((0..=count).map(tick).collect(), fine / per_sec)
}

/// Pixels between two labels of latency, at least.
const LATENCY_SPACING: f64 = 26.0;

/// A latency in words, to three digits: `20.1 µs`, `58.3 ms`, `182 ms`, `12.3 s`.
pub(super) fn latency_in_words(secs: f64) -> String {
    let (value, unit) = match secs {
        secs if secs < 0.9995e-3 => (secs * 1e6, "µs"),
        secs if secs < 9.9995 => (secs * 1e3, "ms"),
        secs => (secs, "s"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A limit in words, as somebody wrote it: `60 ms` where a measured latency is `60.0 ms`.
pub(super) fn limit_in_words(secs: f64) -> String {
    let words = latency_in_words(secs);
    match words.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    const UTC: FixedOffset = FixedOffset::east_opt(0).unwrap();

    fn utc(at: UnixTime) -> LocalTime {
        LocalTime { civil: UTC.timestamp_opt(at.secs(), 0).unwrap(), zone: "UTC".into() }
    }

    /// Berlin in 2026: set forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC.
    fn berlin(at: UnixTime) -> LocalTime {
        let summer = (1_774_746_000..1_792_890_000).contains(&at.secs());
        let (hours, zone) = if summer { (2, "CEST") } else { (1, "CET") };
        let offset = FixedOffset::east_opt(hours * 3600).unwrap();
        LocalTime { civil: offset.timestamp_opt(at.secs(), 0).unwrap(), zone: zone.into() }
    }

    /// Santiago in 2026: set forward at midnight, on 6 September at 04:00 UTC: that day begins at 01:00.
    fn santiago(at: UnixTime) -> LocalTime {
        let hours = if at.secs() < 1_788_667_200 { -4 } else { -3 };
        let offset = FixedOffset::east_opt(hours * 3600).unwrap();
        LocalTime { civil: offset.timestamp_opt(at.secs(), 0).unwrap(), zone: "-".into() }
    }

    fn at(offset_hours: i32, text: &str) -> UnixTime {
        let civil = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
        UnixTime::from_secs(civil.and_utc().timestamp() - i64::from(offset_hours) * 3600)
    }

    fn labels(start: UnixTime, secs: i64, pixels: f64, zone: Zone<'_>) -> Vec<String> {
        let end = UnixTime::from_secs(start.secs() + secs);
        let axis = time_axis((start, end), pixels, zone, &|text| text.chars().count() as f64 * 6.0);
        axis.ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn marks_are_as_close_as_their_labels_let_them() {
        let noon = at(0, "2026-11-22 12:00:00");
        assert_eq!(labels(noon, 3600, 900.0, &utc)[..3], ["12:00", "12:05", "12:10"]);
        assert_eq!(labels(noon, 3600, 300.0, &utc), ["12:00", "12:15", "12:30", "12:45", "13:00"]);
        assert_eq!(labels(noon, 300, 900.0, &utc)[..3], ["12:00:00", "12:00:30", "12:01:00"]);
        assert_eq!(labels(noon, 86_400, 900.0, &utc)[4..8], ["20:00", "22:00", "Mon 23 Nov", "02:00"]);
        assert_eq!(labels(noon, 10 * 86_400, 900.0, &utc)[..2], ["Mon 23 Nov", "Tue 24 Nov"]);
        assert_eq!(labels(noon, 30 * 86_400, 900.0, &utc)[..2], ["24 Nov", "26 Nov"]);
        assert_eq!(labels(noon, 60 * 86_400, 900.0, &utc)[..2], ["23 Nov", "30 Nov"]);
        assert_eq!(labels(noon, 3 * 365 * 86_400, 900.0, &utc)[..3], ["2027", "Apr", "Jul"]);
        assert_eq!(labels(noon, 10 * 365 * 86_400, 600.0, &utc)[..3], ["2027", "2028", "2029"]);
    }

    #[test]
    fn hours_stay_right_where_the_clocks_are_set() {
        let march = labels(at(1, "2026-03-29 00:00:00"), 8 * 3600, 600.0, &berlin);
        assert_eq!(
            march,
            ["Sun 29 Mar", "01:00", "03:00", "04:00", "05:00", "06:00", "07:00", "08:00", "09:00"]
        );
        let october = labels(at(2, "2026-10-25 00:00:00"), 8 * 3600, 600.0, &berlin);
        assert_eq!(
            october,
            ["Sun 25 Oct", "01:00", "02:00", "02:00", "03:00", "04:00", "05:00", "06:00", "07:00"]
        );
        // Every third hour: 03:00 exists on both days, though it is not three hours after midnight.
        let march = labels(at(1, "2026-03-29 00:00:00"), 12 * 3600, 300.0, &berlin);
        assert_eq!(march, ["Sun 29 Mar", "03:00", "06:00", "09:00", "12:00"]);
        let october = labels(at(2, "2026-10-25 00:00:00"), 12 * 3600, 300.0, &berlin);
        assert_eq!(october, ["Sun 25 Oct", "03:00", "06:00", "09:00"]);
    }

    #[test]
    fn days_begin_at_local_midnight_on_both_sides_of_a_change() {
        let start = at(1, "2026-03-28 00:00:00");
        let axis = time_axis((start, at(2, "2026-03-31 00:00:00")), 400.0, &berlin, &|_| 60.0);
        let found: Vec<UnixTime> = axis.ticks.iter().map(|tick| tick.at).collect();
        let (eve, day) = (at(1, "2026-03-28 00:00:00"), at(1, "2026-03-29 00:00:00"));
        assert_eq!(found, [eve, day, at(2, "2026-03-30 00:00:00"), at(2, "2026-03-31 00:00:00")]);
    }

    #[test]
    fn a_day_without_a_midnight_begins_when_it_begins() {
        let date = NaiveDate::from_ymd_opt(2026, 9, 6).unwrap();
        let begins = first_instant(date, &santiago);
        assert_eq!(santiago(begins).civil.format("%-d %H:%M:%S").to_string(), "6 01:00:00");
    }

    #[test]
    fn the_span_names_its_zones_and_days_once() {
        let from = at(1, "2026-11-22 08:00:00");
        let words = |from, to| spans_in_words(from, to, &berlin)[0].clone();
        assert_eq!(words(from, at(1, "2026-11-22 09:00:00")), "Sun 22 Nov 2026, 08:00 – 09:00 CET");
        assert_eq!(
            words(from, at(1, "2026-11-23 08:00:00")),
            "Sun 22 Nov 2026, 08:00 – Mon 23 Nov 2026, 08:00 CET"
        );
        assert_eq!(
            words(at(2, "2026-10-25 00:00:00"), at(1, "2026-10-25 12:00:00")),
            "Sun 25 Oct 2026, 00:00 CEST – 12:00 CET"
        );
        assert_eq!(words(from, at(1, "2026-11-22 08:00:30")), "Sun 22 Nov 2026, 08:00:00 – 08:00:30 CET");
        let [_, short, zone] = spans_in_words(from, at(1, "2026-11-22 09:00:00"), &berlin);
        assert_eq!((short.as_str(), zone.as_str()), ("22 Nov, 08:00 – 09:00 CET", "CET"));
    }

    #[test]
    fn an_absurd_span_has_no_marks_and_costs_nothing() {
        let all = (UnixTime::from_micros(i64::MIN), UnixTime::from_micros(i64::MAX));
        assert!(time_axis(all, 900.0, &|at| at.local(), &|_| 30.0).ticks.is_empty());
        for (start, end) in [(all.1, all.0), (all.1, all.1), (all.0, all.0)] {
            assert!(time_axis((start, end), 900.0, &|at| at.local(), &|_| 30.0).ticks.len() <= 1);
        }
    }

    #[test]
    fn latency_steps_are_1_2_5() {
        let labels = |top, pixels| -> Vec<String> {
            latency_axis(top, pixels).0.into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(labels(0.3, 190.0), ["0", "50 ms", "100 ms", "150 ms", "200 ms", "250 ms", "300 ms"]);
        assert_eq!(labels(0.012, 190.0), ["0", "2 ms", "4 ms", "6 ms", "8 ms", "10 ms", "12 ms"]);
        assert_eq!(labels(24e-6, 100.0), ["0", "10 µs", "20 µs"]);
        assert_eq!(labels(0.0012, 100.0), ["0", "0.5 ms", "1.0 ms"]);
        assert_eq!(labels(2.4, 190.0), ["0", "0.5 s", "1.0 s", "1.5 s", "2.0 s"]);
        assert_eq!(labels(0.1, 40.0), ["0", "100 ms"]);
    }

    #[test]
    fn latencies_are_spelled_with_three_digits() {
        let words = [20.12e-6, 940e-6, 1.234e-3, 58.32e-3, 0.1824, 9.2, 12.34].map(latency_in_words);
        assert_eq!([0.06, 0.0025, 0.1, 2e-3].map(limit_in_words), ["60 ms", "2.5 ms", "100 ms", "2 ms"]);
        assert_eq!(words, ["20.1 µs", "940 µs", "1.23 ms", "58.3 ms", "182 ms", "9200 ms", "12.3 s"]);
    }
}
