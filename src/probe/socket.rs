//! The sockets: one per address family serves all targets. Hides what differs between datagram and RAW sockets, between
//! IPv4 and IPv6, and where a time stamp comes from.
//!
//! A datagram ("ping") socket is preferred: the kernel gives it an identifier that no other has, checks the checksums,
//! and wakes nobody for other people's packets. It hears no ICMP errors.
#![allow(unsafe_code)] // For recvmmsg with its control messages, and for two socket options that no crate has.

use std::fmt;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::info;

use super::clock::Wall;
use super::icmp::{Family, icmpv4, icmpv6};

/// The sockets that this machine allows, at least one.
pub(super) struct Sockets {
    v4: Option<EchoSocket>,
    v6: Option<EchoSocket>,
}

/// Which sockets are in use; its `Display` is the line for people: `datagram, IPv4 IPv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKinds {
    /// IPv4's; `None` where there is none.
    pub v4: Option<SocketKind>,
    /// IPv6's; `None` where there is none.
    pub v6: Option<SocketKind>,
}

impl SocketKinds {
    /// The kind of a family's socket; `None` where there is none.
    pub fn of(&self, family: Family) -> Option<SocketKind> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// The two kinds of socket that can send an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A ping socket, which `net.ipv4.ping_group_range` allows.
    Datagram,
    /// A RAW socket, which the capability `cap_net_raw` allows.
    Raw,
}

/// Why neither kind of socket could be opened for one family.
#[derive(Debug, thiserror::Error)]
#[error("datagram socket: {datagram}, RAW socket: {raw}")]
pub struct Refused {
    /// What the kernel said to the datagram socket.
    pub datagram: io::Error,
    /// What the kernel said to the RAW socket.
    pub raw: io::Error,
}

impl Refused {
    /// True when a privilege would help.
    pub(super) fn is_forbidden(&self) -> bool {
        [&self.datagram, &self.raw].iter().any(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Sockets {
    /// Opens a socket for each family, or else returns why not, IPv4's reason first; one family is enough. `identifier`
    /// is for RAW sockets, which have to bring their own.
    pub(super) fn open(identifier: u16) -> Result<Self, [Refused; 2]> {
        let without = |family: Family, why: Refused| info!("there will be no {family}: {why}");
        match (EchoSocket::open(Family::V4, identifier), EchoSocket::open(Family::V6, identifier)) {
            (Err(v4), Err(v6)) => Err([v4, v6]),
            (v4, v6) => Ok(Self {
                v4: v4.map_err(|why| without(Family::V4, why)).ok(),
                v6: v6.map_err(|why| without(Family::V6, why)).ok(),
            }),
        }
    }

    /// The socket of a family.
    pub(super) fn of(&self, family: Family) -> Option<&EchoSocket> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// All there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &EchoSocket> {
        self.v4.iter().chain(&self.v6)
    }

    /// Which there are.
    pub(super) fn kinds(&self) -> SocketKinds {
        let kind = |socket: &Option<EchoSocket>| socket.as_ref().map(|socket| socket.origin.kind);
        SocketKinds { v4: kind(&self.v4), v6: kind(&self.v6) }
    }
}

impl fmt::Display for SocketKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) if v4 == v6 => write!(f, "{v4}, IPv4 IPv6"),
            (Some(v4), Some(v6)) => write!(f, "{v4} IPv4, {v6} IPv6"),
            (Some(v4), None) => write!(f, "{v4}, IPv4"),
            (None, Some(v6)) => write!(f, "{v6}, IPv6"),
            (None, None) => f.write_str("none"),
        }
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Datagram => "datagram",
            Self::Raw => "raw",
        })
    }
}

/// A socket that sends and hears echoes of one family.
pub(super) struct EchoSocket {
    socket: Socket,
    origin: Origin,
}

/// What is to be known of a socket to read its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Its family.
    pub(super) family: Family,
    /// Its kind.
    pub(super) kind: SocketKind,
    /// The identifier of its echoes.
    pub(super) identifier: u16,
}

