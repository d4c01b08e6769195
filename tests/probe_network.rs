//! The prober in networks that answer late, twice, wrongly or not at all. What it makes of each ping is compared with
//! what the far end did about the very same ping.

mod support {
    pub(crate) mod net;
    pub(crate) mod sockets;
}

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use latmon::probe::{
    Anchors, Counts, EchoSettings, Ignored, Pace, Prober, RESOLVE_EVERY, Settings, SocketKind, TargetSettings,
};
use latmon::round::{Fault, Ping, Round, Target};
use latmon::time::Step;
use support::net::{
    All, At, Behaviour, Entry, Every, Form, Net, ROUTER_IPV4, ROUTER_IPV6, Refusal, Share, What, answer, ms,
    refuse, silence,
};
use support::sockets::{Sockets, in_both, net};

#[test]
fn round_trips_are_those_of_the_network() {
    in_both(|sockets| {
        let net = net(sockets);
        net.spin(true);
        let delays = [("198.18.0.1", 10), ("198.18.0.2", 0), ("fd00::1", 20), ("fd00::2", 150)];
        for (host, delay) in delays {
            net.host(host, answer().delay(ms(delay)));
        }
        let watched = watch(sockets, &net, &delays.map(|(host, _)| host), 2);
        for (host, delay) in delays {
            let errors: Vec<f64> = rtts(&watched[host]).map(|rtt| to_ms(rtt) - delay as f64).collect();
            assert_eq!(errors.len(), watched[host].len(), "{sockets:?} {host}: some were lost");
            // A busy machine adds to some of them, and takes nothing away.
            let error = errors.into_iter().fold(f64::INFINITY, f64::min);
            assert!((-0.1..1.0).contains(&error), "{sockets:?} {host}: off by {error} ms");
        }
    });
}

#[test]
fn jitter_and_a_slower_path_show_ping_by_ping() {
    in_both(|sockets| {
        let net = net(sockets);
        net.host("198.18.0.1", answer().delay(ms(20)).jitter(ms(15)));
        net.host("fd00::1", answer().delay(ms(20)).jitter(ms(15)));
        let changing = ["198.18.0.2", "fd00::2"];
        for host in changing {
            net.host(host, answer().delay(ms(5)).after(9, answer().delay(ms(60)).after(4, silence())));
        }
        let hosts = ["198.18.0.1", "fd00::1", "198.18.0.2", "fd00::2"];
        let watched = watch(sockets, &net, &hosts, 2);
        compare(sockets, &watched);
        let is_slow = |(ping, request): &&(Ping, Entry)| {
            matches!(ping, Ping::Answered(_)) && request.replies.iter().any(|reply| reply.due == ms(60))
        };
        for host in changing {
            let slow = watched[host].seen.iter().filter(is_slow).count();
            assert_eq!(slow, 4, "{sockets:?} {host}: 9 fast ones, 4 slow ones, then silence");
            let silent = &watched[host].seen[13..];
            assert!(
                silent.len() >= 7 && silent.iter().all(|(ping, _)| *ping == Ping::Lost),
                "{sockets:?} {host}"
            );
        }
    });
}

#[test]
fn loss_is_counted_exactly() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = ["198.18.0.1", "198.18.0.2", "fd00::1", "fd00::2", "198.18.0.9", "fd00::9"];
        net.host("198.18.0.1", answer().delay(ms(10)).lose(Every(5)));
        net.host("198.18.0.2", answer().delay(ms(10)).lose(Share(0.5)));
        net.host("fd00::1", answer().delay(ms(10)).lose(Every(2)));
        net.host("fd00::2", answer().delay(ms(10)).lose(Share(0.2)).seed(7));
        net.host("198.18.0.9", silence());
        let watched = watch(sockets, &net, &hosts, 2);
        compare(sockets, &watched);
        // Of ten pings in a row, every fifth lost are two, wherever the round begins.
        assert_eq!(watched["198.18.0.1"].last_round().lost(), 2);
        assert_eq!(watched["fd00::1"].last_round().lost(), 5);
        assert!(watched["198.18.0.9"].last_round().is_down() && watched["fd00::9"].last_round().is_down());
    });
}

