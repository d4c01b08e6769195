//! `latmon rrd xport` against `rrdtool xport`: the same files and the same words, the same output, errors and exit
//! status.
//!
//! The original reads beside its rows where a series does not cover what is exported, and prints what it finds there.
//! So random commands have series of two kinds: those with the span of the export, and wide ones, which alone are
//! shifted or looked at through windows. What we print in such places is a case of its own.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::path::Path;
use std::process::Command;

use support::rrdtool::{Random, Rrdtool, TZ, cases, latmon, seed, within_a_second};

#[test]
fn random_exports_are_those_of_rrdtool() {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = Rrdtool::start(folder.path());
    let mut ours = Rrdtool::start_latmon(folder.path());
    let mut world = None;
    let (mut tables, mut errors) = (0, 0);
    for case in 0..cases(300) {
        let mut random = Random::new(seed, case);
        if case % 25 == 0 {
            world = Some(World::create(&mut theirs, &mut Random::new(seed, case + (1 << 40))));
        }
        let command = Export::new(world.as_ref().unwrap(), &mut random).command();
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let told = (theirs.run(&words), ours.run(&words));
        assert_eq!(text(&told.1), text(&told.0), "case {case}: {}", command.join(" "));
        if told.0.is_ok() {
            tables += 1;
        } else {
            errors += 1;
            // Some texts end with a newline of their own, which stands before the next answer.
            assert_eq!(theirs.run(&["pwd"]), ours.run(&["pwd"]), "behind case {case}: {}", command.join(" "));
        }
    }
    println!("{tables} tables, {errors} errors");
    assert!(tables > errors);
}

/// What each side is started with.
const SIDES: [(&str, &[&str]); 2] = [("rrdtool", &[]), (env!("CARGO_BIN_EXE_latmon"), &["rrd"])];

/// Runs `xport` and one line of words on both sides, and expects the same output, errors and exit status.
fn compare(folder: &Path, line: &str) -> std::process::Output {
    let ask = |(program, first): (&str, &[&str])| {
        Command::new(program)
            .args(first)
            .arg("xport")
            .args(line.split(' '))
            .current_dir(folder)
            .env("TZ", TZ)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("this test needs the real rrdtool: apt-get install rrdtool")
    };
    let [theirs, ours] = within_a_second(|| SIDES.map(ask));
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(shown(&ours.stderr), shown(&theirs.stderr), "{line}");
    assert_eq!(shown(&ours.stdout), shown(&theirs.stdout), "{line}");
    assert_eq!(ours.status, theirs.status, "{line}");
    ours
}

/// A file of 200 rows from 1700000000 on, 10 seconds each, that count from 1 in `a`; in `b` every seventh is unknown.
fn file(folder: &Path) {
    let mut rrdtool = Rrdtool::start(folder);
    let create = "create f.rrd -b 1700000000 -s 10 DS:a:GAUGE:30:U:U DS:b:GAUGE:30:U:U \
                  RRA:AVERAGE:0.5:1:200 RRA:AVERAGE:0.5:2:100 RRA:AVERAGE:0.5:6:100 RRA:MAX:0.5:6:100";
    rrdtool.run(&create.split(' ').collect::<Vec<_>>()).unwrap();
    let mut words: Vec<String> = vec!["update".to_owned(), "f.rrd".to_owned()];
    words.extend((1..=200).map(|row| {
        let b = if row % 7 == 0 { "U".to_owned() } else { (1000 + row * row % 37).to_string() };
        format!("{}:{row}:{b}", 1_700_000_000 + 10 * row)
    }));
    run(&mut rrdtool, &words);
}

/// Options, words and their order, and the texts of errors.
#[test]
fn commands_are_answered_as_rrdtool_answers_them() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path());
    let mut outputs = (0, 0);
    for line in NAMED.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = compare(folder.path(), line);
        if output.status.success() { outputs.0 += 1 } else { outputs.1 += 1 }
    }
    for line in WITH_SPAN.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = compare(folder.path(), &format!("-s 1700000030 -e 1700000100 {line}"));
        if output.status.success() { outputs.0 += 1 } else { outputs.1 += 1 }
    }
    assert!(outputs.0 > 40 && outputs.1 > 60, "{outputs:?}");
}

