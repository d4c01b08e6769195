//! Packets on their way in.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use super::EchoSocket;
use super::calls::{self, BATCH, Incoming, Queue, Taken};
use super::control::{CONTROL_LEN, NAME_LEN, Said, address_in};
use super::open::packet_room;
use crate::probe::clock::Wall;

/// A packet as it came in.
#[derive(Clone, Copy, Debug)]
pub(in crate::probe) struct Packet<'a> {
    /// Who sent it.
    pub(in crate::probe) from: IpAddr,
    /// What it holds, from the IPv4 header on where it comes from a RAW socket of IPv4.
    pub(in crate::probe) bytes: &'a [u8],
    /// Whether it is longer than that, so that none of ours can be.
    pub(in crate::probe) truncated: bool,
    /// When the kernel received it, if it says so.
    pub(in crate::probe) stamp: Option<Wall>,
    /// The time to live, or hop limit, that it still had.
    #[allow(dead_code, reason = "for the lines of ping and trace")]
    pub(in crate::probe) ttl: Option<u8>,
}

/// Room for the packets of one system call.
pub(in crate::probe) struct Inbox(Rooms);

impl Inbox {
    /// An empty one, for echoes with up to so much payload. Where they are long it takes fewer of them at once.
    pub(in crate::probe) fn new(payload: u16) -> Self {
        let length = usize::from(payload) + LONGEST_HEADERS;
        Self(Rooms::new(length, (MOST_MEMORY / length).clamp(1, BATCH)))
    }

    /// Forgets them.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn clear(&mut self) {
        self.0.filled = 0;
    }

    /// The packets of the last [`EchoSocket::receive`].
    pub(in crate::probe) fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.0.filled().filter_map(|Filled { name, bytes, control, truncated }| {
            let said = Said::new(control);
            let (from, stamp) = (address_in(name)?, said.stamp.map(Wall));
            Some(Packet { from, bytes, truncated, stamp, ttl: said.ttl })
        })
    }
}

impl EchoSocket {
    /// Takes as many packets as wait, and at most a whole inbox; true when none is left.
    ///
    /// The stamp of an echo is there before its reply: whoever takes the reports after the packets, and looks at the
    /// packets only then, has both.
    pub(in crate::probe) fn receive(&mut self, inbox: &mut Inbox) -> io::Result<bool> {
        // What fails here is not the receiving, but an echo that an ICMP error is about: the error queue has more on it.
        let mut tries = 0..RECEIVE_TRIES;
        loop {
            match inbox.0.fill(self.socket.as_fd(), Queue::Packets) {
                Ok(()) => {
                    let is_emptied = !inbox.0.is_full();
                    let lengths =
                        inbox.0.filled().map(|it| u16::try_from(it.bytes.len()).unwrap_or(u16::MAX));
                    self.taken += lengths.map(packet_room).sum::<usize>();
                    self.aside.sort(self.origin, inbox);
                    return Ok(is_emptied);
                }
                Err(_) if tries.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether what was taken since this was last asked may have filled its receive buffer: half of it, since what the kernel
    /// charges for a packet depends on the card. Packets and reports share it.
    pub(in crate::probe) fn was_full(&mut self) -> bool {
        2 * std::mem::take(&mut self.taken) >= self.buffer.held
    }

    /// How many packets its receive buffer had no room for since it was opened, or the kernel found damaged; wraps.
    pub(in crate::probe) fn drops(&self) -> io::Result<u32> {
        calls::drops(self.socket.as_fd())
    }
}

/// Room for as many messages as one system call is to take, each of the same length.
pub(super) struct Rooms {
    length: usize,
    bytes: Vec<u8>,
    names: Vec<[u8; NAME_LEN]>,
    controls: Vec<[u8; CONTROL_LEN]>,
    taken: [Taken; BATCH],
    filled: usize,
}

/// A message in its room.
pub(super) struct Filled<'a> {
    pub(super) name: &'a [u8],
    pub(super) bytes: &'a [u8],
    pub(super) control: &'a [u8],
    pub(super) truncated: bool,
}

impl Rooms {
    pub(super) fn new(length: usize, count: usize) -> Self {
        Self {
            length,
            bytes: vec![0; length * count],
            names: vec![[0; NAME_LEN]; count],
            controls: vec![[0; CONTROL_LEN]; count],
            taken: [Taken::default(); BATCH],
            filled: 0,
        }
    }

    /// Takes what waits in a queue.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, queue: Queue) -> io::Result<()> {
        self.filled = 0;
        let bytes = self.bytes.chunks_exact_mut(self.length);
        let rooms = bytes.zip(&mut self.names).zip(&mut self.controls);
        let rooms = rooms.map(|((bytes, name), control)| Incoming { name, bytes, control });
        match calls::receive(socket, queue, rooms, &mut self.taken) {
            Ok(filled) => self.filled = filled,
            Err(libc::EAGAIN | libc::EINTR) => {}
            Err(errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == self.names.len()
    }

    /// What the last call took.
    pub(super) fn filled(&self) -> impl Iterator<Item = Filled<'_>> {
        let rooms = self.bytes.chunks_exact(self.length).zip(&self.names).zip(&self.controls);
        rooms.zip(&self.taken[..self.filled]).map(|(((bytes, name), control), taken)| Filled {
            name: &name[..taken.name.min(NAME_LEN)],
            bytes: &bytes[..taken.bytes.min(bytes.len())],
            control: &control[..taken.control.min(CONTROL_LEN)],
            truncated: taken.truncated,
        })
    }
}

/// The longest IPv4 header and that of an echo. IPv6's are not delivered.
const LONGEST_HEADERS: usize = 60 + 8;

/// For the packets of one call; those of the usual length take a hundredth of it.
const MOST_MEMORY: usize = 1 << 20;

/// How many errors of others a receipt may meet.
const RECEIVE_TRIES: u32 = 8;
