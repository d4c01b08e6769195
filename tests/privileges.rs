//! What the running monitor may still do, as the kernel tells it of every thread. Needs root, for the network.

mod support {
    pub(crate) mod dns;
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::time::Duration;

use latmon::probe::{self, PathEnd, TraceSettings};
use support::dns::{A, Etc, Manner, NameServer};
use support::latmon::{Desk, Running, told};
use support::net::{Net, answer, silence};

const LIMIT: Duration = Duration::from_secs(20);
const SETTINGS: &str = "\
user = 'nobody'
data_dir = 'data'
[defaults]
step = '1s'
pings = 2
[targets]
office = '198.18.0.1'
";

/// A desk that others than root may enter, with a copy of the binary that they may run.
fn open_desk(settings: &str) -> Desk {
    let desk = Desk::new();
    desk.write("latmon.toml", settings);
    fs::copy(env!("CARGO_BIN_EXE_latmon"), desk.path("latmon")).expect("the binary can be copied");
    fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).expect("it is ours");
    desk
}

/// That field of `/proc/PID/status`, for every thread of these processes.
fn of_every_thread(processes: &[u32], field: &str) -> Vec<String> {
    let threads = processes.iter().map(|pid| fs::read_dir(format!("/proc/{pid}/task")).expect("it runs"));
    threads
        .flatten()
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).expect("it runs"))
        .map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"));
            line.unwrap_or_else(|| panic!("no {field} in\n{status}"))
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[track_caller]
fn every_thread_has(monitor: &Running<'_>, field: &str, wanted: &str) {
    let found = of_every_thread(&[monitor.pid(), monitor.guardian()], field);
    assert!(found.len() > 3, "the prober, the composer, the signals and more");
    assert!(found.iter().all(|value| value == wanted), "{field}: {found:?}");
}

const NO_CAPABILITY: &str = "0000000000000000";
const CAPABILITIES: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

/// Started by root, it measures as somebody else, and no thread of it is root's or can become so.
#[test]
fn root_becomes_the_user_of_the_settings() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk = open_desk(SETTINGS);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("every machine has nobody");
    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("data/office.rrd").is_empty()).then_some(()));

    every_thread_has(&monitor, "Uid", &vec![nobody.uid.to_string(); 4].join(" "));
    every_thread_has(&monitor, "Gid", &vec![nobody.gid.to_string(); 4].join(" "));
    every_thread_has(&monitor, "Groups", &nobody.gid.to_string());
    CAPABILITIES.iter().for_each(|set| every_thread_has(&monitor, set, NO_CAPABILITY));
    for file in ["data", "data/office.rrd", "data/latmon.lock", "data/outbox", "data/control.sock"] {
        let owner = fs::metadata(desk.path(file)).unwrap().uid();
        assert_eq!(owner, nobody.uid.as_raw(), "{file} is the user's");
    }
    assert_eq!(desk.done("status").status.code(), Some(0), "root may ask it all the same");
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=65533", "--regid=65533", "--clear-groups"]).arg(desk.path("latmon"));
    stranger.args(["status", "--data-dir"]).arg(desk.path("data")).current_dir("/").env_clear();
    let (code, error) = told(&stranger.output().expect("setpriv runs (util-linux)"));
    assert_eq!(code, Some(3), "there is no telling for others");
    assert!(error.contains("answers its own user and root only"), "{error}");
    monitor.stop();
}

/// As systemd starts it with AmbientCapabilities: no root, one capability, which is gone once the sockets are open.
#[test]
fn a_lent_capability_is_given_back() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk = open_desk(&SETTINGS.replace("user = 'nobody'\n", ""));
    fs::create_dir(desk.path("data")).unwrap();
    chown(desk.path("data"), Some(65534), Some(65534)).unwrap();
    let mut monitor = desk.start(&mut with_net_raw(&desk, "run"));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("data/office.rrd").is_empty()).then_some(()));

    assert!(monitor.log().contains("sockets: raw"), "the capability served: {}", monitor.log());
    CAPABILITIES.iter().for_each(|set| every_thread_has(&monitor, set, NO_CAPABILITY));
    monitor.stop();
}

/// `latmon WORDS` by somebody who is not root and has one capability, by which alone there are sockets.
fn with_net_raw(desk: &Desk, words: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps=-all,+net_raw", "--ambient-caps=+net_raw"])
        .arg(desk.path("latmon"))
        .args(words.split_whitespace())
        .current_dir(desk.path(""))
        .env_clear()
        .env("TZ", "UTC");
    command
}