const NAMED: &str = r"
    -t
    -x
    --foo
    -s
    --maxrows
    --json=1
    -s foo -e bar
    -e foo -s bar
    -s end-1h -e start+1h
    -s 19750101 -e 19740101
    -s 400000000 -e 350000000 -m 5
    -s 1700000010 -e 1700000000 XPORT:b
    -s 1700000010 -e 1700000000 -m 9x
    DEF:a=f.rrd:a:AVERAGE
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000005 -e start+20
    DEF:a=f.rrd:a:AVERAGE XPORT:a -e 1700000025 -s end-20 -t
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000000
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000000 --json
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700002100
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700002100 -m 10
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000007 -e 1700002001 -m 4294967306
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000300 --step 25x --maxrows=10x
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000300 --step -5
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000300 --step 4294967396
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000100 --step 100000
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000001 -e 1700000002 --step 480
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1700000000 -e 1700000100 --step 2147483647
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 1600000000 -e 1600000100 --step 30
    DEF:a=f.rrd:a:AVERAGE XPORT:a -s 20231114 -e 20231116 --step 3600 -t
    CDEF:d=a,NEWDAY XPORT:d
    DEF:a=f.rrd:a:AVERAGE CDEF:d=a,POP,NEWDAY CDEF:w=a,POP,NEWWEEK XPORT:d XPORT:w -s 20231114 -e 20231120 --step 3600 -t
    DEF:a=f.rrd:a:AVERAGE CDEF:d=a,POP,NEWDAY CDEF:l=LTIME,a,POP XPORT:d XPORT:l -s 20240330 -e 20240402 -t
    DEF:a=f.rrd:a:AVERAGE CDEF:d=a,POP,NEWDAY CDEF:l=LTIME,a,POP XPORT:d XPORT:l -s 20241026 -e 20241029 -t
    DEF:a=f.rrd:a:AVERAGE CDEF:m=a,POP,NEWMONTH CDEF:y=a,POP,NEWYEAR XPORT:m XPORT:y -s 20231130 -e 20240102 -t
";

