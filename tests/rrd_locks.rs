//! Many writers of one file: threads of one process, other processes of ours, and the real rrdtool, which does not wait
//! for a lock. No update that was acknowledged is lost, and the file is the one that the same updates make one by one.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use latmon::rrd::{self, Access, Definition, Error, Overwrite, Set, UpdateError, UpdateOptions};
use latmon::time::{Step, UnixTime};

use support::rrdtool::{Answer, Rrdtool, TZ, cases};

const START: i64 = 1_700_000_000;

fn definition() -> Definition {
    let archives = ["RRA:LAST:0.5:1:20000", "RRA:AVERAGE:0.5:7:3000", "RRA:MAX:0.5:60:400"];
    Definition {
        step: Step::new(1).unwrap(),
        start: UnixTime::from_secs(START),
        data_sources: ["DS:a:GAUGE:120:0:U", "DS:b:COUNTER:120:0:U"].map(|text| text.parse().unwrap()).into(),
        archives: archives.map(|text| text.parse().unwrap()).into(),
    }
}

/// The file that all write, and the numbers of the updates: each writer takes the next, until the last.
struct Table {
    folder: tempfile::TempDir,
    next: AtomicI64,
    end: AtomicI64,
    /// Microseconds between two updates of a writer, so that those who do not wait for a lock find it free.
    pause: AtomicU64,
}

impl Table {
    fn new(end: u64, pause: u64) -> Self {
        let table = Self {
            folder: tempfile::tempdir().unwrap(),
            next: AtomicI64::new(1),
            end: AtomicI64::new(end as i64),
            pause: AtomicU64::new(pause),
        };
        rrd::create(&table.path("f.rrd"), &definition(), Overwrite::Yes).unwrap();
        fs::copy(table.path("f.rrd"), table.path("twin.rrd")).unwrap();
        table
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Updates with one number after the other, and returns the acknowledged ones. Another writer may have been faster
    /// with a later one: then the update is refused, and is not in the file. Who is slow needs a `lead`.
    fn write(&self, lead: i64, mut update: impl FnMut(&Path, i64) -> Outcome) -> Vec<i64> {
        let mut acknowledged = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + lead;
            if number > self.end.load(Ordering::Relaxed) {
                return acknowledged;
            }
            loop {
                match update(&self.path("f.rrd"), number) {
                    Outcome::Done => {
                        self.next.fetch_max(number + 1, Ordering::Relaxed);
                        acknowledged.push(number);
                    }
                    Outcome::Late => {}
                    Outcome::Locked => {
                        std::thread::yield_now();
                        continue;
                    }
                }
                break;
            }
            std::thread::sleep(Duration::from_micros(self.pause.load(Ordering::Relaxed)));
        }
    }

    /// The file must be what rrdtool makes of the acknowledged updates in the order of their stamps.
    fn check(&self, mut acknowledged: Vec<i64>) {
        acknowledged.sort_unstable();
        assert!(acknowledged.windows(2).all(|pair| pair[0] < pair[1]));
        let mut rrdtool = Rrdtool::start(self.folder.path());
        for some in acknowledged.chunks(100) {
            let arguments: Vec<String> = some.iter().map(|number| argument(*number)).collect();
            let mut words = vec!["update", "twin.rrd"];
            words.extend(arguments.iter().map(String::as_str));
            assert_eq!(rrdtool.run(&words), Ok(vec![]));
        }
        let [dump, twin] = ["f.rrd", "twin.rrd"].map(|name| rrdtool.run(&["dump", name]).unwrap());
        assert!(dump == twin, "an update was lost, or stored twice");
        assert!(fs::read(self.path("f.rrd")).unwrap() == fs::read(self.path("twin.rrd")).unwrap());
        assert!(rrdtool.run(&["info", "f.rrd"]).is_ok());
    }
}

fn argument(number: i64) -> String {
    format!("{}:{number}:{}", START + number, number * number)
}

enum Outcome {
    Done,
    /// A later one is in the file already.
    Late,
    /// Somebody else is at it.
    Locked,
}

