//! The monitor when its own machine is in the way: stopped, or beside another one of the same process id. Needs root, for
//! the network and the namespaces, rrdtool, and unshare (Debian: util-linux).

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod sockets;
}

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use support::latmon::Desk;
use support::net::{All, Entry, Form, Net, answer, ms};
use support::sockets::{Sockets, in_both, net};

const LIMIT: Duration = Duration::from_secs(20);

/// The replies to what had left lie in the kernel's buffer, stamped; what was due meanwhile is unknown, and not made up
/// for in a bunch.
#[test]
fn a_monitor_that_was_stopped_for_five_seconds_blames_nobody() {
    let net = Net::new();
    for host in ["198.18.0.1", "fd00::1"] {
        net.host(host, answer().delay(ms(10)));
    }
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        "[defaults]\nstep = \"2s\"\npings = 20\n[targets]\nipv4 = \"198.18.0.1\"\nipv6 = \"fd00::1\"\n",
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let whole = |desk: &Desk, file: &str| {
        let rows = desk.rows(file);
        let known = |(_, values): &&(i64, Vec<f64>)| values[3..].iter().all(|ping| !ping.is_nan());
        rows.iter().filter(known).count()
    };
    let both = |desk: &Desk, count: usize| {
        ["ipv4.rrd", "ipv6.rrd"].iter().all(|file| whole(desk, file) >= count).then_some(())
    };
    monitor.until(LIMIT, "a whole row of each", |desk| both(desk, 1));
    monitor.signal_monitor(Signal::SIGSTOP);
    let asked = net.log().len();
    std::thread::sleep(Duration::from_secs(5));
    let meanwhile = net.log().len() - asked;
    monitor.signal_monitor(Signal::SIGCONT);
    monitor.until(LIMIT, "the line about the stall", |desk| {
        desk.read("log").contains("held up for").then_some(())
    });
    monitor.until(LIMIT, "whole rows after it", |desk| both(desk, 3));
    monitor.stop();

    assert!(meanwhile <= 2, "{meanwhile} pings left a process that was stopped");
    for file in ["ipv4.rrd", "ipv6.rrd"] {
        for (end, values) in desk.rows(file) {
            assert_eq!(values[1], 0.0, "{file}: loss in the row of {end}: {values:?}");
            assert!(values[3..].iter().all(|ping| ping.is_nan() || *ping < 1.0), "{file}: {values:?}");
        }
    }
    // They are due every 100 ms, and none leaves later than that: four in a row take 200 ms at least, and the far end may
    // be slow to read.
    for host in ["198.18.0.1", "fd00::1"] {
        let requests = own_requests(&net, host);
        let bunch = requests.windows(4).map(|row| row[3].at - row[0].at).min().expect("more pings than that");
        assert!(bunch > ms(100), "{host}: 4 pings in {bunch:?}");
    }
}