/// These are given a span of eight rows.
const WITH_SPAN: &str = r"
    DEF:a=f.rrd:a:AVERAGE DEF:b=f.rrd:b:AVERAGE XPORT:a:first XPORT:b --json
    DEF:a=f.rrd:a:AVERAGE DEF:b=f.rrd:b:AVERAGE XPORT:a:first XPORT:b --json -t --enumds
    DEF:a=f.rrd:a:AVERAGE DEF:b=f.rrd:b:AVERAGE XPORT:a:<&> XPORT:b --enumds
    DEF:a=f.rrd:a:AVERAGE CDEF:i=a,INF,* CDEF:n=a,NEGINF,* XPORT:i XPORT:n -t
    DEF:a=f.rrd:a:AVERAGE CDEF:i=a,INF,* CDEF:n=a,NEGINF,* XPORT:i XPORT:n --json
    XPORT:a
    FOO:a XPORT:a
    XPORT=a
    :
    DEF: XPORT:a
    DEF:: XPORT:a
    DEF:a=f.rrd XPORT:a
    DEF:a=f.rrd:a XPORT:a
    DEF:a=f.rrd:a:FOO XPORT:a
    DEF:a=f.rrd:a:FOO:step=x:start=foo:reduce=FOO XPORT:a
    DEF:a=f.rrd:a:FOO:step=x:start=foo XPORT:a
    DEF:a=f.rrd:a:FOO:end=foo XPORT:a
    DEF:a=f.rrd:z:AVERAGE XPORT:a
    DEF:a=nofile:a:AVERAGE XPORT:a
    DEF:a=nofile:a:AVERAGE CDEF:c=foo XPORT:a
    DEF:a=nofile:a:AVERAGE CDEF:c=1,2,+ XPORT:a
    DEF:a=f.rrd:a:LAST XPORT:a
    DEF:a=f.rrd:a:HWPREDICT XPORT:a
    DEF:a=f.rrd:a:AVERAGE:foo=1:bar XPORT:a
    DEF:a=f.rrd:a:AVERAGE: XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=10:step=20 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=0 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=+20 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=1m XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=99999999999 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:step=9999999999999 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:start=start-20 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:end=end-20 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:start=end-1d:end=start+1d XPORT:a
    DEF:a=f.rrd:a:AVERAGE:start=end-1d:end=20231115 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:end=start+1d XPORT:a
    DEF:a=f.rrd:a:AVERAGE:start=22\:13_20231114 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:start=1700000100:end=1700000050 XPORT:a
    DEF:a=f.rrd:a:MAX:step=60:reduce=MIN XPORT:a --step 120
    DEF:a=f.rrd:a:AVERAGE:step=20 DEF:b=f.rrd:b:AVERAGE:step=30 CDEF:c=a,b,ADDNAN XPORT:a XPORT:b XPORT:c
    DEF:a=f.rrd:a:AVERAGE:step=25 DEF:b=f.rrd:b:AVERAGE:step=40 XPORT:b
    DEF:a=f.rrd:a:MAX:step=25 DEF:b=f.rrd:b:MAX:step=40:reduce=AVERAGE XPORT:b
    DEF:step=10:a=f.rrd:a:AVERAGE XPORT:a
    DEF:vname=a:rrd=f.rrd:ds=a:cf=AVERAGE XPORT:vname=a:legend=x
    DEF:a=f.rrd:a:AVERAGE DEF:a=f.rrd:b:AVERAGE CDEF:c=a XPORT:a XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:a=foo XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:a=foo XPORT:a
    DEF:a\:b=f.rrd:a:AVERAGE XPORT:a\:b
    DEF:MAX=f.rrd:a:AVERAGE CDEF:c=MAX XPORT:c
    DEF:a.b=f.rrd:a:AVERAGE CDEF:c=a.b,1,+ XPORT:c
    DEF:5=f.rrd:a:AVERAGE CDEF:c=5 XPORT:c XPORT:5
    DEF:a=f.rrd:a:AVERAGE XPORT:a:b:c
    DEF:a=f.rrd:a:AVERAGE XPORT:a:b\:c\d\:
    DEF:a=f.rrd:a:AVERAGE XPORT:a:b\\:c
    DEF:a=f.rrd:a:AVERAGE XPORT:
    DEF:a=f.rrd:a:AVERAGE XPORT
    DEF:a=f.rrd:a:AVERAGE XPORT:1x
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,FIRST XPORT:v
    DEF:a=f.rrd:a:AVERAGE SHIFT:a:-15 XPORT:a
    DEF:a=f.rrd:a:AVERAGE:end=1700000500 SHIFT:a:-10 SHIFT:a:-20 CDEF:c=a,TIME,+ XPORT:a XPORT:c
    DEF:a=f.rrd:a:AVERAGE:end=1700000500 CDEF:c=a SHIFT:a:-10 XPORT:a XPORT:c
    DEF:a=f.rrd:a:AVERAGE:end=1700000500 VDEF:v=a,FIRST CDEF:w=a,POP,v,-5,* VDEF:x=w,LAST SHIFT:a:x XPORT:a
    DEF:a=f.rrd:a:AVERAGE SHIFT:a XPORT:a
    DEF:a=f.rrd:a:AVERAGE SHIFT XPORT:a
    DEF:a=f.rrd:a:AVERAGE SHIFT:a:x XPORT:a
    DEF:a=f.rrd:a:AVERAGE SHIFT:a:a XPORT:a
    DEF:a=f.rrd:a:AVERAGE SHIFT:z:5 XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,FIRST SHIFT:v:5 XPORT:a
    CDEF:a=1, XPORT:a
    DEF:a=f.rrd:a:AVERAGE CDEF:c= XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a:2 XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c:rpn=a,1,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,1 XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,nan,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,0x10,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,,1,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,1e1,+,.5,*,-3.25e-1,-, XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,a XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,POP XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,ROUND XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=PREV(z) XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=PREV( XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=PREV(a XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=PREV(a)x,a,POP XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=PREV,a,ADDNAN CDEF:d=a,PREV(a),- CDEF:e=COUNT,STEPWIDTH,*,a,+ XPORT:c XPORT:d XPORT:e
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,30,TREND CDEF:d=a,25,TRENDNAN CDEF:e=a,-15,TREND CDEF:f=a,1e9,TREND XPORT:c XPORT:d XPORT:e XPORT:f
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,1,+,30,TREND XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=30,TREND,a XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=10,20,2,30,a,PREDICT CDEF:d=10,-3,30,a,PREDICTSIGMA CDEF:e=10,-3,20,90,a,PREDICTPERC XPORT:c XPORT:d XPORT:e
    DEF:a=f.rrd:a:AVERAGE CDEF:c=-15,1,30,a,PREDICT XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=10,1,30,101,a,PREDICTPERC XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=10,5,30,a,PREDICT XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,POP,10,1,30,1,PREDICT XPORT:c
    DEF:a=f.rrd:a:AVERAGE CDEF:c=a,POP,1,101,1,PERCENT XPORT:c
    DEF:a=f.rrd:a:AVERAGE:end=1700000050 DEF:b=f.rrd:a:AVERAGE:start=1700000100:end=1700000150 CDEF:c=a,b,+ XPORT:c
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a, XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=z,LAST XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,LAST VDEF:w=v,LAST XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,FOO XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,foo XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,5,FOO XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,5,LAST XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,PERCENT XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,101,PERCENT XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,x,PERCENT XPORT:a
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,95,PERCENT,junk CDEF:c=a,POP,v CDEF:d=a,PREV(v),+ XPORT:c XPORT:d
    DEF:a=f.rrd:a:AVERAGE VDEF:v=a,LAST CDEF:c=v,1,+ XPORT:c
    DEF:a=f.rrd:b:AVERAGE VDEF:v=a,STDEV VDEF:w=a,LSLINT VDEF:x=a,TOTAL CDEF:c=a,v,+,w,/,x,- XPORT:c
";

/// Beside its rows a series is unknown: the original prints what it finds in memory there, or crashes. It also crashes
/// at what is an error here, or takes all memory and time.
#[test]
fn where_the_original_reads_beside_its_rows_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path());
    let values = |words: &str| {
        let line = format!("xport --json -s 1700000030 -e 1700000060 DEF:a=f.rrd:a:AVERAGE {words}");
        latmon(folder.path(), &line.split(' ').collect::<Vec<_>>()).map(|json| {
            let json = String::from_utf8(json).unwrap();
            let rows = json.lines().filter_map(|line| line.trim().strip_prefix("[ "));
            rows.map(|row| row.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        })
    };
    let numbers = |known: &[&str]| Ok(known.join(" "));
    let (four, five, six) = ("4.0000000000e+00", "5.0000000000e+00", "6.0000000000e+00");
    assert_eq!(values("XPORT:a"), numbers(&[four, five, six]));
    assert_eq!(values("SHIFT:a:20 XPORT:a"), numbers(&["null", "null", four]));
    assert_eq!(values("DEF:b=f.rrd:a:AVERAGE:start=1700000050 XPORT:b"), numbers(&["null", "null", six]));
    assert_eq!(values("DEF:b=f.rrd:a:AVERAGE:end=1700000040 XPORT:b"), numbers(&[four, five, "null"]));
    let told = |words: &str| values(words).unwrap_err();
    assert_eq!(told("CDEF:c=c,a,+ XPORT:c"), "don't understand 'c,a,+'");
    assert_eq!(told("CDEF:c=PREV(c),a,+ XPORT:c"), "variable 'c' not found");
    assert_eq!(told("CDEF:c=a,UNKN,TREND XPORT:c"), "the window of a TREND must be a number of seconds");
    assert_eq!(told("SHIFT:a:1e99 XPORT:a"), "error parsing number 1e99");
    assert!(told("SHIFT:a:999999999999999999 XPORT:a").starts_with("the offset of SHIFT:a is"));
    assert!(told("LINE1:a#ff0000 XPORT:a").ends_with("is not in latmon yet"));
}

/// Nothing that is asked for takes all memory, or days.
#[test]
fn what_would_take_too_much_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut rrdtool = Rrdtool::start(folder.path());
    let create = "create f.rrd -b 1700000000 -s 1 DS:a:GAUGE:30:U:U RRA:AVERAGE:0.5:1:10";
    rrdtool.run(&create.split(' ').collect::<Vec<_>>()).unwrap();
    let told = |words: &str| {
        let line = format!("xport DEF:a=f.rrd:a:AVERAGE {words}");
        latmon(folder.path(), &line.split(' ').collect::<Vec<_>>()).unwrap_err()
    };
    let fifty_years = "-s 400000000 -e 2000000000";
    assert!(told(&format!("XPORT:a {fifty_years}")).ends_with("with --step or a shorter span"));
    assert!(told(&format!("XPORT:a {fifty_years} -m 9999999999")).contains("1600000001 rows are too many"));
    let short = "-s 1700000000 -e 1700000010";
    let copies: String = (0..40).map(|power| format!("{},COPY,", 1_u64 << power)).collect();
    assert!(told(&format!("CDEF:c=a,{copies}+ XPORT:c {short}")).starts_with("the expressions are too long"));
    let columns = "XPORT:a ".repeat(300);
    assert!(
        told(&format!("{columns}-s 1700000000 -e 1700300000 -m 400000")).contains("300000 rows are too many")
    );
}

