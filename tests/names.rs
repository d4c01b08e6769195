//! Targets that are names, against a real name server: dead, slow and changing names, families, and a system whose name
//! servers come later. Each test has network and mount namespaces of its own, so these need root.

mod support {
    pub(crate) mod dns;
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use latmon::probe::icmp::Family;
use latmon::probe::{
    self, Anchors, EchoSettings, NotFound, Pace, Prober, RESOLVE_EVERY, Settings, Stop, TargetSettings,
};
use latmon::round::{Fault, Ping, Round, Target};
use latmon::time::Step;
use support::dns::{A, AAAA, Etc, Manner, NameServer, has, long, only, slow};
use support::latmon::Desk;
use support::net::{Net, answer, ms};

const V4: Option<Family> = Some(Family::V4);
const V6: Option<Family> = Some(Family::V6);

#[test]
fn a_name_is_asked_for_once_and_pinged_by_the_family_that_is_wanted() {
    in_a_world(|_| {
        let server = NameServer::start("127.0.0.1");
        server.name("both.example", has(&["198.18.0.1", "fd00::1"]));
        server.name("six.example", has(&["fd00::2"]));
        server.name("long.example", long(&["198.18.0.2"]));
        let names = [
            ("four", "both.example", V4),
            ("six", "both.example", V6),
            ("any", "Both.Example", None),
            ("alone", "six.example", None),
            ("none", "six.example", V4),
            ("home", "localhost", V6),
            ("long", "long.example", V4),
        ];
        let watch = Watch::start(&names, RESOLVE_EVERY);
        // 198.18.0.0/15 is before fd00::/8: RFC 6724 ranks unique local addresses below IPv4.
        let expected = [
            ("four", "198.18.0.1"),
            ("six", "fd00::1"),
            ("any", "198.18.0.1"),
            ("alone", "fd00::2"),
            ("home", "::1"),
            ("long", "198.18.0.2"),
        ];
        for (name, address) in expected {
            watch.until(name, |round| is_well(round, address));
        }
        watch.until("none", is_nameless);
        let counts = [("both.example", A), ("both.example", AAAA), ("six.example", A), ("six.example", AAAA)];
        for (name, kind) in counts {
            assert_eq!(server.asked(name, kind), 1, "{name}, type {kind}");
        }
        watch.stop();
    });
}

#[test]
fn dead_slow_and_missing_names_hold_up_no_other() {
    in_a_world(|world| {
        let server = NameServer::start("127.0.0.1");
        server.name("dead.example", Manner::Silent);
        server.name("failing.example", Manner::Fails);
        server.name("slow.example", slow(ms(1500), &["198.18.0.2"]));
        server.name("good.example", has(&["198.18.0.1"]));
        let mut names = vec![
            ("failing", "failing.example", None),
            ("missing", "missing.example", None),
            ("slow", "slow.example", None),
            ("routeless", "203.0.113.1", None),
            ("literal", "198.18.0.3", None),
        ];
        let dead: Vec<(String, String)> =
            (0..200).map(|n| (format!("dead{n}"), format!("d{n}.dead.example"))).collect();
        for (name, host) in &dead {
            server.name(host, Manner::Silent);
            names.push((name, host, None));
        }
        names.push(("good", "good.example", V4));
        let watch = Watch::start(&names, RESOLVE_EVERY);
        // Before any name is known, and however many are asked for: four pings a second, on time.
        wait(|| world.net.requests("198.18.0.3").len() >= 16, "sixteen requests");
        let requests = world.net.requests("198.18.0.3");
        let gaps = requests.windows(2).map(|pair| pair[1].at - pair[0].at);
        let late = gaps.clone().filter(|gap| gap.abs_diff(ms(250)) > ms(100)).count();
        assert!(late <= 4, "{late} are not on time: {:?}", gaps.collect::<Vec<_>>());
        let first = watch.until("good", |round| round.known() > 0);
        assert_eq!(first.lost(), 0, "{first:?}");
        watch.until("slow", |round| is_well(round, "198.18.0.2"));
        for name in ["failing", "missing", "dead0"] {
            watch.until(name, is_nameless);
        }
        let refused = Some(Fault::Send(libc::ENETUNREACH));
        watch.until("routeless", |round| round.is_unknown() && round.fault() == refused);
        watch.stop();
    });
}

#[test]
fn a_new_address_is_followed_and_the_last_one_outlives_the_server() {
    in_a_world(|_| {
        let server = NameServer::start("127.0.0.1");
        server.name("moving.example", has(&["198.18.0.1"]));
        let watch = Watch::start(&[("moving", "moving.example", V4)], ms(200));
        watch.until("moving", |round| is_well(round, "198.18.0.1"));
        // It stays where it is while it may.
        server.name("moving.example", has(&["198.18.0.2", "198.18.0.1"]));
        wait(|| server.asked("moving.example", A) > 10, "more questions");
        watch.until("moving", |round| is_well(round, "198.18.0.1"));
        server.name("moving.example", has(&["198.18.0.2"]));
        watch.until("moving", |round| is_well(round, "198.18.0.2"));
        for manner in [Manner::Fails, Manner::Silent] {
            server.name("moving.example", manner);
            let before = server.asked("moving.example", A);
            wait(|| server.asked("moving.example", A) > before, "a question that fails");
            watch.until("moving", |round| is_well(round, "198.18.0.2"));
        }
        watch.stop();
    });
}

/// As at boot: the monitor is there before the network is set up.
#[test]
fn servers_and_tables_that_come_later_are_used() {
    in_a_world(|world| {
        let watch = Watch::start(
            &[("late", "core1", None), ("tabled", "tabled.example", None), ("literal", "198.18.0.1", None)],
            RESOLVE_EVERY,
        );
        watch.until("literal", |round| is_well(round, "198.18.0.1"));
        watch.until("late", is_nameless);
        // The first server of the two is silent, and the name is one of the search domain.
        let _silent = UdpSocket::bind("127.0.0.2:53").expect("port 53 of a namespace of our own is free");
        let server = NameServer::start("127.0.0.3");
        server.name("core1.lab.example", has(&["198.18.0.2"]));
        world.etc.write("hosts", "198.18.0.1 other Tabled.Example # here\n");
        world.etc.write(
            "resolv.conf",
            "nameserver 127.0.0.2\nnameserver 127.0.0.3\nsearch lab.example\noptions timeout:1\n",
        );
        watch.until("late", |round| is_well(round, "198.18.0.2"));
        watch.until("tabled", |round| is_well(round, "198.18.0.1"));
        for kind in [A, AAAA] {
            assert_eq!(server.asked("tabled.example", kind), 0, "the table knows");
        }
        watch.stop();
    });
}

/// Some name servers answer no question for the type that a name has no record of.
#[test]
fn half_an_answer_is_one_for_somebody_who_waits_too() {
    in_a_world(|_| {
        let server = NameServer::start("127.0.0.1");
        server.name("four.example", only(A, &["198.18.0.1"]));
        server.name("six.example", only(AAAA, &["fd00::1"]));
        let hosts = ["four.example", "six.example"].map(str::to_owned);
        let found = probe::addresses(&hosts, None, Duration::from_secs(5), None);
        let found: Vec<_> = found.into_iter().map(|found| found.map(|it| it.ip().to_string())).collect();
        assert_eq!(found, [Ok("198.18.0.1".to_owned()), Ok("fd00::1".to_owned())]);
    });
}

#[test]
fn whoever_stops_waits_for_no_name() {
    in_a_world(|_| {
        let server = NameServer::start("127.0.0.1");
        server.name("dead.example", Manner::Silent);
        let stop = Stop::new().expect("an event can be had");
        let began = Instant::now();
        let found = std::thread::scope(|scope| {
            let hosts = ["dead.example".to_owned(), "198.18.0.1".to_owned()];
            let given = &stop;
            let looked = scope.spawn(move || probe::addresses(&hosts, None, LIMIT, Some(given)));
            wait(|| server.asked("dead.example", A) > 0, "a question");
            stop.stop();
            looked.join().expect("it does not panic")
        });
        assert!(began.elapsed() < LIMIT / 2, "took {:?}", began.elapsed());
        assert_eq!(found[0], Err(NotFound::Stopped));
        assert!(found[1].is_ok(), "{found:?}");
    });
}

/// More names than a process may have sockets for, half of them dead.
#[test]
fn many_names_are_asked_for_with_few_descriptors() {
    in_a_world(|_| {
        let server = NameServer::start("127.0.0.1");
        let hosts: Vec<String> = (0..400).map(|n| format!("n{n}.example")).collect();
        for (host, place) in hosts.iter().zip(0..) {
            let manner = if place % 2 == 0 { Manner::Silent } else { slow(ms(100), &["198.18.0.1"]) };
            server.name(host, manner);
        }
        let desk = Desk::new();
        let mut ping = Command::new("sh");
        ping.arg("-c").arg("ulimit -n 450; exec \"$@\"").arg("sh").arg(env!("CARGO_BIN_EXE_latmon"));
        ping.args(["ping", "--json", "-c", "1"]).args(&hosts).current_dir(desk.path(""));
        let output = ping.output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stderr);
        for (host, place) in hosts.iter().zip(0..) {
            let failed = format!("latmon: {host}: does not resolve: no name server answers\n");
            assert_eq!(text.contains(&failed), place % 2 == 0, "{host}: {text}");
        }
        assert_eq!(text.lines().count(), 200, "{text}");
    });
}