#[test]
fn late_replies_are_lost_and_count_for_no_other_ping() {
    in_both(|sockets| {
        let net = net(sockets);
        // The timeout is 800 ms, and pings are 100 ms apart: a late reply falls among the next ones.
        net.host("198.18.0.1", answer().delay(ms(10)).late(Every(3), ms(850)));
        net.host("fd00::1", answer().delay(ms(10)).late(Every(3), ms(850)));
        net.host("198.18.0.2", answer().delay(ms(250)));
        let hosts = ["198.18.0.1", "fd00::1", "198.18.0.2"];
        let watched = watch(sockets, &net, &hosts, 2);
        compare(sockets, &watched);
    });
}

#[test]
fn duplicates_count_once_and_reordering_changes_nothing() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = ["198.18.0.1", "fd00::1", "198.18.0.2", "fd00::2"];
        for host in &hosts[..2] {
            net.host(host, answer().delay(ms(10)).duplicate(Every(2)));
        }
        for host in &hosts[2..] {
            net.host(host, answer().delay(ms(10)).swap_pairs());
        }
        let watched = watch(sockets, &net, &hosts, 2);
        compare(sockets, &watched);
        for host in hosts {
            let last = watched[host].last_round();
            assert_eq!((last.pings().len(), last.lost()), (10, 0), "{sockets:?} {host}");
        }
    });
}

#[test]
fn replies_that_are_not_ours_never_count() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = spoiling_hosts(&net, |form| answer().delay(ms(10)).spoil(Every(2), form));
        let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        let watched = watch(sockets, &net, &names, 1);
        compare(sockets, &watched);
        for (host, form) in &hosts {
            let spoiled = watched[host].seen.iter().filter(|seen| seen.1.what == What::Spoiled).count();
            assert!(spoiled >= 5, "{sockets:?} {form:?}: {spoiled} spoiled replies");
        }
    });
}

/// A damaged byte that the checksum missed, or somebody who knows all but the secret: each byte counts.
#[test]
fn a_reply_with_any_changed_byte_is_lost() {
    in_both(|sockets| {
        let net = net(sockets);
        net.host("198.18.0.1", answer());
        let length = watch(sockets, &net, &["198.18.0.1"], 1)["198.18.0.1"].seen[0].1.payload.len();
        let hosts: Vec<String> =
            (0..length).flat_map(|n| [format!("198.18.1.{n}"), format!("fd00::1:{n}")]).collect();
        for (host, n) in hosts.iter().zip(0..) {
            net.host(host, answer().spoil(Every(2), Form::Payload(n / 2)));
        }
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let watched = watch(sockets, &net, &names, 1);
        compare(sockets, &watched);
        for host in names {
            assert_eq!(watched[host].last_round().lost(), 5, "{sockets:?} {host}");
        }
    });
}

#[test]
fn replies_that_are_not_ours_do_not_hide_those_that_are() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = spoiling_hosts(&net, |form| answer().delay(ms(10)).inject(All, form, ms(2)));
        let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        let watched = watch(sockets, &net, &names, 1);
        compare(sockets, &watched);
        for (host, form) in &hosts {
            assert_eq!(watched[host].last_round().lost(), 0, "{sockets:?} {form:?}");
        }
    });
}

