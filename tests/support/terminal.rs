//! The binary under test on a terminal, which script (bsdutils) lends.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::latmon::Desk;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs `latmon WORDS` on a terminal until `found` sees what it wants in all that was shown, then types Ctrl-C; returns
/// all that was shown, and the exit code.
pub fn on_a_terminal(desk: &Desk, words: &str, found: impl Fn(&str) -> bool) -> (String, Option<i32>) {
    // The shell that script starts must not stand between: Ctrl-C would end it before latmon has said goodbye.
    let line = format!("exec {} {words}", env!("CARGO_BIN_EXE_latmon"));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(desk.path(""))
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([("TZ", "UTC"), ("TERM", "xterm"), ("SHELL", "/bin/sh")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs (apt-get install bsdutils)");
    let mut keys = script.stdin.take().expect("it was asked for");
    let mut screen = script.stdout.take().expect("it was asked for");
    let (pieces, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut buffer) {
            if pieces.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    let mut text = Vec::new();
    let mut typed = false;
    while let Ok(piece) = shown.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        text.extend(piece);
        if !typed && found(&String::from_utf8_lossy(&text)) {
            keys.write_all(b"\x03").expect("the terminal takes a key");
            typed = true;
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if !typed {
        let _ = script.kill();
    }
    let status = script.wait().expect("script can be waited for");
    assert!(typed, "not shown within {LIMIT:?}:\n{text}");
    (text, status.code())
}
