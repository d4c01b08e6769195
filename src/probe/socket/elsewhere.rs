//! What macOS and the BSDs have instead: sockets that hear every ICMP packet of the machine and are not told apart by the
//! kernel, options of the socket for what an echo is to be told, and stamps of what is received.
//!
//! Apple lets everybody ping over datagram sockets. It leaves their identifier as it is, and delivers the IPv4 header with
//! what they hear. FreeBSD and NetBSD have RAW sockets only.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;

#[cfg(target_vendor = "apple")]
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::calls::{self, set};
use super::control::Messages;
use super::open::Stamping;
use super::reports::{Report, error_in};
use super::route::NoRoute;
use super::{EchoSocket, Identity, Inbox, Origin, SocketKind};
use crate::probe::EchoSettings;
use crate::probe::icmp::Family;

/// Whether what a datagram socket of IPv4 hears begins with the IP header, as it does on a RAW one.
pub(super) const DATAGRAMS_HAVE_HEADERS: bool = cfg!(target_vendor = "apple");

/// What bounds a receive buffer, for people.
pub(super) const BUFFER_LIMIT: &str = "kern.ipc.maxsockbuf limits it";

/// The setting that allows a buffer of so many bytes.
pub(super) fn buffer_setting(bytes: usize) -> String {
    format!("kern.ipc.maxsockbuf={bytes}")
}

/// Nothing is left to be read when reports are asked for.
pub(in crate::probe) struct Reports;

/// The ICMP errors of the last packets, until somebody asks for them.
#[derive(Default)]
pub(super) struct Aside(VecDeque<Report>);

impl Reports {
    /// An empty one.
    pub(in crate::probe) fn new() -> Self {
        Self
    }
}

impl Aside {
    /// Puts aside what is an error about an echo of ours. What comes to a socket that forbids fragments comes to the other
    /// one too, and is thrown away here.
    pub(super) fn sort(&mut self, origin: Origin, inbox: &mut Inbox) {
        if origin.dont_fragment {
            inbox.clear();
        }
        self.0.extend(inbox.packets().filter_map(|packet| error_in(origin, &packet)));
        let over = self.0.len().saturating_sub(MOST_ASIDE);
        self.0.drain(..over);
    }
}

impl EchoSocket {
    /// Takes the reports that there are; true, for none is left.
    pub(in crate::probe) fn take_reports(
        &mut self,
        _: &mut Reports,
        each: impl FnMut(Report),
    ) -> io::Result<bool> {
        self.aside.0.drain(..).for_each(each);
        // An error that nobody takes would wake us for ever.
        self.socket.take_error()?;
        Ok(true)
    }
}

/// Options are taken by every kind.
pub(super) fn takes_control_messages(_: &Socket, _: Family, _: SocketKind) -> bool {
    true
}

/// As above.
pub(super) fn datagrams_take_control() -> bool {
    true
}

/// A datagram socket; it has no identifier of the kernel's. One that is bound to a source would hear what the other one
/// hears too, so there is none.
pub(super) fn datagram(family: Family, source: Option<Ipv6Addr>) -> io::Result<(Socket, Option<u16>)> {
    if source.is_some() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok((open(family, Type::DGRAM)?, None))
}

/// Nothing was chosen for a datagram socket.
pub(super) fn bound_to(_: &Socket) -> io::Result<(Option<Ipv6Addr>, Option<u16>)> {
    Ok((None, None))
}

/// A RAW socket; what it hears is sorted out when it is here.
pub(super) fn raw(family: Family, _: bool, _: Identity) -> io::Result<Socket> {
    open(family, Type::RAW)
}

fn open(family: Family, kind: Type) -> io::Result<Socket> {
    match family {
        Family::V4 => Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4)),
        Family::V6 => Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6)),
    }
}

/// Has the kernel tell the hops of what comes in, and forbids fragments.
pub(super) fn set_options(socket: &Socket, family: Family, dont_fragment: bool) -> io::Result<()> {
    let fd = socket.as_fd();
    let (level, hops) = match family {
        Family::V4 => (libc::IPPROTO_IP, hops::IP_RECVTTL),
        Family::V6 => (libc::IPPROTO_IPV6, hops::IPV6_RECVHOPLIMIT),
    };
    // Without, the hops of what comes in are not known, and that is all.
    let _ = set(fd, level, hops, 1);
    if dont_fragment {
        let option = fragments_option(family).ok_or(io::ErrorKind::Unsupported)?;
        set(fd, level, option, 1)?;
    }
    Ok(())
}

