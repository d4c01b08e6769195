//! ICMP errors that come among the packets. Each is offered to every socket of its family, as replies are.

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::Report;
use crate::probe::icmp::{Family, Quote, Reason};
use crate::probe::socket::{Origin, Packet};

/// The ICMP error in a packet, where that is about an echo of ours.
pub(in crate::probe::socket) fn error_in(origin: Origin, packet: &Packet<'_>) -> Option<Report> {
    let Origin { family, identity, .. } = origin;
    let message = origin.message_in(packet.bytes).ok()?;
    let ([kind, code, ..], quoted) = message.split_first_chunk::<ERROR_LEN>()?;
    let reason = Reason { family, kind: *kind, code: *code };
    let (to, echo) = match family {
        Family::V4 if matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED | PARAMETER_PROBLEM) => {
            let header = Ipv4HeaderSlice::from_slice(quoted).ok()?;
            (header.destination_addr().into(), quoted.get(header.slice().len()..)?)
        }
        Family::V6 if *kind < FIRST_INFORMATION => {
            let header = Ipv6HeaderSlice::from_slice(quoted).ok()?;
            (header.destination_addr().into(), quoted.get(header.slice().len()..)?)
        }
        Family::V4 | Family::V6 => return None,
    };
    let quote = Quote::new(family, echo).filter(|quote| identity.is_in(quote))?;
    Some(Report::Icmp { reason, from: packet.from, to, quote, at: packet.stamp })
}

/// The header of an ICMP error.
const ERROR_LEN: usize = 8;
/// The errors of ICMP (RFC 792).
const UNREACHABLE: &u8 = &3;
const SOURCE_QUENCH: &u8 = &4;
const TIME_EXCEEDED: &u8 = &11;
const PARAMETER_PROBLEM: &u8 = &12;
/// The errors of ICMPv6 are those below (RFC 4443).
const FIRST_INFORMATION: u8 = 128;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::probe::clock::Wall;
    use crate::probe::icmp::{Echo, Padding};
    use crate::probe::socket::{Identity, SocketKind};

    const IDENTITY: Identity = Identity { identifier: 0x4c4d, mark: 0x6d61_726b };

    /// The request that is quoted.
    fn request(family: Family) -> Vec<u8> {
        let Identity { identifier, mark } = IDENTITY;
        Echo { identifier, number: 7, tag: 8, mark, payload: 56 }
            .request_head(family, &Padding::new(56))
            .to_vec()
    }

    /// From 192.0.2.254 to 192.0.2.1, with four bytes of options: host unreachable, about an echo to 198.51.100.9.
    fn unreachable_v4(kind: u8) -> Vec<u8> {
        let outer = b"\x46\0\0\x78\0\0\0\0\x40\x01\0\0\xc0\x00\x02\xfe\xc0\x00\x02\x01\x01\x01\x01\0";
        let inner = b"\x45\0\0\x54\0\0\0\0\x01\x01\0\0\xc0\x00\x02\x01\xc6\x33\x64\x09";
        [&outer[..], &[kind, 1, 0, 0, 0, 0, 0, 0], inner, &request(Family::V4)].concat()
    }

    /// No route to destination, about an echo to 2001:db8::9.
    fn unreachable_v6(kind: u8) -> Vec<u8> {
        let mut inner = b"\x60\0\0\0\0\x40\x3a\x01".to_vec();
        for address in ["2001:db8::1", "2001:db8::9"] {
            inner.extend(address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        }
        [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &inner, &request(Family::V6)].concat()
    }

    fn told(family: Family, identity: Identity, bytes: &[u8]) -> Option<(Reason, IpAddr, Option<u64>)> {
        let kind = SocketKind::Raw;
        let origin =
            Origin { family, kind, dont_fragment: false, source: None, takes_control: true, identity };
        let from = "192.0.2.254".parse().unwrap();
        let packet = Packet { from, bytes, truncated: false, stamp: Some(Wall(5)), ttl: None };
        match error_in(origin, &packet)? {
            Report::Icmp { reason, from: teller, to, quote, at } => {
                assert_eq!((teller, at), (from, Some(Wall(5))));
                Some((reason, to, quote.secrets.map(|(number, _)| number)))
            }
            Report::Sent { .. } => None,
        }
    }

    #[test]
    fn an_error_is_told_with_what_it_quotes() {
        let reason = Reason { family: Family::V4, kind: 3, code: 1 };
        let to = "198.51.100.9".parse().unwrap();
        assert_eq!(told(Family::V4, IDENTITY, &unreachable_v4(3)), Some((reason, to, Some(7))));
        let reason = Reason { family: Family::V6, kind: 1, code: 0 };
        let to = "2001:db8::9".parse().unwrap();
        assert_eq!(told(Family::V6, IDENTITY, &unreachable_v6(1)), Some((reason, to, Some(7))));
    }

    #[test]
    fn nothing_is_told_of_other_packets_nor_of_echoes_of_others_nor_of_what_is_cut_off() {
        let other = Identity { identifier: 1, mark: 2 };
        for (family, error, other_kinds) in [
            (Family::V4, unreachable_v4(3), [unreachable_v4(0), unreachable_v4(5)]),
            (Family::V6, unreachable_v6(1), [unreachable_v6(129), unreachable_v6(135)]),
        ] {
            assert_eq!(told(family, other, &error), None);
            assert!(other_kinds.iter().all(|packet| told(family, IDENTITY, packet).is_none()));
            let until_its_sequence = error.len() - request(family).len() + 8;
            assert!((0..until_its_sequence).all(|length| told(family, IDENTITY, &error[..length]).is_none()));
        }
    }
}
