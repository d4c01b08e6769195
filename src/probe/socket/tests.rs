//! The sockets against the kernel, in network namespaces: these need root.

#[path = "../../../tests/support/net/mod.rs"]
mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::net::UnixDatagram;
use std::sync::Once;

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::calls::set;
use super::control::{ExtendedError, Messages, Said, address_in, name_of, space};
use super::send::{Keys, Outbox};
use super::*;
use crate::probe::EchoSettings;
use crate::probe::clock::{self, Wall};
use crate::probe::icmp::{
    Echo, LEAST_PAYLOAD, MOST_PAYLOAD, Message, Padding, Quote, Reason, after_ipv4_header,
};
use net::{Form, Net, Refusal, answer, ms, refuse};

const KINDS: [SocketKind; 2] = [SocketKind::Datagram, SocketKind::Raw];
const IDENTITY: Identity = Identity { identifier: 0x4c4d, mark: 0x6d61_726b };

/// What one socket under test sent and heard.
struct Bench {
    sockets: Sockets,
    family: Family,
    dont_fragment: bool,
    source: Option<IpAddr>,
    inbox: Inbox,
    reports: Reports,
    handed: BTreeMap<u64, Result<Handed, i32>>,
    left: BTreeMap<u64, Wall>,
    errors: Vec<(Reason, IpAddr, IpAddr, Quote, Option<Wall>)>,
    replies: Vec<Reply>,
}

/// A reply that was heard.
#[derive(Clone, Debug)]
struct Reply {
    from: IpAddr,
    echo: Option<Echo>,
    truncated: bool,
    at: Option<Wall>,
    ttl: Option<u8>,
}

impl Bench {
    fn new(family: Family, kind: SocketKind) -> Self {
        Self::with(family, kind, &EchoSettings::default())
    }

    fn with(family: Family, kind: SocketKind, settings: &EchoSettings) -> Self {
        Self::for_each(family, kind, std::slice::from_ref(settings))
    }

    /// For echoes of several settings; the first are those of [`Bench::socket`] until others are sent.
    fn for_each(family: Family, kind: SocketKind, settings: &[EchoSettings]) -> Self {
        let payload = settings.iter().map(|it| it.payload).max().unwrap();
        let wanted = Wanted::of(settings.iter(), IDENTITY, Backlog { echoes: 1000, payload });
        let settings = &settings[0];
        let wanted = Wanted { kind: Some(kind), ..wanted };
        let sockets = Sockets::open(&wanted).expect("this test needs root");
        assert_eq!(sockets.kinds(), SocketKinds { v4: Some(kind), v6: Some(kind) });
        assert_eq!(sockets.stamps(), Stamps::Kernel);
        Self {
            sockets,
            family,
            dont_fragment: settings.dont_fragment,
            source: settings.source,
            inbox: Inbox::new(payload),
            reports: Reports::new(),
            handed: BTreeMap::new(),
            left: BTreeMap::new(),
            errors: Vec::new(),
            replies: Vec::new(),
        }
    }

    fn socket(&mut self) -> &mut EchoSocket {
        self.sockets.of(self.family, self.dont_fragment, self.source).unwrap()
    }

    /// Sends the echoes of these numbers, each to its address, without looking at what is there before.
    fn send<'a>(&mut self, echoes: impl IntoIterator<Item = (u64, &'a str)>, settings: &EchoSettings) {
        (self.dont_fragment, self.source) = (settings.dont_fragment, settings.source);
        let route = Route::new(settings, self.socket().origin).unwrap();
        for (number, to) in echoes {
            let to = SocketAddr::new(to.parse().unwrap(), 0);
            if !self.socket().push(number, tag(number), to, &route) {
                self.flush();
                assert!(self.socket().push(number, tag(number), to, &route));
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mut handed = std::mem::take(&mut self.handed);
        self.socket().send(|number, outcome| {
            assert_eq!(handed.insert(number, outcome), None, "{number} was told twice");
        });
        self.handed = handed;
    }

    /// Takes what comes until there is enough, for which it waits long.
    fn hear(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let mut fds: Vec<PollFd> =
                self.sockets.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
            let events = poll(&mut fds, PollTimeout::from(10_000u16)).unwrap();
            assert!(events > 0, "nothing comes: {:?} {:?} {:?}", self.left, self.errors, self.replies);
            drop(fds);
            self.take();
        }
    }

    /// Takes what is there.
    fn take(&mut self) {
        let Self { sockets, inbox, reports, left, errors, replies, .. } = self;
        for socket in sockets.iter_mut() {
            let origin = socket.origin();
            while {
                let emptied = socket.receive(inbox).unwrap();
                replies.extend(inbox.packets().map(|packet| Reply::new(&packet, origin)));
                !emptied
            } {}
            while !socket
                .take_reports(reports, |report| match report {
                    Report::Sent { number, at } => assert_eq!(left.insert(number, at), None),
                    Report::Icmp { reason, from, to, quote, at } => {
                        errors.push((reason, from, to, quote, at));
                    }
                })
                .unwrap()
            {}
        }
    }

    fn stamps_and_replies(&self, count: usize) -> bool {
        self.left.len() >= count && self.replies.len() >= count
    }
}

