//! Rounds in archives, as rrdtool reads them: a row is a round, whatever was missed in between. Needs rrdtool.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use latmon::archive::{self, Archives, Recorded, Settings, TargetSettings, Wanted};
use latmon::round::{Fault, Ping, Round, Rtt, Target};
use latmon::time::{Step, UnixTime};

const START: i64 = 1_700_000_040;

fn target() -> Arc<Target> {
    Arc::new(Target { name: "line".into(), host: "192.0.2.1".into() })
}

fn settings(dir: &Path, step: Wanted<Step>, pings: Wanted<u16>) -> Settings {
    Settings {
        data_dir: dir.to_owned(),
        targets: vec![TargetSettings { target: target(), step, pings, asked: archive::Asked::default() }],
    }
}

fn minute() -> Step {
    Step::new(60).unwrap()
}

/// The round that ends `minutes` after the start: `5` is a ping of 5 ms, `x` a lost one, `?` one of our own faults.
fn round(minutes: i64, pings: &str) -> Round {
    let pings = pings
        .chars()
        .map(|letter| match letter {
            'x' => Ping::Lost,
            '?' => Ping::Unknown(Fault::Send(libc::ENETUNREACH)),
            ms => Ping::Answered(Rtt::new(Duration::from_millis(ms.to_digit(10).unwrap().into()))),
        })
        .collect();
    let end = UnixTime::from_secs(START + 60 * minutes);
    Round::new(target(), None, end.minus(Duration::from_secs(60)), end, pings)
}

/// Records one round by itself.
fn record(archives: &mut Archives, round: Round) -> Recorded {
    archives.record(&[round]).pop().unwrap()
}

/// `rrdtool fetch line.rrd AVERAGE` over the first minutes: loss, median and pings of each row in ms, `-` for unknown.
fn rows(dir: &Path, minutes: i64) -> Vec<String> {
    let output = Command::new("rrdtool")
        .args(["fetch", "line.rrd", "AVERAGE", "--start", &START.to_string(), "--end"])
        .arg((START + 60 * minutes - 1).to_string())
        .current_dir(dir)
        .output()
        .expect("rrdtool runs (apt-get install rrdtool)");
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |column: usize, text: &str| match text.parse::<f64>() {
        Ok(value) if value.is_nan() => "-".to_owned(),
        Ok(value) if column == 1 => format!("{value:.2}"),
        Ok(value) => format!("{}", (value * 1e9).round() / 1e6),
        Err(_) => panic!("{text}"),
    };
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(_, values)| {
            let values = values.split(' ').enumerate().skip(1);
            values.map(|(column, value)| number(column, value)).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn a_row_is_a_round_and_a_gap_stays_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START + 7)).unwrap();
    // Two minutes in a row, one missed (within the heartbeat: rrdtool alone would smear the next round over it), an
    // hour missed, and one more.
    for (minutes, pings) in [(1, "1234"), (2, "5555"), (4, "8888"), (64, "2x22")] {
        let recorded = record(&mut archives, round(minutes, pings));
        assert!(matches!(recorded, Recorded::Stored), "{recorded:?}");
    }
    let rows = rows(dir.path(), 64);
    let unknown = "- - - - - -";
    assert_eq!(rows[..4], ["0.00 3 1 2 3 4", "0.00 5 5 5 5 5", unknown, "0.00 8 8 8 8 8"]);
    assert!(rows[4..63].iter().all(|row| row == unknown), "{rows:?}");
    assert_eq!(rows[63], "1.00 2 2 2 2 -");
}