#[test]
fn refused_pings_are_lost() {
    in_both(|sockets| {
        let net = net(sockets);
        let refusals = [
            (Refusal::Network, "network unreachable", "no route"),
            (Refusal::Host, "host unreachable", "host unreachable"),
            (Refusal::Prohibited, "administratively prohibited", "administratively prohibited"),
            (Refusal::Expired, "time to live exceeded", "time to live exceeded"),
            (Refusal::Port, "port unreachable", "port unreachable"),
            (Refusal::TooBig, "packet too big", "packet too big"),
            (Refusal::Parameter, "parameter problem", "parameter problem"),
        ];
        let hosts: Vec<(String, Refusal, String)> = refusals
            .iter()
            .zip(1..)
            .flat_map(|((refusal, v4, v6), n)| {
                let told = [format!("{v4}, says {ROUTER_IPV4}"), format!("{v6}, says {ROUTER_IPV6}")];
                let hosts = [format!("198.18.0.{n}"), format!("fd00::{n}")];
                hosts.into_iter().zip(told).map(|(host, told)| (host, *refusal, told))
            })
            .collect();
        for (host, refusal, _) in &hosts {
            net.host(host, answer().delay(ms(10)).after(8, refuse(*refusal).delay(ms(5))));
        }
        let healthy = ["198.18.0.100", "fd00::100"];
        for host in healthy {
            net.host(host, answer().delay(ms(10)));
        }
        let names: Vec<&str> = hosts.iter().map(|(host, ..)| host.as_str()).chain(healthy).collect();
        let watched = watch(sockets, &net, &names, 2);
        compare(sockets, &watched);
        for (host, refusal, told) in &hosts {
            let last = watched[host].last_round();
            assert!(last.is_down(), "{sockets:?} {host} {refusal:?}");
            // Linux keeps that one from datagram sockets that let their packets be fragmented.
            let is_kept = sockets == Sockets::Datagram && *refusal == Refusal::TooBig && !host.contains(':');
            let told = (!is_kept).then_some(told);
            assert_eq!(last.says().map(ToString::to_string).as_ref(), told, "{sockets:?} {host}");
        }
        for host in healthy {
            assert_eq!(watched[host].last_round().lost(), 0, "{sockets:?} {host}: others were refused");
        }
    });
}

/// Whoever sees a ping can forge an error for it, so that errors explain a loss, and make none.
#[test]
fn an_error_does_not_outweigh_the_reply() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = ["198.18.0.1", "fd00::1"];
        for host in hosts {
            net.host(host, answer().delay(ms(10)).inject(All, Form::Refusal(Refusal::Host, None), ms(2)));
        }
        let watched = watch(sockets, &net, &hosts, 1);
        compare(sockets, &watched);
        for host in hosts {
            assert_eq!(watched[host].last_round().lost(), 0, "{sockets:?} {host}");
        }
    });
}

#[test]
fn a_timeout_may_be_longer_than_the_step() {
    in_both(|sockets| {
        let net = net(sockets);
        net.host("198.18.0.1", answer().delay(ms(1400)));
        net.host("fd00::1", answer().delay(ms(1400)).late(Every(3), ms(2100)));
        let hosts = ["198.18.0.1", "fd00::1"];
        let watched = watch_patiently(sockets, &net, &hosts, 2, ms(2000));
        compare(sockets, &watched);
        assert_eq!(watched["198.18.0.1"].last_round().lost(), 0, "{sockets:?}");
        assert!(watched["fd00::1"].last_round().lost() >= 3, "{sockets:?}");
    });
}

#[test]
fn hundreds_of_targets_neither_blur_nor_lose_each_other() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts: Vec<String> =
            (1..=150).flat_map(|n| [format!("198.18.1.{n}"), format!("fd00::1:{n}")]).collect();
        for (host, n) in hosts.iter().zip(0..) {
            net.host(host, answer().delay(ms(5 + n % 20)).seed(n).lose(Share(0.1)));
        }
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let watched = watch(sockets, &net, &names, 2);
        compare(sockets, &watched);
    });
}