fn text(answer: &Result<Vec<u8>, String>) -> Result<String, &str> {
    match answer {
        Ok(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Err(error) => Err(error),
    }
}

/// A file, and what is in it.
struct World {
    step: u64,
    first: u64,
    last: u64,
    cfs: Vec<&'static str>,
}

const SOURCES: [&str; 3] = ["a", "b", "long-name_1"];

impl World {
    fn create(rrdtool: &mut Rrdtool, random: &mut Random) -> Self {
        let step = random.pick(&[1, 10, 60, 300, 1800]);
        // So that days, months, and the change of the clocks in spring lie among the rows.
        let around = random.pick(&[1_711_846_800, 1_704_063_600, 1_698_541_200, 1_700_000_000]);
        let rows = 150 + random.below(250);
        let first = (around - random.below(rows) * step) / step * step;
        let mut words: Vec<String> = ["create", "f.rrd", "-b"].map(str::to_owned).into();
        words.extend([first.to_string(), "-s".to_owned(), step.to_string()]);
        words.extend(SOURCES.map(|name| format!("DS:{name}:GAUGE:{}:U:U", step * 3)));
        let mut cfs = vec!["AVERAGE"];
        words.push(format!("RRA:AVERAGE:0.5:1:{}", 50 + random.below(400)));
        for _ in 0..random.below(4) {
            let cf = random.pick(&["AVERAGE", "MAX", "MIN", "LAST"]);
            cfs.push(cf);
            let steps = random.pick(&[1, 2, 3, 4, 5, 6, 12, 30]);
            words.push(format!("RRA:{cf}:0.{}:{steps}:{}", random.below(10), 10 + random.below(200)));
        }
        run(rrdtool, &words);
        let mut time = first;
        while time < first + rows * step {
            let mut words: Vec<String> = ["update", "f.rrd"].map(str::to_owned).into();
            for _ in 0..50 {
                time += match random.below(30) {
                    0 => step * (1 + random.below(8)),
                    1 | 2 => 1 + random.below(step),
                    _ => step,
                };
                words.push(format!("{time}:{}:{}:{}", reading(random), reading(random), reading(random)));
            }
            run(rrdtool, &words);
        }
        Self { step, first, last: time, cfs }
    }
}

fn run(rrdtool: &mut Rrdtool, words: &[String]) {
    rrdtool.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
}

fn reading(random: &mut Random) -> String {
    match random.below(12) {
        0 => "U".to_owned(),
        1 => "0".to_owned(),
        2 | 3 => format!("-{}.{}", random.below(100), random.below(1000)),
        4 => format!("{}e{}", random.below(1000), random.below(12)),
        5 => format!("{}e-{}", 1 + random.below(1000), random.below(9)),
        _ => format!("{}.{}", random.below(1000), random.below(100)),
    }
}

/// A command that is being made up.
struct Export<'a> {
    world: &'a World,
    random: &'a mut Random,
    words: Vec<String>,
    /// Series with the span of the export.
    exact: Vec<String>,
    /// Series that reach far over it.
    wide: Vec<String>,
    values: Vec<String>,
}

