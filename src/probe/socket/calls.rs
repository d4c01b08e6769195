//! The system calls that no crate wraps: many messages at once, with control messages, and options by number. The
//! interface is safe: whatever the kernel reads or writes is borrowed for as long as the call takes.
#![allow(unsafe_code)] // For sendmmsg, recvmmsg, getsockopt and setsockopt.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many messages one call takes at most.
pub(in crate::probe) const BATCH: usize = 64;

/// A message to be sent: to whom, what, and how.
pub(super) struct Outgoing<'a> {
    pub(super) name: &'a [u8],
    pub(super) parts: [&'a [u8]; 2],
    pub(super) control: &'a [u8],
}

/// Room for a message.
pub(super) struct Incoming<'a> {
    pub(super) name: &'a mut [u8],
    pub(super) bytes: &'a mut [u8],
    pub(super) control: &'a mut [u8],
}

/// How much of its room a message took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) name: usize,
    pub(super) bytes: usize,
    pub(super) control: usize,
    /// There was more than the room for bytes.
    pub(super) truncated: bool,
}

/// Which of a socket's queues is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// What came in.
    Packets,
    /// Errors, and stamps of what was sent.
    Errors,
}

/// Sends the first [`BATCH`] messages, or as many as go out before one fails; the `errno` if it is the first.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = Outgoing<'a>>,
) -> Result<usize, i32> {
    // SAFETY: `iovec` and `mmsghdr` are integers and pointers, of which all zero (null) is a value.
    let (mut parts, mut headers) =
        unsafe { (mem::zeroed::<[[libc::iovec; 2]; BATCH]>(), mem::zeroed::<[libc::mmsghdr; BATCH]>()) };
    let mut count: libc::c_uint = 0;
    for ((message, parts), header) in messages.zip(&mut parts).zip(&mut headers) {
        for (part, bytes) in parts.iter_mut().zip(message.parts) {
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
        }
        let header = &mut header.msg_hdr;
        header.msg_name = message.name.as_ptr().cast_mut().cast();
        header.msg_namelen = message.name.len() as libc::socklen_t;
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len() as _;
        header.msg_control = message.control.as_ptr().cast_mut().cast();
        header.msg_controllen = message.control.len() as _;
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers point to memory of the lengths they state: slices borrowed for 'a, which outlives
    // this call, and `parts`. The kernel only reads what they point to, writes to `headers` alone, and keeps no pointer.
    // Called by its number: musl's function sends one after the other, since its headers may have garbage where the
    // kernel wants longer numbers. These were zeroed.
    let sent =
        unsafe { libc::syscall(libc::SYS_sendmmsg, socket.as_raw_fd(), headers.as_mut_ptr(), count, flags) };
    usize::try_from(sent).map_err(|_| errno())
}

/// Fills the first rooms, at most [`BATCH`], with what waits in a queue; never waits itself. Returns how many were filled.
#[allow(clippy::unnecessary_cast)] // The type of msg_controllen depends on the C library.
pub(super) fn receive<'a>(
    socket: BorrowedFd<'_>,
    queue: Queue,
    rooms: impl Iterator<Item = Incoming<'a>>,
    taken: &mut [Taken; BATCH],
) -> Result<usize, i32> {
    // SAFETY: as in `send`.
    let (mut parts, mut headers) =
        unsafe { (mem::zeroed::<[libc::iovec; BATCH]>(), mem::zeroed::<[libc::mmsghdr; BATCH]>()) };
    let mut count = 0;
    for ((room, part), header) in rooms.zip(&mut parts).zip(&mut headers) {
        part.iov_base = room.bytes.as_mut_ptr().cast();
        part.iov_len = room.bytes.len();
        let header = &mut header.msg_hdr;
        header.msg_name = room.name.as_mut_ptr().cast();
        header.msg_namelen = room.name.len() as libc::socklen_t;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = room.control.as_mut_ptr().cast();
        header.msg_controllen = room.control.len() as _;
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT
        | match queue {
            Queue::Packets => 0,
            Queue::Errors => libc::MSG_ERRQUEUE,
        };
    // SAFETY: the first `count` headers point to memory of the lengths they state: slices borrowed exclusively for 'a,
    // which outlives this call, and `parts`. They hold plain bytes, so any that the kernel writes are a value. It keeps no
    // pointer.
    let received = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| errno())?;
    for (taken, header) in taken.iter_mut().zip(&headers[..received.min(BATCH)]) {
        *taken = Taken {
            name: header.msg_hdr.msg_namelen as usize,
            bytes: header.msg_len as usize,
            control: header.msg_hdr.msg_controllen as usize,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
    }
    Ok(received)
}

/// Sets an option to a number, as most have it.
pub(super) fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

/// Sets an option.
pub(super) fn set_bytes(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes from `value`, which has as many.
    let failed = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What an option is set to, as a number.
pub(super) fn get(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which has as many and may hold any bits.
    let failed =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &mut length) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// How many packets the receive buffer had no room for since the socket was opened, or the kernel found damaged; wraps.
pub(super) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut memory = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = mem::size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `memory`, which has as many and may hold any bits.
    let failed = unsafe {
        let memory = memory.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, memory, &mut length)
    };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(memory[libc::SK_MEMINFO_DROPS as usize]) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