impl Reply {
    fn new(packet: &Packet<'_>, origin: Origin) -> Self {
        let message = match (origin.family, origin.kind) {
            (Family::V4, SocketKind::Raw) => after_ipv4_header(packet.bytes).unwrap_or(&[]),
            _ => packet.bytes,
        };
        Self {
            from: packet.from,
            echo: Message::new(origin.family, message).ok().and_then(|message| message.echo().ok()),
            truncated: packet.truncated,
            at: packet.stamp,
            ttl: packet.ttl,
        }
    }

    fn number(&self) -> u64 {
        self.echo.unwrap_or_else(|| panic!("{self:?} is no echo of ours")).number
    }
}

fn tag(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Runs a test in a network of its own for each family and kind of socket, all at once.
fn in_each(test: impl Fn(&Net, Family, SocketKind) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for (family, kind) in [Family::V4, Family::V6].into_iter().flat_map(|it| KINDS.map(|kind| (it, kind)))
        {
            let thread = std::thread::Builder::new().name(format!("{family} {kind}"));
            let run = move || {
                let net = Net::new();
                net.allow_ping_sockets();
                STAMPED.call_once(|| await_stamps(family));
                test(&net, family, kind);
            };
            thread.spawn_scoped(scope, run).expect("a thread");
        }
    });
}

/// The kernel begins to stamp what comes in some time after the first socket wants it: waits for that, and has it go on.
fn await_stamps(family: Family) {
    let mut bench = Bench::new(family, SocketKind::Raw);
    for number in 0.. {
        bench.send([(number, localhost(family))], &EchoSettings::default());
        bench.hear(|bench| bench.replies.len() as u64 > number);
        if bench.replies.last().is_some_and(|reply| reply.at.is_some()) {
            break;
        }
    }
    std::mem::forget(bench.sockets);
}

static STAMPED: Once = Once::new();

fn localhost(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    }
}

/// A host of the far end.
fn host(family: Family, n: u64) -> String {
    match family {
        Family::V4 => format!("198.18.0.{n}"),
        Family::V6 => format!("fd00::{n:x}"),
    }
}

fn router(family: Family) -> IpAddr {
    match family {
        Family::V4 => net::ROUTER_IPV4.parse().unwrap(),
        Family::V6 => net::ROUTER_IPV6.parse().unwrap(),
    }
}

/// Each of `count` echoes to localhost is stamped when it leaves and when its reply comes, in this order, and between the
/// time it was handed over and now.
fn check_stamps(bench: &mut Bench, count: u64) {
    let before = clock::now().wall;
    let to = localhost(bench.family);
    bench.send((0..count).map(|number| (number, to)), &EchoSettings::default());
    bench.hear(|bench| bench.stamps_and_replies(count as usize));
    let after = clock::now().wall;
    assert_eq!((bench.left.len(), bench.replies.len()), (count as usize, count as usize));
    let replies: BTreeMap<u64, &Reply> = bench.replies.iter().map(|it| (it.number(), it)).collect();
    for (number, left) in &bench.left {
        let handed = bench.handed[number].unwrap().wall;
        let reply = replies[number];
        let came = reply.at.expect("a reply has a stamp");
        let in_order = before <= handed && handed <= *left && *left <= came && came <= after;
        assert!(in_order, "{before:?} {handed:?} {left:?} {came:?} {after:?}");
        let echo = reply.echo.unwrap();
        assert_eq!((echo.tag, echo.mark, echo.payload), (tag(*number), IDENTITY.mark, 56));
        assert_eq!((reply.from, reply.ttl), (to.parse().unwrap(), Some(64)));
    }
    // Each stamp is its own echo's: they left in the order in which they were pushed.
    assert!(bench.left.values().is_sorted(), "{:?}", bench.left);
}

#[test]
fn echoes_are_stamped_on_both_ends_and_named_by_their_keys() {
    in_each(|_, family, kind| {
        let mut bench = Bench::new(family, kind);
        assert!(bench.socket().outbox.keys.is_some(), "this kernel is older than Linux 6.13");
        check_stamps(&mut bench, 200);
    });
}

/// As on kernels before 6.13.
#[test]
fn echoes_are_stamped_on_both_ends_and_named_by_the_packet_that_comes_back() {
    in_each(|_, family, kind| {
        let mut bench = Bench::new(family, kind);
        let socket = bench.socket();
        let stamps = system::STAMPS as libc::c_int;
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, stamps).unwrap();
        socket.outbox = Outbox::new(None);
        check_stamps(&mut bench, 200);
    });
}

#[test]
fn without_stamps_of_the_kernel_each_echo_has_one_of_ours() {
    in_each(|_, family, kind| {
        let mut bench = Bench::new(family, kind);
        let socket = bench.socket();
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0).unwrap();
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).unwrap();
        (socket.outbox, socket.stamping) = (Outbox::new(None), Stamping::OnReceipt);
        let to = localhost(family);
        bench.send((0..100).map(|number| (number, to)), &EchoSettings::default());
        bench.hear(|bench| bench.replies.len() >= 100);
        let handed: Vec<Wall> = bench.handed.values().map(|handed| handed.unwrap().wall).collect();
        assert!(handed.is_sorted() && handed.first() < handed.last(), "each its own: {handed:?}");
        for reply in &bench.replies {
            assert!(bench.handed[&reply.number()].unwrap().wall <= reply.at.unwrap());
        }
        assert!(bench.left.is_empty());
    });
}