/// Rounds that waited together share a sync. What a loss of power takes from the archive, the journal has.
#[test]
fn a_group_of_rounds_is_stored_in_order_and_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    let file = dir.path().join("line.rrd");
    let behind = std::fs::read(&file).unwrap();
    let group =
        [(1, "1111"), (3, "3333"), (2, "2222"), (4, "4444")].map(|(minutes, pings)| round(minutes, pings));
    let recorded = archives.record(&group);
    assert!(
        matches!(
            &recorded[..],
            [
                Recorded::Stored,
                Recorded::Stored,
                Recorded::Behind { .. },
                Recorded::Recovered { missed: 1, waited: 0 }
            ]
        ),
        "{recorded:?}"
    );
    let expected = ["0.00 1 1 1 1 1", "- - - - - -", "0.00 3 3 3 3 3", "0.00 4 4 4 4 4"];
    assert_eq!(rows(dir.path(), 4), expected);
    drop(archives);
    std::fs::write(&file, behind).unwrap();
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    assert_eq!((archives.recovered().files, archives.recovered().records), (1, 1));
    assert_eq!(rows(dir.path(), 4), expected);
    assert!(matches!(record(&mut archives, round(5, "5555")), Recorded::Stored));
    archives.close().unwrap();
    assert_eq!(Archives::open(&settings, UnixTime::from_secs(START)).unwrap().recovered().files, 0);
}

#[test]
fn our_own_faults_are_unknown_and_loss_is_counted_among_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    for (minutes, pings) in [(1, "????"), (2, "x3??"), (3, "xxxx"), (4, "9x7x")] {
        assert!(matches!(record(&mut archives, round(minutes, pings)), Recorded::Stored));
    }
    // Half of the known pings lost: two of four.
    assert_eq!(rows(dir.path(), 4), ["- - - - - -", "2.00 3 - 3 - -", "4.00 - - - - -", "2.00 9 - 7 9 -"]);
}

#[test]
fn a_clock_behind_the_archive_is_told_once_and_stores_nothing() {
    // By a little, and after it was an hour ahead.
    for ahead in [3, 63] {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
        let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
        assert!(matches!(record(&mut archives, round(ahead, "1111")), Recorded::Stored));
        let told = record(&mut archives, round(ahead - 2, "2222"));
        assert!(matches!(told, Recorded::Behind { last } if last.secs() == START + 60 * ahead), "{told:?}");
        assert!(matches!(record(&mut archives, round(ahead - 1, "2222")), Recorded::StillFailing));
        assert!(matches!(record(&mut archives, round(ahead, "2222")), Recorded::StillFailing));
        assert!(matches!(
            record(&mut archives, round(ahead + 1, "4444")),
            Recorded::Recovered { missed: 3, waited: 0 }
        ));
        let rows = rows(dir.path(), ahead + 1);
        assert_eq!(rows[ahead as usize - 1..], ["0.00 1 1 1 1 1", "0.00 4 4 4 4 4"]);
        assert!(rows[..ahead as usize - 1].iter().all(|row| row == "- - - - - -"), "{rows:?}");
    }
}

#[test]
fn a_file_that_goes_away_is_told_once_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    assert!(matches!(record(&mut archives, round(1, "1111")), Recorded::Stored));
    let file = dir.path().join("line.rrd");
    std::fs::rename(&file, dir.path().join("aside")).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(record(&mut archives, round(2, "2222")), Recorded::Failed(_)));
    assert!(matches!(record(&mut archives, round(3, "2222")), Recorded::StillFailing));
    std::fs::remove_dir(&file).unwrap();
    assert!(matches!(record(&mut archives, round(4, "4444")), Recorded::Recovered { missed: 2, waited: 0 }));
    assert_eq!(rows(dir.path(), 4)[3], "0.00 4 4 4 4 4");
}

