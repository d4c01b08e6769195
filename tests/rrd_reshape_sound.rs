//! `latmon rrd tune` with `DS:`, `DEL:`, `RRA:`, `DELRRA:` and `RRA#` where `rrdtool tune` leaves a file that nobody
//! could mean, crashes, or takes words for what they are not.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod parsed;
    pub(crate) mod rrdtool;
}

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use support::parsed::{Parsed, START, STEP, both, differences, make};
use support::rrdtool::{Random, Rrdtool, cases, latmon, seed};

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

/// Where the open row is not empty, nothing in it is unknown and there is one data source, the original gets it right:
/// what is collected, the newest row, the last value before the open row.
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

/// The new file is the old one's owner's, has its mode, and is where a link leads that is tuned. There it is of whoever
/// ran it, and in the place of the link.
#[test]
fn owner_mode_and_link_stay() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make(&mut Rrdtool::start(folder), &mut Random::new(1, 1), "DS:a:GAUGE:120:U:U", "RRA:AVERAGE:0.5:1:9");
    let file = folder.join("made.rrd");
    std::os::unix::fs::chown(&file, Some(65534), Some(65534))
        .expect("this test gives a file away: run it as root");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("made.rrd", folder.join("link.rrd")).unwrap();
    let before = fs::metadata(&file).unwrap();
    assert_eq!(latmon(folder, &["tune", "link.rrd", "RRA#0:+9"]), Ok(vec![]));
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    assert!(after.len() > before.len());
    assert!(folder.join("link.rrd").is_symlink());
}
