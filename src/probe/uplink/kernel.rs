//! What the kernel says of routes and links, by rtnetlink (rtnetlink(7)): which way an address is reached, by all its rules
//! and tables; which links have a carrier; and a word whenever any of that has changed. It takes no privilege, and nothing
//! leaves the machine.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::ways::{From, Way};

/// A socket to ask with.
pub(super) struct Asker {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// A socket on which the kernel tells of changes.
pub(super) struct Changes {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

/// The links of this machine, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(HashMap<u32, Link>);

#[derive(Clone, Debug)]
struct Link {
    name: String,
    works: bool,
}

impl Links {
    /// Whether it is up and has a carrier; one that is not known is taken to.
    pub(super) fn works(&self, number: u32) -> bool {
        self.0.get(&number).is_none_or(|link| link.works)
    }

    /// For people.
    pub(super) fn name(&self, number: u32) -> String {
        self.0.get(&number).map_or_else(|| format!("interface {number}"), |link| link.name.clone())
    }

    pub(super) fn set(&mut self, number: u32, name: String, works: bool) {
        self.0.insert(number, Link { name, works });
    }

    /// Takes what a message says of a link, if it does.
    fn learn(&mut self, message: &Message<'_>) {
        // struct ifinfomsg: family, type, index, flags, which of them have changed.
        let (Some(index), Some(flags)) = (number(message.body, 4), number(message.body, 8)) else { return };
        match message.kind {
            libc::RTM_NEWLINK => {
                let name = attributes(message.body, LINK_LEN).find(|(kind, _)| *kind == libc::IFLA_IFNAME);
                let name = name.map(|(_, name)| name.split(|byte| *byte == 0).next().unwrap_or_default());
                let Some(name) = name else { return };
                let wanted = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
                self.set(index, String::from_utf8_lossy(name).into_owned(), flags & wanted == wanted);
            }
            libc::RTM_DELLINK => {
                self.set(index, self.name(index), false);
            }
            _ => {}
        }
    }
}

impl Asker {
    pub(super) fn new() -> io::Result<Self> {
        let socket = open(0)?;
        // The kernel answers within the call that asks: this is for a kernel that does not.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECS))?;
        Ok(Self { socket, sequence: 0, buffer: buffer() })
    }

    /// Which way an address is reached.
    pub(super) fn way(&mut self, to: SocketAddr, from: &From) -> io::Result<Way> {
        if to.ip().is_loopback() {
            return Ok(Way::Own);
        }
        let Some(question) = question(to, from) else { return Ok(Way::Nowhere) };
        let mut way = None;
        self.ask(libc::RTM_GETROUTE, 0, &question, |message| {
            if message.kind == libc::RTM_NEWROUTE {
                way = route(message.body);
            }
        })
        .map(|()| way.unwrap_or(Way::Nowhere))
        .or_else(|error| match error.raw_os_error().map(Errno::from_raw) {
            // Everything that routes can say to a packet.
            Some(
                Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::EACCES
                | Errno::EINVAL
                | Errno::ENODEV
                | Errno::ENETDOWN
                | Errno::EADDRNOTAVAIL
                | Errno::EPERM,
            ) => Ok(Way::Nowhere),
            _ => Err(error),
        })
    }

    /// Learns all links anew.
    pub(super) fn dump_links(&mut self, links: &mut Links) -> io::Result<()> {
        let mut all = Links::default();
        self.ask(libc::RTM_GETLINK, libc::NLM_F_DUMP as u16, &[0; LINK_LEN], |message| all.learn(message))?;
        *links = all;
        Ok(())
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let is_dump = flags & libc::NLM_F_DUMP as u16 != 0;
        let flags = flags | libc::NLM_F_REQUEST as u16;
        let mut request = Vec::with_capacity(HEADER_LEN + body.len());
        request.extend_from_slice(&((HEADER_LEN + body.len()) as u32).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(body);
        sendto(self.socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        loop {
            let length = receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]).filter(|it| it.sequence == self.sequence) {
                match (i32::from(message.kind), message.error()) {
                    (libc::NLMSG_DONE, _) => return Ok(()),
                    (libc::NLMSG_ERROR, Some(0)) => return Ok(()),
                    (libc::NLMSG_ERROR, Some(errno)) => return Err(io::Error::from_raw_os_error(-errno)),
                    _ => each(&message),
                }
                if !is_dump {
                    return Ok(());
                }
            }
        }
    }
}

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV4_RULE
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_ROUTE
            | libc::RTMGRP_IPV6_IFADDR;
        Ok(Self { socket: open(groups as u32)?, buffer: buffer() })
    }