impl<'a> Export<'a> {
    fn new(world: &'a World, random: &'a mut Random) -> Self {
        Self { world, random, words: vec!["xport".to_owned()], exact: vec![], wide: vec![], values: vec![] }
    }

    fn command(mut self) -> Vec<String> {
        let World { step, first, last, .. } = *self.world;
        let length = (1 + self.random.below(60)) * step * self.random.pick(&[1, 1, 1, 2, 5]);
        let mut start = first - 5 * step + self.random.below(last - first + 5 * step);
        let mut end = start + length;
        if !self.random.one_in(3) {
            (start, end) = (start / step * step, end / step * step);
        }
        self.words.extend(["-s".to_owned(), start.to_string(), "-e".to_owned(), end.to_string()]);
        if self.random.one_in(4) {
            let step = self.random.pick(&[1, 7, 10, 25, 60, 120, 600, 3600, 7200, 86_400]);
            self.words.extend(["--step".to_owned(), step.to_string()]);
        }
        if self.random.one_in(4) {
            self.words.extend(["-m".to_owned(), (9 + self.random.below(80)).to_string()]);
        }
        for option in ["--json", "-t", "--enumds"] {
            if self.random.one_in(3) {
                self.words.push(option.to_owned());
            }
        }
        let wide = (start - 100 * length, end + 100 * length);
        self.def(None);
        for _ in 0..3 + self.random.below(6) {
            match self.random.below(10) {
                0 | 1 => self.def(None),
                2 => self.def(Some(wide)),
                3 => self.vdef(),
                4 => self.shift(),
                _ => self.cdef(),
            }
        }
        self.columns();
        self.words
    }

