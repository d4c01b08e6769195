//! The engine against the real rrdtool: the same commands on copies of one file leave the same bytes and print the
//! same texts.
//!
//! `LATMON_TEST_SEED` repeats a run, `LATMON_TEST_CASES` says how long it is.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod files;
    pub(crate) mod pair;
    pub(crate) mod rrdtool;
}

use chrono::{Datelike, Timelike};
use latmon::rrd::{self, UpdateOptions};
use latmon::time::UnixTime;
use support::files::{
    as_version, last_update, same_answer, without_last_readings, without_pointers, words_of,
};
use support::pair::Pair;
use support::rrdtool::{Random, Rrdtool, cases, latmon, seed, within_a_second};

const TYPES: [&str; 8] =
    ["GAUGE", "GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER", "DDERIVE", "COMPUTE"];

/// What a case is made of.
struct Case {
    random: Random,
    step: u64,
    types: Vec<&'static str>,
    counters: Vec<u128>,
    last: f64,
}

impl Case {
    fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let step = random.pick(&[1, 5, 7, 10, 60, 300]);
        let sources = 1 + random.below(4) as usize;
        let types = (0..sources).map(|_| random.pick(&TYPES)).collect();
        let counters = (0..sources)
            .map(|_| u128::from(random.pick(&[0, 4_294_967_000, u64::MAX - 500, 10_000_000_000_000_000_000])))
            .collect();
        let last = (1_700_000_000 + random.below(100_000)) as f64;
        Self { random, step, types, counters, last }
    }

    /// The definition, without the word `create` and the file's name.
    fn definition(&mut self) -> Vec<String> {
        let random = &mut self.random;
        let mut words = vec!["-s".to_owned(), self.step.to_string(), "-b".to_owned(), self.last.to_string()];
        for (index, ds_type) in self.types.iter().enumerate() {
            if *ds_type == "COMPUTE" {
                words.push(format!("DS:ds_{index}:COMPUTE:{}", expression(random, index)));
                continue;
            }
            let heartbeat = random.pick(&[1, self.step, 2 * self.step, 2 * self.step, 1000, 1_000_000]);
            let (min, max) = random.pick(&[
                ("U", "U"),
                ("U", "U"),
                ("0", "U"),
                ("-10", "100.5"),
                ("U", "1e6"),
                ("0.001", "U"),
            ]);
            words.push(format!("DS:ds_{index}:{ds_type}:{heartbeat}:{min}:{max}"));
        }
        for _ in 0..1 + random.below(5) {
            let cf = random.pick(&["AVERAGE", "MIN", "MAX", "LAST"]);
            let xff = random.pick(&["0", "0.001", "0.33", "0.5", "0.5", "0.99", "nan"]);
            let steps = random.pick(&[1, 1, 1, 2, 3, 5, 6, 12]);
            let rows = random.pick(&[1, 2, 3, 5, 10, 50]);
            words.push(format!("RRA:{cf}:{xff}:{steps}:{rows}"));
        }
        words
    }

    /// A verb that updates, and its words behind the file's name.
    fn update(&mut self) -> (&'static str, Vec<String>) {
        let verb = self.random.pick(&["update", "update", "updatev"]);
        let inputs: Vec<usize> =
            (0..self.types.len()).filter(|index| self.types[*index] != "COMPUTE").collect();
        let (mut named, mut words) = (inputs, Vec::new());
        if self.random.one_in(5) && !named.is_empty() {
            // In any order, some of them twice; rarely one too many.
            let most = self.types.len() as u64 + u64::from(self.random.one_in(9));
            let count = 1 + self.random.below(most);
            named = (0..count).map(|_| self.random.pick(&named)).collect();
            let names: Vec<String> = named.iter().map(|index| format!("ds_{index}")).collect();
            words = vec!["-t".to_owned(), names.join(":")];
        }
        if self.random.one_in(8) {
            words.push("-s".to_owned());
        }
        words.extend((0..1 + self.random.below(3)).map(|_| self.argument(&named)));
        (verb, words)
    }

    /// One that is taken, mostly of the next step.
    fn plain_argument(&mut self, inputs: usize) -> String {
        let ahead = match self.random.below(40) {
            0 => 1,
            1 => self.step * (2 + self.random.below(9)) + self.random.below(self.step),
            _ => self.step,
        };
        self.last = self.last.floor() + ahead as f64;
        let mut argument = self.last.to_string();
        for _ in 0..inputs {
            let reading = self.random.below(1000);
            argument += &if self.random.one_in(30) { ":U".to_owned() } else { format!(":{reading}") };
        }
        argument
    }

    fn argument(&mut self, named: &[usize]) -> String {
        let step = self.step as f64;
        let ahead = match self.random.below(12) {
            0 => 0.0,
            1 => -3.0,
            2 => 0.25,
            3 => self.random.below(2_000_000) as f64 / 1e6,
            4 => step * self.random.below(200) as f64,
            5 => step * self.random.below(20) as f64 + 0.5,
            6 | 7 => step - self.last % step,
            _ => 1.0 + self.random.below(2 * self.step) as f64,
        };
        let time = self.last + ahead;
        let mut argument = match self.random.below(8) {
            0 => format!("{time:.6}"),
            1 => format!("{time:.1}"),
            2 => format!("{time:e}"),
            _ => format!("{}", time.floor()),
        };
        if ahead > 0.0 {
            self.last = argument.parse().unwrap();
        }
        match self.random.below(16) {
            0 => argument = format!("{}@", self.last.floor()),
            1 => argument = format!("{}-{}@", self.last.floor() + 600.0, 600),
            _ => argument.push(':'),
        }
        let readings: Vec<String> = named.iter().map(|index| self.reading(*index)).collect();
        argument += &readings.join(":");
        if named.is_empty() {
            // With a reading that nothing takes the original ends.
            argument.pop();
            return argument;
        }
        match self.random.below(60) {
            0 => argument.push_str(":5"),
            1 => argument.truncate(argument.rfind(':').unwrap_or(argument.len())),
            2 => argument.insert(3, 'x'),
            _ => {}
        }
        argument
    }

    fn reading(&mut self, index: usize) -> String {
        let random = &mut self.random;
        if random.one_in(12) {
            return random
                .pick(&["U", "U", "UNKN", "", "abc", "5x", "nan", "-nano", "inf", "-inf", "1e", "+7", "-"])
                .to_owned();
        }
        match self.types[index] {
            "COUNTER" | "DERIVE" => {
                let counter = &mut self.counters[index];
                *counter += match random.below(10) {
                    0 => 0,
                    1 => u128::from(random.next()) << 30,
                    _ => u128::from(random.below(100_000)),
                };
                match random.below(25) {
                    0 => *counter = u128::from(random.below(1000)),
                    1 => *counter = (*counter).wrapping_mul(10_000_000_000_000),
                    2 if self.types[index] == "DERIVE" => return format!("-{counter}"),
                    _ => {}
                }
                counter.to_string()
            }
            "DCOUNTER" | "DDERIVE" => {
                let counter = &mut self.counters[index];
                *counter += u128::from(random.below(100_000));
                match random.below(12) {
                    0 => *counter = u128::from(random.below(1000)),
                    1 => return format!("-{counter}.5"),
                    2 => return format!("{:e}", random.below(1 << 50) as f64 / 1e6),
                    _ => {}
                }
                format!("{counter}.{:03}", random.below(1000))
            }
            _ => match random.below(7) {
                0 => random.below(100).to_string(),
                1 => format!("{:.3}", random.below(100_000) as f64 / 1000.0),
                2 => format!("{}", random.below(1 << 52) as f64 / 1e15),
                3 => format!("{:e}", f64::from_bits(random.next() >> 2)),
                4 => format!("-{}.{}", random.below(100), random.next()),
                5 => random.pick(&["0", "-0", "0.0", ".5", "5.", "1e-300", "1e300", "33.343"]).to_owned(),
                _ => format!("{:.6e}", random.below(1 << 40) as f64 / 7e9),
            },
        }
    }
}

