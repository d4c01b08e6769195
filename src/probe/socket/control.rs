//! Control messages and socket addresses as the kernel lays them out (`struct cmsghdr`, `struct sockaddr_in`). Pure: nothing
//! that comes in can make it panic.
//!
//! The C library's own macros are not used: they need `unsafe`, and its `cmsghdr` is another one in musl. Linux's is a word
//! of length, then level and type of four bytes each, then the data, padded to a word; for others see `layout`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for the control messages of one packet that comes in: the stamps (64 bytes), the hops (24), and in a report the
/// error (64).
pub(super) const CONTROL_LEN: usize = 192;

/// Room for an address of either family.
pub(super) const NAME_LEN: usize = 28;

/// Writes control messages one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Messages<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Messages<N> {
    /// None yet.
    pub(super) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Appends one. Which are sent is known beforehand: `N` has room for all of them.
    pub(super) fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        self.append(&layout::length(HEADER_LEN + data.len()));
        self.append(&level.to_ne_bytes());
        self.append(&kind.to_ne_bytes());
        self.length += HEADER_LEN - layout::LENGTH_LEN - 8;
        self.append(data);
        self.length = padded(self.length).min(N);
    }

    /// Appends those that were written elsewhere.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// All of them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What the control messages of a packet say, as far as it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// When the packet passed the kernel, in nanoseconds of the wall clock.
    pub stamp: Option<i64>,
    /// Its time to live or hop limit.
    pub ttl: Option<u8>,
    /// What the error queue tells of it.
    pub error: Option<ExtendedError>,
}

/// `struct sock_extended_err`, and who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// The `errno`.
    pub errno: u32,
    /// Who made it: `SO_EE_ORIGIN_ICMP` and so on.
    pub origin: u8,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// Depends on the origin; for a stamp, which kind of stamp.
    pub info: u32,
    /// Depends on the origin; for a stamp, its key.
    pub data: u32,
    /// Who sent the ICMP error.
    pub offender: Option<IpAddr>,
}

impl Said {
    /// Reads control messages; what is cut off or unknown is passed over.
    pub fn new(control: &[u8]) -> Self {
        let mut said = Self::default();
        for (level, kind, data) in messages(control) {
            match layout::about(level, kind) {
                Some(About::Stamp) => said.stamp = layout::nanos_in(data),
                Some(About::Hops) => said.ttl = layout::hops_in(data),
                #[cfg(target_os = "linux")]
                Some(About::Error) => said.error = ExtendedError::new(data),
                None => {}
            }
        }
        said
    }
}

/// What a control message tells.
enum About {
    Stamp,
    Hops,
    #[cfg(target_os = "linux")]
    Error,
}

#[cfg(target_os = "linux")]
impl ExtendedError {
    fn new(data: &[u8]) -> Option<Self> {
        let (fixed, offender) = data.split_first_chunk::<16>()?;
        let word = |at: usize| u32::from_ne_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let [.., origin, kind, code, _] = *fixed.first_chunk::<8>()?;
        let (errno, info, data) = (word(0), word(8), word(12));
        Some(Self { errno, origin, kind, code, info, data, offender: address_in(offender) })
    }
}

/// A `sockaddr_in` or `sockaddr_in6`, and how long it is. The port means nothing to ICMP, but RAW sockets of IPv6 refuse
/// any but 0.
pub(super) fn name_of(address: SocketAddr) -> ([u8; NAME_LEN], usize) {
    let mut name = [0; NAME_LEN];
    match address {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&layout::family(libc::AF_INET, 16));
            name[4..8].copy_from_slice(&v4.ip().octets());
            (name, 16)
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&layout::family(libc::AF_INET6, NAME_LEN as u8));
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (name, NAME_LEN)
        }
    }
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
pub fn address_in(name: &[u8]) -> Option<IpAddr> {
    match layout::family_of(*name.first_chunk()?) {
        libc::AF_INET => {
            name.get(4..)?.first_chunk().map(|octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets)))
        }
        libc::AF_INET6 => {
            name.get(8..)?.first_chunk().map(|octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets)))
        }
        _ => None,
    }
}

