//! Archives of 32-bit machines. Those in the fixtures were made by rrdtool on such machines, and so were the texts that
//! it printed of them (`fixtures/rrd/make-32bit.sh`); the rrdtool of this machine cannot read them.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::path::{Path, PathBuf};

use latmon::rrd::{Access, File};
use support::rrdtool::{Random, Rrdtool, cases, latmon, seed};

const MACHINES: [&str; 3] = ["i386", "armhf", "armhf-t64"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rrd")
}

/// Runs a verb in the zone of the fixtures.
fn run(folder: &Path, words: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_latmon"));
    let output = command.arg("rrd").args(words).current_dir(folder).env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rrdtool of a 32-bit machine dumps one digit less of a number; nothing else may differ.
fn assert_same_dump(ours: &str, theirs: &str) {
    let split =
        |text: &str| text.split_inclusive([' ', '<', '>', '\n']).map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (split(ours), split(theirs));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let number = |token: &str| {
            let number = token.trim_end_matches([' ', '<']);
            number.contains('e').then(|| number.parse::<f64>().ok()).flatten()
        };
        match (number(ours), number(theirs)) {
            (Some(ours), Some(theirs)) => {
                assert!((ours - theirs).abs() <= 1e-9 * ours.abs(), "{ours} {theirs}")
            }
            _ => assert_eq!(ours, theirs),
        }
    }
}

#[test]
fn they_are_told_in_the_words_of_their_own_rrdtool() {
    for machine in MACHINES {
        let file = format!("{machine}.rrd");
        let told = |verb: &str, more: &[&str]| run(&fixtures(), &[&[verb, &file], more].concat());
        let expected = |verb: &str| fs::read_to_string(fixtures().join(format!("{machine}.{verb}"))).unwrap();
        assert_same_dump(&told("dump", &[]), &expected("dump"));
        assert_eq!(told("lastupdate", &[]), expected("lastupdate"));
        // On an ARM the sign of what is unknown is another, and printed there.
        let span = ["AVERAGE", "-s", "1700000100", "-e", "1700000240"];
        assert_eq!(told("fetch", &span), expected("fetch").replace(" nan", " -nan"));
        // The size is that of the header as it would be here.
        let without_size = |text: &str| {
            text.lines()
                .filter(|line| !line.starts_with("header_size"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(without_size(&told("info", &[])), without_size(&expected("info")));
        assert_eq!(told("last", &[]), "1700000242\n");
        assert_eq!(told("first", &[]), "1700000160\n");
    }
}

#[test]
fn dump_and_restore_move_them_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for machine in MACHINES {
        fs::copy(fixtures().join(format!("{machine}.rrd")), folder.join("old.rrd")).unwrap();
        assert_eq!(latmon(folder, &["dump", "old.rrd", "moved.xml"]), Ok(vec![]));
        // The rrdtool of this machine reads what it dumps, and dumps what it read.
        let mut rrdtool = Rrdtool::start(folder);
        rrdtool.run(&["restore -f moved.xml new.rrd"]).unwrap();
        let dumped = rrdtool.run(&["dump new.rrd"]).unwrap();
        assert!(dumped == fs::read(folder.join("moved.xml")).unwrap());
    }
}

#[test]
fn they_are_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for machine in MACHINES {
        let made = fs::read(fixtures().join(format!("{machine}.rrd"))).unwrap();
        fs::write(folder.join("old.rrd"), &made).unwrap();
        let refused = "'old.rrd' was made on a 32-bit machine and can only be read: \
                       latmon rrd dump old.rrd | latmon rrd restore - NEW.rrd moves it over";
        for words in [
            &["update", "old.rrd", "1700009999:1:2:3:4:5:6"][..],
            &["tune", "old.rrd", "-h", "gauge:5"],
            &["tune", "old.rrd", "RRA#0:+5"],
        ] {
            assert_eq!(latmon(folder, words), Err(refused.to_owned()), "{words:?}");
        }
        assert!(File::open(folder.join("old.rrd"), Access::Write).is_err());
        assert!(fs::read(folder.join("old.rrd")).unwrap() == made);
    }
}

/// In versions 1 and 2 `live_head` has the seconds alone. A file that is longer than it says is read as well.
#[test]
fn old_and_longer_ones_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.rrd");
    let dump = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(folder.path(), &["dump", "old.rrd"])
    };
    for (machine, head, counts, rra_def) in [("i386", 112, 20, 108), ("armhf", 120, 24, 112)] {
        let made = fs::read(fixtures().join(format!("{machine}.rrd"))).unwrap();
        let count = |at: usize| u32::from_le_bytes(made[at..at + 4].try_into().unwrap()) as usize;
        let live = head + 120 * count(counts) + rra_def * count(counts + 4);
        let expected = dump(&made);
        let with_live_head = |bytes: &[u8]| [&made[..live], bytes, &made[live + 8..]].concat();
        let secs = &made[live..live + 4];
        assert_eq!(dump(&[&made[..], &[7; 100]].concat()), expected);
        let [first, third] =
            [(with_live_head(secs), b"0001"), (made.clone(), b"0003")].map(|(mut bytes, version)| {
                bytes[4..8].copy_from_slice(version);
                dump(&bytes)
            });
        assert_eq!(first, third);
    }
}

#[test]
fn damaged_ones_are_refused_and_nothing_worse() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("old.rrd");
    let machines = MACHINES.map(|machine| fs::read(fixtures().join(format!("{machine}.rrd"))).unwrap());
    let look = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut file = File::open(&path, Access::Read)?;
        let view = file.view()?;
        latmon::rrd::dump(&view, latmon::rrd::Header::None, &mut std::io::sink()).unwrap();
        Ok::<_, latmon::rrd::Error>(())
    };
    for made in &machines {
        for len in (0..made.len()).step_by(97) {
            assert!(look(&made[..len]).is_err(), "cut to {len} bytes");
        }
    }
    let mut opened = 0;
    for case in 0..cases(1000) {
        let mut random = Random::new(seed, case);
        let mut bytes = machines[random.below(3) as usize].clone();
        for _ in 0..1 + random.below(4) {
            // Most of the header matters, and its beginning the most.
            let end = random.pick(&[40, 200, 3000, bytes.len() as u64]);
            let at = random.below(end) as usize;
            let any = random.next() as u8;
            bytes[at] = random.pick(&[0, 1, 0x7f, 0xff, any]);
        }
        opened += u64::from(look(&bytes).is_ok());
    }
    assert!(opened > cases(1000) / 10, "{opened}");
}
