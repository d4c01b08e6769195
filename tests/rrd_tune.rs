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
    make_forecasts(
        &mut rrdtool,
        "GAUGE",
        "RRA:MHWPREDICT:8:0.2:0.01:4 RRA:AVERAGE:0.5:2:5 RRA:HWPREDICT:9:0.1:0.01:5",
    );
    for case in 0..cases(200) {
        let mut random = Random::new(seed, case);
        let mut line = "f.rrd".to_owned();
        for _ in 0..1 + random.below(4) {
            let name = random.pick(&["a", "b"]);
            let number = random.below(1 << 40) as f64 / 1e4;
            let share = random.below(1_000_000) as f64 / 1e6 + 1e-7;
            line += &match random.below(8) {
                0 => format!(" -h {name}:{}", random.below(100_000)),
                1 => format!(" -i {name}:-{number}"),
                2 => format!(" -a {name}:{number:e}"),
                3 => format!(
                    " -d {name}:{}",
                    random.pick(&["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DDERIVE"])
                ),
                4 => format!(" {} {}", random.pick(&["-p", "-n"]), share * 100.0 + 0.1),
                5 => format!(" {} {}", random.pick(&["-w", "-f"]), 1 + random.below(28)),
                6 => format!(" -b {name}"),
                _ => format!(" {} {share}", random.pick(&["-x", "-y", "-z", "-v", "-s", "-S"])),
            };
        }
        assert_eq!(same(folder, &mut rrdtool, &mut latmon, &line), Ok(()), "LATMON_TEST_SEED={seed}");
    }
}

/// A file of two sources, with readings that make the forecasts wrong now and then.
fn make_forecasts(rrdtool: &mut Rrdtool, source: &str, archives: &str) {
    let create =
        format!("create made.rrd -b 1700000000 -s 10 DS:a:{source}:120:0:U DS:b:GAUGE:120:0:U {archives}");
    rrdtool.run(&[&create]).unwrap();
    let mut random = Random::new(7, 0);
    for step in 1..40 {
        let [a, b] = [0; 2].map(|_| random.pick(&["1", "2", "100", "U", "3"]));
        rrdtool.run(&["update", "made.rrd", &format!("{}:{a}:{b}", 1_700_000_000 + 10 * step)]).unwrap();
    }
}

const FORECAST_COMMANDS: &str = r#"
f.rrd -p 3
f.rrd --deltapos 3.5e0
f.rrd -p 0
f.rrd -p 0.1
f.rrd -p 0.0999
f.rrd -p -1
f.rrd -p 5x
f.rrd -p inf
f.rrd -p -inf
f.rrd -p nan
f.rrd -p -nan
f.rrd -p "  3"
f.rrd -p "3 "
f.rrd -n 3
f.rrd --deltaneg=-1
f.rrd -f 5
f.rrd --failure-threshold 28
f.rrd -f 0
f.rrd -f 29
f.rrd -f -5
f.rrd -f x
f.rrd -f 5.9
f.rrd -f 4294967300
f.rrd -f 99999999999999999999
f.rrd -f " 5"
f.rrd -f 010
f.rrd -f 0x5
f.rrd -w 5
f.rrd -w 28
f.rrd --window-length 0
f.rrd -w 29
f.rrd -w 5 -f 3
f.rrd -f 12 -w 15
f.rrd -x 0.5
f.rrd -x 0
f.rrd -x 1
f.rrd -x -1
f.rrd -x x
f.rrd -x nan
f.rrd -x -nan
f.rrd -x inf
f.rrd -x 0.5x
f.rrd -x 1e-3
f.rrd -x 1e5000
f.rrd -x 5nan
f.rrd -x "  .3"
f.rrd -x +.3
f.rrd -x 0,3
f.rrd --alpha 0.123456789 --beta 0.987654321 --gamma=0.3 --gamma-deviation 0.4
f.rrd -y 0.5
f.rrd -y 1
f.rrd -z 0.3
f.rrd -z 1
f.rrd -v 0.3
f.rrd -v 0
f.rrd -s 0.3
f.rrd -s 0
f.rrd -s 1
f.rrd -s 2
f.rrd -s -1
f.rrd -s x
f.rrd -s nan
f.rrd --smoothing-window 0.3x
f.rrd -S 0.3
f.rrd -S 0
f.rrd --smoothing-window-deviation 1.5
f.rrd -b a
f.rrd --aberrant-reset b
f.rrd -b a -b b
f.rrd -w 2 -b b
f.rrd -b x
f.rrd -b a:1
f.rrd -b " a"
f.rrd -b ax
f.rrd -b abcdefghijklmnopqrstuvwxyz
f.rrd -x 2 -y x
f.rrd -h a:5 -x 0.5 -r a:c -b c -s 0.1
"#;

