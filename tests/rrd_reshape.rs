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
    for (rra, archive) in side.archives.clone().into_iter().enumerate() {
        if rra >= archives {
            for ds in 0..side.ds_count {
                let cdp = side.cdp(rra, ds);
                side.bytes[cdp..cdp + 80].fill(0);
            }
        }
        let (newest, row_len) = (side.newest(rra), 8 * side.ds_count);
        let own = own_rows.get(rra).filter(|_| rra < archives).copied().unwrap_or(0);
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

/// Forecasts: their rows are never filled, and a new data source has their state as in a new file.
#[test]
fn forecasts_keep_what_they_learnt() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(40) {
        let mut random = Random::new(seed, case);
        let kind = random.pick(&["HWPREDICT", "MHWPREDICT"]);
        let archives = format!("RRA:AVERAGE:0.5:1:9 RRA:{kind}:12:0.1:0.01:{}", 2 + random.below(8));
        make(&mut rrdtool, &mut random, "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U", &archives);
        let old = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());
        let (rra, rows) = (random.below(6), 1 + random.below(9));
        let words = match random.below(5) {
            0 => format!("RRA#{rra}:+{rows}"),
            1 => format!("RRA#{rra}:-1"),
            2 => "DEL:a DS:new:GAUGE:5:0:1".to_owned(),
            3 => "DELRRA:5".to_owned(),
            _ => format!("RRA:HWPREDICT:9:0.2:0.02:4 RRA:MAX:0.5:2:{rows}"),
        };
        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, &words);
        let told = format!("LATMON_TEST_SEED={seed}, case {case}: {archives}: tune {words}");
        assert_eq!((&ours.0, &theirs.0), (&Ok(()), &Ok(())), "{told}");
        let [mut theirs, mut ours] = [theirs.1, ours.1].map(Parsed::new);
        // A new forecast that knows nothing is all zero there, which is an intercept and a trend, and not right ones.
        let archives = old.archives.len().min(ours.archives.len());
        let own_rows: Vec<_> = old.archives.iter().map(|archive| archive.rows).collect();
        let kept = if words.contains("DEL:") { 1 } else { 2 };
        for side in [&mut theirs, &mut ours] {
            blank(side, &old, kept, archives, &own_rows);
        }
        assert!(ours.bytes == theirs.bytes, "{told}: {:?}", differences(&ours.bytes, &theirs.bytes));
    }
}

const COMMANDS: &str = r#"
DEL:x
DEL:
DEL
DEL:b
DEL:b DEL:b
DS:a:GAUGE:60:0:U
DS:a:FOO:60:0:U
DS:z:GAUGE:60
DS:z:FOO:60:0:U
DS:
DS
DS:z:GAUGE:60:0:U DS:z:GAUGE:60:0:U
DS:z=a:GAUGE:60:0:U
DS:z:COMPUTE:a,b,+
DS:z:COMPUTE:q,2,*
DEL:b DS:b:DERIVE:60:0:U
DS:b:DERIVE:60:0:U DEL:b
DELRRA:2
DELRRA:3
DELRRA:-1
DELRRA:
DELRRA:+2
DELRRA:0 DELRRA:1 DELRRA:2
DELRRA:2 DELRRA:2
RRA#2:+
RRA#2:5
RRA#2:=5
RRA#2:=0
RRA#2:-3
RRA#2:-4
RRA#2:-5
RRA#9:+1
RRA#x:+1
RRA#2
RRA#
RRA#2:
RRA#2:+x
RRA#2:+0
RRA#2:*2
RRA#:+1
RRA#2:=
"RRA# 2:+1"
"RRA#2:+ 1"
RRA#99999999999:+1
RRA#2:+1 RRA#2:+2
RRA#2:-1 DELRRA:2
DELRRA:2 RRA#2:-1
RRA#3:+1 RRA:MAX:0.5:2:2
RRA:FOO:0.5:1:5
RRA:MAX:0.5:1h:1d
RRA:MAX:2:1:5
RRA:MAX
RRA:
del:a
foo
-h a:77 foo
-x 0.5 foo
DEL:a foo
foo DS:a:FOO
RRA:FOO DS:a:GAUGE:60:0:U
DELRRA:-1 RRA#2
-t 5 RRA#2:+0
-t 5
-t 3
-t 3 RRA#2:+0
-t 10 RRA#2:+0
-t 20 RRA#2:+0
-t 3 DS:a:GAUGE:60:0:U
-h a:77 -r b:q DEL:q
"#;

