//! `latmon convert`: another step, other pings, other archives, an older script's file; the original kept, and whole
//! whenever the conversion is killed. Needs rrdtool.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod latmon;
}

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use latmon::archive::{Archives, Asked, Recorded, Settings, TargetSettings, Wanted};
use latmon::round::{Ping, Round, Rtt, Target};
use latmon::rrd;
use latmon::time::{Step, UnixTime};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::latmon::Desk;

/// A multiple of five minutes.
const START: i64 = 1_700_000_100;
const MINUTES: i64 = 120;

/// The median of a minute without its pings' share, in microseconds; one minute in seven loses four pings of twenty.
fn base_us(minute: i64) -> i64 {
    5000 + 100 * (minute % 10)
}

fn is_lossy(minute: i64) -> bool {
    minute % 7 == 0
}

/// Nothing is answered for five minutes; what lies around them must not fill that in.
fn is_down(minute: i64) -> bool {
    (40..=44).contains(&minute)
}

/// Records rounds of twenty pings: the answered one of rank `r`, from 1, took the minute's base and ten times `r`
/// microseconds.
fn record(desk: &Desk) {
    let target = Arc::new(Target { name: "line".into(), host: "192.0.2.1".into() });
    let step = Wanted::Outright(Step::new(60).unwrap());
    let target_settings =
        TargetSettings { target: target.clone(), step, pings: Wanted::Outright(20), asked: Asked::default() };
    let settings = Settings { data_dir: desk.path(""), targets: vec![target_settings] };
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    for minute in 1..=MINUTES {
        let answered = match minute {
            minute if is_down(minute) => 0,
            minute if is_lossy(minute) => 16,
            _ => 20,
        };
        let ping = |rank: i64| match rank {
            rank if rank > answered => Ping::Lost,
            rank => {
                let micros = base_us(minute) + 10 * rank;
                Ping::Answered(Rtt::new(Duration::from_micros(micros.unsigned_abs())))
            }
        };
        let end = UnixTime::from_secs(START + 60 * minute);
        let start = UnixTime::from_secs(START + 60 * (minute - 1));
        let round = Round::new(target.clone(), None, start, end, (1..=20).map(ping).collect());
        assert!(matches!(archives.record(&[round])[..], [Recorded::Stored]));
    }
    archives.close().unwrap();
}

/// Rows of `rrdtool fetch FILE AVERAGE` from one row after `START`: end and values.
fn rows(desk: &Desk, file: &str, step: i64, count: i64) -> Vec<(i64, Vec<f64>)> {
    let output = Command::new("rrdtool")
        .args(["fetch", file, "AVERAGE", "--resolution", &step.to_string(), "--start", &START.to_string()])
        .args(["--end", &(START + count * step - 1).to_string()])
        .current_dir(desk.path(""))
        .output()
        .expect("rrdtool runs (apt-get install rrdtool)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let (end, values) = line.split_once(": ")?;
        let values = values.split(' ').map(|value| value.parse().unwrap_or(f64::NAN));
        Some((end.parse().unwrap(), values.collect()))
    };
    text.lines().filter_map(row).collect()
}

fn close(found: f64, wanted: f64, told: &str) {
    let same = found.is_nan() && wanted.is_nan() || (found - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3);
    assert!(same, "{told}: {found}, not {wanted}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(desk: &Desk, words: &str) -> String {
    let output = desk.done(words);
    assert!(output.status.success(), "{words}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{words}");
    text(&output.stdout)
}

fn refused(desk: &Desk, words: &str, exit: i32, line: &str) {
    let Output { status, stdout, stderr } = desk.done(words);
    assert_eq!((status.code(), text(&stdout).as_str()), (Some(exit), ""), "{words}");
    assert_eq!(text(&stderr), format!("latmon: {line}\n"), "{words}");
}

/// The mean of what is known, unknown where that is less than half.
fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let known = values.clone().filter(|value| !value.is_nan());
    let (count, of) = (known.clone().count(), values.count());
    if count * 2 < of { f64::NAN } else { known.sum::<f64>() / count as f64 }
}