/// An expression over the `before` first data sources, now and then one that leaves too little or too much behind.
/// `ABS` gets no unknown value: the original makes of it the one NaN that has another sign than all others. `PERCENT`
/// gets no percentage so low that the original reads behind its operands.
fn expression(random: &mut Random, before: usize) -> String {
    const UNARY: [&str; 16] = [
        "SIN",
        "COS",
        "LOG",
        "EXP",
        "FLOOR",
        "CEIL",
        "UN",
        "ISINF",
        "ATAN",
        "SQRT",
        "RAD2DEG",
        "DEG2RAD",
        "DUP,*",
        "DUP,+",
        "1,COPY,-",
        "0,ADDNAN,ABS",
    ];
    const BINARY: [&str; 18] = [
        "+", "-", "*", "/", "%", "LT", "LE", "GT", "GE", "EQ", "NE", "MIN", "MAX", "ATAN2", "ADDNAN",
        "MINNAN", "MAXNAN", "POW",
    ];
    const MANY: [&str; 5] = ["AVG", "MEDIAN", "SMIN", "SMAX", "STDEV"];
    const ORDER: [&str; 6] = ["3,SORT", "3,REV", "3,1,ROLL", "2,-1,ROLL", "3,INDEX,-", "EXC"];
    let (mut words, mut depth) = (Vec::new(), 0);
    let push = |words: &mut Vec<String>, random: &mut Random| match random.below(10) {
        0 => words.push(random.pick(&["UNKN", "INF", "NEGINF"]).to_owned()),
        1..=3 => words.push(random.pick(&["0", "1", "2", "-7", "100", "32767", "-32768", "2e1"]).to_owned()),
        _ if before > 0 => words.push(format!("ds_{}", random.below(before as u64))),
        _ => words.push(random.below(50).to_string()),
    };
    for _ in 0..random.below(7) {
        match (random.below(6), depth) {
            (0, 1..) => words.push(random.pick(&UNARY).to_owned()),
            (1, 2..) => {
                words.push(random.pick(&BINARY).to_owned());
                depth -= 1;
            }
            (2, 3..) => {
                words.push(random.pick(&["IF", "LIMIT"]).to_owned());
                depth -= 2;
            }
            (3, 2..) => {
                words.push(format!("{depth},{}", random.pick(&MANY)));
                depth = 1;
            }
            (4, 3..) => words.push(random.pick(&ORDER).to_owned()),
            (5, 3..) => {
                words.push("50,3,PERCENT".to_owned());
                depth -= 2;
            }
            _ => {
                push(&mut words, random);
                depth += 1;
            }
        }
    }
    if depth == 0 {
        push(&mut words, random);
        depth = 1;
    }
    if depth > 1 {
        words.push(format!("{depth},{}", random.pick(&MANY)));
    }
    if random.one_in(15) {
        words.push(random.pick(&["+", "POP", "DUP", "7,SORT", "DEPTH", "200,1,PERCENT"]).to_owned());
    }
    words.join(",") + ","
}

/// Updates of every form, now and then told by `updatev`, its wrong times with it; then every verb that reads; then a
/// dump, restored.
#[test]
fn random_updates_are_those_of_rrdtool() {
    let (seed, mut pair) = (seed(), Pair::start());
    let mut told_rows = 0;
    for number in 0..cases(200) {
        let mut case = Case::new(seed, number);
        let definition = case.definition();
        let told = format!("LATMON_TEST_SEED={seed} case {number}: create f.rrd {}", definition.join(" "));
        let [ours, theirs] = pair.create(&definition, &told);
        let version = case.random.pick(&["as it is", "as it is", "as it is", "0001", "0002", "0003"]);
        let told = format!("{told}\nas version {version}");
        // Either goes on with the file of the other.
        pair.write("f.rrd", &as_version(if number % 2 == 0 { ours } else { theirs }, version));
        for _ in 0..12 {
            let (verb, words) = case.update();
            let answer = pair.change(&words_of(verb, &words), &told);
            if verb == "updatev" {
                told_rows += answer.map_or(0, |text| text.iter().filter(|b| **b == b'\n').count() - 1);
            }
        }
        pair.same_texts(&mut case.random, case.last, case.step, &told);
        let header = case.random.pick(&["dtd", "xsd", "none"]);
        if pair.restore(header, &[], &told).is_err() {
            // The original does not read every expression that it prints.
            assert!(case.types.contains(&"COMPUTE"), "{told}");
        }
    }
    assert!(told_rows > 1000 || cases(200) < 200, "{told_rows}");
}

