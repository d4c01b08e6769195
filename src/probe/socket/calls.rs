//! The system calls that no crate wraps: many messages at once, with control messages, and options by number. The
//! interface is safe: whatever the kernel reads or writes is borrowed for as long as the call takes.
#![allow(unsafe_code)] // For getsockopt and setsockopt.

#[cfg(any(not(target_os = "linux"), test))]
mod single;
#[cfg(target_os = "linux")]
mod together;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(not(target_os = "linux"))]
pub(super) use self::single::{drops, receive, send};
#[cfg(target_os = "linux")]
pub(super) use self::together::{drops, receive, send};

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

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
