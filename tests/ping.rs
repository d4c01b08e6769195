//! `latmon ping` in networks that answer late, twice, wrongly or not at all: each target's object of `--json` against
//! what the far end did, the lines on a terminal, and fping's lines against fping's. Needs root, for the network, fping
//! (Debian: fping), and script (bsdutils), which lends the terminal.

mod support {
    pub(crate) mod dns;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod sockets;
    pub(crate) mod terminal;
}

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use latmon::probe::LookSettings;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::dns::{Etc, Manner, NameServer, has};
use support::latmon::{Desk, told};
use support::net::{
    All, At, Every, Form, Net, OWN_IPV4, OWN_IPV6, ROUTER_IPV4, ROUTER_IPV6, Refusal, answer, ms, refuse,
    silence,
};
use support::sockets::{Sockets, in_both, net};
use support::terminal::on_a_terminal;

const LIMIT: Duration = Duration::from_secs(90);

const HOSTS: [&str; 2] = ["198.18.0.1", "fd00::1"];

/// The objects of `latmon ping --json WORDS`, one of each target, and the exit code.
fn pinged(words: &str) -> (Vec<Value>, Option<i32>) {
    let output = Desk::new().done(&format!("ping --json {words}"));
    (objects(&output), output.status.code())
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let parsed = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    parsed.unwrap_or_else(|error| panic!("{error}:\n{text}\n{}", told(output).1))
}

/// A field of an object as a number.
fn number(object: &Value, field: &str) -> f64 {
    object[field].as_f64().unwrap_or_else(|| panic!("{field} is no number: {object}"))
}

/// The round trips in microseconds, in the order of sending; `None` for those that were not answered.
fn rtts(object: &Value) -> Vec<Option<f64>> {
    object["rtt_us"].as_array().expect("a list").iter().map(Value::as_f64).collect()
}

fn counts<const N: usize>(object: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| object[field].as_u64().unwrap_or_else(|| panic!("{field} is no count: {object}")))
}

#[test]
fn the_figures_are_those_of_the_network() {
    in_both(|sockets| {
        let net = net(sockets);
        net.spin(true);
        net.host(HOSTS[0], answer().delay(ms(12)).jitter(ms(8)));
        net.host(HOSTS[1], answer().delay(ms(30)).jitter(ms(8)));
        let (objects, code) = pinged(&format!("-c 20 -i 20ms {} {}", HOSTS[0], HOSTS[1]));
        assert_eq!((objects.len(), code), (2, Some(0)), "{sockets:?}");
        for (host, object) in HOSTS.iter().zip(&objects) {
            assert_eq!((object["target"].as_str(), object["address"].as_str()), (Some(*host), Some(*host)));
            let fields = ["sent", "received", "lost", "unknown"];
            assert_eq!(counts(object, fields), [20, 20, 0, 0], "{sockets:?} {host}");
            let requests = net.requests(host);
            let sequences: Vec<u16> = requests.iter().map(|request| request.sequence).collect();
            assert_eq!(sequences, (1..=20).collect::<Vec<u16>>(), "{sockets:?} {host}");
            let mut times: Vec<f64> = rtts(object).into_iter().flatten().collect();
            let mut errors: Vec<f64> = Vec::new();
            for (time, request) in times.iter().zip(&requests) {
                let delay = request.delay().expect("answered").as_secs_f64() * 1e6;
                assert!(*time > delay - 1.0, "{sockets:?} {host}: {time} us measured, {delay} us taken");
                errors.push(time - delay);
            }
            errors.sort_by(f64::total_cmp);
            assert!(errors[10] < 10_000.0, "{sockets:?} {host}: off by {} us", errors[10]);
            same_figures(object, &mut times);
        }
    });
}