impl EchoSocket {
    fn open(family: Family, identifier: u16) -> Result<Self, Refused> {
        Self::datagram(family)
            .or_else(|datagram| Self::raw(family, identifier).map_err(|raw| Refused { datagram, raw }))
    }

    fn datagram(family: Family) -> io::Result<Self> {
        let (domain, protocol, any) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        // The kernel takes the port of a ping socket for its identifier, and chooses a free one for port 0.
        socket.bind(&SocketAddr::new(any, 0).into())?;
        let bound = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        Self::prepared(socket, family, SocketKind::Datagram, bound)
    }

    fn raw(family: Family, identifier: u16) -> io::Result<Self> {
        let socket = match family {
            Family::V4 => {
                let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
                let passed =
                    icmpv4::ERRORS.iter().fold(1 << icmpv4::ECHO_REPLY, |bits: u32, kind| bits | 1 << kind);
                set_option(&socket, libc::SOL_RAW, ICMP_FILTER, &!passed)?;
                socket
            }
            Family::V6 => {
                let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
                let mut blocked = [u32::MAX; 8];
                for kind in icmpv6::ERRORS.iter().chain([&icmpv6::ECHO_REPLY]) {
                    blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
                }
                set_option(&socket, libc::SOL_ICMPV6, ICMPV6_FILTER, &blocked)?;
                socket
            }
        };
        Self::prepared(socket, family, SocketKind::Raw, identifier)
    }

    fn prepared(socket: Socket, family: Family, kind: SocketKind, identifier: u16) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // A buffer that is smaller than wished for costs replies when the monitor is held up, and is no reason to stop.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self { socket, origin: Origin { family, kind, identifier } })
    }

    /// What is to be known of it to read its packets.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Hands one echo to the kernel.
    pub(super) fn send(&self, echo: &[u8], to: SocketAddr) -> io::Result<()> {
        // The port means nothing here, but RAW sockets of IPv6 refuse any but 0.
        self.socket.send_to(echo, &SockAddr::from(to)).map(drop)
    }

    /// Takes as many packets as wait, and at most a whole inbox; false when more may be left.
    pub(super) fn receive(&self, inbox: &mut Inbox) -> io::Result<bool> {
        inbox.receive(self.socket.as_fd())?;
        Ok(inbox.filled < BATCH)
    }

    /// How many packets its receive buffer had no room for since it was opened, or the kernel found damaged; wraps.
    pub(super) fn drops(&self) -> io::Result<u32> {
        let mut memory = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
        let mut length = mem::size_of_val(&memory) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `memory`, which has as many and may hold any bits.
        let failed = unsafe {
            let memory = memory.as_mut_ptr().cast();
            libc::getsockopt(self.socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, memory, &mut length)
        };
        if failed != 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(memory[libc::SK_MEMINFO_DROPS as usize])
        }
    }

    /// Takes the error that the kernel left on the socket, which would wake us again and again.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A packet as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Who sent it.
    pub(super) from: IpAddr,
    /// What it holds, from the IPv4 header on where it comes from a RAW socket of IPv4; cut to [`LONGEST`].
    pub(super) bytes: &'a [u8],
    /// When the kernel received it, if it says so.
    pub(super) stamp: Option<Wall>,
}

/// Room for the packets of one system call.
pub(super) struct Inbox {
    buffers: Box<[[u8; LONGEST]; BATCH]>,
    controls: Box<[Control; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    lengths: [(usize, usize); BATCH],
    filled: usize,
}

/// Room for one control message with a time stamp, aligned as `cmsghdr` wants it.
type Control = [u64; 8];

impl Inbox {
    /// An empty one.
    pub(super) fn new() -> Self {
        // SAFETY: a `sockaddr_storage` is integers and bytes, of which all zero is a value (family 0, unspecified).
        let names = Box::new([unsafe { mem::zeroed::<libc::sockaddr_storage>() }; BATCH]);
        Self {
            buffers: Box::new([[0; LONGEST]; BATCH]),
            controls: Box::new([[0; 8]; BATCH]),
            names,
            lengths: [(0, 0); BATCH],
            filled: 0,
        }
    }

