//! What is usual at an hour, from an archive's rows.

use std::path::Path;
use std::time::Duration;

use super::Error;
use super::layout::Columns;
use crate::round::Rtt;
use crate::rrd::{self, Cf};
use crate::time::UnixTime;

/// How far back one looks.
const DAYS: u32 = 28;

/// So many of the four same weekdays must have rows, or else every day counts.
const SAME_WEEKDAYS: usize = 3;

/// So much must be known of all that time.
const KNOWN: Duration = Duration::from_secs(24 * 3600);

/// The length of rows that is best: some of them make an hour, and the finest archive does not reach back so far.
const ROW_SECS: u64 = 600;

/// The median round trip that is usual at the local hour of `at`: the upper median of the rows of this hour on the same
/// weekday of the last four weeks, if the archive in `file` knows it of three of them, else on every day of these weeks
/// that it knows. `None` where it knows less than 24 hours of them, or this hour of no day.
pub fn usual(file: &Path, at: UnixTime) -> Result<Option<Rtt>, Error> {
    let hours: Vec<Hour> = (1..=DAYS).rev().filter_map(|days| Hour::before(at, days)).collect();
    let Some(oldest) = hours.first() else { return Ok(None) };
    let failed = Error::of_file(file);
    let mut archive = rrd::File::open(file, rrd::Access::Read).map_err(failed)?;
    let view = archive.view().map_err(failed)?;
    let column = Columns::find(&view, file)?.median;
    let start = oldest.begins.min(at);
    let fetched =
        view.fetch(Cf::Average, start, at, ROW_SECS).map_err(|error| failed(rrd::Error::Fetch(error)))?;
    let row = Duration::from_secs(fetched.step_secs());
    let known = fetched.rows().filter_map(|(end, row)| Some((end, row.values().nth(column)?)));
    let usual = usual_of(known, row, &hours);
    view.finish().map_err(failed)?;
    Ok(usual)
}

/// The hour in question on a day of the past.
#[derive(Clone, Copy, Debug)]
struct Hour {
    days_before: u32,
    begins: UnixTime,
    ends: UnixTime,
}

impl Hour {
    fn before(at: UnixTime, days_before: u32) -> Option<Self> {
        let (begins, ends) = at.local_hour(days_before)?;
        Some(Self { days_before, begins, ends })
    }

    /// Whether a row of that length belongs to it: half of the row lies in the hour, or half of the hour in the row.
    fn has(&self, end: UnixTime, row: Duration) -> bool {
        let hour = self.ends.since(self.begins).unwrap_or_default();
        let (start, shorter) = (end.minus(row), row.min(hour));
        let overlap = self.ends.min(end).since(self.begins.max(start)).unwrap_or_default();
        overlap * 2 >= shorter && !overlap.is_zero()
    }
}

