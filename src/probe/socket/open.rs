//! Which sockets this machine allows, and how they are set up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::info;

use super::calls::{self, Outgoing, set};
use super::control::{Messages, name_of};
use super::route::push_origin;
use super::send::{MESSAGES_LEN, Outbox, SCM_TS_OPT_ID};
use super::{
    Backlog, EchoSocket, Identity, Inbox, Origin, ReceiveBuffer, Refused, Reports, SocketKind, Stamps,
    Wanted, filter,
};
use crate::probe::icmp::{Family, LEAST_PAYLOAD};

impl EchoSocket {
    /// Opens the kind that is wanted, or the first that is allowed.
    pub(super) fn open(family: Family, wanted: &Wanted) -> Result<Self, Refused> {
        let raw_first = family == Family::V6 && !(wanted.datagrams_do() && datagrams_take_control());
        let kinds: &[SocketKind] = match wanted.kind {
            Some(SocketKind::Datagram) => &[SocketKind::Datagram],
            Some(SocketKind::Raw) => &[SocketKind::Raw],
            None if raw_first => &[SocketKind::Raw, SocketKind::Datagram],
            None => &[SocketKind::Datagram, SocketKind::Raw],
        };
        let mut refused = Refused { datagram: None, raw: None };
        for kind in kinds {
            let Wanted { identity, backlog, .. } = *wanted;
            let origin = Origin { family, kind: *kind, dont_fragment: false, source: None, identity };
            match (Self::open_as(origin, backlog), kind) {
                (Ok(socket), _) => return Ok(socket),
                (Err(why), SocketKind::Datagram) => refused.datagram = Some(why),
                (Err(why), SocketKind::Raw) => refused.raw = Some(why),
            }
        }
        Err(refused)
    }

    /// Opens that one; the identifier of a datagram socket is the kernel's choice.
    pub(super) fn open_as(origin: Origin, backlog: Backlog) -> io::Result<Self> {
        let Origin { family, kind, dont_fragment, source, identity } = origin;
        let (socket, identifier) = match kind {
            SocketKind::Datagram => datagram(family, source)?,
            SocketKind::Raw => (raw(family, dont_fragment, identity)?, identity.identifier),
        };
        set_options(&socket, family, dont_fragment)?;
        let takes_control = takes_control_messages(&socket, family, kind);
        let stamping = Stamping::choose(&socket, family, takes_control)?;
        let origin = Origin { identity: Identity { identifier, ..identity }, ..origin };
        let buffer = ReceiveBuffer { wanted: 0, held: 0 };
        let mut opened =
            Self { socket, origin, stamping, buffer, is_forced: false, outbox: Outbox::new(None) };
        opened.make_room(backlog)?;
        Ok(opened)
    }

