//! ICMP and ICMPv6 as the far end speaks it. It is written anew and shares nothing with the program under test, so that
//! an error there cannot hide behind the same error here.

use std::net::IpAddr;

/// What kind of packet a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The echo reply that the request asks for.
    True,
    /// The ICMP checksum is wrong.
    Checksum,
    /// It comes from another address.
    Source(IpAddr),
    /// One bit is changed in this byte of the payload, and the checksum fits.
    Payload(usize),
    /// Only so many bytes of the payload are there, and the checksum fits.
    Truncated(usize),
    /// The identifier is another.
    Identifier,
    /// The sequence number is the next one's.
    Sequence,
    /// Address, identifier, sequence and length are right, and the payload is a guess: somebody saw other pings.
    Forged,
    /// The same, and the payload is that of the request before: somebody saw that one.
    Replayed,
    /// An ICMP error that quotes the request; from this router, or the usual one.
    Refusal(Refusal, Option<IpAddr>),
}

/// What a router says when a packet does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// ICMP 3/0, ICMPv6 1/0: no route to the network.
    Network,
    /// ICMP 3/1, ICMPv6 1/3: nobody has this address.
    Host,
    /// ICMP 3/13, ICMPv6 1/1: a firewall forbids it.
    Prohibited,
    /// ICMP 11/0, ICMPv6 3/0: the hops are used up.
    Expired,
    /// ICMP 3/3, ICMPv6 1/4: nobody listens there.
    Port,
    /// ICMP 3/4, ICMPv6 2/0: only [`TOO_BIG`] bytes go on.
    TooBig,
    /// ICMP 12/0, ICMPv6 4/0: the first byte makes no sense.
    Parameter,
}

/// The size of [`Refusal::TooBig`].
const TOO_BIG: u32 = 1400;

