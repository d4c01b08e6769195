//! `latmon rrd create --template` and `--source` against `rrdtool create`: the same sources make the same archive.
//!
//! In two cases ours differs on purpose, and the random ones keep clear of them: rrdtool miscounts pieces of a row of
//! one second (so all times that rows begin and end at are even), and does not see an archive of which a row needs all
//! rows (so every archive has more).
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::path::Path;

use latmon::rrd;
use latmon::time::Step;
use support::rrdtool::{Random, Rrdtool, cases, seed};

const STEPS: [u64; 4] = [10, 20, 14, 30];
const CFS: [&str; 4] = ["AVERAGE", "MIN", "MAX", "LAST"];
const TYPES: [&str; 5] = ["GAUGE", "GAUGE", "GAUGE", "COUNTER", "DERIVE"];

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Makes a source with readings, and returns its last update and how it was made.
fn make_source(rrdtool: &mut Rrdtool, random: &mut Random, name: &str, steps: &[u64]) -> (u64, String) {
    let step = random.pick(steps);
    let mut time = 1_700_000_000 + random.below(300);
    let mut line = format!("create {name} -s {step} -b {time}");
    let sources = 1 + random.below(3);
    for index in 0..sources {
        let (ds_type, heartbeat) = (random.pick(&TYPES), random.pick(&[step, 2 * step, 1000]));
        line += &match random.below(8) {
            0 if index > 0 => format!(" DS:d{index}:COMPUTE:d0,2,*"),
            _ => format!(" DS:d{index}:{ds_type}:{heartbeat}:U:U"),
        };
    }
    for _ in 0..1 + random.below(4) {
        let (cf, xff, pdps) =
            (random.pick(&CFS), random.pick(&["0", "0.5", "0.9"]), random.pick(&[1, 1, 1, 2, 3, 5, 6]));
        line += &format!(" RRA:{cf}:{xff}:{pdps}:{}", 18 + random.below(30));
    }
    if random.one_in(10) {
        line += " RRA:HWPREDICT:20:0.1:0.01:6";
    }
    rrdtool.run(&words(&line)).unwrap();
    let computed = line.matches(":COMPUTE:").count() as u64;
    let mut readings = format!("update {name}");
    for _ in 0..1 + random.below(30) {
        time += match random.below(6) {
            0 => 1 + random.below(2 * step),
            1 => 1 + random.below(12 * step),
            2 => step - time % step,
            _ => step,
        };
        readings += &format!(" {time}");
        for _ in 0..sources - computed {
            // Whole numbers are readings of every type.
            readings += &match random.below(6) {
                0 => random.pick(&[":U", ":UNKN"]).to_owned(),
                _ => format!(":{}", random.below(10_000_000)),
            };
        }
    }
    rrdtool.run(&words(&readings)).unwrap();
    (time, format!("{line}\n{readings}\n"))
}

/// A random command that takes something over, without the word `create` and the file.
fn command(random: &mut Random, sources: u64, last: u64, steps: &[u64]) -> String {
    let mut line = String::new();
    let with_template = random.one_in(4);
    if with_template {
        line += &format!(" -t s{}.rrd", random.below(sources));
    }
    if !with_template || !random.one_in(4) {
        for index in 0..sources {
            line += &format!(" -r s{index}.rrd");
        }
    }
    if !with_template || random.one_in(2) {
        line += &format!(" -s {}", random.pick(steps));
    }
    if random.one_in(2) || !line.contains("-r ") {
        line += &format!(" -b {}", last + random.below(60) - random.below(400));
    }
    let more = random.below(3) + u64::from(!with_template);
    for index in 0..more {
        let name = random.below(4);
        let name = match random.below(6) {
            0 => format!("x{index}=d{name}"),
            1 => format!("x{index}=d{name}[{}]", random.below(4)),
            _ if with_template => format!("y{index}=d{name}"),
            _ => format!("d{index}"),
        };
        line += &format!(" DS:{name}:{}:{}:U:U", random.pick(&TYPES), 1 + random.below(100));
    }
    if with_template && random.one_in(2) {
        return line;
    }
    for _ in 0..1 + random.below(4) {
        let (cf, xff) = (random.pick(&CFS), random.pick(&["0", "0.25", "0.5", "0.9", "nan"]));
        let (pdps, rows) = (random.pick(&[1, 1, 2, 3, 4, 5]), random.pick(&[1, 2, 3, 4, 5, 8, 10, 20, 40]));
        line += &format!(" RRA:{cf}:{xff}:{pdps}:{rows}");
    }
    if random.one_in(10) {
        line += " RRA:MHWPREDICT:12:0.1:0.01:6";
    }
    line
}