    /// Takes over a socket that another process opened for the same settings, when it still had the privilege. What was
    /// sent for that process is no business of ours: what waits in the queues is thrown away, and from here on a RAW
    /// socket hears our own echoes only.
    pub(super) fn adopt(descriptor: OwnedFd, wanted: &Wanted) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let strange = || io::Error::new(io::ErrorKind::InvalidInput, "a descriptor is no socket for echoes");
        let family = match (socket.domain()?, socket.protocol()?) {
            (Domain::IPV4, Some(Protocol::ICMPV4)) => Family::V4,
            (Domain::IPV6, Some(Protocol::ICMPV6)) => Family::V6,
            _ => return Err(strange()),
        };
        let dont_fragment = match family {
            Family::V4 => {
                calls::get(socket.as_fd(), libc::SOL_IP, libc::IP_MTU_DISCOVER)? == libc::IP_PMTUDISC_PROBE
            }
            Family::V6 => {
                calls::get(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER)?
                    == libc::IPV6_PMTUDISC_PROBE
            }
        };
        let (kind, source, identity) = match socket.r#type()? {
            Type::DGRAM => {
                let (source, identifier) = bound_to(&socket)?;
                (SocketKind::Datagram, source, Identity { identifier, ..wanted.identity })
            }
            Type::RAW => (SocketKind::Raw, None, wanted.identity),
            _ => return Err(strange()),
        };
        if kind == SocketKind::Raw && !dont_fragment {
            socket.attach_filter(&filter::echo_replies(family, identity))?;
        }
        let takes_control = takes_control_messages(&socket, family, kind);
        let stamping = Stamping::choose(&socket, family, takes_control)?;
        let buffer = ReceiveBuffer { wanted: 0, held: socket.recv_buffer_size()? };
        let origin = Origin { family, kind, dont_fragment, source, identity };
        let outbox = Outbox::new((stamping == Stamping::Keyed).then_some(wanted.backlog.echoes));
        let mut adopted = Self { socket, origin, stamping, buffer, is_forced: true, outbox };
        adopted.make_room(wanted.backlog)?;
        adopted.empty(wanted.backlog.payload)?;
        Ok(adopted)
    }

    /// The socket alone, for another process to adopt.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.socket.into()
    }

    /// Makes room for a backlog, before the first echo is sent. What was made before stays where this one needs less.
    pub(super) fn make_room(&mut self, backlog: Backlog) -> io::Result<()> {
        let Backlog { echoes, payload } = backlog;
        let room = echo_room(payload, self.stamping);
        self.buffer.wanted = room.saturating_mul(echoes as usize);
        if self.buffer.held >= self.buffer.wanted.clamp(LEAST_BUFFER, MOST_BUFFER) {
            return Ok(());
        }
        self.set_buffers(backlog)?;
        self.buffer.held = self.socket.recv_buffer_size()?;
        let fit = self.buffer.held / room;
        if fit < echoes as usize {
            let Origin { family, kind, .. } = self.origin;
            info!(
                "the receive buffer of the {kind} socket for {family} has room for {fit} echoes of {echoes}: \
                 net.core.rmem_max limits it, unless there is cap_net_admin"
            );
        }
        self.outbox = Outbox::new((self.stamping == Stamping::Keyed).then_some(echoes));
        Ok(())
    }

    /// A buffer that is smaller than wished for costs replies when this program is held up, and is no reason to stop.
    fn set_buffers(&mut self, Backlog { echoes, payload }: Backlog) -> io::Result<()> {
        let send =
            (echoes as usize).saturating_mul(packet_room(payload)).clamp(LEAST_BUFFER, MOST_SEND_BUFFER);
        // The kernel doubles what it is asked for.
        let (receive, send) = (self.buffer.wanted.clamp(LEAST_BUFFER, MOST_BUFFER) / 2, send / 2);
        let socket = &self.socket;
        if setsockopt(socket, sockopt::RcvBufForce, &receive).is_ok() {
            setsockopt(socket, sockopt::SndBufForce, &send)?;
            self.is_forced = true;
        } else if !self.is_forced {
            // Without the privilege, which may be given up by now, what was made with it could only shrink.
            socket.set_recv_buffer_size(receive)?;
            socket.set_send_buffer_size(send)?;
        }
        Ok(())
    }

    /// Who stamps what is sent.
    pub(super) fn stamps(&self) -> Stamps {
        match self.stamping {
            Stamping::Keyed | Stamping::Echoed => Stamps::Kernel,
            Stamping::OnReceipt => Stamps::User,
        }
    }

    /// Throws away what waits in both queues.
    fn empty(&mut self, payload: u16) -> io::Result<()> {
        let (mut inbox, mut reports) = (Inbox::new(payload), Reports::new());
        for _ in 0..MOST_BATCHES {
            if self.receive(&mut inbox)? {
                break;
            }
        }
        for _ in 0..MOST_BATCHES {
            if self.take_reports(&mut reports, |_| ())? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a socket of this kind reads control messages; said where one does not.
fn takes_control_messages(socket: &Socket, family: Family, kind: SocketKind) -> bool {
    let takes_control = kind == SocketKind::Raw || family == Family::V4 || takes_control(socket);
    if !takes_control {
        info!(
            "{family} echoes leave with the system's hops, class and interface, unless there is cap_net_raw"
        );
    }
    takes_control
}

/// The kernel takes the port of a ping socket for its identifier, and chooses a free one for port 0.
///
/// One of IPv6 sends from the `source` that it is bound to. That may become ours later, as in the boot of a machine:
/// whether it is, the kernel looks at each echo, since that names it too (see [`push_origin`]), unless the socket
/// may still be bound to anything.
fn datagram(family: Family, source: Option<Ipv6Addr>) -> io::Result<(Socket, u16)> {
    let (domain, protocol, any) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    let bind = |address| socket.bind(&SocketAddr::new(address, 0).into());
    match source {
        Some(source) if datagrams_take_control() => {
            set(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_FREEBIND, 1)?;
            bind(source.into())?;
            set(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_FREEBIND, 0)?;
        }
        source => bind(source.map_or(any, IpAddr::V6))?,
    }
    let (_, identifier) = bound_to(&socket)?;
    Ok((socket, identifier))
}

/// The source of a datagram socket, where it has one, and its identifier.
fn bound_to(socket: &Socket) -> io::Result<(Option<Ipv6Addr>, u16)> {
    let address = socket.local_addr()?;
    let source = address.as_socket_ipv6().map(|address| *address.ip()).filter(|ip| !ip.is_unspecified());
    Ok((source, address.as_socket().map_or(0, |address| address.port())))
}

/// Each RAW socket is offered every packet. The one that forbids fragments only sends: the other hears for both.
fn raw(family: Family, deaf: bool, identity: Identity) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    // Sorted out by their type, packets are not even copied for us.
    let passed = if deaf { None } else { Some(family.echo_reply()) };
    match family {
        Family::V4 => {
            let blocked = !passed.map_or(0, |kind| 1u32 << kind);
            calls::set_bytes(socket.as_fd(), libc::SOL_RAW, ICMP_FILTER, &blocked.to_ne_bytes())?;
        }
        Family::V6 => {
            let mut blocked = [[0xff; 4]; 8];
            if let Some(kind) = passed {
                blocked[usize::from(kind / 32)] = (!(1u32 << (kind % 32))).to_ne_bytes();
            }
            calls::set_bytes(socket.as_fd(), libc::SOL_ICMPV6, ICMPV6_FILTER, blocked.as_flattened())?;
        }
    }
    if deaf {
        socket.attach_filter(&filter::nothing())?;
    } else {
        socket.attach_filter(&filter::echo_replies(family, identity))?;
    }
    Ok(socket)
}

fn set_options(socket: &Socket, family: Family, dont_fragment: bool) -> io::Result<()> {
    let fd = socket.as_fd();
    match family {
        Family::V4 => {
            set(fd, libc::SOL_IP, libc::IP_RECVERR, 1)?;
            set(fd, libc::SOL_IP, libc::IP_RECVTTL, 1)?;
            // Probing: what was too big for the path once is sent again, and it is the path that says so again.
            let discover = if dont_fragment { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
            set(fd, libc::SOL_IP, libc::IP_MTU_DISCOVER, discover)
        }
        Family::V6 => {
            set(fd, libc::SOL_IPV6, libc::IPV6_RECVERR, 1)?;
            set(fd, libc::SOL_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            // No router fragments IPv6: what may be fragmented is so by our kernel, as it was told last.
            let discover = if dont_fragment { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DONT };
            set(fd, libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER, discover)
        }
    }
}

/// Where the stamps of a socket come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamping {
    /// From the kernel on both ends; it names an echo by the key that was sent along.
    Keyed,
    /// The same, but it hands back the whole packet, which says what it is. Its own count of packets (OPT_ID) would not
    /// do: that counts some that it refuses too.
    Echoed,
    /// Of replies only.
    OnReceipt,
}

impl Stamping {
    fn choose(socket: &Socket, family: Family, takes_control: bool) -> io::Result<Self> {
        let stamps =
            |flags: u32| set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags as libc::c_int);
        let keyed = STAMPS | libc::SOF_TIMESTAMPING_OPT_ID | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        if takes_control && stamps(keyed).is_ok() && takes_keys(socket, family) {
            return Ok(Self::Keyed);
        }
        if stamps(STAMPS).is_ok() {
            return Ok(Self::Echoed);
        }
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self::OnReceipt)
    }
}

