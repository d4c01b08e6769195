//! A naive model of an archive, which keeps everything: the rate of every second, and from those, from scratch, every
//! primary data point and every row. [`check`] makes a definition and updates of any bytes and compares what the engine
//! has in the end. A fuzz target and a test share it.
//!
//! It covers whole-second stamps, the four types of data sources that count in whole numbers, and the four functions
//! that consolidate; its rules are the format's, its arithmetic is its own.
#![allow(dead_code, unreachable_pub)] // Each that includes it uses its part.

use latmon::rrd::{self, Cf, Definition, Rrd};
use latmon::time::{Step, UnixTime};

/// The engine adds up in another order than the model.
const CLOSE: f64 = 1e-9;

/// No case lasts longer: the last archive has every data point.
const MOST_STEPS: u64 = 256;

const UPDATES: u64 = 64;

const KINDS: [&str; 4] = ["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE"];
const CFS: [Cf; 4] = [Cf::Average, Cf::Min, Cf::Max, Cf::Last];

/// Runs the case that the bytes describe on the engine and on the model, and panics where they differ.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut model = Model::new(&mut choices);
    let definition = model.definition();
    let mut bytes = rrd::image(&definition).expect("the definition holds");
    let mut rrd = Rrd::new_checked(&mut bytes[..]).expect("what was made passes the check");
    for _ in 0..choices.below(UPDATES) {
        let stamp = model.last + choices.gap(model.step);
        if stamp / model.step - model.first_step > MOST_STEPS {
            break;
        }
        let readings = model.readings(&mut choices);
        model.told += &format!("\n{stamp} {readings:?}");
        let is_late = stamp > model.last;
        if is_late {
            model.update(stamp, &readings);
        }
        let taken = give(&mut rrd, stamp, &readings, choices.below(2) == 0);
        assert_eq!(taken, is_late, "{}", model.told);
        assert_eq!(rrd.last_update(), seconds(model.last));
    }
    let rrd = Rrd::new_checked(&bytes[..]).expect("updates keep an archive whole");
    model.compare(&rrd);
}

/// Whether the engine takes the readings, as values or as text.
fn give(rrd: &mut Rrd<&mut [u8]>, stamp: u64, readings: &[Option<f64>], as_text: bool) -> bool {
    let taken = if as_text {
        let texts = readings.iter().map(|reading| reading.map_or("U".to_owned(), |value| value.to_string()));
        let argument = [stamp.to_string()].into_iter().chain(texts).collect::<Vec<_>>().join(":");
        rrd.update_text(argument.as_bytes(), seconds(stamp))
    } else {
        let values: Vec<f64> = readings.iter().map(|reading| reading.unwrap_or(f64::NAN)).collect();
        rrd.update(seconds(stamp), &values)
    };
    taken.is_ok()
}

fn seconds(secs: u64) -> UnixTime {
    UnixTime::from_secs(i64::try_from(secs).expect("it is a time of our days"))
}

/// Bytes that decide; where there are none left, numbers that they are the seed of: a few bytes are a whole case.
struct Choices<'a> {
    bytes: &'a [u8],
    seed: u64,
}