/// An echo request as it was read from the device.
pub(super) struct EchoRequest {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub traffic_class: u8,
    pub dont_fragment: bool,
    pub identifier: u16,
    pub sequence: u16,
    pub payload: Vec<u8>,
    pub checksum_fits: bool,
    packet: Vec<u8>,
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ECHO_HEADER: usize = 8;

/// RFC 792 asks for the header and the first eight bytes; many routers still quote no more.
const QUOTED_IPV4: usize = IPV4_HEADER + 8;
/// RFC 4443 asks for as much as fits into the smallest link.
const QUOTED_IPV6: usize = 1280 - IPV6_HEADER - ECHO_HEADER;

impl EchoRequest {
    /// Reads an IP packet; `None` where it is anything else than an echo request.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let traffic_class = match packet.first()? >> 4 {
            4 => *packet.get(1)?,
            _ => packet[0] << 4 | *packet.get(1)? >> 4,
        };
        let (source, destination, ttl, header): (IpAddr, IpAddr, u8, usize) = match packet[0] >> 4 {
            4 => {
                let header = usize::from(packet[0] & 15) * 4;
                if *packet.get(9)? != ICMP {
                    return None;
                }
                (bytes::<4>(packet, 12)?.into(), bytes::<4>(packet, 16)?.into(), packet[8], header)
            }
            6 if *packet.get(6)? == ICMPV6 => {
                let [source, destination] = [bytes::<16>(packet, 8)?, bytes::<16>(packet, 24)?];
                (source.into(), destination.into(), packet[7], IPV6_HEADER)
            }
            _ => return None,
        };
        let message = packet.get(header..)?;
        let asks = if source.is_ipv4() { [8, 0] } else { [128, 0] };
        if bytes::<2>(message, 0)? != asks {
            return None;
        }
        Some(Self {
            source,
            destination,
            ttl,
            traffic_class,
            dont_fragment: source.is_ipv4() && packet[6] & 0x40 != 0,
            identifier: u16::from_be_bytes(bytes(message, 4)?),
            sequence: u16::from_be_bytes(bytes(message, 6)?),
            payload: message[ECHO_HEADER..].to_vec(),
            checksum_fits: message_checksum(source, destination, message) == 0,
            packet: packet.to_vec(),
        })
    }

    /// The packet of this form that goes back, where `before` is the payload of the host's previous request.
    pub(super) fn reply(&self, form: Form, before: &[u8]) -> Vec<u8> {
        let mut payload = self.payload.clone();
        let (mut from, mut identifier, mut sequence) = (self.destination, self.identifier, self.sequence);
        match form {
            Form::True | Form::Checksum => {}
            Form::Source(other) => from = other,
            Form::Payload(index) => payload[index] ^= 1,
            Form::Truncated(length) => payload.truncate(length),
            Form::Identifier => identifier ^= 0x5555,
            Form::Sequence => sequence = sequence.wrapping_add(1),
            Form::Forged => payload.iter_mut().zip(0u8..=u8::MAX).for_each(|(byte, guess)| *byte = guess),
            Form::Replayed => payload = before.to_vec(),
            Form::Refusal(refusal, router) => return self.refusal(refusal, router),
        }
        let kind = if self.source.is_ipv4() { [0, 0] } else { [129, 0] };
        let rest = [identifier.to_be_bytes(), sequence.to_be_bytes()].concat();
        let mut packet = message(from, self.source, kind, &rest, &payload);
        if form == Form::Checksum {
            let header = packet.len() - payload.len() - ECHO_HEADER;
            packet[header + 2] ^= 0x10;
        }
        packet
    }

    fn refusal(&self, refusal: Refusal, router: Option<IpAddr>) -> Vec<u8> {
        let (kind, router, quoted) = if self.source.is_ipv4() {
            let kind = match refusal {
                Refusal::Network => [3, 0],
                Refusal::Host => [3, 1],
                Refusal::Prohibited => [3, 13],
                Refusal::Expired => [11, 0],
                Refusal::Port => [3, 3],
                Refusal::TooBig => [3, 4],
                Refusal::Parameter => [12, 0],
            };
            (kind, router.unwrap_or_else(|| super::parse(super::ROUTER_IPV4)), QUOTED_IPV4)
        } else {
            let kind = match refusal {
                Refusal::Network => [1, 0],
                Refusal::Host => [1, 3],
                Refusal::Prohibited => [1, 1],
                Refusal::Expired => [3, 0],
                Refusal::Port => [1, 4],
                Refusal::TooBig => [2, 0],
                Refusal::Parameter => [4, 0],
            };
            (kind, router.unwrap_or_else(|| super::parse(super::ROUTER_IPV6)), QUOTED_IPV6)
        };
        let quoted = &self.packet[..self.packet.len().min(quoted)];
        // Both have the size in their last bytes, and the place of what makes no sense is 0.
        let rest = if refusal == Refusal::TooBig { TOO_BIG.to_be_bytes() } else { [0; 4] };
        message(router, self.source, kind, &rest, quoted)
    }
}

/// The Internet checksum (RFC 1071) of `data`, ready to be stored; 0 when `data` holds its own checksum and it fits.
pub fn checksum(data: &[u8]) -> u16 {
    let words =
        data.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An IP packet with an ICMP message of this type and code.
fn message(from: IpAddr, to: IpAddr, kind: [u8; 2], rest: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut message = [&kind, &[0, 0], rest, payload].concat();
    let sum = message_checksum(from, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ip_header(from, to, message.len());
    packet.append(&mut message);
    packet
}

/// ICMPv6 sums a pseudo header too (RFC 8200, section 8.1), ICMP does not.
fn message_checksum(from: IpAddr, to: IpAddr, message: &[u8]) -> u16 {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { return checksum(message) };
    let length = (message.len() as u32).to_be_bytes();
    checksum(&[&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat())
}

fn ip_header(from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    const TTL: u8 = 64;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] =
                u16::try_from(IPV4_HEADER + length).expect("a packet fits 16 bits").to_be_bytes();
            let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, TTL, ICMP, 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = u16::try_from(length).expect("a packet fits 16 bits").to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, high, low, ICMPV6, TTL];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => panic!("{from} cannot send to {to}: one is IPv4, the other IPv6"),
    }
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}