/// Three replies of each host are not as they should be, all of them in its first second: they are long heard when the
/// counts are read.
#[test]
fn what_does_not_count_is_counted_in_the_column_that_its_socket_can_see() {
    in_both(|sockets| {
        let net = net(sockets);
        let some = || At(vec![2, 5, 7]);
        let fine = || answer().delay(ms(10));
        // The kernel keeps damaged packets from all but RAW sockets of IPv4, and other identifiers from datagram ones.
        let raw = matches!(sockets, Sockets::Raw);
        let rows = |other: &str, ipv4: bool| {
            let spoiled = |form| fine().spoil(some(), form);
            [
                (fine().duplicate(some()), Some(Ignored::Duplicate)),
                (fine().late(some(), ms(950)), Some(Ignored::Late)),
                (spoiled(Form::Checksum), (raw && ipv4).then_some(Ignored::Damaged)),
                (spoiled(Form::Source(other.parse().expect("an address"))), Some(Ignored::WrongSource)),
                (spoiled(Form::Identifier), raw.then_some(Ignored::Identifier)),
                (spoiled(Form::Payload(0)), Some(Ignored::Forged)),
                (spoiled(Form::Payload(50)), Some(Ignored::Damaged)),
                (spoiled(Form::Sequence), Some(Ignored::Damaged)),
                (spoiled(Form::Truncated(8)), Some(Ignored::Truncated)),
                (spoiled(Form::Truncated(40)), Some(Ignored::Truncated)),
                (spoiled(Form::Forged), Some(Ignored::Forged)),
                (fine().lose(some()), None),
                (fine().jitter(ms(9)), None),
                (fine().swap_pairs(), None),
            ]
        };
        let mut hosts = Vec::new();
        for (other, ipv4) in [("198.18.0.99", true), ("fd00::99", false)] {
            for ((behaviour, column), n) in rows(other, ipv4).into_iter().zip(1..) {
                let host = if ipv4 { format!("198.18.0.{n}") } else { format!("fd00::{n}") };
                net.host(&host, behaviour);
                hosts.push((host, column));
            }
        }
        let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        let (watched, counts) = watch_and_count(sockets, &net, &names, 2);
        compare(sockets, &watched);
        for (place, (host, column)) in hosts.iter().enumerate() {
            for kind in Ignored::ALL {
                let wanted = if Some(kind) == *column { 3 } else { 0 };
                assert_eq!(counts.of(place, kind), wanted, "{sockets:?} {host}: {kind:?}");
            }
        }
        for kind in Ignored::ALL.into_iter().filter(|kind| *kind != Ignored::Foreign) {
            let all: u32 = (0..hosts.len()).map(|place| counts.of(place, kind)).sum();
            assert_eq!(counts.total(kind), u64::from(all), "{sockets:?}: {kind:?}");
        }
        assert_eq!((counts.unstamped(), counts.dropped()), (0, 0), "{sockets:?}");
    });
}

#[test]
fn a_round_tells_who_said_why_its_pings_were_lost() {
    in_both(|sockets| {
        let net = net(sockets);
        let rows = [
            (Refusal::Network, "network unreachable", "no route"),
            (Refusal::Host, "host unreachable", "host unreachable"),
            (Refusal::Prohibited, "administratively prohibited", "administratively prohibited"),
            (Refusal::Expired, "time to live exceeded", "time to live exceeded"),
        ];
        let mut hosts = Vec::new();
        for ((refusal, ipv4, ipv6), n) in rows.into_iter().zip(1..) {
            for (host, router, reason) in
                [(format!("198.18.0.{n}"), ROUTER_IPV4, ipv4), (format!("fd00::{n}"), ROUTER_IPV6, ipv6)]
            {
                net.host(&host, refuse(refusal).delay(ms(5)));
                hosts.push((host, format!("{reason}, says {router}")));
            }
        }
        net.host("198.18.0.100", answer().delay(ms(10)));
        net.host("198.18.0.101", silence());
        let names: Vec<&str> =
            hosts.iter().map(|(host, _)| host.as_str()).chain(["198.18.0.100", "198.18.0.101"]).collect();
        let watched = watch(sockets, &net, &names, 2);
        for (host, said) in &hosts {
            let last = watched[host].last_round();
            assert!(last.is_down(), "{sockets:?} {host}");
            assert_eq!(last.says().map(ToString::to_string).as_ref(), Some(said), "{sockets:?} {host}");
        }
        for host in ["198.18.0.100", "198.18.0.101"] {
            assert_eq!(watched[host].last_round().says(), None, "{sockets:?} {host}");
        }
    });
}

#[test]
fn another_address_may_answer_where_that_is_wanted() {
    in_both(|sockets| {
        let net = net(sockets);
        for (host, other) in [("198.18.0.1", "198.18.0.99"), ("fd00::1", "fd00::99")] {
            let other = Form::Source(other.parse().expect("an address"));
            net.host(host, answer().spoil(All, other));
        }
        let hosts = ["198.18.0.1", "fd00::1"];
        let anycast = EchoSettings { any_source: true, ..EchoSettings::default() };
        let watch = Watch::start_with(sockets, &hosts, TIMEOUT, &anycast);
        for host in hosts {
            watch.wait_for(host, |round| round.sorted().len() == 10);
        }
        watch.stop();
        let watched = watch_patiently(sockets, &net, &hosts, 1, TIMEOUT);
        for host in hosts {
            assert!(watched[host].last_round().is_down(), "{sockets:?} {host}: nobody else may by default");
        }
    });
}

