//! Crash safety, with real kills: `latmon rrd --journal FOLDER -` and `latmon run` are killed, and what they left is
//! compared with archives that never saw a crash. Needs rrdtool, and for `latmon run` the right to send pings.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod rrdtool;
}

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use latmon::rrd::Rrd;
use latmon::time::UnixTime;
use support::latmon::{Desk, told};
use support::rrdtool::{Random, cases, seed};

const START: i64 = 1_700_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Archives of 23 data sources, whose headers and rows span pages, and what became of them without a crash.
struct Farm {
    dir: tempfile::TempDir,
    twins: Vec<Vec<u8>>,
    clock: i64,
}

/// One update: of which archive, and its arguments.
#[derive(Clone)]
struct Line {
    file: usize,
    arguments: Vec<String>,
}

impl Farm {
    fn new(files: usize) -> Self {
        // In memory where that is possible: a kill leaves the disks alone, and a sync of theirs waits for everybody's.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let farm = Self { dir, twins: Vec::new(), clock: START };
        for file in 0..files {
            let mut words = vec!["create".to_owned(), name(file)];
            words.extend(["-b", "1700000000", "-s", "10"].map(str::to_owned));
            words.extend((0..23).map(|ds| format!("DS:ping{ds}:GAUGE:120:0:U")));
            words.extend(
                ["AVERAGE:0.5:1:70", "AVERAGE:0.5:5:40", "MAX:0.5:7:30"].map(|rra| format!("RRA:{rra}")),
            );
            let made = farm.latmon(&words).output().unwrap();
            assert_eq!(told(&made), (Some(0), String::new()));
        }
        let twins = (0..files).map(|file| farm.bytes(file)).collect();
        Self { twins, ..farm }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bytes(&self, file: usize) -> Vec<u8> {
        fs::read(self.path(&name(file))).unwrap()
    }

    fn latmon<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latmon"));
        command.arg("rrd").args(words).current_dir(self.dir.path());
        command
    }

    /// Opens the journal, for a verb that needs it for nothing else.
    fn recover(&self) -> Output {
        self.latmon(&["--journal", "j", "last", &name(0)]).output().unwrap()
    }

    fn start(&self) -> Session {
        Session::start(&mut self.latmon(&["--journal", "j", "-"]))
    }

    /// Updates that are all acknowledged, by a process that ends.
    fn batch(&self, lines: &[Line]) {
        let mut session = self.start();
        session.update(lines);
        drop(session.child.stdin.take());
        assert!(session.child.wait().unwrap().success());
    }

    fn lines(&mut self, count: u64, random: &mut Random) -> Vec<Line> {
        (0..count).map(|_| self.line(random)).collect()
    }

    fn line(&mut self, random: &mut Random) -> Line {
        let file = random.below(self.twins.len() as u64) as usize;
        let mut arguments = Vec::new();
        for _ in 0..=random.below(3) {
            self.clock += 1 + random.below(20).cast_signed();
            let readings: Vec<String> = (0..23).map(|_| random.below(500).to_string()).collect();
            arguments.push(format!("{}.{}:{}", self.clock, random.below(10), readings.join(":")));
        }
        Line { file, arguments }
    }

    fn take(&mut self, line: &Line) {
        let mut twin = Rrd::new_checked(&mut self.twins[line.file][..]).unwrap();
        for argument in &line.arguments {
            twin.update_text(argument.as_bytes(), UnixTime::from_secs(0)).unwrap();
        }
    }

    fn is_twin(&self, file: usize) -> bool {
        self.bytes(file) == self.twins[file]
    }

    /// Every archive is as if it had taken all acknowledged lines, and of the others none or the first ones.
    fn check(&mut self, lines: &[Line], acknowledged: usize, told: &str) {
        let (done, begun) = lines.split_at(acknowledged);
        done.iter().for_each(|line| self.take(line));
        for file in 0..self.twins.len() {
            let mut rest = begun.iter().filter(|line| line.file == file);
            while !self.is_twin(file) {
                let next = rest.next().unwrap_or_else(|| panic!("{told}: {} is no whole update", name(file)));
                self.take(next);
            }
        }
    }
}