#[test]
fn random_sources_make_the_archive_that_rrdtool_makes() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder.path()), Rrdtool::start_latmon(folder.path()));
    for case in 0..cases(120) {
        let mut random = Random::new(seed, case);
        // With one step for all, open data points can be taken over.
        let one = [random.pick(&STEPS)];
        let steps = if random.one_in(3) { &one[..] } else { &STEPS };
        let sources = 1 + random.below(3);
        let made: Vec<(u64, String)> = (0..sources)
            .map(|index| make_source(&mut rrdtool, &mut random, &format!("s{index}.rrd"), steps))
            .collect();
        for _ in 0..3 {
            let last = made[random.below(sources) as usize].0;
            let command = command(&mut random, sources, last, steps);
            let how: String = made.iter().map(|(_, how)| how.as_str()).collect();
            let told = format!("LATMON_TEST_SEED={seed}, case {case}:\n{how}create{command}");
            // One name for both: it decides when a season is smoothed.
            let [theirs, ours] = [&mut rrdtool, &mut latmon].map(|side| {
                let made = side.run(&words(&format!("create f.rrd {command}")));
                let _ = fs::rename(folder.path().join("f.rrd"), folder.path().join("made.rrd"));
                (made, rrdtool_dump(folder.path()))
            });
            assert_eq!(ours.0, theirs.0, "{told}");
            assert!(ours.1 == theirs.1, "{told}\n{}", difference(&theirs.1, &ours.1));
        }
    }
}

/// What is in the file, as exactly as the XML has it, and the bits of what the XML leaves out.
fn rrdtool_dump(folder: &Path) -> String {
    let bytes = fs::read(folder.join("made.rrd")).unwrap_or_default();
    let Ok(rrd) = rrd::Rrd::new_checked(bytes) else { return "no archive".to_owned() };
    let mut text = format!("{} {} {:?}\n", rrd.version(), rrd.step(), rrd.last_update());
    for ds in rrd.data_sources() {
        text += &format!("{ds:?} {:x}\n", ds.pdp.value.to_bits());
    }
    for (index, rra) in rrd.archives().enumerate() {
        let rra = rrd::Rra { cur_row: 0, ..rra };
        text += &format!("{rra:?}\n");
        for ds in 0..rrd.ds_count() {
            let cdp = rrd.cdp(index, ds).unwrap();
            text += &format!("{ds} {cdp:?} {:x} {:x}\n", cdp.value.to_bits(), cdp.primary.to_bits());
        }
        let newest = rrd.archives().nth(index).unwrap().cur_row;
        for row in (newest + 1..rra.rows).chain(0..=newest) {
            for value in rrd.row(index, row).unwrap().values() {
                text += &format!("{value} {:x} ", value.to_bits());
            }
            text.push('\n');
        }
    }
    text
}

fn difference(theirs: &str, ours: &str) -> String {
    let differs = theirs.lines().zip(ours.lines()).enumerate().filter(|(_, (a, b))| a != b);
    differs.take(5).map(|(line, (a, b))| format!("line {line}\n  theirs {a}\n  ours   {b}\n")).collect()
}

const COMMANDS: &str = "
f.rrd -r nix.rrd DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r . DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r junk DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r junk DS:a:GAUGE:9:U:U
f.rrd -r junk foo
f.rrd -r junk -b 5000000
f.rrd -r s.rrd -r junk DS:a=b[7]:GAUGE:1:U:U RRA:AVERAGE:0:1:5
f.rrd -r
f.rrd -t
f.rrd -t nix.rrd DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -t junk DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -t junk foo
f.rrd -t junk -s 0
f.rrd -t junk -b foo
f.rrd -t junk -r nix.rrd -b foo
f.rrd -t s.rrd -t s.rrd
f.rrd -t s.rrd foo
f.rrd -t s.rrd DS:a:GAUGE:9:U:U
f.rrd -t s.rrd DS:c=a:COMPUTE:a,2,* RRA:MAX:0.5:40s:400s
f.rrd -t s.rrd -s 5 RRA:MAX:0.5:40s:400s
f.rrd --template s.rrd --source=s.rrd
f.rrd --template=s.rrd -s 4 -r s.rrd
f.rrd -r s.rrd -s 20 DS:y=a[1]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[01]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[0]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[99999999999999999999]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[4294967297]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[]:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:y=a[1]z:GAUGE:9:U:U RRA:AVERAGE:0:1:5
f.rrd -r s.rrd -s 20 DS:a:GAUGE:9:U:U DS:b=a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
s.rrd -O -r junk
s.rrd -O -t junk
s.rrd -r s.rrd -s 4 DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:5
-r s.rrd
";

