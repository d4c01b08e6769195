//! The prober against the kernel's own replies on loopback, by every kind of socket. Each test has a network namespace
//! of its own, so these need root.
#![allow(unsafe_code)] // For capset, by which one thread gives up a capability for itself alone.
#![allow(clippy::unwrap_used)] // A test, helpers and all.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use latmon::probe::{
    Anchors, EchoSettings, Error, Pace, Prober, RESOLVE_EVERY, Settings, SocketKind, TargetSettings,
};
use latmon::round::{Fault, Ping, Round, Target};
use latmon::time::{Step, UnixTime};
use nix::sched::{CloneFlags, unshare};

/// Far more than a reply from loopback takes, also on a busy machine.
const TIMEOUT: Duration = Duration::from_millis(900);
const RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";

#[test]
fn raw_sockets_hear_every_reply() {
    in_a_namespace(|| every_reply_is_heard(SocketKind::Raw, "raw, IPv4 IPv6"));
}

#[test]
fn datagram_sockets_hear_every_reply() {
    in_a_namespace(|| {
        std::fs::write(RANGE, "0 2147483647").expect("cannot allow ping sockets");
        give_up_net_raw();
        every_reply_is_heard(SocketKind::Datagram, "datagram, IPv4 IPv6");
    });
}

#[test]
fn without_any_permission_the_error_names_both_remedies() {
    in_a_namespace(|| {
        give_up_net_raw();
        let (rounds, _) = bounded(1);
        let error = Prober::start(settings(&[("v4", "127.0.0.1")]), rounds).expect_err("nothing was allowed");
        assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        let program = std::env::current_exe().unwrap();
        for part in [
            format!("setcap cap_net_raw+ep {}", program.display()).as_str(),
            "AmbientCapabilities=CAP_NET_RAW",
            "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"",
        ] {
            assert!(line.contains(part), "{line}\nlacks {part}");
        }
    });
}

#[test]
fn what_this_machine_cannot_send_is_unknown_and_not_lost() {
    in_a_namespace(|| {
        // There is no route to anywhere but loopback, and no such name.
        let targets = [("routeless", "198.18.0.1"), ("nameless", "name.invalid"), ("fine", "localhost")];
        let (prober, rounds) = start(&targets);
        for round in take(&rounds, 2 * targets.len()) {
            let wanted = match round.target().name.as_str() {
                "routeless" => Ping::Unknown(Fault::Send(libc::ENETUNREACH)),
                "nameless" => Ping::Unknown(Fault::NoAddress),
                _ => {
                    assert_eq!(round.lost(), 0);
                    continue;
                }
            };
            // Not before the start, nor while the machine stood still.
            let was_due =
                |ping: &&Ping| ![Fault::NotRunning, Fault::HeldUp].map(Ping::Unknown).contains(ping);
            assert!(round.pings().iter().filter(was_due).all(|ping| *ping == wanted), "{round:?}");
        }
        prober.stop().unwrap();
    });
}

#[test]
fn a_stop_waits_for_nothing_and_closes_the_channel() {
    in_a_namespace(|| {
        let (sender, rounds) = bounded(64);
        let mut settings = settings(&[("v4", "127.0.0.1")]);
        settings.targets[0].step = Step::new(3600).unwrap();
        let prober = Prober::start(settings, sender).unwrap();
        // In the middle of a wait for the next ping: it is minutes away.
        std::thread::sleep(Duration::from_millis(50));
        let asked = Instant::now();
        prober.stop().unwrap();
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(30), "it took {took:?}");
        // The end of a step may have brought a round meanwhile.
        let end = std::iter::repeat_with(|| rounds.try_recv()).find_map(Result::err);
        assert_eq!(end, Some(TryRecvError::Disconnected));
    });
}