/// A dump that somebody reads slowly, as in a pager, holds the lock: what is measured meanwhile waits, in order.
#[test]
fn rounds_wait_for_an_archive_that_somebody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let other = Arc::new(Target { name: "other".into(), host: "192.0.2.2".into() });
    settings.targets.push(TargetSettings { target: Arc::clone(&other), ..settings.targets[0].clone() });
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    assert!(matches!(record(&mut archives, round(1, "1111")), Recorded::Stored));
    let dump = || {
        let mut dump = Command::new("rrdtool")
            .args(["dump", "line.rrd"])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("rrdtool runs (apt-get install rrdtool)");
        // Its first byte says that it has the lock; the rest is more than the pipe takes.
        dump.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        dump
    };
    let end = |mut dump: Child| {
        dump.kill().unwrap();
        dump.wait().unwrap();
    };

    let reader = dump();
    let told = record(&mut archives, round(2, "2222"));
    let Recorded::Waits(error) = told else { panic!("{told:?}") };
    assert!(error.to_string().ends_with("line.rrd: could not lock RRD"), "{error}");
    let start = UnixTime::from_secs(START + 120);
    let others = Round::new(other, None, start, start.plus(minute().duration()), vec![Ping::Lost; 4]);
    let told = archives.record(&[round(3, "3333"), others]);
    assert!(matches!(told[..], [Recorded::StillFailing, Recorded::Stored]), "{told:?}");
    end(reader);
    let told = record(&mut archives, round(4, "4444"));
    assert!(matches!(told, Recorded::Recovered { missed: 0, waited: 2 }), "{told:?}");
    assert!(matches!(record(&mut archives, round(5, "5555")), Recorded::Stored));

    let reader = dump();
    assert!(matches!(record(&mut archives, round(6, "6666")), Recorded::Waits(_)));
    end(reader);
    archives.close().unwrap();
    let expected = ["1 1 1 1 1", "2 2 2 2 2", "3 3 3 3 3", "4 4 4 4 4", "5 5 5 5 5", "6 6 6 6 6"];
    assert_eq!(rows(dir.path(), 6), expected.map(|row| format!("0.00 {row}")));
}

/// Two programs that write one archive would blend their rows: ours stands back, and says so once, until the other
/// one has stopped.
#[test]
fn another_writer_is_noticed_and_its_rows_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    assert!(matches!(record(&mut archives, round(1, "1111")), Recorded::Stored));
    let other = |second: i64| {
        let update = format!("{}:U:0:7:7:7:7:7", START + second);
        let done =
            Command::new("rrdtool").args(["update", "line.rrd", &update]).current_dir(dir.path()).status();
        assert!(done.expect("rrdtool runs (apt-get install rrdtool)").success());
    };
    other(70);
    let told = record(&mut archives, round(2, "2222"));
    let Recorded::Failed(error) = told else { panic!("{told:?}") };
    assert!(error.to_string().contains("another program has updated it"), "{error}");
    other(130);
    assert!(matches!(record(&mut archives, round(3, "3333")), Recorded::StillFailing));
    assert!(matches!(record(&mut archives, round(4, "4444")), Recorded::Recovered { missed: 2, waited: 0 }));
}

/// One archive that is spoilt stops neither the start nor the others.
#[test]
fn one_spoilt_archive_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Outright(4));
    let other = Arc::new(Target { name: "spoilt".into(), host: "192.0.2.2".into() });
    settings.targets.push(TargetSettings { target: other.clone(), ..settings.targets[0].clone() });
    std::fs::write(dir.path().join("spoilt.rrd"), "no archive").unwrap();
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    assert!(matches!(record(&mut archives, round(1, "1111")), Recorded::Stored));
    let end = UnixTime::from_secs(START + 60);
    let start = UnixTime::from_secs(START);
    let failed = record(&mut archives, Round::new(other, None, start, end, vec![Ping::Lost; 4]));
    let Recorded::Failed(error) = failed else { panic!("{failed:?}") };
    assert!(error.to_string().contains("spoilt.rrd"), "{error}");
    assert_eq!(std::fs::read_to_string(dir.path().join("spoilt.rrd")).unwrap(), "no archive");
}