/// What is printed beside the times must follow from them.
fn same_figures(object: &Value, times: &mut [f64]) {
    let jitter = times.windows(2).fold(0.0, |jitter: f64, two| {
        let difference = (two[1] - two[0]).abs();
        jitter + (difference - jitter) / 16.0
    });
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    times.sort_by(f64::total_cmp);
    let rank = |percent: usize| times[(percent * times.len()).div_ceil(100) - 1];
    let wanted = [
        ("min_us", times[0]),
        ("median_us", times[times.len() / 2]),
        ("mean_us", mean),
        ("p95_us", rank(95)),
        ("p99_us", rank(99)),
        ("max_us", times[times.len() - 1]),
        ("jitter_us", jitter),
    ];
    for (field, wanted) in wanted {
        let found = number(object, field);
        assert!((found - wanted).abs() < 0.002, "{field} is {found}, not {wanted}");
    }
}

#[test]
fn lost_pings_are_null_in_their_places() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            net.host(host, answer().delay(ms(1)).lose(At(vec![1, 4])));
        }
        let (objects, code) = pinged(&format!("-c 6 -i 20ms -W 1 {} {} 198.18.0.9", HOSTS[0], HOSTS[1]));
        assert_eq!(code, Some(1), "one never answers");
        for object in &objects[..2] {
            let lost: Vec<bool> = rtts(object).iter().map(Option::is_none).collect();
            assert_eq!(lost, [false, true, false, false, true, false], "{sockets:?}");
            assert_eq!(counts(object, ["sent", "received", "lost", "unknown"]), [6, 4, 2, 0]);
        }
        let dead = &objects[2];
        assert_eq!(counts(dead, ["sent", "received", "lost", "unknown"]), [6, 0, 6, 0]);
        for field in ["min_us", "median_us", "mean_us", "p95_us", "p99_us", "max_us", "jitter_us"] {
            assert!(dead[field].is_null(), "{field} of nothing: {dead}");
        }
        assert_eq!(dead["errors"], Value::Array(Vec::new()));
    });
}

/// The column of every kind of reply that does not count. What a socket cannot see is lost there: a datagram socket's
/// kernel keeps wrong checksums and foreign identifiers, and ICMPv6's does so everywhere.
#[test]
fn replies_that_do_not_count_are_in_their_columns() {
    const COLUMNS: [&str; 7] =
        ["duplicates", "late", "damaged", "wrong_source", "truncated", "forged", "wrong_identifier"];
    in_both(|sockets| {
        let net = net(sockets);
        let other = |host: &str| if host.contains(':') { "fd00::99" } else { "198.18.0.99" };
        let half = |form| answer().delay(ms(1)).spoil(Every(2), form);
        let only_raw_v4 = |host: &str| u64::from(sockets == Sockets::Raw && !host.contains(':')) * 4;
        let only_raw = if sockets == Sockets::Raw { 4 } else { 0 };
        let kinds = 11;
        let hosts: Vec<String> =
            (1..=kinds).flat_map(|n| [format!("198.18.0.{n}"), format!("fd00::{n}")]).collect();
        let mut wanted = Vec::new();
        for (place, host) in hosts.iter().enumerate() {
            let source = other(host).parse().expect("an address");
            let (behaviour, columns) = match place / 2 {
                // The last ping has none, so that all of them are there before the look ends.
                0 => (answer().delay(ms(1)).duplicate(At(vec![0, 2, 5])), [3, 0, 0, 0, 0, 0, 0]),
                1 => (answer().delay(ms(1)).late(At(vec![0, 1]), ms(1200)), [0, 2, 0, 0, 0, 0, 0]),
                2 => (half(Form::Checksum), [0, 0, only_raw_v4(host), 0, 0, 0, 0]),
                3 => (half(Form::Payload(40)), [0, 0, 4, 0, 0, 0, 0]),
                4 => (half(Form::Source(source)), [0, 0, 0, 4, 0, 0, 0]),
                5 => (half(Form::Truncated(30)), [0, 0, 0, 0, 4, 0, 0]),
                6 => (half(Form::Payload(10)), [0, 0, 0, 0, 0, 4, 0]),
                7 => (half(Form::Identifier), [0, 0, 0, 0, 0, 0, only_raw]),
                8 => (half(Form::Sequence), [0, 0, 4, 0, 0, 0, 0]),
                9 => (half(Form::Forged), [0, 0, 0, 0, 0, 4, 0]),
                // What another request asked is no answer to this one.
                _ => (half(Form::Replayed), [0, 0, 4, 0, 0, 0, 0]),
            };
            net.host(host, behaviour);
            wanted.push(columns);
        }
        // The late ones come by 1.3 s, and the look goes on for 7 x 100 ms and a timeout.
        let (objects, code) = pinged(&format!("-c 8 -i 100ms -W 1 {}", hosts.join(" ")));
        assert_eq!(code, Some(0));
        for ((host, wanted), object) in hosts.iter().zip(&wanted).zip(&objects) {
            assert_eq!(counts(object, COLUMNS), *wanted, "{sockets:?} {host}");
            let lost = match net.requests(host)[0].replies[0].form {
                _ if wanted[0] > 0 => 0,
                _ if wanted[1] > 0 => 2,
                _ => 4,
            };
            assert_eq!(counts(object, ["sent", "lost", "unknown"]), [8, lost, 0], "{sockets:?} {host}");
        }
    });
}