/// `rows` are the ends and medians, NaN where unknown; `hours` the hours that count.
fn usual_of(rows: impl Iterator<Item = (UnixTime, f64)>, row: Duration, hours: &[Hour]) -> Option<Rtt> {
    let mut known = Duration::ZERO;
    let (mut same_weekday, mut every_day) = (Vec::new(), Vec::new());
    let mut weeks = [false; DAYS as usize / 7];
    for (end, median) in rows.filter(|(_, median)| !median.is_nan()) {
        known += row;
        let Some(hour) = hours.iter().find(|hour| hour.has(end, row)) else { continue };
        every_day.push(median);
        if hour.days_before % 7 == 0 {
            same_weekday.push(median);
            weeks[hour.days_before as usize / 7 - 1] = true;
        }
    }
    if known < KNOWN {
        return None;
    }
    let enough = weeks.iter().filter(|week| **week).count() >= SAME_WEEKDAYS;
    let mut medians = if enough { same_weekday } else { every_day };
    medians.sort_unstable_by(f64::total_cmp);
    Rtt::from_secs_f64(*medians.get(medians.len() / 2)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archives, Asked, Settings, TargetSettings, Wanted, path};
    use crate::round::{Fault, Ping, Round, Target};
    use crate::time::Step;
    use std::sync::Arc;

    const HOUR: u64 = 3600;
    /// The 25th of November 2026, 12:34 UTC.
    const NOW: UnixTime = UnixTime::from_secs(1_795_610_040);

    /// What is usual at `NOW` for rows of the last so many days, of which `median` tells milliseconds by the row's
    /// middle; `None` for unknown.
    fn of(days: u64, row_secs: u64, median: impl Fn(UnixTime) -> Option<f64>) -> Option<f64> {
        let hours: Vec<Hour> = (1..=DAYS).rev().filter_map(|days| Hour::before(NOW, days)).collect();
        let row = Duration::from_secs(row_secs);
        let newest = NOW.secs() / row_secs as i64 * row_secs as i64;
        let rows = (0..days * 24 * HOUR / row_secs).rev().map(|ago| {
            let end = UnixTime::from_secs(newest - (ago * row_secs) as i64);
            (end, median(end.minus(row / 2)).map_or(f64::NAN, |ms| ms / 1000.0))
        });
        usual_of(rows, row, &hours).map(|rtt| (rtt.as_millis_f64() * 1000.0).round() / 1000.0)
    }

    fn hour(time: UnixTime) -> f64 {
        use chrono::Timelike;
        f64::from(time.local().civil.hour())
    }

    fn days_before(time: UnixTime) -> i64 {
        (NOW.local().civil.date_naive() - time.local().civil.date_naive()).num_days()
    }

    #[test]
    fn an_hour_has_its_own_median() {
        // Twenty milliseconds and one for each hour of the day.
        let daily = |time| Some(20.0 + hour(time));
        let expected = Some(20.0 + hour(NOW));
        for row_secs in [60, 300, 600, 3600] {
            assert_eq!(of(28, row_secs, daily), expected, "{row_secs}");
            assert_eq!(of(2, row_secs, daily), expected, "{row_secs}");
        }
    }

    #[test]
    fn weekdays_differ_where_the_archive_reaches_so_far() {
        let weekly = |time| Some(if days_before(time) % 7 == 0 { 90.0 } else { 10.0 });
        assert_eq!(of(28, 600, weekly), Some(90.0));
        assert_eq!(of(22, 600, weekly), Some(90.0), "three weeks are enough");
        assert_eq!(of(20, 600, weekly), Some(10.0), "two are not");
        // An outage in that hour of two of them leaves two.
        let lame = |time| weekly(time).filter(|_| ![14, 21].contains(&days_before(time)));
        assert_eq!(of(28, 600, lame), Some(10.0));
        // One odd day does not tell.
        let odd = |time| Some(if days_before(time) == 7 { 900.0 } else { 30.0 });
        assert_eq!(of(28, 600, odd), Some(30.0));
    }

    #[test]
    fn a_day_must_be_known() {
        assert_eq!(of(0, 600, |_| Some(10.0)), None);
        assert_eq!(of(28, 600, |_| None), None);
        let since = |hours: u64| {
            move |time: UnixTime| (time > NOW.minus(Duration::from_secs(hours * HOUR))).then_some(10.0)
        };
        assert_eq!(of(28, 600, since(23)), None);
        assert_eq!(of(28, 600, since(26)), Some(10.0));
        // Enough is known, but not of this hour.
        assert_eq!(of(28, 600, |time| (hour(time) != hour(NOW)).then_some(10.0)), None);
    }

    /// An archive of latmon's own, which keeps rounds for ten days and rows of ten minutes for longer.
    #[test]
    fn it_is_read_from_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let target = Arc::new(Target { name: "t".into(), host: "192.0.2.1".into() });
        let step = Step::new(300).unwrap();
        let (wanted, pings) = (Wanted::Default(step), Wanted::Default(1));
        let settings = Settings {
            data_dir: dir.path().to_owned(),
            targets: vec![TargetSettings {
                target: Arc::clone(&target),
                step: wanted,
                pings,
                asked: Asked::default(),
            }],
        };
        let start = step.boundary_before(NOW.minus(Duration::from_secs(25 * 24 * HOUR)));
        let mut archives = Archives::open(&settings, start).unwrap();
        let rounds: Vec<Round> = (0..25 * 288)
            .map(|number| {
                let start = start.plus(step.duration() * number);
                let end = start.plus(step.duration());
                let ms = if days_before(start) % 7 == 0 { 70 } else { 20 } + hour(start) as u64;
                let ping = match number % 10 {
                    0 => Ping::Lost,
                    1 => Ping::Unknown(Fault::NoSocket),
                    _ => Ping::Answered(Rtt::new(Duration::from_millis(ms))),
                };
                Round::new(Arc::clone(&target), None, start, end, vec![ping])
            })
            .collect();
        for rounds in rounds.chunks(500) {
            archives.record(rounds);
        }
        archives.close().unwrap();
        let found = usual(&path(dir.path(), "t"), NOW).unwrap().unwrap();
        assert!((found.as_millis_f64() - 70.0 - hour(NOW)).abs() < 1e-6, "{found}");
        assert!(usual(&dir.path().join("none.rrd"), NOW).is_err());
    }
}
