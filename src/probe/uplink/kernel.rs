//! What the kernel says of routes and links, by rtnetlink (rtnetlink(7)): which way an address is reached, by all its rules
//! and tables; which links have a carrier; and a word whenever any of that has changed. It takes no privilege, and nothing
//! leaves the machine.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::netlink::{ALL_LINKS, LinkNews, Message, messages, request, route_question};
use super::ways::{From, Way};

/// A socket to ask with.
pub(super) struct Asker {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// A socket on which the kernel tells of changes.
pub(super) struct Changes {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

/// The links of this machine, by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(HashMap<u32, Link>);

#[derive(Clone, Debug)]
struct Link {
    name: String,
    works: bool,
    is_there: bool,
}

impl Links {
    /// Whether it is up and has a carrier; one that is not known is taken to.
    pub(super) fn works(&self, number: u32) -> bool {
        self.0.get(&number).is_none_or(|link| link.works)
    }

    /// For people.
    pub(super) fn name(&self, number: u32) -> String {
        self.0.get(&number).map_or_else(|| format!("interface {number}"), |link| link.name.clone())
    }

    pub(super) fn set(&mut self, number: u32, name: String, works: bool) {
        if self.0.len() >= MOST_LINKS {
            // Where links come and go all day, most of these are gone; nothing leads there any more.
            self.0.retain(|_, link| link.is_there);
        }
        if self.0.len() < MOST_LINKS || self.0.contains_key(&number) {
            self.0.insert(number, Link { name, works, is_there: true });
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(link) = self.0.get_mut(&number) {
            (link.works, link.is_there) = (false, false);
        }
    }

    /// Takes what a message says of a link, if it does.
    fn learn(&mut self, message: &Message<'_>) {
        match message.link() {
            Some((number, LinkNews::There { name, works })) => self.set(number, name, works),
            Some((number, LinkNews::Gone)) => self.remove(number),
            None => {}
        }
    }
}

impl Asker {
    pub(super) fn new() -> io::Result<Self> {
        let socket = open(0)?;
        // The kernel answers within the call that asks: this is for a kernel that does not.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECS))?;
        Ok(Self { socket, sequence: 0, buffer: buffer() })
    }

    /// Which way an address is reached.
    pub(super) fn way(&mut self, to: SocketAddr, from: &From) -> io::Result<Way> {
        if to.ip().is_loopback() {
            return Ok(Way::Own);
        }
        let interface = match &from.interface {
            Some(name) => match if_nametoindex(name.as_str()) {
                Ok(number) => Some(number),
                // It is not there.
                Err(_) => return Ok(Way::Nowhere),
            },
            None => None,
        };
        let question = route_question(to, from.source, interface);
        let mut way = None;
        self.ask(libc::RTM_GETROUTE, 0, &question, |message| {
            way = message.route().or(way);
        })
        .map(|()| way.unwrap_or(Way::Nowhere))
        .or_else(|error| match error.raw_os_error().map(Errno::from_raw) {
            // Everything that routes can say to a packet.
            Some(
                Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::EACCES
                | Errno::EINVAL
                | Errno::ENODEV
                | Errno::ENETDOWN
                | Errno::EADDRNOTAVAIL
                | Errno::EPERM,
            ) => Ok(Way::Nowhere),
            _ => Err(error),
        })
    }

    /// Learns all links anew.
    pub(super) fn dump_links(&mut self, links: &mut Links) -> io::Result<()> {
        let mut all = Links::default();
        self.ask(libc::RTM_GETLINK, libc::NLM_F_DUMP as u16, &ALL_LINKS, |message| all.learn(message))?;
        *links = all;
        Ok(())
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let is_dump = flags & libc::NLM_F_DUMP as u16 != 0;
        let flags = flags | libc::NLM_F_REQUEST as u16;
        let request = request(kind, flags, self.sequence, body);
        sendto(self.socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        for _ in 0..MOST_MESSAGES {
            let length = receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]).filter(|it| it.sequence == self.sequence) {
                match (i32::from(message.kind), message.error()) {
                    (libc::NLMSG_DONE, _) => return Ok(()),
                    (libc::NLMSG_ERROR, Some(0)) => return Ok(()),
                    (libc::NLMSG_ERROR, Some(errno)) => return Err(io::Error::from_raw_os_error(-errno)),
                    _ => each(&message),
                }
                if !is_dump {
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("the answer has no end"))
    }
}

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV4_RULE
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_ROUTE
            | libc::RTMGRP_IPV6_IFADDR;
        Ok(Self { socket: open(groups as u32)?, buffer: buffer() })
    }

    /// Takes all that waits; false where that is nothing. What it says of links is learnt at once. The error is ENOBUFS
    /// where some of it is gone.
    pub(super) fn take(&mut self, links: &mut Links) -> io::Result<bool> {
        let mut some = false;
        for _ in 0..MOST_MESSAGES {
            let length = match receive_with(&self.socket, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            some = true;
            messages(&self.buffer[..length]).for_each(|message| links.learn(&message));
        }
        Ok(some)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

fn buffer() -> Box<[u8]> {
    vec![0; BUFFER_LEN].into_boxed_slice()
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buffer, MsgFlags::empty())
}

/// Any process may write to such a socket, and only the kernel is heard.
fn receive_with(socket: &OwnedFd, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    for _ in 0..MOST_MESSAGES {
        let mut parts = [io::IoSliceMut::new(buffer)];
        let got = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut parts, None, flags)?;
        let (from, length) = (got.address, got.bytes);
        if from.is_some_and(|from| from.pid() == 0) {
            return Ok(length);
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// What the kernel fills at once when it is asked for all links.
const BUFFER_LEN: usize = 32 << 10;
const PATIENCE_SECS: i64 = 5;
/// A bound on how much is taken in a row.
const MOST_MESSAGES: usize = 10_000;
/// More links than this are not told apart, and taken to work.
const MOST_LINKS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that runs containers makes and removes some links each minute.
    #[test]
    fn links_that_come_and_go_for_years_are_forgotten() {
        let mut links = Links::default();
        links.set(1, "eth0".to_owned(), true);
        links.set(2, "eth1".to_owned(), false);
        for number in 3..3 * MOST_LINKS as u32 {
            links.set(number, format!("veth{number}"), true);
            links.remove(number);
            assert!(!links.works(number), "whoever was reached by it is not any more");
        }
        assert!(links.0.len() <= MOST_LINKS);
        let known = |number| (links.name(number), links.works(number));
        assert_eq!([known(1), known(2)], [("eth0".to_owned(), true), ("eth1".to_owned(), false)]);
    }
}