impl Outcome {
    fn of(outcome: Result<(), Error>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(Error::Update { error: UpdateError::Illegal { .. }, .. }) => Self::Late,
            Err(Error::Locked { .. }) => Self::Locked,
            Err(error) => panic!("{error}"),
        }
    }

    fn of_answer(answer: Answer) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(text) if text.contains("illegal attempt to update using time") => Self::Late,
            Err(text) if text == "could not lock RRD" => Self::Locked,
            Err(text) => panic!("{text}"),
        }
    }
}

fn options<'a>() -> UpdateOptions<'a> {
    UpdateOptions::new(UnixTime::from_secs(START))
}

fn kept_open(table: &Table) -> Vec<i64> {
    let mut file = rrd::File::open(table.path("f.rrd"), Access::Write).unwrap();
    table.write(0, |_, number| {
        let values = [number as f64, (number * number) as f64];
        Outcome::of(file.update(UnixTime::from_secs(START + number), &values))
    })
}

fn once(table: &Table) -> Vec<i64> {
    table.write(0, |path, number| Outcome::of(rrd::update(path, &options(), &[argument(number)])))
}

/// Keeps the lock over a few updates.
fn in_a_set(table: &Table) -> Vec<i64> {
    let mut set = Set::new();
    table.write(0, |path, number| {
        let outcome = set.update(path, &options(), &[argument(number)]);
        if outcome.is_err() || number % 5 == 0 {
            set.release();
        }
        Outcome::of(outcome)
    })
}

fn piped(table: &Table, mut pipe: Rrdtool) -> Vec<i64> {
    table.write(10, |_, number| Outcome::of_answer(pipe.run(&["update", "f.rrd", &argument(number)])))
}

#[test]
fn threads_of_one_process_lose_no_update() {
    let table = Table::new(cases(6000), 0);
    let acknowledged = std::thread::scope(|scope| {
        let writers: [fn(&Table) -> Vec<i64>; 6] = [kept_open, kept_open, once, once, in_a_set, in_a_set];
        let table = &table;
        let writers = writers.map(|writer| scope.spawn(move || writer(table)));
        writers.map(|writer| writer.join().unwrap())
    });
    println!("{:?} updates", acknowledged.each_ref().map(Vec::len));
    table.check(acknowledged.concat());
}

#[test]
fn rrdtool_beside_us_loses_no_update_and_neither_do_we() {
    const LONGEST_PAUSE: u64 = 100_000;
    let table = Table::new(i64::MAX as u64, 1000);
    let folder = table.folder.path();
    // It is the slowest by far, and so it says when it is enough.
    let mut left = cases(40);
    let a_process_each = || {
        table.write(500, |_, number| {
            let mut command = Command::new("rrdtool");
            command.args(["update", "f.rrd", &argument(number)]).current_dir(folder).env("TZ", TZ);
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            left -= u64::from(output.status.success());
            if left == 0 {
                table.end.store(0, Ordering::Relaxed);
            }
            let outcome = Outcome::of_answer(match text.trim_end().strip_prefix("ERROR: ") {
                Some(text) => Err(text.to_owned()),
                None => Ok(output.stdout),
            });
            if matches!(outcome, Outcome::Late) {
                // A program takes longer to start here than the others took to pass its lead.
                let slower = |pause: u64| Some((2 * pause).min(LONGEST_PAUSE));
                let _ = table.pause.fetch_update(Ordering::Relaxed, Ordering::Relaxed, slower);
            }
            outcome
        })
    };
    let acknowledged = std::thread::scope(|scope| {
        let writers = [
            scope.spawn(|| kept_open(&table)),
            scope.spawn(|| once(&table)),
            scope.spawn(|| piped(&table, Rrdtool::start_latmon(folder))),
            scope.spawn(|| piped(&table, Rrdtool::start(folder))),
            scope.spawn(a_process_each),
        ];
        writers.map(|writer| writer.join().unwrap())
    });
    println!("{:?} updates", acknowledged.each_ref().map(Vec::len));
    assert!(acknowledged.iter().all(|some| !some.is_empty()), "somebody never came to it");
    table.check(acknowledged.concat());
}