/// By the time they are read, the replies are long past their timeout; the kernel's stamps prove that they were not.
#[test]
fn a_stall_of_two_seconds_at_a_thousand_packets_a_second_loses_nothing() {
    in_both(|sockets| {
        let net = privileged(sockets);
        // Fifty hosts with 20 pings a second each; half of those are under way at any time.
        let hosts: Vec<(String, String)> = (1..=50)
            .map(|n| if n % 2 == 0 { format!("198.18.1.{n}") } else { format!("fd00::1:{n}") })
            .map(|host| (host.replace(':', "_"), host))
            .collect();
        let desk = Desk::new();
        let mut targets = "[defaults]\nstep = \"1s\"\npings = 20\ntimeout = \"1s\"\n[targets]\n".to_owned();
        for (name, host) in &hosts {
            net.host(host, answer().delay(ms(500)));
            targets.push_str(&format!("\"{name}\" = \"{host}\"\n"));
            make_short_archive(&desk, name);
        }
        desk.write("latmon.toml", &targets);
        let mut monitor = desk.start(&mut desk.latmon("run"));
        let whole = |desk: &Desk, count: usize| {
            let last = desk.rows(&format!("{}.rrd", hosts[49].0));
            (last.iter().filter(|(_, values)| known(values) == 20).count() >= count).then_some(())
        };
        monitor.until(LIMIT, "a whole row", |desk| whole(desk, 1));
        monitor.signal_monitor(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(2));
        monitor.signal_monitor(Signal::SIGCONT);
        monitor.until(LIMIT, "whole rows after the stall", |desk| whole(desk, 3));
        monitor.stop();

        for (name, host) in &hosts {
            let rows = desk.rows(&format!("{name}.rrd"));
            assert!(rows.len() >= 3, "{sockets:?} {host}: {rows:?}");
            for (end, values) in &rows {
                assert_eq!(values[1], 0.0, "{sockets:?} {host}: loss in the row of {end}: {values:?}");
            }
            // Each that left is known. The last ones of a round may leave behind its end.
            let told: usize = rows.iter().map(|(_, values)| known(values)).sum();
            let end = time(rows[rows.len() - 1].0);
            let asked = own_requests(&net, host);
            let before = asked.iter().filter(|it| it.wall < end).count();
            assert!(told >= before, "{sockets:?} {host}: {told} of {before} are known");
            assert!(told <= asked.len(), "{sockets:?} {host}: {told} are known, and {} left", asked.len());
        }
        // Of those that were under way, none was dropped by us; whatever had been would be unknown, and said.
        assert!(!monitor.log().contains("overflowed"), "{sockets:?}: {}", monitor.log());
    });
}

/// A receive buffer has room for what is under way, not for a host that says everything eighty times while nobody reads: what
/// it had no room for was answered all the same, and is no loss.
#[test]
fn replies_that_our_receive_buffer_had_no_room_for_are_unknown() {
    let short = Flood { payload: 56, pings: 100, copies: 80, delay: ms(700) };
    // Sixty of these fill it at the most, which is less than one call reads.
    let long = Flood { payload: 16_000, pings: 8, copies: 20, delay: ms(1200) };
    std::thread::scope(|scope| {
        scope.spawn(|| check_overflow(&privileged(Sockets::Raw), &short));
        scope.spawn(|| {
            check_overflow(&privileged(Sockets::Datagram), &short);
            let net = net(Sockets::Datagram);
            net.ip("link set far0 mtu 65535");
            check_overflow(&net, &long);
        });
    });
}

/// What each of two hosts answers, and how often it is asked in two seconds.
#[derive(Debug)]
struct Flood {
    payload: u16,
    pings: usize,
    copies: usize,
    delay: Duration,
}