/// What was under way when the interface went down never had a chance.
#[test]
fn an_interface_that_goes_down_and_comes_up_is_no_loss() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = ["198.18.0.1", "fd00::1"];
        for host in hosts {
            net.host(host, answer().delay(ms(40)));
        }
        let watch = Watch::start(sockets, &hosts);
        let unreachable = |round: &Round| round.is_unknown() && round.pings().len() == 10;
        let fine = |round: &Round| round.sorted().len() == 10;
        let mut rounds = Vec::new();
        for _ in 0..2 {
            for host in hosts {
                rounds.append(&mut watch.wait_for(host, fine));
            }
            net.ip("link set far0 down");
            for host in hosts {
                rounds.append(&mut watch.wait_for(host, unreachable));
            }
            net.ip("link set far0 up\naddr replace fd00:ffff::1:1/8 dev far0 nodad");
        }
        for host in hosts {
            rounds.append(&mut watch.wait_for(host, fine));
        }
        watch.stop();
        for round in rounds {
            assert_eq!(round.lost(), 0, "{sockets:?}: {round:?}");
        }
    });
}

/// Bursts would queue behind each other, in the kernel and on the way, and measure themselves.
#[test]
fn pings_are_spread_evenly_over_the_step() {
    let sockets = Sockets::Raw;
    let net = net(sockets);
    let hosts: Vec<String> = (1..=50).map(|n| format!("198.18.1.{n}")).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    watch(sockets, &net, &names, 2);
    // Ten pings a second: each target has its own place within the tenth of a second, and keeps it.
    let mut places = [0; 10];
    for host in names {
        let requests = net.requests(host);
        let gaps = requests.windows(2).map(|pair| to_ms(pair[1].at - pair[0].at)).collect();
        let gap = median(gaps);
        assert!((gap - 100.0).abs() < 25.0, "{host}: {gap} ms from ping to ping");
        for request in requests {
            let since = request.wall.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            places[(since.as_millis() % 100 / 10) as usize] += 1;
        }
    }
    // Fifty targets in ten places are five each, and the standard deviation is 2.1. More than twelve are no accident.
    let all: u32 = places.iter().sum();
    assert!(places.iter().all(|count| count * 50 <= all * 12), "{places:?}");
}

/// The network that our own side cannot reach says nothing about the target.
#[test]
fn without_a_route_pings_are_unknown_and_with_one_they_recover() {
    in_both(|sockets| {
        let net = net(sockets);
        let hosts = ["198.18.0.1", "fd00::1"];
        // What is under way when the route goes has its reply on the way back.
        for host in hosts {
            net.host(host, answer().delay(ms(40)));
        }
        net.cut();
        let watch = Watch::start(sockets, &hosts);
        let mut rounds = Vec::new();
        let unreachable = |round: &Round| {
            round.is_unknown()
                && round.fault() == Some(Fault::Send(libc::ENETUNREACH))
                && round.pings().len() == 10
        };
        let mut until = |wanted: &dyn Fn(&Round) -> bool| {
            hosts.iter().for_each(|host| rounds.append(&mut watch.wait_for(host, wanted)));
        };
        until(&unreachable);
        assert!(net.log().is_empty(), "nothing can have arrived");
        for _ in 0..2 {
            net.mend();
            until(&|round| round.sorted().len() == 10);
            net.cut();
            until(&unreachable);
        }
        watch.stop();
        for round in rounds {
            assert_eq!(round.lost(), 0, "{sockets:?}: {round:?}");
        }
    });
}