/// Once an echo has left, no thread can do what it took to open the sockets.
#[test]
fn a_look_and_a_trace_give_the_capability_back_too() {
    let net = Net::new();
    net.forbid_ping_sockets();
    for (words, target) in [
        ("ping -c 1000 -i 100ms", "198.18.0.1"),
        ("ping -c 1000 -i 100ms", "fd00::1"),
        ("ping --fping -q -C 1000 -p 100 -M", "198.18.0.2"),
        ("ping --fping -q -C 1000 -p 100 -M -S fd00:ffff::1:1", "fd00::2"),
        ("trace -n -W 60", "198.18.0.3"),
    ] {
        net.host(target, silence());
        let desk = open_desk("");
        let mut look = desk.start(&mut with_net_raw(&desk, &format!("{words} {target}")));
        look.until(LIMIT, "an echo", |_| net.requests(target).first().map(drop));
        can_do_nothing(&look, words);
    }
}

/// The same while a name server is waited for, whose packets a stranger may make.
#[test]
fn names_are_looked_up_without_the_capability() {
    // The mount namespace lasts as long as this thread, which the test harness keeps for others.
    let thread = std::thread::spawn(|| {
        let net = Net::new();
        net.forbid_ping_sockets();
        let etc = Etc::enter();
        etc.write("resolv.conf", "nameserver 127.0.0.1\n");
        fs::set_permissions("/etc", fs::Permissions::from_mode(0o755)).expect("it is ours");
        let server = NameServer::start("127.0.0.1");
        for (words, name) in [
            ("ping ping.example", "ping.example"),
            ("trace trace.example", "trace.example"),
            ("doctor", "doctor.example"),
        ] {
            server.name(name, Manner::Silent);
            let desk = open_desk("data_dir = 'data'\n[targets]\na = 'doctor.example'\n");
            let mut look = desk.start(&mut with_net_raw(&desk, words));
            look.until(LIMIT, "a question", |_| (server.asked(name, A) > 0).then_some(()));
            can_do_nothing(&look, words);
        }
    });
    assert!(thread.join().is_ok(), "failed, see above");
}

#[track_caller]
fn can_do_nothing(look: &Running<'_>, words: &str) {
    for set in CAPABILITIES {
        let found = of_every_thread(&[look.guardian()], set);
        assert!(found.iter().all(|value| value == NO_CAPABILITY), "{words}: {set}: {found:?}");
    }
}

/// What was opened in time serves a trace in a process that may open nothing, and the next trace too.
#[test]
fn a_trace_needs_no_privilege_by_then() {
    let mut net = Net::new();
    net.forbid_ping_sockets();
    net.host("198.18.0.1", answer());
    let spares = probe::open_spares();
    assert_eq!(spares.len(), 2, "one for each family");
    net.forbid_raw_sockets();
    let trace = || probe::trace("198.18.0.1:0".parse().unwrap(), &TraceSettings::default());
    assert!(matches!(trace(), Err(probe::Error::Forbidden { .. })));
    probe::keep_spares(spares);
    for _ in 0..2 {
        let path = trace().expect("a path");
        assert_eq!((path.end, path.hops.len()), (PathEnd::Reached, 1), "{path:?}");
    }
}

/// Nothing is made, and no socket is left to guess about, where the user cannot be had or cannot write.
#[test]
fn a_user_who_cannot_be_had_is_one_clear_line() {
    let _net = Net::new();
    let desk = open_desk(&SETTINGS.replace("nobody", "no-such-user"));
    let (code, error) = told(&desk.done("run"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("latmon.toml:1: there is no user 'no-such-user': make it with"), "{error}");
    assert!(!desk.path("data").exists());

    let desk = open_desk(SETTINGS);
    fs::create_dir(desk.path("data")).unwrap();
    let (code, error) = told(&desk.done("run"));
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert!(
        error.contains("may not write in the data folder") && error.contains("chown -R nobody "),
        "{error}"
    );
    assert_eq!(fs::read_dir(desk.path("data")).unwrap().count(), 0);
}

/// Without a socket there will be no measuring: a first start that fails so leaves no archives behind.
#[test]
fn without_a_socket_nothing_is_made() {
    let mut net = Net::new();
    net.forbid_raw_sockets();
    let desk = Desk::new();
    let (code, error) = told(&desk.done("run 198.18.0.1 --data-dir data"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("no permission to ping"), "{error}");
    assert!(!desk.path("data").exists());
}