    /// Takes all that waits; false where that is nothing. What it says of links is learnt at once. The error is ENOBUFS
    /// where some of it is gone.
    pub(super) fn take(&mut self, links: &mut Links) -> io::Result<bool> {
        let mut some = false;
        for _ in 0..MOST_MESSAGES {
            let length = match receive_with(&self.socket, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            some = true;
            messages(&self.buffer[..length]).for_each(|message| links.learn(&message));
        }
        Ok(some)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

fn buffer() -> Box<[u8]> {
    vec![0; BUFFER_LEN].into_boxed_slice()
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buffer, MsgFlags::empty())
}

/// Any process may write to such a socket, and only the kernel is heard.
fn receive_with(socket: &OwnedFd, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    loop {
        let mut parts = [io::IoSliceMut::new(buffer)];
        let got = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut parts, None, flags)?;
        let (from, length) = (got.address, got.bytes);
        if from.is_some_and(|from| from.pid() == 0) {
            return Ok(length);
        }
    }
}

/// A message of the kernel.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// The error that it tells, if it is one that does.
    fn error(&self) -> Option<i32> {
        self.body.first_chunk().map(|errno| i32::from_ne_bytes(*errno))
    }
}

/// The messages in what was received.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = number(rest, 0)? as usize;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let sequence = number(rest, 8)?;
        let body = rest.get(HEADER_LEN..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    })
}

/// The attributes behind the first `head` bytes of a message's body, each with its kind.
fn attributes(body: &[u8], head: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(head..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(ATTRIBUTE_HEADER_LEN..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind & ATTRIBUTE_KIND, value))
    })
}

