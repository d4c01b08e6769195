//! The test network itself, judged by others: fping (Debian: fping), the kernel, and sockets of this file's own.

mod support {
    pub(crate) mod net;
}

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};
use support::net::{
    All, At, Every, Form, Net, ROUTER_IPV4, ROUTER_IPV6, Refusal, Share, What, answer, checksum, ms, refuse,
    silence,
};

#[test]
fn fping_sees_the_delay() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)));
    net.host("fd00::1", answer().delay(ms(25)));
    for (address, delay) in [("198.18.0.1", 10.0), ("fd00::1", 25.0)] {
        let times = fping(&net, address, 20, &[]);
        let answered: Vec<f64> = times.iter().flatten().copied().collect();
        assert_eq!(answered.len(), 20, "{address}: {times:?}");
        // A busy machine adds to some of them, and can add to all, but takes nothing away.
        let shortest = answered.iter().copied().fold(f64::INFINITY, f64::min);
        assert!((delay..delay + 5.0).contains(&shortest), "{address}: {times:?}");
        // What the log says about each single reply is what fping measured, but for the way through the kernel. fping
        // prints three digits.
        for (request, time) in net.requests(address).iter().zip(&answered) {
            let delay = request.delay().expect("answered").as_secs_f64() * 1e3;
            assert!(*time > delay - 0.1, "{address}: {time} ms measured, {delay} ms given");
        }
    }
}

#[test]
fn fping_sees_loss_where_it_was_set() {
    let net = Net::new();
    net.host("198.18.0.1", answer().lose(Every(5)));
    net.host("198.18.0.2", answer().lose(At(vec![0, 3, 4])));
    net.host("198.18.0.3", silence());
    let lost = |address, count| {
        let times = fping(&net, address, count, &[]);
        let lost = times.iter().zip(0..).filter(|(time, _)| time.is_none()).map(|(_, index)| index);
        lost.collect::<Vec<u32>>()
    };
    assert_eq!(lost("198.18.0.1", 20), [4, 9, 14, 19]);
    assert_eq!(lost("198.18.0.2", 10), [0, 3, 4]);
    assert_eq!(lost("198.18.0.3", 3), [0, 1, 2]);
    assert_eq!(lost("198.18.0.4", 3), [0, 1, 2]);
    let decided = |address| net.requests(address).iter().map(|entry| entry.what).collect::<Vec<_>>();
    assert_eq!(decided("198.18.0.2")[2..5], [What::Answered, What::Lost, What::Lost]);
    assert_eq!(decided("198.18.0.3"), [What::Silent; 3]);
    assert_eq!(decided("198.18.0.4"), [What::Nobody; 3]);
}

#[test]
fn fping_sees_a_change_of_behaviour() {
    let net = Net::new();
    net.host("fd00::1", answer().after(3, silence().after(2, answer().delay(ms(15)))));
    let times = fping(&net, "fd00::1", 8, &[]);
    let answered: Vec<bool> = times.iter().map(Option::is_some).collect();
    assert_eq!(answered, [true, true, true, false, false, true, true, true], "{times:?}");
    assert!(times[5..].iter().flatten().all(|time| *time >= 15.0), "{times:?}");
    net.host("fd00::1", silence());
    assert_eq!(fping(&net, "fd00::1", 2, &[]), [None; 2], "a new behaviour holds at once");
}