fn pipe_in(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latmon"));
    command.args(["rrd", "-"]).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Lines that are here already are taken under one lock; who waits for an answer finds the file free.
#[test]
fn a_pipe_lets_go_of_its_files_before_it_waits() {
    let table = Table::new(0, 0);
    let folder = table.folder.path();
    let mut child = pipe_in(folder);
    let mut commands = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut rrdtool = Rrdtool::start(folder);
    for round in 0_i64..20 {
        let number = |index| round * 100 + index;
        let mut lines: String =
            (1..50).map(|index| format!("update f.rrd {}\n", argument(number(index)))).collect();
        // What looks at the file between finds it as the lines before left it.
        lines.push_str("last f.rrd\nupdate f.rrd 1:1:1\nupdate nofile 1:1\n");
        lines.push_str(&format!("update f.rrd {}\n", argument(number(50))));
        // A line that is not whole yet is waited for.
        lines.push_str("update f.rr");
        commands.write_all(lines.as_bytes()).unwrap();
        let mut next = || answers.next().unwrap().unwrap();
        assert!((1..50).all(|_| next().starts_with("OK u:")));
        assert_eq!(next(), (START + number(49)).to_string());
        assert!(next().starts_with("OK u:"));
        assert!(next().starts_with("ERROR: f.rrd: illegal attempt to update using time 1 when"));
        assert_eq!(next(), "ERROR: opening 'nofile': No such file or directory");
        assert!(next().starts_with("OK u:"));
        // rrdtool does not wait for a lock.
        assert_eq!(rrdtool.run(&["update", "f.rrd", &argument(number(51))]), Ok(vec![]));
        commands.write_all(format!("d {}\n", argument(number(52))).as_bytes()).unwrap();
        assert!(next().starts_with("OK u:"));
        assert_eq!(rrdtool.run(&["last", "f.rrd"]), Ok(format!("{}\n", START + number(52)).into_bytes()));
    }
    drop(commands);
    assert!(child.wait().unwrap().success());
    let all = (0..20).flat_map(|round| (1..=52).map(move |index| round * 100 + index)).collect();
    table.check(all);
}

/// Who writes commands and reads no answers must not keep a file locked.
#[test]
fn a_pipe_whose_answers_nobody_reads_locks_nothing() {
    let table = Table::new(0, 0);
    let folder = table.folder.path();
    let mut child = pipe_in(folder);
    let mut commands = child.stdin.take().unwrap();
    let all: Vec<i64> = (1..10_000).collect();
    let script: String = all.iter().map(|number| format!("update f.rrd {}\n", argument(*number))).collect();
    let writer = std::thread::spawn(move || commands.write_all(script.as_bytes()).unwrap());
    // It stops when its answers fill their pipe. Until then it lets go of the file again and again.
    let mut rrdtool = Rrdtool::start(folder);
    let mut stays = 0;
    let mut last = Vec::new();
    while stays < 50 {
        let Ok(now) = rrdtool.run(&["last", "f.rrd"]) else { continue };
        stays = if now == last { stays + 1 } else { 0 };
        last = now;
        std::thread::sleep(Duration::from_millis(2));
    }
    let stamp = String::from_utf8(last).unwrap().trim().parse::<i64>().unwrap();
    assert!(stamp > START && stamp < START + 9_999, "{stamp}");
    let mut file = rrd::File::open(table.path("f.rrd"), Access::Write).unwrap();
    // It may have been held up in between, but then it comes to its end and lets go.
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = file.update_text::<&[u8]>(&[], UnixTime::from_secs(START)) {
        assert!(matches!(error, Error::Locked { .. }) && Instant::now() < deadline, "{error}");
    }
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(
        answers.by_ref().filter(|line| line.as_ref().unwrap().starts_with("OK u:")).count(),
        all.len()
    );
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    table.check(all);
}