/// The body of the question which way an address is reached; `None` where the interface that it is to be reached by is not
/// there.
fn question(to: SocketAddr, from: &From) -> Option<Vec<u8>> {
    let (family, bits) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, 32),
        SocketAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let source = from.source.filter(|source| source.is_ipv4() == to.is_ipv4());
    let source_bits = if source.is_some() { bits } else { 0 };
    let interface = match (&from.interface, to) {
        (Some(name), _) => Some(if_nametoindex(name.as_str()).ok()?),
        (None, SocketAddr::V6(to)) if to.scope_id() != 0 => Some(to.scope_id()),
        _ => None,
    };
    // struct rtmsg: family, lengths of destination and source, and what is left to the kernel.
    let mut body = vec![family as u8, bits, source_bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    push(&mut body, libc::RTA_DST, &octets(to.ip()));
    if let Some(source) = source {
        push(&mut body, libc::RTA_SRC, &octets(source));
    }
    if let Some(interface) = interface {
        push(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
    }
    Some(body)
}

fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = ATTRIBUTE_HEADER_LEN + value.len();
    body.extend_from_slice(&(length as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len() + aligned(length) - length, 0);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The way that an answer tells of; `None` where it makes no sense.
fn route(body: &[u8]) -> Option<Way> {
    let (family, kind) = (i32::from(*body.first()?), *body.get(7)?);
    if kind == libc::RTN_LOCAL {
        return Some(Way::Own);
    }
    if matches!(kind, libc::RTN_BLACKHOLE | libc::RTN_UNREACHABLE | libc::RTN_PROHIBIT | libc::RTN_THROW) {
        return Some(Way::Nowhere);
    }
    let (mut interface, mut gateway) = (None, None);
    for (kind, value) in attributes(body, ROUTE_LEN) {
        match kind {
            libc::RTA_OIF => interface = number(value, 0),
            libc::RTA_GATEWAY => gateway = address(family, value),
            // A router of the other family: its family, then its address.
            RTA_VIA => {
                let family = value.first_chunk().map(|family| i32::from(u16::from_ne_bytes(*family)));
                gateway = family.and_then(|family| address(family, value.get(2..)?));
            }
            _ => {}
        }
    }
    let interface = interface?;
    Some(match gateway {
        Some(IpAddr::V6(v6)) if v6.is_unicast_link_local() => {
            Way::Gateway { gateway: SocketAddrV6::new(v6, 0, 0, interface).into(), interface }
        }
        Some(gateway) => Way::Gateway { gateway: SocketAddr::new(gateway, 0), interface },
        None => Way::Link { interface },
    })
}

fn address(family: i32, value: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Everything in netlink begins at a multiple of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// struct nlmsghdr: length, kind, flags, sequence, port.
const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The two highest bits are flags.
const ATTRIBUTE_KIND: u16 = 0x3fff;
/// struct ifinfomsg.
const LINK_LEN: usize = 16;
/// struct rtmsg.
const ROUTE_LEN: usize = 12;
/// Of linux/rtnetlink.h; libc does not have it for musl.
const RTA_VIA: u16 = 18;
/// What the kernel fills at once when it is asked for all links.
const BUFFER_LEN: usize = 32 << 10;
const PATIENCE_SECS: i64 = 5;
/// A bound on how many changes are taken in a row.
const MOST_MESSAGES: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the kernel sent them for `198.18.0.1 via 192.0.2.1 dev 7`, `via fe80::1`, and a network of our own.
    fn answer(family: i32, kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family as u8, 32, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0];
        attributes.iter().for_each(|(kind, value)| push(&mut body, *kind, value));
        body
    }

    #[test]
    fn routes_are_read_in_all_their_forms() {
        let oif = 7u32.to_ne_bytes();
        let unicast = libc::RTN_UNICAST;
        let v4 =
            answer(libc::AF_INET, unicast, &[(libc::RTA_OIF, &oif), (libc::RTA_GATEWAY, &[192, 0, 2, 1])]);
        let gateway = "192.0.2.1:0".parse().unwrap();
        assert_eq!(route(&v4), Some(Way::Gateway { gateway, interface: 7 }));

        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let scoped = SocketAddr::from(SocketAddrV6::new(link_local, 0, 0, 7));
        let v6 = [(libc::RTA_GATEWAY, &link_local.octets()[..]), (libc::RTA_OIF, &oif)];
        let wanted = Some(Way::Gateway { gateway: scoped, interface: 7 });
        assert_eq!(route(&answer(libc::AF_INET6, unicast, &v6)), wanted);
        let via = [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &link_local.octets()].concat();
        let v4_via_v6 = [(libc::RTA_VIA, &via[..]), (libc::RTA_OIF, &oif)];
        assert_eq!(route(&answer(libc::AF_INET, unicast, &v4_via_v6)), wanted);

        let near = answer(libc::AF_INET, unicast, &[(libc::RTA_OIF, &oif)]);
        assert_eq!(route(&near), Some(Way::Link { interface: 7 }));
        assert_eq!(route(&answer(libc::AF_INET, libc::RTN_LOCAL, &[])), Some(Way::Own));
        assert_eq!(route(&answer(libc::AF_INET6, libc::RTN_UNREACHABLE, &[])), Some(Way::Nowhere));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_route_and_no_panic() {
        let oif = 7u32.to_ne_bytes();
        let whole = answer(
            libc::AF_INET,
            libc::RTN_UNICAST,
            &[(libc::RTA_GATEWAY, &[192, 0, 2, 1]), (libc::RTA_OIF, &oif)],
        );
        assert!((0..whole.len()).all(|length| route(&whole[..length]).is_none()));
        let mut message = ((HEADER_LEN + whole.len()) as u32).to_ne_bytes().to_vec();
        message.extend_from_slice(&[0; HEADER_LEN - 4]);
        message.extend_from_slice(&whole);
        assert_eq!(messages(&message).count(), 1);
        assert!((0..message.len()).all(|length| messages(&message[..length]).count() == 0));
        assert_eq!(messages(&[0; 64]).count(), 0, "a length of nothing ends it");
        assert_eq!(attributes(&[0; 64], 12).count(), 0);
    }

    proptest! {
        /// Whatever is received, what is read of it lies within it, and it is read to an end.
        #[test]
        fn any_bytes_are_read(bytes in any_messages()) {
            let mut links = Links::default();
            let mut read = 0;
            for message in messages(&bytes) {
                read += HEADER_LEN + message.body.len();
                links.learn(&message);
                message.error();
                route(message.body);
                let told: usize = attributes(message.body, ROUTE_LEN)
                    .map(|(_, value)| ATTRIBUTE_HEADER_LEN + value.len())
                    .sum();
                prop_assert!(told <= message.body.len());
            }
            prop_assert!(read <= bytes.len());
            route(&bytes);
        }
    }

    /// Bytes of any kind, and messages about routes and links of which some bytes are others.
    fn any_messages() -> impl Strategy<Value = Vec<u8>> {
        let attribute = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20));
        let message = (
            prop::sample::select(vec![libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_NEWROUTE]),
            prop::sample::select(vec![ROUTE_LEN, LINK_LEN]),
            prop::collection::vec(attribute, 0..6),
        );
        let whole = prop::collection::vec(message, 0..4).prop_map(|messages| {
            let mut bytes = Vec::new();
            for (kind, head, attributes) in messages {
                let mut body = vec![libc::AF_INET as u8; head];
                attributes.iter().for_each(|(kind, value)| push(&mut body, u16::from(*kind), value));
                bytes.extend_from_slice(&((HEADER_LEN + body.len()) as u32).to_ne_bytes());
                bytes.extend_from_slice(&kind.to_ne_bytes());
                bytes.extend_from_slice(&[0; HEADER_LEN - 6]);
                bytes.extend_from_slice(&body);
            }
            bytes
        });
        let others = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
        let changed = (whole, others).prop_map(|(mut bytes, others)| {
            for (place, byte) in others {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            bytes
        });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..200), changed]
    }
}
