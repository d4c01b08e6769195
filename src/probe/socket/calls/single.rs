//! The same where each message takes a system call, and what goes with an echo are options of the socket.
#![allow(unsafe_code)] // For sendmsg and recvmsg.

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{BATCH, Incoming, Outgoing, Queue, Taken, errno, set_bytes};
use crate::probe::socket::control;

/// Sends the first [`BATCH`] messages, or as many as go out before one fails; the `errno` if it is the first. Control
/// messages are set as options before: whoever sends says all of them with each message.
pub(in crate::probe::socket) fn send<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = Outgoing<'a>>,
) -> Result<usize, i32> {
    let mut sent = 0;
    for message in messages.take(BATCH) {
        match send_one(socket, &message) {
            Ok(()) => sent += 1,
            Err(errno) if sent == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(sent)
}

fn send_one(socket: BorrowedFd<'_>, message: &Outgoing<'_>) -> Result<(), i32> {
    for (level, name, value) in control::messages(message.control) {
        match set_bytes(socket, level, name, value) {
            // Nothing of it is wanted, and a socket that does not have the option does nothing of it.
            Err(_) if value.iter().all(|byte| *byte == 0) => {}
            set => set.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?,
        }
    }
    let mut parts = message
        .parts
        .map(|bytes| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
    // SAFETY: `msghdr` is integers and pointers, of which all zero (null) is a value.
    let mut header = unsafe { mem::zeroed::<libc::msghdr>() };
    header.msg_name = message.name.as_ptr().cast_mut().cast();
    header.msg_namelen = message.name.len() as libc::socklen_t;
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    // SAFETY: the header points to memory of the lengths that it states: slices that `message` borrows, and `parts`. The
    // kernel only reads it, and keeps no pointer.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(errno()) } else { Ok(()) }
}

/// Fills the first rooms, at most [`BATCH`], with what waits in a queue; never waits itself. Returns how many were filled.
/// There is one queue: of errors no system but Linux has one.
#[allow(clippy::unnecessary_cast)] // The type of msg_controllen depends on the C library.
pub(in crate::probe::socket) fn receive<'a>(
    socket: BorrowedFd<'_>,
    queue: Queue,
    rooms: impl Iterator<Item = Incoming<'a>>,
    taken: &mut [Taken; BATCH],
) -> Result<usize, i32> {
    if queue == Queue::Errors {
        return Ok(0);
    }
    let mut received = 0;
    for (room, taken) in rooms.zip(taken) {
        let mut part = libc::iovec { iov_base: room.bytes.as_mut_ptr().cast(), iov_len: room.bytes.len() };
        // SAFETY: as in `send_one`.
        let mut header = unsafe { mem::zeroed::<libc::msghdr>() };
        header.msg_name = room.name.as_mut_ptr().cast();
        header.msg_namelen = room.name.len() as libc::socklen_t;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = room.control.as_mut_ptr().cast();
        header.msg_controllen = room.control.len() as _;
        // SAFETY: the header points to memory of the lengths that it states: slices that `room` borrows exclusively, and
        // `part`. They hold plain bytes, so any that the kernel writes are a value. It keeps no pointer.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        *taken = match usize::try_from(length) {
            Ok(bytes) => Taken {
                name: header.msg_namelen as usize,
                bytes,
                control: header.msg_controllen as usize,
                truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            },
            Err(_) if received == 0 => return Err(errno()),
            Err(_) => break,
        };
        received += 1;
    }
    Ok(received)
}

/// No system but Linux tells how many packets the receive buffer had no room for.
#[cfg(not(target_os = "linux"))]
pub(in crate::probe::socket) fn drops(_: BorrowedFd<'_>) -> std::io::Result<u32> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// On Linux, whose options are the same: an echo to this machine goes out with the hops that it is told, and its reply comes
/// in. This needs root.
#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;
    use crate::probe::icmp::{Echo, Family, Padding, after_ipv4_header};
    use crate::probe::socket::calls::get;
    use crate::probe::socket::control::{CONTROL_LEN, Messages, NAME_LEN, address_in, name_of};

    #[test]
    fn an_echo_goes_out_with_its_options_and_its_reply_comes_in() {
        let socket =
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("this test needs root");
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let padding = Padding::new(56);
        let head = Echo { identifier: 0x5349, number: 1, tag: 2, mark: 3, payload: 56 }
            .request_head(Family::V4, &padding);
        let (name, name_len) = name_of(here);
        let mut control = Messages::<64>::EMPTY;
        control.push(libc::IPPROTO_IP, libc::IP_TTL, &9i32.to_ne_bytes());
        control.push(libc::IPPROTO_IP, libc::IP_TOS, &(46i32 << 2).to_ne_bytes());
        let messages = (0..2).map(|_| Outgoing {
            name: &name[..name_len],
            parts: [&head, padding.bytes()],
            control: control.as_bytes(),
        });
        assert_eq!(send(socket.as_fd(), messages), Ok(2));
        assert_eq!(get(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL).unwrap(), 9);
        assert_eq!(get(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TOS).unwrap(), 46 << 2);

        // Other tests may ping this machine too, and a RAW socket hears all of it, requests and replies.
        let mut replies = 0;
        while replies < 2 {
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            assert!(poll(&mut fds, PollTimeout::from(10_000u16)).unwrap() > 0, "{replies} replies came");
            let (mut from, mut bytes, mut said) = ([0; NAME_LEN], [0; 200], [0; CONTROL_LEN]);
            let room = Incoming { name: &mut from, bytes: &mut bytes, control: &mut said };
            let mut taken = [Taken::default(); BATCH];
            assert_eq!(receive(socket.as_fd(), Queue::Packets, std::iter::once(room), &mut taken), Ok(1));
            let icmp = after_ipv4_header(&bytes[..taken[0].bytes]).unwrap();
            if icmp.starts_with(&[0, 0]) && icmp[4..] == [&head[4..], padding.bytes()].concat() {
                assert_eq!(address_in(&from[..taken[0].name]), Some(here.ip()));
                assert!(!taken[0].truncated);
                replies += 1;
            }
        }
    }
}
