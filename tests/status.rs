//! `latmon status` against a running monitor in the test network. Needs root, for the network, and rrdtool.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::latmon::{Desk, Running, told};
use support::net::{All, At, Net, ROUTER_IPV4, Refusal, answer, ms, refuse, silence};
use support::smtp::Port;

const LIMIT: Duration = Duration::from_secs(20);

/// Five targets, one for each way to stand.
const SETTINGS: &str = "\
[defaults]
step = '1s'
pings = 5
timeout = '500ms'
[mail]
from = 'latmon@example.org'
to = ['noc@example.org']
server = '127.0.0.1'
port = PORT
tls = 'none'
[alerts]
settle = '1s'
[alert.slow]
when = 'median > 50ms'
for = '1 of 1'
[targets]
well = '198.18.0.1'
far = { host = '198.18.0.2', alerts = ['slow'] }
'fra/dead' = '198.18.0.3'
mute = { host = '198.18.0.4', alerts = [] }
nameless = 'no-such-host.invalid'
";

/// With a mail server that is not there.
fn settings(port: &Port) -> String {
    SETTINGS.replace("PORT", &port.number.to_string())
}

fn shown(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Waits until `latmon status WORDS` prints what is wanted.
fn status_with(
    monitor: &mut Running<'_>,
    words: &str,
    wanted: impl Fn(&str) -> bool,
) -> (String, Option<i32>) {
    let mut last = String::new();
    monitor.until(LIMIT, "the status that is wanted", |desk| {
        let output = desk.done(&format!("status {words}"));
        last = shown(&output) + &told(&output).1;
        wanted(&last).then(|| (last.clone(), output.status.code()))
    })
}

fn started(words: &str) -> (Net, Desk) {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    net.host("198.18.0.2", answer().delay(ms(80)));
    net.host("198.18.0.3", silence());
    net.host("198.18.0.4", silence());
    let desk = Desk::new();
    desk.write("latmon.toml", words);
    (net, desk)
}

#[test]
fn every_target_stands_as_its_alerts_say() {
    let port = Port::closed();
    let (_net, desk) = started(&settings(&port));
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let is_whole = |text: &str| {
        text.contains("5 targets: 1 ok, 2 alerting, 1 unknown, 1 silent")
            && text.contains("mails waiting since")
            && text.contains("connection refused")
            && text.contains("does not resolve")
    };
    let (text, code) = status_with(&mut monitor, "", is_whole);
    assert_eq!(code, Some(1), "two alerts are open");

    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(
        text.starts_with("running ") && text.lines().next().unwrap().contains(" ago); 2 mails"),
        "{text}"
    );
    assert_eq!(lines[2][..4], ["fra/dead", "DOWN", "-", "100%"], "the worst first: {text}");
    assert_eq!(
        (lines[3][..2].to_vec(), lines[3][3], lines[3][4]),
        (vec!["far", "SLOW"], "ms", "0%"),
        "{text}"
    );
    let median: f64 = lines[3][2].parse().unwrap();
    assert!((80.0..200.0).contains(&median) && text.contains("median > 50ms"), "{text}");
    assert_eq!(lines[4][..4], ["nameless", "UNKNOWN", "-", "-"], "{text}");
    assert!(text.lines().nth(4).unwrap().ends_with("the name does not resolve"), "{text}");
    assert_eq!(lines[5][..2], ["mute", "silent"], "no alert asks for anybody, but it is no 'ok': {text}");
    assert_eq!(lines.len(), 6, "the one that is well is left out: {text}");

    let well = desk.done("status well");
    assert_eq!(well.status.code(), Some(0), "only what is named counts");
    let text = shown(&well);
    assert!(
        text.contains("1 of 5 targets: 1 ok") && text.contains("\nwell  ok  ") && !text.contains("far"),
        "{text}"
    );
    assert_eq!(desk.done("status fra/*").status.code(), Some(1));
    assert_eq!(desk.done("status nameless well").status.code(), Some(3), "of one there is no telling");
    let (code, error) = told(&desk.done("status wel"));
    assert_eq!(code, Some(2));
    assert!(error.contains("no target 'wel'"), "{error}");

    let quiet = desk.done("status --quiet");
    assert_eq!((quiet.status.code(), shown(&quiet), told(&quiet).1), (Some(1), String::new(), String::new()));
    let json = desk.done("status --json far");
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one JSON object");
    assert_eq!(json["pid"], monitor.pid());
    let [far] = json["targets"].as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!(
        (&far["target"], &far["state"], &far["address"]),
        (&"far".into(), &"slow".into(), &"198.18.0.2".into())
    );
    assert_eq!((&json["sockets"], &json["stale"]), (&"raw, IPv4 IPv6, kernel stamps".into(), &false.into()));
    assert_eq!((&far["loss"], &far["alerts"][0]), (&0.0.into(), &"slow".into()));
    assert!(far["median_us"].as_f64().unwrap() >= 80_000.0, "{far}");
    monitor.stop();

    assert!(!desk.path("control.sock").exists(), "it goes with the monitor");
    let gone = desk.done("status");
    assert_eq!((gone.status.code(), shown(&gone)), (Some(3), String::new()));
    assert!(told(&gone).1.contains("no monitor is running in "), "{gone:?}");
}

/// Who says why, and what came in and did not count, each in its own column.
#[test]
fn what_the_network_says_and_does_is_told_by_target() {
    let net = Net::new();
    net.host("198.18.0.1", answer().duplicate(All));
    net.host("198.18.0.2", answer().late(At(vec![0, 1]), ms(700)));
    net.host("198.18.0.3", refuse(Refusal::Host));
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        "[defaults]\nstep = '1s'\npings = 4\ntimeout = '500ms'\n[targets]\ntwice = '198.18.0.1'\nlate = \
         '198.18.0.2'\ngone = '198.18.0.3'\n",
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let (text, code) = status_with(&mut monitor, "twice late gone", |text| {
        text.contains("  ignored 2 late\n") && text.contains(" duplicate\n") && text.contains("says")
    });
    assert_eq!(code, Some(1));
    let gone = text.lines().find(|line| line.starts_with("gone")).expect("a line");
    assert!(
        gone.contains("DOWN") && gone.ends_with(&format!("host unreachable, says {ROUTER_IPV4}")),
        "{text}"
    );
    assert!(text.contains("\n  ignored none\n"), "the one that is gone sent nothing: {text}");

    // Without any name, in one line for all.
    let text = shown(&desk.done("status"));
    let all = text.lines().find(|line| line.starts_with("replies that did not count: ")).expect("a line");
    assert!(all.contains(" duplicate, ") && all.ends_with("2 late"), "{text}");

    let json = desk.done("status --json twice late");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one JSON object");
    assert_eq!(json["targets"][0]["ignored"]["late"], 0);
    assert!(json["targets"][0]["ignored"]["duplicates"].as_u64() > Some(3), "{json}");
    assert_eq!(json["targets"][1]["ignored"]["late"], 2, "{json}");
    assert_eq!(json["ignored"]["late"], 2, "and in all: {json}");
    assert_eq!((&json["rounds_dropped"], &json["packets_dropped"]), (&0.into(), &0.into()));
    monitor.stop();
}

/// A monitor that was killed leaves its socket: it counts for nothing, and the next one takes its place.
#[test]
fn a_socket_that_was_left_behind_is_replaced() {
    let port = Port::closed();
    let (_net, desk) = started(&settings(&port));
    let mut monitor = desk.start(&mut desk.latmon("run"));
    status_with(&mut monitor, "well", |text| text.contains("\nwell  ok"));
    drop(monitor);
    let metadata = fs::symlink_metadata(desk.path("control.sock")).expect("nobody took it away");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "for its owner alone");
    assert_eq!(desk.done("status").status.code(), Some(3));

    let mut monitor = desk.start(&mut desk.latmon("run"));
    status_with(&mut monitor, "well", |text| text.contains("\nwell  ok"));
    monitor.stop();
}

