//! `latmon run` on a terminal and off it: what it shows, and which signals end it. Needs root, for the network, and
//! script (bsdutils), which lends the terminal.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::latmon::Desk;
use support::net::{Net, answer, ms};

const LIMIT: Duration = Duration::from_secs(90);

/// Runs `latmon WORDS` on a terminal until `found` sees what it wants in all that was shown, then types Ctrl-C; returns
/// all that was shown, and the exit code.
fn on_a_terminal(desk: &Desk, words: &str, found: impl Fn(&str) -> bool) -> (String, Option<i32>) {
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

#[test]
fn a_terminal_has_a_line_per_round() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(25)));
    let desk = Desk::new();
    let is_round = |line: &&str| line.contains("198.18.0.1  ") && line.trim_end().ends_with("0 %  ok");
    let (shown, code) = on_a_terminal(&desk, "run 198.18.0.1 --step 1s --pings 4", |shown| {
        shown.lines().filter(is_round).count() >= 2
    });
    let round = shown.lines().rfind(is_round).expect("just found");
    let words: Vec<&str> = round.split_whitespace().collect();
    let [time, target, median, "ms", "0", "%", "ok"] = words[..] else { panic!("{round}") };
    assert_eq!((time.len(), target), ("09:41:05".len(), "198.18.0.1"), "{round}");
    let median: f64 = median.parse().expect("a number");
    // What a busy machine adds is a part of it.
    assert!((25.0..500.0).contains(&median), "{round}");
    assert_eq!(code, Some(0), "Ctrl-C is a good end:\n{shown}");
    assert_eq!(desk.outbox().len(), 1, "and is told");
}

#[test]
fn many_targets_have_a_table_with_the_worst_first() {
    let net = Net::new();
    let names: Vec<String> = (1..=24).map(|host| format!("198.18.0.{host}")).collect();
    for name in &names {
        net.host(name, answer().delay(ms(5)));
    }
    let desk = Desk::new();
    let words = format!("run {} 198.18.9.9 --step 2s --pings 2", names.join(" "));
    let (shown, _) = on_a_terminal(&desk, &words, |shown| shown.contains("25 targets: 24 ok, 1 down"));
    let table = &shown[shown.rfind("25 targets: 24 ok, 1 down").expect("just found")..];
    let first = table.lines().nth(2).expect("a first row");
    assert!(first.starts_with("198.18.9.9") && first.contains("100 %  DOWN"), "{table}");
}

#[test]
fn a_closed_terminal_ends_it_and_is_told() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk = Desk::new();
    let mut monitor = desk.start(&mut desk.latmon("run 198.18.0.1 --step 1s --pings 2"));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("198.18.0.1.rrd").is_empty()).then_some(()));
    monitor.signal(Signal::SIGHUP);
    assert_eq!(monitor.ended(LIMIT).code(), Some(0));
    assert!(desk.outbox()[0].contains("SIGHUP"));
}

#[test]
fn under_nohup_a_closed_terminal_means_nothing() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk = Desk::new();
    let mut nohup = Command::new("nohup");
    nohup.arg(env!("CARGO_BIN_EXE_latmon")).args(["run", "198.18.0.1", "--step", "1s", "--pings", "2"]);
    nohup.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let mut monitor = desk.start(nohup.current_dir(desk.path("")));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("198.18.0.1.rrd").is_empty()).then_some(()));
    monitor.signal(Signal::SIGHUP);
    let rows = desk.rows("198.18.0.1.rrd").len();
    monitor.until(LIMIT, "more rows", |desk| (desk.rows("198.18.0.1.rrd").len() >= rows + 2).then_some(()));
    monitor.stop();
}
