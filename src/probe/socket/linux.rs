//! What Linux has of its own: ping sockets with identifiers, filters in the kernel, an error queue, stamps of what is sent,
//! and all that an echo is to be told with the echo itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::info;

use super::calls::{self, Outgoing, set};
use super::control::{Messages, name_of};
use super::open::Stamping;
use super::route::NoRoute;
use super::send::{MESSAGES_LEN, SCM_TS_OPT_ID};
use super::{Identity, Inbox, Origin, SocketKind, filter};
use crate::probe::EchoSettings;
use crate::probe::icmp::{Family, LEAST_PAYLOAD};

/// Whether what a datagram socket of IPv4 hears begins with the IP header, as it does on a RAW one.
pub(super) const DATAGRAMS_HAVE_HEADERS: bool = false;

/// What bounds a receive buffer, for people.
pub(super) const BUFFER_LIMIT: &str = "net.core.rmem_max limits it, unless there is cap_net_admin";

/// The setting that allows a buffer of so many bytes: the kernel gives twice what it is asked for, and counts its own
/// headers on it.
pub(super) fn buffer_setting(bytes: usize) -> String {
    format!("net.core.rmem_max={}", bytes.div_ceil(2))
}

/// The error queue tells of ICMP errors, and filters keep all but replies away: nothing is to be sorted out here.
#[derive(Default)]
pub(super) struct Aside;

impl Aside {
    /// Puts aside what is no reply.
    pub(super) fn sort(&mut self, _: Origin, _: &mut Inbox) {}
}

/// Whether a socket of this kind reads control messages; said where one does not.
pub(super) fn takes_control_messages(socket: &Socket, family: Family, kind: SocketKind) -> bool {
    let takes_control = kind == SocketKind::Raw || family == Family::V4 || takes_control(socket);
    if !takes_control {
        info!(
            "{family} echoes that are to have a ttl, dscp or interface of their own do not leave: that needs \
             cap_net_raw, or Linux 5.18"
        );
    }
    takes_control
}

