//! The binary under test as a person runs it: in a working folder of its own, with a clean environment.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A working folder, and the programs that are run in it.
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder can be made") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the temporary folder can be written");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `latmon WORDS`, not yet started: the caller may add environment variables.
    pub fn latmon(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latmon"));
        command.args(words.split_whitespace()).current_dir(self.dir.path()).env_clear().env("TZ", "UTC");
        command
    }

    /// Runs `latmon WORDS` to its end.
    pub fn done(&self, words: &str) -> Output {
        self.latmon(words).output().expect("the binary starts")
    }

    /// Starts a command whose log goes to the file `log`.
    pub fn start(&self, command: &mut Command) -> Running<'_> {
        let log = File::create(self.path("log")).expect("the temporary folder can be written");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Running { child: child.expect("the binary starts"), desk: self }
    }

    /// The rows of `rrdtool fetch FILE AVERAGE` whose loss is known: end, and the values by the data sources' order
    /// (uptime, loss, median, ping1...).
    pub fn rows(&self, file: &str) -> Vec<(i64, Vec<f64>)> {
        let output = Command::new("rrdtool")
            .args(["fetch", file, "AVERAGE", "--start", "-300"])
            .current_dir(self.dir.path())
            .output()
            .expect("rrdtool runs (apt-get install rrdtool)");
        String::from_utf8(output.stdout)
            .expect("rrdtool prints text")
            .lines()
            .filter_map(|line| {
                let (end, values) = line.split_once(": ")?;
                let values: Vec<f64> =
                    values.split(' ').map(|value| value.parse().unwrap_or(f64::NAN)).collect();
                (!values.get(1)?.is_nan()).then(|| (end.parse().unwrap_or(0), values))
            })
            .collect()
    }

    /// The mails that lie in the outbox, oldest first.
    pub fn outbox(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.path("outbox"))
            .map(|entries| entries.map(|entry| entry.expect("a folder can be read").path()).collect())
            .unwrap_or_default();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "eml"));
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).expect("a mail can be read")).collect()
    }
}

/// A guardian and its monitor that run; both are killed when this is dropped before they have ended.
pub struct Running<'a> {
    child: Child,
    desk: &'a Desk,
}

impl Running<'_> {
    /// Waits until `what` is there, and panics with the log after `limit`.
    pub fn until<T>(&mut self, limit: Duration, what: &str, mut found: impl FnMut(&Desk) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = found(self.desk) {
                return found;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("latmon ended ({status}) before {what}; its log:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "no {what} within {limit:?}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the guardian, as a person, a terminal or a service manager does.
    pub fn signal(&self, signal: Signal) {
        send(self.guardian(), signal);
    }

    /// Sends a signal to the monitor itself.
    pub fn signal_monitor(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Stops every thread of it, and returns once they are: SIGSTOP takes its time. SIGCONT lets them go on.
    pub fn freeze(&self) {
        self.signal_monitor(Signal::SIGSTOP);
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_stopped = |thread: std::io::Result<fs::DirEntry>| {
            let status = fs::read_to_string(thread.expect("it is there").path().join("status"));
            status.expect("it is there").contains("\nState:\tT")
        };
        while !fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it is there").all(is_stopped) {
            assert!(Instant::now() < deadline, "not stopped within ten seconds");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "not ended within {limit:?}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells it to stop, and checks that it does so well.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended(Duration::from_secs(90));
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    pub fn log(&self) -> String {
        self.desk.read("log")
    }

    /// The process that watches: waits until the guardian has one.
    pub fn pid(&self) -> u32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(monitor) = self.monitor() {
                return monitor;
            }
            assert!(Instant::now() < deadline, "no monitor within a minute; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process that watches, where there is one.
    pub fn monitor(&self) -> Option<u32> {
        monitor_of(self.guardian())
    }

    /// The process that was started.
    pub fn guardian(&self) -> u32 {
        self.child.id()
    }
}

impl Running<'_> {
    /// Kills guardian and monitor together, as a loss of power does.
    pub fn kill(&mut self) {
        // Where it has ended already there is nothing left to kill.
        if let Ok(None) = self.child.try_wait() {
            // A guardian that could would start another one.
            self.signal(Signal::SIGSTOP);
            if let Some(monitor) = self.monitor() {
                kill_and_wait(monitor);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The monitor among the children of a process.
pub fn monitor_of(guardian: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{guardian}/task/{guardian}/children")).ok()?;
    let mut children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word.starts_with(b"--as=monitor:"))
    })
}

/// Kills a process that is no child of ours, and waits until it holds nothing any more.
pub fn kill_and_wait(pid: u32) {
    send(pid, Signal::SIGKILL);
    let (status, threads) = (format!("/proc/{pid}/status"), format!("/proc/{pid}/task"));
    // Its first thread may have ended before others, which still hold files and their locks.
    let has_others = || fs::read_dir(&threads).is_ok_and(|threads| threads.count() > 1);
    let lives = || fs::read_to_string(&status).is_ok_and(|status| !status.contains("\nState:\tZ"));
    while lives() || has_others() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process, which may be gone.
pub fn send(pid: u32, signal: Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
    let _ = nix::sys::signal::kill(pid, signal);
}

/// Exit code and the text on standard error.
pub fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Panics unless the file is a PNG that decodes; returns its size.
pub fn png_size(file: &Path) -> (u32, u32) {
    let file = std::io::BufReader::new(
        File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
    );
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a bounded picture")];
    let info = reader.next_frame(&mut pixels).expect("every pixel");
    (info.width, info.height)
}