fn check_overflow(net: &Net, flood: &Flood) {
    const HOSTS: [(&str, &str); 2] = [("ipv4", "198.18.0.1"), ("ipv6", "fd00::1")];
    let Flood { payload, pings, copies, delay } = *flood;
    for (_, host) in HOSTS {
        let behaviour = (1..copies).fold(answer().delay(delay), |it, _| it.inject(All, Form::True, delay));
        net.host(host, behaviour);
    }
    let desk = Desk::new();
    let targets = HOSTS.map(|(name, host)| format!("{name} = \"{host}\"\n")).concat();
    desk.write(
        "latmon.toml",
        &format!("[defaults]\nstep = \"2s\"\npings = {pings}\npayload = {payload}\n[targets]\n{targets}"),
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let whole = |desk: &Desk, count: usize| {
        let is_whole = |(_, values): &&(i64, Vec<f64>)| known(values) == pings;
        let enough = |(name, _)| desk.rows(&format!("{name}.rrd")).iter().filter(is_whole).count() >= count;
        HOSTS.into_iter().all(enough).then_some(())
    };
    monitor.until(LIMIT, "whole rows", |desk| whole(desk, 1));
    monitor.freeze();
    // Their replies are more than the buffer holds: three times as many of the short ones.
    for (_, host) in HOSTS {
        net.wait_for(host, net.requests(host).len(), LIMIT);
    }
    monitor.signal_monitor(Signal::SIGCONT);
    monitor.until(LIMIT, "whole rows after the flood", |desk| whole(desk, 2));
    let status = desk.done("status --json");
    monitor.stop();

    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("one JSON object");
    assert!(status["packets_dropped"].as_u64() > Some(pings as u64), "{flood:?}: {status}");
    for (name, host) in HOSTS {
        let line = format!("the {} receive buffer overflowed", name.replace("ip", "IP"));
        assert!(monitor.log().contains(&line), "{flood:?}: {}", monitor.log());
        let requests = net.requests(host);
        let mut unheard = 0;
        for (end, values) in desk.rows(&format!("{name}.rrd")) {
            assert_eq!(values[1], 0.0, "{flood:?} {name}: loss in the row of {end}: {values:?}");
            let end = time(end);
            let asked = requests.iter().filter(|it| (end - ms(2000)..end).contains(&it.wall)).count();
            unheard += asked.saturating_sub(known(&values));
        }
        assert!(unheard >= (pings / 10).max(1), "{flood:?} {name}: {unheard} were answered and not heard");
    }
}

/// In containers both are process 1: whoever makes identifiers of that takes the other's replies for its own.
#[test]
fn two_monitors_with_the_same_process_id_do_not_take_each_others_replies() {
    in_both(|sockets| {
        let net = privileged(sockets);
        for host in ["198.18.0.1", "fd00::1"] {
            net.host(host, answer().delay(ms(10)));
        }
        let (living, dead) = (Desk::new(), Desk::new());
        for (desk, n) in [(&living, 1), (&dead, 2)] {
            let targets = format!("[targets]\nipv4 = \"198.18.0.{n}\"\nipv6 = \"fd00::{n}\"\n");
            desk.write("latmon.toml", &format!("[defaults]\nstep = \"1s\"\n{targets}"));
        }
        let start = |desk: &Desk| {
            let mut command = net.command("unshare");
            command.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_latmon"), "run"]);
            command.current_dir(desk.path("")).env_clear().env("TZ", "UTC");
            command
        };
        let mut other = living.start(&mut start(&living));
        let mut monitor = dead.start(&mut start(&dead));
        let kind = format!("sockets: {}, IPv4 IPv6", format!("{sockets:?}").to_lowercase());
        for file in ["ipv4.rrd", "ipv6.rrd"] {
            let rows = |desk: &Desk| Some(desk.rows(file)).filter(|rows| rows.len() >= 3);
            let alive = other.until(LIMIT, "rows of the living", rows);
            let gone = monitor.until(LIMIT, "rows of the dead", rows);
            for (end, values) in &gone[1..] {
                assert_eq!(values[1], 20.0, "{sockets:?} {file}: the dead host answers in the row of {end}");
            }
            for (end, values) in &alive[1..] {
                assert_eq!(values[1], 0.0, "{sockets:?} {file}: loss in the row of {end}");
            }
        }
        for running in [&other, &monitor] {
            assert!(running.log().contains(&kind), "{kind}: {}", running.log());
        }
    });
}

/// A network with these sockets only, in which programs keep the privilege to have large buffers.
fn privileged(sockets: Sockets) -> Net {
    let net = Net::new();
    match sockets {
        Sockets::Raw => net.forbid_ping_sockets(),
        Sockets::Datagram => net.allow_ping_sockets(),
    }
    net
}

/// An archive for rounds of 20 pings in a second that is made quickly: it is not the disk that is tested.
fn make_short_archive(desk: &Desk, name: &str) {
    let sources: Vec<String> = ["uptime".to_owned(), "loss".to_owned(), "median".to_owned()]
        .into_iter()
        .chain((1..=20).map(|n| format!("ping{n}")))
        .map(|name| format!("DS:{name}:GAUGE:2:0:U"))
        .collect();
    let made =
        desk.done(&format!("rrd create {name}.rrd --step 1 {} RRA:AVERAGE:0.5:1:200", sources.join(" ")));
    assert!(made.status.success(), "{made:?}");
}

/// How many pings of a row have a round trip.
fn known(values: &[f64]) -> usize {
    values[3..].iter().filter(|ping| !ping.is_nan()).count()
}

fn time(end: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(end.unsigned_abs())
}

/// The requests of the rounds: the paths that are looked for beside have other identifiers.
fn own_requests(net: &Net, host: &str) -> Vec<Entry> {
    let mut requests = net.requests(host);
    let ours = requests[0].identifier;
    requests.retain(|request| request.identifier == ours);
    requests
}