/// The kernel takes the port of a ping socket for its identifier, and chooses a free one for port 0.
///
/// One of IPv6 sends from the `source` that it is bound to. That may become ours later, as in the boot of a machine:
/// whether it is, the kernel looks at each echo, since that names it too (see [`push_origin`]), unless the socket
/// may still be bound to anything.
pub(super) fn datagram(family: Family, source: Option<Ipv6Addr>) -> io::Result<(Socket, Option<u16>)> {
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

/// The source of a datagram socket, where it has one, and the identifier that the kernel chose for it.
pub(super) fn bound_to(socket: &Socket) -> io::Result<(Option<Ipv6Addr>, Option<u16>)> {
    let address = socket.local_addr()?;
    let source = address.as_socket_ipv6().map(|address| *address.ip()).filter(|ip| !ip.is_unspecified());
    Ok((source, address.as_socket().map(|address| address.port())))
}

/// Each RAW socket is offered every packet. The one that forbids fragments only sends: the other hears for both.
pub(super) fn raw(family: Family, deaf: bool, identity: Identity) -> io::Result<Socket> {
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

pub(super) fn set_options(socket: &Socket, family: Family, dont_fragment: bool) -> io::Result<()> {
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

/// The family of a socket that another process opened for echoes; `None` where it is for something else.
pub(super) fn family_of(socket: &Socket) -> io::Result<Option<Family>> {
    Ok(match (socket.domain()?, socket.protocol()?) {
        (Domain::IPV4, Some(Protocol::ICMPV4)) => Some(Family::V4),
        (Domain::IPV6, Some(Protocol::ICMPV6)) => Some(Family::V6),
        _ => None,
    })
}

/// Whether its echoes may not be fragmented.
pub(super) fn forbids_fragments(socket: &Socket, family: Family) -> io::Result<bool> {
    Ok(match family {
        Family::V4 => {
            calls::get(socket.as_fd(), libc::SOL_IP, libc::IP_MTU_DISCOVER)? == libc::IP_PMTUDISC_PROBE
        }
        Family::V6 => {
            calls::get(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER)? == libc::IPV6_PMTUDISC_PROBE
        }
    })
}

/// Has a RAW socket hear replies to such echoes only.
pub(super) fn hear_only(socket: &Socket, family: Family, identity: Identity) -> io::Result<()> {
    socket.attach_filter(&filter::echo_replies(family, identity))
}

/// Makes room for so many bytes, as the kernel counts them; returns whether that took a privilege. Without it, which may
/// be given up by now, what was made with it could only shrink.
pub(super) fn set_buffers(socket: &Socket, receive: usize, send: usize, is_forced: bool) -> io::Result<bool> {
    // The kernel doubles what it is asked for.
    let (receive, send) = (receive / 2, send / 2);
    if setsockopt(socket, sockopt::RcvBufForce, &receive).is_ok() {
        setsockopt(socket, sockopt::SndBufForce, &send)?;
        return Ok(true);
    }
    if !is_forced {
        socket.set_recv_buffer_size(receive)?;
        socket.set_send_buffer_size(send)?;
    }
    Ok(is_forced)
}

/// Has the kernel take the best stamps that it can.
pub(super) fn take_stamps(socket: &Socket, family: Family, takes_control: bool) -> io::Result<Stamping> {
    let stamps =
        |flags: u32| set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags as libc::c_int);
    let keyed = STAMPS | libc::SOF_TIMESTAMPING_OPT_ID | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    if takes_control && stamps(keyed).is_ok() && takes_keys(socket, family) {
        return Ok(Stamping::Keyed);
    }
    if stamps(STAMPS).is_ok() {
        return Ok(Stamping::Echoed);
    }
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(Stamping::OnReceipt)
}

/// What the settings of a target say, as the kernel wants to hear it with each echo.
pub(super) fn push_settings<const N: usize>(
    control: &mut Messages<N>,
    family: Family,
    settings: &EchoSettings,
) -> Result<(), NoRoute> {
    let EchoSettings { ttl, dscp, source, interface, .. } = settings;
    let mut number = |[v4, v6]: [libc::c_int; 2], value: u8| match family {
        Family::V4 => control.push(libc::SOL_IP, v4, &libc::c_int::from(value).to_ne_bytes()),
        Family::V6 => control.push(libc::SOL_IPV6, v6, &libc::c_int::from(value).to_ne_bytes()),
    };
    if let Some(ttl) = ttl {
        number([libc::IP_TTL, libc::IPV6_HOPLIMIT], *ttl);
    }
    if *dscp != 0 {
        // The two bits below are for congestion notification.
        number([libc::IP_TOS, libc::IPV6_TCLASS], dscp << 2);
    }
    if source.is_some() || interface.is_some() {
        let index = match interface {
            Some(name) => if_nametoindex(name.as_str())
                .map_err(|errno| NoRoute::Interface { interface: name.clone(), errno })?,
            None => 0,
        };
        push_origin(control, family, *source, index)?;
    }
    Ok(())
}

/// Where a packet is to leave: `struct in_pktinfo` or `struct in6_pktinfo`; an index of 0 leaves the interface open, as
/// an address of zeros does the source.
fn push_origin<const N: usize>(
    control: &mut Messages<N>,
    family: Family,
    source: Option<IpAddr>,
    index: u32,
) -> Result<(), NoRoute> {
    match (family, source) {
        (Family::V4, None | Some(IpAddr::V4(_))) => {
            let source = match source {
                Some(IpAddr::V4(source)) => source.octets(),
                _ => [0; 4],
            };
            let [a, b, c, d] = index.to_ne_bytes();
            let [e, f, g, h] = source;
            control.push(libc::SOL_IP, libc::IP_PKTINFO, &[a, b, c, d, e, f, g, h, 0, 0, 0, 0]);
        }
        (Family::V6, None | Some(IpAddr::V6(_))) => {
            let mut info = [0; 20];
            if let Some(IpAddr::V6(source)) = source {
                info[..16].copy_from_slice(&source.octets());
            }
            info[16..].copy_from_slice(&index.to_ne_bytes());
            control.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, &info);
        }
        (_, Some(source_address)) => return Err(NoRoute::Source { source_address, family }),
    }
    Ok(())
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
pub(super) fn datagrams_take_control() -> bool {
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

/// Stamps by software of what is sent and of what is received.
pub(super) const STAMPS: u32 =
    libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;

/// Interfaces are counted from 1.
const NO_INTERFACE: u32 = i32::MAX as u32;

/// linux/icmp.h; a bit that is set blocks its type.
const ICMP_FILTER: libc::c_int = 1;
/// linux/icmpv6.h; as above.
const ICMPV6_FILTER: libc::c_int = 1;