/// Stopped, it does not answer, and nobody waits for that for long.
#[test]
fn a_monitor_that_is_held_up_is_no_well_one() {
    let (_net, desk) = started("[defaults]\nstep = '2s'\npings = 2\n[targets]\nwell = '198.18.0.1'\n");
    let mut monitor = desk.start(&mut desk.latmon("run"));
    status_with(&mut monitor, "", |text| text.contains("1 target: 1 ok"));
    monitor.freeze();
    let held_up = desk.done("status");
    monitor.signal_monitor(Signal::SIGCONT);
    assert_eq!(held_up.status.code(), Some(3));
    assert!(told(&held_up).1.contains("does not answer"), "{held_up:?}");
    monitor.stop();
}

/// The name of a socket may have 107 bytes; a data folder's may have more, also for a user whom the kernel shows little of
/// a process that was root.
#[test]
fn a_long_path_is_no_obstacle() {
    let port = Port::closed();
    let (_net, desk) = started(&format!(
        "user = 'nobody'
{}",
        settings(&port)
    ));
    fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let deep = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    let mut monitor = desk.start(&mut desk.latmon(&format!("run --data-dir {deep}")));
    let (_, code) =
        status_with(&mut monitor, &format!("--data-dir {deep} well"), |text| text.contains("\nwell  ok"));
    assert_eq!(code, Some(0));
    monitor.stop();
    assert!(!desk.path(&deep).join("control.sock").exists());
}

