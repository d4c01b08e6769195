//! The monitor's own end, seen from inside the process: what a binary cannot be made to do from outside.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use latmon::alert::{self, TargetRules, TargetState, rule::Rule};
use latmon::archive::{self, Wanted};
use latmon::monitor::{self, End};
use latmon::probe;
use latmon::round::{Round, Target};
use latmon::time::Step;

/// A fault of our own must not end the watch in silence: the exit mail is written with the reason.
#[test]
fn a_panic_of_any_thread_writes_the_exit_mail_with_its_reason() {
    // One after the other: a monitor hears of every panic in its process.
    let reason = panicked(&mut |_, _| panic!("the screen fell off the wall"));
    assert!(reason.ends_with(": the screen fell off the wall"), "{reason}");
    let reason = panicked(&mut |_, _| {
        let thread = thread::Builder::new().name("helper".into()).spawn(|| panic!("stumbled"));
        assert!(thread.unwrap().join().is_err());
    });
    assert!(
        reason.starts_with("thread 'helper' at tests/monitor.rs:") && reason.ends_with(": stumbled"),
        "{reason}"
    );
}

/// Runs a monitor until something panics, checks its exit mail, and returns the reason.
fn panicked(show: &mut dyn FnMut(&Round, &TargetState)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let target = Arc::new(Target { name: "latency".into(), host: "127.0.0.1".into() });
    let step = Step::new(1).unwrap();
    let settings = monitor::Settings {
        host: "monitor.example".into(),
        archive: archive::Settings {
            data_dir: dir.path().to_owned(),
            targets: vec![archive::TargetSettings {
                target: target.clone(),
                step: Wanted::Outright(step),
                pings: Wanted::Outright(3),
                asked: archive::Asked::default(),
            }],
        },
        probe: probe::Settings {
            targets: vec![probe::TargetSettings {
                target: target.clone(),
                step,
                pings: 3,
                timeout: Duration::from_millis(500),
                family: None,
                echo: probe::EchoSettings::default(),
            }],
            pace: probe::Pace::default(),
            resolve_every: probe::RESOLVE_EVERY,
            anchors: probe::Anchors::default(),
            known_anchors: Vec::new(),
        },
        alert: alert::Settings {
            targets: vec![TargetRules { target, step, rules: vec![Arc::new(Rule::down())] }],
        },
        desk: alert::desk::Settings::default(),
        mail: None,
        ways: Vec::new(),
        limits: HashMap::new(),
        exit: monitor::Exit::default(),
    };
    let (_hold, orders) = crossbeam_channel::bounded(1);

    let sockets = probe::OpenSockets::open(&settings.probe).unwrap();
    let end = monitor::run(settings, sockets, &orders, show, &|_| ()).unwrap();

    let End::Panicked(reason) = end else { panic!("{end:?}") };
    let mails: Vec<String> = fs::read_dir(dir.path().join("outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        // Long lines are wrapped for the journey.
        .map(|path| fs::read_to_string(path).unwrap().replace("=\r\n", ""))
        .collect();
    let [mail] = mails.as_slice() else { panic!("one mail, not {}", mails.len()) };
    assert!(mail.contains(reason.rsplit(": ").next().unwrap()), "{mail}");
    assert!(mail.contains("Please restart the monitor"), "{mail}");
    assert!(dir.path().join("latency.rrd").exists());
    reason
}
