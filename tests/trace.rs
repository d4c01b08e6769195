//! `latmon trace`: through the kernel's own routers, in a chain of network namespaces, and through a network whose
//! routers are silent, refuse, or answer from anywhere. Needs root, for the networks.

mod support {
    pub(crate) mod chain;
    pub(crate) mod dns;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod sockets;
}

use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::chain::Chain;
use support::dns::{Etc, Manner, NameServer, called, has};
use support::latmon::{Desk, told};
use support::net::{Refusal, answer, ms, refuse, silence};
use support::sockets::{Sockets, in_both, net};

/// The object of `latmon trace --json WORDS`, and the exit code.
fn traced(words: &str) -> (Value, Option<i32>) {
    let output = Desk::new().done(&format!("trace --json {words}"));
    (object(&output), output.status.code())
}

fn object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}\n{}", told(output).1))
}

/// For each hop who answered, once each.
fn hops(path: &Value) -> Vec<Vec<&str>> {
    path["hops"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|hop| {
            let answers = hop["answers"].as_array().expect("a list");
            let mut from: Vec<&str> =
                answers.iter().map(|answer| answer["address"].as_str().expect("a text")).collect();
            from.sort_unstable();
            from.dedup();
            from
        })
        .collect()
}

#[test]
fn the_kernels_routers_are_the_hops() {
    in_both(|sockets| {
        let chain = Chain::new(4);
        let groups = if sockets == Sockets::Datagram { "0 2147483647" } else { "1 0" };
        chain.at(0, move || support::net::namespace::write_sysctl("net/ipv4/ping_group_range", groups));
        let wanted = |address: fn(usize) -> String| (1..=4).map(address).collect::<Vec<String>>();
        for (target, wanted) in [(Chain::ipv4(4), wanted(Chain::ipv4)), (Chain::ipv6(4), wanted(Chain::ipv6))]
        {
            let began = Instant::now();
            let (path, code) = traced(&format!("{target} -W 10"));
            let found = hops(&path);
            let wanted: Vec<Vec<&str>> = wanted.iter().map(|address| vec![address.as_str()]).collect();
            assert_eq!(found, wanted, "{sockets:?}: {path}");
            assert_eq!((code, &path["reached"]), (Some(0), &Value::Bool(true)), "{sockets:?}");
            // Nobody is silent, so it does not wait for the timeout.
            assert!(began.elapsed() < Duration::from_secs(9), "{sockets:?}: took {:?}", began.elapsed());
            for hop in path["hops"].as_array().expect("a list") {
                assert_eq!((&hop["sent"], &hop["received"]), (&Value::from(3), &Value::from(3)), "{hop}");
                assert!(hop["median_us"].as_f64().expect("a number") > 0.0);
            }
            let last = &path["hops"][3]["answers"][0];
            assert!(last["says"].is_null(), "the target answers the echo: {last}");
            assert_eq!(path["hops"][0]["answers"][0]["says"], "time to live exceeded");
        }
    });
}

#[test]
fn a_route_that_ends_on_the_way_is_told_with_who_says_so() {
    // Routers limit how often they say this: it is asked once of each.
    let chain = Chain::new(3);
    chain.ip(2, "route add prohibit 198.18.99.0/24\nroute add unreachable fd00:99::/64");
    for place in [0, 1] {
        let by = place + 1;
        chain.ip(
            place,
            &format!("route add 198.18.99.0/24 via 198.18.{by}.2\nroute add fd00:99::/64 via fd00:{by}::2"),
        );
    }
    for (target, reason, last) in [
        ("198.18.99.9", "administratively prohibited", Chain::ipv4(2)),
        ("fd00:99::9", "no route", Chain::ipv6(2)),
    ] {
        let (path, code) = traced(target);
        assert_eq!((code, &path["reached"]), (Some(1), &Value::Bool(false)), "{path}");
        assert_eq!(path["reason"], reason, "{path}");
        assert_eq!(hops(&path).last(), Some(&vec![last.as_str()]), "{path}");
    }
}

/// Routers that quote as little as RFC 792 asks for (IPv4 here), and as much as RFC 4443 does, from any address.
#[test]
fn silent_hops_and_foreign_routers_are_shown_as_they_are() {
    in_both(|sockets| {
        let net = net(sockets);
        let paths = [
            ("198.18.0.9", ["198.18.200.1", "10.1.2.3", "198.18.200.3"]),
            ("fd00::9", ["fd00::200:1", "2001:db8::1", "fd00::200:3"]),
        ];
        for (target, routers) in paths {
            net.host(target, answer().delay(ms(5)).behind(&routers));
            let (path, code) = traced(target);
            assert_eq!(code, Some(0), "{sockets:?}: {path}");
            let mut wanted: Vec<Vec<&str>> = routers.iter().map(|router| vec![*router]).collect();
            wanted.push(vec![target]);
            assert_eq!(hops(&path), wanted, "{sockets:?}");
            let medians =
                path["hops"].as_array().expect("a list").iter().map(|hop| hop["median_us"].as_f64());
            assert!(medians.clone().all(|median| median.is_some_and(|us| us >= 5000.0)), "{path}");
        }
    });
}

