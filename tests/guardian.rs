//! The guardian and its monitor: whichever dies, however it dies, it is told, and the watch goes on. Needs root, for the
//! network and for the user that the monitor becomes, rrdtool, and python3-aiosmtpd and openssl for the mail server.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::latmon::{Desk, Running, kill_and_wait, monitor_of, send, told};
use support::net::{Net, answer, ms};
use support::smtp::{Mode, PASSWORD, Smtp, USER};

const LIMIT: Duration = Duration::from_secs(90);

fn network() -> Net {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    net
}

/// The mails in the outbox, as a reader sees their lines.
fn mails(desk: &Desk) -> Vec<String> {
    desk.outbox().into_iter().map(|mail| mail.replace("=\r\n", "").replace("\r\n ", " ")).collect()
}

/// The one mail that says all of this.
#[track_caller]
fn one_says(desk: &Desk, words: &[&str]) -> String {
    let mails = mails(desk);
    let found: Vec<&String> =
        mails.iter().filter(|mail| words.iter().all(|word| mail.contains(word))).collect();
    assert_eq!(found.len(), 1, "one mail is to say {words:?}:\n{}", mails.join("\n----\n"));
    found[0].clone()
}

fn rows(desk: &Desk) -> usize {
    desk.rows("198.18.0.1.rrd").len()
}

/// Waits for so many rows more than there are.
fn more_rows(running: &mut Running<'_>, desk: &Desk, more: usize) {
    let before = if desk.path("198.18.0.1.rrd").exists() { rows(desk) } else { 0 };
    running.until(LIMIT, "more rows", |desk| {
        (desk.path("198.18.0.1.rrd").exists() && rows(desk) >= before + more).then_some(())
    });
}

fn another_monitor(running: &mut Running<'_>, before: u32) {
    let guardian = running.guardian();
    running.until(LIMIT, "another monitor", |_| monitor_of(guardian).filter(|pid| *pid != before));
}

const RUN: &str = "run 198.18.0.1 --step 1s --pings 3";