/// Whether the kernel takes keys (from Linux 6.13 on). One that knows them complains of an interface that no machine
/// has, which stands behind the key; one that does not, of the key. Nothing is sent either way.
fn takes_keys(socket: &Socket, family: Family) -> bool {
    let nowhere = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let mut control = Messages::EMPTY;
    control.push(libc::SOL_SOCKET, SCM_TS_OPT_ID, &0u32.to_ne_bytes());
    complaint(socket, SocketAddr::new(nowhere, 0), control, NO_INTERFACE) == Some(libc::ENODEV)
}

/// Whether a datagram socket of IPv6 reads control messages (from Linux 5.18 on; all others always did). One that does
/// complains of two interfaces, which no machine has, that contradict each other; one that does not, of the first.
fn takes_control(socket: &Socket) -> bool {
    let nowhere = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 0, 0, NO_INTERFACE - 1);
    complaint(socket, nowhere.into(), Messages::EMPTY, NO_INTERFACE) == Some(libc::EINVAL)
}

/// The same of a socket for this question; true where there is none to be had.
fn datagrams_take_control() -> bool {
    datagram(Family::V6, None).map_or(true, |(socket, _)| takes_control(&socket))
}

/// What the kernel says to an echo with these control messages that is to leave by this interface.
fn complaint(
    socket: &Socket,
    to: SocketAddr,
    mut control: Messages<MESSAGES_LEN>,
    interface: u32,
) -> Option<i32> {
    let family = Family::of(to.ip());
    push_origin(&mut control, family, None, interface).ok()?;
    let (name, name_len) = name_of(to);
    let mut echo = [0; 8 + LEAST_PAYLOAD as usize];
    echo[0] = family.echo_request();
    let message = Outgoing { name: &name[..name_len], parts: [&echo, &[]], control: control.as_bytes() };
    calls::send(socket.as_fd(), std::iter::once(message)).err()
}

