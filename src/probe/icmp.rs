//! ICMP on the wire: our echoes, and the errors that quote them (RFC 792, RFC 4443). Pure: bytes in, values out, and no
//! byte from outside can make it panic.
//!
//! An echo of ours has the 64 bytes that `ping` and SmokePing send by default, so that round trips compare:
//!
//! ```text
//!  0      1      2         4            6          8           16        24               64
//!  +------+------+---------+------------+----------+-----------+---------+----------------+
//!  | type | code | checksum | identifier | sequence | number    | tag     | 24, 25, .. 63  |
//!  +------+------+---------+------------+----------+-----------+---------+----------------+
//! ```
//! The number says which ping it is, beyond the 16 bits of the sequence, which are its lowest. The tag is a keyed hash of
//! number and destination: who has not seen the request cannot make its reply.

use std::fmt;
use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};
use siphasher::sip::SipHasher24;

/// The length of our echoes, without the IP header.
pub const ECHO_LEN: usize = 64;

/// The two families of addresses, each with an ICMP of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and ICMP.
    V4,
    /// IPv6 and ICMPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Why bytes are not the message they should be; names the section that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The IPv4 header in front is short, of another version, or of another protocol.
    #[error("the IPv4 header is damaged")]
    Ipv4Header,
    /// Too short for an ICMP header.
    #[error("{found} bytes are no ICMP message")]
    Header {
        /// How many there are.
        found: usize,
    },
    /// An echo of another length than ours.
    #[error("an echo of {found} bytes, not of {ECHO_LEN}")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// The bytes after the tag were changed on the way.
    #[error("the payload is damaged")]
    Payload,
    /// The sequence is not the number's.
    #[error("sequence {found} on an echo sent with {wanted}")]
    Sequence {
        /// The sequence in the header.
        found: u16,
        /// The lowest bits of the number in the payload.
        wanted: u16,
    },
    /// An ICMP error that does not quote an echo request.
    #[error("the error quotes no echo request")]
    Quote,
}

/// The ICMP message behind the IPv4 header that a RAW socket delivers with it, options and all.
pub fn after_ipv4_header(packet: &[u8]) -> Result<&[u8], Malformed> {
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| Malformed::Ipv4Header)?;
    if header.protocol() != IpNumber::ICMP || header.is_fragmenting_payload() {
        return Err(Malformed::Ipv4Header);
    }
    let end = usize::from(header.total_len()).min(packet.len());
    packet.get(header.slice().len()..end).ok_or(Malformed::Ipv4Header)
}

/// What kind of message it is, as far as a prober cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asks.
    EchoRequest,
    /// Somebody answers.
    EchoReply,
    /// A packet did not arrive, and this tells why and quotes it.
    Error,
    /// Anything else, of this type.
    Other(u8),
}