/// Its privileges, its password file and its settings are out of reach by then: the next monitor has the sockets and the
/// settings of the first one, and sends the mail about its death.
#[test]
fn a_monitor_that_is_killed_is_told_and_another_goes_on_without_privileges() {
    let net = network();
    net.forbid_ping_sockets();
    let smtp = Smtp::start(Mode::Implicit);
    let desk = Desk::new();
    desk.write("password", PASSWORD);
    desk.write(
        "latmon.toml",
        &format!(
            "user = 'nobody'\ndata_dir = 'data'\n[defaults]\nstep = '1s'\npings = 3\n[mail]\nfrom = \
             'latmon@example.org'\nto = ['noc@example.org']\nserver = 'localhost'\nport = {}\ntls = \
             'implicit'\nusername = '{USER}'\npassword_file = 'password'\n[targets]\noffice = '198.18.0.1'\n",
            smtp.port
        ),
    );
    fs::copy(&smtp.ca_file, desk.path("ca.pem")).unwrap();
    fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for secret in ["password", "latmon.toml"] {
        fs::set_permissions(desk.path(secret), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut running = desk.start(desk.latmon("run").env("SSL_CERT_FILE", desk.path("ca.pem")));
    running.until(LIMIT, "a row", |desk| {
        (desk.path("data/office.rrd").exists() && !desk.rows("data/office.rrd").is_empty()).then_some(())
    });
    assert!(running.log().contains("sockets: raw"), "{}", running.log());
    // Half of a file that somebody is writing right now.
    desk.write("latmon.toml", "user = 'nob");

    let first = running.pid();
    kill_and_wait(first);
    let mail = &smtp.wait_for(1, LIMIT)[0];
    let subject = mail.header("Subject");
    assert!(
        subject.contains("RESTARTED") && subject.ends_with("was killed by SIGKILL, starts again"),
        "{subject}"
    );
    let text = mail.text();
    for said in
        ["was killed by SIGKILL", "It starts again 1 s later", "last lines of its log", "watches 1 target"]
    {
        assert!(text.contains(said), "'{said}' is not in\n{text}");
    }
    another_monitor(&mut running, first);
    let rows = desk.rows("data/office.rrd").len();
    running.until(LIMIT, "more rows", |desk| (desk.rows("data/office.rrd").len() >= rows + 2).then_some(()));
    let losses: Vec<f64> = desk.rows("data/office.rrd").iter().map(|(_, values)| values[1]).collect();
    assert!(losses.iter().all(|loss| *loss == 0.0), "what was sent by the first one is no loss: {losses:?}");
    running.stop();
    let mails = smtp.wait_for(2, LIMIT);
    assert!(mails[1].header("Subject").contains("STOPPED"), "{}", mails[1].header("Subject"));
    assert!(!running.log().contains(PASSWORD) && !mails.iter().any(|mail| mail.text().contains(PASSWORD)));
}

/// By a signal that a fault of its own sends, by a panic, and by a hang: each is told in words. Within an hour they are one
/// mail, and the rest is told at the end.
#[test]
fn every_kind_of_death_is_told() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    let first = running.pid();
    running.signal_monitor(Signal::SIGABRT);
    running.until(LIMIT, "its mail", |desk| (desk.outbox().len() == 1).then_some(()));
    one_says(&desk, &["RESTARTED", "was ended by SIGABRT"]);
    another_monitor(&mut running, first);
    more_rows(&mut running, &desk, 1);

    // poll(2) refuses more descriptors than a process may have, which no prober expects.
    let second = running.pid();
    let limit = Command::new("prlimit").args(["--pid", &second.to_string(), "--nofile=1:1"]).status();
    assert!(limit.expect("prlimit runs (util-linux)").success());
    another_monitor(&mut running, second);
    assert!(
        running.log().contains("ended by a fault of its own: thread 'latmon-probe'"),
        "{}",
        running.log()
    );
    more_rows(&mut running, &desk, 1);

    let third = running.pid();
    running.freeze();
    another_monitor(&mut running, third);
    assert!(running.log().contains("the monitor hung: it had not gone round for"), "{}", running.log());
    more_rows(&mut running, &desk, 1);
    assert_eq!(desk.outbox().len(), 1, "a row of deaths is one mail an hour");
    running.stop();
    assert_eq!(desk.outbox().len(), 3, "the first death, the stop, and the other deaths");
    let rest = one_says(
        &desk,
        &["hung: it had not gone round", "it ended once more", "ended by a fault of its own"],
    );
    assert!(rest.contains("latmon-probe"), "{rest}");
}

/// Stopped together (a debugger, a container that is frozen), they blame nobody when they go on.
#[test]
fn a_stop_of_both_is_no_hang() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    let first = running.pid();
    running.signal(Signal::SIGSTOP);
    running.freeze();
    std::thread::sleep(Duration::from_secs(13));
    running.signal(Signal::SIGCONT);
    running.signal_monitor(Signal::SIGCONT);
    more_rows(&mut running, &desk, 2);
    assert_eq!(running.pid(), first, "{}", running.log());
    running.stop();
    assert_eq!(desk.outbox().len(), 1, "the exit mail alone");
}

