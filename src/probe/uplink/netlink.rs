//! Messages of rtnetlink as the kernel lays them out (rtnetlink(7)): questions for routes and links, and what it says of
//! them. Pure: nothing that comes in can make it panic, and whatever is counted in there ends with the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub use super::ways::Way;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is: `RTM_NEWROUTE` and so on.
    pub kind: u16,
    /// That of the question which it answers.
    pub sequence: u32,
    /// What is behind its header.
    pub body: &'a [u8],
}

/// What a message says of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// It is there.
    There {
        /// Its name, of at most [`LINK_NAME_LEN`] bytes as the kernel has it.
        name: String,
        /// Whether it is up and has a carrier.
        works: bool,
    },
    /// It is there no more.
    Gone,
}

/// The messages in what was received.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = number(rest, 0)? as usize;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let sequence = number(rest, 8)?;
        // Less than a header would never come to an end.
        let body = rest.get(HEADER_LEN..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    })
}

impl Message<'_> {
    /// The error that it tells, if it is one that does.
    pub fn error(&self) -> Option<i32> {
        self.body.first_chunk().map(|errno| i32::from_ne_bytes(*errno))
    }

    /// The number of the link that it is about, and what it says of that; `None` where it makes no sense.
    pub fn link(&self) -> Option<(u32, LinkNews)> {
        // struct ifinfomsg: family, type, index, flags, which of them have changed.
        let (index, flags) = (number(self.body, 4)?, number(self.body, 8)?);
        match self.kind {
            libc::RTM_NEWLINK => {
                let mut attributes = attributes(self.body, LINK_LEN);
                let (_, name) = attributes.find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = String::from_utf8_lossy(name.get(..LINK_NAME_LEN).unwrap_or(name)).into_owned();
                let wanted = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
                Some((index, LinkNews::There { name, works: flags & wanted == wanted }))
            }
            libc::RTM_DELLINK => Some((index, LinkNews::Gone)),
            _ => None,
        }
    }

    /// The way that an answer tells of; `None` where it makes no sense.
    pub fn route(&self) -> Option<Way> {
        if self.kind == libc::RTM_NEWROUTE { route(self.body) } else { None }
    }
}

/// A question of this kind, with its flags and number.
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER_LEN + body.len();
    let mut request = Vec::with_capacity(length);
    request.extend_from_slice(&(length as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&[0; 4]);
    request.extend_from_slice(body);
    request
}

/// The body of the question for all links.
pub const ALL_LINKS: [u8; LINK_LEN] = [0; LINK_LEN];

/// The body of the question which way an address is reached, from this source and by the interface of this number where
/// those are chosen.
pub fn route_question(to: SocketAddr, source: Option<IpAddr>, interface: Option<u32>) -> Vec<u8> {
    let (family, bits) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, 32),
        SocketAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let source = source.filter(|source| source.is_ipv4() == to.is_ipv4());
    let source_bits = if source.is_some() { bits } else { 0 };
    let scope = match to {
        SocketAddr::V6(to) => Some(to.scope_id()).filter(|scope| *scope != 0),
        SocketAddr::V4(_) => None,
    };
    // struct rtmsg: family, lengths of destination and source, and what is left to the kernel.
    let mut body = vec![family as u8, bits, source_bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    push(&mut body, libc::RTA_DST, &octets(to.ip()));
    if let Some(source) = source {
        push(&mut body, libc::RTA_SRC, &octets(source));
    }
    if let Some(interface) = interface.or(scope) {
        push(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
    }
    body
}

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
pub const LINK_LEN: usize = 16;
/// struct rtmsg.
const ROUTE_LEN: usize = 12;
/// Of linux/rtnetlink.h; libc does not have it for musl.
const RTA_VIA: u16 = 18;
/// What the kernel allows (IFNAMSIZ), without the zero at its end.
pub const LINK_NAME_LEN: usize = 15;

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
            let mut read = 0;
            for message in messages(&bytes) {
                read += HEADER_LEN + message.body.len();
                message.link();
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