/// Hundreds of steps in one call wait for the archives to take them in one go; gaps, steps in pieces, and an argument that
/// fails come between.
#[test]
fn long_calls_are_those_of_rrdtool() {
    let (seed, mut pair) = (seed(), Pair::start());
    for number in 0..cases(40) {
        let mut case = Case::new(seed, number);
        let definition = case.definition();
        let told = format!("LATMON_TEST_SEED={seed} case {number}: create f.rrd {}", definition.join(" "));
        let [ours, _] = pair.create(&definition, &told);
        pair.write("f.rrd", &ours);
        let inputs = case.types.iter().filter(|ds_type| **ds_type != "COMPUTE").count();
        if inputs == 0 {
            continue;
        }
        for _ in 0..3 {
            let count = case.random.pick(&[40, 600, 1500]);
            let mut words: Vec<String> = (0..count).map(|_| case.plain_argument(inputs)).collect();
            if case.random.one_in(3) {
                let place = case.random.below(count) as usize;
                words[place].push('x');
            }
            let _ = pair.change(&words_of("update", &words), &told);
            case.last = last_update(&pair.read("f.rrd")[0]).0 as f64;
        }
    }
}

/// What is outside of its data source's limits is dropped on the way. With ranges to check the original wipes what is
/// computed, for which it has no limits; ours does not.
#[test]
fn ranges_are_checked_as_rrdtool_checks_them() {
    // Once told to check ranges, a process of the original checks them for ever: it is another one than above.
    let (seed, mut pair) = (seed(), Pair::start());
    for number in 0..cases(60) {
        let mut case = Case::new(seed, number);
        case.types.retain(|ds_type| *ds_type != "COMPUTE");
        if case.types.is_empty() {
            continue;
        }
        let definition = case.definition();
        let told = format!("LATMON_TEST_SEED={seed} case {number}: create f.rrd {}", definition.join(" "));
        pair.theirs.run(&words_of("create", &definition)).expect(&told);
        std::fs::copy(pair.path("theirs", "f.rrd"), pair.path("ours", "f.rrd")).unwrap();
        for _ in 0..case.random.below(10) {
            let (_, words) = case.update();
            let _ = pair.change(&words_of("update", &words), &told);
        }
        // The limits are narrower than what was recorded.
        for index in 0..case.types.len() {
            let limit = format!("ds_{index}:{}", case.random.pick(&["U", "0", "17.5"]));
            let _ = pair.change(&["tune", "f.rrd", case.random.pick(&["-i", "-a"]), &limit], &told);
        }
        pair.restore("none", &["-r"], &told).expect(&told);
    }
}

/// `N` and negative times: what the original took for now is read off the file that it leaves, and ours is told the
/// same. Both add in doubles, of which there are four to a microsecond: now and then no microsecond leads to the sum
/// that the original cut off, and it is asked again.
#[test]
fn times_that_count_from_now_are_those_of_rrdtool() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.rrd"), folder.path().join("theirs.rrd"));
    let mut rrdtool = Rrdtool::start(folder.path());
    let definition = "create theirs.rrd -b now-1d -s 10 DS:a:GAUGE:86400:U:U RRA:AVERAGE:0.5:1:9";
    for (time, behind) in
        [("N", 0), ("-0.5", 500_000), ("-5", 5_000_000), ("-7.25", 7_250_000), ("-1e3", 1_000_000_000)]
    {
        let mut same = || {
            rrdtool.run(&definition.split(' ').collect::<Vec<_>>()).unwrap();
            std::fs::copy(&theirs, &ours).unwrap();
            let fresh = std::fs::read(&ours).unwrap();
            let argument = format!("{time}:5");
            rrdtool.run(&["update", "theirs.rrd", "--", &argument]).expect(&argument);
            let theirs = std::fs::read(&theirs).unwrap();
            let (secs, micros) = last_update(&theirs);
            let stamp = secs as i64 * 1_000_000 + micros as i64;
            (0..=1).any(|more| {
                std::fs::write(&ours, &fresh).unwrap();
                let now = UnixTime::from_micros(stamp + behind + more);
                let options = UpdateOptions::new(now);
                rrd::update(&ours, &options, &[&argument]).unwrap();
                std::fs::read(&ours).unwrap() == theirs
            })
        };
        assert!((0..20).any(|_| same()), "{time}");
    }
}

/// Numbers of every size, and the ties where the two printers differ, in `dump` (one printer) and `fetch` (the other).
#[test]
fn numbers_are_printed_as_rrdtool_prints_them() {
    const ROWS: usize = 10_000;
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    let definition = format!("create f.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:U:U RRA:LAST:0.5:1:{ROWS}");
    rrdtool.run(&definition.split(' ').collect::<Vec<_>>()).unwrap();
    let mut bytes = std::fs::read(folder.join("f.rrd")).unwrap();
    let rows = bytes.len() - 8 * ROWS;
    let mut random = Random::new(seed, 0);
    for (number, row) in bytes[rows..].chunks_exact_mut(8).enumerate() {
        let value = match number % 5 {
            0 => f64::from_bits(random.next()),
            1 => (random.below(1 << 40) as f64 + 0.5) / 8.0,
            2 => random.below(1 << 50) as f64 / 1e12,
            3 => -(random.below(100_000) as f64) / 1000.0,
            _ => random.pick(&[
                33667395687.5,
                0.0,
                -0.0,
                5e-324,
                1e-310,
                f64::MAX,
                f64::MIN_POSITIVE,
                9.99999999995,
                1e22,
            ]),
        };
        // No file has another NaN than this one.
        row.copy_from_slice(&rrd::number::canonical(value).to_le_bytes());
    }
    std::fs::write(folder.join("f.rrd"), bytes).unwrap();
    for question in ["dump f.rrd", "fetch f.rrd LAST -s 1699900000 -e 1700000000"] {
        let question: Vec<&str> = question.split(' ').collect();
        same_answer(
            &latmon(folder, &question),
            &rrdtool.run(&question),
            &format!("LATMON_TEST_SEED={seed} {question:?}"),
        );
    }
}