/// What the archive says of five minutes with ten pings, by the formula of its rounds: of twenty answers every second
/// is kept, of sixteen too, as eight of ten.
fn five_minutes(row: i64) -> Vec<f64> {
    let minutes = 5 * row + 1..=5 * row + 5;
    let secs = |micros: i64| micros as f64 / 1e6;
    let loss = mean(minutes.clone().map(|minute| match minute {
        minute if is_down(minute) => 10.0,
        minute if is_lossy(minute) => 2.0,
        _ => 0.0,
    }));
    // The eleventh of twenty, the ninth of sixteen.
    let median_rank = |minute| if is_lossy(minute) { 9 } else { 11 };
    let unless_down = |minute, micros| if is_down(minute) { f64::NAN } else { secs(micros) };
    let median =
        minutes.clone().map(|minute| unless_down(minute, base_us(minute) + 10 * median_rank(minute)));
    let median = mean(median);
    let mut wanted = vec![f64::NAN, loss, median];
    for position in 0..10 {
        wanted.push(mean(minutes.clone().map(|minute| match (is_lossy(minute), position) {
            (false, position) => unless_down(minute, base_us(minute) + 10 * (2 * position + 2)),
            (true, 0 | 9) => f64::NAN,
            (true, position) => unless_down(minute, base_us(minute) + 10 * 2 * position),
        })));
    }
    wanted
}