#[test]
fn errors_say_what_and_who() {
    in_both(|sockets| {
        let net = net(sockets);
        let routers = [ROUTER_IPV4, ROUTER_IPV6];
        // A kernel that lets routers fragment keeps that one from datagram sockets of IPv4.
        let too_big = if sockets == Sockets::Raw { "packet too big" } else { "" };
        let rows = [
            (Refusal::Host, ["host unreachable"; 2]),
            (Refusal::Prohibited, ["administratively prohibited"; 2]),
            (Refusal::Network, ["network unreachable", "no route"]),
            (Refusal::TooBig, [too_big, "packet too big"]),
            (Refusal::Expired, ["time to live exceeded"; 2]),
        ];
        let hosts = |n: usize| [format!("198.18.1.{n}"), format!("fd00::1:{n}")];
        for (n, (refusal, _)) in rows.iter().enumerate() {
            hosts(n).iter().for_each(|host| net.host(host, refuse(*refusal)));
        }
        let all = (0..rows.len()).flat_map(hosts).collect::<Vec<_>>().join(" ");
        let (objects, code) = pinged(&format!("-c 3 -i 20ms -W 500ms {all}"));
        assert_eq!((objects.len(), code), (2 * rows.len(), Some(1)));
        let told = rows.iter().flat_map(|(_, kinds)| kinds.iter().zip(routers));
        for (object, (kind, router)) in objects.iter().zip(told) {
            let wanted = match *kind {
                "" => serde_json::json!([]),
                kind => serde_json::json!([{"kind": kind, "from": router, "count": 3}]),
            };
            assert_eq!(object["errors"], wanted, "{sockets:?}");
            assert_eq!(
                counts(object, ["sent", "lost"]),
                [3, 3],
                "an error settles nothing, the timeout does"
            );
        }
    });
}

/// An error may be forged by whoever sees the ping: it is told, and the reply counts.
#[test]
fn an_error_does_not_outweigh_the_reply() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            net.host(host, answer().delay(ms(20)).inject(All, Form::Refusal(Refusal::Host, None), ms(2)));
        }
        let (objects, code) = pinged(&format!("-c 3 -i 30ms {} {}", HOSTS[0], HOSTS[1]));
        assert_eq!(code, Some(0), "{sockets:?}");
        for object in objects {
            assert_eq!(counts(&object, ["received", "lost"]), [3, 0], "{sockets:?}");
            assert_eq!(object["errors"][0]["count"], 3, "{sockets:?}");
        }
    });
}

