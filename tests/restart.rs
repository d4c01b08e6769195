//! What a monitor remembers: killed at any time, it tells nothing twice and forgets no end; what is muted stays muted. And
//! many targets that fail together are one mail. Needs root, for the network, and python3-aiosmtpd, for the server.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::fs;
use std::time::Duration;

use support::latmon::{Desk, Running, told};
use support::net::{Net, answer, ms, silence};
use support::smtp::{Mode, Port, Received, Smtp};

const LIMIT: Duration = Duration::from_secs(60);

/// Rounds of a second, mails to `port`, and `more`.
fn settings(port: u16, more: &str) -> String {
    format!(
        "[defaults]\nstep = '1s'\npings = 5\ntimeout = '500ms'\n[mail]\nfrom = 'latmon@example.org'\nto = \
         ['noc@example.org']\nserver = '127.0.0.1'\nport = {port}\ntls = 'none'\n{more}"
    )
}

/// The mails but those that say that the monitor ended, or had: they are told elsewhere.
fn alerts(mails: Vec<Received>) -> Vec<Received> {
    mails
        .into_iter()
        .filter(|mail| ["DOWN", "OK"].iter().any(|word| mail.header("Subject").contains(word)))
        .collect()
}

/// Waits until so many alerts and ends of alerts have come, and returns them.
fn wait_for(monitor: &mut Running<'_>, smtp: &Smtp, count: usize) -> Vec<Received> {
    monitor.until(LIMIT, "mails", |_| {
        let mails = alerts(smtp.received());
        (mails.len() >= count).then_some(mails)
    })
}

/// Waits until `latmon status WORDS` shows `wanted`.
fn until_shown(monitor: &mut Running<'_>, words: &str, wanted: &str) {
    monitor.until(LIMIT, wanted, |desk| {
        let output = desk.done(&format!("status {words}"));
        String::from_utf8_lossy(&output.stdout).contains(wanted).then_some(())
    });
}

#[test]
fn forty_targets_down_at_once_are_one_mail_and_so_is_their_end() {
    let net = Net::new();
    let smtp = Smtp::start(Mode::Plain);
    let mut targets = String::new();
    for n in 1..=40 {
        let host = format!("198.18.0.{n}");
        net.host(&host, answer().after(15, silence().after(20, answer())));
        targets.push_str(&format!("t{n} = '{host}'\n"));
    }
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        &settings(smtp.port, &format!("[alerts]\nsettle = '3s'\n[group.fra.targets]\n{targets}")),
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LIMIT, "two mails", |_| (smtp.received().len() >= 2).then_some(()));
    monitor.stop();
    let mails = smtp.received();
    let [down, up, _stopped] = mails.as_slice() else {
        panic!("{:?}", mails.iter().map(|mail| mail.header("Subject")).collect::<Vec<_>>())
    };
    assert!(down.header("Subject").contains("40 of 40 targets"), "{}", down.header("Subject"));
    assert!(up.header("Subject").contains("40 of 40 targets"), "{}", up.header("Subject"));
    assert_eq!(up.header("In-Reply-To"), down.header("Message-ID"), "one conversation");
}

#[test]
fn a_monitor_that_was_killed_tells_nothing_twice_and_the_end_as_an_answer() {
    let net = Net::new();
    net.host("198.18.0.1", answer().after(15, silence()));
    let smtp = Smtp::start(Mode::Plain);
    let desk = Desk::new();
    desk.write("latmon.toml", &settings(smtp.port, "[targets]\noffice = '198.18.0.1'\n"));
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let first = wait_for(&mut monitor, &smtp, 1);
    // What the server has and the monitor does not know that it has goes again, as it must.
    monitor.until(LIMIT, "an empty outbox", |desk| desk.outbox().is_empty().then_some(()));
    monitor.kill();

    let mut monitor = desk.start(&mut desk.latmon("run"));
    until_shown(&mut monitor, "", "DOWN");
    monitor.kill();
    net.host("198.18.0.1", answer());
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let mails = wait_for(&mut monitor, &smtp, 2);
    monitor.stop();
    let [down, up] = &alerts(smtp.received())[..] else { panic!("{} mails", mails.len()) };
    assert_eq!(down.header("Message-ID"), first[0].header("Message-ID"));
    assert!(up.header("Subject").contains("OK: office"), "{}", up.header("Subject"));
    assert_eq!(up.header("In-Reply-To"), down.header("Message-ID"));
}