/// Level, type and data of each message that is whole.
pub(super) fn messages(mut control: &[u8]) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
    std::iter::from_fn(move || {
        let length = layout::length_of(*control.first_chunk()?);
        let (level, kind) = (int_at(control, layout::LENGTH_LEN)?, int_at(control, layout::LENGTH_LEN + 4)?);
        // Less than a header would never come to an end.
        let data = control.get(HEADER_LEN..length)?;
        control = control.get(padded(length)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// Those that are told as a number.
fn hops_in(data: &[u8]) -> Option<u8> {
    int_at(data, 0).and_then(|hops| u8::try_from(hops).ok())
}

fn int_at(bytes: &[u8], at: usize) -> Option<libc::c_int> {
    bytes.get(at..)?.first_chunk().map(|int| libc::c_int::from_ne_bytes(*int))
}

/// `CMSG_ALIGN`; a length near the end of numbers stays where it is.
const fn padded(length: usize) -> usize {
    length.saturating_add(layout::ALIGN - 1) / layout::ALIGN * layout::ALIGN
}

const HEADER_LEN: usize = padded(layout::LENGTH_LEN + 8);

/// How much room a message with so much data takes.
pub(super) const fn space(data: usize) -> usize {
    padded(HEADER_LEN + data)
}

#[cfg(target_os = "linux")]
mod layout {
    use super::About;
    pub(super) use super::hops_in;

    const WORD: usize = size_of::<usize>();
    pub(super) const LENGTH_LEN: usize = WORD;
    pub(super) const ALIGN: usize = WORD;

    pub(super) fn length(length: usize) -> [u8; LENGTH_LEN] {
        length.to_ne_bytes()
    }

    pub(super) fn length_of(bytes: [u8; LENGTH_LEN]) -> usize {
        usize::from_ne_bytes(bytes)
    }

    pub(super) fn about(level: libc::c_int, kind: libc::c_int) -> Option<About> {
        match (level, kind) {
            // Three times: by software, unused, by hardware.
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS) => Some(About::Stamp),
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => Some(About::Hops),
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => Some(About::Error),
            _ => None,
        }
    }

    /// A `struct timespec` of two words, in nanoseconds.
    pub(super) fn nanos_in(data: &[u8]) -> Option<i64> {
        let (seconds, rest) = data.split_first_chunk()?;
        let [seconds, nanos] = [seconds, rest.first_chunk()?].map(|word| isize::from_ne_bytes(*word) as i64);
        // Zero is what the kernel has where it took no stamp.
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos).filter(|nanos| *nanos != 0)
    }

    pub(super) fn family(family: libc::c_int, _: u8) -> [u8; 2] {
        (family as u16).to_ne_bytes()
    }

    pub(super) fn family_of(bytes: [u8; 2]) -> libc::c_int {
        u16::from_ne_bytes(bytes).into()
    }
}

/// The BSDs, of which Apple's is one: a length takes four bytes everywhere, what follows it is padded to four bytes by
/// Apple and to a word by the others, and an address begins with its length and its family.
#[cfg(not(target_os = "linux"))]
mod layout {
    use super::About;
    use crate::probe::socket::system::hops;

    pub(super) const LENGTH_LEN: usize = size_of::<libc::socklen_t>();
    #[cfg(target_vendor = "apple")]
    pub(super) const ALIGN: usize = size_of::<u32>();
    #[cfg(not(target_vendor = "apple"))]
    pub(super) const ALIGN: usize = size_of::<usize>();

    pub(super) fn length(length: usize) -> [u8; LENGTH_LEN] {
        (length as libc::socklen_t).to_ne_bytes()
    }

    pub(super) fn length_of(bytes: [u8; LENGTH_LEN]) -> usize {
        libc::socklen_t::from_ne_bytes(bytes) as usize
    }

    pub(super) fn about(level: libc::c_int, kind: libc::c_int) -> Option<About> {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMP) => Some(About::Stamp),
            (libc::IPPROTO_IP, hops::IP_RECVTTL) | (libc::IPPROTO_IPV6, hops::IPV6_HOPLIMIT) => {
                Some(About::Hops)
            }
            _ => None,
        }
    }

    /// Those of IPv4 are a byte.
    pub(super) fn hops_in(data: &[u8]) -> Option<u8> {
        if let [hops] = data { Some(*hops) } else { super::hops_in(data) }
    }

    /// A `struct timeval`, in nanoseconds.
    pub(super) fn nanos_in(data: &[u8]) -> Option<i64> {
        let (seconds, rest) = data.split_first_chunk()?;
        let (seconds, micros) = (libc::time_t::from_ne_bytes(*seconds), *rest.first_chunk()?);
        let micros = i64::from(libc::suseconds_t::from_ne_bytes(micros));
        seconds.checked_mul(1_000_000_000)?.checked_add(micros.checked_mul(1000)?)
    }

    pub(super) fn family(family: libc::c_int, length: u8) -> [u8; 2] {
        [length, family as u8]
    }

    pub(super) fn family_of([_, family]: [u8; 2]) -> libc::c_int {
        family.into()
    }
}