/// Two processes with equal identifiers once kept a dead host alive: fping and iputils take each other's replies.
#[test]
fn two_probers_do_not_take_each_others_replies() {
    in_both(|sockets| {
        let net = net(sockets);
        net.host("198.18.0.1", answer().delay(ms(10)).lose(Every(3)));
        let other = Watch::start(sockets, &["198.18.0.1"]);
        let watched = watch(sockets, &net, &["198.18.0.1", "198.18.0.2"], 2);
        other.stop();
        assert!(watched["198.18.0.2"].last_round().is_down(), "{sockets:?}: the dead host stays dead");
        let identifiers: HashSet<u16> =
            net.requests("198.18.0.1").iter().map(|request| request.identifier).collect();
        assert!(identifiers.len() >= 2, "{sockets:?}: both use {identifiers:?}");
    });
}

#[test]
fn stopping_is_prompt_even_with_pings_on_their_way() {
    in_both(|sockets| {
        let net = net(sockets);
        net.host("198.18.0.1", silence());
        let watch = Watch::start_with(sockets, &["198.18.0.1"], LONG, &EchoSettings::default());
        net.wait_for("198.18.0.1", 1, LONG);
        let rounds = watch.rounds.clone();
        let start = Instant::now();
        watch.stop();
        assert!(start.elapsed() < LONG / 2, "{sockets:?}: took {:?}", start.elapsed());
        let left = std::iter::from_fn(|| {
            rounds.recv_timeout(LONG).map_err(|end| assert!(end.is_disconnected())).ok()
        });
        assert!(left.count() <= 2, "{sockets:?}: the channel ends, so its thread has ended");
    });
}

/// A reply is read when the machine gets round to it, and waits meanwhile. Only the kernel's stamp tells when it came: by
/// the time of reading, half of the round trips here are two milliseconds or more too long.
#[test]
fn a_busy_machine_does_not_blur_the_round_trips() {
    in_both(|sockets| {
        let _load = Load::start(4);
        let net = net(sockets);
        let hosts: Vec<String> =
            (1..=20).flat_map(|n| [format!("198.18.0.{n}"), format!("fd00::{n}")]).collect();
        for host in &hosts {
            net.host(host, answer().delay(ms(10)));
        }
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let watched = watch(sockets, &net, &names, 2);
        let excess = compare(sockets, &watched);
        let middle = excess[excess.len() / 2];
        assert!(middle < 1.0, "{sockets:?}: half of the round trips is more than {middle} ms too long");
    });
}

/// Threads that keep the processors busy until this is dropped.
struct Load {
    wanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(threads: usize) -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let run = |_| {
            let wanted = Arc::clone(&wanted);
            std::thread::spawn(move || {
                while wanted.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { threads: (0..threads).map(run).collect(), wanted }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("a loop does not panic"));
    }
}

/// A host for each way in which a reply can be not ours, of both families.
fn spoiling_hosts(net: &Net, behaviour: impl Fn(Form) -> Behaviour) -> Vec<(String, Form)> {
    let forms = |other: &str| {
        [
            Form::Checksum,
            Form::Source(other.parse().expect("an address")),
            Form::Payload(0),
            Form::Truncated(8),
            Form::Truncated(0),
            Form::Identifier,
            Form::Sequence,
            Form::Forged,
            Form::Replayed,
        ]
    };
    let ipv4 = forms("198.18.0.99").into_iter().zip(1..).map(|(form, n)| (format!("198.18.0.{n}"), form));
    let ipv6 = forms("fd00::99").into_iter().zip(1..).map(|(form, n)| (format!("fd00::{n}"), form));
    let hosts: Vec<_> = ipv4.chain(ipv6).collect();
    for (host, form) in &hosts {
        net.host(host, behaviour(*form));
    }
    hosts
}

/// What became of the pings to one host.
struct Watched {
    rounds: Vec<Round>,
    /// Each ping that was sent, with what the far end saw of it.
    seen: Vec<(Ping, Entry)>,
    timeout: Duration,
}

impl Watched {
    fn last_round(&self) -> &Round {
        self.rounds.last().expect("some rounds were watched")
    }

