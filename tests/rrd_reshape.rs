//! `latmon rrd tune` with `DS:`, `DEL:`, `RRA:`, `DELRRA:` and `RRA#`, against `rrdtool tune`: the same words on copies of
//! one file leave the same bytes, but where the original's are none that anybody could mean. What those are, each test says.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use support::rrdtool::{Random, Rrdtool, cases, latmon, seed};

const START: i64 = 1_700_000_000;
const STEP: i64 = 10;
const NAN: u64 = 0xFFF8_0000_0000_0000;

/// An archive file's parts, by the table of its format.
#[derive(Debug)]
struct Parsed {
    bytes: Vec<u8>,
    ds_count: usize,
    step: i64,
    last: i64,
    archives: Vec<Archive>,
}

#[derive(Clone, Debug)]
struct Archive {
    cf: String,
    rows: usize,
    row_secs: i64,
    cur_row: usize,
    start: usize,
}

impl Parsed {
    fn new(bytes: Vec<u8>) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let (ds_count, rra_count, step) = (word(24), word(32), word(40) as i64);
        let defs = 128 + 120 * ds_count;
        let live = defs + 120 * rra_count;
        let pointers = live + 16 + 112 * ds_count + 80 * ds_count * rra_count;
        let mut start = pointers + 8 * rra_count;
        let archives = (0..rra_count)
            .map(|rra| {
                let def = defs + 120 * rra;
                let cf = bytes[def..def + 20].split(|b| *b == 0).next().unwrap();
                let archive = Archive {
                    cf: String::from_utf8(cf.to_owned()).unwrap(),
                    rows: word(def + 24),
                    row_secs: word(def + 32) as i64 * step,
                    cur_row: word(pointers + 8 * rra),
                    start,
                };
                start += 8 * ds_count * archive.rows;
                archive
            })
            .collect();
        assert_eq!(start, bytes.len());
        Self { last: word(live) as i64, bytes, ds_count, step, archives }
    }

    fn ds_def(&self, ds: usize) -> usize {
        128 + 120 * ds
    }

    fn pdp(&self, ds: usize) -> usize {
        128 + 120 * (self.ds_count + self.archives.len()) + 16 + 112 * ds
    }

    fn cdp(&self, rra: usize, ds: usize) -> usize {
        self.pdp(self.ds_count) + 80 * (rra * self.ds_count + ds)
    }

    fn newest(&self, rra: usize) -> i64 {
        self.last - self.last % self.archives[rra].row_secs
    }

    /// The rows from the oldest to the newest.
    fn rows(&self, rra: usize) -> Vec<Vec<f64>> {
        let archive = &self.archives[rra];
        let value = |at: usize| f64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap());
        let row = |row: usize| {
            let at = archive.start + row * 8 * self.ds_count;
            (0..self.ds_count).map(|ds| value(at + 8 * ds)).collect()
        };
        (1..=archive.rows).map(|age| row((archive.cur_row + age) % archive.rows)).collect()
    }
}

/// Makes `made.rrd` and updates it, once per step and sometimes with unknowns, and perhaps once more within a step.
fn make(rrdtool: &mut Rrdtool, random: &mut Random, sources: &str, archives: &str) {
    let create = format!("create made.rrd -b {START} -s {STEP} {sources} {archives}");
    rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
    let inputs = sources.split_whitespace().filter(|source| !source.contains(":COMPUTE:")).count();
    let mut readings = |at: i64| {
        let mut text = at.to_string();
        for _ in 0..inputs {
            let number = random.below(1_000_000);
            match random.below(9) {
                0 => text.push_str(":U"),
                _ => write!(text, ":{}", number as f64 / 64.0).unwrap(),
            }
        }
        text
    };
    let mut arguments = Vec::new();
    let count = 3 + i64::try_from(readings(0).len() % 7).unwrap() * 6;
    for step in 1..=count {
        arguments.push(readings(START + STEP * step));
    }
    arguments.push(readings(START + STEP * count + count % 7 + 1));
    let mut words = vec!["update", "made.rrd"];
    words.extend(arguments.iter().map(String::as_str));
    rrdtool.run(&words).unwrap();
}

/// Runs `tune f.rrd WORDS` on a copy for each.
fn both(
    folder: &Path,
    rrdtool: &mut Rrdtool,
    latmon: &mut Rrdtool,
    words: &str,
) -> [(Result<(), String>, Vec<u8>); 2] {
    [rrdtool, latmon].map(|side| {
        fs::copy(folder.join("made.rrd"), folder.join("f.rrd")).unwrap();
        let answer = side.run(&["tune", "f.rrd", words]).map(|text| assert_eq!(text, b"", "{words}"));
        (answer, fs::read(folder.join("f.rrd")).unwrap())
    })
}

/// What the original makes of rows at the ends of an archive depends on where in the file they happen to lie: it reads the
/// newest row for the one before the oldest. So a row is compared where every archive that it could be filled from either
/// has all of it or nothing of it.
fn is_comparable(old: &Parsed, cf: &str, from: i64, to: i64) -> bool {
    old.archives.iter().enumerate().filter(|(_, archive)| archive.cf == cf || archive.cf == "AVERAGE").all(
        |(rra, archive)| {
            let (newest, rows) = (old.newest(rra), archive.rows as i64);
            let oldest = newest - rows * archive.row_secs;
            let overlapped = (to - 1).div_euclid(archive.row_secs) - from.div_euclid(archive.row_secs) + 1;
            to <= oldest || from >= newest || (from >= oldest && to <= newest && overlapped < rows)
        },
    )
}

