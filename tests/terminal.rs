//! `latmon run` on a terminal and off it: what it shows, and which signals end it. Needs root, for the network, and
//! script (bsdutils), which lends the terminal.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod terminal;
}

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::latmon::Desk;
use support::net::{Net, answer, ms};
use support::terminal::on_a_terminal;

const LIMIT: Duration = Duration::from_secs(90);

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
