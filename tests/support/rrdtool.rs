//! The real rrdtool, and random numbers that a seed repeats.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What one command printed, or the text of its error.
pub type Answer = Result<Vec<u8>, String>;

/// One `rrdtool -` that answers a command per line: a process per command would take minutes.
pub struct Rrdtool {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Rrdtool {
    /// Starts it in that folder.
    pub fn start(folder: &Path) -> Self {
        Self::spawn(Command::new("rrdtool").arg("-"), folder)
    }

    /// Starts ours, which answers the same way.
    pub fn start_latmon(folder: &Path) -> Self {
        Self::start_latmon_with(folder, &[])
    }

    /// Starts ours with words before the `-`.
    pub fn start_latmon_with(folder: &Path, words: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_latmon")).arg("rrd").args(words).arg("-"), folder)
    }

    fn spawn(command: &mut Command, folder: &Path) -> Self {
        let mut child = command
            .current_dir(folder)
            .env("TZ", TZ)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs the real rrdtool: apt-get install rrdtool");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, stdin, stdout }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs one command; its words have no blanks.
    pub fn run(&mut self, words: &[&str]) -> Answer {
        let stdin = self.stdin.as_mut().expect("it runs until it is dropped");
        writeln!(stdin, "{}", words.join(" ")).expect("rrdtool reads its commands");
        let mut printed = Vec::new();
        loop {
            let start = printed.len();
            let read = self.stdout.read_until(b'\n', &mut printed).expect("rrdtool answers");
            assert!(read > 0, "rrdtool ended at {words:?}");
            let line = &printed[start..];
            if line.starts_with(b"OK u:") {
                printed.truncate(start);
                return Ok(printed);
            }
            if let Some(text) = line.strip_prefix(b"ERROR: ") {
                return Err(String::from_utf8_lossy(text).trim_end_matches('\n').to_owned());
            }
        }
    }
}

impl Drop for Rrdtool {
    fn drop(&mut self) {
        // Without its input it ends.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// The zone of both sides: one with a rule for summer, and a half-hour offset would not show more.
pub const TZ: &str = "Europe/Berlin";

/// Runs `latmon rrd WORDS` in that folder.
pub fn latmon(folder: &Path, words: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_latmon"))
        .arg("rrd")
        .args(words)
        .current_dir(folder)
        .env("TZ", TZ)
        .output()
        .expect("latmon starts");
    if output.status.success() {
        assert_eq!(output.stderr, b"", "{words:?}");
        return Ok(output.stdout);
    }
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(text.strip_prefix("ERROR: ").unwrap_or(&text).trim_end_matches('\n').to_owned())
}

/// Asks both sides, and asks again where their answers differ and the clock has gone on meanwhile: what counts from now is
/// the same within a second only.
pub fn within_a_second<T: PartialEq>(mut ask: impl FnMut() -> [T; 2]) -> [T; 2] {
    const TRIES: u32 = 30;
    let clock = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("it is after 1970").as_secs()
    };
    let mut tries = 1;
    loop {
        let began = clock();
        let answers = ask();
        if answers[0] == answers[1] || began == clock() || tries == TRIES {
            return answers;
        }
        tries += 1;
    }
}

/// Numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    /// Starts from `seed` and the number of a case.
    pub fn new(seed: u64, case: u64) -> Self {
        Self(seed.wrapping_add(case.wrapping_mul(0xA076_1D64_78BD_642F)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// `LATMON_TEST_SEED`, or one from the clock; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed = number_from("LATMON_TEST_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    println!("LATMON_TEST_SEED={seed}");
    seed
}

/// `LATMON_TEST_CASES`, or `default`.
pub fn cases(default: u64) -> u64 {
    number_from("LATMON_TEST_CASES").unwrap_or(default)
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