#[test]
fn without_a_restart_a_death_ends_all() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(&format!("{RUN} --no-restart")));
    more_rows(&mut running, &desk, 1);
    running.signal_monitor(Signal::SIGKILL);
    assert_eq!(running.ended(LIMIT).code(), Some(1), "{}", running.log());
    one_says(&desk, &["STOPPED", "was killed by SIGKILL", "please restart it"]);
    assert_eq!(desk.outbox().len(), 1);

    // The end is told: the next start has nothing to say about it.
    let mut running = desk.start(&mut desk.latmon(&format!("{RUN} --no-restart")));
    more_rows(&mut running, &desk, 1);
    assert_eq!(desk.outbox().len(), 1);
    let monitor = running.pid();
    send(running.guardian(), Signal::SIGKILL);
    let lives = || fs::exists(format!("/proc/{monitor}")).unwrap();
    let deadline = Instant::now() + LIMIT;
    while lives() {
        assert!(Instant::now() < deadline, "the monitor goes on without its guardian:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    one_says(&desk, &["STOPPED", "lost its guardian"]);
}

/// The monitor becomes the next guardian: it starts another monitor, with the sockets it had.
#[test]
fn a_guardian_that_is_killed_is_told_and_replaced() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 2);
    let monitor = running.pid();
    send(running.guardian(), Signal::SIGKILL);
    assert!(!running.ended(LIMIT).success());
    let deadline = Instant::now() + LIMIT;
    let next = loop {
        if let Some(next) = monitor_of(monitor) {
            break next;
        }
        assert!(Instant::now() < deadline, "no monitor of the new guardian; the log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    };
    let rows_then = rows(&desk);
    while rows(&desk) < rows_then + 3 {
        assert!(Instant::now() < deadline, "no more rows; the log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let ends: Vec<i64> = desk.rows("198.18.0.1.rrd").iter().map(|(end, _)| *end).collect();
    let gap = ends.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(gap <= Some(3), "hardly a round is missing: {ends:?}\n{}", running.log());
    one_says(&desk, &["RESTARTED", "lost its guardian", "It goes on with a new guardian"]);

    // This guardian does its work too.
    kill_and_wait(next);
    while monitor_of(monitor).is_none_or(|pid| pid == next) {
        assert!(Instant::now() < deadline, "the new guardian starts none; the log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    send(monitor, Signal::SIGTERM);
    while fs::exists(format!("/proc/{monitor}")).unwrap() {
        assert!(Instant::now() < deadline, "it does not stop; the log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    one_says(&desk, &["STOPPED", "It was told to stop: SIGTERM"]);
}

/// Whoever stops a monitor that has just lost its guardian does not get another guardian instead.
#[test]
fn a_stop_of_a_monitor_that_loses_its_guardian_is_a_stop() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    let monitor = running.pid();
    send(running.guardian(), Signal::SIGKILL);
    // Which of them it hears first is left to chance.
    send(monitor, Signal::SIGTERM);
    assert!(!running.ended(LIMIT).success());
    let deadline = Instant::now() + LIMIT;
    while fs::exists(format!("/proc/{monitor}")).unwrap() {
        assert!(Instant::now() < deadline, "it does not stop; the log:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    one_says(&desk, &["STOPPED", "SIGTERM"]);
}

#[test]
fn where_both_were_killed_the_next_start_tells_the_gap() {
    let _net = network();
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    drop(running);
    assert_eq!(desk.outbox().len(), 0, "nobody was left to tell");
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    let gap = one_says(&desk, &["GAP", "was not watching for"]);
    assert!(gap.contains("the last sign of life"), "{gap}");
    running.stop();
    assert_eq!(desk.outbox().len(), 2);
    // It ended as it should: there is nothing more to tell.
    let mut running = desk.start(&mut desk.latmon(RUN));
    more_rows(&mut running, &desk, 1);
    assert_eq!(desk.outbox().len(), 2);
    running.stop();
}

#[test]
fn planned_ends_are_not_mailed_where_the_settings_say_so() {
    let _net = network();
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        "[defaults]\nstep = '1s'\npings = 3\n[mail]\nfrom = 'a@example.org'\nto = ['b@example.org']\nserver = \
         '127.0.0.1'\nport = 1\ntls = 'none'\nexit = 'unplanned'\n[targets]\n'198.18.0.1' = '198.18.0.1'\n",
    );
    let mut running = desk.start(&mut desk.latmon("run"));
    more_rows(&mut running, &desk, 1);
    running.stop();
    assert_eq!(desk.outbox().len(), 0);
    let mut running = desk.start(&mut desk.latmon("run"));
    more_rows(&mut running, &desk, 1);
    assert_eq!(desk.outbox().len(), 0, "a planned end is no gap");
    running.signal_monitor(Signal::SIGKILL);
    running.until(LIMIT, "its mail", |desk| (desk.outbox().len() == 1).then_some(()));
    running.stop();
    assert_eq!(desk.outbox().len(), 1);

    desk.write("latmon.toml", &desk.read("latmon.toml").replace("unplanned", "sometimes"));
    let (code, error) = told(&desk.done("run"));
    assert_eq!(code, Some(2));
    assert!(
        error.contains("latmon.toml:10: exit: 'sometimes' will not do: write always or unplanned"),
        "{error}"
    );
}

/// A mail server that hangs does not hold up one who asks twice.
#[test]
fn a_second_signal_ends_all_at_once() {
    let _net = network();
    let desk = Desk::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 3\n[mail]\nfrom = 'a@example.org'\nto = ['b@example.org']\nserver = \
             '127.0.0.1'\nport = {}\ntls = 'none'\n[targets]\n'198.18.0.1' = '198.18.0.1'\n",
            silent.local_addr().unwrap().port()
        ),
    );
    let mut running = desk.start(&mut desk.latmon("run"));
    more_rows(&mut running, &desk, 1);
    let monitor = running.pid();
    running.signal(Signal::SIGINT);
    running.until(LIMIT, "the exit mail", |desk| (desk.outbox().len() == 1).then_some(()));
    let begun = Instant::now();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended(LIMIT).code(), Some(128 + 15));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(!fs::exists(format!("/proc/{monitor}")).unwrap());
}

/// What fails before there is anything to watch is one line and an exit code, as ever.
#[test]
fn what_fails_at_the_start_is_no_death() {
    let _net = network();
    let desk = Desk::new();
    fs::create_dir_all(desk.path("data")).unwrap();
    fs::write(desk.path("data/outbox"), "a file").unwrap();
    let (code, error) = told(&desk.done(&format!("{RUN} --data-dir data")));
    assert_eq!(
        (code, error.lines().filter(|line| line.contains("latmon: ")).count()),
        (Some(1), 1),
        "{error}"
    );
    assert!(!error.contains("it starts again"), "{error}");
    let (code, error) = told(&desk.done("run --as=monitor:settings=3 198.18.0.1"));
    assert_eq!(code, Some(1), "{error}");
    let (code, error) = told(&desk.done("run --as=nobody 198.18.0.1"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("leave it out"), "{error}");
}

/// systemd's side of `Type=notify` with `WatchdogSec=`.
#[test]
fn a_service_manager_is_told_how_it_goes() {
    let _net = network();
    let desk = Desk::new();
    let name = format!("latmon-test-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let mut run = desk.latmon(RUN);
    run.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "600000");
    let mut running = desk.start(&mut run);
    let mut heard = Vec::new();
    let mut until = |wanted: &str| {
        let mut buffer = [0; 4096];
        while !heard.iter().any(|said: &String| said.contains(wanted)) {
            let length =
                manager.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        std::mem::take(&mut heard)
    };
    let ready = until("READY=1").pop().expect("just found");
    assert_eq!(ready, format!("READY=1\nMAINPID={}\nSTATUS=watches 1 target", running.guardian()));
    assert!(desk.path("control.sock").exists(), "all is there by then");
    let begun = Instant::now();
    for _ in 0..5 {
        until("WATCHDOG=1");
    }
    assert!(
        (500..10_000).contains(&begun.elapsed().as_millis()),
        "five thirds of the interval: {:?}",
        begun.elapsed()
    );
    let variables = fs::read(format!("/proc/{}/environ", running.pid())).unwrap();
    assert!(
        !String::from_utf8_lossy(&variables).contains("NOTIFY_SOCKET"),
        "the monitor has no business with it"
    );

    let first = running.pid();
    running.signal_monitor(Signal::SIGKILL);
    until("STATUS=the monitor was killed by SIGKILL");
    until("WATCHDOG=1");
    another_monitor(&mut running, first);
    until("STATUS=watches 1 target");

    // Whoever starts all of it again is not run ahead of.
    let second = running.pid();
    send(running.guardian(), Signal::SIGKILL);
    let deadline = Instant::now() + LIMIT;
    while fs::exists(format!("/proc/{second}")).unwrap() {
        assert!(Instant::now() < deadline, "the monitor goes on:\n{}", running.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(running.log().contains("its guardian is gone"), "{}", running.log());
    let mut run = desk.latmon(RUN);
    let mut running = desk.start(run.env("NOTIFY_SOCKET", format!("@{name}")));
    until("READY=1");
    running.signal(Signal::SIGTERM);
    until("STOPPING=1\nSTATUS=SIGTERM");
    assert_eq!(running.ended(LIMIT).code(), Some(0));
}
