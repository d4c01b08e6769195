//! The sockets: a few serve all targets. Hides what differs between datagram and RAW sockets, between IPv4 and IPv6, and
//! where a time stamp comes from.
//!
//! A datagram ("ping") socket is preferred: the kernel gives it an identifier that no other has, checks the checksums,
//! and wakes nobody for other people's packets.
//!
//! ```text
//! open      which sockets; linux, elsewhere: set up how
//! route     what a target's settings mean to the kernel
//! send      echoes out        receive   packets in        reports   stamps of what was sent, ICMP errors
//! filter    what RAW sockets are to hear
//! control   control messages (pure)
//! calls     the system calls, and all that is unsafe
//! ```
//!
//! The way to use one: [`EchoSocket::take_reports`] until none is left, [`EchoSocket::push`] and [`EchoSocket::send`];
//! when the poll says so (an error means reports), [`EchoSocket::receive`], then the reports, then judge the packets.

mod calls;
pub mod control;
#[cfg(target_os = "linux")]
mod filter;
mod open;
mod receive;
mod reports;
mod route;
mod send;
#[cfg_attr(target_os = "linux", path = "socket/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "socket/elsewhere.rs")]
mod system;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::Socket;
use tracing::info;

pub(super) use self::calls::BATCH;
use self::open::Stamping;
pub(super) use self::receive::{Inbox, Packet};
pub(super) use self::reports::{Report, Reports};
pub(super) use self::route::{NoRoute, Route};
pub(super) use self::send::Handed;
use self::send::Outbox;
use self::system::Aside;
use super::EchoSettings;
use super::icmp::{self, Family, Malformed};

/// What sockets are to be opened.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// By what their echoes are known; datagram sockets have identifiers of their own.
    pub(super) identity: Identity,
    /// The kind; `None` is datagram sockets where they are allowed, else RAW ones.
    pub(super) kind: Option<SocketKind>,
    /// Whether there are targets whose echoes must not be fragmented. That is a setting of the socket, and takes a second
    /// one for each family.
    pub(super) dont_fragment: bool,
    /// The sources that IPv6 targets have of their own, and whether those echoes must not be fragmented. A datagram socket
    /// of IPv6 sends from the address that it is bound to, whatever it is told with an echo: each takes a socket.
    pub(super) v6_sources: Vec<(Ipv6Addr, bool)>,
    /// What their receive buffers are to have room for.
    pub(super) backlog: Backlog,
}

impl Wanted {
    /// What such echoes need.
    pub(super) fn of<'a>(
        echoes: impl Iterator<Item = &'a EchoSettings>,
        identity: Identity,
        backlog: Backlog,
    ) -> Self {
        let mut wanted = Self { identity, kind: None, dont_fragment: false, v6_sources: Vec::new(), backlog };
        for EchoSettings { dont_fragment, source, .. } in echoes {
            wanted.dont_fragment |= dont_fragment;
            if let Some(IpAddr::V6(source)) = *source
                && !wanted.v6_sources.contains(&(source, *dont_fragment))
                // One more than has a socket shows that there are too many.
                && wanted.v6_sources.len() <= MOST_BOUND
            {
                wanted.v6_sources.push((source, *dont_fragment));
            }
        }
        wanted
    }

    /// Whether datagram sockets could send from all of the sources.
    fn datagrams_do(&self) -> bool {
        self.v6_sources.len() <= MOST_BOUND && self.v6_sources.iter().all(|(source, _)| is_bindable(*source))
    }
}

/// A link-local address is one on each interface, and a socket that is bound to it leaves by one of them only.
fn is_bindable(source: Ipv6Addr) -> bool {
    !source.is_unicast_link_local()
}

/// How many echoes may be under way, or answered and not looked at because this program is held up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    /// How many.
    pub(super) echoes: u32,
    /// The payload of the largest.
    pub(super) payload: u16,
}

/// By what the echoes of a socket are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The identifier in their header.
    pub(super) identifier: u16,
    /// The mark in their payload.
    pub(super) mark: u32,
}

impl Identity {
    /// The same, with an identifier that the kernel chose, if it did.
    fn known_as(self, identifier: Option<u16>) -> Self {
        Self { identifier: identifier.unwrap_or(self.identifier), ..self }
    }
}

/// The sockets that this machine allows, at least one.
pub(super) struct Sockets {
    sockets: Vec<EchoSocket>,
}

