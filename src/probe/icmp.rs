//! ICMP on the wire: our echoes, and the errors that quote them (RFC 792, RFC 4443). Pure: bytes in, values out, and no
//! byte from outside can make it panic.
//!
//! ```text
//!  0      1      2         4            6          8           16        24        28
//!  +------+------+---------+------------+----------+-----------+---------+---------+---------------+
//!  | type | code | checksum | identifier | sequence | number    | tag     | mark    | 28, 29, .. 255, 0 ..
//!  +------+------+---------+------------+----------+-----------+---------+---------+---------------+
//! ```
//! The number says which ping it is, beyond the 16 bits of the sequence, which are its lowest. The tag is a keyed hash of
//! number and destination: who has not seen the request cannot make its reply. The mark is the same in all echoes of one
//! process: by it the kernel sorts out, before it wakes us, what others asked for. Then each byte is its own offset. With
//! 56 bytes of payload the message has the 64 that `ping` and SmokePing send by default, so that round trips compare.

use std::fmt;
use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, Ipv4HeaderSlice};
use siphasher::sip::SipHasher24;

/// What an echo of ours begins with, up to its padding.
pub const HEAD_LEN: usize = field::PADDING;

/// The least payload: number, tag and mark.
pub const LEAST_PAYLOAD: u16 = (field::PADDING - field::NUMBER) as u16;

/// The largest payload: what fits into an IPv4 packet behind both headers.
pub const MOST_PAYLOAD: u16 = 65_507;

/// The two families of addresses, each with an ICMP of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and ICMP.
    V4,
    /// IPv6 and ICMPv6.
    V6,
}

impl Family {
    /// The type of its echo replies.
    pub(super) fn echo_reply(self) -> u8 {
        match self {
            Self::V4 => icmpv4::ECHO_REPLY,
            Self::V6 => icmpv6::ECHO_REPLY,
        }
    }

    /// The type of its echo requests.
    pub(super) fn echo_request(self) -> u8 {
        match self {
            Self::V4 => icmpv4::ECHO_REQUEST,
            Self::V6 => icmpv6::ECHO_REQUEST,
        }
    }

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
    /// An echo of a length that none of ours has.
    #[error("an echo of {found} bytes is none of ours")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// The bytes after the mark were changed on the way.
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
}

/// The ICMP message behind the IPv4 header that a RAW socket delivers with it, options and all.
pub fn after_ipv4_header(packet: &[u8]) -> Result<&[u8], Malformed> {
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| Malformed::Ipv4Header)?;
    // Their kernels deliver whole packets only, and rewrite what tells of lengths and fragments.
    if cfg!(any(target_vendor = "apple", target_os = "netbsd")) {
        let is_icmp = header.protocol() == IpNumber::ICMP;
        return packet.get(header.slice().len()..).filter(|_| is_icmp).ok_or(Malformed::Ipv4Header);
    }
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
        match (self.bytes[field::TYPE], self.bytes[field::CODE]) {
            (kind, 0) if kind == self.family.echo_reply() => Kind::EchoReply,
            (kind, 0) if kind == self.family.echo_request() => Kind::EchoRequest,
            (kind, _) => Kind::Other(kind),
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

    /// What an echo of ours says, of any length that ours can have: whoever knows which ping it is knows what its length
    /// should be.
    pub fn echo(&self) -> Result<Echo, Malformed> {
        let length = Malformed::Length { found: self.bytes.len() };
        let (Some((number, tag)), Some(mark)) = (secrets_at(self.bytes), mark_at(self.bytes)) else {
            return Err(length);
        };
        let payload = u16::try_from(self.bytes.len() - field::NUMBER).map_err(|_| length)?;
        let echo = Echo { identifier: self.identifier(), number, tag, mark, payload };
        if payload > MOST_PAYLOAD {
            return Err(length);
        }
        if self.bytes[field::PADDING..] != *padding(payload) {
            return Err(Malformed::Payload);
        }
        if self.sequence() != echo.sequence() {
            return Err(Malformed::Sequence { found: self.sequence(), wanted: echo.sequence() });
        }
        Ok(echo)
    }

    /// Number and tag of an echo that is long enough to have them, whatever else may be wrong with it.
    pub fn secrets(&self) -> Option<(u64, u64)> {
        secrets_at(self.bytes)
    }

    /// The mark of an echo that is long enough to have one.
    pub fn mark(&self) -> Option<u32> {
        mark_at(self.bytes)
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
    /// What all echoes of this process have, see [`Secret::mark`].
    pub mark: u32,
    /// How many bytes follow the header, from [`LEAST_PAYLOAD`] to [`MOST_PAYLOAD`].
    pub payload: u16,
}

impl Echo {
    /// The sequence in its header.
    pub fn sequence(&self) -> u16 {
        self.number as u16
    }

    /// The request up to its padding, which must be that of the same payload. The checksum of an ICMPv6 message is left to
    /// the kernel, which knows the addresses.
    pub fn request_head(&self, family: Family, padding: &Padding) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[field::TYPE] = family.echo_request();
        head[field::IDENTIFIER..field::SEQUENCE].copy_from_slice(&self.identifier.to_be_bytes());
        head[field::SEQUENCE..field::NUMBER].copy_from_slice(&self.sequence().to_be_bytes());
        head[field::NUMBER..field::TAG].copy_from_slice(&self.number.to_be_bytes());
        head[field::TAG..field::MARK].copy_from_slice(&self.tag.to_be_bytes());
        head[field::MARK..field::PADDING].copy_from_slice(&self.mark.to_be_bytes());
        if family == Family::V4 {
            // The sum is made of words as they lie in memory, so it goes back the same way.
            let checksum = padding.sum.clone().add_slice(&head).ones_complement();
            head[field::CHECKSUM..field::IDENTIFIER].copy_from_slice(&checksum.to_ne_bytes());
        }
        head
    }
}