/// The kernel's own count of packets, by which a stamp is named elsewhere, goes on for a packet that is refused behind
/// that point: a firewall of the device does so with ENOBUFS, one of the policy (before) with EPERM, a route with EACCES
/// or EHOSTUNREACH.
#[test]
fn whatever_is_refused_is_told_by_its_number_and_shifts_no_stamp() {
    in_each(|net, family, kind| {
        let (fine, routeless) = (host(family, 1), host(family, 2));
        let (blocked, dropped) = (host(family, 3), host(family, 4));
        net.host(&fine, answer());
        let length = if family == Family::V4 { 32 } else { 128 };
        net.ip(&format!("route add prohibit {routeless}/{length}"));
        net.ip(&format!("xfrm policy add dir out dst {blocked}/{length} action block"));
        // The last four bytes of the destination, from the network header on.
        let (offset, last) = match family {
            Family::V4 => (16, u32::from_be_bytes([198, 18, 0, 4])),
            Family::V6 => (36, 4),
        };
        let program = format!("4,32 0 0 {offset},21 0 1 {last},6 0 0 2,6 0 0 4294967295");
        let tc = |words: &str| {
            let done = net.command("tc").args(words.split(' ')).args([&program]).status();
            assert!(done.expect("install iproute2").success(), "tc {words}");
        };
        let done = net.command("tc").args(["qdisc", "add", "dev", "far0", "clsact"]).status();
        assert!(done.expect("install iproute2").success());
        tc("filter add dev far0 egress protocol all bpf da bytecode");

        let mut bench = Bench::new(family, kind);
        let to = [&fine, &routeless, &fine, &blocked, &fine, &dropped];
        let echoes = (0..120).map(|number| (number, to[number as usize % to.len()].as_str()));
        bench.send(echoes, &EchoSettings::default());
        bench.hear(|bench| bench.stamps_and_replies(60));
        for (number, handed) in &bench.handed {
            let refused = match number % 6 {
                1 => Some(libc::EACCES),
                3 => Some(libc::EPERM),
                // Nobody tells a datagram socket of IPv6; there is only no stamp.
                5 if (family, kind) == (Family::V6, SocketKind::Datagram) => None,
                5 => Some(libc::ENOBUFS),
                _ => None,
            };
            assert_eq!(handed.err(), refused, "number {number}");
        }
        let fine: Vec<u64> = (0..120).filter(|number| number % 2 == 0).collect();
        assert!(bench.left.keys().eq(&fine), "{:?}", bench.left);
        assert!(bench.left.values().is_sorted(), "{:?}", bench.left);
        let replies: BTreeMap<u64, &Reply> = bench.replies.iter().map(|it| (it.number(), it)).collect();
        for (number, left) in &bench.left {
            let (handed, came) = (bench.handed[number].unwrap().wall, replies[number].at.unwrap());
            assert!(handed <= *left && *left <= came, "{number}: {handed:?} {left:?} {came:?}");
        }
    });
}

/// A cable that is pulled is no error to whoever sends. That there is no stamp is the only sign that it was not the
/// network that lost the echo.
#[test]
fn an_echo_that_never_leaves_has_no_stamp() {
    in_each(|net, family, kind| {
        let to = host(family, 1);
        net.host(&to, answer());
        let mut bench = Bench::new(family, kind);
        let settings = EchoSettings::default();
        net.ip("link set far0 carrier off");
        let state = || net.command("ip").args(["-o", "link", "show", "far0"]).output().unwrap().stdout;
        let down = || String::from_utf8_lossy(&state()).contains("state DOWN");
        assert!((0..10_000).any(|_| down()), "the kernel does not notice");
        bench.send((0..10).map(|number| (number, to.as_str())), &settings);
        net.ip("link set far0 carrier on");
        assert!(bench.handed.values().all(Result::is_ok), "{:?}", bench.handed);
        // To notice that takes the kernel a while.
        let mut number = 10;
        while bench.replies.is_empty() {
            bench.send([(number, to.as_str())], &settings);
            let socket = bench.socket();
            poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100u16)).unwrap();
            bench.take();
            number += 1;
        }
        assert!(bench.left.keys().all(|number| *number >= 10), "{:?}", bench.left);
        assert_eq!(net.wait_for(&to, bench.left.len(), ms(10_000)).len(), bench.left.len());
    });
}