impl<'a> Choices<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mix = |seed: u64, byte: &u8| (seed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        Self { bytes, seed: bytes.iter().fold(0xCBF2_9CE4_8422_2325, mix) }
    }

    fn byte(&mut self) -> u64 {
        if let Some((first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            return u64::from(*first);
        }
        self.seed = self.seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        self.seed >> 56
    }

    fn word(&mut self) -> u64 {
        self.byte() << 8 | self.byte()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.byte() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Seconds to the next update; none at all is an error that must change nothing.
    fn gap(&mut self, step: u64) -> u64 {
        match self.below(8) {
            0 => self.below(3),
            1 => step,
            2 => 2 * step + self.below(step),
            3 => step * self.below(60) + self.below(2),
            _ => 1 + self.below(step + step / 2),
        }
    }
}

/// A second, a data point, a row: a value where one is known, and how large the rates were that it was made of.
#[derive(Clone, Copy, Debug)]
struct Known {
    value: f64,
    size: f64,
}

struct Source {
    kind: &'static str,
    heartbeat: u64,
    min: Option<f64>,
    max: Option<f64>,
    /// The last reading, of the types that count.
    last: Option<f64>,
    /// The rate of every second since the first data point began.
    seconds: Vec<Option<f64>>,
    points: Vec<Option<Known>>,
}

struct Archive {
    cf: Cf,
    xff: f64,
    steps: u64,
    rows: u64,
    /// The numbers of all rows that were ever written, counted from the epoch.
    written: Vec<u64>,
}

struct Model {
    step: u64,
    start: u64,
    last: u64,
    /// The number of the first data point, counted from the epoch.
    first_step: u64,
    sources: Vec<Source>,
    archives: Vec<Archive>,
    /// The definition and the updates, for whoever looks for the reason of a difference.
    told: String,
}

impl Model {
    fn new(choices: &mut Choices) -> Self {
        let step = choices.pick(&[10, 1, 2, 5, 7, 12, 60]);
        let start = 1_700_000_000 + choices.word() % 500;
        let sources = (0..1 + choices.below(3)).map(|_| {
            let kind = choices.pick(&KINDS);
            let heartbeat = choices.pick(&[2 * step, 1000, step, 1, 3 * step + 1, 10 * step]);
            let (min, max) = choices.pick(&[
                (None, None),
                (Some(0.0), None),
                (Some(-10.0), Some(20.0)),
                (None, Some(4.0)),
            ]);
            let seconds = vec![None; (start % step) as usize];
            Source { kind, heartbeat, min, max, last: None, seconds, points: Vec::new() }
        });
        let sources = sources.collect();
        let archives = (0..1 + choices.below(4)).map(|_| Archive {
            cf: choices.pick(&CFS),
            xff: choices.pick(&[0.5, 0.0, 0.25, 0.99]),
            steps: choices.pick(&[3, 1, 2, 4, 6, 10]),
            rows: choices.pick(&[5, 1, 2, 3, 40]),
            written: Vec::new(),
        });
        let every_point = Archive { cf: Cf::Last, xff: 0.0, steps: 1, rows: MOST_STEPS, written: Vec::new() };
        let archives = archives.chain([every_point]).collect();
        let told = String::new();
        Self { step, start, last: start, first_step: start / step, sources, archives, told }
    }

    fn definition(&mut self) -> Definition {
        self.told = format!("step {} start {}", self.step, self.start);
        let bound = |bound: Option<f64>| bound.map_or("U".to_owned(), |bound| bound.to_string());
        let mut definition = Definition {
            step: u32::try_from(self.step).ok().and_then(Step::new).expect("it is at least 1"),
            start: seconds(self.start),
            data_sources: Vec::new(),
            archives: Vec::new(),
        };
        for (index, Source { kind, heartbeat, min, max, .. }) in self.sources.iter().enumerate() {
            let text = format!("DS:ds_{index}:{kind}:{heartbeat}:{}:{}", bound(*min), bound(*max));
            definition.add(&text).expect("it is a data source");
            self.told += &format!("\n{text}");
        }
        for Archive { cf, xff, steps, rows, .. } in &self.archives {
            let text = format!("RRA:{}:{xff}:{steps}:{rows}", cf.name());
            definition.add(&text).expect("it is an archive");
            self.told += &format!("\n{text}");
        }
        definition
    }

    fn readings(&self, choices: &mut Choices) -> Vec<Option<f64>> {
        let mut reading = |source: &Source| {
            let last = source.last.unwrap_or(1000.0);
            let ahead = choices.word();
            match (source.kind, ahead % 11) {
                (_, 0) => None,
                ("GAUGE" | "ABSOLUTE", _) => Some((ahead as f64 - 2000.0) / 64.0),
                // Counters wrap, or begin anew.
                ("COUNTER", 1) => Some((ahead % 100) as f64),
                ("COUNTER", 2) => Some(4_294_967_295.0 - (ahead % 1000) as f64),
                ("COUNTER", 3) => Some(9e15),
                ("COUNTER", _) => Some((last + (ahead / 11) as f64).min(9e15)),
                ("DERIVE", 1) => Some(-((ahead % 3000) as f64)),
                _ => Some((last + ahead as f64 / 16.0 - 1500.0).trunc()),
            }
        };
        self.sources.iter().map(&mut reading).collect()
    }

    /// Adds the seconds since the last update, then every data point and the rows that they end.
    fn update(&mut self, now: u64, readings: &[Option<f64>]) {
        let (step, last) = (self.step, self.last);
        let (open, ended) = (last / step, now / step);
        for (source, reading) in self.sources.iter_mut().zip(readings) {
            let rate = source.rate(now - last, *reading);
            source.seconds.resize(source.seconds.len() + (now - last) as usize, rate);
            for number in open..ended {
                let point = source.point(
                    number - self.first_step,
                    step,
                    last - self.first_step * step,
                    now - last,
                    ended - open,
                );
                source.points.push(point);
            }
        }
        // Of several data points that end at once, the first is closed on its own where it had begun before.
        let alone = if ended - open > 1 && !last.is_multiple_of(step) { open + 1 } else { open };
        for batch in [open..alone, alone..ended] {
            self.archives.iter_mut().for_each(|archive| archive.write(batch.clone()));
        }
        self.last = now;
    }

    fn compare<B: AsRef<[u8]>>(&self, rrd: &Rrd<B>) {
        let rows: Vec<Vec<Vec<f64>>> =
            (0..self.archives.len()).map(|place| rows_in_time(rrd, place)).collect();
        for (index, source) in self.sources.iter().enumerate() {
            let column =
                |place: usize| -> Vec<f64> { rows[place].iter().map(|row: &Vec<f64>| row[index]).collect() };
            let every_point = column(self.archives.len() - 1);
            let points = self.written_part(&every_point, source.points.len());
            for (number, (engine, own)) in points.iter().zip(&source.points).enumerate() {
                same(*engine, *own, &|| format!("data point {number} of source {index}{}", self.told));
            }
            // Rows are made of the engine's own data points, so that they are the same to the bit where nothing is
            // added.
            let known = |value: &f64| (!value.is_nan()).then_some(Known { value: *value, size: value.abs() });
            let points: Vec<Option<Known>> = points.iter().map(known).collect();
            for (place, archive) in self.archives.iter().enumerate() {
                let all = column(place);
                let written = self.written_part(&all, archive.written.len());
                let numbers = &archive.written[archive.written.len() - written.len()..];
                for (engine, number) in written.iter().zip(numbers) {
                    let own = archive.row(*number, self.first_step, &points);
                    let told = || format!("row {number} of source {index} in archive {place}{}", self.told);
                    match (archive.cf, own) {
                        (Cf::Average, _) | (_, None) => same(*engine, own, &told),
                        (_, Some(own)) => assert_eq!(*engine, own.value, "{}", told()),
                    }
                }
            }
        }
    }

    /// The newest `count` rows, or all that there are; those before them are unknown.
    fn written_part<'a>(&self, rows: &'a [f64], count: usize) -> &'a [f64] {
        let (before, written) = rows.split_at(rows.len().saturating_sub(count));
        assert!(before.iter().all(|value| value.is_nan()), "{}", self.told);
        written
    }
}

