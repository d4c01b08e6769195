//! Patterns against the real SmokePing: its matcher and ours are given the same series, round by round.
//!
//! `LATMON_TEST_SEED` repeats a run, `LATMON_TEST_CASES` says how long it is.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use latmon::alert::pattern::{Pattern, PatternKind, Semantics};
use latmon::alert::rule::{Judge, Rule};
use latmon::alert::{Alerts, Past, Settings, TargetRules, TargetState};
use latmon::round::{Ping, Round, Rtt, Target};
use latmon::time::{Step, UnixTime};

use support::rrdtool::{Random, cases, seed};

/// The real matcher, in a process that answers line by line.
struct SmokePing {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl SmokePing {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smokeping_matcher.pl");
        let mut child = Command::new("perl")
            .args(["-I/usr/share/smokeping/lib", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs perl and the real SmokePing: apt-get install smokeping");
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Whether the pattern matches after each value, as ones and noughts.
    fn ask(&mut self, kind: PatternKind, pattern: &str, series: &[String]) -> String {
        let kind = match kind {
            PatternKind::Loss => "loss",
            PatternKind::Rtt => "rtt",
        };
        let stdin = self.stdin.as_mut().unwrap();
        let asked = writeln!(stdin, "{kind}\t{pattern}\t{}", series.join(" "));
        let mut answer = String::new();
        let read = self.stdout.read_line(&mut answer);
        let works = asked.is_ok() && read.is_ok_and(|bytes| bytes > 0);
        assert!(works, "SmokePing's matcher has ended: apt-get install smokeping, if it is not there");
        answer.trim_end().to_owned()
    }
}

impl Drop for SmokePing {
    fn drop(&mut self) {
        // It ends where its input does.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// The same of ours: a pattern's alert is open while it matches.
fn ours(kind: PatternKind, semantics: Semantics, pattern: &str, series: &[String]) -> String {
    let pattern =
        Pattern::parse(kind, semantics, pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let rule = Rule { name: "asked".into(), judge: Judge::Pattern(pattern), ..Rule::down() };
    let target = Arc::new(Target { name: "line".into(), host: "192.0.2.1".into() });
    let step = Step::new(60).unwrap();
    let rules = TargetRules { target: Arc::clone(&target), step, rules: vec![Arc::new(rule)] };
    let mut alerts = Alerts::new(&Settings { targets: vec![rules] });
    let mut answer = String::new();
    for (number, value) in series.iter().enumerate() {
        let end = UnixTime::from_secs(60 * (number as i64 + 1));
        let start = end.minus(step.duration());
        alerts
            .observe(&Round::new(Arc::clone(&target), None, start, end, pings(kind, value)), Past::default());
        let is_open = matches!(alerts.state("line"), Some(TargetState::Alerting(_)));
        answer.push(if is_open { '1' } else { '0' });
    }
    answer
}

/// Twenty pings of which so many percent are lost, or whose median is so many milliseconds.
fn pings(kind: PatternKind, value: &str) -> Vec<Ping> {
    let answered = |ms| Ping::Answered(Rtt::new(Duration::from_millis(ms)));
    match (kind, value) {
        (PatternKind::Rtt, "U") => vec![Ping::Lost; 20],
        (PatternKind::Rtt, ms) => vec![answered(ms.parse().unwrap()); 20],
        (PatternKind::Loss, percent) => {
            let lost = percent.parse::<usize>().unwrap() / 5;
            [vec![Ping::Lost; lost], vec![answered(10); 20 - lost]].concat()
        }
    }
}

fn words(series: &str) -> Vec<String> {
    series.split_whitespace().map(str::to_owned).collect()
}

/// What both say of patterns that people use. Where the program keeps what the manual promises, the last line is empty.
#[test]
fn the_table_of_cases() {
    use PatternKind::{Loss, Rtt};
    let mut smokeping = SmokePing::start();
    let gap = |length: usize| format!("20 {}20", "0 ".repeat(length));
    let nine_good = "0 ".repeat(9);
    for (kind, pattern, series, manual, program) in [
        (Loss, "==0%,==0%,==0%,==0%,>20%,>20%,>20%", "0 0 0 0 25 30 35 40 0", "000000100", ""),
        (Loss, "==S,>0%,>0%,>0%", "5 5 5 5", "0010", ""),
        (Loss, ">45%<=55%", "45 50 55 60", "0110", ""),
        (Loss, "==0%,==100%", "0 100 100 0 100", "01001", ""),
        (Loss, "==*,!=0%", "5 0 5", "101", ""),
        (Rtt, "<10,<10,<10,<10,<10,<100,>100,>100,>100", "9 9 9 9 9 50 101 300 101 101", "0000000010", ""),
        (Rtt, "==S,==U", "U U", "10", ""),
        (Rtt, "!=U,==U,==U", "5 U U U", "0010", ""),
        (Rtt, "<20,<20,>100,>100", "10 10 200 U 200 200", "000000", ""),
        // The gap of the manual's own example, and where the program ends it.
        (Loss, ">10%,*10*,>10%", &gap(5), "0000001", ""),
        (Loss, ">10%,*10*,>10%", &gap(6), "00000001", "00000000"),
        (Loss, ">10%,*10*,>10%", &gap(10), "000000000001", "000000000000"),
        (Loss, ">10%,*10*,>10%", &gap(11), "0000000000000", ""),
        (Loss, ">10%,*12*,>10%", &gap(6), "00000001", ""),
        (Loss, ">10%,*12*,>10%", &gap(7), "000000001", "000000000"),
        (Loss, ">10%,*3*,>10%", &gap(2), "0001", ""),
        (Loss, ">10%,*3*,>10%", &gap(3), "00001", "00000"),
        // Of a gap of one nothing is left.
        (Loss, ">10%,*1*,>10%", "20 20 0 20", "0101", "0100"),
        // The program needs a value more than it compares, behind which the start never is.
        (Loss, "==S,*3*,>10%", "20 20 20", "111", "000"),
        (
            Loss,
            ">0%,*12*,>0%,*12*,>0%",
            &format!("5 {nine_good}5 {nine_good}5"),
            "000000000000000000001",
            "000000000000000000000",
        ),
        (Loss, ">0%,*12*,>0%,*12*,>0%", "5 0 0 0 5 0 0 0 0 5", "0000000001", ""),
    ] {
        let series = words(series);
        let program = if program.is_empty() { manual } else { program };
        assert_eq!(smokeping.ask(kind, pattern, &series), program, "SmokePing: {pattern} on {series:?}");
        let exact = ours(kind, Semantics::SmokePingExact, pattern, &series);
        assert_eq!(exact, program, "ours, exact: {pattern} on {series:?}");
        assert_eq!(ours(kind, Semantics::Manual, pattern, &series), manual, "ours: {pattern} on {series:?}");
    }
}

/// Random patterns on random series. With its exact semantics ours says what the program says, in every round. Where
/// the program sees a match the manual promises one, and without a gap both are the same.
#[test]
fn every_pattern_matches_as_it_does_there() {
    let (seed, cases) = (seed(), cases(600));
    let mut smokeping = SmokePing::start();
    let (mut matched, mut missed) = (0, 0);
    for case in 0..cases {
        let mut random = Random::new(seed, case);
        let kind = random.pick(&[PatternKind::Loss, PatternKind::Rtt]);
        let values = random.pick(&[3, 5, 8]);
        let pattern = random_pattern(&mut random, kind, values);
        let count = 1 + random.below(60);
        let series: Vec<String> = (0..count)
            .map(|_| match kind {
                PatternKind::Rtt if random.one_in(12) => "U".to_owned(),
                _ => (random.below(values) * 5).to_string(),
            })
            .collect();
        let theirs = smokeping.ask(kind, &pattern, &series);
        let at = || format!("case {case}: {kind:?} {pattern} on {}", series.join(" "));
        assert_eq!(ours(kind, Semantics::SmokePingExact, &pattern, &series), theirs, "{}", at());
        let manual = ours(kind, Semantics::Manual, &pattern, &series);
        if !pattern.contains(",*") && !pattern.starts_with('*') {
            assert_eq!(manual, theirs, "without a gap, {}", at());
        }
        for (promised, done) in manual.chars().zip(theirs.chars()) {
            assert!(promised >= done, "a match that the manual does not promise, {}", at());
            matched += u32::from(done == '1');
            missed += u32::from(promised > done);
        }
    }
    println!("{cases} patterns: {matched} matches, and {missed} that the manual promises besides");
    assert!(matched > 0 && missed > 0, "the cases tell nothing");
}

/// One to four groups of comparisons with gaps between them, now and then with one at an end or two in a row.
fn random_pattern(random: &mut Random, kind: PatternKind, values: u64) -> String {
    let sign = if kind == PatternKind::Loss { "%" } else { "" };
    let gap = |random: &mut Random| {
        let longest = random.pick(&[5, 5, 12]);
        format!("*{}*", 1 + random.below(longest))
    };
    let mut elements = Vec::new();
    if random.one_in(12) {
        elements.push(gap(random));
    }
    for group in 0..1 + random.below(4) {
        if group > 0 {
            elements.push(gap(random));
            if random.one_in(12) {
                elements.push(gap(random));
            }
        }
        for _ in 0..1 + random.below(3) {
            let number = random.below(values) * 5;
            let op = random.pick(&["==", "==", "!=", "<", ">", "<=", ">="]);
            elements.push(match random.below(14) {
                0 => "==*".to_owned(),
                1 => format!(">={number}{sign}<{}{sign}", number + 10),
                2 if kind == PatternKind::Rtt => random.pick(&["==U", "!=U"]).to_owned(),
                3 if elements.is_empty() => "==S".to_owned(),
                _ => format!("{op}{number}{sign}"),
            });
        }
    }
    if random.one_in(12) {
        elements.push(gap(random));
    }
    elements.join(",")
}
