//! `latmon rrd tune` against `rrdtool tune`: the same commands on copies of one file leave the same bytes.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::path::Path;

use support::rrdtool::{Random, Rrdtool, cases, seed};

/// A file of two sources, the readings of the second long.
fn make(rrdtool: &mut Rrdtool) {
    let create = "create made.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:0:U DS:b-long_name:COUNTER:120:0:100 \
                  RRA:AVERAGE:0.5:1:3 RRA:MAX:0.5:3:4";
    rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
    rrdtool.run(&["update", "made.rrd", "1700000015:3:12345678901234567890"]).unwrap();
}

/// Runs `tune FILE WORDS` on a copy for each, and returns ours of the answers.
fn same(folder: &Path, rrdtool: &mut Rrdtool, latmon: &mut Rrdtool, line: &str) -> Result<(), String> {
    let [theirs, ours] = [rrdtool, latmon].map(|side| {
        fs::copy(folder.join("made.rrd"), folder.join("f.rrd")).unwrap();
        let answer = side.run(&["tune", line]).map(|text| assert_eq!(text, b"", "{line}"));
        (answer, fs::read(folder.join("f.rrd")).unwrap())
    });
    assert_eq!(ours.0, theirs.0, "{line}");
    assert!(ours.0.is_err() || ours.1 == theirs.1, "{line}: the files differ");
    if ours.0.is_err() {
        assert!(ours.1 == fs::read(folder.join("made.rrd")).unwrap(), "{line}: refused, and yet changed");
    }
    ours.0
}

const COMMANDS: &str = r#"
f.rrd
f.rrd -h a:60
-h a:60 f.rrd
f.rrd -h b-long_name:60 -h a:5
f.rrd --heartbeat a:60 --minimum=a:1 --maximum a:9 --data-source-type a:DERIVE --data-source-rename a:z
f.rrd -ha:60
f.rrd -h x:60
f.rrd -h a:60 -h x:5
f.rrd -h x:5 -h a
f.rrd -h a
f.rrd -h a:
f.rrd -h a:x
f.rrd -h a:-
f.rrd -h :5
f.rrd -h a:0
f.rrd -h a:-5
f.rrd -h a:+5
f.rrd -h a:010
f.rrd -h a:0x10
f.rrd -h a:5.9
f.rrd -h a:60x
f.rrd -h a:60:70
f.rrd -h "a: 5"
f.rrd -h "a :5"
f.rrd -h a:99999999999999999999
f.rrd -h a:-99999999999999999999
f.rrd -h abcdefghijklmnopqrstuvwxyz:5
f.rrd -h abcdefghijklmnopqrs:5
f.rrd -i a:U
f.rrd -i a:5.5
f.rrd -i a:x
f.rrd -i a:
f.rrd -i a
f.rrd -i x:5
f.rrd -i x:x
f.rrd -i b-long_name:200
f.rrd -i a:-inf
f.rrd -i a:1:2
f.rrd -i a:0.001
f.rrd -a b-long_name:-1
f.rrd -a b-long_name:U
f.rrd -a a:nan
f.rrd -a a:5x
f.rrd -a a:1E3
f.rrd -a a:1e3
f.rrd -a a:1e
f.rrd -a a:e5
f.rrd -a a:Ux
f.rrd -a a:UU
f.rrd -a a:5U
f.rrd -a a:-U
f.rrd -a a:--5
f.rrd -a a:+5
f.rrd -a a:.
f.rrd -a a:1.5.5
f.rrd -a "a: 5"
f.rrd -a "a:5 6"
f.rrd -a a:1e400
f.rrd -a a:1e9999
f.rrd -a a:1234567890123456789
f.rrd -a a:12345678901234567890
f.rrd -a a:1111111111111111111111111111111111111111
f.rrd -a a:11111111111111111111111111111111111111111
f.rrd -d a:COUNTER
f.rrd -d a:GAUGE
f.rrd -d a:GAUGE_
f.rrd -d a:DERIVEx
f.rrd -d a:ABSOLUTE:5
f.rrd -d b-long_name:DERIVE
f.rrd -d b-long_name:GAUGE
f.rrd -d a:FOO
f.rrd -d x:FOO
f.rrd -d a:AAAAAAAAAAAAAAAAAAAA
f.rrd -d a:
f.rrd -d a
f.rrd -d x:GAUGE
f.rrd -d a:gauge
f.rrd -d "a: GAUGE"
f.rrd -d a.b:GAUGE
f.rrd -r a:c
f.rrd -r b-long_name:c
f.rrd -r a:a
f.rrd -r a:-_
f.rrd -r a:c/d
f.rrd -r a:abcdefghijklmnopqrst
f.rrd -r a
f.rrd -r a:
f.rrd -r x:y
f.rrd -r :y
f.rrd -r "a: x"
f.rrd -r a:c -r c:d -h d:7
f.rrd foo
f.rrd -h a:60 foo
f.rrd -Z 5
nofile
nofile -h a
--
"#;

#[test]
fn commands_leave_the_bytes_and_the_texts_that_rrdtools_leave() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    make(&mut rrdtool);
    let lines = COMMANDS.lines().filter(|line| !line.is_empty());
    let done = lines.filter(|line| same(folder, &mut rrdtool, &mut latmon, line).is_ok()).count();
    assert!(done > 30, "{done}");
}

#[test]
fn random_changes_leave_the_bytes_that_rrdtools_leave() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    make(&mut rrdtool);
    for case in 0..cases(200) {
        let mut random = Random::new(seed, case);
        let mut line = "f.rrd".to_owned();
        for _ in 0..1 + random.below(4) {
            let name = random.pick(&["a", "b-long_name"]);
            let number = random.below(1 << 40) as f64 / 1e4;
            line += &match random.below(4) {
                0 => format!(" -h {name}:{}", random.below(100_000)),
                1 => format!(" -i {name}:-{number}"),
                2 => format!(" -a {name}:{number:e}"),
                _ => format!(" -d {name}:{}", random.pick(&["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE"])),
            };
        }
        assert_eq!(same(folder, &mut rrdtool, &mut latmon, &line), Ok(()), "LATMON_TEST_SEED={seed}");
    }
}

/// Two data sources of one name: of those, the second can be reached by nobody.
#[test]
fn a_name_that_another_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make(&mut Rrdtool::start(folder));
    let refused = support::rrdtool::latmon(folder, &["tune", "made.rrd", "-r", "a:b-long_name"]);
    assert_eq!(refused, Err("Duplicate DS name: b-long_name".to_owned()));
    // The way round about is free.
    let turned = ["tune", "made.rrd", "-r", "a:c", "-r", "b-long_name:a", "-r", "c:b"];
    assert_eq!(support::rrdtool::latmon(folder, &turned), Ok(vec![]));
}