#[test]
fn what_our_own_side_does_not_send_is_unknown_and_no_loss() {
    in_both(|sockets| {
        let net = net(sockets);
        net.cut();
        let (objects, code) = pinged(&format!("-c 2 -i 20ms {} {} 127.0.0.1", HOSTS[0], HOSTS[1]));
        assert_eq!(code, Some(1));
        for object in &objects[..2] {
            assert_eq!(counts(object, ["sent", "received", "lost", "unknown"]), [2, 0, 0, 2], "{sockets:?}");
            let [error] = object["errors"].as_array().expect("a list").as_slice() else { panic!("{object}") };
            assert!(error["kind"].as_str().expect("a text").contains("Network is unreachable"), "{error}");
            assert_eq!((&error["from"], &error["count"]), (&Value::Null, &Value::from(2)));
        }
        assert_eq!(counts(&objects[2], ["received"]), [2], "the others go on");
    });
}

/// Ctrl-Z and fg: the replies wait in the kernel, with the times at which they came.
#[test]
fn a_look_that_was_stopped_for_a_while_loses_nothing() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            net.host(host, answer().delay(ms(100)));
        }
        let mut latmon = Desk::new().latmon(&format!("ping --json -c 12 -i 30ms -W 1 {}", HOSTS.join(" ")));
        latmon.current_dir("/").stdout(Stdio::piped());
        let latmon = latmon.spawn().expect("the binary starts");
        let pid = Pid::from_raw(i32::try_from(latmon.id()).expect("a process id"));
        net.wait_for(HOSTS[0], 2, LIMIT);
        kill(pid, Signal::SIGSTOP).expect("it runs");
        // All replies to what has left are sent, and then as much time passes as makes every one of them late.
        net.wait_for(HOSTS[0], net.requests(HOSTS[0]).len(), LIMIT);
        std::thread::sleep(ms(1200));
        kill(pid, Signal::SIGCONT).expect("it is there");
        let output = latmon.wait_with_output().expect("it ends");
        for object in objects(&output) {
            assert_eq!(counts(&object, ["sent", "lost", "unknown"]), [12, 0, 0], "{sockets:?}");
            // By its own clock they took longer than that.
            assert!(number(&object, "max_us") < 1_000_000.0, "{sockets:?}: {object}");
        }
    });
}

/// A receive buffer has room for what is under way, not for hosts that say everything 320 times while nobody reads.
#[test]
fn replies_that_our_receive_buffer_had_no_room_for_are_no_loss() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            let once = answer().delay(ms(1500));
            net.host(host, (1..320).fold(once, |host, _| host.inject(All, Form::True, ms(1500))));
        }
        let words = format!("ping --json -c 45 -i 20ms -W 3 {}", HOSTS.join(" "));
        let latmon = Desk::new().latmon(&words).current_dir("/").stdout(Stdio::piped()).spawn();
        let latmon = latmon.expect("the binary starts");
        let pid = Pid::from_raw(i32::try_from(latmon.id()).expect("a process id"));
        await_requests(&net, 40);
        kill(pid, Signal::SIGSTOP).expect("it runs");
        for host in HOSTS {
            net.wait_for(host, net.requests(host).len(), LIMIT);
        }
        kill(pid, Signal::SIGCONT).expect("it is there");
        let output = latmon.wait_with_output().expect("it ends");
        for object in objects(&output) {
            let [sent, received, lost, unknown] = counts(&object, ["sent", "received", "lost", "unknown"]);
            assert_eq!((sent, lost), (45, 0), "{sockets:?}: {object}");
            assert!(received > 0 && unknown > 0, "{sockets:?}: {object}");
            let wanted = serde_json::json!([{"kind": "our receive buffer overflowed", "from": null, "count": unknown}]);
            assert_eq!(object["errors"], wanted, "{sockets:?}");
        }
    });
}