/// The default layout at 60 s and 20 pings: the size that the documentation promises.
#[test]
fn a_new_archive_has_the_promised_layout() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), Wanted::Default(minute()), Wanted::Default(20));
    drop(Archives::open(&settings, UnixTime::from_secs(START)).unwrap());
    let size = std::fs::metadata(dir.path().join("line.rrd")).unwrap().len();
    assert!((12_300_000..12_400_000).contains(&size), "{size}");
    let info = Command::new("rrdtool").args(["info", "line.rrd"]).current_dir(dir.path()).output().unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    for said in [
        "step = 60\n",
        "ds[uptime].index = 0\n",
        "ds[loss].max = 2.0000000000e+01\n",
        "ds[ping20].minimal_heartbeat = 120\n",
        "ds[median].min = 0.0000000000e+00\n",
        "rra[0].cf = \"AVERAGE\"\nrra[0].rows = 14400\n",
        "rra[1].cf = \"AVERAGE\"\nrra[1].rows = 12960\n",
        "rra[2].cf = \"AVERAGE\"\nrra[2].rows = 13140\n",
        "rra[3].cf = \"MIN\"\nrra[3].rows = 13140\n",
        "rra[4].cf = \"MAX\"\nrra[4].rows = 13140\n",
    ] {
        assert!(info.contains(said), "{said}");
    }
}

/// A file with SmokePing's data sources, made by rrdtool, as a history.
#[test]
fn an_archive_of_smokeping_is_read_as_rrdtool_reads_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smokeping/line.rrd");
    let at = UnixTime::from_secs;
    let history = archive::history(&file, "line", at(1_795_332_000), at(1_795_334_399)).unwrap();
    assert_eq!((history.row.secs(), history.pings, history.rows.len()), (10, 20, 240));
    let output = Command::new("rrdtool")
        .arg("fetch")
        .arg(&file)
        .args(["AVERAGE", "--start", "1795332000", "--end", "1795334399"])
        .output()
        .expect("rrdtool runs (apt-get install rrdtool)");
    let text = String::from_utf8(output.stdout).unwrap();
    for (line, row) in text.lines().filter(|line| line.contains(": ")).zip(&history.rows) {
        let (end, values) = line.split_once(": ").unwrap();
        let values: Vec<f64> = values.split(' ').map(|value| value.parse().unwrap()).collect();
        assert_eq!(end.trim().parse(), Ok(row.end.secs()));
        let close = |ours: Option<f64>, theirs: f64| match ours {
            Some(ours) => (ours - theirs).abs() < 1e-9,
            None => theirs.is_nan(),
        };
        assert!(close(row.loss_ratio.map(|ratio| ratio * 20.0), values[1]), "{line}");
        assert!(close(row.median.map(Rtt::as_secs_f64), values[2]), "{line}");
        for (rank, theirs) in row.ranks.iter().zip(&values[3..]) {
            assert!(close(rank.map(Rtt::as_secs_f64), *theirs), "{line}");
        }
        assert_eq!(row.is_down(), values[1] == 20.0, "{line}");
    }
}

/// Files are kept open as far as the system allows; the others are opened for each round.
#[test]
fn more_targets_than_descriptors_are_recorded_all_the_same() {
    const CHILD: &str = "LATMON_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let name = "more_targets_than_descriptors_are_recorded_all_the_same";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--test-threads=1"]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 24, 24).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let targets: Vec<Arc<Target>> = (0..30)
        .map(|number| Arc::new(Target { name: format!("line{number}"), host: "192.0.2.1".into() }))
        .collect();
    let wanted = |target: &Arc<Target>| TargetSettings {
        target: target.clone(),
        step: Wanted::Default(minute()),
        pings: Wanted::Outright(4),
        asked: archive::Asked::default(),
    };
    let settings =
        Settings { data_dir: dir.path().to_owned(), targets: targets.iter().map(wanted).collect() };
    let mut archives = Archives::open(&settings, UnixTime::from_secs(START)).unwrap();
    for minutes in 1..4 {
        let end = UnixTime::from_secs(START + 60 * minutes);
        for target in &targets {
            let pings = vec![Ping::Lost; 4];
            let round = Round::new(target.clone(), None, end.minus(Duration::from_secs(60)), end, pings);
            let recorded = record(&mut archives, round);
            assert!(matches!(recorded, Recorded::Stored), "{}: {recorded:?}", target.name);
        }
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!((8..24).contains(&open), "{open} descriptors are open");
}