/// NetBSD has none for IPv4.
fn fragments_option(family: Family) -> Option<libc::c_int> {
    match family {
        #[cfg(not(target_os = "netbsd"))]
        Family::V4 => Some(libc::IP_DONTFRAG),
        #[cfg(target_os = "netbsd")]
        Family::V4 => None,
        Family::V6 => Some(libc::IPV6_DONTFRAG),
    }
}

/// What asks for the hops of what comes in, and tells them.
#[cfg(not(target_os = "netbsd"))]
pub(super) mod hops {
    pub(in crate::probe::socket) use libc::{IP_RECVTTL, IPV6_HOPLIMIT, IPV6_RECVHOPLIMIT};
}

/// The same by its netinet/in.h and netinet6/in6.h: libc does not have them there.
#[cfg(target_os = "netbsd")]
pub(super) mod hops {
    pub(in crate::probe::socket) const IP_RECVTTL: libc::c_int = 23;
    pub(in crate::probe::socket) const IPV6_HOPLIMIT: libc::c_int = 47;
    pub(in crate::probe::socket) const IPV6_RECVHOPLIMIT: libc::c_int = 37;
}

/// The family of a socket that another process opened for echoes. Nothing tells its protocol: a run hands over no other.
pub(super) fn family_of(socket: &Socket) -> io::Result<Option<Family>> {
    Ok(match socket.local_addr()?.domain() {
        Domain::IPV4 => Some(Family::V4),
        Domain::IPV6 => Some(Family::V6),
        _ => None,
    })
}

/// Whether its echoes may not be fragmented.
pub(super) fn forbids_fragments(socket: &Socket, family: Family) -> io::Result<bool> {
    let level = match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    };
    fragments_option(family).map_or(Ok(false), |option| Ok(calls::get(socket.as_fd(), level, option)? != 0))
}

/// There is no filter to set.
pub(super) fn hear_only(_: &Socket, _: Family, _: Identity) -> io::Result<()> {
    Ok(())
}

/// Makes room for so many bytes, or as many as the kernel gives: it refuses what is too much.
pub(super) fn set_buffers(socket: &Socket, receive: usize, send: usize, is_forced: bool) -> io::Result<bool> {
    let most_of = |size: usize, set: &dyn Fn(usize) -> io::Result<()>| {
        let sizes = std::iter::successors(Some(size), |size| Some(size / 2));
        // As large as it is anyway, where all of that is refused.
        let _ = sizes.take_while(|size| *size >= LEAST_BUFFER).find(|size| set(*size).is_ok());
    };
    most_of(receive, &|size| socket.set_recv_buffer_size(size));
    most_of(send, &|size| socket.set_send_buffer_size(size));
    Ok(is_forced)
}

/// Has the kernel stamp what is received.
pub(super) fn take_stamps(socket: &Socket, _: Family, _: bool) -> io::Result<Stamping> {
    setsockopt(socket, sockopt::ReceiveTimestamp, &true)?;
    Ok(Stamping::OnReceipt)
}

/// What the settings of a target say, as options that are set before each echo: all of them, since they stay.
pub(super) fn push_settings<const N: usize>(
    control: &mut Messages<N>,
    family: Family,
    settings: &EchoSettings,
) -> Result<(), NoRoute> {
    let EchoSettings { ttl, dscp, source, interface, .. } = settings;
    if let Some(source_address) = *source {
        return Err(NoRoute::Source { source_address, family });
    }
    let (level, hops, usual_hops, class) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL, USUAL_TTL, libc::IP_TOS),
        // RFC 3493: the system's own.
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, -1, libc::IPV6_TCLASS),
    };
    let mut number = |name: libc::c_int, value: libc::c_int| control.push(level, name, &value.to_ne_bytes());
    number(hops, ttl.map_or(usual_hops, libc::c_int::from));
    // The two bits below are for congestion notification.
    number(class, libc::c_int::from(*dscp) << 2);
    #[cfg(target_vendor = "apple")]
    {
        let index = match interface {
            Some(name) => if_nametoindex(name.as_str())
                .map_err(|errno| NoRoute::Interface { interface: name.clone(), errno })?,
            // Any.
            None => 0,
        };
        let bound = match family {
            Family::V4 => libc::IP_BOUND_IF,
            Family::V6 => libc::IPV6_BOUND_IF,
        };
        number(bound, index.cast_signed());
    }
    #[cfg(not(target_vendor = "apple"))]
    if let Some(name) = interface {
        let errno = nix::errno::Errno::EOPNOTSUPP;
        return Err(NoRoute::Interface { interface: name.clone(), errno });
    }
    Ok(())
}

/// IPv4's hops, as all of these systems have them unless somebody set something else.
const USUAL_TTL: libc::c_int = 64;
const LEAST_BUFFER: usize = 1 << 13;
/// More than one look brings.
const MOST_ASIDE: usize = 1024;