#[test]
fn commands_are_answered_as_rrdtool_answers_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder.path()), Rrdtool::start_latmon(folder.path()));
    fs::write(folder.path().join("junk"), [b'x'; 300]).unwrap();
    let create =
        "create made.rrd -b 1700000000 -s 20 DS:a:GAUGE:100:U:U RRA:AVERAGE:0.5:1:30 RRA:MAX:0.5:3:20";
    rrdtool.run(&words(create)).unwrap();
    rrdtool.run(&words("update made.rrd 1700000020:1 1700000040:5 1700000059.25:3")).unwrap();
    let source = fs::read(folder.path().join("made.rrd")).unwrap();
    let mut done = 0;
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let [theirs, ours] = [&mut rrdtool, &mut latmon].map(|side| {
            fs::write(folder.path().join("s.rrd"), &source).unwrap();
            let _ = fs::remove_file(folder.path().join("f.rrd"));
            let answer = side.run(&words(&format!("create {line}")));
            let name = if line.starts_with('s') { "s.rrd" } else { "f.rrd" };
            let _ = fs::rename(folder.path().join(name), folder.path().join("made.rrd"));
            (answer, rrdtool_dump(folder.path()))
        });
        assert_eq!(ours.0, theirs.0, "{line}");
        assert!(ours.1 == theirs.1, "{line}\n{}", difference(&theirs.1, &ours.1));
        done += u64::from(ours.0.is_ok());
    }
    assert!(done > 10, "{done}");
}

/// Whatever a source's bytes are, it is refused or taken over: nothing panics, and nothing takes long.
#[test]
fn damaged_sources_do_no_harm() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let mut rrdtool = Rrdtool::start(folder.path());
    let mut taken = 0;
    for case in 0..cases(400) {
        let mut random = Random::new(seed, case);
        if case % 20 == 0 {
            make_source(&mut rrdtool, &mut random, "s.rrd", &STEPS);
        }
        let mut bytes = fs::read(folder.path().join("s.rrd")).unwrap();
        for _ in 0..1 + random.below(3) {
            // A word of the header becomes small, huge, or the next power of two.
            let at = 16 + 8 * random.below(60) as usize;
            let word = random.pick(&[0, 1, 7, u64::MAX, 1 << 42, 1 << 31, i64::MAX as u64, 1 << 63]);
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let Ok(rrd) = rrd::Rrd::new_checked(&bytes[..]) else { continue };
        taken += 1;
        let mut definition = rrd::Definition::like(&rrd);
        definition.archives.iter_mut().for_each(|archive| archive.rows = archive.rows.min(50));
        for manner in [rrd::Manner::Original, rrd::Manner::Faithful, rrd::Manner::RowsOnly] {
            let sources = [rrd::Source { rrd, manner }];
            let inheritance = rrd::Inheritance { sources: &sources, ..rrd::Inheritance::default() };
            for _ in 0..2 {
                if let Ok(image) = rrd::image_from(&definition, inheritance) {
                    rrd::Rrd::new_checked(image).unwrap();
                }
                definition.step = Step::new(1 + random.below(50) as u32).unwrap();
            }
        }
    }
    assert!(taken > 50, "{taken}");
}

/// Where the original loses what there is: steps of one second, and an archive of which a row needs every row.
#[test]
fn nothing_is_lost_of_short_steps_and_of_short_archives() {
    let folder = tempfile::tempdir().unwrap();
    let latmon = |line: &str| support::rrdtool::latmon(folder.path(), &words(line)).unwrap();
    let secs = 1..=40;
    latmon("create s.rrd -s 1 -b 1700000000 DS:a:GAUGE:9:U:U RRA:AVERAGE:0:1:40 RRA:MAX:0:20:2");
    let readings: String = secs.map(|second| format!(" {}:{second}", 1_700_000_000 + second)).collect();
    latmon(&format!("update s.rrd{readings}"));
    latmon("create t.rrd -r s.rrd -s 10 DS:a:GAUGE:20:U:U RRA:AVERAGE:0.9:1:4 RRA:MAX:0:4:1 RRA:MIN:0.9:4:1");
    let fetched = |cf: &str, resolution: u64| {
        let rows = latmon(&format!("fetch t.rrd {cf} -r {resolution} -s 1700000000 -e 1700000039"));
        let rows = String::from_utf8(rows).unwrap();
        rows.lines().filter_map(|line| line.split_once(": ")?.1.parse().ok()).collect::<Vec<f64>>()
    };
    assert_eq!(fetched("AVERAGE", 10), [5.5, 15.5, 25.5, 35.5]);
    assert_eq!((fetched("MAX", 40), fetched("MIN", 40)), (vec![40.0], vec![1.0]));
}