#[test]
fn words_are_told_about_as_rrdtool_tells_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    let archives = "RRA:AVERAGE:0.5:1:6 RRA:AVERAGE:0.5:3:4 RRA:MAX:0.5:3:4";
    make(&mut rrdtool, &mut Random::new(1, 1), "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U", archives);
    let made = fs::read(folder.join("made.rrd")).unwrap();
    for words in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, words);
        assert_eq!(ours.0, theirs.0, "{words}");
        // There the file is rewritten before the definition of a data source is found to be none.
        assert!(ours.0.is_ok() || ours.1 == made, "{words}: refused, and yet changed");
        assert!(ours.0.is_err() || ours.1.len() == theirs.1.len(), "{words}");
    }
}

/// What the original takes for something that it is not, or answers with a crash or a damaged file.
#[test]
fn words_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, archives) = (Rrdtool::start(folder), "RRA:AVERAGE:0.5:1:6 RRA:HWPREDICT:9:0.1:0.01:4");
    make(&mut rrdtool, &mut Random::new(1, 1), "DS:a:GAUGE:120:U:U DS:c:COMPUTE:a,2,*", archives);
    let made = fs::read(folder.join("made.rrd")).unwrap();
    for (words, told) in [
        ("DELRRA:x", "DELRRA requires a non-negative, integer argument"),
        ("DELRRA:2x", "DELRRA requires a non-negative, integer argument"),
        ("RRA#0:+-1", "Failed to parse RRA# command"),
        ("RRA#0:=-1", "Failed to parse RRA# command"),
        ("RRA#0:=0x5", "Failed to parse RRA# command"),
        ("RRA#0:+1h", "Failed to parse RRA# command"),
        (
            "RRA#0:+99999999999999999999",
            "the archives are too long: 9223372036854775813 rows of 1 steps of 10 seconds",
        ),
        ("RRA#0:+500000000000", "the archives are too long: 500000000006 rows of 1 steps of 10 seconds"),
        ("DEL:a", "data source 'a' cannot be deleted: 'c' is computed from it"),
        ("DEL:c DEL:a", "the last data source cannot be deleted"),
        ("DELRRA:2", "RRA 2 cannot be deleted: RRA 1 (HWPREDICT) works with it"),
        (
            "--step=5 RRA#0:+0",
            "the step of a file with forecasts cannot be changed: delete their archives first",
        ),
        ("--step=x RRA#0:+0", "step size: value must be (suffixed) positive number"),
        (
            "RRA:DEVPREDICT:5:1",
            "archive 6 (counted from 0) depends on an archive that is not there or of another kind",
        ),
    ] {
        let words: Vec<_> = ["tune", "made.rrd"].into_iter().chain(words.split(' ')).collect();
        assert_eq!(latmon(folder, &words), Err(told.to_owned()), "{words:?}");
        assert!(fs::read(folder.join("made.rrd")).unwrap() == made, "{words:?}");
    }
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["made.rrd"]);
}

/// `DELRRA:` of an archive that is not the last: there the others get the rows of their neighbours.
#[test]
fn an_archive_that_goes_takes_its_own_rows_along() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    for case in 0..10 {
        let mut random = Random::new(9, case);
        let archives = "RRA:MIN:0.5:2:5 RRA:AVERAGE:0.5:1:9 RRA:HWPREDICT:9:0.1:0.01:4 RRA:MAX:0.5:3:4";
        make(&mut rrdtool, &mut random, "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U", archives);
        let old = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());
        assert_eq!(latmon(folder, &["tune", "made.rrd", "DELRRA:0"]), Ok(vec![]));
        let new = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());
        assert_eq!(new.archives.len() + 1, old.archives.len());
        for rra in 0..new.archives.len() {
            assert_eq!(format!("{:?}", new.rows(rra)), format!("{:?}", old.rows(rra + 1)), "{rra}");
        }
        // The forecast and its seasons still know each other.
        let info = String::from_utf8(rrdtool.run(&["info", "made.rrd"]).unwrap()).unwrap();
        assert!(info.contains("rra[1].cf = \"HWPREDICT\""), "{info}");
        let dependency = |rra: usize| {
            let at = new.ds_def(new.ds_count) + 120 * rra + 40 + 3 * 8;
            u64::from_le_bytes(new.bytes[at..at + 8].try_into().unwrap())
        };
        assert_eq!([1, 2, 3, 4, 5].map(dependency), [2, 1, 1, 3, 3]);
        assert_eq!(latmon(folder, &["update", "made.rrd", "1700005000:1:2"]), Ok(vec![]));
    }
}