/// With the error queue open, a pending ICMP error fails the next call, whatever that is about.
#[test]
fn icmp_errors_are_told_once_with_what_they_quote_and_blamed_on_nobody_else() {
    in_each(|net, family, kind| {
        let fine = host(family, 9);
        net.host(&fine, answer());
        let refusals = [
            (Refusal::Network, [3, 0], [1, 0]),
            (Refusal::Host, [3, 1], [1, 3]),
            (Refusal::Prohibited, [3, 13], [1, 1]),
            (Refusal::Expired, [11, 0], [3, 0]),
        ];
        let refusals = refusals.map(|(refusal, v4, v6)| {
            let to = host(family, 1 + refusal as u64);
            net.host(&to, refuse(refusal));
            let [kind, code] = if family == Family::V4 { v4 } else { v6 };
            (to, Reason { family, kind, code })
        });
        let settings = EchoSettings::default();
        // The one for unfragmented echoes is open too: RAW sockets hear each other's errors.
        let whole = EchoSettings { dont_fragment: true, ..settings.clone() };
        let mut bench = Bench::with(family, kind, &whole);
        bench.dont_fragment = false;
        for round in 0..20u64 {
            let number = round * 1000;
            let (refused, _) = &refusals[round as usize % 4];
            bench.send([(number, refused.as_str())], &settings);
            // The error is there, and nobody looks at it: it is pending, for a send as well as for a receipt.
            net.wait_for(refused, round as usize / 4 + 1, ms(10_000));
            if round % 2 == 0 {
                bench.send((1..=50).map(|n| (number + n, fine.as_str())), &settings);
                let replies = bench.replies.len() + 50;
                bench.hear(|bench| bench.replies.len() >= replies);
            } else {
                let Bench { sockets, inbox, .. } = &mut bench;
                sockets.of(family, false, None).unwrap().receive(inbox).expect("no error of the socket");
                assert_eq!(inbox.packets().count(), 0, "all replies were heard before");
            }
        }
        bench.hear(|bench| bench.errors.len() >= 20 && bench.stamps_and_replies(500));
        bench.take();
        // Those of the other socket come too, from wherever.
        bench.dont_fragment = true;
        bench.send([(20_000, refusals[0].0.as_str())], &whole);
        bench.hear(|bench| bench.errors.len() > 20);
        bench.take();
        assert!(bench.handed.values().all(Result::is_ok), "{:?}", bench.handed);
        assert_eq!((bench.errors.len(), bench.replies.len()), (21, 500));
        for ((reason, from, to, quote, at), round) in bench.errors.iter().zip(0..) {
            let number = round * 1000;
            let wanted = &refusals[round as usize % 4];
            assert_eq!((&to.to_string(), reason, *from), (&wanted.0, &wanted.1, router(family)));
            assert_eq!(quote.sequence, number as u16);
            // The far end quotes eight bytes of IPv4, as many routers do.
            let whole = (Some((number, tag(number))), Some(IDENTITY.mark));
            let quoted = if family == Family::V6 { whole } else { (None, None) };
            assert_eq!((quote.secrets, quote.mark), quoted);
            let at = at.expect("an error has a stamp");
            assert!(bench.left[&number] <= at, "{:?} {at:?}", bench.left[&number]);
        }
    });
}

#[test]
fn hops_class_source_and_fragments_are_as_wanted() {
    in_each(|net, family, kind| {
        let (to, own) = match family {
            Family::V4 => (host(family, 1), "198.19.7.7"),
            Family::V6 => (host(family, 1), "fd00:ffff::7:7"),
        };
        net.host(&to, answer());
        net.add_address(own);
        let plain = EchoSettings::default();
        let all = EchoSettings {
            ttl: Some(7),
            dscp: 46,
            dont_fragment: true,
            source: Some(own.parse().unwrap()),
            interface: Some("far0".to_owned()),
            payload: 100,
            any_source: false,
        };
        let mut bench = Bench::with(family, kind, &all);
        bench.send([(1, to.as_str())], &all);
        bench.send([(2, to.as_str())], &plain);
        bench.hear(|bench| bench.stamps_and_replies(2));
        let [first, second] = &net.requests(&to)[..] else { panic!("not two requests") };
        assert_eq!((first.ttl, first.traffic_class, first.payload.len()), (7, 46 << 2, 100));
        assert_eq!(first.source.to_string(), own);
        assert_eq!((second.ttl, second.traffic_class, second.payload.len()), (64, 0, 56));
        assert_ne!(second.source.to_string(), own);
        assert_eq!((first.dont_fragment, second.dont_fragment), (family == Family::V4, false));

        let elsewhere = EchoSettings { interface: Some("lo".to_owned()), ..plain.clone() };
        bench.send([(3, to.as_str())], &elsewhere);
        bench.send([(4, to.as_str())], &plain);
        bench.hear(|bench| bench.replies.len() == 3);
        assert_eq!(net.requests(&to).len(), 3, "lo does not lead there");
        assert_eq!(bench.replies[2].number(), 4);
        let origin = bench.socket().origin;
        let none = EchoSettings { interface: Some("none0".to_owned()), ..plain.clone() };
        assert!(matches!(Route::new(&none, origin), Err(NoRoute::Interface { .. })));
        let foreign = EchoSettings { source: Some(to.parse().unwrap()), ..plain.clone() };
        if (family, kind) == (Family::V6, SocketKind::Datagram) {
            assert!(matches!(Route::new(&foreign, origin), Err(NoRoute::DatagramSource { .. })));
        } else {
            bench.send([(5, to.as_str())], &foreign);
            assert!(bench.handed[&5].is_err(), "nobody's source but ours");
        }
        let other = EchoSettings { source: Some(localhost(other(family)).parse().unwrap()), ..plain };
        assert!(matches!(Route::new(&other, origin), Err(NoRoute::Source { .. })));
    });
}