#[test]
fn fping_names_the_router_that_refused() {
    let net = Net::new();
    net.host("198.18.0.1", refuse(Refusal::Host).delay(ms(2)));
    net.host("198.18.0.2", answer().behind(&["198.18.255.1", "198.18.255.2"]));
    let said = |arguments: &[&str]| {
        let output = net.command("fping").args(arguments).output().expect(INSTALL_FPING);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unreachable = said(&["-C", "1", "198.18.0.1"]);
    assert!(unreachable.contains("ICMP Host Unreachable from 198.18.255.254"), "{unreachable}");
    let second_hop = said(&["-C", "1", "-H", "2", "198.18.0.2"]);
    assert!(second_hop.contains("ICMP Time Exceeded from 198.18.255.2"), "{second_hop}");
    assert!(fping(&net, "198.18.0.2", 1, &["-H", "3"])[0].is_some(), "the third hop is the host");
}

#[test]
fn delays_are_kept_and_jitter_stays_in_its_bounds() {
    let net = Net::new();
    net.spin(true);
    net.host("198.18.0.1", answer().delay(ms(5)));
    net.host("198.18.0.2", answer().delay(ms(5)).jitter(ms(2)));
    net.host("198.18.0.3", answer().delay(ms(5)).jitter(ms(2)));
    let sent = |address| {
        let pinger = Pinger::new(address);
        for sequence in 0..50 {
            pinger.ask(sequence, &[0; 16]);
            assert!(pinger.hear().is_some());
        }
        net.requests(address).into_iter().map(|entry| entry.replies[0].clone())
    };
    let errors: Vec<f64> = sent("198.18.0.1")
        .map(|reply| {
            assert_eq!(reply.due, ms(5));
            (reply.sent.expect("sent") - reply.due).as_secs_f64() * 1e3
        })
        .collect();
    // How many of them are late depends on who else wants the processor; with spinning none is by itself.
    assert!(errors.iter().any(|error| *error < 0.5), "late by (ms): {errors:?}");
    let jittered: Vec<Duration> = sent("198.18.0.2").map(|reply| reply.due).collect();
    assert!(jittered.iter().all(|due| (ms(3)..=ms(7)).contains(due)), "{jittered:?}");
    assert!(jittered.iter().any(|due| *due < ms(4)) && jittered.iter().any(|due| *due > ms(6)));
    let again: Vec<Duration> = sent("198.18.0.3").map(|reply| reply.due).collect();
    assert_eq!(jittered, again, "chance takes the same course in every run");
}

#[test]
fn a_share_is_lost_by_chance_but_the_same_each_time() {
    let net = Net::new();
    let lost = |seed| {
        net.host("198.18.0.1", answer().seed(seed).lose(Share(0.3)));
        let pinger = Pinger::new("198.18.0.1");
        let before = net.log().len();
        (0..400).for_each(|sequence| pinger.ask(sequence, &[]));
        let log = net.wait_for("198.18.0.1", before + 400, LONG);
        log[before..].iter().map(|entry| entry.what == What::Lost).collect::<Vec<_>>()
    };
    let (first, second, other) = (lost(1), lost(1), lost(2));
    assert_eq!(first, second);
    assert_ne!(first, other);
    // 400 x 0.3 = 120, and the standard deviation is 9.2: five of them to either side.
    let count = first.iter().filter(|lost| **lost).count();
    assert!((74..=166).contains(&count), "{count} of 400 lost");
}

#[test]
fn late_replies_duplicates_and_swapped_ones_arrive_as_told() {
    let net = Net::new();
    net.host("198.18.0.1", answer().late(At(vec![0]), ms(800)));
    net.host("198.18.0.2", answer().delay(ms(1)).duplicate(At(vec![1])));
    net.host("fd00::3", answer().delay(ms(1)).swap_pairs());
    let order = |address, count: u16, replies| {
        let pinger = Pinger::new(address);
        (0..count).for_each(|sequence| pinger.ask(sequence, b"abc"));
        let seen: Vec<u16> = (0..replies).map(|_| pinger.hear().expect("a reply").sequence).collect();
        assert!(pinger.hears_nothing(), "{address}: more replies than {seen:?}");
        seen
    };
    assert_eq!(order("198.18.0.1", 2, 2), [1, 0]);
    assert_eq!(order("198.18.0.2", 3, 4), [0, 1, 1, 2]);
    assert_eq!(order("fd00::3", 4, 4), [1, 0, 3, 2]);
    let late = &net.requests("198.18.0.1")[0];
    assert_eq!(late.what, What::Late);
    assert!(late.delay().expect("sent") >= ms(800));
}

#[test]
fn each_spoiled_reply_is_spoiled_in_just_one_way() {
    let net = Net::new();
    for (host, other) in [("198.18.0.1", "198.18.0.99"), ("fd00::1", "fd00::99")] {
        let other: IpAddr = other.parse().expect("an address");
        let heard = |form| {
            net.host(host, answer().spoil(At(vec![1]), form));
            let pinger = Pinger::new(host);
            pinger.ask(70, b"the one before..");
            let honest = pinger.hear().expect("an honest reply");
            assert_eq!((&honest.payload[..], honest.sum_fits), (&b"the one before.."[..], true));
            pinger.ask(71, b"what was asked..");
            let reply = pinger.hear();
            assert_eq!(net.log().last().map(|entry| entry.what), Some(What::Spoiled));
            reply
        };
        let address: IpAddr = host.parse().expect("an address");
        let asked = &b"what was asked.."[..];
        let kind = if address.is_ipv4() { [0, 0] } else { [129, 0] };
        let told = |reply: Option<Heard>| {
            let reply = reply.expect("a reply");
            assert_eq!(reply.kind, kind);
            (reply.source, reply.identifier, reply.sequence, reply.payload, reply.sum_fits)
        };
        let mut changed = asked.to_vec();
        changed[8] ^= 1;
        let guess: Vec<u8> = (0..16).collect();

        assert_eq!(told(heard(Form::Source(other))), (other, IDENTIFIER, 71, asked.to_vec(), true));
        assert_eq!(told(heard(Form::Payload(8))), (address, IDENTIFIER, 71, changed, true));
        assert_eq!(told(heard(Form::Truncated(8))), (address, IDENTIFIER, 71, asked[..8].to_vec(), true));
        assert_eq!(told(heard(Form::Sequence)), (address, IDENTIFIER, 72, asked.to_vec(), true));
        assert_eq!(told(heard(Form::Forged)), (address, IDENTIFIER, 71, guess, true));
        let replayed = b"the one before..".to_vec();
        assert_eq!(told(heard(Form::Replayed)), (address, IDENTIFIER, 71, replayed, true));
        assert_ne!(told(heard(Form::Identifier)).1, IDENTIFIER);
        // The kernel verifies ICMPv6 before any socket sees it; raw IPv4 sockets get what came.
        if address.is_ipv4() {
            assert_eq!(told(heard(Form::Checksum)), (address, IDENTIFIER, 71, asked.to_vec(), false));
        } else {
            net.host(host, answer().spoil(At(vec![0]), Form::Checksum));
            let pinger = Pinger::new(host);
            pinger.ask(71, asked);
            pinger.ask(72, asked);
            assert_eq!(pinger.hear().map(|reply| reply.sequence), Some(72));
        }
    }
}

#[test]
fn packets_are_injected_besides_the_honest_reply() {
    let net = Net::new();
    net.host("fd00::1", answer().delay(ms(4)).inject(All, Form::Forged, ms(1)));
    let pinger = Pinger::new("fd00::1");
    pinger.ask(1, b"secret");
    let payloads = [pinger.hear(), pinger.hear()].map(|reply| reply.expect("a reply").payload);
    assert_eq!(payloads, [vec![0, 1, 2, 3, 4, 5], b"secret".to_vec()]);
    assert!(pinger.hears_nothing());
}

#[test]
fn routers_quote_the_request() {
    let net = Net::new();
    let refusals = [
        ("198.18.0.1", Refusal::Network, [3, 0]),
        ("198.18.0.1", Refusal::Host, [3, 1]),
        ("198.18.0.1", Refusal::Prohibited, [3, 13]),
        ("198.18.0.1", Refusal::Expired, [11, 0]),
        ("198.18.0.1", Refusal::Port, [3, 3]),
        ("198.18.0.1", Refusal::TooBig, [3, 4]),
        ("198.18.0.1", Refusal::Parameter, [12, 0]),
        ("fd00::1", Refusal::Network, [1, 0]),
        ("fd00::1", Refusal::Host, [1, 3]),
        ("fd00::1", Refusal::Prohibited, [1, 1]),
        ("fd00::1", Refusal::Expired, [3, 0]),
        ("fd00::1", Refusal::Port, [1, 4]),
        ("fd00::1", Refusal::TooBig, [2, 0]),
        ("fd00::1", Refusal::Parameter, [4, 0]),
    ];
    for (host, refusal, kind) in refusals {
        net.host(host, refuse(refusal));
        let pinger = Pinger::new(host);
        pinger.ask(9, b"payload");
        let error = pinger.hear().expect("an error");
        let (router, quoted_header) = if host.contains(':') { (ROUTER_IPV6, 40) } else { (ROUTER_IPV4, 20) };
        assert_eq!((error.source.to_string().as_str(), error.kind), (router, kind));
        assert!(error.sum_fits, "{host} {refusal:?}");
        let quoted = &error.payload[quoted_header..];
        assert_eq!(quoted[4..8], [IDENTIFIER.to_be_bytes(), [0, 9]].concat(), "{host} {refusal:?}");
        assert_eq!(net.log().last().map(|entry| entry.what), Some(What::Refused));
    }
}

#[test]
fn the_log_tells_who_asked_whom_what_and_when() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let before = (Instant::now(), SystemTime::now());
    Pinger::new("198.18.0.1").ask(513, b"hello");
    net.wait_for("198.18.0.1", 1, LONG);
    Pinger::new("fd00::1").ask(514, b"there");
    net.wait_for("fd00::1", 1, LONG);
    let log = net.log();
    let [first, second] = &log[..] else { panic!("two requests, not {log:?}") };
    assert_eq!(
        [first.source, first.destination, second.source, second.destination].map(|ip| ip.to_string()),
        [support::net::OWN_IPV4, "198.18.0.1", support::net::OWN_IPV6, "fd00::1"]
    );
    assert_eq!((first.identifier, first.sequence, &first.payload[..]), (IDENTIFIER, 513, &b"hello"[..]));
    assert_eq!((first.what, second.what, second.replies.len()), (What::Answered, What::Nobody, 0));
    assert!(before.0 <= first.at && first.at <= second.at && second.at <= Instant::now());
    assert!(before.1 <= first.wall && first.wall <= second.wall && second.wall <= SystemTime::now());
}