/// A view of an ICMP message whose header is known to be there: no accessor can panic.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Views `bytes`, which must hold the 8 bytes of a header.
    pub fn new(family: Family, bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < field::NUMBER {
            return Err(Malformed::Header { found: bytes.len() });
        }
        Ok(Self { family, bytes })
    }

    /// What kind of message it is; an echo has code 0.
    pub fn kind(&self) -> Kind {
        match (self.family, self.bytes[field::TYPE], self.bytes[field::CODE]) {
            (Family::V4, icmpv4::ECHO_REPLY, 0) | (Family::V6, icmpv6::ECHO_REPLY, 0) => Kind::EchoReply,
            (Family::V4, icmpv4::ECHO_REQUEST, 0) | (Family::V6, icmpv6::ECHO_REQUEST, 0) => {
                Kind::EchoRequest
            }
            (Family::V4, kind, _) if icmpv4::ERRORS.contains(&kind) => Kind::Error,
            (Family::V6, kind, _) if icmpv6::ERRORS.contains(&kind) => Kind::Error,
            (_, kind, _) => Kind::Other(kind),
        }
    }

    /// The identifier of an echo.
    pub fn identifier(&self) -> u16 {
        u16_at(self.bytes, field::IDENTIFIER)
    }

    /// The sequence of an echo.
    pub fn sequence(&self) -> u16 {
        u16_at(self.bytes, field::SEQUENCE)
    }

    /// True when the checksum of an ICMPv4 message is right. That of ICMPv6 covers addresses that are not here; the
    /// kernel checks it on every kind of socket, as it does ICMPv4's on datagram sockets.
    pub fn checksum_is_right(&self) -> bool {
        self.family == Family::V6 || Sum16BitWords::new().add_slice(self.bytes).ones_complement() == 0
    }

    /// What an echo of ours says.
    pub fn echo(&self) -> Result<Echo, Malformed> {
        let bytes: &[u8; ECHO_LEN] =
            self.bytes.try_into().map_err(|_| Malformed::Length { found: self.bytes.len() })?;
        if bytes[field::PADDING..] != PADDING {
            return Err(Malformed::Payload);
        }
        let (number, tag) = secrets_at(bytes).ok_or(Malformed::Payload)?;
        let echo = Echo { identifier: self.identifier(), number, tag };
        if self.sequence() != echo.sequence() {
            return Err(Malformed::Sequence { found: self.sequence(), wanted: echo.sequence() });
        }
        Ok(echo)
    }

    /// What an error says of an echo request, whosever that was.
    pub fn error(&self) -> Result<Error, Malformed> {
        let quoted = &self.bytes[field::QUOTED..];
        let (to, echo) = match self.family {
            Family::V4 => {
                let header = Ipv4HeaderSlice::from_slice(quoted).map_err(|_| Malformed::Quote)?;
                let ours = header.protocol() == IpNumber::ICMP;
                let to = IpAddr::V4(header.destination_addr());
                (to, quoted.get(header.slice().len()..).filter(|_| ours))
            }
            Family::V6 => {
                let header = Ipv6HeaderSlice::from_slice(quoted).map_err(|_| Malformed::Quote)?;
                let ours = header.next_header() == IpNumber::IPV6_ICMP;
                let to = IpAddr::V6(header.destination_addr());
                (to, quoted.get(header.slice().len()..).filter(|_| ours))
            }
        };
        let echo = Message::new(self.family, echo.ok_or(Malformed::Quote)?).map_err(|_| Malformed::Quote)?;
        if echo.kind() != Kind::EchoRequest {
            return Err(Malformed::Quote);
        }
        Ok(Error {
            reason: Reason {
                family: self.family,
                kind: self.bytes[field::TYPE],
                code: self.bytes[field::CODE],
            },
            to,
            identifier: echo.identifier(),
            sequence: echo.sequence(),
            secrets: secrets_at(echo.bytes),
        })
    }
}

/// What an echo of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Which socket it belongs to.
    pub identifier: u16,
    /// Which ping it is.
    pub number: u64,
    /// Proof that it is ours, see [`Secret::tag`].
    pub tag: u64,
}

impl Echo {
    /// The sequence in its header.
    pub fn sequence(&self) -> u16 {
        self.number as u16
    }

    /// Writes the request. The checksum of an ICMPv6 message is left to the kernel, which knows the addresses.
    pub fn emit_request(&self, family: Family, buffer: &mut [u8; ECHO_LEN]) {
        buffer[field::TYPE] = match family {
            Family::V4 => icmpv4::ECHO_REQUEST,
            Family::V6 => icmpv6::ECHO_REQUEST,
        };
        buffer[field::CODE] = 0;
        buffer[field::CHECKSUM..field::IDENTIFIER].fill(0);
        buffer[field::IDENTIFIER..field::SEQUENCE].copy_from_slice(&self.identifier.to_be_bytes());
        buffer[field::SEQUENCE..field::NUMBER].copy_from_slice(&self.sequence().to_be_bytes());
        buffer[field::NUMBER..field::TAG].copy_from_slice(&self.number.to_be_bytes());
        buffer[field::TAG..field::PADDING].copy_from_slice(&self.tag.to_be_bytes());
        buffer[field::PADDING..].copy_from_slice(&PADDING);
        if family == Family::V4 {
            // The sum is made of words as they lie in memory, so it goes back the same way.
            let checksum = Sum16BitWords::new().add_slice(buffer.as_slice()).ones_complement();
            buffer[field::CHECKSUM..field::IDENTIFIER].copy_from_slice(&checksum.to_ne_bytes());
        }
    }
}