/// Blanks what cannot be compared, in both: `sources` and `archives` are how many of the old ones are left in front.
fn blank(side: &mut Parsed, old: &Parsed, sources: usize, archives: usize, own_rows: &[usize]) {
    for ds in sources..side.ds_count {
        // Bytes of the original's stack.
        let parameters = side.ds_def(ds) + 40;
        side.bytes[parameters + 24..parameters + 80].fill(0);
    }
    for rra in 0..side.archives.len() {
        if rra >= archives {
            for ds in 0..side.ds_count {
                let cdp = side.cdp(rra, ds);
                side.bytes[cdp..cdp + 80].fill(0);
            }
        }
        let (archive, newest, row_len) = (side.archives[rra].clone(), side.newest(rra), 8 * side.ds_count);
        let own = if rra < archives { own_rows[rra] } else { 0 };
        for row in 0..archive.rows.saturating_sub(own) {
            let end = newest - (archive.rows - 1 - row) as i64 * archive.row_secs;
            if !is_comparable(old, &archive.cf, end - archive.row_secs, end) {
                side.bytes[archive.start + row * row_len..][..row_len].fill(0);
            }
        }
    }
}

fn random_archives(random: &mut Random, step: u64) -> String {
    let one = |random: &mut Random| {
        let cf = random.pick(&["AVERAGE", "AVERAGE", "MAX", "MIN", "LAST"]);
        let xff = random.pick(&["0", "0.5", "0.9"]);
        format!("RRA:{cf}:{xff}:{}:{}", random.pick(&[1, 1, 2, 3, 4, 6]) * step, 2 + random.below(14))
    };
    (0..1 + random.below(4)).map(|_| one(random)).collect::<Vec<_>>().join(" ")
}

#[test]
fn random_shapes_have_the_bytes_that_rrdtools_have() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(150) {
        let mut random = Random::new(seed, case);
        let count = 1 + random.below(3) as usize;
        let name = |ds: usize| ["a", "b-long_name", "c"][ds];
        let sources: Vec<_> = (0..count).map(|ds| format!("DS:{}:GAUGE:120:U:U", name(ds))).collect();
        let archives = random_archives(&mut random, 1);
        make(&mut rrdtool, &mut random, &sources.join(" "), &archives);
        let old = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());

        let mut words = Vec::new();
        let mut own_rows: Vec<usize> = old.archives.iter().map(|archive| archive.rows).collect();
        let mut kept = count;
        if count > 1 && random.one_in(3) {
            words.push(format!("DEL:{}", name(random.below(count as u64) as usize)));
            kept -= 1;
        }
        if random.one_in(3) {
            let kind = random.pick(&["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER"]);
            words.push(format!("DS:new:{kind}:{}:0:5", 1 + random.below(1000)));
        }
        for (rra, rows) in own_rows.iter().enumerate() {
            match random.below(5) {
                0 => words.push(format!("RRA#{rra}:+{}", random.below(9))),
                1 => words.push(format!("RRA#{rra}:-{}", random.below(*rows as u64))),
                2 => words.push(format!("RRA#{rra}:={}", 1 + random.below(20))),
                _ => {}
            }
        }
        // Of an archive before others it leaves the rows where they were, and the others get them.
        if own_rows.len() > 1 && random.one_in(4) {
            own_rows.pop();
            words.insert(0, format!("DELRRA:{}", own_rows.len()));
        }
        let step = if random.one_in(6) { 5 } else { 10 };
        if random.one_in(2) {
            words.push(random_archives(&mut random, 10 / step));
        }
        if step != 10 {
            words.push(format!("--step {step} RRA#0:+0"));
        }
        let words = if words.is_empty() { "RRA#0:+0".to_owned() } else { words.join(" ") };

        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, &words);
        let told = format!("LATMON_TEST_SEED={seed}, case {case}: {archives}: tune {words}");
        assert_eq!((&ours.0, &theirs.0), (&Ok(()), &Ok(())), "{told}");
        let [mut theirs, mut ours] = [theirs.1, ours.1].map(Parsed::new);
        for side in [&mut theirs, &mut ours] {
            blank(side, &old, kept, own_rows.len(), &own_rows);
            if step != 10 {
                // It leaves what is open as it was counted in the old step.
                let open = side.pdp(0)..side.cdp(side.archives.len(), 0);
                side.bytes[open].fill(0);
            }
        }
        for rra in 0..ours.archives.len() {
            let [ours, theirs] = [&ours, &theirs].map(|side| format!("{:?}", side.rows(rra)));
            assert_eq!(ours, theirs, "{told}: rows of archive {rra}");
        }
        assert!(
            ours.bytes == theirs.bytes,
            "{told}: the files differ at {:?}",
            differences(&ours.bytes, &theirs.bytes)
        );
    }
}

fn differences(ours: &[u8], theirs: &[u8]) -> Vec<usize> {
    let pairs = ours.chunks(8).zip(theirs.chunks(8)).enumerate();
    pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(word, _)| 8 * word).take(20).collect()
}