/// The network sees the source that is wanted of each echo, in another process that the sockets are handed to as well, and
/// as soon as it is ours, which at boot it may not be yet.
#[test]
fn each_echo_leaves_from_its_source_while_that_is_ours() {
    in_each(|net, family, kind| {
        let (to, own, [first, second]) = match family {
            Family::V4 => (host(family, 1), net::OWN_IPV4, ["198.19.7.7", "198.19.7.8"]),
            Family::V6 => (host(family, 1), net::OWN_IPV6, ["fd00:ffff::7:7", "fd00:ffff::7:8"]),
        };
        net.host(&to, answer());
        net.add_address(first);
        let plain = EchoSettings::default();
        let from = |source: &str| EchoSettings { source: Some(source.parse().unwrap()), ..plain.clone() };
        let whole = EchoSettings { dont_fragment: true, ..from(second) };
        let all = [plain.clone(), from(first), from(second), whole.clone()];
        let mut bench = Bench::for_each(family, kind, &all);
        let bound = if (family, kind) == (Family::V6, SocketKind::Datagram) { 3 } else { 0 };
        let descriptors: Vec<OwnedFd> =
            bench.sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned().unwrap()).collect();
        assert_eq!(descriptors.len(), 4 + bound);
        bench.send([(1, to.as_str())], &from(first));
        bench.send([(2, to.as_str())], &plain);
        bench.send([(3, to.as_str())], &from(second));
        bench.send([(4, to.as_str())], &whole);
        assert_eq!([3, 4].map(|number| bench.handed[&number].is_err()), [true; 2], "it is not ours yet");
        net.add_address(second);
        bench.send([(5, to.as_str())], &from(second));
        bench.send([(6, to.as_str())], &whole);
        bench.hear(|bench| bench.stamps_and_replies(4));

        let wanted = Wanted::of(all.iter(), IDENTITY, Backlog { echoes: 1000, payload: 56 });
        bench.sockets = Sockets::adopt(descriptors, &wanted).unwrap();
        bench.send([(7, to.as_str())], &from(first));
        bench.send([(8, to.as_str())], &whole);
        bench.hear(|bench| bench.stamps_and_replies(6));
        net.ip(&format!("addr del {first}/{} dev far0", if family == Family::V4 { 32 } else { 128 }));
        bench.send([(9, to.as_str())], &from(first));
        assert!(bench.handed[&9].is_err(), "it is ours no more");

        let seen: Vec<String> = net.requests(&to).iter().map(|it| it.source.to_string()).collect();
        assert_eq!(seen, [first, own, second, second, first, second]);
        let numbers: Vec<u64> = bench.replies.iter().map(Reply::number).collect();
        assert_eq!(BTreeSet::from_iter(numbers), BTreeSet::from([1, 2, 5, 6, 7, 8]));
    });
}

#[test]
fn a_link_local_address_is_reached_by_its_scope() {
    in_each(|net, family, kind| {
        if family == Family::V4 {
            return;
        }
        let address = "fe80::7".parse().unwrap();
        net.add_address("fe80::7");
        let mut bench = Bench::new(family, kind);
        let route = Route::new(&EchoSettings::default(), bench.socket().origin).unwrap();
        let scope = if_nametoindex("far0").unwrap();
        let to = SocketAddrV6::new(address, 0, 0, scope).into();
        assert!(bench.socket().push(1, tag(1), to, &route));
        bench.flush();
        bench.hear(|bench| bench.stamps_and_replies(1));
        assert_eq!((bench.replies[0].number(), bench.replies[0].from), (1, address.into()));
    });
}

fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

/// A path MTU that the kernel remembers would refuse here what the path is to be asked about.
#[test]
fn an_echo_that_forbids_fragments_is_held_back_by_nothing_but_the_device() {
    in_each(|net, family, kind| {
        let to = host(family, 1);
        net.host(&to, answer());
        match family {
            Family::V4 => net.ip("route add 198.18.0.0/16 dev far0 mtu 1000"),
            Family::V6 => net.ip("route add fd00::/16 dev far0 mtu 1300"),
        }
        let settings = EchoSettings { dont_fragment: true, payload: 1400, ..EchoSettings::default() };
        let mut bench = Bench::with(family, kind, &settings);
        bench.send([(1, to.as_str())], &settings);
        bench.hear(|bench| bench.stamps_and_replies(1));
        assert_eq!(net.requests(&to)[0].payload.len(), 1400);
        let large = EchoSettings { payload: 1600, ..settings };
        bench.send([(2, to.as_str()), (3, to.as_str())], &large);
        assert_eq!([bench.handed[&2], bench.handed[&3]], [Err(libc::EMSGSIZE); 2]);
        bench.dont_fragment = false;
        bench.send([(4, to.as_str())], &EchoSettings { dont_fragment: false, ..large });
        bench.hear(|bench| bench.left.contains_key(&4));
        assert!(bench.handed[&4].is_ok(), "what may be fragmented is");
    });
}