/// What the kernel may charge for a reply and the stamp of its echo, which lie in one buffer until they are taken.
fn echo_room(payload: u16, stamping: Stamping) -> usize {
    let stamp = match stamping {
        Stamping::Keyed => STAMP_LEN,
        // A stamp that hands back the packet is charged for as much as that.
        Stamping::Echoed => STAMP_LEN + 2 * usize::from(payload),
        Stamping::OnReceipt => 0,
    };
    packet_room(payload) + stamp
}

/// What the kernel charges for an echo at most: the pages that a card puts each fragment in, and a header.
fn packet_room(payload: u16) -> usize {
    let fragments = (usize::from(payload) + 48).div_ceil(SMALLEST_MTU - 48);
    fragments * FRAGMENT_LEN
}

/// Stamps by software of what is sent and of what is received.
pub(super) const STAMPS: u32 =
    libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;

/// Interfaces are counted from 1.
const NO_INTERFACE: u32 = i32::MAX as u32;

/// linux/icmp.h; a bit that is set blocks its type.
const ICMP_FILTER: libc::c_int = 1;
/// linux/icmpv6.h; as above.
const ICMPV6_FILTER: libc::c_int = 1;

/// Of IPv6; IPv4's may be smaller, and nearly never is.
const SMALLEST_MTU: usize = 1280;
/// Half a page, and the kernel's header of a packet.
const FRAGMENT_LEN: usize = 2048 + 256;
/// A header and the smallest buffer there is; 832 bytes were measured.
const STAMP_LEN: usize = 1024;
const LEAST_BUFFER: usize = 1 << 20;
/// Half a minute at ten thousand echoes a second. It is no memory before packets lie in it.
const MOST_BUFFER: usize = 1 << 30;
/// More than the buffers hold: a bound on how long a flood can keep us from taking a socket over.
const MOST_BATCHES: usize = 1 << 16;
/// Longer queues belong into a device's own.
const MOST_SEND_BUFFER: usize = 16 << 20;