/// The original leaves an expression the indexes that its data sources had.
#[test]
fn a_computed_source_follows_those_that_it_is_computed_from() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    let sources = "DS:x:GAUGE:120:U:U DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U DS:c:COMPUTE:a,b,-";
    make(&mut rrdtool, &mut Random::new(1, 1), sources, "RRA:LAST:0.5:1:5");
    let words = ["tune", "made.rrd", "DEL:x", "DS:d:COMPUTE:c,a,+", "DS:e:GAUGE:120:U:U"];
    assert_eq!(latmon(folder, &words), Ok(vec![]));
    for at in ["1700005000", "1700005010"] {
        rrdtool.run(&["update", "made.rrd", &format!("{at}:70:20:5")]).unwrap();
    }
    let new = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());
    assert_eq!(new.rows(0)[4], [70.0, 20.0, 50.0, 120.0, 5.0]);
}

/// An archive that is added has what it would have had from the beginning, as far as a finer one reaches back, and goes
/// on so: what is open is there, too. In the original the open row begins with a whole row too much, or too little.
#[test]
fn an_added_archive_goes_on_as_if_it_had_been_there() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(60) {
        let mut random = Random::new(seed, case);
        let cf = random.pick(&["AVERAGE", "MIN", "MAX", "LAST"]);
        let added = format!("RRA:{cf}:0.99:{}:{}", 1 + random.below(9), 1 + random.below(12));
        let create = |name: &str, more: &str| {
            let start = START + case as i64 % 10;
            format!("create {name} -b {start} -s {STEP} DS:a:GAUGE:120:U:U RRA:AVERAGE:0.5:1:90 {more}")
        };
        let (later, before) = (1 + random.below(40), 1 + random.below(40));
        let mut at = START + STEP;
        let mut readings = |count: u64| {
            let reading = |_| {
                at += STEP;
                // With its last step unknown such a row is unknown, though others in it are known.
                let unknown = cf != "LAST" && random.one_in(5);
                let number = random.below(100_000) as f64 / 64.0 - 300.0;
                if unknown { format!("{at}:U") } else { format!("{at}:{number}") }
            };
            (0..count).map(reading).collect::<Vec<_>>().join(" ")
        };
        let (before, later) = (readings(before), readings(later));
        for words in [
            create("grown.rrd", ""),
            format!("update grown.rrd {before}"),
            create("born.rrd", &added),
            format!("update born.rrd {before} {later}"),
        ] {
            rrdtool.run(&[&words]).unwrap();
        }
        latmon.run(&["tune", "grown.rrd", &added]).unwrap();
        rrdtool.run(&["update", "grown.rrd", &later]).unwrap();
        let [grown, born] =
            ["grown.rrd", "born.rrd"].map(|name| Parsed::new(fs::read(folder.join(name)).unwrap()).rows(1));
        let told = format!("LATMON_TEST_SEED={seed}, case {case}: {added}: {before} tuned {later}");
        assert_eq!(format!("{grown:?}"), format!("{born:?}"), "{told}");
    }
}

/// Where the open row is not empty, nothing in it is unknown and there is one data source, the original gets it right: what
/// is collected, the newest row, the last value before the open row.
#[test]
fn the_open_row_of_an_added_archive_is_rrdtools_where_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..60 {
        let mut random = Random::new(5, case);
        let create = "create made.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:U:U RRA:AVERAGE:0.5:1:60";
        rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
        let steps = 20 + random.below(30) as i64;
        let reading = |step| format!("{}:{}", START + STEP * step, random.below(1_000_000) as f64 / 64.0);
        let readings: Vec<_> = (1..=steps).map(reading).collect();
        rrdtool.run(&["update", "made.rrd", &readings.join(" ")]).unwrap();
        let pdps = 2 + random.below(7) as i64;
        if (START / STEP + steps) % pdps == 0 {
            continue;
        }
        let words =
            format!("RRA:{}:0.5:{pdps}:{}", random.pick(&["AVERAGE", "MAX", "LAST"]), 1 + random.below(5));
        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, &words);
        assert_eq!((&ours.0, &theirs.0), (&Ok(()), &Ok(())), "{words}");
        assert!(ours.1 == theirs.1, "case {case}: {words}: {:?}", differences(&ours.1, &theirs.1));
    }
}