/// Which sockets are in use; its `Display` is the line for people: `datagram, IPv4 IPv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKinds {
    /// IPv4's; `None` where there is none.
    pub v4: Option<SocketKind>,
    /// IPv6's; `None` where there is none.
    pub v6: Option<SocketKind>,
}

/// The two kinds of socket that can send an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A ping socket, which `net.ipv4.ping_group_range` allows.
    Datagram,
    /// A RAW socket, which the capability `cap_net_raw` allows.
    Raw,
}

/// Who takes the time at which an echo leaves; that of its reply is the kernel's wherever it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// The kernel, as it passes the packet to the device.
    Kernel,
    /// This program, before it hands over the packet.
    User,
}

/// The buffer in which replies and stamps wait while this program is held up, in bytes as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveBuffer {
    /// What the echoes that may be under way can take.
    pub wanted: usize,
    /// What the kernel gives.
    pub held: usize,
}

/// Why neither kind of socket could be opened for one family, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub struct Refused {
    /// What the kernel said to the datagram socket, if that was tried.
    pub datagram: Option<io::Error>,
    /// What the kernel said to the RAW socket, if that was tried.
    pub raw: Option<io::Error>,
}

impl ReceiveBuffer {
    /// The setting of the system that lets the kernel give what is wanted, as sysctl takes it.
    pub fn setting(&self) -> String {
        system::buffer_setting(self.wanted)
    }
}

impl Refused {
    /// True when a privilege would help.
    pub(super) fn is_forbidden(&self) -> bool {
        let errors = self.datagram.iter().chain(&self.raw);
        errors.into_iter().any(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Sockets {
    /// Opens a socket for each family, or else returns why not, IPv4's reason first; one family is enough.
    pub(super) fn open(wanted: &Wanted) -> Result<Self, [Refused; 2]> {
        let mut sockets = Vec::new();
        let mut refused = Vec::new();
        for family in [Family::V4, Family::V6] {
            match EchoSocket::open(family, wanted) {
                Ok(socket) => sockets.push(socket),
                Err(why) => refused.push((family, why)),
            }
        }
        let refused = match <[_; 2]>::try_from(refused) {
            Ok(both) => return Err(both.map(|(_, why)| why)),
            Err(fewer) => fewer,
        };
        for (family, why) in refused {
            info!("there will be no {family}: {why}");
        }
        let more: Vec<EchoSocket> = sockets
            .iter()
            .flat_map(|EchoSocket { origin, .. }| origin.others(wanted))
            .filter_map(|origin| {
                EchoSocket::open_as(origin, wanted.backlog)
                    .inspect_err(|why| info!("no {} echo can leave {origin}: {why}", origin.family))
                    .ok()
            })
            .collect();
        sockets.extend(more);
        Ok(Self { sockets })
    }

    /// Takes over sockets that another process opened for the same.
    pub(super) fn adopt(descriptors: Vec<OwnedFd>, wanted: &Wanted) -> io::Result<Self> {
        let adopted = descriptors.into_iter().map(|descriptor| EchoSocket::adopt(descriptor, wanted));
        let sockets = adopted.collect::<io::Result<Vec<_>>>()?;
        if sockets.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is none"));
        }
        Ok(Self { sockets })
    }

    /// The sockets alone, in their order.
    pub(super) fn into_descriptors(self) -> Vec<OwnedFd> {
        self.sockets.into_iter().map(EchoSocket::into_descriptor).collect()
    }

    /// Makes room for a backlog that may be larger than the one they were opened for, before the first echo is sent.
    pub(super) fn make_room(&mut self, backlog: Backlog) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|socket| socket.make_room(backlog))
    }

    /// The socket for echoes of a family that may be fragmented, or may not: the one that is bound to their source, or one
    /// that is bound to none.
    pub(super) fn of(
        &mut self,
        family: Family,
        dont_fragment: bool,
        source: Option<IpAddr>,
    ) -> Option<&mut EchoSocket> {
        let place = |bound: Option<IpAddr>| {
            let wanted = (family, dont_fragment, bound);
            self.sockets.iter().map(EchoSocket::origin).position(|it| it.serves() == wanted)
        };
        let place = source.and_then(|source| place(Some(source))).or_else(|| place(None))?;
        self.sockets.get_mut(place)
    }

    /// All there are, in an order that stays.
    pub(super) fn iter(&self) -> impl Iterator<Item = &EchoSocket> {
        self.sockets.iter()
    }