#[test]
fn the_largest_and_the_smallest_payload_come_back_whole() {
    in_each(|net, family, kind| {
        // As on most devices: longer ones are fragmented.
        net.ip("link set lo mtu 1500");
        let largest = EchoSettings { payload: MOST_PAYLOAD, ..EchoSettings::default() };
        let smallest = EchoSettings { payload: LEAST_PAYLOAD, ..EchoSettings::default() };
        let mut bench = Bench::with(family, kind, &largest);
        let to = localhost(family);
        for number in 0..40 {
            bench.send([(number, to)], if number % 2 == 0 { &largest } else { &smallest });
            bench.hear(|bench| bench.stamps_and_replies(number as usize + 1));
        }
        for (reply, number) in bench.replies.iter().zip(0..) {
            let payload = if number % 2 == 0 { MOST_PAYLOAD } else { LEAST_PAYLOAD };
            let echo = reply.echo.unwrap();
            assert_eq!((echo.number, echo.tag, echo.payload), (number, tag(number), payload));
            assert!(!reply.truncated && bench.left[&number] <= reply.at.unwrap());
        }
    });
}

#[test]
fn a_longer_packet_than_fits_is_known_to_be_truncated() {
    in_each(|_, family, kind| {
        let long = EchoSettings { payload: 2000, ..EchoSettings::default() };
        let mut bench = Bench::with(family, kind, &long);
        bench.inbox = Inbox::new(LEAST_PAYLOAD);
        bench.send([(1, localhost(family))], &long);
        bench.hear(|bench| !bench.replies.is_empty());
        assert!(bench.replies[0].truncated, "{:?}", bench.replies);
    });
}

/// What other programs ask for, and what is no reply, costs a RAW socket nothing; what is ours and was changed is heard.
#[test]
fn the_filter_lets_nothing_foreign_through() {
    in_each(|net, family, kind| {
        let forms = [
            (Form::True, true),
            (Form::Identifier, kind == SocketKind::Raw),
            (Form::Truncated(8), true),
            (Form::Truncated(0), true),
            (Form::Payload(17), true),
            (Form::Forged, true),
            (Form::Refusal(Refusal::Host, None), false),
        ];
        for ((form, _), n) in forms.iter().zip(1..) {
            net.host(&host(family, n), answer().spoil(net::All, *form));
        }
        let identity = Identity { identifier: 0x0bad, mark: 0x0bad_0bad };
        let wanted = Wanted {
            identity,
            kind: Some(SocketKind::Raw),
            dont_fragment: true,
            v6_sources: Vec::new(),
            backlog: Backlog { echoes: 100, payload: 56 },
        };
        let stranger = Sockets::open(&wanted).unwrap();
        let mut bystander = Bench { sockets: stranger, ..Bench::new(family, kind) };
        let mut bench =
            Bench::with(family, kind, &EchoSettings { dont_fragment: true, ..EchoSettings::default() });
        bench.dont_fragment = false;
        let hosts: Vec<String> = (1..=forms.len() as u64).map(|n| host(family, n)).collect();
        bench.send((1..).zip(hosts.iter().map(String::as_str)), &EchoSettings::default());
        bench.hear(|bench| bench.errors.len() == 1 && bench.replies.len() >= 5);
        // Were there more, they would have come before this one.
        bench.send([(100, localhost(family))], &EchoSettings::default());
        bench.hear(|bench| {
            bench.replies.iter().any(|reply| reply.echo.is_some_and(|echo| echo.number == 100))
        });
        let heard: Vec<String> = bench.replies.iter().map(|reply| reply.from.to_string()).collect();
        for ((form, audible), from) in forms.iter().zip(&hosts) {
            assert_eq!(
                heard.iter().filter(|it| *it == from).count(),
                usize::from(*audible),
                "{form:?}: {heard:?}"
            );
        }
        bystander.take();
        assert!(bystander.replies.is_empty() && bystander.errors.is_empty(), "{:?}", bystander.replies);
    });
}

#[test]
fn a_full_receive_buffer_is_noticed() {
    in_each(|_, family, kind| {
        let mut bench = Bench::new(family, kind);
        bench.socket().socket.set_recv_buffer_size(8192).unwrap();
        assert_eq!(bench.socket().drops().unwrap(), 0);
        bench.send((0..64).map(|number| (number, localhost(family))), &EchoSettings::default());
        assert!(bench.socket().drops().unwrap() > 0, "64 replies and stamps fit into 16 kilobytes");
        bench.hear(|bench| !bench.replies.is_empty());
    });
}

/// The process may be held up: all replies and stamps of what was under way wait for it, of small echoes and of large.
#[test]
fn the_receive_buffer_has_room_for_the_backlog() {
    in_each(|net, family, kind| {
        for (echoes, payload) in [(5000, 56), (50, MOST_PAYLOAD)] {
            net.ip("link set lo mtu 1500");
            let wanted = Wanted {
                identity: IDENTITY,
                kind: Some(kind),
                dont_fragment: false,
                v6_sources: Vec::new(),
                backlog: Backlog { echoes, payload },
            };
            let settings = EchoSettings { payload, ..EchoSettings::default() };
            let mut bench = Bench::with(family, kind, &settings);
            bench.sockets = Sockets::open(&wanted).unwrap();
            bench.send((0..u64::from(echoes)).map(|number| (number, localhost(family))), &settings);
            bench.hear(|bench| bench.stamps_and_replies(echoes as usize));
            let heard = (bench.left.len(), bench.replies.len(), bench.socket().drops().unwrap());
            assert_eq!(heard, (echoes as usize, echoes as usize, 0));
        }
    });
}