fn name(file: usize) -> String {
    format!("f{file}.rrd")
}

/// A running pipe mode.
struct Session {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn send(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The next answer, which is one line.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }

    /// Sends updates that must all be acknowledged.
    fn update(&mut self, lines: &[Line]) {
        self.send(&text(lines));
        for line in lines {
            let answer = self.answer();
            assert!(answer.starts_with("OK "), "{answer} to {}", line.arguments.join(" "));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("update {} {}\n", name(line.file), line.arguments.join(" "))).collect()
}

#[test]
fn killed_at_any_moment_it_has_lost_and_torn_nothing() {
    let (seed, kills) = (seed(), cases(100));
    let mut farm = Farm::new(6);
    let (mut brought, mut acknowledged_all, mut whole) = (0, 0, Duration::ZERO);
    for case in 0..kills {
        let mut random = Random::new(seed, case);
        if case % 3 == 0 {
            // Which begins with what one that ended left.
            let lines = farm.lines(40, &mut random);
            farm.batch(&lines);
            farm.check(&lines, lines.len(), "a batch that ended");
        }
        let lines = farm.lines(400, &mut random);
        let mut session = farm.start();
        let mut stdin = session.child.stdin.take().unwrap();
        // Some at a time, so that groups are of all sizes.
        let chunks: Vec<String> = lines.chunks(1 + random.below(60) as usize).map(text).collect();
        let writer = std::thread::spawn(move || {
            // Who was killed reads no more.
            let _ = chunks.iter().try_for_each(|chunk| stdin.write_all(chunk.as_bytes()));
            // At its end the other side would clean up.
            stdin
        });
        let began = Instant::now();
        let mut acknowledged_first = usize::from(session.answer().starts_with("OK "));
        if case == 0 {
            (1..lines.len())
                .for_each(|_| acknowledged_first += usize::from(session.answer().starts_with("OK ")));
            whole = began.elapsed().min(Duration::from_millis(100));
        }
        // Within the time that all of it takes, which is not the same on any two machines.
        std::thread::sleep(whole.mul_f64(random.below(1000) as f64 / 1000.0));
        session.kill();
        drop(writer.join().unwrap());
        let mut acknowledged = acknowledged_first;
        loop {
            let answer = session.answer();
            match answer.strip_suffix('\n') {
                Some(whole) => assert!(whole.starts_with("OK "), "{whole}"),
                None => break,
            }
            acknowledged += 1;
        }
        acknowledged_all += acknowledged;
        let told = format!("seed {seed}, kill {case}, {acknowledged} acknowledged");
        let recovered = farm.recover();
        assert_eq!(recovered.status.code(), Some(0), "{told}: {recovered:?}");
        let log = String::from_utf8(recovered.stderr).unwrap();
        assert!(!log.contains("could not be"), "{told}: {log}");
        brought += u64::from(log.contains("the journal brought "));
        farm.check(&lines, acknowledged, &told);
        if case % 100 == 99 {
            println!("{told}: whole");
        }
    }
    println!(
        "{kills} kills, {brought} with a journal to store again, {acknowledged_all} updates acknowledged"
    );
    assert_eq!(brought, kills, "each kill meets a journal");
}

/// What a loss of power may leave: an archive whose pages are of the last sync.
#[test]
fn what_was_acknowledged_is_brought_back_into_an_archive_that_is_behind() {
    let mut farm = Farm::new(3);
    let mut random = Random::new(1, 0);
    let behind: Vec<Vec<u8>> = (0..3).map(|file| farm.bytes(file)).collect();
    let lines = farm.lines(200, &mut random);
    let mut session = farm.start();
    session.update(&lines);
    session.kill();
    for (file, bytes) in behind.iter().enumerate() {
        // In its place: an archive is known by its number.
        fs::write(farm.path(&name(file)), bytes).unwrap();
    }
    let (code, log) = told(&farm.recover());
    assert_eq!(code, Some(0));
    assert!(log.contains("after a crash the journal brought 3 archives up to date ("), "{log}");
    farm.check(&lines, lines.len(), "all of it");
    assert_eq!(told(&farm.recover()), (Some(0), String::new()), "the second time there is nothing to do");
}

#[test]
fn what_another_program_wrote_since_is_left_alone_and_told() {
    let mut farm = Farm::new(4);
    let behind = farm.bytes(0);
    let mut random = Random::new(2, 0);
    let lines = farm.lines(100, &mut random);
    let mut session = farm.start();
    session.update(&lines);
    session.kill();
    // rrdtool updates one, another is replaced, a third is gone.
    let readings = ":1".repeat(23);
    let theirs = Command::new("rrdtool")
        .args(["update", &name(1), &format!("{}{readings}", farm.clock + 5)])
        .current_dir(farm.dir.path())
        .status()
        .expect("this test needs the real rrdtool: apt-get install rrdtool");
    assert!(theirs.success());
    fs::copy(farm.path(&name(2)), farm.path("new")).unwrap();
    fs::rename(farm.path("new"), farm.path(&name(2))).unwrap();
    fs::remove_file(farm.path(&name(3))).unwrap();
    fs::write(farm.path(&name(0)), behind).unwrap();
    let before = [1, 2].map(|file| farm.bytes(file));

    let (code, log) = told(&farm.recover());
    assert_eq!(code, Some(0));
    assert!(log.contains("brought 1 archive up to date"), "{log}");
    assert!(log.contains("; 3 could not be: "), "{log}");
    assert!(log.contains("; their records are kept in ") && log.contains("/j/journal.kept-1"), "{log}");
    assert!(farm.path("j/journal.kept-1").metadata().unwrap().len() > 0);
    assert_eq!([1, 2].map(|file| farm.bytes(file)), before, "what they wrote stays");
    lines.iter().for_each(|line| farm.take(line));
    assert!(farm.is_twin(0), "the others are brought up to date");

    let line = Line { file: 1, arguments: vec![format!("{}{readings}", farm.clock + 15)] };
    let mut session = farm.start();
    session.update(&[line]);
    session.kill();
    let (_, log) = told(&farm.recover());
    assert!(log.contains("brought 1 archive up to date (1 record)"), "it goes on from there: {log}");
}

/// A batch that ended leaves its records for the next one, which has nothing to say about what came in between.
#[test]
fn after_a_batch_that_ended_the_next_one_is_silent() {
    let mut farm = Farm::new(4);
    let mut random = Random::new(4, 0);
    let readings = ":1".repeat(23);
    for _ in 0..3 {
        let lines = farm.lines(300, &mut random);
        farm.batch(&lines);
        let records = fs::read(farm.path("j/journal")).unwrap();
        assert!(records.starts_with(b"latmonJ"), "what the archives took may not be on the disk yet");
        farm.check(&lines, lines.len(), "the batch");
        let theirs = Line { file: 1, arguments: vec![format!("{}{readings}", farm.clock + 5)] };
        farm.clock += 5;
        let mut rrdtool = support::rrdtool::Rrdtool::start(farm.dir.path());
        rrdtool.run(&["update", &name(1), &theirs.arguments[0]]).unwrap();
        farm.take(&theirs);
        if farm.path(&name(3)).exists() {
            fs::remove_file(farm.path(&name(3))).unwrap();
            farm.twins.truncate(3);
        }
        assert_eq!(told(&farm.recover()), (Some(0), String::new()));
        assert!((0..3).all(|file| farm.is_twin(file)));
        let cut = fs::read(farm.path("j/journal")).unwrap();
        assert_eq!(cut.len(), records.len(), "the next one writes over it");
        assert!(cut[..40].iter().all(|byte| *byte == 0));
    }
}

/// Between two of our updates rrdtool writes one; the crash comes after.
#[test]
fn another_programs_update_between_two_of_ours_is_kept() {
    let mut farm = Farm::new(1);
    let readings = ":1".repeat(23);
    let mut session = farm.start();
    let ours = |secs: i64| Line { file: 0, arguments: vec![format!("{}{readings}", START + secs)] };
    session.update(&[ours(10)]);
    let mut rrdtool = support::rrdtool::Rrdtool::start(farm.dir.path());
    rrdtool.run(&["update", &name(0), &format!("{}{readings}", START + 20)]).unwrap();
    session.update(&[ours(30)]);
    session.kill();
    let (_, log) = told(&farm.recover());
    assert!(log.contains("brought 1 archive up to date (1 record)"), "only what came after theirs: {log}");
    [10, 20, 30].iter().for_each(|secs| farm.take(&ours(*secs)));
    assert!(farm.is_twin(0));
}

/// Two names of one file in one group: its lock is taken once.
#[test]
fn one_file_by_two_names_is_one_archive() {
    let mut farm = Farm::new(1);
    fs::hard_link(farm.path("f0.rrd"), farm.path("f1.rrd")).unwrap();
    let readings = ":1".repeat(23);
    let line = |file, secs: i64| Line { file, arguments: vec![format!("{}{readings}", START + secs)] };
    let lines: Vec<Line> = (1..50_i64).map(|number| line((number % 2) as usize, 7 * number)).collect();
    let mut session = farm.start();
    session.update(&lines);
    session.kill();
    assert_eq!(farm.recover().status.code(), Some(0));
    lines.iter().for_each(|line| farm.take(&Line { file: 0, ..line.clone() }));
    assert!(farm.is_twin(0));
}

#[test]
fn a_journal_has_one_writer() {
    let farm = Farm::new(1);
    let mut session = farm.start();
    session.send("last f0.rrd\n");
    assert_eq!(session.answer(), "1700000000\n");
    let (code, error) = told(&farm.recover());
    let pid = session.child.id();
    let expected = format!(
        "ERROR: another process ({pid}) has the journal in j: stop it first, or give this one a folder of its own\n"
    );
    assert_eq!((code, error), (Some(1), expected));
    session.kill();
    assert_eq!(farm.recover().status.code(), Some(0));
}

/// The verbs answer as they do without a journal.
#[test]
fn the_answers_are_the_same_with_a_journal() {
    let script = "update f0.rrd 1700000010:1\nupdate\nupdate f0.rrd\nupdate nofile 1:1\nlast f0.rrd\n\
                  updatev f0.rrd -t ping0 1700000011:1 1700000035:2 x:1\nupdatev nofile 1:1\nupdatev -d x f0.rrd 1:1\n\
                  update f0.rrd -t ping1:ping2 1700000040:1:2\nupdate f0.rrd -t ping1 1700000060:1 1700000050:1\n\
                  update f0.rrd -s -t ping1 1700000050:1\nmkdir sub\ncd sub\nupdate ../f0.rrd -t ping0 1700000070:5\n\
                  cd ..\nlast 'f0.rrd\nlastupdate f0.rrd\nfoo\n\nquit\nlast f0.rrd\n";
    let [plain, journaled] = [&["-"][..], &["--journal", "j", "-"][..]].map(|words| {
        let farm = Farm::new(1);
        let mut session = Session::start(&mut farm.latmon(words));
        session.send(script);
        drop(session.child.stdin.take());
        let mut answers = Vec::new();
        loop {
            let answer = session.answer();
            if answer.is_empty() {
                break;
            }
            let is_ok = answer.starts_with("OK u:");
            answers.push(if is_ok { "OK\n".to_owned() } else { answer });
        }
        assert!(session.child.wait().unwrap().success());
        // Where the rows begin is drawn by lot.
        let dump = farm.latmon(&["dump", "f0.rrd"]).output().unwrap().stdout;
        (answers, String::from_utf8(dump).unwrap())
    });
    assert_eq!(plain.0, journaled.0);
    assert!(plain.1 == journaled.1, "the archives differ");
    assert!(plain.0.len() > 20);
}

/// Where there is no room the journal is cut for some; where that is not enough nothing is stored, and it is told.
#[test]
fn without_room_for_the_journal_an_update_is_refused_whole() {
    let mut farm = Farm::new(60);
    let mut random = Random::new(3, 0);
    // No file may grow beyond 64 KiB, and none is told so by a signal; archives are larger from their beginning.
    let mut sh = Command::new("sh");
    sh.arg("-c").arg("trap '' XFSZ; ulimit -f 128; exec \"$0\" rrd --journal j -");
    sh.arg(env!("CARGO_BIN_EXE_latmon")).current_dir(farm.dir.path());
    let mut session = Session::start(&mut sh);
    for _ in 0..20 {
        let lines = farm.lines(1, &mut random);
        session.update(&lines);
        lines.iter().for_each(|line| farm.take(line));
    }
    let lines: Vec<Line> = (0..60).map(|file| Line { file, ..farm.line(&mut random) }).collect();
    session.send(&text(&lines));
    let mut refused = 0;
    for line in &lines {
        let answer = session.answer();
        if answer.starts_with("OK ") {
            // It came in a group of its own.
            farm.take(line);
            continue;
        }
        refused += 1;
        assert!(answer.starts_with("ERROR: the journal fails: writing "), "{answer}");
        assert!(answer.ends_with(": File too large\n"), "{answer}");
    }
    assert!(refused > 10, "a group of so many bytes finds no room");
    assert!((0..60).all(|file| farm.is_twin(file)), "a group that was refused left a trace");
    let lines = farm.lines(1, &mut random);
    session.update(&lines);
    farm.check(&lines, 1, "after it was refused");
    session.kill();
    assert_eq!(farm.recover().status.code(), Some(0));
    farm.check(&[], 0, "after the kill");
}

/// A run that is killed again and again leaves an archive that rrdtool reads, with every round that it stored.
#[test]
fn a_run_that_is_killed_leaves_a_whole_archive() {
    let desk = Desk::new();
    let started = Instant::now();
    for kill in 0..4_u64 {
        let mut monitor = desk.start(&mut desk.latmon("run 127.0.0.1 --step 1s --pings 3 --data-dir ."));
        let rows = |desk: &Desk| {
            let is_there = desk.path("127.0.0.1.rrd").exists();
            let rows = if is_there { desk.rows("127.0.0.1.rrd") } else { Vec::new() };
            // As text: what is unknown is equal to what is unknown.
            rows.into_iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()
        };
        let before = rows(&desk).len();
        monitor.until(LIMIT, "a row", |desk| (rows(desk).len() > before).then_some(()));
        // At another moment of the step each time.
        std::thread::sleep(Duration::from_millis(kill * 270));
        let known = rows(&desk);
        let log = monitor.log();
        assert_eq!(kill > 0, log.contains("after a crash the journal brought 1 archive up to date"), "{log}");
        assert!(!log.contains("could not be") && !log.contains("not recorded"), "{log}");
        drop(monitor);
        let left = rows(&desk);
        assert!(left.len() >= known.len() && left[..known.len()] == known[..], "{left:?} after {known:?}");
        assert!(fs::metadata(desk.path("journal/journal")).unwrap().len() > 0, "killed, it has cut nothing");
    }
    let mut monitor = desk.start(&mut desk.latmon("run 127.0.0.1 --step 1s --pings 3 --data-dir ."));
    monitor.until(LIMIT, "its greeting", |desk| desk.read("log").contains(" watches 1 target").then_some(()));
    monitor.stop();
    assert_eq!(fs::metadata(desk.path("journal/journal")).unwrap().len(), 0, "stopped, it has synced all");
    assert!(started.elapsed() < Duration::from_secs(290), "rows that old are not looked at");
    info_is_whole(&desk.path("127.0.0.1.rrd"));
}

fn info_is_whole(path: &Path) {
    let info = Command::new("rrdtool").arg("info").arg(path).output().unwrap();
    assert!(info.status.success() && !info.stdout.is_empty());
}