/// An ICMP error about an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it says.
    pub reason: Reason,
    /// Where the request was to go.
    pub to: IpAddr,
    /// The request's identifier.
    pub identifier: u16,
    /// The request's sequence.
    pub sequence: u16,
    /// Number and tag of the request, where the error quotes so much of it; a router need not.
    pub secrets: Option<(u64, u64)>,
}

/// Type and code of an ICMP error, kept as numbers: unknown ones are not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which ICMP.
    pub family: Family,
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.family, self.kind, self.code) {
            (Family::V4, 3, 0) => "network unreachable",
            (Family::V4, 3, 1) | (Family::V6, 1, 3) => "host unreachable",
            (Family::V4, 3, 2) => "protocol unreachable",
            (Family::V4, 3, 4) | (Family::V6, 2, _) => "packet too big",
            (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1) => "administratively prohibited",
            (Family::V6, 1, 0) => "no route",
            (Family::V6, 1, 5) => "source address failed policy",
            (Family::V6, 1, 6) => "route rejected",
            (Family::V4, 3, code) | (Family::V6, 1, code) => {
                return write!(f, "destination unreachable (code {code})");
            }
            (Family::V4, 11, 0) | (Family::V6, 3, 0) => "time to live exceeded",
            (_, kind, code) => return write!(f, "ICMP error of type {kind}, code {code}"),
        })
    }
}

/// The key behind the tags, random for each process.
#[derive(Clone)]
pub struct Secret(SipHasher24);

impl Secret {
    /// The secret made of `key`.
    pub fn new(key: [u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(&key))
    }

    /// The tag of ping `number` to the address `to`.
    pub fn tag(&self, number: u64, to: IpAddr) -> u64 {
        let to = match to {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&to.octets());
        self.0.hash(&bytes)
    }
}

/// Number and tag of an echo of which so much is there.
fn secrets_at(echo: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = echo.get(field::NUMBER..)?.split_first_chunk()?;
    let (tag, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*tag)))
}

/// The number at `offset`, which must lie in the header that [`Message::new`] has checked.
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([bytes[offset], bytes[offset + 1]])
}

/// The offsets of an ICMP message, each made from the one before.
mod field {
    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = TYPE + 1;
    pub(super) const CHECKSUM: usize = CODE + 1;
    pub(super) const IDENTIFIER: usize = CHECKSUM + 2;
    pub(super) const SEQUENCE: usize = IDENTIFIER + 2;
    pub(super) const NUMBER: usize = SEQUENCE + 2;
    pub(super) const TAG: usize = NUMBER + 8;
    pub(super) const PADDING: usize = TAG + 8;
    /// In an error, what it quotes stands where an echo has its payload.
    pub(super) const QUOTED: usize = NUMBER;
}

/// The types of ICMPv4 that a prober knows.
pub(super) mod icmpv4 {
    pub(in crate::probe) const ECHO_REPLY: u8 = 0;
    pub(in crate::probe) const ECHO_REQUEST: u8 = 8;
    /// Destination unreachable, time exceeded, parameter problem.
    pub(in crate::probe) const ERRORS: [u8; 3] = [3, 11, 12];
}

/// The types of ICMPv6 that a prober knows.
pub(super) mod icmpv6 {
    pub(in crate::probe) const ECHO_REQUEST: u8 = 128;
    pub(in crate::probe) const ECHO_REPLY: u8 = 129;
    /// Destination unreachable, packet too big, time exceeded, parameter problem.
    pub(in crate::probe) const ERRORS: [u8; 4] = [1, 2, 3, 4];
}

/// What fills an echo behind the tag: each byte is its own offset.
const PADDING: [u8; ECHO_LEN - field::PADDING] = {
    let mut padding = [0; ECHO_LEN - field::PADDING];
    let mut i = 0;
    while i < padding.len() {
        padding[i] = (field::PADDING + i) as u8;
        i += 1;
    }
    padding
};

#[cfg(test)]
mod tests;