#[test]
fn rounds_keep_their_history_with_another_step_and_other_pings_and_back() {
    let desk = Desk::new();
    record(&desk);
    let original = fs::read(desk.path("line.rrd")).unwrap();
    let said = done(&desk, "convert line.rrd --step 300s --pings 10");
    assert_eq!(said, "line.rrd: now a step of 5m with 10 pings; as it was: line.rrd.before\n");
    assert!(fs::read(desk.path("line.rrd.before")).unwrap() == original);
    let found = rows(&desk, "line.rrd", 300, MINUTES / 5);
    assert_eq!(found.len() as i64, MINUTES / 5);
    for (row, (end, values)) in (0..).zip(&found) {
        assert_eq!(*end, START + 300 * (row + 1));
        let wanted = five_minutes(row);
        assert_eq!(values.len(), wanted.len());
        for (column, (found, wanted)) in values.iter().zip(&wanted).enumerate() {
            close(*found, *wanted, &format!("row {row}, column {column}"));
        }
    }

    // Back up: each minute has what its five minutes have, each ping twice.
    let before = desk.path("line.rrd.before");
    let line = "line.rrd.before is there from an earlier conversion: move it away first";
    refused(&desk, "convert line.rrd --step 60s --pings 20", 1, line);
    fs::remove_file(before).unwrap();
    done(&desk, "convert line.rrd --step 60s --pings 20");
    for (minute, (_, values)) in (0..).zip(rows(&desk, "line.rrd", 60, MINUTES)) {
        let wanted = &found[minute / 5].1;
        close(values[1], wanted[1] * 2.0, &format!("minute {minute}, loss"));
        close(values[2], wanted[2], &format!("minute {minute}, median"));
        let mut known: Vec<f64> = wanted[3..].iter().copied().filter(|rtt| !rtt.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let ranks: Vec<f64> = values[3..].iter().copied().filter(|rtt| !rtt.is_nan()).collect();
        assert_eq!(ranks.len(), known.len() * 2);
        for (rank, found) in ranks.iter().enumerate() {
            close(*found, known[rank / 2], &format!("minute {minute}, rank {rank}"));
        }
    }
    // What is recorded next is recorded as if nothing had been: no open data point is left half.
    let archive = rrd::Rrd::new_checked(fs::read(desk.path("line.rrd")).unwrap()).unwrap();
    assert_eq!(archive.last_update().secs(), START + 60 * MINUTES);
    assert_eq!(archive.archives().len(), 5);
}

/// A monitor starts amid a row. Where most of that row is known, it stays known; of the time before nothing is, though the
/// row of ten minutes in which it started has a mean.
#[test]
fn a_history_begins_where_it_began() {
    for (first, last, shape, step, wanted) in [
        (2, 5, "--step 5s", 5, &[(5, 3.5)][..]),
        (2, 5, "--step 5s --pings 2", 5, &[(5, 3.5)]),
        (4, 5, "--step 5s --pings 2", 5, &[]),
        (501, 515, "--step 5s", 5, &[(505, 503.0), (510, 508.0), (515, 513.0)]),
        (501, 900, "--step 100s --pings 2", 100, &[(600, 550.5), (700, 650.5), (800, 750.5), (900, 850.5)]),
        (501, 950, "--step 100s", 100, &[(600, 550.5), (700, 650.5), (800, 750.5), (900, 850.5)]),
        (501, 950, "--step 100s --pings 2", 600, &[(900, 700.5)]),
        (701, 950, "--step 100s --pings 2", 600, &[]),
    ] {
        let desk = Desk::new();
        let create = "create line.rrd --step 1 DS:loss:GAUGE:2:0:1 DS:median:GAUGE:2:0:U DS:ping1:GAUGE:2:0:U \
                      RRA:AVERAGE:0.5:1:9000 RRA:AVERAGE:0.5:600:20 RRA:AVERAGE:0.5:7200:9 RRA:MAX:0.5:7200:9";
        done(&desk, &format!("rrd {create} --start {}", START + first - 1));
        let reading = |second: i64| format!(" {}:0:{second}:{second}", START + second);
        done(&desk, &format!("rrd update line.rrd{}", (first..=last).map(reading).collect::<String>()));
        done(&desk, &format!("convert line.rrd {shape}"));
        let known: Vec<(i64, f64)> = rows(&desk, "line.rrd", step, 1200 / step)
            .into_iter()
            .map(|(end, values)| {
                (end - START, *values.iter().rev().find(|value| !value.is_nan()).unwrap_or(&f64::NAN))
            })
            .filter(|(_, value)| !value.is_nan())
            .collect();
        assert_eq!(known, wanted, "{first} to {last}, {shape}");
    }
}

/// The minutes of an open row of five must count with those that follow.
#[test]
fn an_open_row_goes_on_as_if_nothing_had_been() {
    let desk = Desk::new();
    let create = "create a.rrd --step 60 --start 1700000100 DS:uptime:GAUGE:120:U:U DS:loss:GAUGE:120:0:1 \
                  DS:median:GAUGE:120:0:U DS:ping1:GAUGE:120:0:U RRA:AVERAGE:0.5:1:100 RRA:MAX:0.5:10:10";
    let update =
        |minutes: std::ops::RangeInclusive<i64>| minutes.map(|m| format!(" {}:U:0:{m}:{m}", START + 60 * m));
    done(&desk, &format!("rrd {create}"));
    done(&desk, &format!("rrd update a.rrd{}", update(1..=17).collect::<String>()));
    for (shape, step) in [("--step 300s", 300), ("--step 60s --pings 2", 60)] {
        fs::copy(desk.path("a.rrd"), desk.path("b.rrd")).unwrap();
        done(&desk, &format!("convert b.rrd {shape}"));
        for minute in 18..=25 {
            let reading = format!("{}:0:{minute}", START + 60 * minute);
            done(&desk, &format!("rrd update b.rrd --template loss:median {reading}"));
        }
        let medians: Vec<f64> = rows(&desk, "b.rrd", step, 1500 / step).iter().map(|row| row.1[2]).collect();
        let wanted: Vec<f64> =
            if step == 300 { vec![3.0, 8.0, 13.0, 18.0, 23.0] } else { (1..=25).map(f64::from).collect() };
        assert_eq!(medians.len(), wanted.len());
        medians.iter().zip(&wanted).for_each(|(found, wanted)| close(*found, *wanted, shape));
        let maxima = desk.done("rrd fetch b.rrd MAX --resolution 600 --start 1700001000 --end 1700001599");
        let maximum =
            format!("1700001600: -nan 0.0000000000e+00 {}", if step == 300 { "2.3" } else { "2.5" });
        assert!(text(&maxima.stdout).contains(&maximum), "{}", text(&maxima.stdout));
        fs::remove_file(desk.path("b.rrd.before")).unwrap();
    }
}

/// Beyond the reach of the rounds, maxima are made of maxima, not of means.
#[test]
fn maxima_stay_maxima() {
    let desk = Desk::new();
    let start = 1_700_000_400;
    done(
        &desk,
        &format!(
            "rrd create a.rrd --step 60 --start {start} DS:loss:GAUGE:120:0:1 DS:median:GAUGE:120:0:U \
             DS:ping1:GAUGE:120:0:U RRA:AVERAGE:0.5:1:20 RRA:AVERAGE:0.5:10:50 RRA:MAX:0.5:10:50"
        ),
    );
    let reading = |minute: i64| format!(" {}:0:{minute}:{minute}", start + 60 * minute);
    done(&desk, &format!("rrd update a.rrd{}", (1..=205).map(reading).collect::<String>()));
    done(&desk, "convert a.rrd --step 120s --archives AVERAGE:0.5:2m:20m,MAX:0.5:20m:4h");
    done(
        &desk,
        &format!(
            "rrd update a.rrd{}",
            (206..=220).map(|m| format!(" {}:U:0:{m}:{m}", start + 60 * m)).collect::<String>()
        ),
    );
    let fetched = desk.done(&format!("rrd fetch a.rrd MAX -r 1200 -s {start} -e {}", start + 220 * 60 - 1));
    let maxima = text(&fetched.stdout);
    let maxima = maxima.lines().filter_map(|line| line.split_once(": ")?.1.split(' ').nth(2)?.parse().ok());
    // The last row has steps of two minutes in its later part.
    let wanted: Vec<f64> = (1..=10).map(|row| f64::from(20 * row)).chain([219.5]).collect();
    assert_eq!(maxima.collect::<Vec<f64>>(), wanted);
}

#[test]
fn a_file_of_smokeping_converts_and_is_drawn() {
    let desk = Desk::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smokeping/line.rrd");
    fs::copy(fixture, desk.path("line.rrd")).unwrap();
    done(&desk, "convert line.rrd --step 60s --pings 5 --archives AVERAGE:0.5:1m:1h,MAX:0.5:5m:1h");
    let fetch = |file: &str, resolution: &str| {
        let span = format!("--start 1795332000 --end 1795334399 --resolution {resolution}");
        let rows = text(&desk.done(&format!("rrd fetch {file} AVERAGE {span}")).stdout);
        let columns = |line: &str| -> Vec<f64> {
            let values = line.split_once(": ").map_or("", |(_, values)| values);
            values.split(' ').map(|value| value.parse().unwrap_or(f64::NAN)).collect()
        };
        rows.lines().skip(2).map(columns).collect::<Vec<_>>()
    };
    let (old, new) = (fetch("line.rrd.before", "10"), fetch("line.rrd", "60"));
    assert_eq!((old.len(), new.len()), (240, 40));
    for (minute, row) in new.iter().enumerate() {
        let six = &old[6 * minute..6 * minute + 6];
        close(row[1], mean(six.iter().map(|old| old[1] / 4.0)), &format!("minute {minute}, loss"));
        close(row[2], mean(six.iter().map(|old| old[2])), &format!("minute {minute}, median"));
        // The middle one of five is the eleventh of twenty.
        if row[1] == 0.0 {
            close(row[5], mean(six.iter().map(|old| old[13])), &format!("minute {minute}, middle"));
        }
    }
    done(&desk, "graph line.rrd --since 1795332000 --until 1795334400 --output line.png");
    assert!(fs::read(desk.path("line.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn an_older_scripts_latency_becomes_the_median() {
    let desk = Desk::new();
    let rrdtool = |words: &str| {
        let status =
            Command::new("rrdtool").args(words.split_whitespace()).current_dir(desk.path("")).status();
        assert!(status.expect("rrdtool runs (apt-get install rrdtool)").success(), "{words}");
    };
    rrdtool(
        "create latency.rrd --step 60 --start 1700000100 DS:latency:GAUGE:120:0:U RRA:AVERAGE:0.5:1:1440 \
         RRA:MAX:0.5:60:24",
    );
    let reading = |minute: i64| if minute % 9 == 0 { "U".to_owned() } else { (20 + minute % 5).to_string() };
    let readings = (1..=60).map(|minute| format!(" {}:{}", START + 60 * minute, reading(minute)));
    rrdtool(&format!("update latency.rrd{}", readings.collect::<String>()));

    let file = desk.path("latency.rrd");
    let original = fs::read(&file).unwrap();
    refused(
        &desk,
        "convert latency.rrd",
        2,
        "latency.rrd is no archive of rounds: name the data source that is its median, --from NAME --unit ms; it has latency",
    );
    refused(
        &desk,
        "convert latency.rrd --from ping",
        2,
        "latency.rrd has no data source 'ping'; it has latency",
    );
    assert!(fs::read(&file).unwrap() == original);
    done(&desk, "convert latency.rrd --from latency --unit ms");
    for (minute, (_, values)) in (1..).zip(rows(&desk, "latency.rrd", 60, 60)) {
        let wanted = reading(minute).parse().map_or(f64::NAN, |ms: f64| ms / 1000.0);
        assert_eq!(values.len(), 23);
        close(values[2], wanted, &format!("minute {minute}"));
        assert!(values[1].is_nan() && values[3].is_nan());
    }
    done(&desk, "graph latency.rrd --since 1700000100 --until 1700003700 --output latency.png");
}

/// Everything that an archive says, in the order of time: its bytes have a random turn.
fn content(bytes: Vec<u8>) -> String {
    let archive = rrd::Rrd::new_checked(bytes).unwrap();
    let mut text = format!("{} {:?}\n", archive.step(), archive.last_update());
    for (index, rra) in archive.archives().enumerate() {
        for age in (0..rra.rows).rev() {
            let row = archive.row(index, (rra.cur_row + rra.rows - age) % rra.rows).unwrap();
            row.values().for_each(|value| text += &format!("{:x} ", value.to_bits()));
        }
        text.push('\n');
    }
    text
}

#[test]
fn killed_at_any_moment_it_leaves_the_whole_old_file_or_the_whole_new_one() {
    let desk = Desk::new();
    let sources: String = (1..=20).map(|rank| format!(" DS:ping{rank}:GAUGE:120:0:U")).collect();
    done(
        &desk,
        &format!(
            "rrd create line.rrd --step 60 --start 1700000100 DS:uptime:GAUGE:120:0:U DS:loss:GAUGE:120:0:20 \
             DS:median:GAUGE:120:0:U{sources} RRA:AVERAGE:0.5:1:700 RRA:MAX:0.5:5:200"
        ),
    );
    let reading = |minute: i64| format!(" {}:U:0{}", START + 60 * minute, format!(":{minute}").repeat(21));
    done(&desk, &format!("rrd update line.rrd{}", (1..=100).map(reading).collect::<String>()));
    let file = desk.path("line.rrd");
    let original = fs::read(&file).unwrap();
    let convert = || {
        let mut command = desk.latmon("convert line.rrd --step 120s --pings 10");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let began = Instant::now();
    assert!(convert().wait().unwrap().success());
    let mut whole = began.elapsed();
    let converted = content(fs::read(&file).unwrap());
    let back = || {
        // As whoever wants to go back would.
        fs::rename(desk.path("line.rrd.before"), &file).unwrap();
        assert!(fs::read(&file).unwrap() == original);
    };
    back();
    let (mut killed, mut finished) = (0, 0);
    for trial in 0..150_u32 {
        let mut child = convert();
        // A spread over its whole time, and a little more.
        std::thread::sleep(whole * ((trial * 67) % 150) / 140);
        let _ = child.kill();
        child.wait().unwrap();
        let now = fs::read(&file).unwrap();
        if now == original {
            killed += 1;
        } else {
            assert!(content(now) == converted, "trial {trial}: neither the old file nor the new one");
            finished += 1;
            back();
            // The time that it takes depends on who else is busy, and the first run may have been a slow one.
            whole = whole * 49 / 50;
        }
        if finished == 0 && trial % 50 == 49 {
            whole *= 2;
        }
    }
    assert!(killed > 0 && finished > 0, "killed {killed} times, finished {finished} times");
    // What the killed ones left behind is in nobody's way: not a second name of the file either.
    let _ = fs::hard_link(&file, desk.path("line.rrd.before"));
    assert!(convert().wait().unwrap().success());
    assert!(content(fs::read(&file).unwrap()) == converted);
    assert!(fs::read(desk.path("line.rrd.before")).unwrap() == original);
}

/// Who asks for another shape outright is told the command that makes it.
#[test]
fn the_command_to_type_is_named() {
    let desk = Desk::new();
    record(&desk);
    let target = Arc::new(Target { name: "line".into(), host: "192.0.2.1".into() });
    let open = |step, pings| {
        let target_settings = TargetSettings { target: target.clone(), step, pings, asked: Asked::default() };
        let settings = Settings { data_dir: desk.path(""), targets: vec![target_settings] };
        Archives::open(&settings, UnixTime::from_secs(START)).map(drop).map_err(|error| error.to_string())
    };
    let step = |secs| Wanted::Outright(Step::new(secs).unwrap());
    for (step, pings) in [(step(300), Wanted::Default(20)), (step(300), Wanted::Outright(10))] {
        let error = open(step, pings).unwrap_err();
        let (_, command) = error.split_once("or reshape it: latmon ").unwrap();
        done(&desk, command);
        fs::remove_file(desk.path("line.rrd.before")).unwrap();
    }
    assert_eq!(open(step(300), Wanted::Outright(10)), Ok(()));
}

#[test]
fn what_cannot_be_converted_stays_as_it_is() {
    let desk = Desk::new();
    record(&desk);
    let original = fs::read(desk.path("line.rrd")).unwrap();
    let real = desk.path("line.rrd").canonicalize().unwrap();
    let same = "line.rrd: nothing to do, its step is 60s with 20 pings\n";
    assert_eq!(done(&desk, "convert line.rrd --step 60s --archives default"), same);
    refused(&desk, "convert nix.rrd", 1, "opening 'nix.rrd': No such file or directory");
    refused(
        &desk,
        "convert line.rrd --archives AVERAGE:0.5:1m:1h,MAX:0.5:90s:1h",
        2,
        "--archives: 'MAX:0.5:90s:1h' will not do with a step of 60s: Invalid step 90s: value would truncate when scaled",
    );
    refused(
        &desk,
        "convert line.rrd --archives AVERAGE",
        2,
        "--archives: 'AVERAGE' is no archive: write default, or FUNCTION:XFF:STEPS:ROWS as AVERAGE:0.5:1m:10d",
    );
    desk.write("empty.rrd", "");
    refused(&desk, "convert empty.rrd", 1, "empty.rrd is no archive: it is empty");
    refused(&desk, "convert .", 1, ". is no archive: it is a folder or a device");
    // A monitor holds this lock for as long as it runs.
    let lock = fs::File::open(desk.path("latmon.lock")).unwrap();
    lock.lock().unwrap();
    let pid = desk.read("latmon.lock");
    let folder = real.parent().unwrap().display();
    refused(
        &desk,
        "convert line.rrd --pings 10",
        1,
        &format!("latmon (process {}) records in {folder}: stop it first, then convert", pid.trim()),
    );
    // Closing it is not enough: a process that another test forks in this moment has it too.
    lock.unlock().unwrap();
    done(
        &desk,
        "rrd create more.rrd DS:loss:GAUGE:9:0:U DS:median:GAUGE:9:0:U DS:ping1:GAUGE:9:0:U DS:jitter:GAUGE:9:0:U RRA:AVERAGE:0:1:9",
    );
    refused(
        &desk,
        "convert more.rrd --pings 2",
        1,
        "more.rrd has a data source 'jitter' besides those of rounds, which would be lost: it stays as it is",
    );
    assert!(fs::read(desk.path("line.rrd")).unwrap() == original);
    assert!(!desk.path("line.rrd.before").exists());
}

/// A conversion that takes long enough for a bar in any build.
#[test]
fn a_terminal_sees_how_far_it_is() {
    let desk = Desk::new();
    let sources: String = (1..=20).map(|rank| format!(" DS:ping{rank}:GAUGE:120:0:U")).collect();
    let large = format!(
        "rrd create large.rrd --step 60 --start 1700000100 DS:uptime:GAUGE:120:0:U DS:loss:GAUGE:120:0:20 \
         DS:median:GAUGE:120:0:U{sources} RRA:AVERAGE:0.5:1:150000"
    );
    done(&desk, &large);
    // A conversion may be done before anybody would have asked how far it is: it is held up in the middle.
    let shows_a_bar =
        || held_up_on_a_terminal(&desk).filter(|shown| shown.contains(" %  ") && shown.contains(" left"));
    let shown = (0..50).find_map(|_| shows_a_bar()).expect("one try in many meets the middle");
    assert!(shown.contains("large.rrd: now a step of 2m with 20 pings"), "{shown}");
    // And nobody else does.
    done(&desk, "convert large.rrd --step 120s");
}

/// What a terminal sees of the conversion of `large.rrd` that is stopped in the middle for longer than nobody asks, and
/// the file as it was. `None` where it was done before it could be stopped.
fn held_up_on_a_terminal(desk: &Desk) -> Option<String> {
    const LONG: Duration = Duration::from_millis(500);
    let terminal = openpty(None, None).unwrap();
    let mut command = desk.latmon("convert large.rrd --step 120s");
    command.env("TERM", "xterm").stdin(Stdio::null());
    command.stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave);
    let mut latmon = command.spawn().unwrap();
    // The terminal hangs up when the last program that has it ends.
    drop(command);
    let screen = std::thread::spawn(move || {
        let (mut shown, mut screen) = (Vec::new(), fs::File::from(terminal.master));
        // A terminal that hung up is an error to read from, behind all that was shown.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let in_the_middle = stop_in_the_middle(desk, "large.rrd", &mut latmon);
    if in_the_middle {
        std::thread::sleep(LONG);
        go_on(&mut latmon);
    }
    let shown = screen.join().unwrap();
    fs::rename(desk.path("large.rrd.before"), desk.path("large.rrd")).unwrap();
    in_the_middle.then_some(shown)
}

/// Stops a conversion that was just started between its first and its last change of the folder; `false` where it was
/// done earlier.
fn stop_in_the_middle(desk: &Desk, name: &str, latmon: &mut Child) -> bool {
    let (file, before) = (desk.path(name), desk.path(&format!("{name}.before")));
    while !before.exists() && latmon.try_wait().unwrap().is_none() {}
    let pid = Pid::from_raw(latmon.id().try_into().unwrap());
    if latmon.try_wait().unwrap().is_some() {
        return false;
    }
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    let inode = |path| fs::metadata(path).unwrap().ino();
    let in_the_middle = inode(&file) == inode(&before);
    if stopped == WaitStatus::Stopped(pid, Signal::SIGSTOP) && !in_the_middle {
        go_on(latmon);
    }
    in_the_middle
}

/// Lets go of what was stopped, until it ends well.
fn go_on(latmon: &mut Child) {
    kill(Pid::from_raw(latmon.id().try_into().unwrap()), Signal::SIGCONT).unwrap();
    assert!(latmon.wait().unwrap().success());
}

/// A link stays a link, and what it leads to gets its new shape, the old one beside it.
#[test]
fn a_link_is_followed() {
    let desk = Desk::new();
    record(&desk);
    fs::create_dir(desk.path("far")).unwrap();
    fs::rename(desk.path("line.rrd"), desk.path("far/line.rrd")).unwrap();
    std::os::unix::fs::symlink("far/line.rrd", desk.path("link.rrd")).unwrap();
    done(&desk, "convert link.rrd --pings 4");
    assert!(desk.path("link.rrd").symlink_metadata().unwrap().is_symlink());
    fs::remove_file(desk.path("far/line.rrd.before")).unwrap();
    let nothing = "link.rrd: nothing to do, its step is 60s with 4 pings\n";
    assert_eq!(done(&desk, "convert link.rrd --pings 4"), nothing);
}

/// An update that says it is done is in the file, whenever it came; one that comes in between is refused.
#[test]
fn no_update_is_lost_while_it_runs() {
    let desk = Desk::new();
    done(
        &desk,
        "rrd create line.rrd --step 60 --start 1700000100 DS:loss:GAUGE:120:0:1 DS:median:GAUGE:120:0:U \
         DS:ping1:GAUGE:120:0:U RRA:AVERAGE:0.5:1:150000",
    );
    let original = fs::read(desk.path("line.rrd")).unwrap();
    let mut convert = desk.latmon("convert line.rrd --pings 2");
    let mut child = (0..50)
        .find_map(|_| {
            let mut child = convert.stdout(Stdio::null()).spawn().unwrap();
            if stop_in_the_middle(&desk, "line.rrd", &mut child) {
                return Some(child);
            }
            fs::remove_file(desk.path("line.rrd.before")).unwrap();
            fs::write(desk.path("line.rrd"), &original).unwrap();
            None
        })
        .expect("one try in many meets the middle");
    let update = |minute: i64| {
        let argument = format!("{}:0:0.0{minute}", START + 60 * minute);
        let update = Command::new("rrdtool")
            .args(["update", "line.rrd", "--template", "loss:median", &argument])
            .current_dir(desk.path(""))
            .output()
            .expect("rrdtool runs (apt-get install rrdtool)");
        assert!(
            update.status.success() || text(&update.stderr) == "ERROR: could not lock RRD\n",
            "{update:?}"
        );
        update.status.success()
    };
    assert!(!update(1), "it is locked while it is read");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGCONT).unwrap();
    let mut stored = Vec::new();
    for minute in 2.. {
        let ended = child.try_wait().unwrap();
        if update(minute) {
            stored.push(START + 60 * minute);
        }
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
    }
    let archive = rrd::Rrd::new_checked(fs::read(desk.path("line.rrd")).unwrap()).unwrap();
    assert_eq!(Some(&archive.last_update().secs()), stored.last());
    let kept = rrd::Rrd::new_checked(fs::read(desk.path("line.rrd.before")).unwrap()).unwrap();
    let in_old = stored.iter().filter(|end| **end <= kept.last_update().secs()).count();
    let fetched =
        archive.fetch(rrd::Cf::Average, UnixTime::from_secs(START), archive.last_update(), 60).unwrap();
    let medians: Vec<i64> = fetched
        .rows()
        .filter(|(_, row)| row.values().nth(2).is_some_and(|v| !v.is_nan()))
        .map(|(end, _)| end.secs())
        .collect();
    assert_eq!(medians[..in_old], stored[..in_old]);
}

/// Converted by root, a file is still its user's. Needs root.
#[test]
fn the_owner_stays() {
    use std::os::unix::fs::{MetadataExt, chown};
    let desk = Desk::new();
    record(&desk);
    let file = desk.path("line.rrd");
    chown(&file, Some(12_345), Some(54_321)).expect("this test needs root");
    done(&desk, "convert line.rrd --pings 4");
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (12_345, 54_321, 0o644));
}

/// A folder with room for three megabytes, until it is dropped. Needs root.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Self {
        use nix::mount::{MsFlags, mount};
        fs::create_dir(&at).unwrap();
        mount(Some("none"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=3m"))
            .expect("this test needs root");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

#[test]
fn on_a_full_disk_nothing_is_changed_and_nothing_left() {
    let desk = Desk::new();
    let disk = SmallDisk::mount(desk.path("small"));
    done(
        &desk,
        "rrd create small/line.rrd --step 60 DS:loss:GAUGE:120:0:1 DS:median:GAUGE:120:0:U DS:ping1:GAUGE:120:0:U \
         RRA:AVERAGE:0.5:1:80000",
    );
    let original = fs::read(disk.0.join("line.rrd")).unwrap();
    let line = "allocating the blocks of 'small/line.rrd': No space left on device";
    refused(&desk, "convert small/line.rrd --step 30s", 1, line);
    assert!(fs::read(disk.0.join("line.rrd")).unwrap() == original);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 1);
}
