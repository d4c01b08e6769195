//! The engine against the real rrdtool: the same commands on copies of one file leave the same bytes and print the
//! same texts.
//!
//! `LATMON_TEST_SEED` repeats a run, `LATMON_TEST_CASES` says how long it is.

mod rrd_support;

use std::path::Path;

use latmon::rrd::{self, UpdateOptions};
use latmon::time::UnixTime;
use rrd_support::{Random, Rrdtool, cases, latmon, seed};

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
        let types = (0..sources).map(|_| random.pick(&["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE"])).collect();
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

    fn argument(&mut self) -> String {
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
        for index in 0..self.types.len() {
            argument.push(':');
            argument.push_str(&self.reading(index));
        }
        match self.random.below(60) {
            0 => argument.push_str(":5"),
            1 => argument.truncate(argument.rfind(':').unwrap()),
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

/// The bytes before and behind the pointers of a fresh file, which are random, and the pointers' bounds.
fn without_pointers(bytes: &[u8]) -> (&[u8], &[u8]) {
    let word =
        |at: usize| usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap();
    let (sources, archives) = (word(24), word(32));
    let pointers = 128 + 120 * (sources + archives) + 16 + 112 * sources + 80 * archives * sources;
    (&bytes[..pointers], &bytes[pointers + 8 * archives..])
}

/// The same bytes, told by the words of eight that differ.
fn same_bytes(ours: &[u8], theirs: &[u8], told: &str) {
    assert_eq!(ours.len(), theirs.len(), "{told}");
    let differing: Vec<String> = ours
        .chunks(8)
        .zip(theirs.chunks(8))
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(word, (ours, theirs))| format!("{}: ours {ours:02x?} theirs {theirs:02x?}", word * 8))
        .collect();
    assert!(differing.is_empty(), "{told}\n{}", differing.join("\n"));
}

/// Blanks out the texts of the last readings: the one thing that a failing argument of the original changes.
fn without_last_readings(mut bytes: Vec<u8>) -> Vec<u8> {
    let word =
        |at: usize| usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap();
    let (sources, archives) = (word(24), word(32));
    let preps = 128 + 120 * (sources + archives) + 16;
    for source in 0..sources {
        bytes[preps + 112 * source..][..30].fill(0);
    }
    bytes
}

fn update_ours(folder: &Path, file: &str, arguments: &[String]) -> Result<(), String> {
    let options = UpdateOptions { template: None, skip_past: false, now: UnixTime::from_secs(0) };
    // By the name that rrdtool's error texts have, from the folder that holds it.
    rrd::update(&folder.join(file), &options, arguments)
        .map_err(|error| error.to_string().replace(&format!("{}/", folder.display()), ""))
}

fn words<'a>(verb: &'a str, file: &'a str, rest: &'a [String]) -> Vec<&'a str> {
    [verb, file].into_iter().chain(rest.iter().map(String::as_str)).collect()
}

#[test]
fn random_updates_leave_the_same_bytes_as_rrdtool() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut rrdtool = Rrdtool::start(folder);
    for number in 0..cases(400) {
        let mut case = Case::new(seed, number);
        let definition = case.definition();
        let told = format!("LATMON_TEST_SEED={seed} case {number}: create {}", definition.join(" "));
        rrdtool.run(&words("create", "theirs.rrd", &definition)).expect(&told);
        if number % 2 == 0 {
            // Ours, which rrdtool goes on with; fresh files differ in the random pointers only.
            assert_eq!(latmon(folder, &words("create", "ours.rrd", &definition)), Ok(vec![]), "{told}");
            let (ours, theirs) = (read("ours.rrd"), read("theirs.rrd"));
            assert!(without_pointers(&ours) == without_pointers(&theirs), "{told}: fresh files differ");
            std::fs::copy(folder.join("ours.rrd"), folder.join("theirs.rrd")).unwrap();
        } else {
            std::fs::copy(folder.join("theirs.rrd"), folder.join("ours.rrd")).unwrap();
        }
        for _ in 0..12 {
            let arguments: Vec<String> = (0..1 + case.random.below(3)).map(|_| case.argument()).collect();
            let told = format!("{told}\nupdate {arguments:?}");
            let ours = update_ours(folder, "ours.rrd", &arguments);
            let theirs = rrdtool.run(&words("update", "theirs.rrd", &arguments)).map(drop);
            let ours = ours.map_err(|text| text.replace("ours.rrd", "theirs.rrd"));
            assert_eq!(ours, theirs, "{told}");
            let (ours, theirs) = (read("ours.rrd"), read("theirs.rrd"));
            if ours != theirs {
                same_bytes(&without_last_readings(ours), &without_last_readings(theirs), &told);
                std::fs::copy(folder.join("ours.rrd"), folder.join("theirs.rrd")).unwrap();
            }
        }
        if number % 8 == 0 {
            same_texts(&mut rrdtool, folder, &mut case, &told);
        }
    }
}

/// Every verb that reads says the same about one file.
fn same_texts(rrdtool: &mut Rrdtool, folder: &Path, case: &mut Case, told: &str) {
    let mut questions: Vec<Vec<String>> = ["info", "last", "lastupdate", "first", "dump"]
        .map(|verb| vec![verb.to_owned(), "ours.rrd".to_owned()])
        .into();
    questions.push(["first", "ours.rrd", "--rraindex", "1"].map(str::to_owned).into());
    for cf in ["AVERAGE", "MIN", "MAX", "LAST"] {
        let random = &mut case.random;
        let end = case.last as u64 + random.below(2000);
        let start = end - random.below(200) * case.step * random.pick(&[1, 1, 12]);
        let resolution = random.pick(&["1", "5", "60", "1h", "7", "1d"]);
        let line = format!("fetch ours.rrd {cf} -s {start} -e {end} -r {resolution}");
        questions.push(line.split(' ').map(str::to_owned).collect());
        if random.one_in(2) {
            questions.last_mut().unwrap().push("-a".to_owned());
        }
    }
    for question in &questions {
        let question: Vec<&str> = question.iter().map(String::as_str).collect();
        let (ours, theirs) = (latmon(folder, &question), rrdtool.run(&question));
        same_answer(&ours, &theirs, &format!("{told}\n{question:?}"));
    }
}

/// The same text, told by the first line that differs; in pipe mode the -1 of a failing `last` is not told apart.
fn same_answer(ours: &rrd_support::Answer, theirs: &rrd_support::Answer, told: &str) {
    let (Ok(our_text), Ok(their_text)) = (ours, theirs) else {
        assert_eq!(ours.as_ref().map(Vec::len), theirs.as_ref().map(Vec::len), "{told}");
        return;
    };
    let (ours, theirs) = (String::from_utf8_lossy(our_text), String::from_utf8_lossy(their_text));
    for (our_line, their_line) in ours.lines().zip(theirs.lines()) {
        assert_eq!(our_line, their_line, "{told}");
    }
    assert_eq!(our_text.len(), their_text.len(), "{told}");
}