/// The network and the files of one test.
struct World {
    etc: Etc,
    net: Net,
}

/// Runs a test in a thread of its own, whose namespaces end with it, with three hosts that answer.
fn in_a_world(test: impl FnOnce(&World) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let net = Net::new();
            for host in ["198.18.0.1", "198.18.0.2", "198.18.0.3", "fd00::1", "fd00::2"] {
                net.host(host, answer().delay(ms(5)));
            }
            test(&World { etc: Etc::enter(), net });
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn is_well(round: &Round, address: &str) -> bool {
    let address: IpAddr = address.parse().expect("an address");
    round.address() == Some(address) && round.pings().len() == 4 && round.known() == 4 && round.lost() == 0
}

fn is_nameless(round: &Round) -> bool {
    round.address().is_none() && round.pings().contains(&Ping::Unknown(Fault::NoAddress))
}

/// A running prober, with rounds of four pings in a second.
struct Watch {
    prober: Prober,
    rounds: Receiver<Round>,
}

impl Watch {
    fn start(names: &[(&str, &str, Option<Family>)], resolve_every: Duration) -> Self {
        let target = |(name, host, family): &(&str, &str, Option<Family>)| TargetSettings {
            target: Arc::new(Target { name: (*name).to_owned(), host: (*host).to_owned() }),
            step: Step::new(1).expect("not zero"),
            pings: 4,
            timeout: ms(500),
            family: *family,
            echo: EchoSettings::default(),
        };
        let settings = Settings {
            targets: names.iter().map(target).collect(),
            pace: Pace::default(),
            resolve_every,
            anchors: Anchors::default(),
            known_anchors: Vec::new(),
        };
        let (sender, rounds) = bounded(10_000);
        Self { prober: Prober::start(settings, sender).expect("the prober starts"), rounds }
    }

    /// Waits for a round of this target that is as wanted.
    fn until(&self, name: &str, wanted: impl Fn(&Round) -> bool) -> Round {
        let deadline = Instant::now() + LIMIT;
        let mut last = None;
        loop {
            let round = self.rounds.recv_deadline(deadline).unwrap_or_else(|_| {
                panic!("{name}: no round is as wanted within {LIMIT:?}; the last one is {last:?}")
            });
            if round.target().name == name {
                if wanted(&round) {
                    return round;
                }
                last = Some(round);
            }
        }
    }

    fn stop(self) {
        self.prober.stop().expect("the prober's thread does not panic");
    }
}

fn wait(done: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come within {LIMIT:?}");
        std::thread::sleep(ms(5));
    }
}

const LIMIT: Duration = Duration::from_secs(60);