    /// The packets of the last [`EchoSocket::receive`].
    pub(super) fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        (0..self.filled).filter_map(|i| {
            let (length, control_length) = self.lengths[i];
            Some(Packet {
                from: address_of(&self.names[i])?,
                bytes: &self.buffers[i][..length.min(LONGEST)],
                stamp: stamp_in(&self.controls[i], control_length),
            })
        })
    }

    #[allow(clippy::unnecessary_cast)] // The type of msg_controllen depends on the C library.
    fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.filled = 0;
        // SAFETY: `iovec` and `mmsghdr` are integers and pointers, of which all zero (null) is a value.
        let (mut parts, mut headers) =
            unsafe { (mem::zeroed::<[libc::iovec; BATCH]>(), mem::zeroed::<[libc::mmsghdr; BATCH]>()) };
        for i in 0..BATCH {
            parts[i].iov_base = self.buffers[i].as_mut_ptr().cast();
            parts[i].iov_len = LONGEST;
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of::<Control>() as _;
        }
        // SAFETY: every header points to memory of the length it states, which lives in `self` and in `parts` until
        // after the call and is borrowed by nobody else; the kernel keeps none of the pointers.
        let received = unsafe {
            let (flags, no_timeout) = (libc::MSG_DONTWAIT as _, std::ptr::null_mut());
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as libc::c_uint, flags, no_timeout)
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            let nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if nothing { Ok(()) } else { Err(error) };
        }
        self.filled = (received as usize).min(BATCH);
        for (length, header) in self.lengths.iter_mut().zip(&headers[..self.filled]) {
            *length = (header.msg_len as usize, header.msg_hdr.msg_controllen as usize);
        }
        Ok(())
    }
}

fn address_of(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a `sockaddr_storage` is larger than and aligned for a `sockaddr_in`, which is only integers.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes())))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a `sockaddr_in6`.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            Some(IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// The stamp among the control messages in the first `length` bytes of `control`.
fn stamp_in(control: &Control, length: usize) -> Option<Wall> {
    // SAFETY: all zero is a value of `msghdr`, as above.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.as_ptr().cast_mut().cast();
    header.msg_controllen = length.min(mem::size_of::<Control>()) as _;
    // SAFETY: `header` describes memory that is borrowed for longer than this takes and aligned for `cmsghdr`; the CMSG
    // macros only read, and stay within the stated length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&header) };
    while !next.is_null() {
        // SAFETY: `next` is not null, so it points to a whole header inside `control`.
        let message = unsafe { &*next };
        // SAFETY: only computes a length.
        let wanted = unsafe { libc::CMSG_LEN(mem::size_of::<libc::timespec>() as libc::c_uint) };
        if message.cmsg_level == libc::SOL_SOCKET
            && message.cmsg_type == libc::SCM_TIMESTAMPNS
            && message.cmsg_len as usize >= wanted as usize
            && next as usize - control.as_ptr() as usize + wanted as usize <= length
        {
            // SAFETY: the message is long enough for a `timespec` (integers) and ends within `control`.
            let time = unsafe { libc::CMSG_DATA(next).cast::<libc::timespec>().read_unaligned() };
            let nanos = time.tv_sec.checked_mul(1_000_000_000)?;
            return nanos.checked_add(time.tv_nsec).map(Wall);
        }
        // SAFETY: as for CMSG_FIRSTHDR; `next` came from it.
        next = unsafe { libc::CMSG_NXTHDR(&header, next) };
    }
    None
}

fn set_option<T>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes from `value`, which has as many (the types used have no padding).
    let failed =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *value).cast(), length) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// linux/icmp.h; a bit that is set blocks its type.
const ICMP_FILTER: libc::c_int = 1;
/// linux/icmpv6.h; as above.
const ICMPV6_FILTER: libc::c_int = 1;