    fn def(&mut self, wide: Option<(u64, u64)>) {
        let name = format!("{}{}", if wide.is_some() { "w" } else { "d" }, self.words.len());
        let ds = self.random.pick(&SOURCES);
        let cf = self.random.pick(&self.world.cfs);
        let mut word = format!("DEF:{name}=f.rrd:{ds}:{cf}");
        if let Some((start, end)) = wide {
            word += &format!(":start={start}:end={end}");
        }
        if wide.is_some() || self.random.one_in(3) {
            word += &format!(":step={}", self.world.step * self.random.pick(&[1, 1, 2, 3, 4, 6, 7, 30]));
        }
        if self.random.one_in(4) {
            word += &format!(":reduce={}", self.random.pick(&["AVERAGE", "MAX", "MIN", "LAST"]));
        }
        self.words.push(word);
        if wide.is_some() { self.wide.push(name) } else { self.exact.push(name) }
    }

    fn vdef(&mut self) {
        const FUNCTIONS: [&str; 10] = [
            "MAXIMUM",
            "MINIMUM",
            "AVERAGE",
            "STDEV",
            "LAST",
            "FIRST",
            "TOTAL",
            "LSLSLOPE",
            "LSLINT",
            "LSLCORREL",
        ];
        let name = format!("v{}", self.words.len());
        let mut series = self.series();
        let function = match self.random.below(3) {
            0 => format!(
                "{},{}",
                self.random.pick(&["0", "5", "12.5", "50", "95", "99.9", "100"]),
                self.random.pick(&["PERCENT", "PERCENTNAN"])
            ),
            _ => self.random.pick(&FUNCTIONS).to_owned(),
        };
        if function.ends_with("PERCENTNAN") {
            // Of a series without any known value the original takes what lies beside it.
            self.words.push(format!("CDEF:{name}k=COUNT,3,%,1,EQ,COUNT,{series},IF"));
            series = format!("{name}k");
        }
        self.words.push(format!("VDEF:{name}={series},{function}"));
        self.values.push(name);
    }

