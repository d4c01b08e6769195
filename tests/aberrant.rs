//! The forecast in an archive: what the rule `aberrant` is told, against the real rrdtool.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod rrdtool;
}

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use latmon::archive::{Archives, Asked, Error, Recorded, Settings, TargetSettings, Wanted, path};
use latmon::round::{Fault, Ping, Round, Rtt, Target};
use latmon::time::{Step, UnixTime};

use support::latmon::Desk;
use support::rrdtool::{Random, Rrdtool};

const STEP: Step = Step::new(300).expect("300 is not 0");
const DAY: usize = 288;
/// Midnight, UTC.
const START: UnixTime = UnixTime::from_secs(1_795_564_800);

fn settings(folder: &Path, forecast: bool) -> Settings {
    let (step, pings) = (Wanted::Default(STEP), Wanted::Default(2));
    let target = Arc::new(Target { name: "line".into(), host: "192.0.2.1".into() });
    Settings {
        data_dir: folder.to_owned(),
        targets: vec![TargetSettings { target, step, pings, asked: Asked { usual: false, forecast } }],
    }
}

/// A line that is slower in the evening, with some noise.
fn daily(number: usize, random: &mut Random) -> Vec<Ping> {
    let hour_angle = TAU * (number % DAY) as f64 / DAY as f64;
    let micros = 30_000.0 - 10_000.0 * hour_angle.sin() + random.below(1000) as f64;
    vec![Ping::Answered(Rtt::new(Duration::from_micros(micros as u64))); 2]
}

fn slower(mut pings: Vec<Ping>, by_ms: u64) -> Vec<Ping> {
    for ping in &mut pings {
        if let Ping::Answered(rtt) = ping {
            *rtt = Rtt::new(rtt.duration() + Duration::from_millis(by_ms));
        }
    }
    pings
}

/// Records rounds, and returns what the forecast said of each: `!` aberrant, `.` not, `?` nothing.
fn recorded(archives: &mut Archives, settings: &Settings, first: usize, rounds: &[Vec<Ping>]) -> String {
    let target = &settings.targets[0].target;
    let round = |(number, pings): (usize, &Vec<Ping>)| {
        let start = START.plus(STEP.duration() * (first + number) as u32);
        Round::new(Arc::clone(target), None, start, start.plus(STEP.duration()), pings.clone())
    };
    let rounds: Vec<Round> = rounds.iter().enumerate().map(round).collect();
    let mut said = String::new();
    // A day by day: each time waits for the disk.
    for rounds in rounds.chunks(DAY) {
        assert!(archives.record(rounds).iter().all(|recorded| matches!(recorded, Recorded::Stored)));
        said.extend(rounds.iter().map(|round| match archives.known(round).aberrant {
            Some(true) => '!',
            Some(false) => '.',
            None => '?',
        }));
    }
    said
}

/// Four ordinary days, an hour and a half of trouble, an ordinary day.
#[test]
fn what_is_aberrant_is_so_to_rrdtool_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), true);
    let mut archives = Archives::open(&settings, START).unwrap();
    let file = path(dir.path(), "line");
    fs::copy(&file, dir.path().join("theirs.rrd")).unwrap();
    let mut random = Random::new(7, 0);
    let mut rounds: Vec<Vec<Ping>> = (0..5 * DAY).map(|number| daily(number, &mut random)).collect();
    let trouble = 4 * DAY + 100;
    for pings in &mut rounds[trouble..trouble + 18] {
        *pings = slower(std::mem::take(pings), 80);
    }
    let said = recorded(&mut archives, &settings, 0, &rounds);
    // Nine rounds of ten, and no false alarm before.
    assert_eq!(said.find('!'), Some(trouble + 8), "{said}");
    assert!(said[trouble + 8..trouble + 18].chars().all(|letter| letter == '!'), "{said}");
    assert!(said.ends_with(&".".repeat(DAY / 3)), "the level is found again: {said}");
    archives.close().unwrap();

    let mut rrdtool = Rrdtool::start(dir.path());
    for (number, pings) in rounds.iter().enumerate() {
        let end = START.secs() + 300 * (number as i64 + 1);
        let Ping::Answered(rtt) = pings[0] else { panic!("all are answered") };
        let secs = rtt.as_secs_f64();
        rrdtool.run(&["update", "theirs.rrd", &format!("{end}:U:0:{secs}:{secs}:{secs}")]).unwrap();
    }
    let span = ["-s", &START.secs().to_string(), "-e", &(START.secs() + 300 * 5 * DAY as i64).to_string()];
    for cf in ["FAILURES", "HWPREDICT", "DEVPREDICT", "AVERAGE"] {
        let fetched = |rrdtool: &mut Rrdtool, name| {
            let words = [&["fetch", name, cf][..], &span].concat();
            String::from_utf8(rrdtool.run(&words).unwrap()).unwrap()
        };
        let (ours, theirs) = (fetched(&mut rrdtool, "line.rrd"), fetched(&mut rrdtool, "theirs.rrd"));
        assert_eq!(ours, theirs, "{cf}");
        if cf == "FAILURES" {
            // A day of them is kept.
            let median = |line: &str| line.split_whitespace().nth(3).map(|value| value.starts_with("1.0"));
            let failures: Vec<bool> =
                theirs.lines().filter(|line| line.contains(": ")).filter_map(median).collect();
            let last_day: Vec<bool> = said[4 * DAY..].chars().map(|letter| letter == '!').collect();
            assert_eq!(failures[4 * DAY..5 * DAY], last_day);
        }
    }
}