/// Every form of an at-style time, and what is wrong with those that are none, as `create -b` takes them. Not among
/// them are the hours that the end of summer repeats: there the original's answer depends on what it was asked before.
#[test]
fn at_style_times_are_read_as_rrdtool_reads_them() {
    /// On a slow machine one answer may never be of the same second as the other.
    const PATIENCE: u64 = 10;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    let last_update = |file: &str| {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        u64::from_le_bytes(bytes[128 + 120 + 120..][..8].try_into().unwrap())
    };
    for time in TIMES.lines().filter(|line| !line.is_empty()) {
        let rest = ["DS:a:GAUGE:120:0:U", "RRA:AVERAGE:0.5:1:1"];
        let (ours, theirs) = (["create", "ours.rrd", "-b", time], format!("create theirs.rrd -b \"{time}\""));
        let ours: Vec<&str> = ours.into_iter().chain(rest).collect();
        let theirs: Vec<&str> = theirs.splitn(4, ' ').chain(rest).collect();
        let mut tell = |is_ours: bool| {
            let answer = if is_ours { latmon(folder, &ours) } else { rrdtool.run(&theirs) };
            let file = if is_ours { "ours.rrd" } else { "theirs.rrd" };
            answer.is_ok().then(|| last_update(file)).ok_or(answer)
        };
        let [ours, theirs] = within_a_second(|| [true, false].map(&mut tell));
        let fits = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours.abs_diff(*theirs) <= PATIENCE || ends_summer(*ours.min(theirs)),
            _ => ours == theirs,
        };
        assert!(fits, "{time}: {ours:?} {theirs:?}");
    }
}

/// Whether that is in the two hours of Berlin that are called the same.
fn ends_summer(secs: u64) -> bool {
    let at = chrono::DateTime::from_timestamp(secs.cast_signed(), 0).expect("a time of our days");
    let last_sunday = at.month() == 10 && at.day() > 24 && at.weekday() == chrono::Weekday::Sun;
    last_sunday && at.hour() < 2
}

const TIMES: &str = "
now
NOW
n
now 5
now foo
now+
now+foo
now-1
now - 1 h
now-1foo
now-1d2h
now-1d-2h
now-1d+2h
now-1d 2h 3 min
now-1d,2h
-1d
+1d
-
-x
-5m
-6m
-1h5m
-1d5m
-1mon
-1months
-1week
-1yr
-1yrs
-1hr
-1hrs
-1mins
-1M
start
epoch
start-1
12
12:30
1230
12:60
24:00
3pm
13pm
12am
0am
3:30 am tomorrow
12.30
12:30:15
midnight
teatime
noon yesterday
noon monday
noon sunday
noon satu
teatime jan 15 2021
noon 15.1.2021
noon 20210115
noon 15
20210115
20210115 12:30
20210115 noon
10/11/2022
10.11.22
1/1/99
1/1/70
1/1/38
1/1/37
1/1/138
1/1/139
13/1/2021
0/1/2021
2/30/2021
1/32/2021
31.2.2022
jan
jan 15
jan 15 21
jan 15 2021 12:30
jan15
jan 32
jan 0
jan x
foo
1700000000
1700000000-1m
1700000000 foo
1700000000 12:30
315360000
315360001
100000000
0
24
100
19700101
19700102
24000101
24000102
20211301
20210132
2:30 26.3.2023
26.3.2023 2:30
1:30 26.3.2023 + 1h
12:00 25.3.2023 + 1d
12:00 25.3.2023 + 24h
today
12:00 friday
12 jan 15 2021
12:30 15
now;foo
now=1
 now
_now_
now+1d1
now+1.5h
12:30 -1d foo
12:
:12
12:30 pm
1:2:3
1/
1.
1.2.
1/2/x
99999999999
1700000000.5
end+1d
start+
eod
1d
mar 31 2021 - 1 month
feb 29 2020 - 1y
sept 5
now-1w2m
-0m
/
1,2
noonish
now1
now-1dx
20210115 - 5
20210115/12:30
20210115 -
20210115:
20210115 foo
now+6m-5m
now-1foo5m
jan 15 2021-1d
jan 15 2021/5
now+1000 2000
now+1000:2000
now+1000:2000h
now+1000foo2000
now+1000/2000
now+1000.2000.4000
now+1000+2000
now+1000 - 2000
now+1000h foo
now+1000 foo bar
-1d foo
-1d noon
-1d:2
-1d 5m
+10m
now-1h,
noon jan 15
jan 15 12:30
jan 15 12
jan 15 20
jan 15 2021 noon
jan 15 2021 5
jan 15 2021 5pm
jan 15 noon
jan 15 1:30pm
jan 15 139
jan 15 38
jan 15 69
jan 15 100
jan 15 -1d
jan 15+1d
jan -1
noon 12:30
noon noon
20210115 5
20210115 24
20210115 -1d
20210115-1d
12:30 20210115
12:30 1700000000
12 1700000000
noon 1700000000
1700000000 5
1700000000+5
3
003
12:003
12:0
12:00003
5 5
5 13
5 2 3
5 1/2/2021
2/3/2021 5
2/3/2021 5:30pm
2/3/2021 noon
2.3.2021 24
2.3.2021 12:60
2.3.2021 -1d
2/3.2021
2.3/2021
2/3/2021/4
2/3/021
2/3/0
2/3/00
2/3/1971
2/3/1970
2/3/3000
2/3/20210
1e5
1 pm
1pm jan 15 2021
am
pm
5 am am
am 5
12:30am
12:30 am
13:30pm
13:30am
0pm
noon friday
noon sat
noon tues
noon tue
noon wednes
noon wed
noon wednesday
noon thu
noon thursday
noon thur
noon saturday
noon fri
friday
noon+1
noon + 1 week
midnight friday - 1w
now-1000000000
now-2000000000
now-60y
jan 1 1971
1/1/1971
-1 d
- 1 d 2
s-1h
now s
n-1d
now-1hour
now-1H
NOON
Jan 15 2021
JANUARY 15 2021
now-1mo
now-1Mon
now-1monday
now-1second5m
now-5h3m
now-1d7m
now-1y5m
now-12mon5m
now-0d
now+1d-5m
now+1d-5m-5m
now-6m5m
now-5m6m
epoch-1
end
(now)
5m-1d
1 jan
31/12/2021
12/31/2021 23:59
february 29 2021
jun 5 2021
jul 5 2021
aug 5 2021
oct 5 2021
nov 5 2021
apr 5 2021
april 5 2021
june 5 2021
july 5 2021
august 5 2021
september 5 2021
october 5 2021
november 5 2021
march 5 2021
1:30 28.3.2021 + 1h
2:00 28.3.2021
2:59 28.3.2021
3:00 31.10.2021
0:00 1.1.2021 + 3mon
";