/// What breaks on our side takes along what is under way, and says so at the next ping.
#[test]
fn an_interface_that_goes_down_and_comes_back_is_no_loss() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            net.host(host, answer().delay(ms(100)));
        }
        let words = format!("ping --json -c 40 -i 50ms -W 1 {}", HOSTS.join(" "));
        let latmon = Desk::new().latmon(&words).current_dir("/").stdout(Stdio::piped()).spawn();
        let latmon = latmon.expect("the binary starts");
        await_requests(&net, 8);
        net.ip("link set far0 down");
        std::thread::sleep(ms(400));
        net.ip("link set far0 up\naddr replace fd00:ffff::1:1/8 dev far0 nodad");
        let output = latmon.wait_with_output().expect("it ends");
        for object in objects(&output) {
            let [sent, received, lost, unknown] = counts(&object, ["sent", "received", "lost", "unknown"]);
            assert_eq!((sent, lost), (40, 0), "{sockets:?}: {object}");
            assert!(received > 0 && unknown > 0, "{sockets:?}: {object}");
            assert!(object["errors"][0]["kind"].as_str().expect("a text").starts_with("cannot send: "));
        }
    });
}

/// Waits until each of [`HOSTS`] was asked so often, answered or not.
fn await_requests(net: &Net, count: usize) {
    let began = Instant::now();
    while HOSTS.iter().any(|host| net.requests(host).len() < count) {
        assert!(began.elapsed() < LIMIT, "they were not asked");
        std::thread::sleep(ms(2));
    }
}

#[test]
fn size_and_hops_are_as_asked() {
    in_both(|sockets| {
        let net = net(sockets);
        for host in HOSTS {
            net.host(host, answer());
        }
        let (_, code) = pinged(&format!("-c 1 -s 1000 -t 7 {} {}", HOSTS[0], HOSTS[1]));
        assert_eq!(code, Some(0));
        for host in HOSTS {
            let request = &net.requests(host)[0];
            assert_eq!((request.payload.len(), request.ttl), (1000, 7), "{sockets:?} {host}");
        }
    });
}

#[test]
fn a_name_that_fails_is_told_and_the_others_go_on() {
    let net = net(Sockets::Raw);
    net.host(HOSTS[0], answer());
    let output = Desk::new().done(&format!("ping --json -c 1 nowhere.invalid {} ::1 -4", HOSTS[0]));
    let (code, said) = told(&output);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("latmon: nowhere.invalid: "), "{said}");
    assert!(said.contains("latmon: ::1: is no IPv4 address\n"), "{said}");
    let objects = objects(&output);
    let targets: Vec<&str> = objects.iter().filter_map(|object| object["target"].as_str()).collect();
    assert_eq!(targets, ["nowhere.invalid", HOSTS[0], "::1"]);
    assert!(objects[0]["address"].is_null() && objects[2]["address"].is_null());
    for (object, why) in [(&objects[0], "does not resolve: "), (&objects[2], "is no IPv4 address")] {
        assert_eq!(counts(object, ["sent", "received", "lost", "unknown"]), [1, 0, 0, 1], "{object}");
        assert_eq!(rtts(object), [None]);
        let [error] = object["errors"].as_array().expect("a list").as_slice() else { panic!("{object}") };
        assert!(error["kind"].as_str().expect("a text").starts_with(why), "{error}");
        assert_eq!((&error["from"], &error["count"]), (&Value::Null, &Value::from(1)));
    }
    assert_eq!(counts(&objects[1], ["sent", "received"]), [1, 1]);
}