/// The steps and pings of archives are known when the sockets are open and the privilege is gone: what it made stays.
#[test]
fn the_room_for_a_backlog_grows_and_does_not_shrink() {
    let backlog = |echoes| Backlog { echoes, payload: 56 };
    in_each(|_, family, kind| {
        let mut bench = Bench::new(family, kind);
        let socket = bench.socket();
        let before = socket.buffer;
        assert_eq!(before.held, before.wanted, "a thousand echoes, by privilege");
        socket.make_room(backlog(5000)).unwrap();
        assert_eq!(socket.buffer, ReceiveBuffer { wanted: 5 * before.wanted, held: 5 * before.wanted });
        socket.make_room(backlog(10)).unwrap();
        assert_eq!(socket.buffer.held, 5 * before.wanted);
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        socket.make_room(backlog(6000)).unwrap();
        assert_eq!(socket.buffer, ReceiveBuffer { wanted: 6 * before.wanted, held: 5 * before.wanted });
        assert_eq!(socket.socket.recv_buffer_size().unwrap(), 5 * before.wanted);
        caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let settings = EchoSettings::default();
        bench.send((0..100).map(|number| (number, localhost(family))), &settings);
        bench.hear(|bench| bench.stamps_and_replies(100));
    });
}

/// The program of the filter on whole packets: a datagram socket of any family runs it on what is sent to it.
#[test]
fn the_filter_finds_identifier_and_mark_behind_any_ip_header() {
    let passes = |family, packet: &[u8]| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let ours = Socket::from(ours);
        ours.attach_filter(&filter::echo_replies(family, IDENTITY)).unwrap();
        theirs.send(packet).unwrap();
        theirs.send(&reply(Family::V6, IDENTITY)).unwrap();
        drop(theirs);
        ours.set_nonblocking(true).unwrap();
        let ours = UnixDatagram::from(ours);
        let mut bytes = [0; 2000];
        ours.recv(&mut bytes).is_ok_and(|length| bytes[..length] == *packet)
    };
    let strange = |identifier, mark| Identity { identifier, mark };
    for (identity, audible) in [
        (IDENTITY, true),
        (strange(IDENTITY.identifier, 1), true),
        (strange(1, IDENTITY.mark), true),
        (strange(1, 1), false),
        (strange(IDENTITY.identifier.swap_bytes(), IDENTITY.mark.swap_bytes()), false),
    ] {
        let v6 = reply(Family::V6, identity);
        assert_eq!(passes(Family::V6, &v6), audible, "{identity:?}");
        let v4 = reply(Family::V4, identity);
        for words in 5..=15u8 {
            let mut packet = vec![0x99; usize::from(words) * 4];
            packet[0] = 0x40 | words;
            packet.extend(&v4);
            assert_eq!(passes(Family::V4, &packet), audible, "{identity:?} behind {words} words");
            packet[usize::from(words) * 4] = 8;
            assert!(!passes(Family::V4, &packet), "a request");
        }
        let mut request = v6.clone();
        request[0] = 128;
        assert!(!passes(Family::V6, &request), "a request");
        // Too short for the mark, and then for the identifier.
        for length in 0..28 {
            let short = length >= 6 && identity.identifier == IDENTITY.identifier;
            assert_eq!(passes(Family::V6, &v6[..length]), short, "{identity:?}, {length} bytes");
        }
    }
}

fn reply(family: Family, Identity { identifier, mark }: Identity) -> Vec<u8> {
    let echo = Echo { identifier, number: 7, tag: tag(7), mark, payload: 56 };
    let padding = Padding::new(56);
    let mut reply = [&echo.request_head(family, &padding), padding.bytes()].concat();
    reply[0] = if family == Family::V4 { 0 } else { 129 };
    reply
}

#[test]
fn a_key_stands_for_its_number_until_it_is_too_old() {
    let mut keys = Keys::new(1000);
    for number in 0..3000u64 {
        assert_eq!(u64::from(keys.key_for(number * 7)), number);
    }
    assert_eq!(keys.number(2999), Some(2999 * 7));
    assert_eq!(keys.number(3000 - 1024), Some((3000 - 1024) * 7));
    assert_eq!([3000 - 1025, 0, 3000, u32::MAX].map(|key| keys.number(key)), [None; 4]);
    keys.wrap_soon();
    let newest: Vec<u32> = (0..1000).map(|number| keys.key_for(number)).collect();
    assert!(newest.contains(&u32::MAX) && newest.contains(&0));
    assert!(newest.iter().zip(0..).all(|(key, number)| keys.number(*key) == Some(number)));
}

