//! What kernels other than Linux say of routes: whether there is one, by a datagram socket that is connected and never sent
//! from; and a word whenever routes or interfaces have changed, by a routing socket (route(4)), whose messages are counted
//! and not read. Gateways, carriers and the names of interfaces are not asked for: whoever has a route is taken to be on
//! our own networks, and the anchors are those that the settings name.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::ways::{From, Way};

/// Asks without a socket of its own.
pub(super) struct Asker;

/// A socket on which the kernel tells of changes.
pub(super) struct Changes(Socket);

/// Nothing is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Links;

impl Links {
    /// One that is not known is taken to work.
    pub(super) fn works(&self, _: u32) -> bool {
        true
    }

    /// For people.
    pub(super) fn name(&self, number: u32) -> String {
        format!("interface {number}")
    }
}

impl Asker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Which way an address is reached.
    pub(super) fn way(&mut self, to: SocketAddr, from: &From) -> io::Result<Way> {
        if to.ip().is_loopback() {
            return Ok(Way::Own);
        }
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let source = from.source.filter(|source| source.is_ipv4() == to.is_ipv4()).unwrap_or(any);
        let mut nowhere_in_particular = to;
        nowhere_in_particular.set_port(DISCARD);
        let connected = UdpSocket::bind(SocketAddr::new(source, 0)).and_then(|socket| {
            socket.connect(nowhere_in_particular)?;
            socket.local_addr()
        });
        match connected {
            Ok(own) if own.ip() == to.ip() => Ok(Way::Own),
            Ok(_) => Ok(Way::Link { interface: UNKNOWN_INTERFACE }),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                // Everything that routes can say to a packet.
                Some(
                    Errno::ENETUNREACH
                    | Errno::EHOSTUNREACH
                    | Errno::ENETDOWN
                    | Errno::EADDRNOTAVAIL
                    | Errno::EINVAL
                    | Errno::EACCES
                    | Errno::EPERM,
                ) => Ok(Way::Nowhere),
                _ => Err(error),
            },
        }
    }

    /// There is nothing to learn.
    pub(super) fn dump_links(&mut self, _: &mut Links) -> io::Result<()> {
        Ok(())
    }
}

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::from(libc::AF_ROUTE), Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Takes all that waits; false where that is nothing. The error is ENOBUFS where some of it is gone.
    pub(super) fn take(&mut self, _: &mut Links) -> io::Result<bool> {
        let mut some = false;
        let mut message = [0; 2048];
        for _ in 0..MOST_MESSAGES {
            match self.0.read(&mut message) {
                Ok(0) => break,
                Ok(_) => some = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(some)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where nobody listens; nothing is sent there either.
const DISCARD: u16 = 9;
/// Interfaces are counted from 1.
const UNKNOWN_INTERFACE: u32 = 0;
/// A flood of changes must not keep the thread from its work.
const MOST_MESSAGES: usize = 1000;