/// All names are asked for at once, and a dead server keeps nobody for longer than five seconds.
#[test]
fn names_of_either_family_are_found_while_a_dead_one_is_given_up() {
    // The mount namespace lasts as long as this thread, which the test harness keeps for others.
    let thread = std::thread::spawn(|| {
        let net = net(Sockets::Raw);
        let etc = Etc::enter();
        etc.write("resolv.conf", "nameserver 127.0.0.1\n");
        etc.write("hosts", "198.18.0.7 table.example\n");
        let server = NameServer::start("127.0.0.1");
        server.name("both.example", has(&["198.18.0.1", "fd00::1"]));
        server.name("dead.example", Manner::Silent);
        for host in ["198.18.0.1", "fd00::1", "198.18.0.7"] {
            net.host(host, answer());
        }
        let addresses = |words: &str| {
            let output = Desk::new().done(&format!("ping --json -c 1 {words}"));
            let objects = objects(&output);
            let address = |object: &Value| object["address"].as_str().map(str::to_owned);
            (objects.iter().map(address).collect::<Vec<_>>(), told(&output))
        };
        let some = |address: &str| Some(address.to_owned());
        let (found, (code, said)) = addresses("-4 both.example table.example");
        assert_eq!((found, code), (vec![some("198.18.0.1"), some("198.18.0.7")], Some(0)), "{said}");
        let began = Instant::now();
        let (found, (code, said)) = addresses("-6 both.example dead.example missing.example");
        assert_eq!((found, code), (vec![some("fd00::1"), None, None], Some(1)), "{said}");
        assert!(said.contains("latmon: dead.example: does not resolve: no name server answers\n"), "{said}");
        assert!(
            said.contains("latmon: missing.example: does not resolve: there is no such name\n"),
            "{said}"
        );
        assert!(began.elapsed() < LIMIT, "took {:?}", began.elapsed());
    });
    assert!(thread.join().is_ok(), "failed, see above");
}