    fn shift(&mut self) {
        if let Some(name) = self.pick_wide() {
            let most = self.world.step * 20;
            let offset = self.random.below(2 * most) as i64 - most as i64;
            self.words.push(format!("SHIFT:{name}:{offset}"));
        }
    }

    fn cdef(&mut self) {
        let name = format!("c{}", self.words.len());
        let anchor = self.pick_exact();
        let mut tokens = self.expression(3);
        match self.random.below(4) {
            0 => tokens = [vec![anchor, "POP".to_owned()], tokens].concat(),
            _ => tokens.extend([anchor, self.random.pick(&["+", "-", "ADDNAN", "MAX", "MINNAN"]).to_owned()]),
        }
        // The original crashes at a window or a count that is none.
        const COUNTED: [&str; 11] =
            ["TREND", "PREDICT", "COPY", "INDEX", "SORT", "REV", "AVG", "MEDIAN", "SM", "STDEV", "PERCENT"];
        let is_counted = |token: &String| COUNTED.iter().any(|word| token.contains(word));
        if self.random.one_in(12) && !tokens.iter().any(is_counted) {
            let at = self.random.below(tokens.len() as u64) as usize;
            tokens[at] = self.random.pick(&["+", "POP", "1", "1e3", "nonsense", "a", "DUP", "UN"]).to_owned();
        }
        let comma = if self.random.one_in(8) { "," } else { "" };
        self.words.push(format!("CDEF:{name}={}{comma}", tokens.join(",")));
        self.exact.push(name);
    }

    fn columns(&mut self) {
        for number in 0..1 + self.random.below(4) {
            let name = self.series();
            let legend = match self.random.below(4) {
                0 => ":".to_owned(),
                1 => format!(":legend-{number}"),
                2 => r":a\:b<&>%'\n".replace('\'', ""),
                _ => String::new(),
            };
            self.words.push(format!("XPORT:{name}{legend}"));
        }
    }

    fn pick_exact(&mut self) -> String {
        self.exact[self.random.below(self.exact.len() as u64) as usize].clone()
    }

    fn pick_wide(&mut self) -> Option<String> {
        let count = self.wide.len() as u64;
        (count > 0).then(|| self.wide[self.random.below(count) as usize].clone())
    }

    fn series(&mut self) -> String {
        match self.random.below(4) {
            0 => self.pick_wide().unwrap_or_else(|| self.pick_exact()),
            _ => self.pick_exact(),
        }
    }

    fn number(&mut self) -> String {
        match self.random.below(5) {
            0 => format!("{}", self.random.below(10)),
            1 => format!("-{}.{}", self.random.below(100), self.random.below(1000)),
            2 => format!("{}e{}", self.random.below(100), self.random.below(8)),
            3 => format!(".{}e-{}", self.random.below(100_000), self.random.below(8)),
            _ => format!("+{}.{}", self.random.below(1000), self.random.below(100)),
        }
    }