#[test]
fn a_request_with_a_wrong_checksum_is_not_answered() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let pinger = Pinger::new("198.18.0.1");
    pinger.socket.send_to(&[8, 0, 1, 1, 0, 0, 0, 0], ("198.18.0.1", 0)).expect("sent");
    pinger.ask(1, b"");
    assert_eq!(pinger.hear().map(|reply| reply.sequence), Some(1));
    let decided: Vec<What> = net.log().iter().map(|entry| entry.what).collect();
    assert_eq!(decided, [What::Malformed, What::Answered]);
}

#[test]
#[should_panic(expected = "198.18.0.7 was to be asked 2 times within 50ms, it was 1 times")]
fn waiting_in_vain_says_so() {
    let net = Net::new();
    Pinger::new("198.18.0.7").ask(1, b"");
    net.wait_for("198.18.0.7", 1, LONG);
    net.wait_for("198.18.0.7", 2, ms(50));
}

#[test]
fn sending_fails_while_the_route_is_cut() {
    let net = Net::new();
    for host in ["198.18.0.1", "fd00::1"] {
        net.host(host, answer());
    }
    for host in ["198.18.0.1", "fd00::1"] {
        let pinger = Pinger::new(host);
        net.cut();
        let error = pinger.try_ask(1, b"").expect_err("there is no route");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{host}: {error}");
        net.mend();
        pinger.ask(2, b"");
        assert_eq!(pinger.hear().map(|reply| reply.sequence), Some(2));
    }
}