/// The kernel counts 832 bytes for an echo reply and doubles what is asked for: room for ten seconds of a thousand
/// replies each.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How many packets one system call takes at most.
pub(super) const BATCH: usize = 64;

/// Room for an echo reply behind the longest IPv4 header (124 bytes), for an error that quotes an echo behind another
/// (192 bytes), and to spare for errors with extensions. What is longer is none of ours, and is known by its length.
pub(super) const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, poll};

    use crate::probe::icmp::{ECHO_LEN, Echo, Kind, Message, after_ipv4_header};

    #[test]
    fn the_stamp_is_found_behind_other_control_messages() {
        // A cmsghdr is length, level, type; then the data, padded to eight bytes. First SO_RXQ_OVFL (a u32), then the stamp.
        let kind = |level: libc::c_int, kind: libc::c_int| level as u64 | (kind as u64) << 32;
        let control: Control = [
            20,
            kind(libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
            7,
            32,
            kind(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS),
            1_700_000_000,
            123_456_789,
            0,
        ];
        assert_eq!(stamp_in(&control, 56), Some(Wall(1_700_000_000_123_456_789)));
        for short in 0..56 {
            assert_eq!(stamp_in(&control, short), None, "{short} bytes hold no whole stamp");
        }
    }

    fn echo(identifier: u16, number: u64) -> [u8; ECHO_LEN] {
        let mut echo = [0; ECHO_LEN];
        Echo { identifier, number, tag: 0 }.emit_request(Family::V4, &mut echo);
        echo
    }

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// Every RAW socket hears the replies to all tests, so each has its own identifier.
    fn raw_socket(identifier: u16) -> EchoSocket {
        EchoSocket::raw(Family::V4, identifier).expect("this test needs root, for a RAW socket")
    }

    fn wait_for(socket: &EchoSocket) {
        let mut fd = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fd, 10_000u16), Ok(1), "no reply came");
    }

    /// A RAW socket on loopback is offered our own request before the reply.
    #[test]
    fn a_raw_socket_hears_stamped_replies_and_never_its_own_requests() {
        let identifier = 0xbeef;
        let socket = raw_socket(identifier);
        let before = crate::probe::clock::now().wall;
        for number in 0..100 {
            socket.send(&echo(identifier, number), LOOPBACK).unwrap();
        }
        let mut inbox = Inbox::new();
        let mut heard = Vec::new();
        while heard.len() < 100 {
            wait_for(&socket);
            socket.receive(&mut inbox).unwrap();
            for packet in inbox.packets() {
                let message = Message::new(Family::V4, after_ipv4_header(packet.bytes).unwrap()).unwrap();
                assert_ne!(message.kind(), Kind::EchoRequest);
                if message.identifier() == identifier {
                    heard.push(message.echo().unwrap().number);
                    assert_eq!(packet.from, LOOPBACK.ip());
                    assert!(packet.stamp.unwrap() > before);
                }
            }
        }
        assert_eq!(heard, (0..100).collect::<Vec<u64>>());
    }

    #[test]
    fn a_full_receive_buffer_is_noticed() {
        let identifier = 0xfeed;
        let socket = raw_socket(identifier);
        socket.socket.set_recv_buffer_size(8192).unwrap();
        assert_eq!(socket.drops().unwrap(), 0);
        let fitted = (0..10_000).find(|number| {
            socket.send(&echo(identifier, *number), LOOPBACK).unwrap();
            socket.drops().unwrap() > 0
        });
        assert!(fitted.is_some(), "ten thousand replies fit into eight kilobytes");
        wait_for(&socket);
    }

    #[test]
    fn the_line_for_people_names_kinds_and_families() {
        let (datagram, raw) = (Some(SocketKind::Datagram), Some(SocketKind::Raw));
        let shown = |v4, v6| SocketKinds { v4, v6 }.to_string();
        assert_eq!(shown(raw, raw), "raw, IPv4 IPv6");
        assert_eq!(shown(datagram, raw), "datagram IPv4, raw IPv6");
        assert_eq!(shown(None, datagram), "datagram, IPv6");
    }
}