/// Errors, and successes that surprise: each line is one command, on one fresh file each.
#[test]
fn commands_are_refused_with_the_same_texts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("text"), "no archive at all").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    let mut rrdtool = Rrdtool::start(folder);
    let definition = "create f.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:0:U DS:b:COUNTER:120:U:U DS:c:DERIVE:120:U:U \
                      DS:d:ABSOLUTE:120:U:U RRA:AVERAGE:0.5:1:3 RRA:MAX:0.5:6:4";
    rrdtool.run(&definition.split_whitespace().collect::<Vec<_>>()).unwrap();
    let fresh = std::fs::read(folder.join("f.rrd")).unwrap();
    for line in COMMANDS.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace("{C}", "create n.rrd -b 1700000000").replace("{D}", "DS:a:GAUGE:120:0:U");
        let line = line.replace("{R}", "RRA:AVERAGE:0.5:1:3");
        let command: Vec<&str> = line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
        let quoted: Vec<&str> = line.split(' ').collect();
        let mut ask = |ours: bool| {
            std::fs::write(folder.join("f.rrd"), &fresh).unwrap();
            let _ = std::fs::remove_file(folder.join("n.rrd"));
            let answer = if ours { latmon(folder, &command) } else { rrdtool.run(&quoted) };
            let file = |name: &str| std::fs::read(folder.join(name)).ok();
            // Fresh pointers are random; what a failing argument leaves behind differs on purpose.
            let made =
                file("n.rrd").map(|bytes| [without_pointers(&bytes).0, without_pointers(&bytes).1].concat());
            (answer, file("f.rrd").map(without_last_readings), made)
        };
        let [ours, theirs] = within_a_second(|| [true, false].map(&mut ask));
        same_answer(&ours.0, &theirs.0, &line);
        assert!(ours.1 == theirs.1, "{line}: the updated files differ");
        assert!(ours.2 == theirs.2, "{line}: the created files differ");
    }
}