/// What fills an echo of some length behind the mark; made once, it serves any number of them.
#[derive(Clone, Debug)]
pub struct Padding {
    bytes: &'static [u8],
    /// Its share of the checksum; it begins at an even offset.
    sum: Sum16BitWords,
}

impl Padding {
    /// That of an echo with so much payload, which counts as [`LEAST_PAYLOAD`] or [`MOST_PAYLOAD`] beyond these.
    pub fn new(payload: u16) -> Self {
        let bytes = padding(payload.clamp(LEAST_PAYLOAD, MOST_PAYLOAD));
        Self { bytes, sum: Sum16BitWords::new().add_slice(bytes) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &'static [u8] {
        self.bytes
    }
}

/// The echo request that an ICMP error quotes, whosever that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The request's identifier.
    pub identifier: u16,
    /// The request's sequence.
    pub sequence: u16,
    /// Its number and tag, where the error quotes so much of it; a router need not.
    pub secrets: Option<(u64, u64)>,
    /// Its mark, likewise.
    pub mark: Option<u32>,
}

impl Quote {
    /// Reads a quote from the quoted ICMP header on; `None` where that is no echo request's.
    pub fn new(family: Family, bytes: &[u8]) -> Option<Self> {
        let message = Message::new(family, bytes).ok().filter(|it| it.kind() == Kind::EchoRequest)?;
        Some(Self {
            identifier: message.identifier(),
            sequence: message.sequence(),
            secrets: secrets_at(bytes),
            mark: mark_at(bytes),
        })
    }
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

impl Reason {
    /// True when the packet had no more hops to live: a router on the way says so, and the target may well be there.
    pub fn is_expired(&self) -> bool {
        matches!((self.family, self.kind, self.code), (Family::V4, 11, 0) | (Family::V6, 3, 0))
    }