#[test]
fn off_a_terminal_five_pings_make_a_table() {
    let net = net(Sockets::Raw);
    net.host(HOSTS[0], answer().delay(ms(1)).lose(At(vec![1])));
    net.host("198.18.0.2", refuse(Refusal::Host));
    let output = Desk::new().done(&format!("ping -i 20ms -W 1 {} 198.18.0.2 fd00:1234:5678::9abc", HOSTS[0]));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let [head, good, refused, who, long, silent] = lines[..] else { panic!("{text}") };
    assert!(head.starts_with("times in ms"), "{text}");
    let words: Vec<&str> = good.split_whitespace().collect();
    assert_eq!((words.len(), &words[..4]), (11, &[HOSTS[0], "5", "4", "20%"][..]), "{text}");
    assert!(refused.starts_with("198.18.0.2") && refused.contains("100%"), "{text}");
    assert_eq!(who, format!("  5 x host unreachable, says {ROUTER_IPV4}"), "{text}");
    assert_eq!(long, "fd00:1234:5678::9abc", "{text}");
    assert!(silent.contains("100%"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(head.len(), good.len(), "columns stand below their heads:\n{text}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let desk = Desk::new();
    for (words, wanted) in [
        ("", "TARGET"),
        ("-c 0 127.0.0.1", "--count"),
        ("-i 0 127.0.0.1", "0.001 to 3600"),
        ("-s 4 127.0.0.1", "--size"),
        ("-s 65508 127.0.0.1", "--size"),
        ("-t 0 127.0.0.1", "--ttl"),
        ("-4 -6 localhost", "--ipv6"),
        ("127.0.0.1 --fping", "--fping must come first"),
    ] {
        let (code, said) = told(&desk.done(&format!("ping {words}")));
        assert_eq!(code, Some(2), "{words}: {said}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{words}: {said}");
    }
}

#[test]
fn a_terminal_has_a_line_per_reply_until_ctrl_c() {
    let net = net(Sockets::Raw);
    net.host(HOSTS[0], answer().delay(ms(12)).lose(At(vec![1])).duplicate(At(vec![2])));
    net.host("198.18.0.2", refuse(Refusal::Host));
    let words = format!("ping -i 50ms -W 1 {} 198.18.0.2", HOSTS[0]);
    let (shown, code) = on_a_terminal(&Desk::new(), &words, |shown| {
        shown.contains("seq=5 ttl=64") && shown.contains("no reply from 198.18.0.1: seq=2")
    });
    assert_eq!(code, Some(1), "one never answered:\n{shown}");
    let shown = shown.replace('\r', "").replace("^C", "");
    let first = shown.lines().find(|line| line.contains("198.18.0.1")).expect("a line");
    assert!(first.starts_with("64 bytes from 198.18.0.1: seq=1 ttl=64 time="), "{shown}");
    assert!(first.ends_with(" ms"), "{shown}");
    for line in [
        "no reply from 198.18.0.1: seq=2",
        "error for 198.18.0.2: seq=1: host unreachable, says 198.18.255.254",
        "does not count: a duplicate from 198.18.0.1: seq=3",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no '{line}' in\n{shown}");
    }
    assert!(!shown.contains("no reply from 198.18.0.2"), "the timeout adds nothing to the error:\n{shown}");
    let table = &shown[shown.find("times in ms").expect("the table")..];
    assert!(table.contains("  did not count: 1 duplicate\n"), "{table}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

/// Layout against layout: each time must have the digits that fping gives one of its size, and counts as any other.
#[test]
fn fpings_lines_are_fpings() {
    let net = net(Sockets::Raw);
    let hosts = || {
        net.host("198.18.0.1", answer().delay(ms(2)).lose(At(vec![0, 2])));
        net.host("198.18.0.200", answer().delay(ms(20)));
        net.host("198.18.0.3", silence());
        net.host("198.18.0.4", refuse(Refusal::Host));
        net.host("fd00::1", answer().delay(ms(120)));
    };
    let all = "198.18.0.1 198.18.0.200 198.18.0.3 198.18.0.4 fd00::1 127.0.0.1";
    let sourced = format!("-C 2 -q -B1 -r1 -i1 -p400 -t390 -O0x20 -b100 -S{OWN_IPV4} 198.18.0.1");
    for words in [
        format!("-C 3 -q -B1 -r1 -i10 -p 500 -t 450 {all}"),
        format!("-C 1 -q -B1 -r1 -i1 -p500 {all}"),
        "-C 2 -q -B1 -r1 -4 -i10 -p400 198.18.0.1 127.0.0.1 198.18.0.200".to_owned(),
        "-C 2 -q -6 -p400 fd00::1 ::1".to_owned(),
        // What SmokePing asks first, to see the unit.
        "-C 1 localhost".to_owned(),
        "-C 3 -p 500 -t 450 198.18.0.1 127.0.0.1 fd00::1".to_owned(),
        "-C2 -q -p200 127.0.0.1 nowhere.invalid".to_owned(),
        "-C2 -q -p200 -4 127.0.0.1 ::1".to_owned(),
        "-C3 -q -p100 127.0.0.1 127.0.0.1".to_owned(),
        sourced,
        "--vcount=2 --quiet --period=100 --size=40 --ttl=3 127.0.0.1".to_owned(),
    ] {
        let run = |mut command: Command| {
            hosts();
            let output = command.args(words.split(' ')).output().expect("apt-get install fping");
            let [replies, times] =
                [output.stdout, output.stderr].map(|text| shape(&String::from_utf8(text).expect("text")));
            (by_target(&replies), times, output.status.code())
        };
        let theirs = run(net.command("fping"));
        let mut latmon = Desk::new().latmon("ping --fping");
        latmon.current_dir("/");
        let ours = run(latmon);
        assert_eq!(ours, theirs, "fping {words}");
    }
}

/// A source of one family is no reason not to measure the targets of that family.
#[test]
fn a_target_that_cannot_be_asked_from_there_is_unknown_and_the_others_are_measured() {
    let net = net(Sockets::Raw);
    net.host(HOSTS[1], answer());
    let words = format!("ping --fping -C 2 -q -p 50 -t 1000 -S {OWN_IPV6} {} 127.0.0.1 localhost", HOSTS[1]);
    let (code, said) = told(&Desk::new().done(&words));
    let lines: Vec<&str> = said.lines().collect();
    let [answered, unknown, named] = lines[..] else { panic!("three lines: {said}") };
    assert!(answered.starts_with("fd00::1   : 0.") && !answered.contains('-'), "{said}");
    assert_eq!(unknown, "127.0.0.1 : - -", "{said}");
    // By its IPv6 address: from there the other one cannot be asked.
    assert!(named.starts_with("localhost : 0.") && !named.contains('-'), "{said}");
    assert_eq!(code, Some(1), "{said}");
}

/// One second and more has no decimals, in fping and here.
#[test]
fn fpings_long_times_are_fpings() {
    let net = net(Sockets::Raw);
    net.host("198.18.0.1", answer().delay(ms(1234)));
    let words = ["-C", "1", "-q", "-p", "2000", "198.18.0.1"];
    let theirs = net.command("fping").args(words).output().expect("apt-get install fping");
    let ours = Desk::new().latmon("ping --fping").args(words).output().expect("the binary starts");
    let [ours, theirs] = [ours, theirs].map(|output| shape(&String::from_utf8(output.stderr).expect("text")));
    assert_eq!(ours, theirs);
}

/// SmokePing is given the path of a program, and no options for it.
#[test]
fn a_link_named_fping_is_fping() {
    let net = net(Sockets::Raw);
    net.host("198.18.0.1", answer());
    let desk = Desk::new();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_latmon"), desk.path("fping")).expect("a link");
    let run = |words: &str| {
        let output = Command::new(desk.path("fping")).args(words.split(' ')).output().expect("it starts");
        (output.status.code(), output)
    };
    let (code, output) = run("-C 2 -q -B1 -r1 -i10 -p50 198.18.0.1");
    let (_, said) = told(&output);
    assert!(said.starts_with("198.18.0.1 : 0.") && said.ends_with('\n') && code == Some(0), "{said}");
    let (code, output) = run("-h");
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(code == Some(0) && help.contains(" -S ") && help.contains(" -O "), "{help}");
    assert_eq!(run("-C 2 -q --no-such-option 198.18.0.1").0, Some(3), "fping's manual says 3");

    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_latmon"), desk.path("fping6")).expect("a link");
    let output = Command::new(desk.path("fping6")).args(["-C", "1", "-q", "localhost", "127.0.0.1"]).output();
    let (code, said) = told(&output.expect("it starts"));
    assert!(said.starts_with("localhost : 0.") && said.lines().count() == 1, "{said}");
    assert_eq!(code, Some(2), "IPv6 only");
}

#[test]
fn the_help_tells_the_bounds() {
    let help = String::from_utf8(Desk::new().done("ping --help").stdout).expect("text");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let most = format!("at most {} times", LookSettings::MOST_PINGS);
    for bound in [most.as_str(), "at least 1 ms for each target"] {
        assert!(help.contains(bound), "no '{bound}' in {help}");
    }
}

/// Lines of replies, by target: which of two comes first is a matter of microseconds.
fn by_target(replies: &str) -> Vec<String> {
    let mut lines: Vec<String> = replies.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A text with every time as `<time>`, and each of them found to have fping's digits: `127.0.0.1 : <time> - <time>`.
fn shape(lines: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_start_matches('(');
        match bare.parse::<f64>() {
            Ok(time) if time.is_finite() => {
                let decimals = match time {
                    time if time < 1.0 => 3,
                    time if time < 10.0 => 2,
                    time if time < 100.0 => 1,
                    _ => 0,
                };
                let found = bare.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                // 0.9996 is below one, and is printed 1.000.
                let rounded_up = found == decimals + 1 && [1.0, 10.0, 100.0].contains(&time);
                assert!(found == decimals || rounded_up, "{word} in\n{lines}");
                word.replace(bare, "<time>")
            }
            Ok(_) | Err(_) => word.to_owned(),
        }
    };
    // The number before "bytes" is no time.
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_size = |place: usize| words.get(place + 1).is_some_and(|next| *next == "bytes,");
        let shaped = words.iter().enumerate();
        shaped
            .map(|(place, it)| if is_size(place) { (*it).to_owned() } else { word(it) })
            .collect::<Vec<String>>()
            .join(" ")
    };
    lines.lines().map(line).collect::<Vec<String>>().join("\n")
}