/// With a shorter step what is open is counted anew; the original leaves it, and the next rows are too low.
#[test]
fn a_shorter_step_changes_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..40 {
        let mut random = Random::new(3, case);
        let create = "create f.rrd -b 1700000000 -s 60 DS:a:GAUGE:600:U:U RRA:AVERAGE:0.5:1:20 RRA:AVERAGE:0.5:3:9 \
                      RRA:MAX:0.5:2:9 RRA:MIN:0.5:2:9 RRA:LAST:0.5:4:9";
        rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
        let mut at = START;
        let mut update = |rrdtool: &mut Rrdtool, until: i64, random: &mut Random| {
            while at < until {
                at += 1 + random.below(70) as i64;
                rrdtool.run(&["update", "f.rrd", &format!("{at}:100")]).unwrap();
            }
        };
        update(&mut rrdtool, START + 600, &mut random);
        let step = random.pick(&["30", "20", "15", "1", "12s"]);
        latmon.run(&["tune", "f.rrd", "-t", step, "RRA#0:+0"]).unwrap();
        update(&mut rrdtool, START + 1800, &mut random);
        let new = Parsed::new(fs::read(folder.join("f.rrd")).unwrap());
        assert!(new.step < 60);
        for rra in 0..new.archives.len() {
            let rows = new.rows(rra);
            let wrong = rows.iter().skip(1).find(|row| (row[0] - 100.0).abs() > 1e-9);
            assert_eq!(wrong, None, "case {case}, step {step}, archive {rra}: {rows:?}");
        }
    }
}

/// A file of version 1 has no microseconds, and none after it was reshaped.
#[test]
fn an_old_version_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let archives = "RRA:AVERAGE:0.5:1:9 RRA:MAX:0.5:3:4";
    make(
        &mut Rrdtool::start(folder),
        &mut Random::new(1, 1),
        "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U",
        archives,
    );
    let as_first = |bytes: Vec<u8>| {
        let live = Parsed::new(bytes.clone()).pdp(0) - 16;
        let mut first = bytes;
        first[7] = b'1';
        first.drain(live + 8..live + 16);
        first
    };
    let old = as_first(fs::read(folder.join("made.rrd")).unwrap());
    fs::write(folder.join("old.rrd"), old).unwrap();
    for name in ["made.rrd", "old.rrd"] {
        let words = ["tune", name, "DEL:a", "DS:c:GAUGE:5:0:1", "RRA#0:+3", "RRA:MIN:0.5:2:5"];
        assert_eq!(latmon(folder, &words), Ok(vec![]));
    }
    let [made, old] = ["made.rrd", "old.rrd"].map(|name| fs::read(folder.join(name)).unwrap());
    assert!(as_first(made) == old);
}

/// Whatever a header says, `tune` and `resize` answer, and what they write can be read.
#[test]
fn damaged_files_are_refused_or_stay_readable() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    let archives = "RRA:AVERAGE:0.5:1:9 RRA:MAX:0.5:3:4 RRA:HWPREDICT:9:0.1:0.01:4";
    let sources = "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U DS:c:COMPUTE:a,b,+";
    make(&mut rrdtool, &mut Random::new(1, 1), sources, archives);
    let made = fs::read(folder.join("made.rrd")).unwrap();
    let mut done = 0;
    for case in 0..cases(500) {
        let mut random = Random::new(seed, case);
        let mut bytes = made.clone();
        for _ in 0..1 + random.below(3) {
            let end = random.pick(&[60, 1400, 4000, made.len() as u64]);
            let (at, any) = (random.below(end) as usize, random.next() as u8);
            bytes[at] = random.pick(&[0, 1, 0x7f, 0xff, any]);
        }
        fs::write(folder.join("f.rrd"), bytes).unwrap();
        let words = random.pick(&[
            "tune f.rrd RRA#1:+3 DS:n:GAUGE:5:0:1 DEL:c",
            "tune f.rrd RRA:MAX:0.5:7:9 RRA:AVERAGE:0.5:1000:2 DELRRA:0",
            "tune f.rrd -t 5 DELRRA:2 DELRRA:3 DELRRA:4 DELRRA:5 DELRRA:6",
            "tune f.rrd -b a -w 28 -s 0.1 -x 0.5",
            "resize f.rrd 1 GROW 3",
            "resize f.rrd 0 SHRINK 3",
        ]);
        if latmon.run(&[words]).is_ok() {
            let written = if words.starts_with("resize") { "resize.rrd" } else { "f.rrd" };
            let dumped = latmon.run(&["dump", written]);
            assert!(dumped.is_ok(), "LATMON_TEST_SEED={seed}, case {case}: {words}: {dumped:?}");
            done += 1;
        }
    }
    assert!(done > cases(500) / 3, "{done}");
}

fn differences(ours: &[u8], theirs: &[u8]) -> Vec<usize> {
    let pairs = ours.chunks(8).zip(theirs.chunks(8)).enumerate();
    pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(word, _)| 8 * word).take(20).collect()
}