    fn leaf(&mut self) -> Vec<String> {
        const WORDS: [&str; 12] = [
            "TIME",
            "LTIME",
            "COUNT",
            "STEPWIDTH",
            "PREV",
            "NEWDAY",
            "NEWWEEK",
            "NEWMONTH",
            "NEWYEAR",
            "INF",
            "NEGINF",
            "UNKN",
        ];
        let value = self.random.below(self.values.len() as u64 + 1) as usize;
        let leaf = match self.random.below(10) {
            0 | 1 => self.number(),
            2 | 3 => self.random.pick(&WORDS).to_owned(),
            4 => self.pick_wide().map_or_else(|| self.number(), |name| format!("PREV({name})")),
            5 if value < self.values.len() => self.values[value].clone(),
            6 => return self.window(),
            _ => self.series(),
        };
        vec![leaf]
    }

    /// A TREND or a PREDICT.
    fn window(&mut self) -> Vec<String> {
        let step = self.world.step;
        let Some(name) = self.pick_wide() else { return vec![self.pick_exact()] };
        let window = (self.random.below(8) * step + self.random.below(2) * step / 2).to_string();
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        if self.random.one_in(2) {
            return own(&[&name, &window, self.random.pick(&["TREND", "TRENDNAN"])]);
        }
        let mut words = Vec::new();
        if self.random.one_in(2) {
            words.push((self.random.below(5) * step / 2).to_string());
            words.push(format!("-{}", 1 + self.random.below(5)));
        } else {
            let count = 1 + self.random.below(4);
            words.extend((0..count).map(|_| (self.random.below(9) * step / 2).to_string()));
            words.push(count.to_string());
        }
        words.push(window);
        match self.random.below(3) {
            0 => words.extend([name, "PREDICT".to_owned()]),
            1 => words.extend([name, "PREDICTSIGMA".to_owned()]),
            _ => {
                let percent =
                    self.random.pick(&["50", "-50", "0", "95", "-95", "100", "-100", "33.3", "-12"]);
                words.extend([percent.to_owned(), name, "PREDICTPERC".to_owned()]);
            }
        }
        words
    }

    fn expression(&mut self, depth: u64) -> Vec<String> {
        const UNARY: [&str; 14] = [
            "UN", "ISINF", "SIN", "COS", "LOG", "EXP", "SQRT", "ATAN", "FLOOR", "CEIL", "DEG2RAD", "RAD2DEG",
            "ABS", "DUP,*",
        ];
        const BINARY: [&str; 21] = [
            "+",
            "-",
            "*",
            "/",
            "%",
            "POW",
            "ATAN2",
            "LT",
            "LE",
            "GT",
            "GE",
            "EQ",
            "NE",
            "MIN",
            "MAX",
            "MINNAN",
            "MAXNAN",
            "ADDNAN",
            "EXC,-",
            "2,COPY,+,-,+",
            "1,INDEX,*,+",
        ];
        const MANY: [&str; 5] = ["AVG", "MEDIAN", "SMIN", "SMAX", "STDEV"];
        if depth == 0 {
            return self.leaf();
        }
        let part = |export: &mut Self| {
            let depth = export.random.below(depth);
            export.expression(depth)
        };
        let mut tokens = part(self);
        let last = match self.random.below(9) {
            0 => return tokens,
            1 | 2 => self.random.pick(&UNARY).to_owned(),
            3 => {
                tokens.extend(part(self));
                tokens.extend(part(self));
                self.random.pick(&["IF", "LIMIT"]).to_owned()
            }
            4 => {
                let others = self.random.below(4);
                (0..others).for_each(|_| tokens.extend(part(self)));
                let count = others + 1;
                match self.random.below(4) {
                    0 => format!("{},{count},PERCENT", self.random.pick(&["50", "95", "100", "66.7"])),
                    1 => format!("{count},SORT{}", ",POP".repeat(others as usize)),
                    2 => format!("{count},REV{}", ",+".repeat(others as usize)),
                    _ => format!("{count},{}", self.random.pick(&MANY)),
                }
            }
            _ => {
                tokens.extend(part(self));
                self.random.pick(&BINARY).to_owned()
            }
        };
        tokens.push(last);
        tokens
    }
}