    fn len(&self) -> usize {
        self.seen.len()
    }
}

/// Pings the hosts for one started and `rounds` whole rounds of ten pings in a second.
fn watch(sockets: Sockets, net: &Net, hosts: &[&str], rounds: usize) -> HashMap<String, Watched> {
    watch_patiently(sockets, net, hosts, rounds, TIMEOUT)
}

/// The same, with another timeout.
fn watch_patiently(
    sockets: Sockets,
    net: &Net,
    hosts: &[&str],
    rounds: usize,
    timeout: Duration,
) -> HashMap<String, Watched> {
    watch_all(sockets, net, hosts, rounds, timeout).0
}

/// The same, with what was counted.
fn watch_and_count(
    sockets: Sockets,
    net: &Net,
    hosts: &[&str],
    rounds: usize,
) -> (HashMap<String, Watched>, Arc<Counts>) {
    watch_all(sockets, net, hosts, rounds, TIMEOUT)
}

fn watch_all(
    sockets: Sockets,
    net: &Net,
    hosts: &[&str],
    rounds: usize,
    timeout: Duration,
) -> (HashMap<String, Watched>, Arc<Counts>) {
    let watch = Watch::start_with(sockets, hosts, timeout, &EchoSettings::default());
    let counts = Arc::clone(watch.prober.counts());
    let mut found: HashMap<String, Vec<Round>> = HashMap::new();
    // Where the machine stood still for a second, pings are left out: then the next rounds count.
    const MOST: usize = 20;
    let are_whole = |found: &Vec<Round>| {
        let newest = found.iter().skip(1).rev().take(rounds);
        newest.filter(|round| (round.pings().len(), round.known()) == (10, 10)).count() == rounds
    };
    while !hosts.iter().all(|host| found.get(*host).is_some_and(are_whole)) {
        let round = watch.next();
        let found = found.entry(round.target().host.clone()).or_default();
        found.push(round);
        assert!(found.len() < MOST, "none of these rounds is whole: {found:?}");
    }
    watch.stop();
    let mut requests: HashMap<String, Vec<Entry>> = HashMap::new();
    for request in net.log() {
        requests.entry(request.destination.to_string()).or_default().push(request);
    }
    let mut seen = |host: &str| requests.remove(host).unwrap_or_default();
    let watched = found
        .into_iter()
        .map(|(host, found)| (host.clone(), Watched::new(&host, found, rounds, seen(&host), timeout)))
        .collect();
    (watched, counts)
}

impl Watched {
    /// Pings are matched with requests by their order; those that were never sent are unknown.
    fn new(host: &str, rounds: Vec<Round>, whole: usize, requests: Vec<Entry>, timeout: Duration) -> Self {
        let was_sent = |ping: &&Ping| !matches!(ping, Ping::Unknown(_));
        let sent = rounds.iter().flat_map(Round::pings).filter(was_sent);
        let seen: Vec<_> = sent.copied().zip(requests).collect();
        assert!(seen.len() >= whole * 10, "{host}: {} pings, of which few were seen", seen.len());
        Self { rounds, seen, timeout }
    }
}

/// A running prober.
struct Watch {
    prober: Prober,
    rounds: Receiver<Round>,
}

impl Watch {
    fn start(sockets: Sockets, hosts: &[&str]) -> Self {
        Self::start_with(sockets, hosts, TIMEOUT, &EchoSettings::default())
    }

    fn start_with(sockets: Sockets, hosts: &[&str], timeout: Duration, echo: &EchoSettings) -> Self {
        let targets = hosts
            .iter()
            .map(|host| TargetSettings {
                target: Arc::new(Target { name: host.replace(':', "_"), host: (*host).into() }),
                step: Step::new(1).expect("not zero"),
                pings: 10,
                timeout,
                family: None,
                echo: echo.clone(),
            })
            .collect();
        let (sender, rounds) = crossbeam_channel::bounded(1000);
        let prober = Prober::start(
            Settings {
                targets,
                pace: Pace::default(),
                resolve_every: RESOLVE_EVERY,
                anchors: Anchors::default(),
                known_anchors: Vec::new(),
            },
            sender,
        )
        .expect("the prober starts");
        let kind = Some(match sockets {
            Sockets::Raw => SocketKind::Raw,
            Sockets::Datagram => SocketKind::Datagram,
        });
        assert_eq!((prober.sockets().v4, prober.sockets().v6), (kind, kind));
        Self { prober, rounds }
    }