    /// True when nobody answers for the next address on the way: our own kernel says so too, of a gateway that is dead.
    pub fn is_host_unreachable(&self) -> bool {
        matches!((self.family, self.kind, self.code), (Family::V4, 3, 1) | (Family::V6, 1, 3))
    }
}

impl fmt::Display for Reason {
    /// In the words of RFC 792, RFC 1122 and RFC 4443, as far as people use them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.family, self.kind, self.code) {
            (Family::V4, 3, 0) => "network unreachable",
            (Family::V4, 3, 1) | (Family::V6, 1, 3) => "host unreachable",
            (Family::V4, 3, 2) => "protocol unreachable",
            (Family::V4, 3, 3) | (Family::V6, 1, 4) => "port unreachable",
            (Family::V4, 3, 4) | (Family::V6, 2, _) => "packet too big",
            (Family::V4, 3, 5) => "source route failed",
            (Family::V4, 3, 6) => "destination network unknown",
            (Family::V4, 3, 7) => "destination host unknown",
            (Family::V4, 3, 8) => "source host isolated",
            (Family::V4, 3, 11) => "network unreachable for this type of service",
            (Family::V4, 3, 12) => "host unreachable for this type of service",
            (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1) => "administratively prohibited",
            (Family::V6, 1, 0) => "no route",
            (Family::V6, 1, 2) => "beyond scope of source address",
            (Family::V6, 1, 5) => "source address failed policy",
            (Family::V6, 1, 6) => "route rejected",
            (Family::V4, 3, code) | (Family::V6, 1, code) => {
                return write!(f, "destination unreachable (code {code})");
            }
            (Family::V4, 4, 0) => "source quench",
            (Family::V4, 11, 0) | (Family::V6, 3, 0) => "time to live exceeded",
            (Family::V4, 11, 1) | (Family::V6, 3, 1) => "fragment reassembly time exceeded",
            (Family::V6, 4, 1) => "parameter problem: unrecognized next header",
            (Family::V6, 4, 2) => "parameter problem: unrecognized option",
            (Family::V4, 12, _) | (Family::V6, 4, _) => "parameter problem",
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

    /// The mark of all echoes. It proves nothing, since everybody on the way sees it.
    pub fn mark(&self) -> u32 {
        self.0.hash(b"mark") as u32
    }
}

/// What follows the mark in a payload of a length that is allowed.
fn padding(payload: u16) -> &'static [u8] {
    &PADDING[..usize::from(payload - LEAST_PAYLOAD)]
}

/// Number and tag of an echo of which so much is there.
fn secrets_at(echo: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = echo.get(field::NUMBER..)?.split_first_chunk()?;
    let (tag, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*tag)))
}

/// The mark of an echo of which so much is there.
fn mark_at(echo: &[u8]) -> Option<u32> {
    echo.get(field::MARK..)?.first_chunk().map(|mark| u32::from_be_bytes(*mark))
}

/// The number at `offset`, which must lie in the header that [`Message::new`] has checked.
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([bytes[offset], bytes[offset + 1]])
}

/// The offsets of an echo, each made from the one before.
pub(super) mod field {
    pub(in crate::probe) const TYPE: usize = 0;
    pub(in crate::probe) const CODE: usize = TYPE + 1;
    pub(in crate::probe) const CHECKSUM: usize = CODE + 1;
    pub(in crate::probe) const IDENTIFIER: usize = CHECKSUM + 2;
    pub(in crate::probe) const SEQUENCE: usize = IDENTIFIER + 2;
    pub(in crate::probe) const NUMBER: usize = SEQUENCE + 2;
    pub(in crate::probe) const TAG: usize = NUMBER + 8;
    pub(in crate::probe) const MARK: usize = TAG + 8;
    pub(in crate::probe) const PADDING: usize = MARK + 4;
}

/// The types of ICMPv4 that a prober knows.
mod icmpv4 {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const ECHO_REQUEST: u8 = 8;
}

/// The types of ICMPv6 that a prober knows.
mod icmpv6 {
    pub(super) const ECHO_REQUEST: u8 = 128;
    pub(super) const ECHO_REPLY: u8 = 129;
}

/// What fills the longest echo behind the mark: each byte is its own offset.
static PADDING: [u8; (MOST_PAYLOAD - LEAST_PAYLOAD) as usize] = {
    let mut padding = [0; (MOST_PAYLOAD - LEAST_PAYLOAD) as usize];
    let mut i = 0;
    while i < padding.len() {
        padding[i] = (field::PADDING + i) as u8;
        i += 1;
    }
    padding
};

#[cfg(test)]
mod tests;