/// An archive's rows in the order of time.
fn rows_in_time<B: AsRef<[u8]>>(rrd: &Rrd<B>, archive: usize) -> Vec<Vec<f64>> {
    let Some(shape) = rrd.archives().nth(archive) else { return Vec::new() };
    (1..=shape.rows)
        .filter_map(|number| rrd.row(archive, (shape.cur_row + number) % shape.rows))
        .map(|row| row.values().collect())
        .collect()
}

impl Source {
    /// The rate in the seconds up to a reading.
    fn rate(&mut self, interval: u64, reading: Option<f64>) -> Option<f64> {
        let in_time = interval <= self.heartbeat;
        let before = std::mem::replace(&mut self.last, reading).filter(|_| in_time);
        let now = reading.filter(|_| in_time)?;
        let grown = match self.kind {
            "GAUGE" => now * interval as f64,
            "ABSOLUTE" => now,
            "COUNTER" => {
                let grown = now - before?;
                let wrapped_once = grown + 4_294_967_295.0;
                match (grown < 0.0, wrapped_once < 0.0) {
                    (false, _) => grown,
                    (true, false) => wrapped_once,
                    (true, true) => wrapped_once + 18_446_744_069_414_584_320.0,
                }
            }
            // Of two readings on either side of zero the format knows no difference.
            _ => before
                .filter(|before| before.is_sign_negative() == now.is_sign_negative())
                .map(|before| now - before)?,
        };
        let rate = grown / interval as f64;
        let is_low = self.min.is_some_and(|min| rate < min);
        let is_high = self.max.is_some_and(|max| rate > max);
        (!is_low && !is_high).then_some(rate)
    }

