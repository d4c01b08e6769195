//! Many messages by one system call.
#![allow(unsafe_code)] // For sendmmsg, recvmmsg and getsockopt.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{BATCH, Incoming, Outgoing, Queue, Taken, errno};

/// Sends the first [`BATCH`] messages, or as many as go out before one fails; the `errno` if it is the first.
pub(in crate::probe::socket) fn send<'a>(
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
pub(in crate::probe::socket) fn receive<'a>(
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

/// How many packets the receive buffer had no room for since the socket was opened, or the kernel found damaged; wraps.
pub(in crate::probe::socket) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut memory = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = mem::size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `memory`, which has as many and may hold any bits.
    let failed = unsafe {
        let memory = memory.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, memory, &mut length)
    };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(memory[libc::SK_MEMINFO_DROPS as usize]) }
}