    /// The same, to be used.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EchoSocket> {
        self.sockets.iter_mut()
    }

    /// Which there are.
    pub(super) fn kinds(&self) -> SocketKinds {
        let kind =
            |family| self.iter().map(|socket| socket.origin).find(|it| it.family == family).map(|it| it.kind);
        SocketKinds { v4: kind(Family::V4), v6: kind(Family::V6) }
    }

    /// The receive buffer that lacks most.
    pub(super) fn receive_buffer(&self) -> ReceiveBuffer {
        let buffers = self.iter().map(|socket| socket.buffer);
        buffers.max_by_key(|it| it.wanted.saturating_sub(it.held)).expect("one socket is there at least")
    }

    /// Who stamps what is sent: the kernel, unless it does so on some of them only.
    pub(super) fn stamps(&self) -> Stamps {
        let by_kernel = self.iter().all(|socket| socket.stamps() == Stamps::Kernel);
        if by_kernel { Stamps::Kernel } else { Stamps::User }
    }
}

/// A socket that sends and hears echoes of one family.
pub(super) struct EchoSocket {
    socket: Socket,
    origin: Origin,
    stamping: Stamping,
    buffer: ReceiveBuffer,
    /// What a stamp takes of it, and what was taken out of it since that was last asked.
    stamp_room: usize,
    taken: usize,
    /// Whether the buffer was made with a privilege.
    is_forced: bool,
    outbox: Outbox,
    aside: Aside,
}

/// What is to be known of a socket to read its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Its family.
    pub(super) family: Family,
    /// Its kind.
    pub(super) kind: SocketKind,
    /// Whether its echoes may not be fragmented. Such a RAW socket hears nothing: replies come to the other one.
    pub(super) dont_fragment: bool,
    /// The source that it is bound to, where it sends from that one only.
    pub(super) source: Option<Ipv6Addr>,
    /// Whether it can be told with an echo how that is to leave.
    pub(super) takes_control: bool,
    /// By what its echoes are known.
    pub(super) identity: Identity,
}

impl Origin {
    /// The sockets that are wanted beside this one, for echoes that it cannot send.
    fn others(self, wanted: &Wanted) -> impl Iterator<Item = Self> {
        let whole = wanted.dont_fragment.then_some(Self { dont_fragment: true, ..self });
        let is_deaf_to_sources = (self.family, self.kind) == (Family::V6, SocketKind::Datagram);
        let sources = if is_deaf_to_sources { wanted.v6_sources.as_slice() } else { &[] };
        let bindable = sources.iter().filter(|(source, _)| is_bindable(*source)).take(MOST_BOUND);
        whole.into_iter().chain(bindable.map(move |(source, dont_fragment)| Self {
            dont_fragment: *dont_fragment,
            source: Some(*source),
            ..self
        }))
    }

    /// The ICMP message in a packet that it heard.
    pub(super) fn message_in<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], Malformed> {
        match (self.family, self.kind) {
            (Family::V4, SocketKind::Raw) => icmp::after_ipv4_header(packet),
            (Family::V4, SocketKind::Datagram) if system::DATAGRAMS_HAVE_HEADERS => {
                icmp::after_ipv4_header(packet)
            }
            (Family::V4 | Family::V6, _) => Ok(packet),
        }
    }

    /// Whether the kernel counts packets that came in damaged with those that there was no room for.
    pub(super) fn counts_damaged(&self) -> bool {
        (self.family, self.kind) == (Family::V6, SocketKind::Raw)
    }

    /// Which echoes it is for.
    fn serves(&self) -> (Family, bool, Option<IpAddr>) {
        (self.family, self.dont_fragment, self.source.map(IpAddr::V6))
    }
}

/// For people, behind "leave".
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.dont_fragment { "unfragmented" } else { "fragmented" })?;
        self.source.map_or(Ok(()), |source| write!(f, " from {source}"))
    }
}

impl EchoSocket {
    /// What is to be known of it to read its packets.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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

impl fmt::Display for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel stamps",
            Self::User => "user stamps",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.datagram, &self.raw) {
            (Some(datagram), Some(raw)) => write!(f, "datagram socket: {datagram}, RAW socket: {raw}"),
            (Some(datagram), None) => write!(f, "datagram socket: {datagram}"),
            (None, Some(raw)) => write!(f, "RAW socket: {raw}"),
            (None, None) => f.write_str("none was tried"),
        }
    }
}

/// More sources of IPv6 than this are left to a RAW socket.
const MOST_BOUND: usize = 16;
/// Of both families, with and without fragments, and those that are bound.
pub(super) const MOST_SOCKETS: usize = 4 + MOST_BOUND;

#[cfg(test)]
mod tests;