#[test]
fn routers_have_their_names_beside_them_where_those_come_soon() {
    // The mount namespace lasts as long as this thread, which the test harness keeps for others.
    let thread = std::thread::spawn(|| {
        let net = net(Sockets::Raw);
        let etc = Etc::enter();
        etc.write("resolv.conf", "nameserver 127.0.0.1\n");
        etc.write("hosts", "198.18.0.9 fra.example\n");
        let server = NameServer::start("127.0.0.1");
        server.name("fra.example", has(&["198.18.0.9"]));
        server.name("1.200.18.198.in-addr.arpa", called("core1.example"));
        server.name("2.200.18.198.in-addr.arpa", Manner::Silent);
        net.host("198.18.0.9", answer().behind(&["198.18.200.1", "198.18.200.2"]));
        let output = Desk::new().done("trace fra.example");
        let text = String::from_utf8(output.stdout).expect("text");
        let ends = ["path to fra.example (198.18.0.9)", "from", "  core1.example (198.18.200.1)"];
        let ends = ends.into_iter().chain(["  198.18.200.2", "  fra.example (198.18.0.9)"]);
        assert_eq!(text.lines().count(), 5, "{text}");
        for (line, end) in text.lines().zip(ends) {
            assert!(line.ends_with(end), "'{line}' does not end with '{end}':\n{text}");
        }
    });
    assert!(thread.join().is_ok(), "failed, see above");
}

#[test]
fn a_silent_target_ends_in_stars_that_are_counted_and_takes_no_longer_than_promised() {
    let net = net(Sockets::Raw);
    net.host("198.18.0.9", silence().behind(&["198.18.200.1", "198.18.200.2"]));
    let began = Instant::now();
    let output = Desk::new().done("trace 198.18.0.9 -n -W 1");
    let took = began.elapsed();
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let [title, head, first, second, end] = lines[..] else { panic!("{text}") };
    assert_eq!((title, head), ("path to 198.18.0.9", "hop  loss    median  from"));
    assert!(first.starts_with("  1    0%") && first.ends_with("  198.18.200.1"), "{text}");
    assert!(second.starts_with("  2    0%") && second.ends_with("  198.18.200.2"), "{text}");
    assert_eq!(end, "198.18.0.9 was not reached: no answer from hops 3 to 30");
    // 200 ms for the echoes, one second for the last of them.
    assert!(took >= ms(1200), "took {took:?}");
}

/// The machine was asleep, or too busy, until the timeout was over: the answers are there when it looks, and are late.
#[test]
fn one_that_was_stopped_meanwhile_ends() {
    let net = net(Sockets::Raw);
    net.host("198.18.0.1", answer().delay(ms(600)));
    let desk = Desk::new();
    let mut trace = desk.start(&mut desk.latmon("trace 198.18.0.1 -n -c 1 -m 1 -W 500ms"));
    let asked = |_: &Desk| (!net.requests("198.18.0.1").is_empty()).then_some(());
    trace.until(Duration::from_secs(20), "an echo", asked);
    trace.signal(Signal::SIGSTOP);
    std::thread::sleep(ms(1000));
    trace.signal(Signal::SIGCONT);
    assert_eq!(trace.ended(Duration::from_secs(20)).code(), Some(1), "{}", trace.log());
}

#[test]
fn a_silent_hop_is_a_star_among_others() {
    let chain = Chain::new(3);
    // The router forwards, and what it says itself goes nowhere.
    chain.ip(2, "rule add iif lo to 198.18.1.1 blackhole");
    let output = Desk::new().done(&format!("trace {} -n -W 1", Chain::ipv4(3)));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1], "  2     -         -  *", "{text}");
    assert!(lines[2].ends_with("  198.18.3.2"), "{text}");
}

#[test]
fn a_target_next_door_and_this_machine_are_one_hop_away() {
    let net = net(Sockets::Raw);
    net.host("198.18.0.1", answer());
    net.host("fd00::1", answer());
    for target in ["198.18.0.1", "fd00::1", "127.0.0.1", "::1"] {
        let (path, code) = traced(target);
        assert_eq!((hops(&path), code), (vec![vec![target]], Some(0)));
    }
    net.host("198.18.0.2", refuse(Refusal::Host));
    let (path, code) = traced("198.18.0.2");
    assert_eq!((&path["reason"], code), (&Value::from("host unreachable"), Some(1)));
}

#[test]
fn what_cannot_be_sent_is_an_error_and_no_path() {
    let net = net(Sockets::Raw);
    net.cut();
    let (code, said) = told(&Desk::new().done("trace 198.18.0.1"));
    assert_eq!(code, Some(1));
    assert!(said.starts_with("latmon: cannot ask 198.18.0.1: cannot send: Network is unreachable"), "{said}");
    let (code, said) = told(&Desk::new().done("trace nowhere.invalid"));
    assert!(code == Some(1) && said.starts_with("latmon: nowhere.invalid: "), "{said}");
    let (code, said) = told(&Desk::new().done("trace 198.18.0.1 -c 99"));
    assert!(code == Some(2) && said.contains("--count"), "{said}");
}