#[test]
fn control_messages_are_read_and_what_is_cut_off_is_not() {
    let mut control: Messages<256> = Messages::EMPTY;
    // First one that nobody asked for, of a length that has to be padded.
    control.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[7, 0, 0, 0, 1]);
    let stamp = [1_700_000_000isize, 123_456_789, 0, 0, 0, 0].map(isize::to_ne_bytes).concat();
    control.push(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &stamp);
    control.push(libc::SOL_IP, libc::IP_TTL, &55i32.to_ne_bytes());
    let (offender, length) = name_of("198.18.0.254:0".parse().unwrap());
    let fixed = [libc::EHOSTUNREACH.to_ne_bytes(), [2, 3, 1, 0], [0, 5, 0, 0], 9u32.to_ne_bytes()].concat();
    control.push(libc::SOL_IP, libc::IP_RECVERR, &[&fixed, &offender[..length]].concat());
    let error = ExtendedError {
        errno: libc::EHOSTUNREACH as u32,
        origin: libc::SO_EE_ORIGIN_ICMP,
        kind: 3,
        code: 1,
        info: u32::from_ne_bytes([0, 5, 0, 0]),
        data: 9,
        offender: Some("198.18.0.254".parse().unwrap()),
    };
    let whole = Said { stamp: Some(1_700_000_000_123_456_789), ttl: Some(55), error: Some(error) };
    let bytes = control.as_bytes();
    assert_eq!(Said::new(bytes), whole);
    let ends = [space(5), space(48), space(4), space(32)];
    for length in 0..bytes.len() {
        let said = Said::new(&bytes[..length]);
        let whole_until = |n: usize| length >= ends[..n].iter().sum::<usize>();
        assert_eq!(said.stamp, whole.stamp.filter(|_| whole_until(2)), "{length} bytes");
        // Padding is no part of what is read.
        assert_eq!(said.ttl, whole.ttl.filter(|_| length + 4 >= ends[..3].iter().sum::<usize>()));
        assert_eq!(said.error, None);
    }
}

/// Found by fuzzing, when the BSDs' byte was read here too: Linux tells hops as a number, and less is cut off.
#[test]
fn hops_of_a_single_byte_are_none() {
    let mut control: Messages<64> = Messages::EMPTY;
    control.push(libc::SOL_IP, libc::IP_TTL, &[2]);
    assert_eq!(Said::new(control.as_bytes()), Said::default());
}

proptest::proptest! {
    #[test]
    fn no_control_messages_panic_or_never_end(bytes: Vec<u8>, length in 0usize..64) {
        Said::new(&bytes);
        address_in(&bytes);
        let announced = [&length.to_ne_bytes(), bytes.as_slice()].concat();
        Said::new(&announced);
    }

    #[test]
    fn a_name_holds_its_address(v4: [u8; 4], v6: [u8; 16], port: u16) {
        for address in [IpAddr::from(v4), IpAddr::from(v6)] {
            let (name, length) = name_of(SocketAddr::new(address, port));
            proptest::prop_assert_eq!(address_in(&name[..length]), Some(address));
        }
    }
}

#[test]
fn datagram_sockets_are_preferred_but_where_they_cannot_do_what_is_wanted() {
    let net = Net::new();
    let whole = EchoSettings { dont_fragment: true, ..EchoSettings::default() };
    let from = |source: Ipv6Addr| EchoSettings { source: Some(source.into()), ..EchoSettings::default() };
    let many: Vec<EchoSettings> = (1..=MOST_BOUND as u128 + 1)
        .flat_map(|n| {
            [from(Ipv6Addr::from_bits(0xfd << 120 | n)), from(Ipv6Addr::from_bits(0xfd << 120 | n))]
        })
        .collect();
    let sockets = |kind, more: &[EchoSettings]| {
        let echoes = [&whole].into_iter().chain(more);
        let wanted = Wanted::of(echoes, IDENTITY, Backlog { echoes: 1, payload: 56 });
        let wanted = Wanted { kind, ..wanted };
        Sockets::open(&wanted).map(|sockets| (sockets.iter().count(), sockets.kinds()))
    };
    let kinds = |kind| sockets(kind, &[]);
    let (datagram, raw) = (Some(SocketKind::Datagram), Some(SocketKind::Raw));
    net.allow_ping_sockets();
    assert_eq!(kinds(None).unwrap(), (4, SocketKinds { v4: datagram, v6: datagram }));
    let link_local = from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let bound = 4 + MOST_BOUND;
    let most = &many[..2 * MOST_BOUND];
    assert_eq!(sockets(None, most).unwrap(), (bound, SocketKinds { v4: datagram, v6: datagram }));
    assert_eq!(sockets(None, &many).unwrap(), (4, SocketKinds { v4: datagram, v6: raw }));
    assert_eq!(sockets(None, &[link_local]).unwrap(), (4, SocketKinds { v4: datagram, v6: raw }));
    assert_eq!(sockets(datagram, &many).unwrap().0, bound, "the last one must do without");
    assert_eq!(kinds(raw).unwrap(), (4, SocketKinds { v4: raw, v6: raw }));
    net.forbid_ping_sockets();
    assert_eq!(kinds(None).unwrap(), (4, SocketKinds { v4: raw, v6: raw }));
    let refused = kinds(datagram).unwrap_err();
    assert!(refused.iter().all(Refused::is_forbidden), "{refused:?}");
    assert_eq!(refused[0].to_string(), "datagram socket: Permission denied (os error 13)");
}

#[test]
fn the_line_for_people_names_kinds_and_families() {
    let (datagram, raw) = (Some(SocketKind::Datagram), Some(SocketKind::Raw));
    let shown = |v4, v6| SocketKinds { v4, v6 }.to_string();
    assert_eq!(shown(raw, raw), "raw, IPv4 IPv6");
    assert_eq!(shown(datagram, raw), "datagram IPv4, raw IPv6");
    assert_eq!(shown(None, datagram), "datagram, IPv6");
}