/// Two whole rounds to both families: every ping answered, soon, and the rounds on their boundaries.
fn every_reply_is_heard(kind: SocketKind, line: &str) {
    let (prober, rounds) = start(&[("v4", "127.0.0.1"), ("v6", "::1")]);
    let kinds = prober.sockets();
    assert_eq!((kinds.v4, kinds.v6, kinds.to_string().as_str()), (Some(kind), Some(kind), line));
    // The first round of each was joined in its middle, and a machine that stands still for a second leaves pings out.
    const MOST: usize = 40;
    let mut heard: Vec<Round> = Vec::new();
    let newest = |heard: &[Round], name: &str| -> Vec<Round> {
        let mut newest: Vec<Round> =
            heard.iter().filter(|round| round.target().name == name).rev().take(3).cloned().collect();
        newest.reverse();
        newest
    };
    let are_whole = |newest: &[Round]| {
        let follows = |pair: &[Round]| pair[0].end() == pair[1].start() && pair[1].known() == 5;
        newest.len() == 3 && newest.windows(2).all(follows)
    };
    while !["v4", "v6"].iter().all(|name| are_whole(&newest(&heard, name))) {
        heard.append(&mut take(&rounds, 1));
        assert!(heard.len() < MOST, "{heard:?}");
    }
    prober.stop().unwrap();
    for name in ["v4", "v6"] {
        let rounds = newest(&heard, name);
        let [joined, whole @ ..] = rounds.as_slice() else { panic!("no round of {name}") };
        assert_eq!(joined.lost(), 0, "{joined:?}");
        let mut before = joined;
        for round in whole {
            assert_eq!(round.sorted().len(), 5, "{round:?}");
            let (quickest, slowest) = (round.min().unwrap().duration(), round.max().unwrap().duration());
            assert!(Duration::ZERO < quickest && slowest < TIMEOUT, "{round:?}");
            assert_eq!(round.start(), before.end());
            assert_eq!(round.end(), round.start().plus(Duration::from_secs(1)));
            before = round;
        }
        assert_eq!(before.end().subsec_micros(), 0);
    }
}

fn settings(targets: &[(&str, &str)]) -> Settings {
    let target = |(name, host): &(&str, &str)| TargetSettings {
        target: Arc::new(Target { name: (*name).to_owned(), host: (*host).to_owned() }),
        step: Step::new(1).unwrap(),
        pings: 5,
        timeout: TIMEOUT,
        family: None,
        echo: EchoSettings::default(),
    };
    Settings {
        targets: targets.iter().map(target).collect(),
        pace: Pace::default(),
        resolve_every: RESOLVE_EVERY,
        anchors: Anchors::default(),
        known_anchors: Vec::new(),
    }
}

fn start(targets: &[(&str, &str)]) -> (Prober, Receiver<Round>) {
    let (sender, rounds) = bounded(64);
    (Prober::start(settings(targets), sender).unwrap(), rounds)
}

/// The next `count` rounds, none of which may come before it has ended.
fn take(rounds: &Receiver<Round>, count: usize) -> Vec<Round> {
    (0..count)
        .map(|_| {
            let round = rounds.recv_timeout(Duration::from_secs(60)).expect("no round came");
            assert!(round.end() <= UnixTime::from(SystemTime::now()), "{round:?} came too early");
            round
        })
        .collect()
}

/// Runs `test` on a thread that has a network namespace with loopback up and nothing else.
fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root, for a network namespace of its own");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("install iproute2");
        assert!(up.success(), "cannot set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Gives up CAP_NET_RAW, for this thread and those it starts.
fn give_up_net_raw() {
    const CAP_NET_RAW: u32 = 13;
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // For capabilities 0 to 31 and for the others: effective, permitted, inheritable.
    let mut sets = [[0u32; 3]; 2];
    let mut header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: both pointers are to live locals of the layouts that version 3 of this call has.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    for set in &mut sets[0] {
        *set &= !(1 << CAP_NET_RAW);
    }
    // SAFETY: as above; the kernel only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