#[test]
fn the_kinds_of_sockets_can_be_chosen() {
    let open = |domain, kind| {
        let protocol = if domain == Domain::IPV4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        Socket::new(domain, kind, Some(protocol)).map(|_| ()).map_err(|error| error.kind())
    };
    let capabilities = |net: &Net| {
        let output = net.command("cat").arg("/proc/self/status").output().expect("cat runs");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line of it");
        u64::from_str_radix(line.trim(), 16).expect("a number")
    };
    let denied = Err(ErrorKind::PermissionDenied);
    let mut net = Net::new();
    for domain in [Domain::IPV4, Domain::IPV6] {
        net.forbid_ping_sockets();
        assert_eq!((open(domain, Type::DGRAM), open(domain, Type::RAW)), (denied, Ok(())));
        net.allow_ping_sockets();
        assert_eq!((open(domain, Type::DGRAM), open(domain, Type::RAW)), (Ok(()), Ok(())));
    }
    assert_ne!(capabilities(&net), 0);
    net.forbid_raw_sockets();
    for domain in [Domain::IPV4, Domain::IPV6] {
        assert_eq!((open(domain, Type::DGRAM), open(domain, Type::RAW)), (Ok(()), denied));
    }
    assert_eq!(capabilities(&net), 0, "of programs started here");
    let inherited = std::thread::spawn(move || open(Domain::IPV4, Type::RAW)).join().expect("no panic");
    assert_eq!(inherited, denied, "in threads started here");
    net.cut();
    net.mend();
    drop(net);
    assert_eq!(open(Domain::IPV4, Type::RAW), Ok(()), "dropping the network gives the right back");
}

#[test]
fn local_servers_work_and_networks_do_not_see_each_other() {
    let home = namespace();
    let net = Net::new();
    assert_ne!(namespace(), home);
    net.host("198.18.0.1", answer().delay(ms(30)));
    let server = TcpListener::bind("127.0.0.1:2525").expect("lo is up");
    std::thread::scope(|scope| {
        let here = scope.spawn(|| {
            let mut client = TcpStream::connect("127.0.0.1:2525").expect("threads share the namespace");
            client.write_all(b"EHLO").expect("connected");
        });
        let (mut connection, _) = server.accept().expect("a client");
        let mut said = String::new();
        connection.read_to_string(&mut said).expect("text");
        assert_eq!(said, "EHLO");
        here.join().expect("no panic");
        scope.spawn(|| {
            let other = Net::new();
            assert!(TcpStream::connect("127.0.0.1:2525").is_err(), "another network has its own loopback");
            assert_eq!(fping(&other, "198.18.0.1", 2, &[]), [None; 2]);
            assert_eq!(other.log().len(), 2);
        });
    });
    assert!(net.log().is_empty());
    assert!(fping(&net, "198.18.0.1", 1, &[])[0].is_some_and(|time| time >= 30.0));
    drop(net);
    assert_eq!(namespace(), home, "the thread is back");
}