    fn next(&self) -> Round {
        self.rounds.recv_timeout(LONG).expect("a round each second")
    }

    /// Waits for a round of `host` that is as wanted, among the next rounds of it; returns every round that came.
    fn wait_for(&self, host: &str, wanted: impl Fn(&Round) -> bool) -> Vec<Round> {
        let mut rounds: Vec<Round> = Vec::new();
        while rounds.iter().filter(|round| round.target().host == host).count() < 20 {
            let round = self.next();
            let found = round.target().host == host && wanted(&round);
            rounds.push(round);
            if found {
                return rounds;
            }
        }
        panic!("{host}: none of these rounds is as wanted: {rounds:?}");
    }

    fn stop(self) {
        self.prober.stop().expect("the prober's thread does not panic");
    }
}

/// Checks each ping to each host against what the far end did about it, and that round trips need be no longer than the
/// far end's delays. Returns by how many milliseconds they are, shortest first.
fn compare(sockets: Sockets, watched: &HashMap<String, Watched>) -> Vec<f64> {
    let mut excess: Vec<f64> =
        watched.iter().flat_map(|(host, watched)| compare_pings(sockets, host, watched)).collect();
    excess.sort_by(f64::total_cmp);
    // The busier the machine the more of them are longer.
    if let Some(some) = excess.get(excess.len() / 10) {
        assert!(*some < 1.0, "{sockets:?}: nearly all round trips are more than {some} ms too long");
    }
    excess
}

fn compare_pings(sockets: Sockets, host: &str, watched: &Watched) -> Vec<f64> {
    for round in &watched.rounds {
        // That the machine stood still, or that we came later, is all that may be unknown here.
        let excused = |ping: &Ping| !matches!(ping, Ping::Unknown(fault) if !matches!(fault, Fault::HeldUp | Fault::NotRunning));
        assert!(round.pings().iter().all(excused), "{sockets:?} {host}: {round:?}");
    }
    let mut excess = Vec::new();
    let latest = read_at_the_latest(&watched.seen);
    for (index, (ping, request)) in watched.seen.iter().enumerate() {
        let in_time = request.delay().filter(|delay| *delay < watched.timeout);
        match (ping, in_time) {
            (Ping::Answered(rtt), Some(delay)) => excess.push(to_ms(rtt.duration()) - to_ms(delay)),
            (Ping::Lost, None) => {}
            // The far end had no processor for so long that the request waited until it was too late.
            (Ping::Lost, Some(delay)) if delay + latest[index] >= watched.timeout => {}
            _ => panic!("{sockets:?} {host}: ping {index} is {ping:?}, and the far end did {request:?}"),
        }
    }
    // The far end notes the time before it writes, so a round trip cannot be shorter, but for the clocks' grain.
    let shortest = excess.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(shortest > -0.1, "{sockets:?} {host}: {shortest} ms too long");
    excess
}

/// How long after it was sent each ping was read, at the most: they are sent in an even rhythm, in which their numbers go,
/// and the one that was read soonest tells where it lies.
fn read_at_the_latest(seen: &[(Ping, Entry)]) -> Vec<Duration> {
    const RHYTHM_MS: f64 = 100.0;
    let Some((_, first)) = seen.first() else { return Vec::new() };
    let late = |(_, entry): &(Ping, Entry)| {
        to_ms(entry.at - first.at) - RHYTHM_MS * f64::from(entry.sequence.wrapping_sub(first.sequence))
    };
    let soonest = seen.iter().map(late).fold(f64::INFINITY, f64::min);
    seen.iter().map(|seen| Duration::from_secs_f64((late(seen) - soonest) / 1e3)).collect()
}

fn rtts(watched: &Watched) -> impl Iterator<Item = Duration> {
    watched.seen.iter().filter_map(|(ping, _)| match ping {
        Ping::Answered(rtt) => Some(rtt.duration()),
        Ping::Lost | Ping::Unknown(_) => None,
    })
}

const TIMEOUT: Duration = ms(800);
/// Longer than any machine takes for what surely comes.
const LONG: Duration = ms(60_000);

fn to_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