/// Whatever clients say, or do not say, the next one gets its answer and no round is late.
#[test]
fn bad_clients_hold_nobody_up() {
    let port = Port::closed();
    let (_net, desk) = started(&settings(&port));
    let mut monitor = desk.start(&mut desk.latmon("run"));
    status_with(&mut monitor, "well", |text| text.contains("\nwell  ok"));
    let connect = || UnixStream::connect(desk.path("control.sock")).expect("it takes calls");

    let replies = [
        &b"{\"latmon\":2,\"ask\":\"status\"}\n"[..],
        b"{\"latmon\":1,\"ask\":\"sing\"}\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"\xff\xfe\x00{\n",
        &[b'['; 100_000],
        &[b"{\"latmon\":1,\"ask\":".repeat(200), b"\n".to_vec()].concat(),
    ]
    .map(|words| {
        let mut client = connect();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        // It may hang up before all of a long one is written.
        let _ = client.write_all(words);
        let mut reply = String::new();
        let _ = BufReader::new(client).read_line(&mut reply);
        reply
    });
    assert!(replies[0].contains("speaks version 1 of this protocol, not 2"), "{replies:?}");
    assert!(replies[1].contains("cannot do that"), "{replies:?}");
    for reply in replies.iter().filter(|reply| !reply.is_empty()) {
        assert!(reply.starts_with("{\"latmon\":1,\"error\":") && reply.ends_with("}\n"), "{reply}");
    }

    // More than it takes at once, who say nothing, half of a request, or ask and do not listen.
    let mut silent: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    for (number, client) in silent.iter_mut().enumerate() {
        let _ = client
            .write_all([&b""[..], b"{\"latmon\":1,", b"{\"latmon\":1,\"ask\":\"status\"}\n"][number % 3]);
    }
    // Were they served in turn, this one would give up long before it is.
    let output = desk.done("status well");
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // Those that are left are shown out in time.
    let mut rest = silent.pop().expect("forty");
    rest.set_read_timeout(Some(LIMIT)).unwrap();
    let mut nothing = Vec::new();
    let _ = rest.read_to_end(&mut nothing);
    status_with(&mut monitor, "well", |text| text.contains("\nwell  ok"));
    assert!(!monitor.log().contains("panicked"), "{}", monitor.log());
    monitor.stop();
}