const COMMANDS: &str = "
update f.rrd
update f.rrd 1
update f.rrd 1700000010
update f.rrd 1700000010:1
update f.rrd 1700000010:1:2:3:4:5:6:7
update f.rrd 1700000010:1:2:3:4
update f.rrd foo:1:2:3:4
update f.rrd foo:1:2:3
update f.rrd foo:1:2:3:4:5
update f.rrd foo@1:2:3:4
update f.rrd foo@1:2:3
update f.rrd 17x:1:2:3:4
update f.rrd 1700000010x:1:2:3:4
update f.rrd 1700000000:1:2:3:4
update f.rrd 1700000000.0000001:1:2:3:4
update f.rrd 1700000000.5:1:2:3:4
update f.rrd 1700000010.3:1:2:3:4
update f.rrd 1700000010:x:2:3:4
update f.rrd 1700000010:1:x:3:4
update f.rrd 1700000010:1:2:x:4
update f.rrd 1700000010:1:2:3:x
update f.rrd 1700000010:12abc:2:3:4
update f.rrd 1700000010:1:2:3:12abc
update f.rrd 1700000010:1:-2:3:4
update f.rrd 1700000010:1:2:-3:4
update f.rrd 1700000010:1:2.5:3:4
update f.rrd 1700000010::::
update f.rrd 1700000010::2:3:4
update f.rrd 1700000010:1:::4
update f.rrd 1700000010:1:2:3:
update f.rrd 1700000010:Ux:Uy:Uz:Uq
update f.rrd 1700000010:u:u:u:u
update f.rrd 1700000010:nano:2:3:infinity
update f.rrd 1700000010:+inf:2:3:4
update f.rrd 1700000010:+5:2:3:4
update f.rrd 1700000010:1:+2:3:4
update f.rrd 1700000010:1:2:--3:4
update f.rrd 1700000010:1:2:-:4
update f.rrd 1700000010:1e+:2:3:4
update f.rrd 1700000010:1ex:2:3:4
update f.rrd 1700000010:1e5000:2:3:4
update f.rrd 1700000010:1e99999999999:2:3:4
update f.rrd 1700000010:.:2:3:4
update f.rrd 1700000010:-:2:3:4
update f.rrd 1700000010:inx:2:3:4
update f.rrd 1700000010:1:2 1700000020:1:2:3:4
update f.rrd 1700000010:1:2:3:4 1700000010:1:2:3:4
update f.rrd -s 1700000010:1:2:3:4 1700000010:1:2:3:4 1700000011:1:2:3:4
update f.rrd -s 1700000010:1:2:3:4 1700000009:1:2:3:x 1700000011:1:2:3:4
update f.rrd -t a:b 1700000010:1:2
update f.rrd -t a:x 1700000010:1:2
update f.rrd -t x:b:c:d:a 1700000010:1:2
update f.rrd -t a:b:c:d:x 1700000010:1:2
update f.rrd -t a:a 1700000010:1:2
update f.rrd -t '' 1700000010:1:2:3:4
update f.rrd -t b 1700000010:1:2
update f.rrd -t d:a 1700000010:1:2 1700000020:5:6
update f.rrd -t a: 1700000010:1:2
update f.rrd 1700000010@1:2:3:4
update f.rrd 1700000010@1@2:3:4
update f.rrd 1700000010:1@2:3:4
update f.rrd end+1@1:2:3:4
update f.rrd start@1:2:3:4
update f.rrd 20231115@1:2:3:4
update f.rrd :
update f.rrd :1:2:3:4
update f.rrd @1:2:3:4
update f.rrd Nx:1:2:3:4
update f.rrd n:1:2:3:4
update f.rrd -5:1:2:3:4
update f.rrd -- -1e30:1:2:3:4
update f.rrd -- -x:1:2:3:4
update f.rrd 1e9:1:2:3:4
update f.rrd 1e10:1:2:3:4
update f.rrd 1e19:1:2:3:4
update f.rrd inf:1:2:3:4
update f.rrd nan:1:2:3:4
update f.rrd +1700000010:1:2:3:4
update f.rrd 1700000010:1234567890123456789012345678901234567890:2:3:4
update f.rrd 1700000010:1:1234567890123456789012345678901234567890:3:4
update f.rrd --template=a 1700000010:1
update f.rrd --template 1700000010:1
update f.rrd --temp a 1700000010:1
update f.rrd 1700000010:1 -t a
update f.rrd -ta 1700000010:1
update f.rrd -st a 1700000010:1
update f.rrd --skip-past-updates=1 1700000010:1:2:3:4
update f.rrd --aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
update f.rrd -x
update f.rrd -t
update nofile 1:1
update -t x nofile 1:1
update text 1:1
update empty 1:1
update folder 1:1
{C}
{C} {D}
{C} {R}
{C} {D} {R}
{C} {R} {D}
{C} {D} {D} {R}
{C} {D} {D} foo
{C} {D} foo
{C} DS:a=b[1]:GAUGE:120:0:1 {R}
{C} DS:a=b[x]:GAUGE:120:0:1 {R}
{C} DS:a=b:GAUGE:120:0:1 {R}
{C} DS:a=:GAUGE:120:0:1 {R}
{C} DS {R}
{C} DS: {R}
{C} DS:a {R}
{C} DS:a: {R}
{C} DS:a:GAUGE {R}
{C} DS:a:GAUGE: {R}
{C} DS:a:GAUGE:120 {R}
{C} DS:a:GAUGE:120: {R}
{C} DS:a:GAUGE:120:0 {R}
{C} DS:a:GAUGE:120:0: {R}
{C} DS:a:GAUGE:120:0:1:2 {R}
{C} DS:a:GAUGE:120:0::1 {R}
{C} DS:a:GAUGE:120:0:1:::: {R}
{C} DS:a:GAUGE:120::1 {R}
{C} DS:a:GAUGE:120:1:0 {R}
{C} DS:a:GAUGE:120:1:1 {R}
{C} DS:a:GAUGE:0:0:1 {R}
{C} DS:a:GAUGE:0s:0:1 {R}
{C} DS:a:GAUGE:0x:0:1 {R}
{C} DS:a:GAUGE:x:0:1 {R}
{C} DS:a:GAUGE:12x:0:1 {R}
{C} DS:a:GAUGE:-5:0:1 {R}
{C} DS:a:GAUGE:5m:0:1 {R}
{C} DS:a:GAUGE:5mxy:0:1 {R}
{C} DS:a:GAUGE:5M:0:1 {R}
{C} DS:a:GAUGE:1y:0:1 {R}
{C} DS:a:GAUGE:1.5:0:1 {R}
{C} DS:a:GAUGE:99999999999999999999999:0:1 {R}
{C} DS:a:GAUGE:0000000000000000000000000000012:0:1 {R}
{C} DS:a:GAUGE:00000000000000000000000000000012:0:1 {R}
{C} DS:a:GAUGE:120:abc:1 {R}
{C} DS:a:GAUGE:120:0:abc {R}
{C} DS:a:GAUGE:120:nan:1 {R}
{C} DS:a:GAUGE:120:0:-nan {R}
{C} DS:a:GAUGE:120:-inf:inf {R}
{C} DS:a:GAUGE:120:Ux:1 {R}
{C} DS:a:GAUGE:120:1x:1 {R}
{C} DS:a:GAUGE:120:0:1x {R}
{C} DS:a:GAUGE:120:0:12345678901234567890123 {R}
{C} DS:a:GAUGE:120:123456789012345678:U {R}
{C} DS:a:GAUGE:120:1234567890123456789:U {R}
{C} DS:a:FOO:120:0:1 {R}
{C} DS:a:AAAAAAAAAAAAAAAAAAA:120:0:1 {R}
{C} DS:a:AAAAAAAAAAAAAAAAAAAA:120:0:1 {R}
{C} DS:a:gauge:120:0:1 {R}
{C} DS:a:GAUGEx:120:0:1 {R}
{C} DS:a.b:GAUGE:120:0:1 {R}
{C} DS:abcdefghijklmnopqrst:GAUGE:120:0:1 {R}
{C} DS:abcdefghijklmnopqr-_:GAUGE:120:0:1 {R}
{C} DS:abcdefghijklmnopq-_:GAUGE:120:0:1 {R}
{C} DS::GAUGE:120:0:1 {R}
{C} DS:a:DCOUNTER:120:0:1 {R}
{C} DS:a:DDERIVE:120:0:1 {R}
{C} DS:a:DDERIVE:120:0 {R}
{C} {D} DS:c:COMPUTE {R}
{C} {D} DS:c:COMPUTE: {R}
{C} {D} DS:c:COMPUTE:a {R}
{C} {D} DS:c=d[2]:COMPUTE:a {R}
{C} {D} DS:a:COMPUTE:a {R}
{C} {D} DS:c:COMPUTE:c {R}
{C} {D} DS:c:COMPUTE:a,2 {R}
{C} {D} DS:c:COMPUTE:a,2, {R}
{C} {D} DS:c:COMPUTE:a,2,* {R}
{C} {D} DS:c:COMPUTE:a,b,* {R}
{C} {D} DS:c:COMPUTE:a, {R}
{C} {D} DS:c:COMPUTE:a,, {R}
{C} {D} DS:c:COMPUTE:,a {R}
{C} {D} DS:c:COMPUTE:, {R}
{C} {D} DS:c:COMPUTE:a:b {R}
{C} {D} DS:c:COMPUTE:a,2.5,* {R}
{C} {D} DS:c:COMPUTE:a,2.00,* {R}
{C} {D} DS:c:COMPUTE:a,1e3,* {R}
{C} {D} DS:c:COMPUTE:a,+5,* {R}
{C} {D} DS:c:COMPUTE:a,32767,* {R}
{C} {D} DS:c:COMPUTE:a,32768,* {R}
{C} {D} DS:c:COMPUTE:a,-32768,* {R}
{C} {D} DS:c:COMPUTE:a,-32769,* {R}
{C} {D} DS:c:COMPUTE:a,1e300,* {R}
{C} {D} DS:c:COMPUTE:a,1e3000,* {R}
{C} {D} DS:c:COMPUTE:nan,a {R}
{C} {D} DS:c:COMPUTE:0x10,a {R}
{C} {D} DS:c:COMPUTE:a,TIME,+ {R}
{C} {D} DS:c:COMPUTE:a,LTIME,+ {R}
{C} {D} DS:c:COMPUTE:a,PREV,+ {R}
{C} {D} DS:c:COMPUTE:a,COUNT,+ {R}
{C} {D} DS:c:COMPUTE:a,TREND {R}
{C} {D} DS:c:COMPUTE:a,TRENDNAN {R}
{C} {D} DS:c:COMPUTE:a,PREDICT {R}
{C} {D} DS:c:COMPUTE:a,PREDICTSIGMA {R}
{C} {D} DS:c:COMPUTE:a,PREDICTPERC {R}
{C} {D} DS:c:COMPUTE:STEPWIDTH {R}
{C} {D} DS:c:COMPUTE:NEWDAY {R}
{C} {D} DS:c:COMPUTE:NEWWEEK {R}
{C} {D} DS:c:COMPUTE:NEWMONTH {R}
{C} {D} DS:c:COMPUTE:NEWYEAR {R}
{C} {D} DS:c:COMPUTE:ROUND {R}
{C} {D} DS:c:COMPUTE:MINX {R}
{C} {D} DS:c:COMPUTE:min {R}
{C} {D} DS:c:COMPUTE:2.5,TIME,x {R}
{C} {D} DS:c:COMPUTE:2.5,TIME {R}
{C} {D} DS:c:COMPUTE:TIME,2.5,+ {R}
{C} DS:5:GAUGE:120:0:1 DS:c:COMPUTE:5,5,5 {R}
{C} DS:MIN:GAUGE:120:0:1 DS:c:COMPUTE:MIN {R}
{C} DS:TIME:GAUGE:120:0:1 DS:c:COMPUTE:TIME {R}
{C} {D} DS:c:COMPUTE:a,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,POP {R}
{C} {D} DS:c:COMPUTE:a,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,POP {R}
{C} {D} DS:c:COMPUTE:a,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,POP {R}
{C} {D} DS:c:COMPUTE:a,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,TIME {R}
{C} {D} DS:c:COMPUTE:a,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20.5,POP {R}
{C} {D} DS:c:COMPUTE:+,-,*,/,%,SIN,DUP,EXC,POP,COS,LOG,EXP,LT,LE,GT,GE,EQ {R}
{C} {D} DS:c:COMPUTE:IF,MIN,MAX,LIMIT,FLOOR,CEIL,UN,NE,ISINF,ATAN,SQRT,SORT,REV,ATAN2 {R}
{C} {D} DS:c:COMPUTE:RAD2DEG,DEG2RAD,AVG,ABS,ADDNAN,MINNAN,MAXNAN,MEDIAN,DEPTH,COPY,ROLL {R}
{C} {D} DS:c:COMPUTE:INDEX,SMIN,SMAX,STDEV,PERCENT,POW,INF,NEGINF,UNKN,NOW {R}
{C} {D} RRA
{C} {D} RRA:
{C} {D} RRA:::
{C} {D} RRA:AVERAGE
{C} {D} RRA:AVERAGE:0.5
{C} {D} RRA:AVERAGE:0.5:1
{C} {D} RRA:AVERAGE:0.5:1:
{C} {D} RRA:AVERAGE:0.5:1:10:2
{C} {D} RRA:AVERAGE:0.5:1:10:
{C} {D} RRA:AVERAGE::0.5:1:10
{C} {D} RRA:AVERAGEx:0.5:1:10
{C} {D} RRA:AVG:0.5:1:10
{C} {D} RRA:AVG
{C} {D} RRA:average:0.5:1:10
{C} {D} RRA:AVERAGE:1:1:10
{C} {D} RRA:AVERAGE:2
{C} {D} RRA:AVERAGE:-0.1:1:10
{C} {D} RRA:AVERAGE:-0:1:10
{C} {D} RRA:AVERAGE:nan:1:10
{C} {D} RRA:AVERAGE:-nan:1:10
{C} {D} RRA:AVERAGE:abc:1:10
{C} {D} RRA:AVERAGE:0.5x:1:10
{C} {D} RRA:AVERAGE:0.5:x
{C} {D} RRA:AVERAGE:0.5:1x:10
{C} {D} RRA:AVERAGE:0.5:0:10
{C} {D} RRA:AVERAGE:0.5:0s:10
{C} {D} RRA:AVERAGE:0.5:1:0
{C} {D} RRA:AVERAGE:0.5:7m:10
{C} {D} RRA:AVERAGE:0.5:10m:1d
{C} {D} RRA:AVERAGE:0.5:10m:15m
{C} {D} RRA:AVERAGE:0.5:10mzz:1hour
{C} {D} RRA:AVERAGE:0.5:1h:10 -s 60
{C} {D} RRA:AVERAGE:0.5:-1:10
{C} {D} RRA:MAX:0.5:1:-10
{C} {D} RRA:MIN:0.5:1:10s
{C} {D} RRA:LAST1:0.5:1:2M
{C} {D} RRA::AVERAGE:0.5:1:10
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5
{C} {D} RRA:HWPREDICT:10:0.1:0.1:11
{C} {D} RRA:HWPREDICT:10:0.1:0.1:10
{C} {D} RRA:HWPREDICT:10:0.1:0.1:-5
{C} {D} RRA:HWPREDICT:10:0:0.1:5
{C} {D} RRA:HWPREDICT:10:1:0.1:5
{C} {D} RRA:HWPREDICT:10:0.5:1:5
{C} {D} RRA:HWPREDICT:10:0.5:0:5
{C} {D} RRA:HWPREDICT:10:0.5:-1:5
{C} {D} RRA:HWPREDICT:10:x:0.5:5
{C} {D} RRA:HWPREDICT:10:0.5:x:5
{C} {D} RRA:HWPREDICT:x:0.5:0.5:5
{C} {D} RRA:HWPREDICT:0:0.5:0.5:5
{C} {D} RRA:HWPREDICT:3000s:0.5:0.5:5
{C} {D} RRA:HWPREDICT:3005s:0.5:0.5:5
{C} {D} RRA:HWPREDICT:10:0.5:0.5
{C} {D} RRA:HWPREDICT:10
{C} {D} RRA:HWPREDICT
{C} {D} RRA:HWPREDICT:10:0.5:0.5:5:1:2
{C} {D} RRA:HWPREDICT:10:nan:0.5:5
{C} {D} RRA:HWPREDICTx:10:0.1:0.1:5
{C} {D} RRA:HWPREDICT:10:0.1:0.1:1d
{C} {D} RRA:MHWPREDICT:10:0.1:0.1:5
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5 RRA:AVERAGE:0.5:1:3 RRA:MHWPREDICT:20:0.4:0.3:4
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5x:2x RRA:SEASONAL:5:0.3:1
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5:2 RRA:SEASONAL:5:0.3:1:smoothing-window=0.5
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5:2 RRA:SEASONAL:5:0.3:1:smoothing-window
{C} DS:b:DCOUNTER:9:U:U RRA:HWPREDICT:10:0.1:0.1:5:2 RRA:SEASONAL:5:0.3:1
{C} {D} RRA:SEASONAL:10:0.1:1:smoothing-window=3
{C} {D} RRA:SEASONAL:10:0.1:1:smoothing-window=x
{C} {D} RRA:SEASONAL:10:0.1:1:foo
{C} {D} RRA:SEASONAL:10:0.1:1:foo=2
{C} {D} RRA:SEASONAL:10:0.1
{C} {D} RRA:SEASONAL:10:x:1
{C} {D} RRA:SEASONAL:10:1:1
{C} {D} RRA:SEASONAL:0:0.1:1
{C} {D} RRA:DEVPREDICT:10
{C} {D} RRA:DEVPREDICT:10:1:1
{C} {D} RRA:HWPREDICT:10:0.1:0.1:5 RRA:FAILURES:10:1:28:3 RRA:DEVPREDICT:3:3
{C} {D} RRA:FAILURES:10:7:9
{C} {D} RRA:FAILURES:10:0:9:1
{C} {D} RRA:FAILURES:10:29:9:1
{C} {D} RRA:FAILURES:10:7:29:1
{C} {D} RRA:FAILURES:10:9:7:1
{C} {D} RRA:FAILURES:10:x:7:1
{C} {D} RRA:FAILURES:10:7:x:1
{C} {D} rra:AVERAGE:0.5:1:10
{C} -s 0 {D} {R}
{C} -s x {D} {R}
{C} -s 5m {D} {R}
{C} -s60 {D} {R}
{C} --step=60 {D} {R}
{C} --step= {D} {R}
{C} --ste 5 {D} {R}
{C} -s
{C} --step
{C} -Z
{C} -b foo {D} {R}
{C} -b start+1 {D} {R}
{C} -b now-60y {D} {R}
{C} -b 100000000 {D} {R}
{C} -b 20201231 {D} {R}
{C} -b foo -s 0
{C} -s 0 -b foo
{C} -- -s 5
{C} --no-overwrite=5 {D}
create f.rrd -O {D} {R}
create f.rrd -O foo
create nofolder/x {D} {R}
create folder {D} {R}
create -b 20200101
create --
info nofile
info f.rrd extra
info -x f.rrd
info --foo f.rrd
info text
info empty
info folder
info f.rrd -F
info --noflush=1 f.rrd
info --daemon
info --
info ''
last text
last nofile
last f.rrd extra
last -F f.rrd
lastupdate nofile
lastupdate f.rrd extra
lastupdate --foo f.rrd
lastupdate --
first nofile
first f.rrd extra
first --rraindex 1 f.rrd
first --rraindex 2 f.rrd
first --rraindex -1 f.rrd
first --rraindex x f.rrd
first --rraindex 1x f.rrd
first f.rrd --rraindex=1
first --rraindex
first --
dump nofile
dump f.rrd -h foo
dump f.rrd -h none
dump f.rrd -h xsd
dump f.rrd -n
dump -n f.rrd -h xsd
dump --header dtd f.rrd
fetch f.rrd
fetch f.rrd FOO
fetch f.rrd average
fetch f.rrd HWPREDICT
fetch f.rrd ''
fetch nofile FOO
fetch nofile AVERAGE
fetch text AVERAGE
fetch '' AVERAGE
fetch f.rrd MIN -s 1700000000 -e 1700000010
fetch f.rrd AVERAGE -s 1700000000 -e 1699999999
fetch f.rrd FOO -s 1700000000 -e 1699999999
fetch f.rrd AVERAGE -s 1700000000 -e 1700000000
fetch f.rrd AVERAGE -s 19700201
fetch f.rrd AVERAGE -s now-60y -e now-61y
fetch f.rrd AVERAGE -r 0
fetch f.rrd AVERAGE -r x
fetch f.rrd AVERAGE -r 0 -s x
fetch f.rrd AVERAGE -s x -r 0
fetch f.rrd AVERAGE -e x
fetch f.rrd AVERAGE -s end-10 -e 1700000010
fetch f.rrd AVERAGE -s 1700000000 -e start+10
fetch f.rrd AVERAGE -s end-1 -e start+1
fetch f.rrd AVERAGE -s start-1
fetch f.rrd AVERAGE -e end-1
fetch f.rrd AVERAGE -s 1e9
fetch f.rrd AVERAGE -s 20231114 -e start+1d -r 1h -a
fetch f.rrd AVERAGE -s 1700000000 -e 1700000010 -a extra
fetch f.rrd AVERAGE -a -r 60 -s 1700000000 -e 1700000010
fetch f.rrd AVERAGE -a -r 1000000 -s 315360001 -e 315361000
fetch f.rrd AVERAGE --align-start=5
fetch --
";