    /// A data point that ended with an update: the mean of its known seconds. `before` is where the interval of the
    /// update begins, in seconds since the first data point began; in it `ended` data points ended.
    fn point(&self, number: u64, step: u64, before: u64, interval: u64, ended: u64) -> Option<Known> {
        let (start, end) = (number * step, (number + 1) * step);
        // A data point that is closed on its own knows of no time behind it.
        let closing = if ended > 1 && before > start { end - before } else { interval };
        let seconds = &self.seconds[start as usize..end as usize];
        // Half of it may be unknown, the seconds of the closing interval not counted.
        let noted = before.saturating_sub(start).min(step) as usize;
        let unknown = seconds[..noted].iter().filter(|second| second.is_none()).count() as u64;
        if closing > self.heartbeat || 2 * unknown > step {
            return None;
        }
        mean(seconds.iter().map(|second| second.map(|value| Known { value, size: value.abs() })))
    }
}

impl Archive {
    /// The rows that end with one of these data points. Of more than the archive has, the first one and the last ones
    /// are written.
    fn write(&mut self, points: std::ops::Range<u64>) {
        let rows: Vec<u64> = (points.start / self.steps..points.end / self.steps).collect();
        let Some((first, rest)) = rows.split_first() else { return };
        let kept = rest.len().min(self.rows as usize - 1);
        self.written.push(*first);
        self.written.extend(&rest[rest.len() - kept..]);
    }

    /// A row from its data points; what lies before the first one is unknown.
    fn row(&self, number: u64, first_step: u64, points: &[Option<Known>]) -> Option<Known> {
        let point = |step: u64| step.checked_sub(first_step).and_then(|index| points[index as usize]);
        let points: Vec<Option<Known>> =
            (number * self.steps..(number + 1) * self.steps).map(point).collect();
        let unknown = points.iter().filter(|point| point.is_none()).count();
        if unknown as f64 > self.steps as f64 * self.xff {
            return None;
        }
        let known = points.iter().copied().flatten();
        match self.cf {
            Cf::Average => mean(points.iter().copied()),
            Cf::Min => known.reduce(|a, b| if b.value < a.value { b } else { a }),
            Cf::Max => known.reduce(|a, b| if b.value > a.value { b } else { a }),
            _ => points.last().copied().flatten(),
        }
    }
}

fn mean(all: impl Iterator<Item = Option<Known>>) -> Option<Known> {
    let known: Vec<Known> = all.flatten().collect();
    let sum: f64 = known.iter().map(|known| known.value).sum();
    let size = known.iter().map(|known| known.size).fold(0.0, f64::max);
    (!known.is_empty()).then(|| Known { value: sum / known.len() as f64, size })
}

fn same(engine: f64, own: Option<Known>, told: &dyn Fn() -> String) {
    let is_same = match own {
        None => engine.is_nan(),
        Some(own) => (engine - own.value).abs() <= CLOSE * own.size,
    };
    assert!(is_same, "engine {engine}, model {own:?}: {}", told());
}