/// Decided on, and killed before its mail lay in the outbox: the next run composes it, once.
#[test]
fn what_was_decided_on_is_told_by_the_next_run() {
    let net = Net::new();
    net.host("198.18.0.1", answer().after(15, silence()));
    let port = Port::closed();
    let desk = Desk::new();
    desk.write("latmon.toml", &settings(port.number, "[targets]\noffice = '198.18.0.1'\n"));
    let mut monitor = desk.start(&mut desk.latmon("run"));
    until_shown(&mut monitor, "office", "ok");
    fs::rename(desk.path("outbox"), desk.path("away")).expect("the outbox is there");
    monitor.until(LIMIT, "a pending notice", |desk| {
        let state = fs::read_to_string(desk.path("state.json")).ok()?;
        let state: serde_json::Value = serde_json::from_str(&state).expect("it is whole whenever it is read");
        (!state["pending"].as_array()?.is_empty()).then_some(())
    });
    monitor.kill();
    let _ = fs::remove_dir_all(desk.path("outbox"));
    fs::rename(desk.path("away"), desk.path("outbox")).expect("it is there");
    assert!(desk.outbox().is_empty());

    let down = |desk: &Desk| desk.outbox().iter().filter(|mail| mail.contains("DOWN")).count();
    for _ in 0..2 {
        let mut monitor = desk.start(&mut desk.latmon("run"));
        until_shown(&mut monitor, "", "DOWN");
        monitor.until(LIMIT, "its mail", |desk| (down(desk) == 1).then_some(()));
        monitor.kill();
    }
    assert_eq!(down(&desk), 1);
}

#[test]
fn a_state_that_cannot_be_read_is_kept_and_stops_nothing() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    for (state, why) in [("{\"latmon\": 1, \"pending\": [", "EOF"), ("{\"latmon\": 7}", "version 7")] {
        let desk = Desk::new();
        desk.write("latmon.toml", &settings(Port::closed().number, "[targets]\noffice = '198.18.0.1'\n"));
        desk.write("state.json", state);
        let mut monitor = desk.start(&mut desk.latmon("run"));
        until_shown(&mut monitor, "office", "ok");
        monitor.stop();
        assert_eq!(desk.read("state.json.damaged"), state);
        let log = monitor.log();
        assert!(log.contains(why) && log.contains("state.json.damaged"), "{log}");
    }
}

#[test]
fn a_mute_outlives_the_monitor_and_what_is_still_down_is_told_at_its_end() {
    let net = Net::new();
    net.host("198.18.0.1", silence());
    net.host("198.18.0.2", answer());
    let smtp = Smtp::start(Mode::Plain);
    let desk = Desk::new();
    let more = "[alerts]\nsettle = '1s'\n[targets]\nlab = '198.18.0.1'\n'fra/core1' = '198.18.0.2'\n";
    desk.write("latmon.toml", &settings(smtp.port, more));

    // With no monitor running.
    let muted = desk.done("mute lab 1h --reason fibre");
    let said = String::from_utf8_lossy(&muted.stdout).into_owned();
    assert!(
        said.starts_with("lab is muted for 1 h, until ") && said.contains("no monitor is running"),
        "{muted:?}"
    );
    let unknown = told(&desk.done("mute lap 1h"));
    assert_eq!(unknown.0, Some(2));
    assert!(unknown.1.contains("no target is called 'lap'"), "{unknown:?}");

    let mut monitor = desk.start(&mut desk.latmon("run"));
    until_shown(&mut monitor, "lab", "DOWN, 59 min left, root: \"fibre\"");
    let status = desk.done("status");
    assert_eq!(status.status.code(), Some(0), "somebody sees to it");
    assert!(String::from_utf8_lossy(&status.stdout).contains("2 targets: 1 ok, 1 muted"), "{status:?}");
    monitor.kill();

    let mut monitor = desk.start(&mut desk.latmon("run"));
    until_shown(&mut monitor, "lab", "DOWN, 59 min left, root: \"fibre\"");
    let muted = desk.done("mute fra/* 30m");
    let said = String::from_utf8_lossy(&muted.stdout).into_owned();
    assert!(
        said.starts_with("fra/* is muted for 30 min, until ") && !said.contains("no monitor"),
        "{muted:?}"
    );
    let unknown = told(&desk.done("unmute fra"));
    assert_eq!(unknown.0, Some(2));
    assert!(unknown.1.contains("'fra' is not muted by that name: lab, fra/*"), "{unknown:?}");
    assert!(alerts(smtp.received()).is_empty());
    let done = desk.done("unmute lab");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "lab is no longer muted\n");
    let mails = wait_for(&mut monitor, &smtp, 1);
    assert!(mails[0].header("Subject").contains("DOWN: lab"), "{}", mails[0].header("Subject"));
    assert_eq!(String::from_utf8_lossy(&desk.done("unmute all").stdout), "one mute taken back\n");
    monitor.stop();
}
