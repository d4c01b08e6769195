//! The history that a new file takes over, against a model that has every second of it.

use proptest::prelude::*;

use super::{Inheritance, Manner, Source, image, image_from};
use crate::rrd::def::{Cf, Definition};
use crate::rrd::file::{Row, Rrd};
use crate::time::{Step, UnixTime};

/// A multiple of every row's length here.
const START: i64 = 1_700_006_400;

/// A file of one data source and what was measured: one number or nothing per step.
#[derive(Clone, Debug)]
struct History {
    step: u32,
    archives: &'static [&'static str],
    readings: Vec<Option<f64>>,
}

/// The steps of the whole history, and rows of several of them.
const ARCHIVES: [&[&str]; 4] = [
    &["RRA:AVERAGE:0.5:1:500"],
    &["RRA:AVERAGE:0.5:1:500", "RRA:AVERAGE:0.5:10:60", "RRA:MAX:0.5:40:20", "RRA:MIN:0.5:40:20"],
    &["RRA:AVERAGE:0.5:40:20", "RRA:MAX:0.5:9:90", "RRA:AVERAGE:0.5:1:400", "RRA:AVERAGE:0.5:7:90"],
    &["RRA:MIN:0.5:1:500", "RRA:AVERAGE:0.5:120:9", "RRA:AVERAGE:0.5:1:450"],
];

/// Begins late, has holes, and ends anywhere.
fn histories() -> impl Strategy<Value = History> {
    let part = (any::<bool>(), 1..40_usize, prop::collection::vec(-50.0..50.0, 1..4));
    let parts = prop::collection::vec(part, 1..8);
    (1..4_u32, prop::sample::select(&ARCHIVES[..]), 0..150_usize, parts).prop_map(
        |(step, archives, late, parts)| {
            let mut readings = vec![None; late];
            for (is_known, steps, values) in parts {
                let reading = |step: usize| is_known.then(|| values[step % values.len()]);
                readings.extend((0..steps).map(reading));
            }
            History { step, archives, readings }
        },
    )
}

fn definition(step: u32, start: i64, archives: &[String]) -> Definition {
    Definition {
        step: Step::new(step).expect("it is not zero"),
        start: UnixTime::from_secs(start),
        data_sources: vec!["DS:a:GAUGE:600:U:U".parse().expect("a data source")],
        archives: archives.iter().map(|text| text.parse().expect("an archive")).collect(),
    }
}

impl History {
    fn end(&self) -> i64 {
        START + i64::from(self.step) * self.readings.len() as i64
    }

    fn file(&self) -> Vec<u8> {
        let archives: Vec<String> = self.archives.iter().map(ToString::to_string).collect();
        let mut bytes = image(&definition(self.step, START, &archives)).expect("it is small");
        let mut rrd = Rrd::new_checked(&mut bytes[..]).expect("it was just made");
        for (ended, reading) in (1..).zip(&self.readings) {
            let stamp = UnixTime::from_secs(START + i64::from(self.step) * ended);
            rrd.update(stamp, &[reading.unwrap_or(f64::NAN)]).expect("time goes on");
        }
        bytes
    }

    fn second(&self, second: i64) -> Option<f64> {
        let step = usize::try_from((second - START).div_euclid(i64::from(self.step))).ok()?;
        *self.readings.get(step)?
    }

    /// Whether it has rows of that length.
    fn has(&self, cf: Cf, secs: i64) -> bool {
        let archive = format!("RRA:{}:0.5:{}:", cf.name(), secs / i64::from(self.step));
        secs % i64::from(self.step) == 0 && self.archives.iter().any(|text| text.starts_with(&archive))
    }

    /// What a row is made of its seconds. Those of the same length as in the old file are the same as there: known with
    /// half of the steps, of which they are made.
    fn row(&self, cf: Cf, xff: f64, span: (i64, i64)) -> Option<f64> {
        let known: Vec<f64> = (span.0..span.1).filter_map(|second| self.second(second)).collect();
        let (known_secs, secs) = (known.len() as f64, (span.1 - span.0) as f64);
        let is_as_it_was = self.has(cf, span.1 - span.0);
        let is_known = if is_as_it_was { known_secs >= 0.5 * secs } else { known_secs > xff * secs };
        (is_known && !known.is_empty()).then(|| match cf {
            Cf::Min => known.iter().copied().fold(f64::INFINITY, f64::min),
            Cf::Max => known.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            _ => known.iter().sum::<f64>() / known_secs,
        })
    }
}

/// The rows of a file that ended: when, and what they hold.
fn rows(bytes: &[u8], rra: usize) -> Vec<(i64, f64)> {
    let rrd = Rrd::new_checked(bytes).expect("it was just made");
    let archive = rrd.archives().nth(rra).expect("it is there");
    let (end, secs) = (rrd.newest_row_end(&archive), rrd.row_secs(&archive));
    let row = |age: u64| rrd.row(rra, (archive.cur_row + archive.rows - age) % archive.rows);
    let value = |row: Row<'_>| row.values().next().unwrap_or(f64::NAN);
    (0..archive.rows).map(|age| (end - age as i64 * secs, row(age).map_or(f64::NAN, value))).collect()
}

fn same(found: f64, wanted: Option<f64>) -> bool {
    wanted.map_or(found.is_nan(), |wanted| (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0))
}