#[test]
fn dropping_does_not_wait_for_replies_on_their_way() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(60_000)).inject(All, Form::Forged, ms(0)));
    let pinger = Pinger::new("198.18.0.1");
    pinger.ask(1, b"");
    assert!(pinger.hear().is_some(), "the request was read, and its reply waits");
    let start = Instant::now();
    drop(net);
    assert!(start.elapsed() < ms(30_000), "{:?}", start.elapsed());
}

/// The worked example of RFC 1071, section 3.
#[test]
fn checksums_are_those_of_the_rfc() {
    let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&data), !0xddf2);
    assert_eq!(checksum(&[&data[..], &(!0xddf2u16).to_be_bytes()].concat()), 0);
    assert_eq!(checksum(&data[..7]), !0xdcfb, "the last byte of an odd number stands for 0xf600");
}

/// The round trips in milliseconds that fping reports for `count` pings 20 ms apart, `None` where it saw no reply.
fn fping(net: &Net, address: &str, count: u16, more: &[&str]) -> Vec<Option<f64>> {
    let count = count.to_string();
    let output = net
        .command("fping")
        .args(["-q", "-C", &count, "-p", "20", "-i", "1", "-t", "1500"])
        .args(more)
        .arg(address)
        .output()
        .expect(INSTALL_FPING);
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.starts_with(address));
    let (_, times) =
        line.and_then(|line| line.split_once(" : ")).unwrap_or_else(|| panic!("fping: {report}"));
    times.split_whitespace().map(|time| time.parse().ok()).collect()
}

/// Which network namespace the calling thread is in.
fn namespace() -> PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").expect("/proc is mounted")
}

/// A raw socket that shows what is on the wire. It sends and receives datagrams, which is all that `UdpSocket` asks for.
struct Pinger {
    socket: UdpSocket,
    to: IpAddr,
}

/// An ICMP message; `identifier` and `sequence` mean something for echoes only.
#[derive(Debug)]
struct Heard {
    source: IpAddr,
    kind: [u8; 2],
    identifier: u16,
    sequence: u16,
    payload: Vec<u8>,
    /// For ICMPv6 the kernel has verified it.
    sum_fits: bool,
}

impl Pinger {
    fn new(to: &str) -> Self {
        let to: IpAddr = to.parse().expect("an address");
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).expect("root may open raw sockets");
        Self { socket: socket.into(), to }
    }

    fn ask(&self, sequence: u16, payload: &[u8]) {
        self.try_ask(sequence, payload).expect("sent");
    }

    fn try_ask(&self, sequence: u16, payload: &[u8]) -> std::io::Result<()> {
        let kind = if self.to.is_ipv4() { 8 } else { 128 };
        let header = [[kind, 0], [0, 0], IDENTIFIER.to_be_bytes(), sequence.to_be_bytes()].concat();
        let mut message = [&header, payload].concat();
        if self.to.is_ipv4() {
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.socket.send_to(&message, (self.to, 0)).map(|_| ())
    }

    /// The next message; `None` when none comes for long.
    fn hear(&self) -> Option<Heard> {
        self.hear_within(LONG)
    }

    fn hears_nothing(&self) -> bool {
        self.hear_within(ms(50)).is_none()
    }

    fn hear_within(&self, limit: Duration) -> Option<Heard> {
        self.socket.set_read_timeout(Some(limit)).expect("a timeout");
        let mut buffer = [0xa5; 2048];
        let (length, source) = match self.socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("receiving: {error}"),
        };
        let message = if self.to.is_ipv4() { &buffer[20..length] } else { &buffer[..length] };
        Some(Heard {
            source: source.ip(),
            kind: [message[0], message[1]],
            identifier: u16::from_be_bytes([message[4], message[5]]),
            sequence: u16::from_be_bytes([message[6], message[7]]),
            payload: message[8..].to_vec(),
            sum_fits: self.to.is_ipv6() || checksum(message) == 0,
        })
    }
}

/// Longer than any machine takes for what surely comes.
const LONG: Duration = ms(60_000);
const IDENTIFIER: u16 = 0x1234;
const INSTALL_FPING: &str = "these tests need fping: apt-get install fping";