/// Files of every kind of forecast and one of none: a parameter is the first archive's that has it, and a text that is
/// wrong is told before that there is none.
#[test]
fn forecasts_are_set_as_rrdtool_sets_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    let mut done = 0;
    for (source, archives) in [
        ("GAUGE", "RRA:HWPREDICT:10:0.1:0.0035:5"),
        ("GAUGE", "RRA:MHWPREDICT:10:0.1:0.0035:5"),
        ("GAUGE", "RRA:MHWPREDICT:8:0.2:0.01:4 RRA:AVERAGE:0.5:2:5 RRA:HWPREDICT:10:0.1:0.0035:5"),
        ("DCOUNTER", "RRA:HWPREDICT:10:0.1:0.0035:5"),
        ("GAUGE", "RRA:AVERAGE:0.5:1:5"),
    ] {
        make_forecasts(&mut rrdtool, source, archives);
        let lines = FORECAST_COMMANDS.lines().filter(|line| !line.is_empty());
        done += lines.filter(|line| same(folder, &mut rrdtool, &mut latmon, line).is_ok()).count();
    }
    assert!(done > 100, "{done}");
}

/// The original makes 0 of it, which it would refuse.
#[test]
fn a_delta_that_is_no_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make(&mut Rrdtool::start(folder));
    for text in ["x", "", "1e5000"] {
        let refused = support::rrdtool::latmon(folder, &["tune", "made.rrd", "-p", text]);
        assert_eq!(refused, Err("Unable to parse parameter in set_deltaarg".to_owned()));
    }
}

/// Where others have heartbeat and limits a computed source has its expression; who sets one of them overwrites it. The
/// manual says that this is for making another type of it, which then must be set whole.
#[test]
fn a_computed_source_changes_its_type_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    let create =
        "create made.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:0:U DS:c:COMPUTE:a,2,* RRA:AVERAGE:0.5:1:3";
    rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
    rrdtool.run(&["update", "made.rrd", "1700000015:3"]).unwrap();
    for line in [
        "f.rrd -r c:d",
        "f.rrd -d c:GAUGE -h c:120 -i c:0 -a c:U",
        "f.rrd -h c:120 -i c:0 -a c:9 -d c:COUNTER",
        "f.rrd -h c:120 -r c:z -i z:0 -a z:9 -d z:DDERIVE",
    ] {
        assert_eq!(same(folder, &mut rrdtool, &mut latmon, line), Ok(()));
    }
    let before = fs::read(folder.join("made.rrd")).unwrap();
    let computed = "data source 'c' is computed: it has no heartbeat, limits or readings of its own";
    let whole = "data source 'c' was computed: it needs --heartbeat, --minimum and --maximum, too";
    for (words, error) in [
        (&["-h", "c:60"][..], computed),
        (&["-i", "c:0", "-a", "c:1"], computed),
        (&["-d", "c:GAUGE"], whole),
        (&["-d", "c:GAUGE", "-h", "c:60", "-a", "c:5"], whole),
        (&["-d", "a:COMPUTE"], "unknown data acquisition function 'COMPUTE'"),
    ] {
        let words = [&["tune", "made.rrd"], words].concat();
        assert_eq!(support::rrdtool::latmon(folder, &words), Err(error.to_owned()));
    }
    assert!(fs::read(folder.join("made.rrd")).unwrap() == before);
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