proptest! {
    /// A row is known exactly where enough of its seconds are, and made of them: the first of the history, the last,
    /// and those that are open and end later.
    #[test]
    fn rows_are_made_of_the_seconds_that_are_known(
        history in histories(),
        step in 1..14_u32,
        shapes in prop::collection::vec(
            (prop::sample::select(&[Cf::Average, Cf::Min, Cf::Max][..]), 1..50_u64, prop::sample::select(&[0.5, 0.2, 0.8][..])),
            1..4,
        ),
        manner in prop::sample::select(&[Manner::Faithful, Manner::RowsOnly][..]),
    ) {
        let (file, end) = (history.file(), history.end());
        let source = Source { rrd: Rrd::new_checked(&file[..]).expect("it was just made"), manner };
        // Of rows that stay as long as they are, another share that may be unknown changes nothing that was.
        let row_secs = |steps: u64| i64::from(step) * steps as i64;
        let shapes: Vec<_> = shapes.into_iter().map(|(cf, steps, xff)| {
            (cf, steps, if history.has(cf, row_secs(steps)) { 0.5 } else { xff })
        }).collect();
        let count = |steps: u64| (end - START) / row_secs(steps) + 2;
        let of_rows = shapes.iter().map(|(cf, steps, xff)| format!("RRA:{}:{xff}:{steps}:{}", cf.name(), count(*steps)));
        // What is open is put together from the steps of the new file.
        let archives: Vec<String> = of_rows.chain([format!("RRA:AVERAGE:0.5:1:{}", count(1) + 100)]).collect();
        let inheritance = Inheritance { sources: &[source], ..Inheritance::default() };
        let mut made = image_from(&definition(step, end, &archives), inheritance).expect("it is small");
        let told = format!("{:?} from {} {}, {} readings", archives, history.step, history.archives.join(" "), history.readings.len());
        for (rra, (cf, steps, xff)) in shapes.iter().enumerate() {
            let secs = row_secs(*steps);
            for (row_end, value) in rows(&made, rra) {
                let wanted = history.row(*cf, *xff, (row_end - secs, row_end));
                prop_assert!(same(value, wanted), "{}: at {} {}, not {:?}", told, row_end - START, value, wanted);
            }
        }

        // The same number from now on: an open row has the steps before, as far as more than half of each is known.
        const LATER: f64 = 7.5;
        let mut rrd = Rrd::new_checked(&mut made[..]).expect("it was just made");
        let step = row_secs(1);
        for number in 1..=60 {
            rrd.update(UnixTime::from_secs((end / step + number) * step), &[LATER]).expect("time goes on");
        }
        for (rra, (cf, steps, xff)) in shapes.iter().enumerate() {
            let secs = row_secs(*steps);
            let open_end = end - end.rem_euclid(secs) + secs;
            let Some((_, value)) = rows(&made, rra).into_iter().find(|row| row.0 == open_end) else { continue };
            let step_at = |at: i64| {
                // A step that was over is as any row; one that was open may have as much unknown as known.
                if at + step <= end {
                    return history.row(*cf, 0.5, (at, at + step));
                }
                let before = (at..end).filter_map(|second| history.second(second));
                let all: Vec<f64> = before.chain((at.max(end)..at + step).map(|_| LATER)).collect();
                (all.len() as f64 >= 0.5 * step as f64).then(|| all.iter().sum::<f64>() / all.len() as f64)
            };
            let known: Vec<f64> = (0..*steps as i64).filter_map(|n| step_at(open_end - secs + n * step)).collect();
            let unknown = *steps as f64 - known.len() as f64;
            let wanted = (unknown <= xff * *steps as f64 && !known.is_empty()).then(|| match cf {
                Cf::Min => known.iter().copied().fold(f64::INFINITY, f64::min),
                Cf::Max => known.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                _ => known.iter().sum::<f64>() / known.len() as f64,
            });
            prop_assert!(same(value, wanted), "{}: open until {} {}, not {:?}", told, open_end - START, value, wanted);
        }
    }
}

/// An archive that was added, or made longer, later: what a coarser one knows of the time before is all there is, and an
/// outage after it began is not filled in from there.
#[test]
fn an_archive_that_begins_late_hides_no_older_one_and_keeps_its_holes() {
    let (step, end) = (10, START + 6000);
    let archives = ["RRA:AVERAGE:0.5:1:600", "RRA:AVERAGE:0.5:10:60"].map(str::to_owned);
    let mut bytes = image(&definition(step, end, &archives)).expect("it is small");
    let mut rrd = Rrd::new_checked(&mut bytes[..]).expect("it was just made");
    let newest: Vec<u64> = rrd.archives().map(|archive| archive.cur_row).collect();
    // Steps since second 4530, ten minutes of them missing; rows of ten of them since the beginning.
    for age in 0..147 {
        let value = if (60..120).contains(&age) { f64::NAN } else { 1.0 };
        rrd.set_row(0, (newest[0] + 600 - age) % 600, &[value]);
    }
    (0..60).for_each(|age| rrd.set_row(1, (newest[1] + 60 - age) % 60, &[2.0]));
    let source = Source { rrd: Rrd::new_checked(&bytes[..]).expect("it is one"), manner: Manner::Faithful };
    let inheritance = Inheritance { sources: &[source], ..Inheritance::default() };
    let wanted = definition(20, end, &["RRA:AVERAGE:0.5:1:300".to_owned()]);
    let made = image_from(&wanted, inheritance).expect("it is small");
    for (row_end, value) in rows(&made, 0) {
        let wanted = match row_end - START {
            ..=4520 => Some(2.0),
            // Ten seconds of each.
            4540 => Some(1.5),
            4541..=4800 | 5401.. => Some(1.0),
            _ => None,
        };
        assert!(same(value, wanted), "{}: {value}, not {wanted:?}", row_end - START);
    }
}
