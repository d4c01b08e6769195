//! `latmon rrd resize` against `rrdtool resize`: the same arguments make the same `resize.rrd`.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod files;
    pub(crate) mod rrdtool;
}

use std::fs;
use std::path::Path;

use support::files::as_version;
use support::rrdtool::{Answer, Random, Rrdtool, cases, latmon, seed};

/// Makes a file of one to three sources and a few archives, and fills some of its rows.
fn make(rrdtool: &mut Rrdtool, random: &mut Random) -> Vec<u64> {
    let sources = 1 + random.below(3);
    let mut create = "create made.rrd -b 1700000000 -s 10".to_owned();
    (0..sources).for_each(|ds| create += &format!(" DS:d{ds}:GAUGE:120:U:U"));
    let mut rows: Vec<u64> = (0..1 + random.below(3)).map(|_| 1 + random.below(12)).collect();
    for rows in &rows {
        create +=
            &format!(" RRA:{}:0.5:{}:{rows}", random.pick(&["AVERAGE", "MAX", "LAST"]), 1 + random.below(3));
    }
    if random.one_in(3) {
        // Its season has 4 rows; it brings them along, and DEVSEASONAL, DEVPREDICT and FAILURES.
        create += random.pick(&[" RRA:HWPREDICT:9:0.1:0.01:4", " RRA:MHWPREDICT:9:0.1:0.01:4"]);
        rows.extend([9, 4, 4, 9, 4]);
    }
    rrdtool.run(&[&create]).unwrap();
    for step in 1..=random.below(20) {
        let readings: String = (0..sources).map(|_| format!(":{}", random.below(1000))).collect();
        rrdtool.run(&["update", "made.rrd", &format!("{}{readings}", 1_700_000_003 + 10 * step)]).unwrap();
    }
    rows
}

/// Runs `resize WORDS`, and takes what it made away.
fn resized(folder: &Path, side: &mut Rrdtool, words: &str) -> (Answer, Option<Vec<u8>>) {
    let answer = side.run(&["resize", words]);
    let made = fs::read(folder.join("resize.rrd")).ok();
    let _ = fs::remove_file(folder.join("resize.rrd"));
    (answer, made)
}

#[test]
fn random_sizes_make_the_bytes_that_rrdtool_makes() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(200) {
        let mut random = Random::new(seed, case);
        let rows = make(&mut rrdtool, &mut random);
        let rra = random.below(rows.len() as u64 + 1);
        let words = match rows.get(rra as usize) {
            Some(rows) if random.one_in(2) => {
                format!("made.rrd {rra} SHRINK {}", 1 + random.below(*rows + 1))
            }
            _ => format!("made.rrd {rra} GROW {}", 1 + random.below(20)),
        };
        let theirs = resized(folder, &mut rrdtool, &words);
        let ours = resized(folder, &mut latmon, &words);
        assert!(
            ours == theirs,
            "LATMON_TEST_SEED={seed}, case {case}: {words}: {:?}, {:?}",
            ours.0,
            theirs.0
        );
    }
}

const COMMANDS: &str = r#"
made.rrd
made.rrd 0
made.rrd 0 GROW
made.rrd 0 GROW 1 2
made.rrd 9 GROW 1
made.rrd x GROW 1
made.rrd 0x GROW 1
made.rrd 0 grow 1
made.rrd 0 GROWX 1
made.rrd 0 GROW 0
made.rrd 0 GROW x
made.rrd 0 GROW -1
made.rrd 0 GROW 1x
made.rrd 0 GROW 1.5
made.rrd 0 SHRINK 100
made.rrd -1 GROW 1
made.rrd 99999999999999999999 GROW 1
made.rrd 9 FOO 1
made.rrd 0 -x 1
-x made.rrd 0 GROW 1
made.rrd -- 0 GROW 1
nofile 0 GROW 1
nofile x FOO 1
resize.rrd 0 GROW 1
resize.rrd 0 FOO 1
resize.rrd 0 GROW 0
"#;

#[test]
fn arguments_are_told_about_as_rrdtool_tells_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    make(&mut rrdtool, &mut Random::new(1, 1));
    for words in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let theirs = resized(folder, &mut rrdtool, words);
        let ours = resized(folder, &mut latmon, words);
        assert!(ours == theirs, "{words}: {:?}, {:?}", ours.0, theirs.0);
    }
}

/// Of versions that it does not know the original leaves half a file; of version 1, which has no microseconds, it makes
/// one that is 8 bytes too short. Version 4 differs in nothing that matters here.
#[test]
fn versions_are_those_of_rrdtool_and_none_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    make(&mut rrdtool, &mut Random::new(1, 1));
    let third = fs::read(folder.join("made.rrd")).unwrap();
    assert_eq!(latmon(folder, &["resize", "made.rrd", "0", "GROW", "5"]), Ok(vec![]));
    let grown = fs::read(folder.join("resize.rrd")).unwrap();
    for version in ["0001", "0004"] {
        fs::write(folder.join("other.rrd"), as_version(third.clone(), version)).unwrap();
        assert_eq!(latmon(folder, &["resize", "other.rrd", "0", "GROW", "5"]), Ok(vec![]));
        assert!(fs::read(folder.join("resize.rrd")).unwrap() == as_version(grown.clone(), version));
    }
    fs::remove_file(folder.join("resize.rrd")).unwrap();
    for version in ["0000", "0002", "0005"] {
        fs::write(folder.join("other.rrd"), as_version(third.clone(), version)).unwrap();
        let told = format!("Do not know how to handle RRD version {version}");
        for side in [
            latmon(folder, &["resize", "other.rrd", "0", "GROW", "5"]),
            rrdtool.run(&["resize other.rrd 0 GROW 5"]),
        ] {
            assert_eq!(side, Err(told.clone()));
        }
    }
}