/// To rrdtool an unknown reading is a violation; to us it says nothing.
#[test]
fn what_was_not_measured_is_not_aberrant() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), true);
    let mut archives = Archives::open(&settings, START).unwrap();
    let mut random = Random::new(8, 0);
    let mut next = |number| daily(number, &mut random);
    let mut rounds: Vec<Vec<Ping>> = (0..3 * DAY).map(&mut next).collect();
    rounds.extend(vec![vec![Ping::Unknown(Fault::NoSocket); 2]; 12]);
    rounds.extend((3 * DAY + 12..3 * DAY + 40).map(&mut next));
    let said = recorded(&mut archives, &settings, 0, &rounds);
    assert!(!said.contains('!'), "{said}");
    assert!(said[3 * DAY..].contains('?'), "rrdtool's forecast has failed: {said}");
    assert!(said.ends_with(&".".repeat(20)), "{said}");
}

/// An archive that is there is not changed unasked: `run` names the command that changes it.
#[test]
fn an_archive_without_a_forecast_is_given_one_by_convert() {
    let desk = Desk::new();
    let folder = &desk.path("");
    let plain = settings(folder, false);
    let mut archives = Archives::open(&plain, START).unwrap();
    let mut random = Random::new(9, 0);
    let rounds: Vec<Vec<Ping>> = (0..2 * DAY).map(|number| daily(number, &mut random)).collect();
    assert!(recorded(&mut archives, &plain, 0, &rounds).chars().all(|said| said == '?'));
    archives.close().unwrap();

    let wanted = settings(folder, true);
    let refused = Archives::open(&wanted, START).unwrap_err();
    assert!(matches!(refused, Error::NoForecast { .. }), "{refused}");
    let told = refused.to_string();
    assert!(told.ends_with("line.rrd --forecast"), "{told}");
    let command = told.rsplit("latmon ").next().unwrap();
    let mut rrdtool = Rrdtool::start(folder);
    let end = START.secs() + 300 * 2 * DAY as i64;
    let span = ["-s", &(end - 86_400).to_string(), "-e", &end.to_string()];
    let mut fetched = || rrdtool.run(&[&["fetch", "line.rrd", "AVERAGE"][..], &span].concat()).unwrap();
    let history = fetched();
    let output = desk.latmon(command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fetched(), history);

    let mut archives = Archives::open(&wanted, START).unwrap();
    let mut later: Vec<Vec<Ping>> = (2 * DAY..6 * DAY).map(|number| daily(number, &mut random)).collect();
    for pings in &mut later[3 * DAY..3 * DAY + 12] {
        *pings = slower(std::mem::take(pings), 80);
    }
    let said = recorded(&mut archives, &wanted, 2 * DAY, &later);
    assert_eq!(said.find('!'), Some(3 * DAY + 8), "{said}");
    archives.close().unwrap();
    // It is there, and what it has learned stays.
    fs::remove_file(folder.join("line.rrd.before")).unwrap();
    let output = desk.latmon(command).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to do"), "{output:?}");
}
